/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_recurrent: see vk_emit_recurrent.h. Who walks the tokens of a sequence is dispatched for
 * as many sequences as there can be; those that a batch does not have end at once.
 */
#include "vulkan/build/vk_emit_recurrent.h"

#include "base/numerics.h"

_Static_assert(LK_VK_MAX_DELTA_DIM == LK_MAX_DELTA_DIM && LK_VK_DELTA_CHAINS == LK_DELTA_CHAINS,
               "shaders have the bounds of the plan");

/* A step with x workgroups for each sequence. */
static struct lk_vk_step *step_of_seqs(struct lk_vk_builder *b, uint32_t x)
{
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_SEQS, x);
    s->y = (uint32_t)b->e->o.max_seqs;
    return s;
}

/* Outputs of a convolution, what its state keeps, or both. */
static void conv_step(struct lk_vk_builder *b, const struct lk_vk_group *g, uint32_t parts)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t width = lk_vk_width(b, op->out), x = (width + 127) / 128;
    bool outputs = parts & LK_VK_CONV_OUTPUTS, keep = parts & LK_VK_CONV_KEEP;
    parts |= outputs && op->u.conv.bias ? LK_VK_CONV_BIAS : 0;
    struct lk_vk_step *s =
        outputs ? lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, x) : step_of_seqs(b, x);
    lk_vk_set_pipe(b, s, 0, "conv", parts, op->u.conv.silu, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    if (outputs) {
        lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    }
    lk_vk_bind(s, 3, LK_VK_BIND_STATE, op->u.conv.state, keep);
    lk_vk_bind(s, 4, LK_VK_BIND_BATCH, 0, false);
    struct lk_vk_conv_push push = {.width = width,
                                   .taps = (uint32_t)op->u.conv.taps,
                                   .seq = b->e->at.seq,
                                   .seqs = b->e->at.seqs,
                                   .n_seqs = b->e->at.n_seqs,
                                   .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_conv(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    lk_vk_vector(b, b->plan->ops[g->lead].weight);
    if (b->kind == LK_VK_DECODE) {
        conv_step(b, g, LK_VK_CONV_OUTPUTS | LK_VK_CONV_KEEP);
    } else { /* other tokens read the state that is there before it changes */
        conv_step(b, g, LK_VK_CONV_OUTPUTS);
        conv_step(b, g, LK_VK_CONV_KEEP);
    }
}

void lk_vk_emit_l2_norm(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t width = lk_vk_width(b, op->out), group = (uint32_t)op->u.l2_norm.group;
    uint32_t n_groups = (uint32_t)op->u.l2_norm.n_groups, rest = width - n_groups * group;
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS,
                                          n_groups + (rest + LK_VK_COPIED - 1) / LK_VK_COPIED);
    lk_vk_set_pipe(b, s, 0, "l2_norm", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    struct lk_vk_l2_push push = {.width = width,
                                 .group = group,
                                 .n_groups = n_groups,
                                 .eps = lk_bits(op->u.l2_norm.eps),
                                 .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_delta_gates(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t n = lk_vk_width(b, g->in[0].slot);
    bool alone = op->n_in == 1;
    lk_vk_vector(b, op->weight);
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, (n + 127) / 128);
    int bias = g->u.gates.bias;
    lk_vk_set_pipe(b, s, 0, "delta_gates", bias >= 0, alone, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    if (!alone) {
        lk_vk_bind(s, 3, LK_VK_BIND_PIECE, g->in[1].slot, false);
    }
    struct lk_vk_gates_push push = {.n_head = n, .op = (uint32_t)g->lead};
    if (bias >= 0) {
        int weight = b->plan->ops[bias].weight;
        lk_vk_vector(b, weight);
        lk_vk_bind(s, 4, LK_VK_BIND_VECTOR, weight, false);
        push.op_bias = (uint32_t)bias;
    }
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_delta(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t n_head = (uint32_t)op->u.delta.n_head, v_dim = (uint32_t)op->u.delta.v_dim;
    struct lk_vk_step *s =
        step_of_seqs(b, n_head * ((v_dim + LK_VK_DELTA_COLUMNS - 1) / LK_VK_DELTA_COLUMNS));
    s->work = 3 * (uint64_t)n_head * v_dim * (uint64_t)op->u.delta.k_dim;
    lk_vk_set_pipe(b, s, 0, b->facts->looped ? "delta" : "delta_gpu", (uint32_t)op->u.delta.k_dim,
                   0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, g->in[1].slot, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    lk_vk_bind(s, 3, LK_VK_BIND_STATE, op->u.delta.state, true);
    lk_vk_bind(s, 4, LK_VK_BIND_BATCH, 0, false);
    struct lk_vk_delta_push push = {.n_head = n_head,
                                    .n_k_head = (uint32_t)op->u.delta.n_k_head,
                                    .v_dim = v_dim,
                                    .each = op->u.delta.beside
                                                ? n_head / (uint32_t)op->u.delta.n_k_head
                                                : 0,
                                    .width = lk_vk_width(b, g->in[0].slot),
                                    .seqs = b->e->at.seqs,
                                    .n_seqs = b->e->at.n_seqs,
                                    .scale = lk_bits(op->u.delta.scale),
                                    .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_ssm(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t n_head = (uint32_t)op->u.ssm.n_head, dim = (uint32_t)op->u.ssm.dim;
    lk_vk_vector(b, op->weight);
    struct lk_vk_step *s =
        step_of_seqs(b, n_head * ((dim + LK_VK_DELTA_COLUMNS - 1) / LK_VK_DELTA_COLUMNS));
    s->work = 2 * (uint64_t)n_head * dim * (uint64_t)op->u.ssm.rows;
    lk_vk_set_pipe(b, s, 0, b->facts->looped ? "ssm" : "ssm_gpu", (uint32_t)op->u.ssm.rows, 0, 0,
                   0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, g->in[1].slot, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    lk_vk_bind(s, 3, LK_VK_BIND_STATE, op->u.ssm.state, true);
    lk_vk_bind(s, 4, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 5, LK_VK_BIND_VECTOR, op->weight, false);
    struct lk_vk_ssm_push push = {.n_head = n_head,
                                  .n_group = (uint32_t)op->u.ssm.n_group,
                                  .dim = dim,
                                  .width = lk_vk_width(b, g->in[0].slot),
                                  .seqs = b->e->at.seqs,
                                  .n_seqs = b->e->at.n_seqs,
                                  .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}
