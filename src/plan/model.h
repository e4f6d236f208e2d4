/* SPDX-License-Identifier: Apache-2.0
 *
 * Model: hyperparameters read from a GGUF's keys, and weights bound by meaning with strict
 * shapes. Knows no ops and no backend.
 */
#ifndef LK_MODEL_H
#define LK_MODEL_H

#include "plan/arch.h"
#include "plan/rope.h"
#include "gguf/gguf.h"

/* What a layer mixes tokens by. */
enum lk_mixer {
    LK_MIX_ATTENTION,
    LK_MIX_DELTA,      /* the gated delta rule */
    LK_MIX_SHORT_CONV, /* a gated short convolution */
    LK_MIX_SSM,        /* the selective state update of Mamba-2 */
    LK_MIX_NONE        /* a feed-forward is all that there is */
};

/* What may differ from layer to layer. */
struct lk_layer {
    int n_head, n_kv_head;
    int k_dim, v_dim; /* of a head's keys (and queries) and values */
    int n_ff;
    int n_expert;              /* 0: one feed-forward for all tokens */
    int n_ff_exp, n_ff_shared; /* of an expert; of the one that all tokens share, 0: none */
    int window;                /* 0: it attends to all */
    int kv_layer;              /* whose K and V it attends to: its own, or those of one before */
    bool rope;                 /* its heads are turned by position */
    enum lk_mixer mixer;
};

/* The gated delta rule, in the layers that have it. */
struct lk_delta {
    int n_head, n_k_head; /* of v; of q and k */
    int k_dim, v_dim;
    int taps; /* of the convolution in front of it */
};

/* Mamba-2, in the layers that have it. */
struct lk_ssm {
    int n_head, n_group; /* of x; of B and C */
    int rows, dim;       /* of a head's state; dim: of a head */
    int taps;            /* of the convolution in front of it */
};

/* Multi-head latent attention: a key is a latent row and a part that is turned, a value the latent
 * row. A head's own keys and values are what a matrix of it makes of latent rows. */
struct lk_latent {
    int rank;   /* of a latent row; 0: there is none */
    int q_rank; /* of the row that queries are made of; 0: of the hidden row itself */
    int still;  /* dims of a head's own query that are not turned */
    int v_dim;  /* of a head's own value */
};

/* How tokens are routed to experts, in the layers that have them. */
struct lk_experts {
    int n_used; /* 0: no layer has experts */
    int n_groups, n_groups_used;
    enum lk_gate gate;
    bool normalize;
    float scale;
};

struct lk_hparams {
    const struct lk_arch *arch;
    int n_layer, n_embd;
    int n_rot, local_n_rot; /* dims of a head that are turned; local: of layers with a window */
    int n_blocks; /* of the file: those from n_layer on predict further tokens, and are not used */
    int n_vocab;  /* tokens that have a row of the embedding */
    int n_rows;   /* of the embedding: those beyond the tokens are left out */
    struct lk_layer *layers; /* owned, [n_layer] */
    uint32_t n_ctx;          /* positions the model can be run to */
    struct lk_experts experts;
    struct lk_latent latent;
    struct lk_delta delta;
    struct lk_ssm ssm;
    int conv_taps; /* of layers with LK_MIX_SHORT_CONV */
    float eps;
    double local_rope_base; /* of layers with a window; 0: as the others */
    float embed_scale;      /* 1: none */
    double residual_scale;  /* of attention and feed-forward before they are added; 1: none */
    double logit_scale;     /* 1: none */
    double attn_scale;      /* 0: 1 / sqrt(k_dim) of the layer */
    double score_factor;    /* of q.k besides, of latent rows: YaRN's */
    double attn_softcap, final_softcap; /* softcaps: 0 = none */
    int n_token_types;                  /* rows of token_types.weight, where the file has it */
    int n_side;  /* floats of each layer's part of a token's side row; 0: there is none */
    int n_dense; /* of embeddings: two matrices behind the last norm, so wide between; 0: none */
    double rope_base, rope_linear, rope_attn_factor;
    struct lk_yarn yarn;      /* factor 0: none */
    double temperature;       /* of queries by their position: see lk_rope; 0: none */
    double n_ctx_original;    /* positions it was trained with, before any scaling of angles */
    const char *rope_factors; /* name of the tensor with frequency factors, or NULL */
    const char *long_factors; /* the same of contexts beyond n_ctx_original, or NULL */
};

/* Errors name the key, what was found and what was expected; nothing is owned then. */
lk_status lk_hparams_read(const struct lk_gguf *gguf, struct lk_hparams *out, lk_error *err);
void lk_hparams_free(struct lk_hparams *h);
/* Whether a tensor is of a block behind the last layer ("blk.N. ..." with n_layer <= N < n_blocks),
 * or makes K or V of a layer that has another's, or is a scale of activations in 4 bits, which the
 * contract does not have ("NAME.input_scale"). */
bool lk_hparams_skip(const struct lk_hparams *h, struct lk_str tensor);

/* Binds tensor `name` as rows [first, first + rows) of a matrix of `all` rows and `cols` columns.
 * A missing tensor, another shape or a type that this build does not run is an error with name,
 * found and expected. */
lk_status lk_bind_matrix(const struct lk_gguf *gguf, const char *name, int64_t all, int64_t first,
                         int64_t rows, int64_t cols, struct lk_weight *out, lk_error *err);
/* Binds rows [first, first + rows) of each of the n matrices of `all` rows of a tensor. */
lk_status lk_bind_experts(const struct lk_gguf *gguf, const char *name, int n, int64_t all,
                          int64_t first, int64_t rows, int64_t cols, struct lk_weight *out,
                          lk_error *err);
/* Binds `count` vectors of n elements, one after the other: as they lie there, or, if it is F16 or
 * BF16, a copy in F32 that *copy then owns (lk_free; else NULL). */
lk_status lk_bind_vector(const struct lk_gguf *gguf, const char *name, int64_t count, int64_t n,
                         struct lk_weight *out, void **copy, lk_error *err);

#endif
