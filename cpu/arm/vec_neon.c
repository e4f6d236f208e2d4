/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec_neon: the vector and attention kernels for NEON; the text is cpu/vec_body.h.
 */
#include <stdbool.h>

#include "cpu/arm/simd_neon.h"

#include "cpu/vec_body.h"

#include "cpu/recurrent_body.h"

#include "cpu/attn_body.h"

LK_VEC_TABLE(lk_vec_neon, LK_CPU_NEON, vec_attn_chunk);
