/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend "cpu": plans the memory, and runs the plan with SIMD kernels and threads; weights are
 * cpu/cpu_weights.c's. The bits are those of the backend "scalar".
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu_exec.h"
#include "base/os.h"

enum { MAX_THREADS = 1024 };

/* As many as asked for, but none that would only take turns with the others; none asked for: the
 * physical cores. Pinned threads are the caller's own affair. */
static int count_threads(const struct lk_backend_options *o, int asked)
{
    int cpu[1], cores = lk_cores(cpu, 1), quota = lk_cpu_quota();
    if (asked <= 0) {
        return cores < quota ? cores : quota;
    }
    asked = asked < MAX_THREADS ? asked : MAX_THREADS;
    return o->pin || asked < quota ? asked : quota;
}

static lk_status find_caps(const struct lk_backend_options *o, struct lk_caps *caps, lk_error *err)
{
    enum lk_cpu_level level;
    lk_status status = lk_cpu_level_parse(o->cpu_level, &level, err);
    int threads = count_threads(o, o->threads);
    *caps = (struct lk_caps){.exact = true, .threads = threads, .threads_batch = threads};
    if (o->threads_batch > 0) {
        caps->threads_batch = count_threads(o, o->threads_batch);
    }
    if (!status) {
        caps->level = lk_cpu_level_name(level);
        snprintf(caps->name, sizeof caps->name, "cpu %s", caps->level);
        snprintf(caps->describe, sizeof caps->describe, "%.100s, %d thread%s", caps->name, threads,
                 threads == 1 ? "" : "s");
    }
    return status;
}

static lk_status cpu_list(const struct lk_backend_options *o, lk_device_fn each, void *user,
                          lk_error *err)
{
    (void)o;
    struct lk_device device = {
        .info = {.backend = "cpu", .type = "cpu", .usable = true, .exact = true}};
    lk_device_info d = device.info;
    enum lk_cpu_level best = lk_cpu_best();
    lk_cpu_name(d.name, sizeof d.name);
    d.memory = d.available = lk_physical_memory();
    size_t features = 0, note = 0;
    note += (size_t)snprintf(d.note, sizeof d.note, "kernels: %s", lk_cpu_level_name(best));
    for (int i = LK_CPU_GENERIC; i < LK_CPU_LEVELS; i++) {
        const char *why;
        enum lk_cpu_answer has = lk_cpu_has((enum lk_cpu_level)i, &why);
        if (has == LK_CPU_HAS) {
            features +=
                (size_t)snprintf(d.features + features, sizeof d.features - features, "%s%s",
                                 features ? " " : "", lk_cpu_level_name((enum lk_cpu_level)i));
        } else if (i > (int)best && has == LK_CPU_LACKS && note < sizeof d.note) {
            note += (size_t)snprintf(d.note + note, sizeof d.note - note, "; %s: %s",
                                     lk_cpu_level_name((enum lk_cpu_level)i), why);
        }
    }
    device.info = d;
    return each(user, &device, err);
}

static void cpu_close(struct lk_backend *b)
{
    if (b) {
        lk_pool_close(b->pool);
        lk_free(b);
    }
}

static lk_status cpu_open(const struct lk_backend_options *o, struct lk_backend **out,
                          struct lk_caps *caps, lk_error *err)
{
    lk_status status = find_caps(o, caps, err);
    if (status) {
        return status;
    }
    struct lk_backend *b = lk_alloc(sizeof *b);
    if (!b) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening the CPU backend");
    }
    (void)lk_cpu_level_parse(o->cpu_level, &b->level, err);
    b->log = o->log;
    b->pack = o->pack;
    b->progress = o->progress;
    b->progress_user = o->progress_user;
    b->vec = lk_vec_kernels(b->level);
    b->threads = caps->threads;
    b->threads_batch = caps->threads_batch;
    int most = b->threads > b->threads_batch ? b->threads : b->threads_batch;
    status = lk_pool_open(most, o->pin, &b->pool, err);
    if (status) {
        cpu_close(b);
        return status;
    }
    *out = b;
    return LK_OK;
}

/* ---- prepare ---- */

static void free_memory(struct lk_act_memory *m)
{
    lk_free(m->offset);
    lk_free(m->of_thread);
    lk_free(m->acts_of_thread);
}

static void cpu_exec_free(struct lk_exec *e)
{
    if (!e) {
        return;
    }
    lk_cpu_free_weights(e);
    lk_free(e->steps);
    lk_free(e->cut_by_tokens);
    lk_free(e->claimed);
    lk_free(e->attn);
    lk_free(e->bad);
    lk_free(e->expert_out);
    lk_free(e->times);
    free_memory(&e->many);
    free_memory(&e->decode);
    lk_arena_free(&e->arena);
    lk_free(e);
}

/* Pieces of the arena, reserved first and looked up after the commit. */
struct pieces {
    int many, decode, of_thread, cs, acts[LK_ACTS_KINDS], acts_of_thread[LK_ACTS_KINDS], attn,
        parts, order, tiles;
};

static void grow(size_t *most, size_t n)
{
    *most = n > *most ? n : *most;
}

/* Bytes of the most prepared rows of a kind that a matmul of the plan reads. */
static size_t most_acts(const struct lk_exec *e, enum lk_acts_kind kind, bool decode)
{
    const struct lk_plan *plan = e->o.plan;
    struct lk_row_counts rows = decode ? lk_plan_rows(plan, 1, 1) : lk_most_rows(&e->o);
    size_t most = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
        if (lk_cpu_is_packed(op) && lk_type_info(w->type)->acts == kind) {
            size_t n = (size_t)rows.n[plan->slots[op->out].rows], bytes;
            n *= op->kind == LK_OP_HEADS ? (size_t)w->n_experts : 1;
            if (!lk_mul_size(n, lk_acts_row_bytes(kind, w->cols), &bytes)) {
                return SIZE_MAX;
            }
            grow(&most, bytes);
        }
    }
    return most;
}

/* Floats of a thread's results of an expert. */
static size_t expert_floats(const struct lk_exec *e)
{
    const struct lk_plan *plan = e->o.plan;
    size_t most = 0, threads = (size_t)e->backend->threads_batch;
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].kind == LK_OP_EXPERTS) {
            size_t width = (size_t)plan->slots[plan->ops[i].out].width;
            size_t groups = (width + LK_PACK_ROWS - 1) / LK_PACK_ROWS;
            grow(&most, (groups + threads - 1) / threads * LK_PACK_ROWS * LK_EXPERT_TILE);
        }
    }
    return most;
}

/* The most that any attention of the plan takes. */
struct attn_most {
    size_t rows, cells, results; /* of queries of a unit; of them times the dims of K and of V */
    size_t dims;                 /* both together */
    size_t parts, part_cells;    /* query heads times chunks of keys; times the dim of V */
};

static struct attn_most find_attn_most(const struct lk_exec *e)
{
    const struct lk_plan *plan = e->o.plan;
    struct attn_most m = {0};
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].kind == LK_OP_ATTENTION) {
            struct lk_attn_shape s = lk_attn_shape_of(plan, &plan->ops[i]);
            size_t rows = (size_t)lk_cpu_attention_tile(s.group) * (size_t)s.group;
            size_t dim = (size_t)s.dim, v_dim = (size_t)s.v_dim_padded;
            size_t parts = (size_t)s.n_head * (size_t)e->o.max_blocks;
            grow(&m.rows, rows);
            grow(&m.cells, rows * dim);
            grow(&m.results, rows * v_dim);
            grow(&m.dims, dim + v_dim);
            grow(&m.parts, parts);
            grow(&m.part_cells, parts * v_dim);
        }
    }
    return m;
}

/* Bytes of one thread's attention memory, and its addresses when base is given. */
static size_t carve_attn(const struct attn_most *m, uint8_t *base, struct lk_attn_work *w)
{
    size_t rows = m->rows, at = 0;
    size_t sizes[] = {m->cells * 2,   LK_KV_BLOCK * m->dims * 2,
                      m->results * 4, m->results * 4,
                      rows * 4,       rows * 4,
                      rows * 4,       rows * 4,
                      rows * 4,       rows * 2};
    void *p[LK_COUNT(sizes)];
    for (size_t i = 0; i < LK_COUNT(sizes); i++) {
        p[i] = base + at;
        at += lk_round_up(sizes[i], 64);
    }
    if (base) {
        *w = (struct lk_attn_work){
            p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], (int8_t *)p[9] + rows};
    }
    return at;
}

static size_t layout_of(const struct lk_exec *e, bool decode, int *epoch, size_t *offset)
{
    struct lk_row_counts most = decode ? lk_plan_rows(e->o.plan, 1, 1) : lk_most_rows(&e->o);
    lk_cpu_epochs(e, decode, epoch);
    return lk_plan_layout(e->o.plan, &most, e->o.keep_ops, 16, epoch, offset);
}

static lk_status plan_memory(struct lk_exec *e, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    size_t n_slots = (size_t)plan->n_slots, threads = (size_t)lk_pool_size(e->backend->pool);
    size_t max_tokens = (size_t)e->o.max_tokens;
    struct attn_most am = find_attn_most(e);
    struct pieces p;
    e->cs_width = (size_t)lk_plan_rope_width(plan);
    e->many.offset = lk_alloc_array(n_slots, sizeof *e->many.offset);
    e->decode.offset = lk_alloc_array(n_slots, sizeof *e->decode.offset);
    e->decode.of_thread = lk_alloc_array(threads, sizeof *e->decode.of_thread);
    e->decode.acts_of_thread = lk_alloc_array(threads, sizeof *e->decode.acts_of_thread);
    e->attn = lk_alloc_array(threads, sizeof *e->attn);
    e->bad = lk_alloc_array(threads, sizeof *e->bad);
    e->expert_out = lk_alloc_array(threads, sizeof *e->expert_out);
    int *epoch = lk_alloc_array((size_t)plan->n_ops, sizeof *epoch);
    if (!e->many.offset || !e->decode.offset || !e->decode.of_thread || !e->decode.acts_of_thread ||
        !e->attn || !e->bad || !e->expert_out || !epoch) {
        lk_free(epoch);
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    size_t many = layout_of(e, false, epoch, e->many.offset);
    size_t decode = layout_of(e, true, epoch, e->decode.offset);
    lk_free(epoch);
    size_t attn = carve_attn(&am, NULL, NULL);
    bool ok = many < SIZE_MAX / 4 && decode < SIZE_MAX / 4 / threads;
    p.many = ok ? lk_arena_reserve(&e->arena, "activations", many * 4) : -1;
    p.decode = ok ? lk_arena_reserve(&e->arena, "activations of decode", decode * 4) : -1;
    p.of_thread =
        ok ? lk_arena_reserve(&e->arena, "activations of a thread", threads * decode * 4) : -1;
    p.cs = lk_arena_reserve(&e->arena, "rope tables",
                            (size_t)plan->n_ropes * max_tokens * e->cs_width * 4);
    p.attn = lk_arena_reserve(&e->arena, "attention", threads * attn);
    p.parts = lk_arena_reserve(&e->arena, "attention chunks", (am.part_cells + 2 * am.parts) * 4);
    ok = ok && p.many >= 0 && p.decode >= 0 && p.of_thread >= 0 && p.cs >= 0 && p.attn >= 0 &&
         p.parts >= 0;
    size_t row[LK_ACTS_KINDS], tile = expert_floats(e);
    for (int k = 0; k < LK_ACTS_KINDS; k++) {
        size_t most = most_acts(e, (enum lk_acts_kind)k, false);
        row[k] = most_acts(e, (enum lk_acts_kind)k, true);
        ok = ok && most < SIZE_MAX && row[k] < SIZE_MAX / threads;
        p.acts[k] = ok ? lk_arena_reserve(&e->arena, "prepared activations", most) : -1;
        p.acts_of_thread[k] =
            ok ? lk_arena_reserve(&e->arena, "prepared activations of a thread", row[k] * threads)
               : -1;
        ok = ok && p.acts[k] >= 0 && p.acts_of_thread[k] >= 0;
    }
    p.order = lk_arena_reserve(&e->arena, "rows of experts",
                               max_tokens * (size_t)plan->n_routed * sizeof(int));
    p.tiles = lk_arena_reserve(&e->arena, "results of experts", threads * tile * sizeof(float));
    ok = ok && p.order >= 0 && p.tiles >= 0;
    if (!ok) {
        return lk_fail(err, LK_E_NOMEM, "activations of %d tokens: size overflows",
                       e->o.max_tokens);
    }
    lk_status status = lk_arena_commit(&e->arena, err);
    if (status) {
        return status;
    }
    e->many.shared = lk_arena_at(&e->arena, p.many);
    e->decode.shared = lk_arena_at(&e->arena, p.decode);
    e->cs = lk_arena_at(&e->arena, p.cs);
    e->part_o = lk_arena_at(&e->arena, p.parts);
    e->experts.order = lk_arena_at(&e->arena, p.order);
    e->part_l = e->part_o + am.part_cells;
    e->part_n = (int32_t *)(void *)(e->part_l + am.parts);
    for (int k = 0; k < LK_ACTS_KINDS; k++) {
        e->many.acts[k] = (struct lk_acts){.kind = (enum lk_acts_kind)k,
                                           .data = lk_arena_at(&e->arena, p.acts[k])};
    }
    for (size_t t = 0; t < threads; t++) {
        e->expert_out[t] = (float *)lk_arena_at(&e->arena, p.tiles) + t * tile;
        e->decode.of_thread[t] = (float *)lk_arena_at(&e->arena, p.of_thread) + t * decode;
        carve_attn(&am, (uint8_t *)lk_arena_at(&e->arena, p.attn) + t * attn, &e->attn[t]);
        for (int k = 0; k < LK_ACTS_KINDS; k++) {
            e->decode.acts_of_thread[t][k] =
                (struct lk_acts){.kind = (enum lk_acts_kind)k,
                                 .data = (uint8_t *)lk_arena_at(&e->arena, p.acts_of_thread[k]) +
                                         t * row[k]};
        }
    }
    return LK_OK;
}

static lk_status cpu_prepare(struct lk_backend *backend, const struct lk_exec_options *o,
                             struct lk_exec **out, lk_error *err)
{
    struct lk_exec *e = lk_alloc(sizeof *e);
    if (!e) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    e->o = *o;
    e->backend = backend;
    lk_status status = lk_cpu_compile(e, err);
    if (!status) {
        status = plan_memory(e, err);
    }
    if (!status) {
        status = lk_cpu_pack_weights(e, err);
    }
    if (status) {
        cpu_exec_free(e);
        return status;
    }
    *out = e;
    return LK_OK;
}

/* ---- run ---- */

static lk_status cpu_run(struct lk_exec *e, struct lk_state_mem *states, const struct lk_batch *b,
                         lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    struct lk_backend *backend = e->backend;
    lk_status status = lk_batch_check(&e->o, b, err);
    if (status) {
        return status;
    }
    e->batch = b;
    e->rows = lk_batch_rows(plan, b);
    e->states = states;
    e->is_decode = b->n_tokens == 1;
    int n_threads = e->is_decode ? backend->threads : backend->threads_batch;
    for (int i = 0; i < lk_pool_size(backend->pool); i++) {
        e->bad[i] = -1;
    }
    if (e->is_decode) {
        lk_cpu_rope_tables(e, 0, 1);
    } else {
        for (int i = 0; i < plan->n_ops; i++) {
            atomic_store_explicit(&e->claimed[i], 0, memory_order_relaxed);
        }
    }
    lk_pool_run(backend->pool, n_threads, lk_cpu_run_steps, e);
    int bad = -1;
    for (int i = 0; i < lk_pool_size(backend->pool); i++) {
        if (e->bad[i] >= 0 && (bad < 0 || e->bad[i] < bad)) {
            bad = e->bad[i];
        }
    }
    if (bad >= 0) {
        return lk_fail_range(err, plan, &plan->ops[bad]);
    }
    const struct lk_slot *out = &plan->slots[plan->out_slot];
    size_t rows = (size_t)e->rows.n[out->rows];
    memcpy(b->out, lk_cpu_slot(e, 0, plan->out_slot), rows * (size_t)out->width * sizeof *b->out);
    return LK_OK;
}

static lk_status cpu_peek(struct lk_exec *e, int slot, float *data, size_t n, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    if (!e->o.keep_ops || slot < 0 || slot >= plan->n_slots || e->rows.n[LK_ROWS_TOKENS] == 0) {
        return lk_fail(err, LK_E_INVALID, "slot %d was not kept", slot);
    }
    const struct lk_slot *s = &plan->slots[slot];
    size_t rows = (size_t)e->rows.n[s->rows];
    size_t have = rows * (size_t)s->width;
    memcpy(data, lk_cpu_slot(e, 0, slot), (n < have ? n : have) * sizeof *data);
    return LK_OK;
}

static size_t cpu_work_bytes(const struct lk_exec *e)
{
    return e->arena.n_bytes;
}

static lk_status cpu_kernels(const struct lk_backend_options *o, bool all_levels, const char *type,
                             int n_tokens, lk_kernel_fn each, void *user, lk_error *err)
{
    struct lk_backend *b = NULL;
    struct lk_caps caps;
    lk_status status = cpu_open(o, &b, &caps, err);
    if (!status) {
        status = lk_cpu_time_kernels(b, all_levels, type, n_tokens, each, user, err);
        cpu_close(b);
    }
    return status;
}

const struct lk_backend_impl lk_backend_cpu = {
    .name = "cpu",
    .list = cpu_list,
    .open = cpu_open,
    .close = cpu_close,
    .prepare = cpu_prepare,
    .exec_free = cpu_exec_free,
    .state_alloc = lk_host_state_alloc,
    .state_free = lk_host_state_free,
    .state_read = lk_host_state_read,
    .state_write = lk_host_state_write,
    .state_check = lk_host_state_check,
    .run = cpu_run,
    .peek = cpu_peek,
    .work_bytes = cpu_work_bytes,
    .read_rate = lk_cpu_read_rate,
    .kernels = cpu_kernels,
    .profile = lk_cpu_profile,
    .op_seconds = lk_cpu_op_seconds,
};
