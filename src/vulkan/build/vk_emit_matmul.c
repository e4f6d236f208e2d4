/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_matmul: see vk_emit_matmul.h.
 */
#include "vulkan/build/vk_emit_matmul.h"

#include "base/numerics.h"

static bool is_glu(const struct lk_vk_group *g)
{
    return g->u.matmul.epilogue >= LK_VK_EPI_SILU;
}

enum { NARROW_GROUPS = 16, NARROW_PANELS = 4 };

/* Few rows of floats in decode: as many workgroups as a quarter of a row group each makes. */
static bool takes_narrow(const struct lk_vk_builder *b, const struct lk_vk_group *g,
                         const struct lk_vk_matrix *m)
{
    uint32_t panels = ((uint32_t)m->cols + LK_VK_PANEL - 1) / LK_VK_PANEL;
    return b->kind == LK_VK_DECODE && m->n_groups <= NARROW_GROUPS &&
           !lk_type_info((uint32_t)m->type)->quantized && !is_glu(g) && panels >= NARROW_PANELS &&
           panels <= LK_VK_MAX_PARTS;
}

static void set_kernel(struct lk_vk_builder *b, struct lk_vk_step *s, int variant,
                       const struct lk_vk_kernel *k)
{
    lk_vk_set_pipe(b, s, variant, k->shader, k->spec[0], k->spec[1], k->spec[2], k->spec[3]);
}

/* The kernels for every number of rows with which the list runs, and its workgroups in decode. */
static void set_kernels(struct lk_vk_builder *b, struct lk_vk_step *s, const struct lk_vk_group *g,
                        const struct lk_vk_matrix *m, bool narrow)
{
    const struct lk_vk_facts *f = b->facts;
    uint32_t most = lk_vk_most_rows(b, s->rows), least = lk_vk_least_rows(b, s->rows);
    struct lk_vk_tile split;
    bool splits = lk_vk_split_tile(f, m->type, s->x, least, most, g->u.matmul.epilogue, &split);
    if (splits) {
        s->tile[LK_VK_SPLIT] = split.size;
        set_kernel(b, s, LK_VK_TILE_SPLIT, &split.kernel);
    }
    for (int v = LK_VK_MV1; v <= LK_VK_MV8; v++) {
        uint32_t takes = v == LK_VK_MV8 ? LK_VK_FEW_TOKENS : lk_vk_variant_cols(f, v);
        bool fewer = v > LK_VK_MV1 && most <= lk_vk_variant_cols(f, v - 1);
        if (takes < least || fewer || lk_vk_variant_for(f, takes, splits) != v) {
            continue;
        }
        struct lk_vk_kernel k = lk_vk_matvec(f, m->type, v, s->x, (uint32_t)m->cols,
                                             g->u.matmul.epilogue, g->u.matmul.prep);
        if (narrow) {
            k.spec[0] = (k.spec[0] / 4 + 31) / 32 * 32;
            k.spec[2] |= LK_VK_EPI_NARROW;
            k.x *= 4;
        }
        set_kernel(b, s, v, &k);
        s->x = b->kind == LK_VK_DECODE ? k.x : s->x;
    }
    if (lk_vk_variant_for(f, most, splits) == LK_VK_TILE) {
        struct lk_vk_tile t[LK_VK_TILES];
        int n = lk_vk_tiles_for(f, m->type, s->x, most, g->u.matmul.epilogue, t);
        for (int i = 0; i < n; i++) {
            s->tile[i] = t[i].size;
            set_kernel(b, s, LK_VK_TILE + i, &t[i].kernel);
        }
    }
}

/* The activations, and the norm in front of them. */
static void bind_input(struct lk_vk_builder *b, struct lk_vk_step *s, const struct lk_vk_group *g,
                       enum lk_type type, struct lk_vk_matmul_push *p)
{
    const struct lk_vk_rows in = g->in[0];
    int slot = b->plan->ops[g->lead].in[0], norm = g->u.matmul.norm;
    struct lk_vk_acts_at x = lk_vk_acts_layout(b, slot, lk_vk_form_of(type));
    bool plain = in.form == LK_VK_PLAIN;
    int piece = plain ? in.slot : lk_vk_acts_piece(b, in.slot, (uint32_t)in.form);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, piece, false);
    p->x_stride = in.slot == slot && plain ? lk_vk_width(b, slot) : x.stride;
    p->x_d = x.d;
    p->x_s = x.s;
    if (norm >= 0) {
        const struct lk_op *op = &b->plan->ops[norm];
        lk_vk_vector(b, op->weight);
        lk_vk_bind(s, 6, LK_VK_BIND_VECTOR, op->weight, false);
        p->eps = lk_bits(op->u.norm.eps);
        p->inv_n = lk_bits((float)(1.0 / (double)op->u.norm.group));
        p->op_norm = (uint32_t)norm;
    }
}

/* Rows and widths of the parts; a group of fewer names its first again. */
static void set_parts(struct lk_vk_builder *b, struct lk_vk_step *s, const struct lk_vk_group *g,
                      const struct lk_vk_chunk *chunk, struct lk_vk_matmul_push *p)
{
    uint32_t *n[3] = {&p->n0, &p->n1, &p->n2}, *w[3] = {&p->w0, &p->w1, &p->w2};
    uint32_t *ops[3] = {&p->op0, &p->op1, &p->op2};
    int n_parts = g->u.matmul.n_parts;
    for (int i = 0; i < LK_VK_GROUP_ROWS; i++) {
        int part = g->u.matmul.part[i < n_parts ? i : 0];
        const struct lk_op *op = &b->plan->ops[part];
        uint32_t rows = (uint32_t)b->plan->weights[op->weight].rows;
        if (n_parts == 1) {
            rows -= p->at0;
            rows = rows < chunk->n_groups * LK_VK_ROWS ? rows : chunk->n_groups * LK_VK_ROWS;
        }
        *n[i] = rows;
        *w[i] = lk_vk_width(b, op->out);
        *ops[i] = (uint32_t)part;
        if (i < n_parts) {
            s->op[i] = part;
            s->n_ops = i + 1;
        }
    }
}

/* Binds where results go, and the residual that is added to them. */
static void bind_outputs(struct lk_vk_builder *b, struct lk_vk_step *s, const struct lk_vk_group *g,
                         struct lk_vk_matmul_push *p)
{
    bool add = g->u.matmul.epilogue == LK_VK_EPI_ADD;
    for (int i = 0; i < g->n_out; i++) {
        lk_vk_bind_out(b, s, (add ? 3 : 2) + i, g->out[i].slot);
    }
    if (add) {
        lk_vk_bind(s, 5, LK_VK_BIND_PIECE, g->in[1].slot, false);
    }
    if (is_glu(g)) {
        p->w0 = lk_vk_width(b, g->out[0].slot);
    }
    p->op_next = g->u.matmul.next >= 0 ? (uint32_t)g->u.matmul.next : 0;
    /* Bindings that a variant names but doesn't use must still be valid. */
    struct lk_vk_bind unused = s->bind[add ? 3 : 2];
    unused.write = false;
    for (int i = 2; i <= 6; i++) {
        if (s->bind[i].kind == LK_VK_BIND_NONE) {
            s->bind[i] = unused;
        }
    }
}

static void chunk_step(struct lk_vk_builder *b, const struct lk_vk_group *g, int m, int c)
{
    const struct lk_vk_matrix *mx = &b->e->store.matrices[m];
    const struct lk_vk_chunk *chunk = &mx->chunks[c];
    bool several = mx->n_parts > 1;
    struct lk_vk_step *s =
        lk_vk_add_step(b, b->plan->slots[b->plan->ops[g->lead].out].rows, LK_VK_GRID_MATMUL,
                       is_glu(g) ? mx->first_group[1] : chunk->n_groups);
    s->work = (uint64_t)chunk->n_groups * LK_VK_ROWS * (uint64_t)mx->cols;
    set_kernels(b, s, g, mx, takes_narrow(b, g, mx));
    lk_vk_bind(s, 0, LK_VK_BIND_CHUNK, m, false);
    s->bind[0].sub = c;
    struct lk_vk_matmul_push p = {.n_groups = chunk->n_groups,
                                  .k = (uint32_t)mx->cols,
                                  .n_blocks = mx->n_blocks,
                                  .mid = chunk->mid,
                                  .tail = chunk->tail,
                                  .rg1 = several ? mx->first_group[1] : chunk->n_groups,
                                  .rg2 = several ? mx->first_group[2] : chunk->n_groups,
                                  .at0 = chunk->group0 * LK_VK_ROWS};
    set_parts(b, s, g, chunk, &p);
    bind_input(b, s, g, mx->type, &p);
    bind_outputs(b, s, g, &p);
    lk_vk_set_push(s, &p, sizeof p);
}

void lk_vk_emit_matmul(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    int weight[LK_VK_GROUP_ROWS], n = g->u.matmul.n_parts;
    for (int i = 0; i < n; i++) {
        weight[i] = b->plan->ops[g->u.matmul.part[i]].weight;
    }
    int m = lk_vk_matrix(b, weight, n);
    for (int c = 0; m >= 0 && c < b->e->store.matrices[m].n_chunks && !b->status; c++) {
        chunk_step(b, g, m, c);
    }
}
