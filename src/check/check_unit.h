/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_unit: runs parts of a plan on several backends on the same inputs and compares what they
 * give: what src/check/ share. A side is a backend that takes part; a unit is a slice of the plan
 * prepared on a side; a feed is one batch of tokens for it. Knows plans, the seam and the public
 * interface of the engine; never a backend's inside.
 */
#ifndef LK_CHECK_UNIT_H
#define LK_CHECK_UNIT_H

#include "backend/backend.h"

struct lk_side {
    const struct lk_backend_impl *impl;
    struct lk_backend *backend;
    struct lk_backend_options options;
    struct lk_caps caps;
    const struct lk_plan *plan; /* the model's; a test may give a side a damaged copy */
    char name[96];              /* "cpu avx2", "vulkan NVIDIA H200" */
    char level[16];             /* of the CPU, what options.cpu_level points to */
};
lk_status lk_side_open(struct lk_side *side, const char *backend, const char *cpu_level,
                       const struct lk_backend_options *options, const struct lk_plan *plan,
                       lk_error *err);
void lk_side_close(struct lk_side *side); /* takes an all-zero one */

/* ---- feeds ---- */

/* Prefill: all tokens of the prompt. Few, one: its last tokens again, over the cache that is there.
 * Far: a token each at positions 0, 1, 63, 64 and the last of the context, sequences of their own
 * whose cache is the prompt's, repeated. */
enum lk_feed_kind { LK_FEED_PREFILL, LK_FEED_FEW, LK_FEED_ONE, LK_FEED_FAR, LK_FEEDS };
enum { LK_FEED_SEQS = 5, LK_FEED_OUTPUTS = 8, LK_FEED_SHORT_OUTPUTS = 2 }; /* short: no block */

struct lk_feeds {
    int n_tokens; /* of the prompt, at least LK_FEED_SEQS */
    int n_ctx;    /* positions; the last one is fed */
    int max_blocks, n_blocks, prompt_blocks;
    int32_t *token;    /* [n_tokens] */
    int32_t *tables;   /* [1 + LK_FEED_SEQS][max_blocks]: the prompt's, then those of far */
    void *const *lent; /* [states of the plan]: see lk_unit_lend; NULL: there are none */
    struct lk_feed {
        const char *name; /* "prefill", ... */
        struct lk_batch b;
        struct lk_batch_seq seqs[LK_FEED_SEQS];
        int32_t *pos, *seq; /* [n_tokens] */
        int32_t outputs[LK_FEED_OUTPUTS];
        int first; /* its first row among the prompt's tokens */
    } feed[LK_FEEDS];
};
lk_status lk_feeds_init(struct lk_feeds *f, int n_tokens, int n_ctx, int n_vocab, int32_t bos,
                        lk_error *err);
void lk_feeds_free(struct lk_feeds *f);

/* ---- units ---- */

/* What of the plan: -1 the embedding, 0 .. n_layer - 1 a layer, n_layer the head; or layers
 * [0, depth) with the embedding. */
struct lk_unit_spec {
    int layer;
    int depth;   /* > 0: instead of layer */
    int last_op; /* of the slice: it ends after this one; -1: it is whole */
    bool keep, fuse;
};
struct lk_unit {
    const struct lk_side *side;
    struct lk_unit_spec spec;
    struct lk_plan *slice;
    struct lk_exec *exec;
    struct lk_state_mem *states;
};
/* The part of a plan that a unit is, whole. */
lk_status lk_unit_slice(const struct lk_plan *plan, const struct lk_unit_spec *spec,
                        struct lk_plan **out, lk_error *err);
lk_status lk_unit_open(struct lk_unit *unit, const struct lk_side *side,
                       const struct lk_unit_spec *spec, const struct lk_feeds *feeds,
                       lk_error *err);
void lk_unit_close(struct lk_unit *unit);
/* Runs a feed; hidden: rows of the prompt before the unit, [n_tokens][n_embd], NULL where it
 * embeds. out: rows of its last slot. Before the feed far the prompt's first block becomes the
 * cache of the far sequences. */
lk_status lk_unit_run(struct lk_unit *unit, const struct lk_feeds *feeds, enum lk_feed_kind kind,
                      const float *hidden, float *out, lk_error *err);
/* Floats of slot `slot` after a feed. */
size_t lk_unit_floats(const struct lk_unit *unit, const struct lk_feeds *feeds,
                      enum lk_feed_kind kind, int slot);
/* What the states of a unit of one layer hold, lk_unit_state_floats of them: of a K or V
 * [block][head][64], the scale of a position and then its elements [dim]; of a recurrent state its
 * floats. */
lk_status lk_unit_states(struct lk_unit *unit, const struct lk_feeds *feeds, float *x,
                         lk_error *err);
size_t lk_unit_state_floats(const struct lk_unit *unit, const struct lk_feeds *feeds);
/* Copies the states of one unit to another of the same layer, bit by bit; room: as many floats. */
lk_status lk_unit_copy_states(struct lk_unit *to, struct lk_unit *from,
                              const struct lk_feeds *feeds, void *room, lk_error *err);
/* Keeps the prompt's blocks of those states that other layers attend to, as a prefill has left
 * them, in lent: the caller's, lk_free each. A unit that is opened with them begins with what it
 * reads of earlier layers. */
lk_status lk_unit_lend(struct lk_unit *unit, const struct lk_feeds *feeds, void **lent,
                       lk_error *err);
/* The recurrent states of a unit to memory (in: from there); n_bytes of them, 0: it has none. */
size_t lk_unit_recurrent_bytes(const struct lk_unit *unit);
lk_status lk_unit_move_recurrent(struct lk_unit *unit, void *data, bool in, lk_error *err);
/* Largest slot of any feed, in floats (at least those of a layer's states). */
size_t lk_feeds_most_floats(const struct lk_feeds *feeds, const struct lk_plan *plan);

#endif
