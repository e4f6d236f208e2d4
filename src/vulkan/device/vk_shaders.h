/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_shaders: the table of embedded SPIR-V modules, made by shaders/CMakeLists.txt.
 */
#ifndef LK_VK_SHADERS_H
#define LK_VK_SHADERS_H

#include <stddef.h>
#include <stdint.h>

struct lk_vk_shader {
    const char *name; /* "matvec_Q4_K_dot" */
    const uint32_t *words;
    size_t n_bytes;
};
extern const struct lk_vk_shader LK_VK_SHADERS[];
extern const size_t LK_VK_N_SHADERS;

#endif
