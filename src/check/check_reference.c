/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_reference: the CPU against the reference in double, within the bounds of check_bounds.h:
 * one op of each kind and shape on equal input, and the model cut after each depth.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "check/check_bounds.h"
#include "check/check_run.h"

/* Opens the reference with the threads of the CPU. */
static lk_status open_reference(struct lk_check_run *c, struct lk_side *side, const char *level,
                                lk_error *err)
{
    struct lk_backend_options o = c->backend_options;
    o.threads = (c->has_vulkan ? &c->base : &c->subject)->caps.threads_batch;
    return lk_side_open(side, "ref", level, &o, c->plan, err);
}

/* ---- ops ---- */

static double bound_of(const struct lk_plan *plan, const struct lk_op *op)
{
    if (lk_is_product(op)) {
        return lk_type_info((uint32_t)plan->weights[op->weight].type)->quantized
                   ? LK_BOUND_QUANT_MATMUL
                   : LK_BOUND_FLOAT_MATMUL;
    }
    if (op->kind == LK_OP_DELTA || op->kind == LK_OP_SSM) {
        return LK_BOUND_FLOAT_MATMUL;
    }
    return op->kind == LK_OP_ATTENTION ? LK_BOUND_ATTENTION : LK_BOUND_ELEMENT;
}

/* The line of an op's kind and type, made at the first op of it. */
static lk_check_entry *reference_entry(struct lk_check_run *c, const struct lk_op *op,
                                       lk_error *err)
{
    const struct lk_weight *w = op->weight >= 0 ? &c->plan->weights[op->weight] : NULL;
    char what[80];
    snprintf(what, sizeof what, "reference: %s%s%s", lk_op_name(op->kind), w ? " " : "",
             w ? lk_type_info((uint32_t)w->type)->name : "");
    for (size_t i = 0; i < c->report->n_entries; i++) {
        if (strcmp(c->report->entries[i].what, what) == 0) {
            return &c->report->entries[i];
        }
    }
    lk_check_entry *e = lk_check_add(c, what, err);
    if (e) {
        e->bound = bound_of(c->plan, op);
        e->state = LK_CHECK_WITHIN;
        snprintf(e->how, sizeof e->how, "%s near the reference in double, one op on equal input",
                 c->base.name);
    }
    return e;
}

/* One op of the base against the reference on the base's own input: rows in c->x, c->y (inputs),
 * then the base's output in c->x, the reference's in c->z. */
static lk_status reference_op(struct lk_check_run *c, struct lk_unit *base, struct lk_unit *ref,
                              enum lk_feed_kind feed, int i, lk_error *err)
{
    const struct lk_op *op = &base->slice->ops[i];
    const struct lk_plan *plan = c->plan;
    double from = lk_now();
    lk_check_entry *e = reference_entry(c, op, err);
    lk_status status = e ? LK_OK : LK_E_NOMEM;
    float *in[LK_OP_MAX_IN] = {c->x, c->y};
    for (int k = 0; k < op->n_in && !status; k++) {
        size_t n = lk_unit_floats(base, &c->feeds, feed, op->in[k]);
        status = base->side->impl->peek(base->exec, op->in[k], in[k], n, err);
    }
    if (!status) {
        struct lk_batch b = c->feeds.feed[feed].b;
        b.hidden_in = ref->slice->in_slot >= 0 ? lk_check_hidden(c, ref->spec.layer) : NULL;
        status = lk_ref_step(ref->exec, ref->states, &b, i, (const float *const *)in, c->z, err);
    }
    if (status) {
        return status;
    }
    size_t width = (size_t)plan->slots[op->out].width;
    size_t n = lk_unit_floats(base, &c->feeds, feed, op->out), rows = n / width;
    status = base->side->impl->peek(base->exec, op->out, c->x, n, err);
    for (size_t r = 0; r < rows && !status; r++) {
        double d = 0, s = 0;
        for (size_t k = r * width; k < (r + 1) * width; k++) {
            d += ((double)c->x[k] - c->z[k]) * ((double)c->x[k] - c->z[k]);
            s += c->z[k] * c->z[k];
        }
        double error = d == 0 ? 0 : s > 0 ? sqrt(d / s) : INFINITY;
        e->error = error > e->error ? error : e->error;
    }
    e->n_values += n;
    e->seconds += lk_now() - from;
    if (!(e->error <= e->bound)) {
        e->state = LK_CHECK_DIFFERS;
        if (!c->found.is) {
            c->found = (struct lk_found){.is = true,
                                         .side = &c->base,
                                         .against = &c->ref,
                                         .feeds = &c->feeds,
                                         .spec = base->spec,
                                         .feed = feed,
                                         .op = i};
        }
    }
    return status;
}

/* The new ops of a unit that has just run a small feed: the last tokens, the head's one token, and
 * for what knows positions those far ones. */
lk_status lk_check_reference_ops(struct lk_check_run *c, struct lk_unit *base,
                                 enum lk_feed_kind feed, void *before, lk_error *err)
{
    int layer = base->spec.layer;
    bool head = layer == c->plan->n_layer;
    if (feed == LK_FEED_PREFILL || (feed == LK_FEED_ONE) != head) {
        return LK_OK;
    }
    lk_status status = LK_OK;
    if (!c->ref.impl) {
        status = open_reference(c, &c->ref, "coarse", err);
    }
    struct lk_unit ref = {0};
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .keep = true};
    if (!status) {
        status = lk_unit_open(&ref, &c->ref, &spec, &c->feeds, err);
    }
    if (!status) {
        status = lk_unit_copy_states(&ref, base, &c->feeds, c->x, err);
    }
    if (!status && before) { /* what an op has changed is not what it begins with */
        status = lk_unit_move_recurrent(&ref, before, true, err);
    }
    for (int i = 0; i < base->slice->n_ops && !status; i++) {
        const struct lk_op *op = &base->slice->ops[i];
        bool placed = op->kind == LK_OP_ROPE || op->kind == LK_OP_ATTENTION;
        if (op->layer == layer && lk_check_is_new_op(c, op) && op->out >= 0 &&
            (feed != LK_FEED_FAR || placed) && lk_check_wants(c, c->plan, op)) {
            status = reference_op(c, base, &ref, feed, i, err);
        }
    }
    lk_unit_close(&ref);
    return status;
}

/* ---- depths ---- */

/* A depth is added for 1, 2, 4 ... all layers; the first three with --quick. */
static int next_depth(const struct lk_check_run *c, int depth)
{
    int n = c->plan->n_layer;
    if (depth == 0 || depth >= n) {
        return depth == 0 ? 1 : 0;
    }
    int next = 2 * depth < n ? 2 * depth : n;
    return c->options.quick && next > 4 ? 0 : next;
}

uint64_t lk_check_depth_steps(const struct lk_check_run *c)
{
    uint64_t n = 0, last = 0;
    for (int d = next_depth(c, 0); d > 0; d = next_depth(c, d)) {
        last = (uint64_t)d;
        n++;
    }
    return n + last + 1;
}

double lk_check_depth_slack(const struct lk_check_run *c, int depth)
{
    double most = LK_BOUND_APPROXIMATE_DEPTH(depth);
    for (int i = 0; i < c->report->n_depths; i++) {
        most = fmax(most, 2 * c->report->depths[i].bound);
    }
    return most;
}

static void note_depth(struct lk_check_run *c, const struct lk_side *side,
                       const struct lk_side *against, int depth, const char *message)
{
    if (!c->found.is) {
        c->found = (struct lk_found){.is = true,
                                     .side = side,
                                     .against = against,
                                     .feeds = &c->feeds,
                                     .spec = {.depth = depth},
                                     .op = -1};
        snprintf(c->found.message, sizeof c->found.message, "%s", message);
    }
}

/* The subject, cut after each depth, from the tokens on. */
static lk_status depth_bits(struct lk_check_run *c, lk_error *err)
{
    lk_check_entry e = {0};
    double from = lk_now();
    lk_status status = LK_OK;
    for (int i = 0; i < c->report->n_depths && !status; i++) {
        lk_check_depth *d = &c->report->depths[i];
        struct lk_unit u;
        struct lk_unit_spec spec = {.depth = d->depth, .last_op = -1, .fuse = c->engine.fuse};
        lk_error why;
        status = lk_unit_open(&u, &c->subject, &spec, &c->feeds, err);
        if (!status) {
            status = lk_unit_run(&u, &c->feeds, LK_FEED_PREFILL, NULL, c->x, &why);
            size_t n = (size_t)c->feeds.n_tokens * (size_t)c->plan->n_embd;
            if (status == LK_E_RANGE) {
                d->bits = e.state = LK_CHECK_DIFFERS;
                e.n_different++;
                snprintf(e.note, sizeof e.note, "%.300s", why.message);
                status = LK_OK;
            } else if (!status) {
                memcpy(c->y, lk_check_hidden(c, d->depth), n * sizeof *c->y);
                d->bits = lk_check_judge(c, &c->subject, n, lk_check_depth_slack(c, d->depth), &e);
            } else if (err) {
                *err = why;
            }
        }
        if (!status && d->bits == LK_CHECK_DIFFERS) {
            char message[128];
            snprintf(message, sizeof message,
                     "each layer alone is equal, the first %d together differ", d->depth);
            note_depth(c, &c->subject, &c->base, d->depth, message);
        }
        lk_unit_close(&u);
        status = status ? status : lk_check_step(c, err);
    }
    e.seconds = lk_now() - from;
    char how[160];
    snprintf(how, sizeof how, "%s = %s, 1, 2, 4 ... layers from the tokens on", c->subject.name,
             c->base.name);
    return status ? status : lk_check_put(c, &e, "depths", how, err);
}

/* A reference that goes through the layers from the tokens on. */
struct walk {
    struct lk_side side;
    float *rows; /* [n_tokens][n_embd] after the last layer */
    void **lent; /* [states of the plan]: K and V that later layers attend to */
};

static lk_status open_walk(struct lk_check_run *c, struct walk *w, const char *level, size_t n,
                           lk_error *err)
{
    w->rows = lk_alloc_array(n, sizeof *w->rows);
    w->lent = lk_alloc_array((size_t)c->plan->n_states + 1, sizeof *w->lent);
    if (!w->rows || !w->lent) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: rows of the reference");
    }
    return open_reference(c, &w->side, level, err);
}

static void close_walk(struct lk_check_run *c, struct walk *w)
{
    for (int i = 0; w->lent && i < c->plan->n_states; i++) {
        lk_free(w->lent[i]);
    }
    lk_free(w->lent);
    lk_free(w->rows);
    lk_side_close(&w->side);
}

/* The rows after one more layer, in place. */
static lk_status one_layer(struct walk *w, struct lk_feeds *f, int layer, float *scratch,
                           lk_error *err)
{
    struct lk_unit u;
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1};
    f->lent = w->lent;
    lk_status status = lk_unit_open(&u, &w->side, &spec, f, err);
    if (!status) {
        status = lk_unit_run(&u, f, LK_FEED_PREFILL, w->rows, scratch, err);
    }
    if (!status) {
        size_t n = (size_t)f->n_tokens * (size_t)w->side.plan->n_embd;
        memcpy(w->rows, scratch, n * sizeof *w->rows);
        status = lk_unit_lend(&u, f, w->lent, err);
    }
    lk_unit_close(&u);
    return status;
}

static void judge_depth(struct lk_check_run *c, lk_check_depth *d, const float *ideal,
                        const float *coarse, size_t n, lk_check_entry *e)
{
    d->error = lk_check_distance(lk_check_hidden(c, d->depth), ideal, n);
    d->bound = LK_BOUND_DEPTH(lk_check_distance(coarse, ideal, n), d->depth);
    e->n_values += n;
    if (d->error / d->bound >= (e->bound > 0 ? e->error / e->bound : 0)) {
        e->error = d->error;
        e->bound = d->bound;
    }
    if (!(d->error <= d->bound)) {
        e->state = LK_CHECK_DIFFERS;
        snprintf(e->note, sizeof e->note, "beyond the bound at depth %d", d->depth);
        note_depth(
            c, &c->base, &c->ref, d->depth,
            "farther from ideal mathematics than its roundings explain, though each op alone "
            "is within its bound");
    }
}

/* Two references from the tokens on, layer by layer: ideal mathematics, and the same with the
 * contract's roundings, which says how far from it the base may be. */
static lk_status depth_reference(struct lk_check_run *c, lk_error *err)
{
    struct lk_feeds f = {0};
    struct walk ideal = {0}, coarse = {0};
    lk_check_entry e = {.state = LK_CHECK_WITHIN};
    double from = lk_now();
    int most = c->report->depths[c->report->n_depths - 1].depth;
    int n_tokens = c->feeds.n_tokens < 8 || c->options.quick ? LK_FEED_SEQS : 8;
    size_t n = (size_t)n_tokens * (size_t)c->plan->n_embd;
    lk_status status =
        lk_feeds_init(&f, n_tokens, c->feeds.n_ctx, c->plan->n_vocab, c->feeds.token[0], err);
    if (!status) {
        status = open_walk(c, &ideal, "auto", n, err);
    }
    if (!status) {
        status = open_walk(c, &coarse, "coarse", n, err);
    }
    for (int layer = -1, at = 0; layer < most && !status; layer++) {
        status = one_layer(&ideal, &f, layer, c->x, err);
        status = status ? status : one_layer(&coarse, &f, layer, c->x, err);
        if (!status && layer + 1 == c->report->depths[at].depth) {
            judge_depth(c, &c->report->depths[at++], ideal.rows, coarse.rows, n, &e);
        }
        status = status ? status : lk_check_step(c, err);
    }
    close_walk(c, &ideal);
    close_walk(c, &coarse);
    lk_feeds_free(&f);
    e.seconds = lk_now() - from;
    char how[160];
    snprintf(how, sizeof how, "%s near ideal mathematics in double, %d tokens, to depth %d",
             c->base.name, n_tokens, most);
    return status ? status : lk_check_put(c, &e, "depths, reference", how, err);
}

lk_status lk_check_depths(struct lk_check_run *c, lk_error *err)
{
    lk_check_report *r = c->report;
    for (int d = next_depth(c, 0); d > 0; d = next_depth(c, d)) {
        if (r->n_depths < (int)LK_COUNT(r->depths)) {
            r->depths[r->n_depths++] = (lk_check_depth){.depth = d, .error = -1};
        }
    }
    lk_status status = depth_reference(c, err);
    return status ? status : depth_bits(c, err);
}
