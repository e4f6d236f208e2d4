/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep: the program. Owns the table of commands and what stands before a command's name.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/cli.h"

const struct cli_command *const cli_commands[] = {
    &cli_run,      &cli_serve,        &cli_embed,
    &cli_pull,     &cli_models,       &cli_remove,   /* every day */
    &cli_inspect,  &cli_tokenize,     &cli_template, /* what is in it */
    &cli_check,    &cli_devices,      &cli_perplexity,
    &cli_bench, /* is it right, how fast is it */
    &cli_generate, &cli_help_command, NULL,
};

const struct cli_option cli_global_options[] = {
    {"help", 'h', CLI_FLAG, .offset = offsetof(struct cli_global, help), .help = "show help"},
    {"version", 'V', CLI_FLAG, .offset = offsetof(struct cli_global, version),
     .help = "show version, commit and numerics version"},
    {"quiet", 'q', CLI_FLAG, .offset = offsetof(struct cli_global, quiet),
     .help = "say nothing but errors on stderr"},
    {"verbose", 'v', CLI_COUNT, .offset = offsetof(struct cli_global, verbose),
     .help = "say more on stderr; twice: still more"},
    CLI_END,
};

const struct cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) {
            return cli_commands[i];
        }
    }
    return NULL;
}

int cli_unknown_command(struct cli *cli, const char *name)
{
    struct cli_suggestion s = cli_suggest_for(name);
    for (size_t i = 0; cli_commands[i]; i++) {
        cli_suggest(&s, cli_commands[i]->name);
    }
    return cli_fail(cli, CLI_USAGE, "unknown command '%s'%s", name, cli_did_you_mean(&s));
}

static int run_help(struct cli *cli, void *args)
{
    const char *name = cli->argc ? cli->argv[0] : NULL;
    const struct cli_command *c = name ? cli_find_command(name) : NULL;
    (void)args;
    if (name && !c) {
        cli->command = NULL;
        return cli_unknown_command(cli, name);
    }
    cli_help(stdout, c);
    return CLI_DONE;
}

static const struct cli_option none[] = {CLI_END};

const struct cli_command cli_help_command = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "show what there is, or the options of a command",
    .max_args = 1,
    .words = CLI_WORDS_COMMANDS,
    .options = {none},
    .run = run_help,
};

/* The common options were read into `global`: help and version end here. */
static bool answered(struct cli *cli, const struct cli_global *global)
{
    if (global->help) {
        cli_help(stdout, cli->command);
    } else if (global->version) {
        printf("lockstep %s\n", lk_version());
    }
    cli->quiet = global->quiet;
    cli->verbose = global->verbose;
    return global->help || global->version;
}

static int run_command(struct cli *cli, struct cli_global *global, char **argv)
{
    const struct cli_command *c = cli->command;
    const struct cli_option *tables[CLI_TABLES + 1] = {cli_global_options};
    void *args = calloc(1, c->args_size ? c->args_size : 1);
    void *base[CLI_TABLES + 1] = {global};
    int n = 1;
    if (!args) {
        return cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    for (; n <= CLI_TABLES && c->options[n - 1]; n++) {
        tables[n] = c->options[n - 1];
        base[n] = args;
    }
    int code = cli_parse(cli, tables, base, n, argv, &cli->argc, false);
    if (!code && !answered(cli, global)) {
        cli->argv = argv;
        if (cli->argc < c->min_args) {
            code = cli_fail(cli, CLI_USAGE, "expected %s", c->usage);
        } else if (c->max_args >= 0 && cli->argc > c->max_args) {
            code = cli_fail(cli, CLI_USAGE, "unexpected argument '%s'", argv[c->max_args]);
        } else {
            code = c->run(cli, args);
        }
    }
    free(args);
    return code;
}

static int command_line(char **argv)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool tty = isatty(STDERR_FILENO), dumb = term && strcmp(term, "dumb") == 0;
    struct cli cli = {.err_tty = tty, .draws = tty && !dumb};
    struct cli_global global = {0};
    const struct cli_option *const tables[] = {cli_global_options};
    void *const base[] = {&global};
    int n, code;
    cli.color = cli.draws && !(no_color && *no_color) && term;
    code = cli_parse(&cli, tables, base, 1, argv + 1, &n, true);
    if (!code && !answered(&cli, &global)) {
        char **rest = argv + 1;
        cli.command = n ? cli_find_command(rest[0]) : NULL;
        if (cli.command) {
            code = run_command(&cli, &global, rest + 1);
        } else if (n) {
            code = cli_unknown_command(&cli, rest[0]);
        } else {
            cli_help(stderr, NULL);
            code = CLI_USAGE;
        }
    }
    return cli_finish(&cli, code);
}

static void *work(void *argv)
{
    exit(command_line(argv)); /* here: what drivers do at the end needs a stack too */
}

enum { STACK_BYTES = 8 << 20 };

/* The work has a stack of a known size, whatever the limit (ulimit -s) that we were started with;
 * so have the threads of drivers, which take the default. */
int main(int argc, char **argv)
{
    (void)argc;
    pthread_attr_t attr;
    pthread_t thread;
    size_t size = 0;
    signal(SIGPIPE, SIG_IGN); /* a closed pipe and a full disk are errors of a write */
    signal(SIGXFSZ, SIG_IGN);
    cli_streams_open();
    if (pthread_attr_init(&attr) == 0 && pthread_attr_getstacksize(&attr, &size) == 0) {
        if (size < STACK_BYTES && pthread_attr_setstacksize(&attr, STACK_BYTES) == 0) {
            pthread_setattr_default_np(&attr);
        }
        if (pthread_create(&thread, &attr, work, argv) == 0) {
            pthread_join(thread, NULL); /* it ends the process */
        }
    }
    return command_line(argv); /* no thread to be had */
}
