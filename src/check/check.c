/* SPDX-License-Identifier: Apache-2.0
 *
 * Check: lk_check: which sides there are, what is compared on them in which order, the table
 * and the verdict.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/device_list.h"
#include "base/mem.h"
#include "gguf/model_file.h"
#include "base/numerics.h"
#include "base/os.h"
#include "check/check_bounds.h"
#include "check/check_run.h"

/* ---- the report ---- */

lk_check_options lk_check_options_default(void)
{
    return (lk_check_options){.size = sizeof(lk_check_options), .layer = LK_CHECK_ALL};
}

void lk_check_free(lk_check_report **report)
{
    lk_check_report *r = report ? *report : NULL;
    if (r) {
        lk_free(r->entries);
        lk_free(r->columns);
        lk_free(r->cells);
        lk_free(r->kernels);
        lk_free(r);
        *report = NULL;
    }
}

lk_check_entry *lk_check_add(struct lk_check_run *c, const char *what, lk_error *err)
{
    lk_check_report *r = c->report;
    if (lk_grow(&r->entries, &c->cap_entries, r->n_entries + 1, sizeof *r->entries, err)) {
        return NULL;
    }
    lk_check_entry *e = &r->entries[r->n_entries++];
    *e = (lk_check_entry){.state = LK_CHECK_NONE};
    snprintf(e->what, sizeof e->what, "%s", what);
    return e;
}

lk_status lk_check_step(struct lk_check_run *c, lk_error *err)
{
    c->done++;
    if (c->engine.progress) {
        uint64_t total = c->total > c->done ? c->total : c->done;
        if (!c->engine.progress(c->engine.user, "check", c->done, total)) {
            return lk_fail(err, LK_E_CANCELLED, "cancelled while checking");
        }
    }
    return LK_OK;
}

const float *lk_check_hidden(const struct lk_check_run *c, int layer)
{
    size_t rows = (size_t)c->feeds.n_tokens * (size_t)c->plan->n_embd;
    return layer < 0 ? NULL : c->hidden + (size_t)layer * rows;
}

bool lk_check_wants(const struct lk_check_run *c, const struct lk_plan *plan,
                    const struct lk_op *op)
{
    const char *want = c->options.op;
    if (c->options.layer != LK_CHECK_ALL && c->options.layer != op->layer) {
        return false;
    }
    if (!want || strcmp(want, lk_op_name(op->kind)) == 0) {
        return true;
    }
    return op->weight >= 0 &&
           strncmp(lk_weight_short_name(&plan->weights[op->weight]), want, strlen(want)) == 0;
}

/* Index of a label, added when it is new; -1: no memory. */
static int column_of(struct lk_check_run *c, const char *label, lk_error *err)
{
    lk_check_report *r = c->report;
    for (int k = 0; k < r->n_columns; k++) {
        if (strcmp(r->columns[k], label) == 0) {
            return k;
        }
    }
    if (lk_grow(&r->columns, &c->cap_columns, (size_t)r->n_columns + 1, sizeof *r->columns, err)) {
        return -1;
    }
    snprintf(r->columns[r->n_columns], sizeof *r->columns, "%s", label);
    return r->n_columns++;
}

int lk_check_column(struct lk_check_run *c, const struct lk_plan *slice, int i, lk_error *err)
{
    lk_check_report *r = c->report;
    const struct lk_op *op = &slice->ops[i];
    char label[sizeof *r->columns];
    int same = 1;
    for (int k = 0; k < i; k++) {
        const struct lk_op *one = &slice->ops[k];
        same += op->weight < 0 && one->kind == op->kind && one->layer == op->layer;
    }
    if (op->weight >= 0) {
        const char *name = lk_weight_short_name(&slice->weights[op->weight]);
        size_t n = strcspn(name, "."), rest = n + strcspn(name + n, "[");
        bool bias = op->kind == LK_OP_BIAS, tied = op->kind == LK_OP_MATMUL && op->layer >= 0 &&
                                                   strncmp(name, "token_embd", 10) == 0;
        snprintf(label, sizeof label, "%s%.*s%s%.12s", tied ? "output, " : "", (int)n, name,
                 bias ? " bias" : "", name + rest);
    } else if (same > 1) {
        snprintf(label, sizeof label, "%s %d", lk_op_name(op->kind), same);
    } else {
        snprintf(label, sizeof label, "%s", lk_op_name(op->kind));
    }
    return column_of(c, label, err);
}

/* The columns of every unit, so that the grid has its size before it is filled. */
static lk_status make_grid(struct lk_check_run *c, lk_error *err)
{
    lk_check_report *r = c->report;
    c->fused_column = c->engine.fuse ? column_of(c, "fused", err) : 0;
    if (c->fused_column < 0) {
        return LK_E_NOMEM;
    }
    for (int layer = -1; layer <= c->plan->n_layer; layer++) {
        struct lk_unit_spec spec = {.layer = layer, .last_op = -1};
        struct lk_plan *slice;
        lk_status status = lk_unit_slice(c->plan, &spec, &slice, err);
        for (int i = 0; !status && i < slice->n_ops; i++) {
            status = lk_check_column(c, slice, i, err) < 0 ? LK_E_NOMEM : LK_OK;
        }
        lk_plan_free(&slice);
        if (status) {
            return status;
        }
    }
    r->cells = lk_alloc_array((size_t)(r->n_layers + 2) * (size_t)r->n_columns, sizeof *r->cells);
    return r->cells ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory: the table of a check");
}

/* ---- sides ---- */

lk_status lk_check_scalar(struct lk_check_run *c, lk_error *err)
{
    return c->scalar.impl
               ? LK_OK
               : lk_side_open(&c->scalar, "scalar", "auto", &c->backend_options, c->plan, err);
}

static lk_status describe_cpu(void *user, const struct lk_device *d, lk_error *err)
{
    lk_check_report *r = user;
    (void)err;
    snprintf(r->cpu, sizeof r->cpu, "%.120s: %.120s", d->info.name, d->info.features);
    return LK_OK;
}

/* The device that is asked for, or a GPU where none is named. */
static lk_status open_device(struct lk_check_run *c, const struct lk_backend_impl *vulkan,
                             lk_error *err)
{
    lk_check_report *r = c->report;
    lk_status status =
        lk_device_one(vulkan, &c->backend_options, c->engine.device, &c->device, err);
    if (status) {
        return status;
    }
    c->backend_options.device = &c->device.id;
    status = lk_side_open(&c->subject, "vulkan", c->engine.cpu_level, &c->backend_options,
                          c->device_plan, err);
    if (!status) {
        c->has_vulkan = r->has_device = true;
        r->device = c->device.info;
        vulkan->look(&c->backend_options, &r->device);
    }
    return status;
}

/* Vulkan where it is asked for or "auto" finds a GPU; the reason where not. */
static lk_status open_subject(struct lk_check_run *c, lk_error *err)
{
    const char *want = c->engine.backend;
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    bool named = strcmp(want, "vulkan") == 0 || c->engine.device;
    lk_check_report *r = c->report;
    lk_error why;
    if (strcmp(want, "auto") != 0 && strcmp(want, "vulkan") != 0) {
        snprintf(r->no_device, sizeof r->no_device, "--backend %.40s was asked for", want);
    } else if (!vulkan) {
        snprintf(r->no_device, sizeof r->no_device, "built without Vulkan");
        if (named) {
            return lk_fail(err, LK_E_DEVICE, "vulkan: built without Vulkan");
        }
    } else {
        lk_status status = open_device(c, vulkan, &why);
        if (!status) {
            return LK_OK;
        }
        if (named || status == LK_E_INVALID || status == LK_E_CANCELLED) {
            if (err) {
                *err = why;
            }
            return status;
        }
        snprintf(r->no_device, sizeof r->no_device, "%.500s", why.message);
    }
    return lk_side_open(&c->subject, "cpu", c->engine.cpu_level, &c->backend_options,
                        c->device_plan, err);
}

static lk_status open_sides(struct lk_check_run *c, lk_error *err)
{
    lk_status status = open_subject(c, err);
    if (!status) {
        status = lk_backend_cpu.list(&c->backend_options, describe_cpu, c->report, err);
    }
    if (status) {
        return status;
    }
    if (c->has_vulkan) {
        return lk_side_open(&c->base, "cpu", c->engine.cpu_level, &c->backend_options, c->plan,
                            err);
    }
    bool generic = strcmp(c->subject.caps.level, "generic") == 0;
    return lk_side_open(&c->base, generic ? "scalar" : "cpu", "generic", &c->backend_options,
                        c->plan, err);
}

/* ---- the whole check ---- */

/* Marks the first op of every kind and shape. */
static void find_new_ops(struct lk_check_run *c)
{
    const struct lk_plan *p = c->plan;
    for (int i = 0; i < p->n_ops; i++) {
        const struct lk_op *a = &p->ops[i];
        bool seen = false;
        for (int k = 0; k < i && !seen; k++) {
            const struct lk_op *b = &p->ops[k];
            if (!c->new_op[k] || a->kind != b->kind || (a->weight < 0) != (b->weight < 0) ||
                memcmp(&a->u, &b->u, sizeof a->u) != 0) {
                continue;
            }
            const struct lk_weight *v = a->weight >= 0 ? &p->weights[a->weight] : NULL;
            const struct lk_weight *w = b->weight >= 0 ? &p->weights[b->weight] : NULL;
            seen = !v || (v->type == w->type && v->rows == w->rows && v->cols == w->cols);
            seen &= (a->out < 0) == (b->out < 0) &&
                    (a->out < 0 || p->slots[a->out].width == p->slots[b->out].width);
        }
        c->new_op[i] = !seen;
    }
}

static int32_t bos_of(const lk_model *model)
{
    lk_tokenizer *t;
    lk_error why;
    if (lk_tokenizer_open(model, &t, &why)) {
        return -1; /* a model without a vocabulary */
    }
    int32_t bos = lk_tokenizer_adds_bos(t) ? lk_token_bos(t) : -1;
    lk_tokenizer_close(&t);
    return bos;
}

static lk_status prepare(struct lk_check_run *c, lk_error *err)
{
    lk_check_report *r = c->report;
    const struct lk_plan *p = c->plan;
    enum { DEFAULT_CTX = 4096, SHORT = 10, TOKENS = 72 };
    uint32_t want = c->engine.n_ctx ? c->engine.n_ctx : DEFAULT_CTX;
    int n_ctx = (int)(want < p->n_ctx_max ? want : p->n_ctx_max);
    int n = c->options.quick ? SHORT : TOKENS;
    n = n < n_ctx ? n : n_ctx;
    if (n < LK_FEED_SEQS) {
        return lk_fail(err, LK_E_INVALID, "check: a context of %d tokens, expected at least %d",
                       n_ctx, LK_FEED_SEQS);
    }
    if (c->options.layer < LK_CHECK_ALL || c->options.layer > p->n_layer) {
        return lk_fail(err, LK_E_INVALID, "check: layer %d, the model has 0 to %d",
                       c->options.layer, p->n_layer - 1);
    }
    bool any = false;
    for (int i = 0; i < p->n_ops; i++) {
        any |= lk_check_wants(c, p, &p->ops[i]);
    }
    if (!any) {
        return lk_fail(err, LK_E_INVALID, "check: no op '%s' %s", c->options.op,
                       c->options.layer == LK_CHECK_ALL ? "in the model" : "in that layer");
    }
    int32_t bos = bos_of(c->model);
    lk_status status = lk_feeds_init(&c->feeds, n, n_ctx, p->n_vocab, bos, err);
    if (!status) {
        status = lk_feeds_init(&c->short_feeds, n < SHORT ? n : SHORT, n_ctx, p->n_vocab, bos, err);
    }
    if (status) {
        return status;
    }
    r->quick = c->options.quick;
    r->n_tokens = n;
    r->n_ctx = n_ctx;
    r->n_layers = p->n_layer;
    lk_model_fingerprint(c->model, r->fingerprint);
    status = lk_model_digest(c->model, c->engine.cache_dir, r->weights, err);
    if (status) {
        return status;
    }
    size_t most = lk_feeds_most_floats(&c->feeds, p);
    c->hidden =
        lk_alloc_array((size_t)(p->n_layer + 1) * (size_t)n * (size_t)p->n_embd, sizeof *c->hidden);
    c->x = lk_alloc_array(most, sizeof *c->x);
    c->y = lk_alloc_array(most, sizeof *c->y);
    c->z = lk_alloc_array(most, sizeof *c->z);
    c->new_op = lk_alloc_array((size_t)p->n_ops, sizeof *c->new_op);
    c->lent = lk_alloc_array((size_t)p->n_states + 1, sizeof *c->lent);
    if (!c->hidden || !c->x || !c->y || !c->z || !c->new_op || !c->lent) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: rows of a check");
    }
    c->feeds.lent = c->short_feeds.lent = c->lent;
    find_new_ops(c);
    return make_grid(c, err);
}

static void count_steps(struct lk_check_run *c)
{
    uint64_t n_new = 0;
    for (int layer = -1; layer <= c->plan->n_layer; layer++) {
        n_new += lk_check_is_new(c, layer);
    }
    c->total = (uint64_t)c->plan->n_layer + 2 + n_new;
    if (c->options.layer == LK_CHECK_ALL && !c->options.op) {
        c->total += lk_check_depth_steps(c) + lk_check_whole_steps(c);
    }
}

static lk_status add_probe(struct lk_check_run *c, lk_error *err)
{
    const lk_check_report *r = c->report;
    lk_check_entry e = {.state = !c->has_vulkan          ? LK_CHECK_NOT_RUN
                                 : c->subject.caps.exact ? LK_CHECK_EQUAL
                                                         : LK_CHECK_WITHIN};
    snprintf(e.note, sizeof e.note, "%.300s", c->has_vulkan ? r->device.note : r->no_device);
    return lk_check_put(c, &e, "exactness probe",
                        c->has_vulkan ? "known answers of every primitive, on the device"
                                      : "Vulkan device",
                        err);
}

static void say(struct lk_check_run *c)
{
    lk_check_report *r = c->report;
    uint64_t n = 0;
    int within = 0;
    r->verdict = LK_CHECK_EQUAL;
    for (size_t i = 0; i < r->n_entries; i++) {
        const lk_check_entry *e = &r->entries[i];
        n += e->n_values;
        if (e->state == LK_CHECK_DIFFERS) {
            r->verdict = LK_CHECK_DIFFERS;
        }
        within += e->state == LK_CHECK_WITHIN && e->n_different > 0;
    }
    const lk_check_difference *d = &r->difference;
    char where[200];
    if (r->verdict == LK_CHECK_DIFFERS && r->has_difference && d->op[0]) {
        const char *unit = d->layer < 0 ? "embedding" : d->layer == r->n_layers ? "head" : "layer";
        char number[16] = "";
        if (d->layer >= 0 && d->layer < r->n_layers) {
            snprintf(number, sizeof number, " %d", d->layer);
        }
        snprintf(where, sizeof where, "first wrong: %s%s, %s%s%s%s, on %s", unit, number, d->op,
                 d->tensor[0] ? " (" : "", d->tensor, d->tensor[0] ? ")" : "", d->side);
        snprintf(r->sentence, sizeof r->sentence, "DIFFERS: %s%s%s", where,
                 d->vanishes[0] ? "; " : "", d->vanishes);
    } else if (r->verdict == LK_CHECK_DIFFERS) {
        snprintf(r->sentence, sizeof r->sentence, "DIFFERS: %.400s",
                 r->has_difference ? d->message : "see the table");
    } else if (within || (c->has_vulkan && !c->subject.caps.exact)) {
        r->verdict = LK_CHECK_WITHIN;
        snprintf(r->sentence, sizeof r->sentence,
                 "WITHIN BOUNDS: %.100s is an approximate device (%.200s); all within its bounds",
                 c->subject.name, r->device.note);
    } else {
        snprintf(r->sentence, sizeof r->sentence,
                 "EQUAL: %.100s and %.60s agree in all %llu values%s", c->subject.name,
                 c->base.name, (unsigned long long)n,
                 c->has_vulkan ? "" : "; no Vulkan device was checked");
    }
}

/* A quick check looked at most layers briefly; when only the whole differs it looks again. */
static lk_status look_again(struct lk_check_run *c, lk_error *err)
{
    struct lk_found whole = c->found;
    c->found.is = false;
    c->again = true;
    lk_status status = lk_check_layers(c, err);
    if (!c->found.is) {
        c->found = whole;
    }
    return status;
}

static lk_status run_all(struct lk_check_run *c, lk_error *err)
{
    lk_status status = prepare(c, err);
    bool all = c->options.layer == LK_CHECK_ALL && !c->options.op;
    if (!status) {
        status = open_sides(c, err);
    }
    if (!status) {
        count_steps(c);
        status = add_probe(c, err);
    }
    if (!status) {
        status = lk_check_layers(c, err);
    }
    if (!status && c->found.is) {
        status = lk_check_find(c, err);
    }
    if (!status) {
        status = lk_check_levels(c, err);
    }
    if (!status && all) {
        status = lk_check_depths(c, err);
    }
    if (!status && all) {
        status = lk_check_whole(c, err);
    }
    if (!status && c->found.is && !c->report->has_difference) {
        if (c->options.quick && c->found.spec.depth > 0) {
            status = look_again(c, err);
        }
        status = status ? status : lk_check_find(c, err);
    }
    return status;
}

lk_status lk_check_with(const lk_model *model, const lk_engine_options *engine,
                        const lk_check_options *options, const struct lk_plan *device_plan,
                        lk_check_report **out, lk_error *err)
{
    struct lk_check_run c = {.model = model};
    double from = lk_now();
    c.engine = lk_engine_options_default();
    c.options = lk_check_options_default();
    *out = NULL;
    lk_status taken = lk_options_take(&c.engine, sizeof c.engine, engine, "engine", err);
    if (!taken) {
        taken = lk_options_take(&c.options, sizeof c.options, options, "check", err);
    }
    if (taken) {
        return taken;
    }
    if (c.engine.placement) {
        return lk_fail(err, LK_E_INVALID,
                       "check: placement '%s': it looks at one device at a time, expected none",
                       c.engine.placement);
    }
    c.log = (struct lk_log){c.engine.log, c.engine.user};
    c.backend_options = (struct lk_backend_options){.threads = c.engine.threads,
                                                    .threads_batch = c.engine.threads_batch,
                                                    .pin = c.engine.pin,
                                                    .cpu_level = c.engine.cpu_level,
                                                    .vk_disable = c.engine.vk_disable,
                                                    .cache_dir = c.engine.cache_dir,
                                                    .log = c.log,
                                                    .progress = c.engine.progress,
                                                    .progress_user = c.engine.user};
    struct lk_plan *plan;
    lk_status status = lk_plan_build(model->gguf, &plan, err);
    if (status) {
        return status;
    }
    status = lk_plan_set_kv(plan, c.engine.kv, err);
    if (status) {
        lk_plan_free(&plan);
        return status;
    }
    lk_plan_set_context(plan, c.engine.n_ctx); /* 0: a short one */
    c.plan = plan;
    c.device_plan = device_plan ? device_plan : plan;
    c.report = lk_alloc(sizeof *c.report);
    status = c.report ? run_all(&c, err) : lk_fail(err, LK_E_NOMEM, "out of memory: a check");
    if (!status) {
        say(&c);
        c.report->seconds = lk_now() - from;
    }
    lk_side_close(&c.subject);
    lk_side_close(&c.base);
    lk_side_close(&c.scalar);
    lk_side_close(&c.ref);
    lk_feeds_free(&c.feeds);
    lk_feeds_free(&c.short_feeds);
    for (int i = 0; c.lent && i < plan->n_states; i++) {
        lk_free(c.lent[i]);
    }
    lk_free(c.lent);
    lk_free(c.new_op);
    lk_free(c.hidden);
    lk_free(c.x);
    lk_free(c.y);
    lk_free(c.z);
    lk_free(c.rows);
    lk_plan_free(&plan);
    if (status) {
        lk_check_free(&c.report);
    }
    *out = c.report;
    return status;
}

lk_status lk_check(const lk_model *model, const lk_engine_options *engine,
                   const lk_check_options *options, lk_check_report **out, lk_error *err)
{
    return lk_check_with(model, engine, options, NULL, out, err);
}
