/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack_home: where the packed weights of an engine's model are kept, below cache_dir, and what they
 * are bound to. Knows no layout.
 */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "gguf/model_file.h"

static bool place(const void *user, const void *data, uint64_t *part, uint64_t *offset)
{
    return lk_model_place(user, data, part, offset);
}

static bool is_same(const void *user)
{
    return lk_model_is_same(user);
}

const struct lk_pack_home *lk_engine_pack_home(struct lk_engine *e)
{
    uint8_t path[32];
    const char *cache = e->options.cache_dir;
    if (!e->options.mmap_pack || e->pack.dir) {
        return e->pack.dir ? &e->pack : NULL;
    }
    int n = snprintf(e->pack_dir, sizeof e->pack_dir, "%s/packed/", cache);
    if (n < 0 || (size_t)n + 17 > sizeof e->pack_dir) {
        lk_log_line(&e->log, LK_LOG_WARN,
                    "packed weights are kept in memory: the path of the folder for them has %d "
                    "bytes",
                    n);
        return NULL;
    }
    if (!lk_model_stamp(e->model, path, e->pack.model)) {
        lk_log_line(&e->log, LK_LOG_WARN,
                    "packed weights are kept in memory: %s: found no file that stays as it is, "
                    "expected one whose times tell when it changes",
                    lk_gguf_path(e->model->gguf));
        return NULL;
    }
    for (int i = 0; i < 8; i++) {
        snprintf(e->pack_dir + n + 2 * i, 3, "%02x", path[i]);
    }
    e->pack.dir = e->pack_dir;
    e->pack.place = place;
    e->pack.same = is_same;
    e->pack.user = e->model;
    lk_log_line(&e->log, LK_LOG_INFO, "packed weights are kept in %s", e->pack_dir);
    return &e->pack;
}
