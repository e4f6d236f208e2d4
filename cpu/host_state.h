/* SPDX-License-Identifier: Apache-2.0
 *
 * Host_state: states in host memory, with guards: what the backends "cpu" and "scalar" share.
 */
#ifndef LK_HOST_STATE_H
#define LK_HOST_STATE_H

#include "backend/backend.h"

/* Each state lies behind a guard of GUARD bytes, in whole pages; one more guard ends all. */
struct lk_state_mem {
    struct lk_state_geom geom;
    uint8_t *pages;
    size_t n_bytes;
    size_t *at; /* owned, [n_states + 1]: where each state begins; the end of all */
};

/* The functions of struct lk_backend_impl. */
lk_status lk_host_state_alloc(struct lk_backend *backend, const struct lk_state_geom *geom,
                              struct lk_state_mem **out, lk_error *err);
void lk_host_state_free(struct lk_state_mem *mem);
lk_status lk_host_state_read(struct lk_state_mem *mem, int state, size_t offset, void *data,
                             size_t n, lk_error *err);
lk_status lk_host_state_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                              size_t n, lk_error *err);
lk_status lk_host_state_check(struct lk_state_mem *mem, lk_error *err);

/* Where state i begins: words of cells (plan/kv_layout.h), or floats of a recurrent one. */
void *lk_host_state_at(const struct lk_state_mem *mem, int i);

#endif
