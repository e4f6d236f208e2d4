/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_types: the entries of the registry about types whose elements are points of a grid, signs
 * or digits, or whose scales are of sixteen elements. See REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/regress/regress.h"

enum { MOST = 256 };

/* Elements [from, from + n) of a block have these values. */
static void expect(const char *what, enum lk_type type, const void *block, int from,
                   const float *want, int n)
{
    float got[MOST];
    lk_dequantize_f32(type, block, (size_t)lk_type_info(type)->block, got);
    for (int i = 0; i < n; i++) {
        cr_assert_eq(got[from + i], want[i], "%s: element %d is %g, expected %g", what, from + i,
                     (double)got[from + i], (double)want[i]);
    }
}

static const uint16_t HALF_OF_EIGHT = 0x4800;

/* Point 0 of each grid of IQ2 and IQ3 is all smallest values; a 7-bit code of signs has an even
 * number of minus signs with its eighth. */
static void signs_by_hand(void)
{
    const float two[8] = {-8, 8, -8, 8, 8, 8, 8, 8}, three[8] = {-8, 8, -8, 8, -8, 8, 8, -8};
    struct lk_iq2_xxs xxs = {.d = HALF_OF_EIGHT, .qs = {0, 0, 5 | 21 << 7, 0}};
    expect("IQ2_XXS, an even code", LK_TYPE_IQ2_XXS, &xxs, 0, two, 8);
    expect("IQ2_XXS, an odd code", LK_TYPE_IQ2_XXS, &xxs, 8, three, 8);
    struct lk_iq2_xs xs = {.d = HALF_OF_EIGHT, .qs = {5 << 9, 21 << 9}};
    expect("IQ2_XS, an even code", LK_TYPE_IQ2_XS, &xs, 0, two, 8);
    expect("IQ2_XS, an odd code", LK_TYPE_IQ2_XS, &xs, 8, three, 8);
    struct lk_iq2_s s = {.d = HALF_OF_EIGHT, .signs = {5, 0x95}};
    expect("IQ2_S", LK_TYPE_IQ2_S, &s, 0, two, 8);
    expect("IQ2_S", LK_TYPE_IQ2_S, &s, 8, three, 8);
    struct lk_iq3_xxs x3 = {.d = HALF_OF_EIGHT, .signs = {5 | 0x80, 10}};
    expect("IQ3_XXS, an even code", LK_TYPE_IQ3_XXS, &x3, 0, two, 8);
    expect("IQ3_XXS, an odd code", LK_TYPE_IQ3_XXS, &x3, 8, three, 8);
}

/* Point 0 of IQ1's grid is all -1; an eighth is added or taken off, of 32 or of 8 elements. */
static void deltas_by_hand(void)
{
    const float plus[1] = {-7}, minus[1] = {-9};
    struct lk_iq1_s s = {.d = HALF_OF_EIGHT, .qh = {0, 0x8000}};
    expect("IQ1_S, + 1/8", LK_TYPE_IQ1_S, &s, 31, plus, 1);
    expect("IQ1_S, - 1/8", LK_TYPE_IQ1_S, &s, 32, minus, 1);
    struct lk_iq1_m m = {.qh = {0x80}, .scales = {0, 0, 0, 0, 0, 0x80, 0, 0x40}};
    expect("IQ1_M, + 1/8", LK_TYPE_IQ1_M, &m, 7, plus, 1);
    expect("IQ1_M, - 1/8", LK_TYPE_IQ1_M, &m, 8, minus, 1);
}

/* 106 is 100 / 243 of 256, rounded up, and 100 is 10201 to the base 3. */
static void digits_by_hand(void)
{
    const float trits[5] = {0, -8, 8, -8, 0}, two[4] = {-8, 0, 8, 16}, bits[2] = {8, -8};
    struct lk_tq1_0 t1 = {.d = HALF_OF_EIGHT, .qs = {106}, .qh = {106}};
    struct lk_tq2_0 t2 = {.d = HALF_OF_EIGHT, .qs = {0xe4}};
    struct lk_q2_0 q2 = {.d = HALF_OF_EIGHT, .qs = {0xe4}};
    struct lk_q1_0 q1 = {.d = HALF_OF_EIGHT, .qs = {0x01}};
    for (int i = 0; i < 5; i++) {
        expect("TQ1_0", LK_TYPE_TQ1_0, &t1, 32 * i, trits + i, 1);
    }
    for (int i = 0; i < 4; i++) {
        expect("TQ1_0, four to a byte", LK_TYPE_TQ1_0, &t1, 240 + 4 * i, trits + i, 1);
        expect("TQ2_0", LK_TYPE_TQ2_0, &t2, 32 * i, two + i, 1);
    }
    expect("Q2_0", LK_TYPE_Q2_0, &q2, 0, two, 4);
    expect("Q1_0", LK_TYPE_Q1_0, &q1, 0, bits, 2);
}

Test(regress, small_types_by_hand)
{
    signs_by_hand();
    deltas_by_hand();
    digits_by_hand();
}

/* A model of each on every way; of a device those whose shaders differ most. */
Test(regress, small_types_everywhere)
{
    static const enum lk_type CPU[] = {LK_TYPE_IQ3_S, LK_TYPE_IQ2_XXS, LK_TYPE_Q2_0},
                              DEVICE[] = {LK_TYPE_IQ2_S, LK_TYPE_IQ1_M, LK_TYPE_Q1_0};
    for (size_t i = 0; i < LK_COUNT(CPU); i++) {
        struct model_params p = rg_small("llama", rg_vulkan() ? DEVICE[i] : CPU[i]);
        p.n_layer = 1;
        p.n_embd = 256;
        p.n_ff = 512;
        p.n_head = 8;
        rg_everywhere(&p, NULL, NULL, 12, 9);
    }
}

/* Of each sixteen a scale of its own, and nibbles whose low ones are its first eight. */
Test(regress, scales_of_sixteen_by_hand)
{
    struct lk_nvfp4 b = {.d = {0x38, 0x40, 0x01, 0x7e}}; /* 1, 2, 2^-9, 448 */
    const float first[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    for (int s = 0; s < 4; s++) {
        float want[16];
        for (int i = 0; i < 16; i++) {
            const float scales[4] = {1, 2, 0x1p-9f, 448};
            want[i] = first[i] * scales[s];
            b.qs[8 * s + i % 8] |= (uint8_t)(i << i / 8 * 4);
        }
        expect("NVFP4", LK_TYPE_NVFP4, &b, 16 * s, want, 16);
    }
}

/* Models of it, with scales beside their matrices, on every way: of all tokens, and of experts. */
Test(regress, scales_of_sixteen_everywhere)
{
    static const char *const ARCHS[] = {"llama", "qwen3moe"};
    for (size_t i = 0; i < LK_COUNT(ARCHS); i++) {
        struct model_params p = rg_small(ARCHS[i], LK_TYPE_NVFP4);
        p.n_layer = 1;
        p.factors = true;
        p.n_ff = 192;
        p.n_ff_exp = 192;
        rg_everywhere(&p, NULL, NULL, 20, 11);
    }
}
