/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv_store: K and V rows of the batch -> cache, as integers with a scale for each head (rule 8), K
 * turned first where ROPE says so. A workgroup is a head of K of one token, or a head of V of the
 * tokens of one sequence whose positions share words: the first of them in the batch writes for all,
 * and keeps the bytes of positions that are not in the batch.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/attention.glsl"
#include "shaders/rope.glsl"

const uint THREADS = 64u;
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ROPE = 0u;
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
layout(std430, binding = 3) writeonly buffer KCache
{
    uint k_cache[];
};
layout(std430, binding = 4) buffer VCache
{
    uint v_cache[];
};
layout(push_constant) uniform Push
{
    lk_vk_kv_push p;
};

shared uint largest[4];
shared float key[LK_VK_MAX_DIM];

uint row_of(uint token, uint head, uint dim)
{
    return (token * p.n_kv_head + head) * dim;
}

/* A head of K to `key`, turned or as it is, with zeros behind it; the largest magnitude of what the
 * invocation brought. */
uint load_key(uint token, uint head)
{
    uint lid = gl_LocalInvocationIndex, row = row_of(token, head, p.head_dim), a = 0u;
    uint turned = ROPE != 0u ? p.n_dims / 2u : 0u, cs = p.cs + token * p.cs_stride;
    for (uint i = lid; i < p.dim / 2u; i += THREADS) {
        uvec2 e = pair_at(i, 2u * turned, p.interleaved != 0u);
        vec2 x = vec2(e.x < p.head_dim ? k_rows[row + e.x] : 0.0,
                      e.y < p.head_dim ? k_rows[row + e.y] : 0.0);
        if (i < turned) {
            x = turn(x.x, x.y, lk_flt(batch[cs + 2u * i]), lk_flt(batch[cs + 2u * i + 1u]), p.op);
        }
        key[e.x] = x.x;
        key[e.y] = x.y;
        a = max(a, max(lk_magnitude(x.x), lk_magnitude(x.y)));
    }
    return a;
}

void store_key(uint token, uint head, uint block, uint slot)
{
    uint lid = gl_LocalInvocationIndex;
    uint at = LK_KV_HEAD_AT(block, head, p.n_kv_head, p.dim, p.k_bits);
    uint a = load_key(token, head);
    atomicMax(largest[0], a);
    barrier();
    a = largest[0];
    int most = most_of(p.k_bits);
    float factor = lk_cell_factor(lk_flt(a), float(most));
    for (uint g = lid; g < p.dim / 8u; g += THREADS) {
        ivec4 k[2];
        for (uint h = 0u; h < 2u; h++) {
            uint d = 8u * g + 4u * h;
            k[h] = quantize4(vec4(key[d], key[d + 1u], key[d + 2u], key[d + 3u]), a, factor);
        }
        bool wide = p.k_bits == LK_KV_K_BITS;
        k_cache[at + LK_KV_K_HIGH(8u * g, slot)] = pack4(wide ? k[0] >> 4 : k[0]);
        k_cache[at + LK_KV_K_HIGH(8u * g + 4u, slot)] = pack4(wide ? k[1] >> 4 : k[1]);
        if (wide) {
            uint low = pack4(k[0] & 15) | pack4(k[1] & 15) << 4;
            k_cache[at + LK_KV_K_LOW(p.dim, 8u * g, slot)] = low;
        }
    }
    if (lid == 0u) {
        precise float scale = a == 0u ? lk_flt(0u) : lk_cell_scale(lk_flt(a), most);
        k_cache[at + LK_KV_SCALE_AT(p.dim, p.k_bits, slot)] = lk_bits(scale);
    }
}

/* Values of `count` tokens from `token` on, in slots from `slot` on of one word. */
void store_values(uint token, uint count, uint head, uint block, uint slot)
{
    uint lid = gl_LocalInvocationIndex;
    uint dim = p.v_dim_padded;
    uint at = LK_KV_HEAD_AT(block, head, p.n_kv_head, dim, LK_KV_V_BITS);
    for (uint t = 0u; t < count; t++) {
        uint a = 0u, row = row_of(token + t, head, p.v_dim);
        for (uint d = lid; d < p.v_dim; d += THREADS) {
            a = max(a, lk_magnitude(v_rows[row + d]));
        }
        atomicMax(largest[t], a);
    }
    barrier();
    for (uint d = lid; d < dim; d += THREADS) {
        uint index = at + LK_KV_V_AT(dim, d, slot);
        uint word = count == 4u ? 0u : v_cache[index];
        for (uint t = 0u; t < count; t++) {
            uint a = largest[t], shift = 8u * (slot % 4u + t);
            int v = 0;
            if (d < p.v_dim && a != 0u) {
                precise float x = v_rows[row_of(token + t, head, p.v_dim) + d];
                x = x * lk_cell_factor(lk_flt(a), float(LK_BYTE_MOST));
                v = lk_rte(x);
            }
            word = (word & ~(0xffu << shift)) | (uint(v) & 0xffu) << shift;
        }
        v_cache[index] = word;
    }
    if (lid < count) {
        uint a = largest[lid];
        precise float scale = a == 0u ? lk_flt(0u) : lk_cell_scale(lk_flt(a), LK_BYTE_MOST);
        v_cache[at + LK_KV_SCALE_AT(dim, LK_KV_V_BITS, slot + lid)] = lk_bits(scale);
    }
}

void main()
{
    uint head = gl_WorkGroupID.x / 2u, token = gl_WorkGroupID.y;
    uint pos = batch[p.pos + token];
    uint seq = batch[p.seq + token];
    uint block = batch[p.table + seq * p.max_blocks + pos / LK_KV_BLOCK];
    uint slot = pos % LK_KV_BLOCK;
    if (gl_LocalInvocationIndex < 4u) {
        largest[gl_LocalInvocationIndex] = 0u;
    }
    barrier();
    if (gl_WorkGroupID.x % 2u == 0u) {
        store_key(token, head, block, slot);
        return;
    }
    if (slot % 4u != 0u && token > 0u && batch[p.seq + token - 1u] == seq) {
        return;
    }
    uint count = 1u;
    while (slot % 4u + count < 4u && token + count < p.n_tokens &&
           batch[p.seq + token + count] == seq) {
        count++;
    }
    store_values(token, count, head, block, slot);
}
