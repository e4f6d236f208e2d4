/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_step: what a list of steps is made of: pieces of memory, and dispatches with their pipelines,
 * bindings and push constants. Data alone.
 */
#ifndef LK_VK_STEP_H
#define LK_VK_STEP_H

#include "plan/plan.h"
#include "shaders/params.h"
#include "vulkan/build/vk_tile.h"
#include "vulkan/device/vk_volk.h"

/* Memory of a prepared plan: the plan's slots first, then activation buffers and partial results;
 * pieces whose lives don't overlap share memory. */
struct lk_vk_piece {
    VkDeviceSize bytes, offset;
    int first, last; /* steps that use it; -1: none */
    int same;        /* the piece that it is another name of; -1: none */
};

enum lk_vk_bind_kind {
    LK_VK_BIND_NONE,
    LK_VK_BIND_PIECE,
    LK_VK_BIND_CHUNK, /* index = matrix, sub = chunk */
    LK_VK_BIND_VECTOR,
    LK_VK_BIND_VECTORS, /* the block of all vectors */
    LK_VK_BIND_BATCH,
    LK_VK_BIND_STATE /* index = state of the plan */
};
struct lk_vk_bind {
    enum lk_vk_bind_kind kind;
    int index, sub;
    bool write;
    VkDeviceSize at, bytes; /* the part of a piece that is meant; bytes 0: all of it */
};

enum lk_vk_grid {
    LK_VK_GRID_ROWS,   /* (x, rows) */
    LK_VK_GRID_MATMUL, /* by the variant chosen for the number of rows */
    LK_VK_GRID_ELEMS,  /* rows * width elements, 128 to a workgroup */
    LK_VK_GRID_ATTN,   /* (y, 1, z), or where z is 0 what lies at word x of the sizes */
    LK_VK_GRID_MERGE,  /* (x, rows * y) */
    LK_VK_GRID_ONE,    /* one workgroup */
    LK_VK_GRID_SEQS,   /* (x, as many sequences as rows can be of, at most y) */
    LK_VK_GRID_SORTED  /* (x / groups of a tile, the most tiles of rows of y experts) */
};

struct lk_vk_step {
    enum lk_vk_grid grid;
    uint32_t x, y, z;
    struct lk_vk_tile_size tile[LK_VK_TILES];      /* cols 0: there is none */
    const struct lk_vk_pipe *pipe[LK_VK_VARIANTS]; /* [0] but for matmuls */
    struct lk_vk_bind bind[LK_VK_BINDINGS];
    VkDescriptorSet set;
    enum lk_rows rows;
    uint32_t times; /* rows of the step for each of these: one, or as many as there are heads */
    uint32_t push[LK_VK_PUSH_BYTES / 4];
    uint32_t n_push; /* bytes */
    uint64_t work;   /* multiply-adds a row, at most; 0 where memory is all it takes */
    bool barrier;    /* before it */
    int op[3];       /* ops that its time counts for; ops fused into them are not named */
    int n_ops;
    bool prepare; /* only makes activations ready for op[0] */
    bool apart;   /* only for contexts whose chunks attn_decode does not fold itself */
};

struct lk_vk_list {
    struct lk_vk_step *steps; /* owned */
    size_t cap_steps;
    int n_steps;
    struct lk_vk_piece *pieces; /* owned; [0, n_slots) are the plan's slots */
    size_t cap_pieces;
    int n_pieces;
    int max_tokens; /* batches of at most this many tokens run it */
    /* Kernels write the out slot where the host reads it: the row of one token, that is on its way
     * while the rest of it is computed, so that nobody waits for a copy. */
    bool direct;
};

#endif
