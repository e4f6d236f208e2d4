/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: see vk_tile.h.
 */
#include "vulkan/build/vk_tile.h"

#include <stdio.h>

#include "shaders/params.h"

enum { MANY_GROUPS = 256 }; /* workgroups that fill any GPU */
enum { MOST_WORKERS = 28 }; /* of a mat-vec of few workgroups */
/* How long all multiprocessors take for the tiles that they run at once: 2 small ones, or large
 * ones, of which a unit of work is done in 0.85 of the time, or less. */
enum { ROUND_SMALL = 10, ROUND_LARGE = 17 };

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

/* More than 4 tokens, whose mat-vec is faster. */
static bool takes_split(const struct lk_vk_facts *f, uint32_t rows)
{
    return rows > lk_vk_variant_cols(f, LK_VK_MV4) && rows <= f->split_tokens;
}

int lk_vk_variant_for(const struct lk_vk_facts *f, uint32_t rows, bool split)
{
    return rows == 1                                  ? LK_VK_MV1
           : rows <= lk_vk_variant_cols(f, LK_VK_MV4) ? LK_VK_MV4
           : split && takes_split(f, rows)            ? LK_VK_TILE_SPLIT
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

bool lk_vk_tile_is_wide(const struct lk_vk_facts *f, enum lk_type type)
{
    return lk_type_info((uint32_t)type)->quantized && (f->matrix || !f->narrow);
}

static uint32_t tiles_of(const struct lk_vk_tile_size *s, uint32_t n_groups, uint32_t tokens)
{
    return (n_groups + s->groups - 1) / s->groups * ((tokens + s->cols - 1) / s->cols);
}

/* A tile without its shape. */
static struct lk_vk_tile shapeless_tile(const struct lk_vk_facts *f, enum lk_type type,
                                        uint32_t epilogue)
{
    bool quantized = lk_type_info((uint32_t)type)->quantized;
    struct lk_vk_tile t = {.kernel.spec[2] = epilogue};
    snprintf(t.kernel.shader, sizeof t.kernel.shader, "tile_%s%s", lk_type_name((uint32_t)type),
             quantized && f->matrix        ? "_matrix"
             : lk_vk_tile_is_wide(f, type) ? "_wide"
             : quantized && f->int_dot     ? "_dot"
                                           : "");
    return t;
}

/* A tile of tile_matrix.comp; false where the device does not run it. */
static bool wide_tile(const struct lk_vk_facts *f, uint32_t rows, uint32_t tokens,
                      struct lk_vk_tile *t)
{
    uint32_t *spec = t->kernel.spec, halves = is_glu(spec[2]) ? 2 : 1; /* of gate, and of up */
    spec[0] = rows;
    spec[1] = tokens;
    spec[3] = 2 * rows;
    t->size = (struct lk_vk_tile_size){rows / LK_VK_ROWS / halves, tokens, 1};
    return lk_vk_facts_fit(f, t->kernel.shader, spec);
}

/* A tile of tile.comp: of floats half as large each way where there are few. */
static void narrow_tile(struct lk_vk_tile *t, bool quantized, uint32_t n_groups, uint32_t tokens)
{
    t->size = (struct lk_vk_tile_size){2, 32, 1};
    if (!quantized) {
        uint32_t own = tiles_of(&t->size, n_groups, tokens) >= MANY_GROUPS ? 4 : 2;
        t->kernel.spec[0] = own;
        t->size = (struct lk_vk_tile_size){own / 2, 8 * own, 1};
    }
}

bool lk_vk_split_tile(const struct lk_vk_facts *f, enum lk_type type, uint32_t n_groups,
                      uint32_t least, uint32_t most, uint32_t epilogue, struct lk_vk_tile *t)
{
    enum { ROWS = 16, TOKENS = 16, TEAMS = 4 };
    uint32_t parts = LK_VK_ROWS / ROWS * (is_glu(epilogue) ? 2 : 1);
    if (!lk_vk_tile_is_wide(f, type) || least > f->split_tokens ||
        most <= lk_vk_variant_cols(f, LK_VK_MV4) || n_groups > f->max_groups / parts) {
        return false;
    }
    *t = shapeless_tile(f, type, epilogue);
    t->kernel.spec[0] = ROWS;
    t->kernel.spec[1] = TOKENS;
    t->size = (struct lk_vk_tile_size){1, TOKENS, parts};
    for (uint32_t teams = TEAMS; teams > 1; teams /= 2) {
        t->kernel.spec[3] = 2 * ROWS * teams;
        if (lk_vk_facts_fit(f, t->kernel.shader, t->kernel.spec)) {
            return true;
        }
    }
    return false;
}

/* How long n tiles take, of which so many run at once. */
static uint64_t time_of(uint32_t n, uint32_t at_once, uint32_t round)
{
    return (uint64_t)((n + at_once - 1) / at_once) * round;
}

/* Large tiles need less memory traffic, and a multiprocessor runs fewer of them at a time: one of
 * 128 rows, or two. They are the better ones where there are many of them; else where the rounds
 * that it takes to run them last less long: all of them, or those of full rounds, with small ones
 * for the rows that are left. */
uint32_t lk_vk_tile_large(const struct lk_vk_facts *f,
                          const struct lk_vk_tile_size size[LK_VK_TILES], uint32_t n_groups,
                          uint32_t tokens)
{
    if (size[1].cols == 0) { /* there are none */
        return 0;
    }
    uint32_t n = tiles_of(&size[1], n_groups, tokens);
    if (n >= f->many_tiles || f->cores == 0) {
        return n >= f->many_tiles ? n_groups : 0;
    }
    uint32_t at_once = size[1].groups > size[0].groups ? f->cores : 2 * f->cores;
    uint32_t beside = tiles_of(&size[1], 1, tokens); /* tiles of the same rows */
    uint32_t full = n / at_once * at_once / beside;
    uint32_t groups = least_of(full * size[1].groups, n_groups);
    uint32_t left = tiles_of(&size[0], n_groups - groups, tokens);
    uint64_t large = time_of(n, at_once, ROUND_LARGE);
    uint64_t small = time_of(tiles_of(&size[0], n_groups, tokens), 2 * f->cores, ROUND_SMALL);
    uint64_t both =
        time_of(full * beside, at_once, ROUND_LARGE) + time_of(left, 2 * f->cores, ROUND_SMALL);
    if (groups > 0 && both < large && both < small) {
        return groups;
    }
    return large < small ? n_groups : 0;
}

int lk_vk_tiles_for(const struct lk_vk_facts *f, enum lk_type type, uint32_t n_groups,
                    uint32_t tokens, uint32_t epilogue, struct lk_vk_tile out[LK_VK_TILES])
{
    out[0] = out[1] = shapeless_tile(f, type, epilogue);
    if (!lk_vk_tile_is_wide(f, type)) {
        narrow_tile(&out[0], lk_type_info((uint32_t)type)->quantized, n_groups, tokens);
        return 1;
    }
    /* A type has one large shape, which the probe tries: 128 rows don't fit where weights are two
     * limbs. */
    (void)wide_tile(f, 64, 64, &out[0]);
    bool large = wide_tile(f, 128, 128, &out[1]) || wide_tile(f, 64, 128, &out[1]);
    bool many = large && tiles_of(&out[1].size, n_groups, tokens) >= f->many_tiles;
    return many || (large && f->cores > 0) ? 2 : 1;
}

struct lk_vk_tile lk_vk_tile_for(const struct lk_vk_facts *f, enum lk_type type, uint32_t n_groups,
                                 uint32_t tokens, uint32_t epilogue)
{
    struct lk_vk_tile t[LK_VK_TILES];
    int n = lk_vk_tiles_for(f, type, n_groups, tokens, epilogue, t);
    return t[n > 1 && tiles_of(&t[1].size, n_groups, tokens) >= f->many_tiles];
}
