/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_ask: what the protocols' requests have in common: how tokens are chosen, what ends an
 * answer, what it has to fit; and the parts of a chat's request in OpenAI's form. Knows no
 * protocol's own names but OpenAI's and those that others added to them.
 */
#ifndef LK_SERVER_WIRE_ASK_H
#define LK_SERVER_WIRE_ASK_H

#include "tools/server/wire_json.h"

/* Temperature, top_p, penalties, seed, ignore_eos, priority and the like, which are members of
 * `object` under the same names everywhere. */
void ask_sampling(struct wire_in *in, struct wire_value object, const char *at, struct ask *ask);
/* What is lockstep's own, at the top of every request: logits_sha256, backend, timings, deadline.
 */
void ask_own(struct wire_in *in, struct wire_value root, struct ask *ask);
/* A text or an array of texts. */
void ask_stop(struct wire_in *in, struct wire_value object, const char *at, const char *key,
              struct ask *ask);
/* The first of these names that is there; -1 means no limit. NULL ends the names. */
void ask_max_tokens(struct wire_in *in, struct wire_value object, const char *at, int64_t least,
                    struct ask *ask, const char *const *names);
/* {"ID": value} or [[ID, value]]; false for a value: never. */
void ask_bias(struct wire_in *in, struct wire_value object, struct ask *ask);
/* grammar, regex, json_schema, guided_json and so on; two of them are refused. */
void ask_constraint(struct wire_in *in, struct wire_value root, struct ask *ask);
/* Sets the format to a text of that kind, which is copied; refused where there is one already. */
void ask_set_format(struct wire_in *in, const char *path, enum ask_format format, const char *text,
                    size_t len, struct ask *ask);
/* How hard the model is to think: "none" to "xhigh"; refused where it is another word. */
void ask_effort(struct wire_in *in, const char *path, const char *effort, struct ask *ask);
void ask_add_stop(struct wire_in *in, const char *path, const char *text, struct ask *ask);

/* ---- a chat's request in OpenAI's form ---- */

/* Content, a string or an array of text parts, as one JSON string: the parts' texts with a newline
 * between. `types` are the parts' types that are texts, each with the member that holds it. */
struct ask_part {
    const char *type, *member;
};
void ask_content(struct wire_in *in, struct wire_value content, const char *path,
                 const struct ask_part *parts, size_t n_parts, struct wire_text *out);
/* The inside of a JSON string, without its quotes, as the client wrote it. */
void ask_inside(struct wire_value string, struct wire_text *out);

/* The request of a chat, which is begun with its messages. What follows is added to it and, where
 * the ask has a place for it, to the ask. */
void ask_tools(struct wire_in *in, struct wire_value tools, struct wire_text *request,
               struct ask *ask); /* OpenAI's array, checked */
void ask_set_tools(struct wire_in *in, const char *text, size_t len, struct wire_text *request,
                   struct ask *ask); /* the same, made by the protocol */
void ask_tool_choice(struct wire_in *in, const char *path, enum ask_tools choice, const char *name,
                     struct wire_text *request, struct ask *ask);
void ask_parallel_tools(bool parallel, struct wire_text *request, struct ask *ask);
/* What the answer has to fit, for lk_answer_constrain, from the ask's format. */
void ask_format_member(const struct ask *ask, struct wire_text *request);
/* chat_template_kwargs as it came. */
void ask_template_kwargs(struct wire_in *in, struct wire_value root, struct wire_text *request);
/* Ends the object and gives it to the ask. */
void ask_take_request(struct wire_in *in, struct wire_text *request, struct ask *ask);

/* The end of a parse: true, or false with the ask freed. */
bool ask_done(struct wire_in *in, struct ask *ask);

#endif
