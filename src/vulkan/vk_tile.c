/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: the kernel of a matmul for many tokens and the size of its tiles. Changes no result.
 */
#include <stdio.h>
#include <string.h>

#include "src/vulkan/vk_build.h"

enum { LARGE = 128, SMALL = 64 }; /* rows and tokens of a tile of tile_matrix.comp */

/* Shared memory of tile_matrix.comp, bytes: two tiles of rows of 80 bytes, and scales. */
static uint32_t shared_bytes(enum lk_type type, uint32_t rows, uint32_t cols)
{
    if (lk_type_info((uint32_t)type)->block == 32) {
        bool offset = type == LK_TYPE_Q4_1 || type == LK_TYPE_Q5_1;
        return 2 * 80 * (rows + cols) + (offset ? 32 : 16) * (rows + cols);
    }
    uint32_t limbs = type == LK_TYPE_Q6_K ? 2 : 1;
    uint32_t step_scale = type == LK_TYPE_Q4_K || type == LK_TYPE_Q5_K ? 16 * rows : 0;
    return 2 * 80 * (limbs * rows + cols) + 4 * (2 * rows + cols) + step_scale;
}

bool lk_vk_fits_wide_tiles(const VkPhysicalDeviceLimits *l)
{
    return l->maxComputeSharedMemorySize >= shared_bytes(LK_TYPE_Q6_K, SMALL, SMALL) &&
           l->maxComputeWorkGroupInvocations >= 2 * SMALL &&
           l->maxComputeWorkGroupSize[0] >= 2 * SMALL;
}

/* Large tiles where there are many of them: they need half the memory traffic, and a GPU runs few
 * at a time. */
static void choose(const struct lk_vk_device *dev, enum lk_type type, struct lk_vk_step *s,
                   uint32_t tokens)
{
    uint32_t groups = LARGE / LK_VK_ROWS;
    uint32_t n = (s->x + groups - 1) / groups * ((tokens + LARGE - 1) / LARGE);
    const VkPhysicalDeviceLimits *l = &dev->found.props.limits;
    bool large = n >= dev->many_tiles &&
                 shared_bytes(type, LARGE, LARGE) <= l->maxComputeSharedMemorySize &&
                 l->maxComputeWorkGroupInvocations >= 2 * LARGE &&
                 l->maxComputeWorkGroupSize[0] >= 2 * LARGE;
    s->tile_cols = large ? LARGE : SMALL;
    s->tile_groups = s->tile_cols / LK_VK_ROWS;
}

void lk_vk_set_tile(struct lk_vk_builder *b, struct lk_vk_step *s, enum lk_type type,
                    uint32_t tokens, uint32_t epilogue)
{
    const struct lk_vk_device *dev = b->e->dev;
    bool quantized = lk_type_info((uint32_t)type)->quantized;
    bool matrix = quantized && dev->found.use[LK_VK_MATRIX];
    bool wide = matrix || (quantized && !dev->found.use[LK_VK_NARROW]);
    bool dot = quantized && dev->found.use[LK_VK_INT_DOT];
    char name[48];
    snprintf(name, sizeof name, "tile_%s%s", lk_type_name((uint32_t)type),
             matrix ? "_matrix"
             : wide ? "_wide"
             : dot  ? "_dot"
                    : "");
    if (wide) {
        choose(dev, type, s, tokens);
        lk_vk_set_pipe(b, s, LK_VK_TILE, name, s->tile_cols, s->tile_cols, epilogue,
                       2 * s->tile_cols);
    } else {
        s->tile_groups = 2;
        s->tile_cols = 32;
        lk_vk_set_pipe(b, s, LK_VK_TILE, name, 0, 0, epilogue, 0);
    }
}
