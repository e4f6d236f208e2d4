/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: see lanes.h: makes lanes out of placements, and moves the bytes of states in and out.
 * Running is src/engine/lane_run.c's, which layers go where src/engine/lane_share.c's.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"

enum {
    LEAST_MICRO = 32, /* tokens: fewer leave a device's tiles empty */
    MICRO_BATCHES = 4 /* of a full batch: enough to keep a few parts busy at once */
};

/* ---- parts ---- */

/* Frees what part_prepare made. */
static void part_clear(struct lk_part *part)
{
    if (part->states) {
        part->impl->state_free(part->states);
    }
    if (part->exec) {
        part->impl->exec_free(part->exec);
    }
    lk_plan_free(&part->slice);
    part->states = NULL;
    part->exec = NULL;
}

static void part_free(struct lk_engine *e, struct lk_part *part)
{
    part_clear(part);
    lk_free(part->hidden[0]);
    lk_free(part->hidden[1]);
    if (part->on) {
        lk_opened_put(e, part->on);
    }
    *part = (struct lk_part){0};
}

static int n_micro_of(const struct lk_engine *e)
{
    int n = ((int)e->n_batch + MICRO_BATCHES - 1) / MICRO_BATCHES;
    n = n > LEAST_MICRO ? n : LEAST_MICRO;
    return n < (int)e->n_batch ? n : (int)e->n_batch;
}

struct lk_state_geom lk_geom_of(const struct lk_engine *e, const struct lk_plan *plan)
{
    int per_session = (int)((e->n_ctx + LK_KV_BLOCK - 1) / LK_KV_BLOCK);
    struct lk_state_geom geom = {.plan = plan, .n_blocks = (int)e->n_sessions * per_session};
    if (e->options.cache_tokens) {
        geom.n_blocks = (int)((e->options.cache_tokens - 1) / LK_KV_BLOCK) + 1;
    }
    for (int i = 0; i < plan->n_states; i++) { /* one slot for each session, if any */
        geom.n_slots = lk_state_is_paged(&plan->states[i]) ? geom.n_slots : (int)e->n_sessions;
    }
    return geom;
}

/* Allocates the states of the part's layers, then prepares them: where there is no room for all of
 * it, that shows before weights are packed. */
static lk_status part_prepare(const struct lk_engine *e, struct lk_part *part, lk_error *err)
{
    const struct lk_plan *whole = e->plan;
    int first = part->first_layer, last = part->last_layer;
    bool is_whole = first == 0 && last == whole->n_layer;
    lk_status status = LK_OK;
    if (!is_whole) {
        status = lk_plan_slice(whole, first, last, first == 0, last == whole->n_layer, &part->slice,
                               err);
    }
    struct lk_state_geom geom = lk_geom_of(e, part->slice ? part->slice : whole);
    if (!status) {
        status = part->impl->state_alloc(part->on->backend, &geom, &part->states, err);
    }
    if (!status) {
        struct lk_exec_options eo = {
            .plan = geom.plan,
            .max_tokens = is_whole ? (int)e->n_batch : n_micro_of(e),
            .max_outputs = e->max_outputs,
            .fewer = true,
            .max_seqs = e->max_seqs,
            .max_blocks = (int)((e->n_ctx + LK_KV_BLOCK - 1) / LK_KV_BLOCK),
            .fuse = e->options.fuse,
        };
        status = part->impl->prepare(part->on->backend, &eo, &part->exec, err);
    }
    if (status) {
        part_clear(part);
    }
    return status;
}

/* Opens and prepares a part. With `fewer`: without its first layers, where there is no room for
 * them; part->first_layer says how many those are. */
static lk_status part_open(struct lk_engine *e, const struct lk_place *place, bool fewer,
                           struct lk_part *part, lk_error *err)
{
    *part = (struct lk_part){.impl = place->impl,
                             .first_layer = place->first,
                             .last_layer = place->last};
    lk_status status = lk_opened_get(e, place->impl, &place->device, &part->on, err);
    if (!status) {
        status = part_prepare(e, part, err);
    }
    while (status == LK_E_NOMEM && part->on && fewer && place->last - part->first_layer > 1) {
        part->first_layer++;
        status = part_prepare(e, part, err);
    }
    if (status) {
        part_free(e, part);
    }
    return status;
}

/* ---- a lane under construction ---- */

static bool is_placed(const struct lk_part *part, const struct lk_place *place)
{
    return part->on && lk_opened_is_on(part->on, place->impl, &place->device) &&
           part->first_layer == place->first && part->last_layer == place->last;
}

static void free_parts(struct lk_engine *e, struct lk_lane *lane)
{
    for (int i = 0; i < lane->n_parts; i++) {
        part_free(e, &lane->part[i]);
    }
    lk_free(lane->part);
    lane->part = NULL;
    lane->n_parts = 0;
}

lk_status lk_lane_place(struct lk_engine *e, struct lk_lane *lane, const struct lk_placement *p,
                        bool fewer, struct lk_shortage *s, lk_error *err)
{
    struct lk_part *part = lk_alloc_array((size_t)p->n, sizeof *part);
    *s = (struct lk_shortage){.part = -1};
    if (!part) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a lane of %d parts", p->n);
    }
    for (int i = 0; i < p->n; i++) {
        for (int k = 0; k < lane->n_parts && !part[i].on; k++) {
            if (is_placed(&lane->part[k], &p->parts[i])) {
                part[i] = lane->part[k];
                lane->part[k] = (struct lk_part){0};
            }
        }
    }
    free_parts(e, lane);
    lane->part = part;
    lane->n_parts = p->n;
    lk_status status = LK_OK;
    for (int i = p->n - 1; i >= 0 && !status; i--) {
        const struct lk_place *place = &p->parts[i];
        bool device = place->impl->look;
        if (part[i].on) {
            continue;
        }
        status = part_open(e, place, fewer && device, &part[i], err);
        bool cut = !status && part[i].first_layer > place->first;
        if (cut || (status == LK_E_NOMEM && device)) {
            *s = (struct lk_shortage){i, cut ? place->last - part[i].first_layer : 0};
            status = LK_E_NOMEM;
        } else if (status && p->n > 1) {
            s->part = i;
        }
    }
    return status;
}

static void describe(const struct lk_engine *e, struct lk_lane *lane)
{
    const struct lk_backend_impl *cpu = lk_backend_find("cpu");
    const struct lk_opened *rest = NULL;
    size_t at = 0, n = sizeof lane->describe;
    for (int i = 0; i < lane->n_parts && at < n; i++) {
        const struct lk_opened *on = lane->part[i].on;
        int layers = 0, before = 0;
        for (int k = 0; k < lane->n_parts; k++) { /* each backend once */
            bool same = lane->part[k].on == on;
            before += same && k < i;
            layers += same ? lane->part[k].last_layer - lane->part[k].first_layer : 0;
        }
        if (layers == e->plan->n_layer) {
            snprintf(lane->describe, n, "%s", on->caps.describe);
            return;
        }
        rest = on->impl == cpu ? on : rest;
        if (on->impl != cpu && before == 0) {
            char of[32] = "";
            if (at == 0) {
                snprintf(of, sizeof of, " of %d layers", e->plan->n_layer);
            }
            at += (size_t)snprintf(lane->describe + at, n - at, "%s%d%s on %s", at ? ", " : "",
                                   layers, of, on->caps.describe);
        }
    }
    if (rest && at < n) {
        snprintf(lane->describe + at, n - at, ", the rest on %s", rest->caps.describe);
    }
}

static lk_status copy_placement(struct lk_lane *lane, const struct lk_placement *p, lk_error *err)
{
    lk_status status = lk_placement_init(&lane->placement, p->n, err);
    if (!status) {
        memcpy(lane->placement.parts, p->parts, (size_t)p->n * sizeof *p->parts);
    }
    return status;
}

/* The sizes of batches: the engine's, or what the lane's devices hold of them. */
static void set_sizes(const struct lk_engine *e, struct lk_lane *lane)
{
    int *tokens = lane->n_parts > 1 ? &lane->n_micro : &lane->n_batch;
    lane->n_batch = (int)e->n_batch;
    lane->n_outputs = e->max_outputs;
    lane->n_micro = n_micro_of(e);
    for (int i = 0; i < lane->n_parts; i++) {
        const struct lk_part *part = &lane->part[i];
        if (part->impl->most) {
            struct lk_row_counts most = part->impl->most(part->exec);
            int outputs = most.n[LK_ROWS_OUTPUTS], n = most.n[LK_ROWS_TOKENS];
            *tokens = n < *tokens ? n : *tokens;
            lane->n_outputs = outputs < lane->n_outputs ? outputs : lane->n_outputs;
        }
    }
    if (*tokens < (lane->n_parts > 1 ? n_micro_of(e) : (int)e->n_batch) ||
        lane->n_outputs < e->max_outputs) {
        lk_log_line(&e->log, LK_LOG_INFO,
                    "a device holds %d tokens at once and %d rows of logits: batches are cut to "
                    "that",
                    *tokens, lane->n_outputs);
    }
}

lk_status lk_lane_finish(struct lk_engine *e, struct lk_lane *lane, const struct lk_placement *p,
                         lk_error *err)
{
    struct lk_state_geom geom = lk_geom_of(e, e->plan);
    set_sizes(e, lane);
    size_t floats = (size_t)lane->n_micro * (size_t)e->plan->n_embd;
    for (int i = 0; i + 1 < lane->n_parts; i++) {
        for (int k = 0; k < 2; k++) {
            lane->part[i].hidden[k] = lk_alloc_array(floats, sizeof(float));
            if (!lane->part[i].hidden[k]) {
                return lk_fail(err, LK_E_NOMEM, "out of memory: hidden rows between backends");
            }
        }
    }
    describe(e, lane);
    lk_status status = copy_placement(lane, p, err);
    if (!status) {
        status = lk_state_pool_init(&lane->pool, geom.n_blocks, geom.n_slots, err);
    }
    if (!status && lane->n_parts > 1 && lane->n_micro < (int)e->n_batch) {
        status = lk_relay_open(lane, (int)e->n_batch, e->max_seqs, lk_plan_row_width(e->plan), err);
    }
    return status;
}

void lk_lane_shut(struct lk_engine *e, struct lk_lane *lane)
{
    lk_relay_close(lane);
    free_parts(e, lane);
}

void lk_lane_free(struct lk_engine *e, struct lk_lane *lane)
{
    if (lane) {
        lk_lane_shut(e, lane);
        lk_placement_free(&lane->placement);
        lk_state_pool_free(&lane->pool);
        lk_free(lane->name);
        lk_free(lane);
    }
}

lk_status lk_lane_open(struct lk_engine *e, const struct lk_placement *p, struct lk_lane **out,
                       lk_error *err)
{
    struct lk_shortage s = {.part = -1};
    struct lk_lane *lane = lk_alloc(sizeof *lane);
    if (!lane) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a lane of %d parts", p->n);
    }
    lk_status status = lk_lane_place(e, lane, p, false, &s, err);
    if (status && s.part >= 0 && p->n > 1) {
        const struct lk_place *place = &p->parts[s.part];
        lk_fail_prefix(err, status, "part %d of %d, layers %d to %d", s.part + 1, p->n,
                       place->first, place->last - 1);
    }
    if (!status) {
        status = lk_lane_finish(e, lane, p, err);
    }
    if (status) {
        lk_lane_free(e, lane);
        return status;
    }
    *out = lane;
    return LK_OK;
}

/* ---- states ---- */

/* NULL: the lane is lost. */
static struct lk_part *part_of(struct lk_lane *lane, const struct lk_plan *plan, int state,
                               lk_error *err)
{
    if (lane->lost) {
        lk_fail(err, LK_E_DEVICE_LOST, "%s: a device of it was lost", lane->describe);
        return NULL;
    }
    struct lk_part *part = &lane->part[0];
    while (plan->states[state].layer >= part->last_layer) {
        part++;
    }
    return part;
}

static lk_status note_loss(struct lk_lane *lane, struct lk_part *part, lk_status status)
{
    part->on->lost |= status == LK_E_DEVICE_LOST;
    lane->lost |= status == LK_E_DEVICE_LOST;
    return status;
}

lk_status lk_lane_read(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                       void *data, lk_error *err)
{
    struct lk_part *part = part_of(lane, plan, state, err);
    size_t n = lk_state_unit_bytes(&plan->states[state]);
    if (!part) {
        return LK_E_DEVICE_LOST;
    }
    lk_status status = part->impl->state_read(part->states, state, (size_t)unit * n, data, n, err);
    return note_loss(lane, part, status);
}

lk_status lk_lane_write(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                        const void *data, lk_error *err)
{
    struct lk_part *part = part_of(lane, plan, state, err);
    size_t n = lk_state_unit_bytes(&plan->states[state]);
    if (!part) {
        return LK_E_DEVICE_LOST;
    }
    lk_status status = part->impl->state_write(part->states, state, (size_t)unit * n, data, n, err);
    return note_loss(lane, part, status);
}
