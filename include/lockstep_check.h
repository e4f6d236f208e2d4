/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep_check: is a model computed right on this machine, and how fast: what `lockstep check`
 * and `lockstep bench` are made of. The conventions are those of lockstep.h.
 */
#ifndef LOCKSTEP_CHECK_H
#define LOCKSTEP_CHECK_H

#include "lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- check: does this model compute right here ----------------------------------------------- */

typedef enum lk_check_state {
    LK_CHECK_NONE,    /* there is nothing to compare */
    LK_CHECK_EQUAL,   /* by bits */
    LK_CHECK_WITHIN,  /* not by bits, but within a stated bound */
    LK_CHECK_DIFFERS, /* by bits, or beyond the bound */
    LK_CHECK_NOT_RUN
} lk_check_state;

typedef struct lk_check_options {
    size_t size;    /* sizeof(lk_check_options): set by the default function */
    bool quick;     /* fewer tokens, depths and ways to run */
    int32_t layer;  /* LK_CHECK_ALL, or only this one: 0 .. n_layers - 1, -1: embedding,
                       n_layers: head */
    const char *op; /* only ops of this kind or tensor ("attention", "attn_q"); NULL: all */
} lk_check_options;
#define LK_CHECK_ALL (-2)
LK_API lk_check_options lk_check_options_default(void);

/* One line of the table. */
typedef struct lk_check_entry {
    char what[80];
    char how[160]; /* which side is held against which, on what input */
    lk_check_state state;
    uint64_t n_values, n_different;
    double error, bound; /* against the reference; bound 0: compared by bits */
    double seconds;
    char note[320]; /* why not run, what differs */
} lk_check_entry;

/* A kernel that wrote an op's values on the device. */
typedef struct lk_check_kernel {
    int column;                    /* the op's, of the report */
    int least_tokens, most_tokens; /* of the batches that it was seen with */
    char name[224];                /* "shader matvec_Q4_K_dot, constants 96 1 0 3" */
} lk_check_kernel;

/* The difference to the reference when the model is cut after `depth` layers. */
typedef struct lk_check_depth {
    int depth;
    lk_check_state bits; /* against the CPU, from the tokens on */
    double error, bound; /* CPU to reference; error < 0: not compared */
} lk_check_depth;

enum { LK_CHECK_SHOWN = 8 };

/* The first op that differs when all before it is equal. */
typedef struct lk_check_difference {
    char side[96], against[96]; /* what is wrong, and what says so */
    int layer;                  /* -1: embedding, n_layers: head */
    char op[16], tensor[96], type[16];
    char variant[256]; /* the kernel: shader and constants, or instruction set */
    char feed[96];     /* tokens it was seen with */
    bool fused;        /* only where ops are fused */
    uint64_t n_values, n_different;
    int n_shown;
    struct {
        uint64_t row, index; /* token of the batch, element of its row; K and V: 0 and 1, element of
                              * [block][head][64]: a position's scale and then its values */
        uint32_t found, expected; /* bits */
        double found_value, expected_value;
        uint64_t ulps;
    } shown[LK_CHECK_SHOWN];
    char pattern[160];  /* "every 32nd element from 5", "head 3", "all after position 64" */
    char vanishes[160]; /* what was switched off to make it vanish, in words; "": nothing does */
    char feature[32];   /* the Vulkan feature that makes it vanish, for lk_device_disable; "" */
    char message[256];  /* where the device gave an error instead of values */
} lk_check_difference;

/* Owned by the caller, freed by lk_check_free. */
typedef struct lk_check_report {
    lk_check_state verdict; /* EQUAL, WITHIN (an approximate device) or DIFFERS */
    char sentence[512];     /* the verdict in one line */
    bool quick;
    uint8_t fingerprint[32]; /* of the model */
    uint8_t weights[32];     /* lk_model_digest of the model */
    uint8_t logits[32];      /* SHA-256 of the CPU's rows of the prompt */
    int n_tokens, n_ctx, n_layers;
    bool has_device;
    lk_device_info device; /* the Vulkan device checked */
    char cpu[256];         /* the CPU's name and its levels */
    char no_device[512];   /* why no Vulkan device was checked */
    lk_check_entry *entries;
    size_t n_entries;
    lk_check_depth depths[24];
    int n_depths;
    /* Layers x ops: cell [layer + 1][column] with layer -1 .. n_layers. */
    char (*columns)[48];
    int n_columns;
    uint8_t *cells; /* lk_check_state */
    lk_check_kernel *kernels;
    size_t n_kernels;
    bool has_difference;
    lk_check_difference difference;
    double seconds;
} lk_check_report;

/* Compares by bits all backends and ways to run the model that this machine has, and the CPU with
 * the reference in double; on a difference, finds the first op that differs. The engine's options
 * choose device, context, features; "auto" without a GPU compares the CPU's levels.
 * LK_E_DEVICE: the device asked for can't be opened. A difference is no error. */
LK_API lk_status lk_check(const lk_model *model, const lk_engine_options *engine,
                          const lk_check_options *options, lk_check_report **out, lk_error *err);
LK_API void lk_check_free(lk_check_report **report);

/* ---- measuring ------------------------------------------------------------------------------ */

/* What evaluating one token costs, read off the plan: bytes of weights as the file holds them
 * (every matrix and vector once, one row of the embedding; not the KV cache) and multiply-adds of
 * the matrices. */
typedef struct lk_token_cost {
    uint64_t weight_bytes, mul_adds;
    uint64_t head_mul_adds; /* part of mul_adds: only where logits are wanted, so not in prefill; of
                               the head, and of the last layer behind what mixes tokens */
} lk_token_cost;
LK_API lk_token_cost lk_engine_token_cost(const lk_engine *engine);
/* CPU threads of decode and prefill where the engine's sessions open; 0 and 0: no such choice. */
LK_API void lk_engine_threads(const lk_engine *engine, int *decode, int *prefill);

/* Bytes of memory on this machine (a GPU's is not in it). What is resident after opening is the
 * weights, packed, and little else: the cache and the work area count once they are used. */
typedef struct lk_memory_use {
    uint64_t resident; /* of the whole process, now; 0: the system does not tell */
    uint64_t file;     /* the model's */
    uint64_t cache;    /* KV cache of all sessions */
    uint64_t work;     /* activations and rows of logits of a batch */
} lk_memory_use;
LK_API lk_memory_use lk_engine_memory(const lk_engine *engine);

/* How fast the engine's device reads n_bytes of its memory from end to end with the threads of
 * decode: bytes per second, the best of `passes` passes. Of several devices each reads its share of
 * a token's weights, one after the other. LK_E_UNSUPPORTED for a backend that can't tell. */
LK_API lk_status lk_engine_read_rate(lk_engine *engine, uint64_t n_bytes, int passes,
                                     double *bytes_per_second, lk_error *err);

/* Time per op. Between profile(true), which zeroes the times, and profile(false) every step is
 * timed, a device's by its own clock, the CPU's on every thread. LK_E_UNSUPPORTED for a backend
 * without it. */
typedef struct lk_op_time {
    const char *kind; /* "matmul", ...; "prepare": activations made ready for a matmul; "wait":
                         what lies between a device's steps, or threads waiting for each other */
    char name[96];    /* tensor without its layer, or "" */
    const char *type; /* of the tensor: "Q4_K", or "" */
    uint64_t calls;   /* by how many ops and batches */
    double seconds;   /* of a thread, mean over the threads: the rows sum up to wall time */
    uint64_t n_bytes; /* of weights read in all calls; 0 for an embedding */
} lk_op_time;
LK_API lk_status lk_engine_profile(lk_engine *engine, bool on, lk_error *err);
/* One row for each kind and tensor name, all layers together, in order of execution. */
LK_API lk_status lk_engine_op_times(lk_engine *engine,
                                    void (*each)(void *user, const lk_op_time *time), void *user,
                                    lk_error *err);

/* One entry of a backend's tables of matmul kernels: a made-up weight [rows][cols] of a type, by
 * one token with the threads of decode and by n_tokens with those of prefill. A Vulkan device is
 * timed by its own clock; its levels are "int-dot" and "baseline", its threads 0. */
typedef struct lk_kernel_time {
    const char *level, *type; /* "avx2", "Q4_K" */
    int64_t rows, cols;
    int n_tokens;
    int threads, threads_batch;
    double bytes_per_second; /* one token: weights as a file holds them */
    double ops_per_second;   /* n_tokens: multiplications and additions */
} lk_kernel_time;
/* The kernel that does most of the engine's work, alone, on the device of its last layers: at the
 * engine's level and threads, of the type of most of the model's multiply-adds. LK_E_UNSUPPORTED
 * for a backend that can't tell. */
LK_API lk_status lk_engine_time_kernel(lk_engine *engine, int n_tokens, lk_kernel_time *out,
                                       lk_error *err);
/* Of options (may be NULL) backend ("auto" is the CPU), threads, threads_batch, pin, cpu_level,
 * device, vk_disable and cache_dir count; cpu_level "auto" is every level that there is. `type`
 * names one type ("Q4_K"), LK_E_INVALID where there is none of that name; NULL is all of them.
 * `each` returning false cancels: LK_E_CANCELLED. */
LK_API lk_status lk_bench_kernels(const lk_engine_options *options, const char *type, int n_tokens,
                                  bool (*each)(void *user, const lk_kernel_time *time), void *user,
                                  lk_error *err);

#ifdef __cplusplus
}
#endif
#endif
