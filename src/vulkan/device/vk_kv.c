/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_kv: see vk_kv.h.
 */
#include "vulkan/device/vk_kv.h"

#include "base/mem.h"

/* Layer i: guard, K, guard, V; a block of whole layers ends with a guard. */
VkDeviceSize lk_vk_kv_at(const struct lk_kv_mem *kv, int layer, enum lk_kv_which which,
                         const struct lk_vk_buffer **block)
{
    *block = &kv->blocks[layer / kv->layers_per_block];
    int i = 2 * (layer % kv->layers_per_block) + (which == LK_KV_V);
    return (VkDeviceSize)i * kv->stride + LK_VK_KV_GUARD;
}

void lk_vk_kv_free(struct lk_kv_mem *kv)
{
    if (kv) {
        for (int i = 0; i < kv->n_blocks; i++) {
            lk_vk_buffer_destroy(kv->dev, &kv->blocks[i]);
        }
        lk_vk_buffer_destroy(kv->dev, &kv->staging);
        lk_free(kv->blocks);
        lk_free(kv);
    }
}

/* Zeroes all and writes the guards: everything that is not a buffer. */
static lk_status kv_clear(struct lk_kv_mem *kv, lk_error *err)
{
    lk_status status = LK_OK;
    for (int i = 0; i < kv->n_blocks && !status; i++) {
        status = lk_vk_fill(kv->dev, &kv->blocks[i], 0, VK_WHOLE_SIZE, LK_VK_KV_CANARY, err);
    }
    for (int l = 0; l < kv->geom.n_layers && !status; l++) {
        for (int w = 0; w < 2 && !status; w++) {
            const struct lk_vk_buffer *block;
            VkDeviceSize at = lk_vk_kv_at(kv, l, (enum lk_kv_which)w, &block);
            status = lk_vk_fill(kv->dev, block, at, kv->bytes, 0, err);
        }
    }
    return status;
}

lk_status lk_vk_kv_alloc(struct lk_vk_device *dev, const struct lk_kv_geom *geom,
                         struct lk_kv_mem **out, lk_error *err)
{
    struct lk_kv_mem *kv = lk_alloc(sizeof *kv);
    lk_status status = LK_OK;
    if (!kv) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: KV cache");
    }
    kv->dev = dev;
    kv->geom = *geom;
    kv->serial = ++dev->next_serial;
    kv->bytes = lk_kv_layer_elems(geom) * sizeof(uint16_t);
    kv->stride = LK_VK_KV_GUARD + lk_round_up((size_t)kv->bytes, 256);
    VkDeviceSize limit = 1u << 30, range = dev->found.props.limits.maxStorageBufferRange;
    limit = limit < dev->found.max_allocation ? limit : dev->found.max_allocation;
    VkDeviceSize most = (limit - 3 * LK_VK_KV_GUARD) / 2 / LK_VK_ALIGN * LK_VK_ALIGN;
    most = most < range ? most : range;
    if (kv->bytes > most) {
        status = lk_fail(err, LK_E_UNSUPPORTED,
                         "KV cache: %llu bytes of keys a layer are beyond the device's buffers of "
                         "%llu: use a smaller context",
                         (unsigned long long)kv->bytes, (unsigned long long)most);
        goto fail;
    }
    int per = (int)((limit - LK_VK_KV_GUARD) / (2 * kv->stride));
    kv->layers_per_block = per < geom->n_layers ? per : geom->n_layers;
    kv->layers_per_block = kv->layers_per_block > 0 ? kv->layers_per_block : 1;
    int n = (geom->n_layers + kv->layers_per_block - 1) / kv->layers_per_block;
    kv->blocks = lk_alloc_array((size_t)n + 1, sizeof *kv->blocks);
    if (!kv->blocks) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: KV cache");
        goto fail;
    }
    for (; kv->n_blocks < n && !status; kv->n_blocks++) {
        int layers = geom->n_layers - kv->n_blocks * kv->layers_per_block;
        layers = layers < kv->layers_per_block ? layers : kv->layers_per_block;
        status = lk_vk_buffer_create(dev, (VkDeviceSize)layers * 2 * kv->stride + LK_VK_KV_GUARD,
                                     LK_VK_USE_DEVICE, "KV cache", &kv->blocks[kv->n_blocks], err);
    }
    if (!status) {
        status =
            lk_vk_buffer_create(dev, 1u << 20, LK_VK_USE_READBACK, "KV staging", &kv->staging, err);
    }
    if (!status) {
        status = kv_clear(kv, err);
    }
    if (!status) {
        *out = kv;
        return LK_OK;
    }
fail:
    lk_vk_kv_free(kv);
    return status;
}

static lk_status kv_range(const struct lk_kv_mem *kv, int layer, size_t offset, size_t n,
                          lk_error *err)
{
    size_t end;
    if (layer < 0 || layer >= kv->geom.n_layers || !lk_add_size(offset, n, &end) ||
        end > kv->bytes) {
        return lk_fail(err, LK_E_INVALID,
                       "KV range: layer %d bytes %zu+%zu, expected layer < %d and at most %llu "
                       "bytes",
                       layer, offset, n, kv->geom.n_layers, (unsigned long long)kv->bytes);
    }
    return LK_OK;
}

lk_status lk_vk_kv_read(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                        void *data, size_t n, lk_error *err)
{
    lk_status status = kv_range(kv, layer, offset, n, err);
    const struct lk_vk_buffer *block;
    if (status) {
        return status;
    }
    VkDeviceSize at = lk_vk_kv_at(kv, layer, which, &block);
    return lk_vk_read(kv->dev, block, at + offset, data, n, &kv->staging, err);
}

lk_status lk_vk_kv_write(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                         const void *data, size_t n, lk_error *err)
{
    lk_status status = kv_range(kv, layer, offset, n, err);
    const struct lk_vk_buffer *block;
    if (status) {
        return status;
    }
    VkDeviceSize at = lk_vk_kv_at(kv, layer, which, &block);
    struct lk_vk_buffer to = *block;
    return lk_vk_write(kv->dev, &to, at + offset, data, n, &kv->staging, err);
}

static lk_status check_guard(struct lk_kv_mem *kv, const struct lk_vk_buffer *block,
                             VkDeviceSize at, size_t n, int layer, const char *where, lk_error *err)
{
    uint8_t guard[2 * LK_VK_KV_GUARD];
    lk_status status = lk_vk_read(kv->dev, block, at, guard, n, &kv->staging, err);
    for (size_t i = 0; i < n && !status; i++) {
        if (guard[i] != (uint8_t)LK_VK_KV_CANARY) {
            status = lk_fail(err, LK_E_INTERNAL, "KV guard overwritten: layer %d, byte %zu %s",
                             layer, i, where);
        }
    }
    return status;
}

lk_status lk_vk_kv_check(struct lk_kv_mem *kv, lk_error *err)
{
    lk_status status = LK_OK;
    size_t tail = (size_t)(kv->stride - LK_VK_KV_GUARD - kv->bytes);
    for (int l = 0; l < kv->geom.n_layers && !status; l++) {
        for (int w = 0; w < 2 && !status; w++) {
            const struct lk_vk_buffer *block;
            VkDeviceSize at = lk_vk_kv_at(kv, l, (enum lk_kv_which)w, &block);
            int layer = kv->geom.first_layer + l;
            status = check_guard(kv, block, at - LK_VK_KV_GUARD, LK_VK_KV_GUARD, layer,
                                 w ? "before V" : "before K", err);
            if (!status) {
                status = check_guard(kv, block, at + kv->bytes, tail + LK_VK_KV_GUARD, layer,
                                     w ? "past V" : "past K", err);
            }
        }
    }
    return status;
}
