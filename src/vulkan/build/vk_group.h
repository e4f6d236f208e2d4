/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_group: the work of one kernel in terms of a plan: the ops it carries out, the slots it reads
 * and writes, and in which form. Owns the description and what follows from a plan alone; vk_fuse.c
 * decides which groups there are, vk_emit.c turns each into steps. Knows no device.
 */
#ifndef LK_VK_GROUP_H
#define LK_VK_GROUP_H

#include "plan/plan.h"
#include "shaders/params.h"

/* What a list of steps is for: batches of one token; of as many as mat-vecs and split attention
 * take; any. */
enum lk_vk_list_kind { LK_VK_DECODE, LK_VK_FEW, LK_VK_MANY, LK_VK_LISTS };
enum {
    LK_VK_ALL_LISTS = (1 << LK_VK_LISTS) - 1,
    LK_VK_NOT_FEW = LK_VK_ALL_LISTS - (1 << LK_VK_FEW)
};

/* A new kind needs a rule that makes it (vk_fuse_*.c) and an emitter (vk_emit_*.c). */
enum lk_vk_group_kind {
    LK_VK_GROUP_EMBED,
    LK_VK_GROUP_LOOKUP,   /* rows of a table that come with the batch: no kernel */
    LK_VK_GROUP_NORM,     /* a norm; then the add of a residual, a GLU, or quantization */
    LK_VK_GROUP_QUANTIZE, /* in[0], or the GLU of in[0] and in[1], as matmuls take it */
    LK_VK_GROUP_MATMUL,   /* one to three matmuls of the same input, what stands in front of them
                             and what is done with their results */
    LK_VK_GROUP_ROPE,
    LK_VK_GROUP_KV_STORE, /* and the rope of K in front */
    LK_VK_GROUP_ATTENTION,
    LK_VK_GROUP_ATTENTION_DECODE, /* all between the matmuls of q, k and v and attention's result */
    LK_VK_GROUP_ELEMENTWISE,      /* and adds of what it makes to residuals */
    LK_VK_GROUP_GATHER,
    LK_VK_GROUP_NAME, /* decode's gather, of the row there is, which gets another name: no kernel */
    LK_VK_GROUP_ROUTE,
    LK_VK_GROUP_EXPERTS, /* products of one matrix of each expert, or of gate and up and their GLU
                          */
    LK_VK_GROUP_HEADS,   /* products by head, and their input made ready */
    LK_VK_GROUP_CONV,
    LK_VK_GROUP_L2_NORM,
    LK_VK_GROUP_DELTA_GATES, /* a bias in front of them */
    LK_VK_GROUP_DELTA,
    LK_VK_GROUP_SSM,
    LK_VK_GROUP_EXPERT_ROWS, /* a bias of experts; or the rows of a token combined, and an add */
};

enum { LK_VK_PLAIN = -1 }; /* a form: rows of f32 as the plan has them */
/* Rows that a group reads or writes. */
struct lk_vk_rows {
    int slot;
    int form; /* LK_VK_PLAIN, or how a matmul takes them: LK_VK_X_... (params.h) */
};

enum {
    LK_VK_GROUP_OPS = 11, /* pick of q, bias and norm of q, k and v, rope of q and k, store,
                             attention */
    LK_VK_GROUP_ROWS = 3,
    LK_VK_GROUP_IN = 4 /* a gate's two, and two residuals */
};

struct lk_vk_group {
    enum lk_vk_group_kind kind;
    int lead;                /* op whose operands name the kernel's and which its time counts for */
    int op[LK_VK_GROUP_OPS]; /* ops it carries out, rising; none: it makes lead's input ready */
    int n_ops;
    struct lk_vk_rows in[LK_VK_GROUP_IN], out[LK_VK_GROUP_ROWS];
    int n_in, n_out;
    bool in_beside; /* in[] lie side by side in one piece of memory, which only picks read too */
    union {
        struct {
            int next;         /* op of the add or GLU with in[1], or -1 */
            uint32_t by_next; /* LK_VK_NORM_..., or 0 */
        } norm;
        struct {
            uint32_t act; /* LK_VK_ELT_SILU, ...; 0: rows as they are */
        } quantize;
        struct {
            int part[LK_VK_GROUP_ROWS]; /* matmuls whose weights lie together */
            int n_parts;
            uint32_t epilogue; /* LK_VK_EPI_... */
            int next;          /* op of the epilogue: the add of in[1], or the GLU; -1 */
            uint32_t prep;     /* LK_VK_PREP_...: what every workgroup does to in[0] first */
            int norm;          /* op of LK_VK_PREP_NORM, or -1 */
        } matmul;
        struct {
            int part[2]; /* ops whose weights lie together: gate and up, or one */
            int n_parts;
            int which;         /* of them, where the epilogue does not take both */
            uint32_t epilogue; /* LK_VK_EPI_STORE or a GLU */
            int next;          /* op of the GLU, or -1 */
            uint32_t prep;     /* LK_VK_PREP_NONE or _QUANT: what every workgroup does to in[0] */
        } experts;
        struct {
            uint32_t prep; /* the same */
        } heads;
        struct {
            int add; /* op of the residual in[2], or -1 */
        } expert_rows;
        struct {
            int rope; /* of K, in front; -1: none */
        } store;
        struct {
            bool split; /* one workgroup for each chunk of keys; another step folds them */
        } attention;
        struct {
            int bias[3], norm[3], rope[2]; /* ops of q, k and v, of q and k; -1: none */
            int pick;                      /* of q out of rows with its gate, or -1 */
            int store;
        } decode;
        struct {
            uint32_t kind;           /* LK_VK_ELT_... */
            int add[LK_VK_ELT_ADDS]; /* ops of residuals, the last of in[] */
            int n_adds;
        } elementwise;
        struct {
            int bias; /* op in front, or -1 */
        } gates;
    } u;
};

struct lk_vk_groups {
    struct lk_vk_group *group; /* owned; in order of execution */
    int n;
};
void lk_vk_groups_free(struct lk_vk_groups *groups);

/* Slots whose rows come with a batch, from the host: hidden rows handed in and rows looked up. The
 * first one behind `slot`; -1: none. */
int lk_vk_next_staged(const struct lk_plan *plan, int slot);

/* The form in which a matmul with weights of a type takes its input. */
uint32_t lk_vk_form_of(enum lk_type type);
/* Whether that is the slot itself: f32 rows of whole uvec4s. */
bool lk_vk_form_is_plain(const struct lk_plan *plan, int slot, uint32_t form);

#endif
