/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine: a mapped model, its plan and the lanes it can run on. Takes the options, opens lanes by
 * name, falls back, says why. Timelines are src/engine/session.c's.
 */
#include "engine/engine.h"

#include <string.h>

#include "base/mem.h"
#include "gguf/model_file.h"
#include "plan/plan.h"

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 512, MAX_ROW_BYTES = 128 << 20 };

lk_engine_options lk_engine_options_default(void)
{
    return (lk_engine_options){.size = sizeof(lk_engine_options),
                               .backend = "auto",
                               .gpu_layers = LK_GPU_LAYERS_AUTO,
                               .cpu_experts = LK_CPU_EXPERTS_AUTO,
                               .checkpoint_bytes = (uint64_t)2 << 30,
                               .n_sessions = 1,
                               .cpu_level = "auto",
                               .fuse = true};
}

/* ---- devices ---- */

/* The Vulkan devices that there are. */
static lk_status list_devices(void *user, const struct lk_device_list **out, lk_error *err)
{
    struct lk_engine *e = user;
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    lk_status status = LK_OK;
    if (!e->listed && vulkan) {
        struct lk_backend_options options = {.vk_disable = e->options.vk_disable,
                                             .cache_dir = e->options.cache_dir,
                                             .log = e->log};
        status = lk_device_list_find(vulkan, &options, &e->devices, err);
        e->listed = !status;
    }
    *out = &e->devices;
    return status;
}

/* Resolves options.device, once. */
static lk_status name_devices(struct lk_engine *e, lk_error *err)
{
    const struct lk_device_list *list;
    const char *text = e->options.device;
    if (e->n_named > 0) {
        return LK_OK;
    }
    lk_status status = list_devices(e, &list, err);
    if (status) {
        return text ? lk_fail_prefix(err, status, "device '%s'", text) : status;
    }
    int *index = lk_alloc_array(list->n + 1, sizeof *index), n = 1;
    e->named = lk_alloc_array(list->n + 1, sizeof(const struct lk_device *));
    if (!index || !e->named) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory listing devices");
    } else if (text) {
        status = lk_device_resolve(list, text, index, &n, err);
    } else {
        index[0] = lk_device_choose(list, err);
        status = index[0] < 0 ? LK_E_DEVICE : LK_OK;
    }
    for (int i = 0; i < n && !status; i++) {
        e->named[i] = &list->items[index[i]];
    }
    e->n_named = status ? 0 : n;
    if (status) {
        lk_free(e->named);
        e->named = NULL;
    }
    lk_free(index);
    return status;
}

/* ---- lanes ---- */

static lk_status open_on_backend(struct lk_engine *e, const char *name, struct lk_lane **out,
                                 lk_error *err)
{
    struct lk_place place = {.impl = lk_backend_find(name), .last = lk_stage_of(e->plan->n_layer)};
    struct lk_placement p = {.parts = &place, .n = 1};
    if (!place.impl) {
        return lk_fail(err, LK_E_INVALID,
                       "backend '%s': not one of auto, vulkan (if built in), cpu, scalar, ref",
                       name);
    }
    return lk_lane_open(e, &p, out, err);
}

/* Opens a lane on the devices that are named and not lost, with as many layers as were asked for,
 * or as fit. */
static lk_status open_on_devices(struct lk_engine *e, bool fit, struct lk_lane **out, lk_error *err)
{
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    int most = e->plan->n_layer, want = e->options.gpu_layers, n = 0;
    lk_status status = want == 0 && !e->options.device ? LK_OK : name_devices(e, err);
    if (status || want == 0) {
        return status ? status : open_on_backend(e, "cpu", out, err);
    }
    const struct lk_device **devices =
        lk_alloc_array((size_t)e->n_named, sizeof(const struct lk_device *));
    if (!devices) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a lane on %d devices", e->n_named);
    }
    for (int i = 0; i < e->n_named; i++) {
        if (!fit || !lk_device_is_lost(e, vulkan, &e->named[i]->id)) {
            devices[n++] = e->named[i];
        }
    }
    bool all = want != LK_GPU_LAYERS_AUTO && !fit;
    want = want < 0 || want > most ? most : want;
    status = n > 0 ? lk_lane_open_on(e, vulkan, devices, n, want, all, out, err)
                   : lk_fail(err, LK_E_DEVICE, "vulkan: all devices were lost");
    lk_free(devices);
    return status;
}

/* Puts a lane into the engine, under a name. */
static lk_status add_lane(struct lk_engine *e, struct lk_lane *lane, const char *name,
                          lk_error *err)
{
    size_t n = strlen(name) + 1;
    lk_status status = lk_grow(&e->lane, &e->cap_lanes, e->n_lanes + 1, sizeof *e->lane, err);
    lane->name = status ? NULL : lk_alloc(n);
    if (!lane->name) {
        lk_lane_free(e, lane);
        return status ? status : lk_fail(err, LK_E_NOMEM, "out of memory: a lane");
    }
    memcpy(lane->name, name, n);
    e->lane[e->n_lanes++] = lane;
    return LK_OK;
}

static lk_status placed_lane(struct lk_engine *e, const struct lk_placement *p, const char *name,
                             struct lk_lane **out, lk_error *err)
{
    for (size_t i = 0; i < e->n_lanes; i++) {
        if (!e->lane[i]->lost && lk_placement_same(&e->lane[i]->placement, p)) {
            *out = e->lane[i];
            return LK_OK;
        }
    }
    lk_status status = lk_lane_open(e, p, out, err);
    return status ? status : add_lane(e, *out, name, err);
}

lk_status lk_engine_lane(struct lk_engine *e, const char *name, struct lk_lane **out, lk_error *err)
{
    for (size_t i = 0; i < e->n_lanes; i++) {
        if (!e->lane[i]->lost && strcmp(e->lane[i]->name, name) == 0) {
            *out = e->lane[i];
            return LK_OK;
        }
    }
    lk_status status;
    if (lk_placement_is(name)) {
        struct lk_placement p;
        status = lk_placement_parse(name, e->plan->n_layer, list_devices, e, &p, err);
        if (!status) {
            status = placed_lane(e, &p, name, out, err);
            lk_placement_free(&p);
        }
        return status;
    }
    status = strcmp(name, "vulkan") == 0 && lk_backend_find(name)
                 ? open_on_devices(e, false, out, err)
                 : open_on_backend(e, name, out, err);
    return status ? status : add_lane(e, *out, name, err);
}

/* ---- after a loss ---- */

/* The placement of a lost lane, with the CPU in the place of what was lost. */
static lk_status place_without(struct lk_engine *e, const struct lk_placement *lost,
                               struct lk_placement *out, lk_error *err)
{
    bool *is_gone = lk_alloc_array((size_t)lost->n, sizeof *is_gone);
    if (!is_gone) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a lane");
    }
    for (int i = 0; i < lost->n; i++) {
        is_gone[i] = lk_device_is_lost(e, lost->parts[i].impl, &lost->parts[i].device);
    }
    lk_status status = lk_placement_without(lost, is_gone, lk_backend_find("cpu"), out, err);
    lk_free(is_gone);
    return status;
}

/* A lane like the lost one on what is left of its devices; NULL in *out where that is none. */
static lk_status open_like(struct lk_engine *e, const struct lk_lane *lost, struct lk_lane **out,
                           lk_error *err)
{
    lk_status status;
    *out = NULL;
    if (strcmp(lost->name, "vulkan") == 0) {
        int left = 0;
        for (int i = 0; i < e->n_named; i++) {
            left += !lk_device_is_lost(e, lk_backend_find("vulkan"), &e->named[i]->id);
        }
        status = left > 0 ? open_on_devices(e, true, out, err) : LK_OK;
        return status || !*out ? status : add_lane(e, *out, lost->name, err);
    }
    struct lk_placement p = {0};
    if (!lk_placement_is(lost->name)) {
        return LK_OK;
    }
    status = place_without(e, &lost->placement, &p, err);
    if (!status && p.n > 1) {
        char *name = lk_placement_text(&p, &e->devices);
        status = name ? placed_lane(e, &p, name, out, err)
                      : lk_fail(err, LK_E_NOMEM, "out of memory: a lane");
        lk_free(name);
    }
    lk_placement_free(&p);
    return status;
}

lk_status lk_engine_lane_after(struct lk_engine *e, struct lk_lane *lost, struct lk_lane **out,
                               lk_error *err)
{
    lk_error why;
    while (lost->instead && lost->instead->lost) {
        lost = lost->instead;
    }
    if (lost->instead) {
        *out = lost->instead;
        return LK_OK;
    }
    lk_lane_shut(e, lost);
    lk_status status = open_like(e, lost, out, &why);
    if (status) {
        lk_log_line(&e->log, LK_LOG_WARN, "continuing on the CPU: %s", why.message);
    }
    if (status || !*out) {
        status = lk_engine_lane(e, "cpu", out, err);
    }
    lost->instead = status ? NULL : *out;
    return status;
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

/* ---- open ---- */

/* "auto": a Vulkan GPU when there is one and it opens, else the CPU; the log says why. A device
 * that is named and not there is an error. */
static lk_status open_auto(struct lk_engine *e, lk_error *err)
{
    const char *named = e->options.device;
    lk_error why = {0};
    if (!lk_backend_find("vulkan") && named) {
        return lk_fail(err, LK_E_DEVICE, "device '%s': built without Vulkan", named);
    }
    if (!lk_backend_find("vulkan")) {
        lk_log_line(&e->log, LK_LOG_INFO, "running on the CPU: built without Vulkan");
        return lk_engine_lane(e, "cpu", &e->home, err);
    }
    lk_status status = named || e->options.gpu_layers != 0 ? name_devices(e, &why) : LK_OK;
    bool missing = status && named;
    if (!status && e->options.gpu_layers == 0) {
        lk_log_line(&e->log, LK_LOG_INFO, "running on the CPU: no layers asked for on the GPU");
        return lk_engine_lane(e, "cpu", &e->home, err);
    }
    if (!status) {
        status = lk_engine_lane(e, "vulkan", &e->home, &why);
    }
    if (missing || status == LK_E_FORMAT || status == LK_E_CANCELLED || status == LK_E_INVALID) {
        if (err) {
            *err = why;
        }
        return status;
    }
    if (status) {
        lk_log_line(&e->log, LK_LOG_WARN, "running on the CPU: %s", why.message);
        status = lk_engine_lane(e, "cpu", &e->home, err);
    }
    return status;
}

static lk_status open_home(struct lk_engine *e, lk_error *err)
{
    if (e->options.placement) {
        return lk_engine_lane(e, e->options.placement, &e->home, err);
    }
    return strcmp(e->options.backend, "auto") == 0
               ? open_auto(e, err)
               : lk_engine_lane(e, e->options.backend, &e->home, err);
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
    if (o->n_sessions < 1 || o->n_sessions > 4096) {
        return lk_fail(err, LK_E_INVALID, "engine options: n_sessions is %u, expected 1 to 4096",
                       o->n_sessions);
    }
    if (o->n_batch > 8192) {
        return lk_fail(err, LK_E_INVALID, "engine options: n_batch is %u, expected 0 to 8192",
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
    if (o->cpu_experts < LK_CPU_EXPERTS_AUTO) {
        return lk_fail(err, LK_E_INVALID,
                       "engine options: cpu_experts is %d, expected auto or a number of layers",
                       o->cpu_experts);
    }
    if (o->placement &&
        (strcmp(o->backend, "auto") != 0 || o->device || o->gpu_layers != LK_GPU_LAYERS_AUTO ||
         o->cpu_experts != LK_CPU_EXPERTS_AUTO)) {
        return lk_fail(
            err, LK_E_INVALID,
            "engine options: placement '%s' says where layers run, expected no %s beside "
            "it",
            o->placement,
            o->device                             ? "device"
            : strcmp(o->backend, "auto") != 0     ? "backend"
            : o->gpu_layers != LK_GPU_LAYERS_AUTO ? "gpu_layers"
                                                  : "cpu_experts");
    }
    if (o->placement && !lk_placement_is(o->placement)) {
        return lk_fail(err, LK_E_INVALID,
                       "placement '%s': expected BACKEND[ DEVICE]:FIRST[-LAST] for each part",
                       o->placement);
    }
    if (o->mmap_pack && !o->cache_dir) {
        return lk_fail(err, LK_E_INVALID,
                       "engine options: mmap_pack without cache_dir, expected a folder for the "
                       "packed weights");
    }
    e->log = (struct lk_log){o->log, o->user};
    const char **strings[] = {&o->backend,    &o->device,    &o->cpu_level,
                              &o->vk_disable, &o->cache_dir, &o->placement};
    for (int i = 0; i < (int)LK_COUNT(strings) && !status; i++) {
        status = copy_string(e, i, strings[i], err);
    }
    return status;
}

/* A vocabulary and an embedding of different sizes are run as far as both go. */
static void note_vocabulary(const struct lk_engine *e)
{
    const struct lk_gguf *gguf = e->model->gguf;
    const struct lk_gguf_tensor *embd = lk_gguf_find_tensor(gguf, "token_embd.weight");
    const struct lk_gguf_value *tokens = lk_gguf_find(gguf, "tokenizer.ggml.tokens");
    if (embd && tokens && tokens->count != embd->ne[1]) {
        lk_log_line(&e->log, LK_LOG_WARN,
                    "%s: %llu tokens, and %llu rows of tensor 'token_embd.weight': %s",
                    lk_gguf_path(gguf), (unsigned long long)tokens->count,
                    (unsigned long long)embd->ne[1],
                    tokens->count < embd->ne[1] ? "rows without a token are left out"
                                                : "tokens without a row can't be evaluated");
    }
}

/* Keys of 8 bits lose what is small beside a few large biases. */
static void note_narrow_keys(const struct lk_engine *e)
{
    enum { LARGE = 32 }; /* other dimensions of a key are about 1 */
    bool narrow = lk_plan_k_bits(e->plan) < LK_KV_K_BITS;
    float bias = narrow ? lk_plan_key_bias(e->plan) : 0.0f;
    if (bias > LARGE) {
        lk_log_line(&e->log, LK_LOG_WARN,
                    "%s: biases of keys go up to %.0f: with 8 bits a key (kv i8) this model's "
                    "answers get worse, the default (k12v8) keeps them",
                    lk_gguf_path(e->model->gguf), (double)bias);
    }
}

static lk_status take_context(struct lk_engine *e, lk_error *err)
{
    uint32_t most = e->plan->n_ctx_max, want = e->options.n_ctx;
    if (want > most) {
        return lk_fail(err, LK_E_INVALID, "context of %u tokens: the model was made for at most %u",
                       want, most);
    }
    if (!want) { /* within the model's original context, where that has factors of its own */
        want = most < DEFAULT_CTX ? most : DEFAULT_CTX;
        want = e->plan->n_ctx_short && e->plan->n_ctx_short < want ? e->plan->n_ctx_short : want;
    }
    e->n_ctx = want;
    lk_plan_set_context(e->plan, e->n_ctx);
    e->n_batch = e->options.n_batch ? e->options.n_batch : DEFAULT_BATCH;
    e->n_batch = e->n_batch < e->n_ctx ? e->n_batch : e->n_ctx;
    e->n_sessions = e->options.n_sessions;
    size_t row = (size_t)lk_plan_row_width(e->plan) * sizeof(float);
    size_t rows = MAX_ROW_BYTES / row ? MAX_ROW_BYTES / row : 1;
    if (rows > e->n_batch) {
        rows = e->n_batch;
    }
    e->max_outputs = (int)rows;
    if (e->plan->whole) { /* every token's row, of one batch */
        e->n_batch = (uint32_t)rows;
    }
    e->max_seqs = (int)(e->n_batch < 256 ? e->n_batch : 256);
    e->rows = lk_pages_alloc(rows * row);
    size_t step = (size_t)LK_MICRO_BATCHES * e->n_batch;
    e->token = lk_alloc_array(step, sizeof *e->token);
    e->pos = lk_alloc_array(step, sizeof *e->pos);
    e->seq = lk_alloc_array(step, sizeof *e->seq);
    e->outputs = lk_alloc_array(step, sizeof *e->outputs);
    e->seqs = lk_alloc_array((size_t)e->max_seqs, sizeof *e->seqs);
    if (!e->rows || !e->token || !e->pos || !e->seq || !e->outputs || !e->seqs) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: %zu rows of logits", rows);
    }
    return LK_OK;
}

static void engine_free(lk_engine *e)
{
    for (size_t i = 0; i < e->n_lanes; i++) {
        lk_lane_free(e, e->lane[i]);
    }
    lk_free(e->lane);
    lk_opened_free_all(e);
    lk_free(e->named);
    lk_device_list_free(&e->devices);
    lk_mutex_free(e->lock);
    lk_crew_free(e->crew);
    if (e->rows) {
        lk_pages_free(e->rows, (size_t)e->max_outputs * (size_t)lk_plan_row_width(e->plan) *
                                   sizeof *e->rows);
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
        status = lk_plan_set_kv(e->plan, e->options.kv, err);
    }
    if (!status) {
        if (e->options.embeddings) {
            lk_plan_end_at_norm(e->plan);
        } else if (e->plan->whole) {
            status = lk_fail(err, LK_E_UNSUPPORTED,
                             "%s: architecture '%s' reads a text as a whole: it makes embeddings "
                             "('lockstep embed', the engine's option 'embeddings') and no text",
                             lk_gguf_path(model->gguf), e->plan->arch);
        }
    }
    if (!status) {
        note_vocabulary(e);
        note_narrow_keys(e);
        status = take_context(e, err);
    }
    if (!status) {
        e->lock = lk_mutex_new();
        e->crew = lk_crew_new();
        e->n_cpus = lk_cpu_quota();
        if (!e->lock || !e->crew) {
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

size_t lk_engine_n_embd(const lk_engine *engine)
{
    return (size_t)engine->plan->n_embd;
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
