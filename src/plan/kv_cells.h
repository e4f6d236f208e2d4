/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv_cells: a row of K or V as the integers and the scale that a cache holds (rule 8), and back;
 * the plain text of it, which kernels reproduce. Knows no plan and no backend.
 */
#ifndef LK_KV_CELLS_H
#define LK_KV_CELLS_H

#include "base/base.h"
#include "base/numerics.h"
#include "plan/kv_layout.h"

/* Shapes of a layer's K and V. */
struct lk_kv_shape {
    int n_head;            /* of K and V */
    int head_dim, v_dim;   /* of a head's keys (and queries) and values, in the model */
    int dim, v_dim_padded; /* the same as in the cache */
    int k_bits;
};
/* The first word of a head of K, or of V, in a block. */
static inline size_t lk_kv_k_head(const struct lk_kv_shape *s, int block, int head)
{
    return LK_KV_HEAD_AT((size_t)block, (size_t)head, (size_t)s->n_head, (size_t)s->dim,
                         (size_t)s->k_bits);
}
static inline size_t lk_kv_v_head(const struct lk_kv_shape *s, int block, int head)
{
    return LK_KV_HEAD_AT((size_t)block, (size_t)head, (size_t)s->n_head, (size_t)s->v_dim_padded,
                         (size_t)LK_KV_V_BITS);
}

/* q[n] = x[n] as integers of at most `most` (LK_Q_MOST or LK_BYTE_MOST); returns what 1 stands for.
 */
float lk_kv_quantize(const float *x, size_t n, int most, int16_t *q);
/* Largest integer of a cell of `bits`. */
int lk_kv_most(int bits);

/* Writes a row to slot `slot` of a head: x[head_dim], the pad of `dim` zero. `head` points to the
 * head's first word. Rows of different slots may be written by different threads. */
void lk_kv_put_k(uint32_t *head, int dim, int bits, int slot, const float *x, int head_dim);
void lk_kv_put_v(uint32_t *head, int dim, int slot, const float *x, int head_dim);
/* The same of integers that are made: k[dim], v[dim] with the pad. */
void lk_kv_place_k(uint32_t *head, int dim, int bits, int slot, const int16_t *k, float scale);
void lk_kv_place_v(uint32_t *head, int dim, int slot, const int16_t *v, float scale);

/* Integer d of the key at `slot`. */
static inline int lk_kv_k_at(const uint32_t *head, uint32_t dim, uint32_t bits, uint32_t d,
                             uint32_t slot)
{
    int high = (int8_t)(uint8_t)(head[LK_KV_K_HIGH(d, slot)] >> d % 4 * 8);
    if (bits != LK_KV_K_BITS) {
        return high;
    }
    return high * 16 + (int)(head[LK_KV_K_LOW(dim, d, slot)] >> (d % 4 * 8 + d % 8 / 4 * 4) & 15);
}
static inline int lk_kv_v_at(const uint32_t *head, uint32_t dim, uint32_t d, uint32_t slot)
{
    return (int8_t)(uint8_t)(head[LK_KV_V_AT(dim, d, slot)] >> slot % 4 * 8);
}
/* The scale at `slot`; of V bits is LK_KV_V_BITS. */
static inline float lk_kv_scale_at(const uint32_t *head, int dim, int bits, int slot)
{
    return lk_flt(head[LK_KV_SCALE_AT(dim, bits, slot)]);
}

#endif
