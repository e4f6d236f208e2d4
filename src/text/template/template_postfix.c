/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_postfix: what follows an expression: points, brackets, calls, filters and tests.
 */
#include "text/template/template_ast.h"

#include <string.h>

/* ---- what follows an expression ---- */

static struct lk_tpl_node *bad_call(struct lk_tpl_parser *p)
{
    lk_tpl_error(p->lex.text, p->tok.at, LK_E_FORMAT, p->err,
                 "arguments in an order that a call does not take");
    return NULL;
}

/* One argument of a call. Positional ones come first, then named ones, *list and **dict. */
static bool argument(struct lk_tpl_parser *p, struct lk_tpl_node *call, struct lk_tpl_node ***end,
                     struct lk_tpl_node ***named)
{
    struct lk_tpl_args *a = call->args;
    bool star = lk_tpl_is_op(p, OP_MUL), stars = lk_tpl_is_op(p, OP_POW);
    if (star || stars) {
        if (a->star_star || (star && a->star)) {
            return bad_call(p) != NULL;
        }
        struct lk_tpl_node *all = lk_tpl_advance(p) ? lk_tpl_expression(p, true) : NULL;
        *(star ? &a->star : &a->star_star) = all;
        return all && lk_tpl_adopt(p, call, all);
    }
    if (p->tok.type == TOKEN_NAME) {
        if (!lk_tpl_peek(p)) {
            return false;
        }
        if (p->ahead.type == TOKEN_OPERATOR && p->ahead.op == OP_ASSIGN) {
            struct lk_value name = p->tok.value;
            if (a->star_star) {
                return bad_call(p) != NULL;
            }
            for (const struct lk_tpl_node *n = a->named; n; n = n->next) {
                if (n->value.n == name.n && memcmp(n->value.text, name.text, name.n) == 0) {
                    return bad_call(p) != NULL;
                }
            }
            if (!lk_tpl_advance(p) || !lk_tpl_advance(p)) {
                return false;
            }
            struct lk_tpl_node *link = lk_tpl_link(p, call, named, lk_tpl_expression(p, true));
            if (link) {
                link->value = name;
                a->n_named++;
            }
            return link != NULL;
        }
    }
    if (a->star || a->star_star || a->named) {
        return bad_call(p) != NULL;
    }
    a->n++;
    return lk_tpl_link(p, call, end, lk_tpl_expression(p, true)) != NULL;
}

static bool arguments(struct lk_tpl_parser *p, struct lk_tpl_node *call)
{
    struct lk_tpl_args *a = call->args = lk_region_alloc(p->lex.region, sizeof *a);
    if (!a) {
        return lk_tpl_no_memory(p) != NULL;
    }
    *a = (struct lk_tpl_args){0};
    struct lk_tpl_node **end = &a->list, **named = &a->named;
    bool any = false;
    if (!lk_tpl_expect_op(p, OP_PAREN)) {
        return false;
    }
    while (!lk_tpl_is_op(p, OP_PAREN_END)) {
        if (any && !lk_tpl_expect_op(p, OP_COMMA)) {
            return false;
        }
        if (any && lk_tpl_is_op(p, OP_PAREN_END)) {
            break;
        }
        if (!argument(p, call, &end, &named)) {
            return false;
        }
        any = true;
    }
    return lk_tpl_advance(p);
}

static struct lk_tpl_node *call(struct lk_tpl_parser *p, struct lk_tpl_node *left)
{
    struct lk_tpl_node *node = lk_tpl_with_left(p, lk_tpl_make(p, NODE_CALL), left);
    return node && arguments(p, node) ? node : NULL;
}

/* A slice's bound, or nothing. */
static bool bound(struct lk_tpl_parser *p, struct lk_tpl_node *slice, struct lk_tpl_node **out)
{
    if (lk_tpl_is_op(p, OP_COLON) || lk_tpl_is_op(p, OP_BRACKET_END) || lk_tpl_is_op(p, OP_COMMA)) {
        return true;
    }
    *out = lk_tpl_expression(p, true);
    return *out && lk_tpl_adopt(p, slice, *out);
}

static struct lk_tpl_node *subscript(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *slice = lk_tpl_make(p, NODE_SLICE);
    if (!slice || !bound(p, slice, &slice->left)) {
        return NULL;
    }
    if (!lk_tpl_is_op(p, OP_COLON)) {
        return slice->left ? slice->left : lk_tpl_unexpected(p, "an index");
    }
    if (!lk_tpl_advance(p) || !bound(p, slice, &slice->right)) {
        return NULL;
    }
    if (lk_tpl_is_op(p, OP_COLON) && (!lk_tpl_advance(p) || !bound(p, slice, &slice->third))) {
        return NULL;
    }
    return slice;
}

static struct lk_tpl_node *item(struct lk_tpl_parser *p, struct lk_tpl_node *left)
{
    struct lk_tpl_node *node = lk_tpl_with_left(p, lk_tpl_make(p, NODE_ITEM), left);
    struct lk_tpl_node *tuple = lk_tpl_make(p, NODE_TUPLE), **end = tuple ? &tuple->list : NULL;
    if (!node || !tuple || !lk_tpl_advance(p)) {
        return NULL;
    }
    while (!lk_tpl_is_op(p, OP_BRACKET_END)) {
        if (tuple->list && !lk_tpl_expect_op(p, OP_COMMA)) {
            return NULL;
        }
        if (!lk_tpl_append(p, tuple, &end, subscript(p))) {
            return NULL;
        }
    }
    bool one = tuple->list && !tuple->list->next;
    for (struct lk_tpl_node *i = one ? NULL : tuple->list; i; i = i->next) {
        if (i->kind == NODE_SLICE) {
            lk_tpl_error(p->lex.text, i->at, LK_E_FORMAT, p->err, "a slice among other indices");
            return NULL;
        }
    }
    node->right = one ? tuple->list : tuple;
    return lk_tpl_advance(p) && lk_tpl_adopt(p, node, node->right) ? node : NULL;
}

/* .name or .number */
static struct lk_tpl_node *attribute(struct lk_tpl_parser *p, struct lk_tpl_node *left)
{
    struct lk_tpl_node *node = lk_tpl_with_left(p, lk_tpl_make(p, NODE_ATTR), left);
    if (!node || !lk_tpl_advance(p)) {
        return NULL;
    }
    if (p->tok.type == TOKEN_INT) {
        node->kind = NODE_ITEM;
        node->right = lk_tpl_make(p, NODE_CONST);
        return node->right && lk_tpl_adopt(p, node, node->right) && lk_tpl_advance(p) ? node : NULL;
    }
    if (p->tok.type != TOKEN_NAME) {
        return lk_tpl_unexpected(p, "a name or a number");
    }
    node->value = p->tok.value;
    return lk_tpl_advance(p) ? node : NULL;
}

struct lk_tpl_node *lk_tpl_postfix(struct lk_tpl_parser *p, struct lk_tpl_node *node)
{
    while (node) {
        if (lk_tpl_is_op(p, OP_DOT)) {
            node = attribute(p, node);
        } else if (lk_tpl_is_op(p, OP_BRACKET)) {
            node = item(p, node);
        } else if (lk_tpl_is_op(p, OP_PAREN)) {
            node = call(p, node);
        } else {
            break;
        }
    }
    return node;
}

/* A name, and those that follow after points, as one text. */
static bool dotted_name(struct lk_tpl_parser *p, struct lk_value *out)
{
    if (p->tok.type != TOKEN_NAME) {
        return lk_tpl_unexpected(p, "a name") != NULL;
    }
    const char *from = p->tok.value.text;
    *out = p->tok.value;
    if (!lk_tpl_advance(p)) {
        return false;
    }
    while (lk_tpl_is_op(p, OP_DOT)) {
        if (!lk_tpl_advance(p)) {
            return false;
        }
        if (p->tok.type != TOKEN_NAME) {
            return lk_tpl_unexpected(p, "a name") != NULL;
        }
        out->n = (uint32_t)(p->tok.value.text + p->tok.value.n - from);
        if (!lk_tpl_advance(p)) {
            return false;
        }
    }
    return true;
}

struct lk_tpl_node *lk_tpl_filters(struct lk_tpl_parser *p, struct lk_tpl_node *node,
                                   bool inline_first)
{
    for (; inline_first || lk_tpl_is_op(p, OP_PIPE); inline_first = false) {
        if (!inline_first && !lk_tpl_advance(p)) {
            return NULL;
        }
        struct lk_tpl_node *filter = lk_tpl_make(p, NODE_FILTER);
        if (!filter || !lk_tpl_adopt(p, filter, node) || !dotted_name(p, &filter->value)) {
            return NULL;
        }
        filter->left = node;
        filter->builtin = lk_tpl_find_filter(&filter->value);
        if (lk_tpl_is_op(p, OP_PAREN) && !arguments(p, filter)) {
            return NULL;
        }
        node = filter;
    }
    return node;
}

/* Whether a test's argument without parentheses begins here. */
static bool at_test_argument(const struct lk_tpl_parser *p)
{
    switch (p->tok.type) {
    case TOKEN_NAME:
        return !lk_tpl_is_name(p, "else") && !lk_tpl_is_name(p, "or") && !lk_tpl_is_name(p, "and");
    case TOKEN_STRING:
    case TOKEN_INT:
    case TOKEN_FLOAT:
        return true;
    default:
        return lk_tpl_is_op(p, OP_BRACKET) || lk_tpl_is_op(p, OP_BRACE);
    }
}

static struct lk_tpl_node *test(struct lk_tpl_parser *p, struct lk_tpl_node *left)
{
    struct lk_tpl_node *node = lk_tpl_with_left(p, lk_tpl_make(p, NODE_TEST), left);
    if (!node || !lk_tpl_advance(p)) {
        return NULL;
    }
    bool negated = lk_tpl_is_name(p, "not");
    if ((negated && !lk_tpl_advance(p)) || !dotted_name(p, &node->value)) {
        return NULL;
    }
    node->builtin = lk_tpl_find_test(&node->value);
    if (lk_tpl_is_op(p, OP_PAREN)) {
        if (!arguments(p, node)) {
            return NULL;
        }
    } else if (at_test_argument(p)) {
        struct lk_tpl_args *a = node->args = lk_region_alloc(p->lex.region, sizeof *a);
        if (!a) {
            return lk_tpl_no_memory(p);
        }
        if (lk_tpl_is_name(p, "is")) {
            return lk_tpl_unexpected(p, "one test after `is`");
        }
        *a = (struct lk_tpl_args){.n = 1};
        struct lk_tpl_node **end = &a->list;
        if (!lk_tpl_link(p, node, &end, lk_tpl_postfix(p, lk_tpl_primary(p, false)))) {
            return NULL;
        }
    }
    return negated ? lk_tpl_with_left(p, lk_tpl_node(p, NODE_NOT, node->at), node) : node;
}

struct lk_tpl_node *lk_tpl_filters_and_tests(struct lk_tpl_parser *p, struct lk_tpl_node *node)
{
    while (node) {
        if (lk_tpl_is_op(p, OP_PIPE)) {
            node = lk_tpl_filters(p, node, false);
        } else if (lk_tpl_is_name(p, "is")) {
            node = test(p, node);
        } else if (lk_tpl_is_op(p, OP_PAREN)) {
            node = call(p, node);
        } else {
            break;
        }
    }
    return node;
}
