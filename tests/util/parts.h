/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts: the parts of a lane behind functions of the test's own, which may fail, wait or look; and
 * placements of every split of a model.
 */
#ifndef LK_TESTS_PARTS_H
#define LK_TESTS_PARTS_H

#include "engine/engine.h"

enum { PARTS_MOST = 8 };

/* Called before each batch of each part, with how many that part has had. What it returns instead
 * of LK_OK is the batch's status; after LK_E_DEVICE_LOST the part's device is dead. May be called
 * by several threads at once. */
typedef lk_status (*parts_fn)(void *user, int part, int n, const struct lk_batch *batch,
                              lk_error *err);
/* Wraps the parts of one lane at a time. */
void parts_wrap(struct lk_lane *lane, parts_fn before, void *user);
void parts_kill(int part); /* its device is lost between two batches */

/* Calls `each` for every way to cut n_layer layers into n_parts, with a placement whose backends
 * vary from split to split; neighbours may be the same. */
typedef void (*split_fn)(void *user, const char *placement);
void parts_each_split(int n_layer, int n_parts, const char *const *backends, int n_backends,
                      split_fn each, void *user);

/* A small random llama of that many layers, made for contexts of n_ctx, in a file whose name
 * replaces the X's of `path`. */
void parts_model(char *path, int n_layer, int n_ctx);

/* What tests of lanes compare with: a model in a file, ids, and the rows of the scalar backend
 * alone. They are there from parts_set_up to parts_tear_down, the .init and .fini of a suite. */
enum { PARTS_LAYERS = 6, PARTS_N = 150, PARTS_CTX = 192, PARTS_MODEL_CTX = 256, PARTS_VOCAB = 96 };
extern char parts_path[];
extern int32_t parts_ids[PARTS_N];
extern float *parts_rows; /* [PARTS_N][PARTS_VOCAB] */
void parts_set_up(void);
void parts_set_up_side(void); /* the same with a Gemma 4, whose layers read side rows */
void parts_tear_down(void);
/* An engine's rows of all ids are those. */
void parts_check_rows(lk_engine *engine, const char *what);
/* A split_fn: moves a session to each placement, and evaluates a stretch or one token there. */
struct parts_mover {
    lk_session *s;
    int n_moves;
};
void parts_move_on(void *mover, const char *placement);

#endif
