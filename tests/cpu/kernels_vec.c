/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels_vec: the kernels beside matmul against cpu/scalar.c: every length up to a few vectors,
 * values on both sides of the flush, of each primitive's cuts and of the range limit.
 */
#include <stdio.h>
#include <string.h>

#include "cpu/scalar.h"
#include "cpu/vec.h"
#include "tests/cpu/kernels.h"
#include "base/numerics.h"

enum { MAX_N = 700 };

/* +0, values at the cuts of the primitives, or any in [2^low, 2^high). */
static float any_value(struct rng *r, int low, int high)
{
    static const uint32_t EDGES[] = {
        0x00000000u, 0x26800000u, 0x26800001u, 0x27000000u, /* 0, 2^-50, just above, 2^-49 */
        0x39800000u, 0x397FFFFFu, 0x3F200000u, 0x3F1FFFFFu, /* tanh: 2^-12, 0.625 */
        0x428A0000u, 0x428A0001u, 0x41200000u, 0x3F800000u, /* exp: 69; 10, 1 */
        0x537FFFFFu, 0x4B000000u, 0x477FE000u, 0x477FF000u, /* below 2^40; 2^23; halves: 65504+ */
        0x33000000u, 0x33000001u, 0x33800000u, 0x38800000u, /* 2^-25, above it, 2^-24, 2^-14 */
    };
    float x = rng_float(r, low, high);
    if (rng_below(r, 8) == 0) {
        uint32_t u = EDGES[rng_below(r, (int)LK_COUNT(EDGES))];
        bool fits = u == 0 || ((int)(u >> 23) - 127 >= low && (int)(u >> 23) - 127 <= high);
        x = fits ? lk_flt(u == 0 ? 0 : u | (rng_u32(r) & 0x80000000u)) : x;
    }
    return x;
}

/* Two inputs and two outputs of n floats at the ends of their pages. */
struct vec_case {
    struct edge a, b, got, want;
    float *fa, *fb, *fgot, *fwant;
};

static struct vec_case case_new(struct rng *r, int n, int low, int high)
{
    struct vec_case c = {
        .a = edge_new((size_t)n * 4, 4),
        .b = edge_new((size_t)n * 4, 4),
        .got = edge_new((size_t)n * 4, 4),
        .want = edge_new((size_t)n * 4, 4),
    };
    c.fa = (float *)(void *)c.a.data;
    c.fb = (float *)(void *)c.b.data;
    c.fgot = (float *)(void *)c.got.data;
    c.fwant = (float *)(void *)c.want.data;
    for (int i = 0; i < n; i++) {
        c.fa[i] = any_value(r, low, high);
        c.fb[i] = any_value(r, low, high);
    }
    return c;
}

static void case_end(struct report *rep, struct vec_case *c, const char *what, bool got, bool want)
{
    if (got != want) {
        report_fail(rep, "%s: in range: %d, the contract says %d", what, got, want);
    } else if (want) {
        same_floats(rep, what, c->fgot, c->fwant, c->got.n_bytes / 4);
    }
    edge_free(&c->a);
    edge_free(&c->b);
    edge_free(&c->got);
    edge_free(&c->want);
}

enum { LOW_RANGE, MID_RANGE, ALL_RANGE, RANGES };
static const int LOWS[RANGES] = {-50, -20, -50}, HIGHS[RANGES] = {-20, 8, 39};

static void test_elementwise(struct report *rep, enum lk_cpu_level level,
                             const struct lk_vec_kernels *t)
{
    static const char *const NAMES[] = {"add",     "bias",  "silu",    "gelu",
                                        "softcap", "scale", "sigmoid", "gelu by erf"};
    for (int f = 0; f < (int)LK_COUNT(NAMES); f++) {
        struct rng rng = {rep->seed + (uint64_t)f};
        report_begin(rep, lk_cpu_level_name(level), NAMES[f], "");
        for (int round = 0; round < 500; round++) {
            int n = round < 90 ? 1 + round / 2 : 1 + rng_below(&rng, MAX_N), range = round % RANGES;
            struct vec_case c = case_new(&rng, n, LOWS[range], HIGHS[range]);
            float cap = rng_float(&rng, 2, 6), in = 1.0f / cap;
            char what[64];
            bool got, want;
            snprintf(what, sizeof what, "%d values of 2^%d..2^%d", n, LOWS[range], HIGHS[range]);
            if (f == 0) {
                if (round % 5 == 0) { /* sums that cancel */
                    for (int i = 0; i < n; i += 2) {
                        c.fb[i] = -c.fa[i] + 0.0f;
                    }
                }
                got = t->add(c.fa, c.fb, n, c.fgot);
                want = lk_scalar_add(c.fa, c.fb, n, c.fwant);
            } else if (f == 1) {
                for (int i = 0; i < n; i += 3) { /* a file may hold what no op stores */
                    c.fb[i] = lk_flt(rng_u32(&rng) & 0x867fffffu);
                }
                got = t->bias(c.fa, c.fb, n, c.fgot);
                want = lk_scalar_bias(c.fa, c.fb, n, c.fwant);
            } else if (f < 4 || f == 6) {
                enum lk_act act = f == 2       ? LK_ACT_SILU
                                  : f == 3     ? LK_ACT_GELU
                                  : n % 3 == 0 ? LK_ACT_SIGMOID
                                  : n % 3 == 1 ? LK_ACT_RELU
                                               : LK_ACT_NONE;
                got = t->glu(act, c.fa, c.fb, n, c.fgot);
                want = lk_scalar_glu(act, c.fa, c.fb, n, c.fwant);
            } else if (f == 7) {
                got = t->gelu(c.fa, n, c.fgot);
                want = lk_scalar_gelu(c.fa, n, c.fwant);
            } else if (f == 5) {
                got = t->scale(c.fa, n, in, c.fgot);
                want = lk_scalar_scale(c.fa, n, in, c.fwant);
            } else {
                got = t->softcap(c.fa, n, in, cap, c.fgot);
                want = lk_scalar_softcap(c.fa, n, in, cap, c.fwant);
            }
            case_end(rep, &c, what, got, want);
        }
        report_end(rep);
    }
}

/* RMS norm, or layer norm. */
static void test_norm(struct report *rep, enum lk_cpu_level level, const struct lk_vec_kernels *t,
                      bool layer)
{
    static const int GROUPS[] = {1,   2,   7,   8,   15,  16,  17,  31,  32,  64,  80,
                                 100, 127, 128, 200, 255, 256, 257, 511, 512, 576, 640};
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), layer ? "layer_norm" : "norm", "");
    for (int round = 0; round < 200; round++) {
        int group = GROUPS[round % (int)LK_COUNT(GROUPS)], range = round % RANGES;
        int n = group * (group <= 128 ? 1 + rng_below(&rng, 4) : 1);
        /* A square sum within the range that rule 1 promises. */
        struct vec_case c = case_new(&rng, n, LOWS[range], HIGHS[range] < 30 ? HIGHS[range] : 38);
        float eps = round % 4 == 3 ? 0x1p-60f : 1e-5f;
        char what[64];
        snprintf(what, sizeof what, "%d in groups of %d", n, group);
        for (int i = 0; layer && round % 5 == 0 && i < n; i++) { /* close to their mean */
            c.fa[i] = 1.0f + lk_flush(c.fa[i] * 0x1p-20f);
        }
        bool got = (layer ? t->layer_norm : t->norm)(c.fa, c.fb, n, group, eps, c.fgot);
        bool want =
            (layer ? lk_scalar_layer_norm : lk_scalar_norm)(c.fa, c.fb, n, group, eps, c.fwant);
        case_end(rep, &c, what, got, want);
    }
    report_end(rep);
}

static void test_rope(struct report *rep, enum lk_cpu_level level, const struct lk_vec_kernels *t)
{
    static const int DIMS[] = {2, 4, 8, 16, 20, 32, 64, 80, 96, 128, 256};
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "rope", "");
    for (int round = 0; round < 200; round++) {
        int hd = DIMS[round % (int)LK_COUNT(DIMS)], heads = 1 + rng_below(&rng, 3);
        int dims = round % 3 == 0 ? 2 * (1 + rng_below(&rng, hd / 2)) : hd;
        int range = round % RANGES, n = heads * hd;
        bool interleaved = round & 1;
        struct vec_case c = case_new(&rng, n, LOWS[range], HIGHS[range]);
        struct edge cs = edge_new((size_t)dims * 4, 4);
        float *table = (float *)(void *)cs.data;
        for (int i = 0; i < dims; i++) {
            table[i] = any_value(&rng, -30, -1);
        }
        char what[64];
        snprintf(what, sizeof what, "%d heads of %d, %d turned%s", heads, hd, dims,
                 interleaved ? ", neighbours" : "");
        bool got = t->rope(c.fa, heads, hd, dims, interleaved, table, c.fgot);
        bool want = lk_scalar_rope(c.fa, heads, hd, dims, interleaved, table, c.fwant);
        case_end(rep, &c, what, got, want);
        edge_free(&cs);
    }
    report_end(rep);
}

static void test_kv_store(struct report *rep, enum lk_cpu_level level,
                          const struct lk_vec_kernels *t)
{
    static const int DIMS[] = {1, 5, 16, 31, 32, 33, 64, 80, 96, 128, 256, 576};
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "kv_store", "");
    for (int round = 0; round < 200; round++) {
        int hd = DIMS[round % (int)LK_COUNT(DIMS)], heads = 1 + rng_below(&rng, 3);
        int vd = round % 4 ? hd : 1 + rng_below(&rng, hd);
        struct lk_kv_shape shape = {.n_head = heads,
                                    .head_dim = hd,
                                    .v_dim = vd,
                                    .dim = (int)lk_round_up((size_t)hd, LK_KV_DIM_ALIGN),
                                    .v_dim_padded = (int)lk_round_up((size_t)vd, LK_KV_DIM_ALIGN),
                                    .k_bits = round % 3 ? LK_KV_K_BITS : LK_KV_K8_BITS};
        /* bytes of two blocks, of K or V */
        size_t n = 4 * LK_KV_HEAD_AT(2, 0, (size_t)heads, (size_t)shape.dim, LK_KV_K_BITS);
        struct edge buf[4];
        for (int i = 0; i < 4; i++) {
            buf[i] = edge_new(n, 64);
        }
        struct vec_case c = case_new(&rng, heads * hd, -30, round % 2 ? 3 : 20);
        int block = rng_below(&rng, 2), slot = rng_below(&rng, LK_KV_BLOCK);
        if (round % 5 == 4) {
            memset(c.fa, 0, (size_t)hd * sizeof *c.fa); /* a head of zeros has no scale */
        }
        t->kv_store(&shape, c.fa, c.fb, block, slot, (void *)buf[0].data, (void *)buf[1].data);
        lk_scalar_kv_store(&shape, c.fa, c.fb, block, slot, (void *)buf[2].data,
                           (void *)buf[3].data);
        same_bytes(rep, "K", buf[0].data, buf[2].data, n);
        same_bytes(rep, "V", buf[1].data, buf[3].data, n);
        memcpy(c.fgot, c.fwant, c.got.n_bytes);
        case_end(rep, &c, "kv_store", true, true);
        for (int i = 0; i < 4; i++) {
            edge_free(&buf[i]);
        }
    }
    report_end(rep);
}

/* ---- layers with a state ---- */

static void test_conv(struct report *rep, enum lk_cpu_level level, const struct lk_vec_kernels *t)
{
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "conv", "");
    for (int round = 0; round < 300; round++) {
        int n = 1 + rng_below(&rng, 90), taps = 2 + round % (LK_MAX_TAPS - 1);
        int range = round % RANGES, all = n * (taps + 1); /* a bias behind the taps */
        struct vec_case c = case_new(&rng, all, LOWS[range], HIGHS[range]);
        const float *bias = round % 3 ? c.fb + taps * n : NULL;
        const float *x[LK_MAX_TAPS];
        for (int k = 0; k < taps; k++) {
            x[k] = c.fa + k * n;
        }
        for (int i = 0; i < all; i += 5) { /* a file may hold what no op stores */
            c.fb[i] = lk_flt(rng_u32(&rng) & 0x867fffffu);
        }
        char what[64];
        snprintf(what, sizeof what, "%d taps of %d columns%s", taps, n, bias ? ", bias" : "");
        memset(c.fgot, 0, c.got.n_bytes);
        memset(c.fwant, 0, c.want.n_bytes);
        bool got = t->conv(x, c.fb, (size_t)n, taps, bias, n, round & 1, c.fgot);
        bool want = lk_scalar_conv(x, c.fb, (size_t)n, taps, bias, n, round & 1, c.fwant);
        case_end(rep, &c, what, got, want);
    }
    report_end(rep);
}

static void test_l2_norm(struct report *rep, enum lk_cpu_level level,
                         const struct lk_vec_kernels *t)
{
    static const int GROUPS[] = {1, 8, 17, 32, 100, 128, 256, 300};
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "l2_norm", "");
    for (int round = 0; round < 200; round++) {
        int group = GROUPS[round % (int)LK_COUNT(GROUPS)], range = round % RANGES;
        int groups = 1 + rng_below(&rng, 2), n = groups * group + rng_below(&rng, 40);
        struct vec_case c = case_new(&rng, n, LOWS[range], HIGHS[range]);
        char what[64];
        snprintf(what, sizeof what, "%d groups of %d, %d in all", groups, group, n);
        bool got = t->l2_norm(c.fa, n, group, groups, round % 4 ? 1e-6f : 0x1p-60f, c.fgot);
        bool want =
            lk_scalar_l2_norm(c.fa, n, group, groups, round % 4 ? 1e-6f : 0x1p-60f, c.fwant);
        case_end(rep, &c, what, got, want);
    }
    report_end(rep);
}

static void test_delta(struct report *rep, enum lk_cpu_level level, const struct lk_vec_kernels *t)
{
    enum { MOST_K = 128, MOST_V = 70 };
    static float q[MOST_K], k[MOST_K];
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "delta", "");
    for (int round = 0; round < 300; round++) {
        int n = 1 + rng_below(&rng, MOST_V), kd = LK_DELTA_CHAINS * (1 + rng_below(&rng, 16));
        int all = n * (kd + 1), high = round % 9 == 8 ? 39 : round % 3 * 4 - 8;
        struct vec_case c = case_new(&rng, all, round % 2 ? -50 : high - 20, high);
        struct lk_delta_token d = {.k_dim = kd, .stride = n, .q = q, .k = k, .scale = 0.0883883f};
        for (int i = 0; i < kd; i++) {
            q[i] = any_value(&rng, -20, 0);
            k[i] = any_value(&rng, -20, 0);
        }
        d.keep = round % 7 ? rng_float(&rng, -3, 0) : 0.0f;
        d.keep = lk_flt(lk_bits(d.keep) & 0x7fffffffu);
        d.take = lk_sigmoid(rng_float(&rng, -3, 3));
        memcpy(c.fgot, c.fa, c.got.n_bytes); /* the state, and room for the results */
        memcpy(c.fwant, c.fa, c.want.n_bytes);
        char what[64];
        snprintf(what, sizeof what, "%d columns of %d", n, kd);
        bool got = t->delta(&d, c.fb, n, c.fgot, c.fgot + kd * n);
        bool want = lk_scalar_delta(&d, c.fb, n, c.fwant, c.fwant + kd * n);
        case_end(rep, &c, what, got, want);
    }
    report_end(rep);
}

static void test_ssm(struct report *rep, enum lk_cpu_level level, const struct lk_vec_kernels *t)
{
    enum { MOST_ROWS = 128, MOST = 70 };
    static float b[MOST_ROWS], c[MOST_ROWS];
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "ssm", "");
    for (int round = 0; round < 300; round++) {
        int n = 1 + rng_below(&rng, MOST), rows = LK_DELTA_CHAINS * (1 + rng_below(&rng, 16));
        int all = n * (rows + 1), high = round % 9 == 8 ? 39 : round % 3 * 4 - 8;
        struct vec_case v = case_new(&rng, all, round % 2 ? -50 : high - 20, high);
        struct lk_ssm_token d = {.rows = rows, .stride = n, .b = b, .c = c};
        for (int i = 0; i < rows; i++) {
            b[i] = any_value(&rng, -20, 2);
            c[i] = any_value(&rng, -20, 2);
        }
        d.keep = round % 7 ? lk_sigmoid(rng_float(&rng, -3, 3)) : 0.0f;
        d.take = lk_softplus(rng_float(&rng, -3, 3));
        d.skip = round % 5 ? rng_float(&rng, -3, 3) : lk_flt(rng_u32(&rng) & 0x867fffffu);
        memcpy(v.fgot, v.fa, v.got.n_bytes); /* the state, and room for the results */
        memcpy(v.fwant, v.fa, v.want.n_bytes);
        char what[64];
        snprintf(what, sizeof what, "%d columns of %d", n, rows);
        bool got = t->ssm(&d, v.fb, n, v.fgot, v.fgot + rows * n);
        bool want = lk_scalar_ssm(&d, v.fb, n, v.fwant, v.fwant + rows * n);
        case_end(rep, &v, what, got, want);
    }
    report_end(rep);
}

void test_vec(struct report *rep, enum lk_cpu_level level)
{
    /* Levels that differ in integer dots alone share these kernels. */
    static const enum lk_cpu_level OWN[LK_CPU_LEVELS] = {
        [LK_CPU_GENERIC] = LK_CPU_GENERIC, [LK_CPU_AVX2] = LK_CPU_AVX2,
        [LK_CPU_AVX_VNNI] = LK_CPU_AVX2,   [LK_CPU_AVX512] = LK_CPU_AVX512,
        [LK_CPU_AMX] = LK_CPU_AMX,         [LK_CPU_NEON] = LK_CPU_NEON,
        [LK_CPU_DOTPROD] = LK_CPU_NEON,    [LK_CPU_I8MM] = LK_CPU_NEON,
    };
    const struct lk_vec_kernels *t = lk_vec_kernels(level);
    report_begin(rep, lk_cpu_level_name(level), "vec", "level");
    if (t->level != OWN[level] ||
        (level != LK_CPU_GENERIC &&
         (t->norm == lk_vec_generic.norm || t->attn_chunk == lk_vec_generic.attn_chunk))) {
        report_fail(rep, "ran the kernels of %s", lk_cpu_level_name(t->level));
    }
    report_end(rep);
    test_elementwise(rep, level, t);
    test_norm(rep, level, t, false);
    test_norm(rep, level, t, true);
    test_rope(rep, level, t);
    test_kv_store(rep, level, t);
    test_conv(rep, level, t);
    test_l2_norm(rep, level, t);
    test_delta(rep, level, t);
    test_ssm(rep, level, t);
}
