/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_latent: multi-head latent attention (DeepSeek V2) in the form that keeps no more than latent
 * rows: K and V are those of one head, and what makes a head's own keys out of them is done to its
 * query instead, what makes its own values to its result. Both are the same in real numbers.
 */
#include "plan/plan_builder.h"

static int matrix(struct lk_builder *b, int layer, const char *suffix, int rows, int cols)
{
    char name[96];
    return lk_build_matrix(b, lk_build_blk(name, layer, suffix), rows, cols);
}

/* The heads' own queries: by two matrices with a norm between them, or by one. */
static int own_queries(struct lk_builder *b, int layer, int n, int width)
{
    int n_embd = b->h.n_embd, rank = b->h.latent.q_rank;
    char name[96];
    if (rank == 0) {
        return lk_build_matmul(b, layer, n, matrix(b, layer, "attn_q.weight", width, n_embd));
    }
    int a = lk_build_matmul(b, layer, n, matrix(b, layer, "attn_q_a.weight", rank, n_embd));
    a = lk_build_norm(b, layer, a, rank, rank, lk_build_blk(name, layer, "attn_q_a_norm.weight"));
    return lk_build_matmul(b, layer, a, matrix(b, layer, "attn_q_b.weight", width, rank));
}

/* Queries of latent rows: what is not turned goes through the head's matrix of keys. */
static int queries(struct lk_builder *b, int layer, int n)
{
    const struct lk_latent *x = &b->h.latent;
    int n_head = b->h.layers[layer].n_head, n_rot = b->h.n_rot, each = x->still + n_rot;
    int own = own_queries(b, layer, n, n_head * each);
    int turned = lk_build_pick(b, layer, own, n_head, n_rot, each, x->still);
    int still = lk_build_pick(b, layer, own, n_head, x->still, each, 0);
    turned = lk_build_rope(b, layer, turned, n_head, n_rot, 0);
    still = lk_build_heads(b, layer, still, "attn_k_b.weight", n_head, x->rank, x->still);
    return lk_build_join(b, layer, still, x->rank, turned, n_rot);
}

int lk_build_latent(struct lk_builder *b, int layer, int n)
{
    const struct lk_latent *x = &b->h.latent;
    int n_head = b->h.layers[layer].n_head, n_rot = b->h.n_rot, n_embd = b->h.n_embd;
    int all = x->rank + n_rot, part[2];
    const int first[] = {0, x->rank, all};
    char name[96];
    for (int i = 0; i < 2; i++) { /* the latent row, and the part of keys that is turned */
        int w = lk_build_matrix_rows(b, lk_build_blk(name, layer, "attn_kv_a_mqa.weight"), all,
                                     first[i], first[i + 1] - first[i], n_embd);
        part[i] = lk_build_matmul(b, layer, n, w);
    }
    int q = queries(b, layer, n);
    int v = lk_build_norm(b, layer, part[0], x->rank, x->rank,
                          lk_build_blk(name, layer, "attn_kv_a_norm.weight"));
    int k = lk_build_rope(b, layer, part[1], 1, n_rot, 0);
    k = lk_build_join(b, layer, v, x->rank, k, n_rot);
    int a = lk_build_attend(b, layer, q, k, v);
    a = lk_build_heads(b, layer, a, "attn_v_b.weight", n_head, x->v_dim, x->rank);
    int w = matrix(b, layer, "attn_output.weight", n_embd, n_head * x->v_dim);
    return lk_build_matmul(b, layer, a, w);
}
