/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_attr: what stands behind a point or in brackets: items, attributes, slices. Python's
 * attributes come first behind a point, items first in brackets; what is in neither is undefined.
 * What a sandbox must not show is undefined too, and using it is an error.
 */
#include "text/template/template_run.h"

#include "text/template/unicode.h"

/* ---- items ---- */

/* The character at an index that counts from the end if negative. */
static bool char_at(const struct lk_value *s, int64_t index, struct lk_value *out)
{
    int32_t cp;
    size_t at = 0;
    if (index < 0) {
        at = s->n;
        for (; index < 0 && at > 0; index++) {
            at = lk_char_back(s->text, at);
        }
        if (index < 0) {
            return false;
        }
    } else {
        for (; index > 0 && at < s->n; index--) {
            at += lk_char_next(s->text + at, s->n - at, &cp);
        }
        if (at >= s->n) {
            return false;
        }
    }
    *out = lk_tpl_part(s, at, at + lk_char_next(s->text + at, s->n - at, &cp));
    return true;
}

/* The item at a place of something ordered; *found false where there is none. */
static lk_status index_into(struct lk_tpl_run *r, const struct lk_value *object, int64_t i,
                            struct lk_value *out, bool *found)
{
    const struct lk_tpl_range *range = object->object;
    int64_t n = object->type == LK_TPL_RANGE ? range->n : object->n;
    *found = false;
    if (object->type == LK_VALUE_STRING) {
        *found = char_at(object, i, out);
        return lk_tpl_work(r, (size_t)(i < 0 ? -(i + 1) : i) / 64 > object->n / 64
                                  ? object->n / 64
                                  : (size_t)(i < 0 ? -(i + 1) : i) / 64);
    }
    i += i < 0 ? n : 0;
    if (i >= 0 && i < n) {
        *found = true;
        *out = object->type == LK_TPL_RANGE ? lk_value_int(range->start + i * range->step)
                                            : object->item[i];
    }
    return LK_OK;
}

static lk_status item_of(struct lk_tpl_run *r, const struct lk_value *object,
                         const struct lk_value *key, struct lk_value *out, bool *found)
{
    int64_t i;
    *found = false;
    switch (object->type) {
    case LK_TPL_UNDEFINED:
        return lk_tpl_fail_undefined(r, object);
    case LK_VALUE_LIST:
    case LK_VALUE_STRING:
    case LK_TPL_RANGE:
        return lk_tpl_is_int(key, &i) ? index_into(r, object, i, out, found) : LK_OK;
    case LK_VALUE_DICT: {
        const struct lk_value *value;
        if (!lk_tpl_hashable(key)) {
            return LK_OK;
        }
        lk_status status = lk_tpl_find_key(r, object, key, &value);
        *found = !status && value;
        *out = *found ? *value : *out;
        return status;
    }
    default:
        return LK_OK;
    }
}

/* ---- attributes ---- */

static bool named(const struct lk_value *name, const char *text)
{
    return lk_value_is(name, text);
}

/* Attributes that every object of Python has and no template may see. */
static bool is_hidden(const struct lk_value *name)
{
    static const char *const names[] = {"class",        "doc",
                                        "init",         "str",
                                        "repr",         "eq",
                                        "ne",           "lt",
                                        "le",           "gt",
                                        "ge",           "hash",
                                        "new",          "dir",
                                        "format",       "reduce",
                                        "sizeof",       "setattr",
                                        "delattr",      "reduce_ex",
                                        "getattribute", "len",
                                        "iter",         "getitem",
                                        "contains",     "add",
                                        "mul",          "mod",
                                        "call",         "dict",
                                        "globals",      "code",
                                        "func",         "self",
                                        "closure",      "module",
                                        "name",         "init_subclass",
                                        "subclasshook", "getstate",
                                        "html",         "bases",
                                        "mro",          "subclasses",
                                        "builtins",     "import",
                                        "wrapped",      "weakref",
                                        "slots",        "annotations",
                                        "qualname",     "defaults",
                                        "kwdefaults",   "or",
                                        "ror",          "ior",
                                        "reversed",     "setitem",
                                        "delitem",      "class_getitem"};
    if (name->n < 5 || memcmp(name->text, "__", 2) != 0 ||
        memcmp(name->text + name->n - 2, "__", 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        if (strlen(names[i]) == name->n - 4 && memcmp(names[i], name->text + 2, name->n - 4) == 0) {
            return true;
        }
    }
    return false;
}

static bool namespace_attribute(const struct lk_tpl_namespace *space, const struct lk_value *name,
                                struct lk_value *out)
{
    for (uint32_t i = 0; i < space->n; i++) {
        const struct lk_value *key = &space->member[i].key;
        if (key->n == name->n && memcmp(key->text, name->text, name->n) == 0) {
            *out = space->member[i].value;
            return true;
        }
    }
    return false;
}

static lk_status macro_attribute(struct lk_tpl_run *r, const struct lk_tpl_callable *c,
                                 const struct lk_value *name, struct lk_value *out, bool *found)
{
    const struct lk_tpl_macro *m = c->macro;
    *found = true;
    if (named(name, "name")) {
        *out = c->name;
    } else if (named(name, "catch_kwargs")) {
        *out = lk_value_bool(m->takes_kwargs);
    } else if (named(name, "catch_varargs")) {
        *out = lk_value_bool(m->takes_varargs);
    } else if (named(name, "caller")) {
        *out = lk_value_bool(m->takes_caller);
    } else if (named(name, "arguments")) {
        struct lk_value *names = lk_tpl_alloc(r, m->n_params, sizeof *names);
        if (!names) {
            return r->err->status;
        }
        for (uint32_t i = 0; i < m->n_params; i++) {
            names[i] = m->param[i].name;
        }
        *out = lk_tpl_list_of(names, m->n_params, LK_VALUE_TUPLE);
    } else {
        *found = false;
    }
    return LK_OK;
}

static bool range_attribute(const struct lk_tpl_range *range, const struct lk_value *name,
                            struct lk_value *out)
{
    *out = lk_value_int(named(name, "start")  ? range->start
                        : named(name, "stop") ? range->stop
                                              : range->step);
    return named(name, "start") || named(name, "stop") || named(name, "step");
}

static bool number_attribute(const struct lk_value *v, const struct lk_value *name,
                             struct lk_value *out)
{
    bool whole = v->type != LK_VALUE_FLOAT;
    int64_t i;
    *out = lk_tpl_is_int(v, &i) ? lk_value_int(i) : *v;
    if (named(name, "imag")) {
        *out = whole ? lk_value_int(0) : lk_value_real(0.0);
        return true;
    }
    if (whole && named(name, "denominator")) {
        *out = lk_value_int(1);
        return true;
    }
    return named(name, "real") || (whole && named(name, "numerator"));
}

/* The block of a template that `self.name` means. */
static bool block_attribute(const struct lk_tpl_run *r, const struct lk_value *name,
                            struct lk_value *out)
{
    for (const struct lk_tpl_block *b = r->t->blocks; b; b = b->next) {
        const struct lk_value *own = &b->node->value;
        if (own->n == name->n && memcmp(own->text, name->text, name->n) == 0) {
            *out = lk_tpl_object(LK_TPL_BLOCK, b);
            return true;
        }
    }
    return false;
}

/* Attributes that are no methods. */
static lk_status own_attribute(struct lk_tpl_run *r, const struct lk_value *object,
                               const struct lk_value *name, struct lk_value *out, bool *found)
{
    *found = false;
    switch (object->type) {
    case LK_VALUE_BOOL:
    case LK_VALUE_INT:
    case LK_VALUE_BIG:
    case LK_VALUE_FLOAT:
        *found = number_attribute(object, name, out);
        break;
    case LK_VALUE_LIST:
        if ((object->flags & LK_TPL_GROUP) && (named(name, "grouper") || named(name, "list"))) {
            *out = object->item[named(name, "list")];
            *found = true;
        }
        break;
    case LK_TPL_RANGE:
        *found = range_attribute(object->object, name, out);
        break;
    case LK_TPL_NAMESPACE:
        *found = namespace_attribute(object->object, name, out);
        break;
    case LK_TPL_CALLABLE:
        return macro_attribute(r, object->object, name, out, found);
    case LK_TPL_LOOP:
        return lk_tpl_loop_attribute(r, object, name, out, found);
    case LK_TPL_CYCLER: {
        const struct lk_tpl_cycler *c = object->object;
        *found = named(name, "current") || named(name, "pos") || named(name, "items");
        *out = named(name, "current") ? c->item[c->at]
               : named(name, "pos")   ? lk_value_int(c->at)
                                      : lk_tpl_list_of(c->item, c->n, LK_VALUE_TUPLE);
        break;
    }
    case LK_TPL_JOINER: {
        const struct lk_tpl_joiner *j = object->object;
        *found = named(name, "sep") || named(name, "used");
        *out = named(name, "sep") ? j->separator : lk_value_bool(j->used);
        break;
    }
    case LK_TPL_SELF:
        *found = block_attribute(r, name, out);
        break;
    default:
        break;
    }
    return LK_OK;
}

/* getattr of Python behind the sandbox; *found false where the object has none. */
static lk_status python_attribute(struct lk_tpl_run *r, const struct lk_value *object,
                                  const struct lk_value *name, struct lk_value *out, bool *found)
{
    lk_status status = own_attribute(r, object, name, out, found);
    if (status || *found) {
        return status;
    }
    int method = lk_tpl_find_method(object, name);
    if (method == LK_TPL_METHOD_HIDDEN || (object->type != LK_TPL_NAMESPACE && is_hidden(name))) {
        *out = lk_tpl_undefined_of(object, name);
        out->integer = (out->integer & ~0xFF) | UNDEFINED_UNSAFE;
        *found = true;
    } else if (method >= 0) {
        struct lk_tpl_method *bound = lk_tpl_alloc(r, 1, sizeof *bound);
        if (!bound) {
            return r->err->status;
        }
        *bound = (struct lk_tpl_method){*object, method};
        *out = lk_tpl_object(LK_TPL_METHOD, bound);
        *found = true;
    }
    return LK_OK;
}

lk_status lk_tpl_item(struct lk_tpl_run *r, const struct lk_value *object,
                      const struct lk_value *key, struct lk_value *out)
{
    const struct lk_value o = *object, k = *key; /* out may be one of them */
    bool found;
    lk_status status = item_of(r, &o, &k, out, &found);
    if (!status && !found && lk_tpl_is_text(&k)) {
        status = python_attribute(r, &o, &k, out, &found);
    }
    if (!status && !found) {
        *out = lk_tpl_undefined_of(&o, &k);
    }
    return status;
}

lk_status lk_tpl_attribute(struct lk_tpl_run *r, const struct lk_value *object,
                           const struct lk_value *name, struct lk_value *out)
{
    const struct lk_value o = *object, k = *name;
    bool found;
    if (o.type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, &o);
    }
    lk_status status = python_attribute(r, &o, &k, out, &found);
    if (!status && !found) {
        status = item_of(r, &o, &k, out, &found);
    }
    if (!status && !found) {
        *out = lk_tpl_undefined_of(&o, &k);
    }
    return status;
}

bool lk_tpl_has_attribute(struct lk_tpl_run *r, const struct lk_value *object,
                          const struct lk_value *name)
{
    struct lk_value ignored;
    bool found;
    return object->type != LK_TPL_UNDEFINED &&
           !python_attribute(r, object, name, &ignored, &found) && found;
}

/* ---- slices ---- */

static lk_status slice_bound(struct lk_tpl_run *r, const struct lk_value *v, int64_t fallback,
                             int64_t *out)
{
    *out = fallback;
    if (v && v->type == LK_VALUE_BIG) {
        *out = v->text[0] == '-' ? INT64_MIN : INT64_MAX;
        return LK_OK;
    }
    if (!v || v->type == LK_VALUE_NULL || lk_tpl_is_int(v, out)) {
        *out = !v || v->type == LK_VALUE_NULL ? fallback : *out;
        return LK_OK;
    }
    return lk_tpl_fail(r, "found a value of type %s, expected a whole number or none in a slice",
                       lk_tpl_type_name(v));
}

/* Bounds within n as Python cuts them to size; how many items lie between. */
static int64_t clip(int64_t n, int64_t *start, int64_t *stop, int64_t step)
{
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    int64_t *bounds[] = {start, stop};
    for (int i = 0; i < 2; i++) {
        int64_t b = *bounds[i];
        b = b < 0 ? (b < -n ? low : b + n) : b;
        *bounds[i] = b < low ? low : b > high ? high : b;
    }
    if (step < 0) {
        return *stop < *start ? (*start - *stop - 1) / -step + 1 : 0;
    }
    return *start < *stop ? (*stop - *start - 1) / step + 1 : 0;
}

static lk_status slice_list(struct lk_tpl_run *r, const struct lk_value *v, int64_t start,
                            int64_t step, int64_t n, struct lk_value *out)
{
    *out = *v;
    out->flags &= (uint8_t)~LK_TPL_GROUP;
    out->n = (uint32_t)n;
    if (step == 1 || n == 0) {
        out->item = n ? v->item + start : v->item;
        return LK_OK;
    }
    struct lk_value *items = lk_tpl_alloc(r, (size_t)n, sizeof *items);
    if (!items) {
        return r->err->status;
    }
    for (int64_t i = 0; i < n; i++) {
        items[i] = v->item[start + i * step];
    }
    out->item = items;
    return lk_tpl_work(r, (size_t)n / 16);
}

/* The byte where character `index` of a string begins, from a byte that is a character's too. */
static size_t byte_of(const struct lk_value *s, size_t from, int64_t characters)
{
    int32_t cp;
    for (; characters > 0 && from < s->n; characters--) {
        from += lk_char_next(s->text + from, s->n - from, &cp);
    }
    for (; characters < 0 && from > 0; characters++) {
        from = lk_char_back(s->text, from);
    }
    return from;
}

static lk_status slice_text(struct lk_tpl_run *r, const struct lk_value *s, int64_t start,
                            int64_t step, int64_t n, struct lk_value *out)
{
    size_t at = byte_of(s, 0, start), from = r->out->n;
    if (step == 1 || n == 0) {
        *out = lk_tpl_part(s, at, n ? byte_of(s, at, n) : at);
        return LK_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t cp;
        lk_text_put_part(r->out, s, at, at + lk_char_next(s->text + at, s->n - at, &cp));
        at = byte_of(s, at, step);
    }
    unsigned markup = s->flags & LK_VALUE_MARKUP;
    lk_status status = lk_tpl_cut(r, from, out);
    out->flags |= (uint8_t)markup;
    return status ? status : lk_tpl_work(r, s->n / LK_TPL_CHAR);
}

lk_status lk_tpl_slice(struct lk_tpl_run *r, const struct lk_value *object,
                       const struct lk_value *start, const struct lk_value *stop,
                       const struct lk_value *step, struct lk_value *out)
{
    int64_t n = 0, from = 0, to = 0, by = 1;
    lk_status status;
    if (object->type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, object);
    }
    if (object->type != LK_VALUE_LIST && object->type != LK_VALUE_STRING &&
        object->type != LK_TPL_RANGE) {
        return lk_tpl_fail(r, "found a value of type %s, expected one that can be sliced",
                           lk_tpl_type_name(object));
    }
    if ((status = lk_tpl_length(r, object, &n)) || (status = slice_bound(r, step, 1, &by)) ||
        (status = slice_bound(r, start, by < 0 ? INT64_MAX : 0, &from)) ||
        (status = slice_bound(r, stop, by < 0 ? INT64_MIN : INT64_MAX, &to))) {
        return status;
    }
    if (by == 0) {
        return lk_tpl_fail(r, "a slice with step 0");
    }
    by = by < -INT32_MAX ? -INT32_MAX : by > INT32_MAX ? INT32_MAX : by;
    int64_t count = clip(n, &from, &to, by);
    if (object->type == LK_VALUE_LIST) {
        return slice_list(r, object, from, by, count, out);
    }
    if (object->type == LK_VALUE_STRING) {
        return slice_text(r, object, from, by, count, out);
    }
    const struct lk_tpl_range *range = object->object;
    struct lk_tpl_range *part = lk_tpl_alloc(r, 1, sizeof *part);
    if (!part) {
        return r->err->status;
    }
    *part =
        (struct lk_tpl_range){range->start + from * range->step, range->start + to * range->step,
                              range->step * by, (uint32_t)count};
    *out = lk_tpl_object(LK_TPL_RANGE, part);
    return LK_OK;
}
