/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, mapped files: content, advice that never changes it, closing twice. Written files: writers of
 * one path at once.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"

Test(os_file, a_mapping_keeps_its_content_under_advice)
{
    char path[] = "/tmp/lk-test-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    enum { N = 3 * 4096 + 100 };
    static uint8_t data[N];
    for (int i = 0; i < N; i++) {
        data[i] = (uint8_t)(i * 31 >> 3);
    }
    cr_assert(write(fd, data, N) == N && close(fd) == 0);
    struct lk_map map;
    lk_error err;
    cr_assert_eq(lk_map_open(path, &map, &err), LK_OK, "%s", err.message);
    cr_assert(map.n_bytes == N && memcmp(map.data, data, N) == 0);
    static const size_t ranges[][2] = {{0, N}, {1, 4096},  {4095, 2},     {N, 0},
                                       {0, 0}, {N + 1, 1}, {1, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}};
    for (size_t i = 0; i < LK_COUNT(ranges); i++) {
        lk_map_will_need(&map, ranges[i][0], ranges[i][1]);
    }
    for (size_t from = 0; from < N; from += 1000) {
        lk_map_drop(map.data + from, N - from);
        cr_assert(memcmp(map.data, data, N) == 0);
    }
    lk_map_close(&map);
    cr_assert(!map.data && map.n_bytes == 0);
    lk_map_close(&map);
    lk_map_will_need(&map, 0, 0);

    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(lk_map_open(path, &map, &err), LK_OK, "an empty file: %s", err.message);
    cr_assert(!map.data && map.n_bytes == 0);
    lk_map_close(&map);
    unlink(path);
    cr_assert_eq(lk_map_open(path, &map, &err), LK_E_IO);
    cr_assert(strstr(err.message, path) && !map.data);
}

Test(os_file, writers_of_one_path_do_not_meet)
{
    enum { WRITERS = 3, N = 5000 };
    char dir[] = "/tmp/lk-test-XXXXXX", path[64];
    struct lk_writer w[WRITERS];
    lk_error err;
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    for (int i = 0; i < WRITERS; i++) {
        cr_assert_eq(lk_writer_open(&w[i], path, &err), LK_OK, "%s", err.message);
    }
    for (int at = 0; at < N; at++) {
        for (int i = 0; i < WRITERS; i++) {
            uint8_t byte = (uint8_t)(i + 1);
            lk_writer_put(&w[i], &byte, 1);
        }
    }
    lk_writer_abort(&w[1]);
    for (int i = 0; i < WRITERS; i += 2) {
        struct lk_map map;
        cr_assert_eq(lk_writer_commit(&w[i], &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_map_open(path, &map, &err), LK_OK, "%s", err.message);
        cr_assert_eq(map.n_bytes, N);
        for (int at = 0; at < N; at++) {
            cr_assert_eq(map.data[at], i + 1);
        }
        lk_map_close(&map);
    }
    unlink(path);
    cr_assert_eq(rmdir(dir), 0, "a part is left");
}
