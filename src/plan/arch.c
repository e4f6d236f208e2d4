/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch: the table; see arch.h.
 */
#include "plan/arch.h"

#include <stdio.h>
#include <string.h>

static const struct lk_arch TABLE[] = {
    {.name = "llama", .rope_interleaved = true, .act = LK_ACT_SILU},
    {.name = "qwen2", .qkv_bias = true, .rope_base_required = true, .act = LK_ACT_SILU},
    {.name = "qwen3", .qk_norm = true, .rope_base_required = true, .act = LK_ACT_SILU},
    {.name = "gemma3",
     .qk_norm = true,
     .post_norms = true,
     .embed_scale = true,
     .window_required = true,
     .window_pattern = 6,
     .rope_base_required = true,
     .local_rope_base = 10000.0,
     .act = LK_ACT_GELU},
    {.name = "smollm3", .rope_interleaved = true, .no_rope_step = 4, .act = LK_ACT_SILU},
    {.name = "mistral3", .rope_interleaved = true, .temperature = true, .act = LK_ACT_SILU},
    {.name = "phi3", .fused_qkv = true, .fused_gate_up = true, .act = LK_ACT_SILU},
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
