/* SPDX-License-Identifier: Apache-2.0
 *
 * Crowd: made-up clients of a scheduler: what each asks, what it would be told if it were alone,
 * and what it is told among the others.
 */
#ifndef LK_TESTS_CROWD_H
#define LK_TESTS_CROWD_H

#include "lockstep_serve.h"
#include "tests/util/rng.h"

enum { CROWD_CTX = 256, CROWD_TEXT = 4096, CROWD_ANSWERS = 3, CROWD_MOST = 64 };

struct crowd_place {
    lk_model *model;
    lk_tokenizer *tokenizer;
    lk_engine *engine;
    lk_grammar *grammar; /* texts of digits in brackets */
};
/* An engine on a model file, with a cache of so many tokens (0: one context). */
void crowd_open(struct crowd_place *p, const char *path, const char *backend, uint32_t n_ctx,
                uint32_t cache_tokens);
void crowd_close(struct crowd_place *p);

/* What one client asks for. */
struct crowd_ask {
    int32_t prompt[CROWD_CTX];
    size_t n_prompt, max_tokens;
    float temperature;
    uint64_t seed, key, salt;
    int priority;
    uint32_t n_answers;
    const char *stop; /* or NULL */
    bool constrained, ignore_eog;
};
/* A random one; prompts often begin as those of others do. */
void crowd_make(struct crowd_ask *ask, struct rng *rng, size_t n_vocab, size_t n_ctx);

/* What an answer told. */
struct crowd_told {
    char text[CROWD_TEXT];
    size_t len, n_tokens;
    int32_t token[CROWD_CTX];
    lk_finish finish;
    uint8_t hash[32]; /* of the rows */
};
/* One answer of an ask by a loop over a generation, on an engine that does nothing else. */
void crowd_alone(struct crowd_place *p, const struct crowd_ask *ask, uint32_t answer,
                 struct crowd_told *told);

/* A client in a scheduler. */
struct crowd_client {
    struct crowd_ask ask;
    lk_job *job; /* NULL: not there yet, or gone */
    struct crowd_told told[CROWD_ANSWERS], alone[CROWD_ANSWERS];
    bool cancelled;
};
bool crowd_try(lk_scheduler *s, struct crowd_place *p, struct crowd_client *c, lk_error *err);
/* The same, asserting that it is taken. */
void crowd_add(lk_scheduler *s, struct crowd_place *p, struct crowd_client *c);
/* Takes what its job told in the last step. */
void crowd_listen(struct crowd_client *c);
/* Dies unless each answer is that of the job alone, or where it was cancelled a beginning of it. */
void crowd_check(struct crowd_client *c, const char *what);

/* n clients who come, pause, cancel and go at random, until all are done. */
struct crowd_run {
    lk_scheduler_options options;
    size_t n_clients;
    unsigned seed;
    bool calm;         /* nobody cancels or pauses */
    bool long_answers; /* to short prompts: they outgrow the room that they began with */
    void (*each_step)(void *user, size_t step);
    void *user;
};
/* Runs them on p; what each is told alone is told by `judge`. The scheduler's figures at the end go
 * to `info` (may be NULL). */
void crowd_let_loose(struct crowd_place *p, struct crowd_place *judge, const struct crowd_run *run,
                     lk_scheduler_info *info);

#endif
