/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_native: llama.cpp's own completion of a text: requests and answers.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/server/wire_completions.h"

static bool parse(const char *path, const char *body, size_t len, struct ask *ask,
                  struct wire_error *why)
{
    static const char *const most[] = {"n_predict", "max_tokens", NULL};
    struct wire_in in;
    struct wire_value root = wire_open(&in, body, len, why);
    int64_t n;
    (void)path;
    ask->kind = ASK_TEXT;
    wire_copy(&in, root, "", "model", &ask->model);
    ask_prompts(&in, root, "prompt", ask);
    ask_sampling(&in, root, "", ask);
    ask_max_tokens(&in, root, "", 0, ask, most);
    ask_stop(&in, root, "", "stop", ask);
    ask_bias(&in, root, ask);
    ask_constraint(&in, root, ask);
    wire_bool(&in, root, "", "stream", &ask->stream);
    ask_own(&in, root, ask);
    wire_bool(&in, root, "", "timings_per_token", &ask->timings);
    if (wire_int(&in, root, "", "n_probs", 0, LK_MAX_LOGPROBS, &n) && n > 0) {
        ask->logprobs = (int)n;
    }
    if (ask->stream && ask->n_prompts > 1) {
        wire_refuse(&in, "stream", "excludes more than one prompt");
    }
    return ask_done(&in, ask);
}

static void probabilities(struct written *a, struct wire_text *out)
{
    if (a->n_tokens) {
        wire_puts(out, ",\"completion_probabilities\":[");
        wire_add(out, a->tokens.data, a->tokens.n);
        wire_puts(out, "]");
        a->tokens.n = a->n_tokens = 0;
    }
}

static void head(const struct writer *w, const struct written *a, struct wire_text *out)
{
    wire_print(out, "{\"index\":%zu,\"content\":", (size_t)(a - w->answer));
    wire_quote(out, a->content.data, a->content.n);
}

static void setting(struct wire_text *out, const char *name, float x)
{
    wire_print(out, ",\"%s\":", name);
    wire_float(out, x);
}

static void settings(const struct writer *w, struct wire_text *out)
{
    const lk_sampler_options *s = &w->ask->sampler;
    wire_print(out, ",\"generation_settings\":{\"seed\":%" PRIu64 ",\"top_k\":%d", w->info.seed,
               s->top_k);
    setting(out, "temperature", s->temperature);
    setting(out, "top_p", s->top_p);
    setting(out, "min_p", s->min_p);
    setting(out, "repeat_penalty", s->repeat_penalty);
    setting(out, "presence_penalty", s->presence_penalty);
    setting(out, "frequency_penalty", s->frequency_penalty);
    wire_print(out, ",\"repeat_last_n\":%d,\"n_predict\":", s->penalty_last_n);
    if (w->ask->max_tokens == SIZE_MAX) {
        wire_puts(out, "-1}");
    } else {
        wire_print(out, "%zu}", w->ask->max_tokens);
    }
}

static void last(const struct writer *w, struct written *a, struct wire_text *out)
{
    const struct wire_usage *u = w->n_answers > 1 ? &a->usage : &w->usage;
    const char *type = a->finish == PART_LENGTH || a->finish == PART_CANCELLED ? "limit"
                       : a->stop                                               ? "word"
                                                                               : "eos";
    head(w, a, out);
    probabilities(a, out);
    wire_puts(out, ",\"id_slot\":-1,\"stop\":true,\"model\":");
    wire_quotes(out, w->info.model);
    wire_print(out,
               ",\"tokens\":[],\"tokens_predicted\":%zu,\"tokens_evaluated\":%zu,"
               "\"tokens_cached\":%zu,\"truncated\":false,\"stop_type\":\"%s\",\"stopping_word\":",
               u->written, u->prompt, u->reused, type);
    wire_quotes(out, a->stop ? a->stop : "");
    settings(w, out);
    if (a->sha256[0]) {
        wire_print(out, ",\"logits_sha256\":\"%s\"", a->sha256);
    }
    wire_puts(out, ",");
    openai_timings(u, out);
    wire_puts(out, "}");
}

static void error(const struct wire_error *why, bool streaming, struct wire_text *out)
{
    wire_puts(out, streaming ? "data: " : "");
    wire_print(out, "{\"error\":{\"code\":%d,\"message\":", why->status);
    wire_quotes(out, why->message);
    wire_puts(out, ",\"type\":");
    wire_quotes(out, why->type);
    wire_puts(out, ",\"param\":");
    wire_quotes(out, why->param[0] ? why->param : NULL);
    wire_puts(out, streaming ? "}}\n\n" : "}}");
}

static void end(struct writer *w, struct wire_text *out)
{
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        error(&why, w->ask->stream, out);
        return;
    }
    wire_puts(out, w->ask->stream ? "data: " : w->n_answers > 1 ? "[" : "");
    for (size_t i = 0; i < w->n_answers; i++) {
        wire_puts(out, i ? "," : "");
        last(w, &w->answer[i], out);
    }
    wire_puts(out, w->ask->stream ? "\n\n" : w->n_answers > 1 ? "]" : "");
}

static void put(struct writer *w, const struct part *part, struct wire_text *out)
{
    struct written *a = writer_take(w, part);
    if (part->kind == PART_END) {
        end(w, out);
    } else if (a && part->kind == PART_TOKEN) {
        wire_puts(&a->tokens, a->n_tokens++ ? "," : "");
        openai_token(part, &a->tokens);
        w->out_of_memory |= a->tokens.failed;
    } else if (a && part->kind == PART_CONTENT && w->ask->stream) {
        event_begin(out);
        head(w, a, out);
        probabilities(a, out);
        wire_puts(out, ",\"tokens\":[],\"stop\":false,\"id_slot\":-1}");
        event_end(out);
        writer_forget(a);
    }
    writer_done(w, out);
}

const struct protocol PROTOCOL_NATIVE = {.name = "native",
                                         .stream_type = "text/event-stream",
                                         .parse = parse,
                                         .open = writer_open,
                                         .put = put,
                                         .close = writer_close,
                                         .keep_alive = writer_comment,
                                         .error = error};
