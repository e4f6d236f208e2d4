/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_names: the names that a scope loads and stores, found before it runs. A name stored in a
 * scope belongs to it from its beginning on, with the value that it has outside; a name stored in a
 * branch of an `if` belongs to the scope around it; a name that nobody stores comes from the
 * context.
 */
#include "text/template/template_scope.h"

#include "base/mem.h"

void lk_tpl_bind_fail(struct lk_tpl_binder *b, size_t at, lk_status status, const char *message)
{
    if (!b->status) {
        b->status = lk_tpl_error(b->t->text, at, status, b->err, "%s", message);
    }
}

void lk_tpl_bind_no_memory(struct lk_tpl_binder *b)
{
    if (!b->status) {
        b->status = lk_region_fail(&b->t->region, "chat template", b->err);
    }
}

void lk_tpl_bind_step(struct lk_tpl_binder *b, size_t n)
{
    b->steps += n;
    if (b->steps > LK_TPL_COMPILE_STEPS && !b->status) {
        b->status = lk_fail(b->err, LK_E_INVALID,
                            "chat template: too many names in scopes inside of "
                            "each other");
    }
}

/* ---- symbols ---- */

struct lk_tpl_entry *lk_tpl_find_own(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                                     const struct lk_value *name)
{
    lk_tpl_bind_step(b, s->n / 8 + 1);
    for (size_t i = 0; i < s->n; i++) {
        const struct lk_value *n = &s->entry[i].name;
        if (n->n == name->n && memcmp(n->text, name->text, n->n) == 0) {
            return &s->entry[i];
        }
    }
    return NULL;
}

struct lk_tpl_entry *lk_tpl_find_name(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                                      const struct lk_value *name, struct lk_tpl_symbols **owner)
{
    for (; s; s = s->parent) {
        struct lk_tpl_entry *e = lk_tpl_find_own(b, s, name);
        if (e) {
            *owner = s;
            return e;
        }
    }
    return NULL;
}

static struct lk_tpl_entry *define(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                                   const struct lk_value *name, enum lk_tpl_load load)
{
    struct lk_tpl_entry *e = lk_tpl_find_own(b, s, name);
    if (!e) {
        lk_status status = lk_grow(&s->entry, &s->cap, s->n + 1, sizeof *s->entry, b->err);
        if (status) {
            b->status = b->status ? b->status : status;
            return NULL;
        }
        e = &s->entry[s->n++];
        *e = (struct lk_tpl_entry){.name = *name};
    }
    e->load = load;
    return e;
}

/* How a function reaches a slot of a scope around it. */
struct lk_tpl_var lk_tpl_reach(const struct lk_tpl_func *from, const struct lk_tpl_symbols *owner,
                               const struct lk_tpl_entry *e)
{
    struct lk_tpl_var var = {0, e->slot};
    for (; from && from != owner->func; from = from->parent) {
        var.hops++;
    }
    return var;
}

static void alias(struct lk_tpl_entry *e, const struct lk_tpl_symbols *s,
                  const struct lk_tpl_symbols *owner, const struct lk_tpl_entry *outer)
{
    e->load = LOAD_ALIAS;
    e->from = lk_tpl_reach(s->func, owner, outer);
}

static void load(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const struct lk_value *name)
{
    struct lk_tpl_symbols *owner;
    if (!lk_tpl_find_name(b, s, name, &owner)) {
        define(b, s, name, LOAD_RESOLVE);
    }
}

static void store(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const struct lk_value *name)
{
    struct lk_tpl_entry *e = lk_tpl_find_own(b, s, name);
    if (!e && (e = define(b, s, name, LOAD_UNDEFINED)) != NULL) {
        struct lk_tpl_symbols *owner;
        struct lk_tpl_entry *outer = lk_tpl_find_name(b, s->parent, name, &owner);
        if (outer) {
            alias(e, s, owner, outer);
        }
    }
    if (e) {
        e->stored = true;
    }
}

void lk_tpl_declare(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const struct lk_value *name)
{
    struct lk_tpl_entry *e = define(b, s, name, LOAD_PARAMETER);
    if (e) {
        e->stored = true;
    }
}

static struct lk_value text_of(const char *name)
{
    return lk_value_text(name, strlen(name), LK_VALUE_TRUSTED);
}

void lk_tpl_declare_word(struct lk_tpl_binder *b, struct lk_tpl_symbols *s, const char *name)
{
    struct lk_value v = text_of(name);
    lk_tpl_declare(b, s, &v);
}

/* ---- which names a scope has ---- */

void lk_tpl_names_of_list(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                          const struct lk_tpl_node *node)
{
    for (; node && !b->status; node = node->next) {
        lk_tpl_names_of(b, s, node);
    }
}

static void names_of_args(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                          const struct lk_tpl_args *a)
{
    if (a) {
        lk_tpl_names_of_list(b, s, a->list);
        lk_tpl_names_of_list(b, s, a->named);
        lk_tpl_names_of(b, s, a->star);
        lk_tpl_names_of(b, s, a->star_star);
    }
}

void lk_tpl_declare_targets(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                            const struct lk_tpl_node *target)
{
    if (target->kind == NODE_NAME) {
        lk_tpl_declare(b, s, &target->value);
    }
    for (const struct lk_tpl_node *i = target->kind == NODE_TUPLE ? target->list : NULL; i;
         i = i->next) {
        lk_tpl_declare_targets(b, s, i);
    }
}

/* A copy of a scope's names for one branch. */
static struct lk_tpl_symbols branch_of(struct lk_tpl_binder *b, const struct lk_tpl_symbols *s)
{
    struct lk_tpl_symbols copy = {s->parent, s->func, NULL, 0, 0};
    lk_status status = lk_grow(&copy.entry, &copy.cap, s->n, sizeof *copy.entry, b->err);
    lk_tpl_bind_step(b, s->n / 4 + 1);
    if (status) {
        b->status = b->status ? b->status : status;
    } else if (s->n) {
        memcpy(copy.entry, s->entry, s->n * sizeof *s->entry);
        copy.n = s->n;
    }
    return copy;
}

/* What a branch found becomes the scope's; `before` is the number of names that it had. */
static void merge(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                  const struct lk_tpl_symbols *branch)
{
    for (size_t i = 0; i < branch->n && !b->status; i++) {
        const struct lk_tpl_entry *from = &branch->entry[i];
        struct lk_tpl_entry *e = define(b, s, &from->name, from->load);
        if (e) {
            bool stored = e->stored || from->stored;
            uint32_t slot = e->slot;
            *e = *from;
            e->stored = stored;
            e->slot = slot;
        }
    }
}

/* Of the names that branches store: they may stay what they were outside. */
static void names_of_if(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                        const struct lk_tpl_node *node)
{
    lk_tpl_names_of(b, s, node->left);
    struct lk_tpl_symbols branch[3] = {branch_of(b, s), branch_of(b, s), branch_of(b, s)};
    struct lk_tpl_symbols before = branch_of(b, s);
    lk_tpl_names_of_list(b, &branch[0], node->list);
    for (const struct lk_tpl_node *n = node->right; n && !b->status; n = n->right) {
        struct lk_tpl_node alone = *n; /* an elif is an `if` of its own in the branch of them all */
        alone.right = NULL;
        alone.more = NULL;
        names_of_if(b, &branch[1], &alone);
    }
    const struct lk_tpl_node *last = node;
    while (last->right) {
        last = last->right;
    }
    lk_tpl_names_of_list(b, &branch[2], last->more);
    for (int i = 0; i < 3; i++) {
        merge(b, s, &branch[i]);
    }
    for (size_t i = 0; i < s->n && !b->status; i++) {
        struct lk_tpl_entry *e = &s->entry[i], *was = lk_tpl_find_own(b, &before, &e->name);
        struct lk_tpl_symbols *owner;
        if (e->stored && !(was && was->stored)) {
            struct lk_tpl_entry *outer = lk_tpl_find_name(b, s->parent, &e->name, &owner);
            if (outer) {
                alias(e, s, owner, outer);
            } else {
                e->load = LOAD_RESOLVE;
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        lk_free(branch[i].entry);
    }
    lk_free(before.entry);
}

/* The names that a node uses in the scope that it stands in; inner scopes are left out. */
void lk_tpl_names_of(struct lk_tpl_binder *b, struct lk_tpl_symbols *s,
                     const struct lk_tpl_node *node)
{
    if (!node || b->status) {
        return;
    }
    lk_tpl_bind_step(b, 1);
    switch (node->kind) {
    case NODE_NAME:
        if (node->flag) {
            store(b, s, &node->value);
        } else {
            load(b, s, &node->value);
        }
        return;
    case NODE_IF:
        names_of_if(b, s, node);
        return;
    case NODE_SET:
        lk_tpl_names_of(b, s, node->right);
        lk_tpl_names_of(b, s, node->left);
        return;
    case NODE_FOR:
        lk_tpl_names_of(b, s, node->right);
        return;
    case NODE_WITH:
        for (const struct lk_tpl_node *i = node->right; i; i = i->next) {
            lk_tpl_names_of(b, s, i->right);
        }
        return;
    case NODE_MACRO:
    case NODE_SET_BLOCK:
    case NODE_CALL_BLOCK:
    case NODE_FILTER_BLOCK:
        lk_tpl_names_of(b, s, node->left);
        return;
    case NODE_BLOCK:
    case NODE_DATA:
    case NODE_CONST:
        return;
    default:
        break;
    }
    lk_tpl_names_of(b, s, node->left);
    lk_tpl_names_of(b, s, node->third);
    lk_tpl_names_of(b, s, node->right);
    lk_tpl_names_of_list(b, s, node->list);
    if (node->kind == NODE_CALL || node->kind == NODE_FILTER || node->kind == NODE_TEST) {
        names_of_args(b, s, node->args);
    }
}

/* ---- special names: caller, kwargs, varargs, loop, self ---- */

struct hunt {
    struct lk_tpl_binder *b;
    const char *name;
    bool found, stored; /* stored before it was loaded: then it is an ordinary name */
};

static void hunt(struct hunt *h, const struct lk_tpl_node *node);

static void hunt_list(struct hunt *h, const struct lk_tpl_node *node)
{
    for (; node; node = node->next) {
        hunt(h, node);
    }
}

static void hunt_parameters(struct hunt *h, const struct lk_tpl_node *node)
{
    for (const struct lk_tpl_node *n = node; n; n = n->next) {
        h->stored |= lk_value_is(&n->value, h->name);
    }
    for (; node; node = node->next) {
        hunt(h, node->right);
    }
}

/* Looks through a node and all inside of it in the order of their text. */
static void hunt(struct hunt *h, const struct lk_tpl_node *node)
{
    if (!node || h->found || h->b->status) {
        return;
    }
    lk_tpl_bind_step(h->b, 1);
    switch (node->kind) {
    case NODE_BLOCK:
    case NODE_DATA:
    case NODE_CONST:
        return;
    case NODE_NAME:
        if (lk_value_is(&node->value, h->name)) {
            h->found = !node->flag && !h->stored;
            h->stored |= node->flag;
        }
        return;
    case NODE_MACRO: /* its name is no NAME of the tree that Jinja looks through */
        hunt_parameters(h, node->right);
        hunt_list(h, node->list);
        return;
    case NODE_CALL_BLOCK:
        hunt(h, node->left);
        hunt_parameters(h, node->right);
        hunt_list(h, node->list);
        return;
    case NODE_FILTER_BLOCK:
        hunt_list(h, node->list);
        hunt(h, node->left);
        return;
    case NODE_FOR:
        hunt(h, node->left);
        hunt(h, node->right);
        hunt_list(h, node->list);
        hunt_list(h, node->more);
        hunt(h, node->third);
        return;
    case NODE_IF:
        for (; node; node = node->right) {
            hunt(h, node->left);
            hunt_list(h, node->list);
            hunt_list(h, node->more);
        }
        return;
    case NODE_WITH:
        for (const struct lk_tpl_node *i = node->right; i; i = i->next) {
            h->stored |= i->left->kind == NODE_NAME && lk_value_is(&i->left->value, h->name);
        }
        hunt_list(h, node->right);
        hunt_list(h, node->list);
        return;
    default:
        break;
    }
    hunt(h, node->left);
    hunt(h, node->third);
    hunt(h, node->right);
    hunt_list(h, node->list);
    if ((node->kind == NODE_CALL || node->kind == NODE_FILTER || node->kind == NODE_TEST) &&
        node->args) {
        hunt_list(h, node->args->list);
        hunt_list(h, node->args->named);
        hunt(h, node->args->star);
        hunt(h, node->args->star_star);
    }
}

bool lk_tpl_uses(struct lk_tpl_binder *b, const struct lk_tpl_node *body, const char *name)
{
    struct hunt h = {.b = b, .name = name};
    hunt_list(&h, body);
    return h.found;
}
