/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_request: what a chat request becomes for a template: its variables and the date.
 */
#ifndef LK_TEMPLATE_REQUEST_H
#define LK_TEMPLATE_REQUEST_H

#include <time.h>

#include "text/value/value.h"

/* Texts of special tokens under the names that templates know them by. */
enum { LK_TEMPLATE_TOKENS = 7 };
struct lk_template_tokens {
    struct lk_member member[LK_TEMPLATE_TOKENS];
    size_t n;
};
/* Reads them from the model's metadata; texts belong to the model. model NULL: none. */
lk_status lk_template_read_tokens(const struct lk_model *model, struct lk_template_tokens *out,
                                  lk_error *err);

/* The variables, a dict in the region, and the date. What the request brings is not trusted, but
 * for roles that everybody knows: a template may make control tokens of them. */
lk_status lk_template_variables(struct lk_region *region, const struct lk_template_tokens *tokens,
                                const lk_template_input *in, struct lk_value *out, struct tm *now,
                                lk_error *err);

#endif
