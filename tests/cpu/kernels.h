/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels: what the parts of the kernel test share: memory that ends where
 * its pages end, and the account of what was tested. Needs libc and the modules under test alone,
 * so that a static program of another architecture runs under an emulator.
 */
#ifndef LK_TEST_KERNELS_H
#define LK_TEST_KERNELS_H

#include "cpu/detect.h"
#include "tests/util/rng.h"

/* ---- memory: the bytes after the last one, and the page before the first, can't be touched ----
 */
struct edge {
    uint8_t *data, *pages;
    size_t n_bytes, mapped;
};
/* n_bytes rounded up to a multiple of `align` (a power of two up to 4096). Filled with 0xA5. */
struct edge edge_new(size_t n_bytes, size_t align);
void edge_free(struct edge *e);

/* ---- the account ---- */
struct report {
    int tested, failing;
    uint64_t seed;
    char test[128];
    bool failed;
    unsigned part, parts, at; /* of the cases of matmuls those with at % parts == part run */
};
bool report_skips(struct report *r); /* whether the next case is none of these */
void report_begin(struct report *r, const char *level, const char *what, const char *detail);
/* Fails the test under way; the first failure of a test is printed. */
__attribute__((format(printf, 2, 3))) void report_fail(struct report *r, const char *format, ...);
void report_end(struct report *r);

/* Equal by bits; false, after report_fail, where not. */
bool same_floats(struct report *r, const char *what, const float *got, const float *want, size_t n);
bool same_bytes(struct report *r, const char *what, const void *got, const void *want, size_t n);

void test_matmul(struct report *r, enum lk_cpu_level level);
void test_vec(struct report *r, enum lk_cpu_level level);
void test_attention(struct report *r, enum lk_cpu_level level);

#endif
