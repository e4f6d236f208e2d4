/* SPDX-License-Identifier: Apache-2.0
 *
 * Regex: see regex.h. A tree without assertions is an expression of its own. One with assertions is
 * turned into an expression of the whole rest of the text, from its end to its beginning, so that $
 * and lookahead are an intersection with what comes after them.
 */
#include "text/grammar/regex.h"

#include "text/grammar/grammar.h"

/* What is known of the text before a node. */
enum place { AT_BEGIN, MAYBE_BEGIN, BEHIND };

static uint32_t plain(struct lk_regex_parser *p, uint32_t node)
{
    struct lk_regex_node n = p->node[node];
    struct lk_exprs *x = p->x;
    size_t from = lk_expr_list(x);
    uint32_t e;
    switch (n.kind) {
    case LK_REGEX_CHARS:
        return n.e;
    case LK_REGEX_REPEAT:
        return lk_expr_repeat(x, plain(p, n.child), n.min, n.max);
    case LK_REGEX_CHOICE:
        for (uint32_t c = n.child; c; c = p->node[c].next) {
            e = plain(p, c);
            lk_expr_push(x, e);
        }
        return lk_expr_alt_of(x, from);
    default: /* a sequence, put together from its end */
        for (uint32_t c = n.child; c; c = p->node[c].next) {
            e = plain(p, c);
            lk_expr_push(x, e);
        }
        e = LK_EXPR_EMPTY;
        while (lk_expr_list(x) > from && !x->status) {
            e = lk_expr_cat(x, x->work[--x->n_work], e);
        }
        return e;
    }
}

static lk_status with_rest(struct lk_regex_parser *p, uint32_t node, enum place place,
                           uint32_t rest, uint32_t *out);

/* Where the text after a node is, seen from its beginning. */
static enum place behind(struct lk_regex_parser *p, uint32_t node, enum place place)
{
    struct lk_regex_node n = p->node[node];
    if (place == BEHIND || n.kind == LK_REGEX_BEGIN || n.kind == LK_REGEX_END ||
        n.kind == LK_REGEX_AHEAD || n.kind == LK_REGEX_NOT_AHEAD) {
        return place;
    }
    if (n.asserts) {
        return MAYBE_BEGIN; /* (^|a)b: good enough, as only a second ^ would ask */
    }
    return lk_expr_has(p->x, plain(p, node), LK_EXPR_NULLABLE) ? MAYBE_BEGIN : BEHIND;
}

static lk_status sequence_with_rest(struct lk_regex_parser *p, uint32_t child, enum place place,
                                    uint32_t rest, uint32_t *out)
{
    struct lk_exprs *x = p->x;
    size_t from = lk_expr_list(x);
    for (uint32_t c = child; c; c = p->node[c].next) {
        lk_expr_push(x, c);
        lk_expr_push(x, (uint32_t)place);
        place = behind(p, c, place);
    }
    lk_status status = LK_OK;
    while (lk_expr_list(x) > from && !status && !x->status) {
        enum place at = (enum place)x->work[--x->n_work];
        uint32_t c = x->work[--x->n_work];
        status = with_rest(p, c, at, rest, &rest);
    }
    *out = rest;
    return status;
}

static lk_status choice_with_rest(struct lk_regex_parser *p, uint32_t child, enum place place,
                                  uint32_t rest, uint32_t *out)
{
    struct lk_exprs *x = p->x;
    size_t from = lk_expr_list(x);
    for (uint32_t c = child; c; c = p->node[c].next) {
        uint32_t e = LK_EXPR_NONE;
        lk_status status = with_rest(p, c, place, rest, &e);
        if (status) {
            return status;
        }
        lk_expr_push(x, e);
    }
    *out = lk_expr_alt_of(x, from);
    return LK_OK;
}

static uint32_t anything(struct lk_regex_parser *p)
{
    uint32_t any = lk_any_char(p->x, p->options->how);
    return lk_expr_repeat(p->x, any, 0, LK_NO_LIMIT);
}

/* The texts that begin with the node's and go on with `rest`, which is all that is left. */
static lk_status with_rest(struct lk_regex_parser *p, uint32_t node, enum place place,
                           uint32_t rest, uint32_t *out)
{
    struct lk_regex_node n = p->node[node];
    struct lk_exprs *x = p->x;
    lk_status status;
    uint32_t e = LK_EXPR_NONE;
    if (!n.asserts) {
        *out = lk_expr_cat(x, plain(p, node), rest);
        return LK_OK;
    }
    switch (n.kind) {
    case LK_REGEX_BEGIN:
        if (place == MAYBE_BEGIN) {
            return lk_regex_fail(p, LK_E_UNSUPPORTED, n.at, "'^' behind what may be empty");
        }
        *out = place == AT_BEGIN ? rest : LK_EXPR_NONE;
        return LK_OK;
    case LK_REGEX_END:
        *out = lk_expr_has(x, rest, LK_EXPR_NULLABLE) ? LK_EXPR_EMPTY : LK_EXPR_NONE;
        return LK_OK;
    case LK_REGEX_AHEAD:
    case LK_REGEX_NOT_AHEAD:
        status = with_rest(p, n.child, place, anything(p), &e);
        if (!status) {
            e = n.kind == LK_REGEX_AHEAD ? e : lk_expr_not(x, e);
            *out = lk_expr_and(x, e, rest);
        }
        return status;
    case LK_REGEX_REPEAT:
        if (n.max > 1) {
            return lk_regex_fail(p, LK_E_UNSUPPORTED, n.at,
                                 "an anchor or lookahead inside of a repetition");
        }
        *out = rest;
        status = n.max ? with_rest(p, n.child, place, rest, &e) : LK_OK;
        if (!status && n.max) {
            *out = n.min == 0 ? lk_expr_alt(x, e, rest) : e;
        }
        return status;
    case LK_REGEX_CHOICE:
        return choice_with_rest(p, n.child, place, rest, out);
    default:
        return sequence_with_rest(p, n.child, place, rest, out);
    }
}

/* A match somewhere: at the beginning of the text, or behind it. */
static lk_status search(struct lk_regex_parser *p, uint32_t root, uint32_t *out)
{
    struct lk_exprs *x = p->x;
    uint32_t any = anything(p), one = lk_any_char(x, p->options->how), first, later;
    if (!p->node[root].asserts) {
        *out = lk_expr_cat(x, any, lk_expr_cat(x, plain(p, root), any));
        return LK_OK;
    }
    lk_status status = with_rest(p, root, AT_BEGIN, any, &first);
    if (!status) {
        status = with_rest(p, root, BEHIND, any, &later);
    }
    if (!status) {
        later = lk_expr_cat(x, any, lk_expr_cat(x, one, later));
        *out = lk_expr_alt(x, first, later);
    }
    return status;
}

lk_status lk_regex_expr(struct lk_exprs *x, const char *text, size_t len,
                        const struct lk_regex_options *options, uint32_t *out, lk_error *err)
{
    lk_error own;
    struct lk_regex_parser p = {
        .x = x, .options = options, .text = text, .len = len, .err = err ? err : &own};
    uint32_t root;
    lk_status status = lk_regex_parse(&p, &root);
    if (!status) {
        status = options->search ? search(&p, root, out)
                                 : with_rest(&p, root, AT_BEGIN, LK_EXPR_EMPTY, out);
    }
    if (!status && x->status) {
        status = lk_fail(err, x->status, "byte 0: %s", x->error.message);
    }
    lk_free(p.node);
    return status;
}

static lk_status compile(lk_grammar *g, const char *text, size_t len, lk_error *err)
{
    struct lk_categories categories = {0};
    const struct lk_regex_options how = {.how = LK_SPELL_UTF8, .categories = &categories};
    lk_status status = lk_regex_expr(&g->x, text, len, &how, &g->root, err);
    lk_categories_free(&categories);
    return status;
}

lk_status lk_grammar_open_regex(const char *text, size_t len, const lk_grammar_options *options,
                                lk_grammar **out, lk_error *err)
{
    return lk_grammar_open(options, "regex", text, len, compile, out, err);
}
