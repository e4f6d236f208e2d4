/* SPDX-License-Identifier: Apache-2.0
 *
 * The check of a model on a Vulkan device: no alarm where all is well, a bit flipped in one
 * uploaded tensor is found and named with the shader that read it, and a feature that was switched
 * off stays off until it is switched on.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf/model_file.h"
#include "check/check_run.h"
#include "tests/util/damage.h"
#include "tests/util/models.h"
#include "tests/vulkan/vk_pair.h"

static lk_engine_options first_device(void)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = "vulkan";
    o.device = "0";
    o.cache_dir = getenv("LK_TEST_CACHE");
    return o;
}

Test(vk_check, no_alarm)
{
    lk_engine_options o = first_device();
    lk_check_options co = lk_check_options_default();
    co.quick = true;
    size_t step = vk_pair_turns() ? 27 : vk_pair_few() ? 18 : 5;
    size_t n = vk_pair_samples() ? step : test_n_models(); /* SwiftShader has one */
    for (size_t i = test_turn() % step; i < n; i += step) {
        lk_model *m;
        lk_error err;
        lk_check_report *r;
        cr_assert_eq(lk_model_open(test_model_path(i), &m, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_check(m, &o, &co, &r, &err), LK_OK, "%s", err.message);
        cr_assert_eq(r->verdict, LK_CHECK_EQUAL, "%s: %s", test_model_path(i), r->sentence);
        cr_assert(r->has_device && r->device.exact && r->device.features[0]);
        lk_check_free(&r);
        lk_model_close(&m);
    }
}

Test(vk_check, a_bit_flipped_in_an_uploaded_tensor)
{
    if (vk_pair_leaves("a check of a flipped bit")) {
        return;
    }
    lk_engine_options o = first_device();
    lk_check_options co = lk_check_options_default();
    lk_model *m;
    lk_error err;
    struct lk_plan *plan;
    co.quick = true;
    cr_assert_eq(lk_model_open(LK_TEST_DIR "/golden/tiny-gemma3.gguf", &m, &err), LK_OK);
    cr_assert_eq(lk_plan_build(m->gguf, &plan, &err), LK_OK, "%s", err.message);
    bool one = vk_pair_turns();
    int step = vk_pair_few() && !one ? 67 : 29, n = (plan->n_weights + step - 1) / step;
    int first = one ? (int)(test_turn() % (size_t)n) : 0, end = one ? first + 1 : n;
    for (int i = first; i < end; i++) {
        int w = step * i;
        lk_check_report *r;
        struct damage d;
        damage_bit(&d, plan, w, co.quick);
        co.layer = d.layer;
        cr_assert_eq(lk_check_with(m, &o, &co, plan, &r, &err), LK_OK, "%s", err.message);
        damage_undo(&d, plan);
        cr_assert_eq(r->verdict, LK_CHECK_DIFFERS, "%s", plan->weights[w].name);
        cr_assert_str_eq(r->difference.tensor, plan->weights[w].name);
        cr_assert_eq(r->difference.layer, d.layer);
        cr_assert(strncmp(r->difference.side, "vulkan", 6) == 0, "%s", r->difference.side);
        cr_assert(strncmp(r->difference.variant, "shader ", 7) == 0, "%s", r->difference.variant);
        cr_assert_eq(r->difference.feature[0], 0, "no feature is to blame");
        lk_check_free(&r);
    }
    lk_plan_free(&plan);
    lk_model_close(&m);
}

static void take(void *user, const lk_device_info *d)
{
    lk_device_info *first = user;
    if (strcmp(d->backend, "vulkan") == 0 && !first->name[0]) {
        *first = *d;
    }
}

static void keep_line(void *user, lk_log_level level, const char *line)
{
    if (level == LK_LOG_WARN && strstr(line, ".off")) {
        snprintf(user, 200, "%s", line);
    }
}

Test(vk_check, a_feature_stays_off)
{
    if (vk_pair_samples()) {
        printf("not run: features switched off on SwiftShader, whose probe is slow (--full)\n");
        return;
    }
    char dir[] = "/tmp/lk-check-XXXXXX";
    lk_engine_options o = first_device();
    lk_error err;
    cr_assert(mkdtemp(dir));
    o.cache_dir = NULL;
    cr_assert_eq(lk_device_disable(&o, "int-dot", &err), LK_E_INVALID, "nowhere to keep it");
    o.cache_dir = dir;
    cr_assert_eq(lk_device_disable(&o, "warp-drive", &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "warp-drive"), "%s", err.message);
    for (int off = 0; off < 3; off++) { /* as found, off, on again */
        lk_device_info d = {.name = ""};
        cr_assert_eq(lk_devices(&o, take, &d, &err), LK_OK, "%s", err.message);
        cr_assert_eq(strstr(d.features, "mapped") == NULL, off == 1, "%s", d.features);
        cr_assert_eq(strstr(d.note, "mapped was switched off") != NULL, off == 1, "%s", d.note);
        cr_assert_eq(lk_device_disable(&o, off == 0 ? "mapped" : NULL, &err), LK_OK, "%s",
                     err.message);
    }
    /* A list that was damaged switches nothing off, and it is said. */
    char command[64], line[200] = "";
    snprintf(command, sizeof command, "for f in %s/*.off; do echo mapped >$f; done", dir);
    cr_assert_eq(system(command), 0);
    lk_device_info d = {.name = ""};
    o.log = keep_line;
    o.user = line;
    cr_assert_eq(lk_devices(&o, take, &d, &err), LK_OK, "%s", err.message);
    cr_assert(strstr(d.features, "mapped"), "%s", d.features);
    cr_assert(strstr(line, ".off: not a whole file"), "%s", line);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}
