/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, written files: see os.h. A file is written whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/os.h"

/* Writers of one path, in this process and others, each have a part of their own. */
enum { PART_NAME = 40, MAX_PARTS = 100 };

static void forget(struct lk_writer *w)
{
    if (w->fd >= 0) {
        close(w->fd);
    }
    lk_free(w->path);
    lk_free(w->part);
    *w = (struct lk_writer){.fd = -1};
}

lk_status lk_writer_open(struct lk_writer *w, const char *path, lk_error *err)
{
    size_t n = strlen(path);
    *w = (struct lk_writer){.fd = -1};
    w->path = lk_alloc(n + 1);
    w->part = lk_alloc(n + PART_NAME);
    if (!w->path || !w->part) {
        forget(w);
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory", path);
    }
    memcpy(w->path, path, n);
    memcpy(w->part, path, n);
    for (int i = 0; i < MAX_PARTS && (i == 0 || (w->fd < 0 && errno == EEXIST)); i++) {
        snprintf(w->part + n, PART_NAME, ".%ld-%d.part", (long)getpid(), i);
        w->fd = open(w->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (w->fd < 0) {
        lk_status status =
            lk_fail(err, LK_E_IO, "%s: can't be created: %s", w->part, strerror(errno));
        forget(w);
        return status;
    }
    return LK_OK;
}

void lk_writer_put(struct lk_writer *w, const void *data, size_t n_bytes)
{
    const uint8_t *p = data;
    while (!w->status && n_bytes > 0) {
        ssize_t n = write(w->fd, p, n_bytes);
        if (n < 0 && errno != EINTR) {
            w->status = LK_E_IO;
            w->sys_errno = errno;
        } else if (n > 0) {
            p += n;
            n_bytes -= (size_t)n;
        }
    }
}

void lk_writer_abort(struct lk_writer *w)
{
    if (w->part) {
        unlink(w->part);
    }
    forget(w);
}

lk_status lk_writer_commit(struct lk_writer *w, lk_error *err)
{
    if (!w->status && fsync(w->fd) != 0) {
        w->status = LK_E_IO;
        w->sys_errno = errno;
    }
    if (!w->status && rename(w->part, w->path) != 0) {
        w->status = LK_E_IO;
        w->sys_errno = errno;
    }
    if (w->status) {
        lk_status status =
            lk_fail(err, w->status, "%s: can't be written: %s", w->path, strerror(w->sys_errno));
        lk_writer_abort(w);
        return status;
    }
    forget(w);
    return LK_OK;
}

lk_status lk_make_dirs(const char *path, lk_error *err)
{
    char part[4096];
    size_t n = strlen(path);
    if (n >= sizeof part) {
        return lk_fail(err, LK_E_INVALID, "a path of %zu bytes, expected at most %zu", n,
                       sizeof part - 1);
    }
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] == '/' || part[i] == 0) {
            char c = part[i];
            part[i] = 0;
            if (mkdir(part, 0777) != 0 && errno != EEXIST) {
                return lk_fail(err, LK_E_IO, "%s: can't be created: %s", part, strerror(errno));
            }
            part[i] = c;
        }
    }
    return LK_OK;
}
