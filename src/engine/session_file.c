/* SPDX-License-Identifier: Apache-2.0
 *
 * Session_file: a session saved to a file and loaded again, on any backend. Little-endian:
 *
 *     header (below) · tokens i32 [n_tokens] · logits f32 [n_row] when has_logits ·
 *     of each state its units, blocks in order of position, cells past the last token zero ·
 *     the program's bytes · how many of them there are, u64 · SHA-256 of everything before it
 *
 * Every version of the format starts with MAGIC and ends with that digest, the file's seal: it is
 * checked first, so that what is said about the rest is said about what was saved. Everything is
 * checked before the session is touched.
 */
#include <stddef.h>
#include <string.h>

#include "engine/session_file.h"

#include "engine/engine.h"
#include "base/mem.h"
#include "base/numerics.h"
#include "base/os.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "session files are little-endian");

static const char MAGIC[8] = LK_SESSION_MAGIC "03";

struct header {
    char magic[8];
    uint32_t numerics;
    uint32_t n_states;       /* of the plan */
    uint64_t unit_bytes;     /* of one unit of each state */
    uint32_t block;          /* LK_KV_BLOCK */
    uint32_t k_bits, v_bits; /* of a cell */
    uint32_t n_row;          /* floats of a row: the vocabulary, or of a hidden row */
    uint32_t n_tokens;
    uint16_t has_logits, long_context; /* of two sets of frequency factors, which */
    uint8_t fingerprint[32];
    uint8_t weights[32]; /* lk_model_digest */
};
_Static_assert(sizeof(struct header) == 112, "no padding in the file");
enum { DIGEST_BYTES = 32, TAIL_BYTES = sizeof(uint64_t) + DIGEST_BYTES };

static uint64_t unit_bytes(const struct lk_plan *plan)
{
    uint64_t sum = 0;
    for (int i = 0; i < plan->n_states; i++) {
        sum += lk_state_unit_bytes(&plan->states[i]);
    }
    return sum;
}

/* Of a session that holds nothing, without the digest of the weights, which may take long. */
static struct header header_of(const struct lk_engine *e)
{
    struct header h = {.numerics = LK_NUMERICS_VERSION,
                       .n_states = (uint32_t)e->plan->n_states,
                       .unit_bytes = unit_bytes(e->plan),
                       .block = LK_KV_BLOCK,
                       .k_bits = (uint32_t)lk_plan_k_bits(e->plan),
                       .v_bits = LK_KV_V_BITS,
                       .n_row = (uint32_t)lk_plan_row_width(e->plan),
                       .long_context = e->plan->long_context};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    lk_model_fingerprint(e->model, h.fingerprint);
    return h;
}

static lk_status weights_of(const struct lk_engine *e, uint8_t out[32], lk_error *err)
{
    return lk_model_digest(e->model, e->options.cache_dir, out, err);
}

static uint32_t n_blocks_of(uint32_t n_tokens)
{
    return (n_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
}

/* Units of a state that a timeline of n_tokens has. */
static int n_units(const struct lk_state *s, uint32_t n_tokens)
{
    return lk_state_is_paged(s) ? (int)n_blocks_of(n_tokens) : n_tokens > 0;
}

/* Bytes of all states of a timeline. */
static size_t states_bytes(const struct lk_plan *plan, uint32_t n_tokens)
{
    size_t sum = 0;
    for (int i = 0; i < plan->n_states; i++) {
        const struct lk_state *s = &plan->states[i];
        sum += (size_t)n_units(s, n_tokens) * lk_state_unit_bytes(s);
    }
    return sum;
}

/* Where the bytes of a file go: to a writer, with their digest, or to memory that has room. */
struct sink {
    struct lk_writer *w;
    lk_sha256 hash;
    uint8_t *image;
};

static void put(struct sink *out, const void *data, size_t n)
{
    if (out->image) {
        memcpy(out->image, data, n);
        out->image += n;
    } else {
        lk_sha256_bytes(&out->hash, data, n);
        lk_writer_put(out->w, data, n);
    }
}

static lk_status put_states(const struct lk_session *s, struct sink *out, lk_error *err)
{
    const struct lk_plan *plan = s->engine->plan;
    uint32_t n_tokens = (uint32_t)s->seq.n_tokens;
    void *unit = lk_alloc(lk_most_unit_bytes(plan));
    lk_status status = LK_OK;
    if (!unit) {
        return lk_fail(err, LK_E_NOMEM, "out of memory saving a session");
    }
    for (int i = 0; i < plan->n_states; i++) {
        const struct lk_state *state = &plan->states[i];
        int n = n_units(state, n_tokens);
        for (int u = 0; u < n && !status; u++) {
            status = lk_lane_read(s->lane, plan, i, lk_seq_unit(plan, i, &s->seq, u), unit, err);
            if (u == n - 1) {
                lk_state_zero_cells(state, unit, n_tokens - (size_t)u * LK_KV_BLOCK);
            }
            put(out, unit, lk_state_unit_bytes(state));
        }
    }
    lk_free(unit);
    return status;
}

/* Everything but the seal. */
static lk_status put_all(struct lk_session *s, struct sink *out, lk_error *err)
{
    struct header h = header_of(s->engine);
    uint64_t n_data = s->n_data;
    h.n_tokens = (uint32_t)s->seq.n_tokens;
    h.has_logits = s->has_logits;
    lk_status status = weights_of(s->engine, h.weights, err);
    if (status) {
        return status;
    }
    put(out, &h, sizeof h);
    put(out, s->tokens, h.n_tokens * sizeof *s->tokens);
    if (h.has_logits) {
        put(out, s->logits, h.n_row * sizeof *s->logits);
    }
    lk_mutex_lock(s->engine->lock);
    status = put_states(s, out, err);
    lk_mutex_unlock(s->engine->lock);
    if (s->n_data) {
        put(out, s->data, s->n_data);
    }
    put(out, &n_data, sizeof n_data);
    return status;
}

lk_status lk_session_save_to(lk_session *s, lk_output *output, lk_error *err)
{
    struct sink out = {.w = &output->w};
    uint8_t digest[DIGEST_BYTES];
    lk_sha256_init(&out.hash);
    lk_status status = put_all(s, &out, err);
    lk_sha256_final(&out.hash, digest);
    return status ? status : lk_output_write(output, digest, sizeof digest, err);
}

lk_status lk_session_image(lk_session *s, uint8_t *image, size_t n_bytes, lk_error *err)
{
    struct sink out = {.image = image};
    size_t need = lk_session_file_bytes(s->engine, (size_t)s->seq.n_tokens, s->n_data);
    if (s->has_logits || need != n_bytes) {
        return lk_fail(err, LK_E_INVALID, "a session's file of %zu bytes in memory, expected %zu",
                       n_bytes, need);
    }
    return put_all(s, &out, err);
}

void lk_session_seal(uint8_t *image, size_t n_bytes)
{
    lk_sha256 hash;
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, image, n_bytes - DIGEST_BYTES);
    lk_sha256_final(&hash, image + n_bytes - DIGEST_BYTES);
}

lk_status lk_session_save(lk_session *s, const char *path, lk_error *err)
{
    lk_output *output;
    lk_status status = lk_output_open(path, LK_OUTPUT_PRIVATE, &output, err);
    if (status) {
        return status;
    }
    status = lk_session_save_to(s, output, err);
    if (status) {
        lk_output_close(&output);
        return status;
    }
    return lk_output_commit(&output, err);
}

/* ---- load ---- */

/* Two digests of a model, which must be equal. */
static lk_status check_model(const char *path, const char *what, const uint8_t found[32],
                             const uint8_t expected[32], lk_error *err)
{
    return memcmp(found, expected, 32) == 0
               ? LK_OK
               : lk_fail(err, LK_E_FORMAT,
                         "%s: saved with another model: its %s starts %02x%02x%02x%02x, this "
                         "model's %02x%02x%02x%02x",
                         path, what, found[0], found[1], found[2], found[3], expected[0],
                         expected[1], expected[2], expected[3]);
}

static lk_status check(const char *path, const char *what, uint64_t found, uint64_t expected,
                       lk_error *err)
{
    return found == expected
               ? LK_OK
               : lk_fail(err, LK_E_FORMAT, "%s: %s is %llu, expected %llu", path, what,
                         (unsigned long long)found, (unsigned long long)expected);
}

/* The number that two digits are; -1 for other bytes. */
static int version_of(const char *digits)
{
    bool are = digits[0] >= '0' && digits[0] <= '9' && digits[1] >= '0' && digits[1] <= '9';
    return are ? 10 * (digits[0] - '0') + digits[1] - '0' : -1;
}

static lk_status check_name(const char *path, const struct lk_map *map, lk_error *err)
{
    size_t name = sizeof MAGIC - 2; /* without the version */
    if (map->n_bytes < sizeof(struct header) + TAIL_BYTES) {
        return lk_fail(err, LK_E_FORMAT, "%s: %zu bytes, expected at least %zu", path, map->n_bytes,
                       sizeof(struct header) + TAIL_BYTES);
    }
    if (memcmp(map->data, MAGIC, name) != 0) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: not a saved session: starts with other bytes than '%.*s'", path,
                       (int)name, MAGIC);
    }
    return LK_OK;
}

/* Whether nobody changed it since it was saved. */
static lk_status check_seal(const char *path, const struct lk_map *map, lk_error *err)
{
    uint8_t digest[DIGEST_BYTES];
    size_t n = map->n_bytes - sizeof digest;
    lk_sha256 hash;
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, map->data, n);
    lk_sha256_final(&hash, digest);
    if (memcmp(digest, map->data + n, sizeof digest) != 0) {
        return lk_fail(err, LK_E_FORMAT,
                       "%s: damaged, cut short or longer than it was saved: its last %d bytes are "
                       "not the SHA-256 of those before",
                       path, DIGEST_BYTES);
    }
    return LK_OK;
}

static lk_status check_version(const char *path, const struct lk_map *map, lk_error *err)
{
    size_t name = sizeof MAGIC - 2;
    if (memcmp(map->data, MAGIC, sizeof MAGIC) != 0) {
        int found = version_of((const char *)map->data + name), want = version_of(MAGIC + name);
        return lk_fail(err, LK_E_FORMAT,
                       "%s: a session saved in version %d of the format, expected %d: this build "
                       "reads no %s ones",
                       path, found, want, found < want ? "older" : "newer");
    }
    return LK_OK;
}

static lk_status check_header(const struct lk_engine *e, const char *path, const struct header *h,
                              lk_error *err)
{
    struct header want = header_of(e);
    lk_status status = check(path, "numerics version", h->numerics, want.numerics, err);
    if (!status) {
        status = check_model(path, "fingerprint", h->fingerprint, want.fingerprint, err);
    }
    if (!status) {
        status = check(path, "number of states", h->n_states, want.n_states, err);
    }
    if (!status) {
        status = check(path, "bits of a key (option kv)", h->k_bits, want.k_bits, err);
    }
    if (!status) {
        status = check(path, "bits of a value (option kv)", h->v_bits, want.v_bits, err);
    }
    if (!status) {
        status = check(path, "size of states", h->unit_bytes, want.unit_bytes, err);
    }
    if (!status) {
        status = check(path, "KV block size", h->block, want.block, err);
    }
    if (!status) {
        status = check(path, "vocabulary size", h->n_row, want.n_row, err);
    }
    if (!status) {
        status = check(path, "set of frequency factors", h->long_context, want.long_context, err);
    }
    if (!status && h->has_logits > (h->n_tokens > 0)) {
        status = check(path, "logits flag", h->has_logits, h->n_tokens > 0, err);
    }
    if (!status && h->n_tokens > e->n_ctx) {
        status = lk_fail(err, LK_E_FULL, "%s: holds %u tokens, this session has room for %u", path,
                         h->n_tokens, e->n_ctx);
    }
    return status;
}

static lk_status check_weights(const struct lk_engine *e, const char *path, const struct header *h,
                               lk_error *err)
{
    uint8_t want[32];
    lk_status status = weights_of(e, want, err);
    return status ? status : check_model(path, "weights' digest", h->weights, want, err);
}

/* Whether the file is as long as the tokens and the program's bytes in it are. */
static lk_status check_length(const char *path, const struct lk_map *map, const struct header *h,
                              size_t data_at, size_t *n_data, lk_error *err)
{
    size_t least = data_at + TAIL_BYTES;
    if (map->n_bytes < least) {
        return lk_fail(err, LK_E_FORMAT, "%s: %zu bytes, expected at least %zu for %u tokens", path,
                       map->n_bytes, least, h->n_tokens);
    }
    uint64_t n;
    memcpy(&n, map->data + map->n_bytes - TAIL_BYTES, sizeof n);
    *n_data = map->n_bytes - least;
    return check(path, "number of bytes that the program saved with it", n, *n_data, err);
}

static lk_status check_content(const struct lk_session *s, const char *path,
                               const struct lk_map *map, const struct header *h, size_t states_at,
                               lk_error *err)
{
    const uint8_t *data = map->data;
    for (uint32_t i = 0; i < h->n_tokens; i++) {
        int32_t id;
        memcpy(&id, data + sizeof *h + i * sizeof id, sizeof id);
        if (id < 0 || id >= s->engine->plan->n_vocab) {
            return lk_fail(err, LK_E_FORMAT, "%s: token %u is %d, expected 0 to %d", path, i, id,
                           s->engine->plan->n_vocab - 1);
        }
    }
    for (size_t at = sizeof *h + h->n_tokens * sizeof(int32_t); at < states_at;
         at += sizeof(float)) {
        float x;
        memcpy(&x, data + at, sizeof x);
        if (lk_out_of_range(x)) {
            return lk_fail(err, LK_E_FORMAT, "%s: a logit at byte %zu is out of range", path, at);
        }
    }
    const struct lk_plan *plan = s->engine->plan;
    for (int i = 0; i < plan->n_states; i++) {
        const struct lk_state *state = &plan->states[i];
        size_t n = (size_t)n_units(state, h->n_tokens) * lk_state_unit_bytes(state);
        int64_t bad = lk_state_find_bad(state, data + states_at, n);
        if (bad >= 0) {
            return lk_fail(err, LK_E_FORMAT, "%s: the %s of layer %d is out of range at byte %zu",
                           path, lk_state_name(state), state->layer, states_at + (size_t)bad);
        }
        states_at += n;
    }
    return LK_OK;
}

/* Units of the old timeline that the new one is written over, where too few are free. */
struct lent {
    const int32_t *blocks;
    int n;            /* blocks of each paged state */
    int slot;         /* of recurrent states; -1: none */
    uint8_t *content; /* what they held; NULL while nothing was overwritten */
};

static int lent_units(const struct lent *lent, const struct lk_state *s)
{
    return lk_state_is_paged(s) ? lent->n : lent->slot >= 0;
}

/* Keeps what the lent blocks hold, or brings it back. */
static lk_status copy_lent(struct lk_session *s, struct lent *lent, bool back, lk_error *err)
{
    const struct lk_plan *plan = s->engine->plan;
    uint8_t *at = lent->content;
    lk_status status = LK_OK;
    for (int i = 0; i < plan->n_states; i++) {
        size_t bytes = lk_state_unit_bytes(&plan->states[i]);
        bool paged = lk_state_is_paged(&plan->states[i]);
        for (int u = 0; u < lent_units(lent, &plan->states[i]) && !status; u++) {
            int unit = paged ? lent->blocks[u] : lent->slot;
            status = back ? lk_lane_write(s->lane, plan, i, unit, at, err)
                          : lk_lane_read(s->lane, plan, i, unit, at, err);
            at += bytes;
        }
    }
    return status;
}

/* Keeps what the lent units hold. */
static lk_status keep_lent(struct lk_session *s, struct lent *lent, lk_error *err)
{
    const struct lk_plan *plan = s->engine->plan;
    size_t n = 0;
    for (int i = 0; i < plan->n_states; i++) {
        n += (size_t)lent_units(lent, &plan->states[i]) * lk_state_unit_bytes(&plan->states[i]);
    }
    uint8_t *content = lk_alloc(n);
    if (!content) {
        return lk_fail(err, LK_E_NOMEM, "out of memory keeping %zu bytes of states", n);
    }
    lent->content = content;
    lk_status status = copy_lent(s, lent, false, err);
    if (status) { /* nothing to bring back */
        lk_free(content);
        lent->content = NULL;
    }
    return status;
}

/* Units for n tokens: free ones first, then those that the old timeline has alone. */
static lk_status make_room(struct lk_session *s, struct lk_state_seq *old, int n, struct lent *lent,
                           lk_error *err)
{
    struct lk_state_pool *pool = &s->lane->pool;
    int have = pool->n_free, want = (int)n_blocks_of((uint32_t)n) - have;
    if (pool->n_slots > 0 && pool->n_free_slots == 0) {
        lent->slot = s->seq.slot = old->slot;
        old->slot = -1;
    }
    lk_status status = lk_session_reserve(s, want > 0 ? have * LK_KV_BLOCK : n, err);
    if (status || (want <= 0 && lent->slot < 0)) {
        return status;
    }
    lent->n = want > 0 ? lk_state_seq_borrow(old, &s->seq, pool, want) : 0;
    lent->blocks = s->seq.blocks + s->seq.n_blocks - lent->n;
    if (lent->n < want) {
        return lk_fail(err, LK_E_FULL,
                       "KV cache full: %d blocks of %d tokens needed, %d free and %d of the "
                       "session's own",
                       want + have, LK_KV_BLOCK, have, lent->n);
    }
    return keep_lent(s, lent, err);
}

static lk_status load_states(struct lk_session *s, const struct lk_map *map, size_t at, uint32_t n,
                             lk_error *err)
{
    const struct lk_plan *plan = s->engine->plan;
    lk_status status = LK_OK;
    for (int i = 0; i < plan->n_states; i++) {
        const struct lk_state *state = &plan->states[i];
        for (int u = 0; u < n_units(state, n) && !status; u++) {
            status = lk_lane_write(s->lane, plan, i, lk_seq_unit(plan, i, &s->seq, u),
                                   map->data + at, err);
            at += lk_state_unit_bytes(state);
        }
    }
    return status;
}

/* The old timeline again after a failure. Where its cache can't be brought back, only what lies
 * before the first block that was overwritten. */
static void bring_back(struct lk_session *s, struct lk_state_seq *old, struct lent *lent)
{
    lk_error err;
    bool lost = lent->content && copy_lent(s, lent, true, &err);
    if (lent->slot >= 0) {
        old->slot = lent->slot;
        s->seq.slot = -1;
    }
    if (lost) {
        int whole = old->n_blocks;
        for (int i = 0; i < lent->n; i++) {
            for (int b = 0; b < whole; b++) {
                whole = old->blocks[b] == lent->blocks[i] ? b : whole;
            }
        }
        (void)lk_state_seq_truncate(old, &s->lane->pool, whole * LK_KV_BLOCK);
        s->has_logits = false;
    }
    lk_state_seq_free(&s->seq, &s->lane->pool);
    s->seq = *old;
    lk_checkpoints_cut(s, s->seq.n_tokens);
}

/* Swaps in the saved timeline; on failure the old one is back. */
static lk_status adopt(struct lk_session *s, const struct lk_map *map, const struct header *h,
                       size_t states_at, lk_error *err)
{
    struct lk_state_seq old = s->seq;
    struct lent lent = {.slot = -1};
    lk_status status = lk_state_seq_init(&s->seq, (int)s->engine->n_ctx, err);
    if (!status) {
        status = make_room(s, &old, (int)h->n_tokens, &lent, err);
    }
    if (!status) {
        status = load_states(s, map, states_at, h->n_tokens, err);
    }
    if (status) {
        bring_back(s, &old, &lent);
        lk_free(lent.content);
        return status;
    }
    lk_state_seq_free(&old, &s->lane->pool);
    lk_free(lent.content);
    s->seq.n_tokens = (int)h->n_tokens;
    lk_checkpoints_cut(s, 0);
    lk_checkpoint_take(s, LK_CHECKPOINT_DUE);
    size_t at = sizeof *h, n = h->n_tokens * sizeof *s->tokens;
    memcpy(s->tokens, map->data + at, n);
    if (h->has_logits) {
        memcpy(s->logits, map->data + at + n, h->n_row * sizeof *s->logits);
    }
    s->has_logits = h->has_logits;
    return LK_OK;
}

/* The program's bytes are copied first, so that nothing can fail after the timelines changed. */
static lk_status load_all(struct lk_session *s, const struct lk_map *map, const struct header *h,
                          size_t states_at, const uint8_t *data, size_t n_data, lk_error *err)
{
    void *copy = n_data ? lk_alloc(n_data) : NULL;
    if (n_data && !copy) {
        return lk_fail(err, LK_E_NOMEM, "out of memory loading %zu bytes of a session", n_data);
    }
    lk_mutex_lock(s->engine->lock);
    lk_status status = adopt(s, map, h, states_at, err);
    lk_mutex_unlock(s->engine->lock);
    if (status) {
        lk_free(copy);
        return status;
    }
    if (n_data) {
        memcpy(copy, data, n_data);
    }
    lk_free(s->data);
    s->data = copy;
    s->n_data = n_data;
    return LK_OK;
}

/* A mapped file, and where its parts lie. */
struct opened_file {
    struct lk_map map;
    struct header h;
    size_t states_at, data_at, n_data;
};

/* Its header and length are right, and with `whole` its digest too, which is that of all its bytes.
 */
static lk_status open_file(const struct lk_engine *e, const char *path, bool whole,
                           struct opened_file *f, lk_error *err)
{
    *f = (struct opened_file){0};
    lk_status status = lk_map_open(path, &f->map, err);
    if (status) {
        return status;
    }
    status = check_name(path, &f->map, err);
    if (!status && whole) {
        status = check_seal(path, &f->map, err);
    }
    if (!status) {
        status = check_version(path, &f->map, err);
    }
    if (!status) {
        memcpy(&f->h, f->map.data, sizeof f->h);
        status = check_header(e, path, &f->h, err);
    }
    if (!status) {
        /* The header's numbers are the model's own or at most n_ctx: no overflow below. */
        f->states_at = sizeof f->h + f->h.n_tokens * sizeof(int32_t) +
                       (f->h.has_logits ? f->h.n_row * sizeof(float) : 0);
        f->data_at = f->states_at + states_bytes(e->plan, f->h.n_tokens);
        status = check_length(path, &f->map, &f->h, f->data_at, &f->n_data, err);
    }
    if (status) {
        lk_map_close(&f->map);
    }
    return status;
}

lk_status lk_session_load(lk_session *s, const char *path, lk_error *err)
{
    struct opened_file f;
    lk_status status = open_file(s->engine, path, true, &f, err);
    if (status) {
        return status;
    }
    status = check_weights(s->engine, path, &f.h, err);
    if (!status) {
        status = check_content(s, path, &f.map, &f.h, f.states_at, err);
    }
    if (!status) {
        status = load_all(s, &f.map, &f.h, f.states_at, f.map.data + f.data_at, f.n_data, err);
    }
    lk_map_close(&f.map);
    return status;
}

/* ---- without loading ---- */

size_t lk_session_file_bytes(const lk_engine *e, size_t n_tokens, size_t n_data)
{
    return sizeof(struct header) + n_tokens * sizeof(int32_t) +
           states_bytes(e->plan, (uint32_t)n_tokens) + n_data + TAIL_BYTES;
}

lk_status lk_session_file_identity(const lk_engine *e, uint8_t out[32], lk_error *err)
{
    struct header h = header_of(e);
    lk_sha256 hash;
    lk_status status = weights_of(e, h.weights, err);
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, &h, sizeof h);
    lk_sha256_final(&hash, out);
    return status;
}

lk_status lk_session_glance(lk_engine *e, const char *path, struct lk_session_glance *out,
                            lk_error *err)
{
    struct opened_file f;
    *out = (struct lk_session_glance){0};
    lk_status status = open_file(e, path, false, &f, err);
    if (status) {
        return status;
    }
    *out = (struct lk_session_glance){.ids = lk_alloc_array(f.h.n_tokens, sizeof *out->ids),
                                      .n_tokens = f.h.n_tokens,
                                      .data = lk_alloc(f.n_data),
                                      .n_data = f.n_data,
                                      .n_bytes = f.map.n_bytes,
                                      .modified_ns = f.map.stamp.modified_ns};
    if (out->ids && out->data) {
        memcpy(out->ids, f.map.data + sizeof f.h, f.h.n_tokens * sizeof *out->ids);
        memcpy(out->data, f.map.data + f.data_at, f.n_data);
    } else {
        lk_session_glance_free(out);
        status = lk_fail(err, LK_E_NOMEM, "%s: out of memory", path);
    }
    lk_map_close(&f.map);
    return status;
}

void lk_session_glance_free(struct lk_session_glance *glance)
{
    lk_free(glance->ids);
    lk_free(glance->data);
    *glance = (struct lk_session_glance){0};
}
