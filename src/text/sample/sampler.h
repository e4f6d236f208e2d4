/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampler: the generator behind lk_sample. The rest of the interface is in lockstep.h.
 */
#ifndef LK_SAMPLER_H
#define LK_SAMPLER_H

#include <stdint.h>

#include "lockstep.h"

/* One block of Philox4x32-10: a bijection of the counter for each key, without state. From Salmon,
 * Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
void lk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* 64 random bits for position `pos` of a timeline: the first two words of the Philox block with
 * key (seed low, seed high) and counter (pos low, pos high, 0, 0). */
uint64_t lk_random(uint64_t seed, uint64_t pos);

/* Whether options, of this version's size, make sense. */
lk_status lk_sampler_check(const lk_sampler_options *options, size_t n_vocab, lk_error *err);

/* lk_sample with a mask of n_masked bits, by 32 a word: tokens without a bit, and those past the
 * mask, have a logit of -inf before anything else is done. -1 when the choice is one of those, as
 * when every other token has -inf too. */
int32_t lk_sample_masked(lk_sampler *s, const uint32_t *mask, size_t n_masked, const float *logits,
                         const int32_t *history, size_t n_history, uint64_t pos);

#endif
