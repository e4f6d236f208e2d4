/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_ollama: requests of Ollama's chat, generate and embed.
 */
#include "tools/server/wire_ollama.h"

#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_completions.h"

static const char options_name[] = "options";

/* ---- what chat and generate share ---- */

static void format(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    static const char name[] = "format";
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(root, name);
    if (wire_is(v, "json")) {
        ask_set_format(in, name, ASK_JSON, NULL, 0, ask);
    } else if (json_is_object(v.json)) {
        ask_set_format(in, name, ASK_SCHEMA, v.text, v.len, ask);
    } else if (v.json && !wire_is(v, "")) {
        wire_expected(in, name, v, "json or a JSON schema");
    }
}

static void think(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(root, "think");
    if (json_is_string(v.json)) {
        ask_effort(in, "think", json_string_value(v.json), ask);
    } else if (json_is_boolean(v.json)) {
        ask->think = json_is_true(v.json) ? ASK_THINK_ON : ASK_THINK_OFF;
    } else if (v.json) {
        wire_expected(in, "think", v, "true, false, low, medium or high");
    }
}

static void options(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    static const char *const most[] = {"num_predict", NULL};
    struct wire_value o = wire_object(in, root, "", options_name);
    bool given = false;
    int64_t top = 0;
    if (o.json) {
        ask_sampling(in, o, options_name, ask);
        ask_max_tokens(in, o, options_name, 0, ask, most);
        ask_stop(in, o, options_name, "stop", ask);
        wire_int(in, o, options_name, "num_ctx", 0, INT64_MAX, &top); /* the server's is larger or
                                                                         the prompt is refused */
    }
    top = 0;
    ask->stream = true;
    wire_bool(in, root, "", "stream", &ask->stream);
    wire_copy(in, root, "", "model", &ask->model);
    wire_bool(in, root, "", "logprobs", &given);
    wire_int(in, root, "", "top_logprobs", 0, LK_MAX_LOGPROBS, &top);
    ask->logprobs = given ? (int)top : -1;
    format(in, root, ask);
    think(in, root, ask);
    ask_own(in, root, ask);
}

static void no_images(struct wire_in *in, struct wire_value object, const char *at)
{
    char path[WIRE_PATH];
    if (wire_length(wire_array(in, object, at, "images")) > 0) {
        wire_path(path, at, "images");
        wire_refuse(in, path, "this server's models read text alone");
    }
}

/* A request without anything to answer asks for the model to be loaded. */
static void load_only(struct wire_in *in, struct wire_text *request, struct ask *ask)
{
    if (!in->bad) {
        ask->kind = ASK_COUNT;
        ask->stream = false;
        request->n = 0;
        wire_puts(request, "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}]");
    }
}

/* ---- chat ---- */

/* Calls in OpenAI's form. */
static void calls(struct wire_value list, struct wire_text *out)
{
    struct wire_value v;
    wire_puts(out, "\"tool_calls\":[");
    for (struct wire_walk w = wire_begin(list); wire_next(&w, NULL, &v);) {
        struct wire_value id = wire_get(v, "id");
        wire_puts(out, w.index > 1 ? ",{" : "{");
        if (id.json) {
            wire_puts(out, "\"id\":");
            wire_value_text(out, id);
            wire_puts(out, ",");
        }
        wire_puts(out, "\"type\":\"function\",\"function\":");
        wire_value_text(out, wire_get(v, "function"));
        wire_puts(out, "}");
    }
    wire_puts(out, "]");
}

static void message(struct wire_in *in, struct wire_value m, const char *at, struct wire_text *out)
{
    static const char *const texts[] = {"content", "thinking", "tool_name", "tool_call_id"};
    static const char *const names[] = {"content", "thinking", "name", "tool_call_id"};
    char path[WIRE_PATH];
    const char *role = NULL, *text;
    wire_path(path, at, "role");
    if (!json_is_object(m.json)) {
        wire_expected(in, at, m, "an object with role and content");
    } else if (!wire_string(in, m, at, "role", &role) || !*role) {
        wire_expected(in, path, wire_get(m, "role"), "system, user, assistant or tool");
    }
    no_images(in, m, at);
    ask_check_calls(in, m, at);
    wire_puts(out, "{\"role\":");
    wire_quotes(out, role);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (wire_string(in, m, at, texts[i], &text)) {
            wire_print(out, ",\"%s\":", names[i]);
            wire_value_text(out, wire_get(m, texts[i]));
        }
    }
    if (!in->bad && wire_has(m, "tool_calls")) {
        wire_puts(out, ",");
        calls(wire_get(m, "tool_calls"), out);
    }
    wire_puts(out, "}");
}

static bool parse_chat(const char *path, const char *body, size_t len, struct ask *ask,
                       struct wire_error *why)
{
    struct wire_in in;
    struct wire_text request = {0};
    struct wire_value root = wire_open(&in, body, len, why), m;
    char at[WIRE_PATH];
    (void)path;
    ask->kind = ASK_CHAT;
    options(&in, root, ask);
    struct wire_value list = wire_array(&in, root, "", "messages");
    wire_puts(&request, "{\"messages\":[");
    for (struct wire_walk w = wire_begin(list); !in.bad && wire_next(&w, NULL, &m);) {
        wire_puts(&request, w.index > 1 ? "," : "");
        wire_path_item(at, "messages", w.index - 1);
        message(&in, m, at, &request);
    }
    wire_puts(&request, "]");
    if (wire_length(list) == 0) {
        load_only(&in, &request, ask);
    }
    ask_tools(&in, wire_array(&in, root, "", "tools"), &request, ask);
    ask_format_member(ask, &request);
    ask_take_request(&in, &request, ask);
    return ask_done(&in, ask);
}

/* ---- generate ---- */

static void one_turn(struct wire_in *in, struct wire_value root, struct wire_text *request)
{
    const char *text;
    wire_puts(request, "{\"messages\":[");
    if (wire_string(in, root, "", "system", &text) && *text) {
        wire_puts(request, "{\"role\":\"system\",\"content\":");
        wire_value_text(request, wire_get(root, "system"));
        wire_puts(request, "},");
    }
    wire_puts(request, "{\"role\":\"user\",\"content\":");
    wire_value_text(request, wire_get(root, "prompt"));
    wire_puts(request, "}]");
}

static bool parse_generate(const char *path, const char *body, size_t len, struct ask *ask,
                           struct wire_error *why)
{
    static const char *const others[] = {"suffix", "template"};
    struct wire_in in;
    struct wire_text request = {0};
    struct wire_value root = wire_open(&in, body, len, why);
    const char *prompt = "", *text;
    (void)path;
    ask->kind = ASK_CHAT;
    options(&in, root, ask);
    no_images(&in, root, "");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (wire_string(&in, root, "", others[i], &text) && *text) {
            wire_refuse(&in, others[i], "is not supported");
        }
    }
    if (wire_length(wire_array(&in, root, "", "context")) > 0) {
        wire_refuse(&in, "context", "is not supported, expected a dialogue at /api/chat");
    }
    wire_string(&in, root, "", "prompt", &prompt);
    wire_bool(&in, root, "", "raw", &ask->raw);
    if (ask->raw) {
        ask->kind = ASK_TEXT;
        ask_prompts(&in, root, "prompt", ask);
    } else {
        one_turn(&in, root, &request);
        if (!*prompt) {
            load_only(&in, &request, ask);
        }
        ask_format_member(ask, &request);
        ask_take_request(&in, &request, ask);
    }
    return ask_done(&in, ask);
}

/* ---- embed ---- */

static bool parse_embed(const char *path, const char *body, size_t len, struct ask *ask,
                        struct wire_error *why)
{
    struct wire_in in;
    struct wire_value root = wire_open(&in, body, len, why);
    (void)path;
    ask->kind = ASK_EMBED;
    wire_copy(&in, root, "", "model", &ask->model);
    ask_prompts(&in, root, "input", ask);
    if (wire_has(root, "dimensions")) {
        wire_refuse(&in, "dimensions", "is not supported: vectors are as the model gives them");
    }
    ask_own(&in, root, ask);
    return ask_done(&in, ask);
}

const struct protocol PROTOCOL_OLLAMA_CHAT = {.name = "ollama_chat",
                                              .stream_type = "application/x-ndjson",
                                              .parse = parse_chat,
                                              .open = writer_open,
                                              .put = ollama_chat_put,
                                              .close = writer_close,
                                              .error = ollama_error};

const struct protocol PROTOCOL_OLLAMA_GENERATE = {.name = "ollama_generate",
                                                  .stream_type = "application/x-ndjson",
                                                  .parse = parse_generate,
                                                  .open = writer_open,
                                                  .put = ollama_generate_put,
                                                  .close = writer_close,
                                                  .error = ollama_error};

const struct protocol PROTOCOL_OLLAMA_EMBED = {.name = "ollama_embed",
                                               .stream_type = "application/x-ndjson",
                                               .parse = parse_embed,
                                               .open = writer_open,
                                               .put = ollama_embed_put,
                                               .close = writer_close,
                                               .error = ollama_error};
