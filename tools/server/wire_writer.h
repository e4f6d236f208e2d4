/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_writer: what a reply has so far, for the protocols to write it: the answers' texts and calls
 * as they came. Knows no protocol's form.
 */
#ifndef LK_SERVER_WIRE_WRITER_H
#define LK_SERVER_WIRE_WRITER_H

#include "tools/server/wire_json.h"

struct written_call {
    char *id, *name; /* owned */
    struct wire_text arguments;
    bool ended;
};

/* Which kind of thing an answer is writing: protocols that frame each in a block begin and end
 * blocks where it changes. */
enum written_block { BLOCK_NONE, BLOCK_REASONING, BLOCK_CONTENT, BLOCK_CALL };

struct written {
    struct wire_text prompt, reasoning, content;
    struct wire_text tokens;   /* log probabilities in the protocol's form, of tokens that were
                                  not sent; in a whole body all of them */
    size_t n_tokens;           /* in `tokens` */
    struct wire_text more[3];  /* the protocol's own, beside them */
    size_t at;                 /* bytes of text so far */
    struct written_call *call; /* [n_calls] */
    size_t n_calls, cap_calls;
    float *vector; /* [n_vector], owned */
    size_t n_vector;
    enum written_block block; /* the one that is open */
    size_t n_blocks;          /* begun so far */
    bool finished;
    enum part_finish finish;
    char *stop;      /* owned; NULL: none */
    char sha256[65]; /* "": not asked for */
    lk_error error;  /* of PART_FAILED */
    struct wire_usage usage;
};

struct writer {
    const struct ask *ask;
    struct reply_info info;
    struct written *answer; /* [n_answers] */
    size_t n_answers;
    bool failed_answer;      /* one of them has PART_FAILED */
    size_t sequence;         /* of events */
    struct wire_usage usage; /* of all, at PART_END */
    bool out_of_memory;
};

struct writer *writer_open(const struct ask *ask, const struct reply_info *info);
void writer_close(struct writer *w);

/* Takes a part in: its text is added to its answer's, `tokens` excepted. The answer that it is of,
 * or NULL where it is of none or memory ran out. */
struct written *writer_take(struct writer *w, const struct part *part);
/* Memory that ran out is told by the text. */
void writer_done(const struct writer *w, struct wire_text *out);
/* Frees the texts of an answer that is sent piece by piece. */
void writer_forget(struct written *a);

/* The error of the answer that failed. */
struct wire_error writer_error(const struct writer *w);

/* "data: " ... two newlines, around what is added between. */
void event_begin(struct wire_text *out);
void event_end(struct wire_text *out);
void writer_comment(struct writer *w, struct wire_text *out); /* an event without data */

/* The arguments of a call as an object: what was written, or {} where that is none. */
void writer_arguments(const struct written_call *call, struct wire_text *out);

#endif
