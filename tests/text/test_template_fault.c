/* SPDX-License-Identifier: Apache-2.0
 *
 * Template under faults: every allocation of compiling a template, rendering a request and taking
 * its tokens fails in turn.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/fault.h"
#include "tests/util/tok_build.h"

static const char source[] =
    "{% set ns = namespace(a='', l=[]) %}{% macro m(x, y=[1, 2], z={'a': 1}) %}{{ x }}{{ kwargs }}"
    "{{ varargs }}{{ caller() if caller }}{% endmacro %}{% for m_ in messages if m_.role != 'x' %}"
    "{% set ns.a = ns.a ~ m_.content ~ loop.length %}{% set ns.l = ns.l + [loop.nextitem] %}"
    "{{ m(m_.content|upper, 1, 2, 3, q=4) }}{{ loop.cycle(1, 2) }}{% endfor %}"
    "{% call(w) m(1) %}c{{ w }}{% endcall %}{% set b %}{{ ns.a|replace('a', 'bb')|trim }}{% endset "
    "%}"
    "{{ b }}{{ messages|tojson(indent=2) }}{{ '%s-%5.2f' % (b, 1.5) }}{{ '{:>9}'.format(b) }}"
    "{{ messages|map(attribute='content')|select|sort|join(', ') }}{{ range(20)|batch(3)|list }}"
    "{{ messages|groupby('role')|list|length }}{{ b.split('b') }}{{ b[::-1] }}{{ [b] }}{{ ns }}"
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ dict(a=1, b=2)|dictsort }}"
    "{% filter indent %}{{ b }}\n{{ b }}{% endfilter %}{{ strftime_now('%Y') }}{{ b|e ~ b|title }}"
    "{% for n in [[1, [2]]] recursive %}{{ n if n is number else loop(n) }}{% endfor %}"
    "{{ {'k': b, 1: 2, none: [b, b]} }}{{ b|unique|join }}{{ b.center(99) }}{{ (b ~ 'x') * 3 }}"
    "{% block k %}{{ b }}{% endblock %}{% with q = 1 %}{{ q }}{% endwith %}{{ '1.5'|float + "
    "'7'|int }}";

static const char request[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a b a\"}, "
                              "{\"role\": \"assistant\", \"content\": "
                              "\"c\", \"thinking\": \"t\"}], \"chat_template_kwargs\": {\"a\": 1, "
                              "\"b\": 2, \"c\": 3, \"d\": 4, "
                              "\"e\": 5, \"f\": 6, \"g\": 7, \"h\": 8, \"i\": 9}}";

static bool use(const lk_model *m, const lk_tokenizer *tok, lk_error *err)
{
    lk_template *t;
    int32_t ids[4096];
    size_t n;
    lk_template_input in = lk_template_input_default();
    in.request = request;
    in.request_len = sizeof request - 1;
    in.args = "{\"now\": \"2026-01-01\"}";
    in.args_len = strlen(in.args);
    lk_status status = lk_template_open(m, source, sizeof source - 1, &t, err);
    if (!status) {
        status = lk_template_tokenize(t, tok, &in, ids, 4096, &n, err);
    } else {
        cr_assert_null(t);
    }
    lk_template_close(&t);
    cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err->message);
    return status == LK_OK;
}

Test(template_fault, each_allocation_fails)
{
    static const struct tok_piece pieces[] = {{"<s>", 3, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.piece = pieces, b.n_pieces = 1, b.bos = 256;
    tok_make(&x, &b);
    for (int on = 0; on < 2; on++) {
        struct fault_held before = fault_held();
        bool done = false;
        size_t n = 0;
        while (!done) {
            lk_error err = {0};
            fault_alloc(++n, on);
            done = use(x.model, x.tok, &err);
            /* PCRE2 does without its compiled form. */
            cr_assert(done || (fault_struck() && strstr(err.message, "out of memory")), "%s",
                      err.message);
            done = done && !fault_struck();
            cr_assert_eq(fault_held().bytes, before.bytes, "allocation %zu leaks", n);
        }
        fault_reset();
        cr_assert(n > 45, "only %zu allocations were seen", n - 1);
    }
    tok_done(&x);
}
