/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed: weights in files of the cache (lk_engine_options.mmap_pack) give the bits of weights in
 * memory, when the files are made and when they are found; a file that is broken, cut, of another
 * model or of another layout is never taken; where none can be made memory serves.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/cpu_exec.h"
#include "cpu/pack_file.h"
#include "engine/engine.h"
#include "gguf/model_file.h"
#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { N = 40, CTX = 64, MAX_PATH = 512 };

/* A folder with a model and a cache, and the rows of the model without one. */
struct bench {
    char dir[32], model[64], cache[64];
    int32_t ids[N];
    float *rows;
    size_t n_vocab;
    int warnings;
    char warning[512]; /* the last */
};

static void log_line(void *user, lk_log_level level, const char *line)
{
    struct bench *b = user;
    if (level == LK_LOG_WARN) {
        b->warnings++;
        snprintf(b->warning, sizeof b->warning, "%s", line);
    }
}

static void write_params(const struct bench *b, const struct model_params *p)
{
    struct gguf_build g = {0};
    model_build(&g, p);
    gb_save(&g, b->model);
    gb_free(&g);
}

static void write_model(const struct bench *b, const char *arch, enum lk_type type, unsigned seed)
{
    struct model_params p = model_params_default(arch, type, seed);
    p.n_ctx = CTX;
    write_params(b, &p);
}

static lk_engine_options options_of(struct bench *b, bool mmap_pack)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    o.n_ctx = CTX;
    o.n_batch = 16;
    o.threads = 2;
    o.pin = true;
    o.log = log_line;
    o.user = b;
    o.cache_dir = b->cache;
    o.mmap_pack = mmap_pack;
    return o;
}

static void take_rows(struct bench *b)
{
    lk_model *m;
    lk_engine_options o = options_of(b, false);
    lk_engine *e = tiny_engine_with(b->model, &o, &m);
    b->n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(b->ids, N, b->n_vocab, 7);
    free(b->rows);
    b->rows = tiny_rows(e, b->ids, N);
    lk_engine_close(&e);
    lk_model_close(&m);
}

static void bench_open(struct bench *b, const char *arch, enum lk_type type)
{
    *b = (struct bench){.dir = "/tmp/lk-test-XXXXXX"};
    cr_assert(mkdtemp(b->dir));
    snprintf(b->model, sizeof b->model, "%s/model.gguf", b->dir);
    snprintf(b->cache, sizeof b->cache, "%s/cache", b->dir);
    write_model(b, arch, type, 3);
    take_rows(b);
}

static void bench_close(struct bench *b)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", b->dir);
    cr_assert_eq(system(command), 0);
    free(b->rows);
}

/* Weights of the engine's home that are packed: in memory, and mapped. */
struct counts {
    int in_memory, mapped;
};

static struct counts count(const lk_engine *e)
{
    struct counts c = {0};
    for (int p = 0; p < e->home->n_parts; p++) {
        const struct lk_part *part = &e->home->part[p];
        const struct lk_exec *x = part->exec;
        for (int i = 0; part->impl == &lk_backend_cpu && i < x->o.plan->n_weights; i++) {
            c.mapped += x->packed_map[i].data != NULL;
            c.in_memory += x->packed[i].data && !x->packed_map[i].data;
        }
    }
    return c;
}

/* Runs the model with packed weights in files, and compares. */
static struct counts run_with(struct bench *b, const lk_engine_options *o, const char *what)
{
    lk_model *m;
    lk_engine *e = tiny_engine_with(b->model, o, &m);
    struct counts c = count(e);
    float *rows = tiny_rows(e, b->ids, N);
    tiny_same(rows, b->rows, N * b->n_vocab, what);
    free(rows);
    lk_engine_close(&e);
    lk_model_close(&m);
    return c;
}

static struct counts run(struct bench *b, const char *what)
{
    lk_engine_options o = options_of(b, true);
    return run_with(b, &o, what);
}

/* Calls fn for each file below cache/packed; returns how many there are. */
static int each_file(const struct bench *b, void (*fn)(void *user, const char *path), void *user)
{
    char top[MAX_PATH], folder[MAX_PATH + 256], path[MAX_PATH + 512];
    int n = 0;
    snprintf(top, sizeof top, "%s/packed", b->cache);
    DIR *outer = opendir(top);
    for (struct dirent *d; outer && (d = readdir(outer));) {
        if (d->d_name[0] == '.') {
            continue;
        }
        snprintf(folder, sizeof folder, "%s/%s", top, d->d_name);
        DIR *inner = opendir(folder);
        cr_assert_not_null(inner);
        for (struct dirent *f; (f = readdir(inner));) {
            if (f->d_name[0] != '.') {
                snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
                n++;
                if (fn) {
                    fn(user, path);
                }
            }
        }
        closedir(inner);
    }
    if (outer) {
        closedir(outer);
    }
    return n;
}

/* Something that a file that is made anew does not keep. */
static void add_inode(void *user, const char *path)
{
    struct stat st;
    uint64_t *sum = user;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    *sum += (uint64_t)st.st_ino * 31 + (uint64_t)st.st_ctim.tv_nsec +
            (uint64_t)st.st_ctim.tv_sec * 1000000007;
}

static uint64_t state_of(const struct bench *b)
{
    uint64_t sum = 0;
    each_file(b, add_inode, &sum);
    return sum;
}

/* ---- bits ---- */

/* Made once, then only read: by the same engine, by one of two parts, by one of another level. */
static void expect_same(const char *arch, enum lk_type type)
{
    struct bench b;
    bench_open(&b, arch, type);
    struct counts first = run(&b, "first opening");
    cr_assert(first.mapped > 0 && first.in_memory == 0, "%s: %d mapped, %d in memory", arch,
              first.mapped, first.in_memory);
    cr_assert_eq(each_file(&b, NULL, NULL), first.mapped);
    uint64_t state = state_of(&b);
    cr_assert_eq(run(&b, "second opening").mapped, first.mapped);

    lk_engine_options o = options_of(&b, true);
    o.backend = "auto";
    o.placement = "cpu:0,scalar:1";
    struct counts part = run_with(&b, &o, "a placement");
    cr_assert(part.mapped > 0 && part.mapped < first.mapped && part.in_memory == 0);
    cr_assert_eq(state_of(&b), state, "%s: files were made again", arch);

    o = options_of(&b, true);
    o.cpu_level = "generic";
    cr_assert_eq(run_with(&b, &o, "rows as in the file").mapped, first.mapped);
    cr_assert_eq(run(&b, "after another layout").mapped, first.mapped);
    cr_assert_eq(b.warnings, 0, "%s", b.warning);
    bench_close(&b);
}

Test(packed, has_the_bits_of_weights_in_memory, .timeout = 120)
{
    expect_same("qwen3moe", LK_TYPE_Q4_K);
    if (!test_is_sanitized_sample()) {
        expect_same("phi3", LK_TYPE_Q6_K);    /* ranges of rows of a tensor */
        expect_same("qwen3", LK_TYPE_IQ2_XS); /* rows as in the file */
    }
    if (test_is_full()) {
        expect_same("llama", LK_TYPE_Q4_0);
        expect_same("gpt-oss", LK_TYPE_MXFP4);
    }
}

/* Weights that are packed in several pieces, with rows that the last group of a matrix lacks. */
Test(packed, goes_to_files_piece_by_piece, .timeout = 60)
{
    enum { ROWS = 8200 };
    static const char *const ARCHS[] = {"llama", "qwen3moe"};
    for (size_t i = test_is_sanitized_sample(); i < LK_COUNT(ARCHS); i++) {
        struct bench b;
        struct model_params p = model_params_default(ARCHS[i], LK_TYPE_F32, 3);
        bench_open(&b, ARCHS[i], LK_TYPE_F32);
        p.n_ctx = CTX;
        p.n_ff = p.n_expert ? p.n_ff : ROWS;
        p.n_ff_exp = p.n_expert ? ROWS / p.n_expert / 16 * 16 + 8 : 0;
        write_params(&b, &p);
        take_rows(&b);
        cr_assert_eq(run(&b, "first opening").in_memory, 0);
        uint64_t state = state_of(&b);
        cr_assert_eq(run(&b, "second opening").in_memory, 0);
        cr_assert_eq(state_of(&b), state, "made again");
        cr_assert_eq(b.warnings, 0, "%s", b.warning);
        bench_close(&b);
    }
}

/* The embedding of a model without output.weight is read out of the packed form. */
Test(packed, serves_embeddings_too, .timeout = 60)
{
    struct bench b;
    bench_open(&b, "gemma2", LK_TYPE_Q8_0);
    run(&b, "first opening");
    run(&b, "second opening");
    bench_close(&b);
}

/* ---- what is not taken ---- */

struct file {
    char path[MAX_PATH + 512];
    size_t n;
    uint8_t *data;
};

static void take_file(void *user, const char *path)
{
    struct file *f = user;
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    if (!f->data || (size_t)st.st_size < f->n) { /* the smallest */
        free(f->data);
        f->n = (size_t)st.st_size;
        f->data = malloc(f->n);
        snprintf(f->path, sizeof f->path, "%s", path);
        FILE *in = fopen(path, "rb");
        cr_assert(f->data && in && fread(f->data, 1, f->n, in) == f->n);
        fclose(in);
    }
}

static void put_file(const struct file *f, const uint8_t *data, size_t n)
{
    FILE *out = fopen(f->path, "wb");
    cr_assert(out && fwrite(data, 1, n, out) == n && fclose(out) == 0);
}

/* The bad file is in place: the bits are right, and the good one is there again. */
static void expect_anew(struct bench *b, const struct file *good, const char *what)
{
    struct counts c = run(b, what);
    cr_assert_eq(c.in_memory, 0, "%s", what);
    FILE *in = fopen(good->path, "rb");
    uint8_t *data = malloc(good->n + 1);
    cr_assert(in && data && fread(data, 1, good->n + 1, in) == good->n, "%s", what);
    cr_assert_arr_eq(data, good->data, good->n, "%s", what);
    fclose(in);
    free(data);
}

Test(packed, a_broken_file_is_made_anew, .timeout = 120)
{
    struct bench b;
    struct file good = {.n = 0};
    char what[64];
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    run(&b, "first opening");
    each_file(&b, take_file, &good);
    cr_assert_gt(good.n, LK_PACK_FILE_HEAD + 1024);
    uint8_t *bad = malloc(good.n + 64);
    size_t step = test_is_sanitized_sample() ? 64 : 4;
    for (size_t at = 0; at < LK_PACK_FILE_HEAD; at += at < 256 ? step : 1279) {
        memcpy(bad, good.data, good.n);
        bad[at] ^= 1;
        put_file(&good, bad, good.n);
        snprintf(what, sizeof what, "byte %zu of the header", at);
        expect_anew(&b, &good, what);
    }
    const size_t cuts[] = {0,          1,         100, LK_PACK_FILE_HEAD - 1, LK_PACK_FILE_HEAD,
                           good.n / 2, good.n - 1};
    for (size_t i = 0; i < LK_COUNT(cuts); i++) {
        put_file(&good, good.data, cuts[i]);
        snprintf(what, sizeof what, "cut to %zu bytes", cuts[i]);
        expect_anew(&b, &good, what);
    }
    memcpy(bad, good.data, good.n);
    put_file(&good, bad, good.n + 64);
    expect_anew(&b, &good, "too long");
    memset(bad + LK_PACK_FILE_HEAD, 0, good.n - LK_PACK_FILE_HEAD); /* never reached the disk */
    put_file(&good, bad, good.n);
    expect_anew(&b, &good, "all zeros");
    memcpy(bad, good.data, good.n);
    bad[good.n - 1] ^= 1; /* of the scales of the last group */
    bad[good.n - 32] ^= 1;
    put_file(&good, bad, good.n);
    expect_anew(&b, &good, "another last group");
    cr_assert_eq(b.warnings, 0, "%s", b.warning);
    free(bad);
    free(good.data);
    bench_close(&b);
}

Test(packed, what_is_no_file_is_left_alone, .timeout = 60)
{
    struct bench b;
    struct file good = {.n = 0};
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    run(&b, "first opening");
    each_file(&b, take_file, &good);
    cr_assert(unlink(good.path) == 0 && mkdir(good.path, 0700) == 0);
    struct counts c = run(&b, "a folder");
    cr_assert(c.in_memory > 0 && b.warnings == 1);
    cr_assert(strstr(b.warning, "found a folder") && strstr(b.warning, good.path), "%s", b.warning);
    free(good.data);
    bench_close(&b);
}

/* Another model under the same name, by a new file and by writing into the old one, with the old
 * size and, as far as programs can, the old times. */
Test(packed, another_model_gets_its_own, .timeout = 60)
{
    struct bench b;
    struct stat st;
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    int files = (int)run(&b, "first opening").mapped;
    for (int k = 0; k < 2; k++) {
        char other[80];
        float *old = b.rows;
        struct bench to = b;
        b.rows = NULL;
        cr_assert_eq(stat(b.model, &st), 0);
        struct timespec times[2] = {st.st_atim, st.st_mtim};
        off_t size = st.st_size;
        snprintf(other, sizeof other, "%s.new", b.model);
        if (k == 0) {
            snprintf(to.model, sizeof to.model, "%s", other);
        }
        write_model(&to, "llama", LK_TYPE_Q4_0, 4 + (unsigned)k);
        cr_assert(k == 1 || rename(other, b.model) == 0);
        cr_assert_eq(utimensat(AT_FDCWD, b.model, times, 0), 0);
        cr_assert(stat(b.model, &st) == 0 && st.st_size == size);
        take_rows(&b);
        cr_assert_neq(memcmp(old, b.rows, N * b.n_vocab * sizeof *old), 0);
        free(old);
        cr_assert_eq(run(&b, k ? "written over" : "another file").mapped, files);
        cr_assert_eq(run(&b, "once more").mapped, files);
        cr_assert_eq(each_file(&b, NULL, NULL), files, "old files are left");
    }
    bench_close(&b);
}

/* One byte of the model becomes another, in rows that are not among those that are compared. */
Test(packed, a_byte_that_changed_is_seen, .timeout = 60)
{
    enum { CHANGED = LK_PACK_ROWS };
    struct bench b;
    lk_model *m;
    struct stat st, now;
    uint64_t part, at;
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    int files = run(&b, "first opening").mapped;
    lk_engine_options o = options_of(&b, false);
    lk_engine *e = tiny_engine_with(b.model, &o, &m);
    const struct lk_weight *w = NULL;
    for (int i = 0; i < e->plan->n_weights && !w; i++) {
        bool is = strcmp(e->plan->weights[i].name, "blk.0.ffn_up.weight") == 0;
        w = is ? &e->plan->weights[i] : NULL;
    }
    cr_assert(w && w->rows >= 9 * LK_PACK_ROWS && lk_model_place(m, w->data, &part, &at));
    at += CHANGED * lk_type_row_bytes(w->type, (size_t)w->cols) + 5; /* of elements */
    lk_engine_close(&e);
    lk_model_close(&m);

    uint8_t byte;
    int fd = open(b.model, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0 && pread(fd, &byte, 1, (off_t)at) == 1);
    byte ^= 0x77;
    cr_assert(pwrite(fd, &byte, 1, (off_t)at) == 1 && close(fd) == 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, b.model, times, 0), 0);
    cr_assert(stat(b.model, &now) == 0 && now.st_size == st.st_size && now.st_ino == st.st_ino);
    float *old = b.rows;
    b.rows = NULL;
    take_rows(&b);
    cr_assert_neq(memcmp(old, b.rows, N * b.n_vocab * sizeof *old), 0, "no row reads it");
    free(old);
    cr_assert_eq(run(&b, "a byte is another").mapped, files);
    bench_close(&b);
}

/* A change that comes within a step of a file's times would not show: such a file is waited for. */
Test(packed, a_file_that_was_just_written_is_waited_for, .timeout = 60)
{
    struct bench b;
    struct stat st;
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    cr_assert_gt(run(&b, "first opening").mapped, 0);
    cr_assert_eq(stat(b.model, &st), 0);
    int64_t changed = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    cr_assert_gt(lk_date_ns() - changed, 2000000000);
    bench_close(&b);
}

/* A model that changes while an engine has it open is bound to no files. */
Test(packed, a_model_that_changed_makes_none, .timeout = 60)
{
    struct bench b;
    lk_model *m;
    lk_engine *e = NULL;
    lk_error err;
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    lk_engine_options o = options_of(&b, true);
    for (int there = 0; there < 2; there++) { /* files of before */
        int files = there ? run(&b, "before").mapped : 0;
        cr_assert_eq(lk_model_open(b.model, &m, &err), LK_OK);
        cr_assert_eq(chmod(b.model, there ? 0600 : 0640), 0); /* the content stays: who knows */
        cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_OK, "%s", err.message);
        cr_assert_eq(count(e).mapped, 0);
        cr_assert_eq(each_file(&b, NULL, NULL), files);
        cr_assert_eq(b.warnings, 1 + there);
        cr_assert(strstr(b.warning, "kept in memory"), "%s", b.warning);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    bench_close(&b);
}

/* ---- where no files can be made ---- */

static void expect_memory(struct bench *b, const char *says)
{
    struct counts c = run(b, says);
    cr_assert(c.mapped == 0 && c.in_memory > 0, "%d mapped", c.mapped);
    cr_assert_eq(b->warnings, 1, "%d warnings", b->warnings);
    cr_assert(strstr(b->warning, "packed weights are kept in memory") && strstr(b->warning, says),
              "%s", b->warning);
    cr_assert_eq(each_file(b, NULL, NULL), 0);
    b->warnings = 0;
}

Test(packed, memory_serves_where_files_cannot_be_made, .timeout = 60)
{
    struct bench b;
    struct rlimit old, small = {0};
    bench_open(&b, "qwen3moe", LK_TYPE_Q4_K);
    char *cache = b.cache + strlen(b.cache);
    snprintf(cache, sizeof b.cache - strlen(b.cache), "/below");
    char top[64];
    snprintf(top, sizeof top, "%s/cache", b.dir);
    FILE *f = fopen(top, "w"); /* no folder can be made below it, whoever we are */
    cr_assert(f && fclose(f) == 0);
    expect_memory(&b, "Not a directory");
    cr_assert_eq(unlink(top), 0);
    *cache = 0;

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){LK_PACK_FILE_HEAD + 512, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_memory(&b, "File too large");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_gt(run(&b, "with room again").mapped, 0);
    bench_close(&b);
}

static void remove_file(void *user, const char *path)
{
    (void)user;
    cr_assert_eq(unlink(path), 0);
}

Test(packed, files_may_go_while_they_are_used, .timeout = 60)
{
    struct bench b;
    lk_model *m;
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    lk_engine_options o = options_of(&b, true);
    lk_engine *e = tiny_engine_with(b.model, &o, &m);
    cr_assert_gt(each_file(&b, remove_file, NULL), 0);
    float *rows = tiny_rows(e, b.ids, N);
    tiny_same(rows, b.rows, N * b.n_vocab, "files that are gone");
    free(rows);
    lk_engine_close(&e);
    lk_model_close(&m);
    cr_assert_eq(each_file(&b, NULL, NULL), 0);
    bench_close(&b);
}

/* ---- who else is there ---- */

Test(packed, processes_may_make_them_at_once, .timeout = 60)
{
    enum { PROCESSES = 4 };
    struct bench b;
    pid_t child[PROCESSES];
    int start[2], ready;
    bench_open(&b, "qwen3moe", LK_TYPE_Q4_K);
    cr_assert_eq(pipe(start), 0);
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        cr_assert_geq(child[i], 0);
        if (child[i] == 0) {
            close(start[1]);
            (void)!read(start[0], &ready, sizeof ready); /* until the parent has closed it */
            bool good = true;
            for (int k = 0; k < 3; k++) {
                struct counts c = run(&b, "one of several");
                good &= c.mapped > 0 && c.in_memory == 0;
            }
            _exit(good && b.warnings == 0 ? 0 : 1);
        }
    }
    close(start[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        cr_assert_eq(waitpid(child[i], &status, 0), child[i]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %d: %d", i, status);
    }
    close(start[0]);
    int files = each_file(&b, NULL, NULL);
    cr_assert_eq(run(&b, "afterwards").mapped, files);
    bench_close(&b);
}

Test(packed, options_are_checked_and_may_be_older, .timeout = 60)
{
    struct bench b;
    lk_model *m;
    lk_engine *e = NULL;
    lk_error err;
    bench_open(&b, "llama", LK_TYPE_Q4_0);
    lk_engine_options o = options_of(&b, true);
    o.size = offsetof(lk_engine_options, mmap_pack);
    run_with(&b, &o, "an older program");
    cr_assert_eq(each_file(&b, NULL, NULL), 0, "it can't have asked for them");
    o = options_of(&b, true);
    o.cache_dir = NULL;
    cr_assert_eq(lk_model_open(b.model, &m, &err), LK_OK);
    cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "mmap_pack") && strstr(err.message, "cache_dir"), "%s",
              err.message);
    lk_model_close(&m);
    bench_close(&b);
}
