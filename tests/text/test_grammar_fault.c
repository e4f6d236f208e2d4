/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammars and constraints under faults: every allocation of opening, masking and accepting fails
 * in turn; nothing leaks, and a constraint that met one goes on as if nothing had been.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/util/constraint_build.h"
#include "tests/util/fault.h"

struct job {
    cb_open open;
    const char *text;
    const char *answer; /* what is written, byte by byte */
    const lk_trigger *triggers;
    size_t n_triggers;
};

static const lk_trigger tool[] = {{.text = "<t>", .len = 3}, {.token = CB_BYE, .behind = true}};
static const struct job JOBS[] = {
    {lk_grammar_open_schema,
     "{\"$defs\": {\"t\": {\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [\"x\", "
     "\"xy\", 1.5]}, "
     "\"l\": {\"$ref\": \"#/$defs/t\"}}, \"patternProperties\": {\"^p{1,3}\": {\"type\": "
     "\"integer\", "
     "\"minimum\": -3, \"multipleOf\": 2}}, \"additionalProperties\": {\"oneOf\": [{\"type\": "
     "\"string\", "
     "\"format\": \"date\"}, {\"not\": {\"type\": \"string\"}, \"type\": [\"null\", "
     "\"array\"]}]}}}, "
     "\"$ref\": \"#/$defs/t\"}",
     "{\"a\": \"xy\", \"l\": {\"p\": 4, \"z\": [", NULL, 0},
    {lk_grammar_open_gbnf,
     "root ::= \"<t>\" v <|bye|>? | \"0\"\nv ::= \"[\" (v (\",\" v){0,3})? \"]\" | [a-c\\n]{2,5} | "
     "%json {}",
     "so <t>[ab,[1,2", tool, 2},
    {lk_grammar_open_regex, "(?=.*[0-9])(?:a|\\p{Lu}{2,3}|[^\\d]x){1,9}[0-9]?", "aa\xc3\x84", NULL,
     0},
};

/* The whole of a job; false when something failed for want of memory. */
static bool use(const lk_tokenizer *t, const struct job *j, lk_error *err)
{
    lk_grammar *g = NULL;
    lk_constraint *c = NULL, *fork = NULL;
    uint32_t bits[64];
    lk_status status = j->open(j->text, strlen(j->text), NULL, &g, err);
    if (!status) {
        status = lk_constraint_open(g, t, j->triggers, j->n_triggers, &c, err);
    }
    for (size_t i = 0; j->answer[i] && !status; i++) {
        status = lk_constraint_mask(c, bits, 64, err);
        status = status ? status : lk_constraint_accept(c, (unsigned char)j->answer[i], err);
    }
    if (!status) {
        status = lk_constraint_fork(c, &fork, err);
    }
    cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err->message);
    lk_constraint_close(&fork);
    lk_constraint_close(&c);
    lk_grammar_close(&g);
    return status == LK_OK;
}

Test(grammar_fault, each_allocation_fails)
{
    for (size_t k = 0; k < LK_COUNT(JOBS); k++) {
        struct cb_test x;
        bool done = false;
        size_t n = 0;
        cb_vocabulary(&x);
        lk_error err = {0};
        cr_assert(use(x.tok, &JOBS[k], &err), "%s", err.message); /* the tree of tokens stays */
        struct fault_held before = fault_held();
        while (!done) {
            n++;
            fault_alloc(n, n % 2 == 1);
            done = use(x.tok, &JOBS[k], &err);
            cr_assert(done || fault_struck());
            cr_assert(done || strstr(err.message, "out of memory"), "%s", err.message);
            fault_reset();
            cr_assert_eq(fault_held().bytes, before.bytes, "job %zu: allocation %zu leaks", k, n);
        }
        cr_assert(n > 60, "job %zu: only %zu allocations were seen", k, n - 1);
        cb_done(&x);
    }
}

/* The tree of a vocabulary's tokens, too. */
Test(grammar_fault, each_allocation_of_a_first_constraint_fails)
{
    bool done = false;
    for (size_t n = 1; !done; n++) {
        struct cb_test x;
        lk_error err = {0};
        cb_vocabulary(&x);
        fault_alloc(n, n % 2 == 1);
        done = use(x.tok, &JOBS[2], &err);
        fault_reset();
        cr_assert(done || strstr(err.message, "out of memory"), "%s", err.message);
        cb_done(&x);
    }
}

/* A constraint that met the end of memory is where it was, and goes on right. */
Test(grammar_fault, a_constraint_goes_on_after_a_fault)
{
    for (size_t k = 0; k < LK_COUNT(JOBS); k++) {
        const struct job *j = &JOBS[k];
        struct cb_test x;
        lk_error err;
        cb_vocabulary(&x);
        cb_make(&x, j->open, j->text, NULL, j->triggers, j->n_triggers);
        for (size_t i = 0; j->answer[i]; i++) {
            uint32_t bits[64];
            lk_status status = LK_E_NOMEM;
            for (size_t n = 1; status; n++) {
                fault_alloc(n, n % 3 == 1);
                status = lk_constraint_mask(x.c, bits, 64, &err);
                status =
                    status ? status : lk_constraint_accept(x.c, (unsigned char)j->answer[i], &err);
                fault_reset();
                cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err.message);
            }
            cb_check_mask(&x, j->text);
        }
        cb_done(&x);
    }
}

/* Nor does it lose its way when memory ends while what is not needed is dropped. */
Test(grammar_fault, dropping_what_is_not_needed)
{
    static const char text[] = "root ::= ([a-z]{0,90000} [0-9 ]{0,90000} \",\"){0,90000}";
    struct cb_test x;
    lk_grammar_options o = lk_grammar_options_default();
    lk_error err;
    uint64_t state = 1;
    size_t dropped = 0, before = 0;
    o.max_bytes = 1 << 20;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, text, &o, NULL, 0);
    for (int step = 0; step < 4000; step++) {
        int32_t id = cb_choose(&x, &state, false);
        lk_status status = LK_E_NOMEM;
        id = id == CB_END || id == CB_TURN ? 'a' : id;
        for (size_t n = 1; status; n++) {
            fault_alloc(n, n % 2 == 1);
            status = lk_constraint_accept(x.c, id, &err);
            fault_reset();
            cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err.message);
        }
        size_t now = lk_machine_bytes(&x.c->home->machine);
        dropped += now < before;
        before = now;
    }
    cr_assert_gt(dropped, 0);
    cb_check_mask(&x, text);
    cb_done(&x);
}
