/* SPDX-License-Identifier: Apache-2.0
 *
 * Every tolerance of the test suite. Backends are compared by bits and appear here nowhere; these
 * are bounds of the contract against ideal mathematics, and of the reference against others'.
 * u = 2^-24 is the relative error of one rounding to f32.
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

/* ---- primitives, in u, over their whole domain (tests/base/test_numerics.c) ----
 *
 * rcp, rsqrt: Newton's last step is written as a correction, which leaves its own rounding (1 u at
 * most, as the result may lie low in its binade: 2 u of a half) and that of the residue. */
#define TOL_RCP   1.5
#define TOL_RSQRT 1.81
/* exp: below one unit in the last place, which is 2 u where the
 * result lies low in its binade. */
#define TOL_EXP 2.0
/* 2^f of a fraction: a polynomial of degree 4 is 2.82e-6 = 47.3 u away at best, its roundings add
 * 2 u; weights of 14 bits need no more. */
#define TOL_EXP2_PART 50.0
/* sigmoid: exp (2 u), the sum 1 + e (1 u), rcp (1.5 u), the product (1 u). */
#define TOL_SIGMOID 5.5
/* silu: one product more. */
#define TOL_SILU 6.5
/* gelu: as silu, and the exponent 2u(x) carries 4 roundings, at worst 4 u relative, which exp
 * turns into 4 u * |exponent|: the bound is this times (1 + |exponent|) for negative x. */
#define TOL_GELU 6.5
/* gelu by erf: t is off by 2.5 u (a sum, rcp), which the polynomial makes 2.7 times as much where x
 * is near 0; its terms' roundings, 0.8 u of its fit, exp, two products: 9.3 u were found. x * x / 2
 * carries a rounding more, which exp turns into u * x * x / 2. */
#define TOL_GELU_ERF 11.0
/* tanh: 2.3 units in the last place. */
#define TOL_TANH 4.6
/* exp 1.4, rcp 1.5, a sum, three products and sums of the polynomial's end; rounded up. */
#define TOL_SOFTPLUS 8.0

/* ---- scalar against ref, op by op (tests/ref/test_ref_scalar.c; bounds of single elements are
 * worked out there) ----
 *
 * A matmul's error over its rows, root mean square, against what roundings spread evenly over half
 * a step predict. */
#define TOL_MATMUL_RMS 1.15
/* Attention against the reference that rounds q, K, V and weights in the same places, as a share of
 * the output's root mean square: a weight of 14 bits near a tie goes to the other side, 2^-13 of
 * that key's share. exp2part's 3e-6 makes that one in forty; a score of some thousand is off by its
 * unit in the last place and makes it all of them: two roundings of half a step, 3.5e-5. Where one
 * key has all the weight, an element moves by a step of its row's largest value, some 30 times the
 * root mean square. */
#define TOL_ATTENTION_RMS   6e-5
#define TOL_ATTENTION_WORST 4e-3
/* ... times this where scores reach 2^19: their unit in the last place is 2^-5 there, and where two
 * keys are that close their shares are off by as much. */
#define TOL_ATTENTION_HUGE 50

/* ---- scalar against ref, whole models with F32 weights (tests/ref/test_ref_models.c), as a
 * share of the row's standard deviation, largest difference ----
 *
 * Against ideal mathematics at L layers: q and K have 12 bits with their sign, so half a step is
 * 1/3600 of a head's largest value, and V has 8: 1/254. A head's largest is some 2.5 deviations: a
 * value is off by 0.6% of its deviation (a step over the root of 12), which its key's share and the
 * residual make 2e-3, and the largest of some 25,000 logits lies 5 to 7 times above (seen: 1.1e-2
 * to 2.3e-2 at one layer, 2.6e-2 to 4.8e-2 at eight; where a window leaves one key, 2e-2). Layers
 * add as the root of their number. A wrong RoPE convention gives 1e-1, and 2e-1 at 4 layers. */
#define TOL_SCALAR_IDEAL(layers) (3e-2 * sqrt((double)(layers)))
/* Against the reference that rounds q, K, V and weights in the same places, a layer: f32 arithmetic
 * and exp2part (3e-6), but a value that close to a tie is rounded to the other side, one in some
 * thousand, and moves a logit by what the last of its 8 bits weighs (seen: 1e-4 to 2.2e-3 at one
 * layer). */
#define TOL_SCALAR_ROUNDED 3e-3
/* The same for one token on the same cache, where only its own values can lie near a tie, and
 * weights of 14 bits do: the median over tokens, at one layer; at L layers ties of earlier layers
 * reach later ones: 2 L times this. */
#define TOL_ONE_TOKEN 2e-5
/* Both times this where a norm stands behind attention: the mean of many values is small, and the
 * norm makes it, with its error, as large as the hidden rows that it is added to (seen: 1.5 times
 * the others). */
#define TOL_POST_NORM 2.0
/* The latter two times this where heads share latent rows: a token has 1700 integers, where others
 * have 500, and one that is rounded to the other side reaches all heads (seen: 4.8e-3 at one layer,
 * 1.1e-2 at two; of one token 2.8e-5 and 1e-4). */
#define TOL_LATENT 2.0

/* An element of a cell against its row, in steps of its integers: half of one, and at most 6 u of
 * the largest integer, 1807, from rcp and the products that make integer and scale. */
#define TOL_CELL 0.501

/* A rotated value against cos and sin in double, as a share of the pair's magnitudes
 * (tests/regress): two products, a sum, and cos and sin rounded once: 5 u at most. The wrong
 * convention or the next position is off by the order of 1. */
#define TOL_ROTATION 4e-7

/* ---- perplexity against llama.cpp (tests/engine/test_perplexity.c), relative ----
 *
 * The reference dequantizes exactly, llama.cpp computes the same weights in f32 and K and V in f16
 * (seen: 4e-5). Scalar quantizes activations to 8 bits in blocks as llama.cpp does, but K-quants'
 * blocks are rounded by other rules and sums have another order. */
#define TOL_PERPLEXITY_REF    1e-3
#define TOL_PERPLEXITY_SCALAR 6e-3

/* ---- resident memory against file + cache (+ work area), a ratio (tests/engine/test_memory.c)
 * ----
 *
 * Packed K-quants are up to 3% larger than the file's; the program, the tokenizer's pages and huge
 * pages that are partly used come on top. A second copy of an embedding gives 1.4 to 1.7. */
#define TOL_RESIDENT 1.15

#endif
