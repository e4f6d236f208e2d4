/* SPDX-License-Identifier: Apache-2.0
 *
 * The one KV layout. Compiled as C and as GLSL, so it uses integers, + and * alone.
 *
 * Per layer there is one K and one V buffer of f16 elements, each an array of blocks of
 * LK_KV_BLOCK positions (the chunk of attention). Inside a block K is [kv_head][dim][64] (keys are
 * lanes: the ordered score needs no transposition) and V is [kv_head][64][dim], where `dim` is the
 * head dimension rounded up to LK_KV_DIM_ALIGN; the pad elements are zero. A stride belongs to
 * the block, never to the number of tokens held. `block` is an index into the buffer (from a
 * sequence's block table), `slot` = position % 64.
 *
 * Guards lie before and after each buffer as arrays of their own, never inside a block.
 */
#ifndef LK_KV_LAYOUT_H
#define LK_KV_LAYOUT_H

#define LK_KV_BLOCK     64
#define LK_KV_DIM_ALIGN 32

/* Elements of one block of K (or of V). */
#define LK_KV_BLOCK_ELEMS(n_kv_head, dim) ((n_kv_head) * (dim)*LK_KV_BLOCK)

/* Element index in a layer's K or V buffer. */
#define LK_KV_K_AT(block, head, d, slot, n_kv_head, dim)                                           \
    ((((block) * (n_kv_head) + (head)) * (dim) + (d)) * LK_KV_BLOCK + (slot))
#define LK_KV_V_AT(block, head, slot, d, n_kv_head, dim)                                           \
    ((((block) * (n_kv_head) + (head)) * LK_KV_BLOCK + (slot)) * (dim) + (d))

#endif
