/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 by the instructions of x86 (SHA-NI) and ARMv8 (crypto extension): four rounds at a time,
 * and the message's words four at a time. See sha256.h.
 */
#include "base/sha256.h"

#include <stdbool.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* The instructions want the state as the words a b e f and c d g h, the first in the highest lane.
 * Two rounds make the new a b e f out of both; what was a b e f is the new c d g h. */
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_x86(uint32_t state[8],
                                                                   const uint8_t *p, size_t n)
{
    const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    const int *s = (const int *)state;
    __m128i abef = _mm_set_epi32(s[0], s[1], s[4], s[5]);
    __m128i cdgh = _mm_set_epi32(s[2], s[3], s[6], s[7]);
    for (; n > 0; n--, p += 64) {
        __m128i w[4], abef_before = abef, cdgh_before = cdgh;
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
            w[i] = _mm_shuffle_epi8(w[i], big_endian);
        }
        for (int i = 0; i < 16; i++) {
            __m128i k = _mm_loadu_si128((const __m128i *)(lk_sha256_k + 4 * i));
            __m128i wk = _mm_add_epi32(w[0], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
            /* Words t to t + 3 of words t - 16 to t - 1, which are w[0] to w[3]. */
            __m128i seven_back = _mm_alignr_epi8(w[3], w[2], 4);
            __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), seven_back);
            next = _mm_sha256msg2_epu32(next, w[3]);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    uint32_t x[4], y[4];
    _mm_storeu_si128((__m128i *)x, abef);
    _mm_storeu_si128((__m128i *)y, cdgh);
    for (int i = 0; i < 2; i++) {
        state[i] = x[3 - i];
        state[4 + i] = x[1 - i];
        state[2 + i] = y[3 - i];
        state[6 + i] = y[1 - i];
    }
}

lk_sha256_blocks lk_sha256_blocks_cpu(void)
{
    uint32_t a, b, c, d;
    bool sse = __get_cpuid(1, &a, &b, &c, &d) && c >> 9 & 1 && c >> 19 & 1; /* SSSE3, SSE4.1 */
    return sse && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 ? blocks_x86 : NULL;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_SHA2)
#include <arm_neon.h>
#include <sys/auxv.h>

static void blocks_arm(uint32_t state[8], const uint8_t *p, size_t n)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; n > 0; n--, p += 64) {
        uint32x4_t w[4], abcd_before = abcd, efgh_before = efgh;
        for (int i = 0; i < 4; i++) {
            w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p + 16 * i)));
        }
        for (int i = 0; i < 16; i++) {
            uint32x4_t wk = vaddq_u32(w[0], vld1q_u32(lk_sha256_k + 4 * i)), before = abcd;
            abcd = vsha256hq_u32(abcd, efgh, wk);
            efgh = vsha256h2q_u32(efgh, before, wk);
            /* Words t to t + 3 of words t - 16 to t - 1, which are w[0] to w[3]. */
            uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w[0], w[1]), w[2], w[3]);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

lk_sha256_blocks lk_sha256_blocks_cpu(void)
{
    enum { SHA2 = 6 }; /* HWCAP_SHA2 */
    return getauxval(AT_HWCAP) >> SHA2 & 1 ? blocks_arm : NULL;
}

#else
lk_sha256_blocks lk_sha256_blocks_cpu(void)
{
    return NULL;
}
#endif
