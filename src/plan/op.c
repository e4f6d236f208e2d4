/* SPDX-License-Identifier: Apache-2.0
 *
 * Op: see op.h.
 */
#include "plan/op.h"

#include <string.h>

struct lk_op lk_op_make(enum lk_op_kind kind, int in0, int in1, int out, int weight)
{
    return (struct lk_op){.kind = kind,
                          .in = {in0, in1},
                          .n_in = in0 < 0   ? 0
                                  : in1 < 0 ? 1
                                            : 2,
                          .out = out,
                          .weight = weight};
}

struct lk_weight lk_weight_of_expert(const struct lk_weight *w, int expert)
{
    struct lk_weight one = *w;
    one.rows = w->rows / w->n_experts;
    one.n_bytes = w->n_bytes / (size_t)w->n_experts;
    one.n_experts = 0;
    one.apart = 0;
    one.data = (const uint8_t *)w->data + (size_t)expert * (w->apart ? w->apart : one.n_bytes);
    return one;
}

const char *lk_op_name(enum lk_op_kind kind)
{
    switch (kind) {
    case LK_OP_EMBED:
        return "embed";
    case LK_OP_NORM:
        return "norm";
    case LK_OP_LAYER_NORM:
        return "layer_norm";
    case LK_OP_MATMUL:
        return "matmul";
    case LK_OP_BIAS:
        return "bias";
    case LK_OP_ROPE:
        return "rope";
    case LK_OP_KV_STORE:
        return "kv_store";
    case LK_OP_ATTENTION:
        return "attention";
    case LK_OP_GLU:
        return "glu";
    case LK_OP_GELU:
        return "gelu";
    case LK_OP_ADD:
        return "add";
    case LK_OP_SCALE:
        return "scale";
    case LK_OP_GATHER:
        return "gather";
    case LK_OP_SOFTCAP:
        return "softcap";
    case LK_OP_ROUTE:
        return "route";
    case LK_OP_EXPERTS:
        return "experts";
    case LK_OP_EXPERT_BIAS:
        return "expert_bias";
    case LK_OP_EXPERT_SCALE:
        return "expert_scale";
    case LK_OP_COMBINE:
        return "combine";
    case LK_OP_GATE:
        return "gate";
    case LK_OP_PICK:
        return "pick";
    case LK_OP_JOIN:
        return "join";
    case LK_OP_HEADS:
        return "heads";
    case LK_OP_CONV:
        return "conv";
    case LK_OP_L2_NORM:
        return "l2_norm";
    case LK_OP_DELTA_GATES:
        return "delta_gates";
    case LK_OP_DELTA:
        return "delta";
    case LK_OP_SSM:
        return "ssm";
    case LK_OP_KINDS:
        break;
    }
    return "unknown";
}

const char *lk_weight_short_name(const struct lk_weight *w)
{
    if (strncmp(w->name, "blk.", 4) == 0) {
        const char *dot = strchr(w->name + 4, '.');
        return dot ? dot + 1 : w->name;
    }
    return w->name;
}
