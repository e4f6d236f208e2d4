/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_exec: statements at work, macros, and a rendering from its beginning to its end.
 */
#include "text/template/template_run.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

/* ---- bounds ---- */

lk_status lk_tpl_fail(struct lk_tpl_run *r, const char *format, ...)
{
    char message[640];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return lk_tpl_error(r->t->text, r->at, LK_E_INVALID, r->err, "%s", message);
}

lk_status lk_tpl_full(struct lk_tpl_run *r)
{
    if (r->region.at_limit || r->out->status == LK_E_FULL) {
        return lk_tpl_fail(r, "it needs more than %d MiB of memory", LK_TPL_MEMORY >> 20);
    }
    return lk_tpl_error(r->t->text, r->at, LK_E_NOMEM, r->err, "out of memory");
}

lk_status lk_tpl_work(struct lk_tpl_run *r, size_t cost)
{
    r->steps -= cost < LK_TPL_STEPS ? (int64_t)cost : LK_TPL_STEPS;
    return r->steps < 0 ? lk_tpl_fail(r, "it takes more than %d steps", LK_TPL_STEPS) : LK_OK;
}

lk_status lk_tpl_deeper(struct lk_tpl_run *r)
{
    if (++r->depth > LK_TPL_NESTING) {
        r->depth--;
        return lk_tpl_fail(r, "more than %d steps inside of each other", LK_TPL_NESTING);
    }
    return lk_tpl_step(r);
}

void *lk_tpl_alloc(struct lk_tpl_run *r, size_t n, size_t size)
{
    void *p = lk_region_array(&r->region, n, size);
    if (!p) {
        lk_tpl_full(r);
    }
    return p;
}

bool lk_tpl_is_made(const struct lk_tpl_run *r, const struct lk_value *v)
{
    bool plain = v->type < LK_VALUE_BIG || v->type == LK_VALUE_FLOAT || v->type == LK_TPL_FUNCTION;
    return !plain && lk_region_since(&r->region, (struct lk_region_mark){NULL, 0}, v->object);
}

void lk_tpl_release(struct lk_tpl_run *r, struct lk_region_mark mark, size_t escapes)
{
    if (r->escapes != escapes) {
        return;
    }
    if (r->tail.text && lk_region_since(&r->region, mark, r->tail.text)) {
        r->tail.text = NULL;
    }
    lk_region_release(&r->region, mark);
}

/* ---- statements ---- */

static lk_status exec_print(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    struct lk_region_mark mark = lk_region_mark(&r->region);
    size_t escapes = r->escapes;
    struct lk_value v;
    lk_status status = lk_tpl_eval(r, node->left, &v);
    if (!status) {
        r->at = node->at;
        status = lk_tpl_put_str(r, &v);
    }
    lk_tpl_release(r, mark, escapes);
    return status;
}

static lk_status exec_if(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    for (;; node = node->right) {
        struct lk_region_mark mark = lk_region_mark(&r->region);
        size_t escapes = r->escapes;
        struct lk_value v;
        lk_status status = lk_tpl_eval(r, node->left, &v);
        bool yes = !status && lk_tpl_truth(&v);
        lk_tpl_release(r, mark, escapes);
        if (status || yes) {
            return status ? status : lk_tpl_exec(r, node->list);
        }
        if (!node->right) {
            return lk_tpl_exec(r, node->more);
        }
    }
}

static lk_status exec_set(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    struct lk_value v;
    lk_status status = lk_tpl_eval(r, node->right, &v);
    return status ? status : lk_tpl_assign(r, node->left, &v);
}

/* Runs a body whose text is no output but *text. A `break` in it leaves nothing behind. */
static lk_status capture(struct lk_tpl_run *r, const struct lk_tpl_node *body,
                         struct lk_value *text)
{
    size_t from = r->out->n;
    r->captures++;
    lk_status status = lk_tpl_exec(r, body);
    r->captures--;
    return status ? status : lk_tpl_cut(r, from, text);
}

/* {% set x %}...{% endset %} and {% filter f %}...{% endfilter %} */
static lk_status exec_captured(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    bool set = node->kind == NODE_SET_BLOCK;
    const struct lk_tpl_node *filter = set ? node->right : node->left;
    struct lk_value text, before = r->captured;
    lk_tpl_enter_scope(r, node->scope);
    lk_status status = capture(r, node->list, &text);
    if (!status && r->flow == FLOW_NEXT && filter) {
        r->captured = text;
        status = lk_tpl_eval(r, filter, &text);
        r->captured = before;
    }
    if (!status && r->flow == FLOW_NEXT) {
        status = set ? lk_tpl_assign(r, node->left, &text) : lk_tpl_put_str(r, &text);
    }
    lk_tpl_leave_scope(r, node->scope);
    return status;
}

static lk_status make_callable(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                               struct lk_value *out)
{
    struct lk_tpl_callable *c = lk_tpl_alloc(r, 1, sizeof *c);
    if (!c) {
        return r->err->status;
    }
    *c = (struct lk_tpl_callable){node->macro,
                                  node->kind == NODE_MACRO ? node->left->value : lk_tpl_none,
                                  node->list, r->env};
    *out = lk_tpl_object(LK_TPL_CALLABLE, c);
    return LK_OK;
}

static lk_status exec_macro(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    struct lk_value v;
    lk_status status = make_callable(r, node, &v);
    return status ? status : lk_tpl_assign(r, node->left, &v);
}

/* {% call f() %}...{% endcall %}, and {% generation %}, which is its body. */
static lk_status exec_call_block(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    struct lk_region_mark mark = lk_region_mark(&r->region);
    size_t escapes = r->escapes;
    const struct lk_tpl_call none = {0};
    struct lk_value caller, text;
    lk_status status = make_callable(r, node, &caller);
    if (!status) {
        r->at = node->at;
        status = node->left ? lk_tpl_eval_call(r, node->left, &caller, &text)
                            : lk_tpl_call_value(r, &caller, &none, &text);
    }
    status = status ? status : lk_tpl_put_str(r, &text);
    lk_tpl_release(r, mark, escapes);
    return status;
}

static lk_status exec_with(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    lk_status status = LK_OK;
    lk_tpl_enter_scope(r, node->scope);
    for (const struct lk_tpl_node *i = node->right; i && !status; i = i->next) {
        struct lk_value v;
        if (!(status = lk_tpl_eval(r, i->right, &v))) {
            status = lk_tpl_assign(r, i->left, &v);
        }
    }
    status = status ? status : lk_tpl_exec(r, node->list);
    lk_tpl_leave_scope(r, node->scope);
    return status;
}

static lk_status exec_node(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    r->at = node->at;
    switch (node->kind) {
    case NODE_DATA:
        return lk_tpl_put_str(r, &node->value);
    case NODE_PRINT:
        return exec_print(r, node);
    case NODE_IF:
        return exec_if(r, node);
    case NODE_FOR:
        return lk_tpl_exec_for(r, node);
    case NODE_SET:
        return exec_set(r, node);
    case NODE_SET_BLOCK:
    case NODE_FILTER_BLOCK:
        return exec_captured(r, node);
    case NODE_MACRO:
        return exec_macro(r, node);
    case NODE_CALL_BLOCK:
        return exec_call_block(r, node);
    case NODE_WITH:
        return exec_with(r, node);
    case NODE_BLOCK: {
        struct lk_value text;
        lk_status status = lk_tpl_call_block(r, node->block, &text);
        return status ? status : lk_tpl_put_str(r, &text);
    }
    case NODE_BREAK:
        r->flow = FLOW_BREAK;
        return LK_OK;
    case NODE_CONTINUE:
        r->flow = FLOW_CONTINUE;
        return LK_OK;
    default:
        return lk_tpl_fail(r, "'%.*s' needs another template, and there is none",
                           (int)node->value.n, node->value.text);
    }
}

lk_status lk_tpl_exec(struct lk_tpl_run *r, const struct lk_tpl_node *list)
{
    lk_status status = lk_tpl_deeper(r);
    if (status) {
        return status;
    }
    for (; list && !status && r->flow == FLOW_NEXT; list = list->next) {
        status = exec_node(r, list);
        if (!status && !r->captures && r->out->n > LK_TPL_OUTPUT) {
            status = lk_tpl_fail(r, "more than %d MiB of text", LK_TPL_OUTPUT >> 20);
        }
        status = status ? status : lk_tpl_step(r);
    }
    r->depth--;
    return status;
}

/* ---- macros and blocks ---- */

static const struct lk_value *find_named(const struct lk_tpl_call *call,
                                         const struct lk_value *name)
{
    for (uint32_t i = 0; i < call->n_named; i++) {
        const struct lk_value *key = &call->named[i].key;
        if (key->n == name->n && memcmp(key->text, name->text, name->n) == 0) {
            return &call->named[i].value;
        }
    }
    return NULL;
}

/* Whether a named argument is a parameter that no positional one has filled, or the caller. */
static bool is_taken(const struct lk_tpl_macro *m, const struct lk_tpl_call *call,
                     const struct lk_value *name)
{
    for (uint32_t i = call->n; i < m->n_params; i++) {
        if (m->param[i].name.n == name->n &&
            memcmp(m->param[i].name.text, name->text, name->n) == 0) {
            return true;
        }
    }
    return m->takes_caller && !m->explicit_caller && lk_value_is(name, "caller");
}

/* Named arguments that are no parameters: a dict for `kwargs`, or an error. */
static lk_status rest_of_named(struct lk_tpl_run *r, const struct lk_tpl_callable *c,
                               const struct lk_tpl_call *call, struct lk_value *out)
{
    const struct lk_tpl_macro *m = c->macro;
    struct lk_member *rest = lk_tpl_alloc(r, call->n_named, sizeof *rest);
    size_t n = 0;
    if (!rest) {
        return r->err->status;
    }
    for (uint32_t i = 0; i < call->n_named; i++) {
        const struct lk_value *key = &call->named[i].key;
        if (is_taken(m, call, key)) {
            continue;
        }
        if (!m->takes_kwargs) {
            return lk_tpl_fail(r, "a macro without the parameter '%.*s'",
                               (int)(key->n < 40 ? key->n : 40), key->text);
        }
        rest[n++] = call->named[i];
    }
    return lk_tpl_make_dict(r, rest, n, out);
}

/* Puts the arguments of a call into the slots of the macro's new env. */
static lk_status take_arguments(struct lk_tpl_run *r, const struct lk_tpl_callable *c,
                                const struct lk_tpl_call *call, struct lk_tpl_env *env)
{
    const struct lk_tpl_macro *m = c->macro;
    struct lk_value kwargs;
    lk_status status = rest_of_named(r, c, call, &kwargs);
    if (status) {
        return status;
    }
    if (call->n > m->n_params && !m->takes_varargs) {
        return lk_tpl_fail(r, "found %u arguments for a macro, expected at most %u", call->n,
                           m->n_params);
    }
    for (uint32_t i = 0; i < m->n_params; i++) {
        const struct lk_value *v =
            i < call->n ? &call->arg[i] : find_named(call, &m->param[i].name);
        env->slot[m->param[i].slot] = v ? *v : lk_tpl_missing;
    }
    if (m->takes_caller && !m->explicit_caller) {
        const struct lk_value name = lk_tpl_static("caller"), *v = find_named(call, &name);
        env->slot[m->caller_slot] =
            v && v->type != LK_VALUE_NULL ? *v : lk_tpl_undefined_hint("No caller defined");
    }
    if (m->takes_kwargs) {
        env->slot[m->kwargs_slot] = kwargs;
    }
    if (m->takes_varargs) {
        uint32_t n = call->n > m->n_params ? call->n - m->n_params : 0;
        env->slot[m->varargs_slot] =
            lk_tpl_list_of(n ? call->arg + m->n_params : NULL, n, LK_VALUE_TUPLE);
    }
    return LK_OK;
}

static lk_status fill_defaults(struct lk_tpl_run *r, const struct lk_tpl_macro *m)
{
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < m->n_params && !status; i++) {
        struct lk_value *slot = &r->env->slot[m->param[i].slot];
        if (slot->type == LK_TPL_MISSING && m->param[i].fallback) {
            struct lk_value v;
            status = lk_tpl_eval(r, m->param[i].fallback, &v);
            *slot = v;
        } else if (slot->type == LK_TPL_MISSING) {
            *slot = lk_tpl_undefined_name(&m->param[i].name);
        }
    }
    return status;
}

/* One call more inside of the others. */
static lk_status enter_call(struct lk_tpl_run *r)
{
    return ++r->calls > LK_TPL_DEPTH
               ? lk_tpl_fail(r, "more than %d calls inside of each other", LK_TPL_DEPTH)
               : LK_OK;
}

lk_status lk_tpl_call_macro(struct lk_tpl_run *r, const struct lk_tpl_callable *c,
                            const struct lk_tpl_call *call, struct lk_value *out)
{
    struct lk_tpl_env *before = r->env;
    lk_status status = enter_call(r);
    struct lk_tpl_env *env = status ? NULL : lk_tpl_env(r, &c->macro->func, c->env);
    if (!env) {
        return status ? status : r->err->status;
    }
    if (!(status = take_arguments(r, c, call, env))) {
        r->env = env;
        lk_tpl_enter_scope(r, &c->macro->scope);
        if (!(status = fill_defaults(r, c->macro))) {
            status = capture(r, c->body, out);
        }
        r->env = before;
    }
    r->calls--;
    return status;
}

lk_status lk_tpl_call_block(struct lk_tpl_run *r, const struct lk_tpl_block *block,
                            struct lk_value *out)
{
    struct lk_tpl_env *before = r->env;
    lk_status status = enter_call(r);
    struct lk_tpl_env *env =
        status ? NULL : lk_tpl_env(r, &block->func, block->func.parent ? before : NULL);
    if (!env) {
        return status ? status : r->err->status;
    }
    r->env = env;
    if (block->uses_self) {
        env->slot[block->self_slot] = lk_tpl_object(LK_TPL_SELF, NULL);
    }
    lk_tpl_enter_scope(r, &block->scope);
    status = capture(r, block->node->list, out);
    r->env = before;
    r->calls--;
    return status;
}

/* ---- a rendering ---- */

static lk_status run(struct lk_tpl_run *r)
{
    r->env = r->root = lk_tpl_env(r, &r->t->func, NULL);
    if (!r->env) {
        return r->err->status;
    }
    if (r->t->uses_self) {
        r->env->slot[r->t->self_slot] = lk_tpl_object(LK_TPL_SELF, NULL);
    }
    lk_tpl_enter_scope(r, &r->t->scope);
    return lk_tpl_exec(r, r->t->body);
}

lk_status lk_tpl_render(const struct lk_tpl *t, const struct lk_value *variables,
                        const struct tm *now, struct lk_text_buffer *out, lk_error *err)
{
    lk_error own = {0};
    struct lk_tpl_run r = {.t = t,
                           .region = {.max_bytes = LK_TPL_MEMORY - LK_TPL_MEMORY / 32},
                           .variables = variables,
                           .out = out,
                           .steps = LK_TPL_STEPS,
                           .now = *now,
                           .captured = lk_value_text("", 0, LK_VALUE_TRUSTED),
                           .err = &own};
    out->account = &r.region;
    out->max_bytes = LK_TPL_MEMORY;
    out->err = &own;
    lk_status status = run(&r);
    if (status && err) {
        *err = own;
    }
    out->account = NULL;
    out->err = NULL;
    lk_region_free(&r.region);
    return status;
}

lk_status lk_tpl_compile(const char *source, size_t len, struct lk_tpl **out, lk_error *err)
{
    *out = NULL;
    struct lk_tpl *t = lk_alloc(sizeof *t);
    if (!t) {
        return lk_fail(err, LK_E_NOMEM, "chat template: out of memory");
    }
    t->region.max_bytes = LK_TPL_COMPILED;
    lk_status status = lk_tpl_source(&t->region, source, len, &t->text, &t->len, err);
    if (!status) {
        status = lk_tpl_parse(t, err);
    }
    if (!status) {
        status = lk_tpl_bind(t, err);
    }
    if (status) {
        lk_tpl_free(&t);
    }
    *out = t;
    return status;
}

void lk_tpl_free(struct lk_tpl **t)
{
    if (*t) {
        lk_region_free(&(*t)->region);
        lk_free(*t);
        *t = NULL;
    }
}
