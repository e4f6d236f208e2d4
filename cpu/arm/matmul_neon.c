/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_neon: packed matmul without dot-product instructions, on 4 rows. Dots are kept in 16-bit
 * lanes (two for each row), within the bounds that cpu/x86/matmul_avx2.c states. The text is
 * cpu/matmul_body.h.
 */
#include <stdbool.h>

#include "cpu/arm/words_neon.h"

#include "cpu/vec_words.h"

enum { MM_TOKENS = 4, QV_BIAS8 = 0, QV_DOTS5 = 4, QV_DOTS6 = 2 };

/* Products of 4 bytes of each row, added in pairs: two 16-bit sums for each row. */
static inline int16x8_t pair_sums(int8x16_t u, int8x16_t x)
{
    return vpaddq_s16(vmull_s8(vget_low_s8(u), vget_low_s8(x)), vmull_high_s8(u, x));
}
static inline qv qv_add(qv a, qv b)
{
    int16x8_t sum = vaddq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
    return vreinterpretq_s32_s16(sum);
}
static inline qv qv_dot(qv acc, qv u, qv x)
{
    return qv_add(acc, vreinterpretq_s32_s16(pair_sums(bytes(u), bytes(x))));
}
static inline sv_i qv_sum(qv acc)
{
    return vpaddlq_s16(vreinterpretq_s16_s32(acc));
}
static inline sv_i qv_scaled(qv acc, qv scale)
{
    return vmulq_s32(qv_sum(acc), scale);
}
/* 2 * 128 * 127 fits 16 bits, once. */
static inline sv_i qv_dot8(sv_i acc, qv u, qv x)
{
    return vpadalq_s16(acc, pair_sums(centred(u), bytes(x)));
}

#include "cpu/matmul_body.h"

const struct lk_matmul_kernels lk_matmul_neon = {
    .level = LK_CPU_NEON,
    .prepare = mm_prepare,
    .mul = mm_mul,
};
