/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_name: the kernel that writes an op's values, in words. Knows steps, never runs one.
 */
#ifndef LK_VK_NAME_H
#define LK_VK_NAME_H

#include "backend/backend.h"

/* The hook `variant` of struct lk_backend_impl. */
void lk_vk_variant(const struct lk_exec *exec, int op, int n_tokens, char *out, size_t n);

#endif
