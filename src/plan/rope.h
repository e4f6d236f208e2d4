/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: rotary position tables, made by the host in double with + - * / alone, so that every
 * machine has the same bits (numerics rule 9). Knows no model file and no backend.
 */
#ifndef LK_ROPE_H
#define LK_ROPE_H

#include "base/base.h"

struct lk_rope {
    int n_dims;         /* rotated dims of a head, even; the rest pass through */
    bool interleaved;   /* pairs (2i, 2i+1); else (i, i + n_dims/2) */
    double *inv_freq;   /* [n_dims/2], scaling and frequency factors folded in; lk_alloc'd */
    double attn_factor; /* multiplies cos and sin; 1 for most models */
};

/* inv_freq[i] = base^(-2i/n_dims) / (linear * factors[i]); factors may be NULL. */
lk_status lk_rope_init(struct lk_rope *rope, int n_dims, bool interleaved, double base,
                       double linear, const float *factors, lk_error *err);
void lk_rope_free(struct lk_rope *rope);

/* cs[2i] = cos, cs[2i+1] = sin of pos * inv_freq[i], times attn_factor, rounded once to f32 and
 * flushed (rule 1). pos >= 0. cs has n_dims floats. */
void lk_rope_table(const struct lk_rope *rope, int32_t pos, float *cs);
void lk_rope_table_f64(const struct lk_rope *rope, int32_t pos, double *cs);
#endif
