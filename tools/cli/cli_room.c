/* SPDX-License-Identifier: Apache-2.0
 *
 * Room: what a dialogue does when its context is full: the oldest turns are dropped, so that what
 * is said next is what would be said in a dialogue of the kept turns alone.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_run.h"

/* The prompt of the dialogue without its `drop` oldest messages. */
static int tokenize_without(struct cli_runner *r, size_t drop)
{
    const struct cli_turns *t = &r->turns;
    size_t first = t->has_system, n = t->n - drop;
    lk_chat_message *kept = malloc(n * sizeof *kept);
    if (!kept) {
        return cli_fail(r->cli, CLI_NOMEM, "out of memory");
    }
    memcpy(kept, t->message, first * sizeof *kept);
    memcpy(kept + first, t->message + first + drop, (n - first) * sizeof *kept);
    int code = cli_tokenize_chat(r, kept, n);
    free(kept);
    return code;
}

static bool drops(const struct cli_runner *r)
{
    return !r->args->on_full || strcmp(r->args->on_full, "drop") == 0;
}

int cli_make_room(struct cli_runner *r, size_t written, bool *made)
{
    struct cli_turns *t = &r->turns;
    size_t all = (t->n - t->has_system) / 2, drop = 0; /* turns before the question */
    size_t wanted = r->n_ctx - r->n_ctx / 4, n = SIZE_MAX;
    *made = false;
    if (!drops(r)) {
        return CLI_DONE;
    }
    while (drop < all && n > wanted) {
        int code = tokenize_without(r, 2 * ++drop);
        if (code) {
            return code;
        }
        n = r->n + written;
    }
    if (n >= r->n_ctx) {
        return CLI_DONE; /* not even the question alone leaves room */
    }
    cli_turns_drop(t, 2 * drop);
    if (written && r->cli->err_tty && !r->cli->quiet) {
        fputc('\n', stderr); /* the answer's line is not at its end */
    }
    cli_note(r->cli, "the context is full: the oldest %zu of %zu turns were dropped", drop, all);
    *made = true;
    return CLI_DONE;
}

int cli_ask(struct cli_runner *r, bool *fits)
{
    int code = cli_tokenize_chat(r, r->turns.message, r->turns.n);
    *fits = r->n < r->n_ctx;
    if (code || *fits) {
        return code;
    }
    code = cli_make_room(r, 0, fits);
    if (!code && !*fits) {
        cli_fail(r->cli, CLI_INPUT,
                 "not said: %s, the dialogue has %zu tokens, the context %zu; %s",
                 drops(r) ? "even without older turns" : "with it", r->n, r->n_ctx,
                 drops(r) ? "--ctx gives more" : "--ctx gives more, /undo and /reset forget");
    }
    return code;
}
