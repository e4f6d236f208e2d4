/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire: what a request asks for, whichever API it came by, and how an answer is written for it. A
 * protocol is pure functions: bytes to a struct ask, parts of an answer to bytes. Knows neither
 * sockets nor engines nor threads.
 */
#ifndef LK_SERVER_WIRE_H
#define LK_SERVER_WIRE_H

#include "lockstep.h"
#include "tools/server/wire_text.h"

/* Why a request is refused: an HTTP status, and what clients read. */
struct wire_error {
    int status;      /* 400, 404, 413, 429, 503, 500 */
    char type[40];   /* "invalid_request_error", "overloaded_error", ... */
    char param[128]; /* the field: "messages[2].content"; "": none */
    char code[64];   /* "model_not_found"; "": none */
    char message[512];
};

enum ask_kind { ASK_CHAT, ASK_TEXT, ASK_EMBED, ASK_COUNT /* tokens of a chat */ };
enum ask_format { ASK_FREE, ASK_JSON, ASK_SCHEMA, ASK_GRAMMAR, ASK_REGEX };
enum ask_tools { ASK_TOOLS_AUTO, ASK_TOOLS_NONE, ASK_TOOLS_REQUIRED, ASK_TOOLS_NAMED };
enum ask_think { ASK_THINK_DEFAULT, ASK_THINK_OFF, ASK_THINK_ON };

struct ask_prompt { /* text, or ids */
    char *text;
    size_t len;
    int32_t *ids;
    size_t n_ids;
};

struct ask {
    enum ask_kind kind;
    char *model;   /* as asked for; NULL or "": whichever there is */
    char *backend; /* which of the server's backends answers; NULL: whichever it is */
    /* ASK_CHAT, ASK_COUNT: the request as lk_template_input and lk_answer_options have it, whatever
     * the protocol: an object with messages in OpenAI's form and, if given, tools, tool_choice,
     * parallel_tool_calls, response_format, documents, reasoning_effort, chat_template_kwargs.
     * Numbers are as the client wrote them. Content that came in parts is one text; images and the
     * like were refused. */
    char *request;
    size_t request_len;
    bool continues;            /* the last message is the assistant's and is gone on with */
    struct ask_prompt *prompt; /* [n_prompts] of ASK_TEXT and ASK_EMBED */
    size_t n_prompts;

    lk_sampler_options sampler; /* what was asked for is set; the rest stays as it came */
    bool seeded;                /* the seed is the request's */
    size_t max_tokens;          /* SIZE_MAX: as many as there is room for */
    char **stop;                /* [n_stop] */
    size_t n_stop;
    uint32_t n;   /* answers to each prompt */
    int logprobs; /* the likeliest beside the chosen; -1: none at all */
    bool ignore_eog;

    enum ask_format format;
    char *format_text; /* schema, grammar or regular expression */
    size_t format_len;
    char *tools; /* OpenAI's array, or NULL; it is in the request too */
    size_t tools_len;
    enum ask_tools tool_choice;
    char *tool_name; /* of ASK_TOOLS_NAMED */
    bool parallel_tools;
    enum ask_think think;
    char effort[16];    /* reasoning_effort; "": not given */
    int64_t think_most; /* tokens of thinking; -1: no limit */

    bool stream, include_usage, echo, hash; /* hash: logits_sha256 */
    bool timings;                           /* usage's seconds are told */
    bool raw;                               /* ASK_TEXT: the prompt without BOS and template */
    /* Set by the server before a parse: a line of billing that some clients begin their system text
     * with stays as it is. False: its `cch`, another one with each request, which would keep
     * prompts from sharing anything, is made 00000. */
    bool keep_billing;
    double deadline; /* seconds; 0: none */
    int priority;
    void *own; /* the protocol's, freed with it */
    void (*free_own)(void *own);
};
void ask_free(struct ask *ask);

/* What the server says of itself and of the model that answers. */
struct reply_info {
    char id[40];          /* random; protocols put their prefix before it */
    int64_t created;      /* seconds since 1970 */
    const char *model;    /* the name clients know it by */
    char fingerprint[64]; /* numerics version and digest of the model */
    uint64_t seed;        /* that was used */
    size_t prompt_tokens;
};

/* A part of an answer, in the order it came. Text is whole characters of valid UTF-8. */
enum part_kind {
    PART_BEGIN,     /* of all answers; the first */
    PART_TOKEN,     /* with its logprobs, where they were asked for; before its text */
    PART_REASONING, /* text */
    PART_CONTENT,   /* text */
    PART_CALL,      /* of a tool: call, id, name */
    PART_ARGUMENTS, /* text: a piece of JSON, of the call `call` */
    PART_CALL_END,
    PART_FINISH, /* of one answer */
    PART_PROMPT, /* ASK_TEXT with echo: the prompt's text */
    PART_VECTOR, /* ASK_EMBED: of the prompt `answer` */
    PART_END     /* of all; the last */
};
enum part_finish { PART_STOP, PART_LENGTH, PART_CALLS, PART_CANCELLED, PART_FAILED };

struct part_logprob {
    const char *bytes; /* of the token */
    size_t len;
    int32_t token;
    float logprob;
};
struct wire_usage {
    size_t prompt, reused, written, reasoning; /* tokens; reasoning is part of written */
    double waited, reading, writing;           /* seconds */
};
struct part {
    enum part_kind kind;
    uint32_t answer;
    const char *text;
    size_t len;
    /* PART_TOKEN */
    struct part_logprob token;
    const struct part_logprob *top;
    size_t n_top;
    /* PART_CALL, PART_ARGUMENTS, PART_CALL_END */
    uint32_t call;
    const char *id, *name;
    /* PART_FINISH */
    enum part_finish finish;
    const char *stop;   /* the stop text that ended it, or NULL */
    const char *sha256; /* of its logits, in hexadecimal, or NULL */
    const lk_error *error;
    /* PART_VECTOR */
    const float *vector;
    size_t n_vector;
    /* PART_END */
    struct wire_usage usage; /* PART_FINISH: of that answer; PART_END: of all */
};

struct writer; /* of one reply (wire_writer.h) */

struct protocol {
    const char *name;
    const char *stream_type; /* "text/event-stream" or "application/x-ndjson" */
    /* The ask of a body; false: refused, `why` is filled and `ask` is freed. `ask` comes with
     * defaults. `path` is the part of the URL that the route left open, or "". */
    bool (*parse)(const char *path, const char *body, size_t len, struct ask *ask,
                  struct wire_error *why);
    /* A writer that appends what a part becomes to `out`: at once where the ask wants a stream,
     * else the whole body at PART_END. NULL: out of memory. The info is copied; the ask and what
     * the info points to must outlive the writer. Memory that runs out later is out->failed. An
     * answer that failed (PART_FAILED) ends a stream with its error; a whole body is that error
     * then. */
    struct writer *(*open)(const struct ask *ask, const struct reply_info *info);
    void (*put)(struct writer *w, const struct part *part, struct wire_text *out);
    void (*close)(struct writer *w);
    void (*keep_alive)(struct writer *w, struct wire_text *out); /* nothing new; or NULL */
    /* Body of a refusal; with `streaming` as a piece of a stream that has begun. */
    void (*error)(const struct wire_error *why, bool streaming, struct wire_text *out);
};

extern const struct protocol PROTOCOL_CHAT;        /* POST /v1/chat/completions */
extern const struct protocol PROTOCOL_COMPLETIONS; /* POST /v1/completions */
extern const struct protocol PROTOCOL_EMBEDDINGS;  /* POST /v1/embeddings */
extern const struct protocol PROTOCOL_RESPONSES;   /* POST /v1/responses */
extern const struct protocol PROTOCOL_MESSAGES;    /* POST /v1/messages */
extern const struct protocol PROTOCOL_COUNT;       /* POST /v1/messages/count_tokens */
extern const struct protocol PROTOCOL_OLLAMA_CHAT, PROTOCOL_OLLAMA_GENERATE, PROTOCOL_OLLAMA_EMBED;
extern const struct protocol PROTOCOL_NATIVE; /* POST /completion, llama.cpp's */

#endif
