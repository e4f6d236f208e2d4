/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz json: any bytes as a document. What is read is written, and read again it is the same text.
 */
#define _GNU_SOURCE
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "text/value/json.h"

static void write_both(const struct lk_value *v, const struct lk_json_writing *how)
{
    struct lk_text_buffer once = {0}, again = {0};
    struct lk_region region = {.max_bytes = (size_t)1 << 26};
    struct lk_value second;
    lk_error err = {0};
    const struct lk_json_reading deep = {.max_depth = 64, .flags = LK_VALUE_TRUSTED};
    FUZZ_CHECK(!lk_json_write(&once, v, how, &err));
    FUZZ_CHECK(!lk_json_read(&region, once.bytes, once.n, &deep, &second, &err) ||
               memmem(once.bytes, once.n, "Infinity", 8));
    if (!err.status) {
        FUZZ_CHECK(!lk_json_write(&again, &second, how, &err));
        FUZZ_CHECK(again.n == once.n && memcmp(again.bytes, once.bytes, once.n) == 0);
        FUZZ_CHECK(again.flags == LK_VALUE_TRUSTED && !again.marks && !once.marks);
    }
    lk_text_free(&once);
    lk_text_free(&again);
    lk_region_free(&region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct lk_region region = {.max_bytes = (size_t)1 << 26};
    struct lk_value v;
    lk_error err = {0};
    lk_status status = lk_json_read(&region, (const char *)data, n, NULL, &v, &err);
    if (status) {
        FUZZ_CHECK(status == LK_E_FORMAT && err.status == status && err.message[0]);
    } else {
        struct lk_json_writing how[] = {lk_json_default(), lk_json_pretty(), lk_json_compact()};
        how[1].ensure_ascii = true;
        how[2].sort_keys = true;
        for (size_t i = 0; i < 3; i++) {
            write_both(&v, &how[i]);
        }
    }
    lk_region_free(&region);
    return 0;
}
