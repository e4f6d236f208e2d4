/* SPDX-License-Identifier: Apache-2.0
 *
 * Hand plan: plans that a test makes op by op, over rows that are handed in as slot 0. The arrays
 * belong to the test; a plan must stay where its hand_room is.
 */
#ifndef LK_TESTS_HAND_PLAN_H
#define LK_TESTS_HAND_PLAN_H

#include "plan/plan.h"

enum { HAND_OPS = 32, HAND_SLOTS = 32, HAND_WEIGHTS = 32, HAND_STATES = 4 };
struct hand_room {
    struct lk_op ops[HAND_OPS];
    struct lk_slot slots[HAND_SLOTS];
    struct lk_weight weights[HAND_WEIGHTS];
    struct lk_state states[HAND_STATES];
};

/* A plan of one layer without ops, whose rows of `width` floats are handed in. */
void hand_start(struct lk_plan *plan, struct hand_room *room, int width);
/* One more slot, which is the result until another one is added. */
int hand_slot(struct lk_plan *plan, int width, enum lk_rows rows);
/* One more op; in1, out and weight may be -1. Valid until the plan is gone. */
struct lk_op *hand_op(struct lk_plan *plan, enum lk_op_kind kind, int in0, int in1, int out,
                      int weight);
/* One more op with a new slot of `width`, which has the rows of in0; returns the slot. */
int hand_put(struct lk_plan *plan, enum lk_op_kind kind, int in0, int in1, int width, int weight);
struct lk_op *hand_last(struct lk_plan *plan);
/* One more weight; the data stays the caller's and may be NULL where nothing runs. */
int hand_weight(struct lk_plan *plan, enum lk_type type, int64_t rows, int64_t cols,
                const void *data);
/* K and V of the layer, each n_head heads of head_dim: states 0 and 1. */
void hand_states(struct lk_plan *plan, int n_head, int head_dim);

#endif
