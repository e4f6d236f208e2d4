/* SPDX-License-Identifier: Apache-2.0
 *
 * Device_list: which devices a user means by what they typed, resolved once into identities; and
 * which device is taken where nobody named one. Nobody else compares names. Opens no device.
 */
#ifndef LK_DEVICE_LIST_H
#define LK_DEVICE_LIST_H

#include "backend/backend.h"

bool lk_device_same(const struct lk_device_id *a, const struct lk_device_id *b);

/* All devices of a backend, in its order. */
struct lk_device_list {
    struct lk_device *items; /* owned */
    size_t n, cap;
};
lk_status lk_device_list_find(const struct lk_backend_impl *impl,
                              const struct lk_backend_options *options, struct lk_device_list *out,
                              lk_error *err);
void lk_device_list_free(struct lk_device_list *list);

/* Lower is better; -1: taken only when it is named. */
int lk_device_rank(const lk_device_info *info);
/* Index of the best; -1, and the reason, where none is taken by itself. */
int lk_device_choose(const struct lk_device_list *list, lk_error *err);

/* What `text` names: devices separated by commas, each by its number or by a part of its name in
 * any case. A name may have commas of its own: the longest text that is part of one counts. A part
 * of a name means the first such device that is not named yet. index: [list->n], in the order in
 * which they are named. LK_E_DEVICE, naming what there is, for a text that is empty, names nothing,
 * names one twice, or one that can't be used. */
lk_status lk_device_resolve(const struct lk_device_list *list, const char *text, int *index, int *n,
                            lk_error *err);
/* The one device of a backend that `text` names (more are an error), or NULL: the best. */
lk_status lk_device_one(const struct lk_backend_impl *impl,
                        const struct lk_backend_options *options, const char *text,
                        struct lk_device *out, lk_error *err);

#endif
