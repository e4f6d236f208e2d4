/* SPDX-License-Identifier: Apache-2.0
 *
 * Ssm: the selective state update (rule 12). A workgroup has 16 columns of the state of a head of a
 * sequence, invocation c * 16 + j chain c of column j, and walks the sequence's tokens in order
 * with its cells of the state in registers. B and C of the next token are on their way meanwhile;
 * what is shared is there twice, so that a token needs one barrier.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/chains.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint ROWS = 128;
const uint OWN = ROWS / LK_VK_DELTA_CHAINS; /* cells of an invocation */
layout(std430, binding = 0) readonly buffer In
{
    float in0[];
};
layout(std430, binding = 1) readonly buffer Gates
{
    float gates[];
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
layout(std430, binding = 5) readonly buffer Weight
{
    float weight[];
};
layout(push_constant) uniform Push
{
    lk_vk_ssm_push p;
};

shared float bc[4u * LK_VK_MAX_DELTA_DIM]; /* of two tokens */
shared float result[256];

void fetch(uint token, uint group, uint at)
{
    uint from = token * p.width + p.n_head * p.dim + group * ROWS;
    for (uint i = gl_LocalInvocationIndex; i < ROWS; i += 128u) {
        bc[at + i] = in0[from + i];
        bc[at + ROWS + i] = in0[from + p.n_group * ROWS + i];
    }
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint seq = gl_WorkGroupID.y;
    if (seq >= batch[p.n_seqs]) {
        return;
    }
    uint parts = (p.dim + 15u) / 16u;
    uint head = gl_WorkGroupID.x / parts;
    uint group = head / (p.n_head / p.n_group);
    uint chain = lid / 16u;
    uint j = lid % 16u;
    uint col = gl_WorkGroupID.x % parts * 16u + j;
    bool real = col < p.dim;
    uint token = batch[p.seqs + 4u * seq];
    uint end = token + batch[p.seqs + 4u * seq + 1u];
    uint slot = batch[p.seqs + 4u * seq + 2u];
    uint at = ((slot * p.n_head + head) * ROWS + chain) * p.dim + col;
    float s[OWN];
    LK_UNROLL for (uint m = 0u; m < OWN; m++) {
        s[m] = real ? state[at + m * LK_VK_DELTA_CHAINS * p.dim] : 0.0;
    }
    precise float d = lk_flush(weight[head]);
    uint most = 0u;
    uint now = 0u;
    uint half_at = 0u;
    fetch(token, group, now);
    barrier();
    for (; token < end; token++) {
        uint b_at = now + chain;
        uint c_at = now + ROWS + chain;
        precise float keep = gates[token * 2u * p.n_head + head];
        precise float take = gates[(token * 2u + 1u) * p.n_head + head];
        precise float x = 0.0;
        if (real) {
            x = in0[token * p.width + head * p.dim + col];
        }
        precise float u = x * take;
        most = max(most, lk_magnitude(u));
        u = lk_flush(u);
        precise float sum = 0.0;
        LK_UNROLL for (uint m = 0u; m < OWN; m++) {
            precise float v = s[m] * keep;
            precise float t = bc[b_at + m * LK_VK_DELTA_CHAINS] * u;
            v = v + t;
            most = max(most, lk_magnitude(v));
            v = lk_flush(v);
            s[m] = v;
            t = v * bc[c_at + m * LK_VK_DELTA_CHAINS];
            sum = sum + t;
        }
        result[half_at + lid] = sum;
        now = 2u * LK_VK_MAX_DELTA_DIM - now;
        if (token + 1u < end) {
            fetch(token + 1u, group, now);
        }
        barrier();
        if (chain == 0u && real) {
            precise float y;
            FOLD(result, half_at + j, y)
            precise float skip = d * x;
            y = y + skip;
            out0[(token * p.n_head + head) * p.dim + col] = store_value(y, p.op);
        }
        half_at = 128u - half_at;
    }
    if (real) {
        LK_UNROLL for (uint m = 0u; m < OWN; m++) {
            state[at + m * LK_VK_DELTA_CHAINS * p.dim] = s[m];
        }
    }
    if (most >= LK_MAX_BITS) {
        atomicOr(flags[p.op], 1u);
    }
}
