/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers under faults: every allocation of finding a format, rendering, constraining and reading
 * fails in turn.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/constraint_build.h"
#include "tests/util/fault.h"

/* One that knows tools, and one that does not. */
static const char *const templates[] = {
    "{{ tools|tojson if tools }}{% for m in messages %}<u>{{ m.content }}{% if m.reasoning_content "
    "%}<think>{{ m.reasoning_content }}</think>{% endif %}{% for c in m.tool_calls or [] %}\n"
    "<tool_call>\n{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ "
    "c.function.arguments|tojson }}}\n</tool_call>{% endfor %}{% endfor %}<a>",
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<a>",
};

static const char request[] =
    "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"now\", \"parameters\": "
    "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}}}}}], \"messages\": "
    "[{\"role\": \"user\", \"content\": \"?\"}, {\"role\": \"assistant\", \"content\": \"\", "
    "\"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"now\", \"arguments\": "
    "\"{\\\"a\\\": \\\"b\\\"}\"}}]}, {\"role\": \"tool\", \"content\": \"12\"}]}";

static const char answer[] =
    "<think>Hm.</think> So.\n<tool_call>\n{\"arguments\": {\"a\": \"b\nc\"}, \"name\": \"now\"}\n"
    "</tool_call> <tool_call>\n{\"name\": \"now\", \"arguments\": \"{}\"}\n</tool_call> Done.";

static lk_status read_answer(const lk_answer_format *f, const lk_rendering *r, lk_error *err)
{
    lk_answer_options o = lk_answer_options_default();
    lk_answer_event ev;
    lk_answer *a;
    o.request = request;
    o.request_len = sizeof request - 1;
    o.prompt = r;
    o.whole_calls = true;
    lk_status status = lk_answer_open(f, &o, &a, err);
    for (size_t i = 0; i < sizeof answer - 1 && !status; i += 7) {
        size_t n = sizeof answer - 1 - i;
        status = lk_answer_put(a, answer + i, n < 7 ? n : 7, err);
        while (!status && lk_answer_next(a, &ev)) {
        }
    }
    status = status ? status : lk_answer_end(a, err);
    cr_assert(status || lk_answer_n_calls(a) == 2);
    lk_answer_close(&a);
    return status;
}

static bool use(const lk_tokenizer *tok, const char *source, lk_error *err)
{
    lk_template *t = NULL;
    lk_answer_format *f = NULL;
    lk_rendering *r = NULL;
    lk_grammar *g = NULL;
    lk_constraint *c = NULL;
    lk_answer_options o = lk_answer_options_default();
    lk_template_input in = lk_template_input_default();
    o.request = in.request = request;
    o.request_len = in.request_len = sizeof request - 1;
    lk_status status = lk_template_open(NULL, source, strlen(source), &t, err);
    status = status ? status : lk_answer_format_open(t, NULL, &f, err);
    status = status ? status : lk_answer_render(f, &in, &r, err);
    o.prompt = r;
    status = status ? status : lk_answer_constrain(f, tok, &o, &g, &c, err);
    status = status ? status : read_answer(f, r, err);
    cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err->message);
    lk_constraint_close(&c);
    lk_grammar_close(&g);
    lk_rendering_close(&r);
    lk_answer_format_close(&f);
    lk_template_close(&t);
    return status == LK_OK;
}

Test(answer_fault, each_allocation_fails)
{
    for (size_t k = 0; k < LK_COUNT(templates); k++) {
        struct cb_test x;
        lk_error err = {0};
        size_t n = 0, step = 1;
        bool done = false;
        cb_vocabulary(&x);
        cr_assert(use(x.tok, templates[k], &err), "%s", err.message);
        struct fault_held before = fault_held();
        while (!done) {
            n += step;
            fault_alloc(n, n % 2 == 1);
            done = use(x.tok, templates[k], &err);
            /* A way to render that fails for want of memory may be made up for by another. */
            cr_assert(done || (fault_struck() && strstr(err.message, "out of memory")), "%zu: %s",
                      n, err.message);
            done = done && !fault_struck();
            cr_assert_eq(fault_held().bytes, before.bytes, "allocation %zu leaks", n);
        }
        fault_reset();
        cr_assert(n > 500, "only %zu allocations were seen", n - 1);
        cb_done(&x);
    }
}
