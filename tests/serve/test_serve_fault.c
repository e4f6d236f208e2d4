/* SPDX-License-Identifier: Apache-2.0
 *
 * Scheduler under faults: each allocation of a scheduler's life fails in turn, and each file
 * operation. Who is told of it fails alone, with the reason; all others are told what they are told
 * alone; nothing is held afterwards.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "tests/serve/crowd.h"
#include "tests/util/fault.h"
#include "tests/util/models.h"

enum { CLIENTS = 4, MOST_STEPS = 400 };

static struct crowd_place p;
static struct crowd_client client[CLIENTS];
static char folder[64];

static void hear(struct crowd_client *c, bool *failed)
{
    lk_job_event ev;
    while (lk_job_next(c->job, &ev)) {
        struct crowd_told *told = &c->told[ev.answer];
        if (ev.event.kind == LK_EVENT_TOKEN) {
            told->token[told->n_tokens++] = ev.event.token;
        } else if (ev.event.kind == LK_EVENT_TEXT) {
            memcpy(told->text + told->len, ev.event.text, ev.event.len);
            told->len += ev.event.len;
        } else {
            told->finish = ev.event.finish;
            failed[ev.answer] = ev.event.finish == LK_FINISH_FAILED;
            cr_assert(!failed[ev.answer] || ev.event.error->status == LK_E_NOMEM, "%s",
                      ev.event.error->message);
        }
    }
}

/* An answer that failed has told a beginning of what it would have. */
static void check(struct crowd_client *c, const bool *failed, size_t nth)
{
    for (uint32_t i = 0; i < c->ask.n_answers; i++) {
        struct crowd_told *told = &c->told[i], *alone = &c->alone[i];
        cr_assert(failed[i] || told->finish == alone->finish, "fault %zu: %s", nth,
                  lk_finish_name(told->finish));
        cr_assert(failed[i] ? told->n_tokens <= alone->n_tokens
                            : told->n_tokens == alone->n_tokens);
        cr_assert_eq(memcmp(told->token, alone->token, told->n_tokens * sizeof *told->token), 0);
        cr_assert(failed[i] ||
                      (told->len == alone->len && memcmp(told->text, alone->text, told->len) == 0),
                  "fault %zu: another text", nth);
        if (!failed[i]) {
            lk_job_hash(c->job, i, told->hash);
            cr_assert_arr_eq(told->hash, alone->hash, 32, "fault %zu: other rows", nth);
        }
    }
}

/* Tries again what has failed once. */
static void serve(size_t nth, bool io)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    lk_scheduler *s = NULL;
    lk_error err;
    bool failed[CLIENTS][CROWD_ANSWERS] = {{false}};
    o.n_step_tokens = 300;
    o.prefix_dir = io ? folder : NULL;
    (io ? fault_io : fault_alloc)(nth, false);
    for (int tries = 0; !s; tries++) {
        lk_status status = lk_scheduler_open(p.engine, p.tokenizer, &o, &s, &err);
        cr_assert(!status || tries == 0, "fault %zu: %s", nth, err.message);
    }
    for (int i = 0; i < CLIENTS; i++) {
        memset(client[i].told, 0, sizeof client[i].told);
        for (int tries = 0; !crowd_try(s, &p, &client[i], &err); tries++) {
            cr_assert(tries == 0 && err.status == LK_E_NOMEM, "fault %zu: %s", nth, err.message);
        }
    }
    int errors = 0;
    for (int step = 0; lk_scheduler_has_work(s); step++) {
        cr_assert_lt(step, MOST_STEPS);
        lk_status status = lk_scheduler_step(s, &err);
        errors += status != LK_OK;
        cr_assert(!status || status == LK_E_NOMEM, "fault %zu: %s", nth, err.message);
        cr_assert_leq(errors, 1);
        for (int i = 0; i < CLIENTS; i++) {
            hear(&client[i], failed[i]);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        check(&client[i], failed[i], nth);
        lk_job_close(&client[i].job);
    }
    lk_scheduler_close(&s);
    cr_assert_eq(p.engine->home->pool.n_free, p.engine->home->pool.n_blocks, "fault %zu", nth);
}

static void start(void)
{
    struct rng rng = {4};
    crowd_open(&p, test_model_path(0), "scalar", CROWD_CTX, 4 * 64);
    for (int i = 0; i < CLIENTS; i++) {
        crowd_make(&client[i].ask, &rng, lk_engine_n_vocab(p.engine), CROWD_CTX);
        client[i].ask.n_prompt = i < 3 ? 70 + 20 * (size_t)i : 230;
        client[i].ask.prompt[0] = i < 3; /* the last has nothing in common with the others */
        memcpy(client[i].ask.prompt + 1, client[0].ask.prompt + 1, 70 * sizeof(int32_t));
        client[i].ask.max_tokens = 8;
        client[i].ask.salt = 0;
        client[i].ask.key = 0;
        client[i].ask.priority = 0;
        client[i].ask.n_answers = i == 1 ? 2 : 1;
        client[i].ask.constrained = i == 2;
        for (uint32_t k = 0; k < client[i].ask.n_answers; k++) {
            crowd_alone(&p, &client[i].ask, k, &client[i].alone[k]);
        }
    }
    serve(0, false); /* what is kept for good is there */
}

static void faults(bool io)
{
    size_t nth = 1, step = test_is_sanitized_sample() && !io ? 17 : 1;
    start();
    fault_reset();
    size_t before = fault_held().bytes;
    int fds = fault_held().fds;
    do {
        serve(nth, io);
        nth += step;
    } while (fault_struck());
    fault_reset();
    cr_assert(nth > (io ? 4 : 40), "%zu", nth);
    cr_assert_leq(fault_held().bytes, before, "%zu bytes are held", fault_held().bytes - before);
    cr_assert_eq(fault_held().fds, fds);
    crowd_close(&p);
}

Test(serve_fault, who_has_no_memory_fails_alone)
{
    faults(false);
}

static void empty_folder(void)
{
    DIR *dir = opendir(folder);
    char path[400];
    for (struct dirent *entry; (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.') {
            unlink(path);
        }
    }
    closedir(dir);
    rmdir(folder);
}

Test(serve_fault, a_disk_that_fails_is_not_told)
{
    strcpy(folder, "/tmp/lk-serve-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    faults(true);
    empty_folder();
}
