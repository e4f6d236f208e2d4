/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_case: upper, lower and title forms of strings and what Python's str.is...() say.
 */
#include "text/template/template_run.h"

#include "text/template/unicode.h"

static bool is_cased(int32_t cp)
{
    return lk_char_is_lower(cp) || lk_char_is_upper(cp) || lk_char_is_title(cp);
}

/* What a character becomes; `inner`: the character before is cased (or, to capitalize, there is
 * one). */
static enum lk_case form(enum lk_tpl_casing to, int32_t cp, bool inner)
{
    switch (to) {
    case CASING_UPPER:
        return LK_CASE_UPPER;
    case CASING_FOLD:
        return LK_CASE_FOLD;
    case CASING_SWAP:
        return lk_char_is_upper(cp) ? LK_CASE_LOWER : LK_CASE_UPPER;
    case CASING_CAPITALIZE:
    case CASING_TITLE:
        return inner ? LK_CASE_LOWER : LK_CASE_TITLE;
    case CASING_LOWER:
        break;
    }
    return LK_CASE_LOWER;
}

/* Writes the ASCII characters at byte `at`, up to a block of them or a change of marks, in upper or
 * lower case; how many they are. */
static size_t put_ascii(struct lk_tpl_run *r, const struct lk_value *s, size_t at, bool upper)
{
    char block[256];
    size_t n = 0;
    for (; n < sizeof block && at + n < s->n && (unsigned char)s->text[at + n] < 0x80 &&
           (!s->marks || s->marks[at + n] == s->marks[at]);
         n++) {
        char c = s->text[at + n];
        bool turns = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
        block[n] = turns ? (char)(c ^ 0x20) : c;
    }
    lk_text_put(r->out, block, n, s->marks ? s->marks[at] : s->flags);
    return n;
}

lk_status lk_tpl_case(struct lk_tpl_run *r, const struct lk_value *s, enum lk_tpl_casing to,
                      struct lk_value *out)
{
    size_t begin = r->out->n;
    unsigned markup = s->flags & LK_VALUE_MARKUP;
    bool inner = false;
    for (size_t at = 0; at < s->n;) {
        int32_t cp, made[4];
        char bytes[16];
        size_t plain = to <= CASING_FOLD ? put_ascii(r, s, at, to == CASING_UPPER) : 0;
        if (plain) {
            at += plain;
            continue;
        }
        size_t step = lk_char_next(s->text + at, s->n - at, &cp), n = 0;
        enum lk_case which = form(to, cp, inner);
        size_t count = lk_char_case(cp, which, made);
        if (cp == 0x3A3 && which == LK_CASE_LOWER && lk_char_final_sigma(s->text, s->n, at)) {
            made[0] = 0x3C2;
        }
        if (to == CASING_SWAP && !lk_char_is_upper(cp) && !lk_char_is_lower(cp)) {
            made[0] = cp;
            count = 1;
        }
        for (size_t i = 0; i < count; i++) {
            n += lk_char_put(made[i], bytes + n);
        }
        lk_text_put(r->out, bytes, n, s->marks ? s->marks[at] : s->flags);
        inner = to == CASING_CAPITALIZE || is_cased(cp);
        at += step;
    }
    lk_status status = lk_tpl_cut(r, begin, out);
    out->flags |= (uint8_t)markup;
    return status ? status : lk_tpl_work(r, s->n / LK_TPL_CHAR);
}

bool lk_tpl_is_all(const struct lk_value *s, bool (*is)(int32_t cp))
{
    int32_t cp;
    for (size_t at = 0; at < s->n;) {
        at += lk_char_next(s->text + at, s->n - at, &cp);
        if (!is(cp)) {
            return false;
        }
    }
    return s->n > 0;
}

bool lk_tpl_is_cased(const struct lk_value *s, enum lk_tpl_casing how)
{
    bool any = false, inner = false;
    int32_t cp;
    for (size_t at = 0; at < s->n;) {
        at += lk_char_next(s->text + at, s->n - at, &cp);
        bool lower = lk_char_is_lower(cp), upper = lk_char_is_upper(cp),
             title = lk_char_is_title(cp);
        if ((how == CASING_LOWER && (upper || title)) ||
            (how == CASING_UPPER && (lower || title)) ||
            (how == CASING_TITLE && ((inner && (upper || title)) || (!inner && lower)))) {
            return false;
        }
        any |= how == CASING_LOWER ? lower : how == CASING_UPPER ? upper : lower || upper || title;
        inner = lower || upper || title;
    }
    return any;
}
