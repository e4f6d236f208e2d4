/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: the tiny model files of every architecture that the tests run on (tests/golden).
 */
#ifndef LK_TESTS_MODELS_H
#define LK_TESTS_MODELS_H

#include <stdbool.h>
#include <stddef.h>

bool test_is_full(void); /* LK_FULL=1: every proof, however long */
/* LK_SAMPLE, a number that tools/test takes from the commit: samples of cases turn with it, so that
 * days of commits have all of them. 0 with LK_FULL=1, where nothing is sampled by it. */
size_t test_turn(void);
/* Without LK_FULL=1: says that `what` is not run, in the form that tools/test shows. */
void test_samples(const char *what);
/* Whether architecture number `arch` is not tested with type number `type`: without LK_FULL=1 the
 * first five have every fourth type, so that each type has one or two of them, and those that
 * differ from these in the order of the same ops every sixteenth; which ones turns. */
bool test_skips_pair(size_t arch, size_t type);
/* Under AddressSanitizer and not LK_FULL=1: code that other tests run without it is sampled. */
bool test_is_sanitized_sample(void);
size_t test_n_models(void);
const char *test_model_path(size_t i); /* valid until exit */
/* The real models that tests know, SmolLM2 and gemma3: a path valid until exit, or NULL, after a
 * line that says so, where LK_MODELS has none. */
size_t test_n_real_files(void);
const char *test_real_file(size_t i);
/* The real models in LK_MODELS that take part when LK_FULL=1; else none, and none under
 * AddressSanitizer, where they take an hour: what it finds does not depend on a model's size. */
size_t test_n_real_models(void);
const char *test_real_model_path(size_t i);
size_t test_model_n_vocab(const char *path);

#endif
