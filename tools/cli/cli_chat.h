/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli chat: dialogues as `run` and `template` write them: by a template of the user's, by the
 * model's own, or, where that one does not run, by a format that the library knows.
 */
#ifndef CLI_CHAT_H
#define CLI_CHAT_H

#include "tools/cli/cli.h"

struct cli_chat {
    struct cli *cli;
    const lk_model *model;
    lk_template *t;        /* NULL: there is none that compiles */
    lk_rendering *prompt;  /* the last dialogue that was written by it, or NULL */
    lk_chat_format format; /* what stands in for the model's own template, or LK_CHAT_NONE */
    const char *file;      /* --template, or NULL */
    const char *args;      /* --template-args, or NULL */
    bool fell_back;        /* it was said that the format stands in */
    char why[1024];        /* why there is no template */
};

/* Opens --template FILE, or else the model's template. Only a FILE that can't be used is an error;
 * what is wrong with the model's own is in chat->why. */
int cli_chat_open(struct cli *cli, const lk_model *model, const char *file, const char *args,
                  struct cli_chat *chat);
void cli_chat_close(struct cli_chat *chat);
/* Whether messages can be written at all. */
bool cli_chat_knows(const struct cli_chat *chat);
/* Ids of a dialogue; says in one line, once, when a format stands in for the template. *n may be
 * more than cap. */
int cli_chat_tokenize(struct cli_chat *chat, const lk_tokenizer *t, const lk_chat_message *messages,
                      size_t n_messages, int32_t *ids, size_t cap, size_t *n);

#endif
