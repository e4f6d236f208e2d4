/* SPDX-License-Identifier: Apache-2.0
 *
 * Scheduler: what the files of this room share: jobs, their answers, and the step that is being
 * planned. An answer is a generation on a session of its own; one that has lost its room keeps its
 * generation, whose tokens are evaluated again when there is room, so what it writes is the same.
 *
 * Jobs lie in the order of their rank: by the time they came, a priority counting as AGEING
 * seconds. Room is taken from those of the last rank for those of the first. That order never
 * changes, and the first of those that can go on never loses its room: so there is always one that
 * gets ahead.
 */
#ifndef LK_SERVE_SCHEDULER_H
#define LK_SERVE_SCHEDULER_H

#include "lockstep_serve.h"
#include "base/base.h"
#include "engine/generation.h"
#include "engine/prefix.h"
#include "engine/room.h"
#include "serve/cold.h"

struct key_share { /* of those who ask */
    uint64_t key;
    uint64_t served; /* tokens evaluated, from where others stood when it came */
    uint32_t n_jobs; /* that are not done */
};

enum answer_state { ANSWER_WAITS, ANSWER_RUNS, ANSWER_DONE };

struct answer {
    lk_job *job;
    uint32_t index;
    enum answer_state state;
    lk_session *session;       /* NULL: not begun, or done */
    lk_generation *generation; /* NULL: not begun, or done before the last step */
    struct lk_prefix_at at;
    uint32_t n_preempted;
    size_t written;
    lk_sha256 hash;
    uint8_t digest[32];
    /* The end of one that has no generation. */
    bool has_end;
    lk_event end;
    lk_error error;
    size_t share; /* tokens of its prompt that it wants of a step; 0: it does not read */
    /* Of the step that is being planned. */
    size_t take;        /* tokens */
    int reserved;       /* blocks for them */
    bool listed, asked; /* it takes part; as a reader it had its turn */
};

struct lk_job {
    lk_scheduler *scheduler;
    int32_t *prompt; /* [n_prompt] */
    size_t n_prompt;
    lk_generation_options generation; /* pointers go to the copies below */
    lk_sampler_options sampler;
    int32_t *bias_ids;
    float *bias_values;
    char **stop;
    int32_t *shown;
    lk_constraint *constraint;
    struct answer *answer; /* [n_answers] */
    uint32_t n_answers, next_answer, n_done;
    uint64_t key, salt, number;
    int priority;
    bool hash, paused, cancelled;
    double rank;
    double added, deadline, began, first, ended; /* times; 0: not yet */
    size_t reused, evaluated;
    uint32_t n_preempted;
};

struct lk_scheduler {
    lk_engine *engine;
    const lk_tokenizer *tokenizer;
    lk_scheduler_options options;
    struct lk_log log;
    lk_job **job; /* [n_jobs] in the order of rank, those that are done too */
    size_t n_jobs, cap_jobs;
    struct key_share *key;
    size_t n_keys, cap_keys;
    uint64_t n_numbered;
    struct lk_room room;
    struct lk_prefix_tree *prefixes; /* NULL: none are kept */
    struct cold *cold;               /* NULL: prefixes go to no files */
    double read_speed;               /* prompt tokens a millisecond; 0: not known */
    uint32_t n_running;              /* answers */
    struct lk_turn *turn;            /* [n_running of the options] */
    struct answer **of;              /* whose each is */
    struct answer **reads;           /* [n_running of the options] those that read in this step */
    double pace;                     /* prompt tokens that step_ms has time for */
    double times;                    /* step_ms that the step under way may take */
    lk_scheduler_info info;
};

/* ---- job.c: what a job is, and its end ---- */

lk_status lk_job_open(lk_scheduler *s, const lk_job_options *options, lk_job **out, lk_error *err);
void lk_job_free(lk_job *job);
/* On a session that holds nothing, or all of the prompt. */
lk_status lk_job_answer_begin(struct answer *a, lk_session *session, lk_error *err);
/* Its room is free, and it waits to begin again where it was. */
void lk_job_answer_preempt(struct answer *a);
/* Ends one that has not ended. */
void lk_job_answer_end(struct answer *a, lk_finish finish, const lk_error *why);
/* Notes what its generation told in this step; ends with it. */
void lk_job_answer_note(struct answer *a);
/* Takes what is kept of its timeline, and keeps what it has evaluated of it. */
void lk_job_answer_adopt(struct answer *a);
void lk_job_answer_keep(struct answer *a);
/* Forgets what was told in the last step. */
void lk_job_drop_events(lk_job *job);
/* The ids that an answer has so far, its prompt first. */
const int32_t *lk_job_answer_tokens(const struct answer *a, size_t *n);

/* ---- share.c: keys, and who is next ---- */

lk_status lk_share_join(lk_scheduler *s, uint64_t key, lk_error *err); /* one more job */
void lk_share_leave(lk_scheduler *s, uint64_t key);
void lk_share_charge(lk_scheduler *s, uint64_t key, size_t n_tokens);
uint64_t lk_share_of(const lk_scheduler *s, uint64_t key);
/* Where a job has its place among those of the scheduler. */
double lk_share_rank(double now, int priority);
/* The answer that is to begin next, or NULL. */
struct answer *lk_share_next(lk_scheduler *s, double now);

/* ---- admit.c: who begins ---- */

void lk_admit(lk_scheduler *s, double now);
/* Answers beside one that has just read the prompt begin with it. */
void lk_admit_forks(lk_scheduler *s, struct answer *a);

/* ---- serve_plan.c: who evaluates what ---- */

/* Fills turn, of which *n are used; answers that have no room may lose it, or end. */
void lk_plan_turns(lk_scheduler *s, size_t *n);
/* Drops up to n blocks of prefixes; returns how many. */
int lk_plan_evict(lk_scheduler *s, int n);
/* How long the step took. */
void lk_plan_learn(lk_scheduler *s, size_t n_written, size_t n_read, double ms);

#endif
