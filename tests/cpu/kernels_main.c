/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels_main: every entry of every kernel table that this machine can run, against the contract
 * in plain C, by bits. `test_kernels [SEED] [PART/PARTS] [LEVEL...]`: all levels unless some are
 * named; a named one that the machine lacks is a failure. With 2/3 each third case of matmuls runs.
 * The seed of a run is printed. Its closing line has the form of Criterion's, so that one script
 * counts all groups.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cpu/kernels.h"

enum { PAGE = 4096 };

struct edge edge_new(size_t n_bytes, size_t align)
{
    struct edge e = {.n_bytes = (n_bytes + align - 1) & ~(align - 1)};
    size_t body = (e.n_bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    e.mapped = body + 2 * PAGE;
    e.pages = mmap(NULL, e.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (e.pages == MAP_FAILED ||
        (body > 0 && mprotect(e.pages + PAGE, body, PROT_READ | PROT_WRITE) != 0)) {
        perror("mmap");
        exit(2);
    }
    memset(e.pages + PAGE, 0xA5, body);
    e.data = e.pages + PAGE + body - e.n_bytes;
    return e;
}

void edge_free(struct edge *e)
{
    munmap(e->pages, e->mapped);
}

void report_begin(struct report *r, const char *level, const char *what, const char *detail)
{
    snprintf(r->test, sizeof r->test, "%s %s %s", level, what, detail);
    r->failed = false;
    r->tested++;
}

void report_fail(struct report *r, const char *format, ...)
{
    if (!r->failed) {
        va_list args;
        va_start(args, format);
        printf("[FAIL] %s: ", r->test);
        vprintf(format, args);
        printf(" (seed %llu)\n", (unsigned long long)r->seed);
        fflush(stdout);
        va_end(args);
    }
    r->failed = true;
}

bool report_skips(struct report *r)
{
    return r->at++ % r->parts != r->part % r->parts;
}

void report_end(struct report *r)
{
    r->failing += r->failed;
}

bool same_floats(struct report *r, const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &want[i], sizeof *got) != 0) {
            report_fail(r, "%s: [%zu] of %zu is %a, the contract's is %a", what, i, n,
                        (double)got[i], (double)want[i]);
            return false;
        }
    }
    return true;
}

bool same_bytes(struct report *r, const char *what, const void *got, const void *want, size_t n)
{
    const uint8_t *a = got, *b = want;
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) {
            report_fail(r, "%s: byte %zu of %zu is %02x, expected %02x", what, i, n, a[i], b[i]);
            return false;
        }
    }
    return true;
}

/* LK_CPU_LEVELS: none has the name. */
static int level_of_name(const char *name)
{
    int i = 0;
    while (i < LK_CPU_LEVELS && strcmp(name, lk_cpu_level_name((enum lk_cpu_level)i)) != 0) {
        i++;
    }
    return i;
}

int main(int argc, char **argv)
{
    struct report r = {.seed = 20260101, .parts = 1};
    bool asked[LK_CPU_LEVELS] = {false}, any_asked = false;
    for (int a = 1; a < argc; a++) {
        char *end;
        uint64_t seed = strtoull(argv[a], &end, 0);
        int level = level_of_name(argv[a]);
        if (*end == 0) {
            r.seed = seed;
        } else if (sscanf(argv[a], "%u/%u", &r.part, &r.parts) == 2 && r.parts > 0) {
            continue;
        } else if (level < LK_CPU_LEVELS) {
            asked[level] = any_asked = true;
        } else {
            fprintf(stderr, "test_kernels: '%s' is neither a seed, a part nor a level\n", argv[a]);
            return 2;
        }
    }
    printf("seed %llu\n", (unsigned long long)r.seed);
    for (int i = 0; i < LK_CPU_LEVELS; i++) {
        enum lk_cpu_level level = (enum lk_cpu_level)i;
        const char *why;
        if (any_asked && !asked[i]) {
            continue;
        }
        if (lk_cpu_has(level, &why) != LK_CPU_HAS) {
            printf("not run: %s (%s)\n", lk_cpu_level_name(level), why);
            if (asked[i]) {
                report_begin(&r, lk_cpu_level_name(level), "level", "");
                report_fail(&r, "%s", why);
                report_end(&r);
            }
            continue;
        }
        int before = r.tested;
        test_matmul(&r, level);
        test_vec(&r, level);
        test_attention(&r, level);
        printf("ran: %s, %d tests\n", lk_cpu_level_name(level), r.tested - before);
        fflush(stdout);
    }
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0\n", r.tested,
           r.tested - r.failing, r.failing);
    return r.failing != 0;
}
