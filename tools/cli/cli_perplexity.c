/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep perplexity: how well a model predicts a text, counted as llama.cpp's program of that
 * name counts it: the text is tokenized once and cut into chunks of --ctx tokens (a last partial
 * one is dropped); where the model adds a BOS, it takes the place of each chunk's first token; rows
 * ctx/2 to ctx-2 of a chunk are scored against the token that follows.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    int64_t chunks;
    bool logits_sha256, json;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"chunks", 0, CLI_INT, "N", THIS(chunks), "0", 0, 1 << 30,
     .help = "score the first N chunks; 0: all"},
    {"logits-sha256", 0, CLI_FLAG, NULL, THIS(logits_sha256),
     .help = "print the SHA-256 of the logits of every position, last"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON object"},
    CLI_END,
};

enum { DEFAULT_CTX = 512 };

struct score {
    const int32_t *ids; /* the chunk as it stands in the text */
    size_t n_vocab, n_ctx, n_scored;
    double sum, sum_squares; /* of the negative logarithms */
    lk_sha256 hash;
};

/* -log of the probability that row gives to id. */
static double surprise(const float *row, size_t n_vocab, int32_t id)
{
    double max = (double)row[lk_argmax(row, n_vocab)], sum = 0.0;
    for (size_t i = 0; i < n_vocab; i++) {
        sum += exp((double)row[i] - max);
    }
    return max + log(sum) - (double)row[id];
}

static bool on_row(void *user, size_t pos, const float *row)
{
    struct score *s = user;
    lk_sha256_floats(&s->hash, row, s->n_vocab);
    if (pos >= s->n_ctx / 2 && pos + 1 < s->n_ctx) {
        double v = surprise(row, s->n_vocab, s->ids[pos + 1]);
        s->sum += v;
        s->sum_squares += v * v;
        s->n_scored++;
    }
    return !cli_interrupted();
}

static double perplexity(const struct score *s)
{
    return exp(s->sum / (double)s->n_scored);
}

static double uncertainty(const struct score *s)
{
    double mean = s->sum / (double)s->n_scored;
    double variance = s->sum_squares / (double)s->n_scored - mean * mean;
    return variance > 0.0 && s->n_scored > 1
               ? sqrt(variance / (double)(s->n_scored - 1)) * perplexity(s)
               : 0.0;
}

static int score_chunks(struct cli *cli, lk_session *session, const lk_tokenizer *t, int32_t *ids,
                        size_t n_chunks, struct score *s)
{
    lk_error err;
    double from = cli_now();
    for (size_t c = 0; c < n_chunks; c++) {
        int32_t *chunk = ids + c * s->n_ctx;
        if (lk_tokenizer_adds_bos(t)) {
            chunk[0] = lk_token_bos(t);
        }
        s->ids = chunk;
        if (lk_session_sync_rows(session, chunk, s->n_ctx, 0, on_row, s, &err)) {
            cli_progress_end(cli);
            return cli_error(cli, &err);
        }
        if (cli->err_tty && !cli->quiet) {
            double left = (cli_now() - from) / (double)(c + 1) * (double)(n_chunks - c - 1);
            fprintf(stderr, "\r\033[K[%zu/%zu] %.4f, %.0f s left", c + 1, n_chunks, perplexity(s),
                    left);
        } else if (cli->verbose) {
            cli_note(cli, "[%zu/%zu] %.4f", c + 1, n_chunks, perplexity(s));
        }
    }
    cli_progress_end(cli);
    return CLI_DONE;
}

static void print_result(const struct arguments *args, const lk_model *model, lk_session *session,
                         struct score *s, size_t n_chunks, double seconds)
{
    uint8_t digest[32];
    char hex[65];
    lk_sha256_final(&s->hash, digest);
    cli_hex(digest, hex);
    if (!args->json) {
        printf("perplexity: %.4f +/- %.5f\n", perplexity(s), uncertainty(s));
        if (args->logits_sha256) {
            printf("logits-sha256: %s\n", hex);
        }
        return;
    }
    printf("{\"schema\":1,\"model\":");
    cli_json_string(stdout, lk_model_path(model), strlen(lk_model_path(model)));
    printf(",\"backend\":\"%s\",\"n_ctx\":%zu,\"n_chunks\":%zu,\"n_scored\":%zu,"
           "\"perplexity\":%.9g,\"uncertainty\":%.9g,\"seconds\":%.3f",
           lk_session_backend(session), s->n_ctx, n_chunks, s->n_scored, perplexity(s),
           uncertainty(s), seconds);
    if (args->logits_sha256) {
        printf(",\"logits_sha256\":\"%s\"", hex);
    }
    printf("}\n");
}

static int score_text(struct cli *cli, const struct arguments *args, const lk_model *model,
                      const lk_tokenizer *t, lk_session *session, struct score *s)
{
    struct cli_buffer text = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    int code = cli_read(cli, strcmp(cli->argv[1], "-") == 0 ? NULL : cli->argv[1], &text);
    if (!code) {
        code = cli_tokens(cli, t, text.data ? text.data : "", text.n,
                          LK_TOKENIZE_BOS | LK_TOKENIZE_PLAIN, &ids, &n);
    }
    cli_buffer_free(&text);
    size_t n_chunks = n / s->n_ctx;
    if (!code && n_chunks == 0) {
        code = cli_fail(cli, CLI_INPUT, "%s: %zu tokens, expected at least --ctx %zu", cli->argv[1],
                        n, s->n_ctx);
    }
    if (args->chunks && (size_t)args->chunks < n_chunks) {
        n_chunks = (size_t)args->chunks;
    }
    double from = cli_now();
    if (!code) {
        code = score_chunks(cli, session, t, ids, n_chunks, s);
    }
    if (!code) {
        double seconds = cli_now() - from;
        print_result(args, model, session, s, n_chunks, seconds);
        cli_note(cli, "%zu tokens, %.1f tokens/s", n_chunks * s->n_ctx,
                 (double)(n_chunks * s->n_ctx) / seconds);
    }
    free(ids);
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    lk_model *model = NULL;
    lk_tokenizer *t = NULL;
    lk_engine *engine = NULL;
    lk_session *session = NULL;
    lk_error err;
    uint32_t n_ctx = args->engine.ctx ? (uint32_t)args->engine.ctx : DEFAULT_CTX;
    if (n_ctx < 4) {
        return cli_fail(cli, CLI_USAGE, "--ctx: %u, expected at least 4", n_ctx);
    }
    cli_catch_interrupts();
    int code = cli_open_model(cli, cli->argv[0], &model);
    if (!code) {
        code = cli_open_tokenizer(cli, model, &t);
    }
    if (!code) {
        code = cli_open_engine(cli, model, &args->engine, n_ctx, &engine);
    }
    if (!code && lk_session_open(engine, &session, &err)) {
        code = cli_error(cli, &err);
    }
    if (!code) {
        struct score s = {.n_vocab = lk_engine_n_vocab(engine), .n_ctx = n_ctx};
        lk_sha256_init(&s.hash);
        cli_log(cli, LK_LOG_INFO, lk_engine_describe(engine));
        code = score_text(cli, args, model, t, session, &s);
    }
    lk_session_close(&session);
    lk_engine_close(&engine);
    lk_tokenizer_close(&t);
    lk_model_close(&model);
    return code;
}

const struct cli_command cli_perplexity = {
    .name = "perplexity",
    .usage = "MODEL FILE",
    .summary = "measure how well a model predicts a text",
    .details = "FILE '-' is standard input. --ctx is the length of a chunk, 512 if not given; the "
               "second half of each chunk is scored.",
    .words = CLI_WORDS_MODELS,
    .min_args = 2,
    .max_args = 2,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options},
    .run = run,
};
