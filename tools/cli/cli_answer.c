/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer: a prompt's ids to a text on stdout: the steps of a generation and what they tell. Knows
 * nothing of where a prompt comes from.
 */
#include <string.h>

#include "tools/cli/cli_run.h"

enum { SHOWS_PROGRESS = 64 }; /* tokens of a prompt from which on its progress is shown */

/* ---- prompts ---- */

int cli_tokenize_chat(struct cli_runner *r, const lk_chat_message *messages, size_t n)
{
    return cli_chat_tokenize(&r->format, r->t, messages, n, r->ids, r->n_ctx, &r->n);
}

int cli_tokenize_raw(struct cli_runner *r, const char *text, size_t len)
{
    lk_error err;
    lk_status status = lk_tokenize(r->t, text, len, LK_TOKENIZE_BOS, r->ids, r->n_ctx, &r->n, &err);
    return status && status != LK_E_FULL ? cli_error(r->cli, &err) : CLI_DONE;
}

static int begin_thinking(struct cli_runner *r)
{
    int code = cli_think_begin(&r->think, r->format.prompt, r->args->json);
    return code ? code : cli_think_limit(&r->think, r->generation);
}

static int begin(struct cli_runner *r)
{
    lk_error err;
    if (r->n > r->n_ctx) {
        return cli_fail(r->cli, CLI_INPUT,
                        "the prompt has %zu tokens, the context %zu; --ctx gives more", r->n,
                        r->n_ctx);
    }
    if (r->n == 0) {
        return cli_fail(r->cli, CLI_INPUT, "the prompt is empty: no token to run");
    }
    if (lk_generation_begin(r->generation, r->ids, r->n, &err)) {
        return cli_error(r->cli, &err);
    }
    int code = r->think.format ? begin_thinking(r) : CLI_DONE;
    if (code) {
        return code;
    }
    lk_generation_counts count = lk_generation_count(r->generation);
    r->text.n = 0;
    r->finish = LK_FINISH_NONE;
    r->written = true;
    r->last = (struct cli_counts){.answers = 1, .prompt = count.prompt, .reused = count.reused};
    return CLI_DONE;
}

/* ---- steps ---- */

static bool on_tokens(void *user, const char *what, uint64_t done, uint64_t total)
{
    return total < SHOWS_PROGRESS ? !cli_interrupted() : cli_progress(user, what, done, total);
}

static int move_if_due(struct cli_runner *r)
{
    lk_error err;
    size_t written = lk_generation_count(r->generation).written;
    if (r->move_at < 0 || written < (size_t)r->move_at) {
        return CLI_DONE;
    }
    r->move_at = -1;
    if (lk_session_move(r->session, r->move_to, &err)) {
        return cli_error(r->cli, &err);
    }
    cli_note(r->cli, "moved to %s after %zu tokens", lk_session_backend(r->session), written);
    return CLI_DONE;
}

/* A row of logits of which a token was chosen. */
static void hash_row(struct cli_runner *r)
{
    if (r->args->logits_sha256) {
        lk_sha256_floats(&r->hash, lk_session_logits(r->session), lk_engine_n_vocab(r->engine));
    }
}

static int hear_text(struct cli_runner *r, const lk_event *ev)
{
    if (!cli_append(&r->text, ev->text, ev->len)) {
        return cli_fail(r->cli, CLI_NOMEM, "out of memory");
    }
    int code = CLI_DONE;
    if (r->think.format) {
        code = cli_think_text(&r->think, ev->text, ev->len);
    } else if (!r->args->json && !r->cli->closed) {
        cli_out(r->cli, ev->text, ev->len);
    }
    if (r->cli->closed) {
        lk_generation_cancel(r->generation); /* nobody reads it */
    }
    return code;
}

static int hear(struct cli_runner *r, const lk_event *ev)
{
    switch (ev->kind) {
    case LK_EVENT_TOKEN:
        hash_row(r);
        if (r->think.format) {
            cli_think_token(&r->think);
        }
        return CLI_DONE;
    case LK_EVENT_TEXT:
        return hear_text(r, ev);
    case LK_EVENT_END:
        break;
    }
    r->finish = ev->finish;
    if (ev->finish == LK_FINISH_EOG && ev->token >= 0) {
        hash_row(r);
    }
    return ev->finish == LK_FINISH_FAILED ? cli_error(r->cli, ev->error) : CLI_DONE;
}

static int step(struct cli_runner *r, double *seconds)
{
    lk_error err;
    lk_event ev;
    if (cli_interrupted()) {
        lk_generation_cancel(r->generation);
    }
    double from = clock_now();
    int code = lk_generation_step(r->engine, &r->generation, 1, 0, &err) ? cli_error(r->cli, &err)
                                                                         : CLI_DONE;
    *seconds += clock_now() - from;
    while (!code && lk_generation_next(r->generation, &ev)) {
        code = hear(r, &ev);
    }
    return code || !r->think.format ? code : cli_think_limit(&r->think, r->generation);
}

/* The step that evaluates a prompt and chooses a token after it. */
static int prompt_step(struct cli_runner *r)
{
    size_t before = lk_session_n_tokens(r->session);
    lk_session_on_progress(r->session, on_tokens, r->cli);
    int code = step(r, &r->last.prompt_seconds);
    lk_session_on_progress(r->session, NULL, NULL);
    if (lk_session_n_tokens(r->session) >= before + SHOWS_PROGRESS) {
        cli_progress_end(r->cli);
    }
    return code;
}

/* Where the context of a dialogue is full, the answer goes on after a shorter prompt: *prompt. */
static int make_room_if_due(struct cli_runner *r, bool *prompt)
{
    lk_error err;
    size_t n, written = lk_generation_count(r->generation).written;
    const int32_t *ids = lk_generation_tokens(r->generation, &n);
    if (!r->dialogue || n < r->n_ctx || cli_interrupted()) {
        return CLI_DONE;
    }
    int code = cli_make_room(r, written, prompt);
    if (!code && *prompt) {
        memcpy(r->ids + r->n, ids + n - written, written * sizeof *ids);
        r->n += written;
        code = lk_generation_replace(r->generation, r->ids, r->n, &err) ? cli_error(r->cli, &err)
                                                                        : CLI_DONE;
    }
    return code;
}

static int all_steps(struct cli_runner *r)
{
    int code = CLI_DONE;
    for (bool prompt = true; !code && !lk_generation_finish(r->generation); prompt = false) {
        code = move_if_due(r);
        if (!code && !prompt) {
            code = make_room_if_due(r, &prompt);
        }
        size_t held = lk_session_n_tokens(r->session);
        if (!code && prompt) {
            code = prompt_step(r);
        } else if (!code) {
            code = step(r, &r->last.decode_seconds);
            r->last.decoded += lk_session_n_tokens(r->session) - held;
        }
    }
    if (!code && r->think.format) {
        code = cli_think_end(&r->think);
    }
    lk_generation_counts count = lk_generation_count(r->generation);
    r->last.prompt = count.prompt;
    r->last.reused = count.reused;
    r->last.written = count.written;
    return code;
}

int cli_answer(struct cli_runner *r)
{
    int code = begin(r);
    if (!code) {
        code = all_steps(r);
    }
    if (!code && r->finish == LK_FINISH_CANCELLED && r->last.written == 0 && !r->cli->closed) {
        r->written = false;
        return CLI_INTERRUPTED;
    }
    char last = r->think.format ? r->think.last : r->text.n ? r->text.data[r->text.n - 1] : 0;
    if (!code && !r->args->json && !r->cli->closed && last != '\n') {
        cli_out(r->cli, "\n", 1);
    }
    if (!code && r->finish == LK_FINISH_FULL) {
        cli_note(r->cli, "the context is full: %zu tokens; --ctx gives more", r->n_ctx);
    }
    r->all.answers++;
    r->all.prompt += r->last.prompt;
    r->all.reused += r->last.reused;
    r->all.written += r->last.written;
    r->all.decoded += r->last.decoded;
    r->all.prompt_seconds += r->last.prompt_seconds;
    r->all.decode_seconds += r->last.decode_seconds;
    return code;
}

const struct cli_buffer *cli_said(const struct cli_runner *r)
{
    return r->think.format ? &r->think.content : &r->text;
}

/* ---- statistics ---- */

double cli_rate(size_t n, double seconds)
{
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

void cli_statistics(const struct cli_runner *r)
{
    const struct cli_counts *c = &r->last;
    cli_note(r->cli, "prompt: %zu tokens, %zu reused, %.1f tokens/s", c->prompt, c->reused,
             cli_rate(c->prompt - c->reused, c->prompt_seconds));
    cli_note(r->cli, "generated: %zu tokens, %.1f tokens/s", c->written,
             cli_rate(c->decoded, c->decode_seconds));
}

void cli_all_statistics(const struct cli_runner *r)
{
    const struct cli_counts *c = &r->all;
    size_t n = c->prompt - c->reused;
    cli_note(r->cli,
             "%zu answer%s: %zu tokens read (%.1f tokens/s) and %zu reused, %zu written "
             "(%.1f tokens/s)",
             c->answers, c->answers == 1 ? "" : "s", n, cli_rate(n, c->prompt_seconds), c->reused,
             c->written, cli_rate(c->decoded, c->decode_seconds));
}
