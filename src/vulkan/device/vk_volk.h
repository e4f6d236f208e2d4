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

/* VK_KHR_cooperative_matrix, as in the specification. */
#define LK_VK_COOPMAT_EXTENSION "VK_KHR_cooperative_matrix"
#define LK_VK_COOPMAT_FEATURES  ((VkStructureType)1000506000)
#define LK_VK_COOPMAT_SHAPE     ((VkStructureType)1000506001)
enum { LK_VK_COMPONENT_SINT8 = 3, LK_VK_COMPONENT_SINT32 = 5, LK_VK_SCOPE_SUBGROUP = 3 };
struct lk_vk_coopmat_features {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
};
struct lk_vk_coopmat_shape {
    VkStructureType sType;
    void *pNext;
    uint32_t m, n, k;
    uint32_t a, b, c, result; /* component types */
    VkBool32 saturating;
    uint32_t scope;
};
typedef VkResult(VKAPI_PTR *lk_vk_coopmat_shapes_fn)(VkPhysicalDevice, uint32_t *,
                                                     struct lk_vk_coopmat_shape *);

#endif
