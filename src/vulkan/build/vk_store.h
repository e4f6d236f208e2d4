/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_store: the weights of a plan on the device: matrices in chunks that a kernel can bind, vectors
 * in one block. Knows no step.
 */
#ifndef LK_VK_STORE_H
#define LK_VK_STORE_H

#include "vulkan/build/vk_facts.h"
#include "vulkan/device/vk_device.h"

/* One to three weights of a type and width that lie together, split into chunks a kernel can
 * bind. Several parts are always one chunk. */
struct lk_vk_chunk {
    uint32_t buffer; /* index into the store's blocks */
    VkDeviceSize offset, size;
    uint32_t group0, n_groups;
    uint32_t mid, tail; /* word offsets */
};
struct lk_vk_matrix {
    enum lk_type type;
    int64_t cols;
    uint32_t n_blocks, n_groups;
    int part[3]; /* weights of the plan */
    int n_parts;
    uint32_t expert_groups; /* of each expert, which lie one after the other; 0: no experts */
    uint32_t first_group[4];
    struct lk_vk_chunk *chunks; /* owned */
    int n_chunks;
};
struct lk_vk_store {
    struct lk_vk_matrix *matrices; /* owned */
    int n_matrices;
    size_t cap_matrices;
    struct lk_vk_buffer *blocks; /* owned; the first holds vectors */
    int n_blocks;
    VkDeviceSize *vector_at; /* [n_weights] offset in block 0, or UINT64_MAX */
    VkDeviceSize vector_bytes;
};
/* Registers parts that lie together (lk_vk_layout_together), or finds them; *out: the matrix. */
lk_status lk_vk_store_matrix(struct lk_vk_store *store, const struct lk_vk_facts *facts,
                             const struct lk_plan *plan, const int *part, int n_parts, int *out,
                             lk_error *err);
/* Gives a vector its place in block 0, once. */
lk_status lk_vk_store_vector(struct lk_vk_store *store, const struct lk_plan *plan, int weight,
                             lk_error *err);
/* Bytes of the matrices that are registered. */
uint64_t lk_vk_store_bytes(const struct lk_vk_store *store);
/* Allocates the blocks, packs and uploads all of it. */
lk_status lk_vk_store_fill(struct lk_vk_device *dev, struct lk_vk_store *store,
                           const struct lk_vk_facts *facts, const struct lk_plan *plan,
                           const struct lk_backend_options *options, lk_error *err);
void lk_vk_store_free(struct lk_vk_device *dev, struct lk_vk_store *store);

#endif
