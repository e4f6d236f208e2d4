/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint: see checkpoint.h. A session may hold its share of the budget. Where it has that many,
 * its step doubles and those that are closer together go, but for the newest: a cut goes back by
 * less than two steps, and one near the end, as edits are, by less than two blocks. Where the
 * engine's memory ends, those that were not used for longest lose their data, whoever holds them.
 */
#include "engine/checkpoint.h"

#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"

enum { N_NEWEST = 2 }; /* so many are not thinned out */

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

static void unlink_checkpoint(struct lk_checkpoint_store *store, struct lk_checkpoint *c)
{
    *(c->newer ? &c->newer->older : &store->newest) = c->older;
    *(c->older ? &c->older->newer : &store->oldest) = c->newer;
}

static void link_newest(struct lk_checkpoint_store *store, struct lk_checkpoint *c)
{
    c->newer = NULL;
    c->older = store->newest;
    *(store->newest ? &store->newest->newer : &store->oldest) = c;
    store->newest = c;
}

static void drop_data(struct lk_engine *e, struct lk_checkpoint *c)
{
    unlink_checkpoint(&e->checkpoints, c);
    e->checkpoints.n_bytes -= size_of(e->plan);
    lk_free(c->data);
    c->data = NULL;
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
            drop_data(e, c);
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
    l->step = kept > 0 ? l->step : LK_KV_BLOCK;
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
    to->checkpoints.step = from->checkpoints.step;
}

/* Those closer than the step to the one before go, but for the newest. */
static void thin(struct lk_session *s, size_t n_newest)
{
    struct lk_checkpoint_list *l = &s->checkpoints;
    size_t kept = 0;
    int before = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct lk_checkpoint *c = l->at[i];
        if (c->n_tokens - before >= l->step || i + n_newest >= l->n) {
            before = c->n_tokens;
            l->at[kept++] = c;
        } else {
            lk_checkpoint_give(s->engine, c);
        }
    }
    l->n = kept;
}

/* Room for one more among the session's. */
static void make_room(struct lk_session *s)
{
    struct lk_checkpoint_list *l = &s->checkpoints;
    struct lk_engine *e = s->engine;
    size_t size = size_of(e->plan), all = e->options.checkpoint_bytes / size;
    size_t most = all / (size_t)(e->n_open > 0 ? e->n_open : 1);
    most = most > 0 ? most : 1;
    lk_checkpoints_cut(s, s->seq.n_tokens);
    while (l->n >= most) {
        l->step *= 2;
        thin(s, most > N_NEWEST ? N_NEWEST : most - 1);
    }
    while (e->checkpoints.n_bytes + size > e->options.checkpoint_bytes) {
        drop_data(e, e->checkpoints.oldest);
    }
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

void lk_checkpoint_take(struct lk_session *s, bool due)
{
    int n = s->seq.n_tokens;
    struct lk_engine *e = s->engine;
    if (s->seq.slot < 0 || n == 0 || !lk_checkpoints_kept(e)) {
        return;
    }
    const struct lk_checkpoint *before = last_before(s, n);
    int since = n - (before ? before->n_tokens : 0);
    if (since == 0 || (!due && since < s->checkpoints.step)) {
        return;
    }
    make_room(s);
    struct lk_checkpoint *c = lk_alloc(sizeof *c);
    uint8_t *data = c ? lk_alloc(size_of(e->plan)) : NULL;
    lk_error why;
    if (!data) {
        lk_free(c);
        return;
    }
    *c = (struct lk_checkpoint){.n_tokens = n, .refs = 1, .data = data};
    link_newest(&e->checkpoints, c);
    e->checkpoints.n_bytes += size_of(e->plan);
    if (copy(s, c, false, &why) == LK_OK) {
        lk_checkpoint_add(s, c);
    }
    lk_checkpoint_give(e, c);
}

/* ---- back ---- */

lk_status lk_checkpoint_restore(struct lk_session *s, struct lk_checkpoint *c, lk_error *err)
{
    unlink_checkpoint(&s->engine->checkpoints, c);
    link_newest(&s->engine->checkpoints, c);
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
