/* SPDX-License-Identifier: Apache-2.0
 *
 * Matvec: matmul for few tokens. A workgroup owns 32 rows (one for each lane), or 8 of floats where
 * there are few, and COLS tokens; its workers of as many lanes take a panel each, and worker c folds
 * the panels of column c in order (rule 3).
 *
 * In decode PANELS says how many panels there are: then all of them meet at one barrier, gate
 * and up of a GLU as well, and with PREP every workgroup makes the activations ready for itself: that
 * of a GLU once for all the groups of rows that it goes through.
 */
#version 450
#include "shaders/common.glsl"
#include "shaders/dot.glsl"
#if defined(LK_UNROLLED) && !defined(LK_W_F32) && !defined(LK_W_F16) && !defined(LK_W_BF16)
#define W_PRELOADED
#endif
#include "shaders/weights.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint COLS = 1;
layout(constant_id = 2) const uint MODE = 0;   /* epilogue + 16 * LK_VK_PREP_* + ..._EXPERTS */
layout(constant_id = 3) const uint PANELS = 0; /* of a row; with COLS = 1; 0: any number */
const uint EPI = MODE & 15u;
const uint PREP = (MODE >> 4) & 15u;
const bool EXPERTS = (MODE & LK_VK_EPI_EXPERTS) != 0u;
const bool HEADS = (MODE & LK_VK_EPI_HEADS) != 0u;
const uint LANES = (MODE & LK_VK_EPI_NARROW) != 0u ? 8u : 32u; /* of a worker */
const uint WORKERS = THREADS / LANES;
const uint PARTS = PANELS == 0u ? WORKERS * COLS : EPI >= LK_VK_EPI_SILU ? 2u * PANELS : PANELS;
/* A panel a worker, whose weights are asked for in front of its loop: compilers let them move in front
 * of the last barrier. Any earlier, or with a norm or more panels, weights cost more than they
 * spare, since the input waits behind them. */
const bool AHEAD = PREP == LK_VK_PREP_QUANT && PARTS == WORKERS && EPI < LK_VK_EPI_SILU;
/* A GLU of one token, whose workgroups may go through several groups of rows. */
const bool GLU = EPI >= LK_VK_EPI_SILU && PANELS != 0u && !EXPERTS;

layout(std430, binding = 1) readonly buffer Act1
{
    uint x1[];
};
layout(std430, binding = 1) readonly buffer Act4
{
    uvec4 x4[];
};
layout(std430, binding = 2) writeonly buffer Out0
{
    float out0[];
};
layout(std430, binding = 3) writeonly buffer Out1
{
    float out1[];
};
layout(std430, binding = 4) writeonly buffer Out2
{
    float out2[];
};
layout(std430, binding = 5) readonly buffer Residual
{
    float residual[];
};
layout(std430, binding = 6) readonly buffer NormWeight
{
    vec4 norm_weight[];
};
layout(std430, binding = 6) readonly buffer Route
{
    float route[];
};
layout(push_constant) uniform Push
{
    lk_vk_matmul_push p;
};

shared vec4 part4[(GLU ? 2u : 1u) * PARTS * LANES / 4u];
#define PART(i) part4[(i) >> 2][(i) & 3u]

#if defined(W_FLOAT)
uvec4 act4(uint at)
{
    return x4[at];
}
#else
#include "shaders/prep.glsl"
#endif

#ifdef W_K
/* Adds sub-block s of a block to the sums of its integers, against sub-block `at` of the tokens' rows. */
void run_sub(Chunk c, uint group, uint r, uint block, uvec4 words, uint s, uint at, uint token,
             inout int dot[COLS], inout int mins[COLS])
{
    uint q[8];
    w_sub(c, group, r, block, s, q);
    ivec4 groups = w_groups(words, s);
    LK_UNROLL for (uint n = 0u; n < COLS; n++) {
        uint quad = ((token + n) * p.x_stride + at * 8u) >> 2;
        uvec4 a0 = act4(quad);
        uvec4 a1 = act4(quad + 1u);
        int d0 = 0;
        int d1 = 0;
        LK_UNROLL for (int k = 0; k < 4; k++) {
            d0 += dot4(q[k], a0[k]);
            d1 += dot4(q[k + 4], a1[k]);
        }
        dot[n] += groups.x * d0 + groups.y * d1;
#ifdef W_MINS
        ivec2 sums = act_sums((token + n) * (p.x_stride >> 3) + at);
        mins[n] += groups.z * sums.x + groups.w * sums.y;
#endif
    }
}
#endif

/* Panel `panel` of this lane's row against COLS tokens from `token`; with W_PRELOADED its weights
 * are in registers. */
void run_panel(Chunk c, uint group, uint r, uint panel, uint token, out float g[COLS])
{
    LK_UNROLL for (uint n = 0u; n < COLS; n++) {
        g[n] = 0.0;
    }
#if defined(W_FLOAT)
    /* STEP elements at a time, their loads under way at once, those of the next beside the sums of
     * these; past the end lie zeros, or the last elements again with w = 0 */
    const uint STEP = LANES == 8u ? 64u : 32u;
    uint end = min(panel * 256u + 256u, p.k);
    precise vec4 next[STEP / 4u];
    LK_UNROLL for (uint i = 0u; i < STEP / 4u; i++) {
        next[i] = w_floats(c, group, r, min(panel * 256u + 4u * i, (p.k - 1u) & ~3u));
    }
    for (uint first = panel * 256u; first < end; first += STEP) {
        precise vec4 w[STEP / 4u];
        LK_UNROLL for (uint i = 0u; i < STEP / 4u; i++) {
            uint e = first + 4u * i;
            w[i] = e < end ? next[i] : vec4(0.0);
            next[i] = w_floats(c, group, r, min(e + STEP, (p.k - 1u) & ~3u));
        }
        LK_UNROLL for (uint n = 0u; n < COLS; n++) {
            LK_UNROLL for (uint i = 0u; i < STEP / 4u; i++) {
                uint e = min(first + 4u * i, (p.k - 1u) & ~3u);
                uvec4 u = act4(((token + n) * p.x_stride + e) >> 2);
                LK_UNROLL for (int k = 0; k < 4; k++) {
#ifdef LK_W_F32
                    precise float t = w[i][k] * lk_flt(u[k]);
                    g[n] = g[n] + t;
#else
                    g[n] = fma(w[i][k], lk_flt(u[k]), g[n]);
#endif
                }
            }
        }
    }
#elif defined(W_32)
    uint end = min(panel * 8u + 8u, c.n_blocks);
    LK_UNROLL for (uint i = 0u; i < 8u; i++) {
        uint b = panel * 8u + i;
        uint q[8];
#ifdef W_PRELOADED
        w_sub(c, group, r, i, q);
        precise vec2 scale = w_scale(c, group, r, i);
#else
        if (b >= end) {
            break;
        }
        w_sub(c, group, r, b, q);
        precise vec2 scale = w_scale(c, group, r, b);
#endif
        LK_UNROLL for (uint n = 0u; n < COLS; n++) {
            uint at = (token + n) * p.x_stride + b * 8u;
            uvec4 a0 = act4(at >> 2);
            uvec4 a1 = act4((at >> 2) + 1u);
            int dot = 0;
            int other = 0;
            LK_UNROLL for (int k = 0; k < 4; k++) {
                dot += dot4(q[k], a0[k]);
                other += dot4(q[k + 4], a1[k]);
            }
            uint at_block = (token + n) * (p.x_stride >> 3) + b;
#ifdef W_HALVES
            precise float t = scale.x * lk_f22(dot); /* exact products */
            t = fma(scale.y, lk_f22(other), t);
            t = t * act_d(at_block);
#else
            precise float t = scale.x * act_d(at_block);
            t = t * lk_f22(dot + other);
#endif
#ifdef W_OFFSET
            precise float o = scale.y * act_sum(at_block);
            t = t + o;
#endif
            t = g[n] + t;
            g[n] = b < end ? t : g[n];
        }
    }
#else
#ifdef W_PRELOADED
    const uint block = 0u;
#else
    uint block = panel;
#endif
    uvec4 words = w_scale_words(c, group, r, block);
    int dot[COLS], mins[COLS];
    LK_UNROLL for (uint n = 0u; n < COLS; n++) {
        dot[n] = 0;
        mins[n] = 0;
    }
#if W_TURN < 8
    if (COLS == 1u) {
        /* a loop, since no compiler knows that its bound is 8 */
        for (uint turn = 0u; turn < 8u * min(p.k, 1u); turn += W_TURN) {
            LK_UNROLL for (uint s = 0u; s < W_TURN; s++) {
                run_sub(c, group, r, block, words, s, panel * 8u + turn + s, token, dot, mins);
            }
            w_turn(words);
        }
    } else
#endif
    {
        LK_UNROLL for (uint s = 0u; s < 8u; s++) {
            run_sub(c, group, r, block, words, s, panel * 8u + s, token, dot, mins);
        }
    }
    precise vec2 scale = w_scale(c, group, r, block, words);
    LK_UNROLL for (uint n = 0u; n < COLS; n++) {
        precise float dx = act_d((token + n) * (p.x_stride >> 6) + panel);
        precise float t = scale.x * dx;
        t = t * lk_f32_of_int(dot[n]);
#ifdef W_MINS
        precise float m = scale.y * dx;
        m = m * lk_f32_of_int(mins[n]);
        t = t - m;
#endif
        g[n] = t;
    }
#endif
}

/* Column `worker` of the 32 rows of `group` (the result of workers >= COLS means nothing). */
float run_rows(Chunk c, uint group, uint r, uint worker, uint token)
{
    uint n_panels = (p.k + 255u) / 256u;
    precise float y = 0.0;
    for (uint first = 0u; first < n_panels; first += WORKERS) {
        uint panel = first + worker;
        if (panel < n_panels) {
            float g[COLS];
#ifdef W_PRELOADED
            w_load(c, group, r, panel);
#endif
            run_panel(c, group, r, panel, token, g);
            LK_UNROLL for (uint n = 0u; n < COLS; n++) {
                PART((worker * COLS + n) * 32u + r) = g[n];
            }
        }
        barrier();
        if (worker < COLS) {
            uint n = min(WORKERS, n_panels - first);
            for (uint i = 0u; i < n; i++) {
                y = y + PART((i * COLS + worker) * 32u + r);
            }
        }
        barrier();
    }
    return y;
}

/* Row groups between those of gate and those of up. */
uint to_other()
{
    return EXPERTS ? p.n1 : p.rg1;
}

/* Decode: makes the input of this workgroup's rows ready. Returns whether a value of its norm is out of
 * range: that is looked at last, since it is a branch. */
bool begin(Chunk c, uint token)
{
    w_start(c, THREADS);
#if !defined(W_FLOAT)
    if (PREP != LK_VK_PREP_NONE) {
        return prepare(token * (p.x_stride >> 2));
    }
#endif
    return false;
}

/* Part i of the 32 rows of `group`, in part4 from `at` on: what a panel of theirs gives, or of those of
 * the other half of a GLU. `ready`: whether its weights are in registers. */
void run_part(Chunk c, uint group, uint r, uint i, uint token, uint at, bool ready)
{
    float g[COLS];
    uint other = i >= PANELS ? 1u : 0u;
    group += other * to_other();
#ifdef W_PRELOADED
    if (!ready) {
        w_load(c, group, r, i - other * PANELS);
    }
#endif
    run_panel(c, group, r, i - other * PANELS, token, g);
    PART(at + i * LANES + r % LANES) = g[0];
}

/* Decode: all parts; ends with a barrier. */
void run_parts(Chunk c, uint group, uint r, uint worker, uint token, uint at)
{
    if (PARTS == WORKERS && !AHEAD) {
        run_part(c, group, r, worker, token, at, false);
    } else {
        for (uint i = worker; i < PARTS; i += WORKERS) {
            run_part(c, group, r, i, token, at, AHEAD && i == worker);
        }
    }
    barrier();
}

/* The sum of PANELS of them, in order. */
float fold(uint r, uint at)
{
    precise float y = 0.0;
    LK_UNROLL for (uint i = 0u; i < PANELS; i++) {
        y = y + PART(at + i * LANES + r % LANES);
    }
    return y;
}

void store_glu(uint token, uint row, float y, float u)
{
    if (row < p.n0) {
        y = store_value(y, p.op0);
        u = store_value(u, p.op1);
        precise float a = EPI == LK_VK_EPI_SILU ? lk_silu(y) : lk_gelu(y);
        a = a * u;
        out0[token * p.w0 + row] = store_value(a, p.op_next);
    }
}

/* Decode: the GLU of every so many groups, for which the input is made ready once. The parts of two
 * take turns, so that nobody waits for a worker that folds. */
void run_glu(Chunk c, uint r, uint worker)
{
    bool far = begin(c, 0u);
    uint turn = 0u;
    for (uint group = gl_WorkGroupID.x; group < p.rg1; group += gl_NumWorkGroups.x) {
        uint at = (turn & 1u) * PARTS * LANES;
        run_parts(c, group, r, worker, 0u, at);
        if (worker == turn % WORKERS) {
            store_glu(0u, group * 32u + r, fold(r, at), fold(r, at + PANELS * LANES));
        }
        turn++;
    }
    raise(far, p.op_norm);
}

void main()
{
    uint worker = gl_LocalInvocationIndex / LANES;
    uint group = gl_WorkGroupID.x * LANES / 32u;
    uint r = (gl_WorkGroupID.x * LANES + gl_LocalInvocationIndex % LANES) % 32u;
    uint first = gl_WorkGroupID.y * COLS;
    uint token = first + worker;
    Chunk c = w_chunk(p.n_blocks, p.mid, p.tail);
    bool mine = worker < COLS && token < p.n_tokens;
    uint x_row = PANELS == 0u || EXPERTS ? first : 0u;
    if (EXPERTS) { /* one row a workgroup */
        uint of = first / p.w2;
        uint expert = first - of * p.w2;
        if (!HEADS) {
            expert = uint(lk_rte(route[of * p.w1 + expert]));
        }
        group += expert * p.rg1 - p.at0;
        x_row = first / p.rg2;
        if (group >= p.n_groups) { /* another chunk has its weights */
            return;
        }
    }
    if (GLU) {
        run_glu(c, r, worker);
        return;
    }
    precise vec2 all = vec2(0.0);
    if (PANELS != 0u) {
        bool far = begin(c, x_row);
#ifdef W_PRELOADED
        if (AHEAD) {
            w_load(c, group, r, worker);
        }
#endif
        run_parts(c, group, r, worker, PREP == LK_VK_PREP_NONE ? x_row : 0u, 0u);
        if (worker == 0u) {
            all.x = fold(r, 0u);
            if (EPI >= LK_VK_EPI_SILU) {
                all.y = fold(r, PANELS * LANES);
            }
        }
        raise(far, p.op_norm);
    } else {
        w_start(c, THREADS);
        all.x = run_rows(c, group, r, worker, x_row);
        if (EPI >= LK_VK_EPI_SILU) {
            all.y = run_rows(c, to_other() + group, r, worker, x_row);
        }
    }
    precise float y = all.x;
    if (EPI >= LK_VK_EPI_SILU) {
        if (mine) {
            store_glu(token, (EXPERTS ? gl_WorkGroupID.x : group) * 32u + r, y, all.y);
        }
        return;
    }
    if (!mine) {
        return;
    }
    if (EXPERTS) {
        uint row = gl_WorkGroupID.x * 32u + r;
        if (row < p.n0) {
            out0[token * p.w0 + row] = store_value(y, p.op0);
        }
        return;
    }
    if (group < p.rg1) {
        uint row = group * 32u + r;
        if (row < p.n0) {
            uint at = token * p.w0 + p.at0 + row;
            y = store_value(y, p.op0);
            if (EPI == LK_VK_EPI_ADD) {
                precise float z = residual[at] + y;
                out1[at] = store_value(z, p.op_next);
            } else {
                out0[at] = y;
            }
        }
    } else if (group < p.rg2) {
        uint row = (group - p.rg1) * 32u + r;
        if (row < p.n1) {
            out1[token * p.w1 + row] = store_value(y, p.op1);
        }
    } else {
        uint row = (group - p.rg2) * 32u + r;
        if (row < p.n2) {
            out2[token * p.w2 + row] = store_value(y, p.op2);
        }
    }
}
