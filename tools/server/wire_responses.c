/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_responses: requests of OpenAI's responses. Nothing is stored: what refers to an earlier
 * response is refused.
 */
#include "tools/server/wire_responses.h"

#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_turns.h"

static const struct ask_part texts[] = {{"input_text", "text"},     {"output_text", "text"},
                                        {"text", "text"},           {"summary_text", "text"},
                                        {"reasoning_text", "text"}, {"refusal", "refusal"}};
enum { N_TEXTS = sizeof texts / sizeof *texts };

/* ---- items ---- */

static struct wire_value string_member(struct wire_in *in, struct wire_value item, const char *at,
                                       const char *key)
{
    char path[WIRE_PATH];
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(item, key);
    wire_path(path, at, key);
    if (!json_is_string(v.json)) {
        wire_expected(in, path, v, "a string");
    }
    return v;
}

/* A member that is a text or parts of text, as a JSON string. */
static void quoted_member(struct wire_in *in, struct wire_value item, const char *at,
                          const char *key, struct wire_text *out)
{
    char path[WIRE_PATH];
    wire_path(path, at, key);
    if (!in->bad) {
        ask_content(in, wire_get(item, key), path, texts, N_TEXTS, out);
    }
}

static void take_message(struct wire_in *in, struct wire_value item, const char *at,
                         struct turns *t)
{
    struct wire_value role = string_member(in, item, at, "role");
    struct wire_text quoted = {0};
    quoted_member(in, item, at, "content", &quoted);
    if (!in->bad && wire_is(role, "assistant")) {
        turns_content(t, &quoted);
    } else if (!in->bad) {
        bool developer = wire_is(role, "developer");
        turns_message(t, developer ? "system" : json_string_value(role.json), &quoted, "");
    }
    t->out->failed |= quoted.failed;
    free(quoted.data);
}

static void take_call(struct wire_in *in, struct wire_value item, const char *at, struct turns *t)
{
    struct wire_value id = string_member(in, item, at, "call_id");
    struct wire_value name = string_member(in, item, at, "name");
    struct wire_value arguments = string_member(in, item, at, "arguments");
    if (!in->bad) {
        turns_call(t, id, name, arguments);
    }
}

static void take_output(struct wire_in *in, struct wire_value item, const char *at, struct turns *t)
{
    struct wire_value id = string_member(in, item, at, "call_id");
    struct wire_text quoted = {0};
    quoted_member(in, item, at, "output", &quoted);
    if (!in->bad) {
        turns_result(t, id, &quoted);
    }
    t->out->failed |= quoted.failed;
    free(quoted.data);
}

/* What the model thought: its text where it is there, else the summary. */
static void take_reasoning(struct wire_in *in, struct wire_value item, const char *at,
                           struct turns *t)
{
    const char *key = wire_length(wire_array(in, item, at, "content")) ? "content" : "summary";
    struct wire_text quoted = {0};
    if (!in->bad && wire_length(wire_array(in, item, at, key)) > 0) {
        quoted_member(in, item, at, key, &quoted);
        if (!in->bad && !quoted.failed) {
            turns_reasoning(t, (struct wire_value){.text = quoted.data, .len = quoted.n});
        }
    }
    t->out->failed |= quoted.failed;
    free(quoted.data);
}

static void take_item(struct wire_in *in, struct wire_value item, const char *at, struct turns *t)
{
    const char *type = "message";
    char path[WIRE_PATH];
    wire_path(path, at, "type");
    if (!json_is_object(item.json)) {
        wire_expected(in, at, item, "an item: an object with a type");
    }
    wire_string(in, item, at, "type", &type);
    if (in->bad) {
        return;
    }
    if (strcmp(type, "message") == 0) {
        take_message(in, item, at, t);
    } else if (strcmp(type, "function_call") == 0) {
        take_call(in, item, at, t);
    } else if (strcmp(type, "function_call_output") == 0) {
        take_output(in, item, at, t);
    } else if (strcmp(type, "reasoning") == 0) {
        take_reasoning(in, item, at, t);
    } else {
        wire_refuse(in, path,
                    "found '%.40s'; expected message, reasoning, function_call or "
                    "function_call_output (nothing is stored that an item could refer to)",
                    type);
    }
}

static void input(struct wire_in *in, struct wire_value root, struct turns *t)
{
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(root, "input"), item;
    struct wire_text quoted = {0};
    const char *text;
    char path[WIRE_PATH];
    if (wire_string(in, root, "", "instructions", &text) && *text) {
        wire_value_text(&quoted, wire_get(root, "instructions"));
        turns_message(t, "system", &quoted, "");
        quoted.n = 0;
    }
    if (json_is_string(v.json)) {
        wire_value_text(&quoted, v);
        turns_message(t, "user", &quoted, "");
    } else if (wire_length(v) == 0) {
        wire_expected(in, "input", v, "a text or an array of items");
    }
    for (struct wire_walk w = wire_begin(v); !in->bad && wire_next(&w, NULL, &item);) {
        wire_path_item(path, "input", w.index - 1);
        take_item(in, item, path, t);
    }
    t->out->failed |= quoted.failed;
    free(quoted.data);
    turns_end(in, t);
}

/* ---- tools ---- */

/* One function in chat's form. */
static void function(struct wire_in *in, struct wire_value v, const char *at, struct wire_text *out)
{
    static const char *const keys[] = {"description", "parameters", "strict"};
    struct wire_value name = string_member(in, v, at, "name");
    const char *text;
    bool strict;
    wire_object(in, v, at, "parameters");
    wire_string(in, v, at, "description", &text);
    wire_bool(in, v, at, "strict", &strict);
    wire_puts(out, out->n > 1 ? "," : "");
    wire_puts(out, "{\"type\":\"function\",\"function\":{\"name\":");
    wire_value_text(out, name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !in->bad; i++) {
        struct wire_value member = wire_get(v, keys[i]);
        if (member.json) {
            wire_print(out, ",\"%s\":", keys[i]);
            wire_value_text(out, member);
        }
    }
    wire_puts(out, "}}");
}

/* Functions alone: others (web_search, local_shell) are run by the service, or are texts in a form
 * of their own. */
static void tools(struct wire_in *in, struct wire_value root, struct wire_text *request,
                  struct ask *ask)
{
    struct wire_value list = wire_array(in, root, "", "tools"), v;
    struct wire_text out = {0};
    char at[WIRE_PATH], path[WIRE_PATH];
    wire_puts(&out, "[");
    for (struct wire_walk w = wire_begin(list); !in->bad && wire_next(&w, NULL, &v);) {
        const char *type = NULL;
        wire_path_item(at, "tools", w.index - 1);
        wire_path(path, at, "type");
        if (!json_is_object(v.json)) {
            wire_expected(in, at, v, "an object with type and name");
        } else if (!wire_string(in, v, at, "type", &type)) {
            wire_expected(in, path, wire_get(v, "type"), "a string");
        } else if (strcmp(type, "function") != 0) {
            wire_refuse(in, path, "found '%.40s'; tools of this server are functions", type);
        } else {
            function(in, v, at, &out);
        }
    }
    wire_puts(&out, "]");
    if (out.failed) {
        wire_nomem(in);
    } else if (out.n > 2) {
        ask_set_tools(in, out.data, out.n, request, ask);
    }
    free(out.data);
}

static void tool_choice(struct wire_in *in, struct wire_value root, struct wire_text *request,
                        struct ask *ask)
{
    static const char name[] = "tool_choice";
    static const char *const words[] = {"auto", "none", "required"};
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(root, name);
    for (size_t i = 0; i < 3; i++) {
        if (wire_is(v, words[i])) {
            ask_tool_choice(in, name, (enum ask_tools)i, NULL, request, ask);
            return;
        }
    }
    if (json_is_object(v.json) && wire_is(wire_get(v, "type"), "function")) {
        struct wire_value function_name = string_member(in, v, name, "name");
        ask_tool_choice(in, name, ASK_TOOLS_NAMED, json_string_value(function_name.json), request,
                        ask);
    } else if (v.json) {
        wire_expected(in, name, v, "auto, none, required or a function");
    }
}

/* ---- the answer ---- */

static void text_format(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    struct wire_value text = wire_object(in, root, "", "text");
    struct wire_value format = wire_object(in, text, "text", "format");
    const char *type = NULL;
    if (!format.json) {
        return;
    }
    if (!wire_string(in, format, "text.format", "type", &type)) {
        wire_expected(in, "text.format.type", wire_get(format, "type"), "a string");
    } else if (strcmp(type, "json_object") == 0) {
        ask_set_format(in, "text.format", ASK_JSON, NULL, 0, ask);
    } else if (strcmp(type, "json_schema") == 0) {
        struct wire_value schema = wire_object(in, format, "text.format", "schema");
        if (!schema.json) {
            wire_expected(in, "text.format.schema", schema, "a JSON schema");
        } else {
            ask_set_format(in, "text.format", ASK_SCHEMA, schema.text, schema.len, ask);
        }
    } else if (strcmp(type, "text") != 0) {
        wire_refuse(in, "text.format.type",
                    "found '%.40s', expected text, json_object or json_schema", type);
    }
}

static void logprobs(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    struct wire_value include = wire_array(in, root, "", "include"), v;
    int64_t top = 0;
    wire_int(in, root, "", "top_logprobs", 0, LK_MAX_LOGPROBS, &top);
    for (struct wire_walk w = wire_begin(include); !in->bad && wire_next(&w, NULL, &v);) {
        if (wire_is(v, "message.output_text.logprobs")) {
            ask->logprobs = (int)top;
        }
    }
}

static void refuse_stored(struct wire_in *in, struct wire_value root)
{
    static const char *const names[] = {"previous_response_id", "conversation", "prompt"};
    bool background = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (wire_has(root, names[i])) {
            wire_refuse(in, names[i],
                        "is not supported: this server stores nothing, expected the "
                        "whole dialogue as input");
        }
    }
    if (wire_bool(in, root, "", "background", &background) && background) {
        wire_refuse(in, "background", "is not supported");
    }
}

/* ---- what the response repeats ---- */

static void free_own(void *own)
{
    struct responses_own *o = own;
    free(o->echo.data);
    free(o);
}

static void echo(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    static const struct {
        const char *key, *otherwise;
    } keys[] = {{"instructions", "null"},
                {"max_output_tokens", "null"},
                {"metadata", "{}"},
                {"parallel_tool_calls", "true"},
                {"reasoning", "{\"effort\":null,\"summary\":null}"},
                {"temperature", "null"},
                {"text", "{\"format\":{\"type\":\"text\"}}"},
                {"tool_choice", "\"auto\""},
                {"tools", "[]"},
                {"top_p", "null"},
                {"truncation", "\"disabled\""},
                {"user", "null"}};
    struct responses_own *own = in->bad ? NULL : calloc(1, sizeof *own);
    if (in->bad) {
        return;
    }
    if (!own) {
        wire_nomem(in);
        return;
    }
    ask->own = own;
    ask->free_own = free_own;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct wire_value v = wire_get(root, keys[i].key);
        wire_print(&own->echo, ",\"%s\":", keys[i].key);
        if (v.json) {
            wire_value_text(&own->echo, v);
        } else {
            wire_puts(&own->echo, keys[i].otherwise);
        }
    }
    if (own->echo.failed) {
        wire_nomem(in);
    }
}

static bool parse(const char *path, const char *body, size_t len, struct ask *ask,
                  struct wire_error *why)
{
    static const char *const most[] = {"max_output_tokens", NULL};
    struct wire_in in;
    struct wire_text request = {0};
    struct turns t;
    struct wire_value root = wire_open(&in, body, len, why);
    const char *effort;
    bool parallel;
    (void)path;
    ask->kind = ASK_CHAT;
    wire_copy(&in, root, "", "model", &ask->model);
    turns_begin(&t, &request);
    input(&in, root, &t);
    refuse_stored(&in, root);
    tools(&in, root, &request, ask);
    tool_choice(&in, root, &request, ask);
    if (wire_bool(&in, root, "", "parallel_tool_calls", &parallel)) {
        ask_parallel_tools(parallel, &request, ask);
    }
    text_format(&in, root, ask);
    ask_constraint(&in, root, ask);
    ask_format_member(ask, &request);
    if (wire_string(&in, wire_object(&in, root, "", "reasoning"), "reasoning", "effort", &effort)) {
        ask_effort(&in, "reasoning.effort", effort, ask);
    }
    ask_template_kwargs(&in, root, &request);
    ask_sampling(&in, root, "", ask);
    ask_max_tokens(&in, root, "", 1, ask, most);
    ask_stop(&in, root, "", "stop", ask);
    ask_bias(&in, root, ask);
    logprobs(&in, root, ask);
    wire_bool(&in, root, "", "stream", &ask->stream);
    ask_own(&in, root, ask);
    echo(&in, root, ask);
    ask_take_request(&in, &request, ask);
    return ask_done(&in, ask);
}

static void error(const struct wire_error *why, bool streaming, struct wire_text *out)
{
    if (!streaming) {
        openai_error(why, false, out);
        return;
    }
    wire_puts(out, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":");
    wire_quotes(out, why->code[0] ? why->code : why->type);
    wire_puts(out, ",\"message\":");
    wire_quotes(out, why->message);
    wire_puts(out, ",\"param\":");
    wire_quotes(out, why->param[0] ? why->param : NULL);
    wire_puts(out, "}\n\n");
}

const struct protocol PROTOCOL_RESPONSES = {.name = "responses",
                                            .stream_type = "text/event-stream",
                                            .parse = parse,
                                            .open = writer_open,
                                            .put = responses_put,
                                            .close = writer_close,
                                            .keep_alive = writer_comment,
                                            .error = error};
