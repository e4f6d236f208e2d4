/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf: bytes -> metadata and tensor directory. Proof against hostile input; knows no model.
 * Format: the GGUF specification of the ggml project, versions 2 and 3, little-endian.
 */
#ifndef LK_GGUF_H
#define LK_GGUF_H

#include "base/base.h"
#include "quant/quant.h"

enum lk_gguf_type {
    LK_GGUF_U8 = 0,
    LK_GGUF_I8,
    LK_GGUF_U16,
    LK_GGUF_I16,
    LK_GGUF_U32,
    LK_GGUF_I32,
    LK_GGUF_F32,
    LK_GGUF_BOOL,
    LK_GGUF_STRING,
    LK_GGUF_ARRAY,
    LK_GGUF_U64,
    LK_GGUF_I64,
    LK_GGUF_F64
};

/* A byte string inside the mapping: not 0-terminated. */
struct lk_str {
    const char *ptr;
    size_t len;
};

struct lk_gguf_value {
    struct lk_str key;
    enum lk_gguf_type type;
    enum lk_gguf_type elem; /* of an array */
    uint64_t count;         /* of an array, else 1 */
    const uint8_t *data;    /* first element; strings: u64 length, bytes; unaligned */
    size_t n_bytes;         /* of data */
    uint64_t file_offset;   /* of the key, in its part */
};

struct lk_gguf_tensor {
    struct lk_str name;
    uint32_t type; /* enum lk_type when lk_type_info(type) != NULL */
    int n_dims;
    uint64_t ne[4];       /* ne[0] contiguous; 1 beyond n_dims */
    const uint8_t *data;  /* in the mapping of its part; NULL for a type nobody knows */
    uint64_t n_bytes;     /* 0 for a type nobody knows */
    uint64_t file_offset; /* absolute, in its part */
    int part;
};

struct lk_gguf; /* opaque */

/* Opens PATH; for NAME-00001-of-0000N.gguf all N parts. Everything is checked before use, in
 * O(metadata) time and memory. */
lk_status lk_gguf_open(const char *path, struct lk_gguf **out, lk_error *err);
/* The same over bytes in memory (fuzzing); `data`, aligned to 8, must outlive it. Split files are
 * refused. */
lk_status lk_gguf_open_memory(const void *data, size_t n_bytes, struct lk_gguf **out,
                              lk_error *err);
void lk_gguf_close(struct lk_gguf **gguf);

const char *lk_gguf_path(const struct lk_gguf *g); /* of the first part; "(memory)" */
uint32_t lk_gguf_version(const struct lk_gguf *g);
uint64_t lk_gguf_file_bytes(const struct lk_gguf *g); /* all parts */
int lk_gguf_n_parts(const struct lk_gguf *g);
/* Header, metadata and tensor directory of a part: bytes [0, n) for the fingerprint. */
const uint8_t *lk_gguf_head(const struct lk_gguf *g, int part, size_t *n_bytes);

size_t lk_gguf_n_values(const struct lk_gguf *g);
const struct lk_gguf_value *lk_gguf_value_at(const struct lk_gguf *g, size_t i);
const struct lk_gguf_value *lk_gguf_find(const struct lk_gguf *g, const char *key); /* or NULL */

/* Typed getters. Missing key: LK_E_FORMAT naming the key when `required`, else LK_OK and *out is
 * untouched (so preset it). A key of another type is always an error naming key, found, expected.
 * u32 takes any integer type whose value fits; f32 takes F32 and F64; bool takes BOOL. f32 must be
 * finite. An array whose elements are all equal is that one: some files have an element for each
 * layer. */
lk_status lk_gguf_u32(const struct lk_gguf *g, const char *key, bool required, uint32_t *out,
                      lk_error *err);
/* n integers: an array of n, or one that stands for all of them. */
lk_status lk_gguf_u32s(const struct lk_gguf *g, const char *key, bool required, uint64_t n,
                       uint32_t *out, lk_error *err);
lk_status lk_gguf_f32(const struct lk_gguf *g, const char *key, bool required, float *out,
                      lk_error *err);
lk_status lk_gguf_bool(const struct lk_gguf *g, const char *key, bool required, bool *out,
                       lk_error *err);
lk_status lk_gguf_str(const struct lk_gguf *g, const char *key, bool required, struct lk_str *out,
                      lk_error *err);
/* The array value of the given element type; *out NULL when missing and not required. */
lk_status lk_gguf_array(const struct lk_gguf *g, const char *key, bool required,
                        enum lk_gguf_type elem, const struct lk_gguf_value **out, lk_error *err);
/* Elements of an array, unchecked index. Strings are walked with the iterator: O(1) a step. */
float lk_gguf_array_f32(const struct lk_gguf_value *v, uint64_t i);
double lk_gguf_array_f64(const struct lk_gguf_value *v, uint64_t i);  /* F32 and F64 elem */
int64_t lk_gguf_array_int(const struct lk_gguf_value *v, uint64_t i); /* any integer elem, bool */
struct lk_str lk_gguf_next_str(const struct lk_gguf_value *v, size_t *cursor); /* start at 0 */

size_t lk_gguf_n_tensors(const struct lk_gguf *g);
const struct lk_gguf_tensor *lk_gguf_tensor_at(const struct lk_gguf *g, size_t i);
const struct lk_gguf_tensor *lk_gguf_find_tensor(const struct lk_gguf *g, const char *name);

/* "u32", "string", "array", ...; the second says "array of string". Static. */
const char *lk_gguf_type_name(enum lk_gguf_type type);
const char *lk_gguf_value_type_name(const struct lk_gguf_value *v);

#endif
