/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_spirv: the size of a module's workgroup and of its shared variables, read from the SPIR-V with
 * specialization constants put in. Knows the declarations that our compiler writes, no functions.
 */
#include <string.h>

#include "src/mem.h"
#include "src/vulkan/vk_limits.h"

/* What is known of an id: the value of a constant, the bytes of a type (of a pointer: those that it
 * points to), the number of a specialization constant + 1. */
struct id {
    uint64_t bytes;
    uint32_t value, spec;
};

struct reader {
    struct id *id; /* [words[3]] */
    const uint32_t *spec;
    uint32_t size_id;    /* the constant that is the workgroup's size, or 0 */
    uint32_t size_of[3]; /* ids of its parts, or 0 */
    uint32_t size[3];
    uint64_t shared_bytes;
};

static uint32_t constant(const struct reader *r, uint32_t id, uint32_t usual)
{
    uint32_t spec = r->id[id].spec;
    return spec >= 1 && spec <= 4 ? r->spec[spec - 1] : usual;
}

/* An operation on constants; false: not one that is known here. */
static bool fold(struct reader *r, const uint32_t *w, uint32_t len)
{
    uint32_t x[3] = {0}, *to = &r->id[w[2]].value;
    for (uint32_t i = 0; i < 3 && 4 + i < len; i++) {
        x[i] = r->id[w[4 + i]].value;
    }
    switch (w[3]) {
    case 128: /* IAdd */
        *to = x[0] + x[1];
        return true;
    case 130: /* ISub */
        *to = x[0] - x[1];
        return true;
    case 132: /* IMul */
        *to = x[0] * x[1];
        return true;
    case 134: /* UDiv */
        *to = x[1] ? x[0] / x[1] : 0;
        return true;
    case 137: /* UMod */
        *to = x[1] ? x[0] % x[1] : 0;
        return true;
    case 166: /* LogicalOr */
        *to = x[0] || x[1];
        return true;
    case 167: /* LogicalAnd */
        *to = x[0] && x[1];
        return true;
    case 168: /* LogicalNot */
        *to = !x[0];
        return true;
    case 169: /* Select */
        *to = x[0] ? x[1] : x[2];
        return true;
    case 170: /* IEqual */
        *to = x[0] == x[1];
        return true;
    case 171: /* INotEqual */
        *to = x[0] != x[1];
        return true;
    case 172: /* UGreaterThan */
        *to = x[0] > x[1];
        return true;
    case 174: /* UGreaterThanEqual */
        *to = x[0] >= x[1];
        return true;
    case 176: /* ULessThan */
        *to = x[0] < x[1];
        return true;
    case 178: /* ULessThanEqual */
        *to = x[0] <= x[1];
        return true;
    case 194: /* ShiftRightLogical */
        *to = x[0] >> (x[1] & 31);
        return true;
    case 196: /* ShiftLeftLogical */
        *to = x[0] << (x[1] & 31);
        return true;
    case 197: /* BitwiseOr */
        *to = x[0] | x[1];
        return true;
    case 199: /* BitwiseAnd */
        *to = x[0] & x[1];
        return true;
    default:
        return false;
    }
}

/* One declaration; false: its value can't be told. */
static bool declare(struct reader *r, const uint32_t *w, uint32_t len)
{
    switch (w[0] & 0xffffu) {
    case 16: /* ExecutionMode LocalSize */
        if (w[2] == 17) {
            memcpy(r->size, w + 3, sizeof r->size);
        }
        return true;
    case 331: /* ExecutionModeId LocalSizeId */
        if (w[2] == 38) {
            memcpy(r->size_of, w + 3, sizeof r->size_of);
        }
        return true;
    case 71: /* Decorate: SpecId, BuiltIn WorkgroupSize */
        if (w[2] == 1) {
            r->id[w[1]].spec = w[3] + 1;
        } else if (w[2] == 11 && w[3] == 25) {
            r->size_id = w[1];
        }
        return true;
    case 20: /* TypeBool */
        r->id[w[1]].bytes = 4;
        return true;
    case 21: /* TypeInt, TypeFloat */
    case 22:
        r->id[w[1]].bytes = w[2] / 8;
        return true;
    case 23: /* TypeVector */
        r->id[w[1]].bytes = r->id[w[2]].bytes * w[3];
        return true;
    case 28: /* TypeArray */
        r->id[w[1]].bytes = r->id[w[2]].bytes * r->id[w[3]].value;
        return true;
    case 30: /* TypeStruct */
        for (uint32_t i = 2; i < len; i++) {
            r->id[w[1]].bytes += r->id[w[i]].bytes;
        }
        return true;
    case 32: /* TypePointer */
        r->id[w[1]].bytes = r->id[w[3]].bytes;
        return true;
    case 41: /* ConstantTrue, SpecConstantTrue */
    case 48:
        r->id[w[2]].value = constant(r, w[2], 1) != 0;
        return true;
    case 42: /* ConstantFalse, SpecConstantFalse */
    case 49:
        r->id[w[2]].value = constant(r, w[2], 0) != 0;
        return true;
    case 43: /* Constant, SpecConstant */
    case 50:
        r->id[w[2]].value = constant(r, w[2], w[3]);
        return true;
    case 44: /* ConstantComposite, SpecConstantComposite */
    case 51:
        if (w[2] == r->size_id && len >= 6) {
            memcpy(r->size_of, w + 3, sizeof r->size_of);
        }
        return true;
    case 52: /* SpecConstantOp */
        return fold(r, w, len);
    case 59: /* Variable in Workgroup */
        if (w[3] == 4) {
            r->shared_bytes += (r->id[w[1]].bytes + 15) / 16 * 16;
        }
        return true;
    default:
        return true;
    }
}

lk_status lk_vk_measure(const struct lk_vk_shader *shader, const uint32_t spec[4],
                        struct lk_vk_needs *out, lk_error *err)
{
    const uint32_t *w = shader->words;
    size_t n = shader->n_bytes / 4;
    struct reader r = {.spec = spec, .id = lk_alloc_array(w[3], sizeof *r.id)};
    lk_status status =
        r.id ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory measuring '%s'", shader->name);
    for (size_t i = 5; i < n && !status && (w[i] & 0xffffu) != 54; i += w[i] >> 16) {
        if (!declare(&r, w + i, w[i] >> 16)) {
            status = lk_fail(err, LK_E_INTERNAL, "shader '%s': constant of operation %u",
                             shader->name, w[i + 3]);
        }
    }
    for (int k = 0; k < 3 && !status; k++) {
        r.size[k] = r.size_of[k] ? r.id[r.size_of[k]].value : r.size[k];
    }
    *out = (struct lk_vk_needs){r.size[0] * r.size[1] * r.size[2], r.shared_bytes};
    lk_free(r.id);
    return status;
}
