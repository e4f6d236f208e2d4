/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_responses: answers of OpenAI's responses, for wire_responses.c.
 */
#ifndef LK_SERVER_WIRE_RESPONSES_H
#define LK_SERVER_WIRE_RESPONSES_H

#include "tools/server/wire_chat.h"

/* ask->own of a request: the members of a response that repeat the request's, with a comma before
 * each. */
struct responses_own {
    struct wire_text echo;
};

void responses_put(struct writer *w, const struct part *part, struct wire_text *out);

#endif
