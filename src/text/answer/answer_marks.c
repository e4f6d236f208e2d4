/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_marks: the tokens of a format's markers.
 */
#include <string.h>

#include "text/answer/answer_format.h"
#include "text/token/tok.h"

enum { MOST_MARKS = 32 };

static const char *const message_marks[] = {"<|channel|>", "<|message|>", "<|constrain|>",
                                            "<|start|>",   "<|end|>",     "<|call|>",
                                            "<|return|>"};

/* All texts that the format's reader looks for. */
static size_t marks_of(const struct lk_answer_format *f, const char *marks[MOST_MARKS])
{
    const struct lk_syntax *s = f->syntax;
    const struct lk_thinking *t = f->thinking;
    const char *const all[] = {s->open,
                               s->close,
                               s->section,
                               s->section_end,
                               s->sep,
                               s->id_mark,
                               s->head,
                               s->head_end,
                               s->foot,
                               s->key,
                               s->key_end,
                               s->value,
                               s->value_end,
                               s->quote,
                               s->say[0],
                               s->say[1],
                               t ? t->begin : NULL,
                               t ? t->end : NULL};
    size_t n = 0;
    for (size_t i = 0; i < LK_COUNT(all); i++) {
        if (all[i]) {
            marks[n++] = all[i];
        }
    }
    for (size_t i = 0; i < LK_COUNT(message_marks) && s->kind == LK_CALL_HARMONY; i++) {
        marks[n++] = message_marks[i];
    }
    return n;
}

static bool is_within(const char *mark, const struct lk_tok_entry *e)
{
    size_t n = strlen(mark);
    for (size_t i = 0; i + e->bytes_len <= n; i++) {
        if (memcmp(mark + i, e->bytes, e->bytes_len) == 0) {
            return true;
        }
    }
    return false;
}

lk_status lk_answer_tokens(const lk_answer_format *f, const lk_tokenizer *t, int32_t *ids,
                           size_t cap, size_t *n, lk_error *err)
{
    const char *marks[MOST_MARKS];
    size_t n_marks = marks_of(f, marks);
    struct lk_tok_out out = {ids, cap, 0};
    for (size_t i = 0; i < t->n_vocab; i++) {
        const struct lk_tok_entry *e = &t->entry[i];
        bool mark = false;
        for (size_t k = 0; k < n_marks && !mark; k++) {
            mark = lk_token_is_control(t, (int32_t)i) && e->bytes_len > 1 && is_within(marks[k], e);
        }
        if (mark) {
            lk_tok_put(&out, (int32_t)i);
        }
    }
    *n = out.n;
    return out.n > cap && ids
               ? lk_fail(err, LK_E_FULL, "%zu tokens of markers, room for %zu", out.n, cap)
               : LK_OK;
}

lk_status lk_answer_think_end(const lk_answer_format *f, const lk_tokenizer *t, int32_t *ids,
                              size_t cap, size_t *n, lk_error *err)
{
    const char *text = f->syntax->kind == LK_CALL_HARMONY
                           ? "<|end|><|start|>assistant<|channel|>final<|message|>"
                       : f->thinking ? f->thinking->end
                                     : "";
    int32_t whole = *text ? lk_tok_find(t, text, strlen(text)) : -1;
    if (whole >= 0) { /* a token by itself: nothing is put before it, as at the start of a text */
        *n = 1;
        if (cap) {
            *ids = whole;
        }
        return LK_OK;
    }
    *n = 0;
    return *text ? lk_tok_encode(t, text, strlen(text), NULL, 0, false, false, ids, cap, n, err)
                 : LK_OK;
}
