/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_script: see wire_script.h.
 */
#include "tests/server/wire_script.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct protocol *wire_protocol(const char *name)
{
    static const struct protocol *const all[] = {&PROTOCOL_CHAT,         &PROTOCOL_COMPLETIONS,
                                                 &PROTOCOL_EMBEDDINGS,   &PROTOCOL_RESPONSES,
                                                 &PROTOCOL_MESSAGES,     &PROTOCOL_COUNT,
                                                 &PROTOCOL_OLLAMA_CHAT,  &PROTOCOL_OLLAMA_GENERATE,
                                                 &PROTOCOL_OLLAMA_EMBED, &PROTOCOL_NATIVE};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

struct ask wire_ask(void)
{
    struct ask ask = {.sampler = lk_sampler_options_default(),
                      .max_tokens = SIZE_MAX,
                      .n = 1,
                      .logprobs = -1,
                      .think_most = -1,
                      .parallel_tools = true};
    ask.sampler.temperature = ask.sampler.top_p = ask.sampler.min_p = NAN;
    ask.sampler.repeat_penalty = ask.sampler.presence_penalty = NAN;
    ask.sampler.frequency_penalty = NAN;
    ask.sampler.top_k = ask.sampler.penalty_last_n = INT_MIN;
    return ask;
}

bool wire_parse(const struct protocol *p, const char *body, size_t len, struct ask *ask,
                struct wire_error *why)
{
    char *own = malloc(len ? len : 1);
    bool ok = false;
    *ask = wire_ask();
    *why = (struct wire_error){0};
    if (own) {
        memcpy(own, body, len);
        ok = p->parse("", own, len, ask, why);
    }
    free(own);
    return ok;
}

static const char *string(const json_t *row, size_t i)
{
    return json_string_value(json_array_get(row, i));
}

static json_int_t number(const json_t *row, size_t i)
{
    return json_integer_value(json_array_get(row, i));
}

static bool index_of(const char *name, const char *const *names, size_t n, int *out)
{
    for (size_t i = 0; name && i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (int)i;
            return true;
        }
    }
    return false;
}

static struct part_logprob logprob(const json_t *row, size_t at)
{
    const json_t *text = json_array_get(row, at + 1);
    return (struct part_logprob){.token = (int32_t)number(row, at),
                                 .bytes = json_string_value(text),
                                 .len = json_string_length(text),
                                 .logprob = (float)json_number_value(json_array_get(row, at + 2))};
}

enum { MOST_TOP = 8, MOST_VECTOR = 16 };
struct scratch {
    struct part_logprob top[MOST_TOP];
    float vector[MOST_VECTOR];
    lk_error error;
};

static bool put_token(const json_t *row, struct part *part, struct scratch *s)
{
    const json_t *top = json_array_get(row, 5);
    part->token = logprob(row, 2);
    part->top = s->top;
    part->n_top = json_array_size(top);
    for (size_t i = 0; i < part->n_top && i < MOST_TOP; i++) {
        s->top[i] = logprob(json_array_get(top, i), 0);
    }
    return part->n_top <= MOST_TOP;
}

static bool put_vector(const json_t *row, struct part *part, struct scratch *s)
{
    const json_t *list = json_array_get(row, 2);
    part->vector = s->vector;
    part->n_vector = json_array_size(list);
    for (size_t i = 0; i < part->n_vector && i < MOST_VECTOR; i++) {
        s->vector[i] = (float)json_number_value(json_array_get(list, i));
    }
    return part->n_vector <= MOST_VECTOR;
}

static bool put_finish(const json_t *row, struct part *part, struct scratch *s)
{
    static const char *const words[] = {"stop", "length", "calls", "cancelled", "failed"};
    int finish = 0;
    bool ok = index_of(string(row, 2), words, 5, &finish);
    part->finish = (enum part_finish)finish;
    part->stop = string(row, 3);
    part->sha256 = string(row, 4);
    s->error = (lk_error){LK_E_DEVICE, "the device was lost"};
    part->error = part->finish == PART_FAILED ? &s->error : NULL;
    return ok;
}

static bool put(const struct protocol *p, struct writer *w, const json_t *row,
                struct wire_text *out)
{
    static const char *const names[] = {"begin",  "token",     "reasoning", "content",
                                        "call",   "arguments", "call_end",  "finish",
                                        "prompt", "vector",    "end"};
    struct part part = {.answer = (uint32_t)number(row, 1), .call = (uint32_t)number(row, 2)};
    struct scratch s;
    int kind;
    bool ok = true;
    if (string(row, 0) && strcmp(string(row, 0), "keep_alive") == 0) {
        if (p->keep_alive) {
            p->keep_alive(w, out);
        }
        return true;
    }
    if (!index_of(string(row, 0), names, sizeof names / sizeof *names, &kind)) {
        return false;
    }
    part.kind = (enum part_kind)kind;
    const json_t *text = json_array_get(row, part.kind == PART_ARGUMENTS ? 3 : 2);
    part.text = json_string_value(text);
    part.len = json_string_length(text);
    switch (part.kind) {
    case PART_TOKEN:
        ok = put_token(row, &part, &s);
        break;
    case PART_CALL:
        part.id = string(row, 3);
        part.name = string(row, 4);
        break;
    case PART_VECTOR:
        ok = put_vector(row, &part, &s);
        break;
    case PART_FINISH:
        ok = put_finish(row, &part, &s);
        break;
    case PART_END:
        part.answer = 0;
        part.usage = (struct wire_usage){(size_t)number(row, 1),
                                         (size_t)number(row, 2),
                                         (size_t)number(row, 3),
                                         (size_t)number(row, 4),
                                         0.25,
                                         0.5,
                                         2.0};
        break;
    default:
        break;
    }
    p->put(w, &part, out);
    return ok;
}

bool wire_play(const struct protocol *p, const struct ask *ask, const char *script,
               struct wire_text *out)
{
    const struct reply_info info = {.id = "0123456789abcdef01234567",
                                    .created = 1700000000,
                                    .model = "small",
                                    .fingerprint = "n2-abc",
                                    .seed = 42,
                                    .prompt_tokens = 7};
    json_t *rows = json_loads(script, 0, NULL);
    struct writer *w = rows ? p->open(ask, &info) : NULL;
    const json_t *row;
    size_t i;
    bool ok = w != NULL;
    json_array_foreach(rows, i, row)
    {
        ok = ok && put(p, w, row, out);
    }
    if (w) {
        p->close(w);
    }
    json_decref(rows);
    return ok && !out->failed;
}
