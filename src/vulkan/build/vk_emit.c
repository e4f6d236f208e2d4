/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit: see vk_emit.h. The steps of each kind of group are in vk_emit_*.c.
 */
#include "vulkan/build/vk_emit.h"

#include "base/mem.h"
#include "vulkan/build/vk_emit_attention.h"
#include "vulkan/build/vk_emit_experts.h"
#include "vulkan/build/vk_emit_matmul.h"
#include "vulkan/build/vk_emit_recurrent.h"
#include "vulkan/build/vk_emit_rows.h"

/* Gives what a group reads places side by side, each at a multiple of LK_VK_ALIGN. */
static void lay_beside(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    uint32_t at = 0;
    for (int k = 0; k < g->n_in; k++) {
        b->home[g->in[k].slot].at = at;
        at += (uint32_t)lk_round_up((size_t)lk_vk_width(b, g->in[k].slot) * 4, LK_VK_ALIGN);
    }
    int piece = lk_vk_add_piece(b, at, "q, k and v of a token");
    for (int k = 0; k < g->n_in; k++) {
        b->home[g->in[k].slot].piece = piece;
    }
}

static void emit_group(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    switch (g->kind) {
    case LK_VK_GROUP_EMBED:
        lk_vk_emit_embed(b, g);
        break;
    case LK_VK_GROUP_LOOKUP: /* vk_batch.c writes its rows, vk_list.c brings them in */
        break;
    case LK_VK_GROUP_NORM:
        lk_vk_emit_norm(b, g);
        break;
    case LK_VK_GROUP_QUANTIZE:
        lk_vk_emit_quantize(b, g);
        break;
    case LK_VK_GROUP_MATMUL:
        lk_vk_emit_matmul(b, g);
        break;
    case LK_VK_GROUP_ROPE:
        lk_vk_emit_rope(b, g);
        break;
    case LK_VK_GROUP_KV_STORE:
        lk_vk_emit_kv_store(b, g);
        break;
    case LK_VK_GROUP_ATTENTION:
        lk_vk_emit_attention(b, g);
        break;
    case LK_VK_GROUP_ATTENTION_DECODE:
        lk_vk_emit_attention_decode(b, g);
        break;
    case LK_VK_GROUP_ELEMENTWISE:
        lk_vk_emit_elementwise(b, g);
        break;
    case LK_VK_GROUP_GATHER:
        lk_vk_emit_gather(b, g);
        break;
    case LK_VK_GROUP_NAME:
        b->list->pieces[g->out[0].slot].same = g->in[0].slot;
        break;
    case LK_VK_GROUP_ROUTE:
        lk_vk_emit_route(b, g);
        break;
    case LK_VK_GROUP_EXPERTS:
        lk_vk_emit_experts(b, g);
        break;
    case LK_VK_GROUP_HEADS:
        lk_vk_emit_heads(b, g);
        break;
    case LK_VK_GROUP_CONV:
        lk_vk_emit_conv(b, g);
        break;
    case LK_VK_GROUP_L2_NORM:
        lk_vk_emit_l2_norm(b, g);
        break;
    case LK_VK_GROUP_DELTA_GATES:
        lk_vk_emit_delta_gates(b, g);
        break;
    case LK_VK_GROUP_DELTA:
        lk_vk_emit_delta(b, g);
        break;
    case LK_VK_GROUP_SSM:
        lk_vk_emit_ssm(b, g);
        break;
    case LK_VK_GROUP_EXPERT_ROWS:
        lk_vk_emit_expert_rows(b, g);
        break;
    }
}

void lk_vk_emit(struct lk_vk_builder *b, const struct lk_vk_groups *groups)
{
    for (int i = 0; i < groups->n && !b->status; i++) {
        if (groups->group[i].in_beside) {
            lay_beside(b, &groups->group[i]);
        }
    }
    for (int i = 0; i < groups->n && !b->status; i++) {
        b->op = groups->group[i].lead;
        emit_group(b, &groups->group[i]);
    }
}
