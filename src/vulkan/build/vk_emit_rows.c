/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_rows: see vk_emit_rows.h.
 */
#include "vulkan/build/vk_emit_rows.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/numerics.h"

/* ---- embedding ---- */

static void embed_chunk(struct lk_vk_builder *b, const struct lk_vk_group *g, int m, int c)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    const struct lk_weight *w = &b->plan->weights[op->weight];
    const struct lk_vk_matrix *mx = &b->e->store.matrices[m];
    const struct lk_vk_chunk *chunk = &mx->chunks[c];
    uint32_t cols = (uint32_t)w->cols, row0 = chunk->group0 * LK_VK_ROWS;
    uint32_t n_rows = chunk->n_groups * LK_VK_ROWS, left = (uint32_t)w->rows - row0;
    char shader[32];
    snprintf(shader, sizeof shader, "embed_%s", lk_type_name((uint32_t)w->type));
    struct lk_vk_step *s =
        lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, (cols + 4 * 64 - 1) / (4 * 64));
    lk_vk_set_pipe(b, s, 0, shader, 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_CHUNK, m, false);
    s->bind[0].sub = c;
    lk_vk_bind(s, 1, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    struct lk_vk_embed_push push = {.cols = cols,
                                    .row0 = row0,
                                    .n_rows = n_rows < left ? n_rows : left,
                                    .n_blocks = mx->n_blocks,
                                    .mid = chunk->mid,
                                    .tail = chunk->tail,
                                    .scale = lk_bits(op->u.embed.scale),
                                    .tokens = op->u.embed.positions ? b->e->at.pos : b->e->at.token,
                                    .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_embed(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    int m = lk_vk_matrix(b, &b->plan->ops[g->lead].weight, 1);
    for (int c = 0; m >= 0 && c < b->e->store.matrices[m].n_chunks; c++) {
        embed_chunk(b, g, m, c);
    }
}

/* ---- norms and activations ---- */

enum { LONG_GROUP = 1024 }; /* more invocations share each of these, most where there are few */

static uint32_t norm_threads(const struct lk_vk_builder *b, uint32_t group, bool centre)
{
    if (centre || group < LONG_GROUP) {
        return 128;
    }
    uint32_t threads = b->kind == LK_VK_MANY ? 256 : 512;
    while (threads > b->facts->max_threads) {
        threads /= 2;
    }
    return threads;
}

void lk_vk_emit_norm(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t width = lk_vk_width(b, op->out), group = (uint32_t)op->u.norm.group;
    const struct lk_vk_rows out = g->out[0];
    bool quant = out.form != LK_VK_PLAIN;
    bool of_row = b->plan->weights[op->weight].cols == (int64_t)width;
    lk_vk_vector(b, op->weight);
    int piece = quant ? lk_vk_acts_piece(b, out.slot, (uint32_t)out.form) : -1;
    struct lk_vk_step *s =
        lk_vk_add_step(b, b->plan->slots[op->out].rows, LK_VK_GRID_ROWS, width / group);
    bool centre = op->kind == LK_OP_LAYER_NORM;
    lk_vk_set_pipe(b, s, 0, "norm", quant ? (uint32_t)out.form : 0, quant,
                   g->u.norm.by_next | (centre ? LK_VK_NORM_CENTRE : 0),
                   norm_threads(b, group, centre));
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, quant ? g->in[0].slot : out.slot, !quant);
    struct lk_vk_norm_push push = {.width = width,
                                   .group = group,
                                   .apart = of_row ? group : 0,
                                   .eps = lk_bits(op->u.norm.eps),
                                   .inv_n = lk_bits((float)(1.0 / (double)group)),
                                   .store = !quant,
                                   .op = (uint32_t)g->lead};
    if (quant) {
        struct lk_vk_acts_at x = lk_vk_acts_layout(b, out.slot, (uint32_t)out.form);
        lk_vk_bind(s, 3, LK_VK_BIND_PIECE, piece, true);
        push.x_stride = x.stride;
        push.x_d = x.d;
        push.x_s = x.s;
    }
    if (g->u.norm.next >= 0) {
        lk_vk_bind(s, 4, LK_VK_BIND_PIECE, g->in[1].slot, false);
        push.op_next = (uint32_t)g->u.norm.next;
    }
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_quantize(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_vk_rows out = g->out[0];
    uint32_t form = (uint32_t)out.form, width = lk_vk_width(b, out.slot);
    uint32_t k = (uint32_t)lk_round_up(width, LK_VK_PANEL);
    int piece = lk_vk_acts_piece(b, out.slot, form);
    struct lk_vk_acts_at x = lk_vk_acts_layout(b, out.slot, form);
    struct lk_vk_step *s =
        lk_vk_add_step(b, b->plan->slots[out.slot].rows, LK_VK_GRID_ROWS, (k + 511) / 512);
    lk_vk_set_pipe(b, s, 0, "quantize", form, g->u.quantize.act, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, g->in[g->n_in - 1].slot, false);
    lk_vk_bind(s, 3, LK_VK_BIND_PIECE, piece, true);
    struct lk_vk_quantize_push push = {
        .width = width, .x_stride = x.stride, .x_d = x.d, .x_s = x.s, .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
    s->prepare = g->n_ops == 0;
}

/* ---- rows as they are ---- */

void lk_vk_emit_rope(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    const struct lk_rope *r = &b->plan->ropes[op->u.rope.rope];
    uint32_t pairs = (uint32_t)(op->u.rope.n_head * ((op->u.rope.head_dim + 1) / 2));
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS,
                                          (pairs + LK_VK_ROPE_PAIRS - 1) / LK_VK_ROPE_PAIRS);
    lk_vk_set_pipe(b, s, 0, "rope", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    struct lk_vk_rope_push push = {.n_head = (uint32_t)op->u.rope.n_head,
                                   .head_dim = (uint32_t)op->u.rope.head_dim,
                                   .n_dims = (uint32_t)r->n_dims,
                                   .interleaved = r->interleaved,
                                   .cs = b->e->at.cs[op->u.rope.rope],
                                   .cs_stride = b->e->at.cs_stride,
                                   .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_elementwise(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t kind = g->u.elementwise.kind, width = lk_vk_width(b, op->out);
    int n_adds = g->u.elementwise.n_adds, n_in = g->n_in - n_adds;
    struct lk_vk_step *s = lk_vk_add_step(b, b->plan->slots[op->out].rows, LK_VK_GRID_ELEMS, 0);
    s->y = width;
    struct lk_vk_elt_push push = {.width = width, .op = (uint32_t)g->lead};
    lk_vk_set_pipe(b, s, 0, "elementwise", kind, (uint32_t)n_adds, 0, 0);
    lk_vk_bind_in(b, s, 0, g->in[0].slot);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    if (kind == LK_VK_ELT_BIAS) {
        lk_vk_vector(b, op->weight);
        lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    } else {
        lk_vk_bind_in(b, s, 1, g->in[n_in - 1].slot);
    }
    for (int i = 0; i < n_adds; i++) {
        lk_vk_bind(s, 3 + i, LK_VK_BIND_PIECE, g->in[n_in + i].slot, false);
        push.op_add[i] = (uint32_t)g->u.elementwise.add[i];
    }
    if (kind == LK_VK_ELT_SCALE) {
        push.cap_in = lk_bits(op->u.scale.factor);
    }
    if (kind == LK_VK_ELT_PICK) {
        push.width = (uint32_t)op->u.pick.width;
        push.cap_in = (uint32_t)op->u.pick.stride;
        push.cap_out = (uint32_t)op->u.pick.at;
    }
    if (kind == LK_VK_ELT_JOIN) {
        push.width = (uint32_t)(op->u.join.width[0] + op->u.join.width[1]);
        push.cap_in = (uint32_t)op->u.join.width[0];
    }
    if (kind == LK_VK_ELT_SOFTCAP) {
        push.cap_in = lk_bits(op->u.softcap.cap_in);
        push.cap_out = lk_bits(op->u.softcap.cap_out);
    }
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_gather(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    uint32_t width = lk_vk_width(b, g->out[0].slot);
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_OUTPUTS, LK_VK_GRID_ROWS, (width + 127) / 128);
    lk_vk_set_pipe(b, s, 0, "gather", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    struct lk_vk_gather_push push = {0, width, b->e->at.outputs};
    lk_vk_set_push(s, &push, sizeof push);
}
