/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_grammar: the constraint that holds a model to a request: the syntax of calls with the
 * names of tools and the schemas of their arguments, thinking before it, the form of the answer;
 * what wakes it where calls are free to come or not.
 */
#include "text/answer/answer_grammar.h"

#include "text/answer/answer_read.h"
#include "text/token/tok.h"
#include "text/value/json.h"

/* ---- pieces ---- */

uint32_t lk_rule_literal(struct lk_answer_grammar *b, const char *text)
{
    return b->status ? LK_EXPR_NONE : lk_expr_literal(b->x, text, strlen(text));
}

uint32_t lk_rule_then(struct lk_answer_grammar *b, uint32_t first, uint32_t then)
{
    return b->status ? LK_EXPR_NONE : lk_expr_cat(b->x, first, then);
}

uint32_t lk_rule_either(struct lk_answer_grammar *b, uint32_t one, uint32_t other)
{
    return b->status ? LK_EXPR_NONE : lk_expr_alt(b->x, one, other);
}

uint32_t lk_rule_range(struct lk_answer_grammar *b, char first, char last, uint32_t min,
                       uint32_t max)
{
    uint32_t one =
        b->status ? LK_EXPR_NONE : lk_expr_range(b->x, (unsigned char)first, (unsigned char)last);
    return b->status ? LK_EXPR_NONE : lk_expr_repeat(b->x, one, min, max);
}

int32_t lk_rule_token(const struct lk_tokenizer *t, const char *text, size_t *len)
{
    size_t n = strlen(text);
    for (*len = n; *len > 1; --*len) {
        int32_t id = lk_tok_find(t, text, *len);
        if (id >= 0 && lk_token_is_control(t, id) && !lk_token_is_eog(t, id)) {
            return id;
        }
    }
    return -1;
}

uint32_t lk_rule_mark(struct lk_answer_grammar *b, const char *text)
{
    uint32_t e = LK_EXPR_EMPTY, terminal;
    while (*text && !b->status) {
        size_t len = 1;
        int32_t id = lk_rule_token(b->t, text, &len);
        if (id < 0) {
            e = lk_expr_cat(b->x, e, lk_expr_byte(b->x, (unsigned char)*text++));
            continue;
        }
        b->status = lk_grammar_add_terminal(b->g, NULL, 0, id, false, &terminal, b->err);
        e = b->status ? LK_EXPR_NONE : lk_expr_cat(b->x, e, lk_expr_token(b->x, terminal));
        text += len;
    }
    return b->status ? LK_EXPR_NONE : e;
}

uint32_t lk_rule_until(struct lk_answer_grammar *b, const char *mark)
{
    size_t n = strlen(mark);
    const char *first = mark; /* without white space, as it is read */
    for (; n && lk_is_blank(*first); n--) {
        first++;
    }
    while (n && lk_is_blank(first[n - 1])) {
        n--;
    }
    if (b->status) {
        return LK_EXPR_NONE;
    }
    /* Nor is it there in letters where it is a token: it would be read as the mark all the same. */
    uint32_t in = lk_expr_cat(b->x, lk_expr_literal(b->x, first, n), LK_EXPR_ALL);
    uint32_t text = lk_expr_not(b->x, lk_expr_cat(b->x, LK_EXPR_ALL, in));
    return lk_rule_then(b, text, lk_rule_mark(b, mark));
}

/* ---- schemas ---- */

static const char any_object[] = "{\"type\": \"object\"}";

/* Whether a schema is one that is not supported; other failures show later. */
static bool is_unsupported(const struct lk_answer_grammar *b, const char *text, size_t n)
{
    lk_grammar *g;
    lk_grammar_options o = lk_grammar_options_default();
    lk_error ignored;
    o.space = b->g->space;
    lk_status status = lk_grammar_open_schema(text, n, &o, &g, &ignored);
    lk_grammar_close(&g);
    return status == LK_E_UNSUPPORTED;
}

uint32_t lk_rule_json(struct lk_answer_grammar *b, const struct lk_value *schema, const char *name,
                      bool strict)
{
    struct lk_text_buffer text = {.what = "a schema", .err = b->err};
    struct lk_json_writing how = lk_json_compact();
    uint32_t e = LK_EXPR_NONE;
    if (schema && !b->status) {
        b->status = lk_json_write(&text, schema, &how, b->err);
    }
    const char *bytes = schema ? text.bytes : any_object;
    size_t n = schema ? text.n : sizeof any_object - 1;
    if (!b->status && !strict && schema && is_unsupported(b, bytes, n)) {
        bytes = any_object;
        n = sizeof any_object - 1;
    }
    if (!b->status) {
        b->status = lk_schema_expr(b->g, bytes, n, &e, b->err);
        if (b->status && *name) {
            lk_fail_prefix(b->err, b->status, "tool '%.64s'", name);
        }
    }
    lk_text_free(&text);
    return b->status ? LK_EXPR_NONE : e;
}

/* ---- calls ---- */

static uint32_t quoted(struct lk_answer_grammar *b, const char *before, const char *key)
{
    return lk_rule_then(b, lk_rule_literal(b, before),
                        lk_rule_then(b, lk_rule_literal(b, key), lk_rule_literal(b, "\": ")));
}

/* A name as JSON writes it. */
static uint32_t json_name(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    uint32_t e =
        b->status ? LK_EXPR_NONE : lk_text_spell(b->x, tool->name, tool->n_name, LK_SPELL_JSON);
    return lk_rule_then(b, lk_rule_literal(b, "\""), lk_rule_then(b, e, lk_rule_literal(b, "\"")));
}

static uint32_t object_call(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    const struct lk_syntax *s = b->syntax;
    bool id_first = s->id_key && strcmp(s->id_key, "id") != 0;
    uint32_t e = lk_rule_literal(b, "{\"");
    if (id_first) {
        e = lk_rule_then(b, e, quoted(b, "", s->id_key));
        e = lk_rule_then(b, e,
                         lk_rule_then(b, lk_rule_literal(b, "\""),
                                      lk_rule_range(b, '0', '9', 1, 4)));
        e = lk_rule_then(b, e, lk_rule_literal(b, "\", \""));
    }
    e = lk_rule_then(b, e, lk_rule_then(b, quoted(b, "", s->name_key), json_name(b, tool)));
    e = lk_rule_then(b, e,
                     lk_rule_then(b, quoted(b, ", \"", s->args_key), lk_rule_arguments(b, tool)));
    return lk_rule_then(b, e, lk_rule_literal(b, "}"));
}

static uint32_t named_call(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    const struct lk_syntax *s = b->syntax;
    uint32_t e = lk_rule_literal(b, tool->name);
    if (s->numbered) {
        e = lk_rule_then(b, lk_rule_literal(b, "functions."),
                         lk_rule_then(b, e, lk_rule_literal(b, ":")));
        e = lk_rule_then(b, e, lk_rule_range(b, '0', '9', 1, 4));
    }
    if (s->typed) {
        uint32_t type = lk_rule_then(b, lk_rule_literal(b, "function"), lk_rule_mark(b, s->sep));
        e = lk_rule_then(b, type, lk_rule_then(b, e, lk_rule_literal(b, "\n```json\n")));
        return lk_rule_then(b, e,
                            lk_rule_then(b, lk_rule_arguments(b, tool),
                                         lk_rule_literal(b, "\n```")));
    }
    return lk_rule_then(b, e, lk_rule_then(b, lk_rule_mark(b, s->sep), lk_rule_arguments(b, tool)));
}

/* A head from the name on, and the arguments. */
static uint32_t message_call(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    static const char *const heads[] = {" <|constrain|>json<|message|>",
                                        "<|channel|>commentary json<|message|>",
                                        "<|channel|>commentary <|constrain|>json<|message|>",
                                        "<|message|>"};
    uint32_t any = LK_EXPR_NONE;
    for (size_t i = 0; i < LK_COUNT(heads); i++) {
        any = lk_rule_either(b, any, lk_rule_mark(b, heads[i]));
    }
    return lk_rule_then(b, lk_rule_literal(b, tool->name),
                        lk_rule_then(b, any, lk_rule_arguments(b, tool)));
}

static uint32_t call_of(struct lk_answer_grammar *b, const struct lk_answer_tool *tool)
{
    const struct lk_syntax *s = b->syntax;
    uint32_t e;
    switch (s->kind) {
    case LK_CALL_OBJECT:
        return object_call(b, tool);
    case LK_CALL_NAMED:
        return named_call(b, tool);
    case LK_CALL_TAGGED:
        e = lk_rule_then(b, lk_rule_mark(b, s->head ? s->head : ""),
                         lk_rule_literal(b, tool->name));
        e = lk_rule_then(b, e,
                         lk_rule_then(b, lk_rule_mark(b, s->head_end), lk_rule_arguments(b, tool)));
        return lk_rule_then(b, e, lk_rule_mark(b, s->foot ? s->foot : ""));
    case LK_CALL_HARMONY:
        return message_call(b, tool);
    default:
        return lk_rule_then(b, lk_rule_literal(b, tool->name), lk_rule_arguments(b, tool));
    }
}

/* One call of any tool that may be called. */
static uint32_t any_call(struct lk_answer_grammar *b)
{
    uint32_t any = LK_EXPR_NONE;
    for (size_t i = 0; i < b->tools->n && !b->status; i++) {
        if (!b->tools->chosen || b->tools->chosen == &b->tools->tool[i]) {
            any = lk_rule_either(b, any, call_of(b, &b->tools->tool[i]));
        }
    }
    return any;
}

/* One, or several with a text between them. */
static uint32_t several(struct lk_answer_grammar *b, uint32_t one, uint32_t between)
{
    if (b->status || !b->tools->parallel) {
        return one;
    }
    return lk_rule_then(b, one,
                        lk_expr_repeat(b->x, lk_rule_then(b, between, one), 0, LK_NO_LIMIT));
}

/* All calls of an answer, from the marker on. */
static uint32_t calls(struct lk_answer_grammar *b)
{
    const struct lk_syntax *s = b->syntax;
    uint32_t one = any_call(b), open = lk_rule_mark(b, s->open ? s->open : "");
    uint32_t close = lk_rule_mark(b, s->close ? s->close : "");
    bool list = s->list || (s->kind == LK_CALL_PYTHON && s->close && *s->close == '<');
    if (s->kind == LK_CALL_HARMONY) {
        return one;
    }
    if (s->bare) {
        return several(b, one, lk_rule_literal(b, "; "));
    }
    if (list) {
        uint32_t all = several(b, one, lk_rule_literal(b, ", "));
        all =
            lk_rule_then(b, lk_rule_literal(b, "["), lk_rule_then(b, all, lk_rule_literal(b, "]")));
        return lk_rule_then(b, open, lk_rule_then(b, all, close));
    }
    one = lk_rule_then(b, open, lk_rule_then(b, one, close));
    one = several(b, one, lk_rule_mark(b, s->between ? s->between : ""));
    if (s->section) {
        one = lk_rule_then(b, lk_rule_mark(b, s->section),
                           lk_rule_then(b, one, lk_rule_mark(b, s->section_end)));
    }
    return one;
}

/* ---- the answer ---- */

/* How the prompt leaves it. */
struct begin {
    bool thinks, may_think;
};

static bool ends_with_closed(const struct lk_answer_format *f, const lk_rendering *prompt)
{
    size_t n, len = f->thinking ? strlen(f->thinking->end) : 0;
    const char *text = prompt ? lk_rendering_text(prompt, &n) : NULL;
    while (text && n && lk_is_blank(text[n - 1])) {
        n--;
    }
    return text && len && n >= len && memcmp(text + n - len, f->thinking->end, len) == 0;
}

static lk_status look_at_prompt(const struct lk_answer_format *f, const lk_answer_options *o,
                                struct begin *to, lk_error *err)
{
    lk_answer *a;
    lk_status status = lk_answer_open(f, o, &a, err);
    if (!status) {
        to->thinks = lk_answer_thinks(a);
        to->may_think =
            !to->thinks && f->thinking && !o->no_thinking && !ends_with_closed(f, o->prompt);
    }
    lk_answer_close(&a);
    return status;
}

/* Thinking, which is to come, may come or may not, and then the rest. */
static uint32_t after_thinking(struct lk_answer_grammar *b, const struct begin *begin,
                               uint32_t rest)
{
    const struct lk_thinking *t = b->f->thinking;
    uint32_t blank = lk_rule_either(b, lk_rule_literal(b, " "), lk_rule_literal(b, "\n"));
    blank = b->status ? LK_EXPR_NONE : lk_expr_repeat(b->x, blank, 0, 4);
    if (b->syntax->kind == LK_CALL_HARMONY) {
        uint32_t think = lk_rule_then(b, lk_rule_mark(b, "<|channel|>analysis<|message|>"),
                                      lk_rule_until(b, "<|end|>"));
        think = lk_rule_then(b, think, lk_rule_mark(b, "<|start|>assistant"));
        return lk_rule_then(b, lk_rule_either(b, LK_EXPR_EMPTY, think), rest);
    }
    if (begin->thinks) {
        return lk_rule_then(b, lk_rule_until(b, t->end), lk_rule_then(b, blank, rest));
    }
    if (begin->may_think) {
        uint32_t think = lk_rule_then(b, lk_rule_mark(b, t->begin), lk_rule_until(b, t->end));
        return lk_rule_then(b, lk_rule_either(b, LK_EXPR_EMPTY, lk_rule_then(b, think, blank)),
                            rest);
    }
    return rest;
}

/* Both heads of a message that calls, as a whole answer. */
static uint32_t whole_message(struct lk_answer_grammar *b, uint32_t from_name)
{
    uint32_t head = lk_rule_either(b, lk_rule_mark(b, "<|channel|>commentary to=functions."),
                                   lk_rule_literal(b, " to=functions."));
    return lk_rule_then(b, head, from_name);
}

static uint32_t root_of(struct lk_answer_grammar *b, const struct begin *begin, bool lazy)
{
    const struct lk_answer_tools *tools = b->tools;
    bool harmony = b->syntax->kind == LK_CALL_HARMONY;
    bool calling = tools->n && tools->choice != LK_CHOICE_NONE;
    uint32_t e = calling ? calls(b) : LK_EXPR_NONE;
    if (lazy) {
        return e;
    }
    e = harmony && calling ? whole_message(b, e) : e;
    if (tools->json && tools->choice != LK_CHOICE_REQUIRED) {
        uint32_t json = lk_rule_json(b, tools->schema, "", true);
        if (harmony) {
            json = lk_rule_then(b, lk_rule_mark(b, "<|channel|>final<|message|>"), json);
        }
        e = lk_rule_either(b, e, json);
    }
    return after_thinking(b, begin, e);
}

/* ---- what wakes it ---- */

enum { MOST_TRIGGERS = 4096 + 8 };

struct triggers {
    lk_trigger *list;
    size_t n;
    const struct lk_tokenizer *t;
};

/* A marker, by its token where it is one. */
static void add(struct triggers *to, const char *text, uint32_t stage, uint32_t leads, bool behind)
{
    size_t n = strlen(text), len = 0;
    int32_t id = lk_rule_token(to->t, text, &len);
    while (n && lk_is_blank(text[n - 1])) {
        n--;
    }
    to->list[to->n++] = (lk_trigger){.text = id < 0 ? text : NULL,
                                     .len = id < 0 ? n : 0,
                                     .token = id,
                                     .behind = behind,
                                     .stage = stage,
                                     .leads = leads};
}

/* Calls without a marker begin with the names of their tools. */
static void add_bare(struct lk_answer_grammar *b, struct triggers *to, uint32_t stage)
{
    for (size_t i = 0; i < b->tools->n && !b->status; i++) {
        struct lk_text_buffer text = {.what = "a tool", .err = b->err};
        struct lk_json_writing how = lk_json_default();
        struct lk_value name = lk_value_text(b->tools->tool[i].name, b->tools->tool[i].n_name, 0);
        lk_text_puts(&text, "{\"", 0);
        lk_text_puts(&text, b->syntax->name_key, 0);
        lk_text_puts(&text, "\": ", 0);
        b->status = text.status ? text.status : lk_json_write(&text, &name, &how, b->err);
        char *copy = b->status ? NULL : lk_region_copy(&b->tools->region, text.bytes, text.n);
        if (copy) {
            to->list[to->n++] = (lk_trigger){.text = copy, .len = text.n, .stage = stage};
        } else if (!b->status) {
            b->status = lk_region_fail(&b->tools->region, "request", b->err);
        }
        lk_text_free(&text);
    }
}

static void find_triggers(struct lk_answer_grammar *b, const struct begin *begin,
                          struct triggers *to)
{
    const struct lk_syntax *s = b->syntax;
    const struct lk_thinking *t = b->f->thinking;
    bool thinking = begin->thinks || begin->may_think;
    uint32_t text = begin->thinks ? 1 : 0, thought = begin->thinks ? 0 : 1;
    if (s->kind == LK_CALL_HARMONY) { /* stage 0: in a head; 1: in a message */
        add(to, " to=functions.", 0, 0, true);
        add(to, "<|message|>", 0, 2, false);
        add(to, "<|start|>", 1, 1, false);
        add(to, "<|channel|>", 1, 1, false);
        return;
    }
    if (thinking) {
        add(to, t->begin, text, 1 + thought, false);
        add(to, t->end, thought, 1 + text, false);
    }
    if (s->bare) {
        add_bare(b, to, text);
    } else {
        add(to, s->section ? s->section : s->open, text, 0, false);
    }
}

/* ---- all of it ---- */

static lk_status make(struct lk_answer_grammar *b, const struct begin *begin, bool lazy,
                      lk_constraint **out)
{
    struct triggers triggers = {.t = b->t};
    uint32_t root = root_of(b, begin, lazy);
    if (!b->status && b->x->status) {
        b->status = lk_fail(b->err, b->x->status, "%s", b->x->error.message);
    }
    if (!b->status) {
        b->g->root = root;
        b->status = lk_grammar_finish(b->g, b->err);
    }
    triggers.list = lk_alloc_array(b->tools->n + 8, sizeof *triggers.list);
    if (!b->status && !triggers.list) {
        b->status = lk_fail(b->err, LK_E_NOMEM, "out of memory for triggers");
    }
    if (!b->status && lazy) {
        find_triggers(b, begin, &triggers);
    }
    if (b->status) {
        lk_grammar_fail(b->g, b->err, b->status);
    } else {
        b->status = lk_constraint_open(b->g, b->t, triggers.list, triggers.n, out, b->err);
    }
    lk_free(triggers.list);
    return b->status;
}

static lk_status constrain(const struct lk_answer_format *f, const lk_tokenizer *t,
                           const lk_answer_options *o, struct lk_answer_tools *tools,
                           lk_grammar **grammar, lk_constraint **out, lk_error *err)
{
    lk_grammar_options go = lk_grammar_options_default();
    struct begin begin = {false, false};
    bool calling = tools->n && tools->choice != LK_CHOICE_NONE && f->syntax->kind != LK_CALL_NONE;
    bool lazy = calling && tools->choice == LK_CHOICE_AUTO && !tools->json;
    if (!calling && !tools->json) {
        return LK_OK;
    }
    go.name = "request";
    go.space = f->syntax->kind == LK_CALL_HARMONY ? LK_JSON_COMPACT : LK_JSON_SPACED;
    lk_status status = look_at_prompt(f, o, &begin, err);
    status = status ? status : lk_grammar_new(&go, "request", 0, grammar, err);
    if (status) {
        return status;
    }
    struct lk_answer_grammar b = {.f = f,
                                  .syntax = f->syntax,
                                  .t = t,
                                  .tools = tools,
                                  .g = *grammar,
                                  .x = &(*grammar)->x,
                                  .err = err};
    status = make(&b, &begin, lazy, out);
    if (status) {
        lk_grammar_close(grammar);
    }
    return status;
}

lk_status lk_answer_constrain(const lk_answer_format *f, const lk_tokenizer *t,
                              const lk_answer_options *options, lk_grammar **grammar,
                              lk_constraint **constraint, lk_error *err)
{
    lk_answer_options o = lk_answer_options_default();
    struct lk_answer_tools tools = {0};
    lk_error own;
    err = err ? err : &own;
    *grammar = NULL;
    *constraint = NULL;
    lk_status status = lk_options_take(&o, sizeof o, options, "answer", err);
    if (!status) {
        status = lk_answer_tools_read(&tools, o.request, o.request_len, err);
    }
    if (!status) {
        status = constrain(f, t, &o, &tools, grammar, constraint, err);
    }
    lk_answer_tools_free(&tools);
    return status;
}
