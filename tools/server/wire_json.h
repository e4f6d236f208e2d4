/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_json: the body of a request as values that know their place and their own text, read with
 * errors that name the field; and JSON strings and numbers written. Over jansson. Knows no
 * protocol.
 */
#ifndef LK_SERVER_WIRE_JSON_H
#define LK_SERVER_WIRE_JSON_H

#include <jansson.h>

#include "tools/server/wire.h"

enum { WIRE_MAX_DEPTH = 60, WIRE_PATH = 128 };

/* A body that is read. The first refusal stays, and after it all functions here do nothing and give
 * what stands for nothing. */
struct wire_in {
    json_t *json; /* owned */
    struct wire_error *why;
    bool bad;
};

/* A value: what it is, and the bytes that spell it in the body, which must outlive it. */
struct wire_value {
    const json_t *json; /* NULL: there is none, or it is null */
    const char *text;
    size_t len;
};

/* Reads a body, which must be an object: UTF-8 without NUL characters, of at most WIRE_MAX_DEPTH
 * values inside of each other, no key twice in an object, numbers that fit 64 bits. */
struct wire_value wire_open(struct wire_in *in, const char *body, size_t len,
                            struct wire_error *why);
void wire_close(struct wire_in *in);
/* Any value that a text spells, with these flags of jansson's; NULL: none, or there is no memory.
 * Nothing else may read JSON: jansson alone is not safe where memory runs out. */
json_t *wire_load(const char *text, size_t len, size_t flags, bool *no_memory);
/* A value as a text, free()d by the caller; NULL: there is no memory, or no value. Nothing else may
 * write JSON: where memory runs out jansson alone leaves parts of the text out. */
char *wire_dump(const json_t *json);

/* Refuses a field: status 400; the message is "PATH: ..." where the path is not "". */
__attribute__((format(printf, 3, 4))) void wire_refuse(struct wire_in *in, const char *path,
                                                       const char *format, ...);
/* "PATH: found WHAT, expected EXPECTED". */
void wire_expected(struct wire_in *in, const char *path, struct wire_value found,
                   const char *expected);
void wire_nomem(struct wire_in *in); /* status 503 */

/* The path of a member or an item, as clients write it: "messages[2].content". */
void wire_path(char out[WIRE_PATH], const char *at, const char *key);
void wire_path_item(char out[WIRE_PATH], const char *at, size_t i);

/* The member of an object; nothing where the object is none, has none of that name, or null. */
struct wire_value wire_get(struct wire_value object, const char *key);
bool wire_has(struct wire_value object, const char *key); /* not null */
bool wire_is(struct wire_value string, const char *text);
size_t wire_length(struct wire_value array); /* 0 for all else */

/* Members of an object or items of an array, in the order of the text. */
struct wire_walk {
    const json_t *json;
    const char *at;
    void *iter;
    size_t index; /* of the value that came last, plus 1 */
};
struct wire_walk wire_begin(struct wire_value of);
bool wire_next(struct wire_walk *walk, const char **key, struct wire_value *out); /* key: or NULL */

/* Members of a type. False where there is none, *out stays then; refused where it is of another
 * type or out of its bounds. `at` is the object's path. */
bool wire_bool(struct wire_in *in, struct wire_value object, const char *at, const char *key,
               bool *out);
bool wire_int(struct wire_in *in, struct wire_value object, const char *at, const char *key,
              int64_t least, int64_t most, int64_t *out);
bool wire_real(struct wire_in *in, struct wire_value object, const char *at, const char *key,
               double least, double most, double *out);
/* The text belongs to the body's reader. */
bool wire_string(struct wire_in *in, struct wire_value object, const char *at, const char *key,
                 const char **out);
/* A copy of it, which replaces *out (free). */
bool wire_copy(struct wire_in *in, struct wire_value object, const char *at, const char *key,
               char **out);
struct wire_value wire_object(struct wire_in *in, struct wire_value object, const char *at,
                              const char *key);
struct wire_value wire_array(struct wire_in *in, struct wire_value object, const char *at,
                             const char *key);

char *wire_dup(struct wire_in *in, const char *text, size_t len); /* with a 0; NULL: refused */

/* ---- writing ---- */

/* A JSON string; bytes that are no UTF-8 become U+FFFD. */
void wire_quote(struct wire_text *out, const char *text, size_t len);
void wire_quotes(struct wire_text *out, const char *text);        /* 0-terminated; NULL: null */
void wire_quoted(struct wire_text *out, const char *s, size_t n); /* without the quotes around */
/* The shortest number that reads back as the same float; -9999 for -inf and NaN. */
void wire_float(struct wire_text *out, float x);
void wire_value_text(struct wire_text *out, struct wire_value v); /* as the client wrote it */

/* Bytes of the character at s[0..n), 0 where it is none. */
size_t wire_character(const char *s, size_t n);
bool wire_is_utf8(const char *s, size_t n);

#endif
