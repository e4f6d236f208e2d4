/* SPDX-License-Identifier: Apache-2.0
 *
 * Model file: what lk_model says about files that the `gguf` Python package wrote
 * (tests/golden/make_gguf.py), and the fingerprint.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep.h"
#include "base/base.h"
#include "gguf/model_file.h"
#include "tests/util/gguf_build.h"

#define SMALL LK_TEST_DIR "/golden/small.gguf"
#define SPLIT LK_TEST_DIR "/golden/small-00001-of-00003.gguf"

static lk_model *open_model(const char *path)
{
    lk_error err;
    lk_model *m;
    cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
    return m;
}

static void expect_meta(const lk_model *m, const char *key, const char *type, const char *value)
{
    lk_meta meta;
    for (size_t i = 0; i < lk_model_n_meta(m); i++) {
        lk_model_meta(m, i, &meta);
        if (meta.key_len == strlen(key) && memcmp(meta.key, key, meta.key_len) == 0) {
            cr_assert_str_eq(meta.type, type, "%s is %s", key, meta.type);
            cr_assert_str_eq(meta.value, value, "%s = %s", key, meta.value);
            return;
        }
    }
    cr_assert_fail("no key %s", key);
}

Test(model_file, metadata_of_the_writer_of_the_gguf_package)
{
    static const char *const paths[] = {SMALL, SPLIT};
    for (size_t p = 0; p < 2; p++) {
        lk_model *m = open_model(paths[p]);
        cr_assert_str_eq(lk_model_path(m), paths[p]);
        cr_assert_str_eq(lk_model_arch(m), "llama");
        cr_assert_str_eq(lk_model_name(m), "small");
        cr_assert_eq(lk_model_gguf_version(m), 3);
        cr_assert_eq(lk_model_n_ctx_train(m), 77);
        cr_assert_eq(lk_model_n_params(m), 5 * 3 * 64);
        expect_meta(m, "general.architecture", "string", "llama");
        expect_meta(m, "test.uint8", "u8", "255");
        expect_meta(m, "test.int8", "i8", "-128");
        expect_meta(m, "test.uint16", "u16", "65535");
        expect_meta(m, "test.int16", "i16", "-32768");
        expect_meta(m, "test.uint32", "u32", "4294967295");
        expect_meta(m, "test.int32", "i32", "-2147483648");
        expect_meta(m, "test.uint64", "u64", "18446744073709551615");
        expect_meta(m, "test.int64", "i64", "-9223372036854775808");
        expect_meta(m, "test.float32", "f32", "0.100000001");
        expect_meta(m, "test.float64", "f64", "0.10000000000000001");
        expect_meta(m, "test.bool", "bool", "true");
        expect_meta(m, "test.numbers", "array of i32 [3]", "[-1, 0, 70000]");
        expect_meta(m, "test.floats", "array of f32 [2]", "[0.5, -1e-30]");
        expect_meta(m, "test.control", "string", "a\\tb\\\\c\\x07\\x7f");
        lk_model_close(&m);
        cr_assert_null(m);
    }
    lk_model *none = NULL;
    lk_model_close(&none);
}

Test(model_file, long_values_end_between_characters)
{
    lk_model *m = open_model(SMALL);
    char want[200] = "";
    for (int i = 0; i < 78; i++) {
        strcat(want, "\xc3\xa9");
    }
    strcat(want, "..."); /* 156 bytes of 159, then the dots and the end */
    expect_meta(m, "test.long", "string", want);
    lk_meta meta;
    for (size_t i = 0; i < lk_model_n_meta(m); i++) {
        lk_model_meta(m, i, &meta);
        size_t n = strlen(meta.value);
        cr_assert(n < sizeof meta.value);
        for (size_t k = 0; k < n; k++) {
            cr_assert((unsigned char)meta.value[k] >= 32, "one printable line");
        }
    }
    lk_model_close(&m);
}

Test(model_file, tensors_of_the_writer_of_the_gguf_package)
{
    static const struct {
        const char *name, *type;
        uint64_t n_bytes;
    } want[] = {{"t0.weight", "F32", 768},
                {"t1.weight", "Q8_0", 204},
                {"t2.weight", "F16", 384},
                {"t3.weight", "Q4_0", 108},
                {"t4.weight", "BF16", 384}};
    lk_model *whole = open_model(SMALL), *split = open_model(SPLIT);
    cr_assert(lk_model_n_tensors(whole) == 5 && lk_model_n_tensors(split) == 5);
    for (size_t i = 0; i < 5; i++) {
        lk_tensor_info a, b;
        lk_model_tensor(whole, i, &a);
        lk_model_tensor(split, i, &b);
        cr_assert(a.name_len == 9 && memcmp(a.name, want[i].name, 9) == 0);
        cr_assert(b.name_len == 9 && memcmp(b.name, want[i].name, 9) == 0);
        cr_assert_str_eq(a.type, want[i].type);
        cr_assert(a.supported && a.n_dims == 2 && a.dims[0] == 64 && a.dims[1] == 3);
        cr_assert(a.dims[2] == 1 && a.n_bytes == want[i].n_bytes && b.n_bytes == a.n_bytes);
        cr_assert(a.part == 0 && b.part == (int)i / 2);
        const struct lk_gguf_tensor *x = lk_gguf_tensor_at(whole->gguf, i),
                                    *y = lk_gguf_tensor_at(split->gguf, i);
        cr_assert(memcmp(x->data, y->data, x->n_bytes) == 0);
    }
    /* The same numbers in five types: each near the F32 one. */
    float exact[192], y[192];
    lk_dequantize_f32(LK_TYPE_F32, lk_gguf_tensor_at(whole->gguf, 0)->data, 192, exact);
    cr_assert(exact[0] != 0 && exact[0] != exact[1]);
    for (size_t i = 1; i < 5; i++) {
        const struct lk_gguf_tensor *t = lk_gguf_tensor_at(whole->gguf, i);
        lk_dequantize_f32((enum lk_type)t->type, t->data, 192, y);
        for (int k = 0; k < 192; k++) {
            cr_assert(y[k] > -5.0f && y[k] < 5.0f && y[k] == y[k]);
        }
    }
    lk_model_close(&whole);
    lk_model_close(&split);
}

static void fingerprint_of(const struct gguf_build *b, uint8_t out[32])
{
    char path[] = "/tmp/lk-test-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    gb_save(b, path);
    lk_model *m = open_model(path);
    lk_model_fingerprint(m, out);
    lk_model_close(&m);
    unlink(path);
}

Test(model_file, fingerprint_follows_directory_and_size)
{
    static const uint64_t ne[1] = {32};
    struct gguf_build b;
    uint8_t first[32], again[32];
    gb_start(&b, 3);
    gb_key_str(&b, "general.name", "abc");
    gb_tensor(&b, "t", 1, ne, LK_TYPE_F32, 0);
    size_t head = b.n;
    gb_align(&b, 32);
    gb_fill(&b, 0, 128);
    fingerprint_of(&b, first);
    fingerprint_of(&b, again);
    cr_assert(memcmp(first, again, 32) == 0);

    /* The definition: SHA-256 of head, file size (u64) and numerics version (u32). */
    lk_sha256 h;
    uint8_t tail[12] = {0};
    tail[0] = (uint8_t)b.n;
    tail[1] = (uint8_t)(b.n >> 8);
    tail[8] = LK_NUMERICS_VERSION;
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, b.data, head);
    lk_sha256_bytes(&h, tail, sizeof tail);
    lk_sha256_final(&h, again);
    cr_assert(memcmp(first, again, 32) == 0);

    b.data[b.n - 1] ^= 1; /* tensor data is not part of it */
    fingerprint_of(&b, again);
    cr_assert(memcmp(first, again, 32) == 0);
    const size_t letters[] = {24 + 8, head - 25}; /* of the key; the tensor's name */
    for (size_t i = 0; i < LK_COUNT(letters); i++) {
        b.data[letters[i]] ^= 1;
        fingerprint_of(&b, again);
        cr_assert(memcmp(first, again, 32) != 0);
        b.data[letters[i]] ^= 1;
    }
    gb_fill(&b, 0, 1);
    fingerprint_of(&b, again);
    cr_assert(memcmp(first, again, 32) != 0);
    gb_free(&b);
}

Test(model_file, unknown_types_are_listed_as_unsupported)
{
    static const uint64_t ne[1] = {256};
    char path[] = "/tmp/lk-test-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key_u32(&b, "general.count", 1);
    gb_tensor(&b, "a", 1, ne, 31, 0);
    gb_tensor(&b, "b", 1, ne, 9, 512);
    gb_tensor(&b, "c", 1, ne, LK_TYPE_Q6_K, 1024);
    gb_align(&b, 32);
    gb_fill(&b, 0, 1024 + 210);
    gb_save(&b, path);
    lk_model *m = open_model(path);
    cr_assert_str_eq(lk_model_arch(m), "");
    cr_assert_str_eq(lk_model_name(m), "");
    cr_assert_eq(lk_model_n_ctx_train(m), 0);
    cr_assert_eq(lk_model_n_params(m), 768);
    lk_tensor_info t;
    lk_model_tensor(m, 0, &t);
    cr_assert(!t.supported && t.n_bytes == 0 && strcmp(t.type, "type 31") == 0);
    lk_model_tensor(m, 1, &t);
    cr_assert(!t.supported && t.n_bytes == 320 && strcmp(t.type, "Q8_1") == 0);
    lk_model_tensor(m, 2, &t);
    cr_assert(t.supported && t.n_bytes == 210 && strcmp(t.type, "Q6_K") == 0);
    lk_model_close(&m);

    gb_free(&b);
    gb_start(&b, 3);
    static const uint64_t huge[2] = {1ull << 31, 1ull << 31};
    for (int i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), 0};
        gb_tensor(&b, name, 2, huge, 31, 0);
    }
    gb_align(&b, 32);
    gb_save(&b, path);
    m = open_model(path);
    cr_assert_eq(lk_model_n_params(m), UINT64_MAX, "does not wrap");
    lk_model_close(&m);

    gb_free(&b);
    gb_start(&b, 3);
    gb_key_u32(&b, "general.architecture", 1);
    gb_save(&b, path);
    lk_error err;
    cr_assert_eq(lk_model_open(path, &m, &err), LK_E_FORMAT);
    cr_assert(!m && strstr(err.message, "'general.architecture': found u32, expected string"));
    gb_free(&b);
    gb_start(&b, 3);
    gb_key(&b, "general.name", LK_GGUF_STRING);
    gb_u64(&b, 4097);
    gb_fill(&b, 'n', 4097);
    gb_save(&b, path);
    cr_assert_eq(lk_model_open(path, &m, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "'general.name': found 4097 bytes, expected at most 4096"));
    gb_free(&b);
    gb_start(&b, 3);
    gb_key_str(&b, "general.architecture", "x");
    gb_key_str(&b, "x.context_length", "many");
    gb_save(&b, path);
    m = open_model(path);
    cr_assert_eq(lk_model_n_ctx_train(m), 0);
    lk_model_close(&m);
    gb_free(&b);
    unlink(path);
}
