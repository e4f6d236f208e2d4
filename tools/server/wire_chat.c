/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_chat: requests of OpenAI's chat completions, with the fields that others added to them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_chat.h"

static const struct ask_part parts[] = {{"text", "text"},
                                        {"input_text", "text"},
                                        {"output_text", "text"},
                                        {"refusal", "refusal"}};
enum { N_PARTS = sizeof parts / sizeof *parts };

/* ---- messages ---- */

/* A call as templates take it: what is not known stays. */
static void check_call(struct wire_in *in, struct wire_value call, const char *path)
{
    char at[WIRE_PATH], field[WIRE_PATH];
    const char *text = NULL;
    if (!json_is_object(call.json)) {
        wire_expected(in, path, call, "an object");
    }
    wire_string(in, call, path, "id", &text);
    if (wire_string(in, call, path, "type", &text) && strcmp(text, "function") != 0) {
        wire_path(at, path, "type");
        wire_refuse(in, at, "found '%.40s', expected 'function'", text);
    }
    struct wire_value function = wire_object(in, call, path, "function");
    wire_path(at, path, "function");
    if (!function.json) {
        wire_expected(in, at, function, "an object");
    }
    if (!wire_string(in, function, at, "name", &text)) {
        wire_path(field, at, "name");
        wire_expected(in, field, wire_get(function, "name"), "a string");
    }
    struct wire_value arguments = wire_get(function, "arguments");
    if (arguments.json && !json_is_string(arguments.json) && !json_is_object(arguments.json)) {
        wire_path(field, at, "arguments");
        wire_expected(in, field, arguments, "a string of JSON or an object");
    }
}

void ask_check_calls(struct wire_in *in, struct wire_value message, const char *path)
{
    struct wire_value calls = wire_array(in, message, path, "tool_calls"), v;
    char at[WIRE_PATH], item[WIRE_PATH];
    wire_path(at, path, "tool_calls");
    for (struct wire_walk w = wire_begin(calls); !in->bad && wire_next(&w, NULL, &v);) {
        wire_path_item(item, at, w.index - 1);
        check_call(in, v, item);
    }
}

/* A member of a message: content becomes one text, the role one that templates know, all else stays
 * as it came. */
static void member(struct wire_in *in, const char *path, const char *key, struct wire_value v,
                   struct wire_text *out)
{
    char at[WIRE_PATH];
    wire_path(at, path, key);
    wire_puts(out, out->data[out->n - 1] == '{' ? "" : ",");
    wire_quotes(out, key);
    wire_puts(out, ":");
    if (strcmp(key, "content") == 0) {
        ask_content(in, v, at, parts, N_PARTS, out);
    } else if (strcmp(key, "role") == 0 && wire_is(v, "developer")) {
        wire_puts(out, "\"system\"");
    } else {
        wire_value_text(out, v);
    }
}

static void message(struct wire_in *in, struct wire_value m, const char *path,
                    struct wire_text *out)
{
    static const char *const texts[] = {"name", "tool_call_id", "reasoning_content", "reasoning",
                                        "thinking"};
    struct wire_value v;
    const char *key, *role = NULL, *text;
    char at[WIRE_PATH];
    if (!json_is_object(m.json)) {
        wire_expected(in, path, m, "an object with role and content");
        return;
    }
    wire_path(at, path, "role");
    if (!wire_string(in, m, path, "role", &role) || !*role) {
        wire_expected(in, at, wire_get(m, "role"), "system, user, assistant or tool");
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        wire_string(in, m, path, texts[i], &text);
    }
    ask_check_calls(in, m, path);
    wire_path(at, path, "content");
    if (!in->bad && !wire_has(m, "content") && !wire_has(m, "tool_calls") &&
        strcmp(role, "assistant") != 0) {
        wire_expected(in, at, (struct wire_value){0}, "a string or an array of parts");
    }
    wire_puts(out, "{");
    for (struct wire_walk w = wire_begin(m); !in->bad && !out->failed && wire_next(&w, &key, &v);) {
        if (v.json) {
            member(in, path, key, v, out);
        }
    }
    wire_puts(out, "}");
}

/* The last message is the assistant's, and the client says that it is gone on with. */
static void continues(struct wire_in *in, struct wire_value root, struct wire_value last,
                      const char *at, struct ask *ask)
{
    bool prefix = false, asked = wire_bool(in, root, "", "continue_final_message", &ask->continues);
    if (wire_bool(in, last, at, "prefix", &prefix) && !asked) {
        ask->continues = prefix;
    }
    if (ask->continues && !wire_is(wire_get(last, "role"), "assistant")) {
        wire_refuse(in, prefix ? at : "continue_final_message",
                    "the last message is not the assistant's");
    }
}

static void messages(struct wire_in *in, struct wire_value root, struct wire_text *out,
                     struct ask *ask)
{
    struct wire_value list = wire_array(in, root, "", "messages"), m = {0};
    char path[WIRE_PATH] = "";
    if (!list.json || wire_length(list) == 0) {
        wire_refuse(in, "messages", "found none, expected an array of at least one message");
    }
    wire_puts(out, "{\"messages\":[");
    for (struct wire_walk w = wire_begin(list); !in->bad && wire_next(&w, NULL, &m);) {
        wire_puts(out, w.index > 1 ? "," : "");
        wire_path_item(path, "messages", w.index - 1);
        message(in, m, path, out);
    }
    wire_puts(out, "]");
    continues(in, root, m, path, ask);
}

/* ---- tools ---- */

static void tool_choice(struct wire_in *in, struct wire_value root, struct wire_text *request,
                        struct ask *ask)
{
    static const char name[] = "tool_choice", at[] = "tool_choice.function";
    static const char *const words[] = {"auto", "none", "required"};
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(root, name);
    const char *function = NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (wire_is(v, words[i])) {
            ask_tool_choice(in, name, (enum ask_tools)i, NULL, request, ask);
            return;
        }
    }
    if (v.json && !json_is_object(v.json)) {
        wire_expected(in, name, v, "auto, none, required or a function");
    } else if (v.json) {
        struct wire_value f = wire_object(in, v, name, "function");
        if (!wire_string(in, f, at, "name", &function)) {
            wire_expected(in, "tool_choice.function.name", wire_get(f, "name"), "a string");
        }
        ask_tool_choice(in, name, ASK_TOOLS_NAMED, function, request, ask);
    }
}

/* Fields that change what an answer is, and that this server has not. */
static void refuse_others(struct wire_in *in, struct wire_value root)
{
    static const char *const names[] = {"functions", "function_call", "audio"};
    struct wire_value modalities = wire_array(in, root, "", "modalities"), v;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (wire_has(root, names[i])) {
            wire_refuse(in, names[i], "is not supported%s",
                        i < 2 ? ", expected tools and tool_choice" : "");
        }
    }
    for (struct wire_walk w = wire_begin(modalities); !in->bad && wire_next(&w, NULL, &v);) {
        if (!wire_is(v, "text")) {
            wire_expected(in, "modalities", v, "text alone");
        }
    }
}

/* ---- the answer ---- */

static void response_format(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    static const char name[] = "response_format", inner[] = "response_format.json_schema";
    struct wire_value v = wire_object(in, root, "", name);
    const char *type = NULL;
    if (!v.json) {
        return;
    }
    struct wire_value described = wire_object(in, v, name, "json_schema");
    struct wire_value schema = wire_get(described.json ? described : v, "schema");
    if (!wire_string(in, v, name, "type", &type)) {
        wire_expected(in, "response_format.type", wire_get(v, "type"), "a string");
    } else if (strcmp(type, "json_object") == 0 && !schema.json) {
        ask_set_format(in, name, ASK_JSON, NULL, 0, ask);
    } else if (strcmp(type, "json_schema") == 0 || strcmp(type, "json_object") == 0) {
        if (!json_is_object(schema.json) && !json_is_boolean(schema.json)) {
            wire_expected(in, described.json ? "response_format.json_schema.schema" : inner, schema,
                          "a JSON schema");
        } else {
            ask_set_format(in, name, ASK_SCHEMA, schema.text, schema.len, ask);
        }
    } else if (strcmp(type, "text") != 0) {
        wire_refuse(in, "response_format.type",
                    "found '%.40s', expected text, json_object or json_schema", type);
    }
}

static void logprobs(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    bool given = false;
    int64_t top = 0;
    wire_bool(in, root, "", "logprobs", &given);
    if (wire_int(in, root, "", "top_logprobs", 0, LK_MAX_LOGPROBS, &top) && top > 0 && !given) {
        wire_refuse(in, "top_logprobs", "needs logprobs: true");
    }
    ask->logprobs = given ? (int)top : -1;
}

static void thinking(struct wire_in *in, struct wire_value root, struct wire_text *request,
                     struct ask *ask)
{
    static const char *const budgets[] = {"thinking_budget", "thinking_token_budget",
                                          "reasoning_budget"};
    struct wire_value reasoning = wire_object(in, root, "", "reasoning");
    const char *effort = NULL;
    bool on;
    if (wire_string(in, root, "", "reasoning_effort", &effort)) {
        ask_effort(in, "reasoning_effort", effort, ask);
    } else if (wire_string(in, reasoning, "reasoning", "effort", &effort)) {
        ask_effort(in, "reasoning.effort", effort, ask);
    }
    if (wire_bool(in, root, "", "enable_thinking", &on)) {
        ask->think = on ? ASK_THINK_ON : ASK_THINK_OFF;
    }
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        wire_int(in, root, "", budgets[i], -1, INT64_MAX, &ask->think_most);
    }
    wire_int(in, reasoning, "reasoning", "max_tokens", 0, INT64_MAX, &ask->think_most);
    if (ask->effort[0]) {
        wire_puts(request, ",\"reasoning_effort\":");
        wire_quotes(request, ask->effort);
    }
}

void ask_stream(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    wire_bool(in, root, "", "stream", &ask->stream);
    struct wire_value options = wire_object(in, root, "", "stream_options");
    wire_bool(in, options, "stream_options", "include_usage", &ask->include_usage);
}

void ask_count(struct wire_in *in, struct wire_value root, const char *key, struct ask *ask)
{
    int64_t n;
    if (wire_int(in, root, "", key, 1, 1024, &n)) {
        ask->n = (uint32_t)n;
    }
}

static bool parse(const char *path, const char *body, size_t len, struct ask *ask,
                  struct wire_error *why)
{
    static const char *const most[] = {"max_completion_tokens", "max_tokens", "n_predict", NULL};
    struct wire_in in;
    struct wire_text request = {0};
    struct wire_value root = wire_open(&in, body, len, why);
    bool parallel;
    (void)path;
    ask->kind = ASK_CHAT;
    wire_copy(&in, root, "", "model", &ask->model);
    messages(&in, root, &request, ask);
    refuse_others(&in, root);
    struct wire_value tools = wire_array(&in, root, "", "tools");
    ask_tools(&in, tools, &request, ask);
    tool_choice(&in, root, &request, ask);
    if (wire_bool(&in, root, "", "parallel_tool_calls", &parallel)) {
        ask_parallel_tools(parallel, &request, ask);
    }
    response_format(&in, root, ask);
    ask_constraint(&in, root, ask);
    ask_format_member(ask, &request);
    thinking(&in, root, &request, ask);
    ask_template_kwargs(&in, root, &request);
    struct wire_value documents = wire_array(&in, root, "", "documents");
    if (documents.json) {
        wire_puts(&request, ",\"documents\":");
        wire_value_text(&request, documents);
    }
    ask_sampling(&in, root, "", ask);
    ask_max_tokens(&in, root, "", 1, ask, most);
    ask_stop(&in, root, "", "stop", ask);
    ask_bias(&in, root, ask);
    logprobs(&in, root, ask);
    ask_count(&in, root, "n", ask);
    ask_stream(&in, root, ask);
    ask_own(&in, root, ask);
    ask_take_request(&in, &request, ask);
    return ask_done(&in, ask);
}

const struct protocol PROTOCOL_CHAT = {.name = "chat",
                                       .stream_type = "text/event-stream",
                                       .parse = parse,
                                       .open = writer_open,
                                       .put = chat_put,
                                       .close = writer_close,
                                       .keep_alive = writer_comment,
                                       .error = openai_error};
