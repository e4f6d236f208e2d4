/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: a lane is one way to run the whole model: a chain of plan slices, each prepared on a
 * backend with memory for its states, opened from a placement. Rows of hidden values go from each
 * part to the next. Knows no session; who opens which lane is src/engine/engine.c's.
 */
#ifndef LK_LANES_H
#define LK_LANES_H

#include "base/os.h"
#include "engine/placement.h"
#include "engine/state_table.h"

struct lk_engine;

/* A backend opened on a device: one for all parts there, of all lanes of an engine, so that they
 * share its pipelines, its threads and the account of its memory. */
struct lk_opened {
    const struct lk_backend_impl *impl;
    struct lk_device_id device;
    struct lk_backend *backend; /* NULL: closed, after a loss */
    struct lk_caps caps;
    struct lk_mutex *lock; /* held while a part runs: a backend runs one at a time */
    int n_users;           /* parts, and who is about to make some */
    bool lost;             /* the device is gone; it is opened anew for whoever asks again */
};

/* Pieces of a full batch of a lane of several parts: enough to keep a few parts busy at once. */
enum { LK_MICRO_BATCHES = 4 };

struct lk_part {
    struct lk_opened *on;
    const struct lk_backend_impl *impl; /* of `on` */
    struct lk_plan *slice;
    struct lk_exec *exec;
    struct lk_state_mem *states;
    int first_stage, last_stage; /* [first, last) of the model */
    bool head;                   /* it is the last one */
    /* [n_micro][n_embd] each: rows for the next part, of one micro-batch and of the one after it.
     * NULL in the last part. */
    float *hidden[2];
};

struct lk_relay; /* the threads of a lane's parts (lane_run.c) */

struct lk_lane {
    char *name;          /* owned: what sessions ask for: "vulkan", "cpu", ... or a placement */
    char describe[1024]; /* "vulkan NVIDIA H200", "4 of 30 layers on ..., the rest on cpu avx2" */
    struct lk_placement placement;
    struct lk_part *part;   /* owned, [n_parts] */
    int n_parts;            /* 0: closed, after a loss */
    int n_batch, n_outputs; /* tokens of a batch, and rows of it that want logits, at most */
    int n_micro;            /* tokens of a micro-batch, at most, where there are several parts */
    struct lk_relay *relay; /* NULL: a batch is one micro-batch */
    struct lk_state_pool pool;
    bool lost;               /* a device of it is gone; sessions move away */
    struct lk_lane *instead; /* where they go, once that is known */
};

/* ---- opened backends (opened.c) ---- */

/* The opened backend for a part on a device, opened where it is not yet; one user more. */
lk_status lk_opened_get(struct lk_engine *engine, const struct lk_backend_impl *impl,
                        const struct lk_device_id *device, struct lk_opened **out, lk_error *err);
/* One user less; it closes with the last. A lost one is remembered. */
void lk_opened_put(struct lk_engine *engine, struct lk_opened *on);
void lk_opened_free_all(struct lk_engine *engine); /* when no lane is left */
bool lk_opened_is_on(const struct lk_opened *on, const struct lk_backend_impl *impl,
                     const struct lk_device_id *device);
/* Whether a device was lost and has not been opened since. */
bool lk_device_is_lost(const struct lk_engine *engine, const struct lk_backend_impl *impl,
                       const struct lk_device_id *device);

/* ---- lanes (lanes.c) ---- */

/* Opens a lane as placed; a failure names the part. The caller puts it into the engine. */
lk_status lk_lane_open(struct lk_engine *engine, const struct lk_placement *placement,
                       struct lk_lane **out, lk_error *err);
void lk_lane_free(struct lk_engine *engine, struct lk_lane *lane);
/* Frees all that a lost lane has on devices; it can't be run or read any more. */
void lk_lane_shut(struct lk_engine *engine, struct lk_lane *lane);

/* The steps of opening one. Place makes the lane's parts those of a placement, the last one first;
 * those that are there already stay. Where a device's memory ends it is LK_E_NOMEM and the shortage
 * is filled; with `fewer` the part stays, with as many of its last layers as it holds. */
struct lk_shortage {
    int part; /* where it failed; -1: nowhere */
    int held; /* layers that there is room for */
};
lk_status lk_lane_place(struct lk_engine *engine, struct lk_lane *lane,
                        const struct lk_placement *placement, bool fewer, struct lk_shortage *out,
                        lk_error *err);
/* What a lane has beside its parts. */
lk_status lk_lane_finish(struct lk_engine *engine, struct lk_lane *lane,
                         const struct lk_placement *placement, lk_error *err);
/* Memory of a plan's states on any lane of the engine. */
struct lk_state_geom lk_geom_of(const struct lk_engine *engine, const struct lk_plan *plan);

/* Opens a lane with the last `want` layers shared out among devices of a backend, in their order,
 * and the layers before on the CPU. Where memory ends a device gets fewer: the others take more,
 * and the CPU what is left; with `all` that is LK_E_NOMEM. (lane_share.c) */
lk_status lk_lane_open_on(struct lk_engine *engine, const struct lk_backend_impl *impl,
                          const struct lk_device *const *devices, int n_devices, int want, bool all,
                          struct lk_lane **out, lk_error *err);

/* Whether a batch of so many tokens is cut into micro-batches. (lane_run.c) */
bool lk_lane_cuts(const struct lk_lane *lane, int n_tokens);
/* Runs one batch through all parts; where it fails, `out` of one that is not cut is as it was. Sets
 * lane->lost. (lane_run.c) */
lk_status lk_lane_run(struct lk_lane *lane, struct lk_batch *batch, lk_error *err);
/* The threads of a lane of several parts, for batches of up to n_batch tokens of max_seqs
 * sequences. */
lk_status lk_relay_open(struct lk_lane *lane, int n_batch, int max_seqs, int row_width,
                        lk_error *err);
void lk_relay_close(struct lk_lane *lane);

/* Reads or writes one unit of a state of the plan. Sets lane->lost. */
lk_status lk_lane_read(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                       void *data, lk_error *err);
lk_status lk_lane_write(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                        const void *data, lk_error *err);

#endif
