/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_openai: what the answers of OpenAI's protocols share. See wire_chat.h.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/server/wire_chat.h"

void openai_error(const struct wire_error *why, bool streaming, struct wire_text *out)
{
    if (streaming) {
        event_begin(out);
    }
    wire_puts(out, "{\"error\":{\"message\":");
    wire_quotes(out, why->message);
    wire_puts(out, ",\"type\":");
    wire_quotes(out, why->type);
    wire_puts(out, ",\"param\":");
    wire_quotes(out, why->param[0] ? why->param : NULL);
    wire_puts(out, ",\"code\":");
    wire_quotes(out, why->code[0] ? why->code : NULL);
    wire_puts(out, "}}");
    if (streaming) {
        event_end(out);
    }
}

static void token(const struct part_logprob *t, struct wire_text *out)
{
    wire_print(out, "{\"id\":%" PRId32 ",\"token\":", t->token);
    wire_quote(out, t->bytes, t->len);
    wire_puts(out, ",\"logprob\":");
    wire_float(out, t->logprob);
    wire_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < t->len; i++) {
        wire_print(out, "%s%u", i ? "," : "", (unsigned char)t->bytes[i]);
    }
    wire_puts(out, "]");
}

void openai_token(const struct part *part, struct wire_text *out)
{
    token(&part->token, out);
    wire_puts(out, ",\"top_logprobs\":[");
    for (size_t i = 0; i < part->n_top; i++) {
        wire_puts(out, i ? "," : "");
        token(&part->top[i], out);
        wire_puts(out, "}");
    }
    wire_puts(out, "]}");
}

void openai_head(const struct writer *w, const char *prefix, const char *object,
                 struct wire_text *out)
{
    const struct reply_info *i = &w->info;
    wire_print(out, "{\"id\":\"%s%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", prefix,
               i->id, object, i->created);
    wire_quotes(out, i->model);
    wire_puts(out, ",\"system_fingerprint\":");
    wire_quotes(out, i->fingerprint);
}

static double rate(size_t n, double seconds)
{
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

static double each(double seconds, size_t n)
{
    return n ? 1e3 * seconds / (double)n : 0.0;
}

void openai_timings(const struct wire_usage *u, struct wire_text *out)
{
    size_t read = u->prompt - (u->reused < u->prompt ? u->reused : u->prompt);
    wire_print(out,
               "\"timings\":{\"cache_n\":%zu,\"prompt_n\":%zu,\"prompt_ms\":%.3f,"
               "\"prompt_per_token_ms\":%.3f,\"prompt_per_second\":%.3f,\"predicted_n\":%zu,"
               "\"predicted_ms\":%.3f,\"predicted_per_token_ms\":%.3f,"
               "\"predicted_per_second\":%.3f,\"queued_ms\":%.3f}",
               u->reused, read, 1e3 * u->reading, each(u->reading, read), rate(read, u->reading),
               u->written, 1e3 * u->writing, each(u->writing, u->written),
               rate(u->written, u->writing), 1e3 * u->waited);
}

void openai_usage(const struct writer *w, const struct wire_usage *u, struct wire_text *out)
{
    if (w->ask->timings) {
        openai_timings(u, out);
        wire_puts(out, ",");
    }
    wire_print(out,
               "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%zu},"
               "\"completion_tokens_details\":{\"reasoning_tokens\":%zu}}",
               u->prompt, u->written, u->prompt + u->written, u->reused, u->reasoning);
}
