/* SPDX-License-Identifier: Apache-2.0
 *
 * Delta: the gated delta rule (rule 12). A workgroup has 16 columns of the state of a head of a
 * sequence, invocation c * 16 + j chain c of column j, and walks the sequence's tokens in order
 * with its cells of the state in registers. q and k of the next token are on their way meanwhile.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/chains.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint K_DIM = 128;
const uint OWN = K_DIM / LK_VK_DELTA_CHAINS; /* cells of an invocation */
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
layout(push_constant) uniform Push
{
    lk_vk_delta_push p;
};

shared float qk[4u * LK_VK_MAX_DELTA_DIM]; /* of two tokens */
shared float had[128];
shared float result[128];

void fetch(uint token, uint head, uint at)
{
    uint from = token * p.width + head * K_DIM;
    for (uint i = gl_LocalInvocationIndex; i < K_DIM; i += 128u) {
        qk[at + i] = in0[from + i];
        qk[at + K_DIM + i] = in0[from + p.n_k_head * K_DIM + i];
    }
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint seq = gl_WorkGroupID.y;
    if (seq >= batch[p.n_seqs]) {
        return;
    }
    uint parts = (p.v_dim + 15u) / 16u;
    uint head = gl_WorkGroupID.x / parts;
    uint k_head = p.each > 0u ? head / p.each : head % p.n_k_head;
    uint chain = lid / 16u;
    uint j = lid % 16u;
    uint col = gl_WorkGroupID.x % parts * 16u + j;
    bool real = col < p.v_dim;
    uint token = batch[p.seqs + 4u * seq];
    uint end = token + batch[p.seqs + 4u * seq + 1u];
    uint slot = batch[p.seqs + 4u * seq + 2u];
    uint at = ((slot * p.n_head + head) * K_DIM + chain) * p.v_dim + col;
    float s[OWN];
    LK_UNROLL for (uint m = 0u; m < OWN; m++) {
        s[m] = real ? state[at + m * LK_VK_DELTA_CHAINS * p.v_dim] : 0.0;
    }
    uint most = 0u;
    uint now = 0u;
    fetch(token, k_head, now);
    barrier();
    for (; token < end; token++) {
        uint k_at = now + K_DIM + chain;
        uint q_at = now + chain;
        precise float sum = 0.0;
        LK_UNROLL for (uint m = 0u; m < OWN; m++) {
            precise float t = s[m] * qk[k_at + m * LK_VK_DELTA_CHAINS];
            sum = sum + t;
        }
        had[lid] = sum;
        now = 2u * LK_VK_MAX_DELTA_DIM - now;
        if (token + 1u < end) {
            fetch(token + 1u, k_head, now);
        }
        precise float keep = gates[token * 2u * p.n_head + head];
        precise float take = gates[(token * 2u + 1u) * p.n_head + head];
        precise float v = 0.0;
        if (real) {
            v = in0[token * p.width + 2u * p.n_k_head * K_DIM + head * p.v_dim + col];
        }
        barrier();
        precise float delta;
        FOLD(had, j, delta)
        delta = delta * keep;
        delta = v - delta;
        delta = delta * take;
        most = max(most, lk_magnitude(delta));
        delta = lk_flush(delta);
        sum = 0.0;
        LK_UNROLL for (uint m = 0u; m < OWN; m++) {
            precise float x = s[m] * keep;
            precise float t = qk[k_at + m * LK_VK_DELTA_CHAINS] * delta;
            x = x + t;
            most = max(most, lk_magnitude(x));
            x = lk_flush(x);
            s[m] = x;
            t = x * qk[q_at + m * LK_VK_DELTA_CHAINS];
            sum = sum + t;
        }
        result[lid] = sum;
        barrier();
        if (chain == 0u && real) {
            precise float y;
            FOLD(result, j, y)
            y = y * lk_flt(p.scale);
            out0[(token * p.n_head + head) * p.v_dim + col] = store_value(y, p.op);
        }
    }
    if (real) {
        LK_UNROLL for (uint m = 0u; m < OWN; m++) {
            state[at + m * LK_VK_DELTA_CHAINS * p.v_dim] = s[m];
        }
    }
    if (most >= LK_MAX_BITS) {
        atomicOr(flags[p.op], 1u);
    }
}
