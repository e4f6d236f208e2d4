/* SPDX-License-Identifier: Apache-2.0
 *
 * Model digest: lk_model_digest, the SHA-256 of a model's weights: computed by threads, and kept in
 * cache_dir for as long as the files are what they were. Knows no architecture.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/kept.h"
#include "base/mem.h"
#include "gguf/gguf_priv.h"
#include "gguf/model_file.h"

/* KEPT_VERSION: of the file that is kept. SLICE: what is asked of the disk ahead, and given back.
 * A thread for less than SHARE bytes is not worth its start. */
enum { DIGEST = 32, KEPT_VERSION = 1, SLICE = 4 << 20, SHARE = 8 << 20, MAX_THREADS = 64 };

/* ---- computing ---- */

struct work {
    const struct lk_gguf *gguf;
    uint32_t *order;           /* [n_tensors] the largest first */
    uint8_t (*sha256)[DIGEST]; /* [n_tensors] of each one's data */
    _Atomic size_t next;       /* in order */
};

static int larger_first(const void *items, uint32_t a, uint32_t b)
{
    const struct lk_gguf_tensor *t = items;
    return (t[a].n_bytes < t[b].n_bytes) - (t[a].n_bytes > t[b].n_bytes);
}

/* Reads a tensor once, from its file ahead of use where it is mapped, and gives its pages back. */
static void hash_tensor(const struct lk_gguf *g, const struct lk_gguf_tensor *t,
                        uint8_t out[DIGEST])
{
    const struct lk_map *map = &g->parts[t->part].map;
    lk_sha256 h;
    lk_sha256_init(&h);
    for (size_t at = 0, n; at < t->n_bytes; at += n) {
        n = t->n_bytes - at < SLICE ? (size_t)(t->n_bytes - at) : SLICE;
        size_t ahead = t->n_bytes - at - n < SLICE ? (size_t)(t->n_bytes - at - n) : SLICE;
        lk_map_will_need(map, (size_t)t->file_offset + at, n + ahead);
        lk_sha256_bytes(&h, t->data + at, n);
        if (map->data) {
            lk_map_drop(t->data + at, n);
        }
    }
    lk_sha256_final(&h, out);
}

static void hash_tensors(void *arg)
{
    struct work *w = arg;
    for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->gguf->n_tensors;) {
        uint32_t t = w->order[i];
        hash_tensor(w->gguf, &w->gguf->tensors[t], w->sha256[t]);
    }
}

/* By this thread and others; where one can't be started the rest does its work. */
static void hash_by_threads(struct work *w)
{
    struct lk_thread *threads[MAX_THREADS] = {0};
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->gguf->n_tensors; i++) {
        bytes += w->gguf->tensors[i].n_bytes;
    }
    uint64_t n = (uint64_t)lk_cpu_quota();
    n = n < bytes / SHARE ? n : bytes / SHARE;
    n = n < w->gguf->n_tensors ? n : w->gguf->n_tensors;
    for (uint64_t i = 1; i < n && i < MAX_THREADS; i++) {
        if (lk_thread_start(&threads[i], hash_tensors, w, NULL)) {
            break;
        }
    }
    hash_tensors(w);
    for (int i = 0; i < MAX_THREADS; i++) {
        lk_thread_join(&threads[i]);
    }
}

static void put_number(lk_sha256 *h, uint64_t v, size_t n_bytes)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n_bytes; i++) {
        bytes[i] = (uint8_t)(v >> (8 * i));
    }
    lk_sha256_bytes(h, bytes, n_bytes);
}

/* Of the tensors' digests, as lockstep.h has it. */
static void combine(const struct work *w, uint8_t out[DIGEST])
{
    static const char HEAD[] = "lockstep weights 1";
    lk_sha256 h;
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, HEAD, sizeof HEAD - 1);
    for (size_t i = 0; i < w->gguf->n_tensors; i++) {
        uint32_t index = w->gguf->tensor_order[i];
        const struct lk_gguf_tensor *t = &w->gguf->tensors[index];
        put_number(&h, t->name.len, 8);
        lk_sha256_bytes(&h, t->name.ptr, t->name.len);
        put_number(&h, t->type, 4);
        for (int d = 0; d < 4; d++) {
            put_number(&h, t->ne[d], 8);
        }
        lk_sha256_bytes(&h, w->sha256[index], DIGEST);
    }
    lk_sha256_final(&h, out);
}

static lk_status compute(const struct lk_gguf *g, uint8_t out[DIGEST], lk_error *err)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct lk_gguf_tensor *t = &g->tensors[i];
        if (t->n_bytes == 0) {
            return lk_fail(
                err, LK_E_UNSUPPORTED,
                "%s: tensor '%s': type %u is not known, nor how many bytes its digest is "
                "of",
                g->parts[t->part].path, lk_gguf_show(t->name).text, (unsigned)t->type);
        }
    }
    struct work w = {.gguf = g,
                     .order = lk_alloc_array(g->n_tensors, sizeof *w.order),
                     .sha256 = lk_alloc_array(g->n_tensors, sizeof *w.sha256)};
    lk_status status = LK_OK;
    if (w.order && w.sha256) {
        lk_gguf_sort(w.order, g->n_tensors, larger_first, g->tensors);
        hash_by_threads(&w);
        combine(&w, out);
    } else {
        status = lk_fail(err, LK_E_NOMEM, "%s: out of memory for the digests of %zu tensors",
                         lk_gguf_path(g), g->n_tensors);
    }
    lk_free(w.order);
    lk_free(w.sha256);
    return status;
}

/* ---- keeping ---- */

/* What is kept: SHA-256 of the path, the stamp of each part, and then the digest. */
struct kept {
    char path[4096];
    uint8_t *data; /* owned */
    size_t n_key;  /* bytes before the digest */
};

static bool kept_init(struct kept *k, const struct lk_gguf *g, const char *cache_dir)
{
    uint8_t name[DIGEST];
    lk_path_sha256(lk_gguf_path(g), name);
    int n = snprintf(k->path, sizeof k->path, "%s/weights-", cache_dir);
    if (n < 0 || (size_t)n + 17 > sizeof k->path) {
        return false;
    }
    for (int i = 0; i < 8; i++) {
        snprintf(k->path + n + 2 * i, 3, "%02x", name[i]);
    }
    k->n_key = DIGEST + (size_t)g->n_parts * sizeof(struct lk_stamp);
    k->data = lk_alloc(k->n_key + DIGEST);
    if (!k->data) {
        return false;
    }
    memcpy(k->data, name, DIGEST);
    for (int i = 0; i < g->n_parts; i++) {
        memcpy(k->data + DIGEST + (size_t)i * sizeof(struct lk_stamp), &g->parts[i].map.stamp,
               sizeof(struct lk_stamp));
    }
    return true;
}

static bool kept_find(const struct kept *k, uint8_t out[DIGEST])
{
    struct lk_kept file;
    bool found = false;
    if (lk_kept_open(&file, k->path, "weights", KEPT_VERSION) == LK_KEPT_WHOLE) {
        found = file.n_bytes == k->n_key + DIGEST && memcmp(file.data, k->data, k->n_key) == 0;
        if (found) {
            memcpy(out, file.data + k->n_key, DIGEST);
        }
        lk_kept_close(&file);
    }
    return found;
}

static void kept_write(struct kept *k, const char *cache_dir, const uint8_t digest[DIGEST])
{
    memcpy(k->data + k->n_key, digest, DIGEST);
    if (!lk_make_dirs(cache_dir, NULL)) { /* what can't be kept is computed again */
        (void)lk_kept_write(k->path, "weights", KEPT_VERSION, k->data, k->n_key + DIGEST, NULL);
    }
}

static lk_status find_or_compute(const struct lk_gguf *g, const char *cache_dir,
                                 uint8_t out[DIGEST], lk_error *err)
{
    struct kept kept = {.data = NULL};
    bool same, mapped = g->parts[0].map.data != NULL, settled = lk_gguf_is_settled(g);
    if (!mapped) {
        return compute(g, out, err);
    }
    lk_status status = lk_gguf_look_at_files(g, &same, err);
    if (status) {
        return status;
    }
    bool keep = cache_dir && same && settled && kept_init(&kept, g, cache_dir);
    if (!keep || !kept_find(&kept, out)) {
        status = compute(g, out, err);
        if (!status) { /* what was written meanwhile may be in it or not */
            status = lk_gguf_look_at_files(g, &same, err);
        }
        if (!status && keep && same) {
            kept_write(&kept, cache_dir, out);
        }
    }
    lk_free(kept.data);
    return status;
}

lk_status lk_model_digest(const lk_model *model, const char *cache_dir, uint8_t out[32],
                          lk_error *err)
{
    struct lk_weights_digest *w = model->weights;
    lk_status status = LK_OK;
    lk_mutex_lock(w->lock);
    if (!w->known) {
        status = find_or_compute(model->gguf, cache_dir, w->sha256, err);
        w->known = !status;
    }
    if (!status) {
        memcpy(out, w->sha256, DIGEST);
    }
    lk_mutex_unlock(w->lock);
    return status;
}
