/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz tok: any bytes as a vocabulary and a text. Input: length of the text (two bytes, little
 * endian), the text, a GGUF file. What opens must tokenize, decode and say nothing untrue.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "gguf/model_file.h"
#include "text/token/tok.h"

static void check_ids(const lk_tokenizer *t, const int32_t *ids, size_t n, bool plain)
{
    char *buf = malloc(lk_tokenizer_max_bytes(t) + 4);
    lk_decoder d = {0};
    size_t len;
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(ids[i] >= 0 && (size_t)ids[i] < lk_tokenizer_n_vocab(t));
        FUZZ_CHECK(!plain || !lk_token_is_control(t, ids[i]) || ids[i] == t->unk);
        FUZZ_CHECK(!lk_token_bytes(t, ids[i], buf, lk_tokenizer_max_bytes(t), &len));
        FUZZ_CHECK(!lk_decode(t, &d, ids[i], i % 2, buf, lk_tokenizer_max_bytes(t) + 4, &len));
        FUZZ_CHECK(len <= lk_tokenizer_max_bytes(t) + 4 && d.n_held < 4);
    }
    lk_decode_flush(&d, buf, 4);
    free(buf);
}

static void check_text(const lk_tokenizer *t, const char *text, size_t len)
{
    for (unsigned flags = 0; flags < 4; flags++) {
        size_t n, again;
        lk_error err = {0};
        if (lk_tokenize(t, text, len, flags, NULL, 0, &n, &err)) {
            FUZZ_CHECK(err.status == LK_E_INVALID && t->kind == LK_TOK_SPM && t->unk < 0);
            continue;
        }
        int32_t *ids = malloc((n + 1) * sizeof *ids);
        FUZZ_CHECK(!lk_tokenize(t, text, len, flags, ids, n, &again, &err) && again == n);
        check_ids(t, ids, n, flags == LK_TOKENIZE_PLAIN);
        free(ids);
    }
    size_t n;
    lk_chat_message m[] = {{"system", text, len / 2}, {"user", text, len}};
    lk_error err = {0};
    lk_chat_tokenize(t, lk_model_chat_format(t->model), m, 2, NULL, 0, &n, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t len = n < 2 ? n : (size_t)(data[0] | data[1] << 8);
    if (n < 2 || len > n - 2) {
        return 0;
    }
    const char *text = (const char *)data + 2;
    size_t n_file = n - 2 - len;
    uint8_t *file = malloc(n_file + 1); /* aligned, as the reader wants it */
    memcpy(file, data + 2 + len, n_file);
    lk_error err = {0};
    struct lk_gguf *g;
    lk_model *m = NULL;
    lk_tokenizer *t = NULL;
    if (!lk_gguf_open_memory(file, n_file, &g, &err) && !lk_model_of_gguf(g, &m, &err)) {
        lk_status status = lk_tokenizer_open(m, &t, &err);
        if (status) {
            FUZZ_CHECK(status == err.status && err.message[0]);
            FUZZ_CHECK(status == LK_E_FORMAT || status == LK_E_UNSUPPORTED);
        } else {
            check_text(t, text, len);
        }
    }
    lk_tokenizer_close(&t);
    lk_model_close(&m);
    free(file);
    return 0;
}
