/* SPDX-License-Identifier: Apache-2.0
 *
 * Bench: what lockstep bench measured (cli_bench.c, its runs in cli_bench_runs.c), how it is shown
 * (cli_bench_show.c, by depth cli_bench_depth.c), and the other program it is held against
 * (cli_bench_peer.c).
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "lockstep_check.h"
#include "tools/cli/cli.h"

enum { CLI_BENCH_RUNS = 100 };

struct cli_series {
    double value[CLI_BENCH_RUNS];
    int n;
};
/* These need a series of at least one value. */
double cli_median(const struct cli_series *s);
double cli_least(const struct cli_series *s);
double cli_most(const struct cli_series *s);

/* Of runs that begin with `depth` tokens in the context. */
enum { CLI_BENCH_DEPTHS = 16 };
struct cli_bench_point {
    int64_t depth;
    struct cli_series prefill, decode, peer_prefill, peer_decode;
};

struct cli_ops {
    lk_op_time *row;
    int n;
    int n_tokens; /* evaluated while timed */
};

enum cli_bench_form { CLI_BENCH_TEXT, CLI_BENCH_CSV, CLI_BENCH_JSON };

struct cli_bench_report {
    const lk_model *model; /* NULL: none was measured, only kernels */
    const char *engine;
    int64_t n_prompt, n_gen;
    int threads, threads_batch;
    double load, first_token;                 /* seconds */
    struct cli_series prefill, decode;        /* tokens/s */
    lk_memory_use memory_loaded, memory_used; /* after loading; after warming up */
    lk_token_cost cost;
    double read_rate;     /* bytes/s of memory; 0: not measured */
    double read_rate_fit; /* of as many bytes as a token reads; only with roofline */
    bool roofline;
    lk_kernel_time main_kernel; /* only with roofline and prefill; type NULL: not measured */
    struct cli_ops prefill_ops, decode_ops;
    lk_kernel_time *kernel;
    int n_kernels;
    int crowd, crowd_asked; /* threads of the second engine, and what was asked for; 0: none */
    struct cli_series crowd_prefill, crowd_decode;
    const char *peer; /* its file name; NULL: none */
    char peer_build[160];
    struct cli_series peer_prefill, peer_decode;
    struct cli_bench_point
        point[CLI_BENCH_DEPTHS]; /* by rising depth; the series above are empty */
    int n_points;                /* 0: only an empty context was measured */
};
void cli_bench_show(const struct cli_bench_report *r, enum cli_bench_form form);

/* The points, as a part of what cli_bench_show prints (cli_bench_depth.c). */
void cli_bench_depth_text(const struct cli_bench_report *r);
void cli_bench_depth_csv(const struct cli_bench_report *r);
void cli_bench_depth_json(const struct cli_bench_report *r); /* ,"depths":[...] */
/* Two or more points as a figure that needs nothing else, light and dark (cli_bench_svg.c). */
void cli_bench_svg(FILE *to, const struct cli_bench_report *r);

/* ---- the peer ---- */

struct cli_peer {
    const char *path, *name; /* name: without its folders */
    bool server;
    char *model; /* path */
    int threads, threads_batch;
    int gpu_layers;
    int64_t n_prompt, n_gen;
    int64_t depth;      /* tokens held before a run; llama-bench only */
    const int32_t *ids; /* as many as the longer of both */
    char build[160];
    int pid, port; /* of a running llama-server */
};
/* llama-bench or llama-server by its file name; CLI_DONE or CLI_USAGE (said). */
int cli_peer_is(const struct cli *cli, const char *path, struct cli_peer *peer);
/* Starts a llama-server and waits until it answers; nothing for llama-bench. */
int cli_peer_start(struct cli *cli, struct cli_peer *peer);
/* One run: tokens/s of prefill, or of decode. */
int cli_peer_run(struct cli *cli, struct cli_peer *peer, bool decode, double *rate);
void cli_peer_stop(struct cli_peer *peer);

/* ---- runs of the model (cli_bench_runs.c) ---- */

struct cli_bench_work {
    struct cli *cli;
    lk_session *session, *crowd; /* crowd NULL: no second engine */
    const int32_t *ids;          /* as many as the deepest run takes the context to */
    int64_t n_prompt, n_gen, n_runs;
    int64_t depth;         /* tokens the context holds before a run */
    struct cli_peer *peer; /* NULL: none */
    struct cli_bench_report *report;
};
/* One run from w->depth: n_prompt tokens at once, or n_gen one by one; evaluating what the context
 * holds before is not timed. */
int cli_bench_run(struct cli_bench_work *w, lk_session *session, bool is_decode, double *seconds);
/* At least one prefill, and runs until `least` seconds are over. */
int cli_bench_warm_up(struct cli_bench_work *w, double least);
/* All runs of an empty context, or of each point of the report. */
int cli_bench_runs(struct cli_bench_work *w);

#endif
