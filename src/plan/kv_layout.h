/* SPDX-License-Identifier: Apache-2.0
 *
 * The one KV layout. Compiled as C and as GLSL, so it uses integers, + * and / alone.
 *
 * Per layer there is one K and one V buffer of 32-bit words, each an array of blocks of LK_KV_BLOCK
 * positions (the chunk of attention), each block an array of heads. `dim` is the head dimension
 * rounded up to LK_KV_DIM_ALIGN; `bits` are those of a cell: LK_KV_K_BITS or LK_KV_K8_BITS of K,
 * LK_KV_V_BITS of V. A word holds four int8, the lowest byte first. Of a head:
 *
 *   K high   [dim/4][64]   k >> 4 of four dimensions of a key (cells of 8 bits: k itself)
 *   K low    [dim/8][64]   k & 15 of eight dimensions of a key: d .. d+3 in the low halves of the
 *                          four bytes, d+4 .. d+7 in the high ones (cells of 8 bits: none)
 *   V        [64/4][dim]   v of four keys of a dimension
 *   scales   [64]          f32: what 1 stands for, of each key
 *
 * What pads a dimension is zero. A stride belongs to the block, never to the number of tokens held.
 * `block` is an index into the buffer (from a sequence's block table), `slot` = position % 64.
 *
 * Guards lie before and after each buffer as arrays of their own, never inside a block.
 */
#ifndef LK_KV_LAYOUT_H
#define LK_KV_LAYOUT_H

#define LK_KV_BLOCK     64
#define LK_KV_DIM_ALIGN 32
#define LK_KV_K_BITS    12
#define LK_KV_K8_BITS   8
#define LK_KV_V_BITS    8

/* Words of a head in a block, and the first of them in a layer's buffer. */
#define LK_KV_HEAD_WORDS(dim, bits) ((dim) * (bits)*2 + LK_KV_BLOCK)
#define LK_KV_HEAD_AT(block, head, n_kv_head, dim, bits)                                           \
    (((block) * (n_kv_head) + (head)) * LK_KV_HEAD_WORDS(dim, bits))

/* Words counted from the first of a head. */
#define LK_KV_K_HIGH(d, slot)           ((d) / 4 * LK_KV_BLOCK + (slot))
#define LK_KV_K_LOW(dim, d, slot)       ((dim)*16 + (d) / 8 * LK_KV_BLOCK + (slot))
#define LK_KV_V_AT(dim, d, slot)        ((slot) / 4 * (dim) + (d))
#define LK_KV_SCALE_AT(dim, bits, slot) ((dim) * (bits)*2 + (slot))

#endif
