/* SPDX-License-Identifier: Apache-2.0
 *
 * Model file: lk_model, the public view of a checked GGUF file. Lists what is in it; knows nothing
 * of architectures beyond the name and the context length.
 */
#include "gguf/model_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

/* ---- opening ---- */

enum { MAX_NAME = 4096 }; /* bytes of general.architecture and general.name */

/* A general.* string as a 0-terminated copy; "" when the key is missing. */
static lk_status copy_string(const struct lk_gguf *g, const char *key, char **out, lk_error *err)
{
    struct lk_str s = {"", 0};
    lk_status status = lk_gguf_str(g, key, false, &s, err);
    if (status) {
        return status;
    }
    if (s.len > MAX_NAME) {
        return lk_fail(err, LK_E_FORMAT, "%s: key '%s': found %zu bytes, expected at most %d",
                       lk_gguf_path(g), key, s.len, MAX_NAME);
    }
    *out = lk_alloc(s.len + 1);
    if (!*out) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for key '%s'", lk_gguf_path(g), key);
    }
    memcpy(*out, s.ptr, s.len);
    return LK_OK;
}

static lk_status name_types(struct lk_model *m, lk_error *err)
{
    const struct lk_gguf *g = m->gguf;
    m->meta_type = lk_alloc_array(lk_gguf_n_values(g), sizeof *m->meta_type);
    m->tensor_type = lk_alloc_array(lk_gguf_n_tensors(g), sizeof *m->tensor_type);
    if (!m->meta_type || !m->tensor_type) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for the names of types",
                       lk_gguf_path(g));
    }
    for (size_t i = 0; i < lk_gguf_n_values(g); i++) {
        const struct lk_gguf_value *v = lk_gguf_value_at(g, i);
        if (v->type == LK_GGUF_ARRAY) {
            snprintf(m->meta_type[i], sizeof *m->meta_type, "%s [%" PRIu64 "]",
                     lk_gguf_value_type_name(v), v->count);
        } else {
            snprintf(m->meta_type[i], sizeof *m->meta_type, "%s", lk_gguf_value_type_name(v));
        }
    }
    for (size_t i = 0; i < lk_gguf_n_tensors(g); i++) {
        uint32_t type = lk_gguf_tensor_at(g, i)->type;
        const char *name = lk_type_name(type);
        if (name) {
            snprintf(m->tensor_type[i], sizeof *m->tensor_type, "%s", name);
        } else {
            snprintf(m->tensor_type[i], sizeof *m->tensor_type, "type %" PRIu32, type);
        }
    }
    return LK_OK;
}

static lk_status make_weights(struct lk_model *m, lk_error *err)
{
    m->weights = lk_alloc(sizeof *m->weights);
    if (!m->weights || !(m->weights->lock = lk_mutex_new())) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory", lk_gguf_path(m->gguf));
    }
    return LK_OK;
}

lk_status lk_model_of_gguf(struct lk_gguf *gguf, lk_model **out, lk_error *err)
{
    *out = NULL;
    lk_model *m = lk_alloc(sizeof *m);
    if (!m) {
        lk_status status = lk_fail(err, LK_E_NOMEM, "%s: out of memory", lk_gguf_path(gguf));
        lk_gguf_close(&gguf);
        return status;
    }
    m->gguf = gguf;
    lk_status status;
    if ((status = copy_string(gguf, "general.architecture", &m->arch, err)) ||
        (status = copy_string(gguf, "general.name", &m->name, err)) ||
        (status = name_types(m, err)) || (status = make_weights(m, err))) {
        lk_model_close(&m);
        return status;
    }
    *out = m;
    return LK_OK;
}

lk_status lk_model_open(const char *path, lk_model **out, lk_error *err)
{
    struct lk_gguf *gguf;
    *out = NULL;
    lk_status status = lk_gguf_open(path, &gguf, err);
    return status ? status : lk_model_of_gguf(gguf, out, err);
}

void lk_model_close(lk_model **model)
{
    lk_model *m = model ? *model : NULL;
    if (m) {
        lk_gguf_close(&m->gguf);
        lk_free(m->arch);
        lk_free(m->name);
        lk_free(m->meta_type);
        lk_free(m->tensor_type);
        if (m->weights) {
            lk_mutex_free(m->weights->lock);
        }
        lk_free(m->weights);
        lk_free(m);
        *model = NULL;
    }
}

/* ---- the whole ---- */

const char *lk_model_path(const lk_model *model)
{
    return lk_gguf_path(model->gguf);
}

const char *lk_model_arch(const lk_model *model)
{
    return model->arch;
}

const char *lk_model_name(const lk_model *model)
{
    return model->name;
}

uint32_t lk_model_gguf_version(const lk_model *model)
{
    return lk_gguf_version(model->gguf);
}

uint64_t lk_model_file_bytes(const lk_model *model)
{
    return lk_gguf_file_bytes(model->gguf);
}

uint64_t lk_model_n_params(const lk_model *model)
{
    uint64_t n = 0;
    for (size_t i = 0; i < lk_gguf_n_tensors(model->gguf); i++) {
        const struct lk_gguf_tensor *t = lk_gguf_tensor_at(model->gguf, i);
        uint64_t elements = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        if (__builtin_add_overflow(n, elements, &n)) {
            return UINT64_MAX; /* tensors of unknown type may claim anything */
        }
    }
    return n;
}

uint32_t lk_model_n_ctx_train(const lk_model *model)
{
    char key[128];
    uint32_t n = 0;
    snprintf(key, sizeof key, "%s.context_length", model->arch);
    /* A value that is no u32 says nothing: binding the model refuses it by name. */
    return lk_gguf_u32(model->gguf, key, false, &n, NULL) ? 0 : n;
}

void lk_model_fingerprint(const lk_model *model, uint8_t out[32])
{
    lk_sha256 h;
    lk_sha256_init(&h);
    for (int i = 0; i < lk_gguf_n_parts(model->gguf); i++) {
        size_t n;
        const uint8_t *head = lk_gguf_head(model->gguf, i, &n);
        lk_sha256_bytes(&h, head, n);
    }
    uint8_t tail[12];
    uint64_t file_bytes = lk_gguf_file_bytes(model->gguf);
    for (int i = 0; i < 12; i++) {
        tail[i] = i < 8 ? (uint8_t)(file_bytes >> (8 * i))
                        : (uint8_t)((uint32_t)LK_NUMERICS_VERSION >> (8 * (i - 8)));
    }
    lk_sha256_bytes(&h, tail, sizeof tail);
    lk_sha256_final(&h, out);
}

/* ---- metadata ---- */

/* Text that grows in a fixed buffer; once it is full, it ends in "...". */
struct line {
    char *text;
    size_t cap, n;
    bool full;
};

static void put(struct line *line, const char *s, size_t n)
{
    if (line->full) {
        return;
    }
    size_t room = line->cap - 1 - line->n, taken = n < room ? n : room;
    memcpy(line->text + line->n, s, taken);
    line->n += taken;
    if (n > room) {
        size_t end = line->cap - 4;
        while (end > 0 && ((unsigned char)line->text[end] & 0xC0) == 0x80) {
            end--; /* not in the middle of a UTF-8 sequence */
        }
        memcpy(line->text + end, "...", 4);
        line->full = true;
    }
}

/* A string on one line, as messages show it, and its backslashes doubled. */
static void put_str(struct line *line, struct lk_str s)
{
    for (size_t i = 0; i < s.len && !line->full;) {
        char text[8];
        size_t n = lk_show_next(s.ptr + i, s.len - i, text);
        if (s.ptr[i] == '\\') {
            put(line, "\\", 1);
        }
        put(line, text, strlen(text));
        i += n;
    }
}

static void put_number(struct line *line, const struct lk_gguf_value *v, uint64_t i)
{
    char text[40];
    if (v->elem == LK_GGUF_BOOL) {
        snprintf(text, sizeof text, "%s", lk_gguf_array_int(v, i) ? "true" : "false");
    } else if (v->elem == LK_GGUF_U64) {
        snprintf(text, sizeof text, "%" PRIu64, (uint64_t)lk_gguf_array_int(v, i));
    } else if (v->elem == LK_GGUF_F32 || v->elem == LK_GGUF_F64) {
        snprintf(text, sizeof text, v->elem == LK_GGUF_F32 ? "%.9g" : "%.17g",
                 lk_gguf_array_f64(v, i));
    } else {
        snprintf(text, sizeof text, "%" PRId64, lk_gguf_array_int(v, i));
    }
    put(line, text, strlen(text));
}

size_t lk_model_n_meta(const lk_model *model)
{
    return lk_gguf_n_values(model->gguf);
}

const char *lk_model_text(const lk_model *model, const char *key, size_t *len)
{
    struct lk_str text = {NULL, 0};
    lk_error err;
    *len = 0;
    if (lk_gguf_str(model->gguf, key, false, &text, &err) || !text.ptr) {
        return NULL;
    }
    *len = text.len;
    return text.ptr;
}

void lk_model_meta(const lk_model *model, size_t i, lk_meta *out)
{
    const struct lk_gguf_value *v = lk_gguf_value_at(model->gguf, i);
    *out = (lk_meta){.key = v->key.ptr, .key_len = v->key.len, .type = model->meta_type[i]};
    struct line line = {out->value, sizeof out->value, 0, false};
    bool array = v->type == LK_GGUF_ARRAY;
    size_t cursor = 0;
    put(&line, "[", array ? 1 : 0);
    for (uint64_t e = 0; e < v->count && !line.full; e++) {
        put(&line, ", ", e ? 2 : 0);
        if (v->elem == LK_GGUF_STRING) {
            put(&line, "\"", array ? 1 : 0);
            put_str(&line, lk_gguf_next_str(v, &cursor));
            put(&line, "\"", array ? 1 : 0);
        } else {
            put_number(&line, v, e);
        }
    }
    put(&line, "]", array ? 1 : 0);
}

/* ---- tensors ---- */

size_t lk_model_n_tensors(const lk_model *model)
{
    return lk_gguf_n_tensors(model->gguf);
}

void lk_model_tensor(const lk_model *model, size_t i, lk_tensor_info *out)
{
    const struct lk_gguf_tensor *t = lk_gguf_tensor_at(model->gguf, i);
    *out = (lk_tensor_info){
        .name = t->name.ptr,
        .name_len = t->name.len,
        .type = model->tensor_type[i],
        .supported = lk_type_info(t->type) != NULL,
        .n_dims = t->n_dims,
        .dims = {t->ne[0], t->ne[1], t->ne[2], t->ne[3]},
        .n_bytes = t->n_bytes,
        .file_offset = t->file_offset,
        .part = t->part,
    };
}
