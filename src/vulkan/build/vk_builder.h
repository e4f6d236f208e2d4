/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_builder: a list of steps under construction: what every emitter uses to add pieces and steps,
 * to bind and to name kernels. Decides nothing; knows no group.
 */
#ifndef LK_VK_BUILDER_H
#define LK_VK_BUILDER_H

#include "vulkan/build/vk_exec.h"

/* A slot's place in the arena. */
struct lk_vk_home {
    int piece;
    uint32_t at; /* bytes */
};

/* A list under construction; the first failure stays and later calls do nothing. */
struct lk_vk_builder {
    struct lk_exec *e;
    enum lk_vk_list_kind kind;
    struct lk_vk_list *list; /* of that kind */
    const struct lk_plan *plan;
    const struct lk_vk_facts *facts;
    int *acts;               /* [n_slots][LK_ACTS_KINDS] piece of the slot in a form, or -1 */
    struct lk_vk_home *home; /* [n_slots] where the slot lies */
    /* Of the last sort of routed rows: by which slot, for tiles of how many, where it is. */
    struct {
        int slot, piece;
        uint32_t cols;
    } sorted;
    int op;                 /* that the time of steps counts for, until they say more */
    struct lk_vk_step sink; /* what a step is written to after a failure; never read */
    lk_status status;
    lk_error *err;
};

/* Gives every slot a piece of its own. */
void lk_vk_builder_open(struct lk_vk_builder *b);
void lk_vk_builder_close(struct lk_vk_builder *b);

/* ---- rows ---- */

/* The most and the fewest rows of a kind with which the list runs; at least 1. */
uint32_t lk_vk_most_rows(const struct lk_vk_builder *b, enum lk_rows rows);
uint32_t lk_vk_least_rows(const struct lk_vk_builder *b, enum lk_rows rows);
uint32_t lk_vk_width(const struct lk_vk_builder *b, int slot);

/* ---- pieces ---- */

/* A piece of the arena; its index. */
int lk_vk_add_piece(struct lk_vk_builder *b, VkDeviceSize bytes, const char *what);

/* Rows in a form: words of a row, and where d and sums begin; see params.h. */
struct lk_vk_acts_at {
    uint32_t stride, d, s;
    VkDeviceSize words;
};
struct lk_vk_acts_at lk_vk_acts_of(uint32_t rows, uint32_t width, uint32_t form);
/* The same of a slot's rows. */
struct lk_vk_acts_at lk_vk_acts_layout(const struct lk_vk_builder *b, int slot, uint32_t form);
/* The piece that holds them. */
int lk_vk_acts_piece(struct lk_vk_builder *b, int slot, uint32_t form);

/* ---- steps ---- */

/* The next step, with its grid; a sink after a failure. */
struct lk_vk_step *lk_vk_add_step(struct lk_vk_builder *b, enum lk_rows rows, enum lk_vk_grid grid,
                                  uint32_t x);
void lk_vk_set_pipe(struct lk_vk_builder *b, struct lk_vk_step *s, int variant, const char *shader,
                    uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3);
void lk_vk_set_push(struct lk_vk_step *s, const void *push, size_t n);
void lk_vk_bind(struct lk_vk_step *s, int at, enum lk_vk_bind_kind kind, int index, bool write);
/* Binds a slot for writing where it lies. */
void lk_vk_bind_out(const struct lk_vk_builder *b, struct lk_vk_step *s, int at, int slot);
/* The same where it is read. */
void lk_vk_bind_in(const struct lk_vk_builder *b, struct lk_vk_step *s, int at, int slot);

/* ---- weights ---- */

/* Registers a vector; its word offset in the store's block of vectors. */
uint32_t lk_vk_vector(struct lk_vk_builder *b, int weight);
/* Registers weights that lie together; the matrix of the store, -1 after a failure. */
int lk_vk_matrix(struct lk_vk_builder *b, const int *weight, int n);

#endif
