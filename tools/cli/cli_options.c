/* SPDX-License-Identifier: Apache-2.0
 *
 * Options: command lines and --help out of the tables of options. Knows no single option.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 98 };

bool cli_has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; *p;) {
        size_t w = strcspn(p, " ");
        if (w == n && memcmp(p, word, n) == 0) {
            return true;
        }
        p += w + (p[w] == ' ');
    }
    return false;
}

static int bad_value(const struct cli *cli, const struct cli_option *o, const char *text)
{
    if (o->choices) {
        return cli_fail(cli, CLI_USAGE, "--%s: '%s', expected one of: %s", o->name, text,
                        o->choices);
    }
    if (o->min == 0.0 && o->max == 0.0) {
        return cli_fail(cli, CLI_USAGE, "--%s: '%s', expected a %s", o->name, text,
                        o->type == CLI_INT ? "whole number of 64 bits with its sign" : "number");
    }
    return cli_fail(cli, CLI_USAGE, "--%s: '%s', expected a%s number from %.15g to %.15g", o->name,
                    text, o->type == CLI_INT ? " whole" : "", o->min, o->max);
}

static int set_number(const struct cli *cli, const struct cli_option *o, void *field,
                      const char *text)
{
    bool limited = o->min != 0.0 || o->max != 0.0;
    char *end;
    errno = 0;
    if (o->type == CLI_INT) {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end || errno || isspace((unsigned char)*text) ||
            (limited && ((double)value < o->min || (double)value > o->max))) {
            return bad_value(cli, o, text);
        }
        *(int64_t *)field = value;
    } else {
        double value = strtod(text, &end);
        if (end == text || *end || isspace((unsigned char)*text) || !isfinite(value) ||
            (limited && (value < o->min || value > o->max))) {
            return bad_value(cli, o, text);
        }
        *(double *)field = value;
    }
    return CLI_DONE;
}

static int set(const struct cli *cli, const struct cli_option *o, void *base, const char *text)
{
    void *field = (char *)base + o->offset;
    switch (o->type) {
    case CLI_FLAG:
        *(bool *)field = true;
        return CLI_DONE;
    case CLI_COUNT:
        ++*(int *)field;
        return CLI_DONE;
    case CLI_INT:
    case CLI_FLOAT:
        return set_number(cli, o, field, text);
    case CLI_STRING:
        if (o->choices && !cli_has_word(o->choices, text)) {
            return bad_value(cli, o, text);
        }
        *(const char **)field = text;
        return CLI_DONE;
    case CLI_LIST: {
        struct cli_list *list = field;
        if (list->n == CLI_LIST_MAX) {
            return cli_fail(cli, CLI_USAGE, "--%s: given more than %d times", o->name,
                            CLI_LIST_MAX);
        }
        list->item[list->n++] = text;
        return CLI_DONE;
    }
    }
    return CLI_DONE;
}

static bool takes_value(const struct cli_option *o)
{
    return o->type != CLI_FLAG && o->type != CLI_COUNT;
}

/* The option called `name` (n bytes) or `letter`. */
static const struct cli_option *find(const struct cli_option *const *tables, int n_tables,
                                     const char *name, size_t n, char letter, int *table)
{
    for (int t = 0; t < n_tables; t++) {
        for (const struct cli_option *o = tables[t]; o->name; o++) {
            if (letter ? o->letter == letter
                       : strlen(o->name) == n && memcmp(o->name, name, n) == 0) {
                *table = t;
                return o;
            }
        }
    }
    return NULL;
}

static int need_value(const struct cli *cli, const struct cli_option *o)
{
    return cli_fail(cli, CLI_USAGE, "--%s needs a value: %s", o->name, o->arg);
}

static int unknown_option(const struct cli *cli, const struct cli_option *const *tables,
                          int n_tables, const char *arg, size_t n)
{
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(n < 64 ? n : 63), arg);
    struct cli_suggestion s = cli_suggest_for(word);
    for (int t = 0; t < n_tables; t++) {
        for (const struct cli_option *o = tables[t]; o->name; o++) {
            cli_suggest(&s, o->name);
        }
    }
    char best[72] = "";
    if (s.best[0]) {
        snprintf(best, sizeof best, ", did you mean '--%s'?", s.best);
    }
    return cli_fail(cli, CLI_USAGE, "unknown option '--%.*s'%s", (int)n, arg, best);
}

static void note_given(struct cli *cli, const struct cli_option *o)
{
    if (cli->n_given < CLI_GIVEN_MAX) {
        cli->given[cli->n_given++] = o;
    }
}

bool cli_given(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->n_given; i++) {
        if (strcmp(cli->given[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* --name, --name=VALUE or --name VALUE; *next is the argument after it. */
static int parse_long(struct cli *cli, const struct cli_option *const *tables, void *const *base,
                      int n_tables, const char *arg, char ***next)
{
    size_t n = strcspn(arg, "=");
    int t;
    const struct cli_option *o = find(tables, n_tables, arg, n, 0, &t);
    if (!o) {
        return unknown_option(cli, tables, n_tables, arg, n);
    }
    note_given(cli, o);
    const char *value = arg[n] ? arg + n + 1 : NULL;
    if (!takes_value(o)) {
        return value ? cli_fail(cli, CLI_USAGE, "--%s takes no value", o->name)
                     : set(cli, o, base[t], NULL);
    }
    if (!value && !(value = *(*next)++)) {
        return need_value(cli, o);
    }
    return set(cli, o, base[t], value);
}

/* -n VALUE, -nVALUE, -qv */
static int parse_short(struct cli *cli, const struct cli_option *const *tables, void *const *base,
                       int n_tables, const char *arg, char ***next)
{
    for (; *arg; arg++) {
        int t;
        const struct cli_option *o = find(tables, n_tables, NULL, 0, *arg, &t);
        if (!o) {
            return cli_fail(cli, CLI_USAGE, "unknown option '-%c'", *arg);
        }
        const char *value = NULL;
        note_given(cli, o);
        if (takes_value(o)) {
            value = arg[1] ? arg + 1 : *(*next)++;
            if (!value) {
                return need_value(cli, o);
            }
        }
        int code = set(cli, o, base[t], value);
        if (code || takes_value(o)) {
            return code;
        }
    }
    return CLI_DONE;
}

int cli_parse(struct cli *cli, const struct cli_option *const *tables, void *const *base,
              int n_tables, char **argv, int *n, bool stop_at_first)
{
    for (int t = 0; t < n_tables; t++) {
        for (const struct cli_option *o = tables[t]; o->name; o++) {
            int code = o->fallback ? set(cli, o, base[t], o->fallback) : CLI_DONE;
            if (code) {
                return code;
            }
        }
    }
    char **next = argv, **kept = argv;
    bool only_args = false;
    *n = 0;
    while (*next) {
        char *arg = *next++;
        int code = CLI_DONE;
        if (only_args || arg[0] != '-' || !arg[1]) {
            *kept++ = arg;
            ++*n;
            if (stop_at_first) {
                break;
            }
        } else if (strcmp(arg, "--") == 0) {
            only_args = true;
        } else if (arg[1] == '-') {
            code = parse_long(cli, tables, base, n_tables, arg + 2, &next);
        } else {
            code = parse_short(cli, tables, base, n_tables, arg + 1, &next);
        }
        if (code) {
            return code;
        }
    }
    while (stop_at_first && *next) { /* what follows the command's name, as it is */
        *kept++ = *next++;
    }
    *kept = NULL;
    return CLI_DONE;
}

/* ---- help ---- */

void cli_option_spelling(const struct cli_option *o, char *buf, size_t cap)
{
    char letter[8] = "    ";
    if (o->letter) {
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    }
    snprintf(buf, cap, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

/* Words of text from column `at` on, wrapped at HELP_WIDTH and indented. */
static void wrap(FILE *to, const char *text, int at, int indent)
{
    int column = at;
    bool space = false; /* owed before the next word */
    while (*text) {
        int w = (int)strcspn(text, " \n");
        if (w && column + space + w > HELP_WIDTH && column > indent) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
            space = false;
        }
        column += w ? fprintf(to, "%s%.*s", space ? " " : "", w, text) : 0;
        text += w;
        space = *text == ' ';
        if (*text == '\n') {
            fprintf(to, "\n%*s", text[1] && text[1] != '\n' ? indent : 0, "");
            column = indent;
        }
        text += *text != 0;
    }
    fputc('\n', to);
}

/* `first`: what stands above options that belong to no group. */
static void help_options(FILE *to, const struct cli_option *o, const char *first)
{
    for (bool head = true; o->name; o++, head = false) {
        char spelling[96], text[512];
        const char *group = o->group ? o->group : head ? first : NULL;
        if (group) {
            fprintf(to, "\n%s:\n", group);
        }
        cli_option_spelling(o, spelling, sizeof spelling);
        snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->help, o->choices ? ": " : "",
                 o->choices ? o->choices : "", o->fallback ? " (default " : "",
                 o->fallback ? o->fallback : "", o->fallback ? ")" : "",
                 o->type == CLI_LIST ? "; may be repeated" : "");
        int n = fprintf(to, "  %s", spelling);
        if (n >= HELP_COLUMN) {
            fputc('\n', to);
            n = 0;
        }
        fprintf(to, "%*s", HELP_COLUMN - n, "");
        wrap(to, text, HELP_COLUMN, HELP_COLUMN);
    }
}

/* Bytes of the command in the line of an example; what it does comes behind three spaces. */
static size_t example_command(const char *line, size_t n)
{
    for (size_t i = 0; i + 3 < n; i++) {
        if (memcmp(line + i, "   ", 3) == 0) {
            return i;
        }
    }
    return n;
}

static void help_examples(FILE *to, const char *lines)
{
    size_t width = 0, n;
    for (const char *p = lines; *p; p += n + (p[n] == '\n')) {
        n = strcspn(p, "\n");
        size_t command = example_command(p, n);
        width = command < n && command > width ? command : width;
    }
    fputs("\nexamples:\n", to);
    for (; *lines; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        size_t command = example_command(lines, n), what = command;
        while (what < n && lines[what] == ' ') {
            what++;
        }
        fprintf(to, "  %-*.*s%s%.*s\n", command < n ? (int)width : 0, (int)command, lines,
                command < n ? "   " : "", (int)(n - what), lines + what);
    }
}

static void help_program(FILE *to)
{
    fputs("usage: lockstep [OPTIONS] COMMAND ...\n\n"
          "Runs GGUF language models with the same bits on every backend.\n",
          to);
    for (size_t i = 0; cli_commands[i]; i++) {
        const struct cli_command *c = cli_commands[i];
        if (c->group) {
            fprintf(to, "\n%s:\n", c->group);
        }
        fprintf(to, "  %-12s %s\n", c->name, c->summary);
    }
    help_options(to, cli_global_options, "options of every command");
    help_examples(to, cli_run.examples);
    fputs("\nA MODEL with a '/' or that ends in .gguf is a path, hf:OWNER/REPO/FILE.gguf and "
          "https://...\nare fetched, another word is a name of `lockstep list`.\n\n"
          "`lockstep help COMMAND` shows a command's options. Exit codes: 0 done, 1 the answer is "
          "no,\n2 command line, 3 file or model, 4 memory, 5 backend or device, 130 "
          "interrupted.\n",
          to);
}

void cli_help(FILE *to, const struct cli_command *c)
{
    if (!c) {
        help_program(to);
        return;
    }
    fprintf(to, "usage: lockstep %s [OPTIONS] %s\n\n", c->name, c->usage);
    fprintf(to, "%c", toupper((unsigned char)c->summary[0]));
    wrap(to, c->summary + 1, 1, 0);
    if (c->details) {
        fputc('\n', to);
        wrap(to, c->details, 0, 0);
    }
    if (c->examples) {
        help_examples(to, c->examples);
    }
    for (int i = 0; c->options[i]; i++) {
        help_options(to, c->options[i], i ? NULL : "options");
    }
    help_options(to, cli_global_options, "options of every command");
}
