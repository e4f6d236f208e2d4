/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: see lanes.h: makes lanes out of placements, and moves the bytes of states in and out.
 * Running is src/engine/lane_run.c's, which layers go where src/engine/lane_share.c's.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"

enum {
    LEAST_MICRO = 32 /* tokens: fewer leave a device's tiles empty */
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

/* Whether several devices share all layers: none of them waits for a CPU. */
static bool on_devices(const struct lk_placement *p)
{
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        n += p->parts[i].impl->look != NULL;
    }
    return n > 1 && n == p->n;
}

/* Tokens of a micro-batch: what a device alone takes at once where there are devices alone, since
 * fewer leave their tiles empty; else a piece of that, so that a prompt of one batch overlaps. */
static int n_micro_of(const struct lk_engine *e, const struct lk_placement *p)
{
    int n = ((int)e->n_batch + LK_MICRO_BATCHES - 1) / LK_MICRO_BATCHES;
    if (e->plan->whole || on_devices(p)) {
        return (int)e->n_batch;
    }
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

/* Tokens of a step for a device that has all layers and memory to spare, where nobody asked for a
 * number: large tiles fill it better. */
static int spare_tokens(const struct lk_engine *e)
{
    uint32_t n = LK_MICRO_BATCHES * e->n_batch;
    if (e->options.n_batch || e->plan->whole) {
        return 0;
    }
    return (int)(n < e->n_ctx ? n : e->n_ctx);
}

/* Allocates the states of the part's layers, then prepares them: where there is no room for all of
 * it, that shows before weights are packed. */
static lk_status part_prepare(const struct lk_engine *e, int n_micro, struct lk_part *part,
                              lk_error *err)
{
    const struct lk_plan *whole = e->plan;
    int first = part->first_stage, last = part->last_stage, end = lk_stage_of(whole->n_layer);
    bool is_whole = first == 0 && last == end && part->head;
    lk_status status;
    if (!lk_plan_may_cut(whole, first)) {
        return lk_fail(err, LK_E_INVALID,
                       "a part that begins with layer %d: layers from there on read K and V of "
                       "layers before it, which must be in one part with them",
                       first / 2);
    }
    status = lk_plan_slice(whole, first, last, first == 0, part->head, &part->slice, err);
    status = status ? status : lk_plan_gather_early(part->slice, err);
    struct lk_state_geom geom = {0};
    if (!status) {
        geom = lk_geom_of(e, part->slice);
        status = part->impl->state_alloc(part->on->backend, &geom, &part->states, err);
    }
    if (!status) {
        struct lk_exec_options eo = {
            .plan = geom.plan,
            .max_tokens = is_whole ? (int)e->n_batch : n_micro,
            .max_outputs = e->max_outputs,
            .fewer = true,
            .spare_tokens = is_whole ? spare_tokens(e) : 0,
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
 * them; part->first_stage says how many those are. */
static lk_status part_open(struct lk_engine *e, const struct lk_place *place, bool head, bool fewer,
                           int n_micro, struct lk_part *part, lk_error *err)
{
    *part = (struct lk_part){.impl = place->impl,
                             .first_stage = place->first,
                             .last_stage = place->last,
                             .head = head};
    lk_status status = lk_opened_get(e, place->impl, &place->device, &part->on, err);
    if (!status) {
        status = part_prepare(e, n_micro, part, err);
    }
    while (status == LK_E_NOMEM && part->on && fewer && place->last - part->first_stage > 2) {
        do {
            part->first_stage += 2;
        } while (!lk_plan_may_cut(e->plan, part->first_stage));
        status = part->first_stage < place->last ? part_prepare(e, n_micro, part, err) : LK_E_NOMEM;
    }
    if (status) {
        part_free(e, part);
    }
    return status;
}

/* ---- a lane under construction ---- */

static bool is_placed(const struct lk_part *part, const struct lk_place *place, bool head)
{
    return part->on && part->head == head &&
           lk_opened_is_on(part->on, place->impl, &place->device) &&
           part->first_stage == place->first && part->last_stage == place->last;
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
            if (is_placed(&lane->part[k], &p->parts[i], i + 1 == p->n)) {
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
        status =
            part_open(e, place, i + 1 == p->n, fewer && device, n_micro_of(e, p), &part[i], err);
        bool cut = !status && part[i].first_stage > place->first;
        if (cut || (status == LK_E_NOMEM && device)) {
            *s = (struct lk_shortage){i, cut ? (place->last - part[i].first_stage) / 2 : 0};
            status = LK_E_NOMEM;
        } else if (status && p->n > 1) {
            s->part = i;
        }
    }
    return status;
}

/* Layers whose first stage is on a backend. */
static int layers_on(const struct lk_lane *lane, const struct lk_opened *on)
{
    int layers = 0;
    for (int i = 0; i < lane->n_parts; i++) {
        const struct lk_part *part = &lane->part[i];
        layers += part->on == on ? (part->last_stage + 1) / 2 - (part->first_stage + 1) / 2 : 0;
    }
    return layers;
}

/* Layers whose second stage was moved away from the first, and to where. */
static int moved_stages(const struct lk_lane *lane, const struct lk_opened **to)
{
    int n = 0;
    for (int i = 0; i < lane->n_parts; i++) {
        bool moved = lane->part[i].first_stage % 2 == 1;
        *to = moved ? lane->part[i].on : *to;
        n += moved;
    }
    return n;
}

/* Appends text, as much as there is room for. */
__attribute__((format(printf, 2, 3))) static void add_text(struct lk_lane *lane, const char *format,
                                                           ...)
{
    size_t n = strlen(lane->describe);
    va_list args;
    va_start(args, format);
    vsnprintf(lane->describe + n, sizeof lane->describe - n, format, args);
    va_end(args);
}

static void describe(const struct lk_engine *e, struct lk_lane *lane)
{
    const struct lk_backend_impl *cpu = lk_backend_find("cpu");
    const struct lk_opened *rest = NULL, *to = NULL;
    int n_layer = e->plan->n_layer, moved = moved_stages(lane, &to);
    lane->describe[0] = 0;
    for (int i = 0; i < lane->n_parts; i++) {
        const struct lk_opened *on = lane->part[i].on;
        int layers = layers_on(lane, on);
        bool before = false;
        for (int k = 0; k < i; k++) { /* each backend once */
            before |= lane->part[k].on == on;
        }
        if (before || layers == 0) {
            continue;
        }
        if (layers == n_layer) {
            add_text(lane, "%s", on->caps.describe);
        } else if (on->impl == cpu) {
            rest = on;
        } else if (lane->describe[0] == 0) {
            add_text(lane, "%d of %d layers on %s", layers, n_layer, on->caps.describe);
        } else {
            add_text(lane, ", %d on %s", layers, on->caps.describe);
        }
    }
    if (rest) {
        add_text(lane, ", the rest on %s", rest->caps.describe);
    }
    if (moved) {
        add_text(lane, ", %s of %d layer%s on %s", e->plan->n_routed ? "experts" : "feed-forward",
                 moved, moved == 1 ? "" : "s", to->caps.describe);
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

/* The sizes of batches: the engine's, or what the lane's devices hold of them; one that is alone
 * may take more. */
static void set_sizes(const struct lk_engine *e, const struct lk_placement *p, struct lk_lane *lane)
{
    int *tokens = lane->n_parts > 1 ? &lane->n_micro : &lane->n_batch;
    lane->n_batch = (int)e->n_batch;
    lane->n_batch *= on_devices(p) && !e->plan->whole ? LK_MICRO_BATCHES : 1;
    lane->n_outputs = e->max_outputs;
    lane->n_micro = n_micro_of(e, p);
    int wanted = *tokens;
    for (int i = 0; i < lane->n_parts; i++) {
        const struct lk_part *part = &lane->part[i];
        if (part->impl->most) {
            struct lk_row_counts most = part->impl->most(part->exec);
            int outputs = most.n[LK_ROWS_OUTPUTS], n = most.n[LK_ROWS_TOKENS];
            *tokens = n < *tokens || lane->n_parts == 1 ? n : *tokens;
            lane->n_outputs = outputs < lane->n_outputs ? outputs : lane->n_outputs;
        }
    }
    if (e->plan->whole && lane->n_micro < lane->n_batch) { /* no text is cut */
        lane->n_batch = lane->n_micro;
    }
    if (*tokens < wanted || lane->n_outputs < e->max_outputs) {
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
    set_sizes(e, p, lane);
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
    if (!status && lane->n_parts > 1 && lane->n_micro < lane->n_batch) {
        status = lk_relay_open(lane, lane->n_batch, e->max_seqs, lk_plan_row_width(e->plan), err);
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
                       place->first / 2, (place->last - 1) / 2);
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
    while (lk_stage_of(plan->states[state].layer) >= part->last_stage) {
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
