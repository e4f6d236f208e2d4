/* SPDX-License-Identifier: Apache-2.0
 *
 * Divergences of distributions known in closed form.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "tools/cli/cli_divergence.h"

static void near(double found, double expected)
{
    cr_assert(fabs(found - expected) < 1e-6, "found %.9g, expected %.9g", found, expected);
}

Test(divergence, is_that_of_the_row_from_the_truth)
{
    /* The truth 1/2 and 1/2, the row 1/4 and 3/4; all logits of a row may be moved alike. */
    const float truth[2] = {100.0f, 100.0f}, row[2] = {-7.0f, -7.0f + logf(3.0f)};
    struct cli_divergence d = {0}, back = {0};
    cli_divergence_add(&d, truth, row, 2);
    near(d.most, 0.5 * log(2.0) + 0.5 * log(2.0 / 3.0));
    cli_divergence_add(&back, row, truth, 2);
    near(back.most, 0.25 * log(0.5) + 0.75 * log(1.5));
    cr_assert(d.same_first == 0 && back.same_first == 0); /* of equal ones the first is the first */
    near(cli_log_sum_exp(truth, 2), 100.0 + log(2.0));
}

Test(divergence, gathers_positions)
{
    const float even[2] = {0.0f, 0.0f}, odd[2] = {logf(3.0f), 0.0f}, sure[2] = {200.0f, -20000.0f};
    double one = 0.75 * log(1.5) + 0.25 * log(0.5); /* of even from odd */
    struct cli_divergence d = {0};
    cli_divergence_add(&d, even, even, 2);
    cr_assert(d.most == 0.0 && d.same_first == 1);
    cli_divergence_add(&d, odd, even, 2);
    cli_divergence_add(&d, sure, even, 2); /* a probability of 0 adds nothing */
    cr_assert(d.n == 3 && d.same_first == 3);
    near(d.most, log(2.0));
    near(cli_divergence_mean(&d), (one + log(2.0)) / 3.0);
    double mean = cli_divergence_mean(&d);
    double squares = one * one + log(2.0) * log(2.0);
    near(cli_divergence_uncertainty(&d), sqrt((squares / 3.0 - mean * mean) / 2.0));
}
