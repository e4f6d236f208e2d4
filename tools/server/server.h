/* SPDX-License-Identifier: Apache-2.0
 *
 * Server: what the files of the server share: the models, and a task, which is one request on its
 * way. A task is read on the I/O thread (routes.c), made ready on its model's own thread
 * (prepare.c), written on the model's runner (runner.c), and its reply goes back to the I/O thread
 * (task.c). Nothing else crosses threads.
 */
#ifndef LK_SERVER_SERVER_H
#define LK_SERVER_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "tools/server/clock.h"
#include "tools/server/metrics.h"
#include "tools/server/serve.h"
#include "tools/server/wire.h"

struct model;
struct server;

/* ---- tasks (task.c) ---- */

struct answer {       /* one of those that a task has */
    lk_answer *parts; /* takes the text of a dialogue's answer apart; NULL: it is content */
    size_t written, reasoning; /* tokens */
    bool forced;               /* its thinking was ended */
    bool ended;
    double last; /* when its last token came; 0: none came */
};

struct task_prompt {
    int32_t *ids; /* [n], owned */
    size_t n;
    lk_job *job; /* the runner's */
};

struct task {
    atomic_int refs; /* the request's, and the model's */
    struct server *server;
    struct model *model;
    struct task *next; /* in an inbox */
    /* A task either asks a protocol or runs `work` once on the model's thread. */
    const struct protocol *protocol;
    void (*work)(struct task *task);
    uint32_t what; /* of `work`, whatever it means by it */
    char *body;    /* of `work`, owned */
    size_t body_len;
    struct ask ask;
    uint64_t key; /* who asks */

    struct http_request *request; /* the I/O thread's */
    atomic_bool gone, slow;

    /* Made by prepare.c, used by runner.c. */
    struct task_prompt *prompt; /* [n_prompts] */
    size_t n_prompts;
    lk_grammar *grammar;
    lk_constraint *constraint;
    struct answer *answer; /* [n_prompts * ask.n] */
    size_t n_answers, n_ended;
    struct writer *writer;
    struct wire_text out, valid, bytes; /* what is to be sent; scratch of reply.c */
    struct reply_info info;
    lk_error failure; /* of the answer that failed last; status LK_OK: none did */
    bool begun;       /* the reply's head was sent */
    bool lost;        /* memory for a piece of it ran out: the client is told, or cut off */
    struct http_post loss;
    bool parts;        /* PART_BEGIN was put */
    double born, sent; /* seconds; when something was sent last */
};

struct task *task_new(struct server *server, struct http_request *request); /* NULL: no memory */
/* On the I/O thread, before it goes to a model, for which a reference is taken: what happens when
 * the client goes. */
void task_watch(struct task *task);
void task_hold(struct task *task);
void task_drop(struct task *task);
/* Replies, from any thread but the I/O thread; the bytes are copied. The head goes with the first
 * piece. A reply ends once. Where memory for a piece runs out it ends there: with 503 where nothing
 * was sent, else broken off, and the task's client is gone. */
void task_send(struct task *task, const void *data, size_t len);
void task_end(struct task *task, bool broken);
void task_reply(struct task *task, int status, const char *type, const void *data, size_t len);
/* The whole reply, or the end of one that has begun. */
void task_refuse(struct task *task, const struct wire_error *why);
void task_refuse_status(struct task *task, const lk_error *err);
/* The whole reply, on the I/O thread, to a request that became no task. */
void refuse_now(struct http_request *r, const struct protocol *p, const struct wire_error *why);

/* ---- models (serve_model.c) ---- */

/* What a task is doing, as of the last step. */
struct slot {
    char id[40];
    lk_job_info info;
};

enum model_state { MODEL_COLD, MODEL_LOADING, MODEL_READY, MODEL_FAILED };

struct model {
    struct server *server;
    const struct serve_model *what;
    struct serve_model other; /* what `what` is of one that stands on another backend */
    const char *check;        /* that backend; NULL: it is what is served */
    struct model *main;       /* itself, or the one that it stands beside */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of the inbox, the state, what is told */
    pthread_cond_t changed;
    struct task *inbox, **inbox_end;
    size_t n_inbox;
    enum model_state state;
    bool stop, unload;
    lk_error failure; /* of MODEL_FAILED */
    double used;      /* when a task came last */
    size_t n_tasks;   /* prepared or being prepared, and not ended */

    /* From the start: what its file's metadata say. */
    lk_sampler_options sampler;    /* where a request does not say */
    char arch[64], *template_text; /* the latter owned; NULL: it has none */
    uint64_t n_params, file_bytes;
    uint32_t n_ctx_train;
    bool embeds; /* it makes vectors of texts, and writes none */

    /* The model's own thread's, while it is ready; the runner reads them. */
    lk_model *file;
    lk_tokenizer *tokenizer;
    lk_template *template;     /* NULL: it has none that runs */
    lk_error template_why;     /* of that */
    lk_answer_format *answers; /* how it writes its thinking and its calls */
    int32_t *shown;            /* [n_shown] control tokens that are markers of those, owned */
    size_t n_shown;
    int32_t *think_end; /* [n_think_end] tokens that end thinking, owned */
    size_t n_think_end;
    lk_chat_format format;
    lk_engine *engine;
    uint8_t digest[32];
    struct runner *runner;

    /* What others may be told of, under the lock. */
    char fingerprint[64]; /* of what decides the bits; "" before it was first open */
    uint32_t n_ctx;       /* 0 likewise */
    char backend[256];
    lk_scheduler_info info;
    struct metrics metrics;
};

lk_status model_init(struct model *model, struct server *server, const struct serve_model *what,
                     lk_error *err);
void model_free(struct model *model); /* ends its threads first */
/* Takes the task (one reference). Never fails: a task that can't be served is refused. */
void model_submit(struct model *model, struct task *task);
void model_load(struct model *model); /* begins to, if it is not */
/* Asks it to close when nobody uses it. */
void model_unload(struct model *model);
void model_task_ended(struct model *model);
/* Its runner looks at its tasks again: one is gone, or its reader slow or ready. */
void model_wake(struct model *model);
size_t model_slots(struct model *model, struct slot *slots, size_t cap);
enum model_state model_state(struct model *model);

/* ---- from an ask to tokens (prepare.c) ---- */

/* Ids, constraint and answers of a task; false: it was refused. */
bool prepare(struct model *model, struct task *task);
/* Ids of a text, with these flags of lk_tokenize, or those that were given; *ids is malloc'd, with
 * room for one more. False: why is filled. */
bool prepare_ids(struct model *model, const struct ask_prompt *from, unsigned flags, int32_t **ids,
                 size_t *n, struct wire_error *why);
/* ---- vectors (serve_embed.c) ---- */

bool embed_is_meant(const lk_model *file); /* the file says how texts become vectors */
void embed_run(struct task *task);         /* replies */

/* ---- the scheduler's thread (runner.c) ---- */

struct runner;
lk_status runner_open(struct model *model, const lk_scheduler_options *options, struct runner **out,
                      lk_error *err);
void runner_close(struct runner **runner);                    /* ends what it still writes */
void runner_submit(struct runner *runner, struct task *task); /* takes the reference */
void runner_wake(struct runner *runner);
size_t runner_slots(struct runner *runner, struct slot *slots, size_t cap);

/* ---- from what jobs write to a reply (reply.c), on the runner's thread ---- */

bool reply_open(struct task *task); /* its writer; false: out of memory */
bool reply_tend(struct task *task); /* takes the events of a step; true: the reply has ended */
void reply_end(struct task *task);

/* ---- all of it (serve.c) ---- */

struct server {
    const struct serve_options *options;
    struct http *http;
    struct model *model; /* [n_all]: first the n_models that are served, then those beside them */
    size_t n_models, n_all;
    atomic_bool stopping;
    pthread_mutex_t lock; /* of the choice of who is unloaded */
    double started;
    int64_t started_at; /* seconds since 1970 */
};

__attribute__((format(printf, 3, 4))) void server_log(const struct server *server,
                                                      lk_log_level level, const char *format, ...);
/* Makes room for one more open model; false: all others are in use. */
bool server_make_room(struct server *server, struct model *want);
/* The model of that name, on another backend where one is named (NULL or "": none is); NULL: there
 * is none (why is filled). */
struct model *server_find(struct server *server, const char *name, const char *backend,
                          struct wire_error *why);

lk_status routes_open(struct server *server, lk_error *err);      /* routes.c: the APIs */
lk_status routes_info_open(struct server *server, lk_error *err); /* info.c: what there is */
lk_status routes_text_open(struct server *server, lk_error *err); /* text.c: tokens, templates */

/* wire_error of a status of the library. */
struct wire_error refusal_of(const lk_error *err);
__attribute__((format(printf, 4, 5))) struct wire_error
refusal(int status, const char *type, const char *param, const char *format, ...);

#endif
