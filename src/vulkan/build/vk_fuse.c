/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse: see vk_fuse.h. The rules of each kind of op are in vk_fuse_*.c.
 */
#include "vulkan/build/vk_fuse.h"

#include "vulkan/build/vk_fuse_attention.h"
#include "vulkan/build/vk_fuse_matmul.h"
#include "vulkan/build/vk_fuse_rows.h"

/* The group that begins with op `i`. */
static void fuse_op(struct lk_vk_pass *p, int i)
{
    switch (p->plan->ops[i].kind) {
    case LK_OP_EMBED:
        lk_vk_fuse_plain(p, i,
                         p->plan->ops[i].u.embed.host ? LK_VK_GROUP_LOOKUP : LK_VK_GROUP_EMBED);
        break;
    case LK_OP_NORM:
        lk_vk_fuse_norm(p, i);
        break;
    case LK_OP_LAYER_NORM:
        lk_vk_fuse_norm(p, i);
        break;
    case LK_OP_MATMUL:
        lk_vk_fuse_matmul(p, i);
        break;
    case LK_OP_BIAS:
        lk_vk_fuse_bias(p, i);
        break;
    case LK_OP_ROPE:
        lk_vk_fuse_rope(p, i);
        break;
    case LK_OP_KV_STORE:
        lk_vk_fuse_store(p, i);
        break;
    case LK_OP_ATTENTION:
        lk_vk_fuse_attention(p, i);
        break;
    case LK_OP_GELU:
    case LK_OP_GLU:
        lk_vk_fuse_act(p, i);
        break;
    case LK_OP_ADD:
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_ADD);
        break;
    case LK_OP_SCALE:
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_SCALE);
        break;
    case LK_OP_GATHER:
        lk_vk_fuse_gather(p, i);
        break;
    case LK_OP_SOFTCAP:
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_SOFTCAP);
        break;
    case LK_OP_ROUTE:
        lk_vk_fuse_plain(p, i, LK_VK_GROUP_ROUTE);
        break;
    case LK_OP_EXPERTS:
        lk_vk_fuse_experts(p, i);
        break;
    case LK_OP_EXPERT_BIAS:
    case LK_OP_EXPERT_SCALE:
    case LK_OP_COMBINE:
        lk_vk_fuse_expert_rows(p, i);
        break;
    case LK_OP_GATE:
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_GATE);
        break;
    case LK_OP_HEADS:
        lk_vk_fuse_heads(p, i);
        break;
    case LK_OP_JOIN:
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_JOIN);
        break;
    case LK_OP_PICK:
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_PICK);
        break;
    case LK_OP_CONV:
        lk_vk_fuse_plain(p, i, LK_VK_GROUP_CONV);
        break;
    case LK_OP_L2_NORM:
        lk_vk_fuse_plain(p, i, LK_VK_GROUP_L2_NORM);
        break;
    case LK_OP_DELTA_GATES:
        lk_vk_fuse_gates(p, i);
        break;
    case LK_OP_DELTA:
        lk_vk_fuse_plain(p, i, LK_VK_GROUP_DELTA);
        break;
    case LK_OP_SSM:
        lk_vk_fuse_plain(p, i, LK_VK_GROUP_SSM);
        break;
    case LK_OP_KINDS:
        break;
    }
}

lk_status lk_vk_fuse(const struct lk_exec_options *o, enum lk_vk_list_kind list,
                     const struct lk_vk_facts *facts, struct lk_vk_groups *out, lk_error *err)
{
    *out = (struct lk_vk_groups){0};
    struct lk_vk_pass p = {.plan = o->plan,
                           .facts = facts,
                           .fuse = o->fuse && !o->keep_ops,
                           .few = list != LK_VK_MANY,
                           .groups = out,
                           .err = err};
    p.decode = p.fuse && list == LK_VK_DECODE;
    lk_status status = lk_vk_pass_open(&p);
    if (!status) {
        lk_vk_fuse_attention_ahead(&p);
    }
    for (int i = 0; i < o->plan->n_ops && !p.status; i++) {
        if (!p.taken[i]) {
            fuse_op(&p, i);
        }
    }
    status = p.status;
    lk_vk_pass_close(&p);
    return status;
}
