/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz session: any bytes as a saved session, loaded into a session of a model of one layer. The
 * first byte says what is mended before, so that mutations get past the seal: 1: the SHA-256 at the
 * end, 2: the model's fingerprint and the digest of its weights, 4: zeros for the cache as long as
 * the header asks for. What loads must run; what doesn't leaves the session as it was.
 */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "lockstep.h"
#include "plan/kv_layout.h"

enum { CTX = 128, VOCAB = 16, DIM = 32, HEADER = 112, N_TOKENS_AT = 40, FINGERPRINT_AT = 48 };
enum { TAIL = 8 + 32 }; /* how many bytes are the program's, SHA-256 */
enum { MAX_BYTES = 1 << 17, SEAL = 1, FINGERPRINT = 2, PAD = 4, N_HELD = 3 };

static lk_model *model;
static lk_engine *engine;
static lk_session *session;
static int fd;
static char path[64];
static const int32_t HELD[N_HELD] = {3, 1, 15};
static float held_row[VOCAB];

static void close_all(void)
{
    lk_session_close(&session);
    lk_engine_close(&engine);
    lk_model_close(&model);
    close(fd);
}

static void open_once(void)
{
    if (engine) {
        return;
    }
    lk_engine_options o = lk_engine_options_default();
    o.backend = "scalar";
    o.n_ctx = CTX;
    o.n_batch = 64;
    o.n_sessions = 2; /* the old timeline and the one that is loaded */
    FUZZ_CHECK(!lk_model_open(LK_TEST_DIR "/fuzz/session.gguf", &model, NULL));
    FUZZ_CHECK(!lk_engine_open(model, &o, &engine, NULL));
    FUZZ_CHECK(lk_engine_n_vocab(engine) == VOCAB);
    FUZZ_CHECK(!lk_session_open(engine, &session, NULL));
    FUZZ_CHECK(!lk_session_sync(session, HELD, N_HELD, NULL));
    FUZZ_CHECK(!lk_session_set_data(session, HELD, sizeof HELD, NULL));
    memcpy(held_row, lk_session_logits(session), sizeof held_row);
    fd = memfd_create("session", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    atexit(close_all);
}

static uint32_t u32_at(const uint8_t *file, size_t at)
{
    uint32_t v;
    memcpy(&v, file + at, sizeof v);
    return v;
}

/* Mends the n bytes of a file as `mend` says; its new length. */
static size_t mended(uint8_t *file, size_t n, int mend)
{
    if (n < HEADER) {
        return n;
    }
    if (mend & FINGERPRINT) {
        lk_model_fingerprint(model, file + FINGERPRINT_AT);
        FUZZ_CHECK(!lk_model_digest(model, NULL, file + FINGERPRINT_AT + 32, NULL));
    }
    size_t n_tokens = u32_at(file, N_TOKENS_AT), has_logits = u32_at(file, N_TOKENS_AT + 4) != 0;
    if (mend & PAD && n_tokens <= CTX) {
        size_t blocks = (n_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
        size_t want = HEADER + n_tokens * sizeof(int32_t) + has_logits * VOCAB * sizeof(float) +
                      blocks * LK_KV_BLOCK * (DIM * 12 / 8 + 4 + DIM + 4) + TAIL;
        if (n < want) {
            memset(file + n, 0, want - n);
            n = want;
        }
    }
    if (mend & SEAL && n >= HEADER + 32) {
        lk_sha256 h;
        lk_sha256_init(&h);
        lk_sha256_bytes(&h, file, n - 32);
        lk_sha256_final(&h, file + n - 32);
    }
    return n;
}

static void check_loaded(const uint8_t *file, size_t n_bytes)
{
    size_t n_data;
    const void *own = lk_session_data(session, &n_data);
    FUZZ_CHECK(n_data <= n_bytes - TAIL && !own == !n_data);
    FUZZ_CHECK(!own || memcmp(own, file + n_bytes - TAIL - n_data, n_data) == 0);
    size_t n = lk_session_n_tokens(session);
    int32_t ids[CTX + 1];
    const float *row = lk_session_logits(session);
    FUZZ_CHECK(n == u32_at(file, N_TOKENS_AT) && n <= CTX);
    FUZZ_CHECK(memcmp(lk_session_tokens(session), file + HEADER, n * sizeof *ids) == 0);
    FUZZ_CHECK(n > 0 || !row);
    FUZZ_CHECK(!row == !u32_at(file, N_TOKENS_AT + 4));
    FUZZ_CHECK(!row || memcmp(row, file + HEADER + n * sizeof *ids, VOCAB * sizeof *row) == 0);
    for (size_t i = 0; i < n; i++) {
        ids[i] = lk_session_tokens(session)[i];
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < VOCAB);
    }
    /* A cache of numbers nobody computed may lead out of range; nothing else may go wrong. */
    ids[n] = 7;
    lk_error err = {0};
    lk_status status = lk_session_sync(session, ids, n + 1, &err);
    FUZZ_CHECK(status == (n == CTX ? LK_E_FULL : status == LK_E_RANGE ? LK_E_RANGE : LK_OK));
    FUZZ_CHECK(!lk_session_truncate(session, 0, NULL));
    FUZZ_CHECK(!lk_session_set_data(session, HELD, sizeof HELD, NULL));
    FUZZ_CHECK(!lk_session_sync(session, HELD, N_HELD, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t file[MAX_BYTES];
    if (n < 1 || n - 1 > MAX_BYTES / 2) {
        return 0;
    }
    open_once();
    memcpy(file, data + 1, n - 1);
    n = mended(file, n - 1, data[0]);
    FUZZ_CHECK(ftruncate(fd, (off_t)n) == 0 && pwrite(fd, file, n, 0) == (ssize_t)n);
    lk_error err = {0};
    lk_status status = lk_session_load(session, path, &err);
    if (status) {
        FUZZ_CHECK(status == err.status && (status == LK_E_FORMAT || status == LK_E_FULL));
        FUZZ_CHECK(strncmp(err.message, path, strlen(path)) == 0 && !strchr(err.message, '\n'));
    } else {
        check_loaded(file, n);
    }
    size_t n_data;
    const void *own = lk_session_data(session, &n_data);
    FUZZ_CHECK(n_data == sizeof HELD && memcmp(own, HELD, n_data) == 0);
    FUZZ_CHECK(lk_session_n_tokens(session) == N_HELD && lk_session_logits(session));
    FUZZ_CHECK(memcmp(lk_session_tokens(session), HELD, sizeof HELD) == 0);
    FUZZ_CHECK(memcmp(lk_session_logits(session), held_row, sizeof held_row) == 0);
    return 0;
}
