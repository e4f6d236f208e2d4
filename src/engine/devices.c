/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices: lists what there is to run on, and which "auto" takes: a Vulkan GPU, discrete before
 * integrated, else the CPU. The engine's own choice asks the same backends in the same order. And
 * what is switched off for a device for good.
 */
#include <string.h>

#include "backend/backend.h"
#include "base/mem.h"

struct list {
    lk_device_info *items;
    size_t n, cap;
    lk_status status;
    lk_error *err;
};

static void keep(void *user, const lk_device_info *device)
{
    struct list *list = user;
    if (!list->status) {
        list->status =
            lk_grow(&list->items, &list->cap, list->n + 1, sizeof *list->items, list->err);
    }
    if (!list->status) {
        list->items[list->n++] = *device;
    }
}

/* Lower is better; -1: never taken by "auto". */
static int rank(const lk_device_info *d)
{
    static const char *const ORDER[] = {"discrete", "integrated", "virtual"};
    if (!d->usable || (strcmp(d->backend, "cpu") != 0 && strcmp(d->type, "cpu") == 0)) {
        return -1; /* a CPU driver of Vulkan is used when it is named, not by itself */
    }
    for (int i = 0; i < (int)LK_COUNT(ORDER); i++) {
        if (strcmp(d->type, ORDER[i]) == 0) {
            return i;
        }
    }
    return strcmp(d->backend, "cpu") == 0 ? 9 : 8;
}

static void choose(struct list *list)
{
    int best = -1;
    for (size_t i = 0; i < list->n; i++) {
        int r = rank(&list->items[i]);
        if (r >= 0 && (best < 0 || r < rank(&list->items[best]))) {
            best = (int)i;
        }
    }
    for (size_t i = 0; i < list->n; i++) {
        lk_device_info *d = &list->items[i];
        d->chosen = (int)i == best;
        if (!d->chosen && d->usable && d->note[0] == 0) {
            strcpy(d->note, rank(d) < 0 ? "a CPU driver: used when it is named" : "not the first");
        }
    }
}

lk_status lk_devices(const lk_engine_options *options,
                     void (*each)(void *user, const lk_device_info *device), void *user,
                     lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    lk_status taken = lk_options_take(&o, sizeof o, options, "engine", err);
    if (taken) {
        return taken;
    }
    struct lk_backend_options bo = {.cpu_level = o.cpu_level,
                                    .vk_disable = o.vk_disable,
                                    .cache_dir = o.cache_dir,
                                    .log = {o.log, o.user},
                                    .progress = o.progress,
                                    .progress_user = o.user};
    struct list list = {.err = err};
    size_t n;
    const struct lk_backend_impl *const *backends = lk_backends(&n);
    for (size_t i = 0; i < n && !list.status; i++) {
        lk_error why;
        if (backends[i]->devices && backends[i]->devices(&bo, keep, &list, &why)) {
            lk_log_line(&bo.log, LK_LOG_WARN, "%s", why.message);
        }
    }
    if (!list.status) {
        choose(&list);
        for (size_t i = 0; i < list.n; i++) {
            each(user, &list.items[i]);
        }
    }
    lk_free(list.items);
    return list.status;
}

lk_status lk_device_disable(const lk_engine_options *options, const char *feature, lk_error *err)
{
    lk_engine_options o = lk_engine_options_default();
    lk_status taken = lk_options_take(&o, sizeof o, options, "engine", err);
    if (taken) {
        return taken;
    }
    struct lk_backend_options bo = {.device = o.device,
                                    .cache_dir = o.cache_dir,
                                    .log = {o.log, o.user}};
    const struct lk_backend_impl *vulkan = lk_backend_find("vulkan");
    return vulkan ? vulkan->switch_off(&bo, feature, err)
                  : lk_fail(err, LK_E_DEVICE, "vulkan: built without Vulkan");
}
