/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_matrix: attention of many tokens by products of int8 matrices (rule 8). A workgroup owns 64
 * query rows (heads of one KV head, tokens of one sequence), each of its four subgroups 16 of them,
 * and walks the chunks of 64 keys in rising order. Queries stay in registers as limbs, a chunk of K
 * and V goes through shared memory. Where heads are larger than 128, what registers hold of outputs
 * is halved: two subgroups have the same rows, each half of the keys and of the outputs.
 *
 * Scores leave the matrices through shared memory, where the invocations of a row take it: its
 * maxima, its weights, and these as limbs back into the same place. Outputs are joined where they
 * are: a row's factors are matrices whose columns are equal.
 */
#version 450
#ifdef LK_MATRIX
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#endif
#include "shaders/common.glsl"
#include "shaders/attention.glsl"

layout(local_size_x_id = 3) in; /* THREADS */
layout(constant_id = 1) const uint DIM = 128; /* padded head dimension, a multiple of 32 PARTS */
layout(constant_id = 2) const uint FLAGS = 0; /* LK_VK_ATTN_* */
const uint BITS = (FLAGS & LK_VK_ATTN_K8) != 0u ? LK_KV_K8_BITS : LK_KV_K_BITS;
const uint LIMBS = BITS == LK_KV_K_BITS ? 2u : 1u;
const uint PARTS = LK_VK_ATTN_MATRIX_PARTS(DIM); /* subgroups that have the same rows */
const uint THREADS = 128u * PARTS;
const uint OF_ROW = 2u * PARTS; /* invocations of a row between the matrices */

layout(std430, binding = 0) readonly buffer In
{
    float q_rows[];
};
layout(std430, binding = 1) readonly buffer KCache
{
    uint k_cache[];
};
layout(std430, binding = 2) readonly buffer VCache
{
    uint v_cache[];
};
layout(std430, binding = 3) readonly buffer Batch
{
    uint batch[];
};
layout(std430, binding = 4) writeonly buffer Out
{
    float out0[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_push p;
};

const uint ROWS = LK_VK_ATTN_MATRIX_ROWS;
const uint K_STRIDE = DIM / 16u + 1u; /* uvec4s of a key: one more, so that banks differ */
const uint V_STRIDE = 5u;             /* of a dimension's 64 values */
const uint S_STRIDE = 17u;            /* of a row's 64 scores */
const uint K_LOW = 64u * K_STRIDE;    /* where the low limbs of keys begin */
const uint K_TILE = 0u;
const uint K_WORDS = 2u * K_LOW, S_WORDS = ROWS * S_STRIDE, V_WORDS = DIM * V_STRIDE;
const uint S_TILE = 0u; /* scores and values take the place of keys */
const uint V_TILE = S_WORDS;
const uint OUT_WORDS = PARTS * S_WORDS; /* outputs leave by 64 dimensions of each half */
const uint BEHIND = V_WORDS > OUT_WORDS - S_WORDS ? V_WORDS : OUT_WORDS - S_WORDS;
const uint TILE = K_WORDS > S_WORDS + BEHIND ? K_WORDS : S_WORDS + BEHIND;

/* Queries, then keys, and in turn with them scores, weights and values. */
shared uvec4 tile[TILE];
shared vec4 k_scale[16], v_scale[16];
shared float f_old[ROWS], f_new[ROWS], down[ROWS];
shared uint small; /* whether a row's sums of this chunk may fall below rule 1's bound */
shared int pair_top[THREADS], pair_count[THREADS];
shared uint pair_most[THREADS];

#include "shaders/matrix.glsl"

/* In kernels for matrix units, what weighs a chunk is there twice: whole chunks have no masks. */
#ifdef LK_MATRIX
const bool SPLIT = true;
#else
const bool SPLIT = false;
#endif
const uint STEPS = DIM / 32u;           /* of a dot */
const uint OWN_KEYS = 64u / OF_ROW;     /* of a row's keys, those of an invocation, in fours */
const uint COLUMNS = DIM / 16u / PARTS; /* a subgroup's matrices of a row of outputs */

/* Which row of q and of the output is row `r` of the tile. */
uint row_of(uint r, uint first_token, uint head0, uint n_heads)
{
    return (first_token + r / n_heads) * p.n_head + head0 + r % n_heads;
}

float q_at(uint r, uint n_rows, uint place, uint d)
{
    return r < n_rows && d < p.head_dim ? q_rows[place + d] : lk_flt(0u);
}

/* The limbs of 16 dimensions of a query from d on, to the places of keys. */
void put_query(uint r, uint n_rows, uint place, uint d, uint a, float factor)
{
    uvec4 high, low;
    [[unroll]] for (uint k = 0u; k < 4u; k++) {
        uint e = d + 4u * k;
        precise vec4 x = vec4(q_at(r, n_rows, place, e), q_at(r, n_rows, place, e + 1u),
                              q_at(r, n_rows, place, e + 2u), q_at(r, n_rows, place, e + 3u));
        ivec4 q = quantize4(x, a, factor);
        high[k] = pack4(q >> 4);
        low[k] = pack4(q & 15);
    }
    tile[K_TILE + r * K_STRIDE + d / 16u] = high;
    tile[K_TILE + K_LOW + r * K_STRIDE + d / 16u] = low;
}

/* What an invocation holds of a chunk on its way from the cache to the tiles: FETCH times 16
 * dimensions of a key and 16 keys of a dimension, and a scale. */
const uint FETCH = DIM / 32u / PARTS;
uvec4 k_high[FETCH];
uvec2 k_low[FETCH];
uvec4 v_words[FETCH];
float k_fetched, v_fetched;

void fetch_keys(uint block, uint kv_head)
{
    uint lid = gl_LocalInvocationIndex, key = lid & 63u;
    uint at = LK_KV_HEAD_AT(block, kv_head, p.n_kv_head, DIM, BITS);
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint d = 16u * (OF_ROW * i + lid / 64u);
        [[unroll]] for (uint k = 0u; k < 4u; k++) {
            k_high[i][k] = k_cache[at + LK_KV_K_HIGH(d + 4u * k, key)];
        }
        if (LIMBS == 2u) {
            k_low[i].x = k_cache[at + LK_KV_K_LOW(DIM, d, key)];
            k_low[i].y = k_cache[at + LK_KV_K_LOW(DIM, d + 8u, key)];
        }
    }
    k_fetched = lk_flt(k_cache[at + LK_KV_SCALE_AT(DIM, BITS, key)]);
}

void put_keys()
{
    uint lid = gl_LocalInvocationIndex, key = lid & 63u;
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint at = K_TILE + key * K_STRIDE + OF_ROW * i + lid / 64u;
        tile[at] = k_high[i];
        if (LIMBS == 2u) {
            uvec2 low = k_low[i];
            tile[at + K_LOW] = uvec4(low.x, low.x >> 4, low.y, low.y >> 4) & 0x0f0f0f0fu;
        }
    }
    if (lid < 64u) {
        k_scale[key >> 2][key & 3u] = k_fetched;
    }
}

void fetch_values(uint block, uint kv_head)
{
    uint lid = gl_LocalInvocationIndex;
    uint at = LK_KV_HEAD_AT(block, kv_head, p.n_kv_head, DIM, LK_KV_V_BITS);
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint n = lid + THREADS * i, d = n % DIM, g = n / DIM;
        [[unroll]] for (uint k = 0u; k < 4u; k++) {
            v_words[i][k] = v_cache[at + LK_KV_V_AT(DIM, d, 16u * g + 4u * k)];
        }
    }
    v_fetched = lk_flt(v_cache[at + LK_KV_SCALE_AT(DIM, LK_KV_V_BITS, lid & 63u)]);
}

void put_values()
{
    uint lid = gl_LocalInvocationIndex;
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint n = lid + THREADS * i;
        tile[V_TILE + n % DIM * V_STRIDE + n / DIM] = v_words[i];
    }
    if (lid < 64u) {
        v_scale[lid >> 2][lid & 3u] = v_fetched;
    }
}

/* What the invocations of a row know of it. */
struct Row {
    int first, last; /* keys it takes part in; last < first: none */
    float q_scale, l;
    int n;
};

/* Whether the invocation's key 4 OF_ROW t + e is one of `span` from `from` on, which is all of them
 * where the chunk is whole for each row of the tile. */
bool takes_part(bool whole, uint t, uint e, int from, uint span)
{
    return whole || uint(int(4u * OF_ROW * t + e) - from) < span;
}

/* Scores of the invocation's keys of row r, a part of them; their largest whole exponent. */
int scores_of(bool whole, uint r, uint part, int from, uint span, float q_scale, inout bool far,
              out float s[OWN_KEYS])
{
    int top = NO_KEY;
    STEP_UNROLL for (uint t = 0u; t < BOUND(OWN_KEYS / 4u); t++) {
        ivec4 dot = ivec4(tile[S_TILE + r * S_STRIDE + OF_ROW * t + part]);
        vec4 scale = k_scale[OF_ROW * t + part];
        [[unroll]] for (uint e = 0u; e < 4u; e++) {
            bool used = takes_part(whole, t, e, from, span);
            s[4u * t + e] = score_of(dot[e], scale[e], q_scale,
                                     (FLAGS & LK_VK_ATTN_CAP) != 0u ? p.score_cap : 0u, used, far);
            top = used ? max(top, lk_rte(s[4u * t + e])) : top;
        }
    }
    return top;
}

/* rte of x times a power of two: that product is exact, so that an fma rounds as rte does. */
int rte_of(float x, float power)
{
    precise float t = fma(x, power, LK_MAGIC);
    return int(lk_bits(t) - LK_MAGIC_BITS);
}

/* Scores become weights times the scales of values: the largest of them, and the count of l. */
void weights_of(bool whole, uint part, int from, uint span, int top, inout float s[OWN_KEYS],
                out int count, out uint most)
{
    count = 0;
    most = 0u;
    STEP_UNROLL for (uint t = 0u; t < BOUND(OWN_KEYS / 4u); t++) {
        vec4 scale = v_scale[OF_ROW * t + part];
        [[unroll]] for (uint e = 0u; e < 4u; e++) {
            precise float w = 0.0;
            if (takes_part(whole, t, e, from, span)) {
                precise float pj = weight_of(s[4u * t + e], lk_rte(s[4u * t + e]), top);
                count += rte_of(pj, lk_flt(uint(127 + LK_L_BITS) << 23)); /* as count_of */
                w = pj * scale[e];
                most = max(most, lk_bits(w));
            }
            s[4u * t + e] = w;
        }
    }
}

/* F of 256 high + low, of sums that began at LK_MAGIC_BITS, both below 2^22. */
float joined(int high, int low)
{
    return fma(float_in(high), 256.0, float_in(low));
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    /* tiles that see the most keys first: the others fill the gaps they leave */
    uint tile_at = p.tiles + (gl_NumWorkGroups.x - 1u - gl_WorkGroupID.x) * 4u;
    uint first_token = batch[tile_at];
    uint n_tile_tokens = batch[tile_at + 1u];
    uint seq = batch[tile_at + 2u];
    uint kv_head = gl_WorkGroupID.y / p.head_tiles;
    uint group = p.n_head / p.n_kv_head;
    uint head0 = (gl_WorkGroupID.y % p.head_tiles) * ROWS;
    uint n_heads = min(group - head0, ROWS); /* of each token in this tile */
    uint n_rows = n_tile_tokens * n_heads;
    head0 += kv_head * group;
    uint pos0 = batch[p.pos + first_token];
    uint seq_end = batch[tile_at + 3u];
    uint last = pos0 + n_tile_tokens - 1u;
    last += min(p.ahead, seq_end - last);
    uint low_key = p.window != 0u && pos0 + 1u > p.window ? pos0 + 1u - p.window : 0u;
    uint r = lid / OF_ROW, part = lid % OF_ROW; /* this invocation's row, and part of its keys */
    uint row0 = (lid >> 5) / PARTS * 16u, side = (lid >> 5) % PARTS; /* of the subgroup */
    uint place = row_of(r, first_token, head0, n_heads) * p.head_dim;

    Row row;
    int pos = int(pos0 + r / n_heads);
    row.last = r < n_rows ? pos + min(int(p.ahead), int(seq_end) - pos) : -1;
    row.first = p.window != 0u ? max(pos + 1 - int(p.window), 0) : 0;
    row.n = NO_KEY;
    row.l = 0.0;
    if ((FLAGS & LK_VK_ATTN_SINK) != 0u && r < n_rows) {
        float sink = sinks[head0 + r % n_heads];
        row.n = lk_sink_exponent(sink);
        row.l = lk_sink_weight(sink);
    }
    uint a = 0u;
    for (uint d = part * (DIM / OF_ROW); d < (part + 1u) * (DIM / OF_ROW); d++) {
        a = max(a, lk_magnitude(q_at(r, n_rows, place, d)));
    }
    pair_most[lid] = a;
    barrier();
    [[unroll]] for (uint k = 1u; k < OF_ROW; k++) {
        a = max(a, pair_most[lid ^ k]);
    }
    precise float factor = lk_cell_factor(lk_flt(a), float(LK_Q_MOST));
    precise float scale = lk_cell_scale(lk_flt(a), LK_Q_MOST) * lk_flt(p.score_in);
    row.q_scale = a == 0u ? 0.0 : scale;
    for (uint d = part * 16u; d < DIM; d += 16u * OF_ROW) {
        put_query(r, n_rows, place, d, a, factor);
    }
    barrier();
    LEFT q_high[STEPS], q_low[STEPS];
    STEP_UNROLL for (uint k = 0u; k < BOUND(STEPS); k++) {
        LOAD_LEFT(q_high[k], K_TILE + row0 * K_STRIDE + 2u * k, K_STRIDE);
        LOAD_LEFT(q_low[k], K_TILE + K_LOW + row0 * K_STRIDE + 2u * k, K_STRIDE);
    }
    FLOATS o[COLUMNS];
    STEP_UNROLL for (uint c = 0u; c < BOUND(COLUMNS); c++) {
        o[c] = ZERO_FLOATS;
    }

    bool far = false; /* a score was out of range */
    /* Chunks from here to there are whole for each row; rows beyond n_rows may be anything. */
    int whole_to = int(pos0 + min(p.ahead, seq_end - pos0));
    int whole_from = p.window != 0u ? int(pos0 + n_tile_tokens) - int(p.window) : 0;
    uint table = p.table + seq * p.max_blocks;
    uint end = last / LK_KV_BLOCK + 1u;
    uint chunk = low_key / LK_KV_BLOCK;
    fetch_keys(batch[table + chunk], kv_head);
    for (; chunk < end; chunk++) {
        barrier();
        put_keys();
        if (lid == 0u) {
            small = 0u;
        }
        fetch_values(batch[table + chunk], kv_head);
        barrier();
        uint s_at = S_TILE + row0 * S_STRIDE;
        INTS scores[4u / PARTS];
        STEP_UNROLL for (uint j = 0u; j < BOUND(4u / PARTS); j++) { /* 16 keys */
            uint key0 = 16u * (4u / PARTS * side + j);
            INTS high = ZERO_INTS, middle = ZERO_INTS, low = ZERO_INTS;
            STEP_UNROLL for (uint k = 0u; k < BOUND(STEPS); k++) {
                RIGHT x;
                LOAD_RIGHT(x, K_TILE + key0 * K_STRIDE + 2u * k, K_STRIDE);
                MULTIPLY(q_high[k], x, high);
                MULTIPLY(q_low[k], x, middle);
                if (LIMBS == 2u) {
                    LOAD_RIGHT(x, K_TILE + K_LOW + key0 * K_STRIDE + 2u * k, K_STRIDE);
                    MULTIPLY(q_high[k], x, middle);
                    MULTIPLY(q_low[k], x, low);
                }
            }
            STEP_UNROLL for (int e = 0; e < N_OWN(high); e++) {
                int upper = OWN(high, e), mid = OWN(middle, e);
                OWN(high, e) =
                    LIMBS == 2u ? upper * 256 + mid * 16 + OWN(low, e) : upper * 16 + mid;
            }
            scores[j] = high;
        }
        barrier();
        put_values();
        STEP_UNROLL for (uint j = 0u; j < BOUND(4u / PARTS); j++) {
            STORE_ROWS(scores[j], s_at + 4u * (4u / PARTS * side + j), S_STRIDE);
        }
        barrier();

        /* keys 4 (OF_ROW t + part) + 0 .. 3 of the row */
        float s[OWN_KEYS];
        int top;
        /* slots of the chunk that the row takes part in: from .. from + span - 1 */
        int base = int(chunk * LK_KV_BLOCK);
        int from = clamp(row.first - base, 0, 64) - int(4u * part);
        int to = clamp(row.last - base, -1, 63) - int(4u * part);
        uint span = uint(max(to - from + 1, 0));
        bool whole = base >= whole_from && base + 63 <= whole_to;
        if (SPLIT && whole) {
            top = scores_of(true, r, part, from, span, row.q_scale, far, s);
        } else {
            top = scores_of(!SPLIT && whole, r, part, from, span, row.q_scale, far, s);
        }
        pair_top[lid] = top;
        barrier();
        [[unroll]] for (uint k = 1u; k < OF_ROW; k++) {
            top = max(top, pair_top[lid ^ k]);
        }
        int count;
        uint most;
        if (SPLIT && whole) {
            weights_of(true, part, from, span, top, s, count, most);
        } else {
            weights_of(!SPLIT && whole, part, from, span, top, s, count, most);
        }
        pair_count[lid] = count;
        pair_most[lid] = most;
        barrier();
        [[unroll]] for (uint k = 1u; k < OF_ROW; k++) {
            count += pair_count[lid ^ k];
            most = max(most, pair_most[lid ^ k]);
        }
        int e_most = lk_weight_exponent(most);
        precise float up = lk_weight_up(e_most);
        uint p_at = S_TILE + row0 * S_STRIDE + (r - row0) * V_STRIDE;
        STEP_UNROLL for (uint t = 0u; t < BOUND(OWN_KEYS / 4u); t++) {
            uint four = OF_ROW * t + part;
            ivec4 x = ivec4(rte_of(s[4u * t], up), rte_of(s[4u * t + 1u], up),
                            rte_of(s[4u * t + 2u], up), rte_of(s[4u * t + 3u], up));
            tile[p_at + (four >> 2)][four & 3u] = pack4((x + 128) >> 8);
            tile[p_at + 16u * V_STRIDE + (four >> 2)][four & 3u] = pack4(x);
        }
        int nn = max(row.n, top);
        precise float old = row.n == NO_KEY ? lk_flt(0u) : merge_factor(row.n - nn);
        precise float new = top == NO_KEY ? lk_flt(0u) : merge_factor(top - nn);
        precise float la = row.l * old;
        precise float lb = l_of(count) * new;
        row.l = la + lb;
        row.n = nn;
        if (part == 0u) {
            f_old[r] = old;
            f_new[r] = new;
            down[r] = lk_weight_down(e_most);
            if (most != 0u && lk_bits(lk_weight_down(e_most)) < LK_MIN_BITS) {
                atomicOr(small, 1u);
            }
        }
        barrier();

        fetch_keys(batch[table + min(chunk + 1u, end - 1u)], kv_head);
        LEFT w_high[2], w_low[2];
        uint w_at = S_TILE + row0 * S_STRIDE;
        STEP_UNROLL for (uint k = 0u; k < BOUND(2u); k++) {
            LOAD_LEFT(w_high[k], w_at + 2u * k, V_STRIDE);
            LOAD_LEFT(w_low[k], w_at + 16u * V_STRIDE + 2u * k, V_STRIDE);
        }
        FLOATS by_old, by_new, by_down;
        LOAD_BY_ROW(by_old, f_old, row0);
        LOAD_BY_ROW(by_new, f_new, row0);
        LOAD_BY_ROW(by_down, down, row0);
        bool exact = small == 0u; /* by_down by_new, and what they multiply, need no rounding */
        if (exact) {
            STEP_UNROLL for (int e = 0; e < N_OWN(by_down); e++) {
                OWN(by_down, e) = OWN(by_down, e) * OWN(by_new, e);
            }
        }
        STEP_UNROLL for (uint c = 0u; c < BOUND(COLUMNS); c++) {
            INTS high = MAGIC_INTS, low = MAGIC_INTS;
            STEP_UNROLL for (uint k = 0u; k < BOUND(2u); k++) {
                RIGHT v;
                LOAD_RIGHT(v, V_TILE + 16u * (COLUMNS * side + c) * V_STRIDE + 2u * k, V_STRIDE);
                MULTIPLY(w_high[k], v, high);
                MULTIPLY(w_low[k], v, low);
            }
            if (exact) {
                STEP_UNROLL for (int e = 0; e < N_OWN(high); e++) {
                    float add = joined(OWN(high, e), OWN(low, e));
                    precise float before = OWN(o[c], e) * OWN(by_old, e);
                    OWN(o[c], e) = lk_flush(fma(add, OWN(by_down, e), before));
                }
            } else {
                STEP_UNROLL for (int e = 0; e < N_OWN(high); e++) {
                    precise float add = joined(OWN(high, e), OWN(low, e)) * OWN(by_down, e);
                    add = lk_flush(add);
                    add = add * OWN(by_new, e);
                    precise float before = OWN(o[c], e) * OWN(by_old, e);
                    before = before + add;
                    OWN(o[c], e) = lk_flush(before);
                }
            }
        }
    }

    if (far) {
        atomicOr(flags[p.op], 1u);
    }
    barrier();
    if (part == 0u) {
        f_old[r] = row.last >= 0 ? lk_rcp(row.l) : lk_flt(0u);
    }
    barrier();
    FLOATS by_l;
    LOAD_BY_ROW(by_l, f_old, row0);
    /* four matrices of a subgroup at a time leave through the scores, those of the second half behind
     * them */
    STEP_UNROLL for (uint c0 = 0u; c0 < COLUMNS; c0 += 4u) {
        STEP_UNROLL for (uint c = 0u; c < BOUND(4u) && c0 + c < COLUMNS; c++) {
            STEP_UNROLL for (int e = 0; e < N_OWN(o[c0 + c]); e++) {
                precise float y = OWN(o[c0 + c], e) * OWN(by_l, e);
                OWN(o[c0 + c], e) = y;
            }
            STORE_ROWS(o[c0 + c], S_TILE + side * S_WORDS + row0 * S_STRIDE + 4u * c, S_STRIDE);
        }
        barrier();
        for (uint i = lid; i < ROWS * 64u * PARTS; i += THREADS) {
            uint row_i = i / 64u % ROWS, half_i = i / (64u * ROWS), own = c0 * 16u + i % 64u;
            uint d = half_i * COLUMNS * 16u + own;
            if (row_i < n_rows && own < COLUMNS * 16u && d < p.v_dim) {
                uint word =
                    tile[S_TILE + half_i * S_WORDS + row_i * S_STRIDE + i % 64u / 4u][i & 3u];
                out0[row_of(row_i, first_token, head0, n_heads) * p.v_dim + d] =
                    store_value(lk_flt(word), p.op);
            }
        }
        barrier();
    }
}
