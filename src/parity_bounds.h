/* SPDX-License-Identifier: Apache-2.0
 *
 * Parity bounds: how far the contract may lie from ideal mathematics in a check, and what an
 * approximate device may do. Backends are otherwise compared by bits. The one home of these
 * figures; the tests' own are tests/util/tolerances.h.
 */
#ifndef LK_PARITY_BOUNDS_H
#define LK_PARITY_BOUNDS_H

/* One op on the same input, root mean square of the error of a row over that of the row, against
 * the reference that rounds q, K, V, p and inputs of F16 and BF16 matrices where the contract does.
 * u = 2^-24 = 6e-8 is one rounding.
 *
 * Sums, products, rotations, norms and activations: at most 8 roundings an element. */
#define LK_BOUND_ELEMENT 1e-6
/* Float sums in f32 over a row of K products: K/256 panels of 256, errors that mostly cancel; and
 * rows whose terms cancel to a tenth of their size. */
#define LK_BOUND_FLOAT_MATMUL 1e-5
/* Attention: f32 sums, and a p so near a tie of its 13 bits that it goes to the other side moves an
 * output by 2^-12 of that key's share. */
#define LK_BOUND_ATTENTION 1e-4
/* Matrices of quantized weights: against what the rounding of the input's blocks to 8 bits predicts
 * when it is spread evenly over half a step and the matrix's elements have one size. Columns that
 * are larger where the input is coarser raise it (seen on real models: 0.8 to 1.1). */
#define LK_BOUND_QUANT_MATMUL 2.0

/* A whole model to a depth of d layers against ideal mathematics, hidden rows, root mean square
 * over that of the rows: each layer rounds the inputs of its matrices to 8 bits a block, 1 to 2 %
 * of what it adds, independent of the other layers. A layer that computes something else is off by
 * its whole share, and what it adds weighs most at the first depths (seen on real models: 0.002 to
 * 0.01). */
#define LK_BOUND_DEPTH(d) (0.03 * sqrt((double)(d)))

/* An approximate device (a failed item of the exactness probe) against the contract, root mean
 * square over that of the row. The first op of a unit that differs had equal input, so it is held
 * to float arithmetic of its own: sums and functions; attention as above; what an 8-bit block or
 * the f16 of a cache makes of one unit in the last place. Those after it have that on their input.
 */
#define LK_BOUND_APPROXIMATE_FIRST   1e-5
#define LK_BOUND_APPROXIMATE_ROUNDED 1e-3
#define LK_BOUND_APPROXIMATE         1e-2

#endif
