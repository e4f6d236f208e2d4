/* SPDX-License-Identifier: Apache-2.0
 *
 * Pushdown: see pushdown.h. Owns states and stacks and the ways between states. A step derives each
 * place's expression; where one is read to its end, its stacks tell what comes next, down through
 * rules to the expressions and tokens that they begin with (the closure).
 */
#include "text/grammar/pushdown.h"

#include <stdlib.h>

#include "text/token/tok.h"

enum { NO_STACKS = LK_NO_STACKS, END_STACKS = LK_END_STACKS, END_FRAME = LK_END_FRAME };

#define POP UINT32_MAX /* in place of an expression: the stacks go on */

/* ---- frames and sets of stacks ---- */

uint32_t lk_machine_frame(struct lk_machine *m, uint32_t item, uint32_t below)
{
    uint32_t hash = lk_hash_mix(lk_hash_mix(1, item), below), id;
    for (size_t at = hash; lk_slots_next(&m->frames, hash, &at, &id);) {
        if (m->frame[id].item == item && m->frame[id].below == below) {
            return id;
        }
    }
    id = (uint32_t)m->n_frames;
    if (!lk_exprs_room(&m->x, &m->frame, &m->frames_cap, m->n_frames + 1, sizeof *m->frame) ||
        !lk_exprs_index(&m->x, &m->frames, hash, id)) {
        return END_FRAME;
    }
    m->frame[m->n_frames++] = (struct lk_frame){item, below};
    return id;
}

uint32_t lk_machine_stacks(struct lk_machine *m, const uint32_t *frames, uint32_t n)
{
    uint32_t hash = lk_hash_bytes(n, frames, n * sizeof *frames), id;
    for (size_t at = hash; lk_slots_next(&m->stack_sets, hash, &at, &id);) {
        const struct lk_stacks *s = &m->stacks[id];
        if (s->n == n &&
            (n == 0 || memcmp(m->member + s->first, frames, n * sizeof *frames) == 0)) {
            return id;
        }
    }
    id = (uint32_t)m->n_stacks;
    if (!lk_exprs_room(&m->x, &m->stacks, &m->stacks_cap, m->n_stacks + 1, sizeof *m->stacks) ||
        !lk_exprs_room(&m->x, &m->member, &m->members_cap, m->n_members + n, sizeof *m->member) ||
        !lk_exprs_index(&m->x, &m->stack_sets, hash, id)) {
        return NO_STACKS;
    }
    struct lk_stacks s = {.first = (uint32_t)m->n_members, .n = n};
    for (uint32_t i = 0; i < n; i++) {
        const struct lk_frame *f = &m->frame[frames[i]];
        m->member[m->n_members++] = frames[i];
        s.counted |= frames[i] != END_FRAME &&
                     (lk_expr_has(&m->x, f->item, LK_EXPR_COUNTED) || m->stacks[f->below].counted);
    }
    m->stacks[m->n_stacks++] = s;
    return id;
}

/* The set of one stack: `item` before the stacks of `below`. */
static uint32_t push_frame(struct lk_machine *m, uint32_t item, uint32_t below)
{
    uint32_t frame = lk_machine_frame(m, item, below);
    return lk_machine_stacks(m, &frame, 1);
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
    return (p > q) - (p < q);
}

/* The work list's sets from `from` on as one, which are taken off the list. They are joined at
 * once: one by one, each step would be a set that is kept. */
static uint32_t join_stacks(struct lk_machine *m, size_t from)
{
    struct lk_exprs *x = &m->x;
    size_t n_sets = x->status ? 0 : lk_expr_list(x) - from, kept = 0;
    if (n_sets == 1) {
        return x->work[--x->n_work];
    }
    for (size_t i = 0; i < n_sets && !x->status; i++) {
        struct lk_stacks s = m->stacks[x->work[from + i]];
        for (uint32_t k = 0; k < s.n; k++) {
            lk_expr_push(x, m->member[s.first + k]);
        }
    }
    size_t first = from + n_sets;
    uint32_t both = NO_STACKS;
    if (!x->status) {
        uint32_t *frame = x->work + first;
        size_t n = x->n_work - first;
        if (n > 1) {
            qsort(frame, n, sizeof *frame, compare_ids);
        }
        for (size_t i = 0; i < n; i++) {
            if (i == 0 || frame[i] != frame[kept - 1]) {
                frame[kept++] = frame[i];
            }
        }
        both = lk_machine_stacks(m, frame, (uint32_t)kept);
    }
    x->n_work = from < x->n_work ? from : x->n_work;
    return both;
}

/* ---- states ---- */

static bool same_state(const struct lk_machine *m, uint32_t id, const struct lk_state *w,
                       const struct lk_place *places)
{
    const struct lk_state *s = &m->state[id];
    size_t n = s->n + s->n_tokens;
    if (s->n != w->n || s->n_tokens != w->n_tokens || s->accepts != w->accepts ||
        s->sleep != w->sleep) {
        return false;
    }
    return s->sleep ? s->first == w->first
                    : n == 0 || memcmp(m->place + s->first, places, n * sizeof *places) == 0;
}

void lk_machine_too_much(struct lk_machine *m)
{
    lk_exprs_fail(
        &m->x, LK_E_UNSUPPORTED,
        "too much is possible at once: what may come next takes more than %d steps to find",
        LK_MACHINE_MAX_WORK);
}

static void describe_state(struct lk_machine *m, struct lk_state *s, const struct lk_place *places)
{
    s->weight = 1 + s->n_tokens;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t p = lk_expr_partition(&m->x, places[i].e), w = m->x.node[places[i].e].weight;
        s->partition = i ? lk_partition_refine(&m->x, s->partition, p) : p;
        w = w > UINT32_MAX / 2 ? w : w + m->stacks[places[i].below].n;
        s->weight = s->weight > UINT32_MAX - w ? UINT32_MAX : s->weight + w;
    }
    if (s->n == 0 && !s->sleep) {
        s->partition = lk_expr_partition(&m->x, LK_EXPR_NONE);
    }
}

uint32_t lk_machine_intern(struct lk_machine *m, struct lk_state s, const struct lk_place *places)
{
    uint32_t n = s.n + s.n_tokens, id;
    uint32_t hash = lk_hash_mix(lk_hash_mix(s.n, s.accepts), s.sleep);
    hash = s.sleep ? lk_hash_mix(hash, s.first) : lk_hash_bytes(hash, places, n * sizeof *places);
    for (size_t at = hash; lk_slots_next(&m->states, hash, &at, &id);) {
        if (same_state(m, id, &s, places)) {
            return m->x.status ? LK_STATE_DEAD : id;
        }
    }
    describe_state(m, &s, places);
    if (s.weight > LK_MACHINE_MAX_WORK) {
        lk_machine_too_much(m);
    }
    id = (uint32_t)m->n_states;
    if (!lk_exprs_room(&m->x, &m->state, &m->states_cap, m->n_states + 1, sizeof *m->state) ||
        !lk_exprs_room(&m->x, &m->place, &m->places_cap, m->n_places + n, sizeof *m->place) ||
        !lk_exprs_index(&m->x, &m->states, hash, id)) {
        return LK_STATE_DEAD;
    }
    if (!s.sleep) {
        s.first = (uint32_t)m->n_places;
        if (n) {
            memcpy(m->place + m->n_places, places, n * sizeof *places);
        }
        m->n_places += n;
    }
    m->state[m->n_states++] = s;
    return id;
}

/* ---- the closure ---- */

static bool add_place(struct lk_machine *m, struct lk_place **array, size_t *n, size_t *cap,
                      struct lk_place p)
{
    if (!lk_exprs_room(&m->x, array, cap, *n + 1, sizeof **array)) {
        return false;
    }
    (*array)[(*n)++] = p;
    return true;
}

static void todo(struct lk_machine *m, uint32_t e, uint32_t below)
{
    struct lk_closure *c = &m->closure;
    add_place(m, &c->todo, &c->n_todo, &c->todo_cap, (struct lk_place){e, below});
}

static void found(struct lk_machine *m, uint32_t e, uint32_t below)
{
    struct lk_closure *c = &m->closure;
    add_place(m, &c->found, &c->n_found, &c->found_cap, (struct lk_place){e, below});
}

static void begin_closure(struct lk_machine *m)
{
    struct lk_closure *c = &m->closure;
    enum { SMALL = 4096 };
    for (size_t i = 0; i < c->n_rules; i++) { /* left from a failure */
        c->wanted[c->rule[i]] = 0;
    }
    c->n_todo = c->n_wants = c->n_found = c->n_token = c->n_visited = c->n_rules = 0;
    c->accepts = false;
    if (c->seen.cap > SMALL) {
        lk_slots_free(&c->seen);
    } else if (c->seen.n) {
        memset(c->seen.slot, 0, c->seen.cap * sizeof *c->seen.slot);
        c->seen.n = 0;
    }
}

/* True the first time that a place comes by. */
static bool is_new(struct lk_machine *m, struct lk_place p)
{
    struct lk_closure *c = &m->closure;
    uint32_t hash = lk_hash_mix(lk_hash_mix(1, p.e), p.below), id;
    for (size_t at = hash; lk_slots_next(&c->seen, hash, &at, &id);) {
        if (c->visited[id].e == p.e && c->visited[id].below == p.below) {
            return false;
        }
    }
    id = (uint32_t)c->n_visited;
    return add_place(m, &c->visited, &c->n_visited, &c->visited_cap, p) &&
           lk_exprs_index(&m->x, &c->seen, hash, id);
}

static uint32_t rank_of(const struct lk_machine *m, size_t i)
{
    return m->g->rule[m->closure.rule[i]].rank;
}

static void swap_rules(struct lk_closure *c, size_t i, size_t k)
{
    uint32_t r = c->rule[i];
    c->rule[i] = c->rule[k];
    c->rule[k] = r;
}

/* Notes that rule r is entered with the stacks of `below` behind it. */
static void want_rule(struct lk_machine *m, uint32_t r, uint32_t below)
{
    struct lk_closure *c = &m->closure;
    if (!c->wanted[r]) {
        size_t i = c->n_rules;
        if (!lk_exprs_room(&m->x, &c->rule, &c->rules_cap, i + 1, sizeof *c->rule)) {
            return;
        }
        c->rule[c->n_rules++] = r;
        for (; i > 0 && rank_of(m, i) < rank_of(m, (i - 1) / 2); i = (i - 1) / 2) {
            swap_rules(c, i, (i - 1) / 2);
        }
    }
    if (lk_exprs_room(&m->x, &c->want, &c->wants_cap, c->n_wants + 1, sizeof *c->want)) {
        c->want[c->n_wants++] = (struct lk_want){below, c->wanted[r]};
        c->wanted[r] = (uint32_t)c->n_wants;
    }
}

/* The stacks behind rule r, which is not waited for from now on. */
static uint32_t take_wanted(struct lk_machine *m, uint32_t r)
{
    struct lk_closure *c = &m->closure;
    size_t from = lk_expr_list(&m->x);
    for (uint32_t i = c->wanted[r]; i; i = c->want[i - 1].before) {
        lk_expr_push(&m->x, c->want[i - 1].stacks);
    }
    c->wanted[r] = 0;
    return join_stacks(m, from);
}

/* Takes the rule with the lowest rank out of the heap. */
static uint32_t first_rule(struct lk_machine *m)
{
    struct lk_closure *c = &m->closure;
    uint32_t r = c->rule[0];
    c->rule[0] = c->rule[--c->n_rules];
    for (size_t i = 0, child; (child = 2 * i + 1) < c->n_rules; i = child) {
        child += child + 1 < c->n_rules && rank_of(m, child + 1) < rank_of(m, child);
        if (rank_of(m, i) <= rank_of(m, child)) {
            break;
        }
        swap_rules(c, i, child);
    }
    return r;
}

/* What is read to its end: the stacks of `below` go on. */
static void pop(struct lk_machine *m, uint32_t below)
{
    struct lk_stacks s = m->stacks[below];
    for (uint32_t i = 0; i < s.n; i++) {
        uint32_t frame = m->member[s.first + i];
        if (frame == END_FRAME) {
            m->closure.accepts = true;
            continue;
        }
        struct lk_frame f = m->frame[frame];
        todo(m, f.item, f.below);
        if (lk_expr_has(&m->x, f.item, LK_EXPR_NULLABLE)) {
            todo(m, POP, f.below);
        }
    }
}

/* One step down from an expression to those that it can begin with. What is empty is passed over by
 * whoever stands before it. */
static void expand(struct lk_machine *m, uint32_t e, uint32_t below)
{
    struct lk_exprs *x = &m->x;
    struct lk_expr_node n = x->node[e];
    struct lk_closure *c = &m->closure;
    uint32_t rest;
    if (n.flags & LK_EXPR_REGULAR) {
        if (e != LK_EXPR_NONE && e != LK_EXPR_EMPTY) {
            found(m, e, below);
        }
        return;
    }
    switch (n.kind) {
    case LK_KIND_CAT:
        todo(m, n.a, push_frame(m, n.b, below));
        if (lk_expr_has(x, n.a, LK_EXPR_NULLABLE)) {
            todo(m, n.b, below);
        }
        break;
    case LK_KIND_ALT:
        for (uint32_t i = 0; i < n.b; i++) {
            todo(m, x->kid[n.a + i], below);
        }
        break;
    case LK_KIND_REPEAT:
        rest = lk_expr_repeat(x, n.a, n.min ? n.min - 1 : 0,
                              n.max == LK_NO_LIMIT ? LK_NO_LIMIT : n.max - 1);
        todo(m, n.a, rest == LK_EXPR_EMPTY ? below : push_frame(m, rest, below));
        break;
    case LK_KIND_RULE:
        want_rule(m, n.a, below);
        break;
    case LK_KIND_TOKEN:
        add_place(m, &c->token, &c->n_token, &c->token_cap, (struct lk_place){n.a, below});
        break;
    default:
        break;
    }
}

/* Works until nothing is left to do: rules last, those first that can begin with others. */
static void run_closure(struct lk_machine *m)
{
    struct lk_closure *c = &m->closure;
    while ((c->n_todo || c->n_rules) && !m->x.status) {
        if (c->n_todo) {
            struct lk_place p = c->todo[--c->n_todo];
            if (!is_new(m, p)) {
                continue;
            }
            if (p.e == POP) {
                pop(m, p.below);
            } else {
                expand(m, p.e, p.below);
            }
            continue;
        }
        uint32_t r = first_rule(m);
        todo(m, m->g->rule[r].body, take_wanted(m, r));
    }
}

static int by_expression(const void *a, const void *b)
{
    const struct lk_place *p = a, *q = b;
    int c = (p->e > q->e) - (p->e < q->e);
    return c ? c : (p->below > q->below) - (p->below < q->below);
}

int lk_compare_places(const void *a, const void *b)
{
    const struct lk_place *p = a, *q = b;
    int c = (p->below > q->below) - (p->below < q->below);
    return c ? c : (p->e > q->e) - (p->e < q->e);
}

/* Sorts places and joins the stacks of those with the same e; the new number. */
static size_t join_equal(struct lk_machine *m, struct lk_place *p, size_t n)
{
    size_t kept = 0;
    if (n > 1) {
        qsort(p, n, sizeof *p, by_expression);
    }
    for (size_t i = 0, end; i < n && !m->x.status; i = end) {
        size_t from = lk_expr_list(&m->x);
        for (end = i; end < n && p[end].e == p[i].e; end++) {
            lk_expr_push(&m->x, p[end].below);
        }
        p[kept++] = (struct lk_place){p[i].e, join_stacks(m, from)};
    }
    return kept;
}

/* Joins the expressions of places with the same stacks; the new number. */
static size_t join_expressions(struct lk_machine *m, struct lk_place *p, size_t n)
{
    struct lk_exprs *x = &m->x;
    size_t kept = 0;
    if (n > 1) {
        qsort(p, n, sizeof *p, lk_compare_places);
    }
    for (size_t i = 0, end; i < n && !x->status; i = end) {
        size_t from = lk_expr_list(x);
        for (end = i; end < n && p[end].below == p[i].below; end++) {
            lk_expr_push(x, p[end].e);
        }
        uint32_t e = lk_expr_alt_of(x, from);
        p[kept++] = (struct lk_place){e, p[i].below};
    }
    return kept;
}

/* The state of what the closure found. */
static uint32_t end_closure(struct lk_machine *m)
{
    struct lk_closure *c = &m->closure;
    run_closure(m);
    if (m->x.status) {
        return LK_STATE_DEAD;
    }
    c->n_token = join_equal(m, c->token, c->n_token);
    if (c->n_found > 1) {
        c->n_found = join_equal(m, c->found, c->n_found);
        c->n_found = join_expressions(m, c->found, c->n_found);
    }
    struct lk_state s = {.n = (uint32_t)c->n_found,
                         .n_tokens = (uint32_t)c->n_token,
                         .accepts = c->accepts};
    for (size_t i = 0; i < c->n_token; i++) {
        found(m, c->token[i].e, c->token[i].below);
    }
    return m->x.status ? LK_STATE_DEAD : lk_machine_intern(m, s, c->found);
}

/* ---- ways ---- */

void lk_machine_begin(struct lk_machine *m)
{
    uint32_t end = lk_machine_frame(m, LK_EXPR_EMPTY, NO_STACKS);
    lk_machine_stacks(m, NULL, 0);
    uint32_t stacks = lk_machine_stacks(m, &end, 1);
    begin_closure(m);
    end_closure(m); /* LK_STATE_DEAD */
    begin_closure(m);
    todo(m, m->g->root, stacks);
    m->closure.accepts = lk_expr_has(&m->x, m->g->root, LK_EXPR_NULLABLE);
    m->start = end_closure(m);
}

static uint32_t after_byte(struct lk_machine *m, uint32_t state, unsigned byte)
{
    struct lk_state s = m->state[state];
    begin_closure(m);
    for (uint32_t i = 0; i < s.n && !m->x.status; i++) {
        struct lk_place p = m->place[s.first + i];
        uint32_t d = lk_expr_derive(&m->x, p.e, byte);
        if (d == LK_EXPR_NONE || !lk_expr_is_live(&m->x, d)) {
            continue;
        }
        if (d != LK_EXPR_EMPTY) {
            found(m, d, p.below);
        }
        if (lk_expr_has(&m->x, d, LK_EXPR_NULLABLE)) {
            todo(m, POP, p.below);
        }
    }
    return end_closure(m);
}

uint32_t lk_machine_step(struct lk_machine *m, uint32_t state, unsigned byte)
{
    uint32_t n = m->x.partition[m->state[state].partition].n;
    if (!m->state[state].next) {
        if (!lk_exprs_room(&m->x, &m->next, &m->next_cap, m->n_next + n, sizeof *m->next)) {
            return LK_STATE_DEAD;
        }
        m->state[state].next = (uint32_t)m->n_next + 1;
        m->n_next += n;
    }
    size_t at = m->state[state].next - 1 + m->x.partition[m->state[state].partition].of[byte];
    if (!m->next[at]) {
        uint32_t to =
            m->state[state].sleep ? lk_sleep_step(m, state, byte) : after_byte(m, state, byte);
        if (m->x.status) {
            return LK_STATE_DEAD;
        }
        m->next[at] = to + 1;
    }
    return m->next[at] - 1;
}

bool lk_machine_is_terminal(const struct lk_machine *m, uint32_t i, int32_t id)
{
    return m->g->terminal[i].other ? m->terminal[i] != id && !m->t->entry[id].eog
                                   : m->terminal[i] == id;
}

uint32_t lk_machine_token(struct lk_machine *m, uint32_t state, int32_t id)
{
    uint32_t to = LK_STATE_DEAD;
    if (m->state[state].sleep && lk_sleep_token(m, state, id, &to)) {
        return to;
    }
    if (lk_trie_is_text(m->t, id)) {
        const struct lk_tok_entry *e = &m->t->entry[id];
        to = state;
        for (uint32_t i = 0; i < e->bytes_len && to != LK_STATE_DEAD; i++) {
            to = lk_machine_next(m, to, (unsigned char)e->bytes[i]);
        }
    }
    struct lk_state s = m->state[state], t = m->state[to];
    if (s.n_tokens == 0 || m->x.status || t.sleep) {
        return to;
    }
    begin_closure(m);
    for (uint32_t i = 0; i < t.n; i++) {
        found(m, m->place[t.first + i].e, m->place[t.first + i].below);
    }
    for (uint32_t i = t.n; i < t.n + t.n_tokens; i++) {
        todo(m, lk_expr_token(&m->x, m->place[t.first + i].e), m->place[t.first + i].below);
    }
    m->closure.accepts = t.accepts;
    for (uint32_t i = s.n; i < s.n + s.n_tokens; i++) {
        if (lk_machine_is_terminal(m, m->place[s.first + i].e, id)) {
            todo(m, POP, m->place[s.first + i].below);
        }
    }
    return end_closure(m);
}

/* ---- states that no token tells apart ---- */

/* The set with its counters clamped. Stacks may be deep: what lies below comes first, without
 * recursion. */
static uint32_t clamp_stacks(struct lk_machine *m, uint32_t set)
{
    struct lk_exprs *x = &m->x;
    size_t from = lk_expr_list(x);
    lk_expr_push(x, set);
    while (lk_expr_list(x) > from && !x->status) {
        uint32_t top = x->work[x->n_work - 1];
        struct lk_stacks s = m->stacks[top];
        size_t list = lk_expr_list(x);
        for (uint32_t i = 0; i < s.n && s.counted && !s.clamped; i++) {
            struct lk_frame f = m->frame[m->member[s.first + i]];
            if (m->stacks[f.below].counted && !m->stacks[f.below].clamped) {
                lk_expr_push(x, f.below);
            }
        }
        if (lk_expr_list(x) > list || x->status) {
            continue;
        }
        x->n_work--;
        if (!s.counted || s.clamped) {
            m->stacks[top].clamped = s.clamped ? s.clamped : top + 1;
            continue;
        }
        size_t sets = lk_expr_list(x);
        for (uint32_t i = 0; i < s.n; i++) {
            uint32_t frame = m->member[s.first + i];
            struct lk_frame f = m->frame[frame];
            if (frame == END_FRAME) {
                lk_expr_push(x, END_STACKS);
                continue;
            }
            uint32_t below = m->stacks[f.below].counted ? m->stacks[f.below].clamped - 1 : f.below;
            uint32_t item = lk_expr_clamp(x, f.item, m->trie->max_bytes);
            uint32_t one = push_frame(m, item, below);
            lk_expr_push(x, one);
        }
        uint32_t joined = join_stacks(m, sets);
        if (!x->status) {
            m->stacks[top].clamped = joined + 1;
        }
    }
    x->n_work = from < x->n_work ? from : x->n_work;
    return x->status ? NO_STACKS : m->stacks[set].clamped - 1;
}

uint32_t lk_machine_clamp(struct lk_machine *m, uint32_t state)
{
    struct lk_state s = m->state[state];
    if (s.clamped || s.sleep || m->x.status) {
        return s.clamped ? s.clamped - 1 : state;
    }
    begin_closure(m);
    for (uint32_t i = 0; i < s.n + s.n_tokens && !m->x.status; i++) {
        struct lk_place p = m->place[s.first + i];
        uint32_t below = clamp_stacks(m, p.below);
        if (i < s.n) {
            found(m, lk_expr_clamp(&m->x, p.e, m->trie->max_bytes), below);
        } else {
            todo(m, lk_expr_token(&m->x, p.e), below);
        }
    }
    m->closure.accepts = s.accepts;
    uint32_t to = end_closure(m);
    if (!m->x.status) {
        m->state[state].clamped = to + 1;
    }
    return to;
}
