/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz: the entry point that libFuzzer and the replay driver (replay.c) call.
 */
#ifndef LK_TEST_FUZZ_H
#define LK_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What must hold for any input; ends the program where it doesn't. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

#endif
