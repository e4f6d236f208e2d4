/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_layers: units of the plan on two sides and more, given the same rows: each op's rows and
 * the cache, alone and fused; the layers of the model on the subject, and those that have every
 * kind and shape of op on the levels of the CPU.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "base/os.h"
#include "check/check_bounds.h"
#include "check/check_run.h"

/* ---- comparing ---- */

lk_status lk_check_output(struct lk_unit *u, const struct lk_feeds *f, enum lk_feed_kind kind,
                          int i, float *out, size_t *n, lk_error *err)
{
    const struct lk_op *op = &u->slice->ops[i];
    if (op->out < 0) {
        *n = lk_unit_state_floats(u, f);
        return lk_unit_states(u, f, out, err);
    }
    *n = lk_unit_floats(u, f, kind, op->out);
    return u->side->impl->peek(u->exec, op->out, out, *n, err);
}

static uint64_t count_different(const float *x, const float *y, size_t n)
{
    uint64_t different = 0;
    if (memcmp(x, y, n * sizeof *x) != 0) {
        for (size_t i = 0; i < n; i++) {
            different += lk_bits(x[i]) != lk_bits(y[i]);
        }
    }
    return different;
}

double lk_check_distance(const float *x, const float *y, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        double found = (double)x[i], expected = (double)y[i];
        d += (found - expected) * (found - expected);
        s += expected * expected;
    }
    return s > 0 ? sqrt(d / s) : d > 0 ? INFINITY : 0;
}

double lk_check_slack(const struct lk_plan *plan, const struct lk_op *op, bool clean)
{
    if (!clean) {
        return LK_BOUND_APPROXIMATE;
    }
    bool quantized =
        lk_is_product(op) && lk_type_info((uint32_t)plan->weights[op->weight].type)->quantized;
    return op->kind == LK_OP_ATTENTION               ? LK_BOUND_APPROXIMATE_ATTENTION
           : op->kind == LK_OP_KV_STORE || quantized ? LK_BOUND_APPROXIMATE_ROUNDED
                                                     : LK_BOUND_APPROXIMATE_FIRST;
}

void lk_check_worsen(lk_check_state *state, lk_check_state now)
{
    static const int RANK[] = {[LK_CHECK_NONE] = 0,
                               [LK_CHECK_NOT_RUN] = 0,
                               [LK_CHECK_EQUAL] = 1,
                               [LK_CHECK_WITHIN] = 2,
                               [LK_CHECK_DIFFERS] = 3};
    *state = RANK[now] > RANK[*state] ? now : *state;
}

static void mark(struct lk_check_run *c, int layer, int column, lk_check_state now)
{
    lk_check_report *r = c->report;
    uint8_t *cell = &r->cells[(layer + 1) * r->n_columns + column];
    lk_check_state state = (lk_check_state)*cell;
    lk_check_worsen(&state, now);
    *cell = (uint8_t)state;
}

lk_check_state lk_check_judge(struct lk_check_run *c, const struct lk_side *subject, size_t n,
                              double slack, lk_check_entry *e)
{
    uint64_t different = count_different(c->x, c->y, n);
    lk_check_state state = different ? LK_CHECK_DIFFERS : LK_CHECK_EQUAL;
    e->n_values += n;
    e->n_different += different;
    if (different && !subject->caps.exact) {
        double d = lk_check_distance(c->x, c->y, n);
        if (d / slack >= (e->bound > 0 ? e->error / e->bound : 0)) {
            e->error = d;
            e->bound = slack;
        }
        state = d <= slack ? LK_CHECK_WITHIN : LK_CHECK_DIFFERS;
    }
    lk_check_worsen(&e->state, state);
    return state;
}

/* A side whose units are held to the base's, and where its differences are counted. */
struct judged {
    const struct lk_side *side;
    struct lk_unit kept, fused;
    lk_check_entry alone, joined; /* op by op; fused */
    bool clean;                   /* nothing of this unit differs so far */
};

/* A unit on the base and on the sides that are held to it. */
struct comparison {
    const struct lk_side *base_side;
    const struct lk_feeds *feeds;
    struct lk_unit base;
    struct judged *judged;
    int n;
    bool main;      /* of the subject: the grid shows it, the base's rows are handed on */
    bool reference; /* the base's new ops are held to the reference too */
    double seconds; /* of the base */
};

static void note_found(struct lk_check_run *c, const struct comparison *m,
                       const struct lk_side *side, const struct lk_unit *u, enum lk_feed_kind feed,
                       int op, const char *message)
{
    if (c->found.is) {
        return;
    }
    c->found = (struct lk_found){.is = true,
                                 .side = side,
                                 .against = m->base_side,
                                 .feeds = m->feeds,
                                 .spec = u->spec,
                                 .feed = feed,
                                 .op = op};
    snprintf(c->found.message, sizeof c->found.message, "%.250s", message);
}

static bool has_cache(const struct lk_check_run *c, int layer)
{
    return layer >= 0 && layer < c->plan->n_layer;
}

/* Runs one feed on a unit that is judged. An error of range is a difference. */
static lk_status run_judged(struct lk_check_run *c, const struct comparison *m, struct judged *j,
                            struct lk_unit *u, enum lk_feed_kind feed, lk_check_entry *e, bool *ran,
                            lk_error *err)
{
    lk_error why;
    lk_status status =
        lk_unit_run(u, m->feeds, feed, lk_check_hidden(c, u->spec.layer), c->x, &why);
    *ran = status == LK_OK;
    if (status == LK_E_RANGE) {
        e->n_different++;
        e->state = LK_CHECK_DIFFERS;
        note_found(c, m, j->side, u, feed, -1, why.message);
        return LK_OK;
    }
    if (status && err) {
        *err = why;
    }
    return status;
}

/* The kernels that wrote the ops of a unit in a feed, for the report. */
static lk_status note_kernels(struct lk_check_run *c, const struct lk_unit *u,
                              const struct lk_feed *feed, lk_error *err)
{
    lk_check_report *r = c->report;
    for (int i = 0; i < u->slice->n_ops && u->side->impl->variant; i++) {
        lk_check_kernel k = {.column = lk_check_column(c, u->slice, i, err)};
        int n = feed->b.n_tokens;
        if (k.column < 0) {
            return LK_E_NOMEM;
        }
        u->side->impl->variant(u->exec, i, n, k.name, sizeof k.name);
        size_t at = 0;
        while (at < r->n_kernels &&
               (r->kernels[at].column != k.column || strcmp(r->kernels[at].name, k.name) != 0)) {
            at++;
        }
        if (!k.name[0]) {
            continue;
        }
        if (at == r->n_kernels) {
            if (lk_grow(&r->kernels, &c->cap_kernels, at + 1, sizeof *r->kernels, err)) {
                return LK_E_NOMEM;
            }
            k.least_tokens = k.most_tokens = n;
            r->kernels[r->n_kernels++] = k;
        }
        lk_check_kernel *seen = &r->kernels[at];
        seen->least_tokens = n < seen->least_tokens ? n : seen->least_tokens;
        seen->most_tokens = n > seen->most_tokens ? n : seen->most_tokens;
    }
    return LK_OK;
}

static lk_status compare_kept(struct lk_check_run *c, struct comparison *m, struct judged *j,
                              enum lk_feed_kind feed, lk_error *err)
{
    bool ran;
    lk_status status = run_judged(c, m, j, &j->kept, feed, &j->alone, &ran, err);
    int layer = m->base.spec.layer;
    for (int i = 0; i < m->base.slice->n_ops && !status && ran; i++) {
        const struct lk_op *op = &m->base.slice->ops[i];
        size_t n;
        if (op->layer != layer || !lk_check_wants(c, c->plan, op)) {
            continue; /* of another layer: what it makes for this one was judged there */
        }
        status = lk_check_output(&j->kept, m->feeds, feed, i, c->x, &n, err);
        if (!status) {
            status = lk_check_output(&m->base, m->feeds, feed, i, c->y, &n, err);
        }
        if (!status) {
            lk_check_state state =
                lk_check_judge(c, j->side, n, lk_check_slack(c->plan, op, j->clean), &j->alone);
            int column = lk_check_column(c, m->base.slice, i, err);
            if (column < 0) {
                return LK_E_NOMEM;
            }
            j->clean &= state == LK_CHECK_EQUAL;
            if (m->main) {
                mark(c, layer, column, state);
            }
            if (state == LK_CHECK_DIFFERS) {
                note_found(c, m, j->side, &j->kept, feed, i, "");
            }
            lk_log_line(&c->log, LK_LOG_DEBUG, "check: %s: layer %d, %s, %s: %zu values %s",
                        j->side->name, layer, c->report->columns[column], m->feeds->feed[feed].name,
                        n, state == LK_CHECK_EQUAL ? "equal" : "DIFFER");
        }
    }
    if (!status && ran && m->main) {
        status = note_kernels(c, &j->kept, &m->feeds->feed[feed], err);
    }
    return status;
}

/* What a fused unit has just given, in c->x, and its cache, against the base's rows in c->y. */
static lk_status judge_fused(struct lk_check_run *c, struct comparison *m, struct judged *j,
                             enum lk_feed_kind feed, lk_error *err)
{
    int layer = m->base.spec.layer;
    lk_status status = LK_OK;
    size_t n = lk_unit_floats(&m->base, m->feeds, feed, m->base.slice->out_slot);
    lk_check_state state = lk_check_judge(c, j->side, n, LK_BOUND_APPROXIMATE, &j->joined);
    if (has_cache(c, layer)) {
        n = lk_unit_state_floats(&m->base, m->feeds);
        status = lk_unit_states(&j->fused, m->feeds, c->x, err);
        if (!status) {
            status = lk_unit_states(&m->base, m->feeds, c->y, err);
        }
        if (!status) {
            lk_check_worsen(&state,
                            lk_check_judge(c, j->side, n, LK_BOUND_APPROXIMATE, &j->joined));
            status = j->side->impl->state_check(j->fused.states, err);
        }
    }
    if (state == LK_CHECK_DIFFERS) {
        note_found(c, m, j->side, &j->fused, feed, -1, "");
    }
    if (m->main && !c->options.op) {
        mark(c, layer, c->fused_column, state);
    }
    lk_log_line(&c->log, LK_LOG_DEBUG, "check: %s: layer %d, fused, %s: %s", j->side->name, layer,
                m->feeds->feed[feed].name, state == LK_CHECK_EQUAL ? "equal" : "DIFFERS");
    return status;
}

static lk_status compare_fused(struct lk_check_run *c, struct comparison *m, struct judged *j,
                               enum lk_feed_kind feed, lk_error *err)
{
    bool ran;
    lk_status status = run_judged(c, m, j, &j->fused, feed, &j->joined, &ran, err);
    int slot = m->base.slice->out_slot;
    if (!status && ran) {
        size_t n = lk_unit_floats(&m->base, m->feeds, feed, slot);
        status = m->base.side->impl->peek(m->base.exec, slot, c->y, n, err);
    }
    if (!status && ran) {
        status = judge_fused(c, m, j, feed, err);
    }
    if (!status && ran && m->main) {
        status = note_kernels(c, &j->fused, &m->feeds->feed[feed], err);
    }
    return status;
}

/* The base's run of a feed; *ran false: it can't be held to anything, which is a difference. */
static lk_status run_base(struct lk_check_run *c, struct comparison *m, enum lk_feed_kind feed,
                          bool *ran, lk_error *err)
{
    lk_error why;
    int layer = m->base.spec.layer;
    lk_status status = lk_unit_run(&m->base, m->feeds, feed, lk_check_hidden(c, layer), c->y, &why);
    *ran = status == LK_OK;
    if (status == LK_E_RANGE && m->base_side != &c->scalar) {
        m->judged->alone.n_different++; /* the contract will tell who is wrong */
        m->judged->alone.state = LK_CHECK_DIFFERS;
        note_found(c, m, m->base_side, &m->base, feed, -1, why.message);
        return LK_OK;
    }
    if (status && err) {
        *err = why;
    }
    return status;
}

/* The rows of the prompt that a unit gave, and what later layers attend to in it. */
static lk_status hand_on(struct lk_check_run *c, struct lk_unit *u, const float *rows,
                         lk_error *err)
{
    size_t n = (size_t)c->feeds.n_tokens * (size_t)c->plan->n_embd;
    int layer = u->spec.layer;
    if (layer < c->plan->n_layer) {
        memcpy(c->hidden + (size_t)(layer + 1) * n, rows, n * sizeof *c->hidden);
    }
    return lk_unit_lend(u, &c->feeds, c->lent, err);
}

static lk_status open_units(struct lk_check_run *c, struct comparison *m, int layer, lk_error *err)
{
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .keep = true};
    lk_status status = lk_unit_open(&m->base, m->base_side, &spec, m->feeds, err);
    for (int i = 0; i < m->n && !status; i++) {
        m->judged[i].clean = true;
        status = lk_unit_open(&m->judged[i].kept, m->judged[i].side, &spec, m->feeds, err);
    }
    spec.keep = false;
    spec.fuse = true;
    for (int i = 0; i < m->n && !status && c->engine.fuse; i++) {
        status = lk_unit_open(&m->judged[i].fused, m->judged[i].side, &spec, m->feeds, err);
    }
    return status;
}

static void close_units(struct comparison *m)
{
    lk_unit_close(&m->base);
    for (int i = 0; i < m->n; i++) {
        lk_unit_close(&m->judged[i].kept);
        lk_unit_close(&m->judged[i].fused);
    }
}

/* The recurrent states of the base before it runs a feed, which the reference begins with; NULL
 * where there are none. */
static lk_status keep_recurrent(struct comparison *m, void **out, lk_error *err)
{
    size_t n = m->reference ? lk_unit_recurrent_bytes(&m->base) : 0;
    lk_free(*out);
    *out = n ? lk_alloc(n) : NULL;
    if (n && !*out) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: states before a feed");
    }
    return n ? lk_unit_move_recurrent(&m->base, *out, false, err) : LK_OK;
}

/* Every feed, every op. */
static lk_status compare_unit(struct lk_check_run *c, struct comparison *m, int layer,
                              lk_error *err)
{
    double from = lk_now();
    bool ran = true;
    void *before = NULL;
    lk_status status = open_units(c, m, layer, err);
    m->seconds += lk_now() - from;
    for (int f = 0; f < LK_FEEDS && !status && ran; f++) {
        enum lk_feed_kind feed = (enum lk_feed_kind)f;
        if (feed == LK_FEED_FAR && !has_cache(c, layer)) {
            continue;
        }
        from = lk_now();
        status = keep_recurrent(m, &before, err);
        if (!status) {
            status = run_base(c, m, feed, &ran, err);
        }
        m->seconds += lk_now() - from;
        if (!status && ran && feed == LK_FEED_PREFILL && m->main) {
            status = hand_on(c, &m->base, c->y, err);
        }
        for (int i = 0; i < m->n && !status && ran; i++) {
            struct judged *j = &m->judged[i];
            from = lk_now();
            status = compare_kept(c, m, j, feed, err);
            double half = lk_now();
            j->alone.seconds += half - from;
            if (!status && j->fused.exec) {
                status = compare_fused(c, m, j, feed, err);
                j->joined.seconds += lk_now() - half;
            }
        }
        if (!status && ran && m->reference) {
            status = lk_check_reference_ops(c, &m->base, feed, before, err);
        }
    }
    lk_free(before);
    close_units(m);
    return status;
}

/* One token through the fused layer, over the cache that the prompt left in the faster of the
 * two sides: the CPU beside a device, else the subject. */
static lk_status compare_briefly(struct lk_check_run *c, struct comparison *m, int layer,
                                 lk_error *err)
{
    struct judged *j = m->judged;
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .fuse = c->engine.fuse};
    double from = lk_now();
    bool ran = true;
    lk_status status = lk_unit_open(&m->base, m->base_side, &spec, m->feeds, err);
    if (!status) {
        status = lk_unit_open(&j->fused, j->side, &spec, m->feeds, err);
    }
    if (!status && c->has_vulkan) {
        status = run_base(c, m, LK_FEED_PREFILL, &ran, err);
    } else if (!status) {
        status = run_judged(c, m, j, &j->fused, LK_FEED_PREFILL, &j->joined, &ran, err);
    }
    if (!status && ran) {
        status = c->has_vulkan ? hand_on(c, &m->base, c->y, err) : hand_on(c, &j->fused, c->x, err);
    }
    if (!status && ran) {
        status = c->has_vulkan ? lk_unit_copy_states(&j->fused, &m->base, m->feeds, c->y, err)
                               : lk_unit_copy_states(&m->base, &j->fused, m->feeds, c->y, err);
    }
    if (!status && ran) {
        status = run_base(c, m, LK_FEED_ONE, &ran, err);
    }
    if (!status && ran) {
        status = run_judged(c, m, j, &j->fused, LK_FEED_ONE, &j->joined, &ran, err);
    }
    if (!status && ran) {
        status = judge_fused(c, m, j, LK_FEED_ONE, err);
    }
    close_units(m);
    j->joined.seconds += lk_now() - from;
    return status;
}

bool lk_check_is_new_op(const struct lk_check_run *c, const struct lk_op *op)
{
    bool is = false;
    for (int i = 0; i < c->plan->n_ops; i++) {
        is |= c->new_op[i] && lk_op_is_same(&c->plan->ops[i], op);
    }
    return is;
}

bool lk_check_is_new(const struct lk_check_run *c, int layer)
{
    for (int i = 0; i < c->plan->n_ops; i++) {
        if (c->new_op[i] && c->plan->ops[i].layer == layer) {
            return true;
        }
    }
    return false;
}

static bool is_wanted(const struct lk_check_run *c, int layer)
{
    return c->options.layer == LK_CHECK_ALL || c->options.layer == layer;
}

/* With --quick one token does for layers that bring no new op. */
static bool is_brief(const struct lk_check_run *c, int layer)
{
    return c->options.quick && !c->again && c->options.layer == LK_CHECK_ALL && !c->options.op &&
           layer < c->plan->n_layer && !lk_check_is_new(c, layer);
}

/* Puts figures into line `at`, which keeps its name. */
static void fill(struct lk_check_run *c, size_t at, const lk_check_entry *e, const char *how)
{
    lk_check_entry *out = &c->report->entries[at];
    char name[sizeof out->what];
    memcpy(name, out->what, sizeof name);
    *out = *e;
    memcpy(out->what, name, sizeof name);
    snprintf(out->how, sizeof out->how, "%s", how);
}

lk_status lk_check_put(struct lk_check_run *c, const lk_check_entry *e, const char *what,
                       const char *how, lk_error *err)
{
    if (!lk_check_add(c, what, err)) {
        return LK_E_NOMEM;
    }
    fill(c, c->report->n_entries - 1, e, how);
    return LK_OK;
}

/* ---- layers ---- */

/* Runs a layer for its rows alone, where nothing is compared. */
static lk_status pass_on(struct lk_check_run *c, int layer, lk_error *err)
{
    struct lk_unit u;
    struct lk_unit_spec spec = {.layer = layer, .last_op = -1, .fuse = true};
    const struct lk_side *side = c->has_vulkan ? &c->base : &c->subject;
    lk_status status = lk_unit_open(&u, side, &spec, &c->feeds, err);
    if (!status) {
        status = lk_unit_run(&u, &c->feeds, LK_FEED_PREFILL, lk_check_hidden(c, layer), c->y, err);
    }
    if (!status) {
        status = hand_on(c, &u, c->y, err);
    }
    lk_unit_close(&u);
    return status;
}

lk_status lk_check_layers(struct lk_check_run *c, lk_error *err)
{
    struct judged j = {.side = &c->subject};
    struct comparison m = {
        .base_side = &c->base, .feeds = &c->feeds, .judged = &j, .n = 1, .main = true};
    char how[160];
    int n_brief = 0;
    size_t at = c->report->n_entries; /* its lines come before those of the reference */
    const char *what[] = {c->again ? "all layers, op by op" : "layers, op by op",
                          c->again ? "all layers, ops fused" : "layers, ops fused"};
    lk_status status = lk_check_add(c, what[0], err) ? LK_OK : LK_E_NOMEM;
    if (!status && c->engine.fuse) {
        status = lk_check_add(c, what[1], err) ? LK_OK : LK_E_NOMEM;
    }
    for (int layer = -1; layer <= c->plan->n_layer && !status; layer++) {
        m.reference = lk_check_is_new(c, layer) && !c->again;
        if (is_wanted(c, layer) && is_brief(c, layer)) {
            status = compare_briefly(c, &m, layer, err);
            n_brief++;
        } else if (is_wanted(c, layer)) {
            status = compare_unit(c, &m, layer, err);
        } else if (layer < c->plan->n_layer) {
            status = pass_on(c, layer, err);
        }
        if (!status) {
            status = lk_check_step(c, err);
        }
    }
    if (status) {
        return status;
    }
    j.alone.seconds += m.seconds;
    snprintf(how, sizeof how, "%s = %s, every op's rows, K and V%s", c->subject.name, c->base.name,
             n_brief ? ", in layers that bring a kind or shape" : "");
    fill(c, at, &j.alone, how);
    snprintf(how, sizeof how, "%s = %s, a layer's rows, K and V%s", c->subject.name, c->base.name,
             n_brief ? ", of all layers" : "");
    if (c->engine.fuse) {
        fill(c, at + 1, &j.joined, how);
    }
    return status;
}

/* ---- levels ---- */

static const char *const LEVEL[] = {"generic", "avx2", "avx-vnni", "avx512",
                                    "amx",     "neon", "dotprod",  "i8mm"};
enum { LEVELS = LK_COUNT(LEVEL) };

static lk_status put_level(struct lk_check_run *c, struct judged *j, double base, lk_error *err)
{
    char what[80], how[160];
    j->alone.n_values += j->joined.n_values;
    j->alone.n_different += j->joined.n_different;
    j->alone.seconds += j->joined.seconds + base;
    lk_check_worsen(&j->alone.state, j->joined.state);
    snprintf(what, sizeof what, "CPU level %s", j->side->level);
    snprintf(how, sizeof how, "%s = scalar, the layers that bring a kind or shape, %d tokens%s",
             j->side->name, c->short_feeds.n_tokens, base > 0 ? "; with the time of scalar" : "");
    return lk_check_put(c, &j->alone, what, how, err);
}

/* Against the contract in plain C, which runs once for all of them. */
static lk_status check_levels(struct lk_check_run *c, struct lk_side *side, struct judged *judged,
                              lk_error *err)
{
    struct comparison m = {.base_side = &c->scalar, .feeds = &c->short_feeds, .judged = judged};
    lk_status status = lk_check_scalar(c, err);
    for (int i = 0; i < LEVELS && !status; i++) {
        lk_error why; /* of a level that is not this machine's */
        if (!lk_side_open(&side[m.n], "cpu", LEVEL[i], &c->backend_options, c->plan, &why)) {
            judged[m.n].side = &side[m.n];
            m.n++;
        }
    }
    for (int layer = -1; layer <= c->plan->n_layer && !status; layer++) {
        if (lk_check_is_new(c, layer) && is_wanted(c, layer)) {
            status = compare_unit(c, &m, layer, err);
            status = status ? status : lk_check_step(c, err);
        }
    }
    for (int i = 0; i < m.n && !status; i++) {
        status = put_level(c, &judged[i], i == 0 ? m.seconds : 0, err);
    }
    for (int i = 0; i < m.n; i++) {
        if (c->found.side == &side[i]) { /* while it is open */
            status = status ? status : lk_check_find(c, err);
            c->found.side = NULL;
        }
    }
    for (int i = 0; i < m.n; i++) {
        lk_side_close(&side[i]);
    }
    return status;
}

lk_status lk_check_levels(struct lk_check_run *c, lk_error *err)
{
    struct lk_side *side = lk_alloc_array(LEVELS, sizeof *side);
    struct judged *judged = lk_alloc_array(LEVELS, sizeof *judged);
    lk_status status = side && judged
                           ? check_levels(c, side, judged, err)
                           : lk_fail(err, LK_E_NOMEM, "out of memory: the levels of a check");
    lk_free(side);
    lk_free(judged);
    return status;
}
