/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_messages: requests of Anthropic's messages, and of the count of their tokens.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_messages.h"
#include "tools/server/wire_turns.h"

static const struct ask_part texts[] = {{"text", "text"}};

/* ---- the system text ---- */

/* Some clients begin it with a line that has another `cch` with each request. */
static void normalise_billing(struct wire_text *quoted)
{
    static const char head[] = "\"x-anthropic-billing-header:";
    char *at, *end;
    if (quoted->failed || quoted->n < sizeof head || memcmp(quoted->data, head, sizeof head - 1)) {
        return;
    }
    end = strstr(quoted->data, "\\n"); /* the line is escaped */
    at = strstr(quoted->data, "cch=");
    for (at = at && (!end || at < end) ? at + 4 : NULL; at && *at && !strchr(";\\\" ,", *at);
         at++) {
        *at = '0';
    }
}

static void system_text(struct wire_in *in, struct wire_value root, const struct ask *ask,
                        struct turns *t)
{
    struct wire_value system = in->bad ? (struct wire_value){0} : wire_get(root, "system");
    struct wire_text quoted = {0};
    if (system.json) {
        ask_content(in, system, "system", texts, 1, &quoted);
        if (!ask->keep_billing) {
            normalise_billing(&quoted);
        }
        if (!in->bad && quoted.n > 2) {
            turns_message(t, "system", &quoted, "");
        }
    }
    t->out->failed |= quoted.failed;
    free(quoted.data);
}

/* ---- messages ---- */

struct place {
    struct wire_in *in;
    struct turns *turns;
    const char *role;      /* of the message */
    struct wire_text user; /* texts of a user's message that were not put yet: a JSON string
                              without its end */
};

static void put_user(struct place *p)
{
    if (p->user.n) {
        wire_puts(&p->user, "\"");
        turns_message(p->turns, "user", &p->user, "");
        p->user.n = 0;
    }
}

static struct wire_value text_member(struct wire_in *in, struct wire_value block, const char *at,
                                     const char *key)
{
    char path[WIRE_PATH];
    struct wire_value v = in->bad ? (struct wire_value){0} : wire_get(block, key);
    wire_path(path, at, key);
    if (!json_is_string(v.json)) {
        wire_expected(in, path, v, "a string");
    }
    return v;
}

static void take_text(struct place *p, struct wire_value block, const char *at)
{
    struct wire_value text = text_member(p->in, block, at, "text");
    struct wire_text quoted = {0};
    if (p->in->bad) {
        return;
    }
    if (strcmp(p->role, "assistant") == 0) {
        wire_value_text(&quoted, text);
        turns_content(p->turns, &quoted);
        p->turns->out->failed |= quoted.failed;
        free(quoted.data);
    } else {
        wire_puts(&p->user, p->user.n ? "\\n" : "\"");
        ask_inside(text, &p->user);
    }
}

static void take_call(struct place *p, struct wire_value block, const char *at)
{
    struct wire_value id = text_member(p->in, block, at, "id");
    struct wire_value name = text_member(p->in, block, at, "name");
    struct wire_value input = wire_object(p->in, block, at, "input");
    if (!p->in->bad) {
        turns_call(p->turns, id, name, input);
    }
}

static void take_result(struct place *p, struct wire_value block, const char *at)
{
    struct wire_value id = text_member(p->in, block, at, "tool_use_id");
    struct wire_value content = p->in->bad ? (struct wire_value){0} : wire_get(block, "content");
    struct wire_text quoted = {0};
    char path[WIRE_PATH];
    wire_path(path, at, "content");
    if (content.json) {
        ask_content(p->in, content, path, texts, 1, &quoted);
    } else {
        wire_puts(&quoted, "\"\"");
    }
    if (!p->in->bad) {
        put_user(p);
        turns_result(p->turns, id, &quoted);
    }
    p->turns->out->failed |= quoted.failed;
    free(quoted.data);
}

static void take_block(struct place *p, struct wire_value block, const char *at)
{
    char path[WIRE_PATH];
    const char *type = NULL;
    bool assistant = strcmp(p->role, "assistant") == 0;
    wire_path(path, at, "type");
    if (!json_is_object(block.json)) {
        wire_expected(p->in, at, block, "a block: an object with a type");
    } else if (!wire_string(p->in, block, at, "type", &type)) {
        wire_expected(p->in, path, wire_get(block, "type"), "a string");
    } else if (strcmp(type, "text") == 0) {
        take_text(p, block, at);
    } else if (assistant && strcmp(type, "thinking") == 0) {
        struct wire_value text = text_member(p->in, block, at, "thinking");
        if (!p->in->bad) {
            turns_reasoning(p->turns, text);
        }
    } else if (assistant && strcmp(type, "tool_use") == 0) {
        take_call(p, block, at);
    } else if (!assistant && strcmp(type, "tool_result") == 0) {
        take_result(p, block, at);
    } else if (!assistant || strcmp(type, "redacted_thinking") != 0) {
        wire_refuse(p->in, path, "found '%.40s'; expected text, thinking, tool_use or tool_result",
                    type);
    }
}

static void take_message(struct place *p, struct wire_value m, const char *at)
{
    struct wire_value content = wire_get(m, "content"), v;
    struct wire_text quoted = {0};
    char path[WIRE_PATH], item[WIRE_PATH];
    wire_path(path, at, "role");
    p->role = NULL;
    if (!json_is_object(m.json)) {
        wire_expected(p->in, at, m, "an object with role and content");
    } else if (!wire_string(p->in, m, at, "role", &p->role) ||
               (strcmp(p->role, "user") != 0 && strcmp(p->role, "assistant") != 0 &&
                strcmp(p->role, "system") != 0)) {
        wire_expected(p->in, path, wire_get(m, "role"), "user or assistant");
    }
    wire_path(path, at, "content");
    if (!p->in->bad && !json_is_string(content.json) && !json_is_array(content.json)) {
        wire_expected(p->in, path, content, "a string or an array of blocks");
    }
    if (p->in->bad) {
        return;
    }
    if (strcmp(p->role, "assistant") != 0) {
        turns_flush(p->turns);
    }
    if (json_is_string(content.json)) {
        wire_value_text(&quoted, content);
        if (strcmp(p->role, "assistant") == 0) {
            turns_content(p->turns, &quoted);
        } else {
            turns_message(p->turns, p->role, &quoted, "");
        }
        p->turns->out->failed |= quoted.failed;
        free(quoted.data);
    }
    for (struct wire_walk w =
             wire_begin(json_is_array(content.json) ? content : (struct wire_value){0});
         !p->in->bad && wire_next(&w, NULL, &v);) {
        wire_path_item(item, path, w.index - 1);
        take_block(p, v, item);
    }
    put_user(p);
}

static void messages(struct wire_in *in, struct wire_value root, struct turns *t, struct ask *ask)
{
    struct wire_value list = wire_array(in, root, "", "messages"), m;
    struct place p = {.in = in, .turns = t};
    char path[WIRE_PATH];
    if (wire_length(list) == 0) {
        wire_refuse(in, "messages", "found none, expected an array of at least one message");
    }
    for (struct wire_walk w = wire_begin(list); !in->bad && wire_next(&w, NULL, &m);) {
        wire_path_item(path, "messages", w.index - 1);
        take_message(&p, m, path);
    }
    /* The assistant's last words are gone on with, unless they are calls. */
    ask->continues = t->open && !t->calls.n && t->content.n > 0;
    t->out->failed |= p.user.failed;
    free(p.user.data);
    turns_end(in, t);
}

/* ---- tools ---- */

static void tool(struct wire_in *in, struct wire_value v, const char *at, struct wire_text *out)
{
    char path[WIRE_PATH];
    const char *type = "custom";
    wire_path(path, at, "type");
    if (!json_is_object(v.json)) {
        wire_expected(in, at, v, "an object with name and input_schema");
    } else if (wire_string(in, v, at, "type", &type) && strcmp(type, "custom") != 0) {
        wire_refuse(in, path, "found '%.40s'; this server runs no tools of its own", type);
    }
    struct wire_value name = text_member(in, v, at, "name");
    struct wire_value schema = wire_object(in, v, at, "input_schema");
    const char *description = NULL;
    bool strict = false;
    wire_string(in, v, at, "description", &description);
    wire_bool(in, v, at, "strict", &strict);
    if (in->bad) {
        return;
    }
    wire_puts(out, "{\"type\":\"function\",\"function\":{\"name\":");
    wire_value_text(out, name);
    if (description) {
        wire_puts(out, ",\"description\":");
        wire_value_text(out, wire_get(v, "description"));
    }
    wire_puts(out, ",\"parameters\":");
    wire_add(out, schema.json ? schema.text : "{}", schema.json ? schema.len : 2);
    wire_puts(out, strict ? ",\"strict\":true}}" : "}}");
}

static void tools(struct wire_in *in, struct wire_value root, struct wire_text *request,
                  struct ask *ask)
{
    struct wire_value list = wire_array(in, root, "", "tools"), v;
    struct wire_text out = {0};
    char path[WIRE_PATH];
    wire_puts(&out, "[");
    for (struct wire_walk w = wire_begin(list); !in->bad && wire_next(&w, NULL, &v);) {
        wire_puts(&out, w.index > 1 ? "," : "");
        wire_path_item(path, "tools", w.index - 1);
        tool(in, v, path, &out);
    }
    wire_puts(&out, "]");
    if (out.failed) {
        wire_nomem(in);
    } else if (wire_length(list) > 0) {
        ask_set_tools(in, out.data, out.n, request, ask);
    }
    free(out.data);
}

static void tool_choice(struct wire_in *in, struct wire_value root, struct wire_text *request,
                        struct ask *ask)
{
    static const char name[] = "tool_choice";
    static const char *const words[] = {"auto", "none", "any", "tool"};
    struct wire_value v = wire_object(in, root, "", name);
    const char *type = NULL, *tool_name = NULL;
    bool alone = false;
    size_t i = 0;
    if (!v.json) {
        return;
    }
    wire_string(in, v, name, "type", &type);
    while (i < 4 && (!type || strcmp(type, words[i]) != 0)) {
        i++;
    }
    if (i == 4) {
        wire_expected(in, "tool_choice.type", wire_get(v, "type"), "auto, any, tool or none");
    } else if (i == ASK_TOOLS_NAMED && !wire_string(in, v, name, "name", &tool_name)) {
        wire_expected(in, "tool_choice.name", wire_get(v, "name"), "a string");
    }
    ask_tool_choice(in, name, (enum ask_tools)i, tool_name, request, ask);
    if (wire_bool(in, v, name, "disable_parallel_tool_use", &alone)) {
        ask_parallel_tools(!alone, request, ask);
    }
}

/* ---- the answer ---- */

static void thinking(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    struct wire_value v = wire_object(in, root, "", "thinking");
    struct wire_value config = wire_object(in, root, "", "output_config");
    const char *type = NULL, *effort;
    if (v.json && !wire_string(in, v, "thinking", "type", &type)) {
        wire_expected(in, "thinking.type", wire_get(v, "type"), "enabled, adaptive or disabled");
    } else if (type && strcmp(type, "enabled") == 0) {
        ask->think = ASK_THINK_ON;
        wire_int(in, v, "thinking", "budget_tokens", 0, INT64_MAX, &ask->think_most);
    } else if (type && strcmp(type, "disabled") == 0) {
        ask->think = ASK_THINK_OFF;
    } else if (type && strcmp(type, "adaptive") != 0) {
        wire_refuse(in, "thinking.type", "found '%.40s', expected enabled, adaptive or disabled",
                    type);
    }
    if (wire_string(in, config, "output_config", "effort", &effort) &&
        ask->think != ASK_THINK_OFF) {
        ask_effort(in, "output_config.effort", effort, ask);
    }
}

static void output_format(struct wire_in *in, struct wire_value format, const char *at,
                          struct ask *ask)
{
    char path[WIRE_PATH];
    struct wire_value schema;
    if (!format.json) {
        return;
    }
    wire_path(path, at, "type");
    if (!wire_is(wire_get(format, "type"), "json_schema")) {
        wire_expected(in, path, wire_get(format, "type"), "json_schema");
        return;
    }
    schema = wire_object(in, format, at, "schema");
    wire_path(path, at, "schema");
    if (!schema.json) {
        wire_expected(in, path, schema, "a JSON schema");
    } else {
        ask_set_format(in, at, ASK_SCHEMA, schema.text, schema.len, ask);
    }
}

static bool parse_as(enum ask_kind kind, const char *body, size_t len, struct ask *ask,
                     struct wire_error *why)
{
    static const char *const most[] = {"max_tokens", NULL};
    struct wire_in in;
    struct wire_text request = {0};
    struct turns t;
    struct wire_value root = wire_open(&in, body, len, why);
    ask->kind = kind;
    wire_copy(&in, root, "", "model", &ask->model);
    turns_begin(&t, &request);
    system_text(&in, root, ask, &t);
    messages(&in, root, &t, ask);
    tools(&in, root, &request, ask);
    tool_choice(&in, root, &request, ask);
    thinking(&in, root, ask);
    output_format(&in, wire_object(&in, root, "", "output_format"), "output_format", ask);
    output_format(&in,
                  wire_object(&in, wire_object(&in, root, "", "output_config"), "output_config",
                              "format"),
                  "output_config.format", ask);
    ask_constraint(&in, root, ask);
    ask_format_member(ask, &request);
    ask_template_kwargs(&in, root, &request);
    ask_sampling(&in, root, "", ask);
    ask_max_tokens(&in, root, "", 1, ask, most);
    if (kind == ASK_CHAT && !wire_has(root, "max_tokens")) {
        wire_expected(&in, "max_tokens", (struct wire_value){0}, "a number of tokens");
    }
    ask_stop(&in, root, "", "stop_sequences", ask);
    ask_bias(&in, root, ask);
    if (kind == ASK_CHAT) {
        wire_bool(&in, root, "", "stream", &ask->stream);
    }
    ask_own(&in, root, ask);
    ask_take_request(&in, &request, ask);
    return ask_done(&in, ask);
}

static bool parse(const char *path, const char *body, size_t len, struct ask *ask,
                  struct wire_error *why)
{
    (void)path;
    return parse_as(ASK_CHAT, body, len, ask, why);
}

static bool parse_count(const char *path, const char *body, size_t len, struct ask *ask,
                        struct wire_error *why)
{
    (void)path;
    return parse_as(ASK_COUNT, body, len, ask, why);
}

const struct protocol PROTOCOL_MESSAGES = {.name = "messages",
                                           .stream_type = "text/event-stream",
                                           .parse = parse,
                                           .open = writer_open,
                                           .put = messages_put,
                                           .close = writer_close,
                                           .keep_alive = messages_ping,
                                           .error = messages_error};

const struct protocol PROTOCOL_COUNT = {.name = "count",
                                        .stream_type = "text/event-stream",
                                        .parse = parse_count,
                                        .open = writer_open,
                                        .put = messages_count_put,
                                        .close = writer_close,
                                        .error = messages_error};
