/* SPDX-License-Identifier: Apache-2.0
 *
 * Spirv_lint: finds float operations of a SPIR-V module that a driver may fuse or reassociate.
 * Reads the words alone; shared by the build tool and the test of the embedded shaders.
 */
#ifndef LK_SPIRV_LINT_H
#define LK_SPIRV_LINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LK_SPIRV_MAGIC          0x07230203u
#define LK_SPIRV_OP_DECORATE    71u
#define LK_SPIRV_NO_CONTRACTION 42u

/* Whether an instruction is a float add, subtract, multiply, negate, or a product of matrices or
 * vectors by scalars (129..133, 126, 141..143, 145, 146, 148), or GLSL.std.450 Fma (50). */
static inline bool lk_spirv_must_be_exact(const uint32_t *w, uint32_t op, uint32_t glsl)
{
    switch (op) {
    case 126: /* OpSNegate is 126, OpFNegate 127 */
        return false;
    case 127:
    case 129:
    case 131:
    case 133:
    case 142: /* VectorTimesScalar */
    case 143: /* MatrixTimesScalar */
    case 144:
    case 145:
    case 146:
    case 148: /* Dot */
        return true;
    case 12: /* ExtInst */
        return w[3] == glsl && w[4] == 50;
    default:
        return false;
    }
}

/* Index of the word after the last annotation: where more decorations may be put. */
static inline size_t lk_spirv_decorations_end(const uint32_t *words, size_t n)
{
    size_t i = 5;
    while (i < n) {
        uint32_t op = words[i] & 0xffffu, len = words[i] >> 16;
        if ((op >= 19 && op <= 39) || (op >= 41 && op <= 54) || len == 0) {
            break; /* the first type, constant, or function */
        }
        i += len;
    }
    return i;
}

/* Sets bare[id] for each such operation without NoContraction; bare has words[3] entries.
 * Returns how many, or -1 for a broken module. */
static inline int lk_spirv_bare(const uint32_t *words, size_t n, bool *bare)
{
    uint32_t glsl = 0, bound = words[3];
    int count = 0;
    for (size_t i = 5; i < n;) {
        uint32_t op = words[i] & 0xffffu, len = words[i] >> 16;
        if (len == 0 || i + len > n) {
            return -1;
        }
        if (op == 11 && len >= 3 && memcmp(&words[i + 2], "GLSL.std.450", 12) == 0) {
            glsl = words[i + 1];
        }
        if (len >= 3 && lk_spirv_must_be_exact(words + i, op, glsl)) {
            if (words[i + 2] >= bound) {
                return -1;
            }
            bare[words[i + 2]] = true;
        }
        i += len;
    }
    for (size_t i = 5; i < n; i += words[i] >> 16) {
        if ((words[i] & 0xffffu) == LK_SPIRV_OP_DECORATE && words[i + 1] < bound &&
            words[i + 2] == LK_SPIRV_NO_CONTRACTION) {
            bare[words[i + 1]] = false;
        }
    }
    for (uint32_t id = 0; id < bound; id++) {
        count += bare[id];
    }
    return count;
}

#endif
