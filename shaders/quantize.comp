/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantize: rows of a slot, or with ACT the GLU of two slots, -> activation buffer. A workgroup
 * takes 512 elements of a row. Rows of blocks are whole vec4s.
 */
#version 450
#include "shaders/common.glsl"
const uint THREADS = 128u;
#include "shaders/quant.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 1) const uint ACT = 0; /* LK_VK_ELT_SILU, GELU, ...; 0: none */

layout(std430, binding = 0) readonly buffer In
{
    float in0[];
};
layout(std430, binding = 0) readonly buffer In4
{
    vec4 in4[];
};
layout(std430, binding = 1) readonly buffer Up4
{
    vec4 up4[];
};
layout(push_constant) uniform Push
{
    lk_vk_quantize_push p;
};

void main()
{
    uint row = gl_WorkGroupID.y;
    uint first = gl_WorkGroupID.x * 512u + gl_LocalInvocationIndex * 4u;
    precise vec4 x = vec4(0.0);
    if (KIND == LK_VK_X_Q32 || KIND == LK_VK_X_Q256) {
        if (first < p.width) {
            uint at = (row * p.width + first) / 4u;
            x = in4[at];
            if (ACT != 0u) {
                precise vec4 up = ACT == LK_VK_ELT_ERF ? vec4(1.0) : up4[at];
                for (uint i = 0u; i < 4u; i++) {
                    precise float y;
                    if (ACT == LK_VK_ELT_CLAMPED) {
                        y = lk_glu_clamped(x[i], up[i]);
                    } else if (ACT == LK_VK_ELT_ERF) {
                        y = lk_gelu_erf(x[i]);
                    } else {
                        y = ACT == LK_VK_ELT_SILU      ? lk_silu(x[i])
                            : ACT == LK_VK_ELT_GELU    ? lk_gelu(x[i])
                            : ACT == LK_VK_ELT_SIGMOID ? lk_sigmoid(x[i])
                            : ACT == LK_VK_ELT_RELU    ? lk_relu(x[i])
                                                       : x[i];
                        y = y * up[i];
                    }
                    x[i] = store_value(y, p.op);
                }
            }
        }
    } else {
        for (uint i = 0u; i < 4u; i++) {
            if (first + i < p.width) {
                x[i] = in0[row * p.width + first + i];
            }
        }
    }
    quantize_pass(row, first, p.width, x, p.x_stride, p.x_d, p.x_s);
}
