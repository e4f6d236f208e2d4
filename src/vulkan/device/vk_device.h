/* SPDX-License-Identifier: Apache-2.0
 *
 * The room vulkan/device: an opened Vulkan device: its features and limits, buffers, pipelines, the
 * queue and the memory of a cache. Knows no plan and no op.
 */
#ifndef LK_VK_DEVICE_H
#define LK_VK_DEVICE_H

#include "backend/backend.h"
#include "shaders/params.h"
#include "vulkan/device/vk_limits.h"
#include "vulkan/device/vk_volk.h"

/* ---- device (vk_device.c) ---- */

enum lk_vk_feature {
    LK_VK_INT_DOT, /* packed int8 dot product */
    LK_VK_BUDGET,  /* VK_EXT_memory_budget */
    LK_VK_MAPPED,  /* device-local memory that the host can write, all of it */
    LK_VK_LOOPED,  /* kernels keep their loops: compilers of CPU drivers take seconds to unroll */
    LK_VK_NARROW,  /* tiles of plain kernels; without it wide ones, as for matrix units */
    LK_VK_MATRIX,  /* int8 matrix units, 16 x 16 x 32 (VK_KHR_cooperative_matrix) */
    LK_VK_FEATURES
};

/* A physical device as found, before it is opened. */
struct lk_vk_found {
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties props;
    struct lk_device_id id;
    char driver[256];
    const char *type; /* "discrete", ... */
    VkDeviceSize max_allocation;
    uint64_t memory, available;
    bool has[LK_VK_FEATURES]; /* found */
    bool off[LK_VK_FEATURES]; /* switched off for this device for good */
    bool use[LK_VK_FEATURES]; /* found, not disabled and not off */
    uint32_t queue_family;
    uint32_t timestamp_bits; /* of that family; 0: no timestamps */
    uint32_t cores;          /* multiprocessors; 0: the driver does not say */
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
/* Index of the device of options; -1 with err filled where it is not there or can't be used. */
int lk_vk_pick(const struct lk_vk_found *found, int n, const struct lk_backend_options *options,
               lk_error *err);
const char *lk_vk_feature_name(enum lk_vk_feature feature);
/* Leaves the features that need more than the device's limits. */
void lk_vk_limit_features(struct lk_vk_found *found);
/* Space separated names of the features in use. */
void lk_vk_feature_list(const struct lk_vk_found *found, char *out, size_t n);

struct lk_vk_pipe {
    const struct lk_vk_shader *shader;
    uint32_t spec[4];
    struct lk_vk_needs needs;
    VkPipeline handle; /* VK_NULL_HANDLE: it is still to be compiled */
    VkResult result;   /* of compiling it, and how long that took */
    double seconds;
};
enum { LK_VK_MAX_PIPES = 512 };

enum { LK_VK_MANY_TILES = 512, LK_VK_SPLIT_TOKENS = 32 };
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
    int n_pipes, n_compiled; /* those still to be compiled come last */
    int compilers;           /* threads that compile at once */
    bool new_pipes;          /* the cache file is to be written */
    bool lost;
    VkDeviceSize used;     /* bytes of device memory that our buffers hold, of found.available */
    char cache_path[600];  /* "" : none */
    double compiling;      /* seconds spent on compiling pipelines */
    uint32_t many_tiles;   /* matmuls of as many large tiles take those */
    uint32_t split_tokens; /* batches of so many tokens take tiles that split their panels */
    uint64_t submit_work;  /* multiply-adds that fill a submission */
    uint64_t n_submits;    /* submissions of batches so far */
    uint64_t next_serial;  /* caches allocated so far */
    struct lk_log log;
    /* Told, while pipelines are compiled, how many are, if probe_pipes, about as many as there will
     * be, is not 0; may be NULL. */
    lk_progress_fn progress;
    void *progress_user;
    int probe_pipes;
};
lk_status lk_vk_device_open(const struct lk_backend_options *options, struct lk_vk_device *dev,
                            lk_error *err);
void lk_vk_device_close(struct lk_vk_device *dev);
/* Maps a result to a status naming what was being done; notes a lost device. */
lk_status lk_vk_fail(struct lk_vk_device *dev, VkResult result, const char *what, lk_error *err);
/* Multiply-adds that a device of the type does in a fraction of a second, slow ones too. */
uint64_t lk_vk_submit_work(VkPhysicalDeviceType type);
/* Waits for a fence; asks a GPU for it without a rest at first, then between short sleeps. */
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
/* The pipeline of a shader with specialization constants 0..3, which on first request is still to
 * be compiled. Valid until the device is closed, or what is to be compiled is dropped. */
lk_status lk_vk_pipe_get(struct lk_vk_device *dev, const char *shader, const uint32_t spec[4],
                         const struct lk_vk_pipe **out, lk_error *err);
/* Compiles what was asked for since the last time, by several threads; after a failure all of it is
 * dropped. */
lk_status lk_vk_pipes_compile(struct lk_vk_device *dev, lk_error *err);
/* Drops what was asked for and is not compiled. */
void lk_vk_pipes_drop(struct lk_vk_device *dev);

/* ---- features switched off for good (vk_off.c) ---- */

/* Takes what was switched off for this device out of found->use. cache_dir may be NULL. */
void lk_vk_off_apply(struct lk_vk_found *found, const char *cache_dir, const struct lk_log *log);
/* Appends what is off to a note. */
void lk_vk_off_note(const struct lk_vk_found *found, char *note, size_t n);
/* The hook of struct lk_backend_impl. */
lk_status lk_vk_switch_off(const struct lk_backend_options *options, const char *feature,
                           lk_error *err);

#endif
