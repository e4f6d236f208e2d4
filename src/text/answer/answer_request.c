/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_request: see answer_request.h.
 */
#include "text/answer/answer_request.h"

#include "text/value/json.h"

enum { MAX_MEMORY = 1 << 28, MAX_TOOLS = 4096 };

static lk_status bad(const char *what, const char *expected, lk_error *err)
{
    return lk_fail(err, LK_E_FORMAT, "request: %s: expected %s", what, expected);
}

static bool is_set(const struct lk_value *v)
{
    return v && v->type != LK_VALUE_NULL;
}

/* ---- tools ---- */

static lk_status read_tool(const struct lk_answer_tools *all, struct lk_region *region,
                           const struct lk_value *v, struct lk_answer_tool *tool, lk_error *err)
{
    const struct lk_value *f = lk_value_get(v, "function");
    f = f ? f : v;
    const struct lk_value *name = lk_value_get(f, "name"), *strict = lk_value_get(f, "strict");
    const struct lk_value *parameters = lk_value_get(f, "parameters");
    if (!name || name->type != LK_VALUE_STRING || !name->n || memchr(name->text, 0, name->n)) {
        return bad("tools", "functions with a name", err);
    }
    if (is_set(parameters) && parameters->type != LK_VALUE_DICT) {
        return bad("tools: parameters", "a JSON schema, an object", err);
    }
    char *copy = lk_region_copy(region, name->text, name->n);
    if (!copy) {
        return lk_region_fail(region, "request", err);
    }
    if (lk_answer_tool_find(all, copy)) {
        return lk_fail(err, LK_E_FORMAT, "request: tools: '%.64s' is there twice", copy);
    }
    *tool = (struct lk_answer_tool){
        .name = copy,
        .n_name = name->n,
        .parameters = is_set(parameters) ? parameters : NULL,
        .strict = strict && strict->type == LK_VALUE_BOOL && strict->boolean,
    };
    return LK_OK;
}

static lk_status read_tools(struct lk_answer_tools *to, const struct lk_value *tools, lk_error *err)
{
    if (!is_set(tools)) {
        return LK_OK;
    }
    if (tools->type != LK_VALUE_LIST || tools->n > MAX_TOOLS) {
        return bad("tools", "an array of at most 4096 functions", err);
    }
    to->tool = lk_region_array(&to->region, tools->n, sizeof *to->tool);
    lk_status status = to->tool || !tools->n ? LK_OK : lk_region_fail(&to->region, "request", err);
    for (uint32_t i = 0; i < tools->n && !status; i++) {
        status = read_tool(to, &to->region, &tools->item[i], &to->tool[i], err);
        to->n += !status;
    }
    return status;
}

static lk_status read_choice(struct lk_answer_tools *to, const struct lk_value *v, lk_error *err)
{
    if (!is_set(v) || lk_value_is(v, "auto")) {
        return LK_OK;
    }
    if (lk_value_is(v, "none")) {
        to->choice = LK_CHOICE_NONE;
        return LK_OK;
    }
    to->choice = LK_CHOICE_REQUIRED;
    if (!to->n) {
        return bad("tool_choice", "\"none\" or \"auto\" without tools", err);
    }
    if (lk_value_is(v, "required") || lk_value_is(v, "any")) {
        return LK_OK;
    }
    const struct lk_value *f = lk_value_get(v, "function");
    const struct lk_value *name = lk_value_get(f ? f : v, "name");
    for (size_t i = 0; i < to->n && name && name->type == LK_VALUE_STRING; i++) {
        if (lk_value_is(name, to->tool[i].name)) {
            to->chosen = &to->tool[i];
        }
    }
    return to->chosen
               ? LK_OK
               : bad("tool_choice", "\"none\", \"auto\", \"required\" or one of the tools", err);
}

/* ---- the form of the answer ---- */

static lk_status read_format(struct lk_answer_tools *to, const struct lk_value *v, lk_error *err)
{
    const struct lk_value *type = lk_value_get(v, "type");
    if (!is_set(v) || lk_value_is(type, "text")) {
        return LK_OK;
    }
    const struct lk_value *named = lk_value_get(v, "json_schema");
    const struct lk_value *schema = lk_value_get(named ? named : v, "schema");
    bool any = lk_value_is(type, "json_object");
    if (!any && !lk_value_is(type, "json_schema")) {
        return bad("response_format: type", "\"text\", \"json_object\" or \"json_schema\"", err);
    }
    if (!any && !is_set(schema)) {
        return bad("response_format: json_schema", "an object with a schema", err);
    }
    to->json = true;
    to->schema = is_set(schema) ? schema : NULL;
    return LK_OK;
}

lk_status lk_answer_tools_read(struct lk_answer_tools *to, const char *request, size_t len,
                               lk_error *err)
{
    const struct lk_json_reading how = {.what = "request"};
    struct lk_value *v;
    to->parallel = true;
    to->region.max_bytes = MAX_MEMORY;
    if (!request) {
        return LK_OK;
    }
    v = lk_region_alloc(&to->region, sizeof *v);
    if (!v) {
        return lk_region_fail(&to->region, "request", err);
    }
    lk_status status = lk_json_read(&to->region, request, len, &how, v, err);
    if (!status && v->type != LK_VALUE_DICT) {
        status = lk_fail(err, LK_E_FORMAT, "request: expected an object");
    }
    const struct lk_value *parallel = status ? NULL : lk_value_get(v, "parallel_tool_calls");
    if (!status) {
        status = read_tools(to, lk_value_get(v, "tools"), err);
    }
    if (!status) {
        status = read_choice(to, lk_value_get(v, "tool_choice"), err);
    }
    if (!status && is_set(parallel)) {
        status = parallel->type == LK_VALUE_BOOL ? LK_OK
                                                 : bad("parallel_tool_calls", "true or false", err);
        to->parallel = status || parallel->boolean;
    }
    return status ? status : read_format(to, lk_value_get(v, "response_format"), err);
}

void lk_answer_tools_free(struct lk_answer_tools *tools)
{
    lk_region_free(&tools->region);
    *tools = (struct lk_answer_tools){0};
}

/* ---- asking ---- */

const struct lk_answer_tool *lk_answer_tool_find(const struct lk_answer_tools *tools,
                                                 const char *name)
{
    for (size_t i = 0; i < tools->n; i++) {
        if (strcmp(tools->tool[i].name, name) == 0) {
            return &tools->tool[i];
        }
    }
    return NULL;
}

const struct lk_value *lk_answer_parameter(const struct lk_answer_tool *tool, const char *key)
{
    return tool ? lk_value_get(lk_value_get(tool->parameters, "properties"), key) : NULL;
}

static void one_type(const struct lk_value *type, bool *text, bool *other)
{
    bool is_text = lk_value_is(type, "string");
    *text |= is_text;
    *other |= !is_text;
}

static void values_types(const struct lk_value *values, bool *text, bool *other)
{
    for (uint32_t i = 0; i < values->n; i++) {
        bool is_text = values->item[i].type == LK_VALUE_STRING;
        *text |= is_text;
        *other |= !is_text;
    }
}

void lk_answer_types(const struct lk_value *schema, bool *text, bool *other)
{
    const struct lk_value *type = lk_value_get(schema, "type");
    const struct lk_value *values = lk_value_get(schema, "enum");
    const struct lk_value *constant = lk_value_get(schema, "const");
    const struct lk_value *any = lk_value_get(schema, "anyOf");
    any = any ? any : lk_value_get(schema, "oneOf");
    *text = *other = false;
    if (type && type->type == LK_VALUE_STRING) {
        one_type(type, text, other);
    } else if (type && type->type == LK_VALUE_LIST) {
        for (uint32_t i = 0; i < type->n; i++) {
            one_type(&type->item[i], text, other);
        }
    } else if (values && values->type == LK_VALUE_LIST) {
        values_types(values, text, other);
    } else if (constant) {
        *text = constant->type == LK_VALUE_STRING;
        *other = !*text;
    } else if (any && any->type == LK_VALUE_LIST) {
        for (uint32_t i = 0; i < any->n; i++) {
            bool t, o;
            lk_answer_types(&any->item[i], &t, &o);
            *text |= t;
            *other |= o;
        }
    }
    *text |= !*text && !*other;
    *other |= !type && !values && !constant && !any;
}
