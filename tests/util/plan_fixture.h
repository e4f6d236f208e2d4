/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_fixture: a model of parameters, in memory, and its plan.
 */
#ifndef LK_TEST_PLAN_FIXTURE_H
#define LK_TEST_PLAN_FIXTURE_H

#include "plan/plan.h"
#include "tests/util/model_build.h"

struct plan_fixture {
    struct gguf_build b;
    struct lk_gguf *g;
    struct lk_plan *plan;
    lk_error err;
};
/* Builds the plan; after a failure, which is in err, there is none. Closed in either case. */
lk_status plan_fixture_try(struct plan_fixture *f, const struct model_params *p);
void plan_fixture_open(struct plan_fixture *f, const struct model_params *p); /* it has to build */
void plan_fixture_close(struct plan_fixture *f);
/* Builds, wants this status and these words in the message. */
void plan_refused(const struct model_params *p, lk_status want, const char *a, const char *b);
/* The op of a kind in a layer, number nth from 0; NULL where there are not so many. */
const struct lk_op *find_op(const struct lk_plan *plan, enum lk_op_kind kind, int layer, int nth);

#endif
