/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_scope: which variable a name means. Jinja compiles templates to Python functions, and
 * its rules follow from that. Names become slots of functions here, and what a compiler refuses is
 * refused.
 */
#include "text/template/template_scope.h"

#include "base/mem.h"

/* Where a statement is. */
struct place {
    struct lk_tpl_symbols *s;
    bool soft;    /* directly in an `if`: unknown filters are found when they are reached */
    bool in_loop; /* `break` has something to break */
};

/* ---- from names to slots ---- */

/* All names are known: each gets a slot of its function, and a way to begin. */
static void finish(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, struct lk_tpl_scope *scope)
{
    scope->n = (uint32_t)s->n;
    scope->init = lk_region_array(&b->t->region, s->n ? s->n : 1, sizeof *scope->init);
    if (!scope->init) {
        lk_tpl_bind_no_memory(b);
        scope->n = 0;
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        struct lk_tpl_entry *e = &s->entry[i];
        e->slot = s->func->n_slots++;
        scope->init[i] = (struct lk_tpl_init){.load = e->load,
                                              .slot = e->slot,
                                              .from = e->from,
                                              .name = e->name};
    }
}

static uint32_t slot_of(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const char *name)
{
    struct lk_value v = lk_value_text(name, strlen(name), LK_VALUE_TRUSTED);
    struct lk_tpl_entry *e = lk_tpl_find_own(b, s, &v);
    return e ? e->slot : 0;
}

static void bind_list(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node);
static void bind(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node);

static void bind_name(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    struct lk_tpl_symbols *owner;
    struct lk_tpl_entry *e = lk_tpl_find_name(b, p.s, &node->value, &owner);
    if (!e) {
        lk_tpl_bind_fail(b, node->at, LK_E_UNSUPPORTED,
                         "a variable in a place where Jinja does not find it");
        return;
    }
    node->var = lk_tpl_reach(p.s->func, owner, e);
}

static void bind_args(struct lk_tpl_binder *b, struct place p, struct lk_tpl_args *a)
{
    if (a) {
        bind_list(b, p, a->list);
        bind_list(b, p, a->named);
        bind(b, p, a->star);
        bind(b, p, a->star_star);
    }
}

/* ---- statements with scopes of their own ---- */

static struct lk_tpl_node *copy_target(struct lk_tpl_binder *b, const struct lk_tpl_node *node)
{
    struct lk_tpl_node *copy = lk_region_alloc(&b->t->region, sizeof *copy), **end;
    if (!copy) {
        lk_tpl_bind_no_memory(b);
        return NULL;
    }
    *copy = *node;
    end = &copy->list;
    for (const struct lk_tpl_node *i = node->kind == NODE_TUPLE ? node->list : NULL; i;
         i = i->next) {
        *end = copy_target(b, i);
        if (!*end) {
            return NULL;
        }
        end = &(*end)->next;
    }
    *end = NULL;
    return copy;
}

static void bind_test(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    struct lk_tpl_symbols s = {.parent = p.s, .func = p.s->func};
    lk_tpl_declare_targets(b, &s, node->left);
    lk_tpl_names_of(b, &s, node->third);
    finish(b, &s, &node->loop->test);
    node->loop->test_target = copy_target(b, node->left);
    struct place inside = {&s, false, false};
    bind(b, inside, node->loop->test_target);
    bind(b, inside, node->third);
    lk_free(s.entry);
}

static void bind_for(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    struct lk_tpl_loop *loop = node->loop = lk_region_alloc(&b->t->region, sizeof *loop);
    bool outer_for = b->in_for;
    if (!loop) {
        lk_tpl_bind_no_memory(b);
        return;
    }
    *loop = (struct lk_tpl_loop){.extended = node->flag || lk_tpl_uses(b, node->list, "loop")};
    bind(b, p, node->right);
    b->in_for = true;
    if (node->third) {
        bind_test(b, p, node);
    }
    struct lk_tpl_symbols s = {.parent = p.s, .func = p.s->func}, otherwise = s;
    if (node->flag) {
        loop->func = lk_region_alloc(&b->t->region, sizeof *loop->func);
        if (!loop->func) {
            lk_tpl_bind_no_memory(b);
            return;
        }
        *loop->func = (struct lk_tpl_func){.parent = p.s->func};
        s.func = otherwise.func = loop->func;
    }
    if (loop->extended) {
        lk_tpl_declare_word(b, &s, "loop");
    }
    lk_tpl_declare_targets(b, &s, node->left);
    lk_tpl_names_of_list(b, &s, node->list);
    finish(b, &s, &loop->body);
    lk_tpl_names_of_list(b, &otherwise, node->more);
    finish(b, &otherwise, &loop->otherwise);
    loop->loop_slot = loop->extended ? slot_of(b, &s, "loop") : 0;
    bind(b, (struct place){&s, false, true}, node->left);
    bind_list(b, (struct place){&s, false, true}, node->list);
    bind_list(b, (struct place){&otherwise, false, p.in_loop && !node->flag}, node->more);
    b->in_for = outer_for;
    lk_free(s.entry);
    lk_free(otherwise.entry);
}

/* Fills the parameters of a macro or call block whose symbols are known. */
static void fill_parameters(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                            struct lk_tpl_node *node)
{
    struct lk_tpl_macro *m = node->macro;
    for (const struct lk_tpl_node *n = node->right; n; n = n->next) {
        m->n_params++;
    }
    m->param = lk_region_array(&b->t->region, m->n_params ? m->n_params : 1, sizeof *m->param);
    if (!m->param) {
        m->n_params = 0;
        lk_tpl_bind_no_memory(b);
        return;
    }
    uint32_t i = 0;
    for (struct lk_tpl_node *n = node->right; n; n = n->next, i++) {
        struct lk_tpl_entry *e = lk_tpl_find_own(b, s, &n->value);
        m->param[i].name = n->value;
        m->param[i].slot = e ? e->slot : 0;
        m->param[i].fallback = n->right;
        bind(b, (struct place){s, false, false}, n->right);
    }
}

/* The body of a macro or call block is a function. */
static void bind_macro(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    struct lk_tpl_macro *m = node->macro = lk_region_alloc(&b->t->region, sizeof *m);
    if (!m) {
        lk_tpl_bind_no_memory(b);
        return;
    }
    *m = (struct lk_tpl_macro){.func = {.parent = p.s->func}};
    struct lk_tpl_symbols s = {.parent = p.s, .func = &m->func};
    bool has_kwargs = false, has_varargs = false;
    for (const struct lk_tpl_node *n = node->right; n; n = n->next) {
        lk_tpl_declare(b, &s, &n->value);
        if (lk_value_is(&n->value, "caller")) {
            m->explicit_caller = true;
            if (!n->right) {
                lk_tpl_bind_fail(b, n->at, LK_E_FORMAT,
                                 "a parameter 'caller', which needs a default");
            }
        }
        has_kwargs |= lk_value_is(&n->value, "kwargs");
        has_varargs |= lk_value_is(&n->value, "varargs");
    }
    for (const struct lk_tpl_node *n = node->right; n; n = n->next) {
        lk_tpl_names_of(b, &s, n->right);
    }
    lk_tpl_names_of_list(b, &s, node->list);
    m->takes_caller = lk_tpl_uses(b, node->list, "caller");
    m->takes_kwargs = !has_kwargs && lk_tpl_uses(b, node->list, "kwargs");
    m->takes_varargs = !has_varargs && lk_tpl_uses(b, node->list, "varargs");
    if (m->takes_caller && !m->explicit_caller) {
        lk_tpl_declare_word(b, &s, "caller");
    }
    if (m->takes_kwargs) {
        lk_tpl_declare_word(b, &s, "kwargs");
    }
    if (m->takes_varargs) {
        lk_tpl_declare_word(b, &s, "varargs");
    }
    finish(b, &s, &m->scope);
    fill_parameters(b, &s, node);
    m->caller_slot = slot_of(b, &s, "caller");
    m->kwargs_slot = slot_of(b, &s, "kwargs");
    m->varargs_slot = slot_of(b, &s, "varargs");
    bind_list(b, (struct place){&s, false, false}, node->list);
    lk_free(s.entry);
}

/* A scope within the function around it: `with`, `filter`, a `set` block. */
static void bind_inner(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    struct lk_tpl_symbols s = {.parent = p.s, .func = p.s->func};
    struct lk_tpl_node *filter = node->kind == NODE_FILTER_BLOCK ? node->left
                                 : node->kind == NODE_SET_BLOCK  ? node->right
                                                                 : NULL;
    struct lk_tpl_scope *scope = node->scope = lk_region_alloc(&b->t->region, sizeof *scope);
    if (!scope) {
        lk_tpl_bind_no_memory(b);
        return;
    }
    *scope = (struct lk_tpl_scope){0};
    for (struct lk_tpl_node *i = node->kind == NODE_WITH ? node->right : NULL; i; i = i->next) {
        lk_tpl_declare_targets(b, &s, i->left);
        bind(b, p, i->right);
    }
    lk_tpl_names_of_list(b, &s, node->list);
    lk_tpl_names_of(b, &s, filter);
    finish(b, &s, scope);
    struct place inside = {&s, false, p.in_loop};
    for (struct lk_tpl_node *i = node->kind == NODE_WITH ? node->right : NULL; i; i = i->next) {
        bind(b, inside, i->left);
    }
    bind_list(b, inside, node->list);
    bind(b, inside, filter);
    if (node->kind == NODE_SET_BLOCK) {
        bind(b, p, node->left);
    }
    lk_free(s.entry);
}

/* Blocks run as functions that see the context alone, or what is around them if `scoped`. */
static void bind_block(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    struct lk_tpl_block *block = node->block = lk_region_alloc(&b->t->region, sizeof *block);
    if (!block) {
        lk_tpl_bind_no_memory(b);
        return;
    }
    for (const struct lk_tpl_block *other = b->t->blocks; other; other = other->next) {
        if (other->node->value.n == node->value.n &&
            memcmp(other->node->value.text, node->value.text, node->value.n) == 0) {
            lk_tpl_bind_fail(b, node->at, LK_E_FORMAT, "a block with the name of another");
        }
    }
    *block = (struct lk_tpl_block){.node = node, .next = b->t->blocks};
    b->t->blocks = block;
    block->func.parent = node->flag ? p.s->func : NULL;
    struct lk_tpl_symbols s = {.parent = node->flag ? p.s : NULL, .func = &block->func};
    block->uses_self = lk_tpl_uses(b, node->list, "self");
    if (block->uses_self) {
        lk_tpl_declare_word(b, &s, "self");
    }
    lk_tpl_names_of_list(b, &s, node->list);
    finish(b, &s, &block->scope);
    block->self_slot = slot_of(b, &s, "self");
    bind_list(b, (struct place){&s, false, false}, node->list);
    lk_free(s.entry);
}

/* ---- all nodes ---- */

static void bind_list(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    for (; node && !b->status; node = node->next) {
        bind(b, p, node);
    }
}

static void bind(struct lk_tpl_binder *b, struct place p, struct lk_tpl_node *node)
{
    if (!node || b->status) {
        return;
    }
    lk_tpl_bind_step(b, 1);
    switch (node->kind) {
    case NODE_NAME:
        if (node->flag && b->in_for && lk_value_is(&node->value, "loop")) {
            lk_tpl_bind_fail(b, node->at, LK_E_FORMAT,
                             "found 'loop', which can't be assigned to in a loop");
        }
        bind_name(b, p, node);
        return;
    case NODE_FOR:
        bind_for(b, p, node);
        return;
    case NODE_IF:
        p.soft = true;
        for (; node; node = node->right) {
            bind(b, p, node->left);
            bind_list(b, p, node->list);
            bind_list(b, p, node->more);
        }
        return;
    case NODE_MACRO:
    case NODE_CALL_BLOCK:
        bind(b, p, node->left);
        bind_macro(b, p, node);
        return;
    case NODE_WITH:
    case NODE_FILTER_BLOCK:
    case NODE_SET_BLOCK:
        bind_inner(b, p, node);
        return;
    case NODE_BLOCK:
        bind_block(b, p, node);
        return;
    case NODE_BREAK:
    case NODE_CONTINUE:
        if (!p.in_loop) {
            lk_tpl_bind_fail(b, node->at, LK_E_FORMAT, "found it outside of a loop");
        }
        return;
    case NODE_FILTER:
    case NODE_TEST:
        if (node->builtin < 0 && !p.soft && !b->status) {
            b->status =
                lk_tpl_error(b->t->text, node->at, LK_E_FORMAT, b->err, "no %s has the name '%.*s'",
                             node->kind == NODE_FILTER ? "filter" : "test", (int)node->value.n,
                             node->value.text);
            return;
        }
        break;
    case NODE_IF_ELSE:
        p.soft = true;
        break;
    default:
        break;
    }
    bind(b, p, node->left);
    bind(b, p, node->third);
    bind(b, p, node->right);
    bind_list(b, p, node->list);
    if (node->kind == NODE_CALL || node->kind == NODE_FILTER || node->kind == NODE_TEST) {
        bind_args(b, p, node->args);
    }
}

/* What blocks see of the top level. */
static void export_top(struct lk_tpl_binder *b, const struct lk_tpl_symbols *s)
{
    struct lk_tpl *t = b->t;
    t->exported = lk_region_array(&t->region, s->n ? s->n : 1, sizeof *t->exported);
    if (!t->exported) {
        lk_tpl_bind_no_memory(b);
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (s->entry[i].stored) {
            t->exported[t->n_exported++] =
                (struct lk_tpl_init){.slot = s->entry[i].slot, .name = s->entry[i].name};
        }
    }
}

lk_status lk_tpl_bind(struct lk_tpl *t, lk_error *err)
{
    struct lk_tpl_binder b = {.t = t, .err = err};
    struct lk_tpl_symbols s = {.func = &t->func};
    t->uses_self = lk_tpl_uses(&b, t->body, "self");
    if (t->uses_self) {
        lk_tpl_declare_word(&b, &s, "self");
    }
    lk_tpl_names_of_list(&b, &s, t->body);
    finish(&b, &s, &t->scope);
    t->self_slot = slot_of(&b, &s, "self");
    bind_list(&b, (struct place){&s, false, false}, t->body);
    if (t->blocks && !b.status) {
        export_top(&b, &s);
    }
    lk_free(s.entry);
    return b.status;
}
