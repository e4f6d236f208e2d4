/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep devices: what could compute here, and why or why not.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/cli/cli.h"

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    const char *switch_off;
    bool json, switch_on;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print a JSON array"},
    {"switch-off", 0, CLI_STRING, "FEATURE", THIS(switch_off),
     .help =
         "never use this Vulkan feature of the device that --device names, or of the first GPU"},
    {"switch-on", 0, CLI_FLAG, NULL, THIS(switch_on),
     .help = "use all features of that device again"},
    CLI_END,
};

struct listing {
    bool json;
    int n;
};

static void print_json(const struct listing *l, const lk_device_info *d)
{
    const char *const text[][2] = {{"backend", d->backend},   {"name", d->name},
                                   {"driver", d->driver},     {"type", d->type},
                                   {"features", d->features}, {"note", d->note}};
    printf("%s\n{\"number\":%d", l->n ? "," : "", l->n);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        printf(",\"%s\":", text[i][0]);
        cli_json_string(stdout, text[i][1], strlen(text[i][1]));
    }
    printf(",\"memory\":%" PRIu64 ",\"available\":%" PRIu64
           ",\"usable\":%s,\"exact\":%s,\"chosen\":%s}",
           d->memory, d->available, d->usable ? "true" : "false", d->exact ? "true" : "false",
           d->chosen ? "true" : "false");
}

static void print_text(const struct listing *l, const lk_device_info *d)
{
    printf("%d: %s, %s (%s)%s\n", l->n, d->backend, d->name, d->type, d->chosen ? ", chosen" : "");
    if (*d->driver) {
        printf("   driver: %s\n", d->driver);
    }
    printf("   memory: %.1f GiB, %.1f GiB available\n", (double)d->memory / 1073741824.0,
           (double)d->available / 1073741824.0);
    printf("   %s\n", !d->usable ? "not usable"
                      : d->exact ? "usable, exact"
                                 : "usable, approximate");
    if (*d->features) {
        printf("   features: %s\n", d->features);
    }
    if (*d->note) {
        printf("   note: %s\n", d->note);
    }
}

static void each(void *user, const lk_device_info *d)
{
    struct listing *l = user;
    if (l->json) {
        print_json(l, d);
    } else {
        print_text(l, d);
    }
    l->n++;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    struct listing l = {.json = args->json};
    lk_engine_options o;
    lk_error err;
    char *cache;
    int code = cli_engine_options_from(cli, &args->engine, &o, &cache);
    if (code) {
        return code;
    }
    if ((args->switch_on && lk_device_disable(&o, NULL, &err)) ||
        (args->switch_off && lk_device_disable(&o, args->switch_off, &err))) {
        cli_engine_options_free(&cache);
        return cli_error(cli, &err);
    }
    printf("%s", l.json ? "[" : "");
    lk_status status = lk_devices(&o, each, &l, &err);
    printf("%s", l.json ? "\n]\n" : "");
    cli_engine_options_free(&cache);
    return status ? cli_error(cli, &err) : CLI_DONE;
}

const struct cli_command cli_devices = {
    .name = "devices",
    .usage = "",
    .summary = "list what can compute here, and why or why not",
    .examples = "lockstep devices                      and why one is not used\n"
                "lockstep devices --device 0 --switch-off int-dot   never use that feature there",
    .max_args = 0,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_device_options},
    .run = run,
};
