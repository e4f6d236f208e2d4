/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_html: a check as one page that needs nothing else: the verdict first, readable without
 * colour, light and dark, narrow and wide, and on paper. Compares nothing.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tools/cli/cli_check.h"

static void text(FILE *to, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        default:
            fputc(*s, to);
        }
    }
}

static const char *class_of(lk_check_state state)
{
    static const char *const CLASS[] = {"none", "equal", "within", "differs", "unrun"};
    return CLASS[state];
}

/* A sign that reads without colour. */
static const char *sign_of(lk_check_state state)
{
    static const char *const SIGN[] = {"", "=", "&#8776;", "&#10005;", "&#8211;"};
    return SIGN[state];
}

static const char STYLE[] =
    ":root{color-scheme:light dark;--bg:#fbfbf9;--card:#fff;--ink:#1c1d1f;--soft:#5c6066;"
    "--line:#d9dbd7;--eq:#d9ecdf;--eqi:#14592f;--wi:#fbeac2;--wii:#6b4a00;--di:#b3261e;"
    "--dii:#fff;--un:#e9eae6}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#141517;--card:#1c1e21;--ink:#e7e7e3;"
    "--soft:#a2a6ac;--line:#34373b;--eq:#1d3a2a;--eqi:#a5dcb9;--wi:#463714;--wii:#f3d48b;"
    "--di:#f2b8b5;--dii:#4a0d09;--un:#2a2c2f}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}"
    "main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}"
    "h1{font-size:1rem;font-weight:600;margin:0 0 1rem;color:var(--soft)}"
    "h2{font-size:1.15rem;margin:2.4rem 0 .7rem;line-height:1.3}"
    "p{margin:.4rem 0}code,.m{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',"
    "monospace;font-size:.86em;overflow-wrap:anywhere}\n"
    ".v{border-radius:10px;padding:1.1rem 1.2rem;border:2px solid}"
    ".v b{display:block;font-size:1.7rem;line-height:1.2;margin-bottom:.3rem}"
    ".v.equal{background:var(--eq);color:var(--eqi);border-color:var(--eqi)}"
    ".v.within{background:var(--wi);color:var(--wii);border-color:var(--wii)}"
    ".v.differs{background:var(--di);color:var(--dii);border-color:var(--di);font-weight:400}\n"
    "dl{display:grid;grid-template-columns:9rem 1fr;gap:.25rem 1rem;margin:0}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}"
    "th{text-align:left;font-weight:600;color:var(--soft);font-size:.86em}"
    "td,th{padding:.42rem .6rem .42rem 0;border-bottom:1px solid var(--line);vertical-align:top}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "small{display:block;color:var(--soft);font-size:.82em;line-height:1.4}"
    ".t{display:inline-block;padding:0 .5em;border-radius:5px;white-space:nowrap;font-size:.88em}"
    ".equal{background:var(--eq);color:var(--eqi)}.within{background:var(--wi);color:var(--wii)}"
    ".differs{background:var(--di);color:var(--dii);font-weight:700}"
    ".unrun{background:var(--un);color:var(--soft)}\n"
    ".g{overflow-x:auto;padding-bottom:.3rem}.g table{width:auto;font-size:.72rem;line-height:1}"
    ".g td,.g th{padding:0;border:0}.g th{font-weight:400;color:var(--soft);font-size:1em}"
    ".g thead th{height:9rem;vertical-align:bottom;padding-bottom:.4rem}"
    ".g thead th span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}"
    ".g tbody th{text-align:right;padding-right:.5rem;white-space:nowrap}"
    ".g td{width:1.35rem;min-width:.95rem;height:1.1rem;text-align:center;"
    "border:1px solid var(--bg);border-radius:3px}"
    ".k{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;font-size:.86em;color:var(--soft);"
    "margin:.6rem 0}.k i{font-style:normal;display:inline-block;min-width:1.4em;text-align:center;"
    "border-radius:3px;margin-right:.4em}\n"
    ".bar{display:block;height:.65rem;background:var(--un);border-radius:4px;position:relative;"
    "margin-top:.35rem;min-width:6rem}.bar i{position:absolute;inset:0 auto 0 0;"
    "background:var(--soft);border-radius:4px}\n"
    ".s{margin-top:.9rem}details{margin:.4rem 0}summary{cursor:pointer;color:var(--soft)}"
    ".cmd{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:.7rem .9rem;overflow-x:auto}\n"
    "@media(max-width:40rem){body{font-size:15px}dl{grid-template-columns:1fr;gap:0}"
    "dd{margin-bottom:.5rem}.e thead{display:none}.e tr{display:grid;"
    "grid-template-columns:1fr auto;gap:.1rem .6rem;padding:.55rem 0;"
    "border-bottom:1px solid var(--line)}.e td{border:0;padding:0}"
    ".e td:first-child{grid-column:1/2}.e td.n{text-align:left;color:var(--soft);font-size:.86em}"
    ".e td.n:last-child{text-align:right}.v b{font-size:1.45rem}"
    ".g table{font-size:.68rem}.g th{letter-spacing:-.02em}.g tbody th{padding-right:.3rem}"
    ".g td{width:.68rem;min-width:.56rem;font-size:.6rem}"
    ".s{overflow-x:auto}.s table{font-size:.68rem}.s small{font-size:.95em}.s .m{font-size:1em}.s "
    "td,.s th,.q td,.q th{padding-right:.35rem}"
    ".q{font-size:.85rem}}\n"
    "@media print{body{background:#fff}main{max-width:none}.v,.t,.g td,.k i,.bar,.bar i{"
    "print-color-adjust:exact}}\n";

static void row(FILE *to, const char *term, const char *value, bool mono)
{
    if (*value) {
        fprintf(to, "<dt>%s</dt><dd%s>", term, mono ? " class=m" : "");
        text(to, value);
        fputs("</dd>\n", to);
    }
}

static void page_verdict(FILE *to, const lk_check_report *r)
{
    static const char *const WORD[] = {"", "Equal", "Within bounds", "Differs", ""};
    const char *colon = strchr(r->sentence, ':');
    fprintf(to, "<div class=\"v %s\" role=status><b>%s %s</b>", class_of(r->verdict),
            sign_of(r->verdict), WORD[r->verdict]);
    text(to, colon ? colon + 2 : r->sentence);
    fputs("</div>\n", to);
}

static void page_subject(FILE *to, const struct cli_check_shown *s)
{
    const lk_check_report *r = s->report;
    const char *path = lk_model_path(s->model), *slash = strrchr(path, '/');
    char hex[65], line[160];
    fputs("<h2>What was checked</h2>\n<dl>\n", to);
    row(to, "Model", slash ? slash + 1 : path, false);
    snprintf(line, sizeof line, "%.60s, %d layers, %.1f million parameters",
             lk_model_arch(s->model), r->n_layers, (double)lk_model_n_params(s->model) / 1e6);
    row(to, "", line, false);
    cli_hex(r->fingerprint, hex);
    row(to, "Fingerprint", hex, true);
    cli_hex(r->weights, hex);
    row(to, "Weights, SHA-256", hex, true);
    if (r->has_device) {
        row(to, "Device", r->device.name, false);
        row(to, "Driver", r->device.driver, false);
        row(to, "Features in use", r->device.features, false);
        row(to, "Exactness", r->device.exact ? "exact: every known answer by bits" : "approximate",
            false);
        row(to, "Note", r->device.note, false);
    } else {
        snprintf(line, sizeof line, "no Vulkan device: %.140s", r->no_device);
        row(to, "Device", line, false);
    }
    row(to, "CPU", r->cpu, false);
    snprintf(line, sizeof line, "%d tokens, last position %d%s", r->n_tokens, r->n_ctx - 1,
             r->quick ? ", quick" : "");
    row(to, "Prompt", line, false);
    bool has_logits = false;
    for (size_t i = 0; i < sizeof r->logits; i++) {
        has_logits |= r->logits[i] != 0;
    }
    cli_hex(r->logits, hex);
    row(to, "Logits, SHA-256", has_logits ? hex : "", true);
    row(to, "lockstep", lk_version(), false);
    snprintf(line, sizeof line, "%.31s, %.0f s", s->date, r->seconds);
    row(to, "Date, duration", line, false);
    fputs("</dl>\n", to);
}

static void page_values(FILE *to, const lk_check_difference *d)
{
    bool cache = strcmp(d->op, "kv_store") == 0;
    fputs("<div class=s tabindex=0 role=region aria-label=\"First "
          "values\"><table><thead><tr><th>Row<th>"
          "Element<th class=n>Found<th class=n>Expected<th class=n>ulp</tr></thead>\n",
          to);
    for (int i = 0; i < d->n_shown; i++) {
        char name[24];
        snprintf(name, sizeof name, "%" PRIu64, d->shown[i].row);
        fprintf(to,
                "<tr><td>%s<td>%" PRIu64 "<td class=n><span class=m>0x%08x</span><small>%.9g"
                "</small><td class=n><span class=m>0x%08x</span><small>%.9g</small>"
                "<td class=n>%" PRIu64 "</tr>\n",
                cache ? (d->shown[i].row ? "V" : "K") : name, d->shown[i].index, d->shown[i].found,
                d->shown[i].found_value, d->shown[i].expected, d->shown[i].expected_value,
                d->shown[i].ulps);
    }
    fputs("</table></div>\n", to);
}

static void page_difference(FILE *to, const struct cli_check_shown *s)
{
    const lk_check_difference *d = &s->report->difference;
    char unit[32], line[300];
    cli_check_unit(s->report, d->layer, unit);
    fputs("<h2>First difference</h2>\n<dl>\n", to);
    if (d->op[0]) {
        snprintf(line, sizeof line, "%s, %s%s%s%s%s%s", unit, d->op, d->tensor[0] ? ", " : "",
                 d->tensor, d->type[0] ? " (" : "", d->type, d->type[0] ? ")" : "");
        row(to, "Op", line, false);
    }
    row(to, "On", d->side, false);
    row(to, "Against", d->against, false);
    if (d->op[0]) {
        snprintf(line, sizeof line, "%s%s", d->variant,
                 d->fused ? "; only where ops are fused" : "");
        row(to, "Kernel", line, true);
        row(to, "Seen with", d->feed, false);
    }
    row(to, "Message", d->message, false);
    if (d->n_different) {
        snprintf(line, sizeof line, "%" PRIu64 " of %" PRIu64 " values: %s", d->n_different,
                 d->n_values, d->pattern);
        row(to, "Differ", line, false);
    }
    if (d->op[0]) {
        row(to, "Remedy",
            d->vanishes[0] ? d->vanishes : "nothing that can be switched off makes it vanish",
            false);
    }
    fputs("</dl>\n", to);
    if (d->n_shown) {
        page_values(to, d);
    }
    fputs("<p>The command that repeats it:</p>\n<div class=cmd><code>", to);
    text(to, s->repeat);
    fputs("</code></div>\n", to);
}

static bool row_has_cells(const lk_check_report *r, int l)
{
    for (int k = 0; k < r->n_columns; k++) {
        if (r->cells[l * r->n_columns + k] != LK_CHECK_NONE) {
            return true;
        }
    }
    return false;
}

static void page_grid(FILE *to, const lk_check_report *r)
{
    fputs(
        "<h2>Layers and ops</h2>\n<p>Each layer was given the same rows on both sides, so each is "
        "judged by itself. <em>fused</em> is the layer as it runs in earnest",
        to);
    fputs(r->quick ? "; ops one by one were compared where a layer brings a new kind or shape."
                   : ".",
          to);
    fputs(
        "</p>\n<div class=k><span><i class=equal>=</i>equal by bits</span><span>"
        "<i class=within>&#8776;</i>within bounds</span><span><i class=differs>&#10005;</i>differs"
        "</span><span><i class=none>&#8194;</i>no such op, or not compared</span></div>\n"
        "<div class=g tabindex=0 role=region aria-label=\"Layers and ops\"><table><thead><tr>"
        "<th></th>",
        to);
    for (int k = 0; k < r->n_columns; k++) {
        fputs("<th scope=col><span>", to);
        text(to, r->columns[k]);
        fputs("</span></th>", to);
    }
    fputs("</tr></thead><tbody>\n", to);
    for (int l = 0; l < r->n_layers + 2; l++) {
        char unit[32];
        if (!row_has_cells(r, l)) {
            continue;
        }
        cli_check_unit(r, l - 1, unit);
        fprintf(to, "<tr><th scope=row>%s</th>", unit);
        for (int k = 0; k < r->n_columns; k++) {
            lk_check_state state = (lk_check_state)r->cells[l * r->n_columns + k];
            fprintf(to, "<td class=%s title=\"%s, ", class_of(state), unit);
            text(to, r->columns[k]);
            fprintf(to, "%s%s\">%s</td>", state ? ": " : "", cli_check_word(state), sign_of(state));
        }
        fputs("</tr>\n", to);
    }
    fputs("</tbody></table></div>\n", to);
}

static void figure_of(const lk_check_entry *e, char *out, size_t n)
{
    if (e->bound > 0 && (e->error > 0 || e->n_different == 0)) {
        snprintf(out, n, "%.2g of %.2g", e->error, e->bound);
    } else if (e->n_different) {
        snprintf(out, n, "%" PRIu64 " of %" PRIu64 " values", e->n_different, e->n_values);
    } else if (e->n_values) {
        snprintf(out, n, "%" PRIu64 " values", e->n_values);
    } else {
        out[0] = 0;
    }
}

static void page_entries(FILE *to, const lk_check_report *r)
{
    fputs("<h2>All comparisons</h2>\n<table class=e><thead><tr><th>What<th>Result<th class=n>"
          "Compared, or error of bound<th class=n>Time</tr></thead>\n",
          to);
    for (size_t i = 0; i < r->n_entries; i++) {
        const lk_check_entry *e = &r->entries[i];
        char figure[64];
        figure_of(e, figure, sizeof figure);
        fputs("<tr><td>", to);
        text(to, e->what);
        if (e->how[0]) {
            fputs("<small>", to);
            text(to, e->how);
            fputs("</small>", to);
        }
        if (e->note[0]) {
            fputs("<small>", to);
            text(to, e->note);
            fputs("</small>", to);
        }
        /* Near the reference is what is expected there: it gets the colour of what is well. */
        bool expected = e->state == LK_CHECK_WITHIN && e->n_different == 0 && e->bound > 0;
        fprintf(to, "<td><span class=\"t %s\">%s %s</span><td class=n>%s<td class=n>%.1f s</tr>\n",
                class_of(expected ? LK_CHECK_EQUAL : e->state), sign_of(e->state),
                cli_check_word(e->state), figure, e->seconds);
    }
    fputs("</table>\n", to);
}

static void page_kernels(FILE *to, const lk_check_report *r)
{
    if (!r->n_kernels) {
        return;
    }
    fprintf(to,
            "<h2>Kernels</h2>\n<details><summary>%zu kernels wrote these ops</summary>\n"
            "<table class=q><thead><tr><th>Op<th class=n>Tokens<th>Kernel</tr></thead>\n",
            r->n_kernels);
    for (size_t i = 0; i < r->n_kernels; i++) {
        const lk_check_kernel *k = &r->kernels[i];
        char tokens[32];
        cli_check_tokens(k, tokens);
        fputs("<tr><td>", to);
        text(to, r->columns[k->column]);
        fprintf(to, "<td class=n>%s<td class=m>", tokens);
        text(to, k->name);
        fputs("</tr>\n", to);
    }
    fputs("</table></details>\n", to);
}

static void page_depths(FILE *to, const lk_check_report *r)
{
    if (!r->n_depths) {
        return;
    }
    fputs("<h2>From the tokens to each depth</h2>\n<p>The model cut after 1, 2, 4 &hellip; layers. "
          "Bits are those of the device against the CPU. The distance is that of the CPU to ideal "
          "mathematics in double: what rounding to 8 bits adds, layer by layer, as a share of the "
          "rows' size; the bar is its share of the bound.</p>\n<table><thead><tr><th class=n>Depth"
          "<th>Bits<th class=n>Distance<th class=n>Bound<th></tr></thead>\n",
          to);
    for (int i = 0; i < r->n_depths; i++) {
        const lk_check_depth *d = &r->depths[i];
        fprintf(to, "<tr><td class=n>%d<td><span class=\"t %s\">%s %s</span>", d->depth,
                class_of(d->bits), sign_of(d->bits), cli_check_word(d->bits));
        if (d->error < 0) {
            fputs("<td class=n>not compared<td><td></tr>\n", to);
            continue;
        }
        double part = 100 * fmin(1, d->error / d->bound);
        fprintf(to,
                "<td class=n>%.5f<td class=n>%.5f<td><span class=bar><i style=\"width:%.1f%%\"></i>"
                "</span></tr>\n",
                d->error, d->bound, part);
    }
    fputs("</table>\n", to);
}

void cli_check_html(FILE *to, const struct cli_check_shown *s)
{
    const lk_check_report *r = s->report;
    const char *path = lk_model_path(s->model), *slash = strrchr(path, '/');
    fputs("<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n<meta name=viewport "
          "content=\"width=device-width,initial-scale=1\">\n<title>",
          to);
    text(to, cli_check_word(r->verdict));
    fputs(": ", to);
    text(to, slash ? slash + 1 : path);
    fprintf(to, "</title>\n<style>\n%s</style></head><body><main>\n", STYLE);
    fputs("<h1>lockstep check, ", to);
    text(to, slash ? slash + 1 : path);
    fputs("</h1>\n", to);
    page_verdict(to, r);
    if (r->has_difference) {
        page_difference(to, s);
    }
    page_subject(to, s);
    page_grid(to, r);
    page_entries(to, r);
    page_depths(to, r);
    page_kernels(to, r);
    if (!r->has_difference) {
        fputs("<h2>To repeat it</h2>\n<div class=cmd><code>", to);
        text(to, s->repeat);
        fputs("</code></div>\n", to);
    }
    fputs("</main></body></html>\n", to);
}
