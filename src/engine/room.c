/* SPDX-License-Identifier: Apache-2.0
 *
 * Room: see room.h.
 */
#include "engine/room.h"

#include "engine/run.h"

lk_status lk_room_of(lk_engine *e, struct lk_room *out, lk_error *err)
{
    lk_status status = LK_OK;
    lk_mutex_lock(e->lock);
    if (e->home->lost) {
        struct lk_lane *to;
        status = lk_engine_lane_after(e, e->home, &to, err);
        e->home = status ? e->home : to;
    }
    const struct lk_state_pool *pool = &e->home->pool;
    *out = (struct lk_room){.n_blocks = pool->n_blocks,
                            .n_free = pool->n_free,
                            .n_slots = pool->n_slots,
                            .n_free_slots = pool->n_free_slots,
                            .lane = e->home};
    lk_mutex_unlock(e->lock);
    return status;
}

int lk_room_blocks(size_t n_tokens)
{
    return (int)((n_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK);
}

int lk_room_needed(const lk_session *s, size_t n)
{
    const struct lk_state_seq *seq = &s->seq;
    int tail = seq->n_tokens / LK_KV_BLOCK, all = lk_room_blocks((size_t)seq->n_tokens + n);
    bool shared = n > 0 && tail < seq->n_blocks && s->lane->pool.refs[seq->blocks[tail]] > 1;
    return (all > seq->n_blocks ? all - seq->n_blocks : 0) + shared;
}

int lk_room_held(const lk_session *s)
{
    return s->seq.n_blocks;
}

lk_status lk_room_follow(lk_session *s, lk_error *err)
{
    lk_mutex_lock(s->engine->lock);
    lk_status status = lk_session_leave_lost(s, err);
    lk_mutex_unlock(s->engine->lock);
    return status;
}

lk_status lk_room_drop(lk_session *s, lk_error *err)
{
    lk_status status = lk_session_truncate(s, 0, err);
    return status ? status : lk_room_follow(s, err);
}
