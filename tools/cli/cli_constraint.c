/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli_constraint: see cli_constraint.h.
 */
#include "tools/cli/cli_constraint.h"

#include <stdlib.h>
#include <string.h>

int cli_constraint_check(const struct cli *cli, const struct cli_constraint_args *args)
{
    int given = (args->schema != NULL) + (args->grammar != NULL) + (args->regex != NULL);
    if (given > 1) {
        return cli_fail(cli, CLI_USAGE, "--schema, --grammar and --regex: one of them");
    }
    if (args->after && !*args->after) {
        return cli_fail(cli, CLI_USAGE, "--after: an empty text");
    }
    return args->after && !given
               ? cli_fail(cli, CLI_USAGE, "--after needs --schema, --grammar or --regex")
               : CLI_DONE;
}

/* A broken file is an input that is wrong, a broken --regex a command line that is. */
static int open_grammar(const struct cli *cli, const struct cli_constraint_args *args,
                        lk_grammar **out)
{
    lk_grammar_options o = lk_grammar_options_default();
    const char *file = args->schema ? args->schema : args->grammar;
    struct cli_buffer text = {0};
    lk_error err;
    int code = CLI_DONE;
    if (args->regex) {
        o.name = "--regex";
        lk_status status = lk_grammar_open_regex(args->regex, strlen(args->regex), &o, out, &err);
        return status == LK_E_NOMEM ? cli_error(cli, &err)
               : status             ? cli_fail(cli, CLI_USAGE, "%s", err.message)
                                    : CLI_DONE;
    }
    o.name = file;
    code = cli_read(cli, file, &text);
    if (!code) {
        const char *bytes = text.data ? text.data : "";
        lk_status status = args->schema ? lk_grammar_open_schema(bytes, text.n, &o, out, &err)
                                        : lk_grammar_open_gbnf(bytes, text.n, &o, out, &err);
        code = status ? cli_error(cli, &err) : CLI_DONE;
    }
    cli_buffer_free(&text);
    return code;
}

/* The control token with this text; -1: there is none. */
static int32_t control_token(const lk_tokenizer *t, const char *text)
{
    size_t n = strlen(text), len;
    char *bytes = malloc(n);
    int32_t found = -1;
    for (size_t i = 0; bytes && i < lk_tokenizer_n_vocab(t) && found < 0; i++) {
        int32_t id = (int32_t)i;
        if (lk_token_is_control(t, id) && !lk_token_is_eog(t, id) &&
            lk_token_bytes(t, id, bytes, n, &len) == LK_OK && len == n &&
            memcmp(bytes, text, n) == 0) {
            found = id;
        }
    }
    free(bytes);
    return found;
}

/* The grammar sleeps until args->after comes, as text or as the token with that text. */
static lk_status open_start(const struct cli_constraint_args *args, const lk_tokenizer *tokenizer,
                            struct cli_constraint *out, lk_error *err)
{
    lk_trigger trigger[2] = {{.behind = true}, {.behind = true}};
    size_t n = 0;
    if (args->after) {
        trigger[0].text = args->after;
        trigger[0].len = strlen(args->after);
        trigger[1].token = control_token(tokenizer, args->after);
        n = trigger[1].token < 0 ? 1 : 2;
    }
    return lk_constraint_open(out->grammar, tokenizer, trigger, n, &out->start, err);
}

int cli_constraint_open(const struct cli *cli, const struct cli_constraint_args *args,
                        const lk_tokenizer *tokenizer, struct cli_constraint *out)
{
    lk_error err;
    if (!args->schema && !args->grammar && !args->regex) {
        return CLI_DONE;
    }
    int code = open_grammar(cli, args, &out->grammar);
    if (!code && open_start(args, tokenizer, out, &err)) {
        code = cli_error(cli, &err);
    }
    return code;
}

void cli_constraint_close(struct cli_constraint *c)
{
    lk_constraint_close(&c->start);
    lk_grammar_close(&c->grammar);
}
