/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_calls MODEL: a model whose request asks for a call of a tool, "required", by name and
 * "auto", greedily and by chance: each answer that has to be one is a call of a tool that there is,
 * whole, with arguments that fit. Prints a closing line in Criterion's form, one test an answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "text/value/json.h"

#define TOOLS                                                                                      \
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": " \
    "\"Tells the weather.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": "   \
    "{\"type\": \"string\", \"maxLength\": 40}, \"days\": {\"type\": \"integer\", \"minimum\": "   \
    "1, "                                                                                          \
    "\"maximum\": 14}}, \"required\": [\"city\", \"days\"], \"additionalProperties\": false}}}, "  \
    "{\"type\": \"function\", \"function\": {\"name\": \"clock\", \"description\": \"Tells the "   \
    "time.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"zone\": {\"enum\": "       \
    "[\"UTC\", \"CET\"]}}, \"required\": [\"zone\"], \"additionalProperties\": false}}}], "        \
    "\"parallel_tool_calls\": false"

static const char *const questions[] = {"Will it rain in Bern tomorrow?", "What time is it?",
                                        "Write a poem about the sea.", "Hello!",
                                        "How warm is it in Oslo this week?"};

static void stop(const lk_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

struct place {
    lk_model *m;
    lk_tokenizer *t;
    lk_engine *e;
    lk_session *s;
    lk_template *template;
    lk_answer_format *f;
    int32_t *shown;
    size_t n_shown;
};

static void open_place(struct place *p, const char *path)
{
    lk_error err;
    lk_engine_options o = lk_engine_options_default();
    o.backend = "cpu";
    o.n_ctx = 1536;
    if (lk_model_open(path, &p->m, &err) || lk_tokenizer_open(p->m, &p->t, &err) ||
        lk_engine_open(p->m, &o, &p->e, &err) || lk_session_open(p->e, &p->s, &err) ||
        lk_template_open(p->m, NULL, 0, &p->template, &err) ||
        lk_answer_format_open(p->template, NULL, &p->f, &err) ||
        lk_answer_tokens(p->f, p->t, NULL, 0, &p->n_shown, &err)) {
        stop(&err);
    }
    p->shown = calloc(p->n_shown + 1, sizeof *p->shown);
    if (lk_answer_tokens(p->f, p->t, p->shown, p->n_shown, &p->n_shown, &err)) {
        stop(&err);
    }
}

static void close_place(struct place *p)
{
    free(p->shown);
    lk_answer_format_close(&p->f);
    lk_template_close(&p->template);
    lk_session_close(&p->s);
    lk_engine_close(&p->e);
    lk_tokenizer_close(&p->t);
    lk_model_close(&p->m);
}

/* What an answer is. */
struct found {
    size_t calls, content;
    bool whole;
    char name[64], arguments[4096];
    size_t n;
};

static void hear(lk_answer *a, struct found *to)
{
    lk_answer_event part;
    while (lk_answer_next(a, &part)) {
        if (part.kind == LK_ANSWER_CALL_BEGIN) {
            snprintf(to->name, sizeof to->name, "%s", part.name);
            to->calls++;
        } else if (part.kind == LK_ANSWER_CALL_ARGUMENTS &&
                   to->n + part.len < sizeof to->arguments) {
            memcpy(to->arguments + to->n, part.text, part.len);
            to->n += part.len;
        } else if (part.kind == LK_ANSWER_CALL_END) {
            to->whole = part.complete;
        } else if (part.kind == LK_ANSWER_CONTENT) {
            to->content += part.len;
        }
    }
}

static void answer(struct place *p, const lk_answer_options *o, uint64_t seed, struct found *to)
{
    lk_grammar *grammar;
    lk_constraint *constraint;
    lk_generation *g;
    lk_answer *a;
    lk_event ev;
    lk_error err;
    int32_t ids[1536];
    size_t n;
    lk_sampler_options sampler = lk_sampler_options_default();
    lk_generation_options go = lk_generation_options_default();
    sampler.temperature = seed ? 1.0f : 0.0f;
    sampler.seed = seed;
    go.sampler = &sampler;
    go.max_tokens = 200;
    go.shown = p->shown;
    go.n_shown = p->n_shown;
    if (lk_answer_constrain(p->f, p->t, o, &grammar, &constraint, &err)) {
        stop(&err);
    }
    go.constraint = constraint;
    if (lk_rendering_tokenize(o->prompt, p->t, ids, 1536, &n, &err) ||
        lk_generation_open(p->s, p->t, &go, &g, &err) || lk_generation_begin(g, ids, n, &err) ||
        lk_answer_open(p->f, o, &a, &err)) {
        stop(&err);
    }
    while (!lk_generation_finish(g)) {
        if (lk_generation_step(p->e, &g, 1, 0, &err)) {
            stop(&err);
        }
        while (lk_generation_next(g, &ev)) {
            if (ev.kind == LK_EVENT_TEXT && lk_answer_put(a, ev.text, ev.len, &err)) {
                stop(&err);
            }
            hear(a, to);
        }
    }
    if (lk_answer_end(a, &err)) {
        stop(&err);
    }
    hear(a, to);
    lk_answer_close(&a);
    lk_generation_close(&g);
    lk_constraint_close(&constraint);
    lk_grammar_close(&grammar);
}

/* Whether the arguments are what the tool's schema asks for. */
static bool fits(const struct found *x)
{
    struct lk_region region = {0};
    struct lk_value v;
    bool weather = strcmp(x->name, "weather") == 0, good = false;
    if (!lk_json_read(&region, x->arguments, x->n, NULL, &v, NULL) && v.type == LK_VALUE_DICT) {
        const struct lk_value *city = lk_value_get(&v, "city"), *days = lk_value_get(&v, "days");
        const struct lk_value *zone = lk_value_get(&v, "zone");
        good = weather ? v.n == 2 && city && city->type == LK_VALUE_STRING && days &&
                             days->type == LK_VALUE_INT && days->integer >= 1 && days->integer <= 14
                       : strcmp(x->name, "clock") == 0 && v.n == 1 &&
                             (lk_value_is(zone, "UTC") || lk_value_is(zone, "CET"));
    }
    lk_region_free(&region);
    return good;
}

int main(int argc, char **argv)
{
    static const char *const choices[] = {
        "\"required\"", "{\"type\": \"function\", \"function\": {\"name\": \"clock\"}}",
        "\"auto\""};
    struct place p = {0};
    size_t tests = 0, failed = 0, n_questions = sizeof questions / sizeof *questions;
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    open_place(&p, argv[1]);
    for (size_t i = 0; i < n_questions * 6; i++) {
        const char *choice = choices[i / n_questions < 4 ? 0 : i / n_questions - 3];
        bool required = choice != choices[2], clock = choice == choices[1];
        struct found found = {0};
        char request[2048];
        lk_rendering *prompt;
        lk_error err;
        lk_template_input in = lk_template_input_default();
        lk_answer_options o = lk_answer_options_default();
        snprintf(request, sizeof request,
                 "{" TOOLS ", \"tool_choice\": %s, \"messages\": [{\"role\": \"user\", "
                 "\"content\": \"%s\"}]}",
                 choice, questions[i % n_questions]);
        o.request = in.request = request;
        o.request_len = in.request_len = strlen(request);
        if (lk_answer_render(p.f, &in, &prompt, &err)) {
            stop(&err);
        }
        o.prompt = prompt;
        answer(&p, &o, i / n_questions, &found);
        bool call = found.calls == 1 && found.whole && fits(&found) &&
                    (!clock || strcmp(found.name, "clock") == 0);
        bool good = required ? call && !found.content : call || (!found.calls && found.content);
        tests++;
        if (!good) {
            failed++;
            printf("[FAIL] %s, %s: %zu calls, %s(%.*s)\n", choice, questions[i % n_questions],
                   found.calls, found.name, (int)found.n, found.arguments);
        }
        lk_rendering_close(&prompt);
    }
    close_place(&p);
    printf("[====] Synthesis: Tested: %zu | Passing: %zu | Failing: %zu | Crashing: 0\n", tests,
           tests - failed, failed);
    return failed != 0;
}
