/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept: what is computed once and kept in a file of cache_dir. Each has a kind, a version and a
 * digest; a file that is anything else is as good as none. Knows no content.
 */
#ifndef LK_KEPT_H
#define LK_KEPT_H

#include "base/os.h"

enum lk_kept_state { LK_KEPT_NONE, LK_KEPT_WHOLE, LK_KEPT_BROKEN };

struct lk_kept {
    struct lk_map map;
    const uint8_t *data; /* NULL unless whole */
    size_t n_bytes;
};
/* kind: at most 8 characters, "probe". version: of its content's form. Close it if whole. */
enum lk_kept_state lk_kept_open(struct lk_kept *out, const char *path, const char *kind,
                                uint32_t version);
void lk_kept_close(struct lk_kept *kept);
lk_status lk_kept_write(const char *path, const char *kind, uint32_t version, const void *data,
                        size_t n_bytes, lk_error *err);

#endif
