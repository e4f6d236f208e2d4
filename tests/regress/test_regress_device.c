/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_device: the entries of the registry that only a Vulkan device can show: lanes side by
 * side, ranges of buffers, guards and alignment in its memory, its driver. They do nothing where no
 * device is named. See REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/vk.h"
#include "shaders/params.h"
#include "vulkan/device/vk_limits.h"
#include "vulkan/device/vk_shaders.h"
#include "tests/regress/regress.h"
#include "tests/util/tiny.h"

/* The device is the first member of the backend. */
static struct lk_vk_device *device_of(const struct rg_way *way)
{
    return (struct lk_vk_device *)(void *)rg_backend(way);
}

static uint32_t subgroup_size(const struct lk_vk_device *dev)
{
    VkPhysicalDeviceSubgroupProperties subgroup = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                       .pNext = &subgroup};
    vkGetPhysicalDeviceProperties2(dev->found.physical, &all);
    return subgroup.subgroupSize;
}

static void lanes_in_step(const char *bits, uint32_t lanes)
{
    setenv("LP_NATIVE_VECTOR_WIDTH", bits, 1); /* of lavapipe, read when it is loaded */
    if (!rg_vulkan()) {
        return;
    }
    const struct lk_vk_device *dev = device_of(rg_vulkan());
    rg_debug("%s: %u invocations in step\n", dev->found.props.deviceName, subgroup_size(dev));
    if (strncmp(dev->found.props.deviceName, "llvmpipe", 8) == 0) {
        cr_assert_eq(subgroup_size(dev), lanes);
    }
    struct model_params p = rg_small("llama", LK_TYPE_Q5_1);
    rg_everywhere(&p, NULL, NULL, 70, 33);
}

/* No kernel knows how many invocations run in step: no subgroup operation in any, and every value
 * that one hands to another goes through a barrier. */
Test(regress_device, subgroups_of_4)
{
    lanes_in_step("128", 4);
}

Test(regress_device, subgroups_of_8)
{
    lanes_in_step("256", 8);
    for (size_t i = 0; i < LK_VK_N_SHADERS; i++) {
        const struct lk_vk_shader *s = &LK_VK_SHADERS[i];
        enum { OP_CAPABILITY = 17, GROUP_NON_UNIFORM = 61, GROUP_NON_UNIFORM_QUAD = 68 };
        for (size_t w = 5; w < s->n_bytes / 4; w += s->words[w] >> 16) {
            bool capability = (s->words[w] & 0xffff) == OP_CAPABILITY;
            cr_assert(!capability || s->words[w + 1] < GROUP_NON_UNIFORM ||
                          s->words[w + 1] > GROUP_NON_UNIFORM_QUAD,
                      "%s has subgroup operations", s->name);
        }
    }
}

static int count_object(struct dl_phdr_info *info, size_t size, void *n)
{
    (void)info;
    (void)size;
    ++*(int *)n;
    return 0;
}

/* Where the last instance is closed, no driver is unloaded. */
Test(regress_device, a_driver_stays_loaded)
{
    struct lk_vk_instance instance;
    lk_error err;
    int before = 0, open = 0, closed = 0;
    if (!rg_vulkan()) {
        return;
    }
    dl_iterate_phdr(count_object, &before);
    cr_assert_eq(lk_vk_instance_open(&instance, &err), LK_OK, "%s", err.message);
    dl_iterate_phdr(count_object, &open);
    lk_vk_instance_close(&instance);
    dl_iterate_phdr(count_object, &closed);
    rg_debug("%d objects, %d with an instance, %d after it\n", before, open, closed);
    cr_assert_lt(before, open);
    cr_assert_eq(closed, open);
}

/* A tensor beyond the device's buffer range is bound in pieces; one row group beyond it, or a
 * cache, is refused. */
Test(regress_device, tensor_beyond_the_buffer_range)
{
    enum { N = 20 };
    const struct rg_way *way = rg_vulkan();
    if (!way) {
        return;
    }
    struct model_params p = rg_small("qwen2", LK_TYPE_Q8_0);
    struct rg_model m;
    struct rg_chain c, scalar;
    int32_t ids[N];
    lk_error err;
    p.n_vocab = 1000;
    p.n_embd = 160;
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 1000, 15);
    float *want = malloc(N * 1000 * sizeof *want), *got = malloc(N * 1000 * sizeof *got);
    rg_open_one(&scalar, &m, rg_scalar(), N, N);
    rg_run(&scalar, ids, 0, N, want);
    uint32_t *range = &device_of(way)->found.props.limits.maxStorageBufferRange;
    uint32_t was = *range;
    *range = 1000 * 4 * 24; /* the logits of a batch just fit, the head's matrix does not */
    for (int batch = 1; batch <= N; batch += N - 1) {
        const struct lk_vk_store *store;
        int most = 0;
        rg_open_one(&c, &m, way, N, batch);
        store = &c.part[0].exec->store;
        for (int i = 0; i < store->n_matrices; i++) {
            most = store->matrices[i].n_chunks > most ? store->matrices[i].n_chunks : most;
            for (int k = 0; k < store->matrices[i].n_chunks; k++) {
                cr_assert_leq(store->matrices[i].chunks[k].size, *range);
            }
        }
        rg_debug("range %u: a matrix in %d pieces\n", *range, most);
        cr_assert_gt(most, 1);
        rg_run(&c, ids, 0, N, got);
        rg_same_rows("a matrix in pieces", got, want, N, 1000);
        rg_same_cache("a matrix in pieces", &c, &scalar, N);
        rg_close(&c);
    }
    *range = 1024;
    cr_assert_eq(rg_open(&c, &m, &way, NULL, 1, N, 1, false, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "1024"), "%s", err.message);
    *range = was;
    rg_close(&scalar);
    free(want);
    free(got);
    rg_model_close(&m);
}

/* Workgroups as small along x as Vulkan guarantees, where more invocations are offered in all, and
 * fewer of them along x than the head has row groups. */
Test(regress_device, limits_of_workgroups)
{
    enum { N = 20 };
    const struct rg_way *way = rg_vulkan();
    if (!way) {
        return;
    }
    struct model_params p = rg_small("qwen2", LK_TYPE_Q8_0);
    struct rg_model m;
    struct rg_chain c, scalar;
    int32_t ids[N];
    p.n_vocab = 1000;
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 1000, 16);
    float *want = malloc(N * 1000 * sizeof *want), *got = malloc(N * 1000 * sizeof *got);
    rg_open_one(&scalar, &m, rg_scalar(), N, N);
    rg_run(&scalar, ids, 0, N, want);
    struct lk_vk_device *dev = device_of(way);
    VkPhysicalDeviceLimits was = dev->found.props.limits;
    dev->found.props.limits.maxComputeWorkGroupSize[0] = 128;
    dev->found.props.limits.maxComputeWorkGroupCount[0] = 24;
    for (int batch = 1; batch <= N; batch += batch == 1 ? 7 : 12) {
        uint32_t most = 0;
        rg_open_one(&c, &m, way, N, batch);
        const struct lk_exec *e = c.part[0].exec;
        for (int l = 0; l < LK_VK_LISTS; l++) {
            for (int i = 0; i < e->list[l].n_steps * LK_VK_VARIANTS; i++) {
                const struct lk_vk_step *s = &e->list[l].steps[i / LK_VK_VARIANTS];
                const struct lk_vk_pipe *pipe = s->pipe[i % LK_VK_VARIANTS];
                most = pipe && pipe->needs.threads > most ? pipe->needs.threads : most;
            }
        }
        rg_debug("workgroups of %u, expected up to 128\n", most);
        cr_assert_leq(most, 128);
        rg_run(&c, ids, 0, N, got);
        rg_same_rows("small workgroups", got, want, N, 1000);
        rg_same_cache("small workgroups", &c, &scalar, N);
        rg_close(&c);
    }
    dev->found.props.limits = was;
    rg_close(&scalar);
    free(want);
    free(got);
    rg_model_close(&m);
}

/* What a device holds of 100 tokens and 50 rows of logits. */
static struct lk_exec *held_by(const struct rg_way *way, const struct rg_model *m, int max_seqs,
                               int *tokens, int *outputs)
{
    struct lk_exec_options o = {.plan = m->plan,
                                .max_tokens = 100,
                                .max_outputs = 50,
                                .fewer = true,
                                .max_seqs = max_seqs,
                                .max_blocks = 26,
                                .fuse = true};
    struct lk_exec *e;
    lk_error err;
    cr_assert_eq(way->impl->prepare(rg_backend(way), &o, &e, &err), LK_OK, "%s", err.message);
    struct lk_row_counts most = way->impl->most(e);
    *tokens = most.n[LK_ROWS_TOKENS];
    *outputs = most.n[LK_ROWS_OUTPUTS];
    VkDeviceSize range = device_of(way)->found.props.limits.maxStorageBufferRange;
    for (int l = 0; l < LK_VK_LISTS; l++) {
        int n = e->list[l].max_tokens;
        for (int i = 0; i < e->list[l].n_pieces && i < m->plan->n_slots; i++) {
            const struct lk_slot *slot = &m->plan->slots[i];
            int rows = slot->rows == LK_ROWS_OUTPUTS && *outputs < n ? *outputs : n;
            VkDeviceSize whole = lk_round_up((size_t)rows, LK_VK_MAX_COLS); /* columns of tokens */
            cr_assert_leq(whole * (VkDeviceSize)slot->width * 4, range, "slot %d, %d rows", i,
                          rows);
        }
    }
    cr_assert_leq(e->at.n_words * 4, range);
    return e;
}

/* With a range of so many bytes, one less and one more. */
static void expect_held(const struct rg_model *m, uint32_t range, int max_seqs, const int tokens[3],
                        const int outputs[3])
{
    const struct rg_way *way = rg_vulkan();
    uint32_t *limit = &device_of(way)->found.props.limits.maxStorageBufferRange, was = *limit;
    for (int i = 0; i < 3; i++) {
        int t, o;
        *limit = range - 1 + (uint32_t)i;
        struct lk_exec *e = held_by(way, m, max_seqs, &t, &o);
        rg_debug("range %u: %d tokens, %d rows of logits\n", *limit, t, o);
        cr_assert_eq(t, tokens[i], "range %u: %d tokens, expected %d", *limit, t, tokens[i]);
        cr_assert_eq(o, outputs[i], "range %u: %d rows, expected %d", *limit, o, outputs[i]);
        way->impl->exec_free(e);
    }
    *limit = was;
}

/* What a device can't hold lowers what is planned, to the last row that fits: logits, values,
 * activations, the buffer of a batch, workgroups, all values together. */
Test(regress_device, rows_that_a_device_cannot_hold)
{
    const struct rg_way *way = rg_vulkan();
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    int t, o;
    if (!way) {
        return;
    }
    struct lk_vk_found *found = &device_of(way)->found;
    const VkPhysicalDeviceLimits was = found->props.limits;
    p.n_vocab = 1001;
    rg_model_open(&m, &p, NULL, NULL);
    expect_held(&m, 1001 * 4 * 48, 1, (const int[]){100, 100, 100}, (const int[]){40, 48, 48});
    expect_held(&m, 1001 * 4 * 56, 1, (const int[]){100, 100, 100}, (const int[]){48, 50, 50});
    rg_model_close(&m);
    p = rg_small("llama", LK_TYPE_Q8_0);
    p.n_ff = 608; /* a slot of it */
    rg_model_open(&m, &p, NULL, NULL);
    expect_held(&m, 608 * 4 * 80, 1, (const int[]){72, 80, 80}, (const int[]){50, 50, 50});
    rg_model_close(&m);
    p = rg_small("llama", LK_TYPE_F16); /* activations are padded to panels of 256 */
    rg_model_open(&m, &p, NULL, NULL);
    expect_held(&m, 256 * 4 * 96, 1, (const int[]){88, 96, 96}, (const int[]){50, 50, 50});
    /* 37 tokens beside 26000 words of tables, 4 of each sequence and their number, 4 counters */
    uint32_t each = 4 + 4 * LK_VK_MAX_ATTN + 32, words = 26000 + 4001 + 4;
    expect_held(&m, (words + 37 * each) * 4, 1000, (const int[]){36, 37, 37},
                (const int[]){50, 50, 50});
    found->props.limits.maxComputeWorkGroupCount[1] = 21; /* of rows; 4 heads of a token */
    struct lk_exec *e = held_by(way, &m, 1, &t, &o);
    cr_assert_eq(t, 21);
    cr_assert_eq(e->list[LK_VK_FEW].max_tokens, 5);
    found->props.limits = was;
    way->impl->exec_free(e);
    rg_model_close(&m);
    p = rg_small("llama", LK_TYPE_Q8_0); /* more than the buffer that weights go through */
    p.n_layer = 1;
    p.n_ff = 60000;
    rg_model_open(&m, &p, NULL, NULL);
    e = held_by(way, &m, 1, &t, &o);
    VkDeviceSize most = found->max_allocation, arena = e->arena.size;
    cr_assert(t == 100 && o == 50);
    way->impl->exec_free(e);
    for (int less = 0; less < 2; less++) {
        found->max_allocation = arena - (VkDeviceSize)less;
        e = held_by(way, &m, 1, &t, &o);
        cr_assert_eq(t, less ? 50 : 100);
        way->impl->exec_free(e);
    }
    found->max_allocation = most;
    rg_model_close(&m);
}

/* A vocabulary whose rows don't divide the range of 128 MiB that Vulkan guarantees, asked for more
 * rows than fit: the engine delivers them in several batches, by the contract's bits. */
Test(regress_device, vocabulary_beyond_the_guaranteed_range)
{
    enum { N = 479, VOCAB = 70001 }; /* 479 rows fit, 480 whole columns of them do not */
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    const struct rg_way *ways[] = {rg_scalar(), rg_vulkan()};
    int32_t ids[N];
    float *rows[2] = {NULL, NULL};
    p.n_vocab = VOCAB;
    p.n_layer = 1;
    if (!rg_vulkan()) {
        return;
    }
    struct rg_model m;
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, VOCAB, 17);
    for (int i = 0; i < 2; i++) {
        lk_model *model;
        lk_engine_options o = rg_options(ways[i], N, N);
        lk_engine *e = tiny_engine_with(m.path, &o, &model);
        rows[i] = tiny_rows(e, ids, N);
        lk_engine_close(&e);
        lk_model_close(&model);
    }
    tiny_same(rows[1], rows[0], (size_t)N * VOCAB, "rows of a large vocabulary");
    free(rows[0]);
    free(rows[1]);
    rg_model_close(&m);
}

/* Guards around K and V in device memory are compared. */
Test(regress_device, guards_in_device_memory)
{
    const struct rg_way *way = rg_vulkan();
    if (!way) {
        return;
    }
    struct model_params p = rg_small("llama", LK_TYPE_Q8_0);
    struct rg_model m;
    struct rg_chain c;
    lk_error err;
    rg_model_open(&m, &p, NULL, NULL);
    rg_open_one(&c, &m, way, 64, 1);
    struct lk_state_mem *mem = c.part[0].states;
    for (int i = 0; i < 4; i++) {
        const struct lk_vk_state_at *at = &mem->at[i];
        const struct lk_vk_buffer *block = &mem->blocks[at->block];
        VkDeviceSize beside[2] = {at->offset - 4, at->offset + at->bytes};
        for (int b = 0; b < 2; b++) {
            cr_assert_eq(lk_vk_fill(mem->dev, block, beside[b], 4, 0, &err), LK_OK);
            cr_assert_eq(way->impl->state_check(mem, &err), LK_E_INTERNAL);
            rg_debug("%s\n", err.message);
            cr_assert_eq(lk_vk_fill(mem->dev, block, beside[b], 4, LK_VK_CANARY, &err), LK_OK);
            cr_assert_eq(way->impl->state_check(mem, &err), LK_OK, "%s", err.message);
        }
    }
    rg_close(&c);
    rg_model_close(&m);
}

/* Every matrix, vector, cache buffer and value begins at a multiple of 256 bytes: the largest
 * alignment that a device may ask of a storage buffer. */
Test(regress_device, uploaded_tensors_are_aligned)
{
    static const enum lk_type TYPES[] = {LK_TYPE_F16, LK_TYPE_Q5_1, LK_TYPE_Q3_K, LK_TYPE_Q6_K};
    for (size_t t = 0; t < LK_COUNT(TYPES) && rg_vulkan(); t++) {
        struct model_params p = model_params_default("qwen2", TYPES[t], 5);
        struct rg_model m;
        struct rg_chain c;
        p.n_layer = 1;
        p.n_vocab = 77;
        rg_model_open(&m, &p, NULL, NULL);
        rg_open_one(&c, &m, rg_vulkan(), 64, 1);
        const struct lk_exec *e = c.part[0].exec;
        for (int i = 0; i < e->store.n_matrices; i++) {
            const struct lk_vk_matrix *x = &e->store.matrices[i];
            for (int k = 0; k < x->n_chunks; k++) {
                cr_assert_eq(x->chunks[k].offset % 256, 0, "%s %s: at %llu", lk_type_name(TYPES[t]),
                             m.plan->weights[x->part[0]].name,
                             (unsigned long long)x->chunks[k].offset);
            }
        }
        for (int i = 0; i < m.plan->n_weights; i++) {
            cr_assert(e->store.vector_at[i] == UINT64_MAX || e->store.vector_at[i] % 256 == 0, "%s",
                      m.plan->weights[i].name);
        }
        for (int i = 0; i < e->list[LK_VK_DECODE].n_pieces; i++) {
            cr_assert_eq(e->list[LK_VK_DECODE].pieces[i].offset % 256, 0, "value %d", i);
        }
        for (int i = 0; i < m.plan->n_states; i++) {
            cr_assert_eq(c.part[0].states->at[i].offset % 256, 0, "state %d", i);
        }
        rg_close(&c);
        rg_model_close(&m);
    }
}

/* Keys (and queries with their scales), and in their place, or behind them, values, weights and
 * what subgroups tell each other: what attention by matrices has in shared memory is as large as
 * the larger of them, or as all, for every size of heads. */
Test(regress_device, outputs_of_large_heads)
{
    const struct lk_vk_shader *shader = lk_vk_shader_find("attn_wide");
    cr_assert(shader);
    for (uint32_t dim = 32; dim <= 256; dim += 32) {
        uint32_t parts = LK_VK_ATTN_MATRIX_PARTS(dim);
        for (uint32_t apart = 0; apart < 3 - parts; apart++) {
            uint32_t spec[4] = {0, dim, apart ? 0 : LK_VK_ATTN_SHARE, 128 * parts};
            uint32_t keys = 2 * 64 * (dim / 16 + 1);
            uint32_t values = (apart ? keys + dim * 10 : dim * 5) + 64 * 9 + 2 * spec[3];
            struct lk_vk_needs needs;
            lk_error err;
            cr_assert_eq(lk_vk_measure(shader, spec, &needs, &err), LK_OK, "%s", err.message);
            rg_debug("head of %u: %llu bytes; keys %u, all but them %u\n", dim,
                     (unsigned long long)needs.shared_bytes, 16 * keys, 16 * values);
            uint64_t tile = needs.shared_bytes - 16 * 48 - 32;
            cr_assert_geq(tile, 16 * (keys + 16), "head of %u", dim);
            cr_assert_geq(tile, 16 * values, "head of %u", dim);
        }
    }
}
