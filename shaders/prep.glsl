/* SPDX-License-Identifier: Apache-2.0
 *
 * Prep: the activations of a mat-vec: read from the activation buffer, or made here, by the whole
 * workgroup in shared memory (decode): the RMS norm of rule 7, then rule 4. The including file
 * has the types of weights.glsl, WORKERS of 32 lanes, PREP, PANELS, the input as x1 and x4,
 * norm_weight, and shared memory part4, of 32 words a panel.
 */
/* A worker prepares panels of its own, of which a lane has eight elements each. As few
 * loads as can be are behind branches, and nothing is atomic: compilers move loads behind branches, to
 * where they are used, so that each waits for memory alone, and make branches of atomics. */
const uint OWN = PANELS == 0u ? 1u : (PANELS + WORKERS - 1u) / WORKERS; /* panels of a worker */

/* Lanes that have a block of elements, whose largest magnitude counts. */
#ifdef W_K
const uint BLOCK_LANES = 32u;
#else
const uint BLOCK_LANES = 4u;
#endif
#if defined(W_MINS) || defined(W_OFFSET)
const uint SUMS = PANELS * 8u;
#else
const uint SUMS = 1u;
#endif

shared uvec4 prep_q[PREP == LK_VK_PREP_NONE ? 1u : PANELS * 16u];
shared float prep_d[PREP == LK_VK_PREP_NONE ? 1u : PANELS * 32u / BLOCK_LANES];
shared ivec4 prep_sum[PREP == LK_VK_PREP_NONE ? 1u : SUMS]; /* of four lanes, 8 elements each */
shared float prep_chain[PREP == LK_VK_PREP_NORM ? 256u : 1u];
shared vec4 prep_fold[8];

/* Chain t of the row's mean square. */
float norm_chain(uint t)
{
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
    return s;
}

void norm_chains(uint lid)
{
    if (THREADS >= 256u) { /* all of them, so that none waits behind a branch */
        float s = norm_chain(lid & 255u);
        if (lid < 256u) {
            prep_chain[lid] = s;
        }
    } else {
        for (uint t = lid; t < 256u; t += THREADS) {
            prep_chain[t] = norm_chain(t);
        }
    }
}

/* rsqrt of the mean square: the chains folded by halves. */
float norm_factor(uint lid)
{
    uint t = lid & 31u;
    precise float a = prep_chain[t] + prep_chain[t + 128u];
    precise float b = prep_chain[t + 64u] + prep_chain[t + 192u];
    precise float c = prep_chain[t + 32u] + prep_chain[t + 160u];
    precise float d = prep_chain[t + 96u] + prep_chain[t + 224u];
    a = a + b;
    c = c + d;
    a = a + c;
    if (lid < 32u) {
        prep_fold[t >> 2][t & 3u] = a;
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

/* Panel j of this worker; past the last one, that again, which its own worker alone stores. */
uint own_panel(uint worker, uint j)
{
    uint panel = worker + j * WORKERS;
    return (j + 1u) * WORKERS > PANELS ? min(panel, PANELS - 1u) : panel;
}
bool is_own(uint worker, uint j)
{
    return (j + 1u) * WORKERS <= PANELS || worker + j * WORKERS < PANELS;
}

/* Whether the row may end in panel j of a worker: past the last panel, or in it. */
bool may_end(uint j)
{
    return (j + 1u) * WORKERS >= PANELS;
}

/* Quad h of this lane's two of panel j; past the row's end: its last. */
uint own_quad(uint worker, uint lane, uint j, uint h, uint last)
{
    uint quad = own_panel(worker, j) * 64u + 2u * lane + h;
    return may_end(j) ? min(quad, last) : quad;
}

/* The largest magnitude of this lane's block, from those of its lanes in part4. */
uint block_most(uint panel, uint lane)
{
    uint first = panel * 8u + (lane & ~(BLOCK_LANES - 1u)) / 4u;
    uvec4 most = floatBitsToUint(part4[first]);
    LK_UNROLL for (uint i = 1u; i < BLOCK_LANES / 4u; i++) {
        most = max(most, floatBitsToUint(part4[first + i]));
    }
    return max(max(most.x, most.y), max(most.z, most.w));
}

/* Rule 4 on this lane's elements of a panel, whose block's largest magnitude is a. */
void quantize(uint panel, uint lane, uint a, vec4 x[2], bool own)
{
    precise float d = lk_flt(a) * lk_flt(0x3C010204u);
    precise float s = 127.0 * lk_rcp(lk_flt(a));
    d = a != 0u ? d : 0.0;
    s = a != 0u ? s : 0.0;
    uint word[2];
    int sum = 0;
    LK_UNROLL for (uint h = 0u; h < 2u; h++) {
        word[h] = 0u;
        LK_UNROLL for (int i = 0; i < 4; i++) {
            precise float t = x[h][i] * s;
            int q = lk_rte(t);
            sum += q;
            word[h] |= (uint(q) & 255u) << (8 * i);
        }
    }
    if (own) {
        prep_q[panel * 16u + lane / 2u][2u * (lane & 1u)] = word[0];
        prep_q[panel * 16u + lane / 2u][2u * (lane & 1u) + 1u] = word[1];
#if defined(W_MINS) || defined(W_OFFSET)
        prep_sum[panel * 8u + lane / 4u][lane & 3u] = sum;
#endif
        if (lane % BLOCK_LANES == 0u) {
            prep_d[(panel * 32u + lane) / BLOCK_LANES] = d;
        }
    }
}

/* Called by all invocations; ends with a barrier. The row begins at quad `row` of the input; that of
 * a norm is the first. Returns whether a value of the norm is out of range. */
bool prepare(uint row)
{
    uint lid = gl_LocalInvocationIndex, lane = lid & 31u, worker = lid >> 5;
    uint last = (p.k >> 2) - 1u; /* quad of the row */
    precise vec4 x[OWN][2];
    precise vec4 w[OWN][2];
    precise float by = 1.0;
    if (PREP == LK_VK_PREP_NORM) {
        norm_chains(lid);
        LK_UNROLL for (uint j = 0u; j < OWN; j++) {
            LK_UNROLL for (uint h = 0u; h < 2u; h++) {
                w[j][h] = norm_weight[own_quad(worker, lane, j, h, last)];
            }
        }
        barrier();
        by = norm_factor(lid);
    }
    /* behind the norm, which has brought them near: fewer registers are taken */
    LK_UNROLL for (uint j = 0u; j < OWN; j++) {
        LK_UNROLL for (uint h = 0u; h < 2u; h++) {
            uvec4 u = x4[row + own_quad(worker, lane, j, h, last)];
            x[j][h] = vec4(lk_flt(u.x), lk_flt(u.y), lk_flt(u.z), lk_flt(u.w));
        }
    }
    bool far = false;
    LK_UNROLL for (uint j = 0u; j < OWN; j++) {
        uint most = 0u;
        LK_UNROLL for (uint h = 0u; h < 2u; h++) {
            bool inside = !may_end(j) || own_panel(worker, j) * 64u + 2u * lane + h <= last;
            LK_UNROLL for (int i = 0; i < 4; i++) {
                if (PREP == LK_VK_PREP_NORM) {
                    precise float v = x[j][h][i] * by;
                    v = v * lk_flush(w[j][h][i]);
                    x[j][h][i] = stored(inside ? v : 0.0, far);
                } else {
                    x[j][h][i] = inside ? x[j][h][i] : 0.0;
                }
                most = max(most, lk_magnitude(x[j][h][i]));
            }
        }
        if (is_own(worker, j)) {
            PART(own_panel(worker, j) * 32u + lane) = lk_flt(most);
        }
    }
    barrier();
    LK_UNROLL for (uint j = 0u; j < OWN; j++) {
        uint at = own_panel(worker, j);
        quantize(at, lane, block_most(at, lane), x[j], is_own(worker, j));
    }
    barrier();
    return far;
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
        ivec4 sums = prep_sum[at];
        precise float t = prep_d[at] * lk_f22(sums.x + sums.y + sums.z + sums.w);
        return t;
    }
    return lk_flt(x1[p.x_s + at]);
}

/* Sums of the two halves of 32 elements. */
ivec2 act_sums(uint at)
{
    if (PREP != LK_VK_PREP_NONE) {
        ivec4 sums = prep_sum[at];
        return ivec2(sums.x + sums.y, sums.z + sums.w);
    }
    int sums = int(x1[p.x_s + at]);
    return ivec2(bitfieldExtract(sums, 0, 16), sums >> 16);
}
