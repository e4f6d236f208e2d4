/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_probe: is the device exact? Runs the known-answer sets of shaders/probe_items.h there and
 * here, compares the words, and keeps the verdict on disk by device, driver and shaders.
 */
#include <stdio.h>
#include <string.h>

#include "src/mem.h"
#include "src/numerics.h"
#include "src/os.h"
#include "src/vulkan/vk.h"
#include "src/vulkan/vk_shaders.h"

#include "shaders/probe_items.h"

enum { HALVES = 65536, SAMPLES = 4096 };

static const char *const NAMES[LK_PROBE_ALL] = {
    "half-unpack",    "half-pack", "int-to-float", "multiply-add", "ordered-sum",
    "exact-products", "rcp",       "rsqrt",        "exp2",         "exp",
    "tanh",           "sigmoid",   "gelu",         "flush",        "rounding",
    "block",          "softmax",   "unpack16",     "int-dot",
};

static uint32_t count_of(uint32_t item)
{
    return item == LK_PROBE_UNPACK || item == LK_PROBE_HW_HALF ? HALVES : SAMPLES;
}

struct verdict {
    uint32_t failed;           /* bit per item */
    uint32_t at[LK_PROBE_ALL]; /* first differing index */
};

/* ---- on the device ---- */

struct run {
    struct lk_vk_device *dev;
    struct lk_vk_buffer out[LK_PROBE_ALL], flags;
    VkDescriptorPool pool;
    VkDescriptorSet set[LK_PROBE_ALL];
};

static void run_free(struct run *r)
{
    for (uint32_t i = 0; i < LK_PROBE_ALL; i++) {
        lk_vk_buffer_destroy(r->dev, &r->out[i]);
    }
    lk_vk_buffer_destroy(r->dev, &r->flags);
    r->dev->vk.vkDestroyDescriptorPool(r->dev->handle, r->pool, NULL);
}

static lk_status make_sets(struct run *r, lk_error *err)
{
    const struct VolkDeviceTable *vk = &r->dev->vk;
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, LK_PROBE_ALL * LK_VK_BINDINGS};
    VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = LK_PROBE_ALL,
                                       .poolSizeCount = 1,
                                       .pPoolSizes = &size};
    VkResult res = vk->vkCreateDescriptorPool(r->dev->handle, &pool, NULL, &r->pool);
    for (uint32_t i = 0; i < LK_PROBE_ALL && !res; i++) {
        VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = r->pool,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &r->dev->set_layout};
        res = vk->vkAllocateDescriptorSets(r->dev->handle, &info, &r->set[i]);
        for (uint32_t k = 0; k < LK_VK_BINDINGS && !res; k++) {
            VkDescriptorBufferInfo b = {k == 0 ? r->out[i].handle : r->flags.handle, 0,
                                        VK_WHOLE_SIZE};
            VkWriteDescriptorSet w = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = r->set[i],
                                      .dstBinding = k,
                                      .descriptorCount = 1,
                                      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                      .pBufferInfo = &b};
            vk->vkUpdateDescriptorSets(r->dev->handle, 1, &w, 0, NULL);
        }
    }
    return res ? lk_vk_fail(r->dev, res, "exactness probe", err) : LK_OK;
}

static lk_status run_items(struct run *r, lk_error *err)
{
    struct lk_vk_device *dev = r->dev;
    const uint32_t spec[4] = {0, 0, 0, 0};
    VkPipeline plain, dot = VK_NULL_HANDLE;
    lk_status status = lk_vk_pipe_get(dev, "probe", spec, &plain, err);
    if (!status && dev->found.use[LK_VK_INT_DOT]) {
        status = lk_vk_pipe_get(dev, "probe_dot", spec, &dot, err);
    }
    if (!status) {
        status = lk_vk_begin(dev, err);
    }
    if (status) {
        return status;
    }
    for (uint32_t i = 0; i < LK_PROBE_ALL; i++) {
        struct lk_vk_probe_push push = {i, count_of(i)};
        VkPipeline pipe = i == LK_PROBE_DOT && dot ? dot : plain;
        dev->vk.vkCmdBindPipeline(dev->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipe);
        dev->vk.vkCmdBindDescriptorSets(dev->commands, VK_PIPELINE_BIND_POINT_COMPUTE, dev->layout,
                                        0, 1, &r->set[i], 0, NULL);
        dev->vk.vkCmdPushConstants(dev->commands, dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                   sizeof push, &push);
        dev->vk.vkCmdDispatch(dev->commands, push.n / 64, 1, 1);
    }
    return lk_vk_finish(dev, err);
}

static lk_status probe_device(struct lk_vk_device *dev, struct verdict *v, lk_error *err)
{
    struct run r = {.dev = dev};
    lk_status status = lk_vk_buffer_create(dev, 256, LK_VK_USE_READBACK, "probe", &r.flags, err);
    for (uint32_t i = 0; i < LK_PROBE_ALL && !status; i++) {
        status = lk_vk_buffer_create(dev, (VkDeviceSize)count_of(i) * 4, LK_VK_USE_READBACK,
                                     "probe", &r.out[i], err);
    }
    if (!status) {
        status = make_sets(&r, err);
    }
    if (!status) {
        status = run_items(&r, err);
    }
    for (uint32_t i = 0; i < LK_PROBE_ALL && !status; i++) {
        const uint32_t *got = (const uint32_t *)(const void *)r.out[i].map;
        for (uint32_t k = 0; k < count_of(i); k++) {
            if (got[k] != probe_item(i, k)) {
                v->failed |= 1u << i;
                v->at[i] = k;
                break;
            }
        }
    }
    run_free(&r);
    return status;
}

/* ---- kept on disk ---- */

struct kept {
    char magic[8];
    uint8_t shaders[32];
    uint32_t numerics, features;
    struct verdict verdict;
};
static const char MAGIC[8] = "lkprobe";

static void hash_shaders(uint8_t out[32])
{
    lk_sha256 h;
    lk_sha256_init(&h);
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        lk_sha256_bytes(&h, LK_VK_SHADERS[i].words, LK_VK_SHADERS[i].n_bytes);
    }
    lk_sha256_final(&h, out);
}

static bool kept_path(const struct lk_vk_device *dev, char *path, size_t n)
{
    size_t len = strlen(dev->cache_path);
    if (len < 10 || len + 1 > n) {
        return false;
    }
    memcpy(path, dev->cache_path, len + 1);
    memcpy(path + len - strlen("pipelines"), "probe", 6);
    return true;
}

static struct kept kept_of(const struct lk_vk_device *dev)
{
    struct kept k;
    memset(&k, 0, sizeof k);
    memcpy(k.magic, MAGIC, sizeof MAGIC);
    hash_shaders(k.shaders);
    k.numerics = LK_NUMERICS_VERSION;
    for (int i = 0; i < LK_VK_FEATURES; i++) {
        k.features |= (uint32_t)dev->found.use[i] << i;
    }
    return k;
}

static bool kept_read(const char *path, const struct kept *want, struct verdict *v)
{
    struct lk_map map = {0};
    struct kept k;
    bool ok = lk_map_open(path, &map, NULL) == LK_OK && map.n_bytes == sizeof k;
    if (ok) {
        memcpy(&k, map.data, sizeof k);
        ok = memcmp(&k, want, offsetof(struct kept, verdict)) == 0;
    }
    if (ok) {
        *v = k.verdict;
    }
    lk_map_close(&map);
    return ok;
}

static void kept_write(const struct lk_vk_device *dev, const char *path, const struct kept *k)
{
    struct lk_writer w;
    lk_error why;
    lk_status status = lk_writer_open(&w, path, &why);
    if (!status) {
        lk_writer_put(&w, k, sizeof *k);
        status = lk_writer_commit(&w, &why);
    }
    if (status) {
        lk_log_line(&dev->log, LK_LOG_WARN, "the probe's verdict is not kept: %s", why.message);
    }
}

lk_status lk_vk_probe(struct lk_vk_device *dev, bool *exact, char *note, size_t n_note,
                      lk_error *err)
{
    char path[600];
    struct verdict v = {0};
    struct kept kept = kept_of(dev);
    bool has_path = kept_path(dev, path, sizeof path);
    double start = lk_now();
    if (!has_path || !kept_read(path, &kept, &v)) {
        lk_status status = probe_device(dev, &v, err);
        if (status) {
            return status;
        }
        kept.verdict = v;
        if (has_path) {
            kept_write(dev, path, &kept);
        }
    }
    lk_log_line(&dev->log, LK_LOG_DEBUG, "vulkan: exactness probe in %.1f ms",
                (lk_now() - start) * 1e3);
    size_t at = 0;
    note[0] = 0;
    *exact = true;
    for (uint32_t i = 0; i < LK_PROBE_ALL; i++) {
        if (!(v.failed >> i & 1u)) {
            continue;
        }
        bool *feature = i == LK_PROBE_HW_HALF ? &dev->found.use[LK_VK_UNPACK16]
                        : i == LK_PROBE_DOT   ? &dev->found.use[LK_VK_INT_DOT]
                                              : NULL;
        if (feature && !*feature) {
            continue; /* not in use anyway */
        }
        if (feature) {
            *feature = false;
        } else {
            *exact = false;
        }
        if (at < n_note) {
            at += (size_t)snprintf(note + at, n_note - at, "%sprobe item '%s' differs at %u%s",
                                   at ? "; " : "", NAMES[i], v.at[i],
                                   feature ? ", switched off" : "");
        }
    }
    return LK_OK;
}

/* ---- lk_devices ---- */

static void describe(const struct lk_vk_found *f, lk_device_info *info)
{
    snprintf(info->backend, sizeof info->backend, "vulkan");
    snprintf(info->name, sizeof info->name, "%.255s", f->props.deviceName);
    snprintf(info->driver, sizeof info->driver, "%.255s", f->driver);
    snprintf(info->type, sizeof info->type, "%s", f->type);
    info->memory = f->memory;
    info->available = f->available;
    info->usable = f->usable;
    snprintf(info->note, sizeof info->note, "%.500s", f->note);
    lk_vk_feature_list(f, info->features, sizeof info->features);
}

/* Opens device `index` and probes it; what goes wrong is its note. */
static void probe_one(const struct lk_backend_options *options, int index, lk_device_info *info)
{
    char number[16];
    struct lk_backend_options o = *options;
    struct lk_vk_device dev;
    lk_error why = {0};
    snprintf(number, sizeof number, "%d", index);
    o.device = number;
    lk_status status = lk_vk_device_open(&o, &dev, &why);
    if (!status) {
        status = lk_vk_probe(&dev, &info->exact, info->note, sizeof info->note, &why);
        lk_vk_feature_list(&dev.found, info->features, sizeof info->features);
        lk_vk_off_note(&dev.found, info->note, sizeof info->note);
        lk_vk_device_close(&dev);
    }
    if (status) {
        info->usable = false;
        snprintf(info->note, sizeof info->note, "%.500s", why.message);
    }
}

lk_status lk_vk_devices(const struct lk_backend_options *options,
                        void (*each)(void *user, const lk_device_info *device), void *user,
                        lk_error *err)
{
    struct lk_vk_instance instance;
    struct lk_vk_found *found = NULL;
    int n = 0;
    lk_status status = lk_vk_instance_open(&instance, err);
    if (!status) {
        status = lk_vk_find(&instance, options, &found, &n, err);
    }
    for (int i = 0; i < n && !status; i++) {
        lk_device_info info;
        memset(&info, 0, sizeof info);
        describe(&found[i], &info);
        if (info.usable) {
            probe_one(options, i, &info);
        }
        each(user, &info);
    }
    lk_free(found);
    lk_vk_instance_close(&instance);
    return status;
}
