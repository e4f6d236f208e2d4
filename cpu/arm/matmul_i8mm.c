/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_i8mm: packed matmul with smmla: a pair of tokens times a pair of rows, 8 elements along K
 * at a time. A token without a partner is multiplied by sdot. The text is cpu/matmul_body.h.
 */
#include <stdbool.h>

#include "cpu/arm/words_dotprod.h"

#include "cpu/vec_words.h"

enum { MM_TOKENS = 8 };

#define QV_PAIRS
/* 8 activations of each of two tokens. */
static inline int8x16_t two_tokens(const int8_t *q0, const int8_t *q1)
{
    return vcombine_s8(vld1_s8(q0), vld1_s8(q1));
}
/* acc[0]: [row 0, 1][token 0, 1], acc[1]: the same of rows 2, 3. */
static inline void qv_dot_pair(qv acc[2], const qv u[2], const int8_t *q0, const int8_t *q1)
{
    int8x16_t x = two_tokens(q0, q1);
    acc[0] = vmmlaq_s32(acc[0], bytes(vzip1q_s32(u[0], u[1])), x);
    acc[1] = vmmlaq_s32(acc[1], bytes(vzip2q_s32(u[0], u[1])), x);
}
static inline void qv_dot8_pair(qv acc[2], const qv u[2], const int8_t *q0, const int8_t *q1)
{
    qv w[2] = {vreinterpretq_s32_s8(centred(u[0])), vreinterpretq_s32_s8(centred(u[1]))};
    qv_dot_pair(acc, w, q0, q1);
}
/* Splits the sums of two tokens into one vector for each. */
static inline void qv_unpair(qv acc[2])
{
    qv even = vuzp1q_s32(acc[0], acc[1]);
    acc[1] = vuzp2q_s32(acc[0], acc[1]);
    acc[0] = even;
}

#include "cpu/matmul_body.h"

const struct lk_matmul_kernels lk_matmul_i8mm = {
    .level = LK_CPU_I8MM,
    .prepare = mm_prepare,
    .mul = mm_mul,
};
