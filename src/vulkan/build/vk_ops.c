/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_ops: op -> steps: a dispatch with its pipeline, bindings and push constants. A list is built
 * once in prepare; the batch's sizes enter when it is recorded (vk_list.c). Fusion happens here
 * and nowhere else.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "vulkan/build/vk_build.h"
#include "vulkan/build/vk_builder.h"

enum {
    PREP_ROWS = 40000 /* of a matrix whose mat-vec still makes its own activations */
};

static uint32_t max_rows(const struct lk_vk_builder *b, enum lk_rows rows)
{
    return lk_vk_list_rows(b->e, b->list, rows);
}

/* The fewest rows with which the list runs. */
static uint32_t least_rows(const struct lk_vk_builder *b, enum lk_rows rows)
{
    bool any = b->list == b->e->list || rows == LK_ROWS_OUTPUTS;
    return any ? 1 : (uint32_t)(b->list - 1)->max_tokens + 1;
}

/* Rows are rounded up: a mat-vec reads whole columns of COLS tokens. */
static VkDeviceSize padded_rows(const struct lk_vk_builder *b, enum lk_rows rows)
{
    return lk_round_up(max_rows(b, rows), LK_VK_MAX_COLS);
}

int lk_vk_add_piece(struct lk_vk_builder *b, VkDeviceSize bytes, const char *what)
{
    struct lk_vk_list *l = b->list;
    VkDeviceSize limit = b->e->facts.max_binding;
    if (!b->status && (bytes > limit || lk_round_up((size_t)bytes, 16) > limit)) {
        b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                            "%s: %llu bytes are beyond the device's buffer range of %llu: use a "
                            "smaller batch",
                            what, (unsigned long long)bytes, (unsigned long long)limit);
    }
    if (!b->status) {
        b->status =
            lk_grow(&l->pieces, &l->cap_pieces, (size_t)l->n_pieces + 1, sizeof *l->pieces, b->err);
    }
    if (b->status) {
        return 0;
    }
    l->pieces[l->n_pieces] = (struct lk_vk_piece){bytes ? bytes : 4, 0, -1, -1};
    return l->n_pieces++;
}

struct lk_vk_step *lk_vk_add_step(struct lk_vk_builder *b, enum lk_rows rows, enum lk_vk_grid grid,
                                  uint32_t x)
{
    static struct lk_vk_step sink; /* written to, never read, after a failure */
    struct lk_vk_list *l = b->list;
    if (!b->status) {
        b->status =
            lk_grow(&l->steps, &l->cap_steps, (size_t)l->n_steps + 1, sizeof *l->steps, b->err);
    }
    if (b->status) {
        return &sink;
    }
    struct lk_vk_step *s = &l->steps[l->n_steps++];
    *s = (struct lk_vk_step){.grid = grid, .x = x, .y = 1, .rows = rows, .op = {b->op}, .n_ops = 1};
    return s;
}

void lk_vk_set_pipe(struct lk_vk_builder *b, struct lk_vk_step *s, int variant, const char *shader,
                    uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3)
{
    uint32_t spec[4] = {c0, c1, c2, c3};
    if (!b->status) {
        b->status = lk_vk_pipe_get(b->e->dev, shader, spec, &s->pipe[variant], b->err);
    }
}

void lk_vk_set_push(struct lk_vk_step *s, const void *push, size_t n)
{
    memcpy(s->push, push, n);
    s->n_push = (uint32_t)n;
}

void lk_vk_bind(struct lk_vk_step *s, int at, enum lk_vk_bind_kind kind, int index, bool write)
{
    s->bind[at] = (struct lk_vk_bind){.kind = kind, .index = index, .write = write};
}

static uint32_t width_of(const struct lk_vk_builder *b, int slot)
{
    return (uint32_t)b->plan->slots[slot].width;
}

uint64_t lk_vk_attention_work(const struct lk_vk_builder *b, const struct lk_op *op)
{
    uint64_t keys = (uint64_t)b->e->o.max_blocks * LK_KV_BLOCK;
    uint64_t window = (uint64_t)op->u.attention.window;
    struct lk_attn_shape s = lk_attn_shape_of(b->plan, op);
    keys = window && window < keys ? window : keys;
    return 2 * keys * (uint64_t)s.n_head * (uint64_t)s.head_dim;
}

uint32_t lk_vk_vector(struct lk_vk_builder *b, int weight)
{
    if (!b->status) {
        b->status = lk_vk_store_vector(&b->e->store, b->plan, weight, b->err);
    }
    return b->status ? 0 : (uint32_t)(b->e->store.vector_at[weight] / 4);
}

/* ---- activations ---- */

/* How a type wants its activations, in the words of params.h. */
static uint32_t x_kind(enum lk_type type)
{
    static const uint32_t KINDS[LK_ACTS_KINDS] = {
        [LK_ACTS_Q32] = LK_VK_X_Q32, [LK_ACTS_Q256] = LK_VK_X_Q256, [LK_ACTS_F32] = LK_VK_X_F32,
        [LK_ACTS_R13] = LK_VK_X_R13, [LK_ACTS_R16] = LK_VK_X_R16,
    };
    return KINDS[lk_type_info((uint32_t)type)->acts];
}

/* Words of a row, and where d and sums begin; see params.h. */
struct x_layout {
    uint32_t stride, d, s;
    VkDeviceSize words;
};

static struct x_layout x_layout_of(const struct lk_vk_builder *b, int slot, uint32_t kind)
{
    uint32_t k = (uint32_t)lk_round_up(width_of(b, slot), LK_VK_PANEL);
    uint32_t rows = (uint32_t)padded_rows(b, b->plan->slots[slot].rows);
    struct x_layout x = {.stride = k, .words = (VkDeviceSize)rows * k};
    if (kind == LK_VK_X_Q32 || kind == LK_VK_X_Q256) {
        uint32_t blocks = k / (kind == LK_VK_X_Q32 ? 32 : 256);
        x.stride = k / 4;
        x.d = rows * x.stride;
        x.s = x.d + rows * blocks;
        x.words = (VkDeviceSize)rows * (x.stride + blocks + k / 32);
    }
    return x;
}

/* F32 weights read the slot itself where its rows are whole uvec4s. */
static bool x_is_slot(const struct lk_vk_builder *b, int slot, uint32_t kind)
{
    return kind == LK_VK_X_F32 && width_of(b, slot) % 4 == 0;
}

static int new_x_piece(struct lk_vk_builder *b, int slot, uint32_t kind)
{
    struct x_layout x = x_layout_of(b, slot, kind);
    int piece = lk_vk_add_piece(b, x.words * 4, "activations of a matmul");
    b->x_piece[slot * LK_ACTS_KINDS + (int)kind] = piece;
    return piece;
}

/* A step that makes slot `slot` as `kind`: of `in` itself, or the GLU `act` of `in` and `up`. */
static struct lk_vk_step *quantize(struct lk_vk_builder *b, int slot, uint32_t kind, uint32_t act,
                                   int in, int up)
{
    int piece = new_x_piece(b, slot, kind);
    struct x_layout x = x_layout_of(b, slot, kind);
    uint32_t k = (uint32_t)lk_round_up(width_of(b, slot), LK_VK_PANEL);
    struct lk_vk_step *s =
        lk_vk_add_step(b, b->plan->slots[slot].rows, LK_VK_GRID_ROWS, (k + 511) / 512);
    lk_vk_set_pipe(b, s, 0, "quantize", kind, act, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, in, false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, up, false);
    lk_vk_bind(s, 3, LK_VK_BIND_PIECE, piece, true);
    struct lk_vk_quantize_push push = {.width = width_of(b, slot),
                                       .x_stride = x.stride,
                                       .x_d = x.d,
                                       .x_s = x.s,
                                       .op = (uint32_t)b->op};
    lk_vk_set_push(s, &push, sizeof push);
    return s;
}

/* The piece that holds slot `slot` as `kind`; made by a step of its own at the first request. */
static int x_piece(struct lk_vk_builder *b, int slot, uint32_t kind)
{
    if (x_is_slot(b, slot, kind)) {
        return slot;
    }
    if (b->x_piece[slot * LK_ACTS_KINDS + (int)kind] >= 0) {
        return b->x_piece[slot * LK_ACTS_KINDS + (int)kind];
    }
    struct lk_vk_step *s = quantize(b, slot, kind, 0, slot, slot);
    s->prepare = true;
    return b->x_piece[slot * LK_ACTS_KINDS + (int)kind];
}

/* ---- ops ---- */

static void embed(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    const struct lk_weight *w = &b->plan->weights[op->weight];
    int m =
        lk_vk_store_matrix(&b->e->store, &b->e->facts, b->plan, &op->weight, 1, &b->status, b->err);
    if (b->status) {
        return;
    }
    char shader[32];
    snprintf(shader, sizeof shader, "embed_%s", lk_type_name((uint32_t)w->type));
    for (int c = 0; c < b->e->store.matrices[m].n_chunks; c++) {
        const struct lk_vk_chunk *chunk = &b->e->store.matrices[m].chunks[c];
        uint32_t cols = (uint32_t)w->cols;
        struct lk_vk_step *s =
            lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, (cols + 32 * 64 - 1) / (32 * 64));
        lk_vk_set_pipe(b, s, 0, shader, 0, 0, 0, 0);
        lk_vk_bind(s, 0, LK_VK_BIND_CHUNK, m, false);
        s->bind[0].sub = c;
        lk_vk_bind(s, 1, LK_VK_BIND_BATCH, 0, false);
        lk_vk_bind(s, 2, LK_VK_BIND_PIECE, op->out, true);
        uint32_t row0 = chunk->group0 * LK_VK_ROWS;
        uint32_t n_rows = chunk->n_groups * LK_VK_ROWS;
        if (n_rows > (uint32_t)w->rows - row0) {
            n_rows = (uint32_t)w->rows - row0;
        }
        struct lk_vk_embed_push push = {.cols = cols,
                                        .row0 = row0,
                                        .n_rows = n_rows,
                                        .n_blocks = b->e->store.matrices[m].n_blocks,
                                        .mid = chunk->mid,
                                        .tail = chunk->tail,
                                        .scale = lk_bits(op->u.embed.scale),
                                        .tokens = b->e->at.token,
                                        .op = (uint32_t)i};
        lk_vk_set_push(s, &push, sizeof push);
    }
}

/* The one kind in which all readers of a slot want it, when all are matmuls; else -1. */
static int only_kind(const struct lk_vk_builder *b, int slot)
{
    int kind = -1;
    for (int i = 0; i < b->plan->n_ops; i++) {
        const struct lk_op *op = &b->plan->ops[i];
        if (!lk_op_reads(op, slot)) {
            continue;
        }
        if (op->kind != LK_OP_MATMUL) {
            return -1;
        }
        int k = (int)x_kind(b->plan->weights[op->weight].type);
        if (kind >= 0 && k != kind) {
            return -1;
        }
        kind = k;
    }
    return slot == b->plan->out_slot ? -1 : kind;
}

/* The op that is the only reader of a slot, when it is of `kind`; else -1. */
static int sole_reader(const struct lk_vk_builder *b, int slot, enum lk_op_kind kind)
{
    if (b->uses[slot] != 1 || slot == b->plan->out_slot) {
        return -1;
    }
    for (int i = 0; i < b->plan->n_ops; i++) {
        const struct lk_op *op = &b->plan->ops[i];
        if (lk_op_reads(op, slot)) {
            return op->kind == kind && !b->done[i] ? i : -1;
        }
    }
    return -1;
}

/* The add of a residual that op `i` can do with its own result; else -1. */
static int own_add(const struct lk_vk_builder *b, int i)
{
    int out = b->plan->ops[i].out, add = b->fuse ? sole_reader(b, out, LK_OP_ADD) : -1;
    if (add < 0) {
        return -1;
    }
    const struct lk_op *o = &b->plan->ops[add];
    int other = o->in[0] == out ? o->in[1] : o->in[0];
    return other != out && b->producer[other] < i ? add : -1;
}

/* The slot that a norm reads: of a single token, the row wanted is the row there is. */
static int norm_input(const struct lk_vk_builder *b, int norm)
{
    int in = b->plan->ops[norm].in[0], i = b->producer[in];
    bool gathered = b->one && i >= 0 && b->plan->ops[i].kind == LK_OP_GATHER;
    return gathered && b->uses[in] == 1 ? b->plan->ops[i].in[0] : in;
}

/* Whether a mat-vec of one token makes its own activations of a slot: every workgroup does it
 * again, so not for matrices of very many rows; and it must fit into shared memory. */
static bool can_prep(const struct lk_vk_builder *b, const struct lk_weight *w, uint32_t n_parts)
{
    uint32_t panels = (uint32_t)(w->cols + LK_VK_PANEL - 1) / LK_VK_PANEL;
    uint32_t epilogue = n_parts > 1 ? LK_VK_EPI_SILU : LK_VK_EPI_STORE;
    char name[48];
    snprintf(name, sizeof name, "matvec_%s", lk_type_name((uint32_t)w->type));
    uint32_t spec[4] = {32, 1, epilogue | LK_VK_PREP_NORM << 4, panels};
    return b->one && lk_type_info((uint32_t)w->type)->quantized && w->rows <= PREP_ROWS &&
           n_parts * panels <= LK_VK_MAX_PARTS && lk_vk_facts_fit(&b->e->facts, name, spec);
}

/* A norm whose readers are all mat-vecs that can do it themselves. */
static bool leave_norm(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    if (op->u.norm.group != b->plan->slots[op->out].width || only_kind(b, op->out) < 0) {
        return false;
    }
    for (int j = 0; j < b->plan->n_ops; j++) {
        const struct lk_op *o = &b->plan->ops[j];
        if (lk_op_reads(o, op->out) && !can_prep(b, &b->plan->weights[o->weight], 2)) {
            return false;
        }
    }
    b->norm_of[op->out] = i;
    return true;
}

static void norm(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    uint32_t width = width_of(b, op->out), group = (uint32_t)op->u.norm.group;
    if (b->one && leave_norm(b, i)) {
        return;
    }
    int add = group == width ? own_add(b, i) : -1, in = norm_input(b, i);
    int kind = b->fuse && group == width ? only_kind(b, op->out) : -1;
    bool quant = kind >= 0 && !x_is_slot(b, op->out, (uint32_t)kind);
    lk_vk_vector(b, op->weight);
    int piece = quant ? new_x_piece(b, op->out, (uint32_t)kind) : -1;
    struct lk_vk_step *s =
        lk_vk_add_step(b, b->plan->slots[op->out].rows, LK_VK_GRID_ROWS, width / group);
    lk_vk_set_pipe(b, s, 0, "norm", quant ? (uint32_t)kind : 0, quant, add >= 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, in, false);
    lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, quant ? in : op->out, !quant);
    struct lk_vk_norm_push push = {.width = width,
                                   .group = group,
                                   .eps = lk_bits(op->u.norm.eps),
                                   .inv_n = lk_bits((float)(1.0 / (double)group)),
                                   .store = !quant,
                                   .op = (uint32_t)i};
    if (quant) {
        struct x_layout x = x_layout_of(b, op->out, (uint32_t)kind);
        lk_vk_bind(s, 3, LK_VK_BIND_PIECE, piece, true);
        push.x_stride = x.stride;
        push.x_d = x.d;
        push.x_s = x.s;
    }
    if (add >= 0) {
        const struct lk_op *o = &b->plan->ops[add];
        lk_vk_bind(s, 2, LK_VK_BIND_PIECE, o->out, true);
        lk_vk_bind(s, 4, LK_VK_BIND_PIECE, o->in[0] == op->out ? o->in[1] : o->in[0], false);
        push.op_next = (uint32_t)add;
        b->done[add] = true;
    }
    lk_vk_set_push(s, &push, sizeof push);
}

static void set_kernel(struct lk_vk_builder *b, struct lk_vk_step *s, int variant,
                       const struct lk_vk_kernel *k)
{
    lk_vk_set_pipe(b, s, variant, k->shader, k->spec[0], k->spec[1], k->spec[2], k->spec[3]);
}

/* The kernels of a matmul for every number of rows with which the list runs. */
static void matmul_pipes(struct lk_vk_builder *b, struct lk_vk_step *s, enum lk_type type,
                         uint32_t k, uint32_t epilogue, uint32_t prep)
{
    const struct lk_vk_facts *f = &b->e->facts;
    uint32_t rows = max_rows(b, s->rows), least = least_rows(b, s->rows);
    for (int v = LK_VK_MV1; v <= LK_VK_MV8; v++) {
        uint32_t most = v == LK_VK_MV8 ? LK_VK_SMALL : lk_vk_variant_cols(f, v);
        if (most < least || (v > LK_VK_MV1 && rows <= lk_vk_variant_cols(f, v - 1))) {
            continue;
        }
        struct lk_vk_kernel kernel = lk_vk_matvec(f, type, v, s->x, k, epilogue, prep);
        set_kernel(b, s, v, &kernel);
    }
    if (rows > LK_VK_SMALL) {
        struct lk_vk_tile tile = lk_vk_tile_for(f, type, s->x, rows, epilogue);
        s->tile_groups = tile.groups;
        s->tile_cols = tile.cols;
        set_kernel(b, s, LK_VK_TILE, &tile.kernel);
    }
}

/* Binds a slot for writing where it lies. */
static void bind_out(const struct lk_vk_builder *b, struct lk_vk_step *s, int at, int slot)
{
    lk_vk_bind(s, at, LK_VK_BIND_PIECE, b->home[slot].piece, true);
    if (b->home[slot].piece != slot) {
        s->bind[at].at = b->home[slot].at;
        s->bind[at].bytes = (VkDeviceSize)b->plan->slots[slot].width * 4;
    }
}

/* Steps of a registered matrix against slot `in`; op[] the matmul of each part. */
static void emit_matmul(struct lk_vk_builder *b, int m, const int *op, int in, uint32_t epilogue,
                        int next)
{
    const struct lk_plan *plan = b->plan;
    enum lk_type type = b->e->store.matrices[m].type;
    uint32_t kind = x_kind(type), prep = LK_VK_PREP_NONE;
    int piece = in, front = b->norm_of[in];
    if (front >= 0) {
        prep = LK_VK_PREP_NORM;
        piece = norm_input(b, front);
    } else if (b->x_piece[in * LK_ACTS_KINDS + (int)kind] < 0 &&
               can_prep(b, &plan->weights[plan->ops[op[0]].weight],
                        epilogue >= LK_VK_EPI_SILU ? 2 : 1)) {
        prep = LK_VK_PREP_QUANT;
    } else {
        piece = x_piece(b, in, kind);
    }
    struct x_layout x = x_layout_of(b, in, kind);
    if (piece == in) {
        x.stride = width_of(b, in);
    }
    for (int c = 0; c < b->e->store.matrices[m].n_chunks && !b->status; c++) {
        const struct lk_vk_matrix *mx = &b->e->store.matrices[m];
        const struct lk_vk_chunk *chunk = &mx->chunks[c];
        bool glu = epilogue >= LK_VK_EPI_SILU;
        struct lk_vk_step *s =
            lk_vk_add_step(b, plan->slots[plan->ops[op[0]].out].rows, LK_VK_GRID_MATMUL,
                           glu ? mx->first_group[1] : chunk->n_groups);
        s->work = (uint64_t)chunk->n_groups * LK_VK_ROWS * (uint64_t)mx->cols;
        matmul_pipes(b, s, type, (uint32_t)mx->cols, epilogue, prep);
        lk_vk_bind(s, 0, LK_VK_BIND_CHUNK, m, false);
        s->bind[0].sub = c;
        lk_vk_bind(s, 1, LK_VK_BIND_PIECE, piece, false);
        struct lk_vk_matmul_push p = {.n_groups = chunk->n_groups,
                                      .k = (uint32_t)mx->cols,
                                      .n_blocks = mx->n_blocks,
                                      .mid = chunk->mid,
                                      .tail = chunk->tail,
                                      .x_stride = x.stride,
                                      .x_d = x.d,
                                      .x_s = x.s,
                                      .rg1 = mx->n_parts > 1 ? mx->first_group[1] : chunk->n_groups,
                                      .rg2 = mx->n_parts > 1 ? mx->first_group[2] : chunk->n_groups,
                                      .at0 = chunk->group0 * LK_VK_ROWS};
        uint32_t *n[3] = {&p.n0, &p.n1, &p.n2}, *w[3] = {&p.w0, &p.w1, &p.w2};
        uint32_t *ops[3] = {&p.op0, &p.op1, &p.op2};
        for (int i = 0; i < 3; i++) {
            const struct lk_op *o = &plan->ops[op[i < mx->n_parts ? i : 0]];
            uint32_t rows = (uint32_t)plan->weights[o->weight].rows;
            if (mx->n_parts == 1) {
                rows -= p.at0;
                rows = rows < chunk->n_groups * LK_VK_ROWS ? rows : chunk->n_groups * LK_VK_ROWS;
            }
            *n[i] = rows;
            *w[i] = width_of(b, o->out);
            *ops[i] = (uint32_t)op[i < mx->n_parts ? i : 0];
            if (i < mx->n_parts) {
                s->op[i] = op[i];
                s->n_ops = i + 1;
            }
            if (i < mx->n_parts && epilogue == LK_VK_EPI_STORE) {
                bind_out(b, s, 2 + i, o->out);
            }
        }
        if (front >= 0) {
            const struct lk_op *o = &plan->ops[front];
            lk_vk_vector(b, o->weight);
            lk_vk_bind(s, 6, LK_VK_BIND_VECTOR, o->weight, false);
            p.eps = lk_bits(o->u.norm.eps);
            p.inv_n = lk_bits((float)(1.0 / (double)o->u.norm.group));
            p.op_norm = (uint32_t)front;
        }
        if (next >= 0) {
            const struct lk_op *o = &plan->ops[next];
            p.op_next = (uint32_t)next;
            if (epilogue == LK_VK_EPI_ADD) {
                int other = o->in[0] == plan->ops[op[0]].out ? o->in[1] : o->in[0];
                lk_vk_bind(s, 3, LK_VK_BIND_PIECE, o->out, true);
                lk_vk_bind(s, 5, LK_VK_BIND_PIECE, other, false);
            } else {
                p.w0 = width_of(b, o->out);
                lk_vk_bind(s, 2, LK_VK_BIND_PIECE, o->out, true);
            }
        }
        /* Bindings that a variant names but doesn't use must still be valid. */
        struct lk_vk_bind unused = s->bind[next >= 0 && epilogue == LK_VK_EPI_ADD ? 3 : 2];
        unused.write = false;
        for (int i = 2; i <= 6; i++) {
            if (s->bind[i].kind == LK_VK_BIND_NONE) {
                s->bind[i] = unused;
            }
        }
        lk_vk_set_push(s, &p, sizeof p);
    }
}

static bool try_glu(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    int g = sole_reader(b, op->out, LK_OP_GLU);
    if (!b->small || g < 0) {
        return false;
    }
    const struct lk_op *glu = &b->plan->ops[g];
    int other = glu->in[0] == op->out ? glu->in[1] : glu->in[0];
    int j = b->producer[other];
    if (j < 0 || j == i || b->done[j] || b->plan->ops[j].kind != LK_OP_MATMUL ||
        b->plan->ops[j].in[0] != op->in[0] || b->uses[other] != 1) {
        return false;
    }
    int pair[2] = {b->producer[glu->in[0]], b->producer[glu->in[1]]};
    int part[2] = {b->plan->ops[pair[0]].weight, b->plan->ops[pair[1]].weight};
    if (b->plan->weights[part[0]].rows != b->plan->weights[part[1]].rows) {
        return false;
    }
    int m = lk_vk_store_matrix(&b->e->store, &b->e->facts, b->plan, part, 2, &b->status, b->err);
    if (m < 0) {
        return false;
    }
    emit_matmul(b, m, pair, op->in[0],
                glu->u.glu.act == LK_ACT_SILU ? LK_VK_EPI_SILU : LK_VK_EPI_GELU, g);
    b->done[i] = b->done[j] = b->done[g] = true;
    return true;
}

/* Matmuls of the same input together: q, k and v; gate and up. */
static bool try_together(struct lk_vk_builder *b, int i)
{
    int op[3] = {i}, part[3] = {b->plan->ops[i].weight}, n = 1;
    for (int j = i + 1; j < b->plan->n_ops && n < 3; j++) {
        const struct lk_op *o = &b->plan->ops[j];
        if (o->kind == LK_OP_MATMUL && o->in[0] == b->plan->ops[i].in[0] && !b->done[j] &&
            b->plan->weights[o->weight].type == b->plan->weights[part[0]].type) {
            op[n] = j;
            part[n++] = o->weight;
        }
    }
    if (n == 1) {
        return false;
    }
    int m = lk_vk_store_matrix(&b->e->store, &b->e->facts, b->plan, part, n, &b->status, b->err);
    if (m < 0) {
        return false;
    }
    emit_matmul(b, m, op, b->plan->ops[i].in[0], LK_VK_EPI_STORE, -1);
    for (int j = 0; j < n; j++) {
        b->done[op[j]] = true;
    }
    return true;
}

static void matmul(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    if (b->fuse && (try_glu(b, i) || try_together(b, i))) {
        return;
    }
    if (b->status) {
        return;
    }
    uint32_t epilogue = LK_VK_EPI_STORE;
    int add = own_add(b, i);
    if (add >= 0) {
        epilogue = LK_VK_EPI_ADD;
        b->done[add] = true;
    }
    int m =
        lk_vk_store_matrix(&b->e->store, &b->e->facts, b->plan, &op->weight, 1, &b->status, b->err);
    if (!b->status) {
        emit_matmul(b, m, &i, op->in[0], epilogue, add);
    }
}

static void rope(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    const struct lk_rope *r = &b->plan->ropes[op->u.rope.rope];
    uint32_t pairs = (uint32_t)(op->u.rope.n_head * ((op->u.rope.head_dim + 1) / 2));
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS,
                                          (pairs + LK_VK_ROPE_PAIRS - 1) / LK_VK_ROPE_PAIRS);
    lk_vk_set_pipe(b, s, 0, "rope", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, op->in[0], false);
    lk_vk_bind(s, 1, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, op->out, true);
    struct lk_vk_rope_push push = {.n_head = (uint32_t)op->u.rope.n_head,
                                   .head_dim = (uint32_t)op->u.rope.head_dim,
                                   .n_dims = (uint32_t)r->n_dims,
                                   .interleaved = r->interleaved,
                                   .cs = b->e->at.cs[op->u.rope.rope],
                                   .cs_stride = b->e->at.cs_stride,
                                   .op = (uint32_t)i};
    lk_vk_set_push(s, &push, sizeof push);
}

static void kv_store(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    const struct lk_state *k = &b->plan->states[op->u.kv_store.k];
    uint32_t n = (uint32_t)(k->n_head * k->dim);
    struct lk_vk_step *s =
        lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, (n + n / 2 + 63) / 64);
    lk_vk_set_pipe(b, s, 0, "kv_store", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, op->in[0], false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, op->in[1], false);
    lk_vk_bind(s, 2, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 3, LK_VK_BIND_STATE, op->u.kv_store.k, true);
    lk_vk_bind(s, 4, LK_VK_BIND_STATE, op->u.kv_store.v, true);
    struct lk_vk_kv_push push = {.n_kv_head = (uint32_t)k->n_head,
                                 .head_dim = (uint32_t)k->head_dim,
                                 .dim = (uint32_t)k->dim,
                                 .pos = b->e->at.pos,
                                 .seq = b->e->at.seq,
                                 .table = b->e->at.table,
                                 .max_blocks = (uint32_t)b->e->o.max_blocks};
    lk_vk_set_push(s, &push, sizeof push);
}

int lk_vk_attn_index(struct lk_vk_builder *b, const struct lk_vk_attn *attn)
{
    int l = (int)(b->list - b->e->list);
    struct lk_vk_attn *have = b->e->attn[l];
    int n = b->e->n_attn[l];
    for (int i = 0; i < n; i++) {
        if (have[i].window == attn->window && have[i].tokens == attn->tokens &&
            have[i].y == attn->y) {
            return i;
        }
    }
    if (n == LK_VK_MAX_ATTN) {
        if (!b->status) {
            b->status =
                lk_fail(b->err, LK_E_UNSUPPORTED,
                        "attention: more than %d windows and shapes of heads", LK_VK_MAX_ATTN);
        }
        return 0;
    }
    have[n] = *attn;
    return b->e->n_attn[l]++;
}

/* Query rows of a workgroup: what shared memory holds of them. */
static uint32_t most_rows(const struct lk_vk_facts *f, uint32_t dim)
{
    uint32_t spec[4] = {LK_VK_ATTN_ROWS, dim, 0, LK_VK_ATTN_ROWS / LK_VK_ATTN_OWN * 32};
    while (spec[0] > LK_VK_ATTN_OWN && !lk_vk_facts_fit(f, "attn", spec)) {
        spec[0] /= 2;
        spec[3] /= 2;
    }
    return spec[0];
}

static void attention(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    struct lk_exec *e = b->e;
    struct lk_attn_shape shape = lk_attn_shape_of(b->plan, op);
    uint32_t n_head = (uint32_t)shape.n_head, nkv = (uint32_t)shape.n_kv_head;
    uint32_t group = (uint32_t)shape.group, dim = (uint32_t)shape.dim;
    if (!b->status && dim > LK_VK_MAX_DIM) {
        b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                            "attention of layer %d: head dimension %d, the Vulkan kernels take up "
                            "to %d",
                            op->layer, shape.head_dim, LK_VK_MAX_DIM);
    }
    uint32_t rows = b->small ? LK_VK_ATTN_SMALL : most_rows(&e->facts, dim);
    rows = b->small && group < rows ? group : rows;
    uint32_t head_tiles = (group + rows - 1) / rows;
    struct lk_vk_attn kind = {.window = op->u.attention.window,
                              .tokens = b->small || group > rows ? 1 : rows / group,
                              .y = nkv * head_tiles};
    uint32_t attn = (uint32_t)lk_vk_attn_index(b, &kind);
    if (b->solo[i].store >= 0) {
        lk_vk_solo_attention(b, i, rows, head_tiles, attn);
        return;
    }
    struct lk_vk_attn_push push = {.n_head = n_head,
                                   .n_kv_head = nkv,
                                   .head_dim = (uint32_t)shape.head_dim,
                                   .dim = dim,
                                   .window = (uint32_t)op->u.attention.window,
                                   .score_in = lk_bits(op->u.attention.score_in),
                                   .score_cap = lk_bits(op->u.attention.score_cap),
                                   .head_tiles = head_tiles,
                                   .pos = e->at.pos,
                                   .seq = e->at.seq,
                                   .table = e->at.table,
                                   .max_blocks = (uint32_t)e->o.max_blocks,
                                   .tiles = e->at.tiles + attn * e->at.tiles_each,
                                   .max_splits = (uint32_t)e->o.max_blocks,
                                   .op = (uint32_t)i};
    int part = -1;
    if (b->small) {
        VkDeviceSize partials = (VkDeviceSize)b->list->max_tokens * n_head * push.max_splits;
        push.part_l = (uint32_t)(partials * dim);
        part = lk_vk_add_piece(b, partials * (dim + 2) * 4, "partial results of attention");
    }
    struct lk_vk_step *s =
        lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ATTN, e->at.indirect + 4 * attn);
    s->y = kind.y;
    s->work = lk_vk_attention_work(b, op);
    uint32_t flags = b->small ? LK_VK_ATTN_SPLIT : 0;
    flags |= e->facts.unpack16 ? LK_VK_ATTN_UNPACK : 0;
    flags |= push.score_cap ? LK_VK_ATTN_CAP : 0;
    lk_vk_set_pipe(b, s, 0, "attn", rows, dim, flags, b->small ? 32 : rows / LK_VK_ATTN_OWN * 32);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, op->in[0], false);
    lk_vk_bind(s, 1, LK_VK_BIND_STATE, op->u.attention.k, false);
    lk_vk_bind(s, 2, LK_VK_BIND_STATE, op->u.attention.v, false);
    lk_vk_bind(s, 3, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 4, LK_VK_BIND_PIECE, op->out, !b->small);
    lk_vk_bind(s, 5, LK_VK_BIND_PIECE, b->small ? part : op->out, b->small);
    lk_vk_set_push(s, &push, sizeof push);
    if (b->small) {
        s = lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_MERGE,
                           ((uint32_t)shape.head_dim + 63) / 64);
        s->y = n_head;
        lk_vk_set_pipe(b, s, 0, "attn_merge", 0, 0, 0, 0);
        lk_vk_bind(s, 3, LK_VK_BIND_BATCH, 0, false);
        lk_vk_bind(s, 4, LK_VK_BIND_PIECE, op->out, true);
        lk_vk_bind(s, 5, LK_VK_BIND_PIECE, part, false);
        lk_vk_set_push(s, &push, sizeof push);
    }
}

static void elementwise(struct lk_vk_builder *b, int i, uint32_t kind)
{
    const struct lk_op *op = &b->plan->ops[i];
    struct lk_vk_step *s = lk_vk_add_step(b, b->plan->slots[op->out].rows, LK_VK_GRID_ELEMS, 0);
    s->y = width_of(b, op->out);
    struct lk_vk_elt_push push = {.width = s->y, .op = (uint32_t)i};
    lk_vk_set_pipe(b, s, 0, "elementwise", kind, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, op->in[0], false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, op->out, true);
    if (kind == LK_VK_ELT_BIAS) {
        lk_vk_vector(b, op->weight);
        lk_vk_bind(s, 1, LK_VK_BIND_VECTOR, op->weight, false);
    } else {
        lk_vk_bind(s, 1, LK_VK_BIND_PIECE, kind == LK_VK_ELT_SOFTCAP ? op->in[0] : op->in[1],
                   false);
    }
    if (kind == LK_VK_ELT_SOFTCAP) {
        push.cap_in = lk_bits(op->u.softcap.cap_in);
        push.cap_out = lk_bits(op->u.softcap.cap_out);
    }
    lk_vk_set_push(s, &push, sizeof push);
}

static void glu(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    uint32_t act = op->u.glu.act == LK_ACT_SILU ? LK_VK_ELT_SILU : LK_VK_ELT_GELU;
    int kind = b->fuse ? only_kind(b, op->out) : -1;
    if (kind == LK_VK_X_Q32 || kind == LK_VK_X_Q256) {
        quantize(b, op->out, (uint32_t)kind, act, op->in[0], op->in[1]);
    } else {
        elementwise(b, i, act);
    }
}

static void gather(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    uint32_t width = width_of(b, op->out);
    struct lk_vk_step *s = lk_vk_add_step(b, LK_ROWS_OUTPUTS, LK_VK_GRID_ROWS, (width + 127) / 128);
    lk_vk_set_pipe(b, s, 0, "gather", 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, op->in[0], false);
    lk_vk_bind(s, 1, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 2, LK_VK_BIND_PIECE, op->out, true);
    struct lk_vk_gather_push push = {0, width, b->e->at.outputs};
    lk_vk_set_push(s, &push, sizeof push);
}

static void emit(struct lk_vk_builder *b, int i)
{
    const struct lk_op *op = &b->plan->ops[i];
    b->op = i;
    switch (op->kind) {
    case LK_OP_EMBED:
        embed(b, i);
        break;
    case LK_OP_NORM:
        norm(b, i);
        break;
    case LK_OP_MATMUL:
        matmul(b, i);
        break;
    case LK_OP_BIAS:
        elementwise(b, i, LK_VK_ELT_BIAS);
        break;
    case LK_OP_ROPE:
        rope(b, i);
        break;
    case LK_OP_KV_STORE:
        kv_store(b, i);
        break;
    case LK_OP_ATTENTION:
        attention(b, i);
        break;
    case LK_OP_GLU:
        glu(b, i);
        break;
    case LK_OP_ADD:
        elementwise(b, i, LK_VK_ELT_ADD);
        break;
    case LK_OP_GATHER:
        gather(b, i);
        break;
    case LK_OP_SOFTCAP:
        elementwise(b, i, LK_VK_ELT_SOFTCAP);
        break;
    case LK_OP_KINDS:
        break;
    }
    b->done[i] = true;
}

lk_status lk_vk_list_build(struct lk_exec *e, struct lk_vk_list *list, VkDeviceSize *arena,
                           lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    size_t n_slots = (size_t)plan->n_slots;
    struct lk_vk_builder b = {.e = e,
                              .list = list,
                              .plan = plan,
                              .uses = lk_alloc_array(n_slots, sizeof(int)),
                              .producer = lk_alloc_array(n_slots, sizeof(int)),
                              .x_piece = lk_alloc_array(n_slots * LK_ACTS_KINDS, sizeof(int)),
                              .norm_of = lk_alloc_array(n_slots, sizeof(int)),
                              .home = lk_alloc_array(n_slots, sizeof(struct lk_vk_home)),
                              .solo =
                                  lk_alloc_array((size_t)plan->n_ops, sizeof(struct lk_vk_solo)),
                              .done = lk_alloc_array((size_t)plan->n_ops, sizeof(bool)),
                              .fuse = e->o.fuse && !e->o.keep_ops,
                              .small = list != &e->list[LK_VK_MANY],
                              .err = err};
    b.one = b.fuse && list == &e->list[LK_VK_ONE];
    if (!b.uses || !b.producer || !b.x_piece || !b.norm_of || !b.home || !b.solo || !b.done) {
        b.status = lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    for (int i = 0; i < plan->n_slots && !b.status; i++) {
        b.producer[i] = b.norm_of[i] = -1;
        b.home[i] = (struct lk_vk_home){i, 0};
        for (int k = 0; k < LK_ACTS_KINDS; k++) {
            b.x_piece[i * LK_ACTS_KINDS + k] = -1;
        }
        lk_vk_add_piece(&b,
                        padded_rows(&b, plan->slots[i].rows) * (VkDeviceSize)plan->slots[i].width *
                            4,
                        "rows of a slot");
    }
    for (int i = 0; i < plan->n_ops && !b.status; i++) {
        const struct lk_op *op = &plan->ops[i];
        for (int k = 0; k < op->n_in; k++) {
            b.uses[op->in[k]]++;
        }
        if (op->out >= 0) {
            b.producer[op->out] = i;
        }
        b.solo[i].store = -1;
    }
    if (b.one && !b.status) {
        lk_vk_find_solo(&b);
    }
    for (int i = 0; i < plan->n_ops && !b.status; i++) {
        if (!b.done[i]) {
            emit(&b, i);
        }
    }
    lk_free(b.uses);
    lk_free(b.producer);
    lk_free(b.x_piece);
    lk_free(b.norm_of);
    lk_free(b.home);
    lk_free(b.solo);
    lk_free(b.done);
    if (b.status) {
        return b.status;
    }
    *arena = lk_vk_list_place(list, plan, e->o.keep_ops || e->trial);
    return lk_vk_list_check(e, list, err);
}
