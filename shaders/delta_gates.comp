/* SPDX-License-Identifier: Apache-2.0
 *
 * Delta_gates: the two gates of each head's state (rule 12), of two rows or, with ALONE, of one; with
 * BIAS one is added in front.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint BIAS = 0;
layout(constant_id = 1) const uint ALONE = 0;
layout(std430, binding = 0) readonly buffer In0
{
    float in0[];
};
layout(std430, binding = 1) readonly buffer Weight
{
    float weight[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 3) readonly buffer In1
{
    float in1[];
};
layout(std430, binding = 4) readonly buffer Bias
{
    float bias[];
};
layout(push_constant) uniform Push
{
    lk_vk_gates_push p;
};

void main()
{
    uint row = gl_WorkGroupID.y;
    uint h = gl_GlobalInvocationID.x;
    if (h >= p.n_head) {
        return;
    }
    precise float a = in0[row * p.n_head + h];
    if (BIAS != 0u) {
        a = a + lk_flush(bias[h]);
        a = store_value(a, p.op_bias);
    }
    precise float softplus = lk_flush(lk_softplus(a));
    precise float g = softplus * lk_flush(weight[h]);
    g = store_value(g, p.op);
    precise float y = lk_exp(g);
    out0[row * 2u * p.n_head + h] = store_value(y, p.op);
    y = softplus;
    if (ALONE == 0u) {
        y = lk_sigmoid(in1[row * p.n_head + h]);
    }
    out0[(row * 2u + 1u) * p.n_head + h] = store_value(y, p.op);
}
