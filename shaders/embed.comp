/* SPDX-License-Identifier: Apache-2.0
 *
 * Embed: row token[t], or row pos[t], of a weight chunk, dequantized: an invocation takes 32 elements.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/weights.glsl"

layout(local_size_x = 64) in;
layout(std430, binding = 1) readonly buffer Batch
{
    uint batch[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_embed_push p;
};

void store_element(uint token, uint e, float value)
{
    precise float y = lk_flush(value);
    if (p.scale != 0x3F800000u) {
        y = y * lk_flt(p.scale);
    }
    if (e < p.cols) {
        out0[token * p.cols + e] = store_value(y, p.op);
    }
}

void main()
{
    Chunk c = w_chunk(p.n_blocks, p.mid, p.tail);
    w_start(c, 64u);
    uint b = gl_GlobalInvocationID.x;
    uint token = gl_WorkGroupID.y;
    uint row = batch[p.tokens + token] - p.row0;
    if (row >= p.n_rows || b * 32u >= p.cols) {
        return;
    }
    uint group = row >> 5;
    uint r = row & 31u;
#ifdef W_FLOAT
    for (uint e = b * 32u; e < min(b * 32u + 32u, p.cols); e += 4u) {
        vec4 y = w_floats(c, group, r, e);
        for (uint i = 0u; i < 4u; i++) {
            store_element(token, e + i, y[i]);
        }
    }
#else
    uint q[8];
#ifdef W_K
    uint s = b & 7u;
    w_sub(c, group, r, b >> 3, s, q);
    uvec4 words = w_scale_words(c, group, r, b >> 3);
    ivec4 groups = w_groups(words, s);
    precise vec2 scale = w_scale(c, group, r, b >> 3, words);
#else
    w_sub(c, group, r, b, q);
    precise vec2 scale = w_scale(c, group, r, b);
#endif
    for (uint i = 0u; i < 32u; i++) {
        int v = bitfieldExtract(int(q[i >> 2]), int(8u * (i & 3u)), 8);
#ifdef W_K
        v *= i < 16u ? groups.x : groups.y;
#endif
#ifdef W_HALVES
        precise float y = (i < 16u ? scale.x : scale.y) * lk_f22(v);
#else
        precise float y = scale.x * lk_f22(v);
#endif
#ifdef W_MINS
        precise float m = scale.y * lk_f22(i < 16u ? groups.z : groups.w);
        y = y - m;
#elif defined(W_OFFSET)
        y = y + scale.y;
#endif
        store_element(token, b * 32u + i, y);
    }
#endif
}
