/* SPDX-License-Identifier: Apache-2.0
 *
 * Os: the only files that talk POSIX: mapped files, whole-file reads and writes, clock, threads,
 * cores, dynamic libraries. Knows no format and no model.
 */
#ifndef LK_OS_H
#define LK_OS_H

#include "base/base.h"

/* ---- files ---- */

/* Tells a file from other files, and from itself before it was written to. */
struct lk_stamp {
    uint64_t device, inode, n_bytes;
    int64_t modified_ns; /* of the content; programs can set it */
    int64_t changed_ns;  /* of anything about it, by the system's clock */
};
/* Of the file that `path` names now; false when none can be looked at. */
bool lk_stamp_of(const char *path, struct lk_stamp *out);

struct lk_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t n_bytes;
    struct lk_stamp stamp; /* when it was mapped */
};
/* Maps a regular file read-only. Errors name the path and the system's reason. */
lk_status lk_map_open(const char *path, struct lk_map *out, lk_error *err);
void lk_map_close(struct lk_map *map); /* takes an all-zero map */
/* Tells the system that a range of the mapping will be read soon / is not needed any more (its
 * pages may be dropped; the data stays readable). Advice only. */
void lk_map_will_need(const struct lk_map *map, size_t offset, size_t n_bytes);
void lk_map_drop(const void *data, size_t n_bytes);

/* A file written whole or not at all: data goes to a file without a name (or to a new
 * PATH.<process>-<n>.part where the file system has none), commit renames it over PATH. A link is
 * followed first. What is neither a file nor absent is written through (a pipe, a character device,
 * an open file that a link of /proc stands for) or refused. */
struct lk_writer {
    char *path, *part; /* path: behind all links */
    int fd;
    bool named;       /* part is there */
    bool through;     /* no part: fd is what path names */
    lk_status status; /* first failure; later writes do nothing */
    int sys_errno;
};
/* private: for the user's eyes, mode 0600 whatever the umask; else what the umask leaves of 0666,
 * or the mode of the file that is replaced. */
lk_status lk_writer_open(struct lk_writer *w, const char *path, bool private, lk_error *err);
void lk_writer_put(struct lk_writer *w, const void *data, size_t n_bytes);
lk_status lk_writer_commit(struct lk_writer *w, lk_error *err); /* closes w either way */
void lk_writer_abort(struct lk_writer *w);                      /* closes and removes the part */
/* mkdir -p; what is made has mode 0700 whatever the umask. */
lk_status lk_make_dirs(const char *path, lk_error *err);

/* Calls fn for each entry of a folder but those whose names begin with a dot, in no order; false
 * ends it. LK_E_IO with the system's reason. */
lk_status lk_each_entry(const char *path, bool (*fn)(void *user, const char *name), void *user,
                        lk_error *err);

void lk_remove(const char *path); /* a file; nothing where there is none */

/* SHA-256 of the path that is left when links and "..", and where it begins, are resolved; of the
 * path as it is where that can't be done. */
void lk_path_sha256(const char *path, uint8_t out[32]);

/* The public lk_output. */
struct lk_output {
    struct lk_writer w;
};

/* ---- clock ---- */
double lk_now(void);          /* seconds, monotonic */
int64_t lk_date_ns(void);     /* nanoseconds since 1970, as stamps of files have them */
void lk_sleep_ns(int64_t ns); /* at least so long; 0 or less: not at all */

/* ---- memory ---- */
uint64_t lk_physical_memory(void); /* bytes */
uint64_t lk_resident_memory(void); /* bytes of this process that are in memory; 0: not known */
/* Anonymous zero pages from the system, aligned to at least 4096 (2 MiB where n_bytes >= 2 MiB,
 * with transparent huge pages asked for). NULL when there are none. */
void *lk_pages_alloc(size_t n_bytes);
void lk_pages_free(void *p, size_t n_bytes);

/* ---- threads ---- */
struct lk_thread; /* opaque */
lk_status lk_thread_start(struct lk_thread **out, void (*fn)(void *), void *arg, lk_error *err);
void lk_thread_join(struct lk_thread **thread); /* takes NULL in *thread */
lk_status lk_thread_pin(int cpu);               /* the calling thread to one logical cpu */
void lk_thread_yield(void);
/* Sleep while *word == value (may wake early); wake up to n sleepers. */
struct lk_mutex;                     /* opaque, heap */
struct lk_mutex *lk_mutex_new(void); /* NULL: no memory */
void lk_mutex_free(struct lk_mutex *m);
void lk_mutex_lock(struct lk_mutex *m);
void lk_mutex_unlock(struct lk_mutex *m);
void lk_futex_wait(const uint32_t *word, uint32_t value);
void lk_futex_wake(const uint32_t *word, int n);

/* Logical cpus we may use, one per physical core first: fills cpu[0..cap) and returns the number
 * of physical cores in our affinity mask, at least 1. */
int lk_cores(int *cpu, int cap);
/* CPUs' worth of time that affinity mask and cgroup quota allow, at least 1. */
int lk_cpu_quota(void);

/* The CPU's name as the system gives it, or "CPU". */
void lk_cpu_name(char *out, size_t n_bytes);

/* ---- dynamic libraries ---- */
void *lk_dl_open(const char *const *names); /* first that opens of a NULL-ended list, else NULL */
void *lk_dl_symbol(void *library, const char *name);
void lk_dl_close(void *library);

#endif
