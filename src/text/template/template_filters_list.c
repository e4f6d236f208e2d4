/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_filters_list: the filters that go through items.
 */
#include "text/template/template_run.h"

/* ---- keys to sort and to group by ---- */

/* Strings lose their case for comparisons that don't care about it. */
static lk_status without_case(struct lk_tpl_run *r, bool case_sensitive, struct lk_value *key)
{
    struct lk_value own = *key;
    return case_sensitive || !lk_tpl_is_text(key) ? LK_OK : lk_tpl_case(r, &own, CASING_LOWER, key);
}

static lk_status key_of(struct lk_tpl_run *r, const struct lk_value *item,
                        const struct lk_value *attribute, const struct lk_value *fallback,
                        bool case_sensitive, struct lk_value *key)
{
    lk_status status = lk_tpl_path(r, item, attribute, fallback, key);
    return status ? status : without_case(r, case_sensitive, key);
}

/* The key of sort: a list, for its attribute may be several with commas between them. */
static lk_status keys_of(struct lk_tpl_run *r, const struct lk_value *item,
                         const struct lk_value *attribute, bool case_sensitive,
                         struct lk_value *key)
{
    struct lk_tpl_items parts = {0};
    lk_status status = LK_OK;
    size_t n = lk_tpl_is_text(attribute) ? attribute->n : 0;
    for (size_t from = 0; from <= n && !status;) {
        const char *comma = n ? memchr(attribute->text + from, ',', n - from) : NULL;
        size_t to = comma ? (size_t)(comma - attribute->text) : n;
        struct lk_value one = n ? lk_tpl_part(attribute, from, to) : *attribute, found;
        status = key_of(r, item, &one, &lk_tpl_missing, case_sensitive, &found);
        status = status ? status : lk_tpl_add(r, &parts, &found);
        from = to + 1;
    }
    *key = lk_tpl_list_of(parts.item, parts.n, 0);
    return status;
}

/* A copy of the items that may be moved, and a key for each. */
static lk_status to_sort(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value **items,
                         struct lk_value **keys, size_t *n)
{
    struct lk_value list, copy;
    lk_status status = lk_tpl_listed(r, v, &list);
    if (status || (status = lk_tpl_make_list(r, list.item, list.n, 0, &copy))) {
        return status;
    }
    *n = copy.n;
    *items = (struct lk_value *)(uintptr_t)copy.item; /* ours until it is a result */
    *keys = lk_tpl_alloc(r, copy.n, sizeof **keys);
    return *keys ? LK_OK : r->err->status;
}

lk_status lk_tpl_filter_sort(LK_TPL_ARGUMENTS)
{
    struct lk_value *items = NULL, *keys = NULL;
    size_t n = 0;
    (void)call;
    lk_status status = to_sort(r, self, &items, &keys, &n);
    for (size_t i = 0; i < n && !status; i++) {
        status = keys_of(r, &items[i], &arg[2], lk_tpl_bool_arg(&arg[1], false), &keys[i]);
    }
    if (!status) {
        status = lk_tpl_sort(r, items, keys, n, lk_tpl_bool_arg(&arg[0], false));
    }
    *out = lk_tpl_list_of(items, n, 0);
    return status;
}

lk_status lk_tpl_filter_dictsort(LK_TPL_ARGUMENTS)
{
    struct lk_value *items = NULL, *keys = NULL, pairs;
    size_t n = 0;
    (void)call;
    bool by_value = lk_tpl_given(&arg[1]) && lk_value_is(&arg[1], "value");
    if (lk_tpl_given(&arg[1]) && !by_value && !lk_value_is(&arg[1], "key")) {
        return lk_tpl_fail(r, "dictsort: expected to sort by 'key' or 'value'");
    }
    if (self->type != LK_VALUE_DICT) {
        return self->type == LK_TPL_UNDEFINED ? lk_tpl_fail_undefined(r, self)
                                              : lk_tpl_fail(r, "dictsort: expected a dict");
    }
    pairs = *self;
    pairs.type = LK_TPL_VIEW;
    pairs.integer = VIEW_ITEMS;
    lk_status status = to_sort(r, &pairs, &items, &keys, &n);
    for (size_t i = 0; i < n && !status; i++) {
        keys[i] = items[i].item[by_value];
        status = without_case(r, lk_tpl_bool_arg(&arg[0], false), &keys[i]);
    }
    if (!status) {
        status = lk_tpl_sort(r, items, keys, n, lk_tpl_bool_arg(&arg[2], false));
    }
    *out = lk_tpl_list_of(items, n, 0);
    return status;
}

/* Items from..to of one key as a tuple of the key, as it was, and a list of them. */
static lk_status add_group(struct lk_tpl_run *r, struct lk_tpl_items *groups,
                           const struct lk_value *items, size_t from, size_t to,
                           const struct lk_value *arg)
{
    struct lk_value pair[2], tuple;
    lk_status status = lk_tpl_path(r, &items[from], &arg[0], &arg[1], &pair[0]);
    pair[1] = lk_tpl_list_of(items + from, to - from, 0);
    if (status || (status = lk_tpl_make_list(r, pair, 2, LK_VALUE_TUPLE | LK_TPL_GROUP, &tuple))) {
        return status;
    }
    return lk_tpl_add(r, groups, &tuple);
}

lk_status lk_tpl_filter_groupby(LK_TPL_ARGUMENTS)
{
    struct lk_value *items = NULL, *keys = NULL;
    struct lk_tpl_items groups = {0};
    size_t n = 0, from = 0;
    bool case_sensitive = lk_tpl_bool_arg(&arg[2], false);
    (void)call;
    lk_status status = to_sort(r, self, &items, &keys, &n);
    for (size_t i = 0; i < n && !status; i++) {
        status = key_of(r, &items[i], &arg[0], &arg[1], case_sensitive, &keys[i]);
    }
    if (status || (status = lk_tpl_sort(r, items, keys, n, false))) {
        return status;
    }
    for (size_t i = 0; i < n && !status; i++) { /* the items moved, their keys did not */
        status = key_of(r, &items[i], &arg[0], &arg[1], case_sensitive, &keys[i]);
    }
    for (size_t i = 1; i <= n && !status; i++) {
        bool equal = false;
        if (i < n) {
            status = lk_tpl_equal(r, &keys[i - 1], &keys[i], &equal);
        }
        if (!status && !equal) {
            status = add_group(r, &groups, items, from, i, arg);
            from = i;
        }
    }
    *out = lk_tpl_list_of(groups.item, groups.n, 0);
    return status;
}

static lk_status extreme(struct lk_tpl_run *r, const struct lk_value *self,
                         const struct lk_value *arg, bool most, struct lk_value *out)
{
    struct lk_tpl_iter iter;
    struct lk_value best_key = lk_tpl_missing;
    lk_status status = lk_tpl_iterate(r, self, &iter);
    *out = lk_tpl_undefined_hint("No aggregated item, sequence was empty.");
    while (!status) {
        struct lk_value item, key;
        bool found;
        int order = -1;
        if ((status = lk_tpl_take(r, &iter, &item, &found)) || !found ||
            (status = key_of(r, &item, &arg[1], &lk_tpl_missing, lk_tpl_bool_arg(&arg[0], false),
                             &key))) {
            break;
        }
        if (best_key.type != LK_TPL_MISSING) {
            status = most ? lk_tpl_order(r, &best_key, &key, &order)
                          : lk_tpl_order(r, &key, &best_key, &order);
        }
        if (!status && order < 0) {
            best_key = key;
            *out = item;
        }
    }
    return status;
}

lk_status lk_tpl_filter_min(LK_TPL_ARGUMENTS)
{
    (void)call;
    return extreme(r, self, arg, false, out);
}

lk_status lk_tpl_filter_max(LK_TPL_ARGUMENTS)
{
    (void)call;
    return extreme(r, self, arg, true, out);
}

/* ---- selections ---- */

/* A lazy iterator over `source` that looks at `attribute`, then asks a filter or test. */
static lk_status lazily(struct lk_tpl_run *r, enum lk_tpl_iter_kind kind,
                        const struct lk_value *source, struct lk_tpl_iter *iter,
                        struct lk_value *out)
{
    iter->kind = kind;
    iter->source = *source;
    return lk_tpl_iterator(r, iter, out);
}

static const struct lk_value *named_argument(const struct lk_tpl_call *call, const char *name)
{
    for (uint32_t i = 0; i < call->n_named; i++) {
        if (lk_value_is(&call->named[i].key, name)) {
            return &call->named[i].value;
        }
    }
    return NULL;
}

static lk_status unknown(struct lk_tpl_run *r, const char *what, const struct lk_value *name)
{
    return lk_tpl_is_text(name) ? lk_tpl_fail(r, "no %s has the name '%.*s'", what,
                                              (int)(name->n < 40 ? name->n : 40), name->text)
                                : lk_tpl_fail(r, "expected the name of a %s", what);
}

lk_status lk_tpl_filter_map(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter = {.attribute = lk_tpl_missing,
                               .fallback = lk_tpl_missing,
                               .builtin = -1};
    const struct lk_value *attribute = named_argument(call, "attribute");
    const struct lk_value *fallback = named_argument(call, "default");
    (void)arg;
    if (call->n == 0 && attribute) {
        if (call->n_named > 1u + (fallback != NULL)) {
            return lk_tpl_fail(r, "map: expected no more than 'attribute' and 'default'");
        }
        iter.attribute = *attribute;
        iter.fallback = fallback ? *fallback : lk_tpl_missing;
        return lazily(r, ITER_MAP, self, &iter, out);
    }
    if (call->n == 0) {
        return lk_tpl_fail(r, "map: expected a filter or an attribute");
    }
    iter.builtin = lk_tpl_is_text(&call->arg[0]) ? lk_tpl_find_filter(&call->arg[0]) : -1;
    if (iter.builtin < 0) {
        return unknown(r, "filter", &call->arg[0]);
    }
    iter.call = (struct lk_tpl_call){call->arg + 1, call->n - 1, call->named, call->n_named};
    return lazily(r, ITER_MAP, self, &iter, out);
}

static lk_status choose(struct lk_tpl_run *r, const struct lk_value *self,
                        const struct lk_tpl_call *call, bool by_attribute, bool negated,
                        struct lk_value *out)
{
    struct lk_tpl_iter iter = {.attribute = lk_tpl_missing,
                               .fallback = lk_tpl_missing,
                               .negated = negated,
                               .builtin = -1};
    struct lk_tpl_call rest = *call;
    if (by_attribute) {
        if (rest.n == 0) {
            return lk_tpl_fail(r, "expected the name of an attribute to select by");
        }
        iter.attribute = rest.arg[0];
        rest.arg++;
        rest.n--;
    }
    if (rest.n) {
        iter.builtin = lk_tpl_is_text(&rest.arg[0]) ? lk_tpl_find_test(&rest.arg[0]) : -1;
        if (iter.builtin < 0) {
            return unknown(r, "test", &rest.arg[0]);
        }
        rest.arg++;
        rest.n--;
        iter.call = rest;
    }
    return lazily(r, ITER_SELECT, self, &iter, out);
}

lk_status lk_tpl_filter_select(LK_TPL_ARGUMENTS)
{
    (void)arg;
    return choose(r, self, call, false, false, out);
}

lk_status lk_tpl_filter_reject(LK_TPL_ARGUMENTS)
{
    (void)arg;
    return choose(r, self, call, false, true, out);
}

lk_status lk_tpl_filter_selectattr(LK_TPL_ARGUMENTS)
{
    (void)arg;
    return choose(r, self, call, true, false, out);
}

lk_status lk_tpl_filter_rejectattr(LK_TPL_ARGUMENTS)
{
    (void)arg;
    return choose(r, self, call, true, true, out);
}

/* ---- items ---- */

lk_status lk_tpl_filter_first(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    bool found = false;
    (void)call, (void)arg;
    lk_status status = lk_tpl_iterate(r, self, &iter);
    if (!status) {
        status = lk_tpl_take(r, &iter, out, &found);
    }
    if (!status && !found) {
        *out = lk_tpl_undefined_hint("No first item, sequence was empty.");
    }
    return status;
}

/* An iterator from the end; *able false for what has no end to begin at. */
static lk_status reversed(struct lk_tpl_run *r, const struct lk_value *self,
                          struct lk_tpl_iter *iter, bool *able)
{
    *able = self->type != LK_TPL_ITERATOR;
    if (!*able) {
        return LK_OK;
    }
    lk_status status = lk_tpl_iterate(r, self, iter);
    if (!status && iter->kind != ITER_EMPTY) {
        iter->kind = ITER_REVERSED;
    }
    return status;
}

lk_status lk_tpl_filter_last(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    bool found = false, able;
    const struct lk_value back = lk_value_int(-1);
    (void)call, (void)arg;
    if (lk_tpl_is_text(self) && self->n) {
        return lk_tpl_item(r, self, &back, out);
    }
    lk_status status = reversed(r, self, &iter, &able);
    if (!status && !able) {
        return lk_tpl_fail(r, "last: a generator has no last item until it is a list");
    }
    if (!status && !lk_tpl_is_text(self)) {
        status = lk_tpl_take(r, &iter, out, &found);
    }
    if (!status && !found) {
        *out = lk_tpl_undefined_hint("No last item, sequence was empty.");
    }
    return status;
}

lk_status lk_tpl_filter_reverse(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    const struct lk_value back = lk_value_int(-1);
    struct lk_value list;
    bool able;
    (void)call, (void)arg;
    if (lk_tpl_is_text(self)) {
        return lk_tpl_slice(r, self, NULL, NULL, &back, out);
    }
    lk_status status = reversed(r, self, &iter, &able);
    if (status || able) {
        return status ? status : lk_tpl_iterator(r, &iter, out);
    }
    status = lk_tpl_listed(r, self, &list);
    return status ? status : lk_tpl_slice(r, &list, NULL, NULL, &back, out);
}

lk_status lk_tpl_filter_list(LK_TPL_ARGUMENTS)
{
    (void)call, (void)arg;
    return lk_tpl_listed(r, self, out);
}

lk_status lk_tpl_filter_items(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    struct lk_value view = *self;
    (void)call, (void)arg;
    if (self->type != LK_TPL_UNDEFINED && self->type != LK_VALUE_DICT) {
        return lk_tpl_fail(r, "items: found a value of type %s, expected a dict",
                           lk_tpl_type_name(self));
    }
    if (self->type == LK_VALUE_DICT) {
        view.type = LK_TPL_VIEW;
        view.integer = VIEW_ITEMS;
    }
    lk_status status = lk_tpl_iterate(r, &view, &iter);
    return status ? status : lk_tpl_iterator(r, &iter, out);
}

/* An iterator that is used up, over a list. */
static lk_status once(struct lk_tpl_run *r, const struct lk_tpl_items *items, struct lk_value *out)
{
    struct lk_tpl_iter iter;
    struct lk_value list = lk_tpl_list_of(items->item, items->n, 0);
    lk_status status = lk_tpl_iterate(r, &list, &iter);
    return status ? status : lk_tpl_iterator(r, &iter, out);
}

lk_status lk_tpl_filter_unique(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    struct lk_tpl_items kept = {0}, keys = {0};
    (void)call;
    lk_status status = lk_tpl_iterate(r, self, &iter);
    while (!status) {
        struct lk_value item, key, seen;
        bool found, again = false;
        if ((status = lk_tpl_take(r, &iter, &item, &found)) || !found ||
            (status = key_of(r, &item, &arg[1], &lk_tpl_missing, lk_tpl_bool_arg(&arg[0], false),
                             &key))) {
            break;
        }
        if (!lk_tpl_hashable(&key)) {
            return lk_tpl_fail(r, "unique: a value of type %s can't be told apart by its hash",
                               lk_tpl_type_name(&key));
        }
        seen = lk_tpl_list_of(keys.item, keys.n, 0);
        if (!(status = lk_tpl_contains(r, &seen, &key, &again)) && !again &&
            !(status = lk_tpl_add(r, &keys, &key))) {
            status = lk_tpl_add(r, &kept, &item);
        }
    }
    return status ? status : once(r, &kept, out);
}

/* A list of items from..to, filled up to `size` with `fill` unless that is none. */
static lk_status add_row(struct lk_tpl_run *r, struct lk_tpl_items *rows,
                         const struct lk_value *items, size_t n, size_t size,
                         const struct lk_value *fill)
{
    struct lk_tpl_items row = {0};
    bool fills = lk_tpl_given(fill) && fill->type != LK_VALUE_NULL;
    lk_status status = LK_OK;
    for (size_t i = 0; i < (fills && size > n ? size : n) && !status; i++) {
        status = lk_tpl_add(r, &row, i < n ? &items[i] : fill);
    }
    struct lk_value list = lk_tpl_list_of(row.item, row.n, 0);
    status = status ? status : lk_tpl_work(r, row.n / 4);
    return status ? status : lk_tpl_add(r, rows, &list);
}

lk_status lk_tpl_filter_batch(LK_TPL_ARGUMENTS)
{
    struct lk_value list;
    struct lk_tpl_items rows = {0};
    int64_t size = 0;
    (void)call;
    lk_status status = lk_tpl_int_arg(r, &arg[0], "batch: the size", &size);
    if (!status) {
        status = lk_tpl_listed(r, self, &list);
    }
    if (!status && size <= 0) { /* Python: an empty row before all the items */
        return lk_tpl_fail(r, "batch: found the size %lld, expected at least 1", (long long)size);
    }
    for (size_t at = 0; !status && at < list.n; at += (size_t)size) {
        size_t left = list.n - at;
        status = add_row(r, &rows, list.item + at, left < (size_t)size ? left : (size_t)size,
                         (size_t)size, &arg[1]);
    }
    return status ? status : once(r, &rows, out);
}

lk_status lk_tpl_filter_slice(LK_TPL_ARGUMENTS)
{
    struct lk_value list;
    struct lk_tpl_items rows = {0};
    int64_t slices = 0;
    (void)call;
    lk_status status = lk_tpl_int_arg(r, &arg[0], "slice: the number", &slices);
    if (!status) {
        status = lk_tpl_listed(r, self, &list);
    }
    if (!status && (slices <= 0 || slices > LK_TPL_RANGE_MAX)) {
        return lk_tpl_fail(r, "slice: found %lld slices, expected 1 to %d", (long long)slices,
                           LK_TPL_RANGE_MAX);
    }
    size_t at = 0;
    for (int64_t i = 0; !status && i < slices; i++) {
        size_t small = list.n / (size_t)slices;
        bool larger = i < (int64_t)(list.n % (size_t)slices);
        size_t n = small + larger;
        status = add_row(r, &rows, list.item + at, n, larger ? n : small + 1, &arg[1]);
        at += n;
    }
    return status ? status : once(r, &rows, out);
}

lk_status lk_tpl_filter_sum(LK_TPL_ARGUMENTS)
{
    struct lk_tpl_iter iter;
    struct lk_value sum = lk_tpl_given(&arg[1]) ? arg[1] : lk_value_int(0);
    (void)call;
    lk_status status = lk_tpl_iterate(r, self, &iter);
    if (!status && lk_tpl_is_text(&sum)) {
        return lk_tpl_fail(r, "sum: strings are joined, not summed up");
    }
    while (!status) {
        struct lk_value item, term;
        bool found;
        if ((status = lk_tpl_take(r, &iter, &item, &found)) || !found ||
            (status = lk_tpl_path(r, &item, &arg[0], &lk_tpl_missing, &term))) {
            break;
        }
        struct lk_value before = sum;
        status = lk_tpl_binary(r, OP_ADD, &before, &term, &sum);
    }
    *out = sum;
    return status;
}

lk_status lk_tpl_filter_attr(LK_TPL_ARGUMENTS)
{
    (void)call;
    if (lk_tpl_is_text(&arg[0]) && lk_tpl_has_attribute(r, self, &arg[0])) {
        return lk_tpl_attribute(r, self, &arg[0], out);
    }
    *out = lk_tpl_undefined_of(self, &arg[0]);
    return LK_OK;
}
