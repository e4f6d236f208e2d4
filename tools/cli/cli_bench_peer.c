/* SPDX-License-Identifier: Apache-2.0
 *
 * Peer: runs llama-bench or llama-server on the same model, numbers of tokens and threads, and
 * reads its own figures. llama-bench is run anew for each figure; a llama-server is started once
 * and asked over HTTP on this machine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/cli/cli_bench.h"

enum { START_SECONDS = 300, POLL_MS = 100, MAX_ARGS = 24 };

int cli_peer_is(const struct cli *cli, const char *path, struct cli_peer *peer)
{
    const char *slash = strrchr(path, '/');
    peer->path = path;
    peer->name = slash ? slash + 1 : path;
    peer->server = strncmp(peer->name, "llama-server", 12) == 0;
    if (!peer->server && strncmp(peer->name, "llama-bench", 11) != 0) {
        return cli_fail(cli, CLI_USAGE,
                        "--peer: '%s', expected a program named llama-bench or llama-server", path);
    }
    return access(path, X_OK) == 0
               ? CLI_DONE
               : cli_fail(cli, CLI_USAGE, "--peer: %s: %s", path, strerror(errno));
}

/* ---- what it says ---- */

/* The value of "key": in JSON, or NULL. Keys are looked for wherever they stand. */
static const char *json_value(const char *text, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *p = strstr(text, quoted);
    if (!p) {
        return NULL;
    }
    p += strlen(quoted);
    p += strspn(p, " \t\r\n");
    if (*p++ != ':') {
        return NULL;
    }
    return p + strspn(p, " \t\r\n");
}

static bool json_number(const char *text, const char *key, double *out)
{
    const char *p = json_value(text, key);
    char *end;
    *out = p ? strtod(p, &end) : 0.0;
    return p && end != p && *out > 0.0;
}

/* A string or a number as text; "" when there is none. */
static void json_text(const char *text, const char *key, char *out, size_t cap)
{
    const char *p = json_value(text, key);
    size_t n = p ? strcspn(p + (*p == '"'), "\",}\n") : 0;
    snprintf(out, cap, "%.*s", (int)n, p ? p + (*p == '"') : "");
}

static int no_figure(const struct cli *cli, const struct cli_peer *peer, const char *key,
                     const char *text)
{
    return cli_fail(cli, CLI_INPUT, "%s: no \"%s\" in its answer: %.200s", peer->path, key,
                    text && *text ? text : "(empty)");
}

/* ---- processes ---- */

/* Starts argv with stdout on fd `out` and stderr nowhere (unless we are verbose). */
static pid_t start(const struct cli *cli, char *const argv[], int out)
{
    fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        cli_child_begin(parent);
        int nowhere = open("/dev/null", O_RDWR);
        dup2(nowhere, STDIN_FILENO);
        dup2(out < 0 ? nowhere : out, STDOUT_FILENO);
        if (!cli->verbose) {
            dup2(nowhere, STDERR_FILENO);
        }
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* How it ended, as waitpid tells it; -1: not known. */
static int wait_for(pid_t pid)
{
    int state;
    while (waitpid(pid, &state, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return state;
}

/* " with 3" or " by signal 4 (Illegal instruction)". */
static void ending(int state, char *out, size_t n)
{
    if (state != -1 && WIFSIGNALED(state)) {
        snprintf(out, n, " by signal %d (%s)", WTERMSIG(state), strsignal(WTERMSIG(state)));
    } else {
        snprintf(out, n, " with %d", state != -1 && WIFEXITED(state) ? WEXITSTATUS(state) : -1);
    }
}

struct argv {
    char *arg[MAX_ARGS];
    char number[MAX_ARGS][24];
    int n;
};

static void add(struct argv *a, const char *name, const char *value)
{
    a->arg[a->n++] = (char *)name;
    if (value) {
        a->arg[a->n++] = (char *)value;
    }
}

static void add_number(struct argv *a, const char *name, int64_t value)
{
    char *text = a->number[a->n];
    snprintf(text, sizeof a->number[0], "%" PRId64, value);
    add(a, name, text);
}

/* ---- llama-bench ---- */

static int read_all(const struct cli *cli, int fd, struct cli_buffer *out)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && !cli_append(out, piece, (size_t)n)) {
            return cli_fail(cli, CLI_NOMEM, "out of memory");
        }
    }
    return cli_append(out, "", 1) ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory");
}

static int run_bench(struct cli *cli, struct cli_peer *peer, bool decode, double *rate)
{
    struct argv a = {.n = 0};
    struct cli_buffer text = {0};
    int threads = decode ? peer->threads : peer->threads_batch, ends[2];
    add(&a, peer->path, NULL);
    add(&a, "-m", peer->model);
    add_number(&a, "-p", decode ? 0 : peer->n_prompt);
    add_number(&a, "-n", decode ? peer->n_gen : 0);
    if (peer->depth > 0) {
        add_number(&a, "-d", peer->depth);
    }
    add(&a, "-r", "1");
    add(&a, "-o", "json");
    add_number(&a, "-ngl", peer->gpu_layers);
    if (threads > 0) {
        add_number(&a, "-t", threads);
    }
    if (pipe(ends)) {
        return cli_fail(cli, CLI_INPUT, "%s: %s", peer->path, strerror(errno));
    }
    pid_t pid = start(cli, a.arg, ends[1]);
    close(ends[1]);
    int code = read_all(cli, ends[0], &text);
    close(ends[0]);
    int state = pid > 0 ? wait_for(pid) : -1;
    if (!code && cli_interrupted()) {
        code = CLI_INTERRUPTED;
    }
    if (!code && state != 0) {
        char how[64];
        ending(state, how, sizeof how);
        code = cli_fail(cli, CLI_INPUT, "%s ended%s; -v shows what it says", peer->path, how);
    }
    if (!code && !json_number(text.data, "avg_ts", rate)) {
        code = no_figure(cli, peer, "avg_ts", text.data);
    }
    if (!code) {
        char commit[48], number[24], backends[48];
        json_text(text.data, "build_commit", commit, sizeof commit);
        json_text(text.data, "build_number", number, sizeof number);
        json_text(text.data, "backends", backends, sizeof backends);
        snprintf(peer->build, sizeof peer->build, "%s (%s) %s", number, commit, backends);
    }
    cli_buffer_free(&text);
    return code;
}

/* ---- llama-server ---- */

static int connect_to(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A port nobody listens on now; 0: none. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t n = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &n) == 0) {
        port = ntohs(at.sin_port);
    }
    if (fd >= 0) {
        close(fd);
    }
    return port;
}

/* Sends a request, the answer's body goes to `out` (0-terminated). The HTTP status; 0: no answer.
 */
static int http(const struct cli *cli, int port, const char *method, const char *path,
                const struct cli_buffer *body, struct cli_buffer *out)
{
    char head[256];
    size_t n_body = body ? body->n : 0;
    int status = 0, fd = connect_to(port);
    int n = snprintf(head, sizeof head,
                     "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                     method, path, n_body);
    if (fd < 0) {
        return 0;
    }
    bool sent = send(fd, head, (size_t)n, MSG_NOSIGNAL) == n;
    for (size_t at = 0; sent && at < n_body;) {
        ssize_t w = send(fd, body->data + at, n_body - at, MSG_NOSIGNAL);
        sent = w > 0;
        at += sent ? (size_t)w : 0;
    }
    struct cli_buffer all = {0};
    if (sent && read_all(cli, fd, &all) == CLI_DONE &&
        sscanf(all.data, "HTTP/%*d.%*d %d", &status) == 1) {
        const char *text = strstr(all.data, "\r\n\r\n");
        text = text ? text + 4 : "";
        status = cli_append(out, text, strlen(text) + 1) ? status : 0;
    }
    cli_buffer_free(&all);
    close(fd);
    return status;
}

static int wait_ready(struct cli *cli, struct cli_peer *peer)
{
    double from = clock_now();
    for (;;) {
        struct cli_buffer out = {0};
        int state, status = http(cli, peer->port, "GET", "/health", NULL, &out);
        cli_buffer_free(&out);
        if (status == 200) {
            return CLI_DONE;
        }
        if (cli_interrupted()) {
            return CLI_INTERRUPTED;
        }
        if (waitpid(peer->pid, &state, WNOHANG) == peer->pid) {
            char how[64];
            peer->pid = 0;
            ending(state, how, sizeof how);
            return cli_fail(cli, CLI_INPUT, "%s ended%s before it answered; -v shows what it says",
                            peer->path, how);
        }
        if (clock_now() - from > START_SECONDS) {
            return cli_fail(cli, CLI_INPUT, "%s does not answer after %d seconds", peer->path,
                            START_SECONDS);
        }
        usleep(POLL_MS * 1000);
    }
}

int cli_peer_start(struct cli *cli, struct cli_peer *peer)
{
    if (!peer->server) {
        return CLI_DONE;
    }
    struct argv a = {.n = 0};
    int64_t most = peer->n_prompt > peer->n_gen ? peer->n_prompt : peer->n_gen;
    peer->port = free_port();
    add(&a, peer->path, NULL);
    add(&a, "-m", peer->model);
    add(&a, "--host", "127.0.0.1");
    add_number(&a, "--port", peer->port);
    add(&a, "-np", "1");
    add_number(&a, "-c", most + 64);
    add_number(&a, "-ngl", peer->gpu_layers);
    if (peer->threads > 0) {
        add_number(&a, "-t", peer->threads);
        add_number(&a, "-tb", peer->threads_batch);
    }
    peer->pid = (int)start(cli, a.arg, -1);
    if (peer->pid < 0) {
        peer->pid = 0;
        return cli_fail(cli, CLI_INPUT, "%s: %s", peer->path, strerror(errno));
    }
    int code = wait_ready(cli, peer);
    struct cli_buffer out = {0};
    if (!code && http(cli, peer->port, "GET", "/props", NULL, &out) == 200) {
        json_text(out.data, "build_info", peer->build, sizeof peer->build);
    }
    cli_buffer_free(&out);
    return code;
}

static bool append_text(struct cli_buffer *b, const char *text)
{
    return cli_append(b, text, strlen(text));
}

static int ask_server(struct cli *cli, struct cli_peer *peer, bool decode, double *rate)
{
    struct cli_buffer body = {0}, out = {0};
    char text[128];
    int64_t n = decode ? 1 : peer->n_prompt;
    bool ok = append_text(&body, "{\"prompt\":[");
    for (int64_t i = 0; i < n && ok; i++) {
        snprintf(text, sizeof text, "%s%d", i ? "," : "", peer->ids[i]);
        ok = append_text(&body, text);
    }
    snprintf(text, sizeof text,
             "],\"n_predict\":%" PRId64
             ",\"cache_prompt\":false,\"ignore_eos\":true,\"temperature\":0}",
             decode ? peer->n_gen : 1);
    if (!ok || !append_text(&body, text)) {
        cli_buffer_free(&body);
        return cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    const char *key = decode ? "predicted_per_second" : "prompt_per_second";
    int status = http(cli, peer->port, "POST", "/completion", &body, &out), code = CLI_DONE;
    if (cli_interrupted()) {
        code = CLI_INTERRUPTED;
    } else if (status != 200) {
        code = cli_fail(cli, CLI_INPUT, "%s answers /completion with %d: %.200s", peer->path,
                        status, out.data ? out.data : "");
    } else if (!json_number(out.data, key, rate)) {
        code = no_figure(cli, peer, key, out.data);
    }
    cli_buffer_free(&body);
    cli_buffer_free(&out);
    return code;
}

int cli_peer_run(struct cli *cli, struct cli_peer *peer, bool decode, double *rate)
{
    return peer->server ? ask_server(cli, peer, decode, rate) : run_bench(cli, peer, decode, rate);
}

void cli_peer_stop(struct cli_peer *peer)
{
    if (peer->pid > 0) {
        kill(peer->pid, SIGTERM);
        wait_for(peer->pid);
        peer->pid = 0;
    }
}
