/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_format: how models write calls of tools and their thinking, as a table; what was found of
 * one template. Knows nothing of a text that is being read.
 */
#ifndef LK_ANSWER_FORMAT_H
#define LK_ANSWER_FORMAT_H

#include "base/base.h"

enum lk_call_kind {
    LK_CALL_NONE,   /* no calls at all */
    LK_CALL_OBJECT, /* a JSON object with the name and the arguments, or a list of them */
    LK_CALL_NAMED,  /* a name, then a JSON object of arguments */
    LK_CALL_TAGGED, /* a name, then keys and values between tags */
    LK_CALL_BRACES, /* a name, then {key:value} with quotes of its own */
    LK_CALL_PYTHON, /* [name(key=value)] */
    LK_CALL_HARMONY /* messages with a channel and a recipient in their heads */
};

/* Texts are as a model writes them; white space at their ends is not asked for when they are read.
 * NULL: there is none. */
struct lk_syntax {
    const char *name;
    enum lk_call_kind kind;
    const char *hint;    /* a template of this syntax writes it */
    const char *sign;    /* what a prompt with tools has in it */
    const char *open;    /* what begins one call, or a list of them */
    const char *close;   /* what ends it */
    const char *section; /* around all calls of an answer */
    const char *section_end;
    const char *between; /* two calls */
    const char *fence;   /* NAMED: "```json", and "```" behind, may be around the arguments */
    bool list;           /* OBJECT: calls are items of one JSON list */
    bool bare;     /* OBJECT: an object at the beginning of an answer is a call, without a marker */
    bool code;     /* what comes after `open` and is no object is a program */
    bool either;   /* OBJECT and NAMED may be written as the other is */
    bool typed;    /* NAMED: the word "function" and `sep` come before the name */
    bool numbered; /* NAMED: "functions.NAME:INDEX" is name and id */
    const char *name_key, *args_key, *id_key; /* OBJECT */
    const char *sep;                          /* NAMED: between name and arguments */
    const char *id_mark;                /* NAMED: before an id, which ends where `sep` begins */
    const char *head, *head_end, *foot; /* TAGGED: around the name, and after the last value */
    const char *key, *key_end, *value, *value_end; /* TAGGED */
    bool lines;         /* TAGGED: a line feed stands at both ends of a value */
    const char *quote;  /* BRACES */
    const char *say[2]; /* marks around content, which are left out */
};

/* The i-th syntax, or NULL past the last. */
const struct lk_syntax *lk_syntax_at(size_t i);
const struct lk_syntax *lk_syntax_named(const char *name);

/* Marks of thinking. */
struct lk_thinking {
    const char *begin, *end;
    bool anywhere; /* it may come after content too */
};

const struct lk_thinking *lk_thinking_at(size_t i);

/* A mode of thinking and the variables of the template that ask for it. */
enum lk_think_how {
    LK_THINK_ON,
    LK_THINK_OFF,
    LK_THINK_LOW,
    LK_THINK_MEDIUM,
    LK_THINK_HIGH,
    LK_THINK_HOWS
};

struct lk_answer_format {
    const struct lk_syntax *syntax;
    const struct lk_thinking *thinking; /* NULL: none; HARMONY has its own */
    const lk_template *template;        /* or NULL */
    bool system_tools; /* tools are a text, in a member `tools` of the system's message */
    bool writes_calls; /* the template has calls of earlier messages in the syntax, */
    bool string_args;  /* with arguments that are strings */
    bool shows_tools, begins_thinking, switches, efforts; /* as lk_answer_info has them */
    const char *args[LK_THINK_HOWS];                      /* NULL: there is no such switch */
};

#endif
