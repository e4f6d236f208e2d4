/* SPDX-License-Identifier: Apache-2.0
 *
 * Svg: speeds over the depth of the context as one figure that needs nothing else: a panel for
 * prefill and one for decode, ours a line with discs, a peer's a dashed one with squares, readable
 * without colour, light and dark. Measures nothing.
 */
#include <inttypes.h>
#include <math.h>

#include "tools/cli/cli_bench.h"

enum { WIDTH = 720, PANEL = 300, TOP = 56, LEFT = 76, RIGHT = 24, PLOT = 210, GRID = 4 };

static const char STYLE[] =
    ":root{color-scheme:light dark}"
    "svg{background:#fbfbf9;font:13px system-ui,-apple-system,'Segoe UI',sans-serif}"
    "text{fill:#1c1d1f}.soft{fill:#5c6066}.grid{stroke:#d9dbd7}"
    "polyline{fill:none;stroke-width:2}.peer{stroke-dasharray:6 4}"
    ".ours,.our-mark{stroke:#14592f}.our-mark{fill:#14592f}"
    ".peer,.peer-mark{stroke:#a14a00}.peer-mark{fill:#a14a00}"
    "@media(prefers-color-scheme:dark){svg{background:#141517}text{fill:#e7e7e3}"
    ".soft{fill:#a2a6ac}.grid{stroke:#34373b}.ours,.our-mark{stroke:#a5dcb9}"
    ".our-mark{fill:#a5dcb9}.peer,.peer-mark{stroke:#f3b48b}.peer-mark{fill:#f3b48b}}";

struct panel {
    const struct cli_bench_report *r;
    FILE *to;
    bool decode;
    double top;   /* of the plot */
    double limit; /* tokens/s at the top of the plot */
};

static const struct cli_series *series_of(const struct panel *p, int i, bool peer)
{
    const struct cli_bench_point *at = &p->r->point[i];
    return p->decode ? (peer ? &at->peer_decode : &at->decode)
                     : (peer ? &at->peer_prefill : &at->prefill);
}

static double x_of(const struct panel *p, int i)
{
    double last = (double)p->r->point[p->r->n_points - 1].depth;
    return LEFT + (WIDTH - LEFT - RIGHT) * (double)p->r->point[i].depth / last;
}

static double y_of(const struct panel *p, double rate)
{
    return p->top + PLOT * (1.0 - rate / p->limit);
}

/* The least of 1, 2, 4, 6, 8 and 10 times a power of ten that is not below v. */
static double round_up(double v)
{
    double unit = pow(10.0, floor(log10(v)));
    static const double STEP[] = {1, 2, 4, 6, 8};
    for (size_t i = 0; i < sizeof STEP / sizeof *STEP; i++) {
        if (v <= STEP[i] * unit) {
            return STEP[i] * unit;
        }
    }
    return 10.0 * unit;
}

static void axes(const struct panel *p)
{
    for (int i = 0; i <= GRID; i++) {
        double rate = p->limit * i / GRID, y = y_of(p, rate);
        fprintf(p->to,
                "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n",
                LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4.0, rate);
    }
    double free_from = -1e9; /* numbers that would touch the one before are left out */
    for (int i = 0; i < p->r->n_points; i++) {
        double x = x_of(p, i);
        if (x >= free_from) {
            fprintf(p->to,
                    "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%" PRId64
                    "</text>\n",
                    x, p->top + PLOT + 18.0, p->r->point[i].depth);
            free_from = x + 48.0;
        }
    }
}

static void curve(const struct panel *p, bool peer)
{
    if (series_of(p, 0, peer)->n == 0) {
        return;
    }
    fprintf(p->to, "<polyline class=\"%s\" points=\"", peer ? "peer" : "ours");
    for (int i = 0; i < p->r->n_points; i++) {
        fprintf(p->to, "%s%.1f,%.1f", i ? " " : "", x_of(p, i),
                y_of(p, cli_median(series_of(p, i, peer))));
    }
    fprintf(p->to, "\"/>\n");
    for (int i = 0; i < p->r->n_points; i++) {
        const struct cli_series *s = series_of(p, i, peer);
        double x = x_of(p, i), y = y_of(p, cli_median(s));
        fprintf(p->to,
                "<g class=\"%s\"><title>depth %" PRId64 ": %.2f tokens/s, %.2f to %.2f</title>",
                peer ? "peer-mark" : "our-mark", p->r->point[i].depth, cli_median(s), cli_least(s),
                cli_most(s));
        fprintf(p->to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", x,
                y_of(p, cli_least(s)), x, y_of(p, cli_most(s)));
        if (peer) {
            fprintf(p->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"7\" height=\"7\"/></g>\n", x - 3.5,
                    y - 3.5);
        } else {
            fprintf(p->to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/></g>\n", x, y);
        }
    }
}

static void draw(struct panel *p, int64_t n)
{
    double most = 0.0;
    for (int i = 0; i < p->r->n_points; i++) {
        for (int peer = 0; peer < 2; peer++) {
            const struct cli_series *s = series_of(p, i, peer);
            most = s->n && cli_most(s) > most ? cli_most(s) : most;
        }
    }
    p->limit = round_up(most);
    fprintf(p->to, "<text x=\"%d\" y=\"%.1f\">%s of %" PRId64 " tokens: tokens/s</text>\n", LEFT,
            p->top - 14.0, p->decode ? "decode" : "prefill", n);
    axes(p);
    curve(p, true);
    curve(p, false);
}

/* A file's name without its folders, with what XML gives a meaning to left out. */
static void put_name(FILE *to, const char *path)
{
    const char *name = path;
    for (const char *s = path; *s; s++) {
        name = *s == '/' ? s + 1 : name;
    }
    for (; *name; name++) {
        bool plain = *name > ' ' && *name < 127 && *name != '<' && *name != '&' && *name != '>';
        fputc(plain ? *name : ' ', to);
    }
}

void cli_bench_svg(FILE *to, const struct cli_bench_report *r)
{
    int panels = (r->n_prompt > 0) + (r->n_gen > 0);
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" role=\"img\">\n<title>tokens/s over the depth of the context"
            "</title>\n<style>%s</style>\n<text x=\"%d\" y=\"22\">",
            WIDTH, TOP + PANEL * panels, WIDTH, TOP + PANEL * panels, STYLE, LEFT);
    put_name(to, lk_model_path(r->model));
    fprintf(to, ": tokens/s over the tokens that the context holds</text>\n");
    fprintf(to, "<text class=\"soft\" x=\"%d\" y=\"42\">&#9679; lockstep, ", LEFT);
    put_name(to, r->engine);
    if (r->peer) {
        fprintf(to, "; &#9632; ");
        put_name(to, r->peer);
    }
    fprintf(to, "</text>\n");
    struct panel p = {.r = r, .to = to, .top = TOP + 40};
    if (r->n_prompt) {
        draw(&p, r->n_prompt);
        p.top += PANEL;
    }
    if (r->n_gen) {
        p.decode = true;
        draw(&p, r->n_gen);
    }
    fprintf(to, "</svg>\n");
}
