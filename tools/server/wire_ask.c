/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_ask: see wire_ask.h.
 */
#include "tools/server/wire_ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STOPS = 64, MOST_STOP_BYTES = 4096, MOST_BIAS = 65536 };

void ask_free(struct ask *ask)
{
    for (size_t i = 0; i < ask->n_prompts; i++) {
        free(ask->prompt[i].text);
        free(ask->prompt[i].ids);
    }
    for (size_t i = 0; i < ask->n_stop; i++) {
        free(ask->stop[i]);
    }
    if (ask->free_own) {
        ask->free_own(ask->own);
    }
    free(ask->model);
    free(ask->backend);
    free(ask->request);
    free(ask->prompt);
    free(ask->stop);
    free(ask->format_text);
    free(ask->tools);
    free(ask->tool_name);
    free((void *)ask->sampler.bias_ids);
    free((void *)ask->sampler.bias_values);
    *ask = (struct ask){0};
}

bool ask_done(struct wire_in *in, struct ask *ask)
{
    wire_close(in);
    if (in->bad) {
        ask_free(ask);
    }
    return !in->bad;
}

/* ---- how tokens are chosen ---- */

static void real(struct wire_in *in, struct wire_value object, const char *at, const char *key,
                 double least, double most, float *to)
{
    double x;
    if (wire_real(in, object, at, key, least, most, &x)) {
        *to = (float)x;
    }
}

void ask_sampling(struct wire_in *in, struct wire_value o, const char *at, struct ask *ask)
{
    lk_sampler_options *s = &ask->sampler;
    double x;
    int64_t i;
    real(in, o, at, "temperature", 0.0, 1e6, &s->temperature);
    if (wire_real(in, o, at, "top_p", 0.0, 1.0, &x)) {
        s->top_p = x < 1e-6 ? 1e-6f : (float)x; /* 0: the likeliest alone */
    }
    real(in, o, at, "min_p", 0.0, 1.0, &s->min_p);
    real(in, o, at, "repetition_penalty", 1e-6, 1e6, &s->repeat_penalty);
    real(in, o, at, "repeat_penalty", 1e-6, 1e6, &s->repeat_penalty);
    real(in, o, at, "presence_penalty", -1e6, 1e6, &s->presence_penalty);
    real(in, o, at, "frequency_penalty", -1e6, 1e6, &s->frequency_penalty);
    if (wire_int(in, o, at, "top_k", -1, INT32_MAX, &i)) {
        s->top_k = i < 0 ? 0 : (int)i;
    }
    if (wire_int(in, o, at, "repeat_last_n", -1, 1 << 24, &i)) {
        s->penalty_last_n = i < 0 ? 1 << 24 : (int)i; /* -1: the whole context */
    }
    if (wire_int(in, o, at, "seed", INT64_MIN, INT64_MAX, &i) && i != -1) {
        s->seed = (uint64_t)i;
        ask->seeded = true;
    }
    wire_bool(in, o, at, "ignore_eos", &ask->ignore_eog);
    if (wire_int(in, o, at, "priority", INT32_MIN, INT32_MAX, &i)) {
        ask->priority = (int)i;
    }
}

void ask_own(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    wire_bool(in, root, "", "logits_sha256", &ask->hash);
    wire_copy(in, root, "", "backend", &ask->backend);
    wire_bool(in, root, "", "timings", &ask->timings);
    wire_real(in, root, "", "deadline", 0.0, 1e9, &ask->deadline);
}

void ask_max_tokens(struct wire_in *in, struct wire_value object, const char *at, int64_t least,
                    struct ask *ask, const char *const *names)
{
    int64_t x;
    for (; *names; names++) {
        char path[WIRE_PATH];
        if (wire_int(in, object, at, *names, -1, INT64_MAX, &x)) {
            if (x >= 0 && x < least) {
                wire_path(path, at, *names);
                wire_expected(in, path, wire_get(object, *names), "at least 1, or -1: no limit");
            }
            ask->max_tokens = x < 0 ? SIZE_MAX : (size_t)x;
            return;
        }
    }
}

/* ---- what ends an answer ---- */

void ask_add_stop(struct wire_in *in, const char *path, const char *text, struct ask *ask)
{
    if (in->bad) {
        return;
    }
    if (!*text) {
        wire_refuse(in, path, "found an empty text, expected one that can end an answer");
    } else if (strlen(text) > MOST_STOP_BYTES) {
        wire_refuse(in, path, "found %zu bytes, expected at most %d", strlen(text),
                    MOST_STOP_BYTES);
    } else if (ask->n_stop == MOST_STOPS) {
        wire_refuse(in, path, "more than %d texts", MOST_STOPS);
    } else if (!ask->stop && !(ask->stop = calloc(MOST_STOPS, sizeof *ask->stop))) {
        wire_nomem(in);
    } else if ((ask->stop[ask->n_stop] = wire_dup(in, text, strlen(text)))) {
        ask->n_stop++;
    }
}

void ask_stop(struct wire_in *in, struct wire_value object, const char *at, const char *key,
              struct ask *ask)
{
    struct wire_value stop = in->bad ? (struct wire_value){0} : wire_get(object, key), v;
    char path[WIRE_PATH], item[WIRE_PATH];
    wire_path(path, at, key);
    if (json_is_string(stop.json)) {
        ask_add_stop(in, path, json_string_value(stop.json), ask);
        return;
    }
    if (stop.json && !json_is_array(stop.json)) {
        wire_expected(in, path, stop, "a text or an array of texts");
    }
    for (struct wire_walk w = wire_begin(stop); !in->bad && wire_next(&w, NULL, &v);) {
        wire_path_item(item, path, w.index - 1);
        if (json_is_string(v.json)) {
            ask_add_stop(in, item, json_string_value(v.json), ask);
        } else {
            wire_expected(in, item, v, "a text");
        }
    }
}

/* ---- bias ---- */

/* A token's number; false: it is none. */
static bool token_of(const char *key, const json_t *json, int64_t *id)
{
    char *end = NULL;
    *id = key ? strtoll(key, &end, 10) : json_integer_value(json);
    return (key ? *key && !*end && strlen(key) < 12 : json_is_integer(json)) && *id >= 0 &&
           *id <= INT32_MAX;
}

static void add_bias(struct wire_in *in, const char *path, const char *key, const json_t *id,
                     const json_t *value, struct ask *ask)
{
    int64_t token;
    double x = json_is_false(value) ? -INFINITY : json_number_value(value);
    if (!token_of(key, id, &token)) {
        wire_refuse(in, path, "expected the number of a token");
    } else if (!json_is_false(value) && !(json_is_number(value) && fabs(x) <= 1e6)) {
        wire_expected(in, path, (struct wire_value){.json = value},
                      "a number from -1e6 to 1e6, or false");
    } else {
        ((int32_t *)ask->sampler.bias_ids)[ask->sampler.n_bias] = (int32_t)token;
        ((float *)ask->sampler.bias_values)[ask->sampler.n_bias++] = (float)x;
    }
}

void ask_bias(struct wire_in *in, struct wire_value object, struct ask *ask)
{
    static const char name[] = "logit_bias";
    const json_t *bias = in->bad ? NULL : json_object_get(object.json, name);
    const json_t *value;
    const char *key;
    char path[WIRE_PATH];
    size_t i, n = json_is_object(bias) ? json_object_size(bias) : json_array_size(bias);
    if (n > MOST_BIAS) {
        wire_refuse(in, name, "found %zu tokens, expected at most %d", n, MOST_BIAS);
    } else if (n > 0) {
        ask->sampler.bias_ids = calloc(n, sizeof(int32_t));
        ask->sampler.bias_values = calloc(n, sizeof(float));
        if (!ask->sampler.bias_ids || !ask->sampler.bias_values) {
            wire_nomem(in);
        }
    } else if (bias && !json_is_object(bias) && !json_is_array(bias) && !json_is_null(bias)) {
        wire_expected(in, name, (struct wire_value){.json = bias},
                      "an object of tokens and values");
    }
    if (in->bad) {
        return;
    }
    json_object_foreach((json_t *)bias, key, value)
    {
        wire_path(path, name, key);
        add_bias(in, path, key, NULL, value, ask);
    }
    json_array_foreach(bias, i, value)
    {
        wire_path_item(path, name, i);
        add_bias(in, path, NULL, json_array_get(value, 0), json_array_get(value, 1), ask);
    }
}

/* ---- what an answer has to fit ---- */

void ask_set_format(struct wire_in *in, const char *path, enum ask_format format, const char *text,
                    size_t len, struct ask *ask)
{
    if (in->bad) {
        return;
    }
    if (ask->format != ASK_FREE) {
        wire_refuse(in, path,
                    "the answer has to fit something else already, expected one of "
                    "response_format, grammar, regex and the like");
        return;
    }
    ask->format = format;
    if (text) {
        ask->format_text = wire_dup(in, text, len);
        ask->format_len = len;
    }
}

/* A text that is one of several, as a regular expression. */
static void choice(struct wire_in *in, struct wire_value object, const char *at, const char *key,
                   struct ask *ask)
{
    struct wire_value list = wire_array(in, object, at, key), v;
    struct wire_text regex = {0};
    char path[WIRE_PATH], item[WIRE_PATH];
    wire_path(path, at, key);
    for (struct wire_walk w = wire_begin(list); !in->bad && wire_next(&w, NULL, &v);) {
        wire_path_item(item, path, w.index - 1);
        if (!json_is_string(v.json)) {
            wire_expected(in, item, v, "a text");
            break;
        }
        wire_puts(&regex, regex.n ? "|" : "");
        for (const char *p = json_string_value(v.json); *p; p++) {
            wire_puts(&regex, strchr("\\^$.*+?()[]{}|/", *p) ? "\\" : "");
            wire_add(&regex, p, 1);
        }
    }
    if (list.json && wire_length(list) == 0) {
        wire_refuse(in, path, "found no choices");
    } else if (regex.failed) {
        wire_nomem(in);
    } else if (list.json) {
        ask_set_format(in, path, ASK_REGEX, regex.data ? regex.data : "", regex.n, ask);
    }
    free(regex.data);
}

static void text_format(struct wire_in *in, struct wire_value object, const char *at,
                        const char *key, enum ask_format format, struct ask *ask)
{
    const char *text;
    char path[WIRE_PATH];
    wire_path(path, at, key);
    if (wire_string(in, object, at, key, &text) && *text) {
        ask_set_format(in, path, format, text, strlen(text), ask);
    }
}

/* A schema: an object or true, or a text of one. */
static void schema_format(struct wire_in *in, struct wire_value object, const char *at,
                          const char *key, struct ask *ask)
{
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(object, key);
    char path[WIRE_PATH];
    wire_path(path, at, key);
    if (json_is_string(v.json)) {
        bool no_memory;
        json_t *schema = wire_load(json_string_value(v.json), json_string_length(v.json),
                                   JSON_DECODE_ANY, &no_memory);
        if (no_memory) {
            wire_nomem(in);
        } else if (!json_is_object(schema) && !json_is_boolean(schema)) {
            wire_expected(in, path, v, "a JSON schema");
        }
        json_decref(schema);
        text_format(in, object, at, key, ASK_SCHEMA, ask);
    } else if (json_is_object(v.json) || json_is_boolean(v.json)) {
        ask_set_format(in, path, ASK_SCHEMA, v.text, v.len, ask);
    } else if (v.json) {
        wire_expected(in, path, v, "a JSON schema");
    }
}

void ask_constraint(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    static const char outputs[] = "structured_outputs";
    struct wire_value so = wire_object(in, root, "", outputs);
    schema_format(in, root, "", "json_schema", ask);
    schema_format(in, root, "", "guided_json", ask);
    text_format(in, root, "", "grammar", ASK_GRAMMAR, ask);
    text_format(in, root, "", "guided_grammar", ASK_GRAMMAR, ask);
    text_format(in, root, "", "regex", ASK_REGEX, ask);
    text_format(in, root, "", "guided_regex", ASK_REGEX, ask);
    choice(in, root, "", "guided_choice", ask);
    schema_format(in, so, outputs, "json", ask);
    text_format(in, so, outputs, "grammar", ASK_GRAMMAR, ask);
    text_format(in, so, outputs, "regex", ASK_REGEX, ask);
    choice(in, so, outputs, "choice", ask);
}

void ask_effort(struct wire_in *in, const char *path, const char *effort, struct ask *ask)
{
    static const struct {
        const char *name, *effort;
        enum ask_think think;
    } known[] = {{"none", "", ASK_THINK_OFF},    {"minimal", "low", ASK_THINK_ON},
                 {"low", "low", ASK_THINK_ON},   {"medium", "medium", ASK_THINK_ON},
                 {"high", "high", ASK_THINK_ON}, {"xhigh", "high", ASK_THINK_ON},
                 {"max", "high", ASK_THINK_ON}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(effort, known[i].name) == 0) {
            ask->think = known[i].think;
            snprintf(ask->effort, sizeof ask->effort, "%s", known[i].effort);
            return;
        }
    }
    wire_refuse(in, path, "found '%.40s', expected none, minimal, low, medium, high or xhigh",
                effort);
}
