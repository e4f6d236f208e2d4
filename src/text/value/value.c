/* SPDX-License-Identifier: Apache-2.0
 *
 * Value: see value.h. Lists and dicts are built here; a dict with more than a few members gets an
 * order by key, so that neither lookups nor doubled keys take quadratic time, whatever the keys.
 */
#include "text/value/value.h"

#include "base/mem.h"

enum { FEW = 8 };

static int compare_keys(const struct lk_value *a, const char *text, size_t n)
{
    int c = memcmp(a->text, text, a->n < n ? a->n : n);
    return c ? c : (a->n > n) - (a->n < n);
}

const struct lk_value *lk_value_find(const struct lk_value *dict, const char *key, size_t len)
{
    if (!dict || dict->type != LK_VALUE_DICT) {
        return NULL;
    }
    const struct lk_member *m = dict->member;
    if (!dict->order) {
        for (uint32_t i = 0; i < dict->n; i++) {
            if (m[i].key.type == LK_VALUE_STRING && m[i].key.n == len &&
                memcmp(m[i].key.text, key, len) == 0) {
                return &m[i].value;
            }
        }
        return NULL;
    }
    for (uint32_t low = 0, high = dict->n; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        int c = compare_keys(&m[dict->order[middle]].key, key, len);
        if (c == 0) {
            return &m[dict->order[middle]].value;
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct lk_value *lk_value_get(const struct lk_value *dict, const char *key)
{
    return lk_value_find(dict, key, strlen(key));
}

/* Indices 0..n-1 by rising key, equal keys in their order; `work` has room for n. A merge sort: its
 * time has no bad case. */
static void sort_members(const struct lk_member *m, uint32_t *order, uint32_t *work, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin + width < n; begin += 2 * width) {
            size_t middle = begin + width, end = middle + width < n ? middle + width : n;
            size_t a = begin, b = middle;
            memcpy(work + begin, order + begin, (end - begin) * sizeof *order);
            for (size_t to = begin; to < end; to++) {
                bool left =
                    b == end || (a < middle && compare_keys(&m[work[a]].key, m[work[b]].key.text,
                                                            m[work[b]].key.n) <= 0);
                order[to] = left ? work[a++] : work[b++];
            }
        }
    }
}

static bool same_key(const struct lk_member *a, const struct lk_member *b)
{
    return a->key.n == b->key.n && memcmp(a->key.text, b->key.text, a->key.n) == 0;
}

/* Merges members of one key in a sorted dict; how many are left. */
static size_t merge_sorted(struct lk_member *m, const uint32_t *order, size_t n)
{
    size_t kept = 0;
    bool any = false;
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        for (; end < n && same_key(&m[order[i]], &m[order[end]]); end++) {
            m[order[end]].key.type = LK_VALUE_NULL; /* a mark: it goes */
        }
        m[order[i]].value = m[order[end - 1]].value;
        any |= end > i + 1;
        i = end;
    }
    for (size_t i = 0; any && i < n; i++) {
        if (m[i].key.type != LK_VALUE_NULL) {
            m[kept++] = m[i];
        }
    }
    return any ? kept : n;
}

static size_t merge_few(struct lk_member *m, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < kept && !same_key(&m[k], &m[i])) {
            k++;
        }
        if (k == kept) {
            m[kept++] = m[i];
        } else {
            m[k].value = m[i].value;
        }
    }
    return kept;
}

static lk_status too_many(const char *what, size_t n, lk_error *err)
{
    return lk_fail(err, LK_E_INVALID, "%s: found %zu items, expected at most %u", what, n,
                   UINT32_MAX);
}

lk_status lk_value_list(struct lk_region *region, const struct lk_value *items, size_t n,
                        const char *what, struct lk_value *out, lk_error *err)
{
    *out = (struct lk_value){.type = LK_VALUE_LIST, .n = (uint32_t)n};
    if (n > UINT32_MAX) {
        return too_many(what, n, err);
    }
    struct lk_value *copy = n ? lk_region_array(region, n, sizeof *copy) : NULL;
    if (n && !copy) {
        return lk_region_fail(region, what, err);
    }
    if (n) {
        memcpy(copy, items, n * sizeof *copy);
    }
    out->item = copy;
    return LK_OK;
}

lk_status lk_value_dict(struct lk_region *region, struct lk_member *members, size_t n,
                        const char *what, struct lk_value *out, lk_error *err)
{
    *out = (struct lk_value){.type = LK_VALUE_DICT};
    if (n > UINT32_MAX) {
        return too_many(what, n, err);
    }
    uint32_t *order = NULL;
    if (n <= FEW) {
        n = merge_few(members, n);
    } else {
        uint32_t *work = lk_alloc_array(n, sizeof *work);
        order = lk_region_array(region, n, sizeof *order);
        if (!order || !work) {
            lk_free(work);
            return order ? lk_fail(err, LK_E_NOMEM, "%s: out of memory", what)
                         : lk_region_fail(region, what, err);
        }
        sort_members(members, order, work, n);
        size_t kept = merge_sorted(members, order, n);
        if (kept < n) {
            n = kept;
            sort_members(members, order, work, n);
        }
        lk_free(work);
    }
    struct lk_member *copy = n ? lk_region_array(region, n, sizeof *copy) : NULL;
    if (n && !copy) {
        return lk_region_fail(region, what, err);
    }
    if (n) {
        memcpy(copy, members, n * sizeof *copy);
    }
    out->n = (uint32_t)n;
    out->order = order;
    out->member = copy;
    return LK_OK;
}
