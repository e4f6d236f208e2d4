/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraint: the inside of an lk_constraint.
 */
#ifndef LK_CONSTRAINT_H
#define LK_CONSTRAINT_H

#include "base/base.h"

struct lk_home;

struct lk_constraint {
    struct lk_home *home;
    struct lk_constraint *before, *after; /* in the home's list */
    uint32_t state;
    bool ended;       /* an end-of-generation token was taken */
    uint32_t n_taken; /* tokens; tells when to look how much the text takes */
};

#endif
