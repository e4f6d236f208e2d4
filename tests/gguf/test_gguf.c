/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf: what a good file gives: values of every type, getters, tensors, splits. Broken files are
 * in test_gguf_hostile.c.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf/gguf.h"
#include "tests/util/gguf_build.h"

static bool is(struct lk_str s, const char *want)
{
    return s.len == strlen(want) && memcmp(s.ptr, want, s.len) == 0;
}

static struct lk_gguf *open_bytes(const struct gguf_build *b)
{
    lk_error err;
    struct lk_gguf *g;
    cr_assert_eq(lk_gguf_open_memory(b->data, b->n, &g, &err), LK_OK, "%s", err.message);
    return g;
}

/* One value of every type, and one array of every type that may be in one. */
static void build_values(struct gguf_build *b)
{
    gb_start(b, 3);
    gb_key(b, "u8", LK_GGUF_U8);
    gb_fill(b, 200, 1);
    gb_key(b, "i8", LK_GGUF_I8);
    gb_fill(b, 200, 1);
    gb_key(b, "u16", LK_GGUF_U16);
    gb_bytes(b, "\x01\xff", 2);
    gb_key(b, "i16", LK_GGUF_I16);
    gb_bytes(b, "\x01\xff", 2);
    gb_key_u32(b, "u32", 4000000000u);
    gb_key(b, "i32", LK_GGUF_I32);
    gb_u32(b, (uint32_t)-7);
    gb_key_f32(b, "f32", -0.5f);
    gb_key_bool(b, "bool", true);
    gb_key_str(b, "string", "gr\xc3\xbc\xc3\x9f");
    gb_key(b, "u64", LK_GGUF_U64);
    gb_u64(b, UINT64_MAX);
    gb_key(b, "i64", LK_GGUF_I64);
    gb_u64(b, (uint64_t)INT64_MIN);
    gb_key(b, "f64", LK_GGUF_F64);
    gb_u64(b, 0x4009000000000000u); /* 3.125 */
    gb_array(b, "strings", LK_GGUF_STRING, 3);
    gb_str(b, "one");
    gb_str(b, "");
    gb_str(b, "three");
    gb_array(b, "floats", LK_GGUF_F32, 2);
    gb_u32(b, 0x3f800000u);
    gb_u32(b, 0xc0000000u);
    gb_array(b, "ints", LK_GGUF_I16, 2);
    gb_bytes(b, "\xfe\xff\x02\x00", 4);
    gb_array(b, "bools", LK_GGUF_BOOL, 2);
    gb_bytes(b, "\x01\x00", 2);
    gb_array(b, "none", LK_GGUF_U64, 0);
    gb_key(b, "f64.huge", LK_GGUF_F64);
    gb_u64(b, 0x7fe0000000000000u);
    gb_key_f32(b, "f32.nan", (float)NAN);
    gb_key_str(b, "empty", "");
}

Test(gguf, values_of_every_type)
{
    struct gguf_build b;
    for (uint32_t version = 2; version <= 3; version++) {
        build_values(&b);
        b.data[4] = (uint8_t)version;
        struct lk_gguf *g = open_bytes(&b);
        cr_assert_eq(lk_gguf_version(g), version);
        cr_assert_eq(lk_gguf_n_values(g), b.n_values);
        cr_assert_eq(lk_gguf_n_tensors(g), 0);
        cr_assert_eq(lk_gguf_file_bytes(g), b.n);
        cr_assert_eq(lk_gguf_n_parts(g), 1);
        cr_assert_str_eq(lk_gguf_path(g), "(memory)");
        size_t head;
        cr_assert(lk_gguf_head(g, 0, &head) == b.data && head == b.n);
        cr_assert(is(lk_gguf_value_at(g, 0)->key, "u8"), "file order");

        static const struct {
            const char *key;
            int64_t value;
        } ints[] = {{"u8", 200},   {"i8", -56},        {"u16", 0xff01},
                    {"i16", -255}, {"i32", -7},        {"u32", 4000000000},
                    {"u64", -1},   {"i64", INT64_MIN}, {"bool", 1}};
        for (size_t i = 0; i < LK_COUNT(ints); i++) {
            const struct lk_gguf_value *v = lk_gguf_find(g, ints[i].key);
            cr_assert(v && v->count == 1 && v->type == v->elem, "%s", ints[i].key);
            cr_assert_eq(lk_gguf_array_int(v, 0), ints[i].value, "%s", ints[i].key);
            cr_assert_str_eq(lk_gguf_value_type_name(v), ints[i].key);
        }
        cr_assert(lk_gguf_array_f64(lk_gguf_find(g, "f32"), 0) == -0.5);
        cr_assert(lk_gguf_array_f64(lk_gguf_find(g, "f64"), 0) == 3.125);

        const struct lk_gguf_value *s = lk_gguf_find(g, "strings");
        size_t cursor = 0;
        cr_assert(s->type == LK_GGUF_ARRAY && s->elem == LK_GGUF_STRING && s->count == 3);
        cr_assert_str_eq(lk_gguf_value_type_name(s), "array of string");
        cr_assert(is(lk_gguf_next_str(s, &cursor), "one"));
        cr_assert(is(lk_gguf_next_str(s, &cursor), ""));
        cr_assert(is(lk_gguf_next_str(s, &cursor), "three"));
        cr_assert_null(lk_gguf_next_str(s, &cursor).ptr);
        const struct lk_gguf_value *f = lk_gguf_find(g, "floats");
        cr_assert(lk_gguf_array_f32(f, 0) == 1.0f && lk_gguf_array_f32(f, 1) == -2.0f);
        const struct lk_gguf_value *i = lk_gguf_find(g, "ints");
        cr_assert(lk_gguf_array_int(i, 0) == -2 && lk_gguf_array_int(i, 1) == 2);
        const struct lk_gguf_value *n = lk_gguf_find(g, "none");
        cr_assert(n->count == 0 && n->n_bytes == 0);
        cr_assert_null(lk_gguf_find(g, "absent"));
        cr_assert_null(lk_gguf_find(g, ""));
        lk_gguf_close(&g);
        cr_assert_null(g);
        lk_gguf_close(&g);
        gb_free(&b);
    }
}

/* A key a layer that says the same for each is one. */
Test(gguf, arrays_of_equal_values_are_one)
{
    static const float same[3] = {1e-6f, 1e-6f, 1e-6f}, other[3] = {1e-6f, 1e-6f, 1e-5f};
    struct gguf_build b;
    lk_error err;
    uint32_t u = 5;
    float f = 5;
    bool flag = false;
    gb_start(&b, 3);
    for (int i = 0; i < 2; i++) {
        gb_array(&b, i ? "f32.other" : "f32", LK_GGUF_F32, 3);
        gb_bytes(&b, i ? other : same, sizeof same);
        gb_array(&b, i ? "u16.other" : "u16", LK_GGUF_U16, 3);
        gb_fill(&b, 1, 5);
        gb_fill(&b, 1 + i, 1);
        gb_array(&b, i ? "bool.other" : "bool", LK_GGUF_BOOL, 2);
        gb_fill(&b, 1, 1);
        gb_fill(&b, !i, 1);
    }
    gb_array(&b, "none", LK_GGUF_U32, 0);
    gb_array(&b, "one", LK_GGUF_I32, 1);
    gb_u32(&b, 7);
    struct lk_gguf *g = open_bytes(&b);
    cr_assert(!lk_gguf_f32(g, "f32", true, &f, &err) && f == 1e-6f);
    cr_assert(!lk_gguf_u32(g, "u16", true, &u, &err) && u == 257);
    cr_assert(!lk_gguf_u32(g, "one", true, &u, &err) && u == 7);
    cr_assert(!lk_gguf_bool(g, "bool", true, &flag, &err) && flag);
    cr_assert_eq(lk_gguf_f32(g, "f32.other", true, &f, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "'f32.other': found array of f32, expected a float"), "%s",
              err.message);
    cr_assert_eq(lk_gguf_u32(g, "u16.other", true, &u, &err), LK_E_FORMAT);
    cr_assert_eq(lk_gguf_bool(g, "bool.other", true, &flag, &err), LK_E_FORMAT);
    cr_assert_eq(lk_gguf_u32(g, "none", true, &u, &err), LK_E_FORMAT);
    lk_gguf_close(&g);
    gb_free(&b);
}

Test(gguf, getters_take_what_fits)
{
    struct gguf_build b;
    build_values(&b);
    struct lk_gguf *g = open_bytes(&b);
    lk_error err = {0};
    uint32_t u = 5;
    float f = 5;
    bool flag = false;
    struct lk_str s = {NULL, 0};
    const struct lk_gguf_value *v;
    cr_assert(!lk_gguf_u32(g, "u8", true, &u, &err) && u == 200);
    cr_assert(!lk_gguf_u32(g, "u16", true, &u, &err) && u == 0xff01);
    cr_assert(!lk_gguf_u32(g, "u32", true, &u, &err) && u == 4000000000u);
    cr_assert(!lk_gguf_f32(g, "f32", true, &f, &err) && f == -0.5f);
    cr_assert(!lk_gguf_f32(g, "f64", true, &f, &err) && f == 3.125f);
    cr_assert(!lk_gguf_bool(g, "bool", true, &flag, &err) && flag);
    cr_assert(!lk_gguf_str(g, "string", true, &s, &err) && is(s, "gr\xc3\xbc\xc3\x9f"));
    cr_assert(!lk_gguf_str(g, "empty", true, &s, &err) && is(s, ""));
    cr_assert(!lk_gguf_array(g, "floats", true, LK_GGUF_F32, &v, &err) && v->count == 2);

    /* Not there and not required: the preset stays. */
    cr_assert(!lk_gguf_u32(g, "absent", false, &u, &err) && u == 4000000000u);
    cr_assert(!lk_gguf_f32(g, "absent", false, &f, &err) && f == 3.125f);
    cr_assert(!lk_gguf_bool(g, "absent", false, &flag, &err) && flag);
    cr_assert(!lk_gguf_str(g, "absent", false, &s, &err) && is(s, ""));
    cr_assert(!lk_gguf_array(g, "absent", false, LK_GGUF_F32, &v, &err) && !v);
    lk_gguf_close(&g);
    gb_free(&b);
}

Test(gguf, getters_name_key_found_and_expected)
{
    struct gguf_build b;
    build_values(&b);
    struct lk_gguf *g = open_bytes(&b);
    lk_error err;
    uint32_t u = 5;
    float f = 5;
    bool flag = true;
    struct lk_str s = {"same", 4};
    const struct lk_gguf_value *v;
#define FAILS(call, ...)                                                                           \
    do {                                                                                           \
        static const char *const parts[] = {__VA_ARGS__};                                          \
        memset(&err, 0, sizeof err);                                                               \
        cr_assert_eq(call, LK_E_FORMAT);                                                           \
        cr_assert_eq(err.status, LK_E_FORMAT);                                                     \
        for (size_t part_ = 0; part_ < LK_COUNT(parts); part_++) {                                 \
            cr_assert(strstr(err.message, parts[part_]), "%s", err.message);                       \
        }                                                                                          \
    } while (0)
    FAILS(lk_gguf_u32(g, "absent", true, &u, &err), "'absent'", "missing", "expected an integer");
    FAILS(lk_gguf_f32(g, "absent", true, &f, &err), "'absent'", "missing", "expected a float");
    FAILS(lk_gguf_bool(g, "absent", true, &flag, &err), "'absent'", "missing", "bool");
    FAILS(lk_gguf_str(g, "absent", true, &s, &err), "'absent'", "missing", "string");
    FAILS(lk_gguf_array(g, "absent", true, LK_GGUF_I32, &v, &err), "'absent'", "array of i32");
    FAILS(lk_gguf_u32(g, "f32", true, &u, &err), "'f32'", "found f32", "expected an integer");
    FAILS(lk_gguf_u32(g, "bool", false, &u, &err), "'bool'", "found bool", "expected an integer");
    FAILS(lk_gguf_u32(g, "ints", false, &u, &err), "'ints'", "found array of i16");
    FAILS(lk_gguf_u32(g, "i32", false, &u, &err), "'i32'", "found -7", "expected 0 to 4294967295");
    FAILS(lk_gguf_u32(g, "u64", false, &u, &err), "found 18446744073709551615,");
    FAILS(lk_gguf_u32(g, "i64", false, &u, &err), "found -9223372036854775808,");
    FAILS(lk_gguf_f32(g, "u32", true, &f, &err), "'u32'", "found u32", "expected a float");
    FAILS(lk_gguf_f32(g, "f64.huge", true, &f, &err), "'f64.huge'", "finite");
    FAILS(lk_gguf_f32(g, "f32.nan", true, &f, &err), "'f32.nan'", "nan", "finite");
    FAILS(lk_gguf_bool(g, "u8", true, &flag, &err), "'u8'", "found u8", "expected bool");
    FAILS(lk_gguf_str(g, "strings", true, &s, &err), "found array of string", "expected string");
    FAILS(lk_gguf_array(g, "floats", true, LK_GGUF_I32, &v, &err), "found array of f32",
          "expected array of i32");
    FAILS(lk_gguf_array(g, "f32", true, LK_GGUF_F32, &v, &err), "found f32",
          "expected array of f32");
#undef FAILS
    cr_assert(u == 5 && f == 5 && flag && is(s, "same"), "a failing getter changes nothing");
    cr_assert_eq(lk_gguf_u32(g, "absent", true, &u, NULL), LK_E_FORMAT);
    lk_gguf_close(&g);
    gb_free(&b);
}

Test(gguf, tensors_of_every_known_type)
{
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key_u32(&b, "general.alignment", 64);
    uint64_t offset = 0;
    char name[16];
    int n_known = 0, block, bytes;
    for (uint32_t type = 0; type < 64; type++) {
        if (lk_type_block(type, &block, &bytes)) {
            uint64_t ne[3] = {(uint64_t)block * 2, 3, 2};
            snprintf(name, sizeof name, "t%u", type);
            gb_tensor(&b, name, 3, ne, type, offset);
            offset = (offset + (uint64_t)bytes * 12 + 63) & ~63ull;
            n_known++;
        }
    }
    static const uint64_t big[4] = {1u << 30, 1u << 30, 4, 1};
    gb_tensor(&b, "strange", 4, big, 999, offset);
    gb_tensor(&b, "scalar", 0, NULL, LK_TYPE_F32, offset + 64);
    size_t head = b.n;
    gb_align(&b, 64);
    size_t start = b.n;
    gb_fill(&b, 7, offset + 64 + 4);

    struct lk_gguf *g = open_bytes(&b);
    cr_assert_eq(lk_gguf_n_tensors(g), (size_t)n_known + 2);
    size_t n_head;
    lk_gguf_head(g, 0, &n_head);
    cr_assert_eq(n_head, head);
    for (int i = 0; i < n_known; i++) {
        const struct lk_gguf_tensor *t = lk_gguf_tensor_at(g, (size_t)i);
        cr_assert(lk_type_block(t->type, &block, &bytes));
        snprintf(name, sizeof name, "t%u", t->type);
        cr_assert_eq(lk_gguf_find_tensor(g, name), t);
        cr_assert(t->n_dims == 3 && t->ne[0] == (uint64_t)block * 2 && t->ne[1] == 3);
        cr_assert(t->ne[2] == 2 && t->ne[3] == 1 && t->part == 0);
        cr_assert_eq(t->n_bytes, (uint64_t)bytes * 12);
        cr_assert(t->data == b.data + t->file_offset && t->file_offset >= start);
        cr_assert_eq((t->file_offset - start) % 64, 0);
    }
    const struct lk_gguf_tensor *t = lk_gguf_find_tensor(g, "strange");
    cr_assert(t && t->type == 999 && !t->data && t->n_bytes == 0 && t->ne[0] == 1u << 30);
    t = lk_gguf_find_tensor(g, "scalar");
    cr_assert(t && t->n_bytes == 4 && t->ne[0] == 1 && t->n_dims == 0);
    cr_assert_null(lk_gguf_find_tensor(g, "t"));
    cr_assert_null(lk_gguf_find_tensor(g, "zzz"));
    lk_gguf_close(&g);
    gb_free(&b);
}

Test(gguf, a_vocabulary_needs_no_data_section)
{
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key_str(&b, "general.architecture", "llama");
    cr_assert(b.n % 32 != 0, "no padding behind the directory");
    struct lk_gguf *g = open_bytes(&b);
    cr_assert_eq(lk_gguf_n_tensors(g), 0);
    lk_gguf_close(&g);
    gb_free(&b);
    gb_start(&b, 2);
    g = open_bytes(&b);
    cr_assert(lk_gguf_n_values(g) == 0 && !lk_gguf_find(g, "x") && !lk_gguf_find_tensor(g, "x"));
    lk_gguf_close(&g);
    gb_free(&b);
}

Test(gguf, names_for_all_value_types)
{
    static const char *const want[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                       "bool", "string", "array", "u64", "i64", "f64"};
    for (int t = 0; t <= LK_GGUF_F64; t++) {
        cr_assert_str_eq(lk_gguf_type_name((enum lk_gguf_type)t), want[t]);
    }
}
