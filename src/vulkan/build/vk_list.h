/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_list: a list of steps: the memory of the values between them, the barriers they need,
 * descriptor sets, and recording. Knows no op.
 */
#ifndef LK_VK_LIST_H
#define LK_VK_LIST_H

#include "vulkan/build/vk_exec.h"

/* Places the pieces and finds the barriers; returns the bytes of memory. */
VkDeviceSize lk_vk_list_place(struct lk_vk_list *list, const struct lk_plan *plan, bool keep);
/* The most rows of a kind in a batch of the list; at least 1. */
uint32_t lk_vk_list_rows(const struct lk_exec *e, const struct lk_vk_list *list, enum lk_rows rows);
/* The most tiles of `cols` rows that rows which go to experts are cut into. */
uint32_t lk_vk_sorted_tiles(uint32_t rows, uint32_t experts, uint32_t cols);
/* Notes that the device holds no more than `most` rows of a kind. */
void lk_vk_take_fewer(struct lk_exec *e, enum lk_rows rows, int most);
/* Whether the dispatches of every batch are within the device's counts of workgroups. Where fewer
 * rows will do, notes how many are. */
lk_status lk_vk_list_check(struct lk_exec *e, const struct lk_vk_list *list, lk_error *err);
/* The pipelines that a step runs for a number of rows, at least one: one, or those of large tiles
 * and of small ones beside them. Returns how many. */
int lk_vk_step_pipes(const struct lk_vk_facts *facts, const struct lk_vk_step *step, uint32_t rows,
                     const struct lk_vk_pipe *out[2]);
/* Makes the descriptor sets, once memory is there. */
lk_status lk_vk_list_finish(struct lk_exec *e, struct lk_vk_list *list, lk_error *err);
/* Writes the descriptors that name states. */
void lk_vk_list_bind_states(struct lk_exec *e, struct lk_vk_list *list,
                            const struct lk_state_mem *states);
/* Records steps [first, end), those of `apart` only if asked; rows handed in come before step 0 and
 * the out slot leaves after the last. */
void lk_vk_list_record(struct lk_exec *e, const struct lk_vk_list *list, VkCommandBuffer commands,
                       int first, int end, const struct lk_row_counts *rows, bool apart);
void lk_vk_list_free(struct lk_vk_list *list);

#endif
