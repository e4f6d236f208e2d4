/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold_write: saved sessions on their way from memory to files: a thread seals and writes them, one
 * at a time, in the order in which they came, so that no step waits for a disk. Where there is no
 * thread they are written by whoever looks after them. Knows neither engine nor prefixes.
 */
#ifndef LK_SERVE_COLD_WRITE_H
#define LK_SERVE_COLD_WRITE_H

#include "base/base.h"
#include "base/os.h"

enum { COLD_MOST_QUEUED = 4 };

struct cold_write {
    char *path;    /* owned */
    uint8_t *data; /* [n_bytes] owned: lk_session_image's */
    size_t n_bytes;
    uint64_t tag; /* the caller's */
    uint32_t done;
    lk_status status;
    lk_error why;
};

struct cold_writer { /* zeroed: nothing is written */
    struct cold_write queue[COLD_MOST_QUEUED];
    size_t n;
    struct lk_thread *thread; /* of queue[0]; NULL: none works */
};

bool lk_cold_writer_has_room(const struct cold_writer *w, size_t n_bytes);
/* Where there is room. Takes path and data. */
void lk_cold_writer_add(struct cold_writer *w, char *path, uint8_t *data, size_t n_bytes,
                        uint64_t tag);
/* The tag of the first, when it is written, or could not be (*status, *why). With `wait` false is
 * said only when there is none; else when none is done. */
bool lk_cold_writer_next(struct cold_writer *w, bool wait, uint64_t *tag, lk_status *status,
                         lk_error *why);

#endif
