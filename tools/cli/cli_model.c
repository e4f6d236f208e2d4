/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: from the word MODEL of a command line to a file, an open model, tokenizer, engine. The
 * script pull fetches: `pull WORD FILE` makes FILE or says why not.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli_store.h"

#define THIS(field) offsetof(struct cli_engine_args, field)
#define BACKENDS    "cpu scalar ref vulkan"

const struct cli_option cli_backend_options[] = {
    {"backend", 'b', CLI_STRING, "NAME", THIS(backend), "auto", .choices = "auto " BACKENDS,
     .help = "what computes", .group = "where it computes"},
    CLI_END,
};

const struct cli_option cli_device_options[] = {
    {"device", 0, CLI_STRING, "D", THIS(device),
     .help = "Vulkan device: its number or part of its name; several, separated by commas, share "
             "the layers"},
    {"cpu-level", 0, CLI_STRING, "LEVEL", THIS(cpu_level), "auto",
     .choices = "auto generic avx2 avx-vnni avx512 amx neon dotprod i8mm",
     .help = "CPU instructions used"},
    {"vk-disable", 0, CLI_STRING, "LIST", THIS(vk_disable),
     .help = "Vulkan features not to use, separated by commas"},
    CLI_END,
};

const struct cli_option cli_layer_options[] = {
    {"gpu-layers", 0, CLI_STRING, "N", THIS(gpu_layers), "auto",
     .help = "layers on the GPU: auto, all or a number"},
    {"cpu-moe", 0, CLI_STRING, "N", THIS(cpu_moe), "auto",
     .help = "layers whose experts stay in RAM and run on the CPU: auto, all or a number"},
    {"place", 0, CLI_STRING, "LIST", THIS(place),
     .help = "which layers run where, instead of --backend, --device, --gpu-layers and --cpu-moe: "
             "'cpu:0-3,vulkan 0:4-11,vulkan 1:12-15,ffn:4-7'"},
    {"batch", 0, CLI_INT, "N", THIS(batch), "0", 0, 8192,
     .help = "tokens that a device computes at once; 0: 512, and 2048 on a graphics card that has "
             "all layers and half of its memory left (changes no result)"},
    {"mmap-pack", 0, CLI_FLAG, NULL, THIS(mmap_pack),
     .help =
         "keep the weights that the CPU computes with, in its own layout, in files of the cache "
         "and map them: later starts take seconds, and what is not used, such as experts, "
         "needs no memory (takes disk space as the model does; changes no result)"},
    CLI_END,
};

const struct cli_option cli_checkpoint_options[] = {
    {"checkpoints", 0, CLI_INT, "MB", THIS(checkpoints), "2048", 0, 1 << 24,
     .help = "memory for recurrent states (Qwen 3.5 and the like) as they were in mid-text, so "
             "that a text that is cut is not read again from its beginning (changes no result)"},
    CLI_END,
};

const struct cli_option cli_compute_options[] = {
    {"ctx", 'c', CLI_INT, "N", THIS(ctx), "0", 0, 1 << 24,
     .help = "tokens of context; 0: what the model was made for, at most 4096"},
    {"kv", 0, CLI_STRING, "CELLS", THIS(kv), "k12v8", .choices = "k12v8 i8",
     .help = "bits that the cache keeps of a key and a value: 12 and 8, or 8 each, for less "
             "memory (other logits)"},
    {"threads", 't', CLI_INT, "N", THIS(threads), "0", 0, 1024,
     .help = "CPU threads; 0: the physical cores we may use; without --pin at most the CPUs we "
             "may use"},
    {"threads-batch", 0, CLI_INT, "N", THIS(threads_batch), "0", 0, 1024,
     .help = "CPU threads for the prompt; 0: as --threads"},
    {"pin", 0, CLI_FLAG, NULL, THIS(pin), .help = "pin CPU threads to cores"},
    {"no-fuse", 0, CLI_FLAG, NULL, THIS(no_fuse),
     .help = "run every operation alone (changes no result)"},
    CLI_END,
};

/* ---- from a word to a file ---- */

static int unknown_name(struct cli *cli, const char *name)
{
    struct cli_suggestion s = cli_suggest_for(name);
    char known[512] = "";
    char **names;
    size_t n;
    if (cli_store_names(cli, &names, &n) == CLI_DONE) {
        for (size_t i = 0; i < n; i++) {
            cli_suggest(&s, names[i]);
        }
        cli_store_names_free(names, n);
    }
    for (size_t i = 0; cli_known_at(i); i++) {
        size_t used = strlen(known);
        cli_suggest(&s, cli_known_at(i)->name);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                 cli_known_at(i)->name);
    }
    return cli_fail(cli, CLI_INPUT,
                    "unknown model '%s'%s (known names: %s; a path has a '/' or ends in .gguf)",
                    name, cli_did_you_mean(&s), known);
}

/* The script pull makes *path the file that the word means, or says why not. */
static int fetch(struct cli *cli, const char *word, const char *sha256, const char *path)
{
    const struct cli_known *known = cli_known(word);
    char *script = cli_pull_script(), *argv[8] = {"python3", script}, mb[32] = "";
    int n = 2;
    if (!script) {
        return cli_fail(cli, CLI_INPUT,
                        "%s is not there, and neither is the script pull that fetches it", path);
    }
    if (known) {
        snprintf(mb, sizeof mb, " (%.0f MB)", (double)known->download / 1e6);
    }
    cli_note(cli, "fetching %s%s to %s", word, mb, path);
    if (cli->quiet) {
        argv[n++] = "--quiet";
    }
    if (sha256) {
        argv[n++] = "--sha256";
        argv[n++] = (char *)sha256;
    }
    argv[n++] = (char *)word;
    argv[n++] = (char *)path;
    int code = cli_spawn(argv);
    free(script);
    if (code == 127) {
        return cli_fail(cli, CLI_INPUT,
                        "python3, which fetches models, is not there: install python3 and "
                        "python3-pip, or put the file at %s",
                        path);
    }
    return code == CLI_DONE || code == CLI_INTERRUPTED ? code : CLI_INPUT; /* it has said why */
}

/* The source in a stamp is what the word means now. */
static bool same_source(const struct cli_stamp *stamp, const char *word)
{
    char *address = cli_is_address(word) ? cli_address_of(word) : cli_join("pypi:", word);
    bool same = address && strcmp(address, stamp->source) == 0;
    free(address);
    return same;
}

int cli_pull_model(struct cli *cli, const char *word, const char *sha256, char **path)
{
    bool address = cli_is_address(word);
    char *name = address ? cli_name_of_address(word) : cli_join(word, "");
    struct cli_stamp stamp;
    *path = NULL;
    if (!name) {
        return cli_fail(cli, CLI_USAGE,
                        "'%s': expected hf:OWNER/REPO/FILE.gguf or an address that ends in one",
                        word);
    }
    if (address && cli_known(name)) {
        int code = cli_fail(cli, CLI_INPUT, "'%s' is a known name: the file at %s can't have it",
                            name, word);
        free(name);
        return code;
    }
    enum cli_stored stored = cli_stored(name, path, &stamp);
    int code = *path ? CLI_DONE : cli_no_cache(cli);
    if (!code && stored == CLI_STORED_NOT && !address && !cli_known(name)) {
        code = unknown_name(cli, name);
    } else if (!code && address &&
               (stored != CLI_STORED_WHOLE || !same_source(&stamp, word) ||
                (sha256 && strcmp(sha256, stamp.sha256) != 0))) {
        code = fetch(cli, word, sha256, *path);
    } else if (!code && stored != CLI_STORED_WHOLE) {
        code = stored == CLI_STORED_IN_DOUBT ? cli_store_read(cli, name, *path, &stamp) : CLI_NO;
        bool again = cli_is_address(stamp.source);
        code = code != CLI_NO ? code
               : again        ? fetch(cli, stamp.source, stamp.sha256, *path)
                              : fetch(cli, name, NULL, *path);
    }
    free(name);
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
    if (!cli_is_address(model) &&
        (strchr(model, '/') || (n >= 5 && strcmp(model + n - 5, ".gguf") == 0))) {
        *path = cli_join(model, "");
        return *path ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    return cli_pull_model(cli, model, NULL, path);
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
    if (lk_tokenizer_open(model, tokenizer, &err)) {
        return cli_error(cli, &err);
    }
    for (size_t i = 0; i < lk_tokenizer_n_warnings(*tokenizer); i++) {
        cli_log(cli, LK_LOG_WARN, lk_tokenizer_warning(*tokenizer, i));
    }
    return CLI_DONE;
}

/* The value of an option that counts layers: `none` where it was not given or is auto, `all`, or a
 * number. */
static int layers_of(const struct cli *cli, const char *option, const char *text, int none, int all,
                     int *out)
{
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;
    if (!text || strcmp(text, "auto") == 0) {
        *out = none;
    } else if (strcmp(text, "all") == 0) {
        *out = all;
    } else if (end == text || *end || n < 0 || n > 1 << 20) {
        return cli_fail(cli, CLI_USAGE, "--%s: '%s', expected auto, all or a number", option, text);
    } else {
        *out = (int)n;
    }
    return CLI_DONE;
}

int cli_check_place(struct cli *cli, const char *option, const char *text)
{
    if (strchr(text, ':') || cli_has_word(BACKENDS, text)) {
        return CLI_DONE;
    }
    return cli_fail(cli, CLI_USAGE,
                    "%s: '%s', expected one of: " BACKENDS ", or a placement as 'cpu:0-3,...'",
                    option, text);
}

int cli_engine_options_from(struct cli *cli, const struct cli_engine_args *args,
                            lk_engine_options *o, char **cache)
{
    *o = lk_engine_options_default();
    *cache = NULL;
    if (args->device && !*args->device) {
        return cli_fail(cli, CLI_USAGE, "--device: '', expected a number or a part of a name");
    }
    int code = layers_of(cli, "gpu-layers", args->gpu_layers, LK_GPU_LAYERS_AUTO, LK_GPU_LAYERS_ALL,
                         &o->gpu_layers);
    code = code ? code
                : layers_of(cli, "cpu-moe", args->cpu_moe, LK_CPU_EXPERTS_AUTO, INT_MAX,
                            &o->cpu_experts);
    if (code) {
        return code;
    }
    *cache = cli_engine_cache();
    if (args->mmap_pack && !*cache) {
        return cli_fail(cli, CLI_INPUT,
                        "--mmap-pack: there is no place for packed weights: set HOME or "
                        "XDG_CACHE_HOME to an absolute path");
    }
    o->mmap_pack = args->mmap_pack;
    o->backend = args->backend ? args->backend : o->backend; /* what a command has no option for */
    o->device = args->device;
    o->placement = args->place;
    o->kv = args->kv;
    o->checkpoint_bytes = (uint64_t)args->checkpoints << 20;
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
