/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul: weights packed for SIMD, activations prepared once, and the kernels that multiply them,
 * one table for each instruction-set level. The bits are those of lk_scalar_matmul (numerics rules
 * 2 to 5): the layout is free, the order of float sums is not.
 *
 * Packed weights are groups of LK_PACK_ROWS rows, interleaved so that a SIMD lane owns an output
 * row; the last group is padded with zero rows. Any thread may multiply any groups. One interleaved
 * layout serves every SIMD level and every batch size; plain C takes the rows as they lie in the
 * file, and so do all levels those of a grid (src/quant/grid.h). Knows no plan and no threads.
 */
#ifndef LK_MATMUL_H
#define LK_MATMUL_H

#include "cpu/detect.h"
#include "plan/op.h"

#define LK_PACK_ROWS 16

struct lk_packed {
    enum lk_type type;
    int64_t rows, cols;
    int64_t n_groups;   /* rows / 16 rounded up */
    size_t group_bytes; /* a multiple of 64 */
    bool interleaved;   /* else rows one after the other, as in the file */
    uint8_t *data;      /* n_groups * group_bytes, aligned to 256; owned by the caller */
};
/* Fills everything but data. */
void lk_packed_init(struct lk_packed *p, const struct lk_weight *w, enum lk_cpu_level level);
/* Packs groups [first, last) of w into p->data. Threads may pack different groups at once. */
void lk_pack_groups(const struct lk_packed *p, const struct lk_weight *w, int64_t first,
                    int64_t last);
/* Blocks [first, first + n) of a row as the file holds them. */
void lk_packed_blocks(const struct lk_packed *p, int64_t row, int64_t first, int64_t n, void *out);

/* Activations of a batch, prepared for the weights of one `kind`; several matmuls with the same
 * input and kind share them. */
struct lk_acts {
    enum lk_acts_kind kind;
    int64_t k;
    size_t row_bytes; /* a multiple of 64 */
    uint8_t *data;    /* [n_tok] rows, aligned to 64 */
};
/* What a row holds. Q32: q int8 [k], d f32 [k/32], sd f32 [k/32] = d times the sum of q, sum int32
 * [k/32], sum16 int16 [k/16]. Q256: q int8 [k], d f32 [k/256], sum32 int16 [k/32], sum16 int16
 * [k/16]. Floats: x [k]. */
struct lk_acts_row {
    int8_t *q;
    float *d, *sd;
    int32_t *sum;
    int16_t *sum16, *sum32;
    float *x;
};
/* Offsets of the parts of a row, each a multiple of 64; their bytes in all. */
static inline size_t lk_acts_parts(enum lk_acts_kind kind, size_t k, size_t at[4])
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

/* Here, since a call would save and clear all vector registers of the loop around it. */
static inline struct lk_acts_row lk_acts_row(const struct lk_acts *a, int row)
{
    size_t at[4];
    uint8_t *base = a->data + (size_t)row * a->row_bytes;
    lk_acts_parts(a->kind, (size_t)a->k, at);
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
/* Bytes of one row; the same at every level. */
size_t lk_acts_row_bytes(enum lk_acts_kind kind, int64_t k);

struct lk_matmul_kernels {
    enum lk_cpu_level level;
    /* Prepares rows [first, last) of x [n_tok][k] (any thread any rows). */
    void (*prepare)(const struct lk_acts *a, const float *x, int first, int last);
    /* y[t * ldy + r] for rows r of groups [first, last) below w->rows and tokens [0, n_tok),
     * flushed (rule 1). Mat-vec for few tokens, GEMM for more: the same bits. False when a value
     * was out of range. Stack use is bounded (below 256 KiB); nothing is allocated. */
    bool (*mul)(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                int64_t last, float *y, size_t ldy);
};
/* The table of a level; the level must be one that lk_cpu_has. */
const struct lk_matmul_kernels *lk_matmul_kernels(enum lk_cpu_level level);

extern const struct lk_matmul_kernels lk_matmul_generic; /* cpu/matmul_generic.c */
extern const struct lk_matmul_kernels lk_matmul_avx2;    /* cpu/x86/matmul_avx2.c */
extern const struct lk_matmul_kernels lk_matmul_avxvnni; /* cpu/x86/matmul_avxvnni.c */
extern const struct lk_matmul_kernels lk_matmul_avx512;  /* cpu/x86/matmul_avx512.c */
extern const struct lk_matmul_kernels lk_matmul_neon;    /* cpu/arm/matmul_neon.c */
extern const struct lk_matmul_kernels lk_matmul_dotprod; /* cpu/arm/matmul_dotprod.c */
extern const struct lk_matmul_kernels lk_matmul_i8mm;    /* cpu/arm/matmul_i8mm.c */
extern const struct lk_matmul_kernels lk_matmul_amx;     /* cpu/x86/matmul_amx.c */

#endif
