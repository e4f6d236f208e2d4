/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_messages: answers of Anthropic's messages, for wire_messages.c.
 */
#ifndef LK_SERVER_WIRE_MESSAGES_H
#define LK_SERVER_WIRE_MESSAGES_H

#include "tools/server/wire_writer.h"

void messages_put(struct writer *w, const struct part *part, struct wire_text *out);
void messages_count_put(struct writer *w, const struct part *part, struct wire_text *out);
void messages_ping(struct writer *w, struct wire_text *out);
void messages_error(const struct wire_error *why, bool streaming, struct wire_text *out);

#endif
