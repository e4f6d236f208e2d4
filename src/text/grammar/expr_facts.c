/* SPDX-License-Identifier: Apache-2.0
 *
 * Expr_facts: what makes masks cheap: expressions that no token can tell from another (clamp), and
 * how much text of any kind can come first (run).
 */
#include "text/grammar/expr.h"

/* ---- clamp ---- */

static uint32_t clamp_counter(uint32_t n, uint32_t n_bytes)
{
    return n > n_bytes ? n_bytes + 1 : n;
}

/* Of a node whose operands are clamped already. A counter in an intersection stays: whether there
 * is a string in common may depend on all of it. */
static uint32_t clamp_node(struct lk_exprs *x, uint32_t e, uint32_t n_bytes)
{
    struct lk_expr_node m = x->node[e];
    size_t from = lk_expr_list(x);
    uint32_t c;
    switch (m.kind) {
    case LK_KIND_REPEAT:
        c = lk_expr_clamp(x, m.a, n_bytes);
        return lk_expr_repeat(x, c, clamp_counter(m.min, n_bytes),
                              m.max > n_bytes ? LK_NO_LIMIT : m.max);
    case LK_KIND_ALT:
        for (uint32_t i = 0; i < m.b; i++) {
            c = lk_expr_clamp(x, x->kid[m.a + i], n_bytes);
            lk_expr_push(x, c);
        }
        return lk_expr_alt_of(x, from);
    default:
        return e;
    }
}

/* Rows of sequences are long: from their last part that is not known back to e. */
static uint32_t clamp_row(struct lk_exprs *x, uint32_t e, uint32_t n_bytes)
{
    size_t from = lk_expr_list(x);
    for (; x->node[e].kind == LK_KIND_CAT && lk_expr_has(x, e, LK_EXPR_COUNTED) &&
           !x->node[e].clamped && !x->status;
         e = x->node[e].b) {
        lk_expr_push(x, e);
    }
    uint32_t tail = lk_expr_clamp(x, e, n_bytes);
    while (x->n_work > from && !x->status) {
        uint32_t row = x->work[--x->n_work];
        uint32_t head = lk_expr_clamp(x, x->node[row].a, n_bytes);
        tail = lk_expr_cat(x, head, tail);
        if (!x->status) {
            x->node[row].clamped = tail + 1;
        }
    }
    x->n_work = from < x->n_work ? from : x->n_work;
    return tail;
}

uint32_t lk_expr_clamp(struct lk_exprs *x, uint32_t e, uint32_t n_bytes)
{
    if (!lk_expr_has(x, e, LK_EXPR_COUNTED) || x->status) {
        return e;
    }
    if (!x->node[e].clamped) {
        uint32_t c =
            x->node[e].kind == LK_KIND_CAT ? clamp_row(x, e, n_bytes) : clamp_node(x, e, n_bytes);
        if (!x->status) {
            x->node[e].clamped = c + 1;
        }
    }
    return x->status ? LK_EXPR_NONE : x->node[e].clamped - 1;
}

/* ---- plain characters ---- */

uint32_t lk_expr_plain(struct lk_exprs *x)
{
    if (x->plain) {
        return x->plain - 1;
    }
    static const struct {
        uint8_t lead[2], second[2], n_more; /* first and last of a range; bytes behind the second */
    } forms[] = {{{0xC2, 0xDF}, {0x80, 0xBF}, 0}, {{0xE0, 0xE0}, {0xA0, 0xBF}, 1},
                 {{0xE1, 0xEC}, {0x80, 0xBF}, 1}, {{0xED, 0xED}, {0x80, 0x9F}, 1},
                 {{0xEE, 0xEF}, {0x80, 0xBF}, 1}, {{0xF0, 0xF0}, {0x90, 0xBF}, 2},
                 {{0xF1, 0xF3}, {0x80, 0xBF}, 2}, {{0xF4, 0xF4}, {0x80, 0x8F}, 2}};
    struct lk_byte_set ascii = {{0}};
    for (unsigned b = 0x20; b < 0x7F; b++) {
        if (b != '"' && b != '\\') {
            lk_byte_set_add(&ascii, b);
        }
    }
    size_t from = lk_expr_list(x);
    lk_expr_push(x, lk_expr_set(x, &ascii));
    uint32_t more = lk_expr_range(x, 0x80, 0xBF);
    for (size_t i = 0; i < LK_COUNT(forms); i++) {
        uint32_t e = lk_expr_repeat(x, more, forms[i].n_more, forms[i].n_more);
        e = lk_expr_cat(x, lk_expr_range(x, forms[i].second[0], forms[i].second[1]), e);
        e = lk_expr_cat(x, lk_expr_range(x, forms[i].lead[0], forms[i].lead[1]), e);
        lk_expr_push(x, e);
    }
    uint32_t plain = lk_expr_alt_of(x, from);
    if (!x->status) {
        x->plain = plain + 1;
    }
    return plain;
}

/* Whether e has all strings of p, whose strings end where they can. */
static bool covers(struct lk_exprs *x, uint32_t e, uint32_t p)
{
    if (lk_expr_has(x, p, LK_EXPR_NULLABLE)) {
        return lk_expr_has(x, e, LK_EXPR_NULLABLE);
    }
    uint32_t both = lk_partition_refine(x, lk_expr_partition(x, p), lk_expr_partition(x, e));
    for (uint32_t c = 0; c < x->partition[both].n && !x->status; c++) {
        unsigned byte = x->partition[both].first[c];
        uint32_t left = lk_expr_derive(x, p, byte);
        if (left != LK_EXPR_NONE && !covers(x, lk_expr_derive(x, e, byte), left)) {
            return false;
        }
    }
    return !x->status;
}

enum { COVERS_YES = 1, COVERS_NO };

/* Whether node e is a REPEAT whose body has every plain character. */
static bool repeats_plain(struct lk_exprs *x, uint32_t e)
{
    struct lk_expr_node m = x->node[e];
    if (m.kind != LK_KIND_REPEAT || lk_expr_has(x, m.a, LK_EXPR_SEARCHED)) {
        return false;
    }
    if (!m.covers) {
        uint32_t plain = lk_expr_plain(x);
        m.covers = covers(x, m.a, plain) ? COVERS_YES : COVERS_NO;
        if (!x->status) {
            x->node[e].covers = m.covers;
        }
    }
    return m.covers == COVERS_YES && !x->status;
}

/* An intersection of endless plain text with all but finitely many strings: there are always more.
 */
static bool misses_few(struct lk_exprs *x, uint32_t e)
{
    struct lk_expr_node m = x->node[e];
    for (uint32_t i = 0; i < m.b; i++) {
        uint32_t kid = x->kid[m.a + i];
        const struct lk_expr_node *k = &x->node[kid];
        bool few = k->kind == LK_KIND_NOT && lk_expr_has(x, k->a, LK_EXPR_FINITE);
        bool endless = k->kind == LK_KIND_REPEAT && k->max == LK_NO_LIMIT;
        if (!few && (!endless || !repeats_plain(x, kid))) {
            return false;
        }
    }
    return true;
}

uint32_t lk_expr_run(struct lk_exprs *x, uint32_t e)
{
    for (; x->node[e].kind == LK_KIND_CAT; e = x->node[e].a) {
        if (!lk_expr_is_live(x, x->node[e].b)) {
            return 0;
        }
    }
    struct lk_expr_node m = x->node[e];
    uint32_t most = 0;
    switch (m.kind) {
    case LK_KIND_ALT:
        for (uint32_t i = 0; i < m.b; i++) {
            uint32_t run = lk_expr_run(x, x->kid[m.a + i]);
            most = run > most ? run : most;
        }
        return most;
    case LK_KIND_AND:
        return misses_few(x, e) ? LK_NO_LIMIT : 0;
    default:
        return repeats_plain(x, e) ? m.max : 0;
    }
}
