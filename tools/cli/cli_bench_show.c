/* SPDX-License-Identifier: Apache-2.0
 *
 * Show: what was measured as text, as CSV (one line for each figure, all sections in the same
 * columns) or as one JSON object. Measures nothing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_bench.h"

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double cli_median(const struct cli_series *s)
{
    struct cli_series t = *s;
    qsort(t.value, (size_t)t.n, sizeof *t.value, compare);
    return (t.value[(t.n - 1) / 2] + t.value[t.n / 2]) / 2.0;
}

double cli_least(const struct cli_series *s)
{
    double v = s->value[0];
    for (int i = 1; i < s->n; i++) {
        v = s->value[i] < v ? s->value[i] : v;
    }
    return v;
}

double cli_most(const struct cli_series *s)
{
    double v = s->value[0];
    for (int i = 1; i < s->n; i++) {
        v = s->value[i] > v ? s->value[i] : v;
    }
    return v;
}

/* The ratio of our speed to another's. */
static double ratio(const struct cli_series *ours, const struct cli_series *theirs)
{
    return cli_median(ours) / cli_median(theirs);
}

/* Bytes of weights per second that decode touched. */
static double touched(const struct cli_bench_report *r)
{
    return cli_median(&r->decode) * (double)r->cost.weight_bytes;
}

/* Multiplications and additions of a token of prefill. */
static double prefill_work(const struct cli_bench_report *r)
{
    return 2.0 * (double)(r->cost.mul_adds - r->cost.head_mul_adds);
}

/* The same per second. */
static double worked(const struct cli_bench_report *r)
{
    return cli_median(&r->prefill) * prefill_work(r);
}

static double sum_seconds(const struct cli_ops *ops)
{
    double sum = 0.0;
    for (int i = 0; i < ops->n; i++) {
        sum += ops->row[i].seconds;
    }
    return sum > 0.0 ? sum : 1.0;
}

static double op_rate(const lk_op_time *t)
{
    return t->seconds > 0.0 ? (double)t->n_bytes / t->seconds / 1e9 : 0.0;
}

/* Tokens/s of decode if nothing but reading weights took time. */
static double limit_tokens(double bytes_per_second, const struct cli_bench_report *r)
{
    return bytes_per_second / (double)r->cost.weight_bytes;
}

/* ---- text ---- */

static void text_series(const char *name, int64_t n, const struct cli_series *s)
{
    if (s->n) {
        printf("%-15s %6" PRId64 " %10.2f %10.2f %10.2f\n", name, n, cli_median(s), cli_least(s),
               cli_most(s));
    }
}

static void text_limit(const char *name, double rate, const struct cli_bench_report *r)
{
    printf("  %-36s %7.2f GB/s, %9.2f tokens/s at most, %5.1f %% reached\n", name, rate / 1e9,
           limit_tokens(rate, r), 100.0 * touched(r) / rate);
}

static void text_roofline(const struct cli_bench_report *r)
{
    if (!r->roofline) {
        return;
    }
    printf("\nroofline\n");
    if (r->decode.n) {
        text_limit("decode: reading memory", r->read_rate, r);
        text_limit("decode: reading only a token's bytes", r->read_rate_fit, r);
    }
    if (r->main_kernel.type) {
        const lk_kernel_time *k = &r->main_kernel;
        char name[64];
        snprintf(name, sizeof name, "prefill: %s matmul alone, %d tokens", k->type, k->n_tokens);
        printf("  %-36s %7.1f GOPS, %9.2f tokens/s at most, %5.1f %% reached\n", name,
               k->ops_per_second / 1e9, k->ops_per_second / prefill_work(r),
               100.0 * worked(r) / k->ops_per_second);
    }
}

/* threads: 0 where nothing runs side by side, on a device */
static void text_ops(const char *title, const struct cli_ops *ops, int threads)
{
    double sum = sum_seconds(ops);
    if (!ops->n) {
        return;
    }
    printf("\n%s, %d tokens: time %s\n", title, ops->n_tokens,
           threads ? "of a thread, mean over the threads" : "of one step after the other");
    printf("%-11s %-28s %-6s %8s %10s %6s %8s\n", "op", "tensor", "type", "calls", "us/token", "%",
           "GB/s");
    for (int i = 0; i < ops->n; i++) {
        const lk_op_time *t = &ops->row[i];
        printf("%-11s %-28s %-6s %8" PRIu64 " %10.2f %6.2f", t->kind, t->name, t->type, t->calls,
               t->seconds / ops->n_tokens * 1e6, 100.0 * t->seconds / sum);
        if (t->n_bytes) {
            printf(" %8.2f", op_rate(t));
        }
        putchar('\n');
    }
}

static void text_kernels(const struct cli_bench_report *r)
{
    if (!r->n_kernels) {
        return;
    }
    const lk_kernel_time *k = r->kernel;
    printf("%smatmul kernels, %" PRId64 " x %" PRId64 ", ", r->model ? "\n" : "", k->rows, k->cols);
    if (k->threads) {
        printf("%d threads for one token, %d for %d tokens\n", k->threads, k->threads_batch,
               k->n_tokens);
    } else {
        printf("one token (GB/s) and %d tokens (GOPS)\n", k->n_tokens);
    }
    printf("%-9s %-6s %10s %10s\n", "level", "type", "GB/s", "GOPS");
    for (int i = 0; i < r->n_kernels; i++) {
        k = &r->kernel[i];
        printf("%-9s %-6s %10.2f %10.2f\n", k->level, k->type, k->bytes_per_second / 1e9,
               k->ops_per_second / 1e9);
    }
}

static void text_peer(const struct cli_bench_report *r)
{
    if (!r->peer) {
        return;
    }
    text_series("peer prefill", r->n_prompt, &r->peer_prefill);
    text_series("peer decode", r->n_gen, &r->peer_decode);
    if (r->prefill.n) {
        printf("%-22s %10.3f\n", "ratio prefill", ratio(&r->prefill, &r->peer_prefill));
    }
    if (r->decode.n) {
        printf("%-22s %10.3f\n", "ratio decode", ratio(&r->decode, &r->peer_decode));
    }
    printf("peer: %s, build %s\n", r->peer, r->peer_build);
}

static void text_crowd(const struct cli_bench_report *r)
{
    char name[32];
    if (!r->crowd) {
        return;
    }
    snprintf(name, sizeof name, "%d thr. prefill", r->crowd_asked);
    text_series(name, r->n_prompt, &r->crowd_prefill);
    snprintf(name, sizeof name, "%d thr. decode", r->crowd_asked);
    text_series(name, r->n_gen, &r->crowd_decode);
    printf("%d threads, of which %d run, reach", r->crowd_asked, r->crowd);
    if (r->prefill.n) {
        printf(" %.1f %% in prefill", 100.0 * ratio(&r->crowd_prefill, &r->prefill));
    }
    if (r->decode.n) {
        printf(" %.1f %% in decode", 100.0 * ratio(&r->crowd_decode, &r->decode));
    }
    printf(" of what %d do\n", r->threads);
}

static void text_memory(const struct cli_bench_report *r)
{
    const lk_memory_use *m = &r->memory_loaded;
    if (m->resident) {
        printf("resident %.1f MB after loading, %.1f MB after warming up; the file has %.1f, "
               "the cache %.1f, the work area %.1f MB (these count where they were used)\n",
               (double)m->resident / 1e6, (double)r->memory_used.resident / 1e6,
               (double)m->file / 1e6, (double)m->cache / 1e6, (double)m->work / 1e6);
    }
}

static void show_text(const struct cli_bench_report *r)
{
    if (r->model) {
        printf("%s, %.1f MB; %s\n", lk_model_path(r->model),
               (double)lk_model_file_bytes(r->model) / 1e6, r->engine);
        printf("load %.3f s", r->load);
        if (r->prefill.n) {
            printf(", first token after %" PRId64 " more: %.3f s", r->n_prompt, r->first_token);
        }
        putchar('\n');
        text_memory(r);
        if (r->n_points) {
            cli_bench_depth_text(r);
            return;
        }
        printf("\n%-15s %6s %10s %10s %10s\n", "tokens/s", "tokens", "median", "min", "max");
        text_series("prefill", r->n_prompt, &r->prefill);
        text_series("decode", r->n_gen, &r->decode);
        text_crowd(r);
        text_peer(r);
        if (r->decode.n) {
            printf("\na token reads %.2f MB of weights: %.2f GB/s touched by decode",
                   (double)r->cost.weight_bytes / 1e6, touched(r) / 1e9);
            if (r->read_rate > 0.0) {
                printf(", memory is read at %.2f GB/s", r->read_rate / 1e9);
            }
            putchar('\n');
        }
        text_roofline(r);
        text_ops("prefill", &r->prefill_ops, r->threads_batch);
        text_ops("decode", &r->decode_ops, r->threads);
    }
    text_kernels(r);
}

/* ---- CSV ---- */

static void csv_series(const char *section, const char *name, int64_t n, const struct cli_series *s)
{
    if (s->n) {
        printf("%s,%s,%" PRId64 ",tokens/s,%.6g,%.6g,%.6g,%d\n", section, name, n, cli_median(s),
               cli_least(s), cli_most(s), s->n);
    }
}

static void csv_value(const char *section, const char *name, const char *detail, const char *unit,
                      double value)
{
    printf("%s,%s,%s,%s,%.6g,,,\n", section, name, detail, unit, value);
}

static void csv_ops(const char *section, const struct cli_ops *ops)
{
    for (int i = 0; i < ops->n; i++) {
        const lk_op_time *t = &ops->row[i];
        char name[160];
        snprintf(name, sizeof name, "%s%s%s", t->name, *t->type ? " " : "", t->type);
        csv_value(section, t->kind, name, "us/token", t->seconds / ops->n_tokens * 1e6);
        if (t->n_bytes) {
            csv_value(section, t->kind, name, "GB/s", op_rate(t));
        }
    }
}

static void csv_memory(const struct cli_bench_report *r)
{
    const lk_memory_use *m = &r->memory_loaded;
    if (m->resident) {
        csv_value("memory", "resident", "loaded", "MB", (double)m->resident / 1e6);
        csv_value("memory", "resident", "used", "MB", (double)r->memory_used.resident / 1e6);
    }
    csv_value("memory", "file", "", "MB", (double)m->file / 1e6);
    csv_value("memory", "cache", "", "MB", (double)m->cache / 1e6);
    csv_value("memory", "work area", "", "MB", (double)m->work / 1e6);
}

/* Another's figures, and ours to them. */
static void csv_other(const char *name, const struct cli_bench_report *r,
                      const struct cli_series *prefill, const struct cli_series *decode)
{
    csv_series(name, "prefill", r->n_prompt, prefill);
    csv_series(name, "decode", r->n_gen, decode);
    if (prefill->n) {
        csv_value("ratio", "prefill", name, "", ratio(&r->prefill, prefill));
    }
    if (decode->n) {
        csv_value("ratio", "decode", name, "", ratio(&r->decode, decode));
    }
}

static void show_csv(const struct cli_bench_report *r)
{
    printf("section,name,detail,unit,median,min,max,runs\n");
    if (r->model) {
        csv_series("lockstep", "prefill", r->n_prompt, &r->prefill);
        csv_series("lockstep", "decode", r->n_gen, &r->decode);
        csv_value("lockstep", "load", "", "s", r->load);
        if (r->prefill.n) {
            csv_value("lockstep", "first token", "", "s", r->first_token);
        }
        csv_memory(r);
        cli_bench_depth_csv(r);
        if (r->crowd) {
            csv_other("crowd", r, &r->crowd_prefill, &r->crowd_decode);
        }
        if (r->peer) {
            csv_value(r->peer, "build", r->peer_build, "", 0.0);
            csv_other(r->peer, r, &r->peer_prefill, &r->peer_decode);
        }
        if (r->decode.n) {
            csv_value("memory", "touched", "", "GB/s", touched(r) / 1e9);
        }
        if (r->read_rate > 0.0) {
            csv_value("memory", "read", "", "GB/s", r->read_rate / 1e9);
        }
        if (r->roofline && r->decode.n) {
            csv_value("roofline", "decode", "memory", "%", 100.0 * touched(r) / r->read_rate);
            csv_value("roofline", "decode", "a token's bytes", "%",
                      100.0 * touched(r) / r->read_rate_fit);
        }
        if (r->main_kernel.type) {
            csv_value("roofline", "prefill", "reached", "GOPS", worked(r) / 1e9);
            csv_value("roofline", "prefill", "matmul alone", "%",
                      100.0 * worked(r) / r->main_kernel.ops_per_second);
        }
        csv_ops("prefill op", &r->prefill_ops);
        csv_ops("decode op", &r->decode_ops);
    }
    for (int i = 0; i < r->n_kernels; i++) {
        const lk_kernel_time *k = &r->kernel[i];
        csv_value("kernel", k->level, k->type, "GB/s", k->bytes_per_second / 1e9);
        csv_value("kernel", k->level, k->type, "GOPS", k->ops_per_second / 1e9);
    }
}

/* ---- JSON ---- */

static void json_string(const char *name, const char *s)
{
    printf(",\"%s\":", name);
    cli_json_string(stdout, s, strlen(s));
}

static void json_series(const char *name, const struct cli_series *s)
{
    if (!s->n) {
        return;
    }
    printf(",\"%s\":{\"median\":%.6g,\"min\":%.6g,\"max\":%.6g,\"runs\":[", name, cli_median(s),
           cli_least(s), cli_most(s));
    for (int i = 0; i < s->n; i++) {
        printf("%s%.6g", i ? "," : "", s->value[i]);
    }
    printf("]}");
}

static void json_ops(const char *name, const struct cli_ops *ops)
{
    if (!ops->n) {
        return;
    }
    printf(",\"%s\":{\"n_tokens\":%d,\"ops\":[", name, ops->n_tokens);
    for (int i = 0; i < ops->n; i++) {
        const lk_op_time *t = &ops->row[i];
        printf("%s{\"op\":\"%s\",\"tensor\":", i ? "," : "", t->kind);
        cli_json_string(stdout, t->name, strlen(t->name));
        printf(",\"type\":\"%s\",\"calls\":%" PRIu64 ",\"seconds\":%.6g,\"weight_bytes\":%" PRIu64
               "}",
               t->type, t->calls, t->seconds, t->n_bytes);
    }
    printf("]}");
}

/* Another's figures, and ours to them; ends the object. */
static void json_other(const struct cli_bench_report *r, const struct cli_series *prefill,
                       const struct cli_series *decode)
{
    json_series("prefill", prefill);
    json_series("decode", decode);
    if (prefill->n) {
        printf(",\"prefill_ratio\":%.6g", ratio(&r->prefill, prefill));
    }
    if (decode->n) {
        printf(",\"decode_ratio\":%.6g", ratio(&r->decode, decode));
    }
    putchar('}');
}

static void json_model(const struct cli_bench_report *r)
{
    json_string("model", lk_model_path(r->model));
    json_string("engine", r->engine);
    printf(",\"n_prompt\":%" PRId64 ",\"n_gen\":%" PRId64 ",\"load_seconds\":%.6g", r->n_prompt,
           r->n_gen, r->load);
    if (r->prefill.n) {
        printf(",\"first_token_seconds\":%.6g", r->first_token);
    }
    const lk_memory_use *m = &r->memory_loaded;
    printf(",\"memory\":{\"resident_loaded\":%" PRIu64 ",\"resident_used\":%" PRIu64
           ",\"file\":%" PRIu64 ",\"cache\":%" PRIu64 ",\"work_area\":%" PRIu64 "}",
           m->resident, r->memory_used.resident, m->file, m->cache, m->work);
    json_series("prefill", &r->prefill);
    json_series("decode", &r->decode);
    cli_bench_depth_json(r);
    printf(",\"token_weight_bytes\":%" PRIu64 ",\"token_mul_adds\":%" PRIu64, r->cost.weight_bytes,
           r->cost.mul_adds);
    if (r->decode.n) {
        printf(",\"touched_bytes_per_second\":%.6g", touched(r));
    }
    if (r->read_rate > 0.0) {
        printf(",\"read_bytes_per_second\":%.6g", r->read_rate);
    }
    if (r->roofline) {
        printf(",\"roofline\":{\"read_token_bytes_per_second\":%.6g", r->read_rate_fit);
        if (r->decode.n) {
            printf(",\"decode_limit\":%.6g,\"decode_percent\":%.6g", limit_tokens(r->read_rate, r),
                   100.0 * touched(r) / r->read_rate);
        }
        if (r->main_kernel.type) {
            printf(",\"prefill_ops_per_second\":%.6g,\"matmul_type\":\"%s\","
                   "\"matmul_ops_per_second\":%.6g,\"prefill_percent\":%.6g",
                   worked(r), r->main_kernel.type, r->main_kernel.ops_per_second,
                   100.0 * worked(r) / r->main_kernel.ops_per_second);
        }
        putchar('}');
    }
    json_ops("prefill_ops", &r->prefill_ops);
    json_ops("decode_ops", &r->decode_ops);
    if (r->crowd) {
        printf(",\"crowd\":{\"asked\":%d,\"threads\":%d", r->crowd_asked, r->crowd);
        json_other(r, &r->crowd_prefill, &r->crowd_decode);
    }
    if (r->peer) {
        printf(",\"peer\":{\"program\":");
        cli_json_string(stdout, r->peer, strlen(r->peer));
        json_string("build", r->peer_build);
        json_other(r, &r->peer_prefill, &r->peer_decode);
    }
}

static void show_json(const struct cli_bench_report *r)
{
    printf("{\"schema\":1");
    json_string("version", lk_version());
    if (r->model) {
        printf(",\"threads\":%d,\"threads_batch\":%d", r->threads, r->threads_batch);
        json_model(r);
    }
    if (r->n_kernels) {
        printf(",\"kernels\":[");
        for (int i = 0; i < r->n_kernels; i++) {
            const lk_kernel_time *k = &r->kernel[i];
            printf("%s{\"level\":\"%s\",\"type\":\"%s\",\"rows\":%" PRId64 ",\"cols\":%" PRId64
                   ",\"n_tokens\":%d,\"threads\":%d,\"threads_batch\":%d,\"bytes_per_second\":%.6g,"
                   "\"ops_per_second\":%.6g}",
                   i ? "," : "", k->level, k->type, k->rows, k->cols, k->n_tokens, k->threads,
                   k->threads_batch, k->bytes_per_second, k->ops_per_second);
        }
        putchar(']');
    }
    printf("}\n");
}

void cli_bench_show(const struct cli_bench_report *r, enum cli_bench_form form)
{
    if (form == CLI_BENCH_JSON) {
        show_json(r);
    } else if (form == CLI_BENCH_CSV) {
        show_csv(r);
    } else {
        show_text(r);
    }
}
