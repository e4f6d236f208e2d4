/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_list: a list of steps: memory of the values between them, the barriers they need, descriptor
 * sets, and recording. Knows no op.
 */
#include "vulkan/build/vk_list.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

/* ---- memory ---- */

/* Binds pieces themselves where steps say other names of them. */
static void resolve_names(struct lk_vk_list *l)
{
    for (int i = 0; i < l->n_steps; i++) {
        for (int k = 0; k < LK_VK_BINDINGS; k++) {
            struct lk_vk_bind *bd = &l->steps[i].bind[k];
            while (bd->kind == LK_VK_BIND_PIECE && l->pieces[bd->index].same >= 0) {
                bd->index = l->pieces[bd->index].same;
            }
        }
    }
}

static void find_lives(struct lk_vk_list *l)
{
    for (int i = 0; i < l->n_steps; i++) {
        for (int k = 0; k < LK_VK_BINDINGS; k++) {
            const struct lk_vk_bind *bd = &l->steps[i].bind[k];
            if (bd->kind == LK_VK_BIND_PIECE) {
                struct lk_vk_piece *p = &l->pieces[bd->index];
                p->first = p->first < 0 ? i : p->first;
                p->last = i;
            }
        }
    }
}

/* Gives each used piece the lowest offset at which no piece of an overlapping life lies. Returns
 * the bytes of the arena. */
static VkDeviceSize place_pieces(struct lk_vk_list *l, bool keep)
{
    VkDeviceSize total = 0;
    for (int i = 0; i < l->n_pieces; i++) {
        struct lk_vk_piece *p = &l->pieces[i];
        if (p->first < 0) {
            continue;
        }
        VkDeviceSize at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++) {
                const struct lk_vk_piece *q = &l->pieces[j];
                bool lives =
                    q->first >= 0 && (keep || (q->first <= p->last && p->first <= q->last));
                if (lives && at < q->offset + q->bytes && q->offset < at + p->bytes) {
                    at = lk_round_up((size_t)(q->offset + q->bytes), 256);
                    moved = true;
                }
            }
        }
        p->offset = at;
        total = total > at + p->bytes ? total : at + p->bytes;
    }
    return lk_round_up((size_t)total, 256);
}

/* What was touched since the last barrier. */
struct touched {
    int resource; /* 0: arena; 1 + i: state i */
    VkDeviceSize begin, end;
    bool write;
};
enum { MAX_TOUCHED = 128 };

static bool touch_of(const struct lk_vk_list *l, const struct lk_vk_bind *b, struct touched *t)
{
    switch (b->kind) {
    case LK_VK_BIND_PIECE:
        t->resource = 0;
        t->begin = l->pieces[b->index].offset + b->at;
        t->end = t->begin + (b->bytes ? b->bytes : l->pieces[b->index].bytes - b->at);
        t->write = b->write;
        return true;
    case LK_VK_BIND_STATE:
        *t = (struct touched){1 + b->index, 0, 1, b->write};
        return true;
    case LK_VK_BIND_NONE:
    case LK_VK_BIND_CHUNK: /* read only */
    case LK_VK_BIND_VECTOR:
    case LK_VK_BIND_VECTORS:
    case LK_VK_BIND_BATCH:
        break;
    }
    return false;
}

static void find_barriers(struct lk_vk_list *l)
{
    struct touched seen[MAX_TOUCHED];
    int n = 0;
    for (int i = 0; i < l->n_steps; i++) {
        struct lk_vk_step *s = &l->steps[i];
        struct touched t;
        s->barrier = n > MAX_TOUCHED - LK_VK_BINDINGS;
        for (int k = 0; k < LK_VK_BINDINGS && !s->barrier; k++) {
            if (!touch_of(l, &s->bind[k], &t)) {
                continue;
            }
            for (int j = 0; j < n; j++) {
                if (t.resource == seen[j].resource && t.begin < seen[j].end &&
                    seen[j].begin < t.end && (t.write || seen[j].write)) {
                    s->barrier = true;
                }
            }
        }
        n = s->barrier ? 0 : n;
        for (int k = 0; k < LK_VK_BINDINGS; k++) {
            if (touch_of(l, &s->bind[k], &t)) {
                seen[n++] = t;
            }
        }
    }
}

static bool is_read(const struct lk_plan *plan, int slot)
{
    bool read = false;
    for (int i = 0; i < plan->n_ops; i++) {
        read |= lk_op_reads(&plan->ops[i], slot);
    }
    return read;
}

VkDeviceSize lk_vk_list_place(struct lk_vk_list *l, const struct lk_plan *plan, bool keep)
{
    l->direct = l->max_tokens == 1 && !keep && !is_read(plan, plan->out_slot);
    resolve_names(l);
    find_lives(l);
    for (int i = lk_vk_next_staged(plan, -1); i >= 0; i = lk_vk_next_staged(plan, i)) {
        l->pieces[i].first = 0;
    }
    l->pieces[plan->out_slot].last = l->n_steps;
    VkDeviceSize arena = place_pieces(l, keep);
    find_barriers(l);
    return arena;
}

void lk_vk_list_free(struct lk_vk_list *list)
{
    lk_free(list->steps);
    lk_free(list->pieces);
    *list = (struct lk_vk_list){0};
}

/* ---- descriptor sets ---- */

static VkDescriptorBufferInfo buffer_of(const struct lk_exec *e, const struct lk_vk_list *list,
                                        const struct lk_vk_bind *b,
                                        const struct lk_state_mem *states)
{
    const struct lk_vk_store *s = &e->store;
    switch (b->kind) {
    case LK_VK_BIND_PIECE: {
        const struct lk_vk_piece *p = &list->pieces[b->index];
        const struct lk_slot *out = &e->o.plan->slots[e->o.plan->out_slot];
        size_t bytes = (size_t)(b->bytes ? b->bytes : p->bytes - b->at);
        if (list->direct && b->index == e->o.plan->out_slot) { /* of its row alone */
            return (VkDescriptorBufferInfo){e->readback.handle, 0,
                                            lk_round_up((size_t)out->width * 4, 16)};
        }
        return (VkDescriptorBufferInfo){e->arena.handle, p->offset + b->at, lk_round_up(bytes, 16)};
    }
    case LK_VK_BIND_CHUNK: {
        const struct lk_vk_chunk *c = &s->matrices[b->index].chunks[b->sub];
        return (VkDescriptorBufferInfo){s->blocks[c->buffer].handle, c->offset, c->size};
    }
    case LK_VK_BIND_VECTOR:
        return (VkDescriptorBufferInfo){s->blocks[0].handle, s->vector_at[b->index],
                                        (VkDeviceSize)e->o.plan->weights[b->index].cols * 4};
    case LK_VK_BIND_VECTORS:
        return (VkDescriptorBufferInfo){s->blocks[0].handle, 0, VK_WHOLE_SIZE};
    case LK_VK_BIND_BATCH:
        return (VkDescriptorBufferInfo){e->batch.handle, 0, VK_WHOLE_SIZE};
    case LK_VK_BIND_STATE: {
        const struct lk_vk_state_at *at = &states->at[b->index];
        return (VkDescriptorBufferInfo){states->blocks[at->block].handle, at->offset, at->bytes};
    }
    case LK_VK_BIND_NONE:
        break;
    }
    return (VkDescriptorBufferInfo){e->flags.handle, e->at_unused, LK_VK_ALIGN};
}

/* Writes the bindings that do (or don't) name states, and the flags at binding 7. What a step
 * does not use names bytes behind the flags that are its own: no other step seems to wait for them.
 */
static void write_set(struct lk_exec *e, const struct lk_vk_list *list, struct lk_vk_step *s,
                      const struct lk_state_mem *states)
{
    VkDescriptorBufferInfo info[LK_VK_BINDINGS];
    VkWriteDescriptorSet write[LK_VK_BINDINGS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < LK_VK_BINDINGS; i++) {
        if ((s->bind[i].kind == LK_VK_BIND_STATE) != (states != NULL)) {
            continue;
        }
        info[n] = buffer_of(e, list, &s->bind[i], states);
        if (i == LK_VK_BINDINGS - 1) {
            info[n].offset = 0;
            info[n].range = (VkDeviceSize)e->o.plan->n_ops * 4;
        } else if (s->bind[i].kind == LK_VK_BIND_NONE) {
            info[n].offset += (VkDeviceSize)(s - list->steps) * LK_VK_ALIGN;
        }
        write[n] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                          .dstSet = s->set,
                                          .dstBinding = i,
                                          .descriptorCount = 1,
                                          .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                          .pBufferInfo = &info[n]};
        n++;
    }
    if (n) {
        e->dev->vk.vkUpdateDescriptorSets(e->dev->handle, n, write, 0, NULL);
    }
}

lk_status lk_vk_list_finish(struct lk_exec *e, struct lk_vk_list *list, lk_error *err)
{
    for (int i = 0; i < list->n_steps; i++) {
        VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = e->descriptors,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &e->dev->set_layout};
        VkResult r =
            e->dev->vk.vkAllocateDescriptorSets(e->dev->handle, &info, &list->steps[i].set);
        if (r) {
            return lk_vk_fail(e->dev, r, "descriptor sets", err);
        }
        write_set(e, list, &list->steps[i], NULL);
    }
    return LK_OK;
}

void lk_vk_list_bind_states(struct lk_exec *e, struct lk_vk_list *list,
                            const struct lk_state_mem *states)
{
    for (int i = 0; i < list->n_steps; i++) {
        write_set(e, list, &list->steps[i], states);
    }
}

/* ---- recording ---- */

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

static int variant_of(const struct lk_vk_facts *f, const struct lk_vk_step *s, uint32_t rows)
{
    if (s->grid != LK_VK_GRID_MATMUL) {
        return 0;
    }
    int v = lk_vk_variant_for(f, rows, s->tile[LK_VK_SPLIT].cols > 0);
    return v == LK_VK_TILE && lk_vk_tile_large(f, s->tile, s->x, rows) ? LK_VK_TILE_LARGE : v;
}

/* Row groups of a matmul that small tiles have, behind those of large ones. */
static uint32_t small_groups(const struct lk_vk_facts *f, const struct lk_vk_step *s, int variant,
                             uint32_t rows)
{
    return variant == LK_VK_TILE_LARGE ? s->x - lk_vk_tile_large(f, s->tile, s->x, rows) : 0;
}

int lk_vk_step_pipes(const struct lk_vk_facts *f, const struct lk_vk_step *s, uint32_t rows,
                     const struct lk_vk_pipe *out[2])
{
    int v = variant_of(f, s, rows);
    out[0] = s->pipe[v];
    out[1] = s->pipe[LK_VK_TILE];
    return small_groups(f, s, v, rows) > 0 ? 2 : 1;
}

/* Workgroups along x and y for a number of rows; of attention, the most there can be. */
static void grid_of(const struct lk_vk_facts *f, const struct lk_vk_step *s, uint32_t rows,
                    uint32_t *x, uint32_t *y)
{
    int v = variant_of(f, s, rows);
    const struct lk_vk_tile_size *tile = &s->tile[v > LK_VK_TILE ? v - LK_VK_TILE : 0];
    *x = s->x;
    *y = rows;
    switch (s->grid) {
    case LK_VK_GRID_MATMUL:
        *x = v >= LK_VK_TILE
                 ? ceil_div(s->x - small_groups(f, s, v, rows), tile->groups) * tile->parts
                 : s->x;
        *y = ceil_div(rows, v >= LK_VK_TILE ? tile->cols : lk_vk_variant_cols(f, v));
        break;
    case LK_VK_GRID_ELEMS: {
        uint32_t groups = ceil_div(rows * s->y, 128);
        *x = groups < 32768 ? groups : 32768;
        *y = ceil_div(groups, 32768);
        break;
    }
    case LK_VK_GRID_MERGE:
        *y = rows * s->y;
        break;
    case LK_VK_GRID_ATTN:
        *x = s->y; /* heads go first, see attn_matrix.comp */
        break;
    case LK_VK_GRID_ONE:
        *x = *y = 1;
        break;
    case LK_VK_GRID_SEQS:
        *y = rows < s->y ? rows : s->y;
        break;
    case LK_VK_GRID_SORTED: /* a last tile that is not full, of each expert, and the full ones */
        *x = ceil_div(s->x, tile->groups);
        *y = lk_vk_sorted_tiles(rows, s->y, tile->cols);
        break;
    case LK_VK_GRID_ROWS:
        break;
    }
}

uint32_t lk_vk_list_rows(const struct lk_exec *e, const struct lk_vk_list *l, enum lk_rows rows)
{
    int tokens = e->o.max_tokens < l->max_tokens ? e->o.max_tokens : l->max_tokens;
    int outputs = e->o.max_outputs < l->max_tokens ? e->o.max_outputs : l->max_tokens;
    int n = lk_plan_rows(e->o.plan, tokens, outputs).n[rows];
    return (uint32_t)(n < 1 ? 1 : n);
}

uint32_t lk_vk_sorted_tiles(uint32_t rows, uint32_t experts, uint32_t cols)
{
    return (rows < experts ? rows : experts) + rows / cols;
}

void lk_vk_take_fewer(struct lk_exec *e, enum lk_rows rows, int most)
{
    if (rows == LK_ROWS_ROUTED) {
        rows = LK_ROWS_TOKENS;
        most /= e->o.plan->n_routed;
    }
    rows = rows == LK_ROWS_ASKED ? LK_ROWS_TOKENS : rows;
    e->held.n[rows] = most < e->held.n[rows] ? most : e->held.n[rows];
}

/* Workgroups of a step's largest dispatch with so many rows. */
static void most_groups(const struct lk_exec *e, const struct lk_vk_list *l,
                        const struct lk_vk_step *s, uint32_t rows, uint32_t n[3])
{
    bool split = s->grid == LK_VK_GRID_ATTN && l != &e->list[LK_VK_MANY];
    n[2] = !split ? 1 : s->z ? s->z : (uint32_t)e->o.max_blocks;
    grid_of(&e->facts, s, rows, &n[0], &n[1]);
}

static bool groups_fit(const uint32_t n[3], const uint32_t most[3])
{
    return n[0] <= most[0] && n[1] <= most[1] && n[2] <= most[2];
}

static lk_status refuse_groups(const struct lk_exec *e, const struct lk_vk_step *s, uint32_t rows,
                               const uint32_t n[3], const uint32_t most[3], lk_error *err)
{
    int k = n[0] > most[0] ? 0 : n[1] > most[1] ? 1 : 2;
    return lk_fail(
        err, LK_E_UNSUPPORTED,
        "%s: %u workgroups along %c for %u rows and %d blocks of keys, device '%s' takes "
        "%u%s",
        lk_op_name(e->o.plan->ops[s->op[0]].kind), n[k], "xyz"[k], rows, e -> o.max_blocks,
        e->dev->found.props.deviceName, most[k], k == 2 ? ": use a smaller context" : "");
}

lk_status lk_vk_list_check(struct lk_exec *e, const struct lk_vk_list *l, lk_error *err)
{
    const uint32_t *most = e->dev->found.props.limits.maxComputeWorkGroupCount;
    for (int i = 0; i < l->n_steps; i++) {
        const struct lk_vk_step *s = &l->steps[i];
        uint32_t rows = lk_vk_list_rows(e, l, s->rows) * s->times, n[3], fit = rows;
        most_groups(e, l, s, rows, n);
        if (groups_fit(n, most)) {
            continue;
        }
        for (uint32_t less[3] = {n[0], n[1], n[2]}; fit > 0 && !groups_fit(less, most);) {
            if (--fit > 0) {
                most_groups(e, l, s, fit, less);
            }
        }
        fit /= s->times;
        if (!e->o.fewer || fit == 0) {
            return refuse_groups(e, s, rows, n, most, err);
        }
        if (l == &e->list[LK_VK_FEW]) { /* more tokens are another list's */
            int tokens = (int)fit / (s->rows == LK_ROWS_ROUTED ? e->o.plan->n_routed : 1);
            e->few_held = tokens < e->few_held ? tokens : e->few_held;
        } else {
            lk_vk_take_fewer(e, s->rows, (int)fit);
        }
    }
    return LK_OK;
}

/* Small tiles of a matmul whose first row groups have large ones, at the same time as those. */
static void dispatch_small(struct lk_exec *e, const struct lk_vk_step *s, VkCommandBuffer c,
                           VkPipeline pipe, uint32_t rows, uint32_t *push)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    const struct lk_vk_tile_size *tile = &s->tile[0];
    uint32_t large = lk_vk_tile_large(&e->facts, s->tile, s->x, rows);
    uint32_t y = ceil_div(rows, tile->cols);
    push[offsetof(struct lk_vk_matmul_push, tile0) / 4] = large / tile->groups * y;
    vk->vkCmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipe);
    vk->vkCmdPushConstants(c, e->dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, s->n_push, push);
    vk->vkCmdDispatch(c, ceil_div(s->x - large, tile->groups), y, 1);
}

static void dispatch(struct lk_exec *e, const struct lk_vk_step *s, VkCommandBuffer c,
                     uint32_t rows)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    uint32_t push[LK_VK_PUSH_BYTES / 4], x, y;
    memcpy(push, s->push, s->n_push);
    if (s->grid != LK_VK_GRID_ATTN && s->grid != LK_VK_GRID_MERGE) {
        push[0] = s->grid == LK_VK_GRID_ELEMS ? rows * s->y : rows;
    }
    const struct lk_vk_pipe *pipe[2];
    int n_pipes = lk_vk_step_pipes(&e->facts, s, rows, pipe);
    grid_of(&e->facts, s, rows, &x, &y);
    vk->vkCmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipe[0]->handle);
    vk->vkCmdBindDescriptorSets(c, VK_PIPELINE_BIND_POINT_COMPUTE, e->dev->layout, 0, 1, &s->set, 0,
                                NULL);
    vk->vkCmdPushConstants(c, e->dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, s->n_push, push);
    if (s->grid == LK_VK_GRID_ATTN && s->z) {
        vk->vkCmdDispatch(c, s->y, 1, s->z);
    } else if (s->grid == LK_VK_GRID_ATTN) {
        vk->vkCmdDispatchIndirect(c, e->sizes.handle, (VkDeviceSize)s->x * 4);
    } else {
        vk->vkCmdDispatch(c, x, y, 1);
    }
    if (n_pipes > 1) {
        dispatch_small(e, s, c, pipe[1]->handle, rows, push);
    }
}

/* While ops are timed: when everything before it is done. */
static void stamp(struct lk_exec *e, VkCommandBuffer c, int i)
{
    if (e->times.op) {
        e->dev->vk.vkCmdWriteTimestamp(c, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, e->times.queries,
                                       (uint32_t)i);
    }
}

/* Rows that come with the batch: from the staging buffer into the arena. */
static void copy_in(struct lk_exec *e, const struct lk_vk_list *list, VkCommandBuffer c,
                    int n_tokens)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    const struct lk_plan *plan = e->o.plan;
    VkDeviceSize at = 0;
    VkMemoryBarrier copied = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                              .dstAccessMask =
                                  VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    for (int i = lk_vk_next_staged(plan, -1); i >= 0; i = lk_vk_next_staged(plan, i)) {
        VkDeviceSize row = (VkDeviceSize)plan->slots[i].width * 4;
        VkBufferCopy region = {at, list->pieces[i].offset, (VkDeviceSize)n_tokens * row};
        vk->vkCmdCopyBuffer(c, e->staging.handle, e->arena.handle, 1, &region);
        at += (VkDeviceSize)e->o.max_tokens * row;
    }
    vk->vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_TRANSFER_BIT,
                             VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &copied, 0, NULL, 0, NULL);
}

/* The out slot, from the arena to where the host reads it. */
static void copy_out(struct lk_exec *e, const struct lk_vk_list *list, VkCommandBuffer c,
                     const struct lk_row_counts *rows)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    const struct lk_plan *plan = e->o.plan;
    const struct lk_slot *out = &plan->slots[plan->out_slot];
    VkDeviceSize n = (VkDeviceSize)rows->n[out->rows] * (VkDeviceSize)out->width * 4;
    VkMemoryBarrier done = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                            .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                            .dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_HOST_READ_BIT};
    vk->vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                             VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                             &done, 0, NULL, 0, NULL);
    if (n > 0 && !list->direct) {
        VkBufferCopy region = {list->pieces[plan->out_slot].offset, 0, n};
        VkMemoryBarrier read = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
        vk->vkCmdCopyBuffer(c, e->arena.handle, e->readback.handle, 1, &region);
        vk->vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0,
                                 1, &read, 0, NULL, 0, NULL);
    }
}

void lk_vk_list_record(struct lk_exec *e, const struct lk_vk_list *list, VkCommandBuffer c,
                       int first, int end, const struct lk_row_counts *rows, bool apart)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    bool waits = false; /* a step that is left out would have waited */
    VkMemoryBarrier compute = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                               .dstAccessMask =
                                   VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    if (first == 0) {
        if (e->times.op) {
            vk->vkCmdResetQueryPool(c, e->times.queries, 0, (uint32_t)list->n_steps + 1);
        }
        if (lk_vk_next_staged(e->o.plan, -1) >= 0) {
            copy_in(e, list, c, rows->n[LK_ROWS_TOKENS]);
        }
        stamp(e, c, 0);
    }
    for (int i = first; i < end; i++) {
        const struct lk_vk_step *s = &list->steps[i];
        uint32_t n = (uint32_t)rows->n[s->rows] * s->times;
        bool left_out = s->apart && !apart;
        waits |= s->barrier;
        if (waits && (!left_out || i + 1 == end)) {
            waits = false;
            /* Nothing but kernels: to wait for what reads the sizes of dispatches too, which only
             * the host writes, costs some GPUs twice the time of a small step. */
            vk->vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                     VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &compute, 0, NULL,
                                     0, NULL);
        }
        if (n > 0 && !left_out) {
            dispatch(e, s, c, n);
        }
        stamp(e, c, i + 1);
    }
    if (end == list->n_steps) {
        copy_out(e, list, c, rows);
    }
}
