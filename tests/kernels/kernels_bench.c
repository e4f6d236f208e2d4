/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels_bench: `test_kernels --bench`: the speed of each matmul kernel on one thread, with
 * weights that lie in memory (mat-vec, GB/s of packed weights) and batches (GOPS, 2 a multiply and
 * add). Knows nothing of what is right: the tests do.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cpu/matmul.h"
#include "kernels.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds of one product: the best of some, for a quarter of a second. */
static double best_time(const struct lk_matmul_kernels *table, const struct lk_packed *p,
                        const struct lk_acts *a, int n_tok, float *y)
{
    double start = now(), best = 1e9;
    do {
        double t = now();
        (void)table->mul(p, a, n_tok, 0, p->n_groups, y, (size_t)p->rows);
        t = now() - t;
        best = t < best ? t : best;
    } while (now() - start < 0.25);
    return best;
}

void bench_matmul(enum lk_cpu_level level)
{
    enum { ROWS = 8192, K = 2048, FEW_ROWS = 512, TOKENS = 256 };
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    struct edge x = edge_new(TOKENS * K * sizeof(float), 64);
    struct edge y = edge_new(TOKENS * ROWS * sizeof(float), 64);
    struct rng rng = {1};
    for (size_t i = 0; i < TOKENS * K; i++) {
        float f = rng_float(&rng, -6, 2);
        memcpy(x.data + 4 * i, &f, 4);
    }
    for (size_t i = 0; i < n_types; i++) {
        enum lk_type type = types[i].type;
        const struct lk_matmul_kernels *table = lk_matmul_kernels(level, type);
        struct lk_weight w = {.name = "w", .type = type, .rows = ROWS, .cols = K};
        struct edge weight = edge_new(lk_type_row_bytes(type, K) * ROWS, 64);
        memset(weight.data, 0x11, weight.n_bytes);
        w.data = weight.data;
        w.n_bytes = weight.n_bytes;
        struct lk_packed p;
        lk_packed_init(&p, &w, level);
        struct edge packed = edge_new((size_t)p.n_groups * p.group_bytes, 64);
        p.data = packed.data;
        lk_pack_groups(&p, &w, 0, p.n_groups);
        struct lk_acts a = {.kind = lk_acts_kind_of(type), .k = K};
        a.row_bytes = lk_acts_row_bytes(a.kind, K);
        struct edge acts = edge_new(TOKENS * a.row_bytes, 64);
        a.data = acts.data;
        table->prepare(&a, (const float *)(const void *)x.data, 0, TOKENS);
        float *out = (float *)(void *)y.data;
        double one = best_time(table, &p, &a, 1, out);
        p.rows = FEW_ROWS;
        p.n_groups = FEW_ROWS / LK_PACK_ROWS;
        double many = best_time(table, &p, &a, TOKENS, out);
        printf("%-8s %-5s mat-vec %6.1f GB/s  %d tokens %7.1f GOPS\n", lk_cpu_level_name(level),
               types[i].name, (double)packed.n_bytes / one * 1e-9, TOKENS,
               2.0 * FEW_ROWS * K * TOKENS / many * 1e-9);
        fflush(stdout);
        edge_free(&weight);
        edge_free(&packed);
        edge_free(&acts);
    }
    edge_free(&x);
    edge_free(&y);
}
