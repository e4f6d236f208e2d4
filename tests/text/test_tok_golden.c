/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok golden: ids that Hugging Face `tokenizers` and `sentencepiece` give for many scripts, white
 * space, digits, control characters (tests/golden/make_tok.py), with small vocabularies and, where
 * LK_MODELS names a directory that has them, with real ones.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "gguf/model_file.h"
#include "tests/util/tok_build.h"

#define GOLDEN(name) LK_TEST_DIR "/golden/" name

struct vocabulary {
    const char *name;
    unsigned flags;
    struct tok_test x;
    size_t n_texts;
};

/* The same file with another pre-tokenizer. */
static void open_with_pre(struct tok_test *x, const char *path, const char *pre)
{
    struct lk_gguf *g;
    lk_error err;
    memset(x, 0, sizeof *x);
    cr_assert_eq(lk_gguf_open(path, &g, &err), LK_OK, "%s", err.message);
    gb_start(&x->b, 3);
    for (size_t i = 0; i < lk_gguf_n_values(g); i++) {
        const struct lk_gguf_value *v = lk_gguf_value_at(g, i);
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)v->key.len, v->key.ptr);
        if (strcmp(key, "tokenizer.ggml.pre") == 0) {
            gb_key_str(&x->b, key, pre);
        } else if (v->type == LK_GGUF_ARRAY) {
            gb_array(&x->b, key, v->elem, v->count);
            gb_bytes(&x->b, v->data, v->n_bytes);
        } else {
            gb_key(&x->b, key, v->type);
            gb_bytes(&x->b, v->data, v->n_bytes);
        }
    }
    lk_gguf_close(&g);
    cr_assert_eq(lk_gguf_open_memory(x->b.data, x->b.n, &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_model_of_gguf(g, &x->model, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_tokenizer_open(x->model, &x->tok, &err), LK_OK, "%s", err.message);
}

static void open_file(struct tok_test *x, const char *path)
{
    lk_error err;
    memset(x, 0, sizeof *x);
    cr_assert_eq(lk_model_open(path, &x->model, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_tokenizer_open(x->model, &x->tok, &err), LK_OK, "%s", err.message);
}

static size_t read_hex(const char *hex, char *out)
{
    size_t n = 0;
    for (unsigned byte; *hex != '-' && sscanf(hex, "%2x", &byte) == 1; hex += 2) {
        out[n++] = (char)byte;
    }
    return n;
}

/* Compares every line of the golden file; each vocabulary must be named for each text. */
static void compare(const char *path, struct vocabulary *v, size_t n_vocabularies)
{
    static char line[1 << 16], text[1 << 14];
    size_t len = 0, n_texts = 0;
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *ids = strchr(line, ' ');
        if (line[0] == '#') {
            continue;
        }
        ids = ids ? ids : line + strlen(line);
        if (strncmp(line, "text ", 5) == 0) {
            len = read_hex(ids + 1, text);
            n_texts++;
            continue;
        }
        for (size_t i = 0; i < n_vocabularies; i++) {
            size_t name = strlen(v[i].name);
            if ((size_t)(ids - line) == name && strncmp(line, v[i].name, name) == 0) {
                const char *want = *ids ? ids + 1 : ids;
                const char *got = tok_ids(v[i].x.tok, text, len, v[i].flags);
                cr_expect_str_eq(got, want, "%s: '%.*s': %s, expected %s", v[i].name, (int)len,
                                 text, got, want);
                v[i].n_texts++;
            }
        }
    }
    fclose(f);
    cr_assert(n_texts >= 100, "%zu texts", n_texts);
    for (size_t i = 0; i < n_vocabularies; i++) {
        cr_assert_eq(v[i].n_texts, n_texts, "%s: %zu of %zu texts", v[i].name, v[i].n_texts,
                     n_texts);
    }
}

Test(tok_golden, byte_level_bpe_with_each_pre_tokenizer)
{
    struct vocabulary v[] = {
        {.name = "gpt-2"},       {.name = "smollm"},       {.name = "starcoder"},
        {.name = "refact"},      {.name = "command-r"},    {.name = "llama-bpe"},
        {.name = "qwen2"},       {.name = "deepseek-llm"}, {.name = "deepseek-coder"},
        {.name = "falcon"},      {.name = "default"},      {.name = "dbrx"},
        {.name = "gpt-4o"},      {.name = "tekken"},       {.name = "seed-coder"},
        {.name = "qwen35"},      {.name = "hunyuan"},      {.name = "glm4"},
        {.name = "deepseek-v3"}, {.name = "exaone-moe"},
    };
    for (size_t i = 0; i < LK_COUNT(v); i++) {
        open_with_pre(&v[i].x, GOLDEN("tok-bpe.gguf"), v[i].name);
    }
    compare(GOLDEN("tok.txt"), v, LK_COUNT(v));
    for (size_t i = 0; i < LK_COUNT(v); i++) {
        tok_done(&v[i].x);
    }
}

Test(tok_golden, sentencepiece)
{
    struct vocabulary v[] = {
        {.name = "spm-llama", .flags = LK_TOKENIZE_PLAIN},
        {.name = "spm-gemma", .flags = LK_TOKENIZE_PLAIN},
        {.name = "spm-unknown", .flags = LK_TOKENIZE_PLAIN},
    };
    open_file(&v[0].x, GOLDEN("tok-spm-llama.gguf"));
    open_file(&v[1].x, GOLDEN("tok-spm-gemma.gguf"));
    open_file(&v[2].x, GOLDEN("tok-spm-unknown.gguf"));
    compare(GOLDEN("tok.txt"), v, LK_COUNT(v));
    for (size_t i = 0; i < LK_COUNT(v); i++) {
        tok_done(&v[i].x);
    }
}

Test(tok_golden, unigram)
{
    struct vocabulary v[] = {{.name = "ugm", .flags = LK_TOKENIZE_PLAIN},
                             {.name = "ugm-spaces", .flags = LK_TOKENIZE_PLAIN}};
    open_file(&v[0].x, GOLDEN("tok-ugm.gguf"));
    open_file(&v[1].x, GOLDEN("tok-ugm-spaces.gguf"));
    compare(GOLDEN("tok-ugm.txt"), v, LK_COUNT(v));
    for (size_t i = 0; i < LK_COUNT(v); i++) {
        tok_done(&v[i].x);
    }
}

Test(tok_golden, merges_of_characters)
{
    struct vocabulary v = {.name = "raw"};
    open_file(&v.x, GOLDEN("tok-raw.gguf"));
    cr_assert(lk_tokenizer_adds_bos(v.x.tok));
    compare(GOLDEN("tok-raw.txt"), &v, 1);
    tok_done(&v.x);
}

/* The texts between marks of a file, and a line of ids for each in another, of the vocabularies
 * that llama.cpp is tested with; LK_VOCABS names their directory. */
Test(tok_golden, vocabularies_of_llama_cpp)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    static char text[1 << 14], line[1 << 14], path[4096];
    const char *directory = getenv("LK_VOCABS");
    struct tok_test x;
    size_t n_texts = 0;
    snprintf(path, sizeof path, "%s/ggml-vocab-gemma-4.gguf", directory ? directory : "");
    FILE *vocabulary = directory ? fopen(path, "rb") : NULL;
    if (!vocabulary) {
        printf("not run: ggml-vocab-gemma-4.gguf: no such file in LK_VOCABS\n");
        return;
    }
    fclose(vocabulary);
    open_file(&x, path);
    strcat(path, ".inp");
    FILE *texts = fopen(path, "rb");
    memcpy(path + strlen(path) - 4, ".out", 4);
    FILE *ids = fopen(path, "rb");
    cr_assert(texts && ids, "%s", path);
    text[fread(text, 1, sizeof text - 1, texts)] = 0;
    for (char *at = text, *end; (end = strstr(at, mark)); at = end + strlen(mark), n_texts++) {
        cr_assert_not_null(fgets(line, sizeof line, ids));
        const char *got = tok_ids(x.tok, at, (size_t)(end - at), 0);
        const char *want = line + (line[0] == ' ');
        line[strcspn(line, "\n")] = 0;
        cr_expect_str_eq(got, want, "'%.*s': %s, expected %s", (int)(end - at), at, got, want);
    }
    cr_assert(n_texts >= 40, "%zu texts", n_texts);
    fclose(texts);
    fclose(ids);
    tok_done(&x);
}

Test(tok_golden, real_models)
{
    static const char *const names[] = {"smollm2", "gemma3", "qwen2.5-coder-0.5b"};
    const char *directory = getenv("LK_MODELS");
    for (size_t i = 0; i < LK_COUNT(names) && directory; i++) {
        char path[4096], golden[4096];
        struct vocabulary v = {.name = names[i], .flags = LK_TOKENIZE_PLAIN};
        snprintf(path, sizeof path, "%s/%s.gguf", directory, names[i]);
        snprintf(golden, sizeof golden, "%s/golden/tok-%s.txt", LK_TEST_DIR, names[i]);
        FILE *f = fopen(path, "rb");
        if (!f) {
            continue;
        }
        fclose(f);
        open_file(&v.x, path);
        compare(golden, &v, 1);
        tok_done(&v.x);
    }
}
