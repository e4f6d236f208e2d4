/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_mem: buffers with memory of their own, and copies to and from them. Knows no weights.
 */
#include <stdio.h>
#include <string.h>

#include "vulkan/device/vk_device.h"

static int find_type(const struct lk_vk_device *dev, uint32_t bits, VkMemoryPropertyFlags want)
{
    for (uint32_t i = 0; i < dev->memory.memoryTypeCount; i++) {
        if ((bits >> i & 1u) && (dev->memory.memoryTypes[i].propertyFlags & want) == want) {
            return (int)i;
        }
    }
    return -1;
}

/* Memory types in order of preference for a use. */
static int choose_type(const struct lk_vk_device *dev, uint32_t bits, enum lk_vk_use use)
{
    const VkMemoryPropertyFlags DL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags HV =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags HC = HV | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    VkMemoryPropertyFlags order[3] = {DL, DL, 0};
    if (use == LK_VK_USE_DEVICE && dev->found.use[LK_VK_MAPPED]) {
        order[0] = DL | HV;
    } else if (use == LK_VK_USE_UPLOAD) {
        order[0] = DL | HV;
        order[1] = order[2] = HV;
    } else if (use == LK_VK_USE_READBACK) {
        order[0] = HC;
        order[1] = order[2] = HV;
    }
    for (int i = 0; i < 3; i++) {
        int type = find_type(dev, bits, order[i]);
        if (type >= 0) {
            return type;
        }
    }
    return -1;
}

static lk_status check_room(const struct lk_vk_device *dev, VkDeviceSize bytes, const char *what,
                            lk_error *err)
{
    /* Some is left for the driver and for others. */
    VkDeviceSize all = dev->found.available - dev->found.available / 16;
    VkDeviceSize left = all > dev->used ? all - dev->used : 0;
    if (bytes > left) {
        return lk_fail(err, LK_E_NOMEM, "%s: %.1f MB, device '%s' has %.1f MB left", what,
                       (double)bytes * 1e-6, dev->found.props.deviceName, (double)left * 1e-6);
    }
    return LK_OK;
}

lk_status lk_vk_buffer_create(struct lk_vk_device *dev, VkDeviceSize size, enum lk_vk_use use,
                              const char *what, struct lk_vk_buffer *out, lk_error *err)
{
    *out = (struct lk_vk_buffer){.size = size ? size : 256};
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = out->size,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                        VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkMemoryAllocateInfo alloc = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    VkResult r = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    lk_status status = use == LK_VK_USE_DEVICE ? check_room(dev, out->size, what, err) : LK_OK;
    if (status) {
        return status;
    }
    if (size <= dev->found.max_allocation) {
        r = dev->vk.vkCreateBuffer(dev->handle, &info, NULL, &out->handle);
    }
    if (!r) {
        VkMemoryRequirements need;
        dev->vk.vkGetBufferMemoryRequirements(dev->handle, out->handle, &need);
        int type = choose_type(dev, need.memoryTypeBits, use);
        alloc.allocationSize = need.size;
        alloc.memoryTypeIndex = (uint32_t)type;
        r = type < 0 ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                     : dev->vk.vkAllocateMemory(dev->handle, &alloc, NULL, &out->memory);
        /* A window into device memory may be full while plain device memory is not. */
        if (r == VK_ERROR_OUT_OF_DEVICE_MEMORY && use == LK_VK_USE_DEVICE) {
            int plain = find_type(dev, need.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
            if (plain >= 0 && plain != type) {
                alloc.memoryTypeIndex = (uint32_t)plain;
                r = dev->vk.vkAllocateMemory(dev->handle, &alloc, NULL, &out->memory);
            }
        }
        if (r == VK_ERROR_OUT_OF_DEVICE_MEMORY && use == LK_VK_USE_UPLOAD) {
            int host = find_type(dev, need.memoryTypeBits,
                                 VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                     VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
            if (host >= 0) {
                alloc.memoryTypeIndex = (uint32_t)host;
                r = dev->vk.vkAllocateMemory(dev->handle, &alloc, NULL, &out->memory);
            }
        }
    }
    if (!r) {
        r = dev->vk.vkBindBufferMemory(dev->handle, out->handle, out->memory, 0);
    }
    if (!r && (dev->memory.memoryTypes[alloc.memoryTypeIndex].propertyFlags &
               VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)) {
        bool wanted = use != LK_VK_USE_DEVICE || dev->found.use[LK_VK_MAPPED];
        if (wanted) {
            void *map;
            r = dev->vk.vkMapMemory(dev->handle, out->memory, 0, VK_WHOLE_SIZE, 0, &map);
            out->map = r ? NULL : map;
        }
    }
    if (r) {
        char line[256];
        snprintf(line, sizeof line, "%s, %.1f MB", what, (double)size * 1e-6);
        lk_vk_buffer_destroy(dev, out);
        return lk_vk_fail(dev, r, line, err);
    }
    if (use == LK_VK_USE_DEVICE) {
        out->taken = alloc.allocationSize;
        dev->used += out->taken;
    }
    return LK_OK;
}

void lk_vk_buffer_destroy(struct lk_vk_device *dev, struct lk_vk_buffer *buffer)
{
    dev->used -= buffer->taken;
    if (buffer->handle) {
        dev->vk.vkDestroyBuffer(dev->handle, buffer->handle, NULL);
    }
    if (buffer->memory) {
        dev->vk.vkFreeMemory(dev->handle, buffer->memory, NULL);
    }
    *buffer = (struct lk_vk_buffer){0};
}

/* One copy between buffers, complete when it returns. */
static lk_status copy(struct lk_vk_device *dev, VkBuffer from, VkDeviceSize from_at, VkBuffer to,
                      VkDeviceSize to_at, VkDeviceSize n, lk_error *err)
{
    lk_status status = lk_vk_begin(dev, err);
    if (status) {
        return status;
    }
    VkBufferCopy region = {from_at, to_at, n};
    dev->vk.vkCmdCopyBuffer(dev->commands, from, to, 1, &region);
    return lk_vk_finish(dev, err);
}

lk_status lk_vk_write(struct lk_vk_device *dev, struct lk_vk_buffer *to, VkDeviceSize offset,
                      const void *data, size_t n, struct lk_vk_buffer *staging, lk_error *err)
{
    const uint8_t *p = data;
    if (to->map) {
        memcpy(to->map + offset, p, n);
        return LK_OK;
    }
    while (n > 0) {
        size_t part = n < staging->size ? n : (size_t)staging->size;
        if (p != staging->map) {
            memcpy(staging->map, p, part);
        }
        lk_status status = copy(dev, staging->handle, 0, to->handle, offset, part, err);
        if (status) {
            return status;
        }
        p += part;
        offset += part;
        n -= part;
    }
    return LK_OK;
}

lk_status lk_vk_read(struct lk_vk_device *dev, const struct lk_vk_buffer *from, VkDeviceSize offset,
                     void *data, size_t n, struct lk_vk_buffer *staging, lk_error *err)
{
    uint8_t *p = data;
    while (n > 0) {
        size_t part = n < staging->size ? n : (size_t)staging->size;
        lk_status status = copy(dev, from->handle, offset, staging->handle, 0, part, err);
        if (status) {
            return status;
        }
        memcpy(p, staging->map, part);
        p += part;
        offset += part;
        n -= part;
    }
    return LK_OK;
}

lk_status lk_vk_fill(struct lk_vk_device *dev, const struct lk_vk_buffer *buffer,
                     VkDeviceSize offset, VkDeviceSize n, uint32_t word, lk_error *err)
{
    lk_status status = lk_vk_begin(dev, err);
    if (status) {
        return status;
    }
    dev->vk.vkCmdFillBuffer(dev->commands, buffer->handle, offset, n, word);
    return lk_vk_finish(dev, err);
}
