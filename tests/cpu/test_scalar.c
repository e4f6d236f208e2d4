/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar: what the contract promises of cpu/scalar.c as a whole: results that do not depend on the
 * processor's subnormal modes, the written order of sums (cases worked out by hand, whose bits
 * change under any other order), integers at their largest.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/scalar.h"
#include "backend/embed_row.h"
#include "lockstep.h"
#include "base/mem.h"
#include "base/numerics.h"
#include "tests/util/half.h"
#include "tests/util/rng.h"

/* ---- the processor's modes ---- */

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_MODES 1
static unsigned subnormals_off(bool off)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(off ? before | 0x8040u : before & ~0x8040u); /* FTZ, DAZ */
    return before;
}
static void restore(unsigned before)
{
    _mm_setcsr(before);
}
#elif defined(__aarch64__)
#define HAVE_MODES 1
static uint64_t subnormals_off(bool off)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    uint64_t fz = UINT64_C(1) << 24, now = off ? before | fz : before & ~fz;
    __asm__ volatile("msr fpcr, %0" : : "r"(now));
    return before;
}
static void restore(uint64_t before)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
}
#endif

/* ---- adversarial inputs ---- */

enum { WIDTH = 512, ROWS = 24, POS = 150, HEADS = 2, DIM = 64 };

/* Values as an op may meet them: +0 or 2^-50 <= |x| < 2^`top`; many next to 2^-50, many equal. */
static void fill(float *x, size_t n, int top, uint32_t seed)
{
    struct rng s = {seed};
    for (size_t i = 0; i < n; i++) {
        uint32_t r = rng_u32(&s), sign = r << 31, m = rng_u32(&s) & 0x7fffffu;
        switch (r >> 8 & 7) {
        case 0:
            x[i] = 0.0f;
            break;
        case 1:
            x[i] = lk_flt(sign | 0x26800000u | (m & 7)); /* 2^-50 and just above */
            break;
        case 2:
            x[i] = lk_flt(sign | 0x3f800000u); /* ties */
            break;
        case 3:
            x[i] = lk_flt(sign | (uint32_t)(127 + top - 1) << 23 | m);
            break;
        default:
            x[i] = lk_flt(sign | (uint32_t)(77 + (int)(r >> 12) % (50 + top)) << 23 | m);
        }
    }
}

/* Random rows of any type with finite f16 scales, subnormal ones among them. */
static void fill_rows(enum lk_type type, uint8_t *rows, size_t bytes, size_t elems, uint32_t seed)
{
    struct rng s = {seed};
    const struct lk_type_info *info = lk_type_info(type);
    for (size_t i = 0; i < bytes; i++) {
        rows[i] = (uint8_t)(rng_u32(&s) >> 8);
    }
    int64_t bad;
    size_t step = (size_t)info->block_bytes;
    while ((bad = lk_row_find_bad(type, rows, elems)) >= 0) {
        uint8_t *block = rows + (size_t)bad / (size_t)info->block * step;
        for (size_t i = 0; i < step; i++) {
            block[i] = (uint8_t)(rng_u32(&s) >> 8);
        }
    }
    for (size_t i = 0; i < bytes; i += step) {
        if (info->scales == LK_SCALE_E8M0) { /* 2^-64 .. 2^-1: some below 2^-50 */
            rows[i + (size_t)info->scale_at[0]] = (uint8_t)(64 + rng_u32(&s) % 64);
        }
    }
    if (type == LK_TYPE_F32 || type == LK_TYPE_BF16) { /* keep products inside the range */
        for (size_t i = 0; i < elems; i++) {
            uint8_t *hi = rows + (i + 1) * step - 2;
            uint32_t e = 64 + rng_u32(&s) % 64; /* 2^-63 and up: some below 2^-50 */
            hi[1] = (uint8_t)((hi[1] & 0x80) | e >> 1);
            hi[0] = (uint8_t)((hi[0] & 0x7f) | (e & 1) << 7);
        }
    }
}

static void add_floats(lk_sha256 *h, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = lk_bits(y[i]) & 0x7fffffffu;
        cr_assert(lk_bits(y[i]) == 0 || (u >= LK_MIN_BITS && u < LK_MAX_BITS), "stored %a",
                  (double)y[i]);
    }
    lk_sha256_floats(h, y, n);
}

static void hash_matmuls(lk_sha256 *h, float *y)
{
    size_t n_types;
    const struct lk_type_info *types = NULL;
    const struct lk_type_info *all = lk_types(&n_types);
    static float x[3 * WIDTH];
    fill(x, 3 * WIDTH, 4, 11);
    for (size_t i = 0; i < n_types; i++) {
        types = &all[i];
        size_t bytes = ROWS * lk_type_row_bytes(types->type, WIDTH);
        struct lk_weight w = {.type = types->type, .rows = ROWS, .cols = WIDTH, .n_bytes = bytes};
        uint8_t *rows = malloc(bytes);
        fill_rows(types->type, rows, bytes, ROWS * WIDTH, (uint32_t)i);
        w.data = rows;
        void *scratch = lk_alloc(lk_scalar_matmul_scratch(&w, 3));
        cr_assert(scratch && lk_scalar_matmul(&w, x, 3, y, scratch), "%s", types->name);
        add_floats(h, y, 3 * ROWS);
        cr_assert(lk_embed_row(&w, 5, 0x1.8p3f, y));
        add_floats(h, y, WIDTH);
        lk_free(scratch);
        free(rows);
    }
}

static void hash_attention(lk_sha256 *h, float *y)
{
    enum { BLOCKS = POS / LK_KV_BLOCK + 1 };
    static uint32_t k[LK_KV_HEAD_AT(BLOCKS, 0, HEADS, DIM, LK_KV_K_BITS)], v[LK_COUNT(k)];
    static const int32_t blocks[BLOCKS] = {2, 0, 1};
    static const struct lk_kv_shape shape = {.n_head = HEADS,
                                             .head_dim = DIM - 4,
                                             .v_dim = DIM - 4,
                                             .dim = DIM,
                                             .v_dim_padded = DIM,
                                             .k_bits = LK_KV_K_BITS};
    static float kr[HEADS * DIM], vr[HEADS * DIM], q[DIM];
    for (int pos = 0; pos < POS; pos++) {
        fill(kr, HEADS * DIM, 3, (uint32_t)pos);
        fill(vr, HEADS * DIM, pos % 7 ? 2 : 30, (uint32_t)pos + 1000);
        lk_scalar_kv_store(&shape, kr, vr, blocks[pos / LK_KV_BLOCK], pos % LK_KV_BLOCK, k, v);
    }
    for (int i = 0; i < 64; i++) {
        struct lk_attn_params p = {.shape = shape};
        p.window = i % 4 == 1 ? 70 : 0;
        p.score_in = i % 3 ? 0.2f : 0x1p-60f; /* tiny scores too */
        p.score_cap = i % 4 == 3 ? 30.0f : 0.0f;
        fill(q, DIM, i % 5 == 4 ? 10 : 2, (uint32_t)i + 77);
        cr_assert(lk_scalar_attention(&p, q, k, v, blocks, POS - 1 - i, i % HEADS, y));
        add_floats(h, y, DIM - 4);
    }
}

static void hash_recurrent(lk_sha256 *h, float *y)
{
    enum { K = 48, V = 33, TAPS = 4 };
    static float s[K * V], of_ssm[K * V], x[2 * K + V], w[TAPS * WIDTH], in[TAPS * WIDTH];
    memset(s, 0, sizeof s);
    memset(of_ssm, 0, sizeof of_ssm);
    for (uint32_t i = 0; i < 40; i++) {
        fill(x, LK_COUNT(x), i % 3 ? 1 : -30, i);
        struct lk_delta_token t = {.k_dim = K, .stride = V, .q = x, .k = x + K, .scale = 0.1f};
        t.keep = i % 5 ? 0.9f : 0x1p-45f;
        t.take = i % 7 ? 0.5f : 0x1p-40f;
        cr_assert(lk_scalar_delta(&t, x + 2 * K, V, s, y));
        add_floats(h, y, V);
        add_floats(h, s, K * V);
        fill(in, LK_COUNT(in), 4, i + 50);
        fill(w, LK_COUNT(w), -20, i + 90);
        w[3] = lk_flt(0x00000123u);
        const float *rows[TAPS] = {in, in + WIDTH, in + 2 * WIDTH, in + 3 * WIDTH};
        const float *bias = i % 3 ? w : NULL;
        cr_assert(lk_scalar_conv(rows, w, WIDTH, TAPS, bias, WIDTH, i % 2, y));
        add_floats(h, y, WIDTH);
        cr_assert(lk_scalar_l2_norm(in, WIDTH, 80, 5, 1e-6f, y));
        add_floats(h, y, WIDTH);
        for (int k = 0; k < WIDTH; k++) {
            w[k] = -lk_flt(lk_bits(w[k]) & 0x7fffffffu);
        }
        cr_assert(lk_scalar_delta_gates(in, i % 2 ? in + WIDTH : NULL, w, WIDTH, y));
        add_floats(h, y, 2 * WIDTH);
        struct lk_ssm_token token = {.rows = K, .stride = V, .b = x, .c = x + K, .keep = t.keep};
        token.take = t.take;
        token.skip = i % 3 ? 0.7f : lk_flt(0x00000123u);
        cr_assert(lk_scalar_ssm(&token, x + 2 * K, V, of_ssm, y));
        add_floats(h, y, V);
        add_floats(h, of_ssm, K * V);
    }
}

static void hash_all(uint8_t out[32])
{
    static float a[WIDTH * 8], b[WIDTH * 8], y[WIDTH * 8];
    lk_sha256 h;
    lk_sha256_init(&h);
    hash_matmuls(&h, y);
    hash_attention(&h, y);
    hash_recurrent(&h, y);
    for (uint32_t seed = 0; seed < 16; seed++) {
        size_t n = WIDTH * 8;
        fill(a, n, 19, seed);
        fill(b, n, 19, seed + 100);
        cr_assert(lk_scalar_norm(a, b, WIDTH, WIDTH, 0x1p-60f, y));
        add_floats(&h, y, WIDTH);
        cr_assert(lk_scalar_norm(a, b, WIDTH, 32, 1e-5f, y));
        add_floats(&h, y, WIDTH);
        cr_assert(lk_scalar_layer_norm(a, b, WIDTH, WIDTH, 0x1p-60f, y));
        add_floats(&h, y, WIDTH);
        cr_assert(lk_scalar_scale(a, (int)n, 0x1.8p-20f, y));
        add_floats(&h, y, n);
        b[3] = lk_flt(0x00000123u); /* a subnormal bias is read as +0 */
        cr_assert(lk_scalar_bias(a, b, (int)n, y));
        add_floats(&h, y, n);
        b[3] = 0.0f;
        cr_assert(lk_scalar_add(a, b, (int)n, y));
        add_floats(&h, y, n);
        cr_assert(lk_scalar_glu(LK_ACT_SILU, a, b, (int)n, y));
        add_floats(&h, y, n);
        cr_assert(lk_scalar_glu(LK_ACT_GELU, a, b, (int)n, y));
        add_floats(&h, y, n);
        cr_assert(lk_scalar_gelu(a, (int)n, y));
        add_floats(&h, y, n);
        cr_assert(lk_scalar_glu(LK_ACT_RELU, a, b, (int)n, y));
        add_floats(&h, y, n);
        cr_assert(lk_scalar_softcap(a, (int)n, 1.0f / 30, 30.0f, y));
        add_floats(&h, y, n);
        for (int i = 0; i < 64; i++) {
            b[i] = i % 5 ? lk_flush(b[i] * 0x1p-20f) : 0.0f;
        }
        cr_assert(lk_scalar_rope(a, 4, 128, 64, seed % 2, b, y));
        add_floats(&h, y, WIDTH);
    }
    /* Primitives on scores and arguments that no flush has met. */
    struct rng s = {5};
    for (int i = 0; i < 1 << 16; i++) {
        float x = lk_flt((rng_u32(&s) & 0x807fffffu) | (30 + rng_u32(&s) % 130) << 23);
        float f[] = {lk_tanh(x),    lk_silu(x),     lk_gelu(x),
                     lk_sigmoid(x), lk_softplus(x), lk_gelu_erf(x)};
        for (size_t j = 0; j < LK_COUNT(f); j++) {
            f[j] = lk_flush(f[j]);
        }
        lk_sha256_floats(&h, f, LK_COUNT(f));
    }
    lk_sha256_final(&h, out);
}

Test(scalar, same_bits_with_subnormals_flushed_and_kept)
{
#ifdef HAVE_MODES
    volatile float tiny = 0x1p-126f, half = 0.5f;
    uint8_t kept[32], flushed[32];
    subnormals_off(false);
    cr_assert(tiny * half != 0.0f, "subnormals are kept");
    hash_all(kept);
    __typeof__(subnormals_off(true)) before = subnormals_off(true);
    float gone = tiny * half;
    hash_all(flushed);
    restore(before);
    cr_assert_eq(lk_bits(gone), 0, "the mode took hold");
    cr_assert_eq(memcmp(kept, flushed, sizeof kept), 0, "results depend on FTZ and DAZ");
#else
    printf("not run: FTZ and DAZ on this processor\n");
#endif
}

/* ---- order (rule 3), by hand: 1 + 2^-24 is a tie that goes to 1 ---- */

static float row_of_ones_times(const float *x, int64_t k)
{
    static float w[1024];
    for (int64_t i = 0; i < k; i++) {
        w[i] = 1.0f;
    }
    return lk_scalar_dot_f(LK_TYPE_F32, w, k, x);
}

Test(scalar, a_row_is_summed_in_its_written_order)
{
    float x[1024] = {0};
    x[0] = 1.0f;
    x[1] = x[2] = 0x1p-24f;
    cr_expect_eq(lk_bits(row_of_ones_times(x, 3)), 0x3f800000u, "left to right: both ties lost");
    x[0] = x[1] = 0x1p-24f;
    x[2] = 1.0f;
    cr_expect_eq(lk_bits(row_of_ones_times(x, 3)), 0x3f800001u, "left to right: the two add first");
    /* Two small ones in the second panel join before they meet the first. */
    memset(x, 0, sizeof x);
    x[0] = 1.0f;
    x[256] = x[511] = 0x1p-24f;
    cr_expect_eq(lk_bits(row_of_ones_times(x, 512)), 0x3f800001u, "a panel is its own chain");
    /* One in each of two panels: the outer chain loses both. */
    x[511] = 0.0f;
    x[512] = 0x1p-24f;
    cr_expect_eq(lk_bits(row_of_ones_times(x, 1024)), 0x3f800000u, "panels fold left to right");
    /* 255 and 256 are on different sides of a panel's edge. */
    memset(x, 0, sizeof x);
    x[0] = 1.0f;
    x[255] = x[256] = 0x1p-24f;
    cr_expect_eq(lk_bits(row_of_ones_times(x, 512)), 0x3f800000u, "the edge lies before 256");
}

/* The same with blocks: Q8_0 rows of one weight a block, activations that quantize exactly. */
Test(scalar, blocks_are_summed_in_their_written_order)
{
    static const struct {
        int small[2];
        uint32_t want;
    } cases[] = {{{1, 2}, 0}, {{8, 9}, 1}, {{8, 16}, 0}, {{7, 8}, 0}, {{14, 15}, 1}};
    for (size_t c = 0; c < LK_COUNT(cases); c++) {
        struct lk_q8_0 row[17];
        int8_t q[17 * 32] = {0};
        float d[17];
        int32_t sum[34] = {0};
        memset(row, 0, sizeof row);
        for (int b = 0; b < 17; b++) {
            row[b].d = 0x3c00; /* 1 */
            row[b].qs[b] = 1;
            q[b * 32 + b] = 1;
            bool is_small = b == cases[c].small[0] || b == cases[c].small[1];
            d[b] = b == 0 ? 1.0f : is_small ? 0x1p-24f : 0.0f;
        }
        struct lk_qrow x = {q, d, sum};
        cr_expect_eq(lk_bits(lk_scalar_dot_q(LK_TYPE_Q8_0, row, 17 * 32, &x)),
                     0x3f800000u + cases[c].want, "case %zu", c);
    }
}

/* ---- integers at their largest ---- */

Test(scalar, extreme_blocks_do_not_saturate)
{
    static const uint8_t bytes[] = {0x00, 0xff, 0x80, 0x7f, 0xf0, 0x0f};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t i = 0; i < n_types; i++) {
        enum lk_type type = types[i].type;
        if (!types[i].quantized) {
            continue;
        }
        for (size_t j = 0; j < 2 * LK_COUNT(bytes); j++) {
            enum { K = 512 };
            uint8_t row[K * 4];
            double wide[K], want = 0, size = 0;
            float x[K];
            memset(row, bytes[j / 2], sizeof row);
            int n_blocks = K / types[i].block;
            for (int b = 0; b < n_blocks; b++) { /* every scale: 1 or -0.5 */
                uint8_t *p = row + b * types[i].block_bytes;
                static const uint16_t values[2] = {0x3c00, 0xb800};
                for (int f = 0; f < types[i].n_scales; f++) {
                    if (types[i].scales == LK_SCALE_E8M0) {
                        p[types[i].scale_at[f]] = 128;
                    } else if (types[i].scales == LK_SCALE_UE4M3) { /* 1 or 448 */
                        p[types[i].scale_at[f]] = f % 2 ? 126 : 56;
                    } else {
                        put_f16_scale(&types[i], p, f, values[f]);
                    }
                }
            }
            lk_dequantize_f64(type, row, K, wide);
            for (int k = 0; k < K; k++) { /* +-127 exactly; every sign as the weight's, or plus */
                x[k] = j % 2 && wide[k] < 0 ? -127.0f : 127.0f;
                want += wide[k] * (double)x[k];
                size += fabs(wide[k] * (double)x[k]);
            }
            int8_t q[K];
            float d[K / 32];
            int32_t sum[K / 16];
            struct lk_qrow xq = {q, d, sum};
            lk_scalar_quantize(x, K, lk_acts_block(types[i].acts), &xq);
            for (int k = 0; k < K; k++) {
                cr_assert_eq(q[k], (int)x[k]);
            }
            double got = (double)lk_scalar_dot_q(type, row, K, &xq);
            /* scale, integer, product, panel and mins each round once */
            cr_expect_leq(fabs(got - want),
                          (size + fabs(want)) * 0x1p-24 * (5 + K / lk_acts_block(types[i].acts)),
                          "%s of bytes %02x: %.9g, expected %.9g", types[i].name, bytes[j / 2], got,
                          want);
        }
    }
}

/* The whole op keeps the order of its row: matmul equals dot, by bits, past several panels. */
Test(scalar, matmul_is_dot_of_each_row)
{
    enum { N = 40, K = 1024 };
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    static float x[K], rounded[K], y[N];
    static int8_t q[K];
    static int32_t sum[K / 16];
    float d[K / 32];
    struct lk_qrow xq = {q, d, sum};
    fill(x, K, 2, 3);
    for (size_t i = 0; i < n_types; i++) {
        enum lk_type type = types[i].type;
        size_t row_bytes = lk_type_row_bytes(type, K);
        uint8_t *rows = malloc(N * row_bytes);
        fill_rows(type, rows, N * row_bytes, N * K, (uint32_t)i + 7);
        struct lk_weight w = {.type = type, .rows = N, .cols = K, .data = rows};
        void *scratch = lk_alloc(lk_scalar_matmul_scratch(&w, 1));
        cr_assert(scratch && lk_scalar_matmul(&w, x, 1, y, scratch));
        if (types[i].quantized) {
            lk_scalar_quantize(x, K, lk_acts_block(types[i].acts), &xq);
        } else {
            lk_scalar_round_row(types[i].acts, x, K, rounded);
        }
        for (size_t r = 0; r < N; r++) {
            const uint8_t *row = rows + r * row_bytes;
            float dot = types[i].quantized ? lk_scalar_dot_q(type, row, K, &xq)
                                           : lk_scalar_dot_f(type, row, K, rounded);
            cr_assert_eq(lk_bits(y[r]), lk_bits(lk_flush(dot)), "%s, row %zu", types[i].name, r);
        }
        lk_free(scratch);
        free(rows);
    }
}
