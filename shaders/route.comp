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

const uint CHOSEN = 0u; /* enum lk_gate */
const uint SOFTMAX = 1u;
const uint SIGMOID = 2u;

shared float gated[LK_VK_MAX_EXPERTS];  /* p of each expert */
shared float choice[LK_VK_MAX_EXPERTS]; /* what experts are compared by */
shared float of_group[LK_VK_MAX_EXPERTS];
shared uint used[LK_VK_MAX_EXPERTS]; /* groups that experts are taken from */
shared uint chosen[LK_VK_MAX_EXPERTS_USED];
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
        for (uint i = 0u; i < n; i++) {
            sum = sum + term[i];
        }
        sum = lk_bits(sum) < LK_MIN_BITS ? lk_flt(LK_MIN_BITS) : sum;
        factor = lk_rcp(sum);
    }
    barrier();
    return factor;
}

/* Whether a stands before b: the larger one, or the first of equal ones. */
bool before(float a, uint i, float b, uint j)
{
    int x = lk_order_key(a);
    int y = lk_order_key(b);
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
            rank += before(of_group[i], i, of_group[g], g) ? 1u : 0u;
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
    for (uint e = gl_LocalInvocationIndex; e < p.n; e += THREADS) {
        if (p.n_groups > 1u && used[e / each] == 0u) {
            continue;
        }
        uint rank = 0u;
        for (uint i = 0u; i < p.n; i++) {
            if (p.n_groups == 1u || used[i / each] != 0u) {
                rank += before(choice[i], i, choice[e], e) ? 1u : 0u;
            }
        }
        if (rank < p.n_used) {
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
