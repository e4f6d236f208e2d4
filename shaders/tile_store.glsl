/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile_store: which rows a tiled matmul reads, and where it puts a result, the residual added if
 * wanted. Included after EPI (with LK_VK_EPI_EXPERTS: rows that go to experts, or are of heads).
 */
layout(std430, binding = 2) writeonly buffer Out0
{
    float out0[];
};
layout(std430, binding = 3) writeonly buffer Out1
{
    float out1[];
};
layout(std430, binding = 4) writeonly buffer Out2
{
    float out2[];
};
layout(std430, binding = 5) readonly buffer Residual
{
    float residual[];
};
layout(push_constant) uniform Push
{
    lk_vk_matmul_push p;
};

const bool EXPERTS = (EPI & LK_VK_EPI_EXPERTS) != 0u;
const bool HEADS = (EPI & LK_VK_EPI_HEADS) != 0u;
layout(std430, binding = 6) readonly buffer Sorted
{
    uint sorted[]; /* see lk_vk_sort_push; its rows begin at w1 */
};
uint expert_first = 0u; /* word of the first row of this tile; of heads, the row */
uint expert_rows = 0u;  /* that it has */
uint expert_group = 0u; /* the first row group of its expert in this chunk */

/* Finds the tile's rows; false where there is no such tile, or another chunk has its weights. */
bool begin_experts(uint t)
{
    if (HEADS) {
        uint tokens = p.n_tokens / p.w2;
        uint each = (tokens + p.w1 - 1u) / p.w1; /* tiles of a head */
        uint head = t / each, token = (t - head * each) * p.w1;
        expert_group = head * p.rg1 - p.at0;
        expert_first = token * p.w2 + head;
        expert_rows = min(tokens - token, p.w1);
        return head < p.w2 && expert_group < p.n_groups;
    }
    if (t >= sorted[0]) {
        return false;
    }
    uint at = LK_VK_SORT_TILES + 4u * t;
    expert_group = sorted[at] * p.rg1 - p.at0;
    expert_first = p.w1 + sorted[at + 1u];
    expert_rows = sorted[at + 2u];
    return expert_group < p.n_groups;
}

/* The row of a token that the tile has. */
uint row_of(uint token)
{
    return HEADS ? expert_first + token * p.w2 : sorted[expert_first + token];
}

/* The row of activations of a token of the tile; of one past the end, some row that is there. */
uint expert_row(uint token)
{
    return row_of(min(token, expert_rows - 1u)) / p.rg2;
}

void store_row(uint group, uint r, uint token, float value)
{
    precise float y = value;
    if (EXPERTS) {
        uint row = group * 32u + r;
        if (token < expert_rows && row < p.n0) {
            out0[row_of(token) * p.w0 + row] = store_value(y, p.op0);
        }
        return;
    }
    if (token >= p.n_tokens || group >= p.n_groups) {
        return;
    }
    if (group < p.rg1) {
        uint row = group * 32u + r;
        if (row < p.n0) {
            uint at = token * p.w0 + p.at0 + row;
            y = store_value(y, p.op0);
            if (EPI == LK_VK_EPI_ADD) {
                precise float z = residual[at] + y;
                out1[at] = store_value(z, p.op_next);
            } else {
                out0[at] = y;
            }
        }
    } else if (group < p.rg2) {
        uint row = (group - p.rg1) * 32u + r;
        if (row < p.n1) {
            out1[token * p.w1 + row] = store_value(y, p.op1);
        }
    } else {
        uint row = (group - p.rg2) * 32u + r;
        if (row < p.n2) {
            out2[token * p.w2 + row] = store_value(y, p.op2);
        }
    }
}
