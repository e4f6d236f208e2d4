/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul: sizes of packed weights and prepared rows, and the choice of a table; see matmul.h.
 */
#include "cpu/matmul.h"

#include "cpu/pack.h"

enum lk_acts_kind lk_acts_kind_of(enum lk_type type)
{
    const struct lk_type_info *info = lk_type_info(type);
    if (info->quantized) {
        return info->block == 32 ? LK_ACTS_Q32 : LK_ACTS_Q256;
    }
    return type == LK_TYPE_F16 ? LK_ACTS_F16 : type == LK_TYPE_BF16 ? LK_ACTS_BF16 : LK_ACTS_F32;
}

void lk_packed_init(struct lk_packed *p, const struct lk_weight *w, enum lk_cpu_level level)
{
    size_t k = (size_t)w->cols, blocks = k / (size_t)lk_type_info(w->type)->block;
    *p = (struct lk_packed){.type = w->type,
                            .rows = w->rows,
                            .cols = w->cols,
                            .n_groups = (w->rows + LK_PACK_ROWS - 1) / LK_PACK_ROWS,
                            .interleaved = lk_matmul_kernels(level, w->type) != &lk_matmul_generic};
    p->group_bytes = lk_round_up(p->interleaved ? blocks * lk_pack_block_bytes(w->type)
                                                : LK_PACK_ROWS * lk_type_row_bytes(w->type, k),
                                 64);
}

/* Offsets of the parts of a row, each a multiple of 64. */
static size_t row_parts(enum lk_acts_kind kind, size_t k, size_t at[3])
{
    if (kind == LK_ACTS_Q32) {
        at[0] = lk_round_up(k, 64);
        at[1] = at[0] + lk_round_up(k / 32 * sizeof(float), 64);
        at[2] = at[1] + lk_round_up(k / 32 * sizeof(float), 64);
        return at[2] + lk_round_up(k / 32 * sizeof(int32_t), 64);
    }
    if (kind == LK_ACTS_Q256) {
        at[0] = lk_round_up(k, 64);
        at[1] = at[0] + lk_round_up(k / 256 * sizeof(float), 64);
        at[2] = at[1] + lk_round_up(k / 16 * sizeof(int16_t), 64);
        return at[2] + lk_round_up(k / 32 * sizeof(int16_t), 64);
    }
    at[0] = at[1] = at[2] = 0;
    return lk_round_up(k * sizeof(float), 64);
}

size_t lk_acts_row_bytes(enum lk_acts_kind kind, int64_t k)
{
    size_t at[3];
    return row_parts(kind, (size_t)k, at);
}

struct lk_acts_row lk_acts_row(const struct lk_acts *a, int row)
{
    size_t at[3];
    uint8_t *base = a->data + (size_t)row * a->row_bytes;
    row_parts(a->kind, (size_t)a->k, at);
    void *p0 = base + at[0], *p1 = base + at[1], *p2 = base + at[2], *x = base;
    switch (a->kind) {
    case LK_ACTS_Q32:
        return (struct lk_acts_row){.q = (int8_t *)base, .d = p0, .sd = p1, .sum = p2};
    case LK_ACTS_Q256:
        return (struct lk_acts_row){.q = (int8_t *)base, .d = p0, .sum16 = p1, .sum32 = p2};
    case LK_ACTS_F32:
    case LK_ACTS_F16:
    case LK_ACTS_BF16:
        break;
    }
    return (struct lk_acts_row){.x = x};
}

const struct lk_matmul_kernels *lk_matmul_kernels(enum lk_cpu_level level, enum lk_type type)
{
    (void)type; /* every table has every type */
    switch (level) {
#if defined(__x86_64__)
    case LK_CPU_AVX2:
        return &lk_matmul_avx2;
    case LK_CPU_AVX_VNNI:
        return &lk_matmul_avxvnni;
    case LK_CPU_AVX512:
        return &lk_matmul_avx512;
    case LK_CPU_AMX:
        return &lk_matmul_amx;
#endif
#if defined(__aarch64__)
    case LK_CPU_NEON:
        return &lk_matmul_neon;
    case LK_CPU_DOTPROD:
        return &lk_matmul_dotprod;
    case LK_CPU_I8MM:
        return &lk_matmul_i8mm;
#endif
    default:
        return &lk_matmul_generic;
    }
}
