/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_builder: see plan_builder.h.
 */
#include "plan/plan_builder.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"

int lk_build_slot(struct lk_builder *b, int width, enum lk_rows rows)
{
    struct lk_plan *p = b->plan;
    if (!b->status) {
        b->status =
            lk_grow(&p->slots, &b->cap_slots, (size_t)p->n_slots + 1, sizeof *p->slots, b->err);
    }
    if (b->status) {
        return -1;
    }
    p->slots[p->n_slots] = (struct lk_slot){width, rows};
    return p->n_slots++;
}

struct lk_op *lk_build_op(struct lk_builder *b, enum lk_op_kind kind, int layer, int in0, int in1,
                          int out, int weight)
{
    struct lk_plan *p = b->plan;
    if (!b->status) {
        b->status = lk_grow(&p->ops, &b->cap_ops, (size_t)p->n_ops + 1, sizeof *p->ops, b->err);
    }
    if (b->status) {
        return &b->sink;
    }
    p->ops[p->n_ops] = lk_op_make(kind, in0, in1, out, weight);
    p->ops[p->n_ops].layer = layer;
    p->ops[p->n_ops].feed_forward = b->feed_forward;
    return &p->ops[p->n_ops++];
}

static struct lk_weight *add_weight(struct lk_builder *b, int *index)
{
    struct lk_plan *p = b->plan;
    if (!b->status) {
        b->status = lk_grow(&p->weights, &b->cap_weights, (size_t)p->n_weights + 1,
                            sizeof *p->weights, b->err);
    }
    if (b->status) {
        return NULL;
    }
    *index = p->n_weights;
    return &p->weights[p->n_weights++];
}

int lk_build_state(struct lk_builder *b, struct lk_state state)
{
    struct lk_plan *p = b->plan;
    if (!b->status) {
        b->status =
            lk_grow(&p->states, &b->cap_states, (size_t)p->n_states + 1, sizeof *p->states, b->err);
    }
    if (b->status) {
        return -1;
    }
    p->states[p->n_states] = state;
    return p->n_states++;
}

void lk_build_mark(struct lk_builder *b, const char *name)
{
    const struct lk_gguf_tensor *t = lk_gguf_find_tensor(b->gguf, name);
    if (t) {
        b->bound[t - lk_gguf_tensor_at(b->gguf, 0)] = 1;
    }
}

int lk_build_matrix_rows(struct lk_builder *b, const char *name, int all, int first, int rows,
                         int cols)
{
    int index = -1;
    struct lk_weight *w = add_weight(b, &index);
    if (w) {
        b->status = lk_bind_matrix(b->gguf, name, all, first, rows, cols, w, b->err);
        lk_build_mark(b, name);
    }
    return index;
}

int lk_build_matrix(struct lk_builder *b, const char *name, int rows, int cols)
{
    return lk_build_matrix_rows(b, name, rows, 0, rows, cols);
}

int lk_build_expert_matrices(struct lk_builder *b, const char *name, int n, int all, int first,
                             int rows, int cols)
{
    int index = -1;
    struct lk_weight *w = add_weight(b, &index);
    if (w) {
        b->status = lk_bind_experts(b->gguf, name, n, all, first, rows, cols, w, b->err);
        lk_build_mark(b, name);
    }
    return index;
}

void lk_build_own(struct lk_builder *b, void *copy)
{
    struct lk_plan *p = b->plan;
    if (!copy) {
        return;
    }
    if (!b->status) {
        b->status =
            lk_grow(&p->copies, &b->cap_copies, (size_t)p->n_copies + 1, sizeof *p->copies, b->err);
    }
    if (b->status) {
        lk_free(copy);
    } else {
        p->copies[p->n_copies++] = copy;
    }
}

int lk_build_vectors(struct lk_builder *b, const char *name, int count, int all)
{
    int index = -1;
    struct lk_weight *w = add_weight(b, &index);
    if (w) {
        void *copy;
        b->status = lk_bind_vector(b->gguf, name, count, all, w, &copy, b->err);
        lk_build_own(b, copy);
        lk_build_mark(b, name);
    }
    return index;
}

void lk_build_keep_part(struct lk_builder *b, int index, const char *name, int first, int n)
{
    struct lk_weight *w = b->status ? NULL : &b->plan->weights[index];
    if (w && n < w->cols) {
        w->data = (const float *)w->data + first;
        w->cols = n;
        w->n_bytes = (size_t)n * sizeof(float);
        snprintf(w->name, sizeof w->name, "%.60s[%d:%d]", name, first, first + n);
    }
}

int lk_build_vector_part(struct lk_builder *b, const char *name, int all, int first, int n)
{
    int index = lk_build_vectors(b, name, 1, all);
    lk_build_keep_part(b, index, name, first, n);
    return index;
}

int lk_build_vector(struct lk_builder *b, const char *name, int n)
{
    return lk_build_vector_part(b, name, n, 0, n);
}

int lk_build_made_vector(struct lk_builder *b, const char *name, int n, float **values)
{
    int index = -1;
    struct lk_weight *w = add_weight(b, &index);
    float *v = w ? lk_alloc_array((size_t)n, sizeof *v) : NULL;
    if (w && !v) {
        b->status = lk_fail(b->err, LK_E_NOMEM, "out of memory for vector '%s'", name);
    }
    for (int i = 0; v && i < n; i++) {
        v[i] = 1.0f;
    }
    lk_build_own(b, v);
    if (b->status) {
        return -1;
    }
    *w = (struct lk_weight){.type = LK_TYPE_F32,
                            .rows = 1,
                            .cols = n,
                            .data = v,
                            .n_bytes = (size_t)n * sizeof *v,
                            .made = true};
    snprintf(w->name, sizeof w->name, "%s", name);
    *values = v;
    return index;
}

bool lk_build_has(const struct lk_builder *b, const char *name)
{
    return lk_gguf_find_tensor(b->gguf, name) != NULL;
}

double lk_build_number(struct lk_builder *b, const char *name)
{
    if (b->status || !lk_build_has(b, name)) {
        return 1.0;
    }
    struct lk_weight w = {0};
    void *copy;
    b->status = lk_bind_vector(b->gguf, name, 1, 1, &w, &copy, b->err);
    lk_build_mark(b, name);
    float value = b->status ? 1.0f : *(const float *)w.data;
    lk_free(copy);
    if (lk_out_of_range(value)) {
        b->status =
            lk_fail(b->err, LK_E_FORMAT, "%s: tensor '%s' element 0 is %g, expected -2^40 to 2^40",
                    lk_gguf_path(b->gguf), name, (double)value);
    }
    return (double)lk_flush(value);
}

const char *lk_build_blk(char buf[96], int layer, const char *suffix)
{
    snprintf(buf, 96, "blk.%d.%s", layer, suffix);
    return buf;
}

int lk_build_norm_by(struct lk_builder *b, int layer, int in, int width, int group, int w)
{
    enum lk_rows rows = b->status ? LK_ROWS_TOKENS : b->plan->slots[in].rows;
    int out = lk_build_slot(b, width, rows);
    enum lk_op_kind kind = b->h.arch->layer_norm ? LK_OP_LAYER_NORM : LK_OP_NORM;
    struct lk_op *op = lk_build_op(b, kind, layer, in, -1, out, w);
    op->u.norm.group = group;
    op->u.norm.eps = b->h.eps;
    return out;
}

int lk_build_norm(struct lk_builder *b, int layer, int in, int width, int group, const char *name)
{
    return lk_build_norm_by(b, layer, in, width, group, lk_build_vector(b, name, group));
}

int lk_build_product(struct lk_builder *b, int layer, int in, int weight)
{
    if (b->status) {
        return -1;
    }
    int out = lk_build_slot(b, (int)b->plan->weights[weight].rows, b->plan->slots[in].rows);
    lk_build_op(b, LK_OP_MATMUL, layer, in, -1, out, weight);
    return out;
}

bool lk_build_name_of_scale(const struct lk_weight *w, char name[96])
{
    const char *end = strstr(w->name, ".weight");
    snprintf(name, 96, "%.*s.scale", end ? (int)(end - w->name) : 0, w->name);
    return end != NULL;
}

int lk_build_matmul(struct lk_builder *b, int layer, int in, int weight)
{
    char name[96];
    int out = lk_build_product(b, layer, in, weight);
    bool may = !b->status && lk_build_name_of_scale(&b->plan->weights[weight], name);
    return may ? lk_build_scale(b, layer, out, lk_build_number(b, name)) : out;
}

int lk_build_bias_part(struct lk_builder *b, int layer, int in, const char *name, int all,
                       int first, bool required)
{
    if (b->status || (!required && !lk_build_has(b, name))) {
        return in;
    }
    int width = b->plan->slots[in].width;
    int w = lk_build_vector_part(b, name, all, first, width);
    int out = lk_build_slot(b, width, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_BIAS, layer, in, -1, out, w);
    return out;
}

int lk_build_bias(struct lk_builder *b, int layer, int in, const char *name, bool required)
{
    return lk_build_bias_part(b, layer, in, name, b->status ? 0 : b->plan->slots[in].width, 0,
                              required);
}

int lk_build_rope(struct lk_builder *b, int layer, int in, int n_head, int head_dim, int table)
{
    int out = lk_build_slot(b, n_head * head_dim, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_ROPE, layer, in, -1, out, -1);
    op->u.rope.rope = table;
    op->u.rope.n_head = n_head;
    op->u.rope.head_dim = head_dim;
    return out;
}

int lk_build_scale(struct lk_builder *b, int layer, int in, double factor)
{
    if (b->status || factor == 1.0) {
        return in;
    }
    const struct lk_slot *slot = &b->plan->slots[in];
    int out = lk_build_slot(b, slot->width, slot->rows);
    lk_build_op(b, LK_OP_SCALE, layer, in, -1, out, -1)->u.scale.factor = (float)factor;
    return out;
}

int lk_build_add(struct lk_builder *b, int layer, int x, int branch)
{
    int y = lk_build_scale(b, layer, branch, b->h.residual_scale);
    int out = lk_build_slot(b, b->h.n_embd, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_ADD, layer, x, y, out, -1);
    return out;
}

int lk_build_pick(struct lk_builder *b, int layer, int in, int groups, int width, int stride,
                  int at)
{
    int out = lk_build_slot(b, groups * width, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_PICK, layer, in, -1, out, -1);
    op->u.pick.width = width;
    op->u.pick.stride = stride;
    op->u.pick.at = at;
    return out;
}

int lk_build_glu(struct lk_builder *b, int layer, enum lk_act act, int gate, int up, int width,
                 enum lk_rows rows)
{
    int out = lk_build_slot(b, width, rows);
    lk_build_op(b, LK_OP_GLU, layer, gate, up, out, -1)->u.glu.act = act;
    return out;
}

int lk_build_join(struct lk_builder *b, int layer, int in, int width, int other, int behind)
{
    int groups = b->status ? 1 : b->plan->slots[in].width / width;
    int out = lk_build_slot(b, groups * (width + behind), LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_JOIN, layer, in, other, out, -1);
    op->u.join.width[0] = width;
    op->u.join.width[1] = behind;
    return out;
}

int lk_build_heads(struct lk_builder *b, int layer, int in, const char *suffix, int n_head,
                   int rows, int cols)
{
    char name[96];
    int w =
        lk_build_expert_matrices(b, lk_build_blk(name, layer, suffix), n_head, rows, 0, rows, cols);
    int out = lk_build_slot(b, n_head * rows, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_HEADS, layer, in, -1, out, w);
    return out;
}
