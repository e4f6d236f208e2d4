/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_turns: messages in OpenAI's form made of what other protocols have as blocks and items: what
 * the assistant thought, said and called one after the other becomes one message.
 */
#ifndef LK_SERVER_WIRE_TURNS_H
#define LK_SERVER_WIRE_TURNS_H

#include "tools/server/wire_ask.h"

struct turns {
    struct wire_text *out; /* the request; {"messages":[ is begun by turns_begin */
    size_t n;              /* messages that are whole */
    bool open;             /* the assistant's is not */
    /* Of the open one: insides of JSON strings, and the calls with commas between. */
    struct wire_text reasoning, content, calls;
};

void turns_begin(struct turns *t, struct wire_text *out);
/* Texts that follow each other are joined by a newline. */
void turns_reasoning(struct turns *t, struct wire_value string);
void turns_content(struct turns *t, const struct wire_text *quoted); /* a JSON string */
/* Arguments are an object, or a string of JSON; nothing: {}. */
void turns_call(struct turns *t, struct wire_value id, struct wire_value name,
                struct wire_value arguments);
/* A message of another role; `more` is added as it is: ",\"name\":...". */
void turns_message(struct turns *t, const char *role, const struct wire_text *quoted,
                   const char *more);
/* A message of a tool. */
void turns_result(struct turns *t, struct wire_value id, const struct wire_text *quoted);
void turns_flush(struct turns *t);                   /* the assistant's message is whole */
void turns_end(struct wire_in *in, struct turns *t); /* of all; the request's array is closed */

#endif
