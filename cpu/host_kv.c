/* SPDX-License-Identifier: Apache-2.0
 *
 * Host_kv: see host_kv.h.
 */
#include "cpu/host_kv.h"

#include <string.h>

#include "base/mem.h"
#include "base/os.h"

enum { GUARD = 4096, GUARD_BYTE = 0x5C };

/* Buffer i of 2 * n_layers lies at i * stride + GUARD; a guard precedes each and one ends all. */
static uint8_t *guard_at(const struct lk_kv_mem *kv, int i)
{
    return kv->pages + (size_t)i * kv->stride;
}

static size_t buffer_bytes(const struct lk_kv_mem *kv)
{
    return kv->layer_elems * sizeof(uint16_t);
}

/* Maps the buffers of kv, whose geometry is set, and writes their guards. */
static lk_status map_buffers(struct lk_kv_mem *kv, lk_error *err)
{
    const struct lk_kv_geom *geom = &kv->geom;
    int n = 2 * geom->n_layers;
    size_t total;
    kv->layer_elems = lk_kv_layer_elems(geom);
    kv->stride = GUARD + lk_round_up(buffer_bytes(kv), GUARD);
    if (!lk_mul_size(kv->stride, (size_t)n, &total) || !lk_add_size(total, GUARD, &kv->n_bytes)) {
        return lk_fail(err, LK_E_NOMEM, "KV cache of %d layers: size overflows", geom->n_layers);
    }
    kv->pages = lk_pages_alloc(kv->n_bytes);
    if (!kv->pages) {
        return lk_fail(err, LK_E_NOMEM,
                       "out of memory: KV cache of %zu bytes (%d blocks of %d "
                       "tokens)",
                       kv->n_bytes, geom->n_blocks, LK_KV_BLOCK);
    }
    for (int i = 0; i <= n; i++) {
        memset(guard_at(kv, i), GUARD_BYTE, GUARD);
    }
    for (int i = 0; i < n; i++) { /* the rounding after a buffer is guard as well */
        memset(guard_at(kv, i) + GUARD + buffer_bytes(kv), GUARD_BYTE,
               kv->stride - GUARD - buffer_bytes(kv));
    }
    return LK_OK;
}

lk_status lk_host_kv_alloc(struct lk_backend *backend, const struct lk_kv_geom *geom,
                           struct lk_kv_mem **out, lk_error *err)
{
    (void)backend;
    struct lk_kv_mem *kv = lk_alloc(sizeof *kv);
    if (!kv) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: KV cache");
    }
    kv->geom = *geom;
    lk_status status = map_buffers(kv, err);
    if (status) {
        lk_host_kv_free(kv);
        return status;
    }
    *out = kv;
    return LK_OK;
}

void lk_host_kv_free(struct lk_kv_mem *kv)
{
    if (kv && kv->pages) {
        lk_pages_free(kv->pages, kv->n_bytes);
    }
    lk_free(kv);
}

uint16_t *lk_host_kv_at(const struct lk_kv_mem *kv, int layer, enum lk_kv_which which)
{
    return (uint16_t *)(void *)(guard_at(kv, 2 * layer + (which == LK_KV_V)) + GUARD);
}

static lk_status check_range(const struct lk_kv_mem *kv, int layer, size_t offset, size_t n,
                             lk_error *err)
{
    size_t end, have = buffer_bytes(kv);
    if (layer < 0 || layer >= kv->geom.n_layers || !lk_add_size(offset, n, &end) || end > have) {
        return lk_fail(
            err, LK_E_INVALID,
            "KV range: layer %d bytes %zu+%zu, expected layer < %d and at most %zu bytes", layer,
            offset, n, kv->geom.n_layers, have);
    }
    return LK_OK;
}

lk_status lk_host_kv_read(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                          void *data, size_t n, lk_error *err)
{
    lk_status status = check_range(kv, layer, offset, n, err);
    if (!status) {
        memcpy(data, (const uint8_t *)lk_host_kv_at(kv, layer, which) + offset, n);
    }
    return status;
}

lk_status lk_host_kv_write(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                           const void *data, size_t n, lk_error *err)
{
    lk_status status = check_range(kv, layer, offset, n, err);
    if (!status) {
        memcpy((uint8_t *)lk_host_kv_at(kv, layer, which) + offset, data, n);
    }
    return status;
}

lk_status lk_host_kv_check(struct lk_kv_mem *kv, lk_error *err)
{
    int n = 2 * kv->geom.n_layers;
    size_t tail = kv->stride - GUARD - buffer_bytes(kv);
    for (int i = 0; i <= n; i++) {
        const uint8_t *guard = guard_at(kv, i);
        size_t before = i > 0 ? tail : 0;
        for (size_t j = 0; j < before + GUARD; j++) {
            if (guard[(ptrdiff_t)j - (ptrdiff_t)before] != GUARD_BYTE) {
                int at = j < before || i == n ? i - 1 : i;
                return lk_fail(err, LK_E_INTERNAL,
                               "KV guard overwritten: layer %d, %s, byte %zu %s "
                               "the buffer",
                               kv->geom.first_layer + at / 2, at % 2 ? "V" : "K",
                               at == i ? GUARD - (j - before) : j,
                               at == i ? "before" : "past the end of");
            }
        }
    }
    return LK_OK;
}
