/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pipe: SPIR-V -> pipelines, one layout for all (8 storage buffers, 128 bytes of push
 * constants), and the cache of compiled pipelines on disk. Knows no ops.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/kept.h"
#include "base/mem.h"
#include "base/os.h"
#include "vulkan/device/vk_device.h"
#include "vulkan/device/vk_shaders.h"

enum { CACHE_VERSION = 2 };

static lk_status open_cache(struct lk_vk_device *dev, const char *cache_dir, lk_error *err)
{
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    struct lk_kept file = {0};
    if (cache_dir) {
        const VkPhysicalDeviceProperties *p = &dev->found.props;
        char id[2 * VK_UUID_SIZE + 1];
        for (uint32_t i = 0; i < VK_UUID_SIZE; i++) {
            snprintf(id + 2 * i, 3, "%02x", p->pipelineCacheUUID[i]);
        }
        int n = snprintf(dev->cache_path, sizeof dev->cache_path, "%s/vk-%x-%x-%x-%s.pipelines",
                         cache_dir, p->vendorID, p->deviceID, p->driverVersion, id);
        if (n < 0 || (size_t)n >= sizeof dev->cache_path) {
            dev->cache_path[0] = 0;
        }
        lk_error why;
        if (dev->cache_path[0] && lk_make_dirs(cache_dir, &why)) {
            lk_log_line(&dev->log, LK_LOG_WARN, "no Vulkan cache: %s", why.message);
            dev->cache_path[0] = 0;
        }
    }
    if (dev->cache_path[0]) {
        enum lk_kept_state state = lk_kept_open(&file, dev->cache_path, "pipeline", CACHE_VERSION);
        if (state == LK_KEPT_BROKEN) {
            lk_log_line(&dev->log, LK_LOG_INFO,
                        "%s: not a whole file: pipelines are compiled again", dev->cache_path);
        }
        info.initialDataSize = file.n_bytes;
        info.pInitialData = file.data;
    }
    VkResult r = dev->vk.vkCreatePipelineCache(dev->handle, &info, NULL, &dev->cache);
    lk_kept_close(&file);
    return r ? lk_vk_fail(dev, r, "pipeline cache", err) : LK_OK;
}

static void write_cache(struct lk_vk_device *dev)
{
    size_t n = 0;
    if (dev->vk.vkGetPipelineCacheData(dev->handle, dev->cache, &n, NULL) || n == 0) {
        return;
    }
    uint8_t *blob = lk_alloc(n);
    lk_error why;
    if (blob && dev->vk.vkGetPipelineCacheData(dev->handle, dev->cache, &n, blob) == VK_SUCCESS &&
        lk_kept_write(dev->cache_path, "pipeline", CACHE_VERSION, blob, n, &why)) {
        lk_log_line(&dev->log, LK_LOG_WARN, "pipelines are not kept: %s", why.message);
    }
    lk_free(blob);
}

lk_status lk_vk_pipes_open(struct lk_vk_device *dev, const char *cache_dir, lk_error *err)
{
    VkDescriptorSetLayoutBinding binding[LK_VK_BINDINGS];
    for (uint32_t i = 0; i < LK_VK_BINDINGS; i++) {
        binding[i] =
            (VkDescriptorSetLayoutBinding){.binding = i,
                                           .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                           .descriptorCount = 1,
                                           .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    }
    VkDescriptorSetLayoutCreateInfo set = {.sType =
                                               VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                           .bindingCount = LK_VK_BINDINGS,
                                           .pBindings = binding};
    VkResult r = dev->vk.vkCreateDescriptorSetLayout(dev->handle, &set, NULL, &dev->set_layout);
    if (!r) {
        VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, LK_VK_PUSH_BYTES};
        VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                           .setLayoutCount = 1,
                                           .pSetLayouts = &dev->set_layout,
                                           .pushConstantRangeCount = 1,
                                           .pPushConstantRanges = &push};
        r = dev->vk.vkCreatePipelineLayout(dev->handle, &info, NULL, &dev->layout);
    }
    return r ? lk_vk_fail(dev, r, "pipeline layout", err) : open_cache(dev, cache_dir, err);
}

void lk_vk_pipes_close(struct lk_vk_device *dev)
{
    if (dev->new_pipes && dev->cache_path[0] && !dev->lost) {
        write_cache(dev);
    }
    for (int i = 0; i < dev->n_pipes; i++) {
        dev->vk.vkDestroyPipeline(dev->handle, dev->pipes[i].handle, NULL);
    }
    dev->vk.vkDestroyPipelineCache(dev->handle, dev->cache, NULL);
    dev->vk.vkDestroyPipelineLayout(dev->handle, dev->layout, NULL);
    dev->vk.vkDestroyDescriptorSetLayout(dev->handle, dev->set_layout, NULL);
}

static VkResult create(struct lk_vk_device *dev, struct lk_vk_pipe *pipe)
{
    VkShaderModule module;
    VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                     .codeSize = pipe->shader->n_bytes,
                                     .pCode = pipe->shader->words};
    VkResult r = dev->vk.vkCreateShaderModule(dev->handle, &code, NULL, &module);
    if (r) {
        return r;
    }
    VkSpecializationMapEntry map[4];
    for (uint32_t i = 0; i < 4; i++) {
        map[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
    }
    VkSpecializationInfo spec = {4, map, sizeof pipe->spec, pipe->spec};
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &spec},
        .layout = dev->layout};
    r = dev->vk.vkCreateComputePipelines(dev->handle, dev->cache, 1, &info, NULL, &pipe->handle);
    dev->vk.vkDestroyShaderModule(dev->handle, module, NULL);
    return r;
}

lk_status lk_vk_pipe_get(struct lk_vk_device *dev, const char *shader, const uint32_t spec[4],
                         const struct lk_vk_pipe **out, lk_error *err)
{
    struct lk_vk_pipe pipe = {.shader = lk_vk_shader_find(shader)};
    if (!pipe.shader) {
        return lk_fail(err, LK_E_INTERNAL, "shader '%s' is not in this build", shader);
    }
    memcpy(pipe.spec, spec, sizeof pipe.spec);
    for (int i = 0; i < dev->n_pipes; i++) {
        if (dev->pipes[i].shader == pipe.shader &&
            memcmp(dev->pipes[i].spec, pipe.spec, sizeof pipe.spec) == 0) {
            *out = &dev->pipes[i];
            return lk_vk_check_needs(&dev->found.props, pipe.shader, &dev->pipes[i].needs, err);
        }
    }
    if (dev->n_pipes == LK_VK_MAX_PIPES) {
        return lk_fail(err, LK_E_INTERNAL, "shader '%s': more than %d pipelines", shader,
                       LK_VK_MAX_PIPES);
    }
    lk_status status = lk_vk_measure(pipe.shader, spec, &pipe.needs, err);
    if (!status) {
        status = lk_vk_check_needs(&dev->found.props, pipe.shader, &pipe.needs, err);
    }
    if (!status) {
        dev->pipes[dev->n_pipes] = pipe;
        *out = &dev->pipes[dev->n_pipes++];
    }
    return status;
}

/* ---- compiling ---- */

/* What several threads compile: each takes the next. */
struct work {
    struct lk_vk_device *dev;
    atomic_int next, done;
    atomic_bool stop;
};

/* Compiles a pipeline that no thread has taken; false: there is none. */
static bool compile_next(struct work *w)
{
    int i = atomic_load(&w->stop) ? w->dev->n_pipes : atomic_fetch_add(&w->next, 1);
    if (i >= w->dev->n_pipes) {
        return false;
    }
    struct lk_vk_pipe *pipe = &w->dev->pipes[i];
    double start = lk_now();
    pipe->result = create(w->dev, pipe);
    pipe->seconds = lk_now() - start;
    atomic_fetch_add(&w->done, 1);
    if (pipe->result) {
        atomic_store(&w->stop, true);
    }
    return true;
}

static void compile_all(void *work)
{
    while (compile_next(work)) {
    }
}

/* Whether whoever is told of progress wants to go on. */
static bool tell_progress(struct lk_vk_device *dev, int done)
{
    done = done < dev->probe_pipes ? done : dev->probe_pipes;
    return !dev->progress || !dev->probe_pipes ||
           dev->progress(dev->progress_user, "probing the device, once", (uint64_t)done,
                         (uint64_t)dev->probe_pipes);
}

/* The first that failed; NULL: none did. */
static const struct lk_vk_pipe *find_failed(const struct lk_vk_device *dev)
{
    for (int i = dev->n_compiled; i < dev->n_pipes; i++) {
        if (dev->pipes[i].result) {
            return &dev->pipes[i];
        }
    }
    return NULL;
}

void lk_vk_pipes_drop(struct lk_vk_device *dev)
{
    while (dev->n_pipes > dev->n_compiled) {
        dev->vk.vkDestroyPipeline(dev->handle, dev->pipes[--dev->n_pipes].handle, NULL);
    }
}

lk_status lk_vk_pipes_compile(struct lk_vk_device *dev, lk_error *err)
{
    enum { MOST_THREADS = 32 };
    struct lk_thread *thread[MOST_THREADS];
    struct work w = {.dev = dev, .next = dev->n_compiled, .done = dev->n_compiled};
    int n = dev->n_pipes - dev->n_compiled, n_threads = 0;
    int most = n - 1 < MOST_THREADS ? n - 1 : MOST_THREADS;
    most = dev->compilers - 1 < most ? dev->compilers - 1 : most;
    if (n == 0) {
        return LK_OK;
    }
    bool goes_on = true;
    lk_error ignored; /* then there are fewer threads */
    double start = lk_now();
    while (n_threads < most && !lk_thread_start(&thread[n_threads], compile_all, &w, &ignored)) {
        n_threads++;
    }
    while (compile_next(&w)) {
        goes_on = goes_on && tell_progress(dev, atomic_load(&w.done));
        if (!goes_on) {
            atomic_store(&w.stop, true);
        }
    }
    for (int i = 0; i < n_threads; i++) {
        lk_thread_join(&thread[i]);
    }
    if (n_threads > 0) { /* others may have had the last */
        goes_on = goes_on && tell_progress(dev, atomic_load(&w.done));
    }
    dev->compiling += lk_now() - start;
    for (int i = dev->n_compiled; i < dev->n_pipes && dev->pipes[i].handle; i++) {
        const struct lk_vk_pipe *p = &dev->pipes[i];
        lk_log_line(&dev->log, LK_LOG_DEBUG, "vulkan: compiled %s (%u %u %u %u) in %.0f ms",
                    p->shader->name, p->spec[0], p->spec[1], p->spec[2], p->spec[3],
                    p->seconds * 1e3);
    }
    const struct lk_vk_pipe *failed = find_failed(dev);
    lk_status status = LK_OK;
    if (failed) {
        char what[128];
        snprintf(what, sizeof what, "compiling shader '%s'", failed->shader->name);
        status = lk_vk_fail(dev, failed->result, what, err);
    } else if (!goes_on) {
        status = lk_fail(err, LK_E_CANCELLED, "cancelled while probing device '%s'",
                         dev->found.props.deviceName);
    }
    if (status) {
        lk_vk_pipes_drop(dev);
        return status;
    }
    dev->n_compiled = dev->n_pipes;
    dev->new_pipes = true;
    return LK_OK;
}
