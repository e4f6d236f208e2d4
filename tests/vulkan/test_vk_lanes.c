/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_lanes: chains over two Vulkan devices and the CPU. Wherever a model is cut and however often a
 * session moves, rows are those of the scalar backend, by bits; a chain that loses a device goes on
 * without it. The runner shows two drivers at once (VK_DRIVER_FILES).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep_check.h"
#include "tests/util/models.h"
#include "tests/util/parts.h"
#include "tests/util/tiny.h"
#include "vulkan/vk.h"

enum { LAYERS = PARTS_LAYERS, N = PARTS_N, CTX = PARTS_CTX, VOCAB = PARTS_VOCAB };

TestSuite(vk_lanes, .init = parts_set_up, .fini = parts_tear_down);

static lk_engine_options options(void)
{
    lk_engine_options o = lk_engine_options_default();
    o.cache_dir = getenv("LK_TEST_CACHE");
    o.n_ctx = CTX;
    o.n_batch = 128; /* four micro-batches, where a CPU has a part */
    o.threads = 2;
    return o;
}

struct mover {
    lk_session *s;
    lk_sha256 hash; /* of the rows, position by position */
    size_t n_hashed;
    int n_moves;
};

static bool hash_row(void *user, size_t pos, const float *row)
{
    struct mover *m = user;
    if (pos == m->n_hashed) {
        lk_sha256_floats(&m->hash, row, VOCAB);
        m->n_hashed++;
    }
    tiny_same(row, parts_rows + pos * VOCAB, VOCAB, lk_session_backend(m->s));
    return true;
}

/* A long stretch, then a token, then another long stretch, each on another placement. */
static void move_on(void *user, const char *placement)
{
    struct mover *m = user;
    lk_error err;
    size_t n = lk_session_n_tokens(m->s), step = m->n_moves % 3 == 1 ? 1 : 70;
    if (n + step > N) {
        cr_assert_eq(lk_session_truncate(m->s, n = 0, &err), LK_OK);
    }
    cr_assert_eq(lk_session_move(m->s, placement, &err), LK_OK, "%s: %s", placement, err.message);
    cr_assert_eq(lk_session_sync_rows(m->s, parts_ids, n + step, n, hash_row, m, &err), LK_OK,
                 "%s: %s", placement, err.message);
    m->n_moves++;
}

/* An engine, and a session that went over every split in two to so many parts. */
static lk_engine *open_and_move(struct mover *mover, int most_parts, lk_model **m)
{
    static const char *const BACKENDS[] = {"vulkan 0", "cpu", "vulkan 1"};
    lk_error err;
    lk_engine_options o = options();
    o.backend = "cpu";
    lk_engine *e = tiny_engine_with(parts_path, &o, m);
    lk_sha256_init(&mover->hash);
    cr_assert_eq(lk_session_open(e, &mover->s, &err), LK_OK, "%s", err.message);
    for (int n_parts = 2; n_parts <= most_parts; n_parts++) {
        parts_each_split(LAYERS, n_parts, BACKENDS, 3, move_on, mover);
    }
    return e;
}

Test(vk_lanes, every_split_in_chains_of_two_to_five_parts_and_moves_between_them, .timeout = 600)
{
    lk_model *m;
    struct mover mover = {0};
    lk_engine *e = open_and_move(&mover, 5, &m);
    cr_assert_eq(mover.n_moves, 5 + 10 + 10 + 5);
    cr_assert_eq(e->n_opened, 3, "a device is open once for all lanes");
    lk_sha256 whole;
    uint8_t got[32], expected[32];
    lk_sha256_init(&whole);
    lk_sha256_floats(&whole, parts_rows, mover.n_hashed * VOCAB);
    lk_sha256_final(&whole, expected);
    lk_sha256_final(&mover.hash, got);
    cr_assert_geq(mover.n_hashed, 141);
    cr_assert_arr_eq(got, expected, sizeof got);
    lk_session_close(&mover.s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

TestSuite(vk_lanes_side, .init = parts_set_up_side, .fini = parts_tear_down);

/* Layers that read side rows, of a table that no device has: each part looks it up. */
Test(vk_lanes_side, every_split_in_two_and_three_parts_and_moves_between_them, .timeout = 600)
{
    lk_model *m;
    struct mover mover = {0};
    lk_engine *e = open_and_move(&mover, 3, &m);
    cr_assert_eq(mover.n_moves, 5 + 10);
    lk_session_close(&mover.s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* What the engine says of its lane must have all words of `says`. Devices alone get batches as
 * large as one alone does, four of them in a step. */
static void shared(const char *device, int gpu_layers, const char *const *says, int n_says)
{
    lk_model *m;
    lk_engine_options o = options();
    o.backend = "vulkan";
    o.device = device;
    o.gpu_layers = gpu_layers;
    o.n_batch = 40;
    lk_engine *e = tiny_engine_with(parts_path, &o, &m);
    /* by the speeds of their memory, of which a busy machine says anything: one may have got all */
    bool alone = n_says == 1 && e->home->n_parts > 1;
    int covered = 0;
    cr_assert_eq(e->home->n_micro, alone ? 40 : 32);
    cr_assert_eq(e->home->n_batch, alone ? 160 : 40);
    for (int i = 0; i < e->home->n_parts; i++) {
        cr_assert_eq(e->home->part[i].first_stage / 2, covered);
        covered = e->home->part[i].last_stage / 2;
    }
    cr_assert_eq(covered, LAYERS);
    for (int i = 0; i < n_says; i++) {
        cr_assert(strstr(lk_engine_describe(e), says[i]), "device '%s': %s", device,
                  lk_engine_describe(e));
    }
    float *rows = tiny_rows(e, parts_ids, N);
    tiny_same(rows, parts_rows, (size_t)N * VOCAB, lk_engine_describe(e));
    free(rows);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(vk_lanes, layers_are_shared_out_among_the_devices_that_are_named, .timeout = 600)
{
    static const char *const VULKAN[] = {"vulkan "}, *const CPU[] = {"vulkan ", "the rest on cpu"};
    shared("0,1", LK_GPU_LAYERS_AUTO, VULKAN, 1);
    shared("1,0", LK_GPU_LAYERS_ALL, VULKAN, 1);
    shared("llvmpipe,swiftshader", 4, CPU, 2);
    shared("1, 0", 1, CPU, 2);
}

Test(vk_lanes, feed_forwards_of_layers_on_two_devices_run_on_the_cpu, .timeout = 600)
{
    static const char *const PLACED[] = {"vulkan 0:0-2,vulkan 1:3-5,ffn:0-5",
                                         "vulkan 1:0-3,cpu:4-5,ffn:1,ffn:3"};
    for (size_t i = 0; i < LK_COUNT(PLACED); i++) {
        lk_model *m;
        lk_engine_options o = options();
        o.placement = PLACED[i];
        lk_engine *e = tiny_engine_with(parts_path, &o, &m);
        float *rows = tiny_rows(e, parts_ids, N);
        tiny_same(rows, parts_rows, (size_t)N * VOCAB, PLACED[i]);
        free(rows);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

static void keep_line(void *user, enum lk_log_level level, const char *line)
{
    if (level == LK_LOG_WARN) {
        snprintf(user, 256, "%s", line);
    }
}

Test(vk_lanes, experts_to_move_of_a_model_that_has_none_are_told, .timeout = 600)
{
    char said[256] = "";
    lk_model *m;
    lk_engine_options o = options();
    o.backend = "vulkan";
    o.device = "0";
    o.gpu_layers = LK_GPU_LAYERS_ALL;
    o.cpu_experts = 3;
    o.log = keep_line;
    o.user = said;
    lk_engine *e = tiny_engine_with(parts_path, &o, &m);
    cr_assert(strstr(said, "cpu_experts is ignored"), "%s", said);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(vk_lanes, devices_that_are_not_there_are_an_error)
{
    static const struct {
        const char *device, *says;
    } CASES[] = {{"0,9", "device '9': no such Vulkan device; there are 0: "},
                 {"0,1,0", "twice"},
                 {"0,", "device '': an empty name"},
                 {"llvmpipe,llvmpipe", "twice"}};
    lk_model *m;
    lk_error err;
    cr_assert_eq(lk_model_open(parts_path, &m, &err), LK_OK);
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        for (int is_auto = 0; is_auto < 2; is_auto++) {
            lk_engine *e;
            lk_engine_options o = options();
            o.backend = is_auto ? "auto" : "vulkan";
            o.device = CASES[i].device;
            cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_E_DEVICE, "'%s'", o.device);
            cr_assert(strstr(err.message, CASES[i].says), "%s", err.message);
        }
    }
    /* Where one device is looked at, two are too many. */
    lk_check_report *report;
    lk_engine_options o = options();
    o.device = "0,1";
    cr_assert_eq(lk_check(m, &o, NULL, &report, &err), LK_E_DEVICE);
    cr_assert_str_eq(err.message, "device '0,1': names 2 devices, expected one");
    cr_assert_eq(lk_device_disable(&o, "int-dot", &err), LK_E_DEVICE);
    o.backend = "vulkan";
    cr_assert_eq(lk_bench_kernels(&o, NULL, 1, NULL, NULL, &err), LK_E_DEVICE);
    o.device = NULL;
    o.placement = "vulkan 0:0-5";
    o.backend = "auto";
    cr_assert_eq(lk_check(m, &o, NULL, &report, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "placement 'vulkan 0:0-5'"), "%s", err.message);
    lk_model_close(&m);
}

/* ---- losses ---- */

struct loss {
    int part, at;
};

static lk_status lose(void *user, int part, int n, const struct lk_batch *batch, lk_error *err)
{
    const struct loss *l = user;
    (void)batch;
    return part == l->part && n == l->at ? lk_fail(err, LK_E_DEVICE_LOST, "the device was lost")
                                         : LK_OK;
}

/* A conversation that loses a part's device; the name of the lane that it ends on. */
static void talk_over(const lk_engine_options *o, struct loss loss, char *end, char *describe)
{
    lk_model *m;
    lk_error err;
    lk_session *s;
    lk_engine *e = tiny_engine_with(parts_path, o, &m);
    parts_wrap(e->home, lose, &loss);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    for (size_t n = 140; n <= N; n++) {
        cr_assert_eq(lk_session_sync(s, parts_ids, n, &err), LK_OK, "part %d lost at %d: %s",
                     loss.part, loss.at, err.message);
        tiny_same(lk_session_logits(s), parts_rows + (n - 1) * VOCAB, VOCAB, "around a loss");
    }
    strcpy(end, lk_session_backend(s));
    strcpy(describe, lk_engine_describe(e));
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(vk_lanes, a_chain_goes_on_without_a_lost_device, .timeout = 600)
{
    static const char *const AFTER[] = {"cpu:0-1,vulkan 1:2-3,cpu:4-5", "vulkan 0:0-1,cpu:2-5",
                                        "vulkan 0:0-1,vulkan 1:2-3,cpu:4-5"};
    static const int AT[] = {3, 9, 0, 1,
                             2, 4, 5}; /* of the prompt's five micro-batches, of decode */
    char end[128], describe[1024];
    for (int part = 0; part < 3; part++) {
        for (size_t i = 0; i < LK_COUNT(AT); i++) {
            size_t turn = test_turn() + (size_t)part; /* two of the parts, one of the times */
            if (!test_is_full() && (turn % 3 == 0 || i != turn / 3 % LK_COUNT(AT))) {
                continue;
            }
            lk_engine_options o = options();
            o.placement = "vulkan 0:0-1,vulkan 1:2-3,cpu:4-5";
            talk_over(&o, (struct loss){part, AT[i]}, end, describe);
            cr_assert_str_eq(end, AFTER[part]);
        }
    }
}

/* Where nobody says how many tokens a step has: 512, and four times as many, here a whole context,
 * on a graphics card that has all layers and half of its memory left. */
Test(vk_lanes, a_card_with_memory_to_spare_takes_larger_steps, .timeout = 600)
{
    enum { LONG = 700, ASKED = 100 };
    static const struct {
        VkPhysicalDeviceType type;
        uint64_t available;
        uint32_t n_batch;
        int tokens;
    } WAY[] = {
        {VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 1u << 30, 0, LONG},
        {VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 3u << 20, 0, 512}, /* 2 MB are used */
        {VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU, 1u << 30, 0, 512},
        {VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 1u << 30, ASKED, ASKED},
    };
    char path[] = "/tmp/lk-spare-XXXXXX";
    int32_t ids[LONG];
    lk_model *m;
    lk_error err;
    parts_model(path, 2, LONG);
    tiny_tokens(ids, LONG, VOCAB, 4);
    lk_engine *e = tiny_engine(path, "cpu", LONG, 512, 1, &m);
    float *want = tiny_rows(e, ids, LONG);
    lk_engine_close(&e);
    lk_model_close(&m);
    for (size_t w = 0; w < LK_COUNT(WAY); w++) {
        lk_session *s;
        lk_engine_options o = options();
        o.placement = "cpu:0,vulkan 0:1";
        o.n_ctx = LONG;
        o.n_batch = WAY[w].n_batch;
        e = tiny_engine_with(path, &o, &m);
        struct lk_vk_found *found = &e->home->part[1].on->backend->dev.found;
        found->props.deviceType = WAY[w].type;
        found->available = WAY[w].available;
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_move(s, "vulkan 0:0-1", &err), LK_OK, "%s", err.message);
        cr_assert_eq(s->lane->n_batch, WAY[w].tokens, "way %zu: %d", w, s->lane->n_batch);
        cr_assert_eq(lk_session_sync(s, ids, LONG, &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(s), want + (size_t)(LONG - 1) * VOCAB, VOCAB, "a long step");
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    free(want);
    unlink(path);
}

Test(vk_lanes, devices_that_are_left_take_all_layers, .timeout = 600)
{
    lk_engine_options o = options();
    char end[128], before[1024], after[1024];
    o.backend = "vulkan";
    o.device = "0,1";
    o.n_batch = 32; /* five micro-batches of the prompt */
    talk_over(&o, (struct loss){0, 99}, end, before);
    cr_assert_str_eq(end, "vulkan");
    talk_over(&o, (struct loss){0, 2}, end, after);
    cr_assert_str_eq(end, "vulkan");
    cr_assert(strncmp(after, "vulkan ", 7) == 0 && strcmp(after, before) != 0,
              "on one device: '%s'; before: '%s'", after, before);
    o.device = "0";
    talk_over(&o, (struct loss){0, 2}, end, after);
    cr_assert_str_eq(end, "cpu");
}
