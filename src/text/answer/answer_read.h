/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_read: the inside of an lk_answer: a machine that looks at the text that is not decided yet
 * and takes from it what nothing that follows can change. Each kind of syntax is a set of states of
 * it.
 */
#ifndef LK_ANSWER_READ_H
#define LK_ANSWER_READ_H

#include <string.h>

#include "base/mem.h"
#include "text/answer/answer_format.h"
#include "text/answer/answer_json.h"
#include "text/answer/answer_request.h"
#include "text/sample/stop.h"

enum {
    LK_NAME_MAX = 128, /* bytes of a tool's name or an id */
    LK_HEAD_MAX = 256, /* bytes of the head of a message */
    LK_READ_MARKERS = 12
};

/* What a step did. */
enum lk_step { LK_STEP_ON, LK_STEP_MORE /* the text has to go on first */ };

enum lk_mode {
    LK_MODE_TEXT,   /* content or reasoning */
    LK_MODE_OPENED, /* behind what begins a call, or between calls */
    LK_MODE_OBJECT,
    LK_MODE_NAME,
    LK_MODE_BRIDGE, /* between a name and its arguments */
    LK_MODE_ARGS,   /* a JSON object of arguments */
    LK_MODE_KEY,    /* TAGGED */
    LK_MODE_KEY_NAME,
    LK_MODE_VALUE,
    LK_MODE_BRACES,
    LK_MODE_PYTHON,
    LK_MODE_CODE,
    LK_MODE_MESSAGE_HEAD, /* HARMONY */
    LK_MODE_MESSAGE_END
};

struct lk_answer_part {
    lk_answer_kind kind;
    size_t text, len; /* in `out` */
    size_t index, name, id;
    bool complete;
};

struct lk_answer {
    const struct lk_syntax *syntax;     /* static, as all tables are */
    const struct lk_thinking *thinking; /* NULL: none is looked for */
    struct lk_answer_tools tools;
    uint64_t seed;
    bool calls, whole; /* calls are looked for; they have to be whole */
    bool plain;        /* thinking is content */

    struct lk_bytes in; /* text that is not decided, from `keep` on; before it: done with */
    size_t keep, at;    /* what a call that breaks gives back begins at keep; read up to at */
    size_t scan;        /* from `at` to here nothing was found that the mode looks for; */
    size_t solid;       /* TEXT: and from here to there it is white space */
    bool ended;

    enum lk_mode mode;
    bool reasoning; /* TEXT is thinking */
    bool fresh;     /* nothing but white space and thinking came yet */
    bool skip;      /* white space that comes next is beside a marker */
    bool in_call;   /* between CALL_BEGIN and CALL_END */
    bool in_list;   /* behind a [ */
    bool had_call;  /* since the marker that opened */
    bool bare;      /* the call has no marker, so its name must be a tool's */
    bool may;       /* OPENED: a call may begin, without one more marker */
    bool in_section;
    size_t n_calls;
    lk_status status;
    lk_error *err;

    /* Of a call. */
    struct lk_json_checker check; /* of the object, or of what is made of another syntax */
    char name[LK_NAME_MAX + 1], id[LK_NAME_MAX + 1], key[LK_NAME_MAX + 1];
    int n_name, n_id, n_key;
    int field;                /* OBJECT: what the present member is, an enum of answer_object.c */
    size_t field_at;          /* where its key or value began */
    size_t args_at, args_end; /* arguments that came before the name; 0: none */
    bool has_name, has_args, streams, had_sep;
    bool text, other; /* TAGGED: the value can be a string, or anything else */
    bool first;       /* before the first value */
    bool begun;       /* TAGGED: behind the first byte of a value */
    char quote;       /* PYTHON and BRACES: in a string with this quote */
    size_t rollback_parts, rollback_out;

    /* What comes out. */
    struct lk_bytes out;
    struct lk_answer_part *part;
    size_t n_parts, parts_cap, next_part, ready;
};

/* ---- answer.c ---- */

/* An answer of a syntax alone, whose prompt (may be NULL) is any text. */
lk_status lk_answer_make(const struct lk_syntax *syntax, const struct lk_thinking *thinking,
                         const char *prompt, size_t n_prompt, lk_answer **out, lk_error *err);

/* ---- answer_out.c: events ---- */

void lk_out_text(struct lk_answer *a, const char *bytes, size_t n);
/* The call's name and id are in a->name and a->id; n_id 0: one is made. */
void lk_out_begin(struct lk_answer *a);
void lk_out_args(struct lk_answer *a, const char *bytes, size_t n);
/* The same of text that becomes part of a JSON string. */
void lk_out_escaped(struct lk_answer *a, const char *bytes, size_t n);
/* Ends the call, if there is one. */
void lk_out_end(struct lk_answer *a, bool complete);
/* A call can't be read on: what was kept back of it is content, up to the byte that is read next.
 */
void lk_out_break(struct lk_answer *a);

/* ---- looking at the text that is there ---- */

static inline size_t lk_left(const struct lk_answer *a)
{
    return a->in.n - a->at;
}

static inline const char *lk_here(const struct lk_answer *a)
{
    return a->in.data ? a->in.data + a->at : "";
}

enum lk_match { LK_MATCH_NO, LK_MATCH_YES, LK_MATCH_MAYBE /* the text may still become it */ };

/* Whether the text at byte `at` begins with `marker`, without the white space at its ends; *n: how
 * long that is. */
enum lk_match lk_match_at(const struct lk_answer *a, size_t at, const char *marker, size_t *n);
/* The same at a->at, and steps over it. */
enum lk_match lk_take(struct lk_answer *a, const char *marker);
void lk_skip_blanks(struct lk_answer *a);
/* Reads a name into to[0..LK_NAME_MAX]; false, and nothing read, when it has not ended yet or is
 * none (*bad). */
bool lk_take_name(struct lk_answer *a, char *to, int *n, bool *bad);

/* ---- the modes ---- */

enum lk_step lk_step_text(struct lk_answer *a);
void lk_text_goes_on(struct lk_answer *a, bool reasoning); /* TEXT behind a marker */
enum lk_step lk_step_opened(struct lk_answer *a);
void lk_open_call(struct lk_answer *a, bool bare); /* OPENED behind a marker */
void lk_call_done(struct lk_answer *a);            /* the call is whole: OPENED */
enum lk_step lk_step_object(struct lk_answer *a);
void lk_object_begin(struct lk_answer *a);
enum lk_step lk_call_broken(struct lk_answer *a); /* lk_out_break; goes on */
enum lk_step lk_step_name(struct lk_answer *a);
enum lk_step lk_step_bridge(struct lk_answer *a);
enum lk_step lk_step_args(struct lk_answer *a);
enum lk_step lk_step_key(struct lk_answer *a);
enum lk_step lk_step_key_name(struct lk_answer *a);
enum lk_step lk_step_value(struct lk_answer *a);
enum lk_step lk_step_braces(struct lk_answer *a);
enum lk_step lk_step_python(struct lk_answer *a);
enum lk_step lk_step_code(struct lk_answer *a);
enum lk_step lk_step_message_head(struct lk_answer *a);
enum lk_step lk_step_message_end(struct lk_answer *a);

#endif
