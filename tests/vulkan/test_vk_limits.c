/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_limits: devices that are refused, and what the shaders of this build take. That kernels stay
 * within a device's limits and their arrays, with the same bits, is in test_vk_agree.c.
 */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/vk.h"
#include "tests/vulkan/vk_pair.h"

static VkPhysicalDeviceProperties least(void)
{
    VkPhysicalDeviceProperties p = {.apiVersion = VK_API_VERSION_1_1, .deviceName = "the least"};
    vk_pair_least(&p.limits);
    return p;
}

static bool fits(const VkPhysicalDeviceLimits *l, const char *shader, const uint32_t spec[4])
{
    return lk_vk_fits(lk_vk_max_threads(l), l->maxComputeSharedMemorySize, shader, spec);
}

Test(vk_limits, devices_below_what_kernels_need_are_refused_by_name)
{
    char note[256] = "";
    VkPhysicalDeviceProperties p = least();
    cr_assert(lk_vk_limits_suffice(&p, note, sizeof note), "%s", note);
    static const struct {
        size_t at;
        const char *note;
    } CASE[] = {
#define LIMIT(name) offsetof(VkPhysicalDeviceLimits, name)
        {LIMIT(maxPerStageDescriptorStorageBuffers),
         "maxPerStageDescriptorStorageBuffers is 7, expected 8"},
        {LIMIT(maxDescriptorSetStorageBuffers), "maxDescriptorSetStorageBuffers is 7, expected 8"},
        {LIMIT(maxComputeSharedMemorySize), "maxComputeSharedMemorySize is 16383, expected 16384"},
        {LIMIT(maxComputeWorkGroupInvocations),
         "maxComputeWorkGroupInvocations is 127, expected 128"},
        {LIMIT(maxComputeWorkGroupSize[0]), "maxComputeWorkGroupSize[0] is 127, expected 128"},
        {LIMIT(maxComputeWorkGroupCount[0]),
         "maxComputeWorkGroupCount[0] is 65534, expected 65535"},
        {LIMIT(maxComputeWorkGroupCount[1]),
         "maxComputeWorkGroupCount[1] is 65534, expected 65535"},
        {LIMIT(maxComputeWorkGroupCount[2]),
         "maxComputeWorkGroupCount[2] is 65534, expected 65535"},
        {LIMIT(maxPushConstantsSize), "maxPushConstantsSize is 127, expected 128"},
        {LIMIT(maxStorageBufferRange), "maxStorageBufferRange is 134217727, expected 134217728"},
#undef LIMIT
    };
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        p = least();
        uint32_t *limit = (uint32_t *)(void *)((char *)&p.limits + CASE[i].at);
        (*limit)--;
        cr_assert_not(lk_vk_limits_suffice(&p, note, sizeof note), "%s", CASE[i].note);
        cr_assert_str_eq(note, CASE[i].note);
    }
    p = least();
    p.limits.maxPerStageResources = 7;
    cr_assert_not(lk_vk_limits_suffice(&p, note, sizeof note));
    cr_assert_str_eq(note, "maxPerStageResources is 7, expected 8");
    p = least();
    p.limits.minStorageBufferOffsetAlignment = 512;
    cr_assert_not(lk_vk_limits_suffice(&p, note, sizeof note));
    cr_assert_str_eq(note, "minStorageBufferOffsetAlignment is 512, expected at most 256");
    p = least();
    p.apiVersion = VK_API_VERSION_1_0;
    cr_assert_not(lk_vk_limits_suffice(&p, note, sizeof note));
    cr_assert_str_eq(note, "Vulkan 1.0, expected 1.1");
    /* Such a device is not taken, and says why. */
    struct lk_vk_found f = {.props = least(), .type = "discrete"};
    f.props.limits.maxPerStageDescriptorStorageBuffers = 4;
    f.usable = lk_vk_limits_suffice(&f.props, f.note, sizeof f.note);
    lk_error err;
    struct lk_backend_options o = {.device = &f.id};
    cr_assert_eq(lk_vk_pick(&f, 1, &o, &err), -1);
    cr_assert_str_eq(err.message,
                     "device 'the least': maxPerStageDescriptorStorageBuffers is 4, expected 8");
}

static struct lk_vk_needs needs_of(const char *shader, uint32_t c0, uint32_t c1, uint32_t c2,
                                   uint32_t c3)
{
    const uint32_t spec[4] = {c0, c1, c2, c3};
    const struct lk_vk_shader *s = lk_vk_shader_find(shader);
    struct lk_vk_needs needs = {0};
    lk_error err;
    cr_assert(s, "%s", shader);
    cr_assert_eq(lk_vk_measure(s, spec, &needs, &err), LK_OK, "%s", err.message);
    return needs;
}

/* Sums of arrays written out by hand, for constants that change each of them. */
Test(vk_limits, shaders_are_measured)
{
    static const struct {
        const char *shader;
        uint32_t spec[4], threads, shared;
    } CASE[] = {
        {"norm", {0, 1, 0, 128}, 128, 128 * 4 + 16 * 4 + 32 * 4},
        {"norm", {0, 1, 0, 256}, 256, 256 * 4 + 32 * 4 + 64 * 4},
        {"norm", {0, 1, 0, 512}, 512, 256 * 4 + 64 * 4 + 128 * 4},
        {"rope", {0}, 64, 0},
        {"stream", {128}, 128, 16},
        {"attn", {16, 256, LK_VK_ATTN_VALUES(256), 128}, 128, 16 * (2 * 256 + 6 * 64 + 16)},
        {"attn_dot", {4, 96, 3, 32}, 32, 4 * (2 * 96 + 6 * 64 + 16)},
        {"attn_decode",
         {128, 8, 256, 12},
         128,
         4 * (10 * 256 + 10 * 64) + 48 + 8 * (2 * 256 + 6 * 64 + 12) + 6 * 256 + 16},
        {"attn_decode_dot_gpu",
         {256, 4, 64, 8},
         256,
         4 * (6 * 64 + 6 * 64) + 32 + 4 * (2 * 64 + 6 * 64 + 12) + 6 * 64 + 16},
        {"matvec_Q8_0", {512, 8, 0, 0}, 512, 16 * 8 * 128 + 16 * 4 + 128},
        {"matvec_Q4_K_gpu",
         {256, 1, 2 | LK_VK_PREP_NORM << 4, 16},
         256,
         4 * 16 * 128 + 16 * (256 + 4 + 128) + 1024 + 128},
        {"matvec_F16", {128, 4, 0, 0}, 128, 4 * 4 * 128},
        {"attn_wide",
         {0, 256, LK_VK_ATTN_SHARE, 256},
         256,
         16 * (256 * 5 + 64 * 9 + 512) + 16 * 48 + 32},
        /* keys need more of it than values and what is told there */
        {"attn_wide", {0, 384, LK_VK_ATTN_SHARE, 256}, 256, 16 * (2 * 64 * 25 + 16) + 16 * 48 + 32},
        {"attn_wide",
         {0, 128, LK_VK_ATTN_SHARE, 128},
         128,
         16 * (128 * 5 + 64 * 9 + 256) + 16 * 48 + 32},
        {"attn_wide",
         {0, 128, 0, 128},
         128,
         16 * (2 * 64 * 9 + 2 * 128 * 5 + 64 * 9 + 256) + 16 * 48 + 32},
        {"tile_F32", {4}, 128, 32 * 64 * 4 + 32 * 32 * 4},
        {"tile_F32", {2}, 128, 32 * 32 * 4 + 32 * 16 * 4},
        {"tile_Q6_K_dot", {0}, 128, 8 * 96 * 4 + 96 * 8 + 64 * 16 + 32 * 4},
        {"tile_Q4_1_wide", {64, 64, 0, 128}, 128, 2 * 80 * 128 + 32 * 128},
        {"tile_Q6_K_wide", {64, 64, 0, 128}, 128, 2 * 80 * 192 + 4 * 192},
        {"tile_Q6_K_wide", {64, 128, 0, 128}, 128, 2 * 80 * 256 + 4 * 256},
        {"tile_Q5_K_wide", {128, 128, 1, 256}, 256, 2 * 80 * 256 + 32 * 128 + 4 * 384 + 16 * 128},
    };
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        const uint32_t *c = CASE[i].spec;
        struct lk_vk_needs n = needs_of(CASE[i].shader, c[0], c[1], c[2], c[3]);
        cr_assert_eq(n.threads, CASE[i].threads, "%s: %u", CASE[i].shader, n.threads);
        cr_assert_eq(n.shared_bytes, CASE[i].shared, "%s: %llu bytes, expected %u", CASE[i].shader,
                     (unsigned long long)n.shared_bytes, CASE[i].shared);
    }
    /* Every module of the build can be measured. */
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        bool wide = strstr(LK_VK_SHADERS[i].name, "_wide") || strstr(LK_VK_SHADERS[i].name, "trix");
        struct lk_vk_needs n = wide ? needs_of(LK_VK_SHADERS[i].name, 64, 64, 0, 128)
                                    : needs_of(LK_VK_SHADERS[i].name, 64, 4, 64, 64);
        cr_assert(n.threads >= 64 && n.threads <= 128, "%s: %u", LK_VK_SHADERS[i].name, n.threads);
    }
}

/* A size that is made by an operation which is not evaluated is no size; other constants may be. */
Test(vk_limits, sizes_that_are_not_evaluated_are_errors)
{
    const uint32_t spec[4] = {16, 256, LK_VK_ATTN_VALUES(256), 128};
    const struct lk_vk_shader *s = lk_vk_shader_find("attn");
    for (uint32_t from = 132; from <= 171; from += 39) { /* products, and comparisons */
        uint32_t *words = malloc(s->n_bytes), n = 0;
        memcpy(words, s->words, s->n_bytes);
        for (size_t w = 5; w < s->n_bytes / 4; w += words[w] >> 16) {
            if ((words[w] & 0xffff) == 52 && words[w + 3] == from) {
                words[w + 3] = 114; /* SConvert */
                n++;
            }
        }
        struct lk_vk_shader odd = {"odd", words, s->n_bytes};
        struct lk_vk_needs needs;
        lk_error err = {0};
        lk_status status = lk_vk_measure(&odd, spec, &needs, &err);
        cr_assert_gt(n, 0);
        if (from == 132) {
            cr_assert_eq(status, LK_E_INTERNAL);
            cr_assert(strstr(err.message, "shader 'odd': the size of %"), "%s", err.message);
        } else {
            cr_assert_eq(status, LK_OK, "%s", err.message);
            cr_assert_eq(needs.shared_bytes, 14592);
        }
        free(words);
    }
}

/* Kernels whose size the host does not choose run on every device. */
Test(vk_limits, fixed_kernels_fit_the_least_device)
{
    VkPhysicalDeviceProperties p = least();
    uint32_t zero[4] = {0};
    static const char *const FIXED[] = {"quantize",    "rope",   "kv_store", "attn_merge",
                                        "elementwise", "gather", "probe",    "probe_dot"};
    for (size_t i = 0; i < LK_COUNT(FIXED); i++) {
        cr_assert(fits(&p.limits, FIXED[i], zero), "%s", FIXED[i]);
    }
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        char name[64];
        snprintf(name, sizeof name, "tile_%s", types[t].name);
        cr_assert(fits(&p.limits, name, zero), "%s", name);
        snprintf(name, sizeof name, "embed_%s", types[t].name);
        cr_assert(fits(&p.limits, name, zero), "%s", name);
    }
    cr_assert(fits(&p.limits, "norm", (const uint32_t[4]){0, 1, 0, 128}));
    /* One more than there is, of either. */
    const uint32_t spec[4] = {16, 256, LK_VK_ATTN_VALUES(256), 128};
    p.limits.maxComputeSharedMemorySize = 14592;
    cr_assert(fits(&p.limits, "attn", spec));
    p.limits.maxComputeSharedMemorySize--;
    cr_assert_not(fits(&p.limits, "attn", spec));
    p.limits.maxComputeSharedMemorySize++;
    p.limits.maxComputeWorkGroupSize[0] = 127;
    cr_assert_not(fits(&p.limits, "attn", spec));
    cr_assert_not(fits(&p.limits, "no such shader", spec));
}

/* A device takes wide tiles and those of matrix units when Q6_K's wide ones fit: these take the
 * most.
 */
Test(vk_limits, wide_tiles_of_q6_k_take_the_most)
{
    VkPhysicalDeviceProperties p = least();
    const uint32_t small[4] = {64, 64, LK_VK_EPI_STORE, 128};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    p.limits.maxComputeSharedMemorySize = 2 * 80 * 192 + 4 * 192;
    p.limits.maxComputeWorkGroupInvocations = 128;
    p.limits.maxComputeWorkGroupSize[0] = 128;
    cr_assert(fits(&p.limits, "tile_Q6_K_wide", small));
    for (size_t t = 0; t < n_types; t++) {
        static const char *const OF[] = {"wide", "matrix"};
        for (size_t i = 0; i < LK_COUNT(OF) && types[t].quantized; i++) {
            char name[64];
            snprintf(name, sizeof name, "tile_%s_%s", types[t].name, OF[i]);
            cr_assert(fits(&p.limits, name, small) || (i == 1 && !lk_vk_shader_find(name)), "%s",
                      name);
        }
    }
    p.limits.maxComputeSharedMemorySize--;
    cr_assert_not(fits(&p.limits, "tile_Q6_K_wide", small));
}

/* A pipeline beyond the device is an error with both numbers, whether it was built before or not.
 */
Test(vk_limits, a_pipeline_beyond_the_device_is_refused)
{
    struct lk_vk_device dev;
    struct lk_backend_options o = {.device = vk_pair_id()};
    lk_error err = {0};
    const struct lk_vk_pipe *pipe;
    const uint32_t spec[4] = {16, 256, LK_VK_ATTN_VALUES(256), 128};
    char want[160];
    cr_assert_eq(lk_vk_device_open(&o, &dev, &err), LK_OK, "%s", err.message);
    VkPhysicalDeviceLimits *l = &dev.found.props.limits;
    for (int built = 0; built < 2; built++) {
        l->maxComputeSharedMemorySize = 14591;
        cr_assert_eq(lk_vk_pipe_get(&dev, "attn", spec, &pipe, &err), LK_E_UNSUPPORTED);
        snprintf(want, sizeof want,
                 "shader 'attn': 14592 bytes of shared memory, device '%.60s' has 14591",
                 dev.found.props.deviceName);
        cr_assert_str_eq(err.message, want);
        l->maxComputeSharedMemorySize = 14592;
        l->maxComputeWorkGroupInvocations = 127;
        cr_assert_eq(lk_vk_pipe_get(&dev, "attn", spec, &pipe, &err), LK_E_UNSUPPORTED);
        snprintf(want, sizeof want,
                 "shader 'attn': workgroups of 128, device '%.60s' has them up "
                 "to 127",
                 dev.found.props.deviceName);
        cr_assert_str_eq(err.message, want);
        l->maxComputeWorkGroupInvocations = 128;
        cr_assert_eq(lk_vk_pipe_get(&dev, "attn", spec, &pipe, &err), LK_OK, "%s", err.message);
        cr_assert_eq(pipe->handle != VK_NULL_HANDLE, built, "it is compiled later");
        cr_assert_eq(lk_vk_pipes_compile(&dev, &err), LK_OK, "%s", err.message);
        cr_assert(pipe->handle && dev.n_compiled == 1);
    }
    lk_vk_device_close(&dev);
}

static bool stop_at_once(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    *(uint64_t *)user = done;
    cr_assert(done >= 1 && done <= total);
    return false;
}

/* Threads share the pipelines that are to be compiled; who is asked whether to go on and says no
 * leaves none of them, and none that was there is touched. */
Test(vk_limits, pipelines_are_compiled_by_several_threads)
{
    static const char *const SHADER[] = {"gather", "rope", "kv_store", "elementwise",
                                         "elementwise"};
    enum { N = sizeof SHADER / sizeof *SHADER };
    struct lk_vk_device dev;
    struct lk_backend_options o = {.device = vk_pair_id()};
    const struct lk_vk_pipe *pipe[N];
    lk_error err;
    uint64_t told = 0;
    cr_assert_eq(lk_vk_device_open(&o, &dev, &err), LK_OK, "%s", err.message);
    for (int threads = 1; threads <= 9; threads += 4) {
        dev.compilers = threads;
        for (uint32_t stops = 0; stops < 2; stops++) {
            int before = dev.n_compiled;
            for (uint32_t i = 0; i < N; i++) {
                const uint32_t spec[4] = {i < 4 ? 0 : LK_VK_ELT_SCALE, 0, 0,
                                          2 * (uint32_t)threads + stops};
                cr_assert_eq(lk_vk_pipe_get(&dev, SHADER[i], spec, &pipe[i], &err), LK_OK, "%s",
                             err.message);
            }
            dev.progress = stops ? stop_at_once : NULL;
            dev.progress_user = &told;
            dev.probe_pipes = stops ? 100 : 0;
            lk_status status = lk_vk_pipes_compile(&dev, &err);
            cr_assert_eq(status, stops ? LK_E_CANCELLED : LK_OK, "%s", err.message);
            cr_assert(dev.n_pipes == dev.n_compiled && dev.n_pipes == before + (stops ? 0 : N));
            for (uint32_t i = 0; i < N && !stops; i++) {
                cr_assert(pipe[i]->handle && pipe[i] == &dev.pipes[before + (int)i]);
            }
        }
    }
    lk_vk_device_close(&dev);
}

/* A state fits a buffer to the byte, or is refused. */
Test(vk_limits, a_state_beyond_the_devices_buffers_is_refused)
{
    struct lk_backend *b = calloc(1, sizeof *b);
    struct lk_backend_options o = {.device = vk_pair_id()};
    struct lk_state k = lk_state_paged(LK_STATE_K, 0, 2, 40);
    struct lk_plan plan = {.states = &k, .n_states = 1, .n_layer = 1, .last_stage = 2};
    struct lk_state_geom g = {.plan = &plan, .n_blocks = 128};
    uint32_t bytes = 128 * 2 * (64 * 64 * 12 / 8 + 64 * 4); /* blocks, heads, keys, scales */
    lk_error err = {0};
    struct lk_state_mem *mem = NULL;
    cr_assert_eq(lk_vk_device_open(&o, &b->dev, &err), LK_OK, "%s", err.message);
    VkPhysicalDeviceLimits *l = &b->dev.found.props.limits;
    l->maxStorageBufferRange = bytes;
    cr_assert_eq(lk_backend_vulkan.state_alloc(b, &g, &mem, &err), LK_OK, "%s", err.message);
    lk_backend_vulkan.state_free(mem);
    l->maxStorageBufferRange--;
    mem = NULL;
    cr_assert_eq(lk_backend_vulkan.state_alloc(b, &g, &mem, &err), LK_E_UNSUPPORTED);
    cr_assert_str_eq(err.message, "K of layer 0: 1638400 bytes are beyond the device's buffers of "
                                  "1638399: use a smaller context");
    /* It and its guards are one allocation. */
    l->maxStorageBufferRange++;
    b->dev.found.max_allocation = bytes + 2 * LK_VK_GUARD;
    cr_assert_eq(lk_backend_vulkan.state_alloc(b, &g, &mem, &err), LK_OK, "%s", err.message);
    lk_backend_vulkan.state_free(mem);
    b->dev.found.max_allocation--;
    cr_assert_eq(lk_backend_vulkan.state_alloc(b, &g, &mem, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "buffers of 1638144"), "%s", err.message);
    lk_vk_device_close(&b->dev);
    free(b);
}

/* The kernels also fit the workgroups of the smallest device. */
Test(vk_limits, reading_speed_is_measured_in_small_workgroups)
{
    struct lk_vk_device dev;
    struct lk_backend_options o = {.device = vk_pair_id()};
    lk_error err = {0};
    double rate = 0.0;
    cr_assert_eq(lk_vk_device_open(&o, &dev, &err), LK_OK, "%s", err.message);
    dev.found.props.limits.maxComputeWorkGroupInvocations = 128;
    cr_assert_eq(lk_vk_read_rate(&dev, 1 << 20, 1, &rate, &err), LK_OK, "%s", err.message);
    cr_assert_gt(rate, 0.0);
    lk_vk_device_close(&dev);
}
