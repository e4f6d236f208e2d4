/* SPDX-License-Identifier: Apache-2.0
 *
 * Expr_derive: derivatives of regular expressions by bytes, and the search for a string.
 * Derivatives are kept by class of bytes in the store's `next`.
 */
#include "text/grammar/expr.h"

enum {
    MAX_DEPTH = 1000,
    MAX_SEARCH = 1 << 16 /* derivatives of one search */
};

enum { LIVE_YES = 1, LIVE_NO, LIVE_TOO_LONG };

static bool enter(struct lk_exprs *x)
{
    if (x->depth >= MAX_DEPTH) {
        lk_exprs_fail(x, LK_E_UNSUPPORTED, "nests too deeply");
    }
    if (x->status) {
        return false;
    }
    x->depth++;
    return true;
}

/* ---- partitions ---- */

/* The number of the partition with this map; classes numbered by first bytes. */
static uint32_t intern_partition(struct lk_exprs *x, const uint8_t map[256])
{
    uint32_t hash = lk_hash_bytes(1, map, 256), id;
    for (size_t at = hash; lk_slots_next(&x->partitions, hash, &at, &id);) {
        if (memcmp(x->partition[id].of, map, 256) == 0) {
            return id;
        }
    }
    id = (uint32_t)x->n_partitions;
    if (!lk_exprs_room(x, &x->partition, &x->partitions_cap, id + 1, sizeof *x->partition) ||
        !lk_exprs_index(x, &x->partitions, hash, id)) {
        return 0;
    }
    struct lk_partition *p = &x->partition[x->n_partitions++];
    memcpy(p->of, map, 256);
    p->n = 0;
    for (int b = 0; b < 256; b++) {
        if (map[b] == p->n) {
            p->first[p->n++] = (uint8_t)b;
        }
    }
    return id;
}

uint32_t lk_partition_refine(struct lk_exprs *x, uint32_t p, uint32_t q)
{
    if (p == q || x->status) {
        return p;
    }
    const struct lk_partition *a = &x->partition[p], *b = &x->partition[q];
    if (a->n == 1 || b->n == 1) {
        return a->n == 1 ? q : p;
    }
    uint8_t map[256];
    uint8_t first[256]; /* byte by class of the finer one */
    uint32_t n = 0;
    for (int i = 0; i < 256; i++) {
        uint32_t c = 0;
        while (c < n && (a->of[first[c]] != a->of[i] || b->of[first[c]] != b->of[i])) {
            c++;
        }
        if (c == n) {
            first[n++] = (uint8_t)i;
        }
        map[i] = (uint8_t)c;
    }
    return intern_partition(x, map);
}

static uint32_t partition_of_set(struct lk_exprs *x, const struct lk_byte_set *set)
{
    uint8_t map[256];
    bool first = lk_byte_set_has(set, 0);
    for (unsigned b = 0; b < 256; b++) {
        map[b] = lk_byte_set_has(set, b) != first;
    }
    return intern_partition(x, map);
}

static uint32_t partition_of_digits(struct lk_exprs *x)
{
    uint8_t map[256] = {0};
    map['.'] = 1;
    for (uint8_t d = 0; d < 10; d++) {
        map['0' + d] = 2 + d;
    }
    return intern_partition(x, map);
}

static uint32_t partition_of_none(struct lk_exprs *x)
{
    static const uint8_t map[256];
    return intern_partition(x, map);
}

static uint32_t make_partition(struct lk_exprs *x, uint32_t e)
{
    struct lk_expr_node m = x->node[e];
    uint32_t p;
    switch (m.kind) {
    case LK_KIND_SET:
        return partition_of_set(x, &x->set[m.a]);
    case LK_KIND_CAT: /* a long row of optional parts is no deep nest */
        p = lk_expr_partition(x, m.a);
        while (lk_expr_has(x, m.a, LK_EXPR_NULLABLE) && !x->status) {
            e = m.b;
            m = x->node[e];
            if (m.kind != LK_KIND_CAT || m.partition) {
                return lk_partition_refine(x, p, lk_expr_partition(x, e));
            }
            p = lk_partition_refine(x, p, lk_expr_partition(x, m.a));
        }
        return p;
    case LK_KIND_ALT:
    case LK_KIND_AND:
        p = lk_expr_partition(x, x->kid[m.a]);
        for (uint32_t i = 1; i < m.b; i++) {
            p = lk_partition_refine(x, p, lk_expr_partition(x, x->kid[m.a + i]));
        }
        return p;
    case LK_KIND_NOT:
    case LK_KIND_REPEAT:
        return lk_expr_partition(x, m.a);
    case LK_KIND_MULTIPLE:
        return partition_of_digits(x);
    default:
        return partition_of_none(x);
    }
}

uint32_t lk_expr_partition(struct lk_exprs *x, uint32_t e)
{
    if (x->node[e].partition) {
        return x->node[e].partition - 1;
    }
    if (!enter(x)) {
        return 0;
    }
    uint32_t p = make_partition(x, e);
    x->depth--;
    if (!x->status) {
        x->node[e].partition = p + 1;
    }
    return p;
}

/* ---- derivatives ---- */

static uint32_t derive_multiple(struct lk_exprs *x, uint32_t e, unsigned byte)
{
    struct lk_expr_node m = x->node[e];
    if (byte == '.' && m.min == LK_NO_LIMIT && m.max > 0) {
        m.min = m.max;
    } else if (byte < '0' || byte > '9' || (m.min == 0 && byte != '0')) {
        return LK_EXPR_NONE;
    } else if (m.min > 0) {
        m.b = (uint32_t)(((uint64_t)m.b * 10 + (byte - '0')) % m.a);
        m.min -= m.min != LK_NO_LIMIT;
    }
    return lk_expr_multiple_rest(x, m.a, m.b, m.min, m.max);
}

/* Pushes alternatives that together are the derivative of e. */
static void derive_into(struct lk_exprs *x, uint32_t e, unsigned byte)
{
    while (!x->status) {
        struct lk_expr_node m = x->node[e];
        uint32_t d;
        size_t from;
        switch (m.kind) {
        case LK_KIND_SET:
            lk_expr_push(x, lk_byte_set_has(&x->set[m.a], byte) ? LK_EXPR_EMPTY : LK_EXPR_NONE);
            return;
        case LK_KIND_CAT:
            d = lk_expr_derive(x, m.a, byte);
            lk_expr_push(x, lk_expr_cat(x, d, m.b));
            if (!lk_expr_has(x, m.a, LK_EXPR_NULLABLE)) {
                return;
            }
            e = m.b;
            break;
        case LK_KIND_ALT:
            for (uint32_t i = 0; i < m.b; i++) {
                d = lk_expr_derive(x, x->kid[m.a + i], byte);
                lk_expr_push(x, d);
            }
            return;
        case LK_KIND_AND:
            from = lk_expr_list(x);
            for (uint32_t i = 0; i < m.b; i++) {
                d = lk_expr_derive(x, x->kid[m.a + i], byte);
                lk_expr_push(x, d);
            }
            d = lk_expr_and_of(x, from);
            lk_expr_push(x, d);
            return;
        case LK_KIND_NOT:
            d = lk_expr_derive(x, m.a, byte);
            lk_expr_push(x, lk_expr_not(x, d));
            return;
        case LK_KIND_REPEAT:
            d = lk_expr_derive(x, m.a, byte);
            e = lk_expr_repeat(x, m.a, m.min ? m.min - 1 : 0,
                               m.max == LK_NO_LIMIT ? LK_NO_LIMIT : m.max - 1);
            lk_expr_push(x, lk_expr_cat(x, d, e));
            return;
        case LK_KIND_MULTIPLE:
            lk_expr_push(x, derive_multiple(x, e, byte));
            return;
        default:
            return;
        }
    }
}

/* Where the derivatives of e lie in x->next, one for each class. */
static bool make_room(struct lk_exprs *x, uint32_t e, uint32_t n_classes)
{
    if (!lk_exprs_room(x, &x->next, &x->next_cap, x->n_next + n_classes, sizeof *x->next)) {
        return false;
    }
    x->node[e].next = (uint32_t)x->n_next + 1;
    x->n_next += n_classes;
    return true;
}

uint32_t lk_expr_derive(struct lk_exprs *x, uint32_t e, unsigned byte)
{
    uint8_t kind = x->node[e].kind;
    if (kind == LK_KIND_NONE || kind == LK_KIND_EMPTY) {
        return LK_EXPR_NONE;
    }
    if (kind == LK_KIND_SET) {
        return lk_byte_set_has(&x->set[x->node[e].a], byte) ? LK_EXPR_EMPTY : LK_EXPR_NONE;
    }
    uint32_t p = lk_expr_partition(x, e);
    if (x->status || (!x->node[e].next && !make_room(x, e, x->partition[p].n))) {
        return LK_EXPR_NONE;
    }
    size_t at = x->node[e].next - 1 + x->partition[p].of[byte];
    if (x->next[at]) {
        return x->next[at] - 1;
    }
    if (!enter(x)) {
        return LK_EXPR_NONE;
    }
    size_t from = lk_expr_list(x);
    derive_into(x, e, byte);
    uint32_t d = lk_expr_alt_of(x, from);
    x->depth--;
    if (x->status) {
        return LK_EXPR_NONE;
    }
    x->next[at] = d + 1;
    return d;
}

bool lk_expr_matches(struct lk_exprs *x, uint32_t e, const char *text, size_t n)
{
    for (size_t i = 0; i < n && e != LK_EXPR_NONE; i++) {
        e = lk_expr_derive(x, e, (unsigned char)text[i]);
    }
    return !x->status && lk_expr_has(x, e, LK_EXPR_NULLABLE);
}

/* ---- is there a string ---- */

/* Notes on the way from the root of a search to e that there is one. */
static void note_live(struct lk_exprs *x, uint32_t e, uint32_t root)
{
    for (;; e = x->node[e].parent) {
        x->node[e].live = LIVE_YES;
        if (e == root) {
            return;
        }
    }
}

/* Breadth first, so that the nearest string is found first. What is dead has only dead ones behind
 * it. The store's work list is the queue. */
static void search(struct lk_exprs *x, uint32_t root)
{
    size_t from = lk_expr_list(x), steps = 0;
    uint32_t mark = ++x->mark;
    uint8_t found = 0;
    lk_expr_push(x, root);
    x->node[root].mark = mark;
    for (size_t at = from; at < x->n_work && !found && !x->status; at++) {
        uint32_t e = x->work[at];
        if (lk_expr_has(x, e, LK_EXPR_NULLABLE) || !lk_expr_has(x, e, LK_EXPR_SEARCHED)) {
            note_live(x, e, root);
            found = LIVE_YES;
        }
        uint32_t p = lk_expr_partition(x, e);
        for (uint32_t c = 0; c < x->partition[p].n && !found && !x->status; c++) {
            uint32_t d = lk_expr_derive(x, e, x->partition[p].first[c]);
            if (++steps > MAX_SEARCH) {
                found = LIVE_TOO_LONG;
            } else if (d != LK_EXPR_NONE && x->node[d].mark != mark && x->node[d].live != LIVE_NO) {
                x->node[d].mark = mark;
                x->node[d].parent = e;
                lk_expr_push(x, d);
                if (x->node[d].live == LIVE_YES) {
                    note_live(x, d, root);
                    found = LIVE_YES;
                }
            }
        }
    }
    if (!x->status && found != LIVE_YES) {
        for (size_t i = from; i < x->n_work && !found; i++) {
            x->node[x->work[i]].live = LIVE_NO;
        }
        x->node[root].live = found ? found : LIVE_NO;
    }
    x->n_work = from < x->n_work ? from : x->n_work;
}

/* Marks the nodes of a row of sequences, from the last known one back to e. */
static bool row_is_live(struct lk_exprs *x, uint32_t e)
{
    size_t from = lk_expr_list(x);
    for (; x->node[e].kind == LK_KIND_CAT && !x->node[e].live && !x->status; e = x->node[e].b) {
        lk_expr_push(x, e);
    }
    bool live = lk_expr_is_live(x, e);
    while (x->n_work > from && !x->status) {
        e = x->work[--x->n_work];
        live = live && lk_expr_is_live(x, x->node[e].a);
        if (!x->status) {
            x->node[e].live = live ? LIVE_YES : LIVE_NO;
        }
    }
    x->n_work = from < x->n_work ? from : x->n_work;
    return live;
}

/* A sequence has a string when all its parts do, and so on; the rest is searched. */
static bool parts_are_live(struct lk_exprs *x, uint32_t e)
{
    struct lk_expr_node m = x->node[e];
    bool any = false;
    switch (m.kind) {
    case LK_KIND_CAT:
        return row_is_live(x, e);
    case LK_KIND_ALT:
        for (uint32_t i = 0; i < m.b && !any; i++) {
            any = lk_expr_is_live(x, x->kid[m.a + i]);
        }
        return any;
    case LK_KIND_REPEAT:
        return m.min == 0 || lk_expr_is_live(x, m.a);
    default:
        search(x, e);
        return x->node[e].live == LIVE_YES;
    }
}

bool lk_expr_is_live(struct lk_exprs *x, uint32_t e)
{
    if (!lk_expr_has(x, e, LK_EXPR_SEARCHED)) {
        return !x->status && e != LK_EXPR_NONE;
    }
    if (!x->node[e].live && enter(x)) {
        bool live = parts_are_live(x, e);
        x->depth--;
        if (!x->status && !x->node[e].live) {
            x->node[e].live = live ? LIVE_YES : LIVE_NO;
        }
    }
    if (x->node[e].live == LIVE_TOO_LONG) {
        lk_exprs_fail(
            x, LK_E_UNSUPPORTED,
            "whether intersected patterns have a string in common took more than %d steps",
            (int)MAX_SEARCH);
    }
    return !x->status && x->node[e].live == LIVE_YES;
}
