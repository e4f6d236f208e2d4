/* SPDX-License-Identifier: Apache-2.0
 *
 * Embed_row: a row of a table of embeddings as floats, for the contract in plain C and for whoever
 * looks rows up on the host instead of a device. Knows no plan and no batch.
 */
#ifndef LK_EMBED_ROW_H
#define LK_EMBED_ROW_H

#include "plan/op.h"

/* y = row `row` of w dequantized, times scale when scale != 1. False: an element is out of range,
 * or what no file should have, for not every table is looked through before. */
bool lk_embed_row(const struct lk_weight *w, int64_t row, float scale, float *y);
/* Its end, for n dequantized elements in y. */
bool lk_embed_row_end(int64_t n, float scale, float *y);

#endif
