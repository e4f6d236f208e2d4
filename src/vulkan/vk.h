/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk: what the files of the Vulkan backend share: device, memory, pipelines, packed weights, the
 * steps of a prepared plan. Nothing outside src/vulkan includes it.
 */
#ifndef LK_VK_H
#define LK_VK_H

#include "src/backend.h"
#include "src/vulkan/vk_limits.h"
#include "src/vulkan/vk_volk.h"

#include "shaders/params.h"

/* ---- device (vk_device.c) ---- */

enum lk_vk_feature {
    LK_VK_INT_DOT,  /* packed int8 dot product */
    LK_VK_UNPACK16, /* unpackHalf2x16 is exact (known-answer test) */
    LK_VK_BUDGET,   /* VK_EXT_memory_budget */
    LK_VK_MAPPED,   /* device-local memory that the host can write, all of it */
    LK_VK_LOOPED,   /* kernels keep their loops: compilers of CPU drivers take seconds to unroll */
    LK_VK_NARROW,   /* tiles of plain kernels; without it wide ones, as for matrix units */
    LK_VK_MATRIX,   /* int8 matrix units, 16 x 16 x 32 (VK_KHR_cooperative_matrix) */
    LK_VK_FEATURES
};

/* A physical device as found, before it is opened. */
struct lk_vk_found {
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties props;
    char driver[256];
    const char *type; /* "discrete", ... */
    VkDeviceSize max_allocation;
    uint64_t memory, available;
    bool has[LK_VK_FEATURES]; /* found */
    bool off[LK_VK_FEATURES]; /* switched off for this device for good */
    bool use[LK_VK_FEATURES]; /* found, not disabled and not off */
    uint32_t queue_family;
    uint32_t timestamp_bits; /* of that family; 0: no timestamps */
    bool khr_int_dot;        /* as an extension (before Vulkan 1.3) */
    const char *no_matrix;   /* why matrix units are not among the features; NULL: they are */
    bool usable;
    char note[512]; /* why not usable */
};

struct lk_vk_instance {
    VkInstance handle;
    uint32_t version;
};
lk_status lk_vk_instance_open(struct lk_vk_instance *out, lk_error *err);
void lk_vk_instance_close(struct lk_vk_instance *instance);
/* Finds all devices, and their features as options have them; *out is lk_alloc'd. */
lk_status lk_vk_find(const struct lk_vk_instance *instance,
                     const struct lk_backend_options *options, struct lk_vk_found **out, int *n,
                     lk_error *err);
/* Index of the device to take: by number or part of the name, else discrete, then integrated, then
 * virtual. -1 with err filled when there is none. */
int lk_vk_choose(const struct lk_vk_found *found, int n, const char *device, lk_error *err);
const char *lk_vk_feature_name(enum lk_vk_feature feature);
/* Leaves the features that need more than the device's limits. */
void lk_vk_limit_features(struct lk_vk_found *found);
/* Space separated names of the features in use. */
void lk_vk_feature_list(const struct lk_vk_found *found, char *out, size_t n);

struct lk_vk_pipe {
    const struct lk_vk_shader *shader;
    uint32_t spec[4];
    struct lk_vk_needs needs;
    VkPipeline handle;
};
enum { LK_VK_MAX_PIPES = 512 };

enum { LK_VK_MANY_TILES = 512 };
struct lk_vk_device {
    struct lk_vk_instance instance;
    struct lk_vk_found found;
    VkDevice handle;
    struct VolkDeviceTable vk;
    VkQueue queue;
    VkCommandPool pool; /* of uploads and the probe */
    VkCommandBuffer commands;
    VkFence fence;
    VkPhysicalDeviceMemoryProperties memory;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    struct lk_vk_pipe pipes[LK_VK_MAX_PIPES];
    int n_pipes;
    bool new_pipes; /* the cache file is to be written */
    bool lost;
    VkDeviceSize used;    /* bytes of device memory that our buffers hold, of found.available */
    char cache_path[600]; /* "" : none */
    double compiling;     /* seconds spent on pipelines */
    uint32_t many_tiles;  /* matmuls of as many large tiles take those */
    uint64_t submit_work; /* multiply-adds that fill a submission */
    uint64_t n_submits;   /* submissions of batches so far */
    struct lk_log log;
};
struct lk_backend {
    struct lk_vk_device dev;
    struct lk_backend_options options; /* strings are not kept */
    uint64_t next_serial;
};
lk_status lk_vk_device_open(const struct lk_backend_options *options, struct lk_vk_device *dev,
                            lk_error *err);
void lk_vk_device_close(struct lk_vk_device *dev);
/* Maps a result to a status naming what was being done; notes a lost device. */
lk_status lk_vk_fail(struct lk_vk_device *dev, VkResult result, const char *what, lk_error *err);
/* Waits for a fence; spins for a while first on a GPU. */
lk_status lk_vk_wait(struct lk_vk_device *dev, VkFence fence, lk_error *err);
/* The device's own command buffer: begin, record, submit and wait. */
lk_status lk_vk_begin(struct lk_vk_device *dev, lk_error *err);
lk_status lk_vk_finish(struct lk_vk_device *dev, lk_error *err);

/* ---- memory (vk_mem.c) ---- */

enum lk_vk_use {
    LK_VK_USE_DEVICE, /* weights, KV, activations */
    LK_VK_USE_UPLOAD, /* written by the host, read by the device */
    LK_VK_USE_READBACK
};
struct lk_vk_buffer {
    VkBuffer handle;
    VkDeviceMemory memory;
    VkDeviceSize size;
    VkDeviceSize taken; /* of the device's memory */
    uint8_t *map;       /* NULL when the host can't see it */
    bool coherent;
};
/* `what` names it in errors. Size 0 gives an empty buffer of 256 bytes. Beyond what the device has
 * left for us (VK_EXT_memory_budget where it is there) device memory is refused: LK_E_NOMEM. */
lk_status lk_vk_buffer_create(struct lk_vk_device *dev, VkDeviceSize size, enum lk_vk_use use,
                              const char *what, struct lk_vk_buffer *out, lk_error *err);
void lk_vk_buffer_destroy(struct lk_vk_device *dev, struct lk_vk_buffer *buffer);
/* Copies through the mapping, or through `staging` (upload or readback use) in pieces. */
lk_status lk_vk_write(struct lk_vk_device *dev, struct lk_vk_buffer *to, VkDeviceSize offset,
                      const void *data, size_t n, struct lk_vk_buffer *staging, lk_error *err);
lk_status lk_vk_read(struct lk_vk_device *dev, const struct lk_vk_buffer *from, VkDeviceSize offset,
                     void *data, size_t n, struct lk_vk_buffer *staging, lk_error *err);
lk_status lk_vk_fill(struct lk_vk_device *dev, const struct lk_vk_buffer *buffer,
                     VkDeviceSize offset, VkDeviceSize n, uint32_t word, lk_error *err);

/* ---- pipelines (vk_pipe.c) ---- */

lk_status lk_vk_pipes_open(struct lk_vk_device *dev, const char *cache_dir, lk_error *err);
void lk_vk_pipes_close(struct lk_vk_device *dev); /* writes the cache file when it has news */
/* The pipeline of a shader with specialization constants 0..3; built on first request. */
lk_status lk_vk_pipe_get(struct lk_vk_device *dev, const char *shader, const uint32_t spec[4],
                         VkPipeline *out, lk_error *err);

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
    LK_VK_BIND_KV_K, /* index = layer in the KV geometry */
    LK_VK_BIND_KV_V
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
    uint32_t token, pos, seq, outputs, table, cs[2], cs_stride, tiles, n_words;
    uint32_t indirect; /* 4 words per window kind and list */
    uint32_t counters; /* a word a head, zero between runs: see attn_one */
};
/* Lists of a plan: a token; as many as mat-vecs and split attention take; whole batches. */
enum { LK_VK_ONE, LK_VK_FEW, LK_VK_MANY, LK_VK_LISTS };
enum { LK_VK_MAX_WINDOWS = 4, LK_VK_MAX_SHAPES = 8, LK_VK_MAX_SUBMITS = 32, LK_VK_SMALL = 8 };

struct lk_vk_shape { /* a recorded batch shape */
    int n_tokens, n_outputs;
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
    int windows[LK_VK_MAX_WINDOWS];
    int n_windows;
    uint32_t attn_rows[LK_VK_LISTS], attn_tokens[LK_VK_LISTS]; /* of an attention tile */
    VkDescriptorPool descriptors;
    VkCommandPool pool;
    VkFence fence;
    struct lk_vk_shape shape[LK_VK_MAX_SHAPES];
    uint64_t n_runs;
    uint64_t kv_serial; /* the cache that the descriptor sets name */
    float *cs;
    struct lk_vk_times times;
    int n_tokens, n_outputs, last_list; /* of the last run, for peek */
};

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
/* Writes the descriptors that name the KV cache. */
void lk_vk_list_bind_kv(struct lk_exec *e, struct lk_vk_list *list, const struct lk_kv_mem *kv);
/* Records steps [first, end); hidden rows come in before step 0 and the out slot leaves after the
 * last. */
void lk_vk_list_record(struct lk_exec *e, const struct lk_vk_list *list, VkCommandBuffer commands,
                       int first, int end, int n_tokens, int n_outputs);
void lk_vk_list_free(struct lk_vk_list *list);

/* ---- submissions (vk_submit.c) ---- */

/* Multiply-adds that a device of the type does in a fraction of a second, slow ones too. */
uint64_t lk_vk_submit_work(VkPhysicalDeviceType type);
/* Allocates the command buffers of e's shapes, as many as its largest batch is split into. */
VkResult lk_vk_shapes_create(struct lk_exec *e);
/* Runs a list for a batch whose buffers are written, recorded once a shape; returns when the
 * device is done. */
lk_status lk_vk_submit(struct lk_exec *e, int list, int n_tokens, int n_outputs, lk_error *err);

/* ---- measuring (vk_measure.c) ---- */

/* The hooks of struct lk_backend_impl. */
lk_status lk_vk_read_rate(struct lk_vk_device *dev, uint64_t n_bytes, int passes,
                          double *bytes_per_second, lk_error *err);
lk_status lk_vk_kernels(const struct lk_backend_options *options, bool all_levels, const char *type,
                        int n_tokens, lk_kernel_fn each, void *user, lk_error *err);
lk_status lk_vk_profile(struct lk_exec *exec, bool on, lk_error *err);
void lk_vk_op_seconds(const struct lk_exec *exec, int op, struct lk_op_seconds *out);
/* Adds the times of a run that took `wall` seconds on the host. */
lk_status lk_vk_profile_add(struct lk_exec *exec, const struct lk_vk_list *list,
                            const struct lk_batch *batch, double wall, lk_error *err);

/* ---- names (vk_name.c) ---- */

void lk_vk_variant(const struct lk_exec *exec, int op, int n_tokens, char *out, size_t n);

/* ---- features switched off for good (vk_off.c) ---- */

/* Takes what was switched off for this device out of found->use. cache_dir may be NULL. */
void lk_vk_off_apply(struct lk_vk_found *found, const char *cache_dir);
/* Appends what is off to a note. */
void lk_vk_off_note(const struct lk_vk_found *found, char *note, size_t n);
/* The hook of struct lk_backend_impl. */
lk_status lk_vk_switch_off(const struct lk_backend_options *options, const char *feature,
                           lk_error *err);

/* ---- the backend (backend_vk.c) ---- */

/* Opens and probes a device; see lk_vk_probe. */
lk_status lk_vk_open(const struct lk_backend_options *options, struct lk_backend **out, bool *exact,
                     char *note, size_t n_note, lk_error *err);
void lk_vk_close(struct lk_backend *backend);
/* Prepares a plan. A trial fuses and yet keeps the memory of every slot that is written, and takes
 * batches of one token or of more than LK_VK_SMALL. */
lk_status lk_vk_prepare(struct lk_backend *backend, const struct lk_exec_options *options,
                        bool trial, struct lk_exec **out, lk_error *err);

/* ---- probe (vk_probe.c) ---- */

/* Runs the known-answer sets on the open device, small ones and whole kernels: switches off
 * features that fail theirs (named in `note`), *exact says whether what is left agrees with the
 * CPU. Verdicts are kept in cache_dir. */
lk_status lk_vk_probe(struct lk_backend *backend, bool *exact, char *note, size_t n_note,
                      lk_error *err);

/* Lists all devices for lk_devices: opens and probes each. Never fails for a single device. */
lk_status lk_vk_devices(const struct lk_backend_options *options,
                        void (*each)(void *user, const lk_device_info *device), void *user,
                        lk_error *err);

#endif
