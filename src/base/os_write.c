/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, written files: see os.h. A file is written whole or not at all; what is no regular file is
 * written through, never replaced. Knows no format.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/os.h"

enum { PART_NAME = 40, MAX_PARTS = 100, MAX_LINKS = 40, PROC_MAGIC = 0x9fa0 };
enum { READER_WAIT_MS = 2000, READER_STEP_MS = 10 };

static void forget(struct lk_writer *w)
{
    if (w->fd >= 0) {
        close(w->fd);
    }
    lk_free(w->path);
    lk_free(w->part);
    *w = (struct lk_writer){.fd = -1};
}

static lk_status no_memory(const char *path, lk_error *err)
{
    return lk_fail(err, LK_E_NOMEM, "%s: out of memory", path);
}

static lk_status cannot(const char *path, const char *what, lk_error *err)
{
    return lk_fail(err, LK_E_IO, "%s: can't be %s: %s", path, what, strerror(errno));
}

/* Bytes of path that name its folder, with the '/' after it. */
static size_t folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The folder of path with `rest` behind it, lk_alloc'd. */
static char *beside(const char *path, const char *rest)
{
    size_t folder = folder_of(path), n = strlen(rest);
    char *out = lk_alloc(folder + n + 1);
    if (out) {
        memcpy(out, path, folder);
        memcpy(out + folder, rest, n + 1);
    }
    return out;
}

/* ---- what is there ---- */

/* Links of /proc stand for files that are open: their text is no path. */
static bool is_of_proc(const char *link)
{
    char folder[PATH_MAX];
    struct statfs fs;
    size_t n = folder_of(link);
    memcpy(folder, n ? link : ".", n ? n : 1);
    folder[n ? n : 1] = 0;
    return n < sizeof folder && statfs(folder, &fs) == 0 && fs.f_type == PROC_MAGIC;
}

/* Follows the links that path ends in: *out is the path of what is no link, or not there (its mode
 * is 0 then), or a link of /proc. */
static lk_status follow(const char *path, char **out, mode_t *mode, lk_error *err)
{
    char *at = beside("", path);
    lk_status status = LK_OK;
    for (int i = 0; at; i++) {
        char link[PATH_MAX];
        struct stat st;
        if (lstat(at, &st) != 0) {
            status = errno == ENOENT ? LK_OK : cannot(path, "opened", err);
            *mode = 0;
            break;
        }
        *mode = st.st_mode;
        if (!S_ISLNK(st.st_mode) || is_of_proc(at)) {
            break;
        }
        ssize_t n = readlink(at, link, sizeof link - 1);
        if (n < 0 || i == MAX_LINKS) {
            errno = n < 0 ? errno : ELOOP;
            status = cannot(path, "opened", err);
            break;
        }
        link[n] = 0;
        char *next = beside(link[0] == '/' ? "" : at, link);
        lk_free(at);
        at = next;
    }
    if (!at) {
        return no_memory(path, err);
    }
    if (status) {
        lk_free(at);
    } else {
        *out = at;
    }
    return status;
}

static lk_status refuse(const char *path, mode_t mode, lk_error *err)
{
    return lk_fail(err, LK_E_IO, "%s: found %s, expected a file, a pipe or a terminal", path,
                   S_ISDIR(mode)    ? "a folder"
                   : S_ISBLK(mode)  ? "a disk"
                   : S_ISSOCK(mode) ? "a socket"
                                    : "something else");
}

/* ---- opening ---- */

static bool is_fifo(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Opens what takes bytes as they come. A pipe that nobody reads gets some time to find a reader:
 * -1 with ENXIO where none comes. */
static int open_patiently(const char *path)
{
    const struct timespec step = {.tv_nsec = READER_STEP_MS * 1000000L};
    for (int waited = 0;; waited += READER_STEP_MS) {
        int fd = open(path, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
        if (flags >= 0) {
            (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK); /* lk_writer_put can do without */
        }
        if (fd >= 0 || errno != ENXIO || !is_fifo(path) || waited >= READER_WAIT_MS) {
            return fd;
        }
        nanosleep(&step, NULL);
    }
}

/* A device, a pipe, or what a link of /proc stands for: it takes the bytes as they come. */
static lk_status open_through(struct lk_writer *w, lk_error *err)
{
    struct stat st;
    w->through = true;
    w->fd = open_patiently(w->path);
    if (w->fd < 0 && errno == ENXIO && is_fifo(w->path)) {
        return lk_fail(err, LK_E_IO,
                       "%s: found a pipe that nobody reads after %d seconds, expected a reader",
                       w->path, READER_WAIT_MS / 1000);
    }
    if (w->fd < 0 || fstat(w->fd, &st) != 0) {
        return cannot(w->path, "opened", err);
    }
    return S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode)
               ? LK_OK
               : refuse(w->path, st.st_mode, err);
}

/* A file without a name in the folder of w's path, which a killed process leaves nothing of; w->fd
 * stays -1 where the file system has none, or a name can't be given to it later. */
static lk_status open_nameless(struct lk_writer *w, mode_t mode, lk_error *err)
{
    char *folder = beside(w->path, "."), proc[64];
    if (!folder) {
        return no_memory(w->path, err);
    }
    w->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
    lk_free(folder);
    if (w->fd < 0) {
        bool none = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT;
        return none ? LK_OK : cannot(w->path, "created", err);
    }
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", w->fd);
    if (access(proc, F_OK) != 0) {
        close(w->fd);
        w->fd = -1;
    }
    return LK_OK;
}

/* Makes PATH.<process>-<n>.part with a number that nobody has: a new file, or a name for fd. */
static bool make_part(struct lk_writer *w, mode_t mode)
{
    size_t n = strlen(w->path);
    char proc[64];
    bool made = false;
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", w->fd);
    for (int i = 0; i < MAX_PARTS && !made && (i == 0 || errno == EEXIST); i++) {
        memcpy(w->part, w->path, n);
        snprintf(w->part + n, PART_NAME, ".%ld-%d.part", (long)getpid(), i);
        if (w->fd < 0) {
            int fd = open(w->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
            made = fd >= 0;
            w->fd = fd;
        } else {
            made = linkat(AT_FDCWD, proc, AT_FDCWD, w->part, AT_SYMLINK_FOLLOW) == 0;
        }
    }
    w->named = made;
    return made;
}

static lk_status open_part(struct lk_writer *w, mode_t old, bool private, lk_error *err)
{
    mode_t mode = private ? 0600 : old ? old & 0777 : 0666;
    if (old && access(w->path, W_OK) != 0) {
        return cannot(w->path, "written", err); /* it is there to stay */
    }
    w->part = lk_alloc(strlen(w->path) + PART_NAME);
    if (!w->part) {
        return no_memory(w->path, err);
    }
    lk_status status = open_nameless(w, mode, err);
    if (status) {
        return status;
    }
    if (w->fd < 0 && !make_part(w, mode)) {
        return cannot(w->path, "created", err);
    }
    if ((private || old) && fchmod(w->fd, mode) != 0) { /* whatever the umask took away */
        return cannot(w->path, "created", err);
    }
    return LK_OK;
}

lk_status lk_writer_open(struct lk_writer *w, const char *path, bool private, lk_error *err)
{
    mode_t mode;
    size_t n = strlen(path);
    *w = (struct lk_writer){.fd = -1};
    if (n == 0 || path[n - 1] == '/') {
        return lk_fail(err, LK_E_IO, "'%s': found no file name, expected one to write", path);
    }
    lk_status status = follow(path, &w->path, &mode, err);
    if (status) {
        return status;
    }
    if (mode == 0 || S_ISREG(mode)) {
        status = open_part(w, mode, private, err);
    } else if (S_ISCHR(mode) || S_ISFIFO(mode) || S_ISLNK(mode)) {
        status = open_through(w, err);
    } else {
        status = refuse(w->path, mode, err);
    }
    if (status) {
        lk_writer_abort(w);
    }
    return status;
}

/* ---- writing ---- */

static void fail(struct lk_writer *w)
{
    w->status = LK_E_IO;
    w->sys_errno = errno;
}

void lk_writer_put(struct lk_writer *w, const void *data, size_t n_bytes)
{
    const uint8_t *p = data;
    while (!w->status && n_bytes > 0) {
        ssize_t n = write(w->fd, p, n_bytes);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd ready = {w->fd, POLLOUT, 0};
            poll(&ready, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            fail(w);
        } else if (n > 0) {
            p += n;
            n_bytes -= (size_t)n;
        }
    }
}

void lk_writer_abort(struct lk_writer *w)
{
    if (w->named) {
        unlink(w->part);
    }
    forget(w);
}

lk_status lk_writer_commit(struct lk_writer *w, lk_error *err)
{
    if (!w->status && !w->through &&
        (fsync(w->fd) != 0 || (!w->named && !make_part(w, 0)) || rename(w->part, w->path) != 0)) {
        fail(w);
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

void lk_remove(const char *path)
{
    unlink(path);
}

lk_status lk_make_dirs(const char *path, lk_error *err)
{
    char part[PATH_MAX];
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
            bool made = mkdir(part, 0700) == 0;
            if (made ? chmod(part, 0700) != 0 : errno != EEXIST) {
                return cannot(part, "created", err);
            }
            part[i] = c;
        }
    }
    return LK_OK;
}
