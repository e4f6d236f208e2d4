/* SPDX-License-Identifier: Apache-2.0
 *
 * State: what a model remembers between tokens, as data: a plan lists its states, and memory, saved
 * sessions, moves, forks and guards follow from the list. A paged state (K or V of a layer) has a
 * unit for each block of LK_KV_BLOCK positions, which sequences may share; a recurrent state has a
 * unit for each sequence. A unit is bytes; where a cell of it lies only kv_layout.h knows.
 */
#ifndef LK_STATE_H
#define LK_STATE_H

#include "base/base.h"
#include "plan/kv_layout.h"

enum lk_state_kind {
    LK_STATE_K,        /* keys as integers of 12 or 8 bits with a scale each: kv_layout.h */
    LK_STATE_V,        /* values as integers of 8 bits with a scale each */
    LK_STATE_RECURRENT /* f32 [rows][dim] a sequence, zero where a sequence begins */
};

struct lk_state {
    enum lk_state_kind kind;
    int layer;    /* of the model: who runs this layer keeps the state */
    int n_head;   /* K, V: heads */
    int head_dim; /* K, V: of a head, as the model has it */
    int rows;     /* recurrent */
    int dim;      /* K, V: head_dim rounded up to LK_KV_DIM_ALIGN; recurrent: floats of a row */
    int bits;     /* of a cell: LK_KV_K_BITS, LK_KV_K8_BITS, LK_KV_V_BITS; recurrent: 32 */
};

/* A K or V state of that shape; K with LK_KV_K_BITS. */
struct lk_state lk_state_paged(enum lk_state_kind kind, int layer, int n_head, int head_dim);

static inline bool lk_state_is_paged(const struct lk_state *s)
{
    return s->kind != LK_STATE_RECURRENT;
}

/* "K", "V" or "recurrent state"; static. */
const char *lk_state_name(const struct lk_state *s);
/* Bytes of a unit. */
size_t lk_state_unit_bytes(const struct lk_state *s);
/* Zeroes what a block of a paged state holds of slots >= n; a recurrent unit is left as it is. */
void lk_state_zero_cells(const struct lk_state *s, void *unit, size_t n);
/* Offset in n_bytes of whole units of the first number that no store writes: a float that is NaN or
 * infinite, a scale below zero or out of range, a key beyond LK_Q_MOST; -1: none. */
int64_t lk_state_find_bad(const struct lk_state *s, const void *units, size_t n_bytes);

#endif
