/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_parse: see http_parse.h.
 */
#include <string.h>

#include "tools/server/http_parse.h"

enum {
    CHUNK_LINE = 256,    /* a chunk's size with its extensions */
    CHUNK_TRAILER = 8192 /* all trailers */
};

/* ---- characters ---- */

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http_is_token(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_token_char((unsigned char)text[i])) {
            return false;
        }
    }
    return n > 0;
}

bool http_is_value(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool http_same_name(const char *a, const char *b)
{
    size_t n = strlen(a);
    return n == strlen(b) && same(a, b, n);
}

bool http_list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    while (*list) {
        list += strspn(list, ", \t");
        size_t len = strcspn(list, ","), bare = len;
        while (bare && (list[bare - 1] == ' ' || list[bare - 1] == '\t')) {
            bare--;
        }
        if (bare == n && same(list, word, n)) {
            return true;
        }
        list += len;
    }
    return false;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool http_percent_decode(char *text, bool plus_is_space)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        int c = (unsigned char)*in;
        if (c == '%') {
            int high = hex(in[1]), low = high < 0 ? -1 : hex(in[2]);
            if (low < 0) {
                return false;
            }
            c = high * 16 + low;
            in += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        *out++ = (char)c;
    }
    *out = 0;
    return true;
}

/* ---- head ---- */

int http_head_check(const char *bytes, size_t n)
{
    bool method = true;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        bool wrong = c == 0x7f || (c < 0x20 && c != '\t');
        if (c == '\r') {
            wrong = i + 1 < n && bytes[i + 1] != '\n';
        } else if (c == '\n') {
            wrong = !i || bytes[i - 1] != '\r';
        } else if (method) {
            method = c != ' ';
            wrong = wrong || (method && !is_token_char(c));
        }
        if (wrong) {
            return 400;
        }
    }
    return 0;
}

const char *http_head_field(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->n_fields; i++) {
        if (http_same_name(head->field[i].name, name)) {
            return head->field[i].value;
        }
    }
    return NULL;
}

static size_t count_of(const struct http_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        n += http_same_name(head->field[i].name, name);
    }
    return n;
}

static int refuse(int status, const char *message, const char **why)
{
    *why = message;
    return status;
}

static bool read_query(struct http_head *out, char *query)
{
    char *rest = query;
    while (rest && *rest && out->n_query < HTTP_MAX_QUERY) {
        char *pair = rest, *next = strchr(rest, '&');
        rest = next ? next + 1 : NULL;
        if (next) {
            *next = 0;
        }
        char *value = strchr(pair, '=');
        struct http_pair *p = &out->query[out->n_query];
        p->name = pair;
        p->value = value ? value + 1 : pair + strlen(pair);
        if (value) {
            *value = 0;
        }
        if (!http_percent_decode(p->name, true) || !http_percent_decode(p->value, true)) {
            return false;
        }
        out->n_query += *p->name != 0;
    }
    return !rest || !*rest;
}

static bool begins(const char *text, const char *with)
{
    size_t n = strlen(with);
    return strlen(text) >= n && same(text, with, n);
}

/* origin-form, absolute-form (which brings a host), or the asterisk of OPTIONS. */
static int read_target(struct http_head *out, char *target, const char **why)
{
    if (strcmp(target, "*") == 0 && strcmp(out->method, "OPTIONS") == 0) {
        out->asterisk = true;
        out->path = target;
        return 0;
    }
    size_t scheme = begins(target, "http://") ? 7 : begins(target, "https://") ? 8 : 0;
    if (scheme) {
        /* The host moves to the front, where the scheme was, to be ended by a 0. */
        size_t n = strcspn(target + scheme, "/?");
        memmove(target, target + scheme, n);
        out->host = target;
        char *path = target + scheme + n;
        target[n] = 0;
        target = path;
        if (*target == '?' || !*target) {
            *--target = '/';
        }
    }
    if (*target != '/') {
        return refuse(400, "the request's target is no path", why);
    }
    char *hash = strchr(target, '#');
    char *query = strchr(target, '?');
    if (hash) {
        return refuse(400, "the request's target has a '#'", why);
    }
    if (query) {
        *query++ = 0;
    }
    if (!http_percent_decode(target, false)) {
        return refuse(400, "the path is not percent-encoded as it should be", why);
    }
    if (query && !read_query(out, query)) {
        return refuse(400, "the query is not percent-encoded as it should be, or too long", why);
    }
    out->path = target;
    return 0;
}

static int read_request_line(struct http_head *out, char *line, const char **why)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version || strchr(version + 1, ' ') || target == line) {
        return refuse(400, "the request line is not METHOD TARGET VERSION", why);
    }
    *target++ = 0;
    *version++ = 0;
    if (!http_is_token(line, strlen(line))) {
        return refuse(400, "the method has characters that none has", why);
    }
    for (const char *p = target; *p; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f) {
            return refuse(400, "the request's target has characters that must be encoded", why);
        }
    }
    if (strncmp(version, "HTTP/", 5) != 0 || strlen(version) != 8 || version[6] != '.') {
        return refuse(400, "the request line does not end in a version", why);
    }
    if (version[5] != '1' || (version[7] != '0' && version[7] != '1')) {
        return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here", why);
    }
    out->method = line;
    out->minor = version[7] - '0';
    return read_target(out, target, why);
}

static int read_field(struct http_head *out, char *line, const char **why)
{
    char *colon = strchr(line, ':');
    if (!colon || !http_is_token(line, (size_t)(colon - line))) {
        return refuse(400, "a header field is not NAME: VALUE on one line", why);
    }
    if (out->n_fields == HTTP_MAX_FIELDS) {
        return refuse(431, "more header fields than are taken", why);
    }
    *colon = 0;
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t n = strlen(value);
    while (n && (value[n - 1] == ' ' || value[n - 1] == '\t')) {
        value[--n] = 0;
    }
    if (!http_is_value(value, n)) {
        return refuse(400, "a header field has control characters", why);
    }
    out->field[out->n_fields++] = (struct http_pair){line, value};
    return 0;
}

static int read_length(struct http_head *out, const char **why)
{
    const char *length = http_head_field(out, "Content-Length");
    const char *coding = http_head_field(out, "Transfer-Encoding");
    if (count_of(out, "Content-Length") > 1 || count_of(out, "Transfer-Encoding") > 1 ||
        (length && coding)) {
        return refuse(400, "the body's length is given twice", why);
    }
    if (coding) {
        if (out->minor == 0) {
            return refuse(400, "HTTP/1.0 knows no transfer coding", why);
        }
        if (!http_same_name(coding, "chunked")) {
            return refuse(501, "the only transfer coding that is taken is chunked", why);
        }
        out->chunked = true;
    }
    if (length) {
        size_t n = strlen(length);
        if (n == 0 || strspn(length, "0123456789") != n) {
            return refuse(400, "Content-Length is not a number of bytes", why);
        }
        if (n > 18) {
            return refuse(413, "Content-Length is more than any body that is taken", why);
        }
        for (const char *p = length; *p; p++) {
            out->body = out->body * 10 + (uint64_t)(*p - '0');
        }
    }
    return 0;
}

static int read_rest(struct http_head *out, const char **why)
{
    if (count_of(out, "Host") > 1) {
        return refuse(400, "there are two Host fields", why);
    }
    const char *host = http_head_field(out, "Host");
    if (!host && out->minor == 1) {
        return refuse(400, "HTTP/1.1 needs a Host field", why);
    }
    if (!out->host) {
        out->host = (char *)host;
    }
    bool close = false, keep = false;
    for (size_t i = 0; i < out->n_fields; i++) {
        if (http_same_name(out->field[i].name, "Connection")) {
            close = close || http_list_has(out->field[i].value, "close");
            keep = keep || http_list_has(out->field[i].value, "keep-alive");
        }
    }
    out->keep = !close && (out->minor == 1 || keep);
    const char *expect = http_head_field(out, "Expect");
    if (expect && out->minor == 1) {
        if (!http_same_name(expect, "100-continue")) {
            return refuse(417, "the only expectation that is met is 100-continue", why);
        }
        out->expects = true;
    }
    return read_length(out, why);
}

int http_head_parse(char *text, size_t n, struct http_head *out, const char **why)
{
    memset(out, 0, sizeof *out);
    text[n] = 0;
    if (strlen(text) != n || http_head_check(text, n)) {
        return refuse(400, "the request has bytes that no header has", why);
    }
    int status = 0;
    bool first = true;
    for (char *line = text; status == 0;) {
        char *end = strstr(line, "\r\n");
        if (!end) {
            return refuse(400, "a line of the header does not end", why);
        }
        *end = 0;
        if (!*line && !first) {
            return read_rest(out, why);
        }
        status = first ? read_request_line(out, line, why) : read_field(out, line, why);
        first = false;
        line = end + 2;
    }
    return status;
}

/* ---- chunks ---- */

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LF };

/* A byte of the frames. */
static int frame(struct http_chunks *c, char byte)
{
    int digit;
    switch (c->state) {
    case SIZE:
        digit = hex(byte);
        if (digit >= 0) {
            if (c->left >> 56) {
                return 413;
            }
            c->left = c->left * 16 + (uint64_t)digit;
            c->digits = true;
            break;
        }
        if (!c->digits) {
            return 400;
        }
        c->state = byte == '\r' ? SIZE_LF : EXTENSION;
        return byte == '\r' || byte == ';' || byte == ' ' || byte == '\t' ? 0 : 400;
    case EXTENSION:
        if (byte == '\r') {
            c->state = SIZE_LF;
        } else if (!http_is_value(&byte, 1)) {
            return 400;
        }
        break;
    case SIZE_LF:
        c->state = c->left ? DATA : TRAILER;
        c->line = 0;
        return byte == '\n' ? 0 : 400;
    case DATA_CR:
        c->state = DATA_LF;
        return byte == '\r' ? 0 : 400;
    case DATA_LF:
        c->state = SIZE;
        c->line = 0;
        c->digits = false;
        return byte == '\n' ? 0 : 400;
    case TRAILER:
        if (byte == '\r') {
            c->state = TRAILER_LF;
        } else if (!http_is_value(&byte, 1)) {
            return 400;
        } else {
            c->digits = false; /* the line is not empty */
        }
        break;
    case TRAILER_LF:
        c->done = c->digits;
        c->digits = true;
        c->state = TRAILER;
        return byte == '\n' ? 0 : 400;
    default:
        break;
    }
    return 0;
}

int http_chunks_read(struct http_chunks *c, const char *bytes, size_t n, size_t *used,
                     const char **data, size_t *n_data)
{
    *used = *n_data = 0;
    *data = bytes;
    while (*used < n && !c->done) {
        if (c->state == DATA) {
            uint64_t left = n - *used;
            *n_data = (size_t)(left < c->left ? left : c->left);
            *data = bytes + *used;
            *used += *n_data;
            c->left -= *n_data;
            c->state = c->left ? DATA : DATA_CR;
            return 0;
        }
        size_t *counted = c->state == TRAILER || c->state == TRAILER_LF ? &c->trailer : &c->line;
        if (++*counted > (counted == &c->line ? (size_t)CHUNK_LINE : (size_t)CHUNK_TRAILER)) {
            return 431;
        }
        int status = frame(c, bytes[(*used)++]);
        if (status) {
            return status;
        }
    }
    return 0;
}
