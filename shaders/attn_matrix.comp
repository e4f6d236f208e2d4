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
 * are: a row's factors are matrices whose columns are equal. What rule 1 would flush of them is known
 * from exponents alone, so that sums which cannot be so small are not looked at.
 */
#version 450
#ifdef LK_MATRIX
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
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
const bool APART = (FLAGS & LK_VK_ATTN_SHARE) == 0u; /* keys, scores, values; one PART has them */

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
/* Of a row's 64 scores: each invocation's fours of them, and one more, so that banks differ and
 * there is a place for what the invocations of a row tell each other. */
const uint OWN_FOURS = 16u / OF_ROW;
const uint OWN_STRIDE = OWN_FOURS + 1u;
const uint S_STRIDE = OWN_STRIDE * OF_ROW;
const uint K_LOW = 64u * K_STRIDE;    /* where the low limbs of keys begin */
const uint K_TILE = 0u;
const uint K_WORDS = 2u * K_LOW, S_WORDS = ROWS * S_STRIDE, V_WORDS = DIM * V_STRIDE;
const uint S_TILE = APART ? K_WORDS : 0u; /* else scores and values take the place of keys */
const uint V_TILE = S_TILE + S_WORDS;
const uint OUT_WORDS = PARTS * S_WORDS; /* outputs leave by 64 dimensions of each half */
const uint BEHIND = V_WORDS > OUT_WORDS - S_WORDS ? V_WORDS : OUT_WORDS - S_WORDS;
const uint TILE = K_WORDS > V_TILE + BEHIND ? K_WORDS : V_TILE + BEHIND;

/* Queries, then keys, and in turn with them scores, weights and values. */
shared uvec4 tile[TILE];
shared vec4 k_scale[16], v_scale[16];
shared float f_old[ROWS], f_new[ROWS], down[ROWS];
/* Of 16 rows, in this chunk: whether a result may fall below rule 1's bound, whether what came
 * before is scaled. */
shared uint small[ROWS / 16u], moved[ROWS / 16u];

#include "shaders/matrix.glsl"

/* A barrier of those who share rows. */
void row_barrier()
{
#ifdef LK_MATRIX
    if (PARTS == 1u) {
        subgroupMemoryBarrierShared();
        subgroupBarrier();
        return;
    }
#endif
    barrier();
}

/* In kernels for matrix units, what weighs a chunk is there twice: whole chunks have no masks. */
#ifdef LK_MATRIX
const bool SPLIT = true;
#else
const bool SPLIT = false;
#endif
const int NO_GRID = 0x1000000, LEAST_GRID = int(LK_MIN_BITS >> 23) - 127;
const uint STEPS = DIM / 32u;           /* of a dot */
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

/* Whether the invocation's key 4 t + e is one of `span` from `from` on, which is all of them where
 * the chunk is whole for each row of the tile. */
bool takes_part(bool whole, uint t, uint e, int from, uint span)
{
    return whole || uint(int(4u * t + e) - from) < span;
}

/* Loops over the fours of an invocation stay loops, since no compiler knows this bound (a dispatch has
 * one workgroup along z): unrolled they take twice the code, and are hardly faster. */
#define LOOP_BOUND(n) ((n) + gl_WorkGroupID.z)

/* The invocation's scores, at `at` where their dots are, +0 where one is out of range; their
 * largest whole exponent. */
int scores_of(bool whole, uint at, uint part, int from, uint span, float q_scale, inout bool far)
{
    int top = NO_KEY;
    float squares = 0.0; /* 2^40 or more, or NaN, if one is out of range: the sum never falls */
    for (uint t0 = 0u; t0 < LOOP_BOUND(OWN_FOURS); t0 += 2u) {
        [[unroll]] for (uint k = 0u; k < 2u; k++) {
            uint t = t0 + k;
            ivec4 dot = ivec4(tile[at + t]);
            vec4 scale = k_scale[OWN_FOURS * part + t];
            uvec4 bits;
            [[unroll]] for (uint e = 0u; e < 4u; e++) {
                bool used = takes_part(whole, t, e, from, span);
                precise float x = float_of(dot[e]) * scale[e];
                x = x * q_scale;
                if ((FLAGS & LK_VK_ATTN_CAP) != 0u) {
                    x = lk_tanh(x);
                    x = x * lk_flt(p.score_cap);
                }
                x = used ? x : lk_flt(0u); /* a stale scale is anything */
                bits[e] = lk_bits(x);
                squares = fma(x, x, squares);
                precise float whole_part = x + LK_MAGIC;
                top = used ? max(top, int(lk_bits(whole_part))) : top;
            }
            tile[at + t] = bits;
        }
    }
    if (!(squares < lk_flt(LK_SCORE_LIMIT) * lk_flt(LK_SCORE_LIMIT))) {
        top = NO_KEY;
        for (uint t = 0u; t < LOOP_BOUND(OWN_FOURS); t++) {
            [[unroll]] for (uint e = 0u; e < 4u; e++) {
                float x = lk_flt(tile[at + t][e]);
                bool beyond = lk_magnitude(x) >= LK_SCORE_LIMIT;
                far = far || beyond;
                x = beyond ? lk_flt(0u) : x;
                tile[at + t][e] = lk_bits(x);
                precise float whole_part = x + LK_MAGIC;
                bool used = takes_part(whole, t, e, from, span);
                top = used ? max(top, int(lk_bits(whole_part))) : top;
            }
        }
    }
    return top == NO_KEY ? NO_KEY : top - int(LK_MAGIC_BITS);
}

/* x times a power of two, whose bits are those of LK_MAGIC plus rte of it plus `more`: the product is
 * exact, so that an fma rounds as rte does. */
uint whole_bits(float x, float power, float more)
{
    precise float t = fma(x, power, LK_MAGIC + more);
    return lk_bits(t);
}

/* Scores become weights times the scales of values: the largest of them, and the count of l. */
void weights_of(bool whole, uint at, uint part, int from, uint span, int top, out int count,
                out uint most)
{
    uint counts = 0u;
    float l_unit = lk_flt(uint(127 + LK_L_BITS) << 23);
    most = 0u;
    /* 2^(k - top) is 2^-96 times the float of the exponent k - top + 31 here, +0 below 1 */
    int lift = 1 - LK_P_CUT - top - int(LK_MAGIC_BITS);
    for (uint t0 = 0u; t0 < LOOP_BOUND(OWN_FOURS); t0 += 2u) {
        [[unroll]] for (uint i = 0u; i < 2u; i++) {
            uint t = t0 + i;
            uvec4 bits = tile[at + t];
            vec4 scale = v_scale[OWN_FOURS * part + t];
            [[unroll]] for (uint e = 0u; e < 4u; e++) {
                precise float s = lk_flt(bits[e]);
                precise float k = s + LK_MAGIC;
                uint exponent = uint(max(int(lk_bits(k)) + lift, 0));
                k = k - LK_MAGIC;
                precise float f = s - k;
                precise float pj = lk_exp2_part_up(f, 96u) * lk_flt(exponent << 23);
                bool used = takes_part(whole, t, e, from, span);
                pj = used ? pj : 0.0;
                counts += whole_bits(pj, l_unit, 0.0);
                precise float w = pj * scale[e];
                bits[e] = used ? lk_bits(w) : 0u;
                most = max(most, bits[e]);
            }
            tile[at + t] = bits;
        }
    }
    count = int(counts - 4u * OWN_FOURS * LK_MAGIC_BITS);
}

/* Weights of four keys as limbs: x high, y low. */
uvec2 weight_limbs(uvec4 w, float up)
{
    /* plus 128, so that the high limb is the second byte */
    uvec4 x = uvec4(whole_bits(lk_flt(w.x), up, 128.0), whole_bits(lk_flt(w.y), up, 128.0),
                    whole_bits(lk_flt(w.z), up, 128.0), whole_bits(lk_flt(w.w), up, 128.0));
    uint a = (x.x & 0xffffu) | x.z << 16;
    uint b = (x.y & 0xffffu) | x.w << 16;
    uint high = ((a >> 8) & 0x00ff00ffu) | (b & 0xff00ff00u);
    uint low = (a & 0x00ff00ffu) | ((b << 8) & 0xff00ff00u);
    return uvec2(high, low ^ 0x80808080u);
}

/* Weights of 16 keys, which lie at `at`, as limbs. */
void limbs_of(uint at, float up, out uvec4 high, out uvec4 low)
{
    [[unroll]] for (uint k = 0u; k < 4u; k++) {
        uvec2 limbs = weight_limbs(tile[at + k], up);
        high[k] = limbs.x;
        low[k] = limbs.y;
    }
}

/* Where 16 columns of scores, the j-th of four, lie in a row; from 32 weights on to the next. */
const uint W_STRIDE = OWN_STRIDE * PARTS;
#define COLUMNS_AT(j) (PARTS == 1u ? (j) / 2u * OWN_STRIDE + (j) % 2u * 4u : (j) * OWN_STRIDE)

/* Dots of a subgroup's queries with 16 keys. */
#define DOTS_OF(dots, key0)                                                                        \
    {                                                                                              \
        INTS high_ = ZERO_INTS, middle_ = ZERO_INTS, low_ = ZERO_INTS;                             \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(STEPS); k_++) {                                  \
            RIGHT x_;                                                                              \
            LOAD_RIGHT(x_, K_TILE + (key0) * K_STRIDE + 2u * k_, K_STRIDE);                        \
            MULTIPLY(q_high[k_], x_, high_);                                                       \
            MULTIPLY(q_low[k_], x_, middle_);                                                      \
            if (LIMBS == 2u) {                                                                     \
                LOAD_RIGHT(x_, K_TILE + K_LOW + (key0) * K_STRIDE + 2u * k_, K_STRIDE);            \
                MULTIPLY(q_high[k_], x_, middle_);                                                 \
                MULTIPLY(q_low[k_], x_, low_);                                                     \
            }                                                                                      \
        }                                                                                          \
        STEP_UNROLL for (int e = 0; e < N_OWN(high_); e++) {                                       \
            int upper_ = OWN(high_, e), mid_ = OWN(middle_, e);                                    \
            OWN(high_, e) =                                                                        \
                LIMBS == 2u ? upper_ * 256 + mid_ * 16 + OWN(low_, e) : upper_ * 16 + mid_;        \
        }                                                                                          \
        dots = high_;                                                                              \
    }

/* Adds to sums of 0 the products of weights with 16 dimensions of values. */
#define VALUES_OF(sum, c)                                                                          \
    {                                                                                              \
        RIGHT v_[2];                                                                               \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(2u); k_++) {                                     \
            LOAD_RIGHT(v_[k_], V_TILE + 16u * (COLUMNS * side + (c)) * V_STRIDE + 2u * k_,         \
                       V_STRIDE);                                                                  \
            MULTIPLY(w_high[k_], v_[k_], sum);                                                     \
        }                                                                                          \
        STEP_UNROLL for (int e = 0; e < N_OWN(sum); e++) {                                         \
            OWN(sum, e) = OWN(sum, e) << 8;                                                        \
        }                                                                                          \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(2u); k_++) {                                     \
            MULTIPLY(w_low[k_], v_[k_], sum);                                                      \
        }                                                                                          \
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
    uint row_at = S_TILE + r * S_STRIDE, at = row_at + part * OWN_STRIDE; /* of scores */
    tile[at + OWN_FOURS].x = a;
    barrier();
    [[unroll]] for (uint k = 0u; k < OF_ROW; k++) {
        a = max(a, tile[row_at + k * OWN_STRIDE + OWN_FOURS].x);
    }
    if (!APART) {
        barrier();
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
    int grid = NO_GRID; /* what came before in the row's outputs is a multiple of 2^(grid - n) */
    fetch_keys(batch[table + chunk], kv_head);
    if (APART) {
        fetch_values(batch[table + chunk], kv_head);
    }
    for (; chunk < end; chunk++) {
        barrier();
        put_keys();
        if (APART) {
            put_values();
        } else {
            fetch_values(batch[table + chunk], kv_head);
        }
        if (lid < ROWS / 16u) {
            small[lid] = 0u;
            moved[lid] = 0u;
        }
        barrier();
        uint s_at = S_TILE + row0 * S_STRIDE;
        if (APART) { /* 16 keys at a time */
            for (uint j = 0u; j < LOOP_BOUND(4u); j++) {
                INTS dots = ZERO_INTS;
                DOTS_OF(dots, 16u * j);
                STORE_ROWS(dots, s_at + COLUMNS_AT(j), S_STRIDE);
            }
            row_barrier();
        } else {
            INTS dots[4u / PARTS];
            STEP_UNROLL for (uint j = 0u; j < BOUND(4u / PARTS); j++) {
                DOTS_OF(dots[j], 16u * (4u / PARTS * side + j));
            }
            barrier();
            put_values();
            STEP_UNROLL for (uint j = 0u; j < BOUND(4u / PARTS); j++) {
                STORE_ROWS(dots[j], s_at + COLUMNS_AT(4u / PARTS * side + j), S_STRIDE);
            }
            barrier(); /* of values too */
        }

        /* slots of the chunk that the row takes part in: from .. from + span - 1 */
        int base = int(chunk * LK_KV_BLOCK), own = int(4u * OWN_FOURS * part);
        int from = clamp(row.first - base, 0, 64) - own;
        int to = clamp(row.last - base, -1, 63) - own;
        uint span = uint(max(to - from + 1, 0));
        bool whole = base >= whole_from && base + 63 <= whole_to;
        int top;
        if (SPLIT && whole) {
            top = scores_of(true, at, part, from, span, row.q_scale, far);
        } else {
            top = scores_of(!SPLIT && whole, at, part, from, span, row.q_scale, far);
        }
        tile[at + OWN_FOURS].x = uint(top);
        row_barrier();
        [[unroll]] for (uint k = 0u; k < OF_ROW; k++) {
            top = max(top, int(tile[row_at + k * OWN_STRIDE + OWN_FOURS].x));
        }
        int count;
        uint most;
        if (SPLIT && whole) {
            weights_of(true, at, part, from, span, top, count, most);
        } else {
            weights_of(!SPLIT && whole, at, part, from, span, top, count, most);
        }
        tile[at + OWN_FOURS].yz = uvec2(count, most);
        row_barrier();
        count = 0;
        [[unroll]] for (uint k = 0u; k < OF_ROW; k++) {
            uvec4 told = tile[row_at + k * OWN_STRIDE + OWN_FOURS];
            count += int(told.y);
            most = max(most, told.z);
        }
        int e_most = lk_weight_exponent(most);
        precise float up = lk_weight_up(e_most);
        if (PARTS == 1u) {
            for (uint i = 0u; i < LOOP_BOUND(2u); i++) { /* limbs in the place of their weights */
                uvec4 high, low;
                limbs_of(at + 4u * i, up, high, low);
                tile[at + i] = high;
                tile[at + 2u + i] = low;
            }
        } else {
            uvec4 high, low;
            limbs_of(at, up, high, low);
            row_barrier();
            tile[row_at + W_STRIDE * (part / 2u) + part % 2u] = high;
            tile[row_at + W_STRIDE * (part / 2u) + 2u + part % 2u] = low;
        }
        int nn = max(row.n, top);
        precise float old = row.n == NO_KEY ? lk_flt(0u) : merge_factor(row.n - nn);
        precise float new = top == NO_KEY ? lk_flt(0u) : merge_factor(top - nn);
        precise float la = row.l * old;
        precise float lb = l_of(count) * new;
        row.l = la + lb;
        if (part == 0u) {
            f_old[r] = old;
            f_new[r] = new;
            down[r] = lk_weight_down(e_most);
            grid = old == 0.0 ? NO_GRID : grid;
            if (new != 0.0 && most != 0u) {
                grid = min(grid, top + e_most - 127 - LK_W_BITS);
            }
            if (nn != NO_KEY && grid - nn < LEAST_GRID) {
                atomicOr(small[r / 16u], 1u);
            }
            if (row.n != NO_KEY && row.n != nn) {
                atomicOr(moved[r / 16u], 1u);
            }
        }
        row.n = nn;
        row_barrier();

        fetch_keys(batch[table + min(chunk + 1u, end - 1u)], kv_head);
        if (APART) {
            fetch_values(batch[table + min(chunk + 1u, end - 1u)], kv_head);
        }
        LEFT w_high[2], w_low[2];
        uint w_at = S_TILE + row0 * S_STRIDE;
        STEP_UNROLL for (uint k = 0u; k < BOUND(2u); k++) {
            LOAD_LEFT(w_high[k], w_at + W_STRIDE * k, S_STRIDE);
            LOAD_LEFT(w_low[k], w_at + W_STRIDE * k + 2u, S_STRIDE);
        }
        FLOATS by_old, by_new, by_down;
        LOAD_BY_ROW(by_old, f_old, row0);
        LOAD_BY_ROW(by_new, f_new, row0);
        LOAD_BY_ROW(by_down, down, row0);
        if (small[row0 / 16u] == 0u) {
            /* by_down by_new, and what they multiply, need no rounding, and no sum is to be flushed */
            STEP_UNROLL for (int e = 0; e < N_OWN(by_down); e++) {
                OWN(by_down, e) = OWN(by_down, e) * OWN(by_new, e);
            }
            if (moved[row0 / 16u] != 0u) {
                STEP_UNROLL for (uint c = 0u; c < BOUND(COLUMNS); c++) {
                    STEP_UNROLL for (int e = 0; e < N_OWN(by_old); e++) {
                        OWN(o[c], e) = OWN(o[c], e) * OWN(by_old, e);
                    }
                }
            }
            STEP_UNROLL for (uint c = 0u; c < BOUND(COLUMNS); c++) {
                INTS sum = ZERO_INTS;
                VALUES_OF(sum, c);
                STEP_UNROLL for (int e = 0; e < N_OWN(sum); e++) {
                    precise float after = fma(float_of(OWN(sum, e)), OWN(by_down, e), OWN(o[c], e));
                    OWN(o[c], e) = after;
                }
            }
        } else {
            STEP_UNROLL for (uint c = 0u; c < BOUND(COLUMNS); c++) {
                INTS sum = ZERO_INTS;
                VALUES_OF(sum, c);
                STEP_UNROLL for (int e = 0; e < N_OWN(sum); e++) {
                    precise float add = float_of(OWN(sum, e)) * OWN(by_down, e);
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
