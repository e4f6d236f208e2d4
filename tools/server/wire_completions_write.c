/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_completions_write: answers of OpenAI's completions, whole or as chunks, and embeddings.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/server/wire_completions.h"

/* ---- log probabilities: four arrays side by side ---- */

enum { PROBABILITIES, LIKELIEST, OFFSETS };

static size_t characters(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ((unsigned char)s[i] & 0xC0) != 0x80;
    }
    return count;
}

static void take_token(struct writer *w, struct written *a, const struct part *part)
{
    struct wire_text *lists[] = {&a->tokens, &a->more[PROBABILITIES], &a->more[LIKELIEST],
                                 &a->more[OFFSETS]};
    for (size_t i = 0; i < 4; i++) {
        wire_puts(lists[i], a->n_tokens ? "," : "");
    }
    a->n_tokens++;
    wire_quote(&a->tokens, part->token.bytes, part->token.len);
    wire_float(&a->more[PROBABILITIES], part->token.logprob);
    wire_puts(&a->more[LIKELIEST], "{");
    for (size_t i = 0; i < part->n_top; i++) {
        wire_puts(&a->more[LIKELIEST], i ? "," : "");
        wire_quote(&a->more[LIKELIEST], part->top[i].bytes, part->top[i].len);
        wire_puts(&a->more[LIKELIEST], ":");
        wire_float(&a->more[LIKELIEST], part->top[i].logprob);
    }
    wire_puts(&a->more[LIKELIEST], "}");
    wire_print(&a->more[OFFSETS], "%zu", a->at);
    a->at += characters(part->token.bytes, part->token.len);
    for (size_t i = 0; i < 4; i++) {
        w->out_of_memory |= lists[i]->failed;
    }
}

static void logprobs(struct written *a, struct wire_text *out)
{
    static const char *const names[] = {"token_logprobs", "top_logprobs", "text_offset"};
    if (a->n_tokens == 0) {
        wire_puts(out, "null");
        return;
    }
    wire_puts(out, "{\"tokens\":[");
    wire_add(out, a->tokens.data, a->tokens.n);
    for (size_t i = 0; i < 3; i++) {
        wire_print(out, "],\"%s\":[", names[i]);
        wire_add(out, a->more[i].data, a->more[i].n);
        a->more[i].n = 0;
    }
    wire_puts(out, "]}");
    a->tokens.n = a->n_tokens = 0;
}

/* ---- choices ---- */

/* {"text": ..., all that is known of the answer}: the text that it has so far. */
static void choice(const struct writer *w, struct written *a, struct wire_text *out)
{
    static const char *const words[] = {"stop", "length", "stop", "length", "error"};
    wire_puts(out, "{\"text\":\"");
    wire_quoted(out, a->prompt.data, a->prompt.n);
    wire_quoted(out, a->content.data, a->content.n);
    wire_print(out, "\",\"index\":%zu,\"logprobs\":", (size_t)(a - w->answer));
    logprobs(a, out);
    wire_puts(out, ",\"finish_reason\":");
    wire_quotes(out, a->finished ? words[a->finish] : NULL);
    if (a->stop) {
        wire_puts(out, ",\"stop_reason\":");
        wire_quotes(out, a->stop);
    }
    if (a->sha256[0]) {
        wire_print(out, ",\"logits_sha256\":\"%s\"", a->sha256);
    }
    wire_puts(out, "}");
}

static void chunk(struct writer *w, struct written *a, struct wire_text *out)
{
    event_begin(out);
    openai_head(w, "cmpl-", "text_completion", out);
    wire_puts(out, ",\"choices\":[");
    choice(w, a, out);
    wire_puts(out, "]");
    if (a->finished) {
        wire_print(out, ",\"seed\":%" PRIu64, w->info.seed);
    }
    wire_puts(out, w->ask->include_usage ? ",\"usage\":null}" : "}");
    event_end(out);
    writer_forget(a);
}

static void end(struct writer *w, struct wire_text *out)
{
    bool stream = w->ask->stream;
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        openai_error(&why, stream, out);
        return;
    }
    if (!stream || w->ask->include_usage || w->ask->timings) {
        wire_puts(out, stream ? "data: " : "");
        openai_head(w, "cmpl-", "text_completion", out);
        wire_puts(out, ",\"choices\":[");
        for (size_t i = 0; i < w->n_answers && !stream; i++) {
            wire_puts(out, i ? "," : "");
            choice(w, &w->answer[i], out);
        }
        wire_puts(out, "],");
        if (!stream) {
            wire_print(out, "\"seed\":%" PRIu64 ",", w->info.seed);
        }
        openai_usage(w, &w->usage, out);
        wire_puts(out, stream ? "}\n\n" : "}");
    }
    wire_puts(out, stream ? "data: [DONE]\n\n" : "");
}

void completions_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    struct written *a = writer_take(w, part);
    bool says = part->kind == PART_CONTENT || part->kind == PART_PROMPT ||
                (part->kind == PART_FINISH && part->finish != PART_FAILED);
    if (a && part->kind == PART_TOKEN) {
        take_token(w, a, part);
    } else if (a && part->kind == PART_PROMPT) {
        a->at = characters(part->text, part->len);
    }
    if (part->kind == PART_END) {
        end(w, out);
    } else if (a && says && w->ask->stream) {
        chunk(w, a, out);
    }
    writer_done(w, out);
}

/* ---- embeddings ---- */

static void base64(const float *x, size_t n, struct wire_text *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = n * sizeof *x;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++) { /* floats as little-endian bytes */
            uint32_t word = 0;
            if (i + k < len) {
                memcpy(&word, &x[(i + k) / 4], sizeof word);
            }
            bits = bits << 8 | (word >> 8 * ((i + k) % 4) & 0xFF);
        }
        for (size_t k = 0; k < 4; k++) {
            four[k] = i + k <= len ? digits[bits >> (18 - 6 * k) & 63] : '=';
        }
        wire_add(out, four, 4);
    }
}

void embeddings_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    writer_take(w, part);
    if (part->kind == PART_END) {
        wire_puts(out, "{\"object\":\"list\",\"data\":[");
        for (size_t i = 0; i < w->n_answers; i++) {
            const struct written *a = &w->answer[i];
            bool coded = w->ask->own == (const void *)EMBEDDINGS_BASE64;
            wire_print(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":%s",
                       i ? "," : "", i, coded ? "\"" : "[");
            if (coded) {
                base64(a->vector, a->n_vector, out);
            }
            for (size_t k = 0; k < a->n_vector && !coded; k++) {
                wire_puts(out, k ? "," : "");
                wire_float(out, a->vector[k]);
            }
            wire_puts(out, coded ? "\"}" : "]}");
        }
        wire_puts(out, "],\"model\":");
        wire_quotes(out, w->info.model);
        wire_print(out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}}", w->usage.prompt,
                   w->usage.prompt);
    }
    writer_done(w, out);
}
