/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: see damage.h.
 */
#include "tests/util/damage.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check/check_unit.h"

void damage_bit(struct damage *d, struct lk_plan *plan, int w, bool quick)
{
    struct lk_weight *weight = &plan->weights[w];
    size_t element = (size_t)(weight->rows / 2 * weight->cols + weight->cols / 3);
    *d = (struct damage){.weight = w, .layer = -2, .whole = weight->data};
    for (int i = plan->n_ops - 1; i >= 0; i--) {
        if (plan->ops[i].weight == w) {
            d->layer = plan->ops[i].layer;
            if (plan->ops[i].kind == LK_OP_EMBED) {
                struct lk_feeds f;
                cr_assert_eq(lk_feeds_init(&f, quick ? 10 : 72, 128, plan->n_vocab, -1, NULL),
                             LK_OK);
                element = (size_t)f.token[7] * (size_t)weight->cols + 5;
                lk_feeds_free(&f);
            }
        }
    }
    cr_assert_neq(d->layer, -2, "no op reads %s", weight->name);
    uint8_t *copy = malloc(weight->n_bytes);
    cr_assert(copy);
    memcpy(copy, weight->data, weight->n_bytes);
    if (weight->type == LK_TYPE_F32) {
        copy[element * 4 + 2] ^= 0x40; /* the first bit of its fraction */
    } else {
        cr_assert_eq(weight->type, LK_TYPE_F16);
        copy[element * 2 + 1] ^= 0x02;
    }
    weight->data = copy;
}

void damage_undo(struct damage *d, struct lk_plan *plan)
{
    free((void *)plan->weights[d->weight].data);
    plan->weights[d->weight].data = d->whole;
}
