/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile_matrix: matmul of quantized weights for many tokens, by products of int8 matrices 16 x 32
 * times 32 x 16. A workgroup of 256 owns 64 rows x 128 tokens, each of its 8 subgroups of 32 owns
 * 32 x 32 of them. K goes through shared memory in steps of 64. Integers are exact in any order,
 * floats keep the chain of each output (rules 2, 3).
 *
 * LK_MATRIX takes the device's matrix units; without it plain loops stand for them, and everything
 * else stays the same. Weights of 256-blocks are multiplied by their integer scales first: one int8
 * (Q2_K, Q3_K negated) or two, v = 128 h + l with -64 <= l < 64.
 */
#version 450
#ifdef LK_MATRIX
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#endif
#include "common.glsl"
#include "weights.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 2) const uint EPI = 0;

layout(std430, binding = 1) readonly buffer Act1
{
    uint x1[];
};
layout(std430, binding = 1) readonly buffer Act4
{
    uvec4 x4[];
};
#include "tile_store.glsl"

const uint BM = 64u;
const uint BN = 128u;
const uint STRIDE = 5u; /* uvec4s of a row of 64 bytes: one more, so that banks differ */
#if defined(LK_W_Q4_K) || defined(LK_W_Q5_K) || defined(LK_W_Q6_K)
#define LIMBS 2
#else
#define LIMBS 1
#endif

/* Rows of a tile of weights, the same of their upper limbs, tokens. */
const uint A_TILE = 0u;
const uint B_TILE = uint(LIMBS) * BM * STRIDE;
shared uvec4 tile[B_TILE + BN * STRIDE];
shared float row_scale[2u * BM], row_offset[2u * BM];
shared float token_scale[2u * BN], token_sum[2u * BN];
const uint STAGE = BM / 2u + 4u; /* floats of a token */
shared float stage[64u * STAGE];

#ifdef LK_MATRIX
#define INTS coopmat<int32_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define FLOATS coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define LEFT coopmat<int8_t, gl_ScopeSubgroup, 16, 32, gl_MatrixUseA>
#define RIGHT coopmat<int8_t, gl_ScopeSubgroup, 32, 16, gl_MatrixUseB>
#define N_OWN(m) (m).length()
#define LOAD_LEFT(m, at) coopMatLoad(m, tile, at, STRIDE, gl_CooperativeMatrixLayoutRowMajor)
#define LOAD_RIGHT(m, at) coopMatLoad(m, tile, at, STRIDE, gl_CooperativeMatrixLayoutColumnMajor)
/* each row, or each token, has the float of its own */
#define LOAD_BY_ROW(m, array, at) coopMatLoad(m, array, at, 0u, gl_CooperativeMatrixLayoutColumnMajor)
#define LOAD_BY_TOKEN(m, array, at) coopMatLoad(m, array, at, 0u, gl_CooperativeMatrixLayoutRowMajor)
#define STORE_STAGE(m, at) coopMatStore(m, stage, at, STAGE, gl_CooperativeMatrixLayoutColumnMajor)
#define MULTIPLY(a, b, c) coopMatMulAdd(a, b, c)
#define ZERO_INTS INTS(0)
#define ZERO_FLOATS FLOATS(0.0)
#else
/* Element e of lane l is row l / 2, token 8 (l & 1) + e of its 16 x 16. */
struct Ints {
    int v[8];
};
struct Floats {
    float v[8];
};
#define INTS Ints
#define FLOATS Floats
#define LEFT uint
#define RIGHT uint
#define N_OWN(m) 8
#define ZERO_INTS Ints(int[8](0, 0, 0, 0, 0, 0, 0, 0))
#define ZERO_FLOATS Floats(float[8](0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
uint own_row()
{
    return (gl_LocalInvocationIndex & 31u) >> 1;
}
uint own_token(uint e)
{
    return (gl_LocalInvocationIndex & 1u) * 8u + e;
}
#define LOAD_LEFT(m, at) m = at
#define LOAD_RIGHT(m, at) m = at
#define LOAD_BY_ROW(m, array, at)                                                                  \
    for (uint e_ = 0u; e_ < 8u; e_++) {                                                            \
        m.v[e_] = array[at + own_row()];                                                           \
    }
#define LOAD_BY_TOKEN(m, array, at)                                                                \
    for (uint e_ = 0u; e_ < 8u; e_++) {                                                            \
        m.v[e_] = array[at + own_token(e_)];                                                       \
    }
#define STORE_STAGE(m, at)                                                                         \
    for (uint e_ = 0u; e_ < 8u; e_++) {                                                            \
        stage[at + own_token(e_) * STAGE + own_row()] = m.v[e_];                                   \
    }
Ints MULTIPLY(uint a, uint b, Ints c)
{
    for (uint e = 0u; e < 8u; e++) {
        for (uint i = 0u; i < 2u; i++) {
            for (uint k = 0u; k < 4u; k++) {
                int x = int(tile[a + own_row() * STRIDE + i][k]);
                int y = int(tile[b + own_token(e) * STRIDE + i][k]);
                c.v[e] += bitfieldExtract(x, 0, 8) * bitfieldExtract(y, 0, 8) +
                          bitfieldExtract(x, 8, 8) * bitfieldExtract(y, 8, 8) +
                          bitfieldExtract(x, 16, 8) * bitfieldExtract(y, 16, 8) +
                          (x >> 24) * (y >> 24);
            }
        }
    }
    return c;
}
#endif
#ifdef LK_MATRIX
#define OWN(m, e) m[e]
#else
#define OWN(m, e) m.v[e]
#endif

#ifdef W_K
/* Four weights of a word, 0..63 or signed, times an integer scale: bytes of the low and high limb. */
void scaled(uint q, int sc, out uint low, out uint high)
{
#if defined(LK_W_Q6_K)
    ivec4 v = sc * ivec4(bitfieldExtract(int(q), 0, 8), bitfieldExtract(int(q), 8, 8),
                         bitfieldExtract(int(q), 16, 8), int(q) >> 24);
    uvec4 w = uvec4(v + 64);
    low = (w.x & 127u) | (w.y & 127u) << 8 | (w.z & 127u) << 16 | (w.w & 127u) << 24;
    w = uvec4(ivec4(w) >> 7) & 255u;
    high = w.x | w.y << 8 | w.z << 16 | w.w << 24;
    low = centre(low, 0x40404040u);
#elif LIMBS == 2
    uint even = (q & 0x00ff00ffu) * uint(sc) + 0x00400040u;
    uint odd = ((q >> 8) & 0x00ff00ffu) * uint(sc) + 0x00400040u;
    low = centre((even & 0x007f007fu) | (odd & 0x007f007fu) << 8, 0x40404040u);
    high = ((even >> 7) & 0x00ff00ffu) | ((odd >> 7) & 0x00ff00ffu) << 8;
#elif defined(LK_W_Q3_K)
    ivec4 v = -sc * ivec4(bitfieldExtract(int(q), 0, 8), bitfieldExtract(int(q), 8, 8),
                          bitfieldExtract(int(q), 16, 8), int(q) >> 24);
    uvec4 w = uvec4(v) & 255u;
    low = w.x | w.y << 8 | w.z << 16 | w.w << 24;
    high = 0u;
#else
    low = q * uint(sc);
    high = 0u;
#endif
}
#endif

/* Step `step` of the weights, row `row`, its half `part`: 32 elements. */
void load_weights(Chunk c, uint step, uint row, uint part, uint group, uint r)
{
    uint b = step * 2u + part;
    uint at = A_TILE + row * STRIDE + part * 2u;
    uint q[8];
#ifdef W_K
    uint s = b & 7u;
    w_sub(c, group, r, b >> 3, s, q);
    uvec4 words = w_scale_words(c, group, r, b >> 3);
    ivec4 sc = w_groups(words, s);
    uint high[8];
    for (int i = 0; i < 8; i++) {
        uint low;
        scaled(q[i], i < 4 ? sc.x : sc.y, low, high[i]);
        q[i] = low;
    }
    if (LIMBS == 2) {
        tile[at + BM * STRIDE] = uvec4(high[0], high[1], high[2], high[3]);
        tile[at + BM * STRIDE + 1u] = uvec4(high[4], high[5], high[6], high[7]);
    }
#else
    if (b >= c.n_blocks) {
        return;
    }
    w_sub(c, group, r, b, q);
    vec2 scale = w_scale(c, group, r, b);
    row_scale[part * BM + row] = scale.x;
    row_offset[part * BM + row] = scale.y;
#endif
    tile[at] = uvec4(q[0], q[1], q[2], q[3]);
    tile[at + 1u] = uvec4(q[4], q[5], q[6], q[7]);
}

/* The activations of the step: 128 invocations take 64 bytes of a token each. */
void load_tokens(uint step, uint t, uint token)
{
    uint first = (token * p.x_stride >> 2) + step * 4u;
    for (uint i = 0u; i < 4u; i++) {
        tile[B_TILE + t * STRIDE + i] = x4[first + i];
    }
#ifdef W_32
    for (uint s = 0u; s < 2u; s++) {
        uint at = token * (p.x_stride >> 3) + step * 2u + s;
        token_scale[s * BN + t] = lk_flt(x1[p.x_d + at]);
        token_sum[s * BN + t] = lk_flt(x1[p.x_s + at]);
    }
#endif
}

#ifdef W_K
/* What the end of a super-block needs: d and dx; with mins, these as 16 bytes of a row, 16 zeros
 * after them, and the sums of 16 activations in two limbs, where the tiles were. */
void load_ends(Chunk c, uint block, uint row, uint group, uint r, uint t, uint token)
{
    if (gl_LocalInvocationIndex < BM) {
        uvec4 words = w_scale_words(c, group, r, block);
        vec2 scale = w_scale(c, group, r, block, words);
        row_scale[row] = scale.x;
        row_offset[row] = scale.y;
#ifdef W_MINS
        uvec4 mins = uvec4(0u);
        for (uint s = 0u; s < 8u; s++) {
            ivec4 sc = w_groups(words, s);
            mins[s >> 1] |= uint(sc.z | sc.w << 8) << (16u * (s & 1u));
        }
        tile[A_TILE + row * STRIDE] = mins;
        tile[A_TILE + row * STRIDE + 1u] = uvec4(0u);
#endif
    } else if (gl_LocalInvocationIndex >= 128u) {
        token_scale[t] = lk_flt(x1[p.x_d + token * (p.x_stride >> 6) + block]);
#ifdef W_MINS
        uvec4 low = uvec4(0u), high = uvec4(0u);
        for (uint s = 0u; s < 8u; s++) {
            uint pair = x1[p.x_s + token * (p.x_stride >> 3) + block * 8u + s];
            for (uint i = 0u; i < 2u; i++) {
                int sum = bitfieldExtract(int(pair), int(16u * i), 16) + 64;
                uint shift = 16u * (s & 1u) + 8u * i;
                low[s >> 1] |= (uint((sum & 127) - 64) & 255u) << shift;
                high[s >> 1] |= (uint(sum >> 7) & 255u) << shift;
            }
        }
        uint at = B_TILE + t * STRIDE;
        tile[at] = low;
        tile[at + 1u] = uvec4(0u);
        tile[at + 2u] = high;
        tile[at + 3u] = uvec4(0u);
#endif
    }
}
#endif

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint group0 = gl_WorkGroupID.x * 2u;
    uint token0 = gl_WorkGroupID.y * BN;
    Chunk c = Chunk(p.n_blocks, p.mid, p.tail);
    uint row = lid & 63u, part = (lid >> 6) & 1u;
    uint group = min(group0 + (row >> 5), p.n_groups - 1u), r = row & 31u;
    uint t = lid & 127u, token = min(token0 + t, p.n_tokens - 1u);
    uint row0 = ((lid >> 5) & 1u) * 32u, col0 = (lid >> 6) * 32u; /* of this subgroup */

    FLOATS y[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        y[i] = ZERO_FLOATS;
    }
#ifdef W_K
    INTS low[4], high[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        low[i] = ZERO_INTS;
        high[i] = ZERO_INTS;
    }
#else
    FLOATS g[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        g[i] = ZERO_FLOATS;
    }
#endif
    uint steps = (p.k + 63u) >> 6;
    for (uint step = 0u; step < steps; step++) {
        barrier();
        if (lid < 128u) {
            load_weights(c, step, row, part, group, r);
        } else {
            load_tokens(step, t, token);
        }
        barrier();
        [[unroll]] for (uint s = 0u; s < 2u; s++) {
#ifdef W_32
            if (step * 2u + s >= p.n_blocks) {
                break;
            }
#endif
            [[unroll]] for (uint j = 0u; j < 2u; j++) {
                RIGHT x;
                LOAD_RIGHT(x, B_TILE + (col0 + 16u * j) * STRIDE + 2u * s);
#ifdef W_32
                FLOATS dx, sx;
                LOAD_BY_TOKEN(dx, token_scale, s * BN + col0 + 16u * j);
#ifdef W_OFFSET
                LOAD_BY_TOKEN(sx, token_sum, s * BN + col0 + 16u * j);
#endif
#endif
                [[unroll]] for (uint i = 0u; i < 2u; i++) {
                    uint n = 2u * i + j;
                    uint at = A_TILE + (row0 + 16u * i) * STRIDE + 2u * s;
                    LEFT w;
                    LOAD_LEFT(w, at);
#ifdef W_K
                    low[n] = MULTIPLY(w, x, low[n]);
                    if (LIMBS == 2) {
                        LOAD_LEFT(w, at + BM * STRIDE);
                        high[n] = MULTIPLY(w, x, high[n]);
                    }
#else
                    FLOATS dw, mw;
                    LOAD_BY_ROW(dw, row_scale, s * BM + row0 + 16u * i);
#ifdef W_OFFSET
                    LOAD_BY_ROW(mw, row_offset, s * BM + row0 + 16u * i);
#endif
                    INTS z = MULTIPLY(w, x, ZERO_INTS);
                    [[unroll]] for (int e = 0; e < N_OWN(z); e++) {
                        precise float v = OWN(dw, e) * OWN(dx, e);
                        v = v * lk_f22(OWN(z, e));
#ifdef W_OFFSET
                        precise float o = OWN(mw, e) * OWN(sx, e);
                        v = v + o;
#endif
                        precise float sum = OWN(g[n], e) + v;
                        OWN(g[n], e) = sum;
                    }
#endif
                }
            }
        }
#ifdef W_K
        if ((step & 3u) == 3u) {
            barrier();
            load_ends(c, step >> 2, row, group, r, t, token);
            barrier();
            [[unroll]] for (uint n = 0u; n < 4u; n++) {
                uint at_row = row0 + 16u * (n >> 1), at_token = col0 + 16u * (n & 1u);
                FLOATS dw, dx;
                LOAD_BY_ROW(dw, row_scale, at_row);
                LOAD_BY_TOKEN(dx, token_scale, at_token);
#ifdef W_MINS
                FLOATS mw;
                LOAD_BY_ROW(mw, row_offset, at_row);
                LEFT w;
                RIGHT x;
                LOAD_LEFT(w, A_TILE + at_row * STRIDE);
                LOAD_RIGHT(x, B_TILE + at_token * STRIDE);
                INTS z = MULTIPLY(w, x, ZERO_INTS);
                LOAD_RIGHT(x, B_TILE + at_token * STRIDE + 2u);
                INTS zh = MULTIPLY(w, x, ZERO_INTS);
#endif
                [[unroll]] for (int e = 0; e < N_OWN(dw); e++) {
                    int dots = OWN(low[n], e);
                    if (LIMBS == 2) {
                        dots += 128 * OWN(high[n], e);
                    }
#ifdef LK_W_Q3_K
                    dots = -dots;
#endif
                    precise float v = OWN(dw, e) * OWN(dx, e);
                    v = v * lk_f32_of_int(dots);
#ifdef W_MINS
                    precise float m = OWN(mw, e) * OWN(dx, e);
                    m = m * lk_f32_of_int(OWN(z, e) + 128 * OWN(zh, e));
                    v = v - m;
#endif
                    precise float sum = OWN(y[n], e) + v;
                    OWN(y[n], e) = sum;
                }
                low[n] = ZERO_INTS;
                high[n] = ZERO_INTS;
            }
        }
#else
        if ((step & 3u) == 3u || step + 1u == steps) {
            [[unroll]] for (uint n = 0u; n < 4u; n++) {
                [[unroll]] for (int e = 0; e < N_OWN(y[n]); e++) {
                    precise float sum = OWN(y[n], e) + OWN(g[n], e);
                    OWN(y[n], e) = sum;
                }
                g[n] = ZERO_FLOATS;
            }
        }
#endif
    }
    /* one matrix of each subgroup at a time: rows lie side by side when they are stored */
    [[unroll]] for (uint n = 0u; n < 4u; n++) {
        uint j = n & 1u;
        barrier();
        STORE_STAGE(y[n], (col0 >> 1) * STAGE + (row0 >> 1));
        barrier();
        uint r16 = (lid & 15u) + 16u * (n >> 1);
        for (uint t64 = lid >> 5; t64 < 64u; t64 += 8u) {
            store_row(group0 + ((lid >> 4) & 1u), r16,
                      token0 + (t64 >> 4) * 32u + 16u * j + (t64 & 15u),
                      stage[t64 * STAGE + (lid & 31u)]);
        }
    }
}
