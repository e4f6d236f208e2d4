/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pack: weights as they lie in the file -> the interleaved layout of shaders/weights.glsl.
 */
#include "vulkan/build/vk_pack.h"

#include <string.h>

#include "quant/grid.h"
#include "quant/quant.h"
#include "shaders/params.h"

enum { ROWS = LK_VK_ROWS };

struct lk_vk_layout lk_vk_layout_of(enum lk_type type)
{
    switch (type) {
    case LK_TYPE_F32:
        return (struct lk_vk_layout){4, 1, 0, 0};
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        return (struct lk_vk_layout){8, 1, 0, 0};
    case LK_TYPE_Q4_0:
    case LK_TYPE_IQ4_NL:
        return (struct lk_vk_layout){32, 1, 0, 2};
    case LK_TYPE_Q4_1:
        return (struct lk_vk_layout){32, 1, 0, 4};
    case LK_TYPE_Q5_0:
        return (struct lk_vk_layout){32, 1, 1, 2};
    case LK_TYPE_Q5_1:
        return (struct lk_vk_layout){32, 1, 1, 4};
    case LK_TYPE_Q8_0:
        return (struct lk_vk_layout){32, 2, 0, 2};
    case LK_TYPE_Q2_K:
        return (struct lk_vk_layout){256, 5, 1, 0};
    case LK_TYPE_Q3_K:
        return (struct lk_vk_layout){256, 7, 0, 0};
    case LK_TYPE_Q4_K:
        return (struct lk_vk_layout){256, 9, 0, 0};
    case LK_TYPE_Q5_K:
        return (struct lk_vk_layout){256, 11, 0, 0};
    case LK_TYPE_Q6_K:
        return (struct lk_vk_layout){256, 13, 1, 0};
    case LK_TYPE_IQ4_XS:
        return (struct lk_vk_layout){256, 8, 1, 4};
    case LK_TYPE_IQ1_S:
        return (struct lk_vk_layout){256, 3, 1, 0};
    case LK_TYPE_IQ2_XXS:
    case LK_TYPE_TQ1_0:
    case LK_TYPE_TQ2_0:
        return (struct lk_vk_layout){256, 4, 1, 0};
    case LK_TYPE_IQ1_M:
        return (struct lk_vk_layout){256, 4, 0, 0};
    case LK_TYPE_IQ2_XS:
        return (struct lk_vk_layout){256, 5, 0, 0};
    case LK_TYPE_IQ2_S:
        return (struct lk_vk_layout){256, 5, 1, 0};
    case LK_TYPE_IQ3_XXS:
        return (struct lk_vk_layout){256, 6, 1, 0};
    case LK_TYPE_IQ3_S:
        return (struct lk_vk_layout){256, 7, 0, 0};
    case LK_TYPE_MXFP4:
        return (struct lk_vk_layout){32, 1, 0, 1};
    case LK_TYPE_Q1_0:
        return (struct lk_vk_layout){128, 1, 0, 8};
    case LK_TYPE_Q2_0:
        return (struct lk_vk_layout){64, 1, 0, 4};
    case LK_TYPE_NVFP4:
        return (struct lk_vk_layout){64, 2, 0, 4};
    }
    return (struct lk_vk_layout){0};
}

uint32_t lk_vk_layout_blocks(enum lk_type type, int64_t cols)
{
    uint32_t block = lk_vk_layout_of(type).block;
    return (uint32_t)((cols + block - 1) / block);
}

/* Words of a row's tail. */
static size_t tail_words(const struct lk_vk_layout *l, size_t blocks)
{
    return (blocks * l->tail + 3) / 4;
}

struct lk_vk_sizes lk_vk_layout_sizes(enum lk_type type, int64_t cols, size_t n_groups)
{
    struct lk_vk_layout l = lk_vk_layout_of(type);
    size_t blocks = lk_vk_layout_blocks(type, cols), lanes = n_groups * ROWS;
    size_t tail = tail_words(&l, blocks);
    return (struct lk_vk_sizes){lanes * blocks * l.body * 16, lanes * blocks * l.mid * 4,
                                lanes * tail * 4};
}

size_t lk_vk_sizes_sum(struct lk_vk_sizes s)
{
    return s.body + s.mid + s.tail;
}

const void *lk_vk_layout_points(enum lk_type type, size_t *n_bytes)
{
    size_t n;
    const uint32_t *points = lk_grid_points(type, &n);
    *n_bytes = n * sizeof *points;
    return points;
}

size_t lk_vk_layout_groups(const struct lk_weight *w)
{
    size_t n = w->n_experts > 0 ? (size_t)w->n_experts : 1;
    return (size_t)(w->rows / (int64_t)n + ROWS - 1) / ROWS * n;
}

size_t lk_vk_layout_most_groups(const struct lk_vk_facts *f, enum lk_type type, int64_t cols)
{
    uint64_t most = lk_vk_facts_max_chunk(f), n;
    size_t points;
    lk_vk_layout_points(type, &points);
    n = most < points ? 0 : (most - points) / lk_vk_sizes_sum(lk_vk_layout_sizes(type, cols, 1));
    return (size_t)(n < f->max_groups ? n : f->max_groups); /* a workgroup a group */
}

bool lk_vk_layout_together(const struct lk_vk_facts *f, const struct lk_plan *plan, const int *part,
                           int n_parts)
{
    const struct lk_weight *first = &plan->weights[part[0]];
    size_t groups = 0;
    for (int i = 0; i < n_parts; i++) {
        const struct lk_weight *w = &plan->weights[part[i]];
        if (w->type != first->type || w->cols != first->cols) {
            return false;
        }
        groups += lk_vk_layout_groups(w);
    }
    return groups <= lk_vk_layout_most_groups(f, first->type, first->cols);
}

/* Body (16 bytes each), mid and tail of one block, taken from the file's bytes. */
struct parts {
    uint8_t body[13 * 16];
    uint8_t mid[4];
    uint8_t tail[8];
};

/* Sub-blocks of 32 in pairs, element i of the first beside element i of the second: as Q4_K. */
static void pair_nibbles(const uint8_t *qs, uint8_t *to)
{
    for (int i = 0; i < 256; i += 64) {
        for (int k = 0; k < 32; k++) {
            const uint8_t *from = qs + i / 2 + k % 16;
            int shift = k / 16 * 4;
            to[i / 2 + k] = (uint8_t)((from[0] >> shift & 15) | (from[16] >> shift & 15) << 4);
        }
    }
}

/* Bytes that follow each other, to the body; the block's d, a half, to the mid or the body. */
static void put_d(uint8_t *to, const uint8_t *d)
{
    memcpy(to, d, 2);
    memset(to + 2, 0, 2);
}

static void take_iq2_s(const struct lk_iq2_s *b, struct parts *p)
{
    for (int s = 0; s < 8; s++) {
        memcpy(p->body + 8 * s, b->qs + 4 * s, 4);
        memcpy(p->body + 8 * s + 4, b->signs + 4 * s, 4);
    }
    memcpy(p->body + 64, b->qh, 8);
    memcpy(p->body + 72, b->scales, 8);
    put_d(p->mid, (const uint8_t *)&b->d);
}

static void take_iq3_s(const struct lk_iq3_s *b, struct parts *p)
{
    memcpy(p->body, b->qs, 64);
    memcpy(p->body + 64, b->signs, 32);
    memcpy(p->body + 96, b->qh, 8);
    memcpy(p->body + 104, b->scales, 4);
    put_d(p->body + 108, (const uint8_t *)&b->d);
}

static void take_iq1_m(const struct lk_iq1_m *b, struct parts *p)
{
    memcpy(p->body, b, sizeof *b);
    memset(p->body + 56, 0, 8);
    for (int i = 0; i < 4; i++) {
        p->body[56 + i / 2] |= (uint8_t)((b->scales[2 * i + 1] >> 4) << (i % 2 * 4));
    }
}

/* Two bits an element, as TQ2_0: five trits of a byte take a division that mat-vecs have no time
 * for. */
static void take_tq1_0(const struct lk_tq1_0 *b, struct parts *p)
{
    uint8_t q[256];
    int32_t sc[16];
    lk_grid_unpack(LK_TYPE_TQ1_0, b, q, 4, sc);
    memset(p->body, 0, 64);
    for (int i = 0; i < 256; i++) {
        p->body[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] - 127) << (i / 32 % 4 * 2));
    }
    put_d(p->mid, (const uint8_t *)&b->d);
}

static void take(enum lk_type type, const uint8_t *b, size_t n_bytes, struct parts *p)
{
    switch (type) {
    case LK_TYPE_F32:
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        memset(p->body, 0, 16);
        memcpy(p->body, b, n_bytes);
        break;
    case LK_TYPE_Q4_0:
    case LK_TYPE_IQ4_NL:
        memcpy(p->body, b + 2, 16);
        memcpy(p->tail, b, 2);
        break;
    case LK_TYPE_Q4_1:
        memcpy(p->body, b + 4, 16);
        memcpy(p->tail, b, 4);
        break;
    case LK_TYPE_Q5_0:
        memcpy(p->body, b + 6, 16);
        memcpy(p->mid, b + 2, 4);
        memcpy(p->tail, b, 2);
        break;
    case LK_TYPE_Q5_1:
        memcpy(p->body, b + 8, 16);
        memcpy(p->mid, b + 4, 4);
        memcpy(p->tail, b, 4);
        break;
    case LK_TYPE_Q8_0:
        memcpy(p->body, b + 2, 32);
        memcpy(p->tail, b, 2);
        break;
    case LK_TYPE_Q2_K:
        memcpy(p->body, b, 80);
        memcpy(p->mid, b + 80, 4);
        break;
    case LK_TYPE_Q3_K:
        memcpy(p->body, b, 110);
        memset(p->body + 110, 0, 2);
        break;
    case LK_TYPE_Q4_K:
        memcpy(p->body, b, 144);
        break;
    case LK_TYPE_Q5_K:
        memcpy(p->body, b, 176);
        break;
    case LK_TYPE_Q6_K:
        memcpy(p->body, b, 208);
        memcpy(p->mid, b + 208, 2);
        memset(p->mid + 2, 0, 2);
        break;
    case LK_TYPE_IQ4_XS:
        pair_nibbles(b + 8, p->body);
        memcpy(p->mid, b, 4);
        memcpy(p->tail, b + 4, 4);
        break;
    case LK_TYPE_IQ1_S:
        memcpy(p->body, b + 2, 48);
        put_d(p->mid, b);
        break;
    case LK_TYPE_IQ1_M:
        take_iq1_m((const void *)b, p);
        break;
    case LK_TYPE_IQ2_XXS:
        memcpy(p->body, b + 2, 64);
        put_d(p->mid, b);
        break;
    case LK_TYPE_IQ2_XS:
        memcpy(p->body, b + 2, 72);
        put_d(p->body + 72, b);
        memset(p->body + 76, 0, 4);
        break;
    case LK_TYPE_IQ2_S:
        take_iq2_s((const void *)b, p);
        break;
    case LK_TYPE_IQ3_XXS:
        memcpy(p->body, b + 2, 96);
        put_d(p->mid, b);
        break;
    case LK_TYPE_IQ3_S:
        take_iq3_s((const void *)b, p);
        break;
    case LK_TYPE_TQ1_0:
        take_tq1_0((const void *)b, p);
        break;
    case LK_TYPE_TQ2_0:
        memcpy(p->body, b, 64);
        put_d(p->mid, b + 64);
        break;
    case LK_TYPE_Q1_0:
    case LK_TYPE_Q2_0: /* the scale for each 32 elements, as in blocks of 32 */
        memcpy(p->body, b + 2, 16);
        for (int i = 0; i < 4; i++) {
            memcpy(p->tail + 2 * i, b, 2);
        }
        break;
    case LK_TYPE_MXFP4:
        memcpy(p->body, b + 1, 16);
        memcpy(p->tail, b, 1);
        break;
    case LK_TYPE_NVFP4:
        lk_swap_nibbles(b + 4, p->body);
        lk_swap_nibbles(b + 20, p->body + 16);
        memcpy(p->tail, b, 4);
        break;
    }
}

void lk_vk_pack(const struct lk_weight *w, size_t group, size_t n, uint8_t *body, uint8_t *mid,
                uint8_t *tail)
{
    struct lk_vk_layout l = lk_vk_layout_of(w->type);
    const struct lk_type_info *info = lk_type_info((uint32_t)w->type);
    size_t blocks = lk_vk_layout_blocks(w->type, w->cols), step = l.block / (size_t)info->block;
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)w->cols);
    size_t block_bytes = step * (size_t)info->block_bytes, words = tail_words(&l, blocks);
    struct lk_vk_sizes size = lk_vk_layout_sizes(w->type, w->cols, n);
    memset(mid, 0, size.mid);
    memset(tail, 0, size.tail);
    struct parts p;
    memset(&p, 0, sizeof p);
    for (size_t g = 0; g < n; g++) {
        for (size_t r = 0; r < ROWS; r++) {
            size_t row = (group + g) * ROWS + r;
            bool pad = row >= (size_t)w->rows;
            const uint8_t *from = (const uint8_t *)w->data + row * row_bytes;
            for (size_t b = 0; b < blocks; b++) {
                size_t at = g * blocks + b;
                if (pad) {
                    memset(&p, 0, sizeof p);
                } else {
                    size_t left = row_bytes - b * block_bytes;
                    take(w->type, from + b * block_bytes, left < block_bytes ? left : block_bytes,
                         &p);
                }
                for (size_t i = 0; i < l.body; i++) {
                    memcpy(body + ((at * l.body + i) * ROWS + r) * 16, p.body + 16 * i, 16);
                }
                if (l.mid) {
                    memcpy(mid + (at * ROWS + r) * 4, p.mid, 4);
                }
                for (size_t i = 0; i < l.tail; i += 4) {
                    size_t word = (g * words + (b * l.tail + i) / 4) * ROWS + r;
                    memcpy(tail + word * 4 + b * l.tail % 4, p.tail + i, l.tail < 4 ? l.tail : 4);
                }
            }
        }
    }
}
