/* SPDX-License-Identifier: Apache-2.0
 *
 * Op: the op kinds a plan is made of, with their operands. This is the vocabulary that every
 * backend speaks; the arithmetic of each is docs/NUMERICS.md, its executable form cpu/scalar.c.
 *
 * Values live in slots: [rows][width] of f32, rows = the tokens of the batch (plan.h says of
 * which), or after GATHER the rows that want logits, or between ROUTE and COMBINE a row for each
 * expert of a token. Every op writes a slot of its own (no in-place ops); each value an op stores
 * passes rule 1 (flush of small values, range error).
 */
#ifndef LK_OP_H
#define LK_OP_H

#include "base/base.h"
#include "quant/quant.h"

/* Largest head dimension of any backend; a model beyond it is refused when its plan is built. */
#define LK_MAX_HEAD_DIM 640 /* LK_Q_MOST squared times it fits int32 (rule 8) */

enum lk_op_kind {
    LK_OP_EMBED, /* out[r][:] = row token[r] of w, or row pos[r] if `positions`, dequantized, times
                    `scale` if it is not 1 */
    LK_OP_NORM,  /* RMS norm of each group of `group` floats of a row, times w[group], or w[width]
                    where groups have weights of their own */
    LK_OP_LAYER_NORM, /* the same of what is left of each group without its mean */
    LK_OP_MATMUL,     /* out[r][n_out] = w [n_out][n_in] * in[r][n_in] */
    LK_OP_BIAS,       /* out = in + w[width], every row */
    LK_OP_ROPE,       /* rotary embedding of each head of a row at the row's position */
    LK_OP_KV_STORE,   /* in[0] = K rows, in[1] = V rows -> two states (rule 8); no out */
    LK_OP_ATTENTION,  /* in[0] = Q rows -> [r][n_head * head_dim], over the row's own sequence; w:
                         sinks, one a head, or none */
    LK_OP_GLU,        /* out = act(in[0]) * in[1] */
    LK_OP_GELU,       /* out = gelu(in), by the error function */
    LK_OP_ADD,        /* out = in[0] + in[1] */
    LK_OP_SCALE,      /* out = in * factor */
    LK_OP_GATHER,     /* the rows that want logits, in batch order */
    LK_OP_SOFTCAP,    /* out = tanh(in * cap_in) * cap_out */
    LK_OP_ROUTE,      /* in[0] = scores of all experts -> [r][2 k]: numbers of the k experts that
                         the row goes to, best first, then their weights */
    LK_OP_EXPERTS,    /* out[r k + j] = the matrix of w of the j-th expert of row r, times in[0][r],
                         or in[0][r k + j] if that is routed; in[1] = rows of ROUTE */
    LK_OP_EXPERT_BIAS,  /* out = in[0] + the vector of w of the row's expert; in[1] as above */
    LK_OP_EXPERT_SCALE, /* out = in[0] times the number of w of the row's expert; in[1] as above */
    LK_OP_COMBINE,      /* out[r] = sum over j of weight j of row r times in[0][r k + j] */
    LK_OP_GATE,         /* out = in[0] times the sigmoid of the row's one number in in[1] */
    LK_OP_PICK,         /* out = a part of each group of in's columns */
    LK_OP_JOIN,         /* out = each group of in[0]'s columns with that of in[1] behind it */
    LK_OP_HEADS,        /* out = the matrix of w for each head, times that head's part of in's
                           columns */
    LK_OP_CONV,    /* a sum over each column of the last `taps` rows of the row's sequence, times
                      w [taps][width], oldest first; if `bias`, w's row behind those is added; then
                      SiLU, if `silu` */
    LK_OP_L2_NORM, /* the first groups of a row divided by their lengths; what is behind them as
                      it is */
    LK_OP_DELTA_GATES, /* in[0], in[1] = [r][n] -> [r][2 n]: what states keep, e^(w
                          softplus(in[0])), then how much of the new they take, sigmoid(in[1]), or
                          without in[1] softplus(in[0]) */
    LK_OP_DELTA,       /* gated delta rule: in[0] = rows of q, k and v of all heads, in[1] = rows of
                          DELTA_GATES -> [r][n_head * v_dim], and the row's state after it */
    LK_OP_SSM,         /* selective state update: in[0] = rows of x of all heads, then B, then C of
                          all groups, in[1] = rows of DELTA_GATES -> [r][n_head * dim], w[head] times
                          x being added, and the row's state after it */
    LK_OP_KINDS
};

enum lk_act {
    LK_ACT_SILU,
    LK_ACT_GELU,
    LK_ACT_CLAMPED, /* both clamped to 7, sigmoid of 1.702 g, u + 1: lk_glu_clamped */
    LK_ACT_SIGMOID,
    LK_ACT_RELU,
    LK_ACT_NONE /* the rows' product */
};

/* Bounds of ROUTE that every backend has. */
enum { LK_MAX_EXPERTS = 512, LK_MAX_EXPERTS_USED = 64 };
/* Bounds of CONV, DELTA and SSM that every backend has. Rows of a state are cut into chains. */
enum { LK_MAX_TAPS = 16, LK_MAX_DELTA_DIM = 256, LK_DELTA_CHAINS = 8 };
/* What an expert's weight is made of its score by. */
enum lk_gate {
    LK_GATE_CHOSEN,  /* softmax over the chosen experts */
    LK_GATE_SOFTMAX, /* softmax over all experts */
    LK_GATE_SIGMOID
};

/* A weight as it lies in the model file: `rows` rows of `cols` elements of `type`, contiguous.
 * Vectors (norm weights, biases) are F32 with rows = 1. The data belongs to the model's mapping. */
struct lk_weight {
    char name[96]; /* of the tensor; a row range of a fused tensor says "name[a:b]" */
    enum lk_type type;
    int64_t rows, cols;
    int n_experts; /* of EXPERTS and HEADS: rows are those of so many matrices; else 0 */
    size_t apart;  /* bytes from one of these to the next; 0: one follows the other */
    const void *data;
    size_t n_bytes;
    bool mapped; /* pages of a file: who has a copy of its own may drop them */
    bool made;   /* of no file: the plan wrote it */
};

enum { LK_OP_MAX_IN = 2 };
struct lk_op {
    enum lk_op_kind kind;
    int layer;            /* -1: before the layers; n_layer: after them */
    bool feed_forward;    /* of the second stage of its layer, see lk_stage_of */
    int in[LK_OP_MAX_IN]; /* slots */
    int n_in;
    int out;    /* slot, -1 = none */
    int weight; /* index into the plan's weights, -1 = none */
    union {
        struct {
            float scale;
            bool positions; /* rows of w are those of positions: the plan's n_ctx_max at most */
            bool host;      /* rows are looked up where the file is: no device has the table */
        } embed;
        struct {
            int group; /* row width is a multiple of it */
            float eps; /* >= 2^-60 */
        } norm;        /* of LAYER_NORM too */
        struct {
            float factor;
        } scale;
        struct {
            int rope; /* index into the plan's rope tables */
            int n_head, head_dim;
        } rope;
        struct {
            int k, v; /* states of the plan: heads and their size are theirs */
        } kv_store;
        struct {
            int k, v;        /* states of the plan */
            int n_head;      /* of queries, a multiple of the states' */
            int window;      /* keys at p - window < j <= p take part; 0: all j <= p */
            int ahead;       /* and those behind p, so many of what the batch has of the sequence */
            double scale;    /* of q.k, before any softcap */
            double softcap;  /* 0: none */
            float score_in;  /* f32(scale * log2 e); with softcap f32(scale / softcap) */
            float score_cap; /* f32(softcap * log2 e); 0: no softcap */
        } attention;
        struct {
            enum lk_act act;
        } glu;
        struct {
            double cap;
            float cap_in, cap_out; /* f32(1 / cap), f32(cap) */
        } softcap;
        struct {                         /* its weight, where there is one, is a bias of choice */
            bool factors;                /* ... or a factor of each expert's weight */
            int n_used;                  /* the plan's */
            int n_groups, n_groups_used; /* experts of the best groups alone; 1, 1: all */
            enum lk_gate gate;
            bool normalize; /* weights are divided by their sum; not of LK_GATE_CHOSEN */
            float scale;    /* of weights; 1: none */
        } route;
        struct {
            int width, stride, at; /* [at, at + width) of each `stride` columns */
        } pick;
        struct {
            int width[2]; /* of a group of in[0], of in[1] */
        } join;
        struct {
            int state; /* of the plan: the last taps - 1 rows, oldest first */
            int taps;
            bool bias, silu;
        } conv;
        struct {
            int group, n_groups;
            float eps; /* >= 2^-60 */
        } l2_norm;
        struct {
            int state;        /* of the plan: [n_head][k_dim][v_dim] */
            int n_head;       /* of v */
            int n_k_head;     /* of q and k, a divisor of n_head */
            bool beside;      /* heads of v that share one of k lie side by side; else in turns */
            int k_dim, v_dim; /* k_dim: a multiple of LK_DELTA_CHAINS */
            float scale;      /* of the result: f32(1 / sqrt(k_dim)) */
        } delta;
        struct {
            int state;   /* of the plan: [n_head][rows][dim] */
            int n_head;  /* of x */
            int n_group; /* of B and C, a divisor of n_head: heads that share one lie side by side
                          */
            int rows;    /* a multiple of LK_DELTA_CHAINS */
            int dim;     /* of a head */
        } ssm;
    } u;
};

/* The first and the last key that a token at pos attends to; end: the last token that the batch has
 * of its sequence. */
static inline int lk_first_key(const struct lk_op *op, int pos)
{
    int window = op->u.attention.window;
    return window > 0 && pos - window + 1 > 0 ? pos - window + 1 : 0;
}

static inline int lk_last_key(const struct lk_op *op, int pos, int end)
{
    int ahead = op->u.attention.ahead;
    return end - pos < ahead ? end : pos + ahead;
}

/* Whether two ops, one of a plan and one of a slice of it, are the same. */
static inline bool lk_op_is_same(const struct lk_op *a, const struct lk_op *b)
{
    return a->kind == b->kind && a->layer == b->layer && a->in[0] == b->in[0] &&
           a->in[1] == b->in[1] && a->out == b->out && a->weight == b->weight;
}

/* Whether rows are multiplied by the op's weight: by a matrix, or by one of several. */
static inline bool lk_is_product(const struct lk_op *op)
{
    return op->kind == LK_OP_MATMUL || op->kind == LK_OP_EXPERTS || op->kind == LK_OP_HEADS;
}

/* Whether the host looks up the rows of an op: its table is not read before a row of it is used,
 * and what is wrong with a row is an error of range then. */
static inline bool lk_is_looked_up(const struct lk_op *op)
{
    return op->kind == LK_OP_EMBED && op->u.embed.host;
}

/* Of a row of ROUTE, the expert of rank j. */
static inline int lk_routed_to(const float *route, int j)
{
    return (int)route[j];
}

/* The head of q and k that head h of v of DELTA has. */
static inline int lk_delta_k_head(const struct lk_op *op, int h)
{
    return op->u.delta.beside ? h / (op->u.delta.n_head / op->u.delta.n_k_head)
                              : h % op->u.delta.n_k_head;
}

/* The matrix of one expert, or head. */
struct lk_weight lk_weight_of_expert(const struct lk_weight *w, int expert);

/* An op with those operands, before any layer is set; -1: there is none. */
struct lk_op lk_op_make(enum lk_op_kind kind, int in0, int in1, int out, int weight);
/* "embed", "norm", ...; static. */
const char *lk_op_name(enum lk_op_kind kind);
/* "blk.12.attn_q.weight" -> "attn_q.weight"; other names as they are. */
const char *lk_weight_short_name(const struct lk_weight *w);

#endif
