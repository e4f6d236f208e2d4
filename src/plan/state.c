/* SPDX-License-Identifier: Apache-2.0
 *
 * State: see state.h.
 */
#include "plan/state.h"

#include <string.h>

struct lk_state lk_state_paged(enum lk_state_kind kind, int layer, int n_head, int head_dim)
{
    return (struct lk_state){.kind = kind,
                             .layer = layer,
                             .n_head = n_head,
                             .head_dim = head_dim,
                             .dim = (int)lk_round_up((size_t)head_dim, LK_KV_DIM_ALIGN)};
}

const char *lk_state_name(const struct lk_state *s)
{
    switch (s->kind) {
    case LK_STATE_K:
        return "K";
    case LK_STATE_V:
        return "V";
    case LK_STATE_RECURRENT:
        break;
    }
    return "recurrent state";
}

size_t lk_state_cell_bytes(const struct lk_state *s)
{
    return lk_state_is_paged(s) ? sizeof(uint16_t) : sizeof(float);
}

size_t lk_state_unit_bytes(const struct lk_state *s)
{
    size_t cells = lk_state_is_paged(s) ? LK_KV_BLOCK_ELEMS((size_t)s->n_head, (size_t)s->dim)
                                        : (size_t)s->rows * (size_t)s->dim;
    return cells * lk_state_cell_bytes(s);
}

void lk_state_zero_cells(const struct lk_state *s, void *unit, size_t n)
{
    size_t nh = (size_t)s->n_head, dim = (size_t)s->dim;
    uint16_t *cells = unit;
    if (!lk_state_is_paged(s)) {
        return;
    }
    for (size_t h = 0; h < nh; h++) {
        for (size_t d = 0; d < dim; d++) {
            for (size_t slot = n; slot < LK_KV_BLOCK; slot++) {
                cells[s->kind == LK_STATE_K ? LK_KV_K_AT(0, h, d, slot, nh, dim)
                                            : LK_KV_V_AT(0, h, slot, d, nh, dim)] = 0;
            }
        }
    }
}

int64_t lk_state_find_bad(const struct lk_state *s, const void *units, size_t n_bytes)
{
    const uint8_t *p = units;
    size_t step = lk_state_cell_bytes(s);
    for (size_t at = 0; at + step <= n_bytes; at += step) {
        unsigned high = p[at + step - 1], next = p[at + step - 2];
        bool bad = step == 2 ? (high & 0x7c) == 0x7c : (high & 0x7f) == 0x7f && next >= 0x80;
        if (bad) {
            return (int64_t)at;
        }
    }
    return -1;
}
