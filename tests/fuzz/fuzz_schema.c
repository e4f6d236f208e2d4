/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz schema: any bytes as JSON Schemas.
 */
#include "tests/fuzz/constraint_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return walk(lk_grammar_open_schema, data, n);
}
