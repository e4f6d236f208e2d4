/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_dotprod: packed matmul with sdot on 4 rows. The text is cpu/matmul_body.h.
 */
#include <stdbool.h>

#include "cpu/arm/words_dotprod.h"

#include "cpu/vec_words.h"

enum { MM_TOKENS = 4 };

#include "cpu/matmul_body.h"

const struct lk_matmul_kernels lk_matmul_dotprod = {
    .level = LK_CPU_DOTPROD,
    .prepare = mm_prepare,
    .mul = mm_mul,
};
