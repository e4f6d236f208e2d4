/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: rotates the pairs of each head (rule 9); an invocation takes some pairs of a row, or twos
 * of elements that pass through.
 */
#version 450
#include "shaders/common.glsl"

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

/* Pair i of row `row`; pairs that pass through come last. */
void turn(uint i, uint row)
{
    uint per_head = (p.head_dim + 1u) / 2u;
    uint head = i / per_head;
    uint pair = i % per_head;
    if (head >= p.n_head) {
        return;
    }
    uint base = (row * p.n_head + head) * p.head_dim;
    uint turned = p.n_dims / 2u;
    if (pair >= turned) {
        uint e = base + p.n_dims + 2u * (pair - turned);
        out0[e] = in0[e];
        if (e + 1u < base + p.head_dim) {
            out0[e + 1u] = in0[e + 1u];
        }
        return;
    }
    uint i0 = base + (p.interleaved != 0u ? 2u * pair : pair);
    uint i1 = base + (p.interleaved != 0u ? 2u * pair + 1u : pair + turned);
    uint at = p.cs + row * p.cs_stride + 2u * pair;
    precise float c = lk_flt(batch[at]);
    precise float s = lk_flt(batch[at + 1u]);
    precise float x0 = in0[i0];
    precise float x1 = in0[i1];
    precise float a = x0 * c;
    precise float b = x1 * s;
    a = a - b;
    out0[i0] = store_value(a, p.op);
    a = x0 * s;
    b = x1 * c;
    a = a + b;
    out0[i1] = store_value(a, p.op);
}

void main()
{
    uint first = gl_WorkGroupID.x * LK_VK_ROPE_PAIRS + gl_LocalInvocationIndex;
    [[unroll]] for (uint i = 0u; i < LK_VK_ROPE_PAIRS; i += 64u) {
        turn(first + i, gl_WorkGroupID.y);
    }
}
