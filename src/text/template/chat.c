/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat: the known instruct formats. Recognises a model's format from its chat template and writes
 * dialogues in it; runs no templates, and takes from one only literals that it can read whole.
 */
#include <string.h>

#include "base/mem.h"
#include "gguf/model_file.h"
#include "text/token/tok.h"
#include "base/utf8.h"

#define TEMPLATE "tokenizer.chat_template"

/* ---- templates --------------------------------------------------------------------------- */

/* Where `what` is in s at or after `from`, else SIZE_MAX. */
static size_t find(struct lk_str s, size_t from, const char *what)
{
    const char *at = from < s.len ? memmem(s.ptr + from, s.len - from, what, strlen(what)) : NULL;
    return at ? (size_t)(at - s.ptr) : SIZE_MAX;
}

static bool has(struct lk_str s, const char *what)
{
    return find(s, 0, what) != SIZE_MAX;
}

static struct lk_str chat_template(const struct lk_gguf *g)
{
    struct lk_str s = {"", 0};
    return lk_gguf_str(g, TEMPLATE, false, &s, NULL) ? (struct lk_str){"", 0} : s;
}

lk_chat_format lk_model_chat_format(const lk_model *model)
{
    struct lk_str s = chat_template(model->gguf);
    if (has(s, "<|im_start|>")) {
        return has(s, "<|im_sep|>") ? LK_CHAT_NONE : LK_CHAT_CHATML;
    }
    if (has(s, "<|start_header_id|>") && has(s, "<|end_header_id|>")) {
        return LK_CHAT_LLAMA3;
    }
    if (has(s, "<start_of_turn>")) {
        return LK_CHAT_GEMMA;
    }
    if (has(s, "<|assistant|>") && has(s, "<|end|>")) {
        return LK_CHAT_PHI3;
    }
    if (has(s, "[INST]") && !has(s, "<<SYS>>")) {
        return LK_CHAT_MISTRAL;
    }
    return LK_CHAT_NONE;
}

const char *lk_chat_format_name(lk_chat_format format)
{
    switch (format) {
    case LK_CHAT_CHATML:
        return "chatml";
    case LK_CHAT_LLAMA3:
        return "llama3";
    case LK_CHAT_GEMMA:
        return "gemma";
    case LK_CHAT_PHI3:
        return "phi3";
    case LK_CHAT_MISTRAL:
        return "mistral";
    case LK_CHAT_NONE:
        break;
    }
    return "none";
}

/* ---- a dialogue being written ------------------------------------------------------------ */

struct dialogue {
    const struct lk_tokenizer *t;
    struct lk_str source; /* the template, or empty */
    char *text;
    size_t n, cap;
    struct lk_tok_plain *plain;
    size_t n_plain, plain_cap;
    lk_status status; /* the first failure; then nothing more is written */
    lk_error *err;
};

static void put_str(struct dialogue *d, struct lk_str s)
{
    size_t need;
    if (d->status) {
        return;
    }
    if (!lk_add_size(d->n, s.len, &need)) {
        d->status = lk_fail(d->err, LK_E_NOMEM, "a dialogue of more than SIZE_MAX bytes");
        return;
    }
    d->status = lk_grow(&d->text, &d->cap, need, 1, d->err);
    if (!d->status && s.len) {
        memcpy(d->text + d->n, s.ptr, s.len);
        d->n = need;
    }
}

/* The format's own text: control tokens count. */
static void put(struct dialogue *d, const char *text)
{
    put_str(d, (struct lk_str){text, strlen(text)});
}

/* Somebody's text: control tokens are ordinary text. */
static void put_plain(struct dialogue *d, struct lk_str s)
{
    size_t begin = d->n;
    put_str(d, s);
    if (!d->status) {
        d->status = lk_grow(&d->plain, &d->plain_cap, d->n_plain + 1, sizeof *d->plain, d->err);
    }
    if (!d->status) {
        d->plain[d->n_plain++] = (struct lk_tok_plain){begin, d->n};
    }
}

static struct lk_str text_of(const lk_chat_message *m)
{
    return (struct lk_str){m->text, m->len};
}

static struct lk_str trim(struct lk_str s)
{
    int32_t cp;
    for (size_t n; (n = lk_utf8_next(s.ptr, s.len, &cp)) != 0 && lk_utf8_is_space(cp);) {
        s.ptr += n;
        s.len -= n;
    }
    while (s.len) {
        size_t start = s.len - 1;
        while (start > 0 && s.len - start < 4 && ((unsigned char)s.ptr[start] & 0xC0) == 0x80) {
            start--;
        }
        size_t n = lk_utf8_next(s.ptr + start, s.len - start, &cp);
        if (n != s.len - start || !lk_utf8_is_space(cp)) {
            break;
        }
        s.len = start;
    }
    return s;
}

static bool is_role(const lk_chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

/* Writes the string literal of the template that begins at `at`, up to `end` or, where that is
 * NULL, to the closing quote. Without `write` only says whether it can be read whole: no code
 * stands in it. */
static bool read_literal(struct dialogue *d, size_t at, char quote, const char *end, bool write)
{
    struct lk_str s = d->source;
    size_t stop = end ? find(s, at, end) : SIZE_MAX;
    for (; at < s.len && at < stop; at++) {
        char c = s.ptr[at];
        if (c == quote) {
            return !end;
        }
        if (!quote && c == '{') {
            return false;
        }
        if (c == '\\' && quote && at + 1 < s.len) {
            c = s.ptr[++at];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        if (write) {
            put_str(d, (struct lk_str){&c, 1});
        }
    }
    return end && stop != SIZE_MAX;
}

/* Where a template names the text between `before` and `end` as a literal, writes it. */
static void put_default_system(struct dialogue *d, const char *header, const char *before,
                               const char *escaped, const char *end)
{
    struct lk_str s = d->source;
    for (size_t from = 0, at; (at = find(s, from, header)) != SIZE_MAX; from = at + 1) {
        char quote = at > 0 && (s.ptr[at - 1] == '\'' || s.ptr[at - 1] == '"') ? s.ptr[at - 1] : 0;
        size_t text = at + strlen(header);
        if (find(s, text, before) == text) {
            text += strlen(before);
        } else if (find(s, text, escaped) == text) {
            text += strlen(escaped);
        } else {
            continue;
        }
        if (read_literal(d, text, quote, end, false)) {
            put(d, header);
            put(d, before);
            read_literal(d, text, quote, end, true);
            put(d, end);
            put(d, "\n");
            return;
        }
    }
}

/* ---- the formats ------------------------------------------------------------------------- */

static void write_chatml(struct dialogue *d, const lk_chat_message *m, size_t n)
{
    if (n == 0 || !is_role(&m[0], "system")) {
        put_default_system(d, "<|im_start|>system", "\n", "\\n", "<|im_end|>");
    }
    for (size_t i = 0; i < n; i++) {
        put(d, "<|im_start|>");
        put(d, m[i].role);
        put(d, "\n");
        put_plain(d, text_of(&m[i]));
        put(d, "<|im_end|>\n");
    }
    put(d, "<|im_start|>assistant\n");
}

static void put_llama3_header(struct dialogue *d, const char *role)
{
    put(d, "<|start_header_id|>");
    put(d, role);
    put(d, "<|end_header_id|>\n\n");
}

/* Llama 3.1 and 3.2 tell the model dates before the system prompt. The date of today is the one
 * that the template falls back to, so that the same dialogue has the same tokens every day. */
static void put_llama3_dates(struct dialogue *d)
{
    static const char cut[] = "Cutting Knowledge Date: ", set[] = "set date_string = \"";
    size_t knowledge = find(d->source, 0, cut), today = find(d->source, 0, set);
    if (knowledge == SIZE_MAX || today == SIZE_MAX) {
        return;
    }
    put(d, cut);
    read_literal(d, knowledge + strlen(cut), '"', "\\n", true);
    put(d, "\nToday Date: ");
    read_literal(d, today + strlen(set), '"', NULL, true);
    put(d, "\n\n");
}

static void write_llama3(struct dialogue *d, const lk_chat_message *m, size_t n)
{
    bool dated = has(d->source, "Cutting Knowledge Date: ");
    bool system = n > 0 && is_role(&m[0], "system");
    if (dated && !system) {
        put_llama3_header(d, "system");
        put_llama3_dates(d);
        put(d, "<|eot_id|>");
    }
    for (size_t i = 0; i < n; i++) {
        put_llama3_header(d, m[i].role);
        if (i == 0 && dated && system) {
            put_llama3_dates(d);
        }
        put_plain(d, trim(text_of(&m[i])));
        put(d, "<|eot_id|>");
    }
    put_llama3_header(d, "assistant");
}

/* Gemma has no system turn: the text goes before the first user's. */
static void write_gemma(struct dialogue *d, const lk_chat_message *m, size_t n)
{
    size_t first = n > 0 && is_role(&m[0], "system");
    for (size_t i = first; i < n; i++) {
        put(d, "<start_of_turn>");
        put(d, is_role(&m[i], "assistant") ? "model" : m[i].role);
        put(d, "\n");
        if (i == first && first) {
            put_plain(d, text_of(&m[0]));
            put(d, "\n\n");
        }
        put_plain(d, trim(text_of(&m[i])));
        put(d, "<end_of_turn>\n");
    }
    put(d, "<start_of_turn>model\n");
}

static void write_phi3(struct dialogue *d, const lk_chat_message *m, size_t n)
{
    /* Phi-4-mini has no line breaks. */
    const char *line =
        d->source.len == 0 || has(d->source, "|>\\n") || has(d->source, "|>\n") ? "\n" : "";
    for (size_t i = 0; i < n; i++) {
        put(d, "<|");
        put(d, m[i].role);
        put(d, "|>");
        put(d, line);
        put_plain(d, text_of(&m[i]));
        put(d, "<|end|>");
        put(d, line);
    }
    put(d, "<|assistant|>");
    put(d, line);
}

/* The quoted literal of the template that has `what` in it and else only spaces; `other` if none.
 */
static const char *spaced(struct lk_str s, const char *what, const char *const *choice, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(choice[i]);
        for (size_t at = 0; (at = find(s, at, choice[i])) != SIZE_MAX; at++) {
            char left = at ? s.ptr[at - 1] : 0, right = at + len < s.len ? s.ptr[at + len] : 0;
            if (left == right && (left == '\'' || left == '"')) {
                return choice[i];
            }
        }
    }
    return what;
}

static void write_mistral(struct dialogue *d, const lk_chat_message *m, size_t n)
{
    static const char *const opening[] = {" [INST] ", "[INST] "}, *const closing[] = {" [/INST]"};
    struct lk_str s = d->source;
    const char *open = spaced(s, "[INST]", opening, LK_COUNT(opening));
    const char *close = spaced(s, "[/INST]", closing, LK_COUNT(closing));
    bool space = has(s, "' ' + message") || has(s, "\" \" + message");
    bool system = n > 0 && is_role(&m[0], "system"), own = has(s, "[SYSTEM_PROMPT]");
    size_t holder = SIZE_MAX; /* the user's message that the system prompt is put before */
    if (system && own) {
        put(d, "[SYSTEM_PROMPT]");
        put_plain(d, text_of(&m[0]));
        put(d, "[/SYSTEM_PROMPT]");
    } else if (system) {
        bool last = has(s, "loop.last and system_message");
        for (size_t i = 1; i < n && (last || holder == SIZE_MAX); i++) {
            holder = is_role(&m[i], "user") ? i : holder;
        }
    }
    for (size_t i = system; i < n; i++) {
        bool user = !is_role(&m[i], "assistant");
        put(d, user ? open : space ? " " : "");
        if (i == holder) {
            put_plain(d, text_of(&m[0]));
            put(d, "\n\n");
        }
        put_plain(d, text_of(&m[i]));
        put(d, user ? close : "</s>");
    }
}

/* ---- all of them ------------------------------------------------------------------------- */

static const struct format {
    void (*write)(struct dialogue *d, const lk_chat_message *m, size_t n);
    const char *needs[2]; /* tokens */
    bool system_anywhere;
} formats[] = {
    [LK_CHAT_CHATML] = {write_chatml, {"<|im_start|>", "<|im_end|>"}, true},
    [LK_CHAT_LLAMA3] = {write_llama3, {"<|start_header_id|>", "<|eot_id|>"}, true},
    [LK_CHAT_GEMMA] = {write_gemma, {"<start_of_turn>", "<end_of_turn>"}, false},
    [LK_CHAT_PHI3] = {write_phi3, {"<|assistant|>", "<|end|>"}, true},
    [LK_CHAT_MISTRAL] = {write_mistral, {"</s>", NULL}, false},
};

static lk_status check(const lk_tokenizer *t, lk_chat_format format, const lk_chat_message *m,
                       size_t n, lk_error *err)
{
    if ((size_t)format >= LK_COUNT(formats) || !formats[format].write) {
        return lk_fail(err, LK_E_INVALID,
                       "chat format %d, expected chatml, llama3, gemma, phi3 or mistral",
                       (int)format);
    }
    for (size_t i = 0; i < LK_COUNT(formats[format].needs); i++) {
        const char *needed = formats[format].needs[i];
        int32_t id = needed ? lk_tok_find(t, needed, strlen(needed)) : 0;
        uint8_t type = id >= 0 ? t->entry[id].type : LK_TOK_NORMAL;
        if (needed && type != LK_TOK_CONTROL && type != LK_TOK_USER_DEFINED) {
            return lk_fail(err, LK_E_UNSUPPORTED,
                           "%s: chat format %s needs a control token '%s' that the vocabulary "
                           "doesn't have",
                           lk_gguf_path(t->gguf), lk_chat_format_name(format), needed);
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool system = is_role(&m[i], "system");
        if (!system && !is_role(&m[i], "user") && !is_role(&m[i], "assistant")) {
            return lk_fail(err, LK_E_INVALID,
                           "message %zu has role '%.32s', expected system, user or assistant", i,
                           m[i].role);
        }
        if (system && i > 0 && !formats[format].system_anywhere) {
            return lk_fail(err, LK_E_INVALID,
                           "message %zu has role 'system', which chat format %s takes only first",
                           i, lk_chat_format_name(format));
        }
    }
    return LK_OK;
}

lk_status lk_chat_tokenize(const lk_tokenizer *t, lk_chat_format format,
                           const lk_chat_message *messages, size_t n_messages, int32_t *ids,
                           size_t cap, size_t *n, lk_error *err)
{
    struct dialogue d = {.t = t, .source = chat_template(t->gguf), .err = err};
    *n = 0;
    lk_status status = check(t, format, messages, n_messages, err);
    if (status) {
        return status;
    }
    formats[format].write(&d, messages, n_messages);
    status = d.status;
    if (!status) {
        status =
            lk_tok_encode(t, d.text, d.n, d.plain, d.n_plain, t->add_bos, false, ids, cap, n, err);
    }
    lk_free(d.text);
    lk_free(d.plain);
    return status;
}
