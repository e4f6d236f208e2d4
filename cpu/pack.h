/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack: the interleaved layout of 16 rows. A "chunk" is 64 bytes: 4 bytes of each of 16 rows, so a
 * vector of bytes holds 4 elements along K of each row it owns. Per block, in this order:
 *
 *   Q4_0  4 chunks of nibbles (as in the file: low = elements 0..15, high = 16..31), d f16 [16]
 *   Q4_1  as Q4_0, then m f16 [16]
 *   Q5_0  4 chunks of nibbles, 1 chunk of high bits, d f16 [16]     (bit g of byte j of a row:
 *   Q5_1  as Q5_0, then m f16 [16]                                   element 4g + j)
 *   Q8_0  8 chunks of q + 128, d f16 [16]
 *   Q2_K  16 chunks of qs, scales u8 [16 sub-blocks][16 rows], d, dmin f16 [16]
 *   Q3_K  16 chunks of qs, 8 chunks of hmask, scales s8 [16][16], d
 *   Q4_K  32 chunks of qs, scales u8 [8][16], mins u8 [4][16][2], d, dmin
 *   Q5_K  32 chunks of qs, 8 chunks of qh, scales, mins, d, dmin as Q4_K
 *   Q6_K  32 chunks of ql, 16 chunks of qh, scales s8 [16][16], d
 *   IQ4_NL  as Q4_0; MXFP4 too, but d: e u8 [16]
 *   NVFP4   twice: 4 chunks of nibbles, low = elements 0..15 of their 32, UE4M3 u8 [2][16]
 *   IQ4_XS  32 chunks of qs (of each 4, low = elements 0..15 of their 32), scales s8 [8][16], d
 *   those of a grid: rows one after the other, as in the file; see cpu/grid_panel.h
 *   F32   per element of K: f32 [16]; F16, BF16: u16 [16]
 */
#ifndef LK_PACK_H
#define LK_PACK_H

#include "quant/quant.h"

/* Of all that is above and of struct lk_packed: files of packed weights have it, so that those of
 * another layout are not taken. */
enum { LK_PACK_VERSION = 1 };

/* Bytes of one block of 16 rows; 0 for the types that are not interleaved. */
size_t lk_pack_block_bytes(enum lk_type type);

/* What nibbles of IQ4 types and of MXFP4 stand for, + 128: the form of weights of Q8_0. */
extern const uint8_t lk_pack_iq4[16], lk_pack_mxfp4[16];
/* Those of NVFP4, + 12: 16 products of theirs fit the 16-bit sums of levels that have these. */
extern const uint8_t lk_pack_nvfp4[16];

#endif
