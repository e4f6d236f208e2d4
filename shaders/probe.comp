/* SPDX-License-Identifier: Apache-2.0
 *
 * Probe: one known-answer set for each row of workgroups: out[item * n + i] = probe_item(item, i).
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/dot.glsl"
#include "shaders/probe_items.h"

layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer Out
{
    uint out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_probe_push p;
};

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i < p.n) {
        out0[i] = probe_item(p.item, i);
    }
}
