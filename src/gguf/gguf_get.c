/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf: order, lookups and typed getters over a checked directory. Allocates nothing.
 */
#include "gguf/gguf_priv.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- types and order ---- */

static const struct {
    const char *name, *array_name;
    uint8_t bytes;
    bool integer;
} kinds[] = {
    [LK_GGUF_U8] = {"u8", "array of u8", 1, true},
    [LK_GGUF_I8] = {"i8", "array of i8", 1, true},
    [LK_GGUF_U16] = {"u16", "array of u16", 2, true},
    [LK_GGUF_I16] = {"i16", "array of i16", 2, true},
    [LK_GGUF_U32] = {"u32", "array of u32", 4, true},
    [LK_GGUF_I32] = {"i32", "array of i32", 4, true},
    [LK_GGUF_F32] = {"f32", "array of f32", 4, false},
    [LK_GGUF_BOOL] = {"bool", "array of bool", 1, false},
    [LK_GGUF_STRING] = {"string", "array of string", 0, false},
    [LK_GGUF_ARRAY] = {"array", "array of array", 0, false},
    [LK_GGUF_U64] = {"u64", "array of u64", 8, true},
    [LK_GGUF_I64] = {"i64", "array of i64", 8, true},
    [LK_GGUF_F64] = {"f64", "array of f64", 8, false},
};

const char *lk_gguf_type_name(enum lk_gguf_type type)
{
    return kinds[type].name;
}

const char *lk_gguf_value_type_name(const struct lk_gguf_value *v)
{
    return v->type == LK_GGUF_ARRAY ? kinds[v->elem].array_name : kinds[v->type].name;
}

uint64_t lk_gguf_type_bytes(enum lk_gguf_type type)
{
    return kinds[type].bytes;
}

bool lk_gguf_is_integer(enum lk_gguf_type type)
{
    return kinds[type].integer;
}

int lk_gguf_str_compare(struct lk_str a, struct lk_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

const struct lk_gguf_value *lk_gguf_values_find(const struct lk_gguf_values *values,
                                                const char *key)
{
    struct lk_str k = {key, strlen(key)};
    size_t low = 0, high = values->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct lk_gguf_value *v = &values->v[values->order[mid]];
        int c = lk_gguf_str_compare(v->key, k);
        if (c == 0) {
            return v;
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

static void sift(uint32_t *order, size_t from, size_t n, lk_gguf_order compare, const void *items)
{
    uint32_t moved = order[from];
    for (size_t child; (child = 2 * from + 1) < n; from = child) {
        if (child + 1 < n && compare(items, order[child], order[child + 1]) < 0) {
            child++;
        }
        if (compare(items, moved, order[child]) >= 0) {
            break;
        }
        order[from] = order[child];
    }
    order[from] = moved;
}

void lk_gguf_sort(uint32_t *order, size_t n, lk_gguf_order compare, const void *items)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = n / 2; i-- > 0;) {
        sift(order, i, n, compare, items);
    }
    for (size_t end = n; end-- > 1;) {
        uint32_t top = order[0];
        order[0] = order[end];
        order[end] = top;
        sift(order, 0, end, compare, items);
    }
}

/* ---- the file ---- */

const char *lk_gguf_path(const struct lk_gguf *g)
{
    return g->parts[0].path;
}

uint32_t lk_gguf_version(const struct lk_gguf *g)
{
    return g->parts[0].version;
}

int lk_gguf_n_parts(const struct lk_gguf *g)
{
    return g->n_parts;
}

uint64_t lk_gguf_file_bytes(const struct lk_gguf *g)
{
    uint64_t n = 0;
    for (int i = 0; i < g->n_parts; i++) {
        n += g->parts[i].n_bytes;
    }
    return n;
}

const uint8_t *lk_gguf_head(const struct lk_gguf *g, int part, size_t *n_bytes)
{
    *n_bytes = g->parts[part].head_bytes;
    return g->parts[part].data;
}

size_t lk_gguf_n_values(const struct lk_gguf *g)
{
    return g->values.n;
}

const struct lk_gguf_value *lk_gguf_value_at(const struct lk_gguf *g, size_t i)
{
    return &g->values.v[i];
}

const struct lk_gguf_value *lk_gguf_find(const struct lk_gguf *g, const char *key)
{
    return lk_gguf_values_find(&g->values, key);
}

size_t lk_gguf_n_tensors(const struct lk_gguf *g)
{
    return g->n_tensors;
}

const struct lk_gguf_tensor *lk_gguf_tensor_at(const struct lk_gguf *g, size_t i)
{
    return &g->tensors[i];
}

const struct lk_gguf_tensor *lk_gguf_find_tensor(const struct lk_gguf *g, const char *name)
{
    struct lk_str s = {name, strlen(name)};
    size_t low = 0, high = g->n_tensors;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct lk_gguf_tensor *t = &g->tensors[g->tensor_order[mid]];
        int c = lk_gguf_str_compare(t->name, s);
        if (c == 0) {
            return t;
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

/* ---- elements ---- */

static double load_f64(const uint8_t *p)
{
    uint64_t u = lk_gguf_load64(p);
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

static float load_f32(const uint8_t *p)
{
    uint32_t u = lk_gguf_load32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float lk_gguf_array_f32(const struct lk_gguf_value *v, uint64_t i)
{
    return load_f32(v->data + 4 * i);
}

double lk_gguf_array_f64(const struct lk_gguf_value *v, uint64_t i)
{
    return v->elem == LK_GGUF_F64 ? load_f64(v->data + 8 * i) : (double)load_f32(v->data + 4 * i);
}

int64_t lk_gguf_array_int(const struct lk_gguf_value *v, uint64_t i)
{
    const uint8_t *p = v->data + i * kinds[v->elem].bytes;
    switch (v->elem) {
    case LK_GGUF_U8:
    case LK_GGUF_BOOL:
        return p[0];
    case LK_GGUF_I8:
        return (int8_t)p[0];
    case LK_GGUF_U16:
        return (uint16_t)(p[0] | p[1] << 8);
    case LK_GGUF_I16:
        return (int16_t)(p[0] | p[1] << 8);
    case LK_GGUF_U32:
        return lk_gguf_load32(p);
    case LK_GGUF_I32:
        return (int32_t)lk_gguf_load32(p);
    default: /* u64 and i64 */
        return (int64_t)lk_gguf_load64(p);
    }
}

struct lk_str lk_gguf_next_str(const struct lk_gguf_value *v, size_t *cursor)
{
    if (*cursor >= v->n_bytes) {
        return (struct lk_str){NULL, 0};
    }
    const uint8_t *p = v->data + *cursor;
    struct lk_str s = {(const char *)p + 8, (size_t)lk_gguf_load64(p)};
    *cursor += 8 + s.len;
    return s;
}

/* ---- typed getters ---- */

static lk_status missing(const struct lk_gguf *g, const char *key, const char *expected,
                         bool required, lk_error *err)
{
    return required ? lk_fail(err, LK_E_FORMAT, "%s: key '%s': missing, expected %s",
                              lk_gguf_path(g), key, expected)
                    : LK_OK;
}

static lk_status wrong_type(const struct lk_gguf *g, const struct lk_gguf_value *v, const char *key,
                            const char *expected, lk_error *err)
{
    return lk_fail(err, LK_E_FORMAT, "%s: key '%s': found %s, expected %s (at offset %" PRIu64 ")",
                   lk_gguf_path(g), key, lk_gguf_value_type_name(v), expected, v->file_offset);
}

/* Whether a value is one, or an array that says the same one for each of its elements. */
static bool is_one(const struct lk_gguf_value *v)
{
    size_t n = kinds[v->elem].bytes;
    for (uint64_t i = 1; i < v->count; i++) {
        if (memcmp(v->data, v->data + i * n, n) != 0) {
            return false;
        }
    }
    return v->count > 0;
}

/* Integer i of a value, which is one or an array of them. */
static lk_status integer(const struct lk_gguf *g, const struct lk_gguf_value *v, const char *key,
                         uint64_t i, uint32_t *out, lk_error *err)
{
    int64_t x = lk_gguf_array_int(v, i); /* a u64 of 2^63 or more turns negative */
    if (x < 0 || x > UINT32_MAX) {
        bool wide = v->elem == LK_GGUF_U64;
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '%s': found %s%" PRIu64 ", expected 0 to %" PRIu32
                       " (at offset %" PRIu64 ")",
                       lk_gguf_path(g), key, x < 0 && !wide ? "-" : "",
                       x < 0 && !wide ? 0 - (uint64_t)x : (uint64_t)x, UINT32_MAX, v->file_offset);
    }
    *out = (uint32_t)x;
    return LK_OK;
}

lk_status lk_gguf_u32(const struct lk_gguf *g, const char *key, bool required, uint32_t *out,
                      lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(g, key);
    if (!v) {
        return missing(g, key, "an integer", required, err);
    }
    if (!lk_gguf_is_integer(v->elem) || !is_one(v)) {
        return wrong_type(g, v, key, "an integer", err);
    }
    return integer(g, v, key, 0, out, err);
}

lk_status lk_gguf_u32s(const struct lk_gguf *g, const char *key, bool required, uint64_t n,
                       uint32_t *out, lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(g, key);
    bool array = v && v->type == LK_GGUF_ARRAY;
    lk_status status = LK_OK;
    if (!array) {
        uint32_t one;
        status = v ? lk_gguf_u32(g, key, required, &one, err)
                   : missing(g, key, "integers", required, err);
        for (uint64_t i = 0; v && !status && i < n; i++) {
            out[i] = one;
        }
        return status;
    }
    if (!lk_gguf_is_integer(v->elem)) {
        return wrong_type(g, v, key, "integers", err);
    }
    if (v->count != n) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '%s': found %" PRIu64 " elements, expected %" PRIu64
                       " (at offset %" PRIu64 ")",
                       lk_gguf_path(g), key, v->count, n, v->file_offset);
    }
    for (uint64_t i = 0; i < n && !status; i++) {
        status = integer(g, v, key, i, &out[i], err);
    }
    return status;
}

lk_status lk_gguf_f32(const struct lk_gguf *g, const char *key, bool required, float *out,
                      lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(g, key);
    if (!v) {
        return missing(g, key, "a float", required, err);
    }
    if ((v->elem != LK_GGUF_F32 && v->elem != LK_GGUF_F64) || !is_one(v)) {
        return wrong_type(g, v, key, "a float", err);
    }
    double x = lk_gguf_array_f64(v, 0);
    if (!(fabs(x) <= (double)FLT_MAX)) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '%s': found %g, expected a finite f32 (at offset %" PRIu64 ")",
                       lk_gguf_path(g), key, x, v->file_offset);
    }
    *out = (float)x;
    return LK_OK;
}

lk_status lk_gguf_bool(const struct lk_gguf *g, const char *key, bool required, bool *out,
                       lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(g, key);
    if (!v) {
        return missing(g, key, "bool", required, err);
    }
    if (v->elem != LK_GGUF_BOOL || !is_one(v)) {
        return wrong_type(g, v, key, "bool", err);
    }
    *out = v->data[0] != 0;
    return LK_OK;
}

lk_status lk_gguf_str(const struct lk_gguf *g, const char *key, bool required, struct lk_str *out,
                      lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(g, key);
    if (!v) {
        return missing(g, key, "string", required, err);
    }
    if (v->type != LK_GGUF_STRING) {
        return wrong_type(g, v, key, "string", err);
    }
    size_t cursor = 0;
    *out = lk_gguf_next_str(v, &cursor);
    return LK_OK;
}

lk_status lk_gguf_array(const struct lk_gguf *g, const char *key, bool required,
                        enum lk_gguf_type elem, const struct lk_gguf_value **out, lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(g, key);
    *out = NULL;
    if (!v) {
        return missing(g, key, kinds[elem].array_name, required, err);
    }
    if (v->type != LK_GGUF_ARRAY || v->elem != elem) {
        return wrong_type(g, v, key, kinds[elem].array_name, err);
    }
    *out = v;
    return LK_OK;
}
