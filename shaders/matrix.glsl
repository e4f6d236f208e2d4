/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix: products of int8 matrices 16 x 32 times 32 x 16, exact in int32. LK_MATRIX takes the
 * device's matrix units; without it plain loops of 32 neighbouring invocations stand for them, so
 * that any device can run, and test, what stands around them. Matrices lie in the shared array
 * `tile` of uvec4, declared before this is included: strides and places count uvec4s.
 */

/* Where element e of an invocation lies in a matrix of 16 x 16, and that 32 invocations on end are a
 * subgroup in their order. Of the device's own matrices no standard says it: kernels that use it
 * there are right on devices where it is so, and the probe's known answers switch them off on
 * others. */
uint own_row(uint e)
{
    return ((gl_LocalInvocationIndex & 31u) >> 2) + 2u * (e & 4u);
}
uint own_column(uint e)
{
    return 2u * (gl_LocalInvocationIndex & 3u) + (e & 1u) + 4u * (e & 2u);
}

#ifdef LK_MATRIX
#define STEP_UNROLL [[unroll]]
#define BOUND(n) (n)
#define INTS coopmat<int32_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define FLOATS coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define LEFT coopmat<int8_t, gl_ScopeSubgroup, 16, 32, gl_MatrixUseA>
#define RIGHT coopmat<int8_t, gl_ScopeSubgroup, 32, 16, gl_MatrixUseB>
#define N_OWN(m) (m).length()
#define OWN(m, e) m[e]
#define LOAD_LEFT(m, at, stride) coopMatLoad(m, tile, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define LOAD_RIGHT(m, at, stride)                                                                  \
    coopMatLoad(m, tile, at, stride, gl_CooperativeMatrixLayoutColumnMajor)
/* each row, or each column, has the number of its own */
#define LOAD_BY_ROW(m, array, at) coopMatLoad(m, array, at, 0u, gl_CooperativeMatrixLayoutColumnMajor)
#define LOAD_BY_COLUMN(m, array, at) coopMatLoad(m, array, at, 0u, gl_CooperativeMatrixLayoutRowMajor)
/* columns of 16 numbers side by side */
#define STORE_COLUMNS(m, at, stride)                                                               \
    coopMatStore(m, tile, at, stride, gl_CooperativeMatrixLayoutColumnMajor)
/* c += a b */
#define MULTIPLY(a, b, c) c = coopMatMulAdd(a, b, c)
#define ZERO_INTS INTS(0)
#define MAGIC_INTS INTS(int(LK_MAGIC_BITS)) /* sums that begin there are floats: see float_in */
#define ZERO_FLOATS FLOATS(0.0)
#else
struct Ints {
    int v[8];
};
struct Floats {
    float v[8];
};
struct Left {
    uvec4 a[2], b[2]; /* the lane's two rows */
};
struct Right {
    uvec4 a[4], b[4]; /* and its four columns */
};
/* Loops stay loops: a driver that runs on the CPU compiles them for seconds when it unrolls them, so
 * that their bounds are what it can't know (a dispatch has one workgroup along z). */
#define STEP_UNROLL
#define BOUND(n) ((n) + gl_WorkGroupID.z)
#define INTS Ints
#define FLOATS Floats
#define LEFT Left
#define RIGHT Right
#define N_OWN(m) int(BOUND(8u))
#define OWN(m, e) m.v[e]
#define ZERO_INTS Ints(int[8](0, 0, 0, 0, 0, 0, 0, 0))
Ints magic_ints()
{
    Ints m;
    for (uint e = 0u; e < BOUND(8u); e++) {
        m.v[e] = int(LK_MAGIC_BITS);
    }
    return m;
}
#define MAGIC_INTS magic_ints()
#define ZERO_FLOATS Floats(float[8](0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
#define LOAD_LEFT(m, at, stride)                                                                   \
    for (uint i_ = 0u; i_ < BOUND(2u); i_++) {                                                     \
        m.a[i_] = tile[(at) + own_row(4u * i_) * (stride)];                                        \
        m.b[i_] = tile[(at) + own_row(4u * i_) * (stride) + 1u];                                   \
    }
#define LOAD_RIGHT(m, at, stride)                                                                  \
    for (uint i_ = 0u; i_ < BOUND(4u); i_++) {                                                     \
        uint at_ = (at) + own_column(i_) * (stride);                                               \
        m.a[i_] = tile[at_];                                                                       \
        m.b[i_] = tile[at_ + 1u];                                                                  \
    }
#define LOAD_BY_ROW(m, array, at)                                                                  \
    for (uint e_ = 0u; e_ < BOUND(8u); e_++) {                                                     \
        m.v[e_] = array[at + own_row(e_)];                                                         \
    }
#define LOAD_BY_COLUMN(m, array, at)                                                               \
    for (uint e_ = 0u; e_ < BOUND(8u); e_++) {                                                     \
        m.v[e_] = array[at + own_column(e_)];                                                      \
    }
#define STORE_COLUMNS(m, at, stride)                                                               \
    for (uint e_ = 0u; e_ < BOUND(8u); e_++) {                                                     \
        tile[(at) + own_column(e_) * (stride) + (own_row(e_) >> 2)][own_row(e_) & 3u] =            \
            lk_bits(m.v[e_]);                                                                      \
    }
/* Products of four int8 in each of four words. */
int dot16(uvec4 a, uvec4 b)
{
    ivec4 x = ivec4(a), y = ivec4(b);
    ivec4 sum = bitfieldExtract(x, 0, 8) * bitfieldExtract(y, 0, 8) +
                bitfieldExtract(x, 8, 8) * bitfieldExtract(y, 8, 8) +
                bitfieldExtract(x, 16, 8) * bitfieldExtract(y, 16, 8) + (x >> 24) * (y >> 24);
    return sum.x + sum.y + sum.z + sum.w;
}
#define MULTIPLY(l, r, c)                                                                          \
    for (uint e_ = 0u; e_ < BOUND(8u); e_++) {                                                     \
        uint i_ = e_ >> 2, j_ = e_ & 3u;                                                           \
        c.v[e_] += dot16(l.a[i_], r.a[j_]) + dot16(l.b[i_], r.b[j_]);                              \
    }
#endif

/* F of a sum that began at LK_MAGIC_BITS, below 2^22: its bits are those of LK_MAGIC plus the sum. */
float float_in(int sum)
{
    precise float f = lk_flt(uint(sum)) - LK_MAGIC;
    return f;
}
