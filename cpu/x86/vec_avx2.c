/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec_avx2: the vector and attention kernels for AVX2; the text is cpu/vec_body.h.
 */
#include <stdbool.h>

#include "cpu/x86/simd_avx2.h"

#include "cpu/vec_body.h"

#include "cpu/recurrent_body.h"

#include "cpu/attn_body.h"

LK_VEC_TABLE(lk_vec_avx2, LK_CPU_AVX2, vec_attn_chunk);
