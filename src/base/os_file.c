/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, mapped files: see os.h. Knows no format.
 */
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct lk_stamp stamp_of(const struct stat *st)
{
    return (struct lk_stamp){.device = st->st_dev,
                             .inode = st->st_ino,
                             .n_bytes = (uint64_t)st->st_size,
                             .modified_ns = nanoseconds(st->st_mtim),
                             .changed_ns = nanoseconds(st->st_ctim)};
}

bool lk_stamp_of(const char *path, struct lk_stamp *out)
{
    struct stat st;
    bool is = stat(path, &st) == 0;
    *out = is ? stamp_of(&st) : (struct lk_stamp){0};
    return is;
}

void lk_path_sha256(const char *path, uint8_t out[32])
{
    char real[PATH_MAX];
    lk_sha256 h;
    const char *text = realpath(path, real) ? real : path;
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, text, strlen(text));
    lk_sha256_final(&h, out);
}

lk_status lk_map_open(const char *path, struct lk_map *out, lk_error *err)
{
    *out = (struct lk_map){0};
    /* O_NONBLOCK: a FIFO must not hang; it is refused below. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return lk_fail(err, LK_E_IO, "%s: can't be opened: %s", path, strerror(errno));
    }
    lk_status status = LK_OK;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        status = lk_fail(err, LK_E_IO, "%s: can't be examined: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = lk_fail(err, LK_E_IO, "%s: found %s, expected a regular file", path,
                         S_ISDIR(st.st_mode) ? "a directory" : "a special file");
    } else if ((uintmax_t)st.st_size > SIZE_MAX) {
        status = lk_fail(err, LK_E_IO, "%s: found %ju bytes, more than can be mapped", path,
                         (uintmax_t)st.st_size);
    } else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = lk_fail(err, errno == ENOMEM ? LK_E_NOMEM : LK_E_IO, "%s: can't be mapped: %s",
                             path, strerror(errno));
        } else {
            out->data = data;
            out->n_bytes = (size_t)st.st_size;
        }
    }
    if (!status) {
        out->stamp = stamp_of(&st);
    }
    close(fd); /* the mapping stays */
    return status;
}

void lk_map_close(struct lk_map *map)
{
    if (map->data) {
        munmap((void *)(uintptr_t)map->data, map->n_bytes);
    }
    *map = (struct lk_map){0};
}

/* madvise over the pages that lie inside [p, p + n): partial pages at the ends are left out when
 * `inner`, taken in otherwise. */
static void advise(const void *p, size_t n, bool inner, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)p, to = from + n;
    from = (inner ? from + page - 1 : from) & ~(page - 1);
    to = (inner ? to : to + page - 1) & ~(page - 1);
    if (from < to) {
        madvise((void *)from, to - from, advice);
    }
}

void lk_map_will_need(const struct lk_map *map, size_t offset, size_t n_bytes)
{
    if (map->data && offset <= map->n_bytes && n_bytes <= map->n_bytes - offset) {
        advise(map->data + offset, n_bytes, false, MADV_WILLNEED);
    }
}

void lk_map_drop(const void *data, size_t n_bytes)
{
    advise(data, n_bytes, true, MADV_DONTNEED);
}

/* ---- folders ---- */

lk_status lk_each_entry(const char *path, bool (*fn)(void *user, const char *name), void *user,
                        lk_error *err)
{
    DIR *dir = opendir(path);
    if (!dir) {
        return lk_fail(err, LK_E_IO, "%s: %s", path, strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.' && !fn(user, entry->d_name)) {
            break;
        }
    }
    closedir(dir);
    return LK_OK;
}
