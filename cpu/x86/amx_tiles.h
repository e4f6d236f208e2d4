/* SPDX-License-Identifier: Apache-2.0
 *
 * Amx_tiles: the shapes of tile registers that the kernels for AMX take: 0 to 3 are sums of 16 x
 * 16, 4 and 5 first factors, 6 and 7 second ones.
 */
#ifndef LK_AMX_TILES_H
#define LK_AMX_TILES_H

#include <immintrin.h>
#include <stdint.h>

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_a_row[16];
    uint8_t rows[16];
};

/* The intrinsics do not say what they read and write. */
static inline __attribute__((always_inline)) void tiles_settle(void)
{
    __asm__ volatile("" ::: "memory");
}

/* First factors have rows of `bytes`, along which a product sums: a multiple of 4 up to 64. */
static inline void tiles_configure(int bytes)
{
    struct tile_config c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.bytes_a_row[i] = (uint16_t)(i == 4 || i == 5 ? bytes : 64);
        c.rows[i] = (uint8_t)(i >= 6 ? bytes / 4 : 16);
    }
    tiles_settle();
    _tile_loadconfig(&c);
}

#endif
