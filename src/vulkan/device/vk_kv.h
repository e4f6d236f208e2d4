/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_kv: the KV cache in device memory, in the bytes of plan/kv_layout.h, with guards between the
 * buffers.
 */
#ifndef LK_VK_KV_H
#define LK_VK_KV_H

#include "vulkan/device/vk_device.h"

struct lk_kv_mem {
    struct lk_vk_device *dev;
    struct lk_kv_geom geom;
    struct lk_vk_buffer *blocks; /* owned */
    int n_blocks, layers_per_block;
    VkDeviceSize stride, bytes; /* from one K or V buffer to the next; of one */
    struct lk_vk_buffer staging;
    uint64_t serial;
};
enum { LK_VK_KV_GUARD = 256 };
#define LK_VK_KV_CANARY 0x5C5C5C5Cu
VkDeviceSize lk_vk_kv_at(const struct lk_kv_mem *kv, int layer, enum lk_kv_which which,
                         const struct lk_vk_buffer **block);

/* The cache's functions of struct lk_backend_impl. */
lk_status lk_vk_kv_alloc(struct lk_vk_device *dev, const struct lk_kv_geom *geom,
                         struct lk_kv_mem **out, lk_error *err);
void lk_vk_kv_free(struct lk_kv_mem *kv);
lk_status lk_vk_kv_read(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                        void *data, size_t n, lk_error *err);
lk_status lk_vk_kv_write(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                         const void *data, size_t n, lk_error *err);
lk_status lk_vk_kv_check(struct lk_kv_mem *kv, lk_error *err);

#endif
