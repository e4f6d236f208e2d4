/* SPDX-License-Identifier: Apache-2.0
 *
 * Stream: reads a buffer from end to end. The sum of its words is written for each workgroup, so
 * that no read can be left out.
 */
#version 450
#define LK_GLSL
#include "shaders/params.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(std430, binding = 0) readonly buffer In
{
    uvec4 in4[];
};
layout(std430, binding = 1) writeonly buffer Out
{
    uint sums[];
};
layout(push_constant) uniform Push
{
    lk_vk_stream_push p;
};

shared uint total;

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint step = gl_NumWorkGroups.x * THREADS;
    uvec4 sum[4] = uvec4[4](uvec4(0u), uvec4(0u), uvec4(0u), uvec4(0u));
    if (lid == 0u) {
        total = 0u;
    }
    barrier();
    for (uint i = gl_WorkGroupID.x * THREADS + lid; i < p.n; i += 4u * step) {
        for (uint k = 0u; k < 4u; k++) {
            uint at = i + k * step;
            sum[k] += in4[at < p.n ? at : i];
        }
    }
    uvec4 s = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    atomicAdd(total, s.x + s.y + s.z + s.w);
    barrier();
    if (lid == 0u) {
        sums[gl_WorkGroupID.x] = total;
    }
}
