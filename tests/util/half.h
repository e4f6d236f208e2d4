/* SPDX-License-Identifier: Apache-2.0
 *
 * Half: f16 of a number for files that tests write; the engine only reads halves.
 */
#ifndef LK_TEST_HALF_H
#define LK_TEST_HALF_H

#include <math.h>
#include <stdint.h>

#include "quant/quant.h"

/* The half nearest to x, ties to even, beyond +-65504 clamped; never -0. */
static inline uint16_t half_of(double x)
{
    double a = fmin(fabs(x), 65504);
    int e;
    frexp(a, &e); /* a in [2^(e-1), 2^e) */
    int unit = a == 0 || e - 11 < -24 ? -24 : e - 11;
    double r = ldexp(nearbyint(ldexp(a, -unit)), unit);
    if (r == 0) {
        return 0;
    }
    frexp(r, &e);
    uint32_t h = r < 0x1p-14 ? (uint32_t)ldexp(r, 24)
                             : (uint32_t)(e + 14) << 10 | ((uint32_t)ldexp(r, 11 - e) & 1023);
    return (uint16_t)(h | (x < 0 ? 0x8000u : 0));
}

/* Scale i of a block, in one of the formats that hold a half. */
static inline void put_f16_scale(const struct lk_type_info *info, uint8_t *block, int i,
                                 uint16_t half)
{
    uint8_t *p = block + info->scale_at[i];
    if (info->scales == LK_SCALE_F16_SPREAD) {
        for (int k = 0; k < 4; k++) {
            p[2 * k + 1] = (uint8_t)((p[2 * k + 1] & 15) | (half >> (4 * k) & 15) << 4);
        }
    } else {
        p[0] = (uint8_t)half;
        p[1] = (uint8_t)(half >> 8);
    }
}

#endif
