/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_ends: which tokens begin a text, end it or end a turn, and which are marks of a dialogue. The
 * keys of the file say it, and the texts of tokens where the keys or the types do not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text/token/tok.h"

/* What models write where their turn, or the text, ends; and what dialogues are written with. */
static const struct mark {
    const char *text;
    enum { NEVER, IF_CONTROL, ALWAYS } ends;
    enum {
        TEXT, /* it is what the file says */
        MARK, /* no text of people: it is a control token whatever the file says */
        SHOWN /* likewise, but files call it user-defined, so that programs print it */
    } is;
} MARKS[] = {
    {"<|im_end|>", ALWAYS, MARK},
    {"<|eot_id|>", ALWAYS, MARK},
    {"<|eom_id|>", ALWAYS, MARK},
    {"<end_of_turn>", ALWAYS, MARK},
    {"<turn|>", ALWAYS, MARK},
    {"<|end|>", ALWAYS, MARK},
    {"<|endoftext|>", ALWAYS, MARK},
    {"<|end_of_text|>", ALWAYS, MARK},
    {"<|end_of_turn|>", ALWAYS, MARK},
    {"<|END_OF_TURN_TOKEN|>", ALWAYS, MARK},
    {"<|eot|>", ALWAYS, MARK},
    {"<|eom|>", ALWAYS, MARK},
    {"<|EOT|>", ALWAYS, MARK},
    {"<|return|>", ALWAYS, MARK},
    {"<|call|>", ALWAYS, MARK},
    {"<end_of_utterance>", ALWAYS, MARK},
    {"<｜end▁of▁sentence｜>", ALWAYS, MARK},
    {"<EOT>", IF_CONTROL, TEXT},
    {"</s>", IF_CONTROL, TEXT}, /* of some vocabularies also a word of HTML */
    {"<eos>", IF_CONTROL, TEXT},
    /* between the files of a repository, in models of code */
    {"<|fim_pad|>", ALWAYS, TEXT},
    {"<|fim_repo|>", ALWAYS, TEXT},
    {"<|repo_name|>", ALWAYS, TEXT},
    {"<|file_sep|>", ALWAYS, TEXT},
    {"<|im_start|>", NEVER, MARK},
    {"<|im_sep|>", NEVER, MARK},
    {"<|start_header_id|>", NEVER, MARK},
    {"<|end_header_id|>", NEVER, MARK},
    {"<start_of_turn>", NEVER, MARK},
    {"<|turn>", NEVER, MARK},
    {"<|system|>", NEVER, MARK},
    {"<|user|>", NEVER, MARK},
    {"<|assistant|>", NEVER, MARK},
    /* Gemma 4's, of calls and thinking; where the first of them comes others write */
    {"<|tool_response>", ALWAYS, SHOWN},
    {"<tool_response|>", NEVER, SHOWN},
    {"<|tool_call>", NEVER, SHOWN},
    {"<tool_call|>", NEVER, SHOWN},
    {"<|channel>", NEVER, SHOWN},
    {"<channel|>", NEVER, SHOWN},
    {"<|\"|>", NEVER, SHOWN},
};

/* Keys of single tokens that end an answer, beside EOS. */
static const char *const END_KEYS[] = {
    "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
};

int32_t lk_tok_find_control(const struct lk_tokenizer *t, const char *text)
{
    int32_t id = lk_tok_find(t, text, strlen(text));
    return id >= 0 && t->entry[id].type == LK_TOK_CONTROL ? id : -1;
}

/* ---- keys -------------------------------------------------------------------------------- */

/* Element i of a key as an id; -1, with a warning, for one that no token has: files write -1 where
 * they mean none. */
static lk_status take_id(struct lk_tokenizer *t, const struct lk_gguf_value *v, const char *key,
                         uint64_t i, int32_t *id, lk_error *err)
{
    int64_t found = lk_gguf_array_int(v, i);
    *id = -1;
    if (found >= 0 && (uint64_t)found < t->n_vocab) {
        *id = (int32_t)found;
        return LK_OK;
    }
    return lk_tok_warn(t, err,
                       "%s: key '%s' is %" PRId64 ", expected less than %zu: it is taken for none",
                       lk_gguf_path(t->gguf), key, found == UINT32_MAX ? -1 : found, t->n_vocab);
}

/* An integer or an array of them; NULL where the file has none. */
static lk_status find_ids(const struct lk_tokenizer *t, const char *key,
                          const struct lk_gguf_value **out, lk_error *err)
{
    const struct lk_gguf_value *v = lk_gguf_find(t->gguf, key);
    *out = v;
    if (v && (v->elem == LK_GGUF_STRING || v->elem == LK_GGUF_ARRAY || v->elem == LK_GGUF_BOOL ||
              v->elem == LK_GGUF_F32 || v->elem == LK_GGUF_F64)) {
        return lk_fail(err, LK_E_FORMAT, "%s: key '%s': found %s, expected an integer",
                       lk_gguf_path(t->gguf), key, lk_gguf_value_type_name(v));
    }
    return LK_OK;
}

/* The id of a key, of an array the first. */
static lk_status read_id(struct lk_tokenizer *t, const char *key, int32_t *id, lk_error *err)
{
    const struct lk_gguf_value *v;
    lk_status status = find_ids(t, key, &v, err);
    *id = -1;
    return status || !v || v->count == 0 ? status : take_id(t, v, key, 0, id, err);
}

/* Marks all ids of a key as ends. */
static lk_status mark_ids(struct lk_tokenizer *t, const char *key, lk_error *err)
{
    const struct lk_gguf_value *v;
    lk_status status = find_ids(t, key, &v, err);
    for (uint64_t i = 0; !status && v && i < v->count; i++) {
        int32_t id;
        status = take_id(t, v, key, i, &id, err);
        if (id >= 0) {
            t->entry[id].eog = true;
        }
    }
    return status;
}

/* ---- texts ------------------------------------------------------------------------------- */

/* A mark that the file calls something else than a control token becomes one. */
static lk_status mark_texts(struct lk_tokenizer *t, lk_error *err)
{
    const struct mark *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < LK_COUNT(MARKS); i++) {
        const struct mark *m = &MARKS[i];
        int32_t id = lk_tok_find(t, m->text, strlen(m->text));
        if (id < 0) {
            continue;
        }
        struct lk_tok_entry *e = &t->entry[id];
        if (m->is != TEXT && e->type != LK_TOK_CONTROL) {
            bool usual = m->is == SHOWN && e->type == LK_TOK_USER_DEFINED;
            first = n > 0 || usual ? first : m;
            n += !usual;
            e->type = LK_TOK_CONTROL;
        }
        e->eog = m->ends == ALWAYS || (m->ends == IF_CONTROL && e->type == LK_TOK_CONTROL);
    }
    /* Where <|return|> and <|call|> end a turn, <|end|> only ends a message of it. */
    int32_t end = lk_tok_find_control(t, "<|end|>");
    if (end >= 0 && lk_tok_find_control(t, "<|return|>") >= 0 &&
        lk_tok_find_control(t, "<|call|>") >= 0) {
        t->entry[end].eog = false;
    }
    if (n == 0) {
        return LK_OK;
    }
    char more[64] = "";
    if (n > 1) {
        snprintf(more, sizeof more, " (nor %zu more marks of a dialogue)", n - 1);
    }
    return lk_tok_warn(t, err,
                       "%s: key 'tokenizer.ggml.token_type' calls '%s' no control token%s: it is "
                       "taken for one by its text",
                       lk_gguf_path(t->gguf), first->text, more);
}

/* BERT's names of what stands in front of a text and behind it. */
static lk_status read_frame(struct lk_tokenizer *t, lk_error *err)
{
    lk_status status = LK_OK;
    if (t->kind == LK_TOK_WPM && t->bos < 0) {
        status = read_id(t, "tokenizer.ggml.cls_token_id", &t->bos, err);
    }
    if (t->kind == LK_TOK_WPM && !status) { /* the format's spelling */
        int32_t separator;
        status = read_id(t, "tokenizer.ggml.seperator_token_id", &separator, err);
        t->eos = separator >= 0 ? separator : t->eos;
    }
    return status;
}

lk_status lk_tok_read_ends(struct lk_tokenizer *t, lk_error *err)
{
    lk_status status;
    if ((status = read_id(t, "tokenizer.ggml.bos_token_id", &t->bos, err)) ||
        (status = read_id(t, "tokenizer.ggml.eos_token_id", &t->eos, err)) ||
        (status = read_id(t, "tokenizer.ggml.unknown_token_id", &t->unk, err)) ||
        (status = read_frame(t, err)) || (status = mark_texts(t, err)) ||
        (status = mark_ids(t, "tokenizer.ggml.eos_token_ids", err))) {
        return status;
    }
    for (size_t i = 0; i < LK_COUNT(END_KEYS) && !status; i++) {
        status = mark_ids(t, END_KEYS[i], err);
    }
    const struct lk_gguf_value *v = lk_gguf_find(t->gguf, "tokenizer.ggml.eos_token_id");
    if (!status && t->eos < 0 && !v) { /* a list alone: its first */
        status = read_id(t, "tokenizer.ggml.eos_token_ids", &t->eos, err);
    }
    for (uint64_t i = 0; v && i < v->count; i++) { /* told of already where there is none */
        int64_t id = lk_gguf_array_int(v, i);
        if (id >= 0 && (uint64_t)id < t->n_vocab) {
            t->entry[id].eog = true;
        }
    }
    return status;
}
