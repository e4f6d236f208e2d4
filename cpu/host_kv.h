/* SPDX-License-Identifier: Apache-2.0
 *
 * Host_kv: a KV cache in host memory, that of the backends which run on the CPU: f16 buffers in the
 * layout of src/plan/kv_layout.h, each between two guard arrays. The functions are those of struct
 * lk_backend_impl. Knows no ops.
 */
#ifndef LK_HOST_KV_H
#define LK_HOST_KV_H

#include "backend/backend.h"

struct lk_kv_mem {
    struct lk_kv_geom geom;
    size_t layer_elems; /* of K or V */
    uint8_t *pages;     /* per layer: guard, K, guard, V, guard; each buffer 4096-aligned */
    size_t stride;      /* bytes from one buffer to the next */
    size_t n_bytes;
};

lk_status lk_host_kv_alloc(struct lk_backend *backend, const struct lk_kv_geom *geom,
                           struct lk_kv_mem **out, lk_error *err);
void lk_host_kv_free(struct lk_kv_mem *kv);
/* Layer buffer; layer counts from geom.first_layer. */
uint16_t *lk_host_kv_at(const struct lk_kv_mem *kv, int layer, enum lk_kv_which which);
lk_status lk_host_kv_read(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                          void *data, size_t n, lk_error *err);
lk_status lk_host_kv_write(struct lk_kv_mem *kv, int layer, enum lk_kv_which which, size_t offset,
                           const void *data, size_t n, lk_error *err);
lk_status lk_host_kv_check(struct lk_kv_mem *kv, lk_error *err);

#endif
