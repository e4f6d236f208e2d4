/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_builder: a list of steps under construction: what vk_ops.c (ops -> steps) and vk_decode.c
 * (steps of a single token) share.
 */
#ifndef LK_VK_BUILDER_H
#define LK_VK_BUILDER_H

#include "vulkan/build/vk_exec.h"

/* A slot's place in the arena. */
struct lk_vk_home {
    int piece;
    uint32_t at; /* bytes */
};

/* Attention of one token with what stands in front of it: bias, norm, rope of q and k, bias of v,
 * and the store of k and v. Op indices; -1: not there. */
struct lk_vk_solo {
    int in[3]; /* slots: q, k, v as the matmuls leave them */
    int bias[3], norm[2], rope[2];
    int store;
};

/* A list under construction; the first failure stays and later calls do nothing. */
struct lk_vk_builder {
    struct lk_exec *e;
    struct lk_vk_list *list;
    const struct lk_plan *plan;
    int *uses;     /* [n_slots] how many ops read it */
    int *producer; /* [n_slots] op that writes it, or -1 */
    int *x_piece;  /* [n_slots][LK_ACTS_KINDS] activation buffer by kind, or -1 */
    int *norm_of;  /* [n_slots] norm op that the matmuls reading the slot do themselves, or -1 */
    struct lk_vk_home *home; /* [n_slots] where the slot lies */
    struct lk_vk_solo *solo; /* [n_ops] of attention ops that are one step, else head_dim 0 */
    bool *done;              /* [n_ops] emitted already, as part of another step */
    bool fuse;
    bool small; /* split attention, mat-vecs */
    bool one;   /* a single token, fused */
    int op;     /* being emitted */
    lk_status status;
    lk_error *err;
};

/* A piece of the arena; its index. */
int lk_vk_add_piece(struct lk_vk_builder *b, VkDeviceSize bytes, const char *what);
/* The next step, with its grid; a sink after a failure. */
struct lk_vk_step *lk_vk_add_step(struct lk_vk_builder *b, enum lk_rows rows, enum lk_vk_grid grid,
                                  uint32_t x);
void lk_vk_set_pipe(struct lk_vk_builder *b, struct lk_vk_step *s, int variant, const char *shader,
                    uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3);
void lk_vk_set_push(struct lk_vk_step *s, const void *push, size_t n);
void lk_vk_bind(struct lk_vk_step *s, int at, enum lk_vk_bind_kind kind, int index, bool write);
/* Multiply-adds of a token's attention at the end of the context. */
uint64_t lk_vk_attention_work(const struct lk_vk_builder *b, const struct lk_op *op);
/* Word offset of a vector in the store's block of vectors. */
uint32_t lk_vk_vector(struct lk_vk_builder *b, int weight);
/* Index of such a dispatch among those of the list. */
int lk_vk_attn_index(struct lk_vk_builder *b, const struct lk_vk_attn *attn);

/* ---- one token (vk_decode.c) ---- */

/* Finds the attention ops that can be one step and marks what goes into them as done. */
void lk_vk_find_solo(struct lk_vk_builder *b);
/* The step of such an op, with `rows` query heads a workgroup, in dispatch `attn` of the list. */
void lk_vk_solo_attention(struct lk_vk_builder *b, int i, uint32_t rows, uint32_t head_tiles,
                          uint32_t attn);

#endif
