/* SPDX-License-Identifier: Apache-2.0
 *
 * State: see state.h.
 */
#include "plan/state.h"

#include <string.h>

#include "base/numerics.h"

struct lk_state lk_state_paged(enum lk_state_kind kind, int layer, int n_head, int head_dim)
{
    return (struct lk_state){.kind = kind,
                             .layer = layer,
                             .n_head = n_head,
                             .head_dim = head_dim,
                             .dim = (int)lk_round_up((size_t)head_dim, LK_KV_DIM_ALIGN),
                             .bits = kind == LK_STATE_K ? LK_KV_K_BITS : LK_KV_V_BITS};
}

const char *lk_state_name(const struct lk_state *s)
{
    switch (s->kind) {
    case LK_STATE_K:
        return "K";
    case LK_STATE_V:
        return "V";
    case LK_STATE_RECURRENT:
        break;
    }
    return "recurrent state";
}

/* Words of a head in a block. */
static size_t head_words(const struct lk_state *s)
{
    return LK_KV_HEAD_WORDS((size_t)s->dim, (size_t)s->bits);
}

size_t lk_state_unit_bytes(const struct lk_state *s)
{
    size_t words =
        lk_state_is_paged(s) ? (size_t)s->n_head * head_words(s) : (size_t)s->rows * (size_t)s->dim;
    return words * sizeof(uint32_t);
}

void lk_state_zero_cells(const struct lk_state *s, void *unit, size_t n)
{
    uint32_t *head = unit;
    size_t dim = (size_t)s->dim, bits = (size_t)s->bits;
    for (int h = 0; lk_state_is_paged(s) && h < s->n_head; h++, head += head_words(s)) {
        for (size_t slot = n; slot < LK_KV_BLOCK; slot++) {
            for (size_t d = 0; d < dim; d++) {
                if (s->kind == LK_STATE_V) {
                    head[LK_KV_V_AT(dim, d, slot)] &= ~((uint32_t)0xff << slot % 4 * 8);
                } else {
                    head[LK_KV_K_HIGH(d, slot)] = 0;
                }
                if (bits == LK_KV_K_BITS) {
                    head[LK_KV_K_LOW(dim, d, slot)] = 0;
                }
            }
            head[LK_KV_SCALE_AT(dim, bits, slot)] = 0;
        }
    }
}

/* Index of the first bad word of a head, or of a row of floats; n: none. */
static size_t bad_word(const struct lk_state *s, const uint32_t *words, size_t n)
{
    size_t scales = lk_state_is_paged(s) ? n - LK_KV_BLOCK : 0;
    size_t keys = s->bits == LK_KV_K_BITS ? (size_t)s->dim * LK_KV_BLOCK / 4 : 0;
    for (size_t i = 0; i < n; i++) {
        bool ok = true;
        for (int c = 0; i < keys && c < 4; c++) {
            int high = (int8_t)(uint8_t)(words[i] >> 8 * c);
            ok &= high >= -(LK_Q_MOST / 16) - 1 && high <= LK_Q_MOST / 16;
        }
        if (i >= scales) {
            ok = lk_state_is_paged(s) ? words[i] < LK_MAX_BITS
                                      : (words[i] & 0x7fffffff) < 0x7f800000;
        }
        if (!ok) {
            return i;
        }
    }
    return n;
}

int64_t lk_state_find_bad(const struct lk_state *s, const void *units, size_t n_bytes)
{
    const uint32_t *words = units;
    size_t n = lk_state_is_paged(s) ? head_words(s) : (size_t)s->dim;
    for (size_t at = 0; at + n <= n_bytes / sizeof *words; at += n) {
        size_t bad = bad_word(s, words + at, n);
        if (bad < n) {
            return (int64_t)((at + bad) * sizeof *words);
        }
    }
    return -1;
}
