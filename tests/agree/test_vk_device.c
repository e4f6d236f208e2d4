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

#include "src/numerics.h"

#include "shaders/probe_items.h"
#include "shaders/spirv_lint.h"
#include "src/backend.h"
#include "src/vulkan/vk_shaders.h"

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
        cr_assert(strstr(s.first.features, "unpack16"), "%s; %s", s.first.features, s.first.note);
        cr_assert_gt(s.first.memory, 0);
        cr_assert(s.first.name[0] && s.first.driver[0] && s.first.type[0]);
        printf("%s (%s), %s: %s\n", s.first.name, s.first.driver, s.first.type, s.first.features);
    }
    snprintf(command, sizeof command, "ls %s | grep -c probe$ | grep -qx 1", dir);
    cr_assert_eq(system(command), 0, "the verdict is kept in a file");
    /* A verdict that says otherwise is told by name, and a failed feature is switched off. */
    char path[160];
    snprintf(command, sizeof command, "ls %s/*.probe", dir);
    FILE *ls = popen(command, "r");
    cr_assert(ls && fgets(path, sizeof path, ls));
    path[strcspn(path, "\n")] = 0;
    pclose(ls);
    FILE *f = fopen(path, "r+b");
    uint32_t failed = 1u << LK_PROBE_EXP | 1u << LK_PROBE_HW_HALF;
    cr_assert(f && fseek(f, 48, SEEK_SET) == 0 && fwrite(&failed, 4, 1, f) == 1);
    fclose(f);
    struct seen s = {0};
    lk_engine_options o = lk_engine_options_default();
    o.cache_dir = dir;
    cr_assert_eq(lk_devices(&o, see, &s, NULL), LK_OK);
    cr_assert(!s.first.exact && strstr(s.first.note, "'exp'"), "%s", s.first.note);
    cr_assert_null(strstr(s.first.features, "unpack16"), "%s", s.first.features);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(vk_device, names_that_are_wrong_are_errors)
{
    struct lk_backend *b = NULL;
    struct lk_caps caps;
    lk_error err = {0};
    struct lk_backend_options o = {.device = "no such device"};
    cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_E_DEVICE);
    cr_assert(strstr(err.message, "no such device"), "%s", err.message);
    o.device = "99";
    cr_assert_eq(lk_backend_vulkan.probe(&o, &caps, &err), LK_E_DEVICE);
    o.device = "0";
    o.vk_disable = "int-dot,warp-drive";
    cr_assert_eq(lk_backend_vulkan.open(&o, &b, &caps, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "warp-drive"), "%s", err.message);
    /* CPU drivers are not taken unless named. */
    o.device = NULL;
    o.vk_disable = NULL;
    lk_status status = lk_backend_vulkan.open(&o, &b, &caps, &err);
    if (status == LK_OK) {
        lk_backend_vulkan.close(b); /* there is a GPU here */
    } else {
        cr_assert_eq(status, LK_E_DEVICE);
        cr_assert(strstr(err.message, "named"), "%s", err.message);
    }
}
