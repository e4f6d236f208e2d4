/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile_store: where tiled matmuls put a result, the residual added if wanted. Included after EPI.
 */
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
layout(push_constant) uniform Push
{
    lk_vk_matmul_push p;
};

void store_row(uint group, uint r, uint token, float value)
{
    precise float y = value;
    if (token >= p.n_tokens || group >= p.n_groups) {
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
