/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch: the table; see arch.h.
 */
#include "plan/arch.h"

#include <stdio.h>
#include <string.h>

static const struct lk_arch TABLE[] = {
    {.name = "llama",
     .rope_interleaved = true,
     .act = LK_ACT_SILU,
     .experts = true,
     .normalize = true},
    {.name = "qwen2", .qkv_bias = true, .rope_base_required = true, .act = LK_ACT_SILU},
    {.name = "qwen3", .qk_norm = LK_QK_HEAD, .rope_base_required = true, .act = LK_ACT_SILU},
    {.name = "qwen3moe",
     .qk_norm = LK_QK_HEAD,
     .rope_base_required = true,
     .act = LK_ACT_SILU,
     .experts = true,
     .normalize = true},
    {.name = "gpt-oss",
     .qkv_bias = true,
     .window_required = true,
     .window_pattern = 2,
     .rope_base_required = true,
     .yarn_fractional = true,
     .act = LK_ACT_CLAMPED,
     .sinks = true,
     .ffn_norm_post = true,
     .experts = true},
    {.name = "gemma3",
     .qk_norm = LK_QK_HEAD,
     .post_norms = true,
     .embed_scale = true,
     .window_required = true,
     .window_pattern = 6,
     .rope_base_required = true,
     .local_rope_base = 10000.0,
     .wide_embd = 5376, /* 27B */
     .act = LK_ACT_GELU},
    {.name = "gemma4",
     .qk_norm = LK_QK_HEAD,
     .post_norms = true,
     .embed_scale = true,
     .window_required = true,
     .window_array = true,
     .local_heads = true,
     .rope_base_required = true,
     .local_rope_base = 10000.0,
     .factors_required = true,
     .attn_scale = 1.0,
     .value_norm = true,
     .experts = true,
     .normalize = true,
     .dense_beside = true,
     .layer_scale = true,
     .act = LK_ACT_GELU},
    {.name = "phi3", .fused_qkv = true, .fused_gate_up = true, .act = LK_ACT_SILU},
    {.name = "smollm3", .rope_interleaved = true, .no_rope_step = 4, .act = LK_ACT_SILU},
    {.name = "mistral3", .rope_interleaved = true, .temperature = true, .act = LK_ACT_SILU},
    {.name = "granite",
     .rope_interleaved = true,
     .scales = true,
     .logits = LK_LOGITS_DIVIDED,
     .rope_switch = true,
     .act = LK_ACT_SILU},
    {.name = "qwen3vl",
     .qk_norm = LK_QK_HEAD,
     .rope_base_required = true,
     .sections = true,
     .act = LK_ACT_SILU},
    {.name = "olmo2", /* OLMo 3 too: it has windows */
     .qk_norm = LK_QK_ROW,
     .no_pre_norms = true,
     .post_norms = true,
     .window_pattern = 4,
     .plain_local_rope = true,
     .act = LK_ACT_SILU},
    {.name = "seed_oss", .ffn_norm_post = true, .act = LK_ACT_SILU},
    {.name = "gemma2",
     .post_norms = true,
     .embed_scale = true,
     .window_preset = 4096,
     .window_pattern = 2,
     .wide_embd = 4608, /* 27B */
     .attn_cap = 50.0,
     .final_cap = 30.0,
     .act = LK_ACT_GELU},
    {.name = "glm4",
     .rope_interleaved = true,
     .post_norms = true,
     .fused_gate_up = true,
     .act = LK_ACT_SILU},
    {.name = "exaone4",
     .qk_norm = LK_QK_HEAD,
     .no_pre_norms = true,
     .post_norms = true,
     .window_pattern = 4,
     .turns_windowed = true,
     .act = LK_ACT_SILU},
    {.name = "cohere2",
     .rope_interleaved = true,
     .parallel = true,
     .layer_norm = true,
     .logits = LK_LOGITS_TIMES,
     .window_required = true,
     .window_pattern = 4,
     .turns_windowed = true,
     .act = LK_ACT_SILU},
    {.name = "hunyuan-dense", .qk_norm = LK_QK_TURNED, .act = LK_ACT_SILU},
    {.name = "ernie4_5", .rope_interleaved = true, .act = LK_ACT_SILU},
};

const struct lk_arch *lk_arch_find(const char *name, size_t len)
{
    for (size_t i = 0; i < LK_COUNT(TABLE); i++) {
        if (strlen(TABLE[i].name) == len && memcmp(TABLE[i].name, name, len) == 0) {
            return &TABLE[i];
        }
    }
    return NULL;
}

void lk_arch_list(char *buf, size_t n_bytes)
{
    size_t at = 0;
    buf[0] = 0;
    for (size_t i = 0; i < LK_COUNT(TABLE) && at < n_bytes; i++) {
        at += (size_t)snprintf(buf + at, n_bytes - at, "%s%s", i ? ", " : "", TABLE[i].name);
    }
}
