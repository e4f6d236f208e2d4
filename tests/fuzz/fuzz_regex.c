/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz regex: any bytes as regular expressions.
 */
#include "tests/fuzz/constraint_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return walk(lk_grammar_open_regex, data, n);
}
