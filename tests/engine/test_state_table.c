/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv: block tables against a model of what each sequence should see: random appends, forks and
 * truncations never let one sequence's tokens disturb another's, and no block is lost.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/state_table.h"
#include "tests/util/rng.h"

enum { SEQS = 6, BLOCKS = 40, MAX_TOKENS = 600 };

/* The cache as tokens: what was written to (block, slot). */
static int cache[BLOCKS][LK_KV_BLOCK];
static int expected[SEQS][MAX_TOKENS];
static struct lk_state_seq seq[SEQS];
static struct lk_state_pool pool;

static bool append(int i, int n, int *stamp)
{
    struct lk_state_copy copy;
    lk_error err;
    int before = seq[i].n_tokens, free_before = pool.n_free;
    lk_status status = lk_state_seq_reserve(&seq[i], &pool, n, &copy, &err);
    if (status) {
        cr_assert_eq(status, LK_E_FULL);
        cr_assert(seq[i].n_tokens == before && pool.n_free == free_before);
        return false;
    }
    if (*stamp % 5 == 0) { /* given up and made again */
        lk_state_seq_unreserve(&seq[i], &pool, &copy);
        cr_assert(seq[i].n_tokens == before && pool.n_free == free_before);
        cr_assert_eq(seq[i].n_blocks, (before + LK_KV_BLOCK - 1) / LK_KV_BLOCK);
        cr_assert_eq(lk_state_seq_reserve(&seq[i], &pool, n, &copy, &err), LK_OK);
    }
    if (copy.from >= 0) {
        memcpy(cache[copy.to], cache[copy.from], sizeof cache[0]);
    }
    for (int t = 0; t < n; t++) {
        int p = before + t;
        expected[i][p] = ++*stamp;
        cache[seq[i].blocks[p / LK_KV_BLOCK]][p % LK_KV_BLOCK] = *stamp;
    }
    seq[i].n_tokens = before + n;
    return true;
}

Test(state_table, sequences_never_disturb_each_other)
{
    lk_error err;
    cr_assert_eq(lk_state_pool_init(&pool, BLOCKS, 0, &err), LK_OK);
    for (int i = 0; i < SEQS; i++) {
        cr_assert_eq(lk_state_seq_init(&seq[i], MAX_TOKENS, &err), LK_OK);
    }
    struct rng rng = {1};
    int stamp = 0, refused = 0, forks = 0;
    for (int step = 0; step < 20000; step++) {
        int i = (int)(rng_u32(&rng) % SEQS), j = (int)(rng_u32(&rng) % SEQS);
        switch (rng_u32(&rng) % 4) {
        case 0:
        case 1:
            refused += !append(i, (int)(rng_u32(&rng) % 90), &stamp);
            break;
        case 2:
            lk_state_seq_truncate(&seq[i], &pool,
                                  (int)(rng_u32(&rng) % (unsigned)(seq[i].n_tokens + 1)));
            break;
        case 3:
            if (i != j) {
                lk_state_seq_truncate(&seq[j], &pool, 0);
                cr_assert_eq(lk_state_seq_fork(&seq[i], &seq[j], &pool, &err), LK_OK);
                memcpy(expected[j], expected[i], sizeof expected[i]);
                forks++;
            }
            break;
        }
        for (int s = 0; s < SEQS; s++) {
            for (int p = 0; p < seq[s].n_tokens; p++) {
                cr_assert_eq(cache[seq[s].blocks[p / LK_KV_BLOCK]][p % LK_KV_BLOCK], expected[s][p],
                             "step %d sequence %d position %d", step, s, p);
            }
        }
    }
    cr_assert(refused > 10 && forks > 1000, "%d refusals, %d forks", refused, forks);
    for (int i = 0; i < SEQS; i++) {
        lk_state_seq_free(&seq[i], &pool);
    }
    cr_assert_eq(pool.n_free, BLOCKS);
    for (int b = 0; b < BLOCKS; b++) {
        cr_assert_eq(pool.refs[b], 0);
    }
    lk_state_pool_free(&pool);
}

Test(state_table, a_full_context_is_an_error_and_changes_nothing)
{
    lk_error err;
    struct lk_state_copy copy;
    cr_assert_eq(lk_state_pool_init(&pool, 100, 0, &err), LK_OK);
    cr_assert_eq(lk_state_seq_init(&seq[0], 100, &err), LK_OK);
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 101, &copy, &err), LK_E_FULL);
    cr_assert(strstr(err.message, "101") && strstr(err.message, "100"));
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 100, &copy, &err), LK_OK);
    seq[0].n_tokens = 100;
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 1, &copy, &err), LK_E_FULL);
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 0, &copy, &err), LK_OK);
    lk_state_seq_free(&seq[0], &pool);
    lk_state_pool_free(&pool);
}

Test(state_table, a_recurrent_state_is_a_slot_a_sequence)
{
    lk_error err;
    struct lk_state_copy copy;
    cr_assert_eq(lk_state_pool_init(&pool, 100, 2, &err), LK_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(lk_state_seq_init(&seq[i], 100, &err), LK_OK);
        cr_assert_eq(seq[i].slot, -1);
    }
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 0, &copy, &err), LK_OK);
    cr_assert(!copy.new_slot && seq[0].slot < 0, "no token has a state");
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 70, &copy, &err), LK_OK);
    cr_assert(copy.new_slot && seq[0].slot >= 0);
    seq[0].n_tokens = 70;
    cr_assert_eq(lk_state_seq_reserve(&seq[0], &pool, 1, &copy, &err), LK_OK);
    cr_assert(!copy.new_slot, "the sequence has its slot already");
    cr_assert_eq(lk_state_seq_fork(&seq[0], &seq[1], &pool, &err), LK_OK);
    cr_assert(seq[1].slot >= 0 && seq[1].slot != seq[0].slot);
    cr_assert_eq(lk_state_seq_reserve(&seq[2], &pool, 1, &copy, &err), LK_E_FULL);
    cr_assert(seq[2].n_blocks == 0 && seq[2].slot == -1);
    cr_assert_eq(lk_state_seq_fork(&seq[0], &seq[2], &pool, &err), LK_E_FULL);
    cr_assert_eq(lk_state_seq_truncate(&seq[0], &pool, 70), 70, "nothing goes back");
    cr_assert_eq(lk_state_seq_truncate(&seq[0], &pool, 69), 0, "a recurrent state can't");
    cr_assert(seq[0].slot == -1 && seq[0].n_blocks == 0);
    cr_assert_eq(lk_state_seq_reserve(&seq[2], &pool, 1, &copy, &err), LK_OK);
    for (int i = 0; i < 3; i++) {
        lk_state_seq_free(&seq[i], &pool);
    }
    cr_assert(pool.n_free == 100 && pool.n_free_slots == 2);
    lk_state_pool_free(&pool);
}
