/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_matrix: attention of many tokens by products of int8 matrices (rule 8). A workgroup owns 64
 * query rows (heads of one KV head, tokens of one sequence), each of its four subgroups 16 of them,
 * and walks the chunks of 64 keys in rising order. Queries stay in registers as limbs, a chunk of K
 * and V goes through shared memory. Where heads are larger than 128, what registers hold of outputs
 * is halved: two subgroups have the same rows, each half of the keys and of the outputs.
 *
 * Scores stay where the matrices leave them: an invocation has some of two rows' (own_row and
 * own_column of matrix.glsl), makes weights of them, and of these the matrices that are multiplied
 * with values. So that four neighbouring keys meet in an invocation, keys lie in another order
 * among the columns (key_of). What rule 1 would flush of outputs is known from exponents alone,
 * so that sums which cannot be so small are not looked at.
 *
 * Outputs leave through shared memory where it has room for all of them, and may leave as activations
 * of the matmul behind (rule 4).
 */
#version 450
#ifdef LK_MATRIX
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#endif
#include "shaders/common.glsl"
#include "shaders/attention.glsl"

layout(local_size_x_id = 3) in;               /* THREADS */
layout(constant_id = 1) const uint DIM = 128; /* padded head dimension, a multiple of 32 PARTS */
layout(constant_id = 2) const uint FLAGS = 0; /* LK_VK_ATTN_* */
const uint BITS = (FLAGS & LK_VK_ATTN_K8) != 0u ? LK_KV_K8_BITS : LK_KV_K_BITS;
const uint LIMBS = BITS == LK_KV_K_BITS ? 2u : 1u;
const uint PARTS = LK_VK_ATTN_MATRIX_PARTS(DIM); /* subgroups that have the same rows */
const uint THREADS = 128u * PARTS;
const bool APART = (FLAGS & LK_VK_ATTN_SHARE) == 0u; /* keys and values */
const uint FORM = FLAGS >> 6 & 3u;
const bool Q32 = FORM == LK_VK_X_Q32, ROWS_OUT = FORM == 0u; /* else blocks of 256 */

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
layout(std430, binding = 4) writeonly buffer Act
{
    uint act[];
};
layout(std430, binding = 4) writeonly buffer Act4
{
    uvec4 act4[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_push p;
};

const uint ROWS = LK_VK_ATTN_MATRIX_ROWS;
const uint K_STRIDE = DIM / 16u + 1u; /* uvec4s of a key: one more, so that banks differ */
const uint V_STRIDE = 5u;             /* of a dimension's 64 values */
const uint W_STRIDE = 9u;             /* of a row's weights: four of high limbs, four of low ones */
const uint K_LOW = 64u * K_STRIDE;    /* where the low limbs of keys begin */
const uint K_TILE = 0u;
const uint K_WORDS = 2u * K_LOW, V_WORDS = DIM * V_STRIDE;
/* Values of this chunk and the next in turns, or of one in the place of its keys. */
const uint V_TILE = APART ? K_WORDS : 0u, V_END = V_TILE + (APART ? 2u : 1u) * V_WORDS;
/* Behind them weights, and what subgroups that share rows, or invocations without them, tell each
 * other. */
#ifdef LK_MATRIX
const bool TELL = PARTS > 1u;
#else
const bool TELL = true;
#endif
const uint W_TILE = V_END, TOLD = W_TILE + ROWS * W_STRIDE;
const uint END = TELL ? TOLD + 2u * THREADS : TOLD;
/* Scales of queries, before there are weights, lie behind their limbs, which lie where keys do. */
const uint Q_SCALES = W_TILE > K_WORDS ? W_TILE : K_WORDS, Q_END = Q_SCALES + ROWS / 4u;
/* Outputs where those are APART, and the largest magnitudes of their blocks of 32. */
const uint O_STRIDE = DIM / 4u + 1u, O_MOST = ROWS * O_STRIDE;
const uint O_END = APART ? O_MOST + ROWS * DIM / 128u : 0u;
const uint IN_END = END > Q_END ? END : Q_END;
const uint TILE = IN_END > O_END ? IN_END : O_END;

/* Queries, then keys and values, then outputs. */
shared uvec4 tile[TILE];
shared vec4 k_scale[16], v_scale[2][16];
shared uint q_most; /* bits of the largest scale of queries */
shared uint loud;   /* whether a score may be out of range */
float loud_from;    /* loud: a scale of keys times this is LK_SCORE_LIMIT or more */

#include "shaders/matrix.glsl"

const int NO_GRID = 0x1000000, LEAST_GRID = int(LK_MIN_BITS >> 23) - 127;
const uint STEPS = DIM / 32u;           /* of a dot */
const uint COLUMNS = DIM / 16u / PARTS; /* a subgroup's matrices of a row of outputs */
const uint TILES = 4u / PARTS;          /* of a row of scores */
const uint OF_ROW = 2u * PARTS;         /* invocations that make the integers of a row of queries */

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

/* The limbs of all rows' queries, in the place of keys, and their scales. */
void make_queries(uint first_token, uint head0, uint n_heads, uint n_rows)
{
    uint lid = gl_LocalInvocationIndex, r = lid / OF_ROW, part = lid % OF_ROW;
    uint place = row_of(r, first_token, head0, n_heads) * p.head_dim, a = 0u;
    for (uint d = part * (DIM / OF_ROW); d < (part + 1u) * (DIM / OF_ROW); d++) {
        a = max(a, lk_magnitude(q_at(r, n_rows, place, d)));
    }
    tile[lid].x = a;
    if (lid == 0u) {
        q_most = 0u;
        loud = 0u;
    }
    barrier();
    [[unroll]] for (uint k = 0u; k < OF_ROW; k++) {
        a = max(a, tile[r * OF_ROW + k].x);
    }
    barrier();
    precise float factor = lk_cell_factor(lk_flt(a), float(LK_Q_MOST));
    precise float scale = lk_cell_scale(lk_flt(a), LK_Q_MOST) * lk_flt(p.score_in);
    if (part == 0u) {
        uint q_scale = a == 0u ? 0u : lk_bits(scale);
        tile[Q_SCALES + r / 4u][r % 4u] = q_scale;
        atomicMax(q_most, q_scale);
    }
    for (uint d = part * 16u; d < DIM; d += 16u * OF_ROW) {
        put_query(r, n_rows, place, d, a, factor);
    }
    barrier();
}

/* The key of a column of scores: of each 16 keys an invocation has 4 (lane & 3) + QUAD(e). */
uint key_of(uint column)
{
    return (column & 49u) | ((column & 6u) << 1) | ((column & 8u) >> 2);
}
#define QUAD(e) ((e) & 3u)
#define PAIR(e) ((e) >> 2) /* which of its two rows */

/* What an invocation holds of a chunk on its way from the cache to the tiles: FETCH times 16
 * dimensions of a key and 16 keys of a dimension, and a scale. Words of values lie in the order of
 * weights: an invocation has of a row those of four keys of each 16. */
const uint FETCH = DIM / 32u / PARTS;
uvec4 k_high[FETCH];
uvec2 k_low[FETCH];
uvec4 v_words[FETCH];
float k_fetched, v_fetched;

void fetch_keys(uint block, uint kv_head)
{
    uint lid = gl_LocalInvocationIndex, key = key_of(lid & 63u);
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

void fetch_values(uint block, uint kv_head)
{
    uint lid = gl_LocalInvocationIndex;
    uint at = LK_KV_HEAD_AT(block, kv_head, p.n_kv_head, DIM, LK_KV_V_BITS);
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint n = lid + THREADS * i, d = n % DIM, g = n / DIM;
        [[unroll]] for (uint k = 0u; k < 4u; k++) {
            v_words[i][k] = v_cache[at + LK_KV_V_AT(DIM, d, 16u * k + 4u * g)];
        }
    }
    v_fetched = lk_flt(v_cache[at + LK_KV_SCALE_AT(DIM, LK_KV_V_BITS, lid & 63u)]);
}

/* Positions that a row of the workgroup sees: scales of others are zero, as what lies there may be
 * anything. */
uint seen_first, seen_last;

bool seen(uint key)
{
    return key >= seen_first && key <= seen_last;
}

/* Keys of a chunk that begins at `base`. */
void put_keys(uint base)
{
    uint lid = gl_LocalInvocationIndex, key = key_of(lid & 63u);
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint at = K_TILE + (lid & 63u) * K_STRIDE + OF_ROW * i + lid / 64u;
        tile[at] = k_high[i];
        if (LIMBS == 2u) {
            uvec2 low = k_low[i];
            tile[at + K_LOW] = uvec4(low.x, low.x >> 4, low.y, low.y >> 4) & 0x0f0f0f0fu;
        }
    }
    float scale = seen(base + key) ? k_fetched : lk_flt(0u);
    k_scale[key >> 2][key & 3u] = scale;
    /* no dot is larger than DIM products of LK_Q_MOST; once is for all chunks that follow */
    if (!(scale * loud_from < lk_flt(LK_SCORE_LIMIT))) {
        loud = 1u;
    }
}

/* Values of a chunk that begins at `base`, to the turn-th of their places. */
void put_values(uint base, uint turn)
{
    uint lid = gl_LocalInvocationIndex, key = lid & 63u;
    STEP_UNROLL for (uint i = 0u; i < BOUND(FETCH); i++) {
        uint n = lid + THREADS * i;
        tile[V_TILE + turn * V_WORDS + n % DIM * V_STRIDE + n / DIM] = v_words[i];
    }
    v_scale[turn][key >> 2][key & 3u] = seen(base + key) ? v_fetched : lk_flt(0u);
}

/* What an invocation knows of one of its two rows. */
struct Row {
    int first, last; /* keys it takes part in; last < first: none */
    float q_scale, l;
    int n;                    /* largest exponent so far, or NO_KEY */
    int grid;                 /* what came before in its outputs is a multiple of 2^(grid - n) */
    float up, down, old, new; /* of this chunk: 1 / unit of P, that unit, factors of the merge */
};
Row row[2];

/* Of the invocation, 8 of each matrix: scores, then weights times the scales of values. */
float x[8u * TILES];
#define EACH_TILE(j)   STEP_UNROLL for (uint j = 0u; j < BOUND(TILES); j++)
#define EACH_OWN(e)    STEP_UNROLL for (uint e = 0u; e < BOUND(8u); e++)
#define EACH_COLUMN(c) STEP_UNROLL for (uint c = 0u; c < BOUND(COLUMNS); c++)

#ifdef LK_MATRIX
#define ANY(condition) subgroupAny(condition)
#else
#define ANY(condition) (condition) /* nothing here is done by a subgroup */
#endif

/* A barrier of those who share rows. */
void rows_barrier()
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

/* The numbers of two invocations that share rows, as one: the larger of xy, or their sum if `add`,
 * and the larger of zw. */
ivec4 together(ivec4 v, ivec4 w, bool add)
{
    return ivec4(add ? v.xy + w.xy : max(v.xy, w.xy), max(v.zw, w.zw));
}

/* The numbers of all that share the invocation's rows, as one. Two calls on end differ in `at`. */
ivec4 of_rows(ivec4 v, bool add, uint at)
{
    uint lid = gl_LocalInvocationIndex, told = TOLD + THREADS * at;
#ifdef LK_MATRIX
    v = together(v, subgroupShuffleXor(v, 1u), add);
    v = together(v, subgroupShuffleXor(v, 2u), add);
    if (PARTS > 1u) {
        tile[told + lid] = uvec4(v);
        barrier();
        v = together(v, ivec4(tile[told + (lid ^ 32u)]), add);
    }
#else
    tile[told + lid] = uvec4(v);
    barrier();
    for (uint k = 1u; k < 4u * PARTS; k++) {
        v = together(v, ivec4(tile[told + (lid ^ (k & 3u) ^ (k >> 2) * 32u)]), add);
    }
#endif
    return v;
}

/* y times a power of two, whose bits are those of LK_MAGIC plus rte of it plus `more`: the product
 * is exact, so that an fma rounds as rte does. */
uint whole_bits(float y, float power, float more)
{
    precise float t = fma(y, power, LK_MAGIC + more);
    return lk_bits(t);
}

/* Weights of four keys as limbs: x high, y low. */
uvec2 weight_limbs(vec4 w, float up)
{
    /* plus 128, so that the high limb is the second byte */
    uvec4 v = uvec4(whole_bits(w.x, up, 128.0), whole_bits(w.y, up, 128.0),
                    whole_bits(w.z, up, 128.0), whole_bits(w.w, up, 128.0));
    uint a = (v.x & 0xffffu) | v.z << 16;
    uint b = (v.y & 0xffffu) | v.w << 16;
    uint high = ((a >> 8) & 0x00ff00ffu) | (b & 0xff00ff00u);
    uint low = (a & 0x00ff00ffu) | ((b << 8) & 0xff00ff00u);
    return uvec2(high, low ^ 0x80808080u);
}

/* A score that no weight comes of: it is below all others. */
const float NO_SCORE = -2097152.0;

/* Whether the invocation's score 8 j + e is one of its row's; own: position of its first key. */
bool takes_part(uint j, uint e, int own)
{
    int key = own + int(16u * j + QUAD(e));
    return key >= row[PAIR(e)].first && key <= row[PAIR(e)].last;
}

/* Scores out of range become +0: whether there were any. */
bool cut_scores(int own)
{
    bool far = false;
    EACH_TILE(j) {
        EACH_OWN(e) {
            bool beyond = lk_magnitude(x[8u * j + e]) >= LK_SCORE_LIMIT;
            far = far || (beyond && takes_part(j, e, own));
            x[8u * j + e] = beyond ? lk_flt(0u) : x[8u * j + e];
        }
    }
    return far;
}

void mask_scores(int own)
{
    EACH_TILE(j) {
        EACH_OWN(e) {
            x[8u * j + e] = takes_part(j, e, own) ? x[8u * j + e] : NO_SCORE;
        }
    }
}

/* The largest whole exponents of both rows, NO_KEY of one without keys. Scores are numbers below
 * 2^22 (cut_scores), and rte rises with them: that of the largest is the largest, whatever a zero's
 * sign. */
ivec2 tops()
{
    float largest[2] = float[2](NO_SCORE, NO_SCORE);
    EACH_TILE(j) {
        EACH_OWN(e) {
            largest[PAIR(e)] = max(largest[PAIR(e)], x[8u * j + e]);
        }
    }
    ivec2 top;
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        precise float whole_part = largest[i] + LK_MAGIC;
        top[i] = int(lk_bits(whole_part)) - int(LK_MAGIC_BITS);
    }
    top = of_rows(top.xyxy, false, 0u).xy;
    return ivec2(top.x == int(NO_SCORE) ? NO_KEY : top.x, top.y == int(NO_SCORE) ? NO_KEY : top.y);
}

/* Scores become weights times the scales of values: counts of l and the largest of them, of both
 * rows. Weights are +0 or 2^-88 and more. first: of the invocation's matrices in a chunk. */
ivec4 weigh(ivec2 top, uint first, uint turn)
{
    uint lane = gl_LocalInvocationIndex & 31u;
    float l_unit = lk_flt(uint(127 + LK_L_BITS) << 23);
    uint count[2] = uint[2](0u, 0u);
    float most[2] = float[2](0.0, 0.0);
    /* 2^(k - top) is 2^-96 times the float of the exponent k - top + 31 here, +0 below 1; a row
     * without keys has nothing but that */
    ivec2 lift = 1 - LK_P_CUT - int(LK_MAGIC_BITS) -
                 ivec2(top.x == NO_KEY ? 0x400000 : top.x, top.y == NO_KEY ? 0x400000 : top.y);
    EACH_TILE(j) {
        vec4 scale = v_scale[turn][4u * (first + j) + (lane & 3u)];
        EACH_OWN(e) {
            precise float s = x[8u * j + e];
            precise float k = s + LK_MAGIC;
            uint exponent = uint(max(int(lk_bits(k)) + lift[PAIR(e)], 0));
            k = k - LK_MAGIC;
            precise float f = s - k;
            precise float pj = lk_exp2_part_up(f, 96u) * lk_flt(exponent << 23);
            count[PAIR(e)] += whole_bits(pj, l_unit, 0.0);
            precise float w = pj * scale[QUAD(e)];
            x[8u * j + e] = w;
            most[PAIR(e)] = max(most[PAIR(e)], w);
        }
    }
    uint none = 4u * TILES * LK_MAGIC_BITS;
    return ivec4(int(count[0] - none), int(count[1] - none), int(lk_bits(most[0])),
                 int(lk_bits(most[1])));
}

/* A chunk joins a row. most: bits of its largest weight. x: some result may fall below rule 1's
 * bound, y: some product of values may, z: what came before is scaled. */
bvec3 join(uint i, int top, int count, uint most)
{
    int n = row[i].n, nn = max(n, top), e_most = lk_weight_exponent(most);
    row[i].up = lk_weight_up(e_most);
    row[i].down = lk_weight_down(e_most);
    row[i].old = n == NO_KEY ? lk_flt(0u) : merge_factor(n - nn);
    row[i].new = top == NO_KEY ? lk_flt(0u) : merge_factor(top - nn);
    precise float la = row[i].l * row[i].old;
    precise float lb = l_of(count) * row[i].new;
    row[i].l = la + lb;
    row[i].n = nn;
    int grid = row[i].old == 0.0 ? NO_GRID : row[i].grid;
    int unit = e_most - 127 - LK_W_BITS;
    bool adds = row[i].new != 0.0 && most != 0u;
    grid = adds ? min(grid, top + unit) : grid;
    row[i].grid = grid;
    return bvec3(nn != NO_KEY && grid - nn < LEAST_GRID, adds && unit < LEAST_GRID,
                 n != NO_KEY && n != nn);
}

/* lk_flush in two instructions; outputs are no NaN, and what is subnormal becomes +0 either way. */
float flushed(float y)
{
    return abs(y) < lk_flt(LK_MIN_BITS) ? lk_flt(0u) : y;
}

/* Weights as limbs, to where all that share the rows find them. */
void put_weights(uint row0, uint side)
{
    uint lane = gl_LocalInvocationIndex & 31u;
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uint at = W_TILE + (row0 + own_row(4u * i)) * W_STRIDE + (lane & 3u);
        uvec4 high, low;
        EACH_TILE(j) {
            uint e = 8u * j + 4u * i;
            uvec2 limbs = weight_limbs(vec4(x[e], x[e + 1u], x[e + 2u], x[e + 3u]), row[i].up);
            high[j] = limbs.x;
            low[j] = limbs.y;
        }
        if (PARTS == 1u) {
            tile[at] = high;
            tile[at + 4u] = low;
        } else {
            [[unroll]] for (uint j = 0u; j < TILES; j++) {
                tile[at][TILES * side + j] = high[j];
                tile[at + 4u][TILES * side + j] = low[j];
            }
        }
    }
}

#define SHIFT_UP(m, by)                                                                            \
    EACH_OWN(e_) {                                                                                 \
        OWN(m, e_) = OWN(m, e_) << (by);                                                           \
    }

/* Dots of a subgroup's queries with 16 keys: sums of products of limbs, of which the higher ones
 * are shifted up before the next are added. */
#define DOTS_OF(dots, key0)                                                                        \
    {                                                                                              \
        RIGHT high_[STEPS], low_[STEPS];                                                           \
        dots = ZERO_INTS;                                                                          \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(STEPS); k_++) {                                  \
            LOAD_RIGHT(high_[k_], K_TILE + (key0) * K_STRIDE + 2u * k_, K_STRIDE);                 \
            MULTIPLY(q_high[k_], high_[k_], dots);                                                 \
        }                                                                                          \
        SHIFT_UP(dots, 4);                                                                         \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(STEPS); k_++) {                                  \
            MULTIPLY(q_low[k_], high_[k_], dots);                                                  \
            if (LIMBS == 2u) {                                                                     \
                LOAD_RIGHT(low_[k_], K_TILE + K_LOW + (key0) * K_STRIDE + 2u * k_, K_STRIDE);      \
                MULTIPLY(q_high[k_], low_[k_], dots);                                              \
            }                                                                                      \
        }                                                                                          \
        if (LIMBS == 2u) {                                                                         \
            SHIFT_UP(dots, 4);                                                                     \
            STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(STEPS); k_++) {                              \
                MULTIPLY(q_low[k_], low_[k_], dots);                                               \
            }                                                                                      \
        }                                                                                          \
    }

/* Adds to sums of 0 the products of weights with 16 dimensions of values. */
#define VALUES_OF(sum, c)                                                                          \
    {                                                                                              \
        RIGHT v_[2];                                                                               \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(2u); k_++) {                                     \
            LOAD_RIGHT(v_[k_], v_at + 16u * (COLUMNS * side + (c)) * V_STRIDE + 2u * k_,           \
                       V_STRIDE);                                                                  \
            MULTIPLY(w_high[k_], v_[k_], sum);                                                     \
        }                                                                                          \
        SHIFT_UP(sum, 8);                                                                          \
        STEP_UNROLL for (uint k_ = 0u; k_ < BOUND(2u); k_++) {                                     \
            MULTIPLY(w_low[k_], v_[k_], sum);                                                      \
        }                                                                                          \
    }

/* Elements [4 k, 4 k + 4) of block `u` of 32 outputs that lie in the tiles. */
vec4 output_at(uint u, uint k, inout bool far)
{
    uvec4 y = tile[u / (DIM / 32u) * O_STRIDE + u % (DIM / 32u) * 8u + k];
    return vec4(stored(lk_flt(y.x), far), stored(lk_flt(y.y), far), stored(lk_flt(y.z), far),
                stored(lk_flt(y.w), far));
}

/* The largest magnitudes of all blocks, to where everybody finds them. Loops of what runs once have
 * bounds that no compiler knows, as code takes as long as its fetching. */
void find_most(uint n_blocks, inout bool far)
{
    for (uint u = gl_LocalInvocationIndex; u < n_blocks; u += THREADS) {
        uint a = 0u;
        for (uint k = 0u; k < 8u + gl_WorkGroupID.z; k++) {
            a = max(a, most_of4(output_at(u, k, far)));
        }
        tile[O_MOST + u / 4u][u % 4u] = a;
    }
}

/* Of the block of rule 4 that block u is of. */
uint most_of_block(uint u)
{
    if (Q32) {
        return tile[O_MOST + u / 4u][u % 4u];
    }
    uvec4 a = max(tile[O_MOST + u / 8u * 2u], tile[O_MOST + u / 8u * 2u + 1u]);
    return max(max(a.x, a.y), max(a.z, a.w));
}

/* Stores block u, whose first element is element `at` of all outputs, as rule 4 has it. */
void store_block(uint u, uint at)
{
    uint a = most_of_block(u);
    float factor = lk_cell_factor(lk_flt(a), float(LK_BYTE_MOST));
    precise float d = a == 0u ? lk_flt(0u) : lk_cell_scale(lk_flt(a), LK_BYTE_MOST);
    int sum[2] = int[2](0, 0);
    bool far = false;
    for (uint h = 0u; h < 2u + gl_WorkGroupID.z; h++) {
        uvec4 words;
        int s = 0;
        [[unroll]] for (uint k = 0u; k < 4u; k++) {
            ivec4 q = quantize4(output_at(u, 4u * h + k, far), a, factor);
            words[k] = pack4(q);
            s += q.x + q.y + q.z + q.w;
        }
        act4[at / 16u + h] = words;
        sum[0] = h == 0u ? s : sum[0];
        sum[1] = s;
    }
    if (Q32) {
        precise float t = d * lk_f22(sum[0] + sum[1]);
        act[p.x_s + at / 32u] = lk_bits(t);
        act[p.x_d + at / 32u] = lk_bits(d);
    } else {
        act[p.x_s + at / 32u] = (uint(sum[0]) & 0xffffu) | uint(sum[1]) << 16;
        if (at % 256u == 0u) {
            act[p.x_d + at / 256u] = lk_bits(d);
        }
    }
}

/* Outputs of all rows, which lie in the tiles. */
void leave(uint first_token, uint head0, uint n_heads, uint n_rows, bool far)
{
    uint lid = gl_LocalInvocationIndex, of_row = ROWS_OUT ? DIM / 4u : DIM / 32u;
    if (!ROWS_OUT) {
        find_most(n_rows * of_row, far);
        barrier();
    }
    for (uint u = lid; u < n_rows * of_row; u += THREADS) {
        uint at = row_of(u / of_row, first_token, head0, n_heads) * p.v_dim;
        if (!ROWS_OUT) {
            store_block(u, at + u % of_row * 32u);
            continue;
        }
        uint d = u % of_row * 4u;
        vec4 y = output_at(u / 8u, u % 8u, far);
        for (uint i = 0u; i < 4u && d + i < p.v_dim; i++) {
            out0[at + d + i] = y[i];
        }
    }
    raise(far, p.op);
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    /* tiles that see the most keys first, of all heads: the others fill the gaps they leave */
    uint tile_at = p.tiles + (gl_NumWorkGroups.y - 1u - gl_WorkGroupID.y) * 4u;
    uint first_token = batch[tile_at];
    uint n_tile_tokens = batch[tile_at + 1u];
    uint seq = batch[tile_at + 2u];
    uint kv_head = gl_WorkGroupID.x / p.head_tiles;
    uint group = p.n_head / p.n_kv_head;
    uint head0 = (gl_WorkGroupID.x % p.head_tiles) * ROWS;
    uint n_heads = min(group - head0, ROWS); /* of each token in this tile */
    uint n_rows = n_tile_tokens * n_heads;
    head0 += kv_head * group;
    uint pos0 = batch[p.pos + first_token];
    uint seq_end = batch[tile_at + 3u];
    uint last = pos0 + n_tile_tokens - 1u;
    last += min(p.ahead, seq_end - last);
    uint low_key = p.window != 0u && pos0 + 1u > p.window ? pos0 + 1u - p.window : 0u;
    uint row0 = (lid >> 5) / PARTS * 16u, side = (lid >> 5) % PARTS; /* of the subgroup */
    uint lane = lid & 31u;

    LEFT q_high[STEPS], q_low[STEPS];
    make_queries(first_token, head0, n_heads, n_rows);
    loud_from = lk_flt(q_most) * (1.001 * float(LK_Q_MOST) * float(LK_Q_MOST) * float(DIM));
    STEP_UNROLL for (uint k = 0u; k < BOUND(STEPS); k++) {
        LOAD_LEFT(q_high[k], K_TILE + row0 * K_STRIDE + 2u * k, K_STRIDE);
        LOAD_LEFT(q_low[k], K_TILE + K_LOW + row0 * K_STRIDE + 2u * k, K_STRIDE);
    }
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uint r = row0 + own_row(4u * i);
        int pos = int(pos0 + r / n_heads);
        row[i].last = r < n_rows ? pos + min(int(p.ahead), int(seq_end) - pos) : -1;
        row[i].first = p.window != 0u ? max(pos + 1 - int(p.window), 0) : 0;
        row[i].q_scale = lk_flt(tile[Q_SCALES + r / 4u][r % 4u]);
        row[i].n = NO_KEY;
        row[i].l = 0.0;
        row[i].grid = NO_GRID;
        if ((FLAGS & LK_VK_ATTN_SINK) != 0u && r < n_rows) {
            float sink = sinks[head0 + r % n_heads];
            row[i].n = lk_sink_exponent(sink);
            row[i].l = lk_sink_weight(sink);
        }
    }
    FLOATS o[COLUMNS];
    EACH_COLUMN(c) {
        o[c] = ZERO_FLOATS;
    }

    bool far = false; /* a score or a result was out of range */
    /* Chunks from here to there are whole for each row; rows beyond n_rows may be anything. */
    int whole_to = int(pos0 + min(p.ahead, seq_end - pos0));
    int whole_from = p.window != 0u ? int(pos0 + n_tile_tokens) - int(p.window) : 0;
    uint table = p.table + seq * p.max_blocks;
    uint end = last / LK_KV_BLOCK + 1u;
    uint chunk = low_key / LK_KV_BLOCK;
    uint turn = 0u;
    seen_first = low_key;
    seen_last = last;
    uint block = batch[table + chunk];
    fetch_keys(block, kv_head);
    barrier(); /* of queries, which lie where keys do */
    put_keys(chunk * LK_KV_BLOCK);
    fetch_values(block, kv_head);
    if (APART) {
        put_values(chunk * LK_KV_BLOCK, turn);
    }
    block = batch[table + min(chunk + 1u, end - 1u)];
    for (; chunk < end; chunk++) {
        uint base = chunk * LK_KV_BLOCK, v_at = V_TILE + turn * V_WORDS;
        uint later = batch[table + min(chunk + 2u, end - 1u)];
        barrier();
        EACH_TILE(j) {
            INTS dots;
            DOTS_OF(dots, 16u * (TILES * side + j));
            vec4 scale = k_scale[4u * (TILES * side + j) + (lane & 3u)];
            EACH_OWN(e) {
                precise float s = float_of(OWN(dots, e)) * scale[QUAD(e)];
                s = s * row[PAIR(e)].q_scale;
                if ((FLAGS & LK_VK_ATTN_CAP) != 0u) {
                    s = lk_tanh(s);
                    s = s * lk_flt(p.score_cap);
                }
                x[8u * j + e] = s;
            }
        }
        bool careful = loud != 0u;
        barrier();
        if (APART) {
            fetch_keys(block, kv_head);
            fetch_values(block, kv_head);
        } else {
            put_values(base, turn);
            fetch_keys(block, kv_head);
            barrier();
        }
        int own = int(base + 16u * TILES * side + 4u * (lane & 3u));
        if (careful) {
            far = cut_scores(own) || far;
        }
        if (int(base) < whole_from || int(base) + 63 > whole_to) {
            mask_scores(own);
        }
        ivec2 top = tops();
        ivec4 sums = weigh(top, TILES * side, turn);
        if (APART) {
            put_keys(base + LK_KV_BLOCK);
            put_values(base + LK_KV_BLOCK, turn ^ 1u);
        }
        sums = of_rows(sums, true, 1u);
        bvec3 a = join(0u, top.x, sums.x, uint(sums.z)), b = join(1u, top.y, sums.y, uint(sums.w));
        bool small = a.x || b.x, tiny = a.y || b.y, moved = a.z || b.z;
        put_weights(row0, side);
        rows_barrier();
        LEFT w_high[2], w_low[2];
        STEP_UNROLL for (uint k = 0u; k < BOUND(2u); k++) {
            LOAD_LEFT(w_high[k], W_TILE + row0 * W_STRIDE + 2u * k, W_STRIDE);
            LOAD_LEFT(w_low[k], W_TILE + row0 * W_STRIDE + 2u * k + 4u, W_STRIDE);
        }

        if (!ANY(tiny)) {
            /* what the chunk adds is not flushed, and powers of two multiply without rounding */
            float by[2] = float[2](row[0].down * row[0].new, row[1].down * row[1].new);
            if (ANY(moved)) {
                EACH_COLUMN(c) {
                    EACH_OWN(e) {
                        OWN(o[c], e) = OWN(o[c], e) * row[PAIR(e)].old;
                    }
                }
            }
            EACH_COLUMN(c) {
                INTS sum = ZERO_INTS;
                VALUES_OF(sum, c);
                EACH_OWN(e) {
                    precise float after = fma(float_of(OWN(sum, e)), by[PAIR(e)], OWN(o[c], e));
                    OWN(o[c], e) = after;
                }
            }
            if (ANY(small)) {
                EACH_COLUMN(c) {
                    EACH_OWN(e) {
                        OWN(o[c], e) = flushed(OWN(o[c], e));
                    }
                }
            }
        } else {
            EACH_COLUMN(c) {
                INTS sum = ZERO_INTS;
                VALUES_OF(sum, c);
                EACH_OWN(e) {
                    precise float add = float_of(OWN(sum, e)) * row[PAIR(e)].down;
                    add = lk_flush(add);
                    add = add * row[PAIR(e)].new;
                    precise float before = OWN(o[c], e) * row[PAIR(e)].old;
                    before = before + add;
                    OWN(o[c], e) = lk_flush(before);
                }
            }
        }
        if (APART) {
            turn ^= 1u;
        } else {
            barrier();
            put_keys(base + LK_KV_BLOCK);
            fetch_values(block, kv_head);
        }
        block = later;
    }

    if (APART) {
        barrier();
        [[unroll]] for (uint i = 0u; i < 2u; i++) {
            uint at = (row0 + own_row(4u * i)) * O_STRIDE;
            float by = lk_rcp(row[i].l);
            EACH_COLUMN(c) {
                STEP_UNROLL for (uint k = 0u; k < BOUND(4u); k++) {
                    uint e = 4u * i + k, d = 16u * c + own_column(e);
                    precise float y = OWN(o[c], e) * by;
                    tile[at + d / 4u][d % 4u] = lk_bits(y);
                }
            }
        }
        barrier();
        leave(first_token, head0, n_heads, n_rows, far);
        return;
    }
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uint r = row0 + own_row(4u * i), place = row_of(r, first_token, head0, n_heads) * p.v_dim;
        float by = lk_rcp(row[i].l);
        if (row[i].last >= 0) {
            EACH_COLUMN(c) {
                STEP_UNROLL for (uint k = 0u; k < BOUND(4u); k++) {
                    uint e = 4u * i + k;
                    uint d = 16u * (COLUMNS * side + c) + own_column(e);
                    precise float y = OWN(o[c], e) * by;
                    if (d < p.v_dim) {
                        out0[place + d] = stored(y, far);
                    }
                }
            }
        }
    }
    raise(far, p.op);
}
