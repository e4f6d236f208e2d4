/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_exec: a plan prepared for a device: its weights, its lists of steps, the buffers they work in
 * and what is recorded of them. Data alone: vk_build.c fills the lists.
 */
#ifndef LK_VK_EXEC_H
#define LK_VK_EXEC_H

#include "vulkan/build/vk_group.h"
#include "vulkan/build/vk_step.h"
#include "vulkan/build/vk_store.h"
#include "vulkan/device/vk_state.h"

/* Word offsets of the batch buffer. */
struct lk_vk_batch_at {
    uint32_t token, pos, seq, seqs, n_seqs, outputs, table, cs[LK_PLAN_ROPES], cs_stride, n_words;
    uint32_t tiles; /* a table for each dispatch of attention, tiles_each words apart */
    uint32_t tiles_each;
    uint32_t counters; /* a word a head, zero between runs: see attn_decode */
};
/* A dispatch of attention whose size depends on the batch: layers of one shape share it. */
struct lk_vk_attn {
    int window, ahead;
    uint32_t tokens; /* of a tile */
    uint32_t x;      /* workgroups a tile of tokens */
};
enum { LK_VK_MAX_ATTN = 4 }; /* of a list */

enum { LK_VK_MAX_SHAPES = 8, LK_VK_MAX_SUBMITS = 32 };

struct lk_vk_shape { /* a recorded batch shape */
    struct lk_row_counts rows;
    bool apart;                              /* with the steps that say so */
    VkCommandBuffer part[LK_VK_MAX_SUBMITS]; /* submitted in this order */
    int n_parts;
    uint64_t used; /* 0: nothing is recorded */
};

/* Time by op, from timestamps around every step of a run. */
struct lk_vk_times {
    struct lk_op_seconds *op; /* [n_ops] while ops are timed, else NULL */
    VkQueryPool queries;      /* one more than a list has steps */
    uint64_t *stamps;
};

struct lk_exec {
    struct lk_vk_device *dev;
    struct lk_vk_facts facts; /* of dev, when the plan was prepared */
    struct lk_exec_options o;
    struct lk_row_counts held; /* rows that the device holds, as far as lists were built */
    int few_held;              /* likewise, tokens of LK_VK_FEW */
    bool trial;                /* see lk_vk_prepare */
    unsigned lists;            /* that are built; see lk_vk_prepare */
    struct lk_vk_store store;
    struct lk_vk_list list[LK_VK_LISTS]; /* empty where not needed */
    struct lk_vk_buffer arena, batch, staging, flags, readback;
    struct lk_vk_buffer sizes; /* of dispatches of attention, 4 words each; no kernel binds it */
    VkDeviceSize
        at_unused; /* behind the flags: LK_VK_ALIGN bytes for each step, for unused bindings */
    struct lk_vk_batch_at at;
    struct lk_vk_attn attn[LK_VK_LISTS][LK_VK_MAX_ATTN];
    int n_attn[LK_VK_LISTS];
    VkDescriptorPool descriptors;
    VkCommandPool pool;
    VkFence fence;
    struct lk_vk_shape shape[LK_VK_MAX_SHAPES];
    uint64_t n_runs;
    uint64_t state_serial; /* the memory of states that the descriptor sets name */
    float *cs;
    /* [max_tokens]: the position whose cosines and sines a row of the batch buffer has, or -1 */
    int32_t *cs_pos;
    struct lk_vk_times times;
    struct lk_row_counts rows; /* of the last run, for peek */
    int last_list;
};

#endif
