/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_builder: a plan under construction: slots, ops, weights bound by name, states, and the ops
 * that every kind of layer is made of. Knows no layer; plan_build.c has those of all architectures,
 * plan_recurrent.c those with recurrent states, plan_latent.c those whose K and V are latent rows.
 */
#ifndef LK_PLAN_BUILDER_H
#define LK_PLAN_BUILDER_H

#include "plan/model.h"
#include "plan/plan.h"

/* A plan under construction; the first failure stays and later calls do nothing. */
struct lk_builder {
    const struct lk_gguf *gguf;
    struct lk_hparams h;
    struct lk_plan *plan;
    size_t cap_ops, cap_slots, cap_weights, cap_states, cap_copies;
    uint8_t *bound;    /* [n_tensors]: tensors that found their meaning */
    bool feed_forward; /* of the ops to come */
    int side;          /* slot of the side rows; -1: none */
    struct lk_op sink; /* what an op is written to after a failure; never read */
    lk_status status;
    lk_error *err;
};

int lk_build_slot(struct lk_builder *b, int width, enum lk_rows rows);
struct lk_op *lk_build_op(struct lk_builder *b, enum lk_op_kind kind, int layer, int in0, int in1,
                          int out, int weight);
int lk_build_state(struct lk_builder *b, struct lk_state state);
void lk_build_mark(struct lk_builder *b, const char *name);
/* Rows [first, first + rows) of a matrix with `all` rows. Returns the weight's index. */
int lk_build_matrix_rows(struct lk_builder *b, const char *name, int all, int first, int rows,
                         int cols);
int lk_build_matrix(struct lk_builder *b, const char *name, int rows, int cols);
/* Rows [first, first + rows) of the matrices of all experts of a layer, which have `all`. */
int lk_build_expert_matrices(struct lk_builder *b, const char *name, int n, int all, int first,
                             int rows, int cols);
/* The plan owns a copy from now on. */
void lk_build_own(struct lk_builder *b, void *copy);
/* `count` vectors of `all` elements, one after the other. */
int lk_build_vectors(struct lk_builder *b, const char *name, int count, int all);
/* Leaves elements [first, first + n) of vector `index`, which is of tensor `name`. */
void lk_build_keep_part(struct lk_builder *b, int index, const char *name, int first, int n);
/* Elements [first, first + n) of a vector of `all`. */
int lk_build_vector_part(struct lk_builder *b, const char *name, int all, int first, int n);
int lk_build_vector(struct lk_builder *b, const char *name, int n);
/* A vector that no file has: n floats, 1 until *values are set. */
int lk_build_made_vector(struct lk_builder *b, const char *name, int n, float **values);
bool lk_build_has(const struct lk_builder *b, const char *name);
/* The one element of a tensor, below 2^40 in magnitude and flushed; 1: the file does not have it.
 */
double lk_build_number(struct lk_builder *b, const char *name);
/* "blk.LAYER.suffix" */
const char *lk_build_blk(char buf[96], int layer, const char *suffix);
/* The norm of each group of a row, times the vector w. */
int lk_build_norm_by(struct lk_builder *b, int layer, int in, int width, int group, int w);
int lk_build_norm(struct lk_builder *b, int layer, int in, int width, int group, const char *name);
/* The product alone. */
int lk_build_product(struct lk_builder *b, int layer, int in, int weight);
/* The name of what the file has beside a weight "PART.weight", or rows of it: "PART.scale". Whether
 * the weight has such a name. */
bool lk_build_name_of_scale(const struct lk_weight *w, char name[96]);
/* The product, times the number that the file has beside the weight ("NAME.scale"), if it has one.
 */
int lk_build_matmul(struct lk_builder *b, int layer, int in, int weight);
/* Adds elements [first, first + width) of the bias of that name where the file has it, or must. */
int lk_build_bias_part(struct lk_builder *b, int layer, int in, const char *name, int all,
                       int first, bool required);
int lk_build_bias(struct lk_builder *b, int layer, int in, const char *name, bool required);
int lk_build_rope(struct lk_builder *b, int layer, int in, int n_head, int head_dim, int table);
/* in times a factor; in itself where that is 1. */
int lk_build_scale(struct lk_builder *b, int layer, int in, double factor);
/* The hidden rows x and a branch. */
int lk_build_add(struct lk_builder *b, int layer, int x, int branch);
/* [at, at + width) of each `stride` columns, in groups. */
int lk_build_pick(struct lk_builder *b, int layer, int in, int groups, int width, int stride,
                  int at);
int lk_build_glu(struct lk_builder *b, int layer, enum lk_act act, int gate, int up, int width,
                 enum lk_rows rows);
/* Groups of `width` columns of in, each with one of `behind` columns of other behind it. */
int lk_build_join(struct lk_builder *b, int layer, int in, int width, int other, int behind);
/* The product of a tensor "blk.LAYER.suffix" of n_head matrices with as many groups of `cols`. */
int lk_build_heads(struct lk_builder *b, int layer, int in, const char *suffix, int n_head,
                   int rows, int cols);

/* plan_build.c: attention of rows q over the layer's K and V, to which rows k and v are added
 * first, unless they are those of another layer. */
int lk_build_attend(struct lk_builder *b, int layer, int q, int k, int v);
/* plan_latent.c: the branch of multi-head latent attention; n: the rows that it reads. */
int lk_build_latent(struct lk_builder *b, int layer, int n);

/* plan_recurrent.c: branches of layers with a state; n: the rows that they read. */
int lk_build_delta(struct lk_builder *b, int layer, int n);
int lk_build_short_conv(struct lk_builder *b, int layer, int n);
int lk_build_ssm(struct lk_builder *b, int layer, int n);

#endif
