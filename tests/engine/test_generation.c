/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation: what one writes is what a plain loop over a session writes, alone or in a crowd, in
 * any budget; what ends it; stop texts, log-probabilities, events, constraints.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { CTX = 200, MAX_TEXT = 4096, CROWD = 5 };

struct place {
    lk_model *m;
    lk_tokenizer *t;
    lk_engine *e;
};

static void place_open(struct place *p, const char *backend, uint32_t n_ctx, uint32_t n_sessions)
{
    lk_error err;
    p->e = tiny_engine(test_model_path(0), backend, n_ctx, 32, n_sessions, &p->m);
    cr_assert_eq(lk_tokenizer_open(p->m, &p->t, &err), LK_OK, "%s", err.message);
}

static void place_close(struct place *p)
{
    lk_engine_close(&p->e);
    lk_tokenizer_close(&p->t);
    lk_model_close(&p->m);
}

/* What a generation has told so far. */
struct told {
    char text[MAX_TEXT];
    size_t len, n_tokens;
    int32_t tokens[CTX];
    lk_finish finish;
    lk_status error;
    char stop[32]; /* "": none was told */
};

static void listen(lk_generation *g, struct told *told)
{
    lk_event ev;
    while (lk_generation_next(g, &ev)) {
        cr_assert_eq(told->finish, LK_FINISH_NONE, "an event after the end");
        switch (ev.kind) {
        case LK_EVENT_TOKEN:
            told->tokens[told->n_tokens++] = ev.token;
            break;
        case LK_EVENT_TEXT:
            cr_assert(ev.len > 0 && told->len + ev.len <= MAX_TEXT);
            memcpy(told->text + told->len, ev.text, ev.len);
            told->len += ev.len;
            break;
        case LK_EVENT_END:
            told->finish = ev.finish;
            told->error = ev.error ? ev.error->status : LK_OK;
            snprintf(told->stop, sizeof told->stop, "%s", ev.stop ? ev.stop : "");
            break;
        }
    }
}

static void finish(struct place *p, lk_generation *g, size_t budget, struct told *told)
{
    lk_error err;
    memset(told, 0, sizeof *told);
    while (!lk_generation_finish(g)) {
        cr_assert_eq(lk_generation_step(p->e, &g, 1, budget, &err), LK_OK, "%s", err.message);
        listen(g, told);
    }
    cr_assert_eq(told->finish, lk_generation_finish(g));
}

/* A session, a generation on it, its prompt, and all that it tells. */
static void write_alone(struct place *p, const lk_generation_options *o, const char *prompt,
                        struct told *told)
{
    lk_error err;
    lk_session *s;
    lk_generation *g;
    cr_assert_eq(lk_session_open(p->e, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_generation_open(s, p->t, o, &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_generation_prompt(g, prompt, strlen(prompt), LK_TOKENIZE_BOS, &err), LK_OK,
                 "%s", err.message);
    finish(p, g, 0, told);
    lk_generation_close(&g);
    lk_session_close(&s);
}

static lk_generation_options writes(size_t max)
{
    lk_generation_options o = lk_generation_options_default();
    o.max_tokens = max;
    o.ignore_eog = true;
    return o;
}

Test(generation, writes_what_a_loop_over_a_session_writes)
{
    struct place p;
    place_open(&p, "cpu", CTX, 2);
    lk_error err;
    lk_session *s;
    int32_t ids[CTX];
    size_t n;
    const char *prompt = "Once upon a time";
    cr_assert_eq(lk_tokenize(p.t, prompt, strlen(prompt), LK_TOKENIZE_BOS, ids, CTX, &n, &err),
                 LK_OK);
    size_t n_prompt = n;
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    char text[MAX_TEXT];
    size_t len = 0;
    lk_decoder d = {.started = true};
    while (n < n_prompt + 60) {
        cr_assert_eq(lk_session_sync(s, ids, n, &err), LK_OK, "%s", err.message);
        size_t got;
        ids[n] = lk_argmax(lk_session_logits(s), lk_engine_n_vocab(p.e));
        cr_assert(!lk_token_is_eog(p.t, ids[n]), "choose another prompt");
        lk_decode(p.t, &d, ids[n++], false, text + len, MAX_TEXT - len, &got);
        len += got;
    }
    len += lk_decode_flush(&d, text + len, MAX_TEXT - len);
    struct told told;
    lk_generation_options o = writes(60);
    write_alone(&p, &o, prompt, &told);
    cr_assert_eq(told.finish, LK_FINISH_LENGTH);
    cr_assert_eq(told.n_tokens, 60);
    cr_assert_arr_eq(told.tokens, ids + n_prompt, 60 * sizeof *ids);
    cr_assert(told.len == len && memcmp(told.text, text, len) == 0);
    lk_session_close(&s);
    place_close(&p);
}

static void hash_rows(lk_generation *g, size_t n_vocab, lk_sha256 *hash)
{
    lk_event ev;
    while (lk_generation_next(g, &ev)) {
        bool chosen =
            ev.kind == LK_EVENT_TOKEN || (ev.kind == LK_EVENT_END && ev.finish == LK_FINISH_EOG);
        if (chosen) {
            const float *row = lk_session_logits(lk_generation_session(g));
            cr_assert_eq(lk_argmax(row, n_vocab), ev.token, "the row is not the token's");
            lk_sha256_floats(hash, row, n_vocab);
        }
    }
}

/* The rows that tokens are chosen from can be looked at when an event tells of the token, and the
 * session may move to another backend between steps. */
Test(generation, rows_are_there_and_moves_change_none)
{
    struct place p;
    lk_error err;
    uint8_t digest[3][32];
    place_open(&p, "cpu", CTX, 1);
    size_t n_vocab = lk_engine_n_vocab(p.e);
    for (int i = 0; i < 3; i++) { /* moved never, before the prompt, after five steps */
        lk_session *s;
        lk_generation *g;
        lk_sha256 hash;
        lk_generation_options o = writes(20);
        lk_sha256_init(&hash);
        cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
        cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
        cr_assert_eq(lk_generation_prompt(g, "Once upon", 9, LK_TOKENIZE_BOS, &err), LK_OK);
        for (int step = 0; !lk_generation_finish(g); step++) {
            if (i > 0 && step == 5 * (i - 1)) {
                cr_assert_eq(lk_session_move(s, "scalar", &err), LK_OK, "%s", err.message);
            }
            cr_assert_eq(lk_generation_step(p.e, &g, 1, 0, &err), LK_OK);
            hash_rows(g, n_vocab, &hash);
        }
        cr_assert_eq(lk_generation_count(g).written, 20);
        lk_sha256_final(&hash, digest[i]);
        cr_assert_arr_eq(digest[i], digest[0], 32, "moved: %d", i);
        lk_generation_close(&g);
        lk_session_close(&s);
    }
    place_close(&p);
}

/* Five with prompts, samplers and lengths of their own, of which one is cancelled, in budgets from
 * one token up. */
Test(generation, a_crowd_writes_what_each_writes_alone)
{
    static const char *const PROMPTS[CROWD] = {
        "The first", "A much longer prompt, so that it takes several steps of a small budget", "x",
        "The first", "Once upon a time there was a"};
    static const size_t BUDGETS[] = {1, 3, 7, 16, 0};
    for (size_t b = 0; b < LK_COUNT(BUDGETS); b++) {
        struct place p;
        lk_error err;
        lk_session *s[CROWD];
        lk_generation *g[CROWD];
        static struct told alone[CROWD], together[CROWD];
        place_open(&p, "cpu", CTX, CROWD + 1);
        for (int i = 0; i < CROWD; i++) {
            lk_sampler_options so = lk_sampler_options_default();
            so.temperature = i % 2 ? 0.8f : 0.0f;
            so.seed = (uint64_t)i;
            lk_generation_options o = writes(20 + 7 * (size_t)i);
            o.sampler = &so;
            write_alone(&p, &o, PROMPTS[i], &alone[i]);
            memset(&together[i], 0, sizeof together[i]);
            cr_assert_eq(lk_session_open(p.e, &s[i], &err), LK_OK);
            cr_assert_eq(lk_generation_open(s[i], p.t, &o, &g[i], &err), LK_OK, "%s", err.message);
            cr_assert_eq(lk_generation_prompt(g[i], PROMPTS[i], strlen(PROMPTS[i]), LK_TOKENIZE_BOS,
                                              &err),
                         LK_OK);
        }
        for (int step = 0, left = CROWD; left > 0; step++) {
            cr_assert_lt(step, 2000);
            left = 0;
            if (step == 12) {
                lk_generation_cancel(g[4]);
            }
            cr_assert_eq(lk_generation_step(p.e, g, CROWD, BUDGETS[b], &err), LK_OK, "%s",
                         err.message);
            for (int i = 0; i < CROWD; i++) {
                listen(g[i], &together[i]);
                left += !lk_generation_finish(g[i]);
            }
        }
        for (int i = 0; i < CROWD; i++) {
            size_t n = together[i].n_tokens, len = together[i].len;
            cr_assert_eq(together[i].finish, i == 4 ? LK_FINISH_CANCELLED : LK_FINISH_LENGTH);
            cr_assert(i == 4 ? n <= 12 : n == alone[i].n_tokens, "%d: %zu tokens", i, n);
            cr_assert_arr_eq(together[i].tokens, alone[i].tokens, n * sizeof(int32_t));
            cr_assert(len <= alone[i].len && memcmp(together[i].text, alone[i].text, len) == 0);
            lk_generation_close(&g[i]);
            lk_session_close(&s[i]);
        }
        place_close(&p);
    }
}

/* Every piece of the text as a stop text: what comes out is the text before its first place. */
Test(generation, stop_texts_end_it_wherever_they_fall)
{
    struct place p;
    struct told whole, told;
    place_open(&p, "cpu", CTX, 1);
    lk_generation_options o = writes(40);
    write_alone(&p, &o, "Stop", &whole);
    cr_assert_gt(whole.len, 20);
    for (size_t at = 0; at + 5 <= whole.len; at += 3) {
        for (size_t n = 1; n <= 5; n += 2) {
            char stop[8] = {0};
            const char *texts[2] = {"never written, I hope", stop};
            memcpy(stop, whole.text + at, n);
            if (strlen(stop) != n) {
                continue; /* a zero byte in it */
            }
            o.stop = texts;
            o.n_stop = 2;
            write_alone(&p, &o, "Stop", &told);
            size_t first = 0;
            while (memcmp(whole.text + first, stop, n) != 0) {
                first++;
            }
            cr_assert_eq(told.finish, LK_FINISH_STOP, "%s", lk_finish_name(told.finish));
            cr_assert_str_eq(told.stop, stop);
            cr_assert(told.len == first && memcmp(told.text, whole.text, first) == 0,
                      "stop at %zu, %zu bytes: %zu came out", first, n, told.len);
        }
    }
    place_close(&p);
}

/* A bias makes the model choose one token. */
static void write_tokens(struct place *p, int32_t id, size_t n, const char *stop, bool ignore_eog,
                         struct told *told)
{
    lk_sampler_options so = lk_sampler_options_default();
    float most = 1e9f;
    so.bias_ids = &id;
    so.bias_values = &most;
    so.n_bias = 1;
    lk_generation_options o = lk_generation_options_default();
    o.sampler = &so;
    o.max_tokens = n;
    o.stop = &stop;
    o.n_stop = stop != NULL;
    o.ignore_eog = ignore_eog;
    write_alone(p, &o, "tokens", told);
}

static void write_token(struct place *p, int32_t id, const char *stop, bool ignore_eog,
                        struct told *told)
{
    write_tokens(p, id, 3, stop, ignore_eog, told);
}

Test(generation, tokens_that_end_it)
{
    struct place p;
    struct told told;
    place_open(&p, "cpu", CTX, 1);
    int32_t eos = lk_token_eos(p.t), bos = lk_token_bos(p.t);
    write_token(&p, eos, NULL, false, &told);
    cr_assert(told.finish == LK_FINISH_EOG && told.n_tokens == 0 && told.len == 0);
    cr_assert_str_eq(told.stop, "");
    write_token(&p, eos, NULL, true, &told);
    cr_assert(told.finish == LK_FINISH_LENGTH && told.n_tokens == 3, "the bias against it wins");
    for (size_t i = 0; i < told.n_tokens; i++) {
        cr_assert_neq(told.tokens[i], eos);
    }
    write_token(&p, bos, "<s>", false, &told);
    cr_assert(told.finish == LK_FINISH_STOP && told.n_tokens == 1 && told.len == 0,
              "a control token is a stop text");
    cr_assert_str_eq(told.stop, "<s>");
    write_token(&p, bos, NULL, false, &told);
    cr_assert(told.finish == LK_FINISH_LENGTH && told.len == 0, "control tokens are not printed");
    place_close(&p);
}

/* Bytes of a character that does not come whole are told at the end. */
Test(generation, a_stop_text_in_the_last_bytes_ends_it)
{
    struct place p;
    struct told told;
    int32_t ids[4];
    size_t n;
    lk_error err;
    place_open(&p, "cpu", CTX, 1);
    cr_assert_eq(lk_tokenize(p.t, "\xE2", 1, LK_TOKENIZE_PLAIN, ids, 4, &n, &err), LK_OK);
    write_tokens(&p, ids[n - 1], 1, NULL, true, &told);
    cr_assert_eq(told.finish, LK_FINISH_LENGTH);
    cr_assert_gt(told.len, 0);
    char stop[MAX_TEXT] = {0};
    memcpy(stop, told.text, told.len);
    write_tokens(&p, ids[n - 1], 1, stop, true, &told);
    cr_assert_eq(told.finish, LK_FINISH_STOP, "%s", lk_finish_name(told.finish));
    cr_assert_str_eq(told.stop, stop);
    cr_assert_eq(told.len, 0);
    place_close(&p);
}

Test(generation, a_full_context_ends_it)
{
    struct place p;
    struct told told;
    place_open(&p, "cpu", 32, 1);
    lk_generation_options o = writes(SIZE_MAX);
    int32_t ids[32];
    size_t n;
    lk_error err;
    cr_assert_eq(lk_tokenize(p.t, "0123456789", 10, LK_TOKENIZE_BOS, ids, 32, &n, &err), LK_OK);
    write_alone(&p, &o, "0123456789", &told);
    cr_assert_eq(told.finish, LK_FINISH_FULL);
    cr_assert_eq(told.n_tokens, 32 - n);
    place_close(&p);
}

Test(generation, no_tokens_wanted_evaluates_the_prompt_alone)
{
    struct place p;
    lk_error err;
    lk_session *s;
    lk_generation *g;
    struct told told;
    place_open(&p, "cpu", CTX, 1);
    lk_generation_options o = writes(0);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_prompt(g, "hello", 5, LK_TOKENIZE_BOS, &err), LK_OK);
    finish(&p, g, 0, &told);
    cr_assert(told.finish == LK_FINISH_LENGTH && told.n_tokens == 0);
    cr_assert_eq(lk_session_n_tokens(s), lk_generation_count(g).prompt);
    lk_generation_close(&g);
    lk_session_close(&s);
    place_close(&p);
}

/* A second prompt reuses what the session holds of it. */
Test(generation, begins_again_from_what_is_held)
{
    struct place p;
    lk_error err;
    lk_session *s;
    lk_generation *g;
    struct told told, fresh;
    place_open(&p, "cpu", CTX, 2);
    lk_generation_options o = writes(10);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_prompt(g, "One two three", 13, LK_TOKENIZE_BOS, &err), LK_OK);
    finish(&p, g, 0, &told);
    cr_assert_eq(lk_generation_count(g).reused, 0);
    cr_assert_eq(lk_generation_count(g).written, 10);
    cr_assert_eq(lk_generation_prompt(g, "One two four", 12, LK_TOKENIZE_BOS, &err), LK_OK);
    int32_t one[32], two[32];
    size_t n, same = 0;
    cr_assert_eq(lk_tokenize(p.t, "One two three", 13, LK_TOKENIZE_BOS, one, 32, &n, &err), LK_OK);
    cr_assert_eq(lk_tokenize(p.t, "One two four", 12, LK_TOKENIZE_BOS, two, 32, &n, &err), LK_OK);
    while (one[same] == two[same]) {
        same++;
    }
    cr_assert(same > 2 && lk_generation_count(g).reused == same);
    finish(&p, g, 0, &told);
    write_alone(&p, &o, "One two four", &fresh);
    cr_assert(told.len == fresh.len && memcmp(told.text, fresh.text, told.len) == 0);
    lk_generation_close(&g);
    lk_session_close(&s);
    place_close(&p);
}

/* Writes 30 tokens after "A long prompt", and 30 more after "New: " and those 30. *len_before: of
 * the text before the timeline was replaced. The rows of the second half go to `hash`. */
static void write_replaced(struct place *p, const lk_generation_options *o, struct told *told,
                           size_t *len_before, lk_sha256 *hash)
{
    lk_error err;
    lk_session *s;
    lk_generation *g;
    int32_t ids[CTX];
    size_t n, n_all;
    memset(told, 0, sizeof *told);
    cr_assert_eq(lk_session_open(p->e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, p->t, o, &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_generation_prompt(g, "A long prompt", 13, LK_TOKENIZE_BOS, &err), LK_OK);
    size_t n_prompt = lk_generation_count(g).prompt;
    for (int i = 0; i < 30 && !lk_generation_finish(g); i++) {
        cr_assert_eq(lk_generation_step(p->e, &g, 1, 0, &err), LK_OK);
        listen(g, told);
    }
    *len_before = told->len;
    if (!lk_generation_finish(g)) {
        cr_assert_eq(lk_tokenize(p->t, "New: ", 5, LK_TOKENIZE_BOS, ids, CTX, &n, &err), LK_OK);
        const int32_t *all = lk_generation_tokens(g, &n_all);
        memcpy(ids + n, all + n_prompt, 30 * sizeof *ids);
        cr_assert_eq(lk_generation_replace(g, ids, n + 30, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_generation_count(g).written, 30);
        cr_assert_eq(lk_generation_count(g).prompt, n_prompt + n + 30);
    }
    while (!lk_generation_finish(g)) {
        lk_event ev;
        cr_assert_eq(lk_generation_step(p->e, &g, 1, 0, &err), LK_OK);
        while (lk_generation_next(g, &ev)) {
            if (ev.kind == LK_EVENT_TOKEN) {
                told->tokens[told->n_tokens++] = ev.token;
                lk_sha256_floats(hash, lk_session_logits(s), lk_engine_n_vocab(p->e));
            } else if (ev.kind == LK_EVENT_TEXT) {
                memcpy(told->text + told->len, ev.text, ev.len);
                told->len += ev.len;
            }
        }
    }
    told->finish = lk_generation_finish(g);
    cr_assert_eq(lk_generation_replace(g, ids, 1, &err), LK_E_INVALID, "after the end");
    lk_generation_close(&g);
    lk_session_close(&s);
}

/* An answer whose timeline is replaced goes on as in a session of the new timeline alone: by its
 * rows. Its text has no seam, for stop texts too. */
Test(generation, a_timeline_is_replaced_in_mid_answer)
{
    struct place p;
    lk_error err;
    lk_session *s;
    static struct told told, cut;
    lk_sha256 hash, want;
    uint8_t digest[2][32];
    int32_t ids[CTX];
    size_t n, len_before, len = 0;
    place_open(&p, "cpu", 100, 1);
    lk_generation_options o = writes(60);
    lk_sha256_init(&hash);
    write_replaced(&p, &o, &told, &len_before, &hash);
    cr_assert(told.finish == LK_FINISH_LENGTH && told.n_tokens == 60);
    lk_sha256_init(&want);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    cr_assert_eq(lk_tokenize(p.t, "New: ", 5, LK_TOKENIZE_BOS, ids, CTX, &n, &err), LK_OK);
    memcpy(ids + n, told.tokens, 60 * sizeof *ids);
    for (size_t i = 30; i < 60; i++) {
        cr_assert_eq(lk_session_sync(s, ids, n + i, &err), LK_OK);
        lk_sha256_floats(&want, lk_session_logits(s), lk_engine_n_vocab(p.e));
        cr_assert_eq(told.tokens[i], lk_argmax(lk_session_logits(s), lk_engine_n_vocab(p.e)));
    }
    lk_session_close(&s);
    lk_sha256_final(&hash, digest[0]);
    lk_sha256_final(&want, digest[1]);
    cr_assert_arr_eq(digest[0], digest[1], 32);
    char text[MAX_TEXT];
    lk_decoder d = {.started = true};
    for (size_t i = 0, got; i < 60; i++, len += got) {
        lk_decode(p.t, &d, told.tokens[i], false, text + len, MAX_TEXT - len, &got);
    }
    len += lk_decode_flush(&d, text + len, MAX_TEXT - len);
    cr_assert(told.len == len && memcmp(told.text, text, len) == 0);
    /* A stop text that lies on both sides of the seam. */
    char stop[5];
    const char *stops[] = {stop}, *at = NULL;
    lk_sampler_options so = lk_sampler_options_default();
    so.temperature = 1.0f;
    o.sampler = &so;
    for (; at != told.text + len_before - 2; so.seed++) {
        cr_assert_lt(so.seed, 50, "no text has such a stop text");
        write_replaced(&p, &o, &told, &len_before, &hash);
        snprintf(stop, sizeof stop, "%.4s", told.text + len_before - 2);
        at = strlen(stop) == 4 ? memmem(told.text, told.len, stop, 4) : NULL;
    }
    so.seed--;
    o.stop = stops;
    o.n_stop = 1;
    write_replaced(&p, &o, &cut, &len_before, &hash);
    cr_assert_eq(cut.finish, LK_FINISH_STOP);
    cr_assert(cut.len == (size_t)(at - told.text) && memcmp(cut.text, told.text, cut.len) == 0);
    place_close(&p);
}

Test(generation, log_probabilities_are_those_of_the_row)
{
    struct place p;
    lk_error err;
    lk_session *s;
    lk_generation *g;
    lk_event ev;
    place_open(&p, "cpu", CTX, 1);
    lk_generation_options o = writes(8);
    o.logprobs = 5;
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_prompt(g, "prob", 4, LK_TOKENIZE_BOS, &err), LK_OK);
    size_t n_vocab = lk_engine_n_vocab(p.e), seen = 0;
    while (!lk_generation_finish(g)) {
        cr_assert_eq(lk_generation_step(p.e, &g, 1, 0, &err), LK_OK);
        while (lk_generation_next(g, &ev)) {
            if (ev.kind != LK_EVENT_TOKEN) {
                continue;
            }
            const float *row = lk_session_logits(s);
            double sum = 0, max = -INFINITY;
            for (size_t i = 0; i < n_vocab; i++) {
                max = fmax(max, (double)row[i]);
            }
            for (size_t i = 0; i < n_vocab; i++) {
                sum += exp((double)row[i] - max);
            }
            cr_assert_eq(ev.n_top, 5);
            cr_assert(ev.top[0].token == ev.token && ev.logprob.token == ev.token, "greedy");
            for (size_t k = 0; k < ev.n_top; k++) {
                double want = (double)row[ev.top[k].token] - max - log(sum);
                cr_assert_float_eq((double)ev.top[k].logprob, want, 2e-6);
                cr_assert(k == 0 || row[ev.top[k].token] <= row[ev.top[k - 1].token]);
                size_t above = 0;
                for (size_t i = 0; i < n_vocab; i++) {
                    above += row[i] > row[ev.top[k].token];
                }
                cr_assert_leq(above, k);
            }
            seen++;
        }
    }
    cr_assert_eq(seen, 8);
    lk_generation_close(&g);
    lk_session_close(&s);
    place_close(&p);
}

static lk_status broken_run(struct lk_exec *exec, struct lk_state_mem *mem,
                            const struct lk_batch *batch, lk_error *err)
{
    (void)exec;
    (void)mem;
    (void)batch;
    err->status = LK_E_DEVICE;
    strcpy(err->message, "no luck");
    return LK_E_DEVICE;
}

Test(generation, a_step_that_fails_ends_it_with_the_error)
{
    struct place p;
    lk_error err;
    lk_session *s;
    lk_generation *g;
    struct told told;
    place_open(&p, "cpu", CTX, 1);
    struct lk_part *part = &p.e->home->part[0];
    const struct lk_backend_impl *whole = part->impl;
    struct lk_backend_impl broken = *whole;
    broken.run = broken_run;
    lk_generation_options o = writes(8);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_prompt(g, "bad", 3, LK_TOKENIZE_BOS, &err), LK_OK);
    part->impl = &broken;
    finish(&p, g, 0, &told);
    part->impl = whole;
    cr_assert(told.finish == LK_FINISH_FAILED && told.error == LK_E_DEVICE);
    cr_assert_eq(lk_generation_prompt(g, "good", 4, LK_TOKENIZE_BOS, &err), LK_OK);
    finish(&p, g, 0, &told);
    cr_assert_eq(told.finish, LK_FINISH_LENGTH);
    lk_generation_close(&g);
    lk_session_close(&s);
    place_close(&p);
}

/* ---- constraints ---- */

/* A grammar, and a constraint at its beginning. */
struct fit {
    lk_grammar *g;
    lk_constraint *c;
};

static struct fit fit_open(struct place *p, const char *regex)
{
    struct fit f;
    lk_error err;
    cr_assert_eq(lk_grammar_open_regex(regex, strlen(regex), NULL, &f.g, &err), LK_OK, "%s",
                 err.message);
    cr_assert_eq(lk_constraint_open(f.g, p->t, NULL, 0, &f.c, &err), LK_OK, "%s", err.message);
    return f;
}

static void fit_close(struct fit *f)
{
    lk_constraint_close(&f->c);
    lk_grammar_close(&f->g);
}

/* The row is the model's, whatever may come: a loop over a session that masks a copy of it chooses
 * the same tokens. */
Test(generation, a_constraint_masks_the_choice_and_not_the_row)
{
    struct place p;
    lk_error err;
    lk_session *s;
    int32_t ids[CTX];
    size_t n, n_prompt;
    place_open(&p, "cpu", CTX, 2);
    struct fit f = fit_open(&p, "(?:[a-m]{3,9} ){2,5}[0-9]{2}!");
    size_t n_vocab = lk_engine_n_vocab(p.e);
    float *row = malloc(n_vocab * sizeof *row);
    struct told told;
    lk_generation_options o = lk_generation_options_default();
    lk_sampler_options sampler = lk_sampler_options_default();
    sampler.temperature = 1.5f;
    sampler.seed = 11;
    o.sampler = &sampler;
    o.constraint = f.c;
    write_alone(&p, &o, "Once", &told);
    cr_assert_eq(told.finish, LK_FINISH_EOG);
    cr_assert(told.len > 10 && told.text[told.len - 1] == '!', "%.*s", (int)told.len, told.text);
    lk_sampler *plain;
    lk_constraint *c;
    cr_assert_eq(lk_sampler_open(&sampler, n_vocab, &plain, &err), LK_OK);
    cr_assert_eq(lk_constraint_fork(f.c, &c, &err), LK_OK, "the options' own has not moved");
    cr_assert_eq(lk_tokenize(p.t, "Once", 4, LK_TOKENIZE_BOS, ids, CTX, &n, &err), LK_OK);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    for (n_prompt = n; !lk_constraint_is_done(c); n++) {
        cr_assert_eq(lk_session_sync(s, ids, n, &err), LK_OK, "%s", err.message);
        memcpy(row, lk_session_logits(s), n_vocab * sizeof *row);
        cr_assert_eq(lk_constraint_apply(c, row, n_vocab, &err), LK_OK, "%s", err.message);
        ids[n] = lk_sample(plain, row, ids, n, n);
        cr_assert_eq(lk_constraint_accept(c, ids[n], &err), LK_OK, "%s", err.message);
    }
    cr_assert_eq(told.n_tokens, n - n_prompt);
    cr_assert_arr_eq(told.tokens, ids + n_prompt, told.n_tokens * sizeof *ids);
    free(row);
    lk_session_close(&s);
    lk_sampler_close(&plain);
    lk_constraint_close(&c);
    fit_close(&f);
    place_close(&p);
}

/* Many share a grammar, each at its own place in it; a second answer begins it again. */
Test(generation, a_crowd_shares_a_grammar)
{
    struct place p;
    lk_error err;
    lk_session *s[CROWD];
    lk_generation *g[CROWD];
    struct told alone[CROWD], told[CROWD] = {0};
    static const char *const prompts[CROWD] = {"a", "the", "once upon", "12", "Hello"};
    place_open(&p, "cpu", CTX, CROWD + 1);
    struct fit f = fit_open(&p, "\\[(?:[a-z]{1,6},){1,8}\\]");
    lk_sampler_options sampler = lk_sampler_options_default();
    lk_generation_options o = lk_generation_options_default();
    sampler.temperature = 2.0f;
    o.sampler = &sampler;
    o.constraint = f.c;
    for (int i = 0; i < CROWD; i++) {
        sampler.seed = (uint64_t)i;
        write_alone(&p, &o, prompts[i], &alone[i]);
        cr_assert_eq(alone[i].finish, LK_FINISH_EOG);
        cr_assert_eq(lk_session_open(p.e, &s[i], &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_generation_open(s[i], p.t, &o, &g[i], &err), LK_OK, "%s", err.message);
    }
    fit_close(&(struct fit){.c = f.c}); /* copied by those that use it */
    for (int round = 0; round < 2; round++) {
        memset(told, 0, sizeof told);
        for (int i = 0; i < CROWD; i++) {
            cr_assert_eq(lk_generation_prompt(g[i], prompts[i], strlen(prompts[i]), LK_TOKENIZE_BOS,
                                              &err),
                         LK_OK, "%s", err.message);
        }
        for (int left = CROWD; left > 0;) {
            cr_assert_eq(lk_generation_step(p.e, g, CROWD, 0, &err), LK_OK, "%s", err.message);
            left = CROWD;
            for (int i = 0; i < CROWD; i++) {
                listen(g[i], &told[i]);
                left -= told[i].finish != LK_FINISH_NONE;
            }
        }
        for (int i = 0; i < CROWD; i++) {
            cr_assert_eq(told[i].n_tokens, alone[i].n_tokens, "%d in round %d", i, round);
            cr_assert_arr_eq(told[i].tokens, alone[i].tokens,
                             told[i].n_tokens * sizeof *told[i].tokens);
        }
    }
    for (int i = 0; i < CROWD; i++) {
        lk_generation_close(&g[i]);
        lk_session_close(&s[i]);
    }
    fit_close(&(struct fit){.g = f.g});
    place_close(&p);
}

/* No token that may come can be chosen: an error, and never a choice among the others. */
Test(generation, a_constraint_that_leaves_nothing_ends_it_with_the_error)
{
    struct place p;
    lk_error err;
    struct told told;
    place_open(&p, "cpu", CTX, 1);
    struct fit f = fit_open(&p, "ab*");
    uint32_t bits[1024];
    int32_t ids[512];
    float values[512];
    lk_sampler_options sampler = lk_sampler_options_default();
    cr_assert_eq(lk_constraint_mask(f.c, bits, 1024, &err), LK_OK, "%s", err.message);
    for (int32_t i = 0; i < 1024 * 32 && sampler.n_bias < 512; i++) {
        if (bits[i / 32] >> (i % 32) & 1) {
            ids[sampler.n_bias] = i;
            values[sampler.n_bias++] = -INFINITY;
        }
    }
    sampler.bias_ids = ids;
    sampler.bias_values = values;
    lk_generation_options o = writes(8);
    o.sampler = &sampler;
    o.constraint = f.c;
    write_alone(&p, &o, "x", &told);
    cr_assert(told.finish == LK_FINISH_FAILED && told.error == LK_E_INVALID && told.len == 0);
    fit_close(&f);
    place_close(&p);
}

/* Tokens that are forced come, one a step, where others would have been; the rest goes on behind
 * them as behind any. */
Test(generation, forced_tokens_come_next)
{
    struct place p;
    place_open(&p, "cpu", CTX, 2);
    lk_error err;
    lk_session *s;
    lk_generation *g;
    struct told told = {0}, rest;
    int32_t ids[CTX], forced[] = {7, 11, 7};
    size_t n;
    lk_generation_options o = writes(12);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_force(g, forced, 1, &err), LK_E_INVALID);
    cr_assert_eq(lk_generation_prompt(g, "Once", 4, 0, &err), LK_OK);
    size_t n_prompt = lk_generation_count(g).prompt;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(lk_generation_step(p.e, &g, 1, 0, &err), LK_OK, "%s", err.message);
        listen(g, &told);
    }
    cr_assert_eq(lk_generation_force(g, forced + 1, 1, &err), LK_OK); /* others take its place */
    cr_assert_eq(lk_generation_force(g, forced, 3, &err), LK_OK);
    while (!lk_generation_finish(g)) {
        cr_assert_eq(lk_generation_step(p.e, &g, 1, 0, &err), LK_OK, "%s", err.message);
        listen(g, &told);
    }
    cr_assert_eq(told.n_tokens, 12);
    cr_assert_arr_eq(told.tokens + 4, forced, sizeof forced);
    cr_assert_eq(lk_generation_force(g, forced, 1, &err), LK_E_INVALID);
    /* Greedy from the forced timeline on. */
    memcpy(ids, lk_generation_tokens(g, &n), sizeof ids[0] * (n_prompt + 7));
    cr_assert_eq(n, n_prompt + 12);
    o = writes(5);
    lk_generation_close(&g);
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_begin(g, ids, n_prompt + 7, &err), LK_OK);
    forced[0] = 1 << 20;
    cr_assert_eq(lk_generation_force(g, forced, 1, &err), LK_E_INVALID);
    finish(&p, g, 0, &rest);
    cr_assert_arr_eq(rest.tokens, told.tokens + 7, 5 * sizeof rest.tokens[0]);
    lk_generation_close(&g);
    lk_session_close(&s);
    place_close(&p);
}

/* A control token is part of the text where it is listed. */
Test(generation, shown_tokens_are_text)
{
    struct place p;
    place_open(&p, "cpu", CTX, 2);
    lk_error err;
    int32_t control = -1;
    for (int32_t i = 0; i < (int32_t)lk_tokenizer_n_vocab(p.t) && control < 0; i++) {
        control = lk_token_is_control(p.t, i) && !lk_token_is_eog(p.t, i) ? i : -1;
    }
    cr_assert_geq(control, 0);
    char text[64];
    size_t len;
    cr_assert_eq(lk_token_bytes(p.t, control, text, sizeof text, &len), LK_OK);
    for (int shown = 0; shown < 2; shown++) {
        lk_session *s;
        lk_generation *g;
        struct told told;
        lk_generation_options o = writes(3);
        o.shown = &control;
        o.n_shown = (size_t)shown;
        cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
        cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_generation_prompt(g, "Once", 4, 0, &err), LK_OK);
        cr_assert_eq(lk_generation_force(g, &control, 1, &err), LK_OK);
        finish(&p, g, 0, &told);
        cr_assert_eq(told.tokens[0], control);
        bool begins = told.len >= len && memcmp(told.text, text, len) == 0;
        cr_assert_eq(begins, shown == 1);
        lk_generation_close(&g);
        int32_t bad = 1 << 20;
        o.shown = &bad;
        o.n_shown = 1;
        cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_E_INVALID);
        lk_session_close(&s);
    }
    place_close(&p);
}

Test(generation, what_makes_no_sense_is_refused)
{
    struct place p, q;
    lk_error err;
    lk_session *s;
    lk_generation *g = NULL;
    place_open(&p, "cpu", 32, 1);
    place_open(&q, "cpu", 32, 1);
    cr_assert_eq(lk_session_open(p.e, &s, &err), LK_OK);
    const char *empty = "";
    lk_generation_options o = lk_generation_options_default();
    o.stop = &empty;
    o.n_stop = 1;
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_E_INVALID);
    cr_assert(!g && strstr(err.message, "stop text 0 is empty"), "%s", err.message);
    o = lk_generation_options_default();
    o.logprobs = LK_MAX_LOGPROBS + 1;
    cr_assert_eq(lk_generation_open(s, p.t, &o, &g, &err), LK_E_INVALID);
    cr_assert_eq(lk_generation_open(s, p.t, NULL, &g, &err), LK_OK);
    cr_assert_eq(lk_generation_step(p.e, &g, 1, 0, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "generation 0: no prompt"), "%s", err.message);
    int32_t ids[40] = {0}, bad = 1 << 20;
    cr_assert_eq(lk_generation_replace(g, ids, 1, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "before a prompt"), "%s", err.message);
    cr_assert_eq(lk_generation_begin(g, ids, 0, &err), LK_E_INVALID);
    cr_assert_eq(lk_generation_begin(g, &bad, 1, &err), LK_E_INVALID);
    cr_assert_eq(lk_generation_begin(g, ids, 33, &err), LK_E_FULL);
    cr_assert_eq(lk_generation_begin(g, ids, 5, &err), LK_OK);
    cr_assert_eq(lk_generation_replace(g, ids, 33, &err), LK_E_FULL);
    cr_assert_eq(lk_generation_replace(g, ids, 0, &err), LK_E_INVALID);
    cr_assert_eq(lk_generation_step(q.e, &g, 1, 0, &err), LK_E_INVALID);
    lk_generation *twice[2] = {g, g};
    cr_assert_eq(lk_generation_step(p.e, twice, 2, 0, &err), LK_E_INVALID);
    cr_assert_eq(lk_generation_step(p.e, &g, 1, 0, &err), LK_OK, "%s", err.message);
    lk_generation_close(&g);
    lk_generation_close(&g);
    lk_generation_close(NULL);
    lk_session_close(&s);
    place_close(&q);
    place_close(&p);
}
