/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack_file: the packed form of one weight in a file: a header of 4096 bytes, then the groups of
 * all its matrices. A file that is not, to the last byte of its header and by its size, the one
 * that is asked for is as good as none. Knows no plan and no threads.
 */
#ifndef LK_PACK_FILE_H
#define LK_PACK_FILE_H

#include "backend/backend.h"
#include "base/os.h"
#include "cpu/matmul.h"

enum { LK_PACK_FILE_HEAD = 4096 };

struct lk_pack_file {
    char path[4096];
    size_t n_bytes;                  /* of the groups */
    uint8_t head[LK_PACK_FILE_HEAD]; /* as it must be */
};
/* p: the first matrix of w, of which there are n_matrices. False: w lies in no file of the model,
 * or the path is too long. */
bool lk_pack_file_init(struct lk_pack_file *f, const struct lk_pack_home *home,
                       const struct lk_weight *w, const struct lk_packed *p, int n_matrices);
/* Maps it; the groups lie behind the header. False: there is none, or it is another. */
bool lk_pack_file_open(const struct lk_pack_file *f, struct lk_map *out);
/* Begins a new one, for its owner's eyes, with the header: the groups go to w in order. */
lk_status lk_pack_file_create(const struct lk_pack_file *f, const struct lk_pack_home *home,
                              struct lk_writer *w, lk_error *err);

#endif
