/* SPDX-License-Identifier: Apache-2.0
 *
 * Replay: runs a fuzz target without libFuzzer over the files of a folder, whole and cut at every
 * 16th byte, then over RUNS mutations of them from a fixed seed.
 * Usage: fuzz_X FOLDER [RUNS]. The last line tells how many inputs ran; 1 when there were no files.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/util/rng.h"

enum { MAX_FILES = 1024, MAX_BYTES = 1 << 20 };

struct input {
    uint8_t *data;
    size_t n;
};

static struct input inputs[MAX_FILES];
static size_t n_inputs;
static uint64_t n_runs;

/* A copy of exactly n bytes, so that a sanitizer sees a read one byte too far. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (copy) {
        memcpy(copy, data, n);
        LLVMFuzzerTestOneInput(copy, n);
        n_runs++;
    }
    free(copy);
}

static int by_bytes(const void *a, const void *b)
{
    const struct input *x = a, *y = b;
    int c = memcmp(x->data, y->data, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static int read_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        return 1;
    }
    for (struct dirent *e; (e = readdir(dir)) && n_inputs < MAX_FILES;) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (f) {
            struct input *in = &inputs[n_inputs++];
            in->data = malloc(MAX_BYTES);
            in->n = in->data ? fread(in->data, 1, MAX_BYTES, f) : 0;
            fclose(f);
        }
    }
    closedir(dir);
    qsort(inputs, n_inputs, sizeof *inputs, by_bytes); /* the same order everywhere */
    return n_inputs == 0;
}

/* One to four changes: a byte, a number out of a list of trouble, a piece moved or cut out. */
static size_t mutate(uint8_t *data, size_t n, struct rng *rng)
{
    static const uint64_t numbers[] = {
        0,          1,        2,          8,          255,        65535,      0x7fffffff,
        0xffffffff, 1u << 16, 1ull << 32, 1ull << 62, 1ull << 63, UINT64_MAX, UINT64_MAX - 31};
    for (uint64_t left = 1 + rng_u64(rng) % 4; left-- && n > 16;) {
        uint64_t r = rng_u64(rng);
        size_t at = (size_t)(rng_u64(rng) % (n - 8)), len = (size_t)(rng_u64(rng) % 16) + 1;
        if (r % 8 < 4) {
            data[at] ^= (uint8_t)(r >> 8);
        } else if (r % 8 < 6) {
            uint64_t v = numbers[(r >> 8) % (sizeof numbers / sizeof *numbers)];
            memcpy(data + at, &v, r >> 32 & 1 ? 8 : 4);
        } else if (at + len < n) {
            memmove(data + at, data + at + len, n - at - len);
            n -= r % 8 == 6 ? len : 0;
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 2 || read_folder(argv[1])) {
        fprintf(stderr, "usage: %s FOLDER-WITH-INPUTS [RUNS]\n", argv[0]);
        return 1;
    }
    uint64_t wanted = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    struct rng rng = {1};
    for (size_t i = 0; i < n_inputs; i++) {
        for (size_t n = inputs[i].n % 16; n <= inputs[i].n; n += 16) {
            run(inputs[i].data, n);
        }
    }
    uint8_t *work = malloc(MAX_BYTES);
    for (uint64_t i = 0; work && i < wanted; i++) {
        const struct input *in = &inputs[rng_u64(&rng) % n_inputs];
        memcpy(work, in->data, in->n);
        run(work, mutate(work, in->n, &rng));
    }
    free(work);
    for (size_t i = 0; i < n_inputs; i++) {
        free(inputs[i].data);
    }
    printf("%llu inputs\n", (unsigned long long)n_runs);
    return 0;
}
