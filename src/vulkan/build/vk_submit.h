/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_submit: a batch on the queue: which steps go into one submission, the commands recorded per
 * batch shape, and the wait. Knows no op.
 */
#ifndef LK_VK_SUBMIT_H
#define LK_VK_SUBMIT_H

#include "vulkan/build/vk_exec.h"

/* Allocates the command buffers of e's shapes, as many as its largest batch is split into. */
VkResult lk_vk_shapes_create(struct lk_exec *e);
/* Runs a list for a batch whose buffers are written, recorded once a shape, with or without its
 * steps of `apart`; returns when the device is done. */
lk_status lk_vk_submit(struct lk_exec *e, int list, const struct lk_row_counts *rows, bool apart,
                       lk_error *err);

#endif
