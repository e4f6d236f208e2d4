/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress, serving: clients of a scheduler that has little room, whose prefixes are shared, whose
 * room is taken and given back: each is told what it is told alone, with the same rows.
 */
#include <criterion/criterion.h>

#include "tests/serve/crowd.h"
#include "tests/util/models.h"

Test(regress_serve, a_client_among_others_is_told_what_it_is_told_alone)
{
    uint64_t n_preempted = 0, n_reused = 0;
    for (unsigned seed = 1; seed <= 2; seed++) {
        struct crowd_place p, judge;
        lk_scheduler_info info;
        struct crowd_run run = {.options = lk_scheduler_options_default(),
                                .n_clients = 12,
                                .seed = seed,
                                .calm = true,
                                .long_answers = seed == 2};
        run.options.n_running = 8;
        run.options.n_step_tokens = 70;
        crowd_open(&p, test_model_path(seed), "cpu", CROWD_CTX, 64 * 5);
        crowd_open(&judge, test_model_path(seed), "cpu", CROWD_CTX, 0);
        crowd_let_loose(&p, &judge, &run, &info);
        n_preempted += info.n_preempted;
        n_reused += info.reused_tokens;
        crowd_close(&judge);
        crowd_close(&p);
    }
    cr_assert(n_preempted > 0 && n_reused > 0, "%llu and %llu", (unsigned long long)n_preempted,
              (unsigned long long)n_reused);
}
