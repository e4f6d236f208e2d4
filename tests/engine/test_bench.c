/* SPDX-License-Identifier: Apache-2.0
 *
 * Bench: what is measured is counted rightly and changes no result. No speed is asserted.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep_check.h"
#include "cpu/matmul.h"
#include "base/os.h"
#include "gguf/model_file.h"
#include "plan/plan.h"
#include "quant/quant.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { TOKENS = 20 };

/* Experts that a token goes to. */
static uint64_t n_used(const lk_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < lk_model_n_meta(m); i++) {
        lk_meta meta;
        lk_model_meta(m, i, &meta);
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)meta.key_len, meta.key);
        n = strstr(key, ".expert_used_count") ? strtoull(meta.value, NULL, 10) : n;
    }
    return n;
}

static bool ends_with(const lk_tensor_info *t, const char *end)
{
    size_t n = strlen(end);
    return t->name_len >= n && memcmp(t->name + t->name_len - n, end, n) == 0;
}

/* The same figures, counted from the file's tensors. */
static lk_token_cost cost_of_tensors(const lk_model *m)
{
    lk_token_cost cost = {0};
    lk_tensor_info t, embd = {0};
    bool has_output = false;
    for (size_t i = 0; i < lk_model_n_tensors(m); i++) {
        lk_model_tensor(m, i, &t);
        bool is_embd = t.name_len == 17 && memcmp(t.name, "token_embd.weight", 17) == 0;
        has_output |= t.name_len == 13 && memcmp(t.name, "output.weight", 13) == 0;
        if (is_embd) {
            embd = t;
        } else if (ends_with(&t, "per_layer_token_embd.weight")) { /* a row of it */
            cost.weight_bytes += t.n_bytes / t.dims[1];
        } else if (!lk_model_tensor_unused(m, i) &&
                   !(t.name_len >= 5 && memcmp(t.name, "rope_", 5) == 0) &&
                   !ends_with(&t, "layer_output_scale.weight")) { /* a constant of the plan */
            bool heads = ends_with(&t, "attn_k_b.weight") || ends_with(&t, "attn_v_b.weight");
            bool experts = t.n_dims == 3 && !heads;
            bool bias = ends_with(&t, "bias"); /* of experts: a row each */
            bias |= ends_with(&t, "ssm_conv1d.weight") || ends_with(&t, "shortconv.conv.weight") ||
                    ends_with(&t, "ssm_a") || ends_with(&t, "ssm_d") ||
                    ends_with(&t, "ssm_norm.weight");
            cost.weight_bytes += experts ? t.n_bytes / t.dims[2] * n_used(m) : t.n_bytes;
            cost.mul_adds += experts                  ? t.dims[0] * t.dims[1] * n_used(m)
                             : t.n_dims >= 2 && !bias ? t.dims[0] * t.dims[1] * t.dims[2]
                                                      : 0;
        }
    }
    cost.weight_bytes += embd.n_bytes / embd.dims[1];
    cost.head_mul_adds = embd.dims[0] * embd.dims[1];
    if (!has_output) { /* the embedding is the head too */
        cost.weight_bytes += embd.n_bytes;
        cost.mul_adds += embd.dims[0] * embd.dims[1];
    }
    return cost;
}

/* Multiply-adds of a token in products of which only rows that want logits are made. */
static uint64_t of_rows_wanted(const lk_model *m)
{
    struct lk_plan *plan, *slice;
    lk_error err;
    uint64_t sum = 0;
    cr_assert_eq(lk_plan_build(m->gguf, &plan, &err), LK_OK, "%s", err.message);
    int end = lk_stage_of(plan->n_layer);
    cr_assert_eq(lk_plan_slice(plan, 0, end, true, true, &slice, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_plan_gather_early(slice, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < slice->n_ops; i++) {
        const struct lk_op *op = &slice->ops[i];
        if (op->kind == LK_OP_MATMUL && slice->slots[op->out].rows == LK_ROWS_OUTPUTS) {
            sum += (uint64_t)slice->slots[op->in[0]].width * (uint64_t)slice->slots[op->out].width;
        }
    }
    lk_plan_free(&slice);
    lk_plan_free(&plan);
    return sum;
}

Test(bench, a_token_costs_every_tensor_once)
{
    for (size_t i = 0; i < test_n_models(); i++) {
        lk_model *m;
        lk_engine *e = tiny_engine(test_model_path(i), "cpu", 64, 64, 1, &m);
        lk_token_cost found = lk_engine_token_cost(e), expected = cost_of_tensors(m);
        cr_assert_eq(found.weight_bytes, expected.weight_bytes, "%s: %llu bytes, expected %llu",
                     test_model_path(i), (unsigned long long)found.weight_bytes,
                     (unsigned long long)expected.weight_bytes);
        cr_assert_eq(found.mul_adds, expected.mul_adds, "%s: multiply-adds", test_model_path(i));
        uint64_t wanted = of_rows_wanted(m);
        cr_assert_eq(found.head_mul_adds, wanted, "%s: head", test_model_path(i));
        cr_assert_geq(wanted, expected.head_mul_adds, "%s: head", test_model_path(i));
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

struct sums {
    uint64_t attention, conv, matmul, matmul_bytes;
    double seconds;
};

static void add_time(void *user, const lk_op_time *t)
{
    struct sums *s = user;
    cr_assert(t->seconds >= 0.0);
    s->seconds += t->seconds;
    if (strcmp(t->kind, "attention") == 0 || strcmp(t->kind, "delta") == 0 ||
        strcmp(t->kind, "ssm") == 0) {
        s->attention += t->calls;
    } else if (strcmp(t->kind, "conv") == 0) {
        s->conv += t->calls;
    } else if (strcmp(t->kind, "matmul") == 0) {
        cr_assert(t->name[0] && t->type[0] && !strstr(t->name, "blk."), "'%s' '%s'", t->name,
                  t->type);
        s->matmul += t->calls;
        s->matmul_bytes += t->n_bytes;
    }
}

static struct sums op_sums(lk_engine *e)
{
    struct sums s = {0};
    lk_error err;
    cr_assert_eq(lk_engine_op_times(e, add_time, &s, &err), LK_OK, "%s", err.message);
    return s;
}

/* Rows while ops are timed equal rows while they are not; batches of 1 and of 7 tokens. */
static void profiled(const char *path, uint32_t n_batch, int threads)
{
    lk_engine_options o = lk_engine_options_default();
    lk_model *m;
    lk_error err;
    int32_t ids[TOKENS];
    o.backend = "cpu";
    o.n_ctx = 64;
    o.n_batch = n_batch;
    o.threads = threads;
    o.pin = true; /* exactly that many */
    o.n_sessions = 2;
    lk_engine *e = tiny_engine_with(path, &o, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, TOKENS, n_vocab, 3);
    float *plain = tiny_rows(e, ids, TOKENS);
    cr_assert_eq(op_sums(e).seconds, 0.0, "times before they were asked for");
    cr_assert_eq(lk_engine_profile(e, true, &err), LK_OK, "%s", err.message);
    double from = lk_now();
    float *timed = tiny_rows(e, ids, TOKENS);
    double wall = lk_now() - from;
    tiny_same(timed, plain, TOKENS * n_vocab, path);
    struct sums s = op_sums(e);
    uint64_t batches = (TOKENS + n_batch - 1) / n_batch;
    s.attention += strstr(path, "lfm2") ? s.conv : 0; /* instead of attention, not beside a rule */
    size_t bare = strstr(path, "nemotron_h_moe") ? 2 : strstr(path, "nemotron_h") ? 1 : 0;
    cr_assert_eq(s.attention, batches * (lk_engine_n_layers(e) - bare), "%s: %llu attentions", path,
                 (unsigned long long)s.attention);
    cr_assert(s.matmul > batches * lk_engine_n_layers(e));
    cr_assert(s.matmul_bytes > 0 &&
              s.matmul_bytes <= batches * lk_engine_token_cost(e).weight_bytes);
    cr_assert(s.seconds > 0.0 && s.seconds <= wall, "ops took %g s of %g s", s.seconds, wall);
    cr_assert_eq(lk_engine_profile(e, true, &err), LK_OK);
    cr_assert_eq(op_sums(e).seconds, 0.0, "times start from zero");
    cr_assert_eq(lk_engine_profile(e, false, &err), LK_OK);
    float *after = tiny_rows(e, ids, TOKENS);
    cr_assert_eq(op_sums(e).seconds, 0.0, "times after they were ended");
    free(plain);
    free(timed);
    free(after);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(bench, timing_ops_counts_them_and_changes_no_bit)
{
    for (size_t i = 0; i < test_n_models(); i += test_is_full() ? 1 : 3) {
        for (int threads = 1; threads <= 3; threads++) {
            profiled(test_model_path(i), 1, threads);
            profiled(test_model_path(i), 7, threads);
        }
    }
}

/* More threads than CPUs would only take turns. */
Test(bench, threads_are_as_many_as_cpus_unless_pinned)
{
    for (int pin = 0; pin <= 1; pin++) {
        lk_engine_options o = lk_engine_options_default();
        lk_model *m;
        int asked = lk_cpu_quota() + 3, decode, prefill;
        o.backend = "cpu";
        o.threads = asked;
        o.threads_batch = asked + 1;
        o.pin = pin;
        lk_engine *e = tiny_engine_with(test_model_path(0), &o, &m);
        lk_engine_threads(e, &decode, &prefill);
        cr_assert_eq(decode, pin ? asked : lk_cpu_quota());
        cr_assert_eq(prefill, pin ? asked + 1 : lk_cpu_quota());
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

Test(bench, what_a_backend_cannot_measure_is_said)
{
    lk_model *m;
    lk_error err;
    double rate = 0.0;
    lk_engine *e = tiny_engine(test_model_path(0), "ref", 64, 64, 1, &m);
    cr_assert_eq(lk_engine_profile(e, true, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "ref"), "%s", err.message);
    cr_assert_eq(lk_engine_read_rate(e, 1 << 20, 1, &rate, &err), LK_E_UNSUPPORTED);
    lk_engine_close(&e);
    lk_model_close(&m);
    e = tiny_engine(test_model_path(0), "cpu", 64, 64, 1, &m);
    cr_assert_eq(lk_engine_read_rate(e, 0, 1, &rate, &err), LK_E_INVALID);
    cr_assert_eq(lk_engine_read_rate(e, 1 << 20, 0, &rate, &err), LK_E_INVALID);
    cr_assert_eq(lk_engine_read_rate(e, 1 << 20, 2, &rate, &err), LK_OK, "%s", err.message);
    cr_assert(rate > 0.0);
    lk_kernel_time k;
    cr_assert_eq(lk_engine_time_kernel(e, 0, &k, &err), LK_E_INVALID);
    cr_assert_eq(lk_engine_time_kernel(e, 2, &k, &err), LK_OK, "%s", err.message);
    cr_assert_str_eq(k.level, lk_cpu_level_name(lk_matmul_kernels(lk_cpu_best())->level));
    lk_engine_close(&e);
    lk_model_close(&m);
}

struct kernels {
    int seen[LK_CPU_LEVELS][LK_N_TYPES]; /* types in their order */
    int n, stop_at;
};

static bool see(void *user, const lk_kernel_time *t)
{
    struct kernels *k = user;
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    bool known = false;
    for (int level = 0; level < LK_CPU_LEVELS; level++) {
        for (size_t i = 0; i < n_types; i++) {
            if (strcmp(t->level, lk_cpu_level_name((enum lk_cpu_level)level)) == 0 &&
                strcmp(t->type, types[i].name) == 0) {
                k->seen[level][i]++;
                known = lk_cpu_has((enum lk_cpu_level)level, NULL) == LK_CPU_HAS;
            }
        }
    }
    cr_assert(known, "'%s' '%s'", t->level, t->type);
    cr_assert(t->bytes_per_second > 0.0 && t->ops_per_second > 0.0 && t->n_tokens == 2);
    return ++k->n != k->stop_at;
}

Test(bench, every_kernel_is_timed_once)
{
    static struct kernels k;
    lk_engine_options o = lk_engine_options_default();
    lk_error err;
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    cr_assert_eq(lk_bench_kernels(NULL, NULL, 2, see, &k, &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < n_types; i++) {
        cr_assert_eq(k.seen[LK_CPU_GENERIC][i], 1, "%s", types[i].name);
        if (lk_cpu_has(LK_CPU_AVX2, NULL) == LK_CPU_HAS) {
            cr_assert_eq(k.seen[LK_CPU_AVX2][i], 1, "%s", types[i].name);
        }
    }
    memset(&k, 0, sizeof k);
    k.stop_at = 1;
    o.cpu_level = "generic";
    cr_assert_eq(lk_bench_kernels(&o, NULL, 2, see, &k, &err), LK_E_CANCELLED);
    cr_assert_eq(k.n, 1);
    memset(&k, 0, sizeof k);
    cr_assert_eq(lk_bench_kernels(&o, "Q4_K", 2, see, &k, &err), LK_OK, "%s", err.message);
    cr_assert_eq(k.n, 1);
    cr_assert_eq(lk_bench_kernels(&o, "Q4_Z", 2, see, &k, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "'Q4_Z'") && strstr(err.message, "Q4_K"), "%s", err.message);
    cr_assert_eq(lk_bench_kernels(&o, NULL, 0, see, &k, &err), LK_E_INVALID);
    o.cpu_level = "warp";
    cr_assert_eq(lk_bench_kernels(&o, NULL, 2, see, &k, &err), LK_E_INVALID);
    o.backend = "scalar";
    cr_assert_eq(lk_bench_kernels(&o, NULL, 2, see, &k, &err), LK_E_UNSUPPORTED);
    o.backend = "abacus";
    cr_assert_eq(lk_bench_kernels(&o, NULL, 2, see, &k, &err), LK_E_INVALID);
}
