/* SPDX-License-Identifier: Apache-2.0
 *
 * Prep: the activations of a mat-vec: read from the activation buffer, or made here, by the whole
 * workgroup in shared memory (decode): the RMS norm of rule 7, then rule 4. The including file
 * has the types of weights.glsl, THREADS, PREP, PANELS, the input as x1 and x4, and norm_weight.
 */
const uint SUBS = PREP == LK_VK_PREP_NONE ? 1u : PANELS * 8u; /* of 32 elements */

const uint QUADS = PANELS * 64u; /* four elements each */
const uint PER = PANELS == 0u ? 1u : (QUADS + THREADS - 1u) / THREADS; /* of an invocation */
const uint WHOLE = PANELS == 0u ? 0u : QUADS - 64u; /* those of all panels but the last: in any row */

/* A largest magnitude is that of a block: 1 << MAX_SHIFT quads. */
#ifdef W_K
const uint MAX_SHIFT = 6u;
#else
const uint MAX_SHIFT = 3u;
#endif

shared uvec4 prep_q[PREP == LK_VK_PREP_NONE ? 1u : PANELS * 16u];
shared uint prep_max[SUBS];
shared float prep_d[SUBS];
shared int prep_sum[2u * SUBS]; /* of 16 elements */
shared float prep_chain[PREP == LK_VK_PREP_NORM ? 256u : 1u];
shared vec4 prep_fold[8];

/* The mean square of the row, by 256 chains. */
void norm_chains(uint lid)
{
    for (uint t = lid; t < 256u; t += THREADS) {
        precise float s = 0.0;
        for (uint first = 0u; first < PANELS; first += 16u) {
            /* a chain's elements are on their way at once; +0 past the end changes no sum, and only
             * the last panel may have an end */
            precise float x[16];
            LK_UNROLL for (uint i = 0u; i < 16u; i++) {
                uint panel = first + i, e = t + 256u * panel;
                x[i] = 0.0;
                if (panel + 1u < PANELS || (panel + 1u == PANELS && e < p.k)) {
                    x[i] = lk_flt(x1[e]);
                }
            }
            LK_UNROLL for (uint i = 0u; i < 16u; i++) {
                precise float y = x[i] * x[i];
                s = s + y;
            }
        }
        prep_chain[t] = s;
    }
}

/* rsqrt of the mean square: the chains folded by halves. */
float norm_factor(uint lid)
{
    if (lid < 32u) {
        precise float a = prep_chain[lid] + prep_chain[lid + 128u];
        precise float b = prep_chain[lid + 64u] + prep_chain[lid + 192u];
        precise float c = prep_chain[lid + 32u] + prep_chain[lid + 160u];
        precise float d = prep_chain[lid + 96u] + prep_chain[lid + 224u];
        a = a + b;
        c = c + d;
        prep_fold[lid >> 2][lid & 3u] = a + c;
    }
    barrier();
    precise vec4 v[8];
    LK_UNROLL for (uint i = 0u; i < 8u; i++) {
        v[i] = prep_fold[i];
    }
    LK_UNROLL for (uint i = 0u; i < 4u; i++) {
        v[i] = v[i] + v[i + 4u];
    }
    v[0] = v[0] + v[2];
    v[1] = v[1] + v[3];
    v[0] = v[0] + v[1];
    precise vec2 w = v[0].xy + v[0].zw;
    precise float m = w.x + w.y;
    m = m * lk_flt(p.inv_n);
    m = m + lk_flt(p.eps);
    return lk_rsqrt(m);
}

/* Rule 4 on four elements of the row, whose block's largest magnitude is known. */
void quantize(uint quad, vec4 x)
{
    uint a = prep_max[quad >> MAX_SHIFT];
    precise float d = 0.0;
    precise float s = 0.0;
    if (a != 0u) {
        d = lk_flt(a) * lk_flt(0x3C010204u);
        s = 127.0 * lk_rcp(lk_flt(a));
    }
    uint word = 0u;
    int sum = 0;
    LK_UNROLL for (int i = 0; i < 4; i++) {
        precise float t = x[i] * s;
        int q = lk_rte(t);
        sum += q;
        word |= (uint(q) & 255u) << (8 * i);
    }
    prep_q[quad >> 2][quad & 3u] = word;
#if defined(W_MINS) || defined(W_OFFSET)
    atomicAdd(prep_sum[quad >> 2], sum);
#endif
    if ((quad & ((1u << MAX_SHIFT) - 1u)) == 0u) {
        prep_d[quad >> MAX_SHIFT] = d;
    }
}

/* Called by all invocations; ends with a barrier. The row begins at quad `row` of the input; that of
 * a norm is the first. The weights of panel `panel` of row r of `group` are asked for behind the
 * input, and are on their way while it is made ready. */
void prepare(uint row, Chunk c, uint group, uint r, uint panel)
{
    uint lid = gl_LocalInvocationIndex;
    for (uint i = lid; i < SUBS; i += THREADS) {
        prep_max[i] = 0u;
        prep_sum[2u * i] = 0;
        prep_sum[2u * i + 1u] = 0;
    }
    precise vec4 x[PER];
    precise vec4 w[PER];
    LK_UNROLL for (uint j = 0u; j < PER; j++) {
        uint at = lid + j * THREADS;
        if ((j + 1u) * THREADS > WHOLE) {
            at = min(at, (p.k >> 2) - 1u);
        }
        uvec4 u = x4[row + at];
        x[j] = vec4(lk_flt(u.x), lk_flt(u.y), lk_flt(u.z), lk_flt(u.w));
        if (PREP == LK_VK_PREP_NORM) {
            w[j] = norm_weight[at];
        }
    }
    if (PREP == LK_VK_PREP_NORM) {
        norm_chains(lid);
    }
#ifdef W_PRELOADED
    w_load(c, group, r, panel);
#endif
    barrier();
    precise float by = 1.0;
    if (PREP == LK_VK_PREP_NORM) {
        by = norm_factor(lid);
    }
    bool far = false;
    LK_UNROLL for (uint j = 0u; j < PER; j++) {
        uint quad = lid + j * THREADS;
        if ((j + 1u) * THREADS <= WHOLE || 4u * quad < p.k) {
            if (PREP == LK_VK_PREP_NORM) {
                LK_UNROLL for (int i = 0; i < 4; i++) {
                    precise float v = x[j][i] * by;
                    v = v * lk_flush(w[j][i]);
                    x[j][i] = stored(v, far);
                }
            }
            uint most = max(max(lk_magnitude(x[j].x), lk_magnitude(x[j].y)),
                            max(lk_magnitude(x[j].z), lk_magnitude(x[j].w)));
            atomicMax(prep_max[quad >> MAX_SHIFT], most);
        } else {
            x[j] = vec4(0.0);
        }
    }
    if (PREP == LK_VK_PREP_NORM) {
        raise(far, p.op_norm);
    }
    barrier();
    LK_UNROLL for (uint j = 0u; j < PER; j++) {
        uint quad = lid + j * THREADS;
        if ((j + 1u) * THREADS <= QUADS || quad < QUADS) {
            quantize(quad, x[j]);
        }
    }
    barrier();
}

/* Words of q, four at a time. */
uvec4 act4(uint at)
{
    if (PREP != LK_VK_PREP_NONE) {
        return prep_q[at];
    }
    return x4[at];
}

/* d of block `at`. */
float act_d(uint at)
{
    if (PREP != LK_VK_PREP_NONE) {
        return prep_d[at];
    }
    return lk_flt(x1[p.x_d + at]);
}

/* d * sum(q) of a block of 32. */
float act_sum(uint at)
{
    if (PREP != LK_VK_PREP_NONE) {
        precise float t = prep_d[at] * lk_f22(prep_sum[2u * at] + prep_sum[2u * at + 1u]);
        return t;
    }
    return lk_flt(x1[p.x_s + at]);
}

/* Sums of the two halves of 32 elements. */
ivec2 act_sums(uint at)
{
    if (PREP != LK_VK_PREP_NONE) {
        return ivec2(prep_sum[2u * at], prep_sum[2u * at + 1u]);
    }
    int sums = int(x1[p.x_s + at]);
    return ivec2(bitfieldExtract(sums, 0, 16), sums >> 16);
}
