/* SPDX-License-Identifier: Apache-2.0
 *
 * Base: errors, checked sizes, the log callback. Owns nothing; knows nothing above libc.
 */
#ifndef LK_BASE_H
#define LK_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lockstep.h"

#define LK_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Text on one line of a terminal that does nothing there: control characters and bytes that are no
 * UTF-8 as \n, \x1b or \u009b. Ends in "..." where it is cut to fit `cap`, always in a 0 (cap
 * > 0). Returns its length. */
size_t lk_show(char *out, size_t cap, const char *s, size_t n);

/* The same of the character or byte at s (n > 0 bytes are there); returns how many it takes. */
size_t lk_show_next(const char *s, size_t n, char out[8]);

/* Fills err (may be NULL) with a formatted line and returns status, so that a failing function
 * can `return lk_fail(err, LK_E_FORMAT, "...")`. Whatever the arguments held, the message is one
 * line that a terminal may be shown. */
__attribute__((format(printf, 3, 4))) lk_status lk_fail(lk_error *err, lk_status status,
                                                        const char *format, ...);

/* Puts "prefix: " before the message of a failure that is passed up. Returns err->status. */
__attribute__((format(printf, 3, 4))) lk_status lk_fail_prefix(lk_error *err, lk_status status,
                                                               const char *format, ...);

/* out = a * b and out = a + b; false, and out untouched, where that does not fit a size_t. */
bool lk_mul_size(size_t a, size_t b, size_t *out);
bool lk_add_size(size_t a, size_t b, size_t *out);

/* Options that a caller hands in, whose first member is their size: copied over the presets in
 * `options` as far as the caller's struct goes, which may be an older and shorter one. NULL: the
 * presets stay. LK_E_INVALID naming `what` when the size is larger than ours or too small to be. */
lk_status lk_options_take(void *options, size_t size, const void *given, const char *what,
                          lk_error *err);

/* n rounded up to a multiple of `to` (a power of two); no overflow check: n is known small. */
static inline size_t lk_round_up(size_t n, size_t to)
{
    return (n + to - 1) & ~(to - 1);
}

/* A log sink: where lines go and how much. Copied by value into whoever logs. Lines are made fit
 * for a terminal as messages are. */
struct lk_log {
    lk_log_fn fn; /* NULL: silence */
    void *user;
};
__attribute__((format(printf, 3, 4))) void lk_log_line(const struct lk_log *log, lk_log_level level,
                                                       const char *format, ...);

#endif
