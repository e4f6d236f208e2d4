/* SPDX-License-Identifier: Apache-2.0
 *
 * Device_list: see device_list.h.
 */
#include "backend/device_list.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

bool lk_device_same(const struct lk_device_id *a, const struct lk_device_id *b)
{
    return memcmp(a->device, b->device, sizeof a->device) == 0 &&
           memcmp(a->driver, b->driver, sizeof a->driver) == 0 && a->twin == b->twin;
}

static lk_status keep(void *user, const struct lk_device *device, lk_error *err)
{
    struct lk_device_list *list = user;
    lk_status status = lk_grow(&list->items, &list->cap, list->n + 1, sizeof *list->items, err);
    if (!status) {
        list->items[list->n++] = *device;
    }
    return status;
}

lk_status lk_device_list_find(const struct lk_backend_impl *impl,
                              const struct lk_backend_options *options, struct lk_device_list *out,
                              lk_error *err)
{
    *out = (struct lk_device_list){0};
    lk_status status = impl->list ? impl->list(options, keep, out, err) : LK_OK;
    if (status) {
        lk_device_list_free(out);
    }
    return status;
}

void lk_device_list_free(struct lk_device_list *list)
{
    lk_free(list->items);
    *list = (struct lk_device_list){0};
}

/* ---- the choice where none is named ---- */

int lk_device_rank(const lk_device_info *info)
{
    static const char *const ORDER[] = {"discrete", "integrated", "virtual"};
    for (int i = 0; info->usable && i < (int)LK_COUNT(ORDER); i++) {
        if (strcmp(info->type, ORDER[i]) == 0) {
            return i;
        }
    }
    return -1;
}

int lk_device_choose(const struct lk_device_list *list, lk_error *err)
{
    int best = -1;
    const struct lk_device *refused = NULL; /* a GPU that can't be used */
    for (size_t i = 0; i < list->n; i++) {
        const lk_device_info *info = &list->items[i].info;
        int rank = lk_device_rank(info);
        if (rank >= 0 && (best < 0 || rank < lk_device_rank(&list->items[best].info))) {
            best = (int)i;
        }
        if (!refused && !info->usable && strcmp(info->type, "cpu") != 0) {
            refused = &list->items[i];
        }
    }
    if (best < 0 && refused) {
        lk_fail(err, LK_E_DEVICE, "vulkan: '%s': %s", refused->info.name, refused->info.note);
    } else if (best < 0) {
        lk_fail(err, LK_E_DEVICE, "vulkan: no GPU, only a driver that computes on the CPU");
    }
    return best;
}

/* ---- names ---- */

struct word {
    const char *at;
    size_t n;
};

static struct word trim(const char *at, size_t n)
{
    while (n > 0 && *at == ' ') {
        at++;
        n--;
    }
    while (n > 0 && at[n - 1] == ' ') {
        n--;
    }
    return (struct word){at, n};
}

/* The number that a word of digits is; -1: it is none. */
static int number_of(struct word w)
{
    int value = 0;
    for (size_t i = 0; i < w.n; i++) {
        if (!isdigit((unsigned char)w.at[i])) {
            return -1;
        }
        value = value < INT_MAX / 10 - 1 ? 10 * value + (w.at[i] - '0') : INT_MAX;
    }
    return w.n > 0 ? value : -1;
}

static bool is_part_of(struct word w, const char *name)
{
    for (; w.n > 0 && *name; name++) {
        size_t i = 0;
        while (i < w.n && tolower((unsigned char)name[i]) == tolower((unsigned char)w.at[i])) {
            i++;
        }
        if (i == w.n) {
            return true;
        }
    }
    return false;
}

/* Index of the device that a word names, of several one that is not named yet; -1: none. */
static int match(const struct lk_device_list *list, struct word w, const int *named, int n_named)
{
    int number = number_of(w), first = -1;
    if (number >= 0) {
        return (size_t)number < list->n ? number : -1;
    }
    for (size_t i = 0; i < list->n; i++) {
        bool taken = false;
        for (int k = 0; k < n_named; k++) {
            taken |= named[k] == (int)i;
        }
        if (!is_part_of(w, list->items[i].info.name)) {
            continue;
        }
        if (!taken) {
            return (int)i;
        }
        first = first < 0 ? (int)i : first;
    }
    return first;
}

/* "0: 'A', 1: 'B'", shortened. */
static void tell(const struct lk_device_list *list, char *out, size_t n)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < list->n && at < n; i++) {
        at += (size_t)snprintf(out + at, n - at, "%s%zu: '%.80s'", i ? ", " : "", i,
                               list->items[i].info.name);
    }
}

static lk_status none_such(const struct lk_device_list *list, struct word w, lk_error *err)
{
    char there[512];
    tell(list, there, sizeof there);
    return lk_fail(err, LK_E_DEVICE, "device '%.*s': %s Vulkan device; there %s %s",
                   (int)(w.n < 200 ? w.n : 200), w.at, w.n ? "no such" : "an empty name is no",
                   list->n == 1 ? "is" : "are", there);
}

/* The next device of *text, which moves past it and its comma. */
static lk_status next(const struct lk_device_list *list, const char **text, const int *named,
                      int n_named, int *out, lk_error *err)
{
    const char *from = *text;
    size_t shortest = strcspn(from, ",");
    for (size_t n = strlen(from);; n--) {
        bool ends = from[n] == ',' || from[n] == 0;
        struct word w = trim(from, n);
        *out = ends ? match(list, w, named, n_named) : -1;
        if (*out >= 0) {
            *text = from[n] ? from + n + 1 : NULL;
            return LK_OK;
        }
        if (n == shortest) {
            return none_such(list, w, err);
        }
    }
}

lk_status lk_device_resolve(const struct lk_device_list *list, const char *text, int *index, int *n,
                            lk_error *err)
{
    *n = 0;
    for (const char *p = text; p;) {
        int i;
        lk_status status = next(list, &p, index, *n, &i, err);
        if (status) {
            return status;
        }
        const lk_device_info *info = &list->items[i].info;
        if (!info->usable) {
            return lk_fail(err, LK_E_DEVICE, "device '%s': %s", info->name, info->note);
        }
        for (int k = 0; k < *n; k++) {
            if (index[k] == i) {
                return lk_fail(err, LK_E_DEVICE, "device '%s': names %d ('%s') twice", text, i,
                               info->name);
            }
        }
        index[(*n)++] = i;
    }
    return LK_OK;
}

lk_status lk_device_one(const struct lk_backend_impl *impl,
                        const struct lk_backend_options *options, const char *text,
                        struct lk_device *out, lk_error *err)
{
    struct lk_device_list list;
    lk_status status = lk_device_list_find(impl, options, &list, err);
    if (status) {
        return status;
    }
    int *index = lk_alloc_array(list.n + 1, sizeof *index), n = 1;
    if (!index) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory listing devices");
    } else if (!text) {
        index[0] = lk_device_choose(&list, err);
        status = index[0] < 0 ? LK_E_DEVICE : LK_OK;
    } else {
        status = lk_device_resolve(&list, text, index, &n, err);
    }
    if (!status && n > 1) {
        status = lk_fail(err, LK_E_DEVICE, "device '%s': names %d devices, expected one", text, n);
    }
    if (!status) {
        *out = list.items[index[0]];
    }
    lk_free(index);
    lk_device_list_free(&list);
    return status;
}
