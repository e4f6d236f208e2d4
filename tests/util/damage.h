/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: one flipped bit in one weight of a plan, as if it had been uploaded or packed wrongly;
 * the model itself stays whole.
 */
#ifndef LK_TESTS_DAMAGE_H
#define LK_TESTS_DAMAGE_H

#include "plan/plan.h"

struct damage {
    int weight, layer; /* layer: of the first op that reads it */
    const void *whole; /* the weight's own data */
};
/* Flips a bit in the middle of weight w (F16 or F32) that changes a value by a sixteenth to a half;
 * in an embedding it is a row that a check with or without `quick` reads. */
void damage_bit(struct damage *d, struct lk_plan *plan, int w, bool quick);
void damage_undo(struct damage *d, struct lk_plan *plan);

#endif
