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
    /* Turns of queries alone, of models whose attention grows sharper with the position: cos and
     * sin are also multiplied by 1 + temperature * ln(1 + floor(pos / original)). 0: none. */
    double temperature;
    double original;
};

/* YaRN: angles that turn often within the original context stay, those that turn less than once are
 * divided by the factor, between them is a ramp. "YaRN: Efficient Context Window Extension of Large
 * Language Models", arXiv 2309.00071, 3.2 and 3.3. */
struct lk_yarn {
    double factor;               /* 0: no YaRN */
    double original;             /* positions the model was trained with, >= 1 */
    double beta_fast, beta_slow; /* turns within `original` where the ramp ends and begins */
    double extrapolation;        /* share of the angles that stay; 1 in the paper */
    bool fractional;             /* the ramp's ends are not rounded to whole pairs */
};

/* inv_freq[i] = base^(-2i/n_dims) / (linear * factors[i]); factors may be NULL. */
lk_status lk_rope_init(struct lk_rope *rope, int n_dims, bool interleaved, double base,
                       double linear, const float *factors, lk_error *err);
void lk_rope_free(struct lk_rope *rope);
/* Scales inv_freq of a table that was made with `base` and no linear factor. */
void lk_rope_scale_yarn(struct lk_rope *rope, double base, const struct lk_yarn *yarn);
/* 0.1 * m * ln(factor) + 1, or 1 if factor <= 1: what YaRN multiplies cos and sin by is this of
 * m = 1, divided by this of the multiplier that a file may give. */
double lk_yarn_magnitude(double factor, double m);

/* cs[2i] = cos, cs[2i+1] = sin of pos * inv_freq[i], times attn_factor (and the temperature's
 * factor), rounded once to f32 and flushed (rule 1). pos >= 0. cs has n_dims floats. */
void lk_rope_table(const struct lk_rope *rope, int32_t pos, float *cs);
void lk_rope_table_f64(const struct lk_rope *rope, int32_t pos, double *cs);
#endif
