/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep run: answers a prompt, continues a saved session, or holds a dialogue. Text goes to
 * stdout as it comes, everything else to stderr.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/cli_check.h"
#include "tools/cli/cli_dialogue.h"
#include "tools/cli/cli_stop.h"

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    int64_t n, seed, top_k, repeat_last_n;
    double temp, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    const char *save, *load, *move_at, *system;
    struct cli_list stop, logit_bias;
    bool ignore_eos, raw, chat, logits_sha256, json, raw_output, sample, test, quick;
    const char *only, *report;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"n", 'n', CLI_INT, "N", THIS(n), "-1", -1, 1 << 30,
     .help = "tokens to generate at most; -1: until the model ends or the context is full"},
    {"system", 0, CLI_STRING, "TEXT", THIS(system), .help = "system prompt of the chat template"},
    {"chat", 0, CLI_FLAG, NULL, THIS(chat),
     .help = "hold a dialogue, also where the input is no terminal"},
    {"raw", 0, CLI_FLAG, NULL, THIS(raw), .help = "continue the prompt as it is: no chat template"},
    {"save", 0, CLI_STRING, "FILE", THIS(save), .help = "save the session to FILE at the end"},
    {"load", 0, CLI_STRING, "FILE", THIS(load),
     .help = "load a saved session: continue it, or reuse what it shares with the prompt"},
    {"stop", 0, CLI_LIST, "TEXT", THIS(stop), .help = "end before TEXT, which is not printed"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON object at the end"},
    {"raw-output", 0, CLI_FLAG, NULL, THIS(raw_output),
     .help = "send control characters of the text to a terminal; else it shows them as \\x1b"},
    {"sample", 0, CLI_FLAG, NULL, THIS(sample), .group = "choice of tokens",
     .help = "as the model's file says (general.sampling.*), where no option says otherwise; "
             "without it the likeliest token, so that an answer can be repeated anywhere"},
    {"temp", 0, CLI_FLOAT, "T", THIS(temp), "0", 0, 1e6,
     .help = "temperature; 0: the most likely token"},
    {"seed", 0, CLI_INT, "N", THIS(seed), "0",
     .help = "the same seed gives the same text on every machine"},
    {"top-k", 0, CLI_INT, "N", THIS(top_k), "0", 0, 1 << 24,
     .help = "draw from the N most likely tokens; 0: off"},
    {"top-p", 0, CLI_FLOAT, "P", THIS(top_p), "1", 1e-6, 1,
     .help = "draw from the fewest tokens that reach P together; 1: off"},
    {"min-p", 0, CLI_FLOAT, "P", THIS(min_p), "0", 0, 1,
     .help = "draw from tokens at least P times as likely as the likeliest; 0: off"},
    {"repeat-penalty", 0, CLI_FLOAT, "X", THIS(repeat_penalty), "1", 1e-6, 1e6,
     .help = "divide the logits of recent tokens (multiply if negative); 1: off"},
    {"presence-penalty", 0, CLI_FLOAT, "X", THIS(presence_penalty), "0", -1e6, 1e6,
     .help = "subtract from the logits of recent tokens"},
    {"frequency-penalty", 0, CLI_FLOAT, "X", THIS(frequency_penalty), "0", -1e6, 1e6,
     .help = "subtract from the logits of recent tokens for each occurrence"},
    {"repeat-last-n", 0, CLI_INT, "N", THIS(repeat_last_n), "64", 0, 1 << 24,
     .help = "how many tokens are recent"},
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

enum finish { END_TOKEN, END_STOP, END_LENGTH, END_CONTEXT, END_INTERRUPTED, END_CLOSED };
static const char *const FINISH[] = {"end", "stop", "length", "context", "interrupted", "closed"};

/* Of all answers of a dialogue. */
struct totals {
    size_t answers, prompt, reused, generated, decoded;
    double prompt_seconds, decode_seconds;
};

/* One timeline and all that works on it. */
struct runner {
    struct cli *cli;
    const struct arguments *args;
    lk_model *model;
    lk_tokenizer *t;
    lk_engine *engine;
    lk_session *session;
    lk_sampler *sampler;
    lk_output *saved; /* of --save, open from the start */
    lk_sha256 hash;
    int32_t *ids; /* [n_ctx] the timeline */
    size_t n, n_ctx;
    char *piece; /* [piece_cap] one decoded token */
    size_t piece_cap;
    struct cli_buffer answer; /* the text of the answer so far */
    int64_t move_at;          /* -1: never, or done */
    const char *move_to;
    size_t n_prompt, n_reused, n_generated, n_decoded; /* decoded: evaluated one by one */
    double prompt_seconds, decode_seconds;
    struct totals all; /* of a dialogue */
    bool chat;
    enum finish finish;
};

/* ---- options ---- */

static int read_bias(const struct cli *cli, const struct cli_list *list, int32_t *ids,
                     float *values)
{
    for (size_t i = 0; i < list->n; i++) {
        char *equals, *end;
        long id = strtol(list->item[i], &equals, 10);
        double value = *equals == '=' ? strtod(equals + 1, &end) : 0.0;
        if (equals == list->item[i] || *equals != '=' || end == equals + 1 || *end || id < 0 ||
            id > INT32_MAX || isnan(value)) {
            return cli_fail(cli, CLI_USAGE, "--logit-bias: '%s', expected ID=VALUE", list->item[i]);
        }
        ids[i] = (int32_t)id;
        values[i] = (float)value;
    }
    return CLI_DONE;
}

static int open_sampler(struct runner *r)
{
    const struct arguments *a = r->args;
    lk_sampler_options o = lk_sampler_options_default();
    size_t n_vocab = lk_engine_n_vocab(r->engine), n = a->logit_bias.n;
    size_t n_tokens = lk_tokenizer_n_vocab(r->t);
    int32_t *ids = malloc((n + n_tokens) * sizeof *ids);
    float *values = malloc((n + n_tokens) * sizeof *values);
    lk_error err;
    int code = ids && values ? read_bias(r->cli, &a->logit_bias, ids, values)
                             : cli_fail(r->cli, CLI_NOMEM, "out of memory");
    for (size_t i = 0; !code && a->ignore_eos && i < n_tokens && i < n_vocab; i++) {
        if (lk_token_is_eog(r->t, (int32_t)i)) {
            ids[n] = (int32_t)i;
            values[n++] = -INFINITY;
        }
    }
    if (!code) {
        o.temperature = (float)a->temp;
        o.seed = (uint64_t)a->seed;
        o.top_k = (int)a->top_k;
        o.top_p = (float)a->top_p;
        o.min_p = (float)a->min_p;
        o.repeat_penalty = (float)a->repeat_penalty;
        o.presence_penalty = (float)a->presence_penalty;
        o.frequency_penalty = (float)a->frequency_penalty;
        o.penalty_last_n = (int)a->repeat_last_n;
        o.bias_ids = ids;
        o.bias_values = values;
        o.n_bias = n;
        code = a->sample ? cli_preset(r->cli, r->model, &o) : CLI_DONE;
    }
    if (!code) {
        code = lk_sampler_open(&o, n_vocab, &r->sampler, &err) ? cli_error(r->cli, &err) : CLI_DONE;
    }
    free(ids);
    free(values);
    return code;
}

static int check_arguments(struct runner *r)
{
    const struct arguments *a = r->args;
    r->move_at = -1;
    if (a->move_at) {
        char *end;
        errno = 0;
        r->move_at = strtoll(a->move_at, &end, 10);
        if (end == a->move_at || errno || r->move_at < 0 || *end != ':' || !end[1]) {
            return cli_fail(r->cli, CLI_USAGE, "--move-at: '%s', expected N:BACKEND", a->move_at);
        }
        r->move_to = end + 1;
    }
    for (size_t i = 0; i < a->stop.n; i++) {
        if (!*a->stop.item[i]) {
            return cli_fail(r->cli, CLI_USAGE, "--stop: an empty text");
        }
    }
    if (a->raw && (a->chat || a->system)) {
        return cli_fail(r->cli, CLI_USAGE, "--raw excludes --chat and --system");
    }
    if (a->chat && (a->json || r->cli->argc > 1)) {
        return cli_fail(r->cli, CLI_USAGE, "--chat excludes %s", a->json ? "--json" : "PROMPT");
    }
    return CLI_DONE;
}

/* ---- the timeline ---- */

static bool on_tokens(void *user, const char *what, uint64_t done, uint64_t total)
{
    return total < 64 ? !cli_interrupted() : cli_progress(user, what, done, total);
}

/* Evaluates the prompt ids[0..n) of a timeline. */
static int prefill(struct runner *r)
{
    lk_error err;
    double from = cli_now();
    size_t held = lk_session_n_tokens(r->session), same = 0;
    const int32_t *old = lk_session_tokens(r->session);
    while (same < held && same < r->n && old[same] == r->ids[same]) {
        same++;
    }
    if (same == r->n && !(held == r->n && lk_session_logits(r->session))) {
        same--;
    }
    lk_session_on_progress(r->session, on_tokens, r->cli);
    lk_status status = lk_session_sync(r->session, r->ids, r->n, &err);
    lk_session_on_progress(r->session, NULL, NULL);
    if (r->n - same >= 64) {
        cli_progress_end(r->cli);
    }
    r->n_prompt = r->n;
    r->n_reused = same;
    r->prompt_seconds = cli_now() - from;
    r->n_generated = r->n_decoded = 0;
    r->decode_seconds = 0.0;
    return status ? cli_error(r->cli, &err) : CLI_DONE;
}

/* Puts what is decided of the answer on stdout. */
static int emit(struct runner *r, const struct cli_buffer *text, bool live)
{
    if (!cli_append(&r->answer, text->data, text->n)) {
        return cli_fail(r->cli, CLI_NOMEM, "out of memory");
    }
    if (live && text->n && !cli_out(r->cli, text->data, text->n)) {
        r->finish = END_CLOSED;
    }
    return CLI_DONE;
}

static int move_if_due(struct runner *r)
{
    lk_error err;
    if (r->move_at < 0 || r->n_generated < (size_t)r->move_at) {
        return CLI_DONE;
    }
    r->move_at = -1;
    if (lk_session_move(r->session, r->move_to, &err)) {
        return cli_error(r->cli, &err);
    }
    cli_note(r->cli, "moved to %s after %zu tokens", lk_session_backend(r->session),
             r->n_generated);
    return CLI_DONE;
}

/* Chooses, prints and evaluates tokens until something ends it; r->finish says what. */
static int generate(struct runner *r, struct cli_stop *stop, lk_decoder *decoder)
{
    bool live = !r->args->json, stopped = false;
    struct cli_buffer out = {0};
    lk_error err;
    int code = CLI_DONE;
    for (;;) {
        if (r->args->n >= 0 && r->n_generated >= (size_t)r->args->n) {
            r->finish = END_LENGTH;
            break;
        }
        if (r->n == r->n_ctx) {
            r->finish = END_CONTEXT;
            break;
        }
        if (cli_interrupted()) {
            r->finish = END_INTERRUPTED;
            break;
        }
        if ((code = move_if_due(r))) {
            break;
        }
        if (r->n_generated) { /* the last token is not evaluated yet */
            double from = cli_now();
            if (lk_session_sync(r->session, r->ids, r->n, &err)) {
                code = cli_error(r->cli, &err);
                break;
            }
            r->decode_seconds += cli_now() - from;
            r->n_decoded++;
        }
        const float *row = lk_session_logits(r->session);
        if (r->args->logits_sha256) {
            lk_sha256_floats(&r->hash, row, lk_engine_n_vocab(r->engine));
        }
        int32_t id = lk_sample(r->sampler, row, r->ids, r->n, r->n);
        if (!r->args->ignore_eos && lk_token_is_eog(r->t, id)) {
            r->finish = END_TOKEN;
            break;
        }
        r->ids[r->n++] = id;
        r->n_generated++;
        size_t len;
        out.n = 0;
        lk_decode(r->t, decoder, id, false, r->piece, r->piece_cap, &len);
        if (!cli_stop_put(stop, r->piece, len, &out, &stopped)) {
            code = cli_fail(r->cli, CLI_NOMEM, "out of memory");
            break;
        }
        r->finish = stopped ? END_STOP : END_TOKEN;
        code = emit(r, &out, live);
        if (code || r->finish != END_TOKEN) {
            break;
        }
    }
    if (!code && !stopped && r->finish != END_CLOSED) {
        enum finish finish = r->finish;
        size_t len = lk_decode_flush(decoder, r->piece, r->piece_cap);
        out.n = 0;
        if (!cli_stop_put(stop, r->piece, len, &out, &stopped) || !cli_stop_flush(stop, &out)) {
            code = cli_fail(r->cli, CLI_NOMEM, "out of memory");
        } else {
            code = emit(r, &out, live);
        }
        r->finish = r->finish == END_CLOSED ? END_CLOSED : finish;
    }
    cli_buffer_free(&out);
    return code;
}

static int answer(struct runner *r)
{
    struct cli_stop stop = {.strings = &r->args->stop};
    r->answer.n = 0;
    lk_decoder decoder = {.started = true}; /* the answer continues a text */
    int code = generate(r, &stop, &decoder);
    cli_buffer_free(&stop.held);
    if (!code && !r->args->json && !r->cli->closed &&
        (r->answer.n == 0 || r->answer.data[r->answer.n - 1] != '\n')) {
        cli_out(r->cli, "\n", 1);
    }
    if (!code && r->finish == END_CONTEXT) {
        cli_note(r->cli, "the context is full: %zu tokens; --ctx gives more", r->n_ctx);
    }
    return code;
}

static double rate(size_t n, double seconds)
{
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

static void statistics(struct runner *r)
{
    size_t n = r->n_prompt - r->n_reused;
    cli_note(r->cli, "prompt: %zu tokens, %zu reused, %.1f tokens/s", r->n_prompt, r->n_reused,
             rate(n, r->prompt_seconds));
    cli_note(r->cli, "generated: %zu tokens, %.1f tokens/s", r->n_generated,
             rate(r->n_decoded, r->decode_seconds));
}

/* ---- prompts ---- */

static int tokenize_chat(struct runner *r, const lk_chat_message *messages, size_t n)
{
    lk_error err;
    lk_status status = lk_chat_tokenize(r->t, lk_model_chat_format(r->model), messages, n, r->ids,
                                        r->n_ctx, &r->n, &err);
    return status && status != LK_E_FULL ? cli_error(r->cli, &err) : CLI_DONE;
}

static int tokenize_raw(struct runner *r, const char *text, size_t len)
{
    lk_error err;
    lk_status status = lk_tokenize(r->t, text, len, LK_TOKENIZE_BOS, r->ids, r->n_ctx, &r->n, &err);
    return status && status != LK_E_FULL ? cli_error(r->cli, &err) : CLI_DONE;
}

static int check_length(struct runner *r)
{
    if (r->n > r->n_ctx) {
        return cli_fail(r->cli, CLI_INPUT,
                        "the prompt has %zu tokens, the context %zu; --ctx gives more", r->n,
                        r->n_ctx);
    }
    return r->n ? CLI_DONE : cli_fail(r->cli, CLI_INPUT, "the prompt is empty: no token to run");
}

/* The prompt's bytes; *given false when there is none and a loaded session goes on. */
static int read_prompt(struct runner *r, struct cli_buffer *text, bool *given)
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

static int one_prompt(struct runner *r)
{
    struct cli_buffer text = {0};
    bool given, chat = !r->args->raw && lk_model_chat_format(r->model) != LK_CHAT_NONE;
    int code = read_prompt(r, &text, &given);
    if (!code && r->args->system && !chat) {
        code = cli_fail(r->cli, CLI_INPUT, "--system: the model has no chat template known here");
    }
    if (!code && given && chat) {
        lk_chat_message m[2];
        size_t n = 0;
        if (r->args->system) {
            m[n++] = (lk_chat_message){"system", r->args->system, strlen(r->args->system)};
        }
        m[n++] = (lk_chat_message){"user", text.data ? text.data : "", text.n};
        code = tokenize_chat(r, m, n);
    } else if (!code && given) {
        code = tokenize_raw(r, text.data ? text.data : "", text.n);
    } else if (!code) {
        r->n = lk_session_n_tokens(r->session);
        memcpy(r->ids, lk_session_tokens(r->session), r->n * sizeof *r->ids);
    }
    cli_buffer_free(&text);
    if (!code) {
        code = check_length(r);
    }
    if (!code) {
        code = prefill(r);
    }
    return code ? code : answer(r);
}

/* ---- dialogue ---- */

static int answer_messages(void *user, const lk_chat_message *messages, size_t n,
                           struct cli_buffer *said, bool *stopped)
{
    struct runner *r = user;
    int code = tokenize_chat(r, messages, n);
    if (!code) {
        code = check_length(r);
    }
    if (!code) {
        code = prefill(r);
    }
    if (!code) {
        code = answer(r);
    }
    if (!code) {
        struct totals *all = &r->all;
        all->answers++;
        all->prompt += r->n_prompt - r->n_reused;
        all->reused += r->n_reused;
        all->generated += r->n_generated;
        all->decoded += r->n_decoded;
        all->prompt_seconds += r->prompt_seconds;
        all->decode_seconds += r->decode_seconds;
        *stopped = r->finish == END_INTERRUPTED;
        r->finish = *stopped ? END_TOKEN : r->finish;
    }
    if (!code && !cli_append(said, r->answer.data, r->answer.n)) {
        code = cli_fail(r->cli, CLI_NOMEM, "out of memory");
    }
    return code;
}

/* The session as it is now into an open output. */
static int save_to(struct runner *r, lk_output **out)
{
    lk_error err;
    lk_status status = r->n ? lk_session_sync(r->session, r->ids, r->n, &err) : LK_OK;
    if (status || lk_session_save_to(r->session, *out, &err) || lk_output_commit(out, &err)) {
        return cli_error(r->cli, &err);
    }
    return CLI_DONE;
}

static int save_file(void *user, const char *path)
{
    struct runner *r = user;
    lk_output *out;
    lk_error err;
    if (lk_output_open(path, LK_OUTPUT_PRIVATE, &out, &err)) {
        return cli_error(r->cli, &err);
    }
    int code = save_to(r, &out);
    lk_output_close(&out);
    return code;
}

static int load_file(void *user, const char *path)
{
    struct runner *r = user;
    lk_error err;
    if (lk_session_load(r->session, path, &err)) {
        return cli_error(r->cli, &err);
    }
    r->n = lk_session_n_tokens(r->session);
    memcpy(r->ids, lk_session_tokens(r->session), r->n * sizeof *r->ids);
    cli_note(r->cli, "loaded %zu tokens; what begins with them is not evaluated again", r->n);
    return CLI_DONE;
}

static int forget_all(void *user)
{
    struct runner *r = user;
    lk_error err;
    r->n = 0;
    return lk_session_truncate(r->session, 0, &err) ? cli_error(r->cli, &err) : CLI_DONE;
}

static void dialogue_statistics(void *user, bool all)
{
    struct runner *r = user;
    const struct totals *t = &r->all;
    if (!all) {
        statistics(r);
    } else {
        cli_note(r->cli,
                 "%zu answers: %zu tokens read (%.1f tokens/s) and %zu reused, %zu written "
                 "(%.1f tokens/s)",
                 t->answers, t->prompt, rate(t->prompt, t->prompt_seconds), t->reused, t->generated,
                 rate(t->decoded, t->decode_seconds));
    }
}

static int dialogue(struct runner *r)
{
    const struct cli_runner runner = {.user = r,
                                      .answer = answer_messages,
                                      .save = save_file,
                                      .load = load_file,
                                      .forget = forget_all,
                                      .statistics = dialogue_statistics};
    if (lk_model_chat_format(r->model) == LK_CHAT_NONE) {
        return cli_fail(r->cli, CLI_INPUT, "--chat: the model has no chat template known here");
    }
    r->finish = END_TOKEN;
    int code = cli_dialogue(r->cli, &runner, r->args->system);
    if (!code && cli_interrupted()) {
        r->finish = END_INTERRUPTED;
    }
    return code;
}

/* ---- all of it ---- */

static void print_json(struct runner *r, const char *hash)
{
    const char *backend = lk_session_backend(r->session);
    printf("{\"schema\":1,\"model\":");
    cli_json_string(stdout, lk_model_path(r->model), strlen(lk_model_path(r->model)));
    printf(",\"backend\":\"%s\",\"text\":", backend);
    cli_json_string(stdout, r->answer.n ? r->answer.data : "", r->answer.n);
    printf(",\"finish\":\"%s\",\"ids\":[", FINISH[r->finish]);
    for (size_t i = 0; i < r->n_generated; i++) {
        printf("%s%d", i ? "," : "", r->ids[r->n_prompt + i]);
    }
    printf("],\"n_prompt\":%zu,\"n_reused\":%zu,\"n_gen\":%zu,\"prompt_tps\":%.3f,\"gen_tps\":%.3f",
           r->n_prompt, r->n_reused, r->n_generated,
           rate(r->n_prompt - r->n_reused, r->prompt_seconds),
           rate(r->n_decoded, r->decode_seconds));
    if (hash) {
        printf(",\"logits_sha256\":\"%s\"", hash);
    }
    printf("}\n");
}

static int finish(struct runner *r)
{
    int code = r->saved ? save_to(r, &r->saved) : CLI_DONE;
    char hex[65];
    uint8_t digest[32];
    lk_sha256_final(&r->hash, digest);
    cli_hex(digest, hex);
    if (r->cli->closed) {
        return code;
    }
    if (r->args->json) {
        print_json(r, r->args->logits_sha256 ? hex : NULL);
    } else if (r->args->logits_sha256) {
        printf("logits-sha256: %s\n", hex);
    }
    if (!r->chat && r->cli->verbose) {
        statistics(r);
    }
    return code ? code : r->finish == END_INTERRUPTED ? CLI_INTERRUPTED : CLI_DONE;
}

static int open_all(struct runner *r)
{
    lk_error err;
    if (r->args->save && lk_output_open(r->args->save, LK_OUTPUT_PRIVATE, &r->saved, &err)) {
        return cli_error(r->cli, &err);
    }
    int code = cli_open_model(r->cli, r->cli->argv[0], &r->model);
    if (!code) {
        code = cli_open_tokenizer(r->cli, r->model, &r->t);
    }
    if (!code) {
        code = cli_open_engine(r->cli, r->model, &r->args->engine, 0, &r->engine);
    }
    if (!code) {
        code = open_sampler(r);
    }
    if (!code && lk_session_open(r->engine, &r->session, &err)) {
        code = cli_error(r->cli, &err);
    }
    if (!code && r->args->load && lk_session_load(r->session, r->args->load, &err)) {
        code = cli_error(r->cli, &err);
    }
    if (!code) {
        r->n_ctx = lk_engine_n_ctx(r->engine);
        r->piece_cap = lk_tokenizer_max_bytes(r->t) + 4;
        r->ids = malloc(r->n_ctx * sizeof *r->ids);
        r->piece = malloc(r->piece_cap);
        if (!r->ids || !r->piece) {
            code = cli_fail(r->cli, CLI_NOMEM, "out of memory");
        }
    }
    return code;
}

/* `lockstep run MODEL` on a terminal. */
static bool asks_for_dialogue(const struct runner *r)
{
    const struct arguments *a = r->args;
    return r->cli->argc == 1 && isatty(STDIN_FILENO) && r->cli->err_tty && !a->raw && !a->json &&
           !a->load && lk_model_chat_format(r->model) != LK_CHAT_NONE;
}

static int run(struct cli *cli, void *arguments)
{
    struct runner r = {.cli = cli, .args = arguments};
    if (r.args->test && cli->argc > 1) {
        return cli_fail(cli, CLI_USAGE, "--test excludes PROMPT");
    }
    if (r.args->test) {
        struct cli_check_args check = {.engine = r.args->engine,
                                       .json = r.args->json,
                                       .quick = r.args->quick,
                                       .only = r.args->only,
                                       .report = r.args->report};
        return cli_check_model(cli, &check);
    }
    if (r.args->quick || r.args->only || r.args->report) {
        return cli_fail(cli, CLI_USAGE, "--quick, --only and --report need --test");
    }
    if (r.args->raw_output) {
        cli_raw_output();
    }
    lk_sha256_init(&r.hash);
    int code = check_arguments(&r);
    if (!code) {
        cli_catch_interrupts();
        code = open_all(&r);
    }
    if (!code) {
        cli_log(cli, LK_LOG_INFO, lk_engine_describe(r.engine));
        r.chat = r.args->chat || asks_for_dialogue(&r);
        code = r.chat ? dialogue(&r) : one_prompt(&r);
    }
    if (!code) {
        code = finish(&r);
    } else if (code == CLI_INTERRUPTED && r.n_prompt && cli->verbose) {
        statistics(&r);
    }
    free(r.ids);
    free(r.piece);
    cli_buffer_free(&r.answer);
    lk_output_close(&r.saved);
    lk_sampler_close(&r.sampler);
    lk_session_close(&r.session);
    lk_engine_close(&r.engine);
    lk_tokenizer_close(&r.t);
    lk_model_close(&r.model);
    return code;
}

const struct cli_command cli_run = {
    .name = "run",
    .group = "every day",
    .usage = "MODEL [PROMPT]",
    .summary = "answer a prompt, or hold a dialogue",
    .details = "On a terminal without PROMPT a dialogue begins; /help in it shows its commands. "
               "PROMPT '-', or none when standard input is no terminal: standard input is read "
               "whole. A model with a chat template that is known here gets the prompt as a user's "
               "message, unless --raw.\n\nThe text ends at an end-of-generation token, a --stop "
               "text, -n tokens or a full context. Ctrl-C ends it after the current token, a "
               "second one at once.",
    .examples = "lockstep run smollm2 \"Why is the sky blue?\"\n"
                "lockstep run smollm2                   a dialogue\n"
                "lockstep run ./model.gguf -n 100 --temp 0.7 --seed 1 \"Once\"\n"
                "lockstep run ./model.gguf --raw <text.txt   continue a text",
    .min_args = 1,
    .max_args = 2,
    .words = CLI_WORDS_MODELS,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options},
    .run = run,
};
