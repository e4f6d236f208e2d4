/* SPDX-License-Identifier: Apache-2.0
 *
 * Sha256: the block function of SHA-256, in plain C and in the instructions that a CPU may have for
 * it. Equal results; sha256.c takes the CPU's where there are any.
 */
#ifndef LK_SHA256_H
#define LK_SHA256_H

#include <stddef.h>
#include <stdint.h>

extern const uint32_t lk_sha256_k[64]; /* the constants of FIPS 180-4, section 4.2.2 */

/* Takes n blocks of 64 bytes into the state a .. h. */
typedef void (*lk_sha256_blocks)(uint32_t state[8], const uint8_t *blocks, size_t n);
void lk_sha256_blocks_plain(uint32_t state[8], const uint8_t *blocks, size_t n);

/* The CPU's own, or NULL where it has none. Asks the CPU at each call: remember the answer. */
lk_sha256_blocks lk_sha256_blocks_cpu(void);

#endif
