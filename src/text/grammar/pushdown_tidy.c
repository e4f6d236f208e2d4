/* SPDX-License-Identifier: Apache-2.0
 *
 * Pushdown_tidy: opens and closes machines, and makes one anew with nothing but what open
 * constraints stand in, when it has grown large. Ids rise from what is inside to what has it
 * inside, in expressions and in stacks; so one pass down marks what is needed and one pass up
 * copies it.
 */
#include <stdlib.h>

#include "text/grammar/constraint.h"
#include "text/grammar/pushdown.h"
#include "text/token/tok.h"

#define NO_BOUND                                                                                   \
    ((size_t)8 << 30) /* of what one mask may take; its work is bounded before that                \
                       */

static void close_machine(struct lk_machine *m)
{
    lk_exprs_close(&m->x);
    lk_free(m->terminal);
    lk_free(m->frame);
    lk_free(m->stacks);
    lk_free(m->member);
    lk_free(m->place);
    lk_free(m->state);
    lk_free(m->next);
    lk_slots_free(&m->frames);
    lk_slots_free(&m->stack_sets);
    lk_slots_free(&m->states);
    lk_free(m->closure.todo);
    lk_free(m->closure.found);
    lk_free(m->closure.token);
    lk_slots_free(&m->closure.seen);
    lk_free(m->closure.visited);
    lk_free(m->closure.rule);
    lk_free(m->closure.want);
    lk_free(m->closure.wanted);
    lk_sleeps_free(m);
    lk_masks_free(m->masks);
}

void lk_homes_close(lk_grammar *g)
{
    while (g->homes) {
        struct lk_home *home = g->homes;
        g->homes = home->after;
        close_machine(&home->machine);
        pthread_mutex_destroy(&home->lock);
        lk_free(home);
    }
}

size_t lk_machine_bytes(const struct lk_machine *m)
{
    return lk_exprs_bytes(&m->x) + m->n_frames * sizeof *m->frame +
           m->n_stacks * sizeof *m->stacks + m->n_members * sizeof *m->member +
           m->n_places * sizeof *m->place + m->n_states * sizeof *m->state +
           m->n_next * sizeof *m->next +
           (m->frames.cap + m->stack_sets.cap + m->states.cap) * sizeof(struct lk_slot);
}

/* ---- open ---- */

static lk_status find_terminals(struct lk_machine *m, lk_error *err)
{
    const lk_grammar *g = m->g;
    m->terminal = lk_alloc_array(g->n_terminals, sizeof *m->terminal);
    if (!m->terminal) {
        return lk_fail(err, LK_E_NOMEM, "out of memory for %zu tokens", g->n_terminals);
    }
    for (size_t i = 0; i < g->n_terminals; i++) {
        const struct lk_terminal *t = &g->terminal[i];
        m->terminal[i] = t->text ? lk_tok_find(m->t, t->text, t->len) : t->id;
        if (t->text && m->terminal[i] < 0) {
            return lk_fail(err, LK_E_INVALID, "the vocabulary has no token '%s'", t->text);
        }
        if (m->terminal[i] < 0 || (size_t)m->terminal[i] >= m->t->n_vocab) {
            return lk_fail(err, LK_E_INVALID, "token %d, expected 0 to %zu", (int)t->id,
                           m->t->n_vocab - 1);
        }
    }
    return LK_OK;
}

static lk_status open_machine(lk_grammar *g, const struct lk_tokenizer *t, struct lk_machine *m,
                              lk_error *err)
{
    *m = (struct lk_machine){.g = g, .t = t};
    lk_status status = lk_trie_get(t, &m->trie, err);
    if (!status) {
        status = find_terminals(m, err);
    }
    if (!status) {
        status = lk_exprs_copy(&m->x, &g->x, NO_BOUND, err);
    }
    if (!status) {
        m->closure.wanted = lk_alloc_array(g->n_rules, sizeof *m->closure.wanted);
        status = m->closure.wanted
                     ? LK_OK
                     : lk_fail(err, LK_E_NOMEM, "out of memory for %zu rules", g->n_rules);
    }
    if (!status) {
        lk_machine_begin(m);
        status = m->x.status ? lk_fail(err, m->x.status, "%s", m->x.error.message) : LK_OK;
    }
    if (status) {
        close_machine(m);
    }
    return status;
}

lk_status lk_home_get(lk_grammar *g, const struct lk_tokenizer *t, struct lk_home **out,
                      lk_error *err)
{
    pthread_mutex_lock(&g->lock);
    struct lk_home *home = g->homes;
    while (home && home->machine.t != t) {
        home = home->after;
    }
    lk_status status = LK_OK;
    if (!home) {
        home = lk_alloc(sizeof *home);
        status = home ? open_machine(g, t, &home->machine, err)
                      : lk_fail(err, LK_E_NOMEM, "out of memory for an automaton");
        if (!status && pthread_mutex_init(&home->lock, NULL)) {
            close_machine(&home->machine);
            status = lk_fail(err, LK_E_NOMEM, "out of memory for a lock");
        }
        if (status) {
            lk_free(home);
        } else {
            home->after = g->homes;
            g->homes = home;
        }
    }
    pthread_mutex_unlock(&g->lock);
    *out = status ? NULL : home;
    return status;
}

/* ---- making anew ---- */

/* Marks of what is needed, and afterwards the new ids. */
struct move {
    struct lk_machine *from, to;
    uint32_t *expr, *stacks, *state; /* 0: not needed; 1: needed; then 1 + the new id */
};

static void mark(struct move *v)
{
    const struct lk_machine *m = v->from;
    const struct lk_exprs *x = &m->x;
    for (size_t i = 0; i < m->n_states; i++) {
        const struct lk_state *s = &m->state[i];
        for (uint32_t k = 0; v->state[i] && !s->sleep && k < s->n + s->n_tokens; k++) {
            const struct lk_place *p = &m->place[s->first + k];
            v->stacks[p->below] = 1;
            if (k < s->n) {
                v->expr[p->e] = 1;
            }
        }
    }
    for (size_t i = m->n_stacks; i-- > 0;) {
        const struct lk_stacks *s = &m->stacks[i];
        for (uint32_t k = 0; v->stacks[i] && k < s->n; k++) {
            const struct lk_frame *f = &m->frame[m->member[s->first + k]];
            v->expr[f->item] = 1;
            v->stacks[f->below] = 1;
        }
    }
    for (size_t i = x->n; i-- > m->g->x.n;) {
        const struct lk_expr_node *n = &x->node[i];
        bool list = n->kind == LK_KIND_ALT || n->kind == LK_KIND_AND;
        bool one = n->kind == LK_KIND_CAT || n->kind == LK_KIND_NOT || n->kind == LK_KIND_REPEAT;
        for (uint32_t k = 0; v->expr[i] && list && k < n->b; k++) {
            v->expr[x->kid[n->a + k]] = 1;
        }
        if (v->expr[i] && one) {
            v->expr[n->a] = 1;
        }
        if (v->expr[i] && n->kind == LK_KIND_CAT) {
            v->expr[n->b] = 1;
        }
    }
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
    return (p > q) - (p < q);
}

static void move_exprs(struct move *v)
{
    const struct lk_machine *m = v->from;
    for (size_t i = 0; i < m->x.n; i++) {
        if (i < m->g->x.n) {
            v->expr[i] = (uint32_t)i; /* the grammar's own have the same ids */
        } else if (v->expr[i]) {
            v->expr[i] = lk_expr_import(&v->to.x, &m->x, (uint32_t)i, v->expr);
        }
    }
}

static void move_stacks(struct move *v)
{
    const struct lk_machine *m = v->from;
    struct lk_exprs *x = &v->to.x;
    for (size_t i = 0; i < m->n_stacks && !x->status; i++) {
        size_t from = lk_expr_list(x);
        if (!v->stacks[i]) {
            continue;
        }
        for (uint32_t k = 0; k < m->stacks[i].n; k++) {
            uint32_t frame = m->member[m->stacks[i].first + k];
            struct lk_frame f = m->frame[frame];
            lk_expr_push(x, frame == LK_END_FRAME
                                ? LK_END_FRAME
                                : lk_machine_frame(&v->to, v->expr[f.item], v->stacks[f.below]));
        }
        if (!x->status) {
            uint32_t n = (uint32_t)(x->n_work - from);
            if (n > 1) {
                qsort(x->work + from, n, sizeof *x->work, compare_ids);
            }
            v->stacks[i] = lk_machine_stacks(&v->to, x->work + from, n);
            x->n_work = from;
        }
    }
}

static void move_states(struct move *v, struct lk_place *places)
{
    const struct lk_machine *m = v->from;
    for (size_t i = 0; i < m->n_states && !v->to.x.status; i++) {
        struct lk_state s = m->state[i];
        if (!v->state[i]) {
            continue;
        }
        for (uint32_t k = 0; !s.sleep && k < s.n + s.n_tokens; k++) {
            struct lk_place p = m->place[s.first + k];
            places[k] = (struct lk_place){k < s.n ? v->expr[p.e] : p.e, v->stacks[p.below]};
        }
        if (!s.sleep && s.n) {
            qsort(places, s.n, sizeof *places, lk_compare_places);
        }
        struct lk_state made = {.n = s.n, .n_tokens = s.n_tokens, .accepts = s.accepts};
        v->state[i] = 1 + (s.sleep ? lk_sleep_state(&v->to, s.sleep - 1, s.first)
                                   : lk_machine_intern(&v->to, made, places));
    }
}

/* Calls `each` on every place that keeps a state. */
static void each_root(struct lk_home *home, void (*each)(struct move *v, uint32_t *state),
                      struct move *v)
{
    for (struct lk_constraint *c = home->constraints; c; c = c->after) {
        each(v, &c->state);
    }
    for (size_t i = 0; i < home->machine.n_sleep; i++) {
        uint32_t *wakes;
        for (size_t k = 0; (wakes = lk_sleep_wakes(&home->machine, i, k)); k++) {
            each(v, wakes);
        }
    }
}

static void mark_root(struct move *v, uint32_t *state)
{
    v->state[*state] = 1;
}

static void move_root(struct move *v, uint32_t *state)
{
    *state = v->state[*state] - 1;
}

/* Puts the new machine in the place of the old one, which goes. Triggers and the room for masks are
 * the same. */
static void replace(struct lk_home *home, struct lk_machine *made)
{
    struct lk_machine old = home->machine;
    made->visit = old.visit;
    made->sleep = old.sleep;
    made->n_sleep = old.n_sleep;
    made->sleep_cap = old.sleep_cap;
    made->masks = old.masks;
    old.sleep = NULL;
    old.n_sleep = 0;
    old.masks = NULL;
    close_machine(&old);
    home->machine = *made;
    lk_masks_forget(&home->machine);
}

static lk_status open_move(struct move *v, struct lk_place **places)
{
    const struct lk_machine *m = v->from;
    uint32_t most = 0;
    for (size_t i = 0; i < m->n_states; i++) {
        const struct lk_state *s = &m->state[i];
        most = !s->sleep && s->n + s->n_tokens > most ? s->n + s->n_tokens : most;
    }
    v->expr = lk_alloc_array(m->x.n, sizeof *v->expr);
    v->stacks = lk_alloc_array(m->n_stacks, sizeof *v->stacks);
    v->state = lk_alloc_array(m->n_states, sizeof *v->state);
    *places = lk_alloc_array(most, sizeof **places);
    return v->expr && v->stacks && v->state && *places ? LK_OK : LK_E_NOMEM;
}

static void free_move(struct move *v, struct lk_place *places)
{
    lk_free(v->expr);
    lk_free(v->stacks);
    lk_free(v->state);
    lk_free(places);
}

/* ---- what one text takes ---- */

/* No more than lk_machine_bytes: frames may be shared, so they are left out. */
static size_t marked_bytes(const struct move *v)
{
    const struct lk_machine *m = v->from;
    size_t n = 0;
    for (size_t i = 0; i < m->n_states; i++) {
        const struct lk_state *s = &m->state[i];
        n += v->state[i] && !s->sleep ? (s->n + s->n_tokens) * sizeof *m->place : 0;
    }
    for (size_t i = 0; i < m->n_stacks; i++) {
        n += v->stacks[i] ? sizeof *m->stacks + m->stacks[i].n * sizeof *m->member : 0;
    }
    for (size_t i = m->g->x.n; i < m->x.n; i++) {
        const struct lk_expr_node *e = &m->x.node[i];
        bool list = e->kind == LK_KIND_ALT || e->kind == LK_KIND_AND;
        n += v->expr[i] ? sizeof *e + (list ? e->b * sizeof *m->x.kid : 0) : 0;
    }
    return n;
}

bool lk_home_bounds(struct lk_home *home, uint32_t state)
{
    struct lk_machine *m = &home->machine;
    struct move v = {.from = m};
    struct lk_place *places;
    if (m->x.status || lk_machine_bytes(m) <= m->g->max_bytes) {
        return !m->x.status;
    }
    if (open_move(&v, &places) != LK_OK) {
        lk_exprs_fail(&m->x, LK_E_NOMEM, "out of memory");
    } else {
        mark_root(&v, &state);
        mark(&v);
        if (marked_bytes(&v) > m->g->max_bytes) {
            lk_exprs_fail(&m->x, LK_E_UNSUPPORTED,
                          "following the text so far takes more than %zu bytes", m->g->max_bytes);
        }
    }
    free_move(&v, places);
    return !m->x.status;
}

/* Without memory for it, all stays as it is. */
static void renew(struct lk_home *home)
{
    struct lk_machine *m = &home->machine;
    struct move v = {.from = m};
    struct lk_place *places;
    if (open_move(&v, &places) == LK_OK && open_machine(m->g, m->t, &v.to, NULL) == LK_OK) {
        each_root(home, mark_root, &v);
        mark(&v);
        v.to.sleep = m->sleep; /* lent, for the partitions of sleeping states */
        v.to.n_sleep = m->n_sleep;
        move_exprs(&v);
        move_stacks(&v);
        lk_sleep_renew(&v.to);
        move_states(&v, places);
        v.to.sleep = NULL;
        v.to.n_sleep = 0;
        if (v.to.x.status) {
            close_machine(&v.to);
            lk_sleep_renew(m);
        } else {
            each_root(home, move_root, &v);
            replace(home, &v.to);
        }
    }
    free_move(&v, places);
}

/* What all open constraints need may be more than a grammar's max_bytes; then it is looked through
 * again when there is twice as much. */
void lk_home_tidy(struct lk_home *home)
{
    const struct lk_machine *m = &home->machine;
    size_t most = m->g->max_bytes > home->enough ? m->g->max_bytes : home->enough;
    if (lk_machine_bytes(m) > most) {
        renew(home);
        home->enough = 2 * lk_machine_bytes(m);
    }
}
