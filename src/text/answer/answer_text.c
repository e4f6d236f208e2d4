/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_text: content and thinking, and the markers that end them. A marker that has begun is held
 * back, and with it the white space before it.
 */
#include "text/answer/answer_read.h"

enum what { THINK_BEGIN, THINK_END, OPEN, SECTION, SAY, MESSAGE_HEAD, CHANNEL, MESSAGE_END };

struct marker {
    const char *text;
    enum what what;
};

struct markers {
    struct marker list[LK_READ_MARKERS];
    int n;
};

static void add(struct markers *m, const char *text, enum what what)
{
    if (text) {
        m->list[m->n++] = (struct marker){text, what};
    }
}

/* The markers that the text may come to. */
static struct markers markers_of(const struct lk_answer *a)
{
    struct markers m = {.n = 0};
    const struct lk_syntax *s = a->syntax;
    if (s->kind == LK_CALL_HARMONY) {
        add(&m, "<|end|>", MESSAGE_END);
        add(&m, "<|return|>", MESSAGE_END);
        add(&m, "<|call|>", MESSAGE_END);
        add(&m, "<|start|>", MESSAGE_HEAD);
        add(&m, "<|channel|>", CHANNEL);
        return m;
    }
    if (a->reasoning) {
        add(&m, a->thinking->end, THINK_END);
        return m;
    }
    if (a->thinking && (a->fresh || a->thinking->anywhere)) {
        add(&m, a->thinking->begin, THINK_BEGIN);
    }
    if (a->calls && s->kind != LK_CALL_NONE) {
        add(&m, s->open, OPEN);
        add(&m, s->section, SECTION);
    }
    add(&m, s->say[0], SAY);
    add(&m, s->say[1], SAY);
    return m;
}

void lk_text_goes_on(struct lk_answer *a, bool reasoning)
{
    a->mode = LK_MODE_TEXT;
    a->reasoning = reasoning;
    a->skip = true;
    a->scan = a->solid = a->at;
}

/* The longest marker at byte `at`; *maybe: one may be there, and a longer one than what is found.
 */
static const struct marker *marker_at(const struct lk_answer *a, const struct markers *m, size_t at,
                                      bool blank_before, size_t *len, bool *maybe)
{
    const struct marker *found = NULL;
    *maybe = false;
    *len = 0;
    for (int i = 0; i < m->n; i++) {
        const struct marker *one = &m->list[i];
        size_t n;
        if (one->what == THINK_BEGIN && !a->thinking->anywhere && !blank_before) {
            continue;
        }
        if (a->in.data[at] != one->text[0]) {
            continue;
        }
        enum lk_match match = lk_match_at(a, at, one->text, &n);
        *maybe |= match == LK_MATCH_MAYBE;
        if (match == LK_MATCH_YES && n > *len) {
            found = one;
            *len = n;
        }
    }
    return found;
}

static enum lk_step at_marker(struct lk_answer *a, const struct marker *m, size_t len)
{
    size_t begin = a->at; /* of the white space before it */
    a->at = a->scan + len;
    switch (m->what) {
    case THINK_BEGIN:
    case THINK_END:
        lk_text_goes_on(a, m->what == THINK_BEGIN);
        break;
    case SAY:
        lk_text_goes_on(a, false);
        break;
    case OPEN:
    case SECTION:
        a->keep = begin;
        lk_open_call(a, false);
        a->in_section = m->what == SECTION;
        a->may = m->what == OPEN;
        return LK_STEP_ON;
    case CHANNEL: /* a head that begins with its channel */
    case MESSAGE_HEAD:
        a->at = m->what == CHANNEL ? a->scan : a->at;
        a->mode = LK_MODE_MESSAGE_HEAD;
        break;
    case MESSAGE_END:
        a->mode = LK_MODE_MESSAGE_END;
        break;
    }
    a->keep = a->at;
    return LK_STEP_ON;
}

/* An object at the beginning of an answer may be a call. */
static bool begins_bare(struct lk_answer *a)
{
    size_t at = a->scan;
    if (!a->fresh || a->reasoning || !a->calls || !a->syntax->bare || a->solid > a->at) {
        return false;
    }
    for (; at < a->in.n && lk_is_blank(a->in.data[at]); at++) {
    }
    if (at == a->in.n || a->in.data[at] != '{') {
        return false;
    }
    a->keep = a->at;
    a->at = at;
    lk_open_call(a, true);
    a->may = true;
    return true;
}

enum lk_step lk_step_text(struct lk_answer *a)
{
    if (a->skip) {
        lk_skip_blanks(a);
        a->keep = a->scan = a->solid = a->at;
        if (a->at == a->in.n) {
            return LK_STEP_MORE;
        }
        a->skip = false;
    }
    if (begins_bare(a)) {
        return LK_STEP_ON;
    }
    struct markers m = markers_of(a);
    const struct marker *found = NULL;
    size_t len = 0;
    bool maybe = false;
    for (; a->scan < a->in.n; a->scan++) {
        found = marker_at(a, &m, a->scan, a->fresh && a->solid <= a->at, &len, &maybe);
        if (found || maybe) {
            break;
        }
        a->solid = lk_is_blank(a->in.data[a->scan]) ? a->solid : a->scan + 1;
    }
    bool all = (a->ended && !found) || !m.n;
    size_t end = all ? a->in.n : a->solid > a->at ? a->solid : a->at;
    lk_out_text(a, lk_here(a), end - a->at);
    a->at = a->keep = end;
    return found && !maybe ? at_marker(a, found, len) : LK_STEP_MORE;
}
