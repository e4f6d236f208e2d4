/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, clock, memory, cores, dynamic libraries: see os.h.
 */
#include "base/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

double lk_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t lk_date_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void lk_sleep_ns(int64_t ns)
{
    struct timespec left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (ns > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

uint64_t lk_physical_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

uint64_t lk_resident_memory(void)
{
    long pages = 0, size = sysconf(_SC_PAGESIZE);
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        pages = fscanf(f, "%*d %ld", &pages) == 1 ? pages : 0;
        fclose(f);
    }
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

enum { HUGE_PAGE = 2 << 20 };

/* Room for the alignment is mapped and given back, so that munmap of [p, p + n) frees all. */
void *lk_pages_alloc(size_t n_bytes)
{
    size_t n = lk_round_up(n_bytes ? n_bytes : 1, 4096);
    size_t extra = n >= HUGE_PAGE ? HUGE_PAGE : 0;
    if (n < n_bytes || n > SIZE_MAX - extra) {
        return NULL;
    }
    uint8_t *p = mmap(NULL, n + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (extra) {
        uint8_t *at = (uint8_t *)lk_round_up((size_t)p, HUGE_PAGE);
        if (at > p) {
            munmap(p, (size_t)(at - p));
        }
        if (at + n < p + n + extra) {
            munmap(at + n, (size_t)(p + n + extra - (at + n)));
        }
        p = at;
        madvise(p, n, MADV_HUGEPAGE);
    }
    return p;
}

void lk_pages_free(void *p, size_t n_bytes)
{
    if (p) {
        munmap(p, lk_round_up(n_bytes ? n_bytes : 1, 4096));
    }
}

/* First integer of a small system file; false when there is none. */
static bool read_number(const char *path, long *out)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return false;
    }
    bool ok = fscanf(f, "%ld", out) == 1;
    fclose(f);
    return ok;
}

int lk_cores(int *cpu, int cap)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        if (cap > 0) {
            cpu[0] = 0;
        }
        return 1;
    }
    /* A logical cpu is its core's first when no sibling with a lower number is allowed to us; the
     * core's number is the lowest of its siblings. */
    int n_cores = 0, n = 0;
    long core_seen[CPU_SETSIZE];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0, seen = 0; i < CPU_SETSIZE; i++) {
            if (!CPU_ISSET(i, &set)) {
                continue;
            }
            char path[128];
            long core = i;
            snprintf(path, sizeof path,
                     "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
            read_number(path, &core);
            bool first = true;
            for (int j = 0; j < seen; j++) {
                first = first && core_seen[j] != core;
            }
            if (first) {
                core_seen[seen++] = core;
            }
            if (first == (pass == 0)) {
                if (n < cap) {
                    cpu[n++] = i;
                }
                n_cores += pass == 0;
            }
        }
    }
    return n_cores > 0 ? n_cores : 1;
}

/* CPUs' worth of time that a cgroup v2 directory grants; 0: no limit there. */
static int limit_of(const char *directory)
{
    char path[4200];
    long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    FILE *f = fopen(path, "re");
    int got = f ? fscanf(f, "%ld %ld", &quota, &period) : 0; /* "max PERIOD": no limit */
    if (f) {
        fclose(f);
    }
    return got == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

/* The tightest limit from our own cgroup up to the root (v2), else that of v1; 0: none. */
static int cgroup_limit(void)
{
    char line[4096], path[4096 + 32];
    int least = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "0::", 3) != 0) {
            continue;
        }
        snprintf(path, sizeof path, "/sys/fs/cgroup%s", line + 3);
        for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
            *end = 0;
            if (strlen(path) < strlen("/sys/fs/cgroup")) {
                break;
            }
            int limit = limit_of(path);
            least = limit > 0 && (least == 0 || limit < least) ? limit : least;
        }
    }
    if (f) {
        fclose(f);
    }
    long quota, period;
    if (least == 0 && read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &quota) &&
        read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period) && quota > 0 && period > 0) {
        least = (int)((quota + period - 1) / period);
    }
    return least;
}

int lk_cpu_quota(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int limit = cgroup_limit();
    n = limit > 0 && limit < n ? limit : n;
    return n > 0 ? n : 1;
}

void lk_cpu_name(char *out, size_t n_bytes)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(out, n_bytes, "CPU");
    while (f && fgets(line, sizeof line, f)) {
        char *name = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && name) {
            name[strcspn(name, "\n")] = 0;
            name += 1 + strspn(name + 1, " ");
            lk_show(out, n_bytes, name, strlen(name));
            break;
        }
    }
    if (f) {
        fclose(f);
    }
}

void *lk_dl_open(const char *const *names)
{
    void *library = NULL;
    for (int i = 0; names[i] && !library; i++) {
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    return library;
}

void *lk_dl_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

void lk_dl_close(void *library)
{
    if (library) {
        dlclose(library);
    }
}
