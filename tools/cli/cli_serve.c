/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep serve: the options of the server; what they mean is tools/server's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/cli.h"
#include "tools/server/serve.h"

enum { MOST_MODELS = 32 };

struct arguments {
    struct cli_engine_args engine; /* first: the tables of cli.h write here */
    const char *host, *unix_path, *key_file, *prefix_dir, *template_file;
    struct cli_sampling_args sampling;
    int64_t port, cache_tokens, running, queue, step_tokens, prefix_mb, max_loaded, answers;
    int64_t max_body_mb, connections;
    double step_ms, prefix_save, unload, grace;
    struct cli_list origins, hosts, check;
    double check_unload;
    bool late, no_prefixes, keep_billing;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"host", 0, CLI_STRING, "ADDRESS", THIS(host), "127.0.0.1",
     .help = "where to listen; 0.0.0.0 for the whole network, which needs --api-key-file"},
    {"port", 0, CLI_INT, "N", THIS(port), "8080", 0, 65535,
     .help = "port to listen at; 0: any that is free"},
    {"unix", 0, CLI_STRING, "PATH", THIS(unix_path), .help = "listen at a socket file instead"},
    {"api-key-file", 0, CLI_STRING, "FILE", THIS(key_file),
     .help = "clients need one of the keys in FILE, one a line"},
    {"cors", 0, CLI_LIST, "ORIGIN", THIS(origins),
     .help = "pages from ORIGIN, as https://example.org, may ask in a browser; * for all"},
    {"allow-host", 0, CLI_LIST, "NAME", THIS(hosts),
     .help = "a name that browsers may know the server by, beside localhost and addresses"},
    {"max-body", 0, CLI_INT, "MB", THIS(max_body_mb), "32", 1, 4096,
     .help = "size of a request at most"},
    {"max-connections", 0, CLI_INT, "N", THIS(connections), "16384", 1, 1 << 20,
     .help = "connections at the same time, at most"},
    {"running", 0, CLI_INT, "N", THIS(running), "64", 1, 4096, .group = "how requests are answered",
     .help = "answers written at the same time, at most (changes no answer)"},
    {"cache-tokens", 0, CLI_INT, "N", THIS(cache_tokens), "0", 0, 1 << 30,
     .help = "tokens that the cache holds, of all answers and of what is kept for later ones; 0: "
             "four full contexts"},
    {"queue", 0, CLI_INT, "N", THIS(queue), "256", 1, 1 << 20,
     .help = "requests that wait, at most; the next one is refused"},
    {"step-ms", 0, CLI_FLOAT, "MS", THIS(step_ms), "50", 1, 1e6,
     .help = "how long a step may take: prompts get what answers leave of it"},
    {"step-tokens", 0, CLI_INT, "N", THIS(step_tokens), "0", 0, 1 << 20,
     .help = "tokens of a step; 0: as --step-ms says"},
    {"no-prefixes", 0, CLI_FLAG, NULL, THIS(no_prefixes),
     .help = "do not keep what prompts have in common (changes no answer)"},
    {"prefix-dir", 0, CLI_STRING, "DIR", THIS(prefix_dir),
     .help = "keep prefixes that lose their room in DIR, and at the end what the cache holds"},
    {"prefix-mb", 0, CLI_INT, "MB", THIS(prefix_mb), "4096", 1, 1 << 24,
     .help = "size of --prefix-dir at most"},
    {"prefix-save", 0, CLI_FLOAT, "S", THIS(prefix_save), "10", 0, 1e6,
     .help = "at the end, and when a model is closed, write to --prefix-dir for S seconds at most"},
    {"check-on", 0, CLI_LIST, "BACKEND", THIS(check),
     .help = "a request may name BACKEND, which then makes its answer: cpu, scalar, vulkan or a "
             "placement (default cpu)"},
    {"check-unload", 0, CLI_FLOAT, "S", THIS(check_unload), "60", 1, 1e9,
     .help = "close what --check-on opened when nobody asked for it in S seconds"},
    {"answers", 0, CLI_INT, "N", THIS(answers), "16", 1, 1024,
     .help = "the most that a request may have for n"},
    {"keep-billing", 0, CLI_FLAG, NULL, THIS(keep_billing),
     .help = "leave the number in the first line of Claude Code's system text, another one with "
             "each request, which else is made 00000 so that prompts begin alike"},
    {"template", 0, CLI_STRING, "FILE", THIS(template_file),
     .help = "use the chat template in FILE instead of the models' own"},
    {"late", 0, CLI_FLAG, NULL, THIS(late), .group = "several models",
     .help = "open a model when it is first asked for"},
    {"max-loaded", 0, CLI_INT, "N", THIS(max_loaded), "0", 0, MOST_MODELS,
     .help = "models open at the same time, at most; 0: all"},
    {"unload", 0, CLI_FLOAT, "S", THIS(unload), "0", 0, 1e9,
     .help = "close a model that nobody asked for in S seconds; 0: never"},
    {"grace", 0, CLI_FLOAT, "S", THIS(grace), "30", 0, 1e6,
     .help = "at the end, give answers that are being written S seconds"},
    CLI_SAMPLING_OPTIONS(THIS(sampling),
                         "choice of tokens where neither the request nor the model says", "0.8",
                         "40", "0.95", "0.05"),
    CLI_END,
};

/* ---- models ---- */

struct models {
    struct serve_model model[MOST_MODELS];
    char *name[MOST_MODELS], *path[MOST_MODELS];
    size_t n;
};

/* The name that clients use: NAME of NAME=MODEL, or the word, or a file's name without ".gguf". */
static char *name_of(const char *word, const char **model)
{
    const char *equals = strchr(word, '='), *slash;
    size_t len;
    *model = word;
    if (equals && equals != word && !memchr(word, '/', (size_t)(equals - word))) {
        *model = equals + 1;
        return strndup(word, (size_t)(equals - word));
    }
    slash = strrchr(word, '/');
    word = slash ? slash + 1 : word;
    len = strlen(word);
    return strndup(word, len > 5 && strcmp(word + len - 5, ".gguf") == 0 ? len - 5 : len);
}

static int add_model(struct cli *cli, struct models *m, const char *word,
                     const lk_engine_options *engine)
{
    const char *model;
    size_t i = m->n;
    if (i == MOST_MODELS) {
        return cli_fail(cli, CLI_USAGE, "too many models, expected at most %d", MOST_MODELS);
    }
    m->name[i] = name_of(word, &model);
    if (!m->name[i]) {
        return cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    m->n++;
    for (size_t k = 0; k < i; k++) {
        if (strcmp(m->name[k], m->name[i]) == 0) {
            return cli_fail(cli, CLI_USAGE,
                            "two models have the name '%s': give one another with NAME=MODEL",
                            m->name[i]);
        }
    }
    int code = cli_resolve(cli, model, &m->path[i]);
    m->model[i] = (struct serve_model){.name = m->name[i], .path = m->path[i], .engine = *engine};
    return code;
}

/* ---- all of it ---- */

struct told {
    struct cli *cli;
    const struct arguments *args;
};

static void on_started(void *user, const char *url)
{
    const struct told *t = user;
    cli_note(t->cli, "listening at %s", url);
    if (!t->cli->quiet) {
        printf("%s\n", url);
        fflush(stdout);
    }
}

static void on_log(void *user, lk_log_level level, const char *line)
{
    const struct told *t = user;
    cli_log(t->cli, level == LK_LOG_INFO ? LK_LOG_WARN : level, line);
}

static void preset(void *user, const lk_model *model, lk_sampler_options *sampler)
{
    static const char before[] = "general.sampling.";
    const struct told *t = user;
    bool any = false;
    for (size_t i = 0; i < lk_model_n_meta(model) && !any; i++) {
        lk_meta m;
        lk_model_meta(model, i, &m);
        any = m.key_len > sizeof before - 1 && memcmp(m.key, before, sizeof before - 1) == 0;
    }
    if (any) {
        (void)cli_preset(t->cli, model, sampler);
    }
}

/* The descriptor that systemd listens at for us, or -1. */
static int passed_fd(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    return pid && fds && strtol(pid, NULL, 10) == (long)getpid() && strtol(fds, NULL, 10) >= 1 ? 3
                                                                                               : -1;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

/* Whether a browser can name it so: '*', 'null', or a scheme and a host, with nothing behind them.
 */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    bool named = host && host > text && host[3] && !strpbrk(host + 3, "/?#@ ");
    return strcmp(text, "*") == 0 || strcmp(text, "null") == 0 || named;
}

/* What would be found out only when the models are loaded, or never. */
static int check_arguments(struct cli *cli, const struct arguments *a)
{
    struct stat folder;
    for (size_t i = 0; i < a->origins.n; i++) {
        if (!is_origin(a->origins.item[i])) {
            return cli_fail(
                cli, CLI_USAGE,
                "--cors %s: expected *, null or an origin as https://example.org, which "
                "ends with its host or port",
                a->origins.item[i]);
        }
    }
    for (size_t i = 0; i < a->check.n; i++) {
        int code = cli_check_place(cli, "--check-on", a->check.item[i]);
        if (code) {
            return code;
        }
    }
    if (a->prefix_dir && stat(a->prefix_dir, &folder) == 0 && !S_ISDIR(folder.st_mode)) {
        return cli_fail(cli, CLI_USAGE, "--prefix-dir %s: not a folder", a->prefix_dir);
    }
    if (!a->unix_path && !a->key_file && !is_loopback(a->host)) {
        return cli_fail(cli, CLI_USAGE,
                        "--host %s: others can reach this, so clients need a key: give "
                        "--api-key-file FILE",
                        a->host);
    }
    return CLI_DONE;
}

static void fill(struct serve_options *o, const struct arguments *a, const struct http_keys *keys)
{
    o->http = http_options_default();
    o->http.host = a->host;
    o->http.port = (int)a->port;
    o->http.unix_path = a->unix_path;
    o->http.listen_fd = passed_fd();
    o->http.max_body = (size_t)a->max_body_mb << 20;
    o->http.max_connections = (int)a->connections;
    o->http.keys = (const char *const *)keys->key;
    o->http.n_keys = keys->n;
    o->http.origins = a->origins.item;
    o->http.n_origins = a->origins.n;
    o->http.hosts = a->hosts.item;
    o->http.n_hosts = a->hosts.n;
    o->scheduler = lk_scheduler_options_default();
    o->scheduler.n_running = (uint32_t)a->running;
    o->scheduler.n_queue = (uint32_t)a->queue;
    o->scheduler.n_step_tokens = (uint32_t)a->step_tokens;
    o->scheduler.step_ms = a->step_ms;
    o->scheduler.keep_prefixes = !a->no_prefixes;
    o->scheduler.prefix_dir = a->prefix_dir;
    o->scheduler.prefix_dir_max = (uint64_t)a->prefix_mb << 20;
    o->prefix_save_s = a->prefix_save;
    o->sampler = cli_sampler_options(&a->sampling);
    o->unload_s = a->unload;
    o->max_loaded = (uint32_t)a->max_loaded;
    o->load_late = a->late;
    static const char *const cpu[] = {"cpu"};
    o->check = a->check.n ? a->check.item : cpu;
    o->n_check = a->check.n ? a->check.n : 1;
    o->check_unload_s = a->check_unload;
    o->max_answers = (uint32_t)a->answers;
    o->keep_billing = a->keep_billing;
    o->grace_s = a->grace;
}

static int serve(struct cli *cli, const struct arguments *a, struct models *m,
                 struct http_keys *keys)
{
    struct told told = {cli, a};
    struct serve_options o = {.preset = preset,
                              .started = on_started,
                              .log = on_log,
                              .user = &told};
    lk_engine_options engine;
    struct cli_buffer template = {0};
    char *cache = NULL;
    lk_error err = {0};
    int code = cli_engine_options_from(cli, &a->engine, &engine, &cache);
    engine.n_sessions = 4;
    engine.cache_tokens = (uint32_t)a->cache_tokens;
    for (int i = 0; i < cli->argc && !code; i++) {
        code = add_model(cli, m, cli->argv[i], &engine);
    }
    if (!code && a->key_file) {
        code = http_keys_read(a->key_file, keys, &err) ? cli_error(cli, &err) : CLI_DONE;
    }
    if (!code && a->template_file) {
        code = cli_read(cli, a->template_file, &template);
        for (size_t i = 0; i < m->n; i++) {
            m->model[i].template_text = template.data ? template.data : "";
            m->model[i].template_len = template.n;
        }
    }
    if (!code) {
        fill(&o, a, keys);
        o.http.log = on_log;
        o.http.user = &told;
        o.model = m->model;
        o.n_models = m->n;
        o.cache_dir = cache;
        code = serve_run(&o, &err) ? cli_error(cli, &err) : CLI_DONE;
    }
    cli_buffer_free(&template);
    cli_engine_options_free(&cache);
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *a = arguments;
    static struct models m;
    struct http_keys keys = {0};
    if (!serve_is_built()) {
        return cli_fail(cli, CLI_USAGE,
                        "this lockstep was built without a server: install libevent-dev and "
                        "libjansson-dev and build it anew");
    }
    int code = check_arguments(cli, a);
    if (!code) {
        code = serve(cli, a, &m, &keys);
    }
    for (size_t i = 0; i < m.n; i++) {
        free(m.name[i]);
        free(m.path[i]);
    }
    http_keys_free(&keys);
    return code;
}

const struct cli_command cli_serve = {
    .name = "serve",
    .usage = "MODEL...",
    .summary = "answer requests over HTTP, as OpenAI's, Anthropic's and Ollama's servers do",
    .details = "Clients get the same bytes alone or in a crowd. A page to chat with is at /.\n\n"
               "Several models may be served; NAME=MODEL gives one the name that clients use.\n\n"
               "Ends with SIGTERM or SIGINT, once the answers that are being written are sent.",
    .examples =
        "lockstep serve smollm2   at http://127.0.0.1:8080\n"
        "lockstep serve small=smollm2 gemma3-270m --max-loaded 1   two names, one at a time\n"
        "lockstep serve smollm2 --host 0.0.0.0 --api-key-file keys   for others too",
    .min_args = 1,
    .max_args = -1,
    .words = CLI_WORDS_MODELS,
    .args_size = sizeof(struct arguments),
    .options = {options, cli_backend_options, cli_device_options, cli_layer_options,
                cli_compute_options, cli_checkpoint_options},
    .run = run,
};
