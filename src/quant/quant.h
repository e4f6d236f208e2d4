/* SPDX-License-Identifier: Apache-2.0
 *
 * Quant: the tensor types: block structs as they lie in a GGUF file, one table of facts, and
 * dequantization of a row. Layouts are those of ggml (block_q4_0 ... block_q6_K). Little-endian.
 * Knows no file and no backend.
 */
#ifndef LK_QUANT_H
#define LK_QUANT_H

#include "base/base.h"

/* Values are GGUF's type numbers. */
enum lk_type {
    LK_TYPE_F32 = 0,
    LK_TYPE_F16 = 1,
    LK_TYPE_Q4_0 = 2,
    LK_TYPE_Q4_1 = 3,
    LK_TYPE_Q5_0 = 6,
    LK_TYPE_Q5_1 = 7,
    LK_TYPE_Q8_0 = 8,
    LK_TYPE_Q2_K = 10,
    LK_TYPE_Q3_K = 11,
    LK_TYPE_Q4_K = 12,
    LK_TYPE_Q5_K = 13,
    LK_TYPE_Q6_K = 14,
    LK_TYPE_IQ2_XXS = 16,
    LK_TYPE_IQ2_XS = 17,
    LK_TYPE_IQ3_XXS = 18,
    LK_TYPE_IQ1_S = 19,
    LK_TYPE_IQ4_NL = 20,
    LK_TYPE_IQ3_S = 21,
    LK_TYPE_IQ2_S = 22,
    LK_TYPE_IQ4_XS = 23,
    LK_TYPE_IQ1_M = 29,
    LK_TYPE_BF16 = 30,
    LK_TYPE_TQ1_0 = 34,
    LK_TYPE_TQ2_0 = 35,
    LK_TYPE_MXFP4 = 39,
    LK_TYPE_NVFP4 = 40,
    LK_TYPE_Q1_0 = 41,
    LK_TYPE_Q2_0 = 42
};

struct lk_q4_0 {
    uint16_t d;
    uint8_t qs[16];
}; /* (q - 8) d */
struct lk_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
}; /* q d + m */
struct lk_q5_0 {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
}; /* (q - 16) d */
struct lk_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
}; /* q d + m */
struct lk_q8_0 {
    uint16_t d;
    int8_t qs[32];
}; /* q d */
struct lk_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
};
struct lk_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
};
struct lk_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
};
struct lk_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};
struct lk_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};
struct lk_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
}; /* LK_NIBBLES_IQ4[q] d */
struct lk_iq4_xs {
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
};
/* The types of src/quant/grid.c. Of IQ2_XXS and IQ3_XXS a word of 32 elements has four 7-bit codes
 * of signs and a scale of 4 bits; 2 s + 1 is the scale everywhere. */
struct lk_iq2_xxs {
    uint16_t d;
    uint16_t qs[32]; /* of 32 elements: four bytes of indices, the word */
};
struct lk_iq2_xs {
    uint16_t d;
    uint16_t qs[32]; /* 9 bits of an index, a code of signs */
    uint8_t scales[8];
};
struct lk_iq2_s {
    uint16_t d;
    uint8_t qs[32]; /* low 8 bits of indices */
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
};
struct lk_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint8_t signs[32]; /* the words */
};
struct lk_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8]; /* ninth bits of indices */
    uint8_t signs[32];
    uint8_t scales[4];
};
struct lk_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8]; /* four times 3 bits of an index, a scale of 3 bits, the sign of 1/8 */
};
struct lk_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];    /* of 8 elements: 3 bits of an index, the sign of 1/8 */
    uint8_t scales[8]; /* four u16: four scales of 3 bits, and 4 bits of an f16 d */
};
struct lk_tq1_0 {
    uint8_t qs[48]; /* five trits a byte */
    uint8_t qh[4];  /* four */
    uint16_t d;
}; /* (q - 1) d */
struct lk_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
}; /* (q - 1) d */
struct lk_q1_0 {
    uint16_t d;
    uint8_t qs[16];
}; /* 128 elements: d, or -d where the bit is 0 */
struct lk_q2_0 {
    uint16_t d;
    uint8_t qs[16];
}; /* 64 elements: (q - 1) d */
struct lk_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
}; /* LK_NIBBLES_MXFP4[q] 2^(e - 128) */
struct lk_nvfp4 {
    uint8_t d[4];   /* UE4M3, one a 16 elements */
    uint8_t qs[32]; /* 8 bytes a 16: low nibbles are the first eight, high ones the others */
};                  /* LK_NIBBLES_MXFP4[q] d / 2 */

/* What the 16 nibbles of a type stand for, each through X. MXFP4 and NVFP4 have halves (E2M1), so
 * they are doubled here, and their scales are half of what is written. */
#define LK_NIBBLES_IQ4(X)                                                                          \
    X(-127), X(-104), X(-83), X(-65), X(-49), X(-35), X(-22), X(-10), X(1), X(13), X(25), X(38),   \
        X(53), X(69), X(89), X(113)
#define LK_NIBBLES_MXFP4(X)                                                                        \
    X(0), X(1), X(2), X(3), X(4), X(6), X(8), X(12), X(0), X(-1), X(-2), X(-3), X(-4), X(-6),      \
        X(-8), X(-12)

_Static_assert(sizeof(struct lk_q4_0) == 18, "q4_0");
_Static_assert(sizeof(struct lk_q4_1) == 20, "q4_1");
_Static_assert(sizeof(struct lk_q5_0) == 22, "q5_0");
_Static_assert(sizeof(struct lk_q5_1) == 24, "q5_1");
_Static_assert(sizeof(struct lk_q8_0) == 34, "q8_0");
_Static_assert(sizeof(struct lk_q2_k) == 84, "q2_k");
_Static_assert(sizeof(struct lk_q3_k) == 110, "q3_k");
_Static_assert(sizeof(struct lk_q4_k) == 144, "q4_k");
_Static_assert(sizeof(struct lk_q5_k) == 176, "q5_k");
_Static_assert(sizeof(struct lk_q6_k) == 210, "q6_k");
_Static_assert(sizeof(struct lk_iq4_nl) == 18, "iq4_nl");
_Static_assert(sizeof(struct lk_iq4_xs) == 136, "iq4_xs");
_Static_assert(sizeof(struct lk_mxfp4) == 17, "mxfp4");
_Static_assert(sizeof(struct lk_nvfp4) == 36, "nvfp4");
_Static_assert(sizeof(struct lk_iq2_xxs) == 66, "iq2_xxs");
_Static_assert(sizeof(struct lk_iq2_xs) == 74, "iq2_xs");
_Static_assert(sizeof(struct lk_iq2_s) == 82, "iq2_s");
_Static_assert(sizeof(struct lk_iq3_xxs) == 98, "iq3_xxs");
_Static_assert(sizeof(struct lk_iq3_s) == 110, "iq3_s");
_Static_assert(sizeof(struct lk_iq1_s) == 50, "iq1_s");
_Static_assert(sizeof(struct lk_iq1_m) == 56, "iq1_m");
_Static_assert(sizeof(struct lk_tq1_0) == 54, "tq1_0");
_Static_assert(sizeof(struct lk_tq2_0) == 66, "tq2_0");

/* The types by name, one list: what a table of kernels, of shaders or of tests has a row for.
 * shaders/CMakeLists.txt reads them. */
#define LK_FLOAT_TYPES(X) X(F32) X(F16) X(BF16)
// clang-format off
#define LK_BLOCK_TYPES(X)                                                                          \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL)      \
    X(IQ4_XS) X(MXFP4) X(NVFP4)
/* Those that src/quant/grid.h unpacks. */
#define LK_GRID_TYPES(X)                                                                           \
    X(IQ3_S) X(IQ3_XXS) X(IQ2_S) X(IQ2_XS) X(IQ2_XXS) X(IQ1_M) X(IQ1_S) X(TQ2_0) X(TQ1_0) X(Q2_0)  \
    X(Q1_0)
// clang-format on
#define LK_QUANTIZED_TYPES(X) LK_BLOCK_TYPES(X) LK_GRID_TYPES(X)
#define LK_CASE(name)         case LK_TYPE_##name:
#define LK_COUNT_TYPE(name)   +1
enum {
    LK_N_FLOAT_TYPES = 0 LK_FLOAT_TYPES(LK_COUNT_TYPE),
    LK_N_QUANTIZED_TYPES = 0 LK_QUANTIZED_TYPES(LK_COUNT_TYPE),
    LK_N_TYPES = LK_N_FLOAT_TYPES + LK_N_QUANTIZED_TYPES
};

/* How a type's weights want the activations that they are multiplied by (numerics rules 2, 4). */
enum lk_acts_kind {
    LK_ACTS_Q32,  /* int8 in blocks of 32 */
    LK_ACTS_Q256, /* int8 in blocks of 256 */
    LK_ACTS_F32,  /* as they are */
    LK_ACTS_R13,  /* f32 rounded to 13 significant bits */
    LK_ACTS_R16,  /* f32 rounded to 16 significant bits */
    LK_ACTS_KINDS
};
/* Elements of a block of quantized activations, which are those of a float step too. A weight's
 * block is one of them, or in Q1_0, Q2_0 and NVFP4 several. */
static inline int lk_acts_block(enum lk_acts_kind kind)
{
    return kind == LK_ACTS_Q32 ? 32 : 256;
}

/* How the scales of a block are written in the file. */
enum lk_scale_format {
    LK_SCALE_NONE, /* no block: elements are floats */
    LK_SCALE_F16,
    LK_SCALE_F16_SPREAD, /* in the highest four bits of four u16 */
    LK_SCALE_E8M0,       /* a byte e: 2^(e - 128), +0 below 2^-50 (e < 78); e > 167 is refused */
    LK_SCALE_UE4M3 /* a byte, lk_ue4m3_to_f32; NaN (127) and a sign (128 and more) are refused */
};

/* How a block's offset enters an element y = d * sc * q. */
enum lk_offset {
    LK_OFFSET_NONE,
    LK_OFFSET_PLUS_M,    /* + m */
    LK_OFFSET_MINUS_MINS /* - dmin * mn of the sub-block */
};

/* All that is known of a type beside its bit layout, which is lk_block_unpack's. */
struct lk_type_info {
    enum lk_type type;
    const char *name; /* "Q4_K" */
    int block;        /* elements of a block: 1, 32, 64, 128 or 256 */
    int block_bytes;
    bool quantized; /* activations are quantized for it */
    bool grid;      /* src/quant/grid.h unpacks it */
    enum lk_acts_kind acts;
    enum lk_scale_format scales;
    int n_scales;    /* of a block: d, or d and m (dmin), or of `apart` one a sub-block */
    float unit;      /* the scale in the file times this is d; a power of two */
    int scale_at[4]; /* their byte offsets */
    int sub_block;   /* elements that a sub-scale spans; the block where there is none */
    bool apart;      /* a sub-block has an integer, and a product with its scale, of its own */
    enum lk_offset offset;
    int32_t most_weight;  /* largest |sub-scale * q| of an element */
    int32_t most_integer; /* largest |I| of a float step: sums of sub-scale * q * activation, and of
                           * min activation (rule 5) */
};

/* NULL for a type number that this build does not run. */
const struct lk_type_info *lk_type_info(uint32_t type);
/* All runnable types, in ascending order of number; *n of them. */
const struct lk_type_info *lk_types(size_t *n);
/* A set of quantized types has a bit for each; 0: the type is not one of them. */
uint64_t lk_type_bit(uint32_t type);
/* Why a type does not run, in a few words; NULL: it does. */
const char *lk_type_why_not(uint32_t type);
/* The usual name of any ggml type number, runnable or not; NULL for a number nobody knows. */
const char *lk_type_name(uint32_t type);
/* Elements and bytes of a block of any type that has a name; false for the others. */
bool lk_type_block(uint32_t type, int *block, int *block_bytes);
/* Bytes of `n` elements (a multiple of the block). */
size_t lk_type_row_bytes(enum lk_type type, size_t n);

/* Integer view of one block, the common ground of every kernel: for each element its integer q,
 * and the block's scales. y_i = d * sc[i/group] * q_i - dmin * m[i/group], or + m for Q4_1/Q5_1.
 * Centred already (Q4_0: q - 8, Q3_K: -4, Q6_K: -32), and looked up where the type has a table. */
struct lk_block_ints {
    int n;     /* 32, 64, 128 or 256 */
    int group; /* elements a sub-scale spans: 16 or 32 (n for 32-blocks) */
    float d;   /* unit times the file's, exactly; +0 for an E8M0 scale below 2^-50 (rule 1); of a
                  type with scales in UE4M3 what these are multiples of, 2^-9 times unit */
    float m;   /* Q4_1, Q5_1: +m; Q2_K, Q4_K, Q5_K: dmin; else 0 */
    int16_t q[256];
    int32_t sc[16]; /* 1 where blocks have none; UE4M3: times 2^9 */
    int16_t mn[16]; /* integer mins of Q2_K, Q4_K, Q5_K; else 0 */
};
/* `block` points at one block of a quantized type. */
void lk_block_unpack(enum lk_type type, const void *block, struct lk_block_ints *out);

/* Between a byte order of nibbles in which each 8 bytes are 16 elements, low ones first (NVFP4),
 * and that of Q4_0, in which 16 bytes are 32; the same in both directions. */
void lk_swap_nibbles(const uint8_t from[16], uint8_t to[16]);

/* d of one block of a quantized type. */
float lk_block_scale(enum lk_type type, const void *block);

/* Dequantizes n elements (a multiple of the block), as the `gguf` Python package does, bit for bit
 * (f32 result; for the double form each element is the exact real value). F32 and BF16 are
 * returned as they are (rule 1's flush is the caller's); an E8M0 scale below 2^-50 is +0. */
void lk_dequantize_f32(enum lk_type type, const void *row, size_t n, float *out);
void lk_dequantize_f64(enum lk_type type, const void *row, size_t n, double *out);

/* Index of the first element whose value, or whose block's scale, is NaN or infinite (an E8M0
 * scale: 2^40 or more, or NaN; a UE4M3 scale: NaN, or with a sign) among n elements (a multiple of
 * the block); -1 when there is none.
 */
int64_t lk_row_find_bad(enum lk_type type, const void *row, size_t n);
/* What lk_row_find_bad looks for in a type: "NaN or infinity". */
const char *lk_bad_text(enum lk_type type);
/* Bends scale i of a block of random bytes to less than 2^-7 in magnitude (UE4M3: 2^-3), or to zero
 * or a subnormal where `tiny`: for weights that are made up. */
void lk_block_small_scale(const struct lk_type_info *info, uint8_t *block, int i, bool tiny);

#endif
