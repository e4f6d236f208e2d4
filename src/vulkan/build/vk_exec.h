/* SPDX-License-Identifier: Apache-2.0
 *
 * The room vulkan/build: a plan prepared for a device: packed weights, lists of steps, what is
 * recorded of them, a batch written and submitted. Knows the device by its header alone.
 */
#ifndef LK_VK_EXEC_H
#define LK_VK_EXEC_H

#include "vulkan/device/vk_state.h"

/* ---- packed weights (vk_pack.c) ---- */

/* How a type's blocks are laid out; see shaders/weights.glsl. */
struct lk_vk_layout {
    uint32_t block;      /* elements a block */
    uint32_t body;       /* uvec4s a block */
    uint32_t mid;        /* words a block: 0 or 1 */
    uint32_t tail_pairs; /* 1: one f16 a block, two blocks a word */
    uint32_t tail;       /* words a block: 0 or 1 */
};
struct lk_vk_layout lk_vk_layout_of(enum lk_type type);
uint32_t lk_vk_layout_blocks(enum lk_type type, int64_t cols);
struct lk_vk_sizes {
    size_t body, mid, tail; /* bytes of each section for a number of groups */
};
struct lk_vk_sizes lk_vk_layout_sizes(enum lk_type type, int64_t cols, size_t n_groups);
/* Packs row groups [group, group + n) of w (32 rows each, missing rows zero). */
void lk_vk_pack(const struct lk_weight *w, size_t group, size_t n, uint8_t *body, uint8_t *mid,
                uint8_t *tail);

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
/* Registers the parts (or finds them) and returns the matrix; -1 when they can't lie together
 * (different types, or too large for one chunk), or with *status set when memory ran out. */
int lk_vk_store_matrix(struct lk_vk_device *dev, struct lk_vk_store *store,
                       const struct lk_plan *plan, const int *part, int n_parts, lk_status *status,
                       lk_error *err);
/* Gives a vector its place in block 0, once. */
lk_status lk_vk_store_vector(struct lk_vk_store *store, const struct lk_plan *plan, int weight,
                             lk_error *err);
/* Allocates the blocks, packs and uploads all of it. */
lk_status lk_vk_store_fill(struct lk_vk_device *dev, struct lk_vk_store *store,
                           const struct lk_plan *plan, const struct lk_backend_options *options,
                           lk_error *err);
void lk_vk_store_free(struct lk_vk_device *dev, struct lk_vk_store *store);

/* ---- steps (vk_ops.c) ---- */

/* Memory of a prepared plan: the plan's slots first, then activation buffers and partial results;
 * pieces whose lives don't overlap share memory. */
struct lk_vk_piece {
    VkDeviceSize bytes, offset;
    int first, last; /* steps that use it; -1: none */
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
    LK_VK_GRID_ELEMS,  /* rows * width elements, 128 a workgroup */
    LK_VK_GRID_ATTN,   /* indirect, at byte offset x of the batch buffer */
    LK_VK_GRID_MERGE   /* (x, rows * y) */
};
enum { LK_VK_MV1, LK_VK_MV4, LK_VK_MV8, LK_VK_TILE, LK_VK_VARIANTS };

struct lk_vk_step {
    enum lk_vk_grid grid;
    uint32_t x, y;
    uint32_t tile_groups, tile_cols; /* row groups and tokens of a tile of LK_VK_TILE */
    VkPipeline pipe[LK_VK_VARIANTS]; /* [0] but for matmuls */
    struct lk_vk_bind bind[LK_VK_BINDINGS];
    VkDescriptorSet set;
    enum lk_rows rows;
    uint32_t push[LK_VK_PUSH_BYTES / 4];
    uint32_t n_push; /* bytes */
    uint64_t work;   /* multiply-adds a row, at most; 0 where memory is all it takes */
    bool barrier;    /* before it */
    int op[3];       /* ops that its time counts for; ops fused into them are not named */
    int n_ops;
    bool prepare; /* only makes activations ready for op[0] */
};

struct lk_vk_list {
    struct lk_vk_step *steps; /* owned */
    size_t cap_steps;
    int n_steps;
    struct lk_vk_piece *pieces; /* owned; [0, n_slots) are the plan's slots */
    size_t cap_pieces;
    int n_pieces;
    int max_tokens; /* batches of at most this many tokens run it */
};

/* Word offsets of the batch buffer. */
struct lk_vk_batch_at {
    uint32_t token, pos, seq, outputs, table, cs[LK_PLAN_ROPES], cs_stride, n_words;
    uint32_t tiles; /* a table for each dispatch of attention, tiles_each words apart */
    uint32_t tiles_each;
    uint32_t indirect; /* 4 words a dispatch of attention */
    uint32_t counters; /* a word a head, zero between runs: see attn_one */
};
/* A dispatch of attention whose size depends on the batch: layers of one shape share it. */
struct lk_vk_attn {
    int window;
    uint32_t tokens; /* of a tile */
    uint32_t y;      /* workgroups a tile of tokens */
};
/* Lists of a plan: a token; as many as mat-vecs and split attention take; whole batches. */
enum { LK_VK_ONE, LK_VK_FEW, LK_VK_MANY, LK_VK_LISTS };
enum { LK_VK_MAX_ATTN = 4, LK_VK_MAX_SHAPES = 8, LK_VK_MAX_SUBMITS = 32, LK_VK_SMALL = 8 };

struct lk_vk_shape { /* a recorded batch shape */
    struct lk_row_counts rows;
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
    struct lk_exec_options o;
    bool trial; /* see lk_vk_prepare */
    struct lk_vk_store store;
    struct lk_vk_list list[LK_VK_LISTS]; /* by LK_VK_ONE, _FEW, _MANY; empty where not needed */
    struct lk_vk_buffer arena, batch, staging, flags, readback;
    VkDeviceSize at_unused; /* behind the flags: LK_VK_ALIGN bytes a step, for unused bindings */
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
    struct lk_vk_times times;
    struct lk_row_counts rows; /* of the last run, for peek */
    int last_list;
};

/* Plan -> steps of a list, with matrices registered; then, once memory is there, descriptor sets.
 */
lk_status lk_vk_list_build(struct lk_exec *e, struct lk_vk_list *list, VkDeviceSize *arena,
                           lk_error *err);
/* Places the pieces and finds the barriers; returns the bytes of memory (vk_list.c). */
VkDeviceSize lk_vk_list_place(struct lk_vk_list *list, const struct lk_plan *plan, bool keep);
/* Tokens of one workgroup of a mat-vec variant; small workgroups can't fold 8 columns. */
uint32_t lk_vk_variant_cols(const struct lk_vk_device *dev, int variant);
/* The most rows of a kind in a batch of the list; at least 1. */
uint32_t lk_vk_list_rows(const struct lk_exec *e, const struct lk_vk_list *list, enum lk_rows rows);
/* Whether the dispatches of every batch are within the device's counts of workgroups. */
lk_status lk_vk_list_check(const struct lk_exec *e, const struct lk_vk_list *list, lk_error *err);
/* Which of its pipelines a step runs for a number of rows. */
int lk_vk_variant_of(const struct lk_vk_device *dev, const struct lk_vk_step *step, uint32_t rows);
lk_status lk_vk_list_finish(struct lk_exec *e, struct lk_vk_list *list, lk_error *err);
/* Writes the descriptors that name states. */
void lk_vk_list_bind_states(struct lk_exec *e, struct lk_vk_list *list,
                            const struct lk_state_mem *states);
/* Records steps [first, end); hidden rows come in before step 0 and the out slot leaves after the
 * last. */
void lk_vk_list_record(struct lk_exec *e, const struct lk_vk_list *list, VkCommandBuffer commands,
                       int first, int end, const struct lk_row_counts *rows);
void lk_vk_list_free(struct lk_vk_list *list);

/* ---- batches (vk_batch.c) ---- */

/* Lays out the batch buffer for the largest batch of e->o. */
lk_status lk_vk_batch_lay_out(struct lk_exec *e, lk_error *err);
/* Writes a batch that `list` runs. */
void lk_vk_batch_write(struct lk_exec *e, const struct lk_batch *batch, int list);

/* ---- submissions (vk_submit.c) ---- */

/* Allocates the command buffers of e's shapes, as many as its largest batch is split into. */
VkResult lk_vk_shapes_create(struct lk_exec *e);
/* Runs a list for a batch whose buffers are written, recorded once a shape; returns when the
 * device is done. */
lk_status lk_vk_submit(struct lk_exec *e, int list, const struct lk_row_counts *rows,
                       lk_error *err);

/* ---- names (vk_name.c) ---- */

void lk_vk_variant(const struct lk_exec *exec, int op, int n_tokens, char *out, size_t n);

#endif
