/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile: matmul for many tokens without matrix units. A workgroup of 128 owns 64 rows x 32 tokens,
 * an invocation 4 x 4 of them, or of floats half as many of each; K goes through shared memory in steps of 32, every output keeps
 * its own chain (rule 3).
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/dot.glsl"
#include "shaders/weights.glsl"

layout(local_size_x = 128) in;
#ifdef W_FLOAT
layout(constant_id = 0) const uint OWN = 4; /* rows and tokens of an invocation */
#else
const uint OWN = 4u;
#endif
layout(constant_id = 2) const uint EPI = 0;

layout(std430, binding = 1) readonly buffer Act1
{
    uint x1[];
};
layout(std430, binding = 1) readonly buffer Act4
{
    uvec4 x4[];
};
const uint BM = 16u * OWN;
const uint BN = 8u * OWN;
#define STORES_OF OWN
#include "shaders/tile_store.glsl"

#ifdef W_FLOAT
shared float a_tile[32 * BM]; /* [element][row] */
shared float b_tile[32 * BN]; /* [element][token] */
#else
shared uint a_tile[8 * BM]; /* [word][row] */
shared uint b_tile[8 * BN];
shared float a_scale[BM], a_offset[BM]; /* of the block of this step, or of its halves */
shared float b_scale[BN], b_sum[BN];
#ifdef W_K
shared int a_group[4 * BM]; /* [sc, sc, mn, mn][row] */
shared int b_pair[BN];
#endif
#endif

/* The rows and tokens of this invocation: strides keep shared reads free of conflicts. */
uint my_row(uint i)
{
    return (gl_LocalInvocationIndex & 15u) + 16u * i;
}
uint my_token(uint j)
{
    return (gl_LocalInvocationIndex >> 4) + 8u * j;
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint group0 = gl_WorkGroupID.x * (BM / 32u);
    uint token0 = gl_WorkGroupID.y * BN;
    uint n_groups = p.n_groups, own_row = 0u; /* of activations that this invocation fetches */
    if (EXPERTS) {
        if (!begin_experts(gl_WorkGroupID.y)) {
            return;
        }
        token0 = 0u;
        n_groups = p.rg1;
        own_row = expert_row(lid & (BN - 1u));
    }
    Chunk c = w_chunk(p.n_blocks, p.mid, p.tail);
    w_start(c, 128u);

    precise float y[OWN * OWN];
    precise float g[OWN * OWN];
#ifdef W_K
    int dots[16], mins[16];
#endif
    for (uint i = 0u; i < OWN * OWN; i++) {
        y[i] = 0.0;
        g[i] = 0.0;
#ifdef W_K
        dots[i] = 0;
        mins[i] = 0;
#endif
    }
    uint steps = (p.k + 31u) / 32u;
    for (uint step = 0u; step < steps; step++) {
        barrier();
        /* an invocation fetches of one row; a row's share the 8 words (32 floats) */
        uint row = lid & (BM - 1u);
        uint part = lid / BM;
        uint group = expert_group + min(group0 + (row >> 5), n_groups - 1u);
        uint r = row & 31u;
#ifdef W_FLOAT
        const uint EACH = 32u * BM / 128u;
        for (uint e = part * EACH; e < part * EACH + EACH; e += 4u) {
            vec4 w = vec4(0.0);
            if (step * 32u + e < p.k) {
                w = w_floats(c, group, r, step * 32u + e);
            }
            for (uint i = 0u; i < 4u; i++) {
                a_tile[(e + i) * BM + row] = w[i];
            }
        }
        for (uint i = lid; i < 8u * BN; i += 128u) {
            uint e = (i / BN) * 4u;
            uint t = i % BN;
            uvec4 u = uvec4(0u);
            if (step * 32u + e < p.k && (EXPERTS || token0 + t < p.n_tokens)) {
                uint at = EXPERTS ? own_row : token0 + t;
                u = x4[(at * p.x_stride + step * 32u + e) >> 2];
            }
            for (uint k = 0u; k < 4u; k++) {
                b_tile[(e + k) * BN + t] = lk_flt(u[k]);
            }
        }
        barrier();
        uint end = min(32u, p.k - step * 32u);
        for (uint e = 0u; e < end; e++) {
            float a[OWN], b[OWN];
            for (uint i = 0u; i < OWN; i++) {
                a[i] = a_tile[e * BM + my_row(i)];
                b[i] = b_tile[e * BN + my_token(i)];
            }
            for (uint i = 0u; i < OWN; i++) {
                for (uint j = 0u; j < OWN; j++) {
#ifdef LK_W_F32
                    precise float t = a[i] * b[j];
                    g[i * OWN + j] = g[i * OWN + j] + t;
#else
                    g[i * OWN + j] = fma(a[i], b[j], g[i * OWN + j]);
#endif
                }
            }
        }
#else
        if (part == 0u) {
            uint q[8];
#ifdef W_K
            w_sub(c, group, r, step >> 3, step & 7u, q);
            uvec4 words = w_scale_words(c, group, r, step >> 3);
            ivec4 sc = w_groups(words, step & 7u);
            for (int i = 0; i < 4; i++) {
                a_group[uint(i) * BM + row] = sc[i];
            }
            if ((step & 7u) == 7u) {
                vec2 scale = w_scale(c, group, r, step >> 3, words);
                a_scale[row] = scale.x;
                a_offset[row] = scale.y;
            }
#else
            w_sub(c, group, r, step, q);
            vec2 scale = w_scale(c, group, r, step);
            a_scale[row] = scale.x;
            a_offset[row] = scale.y;
#endif
            for (uint i = 0u; i < 8u; i++) {
                a_tile[i * BM + row] = q[i];
            }
        } else {
            uint t = lid & 31u;
            uint half_ = (lid >> 5) & 1u;
            uint at = EXPERTS ? own_row : min(token0 + t, p.n_tokens - 1u);
            uvec4 u = x4[((at * p.x_stride + step * 8u) >> 2) + half_];
            for (uint i = 0u; i < 4u; i++) {
                b_tile[(half_ * 4u + i) * BN + t] = u[i];
            }
            if (half_ == 0u) {
#ifdef W_K
                b_pair[t] = int(x1[p.x_s + at * (p.x_stride >> 3) + step]);
                b_scale[t] = lk_flt(x1[p.x_d + at * (p.x_stride >> 6) + (step >> 3)]);
#else
                b_scale[t] = lk_flt(x1[p.x_d + at * (p.x_stride >> 3) + step]);
                b_sum[t] = lk_flt(x1[p.x_s + at * (p.x_stride >> 3) + step]);
#endif
            }
        }
        barrier();
#ifdef W_K
        for (uint h = 0u; h < 2u; h++) {
            int d[16];
            for (int i = 0; i < 16; i++) {
                d[i] = 0;
            }
            for (uint w = h * 4u; w < h * 4u + 4u; w++) {
                uint a[4], b[4];
                for (uint i = 0u; i < 4u; i++) {
                    a[i] = a_tile[w * BM + my_row(i)];
                    b[i] = b_tile[w * BN + my_token(i)];
                }
                for (int i = 0; i < 4; i++) {
                    for (int j = 0; j < 4; j++) {
                        d[i * 4 + j] += dot4(a[i], b[j]);
                    }
                }
            }
            for (int i = 0; i < 4; i++) {
                int sc = a_group[h * BM + my_row(uint(i))];
                int mn = a_group[(2u + h) * BM + my_row(uint(i))];
                for (int j = 0; j < 4; j++) {
                    dots[i * 4 + j] += sc * d[i * 4 + j];
#ifdef W_MINS
                    int sum = bitfieldExtract(b_pair[my_token(uint(j))], int(h) * 16, 16);
                    mins[i * 4 + j] += mn * sum;
#endif
                }
            }
        }
        if ((step & 7u) == 7u) {
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    precise float dx = b_scale[my_token(uint(j))];
                    precise float t = a_scale[my_row(uint(i))] * dx;
                    t = t * lk_f32_of_int(dots[i * 4 + j]);
#ifdef W_MINS
                    precise float m = a_offset[my_row(uint(i))] * dx;
                    m = m * lk_f22(mins[i * 4 + j]); /* 256 products of 127 and 63 at most */
                    t = t - m;
#endif
                    g[i * 4 + j] = t;
                    dots[i * 4 + j] = 0;
                    mins[i * 4 + j] = 0;
                }
            }
        }
#elif defined(W_HALVES)
        precise float v[16];
        for (int i = 0; i < 16; i++) {
            v[i] = 0.0;
        }
        for (uint h = 0u; h < 2u; h++) {
            int d[16];
            for (int i = 0; i < 16; i++) {
                d[i] = 0;
            }
            for (uint w = h * 4u; w < h * 4u + 4u; w++) {
                uint a[4], b[4];
                for (uint i = 0u; i < 4u; i++) {
                    a[i] = a_tile[w * BM + my_row(i)];
                    b[i] = b_tile[w * BN + my_token(i)];
                }
                for (int i = 0; i < 4; i++) {
                    for (int j = 0; j < 4; j++) {
                        d[i * 4 + j] += dot4(a[i], b[j]);
                    }
                }
            }
            for (int i = 0; i < 4; i++) {
                precise float s = h == 0u ? a_scale[my_row(uint(i))] : a_offset[my_row(uint(i))];
                for (int j = 0; j < 4; j++) {
                    v[i * 4 + j] = fma(s, lk_f22(d[i * 4 + j]), v[i * 4 + j]); /* exact */
                }
            }
        }
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < 4; j++) {
                precise float t = v[i * 4 + j] * b_scale[my_token(uint(j))];
                g[i * 4 + j] = g[i * 4 + j] + t;
            }
        }
#else
        int d[16];
        for (int i = 0; i < 16; i++) {
            d[i] = 0;
        }
        for (uint w = 0u; w < 8u; w++) {
            uint a[4], b[4];
            for (uint i = 0u; i < 4u; i++) {
                a[i] = a_tile[w * BM + my_row(i)];
                b[i] = b_tile[w * BN + my_token(i)];
            }
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    d[i * 4 + j] += dot4(a[i], b[j]);
                }
            }
        }
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < 4; j++) {
                precise float t = a_scale[my_row(uint(i))] * b_scale[my_token(uint(j))];
                t = t * lk_f22(d[i * 4 + j]);
#ifdef W_OFFSET
                precise float o = a_offset[my_row(uint(i))] * b_sum[my_token(uint(j))];
                t = t + o;
#endif
                g[i * 4 + j] = g[i * 4 + j] + t;
            }
        }
#endif
#endif
        if ((step & 7u) == 7u || step + 1u == steps) {
            for (uint i = 0u; i < OWN * OWN; i++) {
                y[i] = y[i] + g[i];
                g[i] = 0.0;
            }
        }
    }
    for (uint i = 0u; i < OWN; i++) {
        uint row = my_row(i);
        uint token[OWN];
        float value[OWN];
        for (uint j = 0u; j < OWN; j++) {
            token[j] = token0 + my_token(j);
            value[j] = y[i * OWN + j];
        }
        store(place_of(group0 + (row >> 5), row & 31u), token, value);
    }
}
