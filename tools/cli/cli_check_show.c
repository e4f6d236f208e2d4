/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_show: a check as text for a terminal and as one JSON object. Compares nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/cli/cli_check.h"

const char *cli_check_word(lk_check_state state)
{
    switch (state) {
    case LK_CHECK_EQUAL:
        return "equal";
    case LK_CHECK_WITHIN:
        return "within bounds";
    case LK_CHECK_DIFFERS:
        return "DIFFERS";
    case LK_CHECK_NOT_RUN:
        return "not run";
    case LK_CHECK_NONE:
        break;
    }
    return "";
}

void cli_check_unit(const lk_check_report *r, int layer, char out[32])
{
    if (layer < 0 || layer >= r->n_layers) {
        snprintf(out, 32, "%s", layer < 0 ? "embedding" : "head");
    } else {
        snprintf(out, 32, "layer %d", layer);
    }
}

void cli_check_tokens(const lk_check_kernel *k, char out[32])
{
    bool one = k->least_tokens == k->most_tokens;
    snprintf(out, 32, one ? "%d" : "%d to %d", k->least_tokens, k->most_tokens);
}

/* ---- text ---- */

static void text_entry(FILE *to, const lk_check_entry *e, bool all)
{
    char figure[64] = "";
    if (e->bound > 0 && (e->error > 0 || e->n_different == 0)) {
        snprintf(figure, sizeof figure, "%.2g of %.2g", e->error, e->bound);
    } else if (e->n_different) {
        snprintf(figure, sizeof figure, "%" PRIu64 " of %" PRIu64, e->n_different, e->n_values);
    } else if (e->n_values) {
        snprintf(figure, sizeof figure, "%" PRIu64 " values", e->n_values);
    }
    fprintf(to, "%-33s %-13s %22s %7.1f s\n", e->what, cli_check_word(e->state), figure,
            e->seconds);
    if (all && e->how[0]) {
        fprintf(to, "    %s\n", e->how);
    }
    if (e->note[0]) {
        fprintf(to, "    %s\n", e->note);
    }
}

static void text_depths(FILE *to, const lk_check_report *r)
{
    if (r->n_depths) {
        fprintf(to, "\n%5s  %-13s  %s\n", "depth", "bits", "CPU to the reference");
    }
    for (int i = 0; i < r->n_depths; i++) {
        const lk_check_depth *d = &r->depths[i];
        fprintf(to, "%5d  %-13s  ", d->depth, cli_check_word(d->bits));
        if (d->error < 0) {
            fprintf(to, "not compared\n");
        } else {
            fprintf(to, "%.5f of %.5f\n", d->error, d->bound);
        }
    }
}

static void text_kernels(FILE *to, const lk_check_report *r)
{
    if (r->n_kernels) {
        fprintf(to, "\n%-18s %-9s kernel\n", "op", "tokens");
    }
    for (size_t i = 0; i < r->n_kernels; i++) {
        const lk_check_kernel *k = &r->kernels[i];
        char tokens[32];
        cli_check_tokens(k, tokens);
        fprintf(to, "%-18s %-9s %s\n", r->columns[k->column], tokens, k->name);
    }
}

static void text_difference(FILE *to, const struct cli_check_shown *s)
{
    const lk_check_difference *d = &s->report->difference;
    char unit[32];
    cli_check_unit(s->report, d->layer, unit);
    fprintf(to, "\nfirst difference\n");
    fprintf(to, "  on          %s, against %s\n", d->side, d->against);
    if (d->op[0]) {
        fprintf(to, "  op          %s, %s%s%s%s%s%s\n", unit, d->op, d->tensor[0] ? " " : "",
                d->tensor, d->type[0] ? " (" : "", d->type, d->type[0] ? ")" : "");
        fprintf(to, "  kernel      %s%s\n", d->variant,
                d->fused ? "; only where ops are fused" : "");
        fprintf(to, "  seen with   %s\n", d->feed);
    }
    if (d->message[0]) {
        fprintf(to, "  message     %s\n", d->message);
    }
    if (d->n_different) {
        fprintf(to, "  differ      %" PRIu64 " of %" PRIu64 " values: %s\n", d->n_different,
                d->n_values, d->pattern);
    }
    bool cache = strcmp(d->op, "kv_store") == 0;
    for (int i = 0; i < d->n_shown; i++) {
        char row[32];
        snprintf(row, sizeof row, "row %" PRIu64, d->shown[i].row);
        fprintf(to,
                "  %s, element %-6" PRIu64 " found 0x%08x %-15.9g expected 0x%08x %-15.9g %" PRIu64
                " ulp\n",
                !cache            ? row
                : d->shown[i].row ? "V"
                                  : "K",
                d->shown[i].index, d->shown[i].found, d->shown[i].found_value, d->shown[i].expected,
                d->shown[i].expected_value, d->shown[i].ulps);
    }
    if (d->op[0]) {
        fprintf(to, "  remedy      %s\n",
                d->vanishes[0] ? d->vanishes : "nothing that can be switched off makes it vanish");
    }
    fprintf(to, "  repeat      %s\n", s->repeat);
}

void cli_check_text(FILE *to, const struct cli_check_shown *s, bool all)
{
    const lk_check_report *r = s->report;
    char hex[65];
    cli_hex(r->fingerprint, hex);
    fprintf(to, "model    %s\n         %s, fingerprint %.16s", lk_model_path(s->model),
            lk_model_arch(s->model), hex);
    cli_hex(r->weights, hex);
    fprintf(to, ", weights %.16s\n", hex);
    if (r->has_device) {
        fprintf(to, "device   %s, %s\n         %s; features: %s\n", r->device.name,
                r->device.driver, r->device.exact ? "exact" : "approximate", r->device.features);
    } else {
        fprintf(to, "device   none: %s\n", r->no_device);
    }
    fprintf(to, "cpu      %s\ntokens   %d, last position %d%s\n\n", r->cpu, r->n_tokens,
            r->n_ctx - 1, r->quick ? ", quick" : "");
    for (size_t i = 0; i < r->n_entries; i++) {
        text_entry(to, &r->entries[i], all);
    }
    text_depths(to, r);
    if (all) {
        text_kernels(to, r);
    }
    if (r->has_difference) {
        text_difference(to, s);
    }
    fprintf(to, "\n%s (%.1f s)\n", r->sentence, r->seconds);
}

/* ---- JSON ---- */

static void json_text(FILE *to, const char *key, const char *value)
{
    fprintf(to, "\"%s\":", key);
    cli_json_string(to, value, strlen(value));
}

static const char *json_word(lk_check_state state)
{
    static const char *const WORDS[] = {"none", "equal", "within", "differs", "not run"};
    return WORDS[state];
}

static void json_entries(FILE *to, const lk_check_report *r)
{
    fprintf(to, ",\n \"entries\":[");
    for (size_t i = 0; i < r->n_entries; i++) {
        const lk_check_entry *e = &r->entries[i];
        fprintf(to, "%s\n  {", i ? "," : "");
        json_text(to, "what", e->what);
        fputc(',', to);
        json_text(to, "how", e->how);
        fprintf(to, ",\"state\":\"%s\",\"values\":%" PRIu64 ",\"different\":%" PRIu64,
                json_word(e->state), e->n_values, e->n_different);
        if (e->bound > 0) {
            fprintf(to, ",\"error\":%.6g,\"bound\":%.6g", e->error < 1e300 ? e->error : 1e300,
                    e->bound);
        }
        fprintf(to, ",\"seconds\":%.3f,", e->seconds);
        json_text(to, "note", e->note);
        fputc('}', to);
    }
    fprintf(to, "],\n \"depths\":[");
    for (int i = 0; i < r->n_depths; i++) {
        const lk_check_depth *d = &r->depths[i];
        fprintf(to, "%s{\"depth\":%d,\"bits\":\"%s\"", i ? "," : "", d->depth, json_word(d->bits));
        if (d->error >= 0) {
            fprintf(to, ",\"error\":%.6g,\"bound\":%.6g", d->error < 1e300 ? d->error : 1e300,
                    d->bound);
        }
        fputc('}', to);
    }
    fprintf(to, "],\n \"columns\":[");
    for (int k = 0; k < r->n_columns; k++) {
        fprintf(to, "%s", k ? "," : "");
        cli_json_string(to, r->columns[k], strlen(r->columns[k]));
    }
    fprintf(to, "],\n \"kernels\":[");
    for (size_t i = 0; i < r->n_kernels; i++) {
        const lk_check_kernel *k = &r->kernels[i];
        fprintf(to, "%s\n  {\"column\":%d,\"least_tokens\":%d,\"most_tokens\":%d,", i ? "," : "",
                k->column, k->least_tokens, k->most_tokens);
        json_text(to, "kernel", k->name);
        fputc('}', to);
    }
    /* One row for each unit (embedding, layers, head), one letter for each column. */
    fprintf(to, "],\n \"cells\":[");
    for (int l = 0; l < r->n_layers + 2; l++) {
        fprintf(to, "%s\"", l ? "," : "");
        for (int k = 0; k < r->n_columns; k++) {
            fputc(".=~x-"[r->cells[l * r->n_columns + k]], to);
        }
        fputc('"', to);
    }
    fputc(']', to);
}

static void json_difference(FILE *to, const lk_check_report *r)
{
    const lk_check_difference *d = &r->difference;
    char unit[32];
    cli_check_unit(r, d->layer, unit);
    fprintf(to, ",\n \"difference\":{\"layer\":%d,", d->layer);
    const struct {
        const char *key, *value;
    } TEXT[] = {{"unit", unit},          {"side", d->side},
                {"against", d->against}, {"op", d->op},
                {"tensor", d->tensor},   {"type", d->type},
                {"variant", d->variant}, {"feed", d->feed},
                {"pattern", d->pattern}, {"vanishes", d->vanishes},
                {"feature", d->feature}, {"message", d->message}};
    for (size_t i = 0; i < sizeof TEXT / sizeof *TEXT; i++) {
        json_text(to, TEXT[i].key, TEXT[i].value);
        fputc(',', to);
    }
    fprintf(to, "\"fused\":%s,\"values\":%" PRIu64 ",\"different\":%" PRIu64 ",\"shown\":[",
            d->fused ? "true" : "false", d->n_values, d->n_different);
    for (int i = 0; i < d->n_shown; i++) {
        fprintf(to,
                "%s{\"row\":%" PRIu64 ",\"element\":%" PRIu64
                ",\"found\":\"0x%08x\",\"expected\":\"0x%08x\",\"found_value\":\"%.9g\","
                "\"expected_value\":\"%.9g\",\"ulps\":%" PRIu64 "}",
                i ? "," : "", d->shown[i].row, d->shown[i].index, d->shown[i].found,
                d->shown[i].expected, d->shown[i].found_value, d->shown[i].expected_value,
                d->shown[i].ulps);
    }
    fprintf(to, "]}");
}

void cli_check_json(FILE *to, const struct cli_check_shown *s)
{
    const lk_check_report *r = s->report;
    char hex[65];
    fprintf(to, "{\"schema\":1,\"verdict\":\"%s\",", json_word(r->verdict));
    json_text(to, "sentence", r->sentence);
    fputc(',', to);
    json_text(to, "version", lk_version());
    fputc(',', to);
    json_text(to, "date", s->date);
    fprintf(to, ",\n ");
    json_text(to, "model", lk_model_path(s->model));
    fputc(',', to);
    json_text(to, "architecture", lk_model_arch(s->model));
    cli_hex(r->fingerprint, hex);
    fprintf(to, ",\"fingerprint\":\"%s\"", hex);
    cli_hex(r->weights, hex);
    fprintf(to, ",\"weights_sha256\":\"%s\"", hex);
    cli_hex(r->logits, hex);
    fprintf(to,
            ",\"logits_sha256\":\"%s\",\"layers\":%d,\"tokens\":%d,\"context\":%d,\"quick\":%s,"
            "\"seconds\":%.3f,\n ",
            hex, r->n_layers, r->n_tokens, r->n_ctx, r->quick ? "true" : "false", r->seconds);
    if (r->has_device) {
        fprintf(to, "\"device\":{");
        json_text(to, "name", r->device.name);
        fputc(',', to);
        json_text(to, "driver", r->device.driver);
        fputc(',', to);
        json_text(to, "features", r->device.features);
        fputc(',', to);
        json_text(to, "note", r->device.note);
        fprintf(to, ",\"exact\":%s}", r->device.exact ? "true" : "false");
    } else {
        json_text(to, "no_device", r->no_device);
    }
    fputc(',', to);
    json_text(to, "cpu", r->cpu);
    json_entries(to, r);
    if (r->has_difference) {
        json_difference(to, r);
    }
    fprintf(to, ",\n ");
    json_text(to, "repeat", s->repeat);
    fprintf(to, "}\n");
}
