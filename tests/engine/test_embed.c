/* SPDX-License-Identifier: Apache-2.0
 *
 * Embed: against what `transformers` says (tests/golden/make.py), by bits over backends, batches
 * and lanes of two parts; poolings; what is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

enum { MAX_TOKENS = 64, MAX_EMBD = 256 };

static lk_engine *open_engine(const char *path, const char *backend, uint32_t n_batch,
                              lk_model **model)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = backend;
    o.n_ctx = MAX_TOKENS;
    o.n_batch = n_batch;
    o.embeddings = true;
    return tiny_engine_with(path, &o, model);
}

static void embed(lk_engine *e, const int32_t *ids, size_t n, lk_pooling pooling, bool plain,
                  float *out)
{
    lk_error err;
    cr_assert_eq(lk_embed(e, ids, n, pooling, plain, out, &err), LK_OK, "%s", err.message);
}

/* `batch`: the first size of batches that it runs with. */
static void is_golden(const char *name, uint32_t batch)
{
    char path[512];
    float got[MAX_EMBD];
    snprintf(path, sizeof path, LK_TEST_DIR "/golden/embed-%s.bin", name);
    struct tiny_golden g = tiny_golden_read(path, 2);
    cr_assert(g.n_tokens <= MAX_TOKENS && g.n_cols <= MAX_EMBD);
    snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.gguf", name);
    for (; batch <= 64; batch += 63) {
        lk_model *m;
        lk_engine *e = open_engine(path, "ref", batch, &m);
        cr_assert_eq(lk_engine_n_embd(e), g.n_cols);
        for (uint32_t i = 0; i < 2; i++) {
            double worst = 0;
            embed(e, g.ids, g.n_tokens, i ? LK_POOLING_LAST : LK_POOLING_MEAN, false, got);
            for (uint32_t k = 0; k < g.n_cols; k++) {
                worst = fmax(worst, fabs((double)got[k] - (double)g.rows[i * g.n_cols + k]));
            }
            /* a point's length is 1: its numbers spread by 1 / sqrt(n) */
            cr_log_info("%s, batches of %u, pooling %u: %.2e", name, batch, i,
                        worst * sqrt(g.n_cols));
            cr_expect_lt(worst * sqrt(g.n_cols), TOL_REF_GOLDEN);
        }
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    tiny_golden_free(&g);
}

Test(embed, ref_says_what_transformers_says)
{
    is_golden("qwen3", 1);
    is_golden("gemma-embedding", 64); /* a text is a batch */
    is_golden("bert", 64);
    is_golden("nomic-bert", 64);
}

Test(embed, rows_are_pooled_and_scaled)
{
    enum { N = 9 };
    const char *path = test_model_path(0);
    lk_model *m;
    int32_t ids[N];
    float rows[3][MAX_EMBD], first[MAX_EMBD], mean[MAX_EMBD];
    lk_engine *e = open_engine(path, "scalar", 64, &m);
    size_t n = lk_engine_n_embd(e);
    tiny_tokens(ids, N, test_model_n_vocab(path), 3);
    double sum[MAX_EMBD] = {0};
    for (size_t t = 1; t <= N; t++) { /* the last row of each beginning */
        embed(e, ids, t, LK_POOLING_LAST, true, rows[0]);
        if (t == 1) {
            memcpy(first, rows[0], n * sizeof *first);
        }
        for (size_t i = 0; i < n; i++) {
            sum[i] += (double)rows[0][i];
        }
    }
    embed(e, ids, N, LK_POOLING_FIRST, true, rows[1]);
    tiny_same(rows[1], first, n, "the first row");
    embed(e, ids, N, LK_POOLING_MEAN, true, rows[1]);
    embed(e, ids, N, LK_POOLING_MEAN, false, rows[2]);
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        mean[i] = (float)(sum[i] / N);
        squares += (double)rows[2][i] * (double)rows[2][i];
        cr_assert_float_eq(rows[2][i] * rows[1][0], rows[1][i] * rows[2][0], 1e-6f);
    }
    tiny_same(rows[1], mean, n, "the mean");
    cr_assert_float_eq(squares, 1.0, 1e-6);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(embed, bits_of_every_way)
{
    enum { N = 50 };
    static const struct {
        const char *backend;
        uint32_t n_batch;
    } ways[] = {{"scalar", 64}, {"cpu", 64}, {"cpu", 1}, {"cpu", 7}, {"scalar", 7}};
    static const char *const names[] = {"qwen3", "cohere2", "gemma2"};
    for (size_t k = 0; k < LK_COUNT(names); k++) {
        char path[512];
        int32_t ids[N];
        float want[2][MAX_EMBD], got[MAX_EMBD];
        snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.gguf", names[k]);
        tiny_tokens(ids, N, test_model_n_vocab(path), 5);
        for (size_t w = 0; w < LK_COUNT(ways); w++) {
            lk_model *m;
            lk_engine *e = open_engine(path, ways[w].backend, ways[w].n_batch, &m);
            for (int i = 0; i < 2; i++) {
                embed(e, ids, N, i ? LK_POOLING_LAST : LK_POOLING_MEAN, false, w ? got : want[i]);
                if (w) {
                    tiny_same(got, want[i], lk_engine_n_embd(e), path);
                }
            }
            lk_engine_close(&e);
            lk_model_close(&m);
        }
    }
}

/* ---- texts that are read as a whole ---- */

#define WHOLE LK_TEST_DIR "/golden/tiny-gemma-embedding.gguf"

/* Bits over backends, alone and in parts, and beside others in a batch. */
Test(embed, bits_of_texts_read_as_a_whole)
{
    enum { N = 50, SHORT = 13 };
    enum { WAYS = 5, FILES = 3 };
    static const char *const files[FILES] = {WHOLE, LK_TEST_DIR "/golden/tiny-bert.gguf",
                                             LK_TEST_DIR "/golden/tiny-nomic-bert.gguf"};
    static const struct {
        const char *backend, *placement[2]; /* of seven layers, of three */
        uint32_t n_batch;
    } ways[WAYS] = {{"scalar", {NULL, NULL}, 64},
                    {"cpu", {NULL, NULL}, 64},
                    {"cpu", {NULL, NULL}, 50},
                    {"auto", {"cpu:0-2,scalar:3-6", "cpu:0-1,scalar:2"}, 64},
                    {"auto", {"scalar:0-4,cpu:5-6", "scalar:0,cpu:1-2"}, 50}};
    int32_t ids[N];
    float want[3][MAX_EMBD], got[MAX_EMBD];
    for (size_t i = 0; i < FILES * WAYS; i++) {
        size_t w = i % WAYS;
        const char *path = files[i / WAYS];
        tiny_tokens(ids, N, test_model_n_vocab(path), 5);
        lk_engine_options o = lk_engine_options_default();
        lk_model *m;
        o.backend = ways[w].backend;
        o.placement = ways[w].placement[i >= WAYS];
        o.n_ctx = MAX_TOKENS;
        o.n_batch = ways[w].n_batch;
        o.embeddings = true;
        lk_engine *e = tiny_engine_with(path, &o, &m);
        for (int k = 0; k < 3; k++) {
            embed(e, ids, k == 2 ? SHORT : N, k == 1 ? LK_POOLING_LAST : LK_POOLING_MEAN, false,
                  w ? got : want[k]);
            if (w) {
                tiny_same(got, want[k], lk_engine_n_embd(e), path);
            }
        }
        lk_engine_close(&e);
        lk_model_close(&m);
        cr_assert_neq(memcmp(want[0], want[2], sizeof want[0]), 0);
    }
}

struct kept {
    float row[MAX_EMBD];
    size_t n;
};

static bool keep_first(void *user, size_t pos, const float *row)
{
    struct kept *k = user;
    if (pos == 0) {
        memcpy(k->row, row, k->n * sizeof *row);
    }
    return true;
}

/* Several texts in a step: a batch has as many whole ones as it has room for. */
Test(embed, texts_share_batches_and_are_not_cut)
{
    enum { TEXTS = 4, N = 23 };
    lk_engine_options o = lk_engine_options_default();
    lk_session *s[TEXTS];
    lk_item items[TEXTS];
    struct kept kept[TEXTS];
    int32_t ids[TEXTS * N];
    float want[MAX_EMBD];
    lk_model *m;
    lk_error err;
    o.backend = "cpu";
    o.n_ctx = MAX_TOKENS;
    o.n_batch = 50; /* two of them, and a part of a third that must wait */
    o.n_sessions = TEXTS + 1;
    o.embeddings = true;
    lk_engine *e = tiny_engine_with(WHOLE, &o, &m);
    tiny_tokens(ids, TEXTS * N, test_model_n_vocab(WHOLE), 8);
    for (int i = 0; i < TEXTS; i++) {
        cr_assert_eq(lk_session_open(e, &s[i], &err), LK_OK);
        kept[i].n = lk_engine_n_embd(e);
        items[i] = (lk_item){.session = s[i],
                             .tokens = ids + i * N,
                             .n_tokens = N,
                             .rows = LK_ROWS_ALL,
                             .on_row = keep_first,
                             .user = &kept[i]};
    }
    cr_assert_eq(lk_engine_run(e, items, TEXTS, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < TEXTS; i++) {
        embed(e, ids + i * N, N, LK_POOLING_FIRST, true, want);
        tiny_same(kept[i].row, want, kept[i].n, "a text beside others");
    }
    items[0].n_tokens = 1; /* behind what is held */
    cr_assert_eq(lk_engine_run(e, items, 1, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "reads a text as a whole"), "%s", err.message);
    cr_assert_eq(lk_session_n_tokens(s[0]), N);
    cr_assert_eq(lk_session_truncate(s[0], N - 1, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s[0], ids, N, &err), LK_OK, "%s", err.message); /* all anew */
    for (int i = 0; i < TEXTS; i++) {
        lk_session_close(&s[i]);
    }
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(embed, a_text_longer_than_a_batch_is_refused)
{
    int32_t ids[MAX_TOKENS];
    float out[MAX_EMBD];
    lk_error err;
    lk_model *m;
    lk_engine *e = open_engine(WHOLE, "cpu", 20, &m), *other = NULL;
    tiny_tokens(ids, MAX_TOKENS, test_model_n_vocab(WHOLE), 8);
    embed(e, ids, 20, LK_POOLING_MEAN, false, out);
    cr_assert_eq(lk_embed(e, ids, 21, LK_POOLING_MEAN, false, out, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "21 tokens") && strstr(err.message, "room for 20") &&
                  strstr(err.message, "--batch"),
              "%s", err.message);
    embed(e, ids, 20, LK_POOLING_LAST, false, out);
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    cr_assert_eq(lk_engine_open(m, &o, &other, &err), LK_E_UNSUPPORTED);
    cr_assert(!other && strstr(err.message, "lockstep embed"), "%s", err.message);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* A position has a row, or there is none of it. */
Test(embed, no_position_is_beyond_those_that_were_learnt)
{
    enum { LEARNT = 72 }; /* of the file */
    int32_t ids[LEARNT + 1];
    float out[MAX_EMBD];
    lk_error err;
    lk_model *m;
    const char *path = LK_TEST_DIR "/golden/tiny-bert.gguf";
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    o.embeddings = true;
    lk_engine *e = tiny_engine_with(path, &o, &m), *other = NULL;
    cr_assert_eq(lk_engine_n_ctx(e), LEARNT);
    tiny_tokens(ids, LEARNT + 1, test_model_n_vocab(path), 8);
    embed(e, ids, LEARNT, LK_POOLING_MEAN, false, out);
    cr_assert_eq(lk_embed(e, ids, LEARNT + 1, LK_POOLING_MEAN, false, out, &err), LK_E_FULL);
    cr_assert(strstr(err.message, "73") && strstr(err.message, "72"), "%s", err.message);
    o.n_ctx = LEARNT + 1;
    cr_assert_eq(lk_engine_open(m, &o, &other, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "at most 72"), "%s", err.message);
    o.n_ctx = 0;
    o.embeddings = false;
    cr_assert_eq(lk_engine_open(m, &o, &other, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "'bert'") && strstr(err.message, "lockstep embed"), "%s",
              err.message);
    lk_engine_close(&e);
    lk_model_close(&m);
}

static void write_pooling(struct gguf_build *b, const void *kind)
{
    gb_key_u32(b, "qwen3.pooling_type", *(const uint32_t *)kind);
}

Test(embed, the_files_own_pooling)
{
    static const uint32_t kinds[] = {1, 2, 3, 4, 0};
    enum { N = 7 };
    char path[] = "/tmp/lk-test-embed-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    for (size_t k = 0; k < LK_COUNT(kinds); k++) {
        struct model_params p = model_params_default("qwen3", LK_TYPE_Q8_0, 4);
        struct gguf_build b;
        lk_model *m;
        lk_error err;
        int32_t ids[N];
        float got[MAX_EMBD], want[MAX_EMBD];
        p.add_keys = write_pooling;
        p.keys = &kinds[k];
        model_build(&b, &p);
        gb_save(&b, path);
        gb_free(&b);
        lk_engine *e = open_engine(path, "cpu", 64, &m);
        tiny_tokens(ids, N, 256, 9);
        lk_status status = lk_embed(e, ids, N, LK_POOLING_FILE, false, got, &err);
        if (kinds[k] >= 1 && kinds[k] <= 3) {
            cr_assert_eq(status, LK_OK, "%s", err.message);
            embed(e, ids, N, (lk_pooling)kinds[k], false, want);
            tiny_same(got, want, lk_engine_n_embd(e), "the file's pooling");
        } else {
            cr_assert_eq(status, LK_E_UNSUPPORTED);
            cr_assert(strstr(err.message, "qwen3.pooling_type"), "%s", err.message);
        }
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    unlink(path);
}

Test(embed, what_makes_no_sense_is_refused)
{
    lk_model *m, *other;
    lk_error err;
    lk_session *s;
    lk_generation *g = (lk_generation *)1;
    int32_t ids[MAX_TOKENS + 1] = {1, 2, 3}, outside = -1;
    float out[MAX_EMBD];
    lk_engine *e = open_engine(test_model_path(0), "cpu", 64, &m);
    cr_assert_eq(lk_embed(e, ids, 0, LK_POOLING_MEAN, false, out, &err), LK_E_INVALID);
    cr_assert_eq(lk_embed(e, ids, 3, (lk_pooling)9, false, out, &err), LK_E_INVALID);
    cr_assert_eq(lk_embed(e, &outside, 1, LK_POOLING_MEAN, false, out, &err), LK_E_INVALID);
    cr_assert_eq(lk_embed(e, ids, MAX_TOKENS + 1, LK_POOLING_MEAN, false, out, &err), LK_E_FULL);
    embed(e, ids, 3, LK_POOLING_MEAN, false, out); /* nothing of it stays */
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_generation_open(s, NULL, NULL, &g, &err), LK_E_INVALID);
    cr_assert(g == NULL && strstr(err.message, "embeddings"), "%s", err.message);
    lk_session_close(&s);
    lk_engine *plain = tiny_engine(test_model_path(0), "cpu", 64, 64, 1, &other);
    cr_assert_eq(lk_embed(plain, ids, 3, LK_POOLING_MEAN, false, out, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "not opened for embeddings"), "%s", err.message);
    lk_engine_close(&plain);
    lk_model_close(&other);
    lk_engine_close(&e);
    lk_model_close(&m);
}
