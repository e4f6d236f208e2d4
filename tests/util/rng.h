/* SPDX-License-Identifier: Apache-2.0
 *
 * Rng: the generator of random numbers of all tests (SplitMix64): every seed gives another
 * sequence, and the same one everywhere. It needs libc alone, so that programs of another
 * architecture can have it too.
 */
#ifndef LK_TESTS_RNG_H
#define LK_TESTS_RNG_H

#include <stdint.h>
#include <string.h>

struct rng {
    uint64_t state; /* begins as the seed */
};

static inline uint64_t rng_u64(struct rng *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline uint32_t rng_u32(struct rng *r)
{
    return (uint32_t)(rng_u64(r) >> 32);
}

/* 0 .. n-1. */
static inline int rng_below(struct rng *r, int n)
{
    return (int)((uint64_t)rng_u32(r) * (uint64_t)n >> 32);
}

/* Uniform in [0, 1). */
static inline double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* +-m * 2^e, m in [1, 2), e in [low, high]. */
static inline float rng_float(struct rng *r, int low, int high)
{
    uint32_t u = rng_u32(r) & 0x807fffffu;
    float x;
    u |= (uint32_t)(127 + low + rng_below(r, high - low + 1)) << 23;
    memcpy(&x, &u, sizeof x);
    return x;
}

#endif
