/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_builder: see vk_builder.h.
 */
#include "vulkan/build/vk_builder.h"

#include <string.h>

#include "base/mem.h"
#include "vulkan/build/vk_list.h"

/* ---- rows ---- */

uint32_t lk_vk_most_rows(const struct lk_vk_builder *b, enum lk_rows rows)
{
    return lk_vk_list_rows(b->e, b->list, rows);
}

uint32_t lk_vk_least_rows(const struct lk_vk_builder *b, enum lk_rows rows)
{
    bool any = b->kind == LK_VK_DECODE || rows == LK_ROWS_OUTPUTS;
    return any ? 1 : (uint32_t)b->e->list[b->kind - 1].max_tokens + 1;
}

/* Rows are rounded up: a mat-vec reads whole columns of COLS tokens. */
static VkDeviceSize padded_rows(const struct lk_vk_builder *b, enum lk_rows rows)
{
    return lk_round_up(lk_vk_most_rows(b, rows), LK_VK_MAX_COLS);
}

uint32_t lk_vk_width(const struct lk_vk_builder *b, int slot)
{
    return (uint32_t)b->plan->slots[slot].width;
}

/* ---- pieces ---- */

int lk_vk_add_piece(struct lk_vk_builder *b, VkDeviceSize bytes, const char *what)
{
    struct lk_vk_list *l = b->list;
    VkDeviceSize limit = b->facts->max_binding;
    if (!b->status && (bytes > limit || lk_round_up((size_t)bytes, 16) > limit)) {
        b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                            "%s: %llu bytes are beyond the device's buffer range of %llu", what,
                            (unsigned long long)bytes, (unsigned long long)limit);
    }
    if (!b->status) {
        b->status =
            lk_grow(&l->pieces, &l->cap_pieces, (size_t)l->n_pieces + 1, sizeof *l->pieces, b->err);
    }
    if (b->status) {
        return 0;
    }
    l->pieces[l->n_pieces] = (struct lk_vk_piece){bytes ? bytes : 4, 0, -1, -1, -1};
    return l->n_pieces++;
}

/* A piece of whole rows. Where fewer will do, it gets those that one binding holds. */
static int add_rows(struct lk_vk_builder *b, enum lk_rows rows, VkDeviceSize row_bytes,
                    const char *what)
{
    VkDeviceSize n = padded_rows(b, rows), most = b->facts->max_binding / row_bytes;
    most -= most % LK_VK_MAX_COLS;
    if (b->e->o.fewer && n > most && most > 0) {
        lk_vk_take_fewer(b->e, rows, (int)most);
        n = most;
    }
    return lk_vk_add_piece(b, n * row_bytes, what);
}

void lk_vk_builder_open(struct lk_vk_builder *b)
{
    size_t n = (size_t)b->plan->n_slots;
    b->sorted.slot = -1;
    b->acts = lk_alloc_array(n * LK_ACTS_KINDS, sizeof *b->acts);
    b->home = lk_alloc_array(n, sizeof *b->home);
    if (!b->acts || !b->home) {
        b->status = lk_fail(b->err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    for (int i = 0; i < b->plan->n_slots && !b->status; i++) {
        const struct lk_slot *s = &b->plan->slots[i];
        b->home[i] = (struct lk_vk_home){i, 0};
        for (int k = 0; k < LK_ACTS_KINDS; k++) {
            b->acts[i * LK_ACTS_KINDS + k] = -1;
        }
        add_rows(b, s->rows, (VkDeviceSize)s->width * 4, "rows of a slot");
    }
}

void lk_vk_builder_close(struct lk_vk_builder *b)
{
    lk_free(b->acts);
    lk_free(b->home);
}

struct lk_vk_acts_at lk_vk_acts_of(uint32_t rows, uint32_t width, uint32_t form)
{
    uint32_t k = (uint32_t)lk_round_up(width, LK_VK_PANEL);
    struct lk_vk_acts_at x = {.stride = k, .words = (VkDeviceSize)rows * k};
    if (form == LK_VK_X_Q32 || form == LK_VK_X_Q256) {
        uint32_t blocks = k / (form == LK_VK_X_Q32 ? 32 : 256);
        x.stride = k / 4;
        x.d = rows * x.stride;
        x.s = x.d + rows * blocks;
        x.words = (VkDeviceSize)rows * (x.stride + blocks + k / 32);
    }
    return x;
}

struct lk_vk_acts_at lk_vk_acts_layout(const struct lk_vk_builder *b, int slot, uint32_t form)
{
    uint32_t rows = (uint32_t)padded_rows(b, b->plan->slots[slot].rows);
    return lk_vk_acts_of(rows, lk_vk_width(b, slot), form);
}

int lk_vk_acts_piece(struct lk_vk_builder *b, int slot, uint32_t form)
{
    int *piece = &b->acts[slot * LK_ACTS_KINDS + (int)form];
    if (*piece < 0) {
        enum lk_rows rows = b->plan->slots[slot].rows;
        VkDeviceSize words = lk_vk_acts_layout(b, slot, form).words;
        *piece = add_rows(b, rows, words / padded_rows(b, rows) * 4, "activations of a matmul");
    }
    return *piece;
}

/* ---- steps ---- */

struct lk_vk_step *lk_vk_add_step(struct lk_vk_builder *b, enum lk_rows rows, enum lk_vk_grid grid,
                                  uint32_t x)
{
    struct lk_vk_list *l = b->list;
    struct lk_vk_step *s = &b->sink;
    if (!b->status) {
        b->status =
            lk_grow(&l->steps, &l->cap_steps, (size_t)l->n_steps + 1, sizeof *l->steps, b->err);
    }
    if (!b->status) {
        s = &l->steps[l->n_steps++];
    }
    *s = (struct lk_vk_step){
        .grid = grid, .x = x, .y = 1, .rows = rows, .times = 1, .op = {b->op}, .n_ops = 1};
    return s;
}

void lk_vk_set_pipe(struct lk_vk_builder *b, struct lk_vk_step *s, int variant, const char *shader,
                    uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3)
{
    uint32_t spec[4] = {c0, c1, c2, c3};
    if (!b->status) {
        b->status = lk_vk_pipe_get(b->e->dev, shader, spec, &s->pipe[variant], b->err);
    }
}

void lk_vk_set_push(struct lk_vk_step *s, const void *push, size_t n)
{
    memcpy(s->push, push, n);
    s->n_push = (uint32_t)n;
}

void lk_vk_bind(struct lk_vk_step *s, int at, enum lk_vk_bind_kind kind, int index, bool write)
{
    s->bind[at] = (struct lk_vk_bind){.kind = kind, .index = index, .write = write};
}

static void bind_home(const struct lk_vk_builder *b, struct lk_vk_step *s, int at, int slot,
                      bool write)
{
    lk_vk_bind(s, at, LK_VK_BIND_PIECE, b->home[slot].piece, write);
    if (b->home[slot].piece != slot) {
        s->bind[at].at = b->home[slot].at;
        s->bind[at].bytes = (VkDeviceSize)lk_vk_width(b, slot) * 4;
    }
}

void lk_vk_bind_out(const struct lk_vk_builder *b, struct lk_vk_step *s, int at, int slot)
{
    bind_home(b, s, at, slot, true);
}

void lk_vk_bind_in(const struct lk_vk_builder *b, struct lk_vk_step *s, int at, int slot)
{
    bind_home(b, s, at, slot, false);
}

/* ---- weights ---- */

uint32_t lk_vk_vector(struct lk_vk_builder *b, int weight)
{
    if (!b->status) {
        b->status = lk_vk_store_vector(&b->e->store, b->plan, weight, b->err);
    }
    return b->status ? 0 : (uint32_t)(b->e->store.vector_at[weight] / 4);
}

int lk_vk_matrix(struct lk_vk_builder *b, const int *weight, int n)
{
    int m = -1;
    if (!b->status) {
        b->status = lk_vk_store_matrix(&b->e->store, b->facts, b->plan, weight, n, &m, b->err);
    }
    return m;
}
