/* SPDX-License-Identifier: Apache-2.0
 *
 * Once: one prompt of the command line or of standard input, or a loaded session that goes on, and
 * its answer as JSON.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/cli_run.h"

/* The prompt's bytes; *given false when there is none and a loaded session goes on. */
static int read_prompt(struct cli_runner *r, struct cli_buffer *text, bool *given)
{
    const char *word = r->cli->argc > 1 ? r->cli->argv[1] : NULL;
    *given = true;
    if (word && strcmp(word, "-") != 0) {
        return cli_append(text, word, strlen(word)) ? CLI_DONE
                                                    : cli_fail(r->cli, CLI_NOMEM, "out of memory");
    }
    if (!word && isatty(STDIN_FILENO)) {
        *given = false;
    } else {
        int code = cli_read(r->cli, NULL, text);
        if (code) {
            return code;
        }
        *given = text->n > 0 || !r->args->load;
    }
    if (!*given && !r->args->load) {
        return cli_fail(r->cli, CLI_USAGE,
                        "no prompt: give PROMPT, text on standard input or "
                        "--chat");
    }
    return CLI_DONE;
}

/* The text as a user's message, after the system prompt if there is one. */
static int begin_dialogue(struct cli_runner *r, const char *text, size_t len)
{
    const char *system = r->args->system;
    int code = system ? cli_turns_set_system(r->cli, &r->turns, system) : CLI_DONE;
    if (!code) {
        code = cli_turns_say(r->cli, &r->turns, "user", text, len);
    }
    return code ? code : cli_tokenize_chat(r, r->turns.message, r->turns.n);
}

/* The answer belongs to the dialogue, or, where a loaded session went on, to its last answer. */
static int keep_answer(struct cli_runner *r)
{
    struct cli_turns *t = &r->turns;
    const struct cli_buffer *said = cli_said(r);
    struct cli_buffer all = {0};
    const lk_chat_message *last = t->n ? &t->message[t->n - 1] : NULL;
    bool goes_on = last && strcmp(last->role, "assistant") == 0;
    if (!last) {
        return CLI_DONE;
    }
    bool ok = (!goes_on || cli_append(&all, last->text, last->len)) &&
              cli_append(&all, said->n ? said->data : "", said->n);
    int code = ok ? CLI_DONE : cli_fail(r->cli, CLI_NOMEM, "out of memory");
    if (!code) {
        cli_turns_keep(t, t->n - goes_on);
        code = cli_turns_say(r->cli, t, "assistant", all.n ? all.data : "", all.n);
    }
    cli_buffer_free(&all);
    return code;
}

int cli_once(struct cli_runner *r)
{
    struct cli_buffer text = {0};
    bool given, chat = !r->args->raw && cli_chat_knows(&r->format);
    int code = read_prompt(r, &text, &given);
    const char *bytes = text.data ? text.data : "";
    if (!code && r->args->system && !chat) {
        code = cli_fail(r->cli, CLI_INPUT, "--system: %s", r->format.why);
    } else if (!code && given) {
        cli_turns_keep(&r->turns, 0); /* of what was loaded only tokens are of use */
        if (!chat && !r->args->raw) {
            cli_note(r->cli, "%s; the prompt is continued as it is", r->format.why);
        }
        code = chat ? begin_dialogue(r, bytes, text.n) : cli_tokenize_raw(r, bytes, text.n);
    } else if (!code) {
        r->n = lk_session_n_tokens(r->session);
        memcpy(r->ids, lk_session_tokens(r->session), r->n * sizeof *r->ids);
    }
    cli_buffer_free(&text);
    if (!code) {
        code = cli_answer(r);
    }
    return code ? code : keep_answer(r);
}

void cli_once_json(const struct cli_runner *r, const char *hash)
{
    const struct cli_counts *c = &r->last;
    size_t n;
    const int32_t *ids = lk_generation_tokens(r->generation, &n);
    printf("{\"schema\":1,\"model\":");
    cli_json_string(stdout, lk_model_path(r->model), strlen(lk_model_path(r->model)));
    printf(",\"backend\":\"%s\",\"text\":", lk_session_backend(r->session));
    cli_json_string(stdout, r->text.n ? r->text.data : "", r->text.n);
    if (r->think.format) {
        printf(",\"thinking\":");
        cli_json_string(stdout, r->think.thinking.n ? r->think.thinking.data : "",
                        r->think.thinking.n);
        printf(",\"content\":");
        cli_json_string(stdout, r->think.content.n ? r->think.content.data : "",
                        r->think.content.n);
    }
    printf(",\"finish\":\"%s\",\"ids\":[", lk_finish_name(r->finish));
    for (size_t i = c->prompt; i < n; i++) {
        printf("%s%d", i > c->prompt ? "," : "", ids[i]);
    }
    printf("],\"n_prompt\":%zu,\"n_reused\":%zu,\"n_gen\":%zu,\"prompt_tps\":%.3f,\"gen_tps\":%.3f",
           c->prompt, c->reused, c->written, cli_rate(c->prompt - c->reused, c->prompt_seconds),
           cli_rate(c->decoded, c->decode_seconds));
    if (hash) {
        printf(",\"logits_sha256\":\"%s\"", hash);
    }
    printf("}\n");
}
