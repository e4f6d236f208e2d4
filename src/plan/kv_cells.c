/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv_cells: see kv_cells.h.
 */
#include "plan/kv_cells.h"

#include "plan/op.h"

int lk_kv_most(int bits)
{
    return bits == LK_KV_K_BITS ? LK_Q_MOST : LK_BYTE_MOST;
}

float lk_kv_quantize(const float *x, size_t n, int most, int16_t *q)
{
    uint32_t a = 0;
    for (size_t i = 0; i < n; i++) {
        a = lk_magnitude(x[i]) > a ? lk_magnitude(x[i]) : a;
    }
    if (a == 0) {
        for (size_t i = 0; i < n; i++) {
            q[i] = 0;
        }
        return 0.0f;
    }
    float r = lk_cell_factor(lk_flt(a), (float)most);
    for (size_t i = 0; i < n; i++) {
        q[i] = (int16_t)lk_rte(x[i] * r);
    }
    return lk_cell_scale(lk_flt(a), most);
}

void lk_kv_place_k(uint32_t *head, int dim, int bits, int slot, const int16_t *k, float scale)
{
    for (int d = 0; d < dim; d += 8) {
        uint32_t high[2] = {0, 0}, low = 0;
        for (int c = 0; c < 8; c++) {
            int x = k[d + c];
            if (bits == LK_KV_K_BITS) {
                low |= (uint32_t)(x & 15) << (c % 4 * 8 + c / 4 * 4);
                x = (x - (x & 15)) / 16;
            }
            high[c / 4] |= (uint32_t)(x & 0xff) << c % 4 * 8;
        }
        head[LK_KV_K_HIGH(d, slot)] = high[0];
        head[LK_KV_K_HIGH(d + 4, slot)] = high[1];
        if (bits == LK_KV_K_BITS) {
            head[LK_KV_K_LOW(dim, d, slot)] = low;
        }
    }
    head[LK_KV_SCALE_AT(dim, bits, slot)] = lk_bits(scale);
}

void lk_kv_place_v(uint32_t *head, int dim, int slot, const int16_t *v, float scale)
{
    int8_t *bytes = (int8_t *)(head + LK_KV_V_AT(dim, 0, slot)) + slot % 4;
    for (int d = 0; d < dim; d++) {
        bytes[4 * d] = (int8_t)v[d];
    }
    head[LK_KV_SCALE_AT(dim, LK_KV_V_BITS, slot)] = lk_bits(scale);
}

void lk_kv_put_k(uint32_t *head, int dim, int bits, int slot, const float *x, int head_dim)
{
    int16_t k[LK_MAX_HEAD_DIM] = {0};
    float scale = lk_kv_quantize(x, (size_t)head_dim, lk_kv_most(bits), k);
    lk_kv_place_k(head, dim, bits, slot, k, scale);
}

void lk_kv_put_v(uint32_t *head, int dim, int slot, const float *x, int head_dim)
{
    int16_t v[LK_MAX_HEAD_DIM] = {0};
    float scale = lk_kv_quantize(x, (size_t)head_dim, LK_BYTE_MOST, v);
    lk_kv_place_v(head, dim, slot, v, scale);
}
