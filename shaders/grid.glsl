/* SPDX-License-Identifier: Apache-2.0
 *
 * Grid: 16 elements of a block whose indices stand for points (src/quant/grid.h). The points, 16 bits
 * each, stand behind each chunk of weights (as constants CPU drivers take minutes to compile them)
 * and are brought to shared memory, or with W_POINTS_IN_PLACE read where they are. Included by
 * weights.glsl.
 */
#ifdef W_POINTS_IN_PLACE
uint w_points_at;

void w_start(Chunk c, uint threads)
{
    w_points_at = c.tail;
}

/* Two points. */
uint w_points(uint i)
{
    return w1[w_points_at + i];
}
#else
#if defined(LK_W_IQ2_XXS) || defined(LK_W_IQ3_XXS)
#define W_POINT_WORDS 128u
#elif defined(LK_W_IQ2_XS) || defined(LK_W_IQ3_S)
#define W_POINT_WORDS 256u
#elif defined(LK_W_IQ2_S)
#define W_POINT_WORDS 512u
#else
#define W_POINT_WORDS 1024u
#endif

shared uint w_shared[W_POINT_WORDS];

/* Called by all invocations of a workgroup before weights are read; ends with a barrier. */
void w_start(Chunk c, uint threads)
{
    for (uint i = gl_LocalInvocationIndex; i < W_POINT_WORDS; i += threads) {
        w_shared[i] = w1[c.tail + i];
    }
    barrier();
}

uint w_points(uint i)
{
    return w_shared[i];
}
#endif

/* Point i: 16 bits. */
uint w_point(uint i)
{
    return (w_points(i >> 1) >> (16u * (i & 1u))) & 0xffffu;
}

/* Four elements of 4 bits to bytes. */
uint spread_4(uint x)
{
    uint v = (x | (x << 8)) & 0x00ff00ffu;
    return (v | (v << 4)) & 0x0f0f0f0fu;
}

/* 7 bits and the one that makes their number even. */
uint even_signs(uint code)
{
    return code | ((uint(bitCount(code)) & 1u) << 7);
}

/* Positive bytes, negated where bits 0..3 of `signs` are set. */
uint with_signs(uint v, uint signs)
{
    uint minus = spread4(signs & 15u);
    return (v ^ (minus * 255u)) + minus;
}

#if defined(LK_W_IQ2_XXS) || defined(LK_W_IQ2_XS) || defined(LK_W_IQ2_S)
/* 8 elements of a point: 8, 25, 43. */
uvec2 point_bytes(uint i, uint signs)
{
    uint p = w_point(i);
    uvec2 v = uvec2(spread_2(p), spread_2(p >> 8));
    v = 0x08080808u + v * 17u + ((v >> 1) & 0x01010101u);
    return uvec2(with_signs(v.x, signs), with_signs(v.y, signs >> 4));
}
#elif defined(LK_W_IQ3_XXS)
/* 4 elements of a point: 4, 12 .. 52, 62. */
uint point_bytes(uint i, uint signs)
{
    uint v = spread_4(w_point(i));
    uint top = v & (v >> 1) & (v >> 2) & 0x01010101u;
    return with_signs(0x04040404u + v * 8u + top * 2u, signs);
}
#elif defined(LK_W_IQ3_S)
uint point_bytes(uint i, uint signs)
{
    return with_signs(0x01010101u + spread_4(w_point(i)) * 2u, signs);
}
#else
/* 8 elements of a point: 8 g + 1 or 8 g - 1, g = -1, 0, 1. */
uvec2 point_bytes(uint i, uint minus)
{
    uint p = w_point(i);
    uint offset = minus != 0u ? 0x77777777u : 0x79797979u; /* 120 - 1, 120 + 1: + 128 */
    return uvec2(spread_2(p) * 8u + offset, spread_2(p >> 8) * 8u + offset) ^ 0x80808080u;
}
#endif

/* Elements [32 s + 16 h, + 16) as signed bytes: low, high and words as w_low, w_high and
 * w_scale_words have them. */
uvec4 grid_bytes(uvec4 low, uvec4 high, uvec4 words, uint s, uint h)
{
#if defined(LK_W_IQ1_S) || defined(LK_W_IQ1_M)
    uint q = low[s & 3u] >> (16u * h);
#ifdef LK_W_IQ1_S
    uint more = words[s >> 1] >> (16u * (s & 1u));
    uint minus = (more >> 15) & 1u;
    more >>= 6u * h;
    return uvec4(point_bytes((q & 255u) | ((more & 7u) << 8), minus),
                 point_bytes(((q >> 8) & 255u) | (((more >> 3) & 7u) << 8), minus));
#else
    uint more = high[s >> 1] >> (16u * (s & 1u) + 8u * h);
    return uvec4(point_bytes((q & 255u) | ((more & 7u) << 8), more & 8u),
                 point_bytes(((q >> 8) & 255u) | (((more >> 4) & 7u) << 8), more & 128u));
#endif
#else
    uvec2 pair = (s & 1u) == 0u ? low.xy : low.zw;
#if defined(LK_W_IQ2_XXS)
    uint q = pair.x >> (16u * h), codes = pair.y >> (14u * h);
    return uvec4(point_bytes(q & 255u, even_signs(codes & 127u)),
                 point_bytes((q >> 8) & 255u, even_signs((codes >> 7) & 127u)));
#elif defined(LK_W_IQ2_XS)
    uint q = h == 0u ? pair.x : pair.y;
    return uvec4(point_bytes(q & 511u, even_signs((q >> 9) & 127u)),
                 point_bytes((q >> 16) & 511u, even_signs(q >> 25)));
#elif defined(LK_W_IQ2_S)
    uint q = pair.x >> (16u * h), signs = pair.y >> (16u * h);
    uint more = (s < 4u ? words.x : words.y) >> (8u * (s & 3u) + 4u * h);
    return uvec4(point_bytes((q & 255u) | ((more & 3u) << 8), signs & 255u),
                 point_bytes(((q >> 8) & 255u) | (((more >> 2) & 3u) << 8), (signs >> 8) & 255u));
#else
    uint q = h == 0u ? pair.x : pair.y;
    uvec4 at = uvec4(q, q >> 8, q >> 16, q >> 24) & 255u;
#if defined(LK_W_IQ3_XXS)
    uint codes = high[s & 3u] >> (14u * h);
    uint signs = even_signs(codes & 127u) | (even_signs((codes >> 7) & 127u) << 8);
#else
    uint signs = high[s & 3u] >> (16u * h);
    uint more = (s < 4u ? words.x : words.y) >> (8u * (s & 3u) + 4u * h);
    at |= (uvec4(more, more >> 1, more >> 2, more >> 3) & 1u) << 8;
#endif
    return uvec4(point_bytes(at.x, signs), point_bytes(at.y, signs >> 4),
                 point_bytes(at.z, signs >> 8), point_bytes(at.w, signs >> 12));
#endif
#endif
}
