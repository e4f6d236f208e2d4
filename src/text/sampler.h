/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampler: the generator behind lk_sample. The rest of the interface is in lockstep.h.
 */
#ifndef LK_SAMPLER_H
#define LK_SAMPLER_H

#include <stdint.h>

/* One block of Philox4x32-10: a bijection of the counter for each key, without state. From Salmon,
 * Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
void lk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* 64 random bits for position `pos` of a timeline: the first two words of the Philox block with
 * key (seed low, seed high) and counter (pos low, pos high, 0, 0). */
uint64_t lk_random(uint64_t seed, uint64_t pos);

#endif
