/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_ollama: answers of Ollama's chat, generate and embed, for wire_ollama.c.
 */
#ifndef LK_SERVER_WIRE_OLLAMA_H
#define LK_SERVER_WIRE_OLLAMA_H

#include "tools/server/wire_chat.h"

void ollama_chat_put(struct writer *w, const struct part *part, struct wire_text *out);
void ollama_generate_put(struct writer *w, const struct part *part, struct wire_text *out);
void ollama_embed_put(struct writer *w, const struct part *part, struct wire_text *out);
void ollama_error(const struct wire_error *why, bool streaming, struct wire_text *out);

#endif
