/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_store: weights on the device, in blocks of at most 1 GiB: where each lies, and how it gets
 * there.
 */
#include "vulkan/build/vk_store.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "vulkan/build/vk_pack.h"

enum { ROWS = LK_VK_ROWS };
static const size_t STAGING = 16u << 20;

static size_t chunk_bytes(const struct lk_vk_matrix *m, size_t n_groups)
{
    return lk_vk_sizes_sum(lk_vk_layout_sizes(m->type, m->cols, n_groups));
}

static bool same_parts(const struct lk_vk_matrix *m, const struct lk_plan *plan, const int *part,
                       int n_parts)
{
    if (m->n_parts != n_parts) {
        return false;
    }
    for (int i = 0; i < n_parts; i++) {
        const struct lk_weight *a = &plan->weights[m->part[i]], *b = &plan->weights[part[i]];
        if (a->data != b->data || a->type != b->type || a->rows != b->rows || a->cols != b->cols) {
            return false;
        }
    }
    return true;
}

/* The matrix of parts, which are of a type and width, without its chunks. */
static struct lk_vk_matrix describe(const struct lk_plan *plan, const int *part, int n_parts)
{
    const struct lk_weight *first = &plan->weights[part[0]];
    struct lk_vk_matrix m = {.type = first->type,
                             .cols = first->cols,
                             .n_blocks = lk_vk_layout_blocks(first->type, first->cols),
                             .n_parts = n_parts};
    for (int i = 0; i < n_parts; i++) {
        m.part[i] = part[i];
        m.first_group[i] = m.n_groups;
        m.n_groups += (uint32_t)lk_vk_layout_groups(&plan->weights[part[i]]);
    }
    for (int i = n_parts; i < 4; i++) {
        m.first_group[i] = m.n_groups;
    }
    m.expert_groups = first->n_experts > 0 ? m.first_group[1] / (uint32_t)first->n_experts : 0;
    return m;
}

/* Cuts a matrix into chunks of at most so many row groups. */
static lk_status cut(struct lk_vk_matrix *m, size_t per_chunk, const char *name, lk_error *err)
{
    m->n_chunks = (int)((m->n_groups + per_chunk - 1) / per_chunk);
    m->chunks = lk_alloc_array((size_t)m->n_chunks, sizeof *m->chunks);
    if (!m->chunks) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing '%s'", name);
    }
    size_t points;
    lk_vk_layout_points(m->type, &points);
    for (int i = 0; i < m->n_chunks; i++) {
        struct lk_vk_chunk *c = &m->chunks[i];
        c->group0 = (uint32_t)((size_t)i * per_chunk);
        c->n_groups = m->n_groups - c->group0;
        c->n_groups = c->n_groups < per_chunk ? c->n_groups : (uint32_t)per_chunk;
        struct lk_vk_sizes s = lk_vk_layout_sizes(m->type, m->cols, c->n_groups);
        c->mid = (uint32_t)(s.body / 4);
        c->tail = (uint32_t)((s.body + s.mid) / 4);
        c->size = lk_vk_sizes_sum(s) + points;
    }
    return LK_OK;
}

lk_status lk_vk_store_matrix(struct lk_vk_store *store, const struct lk_vk_facts *facts,
                             const struct lk_plan *plan, const int *part, int n_parts, int *out,
                             lk_error *err)
{
    for (int i = 0; i < store->n_matrices; i++) {
        if (same_parts(&store->matrices[i], plan, part, n_parts)) {
            *out = i;
            return LK_OK;
        }
    }
    const struct lk_weight *first = &plan->weights[part[0]];
    struct lk_vk_matrix m = describe(plan, part, n_parts);
    size_t per_chunk = lk_vk_layout_most_groups(facts, m.type, m.cols);
    uint32_t least = m.expert_groups > 0 ? m.expert_groups : 1; /* whole experts */
    per_chunk -= per_chunk % least;
    if (per_chunk == 0) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "tensor '%s': %u rows of %lld elements are beyond the device's buffer "
                       "range of %llu bytes",
                       first->name, least * ROWS, (long long)first->cols,
                       (unsigned long long)lk_vk_facts_max_chunk(facts));
    }
    lk_status status = cut(&m, per_chunk, first->name, err);
    if (!status) {
        status = lk_grow(&store->matrices, &store->cap_matrices, (size_t)store->n_matrices + 1,
                         sizeof m, err);
    }
    if (status) {
        lk_free(m.chunks);
        return status;
    }
    *out = store->n_matrices;
    store->matrices[store->n_matrices++] = m;
    return LK_OK;
}

lk_status lk_vk_store_vector(struct lk_vk_store *store, const struct lk_plan *plan, int weight,
                             lk_error *err)
{
    if (!store->vector_at) {
        store->vector_at = lk_alloc_array((size_t)plan->n_weights, sizeof *store->vector_at);
        if (!store->vector_at) {
            return lk_fail(err, LK_E_NOMEM, "out of memory preparing the weights");
        }
        for (int i = 0; i < plan->n_weights; i++) {
            store->vector_at[i] = UINT64_MAX;
        }
    }
    if (store->vector_at[weight] == UINT64_MAX) {
        store->vector_at[weight] = store->vector_bytes;
        store->vector_bytes += lk_round_up((size_t)plan->weights[weight].cols * 4, 256);
    }
    return LK_OK;
}

/* Gives every chunk its place; the first block is that of the vectors. */
static lk_status place(struct lk_vk_store *store, VkDeviceSize limit, lk_error *err)
{
    size_t cap = 0;
    lk_status status = lk_grow(&store->blocks, &cap, 1, sizeof *store->blocks, err);
    if (status) {
        return status;
    }
    store->n_blocks = 1;
    store->blocks[0].size = store->vector_bytes;
    VkDeviceSize at = limit; /* chunks start in a block of their own */
    for (int i = 0; i < store->n_matrices; i++) {
        for (int c = 0; c < store->matrices[i].n_chunks; c++) {
            struct lk_vk_chunk *chunk = &store->matrices[i].chunks[c];
            if (at + chunk->size > limit) {
                status = lk_grow(&store->blocks, &cap, (size_t)store->n_blocks + 1,
                                 sizeof *store->blocks, err);
                if (status) {
                    return status;
                }
                store->n_blocks++;
                at = 0;
            }
            chunk->buffer = (uint32_t)store->n_blocks - 1;
            chunk->offset = at;
            at += lk_round_up((size_t)chunk->size, 256);
            store->blocks[chunk->buffer].size = at;
        }
    }
    return LK_OK;
}

struct filler {
    struct lk_vk_device *dev;
    struct lk_vk_store *store;
    const struct lk_plan *plan;
    const struct lk_backend_options *options;
    struct lk_vk_buffer staging;
    uint64_t done, total;
};

static lk_status progress(struct filler *f, uint64_t bytes, lk_error *err)
{
    f->done += bytes;
    if (f->options->progress &&
        !f->options->progress(f->options->progress_user, "uploading weights", f->done, f->total)) {
        return lk_fail(err, LK_E_CANCELLED, "uploading weights: cancelled");
    }
    return LK_OK;
}

/* Packs groups of one part that fall into a chunk, in pieces that fit the staging buffer. */
static lk_status fill_part(struct filler *f, const struct lk_vk_matrix *m,
                           const struct lk_vk_chunk *c, int part, lk_error *err)
{
    const struct lk_weight *w = &f->plan->weights[m->part[part]];
    uint32_t lo = m->first_group[part], hi = m->first_group[part + 1];
    lo = lo > c->group0 ? lo : c->group0;
    hi = hi < c->group0 + c->n_groups ? hi : c->group0 + c->n_groups;
    struct lk_vk_sizes one = lk_vk_layout_sizes(m->type, m->cols, 1);
    size_t per = (size_t)f->staging.size / lk_vk_sizes_sum(one);
    struct lk_vk_buffer *block = &f->store->blocks[c->buffer];
    for (uint32_t g = lo; g < hi;) {
        size_t n = hi - g < per ? hi - g : per;
        struct lk_weight of = *w;
        uint32_t group = g - m->first_group[part];
        if (m->expert_groups > 0) { /* one expert at a time */
            of = lk_weight_of_expert(w, (int)(group / m->expert_groups));
            group %= m->expert_groups;
            n = n < m->expert_groups - group ? n : m->expert_groups - group;
        }
        struct lk_vk_sizes s = lk_vk_layout_sizes(m->type, m->cols, n);
        uint8_t *body = f->staging.map, *mid = body + s.body, *tail = mid + s.mid;
        lk_vk_pack(&of, group, n, body, mid, tail);
        size_t at = g - c->group0;
        struct {
            size_t to, from, bytes;
        } piece[3] = {{at * one.body, 0, s.body},
                      {(size_t)c->mid * 4 + at * one.mid, s.body, s.mid},
                      {(size_t)c->tail * 4 + at * one.tail, s.body + s.mid, s.tail}};
        if (block->map) {
            for (int i = 0; i < 3; i++) {
                memcpy(block->map + c->offset + piece[i].to, f->staging.map + piece[i].from,
                       piece[i].bytes);
            }
        } else {
            lk_status status = lk_vk_begin(f->dev, err);
            if (status) {
                return status;
            }
            for (int i = 0; i < 3; i++) {
                VkBufferCopy region = {piece[i].from, c->offset + piece[i].to, piece[i].bytes};
                if (region.size) {
                    f->dev->vk.vkCmdCopyBuffer(f->dev->commands, f->staging.handle, block->handle,
                                               1, &region);
                }
            }
            status = lk_vk_finish(f->dev, err);
            if (status) {
                return status;
            }
        }
        lk_status status = progress(f, lk_vk_sizes_sum(s), err);
        if (status) {
            return status;
        }
        g += (uint32_t)n;
    }
    return LK_OK;
}

/* The points of a grid, behind each chunk. */
static lk_status fill_points(struct filler *f, const struct lk_vk_matrix *m, lk_error *err)
{
    size_t n;
    const void *points = lk_vk_layout_points(m->type, &n);
    lk_status status = LK_OK;
    for (int i = 0; i < m->n_chunks && points && !status; i++) {
        const struct lk_vk_chunk *c = &m->chunks[i];
        status = lk_vk_write(f->dev, &f->store->blocks[c->buffer],
                             c->offset + (VkDeviceSize)c->tail * 4, points, n, &f->staging, err);
    }
    return status;
}

static lk_status check_weight(const struct lk_weight *w, lk_error *err)
{
    int64_t bad = lk_row_find_bad(w->type, w->data, (size_t)(w->rows * w->cols));
    if (bad >= 0) {
        return lk_fail(err, LK_E_FORMAT, "tensor '%s': %s in element %lld or its block", w->name,
                       lk_bad_text(w->type), (long long)bad);
    }
    return LK_OK;
}

static lk_status fill_all(struct filler *f, lk_error *err)
{
    struct lk_vk_store *s = f->store;
    lk_status status = LK_OK;
    for (int i = 0; s->vector_at && i < f->plan->n_weights && !status; i++) {
        if (s->vector_at[i] != UINT64_MAX) {
            const struct lk_weight *w = &f->plan->weights[i];
            status = check_weight(w, err);
            if (!status) {
                status = lk_vk_write(f->dev, &s->blocks[0], s->vector_at[i], w->data,
                                     (size_t)w->cols * 4, &f->staging, err);
            }
        }
    }
    for (int i = 0; i < s->n_matrices && !status; i++) {
        const struct lk_vk_matrix *m = &s->matrices[i];
        status = fill_points(f, m, err);
        for (int p = 0; p < m->n_parts && !status; p++) {
            const struct lk_weight *w = &f->plan->weights[m->part[p]];
            status = check_weight(w, err);
            for (int c = 0; c < m->n_chunks && !status; c++) {
                status = fill_part(f, m, &m->chunks[c], p, err);
            }
            if (w->mapped) {
                lk_map_drop(w->data, w->n_bytes);
            }
        }
    }
    return status;
}

uint64_t lk_vk_store_bytes(const struct lk_vk_store *store)
{
    uint64_t n = 0;
    for (int i = 0; i < store->n_matrices; i++) {
        n += chunk_bytes(&store->matrices[i], store->matrices[i].n_groups);
    }
    return n;
}

lk_status lk_vk_store_fill(struct lk_vk_device *dev, struct lk_vk_store *store,
                           const struct lk_vk_facts *facts, const struct lk_plan *plan,
                           const struct lk_backend_options *options, lk_error *err)
{
    struct filler f = {.dev = dev,
                       .store = store,
                       .plan = plan,
                       .options = options,
                       .total = lk_vk_store_bytes(store)};
    lk_status status = place(store, facts->max_block, err);
    size_t staging = STAGING;
    for (int i = 0; i < store->n_matrices && !status; i++) {
        size_t one = chunk_bytes(&store->matrices[i], 1);
        staging = one > staging ? one : staging;
    }
    for (int i = 0; i < store->n_blocks && !status; i++) {
        VkDeviceSize size = store->blocks[i].size;
        char what[64];
        snprintf(what, sizeof what, "weights, block %d of %d", i + 1, store->n_blocks);
        status = lk_vk_buffer_create(dev, size, LK_VK_USE_DEVICE, what, &store->blocks[i], err);
    }
    if (!status) {
        status = lk_vk_buffer_create(dev, staging, LK_VK_USE_READBACK, "upload staging", &f.staging,
                                     err);
    }
    if (!status) {
        status = fill_all(&f, err);
    }
    lk_vk_buffer_destroy(dev, &f.staging);
    return status;
}

void lk_vk_store_free(struct lk_vk_device *dev, struct lk_vk_store *store)
{
    for (int i = 0; i < store->n_matrices; i++) {
        lk_free(store->matrices[i].chunks);
    }
    for (int i = 0; i < store->n_blocks; i++) {
        lk_vk_buffer_destroy(dev, &store->blocks[i]);
    }
    lk_free(store->matrices);
    lk_free(store->blocks);
    lk_free(store->vector_at);
    *store = (struct lk_vk_store){0};
}
