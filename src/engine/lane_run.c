/* SPDX-License-Identifier: Apache-2.0
 *
 * Lane_run: a batch through the parts of a lane. One of many tokens is cut into micro-batches, and
 * each part has a thread: while a part runs one micro-batch, the part before it runs the next, into
 * the other of its two buffers of hidden rows. Bits don't depend on the cut. Knows no device.
 */
#include <fenv.h>
#include <limits.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "engine/engine.h"

/* Micro-batches that a part has done, alone in its cache line. */
struct count {
    _Alignas(64) _Atomic uint32_t value;
};

struct runner {
    struct lk_relay *relay;
    struct lk_thread *thread; /* of the first part NULL: it runs on the caller's */
    int part;
};

struct lk_relay {
    struct lk_lane *lane;
    int n_parts;
    struct runner *runners; /* [n_parts] */
    struct count *done;     /* [n_parts] */
    struct count start;     /* rises by one for every batch */
    struct lk_mutex *lock;  /* of what failed */
    _Atomic int failed_at;  /* first micro-batch that failed; those from there on are left out */
    lk_status status;
    lk_error err;
    bool stop;
    /* The batch in micro-batches. */
    int n;
    int row_width;
    struct lk_batch *micro;    /* [n_batch] */
    struct lk_batch_seq *seqs; /* [max_seqs + n_batch] */
    int32_t *seq, *outputs;    /* [n_batch] */
};

/* ---- one part ---- */

static lk_status run_part(struct lk_part *part, const struct lk_batch *b, lk_error *err)
{
    lk_mutex_lock(part->on->lock);
    lk_status status = part->impl->run(part->exec, part->states, b, err);
    part->on->lost |= status == LK_E_DEVICE_LOST;
    lk_mutex_unlock(part->on->lock);
    return status;
}

/* ---- many micro-batches, each part in its thread ---- */

static void wait_for(struct count *c, uint32_t least)
{
    uint32_t now = atomic_load(&c->value);
    while (now < least) {
        lk_futex_wait((const uint32_t *)&c->value, now);
        now = atomic_load(&c->value);
    }
}

static void add_one(struct count *c)
{
    atomic_fetch_add(&c->value, 1);
    lk_futex_wake((const uint32_t *)&c->value, INT_MAX);
}

/* The failure of the first micro-batch that failed is the batch's, whatever thread is first. */
static void fail(struct lk_relay *r, int k, lk_status status, const lk_error *why)
{
    lk_mutex_lock(r->lock);
    if (k < atomic_load(&r->failed_at)) {
        atomic_store(&r->failed_at, k);
        r->status = status;
        r->err = *why;
    }
    lk_mutex_unlock(r->lock);
}

static void run_micro(struct lk_relay *r, int i, int k)
{
    struct lk_part *part = &r->lane->part[i];
    struct lk_batch b = r->micro[k];
    lk_error why = {0};
    if (i > 0) {
        b.hidden_in = part[-1].hidden[k % 2];
    }
    if (i + 1 < r->n_parts) {
        b.out = part->hidden[k % 2];
    }
    lk_status status = run_part(part, &b, &why);
    if (status) {
        fail(r, k, status, &why);
    }
}

/* All micro-batches of a batch on one part. */
static void run_all(struct lk_relay *r, int i)
{
    for (int k = 0; k < r->n; k++) {
        if (i > 0) { /* its rows are there */
            wait_for(&r->done[i - 1], (uint32_t)k + 1);
        }
        if (i + 1 < r->n_parts && k > 1) { /* the buffer was read */
            wait_for(&r->done[i + 1], (uint32_t)k - 1);
        }
        if (k < atomic_load(&r->failed_at)) {
            run_micro(r, i, k);
        }
        add_one(&r->done[i]);
    }
}

static void work(void *arg)
{
    struct runner *me = arg;
    struct lk_relay *r = me->relay;
    fesetround(FE_TONEAREST);
    for (uint32_t seen = 1;; seen++) {
        wait_for(&r->start, seen);
        if (r->stop) {
            return;
        }
        run_all(r, me->part);
    }
}

/* ---- the cut ---- */

/* Tokens [from, to) of a batch as one of their own. */
static struct lk_batch slice(struct lk_relay *r, const struct lk_batch *b, int from, int to,
                             int *n_seqs, int *n_outputs)
{
    struct lk_batch m = {.n_tokens = to - from,
                         .token = b->token + from,
                         .pos = b->pos + from,
                         .seq = r->seq + from,
                         .seqs = r->seqs + *n_seqs,
                         .outputs = r->outputs + *n_outputs,
                         .out = b->out + (size_t)*n_outputs * (size_t)r->row_width};
    for (int s = b->seq[from]; s <= b->seq[to - 1]; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        int first = q->first > from ? q->first : from, end = q->first + q->n_tokens;
        end = end < to ? end : to;
        r->seqs[(*n_seqs)++] = (struct lk_batch_seq){.blocks = q->blocks,
                                                     .first = first - from,
                                                     .n_tokens = end - first,
                                                     .pos = q->pos + first - q->first,
                                                     .slot = q->slot};
        for (int t = first; t < end; t++) {
            r->seq[t] = m.n_seqs;
        }
        m.n_seqs++;
    }
    while (*n_outputs < b->n_outputs && b->outputs[*n_outputs] < to) {
        r->outputs[*n_outputs] = b->outputs[*n_outputs] - from;
        (*n_outputs)++;
        m.n_outputs++;
    }
    return m;
}

static void cut(struct lk_relay *r, const struct lk_batch *b, int most)
{
    int n_seqs = 0, n_outputs = 0, from = 0;
    r->n = (b->n_tokens + most - 1) / most;
    for (int k = 0; k < r->n; k++) {
        int to = (int)((int64_t)b->n_tokens * (k + 1) / r->n);
        r->micro[k] = slice(r, b, from, to, &n_seqs, &n_outputs);
        from = to;
    }
}

/* ---- a batch ---- */

static lk_status run_relay(struct lk_relay *r, const struct lk_batch *b, int most, lk_error *err)
{
    cut(r, b, most);
    for (int i = 0; i < r->n_parts; i++) {
        atomic_store(&r->done[i].value, 0);
    }
    atomic_store(&r->failed_at, INT_MAX);
    r->status = LK_OK;
    add_one(&r->start);
    run_all(r, 0);
    wait_for(&r->done[r->n_parts - 1], (uint32_t)r->n); /* then all others are done too */
    if (r->status && err) {
        *err = r->err;
    }
    return r->status;
}

static lk_status run_in_turn(struct lk_lane *lane, struct lk_batch *b, lk_error *err)
{
    float *rows = b->out;
    lk_status status = LK_OK;
    for (int i = 0; i < lane->n_parts && !status; i++) {
        b->hidden_in = i ? lane->part[i - 1].hidden[0] : NULL;
        b->out = i + 1 < lane->n_parts ? lane->part[i].hidden[0] : rows;
        status = run_part(&lane->part[i], b, err);
    }
    return status;
}

/* Whether a device of the lane is lost; other lanes may have found out. */
static bool note_losses(struct lk_lane *lane)
{
    for (int i = 0; i < lane->n_parts; i++) {
        lane->lost |= lane->part[i].on->lost;
    }
    return lane->lost;
}

bool lk_lane_cuts(const struct lk_lane *lane, int n_tokens)
{
    return lane->relay && n_tokens > lane->n_micro;
}

lk_status lk_lane_run(struct lk_lane *lane, struct lk_batch *batch, lk_error *err)
{
    if (note_losses(lane)) {
        return lk_fail(err, LK_E_DEVICE_LOST, "%s: a device of it was lost", lane->describe);
    }
    lk_status status = lk_lane_cuts(lane, batch->n_tokens)
                           ? run_relay(lane->relay, batch, lane->n_micro, err)
                           : run_in_turn(lane, batch, err);
    note_losses(lane);
    return status;
}

/* ---- open ---- */

lk_status lk_relay_open(struct lk_lane *lane, int n_batch, int max_seqs, int row_width,
                        lk_error *err)
{
    size_t n = (size_t)n_batch, n_parts = (size_t)lane->n_parts;
    struct lk_relay *r = lane->relay = lk_alloc(sizeof *r);
    if (!r) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: threads of %zu parts", n_parts);
    }
    *r = (struct lk_relay){.lane = lane, .n_parts = lane->n_parts, .row_width = row_width};
    r->runners = lk_alloc_array(n_parts, sizeof *r->runners);
    r->done = lk_alloc_array(n_parts, sizeof *r->done);
    r->lock = lk_mutex_new();
    r->micro = lk_alloc_array(n, sizeof *r->micro);
    r->seqs = lk_alloc_array((size_t)max_seqs + n, sizeof *r->seqs);
    r->seq = lk_alloc_array(n, sizeof *r->seq);
    r->outputs = lk_alloc_array(n, sizeof *r->outputs);
    if (!r->runners || !r->done || !r->lock || !r->micro || !r->seqs || !r->seq || !r->outputs) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: threads of %zu parts", n_parts);
    }
    for (int i = 1; i < lane->n_parts; i++) {
        struct runner *me = &r->runners[i];
        *me = (struct runner){.relay = r, .part = i};
        lk_status status = lk_thread_start(&me->thread, work, me, err);
        if (status) {
            return status;
        }
    }
    return LK_OK;
}

void lk_relay_close(struct lk_lane *lane)
{
    struct lk_relay *r = lane->relay;
    if (!r) {
        return;
    }
    r->stop = true;
    add_one(&r->start);
    for (int i = 1; r->runners && i < r->n_parts; i++) {
        lk_thread_join(&r->runners[i].thread);
    }
    lk_mutex_free(r->lock);
    lk_free(r->runners);
    lk_free(r->done);
    lk_free(r->micro);
    lk_free(r->seqs);
    lk_free(r->seq);
    lk_free(r->outputs);
    lk_free(r);
    lane->relay = NULL;
}
