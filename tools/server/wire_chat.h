/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_chat: what OpenAI's protocols share: their errors, their usage, how they say a stream.
 */
#ifndef LK_SERVER_WIRE_CHAT_H
#define LK_SERVER_WIRE_CHAT_H

#include "tools/server/wire_ask.h"
#include "tools/server/wire_writer.h"

void ask_stream(struct wire_in *in, struct wire_value root, struct ask *ask);
void ask_count(struct wire_in *in, struct wire_value root, const char *key, struct ask *ask);

/* tool_calls of a message, checked. */
void ask_check_calls(struct wire_in *in, struct wire_value message, const char *path);

void chat_put(struct writer *w, const struct part *part, struct wire_text *out);

/* A token with its log probability and those of the likeliest beside it. */
void openai_token(const struct part *part, struct wire_text *out);
void openai_error(const struct wire_error *why, bool streaming, struct wire_text *out);
/* {"prompt_tokens": ...}, and "timings" before it where they are asked for. */
void openai_usage(const struct writer *w, const struct wire_usage *usage, struct wire_text *out);
void openai_timings(const struct wire_usage *usage, struct wire_text *out);
/* "id", "object", "created", "model", "system_fingerprint", each with a comma before the next. */
void openai_head(const struct writer *w, const char *prefix, const char *object,
                 struct wire_text *out);

#endif
