/* SPDX-License-Identifier: Apache-2.0
 *
 * Grid: blocks whose elements are written as indices of a grid's points, or several to a byte, as
 * bytes: what the scalar contract and the CPU's kernels share of these types. Knows no
 * layout of theirs beyond a step.
 */
#ifndef LK_GRID_H
#define LK_GRID_H

#include "quant/quant.h"

/* The integer of element i, + 128, to to[i / 4 * step + i % 4]; the integer scale of each 16
 * elements. A type that is not one of these writes nothing. */
void lk_grid_unpack(enum lk_type type, const void *block, uint8_t *to, size_t step, int32_t sc[16]);

/* The points of a type's grid, 16 bits each, two to a word: *n words, or NULL and 0. */
const uint32_t *lk_grid_points(enum lk_type type, size_t *n);

#endif
