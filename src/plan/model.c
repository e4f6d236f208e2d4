/* SPDX-License-Identifier: Apache-2.0
 *
 * Model: see model.h.
 */
#include "plan/model.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DIM = 1 << 24, MAX_LAYERS = 4096 };

/* Reads keys under the architecture's prefix; the first failure stays. */
struct reader {
    const struct lk_gguf *gguf;
    const char *prefix;
    lk_status status;
    lk_error *err;
};

static const char *key_of(const struct reader *r, const char *key, char buf[128])
{
    snprintf(buf, 128, "%s.%s", r->prefix, key);
    return buf;
}

static int read_int(struct reader *r, const char *key, bool required, int preset, int least,
                    int most)
{
    char full[128];
    uint32_t v = (uint32_t)preset;
    if (r->status) {
        return preset;
    }
    r->status = lk_gguf_u32(r->gguf, key_of(r, key, full), required, &v, r->err);
    if (!r->status && (v > (uint32_t)most || (int)v < least)) {
        r->status = lk_fail(r->err, LK_E_FORMAT, "%s: key '%s' is %u, expected %d to %d",
                            lk_gguf_path(r->gguf), full, v, least, most);
    }
    return r->status ? preset : (int)v;
}

static float read_float(struct reader *r, const char *key, bool required, float preset, float least,
                        float most)
{
    char full[128];
    float v = preset;
    if (r->status) {
        return preset;
    }
    r->status = lk_gguf_f32(r->gguf, key_of(r, key, full), required, &v, r->err);
    if (!r->status && !(v >= least && v <= most)) {
        r->status = lk_fail(r->err, LK_E_FORMAT, "%s: key '%s' is %g, expected %g to %g",
                            lk_gguf_path(r->gguf), full, (double)v, (double)least, (double)most);
    }
    return r->status ? preset : v;
}

static void refuse(struct reader *r, const char *key, const char *found, const char *expected)
{
    char full[128];
    if (!r->status) {
        r->status = lk_fail(r->err, LK_E_UNSUPPORTED, "%s: key '%s' is %s, expected %s",
                            lk_gguf_path(r->gguf), key_of(r, key, full), found, expected);
    }
}

/* rope.scaling.*: none, linear, or longrope with its factors in a tensor. */
static void read_rope(struct reader *r, struct lk_hparams *h)
{
    char full[128];
    struct lk_str type = {"linear", 6}; /* with a factor of 1 where the file says nothing */
    h->local_rope_base = h->arch->local_rope_base;
    if (h->local_rope_base > 0) {
        h->local_rope_base = (double)read_float(r, "rope.freq_base_swa", false,
                                                (float)h->local_rope_base, 1.0f, 1e12f);
    }
    h->n_rot = read_int(r, "rope.dimension_count", false, h->head_dim, 2, h->head_dim);
    h->rope_base = (double)read_float(r, "rope.freq_base", false, 10000.0f, 1.0f, 1e12f);
    h->rope_linear = (double)read_float(r, "rope.scale_linear", false, 1.0f, 1e-3f, 1e6f);
    h->rope_attn_factor =
        (double)read_float(r, "rope.scaling.attn_factor", false, 1.0f, 1e-3f, 1e3f);
    if (!r->status && h->n_rot % 2 != 0) {
        refuse(r, "rope.dimension_count", "odd", "an even number");
    }
    if (!r->status) {
        r->status =
            lk_gguf_str(r->gguf, key_of(r, "rope.scaling.type", full), false, &type, r->err);
    }
    float factor = read_float(r, "rope.scaling.factor", false, (float)h->rope_linear, 1e-3f, 1e6f);
    bool linear = type.len == 6 && memcmp(type.ptr, "linear", 6) == 0;
    bool longrope = type.len == 8 && memcmp(type.ptr, "longrope", 8) == 0;
    if (linear) {
        h->rope_linear = (double)factor;
    } else if (!longrope && !(type.len == 4 && memcmp(type.ptr, "none", 4) == 0)) {
        char found[64];
        snprintf(found, sizeof found, "'%.*s'", (int)(type.len < 32 ? type.len : 32), type.ptr);
        refuse(r, "rope.scaling.type", found, "none, linear or longrope");
    }
    if (!linear) {
        h->rope_linear = 1.0;
    }
    if (longrope && !lk_gguf_find_tensor(r->gguf, "rope_factors_short.weight")) {
        refuse(r, "rope.scaling.type", "'longrope' without tensor 'rope_factors_short.weight'",
               "that tensor");
    }
    if (lk_gguf_find_tensor(r->gguf, "rope_freqs.weight")) {
        h->rope_factors = "rope_freqs.weight";
    } else if (lk_gguf_find_tensor(r->gguf, "rope_factors_short.weight")) {
        /* The long factors would change every earlier position: a timeline could not grow past
         * the original context without changing. So the model runs up to that context. */
        h->rope_factors = "rope_factors_short.weight";
        h->n_ctx = (uint32_t)read_int(r, "rope.scaling.original_context_length", true,
                                      (int)h->n_ctx, 1, INT32_MAX);
    }
}

static void read_attention(struct reader *r, struct lk_hparams *h)
{
    const struct lk_arch *arch = h->arch;
    h->n_head = read_int(r, "attention.head_count", true, 1, 1, MAX_LAYERS);
    h->n_kv_head = read_int(r, "attention.head_count_kv", false, h->n_head, 1, MAX_LAYERS);
    char found[96], expected[64], full[128];
    int hd = h->n_head > 0 ? h->n_embd / h->n_head : 0;
    h->head_dim = read_int(r, "attention.key_length", false, hd, 2, LK_MAX_HEAD_DIM);
    if (!r->status && h->n_embd % h->n_head != 0 &&
        !lk_gguf_find(r->gguf, key_of(r, "attention.key_length", full))) {
        snprintf(found, sizeof found, "%d, with %d heads and no attention.key_length", h->n_embd,
                 h->n_head);
        refuse(r, "embedding_length", found, "a multiple of the heads");
    }
    int vd = read_int(r, "attention.value_length", false, h->head_dim, 2, LK_MAX_HEAD_DIM);
    if (!r->status && h->head_dim % 2 != 0) {
        snprintf(found, sizeof found, "%d", h->head_dim);
        refuse(r, "attention.key_length", found, "an even number");
    }
    if (!r->status && vd != h->head_dim) {
        snprintf(found, sizeof found, "%d", vd);
        snprintf(expected, sizeof expected, "the key length, %d", h->head_dim);
        refuse(r, "attention.value_length", found, expected);
    }
    if (!r->status && h->n_head % h->n_kv_head != 0) {
        snprintf(found, sizeof found, "%d", h->n_kv_head);
        snprintf(expected, sizeof expected, "a divisor of the %d heads", h->n_head);
        refuse(r, "attention.head_count_kv", found, expected);
    }
    h->eps = read_float(r, "attention.layer_norm_rms_epsilon", true, 1e-5f, 0x1p-60f, 1.0f);
    h->window = read_int(r, "attention.sliding_window", arch->window_required, 0, 0, INT32_MAX);
    h->window_pattern = arch->window_pattern;
    if (arch->window_pattern > 0) {
        h->window_pattern = read_int(r, "attention.sliding_window_pattern", false,
                                     arch->window_pattern, 1, MAX_LAYERS);
    }
    bool causal = true;
    if (!r->status) {
        r->status =
            lk_gguf_bool(r->gguf, key_of(r, "attention.causal", full), false, &causal, r->err);
    }
    if (!causal) {
        refuse(r, "attention.causal", "false", "true");
    }
    h->attn_softcap = (double)read_float(r, "attn_logit_softcapping", false, 0.0f, 0.0f, 1e4f);
    h->final_softcap = (double)read_float(r, "final_logit_softcapping", false, 0.0f, 0.0f, 1e4f);
}

static double square_root(double x)
{
    double y = x > 1.0 ? x : 1.0; /* Newton from above, + - * / alone */
    for (int i = 0; i < 64; i++) {
        y = 0.5 * (y + x / y);
    }
    return y;
}

lk_status lk_hparams_read(const struct lk_gguf *gguf, struct lk_hparams *h, lk_error *err)
{
    struct lk_str name;
    lk_status status = lk_gguf_str(gguf, "general.architecture", true, &name, err);
    if (status) {
        return status;
    }
    *h = (struct lk_hparams){.arch = lk_arch_find(name.ptr, name.len)};
    if (!h->arch) {
        char known[256];
        lk_arch_list(known, sizeof known);
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: architecture '%.*s' is not supported; known ones: %s",
                       lk_gguf_path(gguf), (int)(name.len < 64 ? name.len : 64), name.ptr, known);
    }
    struct reader r = {gguf, h->arch->name, LK_OK, err};
    if (read_int(&r, "expert_count", false, 0, 0, INT32_MAX) > 0) {
        refuse(&r, "expert_count", "above 0", "0: mixtures of experts are not supported");
    }
    h->n_layer = read_int(&r, "block_count", true, 1, 1, MAX_LAYERS);
    h->n_embd = read_int(&r, "embedding_length", true, 1, 1, MAX_DIM);
    h->n_ff = read_int(&r, "feed_forward_length", true, 1, 1, MAX_DIM);
    h->n_ctx = (uint32_t)read_int(&r, "context_length", true, 1, 1, INT32_MAX);
    read_attention(&r, h);
    read_rope(&r, h);
    if (r.status) {
        return r.status;
    }
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
    h->n_vocab = (int)embd->ne[1];
    const struct lk_gguf_value *tokens;
    status = lk_gguf_array(gguf, "tokenizer.ggml.tokens", false, LK_GGUF_STRING, &tokens, err);
    if (status) {
        return status;
    }
    if (tokens && tokens->count != embd->ne[1]) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: tensor 'token_embd.weight' has %d rows, expected one for each of the "
                       "%llu tokens of key 'tokenizer.ggml.tokens'",
                       lk_gguf_path(gguf), h->n_vocab, (unsigned long long)tokens->count);
    }
    /* Gemma 3 27B divides by n_embd / n_head where all others take the head dimension. */
    bool gemma_27b = h->arch->window_pattern == 6 && h->n_layer == 62;
    h->attn_scale = 1.0 / square_root(gemma_27b ? (double)h->n_embd / h->n_head : h->head_dim);
    h->embed_scale = h->arch->embed_scale ? (float)square_root(h->n_embd) : 1.0f;
    return LK_OK;
}

/* ---- weights ---- */

static lk_status find(const struct lk_gguf *gguf, const char *name, int n_dims, int64_t rows,
                      int64_t cols, const struct lk_gguf_tensor **out, lk_error *err)
{
    const struct lk_gguf_tensor *t = lk_gguf_find_tensor(gguf, name);
    if (!t) {
        return lk_fail(err, LK_E_FORMAT, "%s: tensor '%s' is missing, expected [%lld, %lld]",
                       lk_gguf_path(gguf), name, (long long)cols, (long long)rows);
    }
    bool fits = t->ne[0] == (uint64_t)cols && t->ne[1] == (uint64_t)rows && t->ne[2] == 1 &&
                t->ne[3] == 1 && t->n_dims <= n_dims;
    if (!fits) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: tensor '%s' is [%llu, %llu, %llu, %llu], expected [%lld, %lld]",
                       lk_gguf_path(gguf), name, (unsigned long long)t->ne[0],
                       (unsigned long long)t->ne[1], (unsigned long long)t->ne[2],
                       (unsigned long long)t->ne[3], (long long)cols, (long long)rows);
    }
    if (!lk_type_info(t->type)) {
        const char *type = lk_type_name(t->type);
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: tensor '%s' has type %s (%u), which is not "
                       "supported",
                       lk_gguf_path(gguf), name, type ? type : "unknown", t->type);
    }
    if ((uintptr_t)t->data % sizeof(float) != 0) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: tensor '%s' starts at byte %llu, expected a "
                       "multiple of 4",
                       lk_gguf_path(gguf), name, (unsigned long long)t->file_offset);
    }
    *out = t;
    return LK_OK;
}

lk_status lk_bind_matrix(const struct lk_gguf *gguf, const char *name, int64_t all, int64_t first,
                         int64_t rows, int64_t cols, struct lk_weight *out, lk_error *err)
{
    const struct lk_gguf_tensor *t = NULL;
    lk_status status = find(gguf, name, 2, all, cols, &t, err);
    if (status) {
        return status;
    }
    size_t row_bytes = lk_type_row_bytes((enum lk_type)t->type, (size_t)cols);
    *out = (struct lk_weight){.type = (enum lk_type)t->type,
                              .rows = rows,
                              .cols = cols,
                              .data = t->data + (size_t)first * row_bytes,
                              .n_bytes = (size_t)rows * row_bytes,
                              .mapped = true};
    if (rows == all) {
        snprintf(out->name, sizeof out->name, "%s", name);
    } else {
        snprintf(out->name, sizeof out->name, "%.60s[%lld:%lld]", name, (long long)first,
                 (long long)(first + rows));
    }
    return LK_OK;
}

lk_status lk_bind_vector(const struct lk_gguf *gguf, const char *name, int64_t n,
                         struct lk_weight *out, lk_error *err)
{
    const struct lk_gguf_tensor *t = NULL;
    lk_status status = find(gguf, name, 1, 1, n, &t, err);
    if (status) {
        return status;
    }
    if (t->type != LK_TYPE_F32) {
        return lk_fail(err, LK_E_UNSUPPORTED, "%s: tensor '%s' has type %s, expected F32",
                       lk_gguf_path(gguf), name, lk_type_name(t->type));
    }
    *out = (struct lk_weight){.type = LK_TYPE_F32,
                              .rows = 1,
                              .cols = n,
                              .data = t->data,
                              .n_bytes = (size_t)n * sizeof(float),
                              .mapped = true};
    snprintf(out->name, sizeof out->name, "%s", name);
    return LK_OK;
}
