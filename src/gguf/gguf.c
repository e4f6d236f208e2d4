/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf: opens a file or the parts of a split one and checks what concerns all of it: names, places
 * and split keys. Each part is read by gguf_read.c; lookups are in gguf_get.c.
 */
#include "gguf/gguf_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* ---- tensors of all parts ---- */

static int by_name(const void *items, uint32_t a, uint32_t b)
{
    const struct lk_gguf_tensor *t = items;
    return lk_gguf_str_compare(t[a].name, t[b].name);
}

static int by_place(const void *items, uint32_t a, uint32_t b)
{
    const struct lk_gguf_tensor *t = items;
    if (t[a].part != t[b].part) {
        return t[a].part < t[b].part ? -1 : 1;
    }
    if (t[a].file_offset != t[b].file_offset) {
        return t[a].file_offset < t[b].file_offset ? -1 : 1;
    }
    /* the larger first, so that one of unknown size (0) shows as overlapping */
    return (t[a].n_bytes < t[b].n_bytes) - (t[a].n_bytes > t[b].n_bytes);
}

/* Over all parts: no name twice, no byte in two tensors. Ends with the name order. */
static lk_status index_tensors(struct lk_gguf *g, lk_error *err)
{
    size_t n = g->n_tensors;
    uint32_t *order = g->tensor_order = lk_alloc_array(n, sizeof *order);
    if (!order) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu tensors", g->parts[0].path, n);
    }
    const struct lk_gguf_tensor *t = g->tensors;
    lk_gguf_sort(order, n, by_place, t);
    for (size_t i = 1; i < n; i++) {
        const struct lk_gguf_tensor *a = &t[order[i - 1]], *b = &t[order[i]];
        if (a->part == b->part && a->file_offset + a->n_bytes > b->file_offset) {
            return lk_gguf_broken(g->parts[a->part].path, b->file_offset, err,
                                  "tensor '%s' overlaps tensor '%s': found its data at %" PRIu64
                                  ", expected at or after %" PRIu64,
                                  lk_gguf_show(b->name).text, lk_gguf_show(a->name).text,
                                  b->file_offset, a->file_offset + a->n_bytes);
        }
    }
    lk_gguf_sort(order, n, by_name, t);
    for (size_t i = 1; i < n; i++) {
        const struct lk_gguf_tensor *a = &t[order[i - 1]], *b = &t[order[i]];
        if (lk_gguf_str_compare(a->name, b->name) == 0) {
            const struct lk_gguf_tensor *second = a < b ? b : a;
            return lk_gguf_broken(g->parts[second->part].path, second->file_offset, err,
                                  "tensor '%s' found twice, expected once",
                                  lk_gguf_show(a->name).text);
        }
    }
    return LK_OK;
}

/* ---- split files ---- */

/* "NAME-00001-of-00003.gguf": numbers of the part and of the parts; false for other names. */
static bool split_name(const char *path, int *part, int *parts)
{
    static const char pattern[] = "-#####-of-#####.gguf";
    size_t n = strlen(path), m = sizeof pattern - 1;
    if (n <= m) {
        return false;
    }
    const char *tail = path + n - m;
    int number[2] = {0, 0};
    for (size_t i = 0; i < m; i++) {
        if (pattern[i] != '#' ? tail[i] != pattern[i] : tail[i] < '0' || tail[i] > '9') {
            return false;
        }
        if (pattern[i] == '#') {
            int *to = &number[i > 6];
            *to = *to * 10 + (tail[i] - '0');
        }
    }
    *part = number[0];
    *parts = number[1];
    return true;
}

/* A split.* key as a number; `missing` when the key is not there. */
static lk_status split_number(const struct lk_gguf_part *part, const struct lk_gguf_values *values,
                              const char *key, int64_t missing, int64_t *out, lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_values_find(values, key);
    *out = missing;
    if (!v) {
        return LK_OK;
    }
    if (!lk_gguf_is_integer(v->type) || lk_gguf_array_int(v, 0) < 0) {
        return lk_gguf_broken(part->path, v->file_offset, err,
                              "key '%s': found %s, expected a count", key,
                              lk_gguf_is_integer(v->type) ? "a negative number"
                                                          : lk_gguf_type_name(v->type));
    }
    *out = lk_gguf_array_int(v, 0);
    return LK_OK;
}

/* The split keys of part `i` of `n`; *total is the tensor count they claim, -1 for none. */
static lk_status check_split(const struct lk_gguf *g, int i, int n,
                             const struct lk_gguf_values *values, int64_t *total, lk_error *err)
{
    const struct lk_gguf_part *part = &g->parts[i];
    int64_t no, count;
    lk_status status;
    if ((status = split_number(part, values, "split.count", 1, &count, err)) ||
        (status = split_number(part, values, "split.no", 0, &no, err)) ||
        (status = split_number(part, values, "split.tensors.count", -1, total, err))) {
        return status;
    }
    if (count == 0) {
        count = 1;
    }
    if (count != n) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key 'split.count': found %" PRId64 ", expected %d by the file's name "
                       "(parts are named NAME-00001-of-0000N.gguf)",
                       part->path, count, n);
    }
    if (no != i) {
        return lk_fail(err, LK_E_FORMAT, "%s: key 'split.no': found %" PRId64 ", expected %d",
                       part->path, no, i);
    }
    return LK_OK;
}

/* Whether a file is no part of several: it has the key of merged files, or no key of split ones. */
static bool is_whole(const struct lk_gguf_part *part, const struct lk_gguf_values *values)
{
    int64_t count;
    return split_number(part, values, "split.count", 1, &count, NULL) == LK_OK && count < 2 &&
           (count == 0 || !lk_gguf_values_find(values, "split.no"));
}

/* ---- opening ---- */

/* A gguf with room for n parts. */
static lk_status create(const char *path, int n, struct lk_gguf **out, lk_error *err)
{
    struct lk_gguf *g = *out = lk_alloc(sizeof *g);
    if (!g || !(g->parts = lk_alloc_array((size_t)n, sizeof *g->parts))) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %d parts", path, n);
    }
    g->n_parts = n;
    return LK_OK;
}

/* The path of part i: that of the first with its number changed when there are more. */
static lk_status name_part(struct lk_gguf *g, int i, const char *path, lk_error *err)
{
    size_t len = strlen(path);
    char *p = g->parts[i].path = lk_alloc(len + 1);
    if (!p) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory", path);
    }
    memcpy(p, path, len + 1);
    if (g->n_parts > 1) {
        char digits[16];
        snprintf(digits, sizeof digits, "%05d", i + 1);
        memcpy(p + len - strlen("00001-of-00001.gguf"), digits, 5);
    }
    return LK_OK;
}

static lk_status open_parts(struct lk_gguf *g, const char *path, lk_error *err)
{
    int64_t total = -1;
    for (int i = 0; i < g->n_parts; i++) {
        struct lk_gguf_part *part = &g->parts[i];
        lk_status status;
        if ((status = name_part(g, i, path, err)) ||
            (status = lk_map_open(part->path, &part->map, err))) {
            return status;
        }
        part->data = part->map.data;
        part->n_bytes = part->map.n_bytes;
        struct lk_gguf_values of_part = {0};
        struct lk_gguf_values *values = i == 0 ? &g->values : &of_part;
        int64_t claim = -1;
        if (!(status = lk_gguf_read_part(g, i, values, err))) {
            if (i == 0 && is_whole(part, values)) { /* joined, under the name of a part */
                g->n_parts = 1;
            }
            status = check_split(g, i, g->n_parts, values, &claim, err);
        }
        lk_gguf_values_free(&of_part);
        if (status) {
            return status;
        }
        total = i == 0 ? claim : total;
    }
    if (g->n_parts > 1 && total >= 0 && (uint64_t)total != g->n_tensors) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key 'split.tensors.count': found %" PRId64 ", expected %zu, the "
                       "tensors of all %d parts",
                       g->parts[0].path, total, g->n_tensors, g->n_parts);
    }
    return index_tensors(g, err);
}

lk_status lk_gguf_open(const char *path, struct lk_gguf **out, lk_error *err)
{
    int part = 1, parts = 1;
    *out = NULL;
    bool named = split_name(path, &part, &parts) && parts > 0;
    struct lk_gguf *g = NULL;
    lk_status status = create(path, named && part == 1 ? parts : 1, &g, err);
    if (!status) {
        status = open_parts(g, path, err);
    }
    if (status == LK_E_FORMAT && named && part != 1 && g->values.n > 0 &&
        !is_whole(&g->parts[0], &g->values)) {
        lk_fail(err, LK_E_FORMAT,
                "%s: found the name of part %d of %d, expected part 1 (the others are opened with "
                "it)",
                path, part, parts);
    }
    if (status) {
        lk_gguf_close(&g);
        return status;
    }
    *out = g;
    return LK_OK;
}

lk_status lk_gguf_open_memory(const void *data, size_t n_bytes, struct lk_gguf **out, lk_error *err)
{
    struct lk_gguf *g = NULL;
    int64_t total;
    *out = NULL;
    lk_status status = create("(memory)", 1, &g, err);
    if (status || (status = name_part(g, 0, "(memory)", err))) {
        goto fail;
    }
    g->parts[0].data = data;
    g->parts[0].n_bytes = n_bytes;
    if ((status = lk_gguf_read_part(g, 0, &g->values, err)) ||
        (status = check_split(g, 0, 1, &g->values, &total, err)) ||
        (status = index_tensors(g, err))) {
        goto fail;
    }
    *out = g;
    return LK_OK;
fail:
    lk_gguf_close(&g);
    return status;
}

void lk_gguf_close(struct lk_gguf **gguf)
{
    struct lk_gguf *g = *gguf;
    if (g) {
        for (int i = 0; i < g->n_parts; i++) {
            lk_map_close(&g->parts[i].map);
            lk_free(g->parts[i].path);
        }
        lk_free(g->parts);
        lk_gguf_values_free(&g->values);
        lk_free(g->tensors);
        lk_free(g->tensor_order);
        lk_free(g);
        *gguf = NULL;
    }
}

void lk_gguf_values_free(struct lk_gguf_values *values)
{
    lk_free(values->v);
    lk_free(values->order);
    *values = (struct lk_gguf_values){0};
}
