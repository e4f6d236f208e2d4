/* SPDX-License-Identifier: Apache-2.0
 *
 * Model: see model.h.
 */
#include "plan/model.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "base/real.h"
#include "plan/arch_keys.h"
#include "plan/model_reader.h"

/* Bases of rotation: of all layers, and of those with a window. Ollama has names of its own for
 * Gemma 3's; a file that has both names must mean one thing. */
static void read_rope_bases(struct reader *r, struct lk_hparams *h)
{
    static const char *const names[2][2] = {{"rope.freq_base", "rope.global.freq_base"},
                                            {"rope.freq_base_swa", "rope.local.freq_base"}};
    bool local = h->arch->local_rope_base > 0;
    h->rope_base = 10000.0;
    h->local_rope_base = h->arch->local_rope_base;
    for (int i = 0; i < (local ? 2 : 1); i++) {
        double *base = i ? &h->local_rope_base : &h->rope_base;
        bool other = local && has_key(r, names[i][1]), both = other && has_key(r, names[i][0]);
        bool required = i == 0 && h->arch->rope_base_required;
        *base = (double)read_float(r, names[i][other], required, (float)*base, 1.0f, 1e12f);
        float same = read_float(r, names[i][0], both, (float)*base, 1.0f, 1e12f);
        if (both && (double)same != *base) {
            char found[32], expected[96];
            snprintf(found, sizeof found, "%g", *base);
            snprintf(expected, sizeof expected, "%g as key '%s.%s' has it", (double)same, r->prefix,
                     names[i][0]);
            refuse(r, names[i][1], found, expected);
        }
    }
}

static bool is_word(struct lk_str s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.ptr, word, s.len) == 0;
}

/* rope.scaling.yarn_*, with the paper's values where the file says nothing. The factor of cos and
 * sin follows from the others, unless the file has one: 1 is what writers put who have none. */
static void read_yarn(struct reader *r, struct lk_hparams *h, double factor)
{
    double given = (double)read_float(r, "rope.scaling.yarn_attn_factor", false, 1.0f, 1e-3f, 1e3f);
    float log_key = read_float(r, "rope.scaling.yarn_log_multiplier", false, 0.0f, 0.0f, 1e3f);
    bool latent = h->arch->latent; /* a tenth of it is what these files have */
    double log_mul = (double)(latent ? log_key / 0.1f : log_key);
    float share = read_float(r, "rope.scaling.yarn_ext_factor", false, 1.0f, -1.0f, 1.0f);
    h->yarn = (struct lk_yarn){.factor = factor,
                               .original = h->n_ctx_original,
                               .extrapolation = share < 0.0f ? 1.0 : (double)share,
                               .fractional = h->arch->yarn_fractional};
    h->yarn.beta_fast =
        (double)read_float(r, "rope.scaling.yarn_beta_fast", false, 32.0f, 1e-3f, 1e6f);
    h->yarn.beta_slow =
        (double)read_float(r, "rope.scaling.yarn_beta_slow", false, 1.0f, 1e-3f, 1e6f);
    /* Those of latent rows have both multipliers equal, where they have any, and scale q.k. */
    double of_turn = lk_yarn_magnitude(factor, latent && log_mul > 0.0 ? log_mul : 1.0);
    double of_scores = lk_yarn_magnitude(factor, log_mul);
    h->rope_attn_factor *= given != 1.0 ? given : of_turn / of_scores;
    h->score_factor = latent ? of_scores * of_scores : 1.0;
    if (!(h->rope_base >= 2.0)) { /* the ramp divides by its logarithm */
        refuse(r, "rope.freq_base", "below 2", "2 or more with rope.scaling.type 'yarn'");
    }
}

/* rope.scaling.*: none, linear, yarn, or longrope with its factors in a tensor. */
static void read_scaling(struct reader *r, struct lk_hparams *h)
{
    char full[128];
    h->score_factor = 1.0;
    struct lk_str type = {"linear", 6}; /* with a factor of 1 where the file says nothing */
    h->rope_linear = (double)read_float(r, "rope.scale_linear", false, 1.0f, 1e-3f, 1e6f);
    h->rope_attn_factor =
        (double)read_float(r, "rope.scaling.attn_factor", false, 1.0f, 1e-3f, 1e3f);
    if (!r->status) {
        r->status =
            lk_gguf_str(r->gguf, key_of(r, "rope.scaling.type", full), false, &type, r->err);
    }
    h->n_ctx_original = (double)read_int(r, "rope.scaling.original_context_length", false,
                                         (int)h->n_ctx, 1, INT32_MAX);
    float factor = read_float(r, "rope.scaling.factor", false, (float)h->rope_linear, 1e-3f, 1e6f);
    if (is_word(type, "linear")) {
        h->rope_linear = (double)factor;
        return;
    }
    h->rope_linear = 1.0;
    if (is_word(type, "yarn")) {
        read_yarn(r, h, (double)factor);
    } else if (is_word(type, "longrope")) {
        if (!lk_gguf_find_tensor(r->gguf, "rope_factors_short.weight")) {
            refuse(r, "rope.scaling.type", "'longrope' without tensor 'rope_factors_short.weight'",
                   "that tensor");
        }
    } else if (!is_word(type, "none")) {
        char found[64];
        snprintf(found, sizeof found, "'%.*s'", (int)(type.len < 32 ? type.len : 32), type.ptr);
        refuse(r, "rope.scaling.type", found, "none, linear, yarn or longrope");
    }
}

/* rope.dimension_sections: how many pairs turn by each part of a position. The parts are equal in
 * text, so they say nothing, if they are all pairs' numbers. */
static void check_sections(struct reader *r, const struct lk_hparams *h)
{
    char full[128], found[32], expected[64];
    uint32_t n[4] = {(uint32_t)h->n_rot / 2};
    if (!r->status) {
        r->status =
            lk_gguf_u32s(r->gguf, key_of(r, "rope.dimension_sections", full), false, 4, n, r->err);
    }
    uint64_t sum = (uint64_t)n[0] + n[1] + n[2] + n[3];
    if (!r->status && sum != (uint64_t)h->n_rot / 2) {
        snprintf(found, sizeof found, "%llu pairs", (unsigned long long)sum);
        snprintf(expected, sizeof expected, "half of rope.dimension_count, %d", h->n_rot / 2);
        refuse(r, "rope.dimension_sections", found, expected);
    }
}

/* Dims of a head that are turned, one number for all layers of `kind` (1: those with a window, 0:
 * those without, 2: all). */
static int read_n_rot(struct reader *r, const struct lk_hparams *h, const char *key, int kind)
{
    int least_dim = LK_MAX_HEAD_DIM;
    for (int i = 0; i < h->n_layer; i++) {
        const struct lk_layer *l = &h->layers[i];
        bool of_kind = kind == 2 || (l->window > 0) == (kind == 1);
        least_dim = of_kind && l->k_dim < least_dim ? l->k_dim : least_dim;
    }
    int n = read_int(r, key, false, least_dim, 2, least_dim);
    if (!r->status && n % 2 != 0) {
        refuse(r, key, "odd", "an even number");
    }
    return n;
}

/* What turns a head, and how far. */
static void read_rope(struct reader *r, struct lk_hparams *h)
{
    bool local = h->arch->local_heads;
    read_rope_bases(r, h);
    h->n_rot = read_n_rot(r, h, "rope.dimension_count", local ? 0 : 2);
    h->local_n_rot = local ? read_n_rot(r, h, "rope.dimension_count_swa", 1) : h->n_rot;
    if (h->arch->sections) {
        check_sections(r, h);
    }
    read_scaling(r, h);
    for (int i = 0; i < h->n_layer && h->arch->plain_local_rope; i++) {
        h->local_rope_base = h->layers[i].window > 0 ? h->rope_base : h->local_rope_base;
    }
    if (h->arch->temperature) {
        h->temperature =
            (double)read_float(r, "attention.temperature_scale", false, 0.0f, 0.0f, 1e3f);
    }
    for (int i = 0; h->temperature > 0 && i < h->n_layer; i++) {
        if (h->layers[i].k_dim != h->n_rot) { /* it comes with the turn */
            refuse(r, "rope.dimension_count", "less than a head's with a temperature scale",
                   "all of attention.key_length");
        }
    }
    if (h->arch->factors_required || lk_gguf_find_tensor(r->gguf, "rope_freqs.weight")) {
        h->rope_factors = "rope_freqs.weight";
    } else if (lk_gguf_find_tensor(r->gguf, "rope_factors_short.weight")) {
        h->rope_factors = "rope_factors_short.weight";
        (void)read_int(r, "rope.scaling.original_context_length", true, (int)h->n_ctx, 1,
                       INT32_MAX);
        if (h->n_ctx_original < (double)h->n_ctx) {
            h->long_factors = "rope_factors_long.weight";
        }
    }
}

/* A key with an integer for all layers, or an array with one for each layer, into the member of
 * each layer that `at` gives. */
static void read_layers(struct reader *r, struct lk_hparams *h, const char *key, bool required,
                        int *(*at)(struct lk_layer *), int least, int most)
{
    char full[128];
    if (r->status) {
        return;
    }
    uint32_t *values = lk_alloc_array((size_t)h->n_blocks, sizeof *values);
    if (!values) {
        r->status = lk_fail(r->err, LK_E_NOMEM, "out of memory reading %d layers", h->n_layer);
        return;
    }
    for (int i = 0; i < h->n_layer; i++) {
        values[i] = (uint32_t)*at(&h->layers[i]); /* the preset */
    }
    r->status = lk_gguf_u32s(r->gguf, key_of(r, key, full), required, (uint64_t)h->n_blocks, values,
                             r->err);
    for (int i = 0; i < h->n_layer && !r->status; i++) {
        if (values[i] > (uint32_t)most || (int)values[i] < least) {
            r->status = lk_fail(r->err, LK_E_FORMAT, "%s: key '%s' is %u, expected %d to %d",
                                lk_gguf_path(r->gguf), full, values[i], least, most);
        }
        *at(&h->layers[i]) = (int)values[i];
    }
    lk_free(values);
}

static int *at_head(struct lk_layer *l)
{
    return &l->n_head;
}

static int *at_kv_head(struct lk_layer *l)
{
    return &l->n_kv_head;
}

static int *at_k_dim(struct lk_layer *l)
{
    return &l->k_dim;
}

static int *at_v_dim(struct lk_layer *l)
{
    return &l->v_dim;
}

static int *at_ff(struct lk_layer *l)
{
    return &l->n_ff;
}

static int *at_ff_exp(struct lk_layer *l)
{
    return &l->n_ff_exp;
}

/* The same of an architecture whose files say it layer by layer. */
static void read_window_array(struct reader *r, struct lk_hparams *h, int window)
{
    const struct lk_gguf_value *v = NULL;
    char full[128], found[32], expected[64];
    if (!r->status) {
        r->status = lk_gguf_array(r->gguf, key_of(r, "attention.sliding_window_pattern", full),
                                  true, LK_GGUF_BOOL, &v, r->err);
    }
    if (!r->status && v->count != (uint64_t)h->n_blocks) {
        snprintf(found, sizeof found, "an array of %llu", (unsigned long long)v->count);
        snprintf(expected, sizeof expected, "one of %d, a bool for each layer", h->n_blocks);
        refuse(r, "attention.sliding_window_pattern", found, expected);
    }
    for (int i = 0; i < h->n_layer && !r->status; i++) {
        h->layers[i].window = lk_gguf_array_int(v, (uint64_t)i) ? window : 0;
    }
}

/* Reads which layers attend to a window alone: the key is a number, or a bool a layer. */
static void read_windows(struct reader *r, struct lk_hparams *h)
{
    const struct lk_arch *arch = h->arch;
    int window = read_int(r, "attention.sliding_window", arch->window_required, arch->window_preset,
                          0, INT32_MAX);
    int pattern = arch->window_pattern;
    char full[128];
    if (arch->window_array) {
        read_window_array(r, h, window);
        return;
    }
    const struct lk_gguf_value *v =
        pattern > 0 ? lk_gguf_find(r->gguf, key_of(r, "attention.sliding_window_pattern", full))
                    : NULL;
    if (v && v->type == LK_GGUF_ARRAY && v->elem == LK_GGUF_BOOL &&
        v->count == (uint64_t)h->n_blocks) {
        for (int i = 0; i < h->n_layer; i++) {
            h->layers[i].window = lk_gguf_array_int(v, (uint64_t)i) ? window : 0;
        }
        return;
    }
    if (pattern > 0) {
        pattern = read_int(r, "attention.sliding_window_pattern", false, pattern, 1, MAX_LAYERS);
    }
    for (int i = 0; i < h->n_layer; i++) {
        h->layers[i].window = pattern == 0 || i % pattern < pattern - 1 ? window : 0;
    }
}

/* Sizes of the heads of layers with a window, where they have keys of their own. */
static void read_local_heads(struct reader *r, struct lk_hparams *h)
{
    for (int i = 0; i < h->n_layer && h->arch->local_heads; i++) {
        struct lk_layer *l = &h->layers[i];
        if (l->window > 0) {
            l->k_dim = read_int(r, "attention.key_length_swa", true, 2, 2, LK_MAX_HEAD_DIM);
            l->v_dim = read_int(r, "attention.value_length_swa", true, 2, 2, LK_MAX_HEAD_DIM);
        }
    }
}

/* Heads and their sizes, layer by layer. */
static void read_heads(struct reader *r, struct lk_hparams *h)
{
    char found[96], expected[64];
    read_layers(r, h, "attention.head_count", true, at_head, 1, MAX_LAYERS);
    for (int i = 0; i < h->n_layer && !r->status; i++) {
        struct lk_layer *l = &h->layers[i];
        l->n_kv_head = l->n_head;
        l->k_dim = h->n_embd / l->n_head;
        if (h->n_embd % l->n_head != 0 && !has_key(r, "attention.key_length")) {
            snprintf(found, sizeof found, "%d, with %d heads and no attention.key_length",
                     h->n_embd, l->n_head);
            refuse(r, "embedding_length", found, "a multiple of the heads");
        }
    }
    bool none = h->arch->short_conv || h->arch->ssm; /* layers may have none */
    read_layers(r, h, "attention.head_count_kv", none, at_kv_head, !none, MAX_LAYERS);
    for (int i = 0; i < h->n_layer && !r->status; i++) {
        struct lk_layer *l = &h->layers[i];
        enum lk_mixer other = h->arch->ssm ? LK_MIX_SSM : LK_MIX_SHORT_CONV;
        l->mixer = l->n_kv_head == 0 ? other : LK_MIX_ATTENTION;
        if (h->arch->one_mixer && l->n_ff > 0) {
            l->mixer = LK_MIX_NONE;
        }
        l->n_kv_head = l->n_kv_head == 0 ? l->n_head : l->n_kv_head; /* nobody asks */
    }
    read_layers(r, h, "attention.key_length", false, at_k_dim, 2, LK_MAX_HEAD_DIM);
    for (int i = 0; i < h->n_layer; i++) {
        h->layers[i].v_dim = h->layers[i].k_dim;
    }
    read_layers(r, h, "attention.value_length", false, at_v_dim, 2, LK_MAX_HEAD_DIM);
    read_local_heads(r, h);
    for (int i = 0; i < h->n_layer && !r->status; i++) {
        const struct lk_layer *l = &h->layers[i];
        if (l->k_dim % 2 != 0) {
            snprintf(found, sizeof found, "%d", l->k_dim);
            bool local = h->arch->local_heads && l->window > 0;
            refuse(r, local ? "attention.key_length_swa" : "attention.key_length", found,
                   "an even number");
        } else if (l->v_dim != l->k_dim && !h->arch->latent) {
            snprintf(found, sizeof found, "%d", l->v_dim);
            snprintf(expected, sizeof expected, "the key length, %d", l->k_dim);
            bool local = h->arch->local_heads && l->window > 0;
            refuse(r, local ? "attention.value_length_swa" : "attention.value_length", found,
                   expected);
        } else if (l->n_head % l->n_kv_head != 0) {
            snprintf(found, sizeof found, "%d", l->n_kv_head);
            snprintf(expected, sizeof expected, "a divisor of the %d heads", l->n_head);
            refuse(r, "attention.head_count_kv", found, expected);
        }
    }
}

/* Layers that attend to K and V of one before them. */
static void read_shared(struct reader *r, struct lk_hparams *h)
{
    char found[32], expected[96];
    int n = h->arch->shared_kv
                ? read_int(r, "attention.shared_kv_layers", false, 0, 0, h->n_layer - 1)
                : 0;
    for (int i = 0; i < h->n_layer; i++) {
        struct lk_layer *l = &h->layers[i];
        l->kv_layer = i;
        for (int k = h->n_layer - n - 1; i >= h->n_layer - n && k >= 0 && l->kv_layer == i; k--) {
            l->kv_layer = (h->layers[k].window > 0) == (l->window > 0) ? k : i;
        }
        const struct lk_layer *of = &h->layers[l->kv_layer];
        bool same = of->n_kv_head == l->n_kv_head && of->k_dim == l->k_dim;
        if (!r->status && i >= h->n_layer - n && (l->kv_layer == i || !same)) {
            snprintf(found, sizeof found, "%d", n);
            snprintf(expected, sizeof expected,
                     "a layer before those with K and V as layer %d reads them", i);
            refuse(r, "attention.shared_kv_layers", found, expected);
        }
    }
}

/* What q.k is multiplied by, where it is not 1 / sqrt(key length). Gemma 2 and 3 divide by a number
 * that is no key of their files: the key length, but in the 27B, which its sizes tell, n_embd /
 * n_head.
 */
static void read_attn_scale(struct reader *r, struct lk_hparams *h)
{
    const struct lk_layer *l = &h->layers[0];
    bool wide = h->n_embd == h->arch->wide_embd && l->n_head == 32 && l->k_dim == 128;
    h->attn_scale =
        (double)read_float(r, "attention.scale", false, (float)h->arch->attn_scale, 0.0f, 1e3f);
    if (!(h->attn_scale > 0) && wide) {
        h->attn_scale = 1.0 / lk_sqrt_f64((double)h->n_embd / l->n_head);
    }
}

/* Which layers turn their heads: all but each n-th, or, where some have a window, those alone. */
static void read_turns(struct reader *r, struct lk_hparams *h)
{
    const struct lk_arch *arch = h->arch;
    char full[128];
    bool turns = true, windows = false;
    if (arch->rope_switch && !r->status) {
        r->status =
            lk_gguf_bool(r->gguf, key_of(r, "rope.scaling.finetuned", full), false, &turns, r->err);
    }
    for (int i = 0; i < h->n_layer; i++) {
        windows |= h->layers[i].window > 0;
    }
    for (int i = 0; i < h->n_layer; i++) {
        bool left_out = arch->no_rope_step > 0 && (i + 1) % arch->no_rope_step == 0;
        bool full_one = arch->turns_windowed && windows && h->layers[i].window == 0;
        h->layers[i].rope = turns && !left_out && !full_one && !arch->positions;
    }
}

/* Scales of embeddings, of what is added to the hidden rows, and of logits. */
static void read_scales(struct reader *r, struct lk_hparams *h)
{
    h->embed_scale = h->arch->embed_scale ? (float)lk_sqrt_f64(h->n_embd) : 1.0f;
    h->residual_scale = h->logit_scale = 1.0;
    if (h->arch->scales) {
        h->embed_scale = read_float(r, "embedding_scale", false, h->embed_scale, 0.0f, 1e6f);
        h->residual_scale = (double)read_float(r, "residual_scale", false, 1.0f, 0.0f, 1e6f);
    }
    if (h->arch->logits != LK_LOGITS_PLAIN) {
        double scale = (double)read_float(r, "logit_scale", true, 1.0f, 1e-6f, 1e6f);
        h->logit_scale = h->arch->logits == LK_LOGITS_DIVIDED ? 1.0 / scale : scale;
    }
    /* Writers put 0 for none. */
    h->embed_scale = h->embed_scale > 0.0f ? h->embed_scale : 1.0f;
    h->residual_scale = h->residual_scale > 0.0 ? h->residual_scale : 1.0;
}

/* dense_2 and dense_3: n_embd to n_dense and back. */
static void read_dense(struct reader *r, struct lk_hparams *h)
{
    int n = h->n_embd;
    h->n_dense = read_int(r, "dense_2_feat_out", false, 0, 0, MAX_DIM);
    (void)read_int(r, "dense_2_feat_in", false, n, n, n);
    (void)read_int(r, "dense_3_feat_in", h->n_dense > 0, h->n_dense, h->n_dense, h->n_dense);
    (void)read_int(r, "dense_3_feat_out", false, n, n, n);
}

/* Rows of token_types.weight; every token has type 0. */
static void read_token_types(struct reader *r, struct lk_hparams *h)
{
    static const char key[] = "tokenizer.ggml.token_type_count";
    uint32_t n = 1;
    if (!r->status && lk_gguf_find_tensor(r->gguf, "token_types.weight")) {
        r->status = lk_gguf_u32(r->gguf, key, true, &n, r->err);
    }
    if (!r->status && (n < 1 || n > MAX_LAYERS)) {
        r->status = lk_fail(r->err, LK_E_FORMAT, "%s: key '%s' is %u, expected 1 to %d",
                            lk_gguf_path(r->gguf), key, n, MAX_LAYERS);
    }
    h->n_token_types = (int)n;
}

static void read_attention(struct reader *r, struct lk_hparams *h)
{
    char full[128];
    read_windows(r, h);
    read_heads(r, h);
    if (r->status) {
        return;
    }
    read_shared(r, h);
    read_attn_scale(r, h);
    static const char *const EPS[] = {"attention.layer_norm_rms_epsilon",
                                      "attention.layer_norm_epsilon"};
    bool other = h->arch->layer_norm || (h->arch->one_mixer && !has_key(r, EPS[0]));
    h->eps = read_float(r, EPS[other], true, 1e-5f, 0x1p-60f, 1.0f);
    read_turns(r, h);
    bool both_ways = h->arch->both_ways, causal = !both_ways;
    if (!r->status) {
        r->status =
            lk_gguf_bool(r->gguf, key_of(r, "attention.causal", full), false, &causal, r->err);
    }
    if (causal == both_ways) {
        refuse(r, "attention.causal", causal ? "true" : "false", causal ? "false" : "true");
    }
    h->attn_softcap = (double)read_float(r, "attn_logit_softcapping", false,
                                         (float)h->arch->attn_cap, 0.0f, 1e4f);
    h->final_softcap = (double)read_float(r, "final_logit_softcapping", false,
                                          (float)h->arch->final_cap, 0.0f, 1e4f);
}

/* expert_gating_func: 1 softmax over all, 2 sigmoid, 3 softmax over the chosen; 0 as absent.
 * `biased`: where it is absent, a bias of choice says sigmoid. */
static void read_gate(struct reader *r, struct lk_experts *x, bool biased)
{
    static const enum lk_gate GATES[] = {LK_GATE_CHOSEN, LK_GATE_SOFTMAX, LK_GATE_SIGMOID,
                                         LK_GATE_CHOSEN};
    int code = read_int(r, "expert_gating_func", false, 0, 0, 3);
    x->gate = code > 0 ? GATES[code] : biased ? LK_GATE_SIGMOID : x->gate;
    char full[128];
    if (!r->status) {
        r->status = lk_gguf_bool(r->gguf, key_of(r, "expert_weights_norm", full), false,
                                 &x->normalize, r->err);
    }
    float scale = read_float(r, "expert_weights_scale", false, 1.0f, 0.0f, 1e6f);
    x->scale = scale > 0.0f ? scale : 1.0f; /* files write 0 for none */
}

static void read_groups(struct reader *r, struct lk_experts *x, int n_expert)
{
    char found[32], expected[64];
    x->n_groups = read_int(r, "expert_group_count", false, 1, 0, n_expert);
    x->n_groups = x->n_groups > 0 ? x->n_groups : 1; /* files write 0 for none */
    x->n_groups_used = read_int(r, "expert_group_used_count", false, x->n_groups, 0, x->n_groups);
    x->n_groups_used = x->n_groups_used > 0 ? x->n_groups_used : x->n_groups;
    if (!r->status && n_expert % x->n_groups != 0) {
        snprintf(found, sizeof found, "%d", x->n_groups);
        snprintf(expected, sizeof expected, "a divisor of the %d experts", n_expert);
        refuse(r, "expert_group_count", found, expected);
    }
    int within = n_expert / x->n_groups * x->n_groups_used;
    if (!r->status && x->n_used > within) {
        snprintf(found, sizeof found, "%d", x->n_used);
        snprintf(expected, sizeof expected, "at most %d, the experts of the groups used", within);
        refuse(r, "expert_used_count", found, expected);
    }
}

/* Layers of experts: every n-th by interleave_moe_layer_step, but none of those before
 * leading_dense_block_count. */
static void read_experts(struct reader *r, struct lk_hparams *h)
{
    struct lk_experts *x = &h->experts;
    int n = read_int(r, "expert_count", false, 0, 0, LK_MAX_EXPERTS);
    *x = (struct lk_experts){.gate = h->arch->gate, .normalize = h->arch->normalize};
    if (n > 0 && !h->arch->experts) {
        refuse(r, "expert_count", "above 0", "0: this architecture has no experts");
    }
    int used = read_int(r, "expert_used_count", n > 0, 0, n > 0, LK_MAX_EXPERTS_USED);
    int dense = read_int(r, "leading_dense_block_count", false, 0, 0, h->n_layer);
    int step = read_int(r, "interleave_moe_layer_step", false, 1, 1, MAX_LAYERS);
    int shared = read_int(r, "expert_shared_count", false, 0, 0, LK_MAX_EXPERTS);
    x->n_used = n > 0 ? used : 0;
    int parts = h->arch->wide_expert ? 1 : used;
    for (int i = 0; i < h->n_layer; i++) { /* where no key says it */
        h->layers[i].n_ff_exp = n > 0 && parts > 0 ? h->layers[i].n_ff / parts : 0;
    }
    read_layers(r, h, "expert_feed_forward_length", false, at_ff_exp, n > 0, MAX_DIM);
    char bias[64];
    snprintf(bias, sizeof bias, "blk.%d.exp_probs_b.bias", dense);
    read_gate(r, x, h->arch->latent && lk_gguf_find_tensor(r->gguf, bias));
    int wide = read_int(r, "expert_shared_feed_forward_length", false, 0, 0, MAX_DIM);
    if (r->status || n == 0) {
        return;
    }
    read_groups(r, x, n);
    if (h->arch->latent && x->n_groups > 1 && x->gate == LK_GATE_SOFTMAX) {
        refuse(r, "expert_group_count", "above 1 with a softmax",
               "1: groups that are chosen by their best expert are not supported");
    }
    for (int i = dense; i < h->n_layer; i++) {
        struct lk_layer *l = &h->layers[i];
        int64_t each = h->arch->wide_shared ? l->n_ff : (int64_t)shared * l->n_ff_exp;
        int64_t all = wide > 0 ? wide : each;
        if ((i + 1) % step != 0 || l->n_ff == 0) {
            continue;
        }
        l->n_expert = n;
        l->n_ff_shared = all < MAX_DIM ? (int)all : MAX_DIM;
    }
}

void lk_hparams_free(struct lk_hparams *h)
{
    lk_free(h->layers);
    h->layers = NULL;
}

static bool makes_kv(struct lk_str part)
{
    static const char *const PARTS[] = {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"};
    bool is_one = false;
    for (size_t i = 0; i < LK_COUNT(PARTS); i++) {
        is_one |= is_word(part, PARTS[i]);
    }
    return is_one;
}

bool lk_hparams_skip(const struct lk_hparams *h, struct lk_str tensor)
{
    static const char prefix[] = "blk.", end[] = ".input_scale";
    size_t i = sizeof prefix - 1, n_end = sizeof end - 1;
    int block = 0;
    if (tensor.len > n_end && memcmp(tensor.ptr + tensor.len - n_end, end, n_end) == 0) {
        return true;
    }
    if (tensor.len <= i || memcmp(tensor.ptr, prefix, i) != 0) {
        return false;
    }
    while (i < tensor.len && tensor.ptr[i] >= '0' && tensor.ptr[i] <= '9' && block <= MAX_LAYERS) {
        block = 10 * block + (tensor.ptr[i++] - '0');
    }
    if (i >= tensor.len || tensor.ptr[i] != '.' || block >= h->n_blocks) {
        return false;
    }
    struct lk_str part = {tensor.ptr + i + 1, tensor.len - i - 1};
    return block >= h->n_layer || (h->layers[block].kv_layer != block && makes_kv(part));
}

/* Rows of the embedding, which are the vocabulary. */
static lk_status read_vocabulary(const struct lk_gguf *gguf, struct lk_hparams *h, lk_error *err)
{
    const struct lk_gguf_tensor *embd = lk_gguf_find_tensor(gguf, "token_embd.weight");
    if (!embd) {
        return lk_fail(err, LK_E_FORMAT, "%s: tensor 'token_embd.weight' is missing",
                       lk_gguf_path(gguf));
    }
    if (embd->ne[1] < 1 || embd->ne[1] > MAX_DIM) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: tensor 'token_embd.weight' has %llu rows, expected 1 to %d",
                       lk_gguf_path(gguf), (unsigned long long)embd->ne[1], MAX_DIM);
    }
    h->n_vocab = h->n_rows = (int)embd->ne[1];
    const struct lk_gguf_value *tokens;
    lk_status status =
        lk_gguf_array(gguf, "tokenizer.ggml.tokens", false, LK_GGUF_STRING, &tokens, err);
    if (!status && tokens && tokens->count == 0) {
        status = lk_fail(err, LK_E_FORMAT, "%s: key 'tokenizer.ggml.tokens' is empty",
                         lk_gguf_path(gguf));
    }
    if (!status && tokens && tokens->count < embd->ne[1]) {
        h->n_vocab = (int)tokens->count;
    }
    return status;
}

static void read_keys(struct reader *r, struct lk_hparams *h)
{
    h->n_blocks = h->n_layer = read_int(r, "block_count", true, 1, 1, MAX_LAYERS);
    h->n_layer -= read_int(r, "nextn_predict_layers", false, 0, 0, h->n_blocks - 1);
    h->n_embd = read_int(r, "embedding_length", true, 1, 1, MAX_DIM);
    h->layers = lk_alloc_array((size_t)h->n_layer, sizeof *h->layers);
    if (!h->layers) {
        r->status = lk_fail(r->err, LK_E_NOMEM, "out of memory reading %d layers", h->n_layer);
        return;
    }
    for (int i = 0; i < h->n_layer; i++) {
        h->layers[i].n_ff = 1; /* where no layer has one of its own: see below */
    }
    read_layers(r, h, "feed_forward_length", !h->arch->shared_gate, at_ff, !h->arch->one_mixer,
                MAX_DIM);
    if (h->arch->side_rows) {
        h->n_side =
            read_int(r, "embedding_length_per_layer_input", false, 0, 0, MAX_DIM / h->n_layer);
    }
    read_experts(r, h);
    h->n_ctx = (uint32_t)read_int(r, "context_length", true, 1, 1,
                                  h->arch->positions ? MAX_DIM : INT32_MAX);
    read_attention(r, h);
    read_rope(r, h);
    read_scales(r, h);
    if (h->arch->encoder) {
        read_token_types(r, h);
    } else if (h->arch->both_ways) {
        read_dense(r, h);
    }
    if (h->arch->latent) {
        lk_read_latent(r, h);
    }
    if (h->arch->delta) {
        lk_read_delta(r, h);
    }
    if (h->arch->ssm) {
        lk_read_ssm(r, h);
    }
    if (h->arch->short_conv) {
        h->conv_taps = read_int(r, "shortconv.l_cache", true, 2, 2, LK_MAX_TAPS);
    }
}

lk_status lk_hparams_read(const struct lk_gguf *gguf, struct lk_hparams *h, lk_error *err)
{
    struct lk_str name;
    *h = (struct lk_hparams){0};
    lk_status status = lk_gguf_str(gguf, "general.architecture", true, &name, err);
    if (status) {
        return status;
    }
    h->arch = lk_arch_find(name.ptr, name.len);
    if (!h->arch) {
        char known[512];
        lk_arch_list(known, sizeof known);
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: architecture '%.*s' is not supported; known ones: %s",
                       lk_gguf_path(gguf), (int)(name.len < 64 ? name.len : 64), name.ptr, known);
    }
    struct reader r = {.gguf = gguf, .prefix = h->arch->name, .err = err};
    r.read = lk_alloc(lk_gguf_n_values(gguf));
    if (!r.read) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory reading keys", lk_gguf_path(gguf));
    }
    read_keys(&r, h);
    status = r.status ? r.status : lk_arch_check_keys(gguf, h->arch, r.read, err);
    lk_free(r.read);
    if (!status) {
        status = read_vocabulary(gguf, h, err);
    }
    if (status) {
        lk_hparams_free(h);
        return status;
    }
    return LK_OK;
}
