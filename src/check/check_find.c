/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_find: from "this differs" to the first op that does: which of two sides is wrong (the
 * contract in plain C decides), which op of the unit, which elements and by what pattern, and what
 * switched off makes it vanish.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "check/check_bounds.h"
#include "check/check_run.h"

/* The op that is wrong on a side, and the feed that shows it. */
struct culprit {
    const struct lk_side *side;
    int op; /* -1: none */
    enum lk_feed_kind feed;
    bool fused, alone; /* alone: seen where all ops keep their rows */
    char message[256];
};

static bool same(const struct lk_side *side, const float *x, const float *y, size_t n, double slack)
{
    return memcmp(x, y, n * sizeof *x) == 0 ||
           (!side->caps.exact && lk_check_distance(x, y, n) <= slack);
}

/* Runs the feeds up to `last` on a unit; an error of range is left in why. */
static lk_status run_feeds(struct lk_check_run *c, struct lk_unit *u, enum lk_feed_kind last,
                           float *out, lk_error *why)
{
    lk_status status = LK_OK;
    why->message[0] = 0;
    for (int f = 0; f <= (int)last && !status; f++) {
        status = lk_unit_run(u, c->found.feeds, (enum lk_feed_kind)f,
                             lk_check_hidden(c, u->spec.layer), out, why);
    }
    return status;
}

/* The first op whose kept rows differ between the side and the oracle, in the first feed that
 * shows any. */
static lk_status first_kept(struct lk_check_run *c, struct lk_unit *side, struct lk_unit *oracle,
                            struct culprit *out, lk_error *err)
{
    int layer = side->spec.layer;
    bool clean = true;
    lk_error why = {0};
    for (int f = 0; f < LK_FEEDS; f++) {
        enum lk_feed_kind feed = (enum lk_feed_kind)f;
        if (feed == LK_FEED_FAR && (layer < 0 || layer == c->plan->n_layer)) {
            continue;
        }
        const float *hidden = lk_check_hidden(c, layer);
        lk_status status = lk_unit_run(oracle, c->found.feeds, feed, hidden, c->y, err);
        if (status) {
            return status;
        }
        status = lk_unit_run(side, c->found.feeds, feed, hidden, c->x, &why);
        if (status == LK_E_RANGE) {
            out->feed = feed;
            snprintf(out->message, sizeof out->message, "%.250s", why.message);
            return LK_OK;
        }
        for (int i = 0; i < side->slice->n_ops && !status; i++) {
            size_t n;
            status = lk_check_output(side, c->found.feeds, feed, i, c->x, &n, &why);
            if (!status) {
                status = lk_check_output(oracle, c->found.feeds, feed, i, c->y, &n, &why);
            }
            const struct lk_op *op = &side->slice->ops[i];
            bool equal = !status && same(side->side, c->x, c->y, n, 0);
            if (!status && !equal &&
                !same(side->side, c->x, c->y, n, lk_check_slack(c->plan, op, clean))) {
                out->op = i;
                out->feed = feed;
                out->alone = true;
                return LK_OK;
            }
            clean &= equal;
        }
        if (status) {
            if (err) {
                *err = why;
            }
            return status;
        }
    }
    return LK_OK;
}

/* What op k of a unit cut after it gives, in c->x: its rows, or the cache. */
static lk_status cut_output(struct lk_check_run *c, struct lk_unit *u, enum lk_feed_kind feed,
                            size_t *n, lk_error *why)
{
    int k = u->spec.last_op;
    const struct lk_op *op = &u->slice->ops[k];
    lk_status status = run_feeds(c, u, feed, c->x, why);
    if (!status && op->out < 0) {
        *n = lk_unit_state_floats(u, c->found.feeds);
        status = lk_unit_states(u, c->found.feeds, c->x, why);
    } else if (!status) {
        *n = lk_unit_floats(u, c->found.feeds, feed, op->out);
    }
    return status;
}

/* The first op after which the unit, cut there, differs from the oracle's kept rows: for what only
 * shows when ops are fused, and for errors of range. */
static lk_status first_cut(struct lk_check_run *c, const struct lk_side *side, int layer, bool fuse,
                           enum lk_feed_kind feed, struct lk_unit *oracle, struct culprit *out,
                           lk_error *err)
{
    lk_error why;
    lk_status status = LK_OK;
    int n_ops = oracle->slice->n_ops;
    for (int k = 0; k < n_ops && !status && out->op < 0; k++) {
        struct lk_unit_spec spec = {.layer = layer, .last_op = k, .fuse = fuse};
        struct lk_unit u;
        size_t n = 0, m = 0;
        status = lk_unit_open(&u, side, &spec, c->found.feeds, err);
        if (status) {
            return status;
        }
        lk_status ran = cut_output(c, &u, feed, &n, &why);
        if (ran == LK_E_RANGE) {
            snprintf(out->message, sizeof out->message, "%.250s", why.message);
            out->op = k;
        } else if (ran) {
            status = ran;
            if (err) {
                *err = why;
            }
        } else {
            status = lk_check_output(oracle, c->found.feeds, feed, k, c->y, &m, err);
            if (!status && !same(side, c->x, c->y, n, LK_BOUND_APPROXIMATE)) {
                out->op = k;
            }
        }
        lk_unit_close(&u);
    }
    out->fused = fuse;
    out->feed = feed;
    return status;
}

/* Looks for the wrong op of a side against the contract, alone first, then fused. */
static lk_status search(struct lk_check_run *c, const struct lk_side *side, int layer,
                        const struct lk_side *oracle_side, struct culprit *out, lk_error *err)
{
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .keep = true};
    struct lk_unit oracle = {0}, kept = {0};
    *out = (struct culprit){.side = side, .op = -1};
    lk_status status = lk_unit_open(&oracle, oracle_side, &spec, c->found.feeds, err);
    if (!status) {
        status = lk_unit_open(&kept, side, &spec, c->found.feeds, err);
    }
    if (!status) {
        status = first_kept(c, &kept, &oracle, out, err);
    }
    lk_unit_close(&kept);
    if (!status && out->op < 0 && out->message[0]) {
        status = first_cut(c, side, layer, false, out->feed, &oracle, out, err);
    }
    for (int f = 0; f < LK_FEEDS && !status && out->op < 0 && c->engine.fuse; f++) {
        enum lk_feed_kind feed = (enum lk_feed_kind)f;
        if (feed == LK_FEED_FAR && (layer < 0 || layer == c->plan->n_layer)) {
            continue;
        }
        lk_error why;
        if (f > 0) { /* the oracle's rows of this feed */
            status =
                lk_unit_run(&oracle, c->found.feeds, feed, lk_check_hidden(c, layer), c->y, err);
        } else {
            lk_unit_close(&oracle);
            status = lk_unit_open(&oracle, oracle_side, &spec, c->found.feeds, err);
            status = status ? status : run_feeds(c, &oracle, feed, c->y, &why);
        }
        if (!status) {
            status = first_cut(c, side, layer, true, feed, &oracle, out, err);
        }
    }
    lk_unit_close(&oracle);
    return status;
}

/* ---- values ---- */

static uint64_t ulps(uint32_t a, uint32_t b)
{
    const uint32_t sign = 0x80000000u;
    int64_t x = a & sign ? -(int64_t)(a & (sign - 1)) : (int64_t)a;
    int64_t y = b & sign ? -(int64_t)(b & (sign - 1)) : (int64_t)b;
    return (uint64_t)(x > y ? x - y : y - x);
}

/* Lists the flat indices at which values differ. */
struct places {
    uint64_t *at; /* owned */
    size_t n, total, width;
};

static bool all_from(const struct places *p, size_t first_row)
{
    return p->n == (p->total / p->width - first_row) * p->width;
}

/* Smallest and largest column, and the common stride of the differences inside rows. */
struct columns {
    uint64_t low, high, stride;
    uint64_t first_row, last_row;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static struct columns columns_of(const struct places *p)
{
    struct columns s = {.low = UINT64_MAX, .first_row = UINT64_MAX};
    for (size_t i = 0; i < p->n; i++) {
        uint64_t col = p->at[i] % p->width, row = p->at[i] / p->width;
        s.low = col < s.low ? col : s.low;
        s.high = col > s.high ? col : s.high;
        s.first_row = row < s.first_row ? row : s.first_row;
        s.last_row = row > s.last_row ? row : s.last_row;
    }
    for (size_t i = 0; i < p->n; i++) {
        s.stride = gcd(p->at[i] % p->width - s.low, s.stride);
    }
    return s;
}

static void describe_rows(const struct columns *s, const int32_t *pos, size_t n_rows, char *out,
                          size_t n)
{
    if (n_rows < 2 || (s->first_row == 0 && s->last_row == n_rows - 1)) {
        snprintf(out, n, "%s", n_rows < 2 ? "" : ", in every token");
    } else if (s->first_row == s->last_row) {
        snprintf(out, n, ", only at position %d", pos[s->first_row]);
    } else if (s->last_row == n_rows - 1) {
        snprintf(out, n, ", all from position %d on", pos[s->first_row]);
    } else {
        snprintf(out, n, ", positions %d to %d", pos[s->first_row], pos[s->last_row]);
    }
}

/* The pattern in words. head_dim 0: no heads. */
static void describe(const struct places *p, size_t head_dim, const int32_t *pos, char *out,
                     size_t n)
{
    struct columns s = columns_of(p);
    char rows[64], cols[96];
    size_t n_rows = p->total / p->width;
    describe_rows(&s, pos, n_rows, rows, sizeof rows);
    uint64_t heads = head_dim ? s.high / head_dim - s.low / head_dim + 1 : 0;
    if (all_from(p, (size_t)s.first_row)) {
        snprintf(cols, sizeof cols, "every element");
    } else if (p->n == 1) {
        snprintf(cols, sizeof cols, "one element");
    } else if (s.low == s.high) {
        snprintf(cols, sizeof cols, "element %llu of rows", (unsigned long long)s.low);
    } else if (s.stride > 1) {
        snprintf(cols, sizeof cols, "every %lluth element from %llu", (unsigned long long)s.stride,
                 (unsigned long long)s.low);
    } else if (heads == 1 && p->width > head_dim) {
        snprintf(cols, sizeof cols, "head %llu", (unsigned long long)(s.low / head_dim));
    } else if (s.low > 0 && s.high == p->width - 1) {
        snprintf(cols, sizeof cols, "the tail from element %llu on", (unsigned long long)s.low);
    } else {
        snprintf(cols, sizeof cols, "%zu scattered elements from %llu to %llu", p->n,
                 (unsigned long long)s.low, (unsigned long long)s.high);
    }
    snprintf(out, n, "%s%s", cols, rows);
}

/* Of the n floats of a cache, those of K, which come first. */
static size_t floats_of_k(const struct lk_plan *plan, const struct lk_op *op, size_t n)
{
    size_t k = (size_t)plan->states[op->u.kv_store.k].dim + 1; /* with a scale */
    size_t v = (size_t)plan->states[op->u.kv_store.v].dim + 1;
    return n / (k + v) * k;
}

/* Fills values and pattern from c->x (found) and c->y (expected). */
static lk_status describe_values(struct lk_check_run *c, const struct lk_op *op,
                                 const struct lk_feed *feed, size_t n, lk_error *err)
{
    lk_check_difference *d = &c->report->difference;
    bool cache = op->out < 0;
    struct places p = {.total = n,
                       .width = cache ? floats_of_k(c->plan, op, n)
                                      : (size_t)c->plan->slots[op->out].width};
    if (!cache && c->plan->slots[op->out].rows == LK_ROWS_ROUTED) {
        p.width *= (size_t)c->plan->n_routed; /* a row of all experts of a token */
    }
    p.at = lk_alloc_array(n, sizeof *p.at);
    if (!p.at) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: places that differ");
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t found = lk_bits(c->x[i]), expected = lk_bits(c->y[i]);
        if (found == expected) {
            continue;
        }
        if (d->n_shown < LK_CHECK_SHOWN) {
            int k = d->n_shown++;
            d->shown[k].row = i / p.width;
            d->shown[k].index = i % p.width;
            d->shown[k].found = found;
            d->shown[k].expected = expected;
            d->shown[k].found_value = (double)c->x[i];
            d->shown[k].expected_value = (double)c->y[i];
            d->shown[k].ulps = ulps(found, expected);
        }
        p.at[p.n++] = i;
    }
    d->n_values = n;
    d->n_different = p.n;
    if (cache) {
        const char *which = p.at[p.n - 1] < p.width ? "elements of K"
                            : p.at[0] >= p.width    ? "elements of V"
                                                    : "elements of K and V";
        snprintf(d->pattern, sizeof d->pattern, "%s", which);
    } else if (p.n) {
        int head_dim = op->kind == LK_OP_ATTENTION ? lk_attn_shape_of(c->plan, op).v_dim
                       : op->kind == LK_OP_ROPE    ? op->u.rope.head_dim
                                                   : 0;
        /* Rows after GATHER are those that want logits. */
        int32_t pos[LK_FEED_OUTPUTS];
        bool outputs = c->plan->slots[op->out].rows == LK_ROWS_OUTPUTS;
        for (int i = 0; i < feed->b.n_outputs; i++) {
            pos[i] = feed->pos[feed->outputs[i]];
        }
        describe(&p, (size_t)head_dim, outputs ? pos : feed->pos, d->pattern, sizeof d->pattern);
    }
    lk_free(p.at);
    return LK_OK;
}

/* Brings what the culprit found to c->x and what is expected to c->y. */
static lk_status fetch_values(struct lk_check_run *c, const struct culprit *w, int layer,
                              const struct lk_side *oracle_side, size_t *n, lk_error *err)
{
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .keep = true};
    struct lk_unit side = {0}, oracle = {0};
    lk_status status = lk_unit_open(&oracle, oracle_side, &spec, c->found.feeds, err);
    spec.keep = w->alone;
    spec.fuse = w->fused;
    spec.last_op = w->alone ? -1 : w->op;
    if (!status) {
        status = run_feeds(c, &oracle, w->feed, c->y, err);
    }
    if (!status) {
        status = lk_unit_open(&side, w->side, &spec, c->found.feeds, err);
    }
    if (!status && w->alone) {
        status = run_feeds(c, &side, w->feed, c->x, err);
        status =
            status ? status : lk_check_output(&side, c->found.feeds, w->feed, w->op, c->x, n, err);
    } else if (!status) {
        status = cut_output(c, &side, w->feed, n, err);
    }
    if (!status) {
        size_t m;
        status = lk_check_output(&oracle, c->found.feeds, w->feed, w->op, c->y, &m, err);
    }
    if (!status && w->side->impl->variant) {
        lk_check_difference *d = &c->report->difference;
        w->side->impl->variant(side.exec, w->op, c->found.feeds->feed[w->feed].b.n_tokens,
                               d->variant, sizeof d->variant);
    }
    lk_unit_close(&side);
    lk_unit_close(&oracle);
    return status;
}

/* ---- what makes it vanish ---- */

/* Whether a side without a feature agrees with the contract in that unit. */
static bool vanishes_without(struct lk_check_run *c, const struct culprit *w, int layer,
                             const struct lk_side *oracle, const char *feature)
{
    char disable[256];
    struct lk_backend_options o = c->backend_options;
    struct lk_side side;
    struct culprit again = {.op = -1};
    lk_error why;
    snprintf(disable, sizeof disable, "%s%s%s", o.vk_disable ? o.vk_disable : "",
             o.vk_disable && *o.vk_disable ? "," : "", feature);
    o.vk_disable = disable;
    if (lk_side_open(&side, "vulkan", w->side->level, &o, w->side->plan, &why)) {
        return false;
    }
    lk_status status = search(c, &side, layer, oracle, &again, &why);
    lk_side_close(&side);
    return !status && again.op < 0;
}

/* Names of baseline kernels: without them come variants that cost CPU drivers minutes and gigabytes
 * to compile. */
static bool is_baseline(const char *feature)
{
    return strcmp(feature, "looped") == 0 || strcmp(feature, "narrow") == 0;
}

static void find_remedy(struct lk_check_run *c, const struct culprit *w, int layer,
                        const struct lk_side *oracle)
{
    lk_check_difference *d = &c->report->difference;
    const struct lk_caps *caps = &w->side->caps;
    char list[sizeof c->report->device.features];
    if (w->side->impl->look) {
        memcpy(list, c->report->device.features, sizeof list);
        list[strcspn(list, "(")] = 0; /* what it says of features that are not there */
        for (char *p = list; *p;) {
            char name[sizeof d->feature];
            size_t n = strcspn(p, " ");
            snprintf(name, sizeof name, "%.*s", (int)n, p);
            p += n + (p[n] == ' ');
            if (!is_baseline(name) && vanishes_without(c, w, layer, oracle, name)) {
                snprintf(d->feature, sizeof d->feature, "%s", name);
                snprintf(d->vanishes, sizeof d->vanishes, "with --vk-disable %s it vanishes", name);
                return;
            }
        }
    }
    if (w->fused) {
        snprintf(d->vanishes, sizeof d->vanishes, "with --no-fuse it vanishes");
    } else if (caps->level && strcmp(caps->level, "generic") != 0) {
        struct lk_side side;
        struct culprit again = {.op = -1};
        lk_error why;
        if (!lk_side_open(&side, "cpu", "generic", &c->backend_options, w->side->plan, &why)) {
            lk_status status = search(c, &side, layer, oracle, &again, &why);
            if (!status && again.op < 0) {
                snprintf(d->vanishes, sizeof d->vanishes, "with --cpu-level generic it vanishes");
            }
            lk_side_close(&side);
        }
    }
}

/* ---- the difference ---- */

static void name_feed(const struct lk_feed *feed, char *out, size_t n)
{
    const struct lk_batch *b = &feed->b;
    if (b->n_seqs > 1) {
        snprintf(out, n, "%d tokens of sequences of their own, positions 0 to %d", b->n_tokens,
                 feed->pos[b->n_tokens - 1]);
    } else if (b->n_tokens == 1) {
        snprintf(out, n, "one token at position %d", feed->pos[0]);
    } else {
        snprintf(out, n, "%d tokens at once, positions %d to %d", b->n_tokens, feed->pos[0],
                 feed->pos[b->n_tokens - 1]);
    }
}

/* Op i of the slice of a unit. */
static lk_status op_of(const struct lk_check_run *c, int layer, int i, struct lk_op *out,
                       lk_error *err)
{
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1};
    struct lk_plan *slice;
    lk_status status = lk_unit_slice(c->plan, &spec, &slice, err);
    if (!status) {
        *out = slice->ops[i];
        lk_plan_free(&slice);
    }
    return status;
}

static void name_op(struct lk_check_run *c, const struct lk_side *side, const struct lk_side *other,
                    int layer, const struct lk_op *op, enum lk_feed_kind feed, bool fused)
{
    lk_check_difference *d = &c->report->difference;
    const struct lk_weight *w = op->weight >= 0 ? &c->plan->weights[op->weight] : NULL;
    c->report->has_difference = true;
    snprintf(d->side, sizeof d->side, "%s", side->name);
    snprintf(d->against, sizeof d->against, "%s", other->name);
    d->layer = layer;
    snprintf(d->op, sizeof d->op, "%s", lk_op_name(op->kind));
    snprintf(d->tensor, sizeof d->tensor, "%s", w ? w->name : "");
    snprintf(d->type, sizeof d->type, "%s", w ? lk_type_info((uint32_t)w->type)->name : "");
    snprintf(d->variant, sizeof d->variant, "%s", side->caps.describe);
    d->fused = fused;
    name_feed(&c->found.feeds->feed[feed], d->feed, sizeof d->feed);
}

/* The base against the reference: the op is known, both values are rows in floats. */
static lk_status find_by_reference(struct lk_check_run *c, lk_error *err)
{
    const struct lk_found *f = &c->found;
    lk_check_difference *d = &c->report->difference;
    struct lk_op op;
    lk_status status = op_of(c, f->spec.layer, f->op, &op, err);
    if (status) {
        return status;
    }
    name_op(c, f->side, f->against, f->spec.layer, &op, f->feed, false);
    snprintf(d->message, sizeof d->message,
             "beyond the bound of the reference in double: the contract itself, or all backends "
             "alike, compute something else");
    return LK_OK;
}

lk_status lk_check_find(struct lk_check_run *c, lk_error *err)
{
    const struct lk_found *f = &c->found;
    lk_check_difference *d = &c->report->difference;
    struct culprit w;
    int layer = f->spec.layer;
    size_t n = 0;
    if (f->spec.depth > 0 || !f->side) { /* nothing smaller than the whole differs */
        c->report->has_difference = true;
        d->layer = f->spec.depth - 1;
        snprintf(d->side, sizeof d->side, "%s", f->side ? f->side->name : c->subject.name);
        snprintf(d->against, sizeof d->against, "%s", (f->against ? f->against : &c->base)->name);
        snprintf(d->message, sizeof d->message, "%s", f->message);
        return LK_OK;
    }
    if (f->against == &c->ref) {
        return find_by_reference(c, err);
    }
    lk_status status = lk_check_scalar(c, err);
    if (!status) {
        status = search(c, f->side, layer, &c->scalar, &w, err);
    }
    if (!status && w.op < 0 && f->against != &c->scalar) { /* then the other one is wrong */
        status = search(c, f->against, layer, &c->scalar, &w, err);
    }
    if (status) {
        return status;
    }
    if (w.op < 0) {
        c->report->has_difference = true;
        d->layer = layer;
        snprintf(d->side, sizeof d->side, "%s", f->side->name);
        snprintf(d->against, sizeof d->against, "%s", f->against->name);
        snprintf(d->message, sizeof d->message,
                 "layer %d differed, but not when it was run again: the device does not repeat "
                 "itself",
                 layer);
        return LK_OK;
    }
    struct lk_op op;
    status = op_of(c, layer, w.op, &op, err);
    if (status) {
        return status;
    }
    name_op(c, w.side, &c->scalar, layer, &op, w.feed, w.fused);
    snprintf(d->message, sizeof d->message, "%s", w.message);
    if (!w.message[0]) {
        status = fetch_values(c, &w, layer, &c->scalar, &n, err);
        if (!status) {
            status = describe_values(c, &op, &c->found.feeds->feed[w.feed], n, err);
        }
    }
    if (!status) {
        find_remedy(c, &w, layer, &c->scalar);
    }
    return status;
}
