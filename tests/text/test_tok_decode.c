/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok decode: bytes of tokens, streaming that breaks no character, text that survives the round
 * trip, buffers too small, bytes that are no UTF-8, long texts.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/utf8.h"
#include "tests/util/models.h"
#include "tests/util/rng.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };
#define GOLDEN(name) LK_TEST_DIR "/golden/" name

static const char *const files[] = {GOLDEN("tok-bpe.gguf"), GOLDEN("tok-spm-llama.gguf"),
                                    GOLDEN("tok-spm-gemma.gguf")};

static void open_file(struct tok_test *x, const char *path)
{
    lk_error err;
    memset(x, 0, sizeof *x);
    cr_assert_eq(lk_model_open(path, &x->model, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_tokenizer_open(x->model, &x->tok, &err), LK_OK, "%s", err.message);
}

/* Random text of n bytes: characters of all lengths and, where `broken`, loose bytes. */
static void random_text(char *text, size_t n, bool broken, struct rng *state)
{
    size_t at = 0;
    while (at < n) {
        uint32_t r = rng_u32(state), cp;
        char c[4];
        switch (r % 6) {
        case 0:
            cp = 0x20 + rng_u32(state) % 0x5F;
            break;
        case 1:
            cp = rng_u32(state) % 0x800;
            break;
        case 2:
            cp = rng_u32(state) % 0xD800;
            break;
        case 3:
            cp = 0x10000 + rng_u32(state) % 0x100000;
            break;
        default:
            cp = (uint32_t) "  \n\taeiostn"[rng_u32(state) % 11];
        }
        cp = cp == 0x2581 ? 'x' : cp; /* a space to SentencePiece */
        size_t len = lk_utf8_put((int32_t)cp, c);
        if (broken && r % 7 == 0) {
            c[0] = (char)(0x80 + rng_u32(state) % 0x80);
            len = 1;
        }
        if (at + len > n) {
            c[0] = 'x';
            len = 1;
        }
        memcpy(text + at, c, len);
        at += len;
    }
}

static bool is_utf8(const char *text, size_t len)
{
    size_t at = 0;
    for (size_t n; at < len && (n = lk_utf8_next(text + at, len - at, NULL)) != 0;) {
        at += n;
    }
    return at == len;
}

Test(tok_decode, streams_give_back_the_text_and_break_no_character)
{
    struct rng state = {1};
    for (size_t f = 0; f < LK_COUNT(files); f++) {
        struct tok_test x;
        open_file(&x, files[f]);
        for (int round = 0; round < 300; round++) {
            char text[96], back[1024], piece[256];
            int32_t ids[1024];
            size_t len = rng_u32(&state) % sizeof text, n, n_back = 0, got;
            bool broken = round % 2;
            lk_decoder d = {0};
            random_text(text, len, broken, &state);
            cr_assert_eq(lk_tokenize(x.tok, text, len, LK_TOKENIZE_PLAIN, ids, 1024, &n, NULL),
                         LK_OK);
            for (size_t i = 0; i < n; i++) {
                cr_assert(!lk_token_is_control(x.tok, ids[i]));
                cr_assert_eq(lk_decode(x.tok, &d, ids[i], false, piece, sizeof piece, &got), LK_OK);
                cr_assert(broken || is_utf8(piece, got), "a broken character in round %d", round);
                memcpy(back + n_back, piece, got);
                n_back += got;
            }
            n_back += lk_decode_flush(&d, back + n_back, 4);
            cr_assert(n_back == len && memcmp(back, text, len) == 0,
                      "file %zu, round %d: '%.*s' came back as '%.*s'", f, round, (int)len, text,
                      (int)n_back, back);
        }
        tok_done(&x);
    }
}

Test(tok_decode, control_tokens_and_small_buffers)
{
    static const struct tok_piece pieces[] = {{"<|x|>", CONTROL, 0},
                                              {"\xE2\x96\x81go", NORMAL, 0},
                                              {"<u\xE2\x96\x81>", USER, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("llama", NULL);
    b.piece = pieces, b.n_pieces = 3;
    tok_make(&x, &b);
    char buf[16];
    size_t len;
    lk_decoder d = {0};
    cr_assert_eq(lk_tokenizer_max_bytes(x.tok), 5);
    cr_assert_eq(lk_token_bytes(x.tok, 256, buf, 4, &len), LK_E_FULL);
    cr_assert_eq(len, 5);
    cr_assert_eq(lk_token_bytes(x.tok, 256, buf, 5, &len), LK_OK);
    cr_assert(len == 5 && memcmp(buf, "<|x|>", 5) == 0);
    cr_assert_eq(lk_token_bytes(x.tok, 257, buf, 5, &len), LK_OK);
    cr_assert(len == 3 && memcmp(buf, " go", 3) == 0);
    cr_assert_eq(lk_token_bytes(x.tok, 259, buf, 5, &len), LK_E_INVALID);
    cr_assert_eq(lk_token_bytes(x.tok, -1, buf, 5, &len), LK_E_INVALID);
    cr_assert_eq(lk_decode(x.tok, &d, 259, true, buf, 16, &len), LK_E_INVALID);
    cr_assert_eq(lk_decode(x.tok, &d, 256, false, buf, 16, &len), LK_OK);
    cr_assert_eq(len, 0);
    cr_assert_eq(lk_decode(x.tok, &d, 256, true, buf, 8, &len), LK_E_FULL);
    cr_assert_eq(lk_decode(x.tok, &d, 256, true, buf, 16, &len), LK_OK);
    cr_assert(len == 5 && !d.started);
    /* The first text loses its space, no other does. */
    cr_assert_eq(lk_decode(x.tok, &d, 257, false, buf, 16, &len), LK_OK);
    cr_assert(len == 2 && memcmp(buf, "go", 2) == 0);
    cr_assert_eq(lk_decode(x.tok, &d, 257, false, buf, 16, &len), LK_OK);
    cr_assert(len == 3 && memcmp(buf, " go", 3) == 0);
    /* Bytes of a character are held until it is whole, or can't become so. */
    static const struct {
        unsigned char byte;
        const char *out;
    } steps[] = {{0xE2, ""},
                 {0x82, ""},
                 {0xAC, "\xE2\x82\xAC"},
                 {0xF0, ""},
                 {0x9F, ""},
                 {'a', "\xF0\x9F"
                       "a"},
                 {0xFF, "\xFF"},
                 {0xC1, "\xC1"},
                 {0xE0, ""},
                 {0x80, "\xE0\x80"},
                 {0xED, ""},
                 {0xA0, "\xED\xA0"},
                 {0xF4, ""},
                 {0x90, "\xF4\x90"},
                 {0xF0, ""},
                 {0x8F, "\xF0\x8F"},
                 {0x80, "\x80"},
                 {0xC3, ""}};
    for (size_t i = 0; i < LK_COUNT(steps); i++) {
        cr_assert_eq(lk_decode(x.tok, &d, steps[i].byte, false, buf, 16, &len), LK_OK);
        cr_assert(len == strlen(steps[i].out) && memcmp(buf, steps[i].out, len) == 0, "step %zu",
                  i);
    }
    cr_assert_eq(lk_decode_flush(&d, buf, 0), 0);
    cr_assert_eq(lk_decode_flush(&d, buf, 4), 1);
    cr_assert_eq((unsigned char)buf[0], 0xC3);
    cr_assert_eq(lk_decode_flush(&d, buf, 4), 0);
    tok_done(&x);
}

Test(tok_decode, counts_without_room)
{
    struct tok_test x;
    lk_error err;
    size_t n;
    int32_t ids[2];
    open_file(&x, files[0]);
    cr_assert_eq(lk_tokenize(x.tok, "q!z", 3, 0, NULL, 0, &n, &err), LK_OK);
    cr_assert_eq(n, 3);
    cr_assert_eq(lk_tokenize(x.tok, "q!z", 3, 0, ids, 2, &n, &err), LK_E_FULL);
    cr_assert(n == 3 && strstr(err.message, "3 tokens"), "%s", err.message);
    cr_assert_eq(lk_token_bytes(x.tok, ids[1], (char *)&n, 1, &n), LK_OK);
    tok_done(&x);
}

/* Bytes that are no UTF-8 are cut as control characters would be and stay what they are. */
Test(tok_decode, invalid_utf8_is_taken_as_it_is)
{
    static const struct tok_piece spm[] = {{"a", NORMAL, 0}, {"<unk>", UNKNOWN, 0}};
    static const char *const texts[] = {"a\xFF\xFE"
                                        "b",
                                        " \x80 x", "\xE2\x82", "ab\xC0\x80\n", "\xF5"};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    tok_make(&x, &b);
    for (size_t i = 0; i < LK_COUNT(texts); i++) {
        char want[64] = "";
        for (size_t k = 0; k < strlen(texts[i]); k++) {
            char id[8];
            snprintf(id, sizeof id, "%s%d", k ? " " : "", (unsigned char)texts[i][k]);
            strcat(want, id);
        }
        cr_assert_str_eq(tok_ids(x.tok, texts[i], strlen(texts[i]), 0), want);
    }
    tok_done(&x);
    b = tok_build_default("llama", NULL);
    b.piece = spm, b.n_pieces = 2, b.add_space_prefix = 0;
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "a\xFF\xC3z", 4, 0), "256 255 195 122");
    tok_done(&x);
    b.bytes = false; /* neither pieces nor bytes: one unknown token for the run */
    b.unk = 1;
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok,
                             "azz\xFF"
                             "a",
                             5, 0),
                     "0 1 0");
    tok_done(&x);
    b.unk = -1;
    tok_make(&x, &b);
    lk_error err;
    size_t n;
    cr_assert_eq(lk_tokenize(x.tok, "az", 2, 0, NULL, 0, &n, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "byte 0x7a"), "%s", err.message);
    tok_done(&x);
}

/* A megabyte takes less than a second of an idle processor; the quarter of it tried here would
 * take minutes if anything were quadratic. */
Test(tok_decode, long_texts_of_any_kind_are_quick)
{
    const size_t N = test_is_sanitized_sample() ? 1 << 16 : 1 << 18;
    static const char *const units[] = {
        " ",
        "a",
        "\n",
        " \n",
        "1",
        "!",
        "'",
        "<",
        "<|",
        "ab ",
        "\xFF",
        "\xE4\xB8\x80",
        "\xCC\x81\xCC\xA3",
        "\xE2\x96\x81",
        "  x",
        "The quick brown fox. ",
        NULL,
    };
    static const char *const pre[] = {"gpt-2", "llama-bpe", "qwen2", "deepseek-llm", "default"};
    char *text = malloc(N + 32);
    struct rng state = {3};
    for (size_t f = 0; f < LK_COUNT(pre) + 1; f++) {
        struct tok_test x;
        if (f < LK_COUNT(pre)) {
            struct tok_build b = tok_build_default("gpt2", pre[f]);
            static const struct tok_piece p[] = {{"\xC4\xA0\xC4\xA0", NORMAL, 0},
                                                 {"aa", NORMAL, 0},
                                                 {"aaaa", NORMAL, 0},
                                                 {"<|x|>", CONTROL, 0}};
            static const char *const merges[] = {"\xC4\xA0 \xC4\xA0", "a a", "aa aa"};
            b.piece = p, b.n_pieces = 4, b.merge = merges, b.n_merges = 3;
            tok_make(&x, &b);
        } else {
            open_file(&x, files[1]);
        }
        for (size_t u = 0; u < LK_COUNT(units); u++) {
            size_t len = units[u] ? strlen(units[u]) : 0, n;
            for (size_t at = 0; units[u] && at < N; at += len) {
                memcpy(text + at, units[u], len);
            }
            if (!units[u]) {
                random_text(text, N, true, &state);
            }
            clock_t from = clock();
            cr_assert_eq(lk_tokenize(x.tok, text, N, 0, NULL, 0, &n, NULL), LK_OK);
            double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
            cr_assert(seconds < 1, "%zu, unit '%s': %.2f s", f, units[u] ? units[u] : "?", seconds);
        }
        tok_done(&x);
    }
    free(text);
}
