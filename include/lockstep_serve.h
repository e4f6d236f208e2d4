/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep_serve: many requests on one engine. A scheduler takes jobs, each a prompt that is to be
 * answered, and gives all of them their steps together; it shares what their prompts have in
 * common, waits where there is no room, and takes room back where it must. None of that can be seen
 * in an answer: every job writes what it would write alone. The conventions are those of
 * lockstep.h. There are no sockets here.
 *
 *     lk_scheduler *s; lk_job *job; lk_job_event ev;
 *     if (lk_scheduler_open(engine, tokenizer, NULL, &s, &err)) die(err.message);
 *     lk_job_options o = lk_job_options_default();
 *     o.prompt = ids, o.n_prompt = n;
 *     if (lk_scheduler_add(s, &o, &job, &err)) die(err.message);
 *     while (lk_scheduler_step(s, &err) == LK_OK && !lk_job_is_done(job))
 *         while (lk_job_next(job, &ev))
 *             ...
 */
#ifndef LOCKSTEP_SERVE_H
#define LOCKSTEP_SERVE_H

#include "lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lk_scheduler lk_scheduler;
typedef struct lk_job lk_job;

typedef struct lk_scheduler_options {
    size_t size;        /* sizeof(lk_scheduler_options): set by the default function */
    uint32_t n_running; /* answers that are written at the same time, at most; default 64 */
    uint32_t n_queue;   /* jobs that wait, at most: the next is refused; default 256 */
    /* Tokens of a step: each answer's next one, and of prompts what is left, one at least. 0
     * (default): a twelfth of each, so that the tokens of others come evenly, but no more than take
     * about step_ms, from the speed of the steps before (twice as long where 16 prompts wait or
     * more), and no fewer than 8 and half of one for each answer; where nothing is written all that
     * eight times step_ms has room for. */
    uint32_t n_step_tokens;
    double step_ms;     /* default 50 */
    bool keep_prefixes; /* prompts and answers stay for later jobs while there is room; true */
    /* A folder, made where it is missing, for prefixes that lose their room after they were used
     * twice, or that are long; they come back where that is faster than to evaluate them. A thread
     * writes them. For one scheduler at a time, but of any models. Asks for lk_model_digest. NULL:
     * they are dropped. */
    const char *prefix_dir;
    uint64_t prefix_dir_max; /* bytes of the model's files there, at most; default 4 GiB */
    lk_log_fn log;           /* NULL: none */
    void *user;
} lk_scheduler_options;
LK_API lk_scheduler_options lk_scheduler_options_default(void);

/* Engine and tokenizer must outlive it. The engine's sessions may be used beside it, not at the
 * same time. A scheduler and its jobs belong to one thread at a time. */
LK_API lk_status lk_scheduler_open(lk_engine *engine, const lk_tokenizer *tokenizer,
                                   const lk_scheduler_options *options, lk_scheduler **out,
                                   lk_error *err);
LK_API void lk_scheduler_close(lk_scheduler **scheduler); /* after all of its jobs */
/* Writes to prefix_dir, within its limit, what the cache holds of prompts and answers and no file
 * does: what would go there when it loses its room, and then what needs no other's place, those
 * used last first. Begins no file after so many seconds. For the end, when a later scheduler is to
 * find it; without prefix_dir it does nothing. What can't be written is told to the log. */
LK_API void lk_scheduler_save(lk_scheduler *scheduler, double seconds);

typedef struct lk_job_options {
    size_t size;           /* sizeof(lk_job_options): set by the default function */
    const int32_t *prompt; /* [n_prompt], at least 1; copied */
    size_t n_prompt;
    const lk_generation_options *generation; /* copied as lk_generation_open does; NULL: greedy */
    /* Answers to the prompt; default 1. Answer i is drawn with the sampler's seed plus i. */
    uint32_t n_answers;
    uint64_t key;    /* who asks: keys get equal shares of the tokens evaluated; default 0 */
    int priority;    /* those of higher priority go first, and lose their room last; default 0 */
    double deadline; /* seconds from now until it is ended, LK_FINISH_CANCELLED; 0: none */
    bool hash;       /* of each answer, the rows that its tokens were chosen from: lk_job_hash */
    /* Prefixes are shared among jobs of the same salt only (so that nobody learns from the time
     * that an answer takes what others asked); default 0. */
    uint64_t salt;
} lk_job_options;
LK_API lk_job_options lk_job_options_default(void);

/* LK_E_FULL when n_queue jobs wait, or the prompt has no room in the context; LK_E_INVALID when the
 * options make no sense. */
LK_API lk_status lk_scheduler_add(lk_scheduler *scheduler, const lk_job_options *options,
                                  lk_job **out, lk_error *err);
/* Ends what it writes, at once; its room is free. */
LK_API void lk_job_close(lk_job **job);

/* One step of all jobs; their events are there after it, after an error too. Without work it does
 * nothing. An error of one job is told by its event; an error returned is of the scheduler
 * (LK_E_NOMEM, or an engine whose every device was lost), and may be tried again. */
LK_API lk_status lk_scheduler_step(lk_scheduler *scheduler, lk_error *err);
LK_API bool lk_scheduler_has_work(const lk_scheduler *scheduler);

typedef struct lk_job_event {
    uint32_t answer; /* 0 .. n_answers - 1 */
    lk_event event;  /* as of lk_generation_next */
} lk_job_event;
/* The next event of the last step; false: there is none until the next. Its pointers are valid
 * until then. */
LK_API bool lk_job_next(lk_job *job, lk_job_event *out);
LK_API bool lk_job_is_done(const lk_job *job); /* all of its answers have ended */
/* Ends it, LK_FINISH_CANCELLED, at its next step. */
LK_API void lk_job_cancel(lk_job *job);
/* As lk_generation_force, for an answer that has begun to be written. */
LK_API lk_status lk_job_force(lk_job *job, uint32_t answer, const int32_t *ids, size_t n,
                              lk_error *err);
/* A job that is paused writes nothing until it goes on, as when its reader is slow. */
LK_API void lk_job_pause(lk_job *job, bool paused);
/* SHA-256 of the rows that the answer's tokens were chosen from, as f32, that of its end included:
 * what `lockstep run --logits-sha256` prints. The answer must have ended, and its job been opened
 * with `hash`. */
LK_API void lk_job_hash(const lk_job *job, uint32_t answer, uint8_t out[32]);

typedef enum lk_job_state { LK_JOB_WAITS, LK_JOB_READS, LK_JOB_WRITES, LK_JOB_DONE } lk_job_state;
typedef struct lk_job_info {
    lk_job_state state; /* reads: its prompt is being evaluated */
    size_t prompt;      /* tokens */
    size_t reused;      /* of them, those that were there already */
    size_t evaluated;   /* of them, so far */
    size_t written;     /* tokens of all answers */
    uint32_t n_preempted;
    double waited;  /* seconds from lk_scheduler_add to its first step, or so far */
    double reading; /* from then to its first token */
    double writing; /* from then to the end */
} lk_job_info;
LK_API lk_job_info lk_job_tell(const lk_job *job);

/* What the scheduler did so far, and how it stands. */
typedef struct lk_scheduler_info {
    size_t size; /* set by the caller */
    uint32_t n_waiting, n_reading, n_writing, n_paused;
    uint64_t n_steps, n_jobs, n_done, n_cancelled, n_failed, n_refused, n_preempted, n_evicted;
    uint64_t prompt_tokens, reused_tokens,
        written_tokens; /* of prompts: evaluated; not evaluated */
    uint64_t disk_writes, disk_reads, disk_bytes;
    uint32_t n_blocks, n_blocks_used, n_blocks_kept; /* of 64 tokens: all, by jobs, by prefixes */
    double last_step_ms;
    uint32_t last_step_tokens;
} lk_scheduler_info;
LK_API void lk_scheduler_tell(const lk_scheduler *scheduler, lk_scheduler_info *info);

#ifdef __cplusplus
}
#endif
#endif
