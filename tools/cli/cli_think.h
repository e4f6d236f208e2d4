/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli think: what `run` does with a model's thinking: asks for it, shows it, keeps it out of what
 * is said later, ends it where its budget is spent. What is thinking and what is not is the
 * library's (lk_answer_*).
 */
#ifndef CLI_THINK_H
#define CLI_THINK_H

#include "tools/cli/cli_chat.h"

struct cli_think_args {
    const char *how;    /* --think, or NULL */
    const char *show;   /* --thinking: "show", "hide", "only", or NULL */
    const char *budget; /* --think-budget as text, or NULL */
};

/* Of a model whose template says nothing of thinking, `format` is NULL and nothing is done. */
struct cli_think {
    struct cli *cli;
    const struct cli_think_args *args;
    lk_answer_format *format;
    lk_answer_info info;
    char *template_args;  /* of the template, with what --think asks for */
    int32_t *shown, *end; /* tokens of markers; those that end thinking */
    size_t n_shown, n_end;
    int64_t budget;         /* tokens; -1: no limit */
    lk_answer *answer;      /* the present one */
    int64_t spent;          /* tokens of thinking in it */
    bool ended;             /* the end was forced */
    bool dims, dim, silent; /* a terminal; in thinking; nothing is printed */
    char last;              /* the last byte that was printed, or 0 */
    struct cli_buffer thinking, content;
};

/* Each returns CLI_DONE or a code (said). */

/* Before a model is open; and for a chat that is open, whose args it may change. */
int cli_think_check(struct cli *cli, const struct cli_think_args *args, bool raw);
int cli_think_open(struct cli *cli, const struct cli_think_args *args, struct cli_chat *chat,
                   const lk_tokenizer *t, struct cli_think *out);
void cli_think_close(struct cli_think *t);
/* Whether prompts end inside of thinking. */
int cli_think_begins(struct cli_think *t, const struct cli_chat *chat, bool *begins);

/* An answer behind a prompt (NULL: any text); silent: nothing is printed. */
int cli_think_begin(struct cli_think *t, const lk_rendering *prompt, bool silent);
void cli_think_token(struct cli_think *t); /* one is chosen, its text comes next */
int cli_think_text(struct cli_think *t, const char *text, size_t n);
int cli_think_end(struct cli_think *t); /* the text is over */
/* Forces the end of thinking, if it is due. */
int cli_think_limit(struct cli_think *t, lk_generation *g);

#endif
