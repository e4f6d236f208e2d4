/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_experts: see vk_emit_experts.h. Few tokens take a mat-vec for each row that goes to an
 * expert; many are sorted by their experts on the device, into tiles, of which there are as many as
 * there can be: those that are not needed end at once. Nothing waits for the host. Rows of heads
 * take the same kernels, which know whose each row is.
 */
#include "vulkan/build/vk_emit_experts.h"

#include "base/numerics.h"
#include "vulkan/build/vk_list.h"

_Static_assert(LK_VK_MAX_EXPERTS == LK_MAX_EXPERTS && LK_VK_MAX_EXPERTS_USED == LK_MAX_EXPERTS_USED,
               "shaders have the bounds of the plan");

void lk_vk_emit_route(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, 1);
    lk_vk_set_pipe(b, s, 0, "route", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    if (op->weight >= 0) {
        lk_vk_vector(b, op->weight);
        lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    }
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    struct lk_vk_route_push push = {.n = lk_vk_width(b, g->in[0].slot),
                                    .n_used = (uint32_t)op->u.route.n_used,
                                    .n_groups = (uint32_t)op->u.route.n_groups,
                                    .n_groups_used = (uint32_t)op->u.route.n_groups_used,
                                    .gate = (uint32_t)op->u.route.gate,
                                    .vector = op->weight < 0        ? 0
                                              : op->u.route.factors ? 2
                                                                    : 1,
                                    .normalize = op->u.route.normalize,
                                    .scale = lk_bits(op->u.route.scale),
                                    .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
}

void lk_vk_emit_expert_rows(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t width = lk_vk_width(b, op->out);
    bool vector = op->kind != LK_OP_COMBINE;
    int add = g->u.expert_rows.add;
    uint32_t kind = op->kind == LK_OP_EXPERT_BIAS    ? LK_VK_EXPERTS_BIAS
                    : op->kind == LK_OP_EXPERT_SCALE ? LK_VK_EXPERTS_SCALE
                    : add >= 0                       ? LK_VK_EXPERTS_ADD
                                                     : LK_VK_EXPERTS_COMBINE;
    struct lk_vk_step *s = lk_vk_add_step(b, b->plan->slots[op->out].rows, LK_VK_GRID_ELEMS, 0);
    s->y = width;
    lk_vk_set_pipe(b, s, 0, "experts", kind, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    if (vector) {
        lk_vk_vector(b, op->weight);
        lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    }
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, g->out[0].slot, true);
    lk_vk_bind(s, 3, LK_VK_BIND_PIECE, g->in[1].slot, false);
    if (add >= 0) {
        lk_vk_bind(s, 4, LK_VK_BIND_PIECE, g->in[2].slot, false);
    }
    struct lk_vk_experts_push push = {.width = width,
                                      .n_used = (uint32_t)b->plan->n_routed,
                                      .op = (uint32_t)g->lead,
                                      .op_next = add >= 0 ? (uint32_t)add : 0};
    lk_vk_set_push(s, &push, sizeof push);
}

/* ---- products ---- */

/* Word of a sort's piece where its rows begin. */
static uint32_t rows_at(const struct lk_vk_builder *b, uint32_t experts, uint32_t cols)
{
    uint32_t rows = lk_vk_most_rows(b, LK_ROWS_ROUTED);
    return LK_VK_SORT_TILES + 4 * lk_vk_sorted_tiles(rows, experts, cols);
}

/* The piece with routed rows in tiles of `cols`, which a step makes unless it is there. */
static int sorted_piece(struct lk_vk_builder *b, int route, uint32_t experts, uint32_t cols)
{
    if (b->sorted.slot == route && b->sorted.cols == cols) {
        return b->sorted.piece;
    }
    uint32_t at = rows_at(b, experts, cols);
    VkDeviceSize words = (VkDeviceSize)at + lk_vk_most_rows(b, LK_ROWS_ROUTED);
    int piece = lk_vk_add_piece(b, words * 4, "rows of experts");
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_ROUTED, LK_VK_GRID_ONE, 1);
    lk_vk_set_pipe(b, s, 0, "sort", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, route, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, piece, true);
    struct lk_vk_sort_push push = {.n_used = (uint32_t)b->plan->n_routed,
                                   .n_experts = experts,
                                   .cols = cols,
                                   .at = at};
    lk_vk_set_push(s, &push, sizeof push);
    s->prepare = true;
    b->sorted.slot = route;
    b->sorted.piece = piece;
    b->sorted.cols = cols;
    return piece;
}

/* The activations as they are there, in one form or another. */
static void bind_input(struct lk_vk_builder *b, struct lk_vk_step *s, const struct lk_vk_group *g,
                       enum lk_type type, struct lk_vk_matmul_push *p)
{
    const struct lk_vk_rows in = g->in[0];
    struct lk_vk_acts_at x = lk_vk_acts_layout(b, in.slot, lk_vk_form_of(type));
    bool plain = in.form == LK_VK_PLAIN;
    int piece = plain ? in.slot : lk_vk_acts_piece(b, in.slot, (uint32_t)in.form);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, piece, false);
    p->x_stride = plain ? lk_vk_width(b, in.slot) : x.stride;
    p->x_d = x.d;
    p->x_s = x.s;
}

static void chunk_step(struct lk_vk_builder *b, const struct lk_vk_group *g, int m, int c)
{
    const struct lk_vk_matrix *mx = &b->e->store.matrices[m];
    const struct lk_vk_chunk *chunk = &mx->chunks[c];
    const struct lk_op *op = &b->plan->ops[g->lead];
    uint32_t used = (uint32_t)b->plan->n_routed, width = lk_vk_width(b, op->out);
    uint32_t epilogue = g->u.experts.epilogue | LK_VK_EPI_EXPERTS;
    const int *part = g->u.experts.part;
    uint32_t experts = (uint32_t)b->plan->weights[op->weight].n_experts, k = (uint32_t)mx->cols;
    bool routed = b->plan->slots[op->in[0]].rows == LK_ROWS_ROUTED, few = b->kind != LK_VK_MANY;
    int route = g->in[1].slot, list = route;
    struct lk_vk_matmul_push p = {.n_groups = chunk->n_groups,
                                  .k = k,
                                  .n_blocks = mx->n_blocks,
                                  .mid = chunk->mid,
                                  .tail = chunk->tail,
                                  .rg1 = mx->expert_groups,
                                  .rg2 = routed ? 1 : used,
                                  .n0 = width,
                                  .w0 = width,
                                  .w1 = 2 * used,
                                  .w2 = used,
                                  .at0 = chunk->group0 - mx->first_group[g->u.experts.which],
                                  .n1 = mx->first_group[1],
                                  .op0 = (uint32_t)g->lead};
    if (g->u.experts.next >= 0) {
        p.op0 = (uint32_t)part[0];
        p.op1 = (uint32_t)part[1];
        p.op_next = (uint32_t)g->u.experts.next;
        p.at0 = chunk->group0;
    }
    struct lk_vk_kernel kernel;
    struct lk_vk_tile tile = {0};
    if (few) {
        kernel = lk_vk_matvec(b->facts, mx->type, LK_VK_MV1, mx->expert_groups * used, k, epilogue,
                              g->u.experts.prep);
    } else {
        uint32_t each = lk_vk_most_rows(b, LK_ROWS_ROUTED) / experts; /* as even as they can be */
        tile = lk_vk_tile_for(b->facts, mx->type, mx->expert_groups, each > 0 ? each : 1,
                              LK_VK_EPI_STORE | LK_VK_EPI_EXPERTS);
        kernel = tile.kernel;
        list = sorted_piece(b, route, experts, tile.size.cols);
        p.w1 = rows_at(b, experts, tile.size.cols);
    }
    struct lk_vk_step *s =
        lk_vk_add_step(b, LK_ROWS_ROUTED, few ? LK_VK_GRID_ROWS : LK_VK_GRID_SORTED,
                       mx->expert_groups);
    s->work = (uint64_t)mx->expert_groups * LK_VK_ROWS * (uint64_t)mx->cols;
    if (g->u.experts.next >= 0) {
        s->work *= 2;
        s->n_ops = 2;
        s->op[0] = part[0];
        s->op[1] = part[1];
    }
    s->y = experts;
    s->tile[0] = tile.size;
    lk_vk_set_pipe(b, s, 0, kernel.shader, kernel.spec[0], kernel.spec[1], kernel.spec[2],
                   kernel.spec[3]);
    lk_vk_bind(s, 0, LK_VK_BIND_CHUNK, m, false);
    s->bind[0].sub = c;
    bind_input(b, s, g, mx->type, &p);
    lk_vk_bind_out(b, s, 2, g->out[0].slot);
    struct lk_vk_bind unused = s->bind[2]; /* named by the kernels and not used */
    unused.write = false;
    s->bind[3] = s->bind[4] = s->bind[5] = unused;
    lk_vk_bind(s, 6, LK_VK_BIND_PIECE, list, false);
    lk_vk_set_push(s, &p, sizeof p);
}

void lk_vk_emit_experts(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    int weight[2], n = g->u.experts.n_parts;
    for (int i = 0; i < n; i++) {
        weight[i] = b->plan->ops[g->u.experts.part[i]].weight;
    }
    int m = lk_vk_matrix(b, weight, n);
    for (int c = 0; m >= 0 && c < b->e->store.matrices[m].n_chunks && !b->status; c++) {
        chunk_step(b, g, m, c);
    }
}

/* ---- heads ---- */

/* The rows of all heads as a matmul takes them. */
struct head_rows {
    int piece; /* -1: the slot as it is, or as every workgroup prepares it */
    struct lk_vk_acts_at x;
};

/* Makes the input ready in a piece of its own: a row for each head of a token. */
static struct head_rows make_ready(struct lk_vk_builder *b, const struct lk_vk_group *g,
                                   const struct lk_weight *w)
{
    uint32_t form = lk_vk_form_of(w->type), k = (uint32_t)w->cols, n = (uint32_t)w->n_experts;
    struct head_rows r = {.piece = -1, .x = {.stride = k}};
    if (g->u.heads.prep != LK_VK_PREP_NONE || (form == LK_VK_X_F32 && k % 4 == 0)) {
        return r;
    }
    uint32_t tokens = lk_vk_most_rows(b, LK_ROWS_TOKENS);
    VkDeviceSize most = b->facts->max_binding / (lk_vk_acts_of(n, k, form).words * 4);
    if (b->e->o.fewer && tokens > most && most > 0) { /* as many as one binding holds */
        lk_vk_take_fewer(b->e, LK_ROWS_TOKENS, (int)most);
        tokens = (uint32_t)most;
    }
    r.x = lk_vk_acts_of(tokens * n, k, form);
    r.piece = lk_vk_add_piece(b, r.x.words * 4, "activations of heads");
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS,
                                          ((uint32_t)lk_round_up(k, LK_VK_PANEL) + 511) / 512);
    s->times = n;
    lk_vk_set_pipe(b, s, 0, "quantize", form, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 3, LK_VK_BIND_PIECE, r.piece, true);
    struct lk_vk_quantize_push push = {
        .width = k, .x_stride = r.x.stride, .x_d = r.x.d, .x_s = r.x.s, .op = (uint32_t)g->lead};
    lk_vk_set_push(s, &push, sizeof push);
    s->prepare = true;
    return r;
}

static void head_step(struct lk_vk_builder *b, const struct lk_vk_group *g,
                      const struct head_rows *r, int m, int c)
{
    const struct lk_vk_matrix *mx = &b->e->store.matrices[m];
    const struct lk_vk_chunk *chunk = &mx->chunks[c];
    const struct lk_op *op = &b->plan->ops[g->lead];
    const struct lk_weight *w = &b->plan->weights[op->weight];
    uint32_t n = (uint32_t)w->n_experts, rows = (uint32_t)(w->rows / w->n_experts);
    uint32_t epilogue = LK_VK_EPI_STORE | LK_VK_EPI_EXPERTS | LK_VK_EPI_HEADS;
    bool few = b->kind != LK_VK_MANY;
    struct lk_vk_kernel kernel;
    struct lk_vk_tile tile = {0};
    if (few) {
        kernel = lk_vk_matvec(b->facts, mx->type, LK_VK_MV1, mx->expert_groups * n,
                              (uint32_t)mx->cols, epilogue, g->u.heads.prep);
    } else {
        tile = lk_vk_tile_for(b->facts, mx->type, mx->expert_groups,
                              lk_vk_most_rows(b, LK_ROWS_TOKENS), epilogue);
        kernel = tile.kernel;
    }
    struct lk_vk_step *s =
        lk_vk_add_step(b, LK_ROWS_TOKENS, few ? LK_VK_GRID_ROWS : LK_VK_GRID_SORTED,
                       mx->expert_groups);
    s->times = n;
    s->work = (uint64_t)mx->expert_groups * LK_VK_ROWS * (uint64_t)mx->cols;
    s->y = n;
    s->tile[0] = tile.size;
    lk_vk_set_pipe(b, s, 0, kernel.shader, kernel.spec[0], kernel.spec[1], kernel.spec[2],
                   kernel.spec[3]);
    lk_vk_bind(s, 0, LK_VK_BIND_CHUNK, m, false);
    s->bind[0].sub = c;
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, r->piece < 0 ? g->in[0].slot : r->piece, false);
    lk_vk_bind_out(b, s, 2, g->out[0].slot);
    struct lk_vk_bind unused = s->bind[2]; /* named by the kernels and not used */
    unused.write = false;
    s->bind[3] = s->bind[4] = s->bind[5] = s->bind[6] = unused;
    struct lk_vk_matmul_push p = {.n_groups = chunk->n_groups,
                                  .k = (uint32_t)mx->cols,
                                  .n_blocks = mx->n_blocks,
                                  .mid = chunk->mid,
                                  .tail = chunk->tail,
                                  .x_stride = r->x.stride,
                                  .x_d = r->x.d,
                                  .x_s = r->x.s,
                                  .rg1 = mx->expert_groups,
                                  .rg2 = 1,
                                  .n0 = rows,
                                  .w0 = rows,
                                  .w1 = tile.size.cols,
                                  .w2 = n,
                                  .at0 = chunk->group0,
                                  .op0 = (uint32_t)g->lead};
    lk_vk_set_push(s, &p, sizeof p);
}

void lk_vk_emit_heads(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    int weight = b->plan->ops[g->lead].weight, m = lk_vk_matrix(b, &weight, 1);
    struct head_rows r = make_ready(b, g, &b->plan->weights[weight]);
    for (int c = 0; m >= 0 && c < b->e->store.matrices[m].n_chunks && !b->status; c++) {
        head_step(b, g, &r, m, c);
    }
}
