/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress: the bench of the registry's entries (tests/regress/REGISTRY.md): small models of made-up
 * weights, run on every way that there is (scalar, each level of this CPU, a Vulkan device when one
 * is named) and across (part of the tokens or layers on one, the rest on another), compared by
 * bits. It drives the seam itself, without engine and sessions, so that a difference has a place: a
 * layer, a head, a position, an element.
 *
 * A device is named by VK_DRIVER_FILES (the loader's driver; its first device is taken) or
 * LK_DEVICE (number or part of a name). LK_THREADS, LK_FUSE=0 and
 * LK_DISABLE (Vulkan features) vary the run. LOCKSTEP_DEBUG=1 prints what was compared;
 * what differs is printed always.
 */
#ifndef LK_TESTS_REGRESS_H
#define LK_TESTS_REGRESS_H

#include "backend/backend.h"
#include "tests/util/model_build.h"

struct rg_way {
    const char *name; /* "scalar", a level's name, "vulkan", "ref", "rounded" */
    const struct lk_backend_impl *impl;
    const char *level;
    bool is_device;
};
/* Scalar, then every level of this CPU, then the device; with a device only the best level. */
size_t rg_ways(const struct rg_way **out);
const struct rg_way *rg_scalar(void);
const struct rg_way *rg_vulkan(void);      /* NULL when none is named */
const struct rg_way *rg_ref(bool rounded); /* ideal mathematics, or rounded as the contract */
struct lk_backend *rg_backend(const struct rg_way *way); /* opened once per process */
/* Of lk_engine_options_default, with the way and the variables above. */
lk_engine_options rg_options(const struct rg_way *way, uint32_t n_ctx, uint32_t n_batch);

bool rg_debug_on(void);
void rg_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- models ---- */

/* 2 layers (gemma3: 7) of width 64, 4 heads of 32 over 2 KV heads, 96 tokens; fit for blocks of 32,
 * not for K-quants. */
struct model_params rg_small(const char *arch, enum lk_type type);

/* Changes a tensor's bytes before the model is opened; called for every tensor by name. */
typedef void (*rg_edit_fn)(void *user, const char *name, uint8_t *data, size_t n_bytes);
struct rg_model {
    char path[40];
    lk_model *model;
    struct lk_plan *plan;
};
void rg_model_open(struct rg_model *m, const struct model_params *p, rg_edit_fn edit, void *user);
void rg_model_close(struct rg_model *m);
/* The n-th op of a kind in a layer. */
const struct lk_op *rg_op(const struct lk_plan *plan, enum lk_op_kind kind, int layer, int n);

/* ---- chains: a model cut into parts, each on a way, over one sequence ---- */

enum { RG_PARTS = 8, RG_BLOCKS = 8 };
struct rg_chain {
    const struct rg_model *m;
    char name[96];
    int n_parts, n_ctx, n_batch, n_blocks;
    int32_t blocks[RG_BLOCKS]; /* not in order; block 0 is never used */
    struct {
        const struct rg_way *way;
        struct lk_plan *slice;
        struct lk_exec *exec;
        struct lk_state_mem *states;
        int last_layer;
    } part[RG_PARTS];
};
/* way[i] runs layers [cut[i - 1], cut[i]); cut has n_parts - 1 elements. n_ctx <= 448. With `keep`
 * values can be peeked. Dies on an error, except of prepare, which is returned. */
lk_status rg_open(struct rg_chain *c, const struct rg_model *m, const struct rg_way *const *way,
                  const int *cut, int n_parts, int n_ctx, int n_batch, bool keep, lk_error *err);
/* The whole model on one way. */
void rg_open_one(struct rg_chain *c, const struct rg_model *m, const struct rg_way *way, int n_ctx,
                 int n_batch);
void rg_close(struct rg_chain *c);
/* Tokens ids[0..n) at positions pos.. in batches of n_batch; rows [n][n_vocab]. */
lk_status rg_try(struct rg_chain *c, const int32_t *ids, int pos, int n, float *rows,
                 lk_error *err);
void rg_run(struct rg_chain *c, const int32_t *ids, int pos, int n, float *rows);
/* Values of a slot of the last batch of a chain of one part: malloc'd. */
float *rg_peek(struct rg_chain *c, int slot, size_t n);

/* A state of the plan (2 layer: K, 2 layer + 1: V) as the backend has it: malloc'd, *n bytes. */
uint8_t *rg_cache(struct rg_chain *c, int state, size_t *n);
void rg_cache_write(struct rg_chain *c, int state, const uint8_t *bytes);
/* Copies the cache of every layer, block by block of the tables. */
void rg_move(struct rg_chain *from, struct rg_chain *to);

/* Where dimension d of a position lies among the bytes of a state, by the layout as it is written,
 * not by the macros of kv_layout.h, which it checks: of a head
 *   K   [dim/4][64][4] upper 8 bits, then (cells of 12 bits) [dim/8][64][4] of which a byte holds
 *       the lower 4 bits of d in its lower half and of d + 4 in its upper one
 *   V   [64/4][dim][4]: four positions of a dimension are neighbours
 *   then [64] scales of four bytes. */
struct rg_cell {
    size_t high, low, scale; /* low is high where there is none */
    int shift;               /* of the lower bits in theirs */
};
struct rg_cell rg_cell(const struct rg_chain *c, int state, int block, int head, int slot, int d);
int rg_integer(const uint8_t *bytes, const struct rg_cell *at);
float rg_scale(const uint8_t *bytes, const struct rg_cell *at);
/* That integer and its scale, and nothing else. */
void rg_copy_cell(uint8_t *to, const uint8_t *from, const struct rg_cell *at);

/* ---- comparing by bits; each dies at the first difference, having printed where ---- */

void rg_same_rows(const char *what, const float *got, const float *want, size_t n_rows,
                  size_t width);
/* K and V of positions [0, n) of all layers, and every other byte of the buffers; guards. */
void rg_same_cache(const char *what, struct rg_chain *got, struct rg_chain *want, int n);

/* The cell of head h at a position stands for a row [head_dim], within half of what its integers
 * count in; dies otherwise. `bytes` are those of the state. */
void rg_same_row(const struct rg_chain *c, int state, int pos, int h, const uint8_t *bytes,
                 const float *row);

/* What most entries do, for a model and a number of tokens: on every way all tokens in one batch;
 * in batches of 7; `prefill` tokens and then one by one; prefill on one way and one by one on
 * the other, both directions with scalar and along the list of ways. Against scalar in one batch:
 * logits, K and V by bits, guards. */
void rg_everywhere(const struct model_params *p, rg_edit_fn edit, void *user, int n_tokens,
                   int prefill);

/* The largest difference of a row from the reference, over `n_tokens` rows of scalar in one batch,
 * in units of the row's standard deviation, and the root mean square of all differences. */
double rg_distance(const struct rg_model *m, int n_tokens, double *rms);

#endif
