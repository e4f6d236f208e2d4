/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_decode: attention in decode (a batch of one token), sinks too, with what stands in front of
 * it: bias, norm and rope of q and k, bias and norm of v, the store of k and v. A workgroup takes up to
 * ROWS heads of one KV head and one chunk of 64 keys (rule 8). Several chunks meet in `part`: the
 * workgroup that finishes last folds them in rising order, so that nobody waits; more than
 * LK_VK_DECODE_MERGE of them are left to attn_merge, which has the whole device.
 *
 * Scores: lane = key; SETS sets of lanes share the dimensions, then the rows. Output: lane =
 * dimension. The token's own key and value are taken from shared memory, where they are as they will
 * be read back from the cache.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/attention.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DIM = 256; /* padded head dimension, a multiple of 32 */
layout(constant_id = 3) const uint BITS = 12; /* of a cell of K */

const uint SETS = THREADS / 64u;
const uint SET_ROWS = (ROWS + SETS - 1u) / SETS;
const uint PAIRS = DIM / 2u;
const uint V_SETS = DIM >= THREADS ? 1u : THREADS / DIM;     /* sets of rows side by side */
const uint V_ROWS = (ROWS + V_SETS - 1u) / V_SETS;
const uint V_LANES = DIM >= THREADS ? THREADS : DIM;
const uint PER = (DIM + V_LANES - 1u) / V_LANES;             /* dimensions of an invocation */
const uint STEP = 8u;                                        /* loads under way at a time */
const uint ROWS_STEP = 4u;                                   /* the same of q, k and v */
const uint MERGE_STEP = 8u;                                  /* the same of chunks */
const bool ONE_PAIR = THREADS % PAIRS == 0u;                 /* of a rope, an invocation */

layout(std430, binding = 1) buffer KCache
{
    uint k_cache[];
};
layout(std430, binding = 2) buffer VCache
{
    uint v_cache[];
};
/* What is volatile is read where the text reads it: compilers move other loads to where they are used,
 * behind barriers and branches, where each waits for memory alone. */
layout(std430, binding = 0) readonly volatile buffer InNow
{
    float rows[]; /* q, k, v */
};
layout(std430, binding = 1) readonly volatile buffer KCacheNow
{
    uint k_now[];
};
layout(std430, binding = 2) readonly volatile buffer VCacheNow
{
    uint v_now[];
};
layout(std430, binding = 3) readonly volatile buffer BatchNow
{
    uint batch[];
};
layout(std430, binding = 3) coherent buffer Counters
{
    uint counters[];
};
layout(std430, binding = 4) writeonly buffer Out
{
    float out0[];
};
layout(std430, binding = 5) coherent buffer Part
{
    uint part[];
};
layout(std430, binding = 5) coherent buffer Part2
{
    uvec2 part2[];
};
layout(std430, binding = 6) readonly buffer Vectors
{
    float vectors[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_decode_push p;
};

/* Rows 0 .. ROWS - 1 are q, ROWS is k, ROWS + 1 is v. */
shared float tile[(ROWS + 2u) * DIM];
shared uint most_tile[ROWS + 2u]; /* bits of the largest magnitude of each; of the largest w */
shared float p_tile[(ROWS + 2u) * 64u];
shared uvec2 q_words[ROWS * DIM / 4u];
shared float q_scale[ROWS];
shared uvec2 k_own[DIM / 4u]; /* words of the token's key as the cache has them, low halves apart */
shared int v_own[DIM];
shared int w_tile[ROWS * 64u]; /* dots, then weights */
shared uvec2 w_words[ROWS * 16u];
shared int n_tile[ROWS];
shared int l_tile[ROWS];
shared uint is_last;

uint low16(uint pair)
{
    return pair & 0xffffu;
}

/* Whether a row of the tile takes part: heads of this tile, and k. */
bool is_turned(uint row, uint n_heads)
{
    return row < n_heads || row == ROWS;
}

/* q, k and v of this tile with their biases, ROWS_STEP elements of an invocation at a time. */
void load_rows(uint lid, uint head0, uint n_heads, uint kv_head)
{
    for (uint first = lid; first < (ROWS + 2u) * DIM; first += ROWS_STEP * THREADS) {
        precise float x[ROWS_STEP];
        LK_UNROLL for (uint k = 0u; k < ROWS_STEP; k++) {
            uint i = min(first + k * THREADS, (ROWS + 2u) * DIM - 1u);
            uint row = i / DIM, d = min(i % DIM, p.head_dim - 1u);
            uint q_at = (head0 + min(row, n_heads - 1u)) * (p.tiles >> 16);
            uint at = row < ROWS ? q_at : (row == ROWS ? p.k_at : p.v_at) + kv_head * p.head_dim;
            x[k] = rows[at + d];
        }
        LK_UNROLL for (uint k = 0u; k < ROWS_STEP; k++) {
            uint i = first + k * THREADS;
            uint row = i / DIM, d = i % DIM;
            if (i >= (ROWS + 2u) * DIM) {
                break;
            }
            bool inside = d < p.head_dim && (row < n_heads || row >= ROWS);
            x[k] = inside ? x[k] : 0.0;
            uint bias = row < ROWS ? p.q_bias : row == ROWS ? p.k_bias : p.v_bias;
            if (inside && bias != LK_VK_NO_VECTOR) {
                uint e = (row < ROWS ? head0 + row : kv_head) * p.head_dim + d;
                x[k] = x[k] + lk_flush(vectors[bias + e]);
                uint op = row < ROWS    ? low16(p.op_bias_qk)
                          : row == ROWS ? p.op_bias_qk >> 16
                                        : low16(p.op_bias_v_norm_q);
                x[k] = store_value(x[k], op);
            }
            tile[i] = x[k];
        }
    }
    barrier();
}

/* Rule 7 over each head of q, k and v. */
void norm_rows(uint lid, uint n_heads)
{
    for (uint i = lid; i < (ROWS + 2u) * 64u; i += THREADS) {
        uint at = i / 64u * DIM;
        precise float s[4];
        LK_UNROLL for (uint k = 0u; k < 4u; k++) {
            uint d = i % 64u + 64u * k;
            precise float x = d < DIM ? tile[at + d] : 0.0;
            s[k] = x * x;
        }
        s[0] = s[0] + s[2];
        s[1] = s[1] + s[3];
        p_tile[i] = s[0] + s[1];
    }
    for (uint h = 32u; h > 0u; h >>= 1) {
        barrier();
        for (uint i = lid; i < (ROWS + 2u) * h; i += THREADS) {
            uint at = i / h * 64u + i % h;
            precise float s = p_tile[at] + p_tile[at + h];
            p_tile[at] = s;
        }
    }
    barrier();
    for (uint i = lid; i < (ROWS + 2u) * DIM; i += THREADS) {
        uint row = i / DIM;
        uint d = i % DIM;
        uint w = row < ROWS ? p.q_norm : row == ROWS ? p.k_norm : p.v_norm;
        if (d < p.head_dim && (row < n_heads || row >= ROWS) && w != LK_VK_NO_VECTOR) {
            precise float m = p_tile[row * 64u] * lk_flt(p.inv_n);
            m = m + lk_flt(row < ROWS ? p.q_eps : row == ROWS ? p.k_eps : p.v_eps);
            precise float x = tile[i] * lk_rsqrt(m);
            x = x * lk_flush(vectors[w + d]);
            uint op = row < ROWS    ? p.op_bias_v_norm_q >> 16
                      : row == ROWS ? low16(p.op_norm_k_rope_q)
                                    : p.op_norm_v;
            tile[i] = store_value(x, op);
        }
    }
    barrier();
}

uint n_turned()
{
    return (p.n_dims & 0xffffu) / 2u;
}

/* Cosine and sine of a pair, or of the last one. */
uvec2 angle(uint pair)
{
    uint at = p.cs + 2u * min(pair, max(n_turned(), 1u) - 1u);
    return uvec2(batch[at], batch[at + 1u]);
}

/* Rule 9: the pairs of q and k turn in place; with ONE_PAIR all of this invocation by `own`. */
void turn_rows(uint lid, uint n_heads, uvec2 own)
{
    uint turned = n_turned();
    bool interleaved = p.n_dims >> 16 != 0u;
    for (uint i = lid; i < (ROWS + 1u) * PAIRS; i += THREADS) {
        uint row = i / PAIRS;
        uint pair = i % PAIRS;
        if (pair >= turned || !is_turned(row, n_heads)) {
            continue;
        }
        uint i0 = row * DIM + (interleaved ? 2u * pair : pair);
        uint i1 = row * DIM + (interleaved ? 2u * pair + 1u : pair + turned);
        uint op = row < ROWS ? p.op_norm_k_rope_q >> 16 : low16(p.op_rope_k_attn);
        uvec2 cs = ONE_PAIR ? own : angle(pair);
        precise float c = lk_flt(cs.x);
        precise float s = lk_flt(cs.y);
        precise float x0 = tile[i0];
        precise float x1 = tile[i1];
        precise float a = x0 * c;
        precise float b = x1 * s;
        a = a - b;
        bool far = false;
        tile[i0] = stored(a, far);
        a = x0 * s;
        b = x1 * c;
        a = a + b;
        tile[i1] = stored(a, far);
        raise(far, op);
    }
    barrier();
}

/* q, K and V of the token as integers, and in p_tile the scales of K and V. */
void quantize_rows(uint lid)
{
    for (uint i = lid; i < (ROWS + 2u) * 64u; i += THREADS) {
        uint a = 0u;
        for (uint d = i % 64u; d < DIM; d += 64u) {
            a = max(a, lk_magnitude(tile[i / 64u * DIM + d]));
        }
        atomicMax(most_tile[i / 64u], a);
    }
    barrier();
    for (uint i = lid; i < (ROWS + 1u) * DIM / 4u; i += THREADS) {
        uint row = i / (DIM / 4u), a = most_tile[row];
        int most = row < ROWS ? LK_Q_MOST : most_of(BITS);
        precise vec4 x = vec4(tile[4u * i], tile[4u * i + 1u], tile[4u * i + 2u], tile[4u * i + 3u]);
        ivec4 q = quantize4(x, a, lk_cell_factor(lk_flt(a), float(most)));
        if (row < ROWS) {
            q_words[i] = pack_query(q);
        } else {
            bool wide = BITS == LK_KV_K_BITS;
            k_own[i - ROWS * DIM / 4u] = uvec2(pack4(wide ? q >> 4 : q), wide ? pack4(q & 15) : 0u);
        }
    }
    uint v_most = most_tile[ROWS + 1u], k_most = most_tile[ROWS];
    precise float v_factor = lk_cell_factor(lk_flt(v_most), float(LK_BYTE_MOST));
    for (uint d = lid; d < DIM; d += THREADS) {
        precise float x = tile[(ROWS + 1u) * DIM + d] * v_factor;
        v_own[d] = v_most == 0u ? 0 : lk_rte(x);
    }
    for (uint i = lid; i < ROWS; i += THREADS) {
        precise float scale = lk_cell_scale(lk_flt(most_tile[i]), LK_Q_MOST) * lk_flt(p.score_in);
        q_scale[i] = most_tile[i] == 0u ? 0.0 : scale;
    }
    if (lid == 0u) {
        precise float k = lk_cell_scale(lk_flt(k_most), most_of(BITS));
        precise float v = lk_cell_scale(lk_flt(v_most), LK_BYTE_MOST);
        p_tile[0] = k_most == 0u ? 0.0 : k;
        p_tile[1] = v_most == 0u ? 0.0 : v;
    }
    barrier();
}

/* The token's key, and what scales it and its value, into the cache. */
void store_key(uint lid, uint k_at, uint v_at, uint slot)
{
    for (uint g = lid; g < DIM / 4u; g += THREADS) {
        k_cache[k_at + LK_KV_K_HIGH(4u * g, slot)] = k_own[g].x;
        if (BITS == LK_KV_K_BITS && g % 2u == 0u) {
            k_cache[k_at + LK_KV_K_LOW(DIM, 4u * g, slot)] = k_own[g].y | k_own[g + 1u].y << 4;
        }
    }
    if (lid == 0u) {
        k_cache[k_at + LK_KV_SCALE_AT(DIM, BITS, slot)] = lk_bits(p_tile[0]);
        v_cache[v_at + LK_KV_SCALE_AT(DIM, LK_KV_V_BITS, slot)] = lk_bits(p_tile[1]);
    }
}

/* Words of STEP groups of four dimensions of a key, from dimension `first`. */
struct Keys {
    uint high[STEP];
    uint halves[STEP / 2u];
};

Keys fetch_keys(uint k_at, uint j, uint first)
{
    Keys w;
    LK_UNROLL for (uint g = 0u; g < STEP; g++) {
        w.high[g] = k_now[k_at + LK_KV_K_HIGH(first + 4u * g, j)];
        if (BITS == LK_KV_K_BITS && g % 2u == 0u) {
            w.halves[g / 2u] = k_now[k_at + LK_KV_K_LOW(DIM, first + 4u * g, j)];
        }
    }
    return w;
}

/* Adds to w_tile the dots of key j with all rows over the dimensions of set `set`, 4 STEP of every
 * 4 STEP SETS, of which w has the first: so the sets wait for memory side by side, and the integers
 * are the same. */
void score(uint k_at, uint j, bool own, uint set, Keys w)
{
    SUM dot[ROWS];
    LK_UNROLL for (uint i = 0u; i < ROWS; i++) {
        dot[i] = SUM(0);
    }
    /* pads are zero; the bound is what no compiler knows (there is one workgroup along y), since code
     * that runs once is fetched more slowly than a loop turns */
    for (uint first = 4u * STEP * set; first < DIM + gl_WorkGroupID.y; first += 4u * STEP * SETS) {
        if (first >= 4u * STEP * SETS) {
            w = fetch_keys(k_at, j, first);
        }
        LK_UNROLL for (uint g = 0u; g < STEP; g++) {
            uint low =
                BITS == LK_KV_K_BITS ? (w.halves[g / 2u] >> (4u * (g % 2u))) & 0x0f0f0f0fu : 0u;
            uvec2 mine = k_own[first / 4u + g];
            KEY k = unpack_key(own ? mine.x : w.high[g], own ? mine.y : low, BITS);
            LK_UNROLL for (uint i = 0u; i < ROWS; i++) {
                uvec2 q = q_words[(i * DIM + first) / 4u + g];
                dot[i] = add_dot(dot[i], q, k, BITS);
            }
        }
    }
    LK_UNROLL for (uint i = 0u; i < ROWS; i++) {
        atomicAdd(w_tile[i * 64u + j], whole(dot[i], BITS));
    }
}

/* Puts words of STEP times four keys, from key 4 `first` on, of this lane's dimensions in word[]; a
 * macro, since no function takes an array whose size is a specialization constant. */
#define FETCH_VALUES(first)                                                                        \
    LK_UNROLL for (uint k = 0u; k < STEP; k++) {                                                   \
        LK_UNROLL for (uint e = 0u; e < PER; e++) {                                                \
            uint d = min(lid % V_LANES + V_LANES * e, DIM - 1u);                                   \
            word[k * PER + e] = v_now[v_at + LK_KV_V_AT(DIM, d, 4u * ((first) + k))];              \
        }                                                                                          \
    }

/* What a head begins with: its sink, or nothing. */
void begin_head(uint head, out int n, out float l)
{
    n = NO_KEY;
    l = 0.0;
    if (p.sinks != LK_VK_NO_VECTOR) {
        float sink = vectors[p.sinks + head];
        n = lk_sink_exponent(sink);
        l = lk_sink_weight(sink);
    }
}

/* Folds the chunks of the tile's heads in rising order: an invocation two dimensions, all by itself, so
 * that MERGE_STEP chunks are waited for once. */
void merge(uint lid, uint head0, uint n_heads, uint count)
{
    bool far = false;
    for (uint i = lid; i < n_heads * PAIRS; i += THREADS) {
        uint row = i / PAIRS, d = i % PAIRS * 2u;
        uint first = (head0 + row) * p.max_blocks;
        int n;
        float l;
        begin_head(head0 + row, n, l);
        precise vec2 o = vec2(0.0, 0.0);
        for (uint k0 = 0u; k0 < count; k0 += MERGE_STEP) {
            uvec2 told[MERGE_STEP], of[MERGE_STEP];
            LK_UNROLL for (uint k = 0u; k < MERGE_STEP; k++) {
                uint at = first + min(k0 + k, count - 1u);
                told[k] = part2[p.part_l / 2u + at]; /* largest exponent and l */
                of[k] = part2[at * PAIRS + i % PAIRS];
            }
            LK_UNROLL for (uint k = 0u; k < MERGE_STEP; k++) {
                if (k0 + k < count) {
                    vec2 by = merge_factors(n, int(told[k].x));
                    n = max(n, int(told[k].x));
                    l = merged(l, lk_flt(told[k].y), by);
                    o.x = lk_flush(merged(o.x, lk_flt(of[k].x), by));
                    o.y = lk_flush(merged(o.y, lk_flt(of[k].y), by));
                }
            }
        }
        o = o * lk_rcp(l);
        if (d < p.head_dim) {
            out0[(head0 + row) * p.head_dim + d] = stored(o.x, far);
        }
        if (d + 1u < p.head_dim) {
            out0[(head0 + row) * p.head_dim + d + 1u] = stored(o.y, far);
        }
    }
    raise(far, p.op_rope_k_attn >> 16);
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint head_tiles = p.tiles & 0xffffu;
    uint kv_head = gl_WorkGroupID.x / head_tiles;
    uint group = (p.heads & 0xffffu) / (p.heads >> 16);
    uint head0 = (gl_WorkGroupID.x % head_tiles) * ROWS;
    uint n_heads = min(group - head0, ROWS);
    bool write = head0 == 0u;
    head0 += kv_head * group;
    uint pos = batch[p.pos], seq = batch[p.seq];
    uvec2 cs = ONE_PAIR ? angle(lid % PAIRS) : uvec2(0u);
    uint low = p.window != 0u && pos + 1u > p.window ? pos + 1u - p.window : 0u;
    uint end = pos / LK_KV_BLOCK + 1u;
    uint count = end - low / LK_KV_BLOCK;
    if (gl_WorkGroupID.z >= count) {
        return; /* dispatched for as many chunks as the context has */
    }
    uint chunk = low / LK_KV_BLOCK + gl_WorkGroupID.z;
    bool newest = chunk + 1u == end; /* the token's own chunk */
    uint slot = pos % LK_KV_BLOCK;
    uint block = batch[p.table + seq * p.max_blocks + chunk];

    uint j = lid & 63u;
    uint base = chunk * LK_KV_BLOCK;
    uint k_at = LK_KV_HEAD_AT(block, kv_head, p.heads >> 16, DIM, BITS);
    uint v_at = LK_KV_HEAD_AT(block, kv_head, p.heads >> 16, DIM, LK_KV_V_BITS);
    uint v_from = (low > base ? (low - base) / 4u : 0u) & ~(STEP - 1u);
    /* keys and values are on their way while rows are made ready */
    Keys keys = fetch_keys(k_at, j, min(4u * STEP * (lid >> 6), DIM - 4u * STEP));
    uint k_bits = k_now[k_at + LK_KV_SCALE_AT(DIM, BITS, j)];
    uint v_bits = v_now[v_at + LK_KV_SCALE_AT(DIM, LK_KV_V_BITS, j)];
    uint word[STEP * PER];
    FETCH_VALUES(v_from)
    uint beside[PER]; /* words that have the token's value too */
    LK_UNROLL for (uint e = 0u; e < PER; e++) {
        beside[e] = v_now[v_at + LK_KV_V_AT(DIM, min(lid % V_LANES + V_LANES * e, DIM - 1u), slot)];
    }

    load_rows(lid, head0, n_heads, kv_head);
    bool norms = p.q_norm != LK_VK_NO_VECTOR || p.k_norm != LK_VK_NO_VECTOR;
    if (norms || p.v_norm != LK_VK_NO_VECTOR) {
        norm_rows(lid, n_heads);
    }
    if (p.n_dims != 0u) {
        turn_rows(lid, n_heads, cs);
    }
    if (lid < ROWS) {
        n_tile[lid] = NO_KEY;
        l_tile[lid] = 0;
    }
    if (lid < ROWS + 2u) {
        most_tile[lid] = 0u;
    }
    for (uint i = lid; i < ROWS * 64u; i += THREADS) {
        w_tile[i] = 0;
    }
    barrier();
    quantize_rows(lid);
    if (write && newest) {
        store_key(lid, k_at, v_at, slot);
        LK_UNROLL for (uint e = 0u; e < PER; e++) {
            uint d = lid + V_LANES * e;
            if (lid < V_LANES && d < DIM) {
                uint own_word =
                    bitfieldInsert(beside[e], uint(v_own[d]), int(8u * (slot % 4u)), 8);
                v_cache[v_at + LK_KV_V_AT(DIM, d, slot)] = own_word;
            }
        }
    }

    uint row0 = (lid >> 6) * SET_ROWS;
    uint key = base + j;
    bool own = newest && j == slot;
    precise float s[SET_ROWS];
    int kj[SET_ROWS];
    score(k_at, j, own, lid >> 6, keys);
    bool used = key >= low && key <= pos;
    precise float k_scale = own ? p_tile[0] : lk_flt(k_bits);
    precise float v_scale = own ? p_tile[1] : lk_flt(v_bits);
    barrier();
    bool far = false;
    LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
        bool mine = used && row0 + i < n_heads;
        uint row = min(row0 + i, ROWS - 1u);
        s[i] = score_of(w_tile[row * 64u + j], k_scale, q_scale[row], p.score_cap, mine, far);
        kj[i] = NO_KEY;
        if (mine) {
            kj[i] = lk_rte(s[i]);
            atomicMax(n_tile[row0 + i], kj[i]);
        }
    }
    if (far) {
        atomicOr(flags[p.op_rope_k_attn >> 16], 1u);
    }
    if (lid < ROWS) {
        most_tile[lid] = 0u; /* from now on of w */
    }
    barrier();
    LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
        precise float w = 0.0;
        if (kj[i] != NO_KEY) {
            precise float pj = weight_of(s[i], kj[i], n_tile[row0 + i]);
            atomicAdd(l_tile[row0 + i], count_of(pj));
            w = pj * v_scale;
            atomicMax(most_tile[row0 + i], lk_bits(w));
        }
        s[i] = w;
    }
    barrier();
    LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
        if (row0 + i < ROWS) {
            precise float w = s[i] * lk_weight_up(lk_weight_exponent(most_tile[row0 + i]));
            w_tile[(row0 + i) * 64u + j] = lk_rte(w);
        }
    }
    barrier();
    for (uint i = lid; i < ROWS * 16u; i += THREADS) {
        w_words[i] = pack_weights(ivec4(w_tile[4u * i], w_tile[4u * i + 1u], w_tile[4u * i + 2u],
                                        w_tile[4u * i + 3u]));
    }
    barrier();

    /* output: an invocation is PER dimensions of V_ROWS rows */
    uint v_row0 = lid / V_LANES * V_ROWS;
    uint d0 = lid % V_LANES;
    if (v_row0 < n_heads) {
        int oc[V_ROWS * PER];
        LK_UNROLL for (uint i = 0u; i < V_ROWS * PER; i++) {
            oc[i] = 0;
        }
        uint to = newest ? slot / 4u + 1u : 16u;
        for (uint first = v_from; first < to; first += STEP) {
            if (first != v_from) {
                FETCH_VALUES(first)
            }
            LK_UNROLL for (uint k = 0u; k < STEP; k++) {
                VALUE v[PER];
                LK_UNROLL for (uint e = 0u; e < PER; e++) {
                    uint x = word[k * PER + e];
                    if (newest && first + k == slot / 4u) {
                        int mine = v_own[min(d0 + V_LANES * e, DIM - 1u)];
                        x = bitfieldInsert(x, uint(mine), int(8u * (slot % 4u)), 8);
                    }
                    v[e] = unpack_value(x);
                }
                LK_UNROLL for (uint i = 0u; i < V_ROWS; i++) {
                    uvec2 w = w_words[min(v_row0 + i, ROWS - 1u) * 16u + first + k];
                    LK_UNROLL for (uint e = 0u; e < PER; e++) {
                        oc[i * PER + e] = add_values(oc[i * PER + e], w, v[e]);
                    }
                }
            }
        }
        LK_UNROLL for (uint i = 0u; i < V_ROWS; i++) {
            uint row = v_row0 + i;
            if (row >= n_heads) {
                continue;
            }
            precise float lc = l_of(l_tile[row]);
            precise float down = lk_weight_down(lk_weight_exponent(most_tile[row]));
            uint at_part = (head0 + row) * p.max_blocks + gl_WorkGroupID.z;
            if (count > 1u && d0 == 0u) {
                part[p.part_l + at_part * 2u] = uint(n_tile[row]);
                part[p.part_l + at_part * 2u + 1u] = lk_bits(lc);
            }
            LK_UNROLL for (uint e = 0u; e < PER; e++) {
                uint d = d0 + V_LANES * e;
                precise float y = lk_f32_of_int(oc[i * PER + e]) * down;
                y = lk_flush(y);
                if (d >= p.head_dim) {
                    continue;
                }
                if (count > 1u) {
                    part[at_part * DIM + d] = lk_bits(y);
                } else {
                    int n;
                    float l;
                    begin_head(head0 + row, n, l);
                    vec2 by = merge_factors(n, n_tile[row]);
                    l = merged(l, lc, by);
                    y = lk_flush(merged(0.0, y, by));
                    y = y * lk_rcp(l);
                    out0[(head0 + row) * p.head_dim + d] = store_value(y, p.op_rope_k_attn >> 16);
                }
            }
        }
    }
    if (count == 1u || count > LK_VK_DECODE_MERGE) {
        return;
    }
    memoryBarrierBuffer();
    barrier();
    if (lid == 0u) {
        uint at = p.counters + gl_WorkGroupID.x;
        is_last = atomicAdd(counters[at], 1u) + 1u == count ? 1u : 0u;
        if (is_last != 0u) {
            counters[at] = 0u; /* for the next layer */
        }
    }
    barrier();
    if (is_last != 0u) {
        memoryBarrierBuffer();
        merge(lid, head0, n_heads, count);
    }
}
