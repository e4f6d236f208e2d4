/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_bench: plans made by hand, op by op, for a device and the scalar contract (vk_pair.h).
 */
#ifndef LK_TESTS_VK_BENCH_H
#define LK_TESTS_VK_BENCH_H

#include "tests/util/hand_plan.h"
#include "tests/vulkan/vk_pair.h"

/* Features to do without. "looped": the unrolled kernels of GPUs, on CPU drivers too.
 * "narrow,matrix": the tiles of matrix units with plain loops for the units. */
enum { VK_N_VARIANTS = 4 };
extern const char *const VK_VARIANTS[VK_N_VARIANTS];

/* A case over one input slot of `width`. */
struct vk_bench {
    struct vk_case c;
    struct hand_room room;
    float *hidden;
};

void vk_bench_begin(struct vk_bench *b, int width, int n_tokens, const char *what);
/* A slot, which becomes the plan's result. */
int vk_bench_slot(struct vk_bench *b, int width, enum lk_rows rows);
struct lk_op *vk_bench_op(struct vk_bench *b, enum lk_op_kind kind, int in0, int in1, int out,
                          int w);
int vk_bench_weight(struct vk_bench *b, enum lk_type type, int64_t rows, int64_t cols,
                    uint64_t seed);
/* The product of the hidden rows, cols wide, with a weight; its slot. */
int vk_bench_matmul(struct vk_bench *b, enum lk_type type, int rows, int cols, uint64_t seed);
/* The RMS norm of the hidden rows, n wide; its slot. */
int vk_bench_norm(struct vk_bench *b, int n, uint64_t seed);
void vk_bench_release(struct vk_bench *b);
/* Compares and releases. */
void vk_bench_end(struct vk_bench *b, const char *variant);

/* The variant whose tiles are wide: those of matrix units where there are some, else of what stands
 * for them. */
const char *vk_bench_wide(void);
/* The kernels that run op `i` of a case, as text, and that `want` is part of it. */
void vk_bench_kernels(const struct vk_bench *b, const char *disable, int i, char out[256]);
void vk_bench_expect_kernel(const struct vk_bench *b, const char *disable, int i, const char *want);

struct vk_heads {
    int n_head, n_kv_head, head_dim, n_dims, window;
    bool interleaved;
    float cap;
    bool bias, k_norm; /* k_norm: of v too; q has one */
    int k_bits;        /* of a cell of K; 0: LK_KV_K_BITS */
    int v_dim;         /* of a value; 0: head_dim */
};

/* q, k, v of a small hidden row, with bias, norm and rope, then the cache and attention. */
void vk_bench_attention(struct vk_bench *b, char what[160], const struct vk_heads *h, int n_tokens,
                        int n_seqs, int pos0);
void vk_attention_case(const struct vk_heads *h, int n_tokens, int n_seqs, int pos0,
                       const char *variant);

#endif
