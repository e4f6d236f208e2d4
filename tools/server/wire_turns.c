/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_turns: see wire_turns.h.
 */
#include "tools/server/wire_turns.h"

#include <stdlib.h>

void turns_begin(struct turns *t, struct wire_text *out)
{
    *t = (struct turns){.out = out};
    wire_puts(out, "{\"messages\":[");
}

static void inside(struct wire_text *to, const char *text, size_t len)
{
    wire_puts(to, to->n ? "\\n" : "");
    wire_add(to, text, len);
}

void turns_reasoning(struct turns *t, struct wire_value string)
{
    t->open = true;
    inside(&t->reasoning, string.text + 1, string.len - 2);
}

void turns_content(struct turns *t, const struct wire_text *quoted)
{
    t->open = true;
    if (quoted->n > 2) {
        inside(&t->content, quoted->data + 1, quoted->n - 2);
    }
}

void turns_call(struct turns *t, struct wire_value id, struct wire_value name,
                struct wire_value arguments)
{
    struct wire_text *to = &t->calls;
    t->open = true;
    wire_puts(to, to->n ? ",{" : "{");
    if (id.json) {
        wire_puts(to, "\"id\":");
        wire_value_text(to, id);
        wire_puts(to, ",");
    }
    wire_puts(to, "\"type\":\"function\",\"function\":{\"name\":");
    wire_value_text(to, name);
    wire_puts(to, ",\"arguments\":");
    if (arguments.json) {
        wire_value_text(to, arguments);
    } else {
        wire_puts(to, "{}");
    }
    wire_puts(to, "}}");
}

void turns_flush(struct turns *t)
{
    struct wire_text *parts[] = {&t->reasoning, &t->content, &t->calls};
    struct wire_text *out = t->out;
    if (t->open) {
        wire_puts(out, t->n++ ? "," : "");
        wire_puts(out, "{\"role\":\"assistant\"");
        if (t->reasoning.n) {
            wire_puts(out, ",\"reasoning_content\":\"");
            wire_add(out, t->reasoning.data, t->reasoning.n);
            wire_puts(out, "\"");
        }
        if (t->content.n || !t->calls.n) {
            wire_puts(out, ",\"content\":\"");
            wire_add(out, t->content.data, t->content.n);
            wire_puts(out, "\"");
        }
        if (t->calls.n) {
            wire_puts(out, ",\"tool_calls\":[");
            wire_add(out, t->calls.data, t->calls.n);
            wire_puts(out, "]");
        }
        wire_puts(out, "}");
    }
    for (size_t i = 0; i < 3; i++) {
        out->failed |= parts[i]->failed;
        free(parts[i]->data);
        *parts[i] = (struct wire_text){0};
    }
    t->open = false;
}

void turns_message(struct turns *t, const char *role, const struct wire_text *quoted,
                   const char *more)
{
    turns_flush(t);
    wire_puts(t->out, t->n++ ? "," : "");
    wire_puts(t->out, "{\"role\":");
    wire_quotes(t->out, role);
    wire_puts(t->out, ",\"content\":");
    wire_add(t->out, quoted->data, quoted->n);
    wire_puts(t->out, more);
    wire_puts(t->out, "}");
}

void turns_result(struct turns *t, struct wire_value id, const struct wire_text *quoted)
{
    struct wire_text more = {0};
    wire_puts(&more, ",\"tool_call_id\":");
    wire_value_text(&more, id);
    turns_message(t, "tool", quoted, more.data ? more.data : "");
    t->out->failed |= more.failed;
    free(more.data);
}

void turns_end(struct wire_in *in, struct turns *t)
{
    turns_flush(t);
    wire_puts(t->out, "]");
    if (t->out->failed) {
        wire_nomem(in);
    }
}
