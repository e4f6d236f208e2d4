/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_json: see wire_json.h. Jansson reads the values; their own text is found again by a walk
 * over the body, which is known to be JSON by then, beside jansson's members and items, whose order
 * is that of the text.
 */
#include "tools/server/wire_json.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct wire_value NOTHING;

/* ---- refusals ---- */

void wire_refuse(struct wire_in *in, const char *path, const char *format, ...)
{
    struct wire_error *why = in->why;
    if (in->bad) {
        return;
    }
    in->bad = true;
    *why = (struct wire_error){.status = 400};
    snprintf(why->type, sizeof why->type, "invalid_request_error");
    snprintf(why->param, sizeof why->param, "%s", path);
    size_t n = (size_t)snprintf(why->message, sizeof why->message, "%s%s", path, *path ? ": " : "");
    va_list ap;
    va_start(ap, format);
    vsnprintf(why->message + n, sizeof why->message - n, format, ap);
    va_end(ap);
}

void wire_nomem(struct wire_in *in)
{
    if (!in->bad) {
        in->bad = true;
        *in->why = (struct wire_error){.status = 503};
        snprintf(in->why->type, sizeof in->why->type, "overloaded_error");
        snprintf(in->why->message, sizeof in->why->message, "out of memory reading the request");
    }
}

static const char *type_name(const json_t *v)
{
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "nothing";
    }
}

/* What was found, in so few bytes that a message has room for it. */
static void show(char out[64], const json_t *v)
{
    size_t n = json_string_length(v);
    if (json_is_integer(v)) {
        snprintf(out, 64, "%lld", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        snprintf(out, 64, "%g", json_real_value(v));
    } else if (json_is_string(v)) {
        const char *text = json_string_value(v);
        size_t fits = n < 40 ? n : 40;
        while (fits > 0 && fits < n && ((unsigned char)text[fits] & 0xC0) == 0x80) {
            fits--; /* whole characters */
        }
        snprintf(out, 64, "'%.*s%s'", (int)fits, text, fits < n ? "..." : "");
    } else {
        snprintf(out, 64, "%s", type_name(v));
    }
}

void wire_expected(struct wire_in *in, const char *path, struct wire_value found,
                   const char *expected)
{
    char shown[64];
    show(shown, found.json);
    wire_refuse(in, path, "found %s, expected %s", shown, expected);
}

void wire_path(char out[WIRE_PATH], const char *at, const char *key)
{
    snprintf(out, WIRE_PATH, "%s%s%s", at, *at ? "." : "", key);
}

void wire_path_item(char out[WIRE_PATH], const char *at, size_t i)
{
    snprintf(out, WIRE_PATH, "%s[%zu]", at, i);
}

/* ---- the body ---- */

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') {
        p++;
    }
    return p;
}

/* Behind the string that begins at p. */
static const char *skip_string(const char *p)
{
    for (p++; *p != '"'; p++) {
        if (*p == '\\') {
            p++;
        }
    }
    return p + 1;
}

/* Behind the value that begins at p. */
static const char *skip_value(const char *p)
{
    size_t depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            depth--;
        } else if (depth == 0) {
            return p + strcspn(p, ",]} \t\r\n");
        }
        p++;
    } while (depth > 0);
    return p;
}

/* The deepest value of text that may be no JSON at all. */
static size_t depth_of(const char *p, size_t len)
{
    size_t depth = 0, deepest = 0;
    bool string = false;
    for (const char *end = p + len; p < end; p++) {
        if (string) {
            string = *p != '"';
            p += *p == '\\';
        } else if (*p == '"') {
            string = true;
        } else if (*p == '{' || *p == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if ((*p == '}' || *p == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* Jansson 2.14 goes on reading when it has no memory for the text of a token, beyond what it has of
 * it, and says in the end that the text is wrong. So what it allocates is watched: while a text is
 * read nothing is there any more once memory ran out, which ends it before the harm. */
static _Thread_local bool is_reading, ran_out; /* is_reading: or writing */
static pthread_once_t watched = PTHREAD_ONCE_INIT;

static void *allocate(size_t n)
{
    void *p = is_reading && ran_out ? NULL : malloc(n);
    ran_out |= !p;
    return p;
}

static void watch(void)
{
    json_set_alloc_funcs(allocate, free);
}

static json_t *load(const char *text, size_t len, size_t flags, json_error_t *e)
{
    pthread_once(&watched, watch);
    is_reading = true;
    ran_out = false;
    json_t *json = json_loadb(text, len, flags, e);
    is_reading = false;
    return json;
}

json_t *wire_load(const char *text, size_t len, size_t flags, bool *no_memory)
{
    json_error_t e = {0};
    json_t *json = load(text, len, flags, &e);
    *no_memory = !json && ran_out;
    return json;
}

char *wire_dump(const json_t *json)
{
    pthread_once(&watched, watch);
    is_reading = true;
    ran_out = false;
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    is_reading = false;
    if (ran_out) {
        free(text);
        text = NULL;
    }
    return text;
}

/* What jansson has against the body, in words of ours where its own say too little. */
static void refuse_json(struct wire_in *in, const json_error_t *e)
{
    const char *text = e->text;
    if (ran_out) {
        wire_nomem(in);
        return;
    }
    switch (json_error_code(e)) {
    case json_error_null_character:
    case json_error_null_byte_in_key:
        text = "a text has the character NUL, which is not taken";
        break;
    case json_error_invalid_utf8:
        text = "bytes that are no UTF-8";
        break;
    case json_error_duplicate_key:
        text = "an object has the same key twice";
        break;
    case json_error_numeric_overflow:
        text = "a number is too large for 64 bits";
        break;
    default:
        break;
    }
    wire_refuse(in, "", "the body is no JSON that is taken: line %d, column %d: %s", e->line,
                e->column, text);
}

struct wire_value wire_open(struct wire_in *in, const char *body, size_t len,
                            struct wire_error *why)
{
    json_error_t e = {0};
    *in = (struct wire_in){.why = why};
    size_t depth = depth_of(body, len);
    if (len == 0) {
        wire_refuse(in, "", "the body is empty, expected a JSON object");
    } else if (memchr(body, 0, len)) {
        wire_refuse(in, "", "the body has a NUL byte, expected a JSON object");
    } else if (depth > WIRE_MAX_DEPTH) {
        wire_refuse(in, "", "%zu values inside of each other, expected at most %d", depth,
                    WIRE_MAX_DEPTH);
    } else if (!(in->json = load(body, len, JSON_REJECT_DUPLICATES, &e))) {
        refuse_json(in, &e);
    } else if (!json_is_object(in->json)) {
        wire_refuse(in, "", "the body is %s, expected an object", type_name(in->json));
    }
    const char *begin = in->bad ? body : skip_space(body);
    return in->bad ? NOTHING
                   : (struct wire_value){in->json, begin, (size_t)(skip_value(begin) - begin)};
}

void wire_close(struct wire_in *in)
{
    json_decref(in->json);
    in->json = NULL;
}

/* ---- walks ---- */

struct wire_walk wire_begin(struct wire_value of)
{
    struct wire_walk w = {.json = of.json};
    if (json_is_object(of.json)) {
        w.iter = json_object_iter((json_t *)of.json);
    }
    if (json_is_object(of.json) || json_is_array(of.json)) {
        w.at = of.text + 1;
    }
    return w;
}

bool wire_next(struct wire_walk *w, const char **key, struct wire_value *out)
{
    const json_t *value;
    if (json_is_object(w->json)) {
        if (!w->iter) {
            return false;
        }
        w->at = skip_space(skip_string(skip_space(w->at))) + 1; /* the key and its colon */
        value = json_object_iter_value(w->iter);
        if (key) {
            *key = json_object_iter_key(w->iter);
        }
        w->iter = json_object_iter_next((json_t *)w->json, w->iter);
    } else if (w->index < json_array_size(w->json)) {
        value = json_array_get(w->json, w->index);
    } else {
        return false;
    }
    const char *begin = skip_space(w->at), *end = skip_value(begin);
    *out = (struct wire_value){json_is_null(value) ? NULL : value, begin, (size_t)(end - begin)};
    w->at = skip_space(end) + 1; /* a comma, or the end */
    w->index++;
    return true;
}

struct wire_value wire_get(struct wire_value object, const char *key)
{
    const json_t *json = json_object_get(object.json, key);
    struct wire_value v;
    if (!json || json_is_null(json)) {
        return NOTHING;
    }
    for (struct wire_walk w = wire_begin(object); wire_next(&w, NULL, &v);) {
        if (v.json == json) {
            return v;
        }
    }
    return NOTHING;
}

bool wire_has(struct wire_value object, const char *key)
{
    const json_t *json = json_object_get(object.json, key);
    return json && !json_is_null(json);
}

bool wire_is(struct wire_value string, const char *text)
{
    return json_is_string(string.json) && strcmp(json_string_value(string.json), text) == 0;
}

size_t wire_length(struct wire_value array)
{
    return json_array_size(array.json);
}

/* ---- members of a type ---- */

static bool member(struct wire_in *in, struct wire_value object, const char *at, const char *key,
                   struct wire_value *v, char path[WIRE_PATH])
{
    if (in->bad || !wire_has(object, key)) {
        return false;
    }
    *v = (struct wire_value){.json = json_object_get(object.json, key)};
    wire_path(path, at, key);
    return true;
}

bool wire_bool(struct wire_in *in, struct wire_value object, const char *at, const char *key,
               bool *out)
{
    char path[WIRE_PATH];
    struct wire_value v;
    if (!member(in, object, at, key, &v, path)) {
        return false;
    }
    if (!json_is_boolean(v.json)) {
        wire_expected(in, path, v, "true or false");
        return false;
    }
    *out = json_is_true(v.json);
    return true;
}

bool wire_int(struct wire_in *in, struct wire_value object, const char *at, const char *key,
              int64_t least, int64_t most, int64_t *out)
{
    char path[WIRE_PATH], expected[96];
    struct wire_value v;
    if (!member(in, object, at, key, &v, path)) {
        return false;
    }
    double real = json_number_value(v.json);
    int64_t x = json_integer_value(v.json);
    bool whole = json_is_integer(v.json);
    if (json_is_real(v.json) && fabs(real) < 1e15 && real == floor(real)) {
        x = (int64_t)real;
        whole = true;
    }
    if (!whole || x < least || x > most) {
        snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)least,
                 (long long)most);
        wire_expected(in, path, v, expected);
        return false;
    }
    *out = x;
    return true;
}

bool wire_real(struct wire_in *in, struct wire_value object, const char *at, const char *key,
               double least, double most, double *out)
{
    char path[WIRE_PATH], expected[96];
    struct wire_value v;
    if (!member(in, object, at, key, &v, path)) {
        return false;
    }
    double x = json_number_value(v.json);
    if (!json_is_number(v.json) || !(x >= least && x <= most)) {
        snprintf(expected, sizeof expected, "a number from %g to %g", least, most);
        wire_expected(in, path, v, expected);
        return false;
    }
    *out = x;
    return true;
}

bool wire_string(struct wire_in *in, struct wire_value object, const char *at, const char *key,
                 const char **out)
{
    char path[WIRE_PATH];
    struct wire_value v;
    if (!member(in, object, at, key, &v, path)) {
        return false;
    }
    if (!json_is_string(v.json)) {
        wire_expected(in, path, v, "a string");
        return false;
    }
    *out = json_string_value(v.json);
    return true;
}

bool wire_copy(struct wire_in *in, struct wire_value object, const char *at, const char *key,
               char **out)
{
    const char *text;
    if (!wire_string(in, object, at, key, &text)) {
        return false;
    }
    free(*out);
    *out = wire_dup(in, text, strlen(text));
    return *out != NULL;
}

struct wire_value wire_object(struct wire_in *in, struct wire_value object, const char *at,
                              const char *key)
{
    char path[WIRE_PATH];
    struct wire_value v;
    if (!member(in, object, at, key, &v, path)) {
        return NOTHING;
    }
    if (!json_is_object(v.json)) {
        wire_expected(in, path, v, "an object");
        return NOTHING;
    }
    return wire_get(object, key);
}

struct wire_value wire_array(struct wire_in *in, struct wire_value object, const char *at,
                             const char *key)
{
    char path[WIRE_PATH];
    struct wire_value v;
    if (!member(in, object, at, key, &v, path)) {
        return NOTHING;
    }
    if (!json_is_array(v.json)) {
        wire_expected(in, path, v, "an array");
        return NOTHING;
    }
    return wire_get(object, key);
}

char *wire_dup(struct wire_in *in, const char *text, size_t len)
{
    char *copy = in->bad ? NULL : malloc(len + 1);
    if (!copy) {
        wire_nomem(in);
        return NULL;
    }
    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}
