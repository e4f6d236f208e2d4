/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref_state: see ref_state.h.
 */
#include "ref/ref_state.h"

#include "base/mem.h"
#include "base/numerics.h"

void lk_ref_state_free(struct lk_state_mem *mem)
{
    if (mem) {
        lk_free(mem->cells);
        lk_free(mem->at);
        lk_free(mem);
    }
}

size_t lk_ref_unit_cells(const struct lk_state *s)
{
    return lk_state_is_paged(s) ? (size_t)s->n_head * LK_KV_BLOCK * (size_t)s->head_dim
                                : (size_t)s->rows * (size_t)s->dim;
}

lk_status lk_ref_state_alloc(struct lk_backend *backend, const struct lk_state_geom *geom,
                             struct lk_state_mem **out, lk_error *err)
{
    (void)backend;
    const struct lk_plan *plan = geom->plan;
    struct lk_state_mem *mem = lk_alloc(sizeof *mem);
    size_t n = 0;
    if (mem) {
        mem->geom = *geom;
        mem->at = lk_alloc_array((size_t)plan->n_states + 1, sizeof *mem->at);
    }
    for (int i = 0; mem && mem->at && i < plan->n_states; i++) {
        mem->at[i] = n;
        n += (size_t)lk_state_units(geom, i) * lk_ref_unit_cells(&plan->states[i]);
    }
    if (mem && mem->at) {
        mem->cells = lk_alloc_array(n + 1, sizeof *mem->cells);
    }
    if (!mem || !mem->at || !mem->cells) {
        lk_ref_state_free(mem);
        return lk_fail(err, LK_E_NOMEM, "out of memory: states in double");
    }
    *out = mem;
    return LK_OK;
}

double *lk_ref_cells(const struct lk_state_mem *mem, int state)
{
    return mem->cells + mem->at[state];
}

/* A unit as other backends hold it <- cells. */
static void store_unit(const struct lk_state *s, const double *cells, uint32_t *unit)
{
    size_t hd = (size_t)s->head_dim;
    if (!lk_state_is_paged(s)) {
        for (size_t i = 0; i < lk_ref_unit_cells(s); i++) {
            unit[i] = lk_bits((float)cells[i]);
        }
        return;
    }
    for (int h = 0; h < s->n_head; h++) {
        uint32_t *head = unit + LK_KV_HEAD_AT(0, h, s->n_head, s->dim, s->bits);
        for (int slot = 0; slot < LK_KV_BLOCK; slot++, cells += hd) {
            float row[LK_MAX_HEAD_DIM];
            for (size_t d = 0; d < hd; d++) {
                row[d] = (float)cells[d];
            }
            if (s->kind == LK_STATE_K) {
                lk_kv_put_k(head, s->dim, s->bits, slot, row, s->head_dim);
            } else {
                lk_kv_put_v(head, s->dim, slot, row, s->head_dim);
            }
        }
    }
}

/* Cells <- a unit as other backends hold it. */
static void load_unit(const struct lk_state *s, const uint32_t *unit, double *cells)
{
    if (!lk_state_is_paged(s)) {
        for (size_t i = 0; i < lk_ref_unit_cells(s); i++) {
            cells[i] = (double)lk_flt(unit[i]);
        }
        return;
    }
    for (int h = 0; h < s->n_head; h++) {
        const uint32_t *head = unit + LK_KV_HEAD_AT(0, h, s->n_head, s->dim, s->bits);
        for (int slot = 0; slot < LK_KV_BLOCK; slot++) {
            double scale = (double)lk_kv_scale_at(head, s->dim, s->bits, slot);
            for (int d = 0; d < s->head_dim; d++) {
                int x = s->kind == LK_STATE_K ? lk_kv_k_at(head, s->dim, s->bits, d, slot)
                                              : lk_kv_v_at(head, s->dim, d, slot);
                *cells++ = scale * x;
            }
        }
    }
}

/* Whole units of a state: the first in *unit, how many in *n_units. */
static lk_status whole_units(const struct lk_state_mem *mem, int i, size_t offset, size_t n,
                             size_t *unit, size_t *n_units, lk_error *err)
{
    size_t bytes = lk_state_unit_bytes(&mem->geom.plan->states[i]);
    *unit = offset / bytes;
    *n_units = n / bytes;
    lk_status status = lk_state_check_range(&mem->geom, i, offset, n, err);
    if (status || (offset % bytes == 0 && n % bytes == 0)) {
        return status;
    }
    return lk_fail(err, LK_E_INVALID, "state %d: bytes %zu+%zu, expected whole units of %zu", i,
                   offset, n, bytes);
}

lk_status lk_ref_state_read(struct lk_state_mem *mem, int i, size_t offset, void *data, size_t n,
                            lk_error *err)
{
    const struct lk_state *s = &mem->geom.plan->states[i];
    size_t unit, count;
    lk_status status = whole_units(mem, i, offset, n, &unit, &count, err);
    for (size_t u = 0; !status && u < count; u++) {
        store_unit(s, lk_ref_cells(mem, i) + (unit + u) * lk_ref_unit_cells(s),
                   (uint32_t *)data + u * lk_state_unit_bytes(s) / sizeof(uint32_t));
    }
    return status;
}

lk_status lk_ref_state_write(struct lk_state_mem *mem, int i, size_t offset, const void *data,
                             size_t n, lk_error *err)
{
    const struct lk_state *s = &mem->geom.plan->states[i];
    size_t unit, count;
    lk_status status = whole_units(mem, i, offset, n, &unit, &count, err);
    for (size_t u = 0; !status && u < count; u++) {
        load_unit(s, (const uint32_t *)data + u * lk_state_unit_bytes(s) / sizeof(uint32_t),
                  lk_ref_cells(mem, i) + (unit + u) * lk_ref_unit_cells(s));
    }
    return status;
}

lk_status lk_ref_state_check(struct lk_state_mem *mem, lk_error *err)
{
    (void)mem; /* an array of its own: the sanitizers guard it */
    (void)err;
    return LK_OK;
}
