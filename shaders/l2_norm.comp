/* SPDX-License-Identifier: Apache-2.0
 *
 * L2_norm: a group of a row divided by its length (rule 12) by a workgroup of 128: invocation t runs
 * the chains t and t + 128. Workgroups beyond the groups copy what is behind them.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(std430, binding = 0) readonly buffer In
{
    float in0[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_l2_push p;
};

shared float sums[128];

void main()
{
    uint t = gl_LocalInvocationIndex;
    uint base = gl_WorkGroupID.y * p.width;
    if (gl_WorkGroupID.x >= p.n_groups) {
        uint from = p.n_groups * p.group + (gl_WorkGroupID.x - p.n_groups) * LK_VK_COPIED;
        for (uint i = from + t; i < from + LK_VK_COPIED && i < p.width; i += 128u) {
            out0[base + i] = in0[base + i];
        }
        return;
    }
    base += gl_WorkGroupID.x * p.group;
    precise float s0 = 0.0;
    precise float s1 = 0.0;
    for (uint i = t; i < p.group; i += 256u) {
        precise float x = in0[base + i];
        x = x * x;
        s0 = s0 + x;
        if (i + 128u < p.group) {
            x = in0[base + i + 128u];
            x = x * x;
            s1 = s1 + x;
        }
    }
    precise float s = s0 + s1;
    sums[t] = s;
    for (uint h = 64u; h > 0u; h >>= 1) {
        barrier();
        if (t < h) {
            s = s + sums[t + h];
            sums[t] = s;
        }
    }
    barrier();
    s = sums[0] + lk_flt(p.eps);
    precise float r = lk_rsqrt(s);
    for (uint i = t; i < p.group; i += 128u) {
        precise float y = in0[base + i] * r;
        out0[base + i] = store_value(y, p.op);
    }
}
