/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse: which ops of a model become one kernel, by architecture and kind of list, decided
 * without a device. What single rules take and leave is in test_vk_fuse_rules.c.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "gguf/gguf.h"
#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/vulkan/vk_groups.h"

static const struct lk_vk_facts *const FACTS[] = {&VK_FACTS_LEAST, &VK_FACTS_GPU};

static struct lk_plan *plan_of(struct lk_gguf *g)
{
    struct lk_plan *plan;
    lk_error err;
    cr_assert_eq(lk_plan_build(g, &plan, &err), LK_OK, "%s", err.message);
    return plan;
}

static void groups_are(const struct lk_plan *plan, enum lk_vk_list_kind list, bool fuse, int layer,
                       const char *what, const char *const *want)
{
    struct lk_vk_groups groups = vk_groups_of(plan, list, fuse, &VK_FACTS_GPU, what);
    vk_groups_are(plan, &groups, layer, what, want);
    lk_vk_groups_free(&groups);
}

/* ---- a layer of each architecture ---- */

struct arch {
    const char *name;     /* what else its layers have: arch_shape_of */
    const char *decode;   /* attention in decode; NULL: as in batches of few tokens */
    const char *front[6]; /* what stands in front of it else */
    bool experts, shared; /* of a layer; shared: beside experts */
    bool no_v;            /* v is made of k */
    bool no_kv;           /* k and v are another layer's */
    bool side;            /* of a layer: it reads a part of the side rows */
};
#define ROPES "rope+rope+kv_store+attention by attention_decode"
static const struct arch ARCHS[] = {
    {.name = "llama", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "phi3", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "qwen2",
     .decode = "bias+bias+bias+" ROPES,
     .front = {"bias by elementwise", "bias by elementwise", "bias by elementwise", "rope by rope",
               "rope by rope"}},
    {.name = "qwen2moe",
     .decode = "bias+bias+bias+" ROPES,
     .front = {"bias by elementwise", "bias by elementwise", "bias by elementwise", "rope by rope",
               "rope by rope"}},
    {.name = "qwen3",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "qwen3moe",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "gemma3",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "gemma-embedding",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "smollm3", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "mistral3", .front = {"rope by rope", "rope by rope"}}, /* by two tables */
    {.name = "granite", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "qwen3vl",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "olmo2", .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "seed_oss", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "gemma2", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "glm4", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "exaone4",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "cohere2", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "hunyuan-dense", /* the kernel has norms in front of the rotation alone */
     .front = {"rope by rope", "rope by rope", "norm by norm", "norm by norm"}},
    {.name = "ernie4_5", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "gemma4",
     .decode = "norm+norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "granitemoe", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "glm4moe",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "hunyuan-moe",
     .front = {"rope by rope", "rope by rope", "norm by norm", "norm by norm"}},
    {.name = "ernie4_5-moe", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "minimax-m2",
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "bailingmoe", .decode = ROPES, .front = {"rope by rope", "rope by rope"}},
    {.name = "bailingmoe2",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "qwen3vlmoe",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "dots1",
     .decode = "norm+norm+" ROPES,
     .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
    {.name = "olmoe", .front = {"norm by norm", "norm by norm", "rope by rope", "rope by rope"}},
};

/* The same of a layer without a weight of v: what two norms read is no row of its own. */
static const struct arch WITHOUT_V = {.name = "gemma4",
                                      .front = {"norm by norm", "norm by norm", "norm by norm",
                                                "rope by rope", "rope by rope"},
                                      .no_v = true};
/* Of one whose k and v others read, and of one that reads them. */
static const struct arch LENDS = {.name = "gemma4",
                                  .front = {"norm by norm", "norm by norm", "norm by norm",
                                            "rope by rope", "rope by rope"}};
static const struct arch BORROWS = {.name = "gemma4",
                                    .front = {"norm by norm", "rope by rope"},
                                    .no_kv = true};

/* The same of a layer that has no rotation. */
static const struct arch UNTURNED[] = {
    {.name = "smollm3", .decode = "kv_store+attention by attention_decode"},
    {.name = "cohere2", .decode = "kv_store+attention by attention_decode"},
    {.name = "exaone4",
     .decode = "norm+norm+kv_store+attention by attention_decode",
     .front = {"norm by norm", "norm by norm"}},
};

/* How many layers read K of this one, and whether it is among them. */
static int readers(const struct lk_plan *plan, int layer, bool *own)
{
    int n = 0;
    *own = false;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->kind == LK_OP_ATTENTION && plan->states[op->u.attention.k].layer == layer) {
            *own |= op->layer == layer;
            n++;
        }
    }
    return n;
}

static int n_of(const struct lk_plan *plan, int layer, enum lk_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        n += plan->ops[i].layer == layer && plan->ops[i].kind == kind;
    }
    return n;
}

static struct arch arch_at(const struct lk_plan *plan, const struct arch *a, int layer)
{
    bool turned = n_of(plan, layer, LK_OP_ROPE) > 0;
    bool has_v = !arch_shape_of(a->name)->two_heads;
    struct arch at = *a;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        has_v |= op->layer == layer && op->weight >= 0 &&
                 strstr(plan->weights[op->weight].name, "attn_v.weight");
    }
    bool own;
    int n_readers = readers(plan, layer, &own);
    if (!own || n_readers > 1) {
        at = own ? LENDS : BORROWS;
    } else if (!has_v) {
        at = WITHOUT_V;
    }
    for (size_t i = 0; i < LK_COUNT(UNTURNED) && !turned; i++) {
        if (strcmp(UNTURNED[i].name, a->name) == 0) {
            at = UNTURNED[i];
        }
    }
    at.experts = n_of(plan, layer, LK_OP_ROUTE) > 0;
    at.side = n_of(plan, layer, LK_OP_PICK) > 0;
    at.shared = n_of(plan, layer, LK_OP_GLU) == 2 && !at.side;
    return at;
}

struct lines {
    const char *line[32];
    int n;
};

static void add(struct lines *l, const char *line)
{
    l->line[l->n++] = line;
}

/* A matmul and the residual it is added to. */
static void add_residual(struct lines *l, const struct arch *a, const char *with, const char *alone)
{
    const struct arch_shape *shape = arch_shape_of(a->name);
    add(l, shape->post_norms || shape->scales ? alone : with);
    if (shape->post_norms) {
        add(l, "norm+add by norm");
    } else if (shape->scales) {
        add(l, "scale+add by elementwise");
    }
}

/* The matmuls of q and k alone, in the words of those of all three. */
static const char *without_v(const char *line)
{
    bool norms = line && strncmp(line, "norm+", 5) == 0;
    return norms ? "norm+matmul+matmul by matmul, norms" : "matmul+matmul by matmul";
}

/* Behind the feed-forward. `own`: the gate's matmul makes its input ready itself; form: else the
 * step that does; glu, ready: the gate, and what makes it ready for the matmul behind it, NULL: the
 * same. */
static void add_end(struct lines *l, const struct arch *a, bool own, const char *form,
                    const char *glu, const char *ready)
{
    if (a->side) {
        add(l, "pick by elementwise");
        if (!own) {
            add(l, form);
        }
        add(l, own ? "matmul by matmul, quantizes" : "matmul by matmul");
        add(l, glu);
        if (ready) {
            add(l, ready);
        }
        add(l, "matmul by matmul");
        add(l, "norm+add by norm");
    }
    if (arch_shape_of(a->name)->layer_scale) {
        add(l, "scale by elementwise");
    }
}

/* What stands in front of the first matmuls of attention or of the feed-forward, and these. A norm
 * that decode leaves to its readers is `by_readers`. */
static void add_input(struct lines *l, const struct arch *a, bool second, const char *norm,
                      const char *quantize, const char *plain, const char *by_readers)
{
    const struct arch_shape *shape = arch_shape_of(a->name);
    if (a->no_kv && !second) {
        plain = "matmul by matmul";
    } else if (a->no_v && !second) {
        plain = without_v(plain);
        by_readers = by_readers ? without_v(by_readers) : NULL;
    }
    if (shape->no_pre_norms) {
        add(l, quantize);
    } else if (shape->layer_norm) {
        if (!second) {
            add(l, strstr(quantize, "r13") ? "layer_norm by norm, to r13"
                                           : "layer_norm by norm, to q256");
        }
    } else if (by_readers) {
        add(l, by_readers);
        return;
    } else {
        add(l, norm);
    }
    if (plain) {
        add(l, plain);
    }
}

/* What stands in front of attention, and attention, in a kernel each. */
static void add_attention(struct lines *l, const struct arch *a, bool few)
{
    bool turns = false; /* the store turns K */
    for (int i = 0; a->front[i]; i++) {
        turns = !a->no_kv && !a->front[i + 1] && strcmp(a->front[i], "rope by rope") == 0;
        if (!turns) {
            add(l, a->front[i]);
        }
    }
    if (!a->no_kv) {
        add(l, turns ? "rope+kv_store by kv_store" : "kv_store by kv_store");
    }
    add(l, few ? "attention by attention, split" : "attention by attention");
}

/* Attention in decode. */
static void add_decode(struct lines *l, const struct arch *a)
{
    if (a->decode) {
        add(l, a->decode);
    } else {
        add_attention(l, a, true);
    }
}

/* A router and experts; beside them one feed-forward, whose input is the experts'. */
enum input { FLOATS, BY_ITSELF, FEW, MANY }; /* weights of floats; who quantizes for the others */
static void add_experts(struct lines *l, const struct arch *a, enum input input)
{
    bool floats = input == FLOATS, gated = arch_shape_of(a->name)->shared_gate;
    add(l, "norm by norm");
    add(l, gated && !floats ? "matmul+matmul by matmul" : "matmul by matmul"); /* router, gate */
    add(l, "route by route");
    const char *quantize = floats ? "by quantize, to r13" : "by quantize, to q256";
    bool scales = arch_shape_of(a->name)->scales, itself = input == BY_ITSELF;
    if (itself) {
        add(l, "experts+experts+glu by experts, quantizes");
        add(l, "experts by experts, quantizes");
    } else {
        add(l, quantize);
        if (input == MANY) {
            add(l, "experts by experts");
            add(l, "experts by experts");
            add(l, "glu by quantize, to q256");
        } else {
            add(l, "experts+experts+glu by experts");
            add(l, quantize);
        }
        add(l, "experts by experts");
    }
    if (!a->shared && !gated && !scales) {
        add(l, "combine+add by expert_rows");
        return;
    }
    add(l, "combine by expert_rows");
    if (a->shared) {
        add(l, itself          ? "matmul+matmul+glu by matmul, quantizes"
               : input == MANY ? "matmul+matmul by matmul"
                               : "matmul+matmul+glu by matmul");
        if (input != BY_ITSELF) {
            add(l, floats          ? "by quantize, to r13"
                   : input == MANY ? "glu by quantize, to q256"
                                   : "by quantize, to q256");
        }
        const char *down = gated ? "matmul by matmul" : "matmul+add by matmul";
        const char *by_itself =
            gated ? "matmul by matmul, quantizes" : "matmul+add by matmul, quantizes";
        add(l, itself ? by_itself : down);
    }
    if (gated) {
        if (floats) {
            add(l, "matmul by matmul");
        }
        add(l, "gate+add+add by elementwise");
    } else {
        add(l, scales ? "scale+add by elementwise" : "add by elementwise");
    }
}

/* Five kernels a layer, two more where norms stand behind. */
static struct lines decode_layer(const struct arch *a)
{
    struct lines l = {0};
    const struct arch_shape *shape = arch_shape_of(a->name);
    bool bare = shape->no_pre_norms; /* a matmul quantizes by itself */
    add_input(&l, a, false, NULL, "matmul+matmul+matmul by matmul, quantizes",
              bare ? NULL : "matmul+matmul+matmul by matmul",
              "norm+matmul+matmul+matmul by matmul, norms");
    add_decode(&l, a);
    add_residual(&l, a, "matmul+add by matmul, quantizes", "matmul by matmul, quantizes");
    if (a->experts) {
        add_experts(&l, a, BY_ITSELF);
        return l;
    }
    add_input(&l, a, true, NULL, "matmul+matmul+glu by matmul, quantizes",
              bare ? NULL : "matmul+matmul+glu by matmul",
              "norm+matmul+matmul+glu by matmul, norms");
    add_residual(&l, a, "matmul+add by matmul, quantizes", "matmul by matmul, quantizes");
    add_end(&l, a, true, NULL, "glu by quantize, to q256", NULL);
    return l;
}

static struct lines batch_layer(const struct arch *a, bool few)
{
    struct lines l = {0};
    add_input(&l, a, false, "norm by norm, to q256", "by quantize, to q256",
              "matmul+matmul+matmul by matmul", NULL);
    add_attention(&l, a, few);
    add(&l, "by quantize, to q256");
    add_residual(&l, a, "matmul+add by matmul", "matmul by matmul");
    if (a->experts) {
        add_experts(&l, a, few ? FEW : MANY);
        return l;
    }
    add_input(&l, a, true, "norm by norm, to q256", "by quantize, to q256",
              few ? "matmul+matmul+glu by matmul" : "matmul+matmul by matmul", NULL);
    add(&l, few ? "by quantize, to q256" : "glu by quantize, to q256");
    add_residual(&l, a, "matmul+add by matmul", "matmul by matmul");
    add_end(&l, a, false, "by quantize, to q256", "glu by quantize, to q256", NULL);
    return l;
}

/* A model of random weights. */
struct made {
    struct gguf_build b;
    struct lk_gguf *g;
    struct lk_plan *plan;
};

static struct made make(const char *arch, enum lk_type type)
{
    struct made m;
    struct model_params params = model_params_default(arch, type, 3);
    lk_error err;
    model_build(&m.b, &params);
    cr_assert_eq(lk_gguf_open_memory(m.b.data, m.b.n, &m.g, &err), LK_OK, "%s", err.message);
    m.plan = plan_of(m.g);
    return m;
}

static void unmake(struct made *m)
{
    lk_plan_free(&m->plan);
    lk_gguf_close(&m->g);
    gb_free(&m->b);
}

Test(vk_fuse, a_layer_of_every_architecture)
{
    for (size_t i = 0; i < LK_COUNT(ARCHS); i++) {
        const struct arch *a = &ARCHS[i];
        struct made m = make(a->name, LK_TYPE_Q4_K);
        for (int layer = 0; layer < m.plan->n_layer; layer++) {
            struct arch at = arch_at(m.plan, a, layer);
            struct lines want[LK_VK_LISTS] = {decode_layer(&at), batch_layer(&at, true),
                                              batch_layer(&at, false)};
            for (int k = 0; k < LK_VK_LISTS; k++) {
                groups_are(m.plan, (enum lk_vk_list_kind)k, true, layer, a->name, want[k].line);
            }
        }
        unmake(&m);
    }
}

/* ---- tiny models ---- */

/* The same with biases of all products: what stands behind one is not done by it. */
static const char *const BIASED[] = {
    "norm by norm, to r13",
    "matmul+matmul+matmul by matmul",
    "bias+bias+bias+rope+rope+kv_store+attention by attention_decode",
    "by quantize, to r13",
    "matmul by matmul",
    "bias+add by elementwise",
    "norm by norm, to r13",
    "matmul+matmul by matmul",
    "bias by elementwise",
    "bias by elementwise",
    "glu by elementwise",
    "by quantize, to r13",
    "matmul by matmul",
    "bias+add by elementwise",
    NULL,
};

/* And with a dense feed-forward and experts beside each other. */
static const char *const BESIDE[] = {
    "norm by norm, to r13",
    "matmul+matmul+matmul by matmul",
    "norm+norm+norm+" ROPES,
    "by quantize, to r13",
    "matmul by matmul",
    "norm+add by norm",
    "norm by norm, to r13",
    "matmul+matmul+glu by matmul",
    "by quantize, to r13",
    "matmul by matmul",
    "norm by norm",
    "norm by norm, to r13",
    "norm by norm",
    "matmul by matmul",
    "route by route",
    "experts+experts+glu by experts",
    "by quantize, to r13",
    "experts by experts",
    "combine by expert_rows",
    "norm+add by norm",
    "norm+add by norm",
    "scale by elementwise",
    NULL,
};

/* A layer in decode, with weights of floats: their input is made ready by steps of its own. */
static struct lines float_layer(const struct arch *a, bool f32, const char *norm)
{
    struct lines l = {0};
    add_input(&l, a, false, norm, "by quantize, to r13", "matmul+matmul+matmul by matmul", NULL);
    add_decode(&l, a);
    for (int half = 0; half < 2; half++) {
        if (!f32) {
            add(&l, "by quantize, to r13");
        }
        add_residual(&l, a, "matmul+add by matmul", "matmul by matmul");
        if (half == 0 && a->experts) {
            add_experts(&l, a, FLOATS);
            break;
        }
        if (half == 0) {
            add_input(&l, a, true, norm, "by quantize, to r13", "matmul+matmul+glu by matmul",
                      NULL);
        }
    }
    add_end(&l, a, false, "by quantize, to r13", "glu by elementwise", "by quantize, to r13");
    return l;
}

static void decode_of_tiny(const struct lk_plan *plan, const char *path)
{
    const struct arch *a = ARCHS;
    while (strcmp(a->name, plan->arch) != 0) {
        a++;
        cr_assert(a < ARCHS + LK_COUNT(ARCHS), "no row for %s", plan->arch);
    }
    bool f32 = plan->weights[plan->ops[2].weight].type == LK_TYPE_F32;
    const char *norm = f32 ? "norm by norm" : "norm by norm, to r13";
    bool biased = strstr(path, "-bias.") != NULL;
    for (int i = 0; i < plan->n_layer; i++) {
        struct arch at = arch_at(plan, a, i);
        char decode[128];
        if (n_of(plan, i, LK_OP_BIAS) == 3 && !strstr(at.decode, "bias")) { /* of some files */
            snprintf(decode, sizeof decode, "bias+bias+bias+%s", at.decode);
            at.decode = decode;
        }
        struct lines l = float_layer(&at, f32, norm);
        bool beside = at.experts && arch_shape_of(a->name)->two_heads;
        groups_are(plan, LK_VK_DECODE, true, i, path, biased ? BIASED : beside ? BESIDE : l.line);
    }
    static const char *const EMBED[] = {"embed by embed", NULL};
    static const char *const SIDE[] = {
        "embed by embed",     "embed by lookup",      "by quantize, to r13",
        "matmul by matmul",   "scale by elementwise", "norm by norm",
        "add by elementwise", "scale by elementwise", NULL};
    bool side = n_of(plan, -1, LK_OP_EMBED) == 2;
    const struct arch_shape *shape = arch_shape_of(a->name);
    bool cap = strcmp(a->name, "gemma2") == 0 || strstr(path, "tiny-gemma4.gguf");
    const char *last = shape->scales || shape->logit_scale ? "scale by elementwise"
                       : cap                               ? "softcap by elementwise"
                                                           : NULL;
    const char *of_head = shape->layer_norm ? "layer_norm by norm, to r13" : norm;
    const char *head[] = {"gather by name", of_head, "matmul by matmul", last, NULL};
    groups_are(plan, LK_VK_DECODE, true, -1, path, side ? SIDE : EMBED);
    groups_are(plan, LK_VK_DECODE, true, plan->n_layer, path, head);
}

/* Unfused, an op is a group, and what makes its input ready is another. */
static void unfused(const struct lk_plan *plan, enum lk_vk_list_kind list, const char *path)
{
    struct lk_vk_groups groups = vk_groups_of(plan, list, false, &VK_FACTS_GPU, path);
    int n = 0;
    for (int i = 0; i < groups.n; i++) {
        const struct lk_vk_group *g = &groups.group[i];
        bool ready = g->kind == LK_VK_GROUP_QUANTIZE && g->n_ops == 0;
        cr_assert(ready || (g->n_ops == 1 && g->op[0] == g->lead), "%s: group of %d", path,
                  g->lead);
        cr_assert(!g->in_beside && (g->kind != LK_VK_GROUP_MATMUL || !g->u.matmul.prep));
        n += g->n_ops;
    }
    cr_assert_eq(n, plan->n_ops);
    lk_vk_groups_free(&groups);
}

static bool has_states(const struct lk_plan *plan)
{
    bool has = false;
    for (int i = 0; i < plan->n_states; i++) {
        has |= !lk_state_is_paged(&plan->states[i]);
    }
    return has;
}

Test(vk_fuse, tiny_models_in_every_list)
{
    for (size_t i = 0; i < test_n_models(); i++) {
        const char *path = test_model_path(i);
        struct lk_gguf *g;
        lk_error err;
        cr_assert_eq(lk_gguf_open(path, &g, &err), LK_OK, "%s", err.message);
        struct lk_plan *plan = plan_of(g);
        /* No kernel of decode knows sinks; layers with states, or of latent rows, have a test. */
        bool others = has_states(plan) || arch_shape_of(plan->arch)->latent;
        if (strcmp(plan->arch, "gpt-oss") != 0 && !others) {
            decode_of_tiny(plan, path);
        }
        for (int list = 0; list < LK_VK_LISTS; list++) {
            unfused(plan, (enum lk_vk_list_kind)list, path);
        }
        lk_plan_free(&plan);
        lk_gguf_close(&g);
    }
}

/* A layer with states, and one that attends, whose q is a part of what its matmul makes: a kernel
 * for each op between the matmuls. */
Test(vk_fuse, layers_with_states)
{
    static const char *const CONV[2][12] = {
        {"norm+matmul by matmul, norms", "pick by elementwise", "pick by elementwise",
         "pick by elementwise", "glu by elementwise", "conv by conv", "glu by quantize, to q256",
         "matmul+add by matmul", "norm+matmul+matmul+glu by matmul, norms",
         "matmul+add by matmul, quantizes", NULL},
        {"norm+matmul+matmul+matmul by matmul, norms", "norm+norm+" ROPES,
         "matmul+add by matmul, quantizes", "norm+matmul+matmul+glu by matmul, norms",
         "matmul+add by matmul, quantizes", NULL}};
    struct made lfm2 = make("lfm2", LK_TYPE_Q4_K);
    for (int layer = 0; layer < 4; layer++) {
        groups_are(lfm2.plan, LK_VK_DECODE, true, layer, "lfm2", CONV[layer % 2]);
    }
    unmake(&lfm2);
    static const char *const MAMBA[] = {"norm+matmul+matmul+matmul by matmul, norms",
                                        "bias+delta_gates by delta_gates",
                                        "conv by conv",
                                        "ssm by ssm",
                                        "glu by elementwise",
                                        "norm by norm",
                                        "matmul by matmul, quantizes",
                                        "scale+add by elementwise",
                                        "norm by norm",
                                        "matmul by matmul",
                                        "route by route",
                                        "experts+experts+glu by experts, quantizes",
                                        "experts by experts, quantizes",
                                        "combine by expert_rows",
                                        "matmul+matmul+glu by matmul, quantizes",
                                        "matmul+add by matmul, quantizes",
                                        "scale+add by elementwise",
                                        NULL};
    struct made granite = make("granitehybrid", LK_TYPE_Q4_K);
    groups_are(granite.plan, LK_VK_DECODE, true, 0, "granitehybrid", MAMBA);
    unmake(&granite);
    static const char *const ALONE[] = {"norm+matmul by matmul, norms", "glu by quantize, to q256",
                                        "matmul+add by matmul", NULL};
    struct made nemotron = make("nemotron_h", LK_TYPE_Q4_K); /* a layer is one branch */
    groups_are(nemotron.plan, LK_VK_DECODE, true, 2, "nemotron_h", ALONE);
    unmake(&nemotron);
    struct made m = make("qwen35", LK_TYPE_Q4_K);
    static const char *const WANT[2][20] = {
        {"norm+matmul+matmul+matmul by matmul, norms", "norm+matmul by matmul, norms",
         "bias+delta_gates by delta_gates", "conv by conv", "l2_norm by l2_norm", "delta by delta",
         "norm+glu by norm", "matmul+add by matmul, quantizes",
         "norm+matmul+matmul+glu by matmul, norms", "matmul+add by matmul, quantizes", NULL},
        {"norm+matmul+matmul+matmul by matmul, norms", "pick by elementwise",
         "pick+norm+norm+" ROPES, "glu by quantize, to q256", "matmul+add by matmul",
         "norm+matmul+matmul+glu by matmul, norms", "matmul+add by matmul, quantizes", NULL}};
    for (int layer = 0; layer < 4; layer++) {
        groups_are(m.plan, LK_VK_DECODE, true, layer, "qwen35", WANT[layer % 2]);
    }
    unmake(&m);
}

/* Latent rows: what is made of the hidden row is one kernel where types allow, products by head
 * make their input ready; attention of keys and values of different widths is in steps of its own.
 */
Test(vk_fuse, layers_of_latent_rows)
{
    static const char *const WANT[LK_VK_LISTS][28] = {
        [LK_VK_DECODE] = {"norm+matmul+matmul+matmul by matmul, norms",
                          "norm+matmul by matmul, norms", "pick by elementwise",
                          "pick by elementwise", "rope by rope", "heads by heads, quantizes",
                          "join by elementwise", "norm by norm", "rope by rope",
                          "join by elementwise", "kv_store by kv_store",
                          "attention by attention, split", "heads by heads, quantizes",
                          "matmul+add by matmul, quantizes",
                          "norm+matmul+matmul+glu by matmul, norms",
                          "matmul+add by matmul, quantizes", NULL},
        [LK_VK_MANY] = {"norm by norm, to q256",
                        "matmul+matmul+matmul by matmul",
                        "norm by norm, to q256",
                        "matmul by matmul",
                        "pick by elementwise",
                        "pick by elementwise",
                        "rope by rope",
                        "heads by heads",
                        "join by elementwise",
                        "norm by norm",
                        "rope by rope",
                        "join by elementwise",
                        "kv_store by kv_store",
                        "attention by attention",
                        "heads by heads",
                        "by quantize, to q256",
                        "matmul+add by matmul",
                        "norm by norm, to q256",
                        "matmul+matmul by matmul",
                        "glu by quantize, to q256",
                        "matmul+add by matmul",
                        NULL}};
    struct made m = make("deepseek2", LK_TYPE_Q4_K);
    groups_are(m.plan, LK_VK_DECODE, true, 0, "deepseek2", WANT[LK_VK_DECODE]);
    groups_are(m.plan, LK_VK_MANY, true, 0, "deepseek2", WANT[LK_VK_MANY]);
    unmake(&m);
}

/* Encoders: biases behind norms, a feed-forward without a gate; many tokens in a batch, always. */
Test(vk_fuse, layers_of_encoders)
{
    static const char *const BERT[] = {"by quantize, to q256",
                                       "matmul+matmul+matmul by matmul",
                                       "bias by elementwise",
                                       "bias by elementwise",
                                       "bias by elementwise",
                                       "kv_store by kv_store",
                                       "attention by attention",
                                       "by quantize, to q256",
                                       "matmul by matmul",
                                       "bias+add by elementwise",
                                       "layer_norm by norm",
                                       "bias by elementwise",
                                       "by quantize, to q256",
                                       "matmul by matmul",
                                       "bias by elementwise",
                                       "gelu by quantize, to q256",
                                       "matmul by matmul",
                                       "bias+add by elementwise",
                                       "layer_norm by norm",
                                       "bias by elementwise",
                                       NULL};
    static const char *const NOMIC[] = {"by quantize, to q256",
                                        "matmul+matmul+matmul by matmul",
                                        "rope by rope",
                                        "rope+kv_store by kv_store",
                                        "attention by attention",
                                        "by quantize, to q256",
                                        "matmul+add by matmul",
                                        "layer_norm by norm",
                                        "bias by elementwise",
                                        "by quantize, to q256",
                                        "matmul+matmul by matmul",
                                        "glu by quantize, to q256",
                                        "matmul+add by matmul",
                                        "layer_norm by norm",
                                        "bias by elementwise",
                                        NULL};
    static const char *const EMBED[] = {"embed by embed",
                                        "bias by elementwise",
                                        "embed by embed",
                                        "add by elementwise",
                                        "layer_norm by norm",
                                        "bias by elementwise",
                                        NULL};
    static const char *const HEAD[] = {"gather by gather", NULL};
    struct made bert = make("bert", LK_TYPE_Q4_K), nomic = make("nomic-bert", LK_TYPE_Q4_K);
    groups_are(bert.plan, LK_VK_MANY, true, -1, "bert", EMBED);
    groups_are(bert.plan, LK_VK_MANY, true, 1, "bert", BERT);
    groups_are(bert.plan, LK_VK_MANY, true, 2, "bert", HEAD);
    groups_are(nomic.plan, LK_VK_MANY, true, 1, "nomic-bert", NOMIC);
    for (int list = 0; list < LK_VK_LISTS; list++) {
        unfused(bert.plan, (enum lk_vk_list_kind)list, "bert");
        unfused(nomic.plan, (enum lk_vk_list_kind)list, "nomic-bert");
    }
    unmake(&bert);
    unmake(&nomic);
}

/* Biases behind every product, and sinks. */
Test(vk_fuse, a_layer_with_sinks_and_biases_of_experts)
{
    struct made m = make("gpt-oss", LK_TYPE_Q4_K);
    static const char *const WANT[] = {"norm+matmul+matmul+matmul by matmul, norms",
                                       "bias+bias+bias+rope+rope+kv_store+attention by "
                                       "attention_decode",
                                       "matmul by matmul, quantizes",
                                       "bias+add by elementwise",
                                       "norm by norm",
                                       "matmul by matmul",
                                       "bias by elementwise",
                                       "route by route",
                                       "experts by experts, quantizes",
                                       "expert_bias by expert_rows",
                                       "experts by experts, quantizes",
                                       "expert_bias by expert_rows",
                                       "glu by quantize, to q256",
                                       "experts by experts",
                                       "expert_bias by expert_rows",
                                       "combine+add by expert_rows",
                                       NULL};
    groups_are(m.plan, LK_VK_DECODE, true, 1, "gpt-oss", WANT);
    unmake(&m);
}

/* Parts of a model of every type of weight, on a small and a large device: what must hold of any
 * groups is checked where they are made. */
Test(vk_fuse, parts_of_models_of_every_type)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        struct made m = make(ARCHS[t % LK_COUNT(ARCHS)].name, types[t].type);
        int n = m.plan->n_layer;
        for (int at = 0; at < n; at++) {
            struct lk_plan *part;
            lk_error err;
            cr_assert_eq(lk_plan_slice(m.plan, lk_stage_of(at), lk_stage_of(at + 1), at == 0,
                                       at + 1 == n, &part, &err),
                         LK_OK, "%s", err.message);
            for (int k = 0; k < LK_VK_LISTS * 4; k++) {
                struct lk_vk_groups groups = vk_groups_of(part, (enum lk_vk_list_kind)(k / 4),
                                                          k & 1, FACTS[k / 2 % 2], types[t].name);
                lk_vk_groups_free(&groups);
            }
            lk_plan_free(&part);
        }
        unmake(&m);
    }
}

/* Keeping every op's result is the same as fusing nothing. */
Test(vk_fuse, kept_ops_are_not_fused)
{
    struct made m = make("qwen3", LK_TYPE_Q8_0);
    for (int k = 0; k < LK_VK_LISTS; k++) {
        enum lk_vk_list_kind list = (enum lk_vk_list_kind)k;
        struct lk_exec_options o = {.plan = m.plan, .fuse = true, .keep_ops = true};
        struct lk_vk_groups kept, apart = vk_groups_of(m.plan, list, false, FACTS[1], "apart");
        lk_error err;
        cr_assert_eq(lk_vk_fuse(&o, list, FACTS[1], &kept, &err), LK_OK, "%s", err.message);
        cr_assert_eq(kept.n, apart.n);
        for (int i = 0; i < kept.n; i++) {
            char x[200], y[200];
            vk_group_text(m.plan, &kept.group[i], x, sizeof x);
            vk_group_text(m.plan, &apart.group[i], y, sizeof y);
            cr_assert_str_eq(x, y);
            cr_assert_eq(kept.group[i].lead, apart.group[i].lead);
        }
        lk_vk_groups_free(&kept);
        lk_vk_groups_free(&apart);
    }
    unmake(&m);
}
