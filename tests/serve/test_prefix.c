/* SPDX-License-Identifier: Apache-2.0
 *
 * Prefix: what is kept of timelines: whole blocks alone, told apart by ids and salts, shared with
 * sessions that begin alike, given back when nobody uses them, the longest unused first.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/prefix.h"
#include "engine/room.h"
#include "tests/util/models.h"
#include "tests/util/rng.h"
#include "tests/util/tiny.h"

enum { CTX = 256, BLOCK = 64 };

struct tree {
    lk_model *model;
    lk_engine *engine;
    struct lk_prefix_tree *t;
    int32_t ids[CTX];
};

static void tree_open(struct tree *x, int n_blocks)
{
    lk_error err;
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    o.n_ctx = CTX;
    o.cache_tokens = (uint32_t)n_blocks * BLOCK;
    x->engine = tiny_engine_with(test_model_path(0), &o, &x->model);
    cr_assert_eq(lk_prefix_open(x->engine, &x->t, &err), LK_OK, "%s", err.message);
    tiny_tokens(x->ids, CTX, lk_engine_n_vocab(x->engine), 1);
}

static int n_free(struct tree *x)
{
    struct lk_room room;
    lk_error err;
    cr_assert_eq(lk_room_of(x->engine, &room, &err), LK_OK);
    return room.n_free;
}

static void tree_close(struct tree *x)
{
    int all = x->engine->home->pool.n_blocks;
    lk_prefix_close(&x->t);
    cr_assert_eq(n_free(x), all, "all blocks are given back");
    lk_engine_close(&x->engine);
    lk_model_close(&x->model);
}

static lk_session *session_of(struct tree *x, const int32_t *ids, size_t n)
{
    lk_session *s;
    lk_error err;
    cr_assert_eq(lk_session_open(x->engine, &s, &err), LK_OK, "%s", err.message);
    if (n > 0) {
        cr_assert_eq(lk_session_sync(s, ids, n, &err), LK_OK, "%s", err.message);
    }
    return s;
}

static void keep(struct tree *x, uint64_t salt, const int32_t *ids, size_t n)
{
    struct lk_prefix_at at = {0};
    lk_session *s = session_of(x, ids, n);
    lk_prefix_keep(x->t, salt, s, &at);
    cr_assert_eq(at.n_blocks, (int)n / BLOCK);
    lk_session_close(&s);
}

static int known(struct tree *x, uint64_t salt, const int32_t *ids, size_t n)
{
    int idle;
    return lk_prefix_find(x->t, salt, ids, n, &idle);
}

Test(prefix, whole_blocks_of_equal_ids_are_found)
{
    struct tree x;
    int32_t other[CTX];
    tree_open(&x, 12);
    keep(&x, 0, x.ids, 200);
    cr_assert_eq(lk_prefix_n_kept(x.t), 3);
    cr_assert_eq(n_free(&x), 9, "the session's last block is free again");
    cr_assert_eq(known(&x, 0, x.ids, CTX), 3);
    cr_assert_eq(known(&x, 0, x.ids, 191), 2);
    cr_assert_eq(known(&x, 0, x.ids, 63), 0);
    cr_assert_eq(known(&x, 1, x.ids, CTX), 0, "another salt");
    for (int at = 0; at < 192; at++) {
        memcpy(other, x.ids, sizeof other);
        other[at] ^= 1;
        cr_assert_eq(known(&x, 0, other, CTX), at / BLOCK, "token %d is another", at);
    }
    cr_assert_eq(known(&x, 0, x.ids + BLOCK, 128), 0, "not at the beginning");
    keep(&x, 0, other, 192);
    cr_assert_eq(lk_prefix_n_kept(x.t), 4, "two blocks are shared");
    tree_close(&x);
}

Test(prefix, a_session_that_adopts_goes_on_as_if_it_had_evaluated_it)
{
    struct tree x;
    lk_error err;
    tree_open(&x, 12);
    size_t n_vocab = lk_engine_n_vocab(x.engine);
    float *rows = tiny_rows(x.engine, x.ids, 200);
    keep(&x, 0, x.ids, 192);
    for (size_t n = 1; n <= 200; n += 19) {
        struct lk_prefix_at at = {0};
        lk_session *s = session_of(&x, NULL, 0);
        size_t got = lk_prefix_adopt(x.t, 0, s, x.ids, n - 1, &at);
        cr_assert_eq(got, (n - 1) / BLOCK * BLOCK);
        cr_assert_null(lk_session_logits(s));
        cr_assert_eq(lk_session_sync(s, x.ids, n, &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(s), rows + (n - 1) * n_vocab, n_vocab, "after what was kept");
        lk_session_close(&s);
    }
    free(rows);
    tree_close(&x);
}

/* Two evaluate the same beside each other: one block stays of each pair. */
Test(prefix, equal_blocks_become_one)
{
    struct tree x;
    struct lk_prefix_at at[2] = {{0}};
    tree_open(&x, 12);
    lk_session *a = session_of(&x, x.ids, 130), *b = session_of(&x, x.ids, 190);
    cr_assert_eq(n_free(&x), 6);
    lk_prefix_keep(x.t, 0, a, &at[0]);
    lk_prefix_keep(x.t, 0, b, &at[1]);
    cr_assert_eq(n_free(&x), 8);
    cr_assert_eq(a->seq.blocks[1], b->seq.blocks[1]);
    cr_assert_eq(lk_prefix_n_idle(x.t), 0);
    cr_assert_eq(lk_prefix_evict(x.t, 12), 0, "sessions hold them");
    lk_session_close(&a);
    cr_assert_eq(lk_prefix_evict(x.t, 12), 0);
    lk_session_close(&b);
    cr_assert_eq(lk_prefix_n_idle(x.t), 2);
    cr_assert_eq(lk_prefix_evict(x.t, 12), 2);
    cr_assert_eq(n_free(&x), 12);
    tree_close(&x);
}

Test(prefix, the_longest_unused_goes_first_and_never_before_its_end)
{
    struct tree x;
    int32_t other[CTX];
    struct lk_prefix_at at = {0};
    tree_open(&x, 12);
    tiny_tokens(other, CTX, lk_engine_n_vocab(x.engine), 2);
    keep(&x, 0, x.ids, 192);
    keep(&x, 0, other, 192);
    lk_session *s = session_of(&x, NULL, 0); /* the first is used again */
    cr_assert_eq(lk_prefix_adopt(x.t, 0, s, x.ids, 128, &at), 128);
    lk_session_close(&s);
    cr_assert_eq(lk_prefix_evict(x.t, 2), 2);
    cr_assert_eq(known(&x, 0, x.ids, CTX) + known(&x, 0, other, CTX), 4);
    cr_assert_eq(known(&x, 0, x.ids, CTX), 2, "its last block was not used since");
    cr_assert_eq(lk_prefix_evict(x.t, 2), 2);
    cr_assert_eq(known(&x, 0, x.ids, CTX), 2);
    cr_assert_eq(known(&x, 0, other, CTX), 0);
    cr_assert_eq(lk_prefix_evict(x.t, 1), 1);
    cr_assert_eq(known(&x, 0, x.ids, CTX), 1);
    tree_close(&x);
}

/* Random timelines of few kinds of blocks, kept, taken and dropped, against a list of them. */
Test(prefix, random_timelines_are_those_of_a_list)
{
    enum { MOST = 40, KINDS = 3, LENGTH = 3 };
    struct tree x;
    struct rng rng = {7};
    bool is_kept[KINDS + 1][KINDS + 1][KINDS + 1] = {{{false}}}; /* 0: it ends before */
    tree_open(&x, 60);
    for (int round = 0; round < 300; round++) {
        int32_t ids[CTX];
        int kind[LENGTH] = {0}, n = 1 + rng_below(&rng, LENGTH), want = 0;
        for (int i = 0; i < n; i++) {
            kind[i] = 1 + rng_below(&rng, KINDS);
            memcpy(ids + i * BLOCK, x.ids, BLOCK * sizeof *ids);
            ids[i * BLOCK + 5] = kind[i];
        }
        want += is_kept[kind[0]][0][0];
        want += want == 1 && n > 1 && is_kept[kind[0]][kind[1]][0];
        want += want == 2 && n > 2 && is_kept[kind[0]][kind[1]][kind[2]];
        cr_assert_eq(known(&x, 0, ids, (size_t)n * BLOCK), want, "round %d", round);
        if (rng_below(&rng, 3) == 0) {
            keep(&x, 0, ids, (size_t)n * BLOCK);
            is_kept[kind[0]][0][0] = true;
            is_kept[kind[0]][kind[1]][0] |= n > 1;
            is_kept[kind[0]][kind[1]][kind[2]] |= n > 2;
        }
        if (round % 50 == 49) {
            (void)lk_prefix_evict(x.t, MOST);
            memset(is_kept, 0, sizeof is_kept);
            cr_assert_eq(lk_prefix_n_kept(x.t), 0);
        }
    }
    tree_close(&x);
}
