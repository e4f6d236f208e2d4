/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_run: a check under way: what check.c (sides, order, verdict), check_layers.c
 * (layers, levels), check_reference.c (reference, depths), check_whole.c (whole sessions) and
 * check_find.c (the search for the first wrong op) share.
 */
#ifndef LK_CHECK_RUN_H
#define LK_CHECK_RUN_H

#include "check/check_unit.h"

struct lk_check_run {
    const lk_model *model;
    const struct lk_plan *plan;
    const struct lk_plan *device_plan; /* what the subject is given: the plan itself */
    lk_engine_options engine;
    lk_check_options options;
    struct lk_device device; /* of the subject, where it is one */
    struct lk_backend_options backend_options;
    struct lk_log log;
    lk_check_report *report;
    size_t cap_entries, cap_columns, cap_kernels;
    int fused_column; /* of the grid: the layer with its ops fused */

    struct lk_feeds feeds, short_feeds;        /* short: the first tokens, for the levels */
    struct lk_side subject, base, scalar, ref; /* scalar, ref: opened when first needed */
    bool has_vulkan;
    bool again;   /* all layers in full, since only the whole differs */
    bool *new_op; /* [n_ops of the plan]: first of its kind and shape */
    void **lent;  /* [states of the plan]: K and V of layers that others attend to, of the prompt */
    float *hidden; /* [n_layer + 1][n_tokens][n_embd]: the base's rows before each layer and the
                      head */
    float *x, *y;  /* two slots, or caches */
    double *z;     /* a slot in double */
    float *rows;   /* [n_tokens][n_vocab] of the base, for whole sessions; NULL before */
    uint64_t done, total;

    /* The first thing seen that differs. */
    struct lk_found {
        bool is;
        const struct lk_side *side, *against;
        const struct lk_feeds *feeds;
        struct lk_unit_spec spec;
        enum lk_feed_kind feed;
        int op;            /* of the slice; -1: only its result is known to differ */
        char message[256]; /* the side gave an error */
    } found;
};

/* Adds a line; NULL when memory ran out. Valid until the next one. */
lk_check_entry *lk_check_add(struct lk_check_run *c, const char *what, lk_error *err);
/* A step of progress; LK_E_CANCELLED when the caller says stop. */
lk_status lk_check_step(struct lk_check_run *c, lk_error *err);
/* Rows of the prompt before a layer (n_layer: before the head); NULL for the embedding. */
const float *lk_check_hidden(const struct lk_check_run *c, int layer);
/* Whether --only lets an op of a unit take part. */
bool lk_check_wants(const struct lk_check_run *c, const struct lk_plan *plan,
                    const struct lk_op *op);
/* Index of the column of op i of a unit's slice; -1: no memory. */
int lk_check_column(struct lk_check_run *c, const struct lk_plan *slice, int i, lk_error *err);
lk_status lk_check_scalar(struct lk_check_run *c, lk_error *err); /* opens c->scalar */
/* What op i wrote in a unit that keeps its ops, KV_STORE: the states, into c->x or c->y. */
lk_status lk_check_output(struct lk_unit *u, const struct lk_feeds *f, enum lk_feed_kind kind,
                          int op, float *out, size_t *n, lk_error *err);

/* Adds a line with figures. */
lk_status lk_check_put(struct lk_check_run *c, const lk_check_entry *e, const char *what,
                       const char *how, lk_error *err);
/* The worse of two. */
void lk_check_worsen(lk_check_state *state, lk_check_state now);
/* Root mean square of x - y over that of y. */
double lk_check_distance(const float *x, const float *y, size_t n);
/* What an approximate device may differ by in an op; `clean`: nothing before it differs. */
double lk_check_slack(const struct lk_plan *plan, const struct lk_op *op, bool clean);
/* Counts n floats of c->x and c->y into e; the state of this comparison. slack: what
 * an approximate device may differ by. */
lk_check_state lk_check_judge(struct lk_check_run *c, const struct lk_side *subject, size_t n,
                              double slack, lk_check_entry *e);

/* check_layers.c: every unit on the subject and on the base, the same rows given to both; the
 * levels of this CPU. */
lk_status lk_check_layers(struct lk_check_run *c, lk_error *err);
lk_status lk_check_levels(struct lk_check_run *c, lk_error *err);
/* Whether an op of a slice is, in the model, the first of its kind and shape. */
bool lk_check_is_new_op(const struct lk_check_run *c, const struct lk_op *op);
/* Whether a unit has an op of a new kind or shape. */
bool lk_check_is_new(const struct lk_check_run *c, int layer);

/* check_reference.c: the new ops of a unit that has just run a feed, before which its recurrent
 * states were `before`, or NULL; the depths. */
lk_status lk_check_reference_ops(struct lk_check_run *c, struct lk_unit *base,
                                 enum lk_feed_kind feed, void *before, lk_error *err);
lk_status lk_check_depths(struct lk_check_run *c, lk_error *err);
uint64_t lk_check_depth_steps(const struct lk_check_run *c);
/* How far an approximate device may be from the base after so many layers. */
double lk_check_depth_slack(const struct lk_check_run *c, int depth);
/* Whole sessions (check_whole.c). */
lk_status lk_check_whole(struct lk_check_run *c, lk_error *err);
uint64_t lk_check_whole_steps(const struct lk_check_run *c);
/* From c->found to the report's difference (check_find.c). */
lk_status lk_check_find(struct lk_check_run *c, lk_error *err);

/* The check of lk_check; device_plan NULL: the model's own, else what the subject's device is given
 * (a test's copy with a damaged weight). */
lk_status lk_check_with(const lk_model *model, const lk_engine_options *engine,
                        const lk_check_options *options, const struct lk_plan *device_plan,
                        lk_check_report **out, lk_error *err);

#endif
