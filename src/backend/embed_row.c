/* SPDX-License-Identifier: Apache-2.0
 *
 * Embed_row: see embed_row.h.
 */
#include "backend/embed_row.h"

#include "base/numerics.h"

bool lk_embed_row(const struct lk_weight *w, int64_t row, float scale, float *y)
{
    const uint8_t *data = w->data;
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)w->cols);
    data += (size_t)row * row_bytes;
    lk_dequantize_f32(w->type, data, (size_t)w->cols, y);
    bool ok = lk_embed_row_end(w->cols, scale, y);
    return ok && lk_row_find_bad(w->type, data, (size_t)w->cols) < 0;
}

bool lk_embed_row_end(int64_t n, float scale, float *y)
{
    bool ok = true;
    for (int64_t i = 0; i < n; i++) {
        float e = lk_flush(y[i]);
        if (scale != 1.0f) {
            e = e * scale;
        }
        y[i] = lk_flush(e);
        ok &= !lk_out_of_range(e);
    }
    return ok;
}
