/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_spm: SentencePiece's BPE with byte fallback. Characters are symbols; the neighbours that
 * make the piece with the highest score are merged first, the leftmost of equals; what is no piece
 * in the end becomes byte tokens. Knows nothing of special tokens.
 */
#include "text/token/tok.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/token/tok_heap.h"
#include "base/utf8.h"

#define SCORES    "tokenizer.ggml.scores"
#define SPACE     "\xE2\x96\x81" /* U+2581 stands for a space */
#define SPACE_LEN 3

struct score {
    float score;
    int32_t id;
};

size_t lk_spm_token_bytes(const struct lk_tok_entry *e, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < e->text_len;) {
        if (e->text_len - i >= SPACE_LEN && memcmp(e->text + i, SPACE, SPACE_LEN) == 0) {
            out[n++] = ' ';
            i += SPACE_LEN;
        } else {
            out[n++] = e->text[i++];
        }
    }
    return n;
}

/* Orders tokens by score, the highest first. */
static int compare_scores(const void *a, const void *b)
{
    const struct score *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : (x->id > y->id) - (x->id < y->id);
}

/* Scores as ranks: tokens of the same score have the same one. */
static lk_status rank_scores(struct lk_tokenizer *t, const struct lk_gguf_value *v, lk_error *err)
{
    const char *file = lk_gguf_path(t->gguf);
    struct score *sorted = lk_alloc_array(t->n_vocab, sizeof *sorted);
    lk_status status = LK_OK;
    t->rank = lk_alloc_array(t->n_vocab, sizeof *t->rank);
    if (!sorted || !t->rank) {
        status = lk_fail(err, LK_E_NOMEM, "%s: out of memory for %zu scores", file, t->n_vocab);
    }
    for (size_t i = 0; i < t->n_vocab && !status; i++) {
        sorted[i] = (struct score){lk_gguf_array_f32(v, i), (int32_t)i};
        if (isnan(sorted[i].score)) {
            status =
                lk_fail(err, LK_E_FORMAT, "%s: key '" SCORES "'[%zu] is not a number", file, i);
        }
    }
    if (!status) {
        uint32_t rank = 0;
        qsort(sorted, t->n_vocab, sizeof *sorted, compare_scores);
        for (size_t i = 0; i < t->n_vocab; i++) {
            rank += i > 0 && sorted[i].score != sorted[i - 1].score;
            t->rank[sorted[i].id] = rank;
        }
    }
    lk_free(sorted);
    return status;
}

lk_status lk_spm_open(struct lk_tokenizer *t, lk_error *err)
{
    const struct lk_gguf_value *v;
    lk_status status = lk_gguf_array(t->gguf, SCORES, true, LK_GGUF_F32, &v, err);
    if (status) {
        return status;
    }
    if (v->count != t->n_vocab) {
        return lk_fail(err, LK_E_FORMAT, "%s: key '" SCORES "' has %zu elements, expected %zu",
                       lk_gguf_path(t->gguf), (size_t)v->count, t->n_vocab);
    }
    t->add_bos = t->bos >= 0;
    t->add_space_prefix = true;
    return rank_scores(t, v, err);
}

/* ---- encoding ---------------------------------------------------------------------------- */

/* A run of bytes of the text. Only where the vocabulary has unused pieces, which are merged but
 * are no result, is it kept how a run was made: from the nodes `a` and `b`. */
struct symbol {
    size_t begin, len;
    size_t prev, next;
    int32_t id;    /* -1: no piece */
    int32_t joint; /* the piece that it and the next one make; -1: none, or merged away */
    size_t node;
};

struct node {
    size_t begin, len;
    int32_t id;
    size_t a, b; /* SIZE_MAX: a character */
};

struct work {
    const struct lk_tokenizer *t;
    const char *text; /* with U+2581 for spaces */
    struct symbol *symbol;
    struct lk_tok_heap heap; /* places are symbols */
    struct node *node;
    size_t n_nodes;
    bool after_unknown; /* a run of unknown characters is one unknown token */
    struct lk_tok_out *out;
};

/* The piece a run of bytes is, or -1. Control, unknown and byte tokens are not made from text. */
static int32_t find_piece(const struct work *w, size_t begin, size_t len)
{
    int32_t id = len <= w->t->max_text ? lk_tok_find(w->t, w->text + begin, len) : -1;
    uint8_t type = id >= 0 ? w->t->entry[id].type : LK_TOK_UNKNOWN;
    return type == LK_TOK_CONTROL || type == LK_TOK_UNKNOWN || type == LK_TOK_BYTE ? -1 : id;
}

/* Finds the piece that symbol `at` and the next one make, and queues it. */
static void offer(struct work *w, size_t at)
{
    struct symbol *s = &w->symbol[at];
    s->joint = -1;
    if (s->next != SIZE_MAX) {
        s->joint = find_piece(w, s->begin, s->len + w->symbol[s->next].len);
        if (s->joint >= 0) {
            lk_tok_heap_push(&w->heap, lk_tok_key(w->t->rank[s->joint], at));
        }
    }
}

static lk_status put_bytes(struct work *w, size_t begin, size_t len, lk_error *err)
{
    const struct lk_tokenizer *t = w->t;
    for (size_t i = begin; i < begin + len; i++) {
        unsigned char byte = (unsigned char)w->text[i];
        if (t->byte_id[byte] >= 0) {
            lk_tok_put(w->out, t->byte_id[byte]);
            w->after_unknown = false;
        } else if (t->unk < 0) {
            return lk_fail(err, LK_E_INVALID,
                           "the vocabulary has neither a piece nor a byte token nor an unknown "
                           "token for byte 0x%02x of the text",
                           byte);
        } else if (!w->after_unknown) {
            lk_tok_put(w->out, t->unk);
            w->after_unknown = true;
        }
    }
    return LK_OK;
}

static lk_status put_piece(struct work *w, size_t begin, size_t len, int32_t id, lk_error *err)
{
    if (id < 0) {
        return put_bytes(w, begin, len, err);
    }
    lk_tok_put(w->out, id);
    w->after_unknown = false;
    return LK_OK;
}

/* An unused piece is no result: it falls apart into what it was made from. A piece has at most
 * LK_TOK_MAX_TEXT bytes, and so many nodes deep is the stack: kept explicitly. */
static lk_status put_node(struct work *w, size_t root, size_t *stack, lk_error *err)
{
    size_t depth = 0;
    lk_status status = LK_OK;
    stack[depth++] = root;
    while (depth && !status) {
        const struct node *n = &w->node[stack[--depth]];
        bool unused = n->id >= 0 && w->t->entry[n->id].type == LK_TOK_UNUSED;
        if (unused && n->a != SIZE_MAX) {
            stack[depth++] = n->b;
            stack[depth++] = n->a;
        } else {
            status = put_piece(w, n->begin, n->len, unused ? -1 : n->id, err);
        }
    }
    return status;
}

/* Symbols, one for each character; a byte that is no UTF-8 is one too. */
static void cut_characters(struct work *w, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; n++) {
        size_t step = lk_utf8_next(w->text + i, len - i, NULL);
        step = step ? step : 1;
        int32_t id = find_piece(w, i, step);
        w->symbol[n] = (struct symbol){i, step, n - 1, n + 1, id, -1, n};
        if (w->node) {
            w->node[w->n_nodes++] = (struct node){i, step, id, SIZE_MAX, SIZE_MAX};
        }
        i += step;
    }
    w->symbol[n - 1].next = SIZE_MAX;
}

static void merge_all(struct work *w)
{
    while (w->heap.n) {
        uint64_t key = lk_tok_heap_pop(&w->heap);
        size_t at = lk_tok_key_place(key);
        struct symbol *left = &w->symbol[at];
        if (left->joint < 0 || w->t->rank[left->joint] != lk_tok_key_rank(key)) {
            continue; /* one of the two was merged with another */
        }
        struct symbol *right = &w->symbol[left->next];
        left->id = left->joint;
        left->len += right->len;
        left->next = right->next;
        right->joint = -1;
        if (left->next != SIZE_MAX) {
            w->symbol[left->next].prev = at;
        }
        if (w->node) {
            w->node[w->n_nodes] =
                (struct node){left->begin, left->len, left->id, left->node, right->node};
            left->node = w->n_nodes++;
        }
        offer(w, at);
        if (left->prev != SIZE_MAX) {
            offer(w, left->prev);
        }
    }
}

static lk_status encode_escaped(struct work *w, size_t len, lk_error *err)
{
    size_t *stack = NULL, n = 0;
    lk_status status = LK_OK;
    for (size_t i = 0, step; i < len; i += step ? step : 1, n++) {
        step = lk_utf8_next(w->text + i, len - i, NULL);
    }
    if (n >= LK_TOK_MAX_PLACE) {
        return lk_fail(err, LK_E_NOMEM, "a text of %zu characters", n);
    }
    /* At most n - 1 pairs at first; a merge takes one out and offers two. */
    w->symbol = lk_alloc_array(n, sizeof *w->symbol);
    w->heap.key = lk_alloc_array(2 * n, sizeof *w->heap.key);
    if (w->t->has_unused) {
        w->node = lk_alloc_array(2 * n, sizeof *w->node);
        stack = lk_alloc_array(n + 1, sizeof *stack);
    }
    if (!w->symbol || !w->heap.key || (w->t->has_unused && (!w->node || !stack))) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory tokenizing %zu bytes of text", len);
        goto done;
    }
    cut_characters(w, len);
    for (size_t i = 0; i < n; i++) {
        offer(w, i);
    }
    merge_all(w);
    for (size_t i = 0; i != SIZE_MAX && !status; i = w->symbol[i].next) {
        const struct symbol *s = &w->symbol[i];
        status =
            w->node ? put_node(w, s->node, stack, err) : put_piece(w, s->begin, s->len, s->id, err);
    }
done:
    lk_free(w->symbol);
    lk_free(w->heap.key);
    lk_free(w->node);
    lk_free(stack);
    return status;
}

lk_status lk_spm_escape(const char *text, size_t len, bool space_prefix, char **out, size_t *n,
                        lk_error *err)
{
    size_t spaces = space_prefix, more, total, at = 0;
    for (size_t i = 0; i < len; i++) {
        spaces += text[i] == ' ';
    }
    if (!lk_mul_size(spaces, SPACE_LEN, &more) || !lk_add_size(len, more, &total)) {
        return lk_fail(err, LK_E_NOMEM, "a text of %zu bytes", len);
    }
    char *escaped = lk_alloc(total);
    if (!escaped) {
        return lk_fail(err, LK_E_NOMEM, "out of memory tokenizing %zu bytes of text", len);
    }
    for (size_t i = space_prefix ? SIZE_MAX : 0; i != len; i++) {
        if (i == SIZE_MAX || text[i] == ' ') {
            memcpy(escaped + at, SPACE, SPACE_LEN);
            at += SPACE_LEN;
        } else {
            escaped[at++] = text[i];
        }
    }
    *out = escaped;
    *n = at;
    return LK_OK;
}

lk_status lk_spm_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        bool space_prefix, struct lk_tok_out *out, lk_error *err)
{
    char *escaped;
    size_t n;
    if (len == 0) {
        return LK_OK;
    }
    lk_status status = lk_spm_escape(text, len, space_prefix, &escaped, &n, err);
    if (!status) {
        struct work w = {.t = t, .text = escaped, .out = out};
        status = encode_escaped(&w, n, err);
        lk_free(escaped);
    }
    return status;
}
