/* SPDX-License-Identifier: Apache-2.0
 *
 * Measure_engine: what a program needs to measure an engine: the cost of a token, the speed of
 * memory, time by op and by kernel. The clocks are the backends'; see the last hooks of struct
 * lk_backend_impl.
 */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "base/mem.h"
#include "base/os.h"

/* NULL: it was lost, and no lane could be opened instead. */
static const struct lk_part *last_part(const struct lk_engine *e)
{
    return e->home->n_parts ? &e->home->part[e->home->n_parts - 1] : NULL;
}

static lk_status no_part(const struct lk_engine *e, lk_error *err)
{
    return lk_fail(err, LK_E_DEVICE_LOST, "%s: a device of it was lost", e->home->describe);
}

/* Bytes of the file's weights that one token makes an op read. */
static uint64_t op_bytes(const struct lk_plan *plan, const struct lk_op *op)
{
    if (op->weight < 0 || plan->weights[op->weight].made) {
        return 0;
    }
    const struct lk_weight *w = &plan->weights[op->weight];
    uint64_t experts = (uint64_t)w->n_experts, used = (uint64_t)plan->n_routed;
    return op->kind == LK_OP_EMBED     ? w->n_bytes / (uint64_t)w->rows
           : op->kind == LK_OP_EXPERTS ? w->n_bytes / experts * used
                                       : w->n_bytes;
}

/* The bytes that all ops of a part read. */
static uint64_t part_bytes(const struct lk_part *part)
{
    const struct lk_plan *plan = part->slice;
    uint64_t bytes = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        bytes += op_bytes(plan, &plan->ops[i]);
    }
    return bytes;
}

/* Multiply-adds of an op for a row of a token. */
static uint64_t op_mul_adds(const struct lk_plan *plan, const struct lk_op *op)
{
    if (!lk_is_product(op)) {
        return 0;
    }
    const struct lk_weight *w = &plan->weights[op->weight];
    uint64_t n = (uint64_t)w->rows * (uint64_t)w->cols;
    return op->kind == LK_OP_EXPERTS ? n / (uint64_t)w->n_experts * (uint64_t)plan->n_routed : n;
}

lk_token_cost lk_engine_token_cost(const lk_engine *e)
{
    lk_token_cost cost = {0};
    for (int i = 0; i < e->plan->n_ops; i++) {
        cost.weight_bytes += op_bytes(e->plan, &e->plan->ops[i]);
        cost.mul_adds += op_mul_adds(e->plan, &e->plan->ops[i]);
    }
    const struct lk_part *last = last_part(e);
    for (int i = 0; last && i < last->slice->n_ops; i++) {
        const struct lk_op *op = &last->slice->ops[i];
        bool wanted = op->out >= 0 && last->slice->slots[op->out].rows == LK_ROWS_OUTPUTS;
        cost.head_mul_adds += wanted ? op_mul_adds(last->slice, op) : 0;
    }
    return cost;
}

static uint64_t part_state_bytes(const struct lk_engine *e, const struct lk_part *part)
{
    struct lk_state_geom geom = {.plan = part->slice,
                                 .n_blocks = e->home->pool.n_blocks,
                                 .n_slots = e->home->pool.n_slots};
    uint64_t bytes = 0;
    for (int i = 0; i < e->plan->n_states; i++) {
        bytes += lk_state_bytes(&geom, i);
    }
    return bytes;
}

lk_memory_use lk_engine_memory(const lk_engine *e)
{
    lk_memory_use use = {.resident = lk_resident_memory(), .file = lk_model_file_bytes(e->model)};
    use.work = (uint64_t)e->max_outputs * (uint64_t)lk_plan_row_width(e->plan) * sizeof *e->rows;
    for (int i = 0; i + 1 < e->home->n_parts; i++) {
        use.work += 2 * (uint64_t)e->home->n_micro * (uint64_t)e->plan->n_embd * sizeof(float);
    }
    for (int i = 0; i < e->home->n_parts; i++) {
        const struct lk_part *part = &e->home->part[i];
        if (part->impl->work_bytes) { /* its memory is the host's */
            use.work += part->impl->work_bytes(part->exec);
            use.cache += part_state_bytes(e, part);
        }
    }
    return use;
}

void lk_engine_threads(const lk_engine *e, int *decode, int *prefill)
{
    const struct lk_part *part = last_part(e);
    *decode = part ? part->on->caps.threads : 0;
    *prefill = part ? part->on->caps.threads_batch : 0;
}

lk_status lk_engine_read_rate(lk_engine *e, uint64_t n_bytes, int passes, double *bytes_per_second,
                              lk_error *err)
{
    double bytes = 0.0, seconds = 0.0;
    lk_status status = last_part(e) ? LK_OK : no_part(e, err);
    *bytes_per_second = 0.0;
    lk_mutex_lock(e->lock);
    for (int i = 0; i < e->home->n_parts && !status; i++) {
        const struct lk_opened *on = e->home->part[i].on;
        double share = 0.0, rate = 1.0;
        bool seen = false;
        for (int k = 0; k < e->home->n_parts; k++) { /* a device is measured once */
            bool same = e->home->part[k].on == on;
            seen |= same && k < i;
            share += same ? (double)part_bytes(&e->home->part[k]) : 0.0;
        }
        if (!seen && !on->impl->read_rate) {
            status = lk_fail(err, LK_E_UNSUPPORTED,
                             "backend '%s': its memory's speed is not measured", on->impl->name);
        } else if (!seen) {
            status = on->impl->read_rate(on->backend, n_bytes, passes, &rate, err);
            bytes += share;
            seconds += share / rate;
        }
    }
    lk_mutex_unlock(e->lock);
    if (!status) {
        *bytes_per_second = bytes / seconds;
    }
    return status;
}

/* ---- time by op ---- */

lk_status lk_engine_profile(lk_engine *e, bool on, lk_error *err)
{
    lk_status status = LK_OK;
    for (int i = 0; i < e->home->n_parts; i++) {
        const struct lk_part *part = &e->home->part[i];
        if (!part->impl->profile) {
            return lk_fail(err, LK_E_UNSUPPORTED, "backend '%s': its ops are not timed",
                           part->impl->name);
        }
    }
    lk_mutex_lock(e->lock);
    for (int i = 0; i < e->home->n_parts && !status; i++) {
        const struct lk_part *part = &e->home->part[i];
        status = part->impl->profile(part->exec, on, err);
    }
    lk_mutex_unlock(e->lock);
    return status;
}

struct rows {
    lk_op_time *row;
    int n;
};

/* The row of a kind, tensor and type; rows has room for one more. */
static lk_op_time *row_of(struct rows *rows, const char *kind, const char *name, const char *type)
{
    for (int i = 0; i < rows->n; i++) {
        lk_op_time *r = &rows->row[i];
        if (strcmp(r->kind, kind) == 0 && strcmp(r->name, name) == 0 &&
            strcmp(r->type, type) == 0) {
            return r;
        }
    }
    lk_op_time *r = &rows->row[rows->n++];
    r->kind = kind;
    r->type = type;
    memcpy(r->name, name, strlen(name) + 1);
    return r;
}

static void add_part(struct rows *rows, const struct lk_part *part, lk_op_time *prepare,
                     lk_op_time *wait)
{
    const struct lk_plan *plan = part->slice;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
        struct lk_op_seconds t;
        part->impl->op_seconds(part->exec, i, &t);
        lk_op_time *r = row_of(rows, lk_op_name(op->kind), w ? lk_weight_short_name(w) : "",
                               w ? lk_type_info(w->type)->name : "");
        r->calls += t.calls;
        r->seconds += t.run;
        r->n_bytes += op->kind == LK_OP_EMBED ? 0 : t.calls * op_bytes(plan, op);
        prepare->seconds += t.prepare;
        prepare->calls += t.prepare > 0.0 ? t.calls : 0;
        wait->seconds += t.wait;
        wait->calls += t.calls;
    }
}

lk_status lk_engine_op_times(lk_engine *e, void (*each)(void *user, const lk_op_time *time),
                             void *user, lk_error *err)
{
    struct rows rows = {.row = lk_alloc_array((size_t)e->plan->n_ops, sizeof *rows.row)};
    lk_op_time prepare = {.kind = "prepare", .type = ""}, wait = {.kind = "wait", .type = ""};
    if (!rows.row) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: times of %d ops", e->plan->n_ops);
    }
    lk_mutex_lock(e->lock);
    for (int i = 0; i < e->home->n_parts; i++) {
        const struct lk_part *part = &e->home->part[i];
        if (part->impl->op_seconds) {
            add_part(&rows, part, &prepare, &wait);
        }
    }
    lk_mutex_unlock(e->lock);
    for (int i = 0; i < rows.n; i++) {
        each(user, &rows.row[i]);
    }
    each(user, &prepare);
    each(user, &wait);
    lk_free(rows.row);
    return LK_OK;
}

/* ---- kernels ---- */

/* The type in which most of the plan's multiply-adds are. */
static const char *main_type(const struct lk_plan *plan)
{
    size_t n, best = 0;
    const struct lk_type_info *types = lk_types(&n);
    uint64_t work[LK_N_TYPES] = {0};
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (lk_is_product(op)) {
            const struct lk_weight *w = &plan->weights[op->weight];
            size_t t = (size_t)(lk_type_info((uint32_t)w->type) - types);
            work[t] += (uint64_t)w->rows * (uint64_t)w->cols;
            best = work[t] > work[best] ? t : best;
        }
    }
    return types[best].name;
}

static bool take_kernel(void *user, const lk_kernel_time *time)
{
    lk_kernel_time *out = user;
    *out = *time;
    return true;
}

lk_status lk_engine_time_kernel(lk_engine *e, int n_tokens, lk_kernel_time *out, lk_error *err)
{
    const struct lk_part *part = last_part(e);
    if (!part) {
        return no_part(e, err);
    }
    if (!part->impl->kernels) {
        return lk_fail(err, LK_E_UNSUPPORTED, "backend '%s': its kernels are not timed",
                       part->impl->name);
    }
    if (n_tokens < 1 || n_tokens > 8192) {
        return lk_fail(err, LK_E_INVALID, "timing a kernel: %d tokens, expected 1 to 8192",
                       n_tokens);
    }
    struct lk_backend_options bo = {.threads = e->options.threads,
                                    .threads_batch = e->options.threads_batch,
                                    .pin = e->options.pin,
                                    .cpu_level = e->options.cpu_level,
                                    .device = &part->on->device,
                                    .vk_disable = e->options.vk_disable,
                                    .cache_dir = e->options.cache_dir,
                                    .log = e->log};
    return part->impl->kernels(&bo, false, main_type(e->plan), n_tokens, take_kernel, out, err);
}

/* Whether there are kernels of a type of this name; the error has the names. */
static lk_status check_type(const char *type, lk_error *err)
{
    char known[512];
    size_t n, at = 0;
    const struct lk_type_info *types = lk_types(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(types[i].name, type) == 0) {
            return LK_OK;
        }
        at += (size_t)snprintf(known + at, at < sizeof known ? sizeof known - at : 0, "%s%s",
                               i ? ", " : "", types[i].name);
        at = at < sizeof known ? at : sizeof known;
    }
    return lk_fail(err, LK_E_INVALID, "timing kernels: type '%.40s', expected one of %s", type,
                   known);
}

lk_status lk_bench_kernels(const lk_engine_options *options, const char *type, int n_tokens,
                           bool (*each)(void *user, const lk_kernel_time *time), void *user,
                           lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    lk_status taken = lk_options_take(&o, sizeof o, options, "engine", err);
    if (taken) {
        return taken;
    }
    if (n_tokens < 1 || n_tokens > 8192 || o.threads < 0 || o.threads_batch < 0) {
        return lk_fail(err, LK_E_INVALID,
                       "timing kernels: %d tokens, threads %d and %d, expected 1 to 8192 tokens "
                       "and no negative number of threads",
                       n_tokens, o.threads, o.threads_batch);
    }
    lk_status status = type ? check_type(type, err) : LK_OK;
    if (status) {
        return status;
    }
    struct lk_backend_options bo = {.threads = o.threads,
                                    .threads_batch = o.threads_batch,
                                    .pin = o.pin,
                                    .cpu_level = o.cpu_level,
                                    .vk_disable = o.vk_disable,
                                    .cache_dir = o.cache_dir,
                                    .log = {o.log, o.user}};
    const char *name = strcmp(o.backend, "auto") == 0 ? "cpu" : o.backend;
    const struct lk_backend_impl *impl = lk_backend_find(name);
    if (!impl || !impl->kernels) {
        return lk_fail(err, impl ? LK_E_UNSUPPORTED : LK_E_INVALID,
                       "backend '%s': its kernels are not timed", name);
    }
    struct lk_device device;
    if (impl->look) {
        status = lk_device_one(impl, &bo, o.device, &device, err);
        if (status) {
            return status;
        }
        bo.device = &device.id;
    }
    bool all = strcmp(o.cpu_level, "auto") == 0;
    return impl->kernels(&bo, all, type, n_tokens, each, user, err);
}
