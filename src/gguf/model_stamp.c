/* SPDX-License-Identifier: Apache-2.0
 *
 * Model stamp: what the files behind a model are, by what the system says of them: whether they
 * changed since they were mapped, and what tells them from others. Reads no weights.
 */
#include "gguf/gguf_priv.h"
#include "gguf/model_file.h"

#define SETTLED_NS 2000000000 /* the coarsest step of a file's times */

lk_status lk_gguf_look_at_files(const struct lk_gguf *g, bool *same, lk_error *err)
{
    *same = true;
    for (int i = 0; i < g->n_parts; i++) {
        const struct lk_stamp *then = &g->parts[i].map.stamp;
        struct lk_stamp now;
        if (!lk_stamp_of(g->parts[i].path, &now) || now.inode != then->inode ||
            now.device != then->device) {
            *same = false;
        } else if (now.n_bytes != then->n_bytes || now.modified_ns != then->modified_ns) {
            return lk_fail(err, LK_E_IO,
                           "%s: changed since the model was opened (%llu bytes then, %llu now), "
                           "expected a file that stays: its weights have no digest",
                           g->parts[i].path, (unsigned long long)then->n_bytes,
                           (unsigned long long)now.n_bytes);
        } else {
            *same &= now.changed_ns == then->changed_ns;
        }
    }
    return LK_OK;
}

/* Nanoseconds until a later change of a file is bound to show in its times; 0: it is. */
static int64_t unsettled_for(const struct lk_gguf *g)
{
    int64_t now = lk_date_ns(), most = 0;
    for (int i = 0; i < g->n_parts; i++) {
        int64_t left = SETTLED_NS + 1 - (now - g->parts[i].map.stamp.changed_ns);
        most = left > most ? left : most;
    }
    return most;
}

bool lk_gguf_is_settled(const struct lk_gguf *g)
{
    return unsettled_for(g) == 0;
}

bool lk_model_is_same(const lk_model *model)
{
    bool same;
    return !lk_gguf_look_at_files(model->gguf, &same, NULL) && same;
}

bool lk_model_stamp(const lk_model *model, uint8_t path[32], uint8_t stamp[32])
{
    const struct lk_gguf *g = model->gguf;
    lk_sha256 h;
    if (!g->parts[0].map.data) {
        return false;
    }
    int64_t wait = unsettled_for(g);
    if (wait > SETTLED_NS + 1) { /* of a file from the future */
        return false;
    }
    lk_sleep_ns(wait);
    lk_sha256_init(&h);
    for (int i = 0; i < g->n_parts; i++) {
        lk_sha256_bytes(&h, &g->parts[i].map.stamp, sizeof(struct lk_stamp));
    }
    lk_sha256_final(&h, stamp);
    lk_path_sha256(lk_gguf_path(g), path);
    return lk_gguf_is_settled(g) && lk_model_is_same(model);
}

bool lk_model_place(const lk_model *model, const void *data, uint64_t *part, uint64_t *offset)
{
    const struct lk_gguf *g = model->gguf;
    for (int i = 0; i < g->n_parts; i++) {
        const struct lk_map *map = &g->parts[i].map;
        uintptr_t from = (uintptr_t)map->data, at = (uintptr_t)data;
        if (map->data && at >= from && at - from < map->n_bytes) {
            *part = (uint64_t)i;
            *offset = at - from;
            return true;
        }
    }
    return false;
}
