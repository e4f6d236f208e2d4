/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep check: whether a model computes right on this machine, and if not, where. The comparing
 * is the library's; this file reads the options, shows what was found, and offers a remedy.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli/cli_check.h"

#define THIS(field) offsetof(struct cli_check_args, field)

static const struct cli_option options[] = {
    {"quick", 0, CLI_FLAG, NULL, THIS(quick), .help = "fewer tokens, depths and ways to run"},
    {"only", 0, CLI_STRING, "WHAT", THIS(only),
     .help = "layer=N (or embedding, head), op=NAME (a kind or a tensor), or both with a comma"},
    {"report", 0, CLI_STRING, "FILE", THIS(report),
     .help = "write a certificate: one page for a browser, or JSON when FILE ends in .json"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print one JSON object"},
    CLI_END,
};

/* ---- --only ---- */

static int bad_only(const struct cli *cli, const char *only)
{
    return cli_fail(cli, CLI_USAGE,
                    "--only: '%s', expected layer=N, layer=embedding, layer=head, op=NAME or both "
                    "with a comma",
                    only);
}

/* Fills o from --only; op[] holds the name. The head's number is the model's: n_layers. */
static int read_only(const struct cli *cli, const char *only, int n_layers, char op[64],
                     lk_check_options *o)
{
    for (const char *p = only; *p;) {
        size_t n = strcspn(p, ",");
        char *end;
        if (strncmp(p, "layer=", 6) == 0) {
            const char *value = p + 6;
            size_t len = n - 6;
            long layer = strtol(value, &end, 10);
            if (len == 9 && strncmp(value, "embedding", 9) == 0) {
                o->layer = -1;
            } else if (len == 4 && strncmp(value, "head", 4) == 0) {
                o->layer = n_layers;
            } else if (len > 0 && end == p + n && layer >= 0 && layer < 1 << 20) {
                o->layer = (int32_t)layer;
            } else {
                return bad_only(cli, only);
            }
        } else if (strncmp(p, "op=", 3) == 0 && n > 3 && n - 3 < 64) {
            memcpy(op, p + 3, n - 3);
            op[n - 3] = 0;
            o->op = op;
        } else {
            return bad_only(cli, only);
        }
        p += n + (p[n] == ',');
    }
    return *only ? CLI_DONE : bad_only(cli, only);
}

/* Layers of a model, from its metadata; 0 when it does not say. */
static int layers_of(const lk_model *model)
{
    for (size_t i = 0; i < lk_model_n_meta(model); i++) {
        static const char END[] = ".block_count";
        lk_meta m;
        lk_model_meta(model, i, &m);
        size_t n = sizeof END - 1;
        if (m.key_len > n && memcmp(m.key + m.key_len - n, END, n) == 0) {
            return atoi(m.value);
        }
    }
    return 0;
}

/* ---- the command that repeats it ---- */

static void append_word(struct cli_buffer *b, const char *option, const char *value)
{
    bool plain =
        value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            "_-./=,:+%")] == 0;
    (void)cli_append(b, " ", 1);
    (void)cli_append(b, option, strlen(option));
    (void)cli_append(b, *option && *value ? " " : "", *option && *value ? 1 : 0);
    if (plain) {
        (void)cli_append(b, value, strlen(value));
        return;
    }
    (void)cli_append(b, "'", 1);
    for (const char *p = value; *p; p++) {
        (void)cli_append(b, *p == '\'' ? "'\\''" : p, *p == '\'' ? 4 : 1);
    }
    (void)cli_append(b, "'", 1);
}

static void append_number(struct cli_buffer *b, const char *option, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    append_word(b, option, text);
}

/* 0-terminated; empty when memory ran out. */
static void make_repeat(const struct cli *cli, const struct cli_check_args *args,
                        const lk_check_report *r, struct cli_buffer *b)
{
    const struct cli_engine_args *e = &args->engine;
    const lk_check_difference *d = &r->difference;
    (void)cli_append(b, "lockstep check", 14);
    append_word(b, "", cli->argv[0]);
    if (strcmp(e->backend, "auto") != 0) {
        append_word(b, "--backend", e->backend);
    }
    if (e->device) {
        append_word(b, "--device", e->device);
    }
    if (e->vk_disable) {
        append_word(b, "--vk-disable", e->vk_disable);
    }
    if (strcmp(e->cpu_level, "auto") != 0) {
        append_word(b, "--cpu-level", e->cpu_level);
    }
    if (e->threads) {
        append_number(b, "--threads", e->threads);
    }
    if (e->ctx) {
        append_number(b, "--ctx", e->ctx);
    }
    if (e->no_fuse) {
        append_word(b, "--no-fuse", "");
    }
    if (args->quick) {
        append_word(b, "--quick", "");
    }
    if (r->has_difference && d->op[0]) {
        char only[128], layer[32];
        snprintf(layer, sizeof layer, "%d", d->layer);
        snprintf(only, sizeof only, "layer=%s,op=%s",
                 d->layer < 0              ? "embedding"
                 : d->layer == r->n_layers ? "head"
                                           : layer,
                 d->op);
        append_word(b, "--only", only);
    } else if (args->only) {
        append_word(b, "--only", args->only);
    }
    if (!cli_append(b, "", 1)) {
        cli_buffer_free(b);
    }
}

/* ---- after a difference ---- */

/* What switches the feature off for good; asked on a terminal. */
static int offer(struct cli *cli, const lk_engine_options *o, const lk_check_report *r)
{
    const char *feature = r->difference.feature;
    lk_error err;
    cli_note(
        cli,
        "lockstep devices --device '%s' --switch-off %s   switches it off for this device from "
        "now on",
        r->device.name, feature);
    if (!isatty(STDIN_FILENO) || !cli->err_tty || cli->quiet) {
        return CLI_DONE;
    }
    char answer[16] = "";
    fprintf(stderr, "Switch %s off for %s from now on? [y/N] ", feature, r->device.name);
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y')) {
        return CLI_DONE;
    }
    if (lk_device_disable(o, feature, &err)) {
        return cli_error(cli, &err);
    }
    cli_note(cli, "%s is off; `lockstep devices --switch-on` undoes it", feature);
    return CLI_DONE;
}

static void write_html(FILE *f, const void *shown)
{
    cli_check_html(f, shown);
}

static void write_json(FILE *f, const void *shown)
{
    cli_check_json(f, shown);
}

static int write_report(struct cli *cli, const char *path, lk_output **to,
                        const struct cli_check_shown *s)
{
    size_t n = strlen(path);
    bool json = n >= 5 && strcmp(path + n - 5, ".json") == 0;
    return cli_write(cli, path, to, json ? write_json : write_html, s);
}

static int show(struct cli *cli, const struct cli_check_args *args, const lk_model *model,
                const lk_engine_options *o, const lk_check_report *r, lk_output **to)
{
    struct cli_buffer repeat = {0};
    char date[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    make_repeat(cli, args, r, &repeat);
    if (gmtime_r(&now, &utc)) {
        strftime(date, sizeof date, "%Y-%m-%d", &utc);
    }
    struct cli_check_shown s = {model, r, repeat.data ? repeat.data : "", date};
    if (args->json) {
        cli_check_json(stdout, &s);
    } else {
        cli_check_text(stdout, &s, cli->verbose > 0);
    }
    int code = args->report ? write_report(cli, args->report, to, &s) : CLI_DONE;
    if (!code && r->has_difference && r->difference.feature[0]) {
        code = offer(cli, o, r);
    }
    cli_buffer_free(&repeat);
    return code ? code : r->verdict == LK_CHECK_DIFFERS ? CLI_NO : CLI_DONE;
}

int cli_check_model(struct cli *cli, const struct cli_check_args *args)
{
    lk_model *model = NULL;
    lk_engine_options o;
    lk_check_options co = lk_check_options_default();
    lk_check_report *report = NULL;
    lk_error err;
    char *cache = NULL, op[64] = "";
    lk_output *to = NULL;
    cli_catch_interrupts();
    if (args->report && lk_output_open(args->report, 0, &to, &err)) {
        return cli_error(cli, &err);
    }
    int code = cli_open_model(cli, cli->argv[0], &model);
    co.quick = args->quick;
    if (!code && args->only) {
        code = read_only(cli, args->only, layers_of(model), op, &co);
    }
    if (!code) {
        code = cli_engine_options_from(cli, &args->engine, &o, &cache);
    }
    if (!code) {
        lk_status status = lk_check(model, &o, &co, &report, &err);
        cli_progress_end(cli);
        code = status ? cli_error(cli, &err) : show(cli, args, model, &o, report, &to);
    }
    lk_output_close(&to);
    lk_check_free(&report);
    cli_engine_options_free(&cache);
    lk_model_close(&model);
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    return cli_check_model(cli, arguments);
}

const struct cli_command cli_check = {
    .name = "check",
    .group = "is it right, how fast is it",
    .usage = "MODEL",
    .summary = "compare device, CPU and reference on a model, and name the first op that differs",
    .details =
        "Every op of every layer, the layers together, whole sessions in every way to run them: "
        "the "
        "Vulkan device and the CPU by bits, the CPU and the reference in double within stated "
        "bounds. Without a GPU the levels of the CPU are compared. A driver that computes on the "
        "CPU "
        "is checked when --device names it.\n\nExit status 0: all is equal, or an approximate "
        "device is within its bounds. 1: something differs; its layer, op, kernel and elements are "
        "named. 5: the device asked for does not open.",
    .examples = "lockstep check smollm2 --report page.html",
    .words = CLI_WORDS_MODELS,
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct cli_check_args),
    .options = {options, cli_backend_options, cli_device_options, cli_compute_options},
    .run = run,
};
