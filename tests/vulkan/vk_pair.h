/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pair: the scalar backend and a Vulkan device side by side: runs plans made by hand on both
 * and compares every value by bits. The device is the first one that the loader shows (the runner
 * chooses the driver), opened once per process and set of disabled features.
 */
#ifndef LK_TESTS_VK_PAIR_H
#define LK_TESTS_VK_PAIR_H

#include "backend/backend.h"
#include "tests/util/rng.h"
#include "vulkan/device/vk_volk.h"

const struct lk_device_id *vk_pair_id(void);            /* of that device */
struct lk_backend *vk_pair_device(const char *disable); /* opened on first use */
void vk_pair_close(void);
/* A driver that runs shaders on the CPU compiles each of them for long, and hardly anything else
 * takes time there, so that without LK_FULL=1 fewer cases run. lavapipe has every kernel and every
 * type, but not all pairs of them; SwiftShader has a sample, and with LK_FULL=1 a larger one: it
 * compiles unrolled kernels for minutes, into gigabytes. Samples turn (test_turn). tools/test_vk
 * names the driver in LK_TEST_DRIVER; without it all run. */
bool vk_pair_few(void);       /* on either of them: fewer cases */
bool vk_pair_turns(void);     /* without LK_FULL=1: still fewer, others with each test_turn() */
bool vk_pair_samples(void);   /* on SwiftShader: of what lavapipe has a sample */
bool vk_pair_validates(void); /* on lavapipe, under the validation layer */
/* The same of a test of the host, which gains nothing from a second driver: it says that it is left
 * out. */
bool vk_pair_leaves(const char *what);
/* Whether row `row` of a table is run: lavapipe has each third, SwiftShader each fourth, in turn;
 * with LK_FULL=1 both have all. */
bool vk_pair_row(size_t row);
/* Whether case b of row a of a table is left out: where few run all but a fourth are, in turn, of
 * each row and each column; with LK_FULL=1 SwiftShader has a third. */
bool vk_pair_skips(size_t a, size_t b);

/* n floats: normal-ish values with zeros, ties and values near 2^-50; magnitudes to 2^scale. */
void vk_rng_floats(struct rng *r, float *x, size_t n, int scale);
/* rows x cols of a type: random bytes with finite scales below 2^-7; malloc'd. */
void vk_rng_weight(struct rng *r, enum lk_type type, int64_t rows, int64_t cols,
                   struct lk_weight *out);

/* A plan of ops over `n_tokens` rows handed in; ops and slots belong to the caller. */
struct vk_case {
    struct lk_plan plan;
    int n_tokens, n_seqs, pos0; /* sequences share the tokens evenly */
    const float *hidden;
    const char *what;
};
/* Runs the case on both, twice on the device (recorded commands are replayed), as it is, fused, and
 * with all slots kept; compares the output, all slots and all bytes of states. */
void vk_pair_compare(struct lk_backend *device, const struct vk_case *c);
/* The status and message of the device alone. */
lk_status vk_pair_status(struct lk_backend *device, const struct vk_case *c, lk_error *err);
/* The same of the scalar backend. */
lk_status vk_pair_scalar_status(const struct vk_case *c, lk_error *err);
/* The device's, with the rows of the out slot: [n_tokens][width]. */
lk_status vk_pair_run(struct lk_backend *device, const struct vk_case *c, float *out,
                      lk_error *err);
/* Prepares the case on the device, fused. */
lk_status vk_pair_prepare(struct lk_backend *device, const struct vk_case *c, struct lk_exec **out,
                          lk_error *err);
/* What Vulkan guarantees of every device, with the storage buffers that the kernels need. */
void vk_pair_least(VkPhysicalDeviceLimits *limits);

#endif
