/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_integers: the entries of the registry about attention in integers: limbs, scales, the
 * chunk's exponents, cells of both widths. See REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/regress/regress.h"

/* Keys of 12 and of 8 bits, heads that fill their words and that don't. */
Test(regress, integers_of_both_widths)
{
    static const char *const KV[] = {"k12v8", "i8"};
    static const int DIM[] = {32, 42};
    for (size_t i = 0; i < LK_COUNT(KV) * LK_COUNT(DIM); i++) {
        struct model_params p = rg_small("qwen2", LK_TYPE_F32);
        p.n_layer = 1;
        p.head_dim = p.n_rot = DIM[i % 2];
        p.kv = KV[i / 2];
        rg_everywhere(&p, NULL, NULL, 75, 66);
    }
}

/* A head's queries and keys, each with outliers of its own, so that scales, maxima and exponents
 * differ from row to row and from chunk to chunk. */
static void spread_rows(void *user, const char *name, uint8_t *data, size_t n_bytes)
{
    (void)user;
    if (strcmp(name, "token_embd.weight") != 0) {
        return;
    }
    for (size_t k = 0; k < n_bytes / 4; k++) {
        float v;
        memcpy(&v, data + 4 * k, sizeof v);
        v *= k / 64 % 5 == k % 64 % 7 ? 40.0f : 1.0f; /* some elements of some tokens */
        memcpy(data + 4 * k, &v, sizeof v);
    }
}

Test(regress, rows_have_their_own_scales_and_exponents)
{
    struct model_params p = rg_small("llama", LK_TYPE_F32);
    p.n_head = 6;
    p.n_layer = 2;
    rg_everywhere(&p, spread_rows, NULL, 140, 130);
    p = rg_small("gemma3", LK_TYPE_F32);
    p.n_layer = 2;
    p.window = 70;
    rg_everywhere(&p, spread_rows, NULL, 100, 97);
}
