/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine under faults: a model's whole way from file to logits, with fork, save, load and move.
 * Each allocation, file operation and thread start of it fails in turn. The step that fails says
 * why and changes nothing; the same step made again succeeds, and the way ends with the same bits.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep.h"
#include "base/base.h"
#include "tests/util/fault.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { CTX = 128, FIRST = 66, SECOND = 70, LAST = 75, MAX_VOCAB = 1024, MAX_FILE = 1 << 20 };

struct config {
    const char *model, *backend, *other; /* or placements */
    int threads;
};

static const struct config CONFIGS[] = {
    {LK_TEST_DIR "/golden/tiny-llama.gguf", "scalar", "cpu", 1},
    {LK_TEST_DIR "/golden/tiny-qwen3.gguf", "ref", "scalar", 1},
    {LK_TEST_DIR "/golden/tiny-qwen2.gguf", "cpu", "scalar", 1},
    {LK_TEST_DIR "/golden/tiny-llama.gguf", "cpu", "ref", 2},
    {LK_TEST_DIR "/golden/tiny-llama.gguf", "scalar:0,cpu:1", "cpu:0,scalar:1", 1},
};

struct way {
    const struct config *config;
    const char *file;
    int32_t ids[LAST];
    lk_model *m;
    lk_engine *e;
    lk_session *s, *f; /* f: forks of s */
};

static lk_status model_open(struct way *w, lk_error *err)
{
    return lk_model_open(w->config->model, &w->m, err);
}

static lk_status engine_open(struct way *w, lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    bool placed = strchr(w->config->backend, ':');
    if (placed) {
        o.placement = w->config->backend;
    } else {
        o.backend = w->config->backend;
    }
    o.n_ctx = CTX;
    o.n_batch = placed ? 64 : 32; /* where parts have threads: two micro-batches */
    o.n_sessions = 3;
    o.threads = 1;
    o.pin = true; /* exactly that many */
    o.threads_batch = w->config->threads;
    return lk_engine_open(w->m, &o, &w->e, err);
}

static lk_status session_open(struct way *w, lk_error *err)
{
    return lk_session_open(w->e, &w->s, err);
}

static lk_status sync_first(struct way *w, lk_error *err)
{
    return lk_session_sync(w->s, w->ids, FIRST, err);
}

static lk_status set_data(struct way *w, lk_error *err)
{
    return lk_session_set_data(w->s, w->file, strlen(w->file), err);
}

static lk_status save(struct way *w, lk_error *err)
{
    return lk_session_save(w->s, w->file, err);
}

static lk_status fork_session(struct way *w, lk_error *err)
{
    return lk_session_fork(w->s, &w->f, err);
}

static lk_status sync_second(struct way *w, lk_error *err) /* copies the block it shares */
{
    return lk_session_sync(w->s, w->ids, SECOND, err);
}

static lk_status fork_again(struct way *w, lk_error *err)
{
    lk_session_close(&w->f);
    return lk_session_fork(w->s, &w->f, err);
}

static lk_status step(struct way *w, lk_error *err) /* copies the block it shares */
{
    lk_session *both[2] = {w->f, w->s}, *rest[2];
    int32_t tokens[2] = {w->ids[SECOND], w->ids[SECOND]};
    size_t n = 0;
    for (int i = 0; i < 2; i++) { /* one may have taken its token in a step that failed */
        if (lk_session_n_tokens(both[i]) == SECOND) {
            rest[n++] = both[i];
        }
    }
    return lk_engine_step(w->e, rest, tokens, n, err);
}

static lk_status load(struct way *w, lk_error *err)
{
    return lk_session_load(w->f, w->file, err);
}

static lk_status move(struct way *w, lk_error *err)
{
    return lk_session_move(w->s, w->config->other, err);
}

static lk_status sync_last(struct way *w, lk_error *err)
{
    return lk_session_sync(w->s, w->ids, LAST, err);
}

static lk_status sync_fork(struct way *w, lk_error *err)
{
    return lk_session_sync(w->f, w->ids, LAST, err);
}

static const struct {
    const char *name;
    lk_status (*go)(struct way *w, lk_error *err);
} STEPS[] = {
    {"model open", model_open},
    {"engine open", engine_open},
    {"session open", session_open},
    {"sync", sync_first},
    {"the program's bytes", set_data},
    {"save", save},
    {"fork", fork_session},
    {"sync of what was forked", sync_second},
    {"fork again", fork_again},
    {"step", step},
    {"save over the old file", save},
    {"load", load},
    {"move", move},
    {"sync where it was moved", sync_last},
    {"sync of what was loaded", sync_fork},
};

/* What a step that fails must leave as it was. Static: the heap is under test. */
struct seen {
    size_t n_tokens, n_data;
    bool has_logits;
    int32_t tokens[CTX];
    float logits[MAX_VOCAB];
};

static void look(const lk_session *s, size_t n_vocab, struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    if (!s) {
        return;
    }
    const float *row = lk_session_logits(s);
    seen->n_tokens = lk_session_n_tokens(s);
    (void)lk_session_data(s, &seen->n_data);
    seen->has_logits = row;
    memcpy(seen->tokens, lk_session_tokens(s), seen->n_tokens * sizeof(int32_t));
    if (row) {
        memcpy(seen->logits, row, n_vocab * sizeof *row);
    }
}

/* A sync that failed has no logits to show; everything else is as before. Of two sessions in a step
 * one may have taken its token. */
static void expect_unchanged(const lk_session *s, size_t n_vocab, const struct seen *before,
                             bool synced, bool stepped, const char *step_name)
{
    static struct seen now;
    look(s, n_vocab, &now);
    if (stepped && now.n_tokens == before->n_tokens + 1) {
        cr_assert(now.has_logits, "%s", step_name);
        return;
    }
    cr_assert_eq(now.n_tokens, before->n_tokens, "%s", step_name);
    cr_assert_eq(now.n_data, before->n_data, "%s", step_name);
    cr_assert_arr_eq(now.tokens, before->tokens, sizeof now.tokens, "%s", step_name);
    if (!synced) {
        cr_assert_eq(now.has_logits, before->has_logits, "%s", step_name);
        cr_assert_arr_eq(now.logits, before->logits, sizeof now.logits, "%s", step_name);
    }
}

static uint8_t file_before[MAX_FILE], file_now[MAX_FILE];

static size_t read_file(const char *path, uint8_t *data)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        return 0;
    }
    size_t n = fread(data, 1, MAX_FILE, f);
    fclose(f);
    cr_assert_lt(n, MAX_FILE);
    return n;
}

static void expect_file(const char *path, size_t n)
{
    char pattern[64];
    glob_t parts;
    snprintf(pattern, sizeof pattern, "%s*.part", path);
    cr_assert(glob(pattern, 0, NULL, &parts) == GLOB_NOMATCH, "%s is left", parts.gl_pathv[0]);
    cr_assert_eq(read_file(path, file_now), n);
    cr_assert_arr_eq(file_now, file_before, n, "the old file was touched");
}

static void expect_error(lk_status status, const lk_error *err, const char *step_name)
{
    cr_assert(fault_struck(), "%s: %s", step_name, err->message);
    cr_assert_eq(status, err->status, "%s", step_name);
    cr_assert(status == LK_E_NOMEM || status == LK_E_IO, "%s: %s", step_name, err->message);
    bool says = status == LK_E_IO ? strstr(err->message, "Input/output error") != NULL
                                  : strstr(err->message, "out of memory") ||
                                        strstr(err->message, "a thread can't be started");
    cr_assert(says, "%s: %s", step_name, err->message);
}

static float last_row[2][MAX_VOCAB]; /* of s and f, of a way without faults */

/* Goes all the way, over the fault set before the call; false when there was none to go over. */
static bool go(struct way *w, bool first)
{
    static struct seen s, f;
    bool failed = false;
    size_t n_vocab = 0;
    for (size_t i = 0; i < LK_COUNT(STEPS); i++) {
        lk_error err = {0};
        size_t n_file = read_file(w->file, file_before);
        if (STEPS[i].go == fork_again) {
            look(NULL, n_vocab, &f);
        } else {
            look(w->f, n_vocab, &f);
        }
        look(w->s, n_vocab, &s);
        lk_status status = STEPS[i].go(w, &err);
        if (status) {
            expect_error(status, &err, STEPS[i].name);
            cr_assert(!failed, "%s: failed after the fault: %s", STEPS[i].name, err.message);
            failed = true;
            expect_unchanged(w->s, n_vocab, &s,
                             STEPS[i].go == sync_second || STEPS[i].go == sync_last,
                             STEPS[i].go == step, STEPS[i].name);
            expect_unchanged(w->f, n_vocab, &f, STEPS[i].go == sync_fork, STEPS[i].go == step,
                             STEPS[i].name);
            expect_file(w->file, n_file);
            fault_alloc(0, false);
            fault_io(0, false);
            fault_thread(0);
            status = STEPS[i].go(w, &err);
            cr_assert_eq(status, LK_OK, "%s, again: %s", STEPS[i].name, err.message);
        } else {
            cr_assert(failed || !fault_struck(), "%s: a fault went unnoticed", STEPS[i].name);
        }
        if (w->e) {
            n_vocab = lk_engine_n_vocab(w->e);
            cr_assert_leq(n_vocab, MAX_VOCAB);
        }
    }
    const lk_session *both[2] = {w->s, w->f};
    for (int i = 0; i < 2; i++) {
        const float *row = lk_session_logits(both[i]);
        if (first) {
            memcpy(last_row[i], row, n_vocab * sizeof *row);
        }
        if (strcmp(w->config->backend, "ref") != 0) {
            tiny_same(row, last_row[i], n_vocab, i ? "the fork" : "the session");
        }
        for (size_t k = 0; k < n_vocab;
             k++) { /* whose block is copied, the reference rounds to f16 */
            cr_assert_float_eq(row[k], last_row[i][k], 1e-3, "%s: float %zu is %a, expected %a",
                               i ? "the fork" : "the session", k, (double)row[k],
                               (double)last_row[i][k]);
        }
    }
    return failed;
}

static bool go_and_close(struct way *w, bool first)
{
    struct fault_held before = fault_held();
    bool failed = go(w, first);
    lk_session_close(&w->f);
    lk_session_close(&w->s);
    lk_engine_close(&w->e);
    lk_model_close(&w->m);
    struct fault_held after = fault_held();
    cr_assert(after.bytes == before.bytes && after.mapped == before.mapped &&
                  after.fds == before.fds,
              "%s: %zu bytes, %zu bytes of pages, %d files leaked", w->config->backend,
              after.bytes - before.bytes, after.mapped - before.mapped, after.fds - before.fds);
    unlink(w->file);
    return failed;
}

/* Configurations share most of what can fail: without LK_FULL=1 each has every so many of the
 * faults, and the next one others; fewer under AddressSanitizer, which only has to see that none
 * leads astray. */
static size_t stride(size_t plain, size_t sanitized)
{
    return test_is_sanitized_sample() ? sanitized : test_is_full() ? 1 : plain;
}

/* Sets the faults `first` of `by`, then every by-th until there are no more; the number of the
 * last. */
static size_t each_fault(const struct config *config, void (*set)(size_t n), size_t first,
                         size_t by)
{
    char file[] = "/tmp/lk-test-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0 && close(fd) == 0 && unlink(file) == 0);
    struct way w = {.config = config, .file = file};
    tiny_tokens(w.ids, LAST, 256, 11);
    fault_reset();
    cr_assert(!go_and_close(&w, true));
    size_t n = 1 + first % by;
    for (;; n += by) {
        fault_reset();
        set(n);
        if (!go_and_close(&w, false)) {
            break;
        }
    }
    fault_reset();
    cr_log_info("%s, %d threads: %zu faults\n", config->backend, config->threads, n - by);
    return n - by;
}

static void one_allocation(size_t n)
{
    fault_alloc(n, false);
}

static void allocations_from(size_t n)
{
    fault_alloc(n, true);
}

static void one_file_operation(size_t n)
{
    fault_io(n, false);
}

static void file_operations_from(size_t n)
{
    fault_io(n, true);
}

Test(engine_fault, each_allocation_fails, .timeout = 600)
{
    for (size_t i = 0; i < LK_COUNT(CONFIGS); i++) {
        size_t n = each_fault(&CONFIGS[i], one_allocation, i, stride(2, 19));
        cr_assert(n > 60, "only %zu allocations were seen", n);
    }
}

Test(engine_fault, all_allocations_from_one_on_fail, .timeout = 600)
{
    for (size_t i = 0; i < LK_COUNT(CONFIGS); i++) {
        each_fault(&CONFIGS[i], allocations_from, i, stride(3, 29));
    }
}

Test(engine_fault, each_file_operation_and_mapping_fails, .timeout = 600)
{
    for (size_t i = 0; i < LK_COUNT(CONFIGS); i++) {
        /* Model: 3. A save: open, fsync, rename, header, tokens, logits, digest and the blocks.
         * Load: 3. */
        size_t n = each_fault(&CONFIGS[i], one_file_operation, i, stride(1, 7));
        cr_assert(n > 3 + 2 * (7 + 2 * 2 * 2) + 3, "only %zu operations were seen", n);
    }
}

Test(engine_fault, all_file_operations_from_one_on_fail, .timeout = 600)
{
    for (size_t i = 0; i < LK_COUNT(CONFIGS); i++) {
        each_fault(&CONFIGS[i], file_operations_from, i, stride(2, 9));
    }
}

/* The same where the parts of files have names. */
Test(engine_fault, each_file_operation_fails_on_a_plain_file_system, .timeout = 600)
{
    fault_need_names(true);
    each_fault(&CONFIGS[0], one_file_operation, 0, stride(1, 7));
    each_fault(&CONFIGS[0], file_operations_from, 0, stride(1, 9));
    fault_need_names(false);
}

Test(engine_fault, each_thread_fails_to_start, .timeout = 60)
{
    for (int threads = 1; threads <= 4; threads++) {
        struct config c = {LK_TEST_DIR "/golden/tiny-qwen2.gguf", "cpu", "scalar", threads};
        cr_assert_eq(each_fault(&c, fault_thread, 0, 1), (size_t)threads - 1);
    }
    /* A thread for each part but the first: of three, and of two after the move. */
    struct config c = {LK_TEST_DIR "/golden/tiny-gemma3.gguf", "scalar:0,cpu:1,scalar:2-6",
                       "cpu:0,scalar:1-6", 1};
    cr_assert_eq(each_fault(&c, fault_thread, 0, 1), 2 + 1);
}
