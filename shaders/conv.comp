/* SPDX-License-Identifier: Apache-2.0
 *
 * Conv: the short convolution of rule 12, an invocation a column: with OUTPUTS of each token, with
 * KEEP of the state that a sequence has after its tokens. Both at once where there is one token.
 * With BIAS the row of weights behind the taps is added.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint PARTS = 0;
layout(constant_id = 1) const uint SILU = 0;
layout(std430, binding = 0) readonly buffer In
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
layout(std430, binding = 3) buffer State
{
    float state[];
};
layout(std430, binding = 4) readonly buffer Batch
{
    uint batch[];
};
layout(push_constant) uniform Push
{
    lk_vk_conv_push p;
};

/* Column c of the row that tap k of token i of a sequence meets. */
float row_at(uint first, uint slot, uint i, uint k, uint c)
{
    uint row = i + k;
    uint old = p.taps - 1u;
    if (row < old) {
        return state[(slot * old + row) * p.width + c];
    }
    return in0[(first + row - old) * p.width + c];
}

void main()
{
    uint c = gl_GlobalInvocationID.x;
    uint seq = gl_WorkGroupID.y;
    if ((PARTS & LK_VK_CONV_KEEP) == 0u) {
        seq = batch[p.seq + gl_WorkGroupID.y];
    }
    if (c >= p.width || seq >= batch[p.n_seqs]) {
        return;
    }
    uint first = batch[p.seqs + 4u * seq];
    uint n = batch[p.seqs + 4u * seq + 1u];
    uint slot = batch[p.seqs + 4u * seq + 2u];
    if ((PARTS & LK_VK_CONV_OUTPUTS) != 0u) {
        uint token = gl_WorkGroupID.y;
        precise float sum = 0.0;
        for (uint k = 0u; k < p.taps; k++) {
            precise float t = lk_flush(weight[k * p.width + c]);
            t = t * row_at(first, slot, token - first, k, c);
            sum = sum + t;
        }
        if ((PARTS & LK_VK_CONV_BIAS) != 0u) {
            sum = sum + lk_flush(weight[p.taps * p.width + c]);
        }
        sum = store_value(sum, p.op);
        if (SILU != 0u) {
            sum = lk_silu(sum);
            sum = store_value(sum, p.op);
        }
        out0[token * p.width + c] = sum;
    }
    if ((PARTS & LK_VK_CONV_KEEP) != 0u) {
        for (uint r = 0u; r + 1u < p.taps; r++) { /* what is read lies behind what was written */
            state[(slot * (p.taps - 1u) + r) * p.width + c] = row_at(first, slot, n, r, c);
        }
    }
}
