/* SPDX-License-Identifier: Apache-2.0
 *
 * Check bounds: how far the contract may lie from ideal mathematics in a check, and what an
 * approximate device may do. Backends are otherwise compared by bits. The one home of these
 * figures; the tests' own are tests/util/tolerances.h.
 */
#ifndef LK_CHECK_BOUNDS_H
#define LK_CHECK_BOUNDS_H

/* One op on the same input, root mean square of the error of a row over that of the row, against
 * the reference that rounds q, K, V, weights and the inputs of matrices where the contract does.
 * u = 2^-24 = 6e-8 is one rounding.
 *
 * Sums, products, rotations, norms and activations: at most 8 roundings for each element. */
#define LK_BOUND_ELEMENT 1e-6
/* Float sums in f32 over a row of K products: K/256 panels of 256, errors that mostly cancel; and
 * rows whose terms cancel to a tenth of their size. */
#define LK_BOUND_FLOAT_MATMUL 1e-5
/* Attention: where scores are large every weight of a chunk's 64 may go to the other side of a tie
 * of its 14 bits. A weight is off by half a step of 2^-13 of the chunk's largest on either side,
 * 5e-5 (root mean square) of it; where one key has most of the weight, 63 others are off by as much
 * and add sqrt(64) times that to a row of its size. */
#define LK_BOUND_ATTENTION 4e-4
/* Matrices of quantized weights: sums in f32 as above, and one element of the input so near a tie
 * of its 8 bits that it goes to the other side, 1/127 of the largest of its block, which may be
 * most of the row. */
#define LK_BOUND_QUANT_MATMUL 1e-2

/* A whole model to a depth of d layers against ideal mathematics, hidden rows, root mean square
 * over that of the rows. What the contract's roundings make of this model is measured: `rounded` is
 * the same distance of a second reference in double, which rounds the inputs of matrices, q, K, V
 * and weights where the contract does and nothing else. The contract's own roundings fall
 * elsewhere, and a sum in f32 adds a little in each layer (seen on real models: 0.9 to 1.2 of
 * `rounded`). */
#define LK_BOUND_DEPTH(rounded, d) (2 * (rounded) + 1e-5 * sqrt((double)(d)))

/* An approximate device (a failed item of the exactness probe) against the contract, root mean
 * square over that of the row. The first op of a unit that differs had equal input, so it is held
 * to float arithmetic of its own: sums and functions; attention, where one weight that goes to the
 * other side of a tie of its 14 bits moves an output by 2^-13 of that key's share; what an 8-bit
 * block or the integers of a cache make of one unit in the last place. Those after it have that on
 * their input.
 */
#define LK_BOUND_APPROXIMATE_FIRST     1e-5
#define LK_BOUND_APPROXIMATE_ATTENTION 1e-4
#define LK_BOUND_APPROXIMATE_ROUNDED   1e-3
#define LK_BOUND_APPROXIMATE           1e-2
/* Over d layers from the tokens on its roundings to 8 bits fall elsewhere in every layer, 1 to 2 %
 * of what it adds: twice the bound of the contract there, and at least this. */
#define LK_BOUND_APPROXIMATE_DEPTH(d) (0.03 * sqrt((double)(d)))

#endif
