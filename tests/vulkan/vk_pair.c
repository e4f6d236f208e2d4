/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pair: see vk_pair.h.
 */
#include "tests/vulkan/vk_pair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device_list.h"
#include "base/mem.h"
#include "base/numerics.h"
#include "vulkan/vk.h"
#include "tests/util/alone.h"
#include "tests/util/cells.h"
#include "tests/util/models.h"

enum { MAX_DEVICES = 4 };
static struct {
    const char *disable;
    struct lk_backend *backend;
} devices[MAX_DEVICES];

const struct lk_device_id *vk_pair_id(void)
{
    static struct lk_device first;
    struct lk_backend_options o = {0};
    lk_error err;
    cr_assert_eq(lk_device_one(&lk_backend_vulkan, &o, "0", &first, &err), LK_OK, "%s",
                 err.message);
    return &first.id;
}

/* A device whose every kernel is compared by bits needs no probe of them: where compiling takes
 * long, it is opened as it was found, with LK_FULL=1 only one without some features. */
static struct lk_backend *open_device(const char *disable)
{
    struct lk_backend_options o = {.device = vk_pair_id(),
                                   .vk_disable = disable,
                                   .cache_dir = getenv("LK_TEST_CACHE")};
    struct lk_backend *b = NULL;
    struct lk_caps caps;
    lk_error err;
    if (vk_pair_turns() || (*disable && vk_pair_few())) {
        b = lk_alloc(sizeof *b);
        cr_assert(b);
        cr_assert_eq(lk_vk_device_open(&o, &b->dev, &err), LK_OK, "%s", err.message);
        b->options = o;
        return b;
    }
    int turn = alone_begin();
    cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_OK, "%s", err.message);
    alone_end(turn);
    return b;
}

struct lk_backend *vk_pair_device(const char *disable)
{
    for (int i = 0; i < MAX_DEVICES; i++) {
        if (devices[i].backend && strcmp(devices[i].disable, disable) == 0) {
            return devices[i].backend;
        }
        if (!devices[i].backend) {
            devices[i].backend = open_device(disable);
            devices[i].disable = disable;
            return devices[i].backend;
        }
    }
    cr_assert(false, "more than %d kinds of devices", MAX_DEVICES);
    return NULL;
}

void vk_pair_close(void)
{
    for (int i = 0; i < MAX_DEVICES; i++) {
        if (devices[i].backend) {
            lk_backend_vulkan.close(devices[i].backend);
            devices[i].backend = NULL;
        }
    }
}

static bool driver_is(const char *name)
{
    const char *driver = getenv("LK_TEST_DRIVER");
    return driver && (!name || strcmp(driver, name) == 0);
}

bool vk_pair_few(void)
{
    return driver_is("swiftshader") || (driver_is(NULL) && !test_is_full());
}

bool vk_pair_turns(void)
{
    return vk_pair_few() && !test_is_full();
}

bool vk_pair_samples(void)
{
    return driver_is("swiftshader") && !test_is_full();
}

bool vk_pair_validates(void)
{
    return driver_is("validation");
}

bool vk_pair_row(size_t row)
{
    return !driver_is(NULL) || test_is_full() ||
           (row + test_turn()) % (driver_is("swiftshader") ? 4 : 3) == 0;
}

bool vk_pair_leaves(const char *what)
{
    if (vk_pair_samples()) {
        printf("not run: %s on SwiftShader: LK_FULL=1\n", what);
    }
    return vk_pair_samples();
}

bool vk_pair_skips(size_t a, size_t b)
{
    return (a + b + test_turn()) % (test_is_full() ? 3 : 4) != 0 && vk_pair_few();
}

void vk_rng_floats(struct rng *r, float *x, size_t n, int scale)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = rng_u32(r), kind = u % 64;
        int e = 127 + scale - 1 - (int)(rng_u32(r) % 12);
        if (kind == 0) {
            x[i] = 0.0f;
            continue;
        }
        if (kind == 1) {
            e = 127 - 50 + (int)(u >> 20) % 2; /* at the flush limit */
        } else if (kind == 2) {
            u &= ~0x000fffffu; /* few bits: ties */
        }
        x[i] = lk_flt((u & 0x807fffffu) | (uint32_t)e << 23);
    }
}

void vk_rng_weight(struct rng *r, enum lk_type type, int64_t rows, int64_t cols,
                   struct lk_weight *out)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    size_t n = (size_t)(rows * cols), bytes = lk_type_row_bytes(type, n);
    uint8_t *p = malloc(bytes + 8);
    *out =
        (struct lk_weight){.type = type, .rows = rows, .cols = cols, .data = p, .n_bytes = bytes};
    snprintf(out->name, sizeof out->name, "%s", info->name);
    if (type == LK_TYPE_F32) {
        vk_rng_floats(r, (float *)(void *)p, n, 1);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        uint32_t u = rng_u32(r);
        p[i] = (uint8_t)(u >> 8);
        if (u % 97 == 0) {
            p[i] = u & 64 ? 0x80 : 0xff; /* extremes: -128, full nibbles */
        }
    }
    if (!info->quantized) {
        for (size_t i = 0; i < n; i++) { /* below 2 in magnitude, subnormals included */
            p[2 * i + 1] &= 0xbf;
        }
        return;
    }
    for (size_t b = 0; b < n / (size_t)info->block; b++) {
        for (int s = 0; s < info->n_scales; s++) {
            /* what a layer stacks up stays in range */
            lk_block_small_scale(info, p + b * (size_t)info->block_bytes, s, rng_u32(r) % 29 == 0);
        }
    }
}

struct side {
    const struct lk_backend_impl *impl;
    struct lk_backend *backend;
    struct lk_exec *exec;
    struct lk_state_mem *states;
};

enum { FEW_BLOCKS = 8, MAX_BLOCKS = 72 };

/* Blocks of a sequence: few, but where a case reaches behind them. */
static int blocks_of(const struct vk_case *c)
{
    return c->pos0 + c->n_tokens + 13 * c->n_seqs <= FEW_BLOCKS * 64 ? FEW_BLOCKS : MAX_BLOCKS;
}

static struct lk_state_geom geom_of(const struct vk_case *c)
{
    return (struct lk_state_geom){.plan = &c->plan,
                                  .n_blocks = c->n_seqs * blocks_of(c) + 1,
                                  .n_slots = c->n_seqs + 1};
}

static struct lk_exec_options options_of(const struct vk_case *c, bool fuse, bool keep)
{
    return (struct lk_exec_options){.plan = &c->plan,
                                    .max_tokens = c->n_tokens,
                                    .max_outputs = c->n_tokens,
                                    .max_seqs = c->n_seqs,
                                    .max_blocks = blocks_of(c),
                                    .fuse = fuse,
                                    .keep_ops = keep};
}

/* Position of a sequence's first token, and where its i-th block lies: not in order. */
static int first_pos(const struct vk_case *c, int s)
{
    return c->pos0 + 13 * s;
}

static int block_at(const struct vk_case *c, int s, int i)
{
    return (i * 5 + 3) % blocks_of(c) + s * blocks_of(c);
}

/* Scales of cells that no token has yet are anything. */
static void make_stale(const struct vk_case *c, const struct lk_state *of, uint32_t *words)
{
    size_t head = lk_state_unit_bytes(of) / sizeof *words / (size_t)of->n_head;
    for (int s = 0; s < c->n_seqs; s++) {
        for (int pos = first_pos(c, s); pos < blocks_of(c) * LK_KV_BLOCK; pos++) {
            size_t block = (size_t)block_at(c, s, pos / LK_KV_BLOCK);
            for (size_t h = 0; h < (size_t)of->n_head; h++) {
                size_t end = (block * (size_t)of->n_head + h + 1) * head;
                words[end - LK_KV_BLOCK + (size_t)pos % LK_KV_BLOCK] =
                    cells_stale_scale((uint32_t)pos);
            }
        }
    }
}

/* Fills the states, the same on both sides. */
static void fill_states(struct side *s, const struct vk_case *c)
{
    struct lk_state_geom g = geom_of(c);
    lk_error err;
    for (int i = 0; i < c->plan.n_states; i++) {
        size_t n = lk_state_bytes(&g, i);
        uint32_t *cells = malloc(n);
        cr_assert(cells);
        cells_random(&c->plan.states[i], cells, n, 77u + (uint64_t)i);
        if (lk_state_is_paged(&c->plan.states[i])) {
            make_stale(c, &c->plan.states[i], cells);
        }
        cr_assert_eq(s->impl->state_write(s->states, i, 0, cells, n, &err), LK_OK, "%s",
                     err.message);
        free(cells);
    }
}

/* Opens a side and fills its states. */
static lk_status side_open(struct side *s, const struct vk_case *c, bool fuse, bool keep,
                           lk_error *err)
{
    struct lk_state_geom g = geom_of(c);
    struct lk_exec_options o = options_of(c, fuse, keep);
    /* The batch has all tokens: what a device would take for others is not compiled. */
    unsigned lists = c->n_tokens == 1                  ? 1u << LK_VK_DECODE
                     : c->n_tokens <= LK_VK_FEW_TOKENS ? 1u << LK_VK_FEW | 1u << LK_VK_MANY
                                                       : 1u << LK_VK_MANY;
    lk_status status = s->impl == &lk_backend_vulkan
                           ? lk_vk_prepare(s->backend, &o, false, lists, &s->exec, err)
                           : s->impl->prepare(s->backend, &o, &s->exec, err);
    if (status) {
        return status;
    }
    cr_assert_eq(s->impl->state_alloc(s->backend, &g, &s->states, err), LK_OK, "%s", err->message);
    fill_states(s, c);
    return LK_OK;
}

static void side_close(struct side *s)
{
    if (s->exec) {
        s->impl->exec_free(s->exec);
    }
    if (s->states) {
        s->impl->state_free(s->states);
    }
    s->exec = NULL;
    s->states = NULL;
}

struct batch {
    struct lk_batch b;
    int32_t pos[2048], seq[2048], outputs[2048], token[2048];
    struct lk_batch_seq seqs[8];
    int32_t blocks[8][MAX_BLOCKS];
};

static void make_batch(struct batch *m, const struct vk_case *c, float *out)
{
    int per = c->n_tokens / c->n_seqs, n_blocks = blocks_of(c);
    for (int s = 0; s < c->n_seqs; s++) {
        int first = s * per, n = s == c->n_seqs - 1 ? c->n_tokens - first : per;
        int pos = first_pos(c, s);
        for (int i = 0; i < n_blocks; i++) {
            m->blocks[s][i] = block_at(c, s, i);
        }
        m->seqs[s] = (struct lk_batch_seq){.blocks = m->blocks[s],
                                           .first = first,
                                           .n_tokens = n,
                                           .pos = pos,
                                           .slot = c->n_seqs - s};
        for (int t = 0; t < n; t++) {
            m->pos[first + t] = pos + t;
            m->seq[first + t] = s;
        }
    }
    int n_out = 0;
    for (int t = 0; t < c->n_tokens; t++) {
        if (t % 3 != 1 || c->n_tokens == 1) {
            m->outputs[n_out++] = t;
        }
        m->token[t] = (int32_t)((t * 7919) % (c->plan.n_vocab ? c->plan.n_vocab : 1));
    }
    m->b = (struct lk_batch){.n_tokens = c->n_tokens,
                             .token = m->token,
                             .pos = m->pos,
                             .seq = m->seq,
                             .n_seqs = c->n_seqs,
                             .seqs = m->seqs,
                             .n_outputs = n_out,
                             .outputs = m->outputs,
                             .hidden_in = c->plan.in_slot >= 0 ? c->hidden : NULL,
                             .out = out};
}

static void same(const float *a, const float *b, size_t n, size_t width, const struct vk_case *c,
                 const char *where, int slot)
{
    for (size_t i = 0; i < n; i++) {
        cr_assert(lk_bits(a[i]) == lk_bits(b[i]),
                  "%s, %s, slot %d: row %zu element %zu: device %a, scalar %a", c->what, where,
                  slot, i / width, i % width, (double)a[i], (double)b[i]);
    }
}

static size_t floats_of(const struct vk_case *c, const struct lk_batch *b, int slot)
{
    const struct lk_slot *s = &c->plan.slots[slot];
    return (size_t)lk_batch_rows(&c->plan, b).n[s->rows] * (size_t)s->width;
}

static void same_states(const struct side *a, const struct side *b, const struct vk_case *c)
{
    struct lk_state_geom g = geom_of(c);
    lk_error err;
    for (int i = 0; i < c->plan.n_states; i++) {
        size_t n = lk_state_bytes(&g, i);
        uint8_t *x = malloc(n), *y = malloc(n);
        cr_assert_eq(a->impl->state_read(a->states, i, 0, x, n, &err), LK_OK);
        cr_assert_eq(b->impl->state_read(b->states, i, 0, y, n, &err), LK_OK);
        for (size_t k = 0; k < n; k++) {
            cr_assert(x[k] == y[k], "%s: %s byte %zu: device %02x, scalar %02x", c->what,
                      lk_state_name(&c->plan.states[i]), k, x[k], y[k]);
        }
        free(x);
        free(y);
    }
    cr_assert_eq(a->impl->state_check(a->states, &err), LK_OK, "%s: %s", c->what, err.message);
}

static struct lk_backend *scalar(void)
{
    static struct lk_backend *backend;
    if (!backend) {
        struct lk_backend_options o = {0};
        struct lk_caps caps;
        cr_assert_eq(lk_backend_scalar.open(&o, &backend, &caps, NULL), LK_OK);
    }
    return backend;
}

void vk_pair_compare(struct lk_backend *device, const struct vk_case *c)
{
    struct side ref = {.impl = &lk_backend_scalar, .backend = scalar()};
    static struct batch m;
    lk_error err = {0};
    int out_slot = c->plan.out_slot;
    size_t width = (size_t)c->plan.slots[out_slot].width, n = (size_t)c->n_tokens * width;
    float *want = calloc(n, sizeof *want), *got = calloc(n, sizeof *got);
    cr_assert_eq(side_open(&ref, c, false, true, &err), LK_OK, "%s: %s", c->what, err.message);
    make_batch(&m, c, want);
    cr_assert_eq(ref.impl->run(ref.exec, ref.states, &m.b, &err), LK_OK, "%s: %s", c->what,
                 err.message);
    static const struct {
        const char *name;
        bool fuse, keep;
    } way[] = {{"kept", false, true}, {"fused", true, false}, {"unfused", false, false}};
    for (size_t i = 0; i < LK_COUNT(way); i++) {
        struct side dev = {.impl = &lk_backend_vulkan, .backend = device};
        cr_assert_eq(side_open(&dev, c, way[i].fuse, way[i].keep, &err), LK_OK, "%s: %s", c->what,
                     err.message);
        for (int again = 0; again < 2; again++) {
            memset(got, 0xA5, n * sizeof *got);
            fill_states(&dev, c);
            make_batch(&m, c, got);
            cr_assert_eq(dev.impl->run(dev.exec, dev.states, &m.b, &err), LK_OK, "%s, %s: %s",
                         c->what, way[i].name, err.message);
            for (int s = 0; s < c->plan.n_slots && way[i].keep; s++) {
                size_t f = floats_of(c, &m.b, s);
                float *x = malloc((f + 1) * sizeof *x), *y = malloc((f + 1) * sizeof *y);
                cr_assert_eq(dev.impl->peek(dev.exec, s, x, f, &err), LK_OK, "%s", err.message);
                cr_assert_eq(ref.impl->peek(ref.exec, s, y, f, &err), LK_OK);
                same(x, y, f, (size_t)c->plan.slots[s].width, c, way[i].name, s);
                free(x);
                free(y);
            }
            same(got, want, floats_of(c, &m.b, out_slot), width, c, way[i].name, out_slot);
        }
        same_states(&dev, &ref, c);
        side_close(&dev);
    }
    side_close(&ref);
    free(want);
    free(got);
}

static lk_status run_side(struct side *s, const struct vk_case *c, bool fuse, float *out,
                          lk_error *err)
{
    static struct batch m;
    lk_status status = side_open(s, c, fuse, false, err);
    if (!status) {
        make_batch(&m, c, out);
        status = s->impl->run(s->exec, s->states, &m.b, err);
    }
    side_close(s);
    return status;
}

lk_status vk_pair_run(struct lk_backend *device, const struct vk_case *c, float *out, lk_error *err)
{
    struct side dev = {.impl = &lk_backend_vulkan, .backend = device};
    return run_side(&dev, c, true, out, err);
}

static lk_status status_of(struct side *s, const struct vk_case *c, bool fuse, lk_error *err)
{
    float *out = calloc((size_t)c->n_tokens * (size_t)c->plan.slots[c->plan.out_slot].width, 4);
    lk_status status = run_side(s, c, fuse, out, err);
    free(out);
    return status;
}

lk_status vk_pair_status(struct lk_backend *device, const struct vk_case *c, lk_error *err)
{
    struct side dev = {.impl = &lk_backend_vulkan, .backend = device};
    return status_of(&dev, c, true, err);
}

lk_status vk_pair_scalar_status(const struct vk_case *c, lk_error *err)
{
    struct side ref = {.impl = &lk_backend_scalar, .backend = scalar()};
    return status_of(&ref, c, false, err);
}

lk_status vk_pair_prepare(struct lk_backend *device, const struct vk_case *c, struct lk_exec **out,
                          lk_error *err)
{
    struct lk_exec_options o = options_of(c, true, false);
    return lk_backend_vulkan.prepare(device, &o, out, err);
}

void vk_pair_least(VkPhysicalDeviceLimits *l)
{
    l->maxPerStageDescriptorStorageBuffers = l->maxDescriptorSetStorageBuffers = 8;
    l->maxPerStageResources = 128;
    l->maxComputeSharedMemorySize = 16384;
    l->maxComputeWorkGroupInvocations = 128;
    l->maxComputeWorkGroupSize[0] = l->maxComputeWorkGroupSize[1] = 128;
    l->maxComputeWorkGroupSize[2] = 64;
    for (int i = 0; i < 3; i++) {
        l->maxComputeWorkGroupCount[i] = 65535;
    }
    l->maxPushConstantsSize = 128;
    l->maxStorageBufferRange = 1u << 27;
    l->minStorageBufferOffsetAlignment = 256;
}
