/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf build: see gguf_build.h.
 */
#include "tests/util/gguf_build.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *room_for(struct gguf_build *b, size_t n)
{
    if (n > b->cap - b->n) {
        b->cap = (b->n + n) * 2 + 256;
        b->data = realloc(b->data, b->cap);
        cr_assert(b->data);
    }
    b->n += n;
    return b->data + b->n - n;
}

void gb_bytes(struct gguf_build *b, const void *data, size_t n)
{
    uint8_t *to = room_for(b, n);
    if (n) {
        memcpy(to, data, n);
    }
}

void gb_fill(struct gguf_build *b, int byte, size_t n)
{
    memset(room_for(b, n), byte, n);
}

void gb_u32(struct gguf_build *b, uint32_t v)
{
    uint8_t p[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    gb_bytes(b, p, 4);
}

void gb_u64(struct gguf_build *b, uint64_t v)
{
    gb_u32(b, (uint32_t)v);
    gb_u32(b, (uint32_t)(v >> 32));
}

void gb_put_u64(struct gguf_build *b, size_t at, uint64_t v)
{
    cr_assert(at + 8 <= b->n);
    for (int i = 0; i < 8; i++) {
        b->data[at + (size_t)i] = (uint8_t)(v >> (8 * i));
    }
}

void gb_str(struct gguf_build *b, const char *s)
{
    gb_u64(b, strlen(s));
    gb_bytes(b, s, strlen(s));
}

void gb_align(struct gguf_build *b, size_t to)
{
    gb_fill(b, 0, (to - b->n % to) % to);
}

void gb_start(struct gguf_build *b, uint32_t version)
{
    *b = (struct gguf_build){0};
    gb_bytes(b, "GGUF", 4);
    gb_u32(b, version);
    gb_u64(b, 0);
    gb_u64(b, 0);
}

void gb_free(struct gguf_build *b)
{
    free(b->data);
    *b = (struct gguf_build){0};
}

void gb_key(struct gguf_build *b, const char *key, uint32_t type)
{
    gb_put_u64(b, 16, ++b->n_values);
    gb_str(b, key);
    gb_u32(b, type);
}

void gb_array(struct gguf_build *b, const char *key, uint32_t elem, uint64_t count)
{
    gb_key(b, key, LK_GGUF_ARRAY);
    gb_u32(b, elem);
    gb_u64(b, count);
}

void gb_key_u32(struct gguf_build *b, const char *key, uint32_t v)
{
    gb_key(b, key, LK_GGUF_U32);
    gb_u32(b, v);
}

void gb_key_f32(struct gguf_build *b, const char *key, float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    gb_key(b, key, LK_GGUF_F32);
    gb_u32(b, u);
}

void gb_key_bool(struct gguf_build *b, const char *key, bool v)
{
    gb_key(b, key, LK_GGUF_BOOL);
    gb_fill(b, v, 1);
}

void gb_key_str(struct gguf_build *b, const char *key, const char *v)
{
    gb_key(b, key, LK_GGUF_STRING);
    gb_str(b, v);
}

void gb_tensor(struct gguf_build *b, const char *name, uint32_t n_dims, const uint64_t *ne,
               uint32_t type, uint64_t offset)
{
    gb_put_u64(b, 8, ++b->n_tensors);
    gb_str(b, name);
    gb_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims && i < 8; i++) {
        gb_u64(b, i < 4 ? ne[i] : 1);
    }
    gb_u32(b, type);
    gb_u64(b, offset);
}

void gb_save(const struct gguf_build *b, const char *path)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f && (b->n == 0 || fwrite(b->data, 1, b->n, f) == b->n), "%s can't be written", path);
    cr_assert_eq(fclose(f), 0);
}
