/* SPDX-License-Identifier: Apache-2.0
 *
 * Session_file: what can be said of saved sessions without loading them.
 */
#ifndef LK_SESSION_FILE_H
#define LK_SESSION_FILE_H

#include "base/base.h"

/* Bytes of a saved session of so many tokens, without logits, with n_data bytes of the program's.
 */
size_t lk_session_file_bytes(const lk_engine *engine, size_t n_tokens, size_t n_data);

/* What would be the file of a session without logits, in memory, out[n_bytes] of the size above,
 * but for its seal, the digest at its end: a thread that knows no session may set that. */
lk_status lk_session_image(lk_session *session, uint8_t *out, size_t n_bytes, lk_error *err);
void lk_session_seal(uint8_t *image, size_t n_bytes);

/* A digest of what a session's file must agree with: model, weights, numerics, forms. Reads the
 * weights, as lk_model_digest does. */
lk_status lk_session_file_identity(const lk_engine *engine, uint8_t out[32], lk_error *err);

struct lk_session_glance {
    int32_t *ids; /* [n_tokens], lk_free */
    size_t n_tokens;
    uint8_t *data; /* [n_data] the program's, lk_free */
    size_t n_data;
    uint64_t n_bytes; /* of the file */
    int64_t modified_ns;
};
/* What is in a session's file, if it may be one of this engine's model: neither weights nor the
 * content are compared, which lk_session_load does. Errors as of that. */
lk_status lk_session_glance(lk_engine *engine, const char *path, struct lk_session_glance *out,
                            lk_error *err);
void lk_session_glance_free(struct lk_session_glance *glance);

#endif
