/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: what becomes of one among others: who is next, how long it waits, how it is cancelled,
 * paused, refused and ended; what is told of it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/engine.h"
#include "serve/scheduler.h"
#include "tests/serve/crowd.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

static struct crowd_place p;
static lk_scheduler *s;
static int32_t ids[CROWD_CTX];

static void begin(const lk_scheduler_options *o, uint32_t n_blocks)
{
    lk_error err;
    crowd_open(&p, test_model_path(0), "cpu", CROWD_CTX, n_blocks * 64);
    cr_assert_eq(lk_scheduler_open(p.engine, p.tokenizer, o, &s, &err), LK_OK, "%s", err.message);
    tiny_tokens(ids, CROWD_CTX, lk_engine_n_vocab(p.engine), 1);
}

static void end(void)
{
    lk_scheduler_close(&s);
    struct lk_state_pool *pool = &p.engine->home->pool;
    cr_assert_eq(pool->n_free, pool->n_blocks, "blocks are missing");
    crowd_close(&p);
}

static lk_job *add_with(lk_job_options o, size_t n_prompt, size_t max_tokens)
{
    lk_error err;
    lk_job *job;
    lk_generation_options g = lk_generation_options_default();
    g.max_tokens = max_tokens;
    g.ignore_eog = true;
    o.prompt = ids;
    o.n_prompt = n_prompt;
    o.generation = &g;
    cr_assert_eq(lk_scheduler_add(s, &o, &job, &err), LK_OK, "%s", err.message);
    return job;
}

static lk_job *add(size_t n_prompt, size_t max_tokens, uint64_t key)
{
    lk_job_options o = lk_job_options_default();
    o.key = key;
    return add_with(o, n_prompt, max_tokens);
}

static void step(void)
{
    lk_error err;
    cr_assert_eq(lk_scheduler_step(s, &err), LK_OK, "%s", err.message);
}

/* How its answer ended in the last step, if it did; *n_tokens: those that it told. */
static lk_finish heard(lk_job *job, size_t *n_tokens)
{
    lk_finish finish = LK_FINISH_NONE;
    lk_job_event ev;
    while (lk_job_next(job, &ev)) {
        *n_tokens += ev.event.kind == LK_EVENT_TOKEN;
        finish = ev.event.kind == LK_EVENT_END ? ev.event.finish : finish;
    }
    return finish;
}

static lk_scheduler_info told(void)
{
    lk_scheduler_info info = {.size = sizeof info};
    lk_scheduler_tell(s, &info);
    return info;
}

Test(jobs, a_queue_that_is_full_refuses)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job_options jo = lk_job_options_default();
    lk_job *job[5], *more;
    lk_error err;
    o.n_running = 2;
    o.n_queue = 3;
    begin(&o, 8);
    jo.prompt = ids;
    jo.n_prompt = 5;
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(lk_scheduler_add(s, &jo, &job[i], &err), LK_OK, "%d: %s", i, err.message);
    }
    cr_assert_eq(lk_scheduler_add(s, &jo, &more, &err), LK_E_FULL);
    cr_assert(more == NULL && strstr(err.message, "3"), "%s", err.message);
    step();
    cr_assert_eq(told().n_waiting, 3);
    cr_assert_eq(lk_scheduler_add(s, &jo, &more, &err), LK_E_FULL, "two run, three wait");
    lk_job_close(&job[0]);
    cr_assert_eq(lk_scheduler_add(s, &jo, &job[0], &err), LK_OK, "%s", err.message);
    cr_assert_eq(told().n_refused, 2);
    for (int i = 0; i < 5; i++) {
        lk_job_close(&job[i]);
    }
    end();
}

Test(jobs, options_that_make_no_sense_are_refused)
{
    static const char *const EMPTY[] = {""};
    lk_scheduler_options so = lk_scheduler_options_default();
    lk_error err;
    lk_job *job;
    begin(&so, 4);
    lk_generation_options bad = lk_generation_options_default();
    lk_sampler_options cold = lk_sampler_options_default();
    cold.temperature = -1.0f;
    for (int i = 0; i < 8; i++) {
        lk_job_options o = lk_job_options_default();
        lk_status want = LK_E_INVALID;
        int32_t wrong[2] = {3, i == 1 ? -1 : (int32_t)lk_engine_n_vocab(p.engine)};
        o.prompt = i == 1 || i == 2 ? wrong : ids;
        o.n_prompt = i == 0 ? 0 : i == 3 ? CROWD_CTX + 1 : 2;
        o.n_answers = i == 4 ? 0 : 1;
        o.deadline = i == 5 ? -1.0 : 0.0;
        bad.stop = i == 6 ? EMPTY : NULL;
        bad.n_stop = i == 6;
        bad.sampler = i == 7 ? &cold : NULL;
        o.generation = &bad;
        want = i == 3 ? LK_E_FULL : want;
        cr_assert_eq(lk_scheduler_add(s, &o, &job, &err), want, "%d", i);
        cr_assert(job == NULL && err.message[0], "%d", i);
    }
    cr_assert(!lk_scheduler_has_work(s));
    lk_scheduler *none;
    so.n_running = 0;
    cr_assert_eq(lk_scheduler_open(p.engine, p.tokenizer, &so, &none, &err), LK_E_INVALID);
    so = lk_scheduler_options_default();
    so.step_ms = 0.0;
    cr_assert_eq(lk_scheduler_open(p.engine, p.tokenizer, &so, &none, &err), LK_E_INVALID);
    end();
}

/* A prompt that the context takes and the cache does not; an answer that outgrows the cache. */
Test(jobs, one_that_is_too_long_for_the_cache_ends)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job_options jo = lk_job_options_default();
    lk_job *job;
    lk_error err;
    size_t n = 0;
    lk_finish finish = LK_FINISH_NONE;
    begin(&o, 2);
    jo.prompt = ids;
    jo.n_prompt = 129;
    cr_assert_eq(lk_scheduler_add(s, &jo, &job, &err), LK_E_FULL);
    cr_assert(strstr(err.message, "3 blocks"), "%s", err.message);
    job = add(100, 200, 0);
    for (int i = 0; i < 200 && !finish; i++) {
        step();
        finish = heard(job, &n);
    }
    cr_assert_eq(finish, LK_FINISH_FULL);
    cr_assert_eq(n, 29, "%zu tokens: the last is chosen and has no room itself", n);
    lk_job_close(&job);
    end();
}

Test(jobs, cancelled_ones_end_in_one_step)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job *job[4];
    size_t n = 0;
    o.n_running = 2;
    begin(&o, 8);
    for (int i = 0; i < 4; i++) {
        job[i] = add(20, 50, 0);
    }
    step();
    lk_job_cancel(job[1]); /* runs */
    lk_job_cancel(job[3]); /* waits */
    lk_job_pause(job[3], true);
    cr_assert(lk_scheduler_has_work(s));
    step();
    cr_assert_eq(heard(job[1], &n), LK_FINISH_CANCELLED);
    cr_assert_eq(heard(job[3], &n), LK_FINISH_CANCELLED);
    cr_assert(lk_job_is_done(job[1]) && lk_job_is_done(job[3]));
    cr_assert_eq(lk_job_tell(job[3]).state, LK_JOB_DONE);
    cr_assert_neq(lk_job_tell(job[2]).state, LK_JOB_WAITS, "its place is taken in the same step");
    cr_assert_eq(told().n_cancelled, 2);
    for (int i = 0; i < 4; i++) {
        lk_job_close(&job[i]); /* two of them in mid-answer */
    }
    end();
}

Test(jobs, a_deadline_ends_those_that_write_and_those_that_wait)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job_options jo = lk_job_options_default();
    lk_job *job[2];
    size_t n = 0;
    o.n_running = 1;
    begin(&o, 8);
    jo.deadline = 0.03;
    job[0] = add_with(jo, 20, 200);
    job[1] = add_with(jo, 20, 200);
    lk_job_pause(job[1], true);
    lk_finish finish[2] = {0};
    double until = lk_now() + 5.0;
    while (!(finish[0] && finish[1]) && lk_now() < until) {
        step();
        for (int i = 0; i < 2; i++) {
            lk_finish now = heard(job[i], &n);
            finish[i] = now ? now : finish[i];
        }
        lk_job_pause(job[0], true); /* else it might be done before */
    }
    cr_assert_eq(finish[0], LK_FINISH_CANCELLED);
    cr_assert_eq(finish[1], LK_FINISH_CANCELLED);
    lk_job_close(&job[0]);
    lk_job_close(&job[1]);
    end();
}

/* One that is paused writes nothing, and what it holds goes to others where it is needed. */
Test(jobs, paused_ones_write_nothing_and_hold_nobody_up)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    size_t n[2] = {0}, before;
    o.n_running = 1;
    begin(&o, 4);
    lk_job *a = add(150, 40, 0), *b = add(180, 40, 0);
    while (n[0] < 10) {
        step();
        (void)heard(a, &n[0]);
    }
    lk_job_pause(a, true);
    before = n[0];
    for (int i = 0; i < 200 && !lk_job_is_done(b); i++) {
        step();
        (void)heard(a, &n[0]);
        (void)heard(b, &n[1]);
    }
    cr_assert(lk_job_is_done(b), "it waits for one that is paused");
    cr_assert_eq(n[1], 40);
    cr_assert_eq(n[0], before);
    cr_assert(!lk_scheduler_has_work(s));
    cr_assert_eq(told().n_paused, 1);
    lk_job_pause(a, false);
    cr_assert(lk_scheduler_has_work(s));
    for (int i = 0; i < 200 && !lk_job_is_done(a); i++) {
        step();
        (void)heard(a, &n[0]);
    }
    cr_assert_eq(n[0], 40);
    cr_assert_eq(lk_job_tell(a).n_preempted, 1);
    lk_job_close(&a);
    lk_job_close(&b);
    end();
}

/* One asks for twenty answers and then another for one: it is next, not last. */
Test(jobs, keys_have_equal_shares)
{
    enum { MANY = 20 };
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job *many[MANY], *one;
    size_t n = 0;
    int done = 0;
    o.n_running = 2;
    begin(&o, 16);
    for (int i = 0; i < MANY; i++) {
        many[i] = add(30, 20, 1);
    }
    step();
    one = add(30, 20, 2);
    while (!lk_job_is_done(one)) {
        step();
        (void)heard(one, &n);
    }
    for (int i = 0; i < MANY; i++) {
        done += lk_job_is_done(many[i]);
    }
    cr_assert(done >= 2 && done <= 4, "%d of the others are done", done);
    for (int i = 0; i < MANY; i++) {
        lk_job_close(&many[i]);
    }
    lk_job_close(&one);
    end();
}

/* Of two keys that always ask, each has half of the tokens, though one asks for more at a time. */
Test(jobs, keys_that_go_on_asking_get_the_same)
{
    enum { AT_ONCE = 6 };
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job *job[2][AT_ONCE];
    size_t written[2] = {0};
    o.n_running = 3;
    o.keep_prefixes = false;
    begin(&o, 32);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < AT_ONCE; i++) {
            job[k][i] = add(k ? 10 : 60, k ? 8 : 30, (uint64_t)k);
        }
    }
    for (int i = 0; i < 400; i++) {
        step();
        for (int k = 0; k < 2; k++) {
            for (int j = 0; j < AT_ONCE; j++) {
                if (lk_job_is_done(job[k][j])) {
                    lk_job_info info = lk_job_tell(job[k][j]);
                    written[k] += info.prompt + info.written;
                    lk_job_close(&job[k][j]);
                    job[k][j] = add(k ? 10 : 60, k ? 8 : 30, (uint64_t)k);
                }
            }
        }
    }
    double ratio = (double)written[0] / (double)written[1];
    cr_assert(ratio > 0.7 && ratio < 1.4, "%zu and %zu tokens", written[0], written[1]);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < AT_ONCE; i++) {
            lk_job_close(&job[k][i]);
        }
    }
    end();
}

Test(jobs, a_higher_priority_goes_first)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job_options jo = lk_job_options_default();
    lk_job *job[4];
    o.n_running = 1;
    begin(&o, 8);
    for (int i = 0; i < 4; i++) {
        jo.priority = i;
        jo.key = (uint64_t)(i % 2);
        job[i] = add_with(jo, 10, 5);
    }
    for (int left = 3; left >= 0; left--) {
        while (!lk_job_is_done(job[left])) {
            step();
        }
        for (int i = 0; i < left; i++) {
            cr_assert(!lk_job_is_done(job[i]), "%d is done before %d", i, left);
        }
    }
    for (int i = 0; i < 4; i++) {
        lk_job_close(&job[i]);
    }
    end();
}

/* A prompt that others have is evaluated once, whether they come after it or at the same time; the
 * answers of one job share it too. */
Test(jobs, what_prompts_have_in_common_is_evaluated_once)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job_options jo = lk_job_options_default();
    lk_job *job[4];
    begin(&o, 32);
    jo.n_answers = 3;
    for (int i = 0; i < 4; i++) {
        job[i] = i == 3 ? add_with(jo, 200, 5) : add(200, 5, 0);
        if (i == 2) {
            for (int k = 0; k < 3; k++) {
                while (!lk_job_is_done(job[k])) {
                    step();
                }
            }
        }
    }
    while (!lk_job_is_done(job[3])) {
        step();
    }
    for (int i = 0; i < 4; i++) {
        lk_job_info info = lk_job_tell(job[i]);
        cr_assert_eq(info.prompt, 200);
        cr_assert_eq(info.reused, i ? 192 : 0, "%d: %zu", i, info.reused);
        cr_assert_eq(info.evaluated, i ? 8 : 200, "%d: %zu", i, info.evaluated);
        cr_assert_eq(info.written, i == 3 ? 15 : 5);
        cr_assert_eq(info.state, LK_JOB_DONE);
    }
    lk_scheduler_info info = told();
    cr_assert_eq(info.prompt_tokens, 200 + 3 * 8);
    cr_assert_eq(info.reused_tokens, 3 * 192);
    cr_assert_eq(info.written_tokens, 30);
    cr_assert_eq(info.n_blocks_used, 0);
    cr_assert_eq(info.n_blocks_kept, 3);
    for (int i = 0; i < 4; i++) {
        lk_job_close(&job[i]);
    }
    end();
}

/* No step is done in the microsecond that it should take. */
Test(jobs, prompts_get_on_however_long_a_step_takes)
{
    static const uint32_t N[] = {6, 40}, READ[] = {8, 20};
    for (int i = 0; i < 2; i++) {
        lk_scheduler_options o = lk_scheduler_options_default();
        lk_job *job[40], *early, *late;
        size_t n = 0;
        o.step_ms = 1e-3;
        o.keep_prefixes = false;
        begin(&o, 4 * (N[i] + 2));
        for (uint32_t k = 0; k < N[i]; k++) {
            job[k] = add(1, 200, k);
        }
        early = add(250, 1, 98); /* by which it learns that */
        while (heard(early, &n) == LK_FINISH_NONE) {
            step();
        }
        late = add(250, 1, 99);
        for (int k = 0; k < 3; k++) {
            step();
            cr_assert_eq(told().last_step_tokens, N[i] + READ[i], "%u", told().last_step_tokens);
        }
        for (uint32_t k = 0; k < N[i]; k++) {
            lk_job_close(&job[k]);
        }
        step(); /* to the next border of a block */
        step();
        cr_assert_eq(told().last_step_tokens, 64, "%u", told().last_step_tokens);
        while (lk_scheduler_has_work(s)) {
            step();
        }
        cr_assert_eq(heard(late, &n), LK_FINISH_LENGTH);
        lk_job_close(&early);
        lk_job_close(&late);
        end();
    }
}

/* A step for which 16 prompts wait may take twice as long as one for which 15 do. */
Test(jobs, a_step_takes_longer_where_many_prompts_wait)
{
    for (int n = 15; n <= 16; n++) {
        lk_scheduler_options o = lk_scheduler_options_default();
        lk_job *job[17];
        o.step_ms = 1e5;
        o.keep_prefixes = false;
        begin(&o, 96);
        job[0] = add(1, 200, 1);
        step();
        for (int i = 1; i <= n; i++) { /* a share is 12 tokens */
            job[i] = add(133, 1, (uint64_t)i + 1);
        }
        s->pace = 40.0;
        step();
        uint32_t reads = n < 16 ? 40 : 80;
        cr_assert_eq(told().last_step_tokens, 1 + reads, "%d: %u", n, told().last_step_tokens);
        for (int i = 0; i <= n; i++) {
            lk_job_close(&job[i]);
        }
        end();
    }
}

/* A prompt alone is read at once; where others write, in twelfths of what it began with. */
Test(jobs, a_prompt_is_spread_where_others_write)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_job *job[2], *alone;
    o.step_ms = 1e6; /* there is time for all */
    o.keep_prefixes = false;
    begin(&o, 12);
    alone = add(121, 1, 1);
    step();
    cr_assert_eq(told().last_step_tokens, 121);
    lk_job_close(&alone);
    job[0] = add(1, 200, 1);
    step();
    job[1] = add(241, 1, 2);
    for (int k = 0; k < 3; k++) {
        step();
        cr_assert_eq(told().last_step_tokens, 1 + 21, "%u", told().last_step_tokens);
    }
    for (int k = 3; k < 14; k++) {
        step();
    }
    cr_assert_eq(told().last_step_tokens, 1, "%u", told().last_step_tokens);
    lk_job_close(&job[0]);
    lk_job_close(&job[1]);
    end();
}
