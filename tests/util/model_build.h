/* SPDX-License-Identifier: Apache-2.0
 *
 * Model build: a small model of any known architecture as GGUF bytes in memory, with random
 * weights of any type, scaled so that activations stay sane. Single keys and tensors can be
 * dropped or bent, for tests of errors.
 */
#ifndef LK_TEST_MODEL_BUILD_H
#define LK_TEST_MODEL_BUILD_H

#include "tests/util/gguf_build.h"
#include "tests/util/rng.h"

/* The architectures that it builds: all of src/plan/arch.c. */
#define MODEL_ARCHS                                                                                \
    {                                                                                              \
        "llama", "qwen2", "qwen3", "gemma3", "phi3", "smollm3", "mistral3", "granite", "qwen3vl",  \
            "olmo2", "seed_oss", "gemma2", "glm4", "exaone4", "cohere2", "hunyuan-dense",          \
            "ernie4_5", "gemma-embedding", "qwen3moe", "gpt-oss", "gemma4", "granitemoe",          \
            "glm4moe", "hunyuan-moe", "ernie4_5-moe", "minimax-m2", "bailingmoe", "bailingmoe2",   \
            "qwen3vlmoe", "dots1", "olmoe", "qwen2moe", "lfm2", "lfm2moe", "granitehybrid",        \
            "nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe", "qwen3next", "bert",            \
            "nomic-bert", "deepseek2"                                                              \
    }

/* What the files of an architecture look like: the facts of src/plan/arch.c, written down a second
 * time, in the terms of files. */
struct arch_shape {
    const char *name;
    int n_layer; /* of a model that has every kind of layer */
    int window;
    int n_rot;        /* of a head of 64 */
    bool interleaved; /* pairs of rotation are neighbours */
    bool qkv_bias;
    int qk_norm;       /* 1: a norm of each head of q and k, 2: of all heads as one row */
    bool norms_turned; /* these come after the rotation */
    bool no_pre_norms, post_norms;
    bool ffn_norm_post; /* post_attention_norm is the norm before the feed-forward */
    bool parallel;      /* no norm before the feed-forward: it has attention's */
    bool layer_norm;
    bool scales;        /* of embeddings, residuals, scores and logits */
    bool logit_scale;   /* of logits alone */
    bool fused;         /* q, k, v in one tensor */
    bool fused_gate_up; /* gate and up in one tensor */
    bool tied;
    bool gelu;
    bool wide;         /* embeddings are multiplied by sqrt(n_embd) */
    int no_rope_step;  /* layers without rotation; 0: none */
    int window_step;   /* each n-th layer attends to all */
    bool full_still;   /* and is not turned */
    bool yarn;         /* files have its keys, and a temperature */
    bool window_array; /* the key of the pattern is a bool a layer */
    bool two_heads;    /* layers without a window have heads of twice the size, half as many of K
                          and V, and no weight of v; they alone are turned by rope_freqs */
    bool layer_scale;  /* rows are multiplied at the end of a layer */
    bool side_rows;    /* layers read parts of a second row of each token */
    bool unscaled;     /* scores are not: the norms of q and k keep them small */
    bool both_ways;    /* tokens attend to those behind them: no next token follows */
    bool experts;
    int first_moe, moe_step; /* layers before it have no experts, and each n-th alone; 0: all */
    int groups;              /* of experts, all but one used; 0: none */
    bool shared;             /* something that all tokens share beside experts */
    bool choice_bias;
    bool short_conv;   /* each second layer attends, the others have a gated short convolution */
    bool ssm;          /* each second layer attends, the others are Mamba-2 */
    bool one_mixer;    /* layers in turns: Mamba-2, attention without rotation, a feed-forward */
    bool squared;      /* of feed-forwards; their activation is the square of a rectifier */
    bool delta;        /* each second layer attends, the others have the gated delta rule; queries
                          have gates */
    bool shared_gate;  /* beside experts, what all tokens share has a gate */
    bool delta_groups; /* ssm_ba */
    bool encoder;      /* norms with biases of embeddings and behind sums, token_types; no head */
    bool positions;    /* position_embd, and no rotation */
    bool ungated;      /* the feed-forward has no gate */
    bool latent;       /* K and V are latent rows, of which matrices make those of heads of 64 */
};
/* Shapes of the gated delta rule in these models: heads of v and of k, their sizes, taps. */
enum {
    DELTA_HEADS = 4,
    DELTA_K_HEADS = 2,
    DELTA_K_DIM = 32,
    DELTA_V_DIM = 64,
    DELTA_TAPS = 4,
    CONV_TAPS = 3
};
enum { TOKEN_TYPES = 2 }; /* of encoders */
/* Shapes of latent attention: a latent row, what queries are made of, what is not turned. */
enum { LATENT_RANK = 256, LATENT_Q_RANK = 256, LATENT_STILL = 256 };
/* Shapes of Mamba-2: heads, groups, rows of a state, a head's size, taps. */
enum { SSM_HEADS = 8, SSM_GROUPS = 2, SSM_ROWS = 40, SSM_DIM = 32, SSM_TAPS = 4 };
const struct arch_shape *arch_shape_of(const char *arch);
/* Whether each second layer attends, and the others have states. */
bool arch_has_states(const struct arch_shape *shape);

struct model_params {
    const char *arch;
    enum lk_type type;       /* of the matrices */
    enum lk_type embed_type; /* of token_embd.weight (and output.weight) */
    unsigned seed;
    int n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_rot, n_vocab, n_ctx;
    int n_expert, n_used, n_ff_exp; /* 0: no experts */
    int n_side;                     /* of a layer's part of a second row; 0: there is none */
    int window;                     /* 0: no key */
    bool tied;                      /* no output.weight */
    bool biases;     /* attn_q, attn_k, attn_v, attn_output biases (qwen2 has the first three) */
    float key_bias;  /* their spread, of attn_k; 0: as the others */
    bool ffn_biases; /* of gate, up and down */
    bool rope_freqs; /* llama3's frequency factors; phi3: short and long factors */
    float linear;    /* rope.scaling.factor of type linear; 0: no keys */
    float softcap;   /* final_logit_softcapping; 0: no key */
    const char *kv;  /* not in the file: lk_engine_options.kv, for who runs the model */

    /* The same model, written another way. */
    bool other_layout;        /* phi3: q, k, v and gate, up apart; others: q, k, v in one tensor */
    enum lk_type vector_type; /* of norms and biases: F32 (0), F16, BF16 */
    enum lk_type vector_values; /* they have values of this type, however they are stored */
    bool columns;               /* vectors are [n, 1] */
    bool no_qk_norms;
    bool factors; /* matrices of layers have NAME.scale and NAME.input_scale; those in F32 are what
                     undoes the first times what they would be */
    int wide_layer; /* its experts are n_ff wide; 0: none */
    int n_tokens;   /* so many texts of tokens; 0: no key */

    /* Mischief. */
    const char *drop;   /* leave out the key or tensor of this full name */
    const char *bend;   /* this tensor gets one row (a vector: one element) too many */
    const char *retype; /* this tensor gets `retype_to` (its shape must allow it) */
    uint32_t retype_to;
    const char *set_key; /* this full key has the u32 `set_u32` instead (or besides) */
    uint32_t set_u32;
    void (*add_keys)(struct gguf_build *b, const void *keys); /* writes more keys */
    const void *keys;
    const char *extra; /* one more tensor of this name: F32 [n_embd] */
    bool no_matrices;  /* these are zeros: for tests of what a file says, which build thousands */
};

/* Sizes that every type can have (256 | n_embd, n_ff, n_head * head_dim), 2 layers (gemma3: 7, so
 * that one is global), a vocabulary of 320. */
struct model_params model_params_default(const char *arch, enum lk_type type, unsigned seed);
/* Of a layer: whether it attends to all, a head's size, heads of K and V, the weight of v. */
bool model_is_full(const struct model_params *p, int layer);
int model_head_dim(const struct model_params *p, int layer);
int model_kv_heads(const struct model_params *p, int layer);
bool model_has_v(const struct model_params *p, int layer);
/* Whether a layer of it has experts. */
bool model_has_experts(const struct model_params *p, int layer);
/* Whether a layer attends, and whether it has a feed-forward. */
bool model_attends(const struct model_params *p, int layer);
bool model_feeds_forward(const struct model_params *p, int layer);
/* b is filled from nothing; gb_free it. Its bytes start aligned to 16, data is aligned to 32. */
void model_build(struct gguf_build *b, const struct model_params *p);
/* Fills n elements (whole blocks) of any type with random values of this standard deviation. */
void model_random(enum lk_type type, uint8_t *data, size_t n, float deviation, struct rng *rng);

#endif
