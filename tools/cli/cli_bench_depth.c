/* SPDX-License-Identifier: Apache-2.0
 *
 * Depth: speeds by the tokens that the context held before a run, as text, CSV or JSON. Measures
 * nothing.
 */
#include <inttypes.h>

#include "tools/cli/cli_bench.h"

/* The four series of a point; ours is the one before a peer's. */
enum { N_SERIES = 4 };
static const struct cli_series *series_at(const struct cli_bench_point *p, int i)
{
    const struct cli_series *all[N_SERIES] = {&p->prefill, &p->peer_prefill, &p->decode,
                                              &p->peer_decode};
    return all[i];
}

static const char *const NAME[N_SERIES] = {"prefill", "peer prefill", "decode", "peer decode"};

static bool has(const struct cli_bench_report *r, int i)
{
    return series_at(&r->point[0], i)->n > 0;
}

static double ratio_at(const struct cli_bench_point *p, int peer)
{
    return cli_median(series_at(p, peer - 1)) / cli_median(series_at(p, peer));
}

void cli_bench_depth_text(const struct cli_bench_report *r)
{
    printf("\ntokens/s, median; prefill of %" PRId64 ", decode of %" PRId64 " tokens\n%8s",
           r->n_prompt, r->n_gen, "depth");
    for (int i = 0; i < N_SERIES; i++) {
        if (has(r, i)) {
            printf(i % 2 ? " %13s  ratio" : " %13s", NAME[i]);
        }
    }
    putchar('\n');
    for (int k = 0; k < r->n_points; k++) {
        const struct cli_bench_point *p = &r->point[k];
        printf("%8" PRId64, p->depth);
        for (int i = 0; i < N_SERIES; i++) {
            if (has(r, i)) {
                printf(" %13.2f", cli_median(series_at(p, i)));
            }
            if (has(r, i) && i % 2) {
                printf(" %6.3f", ratio_at(p, i));
            }
        }
        putchar('\n');
    }
    if (r->peer) {
        printf("peer: %s, build %s\n", r->peer, r->peer_build);
    }
}

void cli_bench_depth_csv(const struct cli_bench_report *r)
{
    for (int k = 0; k < r->n_points; k++) {
        const struct cli_bench_point *p = &r->point[k];
        for (int i = 0; i < N_SERIES; i++) {
            const struct cli_series *s = series_at(p, i);
            if (s->n) {
                printf("depth,%s,%" PRId64 ",tokens/s,%.6g,%.6g,%.6g,%d\n", NAME[i], p->depth,
                       cli_median(s), cli_least(s), cli_most(s), s->n);
            }
        }
    }
}

void cli_bench_depth_json(const struct cli_bench_report *r)
{
    static const char *const KEY[N_SERIES] = {"prefill", "peer_prefill", "decode", "peer_decode"};
    if (r->n_points == 0) {
        return;
    }
    printf(",\"depths\":[");
    for (int k = 0; k < r->n_points; k++) {
        const struct cli_bench_point *p = &r->point[k];
        printf("%s{\"depth\":%" PRId64, k ? "," : "", p->depth);
        for (int i = 0; i < N_SERIES; i++) {
            const struct cli_series *s = series_at(p, i);
            if (s->n) {
                printf(",\"%s\":{\"median\":%.6g,\"min\":%.6g,\"max\":%.6g,\"n\":%d}", KEY[i],
                       cli_median(s), cli_least(s), cli_most(s), s->n);
            }
        }
        putchar('}');
    }
    putchar(']');
}
