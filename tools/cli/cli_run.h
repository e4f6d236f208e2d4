/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli run: what the files of `lockstep run` share: the values of its options, one session with what
 * writes on it, and who does what. How text comes about is the library's (lk_generation_*).
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "tools/cli/cli_chat.h"
#include "tools/cli/cli_constraint.h"
#include "tools/cli/cli_think.h"
#include "tools/cli/cli_turns.h"

struct cli_run_args {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    struct cli_sampling_args sampling;
    int64_t n, seed;
    const char *save, *load, *move_at, *system, *on_full, *template_file, *template_args;
    struct cli_list stop, logit_bias;
    struct cli_constraint_args constraint;
    struct cli_think_args think;
    bool ignore_eos, raw, chat, logits_sha256, json, raw_output, sample, test, quick;
    const char *only, *report;
};

/* How many tokens, and how long they took; of an answer, or of all of a dialogue. */
struct cli_counts {
    size_t answers, prompt, reused, written;
    size_t decoded; /* evaluated one by one */
    double prompt_seconds, decode_seconds;
};

struct cli_runner {
    struct cli *cli;
    const struct cli_run_args *args;
    lk_model *model;
    lk_tokenizer *t;
    struct cli_chat format;
    lk_engine *engine;
    lk_session *session;
    struct cli_constraint constraint;
    struct cli_think think;
    lk_generation *generation;
    lk_output *saved;           /* of --save, open from the start */
    lk_sampler_options sampler; /* how tokens are chosen, but for the bias */
    struct cli_turns turns;     /* none where text goes on without a template */
    bool dialogue;              /* it is held, or to be; else one prompt is answered */
    lk_sha256 hash;             /* of the rows that tokens were chosen from */
    int32_t *ids;               /* [n_ctx] the prompt */
    size_t n, n_ctx;
    struct cli_buffer text; /* of the answer so far, with thinking and its marks */
    lk_finish finish;       /* of the answer */
    bool written;           /* the session's timeline is that of the generation */
    int64_t move_at;        /* -1: never, or done */
    const char *move_to;
    struct cli_counts last, all;
};

/* Each returns CLI_DONE or a code (said). */

/* Options to a generation (cli_request.c): what can be checked before a model is open, and then the
 * generation itself. */
int cli_request_check(struct cli_runner *r);
int cli_request_sampler(struct cli_runner *r); /* r->sampler */
int cli_request_open(struct cli_runner *r);    /* anew, if it was open */

/* An answer (cli_answer.c). The prompt's ids into r->ids; *n may be more than the context. */
int cli_tokenize_chat(struct cli_runner *r, const lk_chat_message *messages, size_t n);
int cli_tokenize_raw(struct cli_runner *r, const char *text, size_t len);
/* Evaluates the prompt r->ids[0..n) and writes what follows it to stdout, unless --json, and to
 * r->text. Turns of a dialogue are dropped where they have to be. CLI_INTERRUPTED: before the first
 * token. */
int cli_answer(struct cli_runner *r);
void cli_statistics(const struct cli_runner *r);     /* of the last answer */
void cli_all_statistics(const struct cli_runner *r); /* of all */
double cli_rate(size_t n, double seconds);
/* What the answer says, without thinking. */
const struct cli_buffer *cli_said(const struct cli_runner *r);

/* One prompt (cli_once.c), and what --json prints of it; hash may be NULL. */
int cli_once(struct cli_runner *r);
void cli_once_json(const struct cli_runner *r, const char *hash);

/* A dialogue (cli_dialogue.c), until the input ends or `/exit`. */
int cli_dialogue(struct cli_runner *r);

/* A full context of a dialogue (cli_room.c). Drops the oldest turns until the prompt, which is in
 * r->ids then, and `written` tokens leave a fourth of the context free, or all there are. *made
 * false: nothing was dropped, because of --on-full, or because it would not help. */
int cli_make_room(struct cli_runner *r, size_t written, bool *made);
/* The dialogue, whose last message is the question, as a prompt. *fits false: it does not (said).
 */
int cli_ask(struct cli_runner *r, bool *fits);

/* Saved sessions (cli_saved.c), with their dialogues: an output for one at a path, where no other
 * file may be; the session as it is now into that, which is committed; into a file; out of one;
 * nothing at all. */
int cli_save_open(struct cli *cli, const char *path, lk_output **out);
int cli_save_to(struct cli_runner *r, lk_output **out);
int cli_save_file(struct cli_runner *r, const char *path);
int cli_load_file(struct cli_runner *r, const char *path);
int cli_forget(struct cli_runner *r);

#endif
