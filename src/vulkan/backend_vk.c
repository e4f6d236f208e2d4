/* SPDX-License-Identifier: Apache-2.0
 *
 * Backend_vk: the backend "vulkan": the impl table, the KV cache on the device, prepare, run and
 * peek. Kernels and their order are vulkan/build and shaders/.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "vulkan/build/vk_batch.h"
#include "vulkan/build/vk_build.h"
#include "vulkan/build/vk_list.h"
#include "vulkan/build/vk_name.h"
#include "vulkan/build/vk_submit.h"
#include "vulkan/vk.h"

/* ---- open ---- */

void lk_vk_close(struct lk_backend *backend)
{
    if (backend) {
        lk_vk_device_close(&backend->dev);
        lk_free(backend);
    }
}

lk_status lk_vk_open(const struct lk_backend_options *options, struct lk_backend **out, bool *exact,
                     char *note, size_t n_note, lk_error *err)
{
    struct lk_backend *b = lk_alloc(sizeof *b);
    if (!b) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening the Vulkan backend");
    }
    lk_status status = lk_vk_device_open(options, &b->dev, err);
    if (!status) {
        b->dev.progress = options->progress;
        b->dev.progress_user = options->progress_user;
        status = lk_vk_probe(b, options->types, exact, note, n_note, err);
    }
    if (status) {
        lk_vk_close(b);
        return status;
    }
    b->options = *options; /* from here on: the probe uploads weights of its own */
    *out = b;
    return LK_OK;
}

static lk_status vk_open(const struct lk_backend_options *options, struct lk_backend **out,
                         struct lk_caps *caps, lk_error *err)
{
    char note[512], features[256];
    struct lk_backend *b = NULL;
    *caps = (struct lk_caps){0};
    lk_status status = lk_vk_open(options, &b, &caps->exact, note, sizeof note, err);
    if (status) {
        return status;
    }
    lk_vk_feature_list(&b->dev.found, features, sizeof features);
    const char *name = b->dev.found.props.deviceName;
    snprintf(caps->name, sizeof caps->name, "vulkan %.80s", name);
    snprintf(caps->describe, sizeof caps->describe, "vulkan %.200s", name);
    lk_log_line(&options->log, LK_LOG_INFO, "vulkan: %s, %s, %s; features: %s%s%s",
                b->dev.found.props.deviceName, b->dev.found.driver,
                caps->exact ? "exact" : "approximate", features[0] ? features : "none",
                note[0] ? "; " : "", note);
    *out = b;
    return LK_OK;
}

static lk_status vk_state_alloc(struct lk_backend *backend, const struct lk_state_geom *geom,
                                struct lk_state_mem **out, lk_error *err)
{
    return lk_vk_state_alloc(&backend->dev, geom, out, err);
}

/* ---- prepare ---- */

static void free_lists(struct lk_exec *e)
{
    for (int i = 0; i < LK_VK_LISTS; i++) {
        lk_vk_list_free(&e->list[i]);
        e->n_attn[i] = 0;
    }
}

static void vk_exec_free(struct lk_exec *e)
{
    if (!e) {
        return;
    }
    const struct VolkDeviceTable *vk = &e->dev->vk;
    lk_vk_profile(e, false, NULL);
    lk_vk_store_free(e->dev, &e->store);
    free_lists(e);
    lk_vk_buffer_destroy(e->dev, &e->arena);
    lk_vk_buffer_destroy(e->dev, &e->batch);
    lk_vk_buffer_destroy(e->dev, &e->sizes);
    lk_vk_buffer_destroy(e->dev, &e->staging);
    lk_vk_buffer_destroy(e->dev, &e->flags);
    lk_vk_buffer_destroy(e->dev, &e->readback);
    vk->vkDestroyDescriptorPool(e->dev->handle, e->descriptors, NULL);
    vk->vkDestroyCommandPool(e->dev->handle, e->pool, NULL);
    vk->vkDestroyFence(e->dev->handle, e->fence, NULL);
    lk_free(e->cs);
    lk_free(e->cs_pos);
    lk_free(e);
}

/* How many tokens the split form of attention takes: its partial results are kept small. */
static int few_tokens(const struct lk_exec *e)
{
    const struct lk_plan *p = e->o.plan;
    uint64_t each = 0; /* bytes of a token */
    for (int i = 0; i < p->n_ops; i++) {
        if (p->ops[i].kind == LK_OP_ATTENTION) {
            struct lk_attn_shape s = lk_attn_shape_of(p, &p->ops[i]);
            uint64_t bytes =
                (uint64_t)s.n_head * (uint64_t)e->o.max_blocks * (uint64_t)(s.v_dim_padded + 2) * 4;
            each = bytes > each ? bytes : each;
        }
    }
    uint64_t limit = e->dev->found.props.limits.maxStorageBufferRange;
    limit = limit < (256u << 20) ? limit : 256u << 20;
    int n = e->o.max_tokens < LK_VK_FEW_TOKENS ? e->o.max_tokens : LK_VK_FEW_TOKENS;
    while (n > 1 && each * (uint64_t)n > limit) {
        n--;
    }
    return n < e->few_held ? n : e->few_held;
}

static lk_status create_objects(struct lk_exec *e, lk_error *err)
{
    const struct VolkDeviceTable *vk = &e->dev->vk;
    uint32_t n_sets = 0;
    for (int i = 0; i < LK_VK_LISTS; i++) {
        n_sets += (uint32_t)e->list[i].n_steps;
    }
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, n_sets * LK_VK_BINDINGS + 1};
    VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = n_sets + 1,
                                       .poolSizeCount = 1,
                                       .pPoolSizes = &size};
    VkCommandPoolCreateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                        .queueFamilyIndex = e->dev->found.queue_family};
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkResult r = vk->vkCreateDescriptorPool(e->dev->handle, &pool, NULL, &e->descriptors);
    if (!r) {
        r = vk->vkCreateCommandPool(e->dev->handle, &commands, NULL, &e->pool);
    }
    if (!r) {
        r = vk->vkCreateFence(e->dev->handle, &fence, NULL, &e->fence);
    }
    if (!r) {
        r = lk_vk_shapes_create(e);
    }
    return r ? lk_vk_fail(e->dev, r, "preparing the plan", err) : LK_OK;
}

static lk_status create_buffers(struct lk_exec *e, VkDeviceSize arena, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_slot *out = &plan->slots[plan->out_slot];
    struct lk_row_counts most = lk_most_rows(&e->o);
    VkDeviceSize rows = (VkDeviceSize)most.n[out->rows];
    VkDeviceSize staged = 0;
    for (int i = lk_vk_next_staged(plan, -1); i >= 0; i = lk_vk_next_staged(plan, i)) {
        staged += (VkDeviceSize)e->o.max_tokens * (VkDeviceSize)plan->slots[i].width * 4;
    }
    lk_status status =
        lk_vk_buffer_create(e->dev, arena, LK_VK_USE_DEVICE, "activations", &e->arena, err);
    if (!status) {
        status = lk_vk_buffer_create(e->dev, (VkDeviceSize)e->at.n_words * 4, LK_VK_USE_UPLOAD,
                                     "batch", &e->batch, err);
    }
    if (!status) {
        status = lk_vk_buffer_create(e->dev, 4 * LK_VK_MAX_ATTN * sizeof(uint32_t),
                                     LK_VK_USE_UPLOAD, "sizes of dispatches", &e->sizes, err);
    }
    if (!status) {
        status = lk_vk_buffer_create(e->dev, staged, LK_VK_USE_UPLOAD, "rows handed in",
                                     &e->staging, err);
    }
    if (!status) {
        int steps = 0;
        for (int i = 0; i < LK_VK_LISTS; i++) {
            steps = e->list[i].n_steps > steps ? e->list[i].n_steps : steps;
        }
        e->at_unused = lk_round_up((size_t)plan->n_ops * 4, LK_VK_ALIGN);
        status = lk_vk_buffer_create(e->dev, e->at_unused + (VkDeviceSize)steps * LK_VK_ALIGN,
                                     LK_VK_USE_READBACK, "range flags", &e->flags, err);
    }
    if (!status) {
        VkDeviceSize n = lk_round_up((size_t)(rows * (VkDeviceSize)out->width * 4), 16);
        status = lk_vk_buffer_create(e->dev, n, LK_VK_USE_READBACK, "logits", &e->readback, err);
    }
    if (!status) {
        memset(e->flags.map, 0, (size_t)plan->n_ops * 4);
        memset(e->batch.map, 0, (size_t)e->at.n_words * 4);
    }
    return status;
}

/* Builds the lists for the batches of e->o. */
static lk_status build_lists(struct lk_exec *e, VkDeviceSize *arena, lk_error *err)
{
    lk_status status = lk_vk_batch_lay_out(e, err);
    e->list[LK_VK_DECODE].max_tokens = 1;
    e->list[LK_VK_FEW].max_tokens = few_tokens(e);
    e->list[LK_VK_MANY].max_tokens = e->o.max_tokens;
    *arena = 0;
    for (int i = 0; i < LK_VK_LISTS && !status; i++) {
        bool larger = i == 0 || e->list[i - 1].max_tokens < e->list[i].max_tokens;
        if (larger && (e->lists & 1u << i)) {
            VkDeviceSize bytes = 0;
            status = lk_vk_list_build(e, (enum lk_vk_list_kind)i, &bytes, err);
            *arena = bytes > *arena ? bytes : *arena;
        }
    }
    return status;
}

/* The same, again with fewer rows as long as the device holds less than was asked for. Each limit
 * is known exactly after the first time; memory of all values at once is tried by halves. */
static lk_status build_fitting_lists(struct lk_exec *e, VkDeviceSize *arena, lk_error *err)
{
    for (;;) {
        int few = e->few_held;
        e->held = lk_most_rows(&e->o);
        lk_status status = build_lists(e, arena, err);
        int *tokens = &e->held.n[LK_ROWS_TOKENS], outputs = e->held.n[LK_ROWS_OUTPUTS];
        if (!status && e->o.fewer && *arena > e->dev->found.max_allocation && *tokens > 1) {
            *tokens = *tokens < e->o.max_tokens ? *tokens : *tokens / 2;
        }
        bool fits = *tokens == e->o.max_tokens && outputs == e->o.max_outputs;
        if (status || !e->o.fewer || (fits && e->few_held == few)) {
            return status;
        }
        e->o.max_tokens = *tokens;
        e->o.max_outputs = outputs;
        free_lists(e);
        lk_vk_pipes_drop(e->dev);
    }
}

/* Whether half of a graphics card's memory is left with all that the plan takes of it. */
static bool has_spare(const struct lk_exec *e, VkDeviceSize arena)
{
    return e->dev->used + lk_vk_store_bytes(&e->store) + arena <= e->dev->found.available / 2;
}

/* The lists for spare_tokens where they fit well, else for as many as options say. Other devices
 * than cards share their memory with the host. */
static lk_status choose_lists(struct lk_exec *e, VkDeviceSize *arena, lk_error *err)
{
    int asked = e->o.max_tokens, outputs = e->o.max_outputs;
    if (e->o.spare_tokens > asked &&
        e->dev->found.props.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) {
        e->o.max_tokens = e->o.spare_tokens;
        lk_status status = build_fitting_lists(e, arena, err);
        if (!status && e->o.max_tokens >= asked && has_spare(e, *arena)) {
            return LK_OK;
        }
        free_lists(e);
        lk_vk_pipes_drop(e->dev);
        e->o.max_tokens = asked;
        e->o.max_outputs = outputs;
    }
    return build_fitting_lists(e, arena, err);
}

static struct lk_row_counts vk_most(const struct lk_exec *e)
{
    return lk_most_rows(&e->o);
}

lk_status lk_vk_prepare(struct lk_backend *backend, const struct lk_exec_options *o, bool trial,
                        unsigned lists, struct lk_exec **out, lk_error *err)
{
    struct lk_exec *e = lk_alloc(sizeof *e);
    if (!e) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    e->dev = &backend->dev;
    e->o = *o;
    e->trial = trial;
    e->lists = lists;
    e->facts = lk_vk_facts_of(e->dev);
    e->few_held = LK_VK_FEW_TOKENS;
    VkDeviceSize arena;
    lk_status status = choose_lists(e, &arena, err);
    if (!status) {
        status = lk_vk_pipes_compile(e->dev, err);
    }
    lk_vk_pipes_drop(e->dev);
    if (!status) {
        status = create_buffers(e, arena, err);
    }
    if (!status) {
        status = lk_vk_store_fill(e->dev, &e->store, &e->facts, o->plan, &backend->options, err);
    }
    if (!status) {
        status = create_objects(e, err);
    }
    e->cs = lk_alloc_array((size_t)e->at.cs_stride, sizeof(float));
    e->cs_pos = lk_alloc_array((size_t)e->o.max_tokens, sizeof *e->cs_pos);
    if (!status && (!e->cs || !e->cs_pos)) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    for (int t = 0; e->cs_pos && t < e->o.max_tokens; t++) {
        e->cs_pos[t] = -1;
    }
    for (int i = 0; i < LK_VK_LISTS && !status; i++) {
        status = lk_vk_list_finish(e, &e->list[i], err);
    }
    if (status) {
        vk_exec_free(e);
        return status;
    }
    *out = e;
    return LK_OK;
}

static lk_status vk_prepare(struct lk_backend *backend, const struct lk_exec_options *o,
                            struct lk_exec **out, lk_error *err)
{
    return lk_vk_prepare(backend, o, false, LK_VK_ALL_LISTS, out, err);
}

/* ---- run ---- */

/* The first op in order whose flag is set; the flags are cleared. */
static lk_status check_flags(struct lk_exec *e, lk_error *err)
{
    uint32_t *flags = (uint32_t *)(void *)e->flags.map;
    const struct lk_plan *plan = e->o.plan;
    int first = -1;
    for (int i = 0; i < plan->n_ops; i++) {
        if (flags[i]) {
            first = first < 0 ? i : first;
            flags[i] = 0;
        }
    }
    return first < 0 ? LK_OK : lk_fail_range(err, plan, &plan->ops[first]);
}

static void bind_states(struct lk_exec *e, const struct lk_state_mem *states)
{
    if (states->serial != e->state_serial) {
        for (int i = 0; i < LK_VK_LISTS; i++) {
            lk_vk_list_bind_states(e, &e->list[i], states);
        }
        for (int i = 0; i < LK_VK_MAX_SHAPES; i++) {
            e->shape[i].used = 0; /* recorded with other memory */
        }
        e->state_serial = states->serial;
    }
}

static lk_status vk_run(struct lk_exec *e, struct lk_state_mem *states, const struct lk_batch *b,
                        lk_error *err)
{
    struct lk_vk_device *dev = e->dev;
    lk_status status = lk_batch_check(&e->o, b, err);
    if (status) {
        return status;
    }
    if (dev->lost) {
        return lk_fail(err, LK_E_DEVICE_LOST, "device '%s' was lost", dev->found.props.deviceName);
    }
    int list = LK_VK_DECODE;
    while (b->n_tokens > e->list[list].max_tokens) {
        list++;
    }
    double from = e->times.op ? lk_now() : 0.0;
    e->n_runs++;
    bind_states(e, states);
    struct lk_row_counts rows = lk_batch_rows(e->o.plan, b);
    status = lk_vk_batch_write(e, b, list, err);
    if (!status) {
        status = lk_vk_submit(e, list, &rows, lk_vk_batch_apart(e, b, list), err);
    }
    if (!status) {
        status = check_flags(e, err);
    }
    if (status) {
        return status;
    }
    e->rows = rows;
    e->last_list = list;
    const struct lk_slot *out = &e->o.plan->slots[e->o.plan->out_slot];
    if (e->times.op) {
        status = lk_vk_profile_add(e, &e->list[list], b, lk_now() - from, err);
    }
    if (!status) {
        memcpy(b->out, e->readback.map, (size_t)rows.n[out->rows] * (size_t)out->width * 4);
    }
    return status;
}

static lk_status vk_read_rate(struct lk_backend *backend, uint64_t n_bytes, int passes,
                              double *bytes_per_second, lk_error *err)
{
    return lk_vk_read_rate(&backend->dev, n_bytes, passes, bytes_per_second, err);
}

static lk_status vk_peek(struct lk_exec *e, int slot, float *data, size_t n, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    if (!e->o.keep_ops || slot < 0 || slot >= plan->n_slots || e->rows.n[LK_ROWS_TOKENS] == 0) {
        return lk_fail(err, LK_E_INVALID, "slot %d was not kept", slot);
    }
    size_t have = (size_t)e->rows.n[plan->slots[slot].rows] * (size_t)plan->slots[slot].width;
    return lk_vk_read(e->dev, &e->arena, e->list[e->last_list].pieces[slot].offset, data,
                      (n < have ? n : have) * sizeof *data, &e->readback, err);
}

const struct lk_backend_impl lk_backend_vulkan = {
    .name = "vulkan",
    .list = lk_vk_list,
    .look = lk_vk_look,
    .open = vk_open,
    .close = lk_vk_close,
    .speed = lk_vk_speed,
    .prepare = vk_prepare,
    .exec_free = vk_exec_free,
    .most = vk_most,
    .state_alloc = vk_state_alloc,
    .state_free = lk_vk_state_free,
    .state_read = lk_vk_state_read,
    .state_write = lk_vk_state_write,
    .state_check = lk_vk_state_check,
    .run = vk_run,
    .peek = vk_peek,
    .variant = lk_vk_variant,
    .switch_off = lk_vk_switch_off,
    .read_rate = vk_read_rate,
    .kernels = lk_vk_kernels,
    .profile = lk_vk_profile,
    .op_seconds = lk_vk_op_seconds,
};
