/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept: content comes back as it was written, and never any other: no changed byte, cut, kind or
 * version is taken.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/kept.h"

static char path[] = "/tmp/lk-test-XXXXXX";

static void start(void)
{
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0 && unlink(path) == 0);
}

static void end(void)
{
    unlink(path);
}

static void put(const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

Test(kept, content_comes_back, .init = start, .fini = end)
{
    static const char *const CONTENT[] = {"", "x", "twelve bytes"};
    lk_error err;
    struct lk_kept k;
    cr_assert_eq(lk_kept_open(&k, path, "probe", 1), LK_KEPT_NONE);
    for (size_t i = 0; i < LK_COUNT(CONTENT); i++) {
        size_t n = strlen(CONTENT[i]);
        cr_assert_eq(lk_kept_write(path, "probe", 7, CONTENT[i], n, &err), LK_OK, "%s",
                     err.message);
        cr_assert_eq(lk_kept_open(&k, path, "probe", 7), LK_KEPT_WHOLE);
        cr_assert(k.n_bytes == n && memcmp(k.data, CONTENT[i], n) == 0);
        lk_kept_close(&k);
        cr_assert(!k.data && !k.map.data);
        cr_assert_eq(lk_kept_open(&k, path, "probe", 8), LK_KEPT_BROKEN);
        cr_assert_eq(lk_kept_open(&k, path, "prob", 7), LK_KEPT_BROKEN);
        cr_assert(!k.data && !k.map.data);
    }
    cr_assert_eq(lk_kept_write("/no/such/folder", "probe", 1, "", 0, &err), LK_E_IO);
}

Test(kept, nothing_else_does, .init = start, .fini = end)
{
    lk_error err;
    struct lk_kept k;
    uint8_t good[128], bad[130];
    cr_assert_eq(lk_kept_write(path, "probe", 1, "content", 7, &err), LK_OK, "%s", err.message);
    FILE *f = fopen(path, "rb");
    size_t n = fread(good, 1, sizeof good, f);
    fclose(f);
    cr_assert_eq(n, 64 + 7);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(bad, good, n);
            bad[i] ^= (uint8_t)(1 << bit);
            put(bad, n);
            cr_assert_eq(lk_kept_open(&k, path, "probe", 1), LK_KEPT_BROKEN, "byte %zu", i);
        }
        put(good, i); /* cut there */
        cr_assert_eq(lk_kept_open(&k, path, "probe", 1), LK_KEPT_BROKEN, "%zu bytes", i);
    }
    memcpy(bad, good, n);
    bad[n] = 0;
    put(bad, n + 1);
    cr_assert_eq(lk_kept_open(&k, path, "probe", 1), LK_KEPT_BROKEN);
    put(good, n);
    cr_assert_eq(lk_kept_open(&k, path, "probe", 1), LK_KEPT_WHOLE);
    lk_kept_close(&k);
}

/* A file of any size that is none of ours costs no more than its header. */
Test(kept, a_file_without_end_is_not_read, .init = start, .fini = end, .timeout = 20)
{
    lk_error err;
    struct lk_kept k;
    cr_assert_eq(lk_kept_write(path, "probe", 1, "content", 7, &err), LK_OK, "%s", err.message);
    cr_assert_eq(truncate(path, (off_t)1 << 40), 0);
    cr_assert_neq(lk_kept_open(&k, path, "probe", 1), LK_KEPT_WHOLE);
    cr_assert(!k.data && !k.map.data);
}
