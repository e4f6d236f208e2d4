/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_volk: compiles volk's loader into this library; no link to libvulkan.
 */
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#define VOLK_IMPLEMENTATION
#include "vulkan/device/vk_volk.h"
