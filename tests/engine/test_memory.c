/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory: what the CPU backend keeps in memory. Weights lie there once, packed: the file's pages
 * are given back, those of an embedding that is the head too as well, and buffers for batches count
 * when they are used. Real models of LK_MODELS, for a small one is lost in the program's own size.
 */
#include <criterion/criterion.h>

#include "lockstep_check.h"
#include "base/os.h"
#include "engine/engine.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

enum { PREFILL = 512 };

static void check(size_t file, uint32_t n_ctx, uint32_t n_batch, bool prefill)
{
    const char *path = test_real_file(file);
    if (!path) {
        return;
    }
    uint64_t before = lk_resident_memory();
    lk_model *m;
    lk_engine *e = tiny_engine(path, "cpu", n_ctx, n_batch, 1, &m);
    lk_memory_use use = lk_engine_memory(e);
    uint64_t planned = use.file + use.cache + (prefill ? use.work : 0);
    if (prefill) {
        lk_session *s;
        lk_error err;
        int32_t ids[PREFILL];
        tiny_tokens(ids, PREFILL, lk_engine_n_vocab(e), 1);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, PREFILL, &err), LK_OK, "%s", err.message);
        use = lk_engine_memory(e);
        lk_session_close(&s);
    }
    cr_assert_gt(before, 0);
    cr_assert_gt(use.resident, before + use.file / 2, "the weights are in memory");
    cr_expect_leq((double)(use.resident - before), TOL_RESIDENT * (double)planned,
                  "%s: %.1f MB resident, the file, the cache and the work area have %.1f", path,
                  (double)(use.resident - before) / 1e6, (double)planned / 1e6);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* With a short context and batch there is hardly more memory in use than the file has bytes. */
Test(memory, weights_are_there_once)
{
    for (size_t i = 0; i < test_n_real_files(); i++) {
        check(i, 128, 8, false);
    }
}

Test(memory, a_prefill_takes_what_was_planned)
{
    for (size_t i = 0; i < test_n_real_files(); i++) {
        check(i, 1024, 512, true);
    }
}

Test(memory, the_cache_is_counted)
{
    for (size_t i = 0; i < test_n_models(); i++) {
        lk_model *m;
        lk_engine *e = tiny_engine(test_model_path(i), "cpu", 128, 8, 1, &m);
        lk_engine *twice = NULL;
        lk_engine_options o = lk_engine_options_default();
        lk_error err;
        o.backend = "cpu";
        o.n_ctx = 256;
        o.n_batch = 16;
        cr_assert_eq(lk_engine_open(m, &o, &twice, &err), LK_OK, "%s", err.message);
        lk_memory_use a = lk_engine_memory(e), b = lk_engine_memory(twice);
        cr_assert_eq(a.file, lk_model_file_bytes(m));
        struct lk_state_geom slots = {.plan = e->plan, .n_slots = 1}; /* of any length */
        uint64_t fixed = 0;
        for (int s = 0; s < e->plan->n_states; s++) {
            fixed += lk_state_bytes(&slots, s);
        }
        cr_assert_eq(b.cache - fixed, 2 * (a.cache - fixed), "%s: twice the context",
                     test_model_path(i));
        cr_assert(a.work > 0 && b.work > a.work, "%s: twice the batch", test_model_path(i));
        lk_engine_close(&twice);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}
