/* SPDX-License-Identifier: Apache-2.0
 *
 * Real: functions of doubles for the host, with + - * / alone: nothing from libm, whose last bits
 * differ between machines.
 */
#ifndef LK_REAL_H
#define LK_REAL_H

/* |x| <= 2^24. */
void lk_sincos(double x, double *s, double *c);
/* The same bits of n numbers, with the CPU's lanes; x, s and c don't overlap. */
void lk_sincos_many(const double *x, int n, double *restrict s, double *restrict c);
/* x > 0. */
double lk_sqrt_f64(double x);
double lk_log_f64(double x);
/* |x| <= 700. */
double lk_exp_f64(double x);

#endif
