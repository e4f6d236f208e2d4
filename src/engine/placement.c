/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: see placement.h.
 */
#include "engine/placement.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

lk_status lk_placement_init(struct lk_placement *p, int n, lk_error *err)
{
    *p = (struct lk_placement){.parts = lk_alloc_array((size_t)n, sizeof *p->parts), .n = n};
    return p->parts ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory: a placement of %d parts", n);
}

void lk_placement_free(struct lk_placement *p)
{
    lk_free(p->parts);
    *p = (struct lk_placement){0};
}

bool lk_place_same(const struct lk_place *a, const struct lk_place *b)
{
    return a->impl == b->impl && lk_device_same(&a->device, &b->device) && a->first == b->first &&
           a->last == b->last;
}

bool lk_placement_same(const struct lk_placement *a, const struct lk_placement *b)
{
    bool same = a->n == b->n;
    for (int i = 0; i < a->n && same; i++) {
        same = lk_place_same(&a->parts[i], &b->parts[i]);
    }
    return same;
}

lk_status lk_placement_move_ffn(struct lk_placement *p, int first, int last,
                                const struct lk_backend_impl *impl, lk_error *err)
{
    struct lk_placement old = *p;
    int end = old.n ? old.parts[old.n - 1].last : 0;
    lk_status status = lk_placement_init(p, old.n + 2 * (last - first), err);
    if (status) {
        *p = old;
        return status;
    }
    p->n = 0;
    for (int i = 0; i < old.n; i++) {
        struct lk_place place = old.parts[i];
        for (int layer = first; layer < last && place.impl != impl; layer++) {
            int ffn = lk_stage_of(layer) + 1;
            if (ffn < place.first || ffn >= place.last) {
                continue;
            }
            if (ffn > place.first) {
                struct lk_place *before = &p->parts[p->n++];
                *before = place;
                before->last = ffn;
            }
            p->parts[p->n++] = (struct lk_place){.impl = impl, .first = ffn, .last = ffn + 1};
            place.first = ffn + 1;
        }
        if (place.first < place.last || place.last == end) {
            p->parts[p->n++] = place;
        }
    }
    lk_placement_free(&old);
    return LK_OK;
}

lk_status lk_placement_without(const struct lk_placement *p, const bool *is_gone,
                               const struct lk_backend_impl *impl, struct lk_placement *out,
                               lk_error *err)
{
    lk_status status = lk_placement_init(out, p->n, err);
    if (status) {
        return status;
    }
    out->n = 0;
    for (int i = 0; i < p->n; i++) {
        struct lk_place place = p->parts[i];
        if (is_gone[i]) {
            place.impl = impl;
            place.device = (struct lk_device_id){0};
        }
        struct lk_place *before = out->n ? &out->parts[out->n - 1] : NULL;
        if (before && before->impl == impl && place.impl == impl && before->first % 2 == 0) {
            before->last = place.last;
        } else {
            out->parts[out->n++] = place;
        }
    }
    return LK_OK;
}

/* ---- text ---- */

bool lk_placement_is(const char *text)
{
    return strchr(text, ':') != NULL;
}

/* Digits at *p, which moves past them; -1: there are none, or too many. */
static int read_number(const char **p)
{
    int n = 0, digits = 0;
    for (; isdigit((unsigned char)**p); (*p)++) {
        n = digits++ < 8 ? 10 * n + (**p - '0') : n;
    }
    return digits >= 1 && digits <= 8 ? n : -1;
}

struct part_text {
    const char *at;
    size_t n, n_head; /* of all of it; of what is before the colon of its layers */
    int first, last;  /* layers [first, last] as it says */
};

/* The part that begins at `at`: up to the first colon that is followed by layers and an end. False
 * when there is none; then n goes to the next comma. */
static bool cut_part(const char *at, struct part_text *t)
{
    *t = (struct part_text){.at = at, .n = strcspn(at, ",")};
    for (const char *colon = strchr(at, ':'); colon; colon = strchr(colon + 1, ':')) {
        const char *p = colon + 1;
        t->first = t->last = read_number(&p);
        if (t->first >= 0 && *p == '-') {
            p++;
            t->last = read_number(&p);
        }
        p += strspn(p, " ");
        if (t->first >= 0 && t->last >= 0 && (*p == 0 || *p == ',')) {
            t->n_head = (size_t)(colon - at);
            t->n = (size_t)(p - at);
            return true;
        }
    }
    return false;
}

/* The device named by `text` ("": the one that "auto" takes). */
static lk_status read_device(const char *text, lk_list_devices devices, void *user,
                             struct lk_device_id *out, lk_error *err)
{
    const struct lk_device_list *list;
    lk_status status = devices(user, &list, err);
    if (status) {
        return status;
    }
    int *index = lk_alloc_array(list->n + 1, sizeof *index), n = 1;
    if (!index) {
        return lk_fail(err, LK_E_NOMEM, "out of memory listing devices");
    }
    if (*text) {
        status = lk_device_resolve(list, text, index, &n, err);
    } else {
        index[0] = lk_device_choose(list, err);
        status = index[0] < 0 ? LK_E_DEVICE : LK_OK;
    }
    if (!status && n > 1) {
        status = lk_fail(err, LK_E_DEVICE, "device '%s': names %d devices, expected one", text, n);
    }
    if (!status) {
        *out = list->items[index[0]].id;
    }
    lk_free(index);
    return status;
}

/* Whether a part says which feed-forwards run on the CPU, wherever their layers are. */
static bool is_ffn(const struct part_text *t)
{
    size_t spaces = strspn(t->at, " ");
    return t->n_head >= spaces + 3 && memcmp(t->at + spaces, "ffn", 3) == 0 &&
           strspn(t->at + spaces + 3, " ") == t->n_head - spaces - 3;
}

static lk_status read_ffn(const struct part_text *t, int expected, int n_layer,
                          struct lk_placement *p, lk_error *err)
{
    if (expected != n_layer) {
        return lk_fail(err, LK_E_INVALID, "comes before layer %d has a place", expected);
    }
    if (t->last < t->first || t->last >= n_layer) {
        return lk_fail(err, LK_E_INVALID, "ends with layer %d, expected %d to %d", t->last,
                       t->first < n_layer ? t->first : 0, n_layer - 1);
    }
    return lk_placement_move_ffn(p, t->first, t->last + 1, lk_backend_find("cpu"), err);
}

static lk_status read_part(const struct part_text *t, int expected, int n_layer,
                           lk_list_devices devices, void *user, struct lk_place *out, lk_error *err)
{
    char head[300];
    if (t->n_head == 0 || t->n_head >= sizeof head) {
        return lk_fail(err, LK_E_INVALID, "expected BACKEND[ DEVICE]:FIRST[-LAST]");
    }
    memcpy(head, t->at, t->n_head);
    head[t->n_head] = 0;
    char *name = head + strspn(head, " "), *device = name + strcspn(name, " ");
    if (*device) {
        *device++ = 0;
        device += strspn(device, " ");
    }
    for (size_t n = strlen(device); n > 0 && device[n - 1] == ' '; n--) {
        device[n - 1] = 0;
    }
    out->impl = lk_backend_find(name);
    out->first = lk_stage_of(t->first);
    out->last = lk_stage_of(t->last + 1);
    if (!out->impl) {
        return lk_fail(err, LK_E_INVALID,
                       "backend '%s': not one of vulkan (if built in), cpu, scalar, ref", name);
    }
    if (*device && !out->impl->look) {
        return lk_fail(err, LK_E_INVALID, "device '%s': backend '%s' has none to name", device,
                       name);
    }
    if (t->first != expected) {
        return lk_fail(err, LK_E_INVALID, "begins with layer %d, expected %d", t->first, expected);
    }
    if (t->last < t->first || t->last >= n_layer) {
        return lk_fail(err, LK_E_INVALID, "ends with layer %d, expected %d to %d", t->last,
                       t->first, n_layer - 1);
    }
    return out->impl->look ? read_device(device, devices, user, &out->device, err) : LK_OK;
}

lk_status lk_placement_parse(const char *text, int n_layer, lk_list_devices devices, void *user,
                             struct lk_placement *out, lk_error *err)
{
    int most = 1, expected = 0, number = 0;
    for (const char *p = text; *p; p++) {
        most += *p == ',';
    }
    lk_status status = lk_placement_init(out, most, err);
    out->n = 0;
    for (const char *p = text; p && !status;) {
        struct part_text t;
        number++;
        if (cut_part(p, &t) && is_ffn(&t)) {
            status = read_ffn(&t, expected, n_layer, out, err);
        } else {
            struct lk_place place = {0};
            status = read_part(&t, expected, n_layer, devices, user, &place, err);
            if (!status) {
                out->parts[out->n++] = place;
                expected = t.last + 1;
            }
        }
        if (status) {
            lk_fail_prefix(err, status, "placement: part %d '%.*s'", number,
                           (int)(t.n < 200 ? t.n : 200), p);
        }
        p = p[t.n] ? p + t.n + 1 : NULL;
    }
    if (!status && expected != n_layer) {
        status = lk_fail(err, LK_E_INVALID, "placement: ends with layer %d, the model has 0 to %d",
                         expected - 1, n_layer - 1);
    }
    if (status) {
        lk_placement_free(out);
    }
    return status;
}

/* Text that grows; NULL after a failure. */
struct text {
    char *at;
    size_t n, cap;
};

static void say(struct text *t, const char *head, const char *device, int first, int last)
{
    enum { PART = 64 };
    lk_error err;
    if (t->n + PART > t->cap && lk_grow(&t->at, &t->cap, t->n + PART, 1, &err)) {
        lk_free(t->at);
        *t = (struct text){0};
        return;
    }
    t->n += (size_t)snprintf(t->at + t->n, PART, "%s%.16s%s:%d-%d", t->n ? "," : "", head, device,
                             first, last);
}

/* A part that begins with the second stage of a layer, on no device, was moved out of the part
 * before it, which goes on behind it. */
static bool is_moved(const struct lk_place *place)
{
    return place->first % 2 == 1 && place->last == place->first + 1 && !place->impl->look;
}

static bool goes_on(const struct lk_placement *p, int i)
{
    return i + 1 < p->n &&
           (is_moved(&p->parts[i + 1]) ||
            (is_moved(&p->parts[i]) && p->parts[i + 1].impl == p->parts[i - 1].impl &&
             lk_device_same(&p->parts[i + 1].device, &p->parts[i - 1].device)));
}

char *lk_placement_text(const struct lk_placement *p, const struct lk_device_list *devices)
{
    struct text t = {0};
    for (int i = 0; i < p->n; i++) {
        const struct lk_place *place = &p->parts[i];
        char device[24] = "";
        for (size_t k = 0; place->impl->look && k < devices->n; k++) {
            if (lk_device_same(&devices->items[k].id, &place->device)) {
                snprintf(device, sizeof device, " %zu", k);
            }
        }
        while (goes_on(p, i)) {
            i++;
        }
        say(&t, place->impl->name, device, place->first / 2, (p->parts[i].last - 1) / 2);
    }
    for (int i = 0; i < p->n; i++) {
        int first = p->parts[i].first / 2, last = first;
        if (!is_moved(&p->parts[i])) {
            continue;
        }
        while (i + 2 < p->n && is_moved(&p->parts[i + 2]) &&
               p->parts[i + 2].first / 2 == last + 1) {
            last++;
            i += 2;
        }
        say(&t, "ffn", "", first, last);
    }
    return t.at;
}

/* ---- layers shared out among devices ---- */

int lk_share_out(struct lk_share *shares, int n, int want)
{
    bool timed = true;
    for (int i = 0; i < n; i++) {
        shares[i].n_layers = 0;
        timed &= shares[i].speed > 0.0;
    }
    /* Each layer goes where it is done first: so the last one to be done is done early. */
    for (int placed = 0; placed < want; placed++) {
        int best = -1;
        double when = 0.0;
        for (int i = 0; i < n; i++) {
            struct lk_share *s = &shares[i];
            double speed = timed ? s->speed : (double)s->room + 1.0;
            double then = (s->n_layers + 1) / speed;
            if (s->n_layers < s->most && (best < 0 || then < when)) {
                best = i;
                when = then;
            }
        }
        if (best < 0) {
            return placed;
        }
        shares[best].n_layers++;
    }
    return want;
}

uint64_t lk_stage_bytes(const struct lk_state_geom *geom, int stage)
{
    const struct lk_plan *plan = geom->plan;
    uint64_t bytes = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        bool is_here = lk_op_stage(op) == stage;
        bytes += is_here && op->weight >= 0 ? plan->weights[op->weight].n_bytes : 0;
    }
    for (int i = 0; i < plan->n_states; i++) {
        bytes += lk_stage_of(plan->states[i].layer) == stage ? lk_state_bytes(geom, i) : 0;
    }
    return bytes;
}

struct lk_layer_sizes lk_layer_sizes_of(const struct lk_state_geom *geom, bool with_experts)
{
    const struct lk_plan *plan = geom->plan;
    struct lk_layer_sizes sizes = {.least = UINT64_MAX,
                                   .head = lk_stage_bytes(geom, lk_stage_of(plan->n_layer))};
    for (int layer = 0; layer < plan->n_layer; layer++) {
        bool left_out = !with_experts && lk_plan_has_experts(plan, layer);
        uint64_t bytes = lk_stage_bytes(geom, lk_stage_of(layer));
        bytes += left_out ? 0 : lk_stage_bytes(geom, lk_stage_of(layer) + 1);
        sizes.least = bytes < sizes.least ? bytes : sizes.least;
    }
    return sizes;
}
