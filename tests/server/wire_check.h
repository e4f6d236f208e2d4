/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_check: what the tests of all protocols do: refusals by field, answers as text, events of a
 * stream.
 */
#ifndef LK_TEST_WIRE_CHECK_H
#define LK_TEST_WIRE_CHECK_H

#include <jansson.h>

#include "tests/server/wire_script.h"

struct wire_refusal {
    const char *body, *param; /* which it is refused for */
};
/* The ask of a body that is not refused; owned by the caller. */
void wire_check_parse(const struct protocol *p, const char *body, struct ask *ask);
void wire_check_refusals(const struct protocol *p, const struct wire_refusal *cases, size_t n);

/* The reply to a body, in which %s stands for `more`; owned by the caller. */
char *wire_answer(const struct protocol *p, const char *body, const char *more, const char *script);

/* The next event's data; NULL at the end, or where the data are no JSON, at which *at stands then.
 * Events without data are passed over. */
json_t *wire_event(const char **at);
/* Its name is in `name`, "" where it has none. */
json_t *wire_named_event(const char **at, char name[64]);

#endif
