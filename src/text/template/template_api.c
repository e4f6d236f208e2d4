/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_api: chat templates as lockstep.h shows them: a model's templates, dialogues rendered,
 * and their tokens.
 */
#include "base/mem.h"
#include "gguf/model_file.h"
#include "text/template/template_request.h"
#include "text/template/template_run.h"
#include "text/token/tok.h"

enum { REQUEST_BYTES = 1 << 28 }; /* of values read from a request */

struct lk_template {
    struct lk_tpl *plain, *with_tools; /* with_tools NULL: plain is for all */
    struct lk_template_tokens tokens;
};

struct lk_rendering {
    char *text;
    size_t len;
    struct lk_tok_plain *plain;
    size_t n_plain, plain_cap;
};

/* ---- opening ---- */

static lk_status compile_own(const lk_model *model, const char *key, bool required,
                             struct lk_tpl **out, lk_error *err)
{
    const char *path = lk_gguf_path(model->gguf);
    struct lk_str source = {NULL, 0};
    lk_status status = lk_gguf_str(model->gguf, key, false, &source, err);
    if (status || (!source.ptr && !required)) {
        return status;
    }
    if (!source.ptr) {
        return lk_fail(err, LK_E_UNSUPPORTED, "%s: the model has no chat template (key '%s')", path,
                       key);
    }
    status = lk_tpl_compile(source.ptr, source.len, out, err);
    return status ? lk_fail_prefix(err, status, "%s", path) : LK_OK;
}

lk_status lk_template_open(const lk_model *model, const char *source, size_t len, lk_template **out,
                           lk_error *err)
{
    *out = NULL;
    lk_template *t = lk_alloc(sizeof *t);
    if (!t) {
        return lk_fail(err, LK_E_NOMEM, "chat template: out of memory");
    }
    lk_status status = lk_template_read_tokens(model, &t->tokens, err);
    if (!status && source) {
        status = lk_tpl_compile(source, len, &t->plain, err);
    } else if (!status && !model) {
        status =
            lk_fail(err, LK_E_INVALID, "chat template: neither a model nor a source was given");
    } else if (!status &&
               !(status = compile_own(model, "tokenizer.chat_template", true, &t->plain, err))) {
        status = compile_own(model, "tokenizer.chat_template.tool_use", false, &t->with_tools, err);
    }
    if (status) {
        lk_template_close(&t);
    }
    *out = t;
    return status;
}

void lk_template_close(lk_template **t)
{
    if (t && *t) {
        lk_tpl_free(&(*t)->plain);
        lk_tpl_free(&(*t)->with_tools);
        lk_free(*t);
        *t = NULL;
    }
}

lk_template_input lk_template_input_default(void)
{
    return (lk_template_input){.size = sizeof(lk_template_input)};
}

/* ---- rendering ---- */

/* Takes the buffer's text over and notes where it is not the template's own. */
static lk_status keep(struct lk_rendering *r, struct lk_text_buffer *out, lk_error *err)
{
    for (size_t at = 0; at < out->n;) {
        unsigned flags = out->marks ? out->marks[at] : out->flags;
        const uint8_t *other =
            out->marks ? memchr(out->marks + at, (int)(flags ^ LK_VALUE_TRUSTED), out->n - at)
                       : NULL;
        size_t end = other ? (size_t)(other - out->marks) : out->n;
        if (!flags) {
            lk_status status =
                lk_grow(&r->plain, &r->plain_cap, r->n_plain + 1, sizeof *r->plain, err);
            if (status) {
                return status;
            }
            r->plain[r->n_plain++] = (struct lk_tok_plain){at, end};
        }
        at = end;
    }
    r->text = out->bytes;
    r->len = out->n;
    out->bytes = NULL;
    return LK_OK;
}

lk_status lk_template_render(const lk_template *t, const lk_template_input *in, lk_rendering **out,
                             lk_error *err)
{
    struct lk_region region = {.max_bytes = REQUEST_BYTES};
    struct lk_text_buffer text = {.what = "the rendered dialogue"};
    lk_template_input given = lk_template_input_default();
    struct lk_value variables;
    struct tm now;
    *out = NULL;
    lk_status status = lk_options_take(&given, sizeof given, in, "template input", err);
    lk_rendering *r = status ? NULL : lk_alloc(sizeof *r);
    if (!status) {
        status = r ? lk_template_variables(&region, &t->tokens, &given, &variables, &now, err)
                   : lk_fail(err, LK_E_NOMEM, "chat template: out of memory");
    }
    if (!status) {
        const struct lk_value *tools = lk_value_get(&variables, "tools");
        bool any = t->with_tools && tools && tools->type == LK_VALUE_LIST && tools->n;
        status = lk_tpl_render(any ? t->with_tools : t->plain, &variables, &now, &text, err);
    }
    if (!status) {
        status = keep(r, &text, err);
    }
    if (!status && given.continues && r->n_plain > 0) {
        r->len = r->plain[r->n_plain - 1].end;
    } else if (!status && given.continues) {
        status = lk_fail(err, LK_E_INVALID,
                         "chat template: it writes nothing of the messages that could be gone on "
                         "with");
    }
    lk_text_free(&text);
    lk_region_free(&region);
    if (status) {
        lk_rendering_close(&r);
    }
    *out = r;
    return status;
}

void lk_rendering_close(lk_rendering **r)
{
    if (r && *r) {
        lk_free((*r)->text);
        lk_free((*r)->plain);
        lk_free(*r);
        *r = NULL;
    }
}

const char *lk_rendering_text(const lk_rendering *r, size_t *len)
{
    *len = r->len;
    return r->text ? r->text : "";
}

size_t lk_rendering_n_plain(const lk_rendering *r)
{
    return r->n_plain;
}

void lk_rendering_plain(const lk_rendering *r, size_t i, size_t *begin, size_t *end)
{
    *begin = r->plain[i].begin;
    *end = r->plain[i].end;
}

/* ---- tokens ---- */

/* Whether the template itself begins with the text of BOS. */
static bool begins_with_bos(const lk_rendering *r, const struct lk_tokenizer *t)
{
    if (t->bos < 0) {
        return false;
    }
    const struct lk_tok_entry *bos = &t->entry[t->bos];
    size_t own = r->n_plain ? r->plain[0].begin : r->len;
    return bos->bytes_len && bos->bytes_len <= own &&
           memcmp(r->text, bos->bytes, bos->bytes_len) == 0;
}

lk_status lk_rendering_tokenize(const lk_rendering *r, const lk_tokenizer *t, int32_t *ids,
                                size_t cap, size_t *n, lk_error *err)
{
    bool add_bos = t->add_bos && !begins_with_bos(r, t);
    return lk_tok_encode(t, r->text ? r->text : "", r->len, r->plain, r->n_plain, add_bos, false,
                         ids, cap, n, err);
}

lk_status lk_template_tokenize(const lk_template *t, const lk_tokenizer *tokenizer,
                               const lk_template_input *in, int32_t *ids, size_t cap, size_t *n,
                               lk_error *err)
{
    lk_rendering *r;
    *n = 0;
    lk_status status = lk_template_render(t, in, &r, err);
    if (!status) {
        status = lk_rendering_tokenize(r, tokenizer, ids, cap, n, err);
    }
    lk_rendering_close(&r);
    return status;
}
