/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: histograms and their lines in Prometheus' text format.
 */
#include "tools/server/metrics.h"

#include <inttypes.h>

#include "tools/server/wire.h"

const double METRICS_BOUNDS[METRICS_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1.0,   2.5,  5.0,   10.0, 60.0};

void metrics_add(struct metrics_histogram *h, double seconds)
{
    int i = 0;
    while (i < METRICS_BUCKETS && seconds > METRICS_BOUNDS[i]) {
        i++;
    }
    h->count[i]++;
    h->sum += seconds;
}

void metrics_write(const struct metrics_histogram *h, const char *name, const char *labels,
                   struct wire_text *out)
{
    const char *comma = labels[0] ? "," : "";
    uint64_t all = 0;
    for (int i = 0; i < METRICS_BUCKETS; i++) {
        all += h->count[i];
        wire_print(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
                   METRICS_BOUNDS[i], all);
    }
    all += h->count[METRICS_BUCKETS];
    wire_print(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, all);
    wire_print(out, "%s_sum{%s} %.6f\n%s_count{%s} %" PRIu64 "\n", name, labels, h->sum, name,
               labels, all);
}
