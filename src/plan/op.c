/* SPDX-License-Identifier: Apache-2.0
 *
 * Op: names of the op kinds.
 */
#include "plan/op.h"

#include <string.h>

const char *lk_op_name(enum lk_op_kind kind)
{
    static const char *const NAMES[LK_OP_KINDS] = {
        [LK_OP_EMBED] = "embed",         [LK_OP_NORM] = "norm",       [LK_OP_MATMUL] = "matmul",
        [LK_OP_BIAS] = "bias",           [LK_OP_ROPE] = "rope",       [LK_OP_KV_STORE] = "kv_store",
        [LK_OP_ATTENTION] = "attention", [LK_OP_GLU] = "glu",         [LK_OP_ADD] = "add",
        [LK_OP_GATHER] = "gather",       [LK_OP_SOFTCAP] = "softcap",
    };
    return kind < LK_OP_KINDS ? NAMES[kind] : "unknown";
}

const char *lk_weight_short_name(const struct lk_weight *w)
{
    if (strncmp(w->name, "blk.", 4) == 0) {
        const char *dot = strchr(w->name + 4, '.');
        return dot ? dot + 1 : w->name;
    }
    return w->name;
}
