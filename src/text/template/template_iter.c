/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_iter: iteration. What Python makes lazily (map, select and their kind) is lazy here too,
 * for templates can tell: such a value is true, has no length, and is used up by its first reader.
 */
#include "text/template/template_run.h"

#include "text/template/unicode.h"

/* ---- paths of attributes ---- */

static lk_status path_step(struct lk_tpl_run *r, const struct lk_value *part,
                           const struct lk_value *fallback, struct lk_value *item)
{
    lk_status status = lk_tpl_item(r, item, part, item);
    if (!status && item->type == LK_TPL_UNDEFINED && fallback->type != LK_TPL_MISSING &&
        fallback->type != LK_VALUE_NULL) {
        *item = *fallback;
    }
    return status;
}

/* A part of a path: digits are a number. */
static struct lk_value part_of(const struct lk_value *path, size_t from, size_t to)
{
    int64_t number = 0;
    bool digits = to > from && to - from < 19;
    for (size_t i = from; i < to && digits; i++) {
        digits = path->text[i] >= '0' && path->text[i] <= '9';
        number = digits ? number * 10 + (path->text[i] - '0') : 0;
    }
    return digits ? lk_value_int(number) : lk_tpl_part(path, from, to);
}

lk_status lk_tpl_path(struct lk_tpl_run *r, const struct lk_value *item,
                      const struct lk_value *attribute, const struct lk_value *fallback,
                      struct lk_value *out)
{
    *out = *item;
    if (attribute->type == LK_VALUE_NULL || attribute->type == LK_TPL_MISSING) {
        return LK_OK;
    }
    if (!lk_tpl_is_text(attribute)) {
        return path_step(r, attribute, fallback, out);
    }
    for (size_t from = 0; from <= attribute->n;) {
        const char *point =
            from < attribute->n ? memchr(attribute->text + from, '.', attribute->n - from) : NULL;
        size_t to = point ? (size_t)(point - attribute->text) : attribute->n;
        struct lk_value part = part_of(attribute, from, to);
        lk_status status = path_step(r, &part, fallback, out);
        if (status) {
            return status;
        }
        from = to + 1;
    }
    return LK_OK;
}

/* ---- iterators ---- */

bool lk_tpl_iterable(const struct lk_value *v)
{
    switch (v->type) {
    case LK_VALUE_STRING:
    case LK_VALUE_LIST:
    case LK_VALUE_DICT:
    case LK_TPL_UNDEFINED:
    case LK_TPL_RANGE:
    case LK_TPL_VIEW:
    case LK_TPL_ITERATOR:
        return true;
    default:
        return false;
    }
}

lk_status lk_tpl_iterate(struct lk_tpl_run *r, const struct lk_value *v, struct lk_tpl_iter *iter)
{
    *iter = (struct lk_tpl_iter){.source = *v,
                                 .attribute = lk_tpl_missing,
                                 .fallback = lk_tpl_missing,
                                 .builtin = -1};
    switch (v->type) {
    case LK_VALUE_STRING:
        iter->kind = ITER_TEXT;
        break;
    case LK_VALUE_LIST:
        iter->kind = ITER_LIST;
        break;
    case LK_VALUE_DICT:
        iter->kind = ITER_VIEW;
        iter->source.integer = VIEW_KEYS;
        break;
    case LK_TPL_VIEW:
        iter->kind = ITER_VIEW;
        break;
    case LK_TPL_UNDEFINED:
        iter->kind = ITER_EMPTY;
        break;
    case LK_TPL_RANGE:
        iter->kind = ITER_RANGE;
        break;
    case LK_TPL_ITERATOR:
        iter->kind = ITER_SHARED;
        break;
    default:
        return lk_tpl_fail(r, "found a value of type %s, expected one to go through",
                           lk_tpl_type_name(v));
    }
    return LK_OK;
}

bool lk_tpl_iter_makes(const struct lk_tpl_iter *iter)
{
    return iter->kind >= ITER_SHARED; /* a pair of a view lies in the dict as it is */
}

/* A member as its view shows it; a pair is a tuple of what lies side by side in the member. */
static struct lk_value view_item(const struct lk_value *view, uint32_t i)
{
    const struct lk_member *m = &view->member[i];
    return view->integer == VIEW_KEYS     ? m->key
           : view->integer == VIEW_VALUES ? m->value
                                          : lk_tpl_list_of(&m->key, 2, LK_VALUE_TUPLE);
}

static struct lk_value nth(const struct lk_value *source, uint32_t i)
{
    const struct lk_tpl_range *range = source->object;
    return source->type == LK_VALUE_LIST  ? source->item[i]
           : source->type == LK_TPL_RANGE ? lk_value_int(range->start + range->step * (int64_t)i)
                                          : view_item(source, i);
}

static uint32_t size_of(const struct lk_value *source)
{
    return source->type == LK_TPL_RANGE ? ((const struct lk_tpl_range *)source->object)->n
                                        : source->n;
}

static lk_status mapped(struct lk_tpl_run *r, struct lk_tpl_iter *iter, struct lk_value *item)
{
    struct lk_value v = *item;
    return iter->builtin >= 0 ? lk_tpl_filter(r, iter->builtin, &v, &iter->call, item)
                              : lk_tpl_path(r, &v, &iter->attribute, &iter->fallback, item);
}

static lk_status selected(struct lk_tpl_run *r, struct lk_tpl_iter *iter,
                          const struct lk_value *item, bool *yes)
{
    struct lk_value v = *item;
    lk_status status = lk_tpl_path(r, item, &iter->attribute, &lk_tpl_missing, &v);
    if (status) {
        return status;
    }
    if (iter->builtin >= 0) {
        status = lk_tpl_test(r, iter->builtin, &v, &iter->call, yes);
    } else {
        *yes = lk_tpl_truth(&v);
    }
    *yes = *yes != iter->negated;
    return status;
}

/* The first look at the source: what is not true has no items, whatever it is. */
static lk_status begin(struct lk_tpl_run *r, struct lk_tpl_iter *iter)
{
    const struct lk_value nothing = lk_tpl_undefined_hint("");
    iter->inner = lk_tpl_alloc(r, 1, sizeof *iter->inner);
    r->escapes++;
    return iter->inner ? lk_tpl_iterate(r, lk_tpl_truth(&iter->source) ? &iter->source : &nothing,
                                        iter->inner)
                       : r->err->status;
}

static lk_status take_lazily(struct lk_tpl_run *r, struct lk_tpl_iter *iter, struct lk_value *item,
                             bool *found)
{
    lk_status status = iter->inner ? LK_OK : begin(r, iter);
    while (!status) {
        bool yes = true;
        if ((status = lk_tpl_take(r, iter->inner, item, found)) || !*found) {
            break;
        }
        status = iter->kind == ITER_MAP ? mapped(r, iter, item) : selected(r, iter, item, &yes);
        if (yes) {
            break;
        }
    }
    return status;
}

lk_status lk_tpl_take(struct lk_tpl_run *r, struct lk_tpl_iter *iter, struct lk_value *item,
                      bool *found)
{
    int32_t cp;
    lk_status status = lk_tpl_deeper(r);
    *found = false;
    if (status) {
        return status;
    }
    switch (iter->kind) {
    case ITER_EMPTY:
        break;
    case ITER_TEXT:
        *found = iter->at < iter->source.n;
        if (*found) {
            size_t n = lk_char_next(iter->source.text + iter->at, iter->source.n - iter->at, &cp);
            *item = lk_tpl_part(&iter->source, iter->at, iter->at + n);
            item->flags &= (uint8_t)~LK_VALUE_MARKUP;
            iter->at += (uint32_t)n;
        }
        break;
    case ITER_LIST:
    case ITER_VIEW:
    case ITER_RANGE:
    case ITER_REVERSED: {
        uint32_t n = size_of(&iter->source);
        *found = iter->at < n;
        if (*found) {
            *item = nth(&iter->source, iter->kind == ITER_REVERSED ? n - 1 - iter->at : iter->at);
            iter->at++;
        }
        break;
    }
    case ITER_SHARED: /* its state is older than this turn of a loop */
        r->escapes++;
        status = lk_tpl_take(r, (struct lk_tpl_iter *)(uintptr_t)iter->source.object, item, found);
        break;
    case ITER_MAP:
    case ITER_SELECT:
        status = take_lazily(r, iter, item, found);
        break;
    }
    r->depth--;
    return status;
}

lk_status lk_tpl_iterator(struct lk_tpl_run *r, const struct lk_tpl_iter *iter,
                          struct lk_value *out)
{
    struct lk_tpl_iter *copy = lk_tpl_alloc(r, 1, sizeof *copy);
    if (!copy) {
        return r->err->status;
    }
    *copy = *iter;
    *out = lk_tpl_object(LK_TPL_ITERATOR, copy);
    return LK_OK;
}

/* ---- lists out of them ---- */

lk_status lk_tpl_add(struct lk_tpl_run *r, struct lk_tpl_items *items, const struct lk_value *v)
{
    if (items->n == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 8;
        struct lk_value *grown = lk_tpl_alloc(r, cap, sizeof *grown);
        if (!grown) {
            return r->err->status;
        }
        if (items->n) {
            memcpy(grown, items->item, items->n * sizeof *grown);
        }
        items->item = grown;
        items->cap = cap;
    }
    items->item[items->n++] = *v;
    return LK_OK;
}

lk_status lk_tpl_listed(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out)
{
    struct lk_tpl_iter iter;
    struct lk_tpl_items items = {0};
    if (v->type == LK_VALUE_LIST) {
        *out = *v;
        out->flags &= (uint8_t) ~(LK_VALUE_TUPLE | LK_TPL_GROUP);
        return LK_OK;
    }
    lk_status status = lk_tpl_iterate(r, v, &iter);
    while (!status) {
        struct lk_value item;
        bool found;
        if ((status = lk_tpl_take(r, &iter, &item, &found)) || !found) {
            break;
        }
        status = lk_tpl_add(r, &items, &item);
    }
    *out = lk_tpl_list_of(items.item, items.n, 0);
    return status;
}

/* ---- sorting ---- */

/* Merges two runs of `from` into `to`; equal ones keep their order. With `reverse` the larger ones
 * come first. */
static lk_status merge(struct lk_tpl_run *r, const struct lk_value *keys, const uint32_t *from,
                       uint32_t *to, size_t begin, size_t middle, size_t end, bool reverse)
{
    size_t a = begin, b = middle;
    for (size_t i = begin; i < end; i++) {
        int order = 0;
        if (a < middle && b < end) {
            const struct lk_value *x = &keys[from[a]], *y = &keys[from[b]];
            lk_status status =
                reverse ? lk_tpl_order(r, x, y, &order) : lk_tpl_order(r, y, x, &order);
            if (status) {
                return status;
            }
        }
        to[i] = a < middle && (b == end || order >= 0) ? from[a++] : from[b++];
    }
    return LK_OK;
}

lk_status lk_tpl_sort(struct lk_tpl_run *r, struct lk_value *items, struct lk_value *keys, size_t n,
                      bool reverse)
{
    uint32_t *order = lk_tpl_alloc(r, 2 * n, sizeof *order), *other = order ? order + n : NULL;
    struct lk_value *sorted = order ? lk_tpl_alloc(r, n, sizeof *sorted) : NULL;
    if (!sorted) {
        return r->err->status;
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width) {
            size_t middle = begin + width < n ? begin + width : n;
            size_t end = begin + 2 * width < n ? begin + 2 * width : n;
            lk_status status = merge(r, keys, order, other, begin, middle, end, reverse);
            if (status) {
                return status;
            }
        }
        uint32_t *swap = order;
        order = other;
        other = swap;
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = items[order[i]];
    }
    if (n) {
        memcpy(items, sorted, n * sizeof *items);
    }
    return LK_OK;
}
