/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_filters: the table of filters by name, and those that work on text.
 */
#include "text/template/template_run.h"

#include "text/template/unicode.h"

/* ---- text ---- */

static lk_status filter_upper(LK_TPL_ARGUMENTS)
{
    struct lk_value s;
    (void)call, (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    return status ? status : lk_tpl_case(r, &s, CASING_UPPER, out);
}

static lk_status filter_lower(LK_TPL_ARGUMENTS)
{
    struct lk_value s;
    (void)call, (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    return status ? status : lk_tpl_case(r, &s, CASING_LOWER, out);
}

static lk_status filter_capitalize(LK_TPL_ARGUMENTS)
{
    struct lk_value s;
    (void)call, (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    return status ? status : lk_tpl_case(r, &s, CASING_CAPITALIZE, out);
}

/* Words begin behind white space, hyphens and opening brackets. */
static bool parts_words(int32_t cp)
{
    return lk_char_is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
}

static lk_status filter_title(LK_TPL_ARGUMENTS)
{
    struct lk_value s, parts[3];
    struct lk_tpl_items words = {0};
    int32_t cp;
    (void)call, (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    for (size_t at = 0; !status && at < s.n;) {
        size_t from = at;
        at += lk_char_next(s.text + at, s.n - at, &cp);
        struct lk_value piece = lk_tpl_part(&s, from, at);
        if (parts_words(cp)) {
            status = lk_tpl_add(r, &words, &piece);
            continue;
        }
        size_t end = at, step = 0;
        for (; end < s.n; end += step) {
            step = lk_char_next(s.text + end, s.n - end, &cp);
            if (parts_words(cp)) {
                break;
            }
        }
        parts[0] = piece;
        parts[1] = lk_tpl_part(&s, at, end);
        if ((status = lk_tpl_case(r, &parts[0], CASING_UPPER, &parts[0])) ||
            (status = lk_tpl_case(r, &parts[1], CASING_LOWER, &parts[1])) ||
            (status = lk_tpl_add(r, &words, &parts[0]))) {
            break;
        }
        status = lk_tpl_add(r, &words, &parts[1]);
        at = end;
    }
    return status ? status : lk_tpl_concat(r, words.item, words.n, 0, out);
}

static lk_status filter_trim(LK_TPL_ARGUMENTS)
{
    struct lk_value s, chars;
    bool given = lk_tpl_given(&arg[0]) && arg[0].type != LK_VALUE_NULL;
    (void)call;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    if (!status && given) {
        status = lk_tpl_text_arg(r, &arg[0], "trim: characters", &chars);
    }
    if (!status) {
        *out = lk_tpl_strip(r, &s, given ? &chars : NULL, 0);
    }
    return status ? status : lk_tpl_step(r);
}

static lk_status filter_replace(LK_TPL_ARGUMENTS)
{
    struct lk_value s, from, to;
    int64_t most = -1;
    (void)call;
    lk_status status;
    if ((status = lk_tpl_str(r, self, &s)) || (status = lk_tpl_str(r, &arg[0], &from)) ||
        (status = lk_tpl_str(r, &arg[1], &to)) ||
        (arg[2].type != LK_VALUE_NULL &&
         (status = lk_tpl_int_arg(r, &arg[2], "replace: count", &most)))) {
        return status;
    }
    return lk_tpl_replace(r, &s, &from, &to, most, out);
}

static lk_status filter_join(LK_TPL_ARGUMENTS)
{
    struct lk_value separator = lk_tpl_static(""), source = *self;
    struct lk_tpl_iter iter = {.attribute = arg[1], .fallback = lk_tpl_missing, .builtin = -1};
    lk_status status = LK_OK;
    (void)call;
    if (lk_tpl_given(&arg[0])) {
        status = lk_tpl_str(r, &arg[0], &separator);
    }
    if (!status && lk_tpl_given(&arg[1]) && arg[1].type != LK_VALUE_NULL) {
        if (!lk_tpl_iterable(self)) {
            return lk_tpl_fail(r, "join: found a value of type %s, expected items",
                               lk_tpl_type_name(self));
        }
        iter.kind = ITER_MAP;
        iter.source = *self;
        status = lk_tpl_iterator(r, &iter, &source);
    }
    return status ? status : lk_tpl_join(r, &separator, &source, true, out);
}

/* Each line but the first and the empty ones with `indent` before it, unless told otherwise. */
static lk_status indent_lines(struct lk_tpl_run *r, const struct lk_value *lines,
                              const struct lk_value *indent, bool first, bool blank,
                              struct lk_value *out)
{
    const struct lk_value line_break = lk_tpl_static("\n");
    struct lk_tpl_items parts = {0};
    lk_status status = first ? lk_tpl_add(r, &parts, indent) : LK_OK;
    for (uint32_t i = 0; i < lines->n && !status; i++) {
        if (i && (status = lk_tpl_add(r, &parts, &line_break))) {
            break;
        }
        if (i && (blank || lines->item[i].n) && (status = lk_tpl_add(r, &parts, indent))) {
            break;
        }
        status = lk_tpl_add(r, &parts, &lines->item[i]);
    }
    return status ? status : lk_tpl_concat(r, parts.item, parts.n, 0, out);
}

static lk_status filter_indent(LK_TPL_ARGUMENTS)
{
    struct lk_value indent = lk_tpl_static(" "), lines, s[2] = {*self, lk_tpl_static("\n")};
    int64_t width = 4;
    lk_status status;
    (void)call;
    if (!lk_tpl_is_text(self)) {
        return self->type == LK_TPL_UNDEFINED
                   ? lk_tpl_fail_undefined(r, self)
                   : lk_tpl_fail(r, "indent: found a value of type %s, expected a string",
                                 lk_tpl_type_name(self));
    }
    if (lk_tpl_is_text(&arg[0])) {
        indent = arg[0];
    } else if ((status = lk_tpl_int_arg(r, &arg[0], "indent: the width", &width)) ||
               (status = lk_tpl_repeat(r, &indent, width, &indent))) {
        return status;
    }
    if ((status = lk_tpl_concat(r, s, 2, 0, &s[0])) ||
        (status = lk_tpl_split_lines(r, &s[0], false, &lines)) ||
        (status = indent_lines(r, &lines, &indent, lk_tpl_bool_arg(&arg[1], false),
                               lk_tpl_bool_arg(&arg[2], false), out))) {
        return status;
    }
    out->flags |= self->flags & LK_VALUE_MARKUP;
    return LK_OK;
}

static lk_status filter_truncate(LK_TPL_ARGUMENTS)
{
    int64_t length = 255, leeway = 5, have, n_end;
    struct lk_value end = lk_tpl_static("..."), parts[2], cut, words;
    const struct lk_value space = lk_tpl_static(" ");
    lk_status status;
    (void)call;
    if ((status = lk_tpl_int_arg(r, &arg[0], "truncate: the length", &length)) ||
        (status = lk_tpl_text_arg(r, &arg[2], "truncate: the end", &end)) ||
        (arg[3].type != LK_VALUE_NULL &&
         (status = lk_tpl_int_arg(r, &arg[3], "truncate: the leeway", &leeway))) ||
        (status = lk_tpl_length(r, self, &have)) || (status = lk_tpl_length(r, &end, &n_end))) {
        return status;
    }
    if (length < n_end || leeway < 0) {
        return lk_tpl_fail(r, "truncate: a length below that of its end, or a negative leeway");
    }
    if (have <= length || have - length <= leeway) {
        *out = *self;
        return LK_OK;
    }
    if (!lk_tpl_is_text(self)) {
        return lk_tpl_fail(r, "truncate: found a value of type %s, expected a string",
                           lk_tpl_type_name(self));
    }
    const struct lk_value stop = lk_value_int(length - n_end);
    if ((status = lk_tpl_slice(r, self, NULL, &stop, NULL, &cut))) {
        return status;
    }
    if (!lk_tpl_bool_arg(&arg[1], false)) {
        if ((status = lk_tpl_split(r, &cut, &space, 1, true, &words))) {
            return status;
        }
        cut = words.item[0];
    }
    parts[0] = cut;
    parts[1] = end;
    return lk_tpl_concat(r, parts, 2, self->flags, out);
}

static lk_status filter_wordcount(LK_TPL_ARGUMENTS)
{
    struct lk_value s;
    int64_t n = 0;
    bool inside = false;
    (void)call, (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    for (size_t at = 0; !status && at < s.n;) {
        int32_t cp;
        at += lk_char_next(s.text + at, s.n - at, &cp);
        n += lk_char_is_word(cp) && !inside;
        inside = lk_char_is_word(cp);
    }
    *out = lk_value_int(n);
    return status ? status : lk_tpl_work(r, s.n / LK_TPL_CHAR);
}

static lk_status filter_center(LK_TPL_ARGUMENTS)
{
    struct lk_value s, fill = lk_tpl_static(" ");
    int64_t width = 80;
    (void)call;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    if (!status) {
        status = lk_tpl_int_arg(r, &arg[0], "center: the width", &width);
    }
    return status ? status : lk_tpl_pad(r, &s, width, &fill, 0, out);
}

static lk_status filter_string(LK_TPL_ARGUMENTS)
{
    (void)call, (void)arg;
    return lk_tpl_soft_str(r, self, out);
}

static lk_status filter_safe(LK_TPL_ARGUMENTS)
{
    (void)call, (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, out);
    out->flags |= LK_VALUE_MARKUP;
    return status;
}

static lk_status filter_escape(LK_TPL_ARGUMENTS)
{
    (void)call, (void)arg;
    return lk_tpl_escape_html(r, self, out);
}

static lk_status filter_forceescape(LK_TPL_ARGUMENTS)
{
    struct lk_value s;
    (void)call, (void)arg;
    lk_status status = lk_tpl_str(r, self, &s);
    return status ? status : lk_tpl_escape_html(r, &s, out);
}

static lk_status filter_format(LK_TPL_ARGUMENTS)
{
    struct lk_value s, args;
    (void)arg;
    lk_status status = lk_tpl_soft_str(r, self, &s);
    if (!status && call->n && call->n_named) {
        return lk_tpl_fail(r, "format: found both positional and named arguments");
    }
    if (!status && call->n_named) {
        args = (struct lk_value){.type = LK_VALUE_DICT,
                                 .flags = LK_VALUE_TRUSTED,
                                 .n = call->n_named,
                                 .member = call->named};
    } else if (!status) {
        status = lk_tpl_make_list(r, call->arg, call->n, LK_VALUE_TUPLE, &args);
    }
    return status ? status : lk_tpl_printf(r, &s, &args, out);
}

/* ---- any value ---- */

static lk_status filter_default(LK_TPL_ARGUMENTS)
{
    bool missing =
        self->type == LK_TPL_UNDEFINED || (lk_tpl_bool_arg(&arg[1], false) && !lk_tpl_truth(self));
    (void)r, (void)call;
    *out = !missing ? *self : lk_tpl_given(&arg[0]) ? arg[0] : lk_tpl_static("");
    return LK_OK;
}

static lk_status filter_length(LK_TPL_ARGUMENTS)
{
    int64_t n = 0;
    bool found;
    (void)call, (void)arg;
    if (self->type == LK_TPL_LOOP) {
        const struct lk_value name = lk_tpl_static("length");
        return lk_tpl_loop_attribute(r, self, &name, out, &found);
    }
    lk_status status = lk_tpl_length(r, self, &n);
    *out = lk_value_int(n);
    return status;
}

/* ---- the table, by name ---- */

static const struct lk_tpl_builtin filters[] = {
    {"abs", {NULL}, 0, lk_tpl_filter_abs},
    {"attr", {"name"}, 1, lk_tpl_filter_attr},
    {"batch", {"linecount", "fill_with"}, 1, lk_tpl_filter_batch},
    {"capitalize", {NULL}, 0, filter_capitalize},
    {"center", {"width"}, 0, filter_center},
    {"count", {NULL}, 0, filter_length},
    {"d", {"default_value", "boolean"}, 0, filter_default},
    {"default", {"default_value", "boolean"}, 0, filter_default},
    {"dictsort", {"case_sensitive", "by", "reverse"}, 0, lk_tpl_filter_dictsort},
    {"e", {NULL}, 0, filter_escape},
    {"escape", {NULL}, 0, filter_escape},
    {"filesizeformat", {"binary"}, 0, lk_tpl_filter_filesizeformat},
    {"first", {NULL}, 0, lk_tpl_filter_first},
    {"float", {"default"}, 0, lk_tpl_filter_float},
    {"forceescape", {NULL}, 0, filter_forceescape},
    {"format", {NULL}, -1, filter_format},
    {"groupby", {"attribute", "default", "case_sensitive"}, 1, lk_tpl_filter_groupby},
    {"indent", {"width", "first", "blank"}, 0, filter_indent},
    {"int", {"default", "base"}, 0, lk_tpl_filter_int},
    {"items", {NULL}, 0, lk_tpl_filter_items},
    {"join", {"d", "attribute"}, 0, filter_join},
    {"last", {NULL}, 0, lk_tpl_filter_last},
    {"length", {NULL}, 0, filter_length},
    {"list", {NULL}, 0, lk_tpl_filter_list},
    {"lower", {NULL}, 0, filter_lower},
    {"map", {NULL}, -1, lk_tpl_filter_map},
    {"max", {"case_sensitive", "attribute"}, 0, lk_tpl_filter_max},
    {"min", {"case_sensitive", "attribute"}, 0, lk_tpl_filter_min},
    {"pprint", {NULL}, -1, NULL},
    {"random", {NULL}, -1, NULL},
    {"reject", {NULL}, -1, lk_tpl_filter_reject},
    {"rejectattr", {NULL}, -1, lk_tpl_filter_rejectattr},
    {"replace", {"old", "new", "count"}, 2, filter_replace},
    {"reverse", {NULL}, 0, lk_tpl_filter_reverse},
    {"round", {"precision", "method"}, 0, lk_tpl_filter_round},
    {"safe", {NULL}, 0, filter_safe},
    {"select", {NULL}, -1, lk_tpl_filter_select},
    {"selectattr", {NULL}, -1, lk_tpl_filter_selectattr},
    {"slice", {"slices", "fill_with"}, 1, lk_tpl_filter_slice},
    {"sort", {"reverse", "case_sensitive", "attribute"}, 0, lk_tpl_filter_sort},
    {"string", {NULL}, 0, filter_string},
    {"striptags", {NULL}, -1, NULL},
    {"sum", {"attribute", "start"}, 0, lk_tpl_filter_sum},
    {"title", {NULL}, 0, filter_title},
    {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, lk_tpl_filter_tojson},
    {"trim", {"chars"}, 0, filter_trim},
    {"truncate", {"length", "killwords", "end", "leeway"}, 0, filter_truncate},
    {"unique", {"case_sensitive", "attribute"}, 0, lk_tpl_filter_unique},
    {"upper", {NULL}, 0, filter_upper},
    {"urlencode", {NULL}, -1, NULL},
    {"urlize", {NULL}, -1, NULL},
    {"wordcount", {NULL}, 0, filter_wordcount},
    {"wordwrap", {NULL}, -1, NULL},
    {"xmlattr", {NULL}, -1, NULL},
};

int lk_tpl_find_filter(const struct lk_value *name)
{
    for (size_t i = 0; i < LK_COUNT(filters); i++) {
        if (lk_value_is(name, filters[i].name)) {
            return (int)i;
        }
    }
    return -1;
}

lk_status lk_tpl_filter(struct lk_tpl_run *r, int filter, const struct lk_value *v,
                        const struct lk_tpl_call *call, struct lk_value *out)
{
    return lk_tpl_call_builtin(r, &filters[filter], v, call, out);
}
