/* SPDX-License-Identifier: Apache-2.0
 *
 * Check: what lockstep check found (cli_check.c) as text, JSON (cli_check_show.c) and as a page
 * (cli_check_html.c).
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "lockstep_check.h"
#include "tools/cli/cli.h"

struct cli_check_shown {
    const lk_model *model;
    const lk_check_report *report;
    const char *repeat; /* the command that runs this again, down to the op that differs */
    const char *date;   /* "2026-11-23", UTC */
};

/* "equal", "within bounds", "DIFFERS", "not run", "". */
const char *cli_check_word(lk_check_state state);
/* "layer 3", "embedding", "head". */
void cli_check_unit(const lk_check_report *r, int layer, char out[32]);

/* "1", "5 to 72": the tokens of a batch. */
void cli_check_tokens(const lk_check_kernel *k, char out[32]);

void cli_check_text(FILE *to, const struct cli_check_shown *s, bool all); /* all: every note */
void cli_check_json(FILE *to, const struct cli_check_shown *s);
void cli_check_html(FILE *to, const struct cli_check_shown *s);

/* lockstep check and run --test. */
struct cli_check_args {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    bool quick, json;
    const char *only, *report;
};
int cli_check_model(struct cli *cli, const struct cli_check_args *args);

#endif
