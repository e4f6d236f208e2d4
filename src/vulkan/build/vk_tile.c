/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: see vk_tile.h.
 */
#include "vulkan/build/vk_tile.h"

#include <stdio.h>

#include "shaders/params.h"

enum { MANY_GROUPS = 256 }; /* workgroups that fill any GPU */
enum { MOST_WORKERS = 28 }; /* of a mat-vec of few workgroups */

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- mat-vecs ---- */

uint32_t lk_vk_variant_cols(const struct lk_vk_facts *f, int variant)
{
    static const uint32_t COLS[] = {1, 4, 8};
    return COLS[variant] < f->max_threads / 32 ? COLS[variant] : 4;
}

int lk_vk_variant_for(const struct lk_vk_facts *f, uint32_t rows)
{
    return rows == 1                                  ? LK_VK_MV1
           : rows <= lk_vk_variant_cols(f, LK_VK_MV4) ? LK_VK_MV4
           : rows <= LK_VK_FEW_TOKENS                 ? LK_VK_MV8
                                                      : LK_VK_TILE;
}

static bool is_glu(uint32_t mode)
{
    return (mode & 15u) >= LK_VK_EPI_SILU;
}

static uint32_t matvec_parts(uint32_t panels, uint32_t mode)
{
    return is_glu(mode) ? 2 * panels : panels;
}

/* `all`: whether all panels of a row meet at one barrier. */
static struct lk_vk_kernel matvec_of(const struct lk_vk_facts *f, enum lk_type type, int variant,
                                     uint32_t n_groups, uint32_t panels, uint32_t mode, bool all)
{
    struct lk_vk_kernel kernel;
    uint32_t cols = lk_vk_variant_cols(f, variant);
    /* A workgroup of a GLU makes its input ready once for several groups of rows, where there are
     * enough of them. */
    bool shared = all && is_glu(mode) && !(mode & LK_VK_EPI_EXPERTS) &&
                  n_groups >= MANY_GROUPS + MANY_GROUPS / 2;
    uint32_t turns = shared ? (n_groups + MANY_GROUPS - 1) / MANY_GROUPS : 1;
    kernel.x = (n_groups + turns - 1) / turns;
    /* Large workgroups where there are few of them; else several share a core. */
    uint32_t workers = variant == LK_VK_MV1 && n_groups >= MANY_GROUPS && !shared ? 8 : 16;
    if (variant == LK_VK_MV1 && n_groups < MANY_GROUPS && panels > 16) {
        uint32_t rounds = (panels + MOST_WORKERS - 1) / MOST_WORKERS;
        workers = (panels + rounds - 1) / rounds; /* each of them takes as many panels */
    }
    workers = least_of(workers, all ? matvec_parts(panels, mode) : panels);
    workers = least_of(workers, 64 / cols);
    workers = least_of(workers, f->max_threads / 32);
    workers = workers < cols ? cols : workers;
    bool dot = f->int_dot && lk_type_info((uint32_t)type)->quantized;
    bool unrolled = cols != 4 && !f->looped; /* of 4 tokens it is no faster */
    snprintf(kernel.shader, sizeof kernel.shader, "matvec_%s%s%s", lk_type_name((uint32_t)type),
             dot ? "_dot" : "", unrolled ? "_gpu" : "");
    kernel.spec[0] = workers * 32;
    kernel.spec[1] = cols;
    kernel.spec[2] = mode;
    kernel.spec[3] = all ? panels : 0;
    return kernel;
}

struct lk_vk_kernel lk_vk_matvec(const struct lk_vk_facts *f, enum lk_type type, int variant,
                                 uint32_t n_groups, uint32_t k, uint32_t epilogue, uint32_t prep)
{
    uint32_t panels = (k + LK_VK_PANEL - 1) / LK_VK_PANEL, mode = epilogue | prep << 4;
    /* In decode only, and where their sums leave room for the points of a grid. */
    bool all = variant == LK_VK_MV1 && matvec_parts(panels, mode) <= LK_VK_MAX_PARTS;
    struct lk_vk_kernel kernel = matvec_of(f, type, variant, n_groups, panels, mode, all);
    if (all && prep == LK_VK_PREP_NONE && !lk_vk_facts_fit(f, kernel.shader, kernel.spec)) {
        kernel = matvec_of(f, type, variant, n_groups, panels, mode, false);
    }
    return kernel;
}

/* ---- tiles ---- */

/* Rows and tokens of a tile of tile_matrix.comp. */
struct shape {
    uint32_t rows, tokens;
};

/* Large tiles where there are many of them: they need less memory traffic, and a GPU runs few at a
 * time. A type has one large shape, which the probe tries: 128 rows don't fit where weights are two
 * limbs. */
static struct shape shape_for(const struct lk_vk_facts *f, const char *shader, uint32_t n_groups,
                              uint32_t tokens)
{
    static const struct shape SMALL = {64, 64}, LARGE[] = {{128, 128}, {64, 128}};
    for (size_t i = 0; i < LK_COUNT(LARGE); i++) {
        struct shape s = LARGE[i];
        if (lk_vk_facts_fit(f, shader,
                            (const uint32_t[4]){s.rows, s.tokens, LK_VK_EPI_STORE, 2 * s.rows})) {
            uint32_t groups = s.rows / LK_VK_ROWS;
            uint32_t n = (n_groups + groups - 1) / groups * ((tokens + s.tokens - 1) / s.tokens);
            return n >= f->many_tiles ? s : SMALL;
        }
    }
    return SMALL;
}

struct lk_vk_tile lk_vk_tile_for(const struct lk_vk_facts *f, enum lk_type type, uint32_t n_groups,
                                 uint32_t tokens, uint32_t epilogue)
{
    struct lk_vk_tile tile = {.groups = 2, .cols = 32};
    bool quantized = lk_type_info((uint32_t)type)->quantized;
    bool matrix = quantized && f->matrix, wide = matrix || (quantized && !f->narrow);
    bool dot = quantized && f->int_dot;
    char *shader = tile.kernel.shader;
    snprintf(shader, sizeof tile.kernel.shader, "tile_%s%s", lk_type_name((uint32_t)type),
             matrix ? "_matrix"
             : wide ? "_wide"
             : dot  ? "_dot"
                    : "");
    tile.kernel.spec[2] = epilogue;
    if (!quantized) { /* half as large each way where there are few */
        uint32_t n = (n_groups + 1) / 2 * ((tokens + tile.cols - 1) / tile.cols);
        uint32_t own = n >= MANY_GROUPS ? 4 : 2;
        tile.kernel.spec[0] = own;
        tile.groups = own / 2;
        tile.cols = 8 * own;
    }
    if (wide) {
        struct shape shape = shape_for(f, shader, n_groups, tokens);
        tile.groups = shape.rows / LK_VK_ROWS;
        tile.cols = shape.tokens;
        tile.kernel.spec[0] = shape.rows;
        tile.kernel.spec[1] = shape.tokens;
        tile.kernel.spec[3] = 2 * shape.rows;
    }
    return tile;
}
