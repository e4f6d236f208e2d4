/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention: the integers of rule 8 as kernels hold them. Four integers of a query or a weight of
 * values are a uvec2: with LK_INT_DOT two limbs of four int8 each, else four int16.
 */
#include "shaders/dot.glsl"

const int NO_KEY = -0x7fffffff;

float merge_factor(int k)
{
    return k < LK_MERGE_CUT ? lk_flt(0u) : lk_flt(uint(127 + k) << 23);
}

/* Factors of what came before a chunk, and of the chunk, whose largest exponents are n and nc. */
vec2 merge_factors(int n, int nc)
{
    int nn = max(n, nc);
    return n == NO_KEY ? vec2(0.0, 1.0) : vec2(merge_factor(n - nn), merge_factor(nc - nn));
}

/* A sum of what came before a chunk, and the chunk's. */
float merged(float before, float own, vec2 factors)
{
    precise float a = before * factors.x;
    precise float b = own * factors.y;
    a = a + b;
    return a;
}

uint pack4(ivec4 x)
{
    return (uint(x.x) & 0xffu) | (uint(x.y) & 0xffu) << 8 | (uint(x.z) & 0xffu) << 16 |
           uint(x.w) << 24;
}

int byte_at(uint word, uint i)
{
    return bitfieldExtract(int(word), int(8u * i), 8);
}

/* Largest integer of a cell of K. */
int most_of(uint bits)
{
    return bits == LK_KV_K_BITS ? LK_Q_MOST : LK_BYTE_MOST;
}

/* Four floats as integers; factor is lk_cell_factor, or anything where a is 0. */
ivec4 quantize4(vec4 x, uint a, float factor)
{
    precise vec4 t = x * factor;
    return a == 0u ? ivec4(0) : ivec4(lk_rte(t.x), lk_rte(t.y), lk_rte(t.z), lk_rte(t.w));
}

/* ---- queries times keys ---- */

uvec2 pack_query(ivec4 q)
{
#ifdef LK_INT_DOT
    return uvec2(pack4(q >> 4), pack4(q & 15));
#else
    return uvec2((uint(q.x) & 0xffffu) | uint(q.y) << 16, (uint(q.z) & 0xffffu) | uint(q.w) << 16);
#endif
}

/* Four integers of a key: x high word, y low halves in the low bits of each byte. */
#ifdef LK_INT_DOT
#define KEY uvec2
#define SUM ivec3
uvec2 unpack_key(uint high, uint low, uint bits)
{
    return uvec2(high, low);
}
ivec3 add_dot(ivec3 sum, uvec2 q, uvec2 k, uint bits)
{
    sum.x += dot4(q.x, k.x);
    sum.y += dot4(q.y, k.x);
    if (bits == LK_KV_K_BITS) {
        sum.y += dot4(q.x, k.y);
        sum.z += dot4(q.y, k.y);
    }
    return sum;
}
int whole(ivec3 sum, uint bits)
{
    return bits == LK_KV_K_BITS ? sum.x * 256 + sum.y * 16 + sum.z : sum.x * 16 + sum.y;
}
#else
#define KEY ivec4
#define SUM int
ivec4 unpack_key(uint high, uint low, uint bits)
{
    ivec4 k = ivec4(byte_at(high, 0u), byte_at(high, 1u), byte_at(high, 2u), byte_at(high, 3u));
    if (bits == LK_KV_K_BITS) {
        k = k * 16 + ivec4(low & 15u, (low >> 8) & 15u, (low >> 16) & 15u, low >> 24);
    }
    return k;
}
int add_dot(int sum, uvec2 q, ivec4 k, uint bits)
{
    return sum + (int(q.x) << 16 >> 16) * k.x + (int(q.x) >> 16) * k.y +
           (int(q.y) << 16 >> 16) * k.z + (int(q.y) >> 16) * k.w;
}
int whole(int sum, uint bits)
{
    return sum;
}
#endif

/* The score of a dot, in base 2; +0 of one out of range, which sets `far`. */
float score_of(int dot, float k_scale, float q_scale, uint cap, bool used, inout bool far)
{
    precise float s = float_of(dot) * k_scale;
    s = s * q_scale;
    if (cap != 0u) {
        s = lk_tanh(s);
        s = s * lk_flt(cap);
    }
    bool beyond = lk_magnitude(s) >= LK_SCORE_LIMIT;
    far = far || (used && beyond);
    return used && !beyond ? s : lk_flt(0u); /* a stale scale is anything */
}

/* p of a score whose whole exponent is k, in a chunk of largest exponent n. */
float weight_of(float s, int k, int n)
{
    precise float f = s - lk_f22(k);
    precise float m = lk_exp2_part(f);
    return k - n < LK_P_CUT ? lk_flt(0u) : lk_scale2(m, k - n);
}

/* p as an integer of l. */
int count_of(float p)
{
    precise float t = p * lk_flt(uint(127 + LK_L_BITS) << 23);
    return lk_rte(t);
}

float l_of(int sum)
{
    precise float l = float_of(sum) * lk_flt(uint(127 - LK_L_BITS) << 23);
    return l;
}

/* ---- sinks ---- */

/* Of heads, where FLAGS has LK_VK_ATTN_SINK. */
layout(std430, binding = 6) readonly buffer Sinks
{
    float sinks[];
};

/* ---- weights times values ---- */

uvec2 pack_weights(ivec4 w)
{
#ifdef LK_INT_DOT
    return uvec2(pack4((w + 128) >> 8), pack4(w));
#else
    return uvec2(uint(w.x) | uint(w.y) << 16, uint(w.z) | uint(w.w) << 16);
#endif
}

#ifdef LK_INT_DOT
#define VALUE uint
uint unpack_value(uint word)
{
    return word;
}
int add_values(int sum, uvec2 w, uint v)
{
    return sum + dot4(w.x, v) * 256 + dot4(w.y, v);
}
#else
#define VALUE ivec4
ivec4 unpack_value(uint word)
{
    return ivec4(byte_at(word, 0u), byte_at(word, 1u), byte_at(word, 2u), byte_at(word, 3u));
}
int add_values(int sum, uvec2 w, ivec4 v)
{
    return sum + int(w.x & 0xffffu) * v.x + int(w.x >> 16) * v.y + int(w.y & 0xffffu) * v.z +
           int(w.y >> 16) * v.w;
}
#endif
