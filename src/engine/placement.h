/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: where each layer of a model runs, as a value: a list of backends, devices and stages
 * of layers (lk_stage_of). Reads one from text, tells one as text, and decides how many layers each
 * of several devices gets. Opens no device and knows no lane.
 */
#ifndef LK_PLACEMENT_H
#define LK_PLACEMENT_H

#include "backend/device_list.h"

/* Stages [first, last) of the model on one device. The first part of a placement has the embedding
 * too, the last one the head; that alone where first is last. */
struct lk_place {
    const struct lk_backend_impl *impl;
    struct lk_device_id device; /* zero for a backend that is no device's */
    int first, last;
};
struct lk_placement {
    struct lk_place *parts; /* owned, [n] */
    int n;
};
/* Room for n parts, all zero. */
lk_status lk_placement_init(struct lk_placement *p, int n, lk_error *err);
void lk_placement_free(struct lk_placement *p);
bool lk_place_same(const struct lk_place *a, const struct lk_place *b);
bool lk_placement_same(const struct lk_placement *a, const struct lk_placement *b);

/* Gives the Vulkan devices that there are; called where a text names one. */
typedef lk_status (*lk_list_devices)(void *user, const struct lk_device_list **out, lk_error *err);

/* Whether a text is a placement, and not the name of a backend. */
bool lk_placement_is(const char *text);
/* Reads the text of lk_engine_options.placement for a model of n_layer layers. Errors name the part
 * by its number and text. */
lk_status lk_placement_parse(const char *text, int n_layer, lk_list_devices devices, void *user,
                             struct lk_placement *out, lk_error *err);
/* The same as text, lk_alloc'd; devices by their numbers in the list. NULL: no memory. */
char *lk_placement_text(const struct lk_placement *p, const struct lk_device_list *devices);
/* The placement with the backend `impl` instead of each part that `is_gone`; neighbours on it
 * become one part. */
lk_status lk_placement_without(const struct lk_placement *p, const bool *is_gone,
                               const struct lk_backend_impl *impl, struct lk_placement *out,
                               lk_error *err);

/* Moves the second stages of layers [first, last) to a backend that is no device's; those that are
 * there already stay. The head stays where it was. */
lk_status lk_placement_move_ffn(struct lk_placement *p, int first, int last,
                                const struct lk_backend_impl *impl, lk_error *err);

/* ---- layers shared out among devices ---- */

struct lk_share {
    double speed;  /* of reading its memory, in bytes per second; 0: not known */
    uint64_t room; /* bytes of memory that it has free */
    int most;      /* layers that it holds at most */
    int n_layers;  /* filled: its share */
};
/* Shares `want` layers out in proportion to speed (to room, where the speed of one is not known),
 * so that all devices need the same time for a batch; none gets more than its most. Returns how
 * many are shared out. */
int lk_share_out(struct lk_share *shares, int n, int want);

/* What a plan's layers take of a device's memory, at least: of weights and states. Without
 * `with_experts` second stages that have experts are left out. */
struct lk_layer_sizes {
    uint64_t least; /* the smallest layer */
    uint64_t head;
};
struct lk_layer_sizes lk_layer_sizes_of(const struct lk_state_geom *geom, bool with_experts);
/* Bytes of weights and states that a stage takes, or the head, at least. */
uint64_t lk_stage_bytes(const struct lk_state_geom *geom, int stage);

#endif
