/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_outputs: rows that want logits are gathered early: how the ops of every architecture stand
 * then, and that neither logits nor states change by it, whichever rows are wanted.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "gguf/model_file.h"
#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/plan_fixture.h"

static const char *const archs[] = MODEL_ARCHS;

static struct lk_plan *slice_of(const struct lk_plan *plan, int first, bool early)
{
    struct lk_plan *s;
    lk_error err;
    cr_assert_eq(lk_plan_slice(plan, first, lk_stage_of(plan->n_layer), first == 0, true, &s, &err),
                 LK_OK, "%s", err.message);
    if (early) {
        cr_assert_eq(lk_plan_gather_early(s, &err), LK_OK, "%s", err.message);
    }
    return s;
}

static int products_of_outputs(const struct lk_plan *plan)
{
    int n = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        n += lk_is_product(op) && plan->slots[op->out].rows == LK_ROWS_OUTPUTS;
    }
    return n;
}

/* Gathers stand together; what is behind them is of outputs and reads outputs, what is in front of
 * them is not. Each slot is written once, before it is read. */
static void check_order(const struct lk_plan *plan, const char *what)
{
    bool *written = calloc((size_t)plan->n_slots, sizeof *written), behind = false;
    cr_assert(written);
    if (plan->in_slot >= 0) {
        written[plan->in_slot] = true;
    }
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        bool gather = op->kind == LK_OP_GATHER;
        cr_assert(!gather || !behind || plan->ops[i - 1].kind == LK_OP_GATHER, "%s: op %d", what,
                  i);
        for (int k = 0; k < op->n_in; k++) {
            bool outputs = plan->slots[op->in[k]].rows == LK_ROWS_OUTPUTS;
            cr_assert(written[op->in[k]], "%s: op %d reads what is not there", what, i);
            cr_assert_eq(outputs, behind && !gather, "%s: op %d reads slot %d", what, i, op->in[k]);
        }
        behind |= gather;
        if (op->out >= 0) {
            cr_assert_not(written[op->out]);
            written[op->out] = true;
            cr_assert_eq(plan->slots[op->out].rows == LK_ROWS_OUTPUTS, behind, "%s: op %d", what,
                         i);
        }
    }
    cr_assert(behind && written[plan->out_slot]);
    cr_assert_eq(plan->slots[plan->out_slot].rows, LK_ROWS_OUTPUTS);
    free(written);
}

Test(plan_outputs, rows_are_gathered_behind_what_mixes_tokens)
{
    int n_early = 0;
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        struct model_params p = model_params_default(archs[a], LK_TYPE_Q4_0, 9);
        struct plan_fixture f;
        plan_fixture_open(&f, &p);
        int end = lk_stage_of(f.plan->n_layer);
        for (int first = 0; first <= end; first++) {
            if (first % 2 == 0 || lk_plan_has_stages(f.plan, first / 2)) {
                struct lk_plan *late = slice_of(f.plan, first, false);
                struct lk_plan *early = slice_of(f.plan, first, true);
                check_order(late, archs[a]);
                check_order(early, archs[a]);
                int more = products_of_outputs(early) - products_of_outputs(late);
                cr_assert(more >= 0 && (first < end || more == 0));
                n_early += first == 0 && more > 0;
                lk_plan_free(&late);
                lk_plan_free(&early);
            }
        }
        struct lk_plan *body; /* without the head nothing is known of rows */
        cr_assert_eq(lk_plan_slice(f.plan, 0, end, true, false, &body, &f.err), LK_OK);
        int n_ops = body->n_ops, out_slot = body->out_slot;
        cr_assert_eq(lk_plan_gather_early(body, &f.err), LK_OK);
        cr_assert(body->n_ops == n_ops && body->out_slot == out_slot);
        lk_plan_free(&body);
        plan_fixture_close(&f);
    }
    cr_assert_gt(n_early, (int)LK_COUNT(archs) / 2); /* the others have experts last */
}

Test(plan_outputs, the_last_layer_of_a_llama)
{
    struct model_params p = model_params_default("llama", LK_TYPE_Q4_0, 9);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    struct lk_plan *s = slice_of(f.plan, 0, true);
    int last = f.plan->n_layer - 1, n_gather = 0;
    static const struct {
        enum lk_op_kind kind;
        int nth;
        enum lk_rows rows;
    } want[] = {{LK_OP_MATMUL, 0, LK_ROWS_TOKENS},  {LK_OP_MATMUL, 1, LK_ROWS_TOKENS},
                {LK_OP_MATMUL, 2, LK_ROWS_TOKENS},  {LK_OP_ATTENTION, 0, LK_ROWS_ASKED},
                {LK_OP_GATHER, 0, LK_ROWS_OUTPUTS}, {LK_OP_GATHER, 1, LK_ROWS_OUTPUTS},
                {LK_OP_MATMUL, 3, LK_ROWS_OUTPUTS}, {LK_OP_ADD, 0, LK_ROWS_OUTPUTS},
                {LK_OP_NORM, 1, LK_ROWS_OUTPUTS},   {LK_OP_GLU, 0, LK_ROWS_OUTPUTS},
                {LK_OP_MATMUL, 6, LK_ROWS_OUTPUTS}, {LK_OP_ADD, 1, LK_ROWS_OUTPUTS}};
    for (size_t i = 0; i < LK_COUNT(want); i++) {
        const struct lk_op *op = find_op(s, want[i].kind, last, want[i].nth);
        cr_assert(op && s->slots[op->out].rows == want[i].rows, "row %zu", i);
    }
    for (int i = 0; i < s->n_ops; i++) {
        n_gather += s->ops[i].kind == LK_OP_GATHER;
    }
    cr_assert(n_gather == 2 && !find_op(s, LK_OP_GATHER, f.plan->n_layer, 0));
    cr_assert_eq(s->slots[find_op(s, LK_OP_ATTENTION, last - 1, 0)->out].rows, LK_ROWS_TOKENS);
    lk_plan_free(&s);
    plan_fixture_close(&f);
}

/* ---- bits ---- */

enum { N = 5, BLOCKS = 1 };

/* A plan on a backend, and what a batch leaves: logits, states. */
struct ran {
    float *out;
    uint8_t *states;
    size_t n_out, n_states;
};

static struct ran run(const struct lk_backend_impl *impl, const struct lk_plan *plan,
                      const int32_t *outputs, int n_outputs)
{
    struct lk_backend_options bo = {.cpu_level = "auto",
                                    .threads = 3,
                                    .threads_batch = 3,
                                    .pin = true};
    struct lk_backend *backend;
    struct lk_caps caps;
    struct lk_exec *exec;
    struct lk_state_mem *states;
    lk_error err;
    int32_t token[N], pos[N], seq[N] = {0}, block = 0;
    struct lk_batch_seq one = {.blocks = &block, .n_tokens = N};
    for (int t = 0; t < N; t++) {
        token[t] = 3 + 5 * t;
        pos[t] = t;
    }
    struct ran r = {.n_out = (size_t)n_outputs * (size_t)lk_plan_row_width(plan)};
    r.out = calloc(r.n_out + 1, sizeof *r.out);
    struct lk_batch b = {.n_tokens = N,
                         .token = token,
                         .pos = pos,
                         .seq = seq,
                         .n_seqs = 1,
                         .seqs = &one,
                         .n_outputs = n_outputs,
                         .outputs = outputs,
                         .out = r.out};
    struct lk_state_geom geom = {.plan = plan, .n_blocks = BLOCKS, .n_slots = 1};
    struct lk_exec_options o = {.plan = plan,
                                .max_tokens = N,
                                .max_outputs = N,
                                .max_seqs = 1,
                                .max_blocks = BLOCKS,
                                .fuse = true};
    cr_assert_eq(impl->open(&bo, &backend, &caps, &err), LK_OK);
    cr_assert_eq(impl->prepare(backend, &o, &exec, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->state_alloc(backend, &geom, &states, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->run(exec, states, &b, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < plan->n_states; i++) {
        size_t n = lk_state_bytes(&geom, i);
        r.states = realloc(r.states, r.n_states + n);
        cr_assert(r.states || n == 0);
        cr_assert_eq(impl->state_read(states, i, 0, r.states + r.n_states, n, &err), LK_OK);
        r.n_states += n;
    }
    impl->state_free(states);
    impl->exec_free(exec);
    impl->close(backend);
    return r;
}

static void forget(struct ran *r)
{
    free(r->out);
    free(r->states);
}

/* cases: which of the tokens are wanted. */
static void same_bits(const struct lk_backend_impl *impl, const struct lk_plan *plan)
{
    static const struct {
        int32_t at[N];
        int n;
    } wanted[] = {{{0}, 0}, {{4}, 1}, {{1, 3}, 2}, {{0, 1, 2, 3, 4}, N}};
    struct lk_plan *late = slice_of(plan, 0, false), *early = slice_of(plan, 0, true);
    for (size_t i = 0; i < LK_COUNT(wanted); i++) {
        struct ran x = run(impl, late, wanted[i].at, wanted[i].n);
        struct ran y = run(impl, early, wanted[i].at, wanted[i].n);
        cr_assert(x.n_out == y.n_out && x.n_states == y.n_states);
        cr_assert_arr_eq(x.out, y.out, x.n_out * sizeof *x.out, "%s, %s: logits of case %zu",
                         plan->arch, impl->name, i);
        cr_assert_arr_eq(x.states, y.states, x.n_states, "%s, %s: states of case %zu", plan->arch,
                         impl->name, i);
        forget(&x);
        forget(&y);
    }
    lk_plan_free(&late);
    lk_plan_free(&early);
}

Test(plan_outputs, logits_and_states_stay_as_they_are)
{
    for (size_t i = 0; i < test_n_models(); i++) {
        lk_model *m;
        struct lk_plan *plan;
        lk_error err;
        cr_assert_eq(lk_model_open(test_model_path(i), &m, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_plan_build(m->gguf, &plan, &err), LK_OK, "%s", err.message);
        same_bits(&lk_backend_scalar, plan);
        same_bits(&lk_backend_cpu, plan);
        lk_plan_free(&plan);
        lk_model_close(&m);
    }
}
