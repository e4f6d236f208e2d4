/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema: opens a JSON Schema as a grammar. Owns places and references, the rules of sets of terms,
 * and the list of those that are still to be written.
 */
#include "text/grammar/schema.h"

#include <stdio.h>

enum {
    MAX_DEPTH = 512,   /* of the JSON text */
    MAX_RULES = 50000, /* sets of terms */
    MAX_MEMORY = 256 << 20
};

/* ---- errors ---- */

lk_status lk_schema_no_memory(struct lk_schema *s)
{
    return lk_region_fail(&s->region, "schema", s->err);
}

/* Appends "/key" with ~ and / escaped as JSON pointers do; what does not fit is left out. */
static size_t put_key(char *to, size_t cap, size_t n, const char *key, size_t n_key)
{
    if (n < cap) {
        to[n++] = '/';
    }
    for (size_t i = 0; i < n_key && n + 2 < cap; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c == '~' || c == '/') {
            to[n++] = '~';
            to[n++] = c == '~' ? '0' : '1';
        } else {
            to[n++] = c < 0x20 || c == 0x7F ? '?' : (char)c;
        }
    }
    return n;
}

/* The pointer to a place, cut at cap - 1 bytes. */
static void path_of(const struct lk_schema *s, uint32_t loc, const char *key, char *to, size_t cap)
{
    uint32_t up[2 * MAX_DEPTH];
    size_t n_up = 0, n = 0;
    for (; s->loc[loc].parent != loc && n_up < LK_COUNT(up); loc = s->loc[loc].parent) {
        up[n_up++] = loc;
    }
    while (n_up > 0) {
        const struct lk_loc *l = &s->loc[up[--n_up]];
        n = put_key(to, cap - 1, n, l->key, l->n_key);
    }
    if (key) {
        n = put_key(to, cap - 1, n, key, strlen(key));
    }
    if (n == 0) {
        to[n++] = '/';
    }
    to[n] = 0;
}

lk_status lk_schema_fail(struct lk_schema *s, lk_status status, uint32_t loc, const char *key,
                         const char *format, ...)
{
    char path[512], line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    path_of(s, loc, key, path, sizeof path);
    return lk_fail(s->err, status, "%s: %s", path, line);
}

lk_status lk_schema_check(struct lk_schema *s, uint32_t loc, const char *key)
{
    return s->x->status ? lk_schema_fail(s, s->x->status, loc, key, "%s", s->x->error.message)
                        : LK_OK;
}

/* ---- growing lists ---- */

/* A copy of an array of n with room for one more, in the region; NULL without memory. */
static void *grown(struct lk_schema *s, void *array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) {
        return array;
    }
    uint32_t more = *cap ? *cap * 2 : 4;
    void *copy = more > *cap ? lk_region_array(&s->region, more, size) : NULL;
    if (copy) {
        if (n) {
            memcpy(copy, array, n * size);
        }
        *cap = more;
    }
    return copy;
}

lk_status lk_terms_add(struct lk_schema *s, struct lk_terms *terms, struct lk_term t)
{
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct lk_term *o = &terms->term[i];
        if (o->loc == t.loc && o->mode == t.mode && o->key == t.key && o->sub == t.sub) {
            return LK_OK;
        }
    }
    struct lk_term *term = grown(s, terms->term, terms->n, &terms->cap, sizeof *term);
    if (!term) {
        return lk_schema_no_memory(s);
    }
    terms->term = term;
    terms->term[terms->n++] = t;
    return LK_OK;
}

lk_status lk_values_add(struct lk_schema *s, struct lk_values *values, const struct lk_value *v)
{
    const struct lk_value **item = grown(s, values->item, values->n, &values->cap, sizeof *item);
    if (!item) {
        return lk_schema_no_memory(s);
    }
    values->item = item;
    values->item[values->n++] = v;
    return LK_OK;
}

/* ---- places ---- */

static uint32_t hash_of_pointer(const void *p)
{
    uint64_t v = (uint64_t)(uintptr_t)p;
    return lk_hash_mix(lk_hash_mix(1, (uint32_t)v), (uint32_t)(v >> 32));
}

/* Where $id holds: this place if it has one that is no mere anchor, else where its parent's does.
 */
static uint32_t resource_of(const struct lk_schema *s, uint32_t parent, uint32_t self,
                            const struct lk_value *v)
{
    const struct lk_value *id = lk_value_get(v, "$id");
    bool own = id && id->type == LK_VALUE_STRING && id->n > 0 && id->text[0] != '#';
    return own || parent == self ? self : s->loc[parent].resource;
}

lk_status lk_schema_loc(struct lk_schema *s, uint32_t parent, const char *key, size_t n_key,
                        const struct lk_value *v, uint32_t *loc)
{
    uint32_t hash = hash_of_pointer(v);
    for (size_t at = hash; lk_slots_next(&s->locs, hash, &at, loc);) {
        if (s->loc[*loc].v == v) {
            return LK_OK;
        }
    }
    lk_status status = lk_grow(&s->loc, &s->locs_cap, s->n_locs + 1, sizeof *s->loc, s->err);
    if (status) {
        return status;
    }
    *loc = (uint32_t)s->n_locs;
    if (!lk_slots_add(&s->locs, hash, *loc)) {
        return lk_fail(s->err, LK_E_NOMEM, "out of memory for %zu places", s->n_locs);
    }
    s->loc[s->n_locs++] = (struct lk_loc){.v = v,
                                          .parent = parent,
                                          .key = key,
                                          .n_key = (uint32_t)n_key,
                                          .resource = resource_of(s, parent, *loc, v)};
    return LK_OK;
}

lk_status lk_schema_child(struct lk_schema *s, uint32_t loc, const char *keyword, uint32_t *out)
{
    const struct lk_value *v = lk_value_get(s->loc[loc].v, keyword);
    return lk_schema_loc(s, loc, keyword, strlen(keyword), v, out);
}

lk_status lk_schema_member(struct lk_schema *s, uint32_t loc, const char *keyword,
                           const struct lk_value *name, uint32_t *out)
{
    uint32_t at;
    lk_status status = lk_schema_child(s, loc, keyword, &at);
    if (!status) {
        const struct lk_value *v = lk_value_find(s->loc[at].v, name->text, name->n);
        status = lk_schema_loc(s, at, name->text, name->n, v, out);
    }
    return status;
}

lk_status lk_schema_item(struct lk_schema *s, uint32_t loc, const char *keyword, uint32_t i,
                         uint32_t *out)
{
    uint32_t at;
    char digits[16];
    lk_status status = lk_schema_child(s, loc, keyword, &at);
    if (!status) {
        int n = snprintf(digits, sizeof digits, "%u", i);
        char *key = lk_region_copy(&s->region, digits, (size_t)n);
        status = key ? lk_schema_loc(s, at, key, (size_t)n, &s->loc[at].v->item[i], out)
                     : lk_schema_no_memory(s);
    }
    return status;
}

/* ---- references ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One name of a JSON pointer in a URI's fragment, decoded; its end in *at. */
static size_t read_name(const char *text, size_t n, size_t *at, char *out)
{
    size_t len = 0;
    for (; *at < n && text[*at] != '/'; (*at)++) {
        char c = text[*at];
        if (c == '%' && *at + 2 < n && hex_digit(text[*at + 1]) >= 0 &&
            hex_digit(text[*at + 2]) >= 0) {
            c = (char)(hex_digit(text[*at + 1]) * 16 + hex_digit(text[*at + 2]));
            *at += 2;
        } else if (c == '~' && *at + 1 < n && (text[*at + 1] == '0' || text[*at + 1] == '1')) {
            c = text[*at + 1] == '0' ? '~' : '/';
            *at += 1;
        }
        out[len++] = c;
    }
    return len;
}

static const struct lk_value *step(const struct lk_value *v, const char *name, size_t n)
{
    if (v->type == LK_VALUE_DICT) {
        return lk_value_find(v, name, n);
    }
    uint32_t i = 0;
    bool digits = v->type == LK_VALUE_LIST && n > 0 && n < 9 && (n == 1 || name[0] != '0');
    for (size_t k = 0; k < n && digits; k++) {
        digits = name[k] >= '0' && name[k] <= '9';
        i = i * 10 + (uint32_t)(name[k] - '0');
    }
    return digits && i < v->n ? &v->item[i] : NULL;
}

/* The place that a pointer names, from `loc` on. NULL value: nothing is there. */
static lk_status follow(struct lk_schema *s, uint32_t loc, const char *pointer, size_t n,
                        const struct lk_value **v, uint32_t *out)
{
    *v = s->loc[loc].v;
    *out = loc;
    for (size_t at = 0; at < n;) {
        at++; /* the slash */
        char *name = lk_region_alloc(&s->region, n + 1);
        if (!name) {
            return lk_schema_no_memory(s);
        }
        size_t len = read_name(pointer, n, &at, name);
        *v = step(*v, name, len);
        if (!*v) {
            return LK_OK;
        }
        lk_status status = lk_schema_loc(s, *out, name, len, *v, out);
        if (status) {
            return status;
        }
    }
    return LK_OK;
}

static bool is_string(const struct lk_value *v)
{
    return v && v->type == LK_VALUE_STRING;
}

/* The place of child i of a list or dict that may hold schemas; *child is NULL for other values. */
static lk_status child_at(struct lk_schema *s, uint32_t loc, uint32_t i, bool *more, uint32_t *out)
{
    const struct lk_value *v = s->loc[loc].v;
    bool dict = v->type == LK_VALUE_DICT;
    const struct lk_value *child = dict ? &v->member[i].value : &v->item[i];
    const struct lk_value *key = dict ? &v->member[i].key : NULL;
    *more = (child->type == LK_VALUE_DICT || child->type == LK_VALUE_LIST) &&
            !lk_value_is(key, "const") && !lk_value_is(key, "enum");
    if (!*more) {
        return LK_OK;
    }
    if (key) {
        return lk_schema_loc(s, loc, key->text, key->n, child, out);
    }
    char buf[16];
    size_t n = (size_t)snprintf(buf, sizeof buf, "%u", i);
    char *digits = lk_region_copy(&s->region, buf, n);
    return digits ? lk_schema_loc(s, loc, digits, n, child, out) : lk_schema_no_memory(s);
}

static lk_status note_named(struct lk_schema *s, uint32_t loc)
{
    const struct lk_value *v = s->loc[loc].v;
    if (!is_string(lk_value_get(v, "$id")) && !is_string(lk_value_get(v, "$anchor"))) {
        return LK_OK;
    }
    lk_status status = lk_grow(&s->named, &s->named_cap, s->n_named + 1, sizeof *s->named, s->err);
    if (!status) {
        s->named[s->n_named++] = loc;
    }
    return status;
}

/* Lists the places with $id or $anchor, once: all of the document is looked at, without recursion.
 * Places are numbered as they are found, so the list of places is the queue. */
static lk_status list_named(struct lk_schema *s)
{
    uint32_t *todo = NULL, root;
    size_t n = 0, cap = 0;
    if (s->has_named) {
        return LK_OK;
    }
    lk_status status = lk_schema_loc(s, 0, "", 0, &s->root, &root);
    status = status ? status : lk_grow(&todo, &cap, 1, sizeof *todo, s->err);
    if (!status) {
        todo[n++] = root;
    }
    while (n && !status) {
        uint32_t loc = todo[--n];
        status = note_named(s, loc);
        for (uint32_t i = 0; i < s->loc[loc].v->n && !status; i++) {
            bool more;
            uint32_t child;
            status = child_at(s, loc, i, &more, &child);
            if (!status && more) {
                status = lk_grow(&todo, &cap, n + 1, sizeof *todo, s->err);
            }
            if (!status && more) {
                todo[n++] = child;
            }
        }
    }
    lk_free(todo);
    s->has_named = !status;
    return status;
}

/* The place whose `what` ("$id" or "$anchor") is this text, of one resource if `resource` is not
 * UINT32_MAX. */
static lk_status find_name(struct lk_schema *s, const char *what, const char *text, size_t n,
                           uint32_t resource, uint32_t *out, bool *found)
{
    lk_status status = list_named(s);
    *found = false;
    for (size_t i = 0; i < s->n_named && !status && !*found; i++) {
        uint32_t loc = s->named[i];
        const struct lk_value *v = lk_value_get(s->loc[loc].v, what);
        if (is_string(v) && v->n == n && memcmp(v->text, text, n) == 0 &&
            (resource == UINT32_MAX || s->loc[loc].resource == resource)) {
            *out = loc;
            *found = true;
        }
    }
    return status;
}

/* The resource that the part of a reference before '#' names. */
static lk_status resource_named(struct lk_schema *s, uint32_t loc, const char *uri, size_t n,
                                uint32_t *out)
{
    bool found, absolute = memchr(uri, ':', n) != NULL;
    *out = s->loc[loc].resource;
    if (n == 0) {
        return LK_OK;
    }
    lk_status status = find_name(s, "$id", uri, n, UINT32_MAX, out, &found);
    /* A relative name depends on where it stands; only next to the root is that plain. */
    bool plain = found && (absolute || (s->loc[loc].resource == 0 &&
                                        (*out == 0 || s->loc[s->loc[*out].parent].resource == 0)));
    if (!status && !plain) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, "$ref",
                              "'%.*s' is in another document, which is not supported",
                              n < 200 ? (int)n : 200, uri);
    }
    return status;
}

lk_status lk_schema_ref(struct lk_schema *s, uint32_t loc, const struct lk_value *ref,
                        uint32_t *out)
{
    const char *hash = ref->n ? memchr(ref->text, '#', ref->n) : NULL;
    size_t n_uri = hash ? (size_t)(hash - ref->text) : ref->n;
    const char *fragment = hash ? hash + 1 : "";
    size_t n = hash ? ref->n - n_uri - 1 : 0;
    const struct lk_value *v = NULL;
    uint32_t resource;
    lk_status status = resource_named(s, loc, ref->text, n_uri, &resource);
    if (status) {
        return status;
    }
    if (n == 0 || fragment[0] == '/') {
        status = follow(s, resource, fragment, n, &v, out);
    } else {
        bool found;
        status = find_name(s, "$anchor", fragment, n, resource, out, &found);
        if (!status && !found) { /* as draft 7 has it */
            status = find_name(s, "$id", fragment - 1, n + 1, resource, out, &found);
        }
        v = !status && found ? s->loc[*out].v : NULL;
    }
    if (!status && !v) {
        return lk_schema_fail(s, LK_E_FORMAT, loc, "$ref", "nothing is at '%.*s'",
                              ref->n < 200 ? (int)ref->n : 200, ref->text);
    }
    return status;
}

/* ---- rules ---- */

static uint32_t hash_of_terms(const struct lk_terms *t)
{
    return lk_hash_bytes(t->n, t->term, t->n * sizeof *t->term);
}

lk_status lk_schema_rule(struct lk_schema *s, const struct lk_terms *terms, uint32_t *e)
{
    uint32_t hash = hash_of_terms(terms), id;
    for (size_t at = hash; lk_slots_next(&s->conjs, hash, &at, &id);) {
        const struct lk_conj *c = &s->conj[id];
        if (c->terms.n == terms->n &&
            (terms->n == 0 ||
             memcmp(c->terms.term, terms->term, terms->n * sizeof *terms->term) == 0)) {
            *e = lk_expr_rule(s->x, c->rule);
            return LK_OK;
        }
    }
    id = (uint32_t)s->n_conjs;
    uint32_t loc = terms->n ? terms->term[0].loc : 0;
    if (id == MAX_RULES) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, NULL,
                              "the schema becomes more than %d rules", MAX_RULES);
    }
    lk_status status = lk_grow(&s->conj, &s->conjs_cap, id + 1, sizeof *s->conj, s->err);
    char path[128];
    uint32_t rule;
    path_of(s, loc, NULL, path, sizeof path);
    if (!status) {
        status = lk_grammar_add_rule(s->g, path, strlen(path), &rule, s->err);
    }
    if (!status && !lk_slots_add(&s->conjs, hash, id)) {
        status = lk_fail(s->err, LK_E_NOMEM, "out of memory for %u rules", id);
    }
    if (!status) {
        s->conj[id] = (struct lk_conj){*terms, rule};
        s->n_conjs++;
        *e = lk_expr_rule(s->x, rule);
    }
    return status;
}

static lk_status write_rules(struct lk_schema *s)
{
    lk_status status = LK_OK;
    for (; s->n_written < s->n_conjs && !status; s->n_written++) {
        const struct lk_conj c = s->conj[s->n_written];
        uint32_t e = LK_EXPR_NONE;
        status = lk_schema_write(s, &c.terms, &e);
        if (!status) {
            status = lk_schema_check(s, c.terms.n ? c.terms.term[0].loc : 0, NULL);
        }
        s->g->rule[c.rule].body = e;
        s->g->rule[c.rule].defined = true;
    }
    return status;
}

/* ---- open ---- */

/* The draft that the schema says it is of. */
static lk_status read_draft(struct lk_schema *s)
{
    static const struct {
        const char *name;
        bool draft7;
    } drafts[] = {{"draft/2020-12/schema", false},
                  {"draft/2019-09/schema", false},
                  {"draft-07/schema", true},
                  {"draft-06/schema", true}};
    const struct lk_value *v = lk_value_get(&s->root, "$schema");
    if (!v) {
        return LK_OK;
    }
    for (size_t i = 0; i < LK_COUNT(drafts) && v->type == LK_VALUE_STRING; i++) {
        size_t n = strlen(drafts[i].name);
        size_t len = v->n && v->text[v->n - 1] == '#' ? v->n - 1 : v->n;
        if (len >= n && memcmp(v->text + len - n, drafts[i].name, n) == 0) {
            s->draft7 = drafts[i].draft7;
            return LK_OK;
        }
    }
    return lk_schema_fail(s, LK_E_UNSUPPORTED, 0, "$schema",
                          "not known, expected draft 2020-12 or draft-07");
}

static void make_spaces(struct lk_schema *s)
{
    struct lk_exprs *x = s->x;
    struct lk_byte_set blank = {{0}};
    enum { MOST_BLANKS = 32 };
    lk_byte_set_add(&blank, ' ');
    lk_byte_set_add(&blank, '\t');
    lk_byte_set_add(&blank, '\n');
    lk_byte_set_add(&blank, '\r');
    bool spaced = s->space == LK_JSON_SPACED;
    s->ws = s->space == LK_JSON_FLEXIBLE ? lk_expr_repeat(x, lk_expr_set(x, &blank), 0, MOST_BLANKS)
                                         : LK_EXPR_EMPTY;
    uint32_t after = spaced ? lk_expr_byte(x, ' ') : s->ws;
    s->item_sep = lk_expr_cat(x, s->ws, lk_expr_cat(x, lk_expr_byte(x, ','), after));
    s->key_sep = lk_expr_cat(x, s->ws, lk_expr_cat(x, lk_expr_byte(x, ':'), after));
}

static lk_status compile(struct lk_schema *s, const char *text, size_t len, uint32_t *root)
{
    const struct lk_json_reading how = {.max_depth = MAX_DEPTH};
    struct lk_terms terms = {0};
    uint32_t loc;
    lk_status status = lk_json_read(&s->region, text, len, &how, &s->root, s->err);
    if (!status) {
        status = lk_schema_loc(s, 0, "", 0, &s->root, &loc);
    }
    if (!status) {
        status = read_draft(s);
    }
    if (!status) {
        make_spaces(s);
        status = lk_terms_add(s, &terms, (struct lk_term){.loc = loc});
    }
    if (!status) {
        status = lk_schema_rule(s, &terms, root);
    }
    return status ? status : write_rules(s);
}

lk_status lk_schema_expr(lk_grammar *g, const char *text, size_t len, uint32_t *e, lk_error *err)
{
    struct lk_schema s = {
        .g = g, .x = &g->x, .region = {.max_bytes = MAX_MEMORY}, .space = g->space, .err = err};
    lk_status status = compile(&s, text, len, e);
    lk_free(s.loc);
    lk_free(s.conj);
    lk_free(s.named);
    lk_slots_free(&s.locs);
    lk_slots_free(&s.conjs);
    lk_categories_free(&s.categories);
    lk_region_free(&s.region);
    return status;
}

static lk_status compile_whole(lk_grammar *g, const char *text, size_t len, lk_error *err)
{
    return lk_schema_expr(g, text, len, &g->root, err);
}

lk_status lk_grammar_open_schema(const char *text, size_t len, const lk_grammar_options *options,
                                 lk_grammar **out, lk_error *err)
{
    return lk_grammar_open(options, "schema", text, len, compile_whole, out, err);
}
