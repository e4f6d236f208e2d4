/* SPDX-License-Identifier: Apache-2.0
 *
 * Regex_class: sets of characters of a regular expression: escapes like \d, \u0041 and \p{L}, and
 * classes in brackets.
 */
#include "text/grammar/regex.h"

#include "base/utf8.h"

/* ---- categories ---- */

void lk_categories_free(struct lk_categories *c)
{
    lk_free(c->run);
    *c = (struct lk_categories){0};
}

/* How far the next character is that may be of another category. Among ideographs, syllables and
 * planes without characters, a row of 256 whose ends and middle are alike is so as a whole. */
static uint32_t step_from(uint32_t c)
{
    bool rows = (c >= 0x4E00 && c < 0xA000) || (c >= 0xAC00 && c < 0xD800) ||
                (c >= 0x40000 && c >> 12 != 0xE0);
    char first[2], middle[2], last[2];
    if (!rows || (c & 0xFF)) {
        return 1;
    }
    lk_utf8_category((int32_t)c, first);
    lk_utf8_category((int32_t)(c | 0x80), middle);
    lk_utf8_category((int32_t)(c | 0xFF), last);
    return memcmp(first, middle, 2) == 0 && memcmp(first, last, 2) == 0 ? 256 : 1;
}

static lk_status fill(struct lk_categories *c, lk_error *err)
{
    struct lk_categories made = {0};
    lk_status status = LK_OK;
    for (uint32_t cp = 0; cp <= LK_CHAR_LAST && !c->n && !status; cp += step_from(cp)) {
        char name[2];
        lk_utf8_category((int32_t)cp, name);
        if (made.n && memcmp(made.run[made.n - 1].name, name, 2) == 0) {
            continue;
        }
        status = lk_grow(&made.run, &made.cap, made.n + 1, sizeof *made.run, err);
        if (!status) {
            made.run[made.n++] = (struct lk_category_run){cp, {name[0], name[1]}};
        }
    }
    if (status) {
        lk_categories_free(&made);
    } else if (!c->n) {
        *c = made;
    }
    return status;
}

/* Long names of General_Category and their short ones. */
static const struct {
    const char *name, *category;
} LONG_NAMES[] = {{"Letter", "L"},
                  {"Cased_Letter", "LC"},
                  {"Uppercase_Letter", "Lu"},
                  {"Lowercase_Letter", "Ll"},
                  {"Titlecase_Letter", "Lt"},
                  {"Modifier_Letter", "Lm"},
                  {"Other_Letter", "Lo"},
                  {"Mark", "M"},
                  {"Nonspacing_Mark", "Mn"},
                  {"Spacing_Mark", "Mc"},
                  {"Enclosing_Mark", "Me"},
                  {"Number", "N"},
                  {"Decimal_Number", "Nd"},
                  {"digit", "Nd"},
                  {"Letter_Number", "Nl"},
                  {"Other_Number", "No"},
                  {"Punctuation", "P"},
                  {"punct", "P"},
                  {"Connector_Punctuation", "Pc"},
                  {"Dash_Punctuation", "Pd"},
                  {"Open_Punctuation", "Ps"},
                  {"Close_Punctuation", "Pe"},
                  {"Initial_Punctuation", "Pi"},
                  {"Final_Punctuation", "Pf"},
                  {"Other_Punctuation", "Po"},
                  {"Symbol", "S"},
                  {"Math_Symbol", "Sm"},
                  {"Currency_Symbol", "Sc"},
                  {"Modifier_Symbol", "Sk"},
                  {"Other_Symbol", "So"},
                  {"Separator", "Z"},
                  {"Space_Separator", "Zs"},
                  {"Line_Separator", "Zl"},
                  {"Paragraph_Separator", "Zp"},
                  {"Other", "C"},
                  {"Control", "Cc"},
                  {"cntrl", "Cc"},
                  {"Format", "Cf"},
                  {"Private_Use", "Co"},
                  {"Unassigned", "Cn"}};

static bool is(const char *name, size_t n, const char *what)
{
    return strlen(what) == n && memcmp(name, what, n) == 0;
}

static bool in_category(const char run[2], const char *name, size_t n)
{
    bool cased = n == 2 && name[0] == 'L' && name[1] == 'C';
    if (cased) {
        return run[0] == 'L' && (run[1] == 'u' || run[1] == 'l' || run[1] == 't');
    }
    return run[0] == name[0] && (n == 1 || run[1] == name[1]);
}

/* \p{name}, p->at behind the p. */
static lk_status property(struct lk_regex_parser *p, struct lk_char_set *to)
{
    size_t at = p->at, begin = at + 1, end = begin;
    if (at >= p->len || p->text[at] != '{') {
        return lk_regex_fail(p, LK_E_FORMAT, at, "expected '{' after \\p");
    }
    while (end < p->len && p->text[end] != '}') {
        end++;
    }
    if (end == p->len) {
        return lk_regex_fail(p, LK_E_FORMAT, at, "expected '}' after \\p{");
    }
    p->at = end + 1;
    const char *name = p->text + begin;
    size_t n = end - begin;
    static const char *const prefixes[] = {"General_Category=", "gc="};
    for (size_t i = 0; i < LK_COUNT(prefixes); i++) {
        size_t k = strlen(prefixes[i]);
        if (n > k && memcmp(name, prefixes[i], k) == 0) {
            name += k;
            n -= k;
        }
    }
    if (is(name, n, "Any") || is(name, n, "ASCII")) {
        return lk_chars_add(to, 0, is(name, n, "Any") ? LK_CHAR_LAST : 0x7F, p->err);
    }
    for (size_t i = 0; i < LK_COUNT(LONG_NAMES); i++) {
        if (is(name, n, LONG_NAMES[i].name)) {
            name = LONG_NAMES[i].category;
            n = strlen(name);
            break;
        }
    }
    struct lk_categories *c = p->options->categories;
    bool named = n == 1 || n == 2, any = false; /* the list takes a while to make */
    lk_status status = named ? fill(c, p->err) : LK_OK;
    for (size_t i = 0; i < c->n && !status && named; i++) {
        if (in_category(c->run[i].name, name, n)) {
            uint32_t last = i + 1 < c->n ? c->run[i + 1].first - 1 : LK_CHAR_LAST;
            status = lk_chars_add(to, c->run[i].first, last, p->err);
            any = true;
        }
    }
    if (!status && !any) {
        return lk_regex_fail(p, LK_E_UNSUPPORTED, at,
                             "\\p{} knows general categories alone, as in \\p{Lu}");
    }
    return status;
}

/* ---- escapes ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* n digits at p->at; false, and nothing read, when they are not there. */
static bool read_hex(struct lk_regex_parser *p, size_t n, uint32_t *value)
{
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        int d = p->at + i < p->len ? hex_digit(p->text[p->at + i]) : -1;
        if (d < 0) {
            return false;
        }
        *value = *value * 16 + (uint32_t)d;
    }
    p->at += n;
    return true;
}

/* \uXXXX, a pair of them or \u{X}, p->at behind the u. */
static lk_status unicode_escape(struct lk_regex_parser *p, uint32_t *c)
{
    size_t at = p->at;
    uint32_t low;
    *c = 0;
    if (at < p->len && p->text[at] == '{') {
        size_t end = at + 1;
        while (end < p->len && hex_digit(p->text[end]) >= 0 && *c <= LK_CHAR_LAST) {
            *c = *c * 16 + (uint32_t)hex_digit(p->text[end++]);
        }
        if (end == at + 1 || end == p->len || p->text[end] != '}' || *c > LK_CHAR_LAST) {
            return lk_regex_fail(p, LK_E_FORMAT, at, "expected \\u{1F600} or the like");
        }
        p->at = end + 1;
        return LK_OK;
    }
    if (!read_hex(p, 4, c)) {
        return lk_regex_fail(p, LK_E_FORMAT, at, "expected four hexadecimal digits after \\u");
    }
    if (*c >= 0xD800 && *c <= 0xDBFF && p->at + 1 < p->len && p->text[p->at] == '\\' &&
        p->text[p->at + 1] == 'u') {
        size_t before = p->at;
        p->at += 2;
        if (read_hex(p, 4, &low) && low >= 0xDC00 && low <= 0xDFFF) {
            *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
        } else {
            p->at = before;
        }
    }
    return LK_OK;
}

/* \d, \w, \s and their complements. */
static lk_status shorthand(struct lk_regex_parser *p, char letter, struct lk_char_set *to)
{
    static const struct lk_char_range digits[] = {{'0', '9'}};
    static const struct lk_char_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct lk_char_range space[] = {{0x09, 0x0D},     {0x20, 0x20},
                                                 {0xA0, 0xA0},     {0x1680, 0x1680},
                                                 {0x2000, 0x200A}, {0x2028, 0x2029},
                                                 {0x202F, 0x202F}, {0x205F, 0x205F},
                                                 {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    char lower = (char)(letter | 0x20);
    const struct lk_char_range *r = lower == 'd' ? digits : lower == 'w' ? word : space;
    size_t n = lower == 'd' ? LK_COUNT(digits) : lower == 'w' ? LK_COUNT(word) : LK_COUNT(space);
    struct lk_char_set set = {0};
    lk_status status = LK_OK;
    for (size_t i = 0; i < n && !status; i++) {
        status = lk_chars_add(&set, r[i].first, r[i].last, p->err);
    }
    if (!status && letter != lower) {
        status = lk_chars_negate(&set, p->err);
    }
    if (!status) {
        status = lk_chars_add_all(to, &set, p->err);
    }
    lk_chars_free(&set);
    return status;
}

static lk_status complement_of_property(struct lk_regex_parser *p, struct lk_char_set *to)
{
    struct lk_char_set set = {0};
    lk_status status = property(p, &set);
    if (!status) {
        status = lk_chars_negate(&set, p->err);
    }
    if (!status) {
        status = lk_chars_add_all(to, &set, p->err);
    }
    lk_chars_free(&set);
    return status;
}

/* An escape that stands for one character; its letter has been read. */
static lk_status one_char(struct lk_regex_parser *p, size_t at, uint32_t letter, bool in_class,
                          uint32_t *c)
{
    static const char letters[] = "tnvfr0", chars[] = "\t\n\v\f\r\0";
    const char *known = letter && letter < 0x80 ? strchr(letters, (int)letter) : NULL;
    char next = p->at < p->len ? p->text[p->at] : 0;
    if (letter >= '1' && letter <= '9') {
        return lk_regex_fail(p, LK_E_UNSUPPORTED, at, "backreferences are not supported");
    }
    if (letter == '0' && next >= '0' && next <= '9') {
        return lk_regex_fail(p, LK_E_FORMAT, at, "octal escapes are no regular expressions here");
    }
    if (known) {
        *c = (unsigned char)chars[known - letters];
        return LK_OK;
    }
    if (letter == 'b' && in_class) {
        *c = '\b';
        return LK_OK;
    }
    if (letter == 'x') {
        return read_hex(p, 2, c)
                   ? LK_OK
                   : lk_regex_fail(p, LK_E_FORMAT, at, "expected two hexadecimal digits after \\x");
    }
    if (letter == 'u') {
        return unicode_escape(p, c);
    }
    if (letter == 'c') {
        char upper = (char)(next & ~0x20);
        if (upper < 'A' || upper > 'Z') {
            return lk_regex_fail(p, LK_E_FORMAT, at, "expected a letter after \\c");
        }
        p->at++;
        *c = (uint32_t)(upper - 'A' + 1);
        return LK_OK;
    }
    bool alphabetic = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (alphabetic) {
        return lk_regex_fail(p, LK_E_UNSUPPORTED, at, "\\%c is not supported", (int)letter);
    }
    *c = letter;
    return LK_OK;
}

lk_status lk_regex_escape(struct lk_regex_parser *p, bool in_class, struct lk_char_set *to)
{
    size_t at = p->at;
    uint32_t letter, c = 0;
    lk_status status = at < p->len ? lk_regex_char(p, &letter)
                                   : lk_regex_fail(p, LK_E_FORMAT, at, "nothing after '\\'");
    if (status) {
        return status;
    }
    if (letter && letter < 0x80 && strchr("dDwWsS", (int)letter)) {
        return shorthand(p, (char)letter, to);
    }
    if (letter == 'p') {
        return property(p, to);
    }
    if (letter == 'P') {
        return complement_of_property(p, to);
    }
    status = one_char(p, at, letter, in_class, &c);
    return status ? status : lk_chars_add(to, c, c, p->err);
}

/* ---- classes ---- */

/* One member of a class; *single tells whether it is one character, which may begin a range. */
static lk_status member(struct lk_regex_parser *p, struct lk_char_set *to, bool *single,
                        uint32_t *c)
{
    lk_status status;
    *single = true;
    if (p->text[p->at] != '\\') {
        status = lk_regex_char(p, c);
        return status ? status : lk_chars_add(to, *c, *c, p->err);
    }
    struct lk_char_set set = {0};
    p->at++;
    status = lk_regex_escape(p, true, &set);
    *single = set.n == 1 && set.range[0].first == set.range[0].last;
    *c = set.n ? set.range[0].first : 0;
    if (!status) {
        status = lk_chars_add_all(to, &set, p->err);
    }
    lk_chars_free(&set);
    return status;
}

lk_status lk_regex_class(struct lk_regex_parser *p, struct lk_char_set *to)
{
    size_t begin = p->at - 1;
    bool negated = p->at < p->len && p->text[p->at] == '^';
    lk_status status = LK_OK;
    p->at += negated;
    while (p->at < p->len && p->text[p->at] != ']' && !status) {
        bool single, also;
        uint32_t first, last;
        size_t at = p->at;
        status = member(p, to, &single, &first);
        bool range =
            !status && p->at + 1 < p->len && p->text[p->at] == '-' && p->text[p->at + 1] != ']';
        if (!range) {
            continue;
        }
        p->at++;
        status = member(p, to, &also, &last);
        if (!status && single && also && first <= last) {
            status = lk_chars_add(to, first, last, p->err);
        } else if (!status && single && also) {
            status = lk_regex_fail(p, LK_E_FORMAT, at, "a range of characters that runs backwards");
        } else if (!status) {
            status = lk_chars_add(to, '-', '-', p->err); /* [\w-.]: no range */
        }
    }
    if (!status && p->at == p->len) {
        status = lk_regex_fail(p, LK_E_FORMAT, begin, "'[' without ']'");
    }
    p->at++;
    if (!status && negated) {
        status = lk_chars_negate(to, p->err);
    }
    return status;
}
