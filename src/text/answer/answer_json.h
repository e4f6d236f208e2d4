/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_json: JSON text checked byte by byte, so that it can be passed on before it is whole.
 * Knows nothing of calls.
 */
#ifndef LK_ANSWER_JSON_H
#define LK_ANSWER_JSON_H

#include "base/base.h"

enum { LK_CHECK_DEPTH = 64 };

enum lk_json_state {
    LK_CHECK_VALUE,        /* a value comes */
    LK_CHECK_VALUE_OR_END, /* after [ */
    LK_CHECK_KEY,          /* after a comma in an object */
    LK_CHECK_KEY_OR_END,   /* after { */
    LK_CHECK_COLON,
    LK_CHECK_AFTER, /* a value: a comma or the end of what it is in */
    LK_CHECK_STRING,
    LK_CHECK_ESCAPE,
    LK_CHECK_HEX,
    LK_CHECK_NUMBER,
    LK_CHECK_WORD,
    LK_CHECK_DONE,
    LK_CHECK_BAD
};

/* A zeroed one is before a value. */
struct lk_json_checker {
    enum lk_json_state state;
    int depth;
    uint64_t objects; /* bit i: what is open at depth i + 1 is an object */
    bool is_key;      /* the string is a key */
    int hex;          /* digits of a \u still to come */
    int number;       /* where in a number, an enum of answer_json.c */
    const char *word; /* what is left of true, false or null */
};

/* Goes on with a byte. LK_CHECK_DONE: the value ends with it, or, a number, before it. */
enum lk_json_state lk_json_check_byte(struct lk_json_checker *c, unsigned char byte);
/* Whether bytes[0..n), with white space around, are one whole value. */
bool lk_json_is_whole(const char *bytes, size_t n);

static inline bool lk_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

#endif
