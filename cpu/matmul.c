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

size_t lk_acts_row_bytes(enum lk_acts_kind kind, int64_t k)
{
    size_t at[4];
    return lk_acts_parts(kind, (size_t)k, at);
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
