/* SPDX-License-Identifier: Apache-2.0
 *
 * Json_driver: reads documents from standard input and writes each back, for json_diff.py.
 * In: "OPTIONS DEPTH LENGTH\n" and LENGTH bytes; options are letters: a ensure_ascii, s sort_keys,
 * p pretty, c compact, - none. Out: "ok LENGTH\n" and bytes, or "error LENGTH\n" and the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/value/json.h"

static void answer(const char *word, const char *bytes, size_t n)
{
    printf("%s %zu\n", word, n);
    fwrite(bytes, 1, n, stdout);
    fflush(stdout);
}

static void one(const char *options, size_t depth, const char *text, size_t len)
{
    struct lk_region region = {.max_bytes = (size_t)1 << 28};
    struct lk_text_buffer out = {0};
    struct lk_value v;
    lk_error err = {0};
    struct lk_json_writing w = strchr(options, 'p')   ? lk_json_pretty()
                               : strchr(options, 'c') ? lk_json_compact()
                                                      : lk_json_default();
    w.ensure_ascii = strchr(options, 'a') != NULL;
    w.sort_keys = strchr(options, 's') != NULL;
    const struct lk_json_reading how = {.what = "document", .max_depth = depth};
    if (lk_json_read(&region, text, len, &how, &v, &err) || lk_json_write(&out, &v, &w, &err)) {
        answer("error", err.message, strlen(err.message));
    } else {
        answer("ok", out.bytes, out.n);
    }
    lk_text_free(&out);
    lk_region_free(&region);
}

int main(void)
{
    char options[9];
    size_t depth, len;
    while (scanf("%8s %zu %zu", options, &depth, &len) == 3 && getchar() == '\n') {
        char *text = malloc(len ? len : 1); /* exactly, so that a sanitizer sees one byte more */
        if (!text || fread(text, 1, len, stdin) != len) {
            free(text);
            return 1;
        }
        one(options, depth, text, len);
        free(text);
    }
    return 0;
}
