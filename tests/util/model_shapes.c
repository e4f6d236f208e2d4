/* SPDX-License-Identifier: Apache-2.0
 *
 * Model shapes: what the files of each architecture look like, and the usual parameters of its
 * models; see model_build.h.
 */
#include <string.h>

#include "tests/util/model_build.h"

static const struct arch_shape SHAPES[] = {
    {.name = "llama", .interleaved = true},
    {.name = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .qk_norm = 1},
    {.name = "gemma3",
     .n_layer = 7,
     .window = 24,
     .window_step = 6,
     .qk_norm = 1,
     .post_norms = true,
     .tied = true,
     .gelu = true,
     .wide = true},
    {.name = "gemma-embedding",
     .n_layer = 7,
     .window = 24,
     .window_step = 6,
     .qk_norm = 1,
     .post_norms = true,
     .tied = true,
     .gelu = true,
     .wide = true,
     .both_ways = true},
    {.name = "bert",
     .qkv_bias = true,
     .no_pre_norms = true,
     .layer_norm = true,
     .tied = true,
     .both_ways = true,
     .encoder = true,
     .positions = true,
     .ungated = true},
    {.name = "nomic-bert",
     .no_pre_norms = true,
     .layer_norm = true,
     .fused = true,
     .tied = true,
     .both_ways = true,
     .encoder = true},
    {.name = "phi3", .n_rot = 48, .fused = true, .fused_gate_up = true},
    {.name = "smollm3", .n_layer = 5, .interleaved = true, .no_rope_step = 4},
    {.name = "mistral3", .interleaved = true, .yarn = true},
    {.name = "granite", .interleaved = true, .scales = true, .tied = true},
    {.name = "qwen3vl", .qk_norm = 1},
    {.name = "olmo2",
     .n_layer = 5,
     .window = 24,
     .window_step = 4,
     .qk_norm = 2,
     .no_pre_norms = true,
     .post_norms = true},
    {.name = "seed_oss", .ffn_norm_post = true},
    {.name = "qwen2moe", .qkv_bias = true, .experts = true, .shared = true, .shared_gate = true},
    {.name = "qwen3moe", .qk_norm = 1, .experts = true},
    {.name = "gpt-oss",
     .window = 24,
     .window_step = 2,
     .qkv_bias = true,
     .ffn_norm_post = true,
     .experts = true},
    {.name = "gemma2",
     .n_layer = 3,
     .window = 24,
     .window_step = 2,
     .post_norms = true,
     .tied = true,
     .gelu = true,
     .wide = true},
    {.name = "glm4", .n_rot = 32, .interleaved = true, .post_norms = true, .fused_gate_up = true},
    {.name = "exaone4",
     .n_layer = 5,
     .window = 24,
     .window_step = 4,
     .full_still = true,
     .qk_norm = 1,
     .no_pre_norms = true,
     .post_norms = true},
    {.name = "cohere2",
     .n_layer = 5,
     .window = 24,
     .window_step = 4,
     .full_still = true,
     .interleaved = true,
     .parallel = true,
     .layer_norm = true,
     .logit_scale = true,
     .tied = true},
    {.name = "hunyuan-dense", .qk_norm = 1, .norms_turned = true},
    {.name = "ernie4_5", .interleaved = true, .tied = true},
    {.name = "gemma4",
     .n_layer = 4,
     .window = 24,
     .window_step = 2,
     .window_array = true,
     .two_heads = true,
     .qk_norm = 1,
     .post_norms = true,
     .tied = true,
     .gelu = true,
     .wide = true,
     .layer_scale = true,
     .side_rows = true,
     .unscaled = true},
    {.name = "granitemoe",
     .interleaved = true,
     .scales = true,
     .tied = true,
     .experts = true,
     .shared = true},
    {.name = "glm4moe",
     .n_rot = 32,
     .qk_norm = 1,
     .ffn_norm_post = true,
     .experts = true,
     .first_moe = 1,
     .groups = 3,
     .shared = true,
     .choice_bias = true},
    {.name = "hunyuan-moe", .qk_norm = 1, .norms_turned = true, .experts = true, .shared = true},
    {.name = "ernie4_5-moe",
     .n_layer = 3,
     .interleaved = true,
     .tied = true,
     .experts = true,
     .first_moe = 1,
     .moe_step = 2,
     .shared = true,
     .choice_bias = true},
    {.name = "minimax-m2", .n_rot = 32, .qk_norm = 2, .experts = true, .choice_bias = true},
    {.name = "bailingmoe", .interleaved = true, .experts = true, .shared = true},
    {.name = "bailingmoe2",
     .n_rot = 32,
     .qk_norm = 1,
     .fused = true,
     .experts = true,
     .first_moe = 1,
     .groups = 2,
     .shared = true,
     .choice_bias = true},
    {.name = "qwen3vlmoe", .qk_norm = 1, .experts = true},
    {.name = "dots1",
     .qk_norm = 1,
     .experts = true,
     .first_moe = 1,
     .shared = true,
     .choice_bias = true},
    {.name = "olmoe", .qk_norm = 2, .experts = true},
    {.name = "deepseek2",
     .n_rot = 32,
     .interleaved = true,
     .latent = true,
     .experts = true,
     .first_moe = 1,
     .groups = 3,
     .shared = true,
     .choice_bias = true},
    {.name = "lfm2", .n_layer = 4, .qk_norm = 1, .short_conv = true, .tied = true},
    {.name = "lfm2moe",
     .qk_norm = 1,
     .short_conv = true,
     .experts = true,
     .first_moe = 1,
     .choice_bias = true},
    {.name = "granitehybrid",
     .interleaved = true,
     .scales = true,
     .tied = true,
     .experts = true,
     .shared = true,
     .ssm = true},
    {.name = "nemotron_h", .n_layer = 4, .ssm = true, .one_mixer = true, .squared = true},
    {.name = "nemotron_h_moe",
     .n_layer = 3,
     .ssm = true,
     .one_mixer = true,
     .squared = true,
     .experts = true,
     .shared = true,
     .choice_bias = true},
    {.name = "qwen35",
     .n_layer = 4,
     .n_rot = 32,
     .qk_norm = 1,
     .ffn_norm_post = true,
     .delta = true},
    {.name = "qwen35moe",
     .n_rot = 32,
     .qk_norm = 1,
     .ffn_norm_post = true,
     .experts = true,
     .shared = true,
     .shared_gate = true,
     .delta = true},
    {.name = "qwen3next",
     .n_rot = 32,
     .qk_norm = 1,
     .ffn_norm_post = true,
     .experts = true,
     .shared = true,
     .shared_gate = true,
     .delta_groups = true,
     .delta = true},
};

const struct arch_shape *arch_shape_of(const char *arch)
{
    static const struct arch_shape other = {.name = "another"};
    for (size_t i = 0; i < LK_COUNT(SHAPES); i++) {
        if (strcmp(SHAPES[i].name, arch) == 0) {
            return &SHAPES[i];
        }
    }
    return &other; /* of files that are refused */
}

bool arch_has_states(const struct arch_shape *shape)
{
    return shape->delta || shape->short_conv || shape->ssm;
}

bool model_attends(const struct model_params *p, int layer)
{
    const struct arch_shape *shape = arch_shape_of(p->arch);
    return shape->one_mixer ? layer % 3 == 1 : !arch_has_states(shape) || layer % 2 == 1;
}

bool model_feeds_forward(const struct model_params *p, int layer)
{
    return !arch_shape_of(p->arch)->one_mixer || layer % 3 == 2;
}

struct model_params model_params_default(const char *arch, enum lk_type type, unsigned seed)
{
    const struct arch_shape *shape = arch_shape_of(arch);
    bool oss = strcmp(arch, "gpt-oss") == 0, moe = shape->experts;
    return (struct model_params){.arch = arch,
                                 .type = type,
                                 .embed_type = type,
                                 .seed = seed,
                                 .n_layer = shape->n_layer ? shape->n_layer : 2,
                                 .n_embd = 256,
                                 .n_ff = 512,
                                 .n_head = 4,
                                 .n_kv_head = shape->latent ? 1 : 2,
                                 .head_dim = 64,
                                 .n_rot = shape->n_rot ? shape->n_rot : 64,
                                 .n_vocab = 320,
                                 .n_ctx = 512,
                                 .n_expert = moe ? shape->groups > 0 ? 6 : 5 : 0,
                                 .n_used = moe ? 2 : 0,
                                 .n_ff_exp = moe ? 256 : 0,
                                 .n_side = shape->side_rows ? 256 : 0,
                                 .window = shape->window,
                                 .tied = shape->tied,
                                 .biases = shape->qkv_bias,
                                 .ffn_biases = oss || shape->ungated};
}

bool model_is_full(const struct model_params *p, int layer)
{
    int step = arch_shape_of(p->arch)->window_step;
    return p->window == 0 || (step > 0 && (layer + 1) % step == 0);
}

static bool has_other_heads(const struct model_params *p, int layer)
{
    return arch_shape_of(p->arch)->two_heads && model_is_full(p, layer);
}

int model_head_dim(const struct model_params *p, int layer)
{
    return has_other_heads(p, layer) ? 2 * p->head_dim : p->head_dim;
}

int model_kv_heads(const struct model_params *p, int layer)
{
    return has_other_heads(p, layer) ? (p->n_kv_head + 1) / 2 : p->n_kv_head;
}

bool model_has_v(const struct model_params *p, int layer)
{
    return !has_other_heads(p, layer);
}

bool model_has_experts(const struct model_params *p, int layer)
{
    const struct arch_shape *shape = arch_shape_of(p->arch);
    int step = shape->moe_step ? shape->moe_step : 1;
    return p->n_expert > 0 && layer >= shape->first_moe && (layer + 1) % step == 0 &&
           model_feeds_forward(p, layer);
}
