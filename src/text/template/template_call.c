/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_call: calls of built-ins with their arguments bound to parameters, and the functions
 * that every template has: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
 */
#include "text/template/template_run.h"

/* ---- arguments ---- */

static lk_status bad_argument(struct lk_tpl_run *r, const struct lk_tpl_builtin *b,
                              const char *problem, const struct lk_value *name)
{
    return lk_tpl_fail(r, "%s: %s '%.*s'", b->name, problem, (int)(name->n < 40 ? name->n : 40),
                       name->text);
}

static lk_status bind(struct lk_tpl_run *r, const struct lk_tpl_builtin *b,
                      const struct lk_tpl_call *call, struct lk_value arg[LK_TPL_PARAMS])
{
    uint32_t n = 0;
    while (n < LK_TPL_PARAMS && b->params[n]) {
        n++;
    }
    if (call->n > n) {
        return lk_tpl_fail(r, "%s: found %u arguments, expected at most %u", b->name, call->n, n);
    }
    for (uint32_t i = 0; i < LK_TPL_PARAMS; i++) {
        arg[i] = i < call->n ? call->arg[i] : lk_tpl_missing;
    }
    for (uint32_t k = 0; k < call->n_named; k++) {
        const struct lk_value *name = &call->named[k].key;
        uint32_t i = 0;
        while (i < n && !lk_value_is(name, b->params[i])) {
            i++;
        }
        if (i == n) {
            return bad_argument(r, b, "no parameter has the name", name);
        }
        if (lk_tpl_given(&arg[i])) {
            return bad_argument(r, b, "two values for", name);
        }
        arg[i] = call->named[k].value;
    }
    for (int i = 0; i < b->required; i++) {
        if (!lk_tpl_given(&arg[i])) {
            return lk_tpl_fail(r, "%s: expected an argument '%s'", b->name, b->params[i]);
        }
    }
    return LK_OK;
}

lk_status lk_tpl_call_builtin(struct lk_tpl_run *r, const struct lk_tpl_builtin *b,
                              const struct lk_value *self, const struct lk_tpl_call *call,
                              struct lk_value *out)
{
    struct lk_value arg[LK_TPL_PARAMS];
    const struct lk_value own = self ? *self : lk_tpl_none; /* out may be self */
    if (!b->run) {
        return lk_tpl_fail(r, "%s is not known here", b->name);
    }
    lk_status status = b->required < 0 ? LK_OK : bind(r, b, call, arg);
    return status ? status : b->run(r, &own, call, arg, out);
}

lk_status lk_tpl_int_arg(struct lk_tpl_run *r, const struct lk_value *arg, const char *name,
                         int64_t *out)
{
    int64_t i;
    if (!lk_tpl_given(arg)) {
        return LK_OK;
    }
    if (lk_tpl_is_int(arg, &i)) {
        *out = i;
        return LK_OK;
    }
    return arg->type == LK_TPL_UNDEFINED
               ? lk_tpl_fail_undefined(r, arg)
               : lk_tpl_fail(r, "%s is of type %s, expected a whole number", name,
                             lk_tpl_type_name(arg));
}

lk_status lk_tpl_text_arg(struct lk_tpl_run *r, const struct lk_value *arg, const char *name,
                          struct lk_value *out)
{
    if (!lk_tpl_given(arg)) {
        return LK_OK;
    }
    *out = *arg;
    if (lk_tpl_is_text(arg)) {
        return LK_OK;
    }
    return arg->type == LK_TPL_UNDEFINED
               ? lk_tpl_fail_undefined(r, arg)
               : lk_tpl_fail(r, "%s is of type %s, expected a string", name, lk_tpl_type_name(arg));
}

bool lk_tpl_bool_arg(const struct lk_value *arg, bool fallback)
{
    return lk_tpl_given(arg) ? lk_tpl_truth(arg) : fallback;
}

/* ---- functions ---- */

static lk_status function_range(LK_TPL_ARGUMENTS)
{
    int64_t bounds[3] = {0, 0, 1};
    struct lk_tpl_range *range = lk_tpl_alloc(r, 1, sizeof *range);
    (void)self, (void)arg;
    if (!range) {
        return r->err->status;
    }
    if (call->n < 1 || call->n > 3 || call->n_named) {
        return lk_tpl_fail(r, "range: found %u arguments, expected 1 to 3", call->n);
    }
    for (uint32_t i = 0; i < call->n; i++) {
        lk_status status =
            lk_tpl_int_arg(r, &call->arg[i], "range: a bound", &bounds[call->n == 1 ? 1 : i]);
        if (status) {
            return status;
        }
    }
    int64_t start = bounds[0], stop = bounds[1], step = bounds[2], gap;
    if (step == 0) {
        return lk_tpl_fail(r, "range: a step of 0");
    }
    bool some = step > 0 ? start < stop : start > stop;
    uint64_t size = step > 0 ? (uint64_t)step : 0 - (uint64_t)step, n = 0;
    if (some) {
        uint64_t width =
            step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
        n = (width - 1) / size + 1;
    }
    if (n > LK_TPL_RANGE_MAX || __builtin_mul_overflow((int64_t)n, step, &gap)) {
        return lk_tpl_fail(r, "range: %llu items, expected at most %d", (unsigned long long)n,
                           LK_TPL_RANGE_MAX);
    }
    *range = (struct lk_tpl_range){start, stop, step, (uint32_t)n};
    *out = lk_tpl_object(LK_TPL_RANGE, range);
    return LK_OK;
}

/* Two items of an iterable as a key and a value. */
static lk_status pair_of(struct lk_tpl_run *r, const struct lk_value *item, struct lk_member *m)
{
    struct lk_value list;
    lk_status status = lk_tpl_listed(r, item, &list);
    if (!status && list.n != 2) {
        return lk_tpl_fail(r, "dict: found an item of %u parts, expected a key and a value",
                           list.n);
    }
    if (!status) {
        m->key = list.item[0];
        m->value = list.item[1];
    }
    return status;
}

/* The members of dict(...)'s arguments, in the region. */
static lk_status collect(struct lk_tpl_run *r, const struct lk_tpl_call *call,
                         struct lk_member **members, size_t *n)
{
    struct lk_value list = lk_tpl_list_of(NULL, 0, 0);
    const struct lk_value *from = call->n ? &call->arg[0] : NULL;
    if (call->n > 1) {
        return lk_tpl_fail(r, "dict: found %u arguments, expected at most 1", call->n);
    }
    if (from && from->type != LK_VALUE_DICT) {
        lk_status status = lk_tpl_listed(r, from, &list);
        if (status) {
            return status;
        }
    }
    size_t count = from && from->type == LK_VALUE_DICT ? from->n : list.n;
    *n = count + call->n_named;
    struct lk_member *m = *members = lk_tpl_alloc(r, *n, sizeof *m);
    if (!m) {
        return r->err->status;
    }
    for (size_t i = 0; i < count; i++) {
        lk_status status = LK_OK;
        if (from->type == LK_VALUE_DICT) {
            m[i] = from->member[i];
        } else {
            status = pair_of(r, &list.item[i], &m[i]);
        }
        if (!status && !lk_tpl_hashable(&m[i].key)) {
            status =
                lk_tpl_fail(r, "a value of type %s can't be a key", lk_tpl_type_name(&m[i].key));
        }
        if (status) {
            return status;
        }
    }
    if (call->n_named) {
        memcpy(m + count, call->named, call->n_named * sizeof *m);
    }
    return lk_tpl_work(r, *n / 8);
}

static lk_status function_dict(LK_TPL_ARGUMENTS)
{
    struct lk_member *members;
    size_t n;
    (void)self, (void)arg;
    lk_status status = collect(r, call, &members, &n);
    return status ? status : lk_tpl_make_dict(r, members, n, out);
}

static lk_status function_namespace(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_namespace *space = lk_tpl_alloc(r, 1, sizeof *space);
    struct lk_member *members;
    struct lk_value dict;
    size_t n;
    (void)self, (void)arg;
    lk_status status = space ? collect(r, call, &members, &n) : r->err->status;
    if (status || (status = lk_tpl_make_dict(r, members, n, &dict))) {
        return status;
    }
    for (uint32_t i = 0; i < dict.n; i++) {
        const struct lk_value *key = &dict.member[i].key;
        if (!lk_tpl_is_text(key) || (key->n && key->text[0] == '_')) {
            return lk_tpl_fail(r, "namespace: names are strings that begin with no underscore");
        }
    }
    *space = (struct lk_tpl_namespace){(struct lk_member *)(uintptr_t)dict.member, dict.n, dict.n};
    *out = lk_tpl_object(LK_TPL_NAMESPACE, space);
    return LK_OK;
}

static lk_status function_cycler(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_cycler *c = lk_tpl_alloc(r, 1, sizeof *c);
    struct lk_value items;
    (void)self, (void)arg;
    if (!c || call->n == 0) {
        return c ? lk_tpl_fail(r, "cycler: expected at least one item") : r->err->status;
    }
    lk_status status = lk_tpl_make_list(r, call->arg, call->n, LK_VALUE_TUPLE, &items);
    *c = (struct lk_tpl_cycler){items.item, call->n, 0};
    *out = lk_tpl_object(LK_TPL_CYCLER, c);
    return status;
}

static lk_status function_joiner(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_joiner *j = lk_tpl_alloc(r, 1, sizeof *j);
    (void)self, (void)call;
    if (!j) {
        return r->err->status;
    }
    *j = (struct lk_tpl_joiner){lk_tpl_given(&arg[0]) ? arg[0] : lk_tpl_static(", "), false};
    *out = lk_tpl_object(LK_TPL_JOINER, j);
    return LK_OK;
}

static lk_status function_raise(LK_TPL_ARGUMENTS)
{
    struct lk_value s;
    (void)self, (void)call, (void)out;
    lk_status status = lk_tpl_str(r, &arg[0], &s);
    return status ? status : lk_tpl_fail(r, "%.*s", (int)(s.n < 500 ? s.n : 500), s.text);
}

static lk_status function_strftime(LK_TPL_ARGUMENTS)
{
    struct lk_value format = lk_tpl_none;
    (void)self, (void)call;
    lk_status status = lk_tpl_text_arg(r, &arg[0], "strftime_now: the format", &format);
    return status ? status : lk_tpl_strftime(r, &format, out);
}

static const struct lk_tpl_builtin functions[] = {
    {"range", {NULL}, -1, function_range},
    {"dict", {NULL}, -1, function_dict},
    {"namespace", {NULL}, -1, function_namespace},
    {"cycler", {NULL}, -1, function_cycler},
    {"joiner", {"sep"}, 0, function_joiner},
    {"raise_exception", {"message"}, 1, function_raise},
    {"strftime_now", {"format"}, 1, function_strftime},
    {"lipsum", {NULL}, -1, NULL},
};

int lk_tpl_find_function(const struct lk_value *name)
{
    for (size_t i = 0; i < LK_COUNT(functions); i++) {
        if (lk_value_is(name, functions[i].name)) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- calls of any value ---- */

static lk_status call_joiner(struct lk_tpl_joiner *j, struct lk_value *out)
{
    *out = j->used ? j->separator : lk_tpl_static("");
    j->used = true;
    return LK_OK;
}

lk_status lk_tpl_call_value(struct lk_tpl_run *r, const struct lk_value *callee,
                            const struct lk_tpl_call *call, struct lk_value *out)
{
    /* Objects belong to the run; a value of theirs is const only because others' are. */
    void *object = (void *)(uintptr_t)callee->object;
    const struct lk_tpl_method *method = object;
    switch (callee->type) {
    case LK_TPL_FUNCTION:
        return lk_tpl_call_builtin(r, &functions[callee->integer], NULL, call, out);
    case LK_TPL_METHOD:
        return lk_tpl_call_method(r, method->method, &method->self, call, out);
    case LK_TPL_CALLABLE:
        return lk_tpl_call_macro(r, object, call, out);
    case LK_TPL_LOOP:
        if (call->n != 1 || call->n_named) {
            return lk_tpl_fail(r, "loop: found %u arguments, expected the items", call->n);
        }
        return lk_tpl_call_loop(r, object, &call->arg[0], out);
    case LK_TPL_JOINER:
        return call_joiner(object, out);
    case LK_TPL_BLOCK:
        return lk_tpl_call_block(r, object, out);
    case LK_TPL_UNDEFINED:
        return lk_tpl_fail_undefined(r, callee);
    default:
        return lk_tpl_fail(r, "a value of type %s can't be called", lk_tpl_type_name(callee));
    }
}
