/* SPDX-License-Identifier: Apache-2.0
 *
 * Real: the logits of real models at 64 tokens, as hashes in tests/golden/real.txt. They change
 * only with LK_NUMERICS_VERSION. LK_MODELS names the directory of the model files; without it, or
 * without a file in it, the test says what it did not run. LK_FULL=1: in several micro-batches.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/device_list.h"
#include "tests/util/tiny.h"

enum { TOKENS = 64 };

/* The ids that the hashes of golden/real.txt are of; both vocabularies have them, and a model's
 * tokenizer has no part in this. */
static void golden_ids(int32_t ids[TOKENS])
{
    uint32_t s = 2654435762u;
    for (int i = 0; i < TOKENS; i++) {
        s = s * 1664525u + 1013904223u;
        ids[i] = (int32_t)((s >> 8) % 40000);
    }
}

static void hash_of(const char *path, const char *backend, uint32_t n_batch, char hex[65])
{
    lk_model *m;
    int32_t ids[TOKENS];
    uint8_t sum[32];
    lk_sha256 h;
    lk_engine *e = tiny_engine(path, backend, TOKENS, n_batch, 1, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    golden_ids(ids);
    float *rows = tiny_rows(e, ids, TOKENS);
    lk_sha256_init(&h);
    lk_sha256_floats(&h, rows, TOKENS * n_vocab);
    lk_sha256_final(&h, sum);
    for (int i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    }
    free(rows);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(real, logits_have_their_golden_hash)
{
    static const char *const backends[] = {"scalar", "cpu", "vulkan"};
    const char *directory = getenv("LK_MODELS"), *full = getenv("LK_FULL");
    char line[256], file[64], want[65], got[65], path[512];
    int version = 0, n = 0;
    FILE *f = fopen(LK_TEST_DIR "/golden/real.txt", "r");
    cr_assert(f);
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#' || sscanf(line, "numerics %d", &version) == 1) {
            continue;
        }
        cr_assert_eq(sscanf(line, "%63s %64s", file, want), 2, "%s", line);
        cr_assert_eq(version, LK_NUMERICS_VERSION, "hashes of another version of the numerics");
        n++;
        snprintf(path, sizeof path, "%s/%s", directory ? directory : "", file);
        if (!directory || access(path, R_OK) != 0) {
            printf("not run: %s: no such file in LK_MODELS\n", file);
            continue;
        }
        for (size_t b = 0; b < LK_COUNT(backends); b++) {
            struct lk_backend_options o = {.cpu_level = "auto"};
            struct lk_device device;
            lk_error err;
            const struct lk_backend_impl *impl = lk_backend_find(backends[b]);
            if (!impl || (impl->look && lk_device_one(impl, &o, NULL, &device, &err))) {
                continue; /* scalar is always there */
            }
            for (uint32_t batch = full && full[0] == '1' ? 1 : 64; batch <= 64; batch += 21) {
                hash_of(path, backends[b], batch, got);
                cr_expect_str_eq(got, want, "%s on %s, micro-batch %u: %s, expected %s", file,
                                 backends[b], batch, got, want);
            }
        }
    }
    fclose(f);
    cr_assert_gt(n, 0);
}
