/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_json: see answer_json.h. By the grammar of RFC 8259, but that control characters may stand
 * in strings as they are: models write them, and whoever passes them on escapes them.
 */
#include "text/answer/answer_json.h"

#include <string.h>

/* Where in a number: after what. */
enum { MINUS, ZERO, DIGITS, POINT, FRACTION, E, E_SIGN, EXPONENT };

static bool is_digit(unsigned char b)
{
    return b >= '0' && b <= '9';
}

static bool ends_number(int at)
{
    return at == ZERO || at == DIGITS || at == FRACTION || at == EXPONENT;
}

/* The state of a number after a byte, or -1 where it can't go on with it. */
static int number_next(int at, unsigned char b)
{
    switch (at) {
    case MINUS:
        return b == '0' ? ZERO : is_digit(b) ? DIGITS : -1;
    case ZERO:
    case DIGITS:
        return at == DIGITS && is_digit(b) ? DIGITS
               : b == '.'                  ? POINT
               : b == 'e' || b == 'E'      ? E
                                           : -1;
    case POINT:
    case FRACTION:
        return is_digit(b) ? FRACTION : at == FRACTION && (b == 'e' || b == 'E') ? E : -1;
    case E:
        return is_digit(b) ? EXPONENT : b == '+' || b == '-' ? E_SIGN : -1;
    default:
        return is_digit(b) ? EXPONENT : -1;
    }
}

static void end_value(struct lk_json_checker *c)
{
    c->state = c->depth ? LK_CHECK_AFTER : LK_CHECK_DONE;
}

static void open_container(struct lk_json_checker *c, bool object)
{
    if (c->depth == LK_CHECK_DEPTH) {
        c->state = LK_CHECK_BAD;
        return;
    }
    uint64_t bit = UINT64_C(1) << c->depth++;
    c->objects = object ? c->objects | bit : c->objects & ~bit;
    c->state = object ? LK_CHECK_KEY_OR_END : LK_CHECK_VALUE_OR_END;
}

static bool in_object(const struct lk_json_checker *c)
{
    return c->depth && (c->objects >> (c->depth - 1) & 1);
}

static void close_container(struct lk_json_checker *c, bool object)
{
    if (!c->depth || in_object(c) != object) {
        c->state = LK_CHECK_BAD;
        return;
    }
    c->depth--;
    end_value(c);
}

static void begin_word(struct lk_json_checker *c, const char *rest)
{
    c->word = rest;
    c->state = LK_CHECK_WORD;
}

static void begin_value(struct lk_json_checker *c, unsigned char b)
{
    switch (b) {
    case '{':
    case '[':
        open_container(c, b == '{');
        return;
    case '"':
        c->is_key = false;
        c->state = LK_CHECK_STRING;
        return;
    case 't':
        begin_word(c, "rue");
        return;
    case 'f':
        begin_word(c, "alse");
        return;
    case 'n':
        begin_word(c, "ull");
        return;
    default:
        c->number = b == '-' ? MINUS : b == '0' ? ZERO : DIGITS;
        c->state = b == '-' || is_digit(b) ? LK_CHECK_NUMBER : LK_CHECK_BAD;
    }
}

static void in_escape(struct lk_json_checker *c, unsigned char b)
{
    c->hex = 4;
    c->state = b == 'u'                       ? LK_CHECK_HEX
               : b && strchr("\"\\/bfnrt", b) ? LK_CHECK_STRING
                                              : LK_CHECK_BAD;
}

static void in_hex(struct lk_json_checker *c, unsigned char b)
{
    bool hex = is_digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F');
    c->state = !hex ? LK_CHECK_BAD : --c->hex ? LK_CHECK_HEX : LK_CHECK_STRING;
}

static void in_string(struct lk_json_checker *c, unsigned char b)
{
    if (b == '\\') {
        c->state = LK_CHECK_ESCAPE;
    } else if (b == '"' && c->is_key) {
        c->state = LK_CHECK_COLON;
    } else if (b == '"') {
        end_value(c);
    }
}

/* Between values. */
static void in_between(struct lk_json_checker *c, unsigned char b)
{
    bool may_end = c->state == LK_CHECK_KEY_OR_END || c->state == LK_CHECK_VALUE_OR_END ||
                   c->state == LK_CHECK_AFTER;
    if ((b == '}' || b == ']') && may_end) {
        close_container(c, b == '}');
    } else if (c->state == LK_CHECK_AFTER) {
        c->state = b != ',' ? LK_CHECK_BAD : in_object(c) ? LK_CHECK_KEY : LK_CHECK_VALUE;
    } else if (c->state == LK_CHECK_COLON) {
        c->state = b == ':' ? LK_CHECK_VALUE : LK_CHECK_BAD;
    } else if (c->state == LK_CHECK_KEY || c->state == LK_CHECK_KEY_OR_END) {
        c->is_key = true;
        c->state = b == '"' ? LK_CHECK_STRING : LK_CHECK_BAD;
    } else {
        begin_value(c, b);
    }
}

static void in_number(struct lk_json_checker *c, unsigned char b)
{
    int next = number_next(c->number, b);
    if (next >= 0) {
        c->number = next;
    } else if (!ends_number(c->number)) {
        c->state = LK_CHECK_BAD;
    } else {
        end_value(c);
        if (c->state == LK_CHECK_AFTER && !lk_is_blank((char)b)) {
            in_between(c, b);
        }
    }
}

enum lk_json_state lk_json_check_byte(struct lk_json_checker *c, unsigned char b)
{
    switch (c->state) {
    case LK_CHECK_STRING:
        in_string(c, b);
        break;
    case LK_CHECK_ESCAPE:
        in_escape(c, b);
        break;
    case LK_CHECK_HEX:
        in_hex(c, b);
        break;
    case LK_CHECK_NUMBER:
        in_number(c, b);
        break;
    case LK_CHECK_WORD:
        c->state = b == (unsigned char)*c->word ? LK_CHECK_WORD : LK_CHECK_BAD;
        if (c->state == LK_CHECK_WORD && !*++c->word) {
            end_value(c);
        }
        break;
    case LK_CHECK_DONE:
        c->state = LK_CHECK_BAD;
        break;
    case LK_CHECK_BAD:
        break;
    default:
        if (!lk_is_blank((char)b)) {
            in_between(c, b);
        }
    }
    return c->state;
}

bool lk_json_is_whole(const char *bytes, size_t n)
{
    struct lk_json_checker c = {0};
    while (n && lk_is_blank(bytes[n - 1])) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        bool bare_number = c.state == LK_CHECK_NUMBER && c.depth == 0;
        enum lk_json_state state = lk_json_check_byte(&c, (unsigned char)bytes[i]);
        bool early = state == LK_CHECK_DONE && (bare_number || i + 1 < n);
        if (state == LK_CHECK_BAD || early) {
            return false;
        }
    }
    return c.state == LK_CHECK_DONE ||
           (c.state == LK_CHECK_NUMBER && c.depth == 0 && ends_number(c.number));
}
