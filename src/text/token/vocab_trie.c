/* SPDX-License-Identifier: Apache-2.0
 *
 * Vocab_trie: see vocab_trie.h.
 */
#include "text/token/vocab_trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/token/tok.h"

bool lk_trie_is_text(const struct lk_tokenizer *t, int32_t id)
{
    const struct lk_tok_entry *e = &t->entry[id];
    bool text = e->type == LK_TOK_NORMAL || e->type == LK_TOK_USER_DEFINED ||
                e->type == LK_TOK_BYTE || e->type == LK_TOK_UNDEFINED;
    return text && !e->eog && e->bytes_len > 0;
}

/* Characters of a plain token, 0 for any other. */
static uint32_t plain_chars(const struct lk_tok_entry *e)
{
    uint32_t n = 0;
    for (size_t at = 0, len; at < e->bytes_len; at += len, n++) {
        int32_t c;
        len = lk_utf8_next(e->bytes + at, e->bytes_len - at, &c);
        if (!len || c < 0x20 || c == '"' || c == '\\' || c == 0x7F) {
            return 0;
        }
    }
    return n;
}

/* ---- trees ---- */

/* A token to be put in its place: its first bytes as a number, for most comparisons. */
struct entry {
    uint64_t key;
    const char *bytes;
    uint32_t len;
    int32_t id;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *p = a, *q = b;
    if (p->key != q->key) {
        return p->key < q->key ? -1 : 1;
    }
    int c = memcmp(p->bytes, q->bytes, p->len < q->len ? p->len : q->len);
    if (c || p->len != q->len) {
        return c ? c : p->len < q->len ? -1 : 1;
    }
    return p->id < q->id ? -1 : 1;
}

static struct entry entry_of(const struct lk_tokenizer *t, int32_t id)
{
    const struct lk_tok_entry *e = &t->entry[id];
    struct entry out = {0, e->bytes, e->bytes_len, id};
    for (uint32_t i = 0; i < 8; i++) {
        out.key = out.key << 8 | (i < e->bytes_len ? (unsigned char)e->bytes[i] : 0);
    }
    return out;
}

/* Puts sorted tokens in a tree. `path` has room for the nodes from the root to the longest. */
static lk_status build_tree(struct lk_trie *trie, struct lk_trie_tree *tree,
                            const struct entry *entry, size_t n, uint32_t *path, lk_error *err)
{
    uint32_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &entry[i], *before = i ? &entry[i - 1] : NULL;
        uint32_t same = 0;
        while (before && same < e->len && same < before->len &&
               e->bytes[same] == before->bytes[same]) {
            same++;
        }
        if (before && same == e->len) { /* sorted: the same bytes */
            trie->same[before->id] = e->id;
            tree->node[path[depth]].doubled = true;
            continue;
        }
        for (; depth > same; depth--) {
            tree->node[path[depth]].skip = (uint32_t)tree->n;
        }
        lk_status status =
            lk_grow(&tree->node, &tree->cap, tree->n + (e->len - same), sizeof *tree->node, err);
        if (status) {
            return status;
        }
        while (depth < e->len) {
            uint8_t byte = (uint8_t)e->bytes[depth++];
            path[depth] = (uint32_t)tree->n;
            tree->node[tree->n++] =
                (struct lk_trie_node){.token = -1, .depth = (uint16_t)depth, .byte = byte};
        }
        tree->node[path[depth]].token = e->id;
    }
    for (; depth > 0; depth--) {
        tree->node[path[depth]].skip = (uint32_t)tree->n;
    }
    return LK_OK;
}

/* ---- all of it ---- */

static lk_status open_arrays(struct lk_trie *trie, lk_error *err)
{
    size_t n = trie->n_vocab, words = trie->n_words;
    trie->same = lk_alloc_array(n, sizeof *trie->same);
    trie->short_plain = lk_alloc_array(words, sizeof(uint32_t));
    trie->all_plain = lk_alloc_array(words, sizeof(uint32_t));
    trie->no_text = lk_alloc_array(words, sizeof(uint32_t));
    trie->ends = lk_alloc_array(words, sizeof(uint32_t));
    if (!trie->same || !trie->short_plain || !trie->all_plain || !trie->no_text || !trie->ends) {
        return lk_fail(err, LK_E_NOMEM, "out of memory for %zu tokens", n);
    }
    return LK_OK;
}

static void set_bit(uint32_t *bits, size_t i)
{
    bits[i / 32] |= 1u << (i % 32);
}

/* Which tree a token is in: 0 plain, 1 long and plain, 2 other, -1 none. */
static int tree_of(struct lk_trie *trie, const struct lk_tokenizer *t, size_t i)
{
    const struct lk_tok_entry *e = &t->entry[i];
    trie->same[i] = -1;
    if (e->eog) {
        set_bit(trie->ends, i);
        return -1;
    }
    if (!lk_trie_is_text(t, (int32_t)i)) {
        set_bit(trie->no_text, i);
        return -1;
    }
    uint32_t chars = plain_chars(e);
    trie->max_bytes = e->bytes_len > trie->max_bytes ? e->bytes_len : trie->max_bytes;
    trie->max_chars = chars > trie->max_chars ? chars : trie->max_chars;
    if (chars) {
        set_bit(trie->all_plain, i);
    }
    if (chars && chars <= LK_TRIE_SHORT) {
        set_bit(trie->short_plain, i);
    }
    return chars == 0 ? 2 : chars > LK_TRIE_SHORT;
}

static lk_status build(struct lk_trie *trie, const struct lk_tokenizer *t, lk_error *err)
{
    struct lk_trie_tree *const trees[] = {&trie->plain, &trie->long_plain, &trie->other};
    size_t n = trie->n_vocab;
    struct entry *entry = lk_alloc_array(n, sizeof *entry);
    int8_t *tree = lk_alloc(n);
    uint32_t *path = NULL;
    lk_status status = entry && tree ? open_arrays(trie, err)
                                     : lk_fail(err, LK_E_NOMEM, "out of memory for %zu tokens", n);
    for (size_t i = 0; i < n && !status; i++) {
        tree[i] = (int8_t)tree_of(trie, t, i);
    }
    if (!status) {
        path = lk_alloc_array((size_t)trie->max_bytes + 1, sizeof *path);
        status = path ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory for a path of tokens");
    }
    for (int k = 0; k < 3 && !status; k++) {
        size_t n_entries = 0;
        for (size_t i = 0; i < n; i++) {
            if (tree[i] == k) {
                entry[n_entries++] = entry_of(t, (int32_t)i);
            }
        }
        qsort(entry, n_entries, sizeof *entry, compare_entries);
        status = build_tree(trie, trees[k], entry, n_entries, path, err);
    }
    lk_free(path);
    lk_free(tree);
    lk_free(entry);
    return status;
}

void lk_trie_free(struct lk_trie *trie)
{
    if (trie) {
        lk_free(trie->plain.node);
        lk_free(trie->long_plain.node);
        lk_free(trie->other.node);
        lk_free(trie->same);
        lk_free(trie->all_plain);
        lk_free(trie->short_plain);
        lk_free(trie->no_text);
        lk_free(trie->ends);
        lk_free(trie);
    }
}

lk_status lk_trie_get(const struct lk_tokenizer *t, const struct lk_trie **out, lk_error *err)
{
    struct lk_trie *trie = atomic_load(&t->trie->trie), *none = NULL;
    if (!trie) {
        trie = lk_alloc(sizeof *trie);
        if (!trie) {
            return lk_fail(err, LK_E_NOMEM, "out of memory for a tree of tokens");
        }
        trie->n_vocab = t->n_vocab;
        trie->n_words = (t->n_vocab + 31) / 32;
        lk_status status = build(trie, t, err);
        if (status) {
            lk_trie_free(trie);
            return status;
        }
        if (!atomic_compare_exchange_strong(&t->trie->trie, &none, trie)) {
            lk_trie_free(trie); /* another thread was first */
            trie = none;
        }
    }
    *out = trie;
    return LK_OK;
}
