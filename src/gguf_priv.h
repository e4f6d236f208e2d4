/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf, inside: what gguf.c (reading) and gguf_get.c (lookups) share. For these two files only.
 */
#ifndef LK_GGUF_PRIV_H
#define LK_GGUF_PRIV_H

#include "gguf.h"
#include "os.h"

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

int lk_gguf_str_compare(struct lk_str a, struct lk_str b); /* by bytes, like memcmp */
uint64_t lk_gguf_type_bytes(enum lk_gguf_type type);       /* of a number or bool; else 0 */
bool lk_gguf_is_integer(enum lk_gguf_type type);           /* without bool */
const struct lk_gguf_value *lk_gguf_values_find(const struct lk_gguf_values *values,
                                                const char *key);
void lk_gguf_values_free(struct lk_gguf_values *values);

#endif
