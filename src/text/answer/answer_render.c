/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_render: requests for templates that do not know of tools, or not all of it: tools, calls
 * and results become text of the messages. What becomes text stays the request's: it can't become
 * control tokens.
 */
#include "text/answer/answer_format.h"
#include "text/answer/answer_json.h"
#include "text/value/json.h"

enum { MAX_MEMORY = 1 << 28, MAX_MESSAGES = 1 << 20 };

struct rewriter {
    const struct lk_answer_format *f;
    struct lk_region region;
    bool system;    /* tools are a member of the system's message */
    bool tools;     /* become text */
    bool calls;     /* and calls and results */
    bool objects;   /* arguments that are strings become objects */
    bool no_system; /* the text of tools goes to the first message of the user */
    lk_error *err;
};

static struct lk_value text_of(const char *text)
{
    return lk_value_text(text, strlen(text), 0);
}

static bool is_role(const struct lk_value *message, const char *role)
{
    return lk_value_is(lk_value_get(message, "role"), role);
}

/* ---- texts ---- */

static struct lk_text_buffer buffer(struct rewriter *w)
{
    return (struct lk_text_buffer){.what = "request", .account = &w->region, .err = w->err};
}

/* The buffer as a value; it is freed. */
static lk_status done(struct rewriter *w, struct lk_text_buffer *b, struct lk_value *out)
{
    lk_status status = b->status ? b->status : lk_text_value(b, 0, &w->region, out);
    lk_text_free(b);
    return status;
}

static void put_json(struct lk_text_buffer *b, const struct lk_value *v)
{
    struct lk_json_writing how = lk_json_default();
    if (!b->status) {
        b->status = lk_json_write(b, v, &how, b->err);
    }
}

/* The text of a message, whose content may be a list of parts. */
static void put_content(struct lk_text_buffer *b, const struct lk_value *message)
{
    const struct lk_value *content = lk_value_get(message, "content");
    if (content && content->type == LK_VALUE_STRING) {
        lk_text_put_string(b, content);
    }
    for (uint32_t i = 0; content && content->type == LK_VALUE_LIST && i < content->n; i++) {
        const struct lk_value *text = lk_value_get(&content->item[i], "text");
        if (text && text->type == LK_VALUE_STRING) {
            lk_text_put_string(b, text);
        }
    }
}

/* Whether calls can be written here as the syntax has them; the others are as hermes has them. */
static bool is_written(const struct lk_syntax *s)
{
    return s->kind == LK_CALL_NAMED || (s->kind == LK_CALL_OBJECT && s->open);
}

static void put_marker(struct lk_text_buffer *b, const char *text)
{
    lk_text_puts(b, text ? text : "", 0);
}

static void put_args(struct lk_text_buffer *b, const struct lk_value *args)
{
    struct lk_value none = {.type = LK_VALUE_DICT};
    if (args && args->type == LK_VALUE_STRING) {
        lk_text_put_string(b, args);
    } else {
        put_json(b, args ? args : &none);
    }
}

static void put_object(struct lk_text_buffer *b, const struct lk_syntax *s,
                       const struct lk_value *name, const struct lk_value *args)
{
    lk_text_puts(b, "{\"", 0);
    lk_text_puts(b, s->name_key, 0);
    lk_text_puts(b, "\": ", 0);
    put_json(b, name);
    lk_text_puts(b, ", \"", 0);
    lk_text_puts(b, s->args_key, 0);
    lk_text_puts(b, "\": ", 0);
    put_args(b, args);
    lk_text_puts(b, "}", 0);
}

/* One call as the model is to write it; `first` of several, the last of them. */
static void put_call(struct lk_text_buffer *b, const struct lk_syntax *s,
                     const struct lk_value *name, const struct lk_value *args, bool first,
                     bool last)
{
    s = is_written(s) ? s : lk_syntax_named("hermes");
    bool list = s->kind == LK_CALL_OBJECT && s->list;
    put_marker(b, first ? s->section : s->between);
    put_marker(b, list && !first ? ", " : s->open);
    put_marker(b, list && first ? "[" : NULL);
    if (s->kind == LK_CALL_OBJECT) {
        put_object(b, s, name, args);
    } else {
        put_marker(b, s->typed ? "function" : NULL);
        put_marker(b, s->typed ? s->sep : NULL);
        lk_text_put_string(b, name);
        put_marker(b, s->typed ? "\n```json\n" : s->sep);
        put_args(b, args);
        put_marker(b, s->typed ? "\n```" : NULL);
    }
    put_marker(b, list && last ? "]" : NULL);
    put_marker(b, list && !last ? NULL : s->close);
    put_marker(b, last ? s->section_end : NULL);
}

static void put_tools(struct lk_text_buffer *b, const struct lk_syntax *s,
                      const struct lk_value *tools)
{
    const struct lk_value name = text_of("NAME"), args = text_of("{\"PARAMETER\": VALUE}");
    lk_text_puts(b, "You can call tools. These are the functions that there are:\n<tools>\n", 0);
    for (uint32_t i = 0; i < tools->n; i++) {
        put_json(b, &tools->item[i]);
        lk_text_puts(b, "\n", 0);
    }
    lk_text_puts(b, "</tools>\nTo call one of them, write its name and its arguments in JSON:\n",
                 0);
    put_call(b, s, &name, &args, true, true);
    lk_text_puts(b,
                 "\nWrite nothing behind a call: its result comes in the next message. If no "
                 "call is needed, answer as you would without tools.",
                 0);
}

/* ---- messages ---- */

/* A copy of a message with another role and content, without calls. */
static lk_status with_content(struct rewriter *w, const struct lk_value *message, const char *role,
                              struct lk_value content, struct lk_value *out)
{
    size_t n = 0;
    struct lk_member *m = lk_region_array(&w->region, (size_t)message->n + 2, sizeof *m);
    if (!m) {
        return lk_region_fail(&w->region, "request", w->err);
    }
    for (uint32_t i = 0; i < message->n; i++) {
        const struct lk_value *key = &message->member[i].key;
        if (!lk_value_is(key, "tool_calls") && !lk_value_is(key, "content") &&
            !lk_value_is(key, "role") && !lk_value_is(key, "tool_call_id")) {
            m[n++] = message->member[i];
        }
    }
    m[n++] = (struct lk_member){text_of("role"), text_of(role)};
    m[n++] = (struct lk_member){text_of("content"), content};
    return lk_value_dict(&w->region, m, n, "request", out, w->err);
}

/* The text before a message, and that of the message. */
static lk_status put_before(struct rewriter *w, const struct lk_value *text,
                            const struct lk_value *message, const char *role, struct lk_value *out)
{
    struct lk_text_buffer b = buffer(w);
    struct lk_value content = {0};
    lk_text_put_string(&b, text);
    lk_text_puts(&b, "\n\n", 0);
    put_content(&b, message);
    lk_status status = done(w, &b, &content);
    return status ? status : with_content(w, message, role, content, out);
}

static lk_status calls_as_text(struct rewriter *w, const struct lk_value *message,
                               const struct lk_value *calls, struct lk_value *out)
{
    struct lk_text_buffer b = buffer(w);
    struct lk_value content = {0};
    put_content(&b, message);
    lk_text_puts(&b, b.n ? "\n" : "", 0);
    for (uint32_t i = 0; i < calls->n; i++) {
        const struct lk_value *f = lk_value_get(&calls->item[i], "function");
        const struct lk_value *name = lk_value_get(f, "name");
        if (name && name->type == LK_VALUE_STRING) {
            put_call(&b, w->f->syntax, name, lk_value_get(f, "arguments"), i == 0,
                     i + 1 == calls->n);
        }
    }
    lk_status status = done(w, &b, &content);
    return status ? status : with_content(w, message, "assistant", content, out);
}

static lk_status result_as_text(struct rewriter *w, const struct lk_value *message,
                                struct lk_value *out)
{
    struct lk_text_buffer b = buffer(w);
    struct lk_value content = {0};
    lk_text_puts(&b, "<tool_response>\n", 0);
    put_content(&b, message);
    lk_text_puts(&b, "\n</tool_response>", 0);
    lk_status status = done(w, &b, &content);
    return status ? status : with_content(w, message, "user", content, out);
}

/* ---- arguments ---- */

/* A copy of a dict with another value for one of its keys. */
static lk_status replace(struct rewriter *w, const struct lk_value *dict, const char *key,
                         const struct lk_value *value, struct lk_value *out)
{
    struct lk_member *m = lk_region_array(&w->region, (size_t)dict->n + 1, sizeof *m);
    if (!m) {
        return lk_region_fail(&w->region, "request", w->err);
    }
    for (uint32_t i = 0; i < dict->n; i++) {
        m[i] = dict->member[i];
    }
    m[dict->n] = (struct lk_member){text_of(key), *value};
    return lk_value_dict(&w->region, m, (size_t)dict->n + 1, "request", out, w->err);
}

/* A call whose arguments are an object, where their text is one. */
static lk_status open_arguments(struct rewriter *w, const struct lk_value *call,
                                struct lk_value *out)
{
    const struct lk_value *f = lk_value_get(call, "function");
    const struct lk_value *args = lk_value_get(f, "arguments");
    struct lk_value object, function;
    lk_error ignored;
    *out = *call;
    if (!args || args->type != LK_VALUE_STRING ||
        lk_json_read(&w->region, args->text, args->n, NULL, &object, &ignored) ||
        object.type != LK_VALUE_DICT) {
        return LK_OK;
    }
    lk_status status = replace(w, f, "arguments", &object, &function);
    return status ? status : replace(w, call, "function", &function, out);
}

static lk_status open_calls(struct rewriter *w, const struct lk_value *message,
                            const struct lk_value *calls, struct lk_value *out)
{
    struct lk_value list = {0};
    struct lk_value *item = lk_region_array(&w->region, (size_t)calls->n + 1, sizeof *item);
    lk_status status = item ? LK_OK : lk_region_fail(&w->region, "request", w->err);
    for (uint32_t i = 0; i < calls->n && !status; i++) {
        status = open_arguments(w, &calls->item[i], &item[i]);
    }
    if (!status) {
        status = lk_value_list(&w->region, item, calls->n, "request", &list, w->err);
    }
    return status ? status : replace(w, message, "tool_calls", &list, out);
}

/* ---- a request ---- */

/* What becomes of one message. */
static lk_status rewrite_message(struct rewriter *w, const struct lk_value *message,
                                 struct lk_value *out)
{
    const struct lk_value *calls = lk_value_get(message, "tool_calls");
    bool called = calls && calls->type == LK_VALUE_LIST && calls->n;
    *out = *message;
    if (message->type != LK_VALUE_DICT) {
        return LK_OK;
    }
    if (called && w->calls) {
        return calls_as_text(w, message, calls, out);
    }
    if (w->calls && is_role(message, "tool")) {
        return result_as_text(w, message, out);
    }
    return called && w->objects ? open_calls(w, message, calls, out) : LK_OK;
}

/* Appends a message; texts of the user that follow each other are one, as templates that want turns
 * to alternate ask for. */
static lk_status append(struct rewriter *w, struct lk_value *list, size_t *n,
                        const struct lk_value *message)
{
    if (w->calls && *n && is_role(message, "user") && is_role(&list[*n - 1], "user")) {
        struct lk_text_buffer b = buffer(w);
        struct lk_value before = {0};
        put_content(&b, &list[*n - 1]);
        lk_status status = done(w, &b, &before);
        return status ? status : put_before(w, &before, message, "user", &list[*n - 1]);
    }
    list[(*n)++] = *message;
    return LK_OK;
}

static lk_status rewrite_messages(struct rewriter *w, const struct lk_value *messages,
                                  const struct lk_value *tools, struct lk_value *out)
{
    struct lk_value *list = lk_region_array(&w->region, (size_t)messages->n + 1, sizeof *list);
    struct lk_value text = {0};
    size_t n = 0;
    bool pending = w->tools && tools && tools->type == LK_VALUE_LIST && tools->n;
    lk_status status = list ? LK_OK : lk_region_fail(&w->region, "request", w->err);
    if (pending && !status) {
        struct lk_text_buffer b = buffer(w);
        if (w->system) {
            put_json(&b, tools);
        } else {
            put_tools(&b, w->f->syntax, tools);
        }
        status = done(w, &b, &text);
    }
    for (uint32_t i = 0; i < messages->n && !status; i++) {
        struct lk_value message = messages->item[i];
        bool system = i == 0 && (is_role(&message, "system") || is_role(&message, "developer"));
        const char *role = w->no_system ? "user" : "system";
        if (pending && !system && !w->no_system) {
            struct lk_value none = {.type = LK_VALUE_DICT};
            status = with_content(w, &none, "system", w->system ? text_of("") : text, &list[n]);
            if (w->system && !status) {
                status = replace(w, &list[n], "tools", &text, &list[n]);
            }
            n++;
            pending = false;
        } else if (pending && system && w->system) {
            status = replace(w, &messages->item[i], "tools", &text, &message);
            pending = false;
        } else if (pending && (system || is_role(&message, "user"))) {
            status = put_before(w, &text, &messages->item[i], role, &message);
            pending = false;
        }
        struct lk_value rewritten = message;
        if (!status) {
            status = rewrite_message(w, &message, &rewritten);
        }
        status = status ? status : append(w, list, &n, &rewritten);
    }
    return status ? status : lk_value_list(&w->region, list, n, "request", out, w->err);
}

static lk_status rewrite(struct rewriter *w, const struct lk_value *request,
                         struct lk_text_buffer *out)
{
    const struct lk_value *messages = lk_value_get(request, "messages");
    const struct lk_value *tools = lk_value_get(request, "tools");
    struct lk_value list, with, whole = *request;
    struct lk_value none = {.type = LK_VALUE_NULL};
    if (!messages || messages->type != LK_VALUE_LIST || messages->n > MAX_MESSAGES) {
        put_json(out, request); /* the template's reader says what is wrong */
        return out->status;
    }
    lk_status status = rewrite_messages(w, messages, tools, &list);
    if (!status) {
        status = replace(w, request, "messages", &list, &with);
    }
    if (!status) {
        whole = with;
        status = w->tools && tools ? replace(w, &with, "tools", &none, &whole) : LK_OK;
    }
    if (!status) {
        put_json(out, &whole);
    }
    return status ? status : out->status;
}

/* One way to render it. */
static lk_status attempt(struct rewriter *w, const lk_template_input *in, lk_rendering **out,
                         lk_error *err)
{
    const struct lk_json_reading how = {.what = "request"};
    struct lk_text_buffer text = {.what = "request", .err = err};
    struct lk_value request;
    lk_template_input given = *in;
    w->err = err;
    w->region = (struct lk_region){.max_bytes = MAX_MEMORY};
    lk_status status = lk_json_read(&w->region, in->request, in->request_len, &how, &request, err);
    if (!status && request.type != LK_VALUE_DICT) {
        status = lk_fail(err, LK_E_FORMAT, "request: expected an object with messages");
    }
    if (!status) {
        status = rewrite(w, &request, &text);
    }
    if (!status) {
        given.request = text.bytes;
        given.request_len = text.n;
        status = lk_template_render(w->f->template, &given, out, err);
    }
    lk_text_free(&text);
    lk_region_free(&w->region);
    return status;
}

lk_status lk_answer_render(const lk_answer_format *f, const lk_template_input *in,
                           lk_rendering **out, lk_error *err)
{
    lk_template_input given = lk_template_input_default();
    lk_error own;
    err = err ? err : &own;
    *out = NULL;
    lk_status status = lk_options_take(&given, sizeof given, in, "template input", err);
    if (!status && !f->template) {
        status = lk_fail(err, LK_E_UNSUPPORTED, "the answer's format has no chat template");
    }
    if (status || !given.request) {
        return status ? status : lk_template_render(f->template, &given, out, err);
    }
    bool native = f->writes_calls || f->shows_tools, system = f->system_tools;
    const struct rewriter ways[] = {
        {.f = f,
         .system = system,
         .tools = system || !f->shows_tools,
         .calls = system || !native,
         .objects = !f->string_args},
        {.f = f, .tools = !f->shows_tools, .calls = !native, .objects = f->string_args},
        {.f = f, .tools = true, .calls = !native, .no_system = true, .objects = !f->string_args},
        {.f = f, .tools = true, .calls = true, .no_system = false},
        {.f = f, .tools = true, .calls = true, .no_system = true},
    };
    lk_error later;
    for (size_t i = 0; i < LK_COUNT(ways); i++) {
        struct rewriter w = ways[i];
        status = attempt(&w, &given, out, i ? &later : err);
        if (status != LK_E_INVALID) {
            break; /* done, or nothing that another way helps */
        }
    }
    if (status == LK_E_NOMEM && err->status != LK_E_NOMEM) {
        *err = later;
    }
    return status ? err->status : LK_OK;
}
