/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep embed: texts as points, whose products tell how near their meanings are.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    const char *pooling;
    bool plain, json;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"pooling", 0, CLI_STRING, "KIND", THIS(pooling), .choices = "mean first last",
     .help = "which token's row stands for a text; the model's own if not given"},
    {"plain", 0, CLI_FLAG, NULL, THIS(plain), .help = "do not divide by the length"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON array of arrays"},
    CLI_END,
};

static lk_pooling pooling_of(const char *word)
{
    return !word                        ? LK_POOLING_FILE
           : strcmp(word, "mean") == 0  ? LK_POOLING_MEAN
           : strcmp(word, "first") == 0 ? LK_POOLING_FIRST
                                        : LK_POOLING_LAST;
}

/* Nine digits tell a float from all others. */
static void print_row(const struct arguments *args, size_t nth, const float *row, size_t n)
{
    fputs(!args->json ? "" : nth ? ",\n[" : "[", stdout);
    for (size_t i = 0; i < n; i++) {
        printf("%s%.9g", i == 0 ? "" : args->json ? "," : " ", (double)row[i]);
    }
    fputs(args->json ? "]" : "\n", stdout);
}

static int embed(struct cli *cli, const struct arguments *args, const lk_tokenizer *t,
                 lk_engine *engine, int nth, float *row)
{
    const char *text = cli->argv[nth + 1];
    int32_t *ids = NULL;
    size_t n = 0;
    lk_error err;
    int code = cli_tokens(cli, t, text, strlen(text),
                          LK_TOKENIZE_BOS | LK_TOKENIZE_EOS | LK_TOKENIZE_PLAIN, &ids, &n);
    if (!code && n == 0) {
        code = cli_fail(cli, CLI_INPUT, "text %d: it has no tokens", nth + 1);
    }
    if (!code && lk_embed(engine, ids, n, pooling_of(args->pooling), args->plain, row, &err)) {
        code = cli_error(cli, &err);
    }
    free(ids);
    return code;
}

static int embed_all(struct cli *cli, const struct arguments *args, const lk_tokenizer *t,
                     lk_engine *engine)
{
    size_t n = lk_engine_n_embd(engine);
    float *row = malloc(n * sizeof *row);
    int code = row ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory: an embedding");
    for (int i = 0; !code && i + 1 < cli->argc && !cli->closed; i++) {
        code = embed(cli, args, t, engine, i, row);
        if (!code) {
            fputs(args->json && i == 0 ? "[" : "", stdout);
            print_row(args, (size_t)i, row, n);
        }
    }
    if (!code && args->json) {
        puts("]");
    }
    free(row);
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    lk_model *model = NULL;
    lk_tokenizer *t = NULL;
    lk_engine *engine = NULL;
    lk_engine_options o;
    char *cache = NULL;
    lk_error err;
    cli_catch_interrupts();
    int code = cli_open_model(cli, cli->argv[0], &model);
    if (!code) {
        code = cli_open_tokenizer(cli, model, &t);
    }
    if (!code) {
        code = cli_engine_options_from(cli, &args->engine, &o, &cache);
    }
    if (!code) {
        o.embeddings = true;
        if (lk_engine_open(model, &o, &engine, &err)) {
            code = cli_error(cli, &err);
        }
        cli_progress_end(cli);
    }
    if (!code) {
        code = embed_all(cli, args, t, engine);
    }
    lk_engine_close(&engine);
    cli_engine_options_free(&cache);
    lk_tokenizer_close(&t);
    lk_model_close(&model);
    return code;
}

const struct cli_command cli_embed = {
    .name = "embed",
    .usage = "MODEL TEXT...",
    .summary = "turn texts into embeddings",
    .details = "Prints a line of numbers a text: the row of the model's last norm that stands for "
               "it, divided by its length, so that the sum of products of two of them tells how "
               "near the texts are (1: the same). Which row that is a file made for it says; for "
               "others, or against it, --pooling does. The bits are the same on every device.",
    .examples = "lockstep embed MODEL.gguf \"a text\" \"another\"\n"
                "lockstep embed smollm2 --pooling mean \"a text\" --json",
    .words = CLI_WORDS_MODELS,
    .min_args = 2,
    .max_args = -1,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options},
    .run = run,
};
