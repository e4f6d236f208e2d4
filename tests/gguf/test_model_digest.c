/* SPDX-License-Identifier: Apache-2.0
 *
 * Model digest: it is what lockstep.h says, follows every bit of every tensor and nothing else, and
 * a kept one is taken only for a file that is for sure what it was.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/kept.h"
#include "gguf/gguf.h"
#include "tests/util/gguf_build.h"

enum { KEPT_VERSION = 1, SETTLE_MS = 2200 };

/* A folder with m.gguf, and a cache folder that is not there yet. */
static char dir[32], path[64], cache[64];

static void start(void)
{
    strcpy(dir, "/tmp/lk-test-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    snprintf(cache, sizeof cache, "%s/cache", dir);
}

static void stop(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

/* A norm, a matrix and a vector that are not in the order of their names, at any alignment. */
static const struct {
    const char *name;
    enum lk_type type;
    uint32_t n_dims;
    uint64_t ne[4], n_bytes;
} TENSORS[] = {
    {"output_norm.weight", LK_TYPE_F32, 1, {33, 1, 1, 1}, 132},
    {"blk.0.attn_q.weight", LK_TYPE_Q8_0, 2, {64, 3, 1, 1}, 204},
    {"blk.0.attn_q.bias", LK_TYPE_F16, 1, {5, 1, 1, 1}, 10},
};
enum { N_TENSORS = 3 };

struct place {
    size_t from[N_TENSORS], to[N_TENSORS];
};

static struct place build(struct gguf_build *b, size_t align)
{
    struct place p;
    gb_start(b, 3);
    gb_key_str(b, "general.architecture", "llama");
    gb_key_u32(b, "general.alignment", (uint32_t)align);
    size_t at = 0;
    for (int i = 0; i < N_TENSORS; i++) {
        gb_tensor(b, TENSORS[i].name, TENSORS[i].n_dims, TENSORS[i].ne, TENSORS[i].type, at);
        at += (TENSORS[i].n_bytes + align - 1) / align * align;
    }
    for (int i = 0; i < N_TENSORS; i++) {
        gb_align(b, align);
        p.from[i] = b->n;
        for (uint64_t k = 0; k < TENSORS[i].n_bytes; k++) {
            gb_fill(b, (int)(k * 7 + (uint64_t)i), 1);
        }
        p.to[i] = b->n;
    }
    return p;
}

struct digest {
    uint8_t byte[32];
};

static struct digest digest_at(const char *file, const char *cache_dir)
{
    lk_model *m;
    lk_error err;
    struct digest d = {{0}}, again;
    cr_assert_eq(lk_model_open(file, &m, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_model_digest(m, cache_dir, d.byte, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_model_digest(m, NULL, again.byte, &err), LK_OK, "%s", err.message);
    cr_assert_arr_eq(d.byte, again.byte, 32);
    lk_model_close(&m);
    return d;
}

static struct digest digest_of(const struct gguf_build *b)
{
    gb_save(b, path);
    return digest_at(path, NULL);
}

static bool same(struct digest a, struct digest b)
{
    return memcmp(a.byte, b.byte, 32) == 0;
}

static void le(lk_sha256 *h, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(v >> (8 * i));
        lk_sha256_bytes(h, &byte, 1);
    }
}

Test(model_digest, the_definition, .init = start, .fini = stop)
{
    static const int RISING[] = {2, 1, 0};
    struct gguf_build b;
    struct place p = build(&b, 32);
    struct digest want;
    lk_sha256 h, data;
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, "lockstep weights 1", 18);
    for (int r = 0; r < N_TENSORS; r++) {
        int i = RISING[r];
        uint8_t own[32];
        le(&h, strlen(TENSORS[i].name), 8);
        lk_sha256_bytes(&h, TENSORS[i].name, strlen(TENSORS[i].name));
        le(&h, TENSORS[i].type, 4);
        for (int d = 0; d < 4; d++) {
            le(&h, TENSORS[i].ne[d], 8);
        }
        lk_sha256_init(&data);
        lk_sha256_bytes(&data, b.data + p.from[i], p.to[i] - p.from[i]);
        lk_sha256_final(&data, own);
        lk_sha256_bytes(&h, own, 32);
    }
    lk_sha256_final(&h, want.byte);
    cr_assert(same(digest_of(&b), want));
    gb_free(&b);
}

Test(model_digest, every_bit_of_every_tensor_and_nothing_else, .init = start, .fini = stop)
{
    struct gguf_build b;
    struct place p = build(&b, 64);
    struct digest whole = digest_of(&b);
    for (int i = 0; i < N_TENSORS; i++) {
        for (size_t at = p.from[i]; at < p.to[i]; at++) {
            b.data[at] ^= (uint8_t)(1 << at % 8);
            cr_assert_not(same(digest_of(&b), whole), "%s, byte %zu", TENSORS[i].name,
                          at - p.from[i]);
            b.data[at] ^= (uint8_t)(1 << at % 8);
        }
    }
    for (size_t at = p.to[0]; at < p.from[1]; at++) { /* between tensors */
        b.data[at] ^= 1;
        cr_assert(same(digest_of(&b), whole));
    }
    char *arch = memmem(b.data, b.n, "llama", 5);
    cr_assert_not_null(arch);
    memcpy(arch, "lemma", 5); /* metadata */
    cr_assert(same(digest_of(&b), whole));
    gb_fill(&b, 0, 100); /* behind the last tensor */
    cr_assert(same(digest_of(&b), whole));
    char *name = memmem(b.data, b.n, "attn_q.bias", 11);
    cr_assert_not_null(name);
    name[5] = 'k';
    cr_assert_not(same(digest_of(&b), whole));
    gb_free(&b);
    build(&b, 32);
    cr_assert(same(digest_of(&b), whole), "of another alignment");
    gb_free(&b);
}

Test(model_digest, a_split_file_has_that_of_the_whole)
{
    struct digest whole = digest_at(LK_TEST_DIR "/golden/small.gguf", NULL);
    cr_assert(same(digest_at(LK_TEST_DIR "/golden/small-00001-of-00003.gguf", NULL), whole));
}

/* ---- keeping ---- */

static void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* The path of what is kept of a file; "" when nothing is. */
static const char *kept_path(const char *file)
{
    static char text[128];
    uint8_t name[32];
    lk_path_sha256(file, name);
    int n = snprintf(text, sizeof text, "%s/weights-", cache);
    for (int i = 0; i < 8; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n, "%02x", name[i]);
    }
    return access(text, F_OK) == 0 ? text : "";
}

/* Replaces the digest in what is kept by `wrong`, so that it shows whether it is taken. */
static struct digest poison(const char *file)
{
    struct digest wrong;
    struct lk_kept k;
    uint8_t data[4096];
    cr_assert_eq(lk_kept_open(&k, kept_path(file), "weights", KEPT_VERSION), LK_KEPT_WHOLE);
    size_t n = k.n_bytes;
    cr_assert(n > 32 && n <= sizeof data);
    memcpy(data, k.data, n);
    lk_kept_close(&k);
    memset(wrong.byte, 0x5a, 32);
    memcpy(data + n - 32, wrong.byte, 32);
    cr_assert_eq(lk_kept_write(kept_path(file), "weights", KEPT_VERSION, data, n, NULL), LK_OK);
    return wrong;
}

Test(model_digest, kept_while_the_file_is_what_it_was, .init = start, .fini = stop, .timeout = 60)
{
    char copy[64], moved[64], link_path[64], split[3][96];
    struct gguf_build b;
    struct place p = build(&b, 32);
    gb_save(&b, path);
    struct digest whole = digest_at(path, cache);
    cr_assert_str_empty(kept_path(path), "of a file that was just written");

    snprintf(copy, sizeof copy, "%s/copy.gguf", dir);
    snprintf(moved, sizeof moved, "%s/moved.gguf", dir);
    snprintf(link_path, sizeof link_path, "%s/link.gguf", dir);
    cr_assert_eq(symlink("m.gguf", link_path), 0);
    gb_save(&b, copy);
    for (int i = 0; i < 3; i++) {
        char command[256];
        snprintf(split[i], sizeof split[i], "%s/s-%05d-of-00003.gguf", dir, i + 1);
        snprintf(command, sizeof command, "cp %s/golden/small-%05d-of-00003.gguf %s", LK_TEST_DIR,
                 i + 1, split[i]);
        cr_assert_eq(system(command), 0);
    }
    sleep_ms(SETTLE_MS);
    cr_assert(same(digest_at(path, cache), whole));
    cr_assert(same(digest_at(copy, cache), whole));
    struct digest of_split = digest_at(split[0], cache);
    struct digest wrong = poison(path);
    cr_assert(same(digest_at(path, cache), wrong), "what is kept is taken");
    cr_assert(same(digest_at(link_path, cache), wrong), "by a link too");
    cr_assert(same(digest_at(path, NULL), whole), "but not without the folder");

    /* A damaged one is made again. */
    FILE *f = fopen(kept_path(path), "r+b");
    cr_assert(f && fseek(f, -1, SEEK_END) == 0 && fputc(0, f) == 0 && fclose(f) == 0);
    cr_assert(same(digest_at(path, cache), whole));
    cr_assert_eq(truncate(kept_path(path), 20), 0);
    cr_assert(same(digest_at(path, cache), whole));
    poison(path);
    cr_assert(same(digest_at(path, cache), wrong));

    /* Touched, made read-only, moved: of doubt it is computed. */
    cr_assert_eq(utimensat(AT_FDCWD, path, NULL, 0), 0);
    cr_assert(same(digest_at(path, cache), whole), "touched");
    poison(copy);
    cr_assert_eq(chmod(copy, 0400), 0);
    cr_assert(same(digest_at(copy, cache), whole), "made read-only");
    cr_assert_eq(rename(copy, moved), 0);
    cr_assert(same(digest_at(moved, cache), whole), "renamed");

    /* Changed in place, with its size and its time of modification set back. */
    sleep_ms(SETTLE_MS);
    cr_assert(same(digest_at(path, cache), whole));
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    int fd = open(path, O_WRONLY);
    uint8_t byte = b.data[p.to[2] - 1] ^ 1;
    cr_assert(fd >= 0 && pwrite(fd, &byte, 1, (off_t)p.to[2] - 1) == 1);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    cr_assert(futimens(fd, times) == 0 && close(fd) == 0);
    cr_assert_not(same(digest_at(path, cache), whole), "changed in place");

    /* A split file: the last part counts too. */
    cr_assert(same(digest_at(split[0], cache), of_split));
    wrong = poison(split[0]);
    cr_assert(same(digest_at(split[0], cache), wrong));
    fd = open(split[2], O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0 && pread(fd, &byte, 1, st.st_size - 1) == 1);
    byte ^= 1;
    cr_assert(pwrite(fd, &byte, 1, st.st_size - 1) == 1 && close(fd) == 0);
    struct digest changed = digest_at(split[0], cache);
    cr_assert(!same(changed, wrong) && !same(changed, of_split));
    gb_free(&b);
}

Test(model_digest, a_cache_that_cant_be_written, .init = start, .fini = stop, .timeout = 30)
{
    char bad[2][8192];
    struct gguf_build b;
    build(&b, 32);
    struct digest whole = digest_of(&b);
    sleep_ms(SETTLE_MS);
    snprintf(bad[0], sizeof bad[0], "%s/below-a-file", path);
    memset(bad[1], 'x', sizeof bad[1] - 1);
    bad[1][sizeof bad[1] - 1] = 0;
    for (int i = 0; i < 2; i++) {
        cr_assert(same(digest_at(path, bad[i]), whole));
    }
    cr_assert_eq(mkdir(cache, 0700), 0);
    digest_at(path, cache);
    char taken[128];
    snprintf(taken, sizeof taken, "%s", kept_path(path));
    cr_assert(unlink(taken) == 0 && mkdir(taken, 0700) == 0, "a folder has its place");
    cr_assert(same(digest_at(path, cache), whole));
    gb_free(&b);
}

/* ---- files that change while the model is open ---- */

Test(model_digest, a_file_that_changed_since_it_was_opened, .init = start, .fini = stop,
     .timeout = 30)
{
    struct gguf_build b;
    lk_model *m;
    lk_error err;
    struct digest d;
    struct place p = build(&b, 32);
    struct digest whole = digest_of(&b);
    sleep_ms(SETTLE_MS);
    for (int shorter = 0; shorter < 2; shorter++) {
        cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
        if (shorter) {
            cr_assert_eq(truncate(path, (off_t)p.from[1]), 0);
        } else {
            int fd = open(path, O_WRONLY);
            cr_assert(fd >= 0 && pwrite(fd, "x", 1, (off_t)p.from[0]) == 1 && close(fd) == 0);
        }
        cr_assert_eq(lk_model_digest(m, cache, d.byte, &err), LK_E_IO);
        cr_assert(strstr(err.message, path) && strstr(err.message, "changed since"), "%s",
                  err.message);
        lk_model_close(&m);
        cr_assert_str_empty(kept_path(path));
    }
    /* Replaced by another file, or removed: what is mapped is whole, and is not kept. */
    for (int removed = 0; removed < 2; removed++) {
        char other[64];
        gb_save(&b, path);
        sleep_ms(SETTLE_MS);
        cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
        snprintf(other, sizeof other, "%s/other.gguf", dir);
        b.data[p.from[0]] ^= 1;
        gb_save(&b, other);
        b.data[p.from[0]] ^= 1;
        cr_assert_eq(removed ? unlink(path) : rename(other, path), 0);
        cr_assert_eq(lk_model_digest(m, cache, d.byte, &err), LK_OK, "%s", err.message);
        cr_assert(same(d, whole));
        lk_model_close(&m);
        cr_assert_str_empty(kept_path(path));
    }
    gb_free(&b);
}

/* ---- threads ---- */

static void *ask(void *arg)
{
    static _Thread_local struct digest d;
    lk_error err;
    return lk_model_digest(arg, NULL, d.byte, &err) ? NULL : memcpy(malloc(32), d.byte, 32);
}

/* Enough for several threads, in tensors of unlike sizes; and several callers at once. */
Test(model_digest, threads_change_nothing, .init = start, .fini = stop, .timeout = 60)
{
    enum { N = 4, UNIT = 5 << 20 };
    struct gguf_build b;
    gb_start(&b, 3);
    uint64_t at = 0;
    for (int i = 0; i < N; i++) {
        char name[8];
        const uint64_t ne[1] = {(uint64_t)(UNIT / 4 * (i + 1)) + (uint64_t)i};
        snprintf(name, sizeof name, "t%d", i);
        gb_tensor(&b, name, 1, ne, LK_TYPE_F32, at);
        at += (ne[0] * 4 + 31) / 32 * 32;
    }
    gb_align(&b, 32);
    size_t from = b.n;
    gb_fill(&b, 0, at);
    for (size_t i = from; i < b.n; i++) {
        b.data[i] = (uint8_t)(i * 131 >> 3);
    }
    gb_save(&b, path);
    lk_sha256 h;
    struct digest want;
    lk_model *m;
    lk_error err;
    cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, "lockstep weights 1", 18);
    for (size_t i = 0; i < N; i++) {
        lk_tensor_info t;
        lk_sha256 data;
        lk_model_tensor(m, i, &t);
        le(&h, 2, 8);
        lk_sha256_bytes(&h, t.name, t.name_len);
        le(&h, LK_TYPE_F32, 4);
        for (int d = 0; d < 4; d++) {
            le(&h, t.dims[d], 8);
        }
        uint8_t own[32];
        lk_sha256_init(&data);
        lk_sha256_bytes(&data, b.data + t.file_offset, t.n_bytes);
        lk_sha256_final(&data, own);
        lk_sha256_bytes(&h, own, 32);
    }
    lk_sha256_final(&h, want.byte);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, ask, m), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *got;
        cr_assert_eq(pthread_join(threads[i], &got), 0);
        cr_assert(got && memcmp(got, want.byte, 32) == 0);
        free(got);
    }
    lk_model_close(&m);
    gb_free(&b);
}

Test(model_digest, a_type_of_unknown_size_has_none, .init = start, .fini = stop)
{
    static const uint64_t ne[1] = {32};
    struct gguf_build b;
    lk_model *m;
    lk_error err;
    struct digest d;
    gb_start(&b, 3);
    gb_tensor(&b, "odd\x1b", 1, ne, 999, 0);
    gb_align(&b, 32);
    gb_fill(&b, 0, 32);
    gb_save(&b, path);
    cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_model_digest(m, NULL, d.byte, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "'odd\\x1b': type 999"), "%s", err.message);
    lk_model_close(&m);
    gb_free(&b);
}
