/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch: the model architectures as data. A new one that differs in these facts alone is a line
 * in src/plan/arch.c. Knows no file and no op.
 */
#ifndef LK_ARCH_H
#define LK_ARCH_H

#include "plan/op.h"

struct lk_arch {
    const char *name;        /* general.architecture, and the prefix of its keys */
    bool rope_interleaved;   /* rotary pairs (2i, 2i+1); else (i, i + n/2) */
    bool qkv_bias;           /* attn_{q,k,v}.bias are required (elsewhere they are optional) */
    bool qk_norm;            /* RMS norm of each head of q and k */
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
    int no_rope_step;     /* every n-th layer has no rotation; 0: all have it */
    bool temperature;     /* attention.temperature_scale is read: see lk_rope */
    bool yarn_fractional; /* YaRN's ramp begins and ends within pairs, not at whole ones */
};

/* NULL for an unknown name. */
const struct lk_arch *lk_arch_find(const char *name, size_t len);
/* "llama, qwen2, ..." into buf. */
void lk_arch_list(char *buf, size_t n_bytes);

#endif
