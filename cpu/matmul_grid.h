/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_grid: the part of matmul_body.h for types of a grid, whose rows lie as in the file: one
 * kernel for those in blocks of 256, one for those whose float steps are of 32 elements. Included
 * by matmul_body.h alone, which has its words.
 */
#ifndef LK_MATMUL_GRID_H
#define LK_MATMUL_GRID_H

#include "cpu/grid_panel.h"

enum { MM_GRID_TOKENS = 64 }; /* between two unpackings of a panel */

/* Adds to each token's dots those of 16 n elements from 4 g of a panel, whose activations begin at
 * k. */
MM_INLINE void grid_dots(int n_tok, const uint8_t *chunks, int g, int n, const struct mm_x *x,
                         size_t k, sv_i *dot)
{
#pragma GCC unroll 8
    for (int end = g + 4 * n; g < end; g += QV_STEP) {
        qv w[QV_STEP];
        for (int i = 0; i < QV_STEP; i++) {
            w[i] = qv_load(chunks + (g + i) * 64);
        }
        add_dots8(n_tok, w, x, k + 4 * (size_t)g, dot);
    }
    end_dots(n_tok, dot);
}

/* sum[t] = sum[t] + p: panel b, a block of 256, of the vector of rows v. */
MM_INLINE void grid_block(int n_tok, const struct lk_grid_panel *u, int v, const struct mm_x *x,
                          int64_t b, float (*sum)[LK_PACK_ROWS])
{
    const uint8_t *chunks = u->q + v * SV_LANES * 4;
    sv_i tot[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        tot[t] = sv_iset(0);
    }
    for (int s = 0; s < 16; s++) {
        sv_i dot[MM_TOKENS], scale = sv_iload(u->sc[s] + v * SV_LANES);
        for (int t = 0; t < n_tok; t++) {
            dot[t] = sv_iset((uint32_t)(-QV_BIAS8 * x->row[t].sum16[b * 16 + s]));
        }
        grid_dots(n_tok, chunks, 4 * s, 1, x, (size_t)b * 256, dot);
        for (int t = 0; t < n_tok; t++) {
            tot[t] = sv_iadd(tot[t], sv_imul(dot[t], scale));
        }
    }
    sv_f d = sv_load(u->d[0] + v * SV_LANES);
    for (int t = 0; t < n_tok; t++) {
        float *to = sum[t] + v * SV_LANES;
        sv_store(to, sv_add(sv_load(to), scale_product(d, x->row[t].d[b], tot[t])));
    }
}

/* The same of n_steps times 32 elements, which are a chain of their own. */
MM_INLINE void grid_steps(int n_tok, const struct lk_grid_panel *u, int v, const struct mm_x *x,
                          int64_t b, int n_steps, float (*sum)[LK_PACK_ROWS])
{
    const uint8_t *chunks = u->q + v * SV_LANES * 4;
    sv_f g[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        g[t] = sv_zero();
    }
    for (int s = 0; s < n_steps; s++) {
        sv_i dot[MM_TOKENS];
        sv_f d = sv_load(u->d[s] + v * SV_LANES);
        for (int t = 0; t < n_tok; t++) {
            dot[t] = sv_iset((uint32_t)(-QV_BIAS8 * x->row[t].sum[b * 8 + s]));
        }
        grid_dots(n_tok, chunks, 8 * s, 2, x, (size_t)b * 256, dot);
        for (int t = 0; t < n_tok; t++) {
            g[t] = sv_add(g[t], scale_product(d, x->row[t].d[b * 8 + s], dot[t]));
        }
    }
    for (int t = 0; t < n_tok; t++) {
        float *to = sum[t] + v * SV_LANES;
        sv_store(to, sv_add(sv_load(to), g[t]));
    }
}

/* Panel b of a group with n_tok tokens from t0. */
MM_INLINE void grid_tiles(const struct lk_grid_panel *u, const struct lk_acts *a, int t0, int n_tok,
                          int64_t b, float (*sum)[LK_PACK_ROWS])
{
    struct mm_x x;
    int64_t left = a->k / 32 - b * 8;
    int n_steps = a->kind != LK_ACTS_Q32 ? 0 : left < 8 ? (int)left : 8;
    for (int t = 0; t < n_tok;) {
        int n = n_tok - t >= MM_TOKENS ? MM_TOKENS : 1;
        for (int i = 0; i < n; i++) {
            x.row[i] = lk_acts_row(a, t0 + t + i);
        }
        for (int v = 0; v < MM_VECS; v++) {
            if (n == 1 && n_steps == 0) {
                grid_block(1, u, v, &x, b, sum + t);
            } else if (n == 1) {
                grid_steps(1, u, v, &x, b, n_steps, sum + t);
            } else if (n_steps == 0) {
                grid_block(MM_TOKENS, u, v, &x, b, sum + t);
            } else {
                grid_steps(MM_TOKENS, u, v, &x, b, n_steps, sum + t);
            }
        }
        t += n;
    }
}

/* Groups [first, last): each panel is unpacked once for many tokens. One function for all types. */
static bool mul_grid(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                     int64_t last, float *y, size_t ldy)
{
    struct lk_grid_panel panel;
    float sum[MM_GRID_TOKENS][LK_PACK_ROWS];
    sv_mask bad = sv_mask_none();
    for (int64_t g = first; g < last; g++) {
        int64_t row = g * LK_PACK_ROWS, left = w->rows - row;
        size_t rows = (size_t)(left < LK_PACK_ROWS ? left : LK_PACK_ROWS);
        lk_grid_panel_clear(&panel);
        for (int t0 = 0; t0 < n_tok; t0 += MM_GRID_TOKENS) {
            int n = n_tok - t0 < MM_GRID_TOKENS ? n_tok - t0 : MM_GRID_TOKENS;
            memset(sum, 0, sizeof sum);
            for (int64_t b = 0; b * LK_PANEL < w->cols; b++) {
                lk_grid_panel_load(w, g, b, &panel);
                grid_tiles(&panel, a, t0, n, b, sum);
            }
            for (int t = 0; t < n; t++) {
                for (int v = 0; v < MM_VECS; v++) {
                    sv_f s = sv_load(sum[t] + v * SV_LANES);
                    bad = sv_mask_or(bad, sv_out_of_range(s));
                    sv_store(sum[t] + v * SV_LANES, sv_flush(s));
                }
                memcpy(y + (size_t)(t0 + t) * ldy + row, sum[t], rows * sizeof(float));
            }
        }
    }
    return !sv_any(bad);
}

#endif
