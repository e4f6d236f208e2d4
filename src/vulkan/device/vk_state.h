/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_state: the states of a plan in device memory, with guards between them.
 */
#ifndef LK_VK_STATE_H
#define LK_VK_STATE_H

#include "vulkan/device/vk_device.h"

/* A state lies behind a guard in one of the buffers. */
struct lk_vk_state_at {
    int block; /* index of the buffer */
    VkDeviceSize offset, bytes;
};
struct lk_state_mem {
    struct lk_vk_device *dev;
    struct lk_state_geom geom;
    struct lk_vk_buffer *blocks; /* owned; each of whole states, and a guard at its end */
    int n_blocks;
    struct lk_vk_state_at *at; /* owned, [n_states] */
    struct lk_vk_buffer staging;
    uint64_t serial; /* of all such memory of the device */
};
enum { LK_VK_GUARD = 256 };
#define LK_VK_CANARY 0x5C5C5C5Cu

/* The functions of struct lk_backend_impl. */
lk_status lk_vk_state_alloc(struct lk_vk_device *dev, const struct lk_state_geom *geom,
                            struct lk_state_mem **out, lk_error *err);
void lk_vk_state_free(struct lk_state_mem *mem);
lk_status lk_vk_state_read(struct lk_state_mem *mem, int state, size_t offset, void *data, size_t n,
                           lk_error *err);
lk_status lk_vk_state_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                            size_t n, lk_error *err);
lk_status lk_vk_state_check(struct lk_state_mem *mem, lk_error *err);

#endif
