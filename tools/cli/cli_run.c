/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep run: answers a prompt, continues a saved session, or holds a dialogue. Text goes to
 * stdout as it comes, everything else to stderr. This file has the options, and opens and closes
 * what a run needs.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tools/cli/cli_check.h"
#include "tools/cli/cli_run.h"

#define THIS(field) offsetof(struct cli_run_args, field)

static const struct cli_option options[] = {
    {"n", 'n', CLI_INT, "N", THIS(n), "-1", -1, 1 << 30,
     .help = "tokens to generate at most; -1: until the model ends or the context is full"},
    {"system", 0, CLI_STRING, "TEXT", THIS(system), .help = "system prompt of the chat template"},
    {"chat", 0, CLI_FLAG, NULL, THIS(chat),
     .help = "hold a dialogue, also where the input is no terminal"},
    {"raw", 0, CLI_FLAG, NULL, THIS(raw), .help = "continue the prompt as it is: no chat template"},
    {"template", 0, CLI_STRING, "FILE", THIS(template_file),
     .help = "use the chat template in FILE instead of the model's"},
    {"template-args", 0, CLI_STRING, "JSON", THIS(template_args),
     .help = "variables of the template as a JSON object, such as {\"enable_thinking\": false}; "
             "bos_token and the like too; \"now\" fixes the date"},
    {"save", 0, CLI_STRING, "FILE", THIS(save),
     .help =
         "save the session, with its dialogue, to FILE at the end, which may be Ctrl-C, SIGTERM "
         "or SIGHUP; FILE is new or has a session"},
    {"load", 0, CLI_STRING, "FILE", THIS(load),
     .help = "load a saved session: continue it, with --chat its dialogue, or reuse what it shares "
             "with the prompt"},
    {"on-full", 0, CLI_STRING, "WHAT", THIS(on_full), .choices = "drop stop",
     .help = "when the context is full in a dialogue: drop the oldest turns, which is the default, "
             "or stop"},
    {"stop", 0, CLI_LIST, "TEXT", THIS(stop), .help = "end before TEXT, which is not printed"},
    {"schema", 0, CLI_STRING, "FILE", THIS(constraint.schema),
     .help = "answer in JSON that fits the JSON Schema in FILE"},
    {"grammar", 0, CLI_STRING, "FILE", THIS(constraint.grammar),
     .help = "answer what the grammar in FILE, in GBNF, allows"},
    {"regex", 0, CLI_STRING, "REGEX", THIS(constraint.regex),
     .help = "answer what REGEX matches as a whole"},
    {"after", 0, CLI_STRING, "TEXT", THIS(constraint.after),
     .help = "write freely until TEXT, as </think>; what must fit begins behind it"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON object at the end"},
    {"raw-output", 0, CLI_FLAG, NULL, THIS(raw_output),
     .help = "send control characters of the text to a terminal; else it shows them as \\x1b"},
    {"think", 0, CLI_STRING, "HOW", THIS(think.how), .choices = "on off low medium high",
     .group = "thinking",
     .help = "have the model think before it answers, or not, or how much, where its chat template "
             "can say so"},
    {"thinking", 0, CLI_STRING, "WHAT", THIS(think.show), .choices = "show hide only",
     .help = "print thinking too, which is the default: dim on a terminal, elsewhere between "
             "<think> and </think>; or not; or nothing else"},
    {"think-budget", 0, CLI_STRING, "N", THIS(think.budget),
     .help = "end thinking after N tokens of it"},
    {"sample", 0, CLI_FLAG, NULL, THIS(sample), .group = "choice of tokens",
     .help = "as the model's file says (general.sampling.*), where no option says otherwise; "
             "without it the likeliest token, so that an answer can be repeated anywhere"},
    CLI_SAMPLING_OPTIONS(THIS(sampling), NULL, "0", "0", "1", "0"),
    {"seed", 0, CLI_INT, "N", THIS(seed), "0",
     .help = "the same seed gives the same text on every machine"},
    {"logit-bias", 0, CLI_LIST, "ID=V", THIS(logit_bias),
     .help = "add V, which may be -inf, to the logit of token ID"},
    {"ignore-eos", 0, CLI_FLAG, NULL, THIS(ignore_eos),
     .help = "never choose an end-of-generation token"},
    {"logits-sha256", 0, CLI_FLAG, NULL, THIS(logits_sha256), .group = "for proofs and tests",
     .help = "print the SHA-256 of the logits that each token was chosen from, last"},
    {"move-at", 0, CLI_STRING, "N:BACKEND", THIS(move_at),
     .help = "move to another backend, or to a placement as --place has it, after N generated "
             "tokens (changes no result)"},
    {"test", 0, CLI_FLAG, NULL, THIS(test),
     .help = "answer nothing: check that the model computes right here, as `lockstep check`"},
    {"quick", 0, CLI_FLAG, NULL, THIS(quick), .help = "with --test: fewer tokens, depths and ways"},
    {"only", 0, CLI_STRING, "WHAT", THIS(only), .help = "with --test: layer=N, op=NAME or both"},
    {"report", 0, CLI_STRING, "FILE", THIS(report), .help = "with --test: write a certificate"},
    CLI_END,
};

/* What is left to do and to say after the text. */
static int finish(struct cli_runner *r)
{
    int code = r->saved ? cli_save_to(r, &r->saved) : CLI_DONE;
    char hex[65];
    uint8_t digest[32];
    lk_sha256_final(&r->hash, digest);
    cli_hex(digest, hex);
    if (r->cli->closed) {
        return code;
    }
    if (r->args->json) {
        cli_once_json(r, r->args->logits_sha256 ? hex : NULL);
    } else if (r->args->logits_sha256) {
        printf("logits-sha256: %s\n", hex);
    }
    if (!r->dialogue && r->cli->verbose) {
        cli_statistics(r);
    }
    bool interrupted = r->dialogue ? cli_interrupted() : r->finish == LK_FINISH_CANCELLED;
    return code ? code : interrupted ? CLI_INTERRUPTED : CLI_DONE;
}

/* What must fit begins behind thinking that the prompt has begun. */
static int open_constraint(struct cli_runner *r)
{
    struct cli_constraint_args args = r->args->constraint;
    bool begins = false, any = args.schema || args.grammar || args.regex;
    int code = any && !args.after ? cli_think_begins(&r->think, &r->format, &begins) : CLI_DONE;
    args.after = begins ? r->think.info.think_end : args.after;
    return code ? code : cli_constraint_open(r->cli, &args, r->t, &r->constraint);
}

static int open_all(struct cli_runner *r)
{
    lk_error err;
    int code = r->args->save ? cli_save_open(r->cli, r->args->save, &r->saved) : CLI_DONE;
    if (code) {
        return code;
    }
    code = cli_open_model(r->cli, r->cli->argv[0], &r->model);
    if (!code) {
        code = cli_open_tokenizer(r->cli, r->model, &r->t);
    }
    if (!code && !r->args->raw) {
        code = cli_chat_open(r->cli, r->model, r->args->template_file, r->args->template_args,
                             &r->format);
    }
    if (!code && !r->args->raw) {
        code = cli_think_open(r->cli, &r->args->think, &r->format, r->t, &r->think);
    }
    if (!code) {
        code = open_constraint(r);
    }
    if (!code) {
        code = cli_open_engine(r->cli, r->model, &r->args->engine, 0, &r->engine);
    }
    if (!code && lk_session_open(r->engine, &r->session, &err)) {
        code = cli_error(r->cli, &err);
    }
    if (!code) {
        code = cli_request_sampler(r);
    }
    if (!code) {
        code = cli_request_open(r);
    }
    if (!code && r->args->load) {
        code = cli_load_file(r, r->args->load);
    }
    if (!code) {
        r->n_ctx = lk_engine_n_ctx(r->engine);
        r->ids = malloc(r->n_ctx * sizeof *r->ids);
        code = r->ids ? CLI_DONE : cli_fail(r->cli, CLI_NOMEM, "out of memory");
    }
    return code;
}

static void close_all(struct cli_runner *r)
{
    free(r->ids);
    cli_buffer_free(&r->text);
    cli_turns_free(&r->turns);
    lk_output_close(&r->saved);
    lk_generation_close(&r->generation);
    cli_constraint_close(&r->constraint);
    cli_think_close(&r->think);
    lk_session_close(&r->session);
    lk_engine_close(&r->engine);
    cli_chat_close(&r->format);
    lk_tokenizer_close(&r->t);
    lk_model_close(&r->model);
}

/* `lockstep run MODEL` on a terminal. */
static bool asks_for_dialogue(const struct cli_runner *r)
{
    const struct cli_run_args *a = r->args;
    return r->cli->argc == 1 && isatty(STDIN_FILENO) && r->cli->err_tty && !a->raw && !a->json &&
           !a->load && cli_chat_knows(&r->format);
}

/* --test: another command's work. */
static int test(struct cli *cli, const struct cli_run_args *a)
{
    if (cli->argc > 1) {
        return cli_fail(cli, CLI_USAGE, "--test excludes PROMPT");
    }
    struct cli_check_args check = {.engine = a->engine,
                                   .json = a->json,
                                   .quick = a->quick,
                                   .only = a->only,
                                   .report = a->report};
    return cli_check_model(cli, &check);
}

static int run(struct cli *cli, void *arguments)
{
    struct cli_runner r = {.cli = cli, .args = arguments};
    if (r.args->test) {
        return test(cli, r.args);
    }
    if (r.args->quick || r.args->only || r.args->report) {
        return cli_fail(cli, CLI_USAGE, "--quick, --only and --report need --test");
    }
    if (r.args->raw_output) {
        cli_raw_output();
    }
    lk_sha256_init(&r.hash);
    int code = cli_request_check(&r);
    if (!code) {
        cli_catch_interrupts();
        if (r.args->save) {
            cli_catch_ends();
        }
        r.dialogue = r.args->chat;
        code = open_all(&r);
    }
    if (!code) {
        cli_log(cli, LK_LOG_INFO, lk_engine_describe(r.engine));
        r.dialogue |= asks_for_dialogue(&r);
        code = r.dialogue ? cli_dialogue(&r) : cli_once(&r);
    }
    if (!code) {
        code = finish(&r);
    } else if (code == CLI_INTERRUPTED && r.last.prompt && cli->verbose) {
        cli_statistics(&r);
    }
    close_all(&r);
    return code == CLI_INTERRUPTED && cli_ended() ? 128 + cli_ended() : code;
}

const struct cli_command cli_run = {
    .name = "run",
    .group = "every day",
    .usage = "MODEL [PROMPT]",
    .summary = "answer a prompt, or hold a dialogue",
    .details = "On a terminal without PROMPT a dialogue begins; /help in it shows its commands. "
               "PROMPT '-', or none when standard input is no terminal: standard input is read "
               "whole. A model with a chat template gets the prompt as a user's message, unless "
               "--raw.\n\nThe text ends at an end-of-generation token, a --stop "
               "text, -n tokens or a full context; a dialogue goes on without its oldest turns. "
               "Ctrl-C ends it after the current token, a "
               "second one at once.",
    .examples = "lockstep run smollm2 \"Why is the sky blue?\"\n"
                "lockstep run smollm2                   a dialogue\n"
                "lockstep run ./model.gguf -n 100 --temp 0.7 --seed 1 \"Once\"\n"
                "lockstep run ./model.gguf --raw <text.txt   continue a text",
    .min_args = 1,
    .max_args = 2,
    .words = CLI_WORDS_MODELS,
    .args_size = sizeof(struct cli_run_args),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options, cli_checkpoint_options},
    .run = run,
};
