/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn: attention by the contract's chunks of 64 keys (rule 8). A workgroup of 64 owns up to ROWS
 * query rows (heads of one KV head, tokens of one sequence) and either walks their chunks in
 * order, or with SPLIT takes one chunk and leaves o_c, n_c, l_c to attn_merge.
 *
 * Scores: an invocation is a key, its dot one chain over d. Output: an invocation is one or more
 * pairs of dims, its sum one chain over j. A masked key has p = +0, which changes no sum.
 */
#version 450
#include "common.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ROWS = 8;
layout(constant_id = 1) const uint DIM = 256; /* padded head dimension, a multiple of 32 */
layout(constant_id = 2) const uint SPLIT = 0;
layout(constant_id = 3) const uint UNPACK = 0; /* unpackHalf2x16 is exact here (probe) */

const uint WORDS = DIM / 2u;                          /* of a V row */
const uint SETS = WORDS >= 64u ? 1u : 64u / WORDS;    /* sets of rows side by side */
const uint SET_ROWS = (ROWS + SETS - 1u) / SETS;      /* rows of a set */
const uint PER = (WORDS + 63u) / 64u;                 /* words of an invocation */

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
layout(std430, binding = 5) writeonly buffer Part
{
    uint part[];
};
layout(push_constant) uniform Push
{
    lk_vk_attn_push p;
};

const int NO_KEY = -0x7fffffff;

shared float q_tile[ROWS * DIM];
shared float p_tile[ROWS * 64u];
shared int n_tile[ROWS];

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

void main()
{
    uint lid = gl_LocalInvocationIndex;
    uint tile = p.tiles + gl_WorkGroupID.x * 4u;
    uint first_token = batch[tile];
    uint n_tile_tokens = batch[tile + 1u];
    uint seq = batch[tile + 2u];
    uint kv_head = gl_WorkGroupID.y / p.head_tiles;
    uint group = p.n_head / p.n_kv_head;
    uint head0 = (gl_WorkGroupID.y % p.head_tiles) * ROWS;
    uint n_heads = min(group - head0, ROWS); /* of each token in this tile */
    uint n_rows = n_tile_tokens * n_heads;
    head0 += kv_head * group;
    uint pos0 = batch[p.pos + first_token];
    uint last = pos0 + n_tile_tokens - 1u;
    uint low = p.window != 0u && pos0 + 1u > p.window ? pos0 + 1u - p.window : 0u;

    for (uint i = lid; i < ROWS * DIM; i += 64u) {
        uint row = i / DIM;
        uint d = i % DIM;
        precise float x = 0.0;
        if (row < n_rows && d < p.head_dim) {
            uint head = head0 + row % n_heads;
            x = q_rows[((first_token + row / n_heads) * p.n_head + head) * p.head_dim + d];
        }
        q_tile[i] = lk_round13(x);
    }

    precise float o[SET_ROWS * PER * 2u];
    precise float l[SET_ROWS];
    int n[SET_ROWS];
    for (uint i = 0u; i < SET_ROWS; i++) {
        l[i] = 0.0;
        n[i] = NO_KEY;
        for (uint k = 0u; k < PER * 2u; k++) {
            o[i * PER * 2u + k] = 0.0;
        }
    }
    uint set = lid / min(WORDS, 64u);
    uint word0 = lid % min(WORDS, 64u);

    uint chunk = low / LK_KV_BLOCK;
    uint end = last / LK_KV_BLOCK + 1u;
    if (SPLIT != 0u) {
        chunk += gl_WorkGroupID.z;
        end = min(end, chunk + 1u);
    }
    for (; chunk < end; chunk++) {
        uint block = batch[p.table + seq * p.max_blocks + chunk];
        barrier();
        if (lid < ROWS) {
            n_tile[lid] = NO_KEY;
        }
        barrier();

        /* scores: key j = lid */
        uint key = chunk * LK_KV_BLOCK + lid;
        precise float dot[ROWS];
        for (uint i = 0u; i < ROWS; i++) {
            dot[i] = 0.0;
        }
        uint at = LK_KV_K_AT(block, kv_head, 0u, lid, p.n_kv_head, p.dim) / 2u;
        for (uint d = 0u; d < p.head_dim; d++) {
            precise vec2 pair = halves(k_cache[at + d * (LK_KV_BLOCK / 2u)]);
            precise float kd = (lid & 1u) == 0u ? pair.x : pair.y;
            for (uint i = 0u; i < ROWS; i++) {
                dot[i] = fma(q_tile[i * DIM + d], kd, dot[i]);
            }
        }
        int kj[ROWS];
        for (uint i = 0u; i < ROWS; i++) {
            uint pos = pos0 + i / n_heads;
            bool used = i < n_rows && key <= pos && (p.window == 0u || key + p.window > pos);
            precise float s = dot[i] * lk_flt(p.score_in);
            if (p.score_cap != 0u) {
                s = lk_tanh(s);
                s = s * lk_flt(p.score_cap);
            }
            kj[i] = NO_KEY;
            if (used) {
                if (lk_magnitude(s) >= LK_SCORE_LIMIT) {
                    atomicOr(flags[p.op], 1u);
                    s = 0.0;
                }
                kj[i] = lk_rte(s);
                atomicMax(n_tile[i], kj[i]);
            }
            dot[i] = s;
        }
        barrier();
        for (uint i = 0u; i < ROWS; i++) {
            precise float pj = 0.0;
            if (kj[i] != NO_KEY && kj[i] - n_tile[i] >= LK_P_CUT) {
                pj = lk_round13(lk_exp2_mantissa(dot[i], kj[i]));
                pj = lk_scale2(pj, kj[i] - n_tile[i]);
            }
            p_tile[i * 64u + lid] = pj;
        }
        barrier();

        /* output: rows of this invocation's set, words word0 + 64 k */
        if (set < SETS) {
            precise float oc[SET_ROWS * PER * 2u];
            precise float lc[SET_ROWS];
            for (uint i = 0u; i < SET_ROWS; i++) {
                lc[i] = 0.0;
                for (uint k = 0u; k < PER * 2u; k++) {
                    oc[i * PER * 2u + k] = 0.0;
                }
            }
            uint v_at = LK_KV_V_AT(block, kv_head, 0u, 0u, p.n_kv_head, p.dim) / 2u;
            /* only keys that were written: stale bytes could be NaN, and 0 * NaN is not 0 */
            uint base = chunk * LK_KV_BLOCK;
            uint from = low > base ? low - base : 0u;
            uint to = min(last - base + 1u, 64u);
            for (uint j = from; j < to; j++) {
                precise vec2 v[PER];
                for (uint k = 0u; k < PER; k++) {
                    uint w = word0 + 64u * k;
                    v[k] = halves(w < WORDS ? v_cache[v_at + j * WORDS + w] : 0u);
                }
                for (uint i = 0u; i < SET_ROWS; i++) {
                    uint row = set * SET_ROWS + i;
                    precise float pj = row < ROWS ? p_tile[row * 64u + j] : 0.0;
                    lc[i] = lc[i] + pj;
                    for (uint k = 0u; k < PER; k++) {
                        uint e = (i * PER + k) * 2u;
                        oc[e] = fma(pj, v[k].x, oc[e]);
                        oc[e + 1u] = fma(pj, v[k].y, oc[e + 1u]);
                    }
                }
            }
            for (uint i = 0u; i < SET_ROWS; i++) {
                uint row = set * SET_ROWS + i;
                int nc = row < ROWS ? n_tile[row] : NO_KEY;
                if (nc == NO_KEY) {
                    continue; /* no key of this chunk: it takes no part */
                }
                bool started = n[i] != NO_KEY;
                int nn = max(n[i], nc);
                precise float f_old = started ? merge_factor(n[i] - nn) : 0.0;
                precise float f_new = merge_factor(nc - nn);
                if (started) {
                    precise float a = l[i] * f_old;
                    precise float b = lc[i] * f_new;
                    l[i] = a + b;
                } else {
                    l[i] = lc[i];
                }
                for (uint k = 0u; k < PER * 2u; k++) {
                    uint e = i * PER * 2u + k;
                    precise float add = lk_flush(oc[e]);
                    if (started) {
                        precise float a = o[e] * f_old;
                        precise float b = add * f_new;
                        a = a + b;
                        add = lk_flush(a);
                    }
                    o[e] = add;
                }
                n[i] = nn;
            }
        }
    }

    if (set >= SETS) {
        return;
    }
    for (uint i = 0u; i < SET_ROWS; i++) {
        uint row = set * SET_ROWS + i;
        if (row >= ROWS || row >= n_rows) {
            continue;
        }
        uint head = head0 + row % n_heads;
        uint at_row = (first_token + row / n_heads) * p.n_head + head;
        precise float r = 0.0;
        if (SPLIT != 0u) {
            at_row = at_row * p.max_splits + gl_WorkGroupID.z;
            if (word0 == 0u) {
                part[p.part_l + at_row * 2u] = uint(n[i]);
                part[p.part_l + at_row * 2u + 1u] = lk_bits(l[i]);
            }
        } else {
            r = lk_rcp(l[i]);
        }
        for (uint k = 0u; k < PER * 2u; k++) {
            uint w = word0 + 64u * (k >> 1);
            uint d = 2u * w + (k & 1u);
            precise float y = o[i * PER * 2u + k];
            if (w >= WORDS || d >= p.head_dim) {
                continue;
            }
            if (SPLIT != 0u) {
                part[at_row * DIM + d] = lk_bits(y);
            } else {
                y = y * r;
                out0[at_row * p.head_dim + d] = store_value(y, p.op);
            }
        }
    }
}
