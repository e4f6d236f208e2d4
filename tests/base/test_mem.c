/* SPDX-License-Identifier: Apache-2.0
 *
 * Mem: checked growth, arena pieces and their red zones.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"

Test(mem, alloc_is_aligned_and_zero)
{
    for (size_t n = 0; n < 300; n += 7) {
        unsigned char *p = lk_alloc(n);
        cr_assert(p && (uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(p[i], 0);
        }
        lk_free(p);
    }
    cr_assert_null(lk_alloc_array(SIZE_MAX / 2, 3));
    cr_assert_null(lk_alloc(SIZE_MAX));
}

Test(mem, grow_keeps_content_and_zeroes_the_rest)
{
    int *a = NULL;
    size_t cap = 0;
    lk_error err;
    for (size_t n = 1; n < 1000; n++) {
        cr_assert_eq(lk_grow(&a, &cap, n, sizeof *a, &err), LK_OK);
        cr_assert(cap >= n && a[n - 1] == 0);
        a[n - 1] = (int)n;
    }
    for (size_t n = 1; n < 1000; n++) {
        cr_assert_eq(a[n - 1], (int)n);
    }
    size_t old = cap;
    cr_assert_eq(lk_grow(&a, &cap, SIZE_MAX / 2, sizeof *a, &err), LK_E_NOMEM);
    cr_assert_eq(cap, old);
    lk_free(a);
}

Test(mem, arena_finds_the_piece_that_was_overrun)
{
    struct lk_arena arena = {0};
    lk_error err;
    int a = lk_arena_reserve(&arena, "first", 100), b = lk_arena_reserve(&arena, "second", 1);
    cr_assert_eq(lk_arena_commit(&arena, &err), LK_OK);
    unsigned char *p = lk_arena_at(&arena, a), *q = lk_arena_at(&arena, b);
    cr_assert((uintptr_t)p % 64 == 0 && (uintptr_t)q % 64 == 0);
    memset(p, 1, 100);
    q[0] = 2;
    cr_assert_eq(lk_arena_check(&arena, &err), LK_OK);
    p[100] ^= 1;
    cr_assert_eq(lk_arena_check(&arena, &err), LK_E_INTERNAL);
    cr_assert(strstr(err.message, "'first'"));
    p[100] ^= 1;
    q[1] ^= 1;
    cr_assert_eq(lk_arena_check(&arena, &err), LK_E_INTERNAL);
    cr_assert(strstr(err.message, "'second'"));
    lk_arena_free(&arena);
}
