/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_wpm: WordPiece as BERT has it. Text is cleaned, its accents and capitals are dropped, it is
 * cut into words at white space and around punctuation and Chinese characters; a word is the
 * longest tokens that it can be made of from the left, or unknown. In the files a token that begins
 * a word has U+2581 in front. Knows nothing of special tokens.
 */
#include "text/token/tok.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define BEGIN     "\xE2\x96\x81" /* U+2581, of a token that begins a word */
#define BEGIN_LEN 3

enum { MAX_CHARS = 100 }; /* of a word; a longer one is unknown */

/* A word under construction, behind BEGIN. */
struct word {
    const struct lk_tokenizer *t;
    struct lk_tok_out *out;
    size_t n_chars, len; /* len: bytes, with BEGIN's; chars beyond MAX_CHARS are counted alone */
    char text[BEGIN_LEN + 4 * MAX_CHARS];
};

lk_status lk_wpm_open(struct lk_tokenizer *t, lk_error *err)
{
    t->lowercase = true;
    t->add_bos = t->add_eos = t->add_space_prefix = true;
    if (t->unk < 0) {
        return lk_fail(
            err, LK_E_FORMAT,
            "%s: key 'tokenizer.ggml.unknown_token_id' is missing, expected the token of "
            "words that are in no vocabulary",
            lk_gguf_path(t->gguf));
    }
    return lk_gguf_bool(t->gguf, "tokenizer.ggml.normalizer.lowercase", false, &t->lowercase, err);
}

/* Characters that are words of their own: those of Chinese, with the ranges of BERT. */
static bool is_chinese(int32_t cp)
{
    static const int32_t ranges[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                        {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                        {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
    bool found = false;
    for (size_t i = 0; i < LK_COUNT(ranges); i++) {
        found |= cp >= ranges[i][0] && cp <= ranges[i][1];
    }
    return found;
}

/* ASCII's symbols too, which Unicode does not call punctuation. */
static bool is_punctuation(int32_t cp)
{
    char category[2];
    lk_utf8_category(cp, category);
    return category[0] == 'P' || (cp < 0x7F && cp > ' ' && category[0] == 'S');
}

/* What is dropped from any text: controls, marks of formats, private characters; what Unicode does
 * not know yet stays. */
static bool is_dropped(int32_t cp)
{
    char category[2];
    lk_utf8_category(cp, category);
    bool other = category[0] == 'C' && category[1] != 'n';
    return cp == 0xFFFD || (other && cp != '\t' && cp != '\n' && cp != '\r');
}

/* The token of n bytes; control tokens are never made of text. */
static int32_t find(const struct lk_tokenizer *t, const char *text, size_t n)
{
    int32_t id = lk_tok_find(t, text, n);
    return id >= 0 && lk_token_is_control(t, id) ? -1 : id;
}

/* The tokens of a word, or the unknown one; the next word begins. */
static void end_word(struct word *w)
{
    const struct lk_tokenizer *t = w->t;
    size_t first = w->out->n;
    bool known = w->n_chars <= MAX_CHARS;
    for (size_t at = 0; known && w->n_chars > 0 && at < w->len;) {
        size_t n = w->len - at < t->max_text ? w->len - at : t->max_text;
        int32_t id = -1;
        while (n > 0 && (id = find(t, w->text + at, n)) < 0) {
            n--;
        }
        known = id >= 0 && !(at == 0 && n == BEGIN_LEN); /* a beginning alone is no token */
        at += n;
        if (known) {
            lk_tok_put(w->out, id);
        }
    }
    if (!known) {
        w->out->n = first;
        lk_tok_put(w->out, t->unk);
    }
    w->n_chars = 0;
    w->len = BEGIN_LEN;
}

static void put_char(struct word *w, int32_t cp)
{
    if (w->n_chars++ < MAX_CHARS) {
        w->len += lk_utf8_put(cp, w->text + w->len);
    }
}

/* A character as it is after its accents and capitals are gone. */
static void take(struct word *w, int32_t cp)
{
    if (is_punctuation(cp)) {
        end_word(w);
        put_char(w, cp);
        end_word(w);
    } else {
        put_char(w, cp);
    }
}

lk_status lk_wpm_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        struct lk_tok_out *out)
{
    struct word w = {.t = t, .out = out, .len = BEGIN_LEN, .text = BEGIN};
    int32_t cp;
    for (size_t at = 0, step; at < len; at += step) {
        step = lk_utf8_next(text + at, len - at, &cp);
        if (step == 0) { /* no UTF-8: as U+FFFD */
            step = 1;
            continue;
        }
        if (is_dropped(cp)) {
            continue;
        }
        if (lk_utf8_is_space(cp)) {
            end_word(&w);
            continue;
        }
        bool alone = is_chinese(cp);
        if (alone) {
            end_word(&w);
        }
        int32_t parts[LK_UTF8_NFD_MOST];
        size_t n = t->lowercase ? lk_utf8_nfd(cp, parts) : 0;
        for (size_t i = 0; i < n; i++) {
            char category[2];
            lk_utf8_category(parts[i], category);
            if (category[0] != 'M' || category[1] != 'n') { /* an accent */
                take(&w, lk_utf8_lower(parts[i]));
            }
        }
        if (!t->lowercase) {
            take(&w, cp);
        }
        if (alone) {
            end_word(&w);
        }
    }
    end_word(&w);
    return LK_OK;
}
