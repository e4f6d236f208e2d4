/* SPDX-License-Identifier: Apache-2.0
 *
 * Opened: the backends that an engine has open, one for each device that parts of its lanes are on;
 * and which of them were lost. Knows no lane.
 */
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "gguf/model_file.h"

enum { MAX_LOSSES = 8 }; /* of one device */

/* The quantized types of the model's tensors, and one, since none would stand for all. */
static uint64_t types_of(const lk_model *model)
{
    uint64_t types = lk_type_bit(LK_TYPE_Q8_0);
    for (size_t i = 0; i < lk_gguf_n_tensors(model->gguf); i++) {
        types |= lk_type_bit(lk_gguf_tensor_at(model->gguf, i)->type);
    }
    return types;
}

static struct lk_backend_options options_for(const struct lk_engine *e, const struct lk_opened *on)
{
    return (struct lk_backend_options){.threads = e->options.threads,
                                       .threads_batch = e->options.threads_batch,
                                       .pin = e->options.pin,
                                       .cpu_level = e->options.cpu_level,
                                       .device = on->impl->look ? &on->device : NULL,
                                       .vk_disable = e->options.vk_disable,
                                       .types = types_of(e->model),
                                       .cache_dir = e->options.cache_dir,
                                       .log = e->log,
                                       .progress = e->options.progress,
                                       .progress_user = e->options.user};
}

static void opened_free(struct lk_opened *on)
{
    if (on->backend) {
        on->impl->close(on->backend);
    }
    lk_mutex_free(on->lock);
    lk_free(on);
}

bool lk_opened_is_on(const struct lk_opened *on, const struct lk_backend_impl *impl,
                     const struct lk_device_id *device)
{
    return on->impl == impl && lk_device_same(&on->device, device);
}

lk_status lk_opened_get(struct lk_engine *e, const struct lk_backend_impl *impl,
                        const struct lk_device_id *device, struct lk_opened **out, lk_error *err)
{
    int losses = 0;
    for (size_t i = 0; i < e->n_opened; i++) {
        struct lk_opened *on = e->opened[i];
        if (lk_opened_is_on(on, impl, device) && !on->lost) {
            on->n_users++;
            *out = on;
            return LK_OK;
        }
        losses += lk_opened_is_on(on, impl, device);
    }
    if (losses == MAX_LOSSES) {
        return lk_fail(err, LK_E_DEVICE, "backend '%s': opened and lost too often", impl->name);
    }
    lk_status status = lk_grow(&e->opened, &e->cap_opened, e->n_opened + 1, sizeof *e->opened, err);
    struct lk_opened *on = status ? NULL : lk_alloc(sizeof *on);
    if (!on) {
        return status ? status
                      : lk_fail(err, LK_E_NOMEM, "out of memory opening backend '%s'", impl->name);
    }
    *on = (struct lk_opened){.impl = impl, .device = *device, .n_users = 1};
    on->lock = lk_mutex_new();
    if (!on->lock) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory opening backend '%s'", impl->name);
    }
    if (!status) {
        struct lk_backend_options options = options_for(e, on);
        options.pack = impl == lk_backend_find("cpu") ? lk_engine_pack_home(e) : NULL;
        status = impl->open(&options, &on->backend, &on->caps, err);
    }
    if (status) {
        opened_free(on);
        return status;
    }
    e->opened[e->n_opened++] = on;
    *out = on;
    return LK_OK;
}

void lk_opened_put(struct lk_engine *e, struct lk_opened *on)
{
    if (--on->n_users > 0) {
        return;
    }
    if (on->lost) {
        on->impl->close(on->backend);
        on->backend = NULL;
        return;
    }
    for (size_t i = 0; i < e->n_opened; i++) {
        if (e->opened[i] == on) {
            e->opened[i] = e->opened[--e->n_opened];
            break;
        }
    }
    opened_free(on);
}

void lk_opened_free_all(struct lk_engine *e)
{
    for (size_t i = 0; i < e->n_opened; i++) {
        opened_free(e->opened[i]);
    }
    lk_free(e->opened);
}

bool lk_device_is_lost(const struct lk_engine *e, const struct lk_backend_impl *impl,
                       const struct lk_device_id *device)
{
    bool lost = false;
    for (size_t i = 0; i < e->n_opened; i++) {
        if (lk_opened_is_on(e->opened[i], impl, device)) {
            if (!e->opened[i]->lost) {
                return false;
            }
            lost = true;
        }
    }
    return lost;
}
