/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_device: opening, listing and probing the device that the runner chose; the SPIR-V in this
 * build carries NoContraction on every float operation.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep_check.h"
#include "base/numerics.h"

#include "shaders/probe_items.h"
#include "shaders/spirv_lint.h"
#include "backend/device_list.h"
#include "base/kept.h"
#include "vulkan/vk.h"
#include "vulkan/vk_known.h"
#include "vulkan/device/vk_shaders.h"
#include "tests/vulkan/vk_pair.h"

Test(vk_device, embedded_shaders_have_no_bare_float_operation)
{
    cr_assert_gt(LK_VK_N_SHADERS, 60);
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        const struct lk_vk_shader *s = &LK_VK_SHADERS[i];
        size_t n = s->n_bytes / 4;
        bool *bare = calloc(s->words[3], sizeof *bare);
        cr_assert_eq(s->words[0], LK_SPIRV_MAGIC);
        cr_assert_eq(lk_spirv_bare(s->words, n, bare), 0, "%s", s->name);
        free(bare);
    }
}

/* The lint sees what it is made for: with its decorations gone, a shader is full of findings. */
Test(vk_device, the_lint_finds_bare_operations)
{
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        const struct lk_vk_shader *s = &LK_VK_SHADERS[i];
        if (strcmp(s->name, "norm") != 0 && strcmp(s->name, "attn") != 0) {
            continue;
        }
        size_t n = s->n_bytes / 4;
        uint32_t *words = malloc(s->n_bytes);
        bool *bare = calloc(s->words[3], sizeof *bare);
        memcpy(words, s->words, s->n_bytes);
        for (size_t w = 5; w < n; w += words[w] >> 16) {
            if ((words[w] & 0xffff) == LK_SPIRV_OP_DECORATE &&
                words[w + 2] == LK_SPIRV_NO_CONTRACTION) {
                words[w + 2] = 0; /* RelaxedPrecision */
            }
        }
        cr_assert_gt(lk_spirv_bare(words, n, bare), 10, "%s", s->name);
        words[5] = 0; /* a length of zero */
        cr_assert_eq(lk_spirv_bare(words, n, bare), -1);
        free(bare);
        free(words);
    }
}

struct seen {
    int n, vulkan;
    lk_device_info first;
};

static void see(void *user, const lk_device_info *d)
{
    struct seen *s = user;
    s->n++;
    if (strcmp(d->backend, "vulkan") == 0 && s->vulkan++ == 0) {
        s->first = *d;
    }
}

/* On the CI drivers every probe item must agree with the host: the device is exact. */
Test(vk_device, the_probe_says_exact_fresh_and_from_its_file)
{
    if (vk_pair_leaves("a fresh probe")) { /* that SwiftShader is exact is asked in vk_check */
        return;
    }
    char dir[] = "/tmp/lk-probe-XXXXXX", command[64];
    cr_assert(mkdtemp(dir));
    for (int again = 0; again < 2; again++) {
        struct seen s = {0};
        lk_error err;
        lk_engine_options o = lk_engine_options_default();
        o.cache_dir = dir;
        cr_assert_eq(lk_devices(&o, see, &s, &err), LK_OK, "%s", err.message);
        cr_assert_geq(s.vulkan, 1);
        cr_assert(s.first.usable, "%s", s.first.note);
        cr_assert(s.first.exact, "%s", s.first.note);
        cr_assert(strstr(s.first.features, "narrow"), "%s; %s", s.first.features, s.first.note);
        cr_assert_gt(s.first.memory, 0);
        cr_assert(s.first.name[0] && s.first.driver[0] && s.first.type[0]);
        printf("%s (%s), %s: %s\n", s.first.name, s.first.driver, s.first.type, s.first.features);
    }
    snprintf(command, sizeof command, "ls %s | grep -c probe$ | grep -qx 1", dir);
    cr_assert_eq(system(command), 0, "the verdict is kept in a file");
    /* What the file says is told again. */
    char path[160];
    snprintf(command, sizeof command, "ls %s/*.probe", dir);
    FILE *ls = popen(command, "r");
    cr_assert(ls && fgets(path, sizeof path, ls));
    path[strcspn(path, "\n")] = 0;
    pclose(ls);
    struct lk_kept file;
    uint8_t kept[1024];
    cr_assert_eq(lk_kept_open(&file, path, "probe", 5), LK_KEPT_WHOLE);
    size_t n = file.n_bytes, exact = 48, note = exact + 1; /* behind shaders, features, types */
    cr_assert(n < sizeof kept && file.data[exact] == 1 && file.data[note] == 0);
    memcpy(kept, file.data, n);
    lk_kept_close(&file);
    strcpy((char *)kept + note, "known by its file");
    cr_assert_eq(lk_kept_write(path, "probe", 5, kept, n, NULL), LK_OK);
    struct seen s = {0};
    lk_engine_options o = lk_engine_options_default();
    o.cache_dir = dir;
    cr_assert_eq(lk_devices(&o, see, &s, NULL), LK_OK);
    cr_assert(s.first.exact);
    cr_assert_str_eq(s.first.note, "known by its file");
    /* What was changed behind our back is not believed: the device is asked again. */
    FILE *f = fopen(path, "r+b");
    cr_assert(f && fseek(f, 64 + (long)exact, SEEK_SET) == 0 && fputc(0, f) == 0);
    fclose(f);
    s = (struct seen){0};
    cr_assert_eq(lk_devices(&o, see, &s, NULL), LK_OK);
    cr_assert(s.first.exact && !strstr(s.first.note, "known by"), "%s", s.first.note);
    cr_assert_eq(lk_kept_open(&file, path, "probe", 5), LK_KEPT_WHOLE);
    lk_kept_close(&file);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

/* Opens the device for types; the verdict's note. */
static void open_for(const char *dir, uint64_t types, char *note, size_t n)
{
    struct lk_backend_options o = {.device = vk_pair_id(), .types = types, .cache_dir = dir};
    struct lk_backend *b = NULL;
    bool exact;
    lk_error err = {0};
    cr_assert_eq(lk_vk_open(&o, &b, &exact, note, n, &err), LK_OK, "%s", err.message);
    cr_assert(exact, "%s", note);
    lk_vk_close(b);
}

/* The kernels of a model's types are tried, and kept ones not again; a further type is, with them.
 */
Test(vk_device, the_types_of_a_model_are_tried)
{
    if (vk_pair_leaves("verdicts by types")) {
        return;
    }
    const uint64_t k4 = lk_type_bit(LK_TYPE_Q4_K), s2 = lk_type_bit(LK_TYPE_IQ2_S);
    char dir[] = "/tmp/lk-probe-XXXXXX", command[128], path[256], note[512];
    uint8_t kept[1024];
    struct lk_kept file;
    cr_assert(mkdtemp(dir));
    for (int step = 0; step < 4; step++) {
        static const struct {
            bool k4, s2, tried; /* asked for; whether kernels run for it */
        } STEPS[] = {{true, false, true},
                     {true, false, false},
                     {false, true, true},
                     {true, true, false}};
        uint64_t types = (STEPS[step].k4 ? k4 : 0) | (STEPS[step].s2 ? s2 : 0), of;
        open_for(dir, types, note, sizeof note);
        cr_assert_eq(strcmp(note, "known by its file") != 0, STEPS[step].tried, "step %d: %s", step,
                     note);
        snprintf(command, sizeof command, "ls %s/*.probe", dir);
        FILE *ls = popen(command, "r");
        cr_assert(ls && fgets(path, sizeof path, ls));
        path[strcspn(path, "\n")] = 0;
        pclose(ls);
        cr_assert_eq(lk_kept_open(&file, path, "probe", 5), LK_KEPT_WHOLE);
        size_t n = file.n_bytes;
        cr_assert(n < sizeof kept);
        memcpy(kept, file.data, n);
        lk_kept_close(&file);
        memcpy(&of, kept + 40, sizeof of);
        cr_assert_eq(of, step < 2 ? k4 : k4 | s2, "step %d", step);
        strcpy((char *)kept + 49, "known by its file");
        cr_assert_eq(lk_kept_write(path, "probe", 5, kept, n, NULL), LK_OK);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

/* The table of known answers is what the scalar contract gives. */
Test(vk_device, known_answers_are_those_of_the_contract)
{
    struct lk_vk_known k;
    struct lk_backend *b = NULL;
    struct lk_exec *exec = NULL;
    struct lk_state_mem *states = NULL;
    struct lk_caps caps;
    lk_error err = {0};
    struct lk_backend_options o = {.cpu_level = "auto"};
    const struct lk_backend_impl *impl = &lk_backend_scalar;
    int n_wrong = 0;
    cr_assert_eq(lk_vk_known_open(&k, UINT64_MAX, true, &err), LK_OK);
    k.options.keep_ops = true;
    cr_assert_eq(impl->open(&o, &b, &caps, &err), LK_OK);
    cr_assert_eq(impl->prepare(b, &k.options, &exec, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->state_alloc(b, &k.geom, &states, &err), LK_OK);
    for (int run = 0; run < LK_VK_KNOWN_RUNS; run++) {
        struct lk_batch batch = lk_vk_known_batch(&k, run);
        cr_assert_eq(impl->run(exec, states, &batch, &err), LK_OK, "%s", err.message);
        for (int c = 0; c < LK_VK_KNOWN_CHECKS; c++) {
            size_t n = lk_vk_known_floats(&k, run, c), zeros = 0;
            float *x = malloc(n * sizeof *x);
            cr_assert_eq(impl->peek(exec, k.slot[c], x, n, &err), LK_OK, "%s", err.message);
            for (size_t i = 0; i < n; i++) {
                zeros += x[i] == 0.0f;
            }
            cr_assert_lt(zeros, n / 8, "run %d, check %d", run, c);
            uint64_t hash = lk_vk_known_hash(x, n);
            if (hash != LK_VK_KNOWN[run][c]) {
                n_wrong++;
                printf("LK_VK_KNOWN[%d][%d]: 0x%016llx\n", run, c, (unsigned long long)hash);
            }
            free(x);
        }
    }
    cr_assert_eq(n_wrong, 0);
    impl->state_free(states);
    impl->exec_free(exec);
    impl->close(b);
    lk_vk_known_close(&k);
}

/* A driver that compiles some kernels wrongly: in them it adds where it should multiply. */
static const char *const *broken; /* names, NULL at the end */
static bool refuses;              /* it compiles none of them at all */
static PFN_vkCreateShaderModule create_module;

static VKAPI_ATTR VkResult VKAPI_CALL create_broken(VkDevice device,
                                                    const VkShaderModuleCreateInfo *info,
                                                    const VkAllocationCallbacks *alloc,
                                                    VkShaderModule *out)
{
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        for (const char *const *name = broken; *name; name++) {
            if (LK_VK_SHADERS[i].words == info->pCode &&
                strcmp(LK_VK_SHADERS[i].name, *name) == 0) {
                if (refuses) {
                    return VK_ERROR_UNKNOWN;
                }
                uint32_t *words = malloc(info->codeSize);
                VkShaderModuleCreateInfo bad = *info;
                memcpy(words, info->pCode, info->codeSize);
                for (size_t w = 5; w < info->codeSize / 4; w += words[w] >> 16) {
                    bool multiply = (words[w] & 0xffff) == 133;
                    words[w] = multiply ? (words[w] & 0xffff0000u) | 129 : words[w];
                }
                bad.pCode = words;
                VkResult r = create_module(device, &bad, alloc, out);
                free(words);
                return r;
            }
        }
    }
    return create_module(device, info, alloc, out);
}

struct probed {
    bool exact, int_dot, matrix;
    bool looped; /* before the probe */
    char note[512];
};

static struct probed probe_broken(const char *const *names, const char *disable)
{
    uint64_t types = lk_type_bit(LK_TYPE_Q4_K) | lk_type_bit(LK_TYPE_Q3_K) |
                     lk_type_bit(LK_TYPE_Q5_1) | lk_type_bit(LK_TYPE_IQ2_S);
    struct lk_backend *b = calloc(1, sizeof *b);
    struct lk_backend_options o = {.device = vk_pair_id(), .vk_disable = disable};
    struct probed p;
    lk_error err = {0};
    cr_assert_eq(lk_vk_device_open(&o, &b->dev, &err), LK_OK, "%s", err.message);
    broken = names;
    p.looped = b->dev.found.use[LK_VK_LOOPED];
    create_module = b->dev.vk.vkCreateShaderModule;
    b->dev.vk.vkCreateShaderModule = create_broken;
    cr_assert_eq(lk_vk_probe(b, types, &p.exact, p.note, sizeof p.note, &err), LK_OK, "%s",
                 err.message);
    p.int_dot = b->dev.found.use[LK_VK_INT_DOT];
    p.matrix = b->dev.found.use[LK_VK_MATRIX];
    lk_vk_device_close(&b->dev);
    free(b);
    return p;
}

/* The note says this and nothing more; where kernels are unrolled, that it did so twice. */
static void says(const struct probed *p, const char *want)
{
    char twice[sizeof p->note];
    snprintf(twice, sizeof twice, "%s: unrolled kernels switched off; %s", want, want);
    cr_assert_str_eq(p->note, p->looped ? want : twice);
}

Test(vk_device, a_wrong_kernel_is_named_and_the_next_variant_taken)
{
    const char *ALL = "attention of a batch, attention with large heads of a batch, "
                      "attention in front of a matmul of a batch and 1 more wrong";
    if (vk_pair_leaves("a wrong kernel")) {
        return;
    }
    static const char *const DOT[] = {"tile_Q4_K_dot", NULL};
    struct probed p = probe_broken(DOT, "matrix");
    cr_assert(p.exact, "%s", p.note);
    cr_assert_not(p.int_dot);
    cr_assert_str_eq(p.note, "tiled matmul of Q4_K wrong: int-dot switched off");
    /* A driver that does not even compile it: nothing that goes with it was seen to be right. */
    refuses = true;
    p = probe_broken(DOT, "matrix");
    refuses = false;
    cr_assert(p.exact && !p.int_dot, "%s", p.note);
    cr_assert(strstr(p.note, "int-dot switched off"), "%s", p.note);
    /* The baseline has no next variant. */
    static const char *const BASE[] = {"matvec_Q3_K", "matvec_Q3_K_gpu", "attn", NULL};
    p = probe_broken(BASE, "matrix,int-dot");
    cr_assert_not(p.exact);
    says(&p, p.looped ? "attention of a batch, mat-vec of Q3_K wrong" : ALL);
    p = probe_broken(BASE, "matrix,int-dot,looped"); /* as on a GPU, which tries more heads */
    cr_assert_not(p.exact);
    says(&p, ALL);
    /* Tiles of matrix units, with plain loops for the units. */
    static const char *const WIDE[] = {"tile_Q5_1_wide", NULL}, *const NONE[] = {NULL};
    p = probe_broken(NONE, "narrow,matrix,int-dot");
    cr_assert(p.exact, "%s", p.note);
    p = probe_broken(WIDE, "narrow,matrix,int-dot");
    cr_assert_not(p.exact);
    says(&p, "tiled matmul of Q5_1 wrong");
    /* And with them, where the device has them. */
    static const char *const MATRIX[] = {"tile_Q5_1_matrix", NULL};
    p = probe_broken(NONE, "");
    if (!p.matrix) {
        printf("not run: tiles of matrix units, the device or the build has none\n");
        return;
    }
    p = probe_broken(MATRIX, "");
    cr_assert(p.exact, "%s", p.note);
    cr_assert_not(p.matrix);
    cr_assert_str_eq(p.note, "tiled matmul of Q5_1 wrong: matrix switched off");
}

struct kernels {
    int n, dot, stop_at;
};

static bool count_kernel(void *user, const lk_kernel_time *t)
{
    struct kernels *k = user;
    cr_assert_str_eq(t->type, "Q4_K");
    cr_assert(t->n_tokens == 3 && t->threads == 0 && t->rows > 0 && t->cols > 0);
    cr_assert_gt(t->bytes_per_second, 0.0);
    cr_assert_gt(t->ops_per_second, 0.0);
    k->dot += strcmp(t->level, "int-dot") == 0;
    return ++k->n != k->stop_at;
}

/* A kernel is timed with and without the packed dot product, which the drivers here have. */
Test(vk_device, a_kernel_is_timed_with_each_arithmetic)
{
    if (vk_pair_leaves("times of kernels")) {
        return;
    }
    struct lk_backend_options o = {.device = vk_pair_id(), .cache_dir = getenv("LK_TEST_CACHE")};
    struct kernels k = {0};
    lk_error err = {0};
    cr_assert_eq(lk_backend_vulkan.kernels(&o, true, "Q4_K", 3, count_kernel, &k, &err), LK_OK,
                 "%s", err.message);
    cr_assert(k.n == 2 && k.dot == 1, "%d, %d", k.n, k.dot);
    k = (struct kernels){.stop_at = 1};
    o.vk_disable = "int-dot";
    cr_assert_eq(lk_backend_vulkan.kernels(&o, true, "Q4_K", 3, count_kernel, &k, &err),
                 LK_E_CANCELLED);
    cr_assert(k.n == 1 && k.dot == 0, "%d, %d", k.n, k.dot);
}

Test(vk_device, what_is_not_there_is_an_error)
{
    struct lk_backend *b = NULL;
    struct lk_caps caps;
    struct lk_device device;
    lk_error err = {0};
    struct lk_device_id gone = *vk_pair_id();
    struct lk_backend_options o = {.device = &gone};
    gone.twin = 7;
    cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_E_DEVICE);
    cr_assert(strstr(err.message, "not there any more"), "%s", err.message);
    o.device = NULL;
    cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_E_DEVICE);
    cr_assert(strstr(err.message, "no device was chosen"), "%s", err.message);
    o.device = vk_pair_id();
    o.vk_disable = "int-dot,warp-drive";
    cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "warp-drive"), "%s", err.message);
    /* CPU drivers are not taken unless named. */
    o = (struct lk_backend_options){0};
    if (lk_device_one(&lk_backend_vulkan, &o, NULL, &device, &err)) {
        cr_assert_str_eq(err.message, "vulkan: no GPU, only a driver that computes on the CPU");
    } else {
        cr_assert_geq(lk_device_rank(&device.info), 0); /* there is a GPU here */
    }
    cr_assert_eq(lk_device_one(&lk_backend_vulkan, &o, "no such device", &device, &err),
                 LK_E_DEVICE);
    cr_assert(strstr(err.message, "no such device"), "%s", err.message);
}

/* The speed of a device's memory is measured once, and kept with the verdict of its probe. */
Test(vk_device, the_speed_is_measured_once)
{
    if (vk_pair_leaves("a speed that is kept")) {
        return;
    }
    char dir[] = "/tmp/lk-speed-XXXXXX", command[64];
    double speed[2] = {0}, now = 0.0;
    cr_assert(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        struct lk_backend *b = NULL;
        struct lk_caps caps;
        lk_error err = {0};
        struct lk_backend_options o = {.device = vk_pair_id(), .cache_dir = dir};
        cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_backend_vulkan.speed(b, &speed[i], &err), LK_OK, "%s", err.message);
        cr_assert(caps.exact && speed[i] > 1e6, "%g bytes per second", speed[i]);
        cr_assert_eq(lk_backend_vulkan.read_rate(b, 8 << 20, 2, &now, &err), LK_OK);
        lk_backend_vulkan.close(b);
    }
    cr_assert(speed[0] == speed[1], "%a and %a", speed[0], speed[1]);
    cr_assert(now != speed[1], "two measurements are never the same");
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

/* The same device is found again by its identity, and listed devices have identities apart. */
Test(vk_device, identities_are_stable_and_apart)
{
    struct lk_backend_options o = {0};
    struct lk_device_list a, b;
    cr_assert_eq(lk_device_list_find(&lk_backend_vulkan, &o, &a, NULL), LK_OK);
    cr_assert_eq(lk_device_list_find(&lk_backend_vulkan, &o, &b, NULL), LK_OK);
    cr_assert_eq(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        for (size_t k = 0; k < b.n; k++) {
            cr_assert_eq(lk_device_same(&a.items[i].id, &b.items[k].id), i == k);
        }
    }
    lk_device_list_free(&a);
    lk_device_list_free(&b);
}
