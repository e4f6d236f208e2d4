/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: the tiny model files of every architecture that the tests run on (tests/golden).
 */
#ifndef LK_TESTS_MODELS_H
#define LK_TESTS_MODELS_H

#include <stddef.h>

size_t test_n_models(void);
const char *test_model_path(size_t i); /* valid until exit */
size_t test_model_n_vocab(const char *path);

#endif
