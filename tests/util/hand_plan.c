/* SPDX-License-Identifier: Apache-2.0
 *
 * Hand plan: see hand_plan.h.
 */
#include "tests/util/hand_plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

void hand_start(struct lk_plan *plan, struct hand_room *room, int width)
{
    memset(room, 0, sizeof *room);
    *plan = (struct lk_plan){.ops = room->ops,
                             .slots = room->slots,
                             .weights = room->weights,
                             .states = room->states,
                             .n_embd = width,
                             .n_layer = 1,
                             .last_stage = 2};
    hand_slot(plan, width, LK_ROWS_TOKENS);
}

int hand_slot(struct lk_plan *plan, int width, enum lk_rows rows)
{
    cr_assert_lt(plan->n_slots, HAND_SLOTS);
    plan->slots[plan->n_slots] = (struct lk_slot){width, rows};
    plan->out_slot = plan->n_slots;
    return plan->n_slots++;
}

struct lk_op *hand_op(struct lk_plan *plan, enum lk_op_kind kind, int in0, int in1, int out,
                      int weight)
{
    cr_assert_lt(plan->n_ops, HAND_OPS);
    plan->ops[plan->n_ops] = lk_op_make(kind, in0, in1, out, weight);
    return &plan->ops[plan->n_ops++];
}

int hand_put(struct lk_plan *plan, enum lk_op_kind kind, int in0, int in1, int width, int weight)
{
    int out = hand_slot(plan, width, plan->slots[in0].rows);
    hand_op(plan, kind, in0, in1, out, weight);
    return out;
}

struct lk_op *hand_last(struct lk_plan *plan)
{
    return &plan->ops[plan->n_ops - 1];
}

int hand_weight(struct lk_plan *plan, enum lk_type type, int64_t rows, int64_t cols,
                const void *data)
{
    cr_assert_lt(plan->n_weights, HAND_WEIGHTS);
    struct lk_weight *w = &plan->weights[plan->n_weights];
    *w = (struct lk_weight){.type = type, .rows = rows, .cols = cols, .data = data};
    w->n_bytes = (size_t)rows * lk_type_row_bytes(type, (size_t)cols);
    snprintf(w->name, sizeof w->name, "%s", lk_type_info(type)->name);
    return plan->n_weights++;
}

void hand_states(struct lk_plan *plan, int n_head, int head_dim)
{
    plan->states[0] = lk_state_paged(LK_STATE_K, 0, n_head, head_dim);
    plan->states[1] = lk_state_paged(LK_STATE_V, 0, n_head, head_dim);
    plan->n_states = 2;
}
