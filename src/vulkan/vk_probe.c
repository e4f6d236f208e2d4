/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_probe: is the device exact? Runs the known-answer sets of shaders/probe_items.h there and
 * here, then whole kernels with known answers (vk_known.c); what fails is switched off until the
 * rest agrees. Keeps the verdict on disk by device, driver and shaders.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/kept.h"
#include "base/mem.h"
#include "base/numerics.h"
#include "base/os.h"
#include "vulkan/vk.h"
#include "vulkan/vk_known.h"
#include "vulkan/device/vk_shaders.h"

#include "shaders/probe_items.h"

enum { HALVES = 65536, SAMPLES = 4096 };

static const char *const NAMES[LK_PROBE_ALL] = {
    "half-unpack",    "cells",   "int-to-float", "multiply-add", "ordered-sum",
    "exact-products", "rcp",     "rsqrt",        "exp2-part",    "exp",
    "tanh",           "sigmoid", "gelu",         "flush",        "rounding",
    "block",          "softmax", "int-dot",      "conversion",
};

static uint32_t count_of(uint32_t item)
{
    return item == LK_PROBE_UNPACK ? HALVES : SAMPLES;
}

/* What the probe found, beside the features in use. */
struct verdict {
    bool exact;
    char note[500];
};

__attribute__((format(printf, 2, 3))) static void add_note(struct verdict *v, const char *format,
                                                           ...)
{
    size_t at = strlen(v->note);
    va_list args;
    if (at > 0 && at + 3 < sizeof v->note) {
        strcpy(v->note + at, "; ");
        at += 2;
    }
    va_start(args, format);
    vsnprintf(v->note + at, sizeof v->note - at, format, args);
    va_end(args);
}

/* ---- small sets ---- */

struct run {
    struct lk_vk_device *dev;
    struct lk_vk_buffer out[LK_PROBE_ALL], flags;
    VkDescriptorPool pool;
    VkDescriptorSet set[LK_PROBE_ALL];
};

static void run_free(struct run *r)
{
    for (uint32_t i = 0; i < LK_PROBE_ALL; i++) {
        lk_vk_buffer_destroy(r->dev, &r->out[i]);
    }
    lk_vk_buffer_destroy(r->dev, &r->flags);
    r->dev->vk.vkDestroyDescriptorPool(r->dev->handle, r->pool, NULL);
}

static lk_status make_sets(struct run *r, lk_error *err)
{
    const struct VolkDeviceTable *vk = &r->dev->vk;
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, LK_PROBE_ALL * LK_VK_BINDINGS};
    VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = LK_PROBE_ALL,
                                       .poolSizeCount = 1,
                                       .pPoolSizes = &size};
    VkResult res = vk->vkCreateDescriptorPool(r->dev->handle, &pool, NULL, &r->pool);
    for (uint32_t i = 0; i < LK_PROBE_ALL && !res; i++) {
        VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = r->pool,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &r->dev->set_layout};
        res = vk->vkAllocateDescriptorSets(r->dev->handle, &info, &r->set[i]);
        for (uint32_t k = 0; k < LK_VK_BINDINGS && !res; k++) {
            VkDescriptorBufferInfo b = {k == 0 ? r->out[i].handle : r->flags.handle, 0,
                                        VK_WHOLE_SIZE};
            VkWriteDescriptorSet w = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = r->set[i],
                                      .dstBinding = k,
                                      .descriptorCount = 1,
                                      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                      .pBufferInfo = &b};
            vk->vkUpdateDescriptorSets(r->dev->handle, 1, &w, 0, NULL);
        }
    }
    return res ? lk_vk_fail(r->dev, res, "exactness probe", err) : LK_OK;
}

static lk_status run_items(struct run *r, lk_error *err)
{
    struct lk_vk_device *dev = r->dev;
    const uint32_t spec[4] = {0, 0, 0, 0};
    const struct lk_vk_pipe *plain, *dot = NULL;
    lk_status status = lk_vk_pipe_get(dev, "probe", spec, &plain, err);
    if (!status && dev->found.use[LK_VK_INT_DOT]) {
        status = lk_vk_pipe_get(dev, "probe_dot", spec, &dot, err);
    }
    status = status ? status : lk_vk_pipes_compile(dev, err);
    if (!status) {
        status = lk_vk_begin(dev, err);
    }
    if (status) {
        return status;
    }
    for (uint32_t i = 0; i < LK_PROBE_ALL; i++) {
        struct lk_vk_probe_push push = {i, count_of(i)};
        VkPipeline pipe = i == LK_PROBE_DOT && dot ? dot->handle : plain->handle;
        dev->vk.vkCmdBindPipeline(dev->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipe);
        dev->vk.vkCmdBindDescriptorSets(dev->commands, VK_PIPELINE_BIND_POINT_COMPUTE, dev->layout,
                                        0, 1, &r->set[i], 0, NULL);
        dev->vk.vkCmdPushConstants(dev->commands, dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                   sizeof push, &push);
        dev->vk.vkCmdDispatch(dev->commands, push.n / 64, 1, 1);
    }
    return lk_vk_finish(dev, err);
}

/* Item `i` differs at index `at`: a feature is switched off, anything else is the verdict. */
static void item_differs(struct lk_vk_device *dev, uint32_t i, uint32_t at, struct verdict *v)
{
    bool *feature = i == LK_PROBE_DOT       ? &dev->found.use[LK_VK_INT_DOT]
                    : i == LK_PROBE_CONVERT ? &dev->found.use[LK_VK_MATRIX]
                                            : NULL;
    if (feature && !*feature) {
        return; /* not in use anyway */
    }
    if (feature) {
        *feature = false;
    } else {
        v->exact = false;
    }
    add_note(v, "probe item '%s' differs at %u%s", NAMES[i], at, feature ? ", switched off" : "");
}

static lk_status probe_items(struct lk_vk_device *dev, struct verdict *v, lk_error *err)
{
    struct run r = {.dev = dev};
    lk_status status = lk_vk_buffer_create(dev, 256, LK_VK_USE_READBACK, "probe", &r.flags, err);
    for (uint32_t i = 0; i < LK_PROBE_ALL && !status; i++) {
        status = lk_vk_buffer_create(dev, (VkDeviceSize)count_of(i) * 4, LK_VK_USE_READBACK,
                                     "probe", &r.out[i], err);
    }
    if (!status) {
        status = make_sets(&r, err);
    }
    if (!status) {
        status = run_items(&r, err);
    }
    for (uint32_t i = 0; i < LK_PROBE_ALL && !status; i++) {
        const uint32_t *got = (const uint32_t *)(const void *)r.out[i].map;
        for (uint32_t k = 0; k < count_of(i); k++) {
            if (got[k] != probe_item(i, k)) {
                item_differs(dev, i, k, v);
                break;
            }
        }
    }
    run_free(&r);
    return status;
}

/* ---- whole kernels ---- */

/* Bits of the checks whose answer is wrong, by run. */
struct wrong {
    uint32_t of[LK_VK_KNOWN_RUNS];
};
_Static_assert(LK_VK_KNOWN_CHECKS <= 32, "a bit a check");

static lk_status check_run(struct lk_exec *e, struct lk_vk_known *k, int run, float *got,
                           struct wrong *wrong, lk_error *err)
{
    const struct lk_vk_list *list = &e->list[run == LK_VK_KNOWN_BATCH ? LK_VK_MANY : LK_VK_DECODE];
    lk_status status = LK_OK;
    for (int c = 0; c < LK_VK_KNOWN_CHECKS && !status; c++) {
        if (k->slot[c] < 0) {
            continue;
        }
        size_t n = lk_vk_known_floats(k, run, c);
        status = lk_vk_read(e->dev, &e->arena, list->pieces[k->slot[c]].offset, got,
                            n * sizeof *got, &e->readback, err);
        if (!status && lk_vk_known_hash(got, n) != LK_VK_KNOWN[run][c]) {
            wrong->of[run] |= 1u << c;
        }
    }
    return status;
}

/* Runs all with the features in use. A driver that can't compile them gets everything wrong. */
static lk_status run_kernels(struct lk_backend *b, struct lk_vk_known *k, struct wrong *wrong,
                             lk_error *err)
{
    const struct lk_backend_impl *impl = &lk_backend_vulkan;
    struct lk_exec *exec = NULL;
    struct lk_state_mem *states = NULL;
    float *got = NULL;
    *wrong = (struct wrong){{0}};
    lk_status status = lk_vk_prepare(b, &k->options, true, LK_VK_NOT_FEW, &exec, err);
    if (status == LK_E_DEVICE) {
        *wrong = (struct wrong){{UINT32_MAX, UINT32_MAX}};
        return LK_OK;
    }
    if (!status) {
        status = impl->state_alloc(b, &k->geom, &states, err);
    }
    if (!status) {
        size_t most = 0;
        for (int c = 0; c < LK_VK_KNOWN_CHECKS; c++) {
            size_t n = k->slot[c] < 0 ? 0 : lk_vk_known_floats(k, LK_VK_KNOWN_BATCH, c);
            most = n > most ? n : most;
        }
        got = lk_alloc_array(most, sizeof *got);
        status = got ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory: known answers");
    }
    for (int run = 0; run < LK_VK_KNOWN_RUNS && !status; run++) {
        struct lk_batch batch = lk_vk_known_batch(k, run);
        status = impl->run(exec, states, &batch, err);
        if (!status || status == LK_E_RANGE) { /* what it left there is wrong by itself */
            status = check_run(exec, k, run, got, wrong, err);
        }
    }
    lk_free(got);
    impl->state_free(states);
    impl->exec_free(exec);
    return status;
}

/* Runs the known answers, and where matrix units are used, again with large tiles, and with those
 * of few tokens. */
static lk_status run_tiles(struct lk_backend *b, struct lk_vk_known *k, struct wrong *wrong,
                           lk_error *err)
{
    static const struct {
        uint32_t many_tiles, split_tokens;
    } PASS[] = {{LK_VK_MANY_TILES, LK_VK_SPLIT_TOKENS},
                {1, LK_VK_SPLIT_TOKENS},
                {LK_VK_MANY_TILES, UINT32_MAX}};
    size_t n = b->dev.found.use[LK_VK_MATRIX] ? LK_COUNT(PASS) : 1;
    lk_status status = LK_OK;
    for (size_t i = 0; i < n && !status && (i == 0 || !(wrong->of[0] | wrong->of[1])); i++) {
        b->dev.many_tiles = PASS[i].many_tiles;
        b->dev.split_tokens = PASS[i].split_tokens;
        status = run_kernels(b, k, wrong, err);
    }
    b->dev.many_tiles = LK_VK_MANY_TILES;
    b->dev.split_tokens = LK_VK_SPLIT_TOKENS;
    return status;
}

/* The variant to do without when these answers are wrong, with what is in use; -1: none. */
static int suspect(const struct lk_vk_found *f, const struct wrong *w)
{
    uint32_t all = w->of[0] | w->of[1];
    if (w->of[LK_VK_KNOWN_BATCH] && f->use[LK_VK_MATRIX]) {
        return LK_VK_MATRIX;
    }
    if (w->of[LK_VK_KNOWN_DECODE] && !w->of[LK_VK_KNOWN_BATCH] && !f->use[LK_VK_LOOPED]) {
        return LK_VK_LOOPED;
    }
    if (all && f->use[LK_VK_INT_DOT]) {
        return LK_VK_INT_DOT;
    }
    return all && !f->use[LK_VK_LOOPED] ? LK_VK_LOOPED : -1;
}

/* The first three by name, the others by number. */
static void name_wrong(const struct lk_vk_known *k, const struct wrong *w, char *out, size_t n)
{
    int count = 0;
    size_t at = 0;
    for (int run = 0; run < LK_VK_KNOWN_RUNS; run++) {
        for (int c = 0; c < LK_VK_KNOWN_CHECKS; c++) {
            char name[64];
            if ((w->of[run] >> c & 1u) && k->slot[c] >= 0 && count++ < 3) {
                lk_vk_known_name(k, run, c, name, sizeof name);
                at += (size_t)snprintf(out + at, n - at, "%s%s", at ? ", " : "", name);
            }
        }
    }
    if (count > 3) {
        snprintf(out + at, n - at, " and %d more", count - 3);
    }
}

static lk_status probe_kernels(struct lk_backend *b, uint64_t types, struct verdict *v,
                               lk_error *err)
{
    struct lk_vk_found *f = &b->dev.found;
    struct lk_vk_known k;
    /* what stands for a GPU's kernels on the CPU is long to compile there */
    lk_status status = lk_vk_known_open(&k, types, !f->use[LK_VK_LOOPED], err);
    for (bool again = true; again && !status;) {
        struct wrong wrong;
        char names[224];
        again = false;
        status = run_tiles(b, &k, &wrong, err);
        if (status == LK_E_DEVICE && f->use[LK_VK_MATRIX]) { /* its shaders don't compile */
            add_note(v, "%s: matrix switched off", err->message);
            f->use[LK_VK_MATRIX] = false;
            status = LK_OK;
            again = true;
            continue;
        }
        if (status || !(wrong.of[0] | wrong.of[1])) {
            break;
        }
        int feature = suspect(f, &wrong);
        name_wrong(&k, &wrong, names, sizeof names);
        if (feature >= 0) {
            /* kernels without loops are a variant, those with loops the baseline */
            f->use[feature] = feature == LK_VK_LOOPED;
            again = true;
            add_note(v, "%s wrong: %s switched off", names,
                     feature == LK_VK_LOOPED ? "unrolled kernels"
                                             : lk_vk_feature_name((enum lk_vk_feature)feature));
        } else {
            v->exact = false;
            add_note(v, "%s wrong", names);
        }
    }
    lk_vk_known_close(&k);
    return status;
}

/* ---- kept on disk ---- */

struct kept {
    uint8_t shaders[32];
    uint32_t features; /* found and not disabled */
    uint32_t used;     /* of them, after the probe */
    uint64_t types;    /* whose kernels were tried */
    struct verdict verdict;
    double speed; /* of its memory, in bytes per second; 0: nobody asked yet */
};
enum { KEPT_VERSION = 5 };

/* What a verdict stands on: the shaders, and the answers that are expected of them. */
static void hash_shaders(uint8_t out[32])
{
    lk_sha256 h;
    lk_sha256_init(&h);
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        lk_sha256_bytes(&h, LK_VK_SHADERS[i].words, LK_VK_SHADERS[i].n_bytes);
    }
    lk_sha256_bytes(&h, LK_VK_KNOWN, sizeof LK_VK_KNOWN);
    lk_sha256_final(&h, out);
}

static uint32_t used(const struct lk_vk_device *dev)
{
    uint32_t bits = 0;
    for (int i = 0; i < LK_VK_FEATURES; i++) {
        bits |= (uint32_t)dev->found.use[i] << i;
    }
    return bits;
}

/* Beside the pipelines, one for each set of features. */
static bool kept_path(const struct lk_vk_device *dev, uint32_t features, char *path, size_t n)
{
    size_t len = strlen(dev->cache_path), end = strlen("pipelines");
    int m = len < end
                ? -1
                : snprintf(path, n, "%.*s%x.probe", (int)(len - end), dev->cache_path, features);
    return m > 0 && (size_t)m < n;
}

static struct kept kept_of(uint32_t features)
{
    struct kept k;
    memset(&k, 0, sizeof k);
    hash_shaders(k.shaders);
    k.features = features;
    return k;
}

/* Fills k, which says whose verdict it is and of which types; false when none is kept. Types that
 * one was kept of are then among those of k. */
static bool kept_read(const struct lk_vk_device *dev, const char *path, struct kept *k)
{
    struct lk_kept file;
    struct kept got;
    enum lk_kept_state state = lk_kept_open(&file, path, "probe", KEPT_VERSION);
    bool ok = state == LK_KEPT_WHOLE && file.n_bytes == sizeof got;
    if (state == LK_KEPT_BROKEN) {
        lk_log_line(&dev->log, LK_LOG_INFO, "%s: not a whole verdict: the device is probed again",
                    path);
    }
    if (ok) {
        memcpy(&got, file.data, sizeof got);
        ok = memcmp(&got, k, offsetof(struct kept, used)) == 0 &&
             memchr(got.verdict.note, 0, sizeof got.verdict.note);
    }
    if (ok && (k->types & ~got.types)) {
        k->types |= got.types;
        ok = false;
    }
    if (ok) {
        *k = got;
    }
    lk_kept_close(&file);
    return ok;
}

static void kept_write(const struct lk_vk_device *dev, const char *path, const struct kept *k)
{
    lk_error why;
    if (lk_kept_write(path, "probe", KEPT_VERSION, k, sizeof *k, &why)) {
        lk_log_line(&dev->log, LK_LOG_WARN, "the probe's verdict is not kept: %s", why.message);
    }
}

static uint64_t all_types(void)
{
    uint64_t set = 0;
    size_t n;
    const struct lk_type_info *types = lk_types(&n);
    for (size_t i = 0; i < n; i++) {
        set |= lk_type_bit(types[i].type);
    }
    return set;
}

static int count_bits(uint64_t set)
{
    int n = 0;
    for (; set; set &= set - 1) {
        n++;
    }
    return n;
}

lk_status lk_vk_probe(struct lk_backend *b, uint64_t types, bool *exact, char *note, size_t n_note,
                      lk_error *err)
{
    struct lk_vk_device *dev = &b->dev;
    char path[640];
    b->found_features = used(dev);
    struct kept kept = kept_of(b->found_features);
    kept.types = types ? types : all_types();
    struct verdict *v = &kept.verdict;
    bool has_path = kept_path(dev, b->found_features, path, sizeof path);
    double start = lk_now(), compiling = dev->compiling;
    v->exact = true;
    if (has_path && kept_read(dev, path, &kept)) {
        for (int i = 0; i < LK_VK_FEATURES; i++) {
            dev->found.use[i] = dev->found.has[i] && (kept.used >> i & 1u);
        }
    } else {
        int checks = LK_VK_KNOWN_MATMULS + 1 + count_bits(kept.types);
        dev->probe_pipes = checks * (dev->found.use[LK_VK_MATRIX] ? 5 : 3);
        lk_status status = probe_items(dev, v, err);
        if (!status) {
            status = probe_kernels(b, kept.types, v, err);
        }
        dev->probe_pipes = 0;
        if (status) {
            return status;
        }
        kept.used = used(dev);
        if (has_path) {
            kept_write(dev, path, &kept);
        }
    }
    compiling = dev->compiling - compiling;
    lk_log_line(&dev->log, LK_LOG_DEBUG,
                "vulkan: exactness probe in %.1f ms, and %.1f ms to compile its kernels",
                (lk_now() - start - compiling) * 1e3, compiling * 1e3);
    *exact = v->exact;
    snprintf(note, n_note, "%s", v->note);
    return LK_OK;
}

/* ---- speed ---- */

lk_status lk_vk_speed(struct lk_backend *b, double *bytes_per_second, lk_error *err)
{
    /* More than caches hold, and little enough that nobody waits for it. */
    enum { CPU_BYTES = 8 << 20, GPU_BYTES = 256 << 20, CPU_PASSES = 2, GPU_PASSES = 8 };
    struct lk_vk_device *dev = &b->dev;
    char path[640];
    struct kept kept = kept_of(b->found_features);
    bool is_kept =
        kept_path(dev, b->found_features, path, sizeof path) && kept_read(dev, path, &kept);
    if (is_kept && kept.speed > 0.0 && kept.speed < 1e18) {
        *bytes_per_second = kept.speed;
        return LK_OK;
    }
    bool cpu = dev->found.props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    uint64_t n = cpu ? CPU_BYTES : GPU_BYTES, most = dev->found.available / 8;
    lk_status status = lk_vk_read_rate(dev, n < most ? n : most, cpu ? CPU_PASSES : GPU_PASSES,
                                       bytes_per_second, err);
    if (!status && is_kept) {
        kept.speed = *bytes_per_second;
        kept_write(dev, path, &kept);
    }
    return status;
}

/* ---- devices ---- */

static struct lk_device describe(const struct lk_vk_found *f)
{
    struct lk_device d = {.id = f->id};
    lk_device_info *info = &d.info;
    snprintf(info->backend, sizeof info->backend, "vulkan");
    snprintf(info->name, sizeof info->name, "%.255s", f->props.deviceName);
    snprintf(info->driver, sizeof info->driver, "%.255s", f->driver);
    snprintf(info->type, sizeof info->type, "%s", f->type);
    info->memory = f->memory;
    info->available = f->available;
    info->usable = f->usable;
    snprintf(info->note, sizeof info->note, "%.500s", f->note);
    lk_vk_feature_list(f, info->features, sizeof info->features);
    return d;
}

lk_status lk_vk_list(const struct lk_backend_options *options, lk_device_fn each, void *user,
                     lk_error *err)
{
    struct lk_vk_instance instance;
    struct lk_vk_found *found = NULL;
    int n = 0;
    lk_status status = lk_vk_instance_open(&instance, err);
    if (!status) {
        status = lk_vk_find(&instance, options, &found, &n, err);
    }
    if (!status && n == 0) {
        status = lk_fail(err, LK_E_DEVICE, "vulkan: no device found");
    }
    for (int i = 0; i < n && !status; i++) {
        struct lk_device d = describe(&found[i]);
        status = each(user, &d, err);
    }
    lk_free(found);
    lk_vk_instance_close(&instance);
    return status;
}

void lk_vk_look(const struct lk_backend_options *options, lk_device_info *info)
{
    struct lk_backend *b = NULL;
    lk_error why = {0};
    if (lk_vk_open(options, &b, &info->exact, info->note, sizeof info->note, &why)) {
        info->usable = false;
        snprintf(info->note, sizeof info->note, "%.500s", why.message);
        return;
    }
    lk_vk_feature_list(&b->dev.found, info->features, sizeof info->features);
    lk_vk_off_note(&b->dev.found, info->note, sizeof info->note);
    lk_vk_close(b);
}
