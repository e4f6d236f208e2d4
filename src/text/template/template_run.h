/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_run: a template at work: values that only templates have, iteration, operators and
 * built-ins by Python's semantics, and the bounds of it all. For the template files only.
 *
 * Memory. Values made while rendering lie in a region. What a statement or a turn of a loop left
 * there is given back at its end unless something older may point to it since: whoever stores a
 * value in an older object (a namespace, a loop, a generator) counts that in `escapes`.
 */
#ifndef LK_TEMPLATE_RUN_H
#define LK_TEMPLATE_RUN_H

#include <time.h>

#include "text/template/template_ast.h"
#include "text/value/text_buffer.h"

enum {
    LK_TPL_STEPS = 10000000,
    LK_TPL_MEMORY = 1 << 26, /* of all, with what blocks and allocations cost themselves */
    LK_TPL_OUTPUT = 1 << 24,
    LK_TPL_RANGE_MAX = 100000,
    /* Bytes of text that one step of work stands for. */
    LK_TPL_COPY = 64,      /* copied or compared */
    LK_TPL_SCAN = 32,      /* searched */
    LK_TPL_CHAR = 2,       /* looked at one by one */
    LK_TPL_NESTING = 2000, /* evaluations inside of each other: bounds the C stack */
};

/* ---- values ---- */

enum lk_tpl_type {
    LK_TPL_UNDEFINED = LK_VALUE_OTHERS, /* text: what is missing; integer: enum lk_tpl_undefined */
    LK_TPL_MISSING,                     /* a slot that has nothing yet; never a result */
    LK_TPL_RANGE,                       /* object: struct lk_tpl_range */
    LK_TPL_VIEW,      /* d.keys() and the like: member, n of the dict; integer: enum lk_tpl_view */
    LK_TPL_ITERATOR,  /* object: struct lk_tpl_iter, which is used up */
    LK_TPL_FUNCTION,  /* integer: enum lk_tpl_function */
    LK_TPL_METHOD,    /* object: struct lk_tpl_method */
    LK_TPL_CALLABLE,  /* object: struct lk_tpl_callable: a macro or a `caller` */
    LK_TPL_NAMESPACE, /* object: struct lk_tpl_namespace */
    LK_TPL_LOOP,      /* object: struct lk_tpl_loop_state */
    LK_TPL_CYCLER,    /* object: struct lk_tpl_cycler */
    LK_TPL_JOINER,    /* object: struct lk_tpl_joiner */
    LK_TPL_SELF,      /* the template: its blocks are its attributes */
    LK_TPL_BLOCK      /* object: struct lk_tpl_block */
};

enum { LK_TPL_GROUP = 8 /* a flag: a tuple of groupby, with names for its items */ };

enum lk_tpl_undefined {
    UNDEFINED_NAME,      /* a variable */
    UNDEFINED_ATTRIBUTE, /* of an object */
    UNDEFINED_HINT,      /* text is the message */
    UNDEFINED_UNSAFE     /* an attribute that the sandbox hides */
};

enum lk_tpl_view { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct lk_tpl_env {
    struct lk_tpl_env *parent;
    struct lk_value slot[];
};

struct lk_tpl_range {
    int64_t start, stop, step;
    uint32_t n;
};

struct lk_tpl_namespace {
    struct lk_member *member;
    uint32_t n, cap;
};

struct lk_tpl_callable {
    const struct lk_tpl_macro *macro;
    struct lk_value name; /* NULL type for a `caller` */
    const struct lk_tpl_node *body;
    struct lk_tpl_env *env; /* where it was defined */
};

struct lk_tpl_cycler {
    const struct lk_value *item;
    uint32_t n, at;
};

struct lk_tpl_method {
    struct lk_value self;
    int method;
};

struct lk_tpl_joiner {
    struct lk_value separator;
    bool used;
};

struct lk_tpl_run;

struct lk_tpl_call {
    const struct lk_value *arg;
    uint32_t n;
    const struct lk_member *named;
    uint32_t n_named;
};

/* What makes items, one at a time and only when asked, as Python's iterators do. */
enum lk_tpl_iter_kind {
    ITER_EMPTY,
    ITER_LIST, /* also tuples */
    ITER_TEXT,
    ITER_VIEW, /* also the keys of a dict */
    ITER_RANGE,
    ITER_REVERSED, /* of all but texts */
    ITER_SHARED,   /* an ITERATOR that others may hold too */
    ITER_MAP,      /* a filter or an attribute of each item */
    ITER_SELECT    /* the items that a test, perhaps of an attribute, holds for */
};

struct lk_tpl_iter {
    enum lk_tpl_iter_kind kind;
    uint32_t at; /* items taken, bytes of a text */
    struct lk_value source;
    struct lk_tpl_iter *inner; /* MAP, SELECT: what they take from; NULL: not begun */
    struct lk_value attribute; /* MAP, SELECT; MISSING: none */
    struct lk_value fallback;  /* MAP: for an attribute that is not there; MISSING: none */
    bool negated;              /* SELECT */
    int builtin;               /* MAP: filter, SELECT: test; -1: none */
    struct lk_tpl_call call;   /* its arguments */
};

struct lk_tpl_loop_state {
    const struct lk_tpl_node *node; /* the FOR */
    struct lk_tpl_iter iter;
    struct lk_tpl_env *env; /* where it was begun: of its test, and around a recursive one */
    int64_t index0;
    int64_t length; /* -1: not known */
    int64_t depth0;
    struct lk_value before, current, after, changed; /* MISSING: none */
    struct lk_value rest;                            /* a list read ahead; MISSING: none */
    uint32_t rest_at;
};

/* ---- the run ---- */

enum lk_tpl_flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };

struct lk_tpl_run {
    const struct lk_tpl *t;
    struct lk_region region;
    const struct lk_value *variables; /* a dict */
    struct lk_tpl_env *env, *root;
    struct lk_text_buffer *out;
    int64_t steps; /* left */
    unsigned depth, calls;
    unsigned captures; /* texts under way that are no output yet */
    size_t escapes;
    enum lk_tpl_flow flow;
    struct lk_value captured; /* the text that a filter block's first filter gets */
    uint32_t at;              /* of the node at work */
    struct tm now;
    /* The last long text that was put together, with room to grow where it is. */
    struct {
        char *text;
        uint8_t *marks;
        unsigned flags;
        uint32_t n, cap;
    } tail;
    lk_error *err;
};

/* Fails with the place of the node at work. */
__attribute__((format(printf, 2, 3))) lk_status lk_tpl_fail(struct lk_tpl_run *r,
                                                            const char *format, ...);
/* The region or its limit ended. */
lk_status lk_tpl_full(struct lk_tpl_run *r);
/* Counts `cost` steps of work. */
lk_status lk_tpl_work(struct lk_tpl_run *r, size_t cost);
void *lk_tpl_alloc(struct lk_tpl_run *r, size_t n, size_t size); /* NULL with r->err filled */
static inline lk_status lk_tpl_step(struct lk_tpl_run *r)
{
    return --r->steps < 0 ? lk_tpl_work(r, 0) : LK_OK;
}
/* One evaluation more inside of the others; r->depth-- ends it. */
lk_status lk_tpl_deeper(struct lk_tpl_run *r);
/* Whether what v points to was made after the run began (and so may be given back). */
bool lk_tpl_is_made(const struct lk_tpl_run *r, const struct lk_value *v);
/* An older object takes v in. */
static inline void lk_tpl_escape(struct lk_tpl_run *r, const struct lk_value *v)
{
    r->escapes += lk_tpl_is_made(r, v);
}

/* ---- values (template_value.c) ---- */

extern const struct lk_value lk_tpl_missing, lk_tpl_none;
struct lk_value lk_tpl_undefined_name(const struct lk_value *name);
struct lk_value lk_tpl_undefined_of(const struct lk_value *object, const struct lk_value *name);
struct lk_value lk_tpl_undefined_hint(const char *message); /* static */
struct lk_value lk_tpl_object(enum lk_tpl_type type, const void *object);
static inline struct lk_value lk_tpl_static(const char *text)
{
    return lk_value_text(text, strlen(text), LK_VALUE_TRUSTED);
}
const char *lk_tpl_type_name(const struct lk_value *v); /* as Python calls it */
static inline bool lk_tpl_is(const struct lk_value *v, int type)
{
    return v->type == type;
}
static inline bool lk_tpl_is_text(const struct lk_value *v)
{
    return v->type == LK_VALUE_STRING;
}
/* UndefinedError's message. */
lk_status lk_tpl_fail_undefined(struct lk_tpl_run *r, const struct lk_value *v);
bool lk_tpl_truth(const struct lk_value *v);
lk_status lk_tpl_length(struct lk_tpl_run *r, const struct lk_value *v, int64_t *n);
/* Whole numbers: INT and BOOL. */
bool lk_tpl_is_int(const struct lk_value *v, int64_t *i);
bool lk_tpl_is_number(const struct lk_value *v, double *d); /* also FLOAT and BIG */
lk_status lk_tpl_equal(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b,
                       bool *equal);
bool lk_tpl_same(const struct lk_value *a, const struct lk_value *b); /* `is` */
/* a < b: *order < 0; equal: 0. An error for types that have no order. */
lk_status lk_tpl_order(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b,
                       int *order);
lk_status lk_tpl_contains(struct lk_tpl_run *r, const struct lk_value *container,
                          const struct lk_value *item, bool *yes);
bool lk_tpl_hashable(const struct lk_value *v);
lk_status lk_tpl_find_key(struct lk_tpl_run *r, const struct lk_value *dict,
                          const struct lk_value *key, const struct lk_value **found);
/* A list (or with flags LK_VALUE_TUPLE a tuple) of items that lie in the region already. */
struct lk_value lk_tpl_list_of(const struct lk_value *items, size_t n, unsigned flags);
lk_status lk_tpl_make_list(struct lk_tpl_run *r, const struct lk_value *items, size_t n,
                           unsigned flags, struct lk_value *out);
/* A dict of members in the region, where keys that come again replace the value. */
lk_status lk_tpl_make_dict(struct lk_tpl_run *r, struct lk_member *members, size_t n,
                           struct lk_value *out);

/* ---- text (template_text.c) ---- */

/* str(v) and repr(v); `out` may be an argument. str of a string is itself, without its markup. */
lk_status lk_tpl_str(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out);
/* The same, but markup stays markup (markupsafe.soft_str). */
lk_status lk_tpl_soft_str(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out);
/* Both appended to r->out. */
lk_status lk_tpl_put_str(struct lk_tpl_run *r, const struct lk_value *v);
lk_status lk_tpl_put_repr(struct lk_tpl_run *r, const struct lk_value *v);
/* A text under way is what r->out has behind byte `from`: this takes it off as a value. */
lk_status lk_tpl_cut(struct lk_tpl_run *r, size_t from, struct lk_value *out);
/* HTML escapes of str(v), as markup; markup itself stays as it is. */
lk_status lk_tpl_escape_html(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out);
/* The part [from, to) of a string, without a copy. */
struct lk_value lk_tpl_part(const struct lk_value *s, size_t from, size_t to);
/* Strings one behind the other; markup if `flags` has LK_VALUE_MARKUP. */
lk_status lk_tpl_concat(struct lk_tpl_run *r, const struct lk_value *parts, size_t n,
                        unsigned flags, struct lk_value *out);
/* A string n times. */
lk_status lk_tpl_repeat(struct lk_tpl_run *r, const struct lk_value *s, int64_t times,
                        struct lk_value *out);

/* ---- operators (template_ops.c) ---- */

lk_status lk_tpl_binary(struct lk_tpl_run *r, enum lk_tpl_op op, const struct lk_value *a,
                        const struct lk_value *b, struct lk_value *out);
lk_status lk_tpl_compare(struct lk_tpl_run *r, enum lk_tpl_op op, const struct lk_value *a,
                         const struct lk_value *b, bool *yes);
lk_status lk_tpl_negate(struct lk_tpl_run *r, const struct lk_value *a, bool minus,
                        struct lk_value *out);
/* object[key] and object.name as the sandboxed environment has them: undefined where there is
 * nothing. */
lk_status lk_tpl_item(struct lk_tpl_run *r, const struct lk_value *object,
                      const struct lk_value *key, struct lk_value *out);
lk_status lk_tpl_attribute(struct lk_tpl_run *r, const struct lk_value *object,
                           const struct lk_value *name, struct lk_value *out);
bool lk_tpl_has_attribute(struct lk_tpl_run *r, const struct lk_value *object,
                          const struct lk_value *name);
/* object[start:stop:step]; NULL: not given. */
lk_status lk_tpl_slice(struct lk_tpl_run *r, const struct lk_value *object,
                       const struct lk_value *start, const struct lk_value *stop,
                       const struct lk_value *step, struct lk_value *out);

/* ---- iteration (template_iter.c) ---- */

lk_status lk_tpl_iterate(struct lk_tpl_run *r, const struct lk_value *v, struct lk_tpl_iter *iter);
/* *found false: no more. */
lk_status lk_tpl_take(struct lk_tpl_run *r, struct lk_tpl_iter *iter, struct lk_value *item,
                      bool *found);
bool lk_tpl_iterable(const struct lk_value *v);
/* Whether the items of iter are made as they are taken. */
bool lk_tpl_iter_makes(const struct lk_tpl_iter *iter);
/* An ITERATOR value of a copy of iter. */
lk_status lk_tpl_iterator(struct lk_tpl_run *r, const struct lk_tpl_iter *iter,
                          struct lk_value *out);
/* list(v). */
lk_status lk_tpl_listed(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out);

/* A list that grows while it is made. */
struct lk_tpl_items {
    struct lk_value *item;
    size_t n, cap;
};
lk_status lk_tpl_add(struct lk_tpl_run *r, struct lk_tpl_items *items, const struct lk_value *v);

/* The item at a path "a.0.b" of attributes, or a number's; `fallback` (may be MISSING) stands for
 * what is undefined on the way. */
lk_status lk_tpl_path(struct lk_tpl_run *r, const struct lk_value *item,
                      const struct lk_value *attribute, const struct lk_value *fallback,
                      struct lk_value *out);
/* Items in their order, or the reverse; *less: a before b. */
lk_status lk_tpl_sort(struct lk_tpl_run *r, struct lk_value *items, struct lk_value *keys, size_t n,
                      bool reverse);

/* ---- strings (template_strings.c, template_case.c) ---- */

/* `side` is -1 for the left end, 1 for the right, 0 for both; chars NULL: white space. */
struct lk_value lk_tpl_strip(struct lk_tpl_run *r, const struct lk_value *s,
                             const struct lk_value *chars, int side);
/* sep NULL: runs of white space; at most `most` cuts if not negative; from the right if so. */
lk_status lk_tpl_split(struct lk_tpl_run *r, const struct lk_value *s, const struct lk_value *sep,
                       int64_t most, bool from_right, struct lk_value *out);
lk_status lk_tpl_split_lines(struct lk_tpl_run *r, const struct lk_value *s, bool keep_ends,
                             struct lk_value *out);
lk_status lk_tpl_replace(struct lk_tpl_run *r, const struct lk_value *s,
                         const struct lk_value *from, const struct lk_value *to, int64_t most,
                         struct lk_value *out);
/* Where `what` is in s from byte `at` on, or from the right; SIZE_MAX: nowhere. */
size_t lk_tpl_find(struct lk_tpl_run *r, const struct lk_value *s, const struct lk_value *what,
                   size_t at, bool from_right);
/* The strings of an iterable with a separator between them; each is made a string if `any`. */
lk_status lk_tpl_join(struct lk_tpl_run *r, const struct lk_value *separator,
                      const struct lk_value *iterable, bool any, struct lk_value *out);
/* Padded to `width` characters; side as in lk_tpl_strip says where the text stays. */
lk_status lk_tpl_pad(struct lk_tpl_run *r, const struct lk_value *s, int64_t width,
                     const struct lk_value *fill, int side, struct lk_value *out);
enum lk_tpl_casing {
    CASING_UPPER,
    CASING_LOWER,
    CASING_FOLD,
    CASING_SWAP,
    CASING_CAPITALIZE,
    CASING_TITLE /* str.title(), not the filter */
};
lk_status lk_tpl_case(struct lk_tpl_run *r, const struct lk_value *s, enum lk_tpl_casing to,
                      struct lk_value *out);
/* str.isalpha() and the like. */
bool lk_tpl_is_all(const struct lk_value *s, bool (*is)(int32_t cp));
bool lk_tpl_is_cased(const struct lk_value *s, enum lk_tpl_casing how);

/* ---- formatting (template_spec.c, template_format.c, template_printf.c) ---- */

lk_status lk_tpl_printf(struct lk_tpl_run *r, const struct lk_value *format,
                        const struct lk_value *args, struct lk_value *out);
lk_status lk_tpl_format(struct lk_tpl_run *r, const struct lk_value *format,
                        const struct lk_tpl_call *call, struct lk_value *out);
/* How a value is laid out: Python's format specifications, of which printf knows a part. */
struct lk_tpl_spec {
    int32_t fill;
    char align; /* < > = ^ or 0 */
    char sign;  /* + - space or 0 */
    bool alternate, zero;
    int64_t width, precision; /* -1: none */
    char grouping;            /* , _ or 0 */
    char type;                /* 0: none */
};
/* Appends a number, or a text of so many characters at most, to r->out. */
lk_status lk_tpl_put_int(struct lk_tpl_run *r, const struct lk_value *v,
                         const struct lk_tpl_spec *spec);
lk_status lk_tpl_put_real(struct lk_tpl_run *r, double d, unsigned flags,
                          const struct lk_tpl_spec *spec);
lk_status lk_tpl_put_text(struct lk_tpl_run *r, const struct lk_value *s,
                          const struct lk_tpl_spec *spec);
lk_status lk_tpl_strftime(struct lk_tpl_run *r, const struct lk_value *format,
                          struct lk_value *out);

/* ---- calls (template_call.c) ---- */

/* A built-in: a filter, test, method or function of the tables. arg: one for each parameter,
 * MISSING where not given; where a built-in takes any arguments they are those of `call`. */
#define LK_TPL_ARGUMENTS                                                                           \
    struct lk_tpl_run *r, const struct lk_value *self, const struct lk_tpl_call *call,             \
        const struct lk_value *arg, struct lk_value *out
enum { LK_TPL_PARAMS = 5 };
struct lk_tpl_builtin {
    const char *name;
    const char *params[LK_TPL_PARAMS];  /* names, in their order */
    int required;                       /* how many must be given; -1: takes any arguments */
    lk_status (*run)(LK_TPL_ARGUMENTS); /* NULL: Jinja has it, we do not */
};
lk_status lk_tpl_call_builtin(struct lk_tpl_run *r, const struct lk_tpl_builtin *b,
                              const struct lk_value *self, const struct lk_tpl_call *call,
                              struct lk_value *out);
/* A given argument as a whole number, a truth, a string; `out` stays where it is MISSING. */
lk_status lk_tpl_int_arg(struct lk_tpl_run *r, const struct lk_value *arg, const char *name,
                         int64_t *out);
lk_status lk_tpl_text_arg(struct lk_tpl_run *r, const struct lk_value *arg, const char *name,
                          struct lk_value *out);
bool lk_tpl_bool_arg(const struct lk_value *arg, bool fallback);
static inline bool lk_tpl_given(const struct lk_value *arg)
{
    return arg->type != LK_TPL_MISSING;
}
/* Globals: -1 or enum lk_tpl_function. */
int lk_tpl_find_function(const struct lk_value *name);
/* Methods of Python's types. */
enum { LK_TPL_METHOD_NONE = -1, LK_TPL_METHOD_HIDDEN = -2 };
int lk_tpl_find_method(const struct lk_value *object, const struct lk_value *name);
/* Those of str (template_methods_text.c), which are part of the above. */
int lk_tpl_find_text_method(const struct lk_value *name);
lk_status lk_tpl_call_text_method(struct lk_tpl_run *r, int method, const struct lk_value *self,
                                  const struct lk_tpl_call *call, struct lk_value *out);
lk_status lk_tpl_call_method(struct lk_tpl_run *r, int method, const struct lk_value *self,
                             const struct lk_tpl_call *call, struct lk_value *out);
lk_status lk_tpl_call_value(struct lk_tpl_run *r, const struct lk_value *callee,
                            const struct lk_tpl_call *call, struct lk_value *out);
/* Built-in filters and tests by number. */
lk_status lk_tpl_filter(struct lk_tpl_run *r, int filter, const struct lk_value *v,
                        const struct lk_tpl_call *call, struct lk_value *out);
lk_status lk_tpl_test(struct lk_tpl_run *r, int test, const struct lk_value *v,
                      const struct lk_tpl_call *call, bool *yes);
/* What the table of filters (template_filters.c) takes from other files. */
lk_status lk_tpl_filter_attr(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_batch(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_dictsort(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_first(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_groupby(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_items(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_last(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_list(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_map(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_max(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_min(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_reject(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_rejectattr(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_reverse(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_select(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_selectattr(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_slice(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_sort(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_sum(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_unique(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_abs(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_filesizeformat(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_float(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_int(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_round(LK_TPL_ARGUMENTS);
lk_status lk_tpl_filter_tojson(LK_TPL_ARGUMENTS);

/* ---- what runs the template's own text (template_eval.c, template_exec.c, template_loop.c) ----
 */

lk_status lk_tpl_eval(struct lk_tpl_run *r, const struct lk_tpl_node *node, struct lk_value *out);
/* A CALL; `caller` (may be NULL) is one more named argument. */
lk_status lk_tpl_eval_call(struct lk_tpl_run *r, const struct lk_tpl_node *node,
                           const struct lk_value *caller, struct lk_value *out);
lk_status lk_tpl_exec(struct lk_tpl_run *r, const struct lk_tpl_node *list);
lk_status lk_tpl_assign(struct lk_tpl_run *r, const struct lk_tpl_node *target,
                        const struct lk_value *v);
/* The slots of a scope as they begin: of the context, of outside, nothing; parameters stay. */
void lk_tpl_enter_scope(struct lk_tpl_run *r, const struct lk_tpl_scope *scope);
void lk_tpl_leave_scope(struct lk_tpl_run *r, const struct lk_tpl_scope *scope);
struct lk_tpl_env *lk_tpl_env(struct lk_tpl_run *r, const struct lk_tpl_func *func,
                              struct lk_tpl_env *parent);
/* Gives back what was made since the mark, unless something escaped since `escapes` was read. */
void lk_tpl_release(struct lk_tpl_run *r, struct lk_region_mark mark, size_t escapes);
lk_status lk_tpl_exec_for(struct lk_tpl_run *r, const struct lk_tpl_node *node);
lk_status lk_tpl_call_macro(struct lk_tpl_run *r, const struct lk_tpl_callable *c,
                            const struct lk_tpl_call *call, struct lk_value *out);
lk_status lk_tpl_call_block(struct lk_tpl_run *r, const struct lk_tpl_block *block,
                            struct lk_value *out);
/* loop(items) of a recursive loop. */
lk_status lk_tpl_call_loop(struct lk_tpl_run *r, struct lk_tpl_loop_state *loop,
                           const struct lk_value *items, struct lk_value *out);
lk_status lk_tpl_loop_attribute(struct lk_tpl_run *r, const struct lk_value *loop,
                                const struct lk_value *name, struct lk_value *out, bool *found);

/* ---- all of it ---- */

/* Renders into `out`, which is empty and counts against nothing yet. `variables` is a dict. */
lk_status lk_tpl_render(const struct lk_tpl *t, const struct lk_value *variables,
                        const struct tm *now, struct lk_text_buffer *out, lk_error *err);

#endif
