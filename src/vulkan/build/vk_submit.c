/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_submit: a batch on the queue: which steps go into one submission, the commands recorded per
 * batch shape, and the wait. Drivers take a device away whose submission lasts too long (2 s on
 * some systems), so that many tokens of a large model are several submissions. Knows no op.
 */
#include "vulkan/build/vk_submit.h"

#include <string.h>

#include "vulkan/build/vk_list.h"

static uint64_t work_of(const struct lk_vk_step *s, const struct lk_row_counts *rows)
{
    return s->work * (uint64_t)rows->n[s->rows] * s->times;
}

static uint64_t total_work(const struct lk_vk_list *l, const struct lk_row_counts *rows)
{
    uint64_t total = 0;
    for (int i = 0; i < l->n_steps; i++) {
        total += work_of(&l->steps[i], rows);
    }
    return total;
}

VkResult lk_vk_shapes_create(struct lk_exec *e)
{
    uint64_t n = 1;
    for (int i = 0; i < LK_VK_LISTS; i++) {
        const struct lk_vk_list *l = &e->list[i];
        struct lk_row_counts rows = lk_most_rows(&e->o);
        rows.n[LK_ROWS_TOKENS] = l->max_tokens;
        /* All submissions but the last are full. */
        uint64_t most = total_work(l, &rows) / e->dev->submit_work + 1;
        n = most > n ? most : n;
    }
    n = n < LK_VK_MAX_SUBMITS ? n : LK_VK_MAX_SUBMITS;
    VkResult r = VK_SUCCESS;
    for (int i = 0; i < LK_VK_MAX_SHAPES && !r; i++) {
        VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = e->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = (uint32_t)n};
        r = e->dev->vk.vkAllocateCommandBuffers(e->dev->handle, &info, e->shape[i].part);
    }
    return r;
}

/* Records the list for a batch shape, a command buffer a submission. */
static VkResult record(struct lk_exec *e, const struct lk_vk_list *l, struct lk_vk_shape *s)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    uint64_t share = total_work(l, &s->rows) / LK_VK_MAX_SUBMITS + 1;
    share = share > e->dev->submit_work ? share : e->dev->submit_work;
    VkResult r = VK_SUCCESS;
    s->n_parts = 0;
    int first, end = 0;
    do {
        VkCommandBuffer c = s->part[s->n_parts++];
        VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
        first = end;
        for (uint64_t sum = 0; end < l->n_steps && sum < share; end++) {
            sum += work_of(&l->steps[end], &s->rows);
        }
        r = vk->vkBeginCommandBuffer(c, &info);
        if (!r) {
            lk_vk_list_record(e, l, c, first, end, &s->rows, s->apart);
            r = vk->vkEndCommandBuffer(c);
        }
    } while (end < l->n_steps && !r);
    return r;
}

/* The recorded commands of a batch shape: found, or recorded in the least recently used place. */
static lk_status shape_of(struct lk_exec *e, int list, const struct lk_row_counts *rows, bool apart,
                          const struct lk_vk_shape **out, lk_error *err)
{
    struct lk_vk_shape *take = &e->shape[0];
    for (int i = 0; i < LK_VK_MAX_SHAPES; i++) {
        struct lk_vk_shape *s = &e->shape[i];
        if (s->used && s->apart == apart && memcmp(&s->rows, rows, sizeof *rows) == 0) {
            s->used = e->n_runs;
            *out = s;
            return LK_OK;
        }
        take = s->used < take->used ? s : take;
    }
    take->rows = *rows;
    take->apart = apart;
    VkResult r = record(e, &e->list[list], take);
    take->used = r ? 0 : e->n_runs;
    *out = take;
    return r ? lk_vk_fail(e->dev, r, "recording a batch", err) : LK_OK;
}

lk_status lk_vk_submit(struct lk_exec *e, int list, const struct lk_row_counts *rows, bool apart,
                       lk_error *err)
{
    struct lk_vk_device *dev = e->dev;
    const struct lk_vk_shape *s;
    lk_status status = shape_of(e, list, rows, apart, &s, err);
    if (status) {
        return status;
    }
    VkResult r = dev->vk.vkResetFences(dev->handle, 1, &e->fence);
    for (int i = 0; i < s->n_parts && !r; i++) {
        VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                               .commandBufferCount = 1,
                               .pCommandBuffers = &s->part[i]};
        bool last = i + 1 == s->n_parts;
        dev->n_submits++;
        r = dev->vk.vkQueueSubmit(dev->queue, 1, &submit, last ? e->fence : VK_NULL_HANDLE);
    }
    if (r) {
        dev->vk.vkQueueWaitIdle(dev->queue); /* what was submitted uses e's buffers */
        return lk_vk_fail(dev, r, "submitting a batch", err);
    }
    return lk_vk_wait(dev, e->fence, err);
}
