/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk: the backend "vulkan" itself: what backend_vk.c (the table, prepare, run), vk_probe.c (is the
 * device exact) and vk_measure.c share.
 */
#ifndef LK_VK_H
#define LK_VK_H

#include "vulkan/build/vk_exec.h"

struct lk_backend {
    struct lk_vk_device dev;
    struct lk_backend_options options; /* strings are not kept */
    uint32_t found_features;           /* in use before the probe; its verdict is kept under them */
};

/* ---- the backend (backend_vk.c) ---- */

/* Opens and probes a device; see lk_vk_probe. */
lk_status lk_vk_open(const struct lk_backend_options *options, struct lk_backend **out, bool *exact,
                     char *note, size_t n_note, lk_error *err);
void lk_vk_close(struct lk_backend *backend);
/* Prepares a plan. A trial fuses and yet keeps the memory of every slot that is written. Batches
 * are only those of `lists`, a bit 1 << kind for each. */
lk_status lk_vk_prepare(struct lk_backend *backend, const struct lk_exec_options *options,
                        bool trial, unsigned lists, struct lk_exec **out, lk_error *err);

/* ---- probe (vk_probe.c) ---- */

/* Runs the known-answer sets on the open device, small ones and whole kernels, these of the given
 * types (lk_type_bit; 0: all): switches off
 * features that fail theirs (named in `note`), *exact says whether what is left agrees with the
 * CPU. Verdicts are kept in cache_dir, with the types that were tried; for a further one all are
 * tried again. */
lk_status lk_vk_probe(struct lk_backend *backend, uint64_t types, bool *exact, char *note,
                      size_t n_note, lk_error *err);

/* The hook speed of struct lk_backend_impl; kept with the verdict. */
lk_status lk_vk_speed(struct lk_backend *backend, double *bytes_per_second, lk_error *err);

/* The hooks list and look of struct lk_backend_impl. */
lk_status lk_vk_list(const struct lk_backend_options *options, lk_device_fn each, void *user,
                     lk_error *err);
void lk_vk_look(const struct lk_backend_options *options, lk_device_info *info);

/* ---- measuring (vk_measure.c) ---- */

/* The hooks of struct lk_backend_impl. */
lk_status lk_vk_read_rate(struct lk_vk_device *dev, uint64_t n_bytes, int passes,
                          double *bytes_per_second, lk_error *err);
lk_status lk_vk_kernels(const struct lk_backend_options *options, bool all_levels, const char *type,
                        int n_tokens, lk_kernel_fn each, void *user, lk_error *err);
lk_status lk_vk_profile(struct lk_exec *exec, bool on, lk_error *err);
void lk_vk_op_seconds(const struct lk_exec *exec, int op, struct lk_op_seconds *out);
/* Adds the times of a run that took `wall` seconds on the host. */
lk_status lk_vk_profile_add(struct lk_exec *exec, const struct lk_vk_list *list,
                            const struct lk_batch *batch, double wall, lk_error *err);

#endif
