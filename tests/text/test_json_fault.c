/* SPDX-License-Identifier: Apache-2.0
 *
 * Json under faults: every allocation of reading and writing a document fails in turn.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "text/value/json.h"
#include "tests/util/fault.h"

static bool use(const char *text, lk_error *err)
{
    struct lk_region region = {0};
    struct lk_text_buffer b = {.err = err};
    struct lk_json_writing how = lk_json_pretty();
    struct lk_value v, s;
    how.sort_keys = true;
    lk_status status = lk_json_read(&region, text, strlen(text), NULL, &v, err);
    if (!status) {
        status = lk_json_write(&b, &v, &how, err);
    }
    if (!status) {
        lk_text_puts(&b, "own", LK_VALUE_TRUSTED);
        status = lk_text_value(&b, 0, &region, &s);
    }
    lk_text_free(&b);
    lk_region_free(&region);
    cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err->message);
    return status == LK_OK;
}

Test(json_fault, each_allocation_fails)
{
    static const char text[] =
        "{\"a\":1,\"b\":[2,[3,[4]]],\"c\":\"x\",\"d\":{},\"e\":1.5,\"f\":0,\"g\":0,\"h\":0,"
        "\"i\":0,\"j\":0,\"a\":99}";
    struct fault_held before = fault_held();
    bool done = false;
    size_t n = 0;
    while (!done) {
        lk_error err = {0};
        n++;
        fault_alloc(n, n % 2 == 1);
        done = use(text, &err);
        cr_assert_neq(done, fault_struck());
        cr_assert(done || strstr(err.message, "out of memory"), "%s", err.message);
        cr_assert_eq(fault_held().bytes, before.bytes, "allocation %zu leaks", n);
    }
    fault_reset();
    cr_assert(n > 8, "only %zu allocations were seen", n - 1);
}
