/* SPDX-License-Identifier: Apache-2.0
 *
 * Lane_share: a lane on several devices whose layers nobody placed: shared out by speed and memory,
 * tried, and shared out anew where memory ends.
 */
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"

struct sharing {
    const struct lk_backend_impl *impl;
    const struct lk_device *const *devices;
    int n, want;
    bool all;
    int cpu_experts;         /* layers whose experts are on the CPU, the first that have some */
    bool more;               /* may be more, where memory ends */
    struct lk_share *shares; /* [n] */
    struct lk_opened **on;   /* [n]: held open while layers are shared out */
};

static void sharing_free(struct lk_engine *e, struct sharing *s)
{
    for (int i = 0; s->on && i < s->n; i++) {
        if (s->on[i]) {
            lk_opened_put(e, s->on[i]);
        }
    }
    lk_free(s->on);
    lk_free(s->shares);
}

/* Whether a layer has experts that can be apart from the rest of it. */
static bool can_move(const struct lk_plan *plan, int layer)
{
    return lk_plan_has_experts(plan, layer) && lk_plan_has_stages(plan, layer);
}

/* How many such layers there are. */
static int n_expert_layers(const struct lk_plan *plan)
{
    int n = 0;
    for (int i = 0; i < plan->n_layer; i++) {
        n += can_move(plan, i);
    }
    return n;
}

/* How many layers' experts stay on the CPU so that the devices hold all else: an estimate, which
 * leaves them a twelfth of their room for work. */
static int guess_experts(const struct lk_engine *e, const struct sharing *s)
{
    struct lk_state_geom geom = lk_geom_of(e, e->plan);
    int n_layer = e->plan->n_layer, n = 0;
    uint64_t room = 0, want = 0;
    for (int i = 0; i < s->n; i++) {
        room += s->devices[i]->info.available / 12 * 11;
    }
    int first = n_layer - s->want;
    for (int stage = lk_stage_of(first); stage <= lk_stage_of(n_layer); stage++) {
        want += lk_stage_bytes(&geom, stage);
    }
    bool fits = want <= room;
    for (int i = 0; i < n_layer && (i < first || want > room); i++) {
        if (can_move(e->plan, i)) {
            want -= i < first ? 0 : lk_stage_bytes(&geom, lk_stage_of(i) + 1);
            n++;
        }
    }
    return fits ? 0 : n;
}

/* Opens the devices and asks how fast they are, where there is something to compare; what each may
 * hold is an upper bound, by the bytes of the smallest layer. */
static lk_status sharing_open(struct lk_engine *e, struct sharing *s, lk_error *err)
{
    struct lk_state_geom geom = lk_geom_of(e, e->plan);
    struct lk_layer_sizes sizes = lk_layer_sizes_of(&geom, s->cpu_experts == 0);
    int n_layer = e->plan->n_layer;
    uint64_t sum = 0;
    s->shares = lk_alloc_array((size_t)s->n, sizeof *s->shares);
    s->on = lk_alloc_array((size_t)s->n, sizeof(struct lk_opened *));
    if (!s->shares || !s->on) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: layers for %d devices", s->n);
    }
    for (int i = 0; i < s->n; i++) {
        lk_error why;
        struct lk_share *share = &s->shares[i];
        lk_status status = lk_opened_get(e, s->impl, &s->devices[i]->id, &s->on[i], err);
        if (status) {
            return status;
        }
        share->room = s->devices[i]->info.available;
        uint64_t head = i + 1 == s->n ? sizes.head : 0;
        uint64_t most = share->room > head ? (share->room - head) / sizes.least : 0;
        share->most = most < 1 ? 1 : most < (uint64_t)n_layer ? (int)most : n_layer;
        sum += (uint64_t)share->most;
        if (s->n > 1 && s->impl->speed && s->impl->speed(s->on[i]->backend, &share->speed, &why)) {
            share->speed = 0.0;
            lk_log_line(&e->log, LK_LOG_DEBUG, "speed of '%s' is not known: %s",
                        s->devices[i]->info.name, why.message);
        }
    }
    for (int i = 0; i < s->n && s->all && sum < (uint64_t)s->want; i++) {
        s->shares[i].most = n_layer; /* they are asked for: memory itself shall say no */
    }
    return LK_OK;
}

/* The first layer from `at` on that a part can begin with. */
static int next_cut(const struct lk_plan *plan, int at)
{
    while (!lk_plan_may_cut(plan, lk_stage_of(at))) {
        at++;
    }
    return at;
}

/* Moves the ends of shares to where the plan can be cut; how many layers are left on devices. */
static int sharing_cut(const struct lk_plan *plan, struct sharing *s, int placed)
{
    int raw = plan->n_layer - placed, first = next_cut(plan, raw), at = first;
    for (int i = 0; i < s->n; i++) {
        raw += s->shares[i].n_layers;
        int end = next_cut(plan, raw);
        s->shares[i].n_layers = end - at;
        at = end;
    }
    return plan->n_layer - first;
}

/* The shares as a placement; parts without layers are left out. part_of: the device of each. */
static lk_status sharing_place(const struct lk_engine *e, struct sharing *s, int *n_placed,
                               struct lk_placement *p, lk_error *err)
{
    int placed = sharing_cut(e->plan, s, *n_placed);
    if (s->all && placed < *n_placed) {
        return lk_fail(err, LK_E_INVALID,
                       "%d layers on devices: layers that read K and V of others must be with "
                       "them; expected %d, or %d",
                       *n_placed, placed, e->plan->n_layer);
    }
    lk_status status = lk_placement_init(p, s->n + 1, err);
    int at = e->plan->n_layer - placed;
    *n_placed = placed;
    if (status) {
        return status;
    }
    p->n = 0;
    if (at > 0) {
        p->parts[p->n++] =
            (struct lk_place){.impl = lk_backend_find("cpu"), .last = lk_stage_of(at)};
    }
    for (int i = 0; i < s->n; i++) {
        int n = s->shares[i].n_layers;
        if (n > 0) {
            p->parts[p->n++] = (struct lk_place){.impl = s->impl,
                                                 .device = s->devices[i]->id,
                                                 .first = lk_stage_of(at),
                                                 .last = lk_stage_of(at + n)};
            at += n;
        }
    }
    int moved = 0;
    for (int i = 0; i < e->plan->n_layer && moved < s->cpu_experts && !status; i++) {
        if (can_move(e->plan, i)) {
            status = lk_placement_move_ffn(p, i, i + 1, lk_backend_find("cpu"), err);
            moved++;
        }
    }
    return status;
}

/* Which of the devices a part of a placement is on; -1: none. */
static int device_of(const struct sharing *s, const struct lk_place *place)
{
    for (int i = 0; i < s->n; i++) {
        if (place->impl == s->impl && lk_device_same(&place->device, &s->devices[i]->id)) {
            return i;
        }
    }
    return -1;
}

/* Where memory ended: what is tried next. False: nothing. */
static bool sharing_lower(const struct lk_engine *e, struct sharing *s,
                          const struct lk_placement *p, const struct lk_shortage *lack)
{
    int i = lack->part >= 0 ? device_of(s, &p->parts[lack->part]) : -1;
    if (i < 0) {
        return false;
    }
    struct lk_share *share = &s->shares[i];
    if (s->more && s->cpu_experts < n_expert_layers(e->plan)) {
        s->cpu_experts += 1 + e->plan->n_layer / 16;
    } else {
        share->most = s->cpu_experts > 0 ? share->n_layers - 1 : lack->held;
    }
    return true;
}

static void sharing_tell(const struct lk_engine *e, const struct sharing *s, int placed)
{
    bool timed = true;
    for (int i = 0; i < s->n; i++) {
        timed &= s->shares[i].speed > 0.0;
    }
    for (int i = 0; i < s->n && s->n > 1; i++) {
        const struct lk_share *share = &s->shares[i];
        bool full = share->n_layers == share->most && share->most < e->plan->n_layer;
        lk_log_line(&e->log, LK_LOG_INFO, "%d layers on '%s': %s%s, %.1f %s", share->n_layers,
                    s->devices[i]->info.name, full ? "as many as it holds; " : "",
                    timed ? "by the speed of its memory" : "by its free memory",
                    (timed ? share->speed : (double)share->room) * 1e-9, timed ? "GB/s" : "GB");
    }
    if (s->cpu_experts > 0 && s->more && placed == s->want) {
        lk_log_line(&e->log, LK_LOG_INFO,
                    "device memory holds all but the experts of %d layers, which run on the CPU",
                    s->cpu_experts);
    }
    if (placed < s->want) {
        lk_log_line(&e->log, LK_LOG_WARN,
                    "device memory holds %d of %d layers; the rest run on the CPU", placed,
                    e->plan->n_layer);
    }
}

/* Tries shares until the devices hold them. */
static lk_status sharing_fill(struct lk_engine *e, struct sharing *s, struct lk_lane *lane,
                              lk_error *err)
{
    lk_status status = LK_OK;
    for (bool again = true; again;) {
        struct lk_placement p = {0};
        struct lk_shortage lack = {.part = -1};
        int placed = lk_share_out(s->shares, s->n, s->want);
        again = false;
        if (placed == 0 || (s->all && placed < s->want)) {
            status = LK_E_NOMEM; /* as the device said that ended it */
            break;
        }
        status = sharing_place(e, s, &placed, &p, err);
        if (!status) {
            status = lk_lane_place(e, lane, &p, s->n > 1 || !s->all, &lack, err);
        }
        if (!status) {
            status = lk_lane_finish(e, lane, &p, err);
            sharing_tell(e, s, placed);
        } else if (status == LK_E_NOMEM) {
            again = sharing_lower(e, s, &p, &lack);
        }
        lk_placement_free(&p);
    }
    return status;
}

lk_status lk_lane_open_on(struct lk_engine *e, const struct lk_backend_impl *impl,
                          const struct lk_device *const *devices, int n_devices, int want, bool all,
                          struct lk_lane **out, lk_error *err)
{
    struct sharing s = {.impl = impl, .devices = devices, .n = n_devices, .want = want, .all = all};
    struct lk_lane *lane = lk_alloc(sizeof *lane);
    lk_status status = lane ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory: a lane");
    if (!status) {
        int has = n_expert_layers(e->plan), asked = e->options.cpu_experts;
        s.more = asked == LK_CPU_EXPERTS_AUTO;
        s.cpu_experts = s.more ? guess_experts(e, &s) : asked < has ? asked : has;
        if (asked > 0 && has == 0) {
            lk_log_line(&e->log, LK_LOG_WARN,
                        "cpu_experts is ignored: no layer of this model has experts that can be "
                        "apart from the rest of it");
        }
        status = sharing_open(e, &s, err);
    }
    if (!status) {
        status = sharing_fill(e, &s, lane, err);
    }
    sharing_free(e, &s);
    if (status) {
        lk_lane_free(e, lane);
        return status;
    }
    *out = lane;
    return LK_OK;
}
