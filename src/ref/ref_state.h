/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref_state: the states of the backend "ref", in double, converted to what other backends hold
 * where they are read or written. Knows no op.
 */
#ifndef LK_REF_STATE_H
#define LK_REF_STATE_H

#include "backend/backend.h"

/* Cells of all states, one after the other. */
struct lk_state_mem {
    struct lk_state_geom geom;
    double *cells; /* owned */
    size_t *at;    /* owned; [n_states]: where a state begins */
};

/* Doubles of a unit: [n_head][LK_KV_BLOCK][head_dim] of a paged state, [rows][dim] of another. */
size_t lk_ref_unit_cells(const struct lk_state *state);
double *lk_ref_cells(const struct lk_state_mem *mem, int state);

/* The backend's (struct lk_backend_impl); offsets and sizes are whole units. */
lk_status lk_ref_state_alloc(struct lk_backend *backend, const struct lk_state_geom *geom,
                             struct lk_state_mem **out, lk_error *err);
void lk_ref_state_free(struct lk_state_mem *mem);
lk_status lk_ref_state_read(struct lk_state_mem *mem, int i, size_t offset, void *data, size_t n,
                            lk_error *err);
lk_status lk_ref_state_write(struct lk_state_mem *mem, int i, size_t offset, const void *data,
                             size_t n, lk_error *err);
lk_status lk_ref_state_check(struct lk_state_mem *mem, lk_error *err);

#endif
