/* SPDX-License-Identifier: Apache-2.0
 *
 * Parity_reference: the CPU against the reference in double, within the bounds of parity_bounds.h:
 * one op of each kind and shape on equal input, and the model cut after each depth.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "os.h"
#include "parity_bounds.h"
#include "parity_check.h"

/* ---- ops ---- */

/* Mean square of a matrix's elements, from up to 64 of its rows; row has room for one. */
static double mean_square(const struct lk_weight *w, double *row)
{
    size_t cols = (size_t)w->cols, bytes = lk_type_row_bytes(w->type, cols);
    int64_t step = w->rows > 64 ? w->rows / 64 : 1, n = 0;
    double sum = 0;
    for (int64_t r = 0; r < w->rows; r += step, n++) {
        lk_dequantize_f64(w->type, (const uint8_t *)w->data + (size_t)r * bytes, cols, row);
        for (size_t i = 0; i < cols; i++) {
            sum += row[i] * row[i];
        }
    }
    return sum / (double)n / (double)cols;
}

/* What rounding a row to 8 bits a block adds to an output, root mean square. */
static double predicted(const struct lk_weight *w, const float *x, double *row)
{
    size_t block = (size_t)lk_type_info((uint32_t)w->type)->block, cols = (size_t)w->cols;
    double var = 0;
    for (size_t b = 0; b < cols; b += block) {
        double most = 0;
        for (size_t i = b; i < b + block; i++) {
            most = fmax(most, fabs((double)x[i]));
        }
        var += (double)block * (most / 127) * (most / 127) / 12;
    }
    return sqrt(var * mean_square(w, row));
}

static double bound_of(const struct lk_plan *plan, const struct lk_op *op)
{
    if (op->kind == LK_OP_MATMUL) {
        return lk_type_info((uint32_t)plan->weights[op->weight].type)->quantized
                   ? LK_BOUND_QUANT_MATMUL
                   : LK_BOUND_FLOAT_MATMUL;
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
        bool quant = bound_of(c->plan, op) == LK_BOUND_QUANT_MATMUL;
        e->bound = bound_of(c->plan, op);
        e->state = LK_CHECK_WITHIN;
        snprintf(e->how, sizeof e->how, "%s near the reference in double, one op on equal input%s",
                 c->base.name, quant ? "; error over what 8-bit input predicts" : "");
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
    const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
    double from = lk_now(), noise[LK_FEED_OUTPUTS] = {0};
    lk_check_entry *e = reference_entry(c, op, err);
    lk_status status = e ? LK_OK : LK_E_NOMEM;
    float *in[2] = {c->x, c->y};
    for (int k = 0; k < 2 && !status; k++) {
        if (op->in[k] >= 0) {
            size_t n = lk_unit_floats(base, &c->feeds, feed, op->in[k]);
            status = base->side->impl->peek(base->exec, op->in[k], in[k], n, err);
        }
    }
    if (!status) {
        struct lk_batch b = c->feeds.feed[feed].b;
        b.hidden_in = ref->slice->in_slot >= 0 ? lk_check_hidden(c, ref->spec.layer) : NULL;
        status = lk_ref_step(ref->exec, ref->kv, &b, i, c->x, c->y, c->z, err);
    }
    if (status) {
        return status;
    }
    size_t width = (size_t)plan->slots[op->out].width;
    size_t n = lk_unit_floats(base, &c->feeds, feed, op->out), rows = n / width;
    bool quant = e->bound == LK_BOUND_QUANT_MATMUL;
    double *scratch = quant ? lk_alloc_array((size_t)w->cols, sizeof *scratch) : NULL;
    if (quant && !scratch) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a row of weights");
    }
    for (size_t r = 0; r < rows && quant; r++) {
        noise[r] = predicted(w, c->x + r * (size_t)w->cols, scratch);
    }
    lk_free(scratch);
    status = base->side->impl->peek(base->exec, op->out, c->x, n, err);
    for (size_t r = 0; r < rows && !status; r++) {
        double d = 0, s = 0;
        for (size_t k = r * width; k < (r + 1) * width; k++) {
            d += ((double)c->x[k] - c->z[k]) * ((double)c->x[k] - c->z[k]);
            s += c->z[k] * c->z[k];
        }
        double unit = quant ? noise[r] * noise[r] * (double)width : s;
        double error = d == 0 ? 0 : unit > 0 ? sqrt(d / unit) : INFINITY;
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
                                 enum lk_feed_kind feed, lk_error *err)
{
    int layer = base->spec.layer, first = 0;
    bool head = layer == c->plan->n_layer;
    if (feed == LK_FEED_PREFILL || (feed == LK_FEED_ONE) != head) {
        return LK_OK;
    }
    while (c->plan->ops[first].layer != layer) {
        first++;
    }
    lk_status status = LK_OK;
    if (!c->ref.impl) {
        status = lk_side_open(&c->ref, "ref", "rounded", &c->backend_options, c->plan, err);
    }
    struct lk_unit ref = {0};
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .keep = true};
    if (!status) {
        status = lk_unit_open(&ref, &c->ref, &spec, &c->feeds, err);
    }
    if (!status) {
        status = lk_unit_kv(base, (uint16_t *)(void *)c->x, err);
    }
    for (int w = 0; w < 2 && !status; w++) {
        size_t n = lk_unit_kv_words(base) / 2;
        status = ref.side->impl->kv_write(ref.kv, 0, (enum lk_kv_which)w, 0,
                                          (uint16_t *)(void *)c->x + (size_t)w * n, n * 2, err);
    }
    for (int i = 0; i < base->slice->n_ops && !status; i++) {
        const struct lk_op *op = &base->slice->ops[i];
        bool placed = op->kind == LK_OP_ROPE || op->kind == LK_OP_ATTENTION;
        if (c->new_op[first + i] && op->out >= 0 && (feed != LK_FEED_FAR || placed) &&
            lk_check_wants(c, c->plan, op)) {
            status = reference_op(c, base, &ref, feed, i, err);
        }
    }
    lk_unit_close(&ref);
    return status;
}

/* ---- depths ---- */

static void add_depth(struct lk_check_run *c, int depth)
{
    lk_check_report *r = c->report;
    if (r->n_depths < (int)LK_COUNT(r->depths)) {
        r->depths[r->n_depths++] = (lk_check_depth){.depth = depth, .error = -1};
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
                d->bits = lk_check_judge(c, &c->subject, false, n, LK_BOUND_DEPTH(d->depth), &e);
            } else if (err) {
                *err = why;
            }
            if (!status && d->bits == LK_CHECK_DIFFERS && !c->found.is) {
                c->found = (struct lk_found){
                    .is = true, .side = &c->subject, .against = &c->base, .spec = spec, .op = -1};
                snprintf(c->found.message, sizeof c->found.message,
                         "each layer alone is equal, the first %d together differ", d->depth);
            }
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

/* The reference from the tokens on, layer by layer, and how far the base is from it. */
static lk_status depth_reference(struct lk_check_run *c, lk_error *err)
{
    struct lk_feeds f = {0};
    struct lk_side ref = {0};
    lk_check_entry e = {.state = LK_CHECK_WITHIN};
    double from = lk_now();
    int n_embd = c->plan->n_embd, most = c->report->depths[c->report->n_depths - 1].depth;
    int n_tokens = c->feeds.n_tokens < 8 || c->options.quick ? LK_FEED_SEQS : 8;
    size_t n = (size_t)n_tokens * (size_t)n_embd;
    lk_status status =
        lk_feeds_init(&f, n_tokens, c->feeds.n_ctx, c->plan->n_vocab, c->feeds.token[0], err);
    if (!status) {
        status = lk_side_open(&ref, "ref", "auto", &c->backend_options, c->plan, err);
    }
    for (int layer = -1, at = 0; layer < most && !status; layer++) {
        struct lk_unit u;
        struct lk_unit_spec spec = {.layer = layer, .last_op = -1};
        status = lk_unit_open(&u, &ref, &spec, &f, err);
        if (!status) {
            status = lk_unit_run(&u, &f, LK_FEED_PREFILL, c->x, c->y, err);
        }
        lk_unit_close(&u);
        memcpy(c->x, c->y, n * sizeof *c->x);
        if (!status && layer + 1 == c->report->depths[at].depth) {
            lk_check_depth *d = &c->report->depths[at++];
            d->error = lk_check_distance(lk_check_hidden(c, layer + 1), c->x, n, false);
            d->bound = LK_BOUND_DEPTH(d->depth);
            e.n_values += n;
            if (d->error >= e.error) {
                e.error = d->error;
                e.bound = d->bound;
            }
            if (!(d->error <= d->bound)) {
                e.state = LK_CHECK_DIFFERS;
                snprintf(e.note, sizeof e.note, "beyond the bound at depth %d", d->depth);
            }
        }
        status = status ? status : lk_check_step(c, err);
    }
    lk_side_close(&ref);
    lk_feeds_free(&f);
    e.seconds = lk_now() - from;
    char how[160];
    snprintf(how, sizeof how, "%s near ideal mathematics in double, %d tokens, to depth %d",
             c->base.name, n_tokens, most);
    return status ? status : lk_check_put(c, &e, "depths, reference", how, err);
}

lk_status lk_check_depths(struct lk_check_run *c, lk_error *err)
{
    int n = c->plan->n_layer;
    for (int d = 1; d < n && !(c->options.quick && d > 4); d *= 2) {
        add_depth(c, d);
    }
    if (!c->options.quick || n <= 4) {
        add_depth(c, n);
    }
    lk_status status = depth_bits(c, err);
    return status ? status : depth_reference(c, err);
}
