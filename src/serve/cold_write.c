/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold_write: see cold_write.h.
 */
#include "serve/cold_write.h"

#include <string.h>

#include "base/mem.h"
#include "engine/session_file.h"

/* Bytes that wait in memory at most, where it is more than one file. */
static const size_t MOST_BYTES = (size_t)256 << 20;

bool lk_cold_writer_has_room(const struct cold_writer *w, size_t n_bytes)
{
    size_t sum = n_bytes;
    for (size_t i = 0; i < w->n; i++) {
        sum += w->queue[i].n_bytes;
    }
    return w->n == 0 || (w->n < COLD_MOST_QUEUED && sum <= MOST_BYTES);
}

static void write_one(void *arg)
{
    struct cold_write *f = arg;
    lk_output *output;
    lk_session_seal(f->data, f->n_bytes);
    f->status = lk_output_open(f->path, LK_OUTPUT_PRIVATE, &output, &f->why);
    if (!f->status) {
        f->status = lk_output_write(output, f->data, f->n_bytes, &f->why);
        if (f->status) {
            lk_output_close(&output);
        } else {
            f->status = lk_output_commit(&output, &f->why);
        }
    }
    __atomic_store_n(&f->done, 1, __ATOMIC_RELEASE);
}

/* Without a thread the first waits for lk_cold_writer_next. */
static void begin(struct cold_writer *w)
{
    if (w->n > 0 && !w->thread) {
        (void)lk_thread_start(&w->thread, write_one, &w->queue[0], NULL);
    }
}

void lk_cold_writer_add(struct cold_writer *w, char *path, uint8_t *data, size_t n_bytes,
                        uint64_t tag)
{
    w->queue[w->n++] =
        (struct cold_write){.path = path, .data = data, .n_bytes = n_bytes, .tag = tag};
    begin(w);
}

bool lk_cold_writer_next(struct cold_writer *w, bool wait, uint64_t *tag, lk_status *status,
                         lk_error *why)
{
    struct cold_write *f = &w->queue[0];
    if (w->n == 0 || (w->thread && !wait && !__atomic_load_n(&f->done, __ATOMIC_ACQUIRE))) {
        return false;
    }
    if (w->thread) {
        lk_thread_join(&w->thread);
    } else {
        write_one(f);
    }
    *tag = f->tag;
    *status = f->status;
    *why = f->why;
    lk_free(f->path);
    lk_free(f->data);
    w->n--;
    memmove(w->queue, w->queue + 1, w->n * sizeof *w->queue);
    begin(w);
    return true;
}
