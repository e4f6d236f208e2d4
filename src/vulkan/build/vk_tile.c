/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: the kernel of a matmul for many tokens and the size of its tiles. Changes no result.
 */
#include <stdio.h>

#include "vulkan/build/vk_builder.h"

enum { LARGE = 128, SMALL = 64 }; /* rows and tokens of a tile of tile_matrix.comp */

/* Large tiles where there are many of them: they need half the memory traffic, and a GPU runs few
 * at a time. */
static void choose(const struct lk_vk_device *dev, const char *shader, struct lk_vk_step *s,
                   uint32_t tokens)
{
    uint32_t groups = LARGE / LK_VK_ROWS;
    uint32_t n = (s->x + groups - 1) / groups * ((tokens + LARGE - 1) / LARGE);
    bool large = n >= dev->many_tiles &&
                 lk_vk_fits(&dev->found.props.limits, shader,
                            (const uint32_t[4]){LARGE, LARGE, LK_VK_EPI_STORE, 2 * LARGE});
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
        choose(dev, name, s, tokens);
        lk_vk_set_pipe(b, s, LK_VK_TILE, name, s->tile_cols, s->tile_cols, epilogue,
                       2 * s->tile_cols);
    } else {
        s->tile_groups = 2;
        s->tile_cols = 32;
        lk_vk_set_pipe(b, s, LK_VK_TILE, name, 0, 0, epilogue, 0);
    }
}
