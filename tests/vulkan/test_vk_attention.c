/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_attention: rope, the store of keys and values, and attention of the Vulkan backend against the
 * scalar contract, by bits: over chunks and windows, in both widths of keys, in prefill and decode.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/models.h"
#include "tests/vulkan/vk_bench.h"
#include "vulkan/device/vk_limits.h"
#include "vulkan/vk.h"

enum { N_CASES = 7 };
static const struct {
    int n_tokens, n_seqs, pos0;
} CASES[N_CASES] = {{1, 1, 0},  {1, 1, 63},  {1, 1, 330}, {3, 3, 127},
                    {7, 2, 60}, {130, 1, 1}, {75, 4, 200}};

/* Cases [from, to) of each row of a table, or a sample of them. */
static void run_cases(const struct vk_heads *heads, size_t n, size_t from, size_t to,
                      const char *variant)
{
    for (size_t h = 0; h < n; h++) {
        for (size_t c = from; c < to; c++) {
            if (!vk_pair_skips((size_t)heads[h].n_head + h, c)) {
                vk_attention_case(&heads[h], CASES[c].n_tokens, CASES[c].n_seqs, CASES[c].pos0,
                                  variant);
            }
        }
    }
}

Test(vk_attention, rope_kv_and_attention)
{
    static const struct vk_heads HEADS[] = {
        {3, 1, 64, 64, 0, false, 0.0f, false, false, 0, 0},
        {8, 2, 128, 64, 0, true, 0.0f, true, true, 0, 0},
        {4, 4, 32, 32, 40, false, 72.0f, true, false, 0, 0},
        {12, 1, 40, 40, 100, true, 0.0f, false, true, 0, 0},
        {4, 1, 256, 256, 70, false, 0.0f, false, true, 0, 0},
        {2, 2, 96, 48, 0, false, 20.0f, true, true, 0, 0},
        {5, 1, 160, 160, 0, false, 0.0f, false, false, 0, 0},
        {9, 1, 512, 512, 0, false, 0.0f, false, true, 0, 0},
        {4, 2, 490, 96, 100, true, 20.0f, true, true, 0, 0},
    };
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        if (vk_pair_samples() ? h == test_turn() % LK_COUNT(HEADS) : vk_pair_row(h)) {
            run_cases(&HEADS[h], 1, 0, N_CASES, VK_VARIANTS[h % 3]);
        }
    }
    vk_pair_close();
}

/* Both widths of K's cells, heads that are no multiple of 4 or 8, with windows and soft caps, by
 * products of int8 and without. */
Test(vk_attention, attention_of_both_widths_of_keys)
{
    static const struct vk_heads HEADS[] = {
        {6, 2, 64, 64, 0, false, 0.0f, false, true, LK_KV_K8_BITS, 0},
        {4, 1, 18, 18, 70, true, 0.0f, true, false, LK_KV_K8_BITS, 0},
        {3, 3, 42, 42, 0, false, 50.0f, false, true, LK_KV_K_BITS, 0},
        {9, 3, 30, 10, 65, true, 20.0f, true, true, LK_KV_K8_BITS, 0},
        {5, 1, 250, 250, 1, false, 0.0f, false, false, LK_KV_K_BITS, 0},
        {16, 1, 100, 100, 0, false, 0.0f, true, false, LK_KV_K8_BITS, 0},
    };
    bool few = vk_pair_few();
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        size_t only = (h / 2 + test_turn() / 4) % 2; /* of few each row has one of the ways */
        if (!vk_pair_row(h)) {
            continue;
        }
        for (size_t v = few ? only : 0; v < (few ? only + 1 : 2); v++) {
            vk_attention_case(&HEADS[h], 1, 1, (int)h, VK_VARIANTS[v]);
            vk_attention_case(&HEADS[h], 1, 1, 191, VK_VARIANTS[v]);
            vk_attention_case(&HEADS[h], 5, 1, 61, VK_VARIANTS[v]);
            vk_attention_case(&HEADS[h], 70, 1, 2, VK_VARIANTS[v]);
        }
        if (!few || only == 0) { /* unrolled, by products of int8 and without */
            vk_attention_case(&HEADS[h], 1, 1, 130, "looped");
        }
        if (!few || only == 1) {
            vk_attention_case(&HEADS[h], 1, 1, 65, "looped,int-dot");
        }
    }
    vk_pair_close();
}

/* Decode over more chunks than are merged at a time, with a window and without. */
Test(vk_attention, many_chunks_are_merged_in_order)
{
    static const struct vk_heads HEADS[] = {
        {4, 2, 40, 40, 0, false, 0.0f, false, false, LK_KV_K_BITS, 0},
        {3, 1, 64, 64, 4200, true, 0.0f, false, true, LK_KV_K8_BITS, 0},
    };
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        vk_attention_case(&HEADS[h], 1, 1, 4480, VK_VARIANTS[0]);
        vk_attention_case(&HEADS[h], 1, 1, 4095 + (int)h, "looped");
    }
    vk_pair_close();
}

/* Values about 2^-50, where rule 1 flushes what a chunk adds to an output before it is merged. */
static void faint_case(const struct vk_heads *h, int n_tokens, float factor, const char *variant)
{
    struct vk_bench b;
    char what[160];
    vk_bench_attention(&b, what, h, n_tokens, 1, 0);
    for (int i = 0; i < n_tokens * 64; i++) {
        b.hidden[i] *= factor;
    }
    vk_bench_end(&b, variant);
    lk_rope_free(&b.c.plan.ropes[0]);
}

/* The kernel of matrix units with plain loops for the units: rows that fill its 64 and that don't,
 * heads shared out among tiles, windows, soft caps, pads, both widths of keys, and values narrower
 * and wider than keys with the same padding; what shared memory of 32 KiB does not hold (a head of
 * 256) goes to the other kernel. */
Test(vk_attention, attention_by_matrices)
{
    static const struct vk_heads HEADS[] = {
        {3, 1, 64, 64, 0, false, 0.0f, false, false, LK_KV_K_BITS, 0},
        {8, 2, 128, 64, 70, true, 0.0f, true, true, LK_KV_K8_BITS, 0},
        {4, 4, 18, 18, 0, false, 72.0f, true, false, LK_KV_K_BITS, 0},
        {66, 1, 32, 32, 3, false, 0.0f, false, false, LK_KV_K_BITS, 0},
        {2, 1, 256, 256, 0, false, 0.0f, false, true, LK_KV_K_BITS, 0},
        {4, 1, 52, 12, 0, false, 0.0f, false, true, LK_KV_K_BITS, 40}, /* both padded to 64 */
        {6, 2, 68, 68, 70, true, 0.0f, true, false, LK_KV_K8_BITS, 96},
    };
    static const struct vk_heads FAINT = {8,     2,     128,           64, 0, true, 0.0f,
                                          false, false, LK_KV_K8_BITS, 0};
    if (!vk_pair_samples()) { /* what stands for matrices is long to compile there */
        for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
            if (!vk_pair_few()) {
                run_cases(&HEADS[h], 1, 4, 7, "looped,narrow,matrix");
            } else if (vk_pair_row(h)) { /* each shape is long to compile */
                size_t c = 4 + (h + test_turn() / 3) % 3;
                vk_attention_case(&HEADS[h], CASES[c].n_tokens, CASES[c].n_seqs, CASES[c].pos0,
                                  "looped,narrow,matrix");
            }
        }
        bool few = vk_pair_turns(); /* one of three, in turn */
        for (int e = few ? -48 + 4 * (int)(test_turn() % 3) : -48; e <= -40; e += few ? 12 : 4) {
            faint_case(&FAINT, 130, ldexpf(1.0f, e), "looped,narrow,matrix");
        }
    }
    vk_pair_close();
}

/* The form in which the kernel of matrices leaves outputs of op `i`: a flag, 0: as rows. */
static uint32_t form_left(const struct vk_bench *b, const char *variant, int i)
{
    char text[256];
    unsigned rows, dim, flags;
    vk_bench_kernels(b, variant, i, text);
    const char *constants = strstr(text, "constants ");
    cr_assert(constants && sscanf(constants, "constants %u %u %u", &rows, &dim, &flags) == 3,
              "%s: '%s'", b->c.what, text);
    bool by_matrix = strstr(text, "attn_matrix") || strstr(text, "attn_wide");
    return by_matrix ? flags & LK_VK_ATTN_FORM(3) : 0;
}

/* Outputs that leave the kernel as a matmul takes them: blocks of 256 over eight heads of 32, of
 * more than a workgroup has, four of 64, two of 128, two and a part of 96, and blocks of 32, of
 * outputs of zero too; and as rows where heads or rows have padding, or a block of 256 is of two KV
 * heads. As in large_heads_by_matrices heads beyond 32 take more shared memory than these drivers
 * say. */
Test(vk_attention, outputs_that_are_activations)
{
    enum { Q32 = LK_VK_ATTN_FORM(LK_VK_X_Q32), Q256 = LK_VK_ATTN_FORM(LK_VK_X_Q256) };
    static const struct {
        struct vk_heads h;
        enum lk_type type;
        uint32_t form;
        int n_tokens, n_seqs;
        float factor;
    } CASE[] = {
        {{8, 1, 32, 32, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q4_K, Q256, 75, 2, 1},
        {{16, 2, 32, 32, 20, true, 0, true, false, 0, 0}, LK_TYPE_Q8_0, Q32, 40, 1, 1},
        {{24, 1, 32, 32, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q6_K, Q256, 37, 1, 1},
        {{8, 1, 32, 32, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q4_K, Q256, 40, 1, 0},
        {{4, 1, 64, 64, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q4_K, Q256, 75, 2, 1},
        {{8, 2, 128, 128, 0, true, 0, false, true, LK_KV_K8_BITS, 0}, LK_TYPE_Q4_K, Q256, 70, 1, 1},
        {{8, 1, 96, 96, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q4_K, Q256, 33, 1, 1},
        {{72, 1, 32, 32, 0, false, 0, false, false, 0, 0}, LK_TYPE_Q4_K, Q256, 18, 1, 1},
        {{8, 8, 32, 32, 0, false, 20, false, false, 0, 0}, LK_TYPE_Q5_0, Q32, 33, 1, 1},
        {{12, 2, 32, 32, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q8_0, 0, 33, 1, 1},
        {{8, 2, 32, 32, 0, false, 0, false, true, 0, 0}, LK_TYPE_Q4_K, 0, 33, 1, 1},
        {{32, 1, 32, 32, 0, false, 0, false, true, 0, 24}, LK_TYPE_Q8_0, 0, 33, 1, 1},
    };
    if (vk_pair_samples()) {
        return;
    }
    bool matrix = vk_pair_device("")->dev.found.use[LK_VK_MATRIX];
    const char *variant = matrix ? "" : "looped,narrow,matrix";
    uint32_t *room = &vk_pair_device(variant)->dev.found.props.limits.maxComputeSharedMemorySize;
    uint32_t had = *room, most = matrix || vk_pair_validates() || had > 53u << 10 ? had : 53u << 10;
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        if (!vk_pair_row(i)) { /* each shape is long to compile */
            continue;
        }
        struct vk_bench b;
        char what[160];
        const struct vk_heads *h = &CASE[i].h;
        int width = h->n_head * (h->v_dim ? h->v_dim : h->head_dim);
        vk_bench_attention(&b, what, h, CASE[i].n_tokens, CASE[i].n_seqs, 0);
        for (int k = 0; k < CASE[i].n_tokens * 64; k++) {
            b.hidden[k] *= CASE[i].factor;
        }
        int in = b.c.plan.n_slots - 1, out = vk_bench_slot(&b, 40, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, in, -1, out,
                    vk_bench_weight(&b, CASE[i].type, 40, width, 41));
        *room = most;
        if (h->head_dim == 32 || most >= 53u << 10 || matrix) {
            cr_assert_eq(form_left(&b, variant, b.c.plan.n_ops - 2), CASE[i].form, "%s", what);
        }
        vk_bench_end(&b, variant);
        *room = had;
        lk_rope_free(&b.c.plan.ropes[0]);
    }
    vk_pair_close();
}

/* Chunks whose largest scores lie far below a head's sink, so that some of what they add to outputs
 * falls below rule 1's bound although their own sums do not. */
Test(vk_attention, chunks_that_add_next_to_nothing)
{
    static const struct vk_heads H = {24, 2, 32, 32, 0, false, 0.0f, true, true, 0, 0};
    static const char *const WAYS[] = {"looped,narrow,matrix", "int-dot"};
    enum { TOKENS = 190 };
    if (vk_pair_samples()) {
        return;
    }
    for (size_t v = 0; v < LK_COUNT(WAYS); v++) {
        struct vk_bench b;
        char what[160];
        vk_bench_attention(&b, what, &H, TOKENS, 1, 0);
        struct lk_op *attention = &b.c.plan.ops[b.c.plan.n_ops - 1];
        attention->weight = vk_bench_weight(&b, LK_TYPE_F32, 1, H.n_head, 3);
        float *sinks = (float *)(uintptr_t)b.c.plan.weights[attention->weight].data;
        for (int i = 0; i < H.n_head; i++) {
            sinks[i] = 16.0f + (float)i;
        }
        vk_bench_end(&b, WAYS[v]);
        lk_rope_free(&b.c.plan.ropes[0]);
    }
    vk_pair_close();
}

/* 130 tokens, of one of which keys are 2^e as large; what scalar code says of it. */
static lk_status loud_bench(struct vk_bench *b, char what[160], const struct vk_heads *h, int e)
{
    enum { TOKENS = 130, LOUD = 100 };
    lk_error err = {0};
    vk_bench_attention(b, what, h, TOKENS, 1, 0);
    for (int i = 0; i < 64; i++) {
        b->hidden[LOUD * 64 + i] = ldexpf(0.5f + (float)(i % 7) / 16, e);
    }
    return vk_pair_scalar_status(&b->c, &err);
}

/* The largest e at which scores are in range, and the next: scores near the limit are looked at one
 * by one (`loud` of attn_matrix.comp). */
static void loud_case(const struct vk_heads *h, const char *variant)
{
    struct vk_bench b;
    char what[160];
    lk_error err = {0};
    int e = 8;
    for (lk_status status = LK_OK; status == LK_OK; e++) {
        status = loud_bench(&b, what, h, e);
        vk_bench_release(&b);
        lk_rope_free(&b.c.plan.ropes[0]);
    }
    cr_assert_eq(loud_bench(&b, what, h, e - 1), LK_E_RANGE);
    cr_assert_eq(vk_pair_status(vk_pair_device(variant), &b.c, &err), LK_E_RANGE, "2^%d", e - 1);
    cr_assert(strstr(err.message, "attention"), "%s", err.message);
    vk_bench_release(&b);
    lk_rope_free(&b.c.plan.ropes[0]);
    cr_assert_eq(loud_bench(&b, what, h, e - 2), LK_OK);
    vk_bench_end(&b, variant);
    lk_rope_free(&b.c.plan.ropes[0]);
}

Test(vk_attention, scores_near_the_limit_and_beyond)
{
    static const struct vk_heads HEADS[] = {
        {4, 1, 32, 32, 0, false, 0.0f, false, false, LK_KV_K_BITS, 0},
        {3, 1, 64, 64, 0, false, 0.0f, false, false, LK_KV_K8_BITS, 0},
    };
    if (vk_pair_samples()) {
        return;
    }
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        loud_case(&HEADS[h], "looped,narrow,matrix");
        loud_case(&HEADS[h], "narrow,matrix");
    }
    vk_pair_close();
}

/* Heads of more than 128, whose rows two subgroups share, and such of 128 that have room for values
 * beside keys: 38 to 53 KiB of shared memory, 48 at most on GPUs with matrix units. These drivers
 * say 32 and have no such limit, which the validation layer does not know. */
Test(vk_attention, large_heads_by_matrices)
{
    static const struct vk_heads HEADS[] = {
        {5, 1, 192, 192, 70, true, 20.0f, true, true, LK_KV_K8_BITS, 0},
        {4, 2, 250, 64, 0, false, 0.0f, false, false, LK_KV_K_BITS, 0},
        {2, 1, 160, 160, 0, false, 0.0f, false, true, LK_KV_K_BITS, 0}, /* no multiple of 64 */
        {6, 2, 128, 128, 70, false, 0.0f, true, false, LK_KV_K_BITS, 0},
    };
    if (vk_pair_samples() || vk_pair_validates()) {
        return;
    }
    struct lk_backend *device = vk_pair_device("looped,narrow,matrix");
    uint32_t *room = &device->dev.found.props.limits.maxComputeSharedMemorySize, had = *room;
    const uint32_t largest[4] = {0, 256, LK_VK_ATTN_SHARE, 256};
    const uint32_t largest_apart[4] = {0, 128, 0, 128};
    *room = had > 53u << 10 ? had : 53u << 10;
    cr_assert(lk_vk_fits(256, 48u << 10, "attn_wide", largest));
    cr_assert(lk_vk_fits(128, *room, "attn_wide", largest_apart));
    cr_assert(!lk_vk_shader_find("attn_matrix") ||
              lk_vk_fits(128, 48u << 10, "attn_matrix", largest_apart));
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        for (size_t c = 4; c < N_CASES; c++) {
            size_t at = 3 * h + c - 4;
            if (!vk_pair_few() || at == test_turn() % 12) { /* it is long to compile */
                vk_attention_case(&HEADS[h], CASES[c].n_tokens, CASES[c].n_seqs, CASES[c].pos0,
                                  "looped,narrow,matrix");
            }
        }
    }
    *room = had;
    vk_pair_close();
}

/* Four positions of a dimension of V share a word: batches that begin and end at each place in it,
 * and sequences that stand side by side in a batch; every byte of the cache is compared. */
Test(vk_attention, values_share_words_with_their_neighbours)
{
    static const struct vk_heads H = {2, 1, 10, 10, 0, false, 0.0f, false, false, 0, 0};
    int step = vk_pair_samples() ? 5 : 1;
    for (int pos = (int)(test_turn() % (size_t)step); pos < 5; pos += step) {
        for (int n = 1; n <= 9; n++) {
            vk_attention_case(&H, n, 1, 60 + pos, n % 2 ? "" : "int-dot");
        }
        vk_attention_case(&H, 6, 2, pos, "");
        vk_attention_case(&H, 6, 6, pos, "");
        vk_attention_case(&H, 13, 4, 57 + pos, "");
    }
    vk_pair_close();
}

/* Values that are narrower or wider than keys, as of a latent that is a part of its key. */
Test(vk_attention, values_of_another_width)
{
    static const struct vk_heads HEADS[] = {
        {20, 1, 576, 64, 0, true, 0.0f, false, true, LK_KV_K_BITS, 512},
        {6, 2, 48, 48, 70, false, 30.0f, true, true, LK_KV_K8_BITS, 20},
        {3, 1, 40, 40, 0, true, 0.0f, true, false, LK_KV_K_BITS, 136},
        {5, 1, 160, 32, 0, true, 0.0f, false, true, LK_KV_K_BITS, 128},
    };
    static const char *const WAYS[] = {"", "int-dot", "narrow,matrix", "matrix"};
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        /* SwiftShader has no sample of the widest heads and of what stands for matrices */
        bool few = vk_pair_few(), sample = vk_pair_samples();
        size_t turn = test_turn(), only = (h + turn / 3) % (sample ? 2 : LK_COUNT(WAYS));
        if (sample ? h == 0 || (h + turn) % 3 != 0 : !vk_pair_row(h)) {
            continue;
        }
        for (size_t v = few ? only : 0; v < (few ? only + 1 : LK_COUNT(WAYS)); v++) {
            vk_attention_case(&HEADS[h], 1, 1, (int)h, WAYS[v]);
            vk_attention_case(&HEADS[h], 1, 1, 130, WAYS[v]);
            vk_attention_case(&HEADS[h], 3, 2, 61, WAYS[v]);
            vk_attention_case(&HEADS[h], 70, 1, 2, WAYS[v]);
        }
    }
    vk_pair_close();
}

static void ahead_case(const struct vk_heads *h, int ahead, int n_tokens, int n_seqs, int pos0,
                       const char *variant)
{
    struct vk_bench b;
    char what[160];
    vk_bench_attention(&b, what, h, n_tokens, n_seqs, pos0);
    b.c.plan.ops[b.c.plan.n_ops - 1].u.attention.ahead = ahead;
    vk_bench_end(&b, variant);
    lk_rope_free(&b.c.plan.ropes[0]);
}

/* Tokens that attend to those behind them: some, or all that the batch has of their sequence. */
Test(vk_attention, both_directions)
{
    static const struct vk_heads HEADS[] = {
        {3, 1, 64, 64, 0, false, 0.0f, false, true, 0, 0},
        {8, 2, 32, 32, 13, true, 0.0f, true, true, 0, 0},
        {4, 1, 256, 256, 66, false, 0.0f, false, true, 0, 0},
        {2, 2, 40, 40, 0, false, 20.0f, false, false, LK_KV_K8_BITS, 0},
    };
    static const int AHEAD[] = {INT_MAX, 12, 65, 3};
    static const char *const WAYS[] = {"", "narrow,matrix", "int-dot", "matrix"};
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        const char *way = WAYS[h];
        if (!vk_pair_row(h)) {
            continue;
        }
        ahead_case(&HEADS[h], AHEAD[h], 1, 1, 70, way);
        ahead_case(&HEADS[h], AHEAD[h], 6, 2, 0, way);
        ahead_case(&HEADS[h], AHEAD[h], 7, 1, 61, way);
        ahead_case(&HEADS[h], AHEAD[h], 140, 1, 0, way);
        if (!vk_pair_samples()) {
            ahead_case(&HEADS[h], AHEAD[h], 75, 3, 0, way);
            ahead_case(&HEADS[h], AHEAD[h], 200, 1, 30, WAYS[(h + 1) % 4]);
        }
    }
    vk_pair_close();
}
