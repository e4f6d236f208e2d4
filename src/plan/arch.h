/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch: the model architectures as data. A new one that differs in these facts alone is a line
 * in src/plan/arch.c. Knows no file and no op.
 */
#ifndef LK_ARCH_H
#define LK_ARCH_H

#include "plan/op.h"

/* Which norms q and k have. */
enum lk_qk_norm {
    LK_QK_NONE,
    LK_QK_HEAD,  /* each head, before it is turned */
    LK_QK_ROW,   /* all heads as one row */
    LK_QK_TURNED /* each head, after it is turned */
};

/* What logits are multiplied by. */
enum lk_logit_scale { LK_LOGITS_PLAIN, LK_LOGITS_TIMES, LK_LOGITS_DIVIDED };

struct lk_arch {
    const char *name;        /* general.architecture, and the prefix of its keys */
    bool rope_interleaved;   /* rotary pairs (2i, 2i+1); else (i, i + n/2) */
    bool qkv_bias;           /* attn_{q,k,v}.bias are required (elsewhere they are optional) */
    enum lk_qk_norm qk_norm; /* RMS norms */
    bool qk_norm_optional;   /* where the file has them */
    bool no_pre_norms;       /* no norms before attention and the feed-forward */
    bool post_norms;         /* norms after attention and after the feed-forward, before the add */
    bool fused_qkv;          /* attn_qkv.weight = rows of q, k, v */
    bool fused_gate_up;      /* ffn_up.weight = rows of gate, up */
    bool embed_scale;        /* embeddings times sqrt(n_embd) */
    bool window_required;    /* attention.sliding_window must be there */
    int window_pattern;      /* every n-th layer attends to all, the others to the window; 0: every
                                layer to the window where the file has one */
    bool rope_base_required; /* rope.freq_base must be there: no model of it has the usual 10000 */
    double local_rope_base;  /* rope base of the windowed layers; 0: as the others */
    enum lk_act act;
    int window_preset;  /* where the file has no attention.sliding_window */
    int wide_embd;      /* n_embd of the one that scales scores by sqrt(n_head / n_embd) */
    bool ffn_norm_post; /* post_attention_norm is the norm before the feed-forward */
    bool parallel;      /* attention and feed-forward have one norm and are added together */
    bool layer_norm;    /* layer norms; else RMS norms */
    bool both_ways;     /* tokens attend to those behind them too, a window to half on each side */
    bool encoder;       /* a norm of the embeddings, to which row 0 of token_types is added; norms
                           behind attention's sum and the feed-forward's, all with biases; no head */
    bool positions;     /* position_embd is added to the embeddings, and no head is turned */
    bool ungated;       /* the feed-forward is up, GELU by the error function, down */
    bool scales;        /* embedding_scale and residual_scale are read */
    enum lk_logit_scale logits; /* by logit_scale */
    double attn_cap, final_cap; /* softcaps where the file says nothing */
    bool turns_windowed;        /* of layers with and without a window the former are turned */
    bool plain_local_rope;      /* angles of layers with a window are not scaled */
    bool rope_switch;           /* rope.scaling.finetuned false: no layer is turned */
    bool sections;              /* rope.dimension_sections: text turns all pairs by one position */
    int no_rope_step;           /* every n-th layer has no rotation; 0: all have it */
    bool temperature;           /* attention.temperature_scale is read: see lk_rope */
    bool yarn_fractional;       /* YaRN's ramp begins and ends within pairs, not at whole ones */
    bool sinks;                 /* attn_sinks.weight: one more term of each head's softmax */
    bool experts;               /* expert_count may be there: a router and experts in the layers */
    enum lk_gate gate;          /* of their scores, unless expert_gating_func says another */
    bool normalize;        /* weights of the chosen sum to 1, unless expert_weights_norm says */
    double attn_scale;     /* of q.k where the file says nothing; 0: 1 / sqrt(key length) */
    bool window_array;     /* attention.sliding_window_pattern must be there, a bool a layer */
    bool local_heads;      /* layers with a window have key_length_swa, value_length_swa and
                              rope.dimension_count_swa */
    bool factors_required; /* rope_freqs.weight must be there: layers without a window are turned
                              by it, the others as if it was not */
    bool shared_kv; /* attention.shared_kv_layers: that many of the last layers have no K and V, but
                       those of the last layer before them with a window, or without, as they are */
    bool side_rows; /* embedding_length_per_layer_input: each layer has a part of a second row that
                       is made of the token alone, which a gate after its feed-forward lets in */
    bool value_norm; /* an RMS norm of each head of v without a weight; attn_v may be missing: v is
                        what attn_k gives, before its norm */
    bool dense_beside; /* layers of experts have a dense feed-forward too: each has norms of its own
                          before and behind, and the two are added; the router reads the hidden
                          rows in a norm with ffn_gate_inp.scale */
    bool layer_scale;  /* layer_output_scale.weight, where it is there, multiplies a layer's rows */
    bool wide_expert;  /* one is as wide as feed_forward_length, where no key says; else as its part
                          among those used */
    bool wide_shared;  /* likewise what all tokens share beside them */
    bool shared_gate;  /* the feed-forward that all tokens share beside experts is multiplied by the
                          sigmoid of a number a token, by ffn_gate_inp_shexp */
    bool delta_groups; /* of delta: ssm_ba has rows of beta, then alpha, for each head of k, whose
                          heads of v lie side by side */
    bool latent;       /* K and V of all heads are one row, of which matrices of each head make its
                          own: multi-head latent attention */
    bool short_conv;   /* layers without heads of K and V are gated short convolutions; the last
                          norm is token_embd_norm */
    bool one_mixer; /* a layer is one branch: feed_forward_length of a layer that is none is 0, and
                       so is head_count_kv of one that does not attend; Mamba-2 where both are */
    bool squared;   /* feed-forwards without a gate: what is up goes through act, times itself */
    bool ssm;       /* layers without heads of K and V are Mamba-2 */
    bool delta;     /* layers of the gated delta rule among those of attention, whose results are
                       multiplied by the sigmoid of a gate that lies beside each head of q */
};

/* NULL for an unknown name. */
const struct lk_arch *lk_arch_find(const char *name, size_t len);
/* "llama, qwen2, ..." into buf. */
void lk_arch_list(char *buf, size_t n_bytes);

#endif
