/* SPDX-License-Identifier: Apache-2.0
 *
 * The promises that the whole public header makes: NULL after a failure, close of nothing, options
 * of an older header, an engine that is closed before its sessions.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "lockstep_check.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

Test(api, closing_nothing_does_nothing)
{
    lk_model *m = NULL;
    lk_tokenizer *t = NULL;
    lk_engine *e = NULL;
    lk_session *s = NULL;
    lk_sampler *p = NULL;
    lk_check_report *r = NULL;
    lk_model_close(&m);
    lk_model_close(NULL);
    lk_tokenizer_close(&t);
    lk_tokenizer_close(NULL);
    lk_engine_close(&e);
    lk_engine_close(NULL);
    lk_session_close(&s);
    lk_session_close(NULL);
    lk_sampler_close(&p);
    lk_sampler_close(NULL);
    lk_check_free(&r);
    lk_check_free(NULL);
}

Test(api, what_failed_to_open_is_null)
{
    lk_error err;
    lk_model *m = (lk_model *)&err, *model;
    lk_tokenizer *t = (lk_tokenizer *)&err;
    lk_engine *e = (lk_engine *)&err;
    lk_sampler *p = (lk_sampler *)&err;
    lk_check_report *r = (lk_check_report *)&err;
    cr_assert(lk_model_open("/no/such/model.gguf", &m, &err) == LK_E_IO && !m);
    lk_engine *whole = tiny_engine(test_model_path(0), "cpu", 64, 32, 1, &model);
    cr_assert_eq(lk_model_open(LK_TEST_DIR "/fuzz/session.gguf", &m, &err), LK_OK);
    cr_assert(lk_tokenizer_open(m, &t, &err) && !t, "it has no vocabulary");
    lk_model_close(&m);
    lk_engine_options o = lk_engine_options_default();
    o.backend = "abacus";
    cr_assert(lk_engine_open(model, &o, &e, &err) == LK_E_INVALID && !e);
    lk_sampler_options so = lk_sampler_options_default();
    so.temperature = -1.0f;
    cr_assert(lk_sampler_open(&so, 10, &p, &err) == LK_E_INVALID && !p);
    lk_check_options co = lk_check_options_default();
    co.layer = 1000;
    cr_assert(lk_check(model, NULL, &co, &r, &err) == LK_E_INVALID && !r);
    lk_engine_close(&whole);
    lk_model_close(&model);
}

/* A program that was built when the struct was shorter: the members it does not know are preset. */
Test(api, options_of_an_older_header_are_taken)
{
    lk_model *m;
    lk_engine *e;
    lk_error err;
    lk_engine_options o = lk_engine_options_default();
    cr_assert_eq(lk_model_open(test_model_path(0), &m, &err), LK_OK, "%s", err.message);
    o.backend = "cpu";
    o.size = offsetof(lk_engine_options, n_sessions);
    o.n_sessions = 1u << 30; /* beyond what this program knows: must not be read */
    o.cpu_level = (const char *)1;
    cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_OK, "%s", err.message);
    lk_engine_close(&e);
    static const size_t BAD[] = {0, 1, sizeof o + 8};
    for (size_t i = 0; i < LK_COUNT(BAD); i++) {
        o = lk_engine_options_default();
        o.size = BAD[i];
        cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, "engine options: size is"), "%s", err.message);
        cr_assert_eq(lk_devices(&o, NULL, NULL, &err), LK_E_INVALID);
        cr_assert_eq(lk_device_disable(&o, "matrix", &err), LK_E_INVALID);
        cr_assert(strstr(err.message, "engine options: size is"), "%s", err.message);
        cr_assert_eq(lk_bench_kernels(&o, NULL, 1, NULL, NULL, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, "engine options: size is"), "%s", err.message);
        lk_check_report *report;
        cr_assert_eq(lk_check(m, &o, NULL, &report, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, "engine options: size is"), "%s", err.message);
        lk_sampler *p;
        lk_sampler_options so = lk_sampler_options_default();
        so.size = BAD[i];
        cr_assert_eq(lk_sampler_open(&so, 10, &p, &err), LK_E_INVALID);
    }
    lk_model_close(&m);
}

/* An engine closed before its sessions goes with the last of them. */
Test(api, sessions_outlive_the_close_of_their_engine)
{
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(test_model_path(0), "cpu", 64, 32, 2, &m);
    int32_t ids[40];
    tiny_tokens(ids, 40, lk_engine_n_vocab(e), 1);
    float *rows = tiny_rows(e, ids, 40);
    size_t n_vocab = lk_engine_n_vocab(e);
    lk_session *a, *b;
    cr_assert_eq(lk_session_open(e, &a, &err), LK_OK);
    cr_assert_eq(lk_session_open(e, &b, &err), LK_OK);
    lk_engine_close(&e);
    cr_assert_null(e);
    lk_session_close(&a);
    cr_assert_eq(lk_session_sync(b, ids, 40, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(b), rows + 39 * n_vocab, n_vocab, "after the close");
    lk_session_close(&b);
    lk_model_close(&m);
    free(rows);
}
