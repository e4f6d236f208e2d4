/* SPDX-License-Identifier: Apache-2.0
 *
 * Model build: see model_build.h.
 */
#include "tests/util/model_build.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numerics.h"
#include "tests/util/half.h"

/* ---- random weights ---- */

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* The largest that is not above v, from 0 on. */
static uint8_t ue4m3_of(float v)
{
    uint8_t u = 0;
    while (u < 126 && lk_ue4m3_to_f32(u + 1u) <= v) {
        u++;
    }
    return u;
}

static void put_scale(const struct lk_type_info *info, uint8_t *block, int i, float v)
{
    uint8_t *p = block + info->scale_at[i];
    switch (info->scales) {
    case LK_SCALE_F16:
    case LK_SCALE_F16_SPREAD:
        put_f16_scale(info, block, i, half_of((double)v));
        break;
    case LK_SCALE_E8M0: { /* the nearest power of two below */
        int e;
        frexpf(v, &e);
        *p = (uint8_t)(e + 127);
        break;
    }
    case LK_SCALE_UE4M3: /* half of it is the scale */
        *p = ue4m3_of(2.0f * v);
        break;
    case LK_SCALE_NONE:
        break;
    }
}

/* The deviation of random blocks with scale 1. `mean` is what the second scale must be, in units of
 * the first, for values around 0. */
static const struct {
    enum lk_type type;
    float deviation, mean;
} SPREAD[] = {
    {LK_TYPE_Q4_0, 4.6f, 0.0f},    {LK_TYPE_Q4_1, 4.6f, -7.5f},     {LK_TYPE_Q5_0, 9.2f, 0.0f},
    {LK_TYPE_Q5_1, 9.2f, -15.5f},  {LK_TYPE_Q8_0, 74.0f, 0.0f},     {LK_TYPE_Q2_K, 14.0f, 1.5f},
    {LK_TYPE_Q3_K, 42.0f, 0.0f},   {LK_TYPE_Q4_K, 260.0f, 7.5f},    {LK_TYPE_Q5_K, 530.0f, 15.5f},
    {LK_TYPE_Q6_K, 1370.0f, 0.0f}, {LK_TYPE_IQ4_NL, 67.0f, 0.0f},   {LK_TYPE_IQ4_XS, 1250.0f, 0.0f},
    {LK_TYPE_MXFP4, 5.9f, 0.0f},   {LK_TYPE_IQ2_XXS, 53.0f, 0.0f},  {LK_TYPE_IQ2_XS, 56.0f, 0.0f},
    {LK_TYPE_IQ2_S, 56.0f, 0.0f},  {LK_TYPE_IQ3_XXS, 142.0f, 0.0f}, {LK_TYPE_IQ3_S, 140.0f, 0.0f},
    {LK_TYPE_IQ1_S, 7.2f, 0.0f},   {LK_TYPE_IQ1_M, 7.2f, 0.0f},     {LK_TYPE_TQ1_0, 0.82f, 0.0f},
    {LK_TYPE_TQ2_0, 1.2f, 0.0f},   {LK_TYPE_Q1_0, 1.0f, 0.0f},      {LK_TYPE_Q2_0, 1.2f, 0.0f},
    {LK_TYPE_NVFP4, 5.4f, 0.0f},
};

void model_random(enum lk_type type, uint8_t *data, size_t n, float deviation, struct rng *rng)
{
    const struct lk_type_info *info = lk_type_info(type);
    size_t blocks = n / (size_t)info->block;
    for (size_t i = 0; i < blocks; i++) {
        uint8_t *block = data + i * (size_t)info->block_bytes;
        if (!info->quantized) {
            float u = ((float)(rng_u32(rng) >> 8) * 0x1p-23f - 1.0f) * 1.7320508f * deviation;
            uint32_t bits = lk_bits(u);
            if (type == LK_TYPE_F32) {
                put16(block, bits);
                put16(block + 2, bits >> 16);
            } else {
                put16(block, type == LK_TYPE_F16 ? half_of((double)u) : bits >> 16);
            }
            continue;
        }
        for (int k = 0; k < info->block_bytes; k++) {
            block[k] = (uint8_t)rng_u32(rng);
        }
        bool known = false;
        for (size_t k = 0; k < LK_COUNT(SPREAD); k++) {
            if (SPREAD[k].type == type) {
                float wobble = 0.75f + 0.5f * (float)(rng_u32(rng) >> 8) * 0x1p-24f;
                float d = deviation / SPREAD[k].deviation * wobble;
                bool skewed = type == LK_TYPE_TQ2_0 || type == LK_TYPE_Q2_0; /* -1, 0, 1 and 2 */
                d = skewed && (rng_u32(rng) & 1u) ? -d : d; /* which then have no mean */
                put_scale(info, block, 0, d);
                for (int s = 1; s < info->n_scales; s++) {
                    static const float SUB_BLOCKS[4] = {1.0f, 0.75f, 0.5f, 1.25f};
                    put_scale(info, block, s, d * (info->apart ? SUB_BLOCKS[s] : SPREAD[k].mean));
                }
                known = true;
            }
        }
        cr_assert(known, "no random blocks of %s", info->name);
    }
}

/* ---- the file ---- */

/* A tensor of the directory, collected before anything is written. */
struct entry {
    char name[64];
    enum lk_type type;  /* of the data */
    uint32_t type_said; /* in the directory */
    uint64_t ne[3];
    uint32_t n_dims;
    bool vector;
    bool halves;  /* element i is 2^-(1 + i % 3) */
    bool doubled; /* of each matrix i of as many, what undoes that */
    float mean, deviation;
    uint64_t offset;
};
struct writer {
    struct gguf_build *b;
    const struct model_params *p;
    struct entry *entries;
    size_t n, cap;
};

static bool dropped(const struct writer *w, const char *name)
{
    return w->p->drop && strcmp(w->p->drop, name) == 0;
}

static void add(struct writer *w, const char *name, enum lk_type type, int rows, int cols,
                float mean, float deviation)
{
    if (dropped(w, name)) {
        return;
    }
    if (w->n == w->cap) {
        w->cap = w->cap * 2 + 64;
        w->entries = realloc(w->entries, w->cap * sizeof *w->entries);
        cr_assert(w->entries);
    }
    struct entry *e = &w->entries[w->n++];
    bool bent = w->p->bend && strcmp(w->p->bend, name) == 0;
    *e = (struct entry){.type = type,
                        .n_dims = rows || w->p->columns ? 2 : 1,
                        .vector = !rows,
                        .mean = mean,
                        .deviation = deviation};
    snprintf(e->name, sizeof e->name, "%s", name);
    e->ne[0] = (uint64_t)cols + (bent && !rows);
    e->ne[1] = rows ? (uint64_t)rows + bent : 1;
    e->ne[2] = 1;
    if (w->p->retype && strcmp(w->p->retype, name) == 0) {
        e->type_said = w->p->retype_to;
        e->type = lk_type_info(w->p->retype_to) ? (enum lk_type)w->p->retype_to : type;
    } else {
        e->type_said = type;
    }
}

static void matrix(struct writer *w, const char *name, int rows, int cols)
{
    add(w, name, w->p->type, rows, cols, 0.0f, 1.0f / sqrtf((float)cols));
}

/* `count` matrices. */
static void matrices(struct writer *w, const char *name, int count, int rows, int cols)
{
    size_t n = w->n;
    matrix(w, name, rows, cols);
    if (w->n > n) {
        w->entries[n].n_dims = 3;
        w->entries[n].ne[2] = (uint64_t)count;
    }
}

/* Matrices of all experts. */
static void experts(struct writer *w, const char *name, int rows, int cols)
{
    matrices(w, name, w->p->n_expert, rows, cols);
}

static void vector(struct writer *w, const char *name, int n, float mean, float deviation)
{
    add(w, name, w->p->vector_type, 0, n, mean, deviation);
}

/* `count` vectors of n elements. */
static void vectors(struct writer *w, const char *name, int count, int n, float mean,
                    float deviation)
{
    size_t at = w->n;
    vector(w, name, n, mean, deviation);
    if (w->n > at) {
        w->entries[at].n_dims = 2;
        w->entries[at].ne[1] = (uint64_t)count;
    }
}

static void biases_of_experts(struct writer *w, const char *name, int n)
{
    vectors(w, name, w->p->n_expert, n, 0.0f, 0.1f);
}

static void key_u32(struct writer *w, const char *suffix, uint32_t v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", w->p->arch, suffix);
    if (!dropped(w, key) && !(w->p->set_key && strcmp(w->p->set_key, key) == 0)) {
        gb_key_u32(w->b, key, v);
    }
}

static bool is_written(struct writer *w, const char *suffix, char key[128])
{
    snprintf(key, 128, "%s.%s", w->p->arch, suffix);
    return !dropped(w, key) && !(w->p->set_key && strcmp(w->p->set_key, key) == 0);
}

/* Heads of K and V; 0: a layer has none. */
static void heads_by_layer(struct writer *w)
{
    const struct model_params *p = w->p;
    char key[128];
    if (is_written(w, "attention.head_count_kv", key)) {
        gb_array(w->b, key, LK_GGUF_U32, (uint64_t)p->n_layer);
        for (int i = 0; i < p->n_layer; i++) {
            bool none = !model_attends(p, i);
            uint32_t n = none ? 0 : (uint32_t)model_kv_heads(p, i);
            gb_bytes(w->b, &n, sizeof n);
        }
    }
}

/* Sizes of heads by kind of layer, as arrays and as keys of their own. */
static void keys_of_two_heads(struct writer *w)
{
    const struct model_params *p = w->p;
    key_u32(w, "attention.key_length", 2 * (uint32_t)p->head_dim);
    key_u32(w, "attention.value_length", 2 * (uint32_t)p->head_dim);
    key_u32(w, "rope.dimension_count", 2 * (uint32_t)p->head_dim);
    key_u32(w, "attention.key_length_swa", (uint32_t)p->head_dim);
    key_u32(w, "attention.value_length_swa", (uint32_t)p->head_dim);
    key_u32(w, "rope.dimension_count_swa", (uint32_t)p->n_rot);
    heads_by_layer(w);
}

/* Sizes of the one head of the cache, and those of the model's heads. */
static void keys_of_latent_rows(struct writer *w)
{
    const struct model_params *p = w->p;
    key_u32(w, "attention.head_count_kv", (uint32_t)p->n_kv_head);
    key_u32(w, "attention.key_length", (uint32_t)(LATENT_RANK + p->n_rot));
    key_u32(w, "attention.value_length", LATENT_RANK);
    key_u32(w, "attention.key_length_mla", (uint32_t)(LATENT_STILL + p->n_rot));
    key_u32(w, "attention.value_length_mla", (uint32_t)p->head_dim);
    key_u32(w, "attention.kv_lora_rank", LATENT_RANK);
    key_u32(w, "attention.q_lora_rank", LATENT_Q_RANK);
    key_u32(w, "expert_gating_func", 2);
    key_u32(w, "rope.dimension_count", (uint32_t)p->n_rot);
}

static void key_f32(struct writer *w, const char *suffix, float v)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", w->p->arch, suffix);
    if (!dropped(w, key) && !(w->p->set_key && strcmp(w->p->set_key, key) == 0)) {
        gb_key_f32(w->b, key, v);
    }
}

static void expert_keys(struct writer *w, const struct arch_shape *shape)
{
    if (shape->first_moe) {
        key_u32(w, "leading_dense_block_count", (uint32_t)shape->first_moe);
    }
    if (shape->moe_step) {
        key_u32(w, "interleave_moe_layer_step", (uint32_t)shape->moe_step);
    }
    if (shape->groups) {
        key_u32(w, "expert_group_count", (uint32_t)shape->groups);
        key_u32(w, "expert_group_used_count", (uint32_t)shape->groups - 1);
    }
    if (shape->shared) {
        key_u32(w, "expert_shared_feed_forward_length", (uint32_t)w->p->n_ff);
    }
    if (shape->choice_bias) {
        char key[96];
        key_f32(w, "expert_weights_scale", 1.5f);
        snprintf(key, sizeof key, "%s.expert_weights_norm", w->p->arch);
        gb_key_bool(w->b, key, true);
    }
}

/* What layers with states are. */
static void keys_of_states(struct writer *w, const struct arch_shape *shape)
{
    if (shape->short_conv) {
        key_u32(w, "shortconv.l_cache", CONV_TAPS);
    }
    if (shape->delta) {
        key_u32(w, "full_attention_interval", 2);
        key_u32(w, "ssm.conv_kernel", DELTA_TAPS);
        key_u32(w, "ssm.state_size", DELTA_K_DIM);
        key_u32(w, "ssm.group_count", DELTA_K_HEADS);
        key_u32(w, "ssm.time_step_rank", DELTA_HEADS);
        key_u32(w, "ssm.inner_size", DELTA_HEADS * DELTA_V_DIM);
    }
    if (shape->ssm) {
        key_u32(w, "ssm.conv_kernel", SSM_TAPS);
        key_u32(w, "ssm.state_size", SSM_ROWS);
        key_u32(w, "ssm.group_count", SSM_GROUPS);
        key_u32(w, "ssm.time_step_rank", SSM_HEADS);
        key_u32(w, "ssm.inner_size", SSM_HEADS * SSM_DIM);
    }
}

static void keys(struct writer *w)
{
    const struct model_params *p = w->p;
    char key[128];
    if (!dropped(w, "general.architecture")) {
        gb_key_str(w->b, "general.architecture", p->arch);
    }
    key_u32(w, "block_count", (uint32_t)p->n_layer);
    key_u32(w, "context_length", (uint32_t)p->n_ctx);
    key_u32(w, "embedding_length", (uint32_t)p->n_embd);
    if (arch_shape_of(p->arch)->one_mixer && is_written(w, "feed_forward_length", key)) {
        gb_array(w->b, key, LK_GGUF_U32, (uint64_t)p->n_layer);
        for (int i = 0; i < p->n_layer; i++) {
            uint32_t n = model_feeds_forward(p, i) ? (uint32_t)p->n_ff : 0;
            gb_bytes(w->b, &n, sizeof n);
        }
    } else if (!arch_shape_of(p->arch)->one_mixer) {
        key_u32(w, "feed_forward_length", (uint32_t)p->n_ff);
    }
    key_u32(w, "attention.head_count", (uint32_t)p->n_head);
    const struct arch_shape *shape = arch_shape_of(p->arch);
    if (shape->two_heads) {
        keys_of_two_heads(w);
    } else if (shape->latent) {
        keys_of_latent_rows(w);
    } else {
        if (shape->short_conv || shape->ssm) {
            heads_by_layer(w);
        } else {
            key_u32(w, "attention.head_count_kv", (uint32_t)p->n_kv_head);
        }
        key_u32(w, "attention.key_length", (uint32_t)p->head_dim);
        key_u32(w, "attention.value_length", (uint32_t)p->head_dim);
        key_u32(w, "rope.dimension_count", (uint32_t)p->n_rot);
    }
    key_f32(w, "rope.freq_base", 50000.0f);
    key_f32(w,
            shape->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
            1e-5f);
    if (shape->scales) {
        key_f32(w, "embedding_scale", 1.5f);
        key_f32(w, "residual_scale", 0.5f);
        key_f32(w, "attention.scale", 0.1f);
    }
    if (shape->scales || shape->logit_scale) {
        key_f32(w, "logit_scale", shape->scales ? 8.0f : 0.25f);
    }
    if (p->n_expert) {
        key_u32(w, "expert_count", (uint32_t)p->n_expert);
        key_u32(w, "expert_used_count", (uint32_t)p->n_used);
        key_u32(w, "expert_feed_forward_length", (uint32_t)p->n_ff_exp);
        expert_keys(w, shape);
    }
    keys_of_states(w, shape);
    snprintf(key, sizeof key, "tokenizer.ggml.token_type_count");
    if (shape->encoder && !(p->set_key && strcmp(p->set_key, key) == 0)) {
        gb_key_u32(w->b, key, TOKEN_TYPES);
    }
    if (p->window) {
        key_u32(w, "attention.sliding_window", (uint32_t)p->window);
    }
    if (shape->window_array && is_written(w, "attention.sliding_window_pattern", key)) {
        gb_array(w->b, key, LK_GGUF_BOOL, (uint64_t)p->n_layer);
        for (int i = 0; i < p->n_layer; i++) {
            uint8_t windowed = !model_is_full(p, i);
            gb_bytes(w->b, &windowed, 1);
        }
    }
    if (p->n_side) {
        key_u32(w, "embedding_length_per_layer_input", (uint32_t)p->n_side);
    }
    if (p->softcap > 0) {
        key_f32(w, "final_logit_softcapping", p->softcap);
    }
    if (p->linear > 0) {
        snprintf(key, sizeof key, "%s.rope.scaling.type", p->arch);
        gb_key_str(w->b, key, "linear");
        key_f32(w, "rope.scaling.factor", p->linear);
    }
    if (shape->yarn && !(p->linear > 0)) {
        snprintf(key, sizeof key, "%s.rope.scaling.type", p->arch);
        gb_key_str(w->b, key, "yarn");
        key_f32(w, "rope.scaling.factor", 16.0f);
        key_u32(w, "rope.scaling.original_context_length", 20);
        key_f32(w, "rope.scaling.yarn_beta_fast", 4.0f);
        key_f32(w, "rope.scaling.yarn_log_multiplier", 0.5f);
        key_f32(w, "attention.temperature_scale", 0.1f);
    }
    if (p->rope_freqs && strcmp(p->arch, "phi3") == 0) {
        snprintf(key, sizeof key, "%s.rope.scaling.type", p->arch);
        gb_key_str(w->b, key, "longrope");
        key_u32(w, "rope.scaling.original_context_length", (uint32_t)p->n_ctx / 2);
        key_f32(w, "rope.scaling.attn_factor", 1.19f);
    }
    if (p->set_key) {
        gb_key_u32(w->b, p->set_key, p->set_u32);
    }
    if (p->n_tokens) {
        gb_array(w->b, "tokenizer.ggml.tokens", LK_GGUF_STRING, (uint64_t)p->n_tokens);
        for (int i = 0; i < p->n_tokens; i++) {
            snprintf(key, sizeof key, "t%d", i);
            gb_str(w->b, key);
        }
    }
    if (p->add_keys) {
        p->add_keys(w->b, p->keys);
    }
}

static const char *blk(char buf[64], int layer, const char *suffix)
{
    snprintf(buf, 64, "blk.%d.%s", layer, suffix);
    return buf;
}

static void delta_tensors(struct writer *w, int i)
{
    int e = w->p->n_embd, nv = DELTA_HEADS * DELTA_V_DIM;
    int all = 2 * DELTA_K_HEADS * DELTA_K_DIM + nv;
    char s[64];
    matrix(w, blk(s, i, "attn_qkv.weight"), all, e);
    matrix(w, blk(s, i, "attn_gate.weight"), nv, e);
    if (arch_shape_of(w->p->arch)->delta_groups) {
        matrix(w, blk(s, i, "ssm_ba.weight"), 2 * DELTA_HEADS, e);
    } else {
        matrix(w, blk(s, i, "ssm_alpha.weight"), DELTA_HEADS, e);
        matrix(w, blk(s, i, "ssm_beta.weight"), DELTA_HEADS, e);
    }
    vector(w, blk(s, i, "ssm_dt.bias"), DELTA_HEADS, 0.0f, 0.5f);
    vector(w, blk(s, i, "ssm_a"), DELTA_HEADS, -0.5f, 0.2f);
    add(w, blk(s, i, "ssm_conv1d.weight"), LK_TYPE_F32, all, DELTA_TAPS, 0.0f, 0.6f);
    vector(w, blk(s, i, "ssm_norm.weight"), DELTA_V_DIM, 1.0f, 0.2f);
    matrix(w, blk(s, i, "ssm_out.weight"), e, nv);
}

/* A norm with its bias; `name`: of both, without their ends. */
static void norm_and_bias(struct writer *w, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    vector(w, full, w->p->n_embd, 1.0f, 0.2f);
    snprintf(full, sizeof full, "%s.bias", name);
    vector(w, full, w->p->n_embd, 0.0f, 0.2f);
}

/* What an encoder has around its embedding. */
static void encoder_tensors(struct writer *w)
{
    size_t at = w->n;
    vector(w, "token_types.weight", w->p->n_embd, 0.0f, 0.5f);
    if (w->n > at) {
        w->entries[at].n_dims = 2;
        w->entries[at].ne[1] = TOKEN_TYPES;
    }
    if (arch_shape_of(w->p->arch)->positions) {
        add(w, "position_embd.weight", w->p->embed_type, w->p->n_ctx, w->p->n_embd, 0.0f, 0.5f);
    }
    norm_and_bias(w, "token_embd_norm");
}

static void ssm_tensors(struct writer *w, int i)
{
    int e = w->p->n_embd, inner = SSM_HEADS * SSM_DIM, xbc = inner + 2 * SSM_GROUPS * SSM_ROWS;
    char s[64];
    matrix(w, blk(s, i, "ssm_in.weight"), inner + xbc + SSM_HEADS, e);
    add(w, blk(s, i, "ssm_conv1d.weight"), LK_TYPE_F32, xbc, SSM_TAPS, 0.0f, 0.6f);
    vector(w, blk(s, i, "ssm_conv1d.bias"), xbc, 0.0f, 0.3f);
    vector(w, blk(s, i, "ssm_dt.bias"), SSM_HEADS, 0.0f, 0.5f);
    vectors(w, blk(s, i, "ssm_a"), SSM_HEADS, 1, -0.5f, 0.2f);
    vectors(w, blk(s, i, "ssm_d"), SSM_HEADS, 1, 1.0f, 0.2f);
    vectors(w, blk(s, i, "ssm_norm.weight"), SSM_GROUPS, inner / SSM_GROUPS, 1.0f, 0.2f);
    matrix(w, blk(s, i, "ssm_out.weight"), e, inner);
}

/* Gate, up and down; `one`: gate and up in one tensor; `end` of their names: "_shexp" or "". */
static void feed_forward(struct writer *w, int i, bool one, const char *end)
{
    const struct model_params *p = w->p;
    const struct arch_shape *shape = arch_shape_of(p->arch);
    int rows = one ? 2 * p->n_ff : p->n_ff;
    bool gate = !one && !shape->ungated && !shape->squared;
    char name[64];
    if (gate) {
        snprintf(name, sizeof name, "blk.%d.ffn_gate%s.weight", i, end);
        matrix(w, name, p->n_ff, p->n_embd);
    }
    snprintf(name, sizeof name, "blk.%d.ffn_up%s.weight", i, end);
    matrix(w, name, rows, p->n_embd);
    if (p->ffn_biases) {
        if (gate) {
            snprintf(name, sizeof name, "blk.%d.ffn_gate%s.bias", i, end);
            vector(w, name, p->n_ff, 0.0f, 0.5f);
        }
        snprintf(name, sizeof name, "blk.%d.ffn_up%s.bias", i, end);
        vector(w, name, rows, 0.0f, 0.5f);
        snprintf(name, sizeof name, "blk.%d.ffn_down%s.bias", i, end);
        vector(w, name, p->n_embd, 0.0f, 0.1f);
    }
    snprintf(name, sizeof name, "blk.%d.ffn_down%s.weight", i, end);
    matrix(w, name, p->n_embd, p->n_ff);
}

static void expert_tensors(struct writer *w, int i, const struct arch_shape *shape)
{
    const struct model_params *p = w->p;
    int e = p->n_embd, n_ff = p->wide_layer > 0 && i == p->wide_layer ? p->n_ff : p->n_ff_exp;
    char s[64];
    add(w, blk(s, i, "ffn_gate_inp.weight"), LK_TYPE_F32, p->n_expert, e, 0.0f,
        1.0f / sqrtf((float)e));
    if (!shape->squared) {
        experts(w, blk(s, i, "ffn_gate_exps.weight"), n_ff, e);
    }
    experts(w, blk(s, i, "ffn_up_exps.weight"), n_ff, e);
    experts(w, blk(s, i, "ffn_down_exps.weight"), e, n_ff);
    if (p->ffn_biases) {
        vector(w, blk(s, i, "ffn_gate_inp.bias"), p->n_expert, 0.0f, 0.5f);
        if (!shape->squared) {
            biases_of_experts(w, blk(s, i, "ffn_gate_exps.bias"), n_ff);
        }
        biases_of_experts(w, blk(s, i, "ffn_up_exps.bias"), n_ff);
        biases_of_experts(w, blk(s, i, "ffn_down_exps.bias"), e);
    }
    if (shape->choice_bias) {
        vector(w, blk(s, i, "exp_probs_b.bias"), p->n_expert, 0.0f, 0.1f);
    }
    if (shape->shared) {
        feed_forward(w, i, false, "_shexp");
    }
    if (shape->shared_gate) {
        add(w, blk(s, i, "ffn_gate_inp_shexp.weight"), LK_TYPE_F32, 1, e, 0.0f,
            1.0f / sqrtf((float)e));
    }
}

static void attention_tensors(struct writer *w, int i)
{
    const struct model_params *p = w->p;
    const struct arch_shape *shape = arch_shape_of(p->arch);
    int hd = model_head_dim(p, i), no = p->n_head * hd, nk = model_kv_heads(p, i) * hd;
    int e = p->n_embd, nq = shape->delta ? 2 * no : no; /* with gates */
    char s[64];
    bool fused = shape->fused != p->other_layout;
    if (fused) {
        matrix(w, blk(s, i, "attn_qkv.weight"), nq + 2 * nk, e);
    } else {
        matrix(w, blk(s, i, "attn_q.weight"), nq, e);
        matrix(w, blk(s, i, "attn_k.weight"), nk, e);
        if (model_has_v(p, i)) {
            matrix(w, blk(s, i, "attn_v.weight"), nk, e);
        }
    }
    if (p->biases) {
        if (fused) {
            vector(w, blk(s, i, "attn_qkv.bias"), nq + 2 * nk, 0.0f, 0.5f);
        } else {
            vector(w, blk(s, i, "attn_q.bias"), nq, 0.0f, 0.5f);
            vector(w, blk(s, i, "attn_k.bias"), nk, 0.0f, p->key_bias > 0 ? p->key_bias : 0.5f);
            vector(w, blk(s, i, "attn_v.bias"), nk, 0.0f, 0.5f);
        }
        if (strcmp(p->arch, "gpt-oss") == 0 || shape->encoder || !shape->qkv_bias) {
            vector(w, blk(s, i, "attn_output.bias"), e, 0.0f, 0.1f);
        }
    }
    if (shape->qk_norm && !p->no_qk_norms) {
        bool row = shape->qk_norm == 2;
        float mean = shape->unscaled ? 1.0f / sqrtf(sqrtf((float)hd)) : 1.0f;
        vector(w, blk(s, i, "attn_q_norm.weight"), row ? nq : hd, mean, 0.2f * mean);
        vector(w, blk(s, i, "attn_k_norm.weight"), row ? nk : hd, mean, 0.2f * mean);
    }
    matrix(w, blk(s, i, "attn_output.weight"), e, no);
}

static void latent_tensors(struct writer *w, int i)
{
    const struct model_params *p = w->p;
    int e = p->n_embd, rank = LATENT_RANK, n = p->n_head;
    char s[64];
    matrix(w, blk(s, i, "attn_q_a.weight"), LATENT_Q_RANK, e);
    vector(w, blk(s, i, "attn_q_a_norm.weight"), LATENT_Q_RANK, 1.0f, 0.2f);
    matrix(w, blk(s, i, "attn_q_b.weight"), n * (LATENT_STILL + p->n_rot), LATENT_Q_RANK);
    matrix(w, blk(s, i, "attn_kv_a_mqa.weight"), rank + p->n_rot, e);
    vector(w, blk(s, i, "attn_kv_a_norm.weight"), rank, 1.0f, 0.2f);
    matrices(w, blk(s, i, "attn_k_b.weight"), n, rank, LATENT_STILL);
    matrices(w, blk(s, i, "attn_v_b.weight"), n, p->head_dim, rank);
    matrix(w, blk(s, i, "attn_output.weight"), e, n * p->head_dim);
}

static void layer_tensors(struct writer *w, int i)
{
    const struct model_params *p = w->p;
    const struct arch_shape *shape = arch_shape_of(p->arch);
    int e = p->n_embd;
    char s[64];
    if (!shape->no_pre_norms) {
        vector(w, blk(s, i, "attn_norm.weight"), e, 1.0f, 0.2f);
    }
    if (shape->short_conv && i % 2 == 0) {
        matrix(w, blk(s, i, "shortconv.in_proj.weight"), 3 * e, e);
        add(w, blk(s, i, "shortconv.conv.weight"), LK_TYPE_F32, e, CONV_TAPS, 0.0f, 0.5f);
        matrix(w, blk(s, i, "shortconv.out_proj.weight"), e, e);
    } else if (shape->delta && i % 2 == 0) {
        delta_tensors(w, i);
    } else if (shape->ssm && !model_attends(p, i) && !(shape->one_mixer && i % 3 == 2)) {
        ssm_tensors(w, i);
    } else if (shape->latent) {
        latent_tensors(w, i);
    } else if (model_attends(p, i)) {
        attention_tensors(w, i);
    }
    if (shape->layer_scale) {
        vector(w, blk(s, i, "layer_output_scale.weight"), 1, 0.8f, 0.1f);
    }
    if (shape->post_norms) {
        vector(w, blk(s, i, "post_attention_norm.weight"), e, 1.0f, 0.2f);
        vector(w, blk(s, i, "post_ffw_norm.weight"), e, 1.0f, 0.2f);
    }
    if (p->n_side) {
        matrix(w, blk(s, i, "inp_gate.weight"), p->n_side, e);
        matrix(w, blk(s, i, "proj.weight"), e, p->n_side);
        vector(w, blk(s, i, "post_norm.weight"), e, 1.0f, 0.2f);
    }
    if (!shape->no_pre_norms && !shape->parallel && !shape->one_mixer) {
        vector(w,
               blk(s, i, shape->ffn_norm_post ? "post_attention_norm.weight" : "ffn_norm.weight"),
               e, 1.0f, 0.2f);
    }
    if (shape->encoder) {
        norm_and_bias(w, blk(s, i, "attn_output_norm"));
        norm_and_bias(w, blk(s, i, "layer_output_norm"));
    }
    if (strcmp(p->arch, "gpt-oss") == 0) {
        vector(w, blk(s, i, "attn_sinks.weight"), p->n_head, 0.5f, 1.0f);
    }
    if (model_has_experts(p, i)) {
        expert_tensors(w, i, shape);
        return;
    }
    if (!model_feeds_forward(p, i)) {
        return;
    }
    feed_forward(w, i, shape->fused_gate_up != (shape->fused_gate_up && p->other_layout), "");
}

/* A scale beside each matrix of a layer, and one of its activations, which is not used. Routers
 * have none, and gemma4's ffn_down_exps.scale is of the router. */
static void add_factors(struct writer *w)
{
    size_t n = w->n;
    for (size_t i = 0; i < n; i++) {
        const char *name = w->entries[i].name, *end = strstr(name, ".weight");
        int count = (int)w->entries[i].ne[2];
        bool own = arch_shape_of(w->p->arch)->two_heads && strstr(name, "ffn_down_exps");
        char scale[64], input[64];
        if (w->entries[i].vector || strncmp(name, "blk.", 4) != 0 || !end || own ||
            strstr(name, "ffn_gate_inp") || strstr(name, "conv1d") || strstr(name, ".conv.") ||
            strstr(name, "_b.weight")) { /* of heads */
            continue;
        }
        snprintf(scale, sizeof scale, "%.*s.scale", (int)(end - name), name);
        snprintf(input, sizeof input, "%.*s.input_scale", (int)(end - name), name);
        size_t at = w->n;
        vector(w, scale, count, 0.0f, 0.0f);
        if (w->n > at) {
            w->entries[at].halves = true;
            w->entries[i].doubled = w->p->type == LK_TYPE_F32;
        }
        vector(w, input, count, 3.0f, 0.0f);
    }
}

static void tensors(struct writer *w)
{
    const struct model_params *p = w->p;
    add(w, "token_embd.weight", p->embed_type, p->n_vocab, p->n_embd, 0.0f,
        arch_shape_of(p->arch)->wide ? 1.0f / sqrtf((float)p->n_embd) : 1.0f);
    if (p->n_side) {
        int all = p->n_layer * p->n_side;
        add(w, "per_layer_token_embd.weight", p->embed_type, p->n_vocab, all, 0.0f,
            1.0f / sqrtf((float)p->n_side));
        matrix(w, "per_layer_model_proj.weight", all, p->n_embd);
        vector(w, "per_layer_proj_norm.weight", p->n_side, 1.0f, 0.2f);
    }
    for (int i = 0; i < p->n_layer; i++) {
        layer_tensors(w, i);
    }
    if (arch_shape_of(p->arch)->encoder) {
        encoder_tensors(w);
    } else {
        bool conv = arch_shape_of(p->arch)->short_conv;
        vector(w, conv ? "token_embd_norm.weight" : "output_norm.weight", p->n_embd, 1.0f, 0.2f);
    }
    if (!p->tied) {
        add(w, "output.weight", p->embed_type, p->n_vocab, p->n_embd, 0.0f,
            2.0f / sqrtf((float)p->n_embd));
    }
    if (p->rope_freqs && strcmp(p->arch, "phi3") == 0) {
        vector(w, "rope_factors_short.weight", p->n_rot / 2, 1.5f, 0.2f);
        vector(w, "rope_factors_long.weight", p->n_rot / 2, 20.0f, 5.0f);
    } else if (arch_shape_of(p->arch)->two_heads) {
        add(w, "rope_freqs.weight", LK_TYPE_F32, 0, p->head_dim, 4.0f, 1.5f);
    } else if (p->rope_freqs) {
        vector(w, "rope_freqs.weight", p->n_rot / 2, 4.0f, 1.5f);
    }
    if (p->extra) {
        vector(w, p->extra, p->n_embd, 0.0f, 1.0f);
    }
    if (p->factors) {
        add_factors(w);
    }
}

/* A vector's values, made in F32 whatever they are stored as. */
static void make_vector(const struct model_params *p, const struct entry *e, uint8_t *data,
                        size_t n, struct rng *rng)
{
    bool two_heads = arch_shape_of(p->arch)->two_heads;
    bool still = two_heads && strcmp(e->name, "rope_freqs.weight") == 0; /* most pairs stay */
    model_random(LK_TYPE_F32, data, n, e->deviation, rng);
    for (size_t k = 0; k < n; k++) {
        float v;
        memcpy(&v, data + 4 * k, sizeof v);
        v += e->halves ? ldexpf(1.0f, -1 - (int)(k % 3)) : e->mean;
        uint32_t half = half_of((double)v);
        v = p->vector_values == LK_TYPE_F16    ? lk_f16_to_f32(half)
            : p->vector_values == LK_TYPE_BF16 ? lk_flt(lk_bits(v) & 0xffff0000u)
                                               : v;
        if (still && k >= n / 4) {
            v = 1e30f;
        }
        if (e->type == LK_TYPE_F32) {
            memcpy(data + 4 * k, &v, sizeof v);
        } else { /* behind what is still to be read */
            put16(data + 2 * k, e->type == LK_TYPE_F16 ? half_of((double)v) : lk_bits(v) >> 16);
        }
    }
}

/* F32 matrices times what their scales divide by. */
static void double_matrices(const struct entry *e, uint8_t *data)
{
    size_t each = (size_t)(e->ne[0] * e->ne[1]);
    for (size_t i = 0; i < each * (size_t)e->ne[2]; i++) {
        float v;
        memcpy(&v, data + 4 * i, sizeof v);
        v = ldexpf(v, 1 + (int)(i / each % 3));
        memcpy(data + 4 * i, &v, sizeof v);
    }
}

void model_build(struct gguf_build *b, const struct model_params *p)
{
    struct writer w = {.b = b, .p = p};
    struct rng rng = {p->seed};
    uint64_t offset = 0;
    gb_start(b, 3);
    keys(&w);
    tensors(&w);
    for (size_t i = 0; i < w.n; i++) {
        struct entry *e = &w.entries[i];
        e->offset = offset;
        gb_tensor(b, e->name, e->n_dims, e->ne, e->type_said, offset);
        offset += lk_type_row_bytes(e->type, (size_t)(e->ne[0] * e->ne[1] * e->ne[2]));
        /* a type that says more bytes than its data has must still find them */
        int block, block_bytes;
        if (e->type_said != (uint32_t)e->type &&
            lk_type_block(e->type_said, &block, &block_bytes)) {
            offset += e->ne[0] * e->ne[1] * e->ne[2] / (uint64_t)block * (uint64_t)block_bytes;
        }
        offset = (offset + 31) / 32 * 32;
    }
    gb_align(b, 32);
    size_t start = b->n;
    gb_bytes(b, NULL, 0);
    for (size_t i = 0; i < w.n; i++) {
        struct entry *e = &w.entries[i];
        size_t n = (size_t)(e->ne[0] * e->ne[1] * e->ne[2]),
               n_bytes = lk_type_row_bytes(e->type, n);
        if (p->no_matrices && !e->vector) {
            gb_fill(b, 0, start + e->offset - b->n + n_bytes);
            continue;
        }
        uint8_t *data = malloc(e->vector ? n * sizeof(float) : n_bytes);
        cr_assert(data);
        if (e->vector && (e->type == LK_TYPE_F32 || !lk_type_info(e->type)->quantized)) {
            make_vector(p, e, data, n, &rng);
        } else {
            model_random(e->type, data, n, e->deviation, &rng);
            if (e->doubled) {
                double_matrices(e, data);
            }
        }
        gb_fill(b, 0, start + e->offset - b->n);
        gb_bytes(b, data, n_bytes);
        free(data);
    }
    gb_fill(b, 0, start + offset - b->n);
    free(w.entries);
}
