/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep perplexity: how well a model predicts a text, counted as llama.cpp's program of that
 * name counts it: the text is tokenized once and cut into chunks of --ctx tokens (a last partial
 * one is dropped); where the model adds a BOS, it takes the place of each chunk's first token; rows
 * ctx/2 to ctx-2 of a chunk are scored against the token that follows. A second engine may evaluate
 * the same chunks beside the first; how far apart their distributions are is cli_divergence.h's.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_divergence.h"

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    int64_t chunks;
    const char *against, *against_kv;
    bool logits_sha256, json;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"chunks", 0, CLI_INT, "N", THIS(chunks), "0", 0, 1 << 30,
     .help = "score the first N chunks; 0: all"},
    {"against", 0, CLI_STRING, "NAME", THIS(against), .choices = "ref scalar cpu vulkan",
     .help = "also measure how far our distributions are from those of this backend; ref, the "
             "ideal mathematics in double, is slow: use a small --ctx and few --chunks"},
    {"against-kv", 0, CLI_STRING, "CELLS", THIS(against_kv), .choices = "k12v8 i8",
     .help = "the same, from those with this --kv"},
    {"logits-sha256", 0, CLI_FLAG, NULL, THIS(logits_sha256),
     .help = "print the SHA-256 of the logits of every position, last"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON object"},
    CLI_END,
};

enum {
    DEFAULT_CTX = 512,
    PIECE = 32 /* scored positions of a chunk whose rows of the second engine are kept at once */
};

struct tally {
    size_t n;
    double sum, sum_squares; /* of the negative logarithms of the probabilities of what follows */
};

struct score {
    const int32_t *ids; /* the chunk as it stands in the text */
    size_t n_vocab, n_ctx;
    struct tally ours;
    lk_sha256 hash;
    const char *kv, *other_kv; /* as --kv and --against-kv say; other_kv may be NULL */
    lk_session *other;         /* the second engine's; NULL: none, and nothing below is used */
    float *kept;               /* its rows of a piece, [PIECE][n_vocab] */
    size_t kept_from;          /* position of the first */
    struct tally theirs;
    struct cli_divergence divergence;
};

static void count(struct tally *t, const float *row, size_t n_vocab, int32_t next)
{
    double v = cli_log_sum_exp(row, n_vocab) - (double)row[next];
    t->sum += v;
    t->sum_squares += v * v;
    t->n++;
}

static bool on_row(void *user, size_t pos, const float *row)
{
    struct score *s = user;
    lk_sha256_floats(&s->hash, row, s->n_vocab);
    if (pos >= s->n_ctx / 2 && pos + 1 < s->n_ctx) {
        count(&s->ours, row, s->n_vocab, s->ids[pos + 1]);
        if (s->other) {
            const float *truth = s->kept + (pos - s->kept_from) * s->n_vocab;
            cli_divergence_add(&s->divergence, truth, row, s->n_vocab);
        }
    }
    return !cli_interrupted();
}

static bool on_other_row(void *user, size_t pos, const float *row)
{
    struct score *s = user;
    memcpy(s->kept + (pos - s->kept_from) * s->n_vocab, row, s->n_vocab * sizeof *row);
    if (pos + 1 < s->n_ctx) {
        count(&s->theirs, row, s->n_vocab, s->ids[pos + 1]);
    }
    return !cli_interrupted();
}

static double perplexity(const struct tally *t)
{
    return exp(t->sum / (double)t->n);
}

static double uncertainty(const struct tally *t)
{
    double mean = t->sum / (double)t->n;
    double variance = t->sum_squares / (double)t->n - mean * mean;
    return variance > 0.0 && t->n > 1 ? sqrt(variance / (double)(t->n - 1)) * perplexity(t) : 0.0;
}

/* Both engines in turns: the half that is not scored, then piece by piece. */
static lk_status score_both(lk_session *session, struct score *s, lk_error *err)
{
    size_t at = s->n_ctx / 2;
    lk_status status = lk_session_truncate(s->other, 0, err);
    if (!status) {
        status = lk_session_sync(s->other, s->ids, at, err);
    }
    if (!status) {
        status = lk_session_sync_rows(session, s->ids, at, 0, on_row, s, err);
    }
    for (; !status && at < s->n_ctx; at += PIECE) {
        size_t n = s->n_ctx - at < PIECE ? s->n_ctx : at + PIECE;
        s->kept_from = at;
        status = lk_session_sync_rows(s->other, s->ids, n, at, on_other_row, s, err);
        if (!status) {
            status = lk_session_sync_rows(session, s->ids, n, at, on_row, s, err);
        }
    }
    return status;
}

static int score_chunks(struct cli *cli, lk_session *session, const lk_tokenizer *t, int32_t *ids,
                        size_t n_chunks, struct score *s)
{
    lk_error err;
    double from = clock_now();
    for (size_t c = 0; c < n_chunks; c++) {
        int32_t *chunk = ids + c * s->n_ctx;
        if (lk_tokenizer_adds_bos(t)) {
            chunk[0] = lk_token_bos(t);
        }
        s->ids = chunk;
        if (s->other ? score_both(session, s, &err)
                     : lk_session_sync_rows(session, chunk, s->n_ctx, 0, on_row, s, &err)) {
            cli_progress_end(cli);
            return cli_error(cli, &err);
        }
        if (cli->draws && !cli->quiet) {
            double left = (clock_now() - from) / (double)(c + 1) * (double)(n_chunks - c - 1);
            fprintf(stderr, "\r\033[K[%zu/%zu] %.4f, %.0f s left", c + 1, n_chunks,
                    perplexity(&s->ours), left);
        } else if (cli->verbose) {
            cli_note(cli, "[%zu/%zu] %.4f", c + 1, n_chunks, perplexity(&s->ours));
        }
    }
    cli_progress_end(cli);
    return CLI_DONE;
}

static void print_other(const struct score *s)
{
    const struct cli_divergence *d = &s->divergence;
    printf("against %s%s%s: perplexity %.4f +/- %.5f\n", lk_session_backend(s->other),
           s->other_kv ? ", --kv " : "", s->other_kv ? s->other_kv : "", perplexity(&s->theirs),
           uncertainty(&s->theirs));
    printf("divergence: mean %.6g +/- %.2g, most %.6g\n", cli_divergence_mean(d),
           cli_divergence_uncertainty(d), d->most);
    printf("same first choice: %.3f %%\n", 100.0 * (double)d->same_first / (double)d->n);
}

static void json_other(const struct score *s)
{
    const struct cli_divergence *d = &s->divergence;
    printf(
        ",\"against\":{\"backend\":\"%s\",\"kv\":\"%s\",\"perplexity\":%.9g,\"uncertainty\":%.9g,"
        "\"divergence_mean\":%.9g,\"divergence_uncertainty\":%.9g,\"divergence_most\":%.9g,"
        "\"same_first_choice\":%.9g}",
        lk_session_backend(s->other), s->other_kv ? s->other_kv : s->kv, perplexity(&s->theirs),
        uncertainty(&s->theirs), cli_divergence_mean(d), cli_divergence_uncertainty(d), d->most,
        (double)d->same_first / (double)d->n);
}

static void print_result(const struct arguments *args, const lk_model *model, lk_session *session,
                         struct score *s, size_t n_chunks, double seconds)
{
    uint8_t digest[32];
    char hex[65];
    lk_sha256_final(&s->hash, digest);
    cli_hex(digest, hex);
    if (!args->json) {
        printf("perplexity: %.4f +/- %.5f\n", perplexity(&s->ours), uncertainty(&s->ours));
        if (s->other) {
            print_other(s);
        }
        if (args->logits_sha256) {
            printf("logits-sha256: %s\n", hex);
        }
        return;
    }
    printf("{\"schema\":1,\"model\":");
    cli_json_string(stdout, lk_model_path(model), strlen(lk_model_path(model)));
    printf(",\"backend\":\"%s\",\"n_ctx\":%zu,\"n_chunks\":%zu,\"n_scored\":%zu,"
           "\"perplexity\":%.9g,\"uncertainty\":%.9g,\"seconds\":%.3f",
           lk_session_backend(session), s->n_ctx, n_chunks, s->ours.n, perplexity(&s->ours),
           uncertainty(&s->ours), seconds);
    if (s->other) {
        json_other(s);
    }
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
    double from = clock_now();
    if (!code) {
        code = score_chunks(cli, session, t, ids, n_chunks, s);
    }
    if (!code) {
        double seconds = clock_now() - from;
        print_result(args, model, session, s, n_chunks, seconds);
        cli_note(cli, "%zu tokens, %.1f tokens/s", n_chunks * s->n_ctx,
                 (double)(n_chunks * s->n_ctx) / seconds);
    }
    free(ids);
    return code;
}

/* The second engine: the first's options with what --against and --against-kv say instead. */
static int open_other(struct cli *cli, const struct arguments *args, const lk_model *model,
                      lk_engine **engine, struct score *s)
{
    struct cli_engine_args a = args->engine;
    lk_error err;
    if (args->against) {
        bool on_device = strcmp(args->against, "vulkan") == 0;
        a.backend = args->against;
        a.place = NULL;
        a.device = on_device ? a.device : NULL;
        a.gpu_layers = on_device ? a.gpu_layers : NULL;
    }
    a.kv = args->against_kv ? args->against_kv : a.kv;
    int code = cli_open_engine(cli, model, &a, (uint32_t)s->n_ctx, engine);
    if (!code && lk_session_open(*engine, &s->other, &err)) {
        code = cli_error(cli, &err);
    }
    if (!code) {
        cli_log(cli, LK_LOG_INFO, lk_engine_describe(*engine));
        s->kept = calloc(PIECE * s->n_vocab, sizeof *s->kept);
        code = s->kept ? CLI_DONE
                       : cli_fail(cli, CLI_NOMEM, "out of memory: %d rows of logits", (int)PIECE);
    }
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    lk_model *model = NULL;
    lk_tokenizer *t = NULL;
    lk_engine *engine = NULL, *other = NULL;
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
        struct score s = {.n_vocab = lk_engine_n_vocab(engine),
                          .n_ctx = n_ctx,
                          .kv = args->engine.kv,
                          .other_kv = args->against_kv};
        lk_sha256_init(&s.hash);
        cli_log(cli, LK_LOG_INFO, lk_engine_describe(engine));
        if (args->against || args->against_kv) {
            code = open_other(cli, args, model, &other, &s);
        }
        if (!code) {
            code = score_text(cli, args, model, t, session, &s);
        }
        lk_session_close(&s.other);
        free(s.kept);
    }
    lk_session_close(&session);
    lk_engine_close(&engine);
    lk_engine_close(&other);
    lk_tokenizer_close(&t);
    lk_model_close(&model);
    return code;
}

const struct cli_command cli_perplexity = {
    .name = "perplexity",
    .usage = "MODEL FILE",
    .summary = "measure how well a model predicts a text",
    .details = "FILE '-' is standard input. --ctx is the length of a chunk, 512 if not given; the "
               "second half of each chunk is scored.\n\nWith --against or --against-kv a second "
               "engine evaluates the same chunks; over the positions scored, 'divergence' is the "
               "Kullback-Leibler divergence of our distribution of the next token from the second "
               "engine's, which counts as the truth, in nats (0: the same), and 'same first "
               "choice' how often both find the same token likeliest.",
    .examples = "lockstep perplexity smollm2 TEXT\n"
                "lockstep perplexity smollm2 TEXT --against ref --ctx 64   from the ideal\n"
                "lockstep perplexity smollm2 TEXT --kv i8 --against-kv k12v8   fewer bits cached",
    .words = CLI_WORDS_MODELS,
    .min_args = 2,
    .max_args = 2,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options},
    .run = run,
};
