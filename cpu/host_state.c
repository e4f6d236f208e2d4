/* SPDX-License-Identifier: Apache-2.0
 *
 * Host_state: see host_state.h.
 */
#include "cpu/host_state.h"

#include <string.h>

#include "base/mem.h"
#include "base/os.h"

enum { GUARD = 4096, GUARD_BYTE = 0x5C };

/* Finds where each state begins; the end of all in n_bytes. */
static lk_status lay_out(struct lk_state_mem *mem, lk_error *err)
{
    const struct lk_plan *plan = mem->geom.plan;
    size_t at = GUARD;
    for (int i = 0; i < plan->n_states; i++) {
        size_t units = (size_t)lk_state_units(&mem->geom, i), n;
        mem->at[i] = at;
        if (!lk_mul_size(units, lk_state_unit_bytes(&plan->states[i]), &n) ||
            n > SIZE_MAX - 2 * GUARD || !lk_add_size(at, lk_round_up(n, GUARD) + GUARD, &at)) {
            return lk_fail(err, LK_E_NOMEM, "states of %d layers: size overflows", plan->n_layer);
        }
    }
    mem->at[plan->n_states] = at;
    mem->n_bytes = at;
    return LK_OK;
}

/* Maps the pages and writes the guards: all that is not a state's own bytes. */
static lk_status map_pages(struct lk_state_mem *mem, lk_error *err)
{
    const struct lk_state_geom *geom = &mem->geom;
    mem->pages = lk_pages_alloc(mem->n_bytes);
    if (!mem->pages) {
        return lk_fail(err, LK_E_NOMEM,
                       "out of memory: %zu bytes of states (%d blocks of %d tokens)", mem->n_bytes,
                       geom->n_blocks, LK_KV_BLOCK);
    }
    memset(mem->pages, GUARD_BYTE, GUARD);
    for (int i = 0; i < geom->plan->n_states; i++) {
        size_t end = mem->at[i] + lk_state_bytes(geom, i);
        memset(mem->pages + end, GUARD_BYTE, mem->at[i + 1] - end);
    }
    return LK_OK;
}

lk_status lk_host_state_alloc(struct lk_backend *backend, const struct lk_state_geom *geom,
                              struct lk_state_mem **out, lk_error *err)
{
    (void)backend;
    struct lk_state_mem *mem = lk_alloc(sizeof *mem);
    if (!mem) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: states");
    }
    mem->geom = *geom;
    mem->at = lk_alloc_array((size_t)geom->plan->n_states + 1, sizeof *mem->at);
    lk_status status =
        mem->at ? lay_out(mem, err) : lk_fail(err, LK_E_NOMEM, "out of memory: states");
    if (!status) {
        status = map_pages(mem, err);
    }
    if (status) {
        lk_host_state_free(mem);
        return status;
    }
    *out = mem;
    return LK_OK;
}

void lk_host_state_free(struct lk_state_mem *mem)
{
    if (mem) {
        if (mem->pages) {
            lk_pages_free(mem->pages, mem->n_bytes);
        }
        lk_free(mem->at);
        lk_free(mem);
    }
}

void *lk_host_state_at(const struct lk_state_mem *mem, int i)
{
    return mem->pages + mem->at[i];
}

lk_status lk_host_state_read(struct lk_state_mem *mem, int state, size_t offset, void *data,
                             size_t n, lk_error *err)
{
    lk_status status = lk_state_check_range(&mem->geom, state, offset, n, err);
    if (!status) {
        memcpy(data, mem->pages + mem->at[state] + offset, n);
    }
    return status;
}

lk_status lk_host_state_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                              size_t n, lk_error *err)
{
    lk_status status = lk_state_check_range(&mem->geom, state, offset, n, err);
    if (!status) {
        memcpy(mem->pages + mem->at[state] + offset, data, n);
    }
    return status;
}

lk_status lk_host_state_check(struct lk_state_mem *mem, lk_error *err)
{
    const struct lk_plan *plan = mem->geom.plan;
    int first = plan->n_states > 0 ? -1 : 0;
    for (int i = first; i < plan->n_states; i++) { /* -1: the guard before all */
        size_t end = i < 0 ? 0 : mem->at[i] + lk_state_bytes(&mem->geom, i);
        for (size_t at = end; at < mem->at[i + 1]; at++) {
            if (mem->pages[at] == GUARD_BYTE) {
                continue;
            }
            /* The last bytes before a state are laid to it, unless the one before it is nearer. */
            bool before = i < 0 || (i + 1 < plan->n_states && mem->at[i + 1] - at < at - end);
            const struct lk_state *s = &plan->states[before ? i + 1 : i];
            return lk_fail(err, LK_E_INTERNAL, "state guard overwritten: layer %d, %s, byte %zu %s",
                           s->layer, lk_state_name(s), before ? mem->at[i + 1] - at : at - end,
                           before ? "before it" : "past its end");
        }
    }
    return LK_OK;
}
