/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialogue: turns of a user and a model: what was said, and the commands that begin with a slash.
 * How an answer comes about is in cli_answer.c.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_line.h"
#include "tools/cli/cli_run.h"

struct dialogue {
    struct cli *cli;
    struct cli_runner *run;
    lk_chat_message *messages; /* their texts are ours */
    size_t n;
    bool has_system; /* messages[0] is */
    bool ended;
};

/* ---- what was said ---- */

static int say(struct dialogue *d, const char *role, const char *text, size_t len)
{
    lk_chat_message *grown = realloc(d->messages, (d->n + 1) * sizeof *grown);
    char *copy = grown ? malloc(len + 1) : NULL;
    if (grown) {
        d->messages = grown;
    }
    if (!copy) {
        return cli_fail(d->cli, CLI_NOMEM, "out of memory");
    }
    memcpy(copy, text, len);
    copy[len] = 0;
    grown[d->n++] = (lk_chat_message){role, copy, len};
    return CLI_DONE;
}

static void drop_to(struct dialogue *d, size_t n)
{
    while (d->n > n) {
        free((char *)d->messages[--d->n].text);
    }
}

static int set_system(struct dialogue *d, const char *text)
{
    size_t n = d->n;
    int code = say(d, "system", text, strlen(text));
    if (code) {
        return code;
    }
    lk_chat_message m = d->messages[n];
    if (d->has_system) {
        free((char *)d->messages[0].text);
        d->n--;
    } else {
        memmove(d->messages + 1, d->messages, n * sizeof *d->messages);
    }
    d->messages[0] = m;
    d->has_system = true;
    return CLI_DONE;
}

static int turn(struct dialogue *d, const char *line)
{
    struct cli_runner *r = d->run;
    int code = say(d, "user", line, strlen(line));
    if (!code) {
        code = cli_tokenize_chat(r, d->messages, d->n);
    }
    if (!code) {
        code = cli_answer(r);
    }
    if (code == CLI_INTERRUPTED) { /* before the first word: as if it had not been asked */
        drop_to(d, d->n - 1);
        cli_clear_interrupt();
        return CLI_DONE;
    }
    if (!code) {
        code = say(d, "assistant", r->text.n ? r->text.data : "", r->text.n);
    }
    if (!code && r->finish == LK_FINISH_CANCELLED) {
        cli_clear_interrupt(); /* it ended this answer, not the dialogue */
    }
    if (!code && d->cli->verbose) {
        cli_statistics(r);
    }
    return code;
}

/* ---- commands ---- */

static int on_exit_word(struct dialogue *d, const char *rest)
{
    (void)rest;
    d->ended = true;
    return CLI_DONE;
}

static int on_reset(struct dialogue *d, const char *rest)
{
    (void)rest;
    drop_to(d, d->has_system);
    return cli_forget(d->run);
}

static int on_save(struct dialogue *d, const char *path)
{
    if (cli_save_file(d->run, path) == CLI_DONE) {
        cli_note(d->cli, "saved to %s", path);
    }
    return CLI_DONE; /* what failed was said; the dialogue goes on */
}

static int on_load(struct dialogue *d, const char *path)
{
    if (cli_load_file(d->run, path) == CLI_DONE) {
        cli_note(d->cli, "loaded %zu tokens; what begins with them is not evaluated again",
                 lk_session_n_tokens(d->run->session));
        drop_to(d, d->has_system);
    }
    return CLI_DONE;
}

static int on_system(struct dialogue *d, const char *text)
{
    if (*text) {
        return set_system(d, text);
    }
    cli_note(d->cli, "%s", d->has_system ? d->messages[0].text : "there is no system prompt");
    return CLI_DONE;
}

static int on_undo(struct dialogue *d, const char *rest)
{
    (void)rest;
    if (d->n < (size_t)d->has_system + 2) {
        cli_note(d->cli, "nothing was said yet");
        return CLI_DONE;
    }
    drop_to(d, d->n - 2);
    return CLI_DONE;
}

static int on_stats(struct dialogue *d, const char *rest)
{
    (void)rest;
    cli_all_statistics(d->run);
    return CLI_DONE;
}

static int on_help(struct dialogue *d, const char *rest);

static const struct command {
    const char *name, *arg, *help;
    bool needs_arg;
    int (*run)(struct dialogue *d, const char *rest);
} COMMANDS[] = {
    {"help", "", "show this", false, on_help},
    {"exit", "", "end the dialogue, as Ctrl-D", false, on_exit_word},
    {"reset", "", "forget all but the system prompt", false, on_reset},
    {"undo", "", "take the last question and its answer back", false, on_undo},
    {"system", " [TEXT]", "show the system prompt, or make TEXT it", false, on_system},
    {"save", " FILE", "save the session", true, on_save},
    {"load", " FILE", "begin anew from a saved session", true, on_load},
    {"stats", "", "show how many tokens, and how fast", false, on_stats},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static int on_help(struct dialogue *d, const char *rest)
{
    (void)rest;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char spelling[32];
        snprintf(spelling, sizeof spelling, "/%s%s", COMMANDS[i].name, COMMANDS[i].arg);
        cli_note(d->cli, "  %-16s %s", spelling, COMMANDS[i].help);
    }
    cli_note(d->cli, "  //...            say what begins with a slash");
    cli_note(d->cli,
             "Alt-Enter, or Enter behind a \\, begins another line. Ctrl-C ends an answer or "
             "drops what is typed. Up and Ctrl-P bring earlier lines back.");
    return CLI_DONE;
}

/* Whether a line is a command: a slash and a word of letters. "/usr/bin" is not one. */
static bool is_command(const char *line, size_t *length)
{
    size_t n = strspn(line + (*line == '/'), "abcdefghijklmnopqrstuvwxyz");
    *length = n;
    return line[0] == '/' && n > 0 && (line[n + 1] == 0 || line[n + 1] == ' ');
}

static int obey(struct dialogue *d, const char *line, size_t length)
{
    char word[64];
    const char *rest = line + 1 + length;
    snprintf(word, sizeof word, "%.*s", (int)length, line + 1);
    rest += strspn(rest, " ");
    if (strcmp(word, "quit") == 0 || strcmp(word, "bye") == 0) {
        return on_exit_word(d, rest);
    }
    struct cli_suggestion s = cli_suggest_for(word);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct command *c = &COMMANDS[i];
        if (strcmp(c->name, word) == 0) {
            if (c->needs_arg && !*rest) {
                cli_note(d->cli, "/%s%s: the file is missing", c->name, c->arg);
                return CLI_DONE;
            }
            return c->run(d, rest);
        }
        cli_suggest(&s, c->name);
    }
    cli_note(d->cli, "there is no /%s%s (/help shows the commands)", word, cli_did_you_mean(&s));
    return CLI_DONE;
}

/* ---- all of it ---- */

static struct cli_lines *open_lines(struct cli *cli)
{
    const char *own = getenv("LOCKSTEP_HISTORY");
    char *path = own ? cli_join(own, "") : cli_state_path("history");
    struct cli_lines *lines = cli_lines_open(cli, path && *path ? path : NULL);
    free(path);
    return lines;
}

int cli_dialogue(struct cli_runner *r)
{
    struct cli *cli = r->cli;
    struct dialogue d = {.cli = cli, .run = r};
    const char *system = r->args->system;
    if (lk_model_chat_format(r->model) == LK_CHAT_NONE) {
        return cli_fail(cli, CLI_INPUT, "--chat: the model has no chat template known here");
    }
    struct cli_lines *lines = open_lines(cli);
    char *line;
    int code = lines ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory");
    if (!code && system) {
        code = set_system(&d, system);
    }
    bool edited = lines && cli_lines_edited(lines);
    if (!code && edited) {
        cli_note(cli, "/help shows commands, Ctrl-D ends");
    }
    while (!code && !d.ended && !cli->closed && (line = cli_line(lines, "> "))) {
        size_t length;
        bool slash = edited && line[0] == '/'; /* elsewhere text is text */
        if (slash && is_command(line, &length)) {
            code = obey(&d, line, length);
        } else if (*line) {
            code = turn(&d, line + (slash && line[1] == '/'));
        }
        free(line);
    }
    if (!code && !cli->closed) {
        cli_all_statistics(r);
    }
    drop_to(&d, 0);
    free(d.messages);
    cli_lines_close(&lines);
    return code;
}
