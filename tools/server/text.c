/* SPDX-License-Identifier: Apache-2.0
 *
 * Text: what a model's tokenizer and template make of a text, without an answer: /tokenize,
 * /detokenize, /apply-template. The work is done on the model's thread.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/server.h"
#include "tools/server/wire_json.h"

static void refuse_memory(struct task *task)
{
    struct wire_error why = refusal(503, "overloaded_error", "", "out of memory");
    task_refuse(task, &why);
}

/* NULL: there was no memory for it. */
static void reply(struct task *task, json_t *value)
{
    char *text = wire_dump(value);
    if (text) {
        task_reply(task, 200, "application/json", text, strlen(text));
    } else {
        refuse_memory(task);
    }
    free(text);
    json_decref(value);
}

/* Where memory runs out there is no list any more. */
static void append(json_t **list, json_t *value)
{
    if (json_array_append_new(*list, value)) {
        json_decref(*list);
        *list = NULL;
    }
}

static void refuse_field(struct task *task, const char *field, const char *expected)
{
    struct wire_error why =
        refusal(400, "invalid_request_error", field, "%s: expected %s", field, expected);
    task_refuse(task, &why);
}

/* The bytes as a JSON string, or as an array of numbers where they are no UTF-8. */
static json_t *bytes_json(const char *bytes, size_t len)
{
    if (wire_is_utf8(bytes, len)) {
        return json_stringn(bytes, len);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < len; i++) {
        append(&list, json_integer((unsigned char)bytes[i]));
    }
    return list;
}

static json_t *piece_json(const lk_tokenizer *t, int32_t id, char *bytes, size_t cap)
{
    size_t len = 0;
    if (lk_token_bytes(t, id, bytes, cap, &len)) {
        return NULL;
    }
    return json_pack("{s:i, s:o}", "id", id, "piece", bytes_json(bytes, len));
}

/* {"content": TEXT, "add_special": false, "parse_special": true, "with_pieces": false} */
static void tokenize(struct task *task, const json_t *root)
{
    const lk_tokenizer *t = task->model->tokenizer;
    const json_t *content = json_object_get(root, "content");
    const json_t *special = json_object_get(root, "parse_special");
    bool pieces = json_is_true(json_object_get(root, "with_pieces"));
    unsigned flags = (json_is_true(json_object_get(root, "add_special")) ? LK_TOKENIZE_BOS : 0u) |
                     (json_is_false(special) ? LK_TOKENIZE_PLAIN : 0u);
    lk_error err = {0};
    size_t n = 0, cap = lk_tokenizer_max_bytes(t) + 4;
    if (!json_is_string(content)) {
        refuse_field(task, "content", "a text");
        return;
    }
    const char *text = json_string_value(content);
    size_t len = json_string_length(content);
    if (lk_tokenize(t, text, len, flags, NULL, 0, &n, &err)) {
        task_refuse_status(task, &err);
        return;
    }
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    char *bytes = malloc(cap);
    json_t *list = ids && bytes ? json_array() : NULL;
    if (list && lk_tokenize(t, text, len, flags, ids, n, &n, &err)) {
        json_decref(list);
        list = NULL;
    }
    for (size_t i = 0; list && i < n; i++) {
        append(&list, pieces ? piece_json(t, ids[i], bytes, cap) : json_integer(ids[i]));
    }
    free(ids);
    free(bytes);
    reply(task, list ? json_pack("{s:o}", "tokens", list) : NULL);
}

/* {"tokens": [ids]} */
static void detokenize(struct task *task, const json_t *root)
{
    const lk_tokenizer *t = task->model->tokenizer;
    const json_t *list = json_object_get(root, "tokens");
    size_t cap = lk_tokenizer_max_bytes(t) + 4, len;
    struct wire_text out = {0};
    char *bytes = malloc(cap);
    bool ok = json_is_array(list);
    for (size_t i = 0; ok && bytes && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t id = json_integer_value(item);
        ok = json_is_integer(item) && id >= 0 && (uint64_t)id < lk_tokenizer_n_vocab(t) &&
             lk_token_bytes(t, (int32_t)id, bytes, cap, &len) == LK_OK;
        if (ok) {
            wire_add(&out, bytes, len);
        }
    }
    if (ok && (out.failed || !bytes)) {
        refuse_memory(task);
    } else if (ok) {
        const char *text = out.data ? out.data : "";
        reply(task, json_pack("{s:o}", wire_is_utf8(text, out.n) ? "content" : "bytes",
                              bytes_json(text, out.n)));
    } else {
        refuse_field(task, "tokens", "an array of this model's token ids");
    }
    free(bytes);
    free(out.data);
}

/* The body of a chat request; the prompt that it becomes, and how many tokens. */
static void apply_template(struct task *task, const json_t *root)
{
    lk_template_input in = lk_template_input_default();
    lk_rendering *r = NULL;
    lk_error err = {0};
    size_t len, n = 0;
    (void)root;
    if (!task->model->template) {
        task_refuse_status(task, &task->model->template_why);
        return;
    }
    in.request = task->body;
    in.request_len = task->body_len;
    lk_status status = lk_answer_render(task->model->answers, &in, &r, &err);
    if (!status) {
        status = lk_rendering_tokenize(r, task->model->tokenizer, NULL, 0, &n, &err);
    }
    if (status && status != LK_E_FULL) {
        task_refuse_status(task, &err);
    } else {
        const char *text = lk_rendering_text(r, &len);
        reply(task,
              json_pack("{s:o, s:I}", "prompt", bytes_json(text, len), "n_tokens", (json_int_t)n));
    }
    lk_rendering_close(&r);
}

/* ---- routes ---- */

struct text_route {
    const char *path;
    void (*work)(struct task *task, const json_t *root);
};
static const struct text_route ROUTES[] = {
    {"/tokenize", tokenize},
    {"/detokenize", detokenize},
    {"/apply-template", apply_template},
};
enum { N_ROUTES = sizeof ROUTES / sizeof *ROUTES };

/* On the model's thread. */
static void work(struct task *task)
{
    bool no_memory;
    json_t *root = wire_load(task->body, task->body_len, JSON_ALLOW_NUL, &no_memory);
    if (no_memory) {
        refuse_memory(task);
    } else if (!json_is_object(root)) {
        struct wire_error why =
            refusal(400, "invalid_request_error", "", "the body is no JSON object");
        task_refuse(task, &why);
    } else {
        ROUTES[task->what].work(task, root);
    }
    json_decref(root);
}

struct bound {
    struct server *server;
    uint32_t route;
};
static struct bound BOUND[N_ROUTES];

static void on_text(void *user, struct http_request *r)
{
    const struct bound *b = user;
    struct wire_error why = refusal(503, "overloaded_error", "", "out of memory");
    size_t len;
    const char *body = http_body(r, &len);
    struct task *task = task_new(b->server, r);
    bool no_memory;
    json_t *root = wire_load(body, len, JSON_ALLOW_NUL, &no_memory);
    const char *name = json_string_value(json_object_get(root, "model"));
    struct model *model =
        task && !no_memory ? server_find(b->server, name ? name : "", NULL, &why) : NULL;
    if (model) {
        task->body = malloc(len + 1);
        task->what = b->route;
        task->work = work;
        task->body_len = len;
    }
    if (model && task->body) {
        memcpy(task->body, body, len);
        task_watch(task);
        model_submit(model, task);
    } else {
        refuse_now(r, &PROTOCOL_CHAT, &why);
        if (task) {
            task_drop(task);
        }
    }
    json_decref(root);
}

lk_status routes_text_open(struct server *server, lk_error *err)
{
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < N_ROUTES && !status; i++) {
        BOUND[i] = (struct bound){server, i};
        status = http_route(server->http, "POST", ROUTES[i].path, 0, on_text, &BOUND[i], err);
    }
    return status;
}
