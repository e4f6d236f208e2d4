/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammar: see grammar.h. Owns the order of checks: rules that do not refer to themselves are put
 * in their places, callees first; what has no text goes; then emptiness and left recursion of the
 * rest.
 */
#include "text/grammar/grammar.h"

#include <stdio.h>

#include "base/utf8.h"
#include "text/grammar/pushdown.h"

enum { INLINE_DEPTH = 64 }; /* of a rule that is put in its places */

/* ---- making ---- */

lk_grammar_options lk_grammar_options_default(void)
{
    return (lk_grammar_options){.size = sizeof(lk_grammar_options), .max_bytes = (size_t)64 << 20};
}

static char *copy_text(const char *text, size_t len)
{
    char *copy = lk_alloc(len + 1);
    if (copy && len) {
        memcpy(copy, text, len);
    }
    return copy;
}

/* An empty grammar; `kind` is its name where the options give none. */
lk_status lk_grammar_new(const lk_grammar_options *options, const char *kind, size_t len,
                         lk_grammar **out, lk_error *err)
{
    lk_grammar_options o = lk_grammar_options_default();
    lk_status status = lk_options_take(&o, sizeof o, options, "grammar", err);
    if (status) {
        return status;
    }
    const char *name = o.name ? o.name : kind;
    if (len > LK_GRAMMAR_MAX_TEXT) {
        return lk_fail(err, LK_E_UNSUPPORTED, "%s: %zu bytes, expected at most %d", name, len,
                       (int)LK_GRAMMAR_MAX_TEXT);
    }
    if (o.space < LK_JSON_SPACED || o.space > LK_JSON_FLEXIBLE) {
        return lk_fail(err, LK_E_INVALID, "%s: space is %d, expected a value of lk_json_space",
                       name, (int)o.space);
    }
    if (o.max_bytes < (size_t)1 << 20 || o.max_bytes > (size_t)1 << 40) {
        return lk_fail(err, LK_E_INVALID, "%s: max_bytes is %zu, expected 1 MiB to 1 TiB", name,
                       o.max_bytes);
    }
    lk_grammar *g = lk_alloc(sizeof *g);
    if (!g || pthread_mutex_init(&g->lock, NULL)) {
        lk_free(g);
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory", name);
    }
    g->max_bytes = o.max_bytes;
    g->space = o.space;
    g->name = copy_text(name, strlen(name));
    status = g->name ? lk_exprs_open(&g->x, o.max_bytes, err)
                     : lk_fail(err, LK_E_NOMEM, "%s: out of memory", name);
    if (status) {
        lk_grammar_close(&g);
        return status;
    }
    *out = g;
    return LK_OK;
}

void lk_grammar_close(lk_grammar **grammar)
{
    lk_grammar *g = grammar ? *grammar : NULL;
    if (!g) {
        return;
    }
    lk_homes_close(g);
    for (size_t i = 0; i < g->n_rules; i++) {
        lk_free(g->rule[i].name);
    }
    for (size_t i = 0; i < g->n_terminals; i++) {
        lk_free(g->terminal[i].text);
    }
    lk_free(g->rule);
    lk_free(g->terminal);
    lk_free(g->name);
    lk_exprs_close(&g->x);
    pthread_mutex_destroy(&g->lock);
    lk_free(g);
    *grammar = NULL;
}

lk_status lk_grammar_fail(const lk_grammar *g, lk_error *err, lk_status status)
{
    lk_fail_prefix(err, status, "%s", g->name);
    size_t len = strlen(err->message);
    for (size_t at = 0, n; at < len; at += n) { /* names of the text's own may hold anything */
        int32_t c;
        n = lk_utf8_next(err->message + at, len - at, &c);
        if (!n || c < 0x20 || c == 0x7F) {
            err->message[at] = '?';
            n = 1;
        }
    }
    return status;
}

lk_status lk_grammar_add_rule(lk_grammar *g, const char *name, size_t len, uint32_t *rule,
                              lk_error *err)
{
    if (g->n_rules == LK_GRAMMAR_MAX_RULES) {
        return lk_fail(err, LK_E_UNSUPPORTED, "more than %d rules", (int)LK_GRAMMAR_MAX_RULES);
    }
    lk_status status = lk_grow(&g->rule, &g->rules_cap, g->n_rules + 1, sizeof *g->rule, err);
    char *copy = status ? NULL : copy_text(name, len);
    if (!copy) {
        return status ? status : lk_fail(err, LK_E_NOMEM, "out of memory");
    }
    *rule = (uint32_t)g->n_rules;
    g->rule[g->n_rules++] = (struct lk_rule){.name = copy};
    return LK_OK;
}

lk_status lk_grammar_add_terminal(lk_grammar *g, const char *text, size_t len, int32_t id,
                                  bool other, uint32_t *terminal, lk_error *err)
{
    for (size_t i = 0; i < g->n_terminals; i++) {
        const struct lk_terminal *t = &g->terminal[i];
        bool same = text ? t->text && t->len == len && memcmp(t->text, text, len) == 0
                         : !t->text && t->id == id;
        if (same && t->other == other) {
            *terminal = (uint32_t)i;
            return LK_OK;
        }
    }
    lk_status status =
        lk_grow(&g->terminal, &g->terminals_cap, g->n_terminals + 1, sizeof *g->terminal, err);
    char *copy = status || !text ? NULL : copy_text(text, len);
    if (status || (text && !copy)) {
        return status ? status : lk_fail(err, LK_E_NOMEM, "out of memory");
    }
    *terminal = (uint32_t)g->n_terminals;
    g->terminal[g->n_terminals++] = (struct lk_terminal){copy, len, id, other};
    return LK_OK;
}

/* ---- finishing ---- */

/* What finish works with: marks by node and by rule. */
struct work {
    lk_grammar *g;
    struct lk_exprs *x;
    uint32_t *map;  /* [n] 1 + what node i became; 0: not yet */
    uint32_t *seen; /* [n] the last walk that came by */
    size_t n;       /* nodes that there were at the start */
    uint32_t walk;
    uint32_t *list; /* nodes to look at, or rules that a body refers to */
    size_t n_list, list_cap;
    uint32_t *order, *low, *stack; /* [rules] of Tarjan's algorithm */
    bool *on_stack, *recursive, *productive;
    lk_error *err;
};

static lk_status note(struct work *w, uint32_t v)
{
    lk_status status = lk_grow(&w->list, &w->list_cap, w->n_list + 1, sizeof *w->list, w->err);
    if (!status) {
        w->list[w->n_list++] = v;
    }
    return status;
}

/* Appends the rules that an expression refers to (`first`: that it can begin with), each once, to
 * w->list from *from on. */
static lk_status refers_to(struct work *w, uint32_t e, bool first, size_t *from)
{
    size_t begin = w->n_list, rules;
    uint32_t walk = ++w->walk;
    lk_status status = note(w, e);
    for (size_t at = begin; at < w->n_list && !status; at++) {
        struct lk_expr_node m = w->x->node[w->list[at]];
        if (w->list[at] >= w->n || w->seen[w->list[at]] == walk || (m.flags & LK_EXPR_REGULAR)) {
            continue;
        }
        w->seen[w->list[at]] = walk;
        switch (m.kind) {
        case LK_KIND_CAT:
            status = note(w, m.a);
            if (!status && (!first || lk_expr_has(w->x, m.a, LK_EXPR_NULLABLE))) {
                status = note(w, m.b);
            }
            break;
        case LK_KIND_ALT:
            for (uint32_t i = 0; i < m.b && !status; i++) {
                status = note(w, w->x->kid[m.a + i]);
            }
            break;
        case LK_KIND_REPEAT:
            status = note(w, m.a);
            break;
        default:
            break;
        }
    }
    rules = begin;
    for (size_t at = begin; at < w->n_list && !status; at++) {
        struct lk_expr_node m = w->x->node[w->list[at]];
        if (m.kind == LK_KIND_RULE && w->list[at] < w->n && w->seen[w->list[at]] == walk) {
            w->seen[w->list[at]] = 0;
            w->list[rules++] = m.a;
        }
    }
    w->n_list = status ? begin : rules;
    *from = begin;
    return status;
}

/* ---- rewriting ---- */

static uint32_t rewrite(struct work *w, uint32_t e);

/* Sequences are long: from their last part that is not known back to e. */
static uint32_t rewrite_row(struct work *w, uint32_t e)
{
    struct lk_exprs *x = w->x;
    size_t from = lk_expr_list(x);
    for (; x->node[e].kind == LK_KIND_CAT && !w->map[e] && !x->status; e = x->node[e].b) {
        if (lk_expr_has(x, e, LK_EXPR_REGULAR)) {
            break;
        }
        lk_expr_push(x, e);
    }
    uint32_t tail = rewrite(w, e);
    while (lk_expr_list(x) > from && !x->status) {
        uint32_t row = x->work[--x->n_work];
        uint32_t head = rewrite(w, x->node[row].a);
        tail = lk_expr_cat(x, head, tail);
        w->map[row] = tail + 1;
    }
    return tail;
}

static uint32_t rewrite_node(struct work *w, uint32_t e)
{
    struct lk_exprs *x = w->x;
    struct lk_expr_node m = x->node[e];
    size_t from = lk_expr_list(x);
    uint32_t c;
    if (m.flags & LK_EXPR_REGULAR) {
        return lk_expr_is_live(x, e) ? e : LK_EXPR_NONE;
    }
    switch (m.kind) {
    case LK_KIND_CAT:
        return rewrite_row(w, e);
    case LK_KIND_ALT:
        for (uint32_t i = 0; i < m.b; i++) {
            c = rewrite(w, x->kid[m.a + i]);
            lk_expr_push(x, c);
        }
        return lk_expr_alt_of(x, from);
    case LK_KIND_REPEAT:
        return lk_expr_repeat(x, rewrite(w, m.a), m.min, m.max);
    case LK_KIND_RULE:
        c = w->g->rule[m.a].body;
        if (!w->productive[m.a]) {
            return LK_EXPR_NONE;
        }
        return !w->recursive[m.a] && lk_expr_has(x, c, LK_EXPR_REGULAR) &&
                       x->node[c].depth <= INLINE_DEPTH
                   ? c
                   : e;
    default:
        return e;
    }
}

/* e with regular rules in their places, and without what has no text. */
static uint32_t rewrite(struct work *w, uint32_t e)
{
    if (e >= w->n || w->x->status) {
        return e;
    }
    if (!w->map[e]) {
        uint32_t r = rewrite_node(w, e);
        w->map[e] = r + 1;
    }
    return w->map[e] - 1;
}

/* ---- which rules refer to themselves: Tarjan's strongly connected components, without recursion
 * ---- */

struct visit {
    uint32_t rule;
    size_t from, at; /* of its references in w->list; the next one to look at */
};

static lk_status begin_visit(struct work *w, struct visit *v, uint32_t rule, uint32_t *count)
{
    v->rule = rule;
    w->order[rule] = w->low[rule] = ++*count;
    lk_status status = refers_to(w, w->g->rule[rule].body, false, &v->from);
    v->at = v->from;
    return status;
}

/* Takes the component of a rule off the stack and rewrites its bodies: all that they refer to has
 * been rewritten. */
static void end_component(struct work *w, uint32_t rule, size_t *depth)
{
    size_t last = *depth;
    while (w->stack[*depth - 1] != rule) {
        --*depth;
    }
    --*depth;
    bool alone = last - *depth == 1;
    for (size_t i = *depth; i < last; i++) {
        w->on_stack[w->stack[i]] = false;
        w->recursive[w->stack[i]] |= !alone;
    }
    for (size_t i = *depth; i < last; i++) {
        struct lk_rule *r = &w->g->rule[w->stack[i]];
        r->body = rewrite(w, r->body);
    }
}

static lk_status inline_rules(struct work *w)
{
    lk_grammar *g = w->g;
    struct visit *path = lk_alloc_array(g->n_rules + 1, sizeof *path);
    size_t n_path = 0, n_stack = 0;
    uint32_t count = 0;
    lk_status status =
        path ? LK_OK : lk_fail(w->err, LK_E_NOMEM, "out of memory for %zu rules", g->n_rules);
    for (uint32_t root = 0; root < g->n_rules && !status; root++) {
        if (w->order[root]) {
            continue;
        }
        w->stack[n_stack++] = root;
        w->on_stack[root] = true;
        status = begin_visit(w, &path[n_path++], root, &count);
        while (n_path && !status && !w->x->status) {
            struct visit *v = &path[n_path - 1];
            if (v->at < w->n_list) {
                uint32_t to = w->list[v->at++];
                w->recursive[to] |= to == v->rule;
                if (!w->order[to]) {
                    w->stack[n_stack++] = to;
                    w->on_stack[to] = true;
                    status = begin_visit(w, &path[n_path++], to, &count);
                } else if (w->on_stack[to] && w->order[to] < w->low[v->rule]) {
                    w->low[v->rule] = w->order[to];
                }
                continue;
            }
            w->n_list = v->from;
            n_path--;
            if (w->low[v->rule] == w->order[v->rule]) {
                end_component(w, v->rule, &n_stack);
            }
            if (n_path && w->low[v->rule] < w->low[path[n_path - 1].rule]) {
                w->low[path[n_path - 1].rule] = w->low[v->rule];
            }
        }
    }
    lk_free(path);
    return status;
}

/* ---- facts of rules ---- */

/* Which nodes have a property that passes up: a sequence has it when both parts do, alternatives
 * when one does, a rule when its body does. Linear time: each node tells those that wait for it. */
struct facts {
    uint32_t *first, *waiting; /* [n + 1], [edges]: who waits for node i */
    uint8_t *need;             /* [n] how many answers a node waits for still */
    uint8_t *value;            /* [n] the answer */
    uint32_t *queue;           /* [n] */
};

/* The k-th node that node i waits for, or LK_EXPR_NONE behind the last. */
static uint32_t input_of(const struct work *w, uint32_t i, uint32_t k)
{
    const struct lk_expr_node *m = &w->x->node[i];
    if (m->flags & LK_EXPR_REGULAR) {
        return LK_EXPR_NONE;
    }
    switch (m->kind) {
    case LK_KIND_CAT:
        return k == 0 ? m->a : k == 1 ? m->b : LK_EXPR_NONE;
    case LK_KIND_ALT:
        return k < m->b ? w->x->kid[m->a + k] : LK_EXPR_NONE;
    case LK_KIND_REPEAT:
        return k == 0 ? m->a : LK_EXPR_NONE;
    case LK_KIND_RULE:
        return k == 0 ? w->g->rule[m->a].body : LK_EXPR_NONE;
    default:
        return LK_EXPR_NONE;
    }
}

static void close_facts(struct facts *f)
{
    lk_free(f->first);
    lk_free(f->waiting);
    lk_free(f->need);
    lk_free(f->value);
    lk_free(f->queue);
}

static lk_status open_facts(const struct work *w, struct facts *f)
{
    size_t n = w->x->n;
    f->first = lk_alloc_array(n + 2, sizeof *f->first);
    f->need = lk_alloc(n);
    f->value = lk_alloc(n);
    f->queue = lk_alloc_array(n, sizeof *f->queue);
    bool failed = !f->first || !f->need || !f->value || !f->queue;
    for (uint32_t i = 0, from; i < n && !failed; i++) {
        f->need[i] = w->x->node[i].kind == LK_KIND_CAT ? 2 : 1;
        for (uint32_t k = 0; (from = input_of(w, i, k)) != LK_EXPR_NONE; k++) {
            f->first[from + 2]++;
        }
    }
    for (size_t i = 0; i < n && !failed; i++) {
        f->first[i + 2] += f->first[i + 1];
    }
    f->waiting = failed ? NULL : lk_alloc_array(f->first[n + 1], sizeof *f->waiting);
    if (!f->waiting) {
        return lk_fail(w->err, LK_E_NOMEM, "out of memory for a grammar of %zu expressions", n);
    }
    for (uint32_t i = 0, from; i < n; i++) { /* moves first[from + 1] to the end of its part */
        for (uint32_t k = 0; (from = input_of(w, i, k)) != LK_EXPR_NONE; k++) {
            f->waiting[f->first[from + 1]++] = i;
        }
    }
    return LK_OK;
}

/* f->value from what is given; f is to be closed, also after a failure. */
static lk_status solve(const struct work *w, bool (*given)(const struct lk_expr_node *m),
                       struct facts *f)
{
    *f = (struct facts){0};
    lk_status status = open_facts(w, f);
    size_t n_queue = 0;
    for (uint32_t i = LK_EXPR_EMPTY; i < w->x->n && !status; i++) {
        const struct lk_expr_node *m = &w->x->node[i];
        bool none_needed = m->kind == LK_KIND_REPEAT && m->min == 0;
        if (none_needed || given(m)) {
            f->value[i] = 1;
            f->queue[n_queue++] = i;
        }
    }
    for (size_t at = 0; at < n_queue && !status; at++) {
        uint32_t from = f->queue[at];
        for (uint32_t k = f->first[from]; k < f->first[from + 1]; k++) {
            uint32_t i = f->waiting[k];
            if (!f->value[i] && --f->need[i] == 0) {
                f->value[i] = 1;
                f->queue[n_queue++] = i;
            }
        }
    }
    return status;
}

static bool given_nullable(const struct lk_expr_node *m)
{
    return (m->flags & LK_EXPR_REGULAR) && (m->flags & LK_EXPR_NULLABLE);
}

static bool given_text(const struct lk_expr_node *m)
{
    return (m->flags & LK_EXPR_REGULAR) || m->kind == LK_KIND_TOKEN;
}

static lk_status find_nullable(struct work *w)
{
    struct facts f;
    lk_status status = solve(w, given_nullable, &f);
    for (size_t i = 0; i < w->x->n && !status; i++) {
        w->x->node[i].flags |= f.value[i] ? LK_EXPR_NULLABLE : 0;
    }
    for (size_t i = 0; i < w->g->n_rules && !status; i++) {
        w->g->rule[i].nullable = f.value[w->g->rule[i].body];
    }
    close_facts(&f);
    return status;
}

static lk_status find_productive(struct work *w)
{
    struct facts f;
    lk_status status = solve(w, given_text, &f);
    for (size_t i = 0; i < w->g->n_rules && !status; i++) {
        w->productive[i] = f.value[w->g->rule[i].body];
    }
    close_facts(&f);
    return status;
}

/* ---- left recursion: a walk in depth over what rules can begin with ---- */

static lk_status left_recursion(struct work *w, const struct visit *path, size_t n, uint32_t to)
{
    const lk_grammar *g = w->g;
    size_t from = n - 1;
    while (path[from].rule != to) {
        from--;
    }
    char names[256];
    size_t len = 0;
    for (size_t i = from; i <= n && len < sizeof names; i++) {
        int k = snprintf(names + len, sizeof names - len, "%s%s", i > from ? " -> " : "",
                         g->rule[i < n ? path[i].rule : to].name);
        len += k > 0 ? (size_t)k : 0;
    }
    return lk_fail(w->err, LK_E_UNSUPPORTED,
                   "rule '%s' begins with itself (%s): left recursion is not supported",
                   g->rule[to].name, names);
}

/* Ranks: a rule's is lower than those of all that it can begin with. */
static lk_status rank_rules(struct work *w)
{
    lk_grammar *g = w->g;
    enum { NEW, OPEN, DONE };
    struct visit *path = lk_alloc_array(g->n_rules + 1, sizeof *path);
    uint8_t *state = lk_alloc(g->n_rules);
    uint32_t rank = (uint32_t)g->n_rules;
    lk_status status = path && state
                           ? LK_OK
                           : lk_fail(w->err, LK_E_NOMEM, "out of memory for %zu rules", g->n_rules);
    for (uint32_t root = 0; root < g->n_rules && !status; root++) {
        size_t n_path = 0;
        uint32_t enter = root;
        bool entering = state[root] == NEW;
        while ((entering || n_path) && !status) {
            if (entering) {
                struct visit *v = &path[n_path++];
                state[enter] = OPEN;
                v->rule = enter;
                status = refers_to(w, g->rule[enter].body, true, &v->from);
                v->at = v->from;
                entering = false;
                continue;
            }
            struct visit *v = &path[n_path - 1];
            if (v->at < w->n_list) {
                enter = w->list[v->at++];
                entering = state[enter] == NEW;
                if (state[enter] == OPEN) {
                    status = left_recursion(w, path, n_path, enter);
                }
                continue;
            }
            w->n_list = v->from;
            state[v->rule] = DONE;
            g->rule[v->rule].rank = --rank;
            n_path--;
        }
    }
    lk_free(path);
    lk_free(state);
    return status;
}

/* ---- all of it ---- */

static lk_status open_work(struct work *w)
{
    size_t n = w->n = w->x->n, rules = w->g->n_rules;
    lk_free(w->map);
    lk_free(w->seen);
    w->map = lk_alloc_array(n, sizeof *w->map);
    w->seen = lk_alloc_array(n, sizeof *w->seen);
    w->walk = 0;
    w->n_list = 0;
    if (!w->order) {
        w->order = lk_alloc_array(rules, sizeof *w->order);
        w->low = lk_alloc_array(rules, sizeof *w->low);
        w->stack = lk_alloc_array(rules, sizeof *w->stack);
        w->on_stack = lk_alloc_array(rules, sizeof *w->on_stack);
        w->recursive = lk_alloc_array(rules, sizeof *w->recursive);
        w->productive = lk_alloc_array(rules, sizeof *w->productive);
    }
    if (!w->map || !w->seen || !w->order || !w->low || !w->stack || !w->on_stack || !w->recursive ||
        !w->productive) {
        return lk_fail(w->err, LK_E_NOMEM, "out of memory for a grammar of %zu expressions", n);
    }
    return LK_OK;
}

static void close_work(struct work *w)
{
    lk_free(w->map);
    lk_free(w->seen);
    lk_free(w->list);
    lk_free(w->order);
    lk_free(w->low);
    lk_free(w->stack);
    lk_free(w->on_stack);
    lk_free(w->recursive);
    lk_free(w->productive);
}

/* Regular rules into their places, all rules being taken for productive until it is known; left
 * recursion is told before rules that have no text are gone. */
static lk_status simplify(struct work *w)
{
    lk_grammar *g = w->g;
    for (size_t i = 0; i < g->n_rules; i++) {
        w->productive[i] = true;
    }
    lk_status status = inline_rules(w);
    if (!status && !w->x->status) {
        g->root = rewrite(w, g->root);
        status = open_work(w);
    }
    if (!status && !w->x->status) {
        status = find_nullable(w);
        status = status ? status : rank_rules(w);
    }
    if (!status && !w->x->status) {
        for (size_t i = 0; i < g->n_rules; i++) {
            w->productive[i] = false;
        }
        status = find_productive(w);
        for (size_t i = 0; i < g->n_rules && !status; i++) {
            g->rule[i].body = rewrite(w, g->rule[i].body);
        }
        g->root = status ? g->root : rewrite(w, g->root);
    }
    return status;
}

/* Every rule has a body now. */
lk_status lk_grammar_finish(lk_grammar *g, lk_error *err)
{
    struct work w = {.g = g, .x = &g->x, .err = err};
    lk_status status = open_work(&w);
    if (!status) {
        status = simplify(&w);
    }
    if (!status && g->x.status) {
        status = lk_fail(err, g->x.status, "%s", g->x.error.message);
    }
    if (!status) {
        status = find_nullable(&w); /* of the nodes that are new */
    }
    if (!status && g->root == LK_EXPR_NONE) {
        status = lk_fail(err, LK_E_FORMAT, "no text fits it");
    }
    close_work(&w);
    return status;
}

lk_status lk_grammar_open(const lk_grammar_options *options, const char *kind, const char *text,
                          size_t len, lk_grammar_compile_fn compile, lk_grammar **out,
                          lk_error *err)
{
    lk_grammar *g;
    lk_error own;
    err = err ? err : &own;
    *out = NULL;
    lk_status status = lk_grammar_new(options, kind, len, &g, err);
    if (status) {
        return status;
    }
    status = compile(g, text, len, err);
    if (!status) {
        status = lk_grammar_finish(g, err);
    }
    if (status) {
        lk_grammar_fail(g, err, status);
        lk_grammar_close(&g);
        return status;
    }
    *out = g;
    return LK_OK;
}
