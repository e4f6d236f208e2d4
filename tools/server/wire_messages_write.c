/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_messages_write: answers of Anthropic's messages: blocks of thinking, text and calls, as
 * events or as one body. Both are made by the same walk over the parts: a block that ends is added
 * to the list that a whole body shows.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/server/wire_messages.h"

enum { BLOCKS }; /* which of an answer's own texts holds the blocks that have ended */

void messages_error(const struct wire_error *why, bool streaming, struct wire_text *out)
{
    static const struct {
        const char *type, *name;
    } names[] = {{"rate_limit_error", "rate_limit_error"}, {"server_error", "api_error"}};
    const char *type = why->status == 404   ? "not_found_error"
                       : why->status == 401 ? "authentication_error"
                       : why->status == 413 ? "request_too_large"
                                            : why->type;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        type = strcmp(type, names[i].type) == 0 ? names[i].name : type;
    }
    wire_puts(out, streaming ? "event: error\ndata: " : "");
    wire_puts(out, "{\"type\":\"error\",\"error\":{\"type\":");
    wire_quotes(out, type);
    wire_puts(out, ",\"message\":");
    wire_quotes(out, why->message);
    wire_puts(out, streaming ? "}}\n\n" : "}}");
}

/* ---- events ---- */

static void event(struct wire_text *out, const char *name)
{
    wire_print(out, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

void messages_ping(struct writer *w, struct wire_text *out)
{
    if (w->ask->stream) {
        event(out, "ping");
        wire_puts(out, "}\n\n");
    }
}

/* What a message is before its content; `input` tokens are those that were evaluated. */
static void head(const struct writer *w, struct wire_text *out)
{
    wire_print(out, "{\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
               w->info.id);
    wire_quotes(out, w->info.model);
    wire_puts(out, ",\"content\":[");
}

static void usage(size_t prompt, size_t reused, size_t written, struct wire_text *out)
{
    wire_print(out,
               "\"usage\":{\"input_tokens\":%zu,\"cache_creation_input_tokens\":0,"
               "\"cache_read_input_tokens\":%zu,\"output_tokens\":%zu}",
               prompt - (reused < prompt ? reused : prompt), reused, written);
}

static void reason(const struct written *a, struct wire_text *out)
{
    static const char *const words[] = {"end_turn", "max_tokens", "tool_use", "max_tokens",
                                        "end_turn"};
    bool stopped = a->finish == PART_STOP && a->stop;
    wire_puts(out, "\"stop_reason\":");
    wire_quotes(out, stopped ? "stop_sequence" : words[a->finish]);
    wire_puts(out, ",\"stop_sequence\":");
    wire_quotes(out, stopped ? a->stop : NULL);
    if (a->sha256[0]) {
        wire_print(out, ",\"logits_sha256\":\"%s\"", a->sha256);
    }
}

/* ---- blocks ---- */

/* The block as a whole body has it, with what it holds now, or as it begins. */
static void block(const struct written *a, bool empty, struct wire_text *out)
{
    const struct written_call *call = a->n_calls ? &a->call[a->n_calls - 1] : NULL;
    switch (a->block) {
    case BLOCK_REASONING:
        wire_puts(out, "{\"type\":\"thinking\",\"thinking\":");
        wire_quote(out, a->reasoning.data, empty ? 0 : a->reasoning.n);
        wire_puts(out, ",\"signature\":\"\"}");
        break;
    case BLOCK_CONTENT:
        wire_puts(out, "{\"type\":\"text\",\"text\":");
        wire_quote(out, a->content.data, empty ? 0 : a->content.n);
        wire_puts(out, "}");
        break;
    case BLOCK_CALL:
        wire_puts(out, "{\"type\":\"tool_use\",\"id\":");
        wire_quotes(out, call->id); /* as it is: some templates look at it */
        wire_puts(out, ",\"name\":");
        wire_quotes(out, call->name);
        wire_puts(out, ",\"input\":");
        if (empty) {
            wire_puts(out, "{}");
        } else {
            writer_arguments(call, out);
        }
        wire_puts(out, "}");
        break;
    case BLOCK_NONE:
        break;
    }
}

static void end_block(struct writer *w, struct written *a, struct wire_text *out)
{
    if (a->block == BLOCK_NONE) {
        return;
    }
    if (w->ask->stream) {
        event(out, "content_block_stop");
        wire_print(out, ",\"index\":%zu}\n\n", a->n_blocks - 1);
    } else {
        wire_puts(&a->more[BLOCKS], a->more[BLOCKS].n ? "," : "");
        block(a, false, &a->more[BLOCKS]);
        w->out_of_memory |= a->more[BLOCKS].failed;
    }
    writer_forget(a);
    a->block = BLOCK_NONE;
}

static void begin_block(struct writer *w, struct written *a, enum written_block kind,
                        struct wire_text *out)
{
    a->block = kind;
    if (w->ask->stream) {
        event(out, "content_block_start");
        wire_print(out, ",\"index\":%zu,\"content_block\":", a->n_blocks);
        block(a, true, out);
        wire_puts(out, "}\n\n");
    }
    a->n_blocks++;
}

static void delta(const struct written *a, const struct part *part, struct wire_text *out)
{
    static const char *const names[][2] = {{"", ""},
                                           {"thinking_delta", "thinking"},
                                           {"text_delta", "text"},
                                           {"input_json_delta", "partial_json"}};
    event(out, "content_block_delta");
    wire_print(out, ",\"index\":%zu,\"delta\":{\"type\":\"%s\",\"%s\":", a->n_blocks - 1,
               names[a->block][0], names[a->block][1]);
    wire_quote(out, part->text, part->len);
    wire_puts(out, "}}\n\n");
}

/* ---- all of it ---- */

/* Text of the kind: the block of another kind ends before it is taken in. */
static enum written_block kind_of(enum part_kind kind)
{
    return kind == PART_REASONING                        ? BLOCK_REASONING
           : kind == PART_CONTENT                        ? BLOCK_CONTENT
           : kind == PART_CALL || kind == PART_ARGUMENTS ? BLOCK_CALL
                                                         : BLOCK_NONE;
}

static void start(const struct writer *w, struct wire_text *out)
{
    if (w->ask->stream) {
        event(out, "message_start");
        wire_puts(out, ",\"message\":");
        head(w, out);
        wire_puts(out, "],\"stop_reason\":null,\"stop_sequence\":null,");
        usage(w->info.prompt_tokens, 0, 0, out);
        wire_puts(out, "}}\n\n");
    }
}

static void end(struct writer *w, struct wire_text *out)
{
    const struct written *a = &w->answer[0];
    const struct wire_usage *u = &w->usage;
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        messages_error(&why, w->ask->stream, out);
        return;
    }
    if (w->ask->stream) {
        event(out, "message_delta");
        wire_puts(out, ",\"delta\":{");
        reason(a, out);
        wire_puts(out, "},");
        usage(u->prompt, u->reused, u->written, out);
        wire_puts(out, "}\n\n");
        event(out, "message_stop");
        wire_puts(out, "}\n\n");
        return;
    }
    head(w, out);
    wire_add(out, a->more[BLOCKS].data, a->more[BLOCKS].n);
    wire_puts(out, "],");
    reason(a, out);
    wire_puts(out, ",");
    usage(u->prompt, u->reused, u->written, out);
    wire_puts(out, "}");
}

void messages_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    enum written_block kind = kind_of(part->kind);
    struct written *a = &w->answer[0];
    bool text = part->kind == PART_REASONING || part->kind == PART_CONTENT;
    if (part->answer > 0 || (text && part->len == 0)) {
        return;
    }
    if (part->kind == PART_CALL || part->kind == PART_FINISH ||
        (kind != BLOCK_NONE && kind != a->block)) {
        end_block(w, a, out);
    }
    a = writer_take(w, part);
    if (a && (part->kind == PART_CALL || (text && a->block == BLOCK_NONE))) {
        begin_block(w, a, kind, out);
    }
    if (a && w->ask->stream && part->len > 0 && (text || part->kind == PART_ARGUMENTS)) {
        delta(a, part, out);
    } else if (part->kind == PART_BEGIN) {
        start(w, out);
    } else if (part->kind == PART_END) {
        end(w, out);
    }
    writer_done(w, out);
}

void messages_count_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    writer_take(w, part);
    if (part->kind == PART_END) {
        wire_print(out, "{\"input_tokens\":%zu}", w->usage.prompt);
    }
}
