/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantize: rows of a slot -> activation buffer. A workgroup takes 512 elements of a row.
 */
#version 450
#include "common.glsl"
#include "quant.glsl"

layout(local_size_x = 128) in;
layout(std430, binding = 0) readonly buffer In
{
    float in0[];
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
    for (uint i = 0u; i < 4u; i++) {
        if (first + i < p.width) {
            x[i] = in0[row * p.width + first + i];
        }
    }
    quantize_pass(row, first, p.width, x, p.x_stride, p.x_d, p.x_s);
}
