/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref scalar: each op of the contract against the same op of the reference, on the same input, in a
 * plan of its own. Each bound is worked out from the op's roundings; sums of many have a second
 * bound on their root mean square, where a wrong term shows long before the worst case.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/scalar.h"
#include "backend/backend.h"
#include "backend/embed_row.h"
#include "base/numerics.h"
#include "tests/util/hand_plan.h"
#include "tests/util/model_build.h"
#include "tests/util/rng.h"
#include "tests/util/tolerances.h"

#define U 0x1p-24
/* What the flush of rule 1 may take away. */
#define FLUSH 0x1p-50

enum { TOKENS = 8 };

/* A plan of hand-made ops over one handed-in slot 0; each op's slot is the next. */
struct rig {
    struct lk_plan plan;
    struct hand_room room;
    int n_tokens, pos;
    const float *in; /* [n_tokens][width of slot 0] */
};

static void rig_start(struct rig *r, int width, int n_tokens, const float *in)
{
    memset(r, 0, sizeof *r);
    hand_start(&r->plan, &r->room, width);
    r->plan.n_vocab = 1;
    r->n_tokens = n_tokens;
    r->in = in;
}

/* Adds an op whose result has `width` floats a row (0: none) and returns it. */
static struct lk_op *rig_op(struct rig *r, enum lk_op_kind kind, int in0, int in1, int width)
{
    int out = width ? hand_slot(&r->plan, width, LK_ROWS_TOKENS) : -1;
    return hand_op(&r->plan, kind, in0, in1, out, -1);
}

static int rig_weight(struct rig *r, enum lk_type type, int64_t rows, int64_t cols,
                      const void *data)
{
    return hand_weight(&r->plan, type, rows, cols, data);
}

/* Runs the rig and returns the last slot [n_tokens][width]; malloc'd. */
static float *rig_run(struct rig *r, const char *backend, const char *level)
{
    const struct lk_backend_impl *impl = lk_backend_find(backend);
    struct lk_backend_options bo = {.threads = 1, .threads_batch = 1, .cpu_level = level};
    struct lk_caps caps;
    struct lk_backend *be;
    struct lk_exec *exec;
    struct lk_state_mem *states;
    lk_error err;
    int n = r->n_tokens;
    int blocks = (r->pos + n + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
    struct lk_state_geom geom = {.plan = &r->plan, .n_blocks = blocks};
    struct lk_exec_options eo = {.plan = &r->plan,
                                 .max_tokens = n,
                                 .max_outputs = 1,
                                 .max_seqs = 1,
                                 .max_blocks = blocks,
                                 .keep_ops = true};
    cr_assert_eq(impl->open(&bo, &be, &caps, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->prepare(be, &eo, &exec, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->state_alloc(be, &geom, &states, &err), LK_OK, "%s", err.message);
    int32_t *table = malloc((size_t)blocks * sizeof *table);
    int32_t *pos = malloc((size_t)n * sizeof *pos), *seq = calloc((size_t)n, sizeof *seq);
    for (int i = 0; i < blocks; i++) {
        table[i] = blocks - 1 - i;
    }
    for (int i = 0; i < n; i++) {
        pos[i] = r->pos + i;
    }
    struct lk_batch_seq one = {.blocks = table, .n_tokens = n, .pos = r->pos};
    float *out = malloc((size_t)n * (size_t)r->plan.slots[r->plan.out_slot].width * sizeof *out);
    struct lk_batch b = {.n_tokens = n,
                         .pos = pos,
                         .seq = seq,
                         .n_seqs = 1,
                         .seqs = &one,
                         .hidden_in = r->in,
                         .out = out};
    cr_assert_eq(impl->run(exec, states, &b, &err), LK_OK, "%s", err.message);
    impl->state_free(states);
    impl->exec_free(exec);
    impl->close(be);
    free(table);
    free(pos);
    free(seq);
    return out;
}

/* ---- data ---- */

/* About normal, with outliers, zeros and values next to 2^-50. */
static void fill(float *x, size_t n, float scale, uint32_t seed)
{
    struct rng s = {seed};
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < 6; j++) {
            sum += (double)(rng_u32(&s) >> 8) / 0x1p24 - 0.5;
        }
        uint32_t kind = rng_u32(&s) >> 8 & 63;
        x[i] = kind == 0   ? 0.0f
               : kind == 1 ? 0x1p-50f
               : kind == 2 ? (float)sum * scale * 20
                           : (float)sum * scale * 1.4f;
        x[i] = lk_flush(x[i]);
    }
}

/* ---- rows of weights ---- */

static void check_matmul(enum lk_type type, int k, uint32_t seed)
{
    enum { ROWS = 96, MOST_K = 2048 };
    const struct lk_type_info *info = lk_type_info(type);
    size_t row_bytes = lk_type_row_bytes(type, (size_t)k);
    cr_assert_leq(k, MOST_K);
    uint8_t *data = malloc(ROWS * row_bytes);
    struct rng rng = {seed};
    model_random(type, data, (size_t)ROWS * (size_t)k, 0.05f, &rng);
    float *x = malloc((size_t)TOKENS * (size_t)k * sizeof *x);
    fill(x, (size_t)TOKENS * (size_t)k, 1.0f, seed);
    struct rig r;
    rig_start(&r, k, TOKENS, x);
    rig_op(&r, LK_OP_MATMUL, 0, -1, ROWS)->weight = rig_weight(&r, type, ROWS, k, data);
    float *got = rig_run(&r, "scalar", "auto"), *want = rig_run(&r, "ref", "auto");
    double *w = malloc((size_t)k * sizeof *w), rms = 0, rms_expected = 0, worst = 0;
    int n_panels = (k + LK_PANEL - 1) / LK_PANEL;
    int block = info->quantized ? lk_acts_block(info->acts) : 32;
    double most[TOKENS * MOST_K / 32] = {0}; /* of each block of x */
    for (int i = 0; i < TOKENS * k; i++) {
        most[i / block] = fmax(most[i / block], fabs((double)x[i]));
    }
    for (int row = 0; row < ROWS; row++) {
        lk_dequantize_f64(type, data + (size_t)row * row_bytes, (size_t)k, w);
        for (int t = 0; t < TOKENS; t++) {
            const float *xt = x + (size_t)t * (size_t)k;
            double size = 0, rounding = 0, square = 0;
            for (int i = 0; i < k; i++) {
                double a = fabs((double)xt[i]);
                if (info->quantized) { /* half a step of the block's 127 */
                    a = most[(t * k + i) / block] / 127;
                    rounding += 0.5 * a * fabs(w[i]);
                    square += a * a / 12 * w[i] * w[i];
                } else { /* half a unit of 13 or 16 bits; uniform within it */
                    double step = type == LK_TYPE_F16    ? 0x1p-12
                                  : type == LK_TYPE_BF16 ? 0x1p-15
                                                         : 0;
                    rounding += 0.5 * step * a * fabs(w[i]);
                    square += pow(step * a * w[i], 2) / 12;
                }
                size += fabs(w[i] * (double)xt[i]);
            }
            size_t at = (size_t)t * ROWS + (size_t)row;
            double e = fabs((double)got[at] - (double)want[at]);
            /* sums: at most 256 in a panel, then the panels; scales and products 4 */
            double bound = rounding * 1.0001 + (size + rounding) * U * (260 + n_panels) + FLUSH;
            cr_assert_leq(e, bound, "%s, K %d, row %d, token %d: %.3e, bound %.3e", info->name, k,
                          row, t, e, bound);
            worst = fmax(worst, e / bound);
            rms += e * e;
            rms_expected += square + pow(U * size, 2);
        }
    }
    double ratio = sqrt(rms / rms_expected);
    cr_log_info("%s, K %d: worst %.3f of its bound, rms %.2f of the expected", info->name, k, worst,
                ratio);
    cr_expect(ratio <= TOL_MATMUL_RMS && (!info->quantized || ratio >= 1 / (1.1 * TOL_MATMUL_RMS)),
              "%s, K %d: rms %.2f of the expected", info->name, k, ratio);
    free(w);
    free(got);
    free(want);
    free(x);
    free(data);
}

Test(ref_scalar, matmul_of_every_type)
{
    size_t n;
    const struct lk_type_info *types = lk_types(&n);
    for (size_t i = 0; i < n; i++) {
        check_matmul(types[i].type, 1024, (uint32_t)i + 1);
        check_matmul(types[i].type, 256, (uint32_t)i + 50);
        if (types[i].block < 256) {
            int k = types[i].block > 32 ? 128 * 11 : 32 * 11; /* a short last panel */
            check_matmul(types[i].type, k, (uint32_t)i + 99);
        }
    }
}

/* ---- elementwise and per row ---- */

enum { WIDTH = 768 };

/* Largest excess of |got - want| over allowed(i), as a ratio. */
static double worst_of(const float *got, const float *want, const double *allowed, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]) / (allowed[i] + FLUSH));
    }
    return worst;
}

/* Runs the rig on both; asserts that each element differs by less than allowed. The reference's
 * double is read as f32, one u more. */
static void check_rig(struct rig *r, const double *allowed, const char *what)
{
    float *got = rig_run(r, "scalar", "auto"), *want = rig_run(r, "ref", "auto");
    size_t n = (size_t)r->n_tokens * (size_t)r->plan.slots[r->plan.out_slot].width;
    double worst = worst_of(got, want, allowed, n);
    cr_log_info("%s: %.3f of the bound", what, worst);
    cr_expect_leq(worst, 1, "%s: %.3f of the bound", what, worst);
    free(got);
    free(want);
}

static double sigmoid_f64(double x)
{
    return 1 / (1 + exp(-x));
}

/* Layer norm: n/256 + 9 sums and a product make the mean, in units of the mean size of x, and one
 * more rounding the rest; both go through the root and the products of an RMS norm. */
static void layer_norm_rig(struct rig *r, const float *x, const float *w)
{
    static double allowed[TOKENS * WIDTH];
    for (int group = 64; group <= WIDTH; group *= 12) {
        for (size_t i = 0; i < TOKENS * WIDTH; i++) {
            size_t g = i / (size_t)group * (size_t)group;
            double sum = 0, size = 0, squares = 0;
            for (size_t j = g; j < g + (size_t)group; j++) {
                sum += (double)x[j];
                size += fabs((double)x[j]);
            }
            for (size_t j = g; j < g + (size_t)group; j++) {
                squares += pow((double)x[j] - sum / group, 2);
            }
            double rest = (double)x[i] - sum / group, root = 1 / sqrt(squares / group + 1e-6);
            double weight = fabs((double)w[i % (size_t)group]), y = fabs(rest) * root * weight;
            double off = U * ((group / 256.0 + 10) * size / group + fabs(rest));
            allowed[i] =
                off * root * (weight + y) + y * U * (0.5 * (group / 256.0 + 11) + TOL_RSQRT + 3);
        }
        rig_start(r, WIDTH, TOKENS, x);
        struct lk_op *op = rig_op(r, LK_OP_LAYER_NORM, 0, -1, WIDTH);
        op->u.norm.group = group;
        op->u.norm.eps = 1e-6f;
        op->weight = rig_weight(r, LK_TYPE_F32, 1, group, w);
        check_rig(r, allowed, "layer norm");
    }
}

Test(ref_scalar, ops_of_rows)
{
    static float x[TOKENS * WIDTH], w[WIDTH];
    static double allowed[TOKENS * WIDTH];
    size_t n = TOKENS * WIDTH;
    for (uint32_t seed = 1; seed <= 8; seed++) {
        struct rig r;
        fill(x, n, seed % 2 ? 1.0f : 300.0f, seed);
        fill(w, WIDTH, 1.0f, seed + 100);

        /* norm: n/256 + 10 sums of squares and eps, halved by the root; rsqrt; two products */
        for (int group = 64; group <= WIDTH; group *= 12) {
            for (size_t i = 0; i < n; i++) {
                size_t g = i / (size_t)group * (size_t)group;
                double sum = 0;
                for (size_t j = g; j < g + (size_t)group; j++) {
                    sum += (double)x[j] * (double)x[j];
                }
                double y = (double)x[i] / sqrt(sum / group + 1e-6) * (double)w[i % (size_t)group];
                allowed[i] = fabs(y) * U * (0.5 * (group / 256.0 + 11) + TOL_RSQRT + 3);
            }
            rig_start(&r, WIDTH, TOKENS, x);
            struct lk_op *op = rig_op(&r, LK_OP_NORM, 0, -1, WIDTH);
            op->u.norm.group = group;
            op->u.norm.eps = 1e-6f;
            op->weight = rig_weight(&r, LK_TYPE_F32, 1, group, w);
            check_rig(&r, allowed, "norm");
        }

        layer_norm_rig(&r, x, w);

        rig_start(&r, WIDTH, TOKENS, x);
        rig_op(&r, LK_OP_SCALE, 0, -1, WIDTH)->u.scale.factor = 0.22f;
        for (size_t i = 0; i < n; i++) {
            allowed[i] = 2 * U * fabs((double)x[i] * (double)0.22f);
        }
        check_rig(&r, allowed, "scale");

        rig_start(&r, WIDTH, TOKENS, x);
        rig_op(&r, LK_OP_BIAS, 0, -1, WIDTH)->weight = rig_weight(&r, LK_TYPE_F32, 1, WIDTH, w);
        for (size_t i = 0; i < n; i++) {
            allowed[i] = 2 * U * fabs((double)x[i] + (double)w[i % WIDTH]);
        }
        check_rig(&r, allowed, "bias");

        /* add and glu of x and y = 1.5 x: one rounding of y, one of the result, one of reading */
        int kinds[] = {LK_OP_ADD, LK_OP_GLU, LK_OP_GLU};
        for (int k = 0; k < 3; k++) {
            rig_start(&r, WIDTH, TOKENS, x);
            rig_op(&r, LK_OP_BIAS, 0, -1, WIDTH)->weight = rig_weight(&r, LK_TYPE_F32, 1, WIDTH, w);
            struct lk_op *op = rig_op(&r, (enum lk_op_kind)kinds[k], 0, 1, WIDTH);
            op->u.glu.act = k == 1 ? LK_ACT_SILU : LK_ACT_GELU;
            for (size_t i = 0; i < n; i++) {
                double a = (double)x[i], b = a + (double)w[i % WIDTH];
                double z = 2 * 0.7978845608028654 * (a + 0.044715 * a * a * a);
                double act = a * sigmoid_f64(k == 1 ? a : z);
                double units = k == 1 ? TOL_SILU : TOL_GELU * (1 + fmax(-z, 0));
                allowed[i] = k == 0 ? U * fabs(b) + 2 * U * fabs(a + b)
                                    : U * fabs(act * b) * (units + 3) + fabs(b) * 0x1p-99;
            }
            check_rig(&r, allowed, k == 0 ? "add" : k == 1 ? "glu, silu" : "glu, gelu");
        }

        rig_start(&r, WIDTH, TOKENS, x);
        rig_op(&r, LK_OP_GELU, 0, -1, WIDTH);
        for (size_t i = 0; i < n; i++) {
            double a = (double)x[i], z = a < 0 ? a * a / 2 : 0;
            allowed[i] =
                U * fabs(a * erfc(-a * 0.70710678118654752) / 2) * (TOL_GELU_ERF * (1 + z) + 2) +
                0x1p-50;
        }
        check_rig(&r, allowed, "gelu by erf");

        /* softcap: 1/cap and the product 2 u of the argument, tanh, the product */
        rig_start(&r, WIDTH, TOKENS, x);
        struct lk_op *op = rig_op(&r, LK_OP_SOFTCAP, 0, -1, WIDTH);
        op->u.softcap.cap = 30;
        op->u.softcap.cap_in = (float)(1.0 / 30);
        op->u.softcap.cap_out = 30.0f;
        for (size_t i = 0; i < n; i++) {
            allowed[i] = U * (2 + TOL_TANH + 2) * fabs(30 * tanh((double)x[i] / 30));
        }
        check_rig(&r, allowed, "softcap");

        /* rope at far positions: cos and sin rounded, two products, a sum */
        for (int interleaved = 0; interleaved < 2; interleaved++) {
            lk_error err;
            rig_start(&r, WIDTH, TOKENS, x);
            cr_assert_eq(lk_rope_init(&r.plan.ropes[0], 64, interleaved, 1e4, 1, NULL, &err),
                         LK_OK);
            r.plan.n_ropes = 1;
            r.pos = seed < 4 ? (int)seed : 100000 + (int)seed;
            op = rig_op(&r, LK_OP_ROPE, 0, -1, WIDTH);
            op->u.rope.n_head = 8;
            op->u.rope.head_dim = 96;
            for (size_t i = 0; i < n; i++) {
                size_t base = i / 96 * 96, d = i % 96;
                size_t other = d >= 64 ? d : interleaved ? d ^ 1 : d < 32 ? d + 32 : d - 32;
                allowed[i] = U * 4 * (fabs((double)x[i]) + fabs((double)x[base + other]));
            }
            check_rig(&r, allowed, interleaved ? "rope, neighbours" : "rope, halves");
            lk_rope_free(&r.plan.ropes[0]);
        }
    }
}

/* Embedding rows: one rounding of the element, one of the scale's product, one of reading. */
Test(ref_scalar, embedding_of_every_type)
{
    enum { VOCAB = 7, K = 512 };
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t i = 0; i < n_types; i++) {
        uint8_t *data = malloc(VOCAB * lk_type_row_bytes(types[i].type, K));
        struct rng rng = {i + 5};
        model_random(types[i].type, data, VOCAB * K, 1.0f, &rng);
        struct lk_weight w = {.type = types[i].type, .rows = VOCAB, .cols = K, .data = data};
        static float y[K];
        static double want[K];
        for (int row = 0; row < VOCAB; row++) {
            float scale = row % 2 ? 1.0f : 25.25f;
            cr_assert(lk_embed_row(&w, row, scale, y));
            lk_dequantize_f64(w.type, data + (size_t)row * lk_type_row_bytes(w.type, K), K, want);
            for (int k = 0; k < K; k++) {
                double e = fabs((double)y[k] - want[k] * (double)scale);
                cr_assert_leq(e, 2 * U * fabs(want[k] * (double)scale) + FLUSH * (double)scale,
                              "%s: %g", types[i].name, e);
            }
        }
        free(data);
    }
}

/* ---- attention ---- */

enum { HD = 48, HEADS = 4, KV_HEADS = 2, KEYS = 150, MAX_IN = HEADS * HD };

/* A matrix whose rows each pick one input, times a power of two: exact in both backends. */
static void pick(float *m, int rows, uint32_t seed, int *from, double *factor)
{
    static const float factors[] = {1.0f, -1.0f, 0.5f, 2.0f};
    struct rng s = {seed};
    memset(m, 0, (size_t)rows * MAX_IN * sizeof *m);
    for (int i = 0; i < rows; i++) {
        from[i] = (int)(rng_u32(&s) % MAX_IN);
        float f = factors[rng_u32(&s) >> 8 & 3];
        factor[i] = (double)f;
        m[i * MAX_IN + from[i]] = f;
    }
}

static double largest(const double *x, int n)
{
    double a = 0;
    for (int i = 0; i < n; i++) {
        a = fmax(a, fabs(x[i]));
    }
    return a;
}

/* Half a step of integers up to `most`, with the roundings of the product that makes them. */
static double half_step(double a, int most)
{
    return a / most * TOL_CELL;
}

/* The bound of one head's row, whose values are v_dim wide: q and K are off by half a step each, so
 * scores by D (base 2) and shares of p by 4^D - 1; p by exp2part's own error, V by half a step; a
 * weight by half of 2^-13 of a power of two that is at most the chunk's largest; l by half of 2^-21
 * a key; then sums, and keys cut below 2^-30. */
static void attention_bound(const double *q, const double *k, const double *v, int n_keys,
                            int v_dim, double scale, double cap, double *allowed)
{
    const double log2e = 1.4426950408889634;
    double s[KEYS], d_max = 0, best = -INFINITY, l = 0, weight = 0;
    double q_off = half_step(largest(q, HD), LK_Q_MOST);
    for (int j = 0; j < n_keys; j++) {
        double dot = 0, size = 0, off = 0, k_off = half_step(largest(k + j * HD, HD), LK_Q_MOST);
        for (int d = 0; d < HD; d++) {
            dot += q[d] * k[j * HD + d];
            size += fabs(q[d] * k[j * HD + d]);
            off += fabs(q[d]) * k_off + fabs(k[j * HD + d]) * q_off + q_off * k_off;
        }
        s[j] = log2e * (cap > 0 ? cap * tanh(dot * scale / cap) : dot * scale);
        off = log2e * scale * (off + size * 12 * U); /* two scales, F(S), the products */
        d_max = fmax(d_max, off + fabs(s[j]) * 8 * U);
        best = fmax(best, s[j]);
    }
    double share = exp2(2 * d_max) - 1 + 2 * TOL_EXP2_PART * U;
    for (int j = 0; j < n_keys; j++) {
        s[j] = exp2(s[j] - best);
        l += s[j];
        weight = fmax(weight, s[j] * largest(v + j * v_dim, v_dim));
    }
    share += n_keys * 0x1p-22 / (0.7 * l);
    for (int d = 0; d < v_dim; d++) {
        double o = 0, size = 0, steps = 0, weights = 0, v_max = 0;
        for (int j = 0; j < n_keys; j++) {
            double a = largest(v + j * v_dim, v_dim), x = fabs(v[j * v_dim + d]);
            o += s[j] / l * v[j * v_dim + d];
            size += s[j] / l * x;
            steps += s[j] / l * half_step(a, LK_BYTE_MOST);
            weights += a > 0 ? 0x1p-14 * weight / l * (x / a + 1.0 / LK_BYTE_MOST) : 0;
            v_max = fmax(v_max, a);
        }
        allowed[d] = share * (size + steps + fabs(o)) + (steps + weights) * exp2(2 * d_max) +
                     size * 12 * U + n_keys * 0x1p-29 * v_max;
    }
}

Test(ref_scalar, attention)
{
    static const struct {
        double scale, softcap;
        int window, ahead;
        const char *what;
        int v_dim; /* 0: HD */
    } cases[] = {{0.144, 0, 0, 0, "plain", 0},
                 {0.144, 0, 70, 0, "window", 0},
                 {0.144, 20, 0, 0, "softcap", 0},
                 {1e-6, 0, 0, 0, "even", 0},
                 {30, 0, 0, 0, "one key wins", 0},
                 {200, 0, 65, 0, "scores near 2^19", 0},
                 {0.144, 0, 0, KEYS, "both directions", 0},
                 {0.144, 20, 33, 32, "a window on both sides", 0},
                 {0.144, 0, 0, 0, "values narrower than keys", 20}};
    static float x[KEYS * MAX_IN], m[3][MAX_IN * MAX_IN];
    static double allowed[KEYS * HEADS * HD], q[HD], k[KEYS * HD], v[KEYS * HD];
    int from[3][MAX_IN];
    double factor[3][MAX_IN];
    for (size_t c = 0; c < LK_COUNT(cases); c++) {
        fill(x, KEYS * MAX_IN, 1.0f, (uint32_t)c + 1);
        struct rig r;
        rig_start(&r, MAX_IN, KEYS, x);
        int vd = cases[c].v_dim ? cases[c].v_dim : HD;
        const int widths[] = {HEADS * HD, KV_HEADS * HD, KV_HEADS * vd};
        for (int i = 0; i < 3; i++) {
            pick(m[i], widths[i], (uint32_t)(10 * c) + (uint32_t)i + 1, from[i], factor[i]);
            rig_op(&r, LK_OP_MATMUL, 0, -1, widths[i])->weight =
                rig_weight(&r, LK_TYPE_F32, widths[i], MAX_IN, m[i]);
        }
        struct lk_op *op = rig_op(&r, LK_OP_KV_STORE, 2, 3, 0);
        hand_states(&r.plan, KV_HEADS, HD);
        r.plan.states[1] = lk_state_paged(LK_STATE_V, 0, KV_HEADS, vd);
        op->u.kv_store.k = 0;
        op->u.kv_store.v = 1;
        op = rig_op(&r, LK_OP_ATTENTION, 1, -1, HEADS * vd);
        op->u.attention.k = 0;
        op->u.attention.v = 1;
        op->u.attention.n_head = HEADS;
        op->u.attention.window = cases[c].window;
        op->u.attention.ahead = cases[c].ahead;
        op->u.attention.scale = cases[c].scale;
        op->u.attention.softcap = cases[c].softcap;
        double log2e = 1.4426950408889634, cap = cases[c].softcap;
        op->u.attention.score_in = (float)(cap > 0 ? cases[c].scale / cap : cases[c].scale * log2e);
        op->u.attention.score_cap = (float)(cap * log2e);
        for (int t = 0; t < KEYS; t++) {
            int first = cases[c].window && t >= cases[c].window ? t - cases[c].window + 1 : 0;
            int last = t + cases[c].ahead < KEYS - 1 ? t + cases[c].ahead : KEYS - 1;
            for (int h = 0; h < HEADS; h++) {
                for (int d = 0; d < HD; d++) {
                    int kv_head = h / (HEADS / KV_HEADS), iq = h * HD + d, ik = kv_head * HD + d;
                    int iv = kv_head * vd + d;
                    q[d] = factor[0][iq] * (double)x[t * MAX_IN + from[0][iq]];
                    for (int j = first; j <= last; j++) {
                        const float *xj = x + j * MAX_IN;
                        k[(j - first) * HD + d] = factor[1][ik] * (double)xj[from[1][ik]];
                        if (d < vd) {
                            v[(j - first) * vd + d] = factor[2][iv] * (double)xj[from[2][iv]];
                        }
                    }
                }
                attention_bound(q, k, v, last - first + 1, vd, cases[c].scale, cap,
                                allowed + (t * HEADS + h) * vd);
            }
        }
        check_rig(&r, allowed, cases[c].what);
        float *got = rig_run(&r, "scalar", "auto"), *near = rig_run(&r, "ref", "rounded");
        double sum = 0, size = 0, worst = 0;
        size_t n = (size_t)(KEYS * HEADS * vd);
        for (size_t i = 0; i < n; i++) {
            double e = fabs((double)got[i] - (double)near[i]);
            sum += e * e;
            size += (double)near[i] * (double)near[i];
            worst = fmax(worst, e);
        }
        cr_log_info("%s, rounded: rms %.2e, worst %.2e", cases[c].what, sqrt(sum / size),
                    worst / sqrt(size / (double)n));
        double slack = cases[c].scale > 100 ? TOL_ATTENTION_HUGE : 1;
        cr_expect_leq(sqrt(sum / size), slack * TOL_ATTENTION_RMS, "%s, rounded: rms %.2e",
                      cases[c].what, sqrt(sum / size));
        cr_expect_leq(worst, slack * TOL_ATTENTION_WORST * sqrt(size / (double)n),
                      "%s, rounded: %.2e", cases[c].what, worst);
        free(got);
        free(near);
    }
}

/* Products by head have the bound of any product; what is joined to them stays as it is. */
Test(ref_scalar, products_by_head)
{
    enum { N = 3, COLS = 40, ROWS = 24, EACH = COLS + ROWS, ALL = TOKENS * N * EACH };
    static float x[TOKENS * N * COLS], w[N * ROWS * COLS];
    static double allowed[ALL];
    fill(x, TOKENS * N * COLS, 2.0f, 31);
    fill(w, N * ROWS * COLS, 1.0f, 32);
    struct rig r;
    rig_start(&r, N * COLS, TOKENS, x);
    struct lk_op *op = rig_op(&r, LK_OP_HEADS, 0, -1, N * ROWS);
    op->weight = rig_weight(&r, LK_TYPE_F32, N * ROWS, COLS, w);
    r.plan.weights[op->weight].n_experts = N;
    op = rig_op(&r, LK_OP_JOIN, 1, 0, N * EACH);
    op->u.join.width[0] = ROWS;
    op->u.join.width[1] = COLS;
    for (int i = 0; i < ALL; i++) {
        int head = i / EACH % N, row = i % EACH;
        const float *part = x + i / EACH * COLS, *of = w + (head * ROWS + row) * COLS;
        allowed[i] = row < ROWS ? 0 : U * fabs((double)part[row - ROWS]);
        for (int k = 0; k < COLS && row < ROWS; k++) {
            allowed[i] += 262 * U * fabs((double)of[k] * (double)part[k]);
        }
    }
    check_rig(&r, allowed, "products by head");
}

/* Weights of chosen experts: the exponent carries half a unit of the score's distance, exp and rcp
 * their own, the sum one of each term. */
Test(ref_scalar, routes_and_combines)
{
    enum { E = 129, K = 7, SAID = 50 };
    static const struct {
        enum lk_gate gate;
        bool normalize, biased;
        int groups, used;
        bool factors;
    } ways[] = {{LK_GATE_CHOSEN, false, false, 1, 1, false},
                {LK_GATE_SOFTMAX, false, false, 1, 1, false},
                {LK_GATE_SOFTMAX, true, true, 1, 1, false},
                {LK_GATE_SIGMOID, true, true, 3, 2, false},
                {LK_GATE_SIGMOID, false, false, 1, 1, false},
                {LK_GATE_CHOSEN, false, true, 1, 1, true}};
    float scores[TOKENS * E], bias[E];
    fill(scores, TOKENS * E, 4.0f, 3);
    fill(bias, E, 0.5f, 4);
    for (size_t i = 0; i < LK_COUNT(ways); i++) {
        struct rig r;
        rig_start(&r, E, TOKENS, scores);
        r.plan.n_routed = K;
        struct lk_op *op = rig_op(&r, LK_OP_ROUTE, 0, -1, 2 * K);
        op->u.route.n_used = K;
        op->u.route.n_groups = ways[i].groups;
        op->u.route.n_groups_used = ways[i].used;
        op->u.route.gate = ways[i].gate;
        op->u.route.normalize = ways[i].normalize;
        op->u.route.scale = 1.5f;
        op->u.route.factors = ways[i].factors;
        op->weight = ways[i].biased ? rig_weight(&r, LK_TYPE_F32, 1, E, bias) : -1;
        float *got = rig_run(&r, "scalar", "auto"), *want = rig_run(&r, "ref", "auto");
        for (int t = 0; t < TOKENS; t++) {
            for (int j = 0; j < 2 * K; j++) {
                double x = (double)got[t * 2 * K + j], y = (double)want[t * 2 * K + j];
                double allowed = j < K ? 0 : U * fabs(y) * (16 + 8 + E) + FLUSH;
                cr_assert(fabs(x - y) <= allowed, "way %zu, token %d: %d is %a, ideal %a", i, t, j,
                          x, y);
            }
        }
        free(got);
        free(want);
    }
    /* rows of slot 0 are what the experts say; a row of ROUTE is made from them */
    float x[TOKENS * K * SAID], route[TOKENS * 2 * K], y[SAID];
    fill(x, TOKENS * K * SAID, 2.0f, 5);
    fill(route, TOKENS * 2 * K, 1.0f, 6);
    for (int t = 0; t < TOKENS; t++) {
        const float *w = route + t * 2 * K + K, *rows = x + t * K * SAID;
        cr_assert(lk_scalar_combine(rows, w, K, SAID, y));
        for (int i = 0; i < SAID; i++) {
            double sum = 0, size = 0;
            for (int j = 0; j < K; j++) {
                sum += (double)w[j] * (double)rows[j * SAID + i];
                size += fabs((double)w[j] * (double)rows[j * SAID + i]);
            }
            cr_assert(fabs((double)y[i] - sum) <= K * U * size + FLUSH);
        }
    }
}

/* The clamped GLU: the argument of the sigmoid carries one rounding, which weighs |z|; then the
 * primitive, three products and a sum. */
Test(ref_scalar, clamped_glu)
{
    enum { N = 4096 };
    static float g[N], u[N], y[N];
    fill(g, N, 9.0f, 21);
    fill(u, N, 9.0f, 22);
    g[0] = 7.0f, g[1] = 7.0000005f, g[2] = -1e30f, g[3] = 1e30f, g[4] = 0.0f;
    u[0] = 7.0f, u[1] = -7.0000005f, u[2] = 1e30f, u[3] = -1e30f, u[4] = -7.0f;
    cr_assert(lk_scalar_glu(LK_ACT_CLAMPED, g, u, N, y));
    for (int i = 0; i < N; i++) {
        double a = fmin((double)g[i], 7), b = fmax(fmin((double)u[i], 7), -7);
        double want = a / (1 + exp(-1.702 * a)) * (b + 1);
        double z = fabs(1.702 * a), near = fabs(a / (1 + exp(-1.702 * a))); /* of u near -1 */
        cr_assert(fabs((double)y[i] - want) <= U * fabs(want) * (TOL_SIGMOID + 2 * z + 4) +
                                                   U * near * 8 + FLUSH + near * 0x1p-99,
                  "%d: %a and %a give %a, ideal %a", i, (double)g[i], (double)u[i], (double)y[i],
                  want);
    }
}
