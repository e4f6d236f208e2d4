/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep bench: how fast a model is evaluated here, beside what the machine's memory, its matmul
 * kernels alone, and another program do. Times are shown, never judged.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_bench.h"

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    int64_t p, n, r, stream_mb, crowd;
    double warm_up;
    const char *peer, *depth, *svg, *type;
    bool roofline, ops, kernels, csv, json;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"prompt", 'p', CLI_INT, "N", THIS(p), "512", 0, 1 << 20,
     .help = "tokens of prefill, and of a kernel's batch; 0: no prefill"},
    {"gen", 'n', CLI_INT, "N", THIS(n), "128", 0, 1 << 20,
     .help = "tokens of decode; 0: no decode"},
    {"runs", 'r', CLI_INT, "N", THIS(r), "5", 1, CLI_BENCH_RUNS, .help = "runs of each"},
    {"warm-up", 0, CLI_FLOAT, "S", THIS(warm_up), "1", 0, 3600,
     .help = "seconds of work before the first run"},
    {"roofline", 0, CLI_FLAG, NULL, THIS(roofline),
     .help = "how much of what memory allows was reached"},
    {"stream-mb", 0, CLI_INT, "N", THIS(stream_mb), "1024", 0, 1 << 20,
     .help = "MB read to find the speed of memory, more than caches hold; 0: it is not measured"},
    {"ops", 0, CLI_FLAG, NULL, THIS(ops), .help = "time by operation"},
    {"kernels", 0, CLI_FLAG, NULL, THIS(kernels),
     .help = "speed of each matmul kernel alone, of the CPU or --backend vulkan; needs no MODEL"},
    {"type", 0, CLI_STRING, "TYPE", THIS(type),
     .help = "with --kernels: those of one type, e.g. Q4_K"},
    {"crowd", 0, CLI_INT, "N", THIS(crowd), "0", 0, 1024,
     .help = "a second engine with N threads in turns with the first: what more threads than cores "
             "cost (with --pin they really run); 0: none"},
    {"peer", 0, CLI_STRING, "PATH", THIS(peer),
     .help = "a llama-bench or llama-server to run in turns with us"},
    {"depth", 0, CLI_STRING, "LIST", THIS(depth),
     .help = "tokens the context already holds, separated by commas ('0,512,2048'): the runs at "
             "each of them"},
    {"svg", 0, CLI_STRING, "FILE", THIS(svg),
     .help = "with --depth: write curves of tokens/s over the depth as a figure"},
    {"csv", 0, CLI_FLAG, NULL, THIS(csv), .help = "print CSV, one line a figure"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON object"},
    CLI_END,
};

enum { READ_PASSES = 5 };

struct bench {
    struct cli *cli;
    const struct arguments *args;
    lk_model *model;
    lk_engine *engine, *crowd;
    lk_session *session, *crowd_session;
    int64_t most; /* tokens that a run takes the context to */
    int32_t *ids; /* as many */
    struct cli_peer peer;
    struct cli_bench_report report;
};

static int stop_or(int code)
{
    return code ? code : cli_interrupted() ? CLI_INTERRUPTED : CLI_DONE;
}

static struct cli_bench_work work_of(struct bench *b)
{
    return (struct cli_bench_work){.cli = b->cli,
                                   .session = b->session,
                                   .crowd = b->crowd_session,
                                   .ids = b->ids,
                                   .n_prompt = b->args->p,
                                   .n_gen = b->args->n,
                                   .n_runs = b->args->r,
                                   .peer = b->args->peer ? &b->peer : NULL,
                                   .report = &b->report};
}

/* ---- memory and ops ---- */

static int measure_memory(struct bench *b)
{
    struct cli_bench_report *r = &b->report;
    lk_error err;
    if (b->args->stream_mb == 0) {
        return CLI_DONE;
    }
    lk_status status = lk_engine_read_rate(b->engine, (uint64_t)b->args->stream_mb * 1000000,
                                           READ_PASSES, &r->read_rate, &err);
    if (!status && b->args->roofline) {
        status = lk_engine_read_rate(b->engine, r->cost.weight_bytes, 4 * READ_PASSES,
                                     &r->read_rate_fit, &err);
    }
    if (!status && b->args->roofline && b->args->p) {
        int64_t batch = b->args->engine.batch ? b->args->engine.batch : 512;
        int64_t n = b->args->p < batch ? b->args->p : batch;
        status = lk_engine_time_kernel(b->engine, (int)n, &r->main_kernel, &err);
        if (status == LK_E_UNSUPPORTED) {
            cli_note(b->cli, "%s", err.message);
            status = LK_OK;
        }
    }
    if (status == LK_E_UNSUPPORTED && !b->args->roofline) {
        cli_note(b->cli, "%s", err.message);
        return CLI_DONE;
    }
    return status ? cli_error(b->cli, &err) : CLI_DONE;
}

struct op_list {
    struct cli_ops *ops;
    bool full; /* no memory */
};

static void keep_op(void *user, const lk_op_time *t)
{
    struct op_list *list = user;
    lk_op_time *grown = realloc(list->ops->row, ((size_t)list->ops->n + 1) * sizeof *grown);
    if (!grown) {
        list->full = true;
        return;
    }
    list->ops->row = grown;
    grown[list->ops->n++] = *t;
}

static int profile(struct bench *b, bool is_decode, struct cli_ops *ops)
{
    struct op_list list = {.ops = ops};
    lk_error err;
    double seconds;
    struct cli_bench_work w = work_of(b);
    if (lk_engine_profile(b->engine, true, &err)) {
        return cli_error(b->cli, &err);
    }
    int code = cli_bench_run(&w, w.session, is_decode, &seconds);
    ops->n_tokens = (int)(is_decode ? b->args->n : b->args->p);
    if (!code && lk_engine_op_times(b->engine, keep_op, &list, &err)) {
        code = cli_error(b->cli, &err);
    }
    if (!code && list.full) {
        code = cli_fail(b->cli, CLI_NOMEM, "out of memory");
    }
    if (lk_engine_profile(b->engine, false, &err) && !code) {
        code = cli_error(b->cli, &err);
    }
    return code;
}

/* ---- kernels ---- */

static bool keep_kernel(void *user, const lk_kernel_time *t)
{
    struct bench *b = user;
    struct cli_bench_report *r = &b->report;
    lk_kernel_time *grown = realloc(r->kernel, ((size_t)r->n_kernels + 1) * sizeof *grown);
    if (!grown || cli_interrupted()) {
        r->kernel = grown ? grown : r->kernel;
        return false;
    }
    r->kernel = grown;
    grown[r->n_kernels++] = *t;
    return true;
}

static int time_kernels(struct bench *b)
{
    lk_engine_options o;
    lk_error err;
    char *cache;
    int n_tokens = b->args->p > 8192 ? 8192 : b->args->p > 0 ? (int)b->args->p : 1;
    int code = cli_engine_options_from(b->cli, &b->args->engine, &o, &cache);
    if (code) {
        return code;
    }
    lk_status status = lk_bench_kernels(&o, b->args->type, n_tokens, keep_kernel, b, &err);
    cli_engine_options_free(&cache);
    return status ? cli_error(b->cli, &err) : stop_or(CLI_DONE);
}

/* ---- all of it ---- */

/* "0,512,2048" into the points of the report. */
static int parse_depths(struct bench *b, const char *list)
{
    struct cli_bench_report *r = &b->report;
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char *end;
        long long depth = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        if (depth < 0 || depth > 1 << 20 || (*end && *end != ',')) {
            return cli_fail(b->cli, CLI_USAGE,
                            "--depth: '%s', expected numbers up to %d separated by commas", list,
                            1 << 20);
        }
        if (r->n_points == CLI_BENCH_DEPTHS ||
            (r->n_points && depth <= r->point[r->n_points - 1].depth)) {
            return cli_fail(b->cli, CLI_USAGE,
                            "--depth: '%s', expected at most %d numbers in rising order", list,
                            (int)CLI_BENCH_DEPTHS);
        }
        r->point[r->n_points++].depth = depth;
    }
    return CLI_DONE;
}

/* --depth and --svg, and what they go with. */
static int check_depths(struct bench *b)
{
    const struct arguments *a = b->args;
    if (!a->depth) {
        return a->svg ? cli_fail(b->cli, CLI_USAGE, "--svg needs --depth") : CLI_DONE;
    }
    if (b->cli->argc == 0 || a->ops || a->roofline || a->crowd) {
        return cli_fail(b->cli, CLI_USAGE, "--depth %s",
                        b->cli->argc == 0 ? "needs a MODEL"
                                          : "goes with none of --ops, --roofline, --crowd");
    }
    int code = parse_depths(b, a->depth);
    if (!code && a->svg && b->report.n_points < 2) {
        code = cli_fail(b->cli, CLI_USAGE, "--svg: expected at least two depths, found '%s'",
                        a->depth);
    }
    if (!code) {
        b->most += b->report.point[b->report.n_points - 1].depth;
    }
    return code;
}

static int check_arguments(struct bench *b)
{
    const struct arguments *a = b->args;
    bool has_model = b->cli->argc > 0;
    if (!has_model && !a->kernels) {
        return cli_fail(b->cli, CLI_USAGE, "expected MODEL, or --kernels");
    }
    if (a->type && !a->kernels) {
        return cli_fail(b->cli, CLI_USAGE, "--type needs --kernels");
    }
    if (!has_model && (a->peer || a->ops || a->roofline || a->crowd)) {
        return cli_fail(b->cli, CLI_USAGE, "--%s needs a MODEL",
                        a->peer    ? "peer"
                        : a->ops   ? "ops"
                        : a->crowd ? "crowd"
                                   : "roofline");
    }
    if (has_model && a->p == 0 && a->n == 0) {
        return cli_fail(b->cli, CLI_USAGE, "-p 0 and -n 0: nothing to measure");
    }
    if (a->roofline && a->stream_mb == 0) {
        return cli_fail(b->cli, CLI_USAGE,
                        "--roofline needs the speed of memory: --stream-mb is 0");
    }
    if (a->csv && a->json) {
        return cli_fail(b->cli, CLI_USAGE, "--csv and --json: expected one of them");
    }
    int code = check_depths(b);
    if (code) {
        return code;
    }
    if (has_model && a->engine.ctx && a->engine.ctx < b->most) {
        return cli_fail(b->cli, CLI_USAGE,
                        "--ctx: %lld, expected at least the %lld tokens of a run",
                        (long long)a->engine.ctx, (long long)b->most);
    }
    code = a->peer ? cli_peer_is(b->cli, a->peer, &b->peer) : CLI_DONE;
    if (!code && a->depth && b->peer.server) {
        code = cli_fail(b->cli, CLI_USAGE,
                        "--depth: '%s' is a llama-server, expected a llama-bench", a->peer);
    }
    return code;
}

static int make_ids(struct bench *b)
{
    int64_t most = b->most;
    uint64_t state = 1, n_vocab = lk_engine_n_vocab(b->engine);
    b->ids = malloc((size_t)most * sizeof *b->ids);
    if (!b->ids) {
        return cli_fail(b->cli, CLI_NOMEM, "out of memory: %lld tokens", (long long)most);
    }
    for (int64_t i = 0; i < most; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b->ids[i] = (int32_t)((state >> 33) % n_vocab);
    }
    return CLI_DONE;
}

static int open_all(struct bench *b)
{
    const struct arguments *a = b->args;
    struct cli_bench_report *r = &b->report;
    lk_error err;
    double from = clock_now();
    int code = cli_open_model(b->cli, b->cli->argv[0], &b->model);
    if (!code) {
        code = cli_open_engine(b->cli, b->model, &a->engine,
                               a->engine.ctx ? (uint32_t)a->engine.ctx : (uint32_t)b->most,
                               &b->engine);
    }
    if (!code && lk_session_open(b->engine, &b->session, &err)) {
        code = cli_error(b->cli, &err);
    }
    if (!code) {
        r->load = clock_now() - from;
        r->model = b->model;
        r->engine = lk_engine_describe(b->engine);
        r->cost = lk_engine_token_cost(b->engine);
        r->memory_loaded = lk_engine_memory(b->engine);
        lk_engine_threads(b->engine, &r->threads, &r->threads_batch);
        cli_log(b->cli, LK_LOG_INFO, r->engine);
        code = make_ids(b);
    }
    return code;
}

static int open_crowd(struct bench *b)
{
    struct cli_engine_args args = b->args->engine;
    lk_error err;
    args.threads = b->args->crowd;
    args.threads_batch = 0;
    int code = cli_open_engine(b->cli, b->model, &args, lk_engine_n_ctx(b->engine), &b->crowd);
    if (!code && lk_session_open(b->crowd, &b->crowd_session, &err)) {
        code = cli_error(b->cli, &err);
    }
    if (!code) {
        int prefill_threads;
        b->report.crowd_asked = (int)args.threads;
        lk_engine_threads(b->crowd, &b->report.crowd, &prefill_threads);
    }
    return code;
}

static int start_peer(struct bench *b)
{
    struct cli_peer *p = &b->peer;
    bool on_gpu = strcmp(lk_session_backend(b->session), "vulkan") == 0;
    p->model = (char *)lk_model_path(b->model);
    p->threads = b->report.threads;
    p->threads_batch = b->report.threads_batch;
    p->gpu_layers = on_gpu ? 999 : 0;
    p->n_prompt = b->args->p;
    p->n_gen = b->args->n;
    p->ids = b->ids;
    b->report.peer = p->name;
    return cli_peer_start(b->cli, p);
}

static int measure_model(struct bench *b)
{
    int code = open_all(b);
    if (!code) {
        struct cli_bench_work w = work_of(b);
        code = cli_bench_warm_up(&w, b->args->warm_up);
        b->report.memory_used = lk_engine_memory(b->engine);
    }
    if (!code && b->args->crowd) {
        code = open_crowd(b);
    }
    if (!code && b->args->peer) {
        code = start_peer(b);
    }
    if (!code) {
        struct cli_bench_work w = work_of(b);
        code = cli_bench_runs(&w);
    }
    snprintf(b->report.peer_build, sizeof b->report.peer_build, "%s", b->peer.build);
    cli_peer_stop(&b->peer);
    if (!code && !b->args->depth) {
        code = measure_memory(b);
    }
    if (!code && b->args->ops && b->args->p) {
        code = profile(b, false, &b->report.prefill_ops);
    }
    if (!code && b->args->ops && b->args->n) {
        code = profile(b, true, &b->report.decode_ops);
    }
    return code;
}

static void write_svg(FILE *f, const void *report)
{
    cli_bench_svg(f, report);
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *a = arguments;
    struct bench b = {.cli = cli, .args = a, .most = a->p > a->n ? a->p : a->n};
    lk_output *svg = NULL;
    lk_error err;
    b.report.n_prompt = a->p;
    b.report.n_gen = a->n;
    b.report.roofline = a->roofline;
    int code = check_arguments(&b);
    if (!code && a->svg && lk_output_open(a->svg, 0, &svg, &err)) {
        code = cli_error(cli, &err);
    }
    if (!code) {
        cli_catch_interrupts();
    }
    if (!code && cli->argc > 0) {
        code = measure_model(&b);
    }
    if (!code && a->kernels) {
        code = time_kernels(&b);
    }
    if (!code) {
        cli_bench_show(&b.report, a->json  ? CLI_BENCH_JSON
                                  : a->csv ? CLI_BENCH_CSV
                                           : CLI_BENCH_TEXT);
    }
    if (!code && a->svg) {
        code = cli_write(cli, a->svg, &svg, write_svg, &b.report);
    }
    lk_output_close(&svg);
    free(b.ids);
    free(b.report.kernel);
    free(b.report.prefill_ops.row);
    free(b.report.decode_ops.row);
    lk_session_close(&b.session);
    lk_session_close(&b.crowd_session);
    lk_engine_close(&b.engine);
    lk_engine_close(&b.crowd);
    lk_model_close(&b.model);
    return code;
}

const struct cli_command cli_bench = {
    .name = "bench",
    .usage = "[MODEL]",
    .summary = "measure how fast a model is evaluated",
    .details =
        "Prefill is -p random tokens at once, decode -n tokens one by one, each from an "
        "empty context; median, least and most of -r runs. GB/s touched counts each weight "
        "once a token, as the file holds it, and not the KV cache; it stands beside the "
        "speed at which as many threads read memory from end to end, measured in the same "
        "run.\n\nWith --depth the context holds so many tokens before each run: prefill "
        "appends -p tokens to them, decode -n; all depths take turns; evaluating what is "
        "held is not timed, and llama-bench is given the same depth (-d).\n\n--ops times every "
        "step in one more run, "
        "a device's by its own clock, the CPU's on every thread: 'wait' is what lies between "
        "steps, or threads waiting for each other, 'prepare' activations made ready for a "
        "matmul.",
    .examples = "lockstep bench smollm2\n"
                "lockstep bench smollm2 --peer llama-bench   in turns with llama.cpp\n"
                "lockstep bench smollm2 --depth 0,2048,8000 --svg depth.svg   what a long context "
                "costs",
    .words = CLI_WORDS_MODELS,
    .min_args = 0,
    .max_args = 1,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options},
    .run = run,
};
