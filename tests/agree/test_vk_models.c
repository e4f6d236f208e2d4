/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_models: tiny models of every architecture on a Vulkan device against the scalar backend, by
 * bits: micro-batches, fused and unfused, part of the layers, moves in mid-sentence both ways.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { N = 80, CTX = 128 };

static lk_engine_options options(uint32_t n_batch, bool fuse)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = "vulkan";
    o.device = "0";
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

Test(vk_models, rows_are_those_of_the_contract)
{
    static const struct {
        uint32_t n_batch;
        bool fuse;
    } way[] = {{1, true}, {7, false}, {50, true}, {80, false}};
    for (size_t i = 0; i < test_n_models(); i++) {
        const char *path = test_model_path(i);
        int32_t ids[N];
        size_t n_vocab;
        tiny_tokens(ids, N, test_model_n_vocab(path), 7);
        float *want = scalar_rows(path, ids, &n_vocab);
        for (size_t w = 0; w < LK_COUNT(way); w++) {
            char what[256];
            lk_model *m;
            lk_engine_options o = options(way[w].n_batch, way[w].fuse);
            snprintf(what, sizeof what, "%s, batches of %u", path, way[w].n_batch);
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

Test(vk_models, a_session_moves_in_mid_sentence)
{
    for (size_t i = 0; i < test_n_models(); i++) {
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
