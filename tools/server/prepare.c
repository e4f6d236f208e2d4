/* SPDX-License-Identifier: Apache-2.0
 *
 * Prepare: what a request asks for becomes what a scheduler takes: tokens of its prompts and the
 * constraint of its answers. Runs on the model's own thread, beside the answers that are being
 * written.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/server.h"
#include "tools/server/wire_json.h"

/* ---- a chat as tokens ---- */

/* The messages for a known format, which takes plain texts alone; they point into `root`. */
static bool plain_messages(const json_t *root, lk_chat_message *out, struct wire_error *why)
{
    const json_t *messages = json_object_get(root, "messages");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const json_t *content = json_object_get(m, "content");
        if (json_array_size(content) == 1) {
            content = json_object_get(json_array_get(content, 0), "text");
        }
        const char *role = json_string_value(json_object_get(m, "role"));
        if (!role || !json_is_string(content)) {
            *why = refusal(400, "invalid_request_error", "messages",
                           "messages[%zu]: this model's chat template does not run, so a message "
                           "has to be a role and a text",
                           i);
            return false;
        }
        out[i] = (lk_chat_message){.role = role,
                                   .text = json_string_value(content),
                                   .len = json_string_length(content)};
    }
    return true;
}

/* As many ids as there are: asks for the count first. */
static bool known_format(struct model *m, const char *request, size_t len, int32_t **ids, size_t *n,
                         struct wire_error *why)
{
    lk_error err = {0};
    bool no_memory;
    json_t *root = wire_load(request, len, JSON_ALLOW_NUL, &no_memory);
    size_t count = json_array_size(json_object_get(root, "messages"));
    lk_chat_message *messages = calloc(count + 1, sizeof *messages);
    bool ok = false;
    if (!root || !messages) {
        *why = refusal(503, "overloaded_error", "", "out of memory reading the messages");
    } else if (json_array_size(json_object_get(root, "tools")) > 0) {
        *why = refusal(400, "invalid_request_error", "tools",
                       "tools: this model has no chat template that could name them (%s)",
                       m->template_why.message);
    } else if (plain_messages(root, messages, why)) {
        size_t cap = 0;
        lk_status status;
        do {
            free(*ids);
            *ids = malloc((cap + 1) * sizeof **ids);
            status = *ids ? lk_chat_tokenize(m->tokenizer, m->format, messages, count, *ids, cap, n,
                                             &err)
                          : LK_E_NOMEM;
        } while (status == LK_E_FULL && *n > cap && (cap = *n, true));
        ok = status == LK_OK;
        if (!ok) {
            *why = refusal_of(&err);
        }
    }
    free(messages);
    json_decref(root);
    return ok;
}

static bool tokenize_rendering(struct model *m, const lk_rendering *r, int32_t **ids, size_t *n,
                               lk_error *err)
{
    lk_status status = lk_rendering_tokenize(r, m->tokenizer, NULL, 0, n, err);
    if (status && status != LK_E_FULL) {
        return false;
    }
    *ids = malloc((*n + 1) * sizeof **ids);
    if (!*ids) {
        err->status = LK_E_NOMEM;
        snprintf(err->message, sizeof err->message, "out of memory: a prompt of %zu tokens", *n);
        return false;
    }
    return lk_rendering_tokenize(r, m->tokenizer, *ids, *n, n, err) == LK_OK;
}

/* The variables that make the model think as it was asked to; NULL: as it does by itself, which is
 * also what a model does that can't be told. */
static const char *think_args(struct model *m, const struct ask *ask)
{
    const char *how = ask->think == ASK_THINK_OFF  ? "off"
                      : ask->effort[0]             ? ask->effort
                      : ask->think == ASK_THINK_ON ? "on"
                                                   : NULL;
    const char *args = NULL;
    lk_error err;
    return how && !lk_answer_think_args(m->answers, how, &args, &err) ? args : NULL;
}

/* A dialogue's prompt, and in *rendered what was made of it by a template, or NULL. */
static bool chat(struct model *m, const struct ask *ask, int32_t **ids, size_t *n,
                 lk_rendering **rendered, struct wire_error *why)
{
    lk_template_input in = lk_template_input_default();
    lk_error err = {0};
    const char *request = ask->request;
    size_t len = ask->request_len;
    *ids = NULL;
    *rendered = NULL;
    if (!m->template && m->format != LK_CHAT_NONE) {
        return known_format(m, request, len, ids, n, why);
    }
    if (!m->template) {
        *why =
            refusal(400, "invalid_request_error", "messages",
                    "model '%s' can't hold a dialogue: %s", m->what->name, m->template_why.message);
        return false;
    }
    in.request = request;
    in.request_len = len;
    in.continues = ask->continues;
    in.args = think_args(m, ask);
    in.args_len = in.args ? strlen(in.args) : 0;
    bool ok = lk_answer_render(m->answers, &in, rendered, &err) == LK_OK &&
              tokenize_rendering(m, *rendered, ids, n, &err);
    if (!ok) {
        *why = refusal_of(&err);
    }
    return ok;
}

/* ---- a text as tokens ---- */

bool prepare_ids(struct model *m, const struct ask_prompt *from, unsigned flags, int32_t **ids,
                 size_t *n, struct wire_error *why)
{
    lk_error err = {0};
    lk_status status = LK_OK;
    *n = from->n_ids;
    if (!from->ids) {
        status = lk_tokenize(m->tokenizer, from->text, from->len, flags, NULL, 0, n, &err);
    }
    *ids = status ? NULL : malloc((*n + 1) * sizeof **ids);
    if (*ids && from->ids) {
        memcpy(*ids, from->ids, *n * sizeof **ids);
    } else if (*ids) {
        status = lk_tokenize(m->tokenizer, from->text, from->len, flags, *ids, *n, n, &err);
    }
    if (status) {
        *why = refusal_of(&err);
    } else if (!*ids) {
        *why = refusal(503, "overloaded_error", "", "out of memory: a text of %zu tokens", *n);
    }
    return !status && *ids;
}

static bool text(struct model *m, const struct ask *ask, const struct ask_prompt *from,
                 struct task_prompt *to, struct wire_error *why)
{
    if (!prepare_ids(m, from, ask->raw ? 0 : LK_TOKENIZE_BOS, &to->ids, &to->n, why)) {
        return false;
    }
    if (to->n == 0 && lk_token_bos(m->tokenizer) >= 0) {
        to->ids[to->n++] = lk_token_bos(m->tokenizer); /* an empty text: whatever comes first */
    }
    return true;
}

/* ---- what an answer has to fit, and how it is taken apart ---- */

static lk_status constrain_text(struct model *m, struct task *task, lk_error *err)
{
    static const char object[] = "{\"type\": \"object\"}";
    const struct ask *a = &task->ask;
    lk_status status = LK_OK;
    switch (a->format) {
    case ASK_FREE:
        return LK_OK;
    case ASK_JSON:
        status = lk_grammar_open_schema(object, sizeof object - 1, NULL, &task->grammar, err);
        break;
    case ASK_SCHEMA:
        status = lk_grammar_open_schema(a->format_text, a->format_len, NULL, &task->grammar, err);
        break;
    case ASK_GRAMMAR:
        status = lk_grammar_open_gbnf(a->format_text, a->format_len, NULL, &task->grammar, err);
        break;
    case ASK_REGEX:
        status = lk_grammar_open_regex(a->format_text, a->format_len, NULL, &task->grammar, err);
        break;
    }
    return status
               ? status
               : lk_constraint_open(task->grammar, m->tokenizer, NULL, 0, &task->constraint, err);
}

/* Of a dialogue's answers: what takes them apart, and, unless a grammar was given, what holds them
 * to the request. */
static lk_status answer_apart(struct model *m, struct task *task, const lk_rendering *prompt,
                              lk_error *err)
{
    const struct ask *a = &task->ask;
    lk_answer_options o = lk_answer_options_default();
    lk_status status = LK_OK;
    o.request = a->request;
    o.request_len = a->request_len;
    o.prompt = prompt;
    o.whole_calls = !a->stream;
    for (size_t i = 0; i < task->n_answers && !status; i++) {
        o.seed = a->sampler.seed + i;
        status = lk_answer_open(m->answers, &o, &task->answer[i].parts, err);
    }
    if (!status && (a->format == ASK_GRAMMAR || a->format == ASK_REGEX)) {
        return constrain_text(m, task, err);
    }
    return status ? status
                  : lk_answer_constrain(m->answers, m->tokenizer, &o, &task->grammar,
                                        &task->constraint, err);
}

/* ---- all of it ---- */

static bool check(struct model *m, const struct task *task, struct wire_error *why)
{
    size_t n_ctx = lk_engine_n_ctx(m->engine), n_vocab = lk_engine_n_vocab(m->engine);
    for (size_t i = 0; i < task->n_prompts; i++) {
        const struct task_prompt *p = &task->prompt[i];
        if (p->n == 0) {
            *why = refusal(400, "invalid_request_error", "prompt", "the prompt is empty");
            return false;
        }
        if (p->n >= n_ctx) {
            *why = refusal(400, "invalid_request_error", "messages",
                           "the prompt has %zu tokens, and the context of model '%s' has room for "
                           "%zu with at least one of an answer",
                           p->n, m->what->name, n_ctx);
            snprintf(why->code, sizeof why->code, "context_length_exceeded");
            return false;
        }
        for (size_t k = 0; k < p->n; k++) {
            if (p->ids[k] < 0 || (size_t)p->ids[k] >= n_vocab) {
                *why = refusal(400, "invalid_request_error", "prompt",
                               "token %zu of the prompt is %d, expected 0 to %zu", k, p->ids[k],
                               n_vocab - 1);
                return false;
            }
        }
    }
    return true;
}

static bool make(struct model *m, struct task *task, struct wire_error *why)
{
    struct ask *a = &task->ask;
    bool dialogue = a->kind == ASK_CHAT || a->kind == ASK_COUNT;
    task->n_prompts = dialogue ? 1 : a->n_prompts;
    task->prompt = calloc(task->n_prompts + 1, sizeof *task->prompt);
    task->n_answers = task->n_prompts * a->n;
    task->answer = calloc(task->n_answers + 1, sizeof *task->answer);
    if (!task->prompt || !task->answer) {
        task->n_prompts = 0;
        *why = refusal(503, "overloaded_error", "", "out of memory preparing a request");
        return false;
    }
    lk_rendering *rendered = NULL;
    lk_error err = {0};
    bool ok = true;
    for (size_t i = 0; i < task->n_prompts && ok; i++) {
        struct task_prompt *p = &task->prompt[i];
        ok = dialogue ? chat(m, a, &p->ids, &p->n, &rendered, why)
                      : text(m, a, &a->prompt[i], p, why);
    }
    ok = ok && (a->kind == ASK_COUNT || check(m, task, why));
    if (ok && a->kind != ASK_COUNT &&
        (rendered ? answer_apart(m, task, rendered, &err) : constrain_text(m, task, &err))) {
        *why = refusal_of(&err);
        ok = false;
    }
    lk_rendering_close(&rendered);
    return ok;
}

bool prepare(struct model *m, struct task *task)
{
    struct wire_error why;
    if (!make(m, task, &why)) {
        task_refuse(task, &why);
        return false;
    }
    return true;
}
