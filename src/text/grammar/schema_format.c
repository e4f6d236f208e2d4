/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_format: the formats of strings that are known, as regular expressions from the grammars of
 * their RFCs. What can't be said so is left out: leap seconds but for 23:59:60Z, and
 * internationalized (xn--) labels of host names.
 */
#include "text/grammar/schema.h"

/* RFC 3339. */
#define LEAP_YEAR "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
#define DATE                                                                                       \
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"                                \
    "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|" LEAP_YEAR "-02-29)"
#define ZONE "(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define TIME                                                                                       \
    "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?" ZONE                         \
    "|23:59:60(?:\\.[0-9]{1,9})?[zZ])"

/* RFC 3339, appendix A. */
#define DAYS     "(?:[0-9]+D)"
#define MONTHS   "(?:[0-9]+M" DAYS "?)"
#define YEARS    "(?:[0-9]+Y" MONTHS "?)"
#define SECONDS  "(?:[0-9]+S)"
#define MINUTES  "(?:[0-9]+M" SECONDS "?)"
#define HOURS    "(?:[0-9]+H" MINUTES "?)"
#define TIMES    "(?:T(?:" HOURS "|" MINUTES "|" SECONDS "))"
#define DURATION "P(?:(?:" DAYS "|" MONTHS "|" YEARS ")" TIMES "?|" TIMES "|[0-9]+W)"

/* RFC 1123; at most 253 characters are asked for apart. */
#define LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define HOST  LABEL "(?:\\." LABEL ")*"

/* RFC 3986, 3.2.2. */
#define BYTE "(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
#define IPV4 "(?:" BYTE "\\.){3}" BYTE
#define H16  "[0-9a-fA-F]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                       \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32      \
    "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16             \
    ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16       \
    ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16   \
    ")?::)"

/* RFC 5321, 4.1.2 and 4.1.3. */
#define ATOM    "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
#define QUOTED  "\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\""
#define LITERAL "\\[(?:" IPV4 "|[iI][pP][vV]6:" IPV6 ")\\]"
#define EMAIL   "(?:" ATOM "(?:\\." ATOM ")*|" QUOTED ")@(?:" HOST "|" LITERAL ")"

/* RFC 3986. */
#define PERCENT  "%[0-9a-fA-F]{2}"
#define USER     "(?:[a-zA-Z0-9._~!$&'()*+,;=:-]|" PERCENT ")*"
#define REG_NAME "(?:[a-zA-Z0-9._~!$&'()*+,;=-]|" PERCENT ")*"
#define PCHAR    "(?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|" PERCENT ")"
#define PCHAR_NC "(?:[a-zA-Z0-9._~!$&'()*+,;=@-]|" PERCENT ")"
#define AUTHORITY                                                                                  \
    "(?:" USER "@)?(?:\\[(?:" IPV6                                                                 \
    "|[vV][0-9a-fA-F]+\\.[a-zA-Z0-9._~!$&'()*+,;=:-]+)\\]|" REG_NAME ")(?::[0-9]*)?"
#define ABEMPTY  "(?:/" PCHAR "*)*"
#define ABSOLUTE "/(?:" PCHAR "+" ABEMPTY ")?"
#define QUERY    "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define SCHEME   "[a-zA-Z][a-zA-Z0-9+.-]*:"
#define URI      SCHEME "(?://" AUTHORITY ABEMPTY "|" ABSOLUTE "|" PCHAR "+" ABEMPTY "|)" QUERY
#define RELATIVE "(?://" AUTHORITY ABEMPTY "|" ABSOLUTE "|" PCHAR_NC "+" ABEMPTY "|)" QUERY

/* RFC 6901. */
#define POINTER "(?:/(?:[^~/]|~[01])*)*"

static const struct {
    const char *name, *regex;
    uint32_t max; /* characters; 0: no limit */
} FORMATS[] = {{"date-time", DATE "[tT]" TIME, 0},
               {"date", DATE, 0},
               {"time", TIME, 0},
               {"duration", DURATION, 0},
               {"email", EMAIL, 0},
               {"hostname", HOST, 253},
               {"ipv4", IPV4, 0},
               {"ipv6", IPV6, 0},
               {"uuid", "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", 0},
               {"uri", URI, 0},
               {"uri-reference", "(?:" URI "|" RELATIVE ")", 0},
               {"json-pointer", POINTER, 0},
               {"relative-json-pointer", "(?:0|[1-9][0-9]*)(?:#|" POINTER ")", 0}};

static const struct {
    const char *name, *low, *high;
} NUMBERS[] = {{"int32", "-2147483648", "2147483647"},
               {"int64", "-9223372036854775808", "9223372036854775807"},
               {"float", NULL, NULL},
               {"double", NULL, NULL}};

bool lk_format_of_numbers(const struct lk_value *name, const char **low, const char **high)
{
    for (size_t i = 0; i < LK_COUNT(NUMBERS); i++) {
        if (lk_value_is(name, NUMBERS[i].name)) {
            *low = NUMBERS[i].low;
            *high = NUMBERS[i].high;
            return true;
        }
    }
    return false;
}

/* Labels of a host name whose third and fourth characters are hyphens. */
static uint32_t reserved_labels(struct lk_schema *s, enum lk_spelling how)
{
    struct lk_exprs *x = s->x;
    uint32_t any = lk_any_char(x, how), all = lk_expr_repeat(x, any, 0, LK_NO_LIMIT);
    uint32_t dot = lk_expr_byte(x, '.'), dash = lk_expr_byte(x, '-');
    uint32_t e = lk_expr_cat(x, dash, lk_expr_cat(x, dash, all));
    e = lk_expr_cat(x, any, lk_expr_cat(x, any, e));
    uint32_t before = lk_expr_cat(x, all, dot);
    return lk_expr_cat(x, lk_expr_repeat(x, before, 0, 1), e);
}

lk_status lk_schema_format(struct lk_schema *s, uint32_t loc, enum lk_spelling how, uint32_t *e)
{
    const struct lk_value *name = s->loc[loc].v;
    const struct lk_regex_options o = {.how = how, .categories = &s->categories};
    for (size_t i = 0; i < LK_COUNT(FORMATS); i++) {
        if (!lk_value_is(name, FORMATS[i].name)) {
            continue;
        }
        const char *regex = FORMATS[i].regex;
        lk_status status = lk_regex_expr(s->x, regex, strlen(regex), &o, e, s->err);
        if (status) {
            return lk_schema_fail(s, status, loc, NULL, "%s", s->err->message);
        }
        if (FORMATS[i].max) {
            uint32_t few = lk_expr_repeat(s->x, lk_any_char(s->x, how), 0, FORMATS[i].max);
            *e = lk_expr_and(s->x, *e, few);
            *e = lk_expr_and(s->x, *e, lk_expr_not(s->x, reserved_labels(s, how)));
        }
        return LK_OK;
    }
    char shown[65];
    size_t n = name->n < 64 ? name->n : 64;
    memcpy(shown, name->text, n);
    shown[n] = 0;
    return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, NULL, "format '%s' is not supported", shown);
}
