/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_measure: what `lockstep bench` asks of a device: how fast it reads its memory, how long each
 * step of a plan takes by timestamps, and a matmul alone. Changes no result.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "vulkan/vk.h"

/* ---- memory ---- */

enum { GROUPS = 4096, MAX_PARTS = 64, THREADS = 256 };

/* Memory to read, in parts that a kernel can bind. */
struct reading {
    struct lk_vk_device *dev;
    struct lk_vk_buffer part[MAX_PARTS], sums;
    VkDescriptorSet set[MAX_PARTS];
    int n_parts;
    VkDescriptorPool pool;
    const struct lk_vk_pipe *pipe;
    uint32_t threads; /* of a workgroup */
};

static lk_status reading_alloc(struct reading *r, uint64_t n_bytes, lk_error *err)
{
    VkDeviceSize limit = r->dev->found.props.limits.maxStorageBufferRange;
    limit = limit < r->dev->found.max_allocation ? limit : r->dev->found.max_allocation;
    limit = limit < 1u << 30 ? limit / 256 * 256 : 1u << 30;
    if (n_bytes < 16 || n_bytes > limit * MAX_PARTS) {
        return lk_fail(err, LK_E_INVALID, "reading speed: %llu bytes, expected 16 to %llu",
                       (unsigned long long)n_bytes, (unsigned long long)(limit * MAX_PARTS));
    }
    lk_status status = lk_vk_buffer_create(r->dev, (VkDeviceSize)GROUPS * 4, LK_VK_USE_DEVICE,
                                           "sums", &r->sums, err);
    for (uint64_t at = 0; at < n_bytes && !status; at += limit) {
        VkDeviceSize n = n_bytes - at < limit ? (n_bytes - at + 15) / 16 * 16 : limit;
        struct lk_vk_buffer *part = &r->part[r->n_parts];
        status = lk_vk_buffer_create(r->dev, n, LK_VK_USE_DEVICE, "memory to read", part, err);
        if (!status) {
            r->n_parts++;
            status = lk_vk_fill(r->dev, part, 0, VK_WHOLE_SIZE, 0x01010101u, err);
        }
    }
    return status;
}

static lk_status reading_bind(struct reading *r, lk_error *err)
{
    const struct VolkDeviceTable *vk = &r->dev->vk;
    uint32_t most = lk_vk_max_threads(&r->dev->found.props.limits);
    r->threads = most < THREADS ? most : THREADS;
    uint32_t spec[4] = {r->threads};
    lk_status status = lk_vk_pipe_get(r->dev, "stream", spec, &r->pipe, err);
    status = status ? status : lk_vk_pipes_compile(r->dev, err);
    if (status) {
        return status;
    }
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, MAX_PARTS * LK_VK_BINDINGS};
    VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = MAX_PARTS,
                                       .poolSizeCount = 1,
                                       .pPoolSizes = &size};
    VkResult result = vk->vkCreateDescriptorPool(r->dev->handle, &pool, NULL, &r->pool);
    for (int i = 0; i < r->n_parts && !result; i++) {
        VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = r->pool,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &r->dev->set_layout};
        result = vk->vkAllocateDescriptorSets(r->dev->handle, &info, &r->set[i]);
        VkDescriptorBufferInfo buffer[2] = {{r->part[i].handle, 0, VK_WHOLE_SIZE},
                                            {r->sums.handle, 0, VK_WHOLE_SIZE}};
        VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = r->set[i],
                                      .descriptorCount = 2,
                                      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                      .pBufferInfo = buffer};
        if (!result) {
            vk->vkUpdateDescriptorSets(r->dev->handle, 1, &write, 0, NULL);
        }
    }
    return result ? lk_vk_fail(r->dev, result, "reading speed", err) : LK_OK;
}

/* Seconds of `passes` passes over all parts, submission and waiting included. */
static lk_status read_all(struct reading *r, int passes, double *seconds, lk_error *err)
{
    const struct VolkDeviceTable *vk = &r->dev->vk;
    lk_status status = lk_vk_begin(r->dev, err);
    if (status) {
        return status;
    }
    vk->vkCmdBindPipeline(r->dev->commands, VK_PIPELINE_BIND_POINT_COMPUTE, r->pipe->handle);
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_SHADER_WRITE_BIT};
    for (int i = 0; i < passes * r->n_parts; i++) {
        int part = i % r->n_parts;
        struct lk_vk_stream_push push = {(uint32_t)(r->part[part].size / 16)};
        uint32_t groups = (push.n + 4 * r->threads - 1) / (4 * r->threads);
        vk->vkCmdPipelineBarrier(r->dev->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                 VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0, NULL, 0,
                                 NULL);
        vk->vkCmdBindDescriptorSets(r->dev->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                    r->dev->layout, 0, 1, &r->set[part], 0, NULL);
        vk->vkCmdPushConstants(r->dev->commands, r->dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof push, &push);
        vk->vkCmdDispatch(r->dev->commands, groups < GROUPS ? groups : GROUPS, 1, 1);
    }
    double from = lk_now();
    status = lk_vk_finish(r->dev, err);
    *seconds = lk_now() - from;
    return status;
}

lk_status lk_vk_read_rate(struct lk_vk_device *dev, uint64_t n_bytes, int passes,
                          double *bytes_per_second, lk_error *err)
{
    struct reading r = {.dev = dev};
    double least = 0.0, empty = 0.0, seconds;
    uint64_t n = 0;
    if (passes < 1) {
        return lk_fail(err, LK_E_INVALID, "reading speed: %d passes, expected at least 1", passes);
    }
    lk_status status = reading_alloc(&r, n_bytes, err);
    if (!status) {
        status = reading_bind(&r, err);
    }
    /* What a submission costs without reading is no reading. */
    for (int i = 0; i <= passes && !status; i++) {
        status = read_all(&r, 0, &seconds, err);
        empty = i == 0 || seconds < empty ? seconds : empty;
    }
    for (int i = 0; i <= passes && !status; i++) {
        status = read_all(&r, passes, &seconds, err);
        least = i == 0 || seconds < least ? seconds : least;
    }
    for (int i = 0; i < r.n_parts; i++) {
        n += r.part[i].size;
        lk_vk_buffer_destroy(dev, &r.part[i]);
    }
    lk_vk_buffer_destroy(dev, &r.sums);
    dev->vk.vkDestroyDescriptorPool(dev->handle, r.pool, NULL);
    least = least > 2.0 * empty ? least - empty : least;
    *bytes_per_second = status ? 0.0 : (double)n * passes / least;
    return status;
}

/* ---- kernels ---- */

enum { ROWS = 4096, COLS = 4096 };
/* One measurement takes this long; a GPU that was idle takes most of it to raise its clocks. */
static const double LEAST_SECONDS = 0.05, LEAST_SECONDS_GPU = 0.5;

/* A matmul alone, as a plan. */
struct kernel_run {
    struct lk_backend *b;
    struct lk_weight w;
    int n_tokens;
    float *x, *y;
    int32_t *index, *zeros;      /* 0, 1, 2, ...; [n_tokens] zeros */
    struct lk_state_mem *states; /* there are none */
};

/* Seconds of one run over n tokens by the device's clock: the best of some after the first. */
static lk_status time_runs(struct kernel_run *k, struct lk_exec *e, int n, double *seconds,
                           lk_error *err)
{
    struct lk_batch_seq seq = {.blocks = k->zeros, .n_tokens = n};
    struct lk_batch batch = {.n_tokens = n,
                             .pos = k->index,
                             .seq = k->zeros,
                             .n_seqs = 1,
                             .seqs = &seq,
                             .n_outputs = 1,
                             .outputs = k->index,
                             .hidden_in = k->x,
                             .out = k->y};
    double before = 0.0, spent = 0.0, best = 0.0;
    bool cpu = e->dev->found.props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    double least = cpu ? LEAST_SECONDS : LEAST_SECONDS_GPU;
    lk_status status = lk_vk_profile(e, true, err);
    for (int i = 0; !status && (i < 2 || spent < least); i++) {
        struct lk_op_seconds t;
        double from = lk_now();
        status = lk_backend_vulkan.run(e, k->states, &batch, err);
        lk_vk_op_seconds(e, 0, &t);
        double once = t.run - before;
        before = t.run;
        if (i > 0) {
            best = i == 1 || once < best ? once : best;
            spent += lk_now() - from;
        }
    }
    *seconds = best;
    return status;
}

static lk_status time_kernel(struct kernel_run *k, lk_kernel_fn each, void *user, lk_error *err)
{
    struct lk_op op = {.kind = LK_OP_MATMUL, .in = {0}, .n_in = 1, .out = 1};
    struct lk_slot slots[2] = {{COLS, LK_ROWS_TOKENS}, {ROWS, LK_ROWS_TOKENS}};
    struct lk_plan plan = {.ops = &op,
                           .n_ops = 1,
                           .slots = slots,
                           .n_slots = 2,
                           .weights = &k->w,
                           .n_weights = 1,
                           .n_embd = COLS,
                           .n_layer = 1,
                           .last_stage = 2,
                           .out_slot = 1};
    struct lk_exec_options o = {.plan = &plan,
                                .max_tokens = k->n_tokens,
                                .max_outputs = 1,
                                .max_seqs = 1,
                                .max_blocks = k->n_tokens / LK_KV_BLOCK + 1,
                                .fuse = true};
    struct lk_exec *e = NULL;
    double decode = 0.0, many = 0.0;
    bool trial = k->n_tokens > LK_VK_FEW_TOKENS;
    lk_status status =
        lk_vk_prepare(k->b, &o, trial, trial ? LK_VK_NOT_FEW : LK_VK_ALL_LISTS, &e, err);
    if (!status) {
        status = time_runs(k, e, 1, &decode, err);
    }
    if (!status) {
        status = time_runs(k, e, k->n_tokens, &many, err);
    }
    if (!status && (decode <= 0.0 || many <= 0.0)) {
        status = lk_fail(err, LK_E_DEVICE, "timing kernels: the clock of device '%s' stands still",
                         k->b->dev.found.props.deviceName);
    }
    lk_backend_vulkan.exec_free(e);
    if (status) {
        return status;
    }
    lk_kernel_time t = {.level = k->b->dev.found.use[LK_VK_INT_DOT] ? "int-dot" : "baseline",
                        .type = lk_type_info((uint32_t)k->w.type)->name,
                        .rows = ROWS,
                        .cols = COLS,
                        .n_tokens = k->n_tokens,
                        .bytes_per_second = (double)k->w.n_bytes / decode,
                        .ops_per_second = 2.0 * ROWS * COLS * k->n_tokens / many};
    return each(user, &t) ? LK_OK : lk_fail(err, LK_E_CANCELLED, "cancelled while timing kernels");
}

/* The types, or one of them, with the features in use; `again`: of those with integers alone. */
static lk_status time_types(struct kernel_run *k, uint8_t *data, const char *type, bool again,
                            lk_kernel_fn each, void *user, lk_error *err)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    lk_status status = LK_OK;
    for (size_t i = 0; i < n_types && !status; i++) {
        if ((type && strcmp(type, types[i].name) != 0) || (again && !types[i].quantized)) {
            continue;
        }
        k->w = (struct lk_weight){.type = types[i].type, .rows = ROWS, .cols = COLS, .data = data};
        k->w.n_bytes = ROWS * lk_type_row_bytes(types[i].type, COLS);
        snprintf(k->w.name, sizeof k->w.name, "%s", types[i].name);
        status = time_kernel(k, each, user, err);
    }
    return status;
}

lk_status lk_vk_kernels(const struct lk_backend_options *options, bool all_levels, const char *type,
                        int n_tokens, lk_kernel_fn each, void *user, lk_error *err)
{
    struct kernel_run k = {.n_tokens = n_tokens};
    size_t n = (size_t)n_tokens, most = (size_t)ROWS * COLS * sizeof(float);
    char note[512];
    bool exact;
    static const struct lk_plan NO_STATES = {.n_layer = 1, .last_stage = 2};
    struct lk_state_geom geom = {.plan = &NO_STATES};
    uint8_t *data = lk_alloc(most);
    lk_status status = lk_vk_open(options, &k.b, &exact, note, sizeof note, err);
    k.x = lk_alloc_array(n, COLS * sizeof(float));
    k.y = lk_alloc_array(n, ROWS * sizeof(float));
    k.index = lk_alloc_array(n, sizeof *k.index);
    k.zeros = lk_alloc_array(n + 1, sizeof *k.zeros);
    if (!status && (!data || !k.x || !k.y || !k.index || !k.zeros)) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory timing kernels with %d tokens", n_tokens);
    }
    if (!status) {
        status = lk_backend_vulkan.state_alloc(k.b, &geom, &k.states, err);
    }
    if (!status) {
        /* Bytes that are finite and in range read as any type, scales of blocks included. */
        for (size_t i = 0; i < most; i++) {
            data[i] = (uint8_t)(0x30u | ((uint32_t)i * 2654435761u) >> 29);
        }
        for (size_t i = 0; i < n * COLS; i++) {
            k.x[i] = (float)(int32_t)((uint32_t)i * 2654435761u) / 2147483648.0f;
        }
        for (int i = 0; i < n_tokens; i++) {
            k.index[i] = i;
        }
        status = time_types(&k, data, type, false, each, user, err);
    }
    bool *dot = k.b ? &k.b->dev.found.use[LK_VK_INT_DOT] : NULL;
    if (!status && all_levels && *dot) {
        *dot = false;
        status = time_types(&k, data, type, true, each, user, err);
    }
    lk_backend_vulkan.state_free(k.states);
    lk_vk_close(k.b);
    lk_free(data);
    lk_free(k.x);
    lk_free(k.y);
    lk_free(k.index);
    lk_free(k.zeros);
    return status;
}

/* ---- ops ---- */

static void forget_commands(struct lk_exec *e)
{
    for (int i = 0; i < LK_VK_MAX_SHAPES; i++) {
        e->shape[i].used = 0; /* recorded with, or without, timestamps */
    }
}

lk_status lk_vk_profile(struct lk_exec *e, bool on, lk_error *err)
{
    struct lk_vk_times *t = &e->times;
    forget_commands(e);
    e->dev->vk.vkDestroyQueryPool(e->dev->handle, t->queries, NULL);
    lk_free(t->op);
    lk_free(t->stamps);
    *t = (struct lk_vk_times){0};
    if (!on) {
        return LK_OK;
    }
    if (e->dev->found.timestamp_bits == 0) {
        return lk_fail(err, LK_E_UNSUPPORTED, "device '%s' has no timestamps: ops are not timed",
                       e->dev->found.props.deviceName);
    }
    int steps = 0;
    for (int i = 0; i < LK_VK_LISTS; i++) {
        steps = e->list[i].n_steps > steps ? e->list[i].n_steps : steps;
    }
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = (uint32_t)steps + 1};
    t->stamps = lk_alloc_array((size_t)steps + 1, sizeof *t->stamps);
    t->op = lk_alloc_array((size_t)e->o.plan->n_ops, sizeof *t->op);
    VkResult r = e->dev->vk.vkCreateQueryPool(e->dev->handle, &info, NULL, &t->queries);
    if (!t->stamps || !t->op || r) {
        lk_vk_profile(e, false, NULL);
        return r ? lk_vk_fail(e->dev, r, "timestamps", err)
                 : lk_fail(err, LK_E_NOMEM, "out of memory: times of %d ops", e->o.plan->n_ops);
    }
    return LK_OK;
}

void lk_vk_op_seconds(const struct lk_exec *e, int op, struct lk_op_seconds *out)
{
    *out = e->times.op ? e->times.op[op] : (struct lk_op_seconds){0};
}

/* A step's time goes to its ops by the bytes of their weights. */
static void share(struct lk_exec *e, const struct lk_vk_step *s, double seconds)
{
    const struct lk_plan *plan = e->o.plan;
    double bytes[LK_COUNT(s->op)], all = 0.0;
    for (int i = 0; i < s->n_ops; i++) {
        const struct lk_op *op = &plan->ops[s->op[i]];
        bytes[i] = op->weight >= 0 ? (double)plan->weights[op->weight].n_bytes : 1.0;
        all += bytes[i];
    }
    for (int i = 0; i < s->n_ops; i++) {
        struct lk_op_seconds *t = &e->times.op[s->op[i]];
        *(s->prepare ? &t->prepare : &t->run) += seconds * bytes[i] / all;
    }
}

lk_status lk_vk_profile_add(struct lk_exec *e, const struct lk_vk_list *list,
                            const struct lk_batch *b, double wall, lk_error *err)
{
    const struct lk_vk_found *f = &e->dev->found;
    struct lk_vk_times *t = &e->times;
    uint32_t n = (uint32_t)list->n_steps + 1;
    VkResult r =
        e->dev->vk.vkGetQueryPoolResults(e->dev->handle, t->queries, 0, n, n * sizeof *t->stamps,
                                         t->stamps, sizeof *t->stamps,
                                         VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (r) {
        return lk_vk_fail(e->dev, r, "timestamps", err);
    }
    uint64_t mask = f->timestamp_bits < 64 ? (UINT64_C(1) << f->timestamp_bits) - 1 : UINT64_MAX;
    double tick = (double)f->props.limits.timestampPeriod * 1e-9, steps = 0.0;
    for (int i = 0; i < list->n_steps; i++) {
        double seconds = (double)((t->stamps[i + 1] - t->stamps[i]) & mask) * tick;
        seconds = seconds < wall - steps ? seconds : 0.0; /* clocks that jump */
        share(e, &list->steps[i], seconds);
        steps += seconds;
    }
    struct lk_row_counts rows = lk_batch_rows(e->o.plan, b);
    for (int i = 0; i < e->o.plan->n_ops; i++) {
        int out = e->o.plan->ops[i].out;
        t->op[i].calls += out < 0 || rows.n[e->o.plan->slots[out].rows] > 0;
    }
    t->op[0].wait += wall - steps;
    return LK_OK;
}
