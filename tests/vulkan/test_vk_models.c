/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_models: tiny models of every architecture on a Vulkan device against the scalar backend, by
 * bits: micro-batches, fused and unfused, part of the layers, moves in mid-sentence both ways.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep_check.h"
#include "base/base.h"
#include "base/os.h"
#include "gguf/model_file.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"
#include "tests/vulkan/vk_pair.h"

enum { N = 80, CTX = 128 };

static lk_engine_options options(uint32_t n_batch, bool fuse)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = "vulkan";
    o.device = "0";
    o.cache_dir = getenv("LK_TEST_CACHE");
    o.gpu_layers = LK_GPU_LAYERS_ALL;
    o.n_ctx = CTX;
    o.n_batch = n_batch;
    o.fuse = fuse;
    return o;
}

static float *scalar_rows(const char *path, const int32_t *ids, size_t *n_vocab)
{
    lk_model *m;
    lk_engine *e = tiny_engine(path, "scalar", CTX, N, 1, &m);
    *n_vocab = lk_engine_n_vocab(e);
    float *rows = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&m);
    return rows;
}

/* The last way has the kernels of a GPU, which CPU drivers are slow to compile: unrolled, with
 * plain loops for matrix units. */
Test(vk_models, rows_are_those_of_the_contract)
{
    static const struct {
        uint32_t n_batch;
        bool fuse;
        const char *disable;
    } way[] = {{1, true, NULL},
               {7, false, NULL},
               {50, true, NULL},
               {80, false, NULL},
               {50, true, "looped,narrow"}};
    size_t n_ways = LK_COUNT(way) - (vk_pair_samples() ? 1 : 0);
    size_t step = vk_pair_samples() ? 27 /* SwiftShader keeps nothing that it compiled */
                  : test_is_full() || !vk_pair_few() ? 1
                  : vk_pair_validates()              ? 9
                                                     : 6;
    for (size_t i = test_turn() % step; i < test_n_models(); i += step) {
        const char *path = test_model_path(i);
        int32_t ids[N];
        size_t n_vocab;
        tiny_tokens(ids, N, test_model_n_vocab(path), 7);
        float *want = scalar_rows(path, ids, &n_vocab);
        for (size_t w = 0; w < n_ways; w++) {
            if (vk_pair_few() && (i / step + test_turn()) % n_ways != w) {
                continue;
            }
            char what[256];
            lk_model *m;
            lk_engine_options o = options(way[w].n_batch, way[w].fuse);
            o.vk_disable = way[w].disable;
            snprintf(what, sizeof what, "%s, batches of %u, without %s", path, way[w].n_batch,
                     way[w].disable ? way[w].disable : "nothing");
            lk_engine *e = tiny_engine_with(path, &o, &m);
            float *got = tiny_rows(e, ids, N);
            tiny_same(got, want, N * n_vocab, what);
            free(got);
            lk_engine_close(&e);
            lk_model_close(&m);
        }
        free(want);
    }
}

struct sums {
    uint64_t attention, matmul;
    double seconds;
};

static void add_time(void *user, const lk_op_time *t)
{
    struct sums *s = user;
    cr_assert_geq(t->seconds, 0.0);
    s->seconds += t->seconds;
    s->attention += strcmp(t->kind, "attention") == 0 ? t->calls : 0;
    s->matmul += strcmp(t->kind, "matmul") == 0 && t->n_bytes ? t->calls : 0;
}

static struct sums op_sums(lk_engine *e)
{
    struct sums s = {0};
    lk_error err;
    cr_assert_eq(lk_engine_op_times(e, add_time, &s, &err), LK_OK, "%s", err.message);
    return s;
}

Test(vk_models, timing_ops_counts_them_and_changes_no_bit)
{
    if (vk_pair_leaves("times of ops")) {
        return;
    }
    static const uint32_t BATCH[] = {1, 7, 50};
    const char *path = test_model_path(0);
    int32_t ids[N];
    size_t n_vocab;
    tiny_tokens(ids, N, test_model_n_vocab(path), 9);
    float *want = scalar_rows(path, ids, &n_vocab);
    for (size_t i = 0; i < LK_COUNT(BATCH); i++) {
        lk_model *m;
        lk_error err;
        lk_engine_options o = options(BATCH[i], true);
        lk_engine *e = tiny_engine_with(path, &o, &m);
        cr_assert_eq(lk_engine_profile(e, true, &err), LK_OK, "%s", err.message);
        double from = lk_now();
        float *got = tiny_rows(e, ids, N);
        double wall = lk_now() - from;
        tiny_same(got, want, N * n_vocab, path);
        struct sums s = op_sums(e);
        uint64_t batches = (N + BATCH[i] - 1) / BATCH[i];
        cr_assert_eq(s.attention, batches * lk_engine_n_layers(e));
        cr_assert_gt(s.matmul, batches * lk_engine_n_layers(e));
        cr_assert(s.seconds > 0.0 && s.seconds <= wall, "ops took %g s of %g s", s.seconds, wall);
        cr_assert_eq(lk_engine_profile(e, false, &err), LK_OK);
        free(got);
        got = tiny_rows(e, ids, N);
        tiny_same(got, want, N * n_vocab, path);
        cr_assert_eq(op_sums(e).seconds, 0.0);
        double rate = 0.0;
        cr_assert_eq(lk_engine_read_rate(e, 3000016, 2, &rate, &err), LK_OK, "%s", err.message);
        cr_assert_gt(rate, 0.0);
        cr_assert_eq(lk_engine_read_rate(e, 3, 2, &rate, &err), LK_E_INVALID);
        free(got);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    free(want);
}

Test(vk_models, a_session_moves_in_mid_sentence)
{
    for (size_t i = 0; i < test_n_models(); i++) {
        size_t step = vk_pair_samples() ? test_n_models() : vk_pair_turns() ? 6 : 1;
        if ((i + test_turn()) % step != 0 || (step == 1 && vk_pair_skips(i, 0))) {
            continue;
        }
        const char *path = test_model_path(i);
        int32_t ids[N];
        size_t n_vocab;
        lk_error err;
        tiny_tokens(ids, N, test_model_n_vocab(path), 8);
        float *want = scalar_rows(path, ids, &n_vocab);
        lk_model *m;
        lk_session *s;
        lk_engine_options o = options(16, true);
        lk_engine *e = tiny_engine_with(path, &o, &m);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        static const struct {
            size_t n;
            const char *to;
        } leg[] = {{20, "scalar"}, {66, "vulkan"}, {N, "vulkan"}};
        for (size_t k = 0; k < LK_COUNT(leg); k++) {
            cr_assert_eq(lk_session_sync(s, ids, leg[k].n, &err), LK_OK, "%s", err.message);
            tiny_same(lk_session_logits(s), want + (leg[k].n - 1) * n_vocab, n_vocab, path);
            cr_assert_eq(lk_session_move(s, leg[k].to, &err), LK_OK, "%s", err.message);
        }
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
        free(want);
    }
}

/* A step of rows that want logits has kernels for as many as there may be, fewer than tokens: those
 * that run are named. */
Test(vk_models, kernels_of_fewer_rows_than_tokens_are_named)
{
    lk_model *m;
    struct lk_plan *plan, *slice;
    struct lk_exec *exec;
    lk_error err;
    int n_named = 0;
    cr_assert_eq(lk_model_open(test_model_path(0), &m, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_plan_build(m->gguf, &plan, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_plan_slice(plan, 0, lk_stage_of(plan->n_layer), true, true, &slice, &err),
                 LK_OK);
    cr_assert_eq(lk_plan_gather_early(slice, &err), LK_OK);
    struct lk_exec_options o = {.plan = slice,
                                .max_tokens = 72,
                                .max_outputs = 8,
                                .max_seqs = 1,
                                .max_blocks = 2,
                                .fuse = true};
    cr_assert_eq(lk_backend_vulkan.prepare(vk_pair_device(""), &o, &exec, &err), LK_OK, "%s",
                 err.message);
    for (int i = 0; i < slice->n_ops; i++) {
        const struct lk_op *op = &slice->ops[i];
        char text[256];
        lk_backend_vulkan.variant(exec, i, 72, text, sizeof text);
        bool head = op->kind == LK_OP_MATMUL && op->layer == slice->n_layer;
        cr_assert(!head || strstr(text, "matvec") || strstr(text, "16 16"), "%s", text);
        n_named += text[0] != 0;
    }
    cr_assert_gt(n_named, slice->n_ops / 2);
    lk_backend_vulkan.exec_free(exec);
    vk_pair_close();
    lk_plan_free(&slice);
    lk_plan_free(&plan);
    lk_model_close(&m);
}

/* Bytes of the file `path` that this process has in memory. */
static size_t resident_of(const char *path)
{
    char line[1024];
    size_t kb = 0, sum = 0;
    bool ours = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    cr_assert(f);
    while (fgets(line, sizeof line, f)) {
        const char *at = strchr(line, '/');
        ours = at ? strncmp(at, path, strlen(path)) == 0 : ours && strchr(line, ':');
        if (ours && sscanf(line, "Rss: %zu", &kb) == 1) {
            sum += kb * 1024;
        }
    }
    fclose(f);
    return sum;
}

Test(vk_models, pages_of_uploaded_weights_are_given_back)
{
    if (vk_pair_leaves("pages of uploaded weights")) {
        return;
    }
    size_t files = 0, all = 0;
    for (size_t i = 0; i < test_n_models(); i++) {
        if (vk_pair_turns() ? (i + test_turn()) % 9 != 0 : vk_pair_skips(i, 1)) {
            continue;
        }
        const char *path = test_model_path(i);
        lk_model *m;
        lk_engine_options o = options(16, true);
        lk_engine *e = tiny_engine_with(path, &o, &m);
        files += (size_t)lk_model_file_bytes(m);
        all += resident_of(path);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    /* Metadata, vectors and the ends of small tensors stay, and what the system reads around them:
     * of one tiny file that may be nearly all of it, of many it is not. */
    cr_expect_lt(all, files / 4 * 3, "%zu of %zu bytes in memory", all, files);
    cr_log_info("%zu of %zu bytes in memory", all, files);
}
