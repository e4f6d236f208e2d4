/* SPDX-License-Identifier: Apache-2.0
 *
 * Embed: row token[t], or row pos[t], of a weight chunk, dequantized: an invocation takes 4 elements.
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

void store_elements(uint token, uint first, vec4 values)
{
    bool far = false;
    LK_UNROLL for (uint i = 0u; i < 4u; i++) {
        precise float y = lk_flush(values[i]);
        if (p.scale != 0x3F800000u) {
            y = y * lk_flt(p.scale);
        }
        bool inside = first + i < p.cols;
        y = stored(inside ? y : 0.0, far);
        if (inside) {
            out0[token * p.cols + first + i] = y;
        }
    }
    raise(far, p.op);
}

void main()
{
    Chunk c = w_chunk(p.n_blocks, p.mid, p.tail);
    w_start(c, 64u);
    uint first = gl_GlobalInvocationID.x * 4u;
    uint token = gl_WorkGroupID.y;
    uint row = batch[p.tokens + token] - p.row0;
    if (row >= p.n_rows || first >= p.cols) {
        return;
    }
    uint group = row >> 5;
    uint r = row & 31u;
#ifdef W_FLOAT
    store_elements(token, first, w_floats(c, group, r, first));
#else
    uint b = first >> 5, i = (first >> 2) & 7u; /* a block, of it a word */
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
    uint word = q[0];
    LK_UNROLL for (uint k = 1u; k < 8u; k++) {
        word = k == i ? q[k] : word;
    }
    precise vec4 y;
    LK_UNROLL for (int k = 0; k < 4; k++) {
        int v = bitfieldExtract(int(word), 8 * k, 8);
#ifdef W_K
        v *= i < 4u ? groups.x : groups.y;
#endif
#ifdef W_HALVES
        y[k] = (i < 4u ? scale.x : scale.y) * lk_f22(v);
#else
        y[k] = scale.x * lk_f22(v);
#endif
#ifdef W_MINS
        precise float m = scale.y * lk_f22(i < 4u ? groups.z : groups.w);
        y[k] = y[k] - m;
#elif defined(W_OFFSET)
        y[k] = y[k] + scale.y;
#endif
    }
    store_elements(token, first, y);
#endif
}
