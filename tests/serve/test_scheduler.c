/* SPDX-License-Identifier: Apache-2.0
 *
 * Scheduler: whoever is there and whatever becomes of them, each answer is that of its job alone,
 * byte for byte, and so are the rows that it was chosen from.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/engine.h"
#include "tests/serve/crowd.h"
#include "tests/util/models.h"
#include "tests/util/parts.h"
#include "tests/util/tiny.h"

static void run_crowd(const char *path, const char *backend, uint32_t cache, struct crowd_run *run,
                      lk_scheduler_info *info)
{
    struct crowd_place p, judge;
    crowd_open(&p, path, backend, CROWD_CTX, cache);
    crowd_open(&judge, path, "cpu", CROWD_CTX, 0);
    crowd_let_loose(&p, &judge, run, info);
    crowd_close(&judge);
    crowd_close(&p);
}

Test(serve, a_job_is_told_what_it_is_told_alone)
{
    lk_scheduler_info info;
    struct crowd_run run = {.options = lk_scheduler_options_default(),
                            .n_clients = 12,
                            .seed = 3,
                            .calm = true};
    run_crowd(test_model_path(0), "cpu", 64 * 64, &run, &info);
    cr_assert_eq(info.n_jobs, 12);
    cr_assert_eq(info.n_done, 12);
    cr_assert_eq(info.n_preempted, 0);
}

/* A model whose device is lost in mid-crowd: all that was there is evaluated again elsewhere. */
static lk_status lose(void *user, int part, int n, const struct lk_batch *batch, lk_error *err)
{
    (void)part;
    (void)batch;
    return n == *(const int *)user ? lk_fail(err, LK_E_DEVICE_LOST, "the device was lost") : LK_OK;
}

struct losses {
    struct crowd_place *p;
    int at, seen;
    size_t again; /* a step in which the next one is about to be lost */
    struct lk_lane *lane;
};

static void wrap_again(void *user, size_t step)
{
    struct losses *l = user;
    if (l->p->engine->home != l->lane) {
        l->seen++;
        l->lane = l->p->engine->home;
        l->again = step + 40;
    }
    if (step == l->again && l->seen < 3) {
        parts_wrap(l->lane, lose, &l->at);
    }
}

Test(serve, nobody_is_told_of_a_device_that_is_lost)
{
    static const int AT[] = {0, 3, 17, 60};
    for (size_t i = 0; i < LK_COUNT(AT); i++) {
        struct crowd_place p, judge;
        struct losses l = {.p = &p, .at = AT[i]};
        struct crowd_run run = {.options = lk_scheduler_options_default(),
                                .n_clients = 24,
                                .seed = 40 + (unsigned)i,
                                .each_step = wrap_again,
                                .user = &l};
        crowd_open(&p, test_model_path(i), "scalar", CROWD_CTX, 64 * (i % 2 ? 6 : 20));
        crowd_open(&judge, test_model_path(i), "cpu", CROWD_CTX, 0);
        l.lane = p.engine->home;
        crowd_let_loose(&p, &judge, &run, NULL);
        cr_assert_geq(l.seen, 2, "%d devices were lost", l.seen);
        crowd_close(&judge);
        crowd_close(&p);
    }
}

/* 64 clients in caches from the least that a context needs up. */
Test(serve, a_crowd_is_told_what_each_is_told_alone)
{
    static const uint32_t BLOCKS[] = {4, 5, 7, 12, 24};
    for (size_t i = 0; i < LK_COUNT(BLOCKS); i++) {
        for (unsigned seed = 0; seed < 2; seed++) {
            lk_scheduler_info info;
            struct crowd_run run = {.options = lk_scheduler_options_default(),
                                    .n_clients = CROWD_MOST,
                                    .seed = 10 * (unsigned)i + seed};
            run.options.n_running = seed ? 64 : 7;
            run.options.n_step_tokens = seed ? 0 : 50;
            run_crowd(test_model_path((i + seed) % test_n_models()), seed ? "cpu" : "scalar",
                      BLOCKS[i] * 64, &run, &info);
            cr_assert_eq(info.n_done, CROWD_MOST);
            cr_assert(info.reused_tokens > 0 && info.n_evicted > 0 && info.n_preempted > 0,
                      "%u blocks: %llu reused, %llu evicted, %llu preempted", BLOCKS[i],
                      (unsigned long long)info.reused_tokens, (unsigned long long)info.n_evicted,
                      (unsigned long long)info.n_preempted);
        }
    }
}
