/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_methods: the methods of Python's types that templates may call. What would change a list
 * or a dict is hidden, as in an immutable sandbox.
 */
#include "text/template/template_run.h"

#include <math.h>

enum {
    OF_LIST = 1,
    OF_TUPLE = 2,
    OF_DICT = 4,
    OF_RANGE = 8,
    OF_CYCLER = 16,
    OF_LOOP = 32,
    OF_FLOAT = 64
};

/* ---- dicts and lists ---- */

static lk_status dict_get(LK_TPL_ARGUMENTS)
{
    const struct lk_value *found;
    (void)call;
    lk_status status = lk_tpl_find_key(r, self, &arg[0], &found);
    *out = found ? *found : lk_tpl_given(&arg[1]) ? arg[1] : lk_tpl_none;
    return status;
}

static struct lk_value view_of(const struct lk_value *dict, enum lk_tpl_view which)
{
    return (struct lk_value){.type = LK_TPL_VIEW,
                             .flags = dict->flags,
                             .n = dict->n,
                             .integer = which,
                             .member = dict->member};
}

static lk_status dict_keys(LK_TPL_ARGUMENTS)
{
    (void)r, (void)call, (void)arg;
    *out = view_of(self, VIEW_KEYS);
    return LK_OK;
}

static lk_status dict_values(LK_TPL_ARGUMENTS)
{
    (void)r, (void)call, (void)arg;
    *out = view_of(self, VIEW_VALUES);
    return LK_OK;
}

static lk_status dict_items(LK_TPL_ARGUMENTS)
{
    (void)r, (void)call, (void)arg;
    *out = view_of(self, VIEW_ITEMS);
    return LK_OK;
}

/* Nothing changes a list or dict, so it is its own copy. */
static lk_status any_copy(LK_TPL_ARGUMENTS)
{
    (void)r, (void)call, (void)arg;
    *out = *self;
    return LK_OK;
}

static lk_status list_count(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    int64_t n = 0;
    (void)call;
    lk_status status = lk_tpl_iterate(r, self, &iter);
    while (!status) {
        struct lk_value item;
        bool found, equal;
        if ((status = lk_tpl_take(r, &iter, &item, &found)) || !found) {
            break;
        }
        status = lk_tpl_equal(r, &item, &arg[0], &equal);
        n += equal;
    }
    *out = lk_value_int(n);
    return status;
}

static lk_status list_index(LK_TPL_ARGUMENTS)
{
    int64_t n, from = 0, to = INT64_MAX;
    (void)call;
    lk_status status = lk_tpl_length(r, self, &n);
    if (status || (status = lk_tpl_int_arg(r, &arg[1], "index: the start", &from)) ||
        (status = lk_tpl_int_arg(r, &arg[2], "index: the end", &to))) {
        return status;
    }
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from;
    to = to < 0 ? to + n : to > n ? n : to;
    for (int64_t i = from; i < to; i++) {
        bool equal;
        struct lk_value at = lk_value_int(i), item;
        if ((status = lk_tpl_item(r, self, &at, &item)) ||
            (status = lk_tpl_equal(r, &item, &arg[0], &equal))) {
            return status;
        }
        if (equal) {
            *out = at;
            return LK_OK;
        }
    }
    return lk_tpl_fail(r, "index: the item is not there");
}

/* ---- cycler, loop, float ---- */

static lk_status cycler_next(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_cycler *c = (void *)(uintptr_t)self->object;
    (void)r, (void)call, (void)arg;
    *out = c->item[c->at];
    c->at = (c->at + 1) % c->n;
    return LK_OK;
}

static lk_status cycler_reset(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_cycler *c = (void *)(uintptr_t)self->object;
    (void)r, (void)call, (void)arg;
    c->at = 0;
    *out = lk_tpl_none;
    return LK_OK;
}

static lk_status loop_cycle(LK_TPL_ARGUMENTS)
{
    const struct lk_tpl_loop_state *loop = self->object;
    (void)arg;
    if (call->n == 0) {
        return lk_tpl_fail(r, "cycle: expected at least one item");
    }
    *out = call->arg[loop->index0 % call->n];
    return LK_OK;
}

static lk_status loop_changed(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_loop_state *loop = (void *)(uintptr_t)self->object;
    struct lk_value now;
    bool equal = false;
    (void)arg;
    lk_status status = lk_tpl_make_list(r, call->arg, call->n, LK_VALUE_TUPLE, &now);
    if (!status && loop->changed.type != LK_TPL_MISSING) {
        status = lk_tpl_equal(r, &loop->changed, &now, &equal);
    }
    if (!status && !equal) {
        loop->changed = now;
        r->escapes++;
    }
    *out = lk_value_bool(!equal);
    return status;
}

static lk_status float_is_integer(LK_TPL_ARGUMENTS)
{
    (void)r, (void)call, (void)arg;
    *out = lk_value_bool(isfinite(self->real) && floor(self->real) == self->real);
    return LK_OK;
}

/* ---- the table ---- */

static const struct method {
    unsigned of;
    struct lk_tpl_builtin b;
} methods[] = {
    {OF_DICT, {"get", {"key", "default"}, 1, dict_get}},
    {OF_DICT, {"items", {NULL}, 0, dict_items}},
    {OF_DICT, {"keys", {NULL}, 0, dict_keys}},
    {OF_DICT, {"values", {NULL}, 0, dict_values}},
    {OF_DICT | OF_LIST, {"copy", {NULL}, 0, any_copy}},
    {OF_DICT, {"fromkeys", {NULL}, -1, NULL}},
    {OF_LIST | OF_TUPLE | OF_RANGE, {"count", {"value"}, 1, list_count}},
    {OF_LIST | OF_TUPLE | OF_RANGE, {"index", {"value", "start", "end"}, 1, list_index}},
    {OF_CYCLER, {"next", {NULL}, 0, cycler_next}},
    {OF_CYCLER, {"reset", {NULL}, 0, cycler_reset}},
    {OF_LOOP, {"cycle", {NULL}, -1, loop_cycle}},
    {OF_LOOP, {"changed", {NULL}, -1, loop_changed}},
    {OF_FLOAT, {"is_integer", {NULL}, 0, float_is_integer}},
};

static bool is_any(const struct lk_value *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lk_value_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

static unsigned kind_of(const struct lk_value *v)
{
    return v->type == LK_VALUE_LIST    ? (v->flags & LK_VALUE_TUPLE ? OF_TUPLE : OF_LIST)
           : v->type == LK_VALUE_DICT  ? OF_DICT
           : v->type == LK_TPL_RANGE   ? OF_RANGE
           : v->type == LK_TPL_CYCLER  ? OF_CYCLER
           : v->type == LK_TPL_LOOP    ? OF_LOOP
           : v->type == LK_VALUE_FLOAT ? OF_FLOAT
                                       : 0;
}

int lk_tpl_find_method(const struct lk_value *object, const struct lk_value *name)
{
    static const char *const of_lists[] = {"append", "clear", "pop",    "reverse",
                                           "insert", "sort",  "extend", "remove"};
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    unsigned kind = kind_of(object);
    int text = object->type == LK_VALUE_STRING ? lk_tpl_find_text_method(name) : -1;
    if (text >= 0) {
        return (int)LK_COUNT(methods) + text;
    }
    for (size_t i = 0; kind && i < LK_COUNT(methods); i++) {
        if ((methods[i].of & kind) && lk_value_is(name, methods[i].b.name)) {
            return (int)i;
        }
    }
    bool hidden = (kind == OF_LIST && is_any(name, of_lists, LK_COUNT(of_lists))) ||
                  (kind == OF_DICT && is_any(name, of_dicts, LK_COUNT(of_dicts)));
    return hidden ? LK_TPL_METHOD_HIDDEN : LK_TPL_METHOD_NONE;
}

lk_status lk_tpl_call_method(struct lk_tpl_run *r, int method, const struct lk_value *self,
                             const struct lk_tpl_call *call, struct lk_value *out)
{
    int own = (int)LK_COUNT(methods);
    return method < own ? lk_tpl_call_builtin(r, &methods[method].b, self, call, out)
                        : lk_tpl_call_text_method(r, method - own, self, call, out);
}
