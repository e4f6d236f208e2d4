/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: the pairs of a head and how one is turned (rule 9). Knows no buffer.
 */

/* Elements of pair `i` of a head; of those that pass through, which come last, the second may be
 * beyond the head. */
uvec2 pair_at(uint i, uint n_dims, bool interleaved)
{
    uint turned = n_dims / 2u;
    if (i >= turned || interleaved) {
        return uvec2(2u * i, 2u * i + 1u);
    }
    return uvec2(i, i + turned);
}

/* A pair by its cosine and sine; op: whose range it is. */
vec2 turn(float x0, float x1, float c, float s, uint op)
{
    precise float a = x0 * c;
    precise float b = x1 * s;
    a = a - b;
    float y0 = store_value(a, op);
    a = x0 * s;
    b = x1 * c;
    a = a + b;
    return vec2(y0, store_value(a, op));
}
