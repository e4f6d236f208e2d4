/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_lanes: the entries of the registry about lanes of several parts that run at once. See
 * REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/regress/regress.h"
#include "tests/util/parts.h"
#include "tests/util/tiny.h"

/* The later a part of a chain, the slower: those before it run ahead as far as they may. */
static lk_status dawdle(void *user, int part, int n, const struct lk_batch *batch, lk_error *err)
{
    (void)user;
    (void)n;
    (void)err;
    usleep(batch->n_tokens > 1 ? (unsigned)part * 5000 : 0);
    return LK_OK;
}

/* A prompt on parts that overlap has the rows of one part alone. */
Test(regress, micro_batches_keep_their_rows)
{
    enum { N = 160, CTX = 192 };
    const struct rg_way *device = rg_vulkan();
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[N];
    char placement[2][160] = {"scalar:0-1,cpu:2-3,scalar:4-5"};
    p.n_layer = 6;
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 15);
    lk_model *model;
    lk_engine_options o = rg_options(rg_scalar(), CTX, N);
    lk_engine *e = tiny_engine_with(m.path, &o, &model);
    float *want = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&model);
    if (device) {
        const char *name = rg_options(device, CTX, N).device;
        snprintf(placement[1], sizeof placement[1], "vulkan %s:0-1,cpu:2,vulkan %s:3-4,scalar:5",
                 name, name);
    }
    for (int i = 0; i < 2 && placement[i][0]; i++) {
        o = rg_options(device ? device : rg_scalar(), CTX, N);
        o.backend = "auto";
        o.device = NULL;
        o.gpu_layers = LK_GPU_LAYERS_AUTO;
        o.placement = placement[i];
        e = tiny_engine_with(m.path, &o, &model);
        e->home->n_micro = 24;
        parts_wrap(e->home, dawdle, NULL);
        float *got = tiny_rows(e, ids, N);
        rg_debug("%s: micro-batches of at most %d of %d tokens\n", placement[i], e->home->n_micro,
                 N);
        rg_same_rows(placement[i], got, want, N, 96);
        free(got);
        lk_engine_close(&e);
        lk_model_close(&model);
    }
    free(want);
    rg_model_close(&m);
}
