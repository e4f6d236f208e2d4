/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep_answer: what a model writes, taken apart: thinking, content and calls of tools. A part
 * of lockstep.h, which includes it.
 *
 * A model writes its thinking, what it says and the tools that it calls as one text, in a syntax of
 * its own that its template shows. A format is what is known of that syntax; an answer reads one
 * text of it while it is written:
 *
 *     lk_answer_format *f; lk_answer *a; lk_rendering *r; lk_answer_event part;
 *     lk_answer_options o = lk_answer_options_default();
 *     if (lk_answer_format_open(c, NULL, &f, &err)) die(err.message);
 *     if (lk_answer_render(f, &in, &r, &err)) die(err.message); // as lk_template_render
 *     o.request = in.request; o.request_len = in.request_len; o.prompt = r;
 *     if (lk_answer_open(f, &o, &a, &err)) die(err.message);
 *     ... for each LK_EVENT_TEXT of a generation:
 *     if (lk_answer_put(a, ev.text, ev.len, &err)) die(err.message);
 *     while (lk_answer_next(a, &part)) ...
 *     ... at LK_EVENT_END lk_answer_end(a, &err), and lk_answer_next as above.
 *
 * Markers are looked for in the text that the model wrote, in nothing that others said. Those that
 * are control tokens have to be in it: lk_answer_tokens lists them for lk_generation_options. Text
 * that may become a marker is held back, so the parts of a kind, put together, do not depend on the
 * pieces that the text came in. No text is lost but markers and the white space beside them. */
#ifndef LOCKSTEP_ANSWER_H
#define LOCKSTEP_ANSWER_H

#include "lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lk_answer_format lk_answer_format;
typedef struct lk_answer lk_answer;

/* Finds the format of a template (NULL: there is none) by rendering dialogues with it and taking
 * the results apart; or takes the one of this name: see docs/ANSWERS.md. The template must outlive
 * it. May be shared by threads. LK_E_INVALID: no format has that name. */
LK_API lk_status lk_answer_format_open(const lk_template *t, const char *name,
                                       lk_answer_format **out, lk_error *err);
LK_API void lk_answer_format_close(lk_answer_format **format);
/* The names of all formats in order; NULL past the last. */
LK_API const char *lk_answer_format_list(size_t i);

typedef struct lk_answer_info {
    const char *name;        /* of the syntax of calls: "hermes", "harmony", ... */
    bool shows_tools;        /* the template tells the model of tools; else lk_answer_render does */
    const char *think_begin; /* markers of thinking; NULL: the model is not known to think */
    const char *think_end;
    bool begins_thinking; /* prompts end inside of thinking, unless it is switched off */
    bool switches;        /* thinking can be switched on and off: lk_answer_think_args */
    bool efforts;         /* it can be "low", "medium" and "high" */
} lk_answer_info;
/* Pointers are the format's. */
LK_API void lk_answer_format_info(const lk_answer_format *format, lk_answer_info *out);

/* The variables of the template, as a JSON object, that make the model think: "on", "off", "low",
 * "medium" or "high". *args is the format's; LK_E_UNSUPPORTED when the template has no such switch.
 */
LK_API lk_status lk_answer_think_args(const lk_answer_format *format, const char *how,
                                      const char **args, lk_error *err);

/* lk_template_render by the format's template; where the template does not know tools, the
 * request's tools, calls and results become text. Arguments of calls that are strings become the
 * objects that they spell. Errors as there. */
LK_API lk_status lk_answer_render(const lk_answer_format *format, const lk_template_input *in,
                                  lk_rendering **out, lk_error *err);

/* The control tokens that are markers of the format, as lk_tokenize counts. */
LK_API lk_status lk_answer_tokens(const lk_answer_format *format, const lk_tokenizer *t,
                                  int32_t *ids, size_t cap, size_t *n, lk_error *err);
/* The tokens that end thinking, for lk_generation_force once a budget is spent; none where the
 * format has no thinking. */
LK_API lk_status lk_answer_think_end(const lk_answer_format *format, const lk_tokenizer *t,
                                     int32_t *ids, size_t cap, size_t *n, lk_error *err);

typedef struct lk_answer_options {
    size_t size; /* sizeof(lk_answer_options): set by the default function */
    /* The body of a chat request, JSON, or NULL. Of its members tools, tool_choice,
     * parallel_tool_calls and response_format are looked at. Without tools, or with tool_choice
     * "none", calls are not looked for: what looks like one is content. */
    const char *request;
    size_t request_len;
    const lk_rendering *prompt; /* what the answer goes on after, which may have begun its thinking;
                                   NULL: nothing has begun */
    uint64_t seed;              /* of the ids of calls */
    /* A call comes when it is whole, and one that is broken is content. false: its arguments come
     * while they are written; if they break, the call ends there and the rest is content. */
    bool whole_calls;
    bool no_thinking; /* thinking is content, markers and all */
} lk_answer_options;
LK_API lk_answer_options lk_answer_options_default(void);

typedef enum lk_answer_kind {
    LK_ANSWER_REASONING,
    LK_ANSWER_CONTENT,
    LK_ANSWER_CALL_BEGIN,     /* name, id */
    LK_ANSWER_CALL_ARGUMENTS, /* a piece of the JSON text of its arguments, an object */
    LK_ANSWER_CALL_END        /* complete: the arguments are JSON and the call came to its end */
} lk_answer_kind;
/* What comes next. Pointers are valid until the next lk_answer_put or lk_answer_end. */
typedef struct lk_answer_event {
    lk_answer_kind kind;
    const char *text; /* whole characters where those that were put were; not 0-terminated */
    size_t len;
    size_t index;     /* of the call, from 0 */
    const char *name; /* 0-terminated, as is id */
    const char *id;   /* the model's, or 9 letters and digits by seed and index */
    bool complete;
} lk_answer_event;

/* LK_E_FORMAT when a member of the request is not of the right form. Format and prompt must outlive
 * it only until it is open. Memory: what is held back, and one call where calls have to be whole.
 */
LK_API lk_status lk_answer_open(const lk_answer_format *format, const lk_answer_options *options,
                                lk_answer **out, lk_error *err);
LK_API void lk_answer_close(lk_answer **answer);
/* Goes on with n bytes. After a failure (LK_E_NOMEM) it can only be closed. */
LK_API lk_status lk_answer_put(lk_answer *answer, const char *bytes, size_t n, lk_error *err);
/* The text is over: what was held back comes out. */
LK_API lk_status lk_answer_end(lk_answer *answer, lk_error *err);
/* The next part; false: there is none until more is put. */
LK_API bool lk_answer_next(lk_answer *answer, lk_answer_event *out);
/* Whether what was put ends inside of thinking: tokens chosen then count for a budget. */
LK_API bool lk_answer_thinks(const lk_answer *answer);
LK_API size_t lk_answer_n_calls(const lk_answer *answer); /* that began */

/* What holds the model to the request (of the same options): tool_choice "auto": a call, once one
 * has begun, is one of a tool, with arguments that fit its schema; "required" or a name: the answer
 * is a call, after its thinking; parallel_tool_calls false: one call at most; response_format: the
 * answer fits, after its thinking. *grammar and *constraint are NULL where nothing is to be held;
 * the constraint goes first when they are closed. A schema that is not supported is
 * LK_E_UNSUPPORTED where its tool is `strict`, else its arguments are any JSON object. */
LK_API lk_status lk_answer_constrain(const lk_answer_format *format, const lk_tokenizer *t,
                                     const lk_answer_options *options, lk_grammar **grammar,
                                     lk_constraint **constraint, lk_error *err);

#ifdef __cplusplus
}
#endif

#endif
