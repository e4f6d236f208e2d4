/* SPDX-License-Identifier: Apache-2.0
 *
 * Every tolerance of the test suite. Backends are compared by bits and appear here nowhere; these
 * are bounds of the contract against ideal mathematics, and of the reference against others'.
 */
#ifndef LK_TESTS_TOLERANCES_H
#define LK_TESTS_TOLERANCES_H

/* The reference against `transformers` in float64 on tiny models, as a share of the row's spread
 * (standard deviation): the goldens are stored as f32, our rope frequencies and theirs differ in
 * f32 rounding (transformers keeps inv_freq in float32: 6e-8 relative, times positions up to 40,
 * through up to 7 layers). */
#define TOL_REF_GOLDEN 1e-4

/* Our sin, cos (absolute), log (absolute and relative), exp (relative) against long double: their
 * own polynomials and reductions stay within 1.5 units of 2^-53, log within 2.5. */
#define TOL_SINCOS  2e-16
#define TOL_LOG_EXP 3e-16

#endif
