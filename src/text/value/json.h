/* SPDX-License-Identifier: Apache-2.0
 *
 * Json: JSON text (RFC 8259) to values and back. Values that are written look as Python's
 * json.dumps writes them, byte by byte, so that templates give what their authors saw.
 */
#ifndef LK_JSON_H
#define LK_JSON_H

#include "text/value/text_buffer.h"

enum { LK_JSON_MAX_DEPTH = 64, LK_JSON_MAX_DIGITS = 4300 };

struct lk_json_reading {
    const char *what; /* what errors call the text; NULL: "JSON" */
    size_t max_depth; /* lists and dicts inside of each other; 0: LK_JSON_MAX_DEPTH */
    unsigned flags;   /* LK_VALUE_TRUSTED for text that no stranger wrote, else 0 */
};

/* Reads one value; `options` may be NULL. All that it points to is in the region, whose limit
 * bounds the memory but for a work area of 24 bytes an open item. Time is linear (times a logarithm
 * in large dicts), without recursion.
 *
 * Numbers keep their text: a whole number that fits is LK_VALUE_INT, a larger one of up to
 * LK_JSON_MAX_DIGITS digits LK_VALUE_BIG, one with a point or an exponent LK_VALUE_FLOAT. A doubled
 * key's last value counts, in the place of the first. \u escapes of half a surrogate pair become
 * U+FFFD. LK_E_FORMAT with line, column and byte for anything that is not JSON: bytes that are no
 * UTF-8, raw control characters in strings, NaN and Infinity, text after the value, more depth than
 * allowed. LK_E_NOMEM where memory or the region's limit ends. */
lk_status lk_json_read(struct lk_region *region, const char *text, size_t len,
                       const struct lk_json_reading *options, struct lk_value *out, lk_error *err);

struct lk_json_writing {
    bool ensure_ascii;         /* \u escapes for all that is not ASCII */
    bool sort_keys;            /* by rising key */
    bool pretty;               /* items on lines of their own, */
    struct lk_value indent;    /* each level's begun with this string */
    struct lk_value item, key; /* separators, strings */
};

/* Of json.dumps(v), json.dumps(v, indent=2) and json.dumps(v, separators=(",", ":")); none of them
 * escapes what is not ASCII. */
struct lk_json_writing lk_json_default(void);
struct lk_json_writing lk_json_pretty(void);
struct lk_json_writing lk_json_compact(void);

/* Appends the text of v. Punctuation has the flags of the list or dict that it stands in. Keys that
 * are no strings become strings as in Python. LK_E_INVALID for values and keys that JSON does not
 * have, and for more than `LK_JSON_WRITE_DEPTH` lists and dicts inside of each other. */
enum { LK_JSON_WRITE_DEPTH = 256 };
lk_status lk_json_write(struct lk_text_buffer *to, const struct lk_value *v,
                        const struct lk_json_writing *options, lk_error *err);
/* A number, true, false or null as Python's json writes it; no string, list or dict. */
void lk_json_write_scalar(struct lk_text_buffer *to, const struct lk_value *v);

#endif
