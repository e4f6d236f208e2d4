/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep generate: the man page and the shell completions, written out of the tables of commands
 * and options that the parser reads.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_docs.h"

struct arguments {
    const char *output;
};

/* ---- man page ---- */

static const char REST[] =
    ".SH MODELS\nA \\fIMODEL\\fR with a \\(aq/\\(aq in it or ending in .gguf is a path; "
    "\\fIhf:OWNER/REPO/FILE.gguf\\fR and \\fIhttps://...\\fR are fetched into the cache; "
    "another word is the name of a model that is known or in the cache.\n"
    ".SH DIALOGUE\n\\fB/help\\fR shows the commands of a dialogue on a terminal. "
    "Alt\\-Enter, or Enter behind a backslash, begins another line; pasted text keeps its own. "
    "Up, Down, Ctrl\\-P and Ctrl\\-N bring earlier lines back; one that begins with a space is "
    "not kept. Ctrl\\-C drops what is typed or ends an answer, Ctrl\\-D ends the dialogue.\n"
    ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nthe answer is no\n.TP\n2\nthe command line is "
    "wrong\n.TP\n3\na file or model is not there, broken or not for us, or output could not be "
    "written (a closed pipe is no failure)\n.TP\n4\nout of memory, of the machine or a "
    "device\n.TP\n5\nbackend or device\n.TP\n130, 143, 129\ninterrupted; with --save ended by "
    "SIGTERM, by SIGHUP\n"
    ".SH FILES\n.TP\n$XDG_CACHE_HOME/lockstep\nmodels, and what is computed once for a device "
    "(default \\(ti/.cache)\n.TP\n$XDG_STATE_HOME/lockstep/history\nlines of dialogues "
    "(default \\(ti/.local/state)\n"
    ".SH ENVIRONMENT\n.TP\nXDG_CACHE_HOME, XDG_STATE_HOME, HOME\nwhere files are kept; a "
    "relative path counts as none, and without a home nothing is kept\n"
    ".TP\nLOCKSTEP_HISTORY\nanother file for the lines of dialogues; empty: none\n"
    ".TP\nHF_ENDPOINT\na mirror of https://huggingface.co\n"
    ".TP\nHTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, PIP_INDEX_URL\nas usual, for what is fetched\n"
    ".TP\nNO_COLOR\nif set and not empty: no colors\n";

/* Text for troff: no character of it is a command or a hyphenation point. */
static void roff(FILE *to, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\') {
            fputs("\\e", to);
        } else if (*s == '-') {
            fputs("\\-", to);
        } else if (*s == '\'') {
            fputs("\\(aq", to);
        } else if (*s == '~') {
            fputs("\\(ti", to);
        } else if (*s == '\n' && s[1] == '\n') {
            fputs("\n.PP", to);
        } else {
            fputc(*s, to);
        }
    }
}

static void man_options(FILE *to, const struct cli_option *o)
{
    for (; o->name; o++) {
        if (o->group) {
            fprintf(to, ".PP\n.I \"");
            roff(to, o->group);
            fprintf(to, ":\"\n");
        }
        fprintf(to, ".TP\n");
        if (o->letter) {
            fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
        }
        fprintf(to, "\\fB\\-\\-");
        roff(to, o->name);
        fprintf(to, "\\fR");
        if (o->arg) {
            fprintf(to, " \\fI");
            roff(to, o->arg);
            fprintf(to, "\\fR");
        }
        fprintf(to, "\n\\&");
        roff(to, o->help);
        if (o->choices) {
            fprintf(to, ": ");
            roff(to, o->choices);
        }
        if (o->type == CLI_LIST) {
            fprintf(to, "; may be repeated");
        }
        if (o->fallback) {
            fprintf(to, " (default ");
            roff(to, o->fallback);
            fprintf(to, ")");
        }
        fputc('\n', to);
    }
}

/* Each line as it is. */
static void man_examples(FILE *to, const char *lines)
{
    if (!lines) {
        return;
    }
    fprintf(to, ".PP\nExamples:\n.PP\n.nf\n.RS\n");
    while (*lines) {
        char line[256];
        size_t n = strcspn(lines, "\n");
        snprintf(line, sizeof line, "%.*s", (int)n, lines);
        fprintf(to, "\\&");
        roff(to, line);
        fputc('\n', to);
        lines += n + (lines[n] == '\n');
    }
    fprintf(to, ".RE\n.fi\n");
}

static void man_command(FILE *to, const struct cli_command *c)
{
    fprintf(to, ".SS \"");
    roff(to, c->name);
    fprintf(to, " [OPTIONS] %s\"\n\\&", c->usage);
    roff(to, c->summary);
    fprintf(to, ".\n");
    if (c->details) {
        fprintf(to, ".PP\n\\&");
        roff(to, c->details);
        fputc('\n', to);
    }
    man_examples(to, c->examples);
    for (int i = 0; i < CLI_TABLES && c->options[i]; i++) {
        man_options(to, c->options[i]);
    }
}

void cli_man(FILE *to)
{
    fprintf(to, ".TH LOCKSTEP 1 \"\" \"lockstep %s\" \"User Commands\"\n", LK_VERSION);
    fprintf(to, ".SH NAME\nlockstep \\- run GGUF language models with the same bits everywhere\n"
                ".SH SYNOPSIS\n.B lockstep\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR ...\n"
                ".SH OPTIONS OF EVERY COMMAND\n");
    man_options(to, cli_global_options);
    fprintf(to, ".SH COMMANDS\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        man_command(to, cli_commands[i]);
    }
    fprintf(to, "%s", REST);
}

typedef void (*document)(FILE *to);

static void call(FILE *to, const void *write)
{
    (*(const document *)write)(to);
}

static int run(struct cli *cli, void *arguments)
{
    static const struct {
        const char *name;
        document write;
    } KIND[] = {{"man", cli_man},
                {"bash", cli_complete_bash},
                {"zsh", cli_complete_zsh},
                {"fish", cli_complete_fish}};
    const struct arguments *args = arguments;
    for (size_t i = 0; i < sizeof KIND / sizeof *KIND; i++) {
        if (strcmp(cli->argv[0], KIND[i].name) != 0) {
            continue;
        }
        if (!args->output) {
            KIND[i].write(stdout);
            return CLI_DONE;
        }
        lk_output *to;
        lk_error err;
        return lk_output_open(args->output, 0, &to, &err)
                   ? cli_error(cli, &err)
                   : cli_write(cli, args->output, &to, call, &KIND[i].write);
    }
    return cli_fail(cli, CLI_USAGE, "'%s', expected man, bash, zsh or fish", cli->argv[0]);
}

static const struct cli_option options[] = {
    {"output", 'o', CLI_STRING, "FILE", offsetof(struct arguments, output),
     .help = "write to FILE instead of standard output"},
    CLI_END,
};

const struct cli_command cli_generate = {
    .name = "generate",
    .group = "about the program",
    .usage = "man|bash|zsh|fish",
    .summary = "print the man page or a shell's completions",
    .details = "`cmake --install` puts them where they are found.",
    .words = CLI_WORDS_KINDS,
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct arguments),
    .options = {options},
    .run = run,
};
