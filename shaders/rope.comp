/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: rotates the pairs of each head (rule 9); an invocation takes some pairs of a row, or twos
 * of elements that pass through.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/rope.glsl"

layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer In
{
    float in0[];
};
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
    lk_vk_rope_push p;
};

/* Pair i of row `row`. */
void turn_row(uint i, uint row)
{
    uint per_head = (p.head_dim + 1u) / 2u;
    uint head = i / per_head;
    uint pair = i % per_head;
    if (head >= p.n_head) {
        return;
    }
    uint base = (row * p.n_head + head) * p.head_dim;
    uvec2 e = base + pair_at(pair, p.n_dims, p.interleaved != 0u);
    if (pair >= p.n_dims / 2u) {
        out0[e.x] = in0[e.x];
        if (e.y < base + p.head_dim) {
            out0[e.y] = in0[e.y];
        }
        return;
    }
    uint at = p.cs + row * p.cs_stride + 2u * pair;
    vec2 y = turn(in0[e.x], in0[e.y], lk_flt(batch[at]), lk_flt(batch[at + 1u]), p.op);
    out0[e.x] = y.x;
    out0[e.y] = y.y;
}

void main()
{
    uint first = gl_WorkGroupID.x * LK_VK_ROPE_PAIRS + gl_LocalInvocationIndex;
    [[unroll]] for (uint i = 0u; i < LK_VK_ROPE_PAIRS; i += 64u) {
        turn_row(first + i, gl_WorkGroupID.y);
    }
}
