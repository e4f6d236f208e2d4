/* SPDX-License-Identifier: Apache-2.0
 *
 * Measure: what `lockstep bench` asks of the CPU: how fast memory is read, how fast each matmul
 * kernel is, how long each op of a plan takes. Knows no model; changes no result.
 */
#include <string.h>

#include "cpu/cpu_exec.h"
#include "base/os.h"

/* ---- memory ---- */

struct reading {
    uint64_t *words;
    size_t n;      /* words, a multiple of UNROLL for each thread's share */
    uint64_t *sum; /* [threads]: so that no read is left out */
};

enum { UNROLL = 16 };

static size_t word_share(const struct reading *job, int thread, int n_threads)
{
    return job->n / UNROLL * (size_t)thread / (size_t)n_threads * UNROLL;
}

/* A thread first writes the pages that it will read: they lie near it. */
static void fill_words(void *arg, int thread, int n_threads)
{
    struct reading *job = arg;
    size_t last = word_share(job, thread + 1, n_threads);
    for (size_t i = word_share(job, thread, n_threads); i < last; i++) {
        job->words[i] = i;
    }
}

static void read_words(void *arg, int thread, int n_threads)
{
    struct reading *job = arg;
    uint64_t sum[UNROLL] = {0}, all = 0;
    size_t last = word_share(job, thread + 1, n_threads);
    for (size_t i = word_share(job, thread, n_threads); i < last; i += UNROLL) {
        for (int u = 0; u < UNROLL; u++) {
            sum[u] += job->words[i + (size_t)u];
        }
    }
    for (int u = 0; u < UNROLL; u++) {
        all += sum[u];
    }
    job->sum[thread] += all;
}

lk_status lk_cpu_read_rate(struct lk_backend *b, uint64_t n_bytes, int passes,
                           double *bytes_per_second, lk_error *err)
{
    size_t n = (size_t)(n_bytes / sizeof(uint64_t)) / UNROLL * UNROLL;
    if (n == 0 || n_bytes > SIZE_MAX / 2 || passes < 1) {
        return lk_fail(err, LK_E_INVALID,
                       "reading speed: %llu bytes, %d passes, expected at least %zu and 1",
                       (unsigned long long)n_bytes, passes, UNROLL * sizeof(uint64_t));
    }
    struct reading job = {.words = lk_pages_alloc(n * sizeof(uint64_t)), .n = n};
    job.sum = lk_alloc_array((size_t)b->threads, sizeof *job.sum);
    lk_status status = LK_OK;
    double best = 0.0;
    if (!job.words || !job.sum) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: %llu bytes to read",
                         (unsigned long long)n_bytes);
        passes = 0;
    } else {
        lk_pool_run(b->pool, b->threads, fill_words, &job);
    }
    for (int i = 0; i < passes; i++) {
        double from = lk_now();
        lk_pool_run(b->pool, b->threads, read_words, &job);
        double rate = (double)(n * sizeof(uint64_t)) / (lk_now() - from);
        best = rate > best ? rate : best;
    }
    if (job.words) {
        lk_pages_free(job.words, n * sizeof(uint64_t));
    }
    lk_free(job.sum);
    *bytes_per_second = best;
    return status;
}

/* ---- kernels ---- */

enum { ROWS = 2048, COLS = 4096 };
static const double LEAST_SECONDS = 0.05; /* of one measurement */

struct kernel_run {
    struct lk_backend *b;
    const struct lk_matmul_kernels *mm;
    struct lk_weight w;
    struct lk_packed packed;
    struct lk_acts acts;
    int n_tok;
    float *x, *y;
};

static void pack_all(void *arg, int thread, int n_threads)
{
    struct kernel_run *k = arg;
    lk_pack_groups(&k->packed, &k->w, k->packed.n_groups * thread / n_threads,
                   k->packed.n_groups * (thread + 1) / n_threads);
}

static void multiply(void *arg, int thread, int n_threads)
{
    struct kernel_run *k = arg;
    int64_t first = k->packed.n_groups * thread / n_threads;
    int64_t last = k->packed.n_groups * (thread + 1) / n_threads;
    if (first < last) {
        (void)k->mm->mul(&k->packed, &k->acts, k->n_tok, first, last, k->y, ROWS);
    }
}

/* Seconds of one multiplication: the best of as many as LEAST_SECONDS takes. */
static double time_multiply(struct kernel_run *k, int n_tok, int threads)
{
    double best = 0.0, spent = 0.0;
    k->n_tok = n_tok;
    while (spent < LEAST_SECONDS) {
        double from = lk_now();
        lk_pool_run(k->b->pool, threads, multiply, k);
        double seconds = lk_now() - from;
        best = best == 0.0 || seconds < best ? seconds : best;
        spent += seconds;
    }
    return best;
}

static lk_status time_kernel(struct kernel_run *k, int n_tokens, lk_kernel_fn each, void *user,
                             lk_error *err)
{
    const struct lk_type_info *type = lk_type_info(k->w.type);
    lk_packed_init(&k->packed, &k->w, k->mm->level);
    size_t n = (size_t)k->packed.n_groups * k->packed.group_bytes;
    k->packed.data = lk_pages_alloc(n);
    k->acts.kind = lk_type_info(k->w.type)->acts;
    k->acts.k = COLS;
    k->acts.row_bytes = lk_acts_row_bytes(k->acts.kind, COLS);
    k->acts.data = lk_alloc_array((size_t)n_tokens, k->acts.row_bytes);
    lk_status status = LK_OK;
    if (!k->packed.data || !k->acts.data) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: a %s weight to multiply", type->name);
    } else {
        lk_pool_run(k->b->pool, k->b->threads, pack_all, k);
        k->mm->prepare(&k->acts, k->x, 0, n_tokens);
        lk_kernel_time t = {.level = lk_cpu_level_name(k->mm->level),
                            .type = type->name,
                            .rows = ROWS,
                            .cols = COLS,
                            .n_tokens = n_tokens,
                            .threads = k->b->threads,
                            .threads_batch = k->b->threads_batch};
        t.bytes_per_second = (double)k->w.n_bytes / time_multiply(k, 1, k->b->threads);
        t.ops_per_second =
            2.0 * ROWS * COLS * (double)n_tokens / time_multiply(k, n_tokens, k->b->threads_batch);
        if (!each(user, &t)) {
            status = lk_fail(err, LK_E_CANCELLED, "cancelled while timing kernels");
        }
    }
    if (k->packed.data) {
        lk_pages_free(k->packed.data, n);
    }
    lk_free(k->acts.data);
    k->acts.data = NULL;
    return status;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Bytes that are finite, positive and in range read as any type, scales of blocks included. */
static void fill_weight(uint8_t *data, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        data[i] = (uint8_t)(0x30 | (next_random(&state) & 7));
    }
}

lk_status lk_cpu_time_kernels(struct lk_backend *b, bool all_levels, const char *type, int n_tokens,
                              lk_kernel_fn each, void *user, lk_error *err)
{
    size_t n_types, tokens = (size_t)n_tokens, most = (size_t)ROWS * COLS * sizeof(float);
    const struct lk_type_info *types = lk_types(&n_types);
    uint8_t *data = lk_alloc(most);
    struct kernel_run k = {.b = b,
                           .x = lk_alloc_array(tokens, COLS * sizeof(float)),
                           .y = lk_alloc_array(tokens, ROWS * sizeof(float))};
    lk_status status = LK_OK;
    if (!data || !k.x || !k.y) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory timing kernels with %d tokens", n_tokens);
    } else {
        uint64_t state = 2;
        fill_weight(data, most);
        for (size_t i = 0; i < tokens * COLS; i++) {
            k.x[i] = (float)(next_random(&state) >> 40) / (float)(1 << 23) - 1.0f;
        }
    }
    for (int level = 0; level < LK_CPU_LEVELS && !status; level++) {
        if (all_levels ? lk_cpu_has((enum lk_cpu_level)level, NULL) != LK_CPU_HAS
                       : level != (int)b->level) {
            continue;
        }
        for (size_t i = 0; i < n_types && !status; i++) {
            if (type && strcmp(type, types[i].name) != 0) {
                continue;
            }
            k.mm = lk_matmul_kernels((enum lk_cpu_level)level);
            if (all_levels && k.mm->level != (enum lk_cpu_level)level) {
                continue; /* this level has no table of its own */
            }
            k.w = (struct lk_weight){.name = "made up",
                                     .type = types[i].type,
                                     .rows = ROWS,
                                     .cols = COLS,
                                     .data = data,
                                     .n_bytes = ROWS * lk_type_row_bytes(types[i].type, COLS)};
            status = time_kernel(&k, n_tokens, each, user, err);
        }
    }
    lk_free(data);
    lk_free(k.x);
    lk_free(k.y);
    return status;
}

/* ---- ops ---- */

lk_status lk_cpu_profile(struct lk_exec *e, bool on, lk_error *err)
{
    lk_free(e->times);
    e->times = NULL;
    if (on) {
        size_t threads = (size_t)lk_pool_size(e->backend->pool);
        e->times = lk_alloc_array(threads * (size_t)e->o.plan->n_ops, sizeof *e->times);
        if (!e->times) {
            return lk_fail(err, LK_E_NOMEM, "out of memory: times of %d ops", e->o.plan->n_ops);
        }
    }
    return LK_OK;
}

void lk_cpu_op_seconds(const struct lk_exec *e, int op, struct lk_op_seconds *out)
{
    *out = (struct lk_op_seconds){0};
    for (int i = 0; e->times && i < lk_pool_size(e->backend->pool); i++) {
        const struct lk_op_seconds *t =
            &e->times[(size_t)i * (size_t)e->o.plan->n_ops + (size_t)op];
        out->run += t->run;
        out->prepare += t->prepare;
        out->wait += t->wait;
        out->calls = i == 0 ? t->calls : out->calls;
    }
}
