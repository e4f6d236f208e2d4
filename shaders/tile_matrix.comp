/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile_matrix: matmul of quantized weights for many tokens, by products of int8 matrices 16 x 32
 * times 32 x 16. A workgroup owns BM rows x BN tokens, a subgroup 32 rows of them and its share of
 * the tokens. K goes through shared memory in steps of 64: while the matrices of one step are
 * multiplied, the words of the next (of 256-blocks, of the one after it) are on their way to
 * registers. Where there are registers for it (AHEAD), matrices are loaded half a step before they
 * are multiplied, and the barrier of a step stands between its halves, so that nobody waits behind
 * it for shared memory. Integers are exact in any order, floats keep the chain of each output (rules
 * 2, 3). What multiplies matrices is in matrix.glsl: each row of a left matrix, and each column of a
 * right one, is a row of the tile.
 *
 * For few tokens (SPLIT) a workgroup has TEAMS subgroups with a tile each, of the same 16 rows and BN
 * tokens: they go through different panels of the rows, and the sums of a round of panels are
 * added in order.
 *
 * The integer scales of 256-blocks: those of 32 elements multiply the product of a step
 * (W_STEP_SCALE); those of 16 multiply the weights first, which then are one int8 (Q2_K, Q3_K
 * negated) or two, v = 128 h + l with 0 <= l < 128 (LIMBS). Halves of a
 * block of 32 with a scale each (W_HALVES) are two matrices, each with zeros in place of the other half:
 * a row has zeros between its halves, so that both are 32 elements of it.
 */
#version 450
#ifdef LK_MATRIX
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#endif
#include "shaders/common.glsl"
#define W_POINTS_IN_PLACE /* tiles take all shared memory, and unpack weights once for many tokens */
#include "shaders/weights.glsl"

layout(local_size_x_id = 3) in;
layout(constant_id = 0) const uint BM = 64; /* 64 or 128; 16 where panels are split */
layout(constant_id = 1) const uint BN = 64; /* 64 or 128, at least BM; then 16 */
layout(constant_id = 2) const uint EPI = 0;
layout(constant_id = 3) const uint THREADS = 128; /* 2 BM of each team */
const uint TEAM = 2u * BM;
const uint TEAMS = THREADS / TEAM;
const bool SPLIT = TEAMS > 1u;

layout(std430, binding = 1) readonly buffer Act1
{
    uint x1[];
};
layout(std430, binding = 1) readonly buffer Act4
{
    uvec4 x4[];
};
#define STORES_OF (SPLIT ? 16u * (GLU ? BM / 2u : BM) / THREADS : 8u)
#define STORE_GLU
#include "shaders/tile_store.glsl"

#if defined(LK_W_Q6_K) || defined(LK_W_IQ2_XS) || defined(LK_W_IQ2_S) || defined(LK_W_IQ1_M)
#define LIMBS 2
#else
#define LIMBS 1
#endif
#if defined(LK_W_Q4_K) || defined(LK_W_Q5_K) || defined(LK_W_IQ4_XS) || defined(LK_W_IQ1_S) || \
    defined(LK_W_IQ2_XXS) || defined(LK_W_IQ3_XXS) || defined(LK_W_IQ3_S) || defined(W_TRITS)
#define W_STEP_SCALE
#endif
/* Two limbs leave no registers for it, and of 32-blocks nobody has measured it. */
#if defined(W_K) && LIMBS == 1
const bool AHEAD = !SPLIT;
#else
const bool AHEAD = false;
#endif
const uint N_STEPS = 4u; /* of a super-block */
/* Whether the end of a tile is a loop whose bound no compiler knows: code that runs once takes as long
 * as its fetching. A GLU, of which there are many tiles, and two limbs are slower that way, and of
 * 32-blocks nobody has measured it. */
const bool ROLLED = AHEAD && !GLU;
/* Of a GLU the second half of a tile's rows are those of up, beside the same of gate. */
const uint OUT_ROWS = GLU ? BM / 2u : BM; /* of results */
const uint OUT_PARTS = THREADS / OUT_ROWS;

const uint SUBGROUPS_M = SPLIT ? 1u : BM / 32u; /* side by side along the rows */
const uint SUBGROUPS_N = SPLIT ? 1u : 2u;       /* and along the tokens */
const uint TM = SPLIT ? 1u : 2u; /* 16 x 16 matrices of a subgroup: TM of rows, TN of tokens */
const uint TN = BN / 16u / SUBGROUPS_N;
const uint FETCH = 4u * BN / TEAM; /* uvec4s of tokens that an invocation fetches a step */
const uint HALVES = 2u * BN / TEAM; /* and halves of a token's block, with scales or sums */
const uint STRIDE = 5u; /* uvec4s of a row of 64 bytes: one more, so that banks differ */
#ifdef W_HALVES
const uint W_STRIDE = 7u; /* of a row of weights: two blocks of 3 */
const uint W_BLOCK = 3u;
#else
const uint W_STRIDE = STRIDE;
const uint W_BLOCK = 2u;
#endif
const uint B_TILE = uint(LIMBS) * BM * W_STRIDE; /* after the weights, and their upper limbs */
const uint TILE = B_TILE + BN * STRIDE; /* of a team */
const uint STAGE = BM / 4u + 1u; /* uvec4s of a token of results */

/* Two of each: one is read while the other is filled. Results leave through the tiles. */
#ifdef W_MINS
/* The mins of a super-block, and 16 zeros. Sums of activations lie where rows of tokens are padded:
 * upper limbs in the first tile, lower ones in the second; what stands behind them, and may be
 * under way, meets the zeros. */
const uint MINS = 2u * TILE, HIGH = B_TILE + 4u, LOW = TILE + HIGH;
const uint TILES = MINS + 2u * BM;
#else
const uint TILES = 2u * TILE;
#endif
/* Behind the tiles of all teams what each makes of a panel, where panels are split. */
const uint PANELS = TEAMS * TILES;
shared uvec4 tile[PANELS + (SPLIT ? TEAMS * BN * STAGE : 0u)];
/* Scales of a row or a token, in a team: of both halves of both tiles, or of a super-block. */
const uint IN_STEPS = 4u;
#ifdef W_K
const uint SCALED = 1u;
#ifdef W_STEP_SCALE
shared int step_scale[TEAMS * IN_STEPS * BM];
#endif
#else
const uint SCALED = IN_STEPS;
#ifdef W_OFFSET
shared float token_sum[TEAMS * SCALED * BN];
#endif
#endif
shared float row_scale[TEAMS * SCALED * BM], token_scale[TEAMS * SCALED * BN];
#if defined(W_K) || defined(W_OFFSET) || defined(W_HALVES)
shared float row_offset[TEAMS * SCALED * BM];
#endif

/* Which team the invocation is of, and which of its invocations. */
uint team()
{
    return SPLIT ? gl_LocalInvocationIndex / TEAM : 0u;
}
uint in_team()
{
    return SPLIT ? gl_LocalInvocationIndex % TEAM : gl_LocalInvocationIndex;
}

/* A barrier of a team, which is a subgroup where panels are split. */
void team_barrier()
{
#ifdef LK_MATRIX
    if (SPLIT) {
        subgroupMemoryBarrierShared();
        subgroupBarrier();
        return;
    }
#endif
    barrier();
}

#include "shaders/matrix.glsl"

#if defined(W_K) && !defined(W_STEP_SCALE)
/* Weights 0 and 2 of a word of four signed bytes, and 1 and 3, times an integer scale, plus `more`: what
 * each becomes must be at least 0 and below 2^16, so that two of them fit into a product of words. */
void products(uint q, int sc, int more, out uint even, out uint odd)
{
    uint u = q ^ 0x80808080u; /* each plus 128 */
    uint add = uint(more - 128 * sc) * 0x00010001u;
    even = (u & 0x00ff00ffu) * uint(sc) + add;
    odd = ((u >> 8) & 0x00ff00ffu) * uint(sc) + add;
}

/* Four weights of a word times an integer scale: bytes of the low and the high limb. */
void scaled(uint q, int sc, out uint low, out uint high)
{
    uint even, odd;
    high = 0u;
#if LIMBS == 2
    products(q, sc, 64 * 128, even, odd); /* below 64 * 128 in magnitude */
    low = (even & 0x007f007fu) | ((odd << 8) & 0x7f007f00u);
    high = centre(((even >> 7) & 0x007f007fu) | ((odd << 1) & 0x7f007f00u), 0x40404040u);
#elif defined(LK_W_Q3_K)
    products(q, -sc, 256, even, odd);
    low = (even & 0x00ff00ffu) | ((odd << 8) & 0xff00ff00u);
#else
    low = q * uint(sc);
#endif
}
#endif

/* What an invocation holds of the step under way: 32 elements of a row of weights (a block, or of each
 * of two sub-blocks of a super-block the 16 that lie in the same words), 16 bytes of FETCH tokens, and
 * what scales them. */
uvec4 x_words[FETCH];
#ifdef W_K
#ifdef LK_W_Q6_K
uvec4 w_lows[2];
#else
uvec4 w_lows[1];
#endif
uvec4 w_highs;
uvec4 words; /* of the super-block's scales */
uint mid;
float dx;
#ifdef W_MINS
uvec4 x_sums[HALVES];
#endif
#else
WSub sub;
uint scale_word;
float dx[HALVES], sx[HALVES];
#endif

/* Tokens of which the invocation fetches 16 bytes, a half of a block, and what is one of a block. The
 * first is not its number by fours: words of eight invocations lie in different banks where their two
 * tokens are four apart. */
uint quad_token(uint i)
{
    uint quad = in_team() >> 2;
    return (quad & ~7u) + (quad & 1u) * 4u + ((quad >> 1) & 3u) + TEAM / 4u * i;
}
uint half_token(uint i)
{
    return (in_team() + TEAM * i) >> 1;
}
uint one_token()
{
    return in_team() & (BN - 1u);
}

/* The first of these 16 bytes, and the rows of activations that the others are of: made once, since
 * compilers make them anew at every step otherwise. */
uint quad_at[FETCH], half_row[HALVES], one_row;

uint row_at(uint token, uint token0)
{
    return EXPERTS ? expert_row(token) : min(token0 + token, p.n_tokens - 1u);
}

/* Sub-step q (a constant 0 for 32-blocks: b counts steps) of super-block b, to registers. */
void fetch(Chunk c, uint b, uint q, uint group, uint r, uint part)
{
    uint lid = in_team();
#ifdef W_K
    if (q == 0u) {
        words = w_scale_words(c, group, r, b);
    }
    if (q == N_STEPS - 1u) {
        mid = w_scale_mid(c, group, r, b);
        dx = lk_flt(x1[p.x_d + one_row * (p.x_stride >> 6) + b]);
#ifdef W_MINS
        STEP_UNROLL for (uint i = 0u; i < BOUND(HALVES); i++) {
            x_sums[i] = x4[((p.x_s + half_row[i] * (p.x_stride >> 3) + b * 8u) >> 2) + (lid & 1u)];
        }
#endif
    }
    STEP_UNROLL for (uint i = 0u; i < BOUND(w_lows.length()); i++) {
        w_lows[i] = w_low(c, group, r, b, 2u * q + i, part);
    }
    w_highs = w_high(c, group, r, b, 2u * q, part);
    uint first = b * 16u + q * 4u;
#else
    uint block = min(2u * b + part, c.n_blocks - 1u);
    sub = w_sub_load(c, group, r, block);
    scale_word = w_scale_word(c, group, r, block);
    STEP_UNROLL for (uint i = 0u; i < BOUND(HALVES); i++) {
        uint at = half_row[i] * (p.x_stride >> 3) + 2u * b + (lid & 1u);
        dx[i] = lk_flt(x1[p.x_d + at]);
#ifdef W_OFFSET
        sx[i] = lk_flt(x1[p.x_s + at]);
#endif
    }
    uint first = b * 4u;
#endif
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        x_words[i] = x4[quad_at[i] + first];
    }
}

#ifdef W_MINS
/* Eight sums of 16 activations, two to a word: their lower and upper limbs, v = 128 h + l with
 * 0 <= l < 128, each four in the order 0, 2, 1, 3, as the mins are. */
void limbs_of(uvec4 sums, out uvec2 low, out uvec2 high)
{
    uvec4 l = sums & 0x007f007fu, h = (sums >> 7) & 0x00ff00ffu;
    low = l.xz | l.yw << 8;
    high = h.xz | h.yw << 8;
}
#endif

#ifdef W_K
/* Stores what a super-block has once: scales, mins and sums of activations. */
void put_ends(uint row, uint part)
{
    uint lid = in_team(), own = team() * TILES;
    if (part == 0u) {
        vec2 scale = w_scale_of(words, mid);
        row_scale[team() * BM + row] = scale.x;
        row_offset[team() * BM + row] = scale.y;
    }
    if (lid < BN) {
        token_scale[team() * BN + lid] = dx;
    }
#ifdef W_MINS
    if (part == 0u) {
        uvec4 mins = uvec4(0u);
        for (uint s = 0u; s < 8u; s++) {
            ivec4 sc = w_groups(words, s);
            mins[s >> 1] |= uint(sc.z | sc.w << 16) << (8u * (s & 1u));
        }
        tile[own + MINS + 2u * row] = mins;
    }
    STEP_UNROLL for (uint k = 0u; k < BOUND(HALVES); k++) {
        uvec2 low, high;
        limbs_of(x_sums[k], low, high);
        uint token_at = own + half_token(k) * STRIDE, half0 = 2u * (lid & 1u);
        for (uint i = 0u; i < 2u; i++) {
            tile[HIGH + token_at][half0 + i] = high[i];
            tile[LOW + token_at][half0 + i] = low[i];
        }
    }
#endif
}
#endif

/* Stores the registers to shared memory, as tile `to` of the two. */
void put(uint to, uint b, uint q, uint row, uint part)
{
    uint lid = in_team(), own = team() * TILES + to * TILE, at = own + row * W_STRIDE;
#ifdef W_K
    if (q == N_STEPS - 1u) {
        put_ends(row, part);
    }
    STEP_UNROLL for (uint i = 0u; i < BOUND(2u); i++) {
        uint s = 2u * q + i;
        uvec4 bytes = w_bytes(w_lows[min(i, w_lows.length() - 1u)], w_highs, words, s, part);
#ifndef W_STEP_SCALE
        ivec4 sc = w_groups(words, s);
        uvec4 upper;
        STEP_UNROLL for (int k = 0; k < int(BOUND(4u)); k++) {
            uint one, other;
            scaled(bytes[k], part == 0u ? sc.x : sc.y, one, other);
            bytes[k] = one;
            upper[k] = other;
        }
        if (LIMBS == 2) {
            tile[at + BM * STRIDE + 2u * i + part] = upper;
        }
#endif
        tile[at + 2u * i + part] = bytes;
    }
#ifdef W_STEP_SCALE
    step_scale[(team() * IN_STEPS + to * 2u + part) * BM + row] = w_groups(words, 2u * q + part).x;
#endif
#else
    uint bytes[8];
    w_sub_bytes(sub, bytes);
    vec2 scale = w_scale_of(scale_word, 2u * b + part);
    uint by = team() * SCALED + to * 2u;
    row_scale[(by + part) * BM + row] = scale.x;
#if defined(W_OFFSET) || defined(W_HALVES)
    row_offset[(by + part) * BM + row] = scale.y;
#endif
    at += W_BLOCK * part;
    tile[at] = uvec4(bytes[0], bytes[1], bytes[2], bytes[3]);
#ifdef W_HALVES
    tile[at + 1u] = uvec4(0u);
#endif
    tile[at + W_BLOCK - 1u] = uvec4(bytes[4], bytes[5], bytes[6], bytes[7]);
    STEP_UNROLL for (uint i = 0u; i < BOUND(HALVES); i++) {
        uint token_at = (by + (lid & 1u)) * BN + half_token(i);
        token_scale[token_at] = dx[i];
#ifdef W_OFFSET
        token_sum[token_at] = sx[i];
#endif
    }
#endif
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        tile[own + B_TILE + quad_token(i) * STRIDE + (lid & 3u)] = x_words[i];
    }
}

/* The results of a subgroup, and what they are made of: the integers of a super-block, or the
 * floats of 256 elements. */
FLOATS y[TM * TN];
#ifdef W_K
INTS dots[TM * TN];
#if LIMBS == 2
INTS upper[TM * TN];
#endif
#else
FLOATS g[TM * TN];
#endif

/* What a half of a step multiplies, 32 elements of K: of both halves where one is loaded while the
 * other is multiplied, else of one, and one matrix of tokens at a time. */
const uint HELD = AHEAD ? 2u : 1u, HELD_X = AHEAD ? 2u * TN : 1u;
LEFT w[HELD * TM];
RIGHT x[HELD_X];
#if LIMBS == 2 || defined(W_HALVES)
LEFT wh[HELD * TM];
#endif
#ifdef W_STEP_SCALE
INTS sc[HELD * TM];
#endif
#ifdef W_32
FLOATS dw[HELD * TM], dt[HELD_X];
#if defined(W_OFFSET) || defined(W_HALVES)
FLOATS mw[HELD * TM];
#endif
#ifdef W_OFFSET
FLOATS st[HELD_X];
#endif
#endif

/* The matrices of weights of half s of the step in tile `from`. */
void load_weights(uint from, uint s, uint row0)
{
    uint left = team() * TILES + from * TILE + row0 * W_STRIDE + W_BLOCK * s;
    uint by = (team() * IN_STEPS + from * 2u + s) * BM + row0;
    STEP_UNROLL for (uint i = 0u; i < BOUND(TM); i++) {
        uint h = s % HELD * TM + i;
        LOAD_LEFT(w[h], left + 16u * i * W_STRIDE, W_STRIDE);
#ifdef W_HALVES
        LOAD_LEFT(wh[h], left + 1u + 16u * i * W_STRIDE, W_STRIDE);
#elif LIMBS == 2
        LOAD_LEFT(wh[h], left + (BM + 16u * i) * STRIDE, STRIDE);
#endif
#ifdef W_STEP_SCALE
        LOAD_BY_ROW(sc[h], step_scale, by + 16u * i);
#endif
#ifdef W_32
        LOAD_BY_ROW(dw[h], row_scale, by + 16u * i);
#if defined(W_OFFSET) || defined(W_HALVES)
        LOAD_BY_ROW(mw[h], row_offset, by + 16u * i);
#endif
#endif
    }
}

void load_tokens(uint from, uint s, uint col0, uint j)
{
    uint h = (s * TN + j) % HELD_X;
    uint own = team() * TILES + from * TILE;
    LOAD_RIGHT(x[h], own + B_TILE + (col0 + 16u * j) * STRIDE + 2u * s, STRIDE);
#ifdef W_32
    uint by = (team() * SCALED + from * 2u + s) * BN + col0 + 16u * j;
    LOAD_BY_COLUMN(dt[h], token_scale, by);
#ifdef W_OFFSET
    LOAD_BY_COLUMN(st[h], token_sum, by);
#endif
#endif
}

void load_half(uint from, uint s, uint row0, uint col0)
{
    load_weights(from, s, row0);
    STEP_UNROLL for (uint j = 0u; j < BOUND(TN); j++) {
        load_tokens(from, s, col0, j);
    }
}

/* Half s of the step in tile `from`, for matrices [first, end) of tokens. */
void multiply(uint from, uint s, uint col0, uint first, uint end)
{
    STEP_UNROLL for (uint j = first; j < BOUND(end); j++) {
        if (!AHEAD) {
            load_tokens(from, s, col0, j);
        }
        STEP_UNROLL for (uint i = 0u; i < BOUND(TM); i++) {
            uint n = i * TN + j, a = s % HELD * TM + i, b = (s * TN + j) % HELD_X;
#if defined(W_HALVES)
            INTS z = MAGIC_INTS;
            INTS zh = MAGIC_INTS;
            MULTIPLY(w[a], x[b], z);
            MULTIPLY(wh[a], x[b], zh);
            STEP_UNROLL for (int e = 0; e < N_OWN(z); e++) {
                precise float v = OWN(dw[a], e) * float_in(OWN(z, e)); /* exact products */
                v = fma(OWN(mw[a], e), float_in(OWN(zh, e)), v);
                v = v * OWN(dt[b], e);
                precise float sum = OWN(g[n], e) + v;
                OWN(g[n], e) = sum;
            }
#elif defined(W_32)
            INTS z = MAGIC_INTS;
            MULTIPLY(w[a], x[b], z);
            STEP_UNROLL for (int e = 0; e < N_OWN(z); e++) {
                precise float v = OWN(dw[a], e) * OWN(dt[b], e);
                v = v * float_in(OWN(z, e));
#ifdef W_OFFSET
                precise float o = OWN(mw[a], e) * OWN(st[b], e);
                v = v + o;
#endif
                precise float sum = OWN(g[n], e) + v;
                OWN(g[n], e) = sum;
            }
#elif defined(W_STEP_SCALE)
            INTS z = ZERO_INTS;
            MULTIPLY(w[a], x[b], z);
            STEP_UNROLL for (int e = 0; e < N_OWN(z); e++) {
                OWN(dots[n], e) += OWN(sc[a], e) * OWN(z, e);
            }
#else
            MULTIPLY(w[a], x[b], dots[n]);
#if LIMBS == 2
            MULTIPLY(wh[a], x[b], upper[n]);
#endif
#endif
        }
    }
}

/* The end of a super-block; of 32-blocks, that of 256 elements. */
void end_block(uint row0, uint col0)
{
#ifdef W_K
    uint rows_at = team() * BM + row0, tokens_at = team() * BN + col0, own = team() * TILES;
    FLOATS dw[TM];
    STEP_UNROLL for (uint i = 0u; i < BOUND(TM); i++) {
        LOAD_BY_ROW(dw[i], row_scale, rows_at + 16u * i);
    }
#ifdef W_MINS
    FLOATS mw[TM];
    LEFT mins[TM];
    STEP_UNROLL for (uint i = 0u; i < BOUND(TM); i++) {
        LOAD_BY_ROW(mw[i], row_offset, rows_at + 16u * i);
        LOAD_LEFT(mins[i], own + MINS + 2u * (row0 + 16u * i), 2u);
    }
#endif
    STEP_UNROLL for (uint j = 0u; j < BOUND(TN); j++) {
        FLOATS dt;
        LOAD_BY_COLUMN(dt, token_scale, tokens_at + 16u * j);
#ifdef W_MINS
        RIGHT high, low;
        LOAD_RIGHT(high, own + HIGH + (col0 + 16u * j) * STRIDE, STRIDE);
        LOAD_RIGHT(low, own + LOW + (col0 + 16u * j) * STRIDE, STRIDE);
#endif
        STEP_UNROLL for (uint i = 0u; i < BOUND(TM); i++) {
            uint n = i * TN + j;
#ifdef W_MINS
            INTS z = ZERO_INTS;
            MULTIPLY(mins[i], high, z);
            STEP_UNROLL for (int e = 0; e < N_OWN(z); e++) {
                OWN(z, e) = 128 * OWN(z, e) + int(LK_MAGIC_BITS);
            }
            MULTIPLY(mins[i], low, z); /* 256 products of 127 and 63 at most, below 2^22 */
#endif
            STEP_UNROLL for (int e = 0; e < N_OWN(dt); e++) {
                int dot = OWN(dots[n], e);
#if LIMBS == 2
                dot += 128 * OWN(upper[n], e);
#endif
#ifdef LK_W_Q3_K
                dot = -dot;
#endif
                precise float v = OWN(dw[i], e) * OWN(dt, e);
                v = v * float_of(dot);
#ifdef W_MINS
                precise float m = OWN(mw[i], e) * OWN(dt, e);
                m = m * float_in(OWN(z, e));
                v = v - m;
#endif
                precise float sum = SPLIT ? v : OWN(y[n], e) + v;
                OWN(y[n], e) = sum;
            }
            dots[n] = ZERO_INTS;
#if LIMBS == 2
            upper[n] = ZERO_INTS;
#endif
        }
    }
#else
    STEP_UNROLL for (uint n = 0u; n < BOUND(TM * TN); n++) {
        STEP_UNROLL for (int e = 0; e < N_OWN(y[n]); e++) {
            precise float sum = SPLIT ? OWN(g[n], e) : OWN(y[n], e) + OWN(g[n], e);
            OWN(y[n], e) = sum;
        }
        g[n] = ZERO_FLOATS;
    }
#endif
}

/* Hands out what lies in front of the tiles: matrices j of all subgroups. */
void emit(uint j, Place place, uint part, uint row, uint token0)
{
    uint end = 16u * SUBGROUPS_N + (ROLLED ? gl_WorkGroupID.z : 0u);
    for (uint first = part; first < end; first += STORES * OUT_PARTS) {
        uint token[STORES];
        float value[STORES], up[STORES];
        STEP_UNROLL for (uint i = 0u; i < BOUND(STORES); i++) {
            uint t = first + i * OUT_PARTS;
            token[i] = token0 + ((t >> 4) * TN + j) * 16u + (t & 15u);
            value[i] = lk_flt(tile[t * STAGE + (row >> 2)][row & 3u]);
            if (GLU) {
                up[i] = lk_flt(tile[t * STAGE + ((row + OUT_ROWS) >> 2)][row & 3u]);
            }
        }
        if (GLU) {
            store_glu(place, token, value, up);
        } else {
            store(place, token, value);
        }
    }
}

/* Puts matrices j of all subgroups in front of the tiles. */
void stage(uint j, uint row0, uint at_n)
{
    STEP_UNROLL for (uint i = 0u; i < BOUND(TM); i++) {
        STORE_COLUMNS(y[i * TN + j], at_n * 16u * STAGE + (row0 >> 2) + 4u * i, STAGE);
    }
}

/* Hands out what `stage` put there. */
void leave(uint j, Place place, uint part, uint row, uint token0)
{
    barrier();
    emit(j, place, part, row, token0);
    barrier();
}

/* Of split panels: the sums of an invocation, of every so many tokens of a row of the tile. */
const uint SUMS = SPLIT ? BM * BN / THREADS : 1u;
float sums[SUMS];

/* Adds the panels of a round to them, in order; n: how many there are. */
void fold(uint n)
{
    uint row = gl_LocalInvocationIndex % BM, first = gl_LocalInvocationIndex / BM;
    STEP_UNROLL for (uint j = 0u; j < BOUND(TN); j++) {
        STORE_COLUMNS(y[j], PANELS + (team() * BN + 16u * j) * STAGE, STAGE);
    }
    barrier();
    STEP_UNROLL for (uint k = 0u; k < BOUND(SUMS); k++) {
        uint token = first + k * (THREADS / BM);
        STEP_UNROLL for (uint t = 0u; t < BOUND(TEAMS); t++) {
            precise float sum = sums[k];
            sum = sum + lk_flt(tile[PANELS + (t * BN + token) * STAGE + (row >> 2)][row & 3u]);
            sums[k] = t < n ? sum : sums[k];
        }
    }
    barrier();
}

/* Stores them. */
void leave_sums(Place place, uint part, uint row, uint token0)
{
    uint own = gl_LocalInvocationIndex % BM, first = gl_LocalInvocationIndex / BM;
    for (uint j = 0u; j < BOUND(TN); j++) {
        STEP_UNROLL for (uint k = 0u; k < BOUND(SUMS); k++) {
            uint token = first + k * (THREADS / BM);
            if (token >> 4 == j) {
                tile[(token & 15u) * STAGE + (own >> 2)][own & 3u] = lk_bits(sums[k]);
            }
        }
        barrier();
        emit(j, place, part, row, token0);
        barrier();
    }
}

/* All panels of the row, each by a team. */
void run_split(Chunk c, uint group, uint r, uint row, uint part)
{
#ifdef W_K
    uint panels = c.n_blocks;
#else
    uint panels = (c.n_blocks + 7u) >> 3;
#endif
    uint last = panels - 1u, panel = min(team(), last);
#ifdef W_K
    fetch(c, panel, 0u, group, r, part);
    put(0u, panel, 0u, row, part);
#ifdef W_MINS
    if (part == 0u) {
        tile[team() * TILES + MINS + 2u * row + 1u] = uvec4(0u);
    }
#endif
    fetch(c, panel, 1u, group, r, part);
#else
    fetch(c, 4u * panel, 0u, group, r, part);
    put(0u, 4u * panel, 0u, row, part);
#endif
    team_barrier();
    for (uint first = 0u; first < panels; first += TEAMS) {
        uint next = min(first + TEAMS + team(), last);
        STEP_UNROLL for (uint q = 0u; q < BOUND(N_STEPS); q++) {
            bool ends = q == N_STEPS - 1u, nears = q >= N_STEPS - 2u;
            uint from = q & 1u;
#ifdef W_K
            put(from ^ 1u, ends ? next : panel, ends ? 0u : q + 1u, row, part);
            fetch(c, nears ? next : panel, nears ? q + 2u - N_STEPS : q + 2u, group, r, part);
#else
            uint step = 4u * panel + q, later = ends ? 4u * next : step + 1u;
            fetch(c, later, 0u, group, r, part);
#endif
            STEP_UNROLL for (uint s = 0u; s < BOUND(2u); s++) {
#ifdef W_32
                if (step * 2u + s < c.n_blocks)
#endif
                {
                    load_weights(from, s, 0u);
                    multiply(from, s, 0u, 0u, TN);
                }
            }
            if (ends) {
                end_block(0u, 0u);
            }
#ifdef W_32
            put(from ^ 1u, later, 0u, row, part);
#endif
            team_barrier();
        }
        fold(min(panels - first, TEAMS));
        panel = next;
    }
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    /* The tokens of a tile of rows come one after the other: its weights are read once. */
    uint at = p.tile0 + gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint row_tile = at / gl_NumWorkGroups.y, token_tile = at - row_tile * gl_NumWorkGroups.y;
    uint first_row = row_tile * OUT_ROWS, token0 = token_tile * BN;
    uint n_groups = p.n_groups;
    if (EXPERTS) {
        if (!begin_experts(token_tile)) {
            return;
        }
        token0 = 0u;
        n_groups = p.rg1;
    }
    STEP_UNROLL for (uint i = 0u; i < BOUND(HALVES); i++) {
        half_row[i] = row_at(half_token(i), token0);
    }
    one_row = row_at(one_token(), token0);
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        quad_at[i] = (row_at(quad_token(i), token0) * p.x_stride >> 2) + (lid & 3u);
    }
    Chunk c = w_chunk(p.n_blocks, p.mid, p.tail);
    w_start(c, THREADS);
    uint row = lid & (BM - 1u), part = in_team() / BM, r = first_row + (row & (OUT_ROWS - 1u));
    uint group = expert_group + min(r >> 5, n_groups - 1u);
    if (GLU) {
        group = min(r >> 5, p.rg1 - 1u) + (row < OUT_ROWS ? 0u : p.rg1);
    }
    r &= 31u;
    uint row0 = (lid >> 5) % SUBGROUPS_M * 32u; /* of this subgroup */
    uint at_n = (lid >> 5) / SUBGROUPS_M, col0 = at_n * 16u * TN;

    STEP_UNROLL for (uint n = 0u; n < BOUND(TM * TN); n++) {
        y[n] = ZERO_FLOATS;
#ifdef W_K
        dots[n] = ZERO_INTS;
#if LIMBS == 2
        upper[n] = ZERO_INTS;
#endif
#else
        g[n] = ZERO_FLOATS;
#endif
    }
    if (SPLIT) {
        STEP_UNROLL for (uint k = 0u; k < BOUND(SUMS); k++) {
            sums[k] = 0.0;
        }
        run_split(c, group, r, row, part);
        row = lid & (OUT_ROWS - 1u);
        r = first_row + row;
        leave_sums(place_of(r >> 5, r & 31u), lid / OUT_ROWS, row, token0);
        return;
    }
    fetch(c, 0u, 0u, group, r, part);
    put(0u, 0u, 0u, row, part);
#ifdef W_K
#ifdef W_MINS
    if (part == 0u) {
        tile[MINS + 2u * row + 1u] = uvec4(0u);
    }
#endif
    fetch(c, 0u, 1u, group, r, part);
    barrier();
    if (AHEAD) {
        load_half(0u, 0u, row0, col0);
    }
    for (uint b = 0u; b < c.n_blocks; b++) {
        STEP_UNROLL for (uint q = 0u; q < BOUND(N_STEPS); q++) {
            /* The next step leaves the registers, the one after it comes into them. In large tiles
             * without AHEAD a branch at every step keeps the compiler from mixing steps, for which
             * there are not registers enough. With AHEAD the tile that `put` fills is one whose
             * last half everybody loaded before the barrier of the step before. What there is once
             * a super-block is put in front of the barrier of step 2, and read last behind that of
             * step 3. */
            bool ends = q == N_STEPS - 1u, nears = q >= N_STEPS - 2u, mix = AHEAD || BN <= 64u;
            uint step = b * N_STEPS + q, steps = c.n_blocks * N_STEPS, from = q & 1u;
            if (AHEAD) {
                load_half(from, 1u, row0, col0);
                multiply(from, 0u, col0, 0u, TN / 2u);
            }
            if ((mix && !ends) || step + 1u < steps) {
                put(from ^ 1u, ends ? b + 1u : b, ends ? 0u : q + 1u, row, part);
            }
            if ((mix && !nears) || step + 2u < steps) {
                fetch(c, nears ? b + 1u : b, nears ? q + 2u - N_STEPS : q + 2u, group, r, part);
            }
            if (AHEAD) {
                multiply(from, 0u, col0, TN / 2u, TN);
                barrier();
                load_half(from ^ 1u, 0u, row0, col0); /* after the last step for nobody */
            } else {
                load_weights(from, 0u, row0);
                multiply(from, 0u, col0, 0u, TN);
                load_weights(from, 1u, row0);
            }
            multiply(from, 1u, col0, 0u, TN);
            if (ends) {
                end_block(row0, col0);
            }
            if (!AHEAD) {
                barrier();
            }
        }
    }
#else
    barrier();
    uint from = 0u, steps = (c.n_blocks + 1u) >> 1;
    for (uint step = 0u; step < steps; step++) {
        bool more = step + 1u < steps;
        if (more) {
            fetch(c, step + 1u, 0u, group, r, part);
        }
        STEP_UNROLL for (uint s = 0u; s < BOUND(2u); s++) {
            if (s == 0u || step * 2u + 1u < c.n_blocks) {
                load_weights(from, s, row0);
                multiply(from, s, col0, 0u, TN);
            }
        }
        if ((step & 3u) == 3u || !more) {
            end_block(row0, col0);
        }
        from ^= 1u;
        if (more) {
            put(from, step + 1u, 0u, row, part);
        }
        barrier();
    }
#endif
    if (AHEAD) {
        barrier(); /* results leave through the tiles */
    }
    row = lid & (OUT_ROWS - 1u);
    part = lid / OUT_ROWS;
    r = first_row + row;
    Place place = place_of(r >> 5, r & 31u);
    /* some matrices of each subgroup at a time: rows lie side by side when they are stored */
#ifdef LK_MATRIX /* numbers that are constants keep `y` in registers */
    if (ROLLED) {
        for (uint j = 0u; j < TN + gl_WorkGroupID.z; j++) {
            [[unroll]] for (uint k = 0u; k < TN; k++) {
                if (k == j) {
                    stage(k, row0, at_n);
                }
            }
            leave(j, place, part, row, token0);
        }
    } else {
        stage(0u, row0, at_n);
        leave(0u, place, part, row, token0);
        stage(1u, row0, at_n);
        leave(1u, place, part, row, token0);
        if (TN > 2u) {
            stage(2u, row0, at_n);
            leave(2u, place, part, row, token0);
            stage(3u, row0, at_n);
            leave(3u, place, part, row, token0);
        }
    }
#else
    for (uint j = 0u; j < BOUND(TN); j++) {
        stage(j, row0, at_n);
        leave(j, place, part, row, token0);
    }
#endif
}
