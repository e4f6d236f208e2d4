/* SPDX-License-Identifier: Apache-2.0
 *
 * Grid panel: up to 256 elements of 16 rows of a type of src/quant/grid.h, which lie as in the
 * file, unpacked to the bytes that kernels multiply. It is made once for all tokens of a batch, so
 * that such weights take no more memory than the file and one kernel serves them all.
 */
#ifndef LK_GRID_PANEL_H
#define LK_GRID_PANEL_H

#include <string.h>

#include "base/numerics.h"
#include "cpu/matmul.h"
#include "quant/grid.h"

struct lk_grid_panel {
    uint8_t q[64 * 64]; /* chunks in order along K (cpu/pack.h), + 128 */
    int32_t sc[16][LK_PACK_ROWS];
    float d[8][LK_PACK_ROWS]; /* of each float step */
};

/* Starts a panel: rows that a group lacks stay zero. */
static inline void lk_grid_panel_clear(struct lk_grid_panel *p)
{
    memset(p, 0, sizeof *p);
}

/* Elements [256 b, 256 b + 256) of the rows of a group, or as many as there are. */
static inline void lk_grid_panel_load(const struct lk_packed *w, int64_t group, int64_t b,
                                      struct lk_grid_panel *p)
{
    const struct lk_type_info *info = lk_type_info(w->type);
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)w->cols);
    const uint8_t *from =
        w->data + (size_t)group * w->group_bytes + lk_type_row_bytes(w->type, (size_t)b * LK_PANEL);
    int64_t rows = w->rows - group * LK_PACK_ROWS, left = w->cols - b * LK_PANEL;
    int n = left < LK_PANEL ? (int)left : LK_PANEL, step = lk_acts_block(info->acts);
    for (int r = 0; r < LK_PACK_ROWS && r < rows; r++, from += row_bytes) {
        const uint8_t *block = from;
        for (int at = 0; at < n; at += info->block, block += info->block_bytes) {
            int32_t sc[16];
            lk_grid_unpack(w->type, block, p->q + at / 4 * 64 + 4 * r, 64, sc);
            for (int s = 0; s < info->block / 16; s++) {
                p->sc[at / 16 + s][r] = sc[s];
            }
            for (int i = 0; i < info->block; i += step) {
                p->d[(at + i) / step][r] = lk_block_scale(w->type, block);
            }
        }
    }
}

#endif
