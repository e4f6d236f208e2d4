/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraint_walk: what the fuzz targets of grammars share: whatever opens must give masks that
 * agree with accepting tokens, and only the failures that are promised.
 */
#ifndef LK_FUZZ_CONSTRAINT_WALK_H
#define LK_FUZZ_CONSTRAINT_WALK_H

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "text/grammar/constraint.h"
#include "text/grammar/pushdown.h"
#include "text/token/tok.h"

typedef lk_status (*walk_open)(const char *text, size_t len, const lk_grammar_options *options,
                               lk_grammar **out, lk_error *err);

static inline const lk_tokenizer *walk_tokenizer(void)
{
    static lk_model *model;
    static lk_tokenizer *t;
    lk_error err;
    if (!t) {
        FUZZ_CHECK(!lk_model_open(LK_TEST_DIR "/golden/tok-bpe.gguf", &model, &err));
        FUZZ_CHECK(!lk_tokenizer_open(model, &t, &err));
    }
    return t;
}

static inline void walk_failed(lk_status status, const lk_error *err)
{
    FUZZ_CHECK(status == err->status && err->message[0] && !strchr(err->message, '\n'));
    FUZZ_CHECK(status == LK_E_FORMAT || status == LK_E_UNSUPPORTED || status == LK_E_INVALID ||
               status == LK_E_NOMEM);
}

/* A few tokens, chosen by the input: each as the mask says. */
static inline void walk_from(lk_constraint *c, const lk_tokenizer *t, const uint8_t *data, size_t n)
{
    enum { WORDS = 64, STEPS = 6, PROBES = 24 };
    uint32_t bits[WORDS], again[WORDS];
    size_t n_vocab = lk_tokenizer_n_vocab(t);
    lk_error err;
    for (size_t step = 0; step < STEPS && step < n; step++) {
        lk_status status = lk_constraint_mask(c, bits, WORDS, &err);
        if (status) {
            walk_failed(status, &err);
            FUZZ_CHECK(status != LK_E_FORMAT);
            FUZZ_CHECK(lk_constraint_mask(c, again, WORDS, &err) == status);
            return;
        }
        FUZZ_CHECK(!lk_constraint_mask(c, again, WORDS, &err));
        FUZZ_CHECK(memcmp(bits, again, sizeof bits) == 0);
        lk_constraint *fork;
        FUZZ_CHECK(!lk_constraint_fork(c, &fork, &err));
        int32_t taken = -1;
        for (size_t i = 0; i < PROBES; i++) {
            int32_t id = (int32_t)((data[(step + i) % n] * 31u + i * 57u + step) % n_vocab);
            bool may = bits[id / 32] >> (id % 32) & 1;
            status = lk_constraint_accept(fork, id, &err);
            FUZZ_CHECK(may == !status);
            FUZZ_CHECK(!lk_constraint_copy(fork, c, &err));
            taken = may ? id : taken;
        }
        for (int32_t id = 0; taken < 0; id++) { /* there is one, or the mask had failed */
            taken = bits[id / 32] >> (id % 32) & 1 ? id : -1;
        }
        lk_constraint_close(&fork);
        FUZZ_CHECK(!lk_constraint_accept(c, taken, &err));
        if (lk_constraint_is_done(c)) {
            return;
        }
    }
}

static inline int walk(walk_open open, const uint8_t *data, size_t n)
{
    const lk_tokenizer *t = walk_tokenizer();
    lk_grammar_options o = lk_grammar_options_default();
    const lk_trigger trigger = {.text = "{\"", .len = 2, .behind = true};
    lk_grammar *g;
    lk_constraint *c;
    lk_error err = {0};
    o.space = (lk_json_space)(n % 3);
    o.max_bytes = 1 << 20;
    lk_status status = open((const char *)data, n, &o, &g, &err);
    if (status) {
        walk_failed(status, &err);
        FUZZ_CHECK(!g && status != LK_E_INVALID);
        return 0;
    }
    status = lk_constraint_open(g, t, &trigger, n % 5 == 0, &c, &err);
    if (status) {
        walk_failed(status, &err);
    } else {
        walk_from(c, t, data, n);
    }
    lk_constraint_close(&c);
    lk_grammar_close(&g);
    return 0;
}

#endif
