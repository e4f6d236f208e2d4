/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_parse: the grammar of HTTP/1.x requests (RFC 9112) over bytes in memory: a head taken apart,
 * a chunked body's frames, percent-encoding. Strict where a proxy in front might read the same
 * bytes in another way: a bare LF, a folded line, two lengths are errors. Knows no sockets.
 */
#ifndef LK_SERVER_HTTP_PARSE_H
#define LK_SERVER_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_MAX_FIELDS = 100, HTTP_MAX_QUERY = 32 };

struct http_pair {
    char *name, *value;
};

/* All text lies in the head that was given to http_head_parse. */
struct http_head {
    char *method;
    char *path; /* decoded */
    struct http_pair query[HTTP_MAX_QUERY];
    size_t n_query;
    struct http_pair field[HTTP_MAX_FIELDS];
    size_t n_fields;
    char *host;    /* of an absolute target, else the Host field; NULL: none */
    int minor;     /* HTTP/1.minor, 0 or 1 */
    bool keep;     /* the connection may be used again */
    bool chunked;  /* the body is */
    bool expects;  /* 100-continue */
    uint64_t body; /* bytes of it, if not chunked */
    bool asterisk; /* OPTIONS * */
};

/* Whether the first `n` bytes of a head, or of a part of it, can still become one: 0, or the status
 * that refuses them. */
int http_head_check(const char *bytes, size_t n);
/* Takes apart a whole head, "GET / HTTP/1.1\r\n...\r\n\r\n", in place; text[n] must be writable.
 * Returns 0, or the status of the reply that refuses it, with *why: static, one line. */
int http_head_parse(char *text, size_t n, struct http_head *out, const char **why);
const char *http_head_field(const struct http_head *head, const char *name); /* or NULL */

/* The frames of a chunked body. All zero at first. */
struct http_chunks {
    int state;
    uint64_t left;  /* of the present chunk's bytes */
    size_t line;    /* bytes of the present line of frames */
    size_t trailer; /* bytes of trailers, which are read and left out */
    bool digits, done;
};
/* Reads on in `bytes`: *used of them were read, of which data[0 .. *n_data) are the body's next (a
 * part of bytes). Returns 0, or the status that refuses it. Call until all are used or it is done.
 */
int http_chunks_read(struct http_chunks *c, const char *bytes, size_t n, size_t *used,
                     const char **data, size_t *n_data);

/* In place; false where a '%' has no two hexadecimal digits or the result has control characters.
 */
bool http_percent_decode(char *text, bool plus_is_space);
bool http_is_token(const char *text, size_t n);    /* a name of a field or method */
bool http_is_value(const char *text, size_t n);    /* of a field */
bool http_same_name(const char *a, const char *b); /* without regard to ASCII case */
/* One word of a list with commas, without regard to case: "close" in "keep-alive, close". */
bool http_list_has(const char *list, const char *word);

#endif
