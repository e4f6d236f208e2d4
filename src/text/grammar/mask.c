/* SPDX-License-Identifier: Apache-2.0
 *
 * Mask: which tokens may come in a state: a walk over the trees of the vocabulary along the
 * machine's ways, where a byte that is not allowed skips all tokens that begin so. Masks are kept
 * by state, those that were used last, within a bound of memory.
 */
#include "text/grammar/pushdown.h"
#include "text/token/tok.h"

enum { CACHE_BYTES = 16 << 20, MIN_SLOTS = 16, MAX_SLOTS = 2048 };

struct slot {
    uint32_t *bits; /* NULL: never used */
    uint32_t state;
    uint64_t used;
};

struct lk_masks {
    struct slot slot[MAX_SLOTS];
    uint32_t n, n_slots;
    uint64_t clock;
    uint32_t *path; /* [max_bytes + 1] states of the walk */
    uint64_t work;
};

void lk_masks_free(struct lk_masks *masks)
{
    for (uint32_t i = 0; masks && i < masks->n; i++) {
        lk_free(masks->slot[i].bits);
    }
    if (masks) {
        lk_free(masks->path);
    }
    lk_free(masks);
}

void lk_masks_forget(struct lk_machine *m)
{
    for (uint32_t i = 0; m->masks && i < m->masks->n; i++) {
        m->masks->slot[i].used = 0;
        m->masks->slot[i].state = UINT32_MAX;
    }
}

static bool open_masks(struct lk_machine *m)
{
    if (m->masks) {
        return true;
    }
    struct lk_masks *masks = lk_alloc(sizeof *masks);
    uint32_t *path = lk_alloc_array((size_t)m->trie->max_bytes + 1, sizeof *path);
    if (!masks || !path) {
        lk_free(masks);
        lk_free(path);
        lk_exprs_fail(&m->x, LK_E_NOMEM, "out of memory for masks");
        return false;
    }
    size_t n = CACHE_BYTES / (m->trie->n_words * sizeof(uint32_t));
    masks->n_slots = (uint32_t)(n < MIN_SLOTS ? MIN_SLOTS : n > MAX_SLOTS ? MAX_SLOTS : n);
    masks->path = path;
    m->masks = masks;
    return true;
}

/* ---- the walk ---- */

/* Counts a state that the walk comes to for the first time; false when it has done too much. */
static bool visit(struct lk_machine *m, uint32_t state)
{
    struct lk_state *s = &m->state[state];
    s->visit = m->visit;
    m->masks->work += (uint64_t)s->weight * m->x.partition[s->partition].n;
    if (m->masks->work > LK_MACHINE_MAX_WORK) {
        lk_machine_too_much(m);
        return false;
    }
    return true;
}

static void set_bit(uint32_t *bits, int32_t id)
{
    bits[id / 32] |= 1u << (id % 32);
}

static void set_doubles(const struct lk_trie *trie, uint32_t *bits, int32_t id)
{
    while ((id = trie->same[id]) >= 0) {
        set_bit(bits, id);
    }
}

/* The state after a byte of the walk, found once and looked up from then on; LK_STATE_DEAD also
 * when something failed. */
static uint32_t step(struct lk_machine *m, uint32_t from, unsigned byte)
{
    uint32_t to = lk_machine_next(m, from, byte);
    bool fresh = to != LK_STATE_DEAD && m->state[to].visit != m->visit;
    return fresh && !visit(m, to) ? LK_STATE_DEAD : to;
}

static void walk(struct lk_machine *m, const struct lk_trie_tree *tree, uint32_t state,
                 uint32_t *bits)
{
    const struct lk_trie_node *node = tree->node;
    const struct lk_state *states = m->state;
    const uint32_t *next = m->next;
    uint32_t *path = m->masks->path;
    path[0] = state;
    for (size_t i = 0; i < tree->n;) {
        struct lk_trie_node n = node[i];
        const struct lk_state *s = &states[path[n.depth - 1]];
        uint32_t way = s->next ? next[s->next - 1 + m->x.partition[s->partition].of[n.byte]] : 0;
        uint32_t to = way - 1;
        if (way == 0 || states[to].visit != m->visit) {
            to = step(m, path[n.depth - 1], n.byte);
            states = m->state;
            next = m->next;
        }
        if (to == LK_STATE_DEAD) {
            if (m->x.status) {
                return;
            }
            i = n.skip;
            continue;
        }
        path[n.depth] = to;
        if (n.token >= 0) {
            set_bit(bits, n.token);
        }
        if (n.doubled) {
            set_doubles(m->trie, bits, n.token);
        }
        i++;
    }
}

/* How many plain characters may come whatever they are. */
static uint32_t run_of(struct lk_machine *m, uint32_t state)
{
    struct lk_state s = m->state[state];
    uint32_t most = 0;
    for (uint32_t i = 0; i < s.n && !s.sleep; i++) {
        uint32_t run = lk_expr_run(&m->x, m->place[s.first + i].e);
        most = run > most ? run : most;
    }
    return most;
}

static void set_terminal(const struct lk_machine *m, uint32_t terminal, uint32_t *bits)
{
    int32_t id = m->terminal[terminal];
    if (!m->g->terminal[terminal].other) {
        set_bit(bits, id);
        return;
    }
    bool had = bits[id / 32] >> (id % 32) & 1;
    for (size_t i = 0; i < m->t->n_vocab; i++) {
        if (!m->t->entry[i].eog) {
            set_bit(bits, (int32_t)i);
        }
    }
    if (!had) {
        bits[id / 32] &= ~(1u << (id % 32));
    }
}

static void fill(struct lk_machine *m, uint32_t state, uint32_t *bits)
{
    const struct lk_trie *trie = m->trie;
    struct lk_state s = m->state[state];
    m->visit++;
    m->masks->work = 0;
    m->state[LK_STATE_DEAD].visit = m->visit;
    memset(bits, 0, trie->n_words * sizeof *bits);
    uint32_t run = run_of(m, state);
    if (run >= trie->max_chars) {
        memcpy(bits, trie->all_plain, trie->n_words * sizeof *bits);
    } else if (run >= LK_TRIE_SHORT) {
        memcpy(bits, trie->short_plain, trie->n_words * sizeof *bits);
        walk(m, &trie->long_plain, state, bits);
    } else {
        walk(m, &trie->plain, state, bits);
        walk(m, &trie->long_plain, state, bits);
    }
    walk(m, &trie->other, state, bits);
    for (uint32_t i = s.n; i < s.n + s.n_tokens; i++) {
        set_terminal(m, m->place[s.first + i].e, bits);
    }
    for (size_t i = 0; i < trie->n_words; i++) {
        bits[i] |= (s.accepts ? trie->ends[i] : 0) | (s.sleep ? trie->no_text[i] : 0);
    }
    if (s.sleep) {
        lk_sleep_set_tokens(m, state, bits);
    }
}

/* ---- the cache ---- */

/* A slot for a new mask: an unused one, or the one that was used the longest time ago. */
static struct slot *take_slot(struct lk_machine *m)
{
    struct lk_masks *masks = m->masks;
    struct slot *best = &masks->slot[0];
    if (masks->n < masks->n_slots) {
        best = &masks->slot[masks->n];
        best->bits = lk_alloc_array(m->trie->n_words, sizeof *best->bits);
        best->state = UINT32_MAX;
        if (best->bits) {
            masks->n++;
            return best;
        }
        if (masks->n == 0) {
            lk_exprs_fail(&m->x, LK_E_NOMEM, "out of memory for a mask");
            return NULL;
        }
        best = &masks->slot[0];
    }
    for (uint32_t i = 1; i < masks->n; i++) {
        best = masks->slot[i].used < best->used ? &masks->slot[i] : best;
    }
    if (best->state != UINT32_MAX) {
        m->state[best->state].mask = 0;
    }
    best->state = UINT32_MAX;
    return best;
}

const uint32_t *lk_machine_mask(struct lk_machine *m, uint32_t state)
{
    if (!open_masks(m)) {
        return NULL;
    }
    state = lk_machine_clamp(m, state);
    if (m->x.status) {
        return NULL;
    }
    struct slot *slot = m->state[state].mask ? &m->masks->slot[m->state[state].mask - 1] : NULL;
    if (!slot) {
        slot = take_slot(m);
        if (!slot) {
            return NULL;
        }
        fill(m, state, slot->bits);
        if (m->x.status) {
            slot->used = 0;
            return NULL;
        }
        slot->state = state;
        m->state[state].mask = (uint32_t)(slot - m->masks->slot) + 1;
    }
    slot->used = ++m->masks->clock;
    return slot->bits;
}
