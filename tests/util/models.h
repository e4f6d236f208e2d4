/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: the tiny model files of every architecture that the tests run on (tests/golden).
 */
#ifndef LK_TESTS_MODELS_H
#define LK_TESTS_MODELS_H

#include <stddef.h>

size_t test_n_models(void);
const char *test_model_path(size_t i); /* valid until exit */
/* The real models in LK_MODELS that take part when LK_FULL=1; else none. */
size_t test_n_real_models(void);
const char *test_real_model_path(size_t i);
size_t test_model_n_vocab(const char *path);

#endif
