/* SPDX-License-Identifier: Apache-2.0
 *
 * Decorate: a build tool. Reads a SPIR-V module, adds NoContraction to every float add, subtract,
 * multiply, negate and Fma that lacks it (glslang leaves some bare; drivers may then fuse or
 * reassociate), and writes the module as the definition of a C object: its bytes as a string, which
 * compiles four times as fast as a list of numbers. With "--check" it writes nothing and fails
 * naming the first bare operation. Knows no shader.
 *
 *     decorate IN.spv OUT.inc NAME        decorate --check IN.spv...
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shaders/spirv_lint.h"

static uint32_t *read_words(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        return NULL;
    }
    uint32_t *words = NULL;
    size_t used = 0, cap = 0;
    for (;;) {
        if (used == cap) {
            cap = cap ? 2 * cap : 16384;
            uint32_t *more = realloc(words, cap * sizeof *words);
            if (!more) {
                free(words);
                fclose(f);
                return NULL;
            }
            words = more;
        }
        size_t got = fread(words + used, sizeof *words, cap - used, f);
        used += got;
        if (got == 0) {
            break;
        }
    }
    fclose(f);
    *n = used;
    return words;
}

/* Whole words, in octal where a character is none that stands for itself in a string. */
static void write_words(FILE *f, const uint32_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char *bytes = (const unsigned char *)&words[i];
        fputs(i % 16 == 0 ? "\"\n\"" : "", f);
        for (size_t b = 0; b < sizeof words[i]; b++) {
            bool plain = bytes[b] > ' ' && bytes[b] < 127 && !strchr("\"\\?0123456789", bytes[b]);
            fprintf(f, plain ? "%c" : "\\%o", bytes[b]);
        }
    }
}

/* Writes a module with decorations for the n_bare ids of `bare` put before the first type or
 * function. */
static bool write_inc(const char *path, const char *name, const uint32_t *words, size_t n,
                      const bool *bare, int n_bare)
{
    FILE *f = fopen(path, "w");
    if (!f) {
        return false;
    }
    size_t at = lk_spirv_decorations_end(words, n), all = n + 3 * (size_t)n_bare;
    fprintf(f, "static const union {\n    char bytes[%zu];\n    uint32_t words[%zu];\n} %s = {\"",
            4 * all + 1, all, name);
    write_words(f, words, at);
    for (uint32_t id = 0; id < words[3]; id++) {
        const uint32_t decoration[] = {3u << 16 | LK_SPIRV_OP_DECORATE, id,
                                       LK_SPIRV_NO_CONTRACTION};
        write_words(f, decoration, bare[id] ? 3 : 0);
    }
    write_words(f, words + at, n - at);
    fputs("\"};\n", f);
    return fclose(f) == 0;
}

int main(int argc, char **argv)
{
    bool check = argc > 2 && strcmp(argv[1], "--check") == 0;
    if (argc < 3 || (!check && argc != 4)) {
        fprintf(stderr, "usage: decorate IN.spv OUT.inc NAME | decorate --check IN.spv...\n");
        return 2;
    }
    for (int i = check ? 2 : 1; i < (check ? argc : 2); i++) {
        size_t n = 0;
        uint32_t *words = read_words(argv[i], &n);
        if (!words || n < 5 || words[0] != LK_SPIRV_MAGIC) {
            fprintf(stderr, "decorate: %s: not a SPIR-V module\n", argv[i]);
            free(words);
            return 1;
        }
        bool *bare = calloc(words[3], sizeof *bare);
        int n_bare = bare ? lk_spirv_bare(words, n, bare) : -1;
        bool ok = n_bare >= 0;
        if (!ok) {
            fprintf(stderr, "decorate: %s: broken SPIR-V\n", argv[i]);
        } else if (check && n_bare > 0) {
            fprintf(stderr, "decorate: %s: %d float operations without NoContraction\n", argv[i],
                    n_bare);
            ok = false;
        } else if (!check && !write_inc(argv[2], argv[3], words, n, bare, n_bare)) {
            fprintf(stderr, "decorate: %s: cannot write\n", argv[2]);
            ok = false;
        }
        free(bare);
        free(words);
        if (!ok) {
            return 1;
        }
    }
    return 0;
}
