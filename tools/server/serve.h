/* SPDX-License-Identifier: Apache-2.0
 *
 * Serve: the server as the command line starts it: what it serves, where, within which limits.
 */
#ifndef LK_SERVER_SERVE_H
#define LK_SERVER_SERVE_H

#include "lockstep_serve.h"
#include "tools/server/http.h"

struct serve_model {
    const char *name; /* what clients call it */
    const char *path;
    lk_engine_options engine;
    const char *template_text; /* instead of the model's own; NULL: that one */
    size_t template_len;
};

struct serve_options {
    const struct serve_model *model; /* [n_models], the first is the default */
    size_t n_models;
    struct http_options http;
    lk_scheduler_options scheduler; /* of each model */
    double prefix_save_s; /* when a model is closed: for what its cache holds to go to prefix_dir */
    /* How tokens are chosen where a request does not say; `preset` changes it to what the model's
     * maker wants, NULL: nothing does. */
    lk_sampler_options sampler;
    void (*preset)(void *user, const lk_model *model, lk_sampler_options *sampler);
    double unload_s;     /* seconds after which a model that nobody asks is closed; 0: never */
    uint32_t max_loaded; /* models open at the same time, at most; 0: all */
    bool load_late;      /* models are opened when they are first asked for */
    /* Other backends, and placements, that a request may name: its answer is made there, by an
     * engine of its own that is open while it is needed. */
    const char *const *check; /* [n_check] */
    size_t n_check;
    double check_unload_s; /* after which it is closed */
    uint32_t max_answers;  /* `n` of a request, at most */
    bool keep_billing;     /* struct ask's */
    const char *cache_dir; /* of digests; NULL: none */
    double grace_s;        /* at the end, for answers that are being written */
    void (*started)(void *user, const char *url); /* it listens */
    lk_log_fn log;
    void *user;
};

/* Serves until SIGTERM or SIGINT. False in serve_is_built: the program was built without it. */
bool serve_is_built(void);
lk_status serve_run(const struct serve_options *options, lk_error *err);

#endif
