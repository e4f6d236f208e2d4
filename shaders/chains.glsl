/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains: the fold of rule 12's sums. Knows no op.
 */
#ifndef LK_CHAINS_GLSL
#define LK_CHAINS_GLSL

/* Of 8 chains of 16 columns those of column j, folded by halves; `of` is an array of shared memory, j
 * may have an offset in it. */
#define FOLD(of, j, sum)                                                                           \
    {                                                                                              \
        precise float a = of[j] + of[64u + j];                                                     \
        precise float b = of[16u + j] + of[80u + j];                                               \
        precise float c = of[32u + j] + of[96u + j];                                               \
        precise float d = of[48u + j] + of[112u + j];                                              \
        a = a + c;                                                                                 \
        b = b + d;                                                                                 \
        sum = a + b;                                                                               \
    }

#endif
