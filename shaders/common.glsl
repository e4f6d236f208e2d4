/* SPDX-License-Identifier: Apache-2.0
 *
 * Common: what every kernel includes first: the primitives, the push constants, rule 1.
 */
#extension GL_EXT_control_flow_attributes : require
#define LK_GLSL
#include "shaders/params.h"
#include "plan/kv_layout.h"
#include "base/numerics.h"

/* Loops of constant length are unrolled in the variants made for real GPUs, whose compilers
 * otherwise keep arrays out of registers; compilers of CPU drivers would take seconds. */
#ifdef LK_UNROLLED
#define LK_UNROLL [[unroll]]
#else
#define LK_UNROLL
#endif

layout(std430, binding = 7) buffer Flags
{
    uint flags[];
};

/* F(i). Kernels for matrix units take the device's own conversion: the probe switches them off where
 * it does not round to nearest even. */
float float_of(int i)
{
#ifdef LK_MATRIX
    return LK_TO_F32(i);
#else
    return lk_f32_of_int(i);
#endif
}

/* The largest magnitude of four. */
uint most_of4(vec4 x)
{
    return max(max(lk_magnitude(x.x), lk_magnitude(x.y)),
               max(lk_magnitude(x.z), lk_magnitude(x.w)));
}

/* Rule 1 of one value of several that an invocation stores: `far` says whether one was out of range. */
float stored(float y, inout bool far)
{
    far = lk_out_of_range(y) || far;
    return lk_flush(y);
}

/* Sets an op's flag if one of its values was out of range. */
void raise(bool far, uint op)
{
    if (far) {
        atomicOr(flags[op], 1u);
    }
}

/* Rule 1: the value an op stores; an out-of-range one sets the op's flag. */
float store_value(float y, uint op)
{
    bool far = false;
    y = stored(y, far);
    raise(far, op);
    return y;
}
