/* SPDX-License-Identifier: Apache-2.0
 *
 * Cpu_exec: what cpu/backend_cpu.c (the backend's table, prepare), cpu/cpu_weights.c (packed
 * weights), cpu/steps.c (a plan compiled to steps and run by threads) and cpu/cpu_attention.c
 * share.
 *
 * All threads walk the same steps. A step's work is cut in one of three ways, and threads meet at
 * a barrier where the cut changes:
 *   tokens   each thread has some rows of the batch
 *   columns  each thread has some groups of 16 output columns of every row
 *   claims   matmuls: groups of 16 columns go to whoever is free; in decode, as columns
 *   heads    attention: units of (KV head, tokens); states: units of (sequence, head, columns);
 *            products by head: groups of 16 columns of all heads
 *   none     one thread does it
 * In decode, a batch of one token, the work cut by tokens is done by every thread on memory of its
 * own: cheaper than to wait for each other.
 */
#ifndef LK_CPU_EXEC_H
#define LK_CPU_EXEC_H

#include "cpu/host_state.h"
#include "cpu/matmul.h"
#include "cpu/pool.h"
#include "cpu/vec.h"
#include "backend/backend.h"
#include "base/mem.h"
#include "base/os.h"

struct lk_backend {
    struct lk_log log;
    enum lk_cpu_level level;
    const struct lk_vec_kernels *vec;
    struct lk_pool *pool;
    int threads, threads_batch;
    const struct lk_pack_home *pack; /* NULL: packed weights stay in memory */
    lk_progress_fn progress;
    void *progress_user;
};

/* Whether the op's weight is multiplied in its packed form. */
static inline bool lk_cpu_is_packed(const struct lk_op *op)
{
    return lk_is_product(op);
}

enum lk_cut { LK_CUT_TOKENS, LK_CUT_COLUMNS, LK_CUT_CLAIMS, LK_CUT_HEADS, LK_CUT_NONE };

struct lk_step {
    int op;      /* index into the plan */
    int prepare; /* enum lk_type: prepares the op's input for weights of the type's kind;
                    -1: the op itself */
    bool group;  /* puts the rows that go to experts in the order of these, before op */
    enum lk_cut cut;
    bool barrier;        /* before the step, in a batch of many tokens */
    bool barrier_decode; /* the same in decode */
};

/* Memory of activations for one way of running. */
struct lk_act_memory {
    size_t *offset; /* [n_slots], floats */
    float *shared;
    float **of_thread;                  /* [threads]: slots cut by tokens, decode only */
    struct lk_acts acts[LK_ACTS_KINDS]; /* by enum lk_acts_kind; data NULL when unused */
    struct lk_acts (*acts_of_thread)[LK_ACTS_KINDS]; /* [threads], decode only */
};

/* The routed rows of a batch of many tokens by their experts: order[first[x]] .. order[first[x + 1]
 * - 1] are those of expert x, rising. */
struct lk_expert_rows {
    int *order; /* [most routed rows] */
    int first[LK_MAX_EXPERTS + 1];
};
enum { LK_EXPERT_TILE = 64 }; /* rows of an expert that are multiplied at once */

struct lk_attn_work {  /* of one thread */
    int16_t *q, *wide; /* as in struct lk_attn_chunk */
    float *o, *o_c, *q_scale, *l, *l_c;
    int32_t *n, *n_c;
    int8_t *from, *to;
};

struct lk_exec {
    struct lk_exec_options o;
    struct lk_backend *backend;
    struct lk_step *steps;
    int n_steps;
    struct lk_packed *packed;      /* [n_weights]; data NULL unless a matmul uses it; of experts the
                                      first, the others follow it */
    size_t *packed_bytes;          /* [n_weights] */
    struct lk_map *packed_map;     /* [n_weights]: of the file that data lies in; or all zero */
    const struct lk_packed *embed; /* the embedding, where a matmul has the same tensor; or NULL */
    int embed_weight;              /* of the plan: whose rows these are */
    bool *cut_by_tokens;           /* [n_slots]: written by a step cut by tokens */
    _Atomic int64_t *claimed;      /* [n_ops]: groups of columns that threads of this run have */
    struct lk_act_memory many, decode;
    struct lk_arena arena;
    float *cs; /* [n_ropes][max_tokens][cs_width] */
    size_t cs_width;
    struct lk_attn_work *attn; /* [threads] */
    float *part_o, *part_l; /* decode: [n_head][max_blocks][dim], [n_head][max_blocks]; most of all
                               the plan's attentions */
    int32_t *part_n;
    struct lk_expert_rows experts;
    float **expert_out;          /* [threads]: [LK_EXPERT_TILE][widest share of an expert's rows] */
    int *bad;                    /* [threads]: first op out of range, or -1 */
    struct lk_op_seconds *times; /* [threads][n_ops] while ops are timed, else NULL */

    struct lk_row_counts rows; /* of the last run, for peek: its batch may be gone */

    /* Of the run in progress. */
    const struct lk_batch *batch;
    struct lk_state_mem *states;
    bool is_decode;
};

/* cpu/cpu_weights.c: the weights of the exec's matmuls in their packed form, in memory or mapped;
 * all other weights are checked. */
lk_status lk_cpu_pack_weights(struct lk_exec *e, lk_error *err);
void lk_cpu_free_weights(struct lk_exec *e);

/* cpu/steps.c */
lk_status lk_cpu_compile(struct lk_exec *e, lk_error *err);
/* Epoch of each op, for lk_plan_layout. epoch has n_ops. */
void lk_cpu_epochs(const struct lk_exec *e, bool decode, int *epoch);
void lk_cpu_run_steps(void *exec, int thread, int n_threads);
/* Fills the rope tables of tokens [first, last) of the batch. */
void lk_cpu_rope_tables(const struct lk_exec *e, int first, int last);
float *lk_cpu_slot(const struct lk_exec *e, int thread, int slot);

/* cpu/measure.c: see struct lk_backend_impl. */
lk_status lk_cpu_read_rate(struct lk_backend *backend, uint64_t n_bytes, int passes,
                           double *bytes_per_second, lk_error *err);
lk_status lk_cpu_time_kernels(struct lk_backend *backend, bool all_levels, const char *type,
                              int n_tokens, lk_kernel_fn each, void *user, lk_error *err);
lk_status lk_cpu_profile(struct lk_exec *exec, bool on, lk_error *err);
void lk_cpu_op_seconds(const struct lk_exec *exec, int op, struct lk_op_seconds *out);

/* cpu/cpu_attention.c: the thread's share of an attention op. */
bool lk_cpu_attention(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads);
/* Tokens of an attention unit with `group` query heads a KV head; rows of queries of a unit. */
int lk_cpu_attention_tile(int group);

/* cpu/cpu_experts.c: ops of experts. */
void lk_cpu_group_experts(struct lk_exec *e, const struct lk_op *op);
/* Rows for the matrices of `op`, prepared in the order of their experts; in decode as they come. */
void lk_cpu_prepare_experts(const struct lk_exec *e, const struct lk_op *op, struct lk_acts acts,
                            int thread, int n_threads);
bool lk_cpu_experts(const struct lk_exec *e, const struct lk_op *op, struct lk_acts acts,
                    int thread, int n_threads);
/* HEADS: acts are the rows of all heads, prepared for one. */
bool lk_cpu_heads(const struct lk_exec *e, const struct lk_op *op, struct lk_acts acts, int thread,
                  int n_threads);
/* Columns [first, last) of EXPERT_BIAS or EXPERT_SCALE. */
bool lk_cpu_expert_rows(const struct lk_exec *e, const struct lk_op *op, int thread, int first,
                        int last);
/* Rows [first, last) of COMBINE. */
bool lk_cpu_combine(const struct lk_exec *e, const struct lk_op *op, int thread, int first,
                    int last);
/* cpu/cpu_recurrent.c: ops of layers with a state: a row of PICK, JOIN, L2_NORM or DELTA_GATES;
 * columns [first, last) of CONV; the thread's share of DELTA. */
bool lk_cpu_recurrent_row(const struct lk_exec *e, const struct lk_op *op, int thread, int row);
bool lk_cpu_conv(const struct lk_exec *e, const struct lk_op *op, int thread, int first, int last);
/* DELTA, SSM */
bool lk_cpu_scan(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads);
/* The packed matrix of an expert or head, of an ordinary weight expert 0. */
struct lk_packed lk_cpu_packed_expert(const struct lk_exec *e, int weight, int expert);

static inline int lk_share(int n, int i, int of)
{
    return (int)((int64_t)n * i / of);
}

#endif
