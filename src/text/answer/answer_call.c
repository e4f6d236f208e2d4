/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_call: what all syntaxes share around calls: markers, lists and names, and the arguments of
 * those that write them as JSON behind a name.
 */
#include "text/answer/answer_read.h"

enum lk_step lk_call_broken(struct lk_answer *a)
{
    lk_out_break(a);
    return LK_STEP_ON;
}

void lk_open_call(struct lk_answer *a, bool bare)
{
    a->mode = LK_MODE_OPENED;
    a->bare = bare;
    a->in_list = a->had_call = a->in_section = false;
    a->n_id = 0;
}

void lk_call_done(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    lk_out_end(a, true);
    a->keep = a->at;
    a->mode = LK_MODE_OPENED;
    a->had_call = true;
    a->n_id = 0;
    a->may = s->kind == LK_CALL_OBJECT || s->kind == LK_CALL_PYTHON || a->in_list ||
             (s->kind == LK_CALL_TAGGED && s->head);
    if (s->kind == LK_CALL_HARMONY) {
        a->mode = LK_MODE_MESSAGE_END;
    }
}

/* ---- between ---- */

/* What stands between calls and says nothing; LK_MATCH_NO: something else is there. */
static enum lk_match take_between(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    enum lk_match all = LK_MATCH_NO, m;
    if ((m = lk_take(a, s->close)) == LK_MATCH_YES) {
        a->may = a->in_list = false;
        return m;
    }
    all = m == LK_MATCH_MAYBE ? m : all;
    size_t begin = a->at;
    if ((m = lk_take(a, s->open)) == LK_MATCH_YES) {
        a->may = true;
        a->in_list = false;
        a->keep = a->had_call ? begin : a->keep;
        a->had_call = false;
        return m;
    }
    all = m == LK_MATCH_MAYBE ? m : all;
    if (a->had_call && (m = lk_take(a, s->fence ? "```" : NULL)) != LK_MATCH_NO) {
        return m;
    }
    return all;
}

static bool take_punctuation(struct lk_answer *a)
{
    char c = *lk_here(a);
    bool listed =
        a->syntax->kind == LK_CALL_OBJECT || a->syntax->kind == LK_CALL_PYTHON || a->syntax->either;
    if (!listed || !a->may) {
        return false;
    }
    if (c == '[' && !a->in_list && !a->had_call && !a->bare) {
        a->in_list = true;
    } else if (c == ']' && a->in_list) {
        a->in_list = a->may = false;
        a->had_call = true;
    } else if (!((c == ',' || c == ';') && a->had_call)) {
        return false;
    }
    a->at++;
    return true;
}

static bool takes_objects(const struct lk_syntax *s)
{
    return s->kind == LK_CALL_OBJECT || s->either;
}

/* The beginning of a call, or LK_MATCH_NO. */
static enum lk_match begin_call(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    bool first = !a->had_call;
    if (!a->may) {
        return LK_MATCH_NO;
    }
    if (takes_objects(s)) {
        if (*lk_here(a) == '{') {
            lk_object_begin(a);
            return LK_MATCH_YES;
        }
        if (s->code && first && !a->in_list && !a->bare) {
            a->mode = LK_MODE_CODE;
            return LK_MATCH_YES;
        }
        if (!s->either || a->in_list || !first) {
            return LK_MATCH_NO;
        }
    }
    if (s->head) {
        enum lk_match m = lk_take(a, s->head);
        a->mode = m == LK_MATCH_YES ? LK_MODE_NAME : a->mode;
        return m;
    }
    if (s->kind == LK_CALL_PYTHON && !first && !a->in_list) {
        return LK_MATCH_NO;
    }
    a->mode = LK_MODE_NAME;
    return LK_MATCH_YES;
}

enum lk_step lk_step_opened(struct lk_answer *a)
{
    lk_skip_blanks(a);
    a->had_sep = false;
    if (a->at == a->in.n) {
        return LK_STEP_MORE;
    }
    enum lk_match m = lk_take(a, a->syntax->section_end), between = take_between(a);
    if (m == LK_MATCH_YES && a->had_call) {
        lk_text_goes_on(a, false);
        a->keep = a->at;
        return LK_STEP_ON;
    }
    if (between == LK_MATCH_YES) {
        a->keep = a->had_call ? a->at : a->keep;
        return LK_STEP_ON;
    }
    if (m == LK_MATCH_MAYBE || between == LK_MATCH_MAYBE) {
        return LK_STEP_MORE;
    }
    if (take_punctuation(a)) {
        a->keep = a->had_call ? a->at : a->keep;
        return LK_STEP_ON;
    }
    m = begin_call(a);
    if (m == LK_MATCH_NO && a->had_call) {
        lk_text_goes_on(a, false);
        a->keep = a->at;
        return LK_STEP_ON;
    }
    return m == LK_MATCH_NO ? lk_call_broken(a) : m == LK_MATCH_MAYBE ? LK_STEP_MORE : LK_STEP_ON;
}

/* ---- a name, and what is behind it ---- */

/* "functions.NAME:INDEX" is an id that has the name in it. */
static void split_number(struct lk_answer *a)
{
    static const char space[] = "functions.";
    char *colon = strrchr(a->name, ':');
    size_t skip = strncmp(a->name, space, sizeof space - 1) == 0 ? sizeof space - 1 : 0;
    memcpy(a->id, a->name, sizeof a->id);
    a->n_id = a->n_name;
    if (colon) {
        *colon = 0;
    }
    a->n_name = (int)strlen(a->name + skip);
    memmove(a->name, a->name + skip, (size_t)a->n_name + 1);
}

enum lk_step lk_step_name(struct lk_answer *a)
{
    bool bad;
    lk_skip_blanks(a);
    if (!lk_take_name(a, a->name, &a->n_name, &bad)) {
        return bad ? lk_call_broken(a) : LK_STEP_MORE;
    }
    a->mode = LK_MODE_BRIDGE;
    return LK_STEP_ON;
}

static void begin_args(struct lk_answer *a, enum lk_mode mode)
{
    if (a->syntax->numbered) {
        split_number(a);
    }
    if (!a->n_name) {
        lk_out_break(a);
        return;
    }
    a->check = (struct lk_json_checker){0};
    a->mode = mode;
    a->quote = 0;
    a->first = true;
    lk_out_begin(a);
}

static enum lk_step bridge_named(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    enum lk_match sep = lk_take(a, s->sep), fence = LK_MATCH_NO, mark = LK_MATCH_NO;
    if (sep == LK_MATCH_YES) {
        a->had_sep = true;
        return LK_STEP_ON;
    }
    if ((fence = lk_take(a, s->fence)) == LK_MATCH_YES) {
        return LK_STEP_ON;
    }
    if ((mark = lk_take(a, s->id_mark)) == LK_MATCH_YES) {
        bool bad;
        size_t from = a->at - strlen(s->id_mark);
        if (!lk_take_name(a, a->id, &a->n_id, &bad)) {
            a->at = bad ? a->at : from;
            return bad ? lk_call_broken(a) : LK_STEP_MORE;
        }
        return LK_STEP_ON;
    }
    if (sep == LK_MATCH_MAYBE || fence == LK_MATCH_MAYBE || mark == LK_MATCH_MAYBE) {
        return LK_STEP_MORE;
    }
    if (*lk_here(a) == '{') {
        begin_args(a, LK_MODE_ARGS);
        return LK_STEP_ON;
    }
    if (s->typed && a->had_sep && strcmp(a->name, "function") == 0) {
        a->mode = LK_MODE_NAME;
        a->had_sep = false;
        return LK_STEP_ON;
    }
    return lk_call_broken(a);
}

static enum lk_step bridge_tagged(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    enum lk_match m = lk_take(a, s->head_end);
    if (m == LK_MATCH_YES) {
        begin_args(a, LK_MODE_KEY);
        lk_out_args(a, "{", a->in_call ? 1 : 0);
    }
    return m == LK_MATCH_MAYBE ? LK_STEP_MORE : m == LK_MATCH_NO ? lk_call_broken(a) : LK_STEP_ON;
}

enum lk_step lk_step_bridge(struct lk_answer *a)
{
    enum lk_call_kind kind = a->syntax->kind;
    bool named = kind == LK_CALL_NAMED || kind == LK_CALL_OBJECT;
    if (kind == LK_CALL_TAGGED) {
        return bridge_tagged(a);
    }
    if (named) {
        lk_skip_blanks(a);
    }
    if (a->at == a->in.n) {
        return LK_STEP_MORE;
    }
    if (named) {
        return bridge_named(a);
    }
    if (*lk_here(a) != (kind == LK_CALL_PYTHON ? '(' : '{')) {
        return lk_call_broken(a);
    }
    begin_args(a, kind == LK_CALL_PYTHON ? LK_MODE_PYTHON : LK_MODE_BRACES);
    return LK_STEP_ON;
}

/* ---- arguments in JSON ---- */

enum lk_step lk_step_args(struct lk_answer *a)
{
    if (a->check.depth == 0) {
        lk_skip_blanks(a);
        if (a->at < a->in.n && *lk_here(a) != '{') {
            return lk_call_broken(a);
        }
    }
    size_t from = a->at;
    for (; a->at < a->in.n; a->at++) {
        char b = a->in.data[a->at];
        bool raw = a->check.state == LK_CHECK_STRING && (unsigned char)b < 0x20;
        enum lk_json_state state = lk_json_check_byte(&a->check, (unsigned char)b);
        if (raw || state == LK_CHECK_BAD) {
            lk_out_args(a, a->in.data + from, a->at - from);
            from = a->at + 1;
        }
        if (state == LK_CHECK_BAD) {
            return lk_call_broken(a);
        }
        if (raw) {
            lk_out_escaped(a, &b, 1);
        }
        if (state == LK_CHECK_DONE) {
            a->at++;
            lk_out_args(a, a->in.data + from, a->at - from);
            lk_call_done(a);
            return LK_STEP_ON;
        }
    }
    lk_out_args(a, a->in.data + from, a->at - from);
    return LK_STEP_MORE;
}

/* ---- a program ---- */

enum lk_step lk_step_code(struct lk_answer *a)
{
    static const char *const names[] = {"python", "code_interpreter", "ipython"};
    for (size_t i = 0; i < LK_COUNT(names) && !a->in_call; i++) {
        if (lk_answer_tool_find(&a->tools, names[i])) {
            a->n_name = (int)strlen(strcpy(a->name, names[i]));
            lk_out_begin(a);
            lk_out_args(a, "{\"code\": \"", 10);
        }
    }
    if (!a->in_call) {
        return lk_call_broken(a);
    }
    lk_out_escaped(a, lk_here(a), lk_left(a));
    a->at = a->in.n;
    return LK_STEP_MORE;
}
