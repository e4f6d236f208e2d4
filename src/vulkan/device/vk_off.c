/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_off: features that were switched off for a device for good: a line of their names in a file of
 * cache_dir, one file for each kind of device whatever its driver. Knows no ops.
 */
#include <stdio.h>
#include <string.h>

#include "base/kept.h"
#include "base/mem.h"
#include "vulkan/device/vk_device.h"

enum { OFF_VERSION = 1 };

static bool off_path(const struct lk_vk_found *f, const char *cache_dir, char *path, size_t n)
{
    int len = snprintf(path, n, "%s/vk-%x-%x.off", cache_dir, f->props.vendorID, f->props.deviceID);
    return len > 0 && (size_t)len < n;
}

void lk_vk_off_apply(struct lk_vk_found *f, const char *cache_dir, const struct lk_log *log)
{
    char path[600];
    struct lk_kept file;
    if (!cache_dir || !off_path(f, cache_dir, path, sizeof path)) {
        return; /* none is off */
    }
    if (lk_kept_open(&file, path, "off", OFF_VERSION) == LK_KEPT_BROKEN) { /* a choice is lost */
        lk_log_line(log, LK_LOG_WARN,
                    "%s: not a whole file: no feature of this device is off any more", path);
        lk_remove(path);
    }
    for (size_t at = 0; at < file.n_bytes;) {
        const char *name = (const char *)file.data + at;
        size_t n = 0;
        while (at + n < file.n_bytes && name[n] != ' ' && name[n] != '\n') {
            n++;
        }
        for (int i = 0; i < LK_VK_FEATURES; i++) {
            const char *feature = lk_vk_feature_name((enum lk_vk_feature)i);
            if (strlen(feature) == n && memcmp(feature, name, n) == 0) {
                f->off[i] = true;
                f->use[i] = false;
            }
        }
        at += n + 1;
    }
    lk_kept_close(&file);
}

void lk_vk_off_note(const struct lk_vk_found *f, char *note, size_t n)
{
    size_t at = strlen(note);
    for (int i = 0; i < LK_VK_FEATURES && at < n; i++) {
        if (f->off[i]) {
            at += (size_t)snprintf(note + at, n - at, "%s%s was switched off for this device",
                                   at ? "; " : "", lk_vk_feature_name((enum lk_vk_feature)i));
        }
    }
}

static lk_status write_off(const struct lk_vk_found *f, const char *cache_dir, lk_error *err)
{
    char path[600], line[256] = "";
    size_t n = 0;
    for (int i = 0; i < LK_VK_FEATURES; i++) {
        if (f->off[i]) {
            n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", n ? " " : "",
                                  lk_vk_feature_name((enum lk_vk_feature)i));
        }
    }
    if (!off_path(f, cache_dir, path, sizeof path)) {
        return lk_fail(err, LK_E_INVALID, "cache_dir: '%.80s...' is too long", cache_dir);
    }
    lk_status status = lk_make_dirs(cache_dir, err);
    return status ? status : lk_kept_write(path, "off", OFF_VERSION, line, n, err);
}

lk_status lk_vk_switch_off(const struct lk_backend_options *options, const char *feature,
                           lk_error *err)
{
    struct lk_vk_instance instance;
    struct lk_vk_found *found = NULL;
    int n = 0, chosen = -1, which = -1;
    if (!options->cache_dir) {
        return lk_fail(err, LK_E_INVALID, "switching '%s' off: cache_dir is NULL, nothing is kept",
                       feature ? feature : "");
    }
    lk_status status = lk_vk_instance_open(&instance, err);
    if (!status) {
        status = lk_vk_find(&instance, options, &found, &n, err);
    }
    if (!status) {
        chosen = lk_vk_pick(found, n, options, err);
        status = chosen < 0 ? LK_E_DEVICE : LK_OK;
    }
    for (int i = 0; i < LK_VK_FEATURES && !status; i++) {
        found[chosen].off[i] &= feature != NULL;
        if (feature && strcmp(feature, lk_vk_feature_name((enum lk_vk_feature)i)) == 0) {
            which = i;
        }
    }
    if (!status && feature && which < 0) {
        status =
            lk_fail(err, LK_E_INVALID, "'%.64s' is no feature of a Vulkan device here", feature);
    }
    if (!status) {
        if (which >= 0) {
            found[chosen].off[which] = true;
        }
        status = write_off(&found[chosen], options->cache_dir, err);
    }
    lk_free(found);
    lk_vk_instance_close(&instance);
    return status;
}
