/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_keys: which keys of an architecture may stand in a file unread. Every other one would change
 * what the model computes in silence, and is refused by name.
 */
#ifndef LK_ARCH_KEYS_H
#define LK_ARCH_KEYS_H

#include "gguf/gguf.h"
#include "plan/arch.h"

/* read[i] says whether value i of the file was asked for by name. LK_E_UNSUPPORTED names the first
 * key of the architecture that was neither read nor is known to say nothing here. */
lk_status lk_arch_check_keys(const struct lk_gguf *gguf, const struct lk_arch *arch,
                             const uint8_t *read, lk_error *err);

#endif
