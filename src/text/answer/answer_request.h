/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_request: what a chat request asks of an answer: tools, which of them have to be called,
 * the form of the answer. Knows no syntax.
 */
#ifndef LK_ANSWER_REQUEST_H
#define LK_ANSWER_REQUEST_H

#include "text/value/value.h"

struct lk_answer_tool {
    const char *name; /* 0-terminated */
    size_t n_name;
    const struct lk_value *parameters; /* its schema, or NULL */
    bool strict;
};

enum lk_tool_choice { LK_CHOICE_AUTO, LK_CHOICE_NONE, LK_CHOICE_REQUIRED };

struct lk_answer_tools {
    struct lk_region region; /* of all that is pointed to */
    struct lk_answer_tool *tool;
    size_t n;
    enum lk_tool_choice choice;
    const struct lk_answer_tool *chosen; /* the one that has to be called, or NULL */
    bool parallel;
    bool json;                     /* the answer is a JSON object, */
    const struct lk_value *schema; /* or fits this schema, where there is one */
};

/* Zeroed first; to be freed after a failure too. */
lk_status lk_answer_tools_read(struct lk_answer_tools *to, const char *request, size_t len,
                               lk_error *err);
void lk_answer_tools_free(struct lk_answer_tools *tools);
const struct lk_answer_tool *lk_answer_tool_find(const struct lk_answer_tools *tools,
                                                 const char *name);
/* The schema of a parameter, or NULL. */
const struct lk_value *lk_answer_parameter(const struct lk_answer_tool *tool, const char *key);
/* Whether values of a schema can be strings, and whether they can be anything else. Schemas that
 * say nothing can be both. */
void lk_answer_types(const struct lk_value *schema, bool *text, bool *other);

#endif
