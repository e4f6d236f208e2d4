/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_script: a request through a protocol, answered by parts that a test writes down as JSON.
 */
#ifndef LK_TEST_WIRE_SCRIPT_H
#define LK_TEST_WIRE_SCRIPT_H

#include "tools/server/wire.h"

const struct protocol *wire_protocol(const char *name); /* NULL: there is none */

/* An ask as a server begins with. */
struct ask wire_ask(void);

/* Parses a body with such an ask. The body is handed over in memory of its own that ends where it
 * does, so that a sanitizer sees reads beyond. */
bool wire_parse(const struct protocol *p, const char *body, size_t len, struct ask *ask,
                struct wire_error *why);

/* Writes the reply to an ask. A script is an array of parts:
 *   ["prompt" | "reasoning" | "content", ANSWER, TEXT], ["call", ANSWER, CALL, ID, NAME],
 *   ["arguments", ANSWER, CALL, TEXT], ["call_end", ANSWER, CALL],
 *   ["token", ANSWER, ID, TEXT, LOGPROB, [[ID, TEXT, LOGPROB] ...]],
 *   ["vector", ANSWER, [NUMBERS]], ["finish", ANSWER, FINISH, STOP, SHA256],
 *   ["keep_alive"], ["begin"], ["end", PROMPT, REUSED, WRITTEN, REASONING]
 * where FINISH is "stop", "length", "calls", "cancelled" or "failed". False: the script is broken,
 * or there was no memory. */
bool wire_play(const struct protocol *p, const struct ask *ask, const char *script,
               struct wire_text *out);

#endif
