/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_decode: attention in decode (a batch of one token) with what stands in front of it: bias,
 * norm and rope of q and k, bias of v, the store of k and v. A workgroup takes up to ROWS heads of
 * one KV head and one chunk of 64 keys (rule 8). Several chunks meet in `part`: the workgroup that
 * finishes last folds them in rising order, so that nobody waits.
 *
 * Scores: lane = key, SETS sets of rows; the token's own key is taken from shared memory, where it
 * is as it will be read back from the cache.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DIM = 256; /* padded head dimension, a multiple of 32 */
layout(constant_id = 3) const uint UNPACK = 0; /* unpackHalf2x16 is exact here (probe) */

const uint SETS = THREADS / 64u;
const uint SET_ROWS = (ROWS + SETS - 1u) / SETS;
const uint WORDS = DIM / 2u;                                   /* of a V row */
const uint V_SETS = WORDS >= THREADS ? 1u : THREADS / WORDS;   /* sets of rows side by side */
const uint V_ROWS = (ROWS + V_SETS - 1u) / V_SETS;
const uint V_LANES = WORDS >= THREADS ? THREADS : WORDS;
const uint PER = (WORDS + V_LANES - 1u) / V_LANES;             /* words of an invocation */
const uint STEP = 16u;                                         /* loads under way at a time */

layout(std430, binding = 0) readonly buffer In
{
    float rows[]; /* q, k, v */
};
layout(std430, binding = 1) buffer KCache
{
    uint k_cache[];
};
layout(std430, binding = 2) buffer VCache
{
    uint v_cache[];
};
layout(std430, binding = 3) readonly buffer Batch
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
layout(std430, binding = 6) readonly buffer Vectors
{
    float vectors[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_decode_push p;
};

const int NO_KEY = -0x7fffffff;

/* Rows 0 .. ROWS - 1 are q, ROWS is k, ROWS + 1 is v. */
shared float tile[(ROWS + 2u) * DIM];
shared float p_tile[(ROWS + 1u) * 64u];
shared int n_tile[ROWS];
shared uint is_last;

precise vec2 halves(uint word)
{
    if (UNPACK != 0u) {
        return unpackHalf2x16(word);
    }
    return vec2(lk_f16_to_f32(word), lk_f16_to_f32(word >> 16));
}

float merge_factor(int k)
{
    return k < LK_MERGE_CUT ? lk_flt(0u) : lk_flt(uint(127 + k) << 23);
}

uint low16(uint pair)
{
    return pair & 0xffffu;
}

/* Whether a row of the tile takes part: heads of this tile, and k. */
bool is_turned(uint row, uint n_heads)
{
    return row < n_heads || row == ROWS;
}

/* q, k and v of this tile with their biases. */
void load_rows(uint lid, uint head0, uint n_heads, uint kv_head)
{
    for (uint i = lid; i < (ROWS + 2u) * DIM; i += THREADS) {
        uint row = i / DIM;
        uint d = i % DIM;
        precise float x = 0.0;
        if (d < p.head_dim && (row < n_heads || row >= ROWS)) {
            uint which = row < ROWS ? 0u : row - ROWS + 1u;
            uint e = (row < ROWS ? head0 + row : kv_head) * p.head_dim + d;
            x = rows[(which == 0u ? 0u : which == 1u ? p.k_at : p.v_at) + e];
            uint bias = which == 0u ? p.q_bias : which == 1u ? p.k_bias : p.v_bias;
            if (bias != LK_VK_NO_VECTOR) {
                x = x + lk_flush(vectors[bias + e]);
                uint ops = which == 0u   ? low16(p.op_bias_qk)
                           : which == 1u ? p.op_bias_qk >> 16
                                         : low16(p.op_bias_v_norm_q);
                x = store_value(x, ops);
            }
        }
        tile[i] = x;
    }
    barrier();
}

/* Rule 7 over each head of q and k. */
void norm_rows(uint lid, uint n_heads)
{
    for (uint i = lid; i < (ROWS + 1u) * 64u; i += THREADS) {
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
        for (uint i = lid; i < (ROWS + 1u) * h; i += THREADS) {
            uint at = i / h * 64u + i % h;
            precise float s = p_tile[at] + p_tile[at + h];
            p_tile[at] = s;
        }
    }
    barrier();
    for (uint i = lid; i < (ROWS + 1u) * DIM; i += THREADS) {
        uint row = i / DIM;
        uint d = i % DIM;
        uint w = row < ROWS ? p.q_norm : p.k_norm;
        if (d < p.head_dim && is_turned(row, n_heads) && w != LK_VK_NO_VECTOR) {
            precise float m = p_tile[row * 64u] * lk_flt(p.inv_n);
            m = m + lk_flt(row < ROWS ? p.q_eps : p.k_eps);
            precise float x = tile[i] * lk_rsqrt(m);
            x = x * lk_flush(vectors[w + d]);
            tile[i] = store_value(x, row < ROWS ? p.op_bias_v_norm_q >> 16 : low16(p.op_norm_k_rope_q));
        }
    }
    barrier();
}

/* Rule 9: the pairs of q and k turn in place. */
void turn_rows(uint lid, uint n_heads)
{
    uint turned = (p.n_dims & 0xffffu) / 2u;
    bool interleaved = p.n_dims >> 16 != 0u;
    for (uint i = lid; i < (ROWS + 1u) * WORDS; i += THREADS) {
        uint row = i / WORDS;
        uint pair = i % WORDS;
        if (pair >= turned || !is_turned(row, n_heads)) {
            continue;
        }
        uint i0 = row * DIM + (interleaved ? 2u * pair : pair);
        uint i1 = row * DIM + (interleaved ? 2u * pair + 1u : pair + turned);
        uint op = row < ROWS ? p.op_norm_k_rope_q >> 16 : low16(p.op_rope_k_attn);
        precise float c = lk_flt(batch[p.cs + 2u * pair]);
        precise float s = lk_flt(batch[p.cs + 2u * pair + 1u]);
        precise float x0 = tile[i0];
        precise float x1 = tile[i1];
        precise float a = x0 * c;
        precise float b = x1 * s;
        a = a - b;
        tile[i0] = store_value(a, op);
        a = x0 * s;
        b = x1 * c;
        a = a + b;
        tile[i1] = store_value(a, op);
    }
    barrier();
}

/* K and V of the token as f16, in the tile and (where `write`) in the cache; q to 13 bits. */
void round_rows(uint lid, uint block, uint slot, uint kv_head, bool write)
{
    for (uint i = lid; i < DIM; i += THREADS) {
        uint h = lk_f32_to_f16(tile[ROWS * DIM + i]);
        tile[ROWS * DIM + i] = lk_f16_to_f32(h);
        if (write) {
            uint at = LK_KV_K_AT(block, kv_head, i, slot, p.n_kv_head, DIM) / 2u;
            uint old = k_cache[at];
            k_cache[at] = (slot & 1u) != 0u ? (old & 0xffffu) | (h << 16) : (old & 0xffff0000u) | h;
        }
    }
    for (uint i = lid; i < WORDS; i += THREADS) {
        uint at = (ROWS + 1u) * DIM + 2u * i;
        uint h0 = lk_f32_to_f16(tile[at]);
        uint h1 = lk_f32_to_f16(tile[at + 1u]);
        tile[at] = lk_f16_to_f32(h0);
        tile[at + 1u] = lk_f16_to_f32(h1);
        if (write) {
            v_cache[LK_KV_V_AT(block, kv_head, slot, 2u * i, p.n_kv_head, DIM) / 2u] = h0 | (h1 << 16);
        }
    }
    for (uint i = lid; i < ROWS * DIM; i += THREADS) {
        tile[i] = lk_round13(tile[i]);
    }
    barrier();
}

/* Dots of key lid % 64 with the rows of this invocation's set. */
void score(uint at, uint odd, bool own, uint row0, out float dot[SET_ROWS])
{
    LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
        dot[i] = 0.0;
    }
    for (uint first = 0u; first < DIM; first += STEP) { /* past head_dim both are zero */
        uint word[STEP];
        LK_UNROLL for (uint k = 0u; k < STEP; k++) {
            word[k] = k_cache[at + (first + k) * (LK_KV_BLOCK / 2u)];
        }
        LK_UNROLL for (uint k = 0u; k < STEP; k++) {
            uint d = first + k;
            precise vec2 pair = halves(word[k]);
            precise float kd = odd == 0u ? pair.x : pair.y;
            if (own) {
                kd = tile[ROWS * DIM + d];
            }
            LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
                dot[i] = fma(tile[min(row0 + i, ROWS - 1u) * DIM + d], kd, dot[i]);
            }
        }
    }
}

/* Folds the chunks of the tile's heads in rising order. */
void merge(uint lid, uint head0, uint n_heads, uint count)
{
    for (uint i = lid; i < n_heads * p.head_dim; i += THREADS) {
        uint at_row = (head0 + i / p.head_dim) * p.max_blocks;
        uint d = i % p.head_dim;
        precise float l = 0.0;
        precise float o = 0.0;
        int n = NO_KEY;
        for (uint first = 0u; first < count; first += 8u) {
            int nk[8];
            precise float lk[8];
            precise float ok[8];
            LK_UNROLL for (uint k = 0u; k < 8u; k++) {
                uint c = at_row + min(first + k, count - 1u);
                nk[k] = int(part[p.part_l + c * 2u]);
                lk[k] = lk_flt(part[p.part_l + c * 2u + 1u]);
                ok[k] = lk_flt(part[c * DIM + d]);
            }
            LK_UNROLL for (uint k = 0u; k < 8u; k++) {
                if (first + k >= count) {
                    continue;
                }
                int nn = max(n, nk[k]);
                precise float f_old = n == NO_KEY ? 0.0 : merge_factor(n - nn);
                precise float f_new = merge_factor(nk[k] - nn);
                if (n == NO_KEY) {
                    l = lk[k];
                    o = ok[k];
                } else {
                    precise float a = l * f_old;
                    precise float b = lk[k] * f_new;
                    l = a + b;
                    a = o * f_old;
                    b = ok[k] * f_new;
                    a = a + b;
                    o = lk_flush(a);
                }
                n = nn;
            }
        }
        o = o * lk_rcp(l);
        out0[(head0 + i / p.head_dim) * p.head_dim + d] = store_value(o, p.op_rope_k_attn >> 16);
    }
}

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint kv_head = gl_WorkGroupID.y / p.head_tiles;
    uint group = p.n_head / p.n_kv_head;
    uint head0 = (gl_WorkGroupID.y % p.head_tiles) * ROWS;
    uint n_heads = min(group - head0, ROWS);
    bool write = head0 == 0u;
    head0 += kv_head * group;
    uint pos = batch[p.pos];
    uint low = p.window != 0u && pos + 1u > p.window ? pos + 1u - p.window : 0u;
    uint end = pos / LK_KV_BLOCK + 1u;
    uint count = end - low / LK_KV_BLOCK;
    uint chunk = low / LK_KV_BLOCK + gl_WorkGroupID.z;
    bool newest = chunk + 1u == end; /* the token's own chunk */
    uint slot = pos % LK_KV_BLOCK;
    uint block = batch[p.table + batch[p.seq] * p.max_blocks + chunk];

    load_rows(lid, head0, n_heads, kv_head);
    if (p.q_norm != LK_VK_NO_VECTOR || p.k_norm != LK_VK_NO_VECTOR) {
        norm_rows(lid, n_heads);
    }
    if (p.n_dims != 0u) {
        turn_rows(lid, n_heads);
    }
    if (lid < ROWS) {
        n_tile[lid] = NO_KEY;
    }
    round_rows(lid, block, slot, kv_head, write && newest);

    uint j = lid & 63u;
    uint row0 = (lid >> 6) * SET_ROWS;
    uint key = chunk * LK_KV_BLOCK + j;
    float dot[SET_ROWS];
    int kj[SET_ROWS];
    uint k_at = LK_KV_K_AT(block, kv_head, 0u, j, p.n_kv_head, DIM) / 2u;
    score(k_at, j & 1u, newest && j == slot, row0, dot);
    bool used = key >= low && key <= pos;
    LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
        precise float s = dot[i] * lk_flt(p.score_in);
        if (p.score_cap != 0u) {
            s = lk_tanh(s);
            s = s * lk_flt(p.score_cap);
        }
        kj[i] = NO_KEY;
        if (used && row0 + i < n_heads) {
            if (lk_magnitude(s) >= LK_SCORE_LIMIT) {
                atomicOr(flags[p.op_rope_k_attn >> 16], 1u);
                s = 0.0;
            }
            kj[i] = lk_rte(s);
            atomicMax(n_tile[row0 + i], kj[i]);
        }
        dot[i] = s;
    }
    barrier();
    LK_UNROLL for (uint i = 0u; i < SET_ROWS; i++) {
        if (row0 + i < ROWS) {
            int n = n_tile[row0 + i];
            precise float pj = 0.0;
            if (kj[i] != NO_KEY && kj[i] - n >= LK_P_CUT) {
                pj = lk_round13(lk_exp2_mantissa(dot[i], kj[i]));
                pj = lk_scale2(pj, kj[i] - n);
            }
            p_tile[(row0 + i) * 64u + j] = pj;
        }
    }
    barrier();

    /* output: an invocation is PER pairs of dims of V_ROWS rows, its sums chains over the keys */
    uint v_row0 = lid / V_LANES * V_ROWS;
    uint word0 = lid % V_LANES;
    if (v_row0 < n_heads) {
        precise float oc[V_ROWS * PER * 2u];
        precise float lc[V_ROWS];
        LK_UNROLL for (uint i = 0u; i < V_ROWS; i++) {
            lc[i] = 0.0;
            LK_UNROLL for (uint k = 0u; k < PER * 2u; k++) {
                oc[i * PER * 2u + k] = 0.0;
            }
        }
        uint v_at = LK_KV_V_AT(block, kv_head, 0u, 0u, p.n_kv_head, DIM) / 2u;
        /* only keys that were written: stale bytes could be NaN, and 0 * NaN is not 0 */
        uint base = chunk * LK_KV_BLOCK;
        uint from = low > base ? low - base : 0u;
        uint to = newest ? slot + 1u : 64u;
        for (uint first = from & ~(STEP - 1u); first < to; first += STEP) {
            uint word[STEP * PER];
            LK_UNROLL for (uint k = 0u; k < STEP; k++) {
                LK_UNROLL for (uint w = 0u; w < PER; w++) {
                    word[k * PER + w] =
                        v_cache[v_at + (first + k) * WORDS + min(word0 + V_LANES * w, WORDS - 1u)];
                }
            }
            LK_UNROLL for (uint k = 0u; k < STEP; k++) {
                uint key_j = first + k;
                bool taken = key_j >= from && key_j < to;
                precise vec2 v[PER];
                LK_UNROLL for (uint w = 0u; w < PER; w++) {
                    v[w] = taken ? halves(word[k * PER + w]) : vec2(0.0);
                    if (newest && key_j == slot) {
                        uint at = (ROWS + 1u) * DIM + 2u * min(word0 + V_LANES * w, WORDS - 1u);
                        v[w] = vec2(tile[at], tile[at + 1u]);
                    }
                }
                LK_UNROLL for (uint i = 0u; i < V_ROWS; i++) {
                    precise float pj = v_row0 + i < ROWS ? p_tile[(v_row0 + i) * 64u + key_j] : 0.0;
                    lc[i] = lc[i] + pj;
                    LK_UNROLL for (uint w = 0u; w < PER; w++) {
                        uint e = (i * PER + w) * 2u;
                        oc[e] = fma(pj, v[w].x, oc[e]);
                        oc[e + 1u] = fma(pj, v[w].y, oc[e + 1u]);
                    }
                }
            }
        }
        LK_UNROLL for (uint i = 0u; i < V_ROWS; i++) {
            uint row = v_row0 + i;
            if (row >= n_heads) {
                continue;
            }
            precise float r = lk_rcp(lc[i]);
            uint at_part = (head0 + row) * p.max_blocks + gl_WorkGroupID.z;
            if (count > 1u && word0 == 0u) {
                part[p.part_l + at_part * 2u] = uint(n_tile[row]);
                part[p.part_l + at_part * 2u + 1u] = lk_bits(lc[i]);
            }
            LK_UNROLL for (uint k = 0u; k < PER * 2u; k++) {
                uint d = 2u * (word0 + V_LANES * (k >> 1)) + (k & 1u);
                precise float y = lk_flush(oc[i * PER * 2u + k]);
                if (d >= p.head_dim) {
                    continue;
                }
                if (count > 1u) {
                    part[at_part * DIM + d] = lk_bits(y);
                } else {
                    y = y * r;
                    out0[(head0 + row) * p.head_dim + d] = store_value(y, p.op_rope_k_attn >> 16);
                }
            }
        }
    }
    if (count == 1u) {
        return;
    }
    memoryBarrierBuffer();
    barrier();
    if (lid == 0u) {
        uint at = p.counters + gl_WorkGroupID.y;
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
