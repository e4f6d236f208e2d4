/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_ollama_write: answers of Ollama's chat, generate and embed: one JSON object, or one a line.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tools/server/wire_ollama.h"

void ollama_error(const struct wire_error *why, bool streaming, struct wire_text *out)
{
    wire_puts(out, "{\"error\":");
    wire_quotes(out, why->message);
    wire_puts(out, streaming ? "}\n" : "}");
}

static void head(const struct writer *w, struct wire_text *out)
{
    struct tm t;
    char date[32] = "1970-01-01T00:00:00Z";
    time_t created = (time_t)w->info.created;
    if (gmtime_r(&created, &t)) {
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &t);
    }
    wire_puts(out, "{\"model\":");
    wire_quotes(out, w->info.model);
    wire_print(out, ",\"created_at\":\"%s\"", date);
}

static long long ns(double seconds)
{
    return (long long)(seconds * 1e9);
}

static void durations(const struct wire_usage *u, struct wire_text *out)
{
    wire_print(out,
               ",\"total_duration\":%lld,\"load_duration\":0,\"prompt_eval_count\":%zu,"
               "\"prompt_eval_duration\":%lld,\"eval_count\":%zu,\"eval_duration\":%lld",
               ns(u->waited + u->reading + u->writing), u->prompt, ns(u->reading), u->written,
               ns(u->writing));
}

/* Calls from the i-th on, with their arguments as objects. */
static void calls(const struct written *a, size_t i, struct wire_text *out)
{
    wire_puts(out, ",\"tool_calls\":[");
    for (size_t first = i; i < a->n_calls; i++) {
        wire_puts(out, i > first ? ",{\"id\":" : "{\"id\":");
        wire_quotes(out, a->call[i].id);
        wire_print(out, ",\"function\":{\"index\":%zu,\"name\":", i);
        wire_quotes(out, a->call[i].name);
        wire_puts(out, ",\"arguments\":");
        writer_arguments(&a->call[i], out);
        wire_puts(out, "}}");
    }
    wire_puts(out, "]");
}

static void logprobs(struct written *a, struct wire_text *out)
{
    if (a->n_tokens) {
        wire_puts(out, ",\"logprobs\":[");
        wire_add(out, a->tokens.data, a->tokens.n);
        wire_puts(out, "]");
        a->tokens.n = a->n_tokens = 0;
    }
}

/* What an answer has so far: of a chat or of generate. `from`: the first call that is shown. */
static void said(const struct written *a, bool chat, size_t from, struct wire_text *out)
{
    wire_puts(out, chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"response\":");
    wire_quote(out, a->content.data, a->content.n);
    if (a->reasoning.n) {
        wire_puts(out, ",\"thinking\":");
        wire_quote(out, a->reasoning.data, a->reasoning.n);
    }
    if (chat && a->n_calls > from) {
        calls(a, from, out);
    }
    wire_puts(out, chat ? "}" : "");
}

static void end(struct writer *w, bool chat, struct wire_text *out)
{
    struct written *a = &w->answer[0];
    const char *reason = w->ask->kind == ASK_COUNT                                 ? "load"
                         : a->finish == PART_LENGTH || a->finish == PART_CANCELLED ? "length"
                                                                                   : "stop";
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        ollama_error(&why, w->ask->stream, out);
        return;
    }
    head(w, out);
    said(a, chat, w->ask->stream ? a->n_calls : 0, out);
    logprobs(a, out);
    wire_print(out, ",\"done\":true,\"done_reason\":\"%s\"", reason);
    if (a->sha256[0]) {
        wire_print(out, ",\"logits_sha256\":\"%s\"", a->sha256);
    }
    if (w->ask->kind != ASK_COUNT) {
        durations(&w->usage, out);
    }
    wire_puts(out, w->ask->stream ? "}\n" : "}");
}

static void put(struct writer *w, bool chat, const struct part *part, struct wire_text *out)
{
    struct written *a = part->answer == 0 ? writer_take(w, part) : NULL;
    bool says = part->kind == PART_REASONING || part->kind == PART_CONTENT ||
                (chat && part->kind == PART_CALL_END);
    if (part->kind == PART_END) {
        end(w, chat, out);
    } else if (a && part->kind == PART_TOKEN) {
        wire_puts(&a->tokens, a->n_tokens++ ? "," : "");
        openai_token(part, &a->tokens);
        w->out_of_memory |= a->tokens.failed;
    } else if (a && says && w->ask->stream) {
        head(w, out);
        said(a, chat, part->kind == PART_CALL_END ? a->n_calls - 1 : a->n_calls, out);
        logprobs(a, out);
        wire_puts(out, ",\"done\":false}\n");
        writer_forget(a);
    }
    writer_done(w, out);
}

void ollama_chat_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    put(w, true, part, out);
}

void ollama_generate_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    put(w, false, part, out);
}

void ollama_embed_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    writer_take(w, part);
    if (part->kind == PART_END) {
        wire_puts(out, "{\"model\":");
        wire_quotes(out, w->info.model);
        wire_puts(out, ",\"embeddings\":[");
        for (size_t i = 0; i < w->n_answers; i++) {
            wire_puts(out, i ? ",[" : "[");
            for (size_t k = 0; k < w->answer[i].n_vector; k++) {
                wire_puts(out, k ? "," : "");
                wire_float(out, w->answer[i].vector[k]);
            }
            wire_puts(out, "]");
        }
        wire_print(out, "],\"total_duration\":%lld,\"load_duration\":0,\"prompt_eval_count\":%zu}",
                   ns(w->usage.waited + w->usage.reading), w->usage.prompt);
    }
    writer_done(w, out);
}
