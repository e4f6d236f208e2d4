/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_device: libvulkan, the devices it shows, their features, and opening one. Knows no ops.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "backend/device_list.h"
#include "base/mem.h"
#include "base/os.h"
#include "vulkan/device/vk_device.h"
#include "vulkan/device/vk_shaders.h"

static const char *const FEATURES[LK_VK_FEATURES] = {
    [LK_VK_INT_DOT] = "int-dot", [LK_VK_BUDGET] = "budget", [LK_VK_MAPPED] = "mapped",
    [LK_VK_LOOPED] = "looped",   [LK_VK_NARROW] = "narrow", [LK_VK_MATRIX] = "matrix",
};

const char *lk_vk_feature_name(enum lk_vk_feature feature)
{
    return FEATURES[feature];
}

void lk_vk_feature_list(const struct lk_vk_found *found, char *out, size_t n)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < LK_VK_FEATURES && at < n; i++) {
        if (found->use[i]) {
            at += (size_t)snprintf(out + at, n - at, "%s%s", at ? " " : "", FEATURES[i]);
        }
    }
    if (found->no_matrix && at < n) {
        snprintf(out + at, n - at, " (matrix: %s)", found->no_matrix);
    }
}

lk_status lk_vk_fail(struct lk_vk_device *dev, VkResult result, const char *what, lk_error *err)
{
    switch (result) {
    case VK_ERROR_DEVICE_LOST:
        dev->lost = true;
        return lk_fail(err, LK_E_DEVICE_LOST, "%s: device '%s' was lost", what,
                       dev->found.props.deviceName);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory on device '%s'", what,
                       dev->found.props.deviceName);
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return lk_fail(err, LK_E_NOMEM, "%s: out of host memory for device '%s'", what,
                       dev->found.props.deviceName);
    default:
        return lk_fail(err, LK_E_DEVICE, "%s: Vulkan error %d on device '%s'", what, (int)result,
                       dev->found.props.deviceName);
    }
}

/* ---- instance ---- */

lk_status lk_vk_instance_open(struct lk_vk_instance *out, lk_error *err)
{
    *out = (struct lk_vk_instance){0};
    if (volkInitialize() != VK_SUCCESS) {
        return lk_fail(err, LK_E_DEVICE, "vulkan: libvulkan.so.1 was not found on this system");
    }
    out->version = volkGetInstanceVersion();
    if (out->version < VK_API_VERSION_1_1) {
        return lk_fail(err, LK_E_DEVICE, "vulkan: the loader is version %u.%u, expected 1.1",
                       VK_API_VERSION_MAJOR(out->version), VK_API_VERSION_MINOR(out->version));
    }
    VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                             .pApplicationName = "lockstep",
                             .apiVersion = out->version < VK_API_VERSION_1_3 ? out->version
                                                                             : VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &app};
    VkResult r = vkCreateInstance(&info, NULL, &out->handle);
    if (r) {
        return lk_fail(err, LK_E_DEVICE,
                       "vulkan: no instance (Vulkan error %d): is a driver "
                       "installed?",
                       (int)r);
    }
    volkLoadInstanceOnly(out->handle);
    return LK_OK;
}

/* The first instance that is closed stays as long as the process: with the last one the loader
 * would unload the drivers, and each time that NVIDIA's is loaded again takes thread-local storage
 * that glibc never gets back, until no instance can be created. */
void lk_vk_instance_close(struct lk_vk_instance *instance)
{
    static _Atomic(VkInstance) kept;
    VkInstance none = VK_NULL_HANDLE;
    if (instance->handle && !atomic_compare_exchange_strong(&kept, &none, instance->handle)) {
        vkDestroyInstance(instance->handle, NULL);
    }
    *instance = (struct lk_vk_instance){0};
}

/* ---- devices ---- */

static const char *type_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "cpu";
    default:
        return "other";
    }
}

/* Whether the comma-separated list names the feature. */
static bool is_disabled(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && strncmp(p, name, n) == 0) {
            return true;
        }
        p += len + (p[len] == ',');
    }
    return false;
}

static bool has_extension(const VkExtensionProperties *list, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(list[i].extensionName, name) == 0) {
            return true;
        }
    }
    return false;
}

static void find_memory(struct lk_vk_found *f)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = f->has[LK_VK_BUDGET] ? &budget : NULL};
    vkGetPhysicalDeviceMemoryProperties2(f->physical, &m);
    const VkPhysicalDeviceMemoryProperties *p = &m.memoryProperties;
    VkDeviceSize largest = 0;
    for (uint32_t i = 0; i < p->memoryHeapCount; i++) {
        if (!(p->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)) {
            continue;
        }
        VkDeviceSize size = p->memoryHeaps[i].size, left = size;
        if (f->has[LK_VK_BUDGET]) {
            VkDeviceSize used = budget.heapUsage[i], total = budget.heapBudget[i];
            left = total > used ? total - used : 0;
        }
        largest = size > largest ? size : largest;
        f->memory += size;
        f->available += left;
    }
    /* Mapped: device-local and host-visible in the heap that counts (small windows don't). */
    for (uint32_t i = 0; i < p->memoryTypeCount; i++) {
        VkMemoryPropertyFlags all = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                    VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
        if ((p->memoryTypes[i].propertyFlags & all) == all &&
            p->memoryHeaps[p->memoryTypes[i].heapIndex].size >= largest / 10 * 9) {
            f->has[LK_VK_MAPPED] = true;
        }
    }
}

/* Whether the device lists s8 x s8 -> s32, 16 x 16 x 32, by subgroups. */
static bool has_shape(const struct lk_vk_instance *instance, VkPhysicalDevice device)
{
    lk_vk_coopmat_shapes_fn list = (lk_vk_coopmat_shapes_fn)vkGetInstanceProcAddr(
        instance->handle, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    struct lk_vk_coopmat_shape shape[64];
    uint32_t n = LK_COUNT(shape);
    for (size_t i = 0; i < LK_COUNT(shape); i++) {
        shape[i] = (struct lk_vk_coopmat_shape){.sType = LK_VK_COOPMAT_SHAPE};
    }
    if (!list || list(device, &n, shape) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct lk_vk_coopmat_shape *s = &shape[i];
        if (s->m == 16 && s->n == 16 && s->k == 32 && s->a == LK_VK_COMPONENT_SINT8 &&
            s->b == LK_VK_COMPONENT_SINT8 && s->c == LK_VK_COMPONENT_SINT32 &&
            s->result == LK_VK_COMPONENT_SINT32 && !s->saturating &&
            s->scope == LK_VK_SCOPE_SUBGROUP) {
            return true;
        }
    }
    return false;
}

/* Whether the smallest tiles of tile_matrix.comp fit, in either variant: wide ones of Q6_K take the
 * most. */
static bool fits_wide_tiles(const VkPhysicalDeviceLimits *l)
{
    return lk_vk_fits(lk_vk_max_threads(l), l->maxComputeSharedMemorySize, "tile_Q6_K_wide",
                      (const uint32_t[4]){64, 64, LK_VK_EPI_STORE, 128});
}

void lk_vk_limit_features(struct lk_vk_found *f)
{
    if (!fits_wide_tiles(&f->props.limits)) {
        f->use[LK_VK_NARROW] = true;
        f->use[LK_VK_MATRIX] = false;
    }
}

/* Why the kernels of matrix units can't run there; NULL: they can. */
static const char *no_matrix(const struct lk_vk_instance *instance, const struct lk_vk_found *f,
                             const VkExtensionProperties *ext, uint32_t n)
{
    if (!lk_vk_shader_find("tile_Q4_K_matrix")) {
        return "not built in";
    }
    if (f->props.apiVersion < VK_API_VERSION_1_3 ||
        !has_extension(ext, n, LK_VK_COOPMAT_EXTENSION)) {
        return "not offered";
    }
    VkPhysicalDeviceSubgroupProperties does = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceVulkan13Properties sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES, .pNext = &does};
    VkPhysicalDeviceProperties2 props = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                         .pNext = &sizes};
    struct lk_vk_coopmat_features matrix = {.sType = LK_VK_COOPMAT_FEATURES};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &matrix};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &v12};
    vkGetPhysicalDeviceProperties2(f->physical, &props);
    vkGetPhysicalDeviceFeatures2(f->physical, &features);
    if (!matrix.cooperativeMatrix || !v12.vulkanMemoryModel || !v12.shaderInt8 ||
        !has_shape(instance, f->physical)) {
        return "no int8 matrices of 16 x 16 x 32";
    }
    if (sizes.minSubgroupSize != 32 || sizes.maxSubgroupSize != 32) {
        return "subgroups are not of 32";
    }
    VkSubgroupFeatureFlags needed = VK_SUBGROUP_FEATURE_VOTE_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    if ((does.supportedOperations & needed) != needed ||
        !(does.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT)) {
        return "subgroups neither vote nor shuffle";
    }
    return fits_wide_tiles(&f->props.limits) ? NULL
                                             : "too little shared memory or too small workgroups";
}

static void find_features(struct lk_vk_found *f, const VkExtensionProperties *ext, uint32_t n)
{
    bool v13 = f->props.apiVersion >= VK_API_VERSION_1_3;
    f->has[LK_VK_BUDGET] = has_extension(ext, n, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    f->khr_int_dot =
        !v13 && has_extension(ext, n, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
    if (v13 || f->khr_int_dot) {
        VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
        VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                              .pNext = &dot};
        vkGetPhysicalDeviceFeatures2(f->physical, &features);
        f->has[LK_VK_INT_DOT] = dot.shaderIntegerDotProduct;
    }
    f->has[LK_VK_LOOPED] = f->props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    f->has[LK_VK_NARROW] = true;
    f->has[LK_VK_MATRIX] = !f->no_matrix;
}

static void find_driver(struct lk_vk_found *f, const VkExtensionProperties *ext, uint32_t n)
{
    VkPhysicalDeviceDriverProperties driver = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceIDProperties id = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceMaintenance3Properties m3 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &id};
    if (f->props.apiVersion >= VK_API_VERSION_1_2 ||
        has_extension(ext, n, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME)) {
        id.pNext = &driver;
    }
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV sm = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV, .pNext = &m3};
    bool counted = has_extension(ext, n, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME);
    VkPhysicalDeviceProperties2 props = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    props.pNext = counted ? (void *)&sm : (void *)&m3;
    vkGetPhysicalDeviceProperties2(f->physical, &props);
    f->cores = sm.shaderSMCount;
    f->max_allocation = m3.maxMemoryAllocationSize;
    memcpy(f->id.device, id.deviceUUID, sizeof f->id.device);
    memcpy(f->id.driver, id.driverUUID, sizeof f->id.driver);
    uint32_t v = f->props.driverVersion;
    char text[256];
    int n_text =
        snprintf(text, sizeof text, "%.100s %.100s (0x%x)",
                 driver.driverName[0] ? driver.driverName : "driver", driver.driverInfo, v);
    lk_show(f->driver, sizeof f->driver, text, n_text > 0 ? (size_t)n_text : 0);
}

/* A family with compute, without graphics if there is one. */
static bool find_queue(struct lk_vk_found *f)
{
    VkQueueFamilyProperties family[32];
    uint32_t n = LK_COUNT(family);
    vkGetPhysicalDeviceQueueFamilyProperties(f->physical, &n, family);
    int best = -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!(family[i].queueFlags & VK_QUEUE_COMPUTE_BIT)) {
            continue;
        }
        if (best < 0 || (!(family[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) &&
                         (family[best].queueFlags & VK_QUEUE_GRAPHICS_BIT))) {
            best = (int)i;
        }
    }
    if (best < 0) {
        snprintf(f->note, sizeof f->note, "no compute queue");
        return false;
    }
    f->queue_family = (uint32_t)best;
    f->timestamp_bits = family[best].timestampValidBits;
    return true;
}

static lk_status find_one(const struct lk_vk_instance *instance, struct lk_vk_found *f,
                          const char *disable, lk_error *err)
{
    vkGetPhysicalDeviceProperties(f->physical, &f->props);
    char name[sizeof f->props.deviceName]; /* a driver's text is shown in messages and lists */
    lk_show(name, sizeof name, f->props.deviceName,
            strnlen(f->props.deviceName, sizeof f->props.deviceName));
    memcpy(f->props.deviceName, name, sizeof name);
    f->type = type_name(f->props.deviceType);
    f->usable = lk_vk_limits_suffice(&f->props, f->note, sizeof f->note) && find_queue(f);
    if (f->props.apiVersion < VK_API_VERSION_1_1) {
        return LK_OK;
    }
    uint32_t n = 0;
    vkEnumerateDeviceExtensionProperties(f->physical, NULL, &n, NULL);
    VkExtensionProperties *ext = lk_alloc_array(n + 1, sizeof *ext);
    if (!ext) {
        return lk_fail(err, LK_E_NOMEM, "out of memory listing device extensions");
    }
    vkEnumerateDeviceExtensionProperties(f->physical, NULL, &n, ext);
    find_driver(f, ext, n);
    f->no_matrix = no_matrix(instance, f, ext, n);
    find_features(f, ext, n);
    find_memory(f);
    lk_free(ext);
    for (int i = 0; i < LK_VK_FEATURES; i++) {
        f->use[i] = f->has[i] && !is_disabled(disable, FEATURES[i]);
    }
    lk_vk_limit_features(f);
    return LK_OK;
}

static lk_status check_disable(const char *list, lk_error *err)
{
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ",");
        bool known = len == 0;
        for (int i = 0; i < LK_VK_FEATURES; i++) {
            known |= strlen(FEATURES[i]) == len && strncmp(p, FEATURES[i], len) == 0;
        }
        if (!known) {
            return lk_fail(err, LK_E_INVALID,
                           "vk_disable: '%.*s' is not one of int-dot, budget, mapped, "
                           "looped, narrow, matrix",
                           (int)len, p);
        }
        p += len + (p[len] == ',');
    }
    return LK_OK;
}

lk_status lk_vk_find(const struct lk_vk_instance *instance,
                     const struct lk_backend_options *options, struct lk_vk_found **out, int *n,
                     lk_error *err)
{
    *out = NULL;
    *n = 0;
    lk_status status = check_disable(options->vk_disable, err);
    if (status) {
        return status;
    }
    uint32_t count = 0;
    VkResult r = vkEnumeratePhysicalDevices(instance->handle, &count, NULL);
    if (r || count == 0) {
        return LK_OK;
    }
    VkPhysicalDevice *handles = lk_alloc_array(count, sizeof *handles);
    struct lk_vk_found *found = lk_alloc_array(count, sizeof *found);
    if (!handles || !found) {
        lk_free(handles);
        lk_free(found);
        return lk_fail(err, LK_E_NOMEM, "out of memory listing devices");
    }
    r = vkEnumeratePhysicalDevices(instance->handle, &count, handles);
    for (uint32_t i = 0; i < count && r >= 0 && !status; i++) {
        found[i].physical = handles[i];
        status = find_one(instance, &found[i], options->vk_disable, err);
        for (uint32_t k = 0; k < i; k++) { /* drivers may give two devices one UUID */
            found[i].id.twin += lk_device_same(&found[k].id, &found[i].id);
        }
        lk_vk_off_apply(&found[i], options->cache_dir, &options->log);
    }
    lk_free(handles);
    if (status) {
        lk_free(found);
        return status;
    }
    *out = found;
    *n = r >= 0 ? (int)count : 0;
    return LK_OK;
}

int lk_vk_pick(const struct lk_vk_found *found, int n, const struct lk_backend_options *options,
               lk_error *err)
{
    for (int i = 0; options->device && i < n; i++) {
        if (!lk_device_same(&found[i].id, options->device)) {
            continue;
        }
        if (!found[i].usable) {
            lk_fail(err, LK_E_DEVICE, "device '%s': %s", found[i].props.deviceName, found[i].note);
            return -1;
        }
        return i;
    }
    lk_fail(err, LK_E_DEVICE, "vulkan: %s",
            options->device ? "the device is not there any more" : "no device was chosen");
    return -1;
}

/* ---- opening ---- */

static lk_status create_device(struct lk_vk_device *dev, lk_error *err)
{
    const struct lk_vk_found *f = &dev->found;
    float priority = 1.0f;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = f->queue_family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
        .shaderIntegerDotProduct = VK_TRUE};
    struct lk_vk_coopmat_features matrix = {.sType = LK_VK_COOPMAT_FEATURES,
                                            .cooperativeMatrix = VK_TRUE};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &matrix,
        .shaderInt8 = VK_TRUE,
        .vulkanMemoryModel = VK_TRUE};
    void *chain = NULL;
    const char *extensions[4];
    uint32_t n = 0;
    if (f->use[LK_VK_MATRIX]) {
        extensions[n++] = LK_VK_COOPMAT_EXTENSION;
        chain = &v12;
    }
    if (f->use[LK_VK_INT_DOT]) {
        dot.pNext = chain;
        chain = &dot;
    }
    if (f->khr_int_dot) {
        extensions[n++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    }
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = chain,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = n,
                               .ppEnabledExtensionNames = extensions};
    VkResult r = vkCreateDevice(f->physical, &info, NULL, &dev->handle);
    if (r) {
        return lk_vk_fail(dev, r, "opening the device", err);
    }
    volkLoadDeviceTable(&dev->vk, dev->handle);
    dev->vk.vkGetDeviceQueue(dev->handle, f->queue_family, 0, &dev->queue);
    vkGetPhysicalDeviceMemoryProperties(f->physical, &dev->memory);
    return LK_OK;
}

static lk_status create_commands(struct lk_vk_device *dev, lk_error *err)
{
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = dev->found.queue_family};
    VkResult r = dev->vk.vkCreateCommandPool(dev->handle, &pool, NULL, &dev->pool);
    if (!r) {
        VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = dev->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
        r = dev->vk.vkAllocateCommandBuffers(dev->handle, &info, &dev->commands);
    }
    if (!r) {
        VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
        r = dev->vk.vkCreateFence(dev->handle, &fence, NULL, &dev->fence);
    }
    return r ? lk_vk_fail(dev, r, "opening the device", err) : LK_OK;
}

uint64_t lk_vk_submit_work(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return (uint64_t)1 << 19;
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return (uint64_t)1 << 39;
    default:
        return (uint64_t)1 << 36;
    }
}

lk_status lk_vk_device_open(const struct lk_backend_options *options, struct lk_vk_device *dev,
                            lk_error *err)
{
    *dev = (struct lk_vk_device){.log = options->log,
                                 .many_tiles = LK_VK_MANY_TILES,
                                 .split_tokens = LK_VK_SPLIT_TOKENS};
    struct lk_vk_found *found = NULL;
    int n = 0;
    lk_status status = lk_vk_instance_open(&dev->instance, err);
    if (!status) {
        status = lk_vk_find(&dev->instance, options, &found, &n, err);
    }
    if (!status) {
        int chosen = lk_vk_pick(found, n, options, err);
        if (chosen < 0) {
            status = LK_E_DEVICE;
        } else {
            dev->found = found[chosen];
            dev->submit_work = lk_vk_submit_work(dev->found.props.deviceType);
            /* A driver on the CPU takes gigabytes for a kernel, and all cores for itself. */
            bool cpu = dev->found.props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
            dev->compilers = cpu ? 1 : lk_cpu_quota();
        }
    }
    lk_free(found);
    if (!status) {
        status = create_device(dev, err);
    }
    if (!status) {
        status = create_commands(dev, err);
    }
    if (!status) {
        status = lk_vk_pipes_open(dev, options->cache_dir, err);
    }
    if (status) {
        lk_vk_device_close(dev);
    }
    return status;
}

void lk_vk_device_close(struct lk_vk_device *dev)
{
    if (dev->handle) {
        dev->vk.vkDeviceWaitIdle(dev->handle);
        lk_vk_pipes_close(dev);
        dev->vk.vkDestroyFence(dev->handle, dev->fence, NULL);
        dev->vk.vkDestroyCommandPool(dev->handle, dev->pool, NULL);
        dev->vk.vkDestroyDevice(dev->handle, NULL);
    }
    lk_vk_instance_close(&dev->instance);
    *dev = (struct lk_vk_device){0};
}

/* ---- one-off submissions ---- */

/* Seconds in which a GPU is asked without a rest, then after a small part of what it has taken so
 * far: to be woken by its interrupt takes up to half a millisecond. */
#define SPUN_AT_MOST  0.005
#define SLEPT_AT_MOST 1.0
enum { SLEEPS = 256 };

lk_status lk_vk_wait(struct lk_vk_device *dev, VkFence fence, lk_error *err)
{
    VkResult r = VK_NOT_READY;
    if (dev->found.props.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU) {
        double start = lk_now(), waited = 0.0;
        while (r == VK_NOT_READY && waited < SLEPT_AT_MOST) {
            if (waited > SPUN_AT_MOST) {
                lk_sleep_ns((int64_t)(waited * 1e9 / SLEEPS));
            }
            r = dev->vk.vkGetFenceStatus(dev->handle, fence);
            waited = lk_now() - start;
        }
    }
    while (r == VK_NOT_READY || r == VK_TIMEOUT) {
        r = dev->vk.vkWaitForFences(dev->handle, 1, &fence, VK_TRUE, 1000000000u);
    }
    return r ? lk_vk_fail(dev, r, "waiting for the device", err) : LK_OK;
}

lk_status lk_vk_begin(struct lk_vk_device *dev, lk_error *err)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                     .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult r = dev->vk.vkBeginCommandBuffer(dev->commands, &info);
    return r ? lk_vk_fail(dev, r, "recording commands", err) : LK_OK;
}

lk_status lk_vk_finish(struct lk_vk_device *dev, lk_error *err)
{
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask =
                                   VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_SHADER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    dev->vk.vkCmdPipelineBarrier(dev->commands,
                                 VK_PIPELINE_STAGE_TRANSFER_BIT |
                                     VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                 VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, NULL, 0, NULL);
    VkResult r = dev->vk.vkEndCommandBuffer(dev->commands);
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                           .commandBufferCount = 1,
                           .pCommandBuffers = &dev->commands};
    if (!r) {
        r = dev->vk.vkResetFences(dev->handle, 1, &dev->fence);
    }
    if (!r) {
        r = dev->vk.vkQueueSubmit(dev->queue, 1, &submit, dev->fence);
    }
    return r ? lk_vk_fail(dev, r, "submitting work", err) : lk_vk_wait(dev, dev->fence, err);
}
