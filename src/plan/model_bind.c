/* SPDX-License-Identifier: Apache-2.0
 *
 * Model_bind: tensors of a file as weights of a plan, of the shape that a layer needs. Knows no
 * architecture.
 */
#include "plan/model.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"

/* A tensor of n matrices of rows times cols; dimensions of 1 may be written out or not. */
static lk_status find(const struct lk_gguf *gguf, const char *name, int64_t n, int64_t rows,
                      int64_t cols, const struct lk_gguf_tensor **out, lk_error *err)
{
    char expected[80];
    const struct lk_gguf_tensor *t = lk_gguf_find_tensor(gguf, name);
    snprintf(expected, sizeof expected, n > 1 ? "[%lld, %lld, %lld]" : "[%lld, %lld]",
             (long long)cols, (long long)rows, (long long)n);
    if (!t) {
        return lk_fail(err, LK_E_FORMAT, "%s: tensor '%s' is missing, expected %s",
                       lk_gguf_path(gguf), name, expected);
    }
    bool fits = t->ne[0] == (uint64_t)cols && t->ne[1] == (uint64_t)rows &&
                t->ne[2] == (uint64_t)n && t->ne[3] == 1;
    if (!fits) {
        return lk_fail(err, LK_E_FORMAT, "%s: tensor '%s' is [%llu, %llu, %llu, %llu], expected %s",
                       lk_gguf_path(gguf), name, (unsigned long long)t->ne[0],
                       (unsigned long long)t->ne[1], (unsigned long long)t->ne[2],
                       (unsigned long long)t->ne[3], expected);
    }
    if (!lk_type_info(t->type)) {
        const char *type = lk_type_name(t->type);
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: tensor '%s' has type %s (%u), which is not supported: %s",
                       lk_gguf_path(gguf), name, type ? type : "unknown", t->type,
                       lk_type_why_not(t->type));
    }
    if ((uintptr_t)t->data % sizeof(float) != 0) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: tensor '%s' starts at byte %llu, expected a "
                       "multiple of 4",
                       lk_gguf_path(gguf), name, (unsigned long long)t->file_offset);
    }
    *out = t;
    return LK_OK;
}

lk_status lk_bind_matrix(const struct lk_gguf *gguf, const char *name, int64_t all, int64_t first,
                         int64_t rows, int64_t cols, struct lk_weight *out, lk_error *err)
{
    const struct lk_gguf_tensor *t = NULL;
    lk_status status = find(gguf, name, 1, all, cols, &t, err);
    if (status) {
        return status;
    }
    size_t row_bytes = lk_type_row_bytes((enum lk_type)t->type, (size_t)cols);
    *out = (struct lk_weight){.type = (enum lk_type)t->type,
                              .rows = rows,
                              .cols = cols,
                              .data = t->data + (size_t)first * row_bytes,
                              .n_bytes = (size_t)rows * row_bytes,
                              .mapped = true};
    if (rows == all) {
        snprintf(out->name, sizeof out->name, "%s", name);
    } else {
        snprintf(out->name, sizeof out->name, "%.60s[%lld:%lld]", name, (long long)first,
                 (long long)(first + rows));
    }
    return LK_OK;
}

lk_status lk_bind_experts(const struct lk_gguf *gguf, const char *name, int n, int64_t all,
                          int64_t first, int64_t rows, int64_t cols, struct lk_weight *out,
                          lk_error *err)
{
    const struct lk_gguf_tensor *t = NULL;
    lk_status status = find(gguf, name, n, all, cols, &t, err);
    if (status) {
        return status;
    }
    size_t row_bytes = lk_type_row_bytes((enum lk_type)t->type, (size_t)cols);
    *out = (struct lk_weight){.type = (enum lk_type)t->type,
                              .rows = n * rows,
                              .cols = cols,
                              .n_experts = n,
                              .data = t->data + (size_t)first * row_bytes,
                              .n_bytes = (size_t)(n * rows) * row_bytes,
                              .mapped = true};
    if (rows == all) {
        snprintf(out->name, sizeof out->name, "%s", name);
    } else {
        out->apart = (size_t)all * row_bytes;
        snprintf(out->name, sizeof out->name, "%.60s[%lld:%lld]", name, (long long)first,
                 (long long)(first + rows));
    }
    return LK_OK;
}

/* A vector of 16-bit floats as F32, which is exact. */
static float *widen(const struct lk_gguf_tensor *t, int64_t n)
{
    float *copy = lk_alloc_array((size_t)n, sizeof *copy);
    for (int64_t i = 0; copy && i < n; i++) {
        uint16_t half;
        memcpy(&half, t->data + 2 * i, sizeof half);
        copy[i] = t->type == LK_TYPE_F16 ? lk_f16_to_f32(half) : lk_flt((uint32_t)half << 16);
    }
    return copy;
}

lk_status lk_bind_vector(const struct lk_gguf *gguf, const char *name, int64_t count, int64_t each,
                         struct lk_weight *out, void **copy, lk_error *err)
{
    const struct lk_gguf_tensor *t = NULL;
    int64_t n = count * each;
    *copy = NULL;
    lk_status status = find(gguf, name, 1, count, each, &t, err);
    if (status) {
        return status;
    }
    bool half = t->type == LK_TYPE_F16 || t->type == LK_TYPE_BF16;
    if (t->type != LK_TYPE_F32 && !half) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: tensor '%s' has type %s, expected F32, F16 or BF16", lk_gguf_path(gguf),
                       name, lk_type_name(t->type));
    }
    if (half && !(*copy = widen(t, n))) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for tensor '%s'", lk_gguf_path(gguf),
                       name);
    }
    *out = (struct lk_weight){.type = LK_TYPE_F32,
                              .rows = 1,
                              .cols = n,
                              .data = half ? *copy : (const void *)t->data,
                              .n_bytes = (size_t)n * sizeof(float),
                              .mapped = !half};
    snprintf(out->name, sizeof out->name, "%s", name);
    return LK_OK;
}
