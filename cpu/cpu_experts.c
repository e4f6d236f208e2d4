/* SPDX-License-Identifier: Apache-2.0
 *
 * Cpu_experts: ops of experts on threads, and products by head. A batch of many tokens takes the
 * experts one after the other, each with all rows that go to it; a single token reads its own
 * experts alone. See cpu_exec.h.
 */
#include <string.h>

#include "cpu/cpu_exec.h"

/* Rows of ROUTE, and the expert of a routed row in them. */
static int expert_of(const float *route, int row, int n_used)
{
    return lk_routed_to(route + (size_t)(row / n_used) * 2 * (size_t)n_used, row % n_used);
}

struct lk_packed lk_cpu_packed_expert(const struct lk_exec *e, int weight, int expert)
{
    struct lk_packed p = e->packed[weight];
    p.data += (size_t)expert * (size_t)p.n_groups * p.group_bytes;
    return p;
}

void lk_cpu_group_experts(struct lk_exec *e, const struct lk_op *op)
{
    const struct lk_plan *plan = e->o.plan;
    const float *route = lk_cpu_slot(e, 0, op->in[1]);
    int n = plan->weights[op->weight].n_experts, k = plan->n_routed;
    int rows = e->rows.n[LK_ROWS_ROUTED], *first = e->experts.first;
    memset(first, 0, ((size_t)n + 1) * sizeof *first);
    for (int r = 0; r < rows; r++) {
        first[expert_of(route, r, k) + 1]++;
    }
    for (int x = 0; x < n; x++) {
        first[x + 1] += first[x];
    }
    for (int r = 0; r < rows; r++) { /* leaves each first where the next one began */
        e->experts.order[first[expert_of(route, r, k)]++] = r;
    }
    memmove(first + 1, first, (size_t)n * sizeof *first);
    first[0] = 0;
}

/* Prepared rows from `row` on. */
static struct lk_acts acts_from(struct lk_acts acts, int row)
{
    acts.data += (size_t)row * acts.row_bytes;
    return acts;
}

void lk_cpu_prepare_experts(const struct lk_exec *e, const struct lk_op *op, struct lk_acts acts,
                            int thread, int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_matmul_kernels *mm = lk_matmul_kernels(e->backend->level);
    const struct lk_slot *in = &plan->slots[op->in[0]];
    const float *x = lk_cpu_slot(e, thread, op->in[0]);
    if (e->is_decode) {
        mm->prepare(&acts, x, 0, e->rows.n[in->rows]);
        return;
    }
    int rows = e->rows.n[LK_ROWS_ROUTED];
    for (int i = lk_share(rows, thread, n_threads); i < lk_share(rows, thread + 1, n_threads);
         i++) {
        int r = e->experts.order[i];
        size_t from = (size_t)(in->rows == LK_ROWS_ROUTED ? r : r / plan->n_routed);
        struct lk_acts one = acts_from(acts, i);
        mm->prepare(&one, x + from * (size_t)in->width, 0, 1);
    }
}

/* Groups [first, last) of one expert's rows, for n prepared rows that go to it: order[n] says where
 * results belong. */
static bool run_expert(const struct lk_exec *e, struct lk_packed p, struct lk_acts acts,
                       const int *order, int n, int64_t first, int64_t last, float *y, size_t width,
                       float *tile)
{
    const struct lk_matmul_kernels *mm = lk_matmul_kernels(e->backend->level);
    size_t at = (size_t)first * LK_PACK_ROWS, end = (size_t)last * LK_PACK_ROWS;
    size_t cols = (end < width ? end : width) - at;
    bool ok = true;
    p.data += (size_t)first * p.group_bytes;
    p.rows = (int64_t)(width - at);
    p.n_groups = last - first;
    for (int i = 0; i < n; i += LK_EXPERT_TILE) {
        int m = n - i < LK_EXPERT_TILE ? n - i : LK_EXPERT_TILE;
        struct lk_acts rows = acts_from(acts, i);
        ok &= mm->mul(&p, &rows, m, 0, p.n_groups, tile, cols);
        for (int r = 0; r < m; r++) {
            memcpy(y + (size_t)order[i + r] * width + at, tile + (size_t)r * cols,
                   cols * sizeof *y);
        }
    }
    return ok;
}

bool lk_cpu_experts(const struct lk_exec *e, const struct lk_op *op, struct lk_acts acts,
                    int thread, int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_matmul_kernels *mm = lk_matmul_kernels(e->backend->level);
    size_t width = (size_t)plan->slots[op->out].width;
    float *y = lk_cpu_slot(e, thread, op->out);
    int64_t n_groups = e->packed[op->weight].n_groups;
    int64_t first = n_groups * thread / n_threads, last = n_groups * (thread + 1) / n_threads;
    bool ok = true, routed = plan->slots[op->in[0]].rows == LK_ROWS_ROUTED;
    if (first == last) {
        return true;
    }
    if (e->is_decode) {
        const float *route = lk_cpu_slot(e, thread, op->in[1]);
        for (int j = 0; j < plan->n_routed; j++) {
            struct lk_packed p = lk_cpu_packed_expert(e, op->weight, lk_routed_to(route, j));
            struct lk_acts one = acts_from(acts, routed ? j : 0);
            ok &= mm->mul(&p, &one, 1, first, last, y + (size_t)j * width, width);
        }
        return ok;
    }
    for (int x = 0; x < plan->weights[op->weight].n_experts; x++) {
        int from = e->experts.first[x], n = e->experts.first[x + 1] - from;
        if (n > 0) {
            ok &= run_expert(e, lk_cpu_packed_expert(e, op->weight, x), acts_from(acts, from),
                             e->experts.order + from, n, first, last, y, width,
                             e->expert_out[thread]);
        }
    }
    return ok;
}

bool lk_cpu_heads(const struct lk_exec *e, const struct lk_op *op, struct lk_acts acts, int thread,
                  int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_weight *w = &plan->weights[op->weight];
    const struct lk_matmul_kernels *mm = lk_matmul_kernels(e->backend->level);
    int rows = e->rows.n[plan->slots[op->out].rows];
    size_t width = (size_t)plan->slots[op->out].width, n = (size_t)w->n_experts;
    float *y = lk_cpu_slot(e, thread, op->out);
    int64_t each = e->packed[op->weight].n_groups, all = each * (int64_t)n;
    int64_t first = all * thread / n_threads, last = all * (thread + 1) / n_threads;
    bool ok = true;
    while (first < last && rows > 0) { /* the groups of a head that are this thread's */
        int64_t h = first / each, end = (h + 1) * each < last ? (h + 1) * each : last;
        struct lk_packed p = lk_cpu_packed_expert(e, op->weight, (int)h);
        struct lk_acts of_head = acts_from(acts, (int)h);
        of_head.row_bytes = acts.row_bytes * n;
        ok &= mm->mul(&p, &of_head, rows, first - h * each, end - h * each,
                      y + (size_t)h * (width / n), width);
        first = end;
    }
    return ok;
}

bool lk_cpu_expert_rows(const struct lk_exec *e, const struct lk_op *op, int thread, int first,
                        int last)
{
    const struct lk_plan *plan = e->o.plan;
    const float *of = plan->weights[op->weight].data;
    const float *x = lk_cpu_slot(e, thread, op->in[0]), *route = lk_cpu_slot(e, thread, op->in[1]);
    float *y = lk_cpu_slot(e, thread, op->out);
    size_t width = (size_t)plan->slots[op->out].width;
    bool ok = true;
    for (int r = 0; r < e->rows.n[LK_ROWS_ROUTED] && first < last; r++) {
        size_t at = (size_t)r * width + (size_t)first;
        size_t expert = (size_t)expert_of(route, r, plan->n_routed);
        ok &= op->kind == LK_OP_EXPERT_BIAS
                  ? e->backend->vec->bias(x + at, of + expert * width + first, last - first, y + at)
                  : e->backend->vec->scale(x + at, last - first, lk_flush(of[expert]), y + at);
    }
    return ok;
}

bool lk_cpu_combine(const struct lk_exec *e, const struct lk_op *op, int thread, int first,
                    int last)
{
    const struct lk_plan *plan = e->o.plan;
    size_t width = (size_t)plan->slots[op->out].width, k = (size_t)plan->n_routed;
    const float *x = lk_cpu_slot(e, thread, op->in[0]), *route = lk_cpu_slot(e, thread, op->in[1]);
    float *y = lk_cpu_slot(e, thread, op->out);
    bool ok = true;
    for (int r = first; r < last; r++) {
        size_t row = (size_t)r;
        ok &= e->backend->vec->combine(x + row * k * width, route + row * 2 * k + k, (int)k,
                                       (int)width, y + row * width);
    }
    return ok;
}
