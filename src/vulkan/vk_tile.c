/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: the kernel of a matmul for many tokens and the size of its tiles. Changes no result.
 */
#include <stdio.h>
#include <stdlib.h>

#include "src/vulkan/vk_build.h"

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
    return l->maxComputeSharedMemorySize >= shared_bytes(LK_TYPE_Q6_K, 64, 64) &&
           l->maxComputeWorkGroupInvocations >= 256 && l->maxComputeWorkGroupSize[0] >= 256;
}

/* The largest tile that leaves work for all of a GPU. */
static void choose(const struct lk_vk_device *dev, enum lk_type type, struct lk_vk_step *s,
                   uint32_t tokens)
{
    enum { ENOUGH = 128 }; /* workgroups */
    static const uint8_t SHAPES[][2] = {{128, 128}, {64, 128}, {64, 64}}; /* rows, tokens */
    const char *env = getenv("LK_TILE");
    for (size_t i = env ? (size_t)atoi(env) : 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        uint32_t groups = SHAPES[i][0] / LK_VK_ROWS, cols = SHAPES[i][1];
        bool fits = shared_bytes(type, SHAPES[i][0], cols) <=
                    dev->found.props.limits.maxComputeSharedMemorySize;
        uint32_t n = (s->x + groups - 1) / groups * ((tokens + cols - 1) / cols);
        s->tile_groups = groups;
        s->tile_cols = cols;
        if (fits && (n >= ENOUGH || env)) {
            break;
        }
    }
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
        lk_vk_set_pipe(b, s, LK_VK_TILE, name, s->tile_groups * LK_VK_ROWS, s->tile_cols, epilogue,
                       0);
    } else {
        s->tile_groups = 2;
        s->tile_cols = 32;
        lk_vk_set_pipe(b, s, LK_VK_TILE, name, 0, 0, epilogue, 0);
    }
}
