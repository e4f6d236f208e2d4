/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights: reads a packed weight chunk (src/vulkan/build/vk_pack.c writes it). Rows are interleaved by
 * 32: whatever lane r reads of its row lies beside what lane r + 1 reads of the next one. Sections:
 * body [group][block][W_BODY][32] of uvec4, mid [group][block][32] words, tail [group][...][32]
 * words: the scales of W_TAIL_BLOCKS blocks (four bytes, two f16 d, two pairs of bytes, or d and m of
 * one block), or once
 * the points of a grid (grid.glsl).
 * The including file names the type by one LK_W_* define.
 */
layout(std430, binding = 0) readonly buffer Weights4
{
    uvec4 w4[];
};
layout(std430, binding = 0) readonly buffer Weights1
{
    uint w1[];
};

#if defined(LK_W_F32) || defined(LK_W_F16) || defined(LK_W_BF16)
#define W_FLOAT
#elif defined(LK_W_Q2_K) || defined(LK_W_Q3_K) || defined(LK_W_Q4_K) || defined(LK_W_Q5_K) || \
    defined(LK_W_Q6_K) || defined(LK_W_IQ4_XS)
#define W_K
#if defined(LK_W_Q2_K) || defined(LK_W_Q4_K) || defined(LK_W_Q5_K)
#define W_MINS
#endif
#elif defined(LK_W_IQ1_S) || defined(LK_W_IQ1_M) || defined(LK_W_IQ2_XXS) || defined(LK_W_IQ2_XS) || \
    defined(LK_W_IQ2_S) || defined(LK_W_IQ3_XXS) || defined(LK_W_IQ3_S)
#define W_K
#define W_GRID
#elif defined(LK_W_TQ1_0) || defined(LK_W_TQ2_0)
#define W_K
#define W_TRITS
#elif defined(LK_W_Q4_0) || defined(LK_W_Q4_1) || defined(LK_W_Q5_0) || defined(LK_W_Q5_1) || \
    defined(LK_W_Q8_0) || defined(LK_W_IQ4_NL) || defined(LK_W_MXFP4) || defined(LK_W_Q1_0) || \
    defined(LK_W_Q2_0) || defined(LK_W_NVFP4)
#define W_32
#if defined(LK_W_Q4_1) || defined(LK_W_Q5_1)
#define W_OFFSET
#elif defined(LK_W_NVFP4)
#define W_HALVES /* each half of a block has a scale and a sum of its own */
#endif
#else
#error "weights.glsl does not know this type"
#endif

#if defined(W_OFFSET) || defined(LK_W_IQ4_XS)
#define W_TAIL_BLOCKS 1u
#elif defined(LK_W_MXFP4)
#define W_TAIL_BLOCKS 4u
#elif defined(W_32)
#define W_TAIL_BLOCKS 2u
#endif
#if defined(LK_W_Q5_0) || defined(LK_W_Q5_1) || defined(LK_W_Q2_K) || defined(LK_W_Q6_K) || \
    defined(LK_W_IQ4_XS) || defined(LK_W_IQ1_S) || defined(LK_W_IQ2_XXS) || defined(LK_W_IQ2_S) || \
    defined(LK_W_IQ3_XXS) || defined(W_TRITS)
#define W_MID
#endif

#if defined(LK_W_Q8_0)
#define W_BODY 2u
#elif defined(W_32) || defined(W_FLOAT)
#define W_BODY 1u
#elif defined(LK_W_IQ1_S)
#define W_BODY 3u
#elif defined(LK_W_IQ1_M) || defined(LK_W_IQ2_XXS) || defined(W_TRITS)
#define W_BODY 4u
#elif defined(LK_W_IQ3_XXS)
#define W_BODY 6u
#elif defined(LK_W_Q2_K) || defined(LK_W_IQ2_XS) || defined(LK_W_IQ2_S)
#define W_BODY 5u
#elif defined(LK_W_Q3_K) || defined(LK_W_IQ3_S)
#define W_BODY 7u
#elif defined(LK_W_IQ4_XS)
#define W_BODY 8u
#elif defined(LK_W_Q4_K)
#define W_BODY 9u
#elif defined(LK_W_Q5_K)
#define W_BODY 11u
#else
#define W_BODY 13u
#endif

/* Blocks of 32 that share a body; elsewhere blocks are what the file has. */
#if defined(LK_W_Q1_0)
#define W_SHARE 4u
#elif defined(LK_W_Q2_0)
#define W_SHARE 2u
#else
#define W_SHARE 1u
#endif
/* Blocks of 32 of a block of the file. */
#ifdef LK_W_NVFP4
#define W_SPLIT 2u
#else
#define W_SPLIT W_SHARE
#endif

struct Chunk {
    uint n_blocks, mid, tail;
};

/* From a push constant's numbers. */
Chunk w_chunk(uint n_blocks, uint mid, uint tail)
{
    return Chunk(n_blocks * W_SPLIT, mid, tail);
}

uvec4 w_body_at(Chunk c, uint group, uint block, uint i, uint r)
{
    return w4[((group * (c.n_blocks / W_SHARE) + block / W_SHARE) * W_BODY + i) * 32u + r];
}

uint w_mid_at(Chunk c, uint group, uint block, uint r)
{
    return w1[c.mid + (group * c.n_blocks + block) * 32u + r];
}

uint w_tail_at(Chunk c, uint group, uint n, uint i, uint r)
{
    return w1[c.tail + (group * n + i) * 32u + r];
}

#ifdef W_PRELOADED
/* A panel of 256 elements in registers, all its loads under way at once; a block's number then
 * counts from the panel's first. Loops over it must be unrolled. */
#ifdef W_32
#define W_PANEL 8u
#else
#define W_PANEL 1u
#endif
uvec4 w_raw[W_PANEL / W_SHARE * W_BODY];
uint w_raw_mid[W_PANEL];
uint w_raw_tail[W_PANEL];

void w_load(Chunk c, uint group, uint r, uint panel)
{
    [[unroll]] for (uint k = 0u; k < W_PANEL; k += W_SHARE) {
        uint b = min(panel * W_PANEL + k, c.n_blocks - 1u); /* past the end: the last one again */
        [[unroll]] for (uint i = 0u; i < W_BODY; i++) {
            w_raw[k / W_SHARE * W_BODY + i] = w_body_at(c, group, b, i, r);
        }
#ifdef W_MID
        w_raw_mid[k] = w_mid_at(c, group, b, r);
#endif
    }
#ifdef W_TAIL_BLOCKS
    const uint WORDS = W_PANEL / W_TAIL_BLOCKS;
    uint words = (c.n_blocks + W_TAIL_BLOCKS - 1u) / W_TAIL_BLOCKS;
    [[unroll]] for (uint k = 0u; k < WORDS; k++) {
        w_raw_tail[k] = w_tail_at(c, group, words, min(panel * WORDS + k, words - 1u), r);
    }
#endif
}

#if defined(LK_W_Q4_K) || defined(LK_W_Q5_K) || defined(LK_W_Q6_K)
/* These blocks are gone through in two turns of a loop, since code that runs once costs its fetching. */
#define W_TURN 4 /* sub-blocks */
/* Puts the second half of a block, and of its words of w_scale_words, where the first one was. */
void w_turn(inout uvec4 words)
{
#ifdef LK_W_Q6_K
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        w_raw[i] = w_raw[i + 4u];
    }
    w_raw[8] = w_raw[10];
    w_raw[9] = w_raw[11];
    words.xy = words.zw;
#else
    const uint LOW = W_BODY - 8u;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        w_raw[LOW + i] = w_raw[LOW + i + 4u];
    }
#ifdef LK_W_Q5_K
    w_raw[1] >>= 4u;
    w_raw[2] >>= 4u;
#endif
    words.y = (words.w & 0x0f0f0f0fu) | ((words.y >> 2) & 0x30303030u);
    words.z = ((words.w >> 4) & 0x0f0f0f0fu) | ((words.z >> 2) & 0x30303030u);
#endif
}
#endif

uvec4 w_body(Chunk c, uint group, uint block, uint i, uint r)
{
    return w_raw[block / W_SHARE * W_BODY + i];
}

uint w_mid(Chunk c, uint group, uint block, uint r)
{
    return w_raw_mid[block];
}

#ifdef W_TAIL_BLOCKS
uint w_tail(Chunk c, uint group, uint block, uint r)
{
    return w_raw_tail[block / W_TAIL_BLOCKS];
}
#endif
#else
uvec4 w_body(Chunk c, uint group, uint block, uint i, uint r)
{
    return w_body_at(c, group, block, i, r);
}

uint w_mid(Chunk c, uint group, uint block, uint r)
{
    return w_mid_at(c, group, block, r);
}

#ifdef W_TAIL_BLOCKS
uint w_tail(Chunk c, uint group, uint block, uint r)
{
    uint words = (c.n_blocks + W_TAIL_BLOCKS - 1u) / W_TAIL_BLOCKS;
    return w_tail_at(c, group, words, block / W_TAIL_BLOCKS, r);
}
#endif
#endif

/* bits 0..3 of x to bit 0 of bytes 0..3 */
uint spread4(uint x)
{
    return (x * 0x00204081u) & 0x01010101u;
}

/* Four elements of 2 bits to bytes. */
uint spread_2(uint x)
{
    uint v = ((x & 255u) | (x << 12)) & 0x000f000fu;
    return (v | (v << 6)) & 0x03030303u;
}

/* each byte of v, below 128, less the byte n: signed bytes */
uint centre(uint v, uint n)
{
    return ((v | 0x80808080u) - n) ^ 0x80808080u;
}
uvec4 centre(uvec4 v, uint n)
{
    return ((v | 0x80808080u) - n) ^ 0x80808080u;
}

#if defined(LK_W_IQ4_NL) || defined(LK_W_IQ4_XS)
#define W_TABLE
/* In each byte `one` or `zero`, by bit `bit` of the byte of n. */
uint pick(uint n, int bit, uint one, uint zero)
{
    uint mask = ((n >> bit) & 0x01010101u) * 255u;
    return zero ^ (mask & (one ^ zero));
}
/* Four nibbles, a byte each, to the values that they stand for: 15 choices between two words cost
 * no memory, and less than 4 reads of shared memory. */
uint w_table(uint n)
{
    uint a = pick(n, 1, pick(n, 0, 0xbfbfbfbfu, 0xadadadadu), pick(n, 0, 0x98989898u, 0x81818181u));
    uint b = pick(n, 1, pick(n, 0, 0xf6f6f6f6u, 0xeaeaeaeau), pick(n, 0, 0xddddddddu, 0xcfcfcfcfu));
    uint c = pick(n, 1, pick(n, 0, 0x26262626u, 0x19191919u), pick(n, 0, 0x0d0d0d0du, 0x01010101u));
    uint d = pick(n, 1, pick(n, 0, 0x71717171u, 0x59595959u), pick(n, 0, 0x45454545u, 0x35353535u));
    return pick(n, 3, pick(n, 2, d, c), pick(n, 2, b, a));
}
#elif defined(LK_W_MXFP4) || defined(LK_W_NVFP4)
#define W_TABLE
/* Four nibbles, a byte each: 0 1 2 3 4 6 8 12, negative where bit 3 is set. */
uint w_table(uint n)
{
    uint low = n & 0x01010101u, mid = (n >> 1) & 0x01010101u, high = (n >> 2) & 0x01010101u;
    uint minus = (n >> 3) & (low | mid | high);
    uint one = high & low, two = high & mid;
    uint v = (n & 0x07070707u) + one + 2u * (two + (one & two));
    return (v ^ (minus * 255u)) + minus;
}
#endif
#ifdef W_TABLE
uvec4 w_table(uvec4 n)
{
    return uvec4(w_table(n.x), w_table(n.y), w_table(n.z), w_table(n.w));
}
#endif

#ifndef W_TURN
#define W_TURN 8 /* sub-blocks: all of a block's */
#endif

#ifdef W_GRID
#include "shaders/grid.glsl"
#else
void w_start(Chunk c, uint threads)
{
}
#endif

#ifdef W_FLOAT
/* Elements [first, first + 4) of a row as f32, rule 1's flush done; first is a multiple of 4. */
vec4 w_floats(Chunk c, uint group, uint r, uint first)
{
    vec4 y;
#ifdef LK_W_F32
    uvec4 v = w_body(c, group, first >> 2, 0u, r);
    LK_UNROLL for (int i = 0; i < 4; i++) {
        y[i] = lk_flush(lk_flt(v[i]));
    }
#else
    uvec4 v = w_body(c, group, first >> 3, 0u, r);
    uint a = (first & 4u) == 0u ? v.x : v.z;
    uint b = (first & 4u) == 0u ? v.y : v.w;
#ifdef LK_W_F16
    y = vec4(lk_f16_to_f32(a), lk_f16_to_f32(a >> 16), lk_f16_to_f32(b), lk_f16_to_f32(b >> 16));
#else
    y = vec4(lk_flush(lk_flt(a << 16)), lk_flush(lk_flt(a & 0xffff0000u)), lk_flush(lk_flt(b << 16)),
             lk_flush(lk_flt(b & 0xffff0000u)));
#endif
#endif
    return y;
}
#endif

#ifdef W_32
/* What the 32 elements of a block are made of; nothing of it is computed when it is loaded. */
struct WSub {
    uvec4 v[2];
    uint high;
};

WSub w_sub_load(Chunk c, uint group, uint r, uint b)
{
    WSub a;
    a.v[0] = w_body(c, group, b, 0u, r);
#ifdef LK_W_Q8_0
    a.v[1] = w_body(c, group, b, 1u, r);
#endif
#if defined(LK_W_Q5_0) || defined(LK_W_Q5_1)
    a.high = w_mid(c, group, b, r);
#elif defined(LK_W_Q1_0)
    a.high = a.v[0][b & 3u];
#elif defined(LK_W_Q2_0)
    a.v[0].xy = (b & 1u) == 0u ? a.v[0].xy : a.v[0].zw;
#endif
    return a;
}

/* The integers of the 32 elements as signed bytes. */
void w_sub_bytes(WSub a, out uint q[8])
{
#ifdef LK_W_Q8_0
    LK_UNROLL for (int i = 0; i < 4; i++) {
        q[i] = a.v[0][i];
        q[i + 4] = a.v[1][i];
    }
#elif defined(LK_W_Q1_0)
    LK_UNROLL for (int i = 0; i < 8; i++) {
        q[i] = centre(spread4((a.high >> (4 * i)) & 15u) * 2u, 0x01010101u);
    }
#elif defined(LK_W_Q2_0)
    LK_UNROLL for (int i = 0; i < 8; i++) {
        q[i] = centre(spread_2(a.v[0][i >> 2] >> (8 * (i & 3))), 0x01010101u);
    }
#else
    LK_UNROLL for (int i = 0; i < 4; i++) {
        uint lo = a.v[0][i] & 0x0f0f0f0fu;
        uint hi = (a.v[0][i] >> 4) & 0x0f0f0f0fu;
#if defined(LK_W_Q5_0) || defined(LK_W_Q5_1)
        lo |= spread4((a.high >> (4 * i)) & 15u) << 4;
        hi |= spread4((a.high >> (4 * i + 16)) & 15u) << 4;
#endif
#if defined(LK_W_Q4_0)
        lo = centre(lo, 0x08080808u);
        hi = centre(hi, 0x08080808u);
#elif defined(LK_W_Q5_0)
        lo = centre(lo, 0x10101010u);
        hi = centre(hi, 0x10101010u);
#elif defined(W_TABLE)
        lo = w_table(lo);
        hi = w_table(hi);
#endif
        q[i] = lo;
        q[i + 4] = hi;
    }
#endif
}

void w_sub(Chunk c, uint group, uint r, uint b, out uint q[8])
{
    w_sub_bytes(w_sub_load(c, group, r, b), q);
}

/* The word with the scale of block b. */
uint w_scale_word(Chunk c, uint group, uint r, uint b)
{
    return w_tail(c, group, b, r);
}

/* d, and m of the types with an offset, or the other half's of those with two. */
vec2 w_scale_of(uint word, uint b)
{
#ifdef W_OFFSET
    return vec2(lk_f16_to_f32(word), lk_f16_to_f32(word >> 16));
#elif defined(LK_W_MXFP4)
    uint e = (word >> ((b & 3u) * 8u)) & 255u; /* 2^(e - 128), +0 below 2^-50 */
    return vec2(e < 78u ? 0.0 : lk_flt((e - 1u) << 23), 0.0);
#elif defined(LK_W_NVFP4)
    uint two = word >> ((b & 1u) * 16u);
    return 0.5 * vec2(lk_ue4m3_to_f32(two & 255u), lk_ue4m3_to_f32((two >> 8) & 255u));
#else
    return vec2(lk_f16_to_f32(word >> ((b & 1u) * 16u)), 0.0);
#endif
}

vec2 w_scale(Chunk c, uint group, uint r, uint b)
{
    return w_scale_of(w_scale_word(c, group, r, b), b);
}
#endif

#ifdef W_K
/* Elements [32 s + 16 h, 32 s + 16 h + 16) of a super-block: the lower bits of them (those of sub-blocks
 * 2 n and 2 n + 1 lie in the same words but in Q6_K), then the upper ones (in the same words for both).
 * Of a grid: its indices, with signs in IQ2_*, then what else is not in w_scale_words. */
uvec4 w_low(Chunk c, uint group, uint r, uint b, uint s, uint h)
{
#if defined(LK_W_Q2_K)
    uint first = 1u + 2u * (s >> 2);
#elif defined(LK_W_Q3_K)
    uint first = 2u + 2u * (s >> 2);
#elif defined(LK_W_Q4_K)
    uint first = 1u + 2u * (s >> 1);
#elif defined(LK_W_IQ4_XS)
    uint first = 2u * (s >> 1);
#elif defined(LK_W_Q5_K)
    uint first = 3u + 2u * (s >> 1);
#elif defined(LK_W_IQ1_S) || defined(LK_W_IQ1_M)
    return w_body(c, group, b, s >> 2, r);
#elif defined(W_GRID)
    return w_body(c, group, b, s >> 1, r);
#elif defined(W_TRITS)
    uint first = 2u * (s >> 2);
#else
    uint first = 4u * (s >> 2) + 2u * (s & 1u);
#endif
#if !defined(W_GRID)
    return w_body(c, group, b, first + h, r);
#endif
}

uvec4 w_high(Chunk c, uint group, uint r, uint b, uint s, uint h)
{
#if defined(LK_W_Q3_K)
    return w_body(c, group, b, h, r);
#elif defined(LK_W_Q5_K)
    return w_body(c, group, b, 1u + h, r);
#elif defined(LK_W_Q6_K)
    return w_body(c, group, b, 8u + 2u * (s >> 2) + h, r);
#elif defined(LK_W_IQ3_XXS) || defined(LK_W_IQ3_S)
    return w_body(c, group, b, 4u + (s >> 2), r);
#elif defined(LK_W_IQ1_M)
    return w_body(c, group, b, 2u, r);
#else
    return uvec4(0u);
#endif
}

/* The integers of these elements as signed bytes; words from w_scale_words. */
uvec4 w_bytes(uvec4 low, uvec4 high, uvec4 words, uint s, uint h)
{
#if defined(W_GRID)
    return grid_bytes(low, high, words, s, h);
#elif defined(W_TRITS)
    return centre((low >> (2u * (s & 3u))) & 0x03030303u, 0x01010101u);
#elif defined(LK_W_Q2_K)
    return (low >> (2u * (s & 3u))) & 0x03030303u;
#elif defined(LK_W_Q3_K)
    low = ((low >> (2u * (s & 3u))) & 0x03030303u) | (((high >> s) & 0x01010101u) << 2);
    return centre(low, 0x04040404u);
#elif defined(LK_W_Q4_K)
    return (low >> (4u * (s & 1u))) & 0x0f0f0f0fu;
#elif defined(LK_W_IQ4_XS)
    return w_table((low >> (4u * (s & 1u))) & 0x0f0f0f0fu);
#elif defined(LK_W_Q5_K)
    return ((low >> (4u * (s & 1u))) & 0x0f0f0f0fu) | (((high >> s) & 0x01010101u) << 4);
#else
    low = ((low >> (4u * ((s >> 1) & 1u))) & 0x0f0f0f0fu) |
          (((high >> (2u * (s & 3u))) & 0x03030303u) << 4);
    return centre(low, 0x20202020u);
#endif
}

/* What w_groups and w_bytes need of a super-block: one uvec4, of scales and, of a grid, of further bits
 * of its indices. */
uvec4 w_scale_words(Chunk c, uint group, uint r, uint b)
{
#if defined(LK_W_Q3_K) || defined(LK_W_IQ3_S)
    return w_body(c, group, b, 6u, r);
#elif defined(LK_W_Q6_K)
    return w_body(c, group, b, 12u, r);
#elif defined(LK_W_IQ4_XS)
    return uvec4(w_mid(c, group, b, r), w_tail(c, group, b, r), 0u, 0u);
#elif defined(LK_W_IQ1_S)
    return w_body(c, group, b, 2u, r);
#elif defined(LK_W_IQ1_M)
    return w_body(c, group, b, 3u, r);
#elif defined(LK_W_IQ2_XS) || defined(LK_W_IQ2_S)
    return w_body(c, group, b, 4u, r);
#elif defined(LK_W_IQ2_XXS) || defined(LK_W_IQ3_XXS)
    /* the upper four bits of eight words, to one */
    uint all = 0u;
    LK_UNROLL for (uint i = 0u; i < 4u; i++) {
#ifdef LK_W_IQ2_XXS
        uvec2 two = w_body(c, group, b, i, r).yw;
#else
        uvec4 four = w_body(c, group, b, 4u + (i >> 1), r);
        uvec2 two = (i & 1u) == 0u ? four.xy : four.zw;
#endif
        all |= ((two.x >> 28) | ((two.y >> 28) << 4)) << (8u * i);
    }
    return uvec4(all, 0u, 0u, 0u);
#elif defined(W_TRITS)
    return uvec4(0u);
#else
    return w_body(c, group, b, 0u, r);
#endif
}

void w_sub(Chunk c, uint group, uint r, uint b, uint s, out uint q[8])
{
#ifdef W_GRID
    uvec4 words = w_scale_words(c, group, r, b);
#else
    const uvec4 words = uvec4(0u);
#endif
    LK_UNROLL for (uint h = 0u; h < 2u; h++) {
        uvec4 low = w_low(c, group, r, b, s, h);
        uvec4 v = w_bytes(low, w_high(c, group, r, b, s, h), words, s, h);
        LK_UNROLL for (int k = 0; k < 4; k++) {
            q[h * 4u + uint(k)] = v[k];
        }
    }
}

/* Integer scales (x, y) and mins (z, w) of the two 16-element groups of sub-block s. */
ivec4 w_groups(uvec4 v, uint s)
{
#if defined(LK_W_Q2_K)
    uint pair = v[s >> 1] >> (16u * (s & 1u));
    return ivec4(pair & 15u, (pair >> 8) & 15u, (pair >> 4) & 15u, (pair >> 12) & 15u);
#elif defined(LK_W_Q3_K)
    uint pair = v[(s & 3u) >> 1] >> (16u * (s & 1u) + 4u * (s >> 2));
    uint high = v[2] >> (16u * (s & 1u) + 2u * (s >> 1));
    int a = int((pair & 15u) | ((high & 3u) << 4));
    int b = int(((pair >> 8) & 15u) | (((high >> 8) & 3u) << 4));
    return ivec4(a - 32, b - 32, 0, 0);
#elif defined(LK_W_Q4_K) || defined(LK_W_Q5_K)
    uint at = 8u * (s & 3u);
    uint sc = v[1] >> at;
    uint mn = v[2] >> at;
    uint both = v[3] >> at;
    if (s < 4u) {
        sc &= 63u;
        mn &= 63u;
    } else {
        sc = (both & 15u) | (((sc >> 6) & 3u) << 4);
        mn = ((both >> 4) & 15u) | (((mn >> 6) & 3u) << 4);
    }
    return ivec4(sc, sc, mn, mn);
#elif defined(LK_W_IQ4_XS)
    int sc = int(((v.y >> (4u * s)) & 15u) | (((v.x >> (16u + 2u * s)) & 3u) << 4)) - 32;
    return ivec4(sc, sc, 0, 0);
#elif defined(LK_W_IQ2_XXS) || defined(LK_W_IQ3_XXS) || defined(LK_W_IQ3_S)
#ifdef LK_W_IQ3_S
    uint nibble = (v.z >> (4u * s)) & 15u;
#else
    uint nibble = (v.x >> (4u * s)) & 15u;
#endif
    int sc = int(2u * nibble + 1u);
    return ivec4(sc, sc, 0, 0);
#elif defined(LK_W_IQ2_XS) || defined(LK_W_IQ2_S)
#ifdef LK_W_IQ2_XS
    uint pair = (s < 4u ? v.x : v.y) >> (8u * (s & 3u));
#else
    uint pair = (s < 4u ? v.z : v.w) >> (8u * (s & 3u));
#endif
    return ivec4(2u * (pair & 15u) + 1u, 2u * ((pair >> 4) & 15u) + 1u, 0, 0);
#elif defined(LK_W_IQ1_S)
    int sc = int(2u * ((v[s >> 1] >> (16u * (s & 1u) + 12u)) & 7u) + 1u);
    return ivec4(sc, sc, 0, 0);
#elif defined(LK_W_IQ1_M)
    uint pair = (s < 4u ? v.x : v.y) >> (16u * ((s >> 1) & 1u) + 6u * (s & 1u));
    return ivec4(2u * (pair & 7u) + 1u, 2u * ((pair >> 3) & 7u) + 1u, 0, 0);
#elif defined(W_TRITS)
    return ivec4(1, 1, 0, 0);
#else
    int pair = int(v[s >> 1]);
    int at = int(16u * (s & 1u));
    return ivec4(bitfieldExtract(pair, at, 8), bitfieldExtract(pair, at + 8, 8), 0, 0);
#endif
}

/* The word with d where w_scale_words lacks it. */
uint w_scale_mid(Chunk c, uint group, uint r, uint b)
{
#if defined(W_MID) && !defined(LK_W_IQ4_XS)
    return w_mid(c, group, b, r);
#else
    return 0u;
#endif
}

/* d and dmin; v from w_scale_words, mid from w_scale_mid. */
vec2 w_scale_of(uvec4 v, uint mid)
{
#if defined(LK_W_Q2_K)
    return vec2(lk_f16_to_f32(mid), lk_f16_to_f32(mid >> 16));
#elif defined(LK_W_Q3_K)
    return vec2(lk_f16_to_f32(v[3]), 0.0);
#elif defined(LK_W_Q6_K)
    return vec2(lk_f16_to_f32(mid), 0.0);
#elif defined(LK_W_IQ4_XS)
    return vec2(lk_f16_to_f32(v.x), 0.0);
#elif defined(LK_W_IQ1_S) || defined(LK_W_IQ2_XXS) || defined(LK_W_IQ2_S)
    return vec2(lk_f16_to_f32(mid) * 0.125, 0.0);
#elif defined(LK_W_IQ2_XS) || defined(LK_W_IQ1_M)
    return vec2(lk_f16_to_f32(v.z) * 0.125, 0.0);
#elif defined(LK_W_IQ3_XXS)
    return vec2(lk_f16_to_f32(mid) * 0.25, 0.0);
#elif defined(LK_W_IQ3_S)
    return vec2(lk_f16_to_f32(v.w), 0.0);
#elif defined(W_TRITS)
    return vec2(lk_f16_to_f32(mid), 0.0);
#else
    return vec2(lk_f16_to_f32(v[0]), lk_f16_to_f32(v[0] >> 16));
#endif
}

vec2 w_scale(Chunk c, uint group, uint r, uint b, uvec4 v)
{
    return w_scale_of(v, w_scale_mid(c, group, r, b));
}
#endif
