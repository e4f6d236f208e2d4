/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv_store: K and V rows of the batch -> cache, as f16 (kv_layout.h). An invocation writes one
 * word: two dims of V of one token, or one dim of K of two neighbouring positions: the even one
 * writes for both when its neighbour is in the batch, else the other half is kept.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer KRows
{
    float k_rows[];
};
layout(std430, binding = 1) readonly buffer VRows
{
    float v_rows[];
};
layout(std430, binding = 2) readonly buffer Batch
{
    uint batch[];
};
layout(std430, binding = 3) buffer KCache
{
    uint k_cache[];
};
layout(std430, binding = 4) writeonly buffer VCache
{
    uint v_cache[];
};
layout(push_constant) uniform Push
{
    lk_vk_kv_push p;
};

uint k_half(uint token, uint head, uint d)
{
    return d < p.head_dim ? lk_f32_to_f16(k_rows[(token * p.n_kv_head + head) * p.head_dim + d])
                          : 0u;
}

uint v_half(uint token, uint head, uint d)
{
    return d < p.head_dim ? lk_f32_to_f16(v_rows[(token * p.n_kv_head + head) * p.head_dim + d])
                          : 0u;
}

void main()
{
    uint i = gl_GlobalInvocationID.x;
    uint token = gl_WorkGroupID.y;
    uint n_k = p.n_kv_head * p.dim;
    uint pos = batch[p.pos + token];
    uint seq = batch[p.seq + token];
    uint block = batch[p.table + seq * p.max_blocks + pos / LK_KV_BLOCK];
    uint slot = pos % LK_KV_BLOCK;
    if (i < n_k) {
        uint head = i / p.dim;
        uint d = i % p.dim;
        bool odd = (slot & 1u) != 0u;
        if (odd && token > 0u && batch[p.seq + token - 1u] == seq) {
            return;
        }
        uint at = LK_KV_K_AT(block, head, d, slot, p.n_kv_head, p.dim) / 2u;
        uint h = k_half(token, head, d);
        if (odd) {
            k_cache[at] = (k_cache[at] & 0xffffu) | (h << 16);
        } else if (token + 1u < p.n_tokens && batch[p.seq + token + 1u] == seq) {
            k_cache[at] = h | (k_half(token + 1u, head, d) << 16);
        } else {
            k_cache[at] = (k_cache[at] & 0xffff0000u) | h;
        }
    } else if (i < n_k + n_k / 2u) {
        uint word = i - n_k;
        uint head = word / (p.dim / 2u);
        uint d = 2u * (word % (p.dim / 2u));
        uint at = LK_KV_V_AT(block, head, slot, d, p.n_kv_head, p.dim) / 2u;
        v_cache[at] = v_half(token, head, d) | (v_half(token, head, d + 1u) << 16);
    }
}
