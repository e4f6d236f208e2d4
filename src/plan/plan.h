/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: a model as a flat array of ops in order of execution. It crosses the backend seam whole.
 * The number of rows stays symbolic; a plan is immutable after it is built.
 */
#ifndef LK_PLAN_H
#define LK_PLAN_H

#include "plan/kv_cells.h"
#include "plan/op.h"
#include "plan/rope.h"
#include "plan/state.h"

struct lk_gguf;

/* What the rows of a slot stand for. */
enum lk_rows {
    LK_ROWS_TOKENS,  /* the tokens of a batch */
    LK_ROWS_OUTPUTS, /* those that want logits */
    LK_ROWS_ROUTED,  /* n_routed of each token: the experts it goes to, best first */
    LK_ROWS_ASKED,   /* the tokens of a batch of which any wants logits; of others none */
    LK_ROW_KINDS
};
/* How many rows of each kind a batch, or the largest batch, has. */
struct lk_row_counts {
    int n[LK_ROW_KINDS];
};

struct lk_slot {
    int width; /* floats of a row */
    enum lk_rows rows;
};

enum { LK_PLAN_ROPES = 3 }; /* of all layers, of those with a window, of queries alone */

struct lk_plan {
    struct lk_op *ops; /* owned */
    int n_ops;
    struct lk_slot *slots; /* owned */
    int n_slots;
    struct lk_weight *weights; /* owned array; data belongs to the model, or is among copies */
    int n_weights;
    void **copies; /* owned, [n_copies]: vectors that the file has in another type */
    int n_copies;
    struct lk_state *states; /* owned: what is kept between batches */
    int n_states;
    struct lk_rope ropes[LK_PLAN_ROPES];
    int n_ropes;
    /* Of a model with two sets of frequency factors: the table that stands for ropes[0] in contexts
     * beyond n_ctx_short; n_dims 0: there is none. */
    struct lk_rope long_rope;
    uint32_t n_ctx_short;
    bool long_context; /* ropes[0] is the one of long contexts, and they have changed places */

    char arch[32];
    int n_layer, n_embd, n_vocab;
    uint32_t n_ctx_max; /* positions the model can be run to */
    bool whole;         /* tokens attend to those behind them: a text is evaluated in one batch, and
                           from its hidden rows no next token follows */
    int n_routed;       /* experts that a token goes to in a layer that has them; 0: none has */

    /* What this plan covers: stages [first, last) of the model, from the embedding on when
     * in_slot == -1, and with the head (gather, final norm, output) when `head`. */
    int first_stage, last_stage;
    bool head;
    int in_slot;  /* hidden rows [tokens][n_embd] handed in, or -1 */
    int out_slot; /* [outputs][n_vocab] when `head` ([n_embd] if it ends with its norm), else hidden
                     rows [tokens][n_embd] */
    bool slice;   /* owns only ops and slots; the rest belongs to the whole plan */
};

/* Reads the hyperparameters, binds the weights by meaning with strict shapes, builds the ops.
 * Errors name the key or tensor, what was found and what was expected; *out is NULL then. The gguf
 * must outlive the plan. (src/plan/model.c, src/plan/arch.c) */
lk_status lk_plan_build(const struct lk_gguf *gguf, struct lk_plan **out, lk_error *err);

/* A layer is two stages, between which only hidden rows go on: attention, with its sum, and
 * feed-forward. Architectures whose branches read the same rows have all of a layer in the first.
 * What layers read beside the hidden rows is made of tokens alone, by ops in front of the layers,
 * and each slice that reads it makes it itself. */
static inline int lk_stage_of(int layer)
{
    return 2 * layer;
}
/* The stage of an op of a layer, or of the head. */
static inline int lk_op_stage(const struct lk_op *op)
{
    return lk_stage_of(op->layer) + op->feed_forward;
}
/* Whether a plan can be cut between the stages of a layer. */
bool lk_plan_has_stages(const struct lk_plan *plan, int layer);
/* Whether a layer has experts. */
bool lk_plan_has_experts(const struct lk_plan *plan, int layer);

/* Stages [first, last) of a whole plan; with first == 0 also the embedding if `embed`, with
 * last == lk_stage_of(n_layer) also the head if `head`. A slice shares weights, ropes and the list
 * of states with its plan, which must outlive it. Op.layer keeps the model's numbering. */
lk_status lk_plan_slice(const struct lk_plan *whole, int first, int last, bool embed, bool head,
                        struct lk_plan **out, lk_error *err);
/* Gathers the rows of a slice that has the head as early as their logits stay the same: in front of
 * the ops of the last layer that take each row by itself. The slice has not been prepared yet; one
 * whose experts come last keeps its order. (src/plan/plan_outputs.c) */
lk_status lk_plan_gather_early(struct lk_plan *slice, lk_error *err);
void lk_plan_free(struct lk_plan **plan);
/* Whether stages from `stage` on read no K and V of layers before it: others can't be parted. */
bool lk_plan_may_cut(const struct lk_plan *plan, int stage);
/* Ends a whole plan that no backend has prepared yet in front of the matrix of logits: rows are
 * hidden rows after the last norm (and after what an architecture of embeddings has behind it). */
void lk_plan_end_at_norm(struct lk_plan *plan);
/* Floats of a row of its result. */
int lk_plan_row_width(const struct lk_plan *plan);
/* The context that a plan will be run with, before any backend has prepared it: it decides between
 * two sets of frequency factors. */
void lk_plan_set_context(struct lk_plan *plan, uint32_t n_ctx);
/* What the cache keeps, of a plan that no backend has prepared yet: lk_engine_options.kv. */
lk_status lk_plan_set_kv(struct lk_plan *plan, const char *kv, lk_error *err);
/* The largest absolute value among the biases of keys that go to the cache as they are; 0: there
 * are none. */
float lk_plan_key_bias(const struct lk_plan *plan);
/* Bits of a cell of K; LK_KV_K_BITS of a plan without K. */
int lk_plan_k_bits(const struct lk_plan *plan);

/* Memory for slots: offset (in floats) of each slot when as many rows as `most` are planned, slots
 * whose lives don't overlap sharing memory unless keep_all. Offsets are multiples of `align`
 * floats. offsets has n_slots; returns the total floats, or SIZE_MAX on overflow. epoch (NULL: each
 * op its own) says for each op when it runs, rising: threads that run ahead of each other inside an
 * epoch never find each other's memory reused. */
size_t lk_plan_layout(const struct lk_plan *plan, const struct lk_row_counts *most, bool keep_all,
                      size_t align, const int *epoch, size_t *offsets);

/* How many rows of each kind that many tokens and outputs are; INT_MAX where they are more. */
struct lk_row_counts lk_plan_rows(const struct lk_plan *plan, int n_tokens, int n_outputs);

/* Index of the last op that reads `slot`, or -1. */
int lk_plan_last_use(const struct lk_plan *plan, int slot);
/* The op that writes a slot; NULL: none of the plan's. */
const struct lk_op *lk_plan_writer(const struct lk_plan *plan, int slot);
/* Whether `op` reads `slot`. */
bool lk_op_reads(const struct lk_op *op, int slot);

/* Whether the plan keeps state `i`: a slice has memory for those of its layers, and for those that
 * they read. */
bool lk_plan_keeps(const struct lk_plan *plan, int i);
/* Floats of a position in the widest rope table; 0 without one. */
int lk_plan_rope_width(const struct lk_plan *plan);
/* Shapes of an attention op, read off its states. */
struct lk_attn_shape {
    int n_head, n_kv_head, group; /* group: query heads a KV head */
    int head_dim, dim;            /* of queries and keys; dim: as in the cache */
    int v_dim, v_dim_padded;      /* the same of values, and of a head's result */
};
struct lk_attn_shape lk_attn_shape_of(const struct lk_plan *plan, const struct lk_op *op);
/* Shapes of K and V, by the states that hold them. */
struct lk_kv_shape lk_kv_shape_of(const struct lk_plan *plan, int k, int v);

#endif
