/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_ugm: SentencePiece's unigram model, as T5 and XLM-RoBERTa have it. Text is rewritten by a
 * table of the file, its white space is made one space; of all ways to make it of pieces the one
 * with the highest sum of scores is taken. Knows nothing of special tokens.
 */
#include "text/token/tok.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define SCORES    "tokenizer.ggml.scores"
#define CHARSMAP  "tokenizer.ggml.precompiled_charsmap"
#define SPACE     "\xE2\x96\x81" /* U+2581, which stands for a space in a text too */
#define SPACE_LEN 3

enum { UNKNOWN_PENALTY = 10 }; /* below the lowest score: that of a character that no piece has */

static bool is_piece(const struct lk_tok_entry *e)
{
    return e->bytes_len > 0 && (e->type == LK_TOK_NORMAL || e->type == LK_TOK_USER_DEFINED);
}

/* ---- open -------------------------------------------------------------------------------- */

static lk_status read_scores(struct lk_tokenizer *t, lk_error *err)
{
    const char *file = lk_gguf_path(t->gguf);
    const struct lk_gguf_value *v;
    lk_status status = lk_gguf_array(t->gguf, SCORES, true, LK_GGUF_F32, &v, err);
    if (status) {
        return status;
    }
    if (v->count != t->n_vocab) {
        return lk_fail(err, LK_E_FORMAT, "%s: key '" SCORES "' has %zu elements, expected %zu",
                       file, (size_t)v->count, t->n_vocab);
    }
    t->score = lk_alloc_array(t->n_vocab, sizeof *t->score);
    if (!t->score) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu scores", file, t->n_vocab);
    }
    float least = INFINITY;
    for (size_t i = 0; i < t->n_vocab; i++) {
        float score = lk_gguf_array_f32(v, i);
        uint8_t type = t->entry[i].type;
        if (!isfinite(score)) {
            return lk_fail(err, LK_E_FORMAT, "%s: key '" SCORES "'[%zu] is not a finite number",
                           file, i);
        }
        least = type == LK_TOK_NORMAL && score < least ? score : least;
        t->score[i] = type == LK_TOK_USER_DEFINED ? 0.0f : score;
    }
    t->unknown_score = (double)(least < INFINITY ? least : 0.0f) - UNKNOWN_PENALTY;
    return LK_OK;
}

/* The table: bytes of a double array, little endian; the array; texts, each ended by a 0. */
static lk_status read_charsmap(struct lk_tokenizer *t, lk_error *err)
{
    const char *file = lk_gguf_path(t->gguf);
    const struct lk_gguf_value *v = lk_gguf_find(t->gguf, CHARSMAP);
    if (!v) {
        return LK_OK;
    }
    if (v->type != LK_GGUF_ARRAY || (v->elem != LK_GGUF_U8 && v->elem != LK_GGUF_I8)) {
        return lk_fail(err, LK_E_FORMAT, "%s: key '" CHARSMAP "': found %s, expected bytes", file,
                       lk_gguf_value_type_name(v));
    }
    const uint8_t *data = v->data;
    size_t n = (size_t)v->count, n_array = 0;
    if (n >= 4) {
        n_array = (size_t)(data[0] | data[1] << 8 | data[2] << 16 | (uint32_t)data[3] << 24);
    }
    if (n < 4 || n_array % 4 != 0 || n_array > n - 4 || n_array == n - 4 || data[n - 1] != 0) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '" CHARSMAP
                       "' has %zu bytes, of which %zu are an array: expected a "
                       "multiple of 4, and behind it texts that are ended by 0",
                       file, n, n_array);
    }
    t->rewrite.unit = data + 4;
    t->rewrite.n_units = n_array / 4;
    t->rewrite.text = (const char *)data + 4 + n_array;
    t->rewrite.n_text = n - 4 - n_array;
    return LK_OK;
}

lk_status lk_ugm_open(struct lk_tokenizer *t, lk_error *err)
{
    t->add_bos = false;
    t->add_eos = t->eos >= 0;
    t->add_space_prefix = true;
    t->merge_spaces = true;
    if (t->unk < 0) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key 'tokenizer.ggml.unknown_token_id' is missing, expected the token "
                       "of characters that no piece has",
                       lk_gguf_path(t->gguf));
    }
    lk_status status = read_scores(t, err);
    status = status ? status : read_charsmap(t, err);
    status = status ? status
                    : lk_gguf_bool(t->gguf, "tokenizer.ggml.add_space_prefix", false,
                                   &t->add_space_prefix, err);
    return status ? status
                  : lk_gguf_bool(t->gguf, "tokenizer.ggml.remove_extra_whitespaces", false,
                                 &t->merge_spaces, err);
}

lk_status lk_ugm_list(struct lk_tokenizer *t, lk_error *err)
{
    return lk_tok_list(t, is_piece, &t->pieces, err);
}

/* ---- the text as pieces spell it --------------------------------------------------------- */

static uint32_t unit_at(const struct lk_tok_rewrite *r, size_t i)
{
    const uint8_t *u = r->unit + 4 * i;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* How far a unit's children are from it. */
static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 0x200u) >> 6);
}

/* The longest beginning of text that the table has: its length, and what stands for it; 0: none. */
static size_t find_rewrite(const struct lk_tok_rewrite *r, const char *text, size_t len,
                           const char **out)
{
    size_t found = 0, at = r->n_units > 0 ? offset_of(unit_at(r, 0)) : 0;
    for (size_t i = 0; i < len && r->n_units > 0; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (byte == 0 || at >= r->n_units) {
            break;
        }
        uint32_t unit = unit_at(r, at);
        if ((unit & 0x800000FFu) != byte) {
            break;
        }
        at ^= offset_of(unit);
        if (at >= r->n_units) {
            break;
        }
        size_t value = unit_at(r, at) & 0x7FFFFFFFu;
        if ((unit & 0x100u) && value < r->n_text) { /* the first child is where a text begins */
            found = i + 1;
            *out = r->text + value;
        }
    }
    return found;
}

/* Text under construction: memory for it is enough from the start. */
struct spelt {
    const struct lk_tokenizer *t;
    char *text;
    size_t n;
    bool in_word;
};

/* Bytes of a text as it is after the table. */
static void put(struct spelt *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool space = bytes[i] == ' ';
        if (space && s->t->merge_spaces) {
            s->in_word = false;
            continue;
        }
        if (!space && !s->in_word && s->t->merge_spaces && (s->n > 0 || s->t->add_space_prefix)) {
            s->text[s->n++] = ' ';
        }
        s->in_word = true;
        if (n - i >= SPACE_LEN && memcmp(bytes + i, SPACE, SPACE_LEN) == 0) {
            s->text[s->n++] = ' ';
            i += SPACE_LEN - 1;
        } else {
            s->text[s->n++] = bytes[i];
        }
    }
}

/* What a step at text makes: bytes of it that it takes, and the n that stand for them. */
static size_t step_of(const struct lk_tokenizer *t, const char *text, size_t len, const char **out,
                      size_t *n)
{
    size_t taken = find_rewrite(&t->rewrite, text, len, out);
    if (taken > 0) {
        *n = strlen(*out);
        return taken;
    }
    taken = lk_utf8_next(text, len, NULL);
    *out = taken > 0 ? text : "\xEF\xBF\xBD"; /* no UTF-8: as U+FFFD */
    *n = taken > 0 ? taken : 3;
    return taken > 0 ? taken : 1;
}

static lk_status spell(const struct lk_tokenizer *t, const char *text, size_t len,
                       struct spelt *out, lk_error *err)
{
    size_t most = 1, n, total;
    const char *bytes;
    for (size_t at = 0; at < len; most = total) {
        at += step_of(t, text + at, len - at, &bytes, &n);
        if (!lk_add_size(most, n, &total) || !lk_add_size(total, 1, &total)) {
            return lk_fail(err, LK_E_NOMEM, "a text of %zu bytes", len);
        }
    }
    *out = (struct spelt){.t = t, .text = lk_alloc(most)};
    if (!out->text) {
        return lk_fail(err, LK_E_NOMEM, "out of memory tokenizing %zu bytes of text", len);
    }
    if (t->add_space_prefix && !t->merge_spaces) {
        out->text[out->n++] = ' ';
    }
    for (size_t at = 0; at < len;) {
        at += step_of(t, text + at, len - at, &bytes, &n);
        put(out, bytes, n);
    }
    return LK_OK;
}

/* ---- the best way ------------------------------------------------------------------------ */

/* The best way to make the text up to a place: its last piece, which begins at `from`. */
struct best {
    double score;
    size_t from;
    int32_t id; /* -1: there is none yet */
};

static void offer(struct best *b, double score, size_t from, int32_t id)
{
    if (b->id < 0 || score > b->score) {
        *b = (struct best){score, from, id};
    }
}

/* Offers all pieces that begin at `at`. */
static void offer_pieces(const struct lk_tokenizer *t, const struct spelt *s, size_t at,
                         struct best *best)
{
    const struct lk_tok_specials *p = &t->pieces;
    size_t step = lk_utf8_next(s->text + at, s->n - at, NULL), low = 0, high = p->n;
    bool alone = false; /* the character is a piece */
    step = step > 0 ? step : 1;
    for (size_t depth = 0; at + depth < s->n; depth++) {
        unsigned want = (unsigned char)s->text[at + depth];
        low = depth == 0 ? p->first[want] : lk_tok_first_with(t, p->ids, low, high, depth, want);
        high = depth == 0 ? p->first[want + 1]
                          : lk_tok_first_with(t, p->ids, low, high, depth, want + 1);
        size_t first = low;
        while (low < high && t->entry[p->ids[low]].bytes_len == depth + 1) {
            low++;
        }
        if (low > first) {
            int32_t id = p->ids[first];
            offer(&best[at + depth + 1], best[at].score + (double)t->score[id], at, id);
            alone |= depth + 1 == step;
        }
        if (low == high) {
            break;
        }
    }
    if (!alone) {
        offer(&best[at + step], best[at].score + t->unknown_score, at, t->unk);
    }
}

/* Writes the pieces of the best way, from its end; unknown ones side by side are one. */
static void put_way(const struct lk_tokenizer *t, struct best *best, size_t n,
                    struct lk_tok_out *out)
{
    size_t at = n, behind = SIZE_MAX; /* the way, turned round: from a place to the next one */
    while (at > 0) {
        size_t from = best[at].from;
        best[at].from = behind;
        behind = at;
        at = from;
    }
    bool unknown = false;
    for (at = behind; at != SIZE_MAX; at = best[at].from) {
        bool again = unknown && best[at].id == t->unk;
        unknown = best[at].id == t->unk;
        if (!again) {
            lk_tok_put(out, best[at].id);
        }
    }
}

lk_status lk_ugm_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        struct lk_tok_out *out, lk_error *err)
{
    struct spelt s;
    lk_status status = spell(t, text, len, &s, err);
    if (status) {
        return status;
    }
    struct best *best = lk_alloc_array(s.n + 1, sizeof *best);
    if (!best) {
        lk_free(s.text);
        return lk_fail(err, LK_E_NOMEM, "out of memory tokenizing %zu bytes of text", len);
    }
    for (size_t i = 0; i <= s.n; i++) {
        best[i].id = -1;
    }
    for (size_t at = 0, step; at < s.n; at += step) {
        step = lk_utf8_next(s.text + at, s.n - at, NULL);
        step = step > 0 ? step : 1;
        offer_pieces(t, &s, at, best);
    }
    put_way(t, best, s.n, out);
    lk_free(best);
    lk_free(s.text);
    return LK_OK;
}
