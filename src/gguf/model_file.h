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

#endif
