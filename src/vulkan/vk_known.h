/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_known: whole kernels on a small made-up plan whose answers are known: a matmul of each of some
 * quantized types and an attention over 130 keys with a window, as a batch (tiled matmuls) and as
 * one more token in decode (mat-vecs); on request an attention of large heads, whose kernel of
 * matrices shares rows among subgroups, and one whose outputs leave as activations. The answers are
 * hashes of what the scalar contract gives.
 */
#ifndef LK_VK_KNOWN_H
#define LK_VK_KNOWN_H

#include "backend/backend.h"

enum {
    LK_VK_KNOWN_ATTENTION,
    LK_VK_KNOWN_LARGE_HEADS,
    LK_VK_KNOWN_OUTPUTS, /* the matmul behind attention */
    LK_VK_KNOWN_MATMULS, /* of Q8_0, wide; those of each quantized type follow */
    LK_VK_KNOWN_CHECKS = LK_VK_KNOWN_MATMULS + 1 + LK_N_QUANTIZED_TYPES
};
/* Three times q, k, v, store and attention stand before the matmuls, a slot of the rows before all.
 */
enum { LK_VK_KNOWN_OPS = 3 * 5 + 1 + LK_VK_KNOWN_CHECKS };
enum { LK_VK_KNOWN_BATCH, LK_VK_KNOWN_DECODE, LK_VK_KNOWN_RUNS };

/* By run and check. */
extern const uint64_t LK_VK_KNOWN[LK_VK_KNOWN_RUNS][LK_VK_KNOWN_CHECKS];

struct lk_vk_known {
    struct lk_plan plan;
    struct lk_op ops[LK_VK_KNOWN_OPS];
    struct lk_slot slots[LK_VK_KNOWN_OPS];
    struct lk_weight weights[LK_VK_KNOWN_OPS];
    struct lk_exec_options options;
    struct lk_state states[6];
    struct lk_state_geom geom;
    int slot[LK_VK_KNOWN_CHECKS]; /* that a check looks at; -1: it is left out */
    float *hidden, *out;          /* owned, as are the weights' data */
    int32_t *pos, *seq;           /* owned */
    struct lk_batch_seq batch_seq;
};
/* Makes the plan, its weights and rows, with matmuls of these types (lk_type_bit), and with all
 * attentions or the first. */
lk_status lk_vk_known_open(struct lk_vk_known *k, uint64_t types, bool all, lk_error *err);
void lk_vk_known_close(struct lk_vk_known *k);
/* The batch of a run; valid until the next call. */
struct lk_batch lk_vk_known_batch(struct lk_vk_known *k, int run);
/* Floats that a check looks at, and the hash of them. */
size_t lk_vk_known_floats(const struct lk_vk_known *k, int run, int check);
uint64_t lk_vk_known_hash(const float *x, size_t n);
/* "tiled matmul of Q4_K", "attention of decode" */
void lk_vk_known_name(const struct lk_vk_known *k, int run, int check, char *out, size_t n);

#endif
