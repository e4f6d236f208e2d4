/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold: see cold.h. What files there are is kept in memory, with their ids: a prefix is found by
 * comparing them.
 */
#include "serve/cold.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "engine/session_file.h"
#include "serve/cold_write.h"

enum {
    BLOCK = 64,
    NAME_BYTES = 16, /* of the digest */
    LONG = 1024      /* tokens: worth a file, though nobody used it */
};
#define SUFFIX      ".prefix"
#define FIRST_SPEED 3e5 /* bytes a millisecond, until one was read */

struct file {
    char name[2 * NAME_BYTES + sizeof SUFFIX];
    uint64_t salt;
    int32_t *ids; /* owned, [n] */
    size_t n;
    uint64_t n_bytes, used; /* used: rises */
    uint64_t write;         /* it is on its way: the tag of that; 0: it is there */
};

/* Which prefixes are written. */
enum mode {
    LEAVING, /* those that leave: one a step of those that are worth it, while nobody waits */
    WORTH,   /* all that are worth it, */
    FITTING, /* all for which no other has to be deleted, while there is time */
};

struct cold {
    lk_engine *engine;
    uint8_t identity[32]; /* of the engine's model */
    char *folder, *path;  /* path: room for the folder and a name */
    size_t path_cap;
    uint64_t max, n_bytes, clock, n_written; /* n_written: the last tag */
    struct file *file;
    size_t n_files, cap_files;
    double bytes_per_ms;
    struct lk_log log;
    struct cold_counts counts;
    bool wrote; /* in this step */
    enum mode mode;
    double until;        /* of modes but LEAVING: when they end */
    uint64_t saved_from; /* and what no file is that they may delete: used from there on */
    struct cold_writer writer;
};

static const char *path_of(struct cold *c, const char *name)
{
    snprintf(c->path, c->path_cap, "%s/%s", c->folder, name);
    return c->path;
}

/* The name of what would be in a file. */
static void name_of(const struct cold *c, uint64_t salt, const int32_t *ids, size_t n, char *out)
{
    static const char DIGITS[] = "0123456789abcdef";
    uint64_t bytes = lk_session_file_bytes(c->engine, n, sizeof salt);
    uint8_t digest[32];
    lk_sha256 h;
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, c->identity, sizeof c->identity);
    lk_sha256_bytes(&h, &bytes, sizeof bytes);
    lk_sha256_bytes(&h, &salt, sizeof salt);
    lk_sha256_bytes(&h, ids, n * sizeof *ids);
    lk_sha256_final(&h, digest);
    for (int i = 0; i < NAME_BYTES; i++) {
        out[2 * i] = DIGITS[digest[i] >> 4];
        out[2 * i + 1] = DIGITS[digest[i] & 15];
    }
    memcpy(out + 2 * NAME_BYTES, SUFFIX, sizeof SUFFIX);
}

/* ---- what there is ---- */

static void forget(struct cold *c, size_t i)
{
    lk_free(c->file[i].ids);
    c->n_bytes -= c->file[i].n_bytes;
    c->file[i] = c->file[--c->n_files];
}

static void delete_file(struct cold *c, size_t i)
{
    lk_remove(path_of(c, c->file[i].name));
    forget(c, i);
}

/* Deletes those that were not used for longest, until so many bytes more are within the limit.
 * False: that can't be. */
static bool make_room(struct cold *c, uint64_t n_bytes)
{
    while (c->n_bytes + n_bytes > c->max) {
        size_t oldest = c->n_files;
        for (size_t i = 0; i < c->n_files; i++) {
            const struct file *f = &c->file[i];
            bool may = f->write == 0 && (c->mode == LEAVING || f->used < c->saved_from);
            if (may && (oldest == c->n_files || f->used < c->file[oldest].used)) {
                oldest = i;
            }
        }
        if (oldest == c->n_files || c->mode == FITTING) {
            return false;
        }
        delete_file(c, oldest);
    }
    return true;
}

/* Takes the ids. */
static bool note(struct cold *c, const char *name, uint64_t salt, int32_t *ids, size_t n,
                 uint64_t n_bytes)
{
    if (lk_grow(&c->file, &c->cap_files, c->n_files + 1, sizeof *c->file, NULL) != LK_OK) {
        lk_free(ids);
        return false;
    }
    struct file *f = &c->file[c->n_files++];
    *f = (struct file){.salt = salt, .ids = ids, .n = n, .n_bytes = n_bytes, .used = ++c->clock};
    memcpy(f->name, name, sizeof f->name);
    c->n_bytes += n_bytes;
    return true;
}

/* ---- open ---- */

/* One of the folder's files: noted if it is of this model and what its name says. */
static bool look(void *user, const char *name)
{
    struct cold *c = user;
    struct lk_session_glance g;
    char want[sizeof c->file->name];
    uint64_t salt;
    lk_error err;
    size_t len = strlen(name);
    if (len != sizeof want - 1 || strcmp(name + 2 * NAME_BYTES, SUFFIX) != 0 ||
        lk_session_glance(c->engine, path_of(c, name), &g, &err) != LK_OK) {
        return true;
    }
    if (g.n_data == sizeof salt && g.n_tokens > 0 && g.n_tokens % BLOCK == 0) {
        memcpy(&salt, g.data, sizeof salt);
        name_of(c, salt, g.ids, g.n_tokens, want);
        if (strcmp(want, name) == 0 && note(c, name, salt, g.ids, g.n_tokens, g.n_bytes)) {
            c->file[c->n_files - 1].used = (uint64_t)g.modified_ns;
            g.ids = NULL;
        } else if (strcmp(want, name) == 0) {
            g.ids = NULL; /* freed */
        }
    }
    lk_session_glance_free(&g);
    return true;
}

static char *copy_of(const char *text, size_t more)
{
    size_t n = strlen(text) + 1;
    char *copy = lk_alloc(n + more);
    if (copy) {
        memcpy(copy, text, n);
    }
    return copy;
}

lk_status lk_cold_open(lk_engine *engine, const char *path, uint64_t max_bytes, struct lk_log log,
                       struct cold **out, lk_error *err)
{
    struct cold *c = lk_alloc(sizeof *c);
    *out = NULL;
    if (!c) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a folder of prefixes");
    }
    c->engine = engine;
    c->max = max_bytes;
    c->log = log;
    c->bytes_per_ms = FIRST_SPEED;
    c->folder = copy_of(path, 0);
    c->path_cap = strlen(path) + 300;
    c->path = lk_alloc(c->path_cap);
    lk_status status = LK_OK;
    if (!c->folder || !c->path) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: a folder of prefixes");
    }
    if (!status) {
        status = lk_session_file_identity(engine, c->identity, err);
    }
    if (!status) {
        status = lk_make_dirs(path, err);
    }
    if (!status) {
        status = lk_each_entry(path, look, c, err);
    }
    if (status) {
        lk_cold_close(&c);
        return status;
    }
    for (size_t i = 0; i < c->n_files; i++) { /* the clock goes on after the latest of them */
        c->clock = c->file[i].used > c->clock ? c->file[i].used : c->clock;
    }
    (void)make_room(c, 0);
    *out = c;
    return LK_OK;
}

/* What was written is there; with `wait` all is. */
static void settle(struct cold *c, bool wait)
{
    uint64_t tag;
    lk_status status;
    lk_error why;
    while (lk_cold_writer_next(&c->writer, wait, &tag, &status, &why)) {
        size_t i = 0;
        while (c->file[i].write != tag) {
            i++;
        }
        if (status) {
            lk_log_line(&c->log, LK_LOG_WARN, "a prefix is not kept in a file: %s", why.message);
            forget(c, i);
        } else {
            c->file[i].write = 0;
            c->counts.n_writes++;
        }
    }
}

void lk_cold_close(struct cold **cold)
{
    struct cold *c = cold ? *cold : NULL;
    if (c) {
        settle(c, true);
        while (c->n_files > 0) {
            forget(c, 0);
        }
        lk_free(c->file);
        lk_free(c->folder);
        lk_free(c->path);
        lk_free(c);
        *cold = NULL;
    }
}

/* ---- in and out ---- */

/* Whole blocks that a file and ids have in common at their beginning. */
static int common(const struct file *f, uint64_t salt, const int32_t *ids, size_t n)
{
    size_t most = f->n < n ? f->n : n, k = 0;
    while (f->salt == salt && k + BLOCK <= most &&
           memcmp(f->ids + k, ids + k, BLOCK * sizeof *ids) == 0) {
        k += BLOCK;
    }
    return (int)(k / BLOCK);
}

/* A session that holds what leaves, as the bytes of its file. */
static lk_status copy_out(struct cold *c, struct lk_prefix_tree *tree,
                          const struct lk_prefix_leaving *l, uint8_t *image, size_t n_bytes,
                          lk_error *err)
{
    lk_session *s;
    lk_status status = lk_session_open(c->engine, &s, err);
    if (status) {
        return status;
    }
    if (lk_prefix_lend(tree, l->salt, s, l->ids, l->n) != l->n) {
        status = lk_fail(err, LK_E_INVALID, "a prefix of %zu tokens is not there", l->n);
    }
    if (!status) {
        status = lk_session_set_data(s, &l->salt, sizeof l->salt, err);
    }
    if (!status) {
        status = lk_session_image(s, image, n_bytes, err);
    }
    lk_session_close(&s);
    return status;
}

/* On its way to a file, which is noted. */
static lk_status send(struct cold *c, struct lk_prefix_tree *tree,
                      const struct lk_prefix_leaving *l, size_t n_bytes, lk_error *err)
{
    char name[sizeof c->file->name];
    int32_t *ids = lk_alloc_array(l->n, sizeof *ids);
    uint8_t *image = lk_alloc(n_bytes);
    char *path = lk_alloc(c->path_cap);
    lk_status status = LK_OK;
    if (!ids || !image || !path) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: %zu bytes", n_bytes);
    }
    if (!status) {
        memcpy(ids, l->ids, l->n * sizeof *ids);
        name_of(c, l->salt, ids, l->n, name);
        memcpy(path, path_of(c, name), c->path_cap);
        status = copy_out(c, tree, l, image, n_bytes, err);
    }
    if (!status) {
        bool noted = note(c, name, l->salt, ids, l->n, n_bytes);
        ids = NULL;
        status = noted ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory");
    }
    if (status) {
        lk_free(ids);
        lk_free(image);
        lk_free(path);
        return status;
    }
    c->file[c->n_files - 1].write = ++c->n_written;
    lk_cold_writer_add(&c->writer, path, image, n_bytes, c->n_written);
    return LK_OK;
}

/* Whether what is not in a file is to go to one now. */
static bool is_wanted(struct cold *c, const struct lk_prefix_leaving *l, size_t n_bytes)
{
    if (n_bytes > c->max || (c->mode != FITTING && l->n_hits < 2 && l->n < LONG)) {
        return false;
    }
    if (c->mode == LEAVING) {
        return !c->wrote && lk_cold_writer_has_room(&c->writer, n_bytes);
    }
    if (!lk_cold_writer_has_room(&c->writer, n_bytes)) {
        settle(c, true);
    }
    return lk_now() < c->until;
}

bool lk_cold_put(struct cold *c, struct lk_prefix_tree *tree, const struct lk_prefix_leaving *l)
{
    size_t n_bytes = lk_session_file_bytes(c->engine, l->n, sizeof l->salt);
    lk_error err;
    for (size_t i = 0; i < c->n_files && !l->is_saved; i++) {
        if (common(&c->file[i], l->salt, l->ids, l->n) * BLOCK == (int)l->n) {
            return true;
        }
    }
    if (l->is_saved || !is_wanted(c, l, n_bytes) || !make_room(c, n_bytes)) {
        return l->is_saved;
    }
    c->wrote = true;
    if (send(c, tree, l, n_bytes, &err) != LK_OK) {
        lk_log_line(&c->log, LK_LOG_WARN, "a prefix is not kept in a file: %s", err.message);
        return false;
    }
    return true;
}

void lk_cold_save(struct cold *c, struct lk_prefix_tree *tree, double seconds)
{
    c->until = lk_now() + seconds;
    c->saved_from = c->clock + 1;
    for (c->mode = WORTH; c->mode <= FITTING; c->mode++) {
        lk_prefix_tell_all(tree);
    }
    c->mode = LEAVING;
    settle(c, true);
}

int lk_cold_find(const struct cold *c, uint64_t salt, const int32_t *ids, size_t n, int known,
                 double tokens_per_ms, int *n_blocks)
{
    int best = -1, most = known;
    for (size_t i = 0; i < c->n_files; i++) {
        int k = c->file[i].write ? 0 : common(&c->file[i], salt, ids, n);
        if (k > most) {
            most = k;
            best = (int)i;
        }
    }
    if (best >= 0) {
        double read = (double)c->file[best].n_bytes / c->bytes_per_ms;
        double tokens = (double)(most - known) * BLOCK;
        *n_blocks = (int)(c->file[best].n / BLOCK);
        best = tokens_per_ms > 0.0 && tokens / tokens_per_ms < read ? -1 : best;
    }
    return best;
}

void lk_cold_get(struct cold *c, struct lk_prefix_tree *tree, int file)
{
    struct file *f = &c->file[file];
    struct lk_prefix_at at = {0};
    lk_session *s;
    lk_error err;
    if (lk_session_open(c->engine, &s, &err) != LK_OK) {
        return;
    }
    double from = lk_now();
    lk_status status = lk_session_load(s, path_of(c, f->name), &err);
    double ms = 1e3 * (lk_now() - from);
    if (status == LK_E_FORMAT || status == LK_E_IO) {
        lk_log_line(&c->log, LK_LOG_WARN, "a prefix is evaluated again: %s", err.message);
        delete_file(c, (size_t)file);
    } else if (!status) {
        size_t n_data;
        const void *data = lk_session_data(s, &n_data);
        bool is_it = lk_session_n_tokens(s) == f->n && n_data == sizeof f->salt &&
                     memcmp(data, &f->salt, n_data) == 0 &&
                     memcmp(lk_session_tokens(s), f->ids, f->n * sizeof *f->ids) == 0;
        c->bytes_per_ms = (double)f->n_bytes / (ms > 1e-3 ? ms : 1e-3);
        f->used = ++c->clock;
        c->counts.n_reads++;
        if (is_it) {
            lk_prefix_keep(tree, f->salt, s, &at);
        } else { /* another file was put in its place */
            delete_file(c, (size_t)file);
        }
    }
    lk_session_close(&s);
}

struct cold_counts lk_cold_count(const struct cold *c)
{
    struct cold_counts counts = c->counts;
    counts.n_bytes = c->n_bytes;
    return counts;
}

void lk_cold_next_step(struct cold *c)
{
    c->wrote = false;
    settle(c, false);
}
