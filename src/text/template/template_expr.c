/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_expr: the expressions of a template, from tokens to nodes. Operators of one strength
 * are one node with a list, so that a long sum is not a deep tree.
 */
#include "text/template/template_ast.h"

#include <string.h>

/* ---- operators ---- */

static struct lk_tpl_node *unary(struct lk_tpl_parser *p, bool with_filters)
{
    bool minus = lk_tpl_is_op(p, OP_SUB), plus = lk_tpl_is_op(p, OP_ADD);
    struct lk_tpl_node *node;
    if (minus || plus) {
        node = lk_tpl_make(p, minus ? NODE_NEG : NODE_POS);
        if (!lk_tpl_enter(p) || !lk_tpl_advance(p)) {
            return NULL;
        }
        node = lk_tpl_with_left(p, node, unary(p, false));
        p->depth--;
    } else {
        node = lk_tpl_primary(p, false);
    }
    node = lk_tpl_postfix(p, node);
    return with_filters ? lk_tpl_filters_and_tests(p, node) : node;
}

/* Operators by strength, the weakest first. All take their operands from the left. */
enum strength {
    STRENGTH_OR,
    STRENGTH_AND,
    STRENGTH_NOT,
    COMPARE,
    SUM,
    CONCAT,
    PRODUCT,
    POWER,
    UNARY
};

static struct lk_tpl_node *binary(struct lk_tpl_parser *p, enum strength strength);

/* The operator of this strength that stands here, OP_NONE if there is none; false on an error. */
static bool operator_here(struct lk_tpl_parser *p, enum strength strength, enum lk_tpl_op *op)
{
    enum lk_tpl_op o = p->tok.type == TOKEN_OPERATOR ? p->tok.op : OP_NONE;
    bool yes = false;
    *op = OP_NONE;
    switch (strength) {
    case STRENGTH_OR:
        yes = lk_tpl_is_name(p, "or");
        break;
    case STRENGTH_AND:
        yes = lk_tpl_is_name(p, "and");
        break;
    case COMPARE:
        if (lk_tpl_is_name(p, "in")) {
            o = OP_IN;
        } else if (lk_tpl_is_name(p, "not")) {
            if (!lk_tpl_peek(p)) {
                return false;
            }
            if (p->ahead.type == TOKEN_NAME && lk_value_is(&p->ahead.value, "in")) {
                o = OP_NOT_IN;
            }
        }
        yes = o >= OP_EQ && o <= OP_NOT_IN;
        break;
    case SUM:
        yes = o == OP_ADD || o == OP_SUB;
        break;
    case CONCAT:
        yes = o == OP_CONCAT;
        break;
    case PRODUCT:
        yes = o >= OP_MUL && o <= OP_MOD;
        break;
    case POWER:
        yes = o == OP_POW;
        break;
    default:
        break;
    }
    *op = !yes ? OP_NONE : o == OP_NONE ? OP_WORD : o;
    return true;
}

static enum lk_tpl_kind kind_of(enum strength strength)
{
    return strength == STRENGTH_OR    ? NODE_OR
           : strength == STRENGTH_AND ? NODE_AND
           : strength == COMPARE      ? NODE_COMPARE
           : strength == CONCAT       ? NODE_CONCAT
                                      : NODE_MATH;
}

/* An operand, then operators of this strength with theirs. */
static struct lk_tpl_node *chain(struct lk_tpl_parser *p, enum strength strength)
{
    struct lk_tpl_node *first = binary(p, strength + 1), *node = NULL, **end = NULL;
    enum lk_tpl_op op;
    while (first) {
        if (!operator_here(p, strength, &op)) {
            return NULL;
        }
        if (op == OP_NONE) {
            return node ? node : first;
        }
        if (!node) {
            node = lk_tpl_with_left(p, lk_tpl_make(p, kind_of(strength)), first);
            if (!node) {
                return NULL;
            }
            end = &node->list;
        }
        size_t at = p->tok.at;
        if (!lk_tpl_advance(p) || (op == OP_NOT_IN && !lk_tpl_advance(p))) {
            return NULL;
        }
        struct lk_tpl_node *link = lk_tpl_link(p, node, &end, binary(p, strength + 1));
        if (!link) {
            return NULL;
        }
        link->op = (uint8_t)op;
        link->at = (uint32_t)at;
    }
    return NULL;
}

static struct lk_tpl_node *negation(struct lk_tpl_parser *p)
{
    if (!lk_tpl_is_name(p, "not")) {
        return binary(p, COMPARE);
    }
    struct lk_tpl_node *node = lk_tpl_make(p, NODE_NOT);
    if (!lk_tpl_enter(p) || !lk_tpl_advance(p)) {
        return NULL;
    }
    node = lk_tpl_with_left(p, node, negation(p));
    p->depth--;
    return node;
}

static struct lk_tpl_node *binary(struct lk_tpl_parser *p, enum strength strength)
{
    return strength == STRENGTH_NOT ? negation(p)
           : strength == UNARY      ? unary(p, true)
                                    : chain(p, strength);
}

struct lk_tpl_node *lk_tpl_expression(struct lk_tpl_parser *p, bool with_if)
{
    if (!lk_tpl_enter(p)) {
        return NULL;
    }
    struct lk_tpl_node *node = binary(p, STRENGTH_OR);
    while (node && with_if && lk_tpl_is_name(p, "if")) {
        struct lk_tpl_node *choice =
            lk_tpl_with_left(p, lk_tpl_node(p, NODE_IF_ELSE, node->at), node);
        if (!choice || !lk_tpl_advance(p) || !(choice->third = binary(p, STRENGTH_OR)) ||
            !lk_tpl_adopt(p, choice, choice->third)) {
            return NULL;
        }
        if (lk_tpl_is_name(p, "else")) {
            if (!lk_tpl_advance(p) || !(choice->right = lk_tpl_expression(p, true)) ||
                !lk_tpl_adopt(p, choice, choice->right)) {
                return NULL;
            }
        }
        node = choice;
    }
    p->depth--;
    return node;
}
