/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_show: the parts of an answer as one text, parts of a kind put together:
 * R(thinking) C(content) 0:name{arguments}; a call that is not complete ends in '!'.
 */
#ifndef LK_TEST_ANSWER_SHOW_H
#define LK_TEST_ANSWER_SHOW_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep.h"

struct answer_show {
    char *text;
    size_t n, cap;
    lk_answer_kind last;
    bool open; /* a parenthesis */
};

static inline void answer_show_put(struct answer_show *s, const char *bytes, size_t n)
{
    if (s->n + n + 1 > s->cap) {
        s->cap = 2 * (s->n + n + 1);
        s->text = realloc(s->text, s->cap);
    }
    memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n] = 0;
}

/* The parts that are there. */
static inline void answer_show_parts(struct answer_show *s, lk_answer *a)
{
    lk_answer_event ev;
    while (lk_answer_next(a, &ev)) {
        bool text = ev.kind == LK_ANSWER_CONTENT || ev.kind == LK_ANSWER_REASONING;
        char head[300];
        if (s->open && (!text || ev.kind != s->last)) {
            answer_show_put(s, ")", 1);
            s->open = false;
        }
        if (text && !s->open) {
            answer_show_put(s, ev.kind == LK_ANSWER_CONTENT ? "C(" : "R(", 2);
            s->open = true;
        }
        if (ev.kind == LK_ANSWER_CALL_BEGIN) {
            snprintf(head, sizeof head, "%zu:%s", ev.index, ev.name);
            answer_show_put(s, head, strlen(head));
        }
        if (ev.kind == LK_ANSWER_CALL_END) {
            answer_show_put(s, "!", ev.complete ? 0 : 1);
        }
        answer_show_put(s, ev.text, ev.len);
        s->last = ev.kind;
    }
}

static inline void answer_show_end(struct answer_show *s)
{
    answer_show_put(s, ")", s->open ? 1 : 0);
    s->open = false;
}

#endif
