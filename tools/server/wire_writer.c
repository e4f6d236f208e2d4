/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_writer: see wire_writer.h.
 */
#include "tools/server/wire_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer *writer_open(const struct ask *ask, const struct reply_info *info)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w) {
        return NULL;
    }
    w->ask = ask;
    w->info = *info;
    w->n_answers = (ask->n_prompts ? ask->n_prompts : 1) * ask->n;
    w->answer = calloc(w->n_answers + 1, sizeof *w->answer);
    if (!w->answer) {
        free(w);
        return NULL;
    }
    return w;
}

static void free_written(struct written *a)
{
    for (size_t i = 0; i < a->n_calls; i++) {
        free(a->call[i].id);
        free(a->call[i].name);
        free(a->call[i].arguments.data);
    }
    for (size_t i = 0; i < sizeof a->more / sizeof *a->more; i++) {
        free(a->more[i].data);
    }
    free(a->prompt.data);
    free(a->reasoning.data);
    free(a->content.data);
    free(a->tokens.data);
    free(a->call);
    free(a->vector);
    free(a->stop);
}

void writer_close(struct writer *w)
{
    for (size_t i = 0; w && i < w->n_answers; i++) {
        free_written(&w->answer[i]);
    }
    if (w) {
        free(w->answer);
        free(w);
    }
}

void writer_done(const struct writer *w, struct wire_text *out)
{
    out->failed |= w->out_of_memory;
}

static void add(struct writer *w, struct wire_text *to, const struct part *part)
{
    wire_add(to, part->text, part->len);
    w->out_of_memory |= to->failed;
}

static char *copy(struct writer *w, const char *text)
{
    char *s = text ? strdup(text) : NULL;
    w->out_of_memory |= text && !s;
    return s;
}

static void take_call(struct writer *w, struct written *a, const struct part *part)
{
    if (a->n_calls == a->cap_calls) {
        size_t cap = a->cap_calls ? 2 * a->cap_calls : 4;
        struct written_call *more = realloc(a->call, cap * sizeof *more);
        if (!more) {
            w->out_of_memory = true;
            return;
        }
        a->call = more;
        a->cap_calls = cap;
    }
    a->call[a->n_calls++] = (struct written_call){.id = copy(w, part->id ? part->id : ""),
                                                  .name = copy(w, part->name ? part->name : "")};
}

static void take_finish(struct writer *w, struct written *a, const struct part *part)
{
    a->finished = true;
    a->finish = part->finish;
    a->usage = part->usage;
    a->stop = copy(w, part->stop);
    if (part->sha256) {
        snprintf(a->sha256, sizeof a->sha256, "%s", part->sha256);
    }
    if (part->finish == PART_FAILED) {
        w->failed_answer = true;
        if (part->error) {
            a->error = *part->error;
        }
    }
}

static void take_vector(struct writer *w, struct written *a, const struct part *part)
{
    free(a->vector);
    a->vector = malloc((part->n_vector + 1) * sizeof *a->vector);
    a->n_vector = a->vector ? part->n_vector : 0;
    w->out_of_memory |= !a->vector;
    if (a->n_vector) {
        memcpy(a->vector, part->vector, a->n_vector * sizeof *a->vector);
    }
}

struct written *writer_take(struct writer *w, const struct part *part)
{
    struct written *a = part->answer < w->n_answers ? &w->answer[part->answer] : NULL;
    if (part->kind == PART_END) {
        w->usage = part->usage;
    }
    if (!a || part->kind == PART_BEGIN || part->kind == PART_END) {
        return NULL;
    }
    switch (part->kind) {
    case PART_PROMPT:
        add(w, &a->prompt, part);
        break;
    case PART_REASONING:
        add(w, &a->reasoning, part);
        break;
    case PART_CONTENT:
        add(w, &a->content, part);
        break;
    case PART_CALL:
        take_call(w, a, part);
        break;
    case PART_ARGUMENTS:
        if (a->n_calls) {
            add(w, &a->call[a->n_calls - 1].arguments, part);
        }
        break;
    case PART_CALL_END:
        if (a->n_calls) {
            a->call[a->n_calls - 1].ended = true;
        }
        break;
    case PART_FINISH:
        take_finish(w, a, part);
        break;
    case PART_VECTOR:
        take_vector(w, a, part);
        break;
    default:
        break;
    }
    return w->out_of_memory ? NULL : a;
}

void writer_forget(struct written *a)
{
    a->prompt.n = a->reasoning.n = a->content.n = 0;
}

struct wire_error writer_error(const struct writer *w)
{
    struct wire_error why = {.status = 500};
    const char *message = "the answer failed";
    for (size_t i = w->n_answers; i-- > 0;) {
        if (w->answer[i].finish == PART_FAILED && w->answer[i].error.message[0]) {
            message = w->answer[i].error.message;
        }
    }
    snprintf(why.type, sizeof why.type, "server_error");
    snprintf(why.message, sizeof why.message, "%s", message);
    return why;
}

void event_begin(struct wire_text *out)
{
    wire_puts(out, "data: ");
}

void event_end(struct wire_text *out)
{
    wire_puts(out, "\n\n");
}

void writer_comment(struct writer *w, struct wire_text *out)
{
    wire_puts(out, w->ask->stream ? ": \n\n" : "");
}

void writer_arguments(const struct written_call *call, struct wire_text *out)
{
    const char *text = call->arguments.data;
    bool no_memory = false;
    json_t *json = text ? wire_load(text, call->arguments.n, JSON_DECODE_ANY, &no_memory) : NULL;
    out->failed |= no_memory;
    if (json_is_object(json)) {
        wire_add(out, text, call->arguments.n);
    } else {
        wire_puts(out, "{}");
    }
    json_decref(json);
}
