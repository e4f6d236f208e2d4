/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli think: see cli_think.h.
 */
#include "tools/cli/cli_think.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- opening ---- */

static bool read_budget(const char *text, int64_t *budget)
{
    char *end;
    errno = 0;
    *budget = strtoll(text, &end, 10);
    return end != text && !*end && !errno && *budget >= 0;
}

int cli_think_check(struct cli *cli, const struct cli_think_args *args, bool raw)
{
    int64_t budget;
    if (raw && (args->how || args->show || args->budget)) {
        return cli_fail(cli, CLI_USAGE, "--raw excludes --think, --thinking and --think-budget");
    }
    if (args->budget && !read_budget(args->budget, &budget)) {
        return cli_fail(cli, CLI_USAGE, "--think-budget: '%s', expected a number of tokens",
                        args->budget);
    }
    return CLI_DONE;
}

/* The members of two JSON objects in one; what the second says counts. */
static char *join_objects(const char *a, const char *b)
{
    b += strspn(b, " \t\r\n");
    const char *rest = b + 1 + strspn(b + (*b == '{'), " \t\r\n");
    size_t n = strlen(a);
    if (*b != '{' || *rest == '}' || n < 2) {
        return cli_join(*b == '{' ? a : b, ""); /* what is no object is the library's to refuse */
    }
    char *head = cli_join(a, "");
    if (!head) {
        return NULL;
    }
    head[n - 1] = 0;
    char *with = cli_join(head, n > 2 ? ", " : "");
    char *all = with ? cli_join(with, b + 1) : NULL;
    free(head);
    free(with);
    return all;
}

static int take_how(struct cli_think *t, struct cli_chat *chat)
{
    const char *args;
    lk_error err;
    if (lk_answer_think_args(t->format, t->args->how, &args, &err)) {
        return cli_fail(t->cli, err.status == LK_E_NOMEM ? CLI_NOMEM : CLI_INPUT, "--think: %s",
                        err.message);
    }
    t->template_args = join_objects(args, chat->args ? chat->args : "{}");
    chat->args = t->template_args;
    return t->template_args ? CLI_DONE : cli_fail(t->cli, CLI_NOMEM, "out of memory");
}

typedef lk_status (*tokens_fn)(const lk_answer_format *f, const lk_tokenizer *t, int32_t *ids,
                               size_t cap, size_t *n, lk_error *err);

static int read_tokens(struct cli_think *t, const lk_tokenizer *tokenizer, tokens_fn fn,
                       int32_t **ids, size_t *n)
{
    lk_error err;
    if (fn(t->format, tokenizer, NULL, 0, n, &err)) {
        return cli_error(t->cli, &err);
    }
    *ids = malloc((*n + 1) * sizeof **ids);
    if (!*ids) {
        return cli_fail(t->cli, CLI_NOMEM, "out of memory");
    }
    return fn(t->format, tokenizer, *ids, *n, n, &err) ? cli_error(t->cli, &err) : CLI_DONE;
}

int cli_think_open(struct cli *cli, const struct cli_think_args *args, struct cli_chat *chat,
                   const lk_tokenizer *tokenizer, struct cli_think *t)
{
    lk_error err;
    *t = (struct cli_think){.cli = cli, .args = args, .budget = -1};
    if (!chat->t) {
        return args->how ? cli_fail(cli, CLI_INPUT, "--think: %s", chat->why) : CLI_DONE;
    }
    if (args->budget) {
        (void)read_budget(args->budget, &t->budget);
    }
    t->dims = cli->color && isatty(STDOUT_FILENO);
    if (lk_answer_format_open(chat->t, NULL, &t->format, &err)) {
        return cli_error(cli, &err);
    }
    lk_answer_format_info(t->format, &t->info);
    int code = args->how ? take_how(t, chat) : CLI_DONE;
    if (!code && !t->info.think_begin) {
        lk_answer_format_close(&t->format);
        return CLI_DONE;
    }
    if (!code) {
        code = read_tokens(t, tokenizer, lk_answer_tokens, &t->shown, &t->n_shown);
    }
    return code ? code : read_tokens(t, tokenizer, lk_answer_think_end, &t->end, &t->n_end);
}

void cli_think_close(struct cli_think *t)
{
    lk_answer_close(&t->answer);
    lk_answer_format_close(&t->format);
    cli_buffer_free(&t->thinking);
    cli_buffer_free(&t->content);
    free(t->template_args);
    free(t->shown);
    free(t->end);
}

int cli_think_begins(struct cli_think *t, const struct cli_chat *chat, bool *begins)
{
    const lk_chat_message question = {"user", "?", 1};
    lk_template_input in = lk_template_input_default();
    lk_rendering *prompt;
    lk_error err;
    *begins = false;
    in.messages = &question;
    in.n_messages = 1;
    in.args = chat->args;
    in.args_len = chat->args ? strlen(chat->args) : 0;
    if (!t->format || lk_answer_render(t->format, &in, &prompt, &err)) {
        return CLI_DONE; /* the prompt itself will tell what is wrong */
    }
    int code = cli_think_begin(t, prompt, true);
    *begins = !code && lk_answer_thinks(t->answer);
    lk_rendering_close(&prompt);
    return code;
}

/* ---- an answer ---- */

int cli_think_begin(struct cli_think *t, const lk_rendering *prompt, bool silent)
{
    lk_answer_options o = lk_answer_options_default();
    lk_error err;
    o.prompt = prompt;
    lk_answer_close(&t->answer);
    t->spent = 0;
    t->thinking.n = t->content.n = 0;
    t->ended = t->dim = false;
    t->silent = silent;
    t->last = 0;
    return lk_answer_open(t->format, &o, &t->answer, &err) ? cli_error(t->cli, &err) : CLI_DONE;
}

void cli_think_token(struct cli_think *t)
{
    t->spent += lk_answer_thinks(t->answer) && !t->ended;
}

static bool shows(const struct cli_think *t, bool thinking)
{
    const char *show = t->args->show ? t->args->show : "show";
    return strcmp(show, "show") == 0 || (strcmp(show, "only") == 0) == thinking;
}

static void print(struct cli_think *t, const char *text, size_t n)
{
    if (n && !t->silent) {
        cli_out(t->cli, text, n);
        t->last = text[n - 1];
    }
}

static void prints(struct cli_think *t, const char *text)
{
    print(t, text, strlen(text));
}

/* Goes into thinking, or out of it: a terminal shows it dim, elsewhere tags are around it. */
static void turn(struct cli_think *t, bool thinking)
{
    bool both = shows(t, true) && shows(t, false);
    if (thinking == t->dim) {
        return;
    }
    t->dim = thinking;
    if (!both || t->silent) {
        return;
    }
    if (thinking && t->last && t->last != '\n') {
        prints(t, "\n");
    }
    if (t->dims) {
        cli_dim(t->cli, thinking);
        prints(t, thinking ? "" : "\n\n");
    } else {
        prints(t, thinking ? "<think>\n" : "\n</think>\n\n");
    }
}

static int hear(struct cli_think *t, const lk_answer_event *part)
{
    bool thinking = part->kind == LK_ANSWER_REASONING;
    if (!cli_append(thinking ? &t->thinking : &t->content, part->text, part->len)) {
        return cli_fail(t->cli, CLI_NOMEM, "out of memory");
    }
    turn(t, thinking);
    if (shows(t, thinking)) {
        print(t, part->text, part->len);
    }
    return CLI_DONE;
}

static int hear_all(struct cli_think *t)
{
    lk_answer_event part;
    int code = CLI_DONE;
    while (!code && lk_answer_next(t->answer, &part)) {
        code = hear(t, &part);
    }
    return code;
}

int cli_think_text(struct cli_think *t, const char *text, size_t n)
{
    lk_error err;
    return lk_answer_put(t->answer, text, n, &err) ? cli_error(t->cli, &err) : hear_all(t);
}

int cli_think_end(struct cli_think *t)
{
    lk_error err;
    int code = lk_answer_end(t->answer, &err) ? cli_error(t->cli, &err) : hear_all(t);
    bool both = shows(t, true) && shows(t, false) && !t->silent;
    if (t->dim && t->dims && both) {
        cli_dim(t->cli, false);
    } else if (t->dim && both) { /* it came to no content */
        prints(t, "\n</think>\n");
    }
    return code;
}

int cli_think_limit(struct cli_think *t, lk_generation *g)
{
    lk_error err;
    bool due = t->budget >= 0 && !t->ended && t->spent >= t->budget && t->n_end &&
               lk_answer_thinks(t->answer) && !lk_generation_finish(g);
    if (!due) {
        return CLI_DONE;
    }
    t->ended = true;
    return lk_generation_force(g, t->end, t->n_end, &err) ? cli_error(t->cli, &err) : CLI_DONE;
}
