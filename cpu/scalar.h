/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar: the numerics contract, complete, in plain C: the measure of every kernel. Works on
 * weights as they lie in the file. One function for each op, no cleverness. Pure functions; each
 * op's stored results pass rule 1, and the return value of an op is false when one was out of
 * range. Knows no threads, no packing, no backend.
 */
#ifndef LK_SCALAR_H
#define LK_SCALAR_H

#include "plan/kv_cells.h"
#include "plan/op.h"

/* ---- activations quantized for a weight type (rule 4) ---- */

/* One row of K activations in blocks of `block` (32 or 256): q int8 [K], d f32 [K/block],
 * sum int32 [K/16]: sums of q over each 16 (a block of 32 has two, of 256 sixteen). K is a
 * multiple of the weight's block. */
struct lk_qrow {
    int8_t *q;
    float *d;
    int32_t *sum;
};
void lk_scalar_quantize(const float *x, int64_t k, int block, struct lk_qrow *out);

/* ---- ops; x and y are f32 rows ---- */

/* n floats in groups of `group`; w has `group` floats. */
bool lk_scalar_norm(const float *x, const float *w, int n, int group, float eps, float *y);
bool lk_scalar_layer_norm(const float *x, const float *w, int n, int group, float eps, float *y);
/* y[n_rows][w->rows] = w [rows][cols] times each of x[n_rows][cols]; scratch:
 * lk_scalar_matmul_scratch bytes, aligned to 64. */
size_t lk_scalar_matmul_scratch(const struct lk_weight *w, int n_rows);
bool lk_scalar_matmul(const struct lk_weight *w, const float *x, int n_rows, float *y,
                      void *scratch);
/* The sum of one row before the flush: what a kernel must reproduce. dot_q for quantized types;
 * dot_f for F32, F16, BF16, whose x is rounded already (lk_scalar_round_row). */
float lk_scalar_dot_q(enum lk_type type, const void *row, int64_t k, const struct lk_qrow *x);
float lk_scalar_dot_f(enum lk_type type, const void *row, int64_t k, const float *x);
/* The same in two steps, for a row that meets many x: the row, in blocks or in floats, and its sum
 * with one x. `info` is of its type. */
float lk_scalar_dot_blocks(const struct lk_type_info *info, const struct lk_block_ints *w,
                           int64_t n_blocks, const struct lk_qrow *x);
void lk_scalar_widen_row(enum lk_type type, const void *row, int64_t k, float *out);
float lk_scalar_dot_floats(const float *w, int64_t k, const float *x);
/* Rounds a row for weights that want 13 or 16 significant bits; copies it for F32. */
void lk_scalar_round_row(enum lk_acts_kind kind, const float *x, int64_t k, float *out);

/* Rule 10. One row of scores [n], the op's vector [n] or NULL -> the experts' numbers [n_used],
 * then their weights. */
bool lk_scalar_route(const struct lk_op *op, const float *scores, int n, const float *vector,
                     float *out);
/* y[n_tokens * n_used][rows of an expert]: of each token's experts in order, the product with x, a
 * row a token or, if `routed`, a row an expert of a token. route: rows of lk_scalar_route. */
bool lk_scalar_experts(const struct lk_weight *w, const float *x, bool routed, const float *route,
                       int n_used, int n_tokens, float *y, void *scratch);
/* y[n_tokens][n_experts][rows of one] = the matrix of each head times its x[n_tokens][n_experts]
 * [cols]. */
bool lk_scalar_heads(const struct lk_weight *w, const float *x, int n_tokens, float *y,
                     void *scratch);
/* y[n] = the sum of k rows x[k][n], each times its weight. */
bool lk_scalar_combine(const float *x, const float *w, int k, int n, float *y);

/* y[n] = x[n] times the sigmoid of g. */
bool lk_scalar_gate(const float *x, float g, int n, float *y);

/* ---- layers with a state (rule 12); cpu/scalar_recurrent.c ---- */

/* y[n] = the sum of x[taps][n], oldest first, times w, whose taps are `stride` apart, and b, if it
 * is not NULL; then SiLU. x: a row each. */
bool lk_scalar_conv(const float *const *x, const float *w, size_t stride, int taps, const float *b,
                    int n, bool silu, float *y);
/* Which row that is of token i of a sequence's part of a batch: in [tokens][width], or where it is
 * older a row of the state [taps - 1][width]. */
const float *lk_conv_row(const float *state, const float *in, size_t width, int taps, int i,
                         int tap);
/* Columns [from, to) of the state after n tokens. */
void lk_conv_keep(float *state, const float *in, size_t width, int taps, int n, size_t from,
                  size_t to);
/* n floats, of which the first n_groups * group are divided by the length of their group. */
bool lk_scalar_l2_norm(const float *x, int n, int group, int n_groups, float eps, float *y);
/* y[2 n] of a[n], b[n] (NULL: of a alone) and the heads' weights w[n], none of which is above 0. */
bool lk_scalar_delta_gates(const float *a, const float *b, const float *w, int n, float *y);
/* A token of one head: n columns of its state s, whose k_dim rows are `stride` apart, of v and of
 * the result o. keep, take: its two gates. */
struct lk_delta_token {
    int k_dim, stride;
    const float *q, *k; /* [k_dim] */
    float keep, take, scale;
};
bool lk_scalar_delta(const struct lk_delta_token *t, const float *v, int n, float *s, float *o);
/* The same of the selective state update: n columns of a state s with `rows` rows, of x and of y.
 */
struct lk_ssm_token {
    int rows, stride;
    const float *b, *c; /* [rows] */
    float keep, take;
    float skip; /* the head's weight, as the file has it */
};
bool lk_scalar_ssm(const struct lk_ssm_token *t, const float *x, int n, float *s, float *y);

bool lk_scalar_bias(const float *x, const float *b, int n, float *y);
bool lk_scalar_add(const float *a, const float *b, int n, float *y);
bool lk_scalar_scale(const float *x, int n, float factor, float *y);
bool lk_scalar_gelu(const float *x, int n, float *y);
bool lk_scalar_glu(enum lk_act act, const float *g, const float *u, int n, float *y);
bool lk_scalar_softcap(const float *x, int n, float cap_in, float cap_out, float *y);
/* One row of n_head heads of head_dim; cs from lk_rope_table, n_dims floats. */
bool lk_scalar_rope(const float *x, int n_head, int head_dim, int n_dims, bool interleaved,
                    const float *cs, float *y);
/* One token's K and V rows [n_head][head_dim], [n_head][v_dim] to slot `slot` of block `block`
 * (rule 8); k and v are a layer's buffers in the layout of kv_layout.h. */
void lk_scalar_kv_store(const struct lk_kv_shape *s, const float *k_row, const float *v_row,
                        int block, int slot, uint32_t *k, uint32_t *v);
/* A row of queries, as integers q[dim] and a scale that counts score_in, against keys from..to of a
 * chunk of 64; k and v are the words of its head. Results n, l and o[v_dim_padded] of rule 8. False
 * when a score is out of range. */
bool lk_scalar_attn_chunk(const struct lk_kv_shape *shape, const int16_t *q, float q_scale,
                          float score_cap, const uint32_t *k, const uint32_t *v, int from, int to,
                          int32_t *n, float *l, float *o);
/* One query head (rule 8) at position pos: q[head_dim] -> out[v_dim]; `head` is the KV head.
 * Keys from max(0, pos - window + 1) (window 0: from 0) to pos + more, in the blocks of the table.
 * False also when a score is out of range. */
struct lk_attn_params {
    struct lk_kv_shape shape;
    int window, more;
    float score_in, score_cap; /* lk_op.u.attention */
    const float *sink;         /* of this query head, or NULL */
};
bool lk_scalar_attention(const struct lk_attn_params *p, const float *q, const uint32_t *k,
                         const uint32_t *v, const int32_t *blocks, int pos, int head, float *out);

#endif
