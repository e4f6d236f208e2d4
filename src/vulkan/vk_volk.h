/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_volk: volk and the Vulkan structs that Debian 12's headers (1.3.239) lack.
 */
#ifndef LK_VK_VOLK_H
#define LK_VK_VOLK_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <volk.h>
#pragma GCC diagnostic pop

#endif
