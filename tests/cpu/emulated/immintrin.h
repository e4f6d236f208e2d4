/* SPDX-License-Identifier: Apache-2.0
 *
 * Immintrin: stands in front of the compiler's header where kernels of AVX-512 and AMX are built
 * for machines that have neither (tests/cpu/emulated.sh). SIMDe has most of AVX-512 in plain C;
 * here are what its release of 2022 lacks, multiply-adds that round once, and tiles.
 */
#ifndef LK_EMULATED_IMMINTRIN_H
#define LK_EMULATED_IMMINTRIN_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t __mmask8;
typedef uint16_t __mmask16;

/* ---- AVX-512 ---- */

/* The bits of an argument or a result. */
union emulated {
    float f[16];
    int32_t i[16];
    int16_t h[32];
};
#define EMULATED(type, name, params, code)                                                         \
    static inline type name params                                                                 \
    {                                                                                              \
        type result;                                                                               \
        union emulated r;                                                                          \
        code memcpy(&result, &r, sizeof result);                                                   \
        return result;                                                                             \
    }
/* Each lane of 32 bits, or of 16, of what lies in memory as type `of`. */
#define EMULATED_WIDEN(name, from, of, lanes, to)                                                  \
    EMULATED(simde__m512i, name, (from x), {                                                       \
        of in[lanes];                                                                              \
        memcpy(in, &x, sizeof in);                                                                 \
        for (int k = 0; k < (lanes); k++) {                                                        \
            r.to[k] = in[k];                                                                       \
        }                                                                                          \
    })
EMULATED_WIDEN(emulated_cvtepu8_epi32, simde__m128i, uint8_t, 16, i)
EMULATED_WIDEN(emulated_cvtepi8_epi32, simde__m128i, int8_t, 16, i)
EMULATED_WIDEN(emulated_cvtepu16_epi32, simde__m256i, uint16_t, 16, i)
EMULATED_WIDEN(emulated_cvtepu8_epi16, simde__m256i, uint8_t, 32, h)
EMULATED_WIDEN(emulated_cvtepi8_epi16, simde__m256i, int8_t, 32, h)
EMULATED(simde__m256i, emulated_cvtepi32_epi16, (simde__m512i x), {
    int32_t in[16];
    memcpy(in, &x, sizeof in);
    for (int k = 0; k < 16; k++) {
        r.h[k] = (int16_t)in[k];
    }
})
EMULATED(simde__m512, emulated_cvtepi32_ps, (simde__m512i x), {
    int32_t in[16];
    memcpy(in, &x, sizeof in);
    for (int k = 0; k < 16; k++) {
        r.f[k] = (float)in[k];
    }
})
EMULATED(simde__m512, emulated_cvtph_ps, (simde__m256i x), {
    simde__m128i half[2];
    simde__m256 wide[2];
    memcpy(half, &x, sizeof half);
    wide[0] = simde_mm256_cvtph_ps(half[0]);
    wide[1] = simde_mm256_cvtph_ps(half[1]);
    memcpy(&r, wide, sizeof r);
})
EMULATED(simde__m512, emulated_fmadd_ps, (simde__m512 a, simde__m512 b, simde__m512 c), {
    union emulated x;
    union emulated y;
    union emulated z;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    memcpy(&z, &c, sizeof z);
    for (int k = 0; k < 16; k++) {
        r.f[k] = fmaf(x.f[k], y.f[k], z.f[k]);
    }
})
EMULATED(simde__m256, emulated_maskz_loadu_256, (uint32_t mask, const float *p), {
    for (int k = 0; k < 8; k++) {
        r.f[k] = mask >> k & 1 ? p[k] : 0.0f;
    }
})
static inline void emulated_mask_storeu_512(float *p, uint32_t mask, simde__m512 x)
{
    float from[16];
    memcpy(from, &x, sizeof from);
    for (int k = 0; k < 16; k++) {
        if (mask >> k & 1) {
            p[k] = from[k];
        }
    }
}
static inline int32_t emulated_reduce_max_epi32(simde__m512i x)
{
    int32_t in[16], most = INT32_MIN;
    memcpy(in, &x, sizeof in);
    for (int k = 0; k < 16; k++) {
        most = in[k] > most ? in[k] : most;
    }
    return most;
}
static inline int32_t emulated_reduce_add_epi32(simde__m512i x)
{
    uint32_t in[16], sum = 0;
    memcpy(in, &x, sizeof in);
    for (int k = 0; k < 16; k++) {
        sum += in[k];
    }
    return (int32_t)sum;
}
#undef _mm512_fmadd_ps
#undef _mm512_cvtepi8_epi16 /* SIMDe's is wrong */
#define _mm512_cvtepi8_epi16 emulated_cvtepi8_epi16
#undef _mm512_madd_epi16 /* SIMDe's name for it wants four arguments */
#define _mm512_madd_epi16       simde_mm512_madd_epi16
#define _mm512_cvtepu8_epi32    emulated_cvtepu8_epi32
#define _mm512_cvtepi8_epi32    emulated_cvtepi8_epi32
#define _mm512_cvtepu16_epi32   emulated_cvtepu16_epi32
#define _mm512_cvtepu8_epi16    emulated_cvtepu8_epi16
#define _mm512_cvtepi32_epi16   emulated_cvtepi32_epi16
#define _mm512_cvtepi32_ps      emulated_cvtepi32_ps
#define _mm512_cvtph_ps         emulated_cvtph_ps
#define _mm512_fmadd_ps         emulated_fmadd_ps
#define _mm256_maskz_loadu_ps   emulated_maskz_loadu_256
#define _mm512_mask_storeu_ps   emulated_mask_storeu_512
#define _mm512_reduce_max_epi32 emulated_reduce_max_epi32
#define _mm512_reduce_add_epi32 emulated_reduce_add_epi32

/* ---- AMX ---- */

/* Of a thread: the shapes that a configuration gives its tiles, and their bytes. */
static _Thread_local struct {
    uint16_t bytes[16];
    uint8_t rows[16], tile[8][16][64];
} emulated_amx;

static inline void _tile_loadconfig(const void *config)
{
    const uint8_t *c = config;
    memset(&emulated_amx, 0, sizeof emulated_amx);
    memcpy(emulated_amx.bytes, c + 16, sizeof emulated_amx.bytes);
    memcpy(emulated_amx.rows, c + 48, sizeof emulated_amx.rows);
}

static inline void _tile_release(void)
{
    memset(&emulated_amx, 0, sizeof emulated_amx);
}

static inline void _tile_zero(int t)
{
    memset(emulated_amx.tile[t], 0, sizeof emulated_amx.tile[t]);
}

static inline void _tile_loadd(int t, const void *from, size_t stride)
{
    _tile_zero(t);
    for (size_t r = 0; r < emulated_amx.rows[t]; r++) {
        memcpy(emulated_amx.tile[t][r], (const uint8_t *)from + r * stride, emulated_amx.bytes[t]);
    }
}

static inline void _tile_stored(int t, void *to, size_t stride)
{
    for (size_t r = 0; r < emulated_amx.rows[t]; r++) {
        memcpy((uint8_t *)to + r * stride, emulated_amx.tile[t][r], emulated_amx.bytes[t]);
    }
}

/* Tile c += a b, four bytes of a times four bytes of b at a time. */
static inline void emulated_dots(int c, int a, int b, bool a_signed, bool b_signed)
{
    for (int m = 0; m < emulated_amx.rows[c]; m++) {
        int32_t sum[16];
        memcpy(sum, emulated_amx.tile[c][m], sizeof sum);
        for (int k = 0; k < emulated_amx.bytes[a]; k++) {
            uint8_t u = emulated_amx.tile[a][m][k];
            int x = a_signed ? (int8_t)u : u;
            for (int n = 0; n < emulated_amx.bytes[c] / 4; n++) {
                uint8_t w = emulated_amx.tile[b][k / 4][4 * n + k % 4];
                sum[n] += x * (b_signed ? (int8_t)w : w);
            }
        }
        memcpy(emulated_amx.tile[c][m], sum, sizeof sum);
    }
}
#define _tile_dpbssd(c, a, b) emulated_dots(c, a, b, true, true)
#define _tile_dpbsud(c, a, b) emulated_dots(c, a, b, true, false)
#define _tile_dpbusd(c, a, b) emulated_dots(c, a, b, false, true)
#define _tile_dpbuud(c, a, b) emulated_dots(c, a, b, false, false)

#endif
