/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_terms: sets of terms to branches. Each term is opened: keywords that combine schemas
 * become more terms, those that choose make a branch for each choice, those that look at the value
 * itself are left. What is negated becomes a choice of negated keywords.
 */
#include "text/grammar/schema.h"

enum { MAX_BRANCHES = 4096, MAX_OPENED = 1 << 16 };

/* What a keyword does. */
enum keyword_kind {
    WORD_NOTE, /* says nothing of a value */
    WORD_BASE, /* looks at the value itself */
    WORD_ALL,
    WORD_ANY,
    WORD_ONE,
    WORD_NOT,
    WORD_IF,
    WORD_BRANCH, /* then, else */
    WORD_REF,
    WORD_REFUSED
};

static const struct {
    const char *word;
    enum keyword_kind kind;
} WORDS[] = {{"$schema", WORD_NOTE},
             {"$id", WORD_NOTE},
             {"$anchor", WORD_NOTE},
             {"$defs", WORD_NOTE},
             {"definitions", WORD_NOTE},
             {"$comment", WORD_NOTE},
             {"title", WORD_NOTE},
             {"description", WORD_NOTE},
             {"markdownDescription", WORD_NOTE},
             {"default", WORD_NOTE},
             {"example", WORD_NOTE},
             {"examples", WORD_NOTE},
             {"deprecated", WORD_NOTE},
             {"deprecationMessage", WORD_NOTE},
             {"errorMessage", WORD_NOTE},
             {"readOnly", WORD_NOTE},
             {"writeOnly", WORD_NOTE},
             {"contentMediaType", WORD_NOTE},
             {"contentEncoding", WORD_NOTE},
             {"contentSchema", WORD_NOTE},
             {"discriminator", WORD_NOTE},
             {"externalDocs", WORD_NOTE},
             {"xml", WORD_NOTE},
             {"enumNames", WORD_NOTE},
             {"enumDescriptions", WORD_NOTE},
             {"type", WORD_BASE},
             {"enum", WORD_BASE},
             {"const", WORD_BASE},
             {"minimum", WORD_BASE},
             {"maximum", WORD_BASE},
             {"exclusiveMinimum", WORD_BASE},
             {"exclusiveMaximum", WORD_BASE},
             {"multipleOf", WORD_BASE},
             {"minLength", WORD_BASE},
             {"maxLength", WORD_BASE},
             {"pattern", WORD_BASE},
             {"format", WORD_BASE},
             {"items", WORD_BASE},
             {"prefixItems", WORD_BASE},
             {"additionalItems", WORD_BASE},
             {"minItems", WORD_BASE},
             {"maxItems", WORD_BASE},
             {"uniqueItems", WORD_BASE},
             {"properties", WORD_BASE},
             {"patternProperties", WORD_BASE},
             {"additionalProperties", WORD_BASE},
             {"propertyNames", WORD_BASE},
             {"required", WORD_BASE},
             {"minProperties", WORD_BASE},
             {"maxProperties", WORD_BASE},
             {"allOf", WORD_ALL},
             {"anyOf", WORD_ANY},
             {"oneOf", WORD_ONE},
             {"not", WORD_NOT},
             {"if", WORD_IF},
             {"then", WORD_BRANCH},
             {"else", WORD_BRANCH},
             {"$ref", WORD_REF},
             {"contains", WORD_REFUSED},
             {"minContains", WORD_REFUSED},
             {"maxContains", WORD_REFUSED},
             {"dependencies", WORD_REFUSED},
             {"dependentRequired", WORD_REFUSED},
             {"dependentSchemas", WORD_REFUSED},
             {"unevaluatedItems", WORD_REFUSED},
             {"unevaluatedProperties", WORD_REFUSED},
             {"$dynamicRef", WORD_REFUSED},
             {"$dynamicAnchor", WORD_REFUSED},
             {"$recursiveRef", WORD_REFUSED},
             {"$recursiveAnchor", WORD_REFUSED},
             {"$vocabulary", WORD_REFUSED}};

/* ---- work ---- */

/* A term to be opened, and the place in `opened` of the one that it comes from. */
struct job {
    struct lk_term term;
    uint32_t from;
};

/* A term that was opened, and where it came from; 0: from the set itself. */
struct opened {
    struct lk_term term;
    uint32_t from;
};

/* One branch that is being made. Lists lie in the region and are copied when it splits. */
struct work {
    struct job *todo; /* the next one last */
    uint32_t n_todo, todo_cap;
    struct opened *opened; /* from 1 on */
    uint32_t n_opened, opened_cap;
    struct lk_branch branch;
    uint32_t choice_cap;
};

struct works {
    struct lk_schema *s;
    struct work *work;
    uint32_t n, cap;
    size_t total; /* terms opened in all branches */
};

static lk_status grow_list(struct lk_schema *s, void *list, uint32_t n, uint32_t *cap, size_t size)
{
    void *old;
    memcpy(&old, list, sizeof old);
    if (n < *cap) {
        return LK_OK;
    }
    uint32_t more = *cap ? *cap * 2 : 8;
    void *copy = lk_region_array(&s->region, more, size);
    if (!copy) {
        return lk_schema_no_memory(s);
    }
    if (n) {
        memcpy(copy, old, n * size);
    }
    memcpy(list, &copy, sizeof copy);
    *cap = more;
    return LK_OK;
}

static lk_status push(struct lk_schema *s, struct work *w, struct lk_term t, uint32_t from)
{
    lk_status status = grow_list(s, &w->todo, w->n_todo, &w->todo_cap, sizeof *w->todo);
    if (!status) {
        w->todo[w->n_todo++] = (struct job){t, from};
    }
    return status;
}

static lk_status push_schema(struct lk_schema *s, struct work *w, uint32_t loc,
                             enum lk_term_mode mode, uint32_t from)
{
    return push(s, w, (struct lk_term){.loc = loc, .mode = mode}, from);
}

/* A second branch like w, with lists of its own. */
static lk_status split(struct works *all, const struct work *w, struct work *out)
{
    struct lk_schema *s = all->s;
    lk_status status;
    *out = (struct work){.branch = {.n_choices = w->branch.n_choices}};
    for (uint32_t i = 0; i < w->n_todo; i++) {
        if ((status = push(s, out, w->todo[i].term, w->todo[i].from))) {
            return status;
        }
    }
    for (uint32_t i = 0; i < w->branch.terms.n; i++) {
        if ((status = lk_terms_add(s, &out->branch.terms, w->branch.terms.term[i]))) {
            return status;
        }
    }
    struct opened *opened = lk_region_array(&s->region, w->n_opened + 1, sizeof *opened);
    struct lk_choice *choice = lk_region_array(&s->region, w->branch.n_choices + 1, sizeof *choice);
    if (!opened || !choice) {
        return lk_schema_no_memory(s);
    }
    memcpy(opened, w->opened, w->n_opened * sizeof *opened);
    if (w->branch.n_choices) {
        memcpy(choice, w->branch.choice, w->branch.n_choices * sizeof *choice);
    }
    out->opened = opened;
    out->n_opened = w->n_opened;
    out->opened_cap = w->n_opened + 1;
    out->branch.choice = choice;
    out->choice_cap = w->branch.n_choices + 1;
    return LK_OK;
}

/* Puts a branch on the stack of those that are still to be made. */
static lk_status keep(struct works *all, const struct work *w, uint32_t loc)
{
    if (all->n >= MAX_BRANCHES) {
        return lk_schema_fail(all->s, LK_E_UNSUPPORTED, loc, NULL,
                              "more than %d combinations of alternatives", MAX_BRANCHES);
    }
    lk_status status = grow_list(all->s, &all->work, all->n, &all->cap, sizeof *all->work);
    if (!status) {
        all->work[all->n++] = *w;
    }
    return status;
}

/* ---- keywords ---- */

static enum keyword_kind kind_of(const struct lk_value *key)
{
    for (size_t i = 0; i < LK_COUNT(WORDS); i++) {
        if (lk_value_is(key, WORDS[i].word)) {
            return WORDS[i].kind;
        }
    }
    return key->n > 2 && memcmp(key->text, "x-", 2) == 0 ? WORD_NOTE : WORD_REFUSED;
}

/* The keyword as one of the table, so that it is 0-terminated; NULL: not known. */
static const char *word_of(const struct lk_value *key)
{
    for (size_t i = 0; i < LK_COUNT(WORDS); i++) {
        if (lk_value_is(key, WORDS[i].word)) {
            return WORDS[i].word;
        }
    }
    return NULL;
}

static lk_status refuse(struct lk_schema *s, uint32_t loc, const struct lk_value *key)
{
    const char *word = word_of(key);
    char name[65];
    size_t n = key->n < 64 ? key->n : 64;
    memcpy(name, key->text, n);
    name[n] = 0;
    return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, word ? word : name,
                          word ? "not supported" : "no keyword that is known");
}

lk_status lk_schema_is_schema(struct lk_schema *s, uint32_t loc)
{
    const struct lk_value *v = s->loc[loc].v;
    if (!v || (v->type != LK_VALUE_BOOL && v->type != LK_VALUE_DICT)) {
        return lk_schema_fail(s, LK_E_FORMAT, loc, NULL,
                              "expected a schema: an object, true or false");
    }
    for (uint32_t i = 0; v->type == LK_VALUE_DICT && i < v->n; i++) {
        bool ignored = s->draft7 && lk_value_get(v, "$ref");
        if (!ignored && kind_of(&v->member[i].key) == WORD_REFUSED) {
            return refuse(s, loc, &v->member[i].key);
        }
    }
    return LK_OK;
}

static lk_status check_list(struct lk_schema *s, uint32_t loc, const struct lk_member *m)
{
    if (m->value.type != LK_VALUE_LIST || m->value.n == 0) {
        return lk_schema_fail(s, LK_E_FORMAT, loc, word_of(&m->key), "expected a list of schemas");
    }
    return LK_OK;
}

static lk_status ref_of(struct lk_schema *s, uint32_t loc, const struct lk_member *m, uint32_t *out)
{
    if (m->value.type != LK_VALUE_STRING) {
        return lk_schema_fail(s, LK_E_FORMAT, loc, "$ref", "expected a string");
    }
    return lk_schema_ref(s, loc, &m->value, out);
}

/* ---- choices ---- */

static lk_status note_choice(struct lk_schema *s, struct work *w, uint32_t loc, uint32_t index)
{
    struct lk_branch *b = &w->branch;
    lk_status status = grow_list(s, &b->choice, b->n_choices, &w->choice_cap, sizeof *b->choice);
    if (!status) {
        b->choice[b->n_choices++] = (struct lk_choice){loc, index};
    }
    return status;
}

/* A branch for each schema of a list; they are made in the order of the list. */
static lk_status choose(struct works *all, const struct work *w, const struct lk_term *t,
                        uint32_t from)
{
    struct lk_schema *s = all->s;
    const struct lk_member *m = &s->loc[t->loc].v->member[t->key];
    const char *word = word_of(&m->key);
    lk_status status = check_list(s, t->loc, m);
    bool one_of = strcmp(word, "oneOf") == 0;
    for (uint32_t i = m->value.n; i-- > 0 && !status;) {
        struct work one;
        uint32_t loc;
        status = lk_schema_item(s, t->loc, word, i, &loc);
        status = status ? status : split(all, w, &one);
        for (uint32_t k = m->value.n; k-- > 0 && !status && one_of && s->loc[t->loc].exactly_one;) {
            uint32_t other;
            status = lk_schema_item(s, t->loc, word, k, &other);
            if (!status && k != i) {
                status = push_schema(s, &one, other, LK_TERM_NOT, from);
            }
        }
        status = status ? status : push_schema(s, &one, loc, LK_TERM_IS, from);
        if (!status && one_of) {
            status = note_choice(s, &one, t->loc, i);
        }
        status = status ? status : keep(all, &one, t->loc);
    }
    return status;
}

/* if and then, or not if and else. */
static lk_status choose_if(struct works *all, const struct work *w, uint32_t loc, uint32_t from)
{
    struct lk_schema *s = all->s;
    const struct lk_value *v = s->loc[loc].v;
    uint32_t condition, then;
    lk_status status = lk_schema_child(s, loc, "if", &condition);
    for (int no = 1; no >= 0 && !status; no--) {
        struct work one;
        const char *word = no ? "else" : "then";
        status = split(all, w, &one);
        if (!status && lk_value_get(v, word)) {
            status = lk_schema_child(s, loc, word, &then);
            status = status ? status : push_schema(s, &one, then, LK_TERM_IS, from);
        }
        if (!status) {
            status = push_schema(s, &one, condition, no ? LK_TERM_NOT : LK_TERM_IS, from);
        }
        status = status ? status : keep(all, &one, loc);
    }
    return status;
}

/* ---- opening ---- */

/* CHOOSE and CHOOSE_IF are terms of this file alone. */
enum { TERM_CHOOSE = 16, TERM_CHOOSE_IF };

/* Pushes what a keyword asks for, the first of several last. */
static lk_status open_keyword(struct lk_schema *s, struct work *w, uint32_t loc, uint32_t i,
                              uint32_t from)
{
    const struct lk_value *v = s->loc[loc].v;
    const struct lk_member *m = &v->member[i];
    uint32_t child;
    lk_status status;
    switch (kind_of(&m->key)) {
    case WORD_REF:
        status = ref_of(s, loc, m, &child);
        return status ? status : push_schema(s, w, child, LK_TERM_IS, from);
    case WORD_ALL:
        status = check_list(s, loc, m);
        for (uint32_t k = m->value.n; k-- > 0 && !status;) {
            status = lk_schema_item(s, loc, "allOf", k, &child);
            status = status ? status : push_schema(s, w, child, LK_TERM_IS, from);
        }
        return status;
    case WORD_ANY:
    case WORD_ONE:
        return push(s, w, (struct lk_term){.loc = loc, .mode = TERM_CHOOSE, .key = i}, from);
    case WORD_IF:
        if (!lk_value_get(v, "then") && !lk_value_get(v, "else")) {
            return LK_OK;
        }
        return push(s, w, (struct lk_term){.loc = loc, .mode = TERM_CHOOSE_IF}, from);
    case WORD_NOT:
        status = lk_schema_child(s, loc, "not", &child);
        return status ? status : push_schema(s, w, child, LK_TERM_NOT, from);
    default:
        return LK_OK;
    }
}

/* Keywords in their order: what looks at the value itself stands where the first such one does. */
static lk_status open_schema(struct lk_schema *s, struct work *w, uint32_t loc, uint32_t from)
{
    const struct lk_value *v = s->loc[loc].v;
    bool ref_alone = s->draft7 && lk_value_get(v, "$ref");
    uint32_t first_base = UINT32_MAX;
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < v->n; i++) {
        if (kind_of(&v->member[i].key) == WORD_BASE && first_base == UINT32_MAX) {
            first_base = i;
        }
    }
    for (uint32_t i = v->n; i-- > 0 && !status;) {
        if (ref_alone && !lk_value_is(&v->member[i].key, "$ref")) {
            continue;
        }
        status = i == first_base ? push_schema(s, w, loc, LK_TERM_BASE, from)
                                 : open_keyword(s, w, loc, i, from);
    }
    return status;
}

/* A branch for each way in which a schema can fail to hold. */
static lk_status open_not(struct works *all, const struct work *w, uint32_t loc, uint32_t from)
{
    struct lk_schema *s = all->s;
    const struct lk_value *v = s->loc[loc].v;
    lk_status status = LK_OK;
    for (uint32_t i = v->n; i-- > 0 && !status;) {
        const struct lk_member *m = &v->member[i];
        enum keyword_kind kind = kind_of(&m->key);
        struct work one;
        uint32_t child;
        if (kind == WORD_NOTE || kind == WORD_BRANCH ||
            (s->draft7 && lk_value_get(v, "$ref") && kind != WORD_REF)) {
            continue;
        }
        if (kind == WORD_ONE || kind == WORD_IF) {
            return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, word_of(&m->key),
                                  "not supported inside of 'not'");
        }
        uint32_t items = lk_value_is(&m->key, "required") || lk_value_is(&m->key, "properties") ||
                                 kind == WORD_ALL
                             ? m->value.n
                             : 1;
        for (uint32_t k = items; k-- > 0 && !status;) {
            status = split(all, w, &one);
            if (!status && kind == WORD_BASE) {
                status =
                    push(s, &one,
                         (struct lk_term){.loc = loc, .mode = LK_TERM_NOT_KEY, .key = i, .sub = k},
                         from);
            } else if (!status && kind == WORD_REF) {
                status = ref_of(s, loc, m, &child);
                status = status ? status : push_schema(s, &one, child, LK_TERM_NOT, from);
            } else if (!status && kind == WORD_NOT) {
                status = lk_schema_child(s, loc, "not", &child);
                status = status ? status : push_schema(s, &one, child, LK_TERM_IS, from);
            } else if (!status && kind == WORD_ALL) {
                status = check_list(s, loc, m);
                status = status ? status : lk_schema_item(s, loc, "allOf", k, &child);
                status = status ? status : push_schema(s, &one, child, LK_TERM_NOT, from);
            } else if (!status) { /* anyOf: none of them */
                status = check_list(s, loc, m);
                for (uint32_t j = m->value.n; j-- > 0 && !status;) {
                    status = lk_schema_item(s, loc, "anyOf", j, &child);
                    status = status ? status : push_schema(s, &one, child, LK_TERM_NOT, from);
                }
            }
            status = status ? status : keep(all, &one, loc);
        }
    }
    return status;
}

static bool same_term(const struct lk_term *a, const struct lk_term *b)
{
    return a->loc == b->loc && a->mode == b->mode && a->key == b->key && a->sub == b->sub;
}

/* Notes a term as opened; *again when it was before. A term that comes from itself has no end. */
static lk_status note_opened(struct works *all, struct work *w, struct job j, bool *again)
{
    struct lk_schema *s = all->s;
    *again = false;
    for (uint32_t i = j.from; i; i = w->opened[i].from) {
        if (same_term(&w->opened[i].term, &j.term)) {
            return lk_schema_fail(s, LK_E_UNSUPPORTED, j.term.loc, NULL,
                                  "the schema refers to itself without a value in between");
        }
    }
    for (uint32_t i = 1; i < w->n_opened; i++) {
        *again |= same_term(&w->opened[i].term, &j.term);
    }
    if (++all->total > MAX_OPENED) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, j.term.loc, NULL,
                              "more than %d combinations of schemas", MAX_OPENED);
    }
    lk_status status = grow_list(s, &w->opened, w->n_opened, &w->opened_cap, sizeof *w->opened);
    if (!status) {
        w->opened[w->n_opened++] = (struct opened){j.term, j.from};
    }
    return status;
}

/* Opens the next term of a branch. *gone: the branch has split, or nothing fits it. */
static lk_status open_next(struct works *all, struct work *w, bool *gone)
{
    struct lk_schema *s = all->s;
    struct job j = w->todo[--w->n_todo];
    struct lk_term t = j.term;
    bool again;
    *gone = false;
    if (t.mode == LK_TERM_BASE || t.mode == LK_TERM_NOT_KEY) {
        return lk_terms_add(s, &w->branch.terms, t);
    }
    if (t.mode == TERM_CHOOSE || t.mode == TERM_CHOOSE_IF) {
        *gone = true;
        return t.mode == TERM_CHOOSE ? choose(all, w, &t, j.from)
                                     : choose_if(all, w, t.loc, j.from);
    }
    lk_status status = lk_schema_is_schema(s, t.loc);
    status = status ? status : note_opened(all, w, j, &again);
    if (status || again) {
        return status;
    }
    const struct lk_value *v = s->loc[t.loc].v;
    uint32_t from = w->n_opened - 1;
    if (v->type == LK_VALUE_BOOL) {
        *gone = v->boolean != (t.mode == LK_TERM_IS);
        return LK_OK;
    }
    if (t.mode == LK_TERM_IS) {
        return open_schema(s, w, t.loc, from);
    }
    *gone = true;
    return open_not(all, w, t.loc, from);
}

static lk_status add_branch(struct lk_schema *s, const struct lk_branch *b, uint32_t loc,
                            struct lk_branches *out)
{
    if (out->n == MAX_BRANCHES) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, NULL,
                              "more than %d combinations of alternatives", MAX_BRANCHES);
    }
    lk_status status = grow_list(s, &out->branch, out->n, &out->cap, sizeof *out->branch);
    if (!status) {
        out->branch[out->n++] = *b;
    }
    return status;
}

lk_status lk_schema_branches(struct lk_schema *s, const struct lk_terms *terms,
                             struct lk_branches *out)
{
    struct works all = {.s = s};
    struct work first = {.n_opened = 1};
    *out = (struct lk_branches){0};
    lk_status status = grow_list(s, &first.opened, 0, &first.opened_cap, sizeof *first.opened);
    if (!status) {
        first.opened[0] = (struct opened){{0}, 0};
    }
    for (uint32_t i = terms->n; i-- > 0 && !status;) {
        status = push(s, &first, terms->term[i], 0);
    }
    status = status ? status : keep(&all, &first, 0);
    while (all.n && !status) {
        struct work w = all.work[--all.n];
        bool gone = false;
        while (w.n_todo && !gone && !status) {
            status = open_next(&all, &w, &gone);
        }
        if (!status && !gone) {
            status = add_branch(s, &w.branch, terms->n ? terms->term[0].loc : 0, out);
        }
    }
    return status;
}
