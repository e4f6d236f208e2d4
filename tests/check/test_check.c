/* SPDX-License-Identifier: Apache-2.0
 *
 * The check of a model (src/check/) on the CPU: no alarm where all is well, and one flipped bit
 * of any weight is found and named.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep_check.h"
#include "base/mem.h"
#include "gguf/model_file.h"
#include "check/check_run.h"
#include "tests/util/damage.h"
#include "tests/util/models.h"

static lk_engine_options cpu(void)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    o.threads = 2;
    return o;
}

/* What layers of a model may be without: rotation, in Gemma 4 a weight of v; and anything where
 * there are two kinds of layers. */
static bool may_lack(const char *path, const char *column)
{
    static const char *const TWO_KINDS[] = {"lfm2",          "granitehybrid", "nemotron_h",
                                            "qwen35",        "qwen3next",     "bailingmoe2",
                                            "glm4moe",       "ernie4_5-moe",  "dots1",
                                            "gemma4-shared", "gemma4-e",      "deepseek2-lite",
                                            "deepseek3",     "glm4moe-lite"};
    bool lacks = strncmp(column, "rope", 4) == 0 ||
                 (strcmp(column, "attn_v") == 0 && strstr(path, "gemma4"));
    for (size_t i = 0; i < LK_COUNT(TWO_KINDS); i++) {
        lacks |= strstr(path, TWO_KINDS[i]) != NULL;
    }
    return lacks;
}

/* Other tokens and positions than those of a whole check; of every sixth model, in turn, with
 * LK_FULL=1 of all. */
Test(check, no_alarm_when_quick)
{
    lk_engine_options o = cpu();
    lk_check_options co = lk_check_options_default();
    size_t step = test_is_sanitized_sample() ? 18 : test_is_full() ? 1 : 6;
    co.quick = true;
    test_samples("quick checks of five sixths of the models");
    for (size_t i = test_turn() % step; i < test_n_models(); i += step) {
        lk_model *m;
        lk_error err;
        lk_check_report *r;
        cr_assert_eq(lk_model_open(test_model_path(i), &m, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_OK, "%s", err.message);
        cr_assert_eq(r->verdict, LK_CHECK_EQUAL, "%s: %s", test_model_path(i), r->sentence);
        lk_check_free(&r);
        lk_model_close(&m);
    }
}

Test(check, no_alarm_on_any_architecture)
{
    lk_engine_options o = cpu();
    size_t step = test_is_sanitized_sample() ? 14 : test_is_full() ? 1 : 4;
    for (size_t i = test_turn() % step; i < test_n_models(); i += step) {
        lk_model *m;
        lk_error err;
        lk_check_report *r;
        cr_assert_eq(lk_model_open(test_model_path(i), &m, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_check(m, &o, NULL, &r, &err), LK_OK, "%s", err.message);
        cr_assert_eq(r->verdict, LK_CHECK_EQUAL, "%s: %s", test_model_path(i), r->sentence);
        cr_assert_not(r->has_difference);
        cr_assert(strstr(r->sentence, "no Vulkan device was checked"), "%s", r->sentence);
        cr_assert_gt(r->n_entries, 15);
        uint64_t compared = 0;
        for (size_t e = 0; e < r->n_entries; e++) {
            compared += r->entries[e].n_values;
            cr_assert_neq(r->entries[e].state, LK_CHECK_NONE, "%s", r->entries[e].what);
        }
        cr_assert_gt(compared, 1000000);
        for (int l = 1; l <= r->n_layers; l++) { /* every layer has the columns of the first */
            for (int k = 0; k < r->n_columns; k++) {
                uint8_t cell = r->cells[l * r->n_columns + k];
                uint8_t first = r->cells[r->n_columns + k];
                bool left_out = (cell == LK_CHECK_NONE) != (first == LK_CHECK_NONE) &&
                                may_lack(test_model_path(i), r->columns[k]);
                cr_assert(cell == first || left_out, "%s, layer %d: %s", test_model_path(i), l - 1,
                          r->columns[k]);
                cr_assert(r->cells[l * r->n_columns + k] <= LK_CHECK_EQUAL);
            }
        }
        cr_assert_eq(r->depths[r->n_depths - 1].depth, r->n_layers);
        lk_check_free(&r);
        lk_model_close(&m);
    }
}

/* One bit of every tensor in turn, as if it had been packed or loaded wrongly. */
Test(check, a_flipped_bit_is_found_and_its_tensor_named)
{
    static const char *const NAMES[] = {"gemma3", "qwen2", "phi3"};
    lk_engine_options o = cpu();
    lk_check_options co = lk_check_options_default();
    co.quick = true;
    for (size_t i = 0; i < 3; i++) {
        char path[600];
        lk_model *m;
        lk_error err;
        struct lk_plan *plan;
        snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.gguf", NAMES[i]);
        cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_plan_build(m->gguf, &plan, &err), LK_OK, "%s", err.message);
        /* each of the 13 weights of a gemma3 layer, if not in each layer */
        int step = test_is_full() ? 1 : i == 0 ? 5 : 3;
        for (int w = (int)(test_turn() % (size_t)step); w < plan->n_weights; w += step) {
            lk_check_report *r;
            struct damage d;
            damage_bit(&d, plan, w, co.quick);
            co.layer = d.layer;
            cr_assert_eq(lk_check_with(m, &o, &co, plan, &r, &err), LK_OK, "%s", err.message);
            damage_undo(&d, plan);
            cr_assert_eq(r->verdict, LK_CHECK_DIFFERS, "%s", plan->weights[w].name);
            cr_assert(r->has_difference);
            cr_assert_str_eq(r->difference.tensor, plan->weights[w].name, "found %s %s",
                             r->difference.op, r->difference.tensor);
            cr_assert_eq(r->difference.layer, d.layer);
            cr_assert_gt(r->difference.n_shown, 0);
            cr_assert_neq(r->difference.shown[0].found, r->difference.shown[0].expected);
            cr_assert_gt(r->difference.shown[0].ulps, 0);
            lk_check_free(&r);
        }
        lk_plan_free(&plan);
        lk_model_close(&m);
    }
}

Test(check, only_what_is_asked_for)
{
    lk_engine_options o = cpu();
    lk_check_options co = lk_check_options_default();
    lk_model *m;
    lk_error err;
    lk_check_report *r;
    cr_assert_eq(lk_model_open(test_model_path(0), &m, &err), LK_OK, "%s", err.message);
    co.layer = 1;
    co.op = "attn_q";
    cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_OK, "%s", err.message);
    int cells = 0;
    for (int i = 0; i < (r->n_layers + 2) * r->n_columns; i++) {
        cells += r->cells[i] != LK_CHECK_NONE;
        cr_assert(r->cells[i] == LK_CHECK_NONE ||
                  (i / r->n_columns == 2 && strcmp(r->columns[i % r->n_columns], "attn_q") == 0));
    }
    cr_assert_eq(cells, 1);
    cr_assert_eq(r->n_depths, 0);
    lk_check_free(&r);
    cr_assert_null(r);
    co.op = "no_such_op";
    cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "no_such_op"), "%s", err.message);
    co.op = NULL;
    co.layer = 99;
    cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_E_INVALID);
    cr_assert_null(r);
    co.size = 1;
    cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_E_INVALID);
    co = lk_check_options_default();
    o.backend = "vulkan";
    o.device = "no such device";
    cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_E_DEVICE);
    lk_model_close(&m);
}

static bool stop(void *user, const char *what, uint64_t done, uint64_t total)
{
    int *left = user;
    (void)what;
    cr_assert_leq(done, total);
    return --*left > 0;
}

Test(check, ends_when_told_to)
{
    lk_engine_options o = cpu();
    lk_model *m;
    lk_error err;
    lk_check_report *r;
    cr_assert_eq(lk_model_open(test_model_path(0), &m, &err), LK_OK, "%s", err.message);
    o.progress = stop;
    for (int steps = 1; steps < 12; steps += 3) {
        int left = steps;
        o.user = &left;
        cr_assert_eq(lk_check(m, &o, NULL, &r, &err), LK_E_CANCELLED);
        cr_assert_null(r);
    }
    lk_model_close(&m);
}
