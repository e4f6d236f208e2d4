/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf, hostile: each way in which a file can be wrong has an error of its own that says what was
 * found, what was expected and where; no cut and no changed byte leads outside the file.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "tests/util/gguf_build.h"

/* A good file: two keys, an array of strings, two tensors. */
static void build_good(struct gguf_build *b)
{
    static const uint64_t ne[2] = {64, 2};
    gb_start(b, 3);
    gb_key_str(b, "general.architecture", "llama");
    gb_key_u32(b, "general.alignment", 32);
    gb_array(b, "words", LK_GGUF_STRING, 2);
    gb_str(b, "a");
    gb_str(b, "bc");
    gb_key_bool(b, "flag", true);
    gb_tensor(b, "first", 2, ne, LK_TYPE_Q8_0, 0);
    gb_tensor(b, "second", 1, ne, LK_TYPE_F32, 160);
    gb_align(b, 32);
    gb_fill(b, 3, 160 + 256);
}

/* One tensor over 4 KiB of data. */
static void build_tensor(struct gguf_build *b, const char *name, uint32_t n_dims,
                         const uint64_t *ne, uint32_t type, uint64_t offset)
{
    gb_start(b, 3);
    gb_tensor(b, name, n_dims, ne, type, offset);
    gb_align(b, 32);
    gb_fill(b, 0, 4096);
}

static void expect(struct gguf_build *b, lk_status status, const char *const *parts, size_t n)
{
    lk_error err = {0};
    struct lk_gguf *g = (struct lk_gguf *)1;
    cr_assert_eq(lk_gguf_open_memory(b->data, b->n, &g, &err), status, "expected '%s', got '%s'",
                 parts[0], err.message);
    cr_assert_eq(err.status, status);
    cr_assert_null(g);
    for (size_t i = 0; i < n; i++) {
        cr_assert(strstr(err.message, parts[i]), "expected '%s' in '%s'", parts[i], err.message);
    }
    cr_assert(strncmp(err.message, "(memory): ", 10) == 0 && strstr(err.message, "offset"), "%s",
              err.message);
    gb_free(b);
}
#define EXPECT(b, status, ...)                                                                     \
    expect(b, status, (const char *const[]){__VA_ARGS__},                                          \
           LK_COUNT(((const char *const[]){__VA_ARGS__})))

Test(gguf_hostile, header)
{
    struct gguf_build b;
    build_good(&b);
    b.data[0] = 'g';
    EXPECT(&b, LK_E_FORMAT, "not a GGUF file", "found 67 47 55 46", "expected 'GGUF'");
    build_good(&b);
    b.n = 0;
    EXPECT(&b, LK_E_FORMAT, "truncated", "needs 4 bytes", "has 0 left");
    static const uint8_t versions[] = {0, 1, 4, 255};
    for (size_t i = 0; i < sizeof versions; i++) {
        build_good(&b);
        b.data[4] = versions[i];
        EXPECT(&b, LK_E_UNSUPPORTED, "version", "expected 2 or 3", "offset 4");
    }
    build_good(&b);
    memcpy(b.data + 4, "\0\0\0\3", 4);
    EXPECT(&b, LK_E_UNSUPPORTED, "version 3 in big-endian order", "expected 2 or 3");
}

Test(gguf_hostile, absurd_counts)
{
    static const uint64_t counts[] = {100, 65537, 1u << 31, 1ull << 32, 1ull << 63, UINT64_MAX};
    struct gguf_build b;
    for (size_t i = 0; i < LK_COUNT(counts); i++) {
        char found[40];
        snprintf(found, sizeof found, "count of %llu,", (unsigned long long)counts[i]);
        build_good(&b);
        gb_put_u64(&b, 8, counts[i]);
        EXPECT(&b, LK_E_FORMAT, "tensor", found, "offset 8");
        build_good(&b);
        gb_put_u64(&b, 16, counts[i]);
        EXPECT(&b, LK_E_FORMAT, "metadata", found, "offset 16");

        gb_start(&b, 3);
        gb_array(&b, "strings", LK_GGUF_STRING, counts[i]);
        gb_fill(&b, 0, 99 * 8);
        EXPECT(&b, LK_E_FORMAT, "truncated", "'strings'");
        gb_start(&b, 3);
        gb_array(&b, "numbers", LK_GGUF_F64, counts[i]);
        gb_fill(&b, 0, 99 * 8);
        EXPECT(&b, LK_E_FORMAT, "'numbers'");
        gb_start(&b, 3);
        gb_array(&b, "bytes", LK_GGUF_U8, counts[i]);
        gb_fill(&b, 0, 99);
        EXPECT(&b, LK_E_FORMAT, "truncated", "'bytes'", "has 99 left");
    }
    gb_start(&b, 3);
    gb_array(&b, "many", LK_GGUF_U64, (1ull << 61) + 1); /* 2^64 + 8 bytes */
    gb_fill(&b, 0, 64);
    EXPECT(&b, LK_E_FORMAT, "'many'", "2305843009213693953 elements of u64", "more than any file");
}

Test(gguf_hostile, metadata)
{
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key(&b, "strange", 13);
    gb_fill(&b, 0, 8);
    EXPECT(&b, LK_E_FORMAT, "'strange'", "found value type 13", "expected 0 to 12");
    gb_start(&b, 3);
    gb_array(&b, "strange", 77, 1);
    gb_fill(&b, 0, 8);
    EXPECT(&b, LK_E_FORMAT, "'strange'", "array element type 77");
    gb_start(&b, 3);
    gb_array(&b, "nested", LK_GGUF_ARRAY, 1);
    gb_fill(&b, 0, 16);
    EXPECT(&b, LK_E_FORMAT, "'nested'", "array element type 9", "not array");
    gb_start(&b, 3);
    gb_key(&b, "flag", LK_GGUF_BOOL);
    gb_fill(&b, 2, 8);
    EXPECT(&b, LK_E_FORMAT, "'flag'", "found 2 as a bool", "expected 0 or 1");
    gb_start(&b, 3);
    gb_array(&b, "flags", LK_GGUF_BOOL, 3);
    gb_bytes(&b, "\1\0\xff", 3);
    EXPECT(&b, LK_E_FORMAT, "'flags'", "found 255 as a bool", "offset 55");
    gb_start(&b, 3);
    gb_key(&b, "", LK_GGUF_U64);
    gb_u64(&b, 0);
    EXPECT(&b, LK_E_FORMAT, "metadata key of 0 bytes");
    gb_start(&b, 3);
    gb_key_u32(&b, "twice", 1);
    gb_key_u32(&b, "once", 1);
    gb_key_u32(&b, "twice", 1);
    EXPECT(&b, LK_E_FORMAT, "key 'twice' found twice", "already at offset 24", "(at offset 65)");
}

Test(gguf_hostile, long_strings)
{
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key(&b, "long", LK_GGUF_STRING);
    gb_u64(&b, (64u << 20) + 1);
    gb_fill(&b, 0, 64);
    EXPECT(&b, LK_E_FORMAT, "'long'", "is 67108865 bytes long", "at most 67108864");
    gb_start(&b, 3);
    gb_key(&b, "huge", LK_GGUF_STRING);
    gb_u64(&b, UINT64_MAX - 7);
    EXPECT(&b, LK_E_FORMAT, "'huge'", "is 18446744073709551608 bytes long");
    gb_start(&b, 3);
    gb_key(&b, "cut", LK_GGUF_STRING);
    gb_u64(&b, 64u << 20);
    EXPECT(&b, LK_E_FORMAT, "'cut'", "needs 67108864 bytes", "has 0 left");
    gb_start(&b, 3);
    gb_array(&b, "inside", LK_GGUF_STRING, 2);
    gb_str(&b, "good");
    gb_u64(&b, 1ull << 40);
    EXPECT(&b, LK_E_FORMAT, "'inside'", "is 1099511627776 bytes long");
    gb_start(&b, 3);
    b.n -= 8;
    gb_u64(&b, 1);
    gb_u64(&b, 65536);
    gb_fill(&b, 'k', 70000);
    EXPECT(&b, LK_E_FORMAT, "metadata key is 65536 bytes long", "at most 65535", "offset 24");
    uint64_t ne = 1;
    char name[66] = {0};
    memset(name, 'n', 65);
    build_tensor(&b, name, 1, &ne, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "tensor name is 65 bytes long", "at most 64");
}

Test(gguf_hostile, alignment)
{
    static const uint32_t bad[] = {0, 1, 2, 4, 7, 24, 33, 0x80000001u, UINT32_MAX};
    struct gguf_build b;
    for (size_t i = 0; i < LK_COUNT(bad); i++) {
        char found[40];
        snprintf(found, sizeof found, "found %u,", bad[i]);
        gb_start(&b, 3);
        gb_key_u32(&b, "general.alignment", bad[i]);
        EXPECT(&b, LK_E_FORMAT, "'general.alignment'", found, "expected a power of two");
    }
    gb_start(&b, 3);
    gb_key_f32(&b, "general.alignment", 32.0f);
    EXPECT(&b, LK_E_FORMAT, "'general.alignment'", "found f32", "expected u32");
    uint64_t ne = 8;
    gb_start(&b, 3);
    gb_key_u32(&b, "general.alignment", 0x80000000u);
    gb_tensor(&b, "far", 1, &ne, LK_TYPE_F32, 0);
    gb_fill(&b, 0, 4096);
    EXPECT(&b, LK_E_FORMAT, "truncated", "'far'", "has 0 bytes of data");
}

Test(gguf_hostile, tensors)
{
    static const uint64_t huge[4] = {1ull << 40, 1ull << 40, 1, 1}, zero[2] = {32, 0},
                          sign[2] = {1ull << 62, 2}, one[4] = {32, 1, 1, 1},
                          wide[1] = {(1ull << 62)}, odd[2] = {576, 2}, odd32[1] = {33};
    struct gguf_build b;
    build_tensor(&b, "five", 5, one, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "'five'", "found 5 dimensions", "at most 4");
    build_tensor(&b, "many", UINT32_MAX, one, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "'many'", "found 4294967295 dimensions");
    build_tensor(&b, "empty", 2, zero, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "'empty'", "dimension 1 is 0");
    build_tensor(&b, "huge", 4, huge, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "'huge'", "1099511627776", "multiply to 2^63 or more");
    build_tensor(&b, "sign", 2, sign, LK_TYPE_Q8_0, 0);
    EXPECT(&b, LK_E_FORMAT, "'sign'", "multiply to 2^63 or more");
    build_tensor(&b, "wide", 1, wide, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "'wide'", "elements of F32", "more than any file");
    build_tensor(&b, "odd.weight", 2, odd, LK_TYPE_Q4_K, 0);
    EXPECT(&b, LK_E_FORMAT, "'odd.weight'", "rows of 576 elements",
           "expected a multiple of 256 for Q4_K");
    build_tensor(&b, "odd32", 1, odd32, LK_TYPE_Q5_1, 0);
    EXPECT(&b, LK_E_FORMAT, "'odd32'", "rows of 33", "multiple of 32 for Q5_1");
    build_tensor(&b, "crooked", 1, one, LK_TYPE_F32, 31);
    EXPECT(&b, LK_E_FORMAT, "'crooked'", "offset 31", "multiple of the alignment 32");
    build_tensor(&b, "behind", 1, one, LK_TYPE_F32, 4096);
    EXPECT(&b, LK_E_FORMAT, "truncated", "'behind'", "needs 128 bytes at 4096",
           "has 4096 bytes of data");
    build_tensor(&b, "wraps", 1, one, LK_TYPE_F32, UINT64_MAX - 31);
    EXPECT(&b, LK_E_FORMAT, "truncated", "'wraps'");
    build_tensor(&b, "", 1, one, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "tensor name of 0 bytes");
    build_tensor(&b, "tab\tand\xff", 5, one, LK_TYPE_F32, 0);
    EXPECT(&b, LK_E_FORMAT, "'tab\\tand\\xff'");
}

Test(gguf_hostile, every_k_quant_row_is_checked)
{
    struct gguf_build b;
    size_t n;
    const struct lk_type_info *types = lk_types(&n);
    for (size_t i = 0; i < n; i++) {
        if (types[i].block == 1) {
            continue;
        }
        uint64_t ne = (uint64_t)types[i].block * 3 - 1;
        char want[60];
        snprintf(want, sizeof want, "multiple of %d for %s", types[i].block, types[i].name);
        build_tensor(&b, "blk.0.ffn_up.weight", 1, &ne, (uint32_t)types[i].type, 0);
        EXPECT(&b, LK_E_FORMAT, "'blk.0.ffn_up.weight'", want);
        ne++;
        lk_error err;
        struct lk_gguf *g;
        build_tensor(&b, "blk.0.ffn_up.weight", 1, &ne, (uint32_t)types[i].type, 0);
        cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_OK, "%s", err.message);
        lk_gguf_close(&g);
        gb_free(&b);
    }
}

Test(gguf_hostile, overlap_and_duplicates)
{
    static const uint64_t ne[1] = {64};
    struct gguf_build b;
    for (uint64_t second = 0; second < 256; second += 32) {
        gb_start(&b, 3);
        gb_tensor(&b, "b", 1, ne, LK_TYPE_F32, second);
        gb_tensor(&b, "a", 1, ne, LK_TYPE_F32, 224);
        gb_align(&b, 32);
        gb_fill(&b, 0, 512);
        EXPECT(&b, LK_E_FORMAT, "overlaps tensor", "'a'", "'b'", "expected at or after");
    }
    gb_start(&b, 3);
    gb_tensor(&b, "outer", 1, ne, LK_TYPE_F32, 0);
    gb_tensor(&b, "inner", 1, ne, LK_TYPE_Q8_0, 64);
    gb_align(&b, 32);
    gb_fill(&b, 0, 512);
    EXPECT(&b, LK_E_FORMAT, "'inner' overlaps tensor 'outer'");
    gb_start(&b, 3);
    gb_tensor(&b, "same", 1, ne, LK_TYPE_F32, 0);
    gb_tensor(&b, "other", 1, ne, LK_TYPE_F32, 512);
    gb_tensor(&b, "same", 1, ne, LK_TYPE_F32, 256);
    gb_align(&b, 32);
    gb_fill(&b, 0, 768);
    EXPECT(&b, LK_E_FORMAT, "tensor 'same' found twice", "expected once");
    gb_start(&b, 3);
    gb_tensor(&b, "known", 1, ne, LK_TYPE_F32, 0);
    gb_tensor(&b, "type 500", 1, ne, 500, 224);
    gb_align(&b, 32);
    gb_fill(&b, 0, 512);
    EXPECT(&b, LK_E_FORMAT, "'type 500' overlaps tensor 'known'");
}

Test(gguf_hostile, a_part_of_a_split_file)
{
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key(&b, "split.count", LK_GGUF_U16);
    gb_bytes(&b, "\3\0", 2);
    lk_error err;
    struct lk_gguf *g;
    cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "'split.count': found 3, expected 1"), "%s", err.message);
    gb_free(&b);
    gb_start(&b, 3);
    gb_key(&b, "split.count", LK_GGUF_I16);
    gb_bytes(&b, "\xff\xff", 2);
    EXPECT(&b, LK_E_FORMAT, "'split.count'", "found a negative number");
    gb_start(&b, 3);
    gb_key_str(&b, "split.no", "one");
    EXPECT(&b, LK_E_FORMAT, "'split.no'", "found string", "expected a count");
    gb_start(&b, 3);
    gb_array(&b, "split.no", LK_GGUF_U16, 0);
    EXPECT(&b, LK_E_FORMAT, "'split.no'", "found array", "expected a count");
}

/* Walks everything that an open file offers. */
static uint64_t walk(const struct lk_gguf *g)
{
    uint64_t sum = lk_gguf_file_bytes(g);
    for (size_t i = 0; i < lk_gguf_n_values(g); i++) {
        const struct lk_gguf_value *v = lk_gguf_value_at(g, i);
        size_t cursor = 0;
        for (size_t k = 0; k < v->key.len; k++) {
            sum += (uint8_t)v->key.ptr[k];
        }
        for (uint64_t e = 0; e < v->count; e++) {
            if (v->elem == LK_GGUF_STRING) {
                struct lk_str s = lk_gguf_next_str(v, &cursor);
                for (size_t k = 0; k < s.len; k++) {
                    sum += (uint8_t)s.ptr[k];
                }
            } else if (v->elem == LK_GGUF_F32 || v->elem == LK_GGUF_F64) {
                sum += lk_gguf_array_f64(v, e) > 0;
            } else {
                sum += (uint64_t)lk_gguf_array_int(v, e);
            }
        }
    }
    for (size_t i = 0; i < lk_gguf_n_tensors(g); i++) {
        const struct lk_gguf_tensor *t = lk_gguf_tensor_at(g, i);
        for (uint64_t k = 0; k < t->n_bytes; k++) {
            sum += t->data[k];
        }
    }
    return sum;
}

/* Exactly sized copies, so that a sanitizer sees one byte too far. */
static lk_status open_copy(const uint8_t *data, size_t n, lk_error *err)
{
    uint8_t *copy = malloc(n ? n : 1);
    cr_assert(copy);
    memcpy(copy, data, n);
    struct lk_gguf *g;
    lk_status status = lk_gguf_open_memory(copy, n, &g, err);
    if (!status) {
        cr_assert(walk(g) > 0);
    }
    lk_gguf_close(&g);
    free(copy);
    return status;
}

Test(gguf_hostile, every_cut_is_noticed)
{
    struct gguf_build b;
    lk_error err;
    build_good(&b);
    cr_assert_eq(open_copy(b.data, b.n, &err), LK_OK, "%s", err.message);
    for (size_t n = 0; n < b.n; n++) {
        cr_assert_eq(open_copy(b.data, n, &err), LK_E_FORMAT, "%zu of %zu bytes", n, b.n);
        cr_assert(strstr(err.message, "truncated") || strstr(err.message, "count of"), "%s",
                  err.message);
    }
    gb_free(&b);
}

Test(gguf_hostile, every_changed_byte_is_harmless)
{
    struct gguf_build b;
    lk_error err;
    build_good(&b);
    size_t refused = 0, head = 320;
    for (size_t at = 0; at < head; at++) {
        uint8_t old = b.data[at];
        static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x20, 0x0f};
        for (size_t c = 0; c < sizeof changes; c++) {
            b.data[at] = old ^ changes[c];
            lk_status status = open_copy(b.data, b.n, &err);
            cr_assert(status == LK_OK || status == LK_E_FORMAT || status == LK_E_UNSUPPORTED);
            refused += status != LK_OK;
        }
        b.data[at] = old;
    }
    cr_assert(refused > head, "most changes of the directory are noticed: %zu", refused);
    gb_free(&b);
}
