/* SPDX-License-Identifier: Apache-2.0
 *
 * Grid panel: a block of 256 of 16 rows of a type of src/quant/grid.h, which lie as in the file,
 * unpacked to the bytes that kernels multiply. It is made once for all tokens of a batch, so that
 * such weights take no more memory than the file and one kernel serves them all.
 */
#ifndef LK_GRID_PANEL_H
#define LK_GRID_PANEL_H

#include <string.h>

#include "cpu/matmul.h"
#include "quant/grid.h"

struct lk_grid_panel {
    uint8_t q[64 * 64]; /* chunks in order along K (cpu/pack.h), + 128 */
    int32_t sc[16][LK_PACK_ROWS];
    float d[LK_PACK_ROWS];
};

/* Starts a panel: rows that a group lacks stay zero. */
static inline void lk_grid_panel_clear(struct lk_grid_panel *p)
{
    memset(p, 0, sizeof *p);
}

/* Block b of the rows of a group. */
static inline void lk_grid_panel_load(const struct lk_packed *w, int64_t group, int64_t b,
                                      struct lk_grid_panel *p)
{
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)w->cols);
    size_t block_bytes = (size_t)lk_type_info(w->type)->block_bytes;
    const uint8_t *block = w->data + (size_t)group * w->group_bytes + (size_t)b * block_bytes;
    int64_t rows = w->rows - group * LK_PACK_ROWS;
    for (int r = 0; r < LK_PACK_ROWS && r < rows; r++, block += row_bytes) {
        int32_t sc[16];
        lk_grid_unpack(w->type, block, p->q + 4 * r, 64, sc);
        for (int s = 0; s < 16; s++) {
            p->sc[s][r] = sc[s];
        }
        p->d[r] = lk_block_scale(w->type, block);
    }
}

#endif
