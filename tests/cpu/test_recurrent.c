/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent: the contract of layers with a state (rule 12): its written orders, written down a
 * second time; its distance from the reference in double; range errors.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/numerics.h"
#include "cpu/scalar.h"
#include "ref/ref_ops.h"
#include "tests/util/rng.h"
#include "tests/util/tolerances.h"

#define U     0x1p-24
#define FLUSH 0x1p-50

enum { K_DIM = 40, V_DIM = 5, N_K = 2, N_HEAD = 4, TOKENS = 60 };

/* Each float of x[n] in (-2^high, 2^high), some 0. */
static void fill(struct rng *r, float *x, size_t n, int high)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = rng_below(r, 16) ? lk_flush(rng_float(r, high - 12, high)) : 0.0f;
    }
}

/* ---- written orders ---- */

/* (t0 + t4) + (t2 + t6), and the odd ones, of chains over every eighth product. */
static float chains(const float *a, size_t step, const float *b, int n)
{
    float t[8] = {0};
    for (int c = 0; c < 8; c++) {
        for (int i = c; i < n; i += 8) {
            float p = a[(size_t)i * step] * b[i];
            t[c] = t[c] + p;
        }
    }
    float even = (t[0] + t[4]) + (t[2] + t[6]), odd = (t[1] + t[5]) + (t[3] + t[7]);
    return even + odd;
}

Test(recurrent, the_delta_rule_is_summed_in_its_written_order)
{
    struct rng r = {11};
    float s[K_DIM * V_DIM] = {0}, want[K_DIM * V_DIM] = {0}, q[K_DIM], k[K_DIM], v[V_DIM], o[V_DIM];
    struct lk_delta_token t = {
        .k_dim = K_DIM, .stride = V_DIM, .q = q, .k = k, .scale = 0.15811388f};
    for (int token = 0; token < TOKENS; token++) {
        fill(&r, q, K_DIM, 0);
        fill(&r, k, K_DIM, 0);
        fill(&r, v, V_DIM, 3);
        t.keep = lk_flt(0x3F000000u + rng_u32(&r) % 0x800000u);
        t.take = lk_flt(0x3F000000u + rng_u32(&r) % 0x800000u);
        cr_assert(lk_scalar_delta(&t, v, V_DIM, s, o));
        for (int j = 0; j < V_DIM; j++) {
            float had = chains(want + j, V_DIM, k, K_DIM);
            had = had * t.keep;
            float delta = v[j] - had;
            delta = lk_flush(delta * t.take);
            for (int i = 0; i < K_DIM; i++) {
                float kept = want[i * V_DIM + j] * t.keep, more = k[i] * delta;
                want[i * V_DIM + j] = lk_flush(kept + more);
            }
            float out = chains(want + j, V_DIM, q, K_DIM);
            cr_assert_eq(lk_bits(o[j]), lk_bits(lk_flush(out * t.scale)), "token %d", token);
        }
        cr_assert_eq(memcmp(s, want, sizeof s), 0, "the state after token %d", token);
    }
}

Test(recurrent, the_selective_state_update_is_summed_in_its_written_order)
{
    struct rng r = {12};
    float s[K_DIM * V_DIM] = {0}, want[K_DIM * V_DIM] = {0}, b[K_DIM], c[K_DIM], x[V_DIM], y[V_DIM];
    struct lk_ssm_token t = {.rows = K_DIM, .stride = V_DIM, .b = b, .c = c, .skip = -0.7f};
    for (int token = 0; token < TOKENS; token++) {
        fill(&r, b, K_DIM, 1);
        fill(&r, c, K_DIM, 1);
        fill(&r, x, V_DIM, 3);
        t.keep = lk_flt(0x3F000000u + rng_u32(&r) % 0x800000u);
        t.take = lk_flt(0x3D000000u + rng_u32(&r) % 0x3000000u);
        cr_assert(lk_scalar_ssm(&t, x, V_DIM, s, y));
        for (int j = 0; j < V_DIM; j++) {
            float u = lk_flush(x[j] * t.take), skip = x[j] * t.skip;
            for (int i = 0; i < K_DIM; i++) {
                float kept = want[i * V_DIM + j] * t.keep, more = b[i] * u;
                want[i * V_DIM + j] = lk_flush(kept + more);
            }
            float out = chains(want + j, V_DIM, c, K_DIM);
            cr_assert_eq(lk_bits(y[j]), lk_bits(lk_flush(out + skip)), "token %d", token);
        }
        cr_assert_eq(memcmp(s, want, sizeof s), 0, "the state after token %d", token);
    }
}

Test(recurrent, taps_are_summed_from_the_oldest_on)
{
    float rows[4][1] = {{0x1p24f}, {1.0f}, {-0x1p24f}, {0.0f}}, w[4] = {1.0f, 1.0f, 1.0f, 1.0f}, y;
    const float *x[4] = {rows[0], rows[1], rows[2], rows[3]};
    cr_assert(lk_scalar_conv(x, w, 1, 4, NULL, 1, false, &y));
    cr_assert_eq(y, 0.0f, "2^24 + 1 is 2^24: %g", (double)y);
    const float *other[4] = {rows[1], rows[0], rows[2], rows[3]};
    cr_assert(lk_scalar_conv(other, w, 1, 4, NULL, 1, false, &y) && y == 0.0f);
    const float *apart[4] = {rows[0], rows[2], rows[1], rows[3]};
    cr_assert(lk_scalar_conv(apart, w, 1, 4, NULL, 1, false, &y) && y == 1.0f);
    const float bias = 0x1p-30f;
    cr_assert(lk_scalar_conv(apart, w, 1, 4, &bias, 1, false, &y) && y == 1.0f);
    cr_assert(lk_scalar_conv(x, w, 1, 4, &bias, 1, false, &y) && y == bias, "it comes last");
}

/* Whatever is cut where: rows of a sequence handed in at once, or in pieces of every length. */
Test(recurrent, a_convolution_remembers_its_last_rows)
{
    enum { N = 12, WIDTH = 3, TAPS = 4 };
    struct rng r = {3};
    float in[N * WIDTH], w[TAPS * WIDTH], whole[N * WIDTH];
    fill(&r, in, N * WIDTH, 2);
    fill(&r, w, TAPS * WIDTH, 0);
    for (int piece = N; piece >= 1; piece--) {
        float state[(TAPS - 1) * WIDTH] = {0}, y[N * WIDTH];
        for (int at = 0; at < N; at += piece) {
            int n = at + piece < N ? piece : N - at;
            const float *from = in + at * WIDTH;
            for (int i = 0; i < n; i++) {
                const float *x[TAPS];
                for (int k = 0; k < TAPS; k++) {
                    x[k] = lk_conv_row(state, from, WIDTH, TAPS, i, k);
                }
                cr_assert(
                    lk_scalar_conv(x, w, WIDTH, TAPS, NULL, WIDTH, true, y + (at + i) * WIDTH));
            }
            lk_conv_keep(state, from, WIDTH, TAPS, n, 0, WIDTH);
        }
        cr_assert_eq(memcmp(state, in + (N - TAPS + 1) * WIDTH, sizeof state), 0);
        if (piece == N) {
            memcpy(whole, y, sizeof whole);
        }
        cr_assert_eq(memcmp(y, whole, sizeof y), 0, "pieces of %d", piece);
    }
    float zeros[TAPS * WIDTH] = {0}, y[WIDTH];
    const float *x[TAPS] = {zeros, zeros, zeros, in}; /* before the first row there are zeros */
    cr_assert(lk_scalar_conv(x, w, WIDTH, TAPS, NULL, WIDTH, true, y));
    cr_assert_eq(memcmp(y, whole, sizeof y), 0, "the first row");
}

/* ---- ideal mathematics ---- */

static double excess(double got, double want, double allowed)
{
    return fabs(got - want) / (allowed + FLUSH);
}

Test(recurrent, lengths_and_gates_are_near_the_reference)
{
    enum { GROUP = 300, WIDTH = 2 * GROUP + 7 };
    static float x[WIDTH], y[WIDTH];
    static double xd[WIDTH], want[WIDTH];
    struct lk_op op = {.u.l2_norm = {.group = GROUP, .n_groups = 2, .eps = 1e-6f}};
    struct rng r = {5};
    double worst = 0;
    fill(&r, x, WIDTH, 4);
    for (int i = 0; i < WIDTH; i++) {
        xd[i] = (double)x[i];
    }
    cr_assert(lk_scalar_l2_norm(x, WIDTH, GROUP, 2, 1e-6f, y));
    lk_ref_l2_norm(&op, xd, WIDTH, want);
    for (int i = 0; i < WIDTH; i++) {
        worst = fmax(worst, excess((double)y[i], want[i], (GROUP / 256 + 12) * U * fabs(want[i])));
        cr_assert(i < 2 * GROUP || y[i] == x[i], "what is behind the groups");
    }
    cr_assert_leq(worst, 1, "lengths: %.3f of the bound", worst);
    worst = 0;
    for (int i = 0; i < 20000; i++) {
        float a = rng_float(&r, -20, 7), b = rng_float(&r, -20, 7),
              w = -fabsf(rng_float(&r, -20, 5));
        float got[2];
        double ad = (double)a, bd = (double)b, ideal[2];
        cr_assert(lk_scalar_delta_gates(&a, &b, &w, 1, got));
        lk_ref_delta_gates(&ad, &bd, &w, 1, ideal);
        double g = fabs(log(ideal[0]));
        worst = fmax(worst, excess((double)got[0], ideal[0], (10 * g + 2) * U * ideal[0]));
        worst = fmax(worst, excess((double)got[1], ideal[1], TOL_SIGMOID * U * ideal[1]));
        cr_assert(got[0] >= 0.0f && got[0] <= 1.0f);
        cr_assert(lk_scalar_delta_gates(&a, NULL, &w, 1, got));
        lk_ref_delta_gates(&ad, NULL, &w, 1, ideal);
        worst = fmax(worst, excess((double)got[0], ideal[0], (10 * g + 2) * U * ideal[0]));
        worst = fmax(worst, excess((double)got[1], ideal[1], TOL_SOFTPLUS * U * ideal[1]));
    }
    cr_assert_leq(worst, 1, "gates: %.3f of the bound", worst);
}

/* Heads of v take those of k in turns. An error of the state decays with it: that of a token is at
 * most that of the sums, and all tokens' together that over 1 - keep. */
Test(recurrent, the_delta_rule_is_near_the_reference)
{
    enum { WIDTH = 2 * N_K * K_DIM + N_HEAD * V_DIM };
    static float x[WIDTH], s[N_HEAD * K_DIM * V_DIM], o[N_HEAD * V_DIM];
    static double xd[WIDTH], sd[N_HEAD * K_DIM * V_DIM], od[N_HEAD * V_DIM];
    struct lk_op op = {.u.delta = {.n_head = N_HEAD,
                                   .n_k_head = N_K,
                                   .k_dim = K_DIM,
                                   .v_dim = V_DIM,
                                   .scale = (float)(1 / sqrt((double)K_DIM))}};
    struct rng r = {7};
    double error = 0, size = 0;
    for (int token = 0; token < 400; token++) {
        float gates[2 * N_HEAD], y[WIDTH];
        double gd[2 * N_HEAD];
        fill(&r, x, WIDTH, 2);
        cr_assert(lk_scalar_l2_norm(x, WIDTH, K_DIM, 2 * N_K, 1e-6f, y));
        for (int h = 0; h < N_HEAD; h++) {
            gd[h] = (double)(gates[h] = 0.5f + 0.49f * lk_sigmoid(rng_float(&r, -3, 2)));
            gd[N_HEAD + h] = (double)(gates[N_HEAD + h] = lk_sigmoid(rng_float(&r, -3, 2)));
        }
        for (int i = 0; i < WIDTH; i++) {
            xd[i] = (double)y[i];
        }
        for (int h = 0; h < N_HEAD; h++) {
            struct lk_delta_token t = {.k_dim = K_DIM,
                                       .stride = V_DIM,
                                       .q = y + h % N_K * K_DIM,
                                       .k = y + (N_K + h % N_K) * K_DIM,
                                       .keep = gates[h],
                                       .take = gates[N_HEAD + h],
                                       .scale = op.u.delta.scale};
            cr_assert(lk_scalar_delta(&t, y + 2 * N_K * K_DIM + h * V_DIM, V_DIM,
                                      s + h * K_DIM * V_DIM, o + h * V_DIM));
        }
        lk_ref_delta(&op, xd, gd, sd, od);
        for (int i = 0; i < N_HEAD * V_DIM; i++) {
            error = fmax(error, fabs((double)o[i] - od[i]));
            size = fmax(size, fabs(od[i]));
        }
    }
    cr_log_info("error %.3g of %.3g", error, size);
    cr_assert_gt(size, 0.05);
    cr_assert_leq(error, (K_DIM / 8 + 5) * U * size * sqrt(K_DIM) / (1 - 0.99 * 0.75),
                  "error %g of %g", error, size);
}

/* Heads share the rows of their group, side by side. */
Test(recurrent, the_selective_state_update_is_near_the_reference)
{
    enum { WIDTH = N_HEAD * V_DIM + 2 * N_K * K_DIM };
    static float x[WIDTH], s[N_HEAD * K_DIM * V_DIM], y[N_HEAD * V_DIM];
    static double xd[WIDTH], sd[N_HEAD * K_DIM * V_DIM], yd[N_HEAD * V_DIM];
    static const float SKIP[N_HEAD] = {1.0f, -0.5f, 0.0f, 2.0f};
    struct lk_op op = {.u.ssm = {.n_head = N_HEAD, .n_group = N_K, .rows = K_DIM, .dim = V_DIM}};
    struct rng r = {8};
    double error = 0, size = 0;
    for (int token = 0; token < 400; token++) {
        float gates[2 * N_HEAD];
        double gd[2 * N_HEAD];
        fill(&r, x, WIDTH, 0);
        for (int i = 0; i < WIDTH; i++) {
            xd[i] = (double)x[i];
        }
        for (int h = 0; h < N_HEAD; h++) {
            gd[h] = (double)(gates[h] = 0.5f + 0.49f * lk_sigmoid(rng_float(&r, -3, 2)));
            gd[N_HEAD + h] = (double)(gates[N_HEAD + h] = lk_sigmoid(rng_float(&r, -3, 2)));
            const float *b = x + N_HEAD * V_DIM + h / (N_HEAD / N_K) * K_DIM;
            struct lk_ssm_token t = {.rows = K_DIM,
                                     .stride = V_DIM,
                                     .b = b,
                                     .c = b + N_K * K_DIM,
                                     .keep = gates[h],
                                     .take = gates[N_HEAD + h],
                                     .skip = SKIP[h]};
            cr_assert(
                lk_scalar_ssm(&t, x + h * V_DIM, V_DIM, s + h * K_DIM * V_DIM, y + h * V_DIM));
        }
        lk_ref_ssm(&op, SKIP, xd, gd, sd, yd);
        for (int i = 0; i < N_HEAD * V_DIM; i++) {
            error = fmax(error, fabs((double)y[i] - yd[i]));
            size = fmax(size, fabs(yd[i]));
        }
    }
    cr_log_info("error %.3g of %.3g", error, size);
    cr_assert_gt(size, 0.05);
    cr_assert_leq(error, (K_DIM / 8 + 5) * U * size * sqrt(K_DIM) / (1 - 0.99 * 0.75),
                  "error %g of %g", error, size);
}

/* ---- range ---- */

Test(recurrent, what_leaves_the_range_is_told)
{
    float s[8] = {0x1p39f}, q[8] = {0}, k[8] = {1.0f}, v[1] = {0x1p39f}, o[1], y[8];
    struct lk_delta_token t = {
        .k_dim = 8, .stride = 1, .q = q, .k = k, .keep = 1.0f, .take = 1.0f, .scale = 1.0f};
    cr_assert(lk_scalar_delta(&t, v, 1, s, o), "what is there already comes to what is asked for");
    s[0] = -0x1p39f;
    cr_assert_not(lk_scalar_delta(&t, v, 1, s, o), "a delta of 2^40");
    s[0] = 0x1p39f;
    s[1] = 0x1p39f;
    q[0] = q[1] = 1.0f;
    v[0] = 0.0f;
    k[0] = 0.0f;
    cr_assert_not(lk_scalar_delta(&t, v, 1, s, o), "a result of 2^40");
    float cells[8] = {0}, in[1] = {0x1p30f};
    struct lk_ssm_token u = {
        .rows = 8, .stride = 1, .b = k, .c = q, .keep = 1.0f, .take = 0x1p9f, .skip = 1.0f};
    k[0] = q[0] = 1.0f;
    cr_assert(lk_scalar_ssm(&u, in, 1, cells, o), "below 2^40");
    cr_assert_not(lk_scalar_ssm(&u, in, 1, cells, o), "a cell of 2^40");
    memset(cells, 0, sizeof cells);
    u.take = 0x1p10f;
    k[0] = 0.0f;
    cr_assert_not(lk_scalar_ssm(&u, in, 1, cells, o), "an input of 2^40");
    const float *x[2] = {s, s};
    cr_assert_not(lk_scalar_conv(x, (const float[]){1.0f, 1.0f}, 1, 2, NULL, 1, false, y));
    cr_assert(lk_scalar_l2_norm((const float[]){0.0f, -0.0f, 3.0f}, 3, 2, 1, 1e-6f, y));
    cr_assert(lk_bits(y[0]) == 0 && lk_bits(y[1]) == 0 && y[2] == 3.0f, "a head of zeros");
}
