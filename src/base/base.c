/* SPDX-License-Identifier: Apache-2.0
 *
 * Base: see base.h.
 */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum { FORMATTED = 2048 };

/* Formats into `out` what lk_show makes of it. */
__attribute__((format(printf, 3, 0))) static size_t show_format(char *out, size_t cap,
                                                                const char *format, va_list args)
{
    char text[FORMATTED];
    int n = vsnprintf(text, sizeof text, format, args);
    size_t length = n < 0 ? 0 : (size_t)n;
    if (length >= sizeof text) {
        length = sizeof text - 1;
        length -= lk_utf8_open_end(text, length);
    }
    return lk_show(out, cap, text, length);
}

lk_status lk_fail(lk_error *err, lk_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        show_format(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

lk_status lk_fail_prefix(lk_error *err, lk_status status, const char *format, ...)
{
    if (err) {
        char rest[sizeof err->message];
        memcpy(rest, err->message, sizeof rest);
        va_list args;
        va_start(args, format);
        size_t n = show_format(err->message, sizeof err->message, format, args);
        va_end(args);
        if (n + 3 < sizeof err->message) {
            memcpy(err->message + n, ": ", 2);
            lk_show(err->message + n + 2, sizeof err->message - n - 2, rest, strlen(rest));
        }
        err->status = status;
    }
    return status;
}

bool lk_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

bool lk_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

void lk_log_line(const struct lk_log *log, lk_log_level level, const char *format, ...)
{
    if (!log || !log->fn) {
        return;
    }
    char line[1024];
    va_list args;
    va_start(args, format);
    show_format(line, sizeof line, format, args);
    va_end(args);
    log->fn(log->user, level, line);
}

const char *lk_status_name(lk_status status)
{
    switch (status) {
    case LK_OK:
        return "ok";
    case LK_E_INVALID:
        return "invalid argument";
    case LK_E_IO:
        return "input/output error";
    case LK_E_FORMAT:
        return "broken file";
    case LK_E_UNSUPPORTED:
        return "not supported";
    case LK_E_NOMEM:
        return "out of memory";
    case LK_E_DEVICE:
        return "device error";
    case LK_E_DEVICE_LOST:
        return "device lost";
    case LK_E_RANGE:
        return "value out of range";
    case LK_E_FULL:
        return "context full";
    case LK_E_CANCELLED:
        return "cancelled";
    case LK_E_INTERNAL:
        return "internal error";
    }
    return "unknown status";
}

lk_status lk_options_take(void *options, size_t size, const void *given, const char *what,
                          lk_error *err)
{
    size_t n;
    if (!given) {
        return LK_OK;
    }
    memcpy(&n, given, sizeof n);
    if (n < sizeof n || n > size) {
        return lk_fail(
            err, LK_E_INVALID,
            "%s options: size is %zu, expected at most %zu; make them with their default "
            "function",
            what, n, size);
    }
    memcpy(options, given, n);
    memcpy(options, &size, sizeof size);
    return LK_OK;
}
