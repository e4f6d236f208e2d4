/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_state: see vk_state.h.
 */
#include "vulkan/device/vk_state.h"

#include "base/mem.h"

static const VkDeviceSize BLOCK_MAX = 1u << 30;

void lk_vk_state_free(struct lk_state_mem *mem)
{
    if (mem) {
        for (int i = 0; i < mem->n_blocks; i++) {
            lk_vk_buffer_destroy(mem->dev, &mem->blocks[i]);
        }
        lk_vk_buffer_destroy(mem->dev, &mem->staging);
        lk_free(mem->blocks);
        lk_free(mem->at);
        lk_free(mem);
    }
}

/* Where each state lies: one after the other, in a new buffer where the last one is full. Fills
 * size[] of the buffers. */
static lk_status lay_out(struct lk_state_mem *mem, VkDeviceSize *size, int *n_blocks, lk_error *err)
{
    const struct lk_plan *plan = mem->geom.plan;
    VkDeviceSize range = mem->dev->found.props.limits.maxStorageBufferRange, limit = BLOCK_MAX;
    limit = limit < mem->dev->found.max_allocation ? limit : mem->dev->found.max_allocation;
    VkDeviceSize most = (limit - 2 * LK_VK_GUARD) / LK_VK_ALIGN * LK_VK_ALIGN;
    most = most < range ? most : range;
    int n = 0;
    for (int i = 0; i < plan->n_states; i++) {
        VkDeviceSize bytes = lk_state_bytes(&mem->geom, i);
        VkDeviceSize step = lk_round_up((size_t)bytes, LK_VK_ALIGN) + LK_VK_GUARD;
        if (bytes > most) {
            return lk_fail(err, LK_E_UNSUPPORTED,
                           "%s of layer %d: %llu bytes are beyond the device's buffers of %llu: "
                           "use a smaller context",
                           lk_state_name(&plan->states[i]), plan->states[i].layer,
                           (unsigned long long)bytes, (unsigned long long)most);
        }
        if (n == 0 || size[n - 1] + step > limit) {
            size[n++] = LK_VK_GUARD;
        }
        mem->at[i] = (struct lk_vk_state_at){n - 1, size[n - 1], bytes};
        size[n - 1] += step;
    }
    *n_blocks = n;
    return LK_OK;
}

/* Memory through which states are read and written: all that a sequence has of one at once, as far
 * as that is worth it. */
static VkDeviceSize staging_bytes(const struct lk_plan *plan)
{
    VkDeviceSize n = 1u << 20, most = 1u << 22;
    for (int i = 0; i < plan->n_states; i++) {
        VkDeviceSize unit = lk_state_unit_bytes(&plan->states[i]);
        n = unit > n ? unit : n;
    }
    return n < most ? n : most;
}

/* Zeroes all states and writes the guards: everything else. */
static lk_status clear(struct lk_state_mem *mem, lk_error *err)
{
    lk_status status = LK_OK;
    for (int i = 0; i < mem->n_blocks && !status; i++) {
        status = lk_vk_fill(mem->dev, &mem->blocks[i], 0, VK_WHOLE_SIZE, LK_VK_CANARY, err);
    }
    for (int i = 0; i < mem->geom.plan->n_states && !status; i++) {
        const struct lk_vk_state_at *at = &mem->at[i];
        if (at->bytes > 0) {
            status = lk_vk_fill(mem->dev, &mem->blocks[at->block], at->offset, at->bytes, 0, err);
        }
    }
    return status;
}

lk_status lk_vk_state_alloc(struct lk_vk_device *dev, const struct lk_state_geom *geom,
                            struct lk_state_mem **out, lk_error *err)
{
    size_t n_states = (size_t)geom->plan->n_states;
    struct lk_state_mem *mem = lk_alloc(sizeof *mem);
    VkDeviceSize *size = lk_alloc_array(n_states + 1, sizeof *size);
    lk_status status = LK_OK;
    int n = 0;
    if (mem) {
        *mem = (struct lk_state_mem){.dev = dev, .geom = *geom, .serial = ++dev->next_serial};
        mem->at = lk_alloc_array(n_states + 1, sizeof *mem->at);
        mem->blocks = lk_alloc_array(n_states + 1, sizeof *mem->blocks);
    }
    if (!mem || !mem->at || !mem->blocks || !size) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: states");
    }
    if (!status) {
        status = lay_out(mem, size, &n, err);
    }
    for (int i = 0; i < n && !status; i++) {
        status =
            lk_vk_buffer_create(dev, size[i], LK_VK_USE_DEVICE, "states", &mem->blocks[i], err);
        mem->n_blocks = i + 1;
    }
    if (!status) {
        status = lk_vk_buffer_create(dev, staging_bytes(geom->plan), LK_VK_USE_READBACK,
                                     "staging of states", &mem->staging, err);
    }
    if (!status) {
        status = clear(mem, err);
    }
    lk_free(size);
    if (status) {
        lk_vk_state_free(mem);
        return status;
    }
    *out = mem;
    return LK_OK;
}

lk_status lk_vk_state_read(struct lk_state_mem *mem, int state, size_t offset, void *data, size_t n,
                           lk_error *err)
{
    lk_status status = lk_state_check_range(&mem->geom, state, offset, n, err);
    if (status) {
        return status;
    }
    const struct lk_vk_state_at *at = &mem->at[state];
    return lk_vk_read(mem->dev, &mem->blocks[at->block], at->offset + offset, data, n,
                      &mem->staging, err);
}

lk_status lk_vk_state_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                            size_t n, lk_error *err)
{
    lk_status status = lk_state_check_range(&mem->geom, state, offset, n, err);
    if (status) {
        return status;
    }
    const struct lk_vk_state_at *at = &mem->at[state];
    return lk_vk_write(mem->dev, &mem->blocks[at->block], at->offset + offset, data, n,
                       &mem->staging, err);
}

static lk_status check_guard(struct lk_state_mem *mem, const struct lk_vk_state_at *at,
                             VkDeviceSize from, size_t n, const struct lk_state *s,
                             const char *where, lk_error *err)
{
    uint8_t guard[2 * LK_VK_GUARD];
    lk_status status =
        lk_vk_read(mem->dev, &mem->blocks[at->block], from, guard, n, &mem->staging, err);
    for (size_t i = 0; i < n && !status; i++) {
        if (guard[i] != (uint8_t)LK_VK_CANARY) {
            status =
                lk_fail(err, LK_E_INTERNAL, "state guard overwritten: layer %d, %s, byte %zu %s",
                        s->layer, lk_state_name(s), i, where);
        }
    }
    return status;
}

lk_status lk_vk_state_check(struct lk_state_mem *mem, lk_error *err)
{
    lk_status status = LK_OK;
    for (int i = 0; i < mem->geom.plan->n_states && !status; i++) {
        const struct lk_vk_state_at *at = &mem->at[i];
        const struct lk_state *s = &mem->geom.plan->states[i];
        size_t tail = lk_round_up((size_t)at->bytes, LK_VK_ALIGN) - (size_t)at->bytes;
        status = check_guard(mem, at, at->offset - LK_VK_GUARD, LK_VK_GUARD, s,
                             "of the guard before it", err);
        if (!status) {
            status = check_guard(mem, at, at->offset + at->bytes, tail + LK_VK_GUARD, s,
                                 "past its end", err);
        }
    }
    return status;
}
