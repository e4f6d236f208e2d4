/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_limits: what the kernels take for granted about sizes, and what a device offers. Knows no op.
 */
/* clang-format off */
/* Every array of a shader, every number packed into part of a word and every dispatch has a bound
 * that the host keeps. A new shader adds its lines here.
 *
 *   what                           | bound                     | kept by              | beyond it
 * any device
 *   bindings of a set              | 8 storage buffers         | lk_vk_limits_suffice | refused
 *   invocations of fixed kernels   | 128                       | the same             | the same
 *   shared memory of fixed kernels | 16384 bytes (tile: 12288) | the same             | the same
 *   workgroups along x, y, z       | 65535                     | the same             | the same
 *   offset of a binding            | multiple of LK_VK_ALIGN   | the same             | the same
 *   push constants                 | LK_VK_PUSH_BYTES          | the same; params.h   | the same
 * any kernel
 *   shared arrays, local size      | as the device has         | lk_vk_pipe_get       | error
 *   workgroups along x, y, z       | maxComputeWorkGroupCount  | lk_vk_list_check     | fewer rows
 *   row groups of a matrix         | the same along x          | lk_vk_store_matrix   | more chunks
 *   bytes of a weight              | maxStorageBufferRange     | lk_vk_store_matrix   | more chunks
 *   bytes of 32 rows of it         | maxStorageBufferRange     | lk_vk_store_matrix   | error
 *   bytes of rows of a value       | maxStorageBufferRange     | add_rows             | fewer rows
 *   bytes of another value         | maxStorageBufferRange     | lk_vk_add_piece      | error
 *   bytes of the batch buffer      | maxStorageBufferRange     | lk_vk_batch_lay_out  | fewer tokens
 *   bytes of all values            | max_allocation            | build_fitting_lists  | fewer tokens
 *   bytes of a state               | maxStorageBufferRange     | lk_vk_state_alloc    | error
 * attn, attn_decode, kv_store
 *   DIM: q_tile, tile, o, key      | LK_VK_MAX_DIM, 32 n       | cut_of               | error
 *   V_DIM: o, oc of an invocation  | LK_VK_MAX_V_DIM, 32 n     | cut_of               | error
 *   ROWS of attn: q_tile, p_tile   | shared memory             | many_rows            | fewer rows
 *   DIM of attn_matrix: tile, o    | shared memory, LK_VK_MAX_V_DIM | matrix_shader   | SHARE, attn
 *   THREADS of attn                | 128 for LK_VK_ATTN_ROWS   | lk_vk_emit_attention | -
 *   chunks that attn_decode folds  | LK_VK_DECODE_MERGE        | the kernel           | attn_merge
 *   ROWS of attn_decode            | LK_VK_ATTN_FEW_ROWS       | cut_of               | fewer rows
 *   THREADS of attn_decode         | lk_vk_max_threads, 256    | vk_emit_attention.c  | fewer
 *   windows and shapes of heads    | LK_VK_MAX_ATTN            | attn_index           | error
 *   norm_rows: 4 elements a lane   | LK_VK_DECODE_DIM = 256    | decode_group         | plain steps
 *   op numbers, two a word         | LK_VK_MAX_OP              | can_name             | plain steps
 *   all vectors in one binding     | maxStorageBufferRange     | can_name             | plain steps
 *   n_dims + 65536: interleaved    | LK_VK_DECODE_DIM          | decode_group         | plain steps
 *   n_dims of a rope               | head_dim                  | src/plan/model.c     | error
 *   counters: a word a head tile   | n_head                    | lk_vk_batch_lay_out  | -
 * matvec, prep
 *   part4: PANELS of a token       | LK_VK_MAX_PARTS, shared   | lk_vk_matvec         | in turns
 *   part4: WORKERS * COLS          | 64 panels                 | lk_vk_matvec         | -
 *   WORKERS >= COLS                | lk_vk_max_threads / 32    | lk_vk_variant_cols   | 4 columns
 *   prep_q, prep_d, prep_sum ...   | shared memory             | can_prepare          | own step
 * tile_matrix
 *   BM, BN: tile, row_scale ...    | shared memory, threads    | wide_tile            | smaller ones
 *   64 x 64 of them                | the same                  | lk_vk_limit_features | tile
 *   teams of 16 rows x 16 tokens   | the same                  | lk_vk_split_tile     | 64 x 64, matvec
 *   2 workgroups of a row group    | maxComputeWorkGroupCount  | lk_vk_split_tile     | 64 x 64, matvec
 * route, sort
 *   gated, choice, count, next ... | LK_MAX_EXPERTS            | src/plan/model.c     | error
 *   chosen; a lane a chosen one    | LK_MAX_EXPERTS_USED       | src/plan/model.c     | error
 *   tiles of experts               | lk_vk_sorted_tiles        | vk_emit_experts.c    | -
 * matvec, tile, tile_matrix of experts
 *   row groups of one expert       | a chunk                   | lk_vk_store_matrix   | error
 * conv, l2_norm, delta, ssm
 *   taps of conv: a loop           | LK_MAX_TAPS               | src/plan/model.c     | error
 *   K_DIM of delta: qk, s          | LK_MAX_DELTA_DIM, 8 n     | src/plan/model.c     | error
 *   ROWS of ssm: bc, s             | LK_MAX_DELTA_DIM, 8 n     | src/plan/model.c     | error
 *   sequences of a dispatch        | max_seqs                  | lk_vk_list_check     | error
 * quantize, norm
 *   block_max, block_sum           | 4 * THREADS elements      | local size           | -
 *   norm: THREADS                  | lk_vk_max_threads, 512    | norm_threads         | half
 *   two int16, each of 16 int8     | 16 * 127                  | -                    | -
 */
/* clang-format on */
#ifndef LK_VK_LIMITS_H
#define LK_VK_LIMITS_H

#include "base/base.h"
#include "vulkan/device/vk_shaders.h"
#include "vulkan/device/vk_volk.h"

/* Whether the fixed kernels run there; if not, `note` names the limit, what it is and what was
 * expected. */
bool lk_vk_limits_suffice(const VkPhysicalDeviceProperties *props, char *note, size_t n);
/* Invocations of the largest workgroup along x. */
uint32_t lk_vk_max_threads(const VkPhysicalDeviceLimits *limits);

/* ---- shaders ---- */

/* What a module takes with specialization constants 0..3. */
struct lk_vk_needs {
    uint32_t threads;      /* of a workgroup */
    uint64_t shared_bytes; /* each variable in whole 16 bytes */
};
const struct lk_vk_shader *lk_vk_shader_find(const char *name); /* NULL: not in this build */
/* Reads it from the SPIR-V (vk_spirv.c). LK_E_INTERNAL names what it can't evaluate. */
lk_status lk_vk_measure(const struct lk_vk_shader *shader, const uint32_t spec[4],
                        struct lk_vk_needs *out, lk_error *err);
/* LK_E_UNSUPPORTED with the numbers when the device has less. */
lk_status lk_vk_check_needs(const VkPhysicalDeviceProperties *props,
                            const struct lk_vk_shader *shader, const struct lk_vk_needs *needs,
                            lk_error *err);
/* Whether workgroups of at most so many invocations along x and bytes of shared memory run the
 * shader with these constants. */
bool lk_vk_fits(uint32_t max_threads, uint32_t shared_bytes, const char *shader,
                const uint32_t spec[4]);

#endif
