/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref models: whole models with F32 weights, the contract against ideal mathematics and against
 * the reference that rounds q, K, V and p where the contract does, at 1, 2, 4 and 8 layers. Without
 * LK_FULL=1 all but the first architecture have as many layers as they have kinds, and 2. A wrong
 * RoPE convention, head mapping or mask is a hundred times these bounds.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

enum { TOKENS = 80 }; /* past a KV block and gemma3's window */

/* Over all rows: the largest difference, and its root mean square. */
struct distance {
    double worst, rms;
};
static struct distance compare(const float *got, const float *want, size_t n_vocab)
{
    double worst = 0, sum = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        worst = fmax(worst, tiny_row_error(got + t * n_vocab, want + t * n_vocab, n_vocab, &sum));
    }
    return (struct distance){worst, sqrt(sum / (double)(TOKENS * n_vocab))};
}

static lk_engine *engine_of(const char *path, const char *backend, const char *level, lk_model **m)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = backend;
    o.cpu_level = level;
    o.n_ctx = 128;
    o.n_batch = TOKENS;
    o.n_sessions = 2; /* a load holds the old cache until the new one is whole */
    return tiny_engine_with(path, &o, m);
}

static float *rows_of(const char *path, const char *backend, const char *level, const int32_t *ids)
{
    lk_model *m;
    lk_engine *e = engine_of(path, backend, level, &m);
    float *rows = tiny_rows(e, ids, TOKENS);
    lk_engine_close(&e);
    lk_model_close(&m);
    return rows;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One token from the same cache: scalar's, saved and loaded. Then the roundings of all earlier K
 * and V are the same by construction, and what is left is float arithmetic, but for a value of
 * this token that lies so near a tie that the two round it to different sides. The median of the
 * rows' largest differences has no such row in it. */
static double one_token_from_the_same_cache(const char *path, const int32_t *ids, double *worst)
{
    enum { FROM = 57, N = TOKENS - FROM };
    char saved[] = "/tmp/lk-test-session-XXXXXX";
    int fd = mkstemp(saved);
    cr_assert(fd >= 0);
    close(fd);
    lk_error err;
    lk_model *ms, *mr;
    lk_engine *es = engine_of(path, "scalar", "auto", &ms);
    lk_engine *er = engine_of(path, "ref", "rounded", &mr);
    size_t n_vocab = lk_engine_n_vocab(es);
    lk_session *s, *r;
    cr_assert_eq(lk_session_open(es, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_open(er, &r, &err), LK_OK, "%s", err.message);
    double errors[N];
    for (size_t t = FROM; t < TOKENS; t++) {
        cr_assert_eq(lk_session_sync(s, ids, t, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_save(s, saved, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_load(r, saved, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, t + 1, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(r, ids, t + 1, &err), LK_OK, "%s", err.message);
        errors[t - FROM] =
            tiny_row_error(lk_session_logits(s), lk_session_logits(r), n_vocab, NULL);
    }
    qsort(errors, N, sizeof errors[0], by_value);
    *worst = errors[N - 1];
    lk_session_close(&s);
    lk_session_close(&r);
    lk_engine_close(&es);
    lk_engine_close(&er);
    lk_model_close(&ms);
    lk_model_close(&mr);
    unlink(saved);
    return errors[N / 2];
}

Test(ref_models, scalar_stays_near_ideal_mathematics)
{
    static const char *const archs[] = MODEL_ARCHS;
    char path[] = "/tmp/lk-test-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    test_samples("the reference's models of more layers");
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        double first = 0, factor = arch_shape_of(archs[a])->post_norms ? TOL_POST_NORM : 1.0;
        if (arch_shape_of(archs[a])->both_ways) {
            continue; /* its rows are not next tokens': tests/engine/test_embed.c */
        }
        if (!test_is_full() && (a + test_turn()) % 3) { /* the goldens have each */
            continue;
        }
        int most = test_is_full() ? 8 : a == 0 ? 4 : 2;
        const struct arch_shape *shape = arch_shape_of(archs[a]);
        int kinds = shape->one_mixer ? 3 : arch_has_states(shape) ? 2 : 1; /* of layers, in turns */
        for (int layers = 1; layers <= most; layers *= 2) {
            struct model_params p = model_params_default(archs[a], LK_TYPE_F32, (unsigned)a + 7);
            struct gguf_build b;
            int32_t ids[TOKENS];
            p.n_layer = layers;
            p.n_ff = 256;
            p.n_used = p.n_expert; /* a choice among them is no continuous function of a row */
            char groups[64];
            if (arch_shape_of(archs[a])->groups > 0) {
                snprintf(groups, sizeof groups, "%s.expert_group_used_count", archs[a]);
                p.set_key = groups;
                p.set_u32 = (uint32_t)arch_shape_of(archs[a])->groups;
            }
            model_build(&b, &p);
            gb_save(&b, path);
            gb_free(&b);
            tiny_tokens(ids, TOKENS, (size_t)p.n_vocab, p.seed);
            float *got = rows_of(path, "scalar", "auto", ids);
            float *ideal = rows_of(path, "ref", "auto", ids);
            float *rounded = rows_of(path, "ref", "rounded", ids);
            struct distance far = compare(got, ideal, (size_t)p.n_vocab);
            struct distance near = compare(got, rounded, (size_t)p.n_vocab);
            first = layers <= kinds ? far.rms / layers : first;
            cr_log_info("%s, %d layers: ideal %.2e (rms %.2e), rounded %.2e (rms %.2e)", archs[a],
                        layers, far.worst, far.rms, near.worst, near.rms);
            cr_expect_lt(far.worst, factor * TOL_SCALAR_IDEAL(layers), "%s, %d layers: %.2e",
                         archs[a], layers, far.worst);
            cr_expect_leq(far.rms, first * layers, "%s, %d layers: %.2e grows faster than layers",
                          archs[a], layers, far.rms);
            double rounded_most = TOL_SCALAR_ROUNDED * layers * (shape->latent ? TOL_LATENT : 1.0);
            cr_expect_lt(near.worst, rounded_most, "%s, %d layers: %.2e", archs[a], layers,
                         near.worst);
            if (layers <= (test_is_full() || a == 0 ? 4 : kinds)) {
                double worst, median = one_token_from_the_same_cache(path, ids, &worst);
                cr_log_info("    one token: %.2e (median %.2e)", worst, median);
                double one = factor * TOL_ONE_TOKEN * (shape->latent ? TOL_LATENT : 1.0);
                cr_expect_lt(median, layers == 1 ? one : 2 * one * layers, "%s, %d layers: %.2e",
                             archs[a], layers, median);
                cr_expect_lt(worst, rounded_most, "%s, %d layers: %.2e", archs[a], layers, worst);
            }
            free(got);
            free(ideal);
            free(rounded);
        }
    }
    unlink(path);
}
