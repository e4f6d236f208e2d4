#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write tiny random models of each architecture and what `transformers` says of them.

    make.py [OUT_DIR [NAME...]]     needs torch, transformers, gguf, numpy

For each case: tiny-NAME.gguf (hidden 64, small vocabulary, weights as below) and tiny-NAME.bin, the
logits of a fixed token sequence computed in float64: u32 n_tokens, u32 n_vocab, i32 tokens,
f32 logits [n_tokens][n_vocab]. Weights are drawn in float32, stored as F32 or rounded to F16 or
quantized by the gguf package, and the transformers model runs on the stored (dequantized) values,
so the comparison has no quantization in it, but for the activations.
"""
import os
import struct
import sys

import gguf
import numpy as np
import torch
import transformers as tf
from gguf import GGMLQuantizationType as T

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
# Routers ask for the softmax of f32; here everything is in double.
softmax, softmax_of = torch.nn.functional.softmax, torch.Tensor.softmax
torch.nn.functional.softmax = lambda x, dim=-1, **_: softmax(x, dim=dim)
torch.Tensor.float = torch.Tensor.double
narrow, kind_of, wide = torch.Tensor.to, torch.Tensor.type, lambda x: torch.float64 if x is torch.float32 else x
widened = lambda x, *a, **k: narrow(x, *map(wide, a), **{key: wide(v) for key, v in k.items()})

HIDDEN, FF, VOCAB, LAYERS, N_TOKENS = 64, 96, 256, 2, 40
COMMON = dict(hidden_size=HIDDEN, intermediate_size=FF, vocab_size=VOCAB, num_hidden_layers=LAYERS,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
              rms_norm_eps=1e-5, attn_implementation="eager", bos_token_id=1, eos_token_id=2,
              pad_token_id=0)


def cases():
    llama = lambda **k: tf.LlamaConfig(**{**COMMON, "rope_theta": 10000.0, "tie_word_embeddings": False, **k})
    yield "llama", "llama", llama(), T.F16
    yield "llama-linear", "llama", llama(rope_scaling={"rope_type": "linear", "factor": 4.0},
                                         num_key_value_heads=4), T.F16
    yield "llama-bias", "llama", llama(attention_bias=True, mlp_bias=True), T.F16
    yield "llama3", "llama", llama(tie_word_embeddings=True, intermediate_size=64, rope_theta=500000.0, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}), T.F32
    yield "qwen2", "qwen2", tf.Qwen2Config(**{**COMMON, "rope_theta": 1e6, "tie_word_embeddings": True}), T.F16
    yield "qwen3", "qwen3", tf.Qwen3Config(**{**COMMON, "rope_theta": 1e6, "head_dim": 24,
                                              "tie_word_embeddings": False}), T.F16
    moe = {**COMMON, "rope_theta": 1e6, "head_dim": 24, "tie_word_embeddings": False,
           "moe_intermediate_size": 32, "num_experts": 6, "num_experts_per_tok": 3,
           "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
           "experts_implementation": "eager"}
    yield "qwen2moe", "qwen2moe", tf.Qwen2MoeConfig(
        **{**COMMON, "rope_theta": 1e6, "tie_word_embeddings": False, "moe_intermediate_size": 32, "num_experts": 5,
           "num_experts_per_tok": 3, "shared_expert_intermediate_size": 48, "norm_topk_prob": False,
           "decoder_sparse_step": 1, "mlp_only_layers": [], "experts_implementation": "eager"}), T.F16
    yield "qwen3moe", "qwen3moe", tf.Qwen3MoeConfig(**moe), T.F16
    few = {**COMMON, "intermediate_size": 32, "experts_implementation": "eager",
           "tie_word_embeddings": False, "num_local_experts": 6}
    yield "mixtral", "llama", tf.MixtralConfig(
        **{**few, "rope_theta": 1e6, "num_experts_per_tok": 2, "sliding_window": None}), T.F16
    yield "gpt-oss", "gpt-oss", tf.GptOssConfig(
        **{**few, "num_local_experts": 5, "head_dim": 24, "num_experts_per_tok": 4, "sliding_window": 9,
           "rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}}), T.F16
    yield "gpt-oss-yarn", "gpt-oss", tf.GptOssConfig( # the ramp of 24 wide heads is from pair 0.5 to 4.0
        **{**few, "num_local_experts": 3, "head_dim": 24, "num_experts_per_tok": 2, "sliding_window": 9,
           "tie_word_embeddings": True, "rope_parameters": {
               "rope_type": "yarn", "rope_theta": 150000.0, "factor": 8.0, "beta_fast": 3.0, "beta_slow": 0.1,
               "truncate": False, "original_max_position_embeddings": 32}}), T.F16
    g = {**COMMON, "num_hidden_layers": 7, "intermediate_size": 16, "num_attention_heads": 2,
         "num_key_value_heads": 1}
    yield "gemma3", "gemma3", tf.Gemma3TextConfig(
        **{**g, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 9,
           "rope_theta": 1e6, "rope_local_base_freq": 10000.0, "tie_word_embeddings": True,
           "layer_types": ["full_attention" if i % 6 == 5 else "sliding_attention"
                           for i in range(7)]}), T.F16
    kinds = lambda n, period: ["full_attention" if i % period == period - 1 else "sliding_attention" for i in range(n)]
    g4 = {**COMMON, "intermediate_size": 48, "head_dim": 16, "global_head_dim": 32, "sliding_window": 9,
          "hidden_size_per_layer_input": 0, "tie_word_embeddings": True, "experts_implementation": "eager",
          "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}}}
    yield "gemma4", "gemma4", tf.Gemma4TextConfig(
        **{**g4, "num_hidden_layers": 5, "layer_types": [*kinds(3, 3), *kinds(2, 2)], "attention_k_eq_v": True,
           "num_global_key_value_heads": 1, "final_logit_softcapping": 5.0}), T.F16
    yield "gemma4-shared", "gemma4", tf.Gemma4TextConfig(
        **{**g4, "num_hidden_layers": 6, "layer_types": [*kinds(3, 3), *kinds(3, 3)], "intermediate_size": 16,
           "num_kv_shared_layers": 3, "use_double_wide_mlp": True}), T.F16
    yield "gemma4-e", "gemma4", tf.Gemma4TextConfig(
        **{**g4, "num_hidden_layers": 5, "layer_types": [*kinds(4, 2), "sliding_attention"], "intermediate_size": 16,
           "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size_per_layer_input": 24,
           "vocab_size_per_layer_input": VOCAB, "num_kv_shared_layers": 2,
           "use_double_wide_mlp": True}), T.F16
    yield "gemma4-moe", "gemma4", tf.Gemma4TextConfig(
        **{**g4, "num_hidden_layers": 2, "layer_types": kinds(2, 2), "enable_moe_block": True,
           "num_experts": 5, "top_k_experts": 3, "moe_intermediate_size": 32}), T.F16
    yield "gemma-embedding", "gemma-embedding", tf.Gemma3TextConfig(
        **{**g, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 10, "use_bidirectional_attention": True,
           "rope_theta": 1e6, "rope_local_base_freq": 10000.0, "tie_word_embeddings": True,
           "layer_types": ["full_attention" if i % 6 == 5 else "sliding_attention"
                           for i in range(7)]}), T.F16
    encoder = dict(hidden_size=HIDDEN, intermediate_size=FF, vocab_size=VOCAB, num_hidden_layers=3, num_attention_heads=4,
                   max_position_embeddings=72, type_vocab_size=2, layer_norm_eps=1e-12, attn_implementation="eager",
                   pad_token_id=0)
    yield "bert", "bert", tf.BertConfig(**encoder, hidden_act="gelu"), T.F16
    yield "nomic-bert", "nomic-bert", tf.NomicBertConfig(**encoder, head_dim=16, hidden_act="silu", rope_parameters={
        "rope_type": "default", "rope_theta": 1000.0}), T.F16
    yield "phi3", "phi3", tf.Phi3Config(**{**COMMON, "rope_theta": 10000.0, "sliding_window": 17,
                                           "partial_rotary_factor": 0.75, "tie_word_embeddings": False}), T.F16
    small = {**COMMON, "intermediate_size": 32, "tie_word_embeddings": True}
    yield "phi3-long", "phi3", tf.Phi3Config(**{**small, "sliding_window": 300, "original_max_position_embeddings": 16,
                                                "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 16,
        "partial_rotary_factor": 0.75, "short_factor": [1.0 + 0.1 * i for i in range(6)],
        "long_factor": [1.5 + 2.0 * i for i in range(6)]}}), T.F16
    yield "qwen2-yarn", "qwen2", tf.Qwen2Config(**{**small, "max_position_embeddings": 256, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
        "original_max_position_embeddings": 64}}), T.F16
    yield "smollm3", "smollm3", tf.SmolLM3Config(**{**small, "num_hidden_layers": 5, "rope_parameters": {
        "rope_type": "default", "rope_theta": 5e6}}), T.F16
    yield "mistral3", "mistral3", tf.Ministral3Config(**{**small, "head_dim": 24, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 12,
        "max_position_embeddings": 256, "beta_fast": 1.0, "beta_slow": 0.1, "mscale_all_dim": 0.5, "mscale": 1.0,
        "llama_4_scaling_beta": 0.1}}), T.F16
    default = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    small = {**small, **default}
    yield "granite", "granite", tf.GraniteConfig(**{**small, "embedding_multiplier": 6.0, "residual_multiplier": 0.22,
                                                    "attention_multiplier": 0.2, "logits_scaling": 8.0}), T.F16
    yield "qwen3vl", "qwen3vl", tf.Qwen3VLTextConfig(**{**small, "head_dim": 24, "rope_parameters": {
        "rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 4, 4]}}), T.F16
    yield "olmo2", "olmo2", tf.Olmo2Config(**{**small, "tie_word_embeddings": False}), T.F16
    types = lambda n, period: ["full_attention" if i % period == period - 1 else "sliding_attention" for i in range(n)]
    windows = lambda n, period: {"num_hidden_layers": n, "sliding_window": 9, "layer_types": types(n, period)}
    yield "olmo3", "olmo2", tf.Olmo3Config(**{**small, **windows(5, 4), "tie_word_embeddings": False,
                                              "rope_parameters": {
        "full_attention": {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 8.0,
                           "original_max_position_embeddings": 32, "attention_factor": 1.25,
                           "beta_fast": 32.0, "beta_slow": 0.05},
        "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0}}}), T.F16
    yield "seed_oss", "seed_oss", tf.SeedOssConfig(**{**small, "head_dim": 24, "attention_bias": True,
                                                      "attention_out_bias": False}), T.F16
    yield "gemma2", "gemma2", tf.Gemma2Config(**{**small, **windows(3, 2), "head_dim": 24, "query_pre_attn_scalar": 24,
                                                 "attn_logit_softcapping": 20.0, "final_logit_softcapping": 5.0,
                                                 }), T.F16
    yield "glm4", "glm4", tf.Glm4Config(**{**small, "head_dim": 24, "attention_bias": True, "rope_parameters": {
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}), T.F16
    yield "exaone4", "exaone4", tf.Exaone4Config(**{**small, **windows(5, 4)}), T.F16
    yield "cohere2", "cohere2", tf.Cohere2Config(**{**small, **windows(5, 4), "layer_norm_eps": 1e-5,
                                                    "logit_scale": 0.25}), T.F16
    yield "hunyuan", "hunyuan-dense", tf.HunYuanDenseV1Config(**{**small, "head_dim": 24}), T.F16
    mixers = {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3, "conv_L_cache": 3,
              "norm_eps": 1e-5, "conv_bias": False}
    yield "lfm2", "lfm2", tf.Lfm2Config(**{**small, **mixers, "block_auto_adjust_ff_dim": False}), T.F16
    yield "lfm2moe", "lfm2moe", tf.Lfm2MoeConfig(
        **{**small, **mixers, "moe_intermediate_size": 32, "num_dense_layers": 1, "num_experts": 4,
           "num_experts_per_tok": 2, "norm_topk_prob": True, "use_expert_bias": True, "routed_scaling_factor": 1.0,
           "experts_implementation": "eager"}), T.F16
    mamba = {"layer_types": ["mamba", "attention"], "num_hidden_layers": 2, "rms_norm_eps": 1e-5,
             "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_expand": 2, "mamba_d_state": 16,
             "mamba_chunk_size": 16, "embedding_multiplier": 6.0, "residual_multiplier": 0.5,
             "attention_multiplier": 0.2, "logits_scaling": 2.0, "shared_intermediate_size": 48}
    yield "granitehybrid", "granitehybrid", tf.GraniteMoeHybridConfig(
        **{**small, **mamba, "num_local_experts": 4, "num_experts_per_tok": 2, "experts_implementation": "eager"}), T.F16
    yield "granitehybrid-dense", "granitehybrid", tf.GraniteMoeHybridConfig(
        **{**small, **mamba, "intermediate_size": 48, "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"],
           "num_local_experts": 0, "num_experts_per_tok": 0}), T.F16
    kinds = {"mamba_num_heads": 4, "mamba_head_dim": 24, "ssm_state_size": 16, "n_groups": 2, "chunk_size": 16,
             "head_dim": 24, "intermediate_size": 48, "tie_word_embeddings": False}
    yield "nemotron_h", "nemotron_h", tf.NemotronHConfig(
        **{**small, **kinds, "layers_block_type": ["mamba", "mlp", "attention", "mamba"], "num_hidden_layers": 4}), T.F16
    yield "nemotron_h_moe", "nemotron_h_moe", tf.NemotronHConfig(
        **{**small, **kinds, "layers_block_type": ["mamba", "moe", "attention", "moe"], "num_hidden_layers": 4,
           "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
           "moe_shared_expert_intermediate_size": 48, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
           "experts_implementation": "eager"}), T.F16
    yield "qwen35", "qwen35", tf.Qwen3_5TextConfig(**{
        **small, "num_hidden_layers": 3, "head_dim": 32, "vocab_size": VOCAB, "linear_conv_kernel_dim": 4,
        "rms_norm_eps": 1e-6, "linear_key_head_dim": 16, "linear_value_head_dim": 24, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.5,
                            "mrope_section": [3, 3, 2], "mrope_interleaved": True}}), T.F16
    linear = {"linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 16,
              "linear_num_key_heads": 2, "linear_num_value_heads": 4, "vocab_size": VOCAB, "head_dim": 24,
              "num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"],
              "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
              "shared_expert_intermediate_size": 32, "experts_implementation": "eager", "norm_topk_prob": True,
              "decoder_sparse_step": 1, "mlp_only_layers": [], "rms_norm_eps": 1e-6}
    part = {"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.5}
    yield "qwen35moe", "qwen35moe", tf.Qwen3_5MoeTextConfig(**{**small, **linear, "rope_parameters": {
        **part, "mrope_section": [2, 2, 2], "mrope_interleaved": True}}), T.F16
    yield "qwen3next", "qwen3next", tf.Qwen3NextConfig(**{**small, **linear, "rope_parameters": part}), T.F16
    yield "ernie4_5", "ernie4_5", tf.Ernie4_5Config(**{**small, "head_dim": 24, "use_bias": False}), T.F16
    yield from cases_of_experts(small)


def cases_of_experts(small):
    small = {**small, "experts_implementation": "eager"}
    partial = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
    few = {"num_local_experts": 6, "num_experts_per_tok": 3}
    scales = {"embedding_multiplier": 6.0, "residual_multiplier": 0.22, "attention_multiplier": 0.2, "logits_scaling": 8.0}
    yield "granitemoe", "granitemoe", tf.GraniteMoeSharedConfig(
        **{**small, **few, **scales, "shared_intermediate_size": 48}), T.F16
    late = {"intermediate_size": 48, "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 3,
            "first_k_dense_replace": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.5}
    groups = {"n_group": 4, "topk_group": 2}
    yield "glm4moe", "glm4moe", tf.Glm4MoeConfig(
        **{**small, **late, **groups, **partial, "n_shared_experts": 2, "head_dim": 24, "use_qk_norm": True,
           "attention_bias": True}), T.F16
    latent = {**small, **late, "tie_word_embeddings": False, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
              "kv_lora_rank": 40, "qk_nope_head_dim": 20, "qk_rope_head_dim": 12, "v_head_dim": 28}
    yarn = lambda m: {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 4.0, "beta_slow": 0.1, "mscale": m, "mscale_all_dim": m}}
    yield "deepseek2-lite", "deepseek2", tf.DeepseekV2Config(
        **{**latent, **yarn(0.707), "q_lora_rank": None, "n_shared_experts": 2, "n_routed_experts": 5, "norm_topk_prob": False,
           "routed_scaling_factor": 1.0, "topk_method": "greedy"}), T.F16
    yield "deepseek3", "deepseek2", tf.DeepseekV3Config(
        **{**latent, **groups, **yarn(1.0), "q_lora_rank": 24, "n_shared_experts": 1}), T.F16
    yield "glm4moe-lite", "deepseek2", tf.Glm4MoeLiteConfig(
        **{**latent, "q_lora_rank": 24, "n_shared_experts": 1}), T.F16
    yield "hunyuan-moe", "hunyuan-moe", tf.HunYuanMoEV1Config(
        **{**small, "num_experts": 5, "moe_topk": 2, "head_dim": 24}), T.F16
    yield "ernie4_5-moe", "ernie4_5-moe", tf.Ernie4_5_MoeConfig(
        **{**small, "intermediate_size": 48, "num_hidden_layers": 4, "moe_intermediate_size": 32, "moe_k": 2,
           "moe_num_experts": 6, "moe_num_shared_experts": 2, "moe_layer_start_index": 2, "moe_layer_end_index": 3,
           "moe_layer_interval": 2, "use_bias": False}), T.F16
    yield "minimax-m2", "minimax-m2", tf.MiniMaxM2Config(
        **{**small, **few, **partial, "head_dim": 24}), T.F16
    ones = {"embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 0.25, "logits_scaling": 1.0}
    yield "bailingmoe", "bailingmoe", tf.GraniteMoeSharedConfig( # the same mathematics
        **{**small, **few, **ones, "shared_intermediate_size": 64}), T.F16
    yield "bailingmoe2", "bailingmoe2", tf.SarvamMoEConfig(
        **{**small, **late, **groups, "n_shared_experts": 1, "head_dim": 24}), T.F16
    yield "qwen3vlmoe", "qwen3vlmoe", tf.Qwen3VLMoeTextConfig(
        **{**small, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "head_dim": 24,
           "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 4, 4]}}), T.F16
    yield "dots1", "dots1", tf.Dots1Config(
        **{**small, **late, "n_group": 1, "topk_group": 1, "n_shared_experts": 2, "head_dim": 24,
           "layer_types": ["full_attention"] * LAYERS}), T.F16
    yield "olmoe", "olmoe", tf.OlmoeConfig(
        **{**small, "num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": False}), T.F16


# llama's rotary pairs are neighbours in the files of these, halves in transformers
PERMUTED = ("llama", "smollm3", "mistral3", "granite", "granitemoe", "granitehybrid", "bailingmoe")
# norm weights of these are kept without their 1 in transformers, and with it in the files
PLUS_ONE = ("gemma2", "gemma3", "gemma-embedding", "qwen35", "qwen35moe", "qwen3next")
# layers of the gated delta rule among those of attention
DELTA = ("qwen35", "qwen35moe", "qwen3next")
# layers of gated short convolutions among those of attention
SHORT_CONV = ("lfm2", "lfm2moe")
# layers of Mamba-2 among those of attention
MAMBA = ("granitehybrid", "nemotron_h", "nemotron_h_moe")
# layers of one branch
ONE_MIXER = ("nemotron_h", "nemotron_h_moe")


def interleave(w, n_head):
    """llama's rotary pairs are neighbours in GGUF: rows of each head, halves interleaved."""
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def store(w, qtype):
    """What the file holds, and the values it stands for."""
    if w.ndim == 1:
        return w.astype(np.float32), w.astype(np.float32)
    if qtype == T.F32:
        return w.astype(np.float32), w.astype(np.float32)
    data = gguf.quantize(w.astype(np.float32), qtype)
    return data, gguf.dequantize(data, qtype).reshape(w.shape)


def scaling(writer, c):
    """rope.scaling.*, as converters write it, and the temperature of Ministral 3."""
    rope = getattr(c, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    if rope.get("rope_type") == "longrope":
        scale = c.max_position_embeddings / rope["original_max_position_embeddings"]
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_attn_factors(
            float((1 + np.log(scale) / np.log(rope["original_max_position_embeddings"])) ** 0.5))
        for kind in ("long", "short"):
            writer.add_tensor(f"rope_factors_{kind}.weight", np.array(rope[kind + "_factor"], np.float32))
    if rope.get("rope_type") != "yarn":
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    for key, add in (("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
                     ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
                     ("mscale_all_dim", lambda m: writer.add_rope_scaling_yarn_log_mul(0.1 * m if is_latent(c) else m)),
                     ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
                     ("llama_4_scaling_beta", writer.add_attn_temperature_scale)):
        if rope.get(key) is not None:
            add(rope[key])


def is_latent(c):
    return getattr(c, "kv_lora_rank", None) is not None


def latent_keys(writer, c):
    """Sizes of the one head of the cache, and those of the model's heads."""
    writer.add_head_count_kv(1)
    writer.add_key_length(c.kv_lora_rank + c.qk_rope_head_dim)
    writer.add_value_length(c.kv_lora_rank)
    writer.add_key_length_mla(c.qk_nope_head_dim + c.qk_rope_head_dim)
    writer.add_value_length_mla(c.v_head_dim)
    writer.add_kv_lora_rank(c.kv_lora_rank)
    writer.add_rope_dimension_count(c.qk_rope_head_dim)
    if c.q_lora_rank:
        writer.add_q_lora_rank(c.q_lora_rank)


def gemma4_keys(writer, c):
    """What its converter writes besides; sizes of heads by kind of layer."""
    c.allow_global_per_layer_attribute_access = True
    swa = [t == "sliding_attention" for t in c.layer_types]
    full = c.per_layer_config[swa.index(False)]
    writer.add_shared_kv_layers(c.num_kv_shared_layers)
    writer.add_embedding_length_per_layer_input(c.hidden_size_per_layer_input)
    writer.add_sliding_window(c.sliding_window)
    writer.add_sliding_window_pattern(swa)
    for add, n in ((writer.add_key_length, full.head_dim), (writer.add_value_length, full.head_dim),
                   (writer.add_rope_dimension_count, full.head_dim),
                   (writer.add_key_length_swa, c.head_dim), (writer.add_value_length_swa, c.head_dim),
                   (writer.add_rope_dimension_count_swa, c.head_dim)):
        add(n)
    writer.add_head_count_kv([c.num_key_value_heads if s else full.num_key_value_heads for s in swa])
    if c.use_double_wide_mlp:
        own = c.num_hidden_layers - c.num_kv_shared_layers
        writer.add_feed_forward_length([c.intermediate_size * (1 if i < own else 2) for i in range(len(swa))])
    if c.enable_moe_block:
        writer.add_expert_count(c.num_experts)
        writer.add_expert_used_count(c.top_k_experts)
        writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    writer.add_rope_freq_base(c.rope_parameters["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(c.rope_parameters["sliding_attention"]["rope_theta"])
    turned = int(full.head_dim * c.rope_parameters["full_attention"]["partial_rotary_factor"] / 2)
    factors = [1.0] * turned + [1e30] * (full.head_dim // 2 - turned)
    writer.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
    if c.final_logit_softcapping:
        writer.add_final_logit_softcapping(c.final_logit_softcapping)


def mamba_keys(writer, arch, c):
    writer.add_head_count_kv([c.num_key_value_heads if t == "full_attention" else 0 for t in c.layer_types])
    writer.add_ssm_conv_kernel(c.mamba_d_conv)
    writer.add_ssm_state_size(c.mamba_d_state)
    writer.add_ssm_group_count(c.mamba_n_groups)
    writer.add_ssm_inner_size(c.mamba_n_heads * c.mamba_d_head)
    writer.add_ssm_time_step_rank(c.mamba_n_heads)
    writer.add_rope_scaling_finetuned(False)
    if not c.num_local_experts: # its converter writes it here too
        writer.add_expert_shared_feed_forward_length(c.shared_intermediate_size)


def nemotron_keys(writer, c):
    wide = {"mlp": c.intermediate_size, "moe": c.moe_intermediate_size}
    writer.add_feed_forward_length([wide.get(t, 0) for t in c.layer_types])
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv([c.num_key_value_heads if t == "full_attention" else 0 for t in c.layer_types])
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_layer_norm_eps(c.layer_norm_epsilon)
    writer.add_ssm_conv_kernel(c.conv_kernel)
    writer.add_ssm_state_size(c.ssm_state_size)
    writer.add_ssm_group_count(c.n_groups)
    writer.add_ssm_inner_size(c.mamba_num_heads * c.mamba_head_dim)
    writer.add_ssm_time_step_rank(c.mamba_num_heads)
    writer.add_rope_dimension_count(c.hidden_size // c.num_attention_heads)
    writer.add_rope_scaling_finetuned(False)
    if "moe" in c.layer_types:
        writer.add_expert_count(c.n_routed_experts)
        writer.add_expert_used_count(c.num_experts_per_tok)
        writer.add_expert_feed_forward_length(c.moe_intermediate_size)
        writer.add_expert_shared_feed_forward_length(c.moe_shared_expert_intermediate_size)
        writer.add_expert_shared_count(c.n_shared_experts)
        writer.add_expert_weights_norm(c.norm_topk_prob)
        writer.add_expert_weights_scale(c.routed_scaling_factor)
        writer.add_expert_group_count(c.n_group)


def keys(writer, arch, c):
    nextn = c.model_type.startswith("glm4_moe") # a block that predicts one token more
    writer.add_block_count(c.num_hidden_layers + nextn)
    if nextn:
        writer.add_nextn_predict_layers(1)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    if arch in ONE_MIXER:
        nemotron_keys(writer, c)
        return
    if getattr(c, "intermediate_size", None) and not getattr(c, "use_double_wide_mlp", False):
        writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    if arch == "gemma4":
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
        gemma4_keys(writer, c)
        return
    if arch in SHORT_CONV:
        writer.add_head_count_kv([0 if t == "conv" else c.num_key_value_heads for t in c.layer_types])
        writer.add_shortconv_l_cache(c.conv_L_cache)
        c.rms_norm_eps = c.norm_eps
    elif arch in MAMBA:
        mamba_keys(writer, arch, c)
    elif arch == "deepseek2":
        latent_keys(writer, c)
    else:
        writer.add_head_count_kv(c.num_key_value_heads)
    if arch == "cohere2":
        writer.add_layer_norm_eps(c.layer_norm_eps)
    else:
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    scaling(writer, c)
    for name, add in (("embedding_multiplier", writer.add_embedding_scale), ("residual_multiplier", writer.add_residual_scale),
                      ("attention_multiplier", writer.add_attention_scale), ("logits_scaling", writer.add_logit_scale),
                      ("logit_scale", writer.add_logit_scale),
                      ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
                      ("final_logit_softcapping", writer.add_final_logit_softcapping)):
        if getattr(c, name, None) is not None and arch in ("granite", "granitemoe", "granitehybrid", "cohere2", "gemma2"):
            add(getattr(c, name))
    rope = getattr(c, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    if arch == "gemma-embedding": # of which transformers keeps what it has on a side of a token
        writer.add_sliding_window(2 * (c.sliding_window - 1))
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        writer.add_dense_features_dims("dense_2", c.hidden_size, DENSE)
        writer.add_dense_features_dims("dense_3", DENSE, c.hidden_size)
    if arch in ("gemma3", "gemma-embedding"):
        writer.add_rope_freq_base(1e6)
    else:
        writer.add_rope_freq_base(float(rope.get("rope_theta", getattr(c, "rope_theta", 10000.0))))
    if getattr(c, "head_dim", None) and arch != "deepseek2":
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    if arch in ("gemma2", "gemma3", "phi3", "gpt-oss", "cohere2", "exaone4", "olmo2") and getattr(c, "sliding_window", None):
        writer.add_sliding_window(c.sliding_window)
        if arch in ("exaone4", "olmo2"):
            writer.add_sliding_window_pattern([t == "sliding_attention" for t in c.layer_types])
    if arch == "glm4":
        writer.add_rope_dimension_count(c.head_dim // 2)
    if arch in ("qwen3vl", "qwen3vlmoe"):
        writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
        writer.add_num_deepstack_layers(3)
    if arch in DELTA:
        writer.add_ssm_conv_kernel(c.linear_conv_kernel_dim)
        writer.add_ssm_state_size(c.linear_key_head_dim)
        writer.add_ssm_group_count(c.linear_num_key_heads)
        writer.add_ssm_time_step_rank(c.linear_num_value_heads)
        writer.add_ssm_inner_size(c.linear_value_head_dim * c.linear_num_value_heads)
        writer.add_array(f"{arch}.attention.recurrent_layers", [t == "linear_attention" for t in c.layer_types])
        writer.add_rope_dimension_count(int(c.head_dim * rope["partial_rotary_factor"]))
    if arch in ("qwen35", "qwen35moe"):
        writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
    if getattr(c, "shared_expert_intermediate_size", None):
        writer.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
    if arch in ("glm4moe", "minimax-m2"):
        writer.add_rope_dimension_count(c.head_dim // 2)
    keys_of_experts(writer, arch, c)
    if arch == "phi3":
        writer.add_rope_dimension_count(int(0.75 * c.hidden_size // c.num_attention_heads))


def keys_of_experts(writer, arch, c):
    n_expert = getattr(c, "num_experts", None) or getattr(c, "num_local_experts", None) or getattr(c, "n_routed_experts", None)
    if not n_expert:
        return
    writer.add_expert_count(n_expert)
    writer.add_expert_used_count(getattr(c, "moe_topk", None) or c.num_experts_per_tok)
    if arch not in ("llama", "granitemoe", "granitehybrid"):
        writer.add_expert_feed_forward_length(
            32 if arch == "bailingmoe" else getattr(c, "moe_intermediate_size", None) or c.intermediate_size)
    shared = getattr(c, "n_shared_experts", None) or getattr(c, "moe_num_shared_experts", None)
    if shared or arch in ("hunyuan-moe", "bailingmoe"):
        writer.add_expert_shared_count(shared or (2 if arch == "bailingmoe" else 1))
    wide = {**dict.fromkeys(("granitemoe", "granitehybrid"), getattr(c, "shared_intermediate_size", 0)),
            "hunyuan-moe": c.intermediate_size,
            "ernie4_5-moe": 32 * (shared or 0), "bailingmoe2": 32 * (shared or 0)}
    if arch in wide:
        writer.add_expert_shared_feed_forward_length(wide[arch])
    lead = 1 if c.model_type == "glm4_moe_lite" else getattr(c, "first_k_dense_replace", None) or getattr(c, "moe_layer_start_index", None)
    if lead:
        writer.add_leading_dense_block_count(lead)
    if arch == "ernie4_5-moe":
        writer.add_interleave_moe_layer_step(c.moe_layer_interval)
    if getattr(c, "n_group", None):
        writer.add_expert_group_count(c.n_group)
        writer.add_expert_group_used_count(c.topk_group)
    if arch == "lfm2moe":
        writer.add_leading_dense_block_count(c.num_dense_layers)
    if arch in ("glm4moe", "minimax-m2", "bailingmoe2", "dots1", "lfm2moe") or c.model_type == "deepseek_v3":
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if getattr(c, "routed_scaling_factor", None) or arch == "bailingmoe":
        writer.add_expert_weights_scale(getattr(c, "routed_scaling_factor", 1.0))
        writer.add_expert_weights_norm(c.model_type != "deepseek_v2")


NAMES = {
    "model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight",
    "model.norm.weight": "output_norm.weight",
    "model.embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
    "model.per_layer_model_projection.weight": "per_layer_model_proj.weight",
    "model.per_layer_projection_norm.weight": "per_layer_proj_norm.weight",
    "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm",
    **{f"self_attn.{name}": f"attn_{part}" for name, part in (
        ("q_a_proj", "q_a"), ("q_a_layernorm", "q_a_norm"), ("q_b_proj", "q_b"), ("kv_a_proj_with_mqa", "kv_a_mqa"),
        ("kv_a_layernorm", "kv_a_norm"))},
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up", "input_layernorm": "attn_norm",
    "self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm",
    "mlp.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp", "router.proj": "ffn_gate_inp",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2", "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "post_feedforward_layernorm_2": "post_ffw_norm_2",
    "mlp.gate.wg": "ffn_gate_inp",
    "block_sparse_moe.router": "ffn_gate_inp", "shared_mlp.output_linear": "ffn_down_shexp",
    **{f"mlp.{kind}.{part}_proj": f"ffn_{part}_shexp" for kind in ("shared_experts", "shared_mlp")
       for part in ("gate", "up", "down")},
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "model.embedding_norm.weight": "token_embd_norm.weight", "self_attn.out_proj": "attn_output",
    "operator_norm": "attn_norm", "feed_forward.w1": "ffn_gate", "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up", "feed_forward.gate": "ffn_gate_inp", "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm", "ffn_norm": "ffn_norm", "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj", "conv.conv": "shortconv.conv",
    "model.embeddings.weight": "token_embd.weight", "model.norm_f.weight": "output_norm.weight", "norm": "attn_norm",
    "mamba.in_proj": "ssm_in", "mamba.conv1d": "ssm_conv1d", "mamba.norm": "ssm_norm", "mamba.out_proj": "ssm_out",
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.in_proj_qkv": "attn_qkv", "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_b": "ssm_beta", "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm", "linear_attn.out_proj": "ssm_out",
}
# tensors of layers whose whole name is another
WHOLE = {"self_attn.sinks": "attn_sinks.weight", "layer_scalar": "layer_output_scale.weight",
         "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale",
         "experts.gate_up_proj": "ffn_gate_up_exps.weight", "experts.down_proj": "ffn_down_exps.weight"}


def layer_of(key):
    return key.split("layers.")[1].split(".")[0]


def name_of(arch, key):
    if key in NAMES:
        return NAMES[key]
    _, _, layer, rest = key.split(".", 3)
    if rest in ("linear_attn.A_log", "linear_attn.dt_bias"):
        return f"blk.{layer}." + ("ssm_a" if rest.endswith("A_log") else "ssm_dt.bias")
    if rest in WHOLE:
        return f"blk.{layer}.{WHOLE[rest]}"
    if rest.endswith(("e_score_correction_bias", "expert_bias")):
        return f"blk.{layer}.exp_probs_b.bias"
    part, kind = rest.rsplit(".", 1)
    post = ("gemma2", "gemma3", "gemma4", "gemma-embedding", "olmo2", "exaone4", "seed_oss", "gpt-oss", "glm4moe", *DELTA)
    other = {"post_attention_layernorm": "post_attention_norm" if arch in post else "ffn_norm",
             "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
             "post_self_attn_layernorm": "post_attention_norm", "post_mlp_layernorm": "post_ffw_norm"}
    return f"blk.{layer}.{NAMES.get(part) or other[part]}.{kind}"


def tile_heads(key, x, c):
    """Heads of v (rows, or columns of what reads them) in the order of the files: those of all heads of
    k in turns, where transformers has those of each head of k side by side."""
    n, dim = c.linear_num_key_heads, c.linear_value_head_dim
    each = c.linear_num_value_heads // n
    tile = lambda w, dim: w.reshape(n, each, dim, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape)
    if "in_proj_qkv" in key or "conv1d" in key:
        before = 2 * n * c.linear_key_head_dim
        return np.concatenate([x[:before], tile(x[before:], dim)])
    if "in_proj_z" in key:
        return tile(x, dim)
    if "out_proj" in key:
        return np.ascontiguousarray(tile(np.ascontiguousarray(x.T), dim).T)
    return x if "norm" in key else tile(x, 1)


def branch(arch, c, key):
    """The name of a tensor of a model whose layers all have a `mixer`, as others would call it."""
    if arch not in ONE_MIXER or ".mixer." not in key:
        return key
    kinds = {"linear_attention": "mamba", "full_attention": "self_attn", "mlp": "mlp", "moe": "mlp"}
    return key.replace("mixer", kinds[c.layer_types[int(layer_of(key))]])


def mamba(writer, arch, key, x, groups, qtype):
    """Writes a tensor of a layer of Mamba-2; the values it stands for."""
    if key.endswith("A_log"):
        x = np.log(np.exp(np.abs(x) * 8 - 1).astype(np.float32))
    if key.endswith(".D"):
        x = x + np.float32(1)
    plain, part = x.ndim == 1 or "conv1d" in key, key.rsplit(".", 1)[1]
    data, value = store(x.squeeze(1) if x.ndim == 3 else x, T.F32 if plain else qtype)
    value = value.reshape(x.shape)
    if part in ("A_log", "D"):
        data = (-np.exp(data) if part == "A_log" else data).reshape(-1, 1)
        name = f"blk.{layer_of(key)}.ssm_{part[0].lower()}"
    elif part == "dt_bias":
        name = f"blk.{layer_of(key)}.ssm_dt.bias"
    else:
        name = name_of(arch, key)
        data = data.reshape(groups, -1) if "norm" in key else data
    writer.add_tensor(name, data, raw_dtype=None if plain else qtype)
    return value


def delta(writer, arch, key, x, c, qtype):
    """Writes a tensor of a layer of the gated delta rule; the values it stands for."""
    x = np.abs(x) * 8 - 1 if key.endswith("A_log") else x
    if "in_proj_qkvz" in key: # q, k, v, z of each head of k; the files have them apart
        sizes = [c.linear_key_head_dim] * 2 + [c.linear_value_head_dim * c.linear_num_value_heads
                                              // c.linear_num_key_heads] * 2
        parts = np.split(x.reshape(c.linear_num_key_heads, sum(sizes), -1), np.cumsum(sizes)[:3], axis=1)
        parts = [p.reshape(-1, x.shape[1]) for p in parts]
        layer = key.split(".")[2]
        for name, w in (("attn_qkv", np.concatenate(parts[:3])), ("attn_gate", parts[3])):
            writer.add_tensor(f"blk.{layer}.{name}.weight", store(np.ascontiguousarray(w), qtype)[0], raw_dtype=qtype)
        return store(x, qtype)[1]
    file_value = x.squeeze(1) if "conv1d" in key else x
    if arch != "qwen3next": # which has the heads of v side by side
        file_value = tile_heads(key, file_value, c)
    if key.endswith("A_log"):
        file_value = -np.exp(file_value)
        x = np.log(np.exp(x).astype(np.float32))
    plain = x.ndim == 1 or "conv1d" in key
    data, _ = store(np.ascontiguousarray(file_value), T.F32 if plain else qtype)
    writer.add_tensor(name_of(arch, key), data, raw_dtype=None if plain else qtype)
    return x if plain else store(x, qtype)[1]


def experts(writer, arch, key, x, qtype):
    """Writes the matrices, or biases, of all experts of a layer; the values they stand for. gpt-oss
    has columns where others have rows, and gate and up in turns."""
    layer, part = layer_of(key), key.rsplit(".", 1)[1]
    names = ("ffn_gate_exps", "ffn_up_exps") if "gate_up" in part else (f"ffn_{part.split('_')[0]}_exps",)
    bias, values = part.endswith("bias"), []
    x = x.swapaxes(1, 2) if arch == "gpt-oss" and not bias else x
    turns = arch == "gpt-oss" and len(names) == 2
    parts = [x[:, 0::2], x[:, 1::2]] if turns else np.split(x, len(names), axis=1)
    for name, w in zip(names, parts):
        data, value = store(np.ascontiguousarray(w), T.F32 if bias else qtype)
        writer.add_tensor(f"blk.{layer}.{name}." + ("bias" if bias else "weight"), data,
                          raw_dtype=None if bias else qtype)
        values.append(value)
    value = np.stack(values, axis=2).reshape(x.shape) if turns else np.concatenate(values, axis=1)
    return value.swapaxes(1, 2) if arch == "gpt-oss" and not bias else value


def latent(writer, key, x, c, qtype):
    """Writes what makes the heads' keys and values of a latent row: in the files a tensor each, the keys'
    the other way round; the values it stands for."""
    both = x.reshape(c.num_attention_heads, c.qk_nope_head_dim + c.v_head_dim, c.kv_lora_rank)
    k, v = np.split(both, [c.qk_nope_head_dim], axis=1)
    for name, w in (("attn_k_b", k.swapaxes(1, 2)), ("attn_v_b", v)):
        writer.add_tensor(f"blk.{layer_of(key)}.{name}.weight", store(np.ascontiguousarray(w), qtype)[0], raw_dtype=qtype)
    return store(x, qtype)[1]


def vocabulary(writer):
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % i for i in range(VOCAB - 3)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * VOCAB)
    writer.add_token_types([2, 3, 3] + [6] * (VOCAB - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


# text parts of others, without heads of their own
TEXT_MODELS = {"qwen3vl": "Qwen3VLTextModel", "qwen3vlmoe": "Qwen3VLMoeTextModel",
               "gemma-embedding": "Gemma3TextModel"}

# models whose hidden rows after the last norm are written too, as a text's two points: the mean of
# all rows and the last one, each divided by its length: u32 n_tokens, u32 n_embd, i32 tokens, f32 rows
EMBEDDED = ("qwen3", "gemma-embedding")
DENSE = 96 # between the two matrices that gemma-embedding has behind its rows


def write_embeddings(path, model, ids, dense):
    with torch.no_grad():
        rows = getattr(model, "model", model)(torch.from_numpy(ids)[None]).last_hidden_state[0].numpy()
    for w in dense:
        rows = rows @ w.T
    with open(path, "wb") as f:
        f.write(struct.pack("<II", *rows.shape))
        f.write(ids.astype("<i4").tobytes())
        for point in (rows.mean(axis=0), rows[-1]):
            f.write((point / np.linalg.norm(point)).astype("<f4").tobytes())


def write_logits(path, model, ids, state):
    """state: of a model without a head, whose logits are by the embeddings."""
    gemma4 = model.config.model_type.startswith("gemma4") # without hidden rows it leaves some out
    with torch.no_grad():
        rows = model(torch.from_numpy(ids)[None], output_hidden_states=gemma4)
        logits = rows.last_hidden_state[0] @ state["embed_tokens.weight"].T if state else rows.logits[0]
    with open(path, "wb") as f:
        f.write(struct.pack("<II", N_TOKENS, VOCAB))
        f.write(ids.astype("<i4").tobytes())
        f.write(logits.numpy().astype("<f4").tobytes())


# of encoders, whose layers have names of their own in either model
ENCODERS = ("bert", "nomic-bert")
ENCODER_NAMES = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "attn_output_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "post_mlp_layernorm": "layer_output_norm"}


def make_encoder(out, name, arch, c, qtype):
    rng = np.random.default_rng(sum(map(ord, name)))
    model = tf.AutoModel.from_config(c, **({"add_pooling_layer": False} if arch == "bert" else {})).double().eval()
    w = gguf.GGUFWriter(os.path.join(out, f"tiny-{name}.gguf"), arch)
    w.add_name(f"tiny-{name}")
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_layer_norm_eps(c.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    if arch == "nomic-bert":
        w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_token_type_count(c.type_vocab_size)
    vocabulary(w)
    state, fused = model.state_dict(), []
    for key, t in state.items():
        shape = tuple(t.shape)
        x = rng.normal(0, 1.0 if "embeddings" in key else 1.5 / shape[-1] ** 0.5, shape) if len(shape) > 1 \
            else rng.normal(float("norm.weight" in key.lower()), 0.1 if "weight" in key else 0.3, shape)
        plain = len(shape) == 1 or "type" in key or "position" in key # of both, converters keep them as they are
        data, value = store(x.astype(np.float32), T.F32 if plain else qtype)
        part, kind = key.removeprefix("encoder.").rsplit(".", 1)
        at = part.split(".", 2) if "embeddings" not in part else None
        if part.endswith(("q_proj", "k_proj", "v_proj")): # which the files have in one
            fused.append(data)
            if part.endswith("v_proj"):
                w.add_tensor(f"blk.{at[1]}.attn_qkv.weight", np.concatenate(fused[-3:]), raw_dtype=qtype)
        else:
            full = f"blk.{at[1]}.{ENCODER_NAMES[at[2]]}" if at else ENCODER_NAMES[part]
            w.add_tensor(f"{full}.{kind}", data, raw_dtype=None if plain else qtype)
        state[key] = torch.from_numpy(value.astype(np.float64))
    model.load_state_dict(state)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    write_embeddings(os.path.join(out, f"embed-{name}.bin"), model, rng.integers(3, VOCAB, N_TOKENS), [])
    print(name, os.path.getsize(os.path.join(out, f"tiny-{name}.gguf")))


def make(out, name, arch, config, qtype):
    if arch in ENCODERS:
        return make_encoder(out, name, arch, config, qtype)
    torch.Tensor.to = widened if arch in (*DELTA, *MAMBA) else narrow # recurrent layers ask for f32
    routers = (*ONE_MIXER, "deepseek2") # which do too
    torch.Tensor.type = (lambda x, *a: kind_of(x, *map(wide, a))) if arch in routers else kind_of
    torch.Tensor.softmax = (lambda x, dim=-1, **_: softmax_of(x, dim=dim)) if arch == "deepseek2" else softmax_of
    text_model = getattr(tf, TEXT_MODELS[arch]) if arch in TEXT_MODELS else None
    model = (text_model(config) if text_model else tf.AutoModelForCausalLM.from_config(config)).double().eval()
    rng = np.random.default_rng(sum(map(ord, name)))
    w = gguf.GGUFWriter(os.path.join(out, f"tiny-{name}.gguf"), arch)
    w.add_name(f"tiny-{name}")
    keys(w, arch, config)
    if name == "llama-linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(4.0)
    vocabulary(w)
    if name == "llama3":
        inv = model.model.rotary_emb.inv_freq.numpy().astype(np.float64)
        n = HIDDEN // 4
        plain = 500000.0 ** (-np.arange(0, n, 2) / n)
        factors = (plain / inv).astype(np.float32)
        w.add_tensor("rope_freqs.weight", factors)
    if config.model_type.startswith("glm4_moe"): # of a block that nobody runs
        w.add_tensor(f"blk.{config.num_hidden_layers}.nextn.enorm.weight", np.ones(HIDDEN, np.float32))
    state, fused = model.state_dict(), []
    for own, t in state.items():
        key = branch(arch, config, own)
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        shape = tuple(t.shape)
        if len(shape) == 1 or "e_score" in key:
            x = rng.normal(0, 0.1, shape)
            if (key.endswith(("norm.weight", "norm_f.weight", "layer_scalar", "scale")) or "layernorm" in key and arch == "gemma4") \
                    and (arch not in PLUS_ONE or "linear_attn" in key):
                x += 1.0
        else:
            x = rng.normal(0, 1.0 if "embed" in key else 1.5 / shape[-1] ** 0.5, shape)
        x = x.astype(np.float32)
        if ".experts." in key and arch != "gemma4":
            state[own] = torch.from_numpy(experts(w, arch, key, x, qtype).astype(np.float64))
            continue
        if "kv_b_proj" in key:
            state[own] = torch.from_numpy(latent(w, key, x, config, qtype).astype(np.float64))
            continue
        if "conv.conv" in key:
            w.add_tensor(name_of(arch, key), x.squeeze(1))
            state[own] = torch.from_numpy(x.astype(np.float64))
            continue
        if ".mamba." in key:
            value = mamba(w, arch, key, x, getattr(config, "mamba_n_groups", 0) or config.n_groups, qtype)
            state[own] = torch.from_numpy(value.astype(np.float64))
            continue
        if "linear_attn" in key:
            state[own] = torch.from_numpy(delta(w, arch, key, x, config, qtype).astype(np.float64))
            continue
        router = key.endswith(("mlp.gate.weight", "router.weight", "gate.wg.weight", "router.proj.weight"))
        kind_of_file = T.F32 if router or "e_score" in key else qtype
        is_norm = len(shape) == 1 and not key.endswith("bias")
        file_value = x + np.float32(1) if arch in PLUS_ONE and is_norm else x
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        proj = key.split(".")[-2]
        if arch in PERMUTED and proj in heads:
            data, _ = store(interleave(x, heads[proj]), qtype)
            _, value = store(x, qtype)
        else:
            data, value = store(file_value, kind_of_file)
        if arch in PLUS_ONE and is_norm:
            value = value.astype(np.float64) - 1.0
        kind = kind_of_file if x.ndim > 1 and kind_of_file != T.F32 else None
        data = data.reshape(-1) if "e_score" in key else data
        shared = "" if getattr(config, "num_local_experts", 1) == 0 else "_shexp" # without experts it is all there is
        if key.endswith("shared_mlp.input_linear.weight"): # gate and up in one
            for part, half in zip(("gate", "up"), np.split(data, 2)):
                w.add_tensor(f"blk.{layer_of(key)}.ffn_{part}{shared}.weight", half, raw_dtype=kind)
        elif arch == "bailingmoe2" and proj in ("q_proj", "k_proj", "v_proj"):
            fused.append(data)
            if proj == "v_proj":
                w.add_tensor(f"blk.{layer_of(key)}.attn_qkv.weight", np.concatenate(fused[-3:]), raw_dtype=kind)
        else:
            name_of_file = name_of(arch, key if not text_model else "model." + key)
            w.add_tensor(name_of_file if shared else name_of_file.replace("_shexp", ""), data, raw_dtype=kind)
        state[own] = torch.from_numpy(value.astype(np.float64))
    model.load_state_dict(state)
    dense = []
    for i, shape in ((2, (DENSE, HIDDEN)), (3, (HIDDEN, DENSE))):
        if arch == "gemma-embedding":
            data, value = store(rng.normal(0, 1.5 / shape[1] ** 0.5, shape).astype(np.float32), qtype)
            w.add_tensor(f"dense_{i}.weight", data, raw_dtype=qtype)
            dense.append(value.astype(np.float64))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    ids = rng.integers(3, VOCAB, N_TOKENS)
    if arch != "gemma-embedding":
        write_logits(os.path.join(out, f"tiny-{name}.bin"), model, ids, state if text_model else None)
    if name in EMBEDDED:
        write_embeddings(os.path.join(out, f"embed-{name}.bin"), model, ids, dense)
    print(name, os.path.getsize(os.path.join(out, f"tiny-{name}.gguf")))


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for case in cases():
        if not sys.argv[2:] or case[0] in sys.argv[2:]:
            make(target, *case)
