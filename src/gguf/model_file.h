/* SPDX-License-Identifier: Apache-2.0
 *
 * Model file: the inside of an lk_model, for the engine and the tokenizer, which read its gguf.
 */
#ifndef LK_MODEL_FILE_H
#define LK_MODEL_FILE_H

#include "gguf/gguf.h"

struct lk_model {
    struct lk_gguf *gguf;              /* owned */
    char *arch, *name;                 /* general.architecture and general.name or ""; owned */
    char (*meta_type)[48];             /* [n_values] "array of f32 [49152]"; owned */
    char (*tensor_type)[20];           /* [n_tensors] "Q4_K" or "type 31"; owned */
    struct lk_weights_digest *weights; /* owned */
};

/* What lk_model_digest knows of a model that may be shared by threads. */
struct lk_weights_digest {
    struct lk_mutex *lock; /* owned */
    bool known;
    uint8_t sha256[32]; /* when known */
};

/* Makes a model of an open gguf, which it owns from then on, also when it fails. */
lk_status lk_model_of_gguf(struct lk_gguf *gguf, lk_model **out, lk_error *err);

/* What a model's files are, without reading their weights (src/gguf/model_stamp.c). path: SHA-256
 * of where the first lies. stamp: SHA-256 of device, inode, size and times of all of them, as they
 * were when they were mapped. False: they are not mapped, or a later change need not show in their
 * times; a file that was just written is waited for, 2 seconds at most. */
bool lk_model_stamp(const lk_model *model, uint8_t path[32], uint8_t stamp[32]);
/* Whether the files still are what the stamp is of. */
bool lk_model_is_same(const lk_model *model);
/* The file, and the offset in it, where data of the model lies; false: in none of them. */
bool lk_model_place(const lk_model *model, const void *data, uint64_t *part, uint64_t *offset);

#endif
