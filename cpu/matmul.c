/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul: sizes of packed weights and prepared rows, and the choice of a table; see matmul.h.
 */
#include "cpu/matmul.h"

#include "cpu/pack.h"

void lk_packed_init(struct lk_packed *p, const struct lk_weight *w, enum lk_cpu_level level)
{
    size_t k = (size_t)w->cols, blocks = k / (size_t)lk_type_info(w->type)->block;
    *p = (struct lk_packed){.type = w->type,
                            .rows = w->rows,
                            .cols = w->cols,
                            .n_groups = (w->rows + LK_PACK_ROWS - 1) / LK_PACK_ROWS,
                            .interleaved = lk_matmul_kernels(level) != &lk_matmul_generic &&
                                           !lk_type_info(w->type)->grid};
    p->group_bytes = lk_round_up(p->interleaved ? blocks * lk_pack_block_bytes(w->type)
                                                : LK_PACK_ROWS * lk_type_row_bytes(w->type, k),
                                 64);
}

/* Offsets of the parts of a row, each a multiple of 64. */
static size_t row_parts(enum lk_acts_kind kind, size_t k, size_t at[4])
{
    if (kind == LK_ACTS_Q32) {
        at[0] = lk_round_up(k, 64);
        at[1] = at[0] + lk_round_up(k / 32 * sizeof(float), 64);
        at[2] = at[1] + lk_round_up(k / 32 * sizeof(float), 64);
        at[3] = at[2] + lk_round_up(k / 32 * sizeof(int32_t), 64);
        return at[3] + lk_round_up(k / 16 * sizeof(int16_t), 64);
    }
    if (kind == LK_ACTS_Q256) {
        at[0] = lk_round_up(k, 64);
        at[1] = at[0] + lk_round_up(k / 256 * sizeof(float), 64);
        at[2] = at[1] + lk_round_up(k / 32 * sizeof(int16_t), 64);
        at[3] = at[2];
        return at[3] + lk_round_up(k / 16 * sizeof(int16_t), 64);
    }
    at[0] = at[1] = at[2] = at[3] = 0;
    return lk_round_up(k * sizeof(float), 64);
}

size_t lk_acts_row_bytes(enum lk_acts_kind kind, int64_t k)
{
    size_t at[4];
    return row_parts(kind, (size_t)k, at);
}

struct lk_acts_row lk_acts_row(const struct lk_acts *a, int row)
{
    size_t at[4];
    uint8_t *base = a->data + (size_t)row * a->row_bytes;
    row_parts(a->kind, (size_t)a->k, at);
    void *p0 = base + at[0], *p1 = base + at[1], *p2 = base + at[2], *p3 = base + at[3];
    void *x = base;
    switch (a->kind) {
    case LK_ACTS_Q32:
        return (struct lk_acts_row){.q = (int8_t *)base, .d = p0, .sd = p1, .sum = p2, .sum16 = p3};
    case LK_ACTS_Q256:
        return (struct lk_acts_row){.q = (int8_t *)base, .d = p0, .sum32 = p1, .sum16 = p3};
    case LK_ACTS_F32:
    case LK_ACTS_R13:
    case LK_ACTS_R16:
    case LK_ACTS_KINDS:
        break;
    }
    return (struct lk_acts_row){.x = x};
}

const struct lk_matmul_kernels *lk_matmul_kernels(enum lk_cpu_level level)
{
    static const struct lk_matmul_kernels *const TABLES[LK_CPU_LEVELS] = {
        [LK_CPU_GENERIC] = &lk_matmul_generic,
#if defined(__x86_64__)
        [LK_CPU_AVX2] = &lk_matmul_avx2,
        [LK_CPU_AVX_VNNI] = &lk_matmul_avxvnni,
        [LK_CPU_AVX512] = &lk_matmul_avx512,
        [LK_CPU_AMX] = &lk_matmul_amx,
#endif
#if defined(__aarch64__)
        [LK_CPU_NEON] = &lk_matmul_neon,
        [LK_CPU_DOTPROD] = &lk_matmul_dotprod,
        [LK_CPU_I8MM] = &lk_matmul_i8mm,
#endif
    };
    return TABLES[level] ? TABLES[level] : &lk_matmul_generic;
}
