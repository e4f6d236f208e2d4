/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pass: the state of a fusion pass and what its rules ask: who reads and makes a slot, which ops
 * are taken, which forms of a slot are there already. Decides nothing; vk_fuse.c runs the pass.
 */
#ifndef LK_VK_PASS_H
#define LK_VK_PASS_H

#include "vulkan/build/vk_facts.h"
#include "vulkan/build/vk_group.h"

/* The first failure stays and later calls do nothing. */
struct lk_vk_pass {
    const struct lk_plan *plan;
    const struct lk_vk_facts *facts;
    bool fuse;
    bool decode;   /* the list of decode, fused */
    bool few;      /* a list that runs mat-vecs and split attention alone */
    int *uses;     /* [n_slots] how many operands it is */
    int *producer; /* [n_slots] op that writes it, or -1 */
    int *norm_of;  /* [n_slots] norm that the matmuls reading the slot do themselves, or -1 */
    bool *ready;   /* [n_slots][LK_ACTS_KINDS] a group makes the slot in that form */
    bool *taken;   /* [n_ops] some group carries it out */
    struct lk_vk_groups *groups;
    size_t cap;
    struct lk_vk_group sink; /* what a group is written to after a failure; never read */
    lk_status status;
    lk_error *err;
};

lk_status lk_vk_pass_open(struct lk_vk_pass *pass);
void lk_vk_pass_close(struct lk_vk_pass *pass);

/* ---- groups ---- */

/* The next group, led by an op, which is taken and may be covered by the group or not. Valid until
 * the next one. */
struct lk_vk_group *lk_vk_pass_add(struct lk_vk_pass *pass, enum lk_vk_group_kind kind, int lead);
/* The group carries out an op too (-1: nothing), which is taken from here on. */
void lk_vk_pass_cover(struct lk_vk_pass *pass, struct lk_vk_group *group, int op);
void lk_vk_pass_in(struct lk_vk_group *group, int slot, int form);
void lk_vk_pass_out(struct lk_vk_pass *pass, struct lk_vk_group *group, int slot, int form);

/* ---- questions ---- */

/* The op that is the only reader of a slot, when it is of `kind` and not taken; else -1. */
int lk_vk_pass_sole_reader(const struct lk_vk_pass *pass, int slot, enum lk_op_kind kind);
/* The one form in which all readers of a slot want it, when all are matmuls; else -1. */
int lk_vk_pass_only_form(const struct lk_vk_pass *pass, int slot);
/* The add of a residual that op `i` can do with its own result; else -1. The residual is in *other.
 */
int lk_vk_pass_add_of(const struct lk_vk_pass *pass, int i, int *other);
/* Whether a mat-vec of decode prepares its own input, in all workgroups anew; n_parts: weights
 * that a workgroup reads together. */
bool lk_vk_pass_can_prepare(const struct lk_vk_pass *pass, const struct lk_weight *w,
                            uint32_t n_parts);

#endif
