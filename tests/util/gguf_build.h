/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf build: writes GGUF bytes piece by piece, good or broken on purpose, for tests. The counts
 * of the header follow the pieces unless a test sets them.
 */
#ifndef LK_TEST_GGUF_BUILD_H
#define LK_TEST_GGUF_BUILD_H

#include "gguf/gguf.h"

struct gguf_build {
    uint8_t *data; /* malloc'd, so aligned to 16 */
    size_t n, cap;
    uint64_t n_tensors, n_values;
};

void gb_start(struct gguf_build *b, uint32_t version);
void gb_free(struct gguf_build *b);

/* Raw little-endian pieces. */
void gb_bytes(struct gguf_build *b, const void *data, size_t n);
void gb_fill(struct gguf_build *b, int byte, size_t n);
void gb_u32(struct gguf_build *b, uint32_t v);
void gb_u64(struct gguf_build *b, uint64_t v);
void gb_str(struct gguf_build *b, const char *s);
void gb_put_u64(struct gguf_build *b, size_t at, uint64_t v); /* over what is there */
void gb_align(struct gguf_build *b, size_t to);

/* Metadata: key and type; the value follows by raw pieces. gb_array adds element type and count. */
void gb_key(struct gguf_build *b, const char *key, uint32_t type);
void gb_array(struct gguf_build *b, const char *key, uint32_t elem, uint64_t count);
void gb_key_u32(struct gguf_build *b, const char *key, uint32_t v);
void gb_key_f32(struct gguf_build *b, const char *key, float v);
void gb_key_bool(struct gguf_build *b, const char *key, bool v);
void gb_key_str(struct gguf_build *b, const char *key, const char *v);

/* A tensor's directory entry; ne has min(n_dims, 4) numbers, and dimensions beyond are 1. */
void gb_tensor(struct gguf_build *b, const char *name, uint32_t n_dims, const uint64_t *ne,
               uint32_t type, uint64_t offset);

/* Writes the bytes as a file; asserts that it worked. */
void gb_save(const struct gguf_build *b, const char *path);

#endif
