/* SPDX-License-Identifier: Apache-2.0
 *
 * Dot: products of four int8 in a word, exact in int32: the instruction where the variant has it
 * (LK_INT_DOT), else byte by byte.
 */
#ifdef LK_INT_DOT
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018],
                  id = 4450) int sdot(int a, int b, spirv_literal int format);
int dot4(uint a, uint b)
{
    return sdot(int(a), int(b), 0);
}
#else
int dot4(uint a, uint b)
{
    int x = int(a);
    int y = int(b);
    return bitfieldExtract(x, 0, 8) * bitfieldExtract(y, 0, 8) +
           bitfieldExtract(x, 8, 8) * bitfieldExtract(y, 8, 8) +
           bitfieldExtract(x, 16, 8) * bitfieldExtract(y, 16, 8) + (x >> 24) * (y >> 24);
}
#endif
