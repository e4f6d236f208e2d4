/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices: lists what there is to run on, and which "auto" takes: a Vulkan GPU, discrete before
 * integrated, else the CPU. And what is switched off for a device for good.
 */
#include <stdio.h>
#include <string.h>

#include "backend/device_list.h"
#include "base/mem.h"

/* Adds the devices of one backend. */
static lk_status add(struct lk_device_list *all, const struct lk_backend_impl *impl,
                     struct lk_backend_options *options, lk_error *err)
{
    struct lk_device_list list;
    lk_error why;
    if (lk_device_list_find(impl, options, &list, &why)) {
        lk_log_line(&options->log, LK_LOG_WARN, "%s", why.message);
        return LK_OK;
    }
    lk_status status = lk_grow(&all->items, &all->cap, all->n + list.n, sizeof *all->items, err);
    for (size_t i = 0; i < list.n && !status; i++) {
        struct lk_device *d = &all->items[all->n++];
        *d = list.items[i];
        if (d->info.usable && impl->look) {
            options->device = &d->id;
            impl->look(options, &d->info);
        }
    }
    lk_device_list_free(&list);
    return status;
}

/* "auto" takes the best GPU, else the CPU, which comes last. */
static void choose(struct lk_device_list *all)
{
    int best = lk_device_choose(all, NULL);
    for (int i = 0; i < (int)all->n; i++) {
        lk_device_info *d = &all->items[i].info;
        d->chosen = i == (best >= 0 ? best : (int)all->n - 1);
        if (!d->chosen && d->usable && d->note[0] == 0) {
            snprintf(d->note, sizeof d->note, "%s",
                     strcmp(d->type, "cpu") == 0 ? "a CPU driver: used when it is named"
                     : lk_device_rank(d) < 0     ? "no GPU: used when it is named"
                                                 : "not the first");
        }
    }
}

lk_status lk_devices(const lk_engine_options *options,
                     void (*each)(void *user, const lk_device_info *device), void *user,
                     lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    lk_status status = lk_options_take(&o, sizeof o, options, "engine", err);
    struct lk_backend_options bo = {.cpu_level = o.cpu_level,
                                    .vk_disable = o.vk_disable,
                                    .cache_dir = o.cache_dir,
                                    .log = {o.log, o.user},
                                    .progress = o.progress,
                                    .progress_user = o.user};
    struct lk_device_list all = {0};
    size_t n;
    const struct lk_backend_impl *const *backends = lk_backends(&n);
    for (size_t i = 0; i < n && !status; i++) {
        status = backends[i]->list ? add(&all, backends[i], &bo, err) : LK_OK;
    }
    if (!status) {
        choose(&all);
    }
    for (size_t i = 0; i < all.n && !status; i++) {
        each(user, &all.items[i].info);
    }
    lk_device_list_free(&all);
    return status;
}

lk_status lk_device_disable(const lk_engine_options *options, const char *feature, lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    lk_status status = lk_options_take(&o, sizeof o, options, "engine", err);
    struct lk_backend_options bo = {.cache_dir = o.cache_dir, .log = {o.log, o.user}};
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    struct lk_device device;
    if (!status && !vulkan) {
        status = lk_fail(err, LK_E_DEVICE, "vulkan: built without Vulkan");
    }
    if (!status) {
        status = lk_device_one(vulkan, &bo, o.device, &device, err);
    }
    if (!status) {
        bo.device = &device.id;
        status = vulkan->switch_off(&bo, feature, err);
    }
    return status;
}
