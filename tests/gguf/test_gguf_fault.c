/* SPDX-License-Identifier: Apache-2.0
 *
 * Gguf under faults: every allocation and every file operation of opening a model, and of the
 * digest of its weights, fails in turn; files with absurd counts cost neither time nor memory.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lockstep.h"
#include "tests/util/fault.h"
#include "tests/util/gguf_build.h"

static const char *const paths[] = {LK_TEST_DIR "/golden/small.gguf",
                                    LK_TEST_DIR "/golden/small-00001-of-00003.gguf"};

/* Opens with the fault set; true when it opened. What failed must say so and hold nothing. */
static bool open_under_fault(const char *path, lk_status want, const char *says)
{
    struct fault_held before = fault_held(), after;
    lk_error err = {0};
    lk_model *m = (lk_model *)1;
    lk_status status = lk_model_open(path, &m, &err);
    if (status == LK_OK) {
        cr_assert(!fault_struck(), "a fault went unnoticed");
        cr_assert_eq(lk_model_n_tensors(m), 5);
        lk_model_close(&m);
    } else {
        cr_assert(fault_struck(), "%s", err.message);
        cr_assert_eq(status, want, "%s", err.message);
        cr_assert(strstr(err.message, says) && strstr(err.message, "small"), "%s", err.message);
    }
    cr_assert_null(m);
    after = fault_held();
    cr_assert(after.bytes == before.bytes && after.fds == before.fds &&
                  after.mapped == before.mapped,
              "%zu bytes, %d files, %zu bytes of mappings leaked", after.bytes - before.bytes,
              after.fds - before.fds, after.mapped - before.mapped);
    return status == LK_OK;
}

Test(gguf_fault, each_allocation_fails)
{
    for (size_t p = 0; p < LK_COUNT(paths); p++) {
        for (int on = 0; on < 2; on++) {
            size_t n = 0;
            do {
                fault_alloc(++n, on);
            } while (!open_under_fault(paths[p], LK_E_NOMEM, "out of memory"));
            fault_reset();
            cr_assert(n > 8, "only %zu allocations were seen", n - 1);
        }
    }
}

Test(gguf_fault, each_file_operation_fails)
{
    for (size_t p = 0; p < LK_COUNT(paths); p++) {
        for (int on = 0; on < 2; on++) {
            size_t n = 0;
            do {
                fault_io(++n, on);
            } while (!open_under_fault(paths[p], LK_E_IO, "Input/output error"));
            fault_reset();
            cr_assert_eq(n - 1, p == 0 ? 3 : 9, "open, fstat and mmap of each part: %zu", n - 1);
        }
    }
}

/* A digest under the fault that `set` sets, with a folder that keeps it: right or an error, and
 * right when it is asked for again. True when the fault struck. */
static bool digest_under_fault(const char *path, const char *cache, void (*set)(size_t n), size_t n,
                               const uint8_t want[32])
{
    lk_model *m;
    lk_error err = {0};
    uint8_t got[32] = {0};
    fault_reset();
    struct fault_held before = fault_held();
    cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
    set(n);
    lk_status status = lk_model_digest(m, cache, got, &err);
    bool struck = fault_struck();
    fault_reset();
    cr_assert(!status || (struck && status == LK_E_NOMEM && strstr(err.message, "out of memory")),
              "%s", err.message);
    if (status) {
        cr_assert_eq(lk_model_digest(m, cache, got, &err), LK_OK, "%s", err.message);
    }
    cr_assert_arr_eq(got, want, 32);
    lk_model_close(&m);
    struct fault_held after = fault_held();
    cr_assert(after.bytes == before.bytes && after.fds == before.fds &&
              after.mapped == before.mapped);
    return struck;
}

static void nth_allocation(size_t n)
{
    fault_alloc(n, false);
}

static void nth_io(size_t n)
{
    fault_io(n, false);
}

static void io_from_nth(size_t n)
{
    fault_io(n, true);
}

Test(gguf_fault, each_fault_of_a_digest, .timeout = 120)
{
    static void (*const SETS[])(size_t n) = {nth_allocation, nth_io, io_from_nth, fault_thread};
    static const uint64_t ne[1] = {5 << 20};
    char dir[] = "/tmp/lk-test-XXXXXX", file[64], cache[64], command[128];
    struct gguf_build b;
    cr_assert(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/m.gguf", dir);
    snprintf(cache, sizeof cache, "%s/cache", dir);
    gb_start(&b, 3); /* large enough for a second thread */
    gb_tensor(&b, "a", 1, ne, LK_TYPE_F32, 0);
    gb_tensor(&b, "b", 1, ne, LK_TYPE_F32, 20 << 20);
    gb_align(&b, 32);
    gb_fill(&b, 3, 40 << 20);
    gb_save(&b, file);
    gb_free(&b);
    struct timespec settle = {2, 200000000};
    nanosleep(&settle, NULL);
    uint8_t want[32];
    lk_model *m;
    cr_assert_eq(lk_model_open(file, &m, NULL), LK_OK);
    cr_assert_eq(lk_model_digest(m, NULL, want, NULL), LK_OK);
    lk_model_close(&m);
    for (size_t s = 0; s < LK_COUNT(SETS); s++) {
        for (int kept = 0; kept < 2; kept++) { /* what is kept is read, or not there and written */
            size_t n = 0;
            do {
                snprintf(command, sizeof command, "rm -rf %s", cache);
                cr_assert(kept || system(command) == 0);
            } while (digest_under_fault(file, cache, SETS[s], ++n, want));
            cr_log_info("digest, faults %zu, kept %d: %zu\n", s, kept, n - 1);
            cr_assert(n > 1 || SETS[s] == fault_thread, "no fault struck");
        }
    }
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

/* Opens in under a second and 64 MiB, whatever comes of it. */
static void expect_cheap(const struct gguf_build *b, const char *what)
{
    char path[] = "/tmp/lk-test-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    gb_save(b, path);
    fault_reset();
    size_t before = fault_held().bytes;
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    lk_error err = {0};
    lk_model *m;
    lk_model_open(path, &m, &err);
    lk_model_close(&m);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    size_t peak = fault_held().peak_bytes - before;
    cr_log_info("%s: %.3f s, %zu bytes of heap (%s)\n", what, seconds, peak, err.message);
    cr_assert(seconds < 1.0, "%s: %.3f s (%s)", what, seconds, err.message);
    cr_assert(peak <= 64u << 20, "%s: %zu bytes of heap (%s)", what, peak, err.message);
    cr_assert_eq(fault_held().bytes, before);
    unlink(path);
}

Test(gguf_fault, absurd_files_are_cheap, .timeout = 60)
{
    struct gguf_build b;
    char name[40];
    static const uint64_t ne[1] = {8};

    gb_start(&b, 3); /* counts that only the file's size refutes, over 32 MiB of zeros */
    gb_put_u64(&b, 8, 65536);
    gb_put_u64(&b, 16, 65536);
    gb_fill(&b, 0, 32u << 20);
    expect_cheap(&b, "zeros");
    gb_put_u64(&b, 8, UINT64_MAX);
    gb_put_u64(&b, 16, UINT64_MAX);
    expect_cheap(&b, "the largest counts");
    gb_free(&b);

    gb_start(&b, 3); /* as many keys and tensors as are allowed, in falling order */
    for (int i = 65536; i-- > 0;) {
        snprintf(name, sizeof name, "key.%08d", i);
        gb_key(&b, name, LK_GGUF_U8);
        gb_fill(&b, 0, 1);
    }
    for (int i = 65536; i-- > 0;) {
        snprintf(name, sizeof name, "tensor.%08d", i);
        gb_tensor(&b, name, 1, ne, LK_TYPE_F32, (uint64_t)i * 32);
    }
    gb_align(&b, 32);
    gb_fill(&b, 0, 65536 * 32);
    expect_cheap(&b, "the most keys and tensors");
    gb_free(&b);

    gb_start(&b, 3); /* long keys that differ at the end only */
    char *key = malloc(65536);
    cr_assert(key);
    memset(key, 'k', 65536);
    for (int i = 0; i < 500; i++) {
        snprintf(key + 65000, 40, "%08d", (i * 7919) % 500);
        gb_key(&b, key, LK_GGUF_U8);
        gb_fill(&b, 0, 1);
    }
    free(key);
    expect_cheap(&b, "long keys");
    gb_free(&b);

    gb_start(&b, 3); /* four million empty strings */
    gb_array(&b, "strings", LK_GGUF_STRING, 4u << 20);
    gb_fill(&b, 0, 32u << 20);
    expect_cheap(&b, "empty strings");
    gb_free(&b);
}

Test(gguf_fault, the_name_of_99999_parts_is_cheap)
{
    static const char path[] = "/tmp/lk-test-00001-of-99999.gguf";
    struct gguf_build b;
    gb_start(&b, 3);
    gb_key_u32(&b, "split.count", 99999);
    gb_save(&b, path);
    fault_reset();
    size_t before = fault_held().bytes;
    lk_error err;
    lk_model *m;
    cr_assert_eq(lk_model_open(path, &m, &err), LK_E_IO, "%s", err.message);
    cr_assert(strstr(err.message, "00002-of-99999"), "%s", err.message);
    cr_assert(fault_held().peak_bytes - before <= 64u << 20);
    gb_free(&b);
    unlink(path);
}
