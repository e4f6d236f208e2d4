/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts: see parts.h.
 */
#include "tests/util/parts.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/util/model_build.h"
#include "tests/util/tiny.h"

/* ---- parts of a lane ---- */

static struct wrapped {
    const struct lk_backend_impl *real;
    struct lk_backend_impl impl;
    struct lk_exec *exec;
    struct lk_state_mem *states;
    int n_runs;
    _Atomic bool dead;
} wrapped[PARTS_MOST];
static parts_fn hook;
static void *hook_user;

static lk_status dead(lk_error *err)
{
    return lk_fail(err, LK_E_DEVICE_LOST, "the device was lost");
}

static lk_status run(struct lk_exec *exec, struct lk_state_mem *mem, const struct lk_batch *batch,
                     lk_error *err)
{
    int i = 0;
    while (wrapped[i].exec != exec) {
        i++;
    }
    struct wrapped *w = &wrapped[i];
    lk_status status = w->dead ? dead(err) : hook(hook_user, i, w->n_runs++, batch, err);
    w->dead |= status == LK_E_DEVICE_LOST;
    return status ? status : w->real->run(exec, mem, batch, err);
}

static struct wrapped *of_states(const struct lk_state_mem *mem)
{
    int i = 0;
    while (wrapped[i].states != mem) {
        i++;
    }
    return &wrapped[i];
}

static lk_status state_read(struct lk_state_mem *mem, int state, size_t offset, void *data,
                            size_t n, lk_error *err)
{
    struct wrapped *w = of_states(mem);
    return w->dead ? dead(err) : w->real->state_read(mem, state, offset, data, n, err);
}

static lk_status state_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                             size_t n, lk_error *err)
{
    struct wrapped *w = of_states(mem);
    return w->dead ? dead(err) : w->real->state_write(mem, state, offset, data, n, err);
}

void parts_wrap(struct lk_lane *lane, parts_fn before, void *user)
{
    cr_assert_leq(lane->n_parts, PARTS_MOST);
    hook = before;
    hook_user = user;
    for (int i = 0; i < lane->n_parts; i++) {
        struct lk_part *part = &lane->part[i];
        struct wrapped *w = &wrapped[i];
        w->real = part->impl;
        w->impl = *part->impl;
        w->impl.run = run;
        w->impl.state_read = state_read;
        w->impl.state_write = state_write;
        w->exec = part->exec;
        w->states = part->states;
        w->n_runs = 0;
        w->dead = false;
        part->impl = &w->impl;
    }
}

void parts_kill(int part)
{
    wrapped[part].dead = true;
}

/* ---- splits ---- */

/* cut[i]: the layer that part i + 1 begins with. */
static void tell(int n_layer, int n_parts, const int *cut, int number, const char *const *backends,
                 int n_backends, split_fn each, void *user)
{
    char text[PARTS_MOST * 64] = "";
    for (int i = 0; i < n_parts; i++) {
        int first = i ? cut[i - 1] : 0, last = i + 1 < n_parts ? cut[i] : n_layer;
        const char *backend = backends[(number + i * (1 + number % n_backends)) % n_backends];
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s:%d-%d", i ? "," : "",
                 backend, first, last - 1);
    }
    each(user, text);
}

void parts_each_split(int n_layer, int n_parts, const char *const *backends, int n_backends,
                      split_fn each, void *user)
{
    int cut[PARTS_MOST], n = n_parts - 1, number = 0;
    cr_assert(n_parts >= 1 && n_parts <= PARTS_MOST && n_parts <= n_layer);
    for (int i = 0; i < n; i++) {
        cut[i] = i + 1;
    }
    for (bool more = true; more;) {
        tell(n_layer, n_parts, cut, number++, backends, n_backends, each, user);
        int i = n - 1;
        while (i >= 0 && cut[i] == n_layer - n + i) {
            i--;
        }
        more = i >= 0;
        for (int k = i; more && k < n; k++) {
            cut[k] = k == i ? cut[i] + 1 : cut[k - 1] + 1;
        }
    }
}

static void make_model(const char *arch, char *path, int n_layer, int n_ctx)
{
    struct model_params p = model_params_default(arch, LK_TYPE_Q8_0, 21);
    struct gguf_build b;
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    p.n_layer = n_layer;
    p.n_embd = 64;
    p.n_ff = 96;
    p.n_head = 4;
    p.n_kv_head = 2;
    p.head_dim = p.n_rot = 32;
    p.n_vocab = 96;
    p.n_ctx = n_ctx;
    p.n_side = p.n_side ? 32 : 0;
    model_build(&b, &p);
    gb_save(&b, path);
    gb_free(&b);
}

void parts_model(char *path, int n_layer, int n_ctx)
{
    make_model("llama", path, n_layer, n_ctx);
}

/* ---- what lanes are compared with ---- */

static const char TEMPLATE[] = "/tmp/lk-lanes-XXXXXX";
char parts_path[sizeof TEMPLATE];
int32_t parts_ids[PARTS_N];
float *parts_rows;

static void set_up(const char *arch)
{
    lk_model *m;
    memcpy(parts_path, TEMPLATE, sizeof TEMPLATE);
    make_model(arch, parts_path, PARTS_LAYERS, PARTS_MODEL_CTX);
    tiny_tokens(parts_ids, PARTS_N, PARTS_VOCAB, 3);
    lk_engine *e = tiny_engine(parts_path, "scalar", PARTS_CTX, PARTS_N, 1, &m);
    parts_rows = tiny_rows(e, parts_ids, PARTS_N);
    lk_engine_close(&e);
    lk_model_close(&m);
}

void parts_set_up(void)
{
    set_up("llama");
}

void parts_set_up_side(void)
{
    set_up("gemma4");
}

void parts_tear_down(void)
{
    unlink(parts_path);
    free(parts_rows);
}

void parts_check_rows(lk_engine *engine, const char *what)
{
    float *got = tiny_rows(engine, parts_ids, PARTS_N);
    tiny_same(got, parts_rows, (size_t)PARTS_N * PARTS_VOCAB, what);
    free(got);
}

void parts_move_on(void *user, const char *placement)
{
    struct parts_mover *m = user;
    lk_error err;
    size_t n = lk_session_n_tokens(m->s), step = m->n_moves % 3 ? 1 : 37;
    if (n + step > PARTS_N) {
        cr_assert_eq(lk_session_truncate(m->s, n = 0, &err), LK_OK);
    }
    cr_assert_eq(lk_session_move(m->s, placement, &err), LK_OK, "%s: %s", placement, err.message);
    cr_assert_eq(lk_session_sync(m->s, parts_ids, n + step, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(m->s), parts_rows + (n + step - 1) * PARTS_VOCAB, PARTS_VOCAB,
              placement);
    m->n_moves++;
}
