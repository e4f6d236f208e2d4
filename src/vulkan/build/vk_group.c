/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_group: see vk_group.h.
 */
#include "vulkan/build/vk_group.h"

#include <limits.h>

#include "base/mem.h"

void lk_vk_groups_free(struct lk_vk_groups *groups)
{
    lk_free(groups->group);
    *groups = (struct lk_vk_groups){0};
}

uint32_t lk_vk_form_of(enum lk_type type)
{
    static const uint32_t FORMS[LK_ACTS_KINDS] = {
        [LK_ACTS_Q32] = LK_VK_X_Q32, [LK_ACTS_Q256] = LK_VK_X_Q256, [LK_ACTS_F32] = LK_VK_X_F32,
        [LK_ACTS_R13] = LK_VK_X_R13, [LK_ACTS_R16] = LK_VK_X_R16,
    };
    return FORMS[lk_type_info((uint32_t)type)->acts];
}

bool lk_vk_form_is_plain(const struct lk_plan *plan, int slot, uint32_t form)
{
    return form == LK_VK_X_F32 && plan->slots[slot].width % 4 == 0;
}

int lk_vk_next_staged(const struct lk_plan *plan, int slot)
{
    int next = INT_MAX;
    if (plan->in_slot > slot) {
        next = plan->in_slot;
    }
    for (int i = 0; i < plan->n_ops && plan->ops[i].kind == LK_OP_EMBED; i++) {
        const struct lk_op *op = &plan->ops[i];
        next = op->u.embed.host && op->out > slot && op->out < next ? op->out : next;
    }
    return next < INT_MAX ? next : -1;
}
