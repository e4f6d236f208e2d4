/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn: attention by the contract's chunks of 64 keys (rule 8). A workgroup owns up to ROWS query
 * rows (heads of one KV head, tokens of one sequence), each 32 of its invocations OWN of them, and
 * either walks their chunks in order, or with SPLIT takes one chunk and leaves o_c, n_c, l_c to
 * attn_merge.
 *
 * Scores: an invocation is two keys, each dot one chain over d. Output: an invocation is some pairs
 * of dims, each sum one chain over j. A masked key has p = +0, which changes no sum.
 */
#version 450
#include "shaders/common.glsl"

layout(local_size_x_id = 3) in;
layout(constant_id = 0) const uint ROWS = 8;
layout(constant_id = 1) const uint DIM = 256; /* padded head dimension, a multiple of 32 */
layout(constant_id = 2) const uint FLAGS = 0; /* LK_VK_ATTN_* */
layout(constant_id = 3) const uint THREADS = 32;
const bool SPLIT = (FLAGS & LK_VK_ATTN_SPLIT) != 0u;

const uint OWN = ROWS * 32u / THREADS;
const uint WORDS = DIM / 2u;          /* of a V row */
const uint PER = (WORDS + 31u) / 32u; /* of them, those of an invocation */

layout(std430, binding = 0) readonly buffer In
{
    float q_rows[];
};
layout(std430, binding = 0) readonly buffer In4
{
    vec4 q_rows4[];
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

shared vec4 q_tile[ROWS * DIM / 4u];
shared uvec4 p_tile[ROWS * 16u]; /* 64 floats a row; before that, maxima of scores */
shared int n_tile[ROWS];
shared float l_tile[ROWS];

precise vec2 halves(uint word)
{
    if ((FLAGS & LK_VK_ATTN_UNPACK) != 0u) {
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
    uint lid = gl_LocalInvocationIndex, lane = lid & 31u;
    /* tiles that see the most keys first: the others fill the gaps they leave */
    uint tile = p.tiles + (gl_NumWorkGroups.x - 1u - gl_WorkGroupID.x) * 4u;
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
    uint row0 = (lid >> 5) * OWN; /* the first of this invocation's rows */
    bool busy = row0 < n_rows;

    for (uint i = lid; i < ROWS * DIM / 4u; i += THREADS) {
        uint row = i / (DIM / 4u);
        uint d = i % (DIM / 4u) * 4u;
        precise vec4 x = vec4(0.0);
        if (row < n_rows && d < p.head_dim) {
            uint head = head0 + row % n_heads;
            uint at = ((first_token + row / n_heads) * p.n_head + head) * p.head_dim + d;
            if ((p.head_dim & 3u) == 0u) {
                x = q_rows4[at >> 2];
            } else {
                for (uint c = 0u; c < min(p.head_dim - d, 4u); c++) {
                    x[c] = q_rows[at + c];
                }
            }
        }
        q_tile[i] = vec4(lk_round13(x.x), lk_round13(x.y), lk_round13(x.z), lk_round13(x.w));
    }

    precise float o[OWN * PER * 2u];
    int n[OWN];
    precise float l = 0.0; /* of row row0 + lane */
    for (uint i = 0u; i < OWN; i++) {
        n[i] = NO_KEY;
        for (uint k = 0u; k < PER * 2u; k++) {
            o[i * PER * 2u + k] = 0.0;
        }
    }

    uint chunk = low / LK_KV_BLOCK;
    uint end = last / LK_KV_BLOCK + 1u;
    if (SPLIT) {
        chunk += gl_WorkGroupID.z;
        end = min(end, chunk + 1u);
    }
    uint table = p.table + seq * p.max_blocks;
    uint next_block = batch[table + min(chunk, p.max_blocks - 1u)];
    for (; chunk < end; chunk++) {
        uint block = next_block;
        next_block = batch[table + min(chunk + 1u, end - 1u)];
        /* keys of V that were written: the others could be NaN, and 0 * NaN is not 0 */
        uint base = chunk * LK_KV_BLOCK;
        uint from = low > base ? low - base : 0u;
        uint to = min(last - base + 1u, 64u);
        barrier();
        for (uint i = lid; i < ROWS; i += THREADS) {
            n_tile[i] = NO_KEY;
        }

        /* scores of keys 2 lane and 2 lane + 1 */
        precise vec2 s[OWN];
        ivec2 kj[OWN];
        if (busy) {
            for (uint i = 0u; i < OWN; i++) {
                s[i] = vec2(0.0);
            }
            uint at = LK_KV_K_AT(block, kv_head, 0u, 2u * lane, p.n_kv_head, p.dim) / 2u;
            uint d = 0u;
            uint ahead[8]; /* words on their way */
            [[unroll]] for (uint c = 0u; c < 8u; c++) {
                ahead[c] = k_cache[at + min(c, p.head_dim - 1u) * (LK_KV_BLOCK / 2u)];
            }
            for (; d + 8u <= p.head_dim; d += 8u) {
                uint words[8] = ahead;
                uint next = min(d + 8u, p.head_dim - 8u);
                [[unroll]] for (uint c = 0u; c < 8u; c++) {
                    ahead[c] = k_cache[at + (next + c) * (LK_KV_BLOCK / 2u)];
                }
                [[unroll]] for (uint h = 0u; h < 8u; h += 4u) {
                    precise vec2 k[4];
                    [[unroll]] for (uint c = 0u; c < 4u; c++) {
                        k[c] = halves(words[h + c]);
                    }
                    [[unroll]] for (uint i = 0u; i < OWN; i++) {
                        precise vec4 q = q_tile[((row0 + i) * DIM + d + h) >> 2];
                        [[unroll]] for (uint c = 0u; c < 4u; c++) {
                            s[i].x = fma(q[c], k[c].x, s[i].x);
                            s[i].y = fma(q[c], k[c].y, s[i].y);
                        }
                    }
                }
            }
            for (; d < p.head_dim; d++) {
                precise vec2 k = halves(k_cache[at + d * (LK_KV_BLOCK / 2u)]);
                for (uint i = 0u; i < OWN; i++) {
                    precise float q = q_tile[((row0 + i) * DIM + d) >> 2][d & 3u];
                    s[i].x = fma(q, k.x, s[i].x);
                    s[i].y = fma(q, k.y, s[i].y);
                }
            }
            for (uint i = 0u; i < OWN; i++) {
                uint row = row0 + i, pos = pos0 + row / n_heads;
                kj[i] = ivec2(NO_KEY);
                [[unroll]] for (uint e = 0u; e < 2u; e++) {
                    uint key = chunk * LK_KV_BLOCK + 2u * lane + e;
                    bool used =
                        row < n_rows && key <= pos && (p.window == 0u || key + p.window > pos);
                    precise float x = s[i][e] * lk_flt(p.score_in);
                    if ((FLAGS & LK_VK_ATTN_CAP) != 0u) {
                        x = lk_tanh(x);
                        x = x * lk_flt(p.score_cap);
                    }
                    if (used) {
                        if (lk_magnitude(x) >= LK_SCORE_LIMIT) {
                            atomicOr(flags[p.op], 1u);
                            x = 0.0;
                        }
                        kj[i][e] = lk_rte(x);
                    }
                    s[i][e] = x;
                }
                p_tile[row * 16u + (lane >> 2)][lane & 3u] = uint(max(kj[i].x, kj[i].y));
            }
        }
        uint v_words[4u * PER]; /* on their way */
        uint v_from[PER]; /* the words of key 0 */
        [[unroll]] for (uint k = 0u; k < PER; k++) {
            v_from[k] = LK_KV_V_AT(block, kv_head, 0u, 0u, p.n_kv_head, p.dim) / 2u +
                        min(lane + 32u * k, WORDS - 1u);
        }
        [[unroll]] for (uint c = 0u; c < 4u; c++) {
            [[unroll]] for (uint k = 0u; k < PER; k++) {
                v_words[c * PER + k] = v_cache[v_from[k] + ((from & ~3u) + c) * WORDS];
            }
        }
        barrier();
        if (busy && (lane >> 2) < OWN) {
            uint row = row0 + (lane >> 2), at = row * 16u + 2u * (lane & 3u);
            ivec4 most = max(ivec4(p_tile[at]), ivec4(p_tile[at + 1u]));
            atomicMax(n_tile[row], max(max(most.x, most.y), max(most.z, most.w)));
        }
        barrier();
        if (busy) {
            for (uint i = 0u; i < OWN; i++) {
                int nc = n_tile[row0 + i];
                [[unroll]] for (uint e = 0u; e < 2u; e++) {
                    precise float pj = 0.0;
                    if (kj[i][e] != NO_KEY && kj[i][e] - nc >= LK_P_CUT) {
                        pj = lk_round13(lk_exp2_mantissa(s[i][e], kj[i][e]));
                        pj = lk_scale2(pj, kj[i][e] - nc);
                    }
                    p_tile[(row0 + i) * 16u + (lane >> 1)][2u * (lane & 1u) + e] = lk_bits(pj);
                }
            }
        }
        barrier();
        if (!busy) {
            continue;
        }

        /* l: a row of this invocation's own */
        precise float l_chunk = 0.0;
        if (lane < OWN) {
            for (uint j = 0u; j < 16u; j++) {
                uvec4 pj = p_tile[(row0 + lane) * 16u + j];
                [[unroll]] for (uint e = 0u; e < 4u; e++) {
                    precise float t = l_chunk + lk_flt(pj[e]);
                    l_chunk = t;
                }
            }
        }

        /* output: words lane + 32 k */
        precise float oc[OWN * PER * 2u];
        for (uint i = 0u; i < OWN * PER * 2u; i++) {
            oc[i] = 0.0;
        }
        for (uint j4 = from & ~3u; j4 < to; j4 += 4u) {
            if (j4 < from || j4 + 4u > to) {
                [[unroll]] for (uint c = 0u; c < 4u; c++) {
                    [[unroll]] for (uint k = 0u; k < PER; k++) {
                        uint word = v_words[c * PER + k];
                        v_words[c * PER + k] = j4 + c < from || j4 + c >= to ? 0u : word;
                    }
                }
            }
            precise vec2 v[4u * PER];
            uint next = min(j4 + 4u, LK_KV_BLOCK - 4u) * WORDS;
            [[unroll]] for (uint c = 0u; c < 4u; c++) {
                [[unroll]] for (uint k = 0u; k < PER; k++) {
                    v[c * PER + k] = halves(v_words[c * PER + k]);
                    v_words[c * PER + k] = v_cache[v_from[k] + next + c * WORDS];
                }
            }
            [[unroll]] for (uint i = 0u; i < OWN; i++) {
                uvec4 pj = p_tile[(row0 + i) * 16u + (j4 >> 2)];
                [[unroll]] for (uint c = 0u; c < 4u; c++) {
                    precise float x = lk_flt(pj[c]);
                    [[unroll]] for (uint k = 0u; k < PER; k++) {
                        uint e = (i * PER + k) * 2u;
                        oc[e] = fma(x, v[c * PER + k].x, oc[e]);
                        oc[e + 1u] = fma(x, v[c * PER + k].y, oc[e + 1u]);
                    }
                }
            }
        }
        for (uint i = 0u; i < OWN; i++) {
            int nc = n_tile[row0 + i];
            if (nc == NO_KEY) {
                continue; /* no key of this chunk: it takes no part */
            }
            bool started = n[i] != NO_KEY;
            int nn = max(n[i], nc);
            precise float f_old = started ? merge_factor(n[i] - nn) : 0.0;
            precise float f_new = merge_factor(nc - nn);
            if (lane == i) {
                precise float a = l * f_old;
                precise float b = l_chunk * f_new;
                a = a + b;
                l = started ? a : l_chunk;
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

    if (lane < OWN && row0 + lane < n_rows) {
        l_tile[row0 + lane] = l;
    }
    barrier();
    for (uint i = 0u; i < OWN; i++) {
        uint row = row0 + i;
        if (row >= n_rows) {
            continue;
        }
        uint head = head0 + row % n_heads;
        uint at_row = (first_token + row / n_heads) * p.n_head + head;
        precise float r = 0.0;
        if (SPLIT) {
            at_row = at_row * p.max_splits + gl_WorkGroupID.z;
            if (lane == 0u) {
                part[p.part_l + at_row * 2u] = uint(n[i]);
                part[p.part_l + at_row * 2u + 1u] = lk_bits(l_tile[row]);
            }
        } else {
            r = lk_rcp(l_tile[row]);
        }
        for (uint k = 0u; k < PER * 2u; k++) {
            uint w = lane + 32u * (k >> 1);
            uint d = 2u * w + (k & 1u);
            precise float y = o[i * PER * 2u + k];
            if (w >= WORDS || d >= p.head_dim) {
                continue;
            }
            if (SPLIT) {
                part[at_row * DIM + d] = lk_bits(y);
            } else {
                y = y * r;
                out0[at_row * p.head_dim + d] = store_value(y, p.op);
            }
        }
    }
}
