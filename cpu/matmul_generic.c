/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_generic: the table of plain C, for machines without a SIMD level: rows as they lie in the
 * file, the sums of cpu/scalar.c.
 */
#include <string.h>

#include "cpu/matmul.h"
#include "cpu/scalar.h"
#include "base/numerics.h"

/* Fills in a prepared row what SIMD kernels read beside q and d. */
static void derive_sums(const struct lk_acts *a, const struct lk_acts_row *row,
                        const int32_t *sum16)
{
    for (int64_t i = 0; i < a->k / 32; i++) {
        int32_t sum = sum16[2 * i] + sum16[2 * i + 1];
        row->sum16[2 * i] = (int16_t)sum16[2 * i];
        row->sum16[2 * i + 1] = (int16_t)sum16[2 * i + 1];
        if (a->kind == LK_ACTS_Q32) {
            row->sum[i] = sum;
            row->sd[i] = row->d[i] * lk_f22(sum);
        } else {
            row->sum32[i] = (int16_t)sum;
        }
    }
}

static void prepare(const struct lk_acts *a, const float *x, int first, int last)
{
    enum { PART = 4096 }; /* a multiple of every block */
    for (int t = first; t < last; t++) {
        const float *xt = x + (size_t)t * (size_t)a->k;
        struct lk_acts_row row = lk_acts_row(a, t);
        if (a->kind > LK_ACTS_Q256) {
            lk_scalar_round_row(a->kind, xt, a->k, row.x);
            continue;
        }
        int block = lk_acts_block(a->kind);
        for (int64_t at = 0; at < a->k; at += PART) {
            int32_t sum16[PART / 16];
            int64_t n = a->k - at < PART ? a->k - at : PART;
            struct lk_qrow q = {row.q + at, row.d + at / block, sum16};
            struct lk_acts part = {.kind = a->kind, .k = n};
            struct lk_acts_row part_row = row;
            lk_scalar_quantize(xt + at, n, block, &q);
            part_row.d += at / block;
            part_row.sum16 += at / 16;
            if (a->kind == LK_ACTS_Q32) {
                part_row.sum += at / 32;
                part_row.sd += at / 32;
            } else {
                part_row.sum32 += at / 32;
            }
            derive_sums(&part, &part_row, sum16);
        }
    }
}

/* A panel of a row of weights as it is multiplied. */
union panel {
    struct lk_block_ints blocks[LK_PANEL / 32];
    float floats[LK_PANEL];
};

/* Adds the panel's sum with elements [at, at + n) of a prepared row to y. */
static float add_panel(const struct lk_type_info *info, const union panel *p,
                       const struct lk_acts_row *x, int64_t at, int64_t n, float y)
{
    float g;
    if (info->quantized) {
        int32_t sum[LK_PANEL / 16] = {0};
        for (int64_t i = 0; i < n / 16; i++) {
            sum[i] = x->sum16[at / 16 + i];
        }
        struct lk_qrow q = {x->q + at, x->d + at / lk_acts_block(info->acts), sum};
        g = lk_scalar_dot_blocks(info, p->blocks, n / info->block, &q);
    } else {
        g = lk_scalar_dot_floats(p->floats, n, x->x + at);
    }
    return y + g;
}

/* One row times all prepared rows, a panel after the other. */
static void add_row(enum lk_type type, const uint8_t *row, const struct lk_acts *a, int n_tok,
                    float *y, size_t ldy)
{
    const struct lk_type_info *info = lk_type_info(type);
    for (int64_t at = 0; at < a->k; at += LK_PANEL) {
        union panel panel;
        int64_t n = a->k - at < LK_PANEL ? a->k - at : LK_PANEL;
        const uint8_t *bytes = row + at / info->block * info->block_bytes;
        if (info->quantized) {
            for (int64_t b = 0; b < n / info->block; b++) {
                lk_block_unpack(type, bytes + b * info->block_bytes, &panel.blocks[b]);
            }
        } else {
            lk_scalar_widen_row(type, bytes, n, panel.floats);
        }
        for (int t = 0; t < n_tok; t++) {
            struct lk_acts_row x = lk_acts_row(a, t);
            y[(size_t)t * ldy] = add_panel(info, &panel, &x, at, n, y[(size_t)t * ldy]);
        }
    }
}

static bool mul(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                int64_t last, float *y, size_t ldy)
{
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)w->cols);
    bool ok = true;
    for (int64_t r = first * LK_PACK_ROWS; r < last * LK_PACK_ROWS && r < w->rows; r++) {
        const uint8_t *row = w->data + (size_t)(r / LK_PACK_ROWS) * w->group_bytes +
                             (size_t)(r % LK_PACK_ROWS) * row_bytes;
        for (int t = 0; t < n_tok; t++) {
            y[(size_t)t * ldy + (size_t)r] = 0.0f;
        }
        add_row(w->type, row, a, n_tok, y + r, ldy);
        for (int t = 0; t < n_tok; t++) {
            float v = y[(size_t)t * ldy + (size_t)r];
            ok &= !lk_out_of_range(v);
            y[(size_t)t * ldy + (size_t)r] = lk_flush(v);
        }
    }
    return ok;
}

const struct lk_matmul_kernels lk_matmul_generic = {
    .level = LK_CPU_GENERIC,
    .prepare = prepare,
    .mul = mul,
};
