/* SPDX-License-Identifier: Apache-2.0
 *
 * Pushdown: a grammar at work with one vocabulary. A state is a set of places: an expression that
 * is being read, and the set of stacks of what comes after it. States, stacks and expressions that
 * are equal are one, so that the way from a state by a byte is found once and looked up from then
 * on.
 *
 * Stacks of equal places share their tails, and places that wait for one rule enter it together, so
 * that an ambiguous grammar takes polynomial time, as in Scott and Johnstone, "GLL parsing", 2010.
 *
 * What a state accepts depends on the grammar and on the bytes that led to it, never on what else
 * was computed. Memory is bounded: when it runs out, all but the live states is dropped.
 */
#ifndef LK_PUSHDOWN_H
#define LK_PUSHDOWN_H

#include "text/grammar/grammar.h"
#include "text/token/vocab_trie.h"

enum { LK_STATE_DEAD }; /* id of the state that nothing leaves */

/* Work of one mask, and of one state: see lk_state.weight. */
enum { LK_MACHINE_MAX_WORK = 1 << 23 };

/* What comes after: `item`, an expression, and then one of the stacks of set `below`. Frame 0 is
 * the end of the text. */
struct lk_frame {
    uint32_t item, below;
};

struct lk_stacks {
    uint32_t first, n; /* of its frames in `member`, by rising id */
    uint32_t clamped;  /* 1 + the set that lk_clamp_stacks gives; 0: not known yet */
    bool counted;      /* a frame has a counter that could be clamped */
};

struct lk_place {
    uint32_t e; /* an expression; a terminal where the place waits for a token */
    uint32_t below;
};

struct lk_state {
    uint32_t first, n, n_tokens; /* places in `place`: n that read bytes, then those for tokens */
    uint32_t partition;          /* of the bytes that it tells apart */
    uint32_t next;               /* 1 + where its ways lie in `next`; 0: nowhere yet */
    uint32_t clamped;            /* 1 + the state that lk_machine_clamp gives; 0: not known yet */
    uint32_t mask;               /* 1 + its place in the cache of masks; 0: none */
    uint32_t visit;              /* the last walk that came by */
    uint32_t weight;             /* work that one of its ways takes: nodes and stacks looked at */
    uint32_t sleep;              /* 1 + the trigger set whose node `first` it is; 0: awake */
    bool accepts;                /* the text may end here */
};

struct lk_sleep; /* trigger.c */
struct lk_masks; /* mask.c */

struct lk_machine {
    struct lk_grammar *g;
    const struct lk_tokenizer *t;
    const struct lk_trie *trie;
    int32_t *terminal; /* [g->n_terminals] their ids */
    struct lk_exprs x;
    struct lk_frame *frame;
    size_t n_frames, frames_cap;
    struct lk_stacks *stacks;
    size_t n_stacks, stacks_cap;
    uint32_t *member;
    size_t n_members, members_cap;
    struct lk_place *place;
    size_t n_places, places_cap;
    struct lk_state *state;
    size_t n_states, states_cap;
    uint32_t *next; /* 1 + state by class; 0: not known yet */
    size_t n_next, next_cap;
    struct lk_slots frames, stack_sets, states;
    struct lk_closure {
        struct lk_place *todo, *found, *token; /* being worked on, and what comes out */
        size_t n_todo, todo_cap, n_found, found_cap, n_token, token_cap;
        struct lk_slots seen;
        struct lk_place *visited;
        size_t n_visited, visited_cap;
        uint32_t *rule; /* those that are waited for: a heap, the lowest rank first */
        size_t n_rules, rules_cap;
        struct lk_want {
            uint32_t stacks, before; /* before: 1 + the one that was noted before it; 0: none */
        } * want;                    /* what is behind rules that are waited for */
        size_t n_wants, wants_cap;
        uint32_t *wanted; /* [g->n_rules] 1 + its last want; 0: not waited for */
        bool accepts;
    } closure;
    uint32_t visit;
    struct lk_sleep *sleep;
    size_t n_sleep, sleep_cap;
    struct lk_masks *masks;
    uint32_t start;
};

/* A machine and those who use it. It is used with the lock held. */
struct lk_home {
    struct lk_home *after; /* in the grammar's list */
    pthread_mutex_t lock;
    struct lk_constraint *constraints; /* those that are open */
    size_t enough;                     /* bytes from which on what is not needed is dropped */
    struct lk_machine machine;
};

/* The home of a grammar's machine with a tokenizer, made when there is none. */
lk_status lk_home_get(lk_grammar *g, const struct lk_tokenizer *t, struct lk_home **out,
                      lk_error *err);
void lk_homes_close(lk_grammar *g);
/* Drops what no open constraint needs if there is much. */
void lk_home_tidy(struct lk_home *home);
/* Whether a state and all that its stacks have is within the grammar's max_bytes, by itself; false,
 * and the failure kept, when it is not. */
bool lk_home_bounds(struct lk_home *home, uint32_t state);

/* A failure of what is below is in m->x. */

/* Says that there is too much to do at once. */
void lk_machine_too_much(struct lk_machine *m);

/* The state after a byte. */
uint32_t lk_machine_step(struct lk_machine *m, uint32_t state, unsigned byte);
static inline uint32_t lk_machine_next(struct lk_machine *m, uint32_t state, unsigned byte)
{
    const struct lk_state *s = &m->state[state];
    uint32_t next = s->next ? m->next[s->next - 1 + m->x.partition[s->partition].of[byte]] : 0;
    return next ? next - 1 : lk_machine_step(m, state, byte);
}
/* The state after a token; LK_STATE_DEAD when it is not allowed. Not for end-of-text tokens. */
uint32_t lk_machine_token(struct lk_machine *m, uint32_t state, int32_t id);
/* A state that no token tells from this one. */
uint32_t lk_machine_clamp(struct lk_machine *m, uint32_t state);
size_t lk_machine_bytes(const struct lk_machine *m);

/* Whether terminal i of the grammar is this token. */
bool lk_machine_is_terminal(const struct lk_machine *m, uint32_t i, int32_t id);

/* ---- between the files of the machine ---- */

enum { LK_NO_STACKS, LK_END_STACKS, LK_END_FRAME = 0 };
uint32_t lk_machine_frame(struct lk_machine *m, uint32_t item, uint32_t below);
uint32_t lk_machine_stacks(struct lk_machine *m, const uint32_t *frames, uint32_t n);
/* The state with these places, s.n and s.n_tokens of them, in order. */
uint32_t lk_machine_intern(struct lk_machine *m, struct lk_state s, const struct lk_place *places);
int lk_compare_places(const void *a, const void *b); /* the order of places in a state */
/* The dead state, the end, and the start of the grammar. */
void lk_machine_begin(struct lk_machine *m);

/* trigger.c: a node of a set of triggers as a state. */
uint32_t lk_sleep_state(struct lk_machine *m, uint32_t sleep, uint32_t node);
/* The state after a byte that comes while the grammar sleeps. */
uint32_t lk_sleep_step(struct lk_machine *m, uint32_t state, unsigned byte);
/* The state after a token; false where its bytes tell. Then: the tokens that are triggers. */
bool lk_sleep_token(struct lk_machine *m, uint32_t state, int32_t id, uint32_t *to);
void lk_sleep_set_tokens(const struct lk_machine *m, uint32_t state, uint32_t *bits);
/* The state that sleeps until one of the triggers comes. */
lk_status lk_sleep_open(struct lk_machine *m, const lk_trigger *triggers, size_t n, uint32_t *state,
                        lk_error *err);
void lk_sleeps_free(struct lk_machine *m);
/* Where trigger i of a set keeps the state that it wakes the grammar in; NULL behind the last. */
uint32_t *lk_sleep_wakes(struct lk_machine *m, size_t sleep, size_t i);
void lk_sleep_renew(struct lk_machine *m); /* the store of expressions is a new one */

/* mask.c: the tokens that may come in a state, n_words words of bits, valid until the next call;
 * NULL on a failure. */
const uint32_t *lk_machine_mask(struct lk_machine *m, uint32_t state);
void lk_masks_forget(struct lk_machine *m); /* states have new ids */
void lk_masks_free(struct lk_masks *masks);

#endif
