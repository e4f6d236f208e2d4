/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_facts: see vk_facts.h. The one file between a device and the choice of kernels.
 */
#include "vulkan/build/vk_facts.h"

#include "vulkan/device/vk_device.h"

static const VkDeviceSize BLOCK_MAX = 1u << 30;

struct lk_vk_facts lk_vk_facts_of(const struct lk_vk_device *dev)
{
    const VkPhysicalDeviceLimits *l = &dev->found.props.limits;
    VkDeviceSize most = dev->found.max_allocation;
    return (struct lk_vk_facts){
        .max_threads = lk_vk_max_threads(l),
        .shared_bytes = l->maxComputeSharedMemorySize,
        .max_groups = l->maxComputeWorkGroupCount[0],
        .many_tiles = dev->many_tiles,
        .split_tokens = dev->split_tokens,
        .cores = dev->found.cores,
        .max_binding = l->maxStorageBufferRange,
        .max_block = BLOCK_MAX < most ? BLOCK_MAX : most,
        .int_dot = dev->found.use[LK_VK_INT_DOT],
        .looped = dev->found.use[LK_VK_LOOPED],
        .narrow = dev->found.use[LK_VK_NARROW],
        .matrix = dev->found.use[LK_VK_MATRIX],
    };
}

bool lk_vk_facts_fit(const struct lk_vk_facts *f, const char *shader, const uint32_t spec[4])
{
    return lk_vk_fits(f->max_threads, f->shared_bytes, shader, spec);
}
