/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixed steps: prompts and single tokens of many sessions in shared batches; each row is what the
 * session gets alone, and what goes wrong with one goes wrong with that one only.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/rng.h"
#include "tests/util/tiny.h"

enum { CROWD = 6, LENGTH = 150, CTX = 192 };

struct member {
    lk_session *s;
    int32_t ids[LENGTH];
    float *alone; /* [LENGTH][n_vocab] */
    size_t n_vocab, next_row;
    size_t stop_at; /* on_row says stop here */
};

static bool check_row(void *user, size_t pos, const float *row)
{
    struct member *m = user;
    tiny_same(row, m->alone + pos * m->n_vocab, m->n_vocab, "a row in the crowd");
    cr_assert(pos >= m->next_row, "rows come in order");
    m->next_row = pos + 1;
    return pos != m->stop_at;
}

static void open_crowd(lk_engine *e, struct member *m, unsigned seed)
{
    lk_error err;
    for (int i = 0; i < CROWD; i++) {
        m[i] = (struct member){.n_vocab = lk_engine_n_vocab(e), .stop_at = SIZE_MAX};
        tiny_tokens(m[i].ids, LENGTH, m[i].n_vocab, seed + (unsigned)i % 4); /* some are the same */
        m[i].alone = tiny_rows(e, m[i].ids, LENGTH);
        cr_assert_eq(lk_session_open(e, &m[i].s, &err), LK_OK, "%s", err.message);
    }
}

static void close_crowd(struct member *m)
{
    for (int i = 0; i < CROWD; i++) {
        lk_session_close(&m[i].s);
        free(m[i].alone);
    }
}

/* Chunks of random lengths and kinds until every timeline is whole. */
static void run_crowd(lk_engine *e, struct member *m, struct rng *random)
{
    for (bool more = true; more;) {
        lk_item items[CROWD];
        size_t n = 0;
        struct member *of[CROWD];
        lk_error err;
        more = false;
        for (int i = 0; i < CROWD; i++) {
            size_t held = lk_session_n_tokens(m[i].s), left = LENGTH - held;
            size_t take = rng_u32(random) % 3 == 0 ? 1 + rng_u32(random) % 90 : 1;
            if (left == 0 || rng_u32(random) % 4 == 0) {
                more |= left > 0;
                continue;
            }
            take = take < left ? take : left;
            m[i].next_row = held;
            of[n] = &m[i];
            items[n++] = (lk_item){.session = m[i].s,
                                   .tokens = m[i].ids + held,
                                   .n_tokens = take,
                                   .rows = (lk_rows_wanted)(rng_u32(random) % 3),
                                   .on_row = check_row,
                                   .user = &m[i]};
            more |= left > take;
        }
        cr_assert_eq(lk_engine_run(e, items, n, &err), LK_OK, "%s", err.message);
        for (size_t i = 0; i < n; i++) {
            size_t held = lk_session_n_tokens(of[i]->s);
            const float *row = lk_session_logits(of[i]->s);
            cr_assert_eq(items[i].status, LK_OK);
            cr_assert_eq(memcmp(lk_session_tokens(of[i]->s), of[i]->ids, held * 4), 0);
            cr_assert_eq(row == NULL, items[i].rows == LK_ROWS_NONE);
            cr_assert(items[i].rows != LK_ROWS_ALL || of[i]->next_row == held);
            if (row) {
                tiny_same(row, of[i]->alone + (held - 1) * of[i]->n_vocab, of[i]->n_vocab,
                          "the last row");
            }
        }
    }
}

Test(run, everyone_in_a_crowd_gets_the_rows_of_being_alone)
{
    static const char *const BACKENDS[] = {"scalar", "cpu"};
    struct rng random = {5};
    for (size_t i = 0; i < test_n_models(); i++) {
        for (int b = 0; b < 2; b++) {
            struct member m[CROWD];
            lk_model *model;
            lk_error err;
            lk_engine *e = tiny_engine(test_model_path(i), BACKENDS[b], CTX, 40, CROWD + 1, &model);
            open_crowd(e, m, (unsigned)(10 * i));
            if (b == 1) { /* two of them live on another lane */
                cr_assert_eq(lk_session_move(m[1].s, "scalar", &err), LK_OK, "%s", err.message);
                cr_assert_eq(lk_session_move(m[4].s, "scalar", &err), LK_OK, "%s", err.message);
            }
            run_crowd(e, m, &random);
            close_crowd(m);
            lk_engine_close(&e);
            lk_model_close(&model);
        }
    }
}

/* One context is full, one is cancelled: the others go on. */
Test(run, one_that_fails_fails_alone)
{
    enum { FULL = 0, CANCELLED = 2 };
    struct member m[CROWD];
    lk_model *model;
    lk_error err;
    lk_engine *e = tiny_engine(test_model_path(0), "cpu", LENGTH, 40, CROWD + 1, &model);
    open_crowd(e, m, 3);
    cr_assert_eq(lk_session_sync(m[FULL].s, m[FULL].ids, 100, &err), LK_OK, "%s", err.message);
    m[CANCELLED].stop_at = 70;
    lk_item items[CROWD];
    for (int i = 0; i < CROWD; i++) {
        items[i] = (lk_item){.session = m[i].s,
                             .tokens = m[i].ids,
                             .n_tokens = 90,
                             .rows = i == CANCELLED ? LK_ROWS_ALL : LK_ROWS_LAST,
                             .on_row = check_row,
                             .user = &m[i]};
    }
    cr_assert_eq(lk_engine_run(e, items, CROWD, &err), LK_E_FULL);
    cr_assert(strstr(err.message, "item 0: context full"), "%s", err.message);
    for (int i = 0; i < CROWD; i++) {
        size_t held = lk_session_n_tokens(m[i].s);
        if (i == FULL) {
            cr_assert(items[i].status == LK_E_FULL && held == 100 && lk_session_logits(m[i].s));
            continue;
        }
        cr_assert_eq(items[i].status, i == CANCELLED ? LK_E_CANCELLED : LK_OK);
        cr_assert(held == 90 || (i == CANCELLED && held > 70 && held < 90));
        cr_assert_eq(lk_session_sync(m[i].s, m[i].ids, LENGTH, &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(m[i].s), m[i].alone + (LENGTH - 1) * m[i].n_vocab, m[i].n_vocab,
                  "what failed beside it left no trace");
    }
    close_crowd(m);
    lk_engine_close(&e);
    lk_model_close(&model);
}

/* A token whose embedding is beyond the range fails the session that has it, not its neighbours. */
static void poisoned(const char *arch, int held)
{
    enum { POISON = 7, N = 30, VOCAB = 320 };
    struct model_params p = model_params_default(arch, LK_TYPE_Q8_0, 4);
    struct gguf_build b;
    char path[] = "/tmp/lockstep-run-XXXXXX";
    int fd = mkstemp(path);
    p.embed_type = LK_TYPE_F32;
    p.tied = false;
    model_build(&b, &p);
    lk_model *model;
    lk_error err;
    struct lk_gguf *gguf;
    const float huge = 0x1p41f;
    cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &gguf, &err), LK_OK, "%s", err.message);
    const uint8_t *row = lk_gguf_find_tensor(gguf, "token_embd.weight")->data;
    size_t at = (size_t)(row - b.data) + (size_t)POISON * (size_t)p.n_embd * sizeof huge;
    memcpy(b.data + at, &huge, sizeof huge);
    lk_gguf_close(&gguf);
    gb_save(&b, path);
    cr_assert(fd >= 0);
    close(fd);
    lk_engine *e = tiny_engine(path, "cpu", 64, 64, 4, &model);
    lk_session *s[3];
    int32_t ids[3][N];
    lk_item items[3];
    for (int i = 0; i < 3; i++) {
        tiny_tokens(ids[i], N, VOCAB, 20 + (unsigned)i);
        for (int t = 0; t < N; t++) {
            ids[i][t] = ids[i][t] == POISON ? POISON + 1 : ids[i][t];
        }
        cr_assert_eq(lk_session_open(e, &s[i], &err), LK_OK, "%s", err.message);
        cr_assert(held == 0 || !lk_session_sync(s[i], ids[i], (size_t)held, &err), "%s",
                  err.message);
        items[i] = (lk_item){.session = s[i],
                             .tokens = ids[i] + held,
                             .n_tokens = (size_t)(N - held),
                             .rows = LK_ROWS_LAST};
    }
    int32_t good = ids[1][20];
    ids[1][20] = POISON;
    cr_assert_eq(lk_engine_run(e, items, 3, &err), LK_E_RANGE);
    cr_assert(strstr(err.message, "item 1: embed"), "%s", err.message);
    for (int i = 0; i < 3; i += 2) {
        cr_assert(items[i].status == LK_OK && lk_session_n_tokens(s[i]) == N);
        float *alone = tiny_rows(e, ids[i], N);
        tiny_same(lk_session_logits(s[i]), alone + (N - 1) * VOCAB, VOCAB, "a neighbour");
        free(alone);
    }
    cr_assert_eq(lk_session_n_tokens(s[1]), (size_t)held);
    ids[1][20] = good; /* and it goes on from what it held */
    float *alone = tiny_rows(e, ids[1], N);
    cr_assert_eq(lk_session_sync(s[1], ids[1], N, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s[1]), alone + (N - 1) * VOCAB, VOCAB, "the one that failed");
    free(alone);
    for (int i = 0; i < 3; i++) {
        lk_session_close(&s[i]);
    }
    lk_engine_close(&e);
    lk_model_close(&model);
    gb_free(&b);
    unlink(path);
}

Test(run, a_value_out_of_range_is_one_sessions_own)
{
    poisoned("llama", 0);
    poisoned("llama", 11);
    poisoned("qwen35", 0); /* whose states are not those of a batch that failed */
    poisoned("qwen35", 11);
}

Test(run, items_that_make_no_sense_run_nothing)
{
    lk_model *model;
    lk_error err;
    lk_engine *e = tiny_engine(test_model_path(0), "cpu", 64, 32, 2, &model), *other;
    lk_session *s, *foreign;
    int32_t ids[2] = {1, 2}, bad[2] = {1, 1 << 20};
    cr_assert_eq(lk_engine_open(model, NULL, &other, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_open(other, &foreign, &err), LK_OK);
    const struct {
        lk_item second;
        const char *says;
    } cases[] = {
        {{.session = s, .tokens = ids, .n_tokens = 1}, "item 1: its session is listed twice"},
        {{.session = foreign, .tokens = ids, .n_tokens = 1},
         "item 1: its session belongs to another engine"},
        {{.tokens = ids, .n_tokens = 1}, "item 1: its session is NULL"},
    };
    lk_item two[2] = {{.session = s, .tokens = ids, .n_tokens = 2}};
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        two[1] = cases[i].second;
        cr_assert_eq(lk_engine_run(e, two, 2, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, cases[i].says), "%s", err.message);
        cr_assert_eq(lk_session_n_tokens(s), 0);
    }
    const lk_item alone[] = {
        {.session = s, .tokens = ids, .n_tokens = 0},
        {.session = s, .tokens = NULL, .n_tokens = 1},
        {.session = s, .tokens = bad, .n_tokens = 2},
        {.session = s, .tokens = ids, .n_tokens = 2, .rows = LK_ROWS_ALL},
        {.session = s, .tokens = ids, .n_tokens = 2, .rows = (lk_rows_wanted)9},
    };
    for (size_t i = 0; i < LK_COUNT(alone); i++) {
        two[0] = alone[i];
        cr_assert_eq(lk_engine_run(e, two, 1, &err), LK_E_INVALID, "case %zu", i);
        cr_assert_eq(lk_session_n_tokens(s), 0);
    }
    cr_assert_eq(lk_engine_run(e, NULL, 0, &err), LK_OK);
    for (int first = 0; first < 2; first++) { /* a step is a run of one token each */
        lk_session *both[2] = {first ? foreign : s, first ? s : foreign};
        cr_assert_eq(lk_engine_step(e, both, ids, 2, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, first ? "item 0: its session belongs to another engine"
                                            : "item 1: its session belongs to another engine"),
                  "%s", err.message);
        cr_assert_eq(lk_session_n_tokens(s) + lk_session_n_tokens(foreign), 0);
    }
    lk_session_close(&s);
    lk_session_close(&foreign);
    lk_engine_close(&other);
    lk_engine_close(&e);
    lk_model_close(&model);
}
