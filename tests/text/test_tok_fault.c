/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok under faults: every allocation of opening a tokenizer, encoding and formatting a dialogue
 * fails in turn; each says so and holds nothing.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "lockstep.h"
#include "base/base.h"
#include "tests/util/fault.h"
#include "tests/util/tok_build.h"

#define GOLDEN(name) LK_TEST_DIR "/golden/" name

static const char text[] = "  The caf\xC3\xA9 e\xCC\x81 \xFF 123 <|a|> x\n\n";

/* Opens and encodes; true when all of it worked. */
static bool use(const lk_model *m, lk_error *err)
{
    static const lk_chat_message say[] = {{"user", text, sizeof text - 1}};
    lk_tokenizer *t = (lk_tokenizer *)1;
    int32_t ids[256];
    size_t n;
    lk_status status = lk_tokenizer_open(m, &t, err);
    if (!status) {
        status = lk_tokenize(t, text, sizeof text - 1, 0, ids, 256, &n, err);
    } else {
        cr_assert_null(t);
    }
    if (!status && lk_model_chat_format(m) != LK_CHAT_NONE) {
        status = lk_chat_tokenize(t, lk_model_chat_format(m), say, 1, ids, 256, &n, err);
    }
    lk_tokenizer_close(&t);
    cr_assert(status == LK_OK || status == LK_E_NOMEM, "%s", err->message);
    return status == LK_OK;
}

static void fail_each(const lk_model *m, size_t least)
{
    for (int on = 0; on < 2; on++) {
        struct fault_held before = fault_held();
        bool done = false;
        size_t n = 0;
        while (!done) {
            lk_error err = {0};
            fault_alloc(++n, on);
            done = use(m, &err);
            /* PCRE2 does without its compiled form: one allocation less is no failure there. */
            cr_assert(done || (fault_struck() && strstr(err.message, "out of memory")), "%s",
                      err.message);
            done = done && !fault_struck();
            cr_assert_eq(fault_held().bytes, before.bytes, "allocation %zu leaks", n);
        }
        fault_reset();
        cr_assert(n > least, "only %zu allocations were seen", n - 1);
    }
}

Test(tok_fault, each_allocation_fails)
{
    static const char *const files[] = {GOLDEN("tok-bpe.gguf"), GOLDEN("tok-spm-llama.gguf"),
                                        GOLDEN("tok-spm-unknown.gguf"), GOLDEN("tok-ugm.gguf")};
    for (size_t i = 0; i < LK_COUNT(files); i++) {
        lk_model *m;
        lk_error err;
        cr_assert_eq(lk_model_open(files[i], &m, &err), LK_OK, "%s", err.message);
        fail_each(m, 10);
        lk_model_close(&m);
    }
}

Test(tok_fault, each_allocation_of_a_dialogue_fails)
{
    static const struct tok_piece pieces[] = {{"<|im_start|>", 3, 0}, {"<|im_end|>", 3, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "qwen2"); /* normalizes */
    b.chat_template = "<|im_start|>";
    b.piece = pieces, b.n_pieces = 2;
    tok_make(&x, &b);
    fail_each(x.model, 15);
    b.pre = "llama-bpe"; /* looks whole words up */
    tok_done(&x);
    tok_make(&x, &b);
    fail_each(x.model, 15);
    tok_done(&x);
}
