/* SPDX-License-Identifier: Apache-2.0
 *
 * Quant_check: finds NaN and infinity in a weight before anything computes with it.
 */
#include <string.h>

#include "quant/quant.h"

static bool bad_half(const uint8_t *p)
{
    return (p[1] & 0x7c) == 0x7c; /* exponent all ones */
}

size_t lk_block_scales(enum lk_type type, size_t at[2])
{
    switch (type) {
    case LK_TYPE_Q4_0:
    case LK_TYPE_Q5_0:
    case LK_TYPE_Q8_0:
        at[0] = 0;
        return 1;
    case LK_TYPE_Q4_1:
    case LK_TYPE_Q5_1:
    case LK_TYPE_Q4_K:
    case LK_TYPE_Q5_K:
        at[0] = 0;
        at[1] = 2;
        return 2;
    case LK_TYPE_Q2_K:
        at[0] = offsetof(struct lk_q2_k, d);
        at[1] = offsetof(struct lk_q2_k, dmin);
        return 2;
    case LK_TYPE_Q3_K:
        at[0] = offsetof(struct lk_q3_k, d);
        return 1;
    case LK_TYPE_Q6_K:
        at[0] = offsetof(struct lk_q6_k, d);
        return 1;
    case LK_TYPE_F32:
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        break;
    }
    return 0;
}

int64_t lk_row_find_bad(enum lk_type type, const void *row, size_t n)
{
    const uint8_t *p = row;
    if (type == LK_TYPE_F32) {
        for (size_t i = 0; i < n; i++) {
            uint32_t u;
            memcpy(&u, p + 4 * i, 4);
            if ((u & 0x7f800000u) == 0x7f800000u) {
                return (int64_t)i;
            }
        }
        return -1;
    }
    if (type == LK_TYPE_F16 || type == LK_TYPE_BF16) {
        unsigned mask = type == LK_TYPE_F16 ? 0x7c00u : 0x7f80u;
        for (size_t i = 0; i < n; i++) {
            unsigned u = p[2 * i] | (unsigned)p[2 * i + 1] << 8;
            if ((u & mask) == mask) {
                return (int64_t)i;
            }
        }
        return -1;
    }
    const struct lk_type_info *info = lk_type_info(type);
    size_t at[2], block = (size_t)info->block, step = (size_t)info->block_bytes;
    size_t n_scales = lk_block_scales(type, at);
    for (size_t b = 0; b < n / block; b++) {
        for (size_t s = 0; s < n_scales; s++) {
            if (bad_half(p + b * step + at[s])) {
                return (int64_t)(b * block);
            }
        }
    }
    return -1;
}
