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

/* Opens the devices and asks how fast they are, where there is something to compare; what each may
 * hold is an upper bound, by the bytes of the smallest layer. */
static lk_status sharing_open(struct lk_engine *e, struct sharing *s, lk_error *err)
{
    struct lk_state_geom geom = lk_geom_of(e, e->plan);
    struct lk_layer_sizes sizes = lk_layer_sizes_of(&geom);
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

/* The shares as a placement; parts without layers are left out. part_of: the device of each. */
static lk_status sharing_place(const struct lk_engine *e, const struct sharing *s, int placed,
                               struct lk_placement *p, int *device_of, lk_error *err)
{
    lk_status status = lk_placement_init(p, s->n + 1, err);
    int at = e->plan->n_layer - placed;
    if (status) {
        return status;
    }
    p->n = 0;
    if (at > 0) {
        device_of[p->n] = -1;
        p->parts[p->n++] = (struct lk_place){.impl = lk_backend_find("cpu"), .last = at};
    }
    for (int i = 0; i < s->n; i++) {
        int n = s->shares[i].n_layers;
        if (n > 0) {
            device_of[p->n] = i;
            p->parts[p->n++] = (struct lk_place){.impl = s->impl,
                                                 .device = s->devices[i]->id,
                                                 .first = at,
                                                 .last = at + n};
            at += n;
        }
    }
    return LK_OK;
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
    int *device_of = lk_alloc_array((size_t)s->n + 1, sizeof *device_of);
    lk_status status = device_of ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory: a lane");
    for (bool again = !status; again;) {
        struct lk_placement p = {0};
        struct lk_shortage lack = {.part = -1};
        int placed = lk_share_out(s->shares, s->n, s->want);
        again = false;
        if (placed == 0 || (s->all && placed < s->want)) {
            status = LK_E_NOMEM; /* as the device said that ended it */
            break;
        }
        status = sharing_place(e, s, placed, &p, device_of, err);
        if (!status) {
            status = lk_lane_place(e, lane, &p, s->n > 1 || !s->all, &lack, err);
        }
        if (!status) {
            status = lk_lane_finish(e, lane, &p, err);
            sharing_tell(e, s, placed);
        } else if (status == LK_E_NOMEM && lack.part >= 0 && device_of[lack.part] >= 0) {
            s->shares[device_of[lack.part]].most = lack.held;
            again = true;
        }
        lk_placement_free(&p);
    }
    lk_free(device_of);
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
