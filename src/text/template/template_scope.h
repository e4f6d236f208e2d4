/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_scope: what template_names.c (which names a scope has) and template_scope.c (which slots
 * they are) share. For these files only.
 */
#ifndef LK_TEMPLATE_SCOPE_H
#define LK_TEMPLATE_SCOPE_H

#include <string.h>

#include "text/template/template_ast.h"

struct lk_tpl_entry {
    struct lk_value name;
    enum lk_tpl_load load;
    bool stored;
    struct lk_tpl_var from; /* ALIAS */
    uint32_t slot;          /* known once all names of the scope are */
};

/* The names of one scope. */
struct lk_tpl_symbols {
    struct lk_tpl_symbols *parent;
    struct lk_tpl_func *func;
    struct lk_tpl_entry *entry;
    size_t n, cap;
};

struct lk_tpl_binder {
    struct lk_tpl *t;
    size_t steps;
    bool in_for; /* some `for` is around, which forbids to store `loop` */
    lk_error *err;
    lk_status status; /* the first failure */
};

void lk_tpl_bind_fail(struct lk_tpl_binder *b, size_t at, lk_status status, const char *message);
void lk_tpl_bind_no_memory(struct lk_tpl_binder *b);
void lk_tpl_bind_step(struct lk_tpl_binder *b, size_t n); /* counts work */

struct lk_tpl_entry *lk_tpl_find_own(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                                     const struct lk_value *name);
/* Also in the scopes around; *owner is the one that has it. */
struct lk_tpl_entry *lk_tpl_find_name(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                                      const struct lk_value *name, struct lk_tpl_symbols **owner);
/* How a function reaches a slot of a scope around it. */
struct lk_tpl_var lk_tpl_reach(const struct lk_tpl_func *from, const struct lk_tpl_symbols *owner,
                               const struct lk_tpl_entry *e);
/* A name that has its value when the scope begins: a parameter, a loop's target. */
void lk_tpl_declare(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const struct lk_value *name);
void lk_tpl_declare_word(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const char *name);
void lk_tpl_declare_targets(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                            const struct lk_tpl_node *target);
/* Adds the names that a node (or a list) uses in the scope that it stands in; inner scopes are left
 * out. */
void lk_tpl_names_of(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                     const struct lk_tpl_node *node);
void lk_tpl_names_of_list(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                          const struct lk_tpl_node *node);
/* Whether a body, inner scopes included, loads a name before it stores it. */
bool lk_tpl_uses(struct lk_tpl_binder *b, const struct lk_tpl_node *body, const char *name);

#endif
