/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_eval: expressions at work.
 */
#include "text/template/template_run.h"

/* ---- variables ---- */

static struct lk_value *slot_of(struct lk_tpl_run *r, struct lk_tpl_var var)
{
    struct lk_tpl_env *env = r->env;
    for (uint16_t i = 0; i < var.hops; i++) {
        env = env->parent;
    }
    return &env->slot[var.slot];
}

/* A name that no scope stores: a variable of the context, a function, or nothing. */
static struct lk_value resolve(struct lk_tpl_run *r, const struct lk_value *name)
{
    for (uint32_t i = 0; i < r->t->n_exported; i++) {
        const struct lk_tpl_init *e = &r->t->exported[i];
        if (e->name.n == name->n && memcmp(e->name.text, name->text, name->n) == 0 &&
            r->root->slot[e->slot].type != LK_TPL_MISSING) {
            return r->root->slot[e->slot];
        }
    }
    const struct lk_value *found = lk_value_find(r->variables, name->text, name->n);
    if (found) {
        return *found;
    }
    int function = lk_tpl_find_function(name);
    struct lk_value v = lk_tpl_object(LK_TPL_FUNCTION, NULL);
    v.integer = function;
    return function >= 0 ? v : lk_tpl_missing;
}

void lk_tpl_enter_scope(struct lk_tpl_run *r, const struct lk_tpl_scope *scope)
{
    for (uint32_t i = 0; i < scope->n; i++) {
        const struct lk_tpl_init *init = &scope->init[i];
        struct lk_value *slot = &r->env->slot[init->slot];
        switch (init->load) {
        case LOAD_PARAMETER:
            break;
        case LOAD_RESOLVE:
            *slot = resolve(r, &init->name);
            break;
        case LOAD_ALIAS:
            *slot = *slot_of(r, init->from);
            break;
        case LOAD_UNDEFINED:
            *slot = lk_tpl_missing;
            break;
        }
    }
    r->steps -= scope->n / 4;
}

void lk_tpl_leave_scope(struct lk_tpl_run *r, const struct lk_tpl_scope *scope)
{
    for (uint32_t i = 0; i < scope->n; i++) {
        r->env->slot[scope->init[i].slot] = lk_tpl_missing;
    }
}

struct lk_tpl_env *lk_tpl_env(struct lk_tpl_run *r, const struct lk_tpl_func *func,
                              struct lk_tpl_env *parent)
{
    size_t n = func->n_slots;
    struct lk_tpl_env *env =
        lk_tpl_alloc(r, sizeof *env + n * sizeof env->slot[0], 1); /* slots are few: of one text */
    if (env) {
        env->parent = parent;
        for (size_t i = 0; i < n; i++) {
            env->slot[i] = lk_tpl_missing;
        }
    }
    return env;
}

static lk_status set_attribute(struct lk_tpl_run *r, const struct lk_tpl_node *target,
                               const struct lk_value *v)
{
    const struct lk_value *of = slot_of(r, target->left->var), *name = &target->value;
    struct lk_tpl_namespace *space = (void *)(uintptr_t)of->object;
    r->at = target->at;
    if (of->type != LK_TPL_NAMESPACE) {
        return lk_tpl_fail(r, "found a value of type %s, expected a namespace to set '%.*s' of",
                           lk_tpl_type_name(of), (int)name->n, name->text);
    }
    if (name->text[0] == '_') {
        return lk_tpl_fail(r, "names of a namespace begin with no underscore");
    }
    lk_tpl_escape(r, v);
    for (uint32_t i = 0; i < space->n; i++) {
        const struct lk_value *key = &space->member[i].key;
        if (key->n == name->n && memcmp(key->text, name->text, name->n) == 0) {
            space->member[i].value = *v;
            return LK_OK;
        }
    }
    if (space->n == space->cap) {
        uint32_t cap = space->cap < 4 ? 8 : space->cap * 2;
        struct lk_member *grown = lk_tpl_alloc(r, cap, sizeof *grown);
        if (!grown) {
            return r->err->status;
        }
        if (space->n) {
            memcpy(grown, space->member, space->n * sizeof *grown);
        }
        space->member = grown;
        space->cap = cap;
        r->escapes++;
    }
    space->member[space->n++] = (struct lk_member){*name, *v};
    return lk_tpl_work(r, space->n / 8);
}

static lk_status unpack(struct lk_tpl_run *r, const struct lk_tpl_node *target,
                        const struct lk_value *v)
{
    struct lk_value list = *v;
    uint32_t n = 0;
    lk_status status = LK_OK;
    r->at = target->at;
    for (const struct lk_tpl_node *i = target->list; i; i = i->next) {
        n++;
    }
    if (v->type != LK_VALUE_LIST && (status = lk_tpl_listed(r, v, &list))) {
        return status;
    }
    if (list.n != n) {
        return lk_tpl_fail(r, "found %u values to unpack, expected %u", list.n, n);
    }
    const struct lk_value *item = list.item;
    for (const struct lk_tpl_node *i = target->list; i && !status; i = i->next) {
        status = lk_tpl_assign(r, i, item++);
    }
    return status;
}

lk_status lk_tpl_assign(struct lk_tpl_run *r, const struct lk_tpl_node *target,
                        const struct lk_value *v)
{
    if (target->kind == NODE_NAME) {
        *slot_of(r, target->var) = *v;
        return LK_OK;
    }
    return target->kind == NODE_NSREF ? set_attribute(r, target, v) : unpack(r, target, v);
}

/* ---- literals ---- */

static size_t count(const struct lk_tpl_node *list)
{
    size_t n = 0;
    for (; list; list = list->next) {
        n++;
    }
    return n;
}

static lk_status eval_list(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           struct lk_value *out)
{
    size_t n = count(node->list), at = 0;
    struct lk_value *items = lk_tpl_alloc(r, n, sizeof *items);
    if (!items) {
        return r->err->status;
    }
    for (const struct lk_tpl_node *i = node->list; i; i = i->next) {
        lk_status status = lk_tpl_eval(r, i, &items[at++]);
        if (status) {
            return status;
        }
    }
    *out = lk_tpl_list_of(items, n, node->kind == NODE_TUPLE ? LK_VALUE_TUPLE : 0);
    return LK_OK;
}

static lk_status eval_dict(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           struct lk_value *out)
{
    size_t n = count(node->list), at = 0;
    struct lk_member *members = lk_tpl_alloc(r, n, sizeof *members);
    if (!members) {
        return r->err->status;
    }
    for (const struct lk_tpl_node *i = node->list; i; i = i->next, at++) {
        lk_status status = lk_tpl_eval(r, i->left, &members[at].key);
        if (!status) {
            status = lk_tpl_eval(r, i->right, &members[at].value);
        }
        r->at = node->at;
        if (!status && !lk_tpl_hashable(&members[at].key)) {
            status = lk_tpl_fail(r, "a value of type %s can't be a key",
                                 lk_tpl_type_name(&members[at].key));
        }
        if (status) {
            return status;
        }
    }
    return lk_tpl_make_dict(r, members, n, out);
}

/* ---- operators ---- */

static lk_status eval_logic(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                            struct lk_value *out)
{
    bool stop = node->kind == NODE_OR;
    lk_status status = lk_tpl_eval(r, node->left, out);
    for (const struct lk_tpl_node *i = node->list; i && !status && lk_tpl_truth(out) != stop;
         i = i->next) {
        status = lk_tpl_eval(r, i->left, out);
    }
    return status;
}

static lk_status eval_math(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           struct lk_value *out)
{
    struct lk_value left, right;
    lk_status status = lk_tpl_eval(r, node->left, out);
    for (const struct lk_tpl_node *i = node->list; i && !status; i = i->next) {
        left = *out;
        if (!(status = lk_tpl_eval(r, i->left, &right))) {
            r->at = i->at;
            status = lk_tpl_binary(r, (enum lk_tpl_op)i->op, &left, &right, out);
        }
    }
    return status;
}

/* a < b < c is a < b and b < c. */
static lk_status eval_compare(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                              struct lk_value *out)
{
    struct lk_value left, right;
    bool yes = true;
    lk_status status = lk_tpl_eval(r, node->left, &left);
    for (const struct lk_tpl_node *i = node->list; i && !status && yes; i = i->next) {
        if (!(status = lk_tpl_eval(r, i->left, &right))) {
            r->at = i->at;
            status = lk_tpl_compare(r, (enum lk_tpl_op)i->op, &left, &right, &yes);
            left = right;
        }
    }
    *out = lk_value_bool(yes);
    return status;
}

static lk_status eval_concat(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                             struct lk_value *out)
{
    size_t n = count(node->list) + 1, at = 0;
    struct lk_value *parts = lk_tpl_alloc(r, n, sizeof *parts);
    if (!parts) {
        return r->err->status;
    }
    const struct lk_tpl_node *link = node->list, *part = node->left;
    while (part) {
        lk_status status = lk_tpl_eval(r, part, &parts[at]);
        r->at = part->at;
        if (!status) {
            status = lk_tpl_str(r, &parts[at], &parts[at]);
        }
        if (status) {
            return status;
        }
        at++;
        part = link ? link->left : NULL;
        link = link ? link->next : NULL;
    }
    r->at = node->at;
    return lk_tpl_concat(r, parts, n, 0, out);
}

static lk_status eval_if_else(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                              struct lk_value *out)
{
    lk_status status = lk_tpl_eval(r, node->third, out);
    if (status) {
        return status;
    }
    if (lk_tpl_truth(out)) {
        return lk_tpl_eval(r, node->left, out);
    }
    if (node->right) {
        return lk_tpl_eval(r, node->right, out);
    }
    *out = lk_tpl_undefined_hint("an inline if without else was not true");
    return LK_OK;
}

/* ---- items ---- */

static lk_status eval_slice(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                            const struct lk_value *object, struct lk_value *out)
{
    const struct lk_tpl_node *slice = node->right;
    const struct lk_tpl_node *part[3] = {slice->left, slice->right, slice->third};
    struct lk_value v[3];
    for (int i = 0; i < 3; i++) {
        lk_status status = part[i] ? lk_tpl_eval(r, part[i], &v[i]) : LK_OK;
        if (status) {
            return status;
        }
    }
    r->at = node->at;
    return lk_tpl_slice(r, object, part[0] ? &v[0] : NULL, part[1] ? &v[1] : NULL,
                        part[2] ? &v[2] : NULL, out);
}

static lk_status eval_item(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           struct lk_value *out)
{
    struct lk_value object, key;
    lk_status status = lk_tpl_eval(r, node->left, &object);
    if (status) {
        return status;
    }
    if (node->right->kind == NODE_SLICE) {
        return eval_slice(r, node, &object, out);
    }
    if ((status = lk_tpl_eval(r, node->right, &key))) {
        return status;
    }
    r->at = node->at;
    return lk_tpl_item(r, &object, &key, out);
}

/* ---- calls ---- */

static lk_status add_named(struct lk_tpl_run *r, struct lk_member *named, uint32_t *n,
                           const struct lk_value *key, const struct lk_value *v)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (named[i].key.n == key->n && memcmp(named[i].key.text, key->text, key->n) == 0) {
            return lk_tpl_fail(r, "two values for the argument '%.*s'",
                               (int)(key->n < 40 ? key->n : 40), key->text);
        }
    }
    named[(*n)++] = (struct lk_member){*key, *v};
    return lk_tpl_work(r, *n / 8);
}

static lk_status spread_named(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                              struct lk_value *dict)
{
    lk_status status = lk_tpl_eval(r, node, dict);
    r->at = node->at;
    if (!status && dict->type != LK_VALUE_DICT) {
        return lk_tpl_fail(r, "found a value of type %s behind **, expected a dict",
                           lk_tpl_type_name(dict));
    }
    for (uint32_t i = 0; !status && i < dict->n; i++) {
        if (!lk_tpl_is_text(&dict->member[i].key)) {
            return lk_tpl_fail(r, "names of arguments are strings");
        }
    }
    return status;
}

/* The arguments of a call; caller (may be NULL) is one more by that name. */
static lk_status eval_args(struct lk_tpl_run *r, const struct lk_tpl_args *a,
                           const struct lk_value *caller, struct lk_tpl_call *call)
{
    static const struct lk_tpl_args none;
    struct lk_tpl_items items = {0};
    struct lk_value star = {0}, dict = {0}, v;
    lk_status status = LK_OK;
    a = a ? a : &none;
    *call = (struct lk_tpl_call){0};
    if (!a->list && !a->named && !a->star && !a->star_star && !caller) {
        return LK_OK;
    }
    for (const struct lk_tpl_node *i = a->list; i && !status; i = i->next) {
        if (!(status = lk_tpl_eval(r, i->left, &v))) {
            status = lk_tpl_add(r, &items, &v);
        }
    }
    if (!status && a->star && !(status = lk_tpl_eval(r, a->star, &v)) &&
        !(status = lk_tpl_listed(r, &v, &star))) {
        for (uint32_t i = 0; i < star.n && !status; i++) {
            status = lk_tpl_add(r, &items, &star.item[i]);
        }
    }
    if (!status && a->star_star) {
        status = spread_named(r, a->star_star, &dict);
    }
    size_t most = a->n_named + (caller != NULL) + (a->star_star ? dict.n : 0);
    struct lk_member *named = !status && most ? lk_tpl_alloc(r, most, sizeof *named) : NULL;
    if (status || (most && !named)) {
        return status ? status : r->err->status;
    }
    uint32_t n = 0;
    for (const struct lk_tpl_node *i = a->named; i && !status; i = i->next) {
        if (!(status = lk_tpl_eval(r, i->left, &v))) {
            status = add_named(r, named, &n, &i->value, &v);
        }
    }
    for (uint32_t i = 0; a->star_star && i < dict.n && !status; i++) {
        status = add_named(r, named, &n, &dict.member[i].key, &dict.member[i].value);
    }
    if (!status && caller) {
        const struct lk_value name = lk_tpl_static("caller");
        status = add_named(r, named, &n, &name, caller);
    }
    *call = (struct lk_tpl_call){items.item, (uint32_t)items.n, named, n};
    return status;
}

lk_status lk_tpl_eval_call(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           const struct lk_value *caller, struct lk_value *out)
{
    const struct lk_tpl_node *callee = node->left;
    struct lk_value object, function;
    struct lk_tpl_call call;
    int method = LK_TPL_METHOD_NONE;
    lk_status status;
    if (callee->kind == NODE_ATTR) { /* a method needs no object of its own */
        if ((status = lk_tpl_eval(r, callee->left, &object))) {
            return status;
        }
        method = lk_tpl_find_method(&object, &callee->value);
        r->at = callee->at;
        status = method >= 0 ? LK_OK : lk_tpl_attribute(r, &object, &callee->value, &function);
    } else {
        status = lk_tpl_eval(r, callee, &function);
    }
    if (status || (status = eval_args(r, node->args, caller, &call))) {
        return status;
    }
    r->at = node->at;
    return method >= 0 ? lk_tpl_call_method(r, method, &object, &call, out)
                       : lk_tpl_call_value(r, &function, &call, out);
}

static lk_status unknown(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    return lk_tpl_fail(r, "no %s has the name '%.*s'",
                       node->kind == NODE_FILTER ? "filter" : "test", (int)node->value.n,
                       node->value.text);
}

static lk_status eval_builtin(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                              struct lk_value *out)
{
    struct lk_value v = r->captured;
    struct lk_tpl_call call;
    lk_status status = node->left ? lk_tpl_eval(r, node->left, &v) : LK_OK;
    if (status || (status = eval_args(r, node->args, NULL, &call))) {
        return status;
    }
    r->at = node->at;
    if (node->builtin < 0) {
        return unknown(r, node);
    }
    if (node->kind == NODE_FILTER) {
        return lk_tpl_filter(r, node->builtin, &v, &call, out);
    }
    bool yes = false;
    status = lk_tpl_test(r, node->builtin, &v, &call, &yes);
    *out = lk_value_bool(yes);
    return status;
}

/* ---- all of them ---- */

static lk_status eval_node(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           struct lk_value *out)
{
    struct lk_value v;
    lk_status status;
    switch (node->kind) {
    case NODE_LIST:
    case NODE_TUPLE:
        return eval_list(r, node, out);
    case NODE_DICT:
        return eval_dict(r, node, out);
    case NODE_OR:
    case NODE_AND:
        return eval_logic(r, node, out);
    case NODE_NOT:
        status = lk_tpl_eval(r, node->left, &v);
        *out = lk_value_bool(!status && !lk_tpl_truth(&v));
        return status;
    case NODE_COMPARE:
        return eval_compare(r, node, out);
    case NODE_MATH:
        return eval_math(r, node, out);
    case NODE_CONCAT:
        return eval_concat(r, node, out);
    case NODE_NEG:
    case NODE_POS:
        if ((status = lk_tpl_eval(r, node->left, &v))) {
            return status;
        }
        r->at = node->at;
        return lk_tpl_negate(r, &v, node->kind == NODE_NEG, out);
    case NODE_IF_ELSE:
        return eval_if_else(r, node, out);
    case NODE_ATTR:
        if ((status = lk_tpl_eval(r, node->left, &v))) {
            return status;
        }
        r->at = node->at;
        return lk_tpl_attribute(r, &v, &node->value, out);
    case NODE_ITEM:
        return eval_item(r, node, out);
    case NODE_CALL:
        return lk_tpl_eval_call(r, node, NULL, out);
    case NODE_FILTER:
    case NODE_TEST:
        return eval_builtin(r, node, out);
    default:
        return lk_tpl_fail(r, "an expression of kind %d", node->kind);
    }
}

/* Constants and names are no steps: what is done with them is. */
lk_status lk_tpl_eval(struct lk_tpl_run *r, const struct lk_tpl_node *node, struct lk_value *out)
{
    if (node->kind == NODE_CONST) {
        *out = node->value;
        return LK_OK;
    }
    if (node->kind == NODE_NAME) {
        *out = *slot_of(r, node->var);
        if (out->type == LK_TPL_MISSING) {
            *out = lk_tpl_undefined_name(&node->value);
        }
        return LK_OK;
    }
    lk_status status = lk_tpl_deeper(r);
    if (!status) {
        status = eval_node(r, node, out);
        r->depth--;
    }
    return status;
}
