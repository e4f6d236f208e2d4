/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine: what src/engine/engine.c (open, close, lanes), src/engine/session.c (timelines) and
 * src/engine/session_file.c (save, load) share. A lane is one way to run the whole model: a chain
 * of plan slices, each prepared on a backend with memory for its states. Sessions live on one lane
 * at a time.
 */
#ifndef LK_ENGINE_H
#define LK_ENGINE_H

#include "backend/backend.h"
#include "engine/state_table.h"
#include "base/os.h"

struct lk_part {
    const struct lk_backend_impl *impl;
    struct lk_backend *backend;
    struct lk_plan *slice; /* NULL: the whole plan */
    struct lk_exec *exec;
    struct lk_state_mem *states;
    int first_layer, last_layer; /* [first, last) of the model */
    struct lk_caps caps;
};

enum { LK_LANE_PARTS = 2 };

struct lk_lane {
    char name[16]; /* what sessions ask for: "vulkan", "cpu", "scalar", "ref" */
    char describe[320];
    int n_parts;
    struct lk_part part[LK_LANE_PARTS];
    struct lk_state_pool pool;
    float *hidden; /* [n_batch][n_embd]: rows between two parts */
    bool lost;     /* its device is gone; sessions move away */
};

enum { LK_ENGINE_LANES = 8 };

struct lk_engine {
    const lk_model *model;
    struct lk_plan *plan;
    lk_engine_options options; /* strings owned below */
    char *strings[5];
    struct lk_device device; /* that options.device names, once has_device */
    bool has_device;
    struct lk_log log;
    struct lk_mutex *lock; /* held by every call that touches lanes or caches */
    struct lk_lane *lane[LK_ENGINE_LANES];
    int n_lanes;
    struct lk_lane *home; /* where sessions are opened */
    uint32_t n_ctx, n_batch, n_sessions;
    int n_open;  /* sessions */
    bool closed; /* it goes with the last of them */
    int max_outputs, max_seqs;
    float *rows; /* [max_outputs][n_vocab] */
    /* Of the batch being built, [n_batch] each (seqs: [max_seqs]). */
    int32_t *token, *pos, *seq, *outputs;
    struct lk_batch_seq *seqs;
};

struct lk_session {
    struct lk_engine *engine;
    struct lk_lane *lane;
    struct lk_state_seq seq; /* its units on the lane; seq.n_tokens are evaluated */
    int32_t *tokens;         /* [n_ctx] */
    float *logits;           /* [n_vocab] */
    bool has_logits;         /* of the last token */
    bool listed;             /* among the items that are being checked */
    lk_progress_fn progress;
    void *progress_user;
};

/* The lane of that name, opened on first use. Called with the lock held. */
lk_status lk_engine_lane(struct lk_engine *engine, const char *name, struct lk_lane **out,
                         lk_error *err);
/* Runs one batch through all parts; rows land in engine->rows. Sets lane->lost. */
lk_status lk_lane_run(struct lk_engine *engine, struct lk_lane *lane, struct lk_batch *batch,
                      lk_error *err);
/* Unlocks the engine; frees it when it was closed and no session is open. */
void lk_engine_let_go(struct lk_engine *engine);
/* Reads or writes one unit of a state of the plan. */
lk_status lk_lane_read(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                       void *data, lk_error *err);
lk_status lk_lane_write(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                        const void *data, lk_error *err);
/* The units of a state that a sequence uses: how many, and each. */
int lk_seq_units(const struct lk_plan *plan, int state, const struct lk_state_seq *seq);
int lk_seq_unit(const struct lk_plan *plan, int state, const struct lk_state_seq *seq, int i);
/* Bytes of the largest unit of any state. */
size_t lk_most_unit_bytes(const struct lk_plan *plan);

/* src/engine/session.c: makes room in the cache, evaluates tokens[seq.n_tokens .. n) of the
 * session's own timeline. Used by load. */
lk_status lk_session_reserve(struct lk_session *session, int n, lk_error *err);

#endif
