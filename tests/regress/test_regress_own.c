/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_own: the entries of the registry that are bugs of this project's own past, found by
 * fuzzing, by failing every allocation and copy in turn, or by reading. See REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "tests/regress/regress.h"
#include "tests/util/tiny.h"
#include "tests/util/tok_build.h"

/* The token of a single byte may be marked as unknown or as control: plain text does not use it. */
Test(regress, a_byte_is_no_control_token)
{
    enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3 };
    static const struct tok_piece pieces[] = {{"a", UNKNOWN, 0},
                                              {"b", CONTROL, 0},
                                              {"c", NORMAL, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.bytes = false;
    b.piece = pieces;
    b.n_pieces = LK_COUNT(pieces);
    tok_make(&x, &b);
    const char *ids = tok_ids(x.tok, "abc", 3, LK_TOKENIZE_PLAIN);
    rg_debug("ids of \"abc\" as plain text: %s, expected 2\n", ids);
    cr_assert_str_eq(ids, "2");
    tok_done(&x);
}

static lk_status no_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                          size_t n, lk_error *err)
{
    (void)mem;
    (void)offset;
    (void)data;
    (void)n;
    return lk_fail(err, LK_E_NOMEM, "out of memory: state %d", state);
}

/* A fork's first write copies a shared block; when the copy fails, both sessions are as before. */
Test(regress, a_failed_copy_leaves_the_session)
{
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[80];
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, 80, 96, 14);
    for (size_t w = 0; w < n_ways; w++) {
        lk_model *model;
        lk_error err;
        lk_session *s, *f;
        lk_engine_options o = rg_options(&ways[w], 128, 80);
        o.n_sessions = 2;
        lk_engine *e = tiny_engine_with(m.path, &o, &model);
        float *want = tiny_rows(e, ids, 80);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 70, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_fork(s, &f, &err), LK_OK, "%s", err.message);
        struct lk_part *part = &e->home->part[0];
        const struct lk_backend_impl *whole = part->impl;
        struct lk_backend_impl broken = *whole;
        broken.state_write = no_write;
        part->impl = &broken;
        cr_assert_eq(lk_session_sync(f, ids, 71, &err), LK_E_NOMEM, "%s", ways[w].name);
        part->impl = whole;
        rg_debug("after the failed copy: fork holds %zu tokens, block %d; the other %d\n",
                 lk_session_n_tokens(f), f->seq.blocks[1], s->seq.blocks[1]);
        cr_assert_eq(lk_session_n_tokens(f), 70);
        cr_assert_eq(f->seq.n_blocks, 2, "%s: the fork lost a block", ways[w].name);
        cr_assert_eq(f->seq.blocks[1], s->seq.blocks[1], "%s: the block is shared again",
                     ways[w].name);
        cr_assert_eq(lk_session_sync(f, ids, 80, &err), LK_OK, "%s", err.message);
        rg_same_rows("the fork afterwards", lk_session_logits(f), want + 79 * 96, 1, 96);
        cr_assert_eq(lk_session_sync(s, ids, 80, &err), LK_OK, "%s", err.message);
        rg_same_rows("the other afterwards", lk_session_logits(s), want + 79 * 96, 1, 96);
        free(want);
        lk_session_close(&f);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&model);
    }
    rg_model_close(&m);
}

/* A saved session that claims logits of no token is refused. */
Test(regress, saved_logits_without_tokens)
{
    enum { HEADER = 112, N_TOKENS = 40, HAS_LOGITS = 44, VOCAB = 96, N_DATA = 8 };
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    rg_model_open(&m, &p, NULL, NULL);
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    close(fd);
    lk_model *model;
    lk_error err;
    lk_session *s;
    lk_engine_options o = rg_options(rg_scalar(), 64, 8);
    lk_engine *e = tiny_engine_with(m.path, &o, &model);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
    uint8_t bytes[HEADER + VOCAB * 4 + N_DATA + 32] = {0};
    FILE *f = fopen(file, "rb");
    cr_assert(f && fread(bytes, 1, HEADER, f) == HEADER);
    fclose(f);
    cr_assert_eq(bytes[N_TOKENS] + bytes[HAS_LOGITS], 0);
    for (int claim = 0; claim < 2; claim++) {
        size_t n = HEADER + (claim ? VOCAB * 4 : 0) + N_DATA;
        lk_sha256 h;
        bytes[HAS_LOGITS] = (uint8_t)claim;
        lk_sha256_init(&h);
        lk_sha256_bytes(&h, bytes, n);
        lk_sha256_final(&h, bytes + n);
        f = fopen(file, "wb");
        cr_assert(f && fwrite(bytes, 1, n + 32, f) == n + 32 && fclose(f) == 0);
        lk_status status = lk_session_load(s, file, &err);
        cr_assert_eq(status, claim ? LK_E_FORMAT : LK_OK, "%s", lk_status_name(status));
        cr_assert_null(lk_session_logits(s));
    }
    cr_assert(strstr(err.message, "logits"), "%s", err.message);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&model);
    unlink(file);
    rg_model_close(&m);
}

static void write_whole(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* A saved session goes into the model that made it, under any name, and into no other checkpoint:
 * one bit of any tensor is enough, the lowest of its last byte (of norms too). */
Test(regress, saved_with_other_weights)
{
    struct model_params p = rg_small("qwen3", LK_TYPE_Q8_0);
    struct rg_model m;
    lk_model *model;
    lk_engine *e;
    lk_session *s;
    lk_error err;
    const int32_t ids[3] = {5, 7, 9};
    uint8_t whole[32], other[32];
    rg_model_open(&m, &p, NULL, NULL);
    char copy[] = "/tmp/lockstep-copy-XXXXXX", file[] = "/tmp/lockstep-session-XXXXXX";
    int fds[2] = {mkstemp(copy), mkstemp(file)};
    cr_assert(fds[0] >= 0 && fds[1] >= 0 && close(fds[0]) == 0 && close(fds[1]) == 0);
    size_t n = (size_t)lk_model_file_bytes(m.model);
    uint8_t *bytes = malloc(n);
    FILE *f = fopen(m.path, "rb");
    cr_assert(bytes && f && fread(bytes, 1, n, f) == n && fclose(f) == 0);

    lk_engine_options o = rg_options(rg_scalar(), 64, 8);
    e = tiny_engine_with(m.path, &o, &model);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s, ids, 3, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_model_digest(model, NULL, whole, &err), LK_OK, "%s", err.message);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&model);

    int n_tensors = (int)lk_model_n_tensors(m.model);
    cr_assert_gt(n_tensors, 20);
    for (int i = -1; i < n_tensors; i++) { /* -1: a copy */
        lk_tensor_info t = {.name = "none", .name_len = 4};
        if (i >= 0) {
            lk_model_tensor(m.model, (size_t)i, &t);
            bytes[t.file_offset + t.n_bytes - 1] ^= 1;
        }
        write_whole(copy, bytes, n);
        e = tiny_engine_with(copy, &o, &model);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, 1, &err), LK_OK, "%s", err.message);
        lk_status status = lk_session_load(s, file, &err);
        rg_debug("a bit of %.*s: %s\n", (int)t.name_len, t.name, lk_status_name(status));
        cr_assert_eq(status, i < 0 ? LK_OK : LK_E_FORMAT, "%.*s: %s", (int)t.name_len, t.name,
                     lk_status_name(status));
        cr_assert_eq(lk_session_n_tokens(s), i < 0 ? 3 : 1);
        if (i >= 0) {
            char want[128];
            cr_assert_eq(lk_model_digest(model, NULL, other, &err), LK_OK);
            snprintf(want, sizeof want,
                     "weights' digest starts %02x%02x%02x%02x, this model's %02x%02x%02x%02x",
                     whole[0], whole[1], whole[2], whole[3], other[0], other[1], other[2],
                     other[3]);
            status = lk_session_load(s, file, &err);
            cr_assert(strstr(err.message, want), "%s, expected '%s'", err.message, want);
            bytes[t.file_offset + t.n_bytes - 1] ^= 1;
        }
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&model);
    }
    free(bytes);
    unlink(copy);
    unlink(file);
    rg_model_close(&m);
}

/* A key of the file that changes the result is read: which layers have the window. */
Test(regress, window_pattern_of_the_file)
{
    struct model_params p = rg_small("gemma3", LK_TYPE_Q8_0);
    struct rg_model m;
    p.n_layer = 4;
    p.set_key = "gemma3.attention.sliding_window_pattern";
    p.set_u32 = 2;
    rg_model_open(&m, &p, NULL, NULL);
    for (int layer = 0; layer < 4; layer++) {
        int window = rg_op(m.plan, LK_OP_ATTENTION, layer, 0)->u.attention.window;
        rg_debug("layer %d: window %d\n", layer, window);
        cr_assert_eq(window, layer % 2 ? 0 : 24, "layer %d has a window of %d", layer, window);
    }
    rg_model_close(&m);
    rg_everywhere(&p, NULL, NULL, 30, 25);
}

static void write_bases(struct gguf_build *b, const void *scale)
{
    gb_key_f32(b, "gemma3.rope.global.freq_base", 50000.0f);
    gb_key_f32(b, "gemma3.rope.local.freq_base", 20000.0f);
    if (scale) {
        gb_key_f32(b, "gemma3.logit_scale", *(const float *)scale);
    }
}

/* Every key of the architecture counts: under the names that another program writes too, and what
 * is not supported is refused. */
Test(regress, key_that_nobody_reads)
{
    struct model_params p = rg_small("gemma3", LK_TYPE_Q8_0);
    static const float scale = 0.25f;
    struct rg_model m;
    lk_model *model;
    lk_error err;
    struct gguf_build b;
    p.add_keys = write_bases;
    p.drop = "gemma3.rope.freq_base";
    rg_model_open(&m, &p, NULL, NULL);
    /* pairs are a half of 32 apart: the second turns by base^(-1/16) */
    double got[2] = {m.plan->ropes[0].inv_freq[1], m.plan->ropes[1].inv_freq[1]};
    rg_debug("base of rotation %g, local %g\n", pow(got[0], -16.0), pow(got[1], -16.0));
    cr_assert_float_eq(got[0], pow(50000.0, -1.0 / 16), 1e-12, "%g", pow(got[0], -16.0));
    cr_assert_float_eq(got[1], pow(20000.0, -1.0 / 16), 1e-12, "%g", pow(got[1], -16.0));
    rg_model_close(&m);
    p.keys = &scale;
    model_build(&b, &p);
    gb_save(&b, "/tmp/lockstep-regress-key.gguf");
    gb_free(&b);
    cr_assert_eq(lk_model_open("/tmp/lockstep-regress-key.gguf", &model, &err), LK_OK);
    lk_status status = lk_model_check(model, &err);
    cr_assert(status == LK_E_UNSUPPORTED && strstr(err.message, "gemma3.logit_scale"), "%s",
              status ? err.message : "no error");
    lk_model_close(&model);
    unlink("/tmp/lockstep-regress-key.gguf");
}

/* What peek needs of a run it keeps itself: the batch is the caller's and may be gone. */
Test(regress, peek_after_the_batch_is_gone)
{
    enum { N = 10 };
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[N];
    float rows[N * 96];
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 16);
    for (size_t w = 0; w < n_ways; w++) {
        struct rg_chain c;
        lk_error err;
        const struct rg_way *way = &ways[w];
        cr_assert_eq(rg_open(&c, &m, &way, NULL, 1, N, N, true, &err), LK_OK, "%s", err.message);
        for (int n = N; n >= 1; n -= N - 1) {
            rg_run(&c, ids, 0, n, rows);
            float *kept = rg_peek(&c, m.plan->out_slot, (size_t)n * 96);
            rg_same_rows(way->name, kept, rows, (size_t)n, 96);
            free(kept);
        }
        rg_close(&c);
    }
    rg_model_close(&m);
}
