/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes of models whose layers read side rows, which each part makes of the tokens: wherever they
 * are cut, rows are those of one part alone. A row of the table that stays with the file is looked
 * at when its token comes.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/model_file.h"
#include "tests/util/models.h"
#include "tests/util/parts.h"
#include "tests/util/tiny.h"

enum { LAYERS = PARTS_LAYERS, N = PARTS_N, VOCAB = PARTS_VOCAB };

TestSuite(lanes_side, .init = parts_set_up_side, .fini = parts_tear_down);

static lk_engine *open_placed(const char *placement, uint32_t n_batch, lk_model **m)
{
    lk_engine_options o = lk_engine_options_default();
    o.placement = placement;
    o.n_ctx = PARTS_CTX;
    o.n_batch = n_batch;
    o.threads = 2;
    return tiny_engine_with(parts_path, &o, m);
}

static void same_rows(void *user, const char *placement)
{
    static const uint32_t BATCH[] = {1, 40, 64, 150};
    lk_model *m;
    int *n = user, i = (*n)++;
    if (test_is_sanitized_sample() && i % 3 != 0) {
        return;
    }
    lk_engine *e = open_placed(placement, BATCH[i % 4], &m);
    parts_check_rows(e, placement);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(lanes_side, every_split_in_two_and_three_parts_gives_the_same_rows)
{
    static const char *const BACKENDS[] = {"scalar", "cpu"};
    int n = 0;
    for (int n_parts = 1; n_parts <= 3; n_parts++) {
        parts_each_split(LAYERS, n_parts, BACKENDS, 2, same_rows, &n);
    }
    cr_assert_eq(n, 1 + 5 + 10);
}

/* The gate that lets side rows in goes with the feed-forward. */
Test(lanes_side, feed_forwards_that_are_placed_apart_give_the_same_rows)
{
    int n = 0;
    same_rows(&n, "scalar:0-5,ffn:0-5");
    same_rows(&n, "scalar:0-1,cpu:2,scalar:3-5,ffn:1-3,ffn:5");
}

Test(lanes_side, a_session_moves_between_placements_in_mid_sentence)
{
    static const char *const BACKENDS[] = {"cpu", "scalar"};
    lk_model *m;
    lk_error err;
    struct parts_mover mover = {0};
    lk_engine *e = open_placed("scalar:0-5", 64, &m);
    cr_assert_eq(lk_session_open(e, &mover.s, &err), LK_OK, "%s", err.message);
    for (int n_parts = 3; n_parts >= 1; n_parts--) {
        parts_each_split(LAYERS, n_parts, BACKENDS, 2, parts_move_on, &mover);
    }
    lk_session_close(&mover.s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* Writes `bits`, an f16, as the scale of the first block of a token's row of the table. */
static void damage_row(int32_t id, uint16_t bits)
{
    lk_model *m;
    lk_error err;
    cr_assert_eq(lk_model_open(parts_path, &m, &err), LK_OK, "%s", err.message);
    const struct lk_gguf_tensor *t = lk_gguf_find_tensor(m->gguf, "per_layer_token_embd.weight");
    long at = (long)(t->file_offset + (uint64_t)id * (t->n_bytes / VOCAB));
    lk_model_close(&m);
    FILE *file = fopen(parts_path, "r+b");
    cr_assert(file && fseek(file, at, SEEK_SET) == 0 && fwrite(&bits, 2, 1, file) == 1);
    cr_assert_eq(fclose(file), 0);
}

Test(lanes_side, a_damaged_row_is_told_when_its_token_comes)
{
    static const char *const PLACED[] = {"scalar:0-5", "cpu:0-5", "scalar:0-2,cpu:3-5"};
    static const uint16_t BAD[] = {0x7e00, 0x7c00}; /* NaN, infinity */
    int32_t ids[] = {1, 2, 77, 3};
    for (size_t i = 0; i < LK_COUNT(PLACED); i++) {
        lk_model *m;
        lk_session *s;
        lk_error err;
        damage_row(77, BAD[i % 2]);
        lk_engine *e = open_placed(PLACED[i], 16, &m);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 2, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 4, &err), LK_E_RANGE);
        cr_assert(strstr(err.message, "per_layer_token_embd.weight"), "%s", err.message);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}
