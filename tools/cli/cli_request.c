/* SPDX-License-Identifier: Apache-2.0
 *
 * Request: the options of `lockstep run` as a generation of the library: how tokens are chosen and
 * what ends the text. Knows no prompt.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/cli_run.h"

static int check_move(struct cli_runner *r)
{
    const char *text = r->args->move_at;
    char *end;
    r->move_at = -1;
    if (text) {
        errno = 0;
        r->move_at = strtoll(text, &end, 10);
        if (end == text || errno || r->move_at < 0 || *end != ':' || !end[1]) {
            return cli_fail(r->cli, CLI_USAGE, "--move-at: '%s', expected N:BACKEND", text);
        }
        r->move_to = end + 1;
        return cli_check_place(r->cli, "--move-at", r->move_to);
    }
    return CLI_DONE;
}

int cli_request_check(struct cli_runner *r)
{
    const struct cli_run_args *a = r->args;
    int code = check_move(r);
    if (code) {
        return code;
    }
    for (size_t i = 0; i < a->stop.n; i++) {
        if (!*a->stop.item[i]) {
            return cli_fail(r->cli, CLI_USAGE, "--stop: an empty text");
        }
    }
    if (a->raw && (a->chat || a->system || a->template_file || a->template_args)) {
        return cli_fail(r->cli, CLI_USAGE,
                        "--raw excludes --chat, --system, --template and --template-args");
    }
    code = cli_think_check(r->cli, &a->think, a->raw);
    if (code) {
        return code;
    }
    bool may_be_dialogue = a->chat || (isatty(STDIN_FILENO) && r->cli->argc == 1 && !a->json);
    if (a->on_full && strcmp(a->on_full, "drop") == 0 && !may_be_dialogue) {
        return cli_fail(r->cli, CLI_USAGE, "--on-full drop: only a dialogue has turns to drop");
    }
    if (a->chat && (a->json || r->cli->argc > 1)) {
        return cli_fail(r->cli, CLI_USAGE, "--chat excludes %s", a->json ? "--json" : "PROMPT");
    }
    const struct cli_constraint_args *c = &a->constraint;
    if (a->ignore_eos && (c->schema || c->grammar || c->regex)) {
        return cli_fail(r->cli, CLI_USAGE, "--ignore-eos excludes --schema, --grammar and --regex");
    }
    return cli_constraint_check(r->cli, c);
}

static int read_bias(const struct cli *cli, const struct cli_list *list, int32_t *ids,
                     float *values)
{
    for (size_t i = 0; i < list->n; i++) {
        char *equals, *end;
        long id = strtol(list->item[i], &equals, 10);
        double value = *equals == '=' ? strtod(equals + 1, &end) : 0.0;
        if (equals == list->item[i] || *equals != '=' || end == equals + 1 || *end || id < 0 ||
            id > INT32_MAX || isnan(value)) {
            return cli_fail(cli, CLI_USAGE, "--logit-bias: '%s', expected ID=VALUE", list->item[i]);
        }
        ids[i] = (int32_t)id;
        values[i] = (float)value;
    }
    return CLI_DONE;
}

int cli_request_sampler(struct cli_runner *r)
{
    const struct cli_run_args *a = r->args;
    lk_sampler_options *o = &r->sampler;
    *o = cli_sampler_options(&a->sampling);
    o->seed = (uint64_t)a->seed;
    return a->sample ? cli_preset(r->cli, r->model, o) : CLI_DONE;
}

int cli_request_open(struct cli_runner *r)
{
    const struct cli_run_args *a = r->args;
    int32_t ids[CLI_LIST_MAX];
    float values[CLI_LIST_MAX];
    lk_sampler_options sampler = r->sampler;
    lk_generation_options o = lk_generation_options_default();
    lk_error err;
    int code = read_bias(r->cli, &a->logit_bias, ids, values);
    if (code) {
        return code;
    }
    sampler.bias_ids = ids;
    sampler.bias_values = values;
    sampler.n_bias = a->logit_bias.n;
    o.sampler = &sampler;
    o.max_tokens = a->n < 0 ? SIZE_MAX : (size_t)a->n;
    o.stop = a->stop.item;
    o.n_stop = a->stop.n;
    o.ignore_eog = a->ignore_eos;
    o.constraint = r->constraint.start;
    o.shown = r->think.shown;
    o.n_shown = r->think.n_shown;
    lk_generation_close(&r->generation);
    r->written = false;
    return lk_generation_open(r->session, r->t, &o, &r->generation, &err) ? cli_error(r->cli, &err)
                                                                          : CLI_DONE;
}
