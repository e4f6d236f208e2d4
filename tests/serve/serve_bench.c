/* SPDX-License-Identifier: Apache-2.0
 *
 * serve_bench MODEL [PROMPT WRITE TEMPERATURE]: how fast a scheduler is with 1, 4, 16 and 64 jobs
 * at once, of random prompts of PROMPT tokens (128) and answers of WRITE (32): tokens a second of
 * all, the median step and the longest, and what of a step is spent neither evaluating nor
 * choosing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "lockstep_serve.h"
#include "tests/util/rng.h"

enum { MOST_STEPS = 100000 };

static void check(lk_status status, const lk_error *err)
{
    if (status) {
        fprintf(stderr, "serve_bench: %s\n", err->message);
        exit(1);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench {
    lk_engine *engine;
    lk_tokenizer *tokenizer;
    size_t n_prompt, n_write;
    float temperature;
};

static lk_job *add(const struct bench *b, lk_scheduler *s, struct rng *rng)
{
    lk_error err;
    lk_job *job;
    lk_job_options o = lk_job_options_default();
    lk_generation_options g = lk_generation_options_default();
    lk_sampler_options so = lk_sampler_options_default();
    int32_t *ids = malloc(b->n_prompt * sizeof *ids);
    for (size_t i = 0; i < b->n_prompt; i++) {
        ids[i] = rng_below(rng, (int)lk_engine_n_vocab(b->engine));
    }
    so.temperature = b->temperature;
    so.top_p = 0.95f;
    g.sampler = &so;
    g.max_tokens = b->n_write;
    g.ignore_eog = true;
    o.prompt = ids;
    o.n_prompt = b->n_prompt;
    o.generation = &g;
    check(lk_scheduler_add(s, &o, &job, &err), &err);
    free(ids);
    return job;
}

static void measure(const struct bench *b, size_t n_jobs)
{
    static double step[MOST_STEPS];
    lk_error err;
    lk_scheduler *s;
    struct rng rng = {n_jobs};
    lk_job **job = calloc(n_jobs, sizeof *job);
    lk_scheduler_info info = {.size = sizeof info};
    size_t n = 0;
    double beside = 0.0, opened = lk_now(), from;
    check(lk_scheduler_open(b->engine, b->tokenizer, NULL, &s, &err), &err);
    for (size_t i = 0; i < n_jobs; i++) {
        job[i] = add(b, s, &rng);
    }
    opened = 1e6 * (lk_now() - opened) / (double)n_jobs;
    from = lk_now();
    while (lk_scheduler_has_work(s) && n < MOST_STEPS) {
        double begun = lk_now();
        check(lk_scheduler_step(s, &err), &err);
        step[n] = 1e3 * (lk_now() - begun);
        lk_scheduler_tell(s, &info);
        beside += step[n++] - info.last_step_ms;
    }
    double seconds = lk_now() - from;
    qsort(step, n, sizeof *step, compare);
    printf("%3zu jobs: %8.1f tokens/s read and written, %7.1f written/s, step %7.2f ms (longest "
           "%7.2f), beside %6.3f ms, job opened in %5.0f us\n",
           n_jobs, (double)(n_jobs * (b->n_prompt + b->n_write)) / seconds,
           (double)(n_jobs * b->n_write) / seconds, step[n / 2], step[n - 1], beside / (double)n,
           opened);
    for (size_t i = 0; i < n_jobs; i++) {
        lk_job_close(&job[i]);
    }
    lk_scheduler_close(&s);
    free(job);
}

int main(int argc, char **argv)
{
    static const size_t JOBS[] = {1, 4, 16, 64};
    lk_error err;
    lk_model *model;
    lk_engine_options o = lk_engine_options_default();
    struct bench b = {.n_prompt = 128, .n_write = 32};
    if (argc < 2) {
        fprintf(stderr, "usage: serve_bench MODEL [PROMPT WRITE TEMPERATURE]\n");
        return 2;
    }
    b.n_prompt = argc > 2 ? strtoul(argv[2], NULL, 10) : b.n_prompt;
    b.n_write = argc > 3 ? strtoul(argv[3], NULL, 10) : b.n_write;
    b.temperature = argc > 4 ? strtof(argv[4], NULL) : b.temperature;
    o.backend = "cpu";
    o.n_ctx = (uint32_t)(b.n_prompt + b.n_write);
    o.n_sessions = 64;
    check(lk_model_open(argv[1], &model, &err), &err);
    check(lk_engine_open(model, &o, &b.engine, &err), &err);
    check(lk_tokenizer_open(model, &b.tokenizer, &err), &err);
    for (size_t i = 0; i < sizeof JOBS / sizeof *JOBS; i++) {
        measure(&b, JOBS[i]);
    }
    lk_engine_close(&b.engine);
    lk_tokenizer_close(&b.tokenizer);
    lk_model_close(&model);
    return 0;
}
