/* SPDX-License-Identifier: Apache-2.0
 *
 * Sort: the rows that go to experts in the order of these, and the tiles that they are multiplied
 * in; params.h has the layout. One workgroup. The order of an expert's rows is that in which they
 * came, which no result depends on.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(std430, binding = 0) readonly buffer Route
{
    float route[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    uint out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_sort_push p;
};

shared uint count[LK_VK_MAX_EXPERTS];
shared uint next[LK_VK_MAX_EXPERTS];

uint expert_of(uint row)
{
    uint token = row / p.n_used;
    return uint(lk_rte(route[token * 2u * p.n_used + (row - token * p.n_used)]));
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    for (uint i = lid; i < p.n_experts; i += 128u) {
        count[i] = 0u;
    }
    barrier();
    for (uint r = lid; r < p.n_rows; r += 128u) {
        atomicAdd(count[expert_of(r)], 1u);
    }
    barrier();
    if (lid == 0u) {
        uint first = 0u;
        uint tiles = 0u;
        for (uint i = 0u; i < p.n_experts; i++) {
            next[i] = first;
            for (uint t = 0u; t < count[i]; t += p.cols) {
                uint at = LK_VK_SORT_TILES + 4u * tiles;
                out0[at] = i;
                out0[at + 1u] = first + t;
                out0[at + 2u] = min(count[i] - t, p.cols);
                tiles++;
            }
            first += count[i];
        }
        out0[0] = tiles;
    }
    barrier();
    for (uint r = lid; r < p.n_rows; r += 128u) {
        out0[p.at + atomicAdd(next[expert_of(r)], 1u)] = r;
    }
}
