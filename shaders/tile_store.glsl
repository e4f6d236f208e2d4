/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile_store: which rows a tiled matmul reads, and where it puts a result, the residual added if
 * wanted. Included after EPI (with LK_VK_EPI_EXPERTS: rows that go to experts, or are of heads) and
 * STORES_OF.
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
const bool GLU = EPI == LK_VK_EPI_SILU || EPI == LK_VK_EPI_GELU; /* where STORE_GLU is */
const uint STORES = STORES_OF; /* tokens of a row that an invocation stores at a time */
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

#ifdef LK_MATRIX
#define STORE_UNROLL [[unroll]]
#else
#define STORE_UNROLL
#endif

/* Where the results of a row go: the buffer, its word of the first token (of experts, of their first
 * row), how far the next is, and the op that they are of. */
struct Place {
    uint to, at, stride, op;
};
const uint NOWHERE = 3u;

Place place_of(uint group, uint r)
{
    uint row = group * 32u + r;
    if (EXPERTS) {
        return Place(row < p.n0 ? 0u : NOWHERE, row, p.w0, p.op0);
    }
    if (group >= p.n_groups) {
        return Place(NOWHERE, 0u, 0u, 0u);
    }
    if (group < p.rg1) {
        return Place(row < p.n0 ? 0u : NOWHERE, p.at0 + row, p.w0, p.op0);
    }
    if (group < p.rg2) {
        row -= p.rg1 * 32u;
        return Place(row < p.n1 ? 1u : NOWHERE, row, p.w1, p.op1);
    }
    row -= p.rg2 * 32u;
    return Place(row < p.n2 ? 2u : NOWHERE, row, p.w2, p.op2);
}

/* Stores results of a row, STORES tokens of it at a time, so that none waits for the one before. */
void store(Place place, uint token[STORES], float value[STORES])
{
    bool add = EPI == LK_VK_EPI_ADD && place.to == 0u, far = false, far_next = false;
    uint limit = EXPERTS ? expert_rows : p.n_tokens;
    uint at[STORES];
    float y[STORES];
    STORE_UNROLL for (uint i = 0u; i < STORES; i++) {
        uint row = min(token[i], limit - 1u);
        at[i] = place.at + (EXPERTS ? row_of(row) : row) * place.stride;
        y[i] = add ? residual[at[i]] : 0.0;
    }
    STORE_UNROLL for (uint i = 0u; i < STORES; i++) {
        /* what is not stored is 0, so that nobody is told of it */
        precise float v = place.to != NOWHERE && token[i] < limit ? value[i] : 0.0;
        v = stored(v, far);
        if (add) {
            v = y[i] + v;
            v = stored(v, far_next);
        }
        y[i] = v;
    }
    if (add || place.to == 1u) {
        STORE_UNROLL for (uint i = 0u; i < STORES; i++) {
            if (token[i] < limit) {
                out1[at[i]] = y[i];
            }
        }
    } else if (place.to == 0u) {
        STORE_UNROLL for (uint i = 0u; i < STORES; i++) {
            if (token[i] < limit) {
                out0[at[i]] = y[i];
            }
        }
    } else if (place.to == 2u) {
        STORE_UNROLL for (uint i = 0u; i < STORES; i++) {
            if (token[i] < limit) {
                out2[at[i]] = y[i];
            }
        }
    }
    raise(far, place.op);
    raise(far_next, p.op_next);
}

#ifdef STORE_GLU
/* The same of the GLU of gate and up. */
void store_glu(Place place, uint token[STORES], float gate[STORES], float up[STORES])
{
    bool far = false, far_up = false, far_next = false;
    STORE_UNROLL for (uint i = 0u; i < STORES; i++) {
        bool there = place.to == 0u && token[i] < p.n_tokens;
        precise float y = stored(there ? gate[i] : 0.0, far);
        precise float u = stored(there ? up[i] : 0.0, far_up);
        y = EPI == LK_VK_EPI_SILU ? lk_silu(y) : lk_gelu(y);
        y = y * u;
        y = stored(y, far_next);
        if (there) {
            out0[place.at + token[i] * place.stride] = y;
        }
    }
    raise(far, p.op0);
    raise(far_up, p.op1);
    raise(far_next, p.op_next);
}
#endif
