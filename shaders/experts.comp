/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts: the vector of its expert added to each routed row, or the row multiplied by a number of its
 * expert; the rows of a token combined (rule
 * 10), and a residual added.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint KIND = 0;
layout(std430, binding = 0) readonly buffer In0
{
    float in0[];
};
layout(std430, binding = 1) readonly buffer Bias
{
    float bias[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 3) readonly buffer Route
{
    float route[];
};
layout(std430, binding = 4) readonly buffer Residual
{
    float residual[];
};
layout(push_constant) uniform Push
{
    lk_vk_experts_push p;
};

void main()
{
    uint i = gl_GlobalInvocationID.x + gl_WorkGroupID.y * 128u * 32768u;
    if (i >= p.n) {
        return;
    }
    uint row = i / p.width;
    uint col = i - row * p.width;
    precise float y = 0.0;
    if (KIND == LK_VK_EXPERTS_COMBINE || KIND == LK_VK_EXPERTS_ADD) {
        for (uint j = 0u; j < p.n_used; j++) {
            precise float t = route[(row * 2u + 1u) * p.n_used + j];
            t = t * in0[(row * p.n_used + j) * p.width + col];
            y = y + t;
        }
    } else {
        uint token = row / p.n_used;
        int expert = lk_rte(route[token * 2u * p.n_used + (row - token * p.n_used)]);
        if (KIND == LK_VK_EXPERTS_BIAS) {
            y = in0[i] + lk_flush(bias[uint(expert) * p.width + col]);
        } else {
            y = in0[i] * lk_flush(bias[uint(expert)]);
        }
    }
    y = store_value(y, p.op);
    if (KIND == LK_VK_EXPERTS_ADD) {
        y = residual[i] + y;
        y = store_value(y, p.op_next);
    }
    out0[i] = y;
}
