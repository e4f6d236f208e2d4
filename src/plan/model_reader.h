/* SPDX-License-Identifier: Apache-2.0
 *
 * Model_reader: keys under an architecture's prefix, each with its range; the first failure stays.
 * Inside: model.c and model_mixers.c alone.
 */
#ifndef LK_MODEL_READER_H
#define LK_MODEL_READER_H

#include <stdio.h>

#include "plan/model.h"

enum {
    MAX_DIM = 1 << 24,
    MAX_LAYERS = 4096,
    MAX_OWN_DIM = 8192 /* of what a head makes of latent rows: times MAX_LAYERS heads fits an int */
};

/* Reads keys under the architecture's prefix; the first failure stays. */
struct reader {
    const struct lk_gguf *gguf;
    const char *prefix;
    uint8_t *read; /* [n_values]: keys that were asked for by name */
    lk_status status;
    lk_error *err;
};

static inline const char *key_of(const struct reader *r, const char *key, char buf[128])
{
    snprintf(buf, 128, "%s.%s", r->prefix, key);
    const struct lk_gguf_value *v = lk_gguf_find(r->gguf, buf);
    if (v) {
        r->read[v - lk_gguf_value_at(r->gguf, 0)] = 1;
    }
    return buf;
}

static inline bool has_key(const struct reader *r, const char *key)
{
    char full[128];
    return lk_gguf_find(r->gguf, key_of(r, key, full)) != NULL;
}

static inline int read_int(struct reader *r, const char *key, bool required, int preset, int least,
                           int most)
{
    char full[128];
    uint32_t v = (uint32_t)preset;
    if (r->status) {
        return preset;
    }
    r->status = lk_gguf_u32(r->gguf, key_of(r, key, full), required, &v, r->err);
    if (!r->status && (v > (uint32_t)most || (int)v < least)) {
        r->status = lk_fail(r->err, LK_E_FORMAT, "%s: key '%s' is %u, expected %d to %d",
                            lk_gguf_path(r->gguf), full, v, least, most);
    }
    return r->status ? preset : (int)v;
}

static inline float read_float(struct reader *r, const char *key, bool required, float preset,
                               float least, float most)
{
    char full[128];
    float v = preset;
    if (r->status) {
        return preset;
    }
    r->status = lk_gguf_f32(r->gguf, key_of(r, key, full), required, &v, r->err);
    if (!r->status && !(v >= least && v <= most)) {
        r->status = lk_fail(r->err, LK_E_FORMAT, "%s: key '%s' is %g, expected %g to %g",
                            lk_gguf_path(r->gguf), full, (double)v, (double)least, (double)most);
    }
    return r->status ? preset : v;
}

static inline void refuse(struct reader *r, const char *key, const char *found,
                          const char *expected)
{
    char full[128];
    if (!r->status) {
        r->status = lk_fail(r->err, LK_E_UNSUPPORTED, "%s: key '%s' is %s, expected %s",
                            lk_gguf_path(r->gguf), key_of(r, key, full), found, expected);
    }
}

/* Sizes of latent attention, of the gated delta rule, of Mamba-2, where the architecture has them
 * (model_mixers.c). */
void lk_read_latent(struct reader *r, struct lk_hparams *h);
void lk_read_delta(struct reader *r, struct lk_hparams *h);
void lk_read_ssm(struct reader *r, struct lk_hparams *h);

#endif
