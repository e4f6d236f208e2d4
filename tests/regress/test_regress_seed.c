/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_seed: the entries of the registry about the cache, attention, layers, positions and
 * alignment. Their symptoms, causes and mutants are in REGISTRY.md under the names of the tests.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/host_state.h"
#include "base/numerics.h"
#include "tests/regress/regress.h"
#include "tests/util/cells.h"
#include "tests/util/rng.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

/* A whole cache of numbers, the same for every chain. */
static void fill_cache(struct rg_chain *c)
{
    for (int s = 0; s < c->m->plan->n_states; s++) {
        size_t n;
        uint8_t *bytes = rg_cache(c, s, &n);
        cells_random(&c->m->plan->states[s], bytes, n, 9u + (uint64_t)s);
        rg_cache_write(c, s, bytes);
        free(bytes);
    }
}

/* Every byte of the buffers but the cells of positions [first, first + n) is as it was. */
static void only_these(struct rg_chain *c, uint8_t *const *before, int first, int n)
{
    for (int s = 0; s < c->m->plan->n_states; s++) {
        const struct lk_state *state = &c->m->plan->states[s];
        size_t n_bytes;
        uint8_t *now = rg_cache(c, s, &n_bytes);
        uint8_t *want = malloc(n_bytes);
        memcpy(want, before[s], n_bytes);
        for (int pos = first; pos < first + n; pos++) {
            for (int h = 0; h < state->n_head; h++) {
                for (int d = 0; d < state->dim; d++) {
                    struct rg_cell at = rg_cell(c, s, c->blocks[pos / 64], h, pos % 64, d);
                    rg_copy_cell(want, now, &at);
                    cr_assert(d < state->head_dim || rg_integer(now, &at) == 0,
                              "%s: pad of %s[%d, %d, %d] is not zero", c->name,
                              lk_state_name(state), h, pos, d);
                }
            }
        }
        for (size_t i = 0; i < n_bytes; i++) {
            cr_assert(now[i] == want[i],
                      "%s: writing positions %d to %d changed %s layer %d byte %zu, which is not "
                      "theirs",
                      c->name, first, first + n - 1, lk_state_name(state), state->layer, i);
        }
        free(now);
        free(want);
    }
}

/* Writing a position changes its own cells, of every head, and no other byte of any buffer. */
Test(regress, cache_write_keeps_neighbours)
{
    static const int SPAN[][2] = {{62, 1}, {63, 1}, {64, 1}, {127, 1}, {61, 5}, {0, 3}};
    static const int HEAD_DIM[] = {32, 40};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    for (size_t k = 0; k < LK_COUNT(HEAD_DIM); k++) {
        struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
        struct rg_model m;
        int32_t ids[8];
        p.head_dim = HEAD_DIM[k];
        p.n_head = 4;
        p.n_ff = 160;
        p.n_embd = 160;
        rg_model_open(&m, &p, NULL, NULL);
        tiny_tokens(ids, 8, 96, 3);
        for (size_t w = 0; w < n_ways; w++) {
            for (size_t s = 0; s < LK_COUNT(SPAN); s++) {
                struct rg_chain c, scalar;
                float rows[2][8 * 96];
                char what[96];
                uint8_t *before[4];
                size_t n;
                int first = SPAN[s][0], count = SPAN[s][1];
                rg_open_one(&c, &m, &ways[w], 128, 8);
                rg_open_one(&scalar, &m, rg_scalar(), 128, 8);
                fill_cache(&c);
                fill_cache(&scalar);
                for (int i = 0; i < 4; i++) {
                    before[i] = rg_cache(&c, i, &n);
                }
                rg_run(&c, ids, first, count, rows[0]);
                rg_run(&scalar, ids, first, count, rows[1]);
                snprintf(what, sizeof what, "heads of %d, %d tokens at %d on %s", p.head_dim, count,
                         first, ways[w].name);
                only_these(&c, before, first, count);
                rg_same_cache(what, &c, &scalar, 128);
                rg_same_rows(what, rows[0], rows[1], (size_t)count, 96);
                for (int i = 0; i < 4; i++) {
                    free(before[i]);
                }
                rg_close(&c);
                rg_close(&scalar);
            }
        }
        rg_model_close(&m);
    }
}

/* Guards are compared, and a range past a buffer is refused. */
Test(regress, guards_are_compared)
{
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    rg_model_open(&m, &p, NULL, NULL);
    for (size_t w = 0; w < n_ways; w++) {
        struct rg_chain c;
        lk_error err;
        uint8_t four[4] = {1, 2, 3, 4};
        rg_open_one(&c, &m, &ways[w], 64, 1);
        const struct lk_backend_impl *impl = ways[w].impl;
        struct lk_state_mem *mem = c.part[0].states;
        size_t ends[4];
        for (int i = 0; i < 4; i++) {
            ends[i] = (size_t)(c.n_blocks + 1) * lk_state_unit_bytes(&m.plan->states[i]);
        }
        cr_assert_eq(impl->state_write(mem, 3, ends[3] - 4, four, 4, &err), LK_OK);
        cr_assert_eq(impl->state_write(mem, 3, ends[3] - 2, four, 4, &err), LK_E_INVALID);
        cr_assert_eq(impl->state_write(mem, 2, ends[2], four, 2, &err), LK_E_INVALID);
        cr_assert_eq(impl->state_write(mem, 4, 0, four, 2, &err), LK_E_INVALID);
        cr_assert_eq(impl->state_read(mem, -1, 0, four, 2, &err), LK_E_INVALID);
        cr_assert_eq(impl->state_read(mem, 0, SIZE_MAX - 1, four, 4, &err), LK_E_INVALID);
        cr_assert_eq(impl->state_check(mem, &err), LK_OK, "%s", err.message);
        for (int i = 0; i < 4 && !ways[w].is_device; i++) {
            uint8_t *k = lk_host_state_at(mem, i);
            uint8_t *beside[2] = {k - 1, k + ends[i]};
            for (int b = 0; b < 2; b++) {
                uint8_t was = *beside[b];
                *beside[b] ^= 1;
                cr_assert_eq(impl->state_check(mem, &err), LK_E_INTERNAL, "%s", ways[w].name);
                if (b == 0) { /* the end of one is the beginning of the next one's guard */
                    cr_assert(strstr(err.message, i / 2 ? "layer 1" : "layer 0"), "%s",
                              err.message);
                    cr_assert(strstr(err.message, i % 2 ? "V" : "K"), "%s", err.message);
                }
                *beside[b] = was;
                cr_assert_eq(impl->state_check(mem, &err), LK_OK);
            }
        }
        rg_close(&c);
    }
    rg_model_close(&m);
}

/* Each head of each position of K and V is that head of that token's row, not another: against the
 * rows that went in, read by peek. */
Test(regress, heads_go_to_their_own_cells)
{
    enum { N = 70 };
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    p.n_kv_head = p.n_head = 4;
    struct rg_model m;
    int32_t ids[N];
    float rows[N * 96];
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 3);
    for (size_t w = 0; w < n_ways; w++) {
        struct rg_chain c;
        lk_error err;
        const struct rg_way *way = &ways[w];
        cr_assert_eq(rg_open(&c, &m, &way, NULL, 1, N, N, true, &err), LK_OK, "%s", err.message);
        rg_run(&c, ids, 0, N, rows);
        for (int layer = 0; layer < 2; layer++) {
            const struct lk_op *op = rg_op(m.plan, LK_OP_KV_STORE, layer, 0);
            for (int s = 0; s < 2; s++) {
                size_t n;
                float *in = rg_peek(&c, op->in[s], N * 128);
                uint8_t *bytes = rg_cache(&c, 2 * layer + s, &n);
                for (int i = 0; i < N * 4; i++) {
                    rg_same_row(&c, 2 * layer + s, i / 4, i % 4, bytes, in + i * 32);
                }
                free(in);
                free(bytes);
            }
        }
        rg_close(&c);
    }
    rg_model_close(&m);
}

/* A session's cache goes to another backend, to a file and back, and to a fork, head by head. */
Test(regress, sessions_move_their_cache_by_heads)
{
    enum { N = 100 };
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("qwen2", LK_TYPE_Q8_0);
    p.head_dim = 40; /* padded: what a head takes is more than what it holds */
    p.n_rot = 40;
    p.n_embd = p.n_ff = 160;
    struct rg_model m;
    int32_t ids[N];
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 4);
    lk_model *model = NULL;
    lk_engine_options o = rg_options(rg_scalar(), 128, N);
    lk_engine *e = tiny_engine_with(m.path, &o, &model);
    float *want = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&model);
    for (size_t w = 0; w < n_ways; w++) {
        lk_error err;
        lk_session *s, *f;
        char file[] = "/tmp/lockstep-session-XXXXXX";
        int fd = mkstemp(file);
        cr_assert(fd >= 0);
        close(fd);
        o = rg_options(&ways[w], 128, 64);
        o.n_sessions = 2;
        e = tiny_engine_with(m.path, &o, &model);
        const char *other = w ? "scalar" : "cpu";
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 70, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_fork(s, &f, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(f, ids, 71, &err), LK_OK, "%s", err.message);
        rg_same_rows("a fork's next token", lk_session_logits(f), want + 70 * 96, 1, 96);
        lk_session_close(&f);
        cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_move(s, other, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 80, &err), LK_OK, "%s", err.message);
        rg_same_rows("moved", lk_session_logits(s), want + 79 * 96, 1, 96);
        cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 90, &err), LK_OK, "%s", err.message);
        rg_same_rows("restored", lk_session_logits(s), want + 89 * 96, 1, 96);
        cr_assert_eq(lk_session_move(s, ways[w].impl->name, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
        rg_same_rows("moved back", lk_session_logits(s), want + 99 * 96, 1, 96);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&model);
        unlink(file);
    }
    free(want);
    rg_model_close(&m);
}

/* Query heads outnumber KV heads, and the cache's capacity is not the number of tokens: every
 * stride is its own. The mapping itself is measured against the reference. */
Test(regress, query_and_cache_strides)
{
    static const int HEADS[][2] = {{6, 2}, {4, 4}, {8, 1}, {9, 3}};
    for (size_t i = 0; i < LK_COUNT(HEADS); i++) {
        struct model_params p = rg_small("llama", LK_TYPE_F32);
        struct rg_model m;
        double rms;
        p.n_head = HEADS[i][0];
        p.n_kv_head = HEADS[i][1];
        rg_everywhere(&p, NULL, NULL, 70, 33);
        rg_model_open(&m, &p, NULL, NULL);
        double far = rg_distance(&m, 24, &rms);
        cr_assert_lt(far, TOL_SCALAR_IDEAL(p.n_layer), "%d query heads over %d: %.2e", p.n_head,
                     p.n_kv_head, far);
        rg_model_close(&m);
    }
}

/* Decode splits attention by chunks and merges them: at each number of chunks, with a window and
 * without, it gives prefill's bits. */
Test(regress, attention_decode_equals_prefill)
{
    struct model_params p = rg_small("llama", LK_TYPE_F32);
    p.n_layer = 1;
    rg_everywhere(&p, NULL, NULL, 140, 1);
    p = rg_small("gemma3", LK_TYPE_Q8_0);
    p.n_layer = 2;
    p.window = 70;
    rg_everywhere(&p, NULL, NULL, 100, 60);
}

/* From the cache of scalar, the next token on scalar and on the reference that rounds q, K, V and p
 * as the contract does: only float arithmetic is left between them. */
static double next_token_from_the_same_cache(const struct rg_model *m)
{
    enum { FROM = 20, N = 31 };
    struct rg_chain s, r;
    int32_t ids[N];
    float row[2][96];
    double errors[N - FROM];
    tiny_tokens(ids, N, 96, 11);
    rg_open_one(&s, m, rg_scalar(), N, FROM);
    rg_open_one(&r, m, rg_ref(true), N, 1);
    float *prefill = malloc(FROM * 96 * sizeof *prefill);
    rg_run(&s, ids, 0, FROM, prefill);
    free(prefill);
    for (int t = FROM; t < N; t++) {
        rg_move(&s, &r);
        rg_run(&s, ids + t, t, 1, row[0]);
        rg_run(&r, ids + t, t, 1, row[1]);
        double e = tiny_row_error(row[0], row[1], 96, NULL);
        int i = t - FROM; /* sorted as they come */
        for (; i > 0 && errors[i - 1] > e; i--) {
            errors[i] = errors[i - 1];
        }
        errors[i] = e;
    }
    rg_close(&s);
    rg_close(&r);
    return errors[(N - FROM) / 2];
}

/* 1, 2, 4 and 8 layers: by bits between ways; against the reference what the contract's roundings
 * explain, growing no faster than the layers. */
Test(regress, layers_in_parity)
{
    static const char *const ARCHS[] = {"llama", "qwen2"};
    for (size_t a = 0; a < LK_COUNT(ARCHS); a++) {
        double first = 0;
        for (int layers = 1; layers <= 8; layers *= 2) {
            struct model_params p = rg_small(ARCHS[a], LK_TYPE_F32);
            struct rg_model m;
            double rms;
            p.n_layer = layers;
            rg_everywhere(&p, NULL, NULL, 40, 21);
            rg_model_open(&m, &p, NULL, NULL);
            double far = rg_distance(&m, 40, &rms);
            double next = next_token_from_the_same_cache(&m);
            first = layers == 1 ? rms : first;
            rg_debug("%s, %d layers: %.2e (rms %.2e), next token %.2e\n", ARCHS[a], layers, far,
                     rms, next);
            if (layers <= 4) {
                cr_assert_lt(far, TOL_SCALAR_IDEAL(layers), "%s, %d layers: %.2e", ARCHS[a], layers,
                             far);
                cr_assert_lt(next, layers == 1 ? TOL_ONE_TOKEN : 2 * TOL_ONE_TOKEN * layers,
                             "%s, %d layers: next token %.2e", ARCHS[a], layers, next);
            }
            cr_assert_leq(rms, first * layers, "%s, %d layers: %.2e, one layer has %.2e", ARCHS[a],
                          layers, rms, first);
            rg_model_close(&m);
        }
    }
}

/* Hidden rows handed from one part to the next, at each cut and at all cuts, on unlike ways; then
 * decode over the same cuts, whose caches lie apart. */
Test(regress, layers_hand_over_at_every_cut)
{
    enum { LAYERS = 4, N = 75, PREFILL = 62 };
    static const int CUTS[][3] = {{1}, {2}, {3}, {1, 2, 3}};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_Q4_0);
    p.n_layer = LAYERS;
    struct rg_model m;
    int32_t ids[N];
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 5);
    float *want = malloc(N * 96 * sizeof *want), *got = malloc(N * 96 * sizeof *got);
    struct rg_chain whole, c;
    rg_open_one(&whole, &m, rg_scalar(), N, N);
    rg_run(&whole, ids, 0, N, want);
    for (size_t w = 0; w < n_ways; w++) {
        for (size_t k = 0; k < LK_COUNT(CUTS); k++) {
            int n_parts = CUTS[k][1] ? 4 : 2;
            const struct rg_way *way[4];
            lk_error err;
            char what[128];
            for (int i = 0; i < n_parts; i++) {
                way[i] = &ways[(w + (size_t)i) % n_ways];
            }
            cr_assert_eq(rg_open(&c, &m, way, CUTS[k], n_parts, N, PREFILL, false, &err), LK_OK,
                         "%s", err.message);
            snprintf(what, sizeof what, "cut at %d%s: %s", CUTS[k][0], n_parts > 2 ? ", 2, 3" : "",
                     c.name);
            rg_run(&c, ids, 0, PREFILL, got);
            for (int t = PREFILL; t < N; t++) {
                rg_run(&c, ids + t, t, 1, got + (size_t)t * 96);
            }
            rg_same_rows(what, got, want, N, 96);
            rg_same_cache(what, &c, &whole, N);
            rg_close(&c);
        }
    }
    rg_close(&whole);
    free(want);
    free(got);
    rg_model_close(&m);
}

/* Prefill on one way, decode with the layers cut at every point between two ways: each part's cache
 * comes from the first's by layers. */
Test(regress, cache_hand_over_in_decode_at_every_cut)
{
    enum { LAYERS = 4, N = 70, PREFILL = 63 };
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("qwen3", LK_TYPE_Q8_0);
    p.n_layer = LAYERS;
    struct rg_model m;
    int32_t ids[N];
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 6);
    float *want = malloc(N * 96 * sizeof *want), *got = malloc(N * 96 * sizeof *got);
    struct rg_chain whole, first, c;
    rg_open_one(&whole, &m, rg_scalar(), N, N);
    rg_run(&whole, ids, 0, N, want);
    for (size_t w = 0; w < n_ways; w++) {
        rg_open_one(&first, &m, &ways[w], N, PREFILL);
        rg_run(&first, ids, 0, PREFILL, got);
        rg_same_rows(ways[w].name, got, want, PREFILL, 96);
        for (int cut = 1; cut < LAYERS; cut++) {
            const struct rg_way *way[2] = {&ways[w], &ways[(w + 1) % n_ways]};
            lk_error err;
            char what[128];
            cr_assert_eq(rg_open(&c, &m, way, &cut, 2, N, 1, false, &err), LK_OK, "%s",
                         err.message);
            rg_move(&first, &c);
            for (int t = PREFILL; t < N; t++) {
                rg_run(&c, ids + t, t, 1, got + (size_t)t * 96);
            }
            snprintf(what, sizeof what, "prefill on %s, decode on %s cut at %d", ways[w].name,
                     c.name, cut);
            rg_same_rows(what, got, want, N, 96);
            rg_same_cache(what, &c, &whole, N);
            rg_close(&c);
        }
        rg_close(&first);
    }
    rg_close(&whole);
    free(want);
    free(got);
    rg_model_close(&m);
}

/* The pair of dimension i of a head, as the models were trained: llama's neighbours, the others'
 * halves. Written down here, not read from the program. */
static void pair_of(const char *arch, int i, int n_rot, int pair[2])
{
    bool neighbours = strcmp(arch, "llama") == 0;
    pair[0] = neighbours ? 2 * i : i;
    pair[1] = neighbours ? 2 * i + 1 : i + n_rot / 2;
}

/* What ROPE made of its rows at positions [first, first + n), against the rotation by the angle
 * position * base^(-2i / n_rot). */
static void check_rotation(const char *arch, const struct rg_chain *c, const float *in,
                           const float *out, int first, int n, int n_head)
{
    int hd = c->m->plan->states[0].head_dim, n_rot = c->m->plan->ropes[0].n_dims;
    for (int t = 0; t < n; t++) {
        for (int h = 0; h < n_head; h++) {
            const float *x = in + (t * n_head + h) * hd, *y = out + (t * n_head + h) * hd;
            for (int i = 0; i < n_rot / 2; i++) {
                int p[2];
                pair_of(arch, i, n_rot, p);
                double angle = (first + t) * pow(50000.0, -2.0 * i / n_rot);
                double x0 = (double)x[p[0]], x1 = (double)x[p[1]];
                double want[2] = {x0 * cos(angle) - x1 * sin(angle),
                                  x0 * sin(angle) + x1 * cos(angle)};
                for (int k = 0; k < 2; k++) {
                    double off = fabs((double)y[p[k]] - want[k]);
                    cr_assert_lt(off, TOL_ROTATION * (fabs(x0) + fabs(x1)) + 0x1p-49,
                                 "%s on %s: position %d, head %d, dimension %d is %g, expected %g",
                                 arch, c->name, first + t, h, p[k], (double)y[p[k]], want[k]);
                }
            }
        }
    }
}

/* Decode at a position equals the row of prefill: at the edges of chunks and of the context, after
 * a truncate and after a restore; and the angle is the position's own, in the model's own
 * convention. */
Test(regress, positions_in_rope)
{
    enum { N = 128 };
    static const char *const ARCHS[] = {"llama", "qwen2"};
    static const int AT[] = {0, 1, 63, 64, N - 1};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    for (size_t a = 0; a < LK_COUNT(ARCHS); a++) {
        struct model_params p = rg_small(ARCHS[a], LK_TYPE_F32);
        struct rg_model m;
        int32_t ids[N];
        rg_model_open(&m, &p, NULL, NULL);
        tiny_tokens(ids, N, 96, 7);
        float *want = malloc(N * 96 * sizeof *want), *got = malloc(N * 96 * sizeof *got);
        struct rg_chain whole;
        rg_open_one(&whole, &m, rg_scalar(), N, N);
        rg_run(&whole, ids, 0, N, want);
        for (size_t w = 0; w < n_ways; w++) {
            const struct lk_op *op = rg_op(m.plan, LK_OP_ROPE, 1, 0);
            const struct rg_way *way = &ways[w];
            struct rg_chain c;
            lk_error err;
            char what[96];
            cr_assert_eq(rg_open(&c, &m, &way, NULL, 1, N, N, true, &err), LK_OK, "%s",
                         err.message);
            rg_run(&c, ids, 0, N, got);
            rg_same_rows(way->name, got, want, N, 96);
            float *in = rg_peek(&c, op->in[0], N * 128), *out = rg_peek(&c, op->out, N * 128);
            check_rotation(ARCHS[a], &c, in, out, 0, N, 4);
            free(in);
            free(out);
            for (size_t i = 0; i < LK_COUNT(AT);
                 i++) { /* over what prefill left, as after a truncate */
                rg_run(&c, ids + AT[i], AT[i], 1, got);
                snprintf(what, sizeof what, "%s on %s, position %d alone", ARCHS[a], way->name,
                         AT[i]);
                rg_same_rows(what, got, want + AT[i] * 96, 1, 96);
                in = rg_peek(&c, op->in[0], 128);
                out = rg_peek(&c, op->out, 128);
                check_rotation(ARCHS[a], &c, in, out, AT[i], 1, 4);
                free(in);
                free(out);
            }
            rg_same_cache(way->name, &c, &whole, N);
            rg_close(&c);
        }
        rg_close(&whole);
        /* The same through sessions: truncated, saved and restored. */
        for (size_t w = 0; w < n_ways; w++) {
            char file[] = "/tmp/lockstep-session-XXXXXX";
            int fd = mkstemp(file);
            cr_assert(fd >= 0);
            close(fd);
            lk_model *model;
            lk_error err;
            lk_session *s;
            lk_engine_options o = rg_options(&ways[w], N, 100);
            o.n_sessions = 2;
            lk_engine *e = tiny_engine_with(m.path, &o, &model);
            cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
            cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
            cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
            for (size_t i = 1; i < LK_COUNT(AT); i++) {
                for (int restored = 0; restored < 2; restored++) {
                    if (restored) {
                        cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
                    }
                    cr_assert_eq(lk_session_truncate(s, (size_t)AT[i], &err), LK_OK, "%s",
                                 err.message);
                    cr_assert_eq(lk_session_sync(s, ids, (size_t)AT[i] + 1, &err), LK_OK, "%s",
                                 err.message);
                    rg_same_rows(restored ? "after a restore" : "after a truncate",
                                 lk_session_logits(s), want + AT[i] * 96, 1, 96);
                    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
                    rg_same_rows("to the end of the context", lk_session_logits(s),
                                 want + (N - 1) * 96, 1, 96);
                }
            }
            lk_session_close(&s);
            lk_engine_close(&e);
            lk_model_close(&model);
            unlink(file);
        }
        free(want);
        free(got);
        rg_model_close(&m);
    }
}

/* Every type of weight by its blocks: nibbles, scales, minima; K-quants lie in super-blocks of 256
 * elements, which no row may break. */
Test(regress, quantized_blocks)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t i = 0; i < n_types; i++) {
        struct model_params p = rg_small("llama", types[i].type);
        struct rg_model m;
        lk_error err;
        bool few = types[i].type == LK_TYPE_F32 || types[i].type == LK_TYPE_Q8_0 ||
                   types[i].type == LK_TYPE_Q4_K;
        if (rg_vulkan() && !few) {
            continue; /* a device's kernels of every type are compared in vk_agree */
        }
        p.n_layer = 1;
        if (types[i].block > 32) {
            p.n_embd = 256;
            p.n_ff = 512;
            p.n_head = 8;
        }
        rg_everywhere(&p, NULL, NULL, 12, 9);
        if (types[i].block <= 32) {
            continue;
        }
        /* 256 is a count of elements: a row of 288 is refused, whatever its bytes are. */
        struct gguf_build b = {0};
        char path[] = "/tmp/lockstep-regress-XXXXXX";
        int fd = mkstemp(path);
        cr_assert(fd >= 0);
        close(fd);
        p.n_ff = 288;
        p.type = LK_TYPE_F32;
        p.retype = "blk.0.ffn_down.weight";
        p.retype_to = (uint32_t)types[i].type;
        model_build(&b, &p);
        gb_save(&b, path);
        lk_status status = lk_model_open(path, &m.model, &err);
        if (!status) {
            status = lk_model_check(m.model, &err);
            lk_model_close(&m.model);
        }
        cr_assert(status == LK_E_FORMAT || status == LK_E_UNSUPPORTED, "%s: %s", types[i].name,
                  lk_status_name(status));
        cr_assert(strstr(err.message, "blk.0.ffn_down.weight"), "%s", err.message);
        char want[16];
        snprintf(want, sizeof want, "%d", types[i].block);
        cr_assert(strstr(err.message, want), "%s", err.message);
        gb_free(&b);
        unlink(path);
    }
}
