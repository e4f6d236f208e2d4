/* SPDX-License-Identifier: Apache-2.0
 *
 * Expr: see expr.h. Owns the store and the making of nodes: each is looked for in its simplest form
 * first, so that the derivatives of an expression stay few. ALT is a set: sorted by id, without
 * doubles, bytes joined into one SET, parts with one tail joined in front of it, counters of one
 * body whose ranges touch joined into one.
 */
#include "text/grammar/expr.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_DEPTH = 1000 };

/* ---- the store ---- */

void lk_exprs_fail(struct lk_exprs *x, lk_status status, const char *format, ...)
{
    if (x->status) {
        return;
    }
    va_list args;
    va_start(args, format);
    char line[sizeof x->error.message];
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    x->status = lk_fail(&x->error, status, "%s", line);
}

void lk_exprs_clear(struct lk_exprs *x)
{
    x->status = LK_OK;
    x->n_work = 0;
    x->depth = 0;
}

size_t lk_exprs_bytes(const struct lk_exprs *x)
{
    return x->n * sizeof *x->node + x->n_kids * sizeof *x->kid + x->n_sets * sizeof *x->set +
           x->n_partitions * sizeof *x->partition + x->n_next * sizeof *x->next +
           (x->nodes.cap + x->sets.cap + x->partitions.cap) * sizeof(struct lk_slot);
}

bool lk_exprs_room(struct lk_exprs *x, void *array, size_t *cap, size_t need, size_t size)
{
    if (x->status) {
        return false;
    }
    if (need <= *cap) {
        return true;
    }
    if (need > UINT32_MAX - 1 || lk_exprs_bytes(x) > x->max_bytes) {
        lk_exprs_fail(x, LK_E_UNSUPPORTED, "needs more memory than its %zu bytes", x->max_bytes);
        return false;
    }
    lk_error err;
    if (lk_grow(array, cap, need, size, &err)) {
        lk_exprs_fail(x, err.status, "%s", err.message);
        return false;
    }
    return true;
}

bool lk_exprs_index(struct lk_exprs *x, struct lk_slots *slots, uint32_t hash, uint32_t id)
{
    if (x->status) {
        return false;
    }
    if (!lk_slots_add(slots, hash, id)) {
        lk_exprs_fail(x, LK_E_NOMEM, "out of memory for an index of %zu expressions", slots->n);
        return false;
    }
    return true;
}

/* ---- nodes ---- */

/* Whether node `id` is the one that is wanted: equal operands, or equal children. */
static bool same_node(const struct lk_exprs *x, uint32_t id, const struct lk_expr_node *w,
                      const uint32_t *kids)
{
    const struct lk_expr_node *n = &x->node[id];
    if (n->hash != w->hash || n->kind != w->kind || n->b != w->b || n->min != w->min ||
        n->max != w->max) {
        return false;
    }
    return kids ? memcmp(x->kid + n->a, kids, w->b * sizeof *kids) == 0 : n->a == w->a;
}

static uint32_t add_weight(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static bool empty_multiple(const struct lk_expr_node *n)
{
    uint64_t rest = n->b;
    uint32_t left = n->min == LK_NO_LIMIT ? n->max : n->min;
    for (uint32_t i = 0; i < left && rest; i++) {
        rest = rest * 10 % n->a;
    }
    return rest == 0;
}

/* What can be told of a node by its operands. */
static void set_facts(const struct lk_exprs *x, struct lk_expr_node *n, const uint32_t *kids)
{
    unsigned f = 0, all = LK_EXPR_NULLABLE | LK_EXPR_REGULAR | LK_EXPR_FINITE, any = 0;
    bool unary = n->kind == LK_KIND_NOT || n->kind == LK_KIND_REPEAT || n->kind == LK_KIND_CAT;
    const struct lk_expr_node *a = unary ? &x->node[n->a] : NULL;
    const struct lk_expr_node *b = n->kind == LK_KIND_CAT ? &x->node[n->b] : NULL;
    n->weight = 1;
    n->depth = a ? a->depth + 1 : 1;
    for (uint32_t i = 0; kids && i < n->b; i++) {
        const struct lk_expr_node *k = &x->node[kids[i]];
        all &= k->flags;
        any |= k->flags;
        n->weight = add_weight(n->weight, k->weight);
        n->depth = n->depth > k->depth ? n->depth : k->depth + 1;
    }
    switch (n->kind) {
    case LK_KIND_NONE:
    case LK_KIND_SET:
        f = LK_EXPR_REGULAR | LK_EXPR_FINITE;
        break;
    case LK_KIND_EMPTY:
        f = LK_EXPR_REGULAR | LK_EXPR_NULLABLE | LK_EXPR_FINITE;
        break;
    case LK_KIND_CAT:
        f = (a->flags & b->flags & (LK_EXPR_NULLABLE | LK_EXPR_REGULAR | LK_EXPR_FINITE)) |
            ((a->flags | b->flags) & (LK_EXPR_SEARCHED | LK_EXPR_COUNTED));
        n->weight = add_weight(1 + a->weight, a->flags & LK_EXPR_NULLABLE ? b->weight : 0);
        n->depth = n->depth > b->depth ? n->depth : b->depth;
        break;
    case LK_KIND_ALT:
        f = (any & (LK_EXPR_NULLABLE | LK_EXPR_SEARCHED | LK_EXPR_COUNTED)) |
            (all & (LK_EXPR_REGULAR | LK_EXPR_FINITE));
        break;
    case LK_KIND_AND:
        f = all | (any & LK_EXPR_FINITE) | LK_EXPR_SEARCHED;
        break;
    case LK_KIND_NOT:
        f = LK_EXPR_REGULAR | (a->flags & LK_EXPR_NULLABLE ? 0 : LK_EXPR_NULLABLE);
        f |= n->a == LK_EXPR_NONE ? 0 : LK_EXPR_SEARCHED;
        n->weight = 1 + a->weight;
        break;
    case LK_KIND_REPEAT:
        f = (a->flags & (LK_EXPR_REGULAR | LK_EXPR_COUNTED)) |
            (n->min == 0 ? LK_EXPR_NULLABLE : a->flags & (LK_EXPR_NULLABLE | LK_EXPR_SEARCHED));
        f |= n->min > 1 || n->max != LK_NO_LIMIT ? LK_EXPR_COUNTED : 0;
        f |= n->max != LK_NO_LIMIT ? a->flags & LK_EXPR_FINITE : 0;
        n->weight = 1 + a->weight;
        break;
    case LK_KIND_MULTIPLE:
        f = LK_EXPR_REGULAR | LK_EXPR_SEARCHED | (empty_multiple(n) ? LK_EXPR_NULLABLE : 0);
        break;
    default: /* RULE, whose emptiness is known when the grammar is whole, and TOKEN */
        break;
    }
    n->flags = (uint8_t)f;
}

/* The node with these operands; `kids` (of ALT and AND, b of them) may lie in the work list. */
static uint32_t intern(struct lk_exprs *x, struct lk_expr_node w, const uint32_t *kids)
{
    uint32_t id;
    w.hash = lk_hash_mix(lk_hash_mix(lk_hash_mix(w.kind, w.b), w.min), w.max);
    w.hash = kids ? lk_hash_bytes(w.hash, kids, w.b * sizeof *kids) : lk_hash_mix(w.hash, w.a);
    for (size_t at = w.hash; lk_slots_next(&x->nodes, w.hash, &at, &id);) {
        if (same_node(x, id, &w, kids)) {
            return x->status ? LK_EXPR_NONE : id;
        }
    }
    id = (uint32_t)x->n;
    if (!lk_exprs_room(x, &x->node, &x->cap, x->n + 1, sizeof *x->node) ||
        (kids && !lk_exprs_room(x, &x->kid, &x->kids_cap, x->n_kids + w.b, sizeof *kids)) ||
        !lk_exprs_index(x, &x->nodes, w.hash, id)) {
        return LK_EXPR_NONE;
    }
    set_facts(x, &w, kids);
    if (kids) {
        w.a = (uint32_t)x->n_kids;
        memcpy(x->kid + x->n_kids, kids, w.b * sizeof *kids);
        x->n_kids += w.b;
    }
    x->node[x->n++] = w;
    return id;
}

lk_status lk_exprs_open(struct lk_exprs *x, size_t max_bytes, lk_error *err)
{
    *x = (struct lk_exprs){.max_bytes = max_bytes};
    if (lk_exprs_room(x, &x->node, &x->cap, 64, sizeof *x->node)) {
        intern(x, (struct lk_expr_node){.kind = LK_KIND_NONE}, NULL);
        intern(x, (struct lk_expr_node){.kind = LK_KIND_EMPTY}, NULL);
        intern(x, (struct lk_expr_node){.kind = LK_KIND_NOT, .a = LK_EXPR_NONE}, NULL);
        lk_expr_partition(x, LK_EXPR_NONE); /* number 0, which failures give */
    }
    if (x->status) {
        if (err) {
            *err = x->error;
        }
        lk_status status = x->status;
        lk_exprs_close(x);
        return status;
    }
    return LK_OK;
}

static void *copy_of(const void *array, size_t n, size_t size, bool *failed)
{
    void *copy = NULL;
    if (n && !*failed) {
        copy = lk_alloc_array(n, size);
        *failed |= !copy;
    }
    if (copy) {
        memcpy(copy, array, n * size);
    }
    return copy;
}

#define COPY(array, cap) (to->array = copy_of(from->array, from->cap, sizeof *to->array, &failed))

lk_status lk_exprs_copy(struct lk_exprs *to, const struct lk_exprs *from, size_t max_bytes,
                        lk_error *err)
{
    bool failed = false;
    *to = *from;
    COPY(node, cap);
    COPY(kid, kids_cap);
    COPY(set, sets_cap);
    COPY(partition, partitions_cap);
    COPY(next, next_cap);
    COPY(nodes.slot, nodes.cap);
    COPY(sets.slot, sets.cap);
    COPY(partitions.slot, partitions.cap);
    to->work = NULL;
    to->key = NULL;
    to->work_cap = to->key_cap = 0;
    to->max_bytes = max_bytes;
    lk_exprs_clear(to);
    if (failed) {
        lk_exprs_close(to);
        return lk_fail(err, LK_E_NOMEM, "out of memory copying %zu expressions", from->n);
    }
    return LK_OK;
}

void lk_exprs_close(struct lk_exprs *x)
{
    lk_free(x->node);
    lk_free(x->kid);
    lk_free(x->set);
    lk_free(x->partition);
    lk_free(x->next);
    lk_slots_free(&x->nodes);
    lk_slots_free(&x->sets);
    lk_slots_free(&x->partitions);
    lk_free(x->work);
    lk_free(x->key);
    *x = (struct lk_exprs){0};
}

/* ---- bytes ---- */

static uint32_t intern_set(struct lk_exprs *x, const struct lk_byte_set *set)
{
    uint32_t hash = lk_hash_bytes(1, set, sizeof *set), id;
    for (size_t at = hash; lk_slots_next(&x->sets, hash, &at, &id);) {
        if (memcmp(&x->set[id], set, sizeof *set) == 0) {
            return id;
        }
    }
    id = (uint32_t)x->n_sets;
    if (!lk_exprs_room(x, &x->set, &x->sets_cap, x->n_sets + 1, sizeof *x->set) ||
        !lk_exprs_index(x, &x->sets, hash, id)) {
        return 0;
    }
    x->set[x->n_sets++] = *set;
    return id;
}

uint32_t lk_expr_set(struct lk_exprs *x, const struct lk_byte_set *set)
{
    if (lk_byte_set_is_empty(set)) {
        return LK_EXPR_NONE;
    }
    uint32_t id = intern_set(x, set);
    return intern(x, (struct lk_expr_node){.kind = LK_KIND_SET, .a = id}, NULL);
}

uint32_t lk_expr_range(struct lk_exprs *x, unsigned first, unsigned last)
{
    struct lk_byte_set set = {{0}};
    lk_byte_set_add_range(&set, first, last);
    return lk_expr_set(x, &set);
}

uint32_t lk_expr_byte(struct lk_exprs *x, unsigned byte)
{
    return lk_expr_range(x, byte, byte);
}

uint32_t lk_expr_literal(struct lk_exprs *x, const char *bytes, size_t n)
{
    uint32_t e = LK_EXPR_EMPTY;
    while (n-- > 0) {
        e = lk_expr_cat(x, lk_expr_byte(x, (unsigned char)bytes[n]), e);
    }
    return e;
}

/* ---- sequences ---- */

/* Neighbours that are regular are put together, so that a grammar's rule is few steps. */
uint32_t lk_expr_cat(struct lk_exprs *x, uint32_t a, uint32_t b)
{
    if (x->status || a == LK_EXPR_NONE || b == LK_EXPR_NONE) {
        return LK_EXPR_NONE;
    }
    if (a == LK_EXPR_EMPTY || b == LK_EXPR_EMPTY) {
        return a == LK_EXPR_EMPTY ? b : a;
    }
    if (a == LK_EXPR_ALL && b == LK_EXPR_ALL) {
        return a;
    }
    struct lk_expr_node tail = x->node[b];
    if (tail.kind == LK_KIND_CAT && !(tail.flags & LK_EXPR_REGULAR) &&
        lk_expr_has(x, a, LK_EXPR_REGULAR) && lk_expr_has(x, tail.a, LK_EXPR_REGULAR)) {
        a = lk_expr_cat(x, a, tail.a);
        b = tail.b;
    }
    return intern(x, (struct lk_expr_node){.kind = LK_KIND_CAT, .a = a, .b = b}, NULL);
}

uint32_t lk_expr_repeat(struct lk_exprs *x, uint32_t a, uint32_t min, uint32_t max)
{
    if (x->status) {
        return LK_EXPR_NONE;
    }
    if (max == 0 || a == LK_EXPR_EMPTY || (a == LK_EXPR_NONE && min == 0)) {
        return LK_EXPR_EMPTY;
    }
    if (a == LK_EXPR_NONE || a == LK_EXPR_ALL || (min == 1 && max == 1)) {
        return a;
    }
    struct lk_expr_node body = x->node[a];
    if ((body.flags & LK_EXPR_NULLABLE) && (body.flags & LK_EXPR_REGULAR)) {
        min = 0;
    }
    if (body.kind == LK_KIND_REPEAT && body.min == 0 && body.max == LK_NO_LIMIT) {
        return a;
    }
    if (body.kind == LK_KIND_SET && lk_byte_set_is_full(&x->set[body.a]) && min == 0 &&
        max == LK_NO_LIMIT) {
        return LK_EXPR_ALL;
    }
    return intern(x, (struct lk_expr_node){.kind = LK_KIND_REPEAT, .a = a, .min = min, .max = max},
                  NULL);
}

uint32_t lk_expr_multiple_rest(struct lk_exprs *x, uint32_t divisor, uint32_t rest, uint32_t left,
                               uint32_t scale)
{
    return intern(x,
                  (struct lk_expr_node){
                      .kind = LK_KIND_MULTIPLE, .a = divisor, .b = rest, .min = left, .max = scale},
                  NULL);
}

uint32_t lk_expr_multiple(struct lk_exprs *x, uint32_t divisor, uint32_t scale)
{
    return lk_expr_multiple_rest(x, divisor, 0, LK_NO_LIMIT, scale);
}

uint32_t lk_expr_rule(struct lk_exprs *x, uint32_t rule)
{
    return intern(x, (struct lk_expr_node){.kind = LK_KIND_RULE, .a = rule}, NULL);
}

uint32_t lk_expr_token(struct lk_exprs *x, uint32_t terminal)
{
    return intern(x, (struct lk_expr_node){.kind = LK_KIND_TOKEN, .a = terminal}, NULL);
}

/* ---- sets of alternatives ---- */

void lk_expr_push(struct lk_exprs *x, uint32_t e)
{
    if (lk_exprs_room(x, &x->work, &x->work_cap, x->n_work + 1, sizeof *x->work)) {
        x->work[x->n_work++] = e;
    }
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;
    return (p > q) - (p < q);
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
    return (p > q) - (p < q);
}

/* Sorts the list and takes doubles out. */
static void sort_list(struct lk_exprs *x, size_t from)
{
    uint32_t *w = x->work + from;
    size_t n = x->n_work - from, kept = 0;
    if (n > 1) {
        qsort(w, n, sizeof *w, compare_ids);
    }
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || w[i] != w[kept - 1]) {
            w[kept++] = w[i];
        }
    }
    x->n_work = from + kept;
}

/* Puts the children of members of the same kind into their place. */
static void flatten(struct lk_exprs *x, size_t from, uint8_t kind)
{
    size_t n = x->n_work;
    for (size_t i = from; i < n && !x->status; i++) {
        struct lk_expr_node m = x->node[x->work[i]];
        if (m.kind != kind) {
            continue;
        }
        for (uint32_t k = 1; k < m.b; k++) {
            lk_expr_push(x, x->kid[m.a + k]);
        }
        x->work[i] = x->kid[m.a];
    }
}

/* Takes out what adds nothing and joins single bytes; true when one member is every string. */
static bool join_bytes(struct lk_exprs *x, size_t from)
{
    struct lk_byte_set bytes = {{0}};
    size_t kept = from, n_sets = 0;
    bool empty = false, nullable = false;
    for (size_t i = from; i < x->n_work; i++) {
        uint32_t e = x->work[i];
        const struct lk_expr_node *m = &x->node[e];
        if (e == LK_EXPR_ALL) {
            return true;
        }
        if (m->kind == LK_KIND_SET) {
            bytes = lk_byte_set_or(bytes, &x->set[m->a]);
            n_sets++;
        } else if (e == LK_EXPR_EMPTY) {
            empty = true;
        } else if (e != LK_EXPR_NONE) {
            nullable |= m->flags & LK_EXPR_NULLABLE;
            x->work[kept++] = e;
        }
    }
    x->n_work = kept;
    if (empty && !nullable) {
        lk_expr_push(x, LK_EXPR_EMPTY);
    }
    if (n_sets) {
        lk_expr_push(x, lk_expr_set(x, &bytes));
    }
    return false;
}

/* Fills x->key with (what members are joined by) << 32 | member, sorted. */
static bool sort_by(struct lk_exprs *x, size_t from, uint8_t kind)
{
    size_t n = x->n_work - from;
    if (!lk_exprs_room(x, &x->key, &x->key_cap, n, sizeof *x->key)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t e = x->work[from + i];
        const struct lk_expr_node *m = &x->node[e];
        uint64_t by = m->kind != kind ? 0 : kind == LK_KIND_CAT ? m->b : m->a;
        x->key[i] = by << 32 | e;
    }
    qsort(x->key, n, sizeof *x->key, compare_keys);
    return true;
}

static size_t count_of_kind(const struct lk_exprs *x, size_t from, uint8_t kind)
{
    size_t n = 0;
    for (size_t i = from; i < x->n_work; i++) {
        n += x->node[x->work[i]].kind == kind;
    }
    return n;
}

/* a t | b t  ->  (a | b) t */
static void join_tails(struct lk_exprs *x, size_t from)
{
    if (count_of_kind(x, from, LK_KIND_CAT) < 2 || !sort_by(x, from, LK_KIND_CAT)) {
        return;
    }
    size_t n = x->n_work - from;
    for (size_t i = 0; i < n; i++) {
        x->work[from + i] = (uint32_t)x->key[i]; /* in the order of their tails */
    }
    size_t kept = from;
    for (size_t i = from; i < from + n && !x->status;) {
        struct lk_expr_node m = x->node[x->work[i]];
        size_t end = i + 1;
        while (m.kind == LK_KIND_CAT && end < from + n &&
               x->node[x->work[end]].kind == LK_KIND_CAT && x->node[x->work[end]].b == m.b) {
            end++;
        }
        if (end - i == 1) {
            x->work[kept++] = x->work[i++];
            continue;
        }
        size_t heads = lk_expr_list(x);
        for (; i < end; i++) {
            lk_expr_push(x, x->node[x->work[i]].a);
        }
        uint32_t head = lk_expr_alt_of(x, heads);
        uint32_t joined = lk_expr_cat(x, head, m.b);
        x->work[kept++] = joined;
    }
    x->n_work = kept;
}

/* The ranges of counters of one body, keys [i, end) as min << 32 | max: pushes a REPEAT for each
 * run of ranges that touch. */
static void join_ranges(struct lk_exprs *x, uint32_t body, size_t i, size_t end)
{
    qsort(x->key + i, end - i, sizeof *x->key, compare_keys);
    while (i < end && !x->status) {
        uint32_t min = (uint32_t)(x->key[i] >> 32), max = (uint32_t)x->key[i];
        for (i++; i < end && (max == LK_NO_LIMIT || x->key[i] >> 32 <= (uint64_t)max + 1); i++) {
            uint32_t other = (uint32_t)x->key[i];
            max = other > max ? other : max;
        }
        lk_expr_push(x, lk_expr_repeat(x, body, min, max));
    }
}

/* a{0,3} | a{2,7}  ->  a{0,7} */
static void join_counters(struct lk_exprs *x, size_t from)
{
    if (count_of_kind(x, from, LK_KIND_REPEAT) < 2 || !sort_by(x, from, LK_KIND_REPEAT)) {
        return;
    }
    size_t n = x->n_work - from;
    x->n_work = from;
    for (size_t i = 0; i < n && !x->status;) {
        uint32_t body = (uint32_t)(x->key[i] >> 32); /* 0: no counter */
        size_t end = i;
        for (; end < n && body && x->key[end] >> 32 == body; end++) {
            const struct lk_expr_node *m = &x->node[(uint32_t)x->key[end]];
            x->key[end] = (uint64_t)m->min << 32 | m->max;
        }
        if (body) {
            join_ranges(x, body, i, end);
            i = end;
        } else {
            lk_expr_push(x, (uint32_t)x->key[i++]);
        }
    }
}

uint32_t lk_expr_alt_of(struct lk_exprs *x, size_t from)
{
    uint32_t e = LK_EXPR_NONE;
    if (x->depth >= MAX_DEPTH) {
        lk_exprs_fail(x, LK_E_UNSUPPORTED, "nests too deeply");
    }
    if (x->status) {
        x->n_work = from < x->n_work ? from : x->n_work;
        return e;
    }
    x->depth++;
    flatten(x, from, LK_KIND_ALT);
    if (join_bytes(x, from)) {
        e = LK_EXPR_ALL;
    } else {
        sort_list(x, from);
        join_tails(x, from);
        join_counters(x, from);
        sort_list(x, from);
        size_t n = x->n_work - from;
        if (n > 1 && count_of_kind(x, from, LK_KIND_ALT)) {
            lk_exprs_fail(x, LK_E_INTERNAL, "an alternative in an alternative");
        }
        if (n == 1) {
            e = x->work[from];
        } else if (n > 1) {
            e = intern(x, (struct lk_expr_node){.kind = LK_KIND_ALT, .b = (uint32_t)n},
                       x->work + from);
        }
    }
    x->depth--;
    x->n_work = from;
    return x->status ? LK_EXPR_NONE : e;
}

uint32_t lk_expr_alt(struct lk_exprs *x, uint32_t a, uint32_t b)
{
    size_t from = lk_expr_list(x);
    lk_expr_push(x, a);
    lk_expr_push(x, b);
    return lk_expr_alt_of(x, from);
}

/* ---- intersection and complement ---- */

/* Whether the list, sorted, has this member. */
static bool in_list(const struct lk_exprs *x, size_t from, uint32_t e)
{
    return x->n_work > from && bsearch(&e, x->work + from, x->n_work - from, sizeof e, compare_ids);
}

/* The simplest form of the sorted list's intersection if it is no AND; *done tells. */
static uint32_t simple_and(struct lk_exprs *x, size_t from, bool *done)
{
    bool nullable = true, empty = false;
    *done = true;
    for (size_t i = from; i < x->n_work; i++) {
        uint32_t e = x->work[i];
        const struct lk_expr_node *m = &x->node[e];
        if (e == LK_EXPR_NONE || (m->kind == LK_KIND_NOT && in_list(x, from, m->a))) {
            return LK_EXPR_NONE;
        }
        empty |= e == LK_EXPR_EMPTY;
        nullable &= m->flags & LK_EXPR_NULLABLE;
    }
    if (empty) {
        return nullable ? LK_EXPR_EMPTY : LK_EXPR_NONE;
    }
    size_t n = x->n_work - from;
    *done = n < 2;
    return n == 0 ? LK_EXPR_ALL : x->work[from];
}

uint32_t lk_expr_and_of(struct lk_exprs *x, size_t from)
{
    if (x->status) {
        x->n_work = from < x->n_work ? from : x->n_work;
        return LK_EXPR_NONE;
    }
    flatten(x, from, LK_KIND_AND);
    struct lk_byte_set bytes;
    size_t kept = from, n_sets = 0;
    for (size_t i = from; i < x->n_work; i++) {
        uint32_t e = x->work[i];
        const struct lk_expr_node *m = &x->node[e];
        if (!(m->flags & LK_EXPR_REGULAR)) {
            lk_exprs_fail(x, LK_E_UNSUPPORTED, "an intersection with something recursive");
        }
        if (m->kind == LK_KIND_SET) {
            bytes = n_sets++ ? lk_byte_set_and(bytes, &x->set[m->a]) : x->set[m->a];
        } else if (e != LK_EXPR_ALL) {
            x->work[kept++] = e;
        }
    }
    x->n_work = kept;
    if (n_sets) {
        lk_expr_push(x, lk_expr_set(x, &bytes));
    }
    sort_list(x, from);
    bool done;
    uint32_t e = simple_and(x, from, &done);
    if (!done) {
        e = intern(x, (struct lk_expr_node){.kind = LK_KIND_AND, .b = (uint32_t)(x->n_work - from)},
                   x->work + from);
    }
    x->n_work = from;
    return x->status ? LK_EXPR_NONE : e;
}

uint32_t lk_expr_and(struct lk_exprs *x, uint32_t a, uint32_t b)
{
    size_t from = lk_expr_list(x);
    lk_expr_push(x, a);
    lk_expr_push(x, b);
    return lk_expr_and_of(x, from);
}

uint32_t lk_expr_not(struct lk_exprs *x, uint32_t a)
{
    if (x->status) {
        return LK_EXPR_NONE;
    }
    if (!lk_expr_has(x, a, LK_EXPR_REGULAR)) {
        lk_exprs_fail(x, LK_E_UNSUPPORTED, "the complement of something recursive");
        return LK_EXPR_NONE;
    }
    if (x->node[a].kind == LK_KIND_NOT) {
        return x->node[a].a;
    }
    return intern(x, (struct lk_expr_node){.kind = LK_KIND_NOT, .a = a}, NULL);
}

/* ---- copies ---- */

uint32_t lk_expr_import(struct lk_exprs *x, const struct lk_exprs *from, uint32_t e,
                        const uint32_t *map)
{
    struct lk_expr_node n = from->node[e];
    struct lk_expr_node w = {.kind = n.kind, .a = n.a, .b = n.b, .min = n.min, .max = n.max};
    size_t list = lk_expr_list(x);
    switch (n.kind) {
    case LK_KIND_SET:
        return lk_expr_set(x, &from->set[n.a]);
    case LK_KIND_CAT:
        w.b = map[n.b];
        w.a = map[n.a];
        return intern(x, w, NULL);
    case LK_KIND_NOT:
    case LK_KIND_REPEAT:
        w.a = map[n.a];
        return intern(x, w, NULL);
    case LK_KIND_ALT:
    case LK_KIND_AND:
        for (uint32_t i = 0; i < n.b; i++) {
            lk_expr_push(x, map[from->kid[n.a + i]]);
        }
        if (x->status) {
            return LK_EXPR_NONE;
        }
        sort_list(x, list);
        w.a = 0;
        w.b = (uint32_t)(x->n_work - list);
        e = intern(x, w, x->work + list);
        x->n_work = list;
        return e;
    default:
        return intern(x, w, NULL);
    }
}
