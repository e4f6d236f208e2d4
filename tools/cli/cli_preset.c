/* SPDX-License-Identifier: Apache-2.0
 *
 * Preset: how tokens are chosen: as options say, and as a model's maker wants it, which the file's
 * general.sampling.* keys say. Knows no tokens.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

lk_sampler_options cli_sampler_options(const struct cli_sampling_args *a)
{
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = (float)a->temp;
    o.top_k = (int)a->top_k;
    o.top_p = (float)a->top_p;
    o.min_p = (float)a->min_p;
    o.repeat_penalty = (float)a->repeat_penalty;
    o.presence_penalty = (float)a->presence_penalty;
    o.frequency_penalty = (float)a->frequency_penalty;
    o.penalty_last_n = (int)a->repeat_last_n;
    return o;
}

static const char BEFORE[] = "general.sampling.";

/* One key: a number goes to its place unless the command line has the option. False: not known. */
static bool take(const struct cli *cli, const char *key, double x, lk_sampler_options *o)
{
    const struct {
        const char *key, *option;
        float *to;
        int *to_int;
    } KEYS[] = {{"temp", "temp", &o->temperature, NULL},
                {"top_k", "top-k", NULL, &o->top_k},
                {"top_p", "top-p", &o->top_p, NULL},
                {"min_p", "min-p", &o->min_p, NULL},
                {"penalty_repeat", "repeat-penalty", &o->repeat_penalty, NULL},
                {"penalty_last_n", "repeat-last-n", NULL, &o->penalty_last_n}};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        if (strcmp(KEYS[i].key, key) != 0) {
            continue;
        }
        bool whole = KEYS[i].to_int != NULL;
        if (!cli_given(cli, KEYS[i].option) && whole) {
            /* -1 stands for the whole context, or for off: as far as numbers go */
            *KEYS[i].to_int =
                x < 0.0 || x > 1 << 24 ? (strcmp(key, "top_k") == 0 ? 0 : 1 << 24) : (int)x;
        } else if (!cli_given(cli, KEYS[i].option)) {
            *KEYS[i].to = (float)x;
        }
        return true;
    }
    return false;
}

int cli_preset(const struct cli *cli, const lk_model *model, lk_sampler_options *o)
{
    size_t n = 0, before = sizeof BEFORE - 1;
    for (size_t i = 0; i < lk_model_n_meta(model); i++) {
        lk_meta m;
        char key[64], *end;
        lk_model_meta(model, i, &m);
        if (m.key_len <= before || memcmp(m.key, BEFORE, before) != 0) {
            continue;
        }
        snprintf(key, sizeof key, "%.*s", (int)(m.key_len - before), m.key + before);
        double x = strtod(m.value, &end);
        bool number = end != m.value && !*end && isfinite(x);
        if (number && take(cli, key, x, o)) {
            n++;
        } else if (!number || x != 0.0) {
            cli_note(cli, "--sample: %s%s is %s, which is not used here", BEFORE, key, m.value);
        }
    }
    if (n == 0) {
        return cli_fail(cli, CLI_INPUT,
                        "--sample: the model's file has no %s* keys that say how; give --temp, "
                        "--top-p and the like",
                        BEFORE);
    }
    if (cli->verbose) {
        cli_note(cli, "sampling: temp %g, top-k %d, top-p %g, min-p %g, repeat-penalty %g",
                 (double)o->temperature, o->top_k, (double)o->top_p, (double)o->min_p,
                 (double)o->repeat_penalty);
    }
    return CLI_DONE;
}
