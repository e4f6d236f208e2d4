/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_find: the format of a template, by rendering dialogues with it: the syntax that reads a
 * call back out of what the template wrote, the marks that stand around thinking, the variables
 * that change the prompt.
 */
#include <stdio.h>

#include "text/answer/answer_read.h"

#define NAME  "lk_probe"
#define VALUE "lkvalue"

static const char tools[] =
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"" NAME "\", \"description\": "
    "\"Looks.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"lk_key\": {\"type\": "
    "\"string\", \"description\": \"What.\"}}, \"required\": [\"lk_key\"]}}}]";
static const char user[] = "{\"role\": \"user\", \"content\": \"lkuser\"}";

/* ---- rendering ---- */

struct probe {
    const lk_template *template;
    lk_status status; /* LK_E_NOMEM alone: all else is an answer */
    lk_error *err;
};

static lk_rendering *render_with(struct probe *p, const char *request, const char *variables,
                                 const char *more)
{
    lk_template_input in = lk_template_input_default();
    lk_rendering *r = NULL;
    lk_error err = {0};
    char args[256];
    snprintf(args, sizeof args, "{\"now\": 1700000000%s%s%s}", more, variables ? ", " : "",
             variables ? variables : "");
    in.request = request;
    in.request_len = strlen(request);
    in.args = args;
    in.args_len = strlen(args);
    lk_status status = p->status ? p->status : lk_template_render(p->template, &in, &r, &err);
    if (status == LK_E_NOMEM && !p->status) {
        p->status = lk_fail(p->err, status, "%s", err.message);
    }
    return r;
}

/* A request rendered with these variables; NULL when the template does not take it. One that asks
 * for tokens that the model has not gets empty texts. */
static lk_rendering *render(struct probe *p, const char *request, const char *variables)
{
    lk_rendering *r = render_with(p, request, variables, "");
    return r ? r : render_with(p, request, variables, ", \"bos_token\": \"\", \"eos_token\": \"\"");
}

/* The messages, from the probing user on, with or without tools; NULL as above. */
static lk_rendering *render_messages(struct probe *p, const char *more, bool with_tools,
                                     bool generation, const char *variables)
{
    char request[2048];
    snprintf(request, sizeof request, "{\"messages\": [%s%s]%s%s, \"add_generation_prompt\": %s}",
             user, more, with_tools ? ", " : "", with_tools ? tools : "",
             generation ? "true" : "false");
    return render(p, request, variables);
}

static const char *find_text(const char *text, size_t n, const char *what)
{
    size_t len = strlen(what);
    for (size_t i = 0; i + len <= n; i++) {
        if (memcmp(text + i, what, len) == 0) {
            return text + i;
        }
    }
    return NULL;
}

static bool has(const lk_rendering *r, const char *what)
{
    size_t n;
    const char *text = r ? lk_rendering_text(r, &n) : "";
    return r && find_text(text, n, what);
}

static bool differ(const lk_rendering *a, const lk_rendering *b)
{
    size_t n, m;
    const char *x = a ? lk_rendering_text(a, &n) : NULL, *y = b ? lk_rendering_text(b, &m) : NULL;
    return x && y && (n != m || memcmp(x, y, n) != 0);
}

/* ---- the syntax of calls ---- */

/* What follows the prompt in the rendering of a whole dialogue. */
static const char *behind_prompt(const lk_rendering *prompt, const lk_rendering *whole, size_t *n)
{
    size_t n_prompt, n_whole, same = 0;
    const char *p = lk_rendering_text(prompt, &n_prompt), *w = lk_rendering_text(whole, &n_whole);
    while (same < n_prompt && same < n_whole && p[same] == w[same]) {
        same++;
    }
    while (same < n_prompt && same && p[same - 1] != '\n' && p[same - 1] != '>') {
        same--; /* not within a marker that begins like another */
    }
    *n = n_whole - same;
    return w + same;
}

/* Whether a syntax reads the probing call out of the text. */
static bool reads_call(struct probe *p, const struct lk_syntax *s, const char *text, size_t n)
{
    lk_answer *a;
    lk_answer_event part;
    bool found = false, ours = false;
    char request[1024];
    lk_status status = lk_answer_make(s, NULL, NULL, 0, &a, p->err);
    if (!status) {
        snprintf(request, sizeof request, "{%s}", tools);
        a->whole = true;
        status = lk_answer_tools_read(&a->tools, request, strlen(request), p->err);
    }
    if (!status) {
        status = lk_answer_put(a, text, n, p->err);
    }
    if (!status) {
        status = lk_answer_end(a, p->err);
    }
    while (!status && lk_answer_next(a, &part)) {
        ours = part.kind == LK_ANSWER_CALL_BEGIN ? strcmp(part.name, NAME) == 0 : ours;
        found |= part.kind == LK_ANSWER_CALL_ARGUMENTS && ours &&
                 find_text(part.text, part.len, "\"lk_key\"") &&
                 find_text(part.text, part.len, "\"" VALUE "\"");
    }
    lk_answer_close(&a);
    p->status = status;
    return found && !status;
}

static bool has_hint(const struct lk_syntax *s, const char *text, size_t n)
{
    return !s->hint || find_text(text, n, s->hint);
}

static const struct lk_syntax *syntax_of_text(struct probe *p, const char *text, size_t n)
{
    const struct lk_syntax *s;
    for (size_t i = 0; (s = lk_syntax_at(i)) && !p->status; i++) {
        if (s->kind != LK_CALL_NONE && has_hint(s, text, n) && reads_call(p, s, text, n)) {
            return s;
        }
    }
    return NULL;
}

/* A dialogue with a call, in the ways that templates ask for. */
static lk_rendering *render_call(struct probe *p, int way, bool reasoning)
{
    static const char *const contents[] = {"\"content\": \"\", ", "",
                                           "\"content\": \"lkcontent\", "};
    char more[512];
    snprintf(more, sizeof more,
             ", {\"role\": \"assistant\", %s%s\"tool_calls\": [{\"id\": \"lkcall001\", \"type\": "
             "\"function\", \"function\": {\"name\": \"" NAME "\", \"arguments\": %s}}]}",
             contents[way % 3], reasoning ? "\"reasoning_content\": \"lkthought\", " : "",
             way < 3 ? "{\"lk_key\": \"" VALUE "\"}" : "\"{\\\"lk_key\\\": \\\"" VALUE "\\\"}\"");
    return render_messages(p, more, true, false, NULL);
}

/* Whether JSON follows a mark somewhere. */
static bool opens_json(const char *text, size_t n, const char *mark)
{
    size_t len = strlen(mark);
    for (const char *end = text + n, *p = text; (p = find_text(p, (size_t)(end - p), mark));) {
        p += len;
        while (p < end && lk_is_blank(*p)) {
            p++;
        }
        if (p < end && (*p == '{' || *p == '[')) {
            return true;
        }
    }
    return false;
}

/* By what the template says of calls to the model. */
static const struct lk_syntax *syntax_of_hints(const char *text, size_t n)
{
    const struct lk_syntax *s;
    for (size_t i = 0; (s = lk_syntax_at(i)); i++) {
        const char *open = s->open;
        char mark[64] = "";
        if (s->sign && find_text(text, n, s->sign)) {
            return s;
        }
        if (!open) {
            continue;
        }
        snprintf(mark, sizeof mark, "%.*s", (int)strcspn(open, "\n"), open);
        bool tagged = s->kind == LK_CALL_TAGGED;
        if (has_hint(s, text, n) && find_text(text, n, mark) &&
            (!tagged || find_text(text, n, s->key)) &&
            (s->kind != LK_CALL_OBJECT || opens_json(text, n, mark))) {
            return s;
        }
    }
    return NULL;
}

/* Templates that look for tools in the system's message alone. */
static const struct lk_syntax *syntax_of_system(struct probe *p)
{
    char request[512];
    size_t n = 0;
    snprintf(request, sizeof request,
             "{\"messages\": [{\"role\": \"system\", \"content\": \"\", \"tools\": \"" NAME
             "\"}, %s]}",
             user);
    lk_rendering *r = render(p, request, NULL);
    const char *text = has(r, NAME) ? lk_rendering_text(r, &n) : "";
    const struct lk_syntax *s = n ? syntax_of_hints(text, n) : NULL;
    lk_rendering_close(&r);
    return s;
}

static void find_syntax(struct probe *p, struct lk_answer_format *f)
{
    lk_rendering *prompt = render_messages(p, "", true, true, NULL);
    const struct lk_syntax *s = NULL;
    bool hinted = false;
    size_t n;
    f->shows_tools = has(prompt, NAME);
    for (int way = 0; way < 6 && !s && prompt && !p->status; way++) {
        lk_rendering *whole = render_call(p, way, false);
        if (whole && has(whole, VALUE)) {
            const char *text = behind_prompt(prompt, whole, &n);
            s = syntax_of_text(p, text, n);
            f->string_args = s && way >= 3;
        }
        lk_rendering_close(&whole);
    }
    if (!s && f->shows_tools && !p->status) {
        const char *text = lk_rendering_text(prompt, &n);
        s = syntax_of_hints(text, n);
        hinted = true;
    }
    if (!s && !f->shows_tools && !p->status) {
        s = syntax_of_system(p);
        f->system_tools = f->shows_tools = hinted = s;
    }
    f->shows_tools = f->shows_tools && s;
    f->writes_calls = s && !hinted;
    f->syntax = s ? s : lk_syntax_named("generic");
    lk_rendering_close(&prompt);
}

/* ---- thinking ---- */

/* Whether text that ends in this mark is left out of earlier answers. */
static bool forgets(struct probe *p, const char *end)
{
    char more[512];
    snprintf(more, sizeof more,
             ", {\"role\": \"assistant\", \"content\": \"lkthought%slkcontent\"}, {\"role\": "
             "\"user\", \"content\": \"lkagain\"}",
             end);
    lk_rendering *r = render_messages(p, more, false, true, NULL);
    bool yes = has(r, "lkcontent") && !has(r, "lkthought");
    lk_rendering_close(&r);
    return yes;
}

/* Whether the template writes a mark before thinking that it is given. */
static bool writes(struct probe *p, const char *begin)
{
    static const char more[] = ", {\"role\": \"assistant\", \"reasoning_content\": \"lkthought\", "
                               "\"content\": \"lkcontent\"}";
    lk_rendering *r[2] = {render_messages(p, more, false, false, NULL), render_call(p, 0, true)};
    bool yes = false;
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        const char *text = r[i] ? lk_rendering_text(r[i], &n) : "";
        const char *thought = find_text(text, n, "lkthought");
        yes |= thought && find_text(text, (size_t)(thought - text), begin);
        lk_rendering_close(&r[i]);
    }
    return yes;
}

static void find_thinking(struct probe *p, struct lk_answer_format *f)
{
    static const char *const variables[] = {NULL, "\"enable_thinking\": true",
                                            "\"enable_thinking\": false", "\"thinking\": true"};
    const struct lk_thinking *t;
    for (size_t i = 0; (t = lk_thinking_at(i)) && !f->thinking && !p->status; i++) {
        bool found = forgets(p, t->end) || writes(p, t->begin);
        for (size_t k = 0; k < LK_COUNT(variables) && !found; k++) {
            size_t n = 0;
            lk_rendering *r = render_messages(p, "", false, true, variables[k]);
            const char *text = r ? lk_rendering_text(r, &n) : "";
            const char *tail = find_text(text, n, "lkuser");
            /* The prompt ends with marks, or tells the model of both. */
            found = (tail && find_text(tail, n - (size_t)(tail - text), t->begin)) ||
                    (find_text(text, n, t->begin) && find_text(text, n, t->end));
            lk_rendering_close(&r);
        }
        f->thinking = found ? t : NULL;
    }
    lk_rendering *prompt = render_messages(p, "", false, true, NULL);
    lk_answer *a = NULL;
    size_t n = 0;
    const char *text = prompt ? lk_rendering_text(prompt, &n) : "";
    const char *tail = find_text(text, n, "lkuser");
    if (tail && f->thinking && !p->status) {
        p->status =
            lk_answer_make(f->syntax, f->thinking, tail, n - (size_t)(tail - text), &a, p->err);
        f->begins_thinking = a && lk_answer_thinks(a);
    }
    lk_answer_close(&a);
    lk_rendering_close(&prompt);
}

/* ---- switches ---- */

static bool changes(struct probe *p, const char *one, const char *other)
{
    lk_rendering *a = render_messages(p, "", false, true, one);
    lk_rendering *b = render_messages(p, "", false, true, other);
    bool yes = differ(a, b);
    lk_rendering_close(&a);
    lk_rendering_close(&b);
    return yes;
}

#define MEMBERS(text) "{" text "}"
#define EFFORTS(more)                                                                              \
    {                                                                                              \
        "{" more "\"reasoning_effort\": \"low\"}", "{" more "\"reasoning_effort\": \"medium\"}",   \
            "{" more "\"reasoning_effort\": \"high\"}"                                             \
    }

static void find_switches(struct probe *p, struct lk_answer_format *f)
{
    static const struct {
        const char *on, *off, *args_on, *args_off, *effort[3];
    } ways[] = {
        {"\"enable_thinking\": true", "\"enable_thinking\": false",
         MEMBERS("\"enable_thinking\": true"), MEMBERS("\"enable_thinking\": false"),
         EFFORTS("\"enable_thinking\": true, ")},
        {"\"thinking\": true", "\"thinking\": false", MEMBERS("\"thinking\": true"),
         MEMBERS("\"thinking\": false"), EFFORTS("\"thinking\": true, ")},
        {NULL, NULL, NULL, NULL, EFFORTS("")},
    };
    size_t i = 0;
    while (ways[i].on && !changes(p, ways[i].on, ways[i].off)) {
        i++;
    }
    bool thinks = f->thinking || f->syntax->kind == LK_CALL_HARMONY;
    f->args[LK_THINK_ON] = ways[i].on ? ways[i].args_on : thinks ? "{}" : NULL;
    f->args[LK_THINK_OFF] = ways[i].on ? ways[i].args_off : NULL;
    f->switches = ways[i].on;
    char low[64], high[64];
    const char *more = ways[i].on ? ways[i].on : "";
    snprintf(low, sizeof low, "%s%s\"reasoning_effort\": \"low\"", more, *more ? ", " : "");
    snprintf(high, sizeof high, "%s%s\"reasoning_effort\": \"high\"", more, *more ? ", " : "");
    f->efforts = changes(p, low, high);
    for (size_t k = 0; k < 3 && f->efforts; k++) {
        f->args[LK_THINK_LOW + k] = ways[i].effort[k];
    }
}

/* ---- open ---- */

/* Nothing is found of a template that does not take a question. */
static bool renders(struct probe *p)
{
    bool yes = false;
    for (int with_tools = 0; with_tools < 2 && p->template && !yes; with_tools++) {
        lk_rendering *r = render_messages(p, "", with_tools, true, NULL);
        yes = r != NULL;
        lk_rendering_close(&r);
    }
    return yes;
}

lk_status lk_answer_format_open(const lk_template *t, const char *name, lk_answer_format **out,
                                lk_error *err)
{
    const struct lk_syntax *named = name ? lk_syntax_named(name) : NULL;
    lk_error own;
    struct probe p = {.template = t, .err = err ? err : &own};
    *out = NULL;
    if (name && !named) {
        return lk_fail(err, LK_E_INVALID, "answer format '%.64s' is not known", name);
    }
    lk_answer_format *f = lk_alloc(sizeof *f);
    if (!f) {
        return lk_fail(err, LK_E_NOMEM, "out of memory for an answer's format");
    }
    f->template = t;
    f->syntax = named ? named : lk_syntax_named("generic");
    bool any = renders(&p);
    if (any) {
        find_syntax(&p, f);
        f->shows_tools = f->shows_tools && (!named || named == f->syntax);
        f->writes_calls = f->writes_calls && (!named || named == f->syntax);
        f->syntax = named ? named : f->syntax;
    }
    if (any && f->syntax->kind != LK_CALL_HARMONY) {
        find_thinking(&p, f);
    }
    if (any) {
        find_switches(&p, f);
    }
    if (p.status) {
        lk_answer_format_close(&f);
    }
    *out = f;
    return p.status;
}

void lk_answer_format_close(lk_answer_format **format)
{
    if (format && *format) {
        lk_free(*format);
        *format = NULL;
    }
}

void lk_answer_format_info(const lk_answer_format *f, lk_answer_info *out)
{
    bool harmony = f->syntax->kind == LK_CALL_HARMONY;
    *out = (lk_answer_info){
        .name = f->syntax->name,
        .shows_tools = f->shows_tools,
        .think_begin = harmony       ? "<|channel|>analysis<|message|>"
                       : f->thinking ? f->thinking->begin
                                     : NULL,
        .think_end = harmony       ? "<|end|>"
                     : f->thinking ? f->thinking->end
                                   : NULL,
        .begins_thinking = f->begins_thinking,
        .switches = f->switches,
        .efforts = f->efforts,
    };
}

lk_status lk_answer_think_args(const lk_answer_format *f, const char *how, const char **args,
                               lk_error *err)
{
    static const char *const names[] = {"on", "off", "low", "medium", "high"};
    *args = NULL;
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        if (strcmp(how, names[i]) == 0) {
            *args = f->args[i];
            return *args ? LK_OK
                         : lk_fail(err, LK_E_UNSUPPORTED,
                                   "thinking '%s': the model's chat template has no variable for "
                                   "it",
                                   how);
        }
    }
    return lk_fail(err, LK_E_INVALID, "thinking '%.32s': expected on, off, low, medium or high",
                   how);
}
