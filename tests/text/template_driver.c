/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_driver: renders templates for scripts. In: "COMMAND LENGTH\n" and LENGTH bytes, where
 * `template` takes a template's source, `now` a date in seconds, `render` a JSON object of
 * variables for the template, `time` the same 20 times. Out: "ok LENGTH\n" and the text, for
 * `render` followed by its marks as one letter a byte (t template, d data); "ok" and the median
 * time of a rendering in nanoseconds; or "error LENGTH\n" and the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/value/json.h"
#include "text/template/template_run.h"

static struct lk_tpl *compiled;
static struct tm now;

static void answer(const char *word, const char *bytes, size_t n)
{
    printf("%s %zu\n", word, n);
    fwrite(bytes, 1, n, stdout);
    fflush(stdout);
}

static void fail(const lk_error *err)
{
    answer("error", err->message, strlen(err->message));
}

static void compile(const char *text, size_t len)
{
    lk_error err = {0};
    lk_tpl_free(&compiled);
    if (lk_tpl_compile(text, len, &compiled, &err)) {
        fail(&err);
    } else {
        answer("ok", "", 0);
    }
}

static void show(const struct lk_text_buffer *out)
{
    char *marks = malloc(out->n + 1);
    for (size_t i = 0; i < out->n; i++) {
        marks[i] = (out->marks ? out->marks[i] : out->flags) ? 't' : 'd';
    }
    answer("ok", out->bytes ? out->bytes : "", out->n);
    fwrite(marks, 1, out->n, stdout);
    fflush(stdout);
    free(marks);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void render(const char *text, size_t len, int times)
{
    struct lk_region region = {0};
    struct lk_value variables;
    lk_error err = {0};
    double took[20];
    const struct lk_json_reading how = {.what = "variables", .max_depth = 200};
    if (!compiled || lk_json_read(&region, text, len, &how, &variables, &err)) {
        fail(&err);
        lk_region_free(&region);
        return;
    }
    lk_status status = LK_OK;
    for (int i = 0; i < times && !status; i++) {
        struct lk_text_buffer out = {0};
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        status = lk_tpl_render(compiled, &variables, &now, &out, &err);
        clock_gettime(CLOCK_MONOTONIC, &b);
        took[i] = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
        if (!status && times == 1) {
            show(&out);
        }
        lk_text_free(&out);
    }
    if (status) {
        fail(&err);
    } else if (times > 1) {
        char line[32];
        qsort(took, (size_t)times, sizeof took[0], by_value);
        answer("ok", line, (size_t)sprintf(line, "%.0f", took[times / 2]));
    }
    lk_region_free(&region);
}

int main(void)
{
    char command[16];
    size_t len;
    while (scanf("%15s %zu", command, &len) == 2 && getchar() == '\n') {
        char *text = malloc(len + 1);
        if (!text || fread(text, 1, len, stdin) != len) {
            free(text);
            return 1;
        }
        text[len] = 0;
        if (strcmp(command, "template") == 0) {
            compile(text, len);
        } else if (strcmp(command, "now") == 0) {
            time_t seconds = (time_t)atoll(text);
            gmtime_r(&seconds, &now);
            answer("ok", "", 0);
        } else {
            render(text, len, strcmp(command, "time") == 0 ? 20 : 1);
        }
        free(text);
    }
    lk_tpl_free(&compiled);
    return 0;
}
