/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_spirv: the size of a module's workgroup and of its shared variables, read from the SPIR-V with
 * specialization constants put in. Knows the declarations that our compiler writes, no functions.
 */
#include <string.h>

#include "base/mem.h"
#include "vulkan/device/vk_limits.h"

/* What is known of an id: the value of a constant, the bytes of a type (of a pointer: those that it
 * points to), the number of a specialization constant + 1. */
struct id {
    uint64_t bytes;
    uint32_t value, spec;
    bool unknown; /* made by an operation that is not evaluated here */
};

struct reader {
    struct id *id; /* [bound] */
    uint32_t bound;
    const uint32_t *spec;
    uint32_t size_id;    /* the constant that is the workgroup's size, or 0 */
    uint32_t size_of[3]; /* ids of its parts, or 0 */
    uint32_t size[3];
    uint64_t shared_bytes;
    uint32_t unknown; /* a shared variable of a size that is not known, or 0 */
};

static uint32_t constant(const struct reader *r, uint32_t id, uint32_t usual)
{
    uint32_t spec = r->id[id].spec;
    return spec >= 1 && spec <= 4 ? r->spec[spec - 1] : usual;
}

/* An operation on constants. */
static void fold(struct reader *r, const uint32_t *w, uint32_t len)
{
    uint32_t x[3] = {0}, *to = &r->id[w[2]].value;
    for (uint32_t i = 0; i < 3 && 4 + i < len && w[4 + i] < r->bound; i++) {
        x[i] = r->id[w[4 + i]].value;
        r->id[w[2]].unknown |= r->id[w[4 + i]].unknown;
    }
    switch (w[3]) {
    case 128: /* IAdd */
        *to = x[0] + x[1];
        break;
    case 130: /* ISub */
        *to = x[0] - x[1];
        break;
    case 132: /* IMul */
        *to = x[0] * x[1];
        break;
    case 134: /* UDiv */
        *to = x[1] ? x[0] / x[1] : 0;
        break;
    case 137: /* UMod */
        *to = x[1] ? x[0] % x[1] : 0;
        break;
    case 166: /* LogicalOr */
        *to = x[0] || x[1];
        break;
    case 167: /* LogicalAnd */
        *to = x[0] && x[1];
        break;
    case 168: /* LogicalNot */
        *to = !x[0];
        break;
    case 169: /* Select */
        *to = x[0] ? x[1] : x[2];
        break;
    case 170: /* IEqual */
        *to = x[0] == x[1];
        break;
    case 171: /* INotEqual */
        *to = x[0] != x[1];
        break;
    case 172: /* UGreaterThan */
        *to = x[0] > x[1];
        break;
    case 174: /* UGreaterThanEqual */
        *to = x[0] >= x[1];
        break;
    case 176: /* ULessThan */
        *to = x[0] < x[1];
        break;
    case 178: /* ULessThanEqual */
        *to = x[0] <= x[1];
        break;
    case 194: /* ShiftRightLogical */
        *to = x[0] >> (x[1] & 31);
        break;
    case 196: /* ShiftLeftLogical */
        *to = x[0] << (x[1] & 31);
        break;
    case 197: /* BitwiseOr */
        *to = x[0] | x[1];
        break;
    case 199: /* BitwiseAnd */
        *to = x[0] & x[1];
        break;
    default:
        r->id[w[2]].unknown = true;
    }
}

static void make_type(struct reader *r, uint32_t id, uint32_t of, uint64_t n)
{
    r->id[id].bytes += r->id[of].bytes * n;
    r->id[id].unknown |= r->id[of].unknown;
}

static void declare(struct reader *r, const uint32_t *w, uint32_t len)
{
    switch (w[0] & 0xffffu) {
    case 16: /* ExecutionMode LocalSize */
        if (w[2] == 17) {
            memcpy(r->size, w + 3, sizeof r->size);
        }
        break;
    case 331: /* ExecutionModeId LocalSizeId */
        if (w[2] == 38) {
            memcpy(r->size_of, w + 3, sizeof r->size_of);
        }
        break;
    case 71: /* Decorate: SpecId, BuiltIn WorkgroupSize */
        if (w[2] == 1) {
            r->id[w[1]].spec = w[3] + 1;
        } else if (w[2] == 11 && w[3] == 25) {
            r->size_id = w[1];
        }
        break;
    case 20: /* TypeBool */
        r->id[w[1]].bytes = 4;
        break;
    case 21: /* TypeInt, TypeFloat */
    case 22:
        r->id[w[1]].bytes = w[2] / 8;
        break;
    case 23: /* TypeVector */
        make_type(r, w[1], w[2], w[3]);
        break;
    case 28: /* TypeArray */
        make_type(r, w[1], w[2], r->id[w[3]].value);
        r->id[w[1]].unknown |= r->id[w[3]].unknown;
        break;
    case 30: /* TypeStruct */
        for (uint32_t i = 2; i < len; i++) {
            make_type(r, w[1], w[i], 1);
        }
        break;
    case 32: /* TypePointer */
        make_type(r, w[1], w[3], 1);
        break;
    case 41: /* ConstantTrue, SpecConstantTrue */
    case 48:
        r->id[w[2]].value = constant(r, w[2], 1) != 0;
        break;
    case 42: /* ConstantFalse, SpecConstantFalse */
    case 49:
        r->id[w[2]].value = constant(r, w[2], 0) != 0;
        break;
    case 43: /* Constant, SpecConstant */
    case 50:
        r->id[w[2]].value = constant(r, w[2], w[3]);
        break;
    case 44: /* ConstantComposite, SpecConstantComposite */
    case 51:
        if (w[2] == r->size_id && len >= 6) {
            memcpy(r->size_of, w + 3, sizeof r->size_of);
        }
        break;
    case 52: /* SpecConstantOp */
        fold(r, w, len);
        break;
    case 59: /* Variable in Workgroup */
        if (w[3] == 4) {
            r->shared_bytes += (r->id[w[1]].bytes + 15) / 16 * 16;
            r->unknown = r->id[w[1]].unknown ? w[2] : r->unknown;
        }
        break;
    default:
        break;
    }
}

lk_status lk_vk_measure(const struct lk_vk_shader *shader, const uint32_t spec[4],
                        struct lk_vk_needs *out, lk_error *err)
{
    const uint32_t *w = shader->words;
    size_t n = shader->n_bytes / 4;
    struct reader r = {.spec = spec, .bound = w[3], .id = lk_alloc_array(w[3], sizeof *r.id)};
    lk_status status =
        r.id ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory measuring '%s'", shader->name);
    for (size_t i = 5; i < n && !status && (w[i] & 0xffffu) != 54; i += w[i] >> 16) {
        declare(&r, w + i, w[i] >> 16);
    }
    for (int k = 0; k < 3 && !status; k++) {
        const struct id *part = &r.id[r.size_of[k]];
        r.size[k] = r.size_of[k] ? part->value : r.size[k];
        r.unknown = r.size_of[k] && part->unknown ? r.size_of[k] : r.unknown;
    }
    if (!status && r.unknown) {
        status = lk_fail(err, LK_E_INTERNAL, "shader '%s': the size of %%%u is not evaluated",
                         shader->name, r.unknown);
    }
    *out = (struct lk_vk_needs){r.size[0] * r.size[1] * r.size[2], r.shared_bytes};
    lk_free(r.id);
    return status;
}
