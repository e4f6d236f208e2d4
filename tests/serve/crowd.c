/* SPDX-License-Identifier: Apache-2.0
 *
 * Crowd: see crowd.h.
 */
#include "tests/serve/crowd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/tiny.h"

void crowd_open(struct crowd_place *p, const char *path, const char *backend, uint32_t n_ctx,
                uint32_t cache_tokens)
{
    static const char REGEX[] = "\\[[0-9]{1,3}(, [0-9]{1,3}){1,8}\\]";
    lk_error err;
    lk_engine_options o = lk_engine_options_default();
    o.backend = backend;
    o.n_ctx = n_ctx;
    o.n_batch = 64;
    o.cache_tokens = cache_tokens;
    p->engine = tiny_engine_with(path, &o, &p->model);
    cr_assert_eq(lk_tokenizer_open(p->model, &p->tokenizer, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_grammar_open_regex(REGEX, strlen(REGEX), NULL, &p->grammar, &err), LK_OK, "%s",
                 err.message);
}

void crowd_close(struct crowd_place *p)
{
    lk_grammar_close(&p->grammar);
    lk_engine_close(&p->engine);
    lk_tokenizer_close(&p->tokenizer);
    lk_model_close(&p->model);
}

/* ---- asks ---- */

void crowd_make(struct crowd_ask *ask, struct rng *rng, size_t n_vocab, size_t n_ctx)
{
    static const char *const STOP[] = {"e", "th", "a ", "\n"};
    memset(ask, 0, sizeof *ask);
    size_t common = (size_t)rng_below(rng, (int)n_ctx / 2 + 40);
    size_t own = (size_t)rng_below(rng, rng_below(rng, 3) ? 12 : (int)n_ctx / 3);
    ask->n_prompt = common + own < 1 ? 1 : common + own;
    ask->n_prompt = ask->n_prompt < n_ctx ? ask->n_prompt : n_ctx;
    tiny_tokens(ask->prompt, ask->n_prompt, n_vocab, 100 + (unsigned)rng_below(rng, 3));
    for (size_t i = common; i < ask->n_prompt; i++) {
        ask->prompt[i] = rng_below(rng, (int)n_vocab);
    }
    ask->max_tokens = (size_t)rng_below(rng, rng_below(rng, 4) ? 30 : 150);
    ask->temperature = rng_below(rng, 2) ? 0.9f : 0.0f;
    ask->seed = rng_u32(rng);
    ask->key = (uint64_t)rng_below(rng, 3);
    ask->salt = rng_below(rng, 4) == 0;
    ask->priority = rng_below(rng, 4) ? 0 : rng_below(rng, 3) - 1;
    ask->n_answers = rng_below(rng, 4) ? 1 : 1 + (uint32_t)rng_below(rng, CROWD_ANSWERS);
    ask->stop = rng_below(rng, 4) ? NULL : STOP[rng_below(rng, 4)];
    ask->constrained = rng_below(rng, 4) == 0;
    ask->ignore_eog = rng_below(rng, 2);
}

/* The options of an ask; they point to sampler, to the ask and to the constraint. */
static lk_generation_options options_of(const struct crowd_ask *ask, lk_sampler_options *sampler,
                                        const lk_constraint *constraint)
{
    lk_generation_options o = lk_generation_options_default();
    *sampler = lk_sampler_options_default();
    sampler->temperature = ask->temperature;
    sampler->top_p = 0.95f;
    sampler->repeat_penalty = 1.1f;
    sampler->seed = ask->seed;
    o.sampler = sampler;
    o.max_tokens = ask->max_tokens;
    o.stop = &ask->stop;
    o.n_stop = ask->stop != NULL;
    o.constraint = constraint;
    o.ignore_eog = ask->ignore_eog;
    return o;
}

static lk_constraint *constraint_of(struct crowd_place *p, const struct crowd_ask *ask)
{
    lk_constraint *c = NULL;
    lk_error err;
    if (ask->constrained) {
        cr_assert_eq(lk_constraint_open(p->grammar, p->tokenizer, NULL, 0, &c, &err), LK_OK, "%s",
                     err.message);
    }
    return c;
}

/* ---- what is told ---- */

static void hear(struct crowd_told *told, const lk_event *ev)
{
    cr_assert_eq(told->finish, LK_FINISH_NONE, "an event after the end");
    switch (ev->kind) {
    case LK_EVENT_TOKEN:
        cr_assert_lt(told->n_tokens, CROWD_CTX);
        told->token[told->n_tokens++] = ev->token;
        break;
    case LK_EVENT_TEXT:
        cr_assert(ev->len > 0 && told->len + ev->len <= CROWD_TEXT);
        memcpy(told->text + told->len, ev->text, ev->len);
        told->len += ev->len;
        break;
    case LK_EVENT_END:
        told->finish = ev->finish;
        cr_assert_neq(ev->finish, LK_FINISH_FAILED, "%s", ev->error ? ev->error->message : "?");
        break;
    }
}

void crowd_alone(struct crowd_place *p, const struct crowd_ask *ask, uint32_t answer,
                 struct crowd_told *told)
{
    lk_error err;
    lk_session *session;
    lk_generation *g;
    lk_event ev;
    lk_sampler_options sampler;
    lk_sha256 hash;
    lk_constraint *c = constraint_of(p, ask);
    lk_generation_options o = options_of(ask, &sampler, c);
    sampler.seed += answer;
    memset(told, 0, sizeof *told);
    lk_sha256_init(&hash);
    cr_assert_eq(lk_session_open(p->engine, &session, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_generation_open(session, p->tokenizer, &o, &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_generation_begin(g, ask->prompt, ask->n_prompt, &err), LK_OK, "%s",
                 err.message);
    while (!lk_generation_finish(g)) {
        cr_assert_eq(lk_generation_step(p->engine, &g, 1, 0, &err), LK_OK, "%s", err.message);
        while (lk_generation_next(g, &ev)) {
            bool chosen = ev.kind == LK_EVENT_TOKEN ||
                          (ev.kind == LK_EVENT_END && ev.finish == LK_FINISH_EOG && ev.token >= 0);
            if (chosen) {
                lk_sha256_floats(&hash, lk_session_logits(session), lk_engine_n_vocab(p->engine));
            }
            hear(told, &ev);
        }
    }
    lk_sha256_final(&hash, told->hash);
    lk_generation_close(&g);
    lk_session_close(&session);
    lk_constraint_close(&c);
}

bool crowd_try(lk_scheduler *s, struct crowd_place *p, struct crowd_client *c, lk_error *err)
{
    lk_sampler_options sampler;
    lk_constraint *constraint = NULL;
    if (c->ask.constrained &&
        lk_constraint_open(p->grammar, p->tokenizer, NULL, 0, &constraint, err) != LK_OK) {
        return false;
    }
    lk_generation_options g = options_of(&c->ask, &sampler, constraint);
    lk_job_options o = lk_job_options_default();
    o.prompt = c->ask.prompt;
    o.n_prompt = c->ask.n_prompt;
    o.generation = &g;
    o.n_answers = c->ask.n_answers;
    o.key = c->ask.key;
    o.salt = c->ask.salt;
    o.priority = c->ask.priority;
    o.hash = true;
    lk_status status = lk_scheduler_add(s, &o, &c->job, err);
    lk_constraint_close(&constraint);
    return !status;
}

void crowd_add(lk_scheduler *s, struct crowd_place *p, struct crowd_client *c)
{
    lk_error err;
    cr_assert(crowd_try(s, p, c, &err), "%s", err.message);
}

void crowd_listen(struct crowd_client *c)
{
    lk_job_event ev;
    while (lk_job_next(c->job, &ev)) {
        cr_assert_lt(ev.answer, c->ask.n_answers);
        hear(&c->told[ev.answer], &ev.event);
    }
}

void crowd_check(struct crowd_client *c, const char *what)
{
    for (uint32_t i = 0; i < c->ask.n_answers; i++) {
        struct crowd_told *told = &c->told[i], *alone = &c->alone[i];
        bool cut = c->cancelled && told->finish == LK_FINISH_CANCELLED;
        cr_assert(cut || told->finish == alone->finish, "%s: it ended by %s, alone by %s", what,
                  lk_finish_name(told->finish), lk_finish_name(alone->finish));
        cr_assert(cut ? told->n_tokens <= alone->n_tokens : told->n_tokens == alone->n_tokens,
                  "%s: %zu tokens, alone %zu", what, told->n_tokens, alone->n_tokens);
        cr_assert_eq(memcmp(told->token, alone->token, told->n_tokens * sizeof *told->token), 0,
                     "%s: other tokens", what);
        /* What was held back comes out where it is cut. */
        cr_assert(told->len <= alone->len || cut);
        cr_assert(cut || (told->len == alone->len && !memcmp(told->text, alone->text, told->len)),
                  "%s: another text", what);
        if (!cut) {
            lk_job_hash(c->job, i, told->hash);
            cr_assert_arr_eq(told->hash, alone->hash, 32, "%s: other rows", what);
        }
    }
}

/* ---- all of them ---- */

static void act_at_random(lk_scheduler *s, struct crowd_place *p, struct crowd_client *c,
                          struct rng *rng, bool calm)
{
    if (!c->job) {
        if (rng_below(rng, 6) == 0) {
            crowd_add(s, p, c);
        }
        return;
    }
    if (calm) {
        return;
    }
    if (rng_below(rng, 1000) == 0) {
        lk_job_cancel(c->job);
        c->cancelled = true;
    }
    if (rng_below(rng, 10) == 0) {
        lk_job_pause(c->job, rng_below(rng, 3) == 0);
    }
}

void crowd_let_loose(struct crowd_place *p, struct crowd_place *judge, const struct crowd_run *run,
                     lk_scheduler_info *info)
{
    struct rng rng = {run->seed};
    struct crowd_client *c = calloc(run->n_clients, sizeof *c);
    lk_scheduler *s;
    lk_error err;
    char what[64];
    cr_assert_eq(lk_scheduler_open(p->engine, p->tokenizer, &run->options, &s, &err), LK_OK, "%s",
                 err.message);
    for (size_t i = 0; i < run->n_clients; i++) {
        crowd_make(&c[i].ask, &rng, lk_engine_n_vocab(p->engine), lk_engine_n_ctx(p->engine));
        if (run->long_answers) {
            c[i].ask.n_prompt = 1 + c[i].ask.n_prompt % 40;
            c[i].ask.max_tokens += 90;
            c[i].ask.constrained = false;
            c[i].ask.ignore_eog = true;
            c[i].ask.stop = NULL;
        }
        for (uint32_t k = 0; k < c[i].ask.n_answers; k++) {
            crowd_alone(judge, &c[i].ask, k, &c[i].alone[k]);
        }
    }
    bool *gone = calloc(run->n_clients, sizeof *gone);
    size_t left = run->n_clients;
    for (size_t step = 0; left > 0; step++) {
        cr_assert_lt(step, 60000, "%zu of %zu jobs are never done", left, run->n_clients);
        for (size_t i = 0; i < run->n_clients; i++) {
            if (!gone[i]) {
                act_at_random(s, p, &c[i], &rng, run->calm || step > 3000);
            }
            if (c[i].job && step > 3000) {
                lk_job_pause(c[i].job, false);
            }
        }
        if (run->each_step) {
            run->each_step(run->user, step);
        }
        cr_assert_eq(lk_scheduler_step(s, &err), LK_OK, "%s", err.message);
        for (size_t i = 0; i < run->n_clients; i++) {
            if (!c[i].job) {
                continue;
            }
            crowd_listen(&c[i]);
            if (lk_job_is_done(c[i].job)) {
                snprintf(what, sizeof what, "seed %u, client %zu", run->seed, i);
                crowd_check(&c[i], what);
                lk_job_close(&c[i].job);
                gone[i] = true;
                left--;
            }
        }
    }
    if (info) {
        info->size = sizeof *info;
        lk_scheduler_tell(s, info);
    }
    lk_scheduler_close(&s);
    free(gone);
    free(c);
}
