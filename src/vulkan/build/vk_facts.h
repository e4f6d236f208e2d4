/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_facts: what of a device decides which kernels run and how large they are, as plain numbers: a
 * test fills them without a device.
 */
#ifndef LK_VK_FACTS_H
#define LK_VK_FACTS_H

#include "base/base.h"

struct lk_vk_device;

struct lk_vk_facts {
    uint32_t max_threads;  /* invocations of a workgroup along x */
    uint32_t shared_bytes; /* of a workgroup */
    uint32_t max_groups;   /* workgroups of a dispatch along x */
    uint32_t many_tiles;   /* matmuls of as many large tiles take those, whatever the device */
    uint32_t split_tokens; /* that tiles of few tokens take */
    uint32_t cores;        /* multiprocessors; 0: not known */
    uint64_t max_binding;  /* bytes that a kernel can bind */
    uint64_t max_block;    /* bytes of an allocation of weights */
    /* features in use, see vk_device.h */
    bool int_dot, looped, narrow, matrix;
};

/* Bytes of weights that a kernel can bind. */
static inline uint64_t lk_vk_facts_max_chunk(const struct lk_vk_facts *f)
{
    return f->max_binding < f->max_block ? f->max_binding : f->max_block;
}

struct lk_vk_facts lk_vk_facts_of(const struct lk_vk_device *dev);
/* Whether a shader runs with these specialization constants; false where there is no such shader,
 * or no memory to read it: the caller takes another kernel, which gives the same bits. */
bool lk_vk_facts_fit(const struct lk_vk_facts *facts, const char *shader, const uint32_t spec[4]);

#endif
