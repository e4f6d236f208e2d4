/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_groups: see vk_groups.h.
 */
#include "tests/vulkan/vk_groups.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct lk_vk_facts VK_FACTS_LEAST = {.max_threads = 128,
                                           .shared_bytes = 16384,
                                           .max_groups = 65535,
                                           .many_tiles = 512,
                                           .split_tokens = 32,
                                           .max_binding = 1u << 27,
                                           .max_block = 1u << 30,
                                           .narrow = true};
const struct lk_vk_facts VK_FACTS_GPU = {.max_threads = 1024,
                                         .shared_bytes = 49152,
                                         .max_groups = 2147483647,
                                         .many_tiles = 512,
                                         .split_tokens = 32,
                                         .max_binding = 4294967295,
                                         .max_block = 1u << 30,
                                         .int_dot = true,
                                         .narrow = true};

/* ---- what must hold of any groups ---- */

static bool covers(const struct lk_vk_group *g, int op)
{
    for (int i = 0; i < g->n_ops; i++) {
        if (g->op[i] == op) {
            return true;
        }
    }
    return false;
}

static bool names(const struct lk_vk_rows *rows, int n, int slot)
{
    for (int i = 0; i < n; i++) {
        if (rows[i].slot == slot) {
            return true;
        }
    }
    return false;
}

/* Whether an op of the group makes the slot. */
static bool makes(const struct lk_plan *plan, const struct lk_vk_group *g, int slot)
{
    for (int i = 0; i < g->n_ops; i++) {
        if (plan->ops[g->op[i]].out == slot) {
            return true;
        }
    }
    return false;
}

/* A group reads what its ops read and do not make themselves, and nothing else. */
static void check_reads(const struct lk_plan *plan, const struct lk_vk_group *g, const char *what)
{
    bool wanted[LK_VK_GROUP_IN] = {false};
    for (int i = 0; i < g->n_ops; i++) {
        const struct lk_op *op = &plan->ops[g->op[i]];
        for (int k = 0; k < op->n_in; k++) {
            int slot = op->in[k];
            if (makes(plan, g, slot)) {
                continue;
            }
            cr_assert(names(g->in, g->n_in, slot), "%s: op %d reads slot %d", what, g->op[i], slot);
            for (int n = 0; n < g->n_in; n++) {
                wanted[n] |= g->in[n].slot == slot;
            }
        }
    }
    for (int n = 0; n < g->n_in && g->n_ops; n++) {
        cr_assert(wanted[n], "%s: no op of group %d reads slot %d", what, g->lead, g->in[n].slot);
    }
}

/* What an op makes leaves the group, or is read by ops of the group alone. */
static void check_writes(const struct lk_plan *plan, const struct lk_vk_group *g, const char *what)
{
    for (int i = 0; i < g->n_ops; i++) {
        const struct lk_op *op = &plan->ops[g->op[i]];
        if (op->out < 0 || names(g->out, g->n_out, op->out)) {
            continue;
        }
        cr_assert_neq(op->out, plan->out_slot, "%s: the result is not written", what);
        for (int j = 0; j < plan->n_ops; j++) {
            bool reads = lk_op_reads(&plan->ops[j], op->out);
            /* a norm done by several groups leaves none of them */
            bool norm = op->kind == LK_OP_NORM && plan->ops[j].kind == LK_OP_MATMUL;
            cr_assert(!reads || covers(g, j) || norm, "%s: op %d reads slot %d of a group", what, j,
                      op->out);
        }
    }
    for (int n = 0; n < g->n_out && g->n_ops; n++) {
        cr_assert(makes(plan, g, g->out[n].slot), "%s: no op makes slot %d", what, g->out[n].slot);
    }
}

/* The rows of a slot in a form, among those that are there. */
static bool *there(bool *all, struct lk_vk_rows r)
{
    return &all[r.slot * (LK_ACTS_KINDS + 1) + r.form + 1];
}

static void check_group(const struct lk_plan *plan, const struct lk_vk_group *g, bool *all,
                        const char *what)
{
    for (int i = 0; i < g->n_in; i++) {
        cr_assert(*there(all, g->in[i]),
                  "%s: group %d reads slot %d in form %d, which is not there", what, g->lead,
                  g->in[i].slot, g->in[i].form);
    }
    for (int i = 0; i < g->n_out; i++) {
        cr_assert_not(*there(all, g->out[i]), "%s: slot %d is made twice", what, g->out[i].slot);
        *there(all, g->out[i]) = true;
    }
    for (int i = 1; i < g->n_ops; i++) {
        cr_assert_lt(g->op[i - 1], g->op[i], "%s: ops do not rise", what);
    }
    check_writes(plan, g, what);
}

struct lk_vk_groups vk_groups_of(const struct lk_plan *plan, enum lk_vk_list_kind list, bool fuse,
                                 const struct lk_vk_facts *facts, const char *what)
{
    struct lk_exec_options o = {.plan = plan, .fuse = fuse};
    struct lk_vk_groups groups;
    lk_error err;
    cr_assert_eq(lk_vk_fuse(&o, list, facts, &groups, &err), LK_OK, "%s: %s", what, err.message);
    bool *all = calloc((size_t)plan->n_slots * (LK_ACTS_KINDS + 1), sizeof *all);
    int *times = calloc((size_t)plan->n_ops, sizeof *times);
    if (plan->in_slot >= 0) {
        *there(all, (struct lk_vk_rows){plan->in_slot, LK_VK_PLAIN}) = true;
    }
    for (int i = 0; i < groups.n; i++) {
        const struct lk_vk_group *g = &groups.group[i];
        check_group(plan, g, all, what);
        check_reads(plan, g, what);
        for (int k = 0; k < g->n_ops; k++) {
            bool again = g->kind == LK_VK_GROUP_MATMUL && g->u.matmul.norm == g->op[k];
            cr_assert(times[g->op[k]] == 0 || again, "%s: op %d twice", what, g->op[k]);
            times[g->op[k]]++;
        }
    }
    for (int i = 0; i < plan->n_ops; i++) {
        cr_assert_gt(times[i], 0, "%s: op %d is not carried out", what, i);
    }
    cr_assert(*there(all, (struct lk_vk_rows){plan->out_slot, LK_VK_PLAIN}), "%s: no result", what);
    free(all);
    free(times);
    return groups;
}

/* ---- text ---- */

static void append(char *out, size_t n, const char *more)
{
    snprintf(out + strlen(out), n - strlen(out), "%s", more);
}

void vk_group_text(const struct lk_plan *plan, const struct lk_vk_group *g, char *out, size_t n)
{
    static const char *const KIND[] = {
        [LK_VK_GROUP_EMBED] = "embed",
        [LK_VK_GROUP_LOOKUP] = "lookup",
        [LK_VK_GROUP_NORM] = "norm",
        [LK_VK_GROUP_QUANTIZE] = "quantize",
        [LK_VK_GROUP_MATMUL] = "matmul",
        [LK_VK_GROUP_ROPE] = "rope",
        [LK_VK_GROUP_KV_STORE] = "kv_store",
        [LK_VK_GROUP_ATTENTION] = "attention",
        [LK_VK_GROUP_ATTENTION_DECODE] = "attention_decode",
        [LK_VK_GROUP_ELEMENTWISE] = "elementwise",
        [LK_VK_GROUP_GATHER] = "gather",
        [LK_VK_GROUP_NAME] = "name",
        [LK_VK_GROUP_ROUTE] = "route",
        [LK_VK_GROUP_EXPERTS] = "experts",
        [LK_VK_GROUP_HEADS] = "heads",
        [LK_VK_GROUP_CONV] = "conv",
        [LK_VK_GROUP_L2_NORM] = "l2_norm",
        [LK_VK_GROUP_DELTA_GATES] = "delta_gates",
        [LK_VK_GROUP_DELTA] = "delta",
        [LK_VK_GROUP_SSM] = "ssm",
        [LK_VK_GROUP_EXPERT_ROWS] = "expert_rows",
    };
    static const char *const FORM[] = {", to f32", ", to q32", ", to q256", ", to r13", ", to r16"};
    static const char *const PREP[] = {"", ", quantizes", ", norms"};
    out[0] = 0;
    for (int i = 0; i < g->n_ops; i++) {
        append(out, n, i ? "+" : "");
        append(out, n, lk_op_name(plan->ops[g->op[i]].kind));
    }
    append(out, n, g->n_ops ? " by " : "by ");
    append(out, n, KIND[g->kind]);
    append(out, n, g->kind == LK_VK_GROUP_MATMUL ? PREP[g->u.matmul.prep] : "");
    append(out, n, g->kind == LK_VK_GROUP_EXPERTS ? PREP[g->u.experts.prep] : "");
    append(out, n, g->kind == LK_VK_GROUP_HEADS ? PREP[g->u.heads.prep] : "");
    append(out, n, g->kind == LK_VK_GROUP_ATTENTION && g->u.attention.split ? ", split" : "");
    append(out, n, g->out[0].form != LK_VK_PLAIN && g->n_out ? FORM[g->out[0].form] : "");
}

void vk_groups_are(const struct lk_plan *plan, const struct lk_vk_groups *groups, int layer,
                   const char *what, const char *const *want)
{
    int at = 0;
    for (int i = 0; i < groups->n; i++) {
        char text[200];
        if (layer != -2 && plan->ops[groups->group[i].lead].layer != layer) {
            continue;
        }
        vk_group_text(plan, &groups->group[i], text, sizeof text);
        cr_assert(want[at], "%s: group %d is '%s', expected none", what, at, text);
        cr_assert_str_eq(text, want[at], "%s: group %d is '%s', expected '%s'", what, at, text,
                         want[at]);
        at++;
    }
    cr_assert(!want[at], "%s: %d groups, expected '%s'", what, at, want[at]);
}
