/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec: the kernels beside matmul: norms, elementwise ops, rope, cache stores, attention chunks; one
 * table for each instruction-set level. The bits are those of cpu/scalar.c. Functions that store op
 * results return false when one was out of range (rule 1). Knows no plan and no threads.
 */
#ifndef LK_VEC_H
#define LK_VEC_H

#include "cpu/detect.h"
#include "plan/kv_cells.h"
#include "plan/op.h"

/* Rows of queries against one chunk of 64 keys of one KV head. A row is one query head of one
 * token; row i takes part in keys from[i] .. to[i] (slots of the block; from > to: in none). */
struct lk_attn_chunk {
    int n_rows;
    int dim, v_dim; /* of a key and a value as in the cache */
    int k_bits;
    const int16_t *q;     /* [n_rows][dim] integers of rule 8, pad zero */
    const float *q_scale; /* [n_rows] their scales times score_in */
    const uint32_t *k;    /* of this head and block: kv_layout.h */
    const uint32_t *v;
    const uint32_t *next_k, *next_v; /* of the chunk that follows, to be fetched ahead; or NULL */
    const int8_t *from, *to;
    float score_cap;
    /* Results of rule 8: the chunk's n, l and o (flushed); of rows in no key untouched. */
    int32_t *n;
    float *l;
    float *o;      /* [n_rows][v_dim] */
    int16_t *wide; /* scratch, [64][dim + v_dim]: for the kernel's own use */
};

struct lk_delta_token; /* cpu/scalar.h */
struct lk_ssm_token;
struct lk_vec_kernels {
    enum lk_cpu_level level;
    bool (*norm)(const float *x, const float *w, int n, int group, float eps, float *y);
    bool (*layer_norm)(const float *x, const float *w, int n, int group, float eps, float *y);
    bool (*add)(const float *a, const float *b, int n, float *y);
    bool (*bias)(const float *x, const float *b, int n, float *y);
    bool (*scale)(const float *x, int n, float factor, float *y);
    /* y[n] = the sum of k rows x[k][n], each times its weight. */
    bool (*combine)(const float *x, const float *w, int k, int n, float *y);
    /* Rule 12: lk_scalar_conv, lk_scalar_l2_norm, lk_scalar_delta, lk_scalar_ssm. */
    bool (*conv)(const float *const *x, const float *w, size_t stride, int taps, const float *b,
                 int n, bool silu, float *y);
    bool (*l2_norm)(const float *x, int n, int group, int n_groups, float eps, float *y);
    bool (*delta)(const struct lk_delta_token *t, const float *v, int n, float *s, float *o);
    bool (*ssm)(const struct lk_ssm_token *t, const float *x, int n, float *s, float *y);
    bool (*gelu)(const float *x, int n, float *y);
    bool (*glu)(enum lk_act act, const float *g, const float *u, int n, float *y);
    bool (*softcap)(const float *x, int n, float cap_in, float cap_out, float *y);
    bool (*rope)(const float *x, int n_head, int head_dim, int n_dims, bool interleaved,
                 const float *cs, float *y);
    void (*kv_store)(const struct lk_kv_shape *s, const float *k_row, const float *v_row, int block,
                     int slot, uint32_t *k, uint32_t *v);
    /* lk_kv_quantize. */
    float (*quantize)(const float *x, size_t n, int most, int16_t *q);
    /* False when a score is out of range. */
    bool (*attn_chunk)(const struct lk_attn_chunk *c);
    /* Merges chunk (n_c, l_c, o_c) into the running (n, l, o): rule 8. `first`: starts it. */
    void (*attn_merge)(bool first, int dim, int32_t *n, float *l, float *o, int32_t n_c, float l_c,
                       const float *o_c);
    /* out[n] = o / l. */
    bool (*attn_end)(int n, float l, const float *o, float *out);
};

const struct lk_vec_kernels *lk_vec_kernels(enum lk_cpu_level level);

extern const struct lk_vec_kernels lk_vec_generic; /* cpu/vec_generic.c */
extern const struct lk_vec_kernels lk_vec_avx2;    /* cpu/x86/vec_avx2.c */
extern const struct lk_vec_kernels lk_vec_avx512;  /* cpu/x86/vec_avx512.c */
extern const struct lk_vec_kernels lk_vec_amx;     /* cpu/x86/vec_amx.c */
extern const struct lk_vec_kernels lk_vec_neon;    /* cpu/arm/vec_neon.c */

#endif
