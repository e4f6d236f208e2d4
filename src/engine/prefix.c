/* SPDX-License-Identifier: Apache-2.0
 *
 * Prefix: see prefix.h. Nodes lie in one array and are found by a table of hashes; a list has them
 * by their last use, in which a node is never before one that it goes on from.
 */
#include "engine/prefix.h"

#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"

enum { NONE = -1 };

struct node {
    int32_t ids[LK_KV_BLOCK];
    uint64_t salt, hash;
    int32_t parent; /* NONE: it is a beginning */
    int32_t next;   /* of the same bucket, or of those that are free */
    int32_t newer, older;
    int32_t block;
    struct lk_checkpoint *checkpoint; /* a reference, or NULL; of recurrent states behind it */
    int32_t n_children;
    int32_t depth; /* blocks, this one too */
    uint32_t n_hits;
    bool is_saved;
};

struct lk_prefix_tree {
    lk_engine *engine;
    struct lk_lane *lane;
    uint64_t epoch;
    struct node *node; /* [cap] */
    size_t cap;
    int32_t n_made, free; /* nodes that were ever made; the first of those that are free */
    int n_kept;
    int32_t newest, oldest;
    int32_t *bucket; /* [n_buckets] */
    size_t n_buckets;
    int32_t *path; /* [n_ctx] ids of what leaves */
    lk_prefix_leaving_fn leaving;
    void *user;
};

static void clear(struct lk_prefix_tree *t)
{
    for (size_t i = 0; i < t->n_buckets; i++) {
        t->bucket[i] = NONE;
    }
    t->newest = t->oldest = t->free = NONE;
    t->n_made = 0;
    t->n_kept = 0;
    t->epoch++;
}

lk_status lk_prefix_open(lk_engine *engine, struct lk_prefix_tree **out, lk_error *err)
{
    struct lk_prefix_tree *t = lk_alloc(sizeof *t);
    *out = NULL;
    if (!t) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a tree of prefixes");
    }
    t->engine = engine;
    t->lane = engine->home;
    t->n_buckets = 64;
    while (t->n_buckets < (size_t)t->lane->pool.n_blocks) {
        t->n_buckets *= 2;
    }
    t->bucket = lk_alloc_array(t->n_buckets, sizeof *t->bucket);
    t->path = lk_alloc_array(engine->n_ctx, sizeof *t->path);
    if (!t->bucket || !t->path) {
        lk_free(t->bucket);
        lk_free(t->path);
        lk_free(t);
        return lk_fail(err, LK_E_NOMEM, "out of memory: a tree of prefixes");
    }
    clear(t);
    *out = t;
    return LK_OK;
}

/* ---- the list and the table ---- */

static void unlink_node(struct lk_prefix_tree *t, int32_t i)
{
    struct node *x = &t->node[i];
    *(x->newer == NONE ? &t->newest : &t->node[x->newer].older) = x->older;
    *(x->older == NONE ? &t->oldest : &t->node[x->older].newer) = x->newer;
}

static void link_newest(struct lk_prefix_tree *t, int32_t i)
{
    struct node *x = &t->node[i];
    x->newer = NONE;
    x->older = t->newest;
    *(t->newest == NONE ? &t->oldest : &t->node[t->newest].newer) = i;
    t->newest = i;
}

/* A node and all that it goes on from were used now. */
static void touch(struct lk_prefix_tree *t, int32_t i)
{
    for (; i != NONE; i = t->node[i].parent) {
        unlink_node(t, i);
        link_newest(t, i);
    }
}

static uint64_t hash_of(uint64_t salt, int32_t parent, const int32_t *ids)
{
    uint64_t h = salt * 0x9E3779B97F4A7C15u + (uint64_t)(uint32_t)parent;
    for (int i = 0; i < LK_KV_BLOCK; i++) {
        h = (h ^ (uint32_t)ids[i]) * 0xBF58476D1CE4E5B9u;
        h ^= h >> 29;
    }
    return h;
}

static int32_t child_of(const struct lk_prefix_tree *t, uint64_t salt, int32_t parent,
                        const int32_t *ids)
{
    uint64_t hash = hash_of(salt, parent, ids);
    int32_t i = t->bucket[hash & (t->n_buckets - 1)];
    while (i != NONE) {
        const struct node *x = &t->node[i];
        if (x->hash == hash && x->parent == parent && x->salt == salt &&
            memcmp(x->ids, ids, sizeof x->ids) == 0) {
            break;
        }
        i = x->next;
    }
    return i;
}

/* NONE: out of memory. */
static int32_t add_child(struct lk_prefix_tree *t, uint64_t salt, int32_t parent,
                         const int32_t *ids, int32_t block)
{
    int32_t i = t->free;
    if (i != NONE) {
        t->free = t->node[i].next;
    } else if (lk_grow(&t->node, &t->cap, (size_t)t->n_made + 1, sizeof *t->node, NULL) == LK_OK) {
        i = t->n_made++;
    } else {
        return NONE;
    }
    struct node *x = &t->node[i];
    *x = (struct node){.salt = salt,
                       .hash = hash_of(salt, parent, ids),
                       .parent = parent,
                       .block = block,
                       .depth = 1};
    memcpy(x->ids, ids, sizeof x->ids);
    int32_t *bucket = &t->bucket[x->hash & (t->n_buckets - 1)];
    x->next = *bucket;
    *bucket = i;
    if (parent != NONE) {
        t->node[parent].n_children++;
        x->depth = t->node[parent].depth + 1;
    }
    link_newest(t, i);
    lk_state_block_share(&t->lane->pool, block);
    t->n_kept++;
    return i;
}

static void drop(struct lk_prefix_tree *t, int32_t i)
{
    struct node *x = &t->node[i];
    int32_t *at = &t->bucket[x->hash & (t->n_buckets - 1)];
    while (*at != i) {
        at = &t->node[*at].next;
    }
    *at = x->next;
    if (x->parent != NONE) {
        t->node[x->parent].n_children--;
    }
    unlink_node(t, i);
    lk_state_block_give(&t->lane->pool, x->block);
    lk_checkpoint_give(t->engine, x->checkpoint);
    x->next = t->free;
    t->free = i;
    t->n_kept--;
}

/* All of it: the blocks are those of the lane that it was made on. */
static void drop_all(struct lk_prefix_tree *t)
{
    for (int32_t i = t->oldest; i != NONE; i = t->node[i].newer) {
        lk_state_block_give(&t->lane->pool, t->node[i].block);
        lk_checkpoint_give(t->engine, t->node[i].checkpoint);
    }
    clear(t);
}

void lk_prefix_close(struct lk_prefix_tree **tree)
{
    struct lk_prefix_tree *t = tree ? *tree : NULL;
    if (t) {
        lk_mutex_lock(t->engine->lock);
        drop_all(t);
        lk_mutex_unlock(t->engine->lock);
        lk_free(t->node);
        lk_free(t->bucket);
        lk_free(t->path);
        lk_free(t);
        *tree = NULL;
    }
}

void lk_prefix_settle(struct lk_prefix_tree *t)
{
    lk_mutex_lock(t->engine->lock);
    if (t->lane != t->engine->home || t->lane->lost) {
        drop_all(t);
        t->lane = t->engine->home;
    }
    lk_mutex_unlock(t->engine->lock);
}

/* ---- sessions ---- */

static bool is_idle(const struct lk_prefix_tree *t, int32_t i)
{
    return t->lane->pool.refs[t->node[i].block] == 1;
}

static bool has_slots(const struct lk_prefix_tree *t)
{
    return t->lane->pool.n_slots > 0;
}

/* Whether a timeline can begin with all up to this node. */
static bool can_be_taken(const struct lk_prefix_tree *t, const struct node *x)
{
    return !has_slots(t) || (x->checkpoint && x->checkpoint->data);
}

/* Blocks of ids[0..n) behind a node that a session can take; *n_idle: those that none holds. */
static int reach(const struct lk_prefix_tree *t, uint64_t salt, int32_t i, const int32_t *ids,
                 size_t n, int *n_idle)
{
    int n_blocks = 0, known = 0, idle = 0;
    *n_idle = 0;
    for (; n >= LK_KV_BLOCK; n -= LK_KV_BLOCK, ids += LK_KV_BLOCK) {
        i = child_of(t, salt, i, ids);
        if (i == NONE) {
            break;
        }
        known++;
        idle += is_idle(t, i);
        if (can_be_taken(t, &t->node[i])) {
            n_blocks = known;
            *n_idle = idle;
        }
    }
    return n_blocks;
}

int lk_prefix_find(const struct lk_prefix_tree *t, uint64_t salt, const int32_t *ids, size_t n,
                   int *n_idle)
{
    return reach(t, salt, NONE, ids, n, n_idle);
}

static int32_t node_at(const struct lk_prefix_at *at)
{
    return at->n_blocks > 0 ? at->node : NONE;
}

/* Where a session is; the beginning, where what is noted of it is not good any more. */
static void check_at(const struct lk_prefix_tree *t, const lk_session *s, struct lk_prefix_at *at)
{
    if (at->epoch != t->epoch || at->n_blocks > s->seq.n_tokens / LK_KV_BLOCK) {
        *at = (struct lk_prefix_at){.epoch = t->epoch};
    }
}

static void keep_checkpoint(struct lk_prefix_tree *t, int32_t i, const lk_session *s, int n_tokens)
{
    struct lk_checkpoint **has = &t->node[i].checkpoint, *c = lk_checkpoint_at(s, n_tokens);
    if (c && !(*has && (*has)->data)) {
        lk_checkpoint_give(t->engine, *has);
        *has = lk_checkpoint_share(c);
    }
}

/* Goes on by block number at->n_blocks of the session, which it shares with the tree from now on.
 * False: it is not there, and could not be added. */
static bool advance(struct lk_prefix_tree *t, uint64_t salt, lk_session *s, struct lk_prefix_at *at)
{
    const int32_t *ids = s->tokens + at->n_blocks * LK_KV_BLOCK;
    int32_t *block = &s->seq.blocks[at->n_blocks], i = child_of(t, salt, node_at(at), ids);
    if (i == NONE) {
        i = add_child(t, salt, node_at(at), ids, *block);
    } else if (t->node[i].block != *block) { /* the same bits twice */
        lk_state_block_share(&t->lane->pool, t->node[i].block);
        lk_state_block_give(&t->lane->pool, *block);
        *block = t->node[i].block;
    }
    if (i != NONE) {
        at->node = i;
        at->n_blocks++;
        keep_checkpoint(t, i, s, at->n_blocks * LK_KV_BLOCK);
    }
    return i != NONE;
}

void lk_prefix_keep(struct lk_prefix_tree *t, uint64_t salt, lk_session *s, struct lk_prefix_at *at)
{
    if (s->lane != t->lane || t->lane->lost || (has_slots(t) && !lk_checkpoints_kept(t->engine))) {
        return;
    }
    lk_mutex_lock(t->engine->lock);
    check_at(t, s, at);
    int n = s->seq.n_tokens / LK_KV_BLOCK, before = at->n_blocks;
    while (at->n_blocks < n && advance(t, salt, s, at)) {
    }
    if (at->n_blocks > before) {
        touch(t, at->node);
    }
    lk_mutex_unlock(t->engine->lock);
}

/* The session's recurrent states become those behind the node it is at; it held `from` tokens. */
static bool take_states(struct lk_prefix_tree *t, lk_session *s, int from,
                        const struct lk_prefix_at *at)
{
    struct lk_checkpoint *c = t->node[at->node].checkpoint;
    lk_error why;
    if (s->seq.slot < 0 && !lk_state_seq_take_slot(&s->seq, &t->lane->pool)) {
        lk_state_seq_go_back(&s->seq, &t->lane->pool, from);
        return false;
    }
    if (lk_checkpoint_restore(s, c, &why)) { /* nobody knows what they hold */
        (void)lk_session_rewind(s, from);
        return false;
    }
    lk_checkpoint_add(s, c);
    return true;
}

/* Blocks of ids that follow what the session holds. */
static size_t take(struct lk_prefix_tree *t, uint64_t salt, lk_session *s, const int32_t *ids,
                   size_t n, struct lk_prefix_at *at)
{
    size_t held = (size_t)s->seq.n_tokens, from = held;
    struct lk_prefix_at before = *at;
    int idle, most = reach(t, salt, node_at(at), ids + held, n - held, &idle);
    for (; most > 0; most--, held += LK_KV_BLOCK) {
        int32_t i = child_of(t, salt, node_at(at), ids + held);
        lk_state_block_share(&t->lane->pool, t->node[i].block);
        s->seq.blocks[s->seq.n_blocks++] = t->node[i].block;
        s->seq.n_tokens += LK_KV_BLOCK;
        s->has_logits = false;
        memcpy(s->tokens + held, ids + held, LK_KV_BLOCK * sizeof *ids);
        at->node = i;
        at->n_blocks++;
    }
    if (held > from && has_slots(t) && !take_states(t, s, (int)from, at)) {
        *at = before;
        return 0;
    }
    return held - from;
}

static bool is_takable(const struct lk_prefix_tree *t, const lk_session *s)
{
    return s->lane == t->lane && !t->lane->lost && s->seq.n_tokens % LK_KV_BLOCK == 0 &&
           s->seq.n_tokens == s->seq.n_blocks * LK_KV_BLOCK;
}

size_t lk_prefix_adopt(struct lk_prefix_tree *t, uint64_t salt, lk_session *s, const int32_t *ids,
                       size_t n, struct lk_prefix_at *at)
{
    size_t got = 0;
    if (!is_takable(t, s)) {
        return 0;
    }
    lk_prefix_keep(t, salt, s, at);
    lk_mutex_lock(t->engine->lock);
    if (at->n_blocks == s->seq.n_blocks) {
        got = take(t, salt, s, ids, n, at);
    }
    if (got > 0) {
        touch(t, at->node);
    }
    int32_t i = got ? at->node : NONE;
    for (size_t k = 0; k < got; k += LK_KV_BLOCK, i = t->node[i].parent) {
        t->node[i].n_hits++;
    }
    lk_mutex_unlock(t->engine->lock);
    return got;
}

size_t lk_prefix_lend(struct lk_prefix_tree *t, uint64_t salt, lk_session *s, const int32_t *ids,
                      size_t n)
{
    struct lk_prefix_at at = {.epoch = t->epoch};
    size_t got = 0;
    if (is_takable(t, s) && s->seq.n_tokens == 0) {
        lk_mutex_lock(t->engine->lock);
        got = take(t, salt, s, ids, n, &at);
        lk_mutex_unlock(t->engine->lock);
    }
    return got;
}

/* ---- what goes ---- */

void lk_prefix_on_leaving(struct lk_prefix_tree *t, lk_prefix_leaving_fn fn, void *user)
{
    t->leaving = fn;
    t->user = user;
}

/* Tells of a node that is about to go; what it goes on from is saved with it. */
static void tell_leaving(struct lk_prefix_tree *t, int32_t i)
{
    struct node *x = &t->node[i];
    size_t n = (size_t)x->depth * LK_KV_BLOCK, at = n;
    if (!t->leaving || n > t->engine->n_ctx || !can_be_taken(t, x)) {
        return;
    }
    for (int32_t k = i; k != NONE; k = t->node[k].parent) {
        at -= LK_KV_BLOCK;
        memcpy(t->path + at, t->node[k].ids, sizeof t->node[k].ids);
    }
    struct lk_prefix_leaving leaving = {
        .salt = x->salt, .ids = t->path, .n = n, .n_hits = x->n_hits, .is_saved = x->is_saved};
    if (t->leaving(t->user, &leaving)) {
        for (int32_t k = i; k != NONE; k = t->node[k].parent) {
            t->node[k].is_saved = true;
        }
    }
}

void lk_prefix_tell_all(struct lk_prefix_tree *t)
{
    for (int32_t i = t->newest; i != NONE; i = t->node[i].older) {
        if (t->node[i].n_children == 0 && !t->node[i].is_saved) {
            tell_leaving(t, i);
        }
    }
    for (int32_t i = t->oldest; i != NONE; i = t->node[i].newer) { /* before what they go on from */
        if (t->node[i].n_children > 0 && !t->node[i].is_saved) {
            tell_leaving(t, i);
        }
    }
}

int lk_prefix_evict(struct lk_prefix_tree *t, int n)
{
    int dropped = 0;
    for (bool more = true; more && dropped < n;) {
        more = false;
        for (int32_t i = t->oldest, newer; i != NONE && dropped < n; i = newer) {
            newer = t->node[i].newer;
            if (t->node[i].n_children > 0 || !is_idle(t, i)) {
                continue;
            }
            tell_leaving(t, i);
            newer = t->node[i].newer; /* who saved it may have used it */
            lk_mutex_lock(t->engine->lock);
            drop(t, i);
            lk_mutex_unlock(t->engine->lock);
            dropped++;
            more = true;
        }
    }
    return dropped;
}

int lk_prefix_n_idle(const struct lk_prefix_tree *t)
{
    int n = 0;
    for (int32_t i = t->oldest; i != NONE; i = t->node[i].newer) {
        n += is_idle(t, i);
    }
    return n;
}

int lk_prefix_n_kept(const struct lk_prefix_tree *t)
{
    return t->n_kept;
}
