/* SPDX-License-Identifier: Apache-2.0
 *
 * Session_file: a session saved to a file and loaded again, on any backend. Little-endian:
 *
 *     header (below) · tokens i32 [n_tokens] · logits f32 [n_vocab] when has_logits ·
 *     per layer: K blocks, V blocks in order of position, cells past the last token zero ·
 *     SHA-256 of everything before it
 *
 * Everything is checked before the session is touched.
 */
#include <stddef.h>
#include <string.h>

#include "engine/engine.h"
#include "base/mem.h"
#include "base/numerics.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "session files are little-endian");

static const char MAGIC[8] = {'L', 'K', 'S', 'E', 'S', 'S', '0', '1'};

struct header {
    char magic[8];
    uint32_t numerics;
    uint32_t n_layer, n_kv_head, head_dim, block; /* geometry; block = LK_KV_BLOCK */
    uint32_t n_vocab;
    uint32_t n_tokens, has_logits;
    uint8_t fingerprint[32];
};
_Static_assert(sizeof(struct header) == 72, "no padding in the file");

static struct header header_of(const struct lk_session *s)
{
    const struct lk_engine *e = s->engine;
    struct header h = {.numerics = LK_NUMERICS_VERSION,
                       .n_layer = (uint32_t)e->plan->n_layer,
                       .n_kv_head = (uint32_t)e->plan->n_kv_head,
                       .head_dim = (uint32_t)e->plan->head_dim,
                       .block = LK_KV_BLOCK,
                       .n_vocab = (uint32_t)e->plan->n_vocab,
                       .n_tokens = (uint32_t)s->kv.n_tokens,
                       .has_logits = s->has_logits};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    lk_model_fingerprint(e->model, h.fingerprint);
    return h;
}

static uint32_t n_blocks_of(uint32_t n_tokens)
{
    return (n_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
}

/* Zeroes the cells of a block at slots >= n. */
static void zero_cells(const struct lk_engine *e, enum lk_kv_which which, uint16_t *block, size_t n)
{
    size_t nh = (size_t)e->plan->n_kv_head;
    size_t dim = lk_round_up((size_t)e->plan->head_dim, LK_KV_DIM_ALIGN);
    for (size_t h = 0; h < nh; h++) {
        for (size_t d = 0; d < dim; d++) {
            for (size_t slot = n; slot < LK_KV_BLOCK; slot++) {
                block[which == LK_KV_K ? LK_KV_K_AT(0, h, d, slot, nh, dim)
                                       : LK_KV_V_AT(0, h, slot, d, nh, dim)] = 0;
            }
        }
    }
}

struct sink {
    struct lk_writer w;
    lk_sha256 hash;
};

static void put(struct sink *out, const void *data, size_t n)
{
    lk_sha256_bytes(&out->hash, data, n);
    lk_writer_put(&out->w, data, n);
}

lk_status lk_session_save(lk_session *s, const char *path, lk_error *err)
{
    const struct lk_engine *e = s->engine;
    struct header h = header_of(s);
    struct sink out;
    size_t n = lk_engine_block_bytes(e);
    uint8_t *block = lk_alloc(n), digest[32];
    if (!block) {
        return lk_fail(err, LK_E_NOMEM, "out of memory saving a session");
    }
    lk_status status = lk_writer_open(&out.w, path, err);
    if (status) {
        lk_free(block);
        return status;
    }
    lk_sha256_init(&out.hash);
    put(&out, &h, sizeof h);
    put(&out, s->tokens, h.n_tokens * sizeof *s->tokens);
    if (h.has_logits) {
        put(&out, s->logits, h.n_vocab * sizeof *s->logits);
    }
    lk_mutex_lock(e->lock);
    int blocks = (int)n_blocks_of(h.n_tokens);
    for (int layer = 0; layer < e->plan->n_layer && !status; layer++) {
        for (int i = 0; i < 2 * blocks && !status; i++) {
            enum lk_kv_which which = i < blocks ? LK_KV_K : LK_KV_V;
            int b = i < blocks ? i : i - blocks;
            status = lk_lane_kv_read(s->lane, layer, which, s->kv.blocks[b], block, err);
            if (b == blocks - 1) {
                zero_cells(e, which, (uint16_t *)(void *)block,
                           h.n_tokens - (size_t)b * LK_KV_BLOCK);
            }
            put(&out, block, n);
        }
    }
    lk_mutex_unlock(e->lock);
    lk_free(block);
    lk_sha256_final(&out.hash, digest);
    lk_writer_put(&out.w, digest, sizeof digest);
    if (status) {
        lk_writer_abort(&out.w);
        return status;
    }
    return lk_writer_commit(&out.w, err);
}

/* ---- load ---- */

static lk_status check_u32(const char *path, const char *what, uint32_t found, uint32_t expected,
                           lk_error *err)
{
    return found == expected ? LK_OK
                             : lk_fail(err, LK_E_FORMAT, "%s: %s is %u, expected %u", path, what,
                                       found, expected);
}

static lk_status check_header(const struct lk_session *s, const char *path, const struct header *h,
                              lk_error *err)
{
    struct header want = header_of(s);
    if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: not a saved session: starts with other bytes than "
                       "'LKSESS01'",
                       path);
    }
    lk_status status = check_u32(path, "numerics version", h->numerics, want.numerics, err);
    if (!status && memcmp(h->fingerprint, want.fingerprint, sizeof want.fingerprint) != 0) {
        status = lk_fail(err, LK_E_FORMAT,
                         "%s: saved with another model: its fingerprint starts %02x%02x%02x%02x, "
                         "this model's %02x%02x%02x%02x",
                         path, h->fingerprint[0], h->fingerprint[1], h->fingerprint[2],
                         h->fingerprint[3], want.fingerprint[0], want.fingerprint[1],
                         want.fingerprint[2], want.fingerprint[3]);
    }
    if (!status) {
        status = check_u32(path, "layer count", h->n_layer, want.n_layer, err);
    }
    if (!status) {
        status = check_u32(path, "KV head count", h->n_kv_head, want.n_kv_head, err);
    }
    if (!status) {
        status = check_u32(path, "head dimension", h->head_dim, want.head_dim, err);
    }
    if (!status) {
        status = check_u32(path, "KV block size", h->block, want.block, err);
    }
    if (!status) {
        status = check_u32(path, "vocabulary size", h->n_vocab, want.n_vocab, err);
    }
    if (!status && h->has_logits > (h->n_tokens > 0)) {
        status = check_u32(path, "logits flag", h->has_logits, h->n_tokens > 0, err);
    }
    if (!status && h->n_tokens > s->engine->n_ctx) {
        status = lk_fail(err, LK_E_FULL, "%s: holds %u tokens, this session has room for %u", path,
                         h->n_tokens, s->engine->n_ctx);
    }
    return status;
}

static lk_status check_content(const struct lk_session *s, const char *path,
                               const struct lk_map *map, const struct header *h, size_t kv_at,
                               lk_error *err)
{
    const uint8_t *data = map->data;
    uint8_t digest[32];
    lk_sha256 hash;
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, data, map->n_bytes - sizeof digest);
    lk_sha256_final(&hash, digest);
    if (memcmp(digest, data + map->n_bytes - sizeof digest, sizeof digest) != 0) {
        return lk_fail(err, LK_E_FORMAT, "%s: damaged: its SHA-256 does not match its content",
                       path);
    }
    for (uint32_t i = 0; i < h->n_tokens; i++) {
        int32_t id;
        memcpy(&id, data + sizeof *h + i * sizeof id, sizeof id);
        if (id < 0 || id >= s->engine->plan->n_vocab) {
            return lk_fail(err, LK_E_FORMAT, "%s: token %u is %d, expected 0 to %d", path, i, id,
                           s->engine->plan->n_vocab - 1);
        }
    }
    for (size_t at = sizeof *h + h->n_tokens * sizeof(int32_t); at < kv_at; at += sizeof(float)) {
        float x;
        memcpy(&x, data + at, sizeof x);
        if (lk_out_of_range(x)) {
            return lk_fail(err, LK_E_FORMAT, "%s: a logit at byte %zu is out of range", path, at);
        }
    }
    for (size_t at = kv_at; at < map->n_bytes - sizeof digest; at += 2) {
        if ((data[at + 1] & 0x7c) == 0x7c) {
            return lk_fail(err, LK_E_FORMAT, "%s: NaN or infinity in the cache at byte %zu", path,
                           at);
        }
    }
    return LK_OK;
}

/* Blocks of the old timeline that the new one is written over, where too few are free. */
struct lent {
    const int32_t *blocks;
    int n;
    uint8_t *content; /* [layers][K, V][n] blocks; NULL while nothing was overwritten */
};

/* Keeps what the lent blocks hold, or brings it back. */
static lk_status copy_lent(struct lk_session *s, struct lent *lent, bool back, lk_error *err)
{
    size_t bytes = lk_engine_block_bytes(s->engine);
    uint8_t *at = lent->content;
    lk_status status = LK_OK;
    for (int layer = 0; layer < s->engine->plan->n_layer && !status; layer++) {
        for (int i = 0; i < 2 * lent->n && !status; i++, at += bytes) {
            enum lk_kv_which which = i < lent->n ? LK_KV_K : LK_KV_V;
            int b = lent->blocks[i % lent->n];
            status = back ? lk_lane_kv_write(s->lane, layer, which, b, at, err)
                          : lk_lane_kv_read(s->lane, layer, which, b, at, err);
        }
    }
    return status;
}

/* Blocks for n tokens: free ones first, then those that the old timeline has alone. */
static lk_status make_room(struct lk_session *s, const struct lk_kv_seq *old, int n,
                           struct lent *lent, lk_error *err)
{
    struct lk_kv_pool *pool = &s->lane->pool;
    int have = pool->n_free, want = (int)n_blocks_of((uint32_t)n) - have;
    lk_status status = lk_session_reserve(s, want > 0 ? have * LK_KV_BLOCK : n, err);
    if (status || want <= 0) {
        return status;
    }
    lent->n = lk_kv_seq_borrow(old, &s->kv, pool, want);
    lent->blocks = s->kv.blocks + s->kv.n_blocks - lent->n;
    if (lent->n < want) {
        return lk_fail(err, LK_E_FULL,
                       "KV cache full: %d blocks of %d tokens needed, %d free and %d of the "
                       "session's own",
                       want + have, LK_KV_BLOCK, have, lent->n);
    }
    size_t one = 2 * (size_t)s->engine->plan->n_layer * lk_engine_block_bytes(s->engine);
    uint8_t *content = lk_alloc_array((size_t)lent->n, one);
    if (!content) {
        return lk_fail(err, LK_E_NOMEM, "out of memory keeping %d KV blocks", lent->n);
    }
    lent->content = content;
    status = copy_lent(s, lent, false, err);
    if (status) { /* nothing to bring back */
        lk_free(content);
        lent->content = NULL;
    }
    return status;
}

static lk_status load_cache(struct lk_session *s, const struct lk_map *map, size_t at, uint32_t n,
                            lk_error *err)
{
    const struct lk_engine *e = s->engine;
    size_t bytes = lk_engine_block_bytes(e);
    int blocks = (int)n_blocks_of(n);
    lk_status status = LK_OK;
    for (int layer = 0; layer < e->plan->n_layer && !status; layer++) {
        for (int i = 0; i < 2 * blocks && !status; i++, at += bytes) {
            enum lk_kv_which which = i < blocks ? LK_KV_K : LK_KV_V;
            status =
                lk_lane_kv_write(s->lane, layer, which, s->kv.blocks[i < blocks ? i : i - blocks],
                                 map->data + at, err);
        }
    }
    return status;
}

/* The old timeline again after a failure. Where its cache can't be brought back, only what lies
 * before the first block that was overwritten. */
static void bring_back(struct lk_session *s, struct lk_kv_seq *old, struct lent *lent)
{
    lk_error err;
    if (lent->content && copy_lent(s, lent, true, &err)) {
        int whole = old->n_blocks;
        for (int i = 0; i < lent->n; i++) {
            for (int b = 0; b < whole; b++) {
                whole = old->blocks[b] == lent->blocks[i] ? b : whole;
            }
        }
        lk_kv_seq_truncate(old, &s->lane->pool, whole * LK_KV_BLOCK);
        s->has_logits = false;
    }
    lk_kv_seq_free(&s->kv, &s->lane->pool);
    s->kv = *old;
}

/* Swaps in the saved timeline; on failure the old one is back. */
static lk_status adopt(struct lk_session *s, const struct lk_map *map, const struct header *h,
                       size_t kv_at, lk_error *err)
{
    struct lk_kv_seq old = s->kv;
    struct lent lent = {0};
    lk_status status = lk_kv_seq_init(&s->kv, (int)s->engine->n_ctx, err);
    if (!status) {
        status = make_room(s, &old, (int)h->n_tokens, &lent, err);
    }
    if (!status) {
        status = load_cache(s, map, kv_at, h->n_tokens, err);
    }
    if (status) {
        bring_back(s, &old, &lent);
        lk_free(lent.content);
        return status;
    }
    lk_kv_seq_free(&old, &s->lane->pool);
    lk_free(lent.content);
    s->kv.n_tokens = (int)h->n_tokens;
    size_t at = sizeof *h, n = h->n_tokens * sizeof *s->tokens;
    memcpy(s->tokens, map->data + at, n);
    if (h->has_logits) {
        memcpy(s->logits, map->data + at + n, h->n_vocab * sizeof *s->logits);
    }
    s->has_logits = h->has_logits;
    return LK_OK;
}

lk_status lk_session_load(lk_session *s, const char *path, lk_error *err)
{
    struct lk_map map = {0};
    struct header h;
    lk_status status = lk_map_open(path, &map, err);
    if (status) {
        return status;
    }
    if (map.n_bytes < sizeof h + 32) {
        status = lk_fail(err, LK_E_FORMAT, "%s: %zu bytes, expected at least %zu", path,
                         map.n_bytes, sizeof h + 32);
        goto done;
    }
    memcpy(&h, map.data, sizeof h);
    status = check_header(s, path, &h, err);
    if (status) {
        goto done;
    }
    /* The header's numbers are the model's own or at most n_ctx: no overflow below. */
    size_t kv_at =
        sizeof h + h.n_tokens * sizeof(int32_t) + (h.has_logits ? h.n_vocab * sizeof(float) : 0);
    size_t want =
        kv_at + 32 +
        (size_t)2 * h.n_layer * n_blocks_of(h.n_tokens) * lk_engine_block_bytes(s->engine);
    if (map.n_bytes != want) {
        status = lk_fail(err, LK_E_FORMAT, "%s: %zu bytes, expected %zu for %u tokens", path,
                         map.n_bytes, want, h.n_tokens);
        goto done;
    }
    status = check_content(s, path, &map, &h, kv_at, err);
    if (!status) {
        lk_mutex_lock(s->engine->lock);
        status = adopt(s, &map, &h, kv_at, err);
        lk_mutex_unlock(s->engine->lock);
    }
done:
    lk_map_close(&map);
    return status;
}
