/* SPDX-License-Identifier: Apache-2.0
 *
 * Cpu_weights: the weights of an exec in the form that its kernels read: packed into memory, or
 * mapped out of files in which an earlier exec left them (cpu/pack_file.h). Either way the bytes
 * are the same. Weights that nobody packs are checked.
 */
#include <stdatomic.h>
#include <string.h>

#include "cpu/cpu_exec.h"
#include "cpu/pack_file.h"

/* What is packed at once on its way to a file. */
enum { SLICE = 4 << 20 };

struct packing {
    struct lk_exec *e;
    int weight;
    int64_t first, last; /* to a file: groups of this slice, counted through all matrices */
    uint8_t *slice;      /* group `first` of them */
    _Atomic bool is_bad;
    _Atomic int64_t bad_row;
};

static int n_matrices(const struct lk_weight *w)
{
    return w->n_experts > 0 ? w->n_experts : 1;
}

static struct lk_weight matrix_of(const struct lk_weight *w, int x)
{
    return w->n_experts > 0 ? lk_weight_of_expert(w, x) : *w;
}

/* Packs groups [first, last) of a matrix; a row with NaN or infinity in it, or -1. */
static int64_t pack_rows(const struct lk_packed *p, const struct lk_weight *w, int64_t first,
                         int64_t last)
{
    int64_t row0 = first * LK_PACK_ROWS, row1 = last * LK_PACK_ROWS;
    row1 = row1 < w->rows ? row1 : w->rows;
    if (row0 >= row1) {
        return -1;
    }
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)w->cols);
    int64_t bad = lk_row_find_bad(w->type, (const uint8_t *)w->data + (size_t)row0 * row_bytes,
                                  (size_t)((row1 - row0) * w->cols));
    if (bad >= 0) {
        return row0 + bad / w->cols;
    }
    lk_pack_groups(p, w, first, last);
    return -1;
}

/* Groups [first, last) of all matrices of a weight, in a row, to zeroed memory; a bad row of them,
 * or -1. */
static int64_t pack_run(const struct lk_exec *e, int weight, int64_t first, int64_t last,
                        uint8_t *out)
{
    const struct lk_weight *w = &e->o.plan->weights[weight];
    const struct lk_packed *shape = &e->packed[weight];
    for (int64_t g = first, end; g < last; g = end) {
        int64_t x = g / shape->n_groups, skip = g % shape->n_groups * LK_PACK_ROWS;
        struct lk_weight one = matrix_of(w, (int)x);
        int64_t row0 = x * one.rows + skip;
        struct lk_packed to = *shape;
        end = (x + 1) * shape->n_groups < last ? (x + 1) * shape->n_groups : last;
        one.rows -= skip;
        one.data = (const uint8_t *)one.data +
                   (size_t)skip * lk_type_row_bytes(one.type, (size_t)one.cols);
        to.rows = one.rows;
        to.data = out + (size_t)(g - first) * shape->group_bytes;
        int64_t bad = pack_rows(&to, &one, 0, end - g);
        if (bad >= 0) {
            return row0 + bad;
        }
    }
    return -1;
}

static lk_status fail_bad(const struct packing *job, const struct lk_weight *w, lk_error *err)
{
    return lk_fail(err, LK_E_FORMAT, "tensor '%s': %s in row %lld", w->name, lk_bad_text(w->type),
                   (long long)atomic_load(&job->bad_row));
}

static void note_bad(struct packing *job, int64_t row)
{
    atomic_store(&job->bad_row, row);
    atomic_store(&job->is_bad, true);
}

/* ---- in memory ---- */

/* A thread packs the groups that it will read. */
static void pack_share(void *arg, int thread, int n_threads)
{
    struct packing *job = arg;
    const struct lk_packed *p = &job->e->packed[job->weight];
    const struct lk_weight *w = &job->e->o.plan->weights[job->weight];
    int64_t first = p->n_groups * thread / n_threads;
    int64_t last = p->n_groups * (thread + 1) / n_threads;
    for (int x = 0; x < n_matrices(w); x++) {
        struct lk_weight one = matrix_of(w, x);
        struct lk_packed to = lk_cpu_packed_expert(job->e, job->weight, x);
        int64_t bad = pack_rows(&to, &one, first, last);
        if (bad >= 0) {
            note_bad(job, x * one.rows + bad);
            return;
        }
    }
}

static lk_status pack_into_memory(struct lk_exec *e, int i, lk_error *err)
{
    const struct lk_weight *w = &e->o.plan->weights[i];
    struct packing job = {.e = e, .weight = i};
    e->packed[i].data = lk_pages_alloc(e->packed_bytes[i]);
    if (!e->packed[i].data) {
        return lk_fail(
            err, LK_E_NOMEM,
            "out of memory: tensor '%s', %zu bytes packed (mmap-pack keeps them in files)", w->name,
            e->packed_bytes[i]);
    }
    lk_pool_run(e->backend->pool, e->backend->threads, pack_share, &job);
    return atomic_load(&job.is_bad) ? fail_bad(&job, w, err) : LK_OK;
}

/* ---- in a file ---- */

static void pack_slice(void *arg, int thread, int n_threads)
{
    struct packing *job = arg;
    int64_t n = job->last - job->first, from = n * thread / n_threads;
    size_t group_bytes = job->e->packed[job->weight].group_bytes;
    int64_t bad =
        pack_run(job->e, job->weight, job->first + from, job->first + n * (thread + 1) / n_threads,
                 job->slice + (size_t)from * group_bytes);
    if (bad >= 0) {
        note_bad(job, bad);
    }
}

/* Packs weight i piece by piece into w. */
static lk_status pack_into(struct lk_exec *e, int i, struct lk_writer *w, lk_error *err)
{
    struct packing job = {.e = e, .weight = i};
    size_t group = e->packed[i].group_bytes, whole = e->packed_bytes[i];
    int64_t n = (int64_t)(whole / group), most = (int64_t)(SLICE / group);
    most = most < 1 ? 1 : most;
    most = most < n ? most : n;
    job.slice = lk_pages_alloc((size_t)most * group);
    if (!job.slice) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: %zu bytes of tensor '%s'",
                       (size_t)most * group, e->o.plan->weights[i].name);
    }
    lk_status status = LK_OK;
    for (; !status && !w->status && job.first < n; job.first = job.last) {
        job.last = job.first + most < n ? job.first + most : n;
        size_t bytes = (size_t)(job.last - job.first) * group;
        if (job.first > 0) { /* the rows that a last group lacks */
            memset(job.slice, 0, bytes);
        }
        lk_pool_run(e->backend->pool, e->backend->threads, pack_slice, &job);
        if (atomic_load(&job.is_bad)) {
            status = fail_bad(&job, &e->o.plan->weights[i], err);
        } else {
            lk_writer_put(w, job.slice, bytes);
        }
    }
    lk_pages_free(job.slice, (size_t)most * group);
    return status;
}

/* A new file of weight i. */
static lk_status write_file(struct lk_exec *e, int i, const struct lk_pack_file *f, lk_error *err)
{
    const struct lk_pack_home *home = e->backend->pack;
    struct lk_writer w;
    lk_status status = lk_pack_file_create(f, home, &w, err);
    if (status) {
        return status;
    }
    status = pack_into(e, i, &w, err);
    if (!status && !home->same(home->user)) {
        status = lk_fail(err, LK_E_IO, "the model's file changed while tensor '%s' was packed",
                         e->o.plan->weights[i].name);
    }
    if (status) {
        lk_writer_abort(&w);
        return status;
    }
    return lk_writer_commit(&w, err);
}

/* Whether some groups of a mapped file are what packing makes of the model now: the first, the last
 * and one between. */
static bool is_like_model(const struct lk_exec *e, int i, const uint8_t *groups)
{
    size_t group = e->packed[i].group_bytes;
    int64_t n = (int64_t)(e->packed_bytes[i] / group), sample[] = {0, n / 3, n - 1};
    uint8_t *again = lk_alloc(group);
    bool like = again != NULL;
    for (size_t k = 0; k < LK_COUNT(sample) && like; k++) {
        memset(again, 0, group);
        like = pack_run(e, i, sample[k], sample[k] + 1, again) < 0 &&
               memcmp(again, groups + (size_t)sample[k] * group, group) == 0;
    }
    lk_free(again);
    return like;
}

static bool map_file(struct lk_exec *e, int i, const struct lk_pack_file *f)
{
    struct lk_map map;
    if (!lk_pack_file_open(f, &map)) {
        return false;
    }
    const uint8_t *groups = map.data + LK_PACK_FILE_HEAD;
    if (!is_like_model(e, i, groups)) {
        lk_map_close(&map);
        return false;
    }
    e->packed_map[i] = map;
    e->packed[i].data = (uint8_t *)(uintptr_t)groups; /* nobody writes what is packed */
    return true;
}

/* Maps weight i, out of a new file where there is none of it. Where that can't be done it stays
 * unpacked, LK_OK, and no more files are asked for. */
static lk_status pack_into_file(struct lk_exec *e, int i, lk_error *err)
{
    struct lk_backend *b = e->backend;
    const struct lk_weight *w = &e->o.plan->weights[i];
    struct lk_pack_file f;
    lk_error why;
    if (!lk_pack_file_init(&f, b->pack, w, &e->packed[i], n_matrices(w)) || map_file(e, i, &f)) {
        return LK_OK;
    }
    lk_status status = write_file(e, i, &f, &why);
    if (status == LK_E_FORMAT) { /* of the weights, not of the file */
        return lk_fail(err, status, "%s", why.message);
    }
    if (!status && !map_file(e, i, &f)) {
        status = lk_fail(&why, LK_E_IO, "%s: found another file than was written", f.path);
    }
    if (status) {
        lk_log_line(&b->log, LK_LOG_WARN, "packed weights are kept in memory: %s", why.message);
        b->pack = NULL;
    }
    return LK_OK;
}

/* ---- all of them ---- */

/* The packed form of the tensor that the embedding reads, if a matmul has it as well. */
static const struct lk_packed *packed_twin(const struct lk_exec *e, const struct lk_weight *w)
{
    for (int i = 0; i < e->o.plan->n_weights; i++) {
        if (e->packed_bytes[i] > 0 && e->o.plan->weights[i].data == w->data) {
            return &e->packed[i];
        }
    }
    return NULL;
}

/* Weights that are read as they lie in the file; the embedding too, unless a matmul packs it. */
static lk_status check_unpacked(struct lk_exec *e, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->weight < 0 || lk_cpu_is_packed(op)) {
            continue;
        }
        const struct lk_weight *w = &plan->weights[op->weight];
        const struct lk_packed *twin = op->kind == LK_OP_EMBED ? packed_twin(e, w) : NULL;
        if (twin) {
            e->embed = twin;
            e->embed_weight = op->weight;
        }
        if (twin || lk_is_looked_up(op)) {
            continue;
        }
        if (lk_row_find_bad(w->type, w->data, (size_t)(w->rows * w->cols)) >= 0) {
            return lk_fail(err, LK_E_FORMAT, "tensor '%s': %s in it", w->name,
                           lk_bad_text(w->type));
        }
        if (op->kind == LK_OP_EMBED &&
            w->mapped) { /* a row comes back into memory when it is used */
            lk_map_drop(w->data, w->n_bytes);
        }
    }
    return LK_OK;
}

/* Sizes of what will be packed. */
static lk_status plan_weights(struct lk_exec *e, uint64_t *total, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    size_t n = (size_t)plan->n_weights;
    e->packed = lk_alloc_array(n, sizeof *e->packed);
    e->packed_bytes = lk_alloc_array(n, sizeof *e->packed_bytes);
    e->packed_map = lk_alloc_array(n, sizeof *e->packed_map);
    if (!e->packed || !e->packed_bytes || !e->packed_map) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (lk_cpu_is_packed(op) && e->packed_bytes[op->weight] == 0) {
            struct lk_packed *p = &e->packed[op->weight];
            const struct lk_weight *w = &plan->weights[op->weight];
            struct lk_weight one = matrix_of(w, 0);
            lk_packed_init(p, &one, e->backend->level);
            size_t bytes = (size_t)p->n_groups * p->group_bytes;
            if (!lk_mul_size(bytes, (size_t)n_matrices(w), &e->packed_bytes[op->weight])) {
                return lk_fail(err, LK_E_NOMEM, "tensor '%s': packed size overflows", w->name);
            }
            *total += e->packed_bytes[op->weight];
        }
    }
    return LK_OK;
}

lk_status lk_cpu_pack_weights(struct lk_exec *e, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    struct lk_backend *b = e->backend;
    uint64_t total = 0, done = 0;
    lk_status status = plan_weights(e, &total, err);
    if (!status) {
        status = check_unpacked(e, err);
    }
    for (int i = 0; i < plan->n_weights && !status; i++) {
        const struct lk_weight *w = &plan->weights[i];
        if (e->packed_bytes[i] == 0) {
            continue;
        }
        if (b->pack) {
            status = pack_into_file(e, i, err);
        }
        if (!status && !e->packed[i].data) {
            status = pack_into_memory(e, i, err);
        }
        if (!status && w->mapped) {
            lk_map_drop(w->data, w->n_bytes);
        }
        done += e->packed_bytes[i];
        if (!status && b->progress &&
            !b->progress(b->progress_user, "packing weights", done, total)) {
            status = lk_fail(err, LK_E_CANCELLED, "cancelled while packing weights");
        }
    }
    return status;
}

void lk_cpu_free_weights(struct lk_exec *e)
{
    for (int i = 0; e->packed && e->packed_bytes && e->packed_map && i < e->o.plan->n_weights;
         i++) {
        if (e->packed_map[i].data) {
            lk_map_close(&e->packed_map[i]);
        } else if (e->packed[i].data) {
            lk_pages_free(e->packed[i].data, e->packed_bytes[i]);
        }
    }
    lk_free(e->packed);
    lk_free(e->packed_bytes);
    lk_free(e->packed_map);
}
