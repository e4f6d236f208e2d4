/* SPDX-License-Identifier: Apache-2.0
 *
 * Gather: the rows that want logits.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(std430, binding = 0) readonly buffer In
{
    uint in0[];
};
layout(std430, binding = 1) readonly buffer Batch
{
    uint batch[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    uint out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_gather_push p;
};

void main()
{
    uint i = gl_GlobalInvocationID.x;
    uint row = gl_WorkGroupID.y;
    if (i < p.width) {
        out0[row * p.width + i] = in0[batch[p.outputs + row] * p.width + i];
    }
}
