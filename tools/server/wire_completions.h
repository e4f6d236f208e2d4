/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_completions: prompts that are texts or tokens, and what is written for them.
 */
#ifndef LK_SERVER_WIRE_COMPLETIONS_H
#define LK_SERVER_WIRE_COMPLETIONS_H

#include "tools/server/wire_chat.h"

/* A text, an array of tokens, or an array of those; required. */
void ask_prompts(struct wire_in *in, struct wire_value root, const char *key, struct ask *ask);

void completions_put(struct writer *w, const struct part *part, struct wire_text *out);
void embeddings_put(struct writer *w, const struct part *part, struct wire_text *out);
extern const char EMBEDDINGS_BASE64[]; /* ask->own where vectors are wanted in base64 */

#endif
