/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli: what the commands of the program `lockstep` share. A command is one file that defines one
 * struct cli_command (its options table and its function) and one entry in COMMANDS of lockstep.c;
 * parsing, --help, the man page and the shell completions all read those tables. Knows the engine
 * through lockstep.h alone.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lockstep.h"
#include "tools/server/clock.h"

/* Exit codes. */
enum {
    CLI_DONE = 0,
    CLI_NO = 1,     /* the answer is no */
    CLI_USAGE = 2,  /* the command line */
    CLI_INPUT = 3,  /* a file or model */
    CLI_NOMEM = 4,  /* memory, on the host or a device */
    CLI_DEVICE = 5, /* backend or device */
    CLI_INTERRUPTED = 130
};

/* ---- options (cli_options.c) ---- */

enum cli_type { CLI_FLAG, CLI_COUNT, CLI_INT, CLI_FLOAT, CLI_STRING, CLI_LIST };

enum { CLI_LIST_MAX = 64 };
struct cli_list {
    const char *item[CLI_LIST_MAX];
    size_t n;
};

/* One option: where its value goes in the command's struct of arguments, and all that --help, man
 * page and completion say of it. Field types: FLAG bool, COUNT int, INT int64_t, FLOAT double,
 * STRING const char *, LIST struct cli_list. */
struct cli_option {
    const char *name; /* "threads" for --threads */
    char letter;      /* 't' for -t, or 0 */
    enum cli_type type;
    const char *arg;      /* "N", "FILE": shown in help; NULL for a FLAG or COUNT */
    size_t offset;        /* of the field in the arguments */
    const char *fallback; /* the default, as text that is parsed; NULL: zero */
    double min, max;      /* of INT and FLOAT; both 0: no limit */
    const char *choices;  /* of a STRING: the words allowed, separated by spaces; NULL: any */
    const char *help;     /* one sentence, no full stop */
    const char *group;    /* of the first option of a group: what stands above it in the help */
};
#define CLI_END                                                                                    \
    {                                                                                              \
        .name = NULL                                                                               \
    }

enum { CLI_GIVEN_MAX = 128 };
struct cli {
    const struct cli_option
        *given[CLI_GIVEN_MAX]; /* on the command line; all but the rest of many */
    size_t n_given;
    const struct cli_command *command; /* NULL before it is known */
    int argc;                          /* positional arguments */
    char **argv;
    bool quiet;
    int verbose;
    bool color;   /* of stderr */
    bool err_tty; /* it is a terminal */
    bool draws;   /* one that knows control sequences: progress is drawn, lines are edited */
    bool closed;  /* the reader of stdout went away */
};

/* What a shell offers for the first positional argument. */
enum cli_words { CLI_WORDS_NONE, CLI_WORDS_MODELS, CLI_WORDS_COMMANDS, CLI_WORDS_KINDS };
enum { CLI_TABLES = 8 };

struct cli_command {
    const char *name;
    const char *group; /* of the first command of a group: what stands above it in the help */
    const char *usage; /* positional arguments: "MODEL [PROMPT]" */
    const char *summary;
    const char *details;    /* paragraphs separated by empty lines; may be NULL */
    const char *examples;   /* lines of COMMAND, three spaces or more, what it does; may be NULL */
    int min_args, max_args; /* max_args -1: any number */
    enum cli_words words;
    size_t args_size; /* of the struct of arguments */
    /* Tables, each ended by CLI_END; NULL after the last. */
    const struct cli_option *options[CLI_TABLES];
    int (*run)(struct cli *cli, void *args); /* returns an exit code */
};

extern const struct cli_command cli_bench, cli_check, cli_devices, cli_embed, cli_generate,
    cli_help_command, cli_inspect, cli_models, cli_perplexity, cli_pull, cli_remove, cli_run,
    cli_serve, cli_template, cli_tokenize;
extern const struct cli_command *const cli_commands[]; /* NULL after the last */
extern const struct cli_option cli_global_options[];   /* offsets are in struct cli_global */

struct cli_global {
    bool help, version, quiet;
    int verbose;
};

/* Fills the structs of arguments from argv; positional ones are moved to the front of argv and
 * counted in *n. `base[i]` belongs to `tables[i]`. Returns CLI_DONE or CLI_USAGE (said). */
int cli_parse(struct cli *cli, const struct cli_option *const *tables, void *const *base,
              int n_tables, char **argv, int *n, bool stop_at_first);
/* Whether the option is on the command line. */
bool cli_given(const struct cli *cli, const char *name);
void cli_help(FILE *to, const struct cli_command *command);   /* NULL: the program itself */
const struct cli_command *cli_find_command(const char *name); /* NULL: none; lockstep.c */
int cli_unknown_command(struct cli *cli, const char *name);
/* "-t, --threads N" */
void cli_option_spelling(const struct cli_option *o, char *buf, size_t cap);
/* Whether it is one of `words`, which spaces separate. */
bool cli_has_word(const char *words, const char *word);

/* ---- messages, interrupts, input (cli_io.c) ---- */

__attribute__((format(printf, 3, 4))) int cli_fail(const struct cli *cli, int code,
                                                   const char *format, ...);
/* Says err's message; the exit code for its status. */
int cli_error(const struct cli *cli, const lk_error *err);
/* One line on stderr unless --quiet. */
__attribute__((format(printf, 2, 3))) void cli_note(const struct cli *cli, const char *format, ...);
void cli_log(void *cli, lk_log_level level, const char *line); /* an lk_log_fn */

/* First SIGINT: cli_interrupted() becomes true; the second ends the program with 130. */
void cli_catch_interrupts(void);
/* The same of SIGTERM and SIGHUP, unless they are ignored: cli_interrupted() stays true, and
 * cli_ended() says which; the second ends the program with 128 and its number. */
void cli_catch_ends(void);
bool cli_interrupted(void);
int cli_ended(void); /* 0: by none */
/* Milliseconds after which who waits looks again: a signal is another thread's, and may come just
 * before the wait. */
enum { CLI_LOOK = 200 };
void cli_clear_interrupt(void);
/* What a second signal runs before it ends the program (async-signal-safe); NULL: nothing. */
void cli_on_exit(void (*restore)(void));

/* A line of progress on a terminal, erased by cli_progress_end. An lk_progress_fn: it cancels when
 * interrupted. */
bool cli_progress(void *cli, const char *what, uint64_t done, uint64_t total);
void cli_progress_end(struct cli *cli);

struct cli_buffer {
    char *data;
    size_t n, cap;
};
bool cli_append(struct cli_buffer *b, const void *data, size_t n); /* false: no memory */
void cli_buffer_free(struct cli_buffer *b);
/* A whole file, or stdin for NULL. CLI_DONE or a code (said). */
int cli_read(const struct cli *cli, const char *path, struct cli_buffer *out);
/* What write(f, arg) prints, into an output, which is committed or closed. */
int cli_write(struct cli *cli, const char *path, lk_output **to,
              void (*write)(FILE *f, const void *arg), const void *arg);
char *cli_join(const char *a, const char *b); /* a then b, malloc'd; NULL: no memory */

/* ---- stdout and stderr (cli_streams.c) ---- */

/* First of all: stdout and stderr as streams that wait where a descriptor would block, and that
 * remember what failed. On a terminal stdout shows control characters instead of sending them. */
void cli_streams_open(void);
void cli_raw_output(void); /* sends them after all */
/* Bytes to stdout, now. False when nobody reads any more or the write failed: cli->closed. */
bool cli_out(struct cli *cli, const char *bytes, size_t n);
/* What follows on stdout, a terminal, is dim, or is not any more. */
void cli_dim(struct cli *cli, bool on);
/* Flushes stdout; the exit code: `code`, or CLI_INPUT (said) when not all output was written. A
 * closed pipe is no failure. */
int cli_finish(struct cli *cli, int code);
/* As read, but it waits where the descriptor would not, and goes on after signals that were no
 * interrupt; -1 with EINTR after one. */
ssize_t cli_read_some(int fd, char *to, size_t n);

/* ---- text (cli_text.c) ---- */

size_t cli_utf8_length(const char *s, size_t n); /* of the character at s; 0: it is none */
bool cli_utf8_is_open(const char *s, size_t n);  /* the start of one that goes on */
/* Appends text with control characters and bytes that are no UTF-8 as \x1b or \u009b. line: '\n'
 * and '\t' too, else they stay. False: no memory. */
bool cli_visible(struct cli_buffer *to, const char *s, size_t n, bool line);
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void cli_json_string(FILE *to, const char *s, size_t n);
void cli_hex(const uint8_t bytes[32], char out[65]);

/* ---- where files lie (cli_paths.c), other programs (cli_spawn.c) ---- */

/* A path below the folder that the user gives us, malloc'd; NULL when there is no such folder. */
char *cli_cache_path(const char *below);
char *cli_engine_cache(void); /* the cache_dir of engines and digests, likewise */
char *cli_state_path(const char *below);
void cli_make_folder_of(const char *path); /* of a file, for the user alone; if it can */
char *cli_pull_script(void); /* installed or in the source tree around a build folder; or NULL */
/* Runs a program with its stdout on our stderr; its exit code (127: it is not there), or -1.
 * Signals that would end us end it first. */
int cli_spawn(char *const argv[]);
/* In a child before it becomes another program: signals as usual, and it ends when we do. */
void cli_child_begin(pid_t parent);

/* ---- did you mean (cli_suggest.c) ---- */

struct cli_suggestion {
    const char *word;
    int distance;
    char best[64], text[96];
};
struct cli_suggestion cli_suggest_for(const char *word);
/* Keeps `candidate` if it is nearer to the word than what was there. */
void cli_suggest(struct cli_suggestion *s, const char *candidate);
/* ", did you mean 'X'?" or "". */
const char *cli_did_you_mean(struct cli_suggestion *s);

/* ---- models (cli_model.c) ---- */

/* The options of every command that runs a model; first field of its arguments. */
struct cli_engine_args {
    const char *backend, *device, *place, *gpu_layers, *cpu_moe, *kv, *cpu_level, *vk_disable;
    int64_t threads, threads_batch, ctx, batch;
    int64_t checkpoints; /* MB; of commands whose timelines are cut */
    bool pin, no_fuse, mmap_pack;
};
/* Tables of those that count: where it computes; a device; layers and batches; threads and context;
 * timelines that are cut.
 * A command names the tables whose options do something in it. */
extern const struct cli_option cli_backend_options[], cli_device_options[], cli_layer_options[],
    cli_compute_options[], cli_checkpoint_options[];

/* A path (it has a `/` or ends in .gguf), the name of a model that is known or in the cache, an
 * address or hf:OWNER/REPO/FILE.gguf; what is not in the cache, or broken there, is fetched.
 * CLI_DONE and a malloc'd path, or a code (said). */
int cli_resolve(struct cli *cli, const char *model, char **path);
/* The same of what is no path; sha256 may be NULL. */
int cli_pull_model(struct cli *cli, const char *word, const char *sha256, char **path);
int cli_open_model(struct cli *cli, const char *name, lk_model **model);
int cli_open_tokenizer(struct cli *cli, const lk_model *model, lk_tokenizer **tokenizer);
/* Whether what an option names is a backend, or may be a placement, which a model's layers decide.
 */
int cli_check_place(struct cli *cli, const char *option, const char *text);
/* Engine options as the command line has them. *cache is theirs: free it after their last use. */
int cli_engine_options_from(struct cli *cli, const struct cli_engine_args *args,
                            lk_engine_options *o, char **cache);
void cli_engine_options_free(char **cache);
/* n_ctx 0: as args says. */
int cli_open_engine(struct cli *cli, const lk_model *model, const struct cli_engine_args *args,
                    uint32_t n_ctx, lk_engine **engine);
/* How tokens are chosen: the options of a command whose arguments have a struct cli_sampling_args
 * at the offset AT, under the heading GROUP (NULL: that of those before), with these defaults. */
struct cli_sampling_args {
    int64_t top_k, repeat_last_n;
    double temp, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
};
#define CLI_SAMPLING_AT(AT, FIELD) ((AT) + offsetof(struct cli_sampling_args, FIELD))
/* clang-format off */
#define CLI_SAMPLING_OPTIONS(AT, GROUP, TEMP, TOP_K, TOP_P, MIN_P)                                 \
    {"temp", 0, CLI_FLOAT, "T", CLI_SAMPLING_AT(AT, temp), TEMP, 0, 1e6, .group = (GROUP),         \
     .help = "temperature; 0: the most likely token"},                                             \
    {"top-k", 0, CLI_INT, "N", CLI_SAMPLING_AT(AT, top_k), TOP_K, 0, 1 << 24,                      \
     .help = "draw from the N most likely tokens; 0: off"},                                        \
    {"top-p", 0, CLI_FLOAT, "P", CLI_SAMPLING_AT(AT, top_p), TOP_P, 1e-6, 1,                       \
     .help = "draw from the fewest tokens that reach P together; 1: off"},                         \
    {"min-p", 0, CLI_FLOAT, "P", CLI_SAMPLING_AT(AT, min_p), MIN_P, 0, 1,                          \
     .help = "draw from tokens at least P times as likely as the likeliest; 0: off"},              \
    {"repeat-penalty", 0, CLI_FLOAT, "X", CLI_SAMPLING_AT(AT, repeat_penalty), "1", 1e-6, 1e6,     \
     .help = "divide the logits of recent tokens (multiply if negative); 1: off"},                 \
    {"presence-penalty", 0, CLI_FLOAT, "X", CLI_SAMPLING_AT(AT, presence_penalty), "0", -1e6, 1e6, \
     .help = "subtract from the logits of recent tokens"},                                         \
    {"frequency-penalty", 0, CLI_FLOAT, "X", CLI_SAMPLING_AT(AT, frequency_penalty), "0", -1e6, \
     1e6,                                                                                         \
     .help = "subtract from the logits of recent tokens for each occurrence"},                     \
    {"repeat-last-n", 0, CLI_INT, "N", CLI_SAMPLING_AT(AT, repeat_last_n), "64", 0, 1 << 24,       \
     .help = "how many tokens are recent"}
/* clang-format on */
lk_sampler_options cli_sampler_options(const struct cli_sampling_args *args);
/* The model's own way of sampling, where the command line says nothing (cli_preset.c). */
int cli_preset(const struct cli *cli, const lk_model *model, lk_sampler_options *o);
/* Ids of a text, malloc'd; CLI_DONE or a code (said). */
int cli_tokens(struct cli *cli, const lk_tokenizer *t, const char *text, size_t len, unsigned flags,
               int32_t **ids, size_t *n);

#endif
