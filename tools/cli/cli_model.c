/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: from the word MODEL of a command line to a file, an open model, tokenizer, engine. What
 * known models there are, where they come from and their checksums is the script pull's knowledge:
 * `pull --list` prints lines of NAME BYTES DESCRIPTION, `pull NAME FILE` makes FILE or fails.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/cli/cli.h"

#define THIS(field) offsetof(struct cli_engine_args, field)

const struct cli_option cli_engine_options[] = {
    {"backend", 'b', CLI_STRING, "NAME", THIS(backend), "auto",
     .choices = "auto cpu scalar ref vulkan", .help = "what computes"},
    {"device", 0, CLI_STRING, "D", THIS(device),
     .help = "Vulkan device: its number or part of its name"},
    {"gpu-layers", 0, CLI_STRING, "N", THIS(gpu_layers), "auto",
     .help = "layers on the GPU: auto, all or a number"},
    {"threads", 't', CLI_INT, "N", THIS(threads), "0", 0, 1024,
     .help = "CPU threads; 0: the physical cores we may use; without --pin at most the CPUs we "
             "may use"},
    {"threads-batch", 0, CLI_INT, "N", THIS(threads_batch), "0", 0, 1024,
     .help = "CPU threads for the prompt; 0: as --threads"},
    {"ctx", 'c', CLI_INT, "N", THIS(ctx), "0", 0, 1 << 24,
     .help = "tokens of context; 0: what the model was made for, at most 4096"},
    {"batch", 0, CLI_INT, "N", THIS(batch), "512", 1, 8192,
     .help = "tokens computed at once (changes no result)"},
    {"cpu-level", 0, CLI_STRING, "LEVEL", THIS(cpu_level), "auto",
     .choices = "auto generic avx2 avx-vnni avx512 amx neon dotprod i8mm",
     .help = "CPU instructions used"},
    {"pin", 0, CLI_FLAG, NULL, THIS(pin), .help = "pin CPU threads to cores"},
    {"no-fuse", 0, CLI_FLAG, NULL, THIS(no_fuse),
     .help = "run every operation alone (changes no result)"},
    {"vk-disable", 0, CLI_STRING, "LIST", THIS(vk_disable),
     .help = "Vulkan features not to use, separated by commas"},
    CLI_END,
};

/* ---- where things are ---- */

/* DIR/lockstep in the user's cache, malloc'd. */
static char *cache_dir(const char *below)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = cache && cache[0] == '/';
    char *base =
        own ? cli_join(cache, "/lockstep/") : cli_join(home ? home : "", "/.cache/lockstep/");
    char *path = base ? cli_join(base, below) : NULL;
    free(base);
    return path;
}

/* The script pull, installed or in the source tree around a build folder. NULL: not found. */
static char *pull_script(void)
{
    static const char *const BESIDE[] = {"/../libexec/lockstep/pull", "/../tools/pull",
                                         "/../../tools/pull"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) {
        return NULL;
    }
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        char *path = cli_join(exe, BESIDE[i]);
        if (path && access(path, X_OK) == 0) {
            return path;
        }
        free(path);
    }
    return NULL;
}

static bool make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p == '/') {
            *p = 0;
            bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
            *p = '/';
            if (!made) {
                return false;
            }
        }
    }
    return true;
}

/* ---- pull ---- */

/* Runs a program with its stdout on fd `out` (-1: on our stderr); its exit code, or -1. */
static int spawn(char *const argv[], int out)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out < 0 ? STDERR_FILENO : out, STDOUT_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    int state;
    while (pid > 0 && waitpid(pid, &state, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return pid > 0 && WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

/* The lines of `pull --list`, 0-terminated; empty on any failure. */
static void list_known(char *script, struct cli_buffer *out)
{
    char *argv[] = {script, "--list", NULL};
    FILE *f = tmpfile();
    if (f && spawn(argv, fileno(f)) == 0) {
        char piece[512];
        rewind(f);
        while (fgets(piece, sizeof piece, f) && cli_append(out, piece, strlen(piece))) {
        }
    }
    if (f) {
        fclose(f);
    }
    if (!cli_append(out, "", 1)) {
        cli_buffer_free(out);
    }
}

static int unknown_name(const struct cli *cli, const char *name, const char *list)
{
    char known[512] = "";
    for (const char *line = list; line && *line;) {
        size_t n = strcspn(line, " \t\n"), used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%.*s", used ? ", " : "", (int)n, line);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return cli_fail(cli, CLI_INPUT,
                    "unknown model '%s': a path has a '/' or ends in .gguf, known names are: %s",
                    name, *known ? known : "(the script pull tells none)");
}

static int fetch(struct cli *cli, char *script, const char *name, char *path)
{
    struct cli_buffer list = {0};
    list_known(script, &list);
    size_t n = strlen(name);
    const char *line = list.data;
    while (line && *line && !(strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == '\t'))) {
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    int code;
    if (!line || !*line) {
        code = unknown_name(cli, name, list.data);
    } else {
        double bytes = strtod(line + n, NULL);
        cli_note(cli, "fetching %s (%.0f MB) to %s", name, bytes / 1e6, path);
        char *argv[] = {script, (char *)name, path, NULL};
        int rc = make_dirs(path) ? spawn(argv, -1) : -1;
        code = rc == 0                 ? CLI_DONE
               : rc == CLI_INTERRUPTED ? CLI_INTERRUPTED
                                       : CLI_INPUT; /* the script has said why */
    }
    cli_buffer_free(&list);
    return code;
}

int cli_pull_model(struct cli *cli, const char *name, char **path)
{
    char *file = cli_join(name, ".gguf"), *below = file ? cli_join("models/", file) : NULL;
    *path = below ? cache_dir(below) : NULL;
    free(file);
    free(below);
    if (!*path) {
        return cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    if (access(*path, R_OK) == 0) {
        return CLI_DONE;
    }
    char *script = pull_script();
    int code =
        script ? fetch(cli, script, name, *path)
               : cli_fail(cli, CLI_INPUT,
                          "%s is not there, and neither is the script pull that fetches it", *path);
    free(script);
    if (code) {
        free(*path);
        *path = NULL;
    }
    return code;
}

/* ---- open ---- */

int cli_resolve(struct cli *cli, const char *model, char **path)
{
    size_t n = strlen(model);
    if (strchr(model, '/') || (n >= 5 && strcmp(model + n - 5, ".gguf") == 0)) {
        *path = cli_join(model, "");
        return *path ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    return cli_pull_model(cli, model, path);
}

int cli_open_model(struct cli *cli, const char *name, lk_model **model)
{
    char *path;
    lk_error err;
    int code = cli_resolve(cli, name, &path);
    if (!code) {
        code = lk_model_open(path, model, &err) ? cli_error(cli, &err) : CLI_DONE;
        free(path);
    }
    return code;
}

int cli_open_tokenizer(struct cli *cli, const lk_model *model, lk_tokenizer **tokenizer)
{
    lk_error err;
    return lk_tokenizer_open(model, tokenizer, &err) ? cli_error(cli, &err) : CLI_DONE;
}

static int gpu_layers_of(const struct cli *cli, const char *text, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (strcmp(text, "auto") == 0) {
        *out = LK_GPU_LAYERS_AUTO;
    } else if (strcmp(text, "all") == 0) {
        *out = LK_GPU_LAYERS_ALL;
    } else if (end == text || *end || n < 0 || n > 1 << 20) {
        return cli_fail(cli, CLI_USAGE, "--gpu-layers: '%s', expected auto, all or a number", text);
    } else {
        *out = (int)n;
    }
    return CLI_DONE;
}

int cli_engine_options_from(struct cli *cli, const struct cli_engine_args *args,
                            lk_engine_options *o, char **cache)
{
    *o = lk_engine_options_default();
    *cache = NULL;
    if (args->device && !*args->device) {
        return cli_fail(cli, CLI_USAGE, "--device: '', expected a number or a part of a name");
    }
    int code = gpu_layers_of(cli, args->gpu_layers, &o->gpu_layers);
    if (code) {
        return code;
    }
    *cache = cache_dir("vulkan");
    o->backend = args->backend;
    o->device = args->device;
    o->n_ctx = (uint32_t)args->ctx;
    o->n_batch = (uint32_t)args->batch;
    o->threads = (int)args->threads;
    o->threads_batch = (int)args->threads_batch;
    o->pin = args->pin;
    o->cpu_level = args->cpu_level;
    o->fuse = !args->no_fuse;
    o->vk_disable = args->vk_disable;
    o->cache_dir = *cache;
    o->log = cli_log;
    o->progress = cli_progress;
    o->user = cli;
    return CLI_DONE;
}

void cli_engine_options_free(char **cache)
{
    free(*cache);
    *cache = NULL;
}

int cli_open_engine(struct cli *cli, const lk_model *model, const struct cli_engine_args *args,
                    uint32_t n_ctx, lk_engine **engine)
{
    lk_engine_options o;
    lk_error err;
    char *cache;
    int code = cli_engine_options_from(cli, args, &o, &cache);
    if (!code) {
        o.n_ctx = n_ctx ? n_ctx : o.n_ctx;
        lk_status status = lk_engine_open(model, &o, engine, &err);
        cli_progress_end(cli);
        cli_engine_options_free(&cache);
        code = status ? cli_error(cli, &err) : CLI_DONE;
    }
    return code;
}

int cli_tokens(struct cli *cli, const lk_tokenizer *t, const char *text, size_t len, unsigned flags,
               int32_t **ids, size_t *n)
{
    lk_error err;
    size_t cap = len / 2 + 64;
    for (*ids = NULL;; cap = *n) {
        free(*ids);
        *ids = malloc(cap * sizeof **ids);
        if (!*ids) {
            return cli_fail(cli, CLI_NOMEM, "out of memory: %zu tokens", cap);
        }
        lk_status status = lk_tokenize(t, text, len, flags, *ids, cap, n, &err);
        if (status == LK_OK) {
            return CLI_DONE;
        }
        if (status != LK_E_FULL) {
            free(*ids);
            *ids = NULL;
            return cli_error(cli, &err);
        }
    }
}
