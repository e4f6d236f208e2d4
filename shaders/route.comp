/* SPDX-License-Identifier: Apache-2.0
 *
 * Route: rule 10's choice and weights, a workgroup a row. The rank of an expert is the number of
 * those that stand before it, so that all are found at once; sums are one invocation's chains.
 */
#version 450
#include "shaders/common.glsl"

const uint THREADS = 128u;
layout(local_size_x = 128) in;
layout(std430, binding = 0) readonly buffer Scores
{
    float scores[];
};
layout(std430, binding = 1) readonly buffer Vector
{
    float vector[]; /* a bias of choice, or factors */
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_route_push p;
};

const int NONE = int(0x80000000u); /* no finite number has this key */
const uint CHOSEN = 0u; /* enum lk_gate */
const uint SOFTMAX = 1u;
const uint SIGMOID = 2u;

shared float gated[LK_VK_MAX_EXPERTS];  /* p of each expert */
shared float choice[LK_VK_MAX_EXPERTS]; /* what experts are compared by */
shared ivec4 keys[LK_VK_MAX_EXPERTS / 4]; /* the same as order keys; NONE: it can't be chosen */
shared float of_group[LK_VK_MAX_EXPERTS];
shared uint used[LK_VK_MAX_EXPERTS]; /* groups that experts are taken from */
shared uint chosen[LK_VK_MAX_EXPERTS_USED];
const uint AT_ONCE = 8u; /* numbers that are read at once */
shared float term[LK_VK_MAX_EXPERTS];
shared int most;
shared float factor;

/* The largest of n numbers of `gated`, to all invocations. */
float find_most(uint n)
{
    if (gl_LocalInvocationIndex == 0u) {
        most = int(0x80000000u);
    }
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < n; i += THREADS) {
        atomicMax(most, lk_order_key(gated[i]));
    }
    barrier();
    return lk_flt(most < 0 ? 0x80000000u - uint(most) : uint(most)); /* of lk_order_key */
}

/* 1 / the sum of n terms, to all invocations; a sum below 2^-50 counts as that. */
float find_factor(uint n)
{
    barrier();
    if (gl_LocalInvocationIndex == 0u) {
        precise float sum = 0.0;
        for (uint i = 0u; i < n; i += AT_ONCE) { /* +0 past the end changes no sum */
            float t[AT_ONCE];
            [[unroll]] for (uint k = 0u; k < AT_ONCE; k++) {
                t[k] = term[i + k];
                t[k] = i + k < n ? t[k] : 0.0;
            }
            [[unroll]] for (uint k = 0u; k < AT_ONCE; k++) {
                sum = sum + t[k];
            }
        }
        sum = lk_bits(sum) < LK_MIN_BITS ? lk_flt(LK_MIN_BITS) : sum;
        factor = lk_rcp(sum);
    }
    barrier();
    return factor;
}

/* Whether i with key x stands before j with key y: the larger one, or the first of equal ones. */
bool before(int x, uint i, int y, uint j)
{
    return x > y || (x == y && i < j);
}

/* Marks the groups that are used; a group's score is the sum of its two best. */
void choose_groups()
{
    uint each = p.n / p.n_groups;
    for (uint g = gl_LocalInvocationIndex; g < p.n_groups; g += THREADS) {
        precise float first = choice[g * each];
        precise float second = 0.0;
        bool two = false;
        for (uint i = g * each + 1u; i < (g + 1u) * each; i++) {
            float s = choice[i];
            bool best = lk_order_key(s) > lk_order_key(first);
            if (best || !two || lk_order_key(s) > lk_order_key(second)) {
                second = best ? first : s;
                two = true;
            }
            first = best ? s : first;
        }
        precise float sum = first + second;
        of_group[g] = two ? sum : first;
    }
    barrier();
    for (uint g = gl_LocalInvocationIndex; g < p.n_groups; g += THREADS) {
        uint rank = 0u;
        for (uint i = 0u; i < p.n_groups; i++) {
            rank += before(lk_order_key(of_group[i]), i, lk_order_key(of_group[g]), g) ? 1u : 0u;
        }
        used[g] = rank < p.n_groups_used ? 1u : 0u;
    }
    barrier();
}

void choose()
{
    uint each = p.n / p.n_groups;
    if (p.n_groups > 1u) {
        choose_groups();
    }
    for (uint e = gl_LocalInvocationIndex; e < LK_VK_MAX_EXPERTS; e += THREADS) {
        bool can = e < p.n && (p.n_groups == 1u || used[e / each] != 0u);
        keys[e / 4u][e % 4u] = can ? lk_order_key(choice[e]) : NONE;
    }
    barrier();
    for (uint e = gl_LocalInvocationIndex; e < p.n; e += THREADS) {
        int own = keys[e / 4u][e % 4u];
        uint rank = 0u;
        for (uint i = 0u; i < p.n; i += 4u * AT_ONCE) {
            ivec4 key[AT_ONCE];
            [[unroll]] for (uint k = 0u; k < AT_ONCE; k++) {
                key[k] = keys[i / 4u + k];
            }
            [[unroll]] for (uint k = 0u; k < 4u * AT_ONCE; k++) {
                rank += before(key[k / 4u][k % 4u], i + k, own, e) ? 1u : 0u;
            }
        }
        if (own != NONE && rank < p.n_used) {
            chosen[rank] = e;
        }
    }
    barrier();
}

void main()
{
    uint row = gl_WorkGroupID.y;
    uint lid = gl_LocalInvocationIndex;
    for (uint i = lid; i < p.n; i += THREADS) {
        gated[i] = scores[row * p.n + i];
    }
    barrier();
    if (p.gate == SOFTMAX) {
        precise float m = find_most(p.n);
        for (uint i = lid; i < p.n; i += THREADS) {
            precise float d = gated[i] - m;
            term[i] = lk_exp(d);
        }
        precise float r = find_factor(p.n);
        for (uint i = lid; i < p.n; i += THREADS) {
            precise float t = term[i] * r;
            gated[i] = t;
        }
    } else if (p.gate == SIGMOID) {
        for (uint i = lid; i < p.n; i += THREADS) {
            gated[i] = lk_sigmoid(gated[i]);
        }
    }
    barrier();
    for (uint i = lid; i < p.n; i += THREADS) {
        precise float s = scores[row * p.n + i];
        if (p.vector == 1u) {
            s = gated[i] + lk_flush(vector[i]);
        }
        choice[i] = s;
    }
    barrier();
    choose();
    precise float w = 0.0;
    if (lid < p.n_used) {
        w = gated[chosen[lid]];
    }
    barrier();
    if (p.gate == CHOSEN) {
        if (lid < p.n_used) {
            gated[lid] = w;
        }
        barrier();
        precise float m = find_most(p.n_used);
        if (lid < p.n_used) {
            precise float d = w - m;
            w = lk_exp(d);
        }
    }
    if (lid < p.n_used) {
        term[lid] = w;
    }
    precise float r = find_factor(p.n_used);
    if (lid < p.n_used) {
        if (p.gate == CHOSEN || p.normalize != 0u) {
            w = w * r;
        }
        if (p.scale != 0x3f800000u) { /* not 1 */
            w = w * lk_flt(p.scale);
        }
        if (p.vector == 2u) {
            w = w * lk_flush(vector[chosen[lid]]);
        }
        out0[row * 2u * p.n_used + lid] = lk_f22(int(chosen[lid]));
        out0[row * 2u * p.n_used + p.n_used + lid] = store_value(w, p.op);
    }
}
