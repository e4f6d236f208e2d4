/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256: the examples of FIPS 180-4, every split of a message, floats as little-endian bytes; the
 * CPU's instructions against plain C.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "lockstep.h"

static const char *hex(lk_sha256 *h)
{
    static char text[65];
    uint8_t out[32];
    lk_sha256_final(h, out);
    for (int i = 0; i < 32; i++) {
        snprintf(text + 2 * i, 3, "%02x", out[i]);
    }
    return text;
}

Test(sha256, known_answers)
{
    lk_sha256 h;
    lk_sha256_init(&h);
    cr_assert_str_eq(hex(&h), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, "abc", 3);
    cr_assert_str_eq(hex(&h), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    cr_assert_str_eq(hex(&h), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    lk_sha256_init(&h);
    for (int i = 0; i < 1000000; i++) {
        lk_sha256_bytes(&h, "a", 1);
    }
    cr_assert_str_eq(hex(&h), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

Test(sha256, pieces_do_not_matter)
{
    uint8_t data[300], whole[32], pieces[32];
    for (int i = 0; i < 300; i++) {
        data[i] = (uint8_t)(i * 37);
    }
    for (size_t n = 0; n <= sizeof data; n++) {
        lk_sha256 h;
        lk_sha256_init(&h);
        lk_sha256_bytes(&h, data, n);
        lk_sha256_final(&h, whole);
        for (size_t step = 1; step < 130; step += 21) {
            lk_sha256_init(&h);
            for (size_t at = 0; at < n; at += step) {
                lk_sha256_bytes(&h, data + at, n - at < step ? n - at : step);
            }
            lk_sha256_final(&h, pieces);
            cr_assert(memcmp(whole, pieces, 32) == 0, "%zu bytes by %zu", n, step);
        }
    }
}

Test(sha256, floats_are_little_endian_bytes)
{
    float row[100];
    uint8_t bytes[400], a[32], b[32];
    for (int i = 0; i < 100; i++) {
        row[i] = (float)i * -1.375f;
        uint32_t u;
        memcpy(&u, &row[i], sizeof u);
        for (int k = 0; k < 4; k++) {
            bytes[4 * i + k] = (uint8_t)(u >> (8 * k));
        }
    }
    lk_sha256 h;
    lk_sha256_init(&h);
    lk_sha256_floats(&h, row, 100);
    lk_sha256_final(&h, a);
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, bytes, sizeof bytes);
    lk_sha256_final(&h, b);
    cr_assert(memcmp(a, b, 32) == 0);
}

/* Any state and any blocks, from any address: equal words. */
Test(sha256, the_cpus_instructions_equal_plain_c)
{
    enum { MOST = 5 };
    lk_sha256_blocks cpu = lk_sha256_blocks_cpu();
    uint8_t bytes[MOST * 64 + 16];
    uint32_t x = 1;
    if (!cpu) {
        cr_skip_test("this CPU has no instructions for SHA-256");
    }
    for (int round = 0; round < 2000; round++) {
        uint32_t a[8], b[8];
        for (size_t i = 0; i < sizeof bytes; i++) {
            x = x * 1664525 + 1013904223;
            bytes[i] = round == 0 ? 0 : round == 1 ? 0xff : (uint8_t)(x >> 24);
        }
        for (int i = 0; i < 8; i++) {
            x = x * 1664525 + 1013904223;
            a[i] = b[i] = round < 2 ? -(uint32_t)round : x ^ x >> 13;
        }
        size_t n = (size_t)round % (MOST + 1), at = (size_t)round % 16;
        lk_sha256_blocks_plain(a, bytes + at, n);
        cpu(b, bytes + at, n);
        cr_assert(memcmp(a, b, sizeof a) == 0, "round %d, %zu blocks", round, n);
    }
}
