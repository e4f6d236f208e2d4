/* SPDX-License-Identifier: Apache-2.0
 *
 * Quant_check: finds NaN and infinity in a weight before anything computes with it.
 */
#include <string.h>

#include "quant/quant.h"

/* Whether float i of the row has all exponent bits set. */
static bool bad_float(const struct lk_type_info *info, const uint8_t *row, size_t i)
{
    uint32_t u = 0, mask = info->type == LK_TYPE_F32   ? 0x7f800000u
                           : info->type == LK_TYPE_F16 ? 0x7c00u
                                                       : 0x7f80u;
    memcpy(&u, row + i * (size_t)info->block_bytes, (size_t)info->block_bytes);
    return (u & mask) == mask;
}

static bool bad_scale(const struct lk_type_info *info, const uint8_t *block, int i)
{
    const uint8_t *p = block + info->scale_at[i];
    switch (info->scales) {
    case LK_SCALE_F16:
        return (p[1] & 0x7c) == 0x7c;
    case LK_SCALE_F16_SPREAD:
        return (p[7] & 0x70) == 0x70 && (p[5] & 0xc0) == 0xc0;
    case LK_SCALE_E8M0:
        return p[0] > 167;
    case LK_SCALE_UE4M3:
        return p[0] > 126;
    case LK_SCALE_NONE:
        break;
    }
    return false;
}

int64_t lk_row_find_bad(enum lk_type type, const void *row, size_t n)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    const uint8_t *p = row;
    for (size_t i = 0; !info->quantized && i < n; i++) {
        if (bad_float(info, p, i)) {
            return (int64_t)i;
        }
    }
    size_t block = (size_t)info->block, step = (size_t)info->block_bytes;
    for (size_t b = 0; info->quantized && b < n / block; b++) {
        for (int s = 0; s < info->n_scales; s++) {
            if (bad_scale(info, p + b * step, s)) {
                return (int64_t)(b * block);
            }
        }
    }
    return -1;
}

const char *lk_bad_text(enum lk_type type)
{
    switch (lk_type_info((uint32_t)type)->scales) {
    case LK_SCALE_E8M0:
        return "a scale of 2^40 or more, or NaN,";
    case LK_SCALE_UE4M3:
        return "a scale that is NaN or has a sign";
    case LK_SCALE_F16:
    case LK_SCALE_F16_SPREAD:
    case LK_SCALE_NONE:
        break;
    }
    return "NaN or infinity";
}

void lk_block_small_scale(const struct lk_type_info *info, uint8_t *block, int i, bool tiny)
{
    uint8_t *p = block + info->scale_at[i];
    switch (info->scales) {
    case LK_SCALE_F16:
        p[1] &= tiny ? 0x83 : 0x9f;
        break;
    case LK_SCALE_F16_SPREAD:
        p[7] &= tiny ? 0x8f : 0x9f;
        p[5] &= tiny ? 0x3f : 0xff;
        break;
    case LK_SCALE_E8M0:
        p[0] = (uint8_t)(tiny ? p[0] & 63 : 105 + (p[0] & 15));
        break;
    case LK_SCALE_UE4M3:
        p[0] &= tiny ? 7 : 31;
        break;
    case LK_SCALE_NONE:
        break;
    }
}
