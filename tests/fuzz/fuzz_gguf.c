/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz gguf: any bytes as a GGUF file. Opens them and, when that works, reads everything that the
 * directory and lk_model offer, one block of each tensor included.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "gguf/model_file.h"

static volatile uint64_t sink; /* keeps the reads */

static void read_value(const struct lk_gguf *g, const struct lk_gguf_value *v)
{
    uint64_t sum = 0;
    size_t cursor = 0;
    for (uint64_t i = 0; i < v->count; i++) {
        if (v->elem == LK_GGUF_STRING) {
            struct lk_str s = lk_gguf_next_str(v, &cursor);
            sum += s.len ? (uint8_t)s.ptr[0] + (uint8_t)s.ptr[s.len - 1] : 0;
        } else if (v->elem == LK_GGUF_F32 || v->elem == LK_GGUF_F64) {
            sum += lk_gguf_array_f64(v, i) > 0;
        } else {
            sum += (uint64_t)lk_gguf_array_int(v, i);
        }
    }
    char key[32];
    if (v->key.len < sizeof key && !memchr(v->key.ptr, 0, v->key.len)) {
        uint32_t u;
        float f;
        bool b;
        struct lk_str s;
        const struct lk_gguf_value *a;
        memcpy(key, v->key.ptr, v->key.len);
        key[v->key.len] = '\0';
        FUZZ_CHECK(lk_gguf_find(g, key) == v);
        lk_gguf_u32(g, key, true, &u, NULL);
        lk_gguf_f32(g, key, true, &f, NULL);
        lk_gguf_bool(g, key, true, &b, NULL);
        lk_gguf_str(g, key, true, &s, NULL);
        lk_gguf_array(g, key, true, v->elem, &a, NULL);
    }
    sink += sum;
}

static void read_tensor(const uint8_t *data, size_t n, const struct lk_gguf_tensor *t)
{
    if (t->n_bytes) {
        FUZZ_CHECK(t->file_offset <= n && t->n_bytes <= n - t->file_offset);
        FUZZ_CHECK(t->data == data + t->file_offset);
        sink += t->data[0] + t->data[t->n_bytes - 1];
        const struct lk_type_info *info = lk_type_info(t->type);
        float y[256];
        if (info) {
            FUZZ_CHECK(t->ne[0] % (uint64_t)info->block == 0);
            lk_dequantize_f32(info->type, t->data, (size_t)info->block, y);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lk_error err = {0};
    struct lk_gguf *g;
    lk_model *m;
    lk_status status = lk_gguf_open_memory(data, n, &g, &err);
    if (!status) {
        status = lk_model_of_gguf(g, &m, &err);
    }
    if (status) {
        FUZZ_CHECK(status == err.status && err.message[0] && !strchr(err.message, '\n'));
        FUZZ_CHECK(status == LK_E_FORMAT || status == LK_E_UNSUPPORTED);
        return 0;
    }
    for (size_t i = 0; i < lk_gguf_n_values(g); i++) {
        lk_meta meta;
        read_value(g, lk_gguf_value_at(g, i));
        lk_model_meta(m, i, &meta);
        FUZZ_CHECK(strlen(meta.value) < sizeof meta.value && !strchr(meta.value, '\n'));
    }
    for (size_t i = 0; i < lk_gguf_n_tensors(g); i++) {
        lk_tensor_info info;
        read_tensor(data, n, lk_gguf_tensor_at(g, i));
        lk_model_tensor(m, i, &info);
    }
    uint8_t fingerprint[32];
    lk_model_fingerprint(m, fingerprint);
    uint8_t weights[32] = {0};
    status = lk_model_digest(m, NULL, weights, &err);
    FUZZ_CHECK(status == LK_OK || status == LK_E_UNSUPPORTED);
    sink += fingerprint[0] + weights[0] + lk_model_n_params(m) + lk_model_n_ctx_train(m);
    lk_model_close(&m);
    return 0;
}
