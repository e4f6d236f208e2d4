/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_completions: OpenAI's completions of a text, and embeddings: requests.
 */
#include "tools/server/wire_completions.h"

#include <string.h>

#include <stdlib.h>

enum { MOST_PROMPTS = 1024 };

static void add_ids(struct wire_in *in, struct wire_value list, const char *path,
                    struct ask_prompt *to)
{
    const json_t *v;
    size_t i;
    to->ids = calloc(wire_length(list) + 1, sizeof *to->ids);
    if (!to->ids) {
        wire_nomem(in);
        return;
    }
    json_array_foreach(list.json, i, v)
    {
        char at[WIRE_PATH];
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id > INT32_MAX) {
            wire_path_item(at, path, i);
            wire_expected(in, at, (struct wire_value){.json = v}, "the number of a token");
            return;
        }
        to->ids[to->n_ids++] = (int32_t)id;
    }
}

static void add_prompt(struct wire_in *in, struct wire_value v, const char *path, struct ask *ask)
{
    struct ask_prompt *to = &ask->prompt[ask->n_prompts];
    if (json_is_string(v.json)) {
        to->len = json_string_length(v.json);
        to->text = wire_dup(in, json_string_value(v.json), to->len);
    } else if (json_is_array(v.json) && wire_length(v) > 0) {
        add_ids(in, v, path, to);
    } else {
        wire_expected(in, path, v, "a text or an array of tokens");
        return;
    }
    ask->n_prompts++;
}

void ask_prompts(struct wire_in *in, struct wire_value root, const char *key, struct ask *ask)
{
    struct wire_value prompt = in->bad ? (struct wire_value){0} : wire_get(root, key), v;
    const json_t *first = json_array_get(prompt.json, 0);
    bool many = json_is_array(prompt.json) && !json_is_integer(first);
    size_t n = many ? wire_length(prompt) : 1;
    char path[WIRE_PATH];
    if (in->bad) {
        return;
    }
    if (!json_is_string(prompt.json) && wire_length(prompt) == 0) {
        wire_expected(in, key, prompt, "a text, tokens, or an array of those");
    } else if (n > MOST_PROMPTS) {
        wire_refuse(in, key, "found %zu prompts, expected at most %d", n, MOST_PROMPTS);
    } else if (!(ask->prompt = calloc(n, sizeof *ask->prompt))) {
        wire_nomem(in);
    } else if (!many) {
        add_prompt(in, prompt, key, ask);
        return;
    }
    for (struct wire_walk w = wire_begin(prompt); !in->bad && wire_next(&w, NULL, &v);) {
        wire_path_item(path, key, w.index - 1);
        add_prompt(in, v, path, ask);
    }
}

static void text_format(struct wire_in *in, struct wire_value root, struct ask *ask)
{
    struct wire_value format = wire_object(in, root, "", "response_format");
    if (format.json && !wire_is(wire_get(format, "type"), "text")) {
        wire_refuse(in, "response_format", "is of chats; expected json_schema, grammar or regex");
    }
    ask_constraint(in, root, ask);
}

static bool parse(const char *path, const char *body, size_t len, struct ask *ask,
                  struct wire_error *why)
{
    static const char *const most[] = {"max_tokens", "n_predict", NULL};
    struct wire_in in;
    struct wire_value root = wire_open(&in, body, len, why);
    const char *suffix;
    int64_t n;
    (void)path;
    ask->kind = ASK_TEXT;
    ask->max_tokens = 16; /* as OpenAI has it */
    wire_copy(&in, root, "", "model", &ask->model);
    ask_prompts(&in, root, "prompt", ask);
    ask_sampling(&in, root, "", ask);
    ask_max_tokens(&in, root, "", 0, ask, most);
    ask_stop(&in, root, "", "stop", ask);
    ask_bias(&in, root, ask);
    ask_count(&in, root, "n", ask);
    ask_stream(&in, root, ask);
    ask_own(&in, root, ask);
    text_format(&in, root, ask);
    wire_bool(&in, root, "", "echo", &ask->echo);
    if (wire_int(&in, root, "", "logprobs", 0, LK_MAX_LOGPROBS, &n)) {
        ask->logprobs = (int)n;
    }
    if (ask->echo && ask->logprobs >= 0) {
        wire_refuse(&in, "echo", "excludes logprobs: those of a prompt are not told");
    }
    if (wire_int(&in, root, "", "best_of", 1, 1024, &n) && n != ask->n) {
        wire_refuse(&in, "best_of", "is not supported, expected n");
    }
    if (wire_string(&in, root, "", "suffix", &suffix) && *suffix) {
        wire_refuse(&in, "suffix", "is not supported");
    }
    return ask_done(&in, ask);
}

static bool parse_embeddings(const char *path, const char *body, size_t len, struct ask *ask,
                             struct wire_error *why)
{
    struct wire_in in;
    struct wire_value root = wire_open(&in, body, len, why);
    const char *encoding = "float";
    (void)path;
    ask->kind = ASK_EMBED;
    wire_copy(&in, root, "", "model", &ask->model);
    ask_prompts(&in, root, "input", ask);
    if (wire_string(&in, root, "", "encoding_format", &encoding) &&
        strcmp(encoding, "float") != 0 && strcmp(encoding, "base64") != 0) {
        wire_refuse(&in, "encoding_format", "found '%.40s', expected float or base64", encoding);
    }
    ask->own = strcmp(encoding, "base64") == 0 ? (void *)EMBEDDINGS_BASE64 : NULL;
    if (wire_has(root, "dimensions")) {
        wire_refuse(&in, "dimensions", "is not supported: vectors are as the model gives them");
    }
    ask_own(&in, root, ask);
    return ask_done(&in, ask);
}

const char EMBEDDINGS_BASE64[] = "base64";

const struct protocol PROTOCOL_COMPLETIONS = {.name = "completions",
                                              .stream_type = "text/event-stream",
                                              .parse = parse,
                                              .open = writer_open,
                                              .put = completions_put,
                                              .close = writer_close,
                                              .keep_alive = writer_comment,
                                              .error = openai_error};

const struct protocol PROTOCOL_EMBEDDINGS = {.name = "embeddings",
                                             .stream_type = "text/event-stream",
                                             .parse = parse_embeddings,
                                             .open = writer_open,
                                             .put = embeddings_put,
                                             .close = writer_close,
                                             .error = openai_error};
