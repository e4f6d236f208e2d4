/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf, reading: the directory of one part. Nothing read from the file is used before it has been
 * checked against the bytes that are left; memory grows with what is really there, not with what
 * the file claims.
 */
#include "gguf/gguf_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    MAX_VALUES = 65536,    /* metadata keys of a part */
    MAX_TENSORS = 65536,   /* of all parts */
    MAX_KEY = 65535,       /* bytes, by the specification */
    MAX_NAME = 64,         /* bytes of a tensor's name, by the specification */
    MAX_STRING = 64 << 20, /* bytes */
    MIN_VALUE_BYTES = 13,  /* key length, type, one byte of value */
    MIN_TENSOR_BYTES = 24, /* name length, dimension count, type, offset */
    DEFAULT_ALIGNMENT = 32,
    MIN_ALIGNMENT = 8
};

/* ---- reading with bounds ---- */

struct reader {
    const char *path;
    const uint8_t *data;
    uint64_t n, at;
};

lk_status lk_gguf_broken(const char *path, uint64_t at, lk_error *err, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return lk_fail(err, LK_E_FORMAT, "%s: %s (at offset %" PRIu64 ")", path, what, at);
}

struct lk_gguf_shown lk_gguf_show(struct lk_str s)
{
    struct lk_gguf_shown out;
    lk_show(out.text, sizeof out.text, s.ptr, s.len);
    return out;
}

/* lk_grow with the path in its error. */
static lk_status grow(const struct reader *r, void *p, size_t *cap, size_t need, size_t size,
                      lk_error *err)
{
    lk_status status = lk_grow(p, cap, need, size, err);
    return status ? lk_fail_prefix(err, status, "%s", r->path) : LK_OK;
}

static lk_status need(const struct reader *r, uint64_t n, const char *what, lk_error *err)
{
    if (n > r->n - r->at) {
        return lk_gguf_broken(r->path, r->at, err,
                              "truncated: %s needs %" PRIu64 " bytes, the file has %" PRIu64
                              " left",
                              what, n, r->n - r->at);
    }
    return LK_OK;
}

static lk_status read_u32(struct reader *r, const char *what, uint32_t *out, lk_error *err)
{
    lk_status status = need(r, 4, what, err);
    if (!status) {
        *out = lk_gguf_load32(r->data + r->at);
        r->at += 4;
    }
    return status;
}

static lk_status read_u64(struct reader *r, const char *what, uint64_t *out, lk_error *err)
{
    lk_status status = need(r, 8, what, err);
    if (!status) {
        *out = lk_gguf_load64(r->data + r->at);
        r->at += 8;
    }
    return status;
}

static lk_status read_str(struct reader *r, const char *what, uint64_t max, struct lk_str *out,
                          lk_error *err)
{
    uint64_t at = r->at, len;
    lk_status status = read_u64(r, what, &len, err);
    if (status) {
        return status;
    }
    if (len > max) {
        return lk_gguf_broken(r->path, at, err,
                              "%s is %" PRIu64 " bytes long, expected at most %" PRIu64, what, len,
                              max);
    }
    if ((status = need(r, len, what, err))) {
        return status;
    }
    out->ptr = (const char *)(r->data + r->at);
    out->len = (size_t)len;
    r->at += len;
    return LK_OK;
}

/* ---- metadata ---- */

/* Walks `count` elements of `type`; on success r->at is behind them. */
static lk_status skip_elements(struct reader *r, struct lk_str key, enum lk_gguf_type type,
                               uint64_t count, lk_error *err)
{
    char what[128];
    snprintf(what, sizeof what, "value of key '%s'", lk_gguf_show(key).text);
    lk_status status = LK_OK;
    if (type == LK_GGUF_STRING) {
        if (count > (r->n - r->at) / 8) {
            return lk_gguf_broken(r->path, r->at, err,
                                  "truncated: %s claims %" PRIu64 " strings, the file has %" PRIu64
                                  " bytes left",
                                  what, count, r->n - r->at);
        }
        struct lk_str s;
        for (uint64_t i = 0; !status && i < count; i++) {
            status = read_str(r, what, MAX_STRING, &s, err);
        }
        return status;
    }
    uint64_t size = lk_gguf_type_bytes(type), bytes;
    if (__builtin_mul_overflow(size, count, &bytes)) {
        return lk_gguf_broken(r->path, r->at, err,
                              "%s claims %" PRIu64 " elements of %s, more than any file", what,
                              count, lk_gguf_type_name(type));
    }
    if ((status = need(r, bytes, what, err))) {
        return status;
    }
    for (uint64_t i = 0; type == LK_GGUF_BOOL && i < count; i++) {
        if (r->data[r->at + i] > 1) {
            return lk_gguf_broken(r->path, r->at + i, err,
                                  "%s: found %u as a bool, expected 0 or 1", what,
                                  r->data[r->at + i]);
        }
    }
    r->at += bytes;
    return LK_OK;
}

static lk_status read_value(struct reader *r, struct lk_gguf_value *v, lk_error *err)
{
    uint32_t type;
    lk_status status;
    v->file_offset = r->at;
    if ((status = read_str(r, "metadata key", MAX_KEY, &v->key, err))) {
        return status;
    }
    if (v->key.len == 0) {
        return lk_gguf_broken(r->path, v->file_offset, err,
                              "metadata key of 0 bytes, expected a name");
    }
    if ((status = read_u32(r, "metadata value type", &type, err))) {
        return status;
    }
    if (type > LK_GGUF_F64) {
        return lk_gguf_broken(r->path, r->at - 4, err,
                              "key '%s': found value type %" PRIu32 ", expected 0 to %d",
                              lk_gguf_show(v->key).text, type, LK_GGUF_F64);
    }
    v->type = v->elem = (enum lk_gguf_type)type;
    v->count = 1;
    if (v->type == LK_GGUF_ARRAY) {
        if ((status = read_u32(r, "array element type", &type, err))) {
            return status;
        }
        if (type > LK_GGUF_F64 || type == LK_GGUF_ARRAY) {
            return lk_gguf_broken(r->path, r->at - 4, err,
                                  "key '%s': found array element type %" PRIu32
                                  ", expected 0 to %d but not array",
                                  lk_gguf_show(v->key).text, type, LK_GGUF_F64);
        }
        v->elem = (enum lk_gguf_type)type;
        if ((status = read_u64(r, "array length", &v->count, err))) {
            return status;
        }
    }
    uint64_t start = r->at;
    if ((status = skip_elements(r, v->key, v->elem, v->count, err))) {
        return status;
    }
    v->data = r->data + start;
    v->n_bytes = (size_t)(r->at - start);
    return LK_OK;
}

static int by_key(const void *items, uint32_t a, uint32_t b)
{
    const struct lk_gguf_value *v = items;
    return lk_gguf_str_compare(v[a].key, v[b].key);
}

static lk_status read_values(struct reader *r, uint64_t count, struct lk_gguf_values *out,
                             lk_error *err)
{
    lk_status status;
    for (; out->n < count; out->n++) {
        if ((status = grow(r, &out->v, &out->cap, out->n + 1, sizeof *out->v, err))) {
            return status;
        }
        if ((status = read_value(r, &out->v[out->n], err))) {
            return status;
        }
    }
    out->order = lk_alloc_array(out->n, sizeof *out->order);
    if (!out->order) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu metadata keys", r->path, out->n);
    }
    lk_gguf_sort(out->order, out->n, by_key, out->v);
    for (size_t i = 1; i < out->n; i++) {
        const struct lk_gguf_value *a = &out->v[out->order[i - 1]], *b = &out->v[out->order[i]];
        if (lk_gguf_str_compare(a->key, b->key) == 0) {
            uint64_t first = a->file_offset < b->file_offset ? a->file_offset : b->file_offset;
            uint64_t second = a->file_offset ^ b->file_offset ^ first;
            return lk_gguf_broken(
                r->path, second, err,
                "key '%s' found twice, expected once; it is already at offset %" PRIu64,
                lk_gguf_show(a->key).text, first);
        }
    }
    return LK_OK;
}

/* general.alignment: u32, a power of two, at least 8 (the specification's multiple of 8). */
static lk_status read_alignment(const struct reader *r, const struct lk_gguf_values *values,
                                uint32_t *out, lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_values_find(values, "general.alignment");
    *out = DEFAULT_ALIGNMENT;
    if (!v) {
        return LK_OK;
    }
    if (v->type != LK_GGUF_U32) {
        return lk_gguf_broken(r->path, v->file_offset, err,
                              "key 'general.alignment': found %s, expected u32",
                              lk_gguf_type_name(v->type));
    }
    uint32_t a = lk_gguf_load32(v->data);
    if (a < MIN_ALIGNMENT || (a & (a - 1)) != 0) {
        return lk_gguf_broken(r->path, v->file_offset, err,
                              "key 'general.alignment': found %" PRIu32
                              ", expected a power of two and at least %d",
                              a, MIN_ALIGNMENT);
    }
    *out = a;
    return LK_OK;
}

/* ---- tensor directory ---- */

/* Elements, row and byte sizes; `at` is where the entry starts. */
static lk_status check_shape(const struct reader *r, uint64_t at, struct lk_gguf_tensor *t,
                             lk_error *err)
{
    uint64_t elements = 1;
    for (int i = 0; i < t->n_dims; i++) {
        if (t->ne[i] == 0) {
            return lk_gguf_broken(r->path, at, err,
                                  "tensor '%s': dimension %d is 0, expected at least 1",
                                  lk_gguf_show(t->name).text, i);
        }
        if (__builtin_mul_overflow(elements, t->ne[i], &elements) || elements > INT64_MAX) {
            return lk_gguf_broken(r->path, at, err,
                                  "tensor '%s': dimensions [%" PRIu64 ", %" PRIu64 ", %" PRIu64
                                  ", %" PRIu64 "] multiply to 2^63 or more elements",
                                  lk_gguf_show(t->name).text, t->ne[0], t->ne[1], t->ne[2],
                                  t->ne[3]);
        }
    }
    int block, block_bytes;
    if (!lk_type_block(t->type, &block, &block_bytes)) {
        t->n_bytes = 0;
        return LK_OK;
    }
    if (t->ne[0] % (uint64_t)block != 0) {
        return lk_gguf_broken(r->path, at, err,
                              "tensor '%s': found rows of %" PRIu64
                              " elements, expected a multiple of %d "
                              "for %s",
                              lk_gguf_show(t->name).text, t->ne[0], block, lk_type_name(t->type));
    }
    if (__builtin_mul_overflow(elements / (uint64_t)block, (uint64_t)block_bytes, &t->n_bytes)) {
        return lk_gguf_broken(r->path, at, err,
                              "tensor '%s': %" PRIu64 " elements of %s, more than any file",
                              lk_gguf_show(t->name).text, elements, lk_type_name(t->type));
    }
    return LK_OK;
}

/* One entry; file_offset is still relative to the data section. */
static lk_status read_tensor(struct reader *r, uint32_t alignment, struct lk_gguf_tensor *t,
                             lk_error *err)
{
    uint64_t at = r->at;
    uint32_t n_dims;
    lk_status status;
    if ((status = read_str(r, "tensor name", MAX_NAME, &t->name, err))) {
        return status;
    }
    if (t->name.len == 0) {
        return lk_gguf_broken(r->path, at, err, "tensor name of 0 bytes, expected a name");
    }
    if ((status = read_u32(r, "tensor dimension count", &n_dims, err))) {
        return status;
    }
    if (n_dims > 4) {
        return lk_gguf_broken(r->path, r->at - 4, err,
                              "tensor '%s': found %" PRIu32 " dimensions, expected at most 4",
                              lk_gguf_show(t->name).text, n_dims);
    }
    t->n_dims = (int)n_dims;
    for (int i = 0; i < 4; i++) {
        t->ne[i] = 1;
        if (i < t->n_dims && (status = read_u64(r, "tensor dimension", &t->ne[i], err))) {
            return status;
        }
    }
    if ((status = read_u32(r, "tensor type", &t->type, err)) ||
        (status = read_u64(r, "tensor offset", &t->file_offset, err))) {
        return status;
    }
    if (t->file_offset % alignment != 0) {
        return lk_gguf_broken(r->path, r->at - 8, err,
                              "tensor '%s': found data offset %" PRIu64
                              ", expected a multiple of the "
                              "alignment %" PRIu32,
                              lk_gguf_show(t->name).text, t->file_offset, alignment);
    }
    return check_shape(r, at, t, err);
}

/* From offsets in the data section, which starts at the aligned end of the directory, to places in
 * the file. */
static lk_status place_tensors(const struct reader *r, uint32_t alignment,
                               struct lk_gguf_tensor *tensors, size_t n, int part, lk_error *err)
{
    uint64_t start = (r->at + alignment - 1) & ~((uint64_t)alignment - 1);
    for (size_t i = 0; i < n; i++) {
        struct lk_gguf_tensor *t = &tensors[i];
        uint64_t from, to;
        if (__builtin_add_overflow(start, t->file_offset, &from) ||
            __builtin_add_overflow(from, t->n_bytes, &to) || to > r->n) {
            return lk_gguf_broken(r->path, start, err,
                                  "truncated: tensor '%s' needs %" PRIu64 " bytes at %" PRIu64
                                  " of the data, the file has %" PRIu64 " bytes of data",
                                  lk_gguf_show(t->name).text, t->n_bytes, t->file_offset,
                                  r->n > start ? r->n - start : 0);
        }
        t->file_offset = from;
        t->part = part;
        t->data = t->n_bytes ? r->data + from : NULL;
    }
    return LK_OK;
}

/* ---- a part ---- */

static lk_status read_header(struct reader *r, uint32_t *version, uint64_t *n_tensors,
                             uint64_t *n_values, lk_error *err)
{
    lk_status status = need(r, 4, "the magic", err);
    if (status) {
        return status;
    }
    if (memcmp(r->data, "GGUF", 4) != 0) {
        return lk_gguf_broken(r->path, 0, err,
                              "not a GGUF file: found %02x %02x %02x %02x, expected 'GGUF'",
                              r->data[0], r->data[1], r->data[2], r->data[3]);
    }
    r->at = 4;
    if ((status = read_u32(r, "the version", version, err))) {
        return status;
    }
    if (*version != 2 && *version != 3) {
        bool swapped = *version == 0x02000000 || *version == 0x03000000;
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: found GGUF version %" PRIu32 "%s, expected 2 or 3 (at offset 4)",
                       r->path, swapped ? *version >> 24 : *version,
                       swapped ? " in big-endian order" : "");
    }
    if ((status = read_u64(r, "the tensor count", n_tensors, err)) ||
        (status = read_u64(r, "the metadata count", n_values, err))) {
        return status;
    }
    if (*n_tensors > MAX_TENSORS || *n_tensors > (r->n - r->at) / MIN_TENSOR_BYTES) {
        return lk_gguf_broken(r->path, 8, err,
                              "found a tensor count of %" PRIu64
                              ", expected at most %d and no more than "
                              "fit into %" PRIu64 " bytes",
                              *n_tensors, MAX_TENSORS, r->n - r->at);
    }
    if (*n_values > MAX_VALUES || *n_values > (r->n - r->at) / MIN_VALUE_BYTES) {
        return lk_gguf_broken(r->path, 16, err,
                              "found a metadata count of %" PRIu64
                              ", expected at most %d and no more than "
                              "fit into %" PRIu64 " bytes",
                              *n_values, MAX_VALUES, r->n - r->at);
    }
    return LK_OK;
}

lk_status lk_gguf_read_part(struct lk_gguf *g, int i, struct lk_gguf_values *values, lk_error *err)
{
    struct lk_gguf_part *part = &g->parts[i];
    struct reader r = {part->path, part->data, part->n_bytes, 0};
    uint64_t n_tensors, n_values;
    uint32_t alignment;
    size_t first = g->n_tensors;
    lk_status status;
    if ((status = read_header(&r, &part->version, &n_tensors, &n_values, err)) ||
        (status = read_values(&r, n_values, values, err)) ||
        (status = read_alignment(&r, values, &alignment, err))) {
        return status;
    }
    if (first + n_tensors > MAX_TENSORS) {
        return lk_gguf_broken(r.path, 8, err,
                              "found %" PRIu64 " tensors in parts up to this, expected at "
                              "most %d",
                              first + n_tensors, MAX_TENSORS);
    }
    for (; g->n_tensors < first + n_tensors; g->n_tensors++) {
        if ((status = grow(&r, &g->tensors, &g->cap_tensors, g->n_tensors + 1, sizeof *g->tensors,
                           err)) ||
            (status = read_tensor(&r, alignment, &g->tensors[g->n_tensors], err))) {
            return status;
        }
    }
    part->head_bytes = (size_t)r.at;
    if (n_tensors == 0) {
        return LK_OK; /* no padding need follow the directory */
    }
    return place_tensors(&r, alignment, g->tensors + first, (size_t)n_tensors, i, err);
}
