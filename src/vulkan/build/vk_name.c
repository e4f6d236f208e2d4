/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_name: the kernel that writes an op's values, in words. Knows steps, never runs one.
 */
#include "vulkan/build/vk_name.h"

#include <stdio.h>

#include "vulkan/build/vk_list.h"
#include "vulkan/device/vk_shaders.h"

/* Whether a step leaves the values of op i: in its slot or state, or, the step being the op's own,
 * nowhere but in what is no slot: as activations, or as parts that another step folds. */
static bool writes(const struct lk_plan *plan, const struct lk_vk_step *s, int i)
{
    const struct lk_op *op = &plan->ops[i];
    bool own = s->n_ops > 0 && s->op[0] == i && !s->prepare, elsewhere = false;
    for (int k = 0; k < LK_VK_BINDINGS; k++) {
        const struct lk_vk_bind *b = &s->bind[k];
        bool piece = op->out >= 0 && b->kind == LK_VK_BIND_PIECE && b->index == op->out;
        bool state = op->kind == LK_OP_KV_STORE && b->kind == LK_VK_BIND_STATE &&
                     b->index == op->u.kv_store.k;
        if (b->write && (piece || state)) {
            return true;
        }
        own &= !b->write || (b->kind == LK_VK_BIND_PIECE && b->index >= plan->n_slots);
        elsewhere |= b->write;
    }
    return own && elsewhere;
}

/* Rows of a step in a batch of so many tokens, of which as many want logits as may. */
static uint32_t rows_of(const struct lk_exec *e, const struct lk_vk_step *s, int n_tokens)
{
    int outputs = n_tokens < e->o.max_outputs ? n_tokens : e->o.max_outputs;
    uint32_t rows = (uint32_t)lk_plan_rows(e->o.plan, n_tokens, outputs).n[s->rows] * s->times;
    return rows > 0 ? rows : 1;
}

void lk_vk_variant(const struct lk_exec *e, int i, int n_tokens, char *out, size_t n)
{
    int list = LK_VK_DECODE;
    size_t at = 0;
    while (list < LK_VK_MANY && n_tokens > e->list[list].max_tokens) {
        list++;
    }
    out[0] = 0;
    for (int k = 0; k < e->list[list].n_steps && at < n; k++) {
        const struct lk_vk_step *s = &e->list[list].steps[k];
        const struct lk_vk_pipe *pipe[2];
        int n_pipes = writes(e->o.plan, s, i)
                          ? lk_vk_step_pipes(&e->facts, s, rows_of(e, s, n_tokens), pipe)
                          : 0;
        for (int p = 0; p < n_pipes && at < n; p++) {
            at += (size_t)snprintf(out + at, n - at, "%sshader %s, constants %u %u %u %u",
                                   at ? "; " : "", pipe[p]->shader->name, pipe[p]->spec[0],
                                   pipe[p]->spec[1], pipe[p]->spec[2], pipe[p]->spec[3]);
        }
    }
}
