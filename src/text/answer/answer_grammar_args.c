/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_grammar_args: arguments of a tool in syntaxes that do not write them as JSON: tags, braces
 * with quotes of their own, Python. Types of a schema are kept, and enum, properties, required and
 * items; a tool that is strict and asks for more is refused.
 */
#include "text/answer/answer_grammar.h"
#include "text/value/json.h"

enum { MAX_NESTING = 32 };

/* ---- schemas ---- */

static bool says(const struct lk_value *schema, const char *key)
{
    const struct lk_value *v = lk_value_get(schema, key);
    return v && v->type != LK_VALUE_NULL;
}

/* Whether a schema says no more than what is kept here. */
static bool is_kept(const struct lk_value *schema)
{
    static const char *const kept[] = {"type",     "properties",  "required",
                                       "items",    "enum",        "title",
                                       "default",  "description", "additionalProperties",
                                       "examples", "$schema",     "const"};
    for (uint32_t i = 0; schema && i < schema->n; i++) {
        bool known = false;
        for (size_t k = 0; k < LK_COUNT(kept) && !known; k++) {
            known = lk_value_is(&schema->member[i].key, kept[k]);
        }
        if (!known) {
            return false;
        }
    }
    return true;
}

static void refuse(struct lk_answer_grammar *b, const struct lk_answer_tool *tool, const char *key,
                   const char *why)
{
    if (!b->status) {
        b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                            "tool '%.64s' is strict: parameter '%.64s': %s in the syntax %s",
                            tool->name, key, why, b->syntax->name);
    }
}

static bool is_required(const struct lk_value *schema, const struct lk_value *name)
{
    const struct lk_value *required = lk_value_get(schema, "required");
    for (uint32_t i = 0; required && required->type == LK_VALUE_LIST && i < required->n; i++) {
        const struct lk_value *v = &required->item[i];
        if (v->type == LK_VALUE_STRING && v->n == name->n &&
            memcmp(v->text, name->text, name->n) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t text_expr(struct lk_answer_grammar *b, const struct lk_value *v)
{
    return b->status ? LK_EXPR_NONE : lk_expr_literal(b->x, v->text, v->n);
}

/* Members in the order of the schema, those that are not required being free to be left out. `each`
 * makes one, without what separates it from others. */
typedef uint32_t (*member_fn)(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                              const struct lk_member *m, int depth);

static uint32_t members(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                        const struct lk_value *schema, const char *separator, member_fn each,
                        int depth)
{
    const struct lk_value *properties = lk_value_get(schema, "properties");
    uint32_t n = properties && properties->type == LK_VALUE_DICT ? properties->n : 0;
    uint32_t first = LK_EXPR_EMPTY, more = LK_EXPR_EMPTY; /* nothing came yet; something did */
    for (uint32_t i = n; i-- > 0 && !b->status;) {
        const struct lk_member *m = &properties->member[i];
        uint32_t one = each(b, tool, m, depth);
        uint32_t here = lk_rule_then(b, one, more);
        uint32_t later = lk_rule_then(b, lk_rule_literal(b, separator), here);
        bool needed = is_required(schema, &m->key);
        first = needed ? here : lk_rule_either(b, here, first);
        more = needed ? later : lk_rule_either(b, later, more);
    }
    return first;
}

/* ---- tags ---- */

/* The schema of a parameter with the definitions that it may refer to. */
static uint32_t json_of_parameter(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                                  const struct lk_value *schema)
{
    static const char *const names[] = {"$defs", "definitions"};
    struct lk_member *m = lk_region_array(&b->tools->region, (size_t)schema->n + 2, sizeof *m);
    struct lk_value with;
    size_t n = 0;
    for (; m && n < schema->n; n++) {
        m[n] = schema->member[n];
    }
    for (size_t i = 0; m && i < LK_COUNT(names); i++) {
        const struct lk_value *v = lk_value_get(tool->parameters, names[i]);
        if (v && !lk_value_get(schema, names[i])) {
            m[n++] = (struct lk_member){lk_value_text(names[i], strlen(names[i]), 0), *v};
        }
    }
    if (!m) {
        b->status = lk_region_fail(&b->tools->region, "request", b->err);
        return LK_EXPR_NONE;
    }
    b->status = lk_value_dict(&b->tools->region, m, n, "request", &with, b->err);
    return b->status ? LK_EXPR_NONE : lk_rule_json(b, &with, tool->name, tool->strict);
}

static uint32_t tagged_value(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                             const struct lk_member *m)
{
    const struct lk_value *values = lk_value_get(&m->value, "enum");
    bool text, other;
    lk_answer_types(&m->value, &text, &other);
    if (text && values && values->type == LK_VALUE_LIST) {
        uint32_t any = LK_EXPR_NONE;
        for (uint32_t i = 0; i < values->n; i++) {
            if (values->item[i].type == LK_VALUE_STRING) {
                any = lk_rule_either(b, any, text_expr(b, &values->item[i]));
            }
        }
        return lk_rule_then(b, any, lk_rule_mark(b, b->syntax->value_end));
    }
    if (tool->strict && text && !is_kept(&m->value)) {
        refuse(b, tool, m->key.text, "a string with such a schema can't be held to it");
    }
    return text ? lk_rule_until(b, b->syntax->value_end)
                : lk_rule_then(b, json_of_parameter(b, tool, &m->value),
                               lk_rule_mark(b, b->syntax->value_end));
}

static uint32_t tagged_head(struct lk_answer_grammar *b, uint32_t key)
{
    const struct lk_syntax *s = b->syntax;
    key =
        lk_rule_then(b, lk_rule_mark(b, s->key), lk_rule_then(b, key, lk_rule_mark(b, s->key_end)));
    return lk_rule_then(b, key, lk_rule_mark(b, s->value ? s->value : ""));
}

static uint32_t tagged_member(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                              const struct lk_member *m, int depth)
{
    (void)depth;
    return lk_rule_then(b, tagged_head(b, text_expr(b, &m->key)), tagged_value(b, tool, m));
}

static uint32_t word(struct lk_answer_grammar *b)
{
    uint32_t c =
        lk_rule_either(b, lk_rule_range(b, 'a', 'z', 1, 1), lk_rule_range(b, 'A', 'Z', 1, 1));
    c = lk_rule_either(b, c,
                       lk_rule_either(b, lk_rule_range(b, '0', '9', 1, 1),
                                      lk_rule_literal(b, "_")));
    return b->status ? LK_EXPR_NONE : lk_expr_repeat(b->x, c, 1, 64);
}

static uint32_t tagged(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    if (says(tool->parameters, "properties")) {
        return members(b, tool, tool->parameters, "", tagged_member, 0);
    }
    uint32_t one = lk_rule_then(b, tagged_head(b, word(b)), lk_rule_until(b, b->syntax->value_end));
    return b->status ? LK_EXPR_NONE : lk_expr_repeat(b->x, one, 0, 64);
}

/* ---- braces and Python ---- */

static bool is_python(const struct lk_answer_grammar *b)
{
    return b->syntax->kind == LK_CALL_PYTHON;
}

static uint32_t json_type(struct lk_answer_grammar *b, const char *type)
{
    struct lk_member m[1] = {{lk_value_text("type", 4, 0), lk_value_text(type, strlen(type), 0)}};
    const struct lk_value schema = {.type = LK_VALUE_DICT, .n = 1, .member = m};
    return lk_rule_json(b, &schema, "", true);
}

static uint32_t string(struct lk_answer_grammar *b)
{
    return is_python(b) ? json_type(b, "string")
                        : lk_rule_then(b, lk_rule_mark(b, b->syntax->quote),
                                       lk_rule_until(b, b->syntax->quote));
}

static uint32_t words(struct lk_answer_grammar *b, bool null)
{
    bool python = is_python(b);
    return null ? lk_rule_literal(b, python ? "None" : "null")
                : lk_rule_either(b, lk_rule_literal(b, python ? "True" : "true"),
                                 lk_rule_literal(b, python ? "False" : "false"));
}

static const char *comma(const struct lk_answer_grammar *b)
{
    return is_python(b) ? ", " : ",";
}

static uint32_t list_of(struct lk_answer_grammar *b, uint32_t item, char open, char close)
{
    char ends[2][2] = {{open, 0}, {close, 0}};
    if (b->status) {
        return LK_EXPR_NONE;
    }
    uint32_t more =
        lk_expr_repeat(b->x, lk_rule_then(b, lk_rule_literal(b, comma(b)), item), 0, LK_NO_LIMIT);
    uint32_t all = lk_rule_either(b, LK_EXPR_EMPTY, lk_rule_then(b, item, more));
    return lk_rule_then(b, lk_rule_literal(b, ends[0]),
                        lk_rule_then(b, all, lk_rule_literal(b, ends[1])));
}

/* Any value, a rule that refers to itself. */
static uint32_t any_value(struct lk_answer_grammar *b)
{
    uint32_t rule;
    if (!b->any_value && !b->status) {
        b->status = lk_grammar_add_rule(b->g, "value", 5, &rule, b->err);
        if (b->status) {
            return LK_EXPR_NONE;
        }
        b->any_value = rule + 1;
        uint32_t self = lk_expr_rule(b->x, rule);
        uint32_t key = is_python(b) ? lk_rule_then(b, string(b), lk_rule_literal(b, ": "))
                                    : lk_rule_then(b, word(b), lk_rule_literal(b, ":"));
        uint32_t e = lk_rule_either(b, string(b), json_type(b, "number"));
        e = lk_rule_either(b, e, lk_rule_either(b, words(b, false), words(b, true)));
        e = lk_rule_either(b, e, list_of(b, self, '[', ']'));
        e = lk_rule_either(b, e, list_of(b, lk_rule_then(b, key, self), '{', '}'));
        b->g->rule[rule].body = e;
        b->g->rule[rule].defined = true;
    }
    return b->status ? LK_EXPR_NONE : lk_expr_rule(b->x, b->any_value - 1);
}

static uint32_t value_of(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                         const struct lk_value *schema, int depth);

static uint32_t constant(struct lk_answer_grammar *b, const struct lk_value *v)
{
    struct lk_text_buffer text = {.what = "a tool", .err = b->err};
    uint32_t e = LK_EXPR_NONE;
    if (v->type == LK_VALUE_STRING && !is_python(b)) {
        uint32_t rest = lk_rule_then(b, text_expr(b, v), lk_rule_mark(b, b->syntax->quote));
        return lk_rule_then(b, lk_rule_mark(b, b->syntax->quote), rest);
    }
    if (v->type == LK_VALUE_BOOL || v->type == LK_VALUE_NULL) {
        bool python = is_python(b);
        return v->type == LK_VALUE_NULL ? words(b, true)
                                        : lk_rule_literal(b, v->boolean ? python ? "True" : "true"
                                                             : python   ? "False"
                                                                        : "false");
    }
    struct lk_json_writing how = lk_json_default();
    if (!b->status) {
        b->status = lk_json_write(&text, v, &how, b->err);
    }
    if (!b->status) {
        e = lk_expr_literal(b->x, text.bytes, text.n);
    }
    lk_text_free(&text);
    return e;
}

static uint32_t member_value(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                             const struct lk_member *m, int depth)
{
    if (depth > 0 && is_python(b)) {
        struct lk_value key = m->key;
        uint32_t name = lk_rule_then(b, constant(b, &key), lk_rule_literal(b, ": "));
        return lk_rule_then(b, name, value_of(b, tool, &m->value, depth));
    }
    uint32_t sign = lk_rule_literal(b, is_python(b) ? "=" : ":");
    return lk_rule_then(b, text_expr(b, &m->key),
                        lk_rule_then(b, sign, value_of(b, tool, &m->value, depth)));
}

static uint32_t object_of(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                          const struct lk_value *schema, int depth)
{
    uint32_t all = members(b, tool, schema, comma(b), member_value, depth + 1);
    return lk_rule_then(b, lk_rule_literal(b, "{"), lk_rule_then(b, all, lk_rule_literal(b, "}")));
}

static uint32_t value_of_type(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                              const struct lk_value *schema, const struct lk_value *type, int depth)
{
    const struct lk_value *items = lk_value_get(schema, "items");
    if (lk_value_is(type, "string")) {
        return string(b);
    }
    if (lk_value_is(type, "boolean") || lk_value_is(type, "null")) {
        return words(b, lk_value_is(type, "null"));
    }
    if (lk_value_is(type, "integer") || lk_value_is(type, "number")) {
        return json_type(b, lk_value_is(type, "integer") ? "integer" : "number");
    }
    if (lk_value_is(type, "array") && items && items->type == LK_VALUE_DICT) {
        return list_of(b, value_of(b, tool, items, depth + 1), '[', ']');
    }
    if (lk_value_is(type, "object") && says(schema, "properties")) {
        return object_of(b, tool, schema, depth);
    }
    return any_value(b);
}

static uint32_t value_of(struct lk_answer_grammar *b, const struct lk_answer_tool *tool,
                         const struct lk_value *schema, int depth)
{
    const struct lk_value *type = lk_value_get(schema, "type");
    const struct lk_value *values = lk_value_get(schema, "enum");
    uint32_t e = LK_EXPR_NONE;
    if (b->status) {
        return LK_EXPR_NONE;
    }
    if (tool->strict && (!is_kept(schema) || depth > MAX_NESTING)) {
        refuse(b, tool, "", "a schema of more than types can't be held to");
    }
    if (depth > MAX_NESTING) {
        return any_value(b);
    }
    if (values && values->type == LK_VALUE_LIST) {
        for (uint32_t i = 0; i < values->n; i++) {
            e = lk_rule_either(b, e, constant(b, &values->item[i]));
        }
        return e;
    }
    if (type && type->type == LK_VALUE_LIST && type->n) {
        for (uint32_t i = 0; i < type->n; i++) {
            e = lk_rule_either(b, e, value_of_type(b, tool, schema, &type->item[i], depth));
        }
        return e;
    }
    return value_of_type(b, tool, schema, type, depth);
}

static uint32_t literal_arguments(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    bool python = is_python(b);
    uint32_t all;
    if (says(tool->parameters, "properties")) {
        all = members(b, tool, tool->parameters, comma(b), member_value, 0);
    } else {
        uint32_t one = lk_rule_then(b, word(b), lk_rule_literal(b, python ? "=" : ":"));
        one = lk_rule_then(b, one, any_value(b));
        uint32_t next = lk_rule_then(b, lk_rule_literal(b, comma(b)), one);
        uint32_t more = b->status ? LK_EXPR_NONE : lk_expr_repeat(b->x, next, 0, 64);
        all = lk_rule_either(b, LK_EXPR_EMPTY, lk_rule_then(b, one, more));
    }
    return lk_rule_then(b, lk_rule_literal(b, python ? "(" : "{"),
                        lk_rule_then(b, all, lk_rule_literal(b, python ? ")" : "}")));
}

/* A schema that does not say so is one of objects all the same. */
static uint32_t json_arguments(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    const struct lk_value *schema = tool->parameters;
    struct lk_value with;
    if (!schema || says(schema, "type") || b->status) {
        return lk_rule_json(b, schema, tool->name, tool->strict);
    }
    struct lk_member *m = lk_region_array(&b->tools->region, (size_t)schema->n + 1, sizeof *m);
    if (!m) {
        b->status = lk_region_fail(&b->tools->region, "request", b->err);
        return LK_EXPR_NONE;
    }
    for (uint32_t i = 0; i < schema->n; i++) {
        m[i] = schema->member[i];
    }
    m[schema->n] = (struct lk_member){lk_value_text("type", 4, 0), lk_value_text("object", 6, 0)};
    b->status =
        lk_value_dict(&b->tools->region, m, (size_t)schema->n + 1, "request", &with, b->err);
    return b->status ? LK_EXPR_NONE : lk_rule_json(b, &with, tool->name, tool->strict);
}

uint32_t lk_rule_arguments(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    switch (b->syntax->kind) {
    case LK_CALL_TAGGED:
        return tagged(b, tool);
    case LK_CALL_BRACES:
    case LK_CALL_PYTHON:
        return literal_arguments(b, tool);
    default:
        return json_arguments(b, tool);
    }
}
