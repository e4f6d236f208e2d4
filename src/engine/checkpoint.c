/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint: see checkpoint.h. Where the engine's memory ends, the one that is worth least loses
 * its data, whoever holds it: what a cut behind it would have to evaluate again, g tokens to the
 * one before, for as long as nobody came near, a tokens evaluated; its worth is g * g / a. So those
 * of a timeline that grows lie closer together towards its end, where edits are (at a distance d
 * some sqrt(d) apart), and those of timelines that rest become fewer.
 */
#include "engine/checkpoint.h"

#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "engine/engine.h"

/* Bytes of one. */
static size_t size_of(const struct lk_plan *plan)
{
    size_t n = 0;
    for (int i = 0; i < plan->n_states; i++) {
        n += lk_state_is_paged(&plan->states[i]) ? 0 : lk_state_unit_bytes(&plan->states[i]);
    }
    return n;
}

bool lk_checkpoints_kept(const struct lk_engine *e)
{
    size_t n = size_of(e->plan);
    return n > 0 && n <= e->options.checkpoint_bytes;
}

/* ---- the store ---- */

static void link_checkpoint(struct lk_checkpoint_store *store, struct lk_checkpoint *c)
{
    c->prev = NULL;
    c->next = store->first;
    if (store->first) {
        store->first->prev = c;
    }
    store->first = c;
}

/* Takes its data out of the store: the caller's to free or to write anew. */
static uint8_t *take_data(struct lk_engine *e, struct lk_checkpoint *c)
{
    struct lk_checkpoint_store *store = &e->checkpoints;
    *(c->prev ? &c->prev->next : &store->first) = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    for (struct lk_checkpoint *k = store->first; k; k = k->next) {
        k->before = k->before == c ? c->before : k->before;
    }
    store->n_bytes -= size_of(e->plan);
    uint8_t *data = c->data;
    c->data = NULL;
    return data;
}

/* What is lost with a checkpoint of n tokens, the one before it and the time it was last used. */
static double worth(const struct lk_checkpoint_store *store, int n,
                    const struct lk_checkpoint *before, uint64_t used)
{
    double gap = n - (before ? before->n_tokens : 0);
    return gap * gap / ((double)(store->clock - used) + LK_KV_BLOCK);
}

/* The one that is worth least, or NULL. */
static struct lk_checkpoint *least(const struct lk_checkpoint_store *store, double *its_worth)
{
    struct lk_checkpoint *found = NULL;
    for (struct lk_checkpoint *c = store->first; c; c = c->next) {
        double w = worth(store, c->n_tokens, c->before, c->used);
        if (!found || w < *its_worth) {
            found = c;
            *its_worth = w;
        }
    }
    return found;
}

struct lk_checkpoint *lk_checkpoint_share(struct lk_checkpoint *c)
{
    c->refs++;
    return c;
}

void lk_checkpoint_give(struct lk_engine *e, struct lk_checkpoint *c)
{
    if (c && --c->refs == 0) {
        if (c->data) {
            lk_pages_free(take_data(e, c), size_of(e->plan));
        }
        lk_free(c);
    }
}

/* ---- a session's ---- */

void lk_checkpoints_cut(struct lk_session *s, int n)
{
    struct lk_checkpoint_list *l = &s->checkpoints;
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct lk_checkpoint *c = l->at[i];
        if (c->data && c->n_tokens <= n) {
            l->at[kept++] = c;
        } else {
            lk_checkpoint_give(s->engine, c);
        }
    }
    l->n = kept;
}

void lk_checkpoints_free(struct lk_session *s)
{
    lk_checkpoints_cut(s, -1);
    lk_free(s->checkpoints.at);
    s->checkpoints = (struct lk_checkpoint_list){0};
}

/* The last one of at most n tokens that has data, or NULL. */
static struct lk_checkpoint *last_before(const struct lk_session *s, int n)
{
    struct lk_checkpoint *found = NULL;
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        struct lk_checkpoint *c = s->checkpoints.at[i];
        found = c->data && c->n_tokens <= n ? c : found;
    }
    return found;
}

struct lk_checkpoint *lk_checkpoint_at(const struct lk_session *s, int n)
{
    struct lk_checkpoint *c = last_before(s, n);
    return c && c->n_tokens == n ? c : NULL;
}

void lk_checkpoint_add(struct lk_session *s, struct lk_checkpoint *c)
{
    struct lk_checkpoint_list *l = &s->checkpoints;
    if (lk_grow(&l->at, &l->cap, l->n + 1, sizeof *l->at, NULL) == LK_OK) {
        l->at[l->n++] = lk_checkpoint_share(c);
    }
}

void lk_checkpoints_fork(const struct lk_session *from, struct lk_session *to)
{
    for (size_t i = 0; i < from->checkpoints.n; i++) {
        lk_checkpoint_add(to, from->checkpoints.at[i]);
    }
}

/* Room for one more, with memory for it where there is some to spare, if it is due or worth more
 * than another: it will be as old as it is far from the one before when the next one comes. */
static bool make_room(struct lk_engine *e, int n, const struct lk_checkpoint *before, bool due,
                      uint8_t **spare)
{
    struct lk_checkpoint_store *store = &e->checkpoints;
    size_t size = size_of(e->plan);
    int since = n - (before ? before->n_tokens : 0);
    while (store->n_bytes + size > e->options.checkpoint_bytes) {
        double its_worth = 0;
        struct lk_checkpoint *c = least(store, &its_worth);
        if (!due && worth(store, n, before, store->clock - (uint64_t)since) < its_worth) {
            return false;
        }
        lk_pages_free(*spare, size);
        *spare = take_data(e, c);
    }
    return true;
}

/* ---- when ---- */

int lk_checkpoint_stop(const struct lk_session *s, int pos, int n, int end, bool last)
{
    int whole = (end - 1) / LK_KV_BLOCK * LK_KV_BLOCK; /* what a longer text may have in common */
    int stop = (pos + n) / LK_KV_BLOCK * LK_KV_BLOCK;
    bool all = pos + n == end;
    stop = stop < whole ? stop : whole;
    return stop > pos && (last || !all) && lk_checkpoints_kept(s->engine) ? stop - pos : n;
}

static lk_status copy(struct lk_session *s, struct lk_checkpoint *c, bool back, lk_error *err)
{
    const struct lk_plan *plan = s->engine->plan;
    uint8_t *at = c->data;
    lk_status status = LK_OK;
    for (int i = 0; i < plan->n_states && !status; i++) {
        if (!lk_state_is_paged(&plan->states[i])) {
            status = back ? lk_lane_write(s->lane, plan, i, s->seq.slot, at, err)
                          : lk_lane_read(s->lane, plan, i, s->seq.slot, at, err);
            at += lk_state_unit_bytes(&plan->states[i]);
        }
    }
    return status;
}

/* A copy takes as long as a block on some devices. In the middle of a text one is worth it where
 * going back to the one before would take a thirty-second of all, at its end half of that. */
static bool far_enough(int since, int n, enum lk_checkpoint_at where)
{
    return where == LK_CHECKPOINT_DUE || since >= n / (where == LK_CHECKPOINT_BETWEEN ? 32 : 64);
}

void lk_checkpoint_take(struct lk_session *s, enum lk_checkpoint_at where)
{
    int n = s->seq.n_tokens;
    struct lk_engine *e = s->engine;
    if (s->seq.slot < 0 || n == 0 || !lk_checkpoints_kept(e)) {
        return;
    }
    struct lk_checkpoint *before = last_before(s, n);
    size_t size = size_of(e->plan);
    int since = n - (before ? before->n_tokens : 0);
    uint8_t *data = NULL;
    if (since == 0 || !far_enough(since, n, where) ||
        !make_room(e, n, before, where == LK_CHECKPOINT_DUE, &data)) {
        lk_pages_free(data, size);
        return;
    }
    lk_checkpoints_cut(s, n); /* some of them may have gone */
    struct lk_checkpoint *c = lk_alloc(sizeof *c);
    data = data ? data : lk_pages_alloc(size);
    lk_error why;
    if (!c || !data) {
        lk_free(c);
        lk_pages_free(data, size);
        return;
    }
    *c = (struct lk_checkpoint){.n_tokens = n,
                                .refs = 1,
                                .data = data,
                                .before = last_before(s, n),
                                .used = e->checkpoints.clock};
    link_checkpoint(&e->checkpoints, c);
    e->checkpoints.n_bytes += size;
    if (copy(s, c, false, &why) == LK_OK) {
        lk_checkpoint_add(s, c);
    }
    lk_checkpoint_give(e, c);
}

/* ---- back ---- */

lk_status lk_checkpoint_restore(struct lk_session *s, struct lk_checkpoint *c, lk_error *err)
{
    c->used = s->engine->checkpoints.clock;
    return copy(s, c, true, err);
}

int lk_session_rewind(struct lk_session *s, int n)
{
    struct lk_checkpoint *c = s->seq.slot >= 0 ? last_before(s, n) : NULL;
    lk_error why;
    if (c && lk_checkpoint_restore(s, c, &why) == LK_OK) {
        lk_state_seq_go_back(&s->seq, &s->lane->pool, c->n_tokens);
    } else {
        (void)lk_state_seq_truncate(&s->seq, &s->lane->pool, s->seq.slot >= 0 ? 0 : n);
    }
    lk_checkpoints_cut(s, s->seq.n_tokens);
    return s->seq.n_tokens;
}

int lk_session_cut(struct lk_session *s, int n)
{
    return n < s->seq.n_tokens ? lk_session_rewind(s, n) : n;
}
