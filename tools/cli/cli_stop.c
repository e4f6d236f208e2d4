/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop: see cli_stop.h.
 */
#include "tools/cli/cli_stop.h"

#include <string.h>

/* Bytes at the end of `held` that begin some stop string; *whole when they are one. */
static size_t longest_start(const struct cli_stop *s, bool *whole)
{
    size_t longest = 0, longest_whole = 0;
    for (size_t i = 0; i < s->strings->n; i++) {
        const char *stop = s->strings->item[i];
        size_t length = strlen(stop), most = length < s->held.n ? length : s->held.n;
        for (size_t n = most; n > longest || (n == length && n > longest_whole); n--) {
            if (memcmp(s->held.data + s->held.n - n, stop, n) == 0) {
                longest = n > longest ? n : longest;
                longest_whole = n == length && n > longest_whole ? n : longest_whole;
                break;
            }
        }
    }
    *whole = longest_whole > 0;
    return longest_whole ? longest_whole : longest;
}

bool cli_stop_put(struct cli_stop *s, const char *bytes, size_t n, struct cli_buffer *out,
                  bool *stopped)
{
    *stopped = false;
    for (size_t i = 0; i < n && !*stopped; i++) {
        if (!cli_append(&s->held, bytes + i, 1)) {
            return false;
        }
        size_t keep = longest_start(s, stopped), give = s->held.n - keep;
        if (!cli_append(out, s->held.data, give)) {
            return false;
        }
        memmove(s->held.data, s->held.data + give, keep);
        s->held.n = *stopped ? 0 : keep;
    }
    return true;
}

bool cli_stop_flush(struct cli_stop *s, struct cli_buffer *out)
{
    bool ok = cli_append(out, s->held.data, s->held.n);
    s->held.n = 0;
    return ok;
}
