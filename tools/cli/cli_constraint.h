/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli_constraint: --schema, --grammar, --regex and --after: what answers must fit.
 */
#ifndef CLI_CONSTRAINT_H
#define CLI_CONSTRAINT_H

#include "tools/cli/cli.h"

struct cli_constraint_args {
    const char *schema, *grammar; /* files; NULL: not given */
    const char *regex, *after;    /* texts; likewise */
};

/* At most one grammar, and one where --after is given. CLI_DONE or a code (said). */
int cli_constraint_check(const struct cli *cli, const struct cli_constraint_args *args);

struct cli_constraint {
    lk_grammar *grammar;
    lk_constraint *start; /* where each answer begins; NULL: anything goes */
};

/* CLI_DONE or a code (said); all zero before, to be closed after either. */
int cli_constraint_open(const struct cli *cli, const struct cli_constraint_args *args,
                        const lk_tokenizer *tokenizer, struct cli_constraint *out);
void cli_constraint_close(struct cli_constraint *c);

#endif
