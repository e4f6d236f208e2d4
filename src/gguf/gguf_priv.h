/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf, inside: what gguf.c (opening), gguf_read.c (one part), gguf_get.c (order and lookups) and
 * model_digest.c (the files behind a model) share. For these files only.
 */
#ifndef LK_GGUF_PRIV_H
#define LK_GGUF_PRIV_H

#include "gguf/gguf.h"
#include "base/os.h"

struct lk_gguf_values {
    struct lk_gguf_value *v; /* in the order of the file */
    size_t n, cap;
    uint32_t *order; /* [n] indices, rising by key */
};

struct lk_gguf_part {
    char *path;
    struct lk_map map; /* all zero when opened from memory */
    const uint8_t *data;
    size_t n_bytes, head_bytes; /* of the file; of header, metadata and tensor directory */
    uint32_t version;
};

struct lk_gguf {
    struct lk_gguf_part *parts;
    int n_parts;
    struct lk_gguf_values values; /* of the first part */
    struct lk_gguf_tensor *tensors;
    size_t n_tensors, cap_tensors;
    uint32_t *tensor_order; /* [n_tensors] indices, rising by name */
};

static inline uint32_t lk_gguf_load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t lk_gguf_load64(const uint8_t *p)
{
    return (uint64_t)lk_gguf_load32(p) | (uint64_t)lk_gguf_load32(p + 4) << 32;
}

/* ---- gguf_read.c ---- */

/* Reads part `i`, whose path and bytes are set: its metadata into `values`, its tensors behind
 * those of the parts before it. */
lk_status lk_gguf_read_part(struct lk_gguf *g, int i, struct lk_gguf_values *values, lk_error *err);

/* LK_E_FORMAT with the path before and the offset behind. */
__attribute__((format(printf, 4, 5))) lk_status
lk_gguf_broken(const char *path, uint64_t at, lk_error *err, const char *format, ...);

/* A string of the file made fit for a message (lk_show), cut to the length that one may take. */
struct lk_gguf_shown {
    char text[84];
};
struct lk_gguf_shown lk_gguf_show(struct lk_str s);

/* ---- gguf_get.c ---- */

/* Heap sort of indices 0..n-1 into `items`: n log n on any input, no memory. */
typedef int (*lk_gguf_order)(const void *items, uint32_t a, uint32_t b);
void lk_gguf_sort(uint32_t *order, size_t n, lk_gguf_order compare, const void *items);

int lk_gguf_str_compare(struct lk_str a, struct lk_str b); /* by bytes, like memcmp */
uint64_t lk_gguf_type_bytes(enum lk_gguf_type type);       /* of a number or bool; else 0 */
bool lk_gguf_is_integer(enum lk_gguf_type type);           /* without bool */
const struct lk_gguf_value *lk_gguf_values_find(const struct lk_gguf_values *values,
                                                const char *key);

/* ---- gguf.c ---- */

void lk_gguf_values_free(struct lk_gguf_values *values);

/* ---- model_stamp.c ---- */

/* LK_E_IO for a file that is another than it was when it was mapped. *same: all of them are for
 * sure what they were: where a path names another file now, or something else about it changed,
 * what is mapped may be whole all the same. */
lk_status lk_gguf_look_at_files(const struct lk_gguf *g, bool *same, lk_error *err);
/* Whether a later change of a file is bound to show in its times. */
bool lk_gguf_is_settled(const struct lk_gguf *g);

#endif
