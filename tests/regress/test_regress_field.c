/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_field: the entries of the registry that are known from elsewhere: values at the edges of
 * formats, masks without keys, broken weights, odd sizes, full and empty contexts. See REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu_exec.h"
#include "base/numerics.h"
#include "tests/regress/regress.h"
#include "tests/util/cells.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

/* Multiplies tensors of F32 whose name ends as given. */
struct scaling {
    const char *suffix[3];
    float by[3];
};

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static void scale_tensors(void *user, const char *name, uint8_t *data, size_t n_bytes)
{
    const struct scaling *s = user;
    for (int i = 0; i < 3; i++) {
        for (size_t k = 0; s->suffix[i] && ends_with(name, s->suffix[i]) && k < n_bytes; k += 4) {
            float v;
            memcpy(&v, data + k, sizeof v);
            v *= s->by[i];
            memcpy(data + k, &v, sizeof v);
        }
    }
}

/* How many heads of K and V have values beyond 65504, over n tokens on scalar; each cell is its
 * row. */
static size_t count_large(const struct model_params *p, rg_edit_fn edit, void *user, int n)
{
    struct rg_model m;
    struct rg_chain c;
    int32_t ids[128];
    lk_error err;
    size_t count = 0, n_bytes;
    const struct rg_way *way = rg_scalar();
    rg_model_open(&m, p, edit, user);
    tiny_tokens(ids, (size_t)n, (size_t)m.plan->n_vocab, 11);
    float *rows = malloc((size_t)n * (size_t)m.plan->n_vocab * sizeof *rows);
    cr_assert_eq(rg_open(&c, &m, &way, NULL, 1, n, n, true, &err), LK_OK, "%s", err.message);
    rg_run(&c, ids, 0, n, rows);
    for (int i = 0; i < m.plan->n_states; i++) {
        const struct lk_state *s = &m.plan->states[i];
        const struct lk_op *op = rg_op(m.plan, LK_OP_KV_STORE, s->layer, 0);
        size_t width = (size_t)s->n_head * (size_t)s->head_dim;
        uint8_t *bytes = rg_cache(&c, i, &n_bytes);
        float *in = rg_peek(&c, op->in[s->kind == LK_STATE_V], (size_t)n * width);
        for (int k = 0; k < n * s->n_head; k++) {
            const float *row = in + k * s->head_dim;
            float most = 0.0f;
            rg_same_row(&c, i, k / s->n_head, k % s->n_head, bytes, row);
            for (int d = 0; d < s->head_dim; d++) {
                most = lk_flt(lk_magnitude(row[d])) > most ? lk_flt(lk_magnitude(row[d])) : most;
            }
            count += most > 65504.0f;
        }
        free(bytes);
        free(in);
    }
    rg_close(&c);
    free(rows);
    rg_model_close(&m);
    return count;
}

/* K, V and the feed forward beyond 65504: the cache keeps them as they are, nothing becomes
 * infinite. */
Test(regress, activations_beyond_f16)
{
    static struct scaling kv = {{"attn_k.weight", "attn_q.weight", "attn_v.weight"},
                                {1e6f, 1e-6f, 1e6f}};
    static struct scaling ffn = {{"ffn_norm.weight"}, {3e4f}};
    struct model_params p = rg_small("llama", LK_TYPE_F32);
    cr_assert_gt(count_large(&p, scale_tensors, &kv, 20), 100);
    rg_everywhere(&p, scale_tensors, &kv, 70, 66);
    p = rg_small("llama", LK_TYPE_F16);
    rg_everywhere(&p, scale_tensors, &ffn, 12, 9);
}

/* Rows of a tile whose window holds no key of a chunk, windows of one key, windows on the edge. */
Test(regress, rows_with_every_key_masked)
{
    static const int WINDOW[] = {1, 24, 64};
    for (size_t i = 0; i < LK_COUNT(WINDOW); i++) {
        struct model_params p = rg_small("gemma3", LK_TYPE_F32);
        struct rg_model m;
        double rms;
        p.n_layer = 1;
        p.window = WINDOW[i];
        rg_everywhere(&p, NULL, NULL, 135, 64);
        rg_model_open(&m, &p, NULL, NULL);
        double far = rg_distance(&m, 100, &rms);
        cr_assert_lt(far, TOL_SCALAR_IDEAL(1), "window %d: %.2e", p.window, far);
        rg_model_close(&m);
    }
}

/* Scores of some ten thousand leave one key with all the weight; those of 2^20 are the range error
 * that names op and layer. */
Test(regress, one_huge_score)
{
    static struct scaling large = {{"attn_q.weight"}, {2e4f}}, beyond = {{"attn_q.weight"}, {1e8f}};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_F32);
    rg_everywhere(&p, scale_tensors, &large, 70, 65);
    struct rg_model m;
    int32_t ids[70];
    static float rows[70 * 96];
    rg_model_open(&m, &p, scale_tensors, &beyond);
    tiny_tokens(ids, 70, 96, 11);
    for (size_t w = 0; w < n_ways; w++) {
        for (int n = 1; n <= 70; n += 69) { /* split and whole attention */
            struct rg_chain c;
            lk_error err;
            rg_open_one(&c, &m, &ways[w], 70, n);
            cr_assert_eq(rg_try(&c, ids, 0, n, rows, &err), LK_E_RANGE, "%s, %d tokens",
                         ways[w].name, n);
            cr_assert(strstr(err.message, "attention") && strstr(err.message, "0"), "%s",
                      err.message);
            rg_close(&c);
        }
    }
    rg_model_close(&m);
}

struct poison {
    const char *name;
    bool infinite;
};

/* NaN or infinity in the last element, or the last block's scale. */
static void put_nan(void *user, const char *name, uint8_t *data, size_t n_bytes)
{
    const struct poison *poison = user;
    if (strcmp(name, poison->name) != 0) {
        return;
    }
    if (strstr(name, "norm") || strstr(name, "embd")) {
        memcpy(data + n_bytes - 4, poison->infinite ? "\0\0\x80\x7f" : "\0\0\xc0\x7f", 4);
    } else { /* Q4_K: d of the last block */
        memcpy(data + n_bytes - 144, poison->infinite ? "\0\x7c" : "\0\x7e", 2);
    }
}

/* A weight that is no number is refused before anything is computed, and named. */
Test(regress, nan_in_a_weight)
{
    static const char *const NAMES[] = {"blk.1.ffn_down.weight", "blk.0.attn_norm.weight",
                                        "token_embd.weight"};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = model_params_default("llama", LK_TYPE_Q4_K, 5);
    p.embed_type = LK_TYPE_F32;
    for (size_t i = 0; i < LK_COUNT(NAMES) * 2; i++) {
        struct poison poison = {NAMES[i / 2], i % 2};
        struct rg_model m;
        rg_model_open(&m, &p, put_nan, &poison);
        for (size_t w = 0; w < n_ways; w++) {
            struct rg_chain c;
            lk_error err = {0};
            const struct rg_way *way = &ways[w];
            cr_assert_eq(rg_open(&c, &m, &way, NULL, 1, 64, 4, false, &err), LK_E_FORMAT,
                         "%s on %s", poison.name, way->name);
            cr_assert(strstr(err.message, poison.name), "%s: %s", way->name, err.message);
        }
        rg_model_close(&m);
    }
}

/* The norm in front of attention is zero, that of the feed forward in one block of 32. */
static void zero_blocks(void *user, const char *name, uint8_t *data, size_t n_bytes)
{
    (void)user;
    if (strcmp(name, "blk.1.attn_norm.weight") == 0) {
        memset(data, 0, n_bytes);
    } else if (ends_with(name, "ffn_norm.weight")) {
        memset(data + 128, 0, 128);
    }
}

Test(regress, a_block_of_zero_activations)
{
    static const enum lk_type TYPES[] = {LK_TYPE_Q5_1, LK_TYPE_Q6_K};
    for (size_t i = 0; i < LK_COUNT(TYPES); i++) {
        struct model_params p = rg_small("llama", TYPES[i]);
        if (TYPES[i] == LK_TYPE_Q6_K) {
            p.n_embd = p.n_ff = 256;
            p.n_head = 8;
        }
        rg_everywhere(&p, zero_blocks, NULL, 20, 9);
    }
}

/* Cells that no token wrote hold any integers, and NaN as their scales; no row may hear of them. */
Test(regress, stale_cache_full_of_nan)
{
    enum { N = 75, CTX = 130 };
    static const char *const ARCHS[] = {"llama", "gemma3"};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    for (size_t a = 0; a < LK_COUNT(ARCHS); a++) {
        struct model_params p = rg_small(ARCHS[a], LK_TYPE_F16);
        p.n_layer = 2;
        struct rg_model m;
        int32_t ids[N];
        static float want[N * 96], got[N * 96];
        struct rg_chain c;
        rg_model_open(&m, &p, NULL, NULL);
        tiny_tokens(ids, N, 96, 12);
        rg_open_one(&c, &m, rg_scalar(), N, N);
        rg_run(&c, ids, 0, N, want);
        rg_close(&c);
        for (size_t w = 0; w < n_ways; w++) {
            for (int batch = 1; batch <= N; batch += batch == 1 ? 4 : 70) {
                char what[96];
                rg_open_one(&c, &m, &ways[w], CTX, batch);
                for (int i = 0; i < 4; i++) {
                    size_t n;
                    uint8_t *bytes = rg_cache(&c, i, &n);
                    cells_stale(&m.plan->states[i], bytes, n, 5u + (uint64_t)i);
                    rg_cache_write(&c, i, bytes);
                    free(bytes);
                }
                rg_run(&c, ids, 0, N, got);
                snprintf(what, sizeof what, "%s over NaN on %s in batches of %d", ARCHS[a],
                         ways[w].name, batch);
                rg_same_rows(what, got, want, N, 96);
                rg_close(&c);
            }
        }
        rg_model_close(&m);
    }
}

/* Heads that fill no whole 32 lanes, rotated in part. */
Test(regress, odd_head_sizes)
{
    static const int DIM[][2] = {{24, 24}, {40, 40}, {80, 32}, {100, 48}};
    for (size_t i = 0; i < LK_COUNT(DIM); i++) {
        struct model_params p = rg_small("qwen2", LK_TYPE_F16);
        p.head_dim = DIM[i][0];
        p.n_rot = DIM[i][1];
        p.n_layer = 1;
        rg_everywhere(&p, NULL, NULL, 70, 63);
    }
}

/* The context holds exactly its tokens; one more is an error that changes nothing. */
Test(regress, context_filled_exactly)
{
    static const uint32_t CTX[] = {64, 65, 100};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[101];
    tiny_tokens(ids, 101, 96, 13);
    rg_model_open(&m, &p, NULL, NULL);
    for (size_t i = 0; i < LK_COUNT(CTX) * n_ways; i++) {
        const struct rg_way *way = &ways[i / LK_COUNT(CTX)];
        uint32_t n = CTX[i % LK_COUNT(CTX)];
        lk_model *model;
        lk_error err;
        lk_session *s;
        float row[96];
        char number[16];
        lk_engine_options o = rg_options(way, n, 40);
        lk_engine *e = tiny_engine_with(m.path, &o, &model);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, n, &err), LK_OK, "%s: %s", way->name, err.message);
        memcpy(row, lk_session_logits(s), sizeof row);
        cr_assert_eq(lk_session_sync(s, ids, n + 1, &err), LK_E_FULL, "%s", way->name);
        snprintf(number, sizeof number, "%u", n + 1);
        cr_assert(strstr(err.message, number), "%s", err.message);
        cr_assert_eq(lk_session_n_tokens(s), n, "%s", way->name);
        cr_assert_not_null(lk_session_logits(s), "%s: a refused token took the logits away",
                           way->name);
        cr_assert_eq(lk_engine_step(e, &s, ids, 1, &err), LK_E_FULL);
        rg_same_rows("after two refused tokens", lk_session_logits(s), row, 1, 96);
        cr_assert_eq(lk_session_truncate(s, n - 1, &err), LK_OK);
        cr_assert_eq(lk_engine_step(e, &s, ids + n - 1, 1, &err), LK_OK, "%s", err.message);
        rg_same_rows("the last place filled again", lk_session_logits(s), row, 1, 96);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&model);
    }
    rg_model_close(&m);
}

/* No token is an error; one is a prompt. */
Test(regress, prompts_of_none_and_one)
{
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("gemma3", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[4] = {1, 2, 3, 4};
    float want[4 * 96];
    struct rg_chain c;
    rg_model_open(&m, &p, NULL, NULL);
    rg_open_one(&c, &m, rg_scalar(), 4, 4);
    rg_run(&c, ids, 0, 4, want);
    rg_close(&c);
    for (size_t w = 0; w < n_ways; w++) {
        lk_model *model;
        lk_error err;
        lk_session *s;
        lk_engine_options o = rg_options(&ways[w], 64, 8);
        lk_engine *e = tiny_engine_with(m.path, &o, &model);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 0, &err), LK_E_INVALID, "%s", ways[w].name);
        cr_assert_null(lk_session_logits(s));
        cr_assert_eq(lk_session_sync(s, ids, 1, &err), LK_OK, "%s", err.message);
        rg_same_rows("a prompt of one token", lk_session_logits(s), want, 1, 96);
        cr_assert_eq(lk_session_sync(s, ids, 0, &err), LK_E_INVALID, "%s", ways[w].name);
        rg_same_rows("after an empty prompt", lk_session_logits(s), want, 1, 96);
        for (int t = 1; t < 4; t++) {
            cr_assert_eq(lk_engine_step(e, &s, ids + t, 1, &err), LK_OK, "%s", err.message);
            rg_same_rows("stepped", lk_session_logits(s), want + t * 96, 1, 96);
        }
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&model);
    }
    rg_model_close(&m);
}

/* Every packed matrix of the CPU backend begins at a multiple of 256 bytes; groups at 64. */
Test(regress, packed_tensors_are_aligned)
{
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways), n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t i = 0; i < n_types; i++) {
        struct model_params p = model_params_default("phi3", types[i].type, 5);
        struct rg_model m;
        p.n_ff = 768;
        p.n_vocab = 77;
        rg_model_open(&m, &p, NULL, NULL);
        for (size_t w = 0; w < n_ways; w++) {
            struct rg_chain c;
            if (ways[w].impl != lk_backend_find("cpu")) {
                continue;
            }
            rg_open_one(&c, &m, &ways[w], 64, 4);
            const struct lk_exec *e = c.part[0].exec;
            for (int k = 0; k < m.plan->n_weights; k++) {
                cr_assert_eq((uintptr_t)e->packed[k].data % 256, 0, "%s %s on %s: at %p",
                             types[i].name, m.plan->weights[k].name, ways[w].name,
                             (void *)e->packed[k].data);
                cr_assert_eq(e->packed[k].group_bytes % 64, 0, "%s", types[i].name);
            }
            rg_close(&c);
        }
        rg_model_close(&m);
    }
}
