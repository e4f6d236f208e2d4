/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs: evaluates the model as often as bench asks, from an empty context or from each depth, in
 * turns with a second engine and a peer. Opens and shows nothing.
 */
#include "tools/cli/cli_bench.h"

static int stop_or(int code)
{
    return code ? code : cli_interrupted() ? CLI_INTERRUPTED : CLI_DONE;
}

/* The context holds `depth` tokens; what is missing of them is evaluated. */
static int hold(struct cli_bench_work *w, lk_session *session)
{
    lk_error err;
    size_t depth = (size_t)w->depth;
    lk_status status = LK_OK;
    if (lk_session_n_tokens(session) < depth) {
        status = lk_session_sync(session, w->ids, depth, &err);
    }
    if (!status) {
        status = lk_session_truncate(session, depth, &err);
    }
    return status ? cli_error(w->cli, &err) : stop_or(CLI_DONE);
}

int cli_bench_run(struct cli_bench_work *w, lk_session *session, bool is_decode, double *seconds)
{
    lk_error err;
    size_t depth = (size_t)w->depth, n = (size_t)(is_decode ? w->n_gen : w->n_prompt);
    int code = hold(w, session);
    double from = clock_now();
    for (size_t have = 0; !code && have < n;) {
        have = is_decode ? have + 1 : n;
        if (lk_session_sync(session, w->ids, depth + have, &err)) {
            return cli_error(w->cli, &err);
        }
        code = stop_or(CLI_DONE);
    }
    *seconds = clock_now() - from;
    return code;
}

int cli_bench_warm_up(struct cli_bench_work *w, double least)
{
    double from = clock_now(), seconds = 0.0;
    int code = w->n_prompt ? cli_bench_run(w, w->session, false, &seconds) : CLI_DONE;
    w->report->first_token = seconds;
    while (!code && clock_now() - from < least) {
        code = cli_bench_run(w, w->session, w->n_gen > 0, &seconds);
    }
    return code;
}

static int run_once(struct cli_bench_work *w, lk_session *session, bool is_decode,
                    struct cli_series *s)
{
    double seconds = 0.0;
    int code = cli_bench_run(w, session, is_decode, &seconds);
    if (!code) {
        s->value[s->n++] = (double)(is_decode ? w->n_gen : w->n_prompt) / seconds;
    }
    return code;
}

static int peer_run(struct cli_bench_work *w, bool is_decode, struct cli_series *s)
{
    double rate;
    w->peer->depth = w->depth;
    int code = cli_peer_run(w->cli, w->peer, is_decode, &rate);
    if (!code) {
        s->value[s->n++] = rate;
    }
    return code;
}

/* One of each: ours, that of the crowd, the peer's. */
static int turn(struct cli_bench_work *w, bool is_decode, struct cli_series *ours,
                struct cli_series *peers)
{
    struct cli_bench_report *r = w->report;
    int code = run_once(w, w->session, is_decode, ours);
    if (!code && w->crowd) {
        code = run_once(w, w->crowd, is_decode, is_decode ? &r->crowd_decode : &r->crowd_prefill);
    }
    return !code && w->peer ? peer_run(w, is_decode, peers) : code;
}

/* A prefill and a decode from w->depth. */
static int both(struct cli_bench_work *w, struct cli_series *prefill, struct cli_series *decode,
                struct cli_series *peer_prefill, struct cli_series *peer_decode)
{
    int code = w->n_prompt ? turn(w, false, prefill, peer_prefill) : CLI_DONE;
    return !code && w->n_gen ? turn(w, true, decode, peer_decode) : code;
}

static int every_depth(struct cli_bench_work *w)
{
    int code = CLI_DONE;
    for (int i = 0; i < w->report->n_points && !code; i++) {
        struct cli_bench_point *p = &w->report->point[i];
        w->depth = p->depth;
        code = both(w, &p->prefill, &p->decode, &p->peer_prefill, &p->peer_decode);
    }
    return code;
}

/* In rounds, so that what else happens on the machine meets all programs and all depths. */
int cli_bench_runs(struct cli_bench_work *w)
{
    struct cli_bench_report *r = w->report;
    int code = CLI_DONE;
    for (int64_t i = 0; i < w->n_runs && !code; i++) {
        (void)cli_progress(w->cli, "runs", (uint64_t)i, (uint64_t)w->n_runs);
        code = r->n_points ? every_depth(w)
                           : both(w, &r->prefill, &r->decode, &r->peer_prefill, &r->peer_decode);
    }
    cli_progress_end(w->cli);
    return code;
}
