/* SPDX-License-Identifier: Apache-2.0
 *
 * Model_mixers: the keys of what mixes tokens in some layers otherwise than by plain attention.
 */
#include "plan/model_reader.h"

#include <stdio.h>

#include "base/real.h"

/* Sizes of multi-head latent attention. The keys of heads are those of the cache: one head, of a
 * latent row and what is turned. */
void lk_read_latent(struct reader *r, struct lk_hparams *h)
{
    struct lk_latent *x = &h->latent;
    char found[64], expected[96];
    if (!r->status && !has_key(r, "attention.key_length_mla")) {
        refuse(
            r, "attention.key_length_mla", "missing",
            "it: old converters wrote attn_kv_b.weight, which newer ones cut into attn_k_b.weight "
            "and attn_v_b.weight: convert the model again");
    }
    int k_dim =
        read_int(r, "attention.key_length_mla", true, h->n_rot + 1, h->n_rot + 1, MAX_OWN_DIM);
    x->rank = read_int(r, "attention.kv_lora_rank", true, 1, 1, LK_MAX_HEAD_DIM);
    x->q_rank = read_int(r, "attention.q_lora_rank", false, 0, 0, MAX_DIM);
    x->v_dim = read_int(r, "attention.value_length_mla", true, 1, 1, MAX_OWN_DIM);
    x->still = k_dim - h->n_rot;
    for (int i = 0; i < h->n_layer && !r->status; i++) {
        const struct lk_layer *l = &h->layers[i];
        if (l->n_kv_head != 1) {
            snprintf(found, sizeof found, "%d", l->n_kv_head);
            refuse(r, "attention.head_count_kv", found, "1, the latent row");
        } else if (l->k_dim != x->rank + h->n_rot) {
            snprintf(found, sizeof found, "%d", l->k_dim);
            snprintf(expected, sizeof expected, "kv_lora_rank and rope.dimension_count, %d + %d",
                     x->rank, h->n_rot);
            refuse(r, "attention.key_length", found, expected);
        } else if (l->v_dim != x->rank) {
            snprintf(found, sizeof found, "%d", l->v_dim);
            snprintf(expected, sizeof expected, "kv_lora_rank, %d", x->rank);
            refuse(r, "attention.value_length", found, expected);
        }
    }
    double scale = h->attn_scale > 0 ? h->attn_scale : 1.0 / lk_sqrt_f64(k_dim);
    h->attn_scale = scale * h->score_factor;
}

/* Which layers have the gated delta rule: the key has a bool a layer, or all but each n-th do. */
static void read_delta_layers(struct reader *r, struct lk_hparams *h)
{
    char full[128];
    int step = read_int(r, "full_attention_interval", false, 4, 1, MAX_LAYERS);
    const struct lk_gguf_value *v =
        lk_gguf_find(r->gguf, key_of(r, "attention.recurrent_layers", full));
    bool listed = v && v->type == LK_GGUF_ARRAY && v->elem == LK_GGUF_BOOL &&
                  v->count == (uint64_t)h->n_blocks;
    if (v && !listed) {
        refuse(r, "attention.recurrent_layers", lk_gguf_value_type_name(v),
               "an array with a bool for each block");
        return;
    }
    for (int i = 0; i < h->n_layer; i++) {
        bool delta = listed ? lk_gguf_array_int(v, (uint64_t)i) != 0 : (i + 1) % step != 0;
        h->layers[i].mixer = delta ? LK_MIX_DELTA : LK_MIX_ATTENTION;
    }
}

/* Sizes of a recurrent state. */
struct state_sizes {
    int taps, rows, n_group, n_head, dim;
};

static struct state_sizes read_state(struct reader *r)
{
    struct state_sizes s;
    char found[64];
    s.taps = read_int(r, "ssm.conv_kernel", true, 2, 2, LK_MAX_TAPS);
    s.rows = read_int(r, "ssm.state_size", true, LK_DELTA_CHAINS, 1, LK_MAX_DELTA_DIM);
    s.n_group = read_int(r, "ssm.group_count", true, 1, 1, MAX_LAYERS);
    s.n_head = read_int(r, "ssm.time_step_rank", true, 1, 1, MAX_LAYERS);
    int inner = read_int(r, "ssm.inner_size", true, s.n_head, 1, MAX_DIM);
    s.dim = inner / s.n_head;
    if (r->status) {
        return s;
    }
    if (s.rows % LK_DELTA_CHAINS != 0) {
        snprintf(found, sizeof found, "%d", s.rows);
        refuse(r, "ssm.state_size", found, "a multiple of 8");
    } else if (s.n_head % s.n_group != 0) {
        snprintf(found, sizeof found, "%d, with %d heads", s.n_group, s.n_head);
        refuse(r, "ssm.group_count", found, "a divisor of the heads");
    } else if (inner % s.n_head != 0 || s.dim > LK_MAX_DELTA_DIM) {
        snprintf(found, sizeof found, "%d, with %d heads", inner, s.n_head);
        refuse(r, "ssm.inner_size", found, "a multiple of the heads, at most 256 times as many");
    }
    return s;
}

void lk_read_delta(struct reader *r, struct lk_hparams *h)
{
    struct state_sizes s = read_state(r);
    h->delta = (struct lk_delta){
        .n_head = s.n_head, .n_k_head = s.n_group, .k_dim = s.rows, .v_dim = s.dim, .taps = s.taps};
    read_delta_layers(r, h);
}

void lk_read_ssm(struct reader *r, struct lk_hparams *h)
{
    struct state_sizes s = read_state(r);
    h->ssm = (struct lk_ssm){
        .n_head = s.n_head, .n_group = s.n_group, .rows = s.rows, .dim = s.dim, .taps = s.taps};
}
