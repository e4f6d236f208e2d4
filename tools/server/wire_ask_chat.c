/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_ask_chat: the parts of a chat's request in OpenAI's form. See wire_ask.h.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_ask.h"

void ask_inside(struct wire_value string, struct wire_text *out)
{
    wire_add(out, string.text + 1, string.len - 2);
}

/* The text of a part, which has to be of a type that is text. */
static void part(struct wire_in *in, struct wire_value v, const char *path,
                 const struct ask_part *parts, size_t n_parts, struct wire_text *out)
{
    char at[WIRE_PATH];
    const char *type = NULL;
    if (!json_is_object(v.json)) {
        wire_expected(in, path, v, "a part: an object with a type");
        return;
    }
    wire_path(at, path, "type");
    if (!wire_string(in, v, path, "type", &type)) {
        wire_expected(in, at, wire_get(v, "type"), "a string");
        return;
    }
    for (size_t i = 0; i < n_parts; i++) {
        if (strcmp(parts[i].type, type) == 0) {
            struct wire_value text = wire_get(v, parts[i].member);
            wire_path(at, path, parts[i].member);
            if (json_is_string(text.json)) {
                ask_inside(text, out);
            } else {
                wire_expected(in, at, text, "a string");
            }
            return;
        }
    }
    wire_refuse(in, at, "found '%.40s'; this server's models read text alone", type);
}

void ask_content(struct wire_in *in, struct wire_value content, const char *path,
                 const struct ask_part *parts, size_t n_parts, struct wire_text *out)
{
    struct wire_value v;
    char at[WIRE_PATH];
    wire_puts(out, "\"");
    if (json_is_string(content.json)) {
        ask_inside(content, out);
    } else if (!json_is_array(content.json)) {
        wire_expected(in, path, content, "a string or an array of parts");
    }
    if (json_is_array(content.json)) {
        for (struct wire_walk w = wire_begin(content); !in->bad && wire_next(&w, NULL, &v);) {
            wire_puts(out, w.index > 1 ? "\\n" : "");
            wire_path_item(at, path, w.index - 1);
            part(in, v, at, parts, n_parts, out);
        }
    }
    wire_puts(out, "\"");
}

/* ---- tools ---- */

void ask_set_tools(struct wire_in *in, const char *text, size_t len, struct wire_text *request,
                   struct ask *ask)
{
    if (in->bad) {
        return;
    }
    ask->tools = wire_dup(in, text, len);
    ask->tools_len = len;
    wire_puts(request, ",\"tools\":");
    wire_add(request, text, len);
}

static void check_tool(struct wire_in *in, struct wire_value tool, const char *path)
{
    char at[WIRE_PATH];
    const char *text = NULL;
    wire_path(at, path, "type");
    if (!json_is_object(tool.json)) {
        wire_expected(in, path, tool, "an object");
    } else if (wire_string(in, tool, path, "type", &text) && strcmp(text, "function") != 0) {
        wire_refuse(in, at, "found '%.40s'; tools of this server are functions", text);
    }
    struct wire_value function = wire_object(in, tool, path, "function");
    wire_path(at, path, "function");
    if (!in->bad && !function.json) {
        wire_expected(in, at, function, "an object");
    }
    if (!wire_string(in, function, at, "name", &text) || !*text) {
        char name[WIRE_PATH];
        wire_path(name, at, "name");
        wire_expected(in, name, wire_get(function, "name"), "a name");
    }
    wire_object(in, function, at, "parameters");
}

void ask_tools(struct wire_in *in, struct wire_value tools, struct wire_text *request,
               struct ask *ask)
{
    struct wire_value tool;
    char path[WIRE_PATH];
    for (struct wire_walk w = wire_begin(tools); !in->bad && wire_next(&w, NULL, &tool);) {
        wire_path_item(path, "tools", w.index - 1);
        check_tool(in, tool, path);
    }
    if (wire_length(tools) > 0) {
        ask_set_tools(in, tools.text, tools.len, request, ask);
    }
}

void ask_tool_choice(struct wire_in *in, const char *path, enum ask_tools choice, const char *name,
                     struct wire_text *request, struct ask *ask)
{
    static const char *const words[] = {"\"auto\"", "\"none\"", "\"required\""};
    if (in->bad) {
        return;
    }
    ask->tool_choice = choice;
    if ((choice == ASK_TOOLS_REQUIRED || choice == ASK_TOOLS_NAMED) && !ask->tools) {
        wire_refuse(in, path, "a tool has to be called, but there are no tools");
    }
    wire_puts(request, ",\"tool_choice\":");
    if (choice == ASK_TOOLS_NAMED) {
        free(ask->tool_name);
        ask->tool_name = wire_dup(in, name, strlen(name));
        wire_puts(request, "{\"type\":\"function\",\"function\":{\"name\":");
        wire_quotes(request, name);
        wire_puts(request, "}}");
    } else {
        wire_puts(request, words[choice]);
    }
}

void ask_parallel_tools(bool parallel, struct wire_text *request, struct ask *ask)
{
    ask->parallel_tools = parallel;
    wire_puts(request, ",\"parallel_tool_calls\":");
    wire_puts(request, parallel ? "true" : "false");
}

/* ---- the rest ---- */

void ask_format_member(const struct ask *ask, struct wire_text *request)
{
    if (ask->format == ASK_JSON) {
        wire_puts(request, ",\"response_format\":{\"type\":\"json_object\"}");
    } else if (ask->format == ASK_SCHEMA) {
        wire_puts(request, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
                           "\"name\":\"answer\",\"strict\":true,\"schema\":");
        wire_add(request, ask->format_text ? ask->format_text : "", ask->format_len);
        wire_puts(request, "}}");
    }
}

void ask_template_kwargs(struct wire_in *in, struct wire_value root, struct wire_text *request)
{
    struct wire_value v = wire_object(in, root, "", "chat_template_kwargs");
    if (v.json) {
        wire_puts(request, ",\"chat_template_kwargs\":");
        wire_value_text(request, v);
    }
}

void ask_take_request(struct wire_in *in, struct wire_text *request, struct ask *ask)
{
    wire_puts(request, "}");
    if (request->failed) {
        wire_nomem(in);
    }
    if (in->bad) {
        free(request->data);
    } else {
        ask->request = request->data;
        ask->request_len = request->n;
    }
    *request = (struct wire_text){0};
}
