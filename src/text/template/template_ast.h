/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_ast: a compiled template: nodes, scopes and functions, and the steps that make them:
 * tokens (template_lex.c, template_literal.c), nodes (template_parse.c, template_expr.c,
 * template_primary.c, template_postfix.c), variables (template_names.c, template_scope.c). For the
 * template files only. A compiled template never changes.
 *
 * The language is that of Jinja 3.1 in the environment that Hugging Face's transformers renders
 * chat templates in: trim_blocks, lstrip_blocks, no autoescape, loop controls, {% generation %}.
 */
#ifndef LK_TEMPLATE_AST_H
#define LK_TEMPLATE_AST_H

#include "text/value/region.h"
#include "text/value/value.h"

enum {
    LK_TPL_DEPTH = 200,              /* nodes inside of each other, and calls of macros */
    LK_TPL_SOURCE = 1 << 22,         /* bytes of a template */
    LK_TPL_COMPILED = 1 << 26,       /* bytes of a compiled one */
    LK_TPL_COMPILE_STEPS = 20000000, /* of template_scope.c */
};

/* ---- tokens ---- */

enum lk_tpl_token {
    TOKEN_END,
    TOKEN_DATA, /* text outside of tags */
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_PRINT_BEGIN,
    TOKEN_PRINT_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_OPERATOR
};

enum lk_tpl_op {
    OP_NONE,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_CONCAT,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
    OP_ASSIGN,
    OP_DOT,
    OP_COLON,
    OP_PIPE,
    OP_COMMA,
    OP_SEMICOLON,
    OP_PAREN,
    OP_PAREN_END,
    OP_BRACKET,
    OP_BRACKET_END,
    OP_BRACE,
    OP_BRACE_END,
    OP_WORD /* `and` or `or` */
};

struct lk_tpl_tok {
    enum lk_tpl_token type;
    enum lk_tpl_op op;
    uint32_t at;           /* byte of the source */
    struct lk_value value; /* DATA, NAME, STRING: text; INT, FLOAT: the number */
};

/* What compiling shares. */
struct lk_tpl_lexer {
    struct lk_region *region; /* of what is compiled */
    const char *text;         /* line ends are line feeds; no final one */
    size_t len, at;
    enum { IN_TEXT, IN_BLOCK, IN_PRINT } state;
    bool line_start; /* the last match ended a line */
    char *open;      /* brackets that are open in a tag */
    size_t n_open, open_cap;
    struct lk_tpl_tok ready; /* DATA is followed by the token of the tag that ends it */
    bool has_ready;
    lk_error *err;
};

/* A copy of the source in the region with its line ends made line feeds; checks UTF-8. */
lk_status lk_tpl_source(struct lk_region *region, const char *source, size_t len, const char **text,
                        size_t *n, lk_error *err);
lk_status lk_tpl_next(struct lk_tpl_lexer *l, struct lk_tpl_tok *out);
/* A number, a string that begin at l->at (template_literal.c). */
lk_status lk_tpl_read_number(struct lk_tpl_lexer *l, struct lk_tpl_tok *out);
lk_status lk_tpl_read_string(struct lk_tpl_lexer *l, struct lk_tpl_tok *out);
/* LK_E_FORMAT (or status) with "chat template LINE:COLUMN: " and the message. */
__attribute__((format(printf, 5, 6))) lk_status
lk_tpl_error(const char *text, size_t at, lk_status status, lk_error *err, const char *format, ...);

/* ---- nodes ---- */

enum lk_tpl_kind {
    /* Expressions: what left, right, third, list and more are. */
    NODE_CONST,   /* value */
    NODE_NAME,    /* value: the name; var */
    NODE_LIST,    /* list: items */
    NODE_TUPLE,   /* list: items */
    NODE_DICT,    /* list: links of key (left) and value (right) */
    NODE_OR,      /* left, list: links of operands */
    NODE_AND,     /* the same */
    NODE_NOT,     /* left */
    NODE_COMPARE, /* left, list: links with op */
    NODE_MATH,    /* left, list: links with op */
    NODE_CONCAT,  /* list: links */
    NODE_NEG,     /* left */
    NODE_POS,     /* left */
    NODE_IF_ELSE, /* left if third else right; right may be NULL */
    NODE_ATTR,    /* left.value */
    NODE_ITEM,    /* left[right] */
    NODE_SLICE,   /* left:right:third, each may be NULL; only as the right of an ITEM */
    NODE_CALL,    /* left(args) */
    NODE_FILTER,  /* left|value(args); left NULL: the block's text; builtin */
    NODE_TEST,    /* left is value(args); builtin */
    NODE_NSREF,   /* left.value, where left is a NAME: only as a target */
    NODE_LINK,    /* left, of a list; op; value: the name of a keyword argument */
    /* Statements. `list` is the body, `more` an else-body. */
    NODE_DATA,         /* value: text */
    NODE_PRINT,        /* left */
    NODE_FOR,          /* left: target, right: iterable, third: test or NULL; loop */
    NODE_IF,           /* left: test, right: the next elif or NULL, more: only of the last */
    NODE_SET,          /* left: target, right */
    NODE_SET_BLOCK,    /* left: target, right: FILTER or NULL; scope */
    NODE_MACRO,        /* left: NAME, right: parameters; macro */
    NODE_CALL_BLOCK,   /* left: the CALL, or NULL for generation; right: parameters; macro */
    NODE_FILTER_BLOCK, /* left: the FILTER; scope */
    NODE_WITH,         /* right: links of target (left) and value (right); scope */
    NODE_BLOCK,        /* value: the name; block */
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_NO_LOADER, /* extends, include, import, from: value is the tag */
};

/* A variable at run time: how many functions outward, and which of its slots. */
struct lk_tpl_var {
    uint16_t hops;
    uint32_t slot;
};

struct lk_tpl_node {
    uint8_t kind, op;
    bool flag;       /* NAME: is stored; FOR: recursive; FILTER, TEST: of a soft place */
    uint16_t height; /* nodes inside of each other, itself included */
    uint32_t at;     /* byte of the source */
    struct lk_value value;
    struct lk_tpl_node *next; /* in the list that it is in */
    struct lk_tpl_node *left, *right, *third, *list, *more;
    struct lk_tpl_args *args; /* CALL, FILTER, TEST; NULL: none */
    union {
        struct lk_tpl_var var;
        int builtin; /* -1: nobody knows it */
        struct lk_tpl_scope *scope;
        struct lk_tpl_loop *loop;
        struct lk_tpl_macro *macro;
        struct lk_tpl_block *block;
    };
};

struct lk_tpl_args {
    struct lk_tpl_node *list, *named; /* links */
    struct lk_tpl_node *star, *star_star;
    uint32_t n, n_named;
};

/* ---- variables: what template_scope.c finds out ---- */

enum lk_tpl_load { LOAD_PARAMETER, LOAD_RESOLVE, LOAD_ALIAS, LOAD_UNDEFINED };

/* What a variable is when its scope is entered: nothing yet, one of the context, one of outside. */
struct lk_tpl_init {
    enum lk_tpl_load load;
    uint32_t slot;
    struct lk_tpl_var from; /* ALIAS */
    struct lk_value name;   /* RESOLVE */
};

struct lk_tpl_scope {
    struct lk_tpl_init *init;
    uint32_t n;
};

/* Python's functions: the template, macros, recursive loops, blocks. Each call has slots of its
 * own. */
struct lk_tpl_func {
    struct lk_tpl_func *parent;
    uint32_t n_slots;
};

struct lk_tpl_loop {
    struct lk_tpl_scope body, otherwise, test;
    struct lk_tpl_func *func; /* of a recursive loop; else NULL */
    bool extended;            /* `loop` is looked at */
    uint32_t loop_slot;
    struct lk_tpl_node *test_target; /* the target again, with the variables of the test */
};

struct lk_tpl_macro {
    struct lk_tpl_func func;
    struct lk_tpl_scope scope;
    uint32_t n_params;
    struct lk_tpl_parameter {
        struct lk_value name;
        uint32_t slot;
        struct lk_tpl_node *fallback; /* NULL: undefined */
    } * param;
    bool takes_caller, takes_kwargs, takes_varargs, explicit_caller;
    uint32_t caller_slot, kwargs_slot, varargs_slot;
};

struct lk_tpl_block {
    struct lk_tpl_func func;
    struct lk_tpl_scope scope;
    struct lk_tpl_node *node;
    struct lk_tpl_block *next;
    bool uses_self;
    uint32_t self_slot;
};

/* A whole template. */
struct lk_tpl {
    struct lk_region region;
    const char *text;
    size_t len;
    struct lk_tpl_node *body;
    struct lk_tpl_func func;
    struct lk_tpl_scope scope;
    struct lk_tpl_block *blocks;
    bool uses_self;
    uint32_t self_slot;
    struct lk_tpl_init *exported; /* top-level variables, for blocks */
    uint32_t n_exported;
};

/* ---- the parser ---- */

struct lk_tpl_parser {
    struct lk_tpl_lexer lex;
    struct lk_tpl_tok tok, ahead; /* the present token, and one more if has_ahead */
    bool has_ahead;
    unsigned depth;
    lk_error *err;
};

lk_status lk_tpl_parse(struct lk_tpl *t, lk_error *err); /* t->text to t->body */

/* What template_parse.c, template_expr.c, template_primary.c and template_postfix.c share. A
 * function that returns a node returns NULL where it failed and filled err. */
struct lk_tpl_node *lk_tpl_node(struct lk_tpl_parser *p, enum lk_tpl_kind kind, size_t at);
/* Raises a node's height above its child's (may be NULL); false with an error where it is too
 * high. */
bool lk_tpl_adopt(struct lk_tpl_parser *p, struct lk_tpl_node *node,
                  const struct lk_tpl_node *child);
struct lk_tpl_node *lk_tpl_make(struct lk_tpl_parser *p, enum lk_tpl_kind kind); /* where p is */
/* Appends an item, or a link to `left`, to a list of `owner` whose end is *end. */
bool lk_tpl_append(struct lk_tpl_parser *p, struct lk_tpl_node *owner, struct lk_tpl_node ***end,
                   struct lk_tpl_node *item);
struct lk_tpl_node *lk_tpl_link(struct lk_tpl_parser *p, struct lk_tpl_node *owner,
                                struct lk_tpl_node ***end, struct lk_tpl_node *left);
/* node with its left; NULL where one of them is. */
struct lk_tpl_node *lk_tpl_with_left(struct lk_tpl_parser *p, struct lk_tpl_node *node,
                                     struct lk_tpl_node *left);
bool lk_tpl_enter(struct lk_tpl_parser *p); /* one level deeper; false with an error: too deep */
bool lk_tpl_advance(struct lk_tpl_parser *p);
bool lk_tpl_peek(struct lk_tpl_parser *p); /* fills p->ahead */
bool lk_tpl_is_op(const struct lk_tpl_parser *p, enum lk_tpl_op op);
bool lk_tpl_is_name(const struct lk_tpl_parser *p, const char *name);
bool lk_tpl_expect_op(struct lk_tpl_parser *p, enum lk_tpl_op op);
void *lk_tpl_unexpected(struct lk_tpl_parser *p, const char *expect); /* NULL, with an error */
void *lk_tpl_no_memory(struct lk_tpl_parser *p);

struct lk_tpl_node *lk_tpl_expression(struct lk_tpl_parser *p, bool with_if);
/* An expression, or a tuple where commas follow. `end`: a name that may end it, or NULL. */
struct lk_tpl_node *lk_tpl_tuple(struct lk_tpl_parser *p, bool with_if, const char *end,
                                 bool in_parentheses);
/* A name, a literal or something in brackets. */
struct lk_tpl_node *lk_tpl_primary(struct lk_tpl_parser *p, bool with_namespace);
/* A node with what follows it: points, brackets and calls; then filters and tests. */
struct lk_tpl_node *lk_tpl_postfix(struct lk_tpl_parser *p, struct lk_tpl_node *node);
struct lk_tpl_node *lk_tpl_filters_and_tests(struct lk_tpl_parser *p, struct lk_tpl_node *node);
/* What may stand left of `=` or `in`. */
struct lk_tpl_node *lk_tpl_target(struct lk_tpl_parser *p, const char *end, bool with_namespace);
struct lk_tpl_node *lk_tpl_target_name(struct lk_tpl_parser *p);
/* The filters that follow, each after a `|` but for the first if `inline_first`; node may be
 * NULL. */
struct lk_tpl_node *lk_tpl_filters(struct lk_tpl_parser *p, struct lk_tpl_node *node,
                                   bool inline_first);

/* ---- variables ---- */

lk_status lk_tpl_bind(struct lk_tpl *t, lk_error *err);

/* ---- built-in filters and tests by name; -1: none (template_filters.c, template_tests.c) ---- */

int lk_tpl_find_filter(const struct lk_value *name);
int lk_tpl_find_test(const struct lk_value *name);

/* ---- all of it ---- */

lk_status lk_tpl_compile(const char *source, size_t len, struct lk_tpl **out, lk_error *err);
void lk_tpl_free(struct lk_tpl **t);

#endif
