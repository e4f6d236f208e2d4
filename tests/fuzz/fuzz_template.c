/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz template: any bytes as a chat template and a request. Input: the template, a zero byte, the
 * request's JSON (a fixed one where it is none). What renders must render the same again, and no
 * byte of a message is the template's: messages are made of characters that no template holds.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "base/base.h"

#define SECRET "\xEE\x80\x80" /* U+E000 */

static const char fallback[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"" SECRET SECRET
    "\"}, {\"role\": \"assistant\", "
    "\"content\": \"" SECRET "\", \"tool_calls\": [{\"function\": {\"name\": \"" SECRET "\", "
    "\"arguments\": {\"a\": [1, 2.5, \"" SECRET "\"]}}}]}, {\"role\": \"" SECRET "\"}], \"tools\": "
    "[{\"type\": \"function\", \"function\": {\"name\": \"" SECRET "\"}}]}";

static void check_marks(const lk_rendering *r)
{
    size_t len, part = 0, n = lk_rendering_n_plain(r), begin = 0, end = 0, before = 0;
    const char *text = lk_rendering_text(r, &len);
    for (size_t i = 0; i < n; i++) {
        lk_rendering_plain(r, i, &begin, &end);
        FUZZ_CHECK(begin < end && end <= len && (i == 0 || begin >= before));
        before = end;
    }
    for (const char *at = text; (at = memmem(at, len - (size_t)(at - text), SECRET, 3)) != NULL;
         at++) {
        size_t where = (size_t)(at - text);
        for (; part < n; part++) {
            lk_rendering_plain(r, part, &begin, &end);
            if (end > where) {
                break;
            }
        }
        FUZZ_CHECK(part < n && begin <= where && where + 3 <= end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    size_t len = zero ? (size_t)(zero - data) : n;
    lk_template_input in = lk_template_input_default();
    lk_template *t;
    lk_rendering *r = NULL, *again = NULL;
    lk_error err = {0};
    lk_status status = lk_template_open(NULL, (const char *)data, len, &t, &err);
    if (status) {
        FUZZ_CHECK(status == LK_E_FORMAT || status == LK_E_UNSUPPORTED || status == LK_E_INVALID);
        FUZZ_CHECK(err.status == status && strncmp(err.message, "chat template", 13) == 0 && !t);
        return 0;
    }
    in.request = zero ? (const char *)zero + 1 : fallback;
    in.request_len = zero ? n - len - 1 : sizeof fallback - 1;
    in.args = "{\"now\": 0}";
    in.args_len = 10;
    status = lk_template_render(t, &in, &r, &err);
    if (status == LK_E_FORMAT) { /* no request */
        in.request = fallback;
        in.request_len = sizeof fallback - 1;
        status = lk_template_render(t, &in, &r, &err);
    }
    if (status) {
        FUZZ_CHECK(status == LK_E_INVALID && err.message[0]);
    } else {
        bool secret = in.request == fallback && !memmem(data, len, "\\u", 2) &&
                      !memmem(data, len, "\\U", 2) && !memmem(data, len, SECRET, 3) &&
                      !memmem(data, len, "%c", 2) && !memmem(data, len, ":c", 2);
        size_t a, b;
        if (secret) {
            check_marks(r);
        }
        FUZZ_CHECK(!lk_template_render(t, &in, &again, &err));
        const char *one = lk_rendering_text(r, &a), *two = lk_rendering_text(again, &b);
        FUZZ_CHECK(a == b && memcmp(one, two, a) == 0);
    }
    lk_rendering_close(&r);
    lk_rendering_close(&again);
    lk_template_close(&t);
    return 0;
}
