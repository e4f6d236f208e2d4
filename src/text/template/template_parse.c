/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_parse: the statements of a template, from tokens to nodes, and what the whole parser
 * stands on.
 */
#include "text/template/template_ast.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* ---- what the parser stands on ---- */

void *lk_tpl_no_memory(struct lk_tpl_parser *p)
{
    lk_region_fail(p->lex.region, "chat template", p->err);
    return NULL;
}

struct lk_tpl_node *lk_tpl_node(struct lk_tpl_parser *p, enum lk_tpl_kind kind, size_t at)
{
    struct lk_tpl_node *node = lk_region_alloc(p->lex.region, sizeof *node);
    if (!node) {
        return lk_tpl_no_memory(p);
    }
    *node = (struct lk_tpl_node){.kind = (uint8_t)kind,
                                 .height = 1,
                                 .at = (uint32_t)at,
                                 .value = p->tok.value};
    return node;
}

static bool too_deep(struct lk_tpl_parser *p)
{
    lk_tpl_error(p->lex.text, p->tok.at, LK_E_INVALID, p->err,
                 "more than %d expressions or blocks inside of each other", LK_TPL_DEPTH);
    return false;
}

bool lk_tpl_adopt(struct lk_tpl_parser *p, struct lk_tpl_node *node,
                  const struct lk_tpl_node *child)
{
    if (node && child && child->height >= node->height) {
        node->height = child->height + 1;
    }
    return node && (node->height <= LK_TPL_DEPTH || too_deep(p));
}

bool lk_tpl_enter(struct lk_tpl_parser *p)
{
    return ++p->depth <= LK_TPL_DEPTH || too_deep(p);
}

bool lk_tpl_advance(struct lk_tpl_parser *p)
{
    if (p->has_ahead) {
        p->tok = p->ahead;
        p->has_ahead = false;
        return true;
    }
    return lk_tpl_next(&p->lex, &p->tok) == LK_OK;
}

bool lk_tpl_peek(struct lk_tpl_parser *p)
{
    if (!p->has_ahead) {
        p->has_ahead = lk_tpl_next(&p->lex, &p->ahead) == LK_OK;
    }
    return p->has_ahead;
}

bool lk_tpl_is_op(const struct lk_tpl_parser *p, enum lk_tpl_op op)
{
    return p->tok.type == TOKEN_OPERATOR && p->tok.op == op;
}

bool lk_tpl_is_name(const struct lk_tpl_parser *p, const char *name)
{
    return p->tok.type == TOKEN_NAME && lk_value_is(&p->tok.value, name);
}

void *lk_tpl_unexpected(struct lk_tpl_parser *p, const char *expect)
{
    static const char *const names[] = {[TOKEN_END] = "the end of the template",
                                        [TOKEN_DATA] = "text",
                                        [TOKEN_BLOCK_BEGIN] = "{%",
                                        [TOKEN_BLOCK_END] = "%}",
                                        [TOKEN_PRINT_BEGIN] = "{{",
                                        [TOKEN_PRINT_END] = "}}",
                                        [TOKEN_STRING] = "a string",
                                        [TOKEN_INT] = "a number",
                                        [TOKEN_FLOAT] = "a number"};
    const struct lk_tpl_tok *t = &p->tok;
    if (t->type == TOKEN_NAME || t->type == TOKEN_OPERATOR) {
        lk_tpl_error(p->lex.text, t->at, LK_E_FORMAT, p->err, "found '%.*s', expected %s",
                     (int)(t->value.n < 64 ? t->value.n : 64), t->value.text, expect);
    } else {
        lk_tpl_error(p->lex.text, t->at, LK_E_FORMAT, p->err, "found %s, expected %s",
                     names[t->type], expect);
    }
    return NULL;
}

static const char *spelling(enum lk_tpl_op op)
{
    return op == OP_COMMA       ? "','"
           : op == OP_COLON     ? "':'"
           : op == OP_ASSIGN    ? "'='"
           : op == OP_PAREN     ? "'('"
           : op == OP_PAREN_END ? "')'"
                                : "an operator";
}

bool lk_tpl_expect_op(struct lk_tpl_parser *p, enum lk_tpl_op op)
{
    return lk_tpl_is_op(p, op) ? lk_tpl_advance(p) : lk_tpl_unexpected(p, spelling(op)) != NULL;
}

static bool expect_name(struct lk_tpl_parser *p, const char *name)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", name);
    return lk_tpl_is_name(p, name) ? lk_tpl_advance(p) : lk_tpl_unexpected(p, quoted) != NULL;
}

static bool skip_name(struct lk_tpl_parser *p, const char *name, bool *found)
{
    *found = lk_tpl_is_name(p, name);
    return !*found || lk_tpl_advance(p);
}

/* ---- bodies ---- */

/* Whether the present token is one of the tags that may end a body: words with spaces between. */
static bool ends_body(const struct lk_tpl_parser *p, const char *ends)
{
    while (ends && *ends && p->tok.type == TOKEN_NAME) {
        size_t n = strcspn(ends, " ");
        if (p->tok.value.n == n && memcmp(p->tok.value.text, ends, n) == 0) {
            return true;
        }
        ends += n + (ends[n] == ' ');
    }
    return false;
}

static struct lk_tpl_node *statement(struct lk_tpl_parser *p);

/* Statements and text up to a tag of `ends` (NULL: the template's end), whose name is then the
 * present token. They are appended to `list`, an owner's. */
static bool body(struct lk_tpl_parser *p, struct lk_tpl_node *owner, struct lk_tpl_node **list,
                 const char *ends)
{
    struct lk_tpl_node **end = list;
    if (!lk_tpl_enter(p)) {
        return false;
    }
    for (;;) {
        struct lk_tpl_node *node;
        if (p->tok.type == TOKEN_END) {
            p->depth--;
            return !ends || lk_tpl_unexpected(p, ends) != NULL;
        }
        if (p->tok.type == TOKEN_DATA) {
            node = lk_tpl_node(p, NODE_DATA, p->tok.at);
            if (!node || !lk_tpl_advance(p)) {
                return false;
            }
        } else if (p->tok.type == TOKEN_PRINT_BEGIN) {
            node = lk_tpl_node(p, NODE_PRINT, p->tok.at);
            if (!node || !lk_tpl_advance(p) || !(node->left = lk_tpl_tuple(p, true, NULL, false)) ||
                !lk_tpl_adopt(p, node, node->left)) {
                return false;
            }
            if (p->tok.type != TOKEN_PRINT_END) {
                return lk_tpl_unexpected(p, "'}}'") != NULL;
            }
            if (!lk_tpl_advance(p)) {
                return false;
            }
        } else {
            if (!lk_tpl_advance(p)) {
                return false;
            }
            if (ends_body(p, ends)) {
                p->depth--;
                return true;
            }
            node = statement(p);
            if (!node) {
                return false;
            }
            if (p->tok.type != TOKEN_BLOCK_END) {
                return lk_tpl_unexpected(p, "'%}'") != NULL;
            }
            if (!lk_tpl_advance(p)) {
                return false;
            }
        }
        if (!lk_tpl_adopt(p, owner, node)) {
            return false;
        }
        *end = node;
        while (*end) {
            end = &(*end)->next; /* `print` makes several nodes */
        }
    }
}

/* The rest of a tag, then the body up to one of `ends`. */
static bool block_body(struct lk_tpl_parser *p, struct lk_tpl_node *owner,
                       struct lk_tpl_node **list, const char *ends)
{
    if (lk_tpl_is_op(p, OP_COLON) && !lk_tpl_advance(p)) {
        return false;
    }
    if (p->tok.type != TOKEN_BLOCK_END) {
        return lk_tpl_unexpected(p, "'%}'") != NULL;
    }
    return lk_tpl_advance(p) && body(p, owner, list, ends);
}

/* The same up to the one tag `end`, which is taken. */
static bool whole_body(struct lk_tpl_parser *p, struct lk_tpl_node *owner, const char *end)
{
    return block_body(p, owner, &owner->list, end) && lk_tpl_advance(p);
}

/* ---- statements ---- */

/* A node for the tag whose name is the present token, which is taken. */
static struct lk_tpl_node *begin(struct lk_tpl_parser *p, enum lk_tpl_kind kind)
{
    struct lk_tpl_node *node = lk_tpl_node(p, kind, p->tok.at);
    return node && lk_tpl_advance(p) ? node : NULL;
}

static struct lk_tpl_node *parse_set(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_SET);
    if (!node || !(node->left = lk_tpl_target(p, NULL, true))) {
        return NULL;
    }
    if (lk_tpl_is_op(p, OP_ASSIGN)) {
        if (!lk_tpl_advance(p) || !(node->right = lk_tpl_tuple(p, true, NULL, false))) {
            return NULL;
        }
        return lk_tpl_adopt(p, node, node->left) && lk_tpl_adopt(p, node, node->right) ? node
                                                                                       : NULL;
    }
    node->kind = NODE_SET_BLOCK;
    if (lk_tpl_is_op(p, OP_PIPE) && !(node->right = lk_tpl_filters(p, NULL, false))) {
        return NULL;
    }
    if (!lk_tpl_adopt(p, node, node->right) || !whole_body(p, node, "endset")) {
        return NULL;
    }
    return node;
}

static struct lk_tpl_node *parse_for(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_FOR);
    bool filtered;
    if (!node || !(node->left = lk_tpl_target(p, "in", false)) || !expect_name(p, "in") ||
        !(node->right = lk_tpl_tuple(p, false, "recursive", false)) ||
        !lk_tpl_adopt(p, node, node->right) || !skip_name(p, "if", &filtered)) {
        return NULL;
    }
    if (filtered &&
        (!(node->third = lk_tpl_expression(p, true)) || !lk_tpl_adopt(p, node, node->third))) {
        return NULL;
    }
    if (!skip_name(p, "recursive", &node->flag) ||
        !block_body(p, node, &node->list, "endfor else")) {
        return NULL;
    }
    if (lk_tpl_is_name(p, "else") &&
        (!lk_tpl_advance(p) || !block_body(p, node, &node->more, "endfor"))) {
        return NULL;
    }
    return lk_tpl_advance(p) ? node : NULL;
}

/* `elif` makes a chain through `right`, which is a list and no tree. */
static struct lk_tpl_node *parse_if(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *first = NULL, **to = &first;
    for (;;) {
        struct lk_tpl_node *node = *to = begin(p, NODE_IF);
        if (!node || !(node->left = lk_tpl_tuple(p, false, NULL, false)) ||
            !lk_tpl_adopt(p, node, node->left) ||
            !block_body(p, node, &node->list, "elif else endif")) {
            return NULL;
        }
        first->height = node->height > first->height ? node->height : first->height;
        if (lk_tpl_is_name(p, "elif")) {
            to = &node->right;
            continue;
        }
        if (lk_tpl_is_name(p, "else") &&
            (!lk_tpl_advance(p) || !block_body(p, first, &node->more, "endif"))) {
            return NULL;
        }
        return lk_tpl_advance(p) ? first : NULL;
    }
}

/* Parameters as a list of NAMEs; a default is the name's right. */
static bool parameters(struct lk_tpl_parser *p, struct lk_tpl_node *owner)
{
    struct lk_tpl_node **end = &owner->right;
    bool defaults = false;
    if (!lk_tpl_expect_op(p, OP_PAREN)) {
        return false;
    }
    while (!lk_tpl_is_op(p, OP_PAREN_END)) {
        if (owner->right && !lk_tpl_expect_op(p, OP_COMMA)) {
            return false;
        }
        struct lk_tpl_node *name = lk_tpl_target_name(p);
        if (!name) {
            return false;
        }
        for (const struct lk_tpl_node *n = owner->right; n; n = n->next) {
            if (n->value.n == name->value.n &&
                memcmp(n->value.text, name->value.text, n->value.n) == 0) {
                lk_tpl_error(p->lex.text, name->at, LK_E_FORMAT, p->err,
                             "a parameter with the name of another");
                return false;
            }
        }
        if (lk_tpl_is_op(p, OP_ASSIGN)) {
            defaults = true;
            if (!lk_tpl_advance(p) || !(name->right = lk_tpl_expression(p, true)) ||
                !lk_tpl_adopt(p, owner, name->right)) {
                return false;
            }
        } else if (defaults) {
            return lk_tpl_unexpected(p, "a default, as the parameter before has one") != NULL;
        }
        *end = name;
        end = &name->next;
    }
    return lk_tpl_advance(p);
}

static struct lk_tpl_node *parse_macro(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_MACRO);
    if (!node || !(node->left = lk_tpl_target_name(p)) || !parameters(p, node) ||
        !whole_body(p, node, "endmacro")) {
        return NULL;
    }
    return node;
}

static struct lk_tpl_node *parse_call(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_CALL_BLOCK);
    if (!node || (lk_tpl_is_op(p, OP_PAREN) && !parameters(p, node)) ||
        !(node->left = lk_tpl_expression(p, true)) || !lk_tpl_adopt(p, node, node->left)) {
        return NULL;
    }
    if (node->left->kind != NODE_CALL) {
        lk_tpl_error(p->lex.text, node->left->at, LK_E_FORMAT, p->err,
                     "found an expression, expected a call");
        return NULL;
    }
    return whole_body(p, node, "endcall") ? node : NULL;
}

static struct lk_tpl_node *parse_generation(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_CALL_BLOCK);
    return node && whole_body(p, node, "endgeneration") ? node : NULL;
}

static struct lk_tpl_node *parse_filter(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_FILTER_BLOCK);
    if (!node || !(node->left = lk_tpl_filters(p, NULL, true)) ||
        !lk_tpl_adopt(p, node, node->left) || !whole_body(p, node, "endfilter")) {
        return NULL;
    }
    return node;
}

static struct lk_tpl_node *parse_with(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_WITH), **end = node ? &node->right : NULL;
    while (node && p->tok.type != TOKEN_BLOCK_END) {
        struct lk_tpl_node *pair;
        if ((node->right && !lk_tpl_expect_op(p, OP_COMMA)) ||
            !(pair = lk_tpl_node(p, NODE_LINK, p->tok.at)) ||
            !(pair->left = lk_tpl_target(p, NULL, false)) || !lk_tpl_expect_op(p, OP_ASSIGN) ||
            !(pair->right = lk_tpl_expression(p, true)) || !lk_tpl_adopt(p, node, pair->right)) {
            return NULL;
        }
        *end = pair;
        end = &pair->next;
    }
    return node && whole_body(p, node, "endwith") ? node : NULL;
}

static struct lk_tpl_node *parse_block(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_BLOCK);
    bool ignored;
    if (!node) {
        return NULL;
    }
    if (p->tok.type != TOKEN_NAME) {
        return lk_tpl_unexpected(p, "the block's name");
    }
    node->value = p->tok.value;
    if (!lk_tpl_advance(p) || !skip_name(p, "scoped", &node->flag) ||
        !skip_name(p, "required", &ignored) || !whole_body(p, node, "endblock")) {
        return NULL;
    }
    if (ignored) {
        lk_tpl_error(p->lex.text, node->at, LK_E_UNSUPPORTED, p->err,
                     "a required block, which only another template could fill");
        return NULL;
    }
    bool again = p->tok.type == TOKEN_NAME && p->tok.value.n == node->value.n &&
                 memcmp(p->tok.value.text, node->value.text, node->value.n) == 0;
    return !again || lk_tpl_advance(p) ? node : NULL;
}

/* {% print a, b %} */
static struct lk_tpl_node *parse_print(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *first = NULL, **end = &first;
    if (!lk_tpl_advance(p)) {
        return NULL;
    }
    while (p->tok.type != TOKEN_BLOCK_END) {
        struct lk_tpl_node *node;
        if ((first && !lk_tpl_expect_op(p, OP_COMMA)) ||
            !(node = lk_tpl_node(p, NODE_PRINT, p->tok.at)) ||
            !(node->left = lk_tpl_expression(p, true)) || !lk_tpl_adopt(p, node, node->left)) {
            return NULL;
        }
        *end = node;
        end = &node->next;
    }
    if (!first && (first = lk_tpl_node(p, NODE_DATA, p->tok.at))) {
        first->value = lk_value_text("", 0, LK_VALUE_TRUSTED);
    }
    return first;
}

static struct lk_tpl_node *parse_simple(struct lk_tpl_parser *p)
{
    return begin(p, lk_tpl_is_name(p, "break") ? NODE_BREAK : NODE_CONTINUE);
}

/* Other templates are out of reach: an error, but only where the tag is reached. */
static struct lk_tpl_node *parse_loader(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = lk_tpl_node(p, NODE_NO_LOADER, p->tok.at);
    if (!node || !lk_tpl_advance(p) || !lk_tpl_expression(p, true)) {
        return NULL;
    }
    while (p->tok.type == TOKEN_NAME || lk_tpl_is_op(p, OP_COMMA)) {
        if (!lk_tpl_advance(p)) {
            return NULL;
        }
    }
    return node;
}

/* Text is never escaped here, so that to switch it off is to have a scope. */
static struct lk_tpl_node *parse_autoescape(struct lk_tpl_parser *p)
{
    struct lk_tpl_node *node = begin(p, NODE_WITH), *on = node ? lk_tpl_expression(p, true) : NULL;
    if (!on) {
        return NULL;
    }
    if (on->kind != NODE_CONST || on->value.type != LK_VALUE_BOOL || on->value.boolean) {
        lk_tpl_error(p->lex.text, node->at, LK_E_UNSUPPORTED, p->err,
                     "autoescape, which is for HTML, is not known here");
        return NULL;
    }
    return whole_body(p, node, "endautoescape") ? node : NULL;
}

static struct lk_tpl_node *statement(struct lk_tpl_parser *p)
{
    static const struct {
        const char *tag;
        struct lk_tpl_node *(*parse)(struct lk_tpl_parser *p);
    } tags[] = {{"if", parse_if},
                {"set", parse_set},
                {"for", parse_for},
                {"macro", parse_macro},
                {"call", parse_call},
                {"filter", parse_filter},
                {"with", parse_with},
                {"generation", parse_generation},
                {"break", parse_simple},
                {"continue", parse_simple},
                {"block", parse_block},
                {"print", parse_print},
                {"include", parse_loader},
                {"import", parse_loader},
                {"from", parse_loader},
                {"extends", parse_loader},
                {"autoescape", parse_autoescape}};
    for (size_t i = 0; i < LK_COUNT(tags); i++) {
        if (lk_tpl_is_name(p, tags[i].tag)) {
            return tags[i].parse(p);
        }
    }
    return lk_tpl_unexpected(p, p->tok.type == TOKEN_NAME ? "a tag that is known" : "a tag");
}

lk_status lk_tpl_parse(struct lk_tpl *t, lk_error *err)
{
    lk_error own = {0};
    struct lk_tpl_parser p = {.lex = {.region = &t->region,
                                      .text = t->text,
                                      .len = t->len,
                                      .line_start = true,
                                      .err = &own},
                              .err = &own};
    struct lk_tpl_node *root = lk_tpl_node(&p, NODE_DATA, 0);
    if (root && lk_tpl_advance(&p) && body(&p, root, &root->list, NULL)) {
        t->body = root->list;
    }
    lk_free(p.lex.open);
    if (own.status && err) {
        *err = own;
    }
    return own.status;
}
