/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok build: see tok_build.h.
 */
#include "tests/util/tok_build.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/model_file.h"

struct tok_build tok_build_default(const char *model, const char *pre)
{
    return (struct tok_build){.model = model,
                              .pre = pre,
                              .arch = "llama",
                              .bytes = true,
                              .bos = -1,
                              .eos = -1,
                              .eot = -1,
                              .unk = -1,
                              .add_bos = -1,
                              .add_eos = -1,
                              .add_space_prefix = -1};
}

size_t tok_spell_byte(int b, char *out)
{
    int c = b, others = 0;
    for (int i = 0; i <= b; i++) {
        bool itself = (i > 32 && i < 127) || (i > 160 && i != 173);
        if (i == b && !itself) {
            c = 256 + others;
        }
        others += !itself;
    }
    if (c < 128) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 63));
    return 2;
}

static void put_text(struct gguf_build *b, const char *text, size_t n)
{
    gb_u64(b, n);
    gb_bytes(b, text, n);
}

static void put_id(struct gguf_build *b, const char *key, int id)
{
    if (id >= 0) {
        gb_key_u32(b, key, (uint32_t)id);
    }
}

static void put_flag(struct gguf_build *b, const char *key, int flag)
{
    if (flag >= 0) {
        gb_key_bool(b, key, flag);
    }
}

void tok_build_gguf(const struct tok_build *t, struct gguf_build *b)
{
    bool spm = t->model && (strcmp(t->model, "llama") == 0 || strcmp(t->model, "t5") == 0);
    bool named = spm || (t->model && strcmp(t->model, "gemma4") == 0); /* bytes as <0xNN> */
    size_t n_bytes = t->bytes ? 256 : 0, n = n_bytes + t->n_pieces;
    gb_start(b, 3);
    gb_key_str(b, "general.architecture", t->arch);
    if (t->model) {
        gb_key_str(b, "tokenizer.ggml.model", t->model);
    }
    if (t->pre) {
        gb_key_str(b, "tokenizer.ggml.pre", t->pre);
    }
    if (t->chat_template) {
        gb_key_str(b, "tokenizer.chat_template", t->chat_template);
    }
    if (t->tools_template) {
        gb_key_str(b, "tokenizer.chat_template.tool_use", t->tools_template);
    }
    gb_array(b, "tokenizer.ggml.tokens", LK_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) {
        char text[8];
        if (i >= n_bytes) {
            gb_str(b, t->piece[i - n_bytes].text);
        } else if (named) {
            snprintf(text, sizeof text, "<0x%02X>", (unsigned)i & 255);
            gb_str(b, text);
        } else {
            put_text(b, text, tok_spell_byte((int)i, text));
        }
    }
    if (!t->no_types) {
        gb_array(b, "tokenizer.ggml.token_type", LK_GGUF_I32, n);
        for (size_t i = 0; i < n; i++) {
            gb_u32(b, i >= n_bytes ? (uint32_t)t->piece[i - n_bytes].type : named ? 6 : 1);
        }
    }
    if (spm && !t->no_scores) {
        gb_array(b, "tokenizer.ggml.scores", LK_GGUF_F32, n);
        for (size_t i = 0; i < n; i++) {
            float score = i >= n_bytes ? t->piece[i - n_bytes].score : 0;
            gb_bytes(b, &score, 4);
        }
    }
    if (!spm) {
        gb_array(b, "tokenizer.ggml.merges", LK_GGUF_STRING, t->n_merges);
        for (size_t i = 0; i < t->n_merges; i++) {
            gb_str(b, t->merge[i]);
        }
    }
    put_id(b, "tokenizer.ggml.bos_token_id", t->bos);
    put_id(b, "tokenizer.ggml.eos_token_id", t->eos);
    put_id(b, "tokenizer.ggml.eot_token_id", t->eot);
    put_id(b, "tokenizer.ggml.unknown_token_id", t->unk);
    put_flag(b, "tokenizer.ggml.add_bos_token", t->add_bos);
    put_flag(b, "tokenizer.ggml.add_eos_token", t->add_eos);
    put_flag(b, "tokenizer.ggml.add_space_prefix", t->add_space_prefix);
    if (t->add_keys) {
        t->add_keys(b, t->keys);
    }
}

lk_status tok_try(struct tok_test *x, const struct tok_build *t, lk_error *err)
{
    struct lk_gguf *g;
    memset(x, 0, sizeof *x);
    tok_build_gguf(t, &x->b);
    cr_assert_eq(lk_gguf_open_memory(x->b.data, x->b.n, &g, err), LK_OK, "%s", err->message);
    cr_assert_eq(lk_model_of_gguf(g, &x->model, err), LK_OK, "%s", err->message);
    return lk_tokenizer_open(x->model, &x->tok, err);
}

void tok_make(struct tok_test *x, const struct tok_build *t)
{
    lk_error err;
    cr_assert_eq(tok_try(x, t, &err), LK_OK, "%s", err.message);
}

void tok_done(struct tok_test *x)
{
    lk_tokenizer_close(&x->tok);
    lk_model_close(&x->model);
    gb_free(&x->b);
}

const char *tok_ids(const lk_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    static char line[1 << 16];
    static int32_t ids[8192];
    size_t n, at = 0;
    lk_error err;
    cr_assert_eq(lk_tokenize(t, text, len, flags, ids, 8192, &n, &err), LK_OK, "%s", err.message);
    line[0] = 0;
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%d", i ? " " : "", (int)ids[i]);
    }
    return line;
}
