/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok: lk_tokenizer. Reads and checks the vocabulary, finds special tokens in text, decodes ids.
 * How plain text becomes ids is tok_bpe.c's, tok_spm.c's, tok_wpm.c's and tok_ugm.c's.
 */
#include "text/token/tok.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/model_file.h"
#include "base/utf8.h"

#define TOKENS "tokenizer.ggml.tokens"
#define TYPES  "tokenizer.ggml.token_type"

/* ---- text -> id -------------------------------------------------------------------------- */

static uint64_t text_hash(const char *text, size_t len)
{
    uint64_t h = len * 0x9E3779B97F4A7C15u;
    for (; len >= 8; text += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        h = (h ^ word) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
    }
    uint64_t rest = 0;
    memcpy(&rest, text, len);
    h = (h ^ rest) * 0xD6E8FEB86659FD93u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 29;
}

/* The slot of a text, or the empty one where it would be. */
static size_t find_slot(const struct lk_tokenizer *t, const char *text, size_t len, uint64_t hash)
{
    size_t at = (size_t)hash & t->slot_mask;
    for (;; at = (at + 1) & t->slot_mask) {
        const struct lk_tok_slot *s = &t->slot[at];
        if (s->id < 0 || (s->hash == (uint32_t)(hash >> 32) && t->entry[s->id].text_len == len &&
                          memcmp(t->entry[s->id].text, text, len) == 0)) {
            return at;
        }
    }
}

int32_t lk_tok_find(const struct lk_tokenizer *t, const char *text, size_t len)
{
    return t->slot[find_slot(t, text, len, text_hash(text, len))].id;
}

lk_status lk_tok_warn(struct lk_tokenizer *t, lk_error *err, const char *format, ...)
{
    char line[1024], text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    lk_show(text, sizeof text, line, strlen(line));
    size_t n = strlen(text) + 1;
    lk_status status =
        lk_grow(&t->warning, &t->cap_warnings, t->n_warnings + 1, sizeof *t->warning, err);
    char *copy = status ? NULL : lk_alloc(n);
    if (!copy) {
        return status ? status
                      : lk_fail(err, LK_E_NOMEM, "%s: out of memory for the tokenizer",
                                lk_gguf_path(t->gguf));
    }
    memcpy(copy, text, n);
    t->warning[t->n_warnings++] = copy;
    return LK_OK;
}

/* ---- reading the vocabulary -------------------------------------------------------------- */

static lk_status read_kind(struct lk_tokenizer *t, lk_error *err)
{
    struct lk_str model;
    lk_status status = lk_gguf_str(t->gguf, "tokenizer.ggml.model", true, &model, err);
    if (status) {
        return status;
    }
    if (model.len == 4 && memcmp(model.ptr, "gpt2", 4) == 0) {
        t->kind = LK_TOK_BPE;
    } else if (model.len == 5 && memcmp(model.ptr, "llama", 5) == 0) {
        t->kind = LK_TOK_SPM;
    } else if (model.len == 6 && memcmp(model.ptr, "gemma4", 6) == 0) {
        t->kind = LK_TOK_RAW;
    } else if (model.len == 4 && memcmp(model.ptr, "bert", 4) == 0) {
        t->kind = LK_TOK_WPM;
    } else if (model.len == 2 && memcmp(model.ptr, "t5", 2) == 0) {
        t->kind = LK_TOK_UGM;
    } else {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: key 'tokenizer.ggml.model' is '%.*s', expected gpt2, llama, "
                       "gemma4, bert or t5",
                       lk_gguf_path(t->gguf), (int)(model.len < 64 ? model.len : 64), model.ptr);
    }
    return LK_OK;
}

static lk_status warn_twice(struct lk_tokenizer *t, size_t i, size_t n, lk_error *err)
{
    const struct lk_tok_entry *e = &t->entry[i];
    char text[64], more[48] = "";
    lk_show(text, sizeof text, e->text, e->text_len);
    if (n > 1) {
        snprintf(more, sizeof more, " (and so for %zu more)", n - 1);
    }
    return lk_tok_warn(t, err,
                       "%s: key '" TOKENS "'[%zu] is '%s', as is [%" PRId32
                       "], which the text stands for%s",
                       lk_gguf_path(t->gguf), i, text, lk_tok_find(t, e->text, e->text_len), more);
}

static lk_status read_texts(struct lk_tokenizer *t, lk_error *err)
{
    const char *file = lk_gguf_path(t->gguf);
    const struct lk_gguf_value *v;
    lk_status status = lk_gguf_array(t->gguf, TOKENS, true, LK_GGUF_STRING, &v, err);
    if (status) {
        return status;
    }
    if (v->count == 0 || v->count > LK_TOK_MAX_TOKENS) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '" TOKENS "' has %" PRIu64 " elements, expected 1 to %zu", file,
                       v->count, LK_TOK_MAX_TOKENS);
    }
    size_t n_slots = 16;
    while (n_slots < 2 * v->count) {
        n_slots *= 2;
    }
    t->n_vocab = (size_t)v->count;
    t->entry = lk_alloc_array(t->n_vocab, sizeof *t->entry);
    t->slot = lk_alloc_array(n_slots, sizeof *t->slot);
    t->slot_mask = n_slots - 1;
    if (!t->entry || !t->slot) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu tokens", file, t->n_vocab);
    }
    memset(t->slot, 0xFF, n_slots * sizeof *t->slot);
    size_t cursor = 0, n_twice = 0, twice = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        struct lk_str s = lk_gguf_next_str(v, &cursor);
        if (s.len > LK_TOK_MAX_TEXT) {
            return lk_fail(err, LK_E_FORMAT,
                           "%s: key '" TOKENS "'[%zu] has %zu bytes, expected at most %zu", file, i,
                           s.len, LK_TOK_MAX_TEXT);
        }
        t->entry[i].text = s.ptr;
        t->entry[i].text_len = (uint32_t)s.len;
        t->entry[i].type = LK_TOK_NORMAL;
        t->max_text = s.len > t->max_text ? s.len : t->max_text;
        if (s.len == 0) {
            continue; /* stands for nothing and is never found */
        }
        uint64_t hash = text_hash(s.ptr, s.len);
        size_t at = find_slot(t, s.ptr, s.len, hash);
        if (t->slot[at].id >= 0) { /* a text means the first of its tokens */
            twice = n_twice++ ? twice : i;
            continue;
        }
        t->slot[at] = (struct lk_tok_slot){(uint32_t)(hash >> 32), (int32_t)i};
    }
    return n_twice ? warn_twice(t, twice, n_twice, err) : LK_OK;
}

/* The byte that "<0xNN>" names, or -1. */
static int named_byte(const struct lk_tok_entry *e)
{
    static const char digits[] = "0123456789ABCDEF";
    if (e->text_len != 6 || memcmp(e->text, "<0x", 3) != 0 || e->text[5] != '>') {
        return -1;
    }
    const char *high = memchr(digits, e->text[3], 16), *low = memchr(digits, e->text[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

static lk_status read_types(struct lk_tokenizer *t, lk_error *err)
{
    const char *file = lk_gguf_path(t->gguf);
    const struct lk_gguf_value *v;
    lk_status status = lk_gguf_array(t->gguf, TYPES, t->kind != LK_TOK_BPE, LK_GGUF_I32, &v, err);
    if (status || !v) {
        return status;
    }
    if (v->count != t->n_vocab) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: key '" TYPES "' has %" PRIu64 " elements, expected %zu", file, v->count,
                       t->n_vocab);
    }
    for (size_t i = 0; i < t->n_vocab; i++) {
        struct lk_tok_entry *e = &t->entry[i];
        int64_t type = lk_gguf_array_int(v, i);
        if (type < LK_TOK_UNDEFINED || type > LK_TOK_BYTE) {
            return lk_fail(err, LK_E_FORMAT,
                           "%s: key '" TYPES "'[%zu] is %" PRId64 ", expected 0 to 6", file, i,
                           type);
        }
        e->type = (uint8_t)type;
        t->has_unused = t->has_unused || type == LK_TOK_UNUSED;
        if (type == LK_TOK_BYTE) {
            int byte = named_byte(e);
            if (byte < 0) {
                return lk_fail(err, LK_E_FORMAT,
                               "%s: key '" TOKENS
                               "'[%zu] is '%.*s', expected <0xNN> for a byte token",
                               file, i, (int)(e->text_len < 64 ? e->text_len : 64), e->text);
            }
            t->byte_id[byte] = (int32_t)i;
        }
    }
    return LK_OK;
}

/* A flag asks for a token that there is none of: an error where the file has no key for its id. A
 * file whose id means "none" was told about; it adds nothing, as one that leaves the flag out. */
static lk_status missing_end(const struct lk_tokenizer *t, const char *flag, const char *id,
                             lk_error *err)
{
    if (!lk_gguf_find(t->gguf, flag) || lk_gguf_find(t->gguf, id)) {
        return LK_OK;
    }
    return lk_fail(err, LK_E_FORMAT, "%s: key '%s' is true, expected key '%s' with it",
                   lk_gguf_path(t->gguf), flag, id);
}

static lk_status read_flags(struct lk_tokenizer *t, lk_error *err)
{
    lk_status status;
    if ((status = lk_gguf_bool(t->gguf, "tokenizer.ggml.add_bos_token", false, &t->add_bos, err)) ||
        (status = lk_gguf_bool(t->gguf, "tokenizer.ggml.add_eos_token", false, &t->add_eos, err))) {
        return status;
    }
    if (t->kind == LK_TOK_SPM) {
        status = lk_gguf_bool(t->gguf, "tokenizer.ggml.add_space_prefix", false,
                              &t->add_space_prefix, err);
    }
    if (!status && t->add_bos && t->bos < 0) {
        status = missing_end(t, "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", err);
        t->add_bos = false;
    }
    if (!status && t->add_eos && t->eos < 0) {
        status = missing_end(t, "tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", err);
        t->add_eos = false;
    }
    return status;
}

/* The files do not say which special tokens swallow white space; Phi-3's do, whatever architecture
 * a file names: its vocabulary tells. */
static void mark_rstrip(struct lk_tokenizer *t)
{
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    if (t->kind != LK_TOK_SPM || lk_tok_find_control(t, "<|assistant|>") < 0 ||
        lk_tok_find_control(t, "<|placeholder1|>") < 0) {
        return;
    }
    for (size_t i = 0; i < t->special.n; i++) {
        t->entry[t->special.ids[i]].rstrip = true;
    }
    for (size_t i = 0; i < LK_COUNT(keep); i++) {
        int32_t id = lk_tok_find(t, keep[i], strlen(keep[i]));
        if (id >= 0) {
            t->entry[id].rstrip = false;
        }
    }
}

/* Every token's bytes into one pool. */
static lk_status read_bytes(struct lk_tokenizer *t, lk_error *err)
{
    size_t total = 0, n = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        total += t->entry[i].text_len;
    }
    t->pool = lk_alloc(total);
    if (!t->pool) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu bytes of tokens",
                       lk_gguf_path(t->gguf), total);
    }
    for (size_t i = 0; i < t->n_vocab; i++) {
        struct lk_tok_entry *e = &t->entry[i];
        size_t len = e->text_len;
        e->bytes = t->pool + n;
        if (e->type == LK_TOK_BYTE) {
            t->pool[n] = (char)named_byte(e);
            len = 1;
        } else if (t->kind != LK_TOK_BPE) {
            len = lk_spm_token_bytes(e, t->pool + n);
        } else if (e->type == LK_TOK_CONTROL || e->type == LK_TOK_UNKNOWN ||
                   e->type == LK_TOK_USER_DEFINED) {
            memcpy(t->pool + n, e->text, len);
        } else {
            len = lk_bpe_token_bytes(e, t->pool + n);
        }
        e->bytes_len = (uint32_t)len;
        t->max_bytes = len > t->max_bytes ? len : t->max_bytes;
        n += len;
    }
    return LK_OK;
}

/* ---- special tokens ---------------------------------------------------------------------- */

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* By the tokens' bytes, equal ones by id. */
static int compare_tokens(const struct lk_tok_entry *entry, int32_t a, int32_t b)
{
    const struct lk_tok_entry *x = &entry[a], *y = &entry[b];
    int order = compare_bytes(x->bytes, x->bytes_len, y->bytes, y->bytes_len);
    return order ? order : (a > b) - (a < b);
}

/* Heap sort of ids by their tokens: in place, and the same everywhere. */
static void sort_ids(const struct lk_tok_entry *entry, int32_t *ids, size_t n)
{
    for (size_t built = n / 2, left = n; left > 1;) {
        if (built) {
            built--;
        } else {
            int32_t top = ids[0];
            ids[0] = ids[--left];
            ids[left] = top;
        }
        for (size_t i = built, child; (child = 2 * i + 1) < left; i = child) {
            if (child + 1 < left && compare_tokens(entry, ids[child], ids[child + 1]) < 0) {
                child++;
            }
            if (compare_tokens(entry, ids[i], ids[child]) >= 0) {
                break;
            }
            int32_t lower = ids[i];
            ids[i] = ids[child];
            ids[child] = lower;
        }
    }
}

static bool is_user_defined(const struct lk_tok_entry *e)
{
    return e->bytes_len && e->type == LK_TOK_USER_DEFINED;
}

static bool is_special(const struct lk_tok_entry *e)
{
    return e->bytes_len && (e->type == LK_TOK_USER_DEFINED || e->type == LK_TOK_CONTROL ||
                            e->type == LK_TOK_UNKNOWN);
}

lk_status lk_tok_list(const struct lk_tokenizer *t, bool (*want)(const struct lk_tok_entry *e),
                      struct lk_tok_specials *out, lk_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_vocab; i++) {
        n += want(&t->entry[i]);
    }
    out->ids = lk_alloc_array(n, sizeof *out->ids);
    if (!out->ids) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for a list of %zu tokens",
                       lk_gguf_path(t->gguf), n);
    }
    for (size_t i = 0; i < t->n_vocab; i++) {
        if (want(&t->entry[i])) {
            out->ids[out->n++] = (int32_t)i;
        }
    }
    sort_ids(t->entry, out->ids, n);
    for (size_t c = 0, i = 0; c < 257; c++) {
        while (i < n && (unsigned char)t->entry[out->ids[i]].bytes[0] < c) {
            i++;
        }
        out->first[c] = i;
    }
    return LK_OK;
}

/* The next byte of text as special tokens spell it: U+2581 is a space to SentencePiece. */
static unsigned char next_byte(const struct lk_tokenizer *t, const char *text, size_t len,
                               size_t *at)
{
    if ((t->kind == LK_TOK_SPM || t->kind == LK_TOK_UGM) && len - *at >= 3 &&
        memcmp(text + *at, "\xE2\x96\x81", 3) == 0) {
        *at += 3;
        return ' ';
    }
    return (unsigned char)text[(*at)++];
}

size_t lk_tok_first_with(const struct lk_tokenizer *t, const int32_t *ids, size_t low, size_t high,
                         size_t depth, unsigned want)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)t->entry[ids[middle]].bytes[depth] < want) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest special token that text[0..len) begins with, and its length there; or -1. */
static int32_t match_special(const struct lk_tokenizer *t, const struct lk_tok_specials *s,
                             const char *text, size_t len, size_t *taken)
{
    size_t low = 0, high = s->n;
    int32_t found = -1;
    /* ids[low..high) begin with the bytes read so far; the shortest comes first. */
    for (size_t at = 0, depth = 0; at < len; depth++) {
        unsigned want = next_byte(t, text, len, &at);
        if (depth == 0) {
            low = s->first[want];
            high = s->first[want + 1];
        } else {
            low = lk_tok_first_with(t, s->ids, low, high, depth, want);
            high = lk_tok_first_with(t, s->ids, low, high, depth, want + 1);
        }
        size_t first = low; /* of those that end here, which are equal */
        while (low < high && t->entry[s->ids[low]].bytes_len == depth + 1) {
            low++;
        }
        if (low > first) {
            found = s->ids[first];
            *taken = at;
        }
        if (low == high) {
            break;
        }
    }
    return found;
}

/* ---- open and close ---------------------------------------------------------------------- */

static lk_status open_kind(struct lk_tokenizer *t, lk_error *err)
{
    return t->kind == LK_TOK_SPM   ? lk_spm_open(t, err)
           : t->kind == LK_TOK_WPM ? lk_wpm_open(t, err)
           : t->kind == LK_TOK_UGM ? lk_ugm_open(t, err)
                                   : lk_bpe_open(t, err);
}

lk_status lk_tokenizer_open(const lk_model *model, lk_tokenizer **out, lk_error *err)
{
    *out = NULL;
    lk_tokenizer *t = lk_alloc(sizeof *t);
    struct lk_trie_cell *cell = t ? lk_alloc(sizeof *cell) : NULL;
    if (!cell) {
        lk_free(t);
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for the tokenizer",
                       lk_gguf_path(model->gguf));
    }
    atomic_init(&cell->trie, NULL);
    t->trie = cell;
    t->model = model;
    t->gguf = model->gguf;
    for (int i = 0; i < 256; i++) {
        t->byte_id[i] = -1;
    }
    lk_status status;
    if ((status = read_kind(t, err)) || (status = read_texts(t, err)) ||
        (status = read_types(t, err)) || (status = lk_tok_read_ends(t, err)) ||
        (status = open_kind(t, err)) || (status = read_flags(t, err)) ||
        (status = read_bytes(t, err)) || (status = lk_tok_list(t, is_special, &t->special, err)) ||
        (status = lk_tok_list(t, is_user_defined, &t->user, err)) ||
        (t->kind == LK_TOK_UGM && (status = lk_ugm_list(t, err)))) {
        lk_tokenizer_close(&t);
        return status;
    }
    mark_rstrip(t);
    *out = t;
    return LK_OK;
}

void lk_tokenizer_close(lk_tokenizer **tokenizer)
{
    lk_tokenizer *t = tokenizer ? *tokenizer : NULL;
    if (t) {
        lk_trie_free(atomic_load(&t->trie->trie));
        lk_free(t->trie);
        lk_pre_close(&t->pre);
        lk_free(t->entry);
        lk_free(t->pool);
        lk_free(t->slot);
        lk_free(t->merge);
        lk_free(t->merged);
        lk_free(t->rank);
        lk_free(t->score);
        lk_free(t->pieces.ids);
        lk_free(t->special.ids);
        lk_free(t->user.ids);
        for (size_t i = 0; i < t->n_warnings; i++) {
            lk_free(t->warning[i]);
        }
        lk_free(t->warning);
        lk_free(t);
        *tokenizer = NULL;
    }
}

size_t lk_tokenizer_n_vocab(const lk_tokenizer *t)
{
    return t->n_vocab;
}

int32_t lk_token_bos(const lk_tokenizer *t)
{
    return t->bos;
}

int32_t lk_token_eos(const lk_tokenizer *t)
{
    return t->eos;
}

bool lk_tokenizer_adds_bos(const lk_tokenizer *t)
{
    return t->add_bos;
}

size_t lk_tokenizer_n_warnings(const lk_tokenizer *t)
{
    return t->n_warnings;
}

const char *lk_tokenizer_warning(const lk_tokenizer *t, size_t i)
{
    return t->warning[i];
}

static bool in_vocabulary(const lk_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->n_vocab;
}

bool lk_token_is_eog(const lk_tokenizer *t, int32_t id)
{
    return in_vocabulary(t, id) && t->entry[id].eog;
}

bool lk_token_is_control(const lk_tokenizer *t, int32_t id)
{
    return in_vocabulary(t, id) &&
           (t->entry[id].type == LK_TOK_CONTROL || t->entry[id].type == LK_TOK_UNKNOWN);
}

/* ---- encoding ---------------------------------------------------------------------------- */

static size_t skip_space(const char *text, size_t at, size_t len)
{
    int32_t cp;
    for (size_t step; (step = lk_utf8_next(text + at, len - at, &cp)) && lk_utf8_is_space(cp);) {
        at += step;
    }
    return at;
}

/* Text without special tokens. */
static lk_status encode_text(const lk_tokenizer *t, const char *text, size_t len, bool prefix,
                             struct lk_tok_out *out, lk_error *err)
{
    if (len == 0) {
        return LK_OK;
    }
    return t->kind == LK_TOK_SPM   ? lk_spm_encode(t, text, len, prefix, out, err)
           : t->kind == LK_TOK_WPM ? lk_wpm_encode(t, text, len, out)
           : t->kind == LK_TOK_UGM ? lk_ugm_encode(t, text, len, out, err)
                                   : lk_bpe_encode(t, text, len, out, err);
}

lk_status lk_tok_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        const struct lk_tok_plain *plain, size_t n_plain, bool add_bos,
                        bool add_eos, int32_t *ids, size_t cap, size_t *n, lk_error *err)
{
    struct lk_tok_out out = {ids, cap, 0};
    lk_status status = LK_OK;
    size_t begin = 0; /* of text not yet encoded */
    *n = 0;
    if (add_bos) {
        lk_tok_put(&out, t->bos);
    }
    for (size_t at = 0, part = 0; at < len && !status;) {
        while (part < n_plain && plain[part].end <= at) {
            part++;
        }
        bool inside = part < n_plain && plain[part].begin <= at;
        int32_t id = -1;
        size_t taken = 0;
        if (!inside) {
            /* A control token may not reach into a plain part. */
            size_t end = part < n_plain ? plain[part].begin : len;
            id = match_special(t, &t->special, text + at, end - at, &taken);
        }
        if (n_plain && t->user.n) {
            size_t user_taken;
            int32_t user = match_special(t, &t->user, text + at, len - at, &user_taken);
            if (user >= 0 && (id < 0 || user_taken > taken)) {
                id = user;
                taken = user_taken;
            }
        }
        if (id < 0) {
            at++;
            continue;
        }
        status = encode_text(t, text + begin, at - begin, t->add_space_prefix, &out, err);
        if (!(add_bos && at == 0 && id == t->bos)) { /* the text brings its own */
            lk_tok_put(&out, id);
        }
        at += taken;
        if (t->entry[id].rstrip) {
            at = skip_space(text, at, len);
        }
        begin = at;
    }
    if (!status) {
        status = encode_text(t, text + begin, len - begin, t->add_space_prefix, &out, err);
    }
    if (status) {
        return status;
    }
    if (add_eos) {
        lk_tok_put(&out, t->eos);
    }
    *n = out.n;
    if (out.n > cap && ids) {
        return lk_fail(err, LK_E_FULL, "the text has %zu tokens, expected at most %zu", out.n, cap);
    }
    return LK_OK;
}

lk_status lk_tokenize(const lk_tokenizer *t, const char *text, size_t len, unsigned flags,
                      int32_t *ids, size_t cap, size_t *n, lk_error *err)
{
    const struct lk_tok_plain all = {0, len};
    return lk_tok_encode(t, text, len, &all, flags & LK_TOKENIZE_PLAIN ? 1 : 0,
                         (flags & LK_TOKENIZE_BOS) && t->add_bos,
                         (flags & LK_TOKENIZE_EOS) && t->add_eos, ids, cap, n, err);
}

/* ---- decoding ---------------------------------------------------------------------------- */

size_t lk_tokenizer_max_bytes(const lk_tokenizer *t)
{
    return t->max_bytes;
}

lk_status lk_token_bytes(const lk_tokenizer *t, int32_t id, char *buf, size_t cap, size_t *len)
{
    *len = 0;
    if (!in_vocabulary(t, id)) {
        return LK_E_INVALID;
    }
    const struct lk_tok_entry *e = &t->entry[id];
    *len = e->bytes_len;
    if (e->bytes_len > cap) {
        return LK_E_FULL;
    }
    if (e->bytes_len) {
        memcpy(buf, e->bytes, e->bytes_len);
    }
    return LK_OK;
}

lk_status lk_decode(const lk_tokenizer *t, lk_decoder *d, int32_t id, bool special, char *buf,
                    size_t cap, size_t *len)
{
    *len = 0;
    if (!in_vocabulary(t, id)) {
        return LK_E_INVALID;
    }
    const struct lk_tok_entry *e = &t->entry[id];
    const char *bytes = e->bytes;
    size_t n = e->bytes_len;
    bool control = lk_token_is_control(t, id);
    if (control && !special) {
        return LK_OK;
    }
    if (cap < 4 + n) {
        return LK_E_FULL;
    }
    if (!control) {
        if (!d->started && t->add_space_prefix && n && bytes[0] == ' ') {
            bytes++;
            n--;
        }
        d->started = true;
    }
    memcpy(buf, d->held, d->n_held);
    if (n) {
        memcpy(buf + d->n_held, bytes, n);
    }
    n += d->n_held;
    d->n_held = (unsigned)lk_utf8_open_end(buf, n);
    *len = n - d->n_held;
    memcpy(d->held, buf + *len, d->n_held);
    return LK_OK;
}

size_t lk_decode_flush(lk_decoder *d, char *buf, size_t cap)
{
    size_t n = d->n_held < cap ? d->n_held : cap;
    if (n) {
        memcpy(buf, d->held, n);
    }
    d->n_held -= (unsigned)n;
    memmove(d->held, d->held + n, d->n_held);
    return n;
}
