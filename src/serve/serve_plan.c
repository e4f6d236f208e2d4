/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: who evaluates what in a step. Each answer that writes has its next token; what time is left
 * goes to prompts, which are spread over several steps where others write, in pieces that end where
 * blocks of the cache do unless that costs half of them. Where a block is missing, room
 * is taken from the last in rank, of those that are paused first; one that is last itself waits.
 * One that has nobody left to take room from ends: it is too long for the cache.
 */
#include "serve/scheduler.h"

#include <string.h>

enum {
    BLOCK = 64,
    LEAST_READ = 8, /* tokens of prompts that a step evaluates, however late it is */
    SPREAD = 12,    /* steps over which a prompt is spread where others write */
    ALONE = 8,      /* a step in which nobody writes may take so many times longer */
    CROWD = 16,     /* and one for which as many prompts wait */
    CROWDED = 2     /* so many times: they would wait for each other, not for those who write */
};

struct plan {
    lk_scheduler *s;
    int left;      /* blocks that are free, less those that are reserved */
    size_t shares; /* tokens that those who read want of a step */
};

static bool is_paused(const struct answer *a)
{
    return a->job->paused;
}

/* ---- room ---- */

/* What is planned for it is taken back. */
static void unplan(struct plan *p, struct answer *a)
{
    p->left += a->reserved;
    a->reserved = 0;
    a->take = 0;
    a->listed = false;
}

/* What it shared with others does not become free. */
static void take_room_of(struct plan *p, struct answer *a)
{
    int free = p->s->room.n_free;
    unplan(p, a);
    lk_job_answer_preempt(a);
    p->left += p->s->room.n_free - free;
}

int lk_plan_evict(lk_scheduler *s, int n)
{
    int got = s->prefixes ? lk_prefix_evict(s->prefixes, n) : 0;
    s->room.n_free += got;
    s->info.n_evicted += (uint64_t)got;
    return got;
}

/* Who has room that another may take: the last in rank behind it, of those that are paused first.
 * *others: whether anybody else has any. */
static struct answer *victim_of(const lk_scheduler *s, const struct answer *for_whom, bool *others)
{
    struct answer *last = NULL, *paused = NULL;
    bool behind = false;
    *others = false;
    for (size_t i = 0; i < s->n_jobs; i++) {
        for (uint32_t k = 0; k < s->job[i]->n_answers; k++) {
            struct answer *a = &s->job[i]->answer[k];
            if (a == for_whom) {
                behind = true;
            } else if (a->state == ANSWER_RUNS && lk_room_held(a->session) > 0) {
                *others = true;
                paused = is_paused(a) ? a : paused;
                last = behind ? a : last;
            }
        }
    }
    return paused ? paused : last;
}

/* Makes room for as many of n tokens as there can be; returns how many. */
static size_t make_room(struct plan *p, struct answer *a, size_t n)
{
    for (;;) {
        int need = lk_room_needed(a->session, n);
        bool others;
        if (need <= p->left) {
            a->reserved = need;
            p->left -= need;
            return n;
        }
        int got = lk_plan_evict(p->s, need - p->left);
        p->left += got;
        if (got > 0) {
            continue;
        }
        struct answer *victim = victim_of(p->s, a, &others);
        if (victim) {
            take_room_of(p, victim);
            continue;
        }
        while (n > 0 && lk_room_needed(a->session, n) > p->left) {
            n = n > BLOCK ? n - BLOCK : n - 1;
        }
        if (n == 0 && !others) {
            lk_error why;
            lk_fail(&why, LK_E_FULL, "KV cache full: %zu tokens, and no room for one more",
                    lk_session_n_tokens(a->session));
            lk_job_answer_end(a, LK_FINISH_FULL, &why);
        }
        if (n == 0) {
            return 0;
        }
    }
}

/* ---- pieces of prompts ---- */

/* The part of `pending` tokens, of which `held` lie before, that n have room for: up to the last
 * border of a block where that leaves the better half of them. */
static size_t piece(size_t held, size_t pending, size_t n)
{
    if (n >= pending) {
        return pending;
    }
    size_t end = (held + n) / BLOCK * BLOCK;
    return end >= held + n / 2 + 1 ? end - held : n;
}

/* Whether another reads in this step of the block that this one is to begin: it will be there. */
static bool is_read_already(const struct plan *p, const struct answer *a, size_t n_reads)
{
    const lk_scheduler *s = p->s;
    size_t n, n_other, at = lk_session_n_tokens(a->session);
    const int32_t *ids = lk_job_answer_tokens(a, &n), *other;
    for (size_t i = 0; i < n_reads && s->prefixes && at % BLOCK == 0; i++) {
        const struct answer *b = s->reads[i];
        size_t at_b = b->listed && b != a ? lk_session_n_tokens(b->session) : SIZE_MAX;
        if (at_b / BLOCK != at / BLOCK || b->job->salt != a->job->salt) {
            continue;
        }
        other = lk_job_answer_tokens(b, &n_other);
        if (n > at + BLOCK && n_other >= at + BLOCK &&
            memcmp(other, ids, (at + BLOCK) * sizeof *ids) == 0) {
            return true;
        }
    }
    return false;
}

/* Plans up to n tokens of a prompt, beside what is planned of it; returns how many. */
static size_t plan_piece(struct plan *p, struct answer *a, size_t n)
{
    size_t held = lk_session_n_tokens(a->session), before = a->take;
    size_t want = piece(held, lk_generation_pending(a->generation), before + n);
    if (want <= before) {
        return 0;
    }
    unplan(p, a);
    a->take = make_room(p, a, want);
    a->listed = a->take > 0;
    return a->take > before ? a->take - before : 0;
}

/* The next to read: of equal shares, by rank. */
static struct answer *next_reader(const lk_scheduler *s, size_t n)
{
    struct answer *best = NULL;
    for (size_t i = 0; i < n; i++) {
        struct answer *a = s->reads[i];
        if (a->asked || a->state != ANSWER_RUNS) {
            continue;
        }
        const lk_job *job = a->job, *of_best = best ? best->job : NULL;
        if (!best || job->priority > of_best->priority ||
            (job->priority == of_best->priority &&
             lk_share_of(s, job->key) < lk_share_of(s, of_best->key))) {
            best = a;
        }
    }
    return best;
}

static void plan_reads(struct plan *p, size_t n_reads, size_t budget)
{
    lk_scheduler *s = p->s;
    if (n_reads > 0) { /* the first in rank gets ahead, whoever is there */
        size_t some = budget / 4 > LEAST_READ ? budget / 4 : LEAST_READ;
        size_t got = plan_piece(p, s->reads[0], some < budget ? some : budget);
        budget -= got < budget ? got : budget;
    }
    for (struct answer *a; budget > 0 && (a = next_reader(s, n_reads));) {
        size_t got = is_read_already(p, a, n_reads) ? 0 : plan_piece(p, a, budget);
        budget -= got < budget ? got : budget;
        a->asked = true;
    }
}

/* ---- the step ---- */

/* Where answers are written prompts get what they want of a step, as far as there is time; but they
 * always get on: where many write, which takes most of the time, by half a token for each of
 * theirs, where nobody does by a block. */
static size_t read_budget(const struct plan *p, size_t n_write, size_t n_reads)
{
    lk_scheduler *s = p->s;
    size_t fixed = s->options.n_step_tokens, n, least = n_write ? n_write / 2 : BLOCK;
    s->times = n_write == 0 ? ALONE : n_reads >= CROWD ? CROWDED : 1;
    if (fixed) {
        n = fixed > n_write ? fixed - n_write : 0;
        return n > 0 ? n : 1;
    }
    n = (size_t)(s->times * s->pace);
    n = n_write && n > p->shares ? p->shares : n;
    least = least > LEAST_READ ? least : LEAST_READ;
    return n > least ? n : least;
}

void lk_plan_learn(lk_scheduler *s, size_t n_written, size_t n_read, double ms)
{
    double want = s->times * s->options.step_ms, had = s->times * s->pace;
    double ratio = want / (ms > 0.01 ? ms : 0.01);
    ratio = ratio < 0.5 ? 0.5 : ratio > 2.0 ? 2.0 : ratio;
    if (n_read > n_written && ms > 0.0) { /* where most of the time is theirs */
        double speed = (double)n_read / ms;
        s->read_speed = s->read_speed > 0.0 ? 0.75 * s->read_speed + 0.25 * speed : speed;
    }
    /* A step that had less to do than it might says nothing, unless it took too long. */
    if (n_read > 0 && (ratio < 1.0 || (double)n_read > had / 2.0)) {
        s->pace *= ratio;
    }
    s->pace = s->pace < 1.0 ? 1.0 : s->pace > 65536.0 ? 65536.0 : s->pace;
}

/* Those that write, by rank; those that read go to s->reads. */
static size_t plan_writes(struct plan *p, size_t *n_reads)
{
    lk_scheduler *s = p->s;
    size_t n_write = 0;
    *n_reads = 0;
    for (size_t i = 0; i < s->n_jobs; i++) {
        for (uint32_t k = 0; k < s->job[i]->n_answers; k++) {
            struct answer *a = &s->job[i]->answer[k];
            a->take = 0;
            a->reserved = 0;
            a->listed = a->asked = false;
        }
    }
    for (size_t i = 0; i < s->n_jobs; i++) {
        for (uint32_t k = 0; k < s->job[i]->n_answers; k++) {
            struct answer *a = &s->job[i]->answer[k];
            if (a->state != ANSWER_RUNS || is_paused(a)) {
                continue;
            }
            if (lk_generation_pending(a->generation) > BLOCK) {
                lk_job_answer_adopt(a);
            }
            size_t pending = lk_generation_pending(a->generation);
            if (pending > 1) {
                a->share = a->share ? a->share : (pending + SPREAD - 1) / SPREAD;
                p->shares += a->share;
                s->reads[(*n_reads)++] = a;
                continue;
            }
            a->share = 0;
            a->take = make_room(p, a, pending);
            a->listed = a->state == ANSWER_RUNS && a->take == pending;
            n_write += a->listed;
        }
    }
    return n_write;
}

void lk_plan_turns(lk_scheduler *s, size_t *n)
{
    struct plan p = {.s = s, .left = s->room.n_free};
    size_t n_reads, n_write = plan_writes(&p, &n_reads);
    plan_reads(&p, n_reads, read_budget(&p, n_write, n_reads));
    *n = 0;
    for (int reads = 0; reads < 2; reads++) { /* single tokens come first */
        for (size_t i = 0; i < s->n_jobs; i++) {
            for (uint32_t k = 0; k < s->job[i]->n_answers; k++) {
                struct answer *a = &s->job[i]->answer[k];
                if (a->listed && (lk_generation_pending(a->generation) > 1) == (reads > 0)) {
                    s->of[*n] = a;
                    s->turn[(*n)++] =
                        (struct lk_turn){.generation = a->generation, .take = a->take};
                }
            }
        }
    }
}
