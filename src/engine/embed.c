/* SPDX-License-Identifier: Apache-2.0
 *
 * Embed: hidden rows to the one row that stands for a text. Knows no backend.
 */
#include <stdio.h>

#include "engine/engine.h"
#include "gguf/model_file.h"
#include "base/mem.h"
#include "base/real.h"

/* The pooling that a file's key has, by its numbers: 1 the mean, 2 the first row, 3 the last. */
static lk_status pooling_of_file(const lk_model *model, lk_pooling *out, lk_error *err)
{
    char key[128];
    uint32_t found = 0;
    snprintf(key, sizeof key, "%s.pooling_type", lk_model_arch(model));
    lk_status status = lk_gguf_u32(model->gguf, key, false, &found, err);
    if (status) {
        return status;
    }
    *out = found == 1   ? LK_POOLING_MEAN
           : found == 2 ? LK_POOLING_FIRST
           : found == 3 ? LK_POOLING_LAST
                        : LK_POOLING_FILE;
    if (*out == LK_POOLING_FILE) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "%s: key '%s' is %s, expected 1 (mean), 2 (first) or 3 (last): say which "
                       "pooling is meant",
                       lk_gguf_path(model->gguf), key, found ? "another kind" : "missing or 0");
    }
    return LK_OK;
}

/* Rows as they come, gathered into sum. */
struct pool {
    lk_pooling how;
    size_t n, width;
    double *sum;
};

static bool on_row(void *user, size_t pos, const float *row)
{
    struct pool *p = user;
    bool taken = p->how == LK_POOLING_MEAN || pos == (p->how == LK_POOLING_FIRST ? 0 : p->n - 1);
    for (size_t i = 0; taken && i < p->width; i++) {
        p->sum[i] += (double)row[i];
    }
    return true;
}

/* The sum as the result: of n rows, of length 1 unless plain. */
static lk_status finish(const struct pool *p, size_t n_rows, bool plain, float *out, lk_error *err)
{
    double squares = 0.0;
    for (size_t i = 0; i < p->width; i++) {
        p->sum[i] /= (double)n_rows;
        squares += p->sum[i] * p->sum[i];
    }
    if (!plain && !(squares > 0.0)) {
        return lk_fail(err, LK_E_RANGE, "embedding of %zu tokens: every number is 0", p->n);
    }
    double length = plain ? 1.0 : lk_sqrt_f64(squares);
    for (size_t i = 0; i < p->width; i++) {
        out[i] = (float)(p->sum[i] / length);
    }
    return LK_OK;
}

lk_status lk_embed(lk_engine *engine, const int32_t *tokens, size_t n, lk_pooling pooling,
                   bool plain, float *out, lk_error *err)
{
    if (!engine->options.embeddings || n == 0 || (unsigned)pooling > LK_POOLING_LAST) {
        return lk_fail(err, LK_E_INVALID, "embedding: %s",
                       n == 0                        ? "there are no tokens"
                       : !engine->options.embeddings ? "the engine was not opened for embeddings"
                                                     : "there is no such pooling");
    }
    struct pool p = {.how = pooling, .n = n, .width = lk_engine_n_embd(engine)};
    lk_status status =
        pooling == LK_POOLING_FILE ? pooling_of_file(engine->model, &p.how, err) : LK_OK;
    lk_session *session = NULL;
    if (!status) {
        status = lk_session_open(engine, &session, err);
    }
    if (!status) {
        p.sum = lk_alloc_array(p.width, sizeof *p.sum);
        status = p.sum ? lk_session_sync_rows(session, tokens, n,
                                              p.how == LK_POOLING_LAST ? n - 1 : 0, on_row, &p, err)
                       : lk_fail(err, LK_E_NOMEM, "out of memory: an embedding");
    }
    if (!status) {
        status = finish(&p, p.how == LK_POOLING_MEAN ? n : 1, plain, out, err);
    }
    lk_session_close(&session);
    lk_free(p.sum);
    return status;
}
