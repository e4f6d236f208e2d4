/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: the kernels of a matmul by the number of its rows: mat-vecs for few, tiles for many, and
 * how large a workgroup of each is. Decides from facts; changes no result.
 */
#ifndef LK_VK_TILE_H
#define LK_VK_TILE_H

#include "quant/quant.h"
#include "vulkan/build/vk_facts.h"

/* Mat-vecs of 1, 4 and 8 tokens a workgroup, and tiles: small ones, large ones, and those of few
 * tokens, whose workgroups split the panels of a row. */
enum {
    LK_VK_MV1,
    LK_VK_MV4,
    LK_VK_MV8,
    LK_VK_TILE,
    LK_VK_TILE_LARGE,
    LK_VK_TILE_SPLIT,
    LK_VK_VARIANTS
};
enum { LK_VK_TILES = 3, LK_VK_SPLIT = LK_VK_TILE_SPLIT - LK_VK_TILE }; /* of them */
enum {
    LK_VK_FEW_TOKENS = 16, /* tokens that mat-vecs take at most */
    LK_VK_MAX_PARTS = 96   /* panels of rows that meet at a barrier: 12 KiB; 24 of a GLU */
};

/* A shader with its specialization constants. */
struct lk_vk_kernel {
    char shader[48];
    uint32_t spec[4];
    uint32_t x; /* of a mat-vec in decode: its workgroups */
};

/* Tokens of one workgroup of a mat-vec; small workgroups can't fold 8 columns. */
uint32_t lk_vk_variant_cols(const struct lk_vk_facts *facts, int variant);
/* The variant that runs a number of rows, without a choice of large tiles; split: whether the
 * matmul has a tile for few of them. */
int lk_vk_variant_for(const struct lk_vk_facts *facts, uint32_t rows, bool split);

/* A mat-vec over n_groups row groups of k elements; an epilogue has LK_VK_EPI_EXPERTS for those. */
struct lk_vk_kernel lk_vk_matvec(const struct lk_vk_facts *facts, enum lk_type type, int variant,
                                 uint32_t n_groups, uint32_t k, uint32_t epilogue, uint32_t prep);

/* Whether tiles of a type are those of tile_matrix.comp, which can end with a GLU. */
bool lk_vk_tile_is_wide(const struct lk_vk_facts *facts, enum lk_type type);

/* Row groups (of a GLU: of gate) and tokens of a tile; of split ones, tiles of a row group. */
struct lk_vk_tile_size {
    uint32_t groups, cols, parts;
};
struct lk_vk_tile {
    struct lk_vk_kernel kernel;
    struct lk_vk_tile_size size;
};
/* The tiles of a matmul of n_groups row groups, small and large, for up to so many tokens. Returns
 * how many of both there are: no large ones where they never are the better ones. */
int lk_vk_tiles_for(const struct lk_vk_facts *facts, enum lk_type type, uint32_t n_groups,
                    uint32_t tokens, uint32_t epilogue, struct lk_vk_tile out[LK_VK_TILES]);
/* The tile of few tokens, for batches of `least` to `most`; false where none of them takes it. */
bool lk_vk_split_tile(const struct lk_vk_facts *facts, enum lk_type type, uint32_t n_groups,
                      uint32_t least, uint32_t most, uint32_t epilogue, struct lk_vk_tile *out);
/* How many of the row groups, from the first on, large ones take where there are that many tokens;
 * the others have small ones. A whole number of large tiles, or all. */
uint32_t lk_vk_tile_large(const struct lk_vk_facts *facts,
                          const struct lk_vk_tile_size size[LK_VK_TILES], uint32_t n_groups,
                          uint32_t tokens);
/* Those of one expert or head, of which nobody counts rounds: large ones where there are many. */
struct lk_vk_tile lk_vk_tile_for(const struct lk_vk_facts *facts, enum lk_type type,
                                 uint32_t n_groups, uint32_t tokens, uint32_t epilogue);

#endif
