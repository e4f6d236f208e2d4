/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_request: see template_request.h.
 */
#include "text/template/template_request.h"

#include <stdio.h>

#include "base/mem.h"
#include "gguf/model_file.h"
#include "text/value/json.h"

/* ---- special tokens ---- */

static const struct {
    const char *name, *key;
} special[LK_TEMPLATE_TOKENS] = {
    {"bos_token", "tokenizer.ggml.bos_token_id"},
    {"eos_token", "tokenizer.ggml.eos_token_id"},
    {"unk_token", "tokenizer.ggml.unknown_token_id"},
    {"sep_token", "tokenizer.ggml.seperator_token_id"}, /* so spelled in GGUF */
    {"pad_token", "tokenizer.ggml.padding_token_id"},
    {"cls_token", "tokenizer.ggml.cls_token_id"},
    {"mask_token", "tokenizer.ggml.mask_token_id"},
};

static struct lk_value own(const char *text)
{
    return lk_value_text(text, strlen(text), LK_VALUE_TRUSTED);
}

lk_status lk_template_read_tokens(const struct lk_model *model, struct lk_template_tokens *out,
                                  lk_error *err)
{
    const struct lk_gguf_value *texts = NULL;
    uint32_t id[LK_TEMPLATE_TOKENS];
    out->n = 0;
    if (!model) {
        return LK_OK;
    }
    lk_status status =
        lk_gguf_array(model->gguf, "tokenizer.ggml.tokens", false, LK_GGUF_STRING, &texts, err);
    for (size_t i = 0; i < LK_TEMPLATE_TOKENS && !status; i++) {
        id[i] = UINT32_MAX;
        status = lk_gguf_u32(model->gguf, special[i].key, false, &id[i], err);
    }
    size_t cursor = 0;
    for (uint64_t at = 0; !status && texts && at < texts->count; at++) {
        struct lk_str text = lk_gguf_next_str(texts, &cursor);
        for (size_t i = 0; i < LK_TEMPLATE_TOKENS; i++) {
            if (id[i] == at && text.len <= UINT32_MAX) {
                out->member[out->n++] =
                    (struct lk_member){own(special[i].name),
                                       lk_value_text(text.ptr, text.len, LK_VALUE_TRUSTED)};
            }
        }
    }
    return status;
}

/* ---- the date ---- */

static bool digits(const char **p, int n, int *out)
{
    *out = 0;
    for (; n > 0; n--, ++*p) {
        if (**p < '0' || **p > '9') {
            return false;
        }
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

/* "YYYY-MM-DD", and then perhaps "HH:MM" or "HH:MM:SS" behind a space or a T. */
static bool read_date(const char *p, struct tm *t)
{
    *t = (struct tm){0};
    if (!digits(&p, 4, &t->tm_year) || *p++ != '-' || !digits(&p, 2, &t->tm_mon) || *p++ != '-' ||
        !digits(&p, 2, &t->tm_mday)) {
        return false;
    }
    t->tm_year -= 1900;
    t->tm_mon--;
    if (*p == ' ' || *p == 'T') {
        p++;
        if (!digits(&p, 2, &t->tm_hour) || *p++ != ':' || !digits(&p, 2, &t->tm_min) ||
            (*p == ':' && (p++, !digits(&p, 2, &t->tm_sec)))) {
            return false;
        }
    }
    struct tm before = *t;
    timegm(t); /* the day of the week and of the year; and a date that there is not is changed */
    return *p == 0 && before.tm_mday == t->tm_mday && before.tm_mon == t->tm_mon &&
           before.tm_hour == t->tm_hour && before.tm_min == t->tm_min && before.tm_sec == t->tm_sec;
}

static lk_status read_now(const struct lk_value *v, struct tm *now, lk_error *err)
{
    time_t seconds = time(NULL);
    bool good = true;
    if (!v) {
        good = localtime_r(&seconds, now) != NULL;
    } else if (v->type == LK_VALUE_INT) {
        seconds = (time_t)v->integer;
        good = gmtime_r(&seconds, now) != NULL;
    } else {
        good = v->type == LK_VALUE_STRING && v->n < 32 && read_date(v->text, now);
    }
    return good ? LK_OK
                : lk_fail(
                      err, LK_E_INVALID,
                      "now: expected a date as \"2026-07-25\", \"2026-07-25 17:20:00\" or seconds "
                      "since 1970");
}

/* ---- messages ---- */

static bool is_known_role(const struct lk_value *role)
{
    static const char *const roles[] = {"system",   "developer", "user",  "assistant",  "tool",
                                        "function", "ipython",   "model", "observation"};
    for (size_t i = 0; i < LK_COUNT(roles); i++) {
        if (lk_value_is(role, roles[i])) {
            return true;
        }
    }
    return false;
}

static struct lk_value role_of(const char *text, size_t n)
{
    struct lk_value role = lk_value_text(text, n, 0);
    role.flags = is_known_role(&role) ? LK_VALUE_TRUSTED : 0;
    return role;
}

/* The first of a message's fields for what the model thought that holds something. */
static const struct lk_value *reasoning_of(const struct lk_value *message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        const struct lk_value *v = lk_value_get(message, names[i]);
        if (v && v->type != LK_VALUE_NULL) {
            return v;
        }
    }
    return NULL;
}

/* One message of a request, without its nulls. `members` has room for two more than it has. */
static lk_status take_message(struct lk_region *region, const struct lk_value *message, size_t i,
                              struct lk_member *members, struct lk_value *out, lk_error *err)
{
    size_t n = 0;
    if (message->type != LK_VALUE_DICT) {
        return lk_fail(err, LK_E_FORMAT, "request: messages[%zu]: expected an object", i);
    }
    const struct lk_value *reasoning = reasoning_of(message);
    if (reasoning) {
        members[n++] = (struct lk_member){own("thinking"), *reasoning};
    }
    for (uint32_t k = 0; k < message->n; k++) {
        struct lk_member m = message->member[k];
        if (m.value.type == LK_VALUE_NULL) {
            continue;
        }
        if (lk_value_is(&m.key, "role") && m.value.type == LK_VALUE_STRING) {
            m.value = role_of(m.value.text, m.value.n);
        }
        members[n++] = m;
    }
    if (reasoning) {
        members[n++] = (struct lk_member){own("reasoning_content"), *reasoning};
    }
    return lk_value_dict(region, members, n, "request", out, err);
}

static lk_status take_messages(struct lk_region *region, const struct lk_value *messages,
                               struct lk_value *out, lk_error *err)
{
    size_t most = 0;
    if (!messages || messages->type != LK_VALUE_LIST) {
        return lk_fail(err, LK_E_FORMAT, "request: messages: %s, expected an array of messages",
                       messages ? "found something else" : "not there");
    }
    for (uint32_t i = 0; i < messages->n; i++) {
        most = messages->item[i].n > most ? messages->item[i].n : most;
    }
    struct lk_member *members = lk_alloc_array(most + 2, sizeof *members);
    struct lk_value *list = lk_region_array(region, messages->n, sizeof *list);
    lk_status status = LK_OK;
    if (!members || !list) {
        status = list ? lk_fail(err, LK_E_NOMEM, "request: out of memory")
                      : lk_region_fail(region, "request", err);
    }
    for (uint32_t i = 0; i < messages->n && !status; i++) {
        status = take_message(region, &messages->item[i], i, members, &list[i], err);
    }
    lk_free(members);
    *out = (struct lk_value){.type = LK_VALUE_LIST, .n = messages->n, .item = list};
    return status;
}

/* Messages that came as text. */
static lk_status make_messages(struct lk_region *region, const lk_template_input *in,
                               struct lk_value *out, lk_error *err)
{
    struct lk_value *list = lk_region_array(region, in->n_messages, sizeof *list);
    struct lk_member m[2];
    if (in->n_messages > UINT32_MAX || !list) {
        return lk_region_fail(region, "messages", err);
    }
    for (size_t i = 0; i < in->n_messages; i++) {
        const lk_chat_message *message = &in->messages[i];
        if (message->len > UINT32_MAX) {
            return lk_fail(err, LK_E_INVALID, "message %zu: more than 4 GiB", i);
        }
        m[0] = (struct lk_member){own("role"), role_of(message->role, strlen(message->role))};
        m[1] = (struct lk_member){own("content"), lk_value_text(message->text, message->len, 0)};
        lk_status status = lk_value_dict(region, m, 2, "messages", &list[i], err);
        if (status) {
            return status;
        }
    }
    *out = (struct lk_value){.type = LK_VALUE_LIST, .n = (uint32_t)in->n_messages, .item = list};
    return LK_OK;
}

/* ---- variables ---- */

struct variables {
    struct lk_member *member;
    size_t n, cap;
    lk_error *err;
};

static lk_status set(struct variables *v, const struct lk_value *name, const struct lk_value *value)
{
    lk_status status = lk_grow(&v->member, &v->cap, v->n + 1, sizeof *v->member, v->err);
    if (!status) {
        v->member[v->n++] = (struct lk_member){*name, *value};
    }
    return status;
}

static lk_status set_named(struct variables *v, const char *name, const struct lk_value *value)
{
    struct lk_value key = own(name);
    return set(v, &key, value);
}

/* A member of the request, or a value that stands for it. */
static lk_status copy(struct variables *v, const struct lk_value *request, const char *name,
                      struct lk_value fallback)
{
    const struct lk_value *found = lk_value_get(request, name);
    return set_named(v, name, found ? found : &fallback);
}

static lk_status set_all(struct variables *v, const struct lk_value *dict, const char *what)
{
    lk_status status = LK_OK;
    if (dict && dict->type != LK_VALUE_NULL && dict->type != LK_VALUE_DICT) {
        return lk_fail(v->err, LK_E_FORMAT, "%s: expected an object of variables", what);
    }
    for (uint32_t i = 0; dict && i < dict->n && !status; i++) {
        status = set(v, &dict->member[i].key, &dict->member[i].value);
    }
    return status;
}

static lk_status read_request(struct lk_region *region, const lk_template_input *in,
                              struct variables *v, struct lk_value *messages)
{
    const struct lk_json_reading how = {.what = "request"};
    struct lk_value request;
    lk_status status = lk_json_read(region, in->request, in->request_len, &how, &request, v->err);
    if (!status && request.type != LK_VALUE_DICT) {
        status = lk_fail(v->err, LK_E_FORMAT, "request: expected an object with messages");
    }
    if (status ||
        (status = take_messages(region, lk_value_get(&request, "messages"), messages, v->err))) {
        return status;
    }
    const struct lk_value none = {.type = LK_VALUE_NULL, .flags = LK_VALUE_TRUSTED};
    const struct lk_value *effort = lk_value_get(&request, "reasoning_effort");
    if ((status = copy(v, &request, "tools", none)) ||
        (status = copy(v, &request, "documents", none)) ||
        (status = copy(v, &request, "add_generation_prompt", lk_value_bool(!in->continues))) ||
        (effort && (status = set_named(v, "reasoning_effort", effort)))) {
        return status;
    }
    return set_all(v, lk_value_get(&request, "chat_template_kwargs"),
                   "request: chat_template_kwargs");
}

static lk_status without_request(struct lk_region *region, const lk_template_input *in,
                                 struct variables *v, struct lk_value *messages)
{
    const struct lk_value none = {.type = LK_VALUE_NULL, .flags = LK_VALUE_TRUSTED};
    const struct lk_value asks = lk_value_bool(!in->continues);
    lk_status status = make_messages(region, in, messages, v->err);
    if (status || (status = set_named(v, "tools", &none)) ||
        (status = set_named(v, "documents", &none))) {
        return status;
    }
    return set_named(v, "add_generation_prompt", &asks);
}

static lk_status read_args(struct lk_region *region, const lk_template_input *in,
                           struct variables *v, struct tm *now)
{
    const struct lk_json_reading how = {.what = "template arguments", .flags = LK_VALUE_TRUSTED};
    struct lk_value args = {0};
    lk_status status = LK_OK;
    if (in->args) {
        status = lk_json_read(region, in->args, in->args_len, &how, &args, v->err);
    }
    if (!status) {
        status = set_all(v, in->args ? &args : NULL, "template arguments");
    }
    return status ? status : read_now(lk_value_get(&args, "now"), now, v->err);
}

lk_status lk_template_variables(struct lk_region *region, const struct lk_template_tokens *tokens,
                                const lk_template_input *in, struct lk_value *out, struct tm *now,
                                lk_error *err)
{
    struct variables v = {.err = err};
    struct lk_value messages;
    lk_status status = LK_OK;
    for (size_t i = 0; i < tokens->n && !status; i++) {
        status = set(&v, &tokens->member[i].key, &tokens->member[i].value);
    }
    if (!status) {
        status = in->request ? read_request(region, in, &v, &messages)
                             : without_request(region, in, &v, &messages);
    }
    if (!status && !(status = set_named(&v, "messages", &messages))) {
        status = read_args(region, in, &v, now);
    }
    if (!status) {
        status = lk_value_dict(region, v.member, v.n, "request", out, err);
    }
    lk_free(v.member);
    return status;
}
