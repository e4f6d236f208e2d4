/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_methods_text: the methods of Python's str.
 */
#include "text/template/template_run.h"

#include "text/template/unicode.h"

/* An optional argument that none stands for too. */
static const struct lk_value *or_none(const struct lk_value *arg)
{
    return lk_tpl_given(arg) && arg->type != LK_VALUE_NULL ? arg : NULL;
}

static lk_status strip_side(struct lk_tpl_run *r, const struct lk_value *self,
                            const struct lk_value *arg, int side, struct lk_value *out)
{
    struct lk_value chars;
    const struct lk_value *given = or_none(arg);
    lk_status status = given ? lk_tpl_text_arg(r, given, "strip: characters", &chars) : LK_OK;
    if (!status) {
        *out = lk_tpl_strip(r, self, given ? &chars : NULL, side);
    }
    return status ? status : lk_tpl_step(r);
}

static lk_status text_strip(LK_TPL_ARGUMENTS)
{
    (void)call;
    return strip_side(r, self, &arg[0], 0, out);
}

static lk_status text_lstrip(LK_TPL_ARGUMENTS)
{
    (void)call;
    return strip_side(r, self, &arg[0], -1, out);
}

static lk_status text_rstrip(LK_TPL_ARGUMENTS)
{
    (void)call;
    return strip_side(r, self, &arg[0], 1, out);
}

static lk_status split_side(struct lk_tpl_run *r, const struct lk_value *self,
                            const struct lk_value *arg, bool right, struct lk_value *out)
{
    int64_t most = -1;
    struct lk_value sep;
    const struct lk_value *given = or_none(&arg[0]);
    lk_status status = given ? lk_tpl_text_arg(r, given, "split: the separator", &sep) : LK_OK;
    if (!status) {
        status = lk_tpl_int_arg(r, &arg[1], "split: maxsplit", &most);
    }
    return status ? status : lk_tpl_split(r, self, given ? &sep : NULL, most, right, out);
}

static lk_status text_split(LK_TPL_ARGUMENTS)
{
    (void)call;
    return split_side(r, self, arg, false, out);
}

static lk_status text_rsplit(LK_TPL_ARGUMENTS)
{
    (void)call;
    return split_side(r, self, arg, true, out);
}

static lk_status text_splitlines(LK_TPL_ARGUMENTS)
{
    (void)call;
    return lk_tpl_split_lines(r, self, lk_tpl_bool_arg(&arg[0], false), out);
}

static lk_status text_replace(LK_TPL_ARGUMENTS)
{
    struct lk_value from, to;
    int64_t most = -1;
    (void)call;
    lk_status status = lk_tpl_text_arg(r, &arg[0], "replace: the old text", &from);
    if (!status && (self->flags & LK_VALUE_MARKUP)) {
        status = lk_tpl_escape_html(r, &arg[1], &to);
    } else if (!status) {
        status = lk_tpl_text_arg(r, &arg[1], "replace: the new text", &to);
    }
    if (!status) {
        status = lk_tpl_int_arg(r, &arg[2], "replace: count", &most);
    }
    return status ? status : lk_tpl_replace(r, self, &from, &to, most, out);
}

static lk_status text_join(LK_TPL_ARGUMENTS)
{
    (void)call;
    return lk_tpl_join(r, self, &arg[0], false, out);
}

/* The part of a string that [start:end] in characters names, and the byte where it begins. */
static lk_status window(struct lk_tpl_run *r, const struct lk_value *self,
                        const struct lk_value *start, const struct lk_value *end,
                        struct lk_value *out)
{
    *out = *self;
    if (!or_none(start) && !or_none(end)) {
        return LK_OK;
    }
    return lk_tpl_slice(r, self, or_none(start), or_none(end), NULL, out);
}

/* Whether a start lies behind the end of a string: then not even an empty text is there. */
static lk_status beyond(struct lk_tpl_run *r, const struct lk_value *self,
                        const struct lk_value *start, bool *yes)
{
    int64_t n, at;
    lk_status status = lk_tpl_length(r, self, &n);
    *yes = or_none(start) && lk_tpl_is_int(start, &at) && at > n;
    return status;
}

static lk_status find_side(struct lk_tpl_run *r, const struct lk_value *self,
                           const struct lk_value *arg, bool right, bool must, struct lk_value *out)
{
    struct lk_value what, part;
    bool outside = false;
    lk_status status = lk_tpl_text_arg(r, &arg[0], "find: the text", &what);
    if (status || (status = window(r, self, &arg[1], &arg[2], &part)) ||
        (status = beyond(r, self, &arg[1], &outside))) {
        return status;
    }
    size_t at = outside ? SIZE_MAX : lk_tpl_find(r, &part, &what, 0, right);
    if (at == SIZE_MAX && must) {
        return lk_tpl_fail(r, "index: the text is not there");
    }
    size_t before = (size_t)(part.text - self->text) + (at == SIZE_MAX ? 0 : at);
    *out = lk_value_int(at == SIZE_MAX ? -1 : (int64_t)lk_char_count(self->text, before));
    return lk_tpl_work(r, self->n / LK_TPL_SCAN);
}

static lk_status text_find(LK_TPL_ARGUMENTS)
{
    (void)call;
    return find_side(r, self, arg, false, false, out);
}

static lk_status text_rfind(LK_TPL_ARGUMENTS)
{
    (void)call;
    return find_side(r, self, arg, true, false, out);
}

static lk_status text_index(LK_TPL_ARGUMENTS)
{
    (void)call;
    return find_side(r, self, arg, false, true, out);
}

static lk_status text_rindex(LK_TPL_ARGUMENTS)
{
    (void)call;
    return find_side(r, self, arg, true, true, out);
}

static lk_status text_count(LK_TPL_ARGUMENTS)
{
    struct lk_value what, part;
    int64_t n = 0;
    bool outside = false;
    (void)call;
    lk_status status = lk_tpl_text_arg(r, &arg[0], "count: the text", &what);
    if (status || (status = window(r, self, &arg[1], &arg[2], &part)) ||
        (status = beyond(r, self, &arg[1], &outside))) {
        return status;
    }
    if (what.n == 0 && !outside) {
        status = lk_tpl_length(r, &part, &n);
        n++;
    } else if (!outside) {
        for (size_t at = 0; (at = lk_tpl_find(r, &part, &what, at, false)) != SIZE_MAX;
             at += what.n) {
            n++;
        }
    }
    *out = lk_value_int(n);
    return status ? status : lk_tpl_work(r, (size_t)n / 2 + part.n / LK_TPL_SCAN);
}

static bool has_end(const struct lk_value *s, const struct lk_value *what, bool suffix)
{
    return s->n >= what->n &&
           memcmp(s->text + (suffix ? s->n - what->n : 0), what->text, what->n) == 0;
}

/* startswith and endswith, whose text may be a tuple of texts. */
static lk_status test_end(struct lk_tpl_run *r, const struct lk_value *self,
                          const struct lk_value *arg, bool suffix, struct lk_value *out)
{
    struct lk_value part, what;
    bool outside = false, yes = false;
    const struct lk_value *one = &arg[0];
    uint32_t n = 1;
    if (one->type == LK_VALUE_LIST && (one->flags & LK_VALUE_TUPLE)) {
        n = one->n;
        one = one->item;
    }
    lk_status status = window(r, self, &arg[1], &arg[2], &part);
    if (status || (status = beyond(r, self, &arg[1], &outside))) {
        return status;
    }
    for (uint32_t i = 0; i < n && !yes; i++) {
        if ((status =
                 lk_tpl_text_arg(r, &one[i], suffix ? "endswith: the text" : "startswith: the text",
                                 &what)) ||
            (status = lk_tpl_work(r, 1 + what.n / LK_TPL_COPY))) {
            return status;
        }
        yes = !outside && has_end(&part, &what, suffix);
    }
    *out = lk_value_bool(yes);
    return LK_OK;
}

static lk_status text_startswith(LK_TPL_ARGUMENTS)
{
    (void)call;
    return test_end(r, self, arg, false, out);
}

static lk_status text_endswith(LK_TPL_ARGUMENTS)
{
    (void)call;
    return test_end(r, self, arg, true, out);
}

static lk_status remove_end(struct lk_tpl_run *r, const struct lk_value *self,
                            const struct lk_value *arg, bool suffix, struct lk_value *out)
{
    struct lk_value what;
    lk_status status = lk_tpl_text_arg(r, arg, "the text to remove", &what);
    if (!status) {
        bool there = what.n && has_end(self, &what, suffix);
        *out = lk_tpl_part(self, there && !suffix ? what.n : 0,
                           there && suffix ? self->n - what.n : self->n);
    }
    return status;
}

static lk_status text_removeprefix(LK_TPL_ARGUMENTS)
{
    (void)call;
    return remove_end(r, self, arg, false, out);
}

static lk_status text_removesuffix(LK_TPL_ARGUMENTS)
{
    (void)call;
    return remove_end(r, self, arg, true, out);
}

static lk_status partition_side(struct lk_tpl_run *r, const struct lk_value *self,
                                const struct lk_value *arg, bool right, struct lk_value *out)
{
    struct lk_value sep;
    lk_status status = lk_tpl_text_arg(r, arg, "partition: the separator", &sep);
    if (status || sep.n == 0) {
        return status ? status
                      : lk_tpl_fail(r, "found an empty separator, expected one to split at");
    }
    size_t at = lk_tpl_find(r, self, &sep, 0, right), n = self->n;
    size_t cut = at != SIZE_MAX ? at : right ? 0 : n;
    size_t behind = at != SIZE_MAX ? at + sep.n : cut;
    struct lk_value parts[3] = {lk_tpl_part(self, 0, cut), lk_tpl_part(self, cut, behind),
                                lk_tpl_part(self, behind, n)};
    status = lk_tpl_make_list(r, parts, 3, LK_VALUE_TUPLE, out);
    return status ? status : lk_tpl_work(r, n / LK_TPL_SCAN);
}

static lk_status text_partition(LK_TPL_ARGUMENTS)
{
    (void)call;
    return partition_side(r, self, arg, false, out);
}

static lk_status text_rpartition(LK_TPL_ARGUMENTS)
{
    (void)call;
    return partition_side(r, self, arg, true, out);
}

static lk_status pad_side(struct lk_tpl_run *r, const struct lk_value *self,
                          const struct lk_value *arg, int side, struct lk_value *out)
{
    struct lk_value fill = lk_tpl_static(" ");
    int64_t width = 0;
    lk_status status = lk_tpl_int_arg(r, &arg[0], "the width", &width);
    if (!status) {
        status = lk_tpl_text_arg(r, &arg[1], "the character to pad with", &fill);
    }
    return status ? status : lk_tpl_pad(r, self, width, &fill, side, out);
}

static lk_status text_center(LK_TPL_ARGUMENTS)
{
    (void)call;
    return pad_side(r, self, arg, 0, out);
}

static lk_status text_ljust(LK_TPL_ARGUMENTS)
{
    (void)call;
    return pad_side(r, self, arg, -1, out);
}

static lk_status text_rjust(LK_TPL_ARGUMENTS)
{
    (void)call;
    return pad_side(r, self, arg, 1, out);
}

/* Zeros go between a sign and the rest. */
static lk_status text_zfill(LK_TPL_ARGUMENTS)
{
    struct lk_value fill = lk_tpl_static("0"), rest, parts[2];
    int64_t width = 0;
    bool sign = self->n && (self->text[0] == '-' || self->text[0] == '+');
    (void)call;
    lk_status status = lk_tpl_int_arg(r, &arg[0], "zfill: the width", &width);
    parts[0] = lk_tpl_part(self, 0, sign);
    rest = lk_tpl_part(self, sign, self->n);
    if (!status) {
        status = lk_tpl_pad(r, &rest, width - sign, &fill, 1, &parts[1]);
    }
    return status ? status : lk_tpl_concat(r, parts, 2, self->flags, out);
}

static lk_status text_expandtabs(LK_TPL_ARGUMENTS)
{
    int64_t size = 8, column = 0;
    size_t from = r->out->n, begin = 0;
    (void)call;
    lk_status status = lk_tpl_int_arg(r, &arg[0], "expandtabs: the size", &size);
    if (status || size > 10000) {
        return status ? status : lk_tpl_fail(r, "expandtabs: a size of more than 10000");
    }
    for (size_t at = 0; at < self->n;) {
        int32_t cp;
        size_t step = lk_char_next(self->text + at, self->n - at, &cp);
        if (cp == '\t') {
            lk_text_put_part(r->out, self, begin, at);
            for (int64_t n = size > 0 ? size - column % size : 0; n > 0; n--, column++) {
                lk_text_put(r->out, " ", 1, self->marks ? self->marks[at] : self->flags);
            }
            begin = at + step;
        } else {
            column = cp == '\n' || cp == '\r' ? 0 : column + 1;
        }
        at += step;
    }
    lk_text_put_part(r->out, self, begin, self->n);
    status = lk_tpl_cut(r, from, out);
    out->flags |= self->flags & LK_VALUE_MARKUP;
    return status ? status : lk_tpl_work(r, (self->n + out->n) / LK_TPL_CHAR);
}

static lk_status text_format(LK_TPL_ARGUMENTS)
{
    (void)arg;
    return lk_tpl_format(r, self, call, out);
}

static lk_status text_format_map(LK_TPL_ARGUMENTS)
{
    (void)call;
    if (arg[0].type != LK_VALUE_DICT) {
        return lk_tpl_fail(r, "format_map: expected a dict");
    }
    struct lk_tpl_call named = {.named = arg[0].member, .n_named = arg[0].n};
    for (uint32_t i = 0; i < arg[0].n; i++) {
        if (!lk_tpl_is_text(&arg[0].member[i].key)) {
            return lk_tpl_fail(r, "format_map: expected keys that are strings");
        }
    }
    return lk_tpl_format(r, self, &named, out);
}

#define CASING(name, to)                                                                           \
    static lk_status text_##name(LK_TPL_ARGUMENTS)                                                 \
    {                                                                                              \
        (void)call, (void)arg;                                                                     \
        return lk_tpl_case(r, self, to, out);                                                      \
    }
CASING(upper, CASING_UPPER)
CASING(lower, CASING_LOWER)
CASING(casefold, CASING_FOLD)
CASING(swapcase, CASING_SWAP)
CASING(capitalize, CASING_CAPITALIZE)
CASING(title, CASING_TITLE)

static bool is_ascii(int32_t cp)
{
    return cp < 0x80;
}

static bool is_alnum(int32_t cp)
{
    return lk_char_is_alpha(cp) || lk_char_is_numeric(cp);
}

#define QUESTION(name, answer)                                                                     \
    static lk_status text_##name(LK_TPL_ARGUMENTS)                                                 \
    {                                                                                              \
        (void)call, (void)arg;                                                                     \
        *out = lk_value_bool(answer);                                                              \
        return lk_tpl_work(r, self->n / LK_TPL_CHAR);                                              \
    }
QUESTION(isalpha, lk_tpl_is_all(self, lk_char_is_alpha))
QUESTION(isalnum, lk_tpl_is_all(self, is_alnum))
QUESTION(isdecimal, lk_tpl_is_all(self, lk_char_is_decimal))
QUESTION(isdigit, lk_tpl_is_all(self, lk_char_is_digit))
QUESTION(isnumeric, lk_tpl_is_all(self, lk_char_is_numeric))
QUESTION(isspace, lk_tpl_is_all(self, lk_char_is_space))
QUESTION(isprintable, self->n == 0 || lk_tpl_is_all(self, lk_char_is_printable))
QUESTION(isascii, self->n == 0 || lk_tpl_is_all(self, is_ascii))
QUESTION(isidentifier, lk_tpl_is_all(self, lk_char_is_word) && !lk_char_is_numeric(self->text[0]))
QUESTION(islower, lk_tpl_is_cased(self, CASING_LOWER))
QUESTION(isupper, lk_tpl_is_cased(self, CASING_UPPER))
QUESTION(istitle, lk_tpl_is_cased(self, CASING_TITLE))

/* ---- the table ---- */

static const struct lk_tpl_builtin methods[] = {
    {"strip", {"chars"}, 0, text_strip},
    {"lstrip", {"chars"}, 0, text_lstrip},
    {"rstrip", {"chars"}, 0, text_rstrip},
    {"split", {"sep", "maxsplit"}, 0, text_split},
    {"rsplit", {"sep", "maxsplit"}, 0, text_rsplit},
    {"splitlines", {"keepends"}, 0, text_splitlines},
    {"replace", {"old", "new", "count"}, 2, text_replace},
    {"join", {"iterable"}, 1, text_join},
    {"find", {"sub", "start", "end"}, 1, text_find},
    {"rfind", {"sub", "start", "end"}, 1, text_rfind},
    {"index", {"sub", "start", "end"}, 1, text_index},
    {"rindex", {"sub", "start", "end"}, 1, text_rindex},
    {"count", {"sub", "start", "end"}, 1, text_count},
    {"startswith", {"prefix", "start", "end"}, 1, text_startswith},
    {"endswith", {"suffix", "start", "end"}, 1, text_endswith},
    {"removeprefix", {"prefix"}, 1, text_removeprefix},
    {"removesuffix", {"suffix"}, 1, text_removesuffix},
    {"partition", {"sep"}, 1, text_partition},
    {"rpartition", {"sep"}, 1, text_rpartition},
    {"center", {"width", "fillchar"}, 1, text_center},
    {"ljust", {"width", "fillchar"}, 1, text_ljust},
    {"rjust", {"width", "fillchar"}, 1, text_rjust},
    {"zfill", {"width"}, 1, text_zfill},
    {"expandtabs", {"tabsize"}, 0, text_expandtabs},
    {"format", {NULL}, -1, text_format},
    {"format_map", {"mapping"}, 1, text_format_map},
    {"upper", {NULL}, 0, text_upper},
    {"lower", {NULL}, 0, text_lower},
    {"casefold", {NULL}, 0, text_casefold},
    {"swapcase", {NULL}, 0, text_swapcase},
    {"capitalize", {NULL}, 0, text_capitalize},
    {"title", {NULL}, 0, text_title},
    {"isalpha", {NULL}, 0, text_isalpha},
    {"isalnum", {NULL}, 0, text_isalnum},
    {"isdecimal", {NULL}, 0, text_isdecimal},
    {"isdigit", {NULL}, 0, text_isdigit},
    {"isnumeric", {NULL}, 0, text_isnumeric},
    {"isspace", {NULL}, 0, text_isspace},
    {"isprintable", {NULL}, 0, text_isprintable},
    {"isascii", {NULL}, 0, text_isascii},
    {"isidentifier", {NULL}, 0, text_isidentifier},
    {"islower", {NULL}, 0, text_islower},
    {"isupper", {NULL}, 0, text_isupper},
    {"istitle", {NULL}, 0, text_istitle},
    {"encode", {NULL}, -1, NULL},
    {"translate", {NULL}, -1, NULL},
    {"maketrans", {NULL}, -1, NULL},
};

int lk_tpl_find_text_method(const struct lk_value *name)
{
    for (size_t i = 0; i < LK_COUNT(methods); i++) {
        if (lk_value_is(name, methods[i].name)) {
            return (int)i;
        }
    }
    return -1;
}

lk_status lk_tpl_call_text_method(struct lk_tpl_run *r, int method, const struct lk_value *self,
                                  const struct lk_tpl_call *call, struct lk_value *out)
{
    return lk_tpl_call_builtin(r, &methods[method], self, call, out);
}
