/* SPDX-License-Identifier: Apache-2.0
 *
 * Norm: RMS norm (rule 7) of one group of a row by a workgroup: of 128, whose invocation t runs the
 * chains t and t + 128, or of 256 or 512, whose first 256 run one each. With QUANT the result
 * goes to the activation buffer in the same pass; with ADD it is added to a row of another slot, or
 * multiplied by its SiLU; with CENTRE it is a layer norm, of the rest without the mean.
 */
#version 450
#include "shaders/common.glsl"
layout(local_size_x_id = 3) in;
layout(constant_id = 1) const uint QUANT = 0;
layout(constant_id = 2) const uint MODE = 0;      /* LK_VK_NORM_ADD or _GLU, + LK_VK_NORM_CENTRE */
layout(constant_id = 3) const uint THREADS = 128; /* 128, 256 or 512; of CENTRE 128 */
const uint ADD = MODE & 15u;
const bool CENTRE = (MODE & LK_VK_NORM_CENTRE) != 0u;
const uint CHAINS = 256u, RUNNERS = THREADS < CHAINS ? THREADS : CHAINS;

#include "shaders/quant.glsl"

layout(std430, binding = 0) readonly buffer In
{
    float in0[];
};
layout(std430, binding = 0) readonly buffer In4
{
    vec4 in4[];
};
layout(std430, binding = 1) readonly buffer Weight
{
    float weight[];
};
layout(std430, binding = 1) readonly buffer Weight4
{
    vec4 weight4[];
};
layout(std430, binding = 2) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 4) readonly buffer Residual
{
    float residual[];
};
layout(push_constant) uniform Push
{
    lk_vk_norm_push p;
};

shared float sums[RUNNERS];

/* The fold by halves over the chains of all invocations; the first was of t, the second of t + 128, or
 * 0. Every invocation gets the sum. */
float fold(uint t, float first, float second)
{
    precise float s = first + second;
    if (t < RUNNERS) {
        sums[t] = s;
    }
    for (uint h = RUNNERS / 2u; h > 0u; h >>= 1) {
        barrier();
        if (t < h) {
            s = s + sums[t + h];
            sums[t] = s;
        }
    }
    barrier();
    return sums[0];
}

/* The mean of a group. */
float mean_of(uint t, uint base)
{
    precise float s0 = 0.0;
    precise float s1 = 0.0;
    for (uint i = t; i < p.group; i += 256u) {
        s0 = s0 + in0[base + i];
        precise float x = i + 128u < p.group ? in0[base + i + 128u] : 0.0;
        s1 = s1 + x;
    }
    precise float m = fold(t, s0, s1) * lk_flt(p.inv_n);
    barrier(); /* before the chains of squares are folded in the same place */
    return m;
}

void main()
{
    uint t = gl_LocalInvocationIndex;
    uint row = gl_WorkGroupID.y;
    uint base = row * p.width + gl_WorkGroupID.x * p.group;
    uint w_at = gl_WorkGroupID.x * p.apart;
    precise float centre = 0.0;
    if (CENTRE) {
        centre = mean_of(t, base);
    }
    precise float s0 = 0.0;
    precise float s1 = 0.0;
    for (uint i = t; i < p.group && t < RUNNERS; i += 8u * RUNNERS) {
        precise float x[8]; /* beyond the group +0, which changes no sum */
        [[unroll]] for (uint c = 0u; c < 8u; c++) {
            x[c] = 0.0;
            if (i + RUNNERS * c < p.group) {
                x[c] = in0[base + i + RUNNERS * c];
                if (CENTRE) {
                    x[c] = x[c] - centre;
                    x[c] = lk_flush(x[c]);
                }
            }
        }
        [[unroll]] for (uint c = 0u; c < 8u; c += 2u) {
            precise float a = x[c] * x[c];
            precise float b = x[c + 1u] * x[c + 1u];
            s0 = s0 + a;
            if (RUNNERS < CHAINS) {
                s1 = s1 + b;
            } else {
                s0 = s0 + b;
            }
        }
    }
    precise float m = fold(t, s0, s1) * lk_flt(p.inv_n);
    m = m + lk_flt(p.eps);
    precise float r = lk_rsqrt(m);
    for (uint first = 0u; first < p.group; first += PASS) {
        precise vec4 y = vec4(0.0);
        precise vec4 x = vec4(0.0);
        precise vec4 w = vec4(0.0);
        uint e = first + t * 4u;
        if (e < p.group && (p.group & 3u) == 0u) {
            x = in4[(base + e) >> 2];
            w = weight4[(w_at + e) >> 2];
        } else {
            for (uint i = 0u; i < 4u; i++) {
                if (e + i < p.group) {
                    x[i] = in0[base + e + i];
                    w[i] = weight[w_at + e + i];
                }
            }
        }
        for (uint i = 0u; i < 4u; i++) {
            if (e + i < p.group) {
                precise float d = x[i];
                if (CENTRE) {
                    d = d - centre;
                    d = lk_flush(d);
                }
                precise float v = d * r;
                v = v * lk_flush(w[i]);
                v = store_value(v, p.op);
                if (ADD == LK_VK_NORM_ADD) {
                    v = residual[base + e + i] + v;
                    v = store_value(v, p.op_next);
                } else if (ADD == LK_VK_NORM_GLU) {
                    v = lk_silu(residual[base + e + i]) * v;
                    v = store_value(v, p.op_next);
                }
                y[i] = v;
                if (p.store != 0u) {
                    out0[base + e + i] = v;
                }
            }
        }
        if (QUANT != 0u) {
            quantize_pass(row, e, p.width, y, p.x_stride, p.x_d, p.x_s);
        }
    }
}
