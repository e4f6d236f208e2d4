/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref_route: which experts a row goes to, in double; see ref_ops.h.
 */
#include <math.h>
#include <string.h>

#include "ref/ref_ops.h"

/* The best of n that are free; ties to the first. */
static int best_of(const double *score, const bool *taken, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        if (!taken[i] && (best < 0 || score[i] > score[best])) {
            best = i;
        }
    }
    return best;
}

static void leave_groups(const struct lk_op *op, const double *score, int n, bool *taken)
{
    int n_groups = op->u.route.n_groups, each = n / n_groups;
    double of_group[LK_MAX_EXPERTS];
    bool used[LK_MAX_EXPERTS] = {false};
    for (int g = 0; g < n_groups; g++) {
        bool two[LK_MAX_EXPERTS] = {false};
        const double *s = score + g * each;
        int first = best_of(s, two, each);
        two[first] = true;
        int second = best_of(s, two, each);
        of_group[g] = s[first] + (second < 0 ? 0.0 : s[second]);
    }
    for (int i = 0; i < op->u.route.n_groups_used; i++) {
        used[best_of(of_group, used, n_groups)] = true;
    }
    for (int i = 0; i < n; i++) {
        taken[i] = !used[i / each];
    }
}

/* p[n] -> e^p, divided by the sum of them. */
static void softmax(double *p, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) {
        most = fmax(most, p[i]);
    }
    for (int i = 0; i < n; i++) {
        p[i] = exp(p[i] - most);
        sum += p[i];
    }
    for (int i = 0; i < n; i++) {
        p[i] /= sum;
    }
}

/* s[n] -> numbers of the chosen experts, then their weights. A score with a bias is compared as
 * f32, as the contract compares it: what rounds to the same is a tie. */
void lk_ref_route(const struct lk_op *op, const double *s, int n, const float *vector, double *out)
{
    const float *bias = op->u.route.factors ? NULL : vector;
    int k = op->u.route.n_used;
    double p[LK_MAX_EXPERTS], score[LK_MAX_EXPERTS], *w = out + k, sum = 0;
    bool taken[LK_MAX_EXPERTS] = {false};
    memcpy(p, s, (size_t)n * sizeof *p);
    if (op->u.route.gate == LK_GATE_SOFTMAX) {
        softmax(p, n);
    }
    for (int i = 0; i < n; i++) {
        p[i] = op->u.route.gate == LK_GATE_SIGMOID ? 1 / (1 + exp(-p[i])) : p[i];
        score[i] = bias ? (double)(float)(p[i] + (double)bias[i]) : s[i];
    }
    if (op->u.route.n_groups > 1) {
        leave_groups(op, score, n, taken);
    }
    for (int j = 0; j < k; j++) {
        int i = best_of(score, taken, n);
        taken[i] = true;
        out[j] = i;
        w[j] = p[i];
        sum += p[i];
    }
    if (op->u.route.gate == LK_GATE_CHOSEN) {
        softmax(w, k);
    }
    for (int j = 0; j < k; j++) {
        w[j] =
            (op->u.route.normalize ? w[j] / fmax(sum, 0x1p-50) : w[j]) * (double)op->u.route.scale;
        w[j] *= op->u.route.factors ? (double)vector[(int)out[j]] : 1;
    }
}
