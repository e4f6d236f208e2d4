/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_types: from one inline mul_type(type, ...) of the including file to a function for each
 * weight type, in which the type is a constant, and to the cases that choose among them.
 */
#ifndef LK_MATMUL_TYPES_H
#define LK_MATMUL_TYPES_H

#include "cpu/matmul.h"

#define MM_FUNCTION(type)                                                                          \
    static __attribute__((noinline)) bool mul_##type(const struct lk_packed *w,                    \
                                                     const struct lk_acts *a, int n_tok,           \
                                                     int64_t first, int64_t last, float *y,        \
                                                     size_t ldy)                                   \
    {                                                                                              \
        return mul_type(LK_TYPE_##type, w, a, n_tok, first, last, y, ldy);                         \
    }
#define MM_CASE(type)                                                                              \
    case LK_TYPE_##type:                                                                           \
        return mul_##type(w, a, n_tok, first, last, y, ldy);

#endif
