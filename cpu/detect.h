/* SPDX-License-Identifier: Apache-2.0
 *
 * Detect: which instruction-set levels this CPU and its system offer. A level includes the one it
 * is built on: AVX2 < AVX-VNNI; AVX2 < AVX-512 < AMX; NEON < dotprod < i8mm.
 */
#ifndef LK_DETECT_H
#define LK_DETECT_H

#include "base/base.h"

enum lk_cpu_level {
    LK_CPU_GENERIC,  /* plain C */
    LK_CPU_AVX2,     /* AVX2, FMA, F16C */
    LK_CPU_AVX_VNNI, /* and vpdpbusd on ymm */
    LK_CPU_AVX512,   /* AVX-512 F, BW, DQ, VL and VNNI */
    LK_CPU_AMX,      /* and AMX-TILE, AMX-INT8, granted by the system */
    LK_CPU_NEON,
    LK_CPU_DOTPROD, /* and sdot */
    LK_CPU_I8MM,    /* and smmla */
    LK_CPU_LEVELS
};

/* "generic", "avx2", "avx-vnni", "avx512", "amx", "neon", "dotprod", "i8mm"; static. */
const char *lk_cpu_level_name(enum lk_cpu_level level);
enum lk_cpu_answer {
    LK_CPU_HAS,
    LK_CPU_LACKS,
    LK_CPU_FOREIGN /* a level of another architecture */
};
/* Whether this machine has it; when not, *why (may be NULL) is a static reason. */
enum lk_cpu_answer lk_cpu_has(enum lk_cpu_level level, const char **why);
/* The best level of this machine. */
enum lk_cpu_level lk_cpu_best(void);
/* "auto" or a name; an unknown name is LK_E_INVALID, one the CPU lacks LK_E_DEVICE saying why. */
lk_status lk_cpu_level_parse(const char *name, enum lk_cpu_level *out, lk_error *err);

#endif
