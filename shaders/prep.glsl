/* SPDX-License-Identifier: Apache-2.0
 *
 * Prep: the activations of a mat-vec: read from the activation buffer, or made here, by the whole
 * workgroup in shared memory (decode): the RMS norm of rule 7, then rule 4. The including file
 * has the types of weights.glsl, THREADS, PREP, PANELS, the input as x1 and x4, and norm_weight.
 */
const uint SUBS = PREP == LK_VK_PREP_NONE ? 1u : PANELS * 8u; /* of 32 elements */

const uint PER = PANELS == 0u ? 1u : (PANELS * 64u + THREADS - 1u) / THREADS; /* quads of an invocation */

shared uvec4 prep_q[PREP == LK_VK_PREP_NONE ? 1u : PANELS * 16u];
shared uint prep_max[SUBS];
shared float prep_d[SUBS];
shared int prep_sum[2u * SUBS]; /* of 16 elements */
shared float prep_chain[PREP == LK_VK_PREP_NORM ? 256u : 1u];
shared vec4 prep_fold[8];

/* rsqrt of the mean square of the row: 256 chains, folded by halves. */
float norm_factor(uint lid)
{
    for (uint t = lid; t < 256u; t += THREADS) {
        precise float s = 0.0;
        for (uint first = 0u; first < PANELS; first += 16u) {
            /* a chain's elements are on their way at once; +0 past the end changes no sum */
            precise float x[16];
            LK_UNROLL for (uint i = 0u; i < 16u; i++) {
                uint e = t + 256u * (first + i);
                x[i] = first + i < PANELS ? lk_flt(x1[min(e, p.k - 1u)]) : 0.0;
                x[i] = e < p.k ? x[i] : 0.0;
            }
            LK_UNROLL for (uint i = 0u; i < 16u; i++) {
                precise float y = x[i] * x[i];
                s = s + y;
            }
        }
        prep_chain[t] = s;
    }
    barrier();
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
#ifdef W_K
    uint sub = (quad >> 6) * 8u;
    uint a = prep_max[sub];
    LK_UNROLL for (uint i = 1u; i < 8u; i++) {
        a = max(a, prep_max[sub + i]);
    }
#else
    uint a = prep_max[quad >> 3];
#endif
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
#ifdef W_K
    if ((quad & 63u) == 0u) {
        prep_d[quad >> 6] = d;
    }
#else
    if ((quad & 7u) == 0u) {
        prep_d[quad >> 3] = d;
    }
#endif
}

/* Called by all invocations; ends with a barrier. The row begins at quad `row` of the input; that of
 * a norm is the first. */
void prepare(uint row)
{
    uint lid = gl_LocalInvocationIndex;
    for (uint i = lid; i < SUBS; i += THREADS) {
        prep_max[i] = 0u;
        prep_sum[2u * i] = 0;
        prep_sum[2u * i + 1u] = 0;
    }
    /* all that is read is on its way before the first barrier */
    precise vec4 x[PER];
    precise vec4 w[PER];
    LK_UNROLL for (uint j = 0u; j < PER; j++) {
        uint at = min(lid + j * THREADS, (p.k >> 2) - 1u);
        uvec4 u = x4[row + at];
        x[j] = vec4(lk_flt(u.x), lk_flt(u.y), lk_flt(u.z), lk_flt(u.w));
        if (PREP == LK_VK_PREP_NORM) {
            w[j] = norm_weight[at];
        }
    }
    precise float r = 1.0;
    if (PREP == LK_VK_PREP_NORM) {
        r = norm_factor(lid);
    } else {
        barrier();
    }
    LK_UNROLL for (uint j = 0u; j < PER; j++) {
        uint quad = lid + j * THREADS;
        if (4u * quad < p.k) {
            LK_UNROLL for (int i = 0; i < 4; i++) {
                if (PREP == LK_VK_PREP_NORM) {
                    precise float v = x[j][i] * r;
                    v = v * lk_flush(w[j][i]);
                    x[j][i] = store_value(v, p.op_norm);
                }
            }
            atomicMax(prep_max[quad >> 3], max(max(lk_magnitude(x[j].x), lk_magnitude(x[j].y)),
                                               max(lk_magnitude(x[j].z), lk_magnitude(x[j].w))));
        } else {
            x[j] = vec4(0.0);
        }
    }
    barrier();
    LK_UNROLL for (uint j = 0u; j < PER; j++) {
        uint quad = lid + j * THREADS;
        if (quad < PANELS * 64u) {
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
