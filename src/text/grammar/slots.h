/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots: an index by content. Keeps hashes and ids alone; whoever owns the things compares them.
 */
#ifndef LK_SLOTS_H
#define LK_SLOTS_H

#include <string.h>

#include "base/mem.h"

struct lk_slot {
    uint32_t hash, id; /* id: 1 + that of the thing; 0: an empty slot */
};

/* All zero: empty. Open addressing, at most half full. */
struct lk_slots {
    struct lk_slot *slot;
    size_t n, cap; /* cap: a power of two or 0 */
};

static inline uint32_t lk_hash_mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 0x9E3779B1u;
    return h ^ h >> 15;
}

/* n bytes, a multiple of 4. */
static inline uint32_t lk_hash_bytes(uint32_t h, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i += 4) {
        uint32_t v;
        memcpy(&v, (const char *)data + i, 4);
        h = lk_hash_mix(h, v);
    }
    return h;
}

/* Walks over the things with this hash: *at begins as the hash; false when there is no more. */
static inline bool lk_slots_next(const struct lk_slots *s, uint32_t hash, size_t *at, uint32_t *id)
{
    for (; s->cap; (*at)++) {
        const struct lk_slot *slot = &s->slot[*at & (s->cap - 1)];
        if (!slot->id) {
            return false;
        }
        if (slot->hash == hash) {
            *id = slot->id - 1;
            (*at)++;
            return true;
        }
    }
    return false;
}

static inline void lk_slots_put(struct lk_slots *s, uint32_t hash, uint32_t id)
{
    size_t at = hash & (s->cap - 1);
    while (s->slot[at].id) {
        at = (at + 1) & (s->cap - 1);
    }
    s->slot[at] = (struct lk_slot){hash, id + 1};
}

/* False when there is no memory; then nothing changed. */
static inline bool lk_slots_add(struct lk_slots *s, uint32_t hash, uint32_t id)
{
    if (s->n * 2 >= s->cap) {
        struct lk_slots grown = {.n = s->n, .cap = s->cap ? s->cap * 2 : 64};
        grown.slot = lk_alloc_array(grown.cap, sizeof *grown.slot);
        if (!grown.slot) {
            return false;
        }
        for (size_t i = 0; i < s->cap; i++) {
            if (s->slot[i].id) {
                lk_slots_put(&grown, s->slot[i].hash, s->slot[i].id - 1);
            }
        }
        lk_free(s->slot);
        *s = grown;
    }
    lk_slots_put(s, hash, id);
    s->n++;
    return true;
}

static inline void lk_slots_free(struct lk_slots *s)
{
    lk_free(s->slot);
    *s = (struct lk_slots){0};
}

#endif
