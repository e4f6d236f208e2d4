/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_keys: see arch_keys.h.
 */
#include "plan/arch_keys.h"

#include <stdio.h>
#include <string.h>

/* Keys that nobody reads: what they may say. Those with `any` describe what the file says elsewhere
 * too, or belong to a feature that another key switches on; the others must have their idle value,
 * with which they change nothing (0 too, where files write it for "none"). A name that ends in a
 * dot stands for all keys below it. Without an architecture they are everybody's. */
static const struct idle {
    const char *arch, *key;
    bool any;
    double value;
} IDLE[] = {
    {NULL, "vocab_size", true, 0},
    {NULL, "tensor_data_layout", true, 0},
    {NULL, "attention.layer_norm_epsilon", true, 0}, /* of the other kind of norm */
    {NULL, "rope.scaling.original_context_length", true, 0},
    {NULL, "rope.scaling.orig_ctx_len", true, 0},
    {NULL, "rope.scaling.finetuned", true, 0},
    {NULL, "rope.scaling.yarn_ext_factor", true, 0}, /* of rope.scaling.type yarn, likewise */
    {NULL, "rope.scaling.yarn_attn_factor", true, 0},
    {NULL, "rope.scaling.yarn_beta_fast", true, 0},
    {NULL, "rope.scaling.yarn_beta_slow", true, 0},
    {NULL, "rope.scaling.yarn_log_multiplier", true, 0},
    {NULL, "pooling_type", true, 0}, /* of embeddings; text is generated as without it */
    {NULL, "logit_scale", false, 1},
    {NULL, "residual_scale", false, 1},
    {NULL, "embedding_scale", false, 1},
    {NULL, "use_parallel_residual", false, 0},
    {NULL, "attention.clamp_kqv", false, 0},
    {NULL, "attention.max_alibi_bias", false, 0},
    {NULL, "attention.shared_kv_layers", false, 0},
    {NULL, "attention.temperature_scale", false, 0},
    {NULL, "embedding_length_per_layer_input", false, 0},
    {"qwen3vl", "n_deepstack_layers", true, 0}, /* of images */
    {"qwen3vlmoe", "n_deepstack_layers", true, 0},
    {"gemma3", "vision.", true, 0}, /* of the tensors of another part, which are refused */
    {"gemma3", "mm.", true, 0},
    {"gemma3", "mm_tokens_per_image", true, 0},
};

static bool is_key(const struct idle *idle, const struct lk_arch *arch, struct lk_str key)
{
    size_t n = strlen(idle->key);
    bool folder = idle->key[n - 1] == '.';
    return (!idle->arch || strcmp(idle->arch, arch->name) == 0) &&
           (folder ? key.len > n : key.len == n) && memcmp(key.ptr, idle->key, n) == 0;
}

/* Element i of a number, a bool or an array of them. */
static double number_of(const struct lk_gguf_value *v, uint64_t i)
{
    bool real = v->elem == LK_GGUF_F32 || v->elem == LK_GGUF_F64;
    return real ? lk_gguf_array_f64(v, i) : (double)lk_gguf_array_int(v, i);
}

/* Whether every element has the value, or is 0. *found: the first that is neither. */
static bool says(const struct lk_gguf_value *v, double value, double *found)
{
    for (uint64_t i = 0; i < v->count; i++) {
        *found = number_of(v, i);
        if (*found != value && *found != 0.0) {
            return false;
        }
    }
    return true;
}

static lk_status refuse(const struct lk_gguf *gguf, const struct lk_arch *arch,
                        const struct lk_gguf_value *v, const char *what, lk_error *err)
{
    char key[128];
    lk_show(key, sizeof key, v->key.ptr, v->key.len);
    return lk_fail(err, LK_E_UNSUPPORTED, "%s: key '%s' %s in architecture '%s'",
                   lk_gguf_path(gguf), key, what, arch->name);
}

static lk_status check_unread(const struct lk_gguf *gguf, const struct lk_arch *arch,
                              const struct lk_gguf_value *v, lk_error *err)
{
    size_t prefix = strlen(arch->name) + 1;
    struct lk_str key = {v->key.ptr + prefix, v->key.len - prefix};
    for (size_t i = 0; i < LK_COUNT(IDLE); i++) {
        char what[96];
        double found = 0.0;
        if (!is_key(&IDLE[i], arch, key)) {
            continue;
        }
        if (IDLE[i].any) {
            return LK_OK;
        }
        if (v->elem == LK_GGUF_STRING || v->elem == LK_GGUF_ARRAY) {
            snprintf(what, sizeof what, "is %s, expected a number", lk_gguf_value_type_name(v));
            return refuse(gguf, arch, v, what, err);
        }
        if (says(v, IDLE[i].value, &found)) {
            return LK_OK;
        }
        snprintf(what, sizeof what, "is %g, expected %g: it is not supported", found,
                 IDLE[i].value);
        return refuse(gguf, arch, v, what, err);
    }
    return refuse(gguf, arch, v, "has no meaning", err);
}

lk_status lk_arch_check_keys(const struct lk_gguf *gguf, const struct lk_arch *arch,
                             const uint8_t *read, lk_error *err)
{
    size_t n = strlen(arch->name);
    lk_status status = LK_OK;
    for (size_t i = 0; i < lk_gguf_n_values(gguf) && !status; i++) {
        const struct lk_gguf_value *v = lk_gguf_value_at(gguf, i);
        if (!read[i] && v->key.len > n + 1 && memcmp(v->key.ptr, arch->name, n) == 0 &&
            v->key.ptr[n] == '.') {
            status = check_unread(gguf, arch, v, err);
        }
    }
    return status;
}
