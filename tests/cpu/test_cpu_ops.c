/* SPDX-License-Identifier: Apache-2.0
 *
 * Cpu_ops: every op of every architecture in every weight type on each level of the CPU backend
 * against the scalar backend, by bits: what each op put out is looked at, in a batch of many tokens
 * and in batches of one, so that a difference is found at its op, not in the logits.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/numerics.h"
#include "cpu/detect.h"
#include "tests/regress/regress.h"
#include "tests/util/models.h"
#include "tests/util/hand_plan.h"
#include "tests/util/tiny.h"

enum { MANY = 67, ALONE = 2, N = MANY + ALONE }; /* past a chunk of keys, and a window */

/* What the ops of the last batch, of n tokens, put out. */
static void compare(struct rg_chain *got, struct rg_chain *want, const char *arch, int n)
{
    const struct lk_plan *plan = want->m->plan;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->out < 0) {
            continue;
        }
        size_t width = (size_t)plan->slots[op->out].width;
        size_t size = (size_t)lk_plan_rows(plan, n, n).n[plan->slots[op->out].rows] * width;
        float *x = rg_peek(got, op->out, size), *y = rg_peek(want, op->out, size);
        for (size_t k = 0; k < size; k++) {
            cr_assert(
                lk_bits(x[k]) == lk_bits(y[k]),
                "%s %s on %s, %d tokens: op %d (%s, %s, layer %d): row %zu element %zu is %a, "
                "scalar has %a",
                arch, op->weight < 0 ? "" : lk_type_info(plan->weights[op->weight].type)->name,
                got->name, n, i, lk_op_name(op->kind),
                op->weight < 0 ? "-" : plan->weights[op->weight].name, op->layer, k / width,
                k % width, (double)x[k], (double)y[k]);
        }
        free(x);
        free(y);
    }
}

/* Scalar goes along once, and every other way beside it. */
static void check(const struct model_params *p)
{
    const struct rg_way *ways, *scalar = rg_scalar();
    size_t n_ways = rg_ways(&ways), n_vocab = (size_t)p->n_vocab;
    float *rows = malloc(N * n_vocab * sizeof *rows),
          *others = malloc(N * n_vocab * sizeof *others);
    int32_t ids[N];
    struct rg_model m;
    struct rg_chain want, got[LK_CPU_LEVELS + 1];
    lk_error err;
    cr_assert(rows && others && n_ways <= LK_COUNT(got));
    rg_model_open(&m, p, NULL, NULL);
    tiny_tokens(ids, N, n_vocab, p->seed);
    cr_assert_eq(rg_open(&want, &m, &scalar, NULL, 1, N, MANY, true, &err), LK_OK, "%s",
                 err.message);
    for (size_t w = 1; w < n_ways; w++) { /* the first is scalar itself */
        const struct rg_way *way = &ways[w];
        cr_assert_eq(rg_open(&got[w], &m, &way, NULL, 1, N, MANY, true, &err), LK_OK, "%s",
                     err.message);
    }
    for (int pos = 0, n = MANY; pos < N; pos += n, n = 1) {
        rg_run(&want, ids + pos, pos, n, rows);
        for (size_t w = 1; w < n_ways; w++) {
            rg_run(&got[w], ids + pos, pos, n, others);
            compare(&got[w], &want, p->arch, n);
            rg_same_rows(got[w].name, others, rows, (size_t)n, n_vocab);
        }
    }
    for (size_t w = 1; w < n_ways; w++) {
        rg_same_cache(got[w].name, &got[w], &want, N);
        rg_close(&got[w]);
    }
    rg_close(&want);
    rg_model_close(&m);
    free(rows);
    free(others);
}

Test(cpu_ops, put_out_what_scalar_does, .timeout = 600)
{
    static const char *const ARCHS[] = MODEL_ARCHS;
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    test_samples("most pairs of an architecture and a type");
    for (size_t a = 0; a < LK_COUNT(ARCHS); a++) {
        for (size_t t = 0; t < n_types; t++) {
            if (test_skips_pair(a, t)) {
                continue;
            }
            struct model_params p =
                model_params_default(ARCHS[a], types[t].type, (unsigned)(a + 3 * t));
            p.n_ff = 256;
            p.embed_type = types[(t + a) % n_types].type;
            /* then the embedding is read out of the packed head; encoders have none */
            p.tied = (a + t) % 2 || arch_shape_of(ARCHS[a])->encoder;
            p.rope_freqs = t % 2;
            p.softcap = t % 3 == 0 ? 30.0f : 0.0f;
            check(&p);
        }
    }
}

/* A part of a plan that begins with the gather: each row is copied by one thread, and read by
 * another once it is there. */
Test(cpu_ops, gather_waits_for_rows_handed_in)
{
    enum { WIDTH = 8192, TOKENS = 64, OUTPUTS = 8, RUNS = 100 };
    struct lk_backend_options o = {.cpu_level = "auto",
                                   .threads = 8,
                                   .threads_batch = 8,
                                   .pin = true};
    struct lk_backend *b;
    struct lk_caps caps;
    struct lk_exec *e;
    struct lk_state_mem *states;
    lk_error err;
    struct hand_room room;
    struct lk_plan plan;
    struct lk_exec_options eo = {.plan = &plan,
                                 .max_tokens = TOKENS,
                                 .max_outputs = OUTPUTS,
                                 .max_seqs = 1,
                                 .max_blocks = 1,
                                 .fuse = true};
    struct lk_state_geom geom = {.plan = &plan, .n_blocks = 1};
    hand_start(&plan, &room, WIDTH);
    hand_op(&plan, LK_OP_GATHER, 0, -1, hand_slot(&plan, WIDTH, LK_ROWS_OUTPUTS), -1);
    int32_t pos[TOKENS], seq[TOKENS] = {0}, block = 0, outputs[OUTPUTS];
    float *hidden = malloc(sizeof(float) * TOKENS * WIDTH);
    float *out = malloc(sizeof(float) * OUTPUTS * WIDTH);
    cr_assert(hidden && out);
    cr_assert_eq(lk_backend_cpu.open(&o, &b, &caps, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_backend_cpu.prepare(b, &eo, &e, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_backend_cpu.state_alloc(b, &geom, &states, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < TOKENS; i++) {
        pos[i] = i;
    }
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < OUTPUTS; i++) {
            outputs[i] = TOKENS - OUTPUTS + i;
        }
        for (size_t i = 0; i < (size_t)TOKENS * WIDTH; i++) {
            hidden[i] = (float)(i % 8191) + (float)run;
        }
        struct lk_batch_seq s = {.blocks = &block, .n_tokens = TOKENS};
        struct lk_batch batch = {.n_tokens = TOKENS,
                                 .pos = pos,
                                 .seq = seq,
                                 .n_seqs = 1,
                                 .seqs = &s,
                                 .n_outputs = OUTPUTS,
                                 .outputs = outputs,
                                 .hidden_in = hidden,
                                 .out = out};
        cr_assert_eq(lk_backend_cpu.run(e, states, &batch, &err), LK_OK, "%s", err.message);
        for (int i = 0; i < OUTPUTS; i++) {
            cr_assert_eq(memcmp(out + (size_t)i * WIDTH, hidden + (size_t)outputs[i] * WIDTH,
                                sizeof(float) * WIDTH),
                         0, "run %d: row %d is not the one handed in", run, i);
        }
    }
    lk_backend_cpu.state_free(states);
    lk_backend_cpu.exec_free(e);
    lk_backend_cpu.close(b);
    free(hidden);
    free(out);
}
