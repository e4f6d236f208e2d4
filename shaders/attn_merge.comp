/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_merge: folds the chunks that attn or attn_decode left, in rising order (rule 8). A workgroup
 * is 64 elements of one query row. 64 chunks have their factors made side by side; results are asked
 * for before those in front of them are folded.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/attention.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 2) const uint FLAGS = 0; /* LK_VK_ATTN_SINK, LK_VK_ATTN_DECODE */
layout(std430, binding = 3) readonly buffer Batch
{
    uint batch[];
};
layout(std430, binding = 4) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 5) readonly buffer Part
{
    uint part[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_push p;
};

const uint STEP = 16u; /* results under way at a time */
shared int n_before[65]; /* the largest exponent in front of each chunk, and of all */
shared float l_tile[64];
shared vec2 by_tile[64];

uint results[STEP];

void fetch(uint at, uint c, uint last)
{
    LK_UNROLL for (uint k = 0u; k < STEP; k++) {
        results[k] = part[at + min(c + k, last) * p.dim];
    }
}

uvec2 exponent_and_l(uint l_at, uint c)
{
    return uvec2(part[l_at + 2u * c], part[l_at + 2u * c + 1u]);
}

void main()
{
    uint lid = gl_LocalInvocationIndex, d = gl_GlobalInvocationID.x;
    uint row = gl_WorkGroupID.y, token = row / p.n_head;
    /* the chunks that were counted for this token's tile: tiles of a split run have one token */
    uint pos = batch[p.pos + token];
    uint last = pos + min(p.ahead, batch[p.tiles + token * 4u + 3u] - pos);
    uint low = p.window != 0u && pos + 1u > p.window ? pos + 1u - p.window : 0u;
    uint count = last / LK_KV_BLOCK - low / LK_KV_BLOCK + 1u;
    if ((FLAGS & LK_VK_ATTN_DECODE) != 0u && count <= LK_VK_DECODE_MERGE) {
        return; /* attn_decode has done it */
    }
    precise float l = 0.0;
    precise float o = 0.0;
    int n = NO_KEY;
    if ((FLAGS & LK_VK_ATTN_SINK) != 0u) {
        float sink = sinks[row % p.n_head];
        n = lk_sink_exponent(sink);
        l = lk_sink_weight(sink);
    }
    uint first_at = row * p.max_splits;
    uint at = first_at * p.dim + min(d, p.dim - 1u);
    uint l_at = p.part_l + first_at * 2u;
    uvec2 told = exponent_and_l(l_at, min(lid, count - 1u));
    fetch(at, 0u, count - 1u);
    for (uint first = 0u; first < count; first += 64u) {
        uint n_chunks = min(count - first, 64u);
        int nc = lid < n_chunks ? int(told.x) : NO_KEY;
        float own_l = lk_flt(told.y);
        told = exponent_and_l(l_at, min(first + 64u + lid, count - 1u));
        if (lid == 0u) {
            n_before[0] = n;
        }
        n_before[lid + 1u] = nc;
        for (uint h = 1u; h <= 64u; h *= 2u) {
            barrier();
            int before = n_before[lid + 1u - min(h, lid + 1u)];
            barrier();
            n_before[lid + 1u] = max(n_before[lid + 1u], before);
        }
        barrier();
        /* what has no keys changes nothing */
        by_tile[lid] = nc == NO_KEY ? vec2(1.0, 0.0) : merge_factors(n_before[lid], nc);
        l_tile[lid] = nc == NO_KEY ? 0.0 : own_l;
        barrier();
        n = n_before[64];
        for (uint c0 = 0u; c0 < n_chunks; c0 += STEP) {
            uint mine[STEP];
            LK_UNROLL for (uint k = 0u; k < STEP; k++) {
                mine[k] = results[k];
            }
            fetch(at, first + c0 + STEP, count - 1u);
            LK_UNROLL for (uint k = 0u; k < STEP; k++) {
                vec2 by = by_tile[c0 + k];
                bool used = by != vec2(1.0, 0.0); /* chosen without branches: these took LLVM 20 GB */
                l = mix(l, merged(l, l_tile[c0 + k], by), used);
                o = mix(o, lk_flush(merged(o, lk_flt(mine[k]), by)), used);
            }
        }
        barrier();
    }
    if (d < p.head_dim) {
        o = o * lk_rcp(l);
        out0[row * p.head_dim + d] = store_value(o, p.op);
    }
}
