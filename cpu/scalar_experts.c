/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar_experts: rule 10 of the contract: which experts a row goes to, their products, and the sum
 * of what they say; products by head. See scalar.h. Knows no backend.
 */
#include <string.h>

#include "cpu/scalar.h"
#include "base/numerics.h"

/* The best of n by order keys, of those that are free; ties to the lowest index. */
static int best_of(const float *score, const bool *taken, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        if (!taken[i] && (best < 0 || lk_order_key(score[i]) > lk_order_key(score[best]))) {
            best = i;
        }
    }
    return best;
}

/* The sum of the two best scores of a group; of a group of one, its score. */
static float group_score(const float *score, int n)
{
    bool taken[LK_MAX_EXPERTS] = {false};
    int first = best_of(score, taken, n);
    taken[first] = true;
    int second = best_of(score, taken, n);
    return second < 0 ? score[first] : score[first] + score[second];
}

/* Takes the experts out that are not in the best groups. */
static void leave_groups(const struct lk_op *op, const float *score, int n, bool *taken)
{
    int n_groups = op->u.route.n_groups, each = n / n_groups;
    float of_group[LK_MAX_EXPERTS];
    bool used[LK_MAX_EXPERTS] = {false};
    for (int g = 0; g < n_groups; g++) {
        of_group[g] = group_score(score + g * each, each);
    }
    for (int i = 0; i < op->u.route.n_groups_used; i++) {
        used[best_of(of_group, used, n_groups)] = true;
    }
    for (int i = 0; i < n; i++) {
        taken[i] = !used[i / each];
    }
}

/* e^(s - the largest s) of n scores, and the sum as a chain. */
static float exp_all(const float *s, int n, float *e)
{
    bool none[LK_MAX_EXPERTS] = {false};
    float most = s[best_of(s, none, n)], sum = 0.0f;
    for (int i = 0; i < n; i++) {
        e[i] = lk_exp(s[i] - most);
        sum = sum + e[i];
    }
    return sum;
}

/* What the gate makes of all scores; of LK_GATE_CHOSEN the scores themselves. */
static void gate_all(enum lk_gate gate, const float *s, int n, float *p)
{
    float r = gate == LK_GATE_SOFTMAX ? lk_rcp(exp_all(s, n, p)) : 0.0f;
    for (int i = 0; i < n; i++) {
        p[i] = gate == LK_GATE_CHOSEN    ? s[i]
               : gate == LK_GATE_SIGMOID ? lk_sigmoid(s[i])
                                         : p[i] * r;
    }
}

/* Weights of the chosen, from what the gate made of them, in place. */
static void weigh(const struct lk_op *op, float *w)
{
    int k = op->u.route.n_used;
    float sum = 0.0f;
    bool divide = op->u.route.normalize;
    if (op->u.route.gate == LK_GATE_CHOSEN) {
        float e[LK_MAX_EXPERTS_USED];
        sum = exp_all(w, k, e);
        memcpy(w, e, (size_t)k * sizeof *w);
        divide = true;
    } else {
        for (int j = 0; j < k; j++) {
            sum = sum + w[j];
        }
    }
    sum = lk_bits(sum) < LK_MIN_BITS ? lk_flt(LK_MIN_BITS) : sum;
    float r = lk_rcp(sum);
    for (int j = 0; j < k && divide; j++) {
        w[j] = w[j] * r;
    }
}

bool lk_scalar_route(const struct lk_op *op, const float *s, int n, const float *vector, float *out)
{
    const float *bias = op->u.route.factors ? NULL : vector;
    int k = op->u.route.n_used;
    float p[LK_MAX_EXPERTS], score[LK_MAX_EXPERTS], w[LK_MAX_EXPERTS_USED];
    bool taken[LK_MAX_EXPERTS] = {false}, ok = true;
    gate_all(op->u.route.gate, s, n, p);
    for (int i = 0; i < n; i++) {
        score[i] = bias ? p[i] + lk_flush(bias[i]) : s[i];
    }
    if (op->u.route.n_groups > 1) {
        leave_groups(op, score, n, taken);
    }
    for (int j = 0; j < k; j++) {
        int i = best_of(score, taken, n);
        taken[i] = true;
        out[j] = (float)i;
        w[j] = p[i];
    }
    weigh(op, w);
    for (int j = 0; j < k; j++) {
        float y = op->u.route.scale != 1.0f ? w[j] * op->u.route.scale : w[j];
        y = op->u.route.factors ? y * lk_flush(vector[(int)out[j]]) : y;
        ok &= !lk_out_of_range(y);
        out[k + j] = lk_flush(y);
    }
    return ok;
}

bool lk_scalar_experts(const struct lk_weight *w, const float *x, bool routed, const float *route,
                       int n_used, int n_tokens, float *y, void *scratch)
{
    size_t rows = (size_t)w->rows / (size_t)w->n_experts, cols = (size_t)w->cols;
    bool ok = true;
    for (int t = 0; t < n_tokens; t++) {
        for (int j = 0; j < n_used; j++) {
            size_t r = (size_t)t * (size_t)n_used + (size_t)j, from = routed ? r : (size_t)t;
            struct lk_weight one =
                lk_weight_of_expert(w, lk_routed_to(route + (size_t)t * 2 * (size_t)n_used, j));
            ok &= lk_scalar_matmul(&one, x + from * cols, 1, y + r * rows, scratch);
        }
    }
    return ok;
}

bool lk_scalar_heads(const struct lk_weight *w, const float *x, int n_tokens, float *y,
                     void *scratch)
{
    size_t n = (size_t)w->n_experts, rows = (size_t)w->rows / n, cols = (size_t)w->cols;
    bool ok = true;
    for (size_t r = 0; r < (size_t)n_tokens * n; r++) {
        struct lk_weight one = lk_weight_of_expert(w, (int)(r % n));
        ok &= lk_scalar_matmul(&one, x + r * cols, 1, y + r * rows, scratch);
    }
    return ok;
}

bool lk_scalar_combine(const float *x, const float *w, int k, int n, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        float sum = 0.0f;
        for (int j = 0; j < k; j++) {
            float p = w[j] * x[(size_t)j * (size_t)n + (size_t)i];
            sum = sum + p;
        }
        ok &= !lk_out_of_range(sum);
        y[i] = lk_flush(sum);
    }
    return ok;
}
