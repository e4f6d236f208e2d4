/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise: add, bias, GELU, GLU, scale, softcap, parts of groups and groups joined over all
 * elements of a slot; and as many residuals as ADDS says added to the result.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint KIND = 0;
layout(constant_id = 1) const uint ADDS = 0;
layout(std430, binding = 0) readonly buffer In0
{
    float in0[];
};
layout(std430, binding = 1) readonly buffer In1
{
    float in1[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 3) readonly buffer First
{
    float first[];
};
layout(std430, binding = 4) readonly buffer Second
{
    float second[];
};
layout(push_constant) uniform Push
{
    lk_vk_elt_push p;
};

void main()
{
    uint i = gl_GlobalInvocationID.x + gl_WorkGroupID.y * 128u * 32768u;
    if (i >= p.n) {
        return;
    }
    if (KIND == LK_VK_ELT_PICK) {
        out0[i] = in0[i / p.width * p.cap_in + p.cap_out + i % p.width];
        return;
    }
    if (KIND == LK_VK_ELT_JOIN) {
        uint group = i / p.width, c = i - group * p.width;
        uint rest = p.width - p.cap_in; /* columns of in1 */
        if (c < p.cap_in) {
            out0[i] = in0[group * p.cap_in + c];
        } else {
            out0[i] = in1[group * rest + c - p.cap_in];
        }
        return;
    }
    precise float x = in0[i];
    precise float y;
    if (KIND == LK_VK_ELT_ADD) {
        y = x + in1[i];
    } else if (KIND == LK_VK_ELT_BIAS) {
        y = x + lk_flush(in1[i % p.width]);
    } else if (KIND == LK_VK_ELT_SOFTCAP) {
        x = x * lk_flt(p.cap_in);
        y = lk_tanh(x);
        y = y * lk_flt(p.cap_out);
    } else if (KIND == LK_VK_ELT_SCALE) {
        y = x * lk_flt(p.cap_in);
    } else if (KIND == LK_VK_ELT_SILU) {
        y = lk_silu(x) * in1[i];
    } else if (KIND == LK_VK_ELT_GELU) {
        y = lk_gelu(x) * in1[i];
    } else if (KIND == LK_VK_ELT_ERF) {
        y = lk_gelu_erf(x);
    } else if (KIND == LK_VK_ELT_GATE) {
        y = x * lk_flush(lk_sigmoid(in1[i / p.width]));
    } else if (KIND == LK_VK_ELT_SIGMOID) {
        y = lk_sigmoid(x) * in1[i];
    } else if (KIND == LK_VK_ELT_RELU) {
        y = lk_relu(x) * in1[i];
    } else if (KIND == LK_VK_ELT_PRODUCT) {
        y = x * in1[i];
    } else if (KIND == LK_VK_ELT_CLAMPED) {
        y = lk_glu_clamped(x, in1[i]);
    } else {
        y = lk_flt(0x7fc00000u); /* no kind that this kernel has: an error that names the op */
    }
    y = store_value(y, p.op);
    if (ADDS >= 1u) {
        y = first[i] + y;
        y = store_value(y, p.op_add[0]);
    }
    if (ADDS >= 2u) {
        y = second[i] + y;
        y = store_value(y, p.op_add[1]);
    }
    out0[i] = y;
}
