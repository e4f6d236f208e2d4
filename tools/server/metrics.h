/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: how long things take, as histograms that Prometheus reads. Knows no requests.
 */
#ifndef LK_SERVER_METRICS_H
#define LK_SERVER_METRICS_H

#include <stddef.h>
#include <stdint.h>

enum { METRICS_BUCKETS = 14 };
extern const double METRICS_BOUNDS[METRICS_BUCKETS]; /* seconds, rising */

struct metrics_histogram {
    uint64_t count[METRICS_BUCKETS + 1]; /* the last: beyond all bounds */
    double sum;
};
void metrics_add(struct metrics_histogram *h, double seconds);

struct metrics {
    struct metrics_histogram waited;      /* from the request to its first step */
    struct metrics_histogram first_token; /* from the request to its first token */
    struct metrics_histogram between;     /* from a token to the next of its answer */
    struct metrics_histogram whole;       /* from the request to the reply's end */
    struct metrics_histogram step;
    uint64_t finished[8]; /* answers by enum part_finish */
    uint64_t refused;
};

struct wire_text;
/* The lines of a histogram: NAME_bucket{LABELS,le="..."} and so on; labels without braces. */
void metrics_write(const struct metrics_histogram *h, const char *name, const char *labels,
                   struct wire_text *out);

#endif
