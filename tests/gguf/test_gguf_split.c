/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf, files: paths, split files whole and broken.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf/gguf.h"
#include "tests/util/gguf_build.h"

enum { PARTS = 3 };

/* Part i of a split model: one tensor each, named "t<i>"; what the keys say may be wrong. */
struct part_spec {
    int no, count, total;
    const char *tensor;
};

static struct part_spec specs[PARTS];
static char dir[64];

static const char *part_path(int i)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/m-%05d-of-%05d.gguf", dir, i + 1, PARTS);
    return path;
}

static void good_specs(void)
{
    static const char *const names[PARTS] = {"t0", "t1", "t2"};
    for (int i = 0; i < PARTS; i++) {
        specs[i] = (struct part_spec){i, PARTS, PARTS, names[i]};
    }
}

static void write_parts(void)
{
    static const uint64_t ne[2] = {32, 2};
    for (int i = 0; i < PARTS; i++) {
        struct gguf_build b;
        gb_start(&b, 3);
        if (i == 0) {
            gb_key_str(&b, "general.architecture", "llama");
        } else {
            gb_key_u32(&b, "general.alignment", 32u << i);
        }
        if (specs[i].no >= 0) {
            gb_key(&b, "split.no", LK_GGUF_U16);
            gb_fill(&b, specs[i].no, 1);
            gb_fill(&b, 0, 1);
        }
        if (specs[i].count >= 0) {
            gb_key(&b, "split.count", LK_GGUF_U16);
            gb_fill(&b, specs[i].count, 1);
            gb_fill(&b, 0, 1);
        }
        if (specs[i].total >= 0) {
            gb_key(&b, "split.tensors.count", LK_GGUF_I32);
            gb_u32(&b, (uint32_t)specs[i].total);
        }
        gb_tensor(&b, specs[i].tensor, 2, ne, LK_TYPE_Q8_0, 0);
        gb_align(&b, i == 0 ? 32 : 32u << i);
        gb_fill(&b, 0x50 + i, 68);
        gb_save(&b, part_path(i));
        gb_free(&b);
    }
}

static void start(void)
{
    strcpy(dir, "/tmp/lk-test-XXXXXX");
    cr_assert(mkdtemp(dir));
    good_specs();
    write_parts();
}

static void stop(void)
{
    for (int i = 0; i < PARTS; i++) {
        unlink(part_path(i));
    }
    rmdir(dir);
}

static void fails(const char *path, lk_status status, const char *a, const char *b)
{
    lk_error err = {0};
    struct lk_gguf *g = (struct lk_gguf *)1;
    cr_assert_eq(lk_gguf_open(path, &g, &err), status, "%s", err.message);
    cr_assert(!g && strstr(err.message, a) && strstr(err.message, b), "%s", err.message);
    cr_assert(strncmp(err.message, dir, strlen(dir)) == 0, "starts with the path: %s", err.message);
}

Test(gguf_split, parts_load_as_one, .init = start, .fini = stop)
{
    lk_error err;
    struct lk_gguf *g;
    cr_assert_eq(lk_gguf_open(part_path(0), &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_gguf_n_parts(g), PARTS);
    cr_assert_eq(lk_gguf_n_tensors(g), PARTS);
    cr_assert_str_eq(lk_gguf_path(g), part_path(0));
    uint64_t bytes = 0;
    for (int i = 0; i < PARTS; i++) {
        struct stat st;
        cr_assert_eq(stat(part_path(i), &st), 0);
        bytes += (uint64_t)st.st_size;
        const struct lk_gguf_tensor *t = lk_gguf_find_tensor(g, specs[i].tensor);
        cr_assert(t && t->part == i && t->n_bytes == 68 && t->data[0] == 0x50 + i);
        cr_assert(t->data[67] == 0x50 + i && t->file_offset % (32u << i) == 0);
        size_t head;
        cr_assert(memcmp(lk_gguf_head(g, i, &head), "GGUF", 4) == 0 && head <= t->file_offset);
    }
    cr_assert_eq(lk_gguf_file_bytes(g), bytes);
    cr_assert(lk_gguf_find(g, "general.architecture"));
    cr_assert_null(lk_gguf_find(g, "general.alignment"), "metadata is the first part's");
    lk_gguf_close(&g);
}

Test(gguf_split, keys_that_disagree, .init = start, .fini = stop)
{
    specs[1].no = 2;
    write_parts();
    fails(part_path(0), LK_E_FORMAT, "m-00002-of-00003.gguf", "'split.no': found 2, expected 1");
    good_specs();
    specs[2].no = -1;
    write_parts();
    fails(part_path(0), LK_E_FORMAT, "m-00003-of-00003.gguf", "'split.no': found 0, expected 2");
    good_specs();
    specs[1].count = 4;
    write_parts();
    fails(part_path(0), LK_E_FORMAT, "m-00002-of-00003.gguf", "'split.count': found 4, expected 3");
    good_specs();
    specs[0].count = -1;
    write_parts();
    fails(part_path(0), LK_E_FORMAT, "m-00001-of-00003.gguf", "'split.count': found 1, expected 3");
    good_specs();
    specs[0].total = 4;
    write_parts();
    fails(part_path(0), LK_E_FORMAT, "'split.tensors.count': found 4, expected 3", "all 3 parts");
    good_specs();
    specs[0].total = -1;
    write_parts();
    lk_error err;
    struct lk_gguf *g;
    cr_assert_eq(lk_gguf_open(part_path(0), &g, &err), LK_OK, "the total is not required");
    lk_gguf_close(&g);
    good_specs();
    specs[2].tensor = "t0";
    write_parts();
    fails(part_path(0), LK_E_FORMAT, "m-00003-of-00003.gguf", "'t0' found twice");
}

Test(gguf_split, missing_and_broken_parts, .init = start, .fini = stop)
{
    fails(part_path(1), LK_E_FORMAT, "name of part 2 of 3", "expected part 1");
    cr_assert_eq(truncate(part_path(2), 100), 0);
    fails(part_path(0), LK_E_FORMAT, "m-00003-of-00003.gguf", "truncated");
    unlink(part_path(2));
    fails(part_path(0), LK_E_IO, "m-00003-of-00003.gguf", "No such file");
    char path[128];
    snprintf(path, sizeof path, "%s/alone.gguf", dir);
    cr_assert_eq(rename(part_path(0), path), 0);
    fails(path, LK_E_FORMAT, "'split.count': found 3, expected 1", "NAME-00001-of-0000N.gguf");
    unlink(path);
}

Test(gguf_split, a_single_part_by_name, .init = start, .fini = stop)
{
    struct gguf_build b;
    char path[128];
    lk_error err;
    struct lk_gguf *g;
    gb_start(&b, 3);
    snprintf(path, sizeof path, "%s/m-00001-of-00001.gguf", dir);
    gb_save(&b, path);
    cr_assert_eq(lk_gguf_open(path, &g, &err), LK_OK, "%s", err.message);
    lk_gguf_close(&g);
    gb_key(&b, "split.count", LK_GGUF_U16);
    gb_fill(&b, 0, 2);
    gb_save(&b, path);
    cr_assert_eq(lk_gguf_open(path, &g, &err), LK_OK, "a count of 0 is no split: %s", err.message);
    lk_gguf_close(&g);
    unlink(path);
    gb_free(&b);
}

/* A file that is whole is opened by any name: with the keys of a merged one, or with none. */
Test(gguf_split, merged_under_the_name_of_a_part, .init = start, .fini = stop)
{
    for (int i = 0; i < PARTS; i++) {
        for (int merged = 0; merged < 2; merged++) {
            lk_error err;
            struct lk_gguf *g;
            specs[i].no = merged ? 0 : -1;
            specs[i].count = merged ? 0 : -1;
            specs[i].total = -1;
            write_parts();
            cr_assert_eq(lk_gguf_open(part_path(i), &g, &err), LK_OK, "%s", err.message);
            cr_assert(lk_gguf_n_parts(g) == 1 && lk_gguf_n_tensors(g) == 1);
            cr_assert_str_eq(lk_gguf_path(g), part_path(i));
            lk_gguf_close(&g);
        }
    }
    good_specs(); /* a part alone is none */
    write_parts();
    fails(part_path(1), LK_E_FORMAT, "name of part 2 of 3", "expected part 1");
}

Test(gguf_split, paths_that_are_no_files, .init = start, .fini = stop)
{
    char path[128];
    fails(dir, LK_E_IO, "found a directory", "expected a regular file");
    snprintf(path, sizeof path, "%s/none.gguf", dir);
    fails(path, LK_E_IO, "can't be opened", "No such file");
    cr_assert_eq(mkfifo(path, 0600), 0);
    fails(path, LK_E_IO, "found a special file", "expected a regular file");
    unlink(path);
    struct gguf_build none = {0};
    gb_save(&none, path);
    fails(path, LK_E_FORMAT, "truncated", "has 0 left");
    unlink(path);
}
