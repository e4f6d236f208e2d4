/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_tests: what stands behind `is`.
 */
#include "text/template/template_run.h"

/* Each answers with a truth in *out. */
#define TEST(name, answer)                                                                         \
    static lk_status test_##name(LK_TPL_ARGUMENTS)                                                 \
    {                                                                                              \
        int64_t i;                                                                                 \
        (void)r, (void)call, (void)arg, (void)i;                                                   \
        *out = lk_value_bool(answer);                                                              \
        return LK_OK;                                                                              \
    }

static bool is_dict(const struct lk_value *v)
{
    return v->type == LK_VALUE_DICT;
}

static bool is_callable(const struct lk_value *v)
{
    switch (v->type) {
    case LK_TPL_FUNCTION:
    case LK_TPL_METHOD:
    case LK_TPL_CALLABLE:
    case LK_TPL_LOOP:
    case LK_TPL_JOINER:
    case LK_TPL_BLOCK:
    case LK_TPL_UNDEFINED: /* its class can be called, to say that it is undefined */
        return true;
    default:
        return false;
    }
}

static bool is_sequence(const struct lk_value *v)
{
    switch (v->type) {
    case LK_VALUE_STRING:
    case LK_VALUE_LIST:
    case LK_VALUE_DICT:
    case LK_TPL_RANGE:
    case LK_TPL_UNDEFINED:
        return true;
    default:
        return false;
    }
}

static bool is_number(const struct lk_value *v)
{
    double d;
    return lk_tpl_is_number(v, &d);
}

TEST(defined, self->type != LK_TPL_UNDEFINED)
TEST(undefined, self->type == LK_TPL_UNDEFINED)
TEST(none, self->type == LK_VALUE_NULL)
TEST(boolean, self->type == LK_VALUE_BOOL)
TEST(true, self->type == LK_VALUE_BOOL && self->boolean)
TEST(false, self->type == LK_VALUE_BOOL && !self->boolean)
TEST(integer, self->type == LK_VALUE_INT || self->type == LK_VALUE_BIG)
TEST(float, self->type == LK_VALUE_FLOAT)
TEST(number, is_number(self))
TEST(string, lk_tpl_is_text(self))
TEST(mapping, is_dict(self))
TEST(sequence, is_sequence(self))
TEST(iterable, lk_tpl_iterable(self) || self->type == LK_TPL_LOOP)
TEST(callable, is_callable(self))
TEST(escaped, lk_tpl_is_text(self) && (self->flags & LK_VALUE_MARKUP))
TEST(sameas, lk_tpl_same(self, &arg[0]))
TEST(filter, lk_tpl_is_text(self) && lk_tpl_find_filter(self) >= 0)
TEST(test, lk_tpl_is_text(self) && lk_tpl_find_test(self) >= 0)

/* self % divisor == rest */
static lk_status has_rest(struct lk_tpl_run *r, const struct lk_value *self,
                          const struct lk_value *divisor, int64_t rest, struct lk_value *out)
{
    struct lk_value found;
    const struct lk_value wanted = lk_value_int(rest);
    bool yes = false;
    lk_status status = lk_tpl_binary(r, OP_MOD, self, divisor, &found);
    if (!status) {
        status = lk_tpl_equal(r, &found, &wanted, &yes);
    }
    *out = lk_value_bool(yes);
    return status;
}

static lk_status test_odd(LK_TPL_ARGUMENTS)
{
    const struct lk_value two = lk_value_int(2);
    (void)call, (void)arg;
    return has_rest(r, self, &two, 1, out);
}

static lk_status test_even(LK_TPL_ARGUMENTS)
{
    const struct lk_value two = lk_value_int(2);
    (void)call, (void)arg;
    return has_rest(r, self, &two, 0, out);
}

static lk_status test_divisibleby(LK_TPL_ARGUMENTS)
{
    (void)call;
    return has_rest(r, self, &arg[0], 0, out);
}

static lk_status cased(struct lk_tpl_run *r, const struct lk_value *self, enum lk_tpl_casing how,
                       struct lk_value *out)
{
    struct lk_value s;
    lk_status status = lk_tpl_str(r, self, &s);
    *out = lk_value_bool(!status && lk_tpl_is_cased(&s, how));
    return status ? status : lk_tpl_work(r, s.n / LK_TPL_CHAR);
}

static lk_status test_lower(LK_TPL_ARGUMENTS)
{
    (void)call, (void)arg;
    return cased(r, self, CASING_LOWER, out);
}

static lk_status test_upper(LK_TPL_ARGUMENTS)
{
    (void)call, (void)arg;
    return cased(r, self, CASING_UPPER, out);
}

#define COMPARISON(name, op)                                                                       \
    static lk_status test_##name(LK_TPL_ARGUMENTS)                                                 \
    {                                                                                              \
        bool yes;                                                                                  \
        (void)call;                                                                                \
        lk_status status = lk_tpl_compare(r, op, self, &arg[0], &yes);                             \
        *out = lk_value_bool(yes);                                                                 \
        return status;                                                                             \
    }
COMPARISON(eq, OP_EQ)
COMPARISON(ne, OP_NE)
COMPARISON(lt, OP_LT)
COMPARISON(le, OP_LE)
COMPARISON(gt, OP_GT)
COMPARISON(ge, OP_GE)
COMPARISON(in, OP_IN)

static const struct lk_tpl_builtin tests[] = {
    {"defined", {NULL}, 0, test_defined},   {"undefined", {NULL}, 0, test_undefined},
    {"none", {NULL}, 0, test_none},         {"string", {NULL}, 0, test_string},
    {"mapping", {NULL}, 0, test_mapping},   {"iterable", {NULL}, 0, test_iterable},
    {"sequence", {NULL}, 0, test_sequence}, {"boolean", {NULL}, 0, test_boolean},
    {"true", {NULL}, 0, test_true},         {"false", {NULL}, 0, test_false},
    {"number", {NULL}, 0, test_number},     {"integer", {NULL}, 0, test_integer},
    {"float", {NULL}, 0, test_float},       {"odd", {NULL}, 0, test_odd},
    {"even", {NULL}, 0, test_even},         {"divisibleby", {"num"}, 1, test_divisibleby},
    {"lower", {NULL}, 0, test_lower},       {"upper", {NULL}, 0, test_upper},
    {"callable", {NULL}, 0, test_callable}, {"escaped", {NULL}, 0, test_escaped},
    {"sameas", {"other"}, 1, test_sameas},  {"filter", {NULL}, 0, test_filter},
    {"test", {NULL}, 0, test_test},         {"in", {"seq"}, 1, test_in},
    {"==", {"other"}, 1, test_eq},          {"eq", {"other"}, 1, test_eq},
    {"equalto", {"other"}, 1, test_eq},     {"!=", {"other"}, 1, test_ne},
    {"ne", {"other"}, 1, test_ne},          {">", {"other"}, 1, test_gt},
    {"gt", {"other"}, 1, test_gt},          {"greaterthan", {"other"}, 1, test_gt},
    {">=", {"other"}, 1, test_ge},          {"ge", {"other"}, 1, test_ge},
    {"<", {"other"}, 1, test_lt},           {"lt", {"other"}, 1, test_lt},
    {"lessthan", {"other"}, 1, test_lt},    {"<=", {"other"}, 1, test_le},
    {"le", {"other"}, 1, test_le},
};

int lk_tpl_find_test(const struct lk_value *name)
{
    for (size_t i = 0; i < LK_COUNT(tests); i++) {
        if (lk_value_is(name, tests[i].name)) {
            return (int)i;
        }
    }
    return -1;
}

lk_status lk_tpl_test(struct lk_tpl_run *r, int test, const struct lk_value *v,
                      const struct lk_tpl_call *call, bool *yes)
{
    struct lk_value out = lk_tpl_none;
    lk_status status = lk_tpl_call_builtin(r, &tests[test], v, call, &out);
    *yes = lk_tpl_truth(&out);
    return status;
}
