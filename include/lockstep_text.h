/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep_text: what dialogues become, and what answers are made of: the model's chat template,
 * constraints that hold an answer to a schema or a grammar, and an answer taken apart into
 * thinking, content and calls of tools. A part of lockstep.h, whose conventions are its own.
 */
#ifndef LOCKSTEP_TEXT_H
#define LOCKSTEP_TEXT_H

#include "lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- chat templates: dialogues as the model's own text writes them ---------------------------
 *
 * A model brings a template, a small program in the language Jinja, that turns a dialogue into the
 * text that the model was trained on. lockstep runs it as Jinja 3.1 does in the environment of
 * Hugging Face's transformers, byte by byte, within limits of time and memory:
 *
 *     lk_template *c; lk_template_input in = lk_template_input_default();
 *     in.request = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}";
 *     in.request_len = strlen(in.request);
 *     if (lk_template_open(m, NULL, 0, &c, &err)) die(err.message);
 *     if (lk_template_tokenize(c, t, &in, ids, 512, &n, &err)) die(err.message);
 *
 * What a template writes may become control tokens; what a request brings can't, whatever its text
 * and whatever the template does with it. The calling thread's stack must have 1 MiB left. */

typedef struct lk_template lk_template;
typedef struct lk_rendering lk_rendering;

/* Compiles `source`, or with NULL the model's own template (requests with tools take the one named
 * "tool_use" where the model has such a one). The model must outlive it; NULL: there are no texts
 * of special tokens. LK_E_UNSUPPORTED: the model has no template, or one that asks for something
 * that lockstep does not have; LK_E_FORMAT: it does not compile. The message says "chat template
 * LINE:COLUMN". May be shared by threads. */
LK_API lk_status lk_template_open(const lk_model *model, const char *source, size_t len,
                                  lk_template **out, lk_error *err);
LK_API void lk_template_close(lk_template **t);

typedef struct lk_template_input {
    size_t size; /* sizeof(lk_template_input): set by the default function */
    /* The body of a chat request, JSON: messages, and if given tools, documents,
     * add_generation_prompt (default true), reasoning_effort, and chat_template_kwargs, an object
     * whose members are variables of the template. Members of messages that are null are left out,
     * and reasoning_content and thinking stand for each other, as transformers has it. */
    const char *request;
    size_t request_len;
    /* Without a request: the messages, as text of any bytes. */
    const lk_chat_message *messages;
    size_t n_messages;
    /* Variables of the template, a JSON object or NULL: they override the request's and bos_token,
     * eos_token and the like, and are trusted as the template is. `now` is none of them: it is the
     * date that the template sees, "2026-07-25", "2026-07-25 17:20:00" or seconds since 1970; the
     * default is the local time of the call, so with templates that tell the model the date the
     * tokens change with the day. */
    const char *args;
    size_t args_len;
    /* The last message is gone on with instead of answered: the text ends where the last of what
     * the request brought ends, and add_generation_prompt is false unless given. */
    bool continues;
} lk_template_input;
LK_API lk_template_input lk_template_input_default(void);

/* Runs the template. LK_E_FORMAT: the request or args are not JSON of the right form; LK_E_INVALID:
 * the template fails, or says that it can't take these messages, or goes beyond 10,000,000 steps,
 * 64 MiB of memory, 16 MiB of text or 200 calls inside of each other; the message says where. */
LK_API lk_status lk_template_render(const lk_template *t, const lk_template_input *in,
                                    lk_rendering **out, lk_error *err);
LK_API void lk_rendering_close(lk_rendering **r);
LK_API const char *lk_rendering_text(const lk_rendering *r, size_t *len);
/* The parts of the text that the request brought: bytes begin..end, rising and disjoint. */
LK_API size_t lk_rendering_n_plain(const lk_rendering *r);
LK_API void lk_rendering_plain(const lk_rendering *r, size_t i, size_t *begin, size_t *end);
/* Ids of a rendered dialogue as lk_tokenize gives them: control tokens only where the template
 * wrote them; BOS first where the metadata asks for it, unless the template wrote it. */
LK_API lk_status lk_rendering_tokenize(const lk_rendering *r, const lk_tokenizer *t, int32_t *ids,
                                       size_t cap, size_t *n, lk_error *err);
/* lk_template_render and lk_rendering_tokenize in one call. */
LK_API lk_status lk_template_tokenize(const lk_template *t, const lk_tokenizer *tokenizer,
                                      const lk_template_input *in, int32_t *ids, size_t cap,
                                      size_t *n, lk_error *err);

/* For models whose template does not run: the known instruct formats, recognised from its text.
 * Only messages of the roles "system", "user" and "assistant". */
typedef enum lk_chat_format {
    LK_CHAT_NONE,
    LK_CHAT_CHATML,
    LK_CHAT_LLAMA3,
    LK_CHAT_GEMMA,
    LK_CHAT_PHI3,
    LK_CHAT_MISTRAL
} lk_chat_format;
LK_API lk_chat_format lk_model_chat_format(const lk_model *model);
LK_API const char *lk_chat_format_name(lk_chat_format format);
/* Formats a dialogue, ending where the assistant's next turn begins. Messages' own text is
 * tokenized LK_TOKENIZE_PLAIN, so a user can't inject control tokens. The model's own default
 * system prompt (as its template adds one) is added where it has one. */
LK_API lk_status lk_chat_tokenize(const lk_tokenizer *t, lk_chat_format format,
                                  const lk_chat_message *messages, size_t n_messages, int32_t *ids,
                                  size_t cap, size_t *n, lk_error *err);

/* ---- constraints: answers that fit a schema, a grammar or a regular expression ------------------
 *
 *     lk_grammar *g; lk_constraint *c;
 *     if (lk_grammar_open_schema(schema, strlen(schema), NULL, &g, &err)) die(err.message);
 *     if (lk_constraint_open(g, t, NULL, 0, &c, &err)) die(err.message);
 *     ... for each token:
 *     if (lk_sample_constrained(s, c, lk_session_logits(session), ids, n, n, &id, &err)) die(..);
 *     if (lk_constraint_accept(c, id, &err)) die(err.message);
 *     if (lk_token_is_eog(t, id) || lk_constraint_is_done(c)) break;
 *
 * Which tokens may come depends on the grammar and on the tokens before, on nothing else. What is
 * not supported is an error and never a weaker constraint. Control tokens never stand for the text
 * that they are spelled with.
 */

typedef struct lk_grammar lk_grammar;

typedef enum lk_json_space {
    LK_JSON_SPACED,  /* ", " and ": " and no other white space, as Python's json.dumps writes */
    LK_JSON_COMPACT, /* no white space at all */
    LK_JSON_FLEXIBLE /* up to 32 characters of white space wherever JSON has it, inside of the value
                      */
} lk_json_space;

typedef struct lk_grammar_options {
    size_t size;         /* sizeof(lk_grammar_options): set by the default function */
    const char *name;    /* what errors call it; NULL: "schema", "grammar" or "regex" */
    lk_json_space space; /* of a schema; default LK_JSON_SPACED */
    size_t max_bytes;    /* of what is kept for later masks, for each tokenizer; default 64 MiB */
} lk_grammar_options;

LK_API lk_grammar_options lk_grammar_options_default(void);

/* Compiles a text of len bytes; options may be NULL. A grammar may be shared by threads. Errors:
 * LK_E_FORMAT for a text that is broken, LK_E_UNSUPPORTED for what is well formed and not
 * supported; both name the place.
 *
 * JSON Schema, draft 2020-12 or 7 (a keyword means what its draft says): see docs/GRAMMARS.md. */
LK_API lk_status lk_grammar_open_schema(const char *text, size_t len,
                                        const lk_grammar_options *options, lk_grammar **out,
                                        lk_error *err);
/* GBNF, llama.cpp's notation: the answer is what rule `root` says. Rules that begin with themselves
 * are refused. */
LK_API lk_status lk_grammar_open_gbnf(const char *text, size_t len,
                                      const lk_grammar_options *options, lk_grammar **out,
                                      lk_error *err);
/* A regular expression as ECMA-262 writes it, for the whole answer. */
LK_API lk_status lk_grammar_open_regex(const char *text, size_t len,
                                       const lk_grammar_options *options, lk_grammar **out,
                                       lk_error *err);
LK_API void lk_grammar_close(lk_grammar **grammar); /* after all of its constraints */

/* What wakes a grammar that sleeps: a text, which may begin and end inside of tokens, or a token.
 */
typedef struct lk_trigger {
    const char *text; /* NULL: a token */
    size_t len;
    int32_t token;
    bool behind; /* the grammar's text begins behind the trigger; false: with it */
    /* Sleep has stages, of which it begins in stage 0; a trigger is looked for in one of them. */
    uint32_t stage;
    uint32_t
        leads; /* 0: it wakes the grammar; else it leads to stage `leads` - 1 and all goes on */
} lk_trigger;

/* What one text, of tokens of this tokenizer, may go on with. Grammar and tokenizer must outlive
 * it; it belongs to one thread at a time, though constraints of one grammar may be used by several.
 * With triggers it sleeps, and all tokens may come, until one of them does. Tokens that would
 * complete a trigger and go on with what the grammar does not take may not come. Memory: 64 bytes;
 * the rest is shared. */
LK_API lk_status lk_constraint_open(lk_grammar *grammar, const lk_tokenizer *tokenizer,
                                    const lk_trigger *triggers, size_t n_triggers,
                                    lk_constraint **out, lk_error *err);
LK_API void lk_constraint_close(lk_constraint **constraint);
/* A second one that is as far as `from` is; it has to be closed too. */
LK_API lk_status lk_constraint_fork(const lk_constraint *from, lk_constraint **out, lk_error *err);
/* Puts `to` where `from` is: to go back, keep a fork. Both are of one grammar and tokenizer. */
LK_API lk_status lk_constraint_copy(lk_constraint *to, const lk_constraint *from, lk_error *err);

/* Bit i % 32 of word i / 32 says whether token i may come; words past the vocabulary are 0. End
 * tokens may where the text is complete. LK_E_UNSUPPORTED when no token may come, as when the
 * vocabulary can't spell what has to, or when too much is possible at once. */
LK_API lk_status lk_constraint_mask(lk_constraint *constraint, uint32_t *bits, size_t n_words,
                                    lk_error *err);
/* Sets the logits of tokens that may not come to -inf. */
LK_API lk_status lk_constraint_apply(lk_constraint *constraint, float *logits, size_t n_vocab,
                                     lk_error *err);
/* The only token that may come, or -1 where there is a choice. */
LK_API lk_status lk_constraint_forced(lk_constraint *constraint, int32_t *id, lk_error *err);
/* Goes on with a token. LK_E_INVALID, and nothing changed, when it may not come. */
LK_API lk_status lk_constraint_accept(lk_constraint *constraint, int32_t id, lk_error *err);
LK_API bool lk_constraint_accepts(const lk_constraint *constraint); /* the text may end here */
/* Nothing but an end token may come, or it came. */
LK_API bool lk_constraint_is_done(const lk_constraint *constraint);
LK_API bool lk_constraint_sleeps(const lk_constraint *constraint); /* no trigger came yet */

/* lk_sample among the tokens that may come: their logits stay, all others become -inf before
 * anything else is done. Does not accept the token. LK_E_INVALID when all that may come are at
 * -inf.
 */
LK_API lk_status lk_sample_constrained(lk_sampler *sampler, lk_constraint *constraint,
                                       const float *logits, const int32_t *history,
                                       size_t n_history, uint64_t pos, int32_t *id, lk_error *err);

/* ---- answers: thinking, content and calls of tools, taken apart ---------------------------------
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
