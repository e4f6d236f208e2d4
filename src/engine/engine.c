/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine: a mapped model, its plan and the lanes it can run on. Chooses backends, falls back, says
 * why. Timelines are src/engine/session.c's.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "backend/device_list.h"
#include "base/mem.h"
#include "gguf/model_file.h"
#include "plan/plan.h"

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 512, MAX_ROW_BYTES = 128 << 20 };

lk_engine_options lk_engine_options_default(void)
{
    return (lk_engine_options){.size = sizeof(lk_engine_options),
                               .backend = "auto",
                               .gpu_layers = LK_GPU_LAYERS_AUTO,
                               .n_sessions = 1,
                               .n_batch = DEFAULT_BATCH,
                               .cpu_level = "auto",
                               .fuse = true};
}

/* ---- lanes ---- */

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

static void lane_free(struct lk_lane *lane)
{
    if (!lane) {
        return;
    }
    for (int i = 0; i < LK_LANE_PARTS; i++) {
        struct lk_part *part = &lane->part[i];
        part_clear(part);
        if (part->backend) {
            part->impl->close(part->backend);
        }
    }
    lk_state_pool_free(&lane->pool);
    lk_free(lane->hidden);
    lk_free(lane);
}

static struct lk_backend_options backend_options(const struct lk_engine *e)
{
    return (struct lk_backend_options){.threads = e->options.threads,
                                       .threads_batch = e->options.threads_batch,
                                       .pin = e->options.pin,
                                       .cpu_level = e->options.cpu_level,
                                       .device = e->has_device ? &e->device.id : NULL,
                                       .vk_disable = e->options.vk_disable,
                                       .cache_dir = e->options.cache_dir,
                                       .log = e->log,
                                       .progress = e->options.progress,
                                       .progress_user = e->options.user};
}

static int n_blocks_of(const struct lk_engine *e)
{
    int per_session = (int)((e->n_ctx + LK_KV_BLOCK - 1) / LK_KV_BLOCK);
    return (int)e->n_sessions * per_session;
}

/* A slot for each session where a layer has a recurrent state. */
static int n_slots_of(const struct lk_engine *e)
{
    for (int i = 0; i < e->plan->n_states; i++) {
        if (!lk_state_is_paged(&e->plan->states[i])) {
            return (int)e->n_sessions;
        }
    }
    return 0;
}

/* Resolves options.device once. */
static lk_status find_device(struct lk_engine *e, const struct lk_backend_impl *impl, lk_error *err)
{
    struct lk_backend_options options = backend_options(e);
    lk_status status = LK_OK;
    if (!e->has_device) {
        status = lk_device_one(impl, &options, e->options.device, &e->device, err);
        e->has_device = !status;
    }
    return status;
}

static lk_status part_open(struct lk_engine *e, struct lk_part *part, const char *name,
                           lk_error *err)
{
    part->impl = lk_backend_find(name);
    if (!part->impl) {
        return lk_fail(err, LK_E_INVALID,
                       "backend '%s': not one of auto, vulkan (if built in), cpu, scalar, ref",
                       name);
    }
    lk_status status = part->impl->look ? find_device(e, part->impl, err) : LK_OK;
    struct lk_backend_options options = backend_options(e);
    if (status) {
        return status;
    }
    return part->impl->open(&options, &part->backend, &part->caps, err);
}

/* Allocates the cache of layers [first, last), then prepares them: where there is no room for all
 * of it, that shows before weights are packed. */
static lk_status part_prepare(const struct lk_engine *e, struct lk_part *part, int first, int last,
                              lk_error *err)
{
    const struct lk_plan *whole = e->plan;
    lk_status status = LK_OK;
    if (first > 0 || last < whole->n_layer) {
        status = lk_plan_slice(whole, first, last, first == 0, last == whole->n_layer, &part->slice,
                               err);
    }
    part->first_layer = first;
    part->last_layer = last;
    struct lk_state_geom geom = {.plan = part->slice ? part->slice : whole,
                                 .n_blocks = n_blocks_of(e),
                                 .n_slots = n_slots_of(e)};
    if (!status) {
        status = part->impl->state_alloc(part->backend, &geom, &part->states, err);
    }
    if (status) {
        return status;
    }
    struct lk_exec_options eo = {
        .plan = geom.plan,
        .max_tokens = (int)e->n_batch,
        .max_outputs = e->max_outputs,
        .max_seqs = e->max_seqs,
        .max_blocks = (int)((e->n_ctx + LK_KV_BLOCK - 1) / LK_KV_BLOCK),
        .fuse = e->options.fuse,
    };
    return part->impl->prepare(part->backend, &eo, &part->exec, err);
}

static lk_status lane_finish(struct lk_engine *e, struct lk_lane *lane, lk_error *err)
{
    if (lane->n_parts > 1) {
        lane->hidden = lk_alloc_array((size_t)e->n_batch * (size_t)e->plan->n_embd, sizeof(float));
        if (!lane->hidden) {
            return lk_fail(err, LK_E_NOMEM, "out of memory: hidden rows between backends");
        }
    }
    return lk_state_pool_init(&lane->pool, n_blocks_of(e), n_slots_of(e), err);
}

/* A lane with the last `on_device` layers (and the head) on the backend `name`, the rest on the
 * CPU; on_device == n_layer puts everything there. With `fewer`: as many of them as its memory
 * holds, at least one. */
static lk_status lane_open(struct lk_engine *e, const char *name, int on_device, bool fewer,
                           struct lk_lane **out, lk_error *err)
{
    struct lk_lane *lane = lk_alloc(sizeof *lane);
    if (!lane) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening backend '%s'", name);
    }
    int n = e->plan->n_layer, want = on_device;
    struct lk_part *device = &lane->part[0];
    snprintf(lane->name, sizeof lane->name, "%s", name);
    lane->n_parts = 1;
    lk_status status = part_open(e, device, name, err);
    for (bool again = !status; again; on_device -= again) {
        part_clear(device);
        status = part_prepare(e, device, n - on_device, n, err);
        again = status == LK_E_NOMEM && fewer && on_device > 1;
    }
    if (!status && on_device < n) {
        lane->part[1] = *device;
        *device = (struct lk_part){0};
        lane->n_parts = 2;
        status = part_open(e, &lane->part[0], "cpu", err);
        if (!status) {
            status = part_prepare(e, &lane->part[0], 0, n - on_device, err);
        }
    }
    if (!status) {
        status = lane_finish(e, lane, err);
    }
    if (status) {
        lane_free(lane);
        return status;
    }
    const char *described = lane->part[lane->n_parts - 1].caps.describe;
    if (on_device < n) {
        snprintf(lane->describe, sizeof lane->describe, "%d of %d layers on %s, the rest on %s",
                 on_device, n, described, lane->part[0].caps.describe);
    } else {
        snprintf(lane->describe, sizeof lane->describe, "%s", described);
    }
    if (on_device < want) {
        lk_log_line(&e->log, LK_LOG_WARN,
                    "device memory holds %d of %d layers; the rest run on the CPU", on_device, n);
    }
    *out = lane;
    return LK_OK;
}

/* "vulkan" with as many layers as asked for, or as fit. */
static lk_status lane_open_vulkan(struct lk_engine *e, struct lk_lane **out, lk_error *err)
{
    int n = e->plan->n_layer, want = e->options.gpu_layers;
    bool fit = want == LK_GPU_LAYERS_AUTO;
    if (want < 0 || want > n) {
        want = n;
    }
    return want == 0 ? lane_open(e, "cpu", n, false, out, err)
                     : lane_open(e, "vulkan", want, fit, out, err);
}

lk_status lk_engine_lane(struct lk_engine *e, const char *name, struct lk_lane **out, lk_error *err)
{
    for (int i = 0; i < e->n_lanes; i++) {
        if (!e->lane[i]->lost && strcmp(e->lane[i]->name, name) == 0) {
            *out = e->lane[i];
            return LK_OK;
        }
    }
    if (e->n_lanes == LK_ENGINE_LANES) {
        return lk_fail(err, LK_E_DEVICE, "backend '%s': opened and lost too often", name);
    }
    struct lk_lane *lane;
    lk_status status = strcmp(name, "vulkan") == 0
                           ? lane_open_vulkan(e, &lane, err)
                           : lane_open(e, name, e->plan->n_layer, false, &lane, err);
    if (status) {
        return status;
    }
    /* --gpu-layers 0 opens the CPU under the name that was asked for. */
    snprintf(lane->name, sizeof lane->name, "%s", name);
    e->lane[e->n_lanes++] = lane;
    *out = lane;
    return LK_OK;
}

lk_status lk_lane_run(struct lk_engine *e, struct lk_lane *lane, struct lk_batch *batch,
                      lk_error *err)
{
    batch->hidden_in = NULL;
    for (int i = 0; i < lane->n_parts; i++) {
        struct lk_part *part = &lane->part[i];
        bool last = i == lane->n_parts - 1;
        batch->out = last ? e->rows : lane->hidden;
        lk_status status = part->impl->run(part->exec, part->states, batch, err);
        if (status) {
            lane->lost |= status == LK_E_DEVICE_LOST;
            return status;
        }
        batch->hidden_in = lane->hidden;
    }
    return LK_OK;
}

/* ---- states ---- */

int lk_seq_units(const struct lk_plan *plan, int state, const struct lk_state_seq *seq)
{
    return lk_state_is_paged(&plan->states[state]) ? seq->n_blocks : seq->slot >= 0;
}

int lk_seq_unit(const struct lk_plan *plan, int state, const struct lk_state_seq *seq, int i)
{
    return lk_state_is_paged(&plan->states[state]) ? seq->blocks[i] : seq->slot;
}

size_t lk_most_unit_bytes(const struct lk_plan *plan)
{
    size_t most = 1;
    for (int i = 0; i < plan->n_states; i++) {
        size_t n = lk_state_unit_bytes(&plan->states[i]);
        most = n > most ? n : most;
    }
    return most;
}

static struct lk_part *part_of_state(struct lk_lane *lane, const struct lk_plan *plan, int state)
{
    struct lk_part *part = &lane->part[0];
    while (plan->states[state].layer >= part->last_layer) {
        part++;
    }
    return part;
}

lk_status lk_lane_read(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                       void *data, lk_error *err)
{
    struct lk_part *part = part_of_state(lane, plan, state);
    size_t n = lk_state_unit_bytes(&plan->states[state]);
    lk_status status = part->impl->state_read(part->states, state, (size_t)unit * n, data, n, err);
    lane->lost |= status == LK_E_DEVICE_LOST;
    return status;
}

lk_status lk_lane_write(struct lk_lane *lane, const struct lk_plan *plan, int state, int unit,
                        const void *data, lk_error *err)
{
    struct lk_part *part = part_of_state(lane, plan, state);
    size_t n = lk_state_unit_bytes(&plan->states[state]);
    lk_status status = part->impl->state_write(part->states, state, (size_t)unit * n, data, n, err);
    lane->lost |= status == LK_E_DEVICE_LOST;
    return status;
}

/* ---- open ---- */

/* "auto": a Vulkan GPU when one answers and opens, else the CPU; the log says why. A device that is
 * named and not there is an error. */
static lk_status open_home(struct lk_engine *e, lk_error *err)
{
    if (strcmp(e->options.backend, "auto") != 0) {
        return lk_engine_lane(e, e->options.backend, &e->home, err);
    }
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    const char *named = e->options.device;
    if (!vulkan && named) {
        return lk_fail(err, LK_E_DEVICE, "device '%s': built without Vulkan", named);
    } else if (!vulkan) {
        lk_log_line(&e->log, LK_LOG_INFO, "running on the CPU: built without Vulkan");
    } else if (e->options.gpu_layers == 0) {
        lk_log_line(&e->log, LK_LOG_INFO, "running on the CPU: no layers asked for on the GPU");
    } else {
        lk_error why = {0};
        lk_status status = find_device(e, vulkan, &why);
        bool missing = status && named; /* what is named must be there */
        if (!status) {
            status = lk_engine_lane(e, "vulkan", &e->home, &why);
        }
        if (!status || missing || status == LK_E_FORMAT || status == LK_E_CANCELLED ||
            status == LK_E_INVALID) {
            if (status && err) {
                *err = why;
            }
            return status;
        }
        lk_log_line(&e->log, LK_LOG_WARN, "running on the CPU: %s", why.message);
    }
    return lk_engine_lane(e, "cpu", &e->home, err);
}

static lk_status copy_string(struct lk_engine *e, int i, const char **s, lk_error *err)
{
    if (!*s) {
        return LK_OK;
    }
    size_t n = strlen(*s) + 1;
    e->strings[i] = lk_alloc(n);
    if (!e->strings[i]) {
        return lk_fail(err, LK_E_NOMEM, "out of memory copying options");
    }
    memcpy(e->strings[i], *s, n);
    *s = e->strings[i];
    return LK_OK;
}

static lk_status take_options(struct lk_engine *e, const lk_engine_options *options, lk_error *err)
{
    lk_engine_options *o = &e->options;
    *o = lk_engine_options_default();
    lk_status status = lk_options_take(o, sizeof *o, options, "engine", err);
    if (status) {
        return status;
    }
    if (!o->backend || !o->cpu_level) {
        return lk_fail(err, LK_E_INVALID, "engine options: %s is NULL, expected a name",
                       o->backend ? "cpu_level" : "backend");
    }
    if (o->device && !*o->device) {
        return lk_fail(err, LK_E_INVALID,
                       "engine options: device is '', expected a number, a part of a name or NULL");
    }
    if (o->n_sessions < 1 || o->n_sessions > 4096) {
        return lk_fail(err, LK_E_INVALID, "engine options: n_sessions is %u, expected 1 to 4096",
                       o->n_sessions);
    }
    if (o->n_batch < 1 || o->n_batch > 8192) {
        return lk_fail(err, LK_E_INVALID, "engine options: n_batch is %u, expected 1 to 8192",
                       o->n_batch);
    }
    if (o->threads < 0 || o->threads > 1024 || o->threads_batch < 0 || o->threads_batch > 1024) {
        return lk_fail(err, LK_E_INVALID, "engine options: threads %d and %d, expected 0 to 1024",
                       o->threads, o->threads_batch);
    }
    if (o->gpu_layers < LK_GPU_LAYERS_ALL) {
        return lk_fail(err, LK_E_INVALID,
                       "engine options: gpu_layers is %d, expected auto, all or "
                       "a number",
                       o->gpu_layers);
    }
    e->log = (struct lk_log){o->log, o->user};
    const char **strings[] = {&o->backend, &o->device, &o->cpu_level, &o->vk_disable,
                              &o->cache_dir};
    for (int i = 0; i < (int)LK_COUNT(strings) && !status; i++) {
        status = copy_string(e, i, strings[i], err);
    }
    return status;
}

static lk_status take_context(struct lk_engine *e, lk_error *err)
{
    uint32_t most = e->plan->n_ctx_max, want = e->options.n_ctx;
    if (want > most) {
        return lk_fail(err, LK_E_INVALID, "context of %u tokens: the model was made for at most %u",
                       want, most);
    }
    e->n_ctx = want ? want : most < DEFAULT_CTX ? most : DEFAULT_CTX;
    e->n_batch = e->options.n_batch < e->n_ctx ? e->options.n_batch : e->n_ctx;
    e->n_sessions = e->options.n_sessions;
    size_t row = (size_t)e->plan->n_vocab * sizeof(float);
    size_t rows = MAX_ROW_BYTES / row ? MAX_ROW_BYTES / row : 1;
    if (rows > e->n_batch) {
        rows = e->n_batch;
    }
    e->max_outputs = (int)rows;
    e->max_seqs = (int)(e->n_batch < 256 ? e->n_batch : 256);
    e->rows = lk_pages_alloc(rows * row);
    e->token = lk_alloc_array(e->n_batch, sizeof *e->token);
    e->pos = lk_alloc_array(e->n_batch, sizeof *e->pos);
    e->seq = lk_alloc_array(e->n_batch, sizeof *e->seq);
    e->outputs = lk_alloc_array(e->n_batch, sizeof *e->outputs);
    e->seqs = lk_alloc_array((size_t)e->max_seqs, sizeof *e->seqs);
    if (!e->rows || !e->token || !e->pos || !e->seq || !e->outputs || !e->seqs) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: %zu rows of logits", rows);
    }
    return LK_OK;
}

static void engine_free(lk_engine *e)
{
    for (int i = 0; i < e->n_lanes; i++) {
        lane_free(e->lane[i]);
    }
    lk_mutex_free(e->lock);
    if (e->rows) {
        lk_pages_free(e->rows, (size_t)e->max_outputs * (size_t)e->plan->n_vocab * sizeof *e->rows);
    }
    lk_free(e->token);
    lk_free(e->pos);
    lk_free(e->seq);
    lk_free(e->outputs);
    lk_free(e->seqs);
    lk_plan_free(&e->plan);
    for (size_t i = 0; i < LK_COUNT(e->strings); i++) {
        lk_free(e->strings[i]);
    }
    lk_free(e);
}

lk_status lk_engine_open(const lk_model *model, const lk_engine_options *options, lk_engine **out,
                         lk_error *err)
{
    *out = NULL;
    lk_engine *e = lk_alloc(sizeof *e);
    if (!e) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening the engine");
    }
    e->model = model;
    lk_status status = take_options(e, options, err);
    if (!status) {
        status = lk_plan_build(model->gguf, &e->plan, err);
    }
    if (!status) {
        status = take_context(e, err);
    }
    if (!status) {
        e->lock = lk_mutex_new();
        if (!e->lock) {
            status = lk_fail(err, LK_E_NOMEM, "out of memory opening the engine");
        }
    }
    if (!status) {
        status = open_home(e, err);
    }
    if (status) {
        engine_free(e);
        return status;
    }
    *out = e;
    return LK_OK;
}

void lk_engine_close(lk_engine **engine)
{
    if (engine && *engine) {
        lk_mutex_lock((*engine)->lock);
        (*engine)->closed = true;
        lk_engine_let_go(*engine);
        *engine = NULL;
    }
}

void lk_engine_let_go(lk_engine *e)
{
    bool last = e->closed && e->n_open == 0;
    lk_mutex_unlock(e->lock);
    if (last) {
        engine_free(e);
    }
}

size_t lk_engine_n_vocab(const lk_engine *engine)
{
    return (size_t)engine->plan->n_vocab;
}

uint32_t lk_engine_n_ctx(const lk_engine *engine)
{
    return engine->n_ctx;
}

uint32_t lk_engine_n_layers(const lk_engine *engine)
{
    return (uint32_t)engine->plan->n_layer;
}

const char *lk_engine_describe(const lk_engine *engine)
{
    return engine->home->describe;
}
