/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep template: what the body of a chat request becomes by a model's chat template.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_chat.h"

struct arguments {
    const char *file, *args;
    bool ids, json, raw_output;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"template", 0, CLI_STRING, "FILE", THIS(file),
     .help = "use the chat template in FILE instead of the model's"},
    {"template-args", 0, CLI_STRING, "JSON", THIS(args),
     .help =
         "variables of the template as a JSON object: they override the request's, bos_token and "
         "the like; \"now\" fixes the date"},
    {"ids", 0, CLI_FLAG, NULL, THIS(ids), .help = "print the token ids instead of the text"},
    {"json", 0, CLI_FLAG, NULL, THIS(json),
     .help = "print one JSON object: the text, which bytes the request brought, the ids"},
    {"raw-output", 0, CLI_FLAG, NULL, THIS(raw_output),
     .help = "send control characters of the text to a terminal; else it shows them as \\x1b"},
    CLI_END,
};

/* Ids of the rendered text, malloc'd. */
static int tokenize(struct cli *cli, const lk_model *model, const lk_rendering *r, int32_t **ids,
                    size_t *n)
{
    lk_tokenizer *t;
    lk_error err;
    *ids = NULL;
    int code = cli_open_tokenizer(cli, model, &t);
    if (code) {
        return code;
    }
    if (lk_rendering_tokenize(r, t, NULL, 0, n, &err)) {
        code = cli_error(cli, &err);
    } else if (!(*ids = malloc((*n + 1) * sizeof **ids))) {
        code = cli_fail(cli, CLI_NOMEM, "out of memory");
    } else if (lk_rendering_tokenize(r, t, *ids, *n, n, &err)) {
        code = cli_error(cli, &err);
    }
    lk_tokenizer_close(&t);
    return code;
}

static void print_ids(const int32_t *ids, size_t n, const char *between)
{
    for (size_t i = 0; i < n; i++) {
        printf("%s%d", i ? between : "", ids[i]);
    }
}

static void print_json(const lk_rendering *r, const int32_t *ids, size_t n)
{
    size_t len, begin, end;
    const char *text = lk_rendering_text(r, &len);
    printf("{\"schema\":1,\"text\":");
    cli_json_string(stdout, text, len);
    printf(",\"plain\":[");
    for (size_t i = 0; i < lk_rendering_n_plain(r); i++) {
        lk_rendering_plain(r, i, &begin, &end);
        printf("%s[%zu,%zu]", i ? "," : "", begin, end);
    }
    printf("],\"ids\":[");
    print_ids(ids, n, ",");
    printf("]}\n");
}

static int print(struct cli *cli, const struct arguments *args, const lk_model *model,
                 const lk_rendering *r)
{
    size_t len, n = 0;
    const char *text = lk_rendering_text(r, &len);
    int32_t *ids = NULL;
    if (!args->ids && !args->json) {
        fwrite(text, 1, len, stdout);
        return CLI_DONE;
    }
    int code = tokenize(cli, model, r, &ids, &n);
    if (!code && args->json) {
        print_json(r, ids, n);
    } else if (!code) {
        print_ids(ids, n, " ");
        putchar('\n');
    }
    free(ids);
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    const char *path = cli->argv[1];
    struct cli_buffer request = {0};
    struct cli_chat chat = {0};
    lk_template_input in = lk_template_input_default();
    lk_rendering *r = NULL;
    lk_model *model;
    lk_error err;
    if (args->raw_output) {
        cli_raw_output();
    }
    int code = cli_open_model(cli, cli->argv[0], &model);
    if (code) {
        return code;
    }
    code = cli_chat_open(cli, model, args->file, args->args, &chat);
    if (!code && !chat.t) {
        code = cli_fail(cli, CLI_INPUT, "%s", chat.why);
    }
    if (!code) {
        code = cli_read(cli, strcmp(path, "-") == 0 ? NULL : path, &request);
    }
    if (!code) {
        in.request = request.data ? request.data : "";
        in.request_len = request.n;
        in.args = args->args;
        in.args_len = args->args ? strlen(args->args) : 0;
        code =
            lk_template_render(chat.t, &in, &r, &err)
                ? cli_fail(cli, err.status == LK_E_NOMEM ? CLI_NOMEM : CLI_INPUT, "%s", err.message)
                : print(cli, args, model, r);
    }
    lk_rendering_close(&r);
    cli_buffer_free(&request);
    cli_chat_close(&chat);
    lk_model_close(&model);
    return code;
}

const struct cli_command cli_template = {
    .name = "template",
    .usage = "MODEL REQUEST.json",
    .summary = "show what a chat request becomes by the model's template",
    .details =
        "REQUEST.json is the body of a chat request, an object with messages and perhaps tools, "
        "documents, add_generation_prompt, chat_template_kwargs; '-' is standard input. Prints "
        "the text to its last byte, without a line break of its own. A file with a vocabulary "
        "alone will do.",
    .examples = "lockstep template smollm2 request.json\n"
                "lockstep template ./model.gguf request.json --template-args "
                "'{\"enable_thinking\": false}'",
    .min_args = 2,
    .max_args = 2,
    .words = CLI_WORDS_MODELS,
    .args_size = sizeof(struct arguments),
    .options = {options},
    .run = run,
};
