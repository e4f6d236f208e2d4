/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_limits: see vk_limits.h. Knows no op.
 */
#include "vulkan/device/vk_limits.h"

#include <stdio.h>
#include <string.h>

#include "shaders/params.h"

bool lk_vk_limits_suffice(const VkPhysicalDeviceProperties *props, char *note, size_t n)
{
    const VkPhysicalDeviceLimits *l = &props->limits;
    struct {
        const char *name;
        uint32_t have, need;
    } limit[] = {
        {"maxPerStageDescriptorStorageBuffers", l->maxPerStageDescriptorStorageBuffers,
         LK_VK_BINDINGS},
        {"maxDescriptorSetStorageBuffers", l->maxDescriptorSetStorageBuffers, LK_VK_BINDINGS},
        {"maxPerStageResources", l->maxPerStageResources, LK_VK_BINDINGS},
        {"maxComputeSharedMemorySize", l->maxComputeSharedMemorySize, 16384},
        {"maxComputeWorkGroupInvocations", l->maxComputeWorkGroupInvocations, 128},
        {"maxComputeWorkGroupSize[0]", l->maxComputeWorkGroupSize[0], 128},
        {"maxComputeWorkGroupCount[0]", l->maxComputeWorkGroupCount[0], 65535},
        {"maxComputeWorkGroupCount[1]", l->maxComputeWorkGroupCount[1], 65535},
        {"maxComputeWorkGroupCount[2]", l->maxComputeWorkGroupCount[2], 65535},
        {"maxPushConstantsSize", l->maxPushConstantsSize, LK_VK_PUSH_BYTES},
        {"maxStorageBufferRange", l->maxStorageBufferRange, 1u << 27},
    };
    if (props->apiVersion < VK_API_VERSION_1_1) {
        snprintf(note, n, "Vulkan %u.%u, expected 1.1", VK_API_VERSION_MAJOR(props->apiVersion),
                 VK_API_VERSION_MINOR(props->apiVersion));
        return false;
    }
    for (size_t i = 0; i < LK_COUNT(limit); i++) {
        if (limit[i].have < limit[i].need) {
            snprintf(note, n, "%s is %u, expected %u", limit[i].name, limit[i].have, limit[i].need);
            return false;
        }
    }
    if (l->minStorageBufferOffsetAlignment > LK_VK_ALIGN) {
        snprintf(note, n, "minStorageBufferOffsetAlignment is %llu, expected at most %d",
                 (unsigned long long)l->minStorageBufferOffsetAlignment, LK_VK_ALIGN);
        return false;
    }
    return true;
}

uint32_t lk_vk_max_threads(const VkPhysicalDeviceLimits *l)
{
    return l->maxComputeWorkGroupInvocations < l->maxComputeWorkGroupSize[0]
               ? l->maxComputeWorkGroupInvocations
               : l->maxComputeWorkGroupSize[0];
}

const struct lk_vk_shader *lk_vk_shader_find(const char *name)
{
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        if (strcmp(LK_VK_SHADERS[i].name, name) == 0) {
            return &LK_VK_SHADERS[i];
        }
    }
    return NULL;
}

lk_status lk_vk_check_needs(const VkPhysicalDeviceProperties *props,
                            const struct lk_vk_shader *shader, const struct lk_vk_needs *needs,
                            lk_error *err)
{
    const VkPhysicalDeviceLimits *l = &props->limits;
    if (needs->threads > lk_vk_max_threads(l)) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "shader '%s': workgroups of %u, device '%s' has them up to %u", shader->name,
                       needs->threads, props->deviceName, lk_vk_max_threads(l));
    }
    if (needs->shared_bytes > l->maxComputeSharedMemorySize) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "shader '%s': %llu bytes of shared memory, device '%s' has %u", shader->name,
                       (unsigned long long)needs->shared_bytes, props->deviceName,
                       l->maxComputeSharedMemorySize);
    }
    return LK_OK;
}

bool lk_vk_fits(uint32_t max_threads, uint32_t shared_bytes, const char *name,
                const uint32_t spec[4])
{
    const struct lk_vk_shader *shader = lk_vk_shader_find(name);
    struct lk_vk_needs needs;
    return shader && lk_vk_measure(shader, spec, &needs, NULL) == LK_OK &&
           needs.threads <= max_threads && needs.shared_bytes <= shared_bytes;
}
