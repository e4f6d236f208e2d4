/* SPDX-License-Identifier: Apache-2.0
 *
 * Words_dotprod: the words of cpu/matmul_body.h by sdot: dots are int32 from the start.
 */
#ifndef LK_WORDS_DOTPROD_H
#define LK_WORDS_DOTPROD_H

#include "cpu/arm/words_neon.h"

enum { QV_BIAS8 = 0, QV_DOTS5 = 8, QV_DOTS6 = 4 };

static inline qv qv_add(qv a, qv b)
{
    return vaddq_s32(a, b);
}
static inline qv qv_dot(qv acc, qv u, qv x)
{
    return vdotq_s32(acc, bytes(u), bytes(x));
}
static inline sv_i qv_sum(qv acc)
{
    return acc;
}
static inline sv_i qv_scaled(qv acc, qv scale)
{
    return vmulq_s32(acc, scale);
}
static inline sv_i qv_dot8(sv_i acc, qv u, qv x)
{
    return vdotq_s32(acc, centred(u), bytes(x));
}

#endif
