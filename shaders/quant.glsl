/* SPDX-License-Identifier: Apache-2.0
 *
 * Quant: activations for a matmul (rule 4), by a workgroup of THREADS, which the including file has,
 * 4 elements to an invocation: the layout of the activation buffer is in params.h
 * (lk_vk_quantize_push).
 */
layout(constant_id = 0) const uint KIND = 0; /* LK_VK_X_* */

layout(std430, binding = 3) writeonly buffer Act
{
    uint act[];
};

const uint PASS = 4u * THREADS; /* elements handled together */
shared uint block_max[PASS / 32u];
shared int block_sum[PASS / 16u];

/* Elements [first, first + 4) of row `row`, of PASS handled together by the workgroup; those at
 * or beyond `width` are padding. Called by all invocations. */
void quantize_pass(uint row, uint first, uint width, vec4 x, uint stride, uint at_d,
                   uint at_s)
{
    if (KIND == LK_VK_X_F32 || KIND == LK_VK_X_R13 || KIND == LK_VK_X_R16) {
        for (uint i = 0u; i < 4u; i++) {
            uint u = lk_bits(x[i]);
            if (KIND == LK_VK_X_R13) {
                u = lk_bits(lk_round13(x[i]));
            } else if (KIND == LK_VK_X_R16) {
                u = lk_bits(lk_round16(x[i]));
            }
            if (first + i < stride) {
                act[row * stride + first + i] = first + i < width ? u : 0u;
            }
        }
        return;
    }
    uint lid = gl_LocalInvocationIndex;
    uint block = KIND == LK_VK_X_Q32 ? lid >> 3 : lid >> 6;
    bool valid = first < width;
    barrier();
    if (lid < PASS / 16u) {
        block_max[lid >> 1] = 0u;
        block_sum[lid] = 0;
    }
    barrier();
    if (valid) {
        atomicMax(block_max[block], most_of4(x));
    }
    barrier();
    precise float d = 0.0;
    uint a = block_max[block];
    if (valid) {
        precise float s = 0.0;
        if (a != 0u) {
            d = lk_flt(a) * lk_flt(0x3C010204u);
            s = 127.0 * lk_rcp(lk_flt(a));
        }
        uint word = 0u;
        int sum = 0;
        for (int i = 0; i < 4; i++) {
            precise float t = x[i] * s;
            int q = lk_rte(t);
            sum += q;
            word |= (uint(q) & 255u) << (8 * i);
        }
        act[row * stride + (first >> 2)] = word;
        atomicAdd(block_sum[lid >> 2], sum);
    }
    barrier();
    if (!valid) {
        return;
    }
    if (KIND == LK_VK_X_Q32 && (lid & 7u) == 0u) {
        uint at = row * (stride >> 3) + (first >> 5);
        int sum = block_sum[lid >> 2] + block_sum[(lid >> 2) + 1u];
        precise float t = d * lk_f22(sum);
        act[at_d + at] = lk_bits(d);
        act[at_s + at] = lk_bits(t);
    }
    if (KIND == LK_VK_X_Q256) {
        if ((lid & 63u) == 0u) {
            act[at_d + row * (stride >> 6) + (first >> 8)] = lk_bits(d);
        }
        if ((lid & 7u) == 0u) {
            act[at_s + row * (stride >> 3) + (first >> 5)] =
                (uint(block_sum[lid >> 2]) & 0xffffu) | (uint(block_sum[(lid >> 2) + 1u]) << 16);
        }
    }
}
