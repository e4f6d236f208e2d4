/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress: see regress.h.
 */
#include "tests/regress/regress.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/device_list.h"
#include "cpu/detect.h"
#include "gguf/model_file.h"
#include "base/mem.h"
#include "base/numerics.h"
#include "tests/util/alone.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

/* ---- ways ---- */

static const char *variable(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && value[0] ? value : otherwise;
}

bool rg_debug_on(void)
{
    return strcmp(variable("LOCKSTEP_DEBUG", "0"), "0") != 0;
}

void rg_debug(const char *format, ...)
{
    va_list args;
    if (rg_debug_on()) {
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        fflush(stdout);
    }
}

static struct rg_way SCALAR = {.name = "scalar", .level = "auto"};
static struct rg_way REF[2] = {{.name = "ref", .level = "auto"},
                               {.name = "rounded", .level = "rounded"}};

const struct rg_way *rg_scalar(void)
{
    SCALAR.impl = lk_backend_find("scalar");
    return &SCALAR;
}

const struct rg_way *rg_ref(bool rounded)
{
    REF[rounded].impl = lk_backend_find("ref");
    return &REF[rounded];
}

static const char *device_name(void)
{
    const char *device = variable("LK_DEVICE", NULL);
    return device ? device : variable("VK_DRIVER_FILES", NULL) ? "0" : NULL;
}

size_t rg_ways(const struct rg_way **out)
{
    static struct rg_way ways[LK_CPU_LEVELS + 2];
    static size_t n;
    *out = ways;
    if (n > 0) {
        return n;
    }
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    bool device = vulkan && device_name();
    ways[n++] = *rg_scalar();
    for (int l = LK_CPU_GENERIC; l < LK_CPU_LEVELS; l++) {
        enum lk_cpu_level level = (enum lk_cpu_level)l;
        if (lk_cpu_has(level, NULL) == LK_CPU_HAS && (!device || level == lk_cpu_best())) {
            const char *name = lk_cpu_level_name(level);
            ways[n++] = (struct rg_way){name, lk_backend_find("cpu"), name, false};
        }
    }
    if (device) {
        ways[n++] = (struct rg_way){"vulkan", vulkan, "auto", true};
    }
    return n;
}

const struct rg_way *rg_vulkan(void)
{
    const struct rg_way *ways;
    size_t n = rg_ways(&ways);
    return ways[n - 1].is_device ? &ways[n - 1] : NULL;
}

static int threads(void)
{
    return atoi(variable("LK_THREADS", "2"));
}

static bool fuse(void)
{
    return strcmp(variable("LK_FUSE", "1"), "0") != 0;
}

struct lk_backend *rg_backend(const struct rg_way *way)
{
    static struct {
        const char *name;
        struct lk_backend *backend;
    } open[LK_CPU_LEVELS + 4];
    size_t i = 0;
    while (open[i].backend && strcmp(open[i].name, way->name) != 0) {
        i++;
    }
    if (!open[i].backend) {
        struct lk_device device;
        struct lk_backend_options o = {.threads = threads(),
                                       .threads_batch = threads(),
                                       .cpu_level = way->level,
                                       .vk_disable = variable("LK_DISABLE", NULL),
                                       .cache_dir = variable("LK_TEST_CACHE", NULL)};
        struct lk_caps caps;
        lk_error err;
        if (way->is_device) {
            cr_assert_eq(lk_device_one(way->impl, &o, device_name(), &device, &err), LK_OK, "%s",
                         err.message);
            o.device = &device.id;
        }
        int turn = way->is_device ? alone_begin() : -1;
        cr_assert_eq(way->impl->open(&o, &open[i].backend, &caps, &err), LK_OK, "%s", err.message);
        alone_end(turn);
        open[i].name = way->name;
        rg_debug("way %s: %s\n", way->name, caps.describe);
    }
    return open[i].backend;
}

lk_engine_options rg_options(const struct rg_way *way, uint32_t n_ctx, uint32_t n_batch)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = way->impl->name;
    o.cpu_level = way->level;
    o.device = way->is_device ? device_name() : NULL;
    o.gpu_layers = LK_GPU_LAYERS_ALL;
    o.vk_disable = variable("LK_DISABLE", NULL);
    o.cache_dir = variable("LK_TEST_CACHE", NULL);
    o.threads = o.threads_batch = threads();
    o.fuse = fuse();
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    return o;
}

/* ---- models ---- */

struct model_params rg_small(const char *arch, enum lk_type type)
{
    struct model_params p = model_params_default(arch, type, 5);
    p.n_embd = 64;
    p.n_ff = 96;
    p.n_head = 4;
    p.n_kv_head = 2;
    p.head_dim = p.n_rot = 32;
    p.n_vocab = 96;
    return p;
}

void rg_model_open(struct rg_model *m, const struct model_params *p, rg_edit_fn edit, void *user)
{
    lk_error err;
    struct gguf_build b = {0};
    *m = (struct rg_model){.path = "/tmp/lockstep-regress-XXXXXX"};
    int fd = mkstemp(m->path);
    cr_assert(fd >= 0);
    close(fd);
    model_build(&b, p);
    gb_save(&b, m->path);
    cr_assert_eq(lk_model_open(m->path, &m->model, &err), LK_OK, "%s", err.message);
    if (edit) {
        for (size_t i = 0; i < lk_model_n_tensors(m->model); i++) {
            lk_tensor_info t;
            char name[96];
            lk_model_tensor(m->model, i, &t);
            snprintf(name, sizeof name, "%.*s", (int)t.name_len, t.name);
            edit(user, name, b.data + t.file_offset, t.n_bytes);
        }
        lk_model_close(&m->model);
        gb_save(&b, m->path);
        cr_assert_eq(lk_model_open(m->path, &m->model, &err), LK_OK, "%s", err.message);
    }
    gb_free(&b);
    cr_assert_eq(lk_plan_build(m->model->gguf, &m->plan, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_plan_set_kv(m->plan, p->kv, &err), LK_OK, "%s", err.message);
}

void rg_model_close(struct rg_model *m)
{
    lk_plan_free(&m->plan);
    lk_model_close(&m->model);
    unlink(m->path);
}

const struct lk_op *rg_op(const struct lk_plan *plan, enum lk_op_kind kind, int layer, int n)
{
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].kind == kind && plan->ops[i].layer == layer && n-- == 0) {
            return &plan->ops[i];
        }
    }
    cr_assert(false, "no such op: %s of layer %d", lk_op_name(kind), layer);
    return NULL;
}

/* ---- chains ---- */

static lk_status open_part(struct rg_chain *c, int i, const struct rg_way *way, int first, int last,
                           bool keep, lk_error *err)
{
    const struct lk_plan *plan = c->m->plan;
    struct lk_backend *backend = rg_backend(way);
    c->part[i].way = way;
    if (c->n_parts > 1) {
        cr_assert_eq(lk_plan_slice(plan, lk_stage_of(first), lk_stage_of(last), first == 0,
                                   last == plan->n_layer, &c->part[i].slice, err),
                     LK_OK, "%s", err->message);
    }
    c->part[i].last_layer = last;
    struct lk_state_geom geom = {.plan = c->part[i].slice ? c->part[i].slice : plan,
                                 .n_blocks = c->n_blocks + 1,
                                 .n_slots = 1};
    struct lk_exec_options o = {.plan = geom.plan,
                                .max_tokens = c->n_batch,
                                .max_outputs = c->n_batch,
                                .max_seqs = 1,
                                .max_blocks = c->n_blocks,
                                .keep_ops = keep,
                                .fuse = fuse()};
    lk_status status = way->impl->prepare(backend, &o, &c->part[i].exec, err);
    if (!status) {
        cr_assert_eq(way->impl->state_alloc(backend, &geom, &c->part[i].states, err), LK_OK, "%s",
                     err->message);
    }
    return status;
}

lk_status rg_open(struct rg_chain *c, const struct rg_model *m, const struct rg_way *const *way,
                  const int *cut, int n_parts, int n_ctx, int n_batch, bool keep, lk_error *err)
{
    *c = (struct rg_chain){.m = m,
                           .n_parts = n_parts,
                           .n_ctx = n_ctx,
                           .n_batch = n_batch,
                           .n_blocks = (n_ctx + LK_KV_BLOCK - 1) / LK_KV_BLOCK};
    cr_assert(n_parts <= RG_PARTS && c->n_blocks < RG_BLOCKS);
    for (int i = 0; i < c->n_blocks; i++) {
        c->blocks[i] = c->n_blocks - i;
    }
    for (int i = 0; i < n_parts; i++) {
        size_t at = strlen(c->name);
        int first = i ? cut[i - 1] : 0, last = i + 1 < n_parts ? cut[i] : m->plan->n_layer;
        snprintf(c->name + at, sizeof c->name - at, "%s%s", i ? "+" : "", way[i]->name);
        lk_status status = open_part(c, i, way[i], first, last, keep, err);
        if (status) {
            rg_close(c);
            return status;
        }
    }
    return LK_OK;
}

void rg_open_one(struct rg_chain *c, const struct rg_model *m, const struct rg_way *way, int n_ctx,
                 int n_batch)
{
    lk_error err;
    cr_assert_eq(rg_open(c, m, &way, NULL, 1, n_ctx, n_batch, false, &err), LK_OK, "%s",
                 err.message);
}

void rg_close(struct rg_chain *c)
{
    for (int i = 0; i < c->n_parts; i++) {
        if (c->part[i].exec) {
            c->part[i].way->impl->exec_free(c->part[i].exec);
        }
        if (c->part[i].states) {
            c->part[i].way->impl->state_free(c->part[i].states);
        }
        lk_plan_free(&c->part[i].slice);
    }
    *c = (struct rg_chain){0};
}

static lk_status run_batch(struct rg_chain *c, const int32_t *ids, int first, int n, float *rows,
                           float *hidden[2], lk_error *err)
{
    int32_t *index = malloc(3 * (size_t)n * sizeof *index), *pos = index + n, *seq = pos + n;
    cr_assert(index);
    for (int i = 0; i < n; i++) {
        index[i] = i;
        pos[i] = first + i;
        seq[i] = 0;
    }
    struct lk_batch_seq s = {.blocks = c->blocks, .n_tokens = n, .pos = first};
    static struct lk_batch b; /* cleared after each run: then it is the caller's again */
    lk_status status = LK_OK;
    for (int i = 0; i < c->n_parts && !status; i++) {
        b = (struct lk_batch){.n_tokens = n,
                              .token = ids,
                              .pos = pos,
                              .seq = seq,
                              .n_seqs = 1,
                              .seqs = &s,
                              .n_outputs = n,
                              .outputs = index,
                              .hidden_in = i ? hidden[(i - 1) % 2] : NULL,
                              .out = i + 1 < c->n_parts ? hidden[i % 2] : rows};
        status = c->part[i].way->impl->run(c->part[i].exec, c->part[i].states, &b, err);
        memset(&b, 0, sizeof b);
    }
    memset(index, 0xA5, 3 * (size_t)n * sizeof *index);
    free(index);
    return status;
}

lk_status rg_try(struct rg_chain *c, const int32_t *ids, int pos, int n, float *rows, lk_error *err)
{
    size_t width = (size_t)c->m->plan->n_embd * (size_t)c->n_batch;
    size_t n_vocab = (size_t)c->m->plan->n_vocab;
    float *hidden[2] = {malloc(width * sizeof(float)), malloc(width * sizeof(float))};
    cr_assert(hidden[0] && hidden[1] && pos + n <= c->n_ctx);
    lk_status status = LK_OK;
    for (int i = 0; i < n && !status; i += c->n_batch) {
        int count = n - i < c->n_batch ? n - i : c->n_batch;
        status = run_batch(c, ids + i, pos + i, count, rows + (size_t)i * n_vocab, hidden, err);
    }
    free(hidden[0]);
    free(hidden[1]);
    return status;
}

void rg_run(struct rg_chain *c, const int32_t *ids, int pos, int n, float *rows)
{
    lk_error err;
    cr_assert_eq(rg_try(c, ids, pos, n, rows, &err), LK_OK, "%s: %s", c->name, err.message);
}

float *rg_peek(struct rg_chain *c, int slot, size_t n)
{
    lk_error err;
    float *x = malloc(n * sizeof *x);
    cr_assert(x && c->n_parts == 1);
    memset(x, 0xA5, n * sizeof *x);
    cr_assert_eq(c->part[0].way->impl->peek(c->part[0].exec, slot, x, n, &err), LK_OK, "%s",
                 err.message);
    return x;
}

/* ---- the cache ---- */

static int part_of(const struct rg_chain *c, int state)
{
    int i = 0;
    while (c->m->plan->states[state].layer >= c->part[i].last_layer) {
        i++;
    }
    return i;
}

static size_t state_bytes(const struct rg_chain *c, int state)
{
    const struct lk_state *s = &c->m->plan->states[state];
    return (size_t)(lk_state_is_paged(s) ? c->n_blocks + 1 : 1) * lk_state_unit_bytes(s);
}

uint8_t *rg_cache(struct rg_chain *c, int state, size_t *n)
{
    int i = part_of(c, state);
    lk_error err;
    *n = state_bytes(c, state);
    uint8_t *bytes = malloc(*n);
    cr_assert(bytes);
    cr_assert_eq(c->part[i].way->impl->state_read(c->part[i].states, state, 0, bytes, *n, &err),
                 LK_OK, "%s", err.message);
    return bytes;
}

void rg_cache_write(struct rg_chain *c, int state, const uint8_t *bytes)
{
    int i = part_of(c, state);
    lk_error err;
    cr_assert_eq(c->part[i].way->impl->state_write(c->part[i].states, state, 0, bytes,
                                                   state_bytes(c, state), &err),
                 LK_OK, "%s", err.message);
}

void rg_move(struct rg_chain *from, struct rg_chain *to)
{
    for (int s = 0; s < from->m->plan->n_states; s++) {
        size_t n, m;
        uint8_t *bytes = rg_cache(from, s, &n);
        uint8_t *other = rg_cache(to, s, &m);
        bool paged = lk_state_is_paged(&from->m->plan->states[s]);
        size_t block = paged ? rg_cell(from, s, 1, 0, 0, 0).high : 0;
        if (!paged) {
            memcpy(other, bytes, n);
        }
        for (int b = 0; paged && b < from->n_blocks && b < to->n_blocks; b++) {
            memcpy(other + (size_t)to->blocks[b] * block, bytes + (size_t)from->blocks[b] * block,
                   block);
        }
        rg_cache_write(to, s, other);
        free(bytes);
        free(other);
    }
}

struct rg_cell rg_cell(const struct rg_chain *c, int state, int block, int head, int slot, int d)
{
    const struct lk_state *s = &c->m->plan->states[state];
    size_t dim = (size_t)(s->head_dim + 31) / 32 * 32, i = (size_t)d, j = (size_t)slot;
    size_t scales = dim * 64 * (size_t)s->bits / 8;
    size_t at = ((size_t)block * (size_t)s->n_head + (size_t)head) * (scales + 64 * 4);
    struct rg_cell cell = {.scale = at + scales + j * 4};
    if (s->kind == LK_STATE_V) {
        cell.high = cell.low = at + j / 4 * dim * 4 + i * 4 + j % 4;
        return cell;
    }
    cell.high = cell.low = at + i / 4 * 256 + j * 4 + i % 4;
    if (s->bits == 12) {
        cell.low = at + dim * 64 + i / 8 * 256 + j * 4 + i % 4;
        cell.shift = i % 8 < 4 ? 0 : 4;
    }
    return cell;
}

int rg_integer(const uint8_t *bytes, const struct rg_cell *at)
{
    int high = (int8_t)bytes[at->high];
    return at->low == at->high ? high : high * 16 + (bytes[at->low] >> at->shift & 15);
}

float rg_scale(const uint8_t *bytes, const struct rg_cell *at)
{
    float scale;
    memcpy(&scale, bytes + at->scale, sizeof scale);
    return scale;
}

void rg_copy_cell(uint8_t *to, const uint8_t *from, const struct rg_cell *at)
{
    if (at->low != at->high) {
        int half = 15 << at->shift;
        to[at->low] = (uint8_t)((to[at->low] & ~half) | (from[at->low] & half));
    }
    to[at->high] = from[at->high];
    memcpy(to + at->scale, from + at->scale, sizeof(float));
}

/* ---- comparing ---- */

static size_t first_bad(const float *got, const float *want, size_t n)
{
    size_t i = 0;
    while (i < n && lk_bits(got[i]) == lk_bits(want[i])) {
        i++;
    }
    return i;
}

void rg_same_rows(const char *what, const float *got, const float *want, size_t n_rows,
                  size_t width)
{
    bool same = first_bad(got, want, n_rows * width) == n_rows * width;
    if (same && !rg_debug_on()) {
        return;
    }
    printf("%s: logits\n", what);
    for (size_t r = 0; r < n_rows; r++) {
        const float *g = got + r * width, *w = want + r * width;
        size_t bad = first_bad(g, w, width);
        if (bad == width) {
            printf("  position %zu: MATCH\n", r);
        } else {
            printf("  position %zu: DIFF, first bad index %zu: %a, expected %a\n", r, bad,
                   (double)g[bad], (double)w[bad]);
        }
    }
    fflush(stdout);
    cr_assert(same, "%s: logits differ", what);
}

/* Where cells lie as the code has it against the written layout, in bytes. */
static void show_strides(const struct rg_chain *c, int state)
{
    const struct lk_state *s = &c->m->plan->states[state];
    size_t dim = (size_t)s->dim, bits = (size_t)s->bits, nh = (size_t)s->n_head;
    size_t is[6] = {LK_KV_HEAD_AT((size_t)1, (size_t)0, nh, dim, bits),
                    LK_KV_HEAD_AT((size_t)0, (size_t)1, nh, dim, bits),
                    LK_KV_K_HIGH((size_t)4, (size_t)0),
                    LK_KV_K_HIGH((size_t)0, (size_t)4),
                    bits == LK_KV_K_BITS ? LK_KV_K_LOW(dim, (size_t)0, (size_t)0) : 0,
                    LK_KV_SCALE_AT(dim, bits, (size_t)0)};
    if (s->kind == LK_STATE_V) {
        is[2] = LK_KV_V_AT(dim, (size_t)4, (size_t)0);
        is[3] = LK_KV_V_AT(dim, (size_t)0, (size_t)4);
    }
    struct rg_cell first = rg_cell(c, state, 0, 0, 0, 0);
    size_t want[6] = {rg_cell(c, state, 1, 0, 0, 0).high,
                      rg_cell(c, state, 0, 1, 0, 0).high,
                      rg_cell(c, state, 0, 0, 0, 4).high,
                      rg_cell(c, state, 0, 0, 4, 0).high,
                      first.low,
                      first.scale};
    bool contiguous = true;
    for (int i = 0; i < 6; i++) {
        is[i] *= sizeof(uint32_t);
        contiguous &= is[i] == want[i];
    }
    printf("  %s layer %d: contiguous: %s; bytes from block to block %zu, head %zu, 4 d %zu, "
           "4 positions %zu; low halves at %zu, scales at %zu",
           lk_state_name(s), s->layer, contiguous ? "yes" : "NO", is[0], is[1], is[2], is[3], is[4],
           is[5]);
    printf(contiguous ? "\n" : "; expected %zu, %zu, %zu, %zu; %zu, %zu\n", want[0], want[1],
           want[2], want[3], want[4], want[5]);
}

static void show_cells(const struct rg_chain *c, int state, const uint8_t *got, const uint8_t *want,
                       int n)
{
    const struct lk_state *s = &c->m->plan->states[state];
    for (int pos = 0; pos < n; pos++) {
        for (int h = 0; h < s->n_head; h++) {
            struct rg_cell at = rg_cell(c, state, c->blocks[pos / 64], h, pos % 64, 0);
            uint32_t scale = lk_bits(rg_scale(got, &at)), scale_want = lk_bits(rg_scale(want, &at));
            int d = 0;
            for (; d < s->dim; d++) {
                at = rg_cell(c, state, c->blocks[pos / 64], h, pos % 64, d);
                if (rg_integer(got, &at) != rg_integer(want, &at)) {
                    break;
                }
            }
            if (d < s->dim) {
                printf("    %s[%d, %d, *]: DIFF, first bad index %d: %d, expected %d",
                       lk_state_name(s), h, pos, d, rg_integer(got, &at), rg_integer(want, &at));
            } else {
                printf("    %s[%d, %d, *]: %s", lk_state_name(s), h, pos,
                       scale == scale_want ? "MATCH" : "DIFF");
            }
            printf(scale == scale_want ? "\n" : "; scale %08x, expected %08x\n", scale, scale_want);
        }
    }
}

void rg_same_cache(const char *what, struct rg_chain *got, struct rg_chain *want, int n)
{
    lk_error err;
    bool all = true;
    for (int s = 0; s < got->m->plan->n_states && all; s++) {
        const struct lk_state *state = &got->m->plan->states[s];
        size_t n_got, n_want;
        uint8_t *x = rg_cache(got, s, &n_got);
        uint8_t *y = rg_cache(want, s, &n_want);
        bool same = n_got == n_want && memcmp(x, y, n_got) == 0;
        if ((!same || rg_debug_on()) && lk_state_is_paged(state)) {
            printf("%s: cache\n", what);
            show_strides(got, s);
            show_cells(got, s, x, y, n);
            fflush(stdout);
        }
        for (size_t i = 0; i < n_got && i < n_want && !same; i++) {
            cr_expect(x[i] == y[i],
                      "%s: %s layer %d: byte %zu of the buffer is %02x, expected %02x", what,
                      lk_state_name(state), state->layer, i, x[i], y[i]);
            if (x[i] != y[i]) {
                break;
            }
        }
        all &= same;
        free(x);
        free(y);
    }
    cr_assert(all, "%s: the caches differ", what);
    for (int i = 0; i < got->n_parts; i++) {
        cr_assert_eq(got->part[i].way->impl->state_check(got->part[i].states, &err), LK_OK,
                     "%s: %s", what, err.message);
    }
}

void rg_same_row(const struct rg_chain *c, int state, int pos, int h, const uint8_t *bytes,
                 const float *row)
{
    const struct lk_state *s = &c->m->plan->states[state];
    int most = s->kind == LK_STATE_K ? 1807 : 127;
    double a = 0;
    for (int d = 0; d < s->head_dim; d++) {
        a = fmax(a, fabs((double)row[d]));
    }
    for (int d = 0; d < s->head_dim; d++) {
        struct rg_cell at = rg_cell(c, state, c->blocks[pos / 64], h, pos % 64, d);
        double got = (double)rg_scale(bytes, &at) * rg_integer(bytes, &at);
        cr_assert_leq(fabs(got - (double)row[d]), a / most * TOL_CELL,
                      "%s: %s[%d, %d, %d] of layer %d: %g (%d), its row has %g", c->name,
                      lk_state_name(s), h, pos, d, s->layer, got, rg_integer(bytes, &at),
                      (double)row[d]);
    }
}

/* ---- everywhere ---- */

/* Prefill of `first` tokens on a, the rest one by one on b. */
static void across(const struct rg_model *m, const struct rg_way *a, const struct rg_way *b,
                   const int32_t *ids, int n, int first, const float *want, struct rg_chain *cache)
{
    size_t n_vocab = (size_t)m->plan->n_vocab;
    float *rows = malloc((size_t)n * n_vocab * sizeof *rows);
    char what[128];
    snprintf(what, sizeof what, "prefill of %d on %s, decode on %s", first, a->name, b->name);
    struct rg_chain one, other;
    rg_open_one(&one, m, a, n, n);
    rg_run(&one, ids, 0, first, rows);
    if (a != b) {
        rg_open_one(&other, m, b, n, 1);
        rg_move(&one, &other);
        rg_close(&one);
        one = other;
    }
    for (int t = first; t < n; t++) {
        rg_run(&one, ids + t, t, 1, rows + (size_t)t * n_vocab);
    }
    rg_same_rows(what, rows, want, (size_t)n, n_vocab);
    rg_same_cache(what, &one, cache, n);
    rg_close(&one);
    free(rows);
}

void rg_everywhere(const struct model_params *p, rg_edit_fn edit, void *user, int n, int prefill)
{
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct rg_model m;
    struct rg_chain want, c;
    int32_t ids[512];
    cr_assert(n <= 448);
    rg_model_open(&m, p, edit, user);
    size_t n_vocab = (size_t)m.plan->n_vocab;
    tiny_tokens(ids, (size_t)n, n_vocab, 11);
    float *expected = malloc((size_t)n * n_vocab * sizeof *expected);
    float *rows = malloc((size_t)n * n_vocab * sizeof *rows);
    rg_open_one(&want, &m, &ways[0], n, n);
    rg_run(&want, ids, 0, n, expected);
    for (size_t w = 0; w < n_ways; w++) {
        int batch[] = {n, 7};
        for (size_t i = w ? 0 : 1; i < LK_COUNT(batch); i++) {
            char what[128];
            snprintf(what, sizeof what, "%s %s: %d tokens in batches of %d on %s", p->arch,
                     lk_type_name(p->type), n, batch[i], ways[w].name);
            rg_open_one(&c, &m, &ways[w], n, batch[i]);
            rg_run(&c, ids, 0, n, rows);
            rg_same_rows(what, rows, expected, (size_t)n, n_vocab);
            rg_same_cache(what, &c, &want, n);
            rg_close(&c);
        }
        across(&m, &ways[w], &ways[w], ids, n, prefill, expected, &want);
        if (w > 0) {
            across(&m, &ways[0], &ways[w], ids, n, prefill, expected, &want);
            across(&m, &ways[w], &ways[w - 1], ids, n, prefill, expected, &want);
        }
    }
    rg_close(&want);
    free(expected);
    free(rows);
    rg_model_close(&m);
}

double rg_distance(const struct rg_model *m, int n, double *rms)
{
    size_t n_vocab = (size_t)m->plan->n_vocab;
    int32_t ids[512];
    double worst = 0, sum = 0;
    float *rows[2];
    tiny_tokens(ids, (size_t)n, n_vocab, 11);
    for (int i = 0; i < 2; i++) {
        struct rg_chain c;
        rows[i] = malloc((size_t)n * n_vocab * sizeof *rows[i]);
        rg_open_one(&c, m, i ? rg_ref(false) : rg_scalar(), n, n);
        rg_run(&c, ids, 0, n, rows[i]);
        rg_close(&c);
    }
    for (size_t t = 0; t < (size_t)n; t++) {
        double e = tiny_row_error(rows[0] + t * n_vocab, rows[1] + t * n_vocab, n_vocab, &sum);
        rg_debug("  position %zu: %.2e of the row's deviation from the reference\n", t, e);
        worst = fmax(worst, e);
    }
    free(rows[0]);
    free(rows[1]);
    *rms = sqrt(sum / (double)((size_t)n * n_vocab));
    return worst;
}
