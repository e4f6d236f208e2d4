/* SPDX-License-Identifier: Apache-2.0
 *
 * Backend: the table of backends in order of preference, and the check of a batch.
 */
#include "backend/backend.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const struct lk_backend_impl *const TABLE[] = {
#ifdef LK_HAVE_VULKAN
    &lk_backend_vulkan,
#endif
    &lk_backend_cpu,
    &lk_backend_scalar,
    &lk_backend_ref,
};

const struct lk_backend_impl *const *lk_backends(size_t *n)
{
    *n = LK_COUNT(TABLE);
    return TABLE;
}

const struct lk_backend_impl *lk_backend_find(const char *name)
{
    for (size_t i = 0; i < LK_COUNT(TABLE); i++) {
        if (strcmp(TABLE[i]->name, name) == 0) {
            return TABLE[i];
        }
    }
    return NULL;
}

int lk_state_units(const struct lk_state_geom *geom, int i)
{
    if (!lk_plan_keeps(geom->plan, i)) {
        return 0;
    }
    return lk_state_is_paged(&geom->plan->states[i]) ? geom->n_blocks : geom->n_slots;
}

size_t lk_state_bytes(const struct lk_state_geom *geom, int i)
{
    return (size_t)lk_state_units(geom, i) * lk_state_unit_bytes(&geom->plan->states[i]);
}

lk_status lk_state_check_range(const struct lk_state_geom *geom, int i, size_t offset, size_t n,
                               lk_error *err)
{
    bool known = i >= 0 && i < geom->plan->n_states;
    size_t end, have = known ? lk_state_bytes(geom, i) : 0;
    if (!lk_add_size(offset, n, &end) || end > have) {
        return lk_fail(err, LK_E_INVALID, "state %d: bytes %zu+%zu, expected at most %zu", i,
                       offset, n, have);
    }
    return LK_OK;
}

static lk_status bad(lk_error *err, const char *what, long found, long expected)
{
    return lk_fail(err, LK_E_INVALID, "batch: %s: found %ld, expected %ld", what, found, expected);
}

/* Positions that a plan can embed. */
static long count_positions(const struct lk_plan *plan)
{
    long n = INT_MAX;
    for (int i = 0; i < plan->n_ops && plan->ops[i].layer < 0; i++) {
        const struct lk_op *op = &plan->ops[i];
        n = op->kind == LK_OP_EMBED && op->u.embed.positions ? (long)plan->weights[op->weight].rows
                                                             : n;
    }
    return n;
}

lk_status lk_batch_check(const struct lk_exec_options *o, const struct lk_batch *b, lk_error *err)
{
    const struct lk_plan *plan = o->plan;
    if (b->n_tokens < 1 || b->n_tokens > o->max_tokens) {
        return bad(err, "tokens beyond the planned maximum", b->n_tokens, o->max_tokens);
    }
    if (b->n_seqs < 1 || b->n_seqs > o->max_seqs) {
        return bad(err, "sequences beyond the planned maximum", b->n_seqs, o->max_seqs);
    }
    if (b->n_outputs < 0 || b->n_outputs > o->max_outputs || b->n_outputs > b->n_tokens) {
        return bad(err, "outputs beyond the planned maximum", b->n_outputs, o->max_outputs);
    }
    bool embeds = plan->n_ops > 0 && plan->ops[0].kind == LK_OP_EMBED; /* such stand in front */
    if ((plan->in_slot >= 0) != (b->hidden_in != NULL)) {
        return bad(err, "hidden rows handed in", b->hidden_in != NULL, plan->in_slot >= 0);
    }
    int next = 0;
    long n_positions = count_positions(plan);
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        if (q->first != next || q->n_tokens < 1 || q->pos < 0) {
            return bad(err, "first token of a sequence", q->first, next);
        }
        if ((q->pos + q->n_tokens - 1) / LK_KV_BLOCK >= o->max_blocks) {
            return bad(err, "last KV block of a sequence", (q->pos + q->n_tokens - 1) / LK_KV_BLOCK,
                       o->max_blocks - 1);
        }
        next += q->n_tokens;
        if (next > b->n_tokens) {
            return bad(err, "tokens of all sequences", next, b->n_tokens);
        }
        for (int t = q->first; t < next; t++) {
            if (b->seq[t] != s || b->pos[t] != q->pos + t - q->first) {
                return bad(err, "position of a token", b->pos[t], q->pos + t - q->first);
            }
            if (b->pos[t] >= n_positions) {
                return bad(err, "position without a row of its own", b->pos[t], n_positions - 1);
            }
            if (embeds && (b->token[t] < 0 || b->token[t] >= plan->n_vocab)) {
                return bad(err, "token id at or above the vocabulary size", b->token[t],
                           plan->n_vocab);
            }
        }
    }
    if (next != b->n_tokens) {
        return bad(err, "tokens of all sequences", next, b->n_tokens);
    }
    for (int i = 0; i < b->n_outputs; i++) {
        if (b->outputs[i] < (i ? b->outputs[i - 1] + 1 : 0) || b->outputs[i] >= b->n_tokens) {
            return bad(err, "index of an output row", b->outputs[i], b->n_tokens);
        }
    }
    return LK_OK;
}

lk_status lk_fail_range(lk_error *err, const struct lk_plan *plan, const struct lk_op *op)
{
    char where[32] = "";
    if (op->layer >= 0 && op->layer < plan->n_layer) {
        snprintf(where, sizeof where, " of layer %d", op->layer);
    }
    return lk_fail(err, LK_E_RANGE,
                   "%s%s%s%s%s: a value of magnitude 2^40 or more (scores: 2^20), infinite or NaN",
                   lk_op_name(op->kind), where, op->weight >= 0 ? " (tensor '" : "",
                   op->weight >= 0 ? plan->weights[op->weight].name : "",
                   op->weight >= 0 ? "')" : "");
}

lk_status lk_plan_check_weights(const struct lk_plan *plan, lk_error *err)
{
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].weight < 0 || lk_is_looked_up(&plan->ops[i])) {
            continue;
        }
        const struct lk_weight *w = &plan->weights[plan->ops[i].weight];
        int n = w->n_experts > 0 ? w->n_experts : 1;
        for (int x = 0; x < n; x++) {
            struct lk_weight one = w->n_experts > 0 ? lk_weight_of_expert(w, x) : *w;
            int64_t each = one.rows * one.cols;
            int64_t bad = lk_row_find_bad(one.type, one.data, (size_t)each);
            if (bad >= 0) {
                return lk_fail(err, LK_E_FORMAT,
                               "tensor '%s': %s in element %lld or its block's scale", w->name,
                               lk_bad_text(w->type), (long long)(x * each + bad));
            }
        }
    }
    return LK_OK;
}
