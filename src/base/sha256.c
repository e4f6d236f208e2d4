/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 as FIPS 180-4 defines it (the lk_sha256 part of lockstep.h). Knows nothing else.
 */
#include "base/sha256.h"

#include <stdatomic.h>
#include <string.h>

#include "base/base.h"

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const uint32_t lk_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void compress(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        const uint8_t *p = block + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) +
                      lk_sha256_k[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void lk_sha256_blocks_plain(uint32_t state[8], const uint8_t *blocks, size_t n)
{
    for (; n > 0; n--, blocks += 64) {
        compress(state, blocks);
    }
}

/* The CPU is asked once: under a hypervisor that takes longer than some blocks. */
static lk_sha256_blocks fastest(void)
{
    static _Atomic(lk_sha256_blocks) known; /* one fact, whoever finds it out first */
    lk_sha256_blocks blocks = atomic_load_explicit(&known, memory_order_relaxed);
    if (!blocks) {
        blocks = lk_sha256_blocks_cpu();
        blocks = blocks ? blocks : lk_sha256_blocks_plain;
        atomic_store_explicit(&known, blocks, memory_order_relaxed);
    }
    return blocks;
}

void lk_sha256_init(lk_sha256 *h)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(h, 0, sizeof *h);
    memcpy(h->state, start, sizeof start);
}

void lk_sha256_bytes(lk_sha256 *h, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t held = h->n_bytes % 64;
    lk_sha256_blocks blocks = fastest();
    h->n_bytes += n;
    if (held) {
        size_t take = n < 64 - held ? n : 64 - held;
        if (take) {
            memcpy(h->block + held, p, take);
        }
        if (held + take < 64) {
            return;
        }
        blocks(h->state, h->block, 1);
        p += take;
        n -= take;
    }
    size_t whole = n / 64 * 64;
    if (whole) {
        blocks(h->state, p, n / 64);
    }
    if (n > whole) {
        memcpy(h->block, p + whole, n - whole);
    }
}

void lk_sha256_floats(lk_sha256 *h, const float *row, size_t n)
{
    uint8_t bytes[4 * 64];
    for (size_t at = 0; at < n;) {
        size_t m = n - at < 64 ? n - at : 64;
        for (size_t i = 0; i < m; i++) {
            uint32_t u;
            memcpy(&u, &row[at + i], sizeof u);
            for (int b = 0; b < 4; b++) {
                bytes[4 * i + (size_t)b] = (uint8_t)(u >> (8 * b));
            }
        }
        lk_sha256_bytes(h, bytes, 4 * m);
        at += m;
    }
}

void lk_sha256_final(lk_sha256 *h, uint8_t out[32])
{
    uint64_t bits = h->n_bytes * 8;
    uint8_t pad[72] = {0x80};
    size_t held = h->n_bytes % 64, n = (held < 56 ? 56 : 120) - held;
    for (int i = 0; i < 8; i++) {
        pad[n + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    lk_sha256_bytes(h, pad, n + 8);
    for (int i = 0; i < 32; i++) {
        out[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}
