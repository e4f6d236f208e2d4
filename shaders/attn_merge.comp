/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_merge: folds the chunks that attn left, in rising order (rule 8). An invocation is one
 * element of one query row.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/attention.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 2) const uint FLAGS = 0; /* LK_VK_ATTN_SINK */
layout(std430, binding = 3) readonly buffer Batch
{
    uint batch[];
};
layout(std430, binding = 4) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 5) readonly buffer Part
{
    uint part[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_push p;
};

void main()
{
    uint d = gl_GlobalInvocationID.x;
    uint token = gl_WorkGroupID.y / p.n_head;
    uint row = gl_WorkGroupID.y;
    if (d >= p.head_dim) {
        return;
    }
    /* the chunks that attn counted for this token's tile: tiles of a split run have one token */
    uint pos = batch[p.pos + token];
    uint last = pos + min(p.ahead, batch[p.tiles + token * 4u + 3u] - pos);
    uint low = p.window != 0u && pos + 1u > p.window ? pos + 1u - p.window : 0u;
    uint count = last / LK_KV_BLOCK - low / LK_KV_BLOCK + 1u;
    precise float l = 0.0;
    precise float o = 0.0;
    int n = NO_KEY;
    if ((FLAGS & LK_VK_ATTN_SINK) != 0u) {
        float sink = sinks[row % p.n_head];
        n = lk_sink_exponent(sink);
        l = lk_sink_weight(sink);
    }
    for (uint c = 0u; c < count; c++) {
        uint at = row * p.max_splits + c;
        int nc = int(part[p.part_l + at * 2u]);
        precise float lc = lk_flt(part[p.part_l + at * 2u + 1u]);
        precise float oc = lk_flt(part[at * p.dim + d]);
        if (nc == NO_KEY) {
            continue;
        }
        vec2 by = merge_factors(n, nc);
        l = merged(l, lc, by);
        o = lk_flush(merged(o, oc, by));
        n = max(n, nc);
    }
    o = o * lk_rcp(l);
    out0[row * p.head_dim + d] = store_value(o, p.op);
}
