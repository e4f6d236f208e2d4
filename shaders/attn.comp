/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn: attention by the contract's chunks of 64 keys (rule 8). A workgroup owns up to ROWS query
 * rows (heads of one KV head, tokens of one sequence), each 32 of its invocations OWN of them, and
 * either walks their chunks in order, or with SPLIT takes one chunk and leaves o_c, n_c, l_c to
 * attn_merge.
 *
 * Scores: each invocation takes two keys. Output: each takes some dimensions. All sums are of
 * integers. A masked key has weight 0, whatever its cells hold.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/attention.glsl"

layout(local_size_x_id = 3) in;
layout(constant_id = 0) const uint ROWS = 8;
layout(constant_id = 1) const uint DIM = 256; /* of a key, padded: a multiple of 32 */
layout(constant_id = 2) const uint FLAGS = LK_VK_ATTN_VALUES(256u); /* LK_VK_ATTN_* */
layout(constant_id = 3) const uint THREADS = 32;
const bool SPLIT = (FLAGS & LK_VK_ATTN_SPLIT) != 0u;
const uint BITS = (FLAGS & LK_VK_ATTN_K8) != 0u ? LK_KV_K8_BITS : LK_KV_K_BITS;

const uint OWN = ROWS * 32u / THREADS;
const uint PER = (FLAGS >> 8) & 255u; /* dimensions of a value that an invocation has */
const uint V_DIM = PER * 32u;         /* of a value, padded */

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

shared uvec2 q_tile[ROWS * DIM / 4u];
shared float q_scale[ROWS];
shared int w_tile[ROWS * 64u]; /* weights of values as they are made */
shared uvec2 p_tile[ROWS * 16u]; /* and as they are multiplied */
shared int n_tile[ROWS];
shared int l_tile[ROWS];
shared uint most_tile[ROWS]; /* bits of the largest w; before the first chunk, of q */

/* The queries of this tile as integers. */
void load_queries(uint lid, uint first_token, uint head0, uint n_heads, uint n_rows)
{
    for (uint i = lid; i < ROWS; i += THREADS) {
        most_tile[i] = 0u;
    }
    barrier();
    for (uint i = lid; i < ROWS * DIM; i += THREADS) {
        uint row = i / DIM, d = i % DIM;
        if (row < n_rows && d < p.head_dim) {
            uint at = ((first_token + row / n_heads) * p.n_head + head0 + row % n_heads) * p.head_dim;
            atomicMax(most_tile[row], lk_magnitude(q_rows[at + d]));
        }
    }
    barrier();
    for (uint i = lid; i < ROWS * DIM / 4u; i += THREADS) {
        uint row = i / (DIM / 4u), d = i % (DIM / 4u) * 4u;
        uint at = ((first_token + row / n_heads) * p.n_head + head0 + row % n_heads) * p.head_dim;
        precise vec4 x = vec4(0.0);
        for (uint c = 0u; c < 4u; c++) {
            if (row < n_rows && d + c < p.head_dim) {
                x[c] = q_rows[at + d + c];
            }
        }
        uint a = most_tile[row];
        q_tile[i] = pack_query(quantize4(x, a, lk_cell_factor(lk_flt(a), float(LK_Q_MOST))));
    }
    for (uint i = lid; i < ROWS; i += THREADS) {
        uint a = most_tile[i];
        precise float scale = lk_cell_scale(lk_flt(a), LK_Q_MOST) * lk_flt(p.score_in);
        q_scale[i] = a == 0u ? 0.0 : scale;
    }
}

void main()
{
    uint lid = gl_LocalInvocationIndex, lane = lid & 31u;
    /* tiles that see the most keys first, of all heads: the others fill the gaps they leave */
    uint tile = p.tiles + (gl_NumWorkGroups.y - 1u - gl_WorkGroupID.y) * 4u;
    uint first_token = batch[tile];
    uint n_tile_tokens = batch[tile + 1u];
    uint seq = batch[tile + 2u];
    uint kv_head = gl_WorkGroupID.x / p.head_tiles;
    uint group = p.n_head / p.n_kv_head;
    uint head0 = (gl_WorkGroupID.x % p.head_tiles) * ROWS;
    uint n_heads = min(group - head0, ROWS); /* of each token in this tile */
    uint n_rows = n_tile_tokens * n_heads;
    head0 += kv_head * group;
    uint pos0 = batch[p.pos + first_token];
    uint seq_end = batch[tile + 3u];
    uint last = pos0 + n_tile_tokens - 1u;
    last += min(p.ahead, seq_end - last);
    uint low = p.window != 0u && pos0 + 1u > p.window ? pos0 + 1u - p.window : 0u;
    uint row0 = (lid >> 5) * OWN; /* the first of this invocation's rows */
    bool busy = row0 < n_rows;
    load_queries(lid, first_token, head0, n_heads, n_rows);

    precise float o[OWN * PER];
    int n[OWN];
    precise float l[OWN];
    for (uint i = 0u; i < OWN; i++) {
        n[i] = NO_KEY;
        l[i] = 0.0;
        if ((FLAGS & LK_VK_ATTN_SINK) != 0u && row0 + i < n_rows) {
            float sink = sinks[head0 + (row0 + i) % n_heads];
            n[i] = lk_sink_exponent(sink);
            l[i] = lk_sink_weight(sink);
        }
        for (uint k = 0u; k < PER; k++) {
            o[i * PER + k] = 0.0;
        }
    }

    bool far = false; /* a score was out of range */
    uint chunk = low / LK_KV_BLOCK;
    uint end = last / LK_KV_BLOCK + 1u;
    if (SPLIT) {
        chunk += gl_WorkGroupID.z;
        end = min(end, chunk + 1u);
    }
    uint table = p.table + seq * p.max_blocks;
    for (; chunk < end; chunk++) {
        uint block = batch[table + chunk];
        uint k_at = LK_KV_HEAD_AT(block, kv_head, p.n_kv_head, DIM, BITS);
        uint v_at = LK_KV_HEAD_AT(block, kv_head, p.n_kv_head, V_DIM, LK_KV_V_BITS);
        barrier();
        for (uint i = lid; i < ROWS; i += THREADS) {
            n_tile[i] = NO_KEY;
            l_tile[i] = 0;
            most_tile[i] = 0u;
        }
        barrier();

        /* scores of keys lane and lane + 32 */
        precise vec2 s[OWN];
        ivec2 kj[OWN];
        if (busy) {
            SUM dot[OWN * 2u];
            for (uint i = 0u; i < OWN * 2u; i++) {
                dot[i] = SUM(0);
            }
            for (uint d = 0u; d < DIM; d += 8u) {
                uint high[4], low_halves[2];
                [[unroll]] for (uint e = 0u; e < 2u; e++) {
                    high[e] = k_cache[k_at + LK_KV_K_HIGH(d, lane + 32u * e)];
                    high[2u + e] = k_cache[k_at + LK_KV_K_HIGH(d + 4u, lane + 32u * e)];
                    low_halves[e] = 0u;
                    if (BITS == LK_KV_K_BITS) {
                        low_halves[e] = k_cache[k_at + LK_KV_K_LOW(DIM, d, lane + 32u * e)];
                    }
                }
                [[unroll]] for (uint h = 0u; h < 2u; h++) {
                    KEY k[2];
                    [[unroll]] for (uint e = 0u; e < 2u; e++) {
                        uint half_bytes = (low_halves[e] >> (4u * h)) & 0x0f0f0f0fu;
                        k[e] = unpack_key(high[2u * h + e], half_bytes, BITS);
                    }
                    [[unroll]] for (uint i = 0u; i < OWN; i++) {
                        uvec2 q = q_tile[((row0 + i) * DIM + d) / 4u + h];
                        dot[2u * i] = add_dot(dot[2u * i], q, k[0], BITS);
                        dot[2u * i + 1u] = add_dot(dot[2u * i + 1u], q, k[1], BITS);
                    }
                }
            }
            precise vec2 k_scale = vec2(lk_flt(k_cache[k_at + LK_KV_SCALE_AT(DIM, BITS, lane)]),
                                        lk_flt(k_cache[k_at + LK_KV_SCALE_AT(DIM, BITS, lane + 32u)]));
            for (uint i = 0u; i < OWN; i++) {
                uint row = row0 + i, pos = pos0 + row / n_heads;
                uint most = pos + min(p.ahead, seq_end - pos);
                kj[i] = ivec2(NO_KEY);
                [[unroll]] for (uint e = 0u; e < 2u; e++) {
                    uint key = chunk * LK_KV_BLOCK + lane + 32u * e;
                    bool used =
                        row < n_rows && key <= most && (p.window == 0u || key + p.window > pos);
                    s[i][e] = score_of(whole(dot[2u * i + e], BITS), k_scale[e], q_scale[row],
                                       (FLAGS & LK_VK_ATTN_CAP) != 0u ? p.score_cap : 0u, used, far);
                    if (used) {
                        kj[i][e] = lk_rte(s[i][e]);
                    }
                }
                atomicMax(n_tile[row], max(kj[i].x, kj[i].y));
            }
        }
        barrier();
        if (busy) {
            precise vec2 v_scale =
                vec2(lk_flt(v_cache[v_at + LK_KV_SCALE_AT(V_DIM, LK_KV_V_BITS, lane)]),
                     lk_flt(v_cache[v_at + LK_KV_SCALE_AT(V_DIM, LK_KV_V_BITS, lane + 32u)]));
            for (uint i = 0u; i < OWN; i++) {
                int nc = n_tile[row0 + i], count = 0;
                [[unroll]] for (uint e = 0u; e < 2u; e++) {
                    precise float w = 0.0;
                    if (kj[i][e] != NO_KEY) {
                        precise float pj = weight_of(s[i][e], kj[i][e], nc);
                        count += count_of(pj);
                        w = pj * v_scale[e];
                    }
                    s[i][e] = w;
                }
                atomicAdd(l_tile[row0 + i], count);
                atomicMax(most_tile[row0 + i], max(lk_bits(s[i].x), lk_bits(s[i].y)));
            }
        }
        barrier();
        if (busy) {
            for (uint i = 0u; i < OWN; i++) {
                precise vec2 w = s[i] * lk_weight_up(lk_weight_exponent(most_tile[row0 + i]));
                w_tile[(row0 + i) * 64u + lane] = lk_rte(w.x);
                w_tile[(row0 + i) * 64u + lane + 32u] = lk_rte(w.y);
            }
        }
        barrier();
        for (uint i = lid; i < min(n_rows, ROWS) * 16u; i += THREADS) {
            p_tile[i] = pack_weights(ivec4(w_tile[4u * i], w_tile[4u * i + 1u],
                                           w_tile[4u * i + 2u], w_tile[4u * i + 3u]));
        }
        barrier();
        if (!busy) {
            continue;
        }

        /* output: dimensions lane + 32 k */
        int oc[OWN * PER];
        for (uint i = 0u; i < OWN * PER; i++) {
            oc[i] = 0;
        }
        uint base = chunk * LK_KV_BLOCK;
        uint from = low > base ? (low - base) / 4u : 0u;
        uint to = min(last - base, 63u) / 4u;
        for (uint j4 = from; j4 <= to; j4++) {
            VALUE v[PER];
            [[unroll]] for (uint k = 0u; k < PER; k++) {
                v[k] = unpack_value(v_cache[v_at + LK_KV_V_AT(V_DIM, lane + 32u * k, 4u * j4)]);
            }
            [[unroll]] for (uint i = 0u; i < OWN; i++) {
                uvec2 w = p_tile[(row0 + i) * 16u + j4];
                [[unroll]] for (uint k = 0u; k < PER; k++) {
                    oc[i * PER + k] = add_values(oc[i * PER + k], w, v[k]);
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
            precise float down = lk_weight_down(lk_weight_exponent(most_tile[row0 + i]));
            precise float l_chunk = l_of(l_tile[row0 + i]);
            precise float a = l[i] * f_old;
            precise float b = l_chunk * f_new;
            a = a + b;
            l[i] = started ? a : l_chunk;
            for (uint k = 0u; k < PER; k++) {
                uint e = i * PER + k;
                precise float add = lk_f32_of_int(oc[e]) * down;
                add = lk_flush(add);
                if (started) {
                    a = o[e] * f_old;
                    b = add * f_new;
                    a = a + b;
                    add = lk_flush(a);
                }
                o[e] = add;
            }
            n[i] = nn;
        }
    }

    if (far) {
        atomicOr(flags[p.op], 1u);
    }
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
                part[p.part_l + at_row * 2u + 1u] = lk_bits(l[i]);
            }
        } else {
            r = lk_rcp(l[i]);
        }
        for (uint k = 0u; k < PER; k++) {
            uint d = lane + 32u * k;
            precise float y = o[i * PER + k];
            if (d >= p.v_dim) {
                continue;
            }
            if (SPLIT) {
                part[at_row * V_DIM + d] = lk_bits(y);
            } else {
                y = y * r;
                out0[at_row * p.v_dim + d] = store_value(y, p.op);
            }
        }
    }
}
