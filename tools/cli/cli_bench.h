/* SPDX-License-Identifier: Apache-2.0
 *
 * Bench: what lockstep bench measured (cli_bench.c), how it is shown (cli_bench_show.c), and the
 * other program it is held against (cli_bench_peer.c).
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
};
void cli_bench_show(const struct cli_bench_report *r, enum cli_bench_form form);

/* ---- the peer ---- */

struct cli_peer {
    const char *path, *name; /* name: without its folders */
    bool server;
    char *model; /* path */
    int threads, threads_batch;
    int gpu_layers;
    int64_t n_prompt, n_gen;
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

#endif
