/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_limits: what the kernels take for granted about sizes, and what a device offers. Knows no op.
 *
 * Every array of a shader, every number packed into a part of a word and every dispatch has a bound
 * that the host keeps. A new shader adds its lines here.
 *
 *   what                              bound                        kept by; beyond it
 *   any device
 *     bindings of a set               8 storage buffers            lk_vk_limits_suffice; device
 *     invocations of fixed kernels    128                            refused
 *     shared memory of fixed kernels  16384 bytes (tile: 12544)      "
 *     push constants                  LK_VK_PUSH_BYTES               ", and params.h at compile
 * time workgroups along x, y, z        65535                          " binding offsets multiples
 * of 256               " any kernel shared arrays and local size    the device's limits
 * lk_vk_pipe_get measures the with their constants                                         module;
 * error workgroups along x, y, z        maxComputeWorkGroupCount     lk_vk_list_check; error row
 * groups of a matrix          the same along x             lk_vk_store_matrix; more chunks a buffer
 * that is bound          maxStorageBufferRange        lk_vk_add_piece, lay_out_batch, vk_kv_alloc;
 * error a weight                        the same, 1 GiB              lk_vk_store_matrix; more
 * chunks elements of a slot              2^32 - 1                     the range of its buffer attn,
 * attn_one DIM of q_tile, tile, o          LK_VK_MAX_DIM, 32 n          attention; error norm_rows:
 * 4 elements a lane    256 = LK_VK_MAX_DIM          lk_vk_find_solo; single steps ROWS of q_tile,
 * p_tile          shared memory                attention; fewer rows THREADS invocations ",
 * lk_vk_solo_attention; fewer window sizes                    LK_VK_MAX_WINDOWS lk_vk_window_index;
 * error attn_one op numbers, two a word          65535                        lk_vk_find_solo;
 * single steps n_dims + 65536 interleaved      65535 >= LK_MAX_HEAD_DIM     LK_VK_MAX_DIM all
 * vectors as one binding      maxStorageBufferRange        lk_vk_find_solo; single steps counters
 * a head tile each             n_head words of the batch buffer matvec, prep part[PANELS] of one
 * token       MAX_PARTS panels             matmul_pipes; panels in turns part[WORKERS * COLS] 64
 * panels                    matmul_pipes WORKERS >= COLS                 invocations / 32
 * lk_vk_variant_cols; 4 columns prep_q, prep_max, prep_d, ...   shared memory can_prep; a step of
 * its own tile_matrix BM, BN of tile, *_scale         shared memory, invocations   lk_vk_set_tile;
 * smaller tiles, lk_vk_limit_features; tile quantize, norm                    512 elements by 128
 * fixed local size int16 pairs of 16 int8          16 * 127                     fixed
 */
#ifndef LK_VK_LIMITS_H
#define LK_VK_LIMITS_H

#include "src/base.h"
#include "src/vulkan/vk_shaders.h"
#include "src/vulkan/vk_volk.h"

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
/* Whether a device of these limits runs the shader with these constants. */
bool lk_vk_fits(const VkPhysicalDeviceLimits *limits, const char *shader, const uint32_t spec[4]);

#endif
