/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep list: the models that are known by name and those in the cache.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/cli/cli_store.h"

struct arguments {
    bool json, names;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print a JSON array"},
    {"names", 0, CLI_FLAG, NULL, THIS(names), .help = "print the names alone, one a line"},
    CLI_END,
};

struct listed {
    const char *name;
    const struct cli_known *known; /* NULL: only in the cache */
    char *path;                    /* where it is or would be */
    enum cli_stored stored;
    struct cli_stamp stamp;
    uint64_t n_bytes, n_part; /* of the file; of one that was fetched in part */
    bool looked, runs;
    lk_error why; /* it does not run */
};

static uint64_t size_of(const char *path, const char *end)
{
    char *file = cli_join(path, end);
    struct stat st;
    uint64_t n = file && stat(file, &st) == 0 ? (uint64_t)st.st_size : 0;
    free(file);
    return n;
}

/* Opens the model's file as far as its head. */
static void look(struct listed *l)
{
    lk_model *m;
    l->looked = true;
    l->runs = lk_model_open(l->path, &m, &l->why) == LK_OK;
    if (l->runs) {
        l->runs = lk_model_check(m, &l->why) == LK_OK;
        lk_model_close(&m);
    }
}

static const char *digest_of(const struct listed *l)
{
    return l->known ? l->known->sha256 : l->stamp.sha256;
}

static const char *state_of(const struct listed *l)
{
    switch (l->stored) {
    case CLI_STORED_WHOLE:
        return "cached";
    case CLI_STORED_IN_DOUBT:
        return "in doubt";
    case CLI_STORED_NOT:
        break;
    }
    return l->n_part ? "partial" : "known";
}

static void print_text(const struct listed *l, int width)
{
    char size[32], digest[16] = "-";
    snprintf(size, sizeof size, "%.1f MB", (double)l->n_bytes / 1e6);
    if (*digest_of(l)) {
        snprintf(digest, sizeof digest, "%.12s", digest_of(l));
    }
    printf("%-*s  %10s  %-4s  %-12s  ", width, l->name, size,
           !l->looked ? "-"
           : l->runs  ? "yes"
                      : "no",
           digest);
    if (l->stored != CLI_STORED_NOT) {
        printf("%s%s\n", l->path,
               l->stored == CLI_STORED_IN_DOUBT ? " (checked when it is used)" : "");
    } else if (l->n_part) {
        printf("%.1f MB are fetched: `lockstep pull %s` goes on\n", (double)l->n_part / 1e6,
               l->name);
    } else {
        printf("not fetched (%.0f MB): %s\n", (double)l->known->download / 1e6,
               l->known->description);
    }
    if (l->looked && !l->runs) {
        printf("%-*s  does not run: %s\n", width, "", l->why.message);
    }
}

static void print_json(const struct listed *l, bool first)
{
    const char *const text[][2] = {{"name", l->name},
                                   {"state", state_of(l)},
                                   {"description", l->known ? l->known->description : ""},
                                   {"sha256", digest_of(l)},
                                   {"source", l->stamp.source},
                                   {"path", l->path ? l->path : ""},
                                   {"reason", l->looked && !l->runs ? l->why.message : ""}};
    printf("%s\n{", first ? "" : ",");
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        printf("%s\"%s\":", i ? "," : "", text[i][0]);
        cli_json_string(stdout, text[i][1], strlen(text[i][1]));
    }
    printf(",\"bytes\":%" PRIu64 ",\"known\":%s,\"runs\":%s}", l->n_bytes,
           l->known ? "true" : "false",
           !l->looked ? "null"
           : l->runs  ? "true"
                      : "false");
}

static void list_one(const struct arguments *args, struct listed *l, int width, bool first)
{
    l->stored = cli_stored(l->name, &l->path, &l->stamp);
    if (args->names) {
        printf("%s\n", l->name);
    } else {
        l->n_bytes = l->path && l->stored != CLI_STORED_NOT ? size_of(l->path, "")
                     : l->known                             ? l->known->n_bytes
                                                            : 0;
        l->n_part = l->path && l->stored == CLI_STORED_NOT ? size_of(l->path, ".part") : 0;
        if (l->stored != CLI_STORED_NOT) {
            look(l);
        }
        if (args->json) {
            print_json(l, first);
        } else {
            print_text(l, width);
        }
    }
    free(l->path);
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    char **names;
    size_t n, width = 4;
    if (args->json && args->names) {
        return cli_fail(cli, CLI_USAGE, "--json and --names: expected one of them");
    }
    int code = cli_store_names(cli, &names, &n);
    if (code) {
        return code;
    }
    for (size_t i = 0; cli_known_at(i); i++) {
        width = strlen(cli_known_at(i)->name) > width ? strlen(cli_known_at(i)->name) : width;
    }
    for (size_t i = 0; i < n; i++) {
        width = strlen(names[i]) > width ? strlen(names[i]) : width;
    }
    if (args->json) {
        printf("[");
    } else if (!args->names) {
        printf("%-*s  %10s  %-4s  %-12s  %s\n", (int)width, "NAME", "SIZE", "RUNS", "SHA-256",
               "WHERE");
    }
    for (size_t i = 0; cli_known_at(i); i++) {
        struct listed l = {.name = cli_known_at(i)->name, .known = cli_known_at(i)};
        list_one(args, &l, (int)width, i == 0);
    }
    for (size_t i = 0; i < n; i++) {
        struct listed l = {.name = names[i]};
        if (!cli_known(names[i])) {
            list_one(args, &l, (int)width, false);
        }
    }
    if (args->json) {
        printf("\n]\n");
    }
    cli_store_names_free(names, n);
    return CLI_DONE;
}

const struct cli_command cli_models = {
    .name = "list",
    .usage = "",
    .summary = "list the models that are known by name or in the cache",
    .details = "For each its size, whether it runs here, its SHA-256 and where it lies.",
    .max_args = 0,
    .args_size = sizeof(struct arguments),
    .options = {options},
    .run = run,
};
