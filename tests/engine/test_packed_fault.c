/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed weights under faults: each allocation and file operation of an engine's opening fails in
 * turn, while files of packed weights are made and while they are found. The engine opens all the
 * same, with the same bits, or says why not; nothing is left behind, and the next one finds or
 * makes all files.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/cpu_exec.h"
#include "engine/engine.h"
#include "tests/util/fault.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { CTX = 64, N = 20, MAX_VOCAB = 1024 };

struct way {
    lk_model *m;
    char dir[32];
    int32_t ids[N];
    float row[MAX_VOCAB]; /* of weights in memory */
};

static lk_status engine_open(const struct way *w, bool mmap_pack, lk_engine **e, lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    o.n_ctx = CTX;
    o.threads = 2;
    o.pin = true;
    o.cache_dir = w->dir;
    o.mmap_pack = mmap_pack;
    return lk_engine_open(w->m, &o, e, err);
}

static void compare(struct way *w, lk_engine *e, bool first)
{
    lk_session *s;
    lk_error err;
    size_t n_vocab = lk_engine_n_vocab(e);
    cr_assert_leq(n_vocab, MAX_VOCAB);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s, w->ids, N, &err), LK_OK, "%s", err.message);
    if (first) {
        memcpy(w->row, lk_session_logits(s), n_vocab * sizeof(float));
    }
    tiny_same(lk_session_logits(s), w->row, n_vocab, "packed weights");
    lk_session_close(&s);
}

static void clear(const struct way *w)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s/*", w->dir);
    cr_assert_eq(system(command), 0);
}

static size_t count_files(const struct way *w, const char *names)
{
    char pattern[64];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/packed/*/%s", w->dir, names);
    size_t n = glob(pattern, 0, NULL, &found) ? 0 : found.gl_pathc;
    if (n > 0) {
        globfree(&found);
    }
    return n;
}

/* An engine without faults: all that is packed is mapped. */
static size_t open_well(struct way *w)
{
    lk_engine *e = NULL;
    lk_error err;
    cr_assert_eq(engine_open(w, true, &e, &err), LK_OK, "%s", err.message);
    const struct lk_exec *x = e->home->part[0].exec;
    for (int i = 0; i < x->o.plan->n_weights; i++) {
        cr_assert(!x->packed[i].data || x->packed_map[i].data, "weight %d is not mapped", i);
    }
    compare(w, e, false);
    lk_engine_close(&e);
    return count_files(w, "*");
}

/* Opens over the fault set before; false when it was never reached. */
static bool open_over(struct way *w, const char *what, size_t n)
{
    lk_engine *e = NULL;
    lk_error err = {0};
    struct fault_held before = fault_held();
    lk_status status = engine_open(w, true, &e, &err);
    bool struck = fault_struck();
    fault_alloc(0, false);
    fault_io(0, false);
    if (status) {
        cr_assert(struck && !e, "%s %zu: %s", what, n, err.message);
        cr_assert(strstr(err.message, "out of memory") || strstr(err.message, "Input/output"),
                  "%s %zu: %s", what, n, err.message);
    } else {
        compare(w, e, false);
        lk_engine_close(&e);
    }
    struct fault_held after = fault_held();
    cr_assert(after.bytes == before.bytes && after.mapped == before.mapped &&
                  after.fds == before.fds,
              "%s %zu: %zu bytes, %zu bytes of pages, %d files leaked", what, n,
              after.bytes - before.bytes, after.mapped - before.mapped, after.fds - before.fds);
    cr_assert_eq(count_files(w, "*.part"), 0, "%s %zu", what, n);
    return struck;
}

static void each_fault(struct way *w, void (*set)(size_t nth, bool on), const char *what)
{
    size_t files = open_well(w), by = test_is_sanitized_sample() ? 29 : test_is_full() ? 1 : 7;
    cr_assert_gt(files, 0);
    for (int from = 0; from < 4; from++) { /* files are missing or there; one fails, or all on */
        bool found = from & 1, on = from & 2;
        size_t n = 1 + (size_t)from % by;
        for (bool struck = true; struck; n += by) {
            if (!found) {
                clear(w);
            }
            fault_reset();
            set(n, on);
            struck = open_over(w, what, n);
            fault_reset();
            cr_assert_eq(open_well(w), files, "%s %zu", what, n);
        }
        cr_log_info("%s, %s: %zu faults\n", what, found ? "found" : "made", n - by);
        cr_assert_gt(n, found ? files : 3 * files, "only %zu", n);
    }
}

static void run(void (*set)(size_t nth, bool on), const char *what, bool names)
{
    static struct way w; /* the heap is under test */
    lk_engine *e = NULL;
    lk_error err;
    snprintf(w.dir, sizeof w.dir, "/tmp/lk-test-XXXXXX");
    cr_assert(mkdtemp(w.dir));
    cr_assert_eq(lk_model_open(LK_TEST_DIR "/golden/tiny-llama.gguf", &w.m, &err), LK_OK, "%s",
                 err.message);
    tiny_tokens(w.ids, N, 256, 11);
    fault_reset();
    cr_assert_eq(engine_open(&w, false, &e, &err), LK_OK, "%s", err.message);
    compare(&w, e, true);
    lk_engine_close(&e);
    fault_need_names(names);
    each_fault(&w, set, what);
    fault_need_names(false);
    lk_model_close(&w.m);
    clear(&w);
    cr_assert_eq(rmdir(w.dir), 0);
}

Test(packed_fault, each_allocation_fails, .timeout = 300)
{
    run(fault_alloc, "allocation", false);
}

Test(packed_fault, each_file_operation_fails, .timeout = 300)
{
    run(fault_io, "file operation", false);
}

Test(packed_fault, each_file_operation_fails_on_a_plain_file_system, .timeout = 300)
{
    run(fault_io, "file operation", true);
}
