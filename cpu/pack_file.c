/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack_file: see pack_file.h.
 */
#include "cpu/pack_file.h"

#include <stdio.h>
#include <string.h>

#include "cpu/pack.h"

/* The header but for the zeros that follow: what is packed, out of which file, and how. */
struct header {
    char magic[8];
    uint32_t version, type, interleaved, n_matrices;
    int64_t rows, cols; /* of a matrix */
    uint64_t group_bytes, n_bytes;
    uint64_t part, offset, apart; /* where the weight lies in the model's files */
    uint8_t model[32];
    char name[96]; /* struct lk_weight has it */
};
_Static_assert(sizeof(struct header) == 208 && sizeof(struct header) < LK_PACK_FILE_HEAD,
               "no padding in the file");

bool lk_pack_file_init(struct lk_pack_file *f, const struct lk_pack_home *home,
                       const struct lk_weight *w, const struct lk_packed *p, int n_matrices)
{
    struct header h = {.magic = "lkpack1",
                       .type = (uint32_t)p->type,
                       .interleaved = p->interleaved,
                       .n_matrices = (uint32_t)n_matrices,
                       .rows = p->rows,
                       .cols = p->cols,
                       .group_bytes = p->group_bytes,
                       .apart = w->apart};
    uint8_t name[32];
    lk_sha256 hash;
    if (!w->mapped || !home->place(home->user, w->data, &h.part, &h.offset)) {
        return false;
    }
    *f =
        (struct lk_pack_file){.n_bytes = (size_t)n_matrices * (size_t)p->n_groups * p->group_bytes};
    h.n_bytes = f->n_bytes;
    memcpy(h.name, w->name, strnlen(w->name, sizeof h.name));
    /* A file of an older form, or of what the model was, is in the place of the new one. */
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, &h, sizeof h);
    lk_sha256_final(&hash, name);
    h.version = LK_PACK_VERSION;
    memcpy(h.model, home->model, sizeof h.model);
    memcpy(f->head, &h, sizeof h);
    int n = snprintf(f->path, sizeof f->path, "%s/", home->dir);
    if (n < 0 || (size_t)n + 17 > sizeof f->path) {
        return false;
    }
    for (int i = 0; i < 8; i++) {
        snprintf(f->path + n + 2 * i, 3, "%02x", name[i]);
    }
    return true;
}

bool lk_pack_file_open(const struct lk_pack_file *f, struct lk_map *out)
{
    if (lk_map_open(f->path, out, NULL)) {
        return false;
    }
    if (out->n_bytes < sizeof f->head || out->n_bytes - sizeof f->head != f->n_bytes ||
        memcmp(out->data, f->head, sizeof f->head) != 0) {
        lk_map_close(out);
        return false;
    }
    return true;
}

lk_status lk_pack_file_create(const struct lk_pack_file *f, const struct lk_pack_home *home,
                              struct lk_writer *w, lk_error *err)
{
    lk_status status = lk_make_dirs(home->dir, err);
    if (!status) {
        status = lk_writer_open(w, f->path, true, err);
    }
    if (!status) {
        lk_writer_put(w, f->head, sizeof f->head);
    }
    return status;
}
