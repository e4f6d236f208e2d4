/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_chat_write: answers of OpenAI's chat completions, whole or as chunks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_chat.h"

/* ---- log probabilities ---- */

static void take_token(struct writer *w, struct written *a, const struct part *part)
{
    wire_puts(&a->tokens, a->n_tokens++ ? "," : "");
    openai_token(part, &a->tokens);
    w->out_of_memory |= a->tokens.failed;
}

static void logprobs(struct written *a, struct wire_text *out)
{
    if (a->n_tokens == 0) {
        wire_puts(out, ",\"logprobs\":null");
        return;
    }
    wire_puts(out, ",\"logprobs\":{\"content\":[");
    wire_add(out, a->tokens.data, a->tokens.n);
    wire_puts(out, "],\"refusal\":null}");
    a->tokens.n = a->n_tokens = 0;
}

/* ---- calls ---- */

static void call(const struct written_call *c, bool whole, struct wire_text *out)
{
    wire_puts(out, "\"id\":");
    wire_quotes(out, c->id);
    wire_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    wire_quotes(out, c->name);
    wire_puts(out, ",\"arguments\":");
    wire_quote(out, c->arguments.data, whole ? c->arguments.n : 0);
    wire_puts(out, "}");
}

/* ---- finish ---- */

static const char *finish_word(const struct written *a)
{
    static const char *const words[] = {"stop", "length", "tool_calls", "length", "error"};
    return words[a->finish];
}

static void extras(const struct written *a, struct wire_text *out)
{
    if (a->stop) {
        wire_puts(out, ",\"stop_reason\":");
        wire_quotes(out, a->stop);
    }
    if (a->sha256[0]) {
        wire_print(out, ",\"logits_sha256\":\"%s\"", a->sha256);
    }
}

/* ---- a stream ---- */

static void chunk_begin(const struct writer *w, uint32_t answer, struct wire_text *out)
{
    event_begin(out);
    openai_head(w, "chatcmpl-", "chat.completion.chunk", out);
    wire_print(out, ",\"choices\":[{\"index\":%" PRIu32 ",\"delta\":{", answer);
}

static void chunk_end(const struct writer *w, struct written *a, struct wire_text *out)
{
    wire_puts(out, "}");
    logprobs(a, out);
    wire_puts(out, ",\"finish_reason\":");
    wire_quotes(out, a->finished ? finish_word(a) : NULL);
    extras(a, out);
    wire_puts(out, "}]");
    if (a->finished) {
        wire_print(out, ",\"seed\":%" PRIu64, w->info.seed);
    }
    wire_puts(out, w->ask->include_usage ? ",\"usage\":null}" : "}");
    event_end(out);
}

static void chunk_text(const char *name, const struct part *part, struct wire_text *out)
{
    wire_print(out, "\"%s\":", name);
    wire_quote(out, part->text, part->len);
}

static void chunk_arguments(const struct part *part, struct wire_text *out)
{
    wire_print(out,
               "\"tool_calls\":[{\"index\":%" PRIu32 ",\"function\":{\"arguments\":", part->call);
    wire_quote(out, part->text, part->len);
    wire_puts(out, "}}]");
}

static void stream_begin(struct writer *w, struct wire_text *out)
{
    for (uint32_t i = 0; i < w->n_answers; i++) {
        chunk_begin(w, i, out);
        wire_puts(out, "\"role\":\"assistant\",\"content\":\"\"");
        chunk_end(w, &w->answer[i], out);
    }
}

static void stream_end(const struct writer *w, struct wire_text *out)
{
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        openai_error(&why, true, out);
        return;
    }
    if (w->ask->include_usage || w->ask->timings) {
        event_begin(out);
        openai_head(w, "chatcmpl-", "chat.completion.chunk", out);
        wire_puts(out, ",\"choices\":[],");
        openai_usage(w, &w->usage, out);
        wire_puts(out, "}");
        event_end(out);
    }
    wire_puts(out, "data: [DONE]\n\n");
}

static void stream_part(struct writer *w, struct written *a, const struct part *part,
                        struct wire_text *out)
{
    bool says = part->kind == PART_REASONING || part->kind == PART_CONTENT ||
                part->kind == PART_CALL || part->kind == PART_ARGUMENTS;
    if (!says && (part->kind != PART_FINISH || part->finish == PART_FAILED)) {
        return;
    }
    chunk_begin(w, part->answer, out);
    if (part->kind == PART_CALL) {
        wire_print(out, "\"tool_calls\":[{\"index\":%" PRIu32 ",", part->call);
        call(&a->call[a->n_calls - 1], false, out);
        wire_puts(out, "}]");
    } else if (part->kind == PART_ARGUMENTS) {
        chunk_arguments(part, out);
    } else if (part->kind != PART_FINISH) {
        chunk_text(part->kind == PART_CONTENT ? "content" : "reasoning_content", part, out);
    }
    chunk_end(w, a, out);
    writer_forget(a);
}

/* ---- a whole body ---- */

static void message(const struct written *a, struct wire_text *out)
{
    wire_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (a->content.n == 0 && a->n_calls > 0) {
        wire_puts(out, "null");
    } else {
        wire_quote(out, a->content.data, a->content.n);
    }
    wire_puts(out, ",\"refusal\":null");
    if (a->reasoning.n) {
        wire_puts(out, ",\"reasoning_content\":");
        wire_quote(out, a->reasoning.data, a->reasoning.n);
    }
    for (size_t i = 0; i < a->n_calls; i++) {
        wire_puts(out, i ? "},{" : ",\"tool_calls\":[{");
        call(&a->call[i], true, out);
    }
    wire_puts(out, a->n_calls ? "}]}" : "}");
}

static void whole(struct writer *w, struct wire_text *out)
{
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        openai_error(&why, false, out);
        return;
    }
    openai_head(w, "chatcmpl-", "chat.completion", out);
    wire_puts(out, ",\"choices\":[");
    for (size_t i = 0; i < w->n_answers; i++) {
        struct written *a = &w->answer[i];
        wire_print(out, "%s{\"index\":%zu,", i ? "," : "", i);
        message(a, out);
        logprobs(a, out);
        wire_puts(out, ",\"finish_reason\":");
        wire_quotes(out, finish_word(a));
        extras(a, out);
        wire_puts(out, "}");
    }
    wire_print(out, "],\"seed\":%" PRIu64 ",", w->info.seed);
    openai_usage(w, &w->usage, out);
    wire_puts(out, "}");
}

void chat_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    struct written *a = writer_take(w, part);
    if (part->kind == PART_TOKEN && a) {
        take_token(w, a, part);
    } else if (!w->ask->stream) {
        if (part->kind == PART_END) {
            whole(w, out);
        }
    } else if (part->kind == PART_BEGIN) {
        stream_begin(w, out);
    } else if (part->kind == PART_END) {
        stream_end(w, out);
    } else if (a) {
        stream_part(w, a, part, out);
    }
    writer_done(w, out);
}
