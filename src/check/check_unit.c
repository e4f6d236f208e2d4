/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_unit: sides, feeds and units (check_unit.h). Compares nothing.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check/check_unit.h"

/* ---- sides ---- */

lk_status lk_side_open(struct lk_side *side, const char *backend, const char *cpu_level,
                       const struct lk_backend_options *options, const struct lk_plan *plan,
                       lk_error *err)
{
    *side = (struct lk_side){.options = *options, .plan = plan};
    const struct lk_backend_impl *impl = lk_backend_find(backend);
    if (!impl) {
        return lk_fail(err, LK_E_DEVICE, "backend '%s' is not in this build", backend);
    }
    snprintf(side->level, sizeof side->level, "%s", cpu_level);
    side->options.cpu_level = side->level;
    lk_status status = impl->open(&side->options, &side->backend, &side->caps, err);
    if (status) {
        return status;
    }
    side->impl = impl;
    memcpy(side->name, side->caps.name, sizeof side->name);
    return LK_OK;
}

void lk_side_close(struct lk_side *side)
{
    if (side->impl) {
        side->impl->close(side->backend);
    }
    side->impl = NULL;
}

/* ---- feeds ---- */

static void make_feed(struct lk_feeds *f, enum lk_feed_kind kind, int n, int pos)
{
    struct lk_feed *feed = &f->feed[kind];
    feed->first = pos;
    feed->seqs[0] = (struct lk_batch_seq){.blocks = f->tables, .n_tokens = n, .pos = pos};
    for (int t = 0; t < n; t++) {
        feed->pos[t] = pos + t;
        feed->seq[t] = 0;
    }
    feed->b = (struct lk_batch){.n_tokens = n, .n_seqs = 1, .token = f->token + pos};
}

static void make_far(struct lk_feeds *f)
{
    const int at[LK_FEED_SEQS] = {0, 1, 63, 64, f->n_ctx - 1};
    struct lk_feed *feed = &f->feed[LK_FEED_FAR];
    int n = 0;
    for (int s = 0; s < LK_FEED_SEQS; s++) {
        int32_t *table = f->tables + (size_t)(1 + s) * (size_t)f->max_blocks;
        if (at[s] >= f->n_ctx) {
            continue;
        }
        for (int i = 0; i < f->max_blocks; i++) {
            table[i] = i == at[s] / LK_KV_BLOCK ? f->prompt_blocks + s : i % f->prompt_blocks;
        }
        feed->seqs[n] = (struct lk_batch_seq){
            .blocks = table, .first = n, .n_tokens = 1, .pos = at[s], .slot = n};
        feed->pos[n] = at[s];
        feed->seq[n] = n;
        n++;
    }
    feed->b = (struct lk_batch){.n_tokens = n, .n_seqs = n, .token = f->token};
}

void lk_feeds_free(struct lk_feeds *f)
{
    lk_free(f->token);
    lk_free(f->tables);
    for (int i = 0; i < LK_FEEDS; i++) {
        lk_free(f->feed[i].pos);
        lk_free(f->feed[i].seq);
    }
    *f = (struct lk_feeds){0};
}

lk_status lk_feeds_init(struct lk_feeds *f, int n_tokens, int n_ctx, int n_vocab, int32_t bos,
                        lk_error *err)
{
    static const char *const NAMES[LK_FEEDS] = {"prefill", "few", "one", "far"};
    *f = (struct lk_feeds){.n_tokens = n_tokens, .n_ctx = n_ctx};
    f->max_blocks = (n_ctx + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
    f->prompt_blocks = (n_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
    f->n_blocks = f->prompt_blocks + LK_FEED_SEQS;
    f->token = lk_alloc_array((size_t)n_tokens, sizeof *f->token);
    f->tables =
        lk_alloc_array((size_t)(1 + LK_FEED_SEQS) * (size_t)f->max_blocks, sizeof *f->tables);
    bool ok = f->token && f->tables;
    for (int i = 0; i < LK_FEEDS; i++) {
        f->feed[i].name = NAMES[i];
        f->feed[i].pos = lk_alloc_array((size_t)n_tokens, sizeof *f->feed[i].pos);
        f->feed[i].seq = lk_alloc_array((size_t)n_tokens, sizeof *f->feed[i].seq);
        ok &= f->feed[i].pos && f->feed[i].seq;
    }
    if (!ok) {
        lk_feeds_free(f);
        return lk_fail(err, LK_E_NOMEM, "out of memory: batches of a check");
    }
    uint32_t state = 1;
    for (int t = 0; t < n_tokens; t++) {
        state = state * 1664525u + 1013904223u;
        f->token[t] = t == 0 && bos >= 0 ? bos : (int32_t)((state >> 8) % (uint32_t)n_vocab);
    }
    for (int i = 0; i < f->prompt_blocks; i++) {
        f->tables[i] = i;
    }
    make_feed(f, LK_FEED_PREFILL, n_tokens, 0);
    make_feed(f, LK_FEED_FEW, LK_FEED_SEQS, n_tokens - LK_FEED_SEQS);
    make_feed(f, LK_FEED_ONE, 1, n_tokens - 1);
    make_far(f);
    int most = n_tokens < LK_KV_BLOCK ? LK_FEED_SHORT_OUTPUTS : LK_FEED_OUTPUTS;
    for (int i = 0; i < LK_FEEDS; i++) { /* rows that want logits: the last and some before it */
        struct lk_feed *feed = &f->feed[i];
        int n = feed->b.n_tokens < most ? feed->b.n_tokens : most;
        for (int k = 0; k < n; k++) {
            feed->outputs[k] = (k + 1) * feed->b.n_tokens / n - 1;
        }
        feed->b.n_outputs = n;
        feed->b.outputs = feed->outputs;
        feed->b.pos = feed->pos;
        feed->b.seq = feed->seq;
        feed->b.seqs = feed->seqs;
    }
    return LK_OK;
}

/* ---- units ---- */

void lk_unit_close(struct lk_unit *u)
{
    if (u->side) {
        if (u->states) {
            u->side->impl->state_free(u->states);
        }
        if (u->exec) {
            u->side->impl->exec_free(u->exec);
        }
    }
    lk_plan_free(&u->slice);
    *u = (struct lk_unit){0};
}

lk_status lk_unit_slice(const struct lk_plan *plan, const struct lk_unit_spec *spec,
                        struct lk_plan **out, lk_error *err)
{
    int n = plan->n_layer, layer = spec->layer;
    int first = spec->depth > 0 || layer < 0 ? 0 : layer;
    int last = spec->depth > 0 ? spec->depth : layer < 0 ? 0 : layer < n ? layer + 1 : n;
    bool embed = spec->depth > 0 || layer < 0, head = !embed && layer == n;
    return lk_plan_slice(plan, lk_stage_of(first), lk_stage_of(last), embed, head, out, err);
}

static lk_status cut(struct lk_unit *u, lk_error *err)
{
    lk_status status = lk_unit_slice(u->side->plan, &u->spec, &u->slice, err);
    if (!status && u->spec.last_op >= 0) {
        struct lk_plan *p = u->slice;
        const struct lk_op *op = &p->ops[u->spec.last_op];
        p->n_ops = u->spec.last_op + 1;
        p->out_slot = op->out >= 0 ? op->out : op->in[0];
    }
    return status;
}

/* Whether a state is of a layer that the unit has not. */
static bool is_foreign(const struct lk_unit *u, int i)
{
    int stage = lk_stage_of(u->slice->states[i].layer);
    return stage < u->slice->first_stage || stage >= u->slice->last_stage;
}

/* What a unit reads of earlier layers. */
static lk_status borrow(struct lk_unit *u, const struct lk_feeds *f, lk_error *err)
{
    lk_status status = LK_OK;
    for (int i = 0; f->lent && i < u->slice->n_states && !status; i++) {
        if (f->lent[i] && is_foreign(u, i) && lk_plan_keeps(u->slice, i)) {
            size_t n = (size_t)f->prompt_blocks * lk_state_unit_bytes(&u->slice->states[i]);
            status = u->side->impl->state_write(u->states, i, 0, f->lent[i], n, err);
        }
    }
    return status;
}

/* Whether a layer attends to a state that is not its own. */
static bool is_lent(const struct lk_plan *plan, int i)
{
    bool is = false;
    for (int k = 0; k < plan->n_ops; k++) {
        const struct lk_op *op = &plan->ops[k];
        is |= op->kind == LK_OP_ATTENTION && op->layer != plan->states[i].layer &&
              (op->u.attention.k == i || op->u.attention.v == i);
    }
    return is;
}

lk_status lk_unit_lend(struct lk_unit *u, const struct lk_feeds *f, void **lent, lk_error *err)
{
    const struct lk_plan *plan = u->side->plan;
    lk_status status = LK_OK;
    for (int i = 0; i < plan->n_states && !status; i++) {
        if (is_foreign(u, i) || !is_lent(plan, i)) {
            continue;
        }
        size_t n = (size_t)f->prompt_blocks * lk_state_unit_bytes(&plan->states[i]);
        lent[i] = lent[i] ? lent[i] : lk_alloc(n);
        status = lent[i] ? u->side->impl->state_read(u->states, i, 0, lent[i], n, err)
                         : lk_fail(err, LK_E_NOMEM, "out of memory: K and V that layers share");
    }
    return status;
}

lk_status lk_unit_open(struct lk_unit *u, const struct lk_side *side,
                       const struct lk_unit_spec *spec, const struct lk_feeds *f, lk_error *err)
{
    *u = (struct lk_unit){.side = side, .spec = *spec};
    lk_status status = cut(u, err);
    if (status) {
        lk_unit_close(u);
        return status;
    }
    struct lk_exec_options o = {.plan = u->slice,
                                .max_tokens = f->n_tokens,
                                .max_outputs = LK_FEED_OUTPUTS,
                                .max_seqs = LK_FEED_SEQS,
                                .max_blocks = f->max_blocks,
                                .keep_ops = spec->keep,
                                .fuse = spec->fuse};
    struct lk_state_geom geom = {.plan = u->slice,
                                 .n_blocks = f->n_blocks,
                                 .n_slots = LK_FEED_SEQS};
    status = side->impl->prepare(side->backend, &o, &u->exec, err);
    if (!status) {
        status = side->impl->state_alloc(side->backend, &geom, &u->states, err);
    }
    status = status ? status : borrow(u, f, err);
    if (status) {
        lk_unit_close(u);
    }
    return status;
}

/* The prompt's first block becomes the content of the blocks that far sequences write to. */
static lk_status spread_block(struct lk_unit *u, const struct lk_feeds *f, lk_error *err)
{
    const struct lk_plan *plan = u->slice;
    lk_status status = LK_OK;
    for (int i = 0; i < plan->n_states && !status; i++) {
        size_t n = lk_state_unit_bytes(&plan->states[i]);
        if (!lk_plan_keeps(plan, i) || !lk_state_is_paged(&plan->states[i])) {
            continue;
        }
        void *block = lk_alloc(n);
        if (!block) {
            return lk_fail(err, LK_E_NOMEM, "out of memory: a block of a state");
        }
        status = u->side->impl->state_read(u->states, i, 0, block, n, err);
        for (int b = f->prompt_blocks; b < f->n_blocks && !status; b++) {
            status = u->side->impl->state_write(u->states, i, (size_t)b * n, block, n, err);
        }
        lk_free(block);
    }
    return status;
}

lk_status lk_unit_run(struct lk_unit *u, const struct lk_feeds *f, enum lk_feed_kind kind,
                      const float *hidden, float *out, lk_error *err)
{
    struct lk_batch b = f->feed[kind].b;
    b.out = out;
    if (u->slice->in_slot >= 0) {
        b.hidden_in = hidden + (size_t)f->feed[kind].first * (size_t)u->slice->n_embd;
    }
    lk_status status = kind == LK_FEED_FAR ? spread_block(u, f, err) : LK_OK;
    return status ? status : u->side->impl->run(u->exec, u->states, &b, err);
}

size_t lk_unit_floats(const struct lk_unit *u, const struct lk_feeds *f, enum lk_feed_kind kind,
                      int slot)
{
    const struct lk_slot *s = &u->slice->slots[slot];
    struct lk_row_counts rows = lk_batch_rows(u->slice, &f->feed[kind].b);
    return (size_t)rows.n[s->rows] * (size_t)s->width;
}

/* Floats of a unit of a state as lk_unit_states gives it. */
static size_t unit_floats(const struct lk_state *s)
{
    return lk_state_is_paged(s) ? (size_t)s->n_head * LK_KV_BLOCK * ((size_t)s->dim + 1)
                                : (size_t)s->rows * (size_t)s->dim;
}

/* The same of all units of a layer, or of all of a plan's, for some blocks and as many slots as far
 * sequences. */
static size_t states_floats(const struct lk_plan *plan, int n_blocks, int layer)
{
    struct lk_state_geom geom = {.plan = plan, .n_blocks = n_blocks, .n_slots = LK_FEED_SEQS};
    size_t sum = 0;
    for (int i = 0; i < plan->n_states; i++) {
        const struct lk_state *s = &plan->states[i];
        bool has = layer < 0 || s->layer == layer;
        sum += has ? (size_t)lk_state_units(&geom, i) * unit_floats(s) : 0;
    }
    return sum;
}

size_t lk_unit_state_floats(const struct lk_unit *u, const struct lk_feeds *f)
{
    return states_floats(u->slice, f->n_blocks, -1);
}

/* A unit as a backend holds it -> its floats. */
static void unit_values(const struct lk_state *s, const uint32_t *unit, float *x)
{
    if (!lk_state_is_paged(s)) {
        memcpy(x, unit, lk_state_unit_bytes(s));
        return;
    }
    for (int h = 0; h < s->n_head; h++) {
        const uint32_t *head = unit + LK_KV_HEAD_AT(0, h, s->n_head, s->dim, s->bits);
        for (int slot = 0; slot < LK_KV_BLOCK; slot++) {
            float scale = lk_kv_scale_at(head, s->dim, s->bits, slot);
            *x++ = scale;
            for (int d = 0; d < s->dim; d++) {
                int i = s->kind == LK_STATE_K ? lk_kv_k_at(head, s->dim, s->bits, d, slot)
                                              : lk_kv_v_at(head, s->dim, d, slot);
                *x++ = scale * (float)i;
            }
        }
    }
}

lk_status lk_unit_states(struct lk_unit *u, const struct lk_feeds *f, float *x, lk_error *err)
{
    const struct lk_plan *plan = u->slice;
    struct lk_state_geom geom = {.plan = plan, .n_blocks = f->n_blocks, .n_slots = LK_FEED_SEQS};
    size_t most = 0;
    for (int i = 0; i < plan->n_states; i++) {
        size_t bytes = lk_state_unit_bytes(&plan->states[i]);
        most = bytes > most ? bytes : most;
    }
    uint32_t *unit = lk_alloc(most);
    lk_status status = LK_OK;
    if (!unit) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a unit of a state");
    }
    for (int i = 0; i < plan->n_states && !status; i++) {
        const struct lk_state *s = &plan->states[i];
        size_t bytes = lk_state_unit_bytes(s);
        for (size_t k = 0; k < (size_t)lk_state_units(&geom, i) && !status; k++) {
            status = u->side->impl->state_read(u->states, i, k * bytes, unit, bytes, err);
            if (!status) {
                unit_values(s, unit, x);
            }
            x += unit_floats(s);
        }
    }
    lk_free(unit);
    return status;
}

/* The states of a unit as they lie, one after the other: of paged ones n_blocks blocks. */
static lk_status move_states(struct lk_unit *u, int n_blocks, void *data, bool in, lk_error *err)
{
    const struct lk_backend_impl *impl = u->side->impl;
    struct lk_state_geom geom = {.plan = u->slice, .n_blocks = n_blocks, .n_slots = LK_FEED_SEQS};
    uint8_t *at = data;
    lk_status status = LK_OK;
    for (int i = 0; i < u->slice->n_states && !status; i++) {
        size_t n = lk_state_bytes(&geom, i);
        if (n > 0) {
            status = in ? impl->state_write(u->states, i, 0, at, n, err)
                        : impl->state_read(u->states, i, 0, at, n, err);
            at += n;
        }
    }
    return status;
}

size_t lk_unit_recurrent_bytes(const struct lk_unit *u)
{
    struct lk_state_geom geom = {.plan = u->slice, .n_slots = LK_FEED_SEQS};
    size_t n = 0;
    for (int i = 0; i < u->slice->n_states; i++) {
        n += lk_state_bytes(&geom, i); /* without blocks: of the others alone */
    }
    return n;
}

lk_status lk_unit_move_recurrent(struct lk_unit *u, void *data, bool in, lk_error *err)
{
    return move_states(u, 0, data, in, err);
}

lk_status lk_unit_copy_states(struct lk_unit *to, struct lk_unit *from, const struct lk_feeds *f,
                              void *room, lk_error *err)
{
    lk_status status = move_states(from, f->n_blocks, room, false, err);
    return status ? status : move_states(to, f->n_blocks, room, true, err);
}

size_t lk_feeds_most_floats(const struct lk_feeds *f, const struct lk_plan *plan)
{
    struct lk_row_counts rows = lk_plan_rows(plan, f->n_tokens, LK_FEED_OUTPUTS);
    size_t most = 0;
    for (int layer = 0; layer < plan->n_layer; layer++) {
        size_t n = states_floats(plan, f->n_blocks, layer);
        most = n > most ? n : most;
    }
    for (int i = 0; i < plan->n_slots; i++) {
        const struct lk_slot *s = &plan->slots[i];
        size_t n = (size_t)rows.n[s->rows] * (size_t)s->width;
        most = n > most ? n : most;
    }
    return most;
}
