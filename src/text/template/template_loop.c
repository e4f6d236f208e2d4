/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_loop: `for` at work, and the variable `loop` in it. Items come one at a time, and a test
 * is asked when its item comes, so that templates see the same order of events as in Python.
 */
#include "text/template/template_run.h"

/* ---- items ---- */

/* The next item that the loop's test, if it has one, holds for. */
static lk_status next(struct lk_tpl_run *r, struct lk_tpl_loop_state *s, struct lk_value *item,
                      bool *found)
{
    const struct lk_tpl_node *node = s->node;
    struct lk_tpl_env *before = r->env;
    lk_status status = LK_OK;
    if (s->rest.type != LK_TPL_MISSING) {
        *found = s->rest_at < s->rest.n;
        *item = *found ? s->rest.item[s->rest_at++] : lk_tpl_missing;
        return LK_OK;
    }
    for (bool yes = false; !status && !yes;) {
        struct lk_value answer;
        r->at = node->right->at;
        if ((status = lk_tpl_take(r, &s->iter, item, found)) || !*found || !node->third) {
            break;
        }
        r->env = s->env;
        if (!(status = lk_tpl_assign(r, node->loop->test_target, item))) {
            lk_tpl_enter_scope(r, &node->loop->test);
            status = lk_tpl_eval(r, node->third, &answer);
            yes = !status && lk_tpl_truth(&answer);
        }
        r->env = before;
    }
    return status;
}

/* Reads one item ahead. */
static lk_status peek(struct lk_tpl_run *r, struct lk_tpl_loop_state *s)
{
    bool found;
    struct lk_value item;
    if (s->after.type != LK_TPL_MISSING) {
        return LK_OK;
    }
    lk_status status = next(r, s, &item, &found);
    if (!status && found) {
        s->after = item;
        lk_tpl_escape(r, &item);
    }
    return status;
}

/* How many items there are; of a generator they are read to be counted. */
static lk_status length(struct lk_tpl_run *r, struct lk_tpl_loop_state *s, int64_t *n)
{
    struct lk_tpl_items items = {0};
    lk_status status = LK_OK;
    if (s->length < 0 && s->iter.kind != ITER_SHARED && !s->node->third) {
        status = lk_tpl_length(r, &s->iter.source, &s->length);
    }
    bool read = s->length < 0;
    while (!status && s->length < 0) {
        struct lk_value item;
        bool found;
        if ((status = next(r, s, &item, &found)) || !found) {
            break;
        }
        status = lk_tpl_add(r, &items, &item);
    }
    if (!status && read) {
        s->rest = lk_tpl_list_of(items.item, items.n, 0);
        s->rest_at = 0;
        s->length = (int64_t)items.n + s->index0 + 1 + (s->after.type != LK_TPL_MISSING);
        r->escapes++;
    }
    *n = s->length;
    return status;
}

/* ---- the variable `loop` ---- */

lk_status lk_tpl_loop_attribute(struct lk_tpl_run *r, const struct lk_value *loop,
                                const struct lk_value *name, struct lk_value *out, bool *found)
{
    struct lk_tpl_loop_state *s = (void *)(uintptr_t)loop->object;
    lk_status status = LK_OK;
    int64_t n = 0;
    *found = true;
    if (lk_value_is(name, "index")) {
        *out = lk_value_int(s->index0 + 1);
    } else if (lk_value_is(name, "index0")) {
        *out = lk_value_int(s->index0);
    } else if (lk_value_is(name, "first")) {
        *out = lk_value_bool(s->index0 == 0);
    } else if (lk_value_is(name, "last")) {
        status = peek(r, s);
        *out = lk_value_bool(s->after.type == LK_TPL_MISSING);
    } else if (lk_value_is(name, "length")) {
        status = length(r, s, &n);
        *out = lk_value_int(n);
    } else if (lk_value_is(name, "revindex")) {
        status = length(r, s, &n);
        *out = lk_value_int(n - s->index0);
    } else if (lk_value_is(name, "revindex0")) {
        status = length(r, s, &n);
        *out = lk_value_int(n - s->index0 - 1);
    } else if (lk_value_is(name, "depth")) {
        *out = lk_value_int(s->depth0 + 1);
    } else if (lk_value_is(name, "depth0")) {
        *out = lk_value_int(s->depth0);
    } else if (lk_value_is(name, "previtem")) {
        *out = s->index0 == 0 ? lk_tpl_undefined_hint("there is no previous item") : s->before;
    } else if (lk_value_is(name, "nextitem")) {
        status = peek(r, s);
        *out = s->after.type == LK_TPL_MISSING ? lk_tpl_undefined_hint("there is no next item")
                                               : s->after;
    } else {
        *found = false;
    }
    return status;
}

/* ---- turns ---- */

/* The next turn's item becomes the present one. */
static lk_status advance(struct lk_tpl_run *r, struct lk_tpl_loop_state *s, struct lk_value *item,
                         bool *found)
{
    lk_status status = LK_OK;
    if (s->after.type != LK_TPL_MISSING) {
        *item = s->after;
        *found = true;
        s->after = lk_tpl_missing;
    } else {
        status = next(r, s, item, found);
        if (s->node->loop->extended && lk_tpl_iter_makes(&s->iter)) {
            r->escapes++; /* `loop` remembers what this turn made */
        }
    }
    if (!status && *found) {
        s->index0++;
        s->before = s->current;
        s->current = *item;
    }
    return status;
}

/* One turn: the body with its variables. *whole: it ran to its end. */
static lk_status turn(struct lk_tpl_run *r, struct lk_tpl_loop_state *s,
                      const struct lk_value *item, bool *whole)
{
    const struct lk_tpl_node *node = s->node;
    lk_status status = lk_tpl_assign(r, node->left, item);
    if (status) {
        return status;
    }
    if (node->loop->extended) {
        r->env->slot[node->loop->loop_slot] = lk_tpl_object(LK_TPL_LOOP, s);
    }
    lk_tpl_enter_scope(r, &node->loop->body);
    status = lk_tpl_exec(r, node->list);
    *whole = r->flow == FLOW_NEXT;
    return status;
}

static lk_status all_turns(struct lk_tpl_run *r, struct lk_tpl_loop_state *s)
{
    const struct lk_tpl_loop *loop = s->node->loop;
    bool found = true, stop = false, any = false;
    lk_status status = LK_OK;
    while (!status && !stop) {
        struct lk_region_mark mark = lk_region_mark(&r->region);
        size_t escapes = r->escapes;
        struct lk_value item;
        bool whole = false;
        if ((status = advance(r, s, &item, &found)) || !found) {
            break;
        }
        status = turn(r, s, &item, &whole);
        any |= whole;
        stop = r->flow == FLOW_BREAK;
        r->flow = FLOW_NEXT;
        lk_tpl_release(r, mark, escapes);
        status = status ? status : lk_tpl_step(r);
    }
    lk_tpl_leave_scope(r, &loop->body);
    if (!status && !any && s->node->more) { /* also when no turn came to its end, as in Python */
        lk_tpl_enter_scope(r, &loop->otherwise);
        status = lk_tpl_exec(r, s->node->more);
        lk_tpl_leave_scope(r, &loop->otherwise);
    }
    return status;
}

/* A loop over items, begun in `env`; r->env is where its body lives. */
static lk_status begin(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                       const struct lk_value *items, struct lk_tpl_env *env, int64_t depth0)
{
    struct lk_tpl_loop_state own, *s = &own;
    if (node->loop->extended && !(s = lk_tpl_alloc(r, 1, sizeof *s))) {
        return r->err->status;
    }
    *s = (struct lk_tpl_loop_state){.node = node,
                                    .env = env,
                                    .index0 = -1,
                                    .length = -1,
                                    .depth0 = depth0,
                                    .before = lk_tpl_missing,
                                    .current = lk_tpl_missing,
                                    .after = lk_tpl_missing,
                                    .changed = lk_tpl_missing,
                                    .rest = lk_tpl_missing};
    r->at = node->right->at;
    lk_status status = lk_tpl_iterate(r, items, &s->iter);
    return status ? status : all_turns(r, s);
}

/* A recursive loop is a function: each run of it has variables of its own. */
static lk_status recurse(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                         const struct lk_value *items, struct lk_tpl_env *outer, int64_t depth0)
{
    struct lk_tpl_env *before = r->env, *env = NULL;
    lk_status status = ++r->calls > LK_TPL_DEPTH
                           ? lk_tpl_fail(r, "more than %d calls inside of each other", LK_TPL_DEPTH)
                           : LK_OK;
    if (!status && (env = lk_tpl_env(r, node->loop->func, outer)) != NULL) {
        r->env = env;
        status = begin(r, node, items, outer, depth0);
        r->env = before;
    }
    r->calls--;
    return status ? status : env ? LK_OK : r->err->status;
}

lk_status lk_tpl_exec_for(struct lk_tpl_run *r, const struct lk_tpl_node *node)
{
    struct lk_value items;
    lk_status status = lk_tpl_eval(r, node->right, &items);
    if (status) {
        return status;
    }
    return node->flag ? recurse(r, node, &items, r->env, 0) : begin(r, node, &items, r->env, 0);
}

lk_status lk_tpl_call_loop(struct lk_tpl_run *r, struct lk_tpl_loop_state *loop,
                           const struct lk_value *items, struct lk_value *out)
{
    size_t from = r->out->n;
    if (!loop->node->flag) {
        return lk_tpl_fail(r, "loop: only a recursive loop can be called");
    }
    r->captures++;
    lk_status status = recurse(r, loop->node, items, loop->env, loop->depth0 + 1);
    r->captures--;
    return status ? status : lk_tpl_cut(r, from, out);
}
