/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept: see kept.h.
 */
#include "base/kept.h"

#include <stddef.h>
#include <string.h>

/* The file: this header, then the content. The digest is of both, itself zero. */
struct header {
    char magic[8], kind[8];
    uint32_t version, numerics; /* numerics: LK_NUMERICS_VERSION */
    uint64_t n_bytes;           /* of the content */
    uint8_t sha256[32];
};
_Static_assert(sizeof(struct header) == 64, "no padding in the file");

/* The header of such a content, its digest still zero. */
static struct header header_of(const char *kind, uint32_t version, size_t n)
{
    struct header h = {.magic = "lkkept1",
                       .version = version,
                       .numerics = LK_NUMERICS_VERSION,
                       .n_bytes = n};
    memcpy(h.kind, kind, strnlen(kind, sizeof h.kind));
    return h;
}

static void digest_of(const struct header *bare, const void *data, size_t n, uint8_t out[32])
{
    lk_sha256 hash;
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, bare, sizeof *bare);
    lk_sha256_bytes(&hash, data, n);
    lk_sha256_final(&hash, out);
}

enum lk_kept_state lk_kept_open(struct lk_kept *out, const char *path, const char *kind,
                                uint32_t version)
{
    struct header found;
    *out = (struct lk_kept){0};
    if (lk_map_open(path, &out->map, NULL)) {
        return LK_KEPT_NONE;
    }
    if (out->map.n_bytes >= sizeof found) {
        size_t n = out->map.n_bytes - sizeof found;
        const uint8_t *data = out->map.data + sizeof found;
        struct header want = header_of(kind, version, n);
        uint8_t digest[32];
        memcpy(&found, out->map.data, sizeof found);
        /* Only what the header claims to be whole is read: a file that is not may have any size. */
        if (memcmp(&found, &want, offsetof(struct header, sha256)) == 0) {
            digest_of(&want, data, n, digest);
            if (memcmp(found.sha256, digest, sizeof digest) == 0) {
                out->data = data;
                out->n_bytes = n;
                return LK_KEPT_WHOLE;
            }
        }
    }
    lk_map_close(&out->map);
    return LK_KEPT_BROKEN;
}

void lk_kept_close(struct lk_kept *kept)
{
    lk_map_close(&kept->map);
    *kept = (struct lk_kept){0};
}

lk_status lk_kept_write(const char *path, const char *kind, uint32_t version, const void *data,
                        size_t n_bytes, lk_error *err)
{
    struct header h = header_of(kind, version, n_bytes);
    struct lk_writer w;
    uint8_t digest[32];
    digest_of(&h, data, n_bytes, digest);
    memcpy(h.sha256, digest, sizeof digest);
    lk_status status = lk_writer_open(&w, path, true, err);
    if (!status) {
        lk_writer_put(&w, &h, sizeof h);
        lk_writer_put(&w, data, n_bytes);
        status = lk_writer_commit(&w, err);
    }
    return status;
}
