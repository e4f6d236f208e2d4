/* SPDX-License-Identifier: Apache-2.0
 *
 * Backend: the seam. A plan crosses it whole; a backend prepares it once (uploads or packs
 * weights, builds pipelines, carves one arena) and then runs batches of tokens. Every backend keeps
 * a plan's states in the same bytes, so sessions move between backends by copying.
 *
 * A backend knows ops, states and numerics; never files, tokenizers, sessions or other backends.
 */
#ifndef LK_BACKEND_H
#define LK_BACKEND_H

#include "lockstep_check.h"
#include "plan/plan.h"

struct lk_backend;   /* an opened backend: a device and its threads; defined by each */
struct lk_exec;      /* a prepared plan; defined by each */
struct lk_state_mem; /* memory of states; defined by each */

/* The identity of a device is what its driver says that it is, for as long as the process lives. */
struct lk_device_id {
    uint8_t device[16], driver[16]; /* Vulkan's deviceUUID and driverUUID */
    int twin;                       /* among those that are equal in both, as they are listed */
};
/* A device as it is listed: neither opened nor probed. */
struct lk_device {
    struct lk_device_id id;
    lk_device_info info;
};

/* A folder for files of a model's weights in the form that a backend brings them into, and of what
 * model they are. */
struct lk_pack_home {
    const char *dir;   /* of this model alone; made where it is missing */
    uint8_t model[32]; /* of files that ever were or will be no others have it */
    /* Which file of the model, and where in it, data of a weight lies; false: in none. */
    bool (*place)(const void *user, const void *data, uint64_t *part, uint64_t *offset);
    /* Whether the model's files are still those that `model` stands for. */
    bool (*same)(const void *user);
    const void *user;
};

struct lk_backend_options {
    int threads, threads_batch; /* 0: physical cores allowed to us */
    bool pin;
    const char *cpu_level;             /* "auto" or a level's name */
    const struct lk_device_id *device; /* of a backend that lists some; see device_list.h */
    const char *vk_disable;            /* comma-separated features not to use, or NULL */
    uint64_t types;                    /* quantized types that will run (lk_type_bit); 0: any */
    const char *cache_dir;             /* or NULL */
    const struct lk_pack_home *pack;   /* outlives the backend; NULL: weights stay in memory */
    struct lk_log log;
    lk_progress_fn progress; /* may be NULL */
    void *progress_user;
};

typedef lk_status (*lk_device_fn)(void *user, const struct lk_device *device, lk_error *err);

struct lk_caps {
    bool exact;         /* false: results may differ from the contract (a failed probe item) */
    const char *level;  /* of the CPU's kernels ("avx512"); NULL: there is one set */
    char name[96];      /* "cpu avx512", "vulkan NVIDIA H200" */
    char describe[256]; /* and more: "cpu avx512, 8 threads" */
    int threads, threads_batch; /* of decode and prefill; 0: no such choice */
};

struct lk_exec_options {
    const struct lk_plan *plan; /* outlives the exec */
    int max_tokens;             /* rows of one batch */
    int max_outputs;            /* rows that want logits in one batch */
    bool fewer;                 /* where a device can't hold so many rows it takes fewer: `most` */
    int spare_tokens;           /* tokens instead, where a device has memory to spare; 0: none */
    int max_seqs;               /* sequences in one batch */
    int max_blocks;             /* blocks of one sequence's paged states */
    bool keep_ops;              /* every slot keeps its memory, nothing is fused away: for peek */
    bool fuse;
};

/* One batch: tokens of one or more sequences. Tokens of one sequence are in rising, contiguous
 * positions; a sequence appears once. Everything a token may attend to is in the cache or earlier
 * in the batch. */
struct lk_batch_seq {
    const int32_t *blocks; /* block table: position p lies in blocks[p / 64] */
    int first;             /* index of its first token in the batch */
    int n_tokens;          /* of it in the batch */
    int pos;               /* position of its first token */
    int slot;              /* its unit of each recurrent state */
};
struct lk_batch {
    int n_tokens;
    const int32_t *token; /* ids, checked by the engine; unused by a plan without EMBED */
    const int32_t *pos;
    const int32_t *seq; /* index into seqs, per token */
    int n_seqs;
    const struct lk_batch_seq *seqs;
    int n_outputs;
    const int32_t *outputs; /* rising token indices that want logits */
    const float *hidden_in; /* [n_tokens][n_embd] when the plan has an in_slot */
    float *out;             /* [n_outputs][n_vocab] or, without head, [n_tokens][n_embd] */
};

/* Time of one op of a plan, in seconds of a thread, mean over the threads. */
struct lk_op_seconds {
    double run, prepare, wait; /* the op; its input made ready; the barriers before both */
    uint64_t calls;
};
typedef bool (*lk_kernel_fn)(void *user, const lk_kernel_time *time); /* false: cancel */

/* Memory for the states that a plan keeps (plan/state.h). */
struct lk_state_geom {
    const struct lk_plan *plan; /* outlives the memory */
    int n_blocks;               /* units of each paged state */
    int n_slots;                /* units of each recurrent one */
};
/* Units and bytes of state i; 0 units where the plan's layers don't keep it. */
int lk_state_units(const struct lk_state_geom *geom, int i);
size_t lk_state_bytes(const struct lk_state_geom *geom, int i);
/* LK_E_INVALID when bytes [offset, offset + n) are not all of state i. */
lk_status lk_state_check_range(const struct lk_state_geom *geom, int i, size_t offset, size_t n,
                               lk_error *err);

struct lk_backend_impl {
    const char *name;
    /* Calls `each` for every device there is, usable or not, in an order that stays; opens none.
     * LK_E_DEVICE where there is none. NULL for a backend that is no device (scalar, ref). */
    lk_status (*list)(const struct lk_backend_options *options, lk_device_fn each, void *user,
                      lk_error *err);
    /* Opens the device of options and probes it: its features, whether it is exact, whether it is
     * usable after all. NULL: what is listed says it all, and options name no device. */
    void (*look)(const struct lk_backend_options *options, lk_device_info *info);
    lk_status (*open)(const struct lk_backend_options *options, struct lk_backend **out,
                      struct lk_caps *caps, lk_error *err);
    void (*close)(struct lk_backend *backend);
    /* How fast the device reads its memory, in bytes per second, to share layers out by: measured
     * once and kept with what the probe found. NULL where a backend is no device. */
    lk_status (*speed)(struct lk_backend *backend, double *bytes_per_second, lk_error *err);

    /* Everything `run` needs is allocated here, before any weight is packed. A weight with NaN or
     * infinite scales or values is LK_E_FORMAT naming the tensor, unless it is only looked up. */
    lk_status (*prepare)(struct lk_backend *backend, const struct lk_exec_options *options,
                         struct lk_exec **out, lk_error *err);
    void (*exec_free)(struct lk_exec *exec);
    /* The rows of the largest batch that it takes: as the options have them, or less with `fewer`,
     * never below 1. NULL: a backend always takes what the options say. */
    struct lk_row_counts (*most)(const struct lk_exec *exec);

    /* Zeroed memory of states, with guards around each. */
    lk_status (*state_alloc)(struct lk_backend *backend, const struct lk_state_geom *geom,
                             struct lk_state_mem **out, lk_error *err);
    void (*state_free)(struct lk_state_mem *mem);
    /* Bytes [offset, offset + n) of a state in the common layout. Ends any run in flight. */
    lk_status (*state_read)(struct lk_state_mem *mem, int state, size_t offset, void *data,
                            size_t n, lk_error *err);
    lk_status (*state_write)(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                             size_t n, lk_error *err);
    /* LK_E_INTERNAL naming layer, state and first byte when a guard's canary was overwritten. */
    lk_status (*state_check)(struct lk_state_mem *mem, lk_error *err);

    /* Runs the plan over the batch; out is complete when it returns, and as it was where it fails.
     * LK_E_RANGE names op, layer and weight. LK_E_DEVICE_LOST: the backend is dead, close it. */
    lk_status (*run)(struct lk_exec *exec, struct lk_state_mem *states,
                     const struct lk_batch *batch, lk_error *err);
    /* Copies slot `slot` of the last run as f32 [rows][width]; LK_E_INVALID when it was not kept.
     */
    lk_status (*peek)(struct lk_exec *exec, int slot, float *data, size_t n, lk_error *err);

    /* The kernel that writes op `op` in a batch of n_tokens, in words: "tile_q4_k 16 2 0 0"; NULL:
     * a backend has one set of kernels, which its description names. */
    void (*variant)(const struct lk_exec *exec, int op, int n_tokens, char *out, size_t n);
    /* Remembers a feature of the device of options as off from now on (NULL: none is); NULL where
     * a backend has none. */
    lk_status (*switch_off)(const struct lk_backend_options *options, const char *feature,
                            lk_error *err);

    /* Measuring; NULL where a backend does not offer it. See lk_engine_read_rate, lk_bench_kernels
     * and lk_engine_memory. */
    size_t (*work_bytes)(const struct lk_exec *exec); /* in host memory, beside weights */
    lk_status (*read_rate)(struct lk_backend *backend, uint64_t n_bytes, int passes,
                           double *bytes_per_second, lk_error *err);
    /* At every level of the machine (a device: with each kind of arithmetic it has), or at that of
     * options; of one type (a name), or NULL: all. */
    lk_status (*kernels)(const struct lk_backend_options *options, bool all_levels,
                         const char *type, int n_tokens, lk_kernel_fn each, void *user,
                         lk_error *err);
    /* Starts timing ops, from zero, or ends it. */
    lk_status (*profile)(struct lk_exec *exec, bool on, lk_error *err);
    void (*op_seconds)(const struct lk_exec *exec, int op, struct lk_op_seconds *out);
};

/* The table, in order of preference: vulkan (when built in), cpu, scalar, ref. */
const struct lk_backend_impl *const *lk_backends(size_t *n);
const struct lk_backend_impl *lk_backend_find(const char *name); /* NULL when there is none */

/* Rows of a batch, and of the largest that an exec takes. */
static inline struct lk_row_counts lk_batch_rows(const struct lk_plan *plan,
                                                 const struct lk_batch *b)
{
    return lk_plan_rows(plan, b->n_tokens, b->n_outputs);
}
static inline struct lk_row_counts lk_most_rows(const struct lk_exec_options *o)
{
    return lk_plan_rows(o->plan, o->max_tokens, o->max_outputs);
}

/* Whether a batch is well formed for an exec (counts, orders, tables): what run may rely on. */
lk_status lk_batch_check(const struct lk_exec_options *options, const struct lk_batch *batch,
                         lk_error *err);

/* LK_E_FORMAT naming the tensor when a weight of the plan holds NaN or infinity. */
lk_status lk_plan_check_weights(const struct lk_plan *plan, lk_error *err);

/* The range error of rule 1 for an op: names op, layer and weight. Returns LK_E_RANGE. */
lk_status lk_fail_range(lk_error *err, const struct lk_plan *plan, const struct lk_op *op);

extern const struct lk_backend_impl lk_backend_scalar; /* cpu/backend_scalar.c */
extern const struct lk_backend_impl lk_backend_cpu;    /* cpu/backend_cpu.c */
extern const struct lk_backend_impl lk_backend_ref;    /* src/ref/ref.c */
extern const struct lk_backend_impl lk_backend_vulkan; /* src/vulkan/backend_vk.c, LK_VULKAN */

/* One step of the reference: op `op` of the plan of an exec of "ref" that keeps its slots, on
 * inputs given as f32 rows (in[n_in]), states and a batch; out: [rows][width] in double. Not for an
 * op without an output. */
lk_status lk_ref_step(struct lk_exec *exec, struct lk_state_mem *states,
                      const struct lk_batch *batch, int op, const float *const *in, double *out,
                      lk_error *err);

#endif
