/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_cut: the kernel of an attention op, and how its rows are cut into workgroups: by one token and
 * one chunk of keys for few tokens, by tiles of rows for many. Decides from facts; changes no
 * result.
 */
#ifndef LK_VK_CUT_H
#define LK_VK_CUT_H

#include "plan/plan.h"
#include "vulkan/build/vk_facts.h"

struct lk_vk_cut {
    uint32_t n_head, n_kv_head, head_dim, dim, k_bits;
    uint32_t v_dim, v_padded; /* of values; as in the cache */
    uint32_t flags;           /* LK_VK_ATTN_* of the shape, and of what shared memory holds */
    const char *shader;       /* but in decode */
    bool by_matrix;           /* it is attn_matrix.comp */
    uint32_t rows;            /* query rows of a workgroup */
    uint32_t threads;         /* of a workgroup, but for those of decode */
    uint32_t head_tiles;      /* tiles of heads of one KV head */
    uint32_t tokens;          /* of a tile of tokens */
    uint32_t x;               /* workgroups a tile of tokens */
};

/* few: a workgroup has one token and one chunk of keys. */
struct lk_vk_cut lk_vk_cut_of(const struct lk_vk_facts *facts, const struct lk_plan *plan,
                              const struct lk_op *op, bool few);
/* Whether the kernel can leave its outputs in a form of activations (LK_VK_X_*): not where heads or
 * rows have padding, or a block of 256 would be of several workgroups' heads. */
bool lk_vk_cut_takes(const struct lk_vk_cut *cut, int form);

#endif
