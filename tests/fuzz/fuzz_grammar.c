/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz grammar: any bytes as grammars in GBNF.
 */
#include "tests/fuzz/constraint_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return walk(lk_grammar_open_gbnf, data, n);
}
