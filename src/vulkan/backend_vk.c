/* SPDX-License-Identifier: Apache-2.0
 *
 * Backend_vk: the backend "vulkan": the impl table, the KV cache on the device, prepare, run and
 * peek. Kernels and their order are vk_ops.c and shaders/.
 */
#include <stdio.h>
#include <string.h>

#include "src/mem.h"
#include "src/os.h"
#include "src/rope.h"
#include "src/vulkan/vk.h"

/* ---- probe and open ---- */

static void describe(const struct lk_vk_device *dev, struct lk_caps *caps)
{
    snprintf(caps->describe, sizeof caps->describe, "vulkan %.200s", dev->found.props.deviceName);
}

static lk_status vk_probe(const struct lk_backend_options *options, struct lk_caps *caps,
                          lk_error *err)
{
    struct lk_vk_device dev = {0};
    struct lk_vk_found *found = NULL;
    int n = 0, chosen = -1;
    *caps = (struct lk_caps){0};
    lk_status status = lk_vk_instance_open(&dev.instance, err);
    if (!status) {
        status = lk_vk_find(&dev.instance, options, &found, &n, err);
    }
    if (!status) {
        chosen = lk_vk_choose(found, n, options->device, err);
        status = chosen < 0 ? LK_E_DEVICE : LK_OK;
    }
    if (!status) {
        dev.found = found[chosen];
        describe(&dev, caps);
    }
    lk_free(found);
    lk_vk_instance_close(&dev.instance);
    return status;
}

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
        status = lk_vk_probe(b, exact, note, n_note, err);
    }
    if (status) {
        lk_vk_close(b);
        return status;
    }
    b->options = *options; /* from here on: the probe shows no progress */
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
    describe(&b->dev, caps);
    lk_log_line(&options->log, LK_LOG_INFO, "vulkan: %s, %s, %s; features: %s%s%s",
                b->dev.found.props.deviceName, b->dev.found.driver,
                caps->exact ? "exact" : "approximate", features[0] ? features : "none",
                note[0] ? "; " : "", note);
    *out = b;
    return LK_OK;
}

/* ---- KV cache ---- */

/* Layer i: guard, K, guard, V; a block of whole layers ends with a guard. */
VkDeviceSize lk_vk_kv_at(const struct lk_kv_mem *kv, int layer, enum lk_kv_which which,
                         const struct lk_vk_buffer **block)
{
    *block = &kv->blocks[layer / kv->layers_per_block];
    int i = 2 * (layer % kv->layers_per_block) + (which == LK_KV_V);
    return (VkDeviceSize)i * kv->stride + LK_VK_KV_GUARD;
}

static void vk_kv_free(struct lk_kv_mem *kv)
{
    if (kv) {
        for (int i = 0; i < kv->n_blocks; i++) {
            lk_vk_buffer_destroy(kv->dev, &kv->blocks[i]);
        }
        lk_vk_buffer_destroy(kv->dev, &kv->staging);
        lk_free(kv->blocks);
        lk_free(kv);
    }
}

/* Zeroes all and writes the guards: everything that is not a buffer. */
static lk_status kv_clear(struct lk_kv_mem *kv, lk_error *err)
{
    lk_status status = LK_OK;
    for (int i = 0; i < kv->n_blocks && !status; i++) {
        status = lk_vk_fill(kv->dev, &kv->blocks[i], 0, VK_WHOLE_SIZE, LK_VK_KV_CANARY, err);
    }
    for (int l = 0; l < kv->geom.n_layers && !status; l++) {
        for (int w = 0; w < 2 && !status; w++) {
            const struct lk_vk_buffer *block;
            VkDeviceSize at = lk_vk_kv_at(kv, l, (enum lk_kv_which)w, &block);
            status = lk_vk_fill(kv->dev, block, at, kv->bytes, 0, err);
        }
    }
    return status;
}

static lk_status vk_kv_alloc(struct lk_backend *backend, const struct lk_kv_geom *geom,
                             struct lk_kv_mem **out, lk_error *err)
{
    struct lk_vk_device *dev = &backend->dev;
    struct lk_kv_mem *kv = lk_alloc(sizeof *kv);
    lk_status status = LK_OK;
    if (!kv) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: KV cache");
    }
    kv->dev = dev;
    kv->geom = *geom;
    kv->serial = ++backend->next_serial;
    kv->bytes = lk_kv_layer_elems(geom) * sizeof(uint16_t);
    kv->stride = LK_VK_KV_GUARD + lk_round_up((size_t)kv->bytes, 256);
    VkDeviceSize limit = 1u << 30, range = dev->found.props.limits.maxStorageBufferRange;
    limit = limit < dev->found.max_allocation ? limit : dev->found.max_allocation;
    VkDeviceSize most = (limit - 3 * LK_VK_KV_GUARD) / 2 / LK_VK_ALIGN * LK_VK_ALIGN;
    most = most < range ? most : range;
    if (kv->bytes > most) {
        status = lk_fail(err, LK_E_UNSUPPORTED,
                         "KV cache: %llu bytes of keys a layer are beyond the device's buffers of "
                         "%llu: use a smaller context",
                         (unsigned long long)kv->bytes, (unsigned long long)most);
        goto fail;
    }
    int per = (int)((limit - LK_VK_KV_GUARD) / (2 * kv->stride));
    kv->layers_per_block = per < geom->n_layers ? per : geom->n_layers;
    kv->layers_per_block = kv->layers_per_block > 0 ? kv->layers_per_block : 1;
    int n = (geom->n_layers + kv->layers_per_block - 1) / kv->layers_per_block;
    kv->blocks = lk_alloc_array((size_t)n + 1, sizeof *kv->blocks);
    if (!kv->blocks) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: KV cache");
        goto fail;
    }
    for (; kv->n_blocks < n && !status; kv->n_blocks++) {
        int layers = geom->n_layers - kv->n_blocks * kv->layers_per_block;
        layers = layers < kv->layers_per_block ? layers : kv->layers_per_block;
        status = lk_vk_buffer_create(dev, (VkDeviceSize)layers * 2 * kv->stride + LK_VK_KV_GUARD,
                                     LK_VK_USE_DEVICE, "KV cache", &kv->blocks[kv->n_blocks], err);
    }
    if (!status) {
        status =
            lk_vk_buffer_create(dev, 1u << 20, LK_VK_USE_READBACK, "KV staging", &kv->staging, err);
    }
    if (!status) {
        status = kv_clear(kv, err);
    }
    if (!status) {
        *out = kv;
        return LK_OK;
    }
fail:
    vk_kv_free(kv);
    return status;
}

static lk_status kv_range(const struct lk_kv_mem *kv, int layer, size_t offset, size_t n,
                          lk_error *err)
{
    size_t end;
    if (layer < 0 || layer >= kv->geom.n_layers || !lk_add_size(offset, n, &end) ||
        end > kv->bytes) {
        return lk_fail(err, LK_E_INVALID,
                       "KV range: layer %d bytes %zu+%zu, expected layer < %d and at most %llu "
                       "bytes",
                       layer, offset, n, kv->geom.n_layers, (unsigned long long)kv->bytes);
    }
    return LK_OK;
}

static lk_status vk_kv_read(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                            void *data, size_t n, lk_error *err)
{
    lk_status status = kv_range(kv, layer, offset, n, err);
    const struct lk_vk_buffer *block;
    if (status) {
        return status;
    }
    VkDeviceSize at = lk_vk_kv_at(kv, layer, which, &block);
    return lk_vk_read(kv->dev, block, at + offset, data, n, &kv->staging, err);
}

static lk_status vk_kv_write(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                             const void *data, size_t n, lk_error *err)
{
    lk_status status = kv_range(kv, layer, offset, n, err);
    const struct lk_vk_buffer *block;
    if (status) {
        return status;
    }
    VkDeviceSize at = lk_vk_kv_at(kv, layer, which, &block);
    struct lk_vk_buffer to = *block;
    return lk_vk_write(kv->dev, &to, at + offset, data, n, &kv->staging, err);
}

static lk_status check_guard(struct lk_kv_mem *kv, const struct lk_vk_buffer *block,
                             VkDeviceSize at, size_t n, int layer, const char *where, lk_error *err)
{
    uint8_t guard[2 * LK_VK_KV_GUARD];
    lk_status status = lk_vk_read(kv->dev, block, at, guard, n, &kv->staging, err);
    for (size_t i = 0; i < n && !status; i++) {
        if (guard[i] != (uint8_t)LK_VK_KV_CANARY) {
            status = lk_fail(err, LK_E_INTERNAL, "KV guard overwritten: layer %d, byte %zu %s",
                             layer, i, where);
        }
    }
    return status;
}

static lk_status vk_kv_check(struct lk_kv_mem *kv, lk_error *err)
{
    lk_status status = LK_OK;
    size_t tail = (size_t)(kv->stride - LK_VK_KV_GUARD - kv->bytes);
    for (int l = 0; l < kv->geom.n_layers && !status; l++) {
        for (int w = 0; w < 2 && !status; w++) {
            const struct lk_vk_buffer *block;
            VkDeviceSize at = lk_vk_kv_at(kv, l, (enum lk_kv_which)w, &block);
            int layer = kv->geom.first_layer + l;
            status = check_guard(kv, block, at - LK_VK_KV_GUARD, LK_VK_KV_GUARD, layer,
                                 w ? "before V" : "before K", err);
            if (!status) {
                status = check_guard(kv, block, at + kv->bytes, tail + LK_VK_KV_GUARD, layer,
                                     w ? "past V" : "past K", err);
            }
        }
    }
    return status;
}

/* ---- prepare ---- */

static void vk_exec_free(struct lk_exec *e)
{
    if (!e) {
        return;
    }
    const struct VolkDeviceTable *vk = &e->dev->vk;
    lk_vk_profile(e, false, NULL);
    lk_vk_store_free(e->dev, &e->store);
    for (int i = 0; i < LK_VK_LISTS; i++) {
        lk_vk_list_free(&e->list[i]);
    }
    lk_vk_buffer_destroy(e->dev, &e->arena);
    lk_vk_buffer_destroy(e->dev, &e->batch);
    lk_vk_buffer_destroy(e->dev, &e->staging);
    lk_vk_buffer_destroy(e->dev, &e->flags);
    lk_vk_buffer_destroy(e->dev, &e->readback);
    vk->vkDestroyDescriptorPool(e->dev->handle, e->descriptors, NULL);
    vk->vkDestroyCommandPool(e->dev->handle, e->pool, NULL);
    vk->vkDestroyFence(e->dev->handle, e->fence, NULL);
    lk_free(e->cs);
    lk_free(e);
}

/* `words` more of the batch buffer; where they begin. */
static uint32_t take_words(uint64_t *next, uint64_t words)
{
    uint64_t at = *next;
    *next += words;
    return (uint32_t)at;
}

static lk_status lay_out_batch(struct lk_exec *e, lk_error *err)
{
    struct lk_vk_batch_at *at = &e->at;
    const struct lk_plan *plan = e->o.plan;
    uint64_t n = (uint64_t)e->o.max_tokens, next = 0;
    uint64_t range = e->dev->found.props.limits.maxStorageBufferRange;
    at->cs_stride = (uint32_t)lk_round_up((size_t)plan->head_dim, 4);
    at->indirect = take_words(&next, 4 * LK_VK_MAX_WINDOWS);
    at->token = take_words(&next, n);
    at->pos = take_words(&next, n);
    at->seq = take_words(&next, n);
    at->outputs = take_words(&next, n);
    at->tiles = take_words(&next, 4 * n);
    at->table = take_words(&next, (uint64_t)e->o.max_seqs * (uint64_t)e->o.max_blocks);
    at->cs[0] = take_words(&next, n * at->cs_stride);
    at->cs[1] = take_words(&next, plan->n_ropes > 1 ? n * at->cs_stride : 0);
    at->counters = take_words(&next, (uint64_t)plan->n_head);
    at->n_words = (uint32_t)next;
    if (next * 4 > range) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "batch of %d tokens, %d sequences of %d blocks: %llu bytes are beyond the "
                       "device's buffer range of %llu: use a smaller batch or context",
                       e->o.max_tokens, e->o.max_seqs, e->o.max_blocks,
                       (unsigned long long)next * 4, (unsigned long long)range);
    }
    return LK_OK;
}

/* How many tokens the split form of attention takes: its partial results are kept small. */
static int small_tokens(const struct lk_exec *e)
{
    const struct lk_plan *p = e->o.plan;
    uint64_t dim = lk_round_up((size_t)p->head_dim, LK_KV_DIM_ALIGN) + 2;
    uint64_t one = (uint64_t)p->n_head * (uint64_t)e->o.max_blocks * dim * 4;
    uint64_t limit = e->dev->found.props.limits.maxStorageBufferRange;
    limit = limit < (256u << 20) ? limit : 256u << 20;
    int n = e->o.max_tokens < LK_VK_SMALL ? e->o.max_tokens : LK_VK_SMALL;
    while (n > 1 && one * (uint64_t)n > limit) {
        n--;
    }
    return n;
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
    VkDeviceSize rows =
        (VkDeviceSize)(out->rows == LK_ROWS_TOKENS ? e->o.max_tokens : e->o.max_outputs);
    VkDeviceSize hidden =
        plan->in_slot >= 0 ? (VkDeviceSize)e->o.max_tokens * (VkDeviceSize)plan->n_embd * 4 : 0;
    lk_status status =
        lk_vk_buffer_create(e->dev, arena, LK_VK_USE_DEVICE, "activations", &e->arena, err);
    if (!status) {
        status = lk_vk_buffer_create(e->dev, (VkDeviceSize)e->at.n_words * 4, LK_VK_USE_UPLOAD,
                                     "batch", &e->batch, err);
    }
    if (!status) {
        status =
            lk_vk_buffer_create(e->dev, hidden, LK_VK_USE_UPLOAD, "hidden rows", &e->staging, err);
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
        VkDeviceSize n = rows * (VkDeviceSize)out->width * 4;
        status = lk_vk_buffer_create(e->dev, n, LK_VK_USE_READBACK, "logits", &e->readback, err);
    }
    if (!status) {
        memset(e->flags.map, 0, (size_t)plan->n_ops * 4);
        memset(e->batch.map, 0, (size_t)e->at.n_words * 4);
    }
    return status;
}

lk_status lk_vk_prepare(struct lk_backend *backend, const struct lk_exec_options *o, bool trial,
                        struct lk_exec **out, lk_error *err)
{
    struct lk_exec *e = lk_alloc(sizeof *e);
    if (!e) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    e->dev = &backend->dev;
    e->o = *o;
    e->trial = trial;
    lk_status status = lay_out_batch(e, err);
    e->list[LK_VK_ONE].max_tokens = 1;
    e->list[LK_VK_FEW].max_tokens = small_tokens(e);
    e->list[LK_VK_MANY].max_tokens = o->max_tokens;
    VkDeviceSize arena = 0;
    for (int i = 0; i < LK_VK_LISTS && !status; i++) {
        bool larger = i == 0 || e->list[i - 1].max_tokens < e->list[i].max_tokens;
        if (larger && !(trial && i == LK_VK_FEW)) {
            VkDeviceSize bytes = 0;
            status = lk_vk_list_build(e, &e->list[i], &bytes, err);
            arena = bytes > arena ? bytes : arena;
        }
    }
    if (!status) {
        status = create_buffers(e, arena, err);
    }
    if (!status) {
        status = lk_vk_store_fill(e->dev, &e->store, o->plan, &backend->options, err);
    }
    if (!status) {
        status = create_objects(e, err);
    }
    e->cs = lk_alloc_array((size_t)e->at.cs_stride, sizeof(float));
    if (!status && !e->cs) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
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
    return lk_vk_prepare(backend, o, false, out, err);
}

/* ---- run ---- */

static void write_ropes(struct lk_exec *e, const struct lk_batch *b, uint32_t *w)
{
    const struct lk_plan *plan = e->o.plan;
    for (int r = 0; r < plan->n_ropes; r++) {
        for (int t = 0; t < b->n_tokens; t++) {
            lk_rope_table(&plan->ropes[r], b->pos[t], e->cs);
            memcpy(w + e->at.cs[r] + (uint32_t)t * e->at.cs_stride, e->cs,
                   (size_t)plan->ropes[r].n_dims * 4);
        }
    }
}

/* Tiles of attention and, per window size, the size of its dispatch. */
static void write_tiles(struct lk_exec *e, const struct lk_batch *b, int list, uint32_t *w)
{
    uint32_t *tile = w + e->at.tiles, n_tiles = 0, per = e->attn_tokens[list];
    uint32_t group =
        e->o.plan->n_kv_head > 0 ? (uint32_t)(e->o.plan->n_head / e->o.plan->n_kv_head) : 1;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        for (uint32_t t = 0; t < (uint32_t)q->n_tokens; t += per, n_tiles++, tile += 4) {
            uint32_t left = (uint32_t)q->n_tokens - t;
            tile[0] = (uint32_t)q->first + t;
            tile[1] = left < per ? left : per;
            tile[2] = (uint32_t)s;
        }
    }
    uint32_t head_tiles = (group + e->attn_rows[list] - 1) / e->attn_rows[list];
    for (int i = 0; i < e->n_windows; i++) {
        uint32_t splits = 1;
        for (int t = 0; t < b->n_tokens && list != LK_VK_MANY; t++) {
            int low = e->windows[i] ? b->pos[t] - e->windows[i] + 1 : 0;
            low = low > 0 ? low : 0;
            uint32_t n = (uint32_t)(b->pos[t] / LK_KV_BLOCK - low / LK_KV_BLOCK + 1);
            splits = n > splits ? n : splits;
        }
        uint32_t *d = w + e->at.indirect + 4 * (uint32_t)i;
        d[0] = n_tiles;
        d[1] = (uint32_t)e->o.plan->n_kv_head * head_tiles;
        d[2] = splits;
    }
}

static void write_batch(struct lk_exec *e, const struct lk_batch *b, int list)
{
    uint32_t *w = (uint32_t *)(void *)e->batch.map;
    size_t n = (size_t)b->n_tokens * 4;
    if (b->token) {
        memcpy(w + e->at.token, b->token, n);
    }
    memcpy(w + e->at.pos, b->pos, n);
    memcpy(w + e->at.seq, b->seq, n);
    memcpy(w + e->at.outputs, b->outputs, (size_t)b->n_outputs * 4);
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        size_t blocks = (size_t)((q->pos + q->n_tokens - 1) / LK_KV_BLOCK + 1);
        memcpy(w + e->at.table + (size_t)s * (size_t)e->o.max_blocks, q->blocks, blocks * 4);
    }
    if (e->n_windows > 0) {
        write_tiles(e, b, list, w);
    }
    write_ropes(e, b, w);
    if (e->o.plan->in_slot >= 0) {
        memcpy(e->staging.map, b->hidden_in, n * (size_t)e->o.plan->n_embd);
    }
}

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

static void bind_kv(struct lk_exec *e, const struct lk_kv_mem *kv)
{
    if (kv->serial != e->kv_serial) {
        for (int i = 0; i < LK_VK_LISTS; i++) {
            lk_vk_list_bind_kv(e, &e->list[i], kv);
        }
        for (int i = 0; i < LK_VK_MAX_SHAPES; i++) {
            e->shape[i].used = 0; /* recorded with the old cache */
        }
        e->kv_serial = kv->serial;
    }
}

static lk_status vk_run(struct lk_exec *e, struct lk_kv_mem *kv, const struct lk_batch *b,
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
    int list = LK_VK_ONE;
    while (b->n_tokens > e->list[list].max_tokens) {
        list++;
    }
    double from = e->times.op ? lk_now() : 0.0;
    e->n_runs++;
    bind_kv(e, kv);
    write_batch(e, b, list);
    status = lk_vk_submit(e, list, b->n_tokens, b->n_outputs, err);
    if (!status) {
        status = check_flags(e, err);
    }
    if (status) {
        return status;
    }
    e->n_tokens = b->n_tokens;
    e->n_outputs = b->n_outputs;
    e->last_list = list;
    const struct lk_slot *out = &e->o.plan->slots[e->o.plan->out_slot];
    size_t rows = (size_t)(out->rows == LK_ROWS_TOKENS ? b->n_tokens : b->n_outputs);
    memcpy(b->out, e->readback.map, rows * (size_t)out->width * 4);
    return e->times.op ? lk_vk_profile_add(e, &e->list[list], b, lk_now() - from, err) : LK_OK;
}

static lk_status vk_read_rate(struct lk_backend *backend, uint64_t n_bytes, int passes,
                              double *bytes_per_second, lk_error *err)
{
    return lk_vk_read_rate(&backend->dev, n_bytes, passes, bytes_per_second, err);
}

static lk_status vk_peek(struct lk_exec *e, int slot, float *data, size_t n, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    if (!e->o.keep_ops || slot < 0 || slot >= plan->n_slots || e->n_tokens == 0) {
        return lk_fail(err, LK_E_INVALID, "slot %d was not kept", slot);
    }
    int rows = plan->slots[slot].rows == LK_ROWS_TOKENS ? e->n_tokens : e->n_outputs;
    size_t have = (size_t)rows * (size_t)plan->slots[slot].width;
    return lk_vk_read(e->dev, &e->arena, e->list[e->last_list].pieces[slot].offset, data,
                      (n < have ? n : have) * sizeof *data, &e->readback, err);
}

const struct lk_backend_impl lk_backend_vulkan = {
    .name = "vulkan",
    .probe = vk_probe,
    .devices = lk_vk_devices,
    .open = vk_open,
    .close = lk_vk_close,
    .prepare = vk_prepare,
    .exec_free = vk_exec_free,
    .kv_alloc = vk_kv_alloc,
    .kv_free = vk_kv_free,
    .kv_read = vk_kv_read,
    .kv_write = vk_kv_write,
    .kv_check = vk_kv_check,
    .run = vk_run,
    .peek = vk_peek,
    .variant = lk_vk_variant,
    .switch_off = lk_vk_switch_off,
    .read_rate = vk_read_rate,
    .kernels = lk_vk_kernels,
    .profile = lk_vk_profile,
    .op_seconds = lk_vk_op_seconds,
};
