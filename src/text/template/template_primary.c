/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_primary: literals, names, tuples and targets of a template's expressions.
 */
#include "text/template/template_ast.h"

#include <string.h>

/* ---- small steps ---- */

struct lk_tpl_node *lk_tpl_make(struct lk_tpl_parser *p, enum lk_tpl_kind kind)
{
    return lk_tpl_node(p, kind, p->tok.at);
}

/* Appends a link to a list whose end is *end. */
struct lk_tpl_node *lk_tpl_link(struct lk_tpl_parser *p, struct lk_tpl_node *owner,
                                struct lk_tpl_node ***end, struct lk_tpl_node *left)
{
    struct lk_tpl_node *link = left ? lk_tpl_node(p, NODE_LINK, left->at) : NULL;
    if (!link || !lk_tpl_adopt(p, owner, left)) {
        return NULL;
    }
    link->left = left;
    **end = link;
    *end = &link->next;
    return link;
}

bool lk_tpl_append(struct lk_tpl_parser *p, struct lk_tpl_node *owner, struct lk_tpl_node ***end,
                   struct lk_tpl_node *item)
{
    if (!item || !lk_tpl_adopt(p, owner, item)) {
        return false;
    }
    **end = item;
    *end = &item->next;
    return true;
}

struct lk_tpl_node *lk_tpl_with_left(struct lk_tpl_parser *p, struct lk_tpl_node *node,
                                     struct lk_tpl_node *left)
{
    if (!node || !left || !lk_tpl_adopt(p, node, left)) {
        return NULL;
    }
    node->left = left;
    return node;
}

static bool at_string(const struct lk_tpl_parser *p)
{
    return p->tok.type == TOKEN_STRING;
}

/* ---- literals and names ---- */

static bool is_any(const struct lk_value *name, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lk_value_is(name, words[i])) {
            return true;
        }
    }
    return false;
}

static struct lk_tpl_node *name_or_constant(struct lk_tpl_parser *p, bool with_namespace)
{
    static const char *const yes[] = {"true", "True"}, *const no[] = {"false", "False"},
                             *const none[] = {"none", "None"};
    struct lk_tpl_node *node = lk_tpl_make(p, NODE_NAME);
    if (!node || !lk_tpl_advance(p)) {
        return NULL;
    }
    struct lk_value *v = &node->value;
    if (is_any(v, yes, 2) || is_any(v, no, 2)) {
        node->kind = NODE_CONST;
        *v = lk_value_bool(is_any(v, yes, 2));
    } else if (is_any(v, none, 2)) {
        node->kind = NODE_CONST;
        *v = (struct lk_value){.type = LK_VALUE_NULL, .flags = LK_VALUE_TRUSTED};
    } else if (with_namespace && lk_tpl_is_op(p, OP_DOT)) {
        struct lk_tpl_node *ref = lk_tpl_node(p, NODE_NSREF, node->at);
        if (!lk_tpl_advance(p)) {
            return NULL;
        }
        if (p->tok.type != TOKEN_NAME) {
            return lk_tpl_unexpected(p, "a name");
        }
        if (!lk_tpl_with_left(p, ref, node)) {
            return NULL;
        }
        ref->value = p->tok.value;
        return lk_tpl_advance(p) ? ref : NULL;
    }
    return node;
}

/* Strings that follow each other are one. */
static struct lk_tpl_node *string(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = lk_tpl_make(p, NODE_CONST);
    if (!node || !lk_tpl_advance(p)) {
        return NULL;
    }
    while (at_string(p)) {
        size_t n = (size_t)node->value.n + p->tok.value.n;
        char *both = lk_region_alloc(p->lex.region, n + 1);
        if (!both) {
            return lk_tpl_no_memory(p);
        }
        memcpy(both, node->value.text, node->value.n);
        memcpy(both + node->value.n, p->tok.value.text, p->tok.value.n);
        node->value = lk_value_text(both, n, LK_VALUE_TRUSTED);
        if (!lk_tpl_advance(p)) {
            return NULL;
        }
    }
    return node;
}

static struct lk_tpl_node *list(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = lk_tpl_make(p, NODE_LIST), **end = node ? &node->list : NULL;
    if (!node || !lk_tpl_advance(p)) {
        return NULL;
    }
    while (!lk_tpl_is_op(p, OP_BRACKET_END)) {
        if (node->list && !lk_tpl_expect_op(p, OP_COMMA)) {
            return NULL;
        }
        if (lk_tpl_is_op(p, OP_BRACKET_END)) {
            break;
        }
        if (!lk_tpl_append(p, node, &end, lk_tpl_expression(p, true))) {
            return NULL;
        }
    }
    return lk_tpl_advance(p) ? node : NULL;
}

static struct lk_tpl_node *dict(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = lk_tpl_make(p, NODE_DICT), **end = node ? &node->list : NULL;
    if (!node || !lk_tpl_advance(p)) {
        return NULL;
    }
    while (!lk_tpl_is_op(p, OP_BRACE_END)) {
        if (node->list && !lk_tpl_expect_op(p, OP_COMMA)) {
            return NULL;
        }
        if (lk_tpl_is_op(p, OP_BRACE_END)) {
            break;
        }
        struct lk_tpl_node *pair = lk_tpl_link(p, node, &end, lk_tpl_expression(p, true));
        if (!pair || !lk_tpl_expect_op(p, OP_COLON) ||
            !(pair->right = lk_tpl_expression(p, true)) || !lk_tpl_adopt(p, node, pair->right)) {
            return NULL;
        }
    }
    return lk_tpl_advance(p) ? node : NULL;
}

struct lk_tpl_node *lk_tpl_primary(struct lk_tpl_parser *p, bool with_namespace)
{
    struct lk_tpl_node *node;
    switch (p->tok.type) {
    case TOKEN_NAME:
        return name_or_constant(p, with_namespace);
    case TOKEN_STRING:
        return string(p);
    case TOKEN_INT:
    case TOKEN_FLOAT:
        node = lk_tpl_make(p, NODE_CONST);
        return node && lk_tpl_advance(p) ? node : NULL;
    default:
        break;
    }
    if (lk_tpl_is_op(p, OP_BRACKET)) {
        return list(p);
    }
    if (lk_tpl_is_op(p, OP_BRACE)) {
        return dict(p);
    }
    if (lk_tpl_is_op(p, OP_PAREN)) {
        if (!lk_tpl_advance(p) || !(node = lk_tpl_tuple(p, true, NULL, true)) ||
            !lk_tpl_expect_op(p, OP_PAREN_END)) {
            return NULL;
        }
        return node;
    }
    return lk_tpl_unexpected(p, "an expression");
}

/* Whether a tuple without parentheses can have no more items. */
static bool at_end(const struct lk_tpl_parser *p, const char *end)
{
    return p->tok.type == TOKEN_PRINT_END || p->tok.type == TOKEN_BLOCK_END ||
           lk_tpl_is_op(p, OP_PAREN_END) || (end && lk_tpl_is_name(p, end));
}

/* Items with commas between them, each read by item(p, how), as the list of a tuple's node.
 * *is_tuple: there was a comma. */
static struct lk_tpl_node *items(struct lk_tpl_parser *p, const char *end,
                                 struct lk_tpl_node *(*item)(struct lk_tpl_parser *p, bool how),
                                 bool how, bool *is_tuple)
{
    struct lk_tpl_node *node = lk_tpl_make(p, NODE_TUPLE), **last = node ? &node->list : NULL;
    *is_tuple = false;
    while (node && !at_end(p, end)) {
        if (!lk_tpl_append(p, node, &last, item(p, how))) {
            return NULL;
        }
        if (!lk_tpl_is_op(p, OP_COMMA)) {
            break;
        }
        *is_tuple = true;
        if (!lk_tpl_advance(p)) {
            return NULL;
        }
    }
    return node;
}

struct lk_tpl_node *lk_tpl_tuple(struct lk_tpl_parser *p, bool with_if, const char *end,
                                 bool in_parentheses)
{
    bool is_tuple;
    struct lk_tpl_node *node = items(p, end, lk_tpl_expression, with_if, &is_tuple);
    if (!node) {
        return NULL;
    }
    if (!is_tuple && node->list) {
        return node->list;
    }
    return is_tuple || in_parentheses ? node : lk_tpl_unexpected(p, "an expression");
}

/* ---- targets ---- */

static bool can_assign(const struct lk_tpl_node *node)
{
    if (node->kind == NODE_TUPLE) {
        for (const struct lk_tpl_node *i = node->list; i; i = i->next) {
            if (!can_assign(i)) {
                return false;
            }
        }
        return true;
    }
    return node->kind == NODE_NAME || node->kind == NODE_NSREF;
}

static void mark_stored(struct lk_tpl_node *node)
{
    node->flag = node->kind == NODE_NAME;
    for (struct lk_tpl_node *i = node->kind == NODE_TUPLE ? node->list : NULL; i; i = i->next) {
        mark_stored(i);
    }
}

struct lk_tpl_node *lk_tpl_target(struct lk_tpl_parser *p, const char *end, bool with_namespace)
{
    bool is_tuple;
    struct lk_tpl_node *node = items(p, end, lk_tpl_primary, with_namespace, &is_tuple);
    if (!node) {
        return NULL;
    }
    if (!node->list) {
        return lk_tpl_unexpected(p, "a name to assign to");
    }
    node = is_tuple ? node : node->list;
    if (!can_assign(node)) {
        lk_tpl_error(p->lex.text, node->at, LK_E_FORMAT, p->err,
                     "found something that can't be assigned to, expected a name");
        return NULL;
    }
    mark_stored(node);
    return node;
}

struct lk_tpl_node *lk_tpl_target_name(struct lk_tpl_parser *p)
{
    if (p->tok.type != TOKEN_NAME) {
        return lk_tpl_unexpected(p, "a name");
    }
    struct lk_tpl_node *node = name_or_constant(p, false);
    if (node && node->kind != NODE_NAME) {
        lk_tpl_error(p->lex.text, node->at, LK_E_FORMAT, p->err,
                     "found a constant, expected a name to assign to");
        return NULL;
    }
    if (node) {
        node->flag = true;
    }
    return node;
}
