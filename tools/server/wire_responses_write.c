/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_responses_write: answers of OpenAI's responses: items of reasoning, text and calls, as
 * events or as one body. An item that ends is added to the list that the response shows.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/server/wire_responses.h"

enum { ITEMS }; /* which of an answer's own texts holds the items that have ended */

/* ---- the response ---- */

static void usage(const struct wire_usage *u, struct wire_text *out)
{
    wire_print(out,
               ",\"usage\":{\"input_tokens\":%zu,\"input_tokens_details\":{\"cached_tokens\":%zu},"
               "\"output_tokens\":%zu,\"output_tokens_details\":{\"reasoning_tokens\":%zu},"
               "\"total_tokens\":%zu}",
               u->prompt, u->reused, u->written, u->reasoning, u->prompt + u->written);
}

static bool is_cut(const struct written *a)
{
    return a->finished && (a->finish == PART_LENGTH || a->finish == PART_CANCELLED);
}

/* The object, as it stands. */
static void response(const struct writer *w, const char *status, struct wire_text *out)
{
    const struct written *a = &w->answer[0];
    const struct responses_own *own = w->ask->own;
    wire_print(out,
               "{\"id\":\"resp_%s\",\"object\":\"response\",\"created_at\":%" PRId64
               ",\"status\":\"%s\",\"background\":false,\"store\":false,"
               "\"previous_response_id\":null,\"error\":",
               w->info.id, w->info.created, status);
    if (w->failed_answer) {
        struct wire_error why = writer_error(w);
        wire_puts(out, "{\"code\":\"server_error\",\"message\":");
        wire_quotes(out, why.message);
        wire_puts(out, "}");
    } else {
        wire_puts(out, "null");
    }
    wire_puts(out, ",\"incomplete_details\":");
    wire_puts(out, is_cut(a) ? "{\"reason\":\"max_output_tokens\"}" : "null");
    wire_puts(out, ",\"model\":");
    wire_quotes(out, w->info.model);
    wire_puts(out, ",\"output\":[");
    wire_add(out, a->more[ITEMS].data, a->more[ITEMS].n);
    wire_puts(out, "]");
    wire_add(out, own->echo.data, own->echo.n);
    if (strcmp(status, "in_progress") != 0) {
        usage(&w->usage, out);
        wire_print(out, ",\"seed\":%" PRIu64, w->info.seed);
        if (a->sha256[0]) {
            wire_print(out, ",\"logits_sha256\":\"%s\"", a->sha256);
        }
        if (w->ask->timings) {
            wire_puts(out, ",");
            openai_timings(&w->usage, out);
        }
    } else {
        wire_puts(out, ",\"usage\":null");
    }
    wire_puts(out, "}");
}

/* ---- events ---- */

static void event(struct writer *w, const char *name, struct wire_text *out)
{
    wire_print(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%zu", name, name,
               w->sequence++);
}

static void response_event(struct writer *w, const char *name, const char *status,
                           struct wire_text *out)
{
    event(w, name, out);
    wire_puts(out, ",\"response\":");
    response(w, status, out);
    wire_puts(out, "}\n\n");
}

/* ---- items ---- */

struct item_kind {
    const char *prefix;           /* of its id */
    const char *part;             /* the type of its part; NULL: it has none */
    const char *delta, *done;     /* events of its text */
    const char *text, *last_text; /* the member that holds the whole in the latter */
};
static const struct item_kind KINDS[] = {
    [BLOCK_REASONING] = {"rs_", "reasoning_text", "response.reasoning_text.delta",
                         "response.reasoning_text.done", "text", "text"},
    [BLOCK_CONTENT] = {"msg_", "output_text", "response.output_text.delta",
                       "response.output_text.done", "text", "text"},
    [BLOCK_CALL] = {"fc_", NULL, "response.function_call_arguments.delta",
                    "response.function_call_arguments.done", "arguments", "arguments"},
};

static void item_id(const struct writer *w, const struct written *a, struct wire_text *out)
{
    wire_print(out, "\"%s%s_%zu\"", KINDS[a->block].prefix, w->info.id, a->n_blocks - 1);
}

/* Where an event is: in which item and, if it has parts, in its only part. */
static void place(const struct writer *w, const struct written *a, bool part, struct wire_text *out)
{
    wire_puts(out, ",\"item_id\":");
    item_id(w, a, out);
    wire_print(out, ",\"output_index\":%zu", a->n_blocks - 1);
    wire_puts(out, part && KINDS[a->block].part ? ",\"content_index\":0" : "");
}

static const struct wire_text *text_of(const struct written *a)
{
    return a->block == BLOCK_REASONING ? &a->reasoning
           : a->block == BLOCK_CONTENT ? &a->content
                                       : &a->call[a->n_calls - 1].arguments;
}

static void part_of(const struct written *a, bool empty, struct wire_text *out)
{
    const struct wire_text *text = text_of(a);
    wire_print(out, "{\"type\":\"%s\",\"text\":", KINDS[a->block].part);
    wire_quote(out, text->data, empty ? 0 : text->n);
    if (a->block == BLOCK_CONTENT) {
        wire_puts(out, ",\"annotations\":[],\"logprobs\":[");
        wire_add(out, a->tokens.data, empty ? 0 : a->tokens.n);
        wire_puts(out, "]");
    }
    wire_puts(out, "}");
}

static void item(const struct writer *w, const struct written *a, bool begins, const char *status,
                 struct wire_text *out)
{
    const struct written_call *call = a->n_calls ? &a->call[a->n_calls - 1] : NULL;
    wire_puts(out, "{\"id\":");
    item_id(w, a, out);
    wire_print(out, ",\"status\":\"%s\"", status);
    if (a->block == BLOCK_CALL) {
        wire_puts(out, ",\"type\":\"function_call\",\"call_id\":");
        wire_quotes(out, call->id);
        wire_puts(out, ",\"name\":");
        wire_quotes(out, call->name);
        wire_puts(out, ",\"arguments\":");
        wire_quote(out, call->arguments.data, begins ? 0 : call->arguments.n);
        wire_puts(out, "}");
        return;
    }
    wire_puts(out, a->block == BLOCK_CONTENT
                       ? ",\"type\":\"message\",\"role\":\"assistant\",\"content\":["
                       : ",\"type\":\"reasoning\",\"summary\":[],\"content\":[");
    if (!begins) {
        part_of(a, false, out);
    }
    wire_puts(out, "]}");
}

static void begin_item(struct writer *w, struct written *a, enum written_block kind,
                       struct wire_text *out)
{
    a->block = kind;
    a->n_blocks++;
    if (!w->ask->stream) {
        return;
    }
    event(w, "response.output_item.added", out);
    wire_print(out, ",\"output_index\":%zu,\"item\":", a->n_blocks - 1);
    item(w, a, true, "in_progress", out);
    wire_puts(out, "}\n\n");
    if (KINDS[kind].part) {
        event(w, "response.content_part.added", out);
        place(w, a, true, out);
        wire_puts(out, ",\"part\":");
        part_of(a, true, out);
        wire_puts(out, "}\n\n");
    }
}

static void end_events(struct writer *w, const struct written *a, const char *status,
                       struct wire_text *out)
{
    const struct item_kind *k = &KINDS[a->block];
    const struct wire_text *text = text_of(a);
    event(w, k->done, out);
    place(w, a, true, out);
    wire_print(out, ",\"%s\":", k->last_text);
    wire_quote(out, text->data, text->n);
    if (a->block == BLOCK_CONTENT) {
        wire_puts(out, ",\"logprobs\":[]");
    } else if (a->block == BLOCK_CALL) {
        wire_puts(out, ",\"name\":");
        wire_quotes(out, a->call[a->n_calls - 1].name);
    }
    wire_puts(out, "}\n\n");
    if (k->part) {
        event(w, "response.content_part.done", out);
        place(w, a, true, out);
        wire_puts(out, ",\"part\":");
        part_of(a, false, out);
        wire_puts(out, "}\n\n");
    }
    event(w, "response.output_item.done", out);
    wire_print(out, ",\"output_index\":%zu,\"item\":", a->n_blocks - 1);
    item(w, a, false, status, out);
    wire_puts(out, "}\n\n");
}

/* Tokens belong to the text that they became. That of a next item may have begun with the last one,
 * which comes before its text. */
static void forget_tokens(struct written *a)
{
    if (a->block == BLOCK_CONTENT) {
        a->tokens.n = a->n_tokens = 0;
    } else if (a->n_tokens > 1) {
        a->tokens.n -= a->at;
        memmove(a->tokens.data, a->tokens.data + a->at, a->tokens.n);
        a->n_tokens = 1;
    }
}

/* `cut`: the answer ended in mid-item. */
static void end_item(struct writer *w, struct written *a, bool cut, struct wire_text *out)
{
    const char *status = cut ? "incomplete" : "completed";
    if (a->block == BLOCK_NONE) {
        return;
    }
    if (w->ask->stream) {
        end_events(w, a, status, out);
    }
    wire_puts(&a->more[ITEMS], a->more[ITEMS].n ? "," : "");
    item(w, a, false, status, &a->more[ITEMS]);
    w->out_of_memory |= a->more[ITEMS].failed;
    writer_forget(a);
    forget_tokens(a);
    a->block = BLOCK_NONE;
}

static void delta(struct writer *w, const struct written *a, const struct part *part,
                  struct wire_text *out)
{
    event(w, KINDS[a->block].delta, out);
    place(w, a, true, out);
    wire_puts(out, ",\"delta\":");
    wire_quote(out, part->text, part->len);
    wire_puts(out, a->block == BLOCK_CONTENT ? ",\"logprobs\":[]}\n\n" : "}\n\n");
}

/* ---- all of it ---- */

static void begin(struct writer *w, struct wire_text *out)
{
    if (w->ask->stream) {
        response_event(w, "response.created", "in_progress", out);
        response_event(w, "response.in_progress", "in_progress", out);
    }
}

static void end(struct writer *w, struct wire_text *out)
{
    const char *status = w->failed_answer        ? "failed"
                         : is_cut(&w->answer[0]) ? "incomplete"
                                                 : "completed";
    char name[40] = "response.";
    if (w->ask->stream) {
        strcat(name, status);
        response_event(w, name, status, out);
    } else {
        response(w, status, out);
    }
}

static enum written_block kind_of(enum part_kind kind)
{
    return kind == PART_REASONING ? BLOCK_REASONING
           : kind == PART_CONTENT ? BLOCK_CONTENT
           : kind == PART_CALL    ? BLOCK_CALL
                                  : BLOCK_NONE;
}

void responses_put(struct writer *w, const struct part *part, struct wire_text *out)
{
    enum written_block kind = kind_of(part->kind);
    struct written *a = &w->answer[0];
    bool text = kind == BLOCK_REASONING || kind == BLOCK_CONTENT;
    if (part->answer > 0 || (text && part->len == 0)) {
        return;
    }
    if (part->kind == PART_FINISH) {
        end_item(w, a, part->finish != PART_STOP && part->finish != PART_CALLS, out);
    } else if (part->kind == PART_CALL || part->kind == PART_CALL_END ||
               (text && kind != a->block)) {
        end_item(w, a, false, out);
    }
    a = writer_take(w, part);
    if (a && part->kind == PART_TOKEN) {
        wire_puts(&a->tokens, a->n_tokens++ ? "," : "");
        a->at = a->tokens.n; /* where the last one begins */
        openai_token(part, &a->tokens);
        w->out_of_memory |= a->tokens.failed;
    } else if (a && kind != BLOCK_NONE && a->block == BLOCK_NONE) {
        begin_item(w, a, kind, out);
    }
    if (a && w->ask->stream && (text || (part->kind == PART_ARGUMENTS && a->block == BLOCK_CALL))) {
        delta(w, a, part, out);
    } else if (part->kind == PART_BEGIN) {
        begin(w, out);
    } else if (part->kind == PART_END) {
        end(w, out);
    }
    writer_done(w, out);
}
