/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine: what src/engine/engine.c (open, close, which lanes there are), src/engine/session.c
 * (timelines) and src/engine/session_file.c (save, load) share. Sessions live on one lane
 * (engine/lanes.h) at a time.
 */
#ifndef LK_ENGINE_H
#define LK_ENGINE_H

#include "engine/checkpoint.h"
#include "engine/crew.h"
#include "engine/lanes.h"

struct lk_engine {
    const lk_model *model;
    struct lk_plan *plan;
    lk_engine_options options; /* strings owned below */
    char *strings[6];
    struct lk_log log;
    struct lk_pack_home pack; /* when a backend first may keep packed weights; dir NULL: not yet */
    char pack_dir[4096];
    struct lk_mutex *lock;         /* held by every call that touches lanes or caches */
    struct lk_device_list devices; /* Vulkan's, listed on first need */
    bool listed;
    const struct lk_device **named; /* owned, [n_named]: what options.device names, or auto takes */
    int n_named;                    /* 0: not resolved yet */
    struct lk_opened **opened;      /* owned, and lost ones */
    size_t n_opened, cap_opened;
    struct lk_lane **lane; /* owned */
    size_t n_lanes, cap_lanes;
    struct lk_lane *home; /* where sessions are opened */
    uint32_t n_ctx, n_batch, n_sessions;
    struct lk_crew *crew; /* for work between batches, on up to n_cpus threads */
    int n_cpus;
    struct lk_checkpoint_store checkpoints;
    int n_open;  /* sessions */
    bool closed; /* it goes with the last of them */
    int max_outputs, max_seqs;
    float *rows; /* [max_outputs][lk_plan_row_width] */
    /* Of the batch being built, [LK_MICRO_BATCHES * n_batch] each (seqs: [max_seqs]). */
    int32_t *token, *pos, *seq, *outputs;
    struct lk_batch_seq *seqs;
};

struct lk_session {
    struct lk_engine *engine;
    struct lk_lane *lane;
    struct lk_state_seq seq; /* its units on the lane; seq.n_tokens are evaluated */
    struct lk_checkpoint_list checkpoints;
    int32_t *tokens; /* [n_ctx] */
    float *logits;   /* [lk_plan_row_width] */
    bool has_logits; /* of the last token */
    void *data;      /* [n_data] the program's, or NULL */
    size_t n_data;
    bool listed; /* among the items that are being checked */
    lk_progress_fn progress;
    void *progress_user;
};

/* The lane of that name or placement, opened on first use. Called with the lock held. */
lk_status lk_engine_lane(struct lk_engine *engine, const char *name, struct lk_lane **out,
                         lk_error *err);
/* The sessions of a lost lane go to one without the device that was lost. The lost lane is
 * shut first, for the room that it takes. Called with the lock held. */
lk_status lk_engine_lane_after(struct lk_engine *engine, struct lk_lane *lost, struct lk_lane **out,
                               lk_error *err);
/* Where packed weights are kept; NULL: nowhere, for nobody asked or, which the log says, it can't
 * be (src/engine/pack_home.c). */
const struct lk_pack_home *lk_engine_pack_home(struct lk_engine *engine);
/* Unlocks the engine; frees it when it was closed and no session is open. */
void lk_engine_let_go(struct lk_engine *engine);
/* The units of a state that a sequence uses: how many, and each. */
int lk_seq_units(const struct lk_plan *plan, int state, const struct lk_state_seq *seq);
int lk_seq_unit(const struct lk_plan *plan, int state, const struct lk_state_seq *seq, int i);
/* Bytes of the largest unit of any state. */
size_t lk_most_unit_bytes(const struct lk_plan *plan);

/* src/engine/session.c: makes room in the cache, evaluates tokens[seq.n_tokens .. n) of the
 * session's own timeline. Used by load. */
lk_status lk_session_reserve(struct lk_session *session, int n, lk_error *err);

#endif
