/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_bpe: BPE by a list of merges. A piece's bytes are tokens, or its characters (LK_TOK_RAW); the
 * pair of neighbours with the lowest rank is merged first, the leftmost of equals. Knows nothing of
 * special tokens.
 */
#include "text/token/tok.h"

#include <string.h>

#include "base/mem.h"
#include "text/token/tok_heap.h"
#include "base/utf8.h"

#define MERGES "tokenizer.ggml.merges"

/* GPT-2's spelling of bytes: printable Latin-1 stands for itself, the n-th other byte for the
 * character 256 + n. */
static bool is_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static int32_t char_of_byte(int byte)
{
    int n = 0;
    if (is_itself(byte)) {
        return byte;
    }
    for (int i = 0; i < byte; i++) {
        n += !is_itself(i);
    }
    return 256 + n;
}

/* The byte a character spells, or -1. */
static int byte_of_char(int32_t cp)
{
    if (cp < 256) {
        return is_itself(cp) ? cp : -1;
    }
    /* The others, in order: 0-32, 127-160, 173. */
    int32_t n = cp - 256;
    return n < 33 ? n : n < 67 ? n + 94 : n == 67 ? 173 : -1;
}

size_t lk_bpe_token_bytes(const struct lk_tok_entry *e, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < e->text_len;) {
        int32_t cp = -1;
        size_t step = lk_utf8_next(e->text + i, e->text_len - i, &cp);
        int byte = step ? byte_of_char(cp) : -1;
        if (byte < 0) { /* not a spelling of bytes: the text is meant */
            memcpy(out, e->text, e->text_len);
            return e->text_len;
        }
        out[n++] = (char)byte;
        i += step;
    }
    return n;
}

/* ---- merges ------------------------------------------------------------------------------ */

static size_t pair_hash(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 29);
}

static const struct lk_tok_merge *find_merge(const struct lk_tokenizer *t, int32_t left,
                                             int32_t right)
{
    for (size_t i = pair_hash(left, right);; i++) {
        const struct lk_tok_merge *m = &t->merge[i & t->merge_mask];
        if (m->rank == LK_TOK_NO_RANK) {
            return NULL;
        }
        if (m->left == left && m->right == right) {
            return m;
        }
    }
}

/* "left right" -> the tokens left, right and leftright; *id is the last one. */
static lk_status read_merge(const struct lk_tokenizer *t, struct lk_str s, uint64_t rank,
                            struct lk_tok_merge *m, int32_t *id, lk_error *err)
{
    char joined[LK_TOK_MAX_TEXT];
    const char *file = lk_gguf_path(t->gguf);
    const char *space = s.len > 2 ? memchr(s.ptr + 1, ' ', s.len - 2) : NULL;
    if (!space || s.len > sizeof joined) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '" MERGES "'[%zu] is '%.*s', expected two tokens and a space", file,
                       (size_t)rank, (int)(s.len < 64 ? s.len : 64), s.ptr);
    }
    size_t left = (size_t)(space - s.ptr), right = s.len - left - 1;
    memcpy(joined, s.ptr, left);
    memcpy(joined + left, space + 1, right);
    *m = (struct lk_tok_merge){lk_tok_find(t, joined, left), lk_tok_find(t, joined + left, right),
                               (uint32_t)rank};
    *id = lk_tok_find(t, joined, left + right);
    if (m->left < 0 || m->right < 0 || *id < 0) {
        const char *lost = m->left >= 0 && m->right < 0 ? joined + left : joined;
        size_t len = m->left < 0 ? left : m->right < 0 ? right : left + right;
        return lk_fail(err, LK_E_FORMAT, "%s: key '" MERGES "'[%zu]: '%.*s' is not a token", file,
                       (size_t)rank, (int)(len < 64 ? len : 64), lost);
    }
    return LK_OK;
}

static lk_status read_merges(struct lk_tokenizer *t, lk_error *err)
{
    const struct lk_gguf_value *v;
    lk_status status = lk_gguf_array(t->gguf, MERGES, true, LK_GGUF_STRING, &v, err);
    if (status) {
        return status;
    }
    if (v->count > LK_TOK_MAX_TOKENS) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '" MERGES "' has %zu elements, expected at most %zu",
                       lk_gguf_path(t->gguf), (size_t)v->count, LK_TOK_MAX_TOKENS);
    }
    size_t n_slots = 16;
    while (n_slots < v->count + v->count / 2) {
        n_slots *= 2;
    }
    t->merge = lk_alloc_array(n_slots, sizeof *t->merge);
    t->merged = lk_alloc_array((size_t)v->count, sizeof *t->merged);
    if (!t->merge || !t->merged) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu merges", lk_gguf_path(t->gguf),
                       (size_t)v->count);
    }
    t->merge_mask = n_slots - 1;
    for (size_t i = 0; i < n_slots; i++) {
        t->merge[i].rank = LK_TOK_NO_RANK;
    }
    size_t cursor = 0;
    for (uint64_t rank = 0; rank < v->count; rank++) {
        struct lk_tok_merge m;
        status = read_merge(t, lk_gguf_next_str(v, &cursor), rank, &m, &t->merged[rank], err);
        if (status) {
            return status;
        }
        if (lk_token_is_control(t, t->merged[rank]) || find_merge(t, m.left, m.right)) {
            continue; /* plain text makes no control token; the first of equals counts */
        }
        size_t at = pair_hash(m.left, m.right);
        while (t->merge[at & t->merge_mask].rank != LK_TOK_NO_RANK) {
            at++;
        }
        t->merge[at & t->merge_mask] = m;
    }
    return LK_OK;
}

/* What merges characters has no pre-tokenizer, and its byte tokens say which they are. */
static lk_status open_raw(struct lk_tokenizer *t, lk_error *err)
{
    t->add_bos = t->bos >= 0;
    return read_merges(t, err);
}

lk_status lk_bpe_open(struct lk_tokenizer *t, lk_error *err)
{
    if (t->kind == LK_TOK_RAW) {
        return open_raw(t, err);
    }
    struct lk_str pre = {"", 0};
    lk_status status = lk_gguf_str(t->gguf, "tokenizer.ggml.pre", false, &pre, err);
    if (!status && !lk_gguf_find(t->gguf, "tokenizer.ggml.pre")) {
        pre = (struct lk_str){LK_PRE_GPT2, strlen(LK_PRE_GPT2)};
        status = lk_tok_warn(t, err,
                             "%s: key 'tokenizer.ggml.pre' is missing: text is split as for "
                             "'" LK_PRE_GPT2 "', which may not be how the model was trained",
                             lk_gguf_path(t->gguf));
    }
    if (status || (status = lk_pre_open(lk_gguf_path(t->gguf), pre, &t->pre, err))) {
        return status;
    }
    t->add_bos = lk_pre_adds_bos(t->pre);
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        int32_t id = lk_tok_find(t, text, lk_utf8_put(char_of_byte(byte), text));
        t->byte_id[byte] = id >= 0 && !lk_token_is_control(t, id) ? id : -1;
    }
    return read_merges(t, err);
}

/* ---- encoding ---------------------------------------------------------------------------- */

struct symbol {
    int32_t id;
    uint32_t rank; /* of the pair that begins here; LK_TOK_NO_RANK: none, or merged away */
    size_t prev, next;
};

struct work {
    const struct lk_tokenizer *t;
    struct symbol *symbol;
    size_t symbol_cap;
    size_t n_symbols;
    struct lk_tok_heap heap; /* places are symbols */
    char *spelling;
    size_t spelling_cap;
    struct lk_tok_out *out;
};

/* Finds the rank of the pair that begins at symbol `at` and queues it. */
static void offer(struct work *w, size_t at)
{
    struct symbol *s = &w->symbol[at];
    s->rank = LK_TOK_NO_RANK;
    if (s->next != SIZE_MAX) {
        const struct lk_tok_merge *m = find_merge(w->t, s->id, w->symbol[s->next].id);
        if (m) {
            s->rank = m->rank;
            lk_tok_heap_push(&w->heap, lk_tok_key(m->rank, at));
        }
    }
}

/* Whether the piece is a token as it stands: then that is its id, else -1. */
static lk_status whole_word(struct work *w, const char *text, size_t len, int32_t *id,
                            lk_error *err)
{
    *id = -1;
    if (len > w->t->max_text) {
        return LK_OK;
    }
    lk_status status = lk_grow(&w->spelling, &w->spelling_cap, 2 * len, 1, err);
    if (status) {
        return status;
    }
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += lk_utf8_put(char_of_byte((unsigned char)text[i]), w->spelling + n);
    }
    int32_t found = lk_tok_find(w->t, w->spelling, n);
    if (found >= 0 && w->t->entry[found].type == LK_TOK_NORMAL) {
        *id = found;
    }
    return LK_OK;
}

/* Room for a piece of len bytes: at most len - 1 pairs at first; a merge takes one out and offers
 * two. */
static lk_status reserve(struct work *w, size_t len, lk_error *err)
{
    w->n_symbols = 0;
    if (len >= LK_TOK_MAX_PLACE) {
        return lk_fail(err, LK_E_NOMEM, "a word of %zu bytes", len);
    }
    lk_status status = lk_grow(&w->symbol, &w->symbol_cap, len, sizeof *w->symbol, err);
    return status ? status : lk_grow(&w->heap.key, &w->heap.cap, 2 * len, sizeof *w->heap.key, err);
}

/* The next symbol of a piece; -1: the vocabulary has no token for it, and it is left out. */
static void put_symbol(struct work *w, int32_t id)
{
    if (id >= 0) {
        size_t n = w->n_symbols++;
        w->symbol[n] = (struct symbol){id, LK_TOK_NO_RANK, n - 1, n + 1};
    }
}

/* Merges the symbols of a piece, and puts what is left. */
static void merge_symbols(struct work *w)
{
    const struct lk_tokenizer *t = w->t;
    size_t n = w->n_symbols;
    if (n == 0) {
        return;
    }
    w->symbol[n - 1].next = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        offer(w, i);
    }
    while (w->heap.n) {
        uint64_t key = lk_tok_heap_pop(&w->heap);
        size_t at = lk_tok_key_place(key);
        struct symbol *left = &w->symbol[at];
        if (left->rank != lk_tok_key_rank(key)) {
            continue; /* one of the two was merged with another */
        }
        struct symbol *right = &w->symbol[left->next];
        left->id = t->merged[left->rank];
        left->next = right->next;
        right->rank = LK_TOK_NO_RANK;
        if (left->next != SIZE_MAX) {
            w->symbol[left->next].prev = at;
        }
        offer(w, at);
        if (left->prev != SIZE_MAX) {
            offer(w, left->prev);
        }
    }
    for (size_t i = 0; i != SIZE_MAX; i = w->symbol[i].next) {
        lk_tok_put(w->out, w->symbol[i].id);
    }
}

static lk_status encode_piece(void *user, const char *text, size_t len, lk_error *err)
{
    struct work *w = user;
    const struct lk_tokenizer *t = w->t;
    lk_status status;
    if (lk_pre_whole_words(t->pre)) {
        int32_t id;
        status = whole_word(w, text, len, &id, err);
        if (status) {
            return status;
        }
        if (id >= 0) {
            lk_tok_put(w->out, id);
            return LK_OK;
        }
    }
    status = reserve(w, len, err);
    for (size_t i = 0; i < len && !status; i++) {
        put_symbol(w, t->byte_id[(unsigned char)text[i]]);
    }
    if (!status) {
        merge_symbols(w);
    }
    return status;
}

/* All of a text is one piece. Characters that are no token are their bytes. */
static lk_status encode_characters(struct work *w, const char *text, size_t len, lk_error *err)
{
    const struct lk_tokenizer *t = w->t;
    lk_status status = reserve(w, len, err);
    for (size_t i = 0; i < len && !status;) {
        size_t step = lk_utf8_next(text + i, len - i, NULL);
        int32_t id = step ? lk_tok_find(t, text + i, step) : -1;
        step = step ? step : 1;
        if (id >= 0 && !lk_token_is_control(t, id)) {
            put_symbol(w, id);
            i += step;
            continue;
        }
        for (size_t end = i + step; i < end; i++) {
            int32_t byte = t->byte_id[(unsigned char)text[i]];
            put_symbol(w, byte >= 0 ? byte : t->unk);
        }
    }
    if (!status) {
        merge_symbols(w);
    }
    return status;
}

lk_status lk_bpe_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        struct lk_tok_out *out, lk_error *err)
{
    struct work w = {.t = t, .out = out};
    lk_status status;
    char *escaped = NULL;
    if (t->kind == LK_TOK_RAW) {
        size_t n;
        status = lk_spm_escape(text, len, false, &escaped, &n, err);
        status = status ? status : encode_characters(&w, escaped, n, err);
    } else {
        status = lk_pre_split(t->pre, text, len, encode_piece, &w, err);
    }
    lk_free(escaped);
    lk_free(w.symbol);
    lk_free(w.heap.key);
    lk_free(w.spelling);
    return status;
}
