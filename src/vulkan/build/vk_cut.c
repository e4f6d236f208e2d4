/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_cut: see vk_cut.h.
 */
#include "vulkan/build/vk_cut.h"

#include "plan/kv_layout.h"
#include "shaders/params.h"

/* The kernel of many tokens by matrices of this dimension, or NULL: it has LK_VK_ATTN_MATRIX_ROWS.
 */
static const char *matrix_shader(const struct lk_vk_facts *f, struct lk_vk_cut *c)
{
    const char *shader = f->matrix ? "attn_matrix" : "attn_wide";
    uint32_t parts = LK_VK_ATTN_MATRIX_PARTS(c->dim);
    uint32_t spec[4] = {0, c->dim, c->flags, 128 * parts};
    bool loops = !f->narrow && !f->looped; /* which a driver on the CPU is long to compile */
    bool shape = c->dim == c->v_padded && c->dim <= LK_VK_MAX_V_DIM && c->dim % (32 * parts) == 0;
    if (!shape || !(f->matrix || loops)) {
        return NULL;
    }
    for (uint32_t share = parts - 1; share < 2; share++) {
        spec[2] = c->flags | share * LK_VK_ATTN_SHARE;
        if (lk_vk_facts_fit(f, shader, spec)) {
            c->flags = spec[2];
            return shader;
        }
    }
    return NULL;
}

/* Query rows of a workgroup of many: what shared memory holds of them. */
static uint32_t many_rows(const struct lk_vk_facts *f, const struct lk_vk_cut *c)
{
    uint32_t spec[4] = {LK_VK_ATTN_ROWS, c->dim, c->flags, LK_VK_ATTN_ROWS / LK_VK_ATTN_OWN * 32};
    while (spec[0] > LK_VK_ATTN_OWN && !lk_vk_facts_fit(f, c->shader, spec)) {
        spec[0] /= 2;
        spec[3] /= 2;
    }
    return spec[0];
}

struct lk_vk_cut lk_vk_cut_of(const struct lk_vk_facts *f, const struct lk_plan *plan,
                              const struct lk_op *op, bool few)
{
    struct lk_attn_shape shape = lk_attn_shape_of(plan, op);
    uint32_t group = (uint32_t)shape.group;
    struct lk_vk_cut c = {.n_head = (uint32_t)shape.n_head,
                          .n_kv_head = (uint32_t)shape.n_kv_head,
                          .head_dim = (uint32_t)shape.head_dim,
                          .dim = (uint32_t)shape.dim,
                          .v_dim = (uint32_t)shape.v_dim,
                          .v_padded = (uint32_t)shape.v_dim_padded,
                          .k_bits = (uint32_t)plan->states[op->u.attention.k].bits};
    c.flags = c.k_bits == LK_KV_K8_BITS ? LK_VK_ATTN_K8 : 0;
    c.flags |= op->u.attention.score_cap != 0.0f ? LK_VK_ATTN_CAP : 0;
    c.flags |= LK_VK_ATTN_VALUES(c.v_padded);
    const char *by_matrix = few ? NULL : matrix_shader(f, &c);
    c.by_matrix = by_matrix != NULL;
    c.shader = by_matrix ? by_matrix : f->int_dot ? "attn_dot" : "attn";
    /* an invocation of few has as many elements of a large head as of a small one */
    uint32_t few_rows = LK_VK_ATTN_FEW_ROWS / (c.v_padded > LK_VK_DECODE_DIM ? 2 : 1);
    c.rows = few ? few_rows : by_matrix ? LK_VK_ATTN_MATRIX_ROWS : many_rows(f, &c);
    c.rows = few && group < c.rows ? group : c.rows;
    c.threads = few         ? 32
                : by_matrix ? 128 * LK_VK_ATTN_MATRIX_PARTS(c.dim)
                            : c.rows / LK_VK_ATTN_OWN * 32;
    c.head_tiles = (group + c.rows - 1) / c.rows;
    c.tokens = few || group > c.rows ? 1 : c.rows / group;
    c.x = c.n_kv_head * c.head_tiles;
    return c;
}

bool lk_vk_cut_takes(const struct lk_vk_cut *c, int form)
{
    uint32_t row = c->n_head * c->v_dim, of_kv_head = row / c->n_kv_head;
    uint32_t whole = form == LK_VK_X_Q256 ? of_kv_head : row; /* what blocks must not go beyond */
    return (form == LK_VK_X_Q32 || form == LK_VK_X_Q256) && c->by_matrix &&
           !(c->flags & LK_VK_ATTN_SHARE) && c->v_dim == c->dim && whole % LK_VK_PANEL == 0;
}
