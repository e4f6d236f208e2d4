/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialogue: turns of a user and a model, and the commands that begin with a slash. What was said is
 * kept by cli_turns.c, an answer comes about in cli_answer.c.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_line.h"
#include "tools/cli/cli_run.h"

struct dialogue {
    struct cli *cli;
    struct cli_runner *run;
    bool ended;
};

/* A question and its answer. What can't be said changes nothing. */
static int turn(struct dialogue *d, const char *line)
{
    struct cli_runner *r = d->run;
    bool fits = true;
    int code = cli_turns_say(d->cli, &r->turns, "user", line, strlen(line));
    if (!code) {
        code = cli_ask(r, &fits);
    }
    if (!code && fits) {
        code = cli_answer(r);
    }
    if (!code && !fits) {
        cli_turns_keep(&r->turns, r->turns.n - 1);
        return CLI_DONE;
    }
    if (code == CLI_INTERRUPTED) { /* before the first word: as if it had not been asked */
        cli_turns_keep(&r->turns, r->turns.n - 1);
        cli_clear_interrupt();
        return CLI_DONE;
    }
    if (!code) {
        const struct cli_buffer *said = cli_said(r);
        code = cli_turns_say(d->cli, &r->turns, "assistant", said->n ? said->data : "", said->n);
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
    cli_turns_keep(&d->run->turns, d->run->turns.has_system);
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
    (void)cli_load_file(d->run, path);
    return CLI_DONE; /* what failed was said; the dialogue goes on */
}

static int on_system(struct dialogue *d, const char *text)
{
    struct cli_turns *t = &d->run->turns;
    if (*text) {
        return cli_turns_set_system(d->cli, t, text);
    }
    cli_note(d->cli, "%s", t->has_system ? t->message[0].text : "there is no system prompt");
    return CLI_DONE;
}

static int on_undo(struct dialogue *d, const char *rest)
{
    struct cli_turns *t = &d->run->turns;
    (void)rest;
    if (t->n < (size_t)t->has_system + 2) {
        cli_note(d->cli, "nothing was said yet");
        return CLI_DONE;
    }
    cli_turns_keep(t, t->n - 2);
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
    {"save", " FILE", "save the dialogue", true, on_save},
    {"load", " FILE", "go on with a saved dialogue", true, on_load},
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
    if (!cli_chat_knows(&r->format)) {
        return cli_fail(cli, CLI_INPUT, "--chat: %s", r->format.why);
    }
    struct cli_lines *lines = open_lines(cli);
    char *line;
    int code = lines ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory");
    if (!code && system) {
        code = cli_turns_set_system(cli, &r->turns, system);
    }
    bool typed = lines && cli_lines_typed(lines);
    if (!code && typed) {
        cli_note(cli, "/help shows commands, Ctrl-D ends");
    }
    while (!code && !d.ended && !cli->closed && (line = cli_line(lines, "> "))) {
        size_t length;
        bool slash = typed && line[0] == '/'; /* elsewhere text is text */
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
    cli_lines_close(&lines);
    return code;
}
