/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_body: attention chunks (rule 8) in the words of a simd_*.h; included after vec_body.h.
 *
 * Scores: lanes are keys, a chain over d a lane. Outputs: lanes are d, a chain over keys a lane.
 * Products are exact, so FMA gives the contract's bits. Rows are taken ATTN_ROWS at a time against
 * the same K and V; with many rows the chunk is widened to f32 once.
 */
enum { ATTN_ROWS = 3, ATTN_VECS = 4, ATTN_SPAN = ATTN_VECS * SV_LANES, WIDEN_FROM = 7 };

static inline sv_f load_cell(const uint16_t *half, const float *wide, size_t at)
{
    return wide ? sv_load(wide + at) : sv_load_half(half + at);
}

/* s[r][j] = sum over d of q[r][d] * K[d][j] for `rows` rows (a constant at each call) and keys
 * [j0, j0 + ATTN_SPAN). */
static inline __attribute__((always_inline)) void score_tile(int rows, int dim,
                                                             const float *const *q,
                                                             const uint16_t *k, const float *wide,
                                                             int j0, float s[][LK_KV_BLOCK])
{
    sv_f acc[ATTN_ROWS][ATTN_VECS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < ATTN_VECS; v++) {
            acc[r][v] = sv_zero();
        }
    }
    for (int d = 0; d < dim; d++) {
        size_t at = (size_t)d * LK_KV_BLOCK + (size_t)j0;
        for (int v = 0; v < ATTN_VECS; v++) {
            sv_f kv = load_cell(k, wide, at + (size_t)(v * SV_LANES));
            for (int r = 0; r < rows; r++) {
                acc[r][v] = sv_fma(sv_set(q[r][d]), kv, acc[r][v]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < ATTN_VECS; v++) {
            sv_store(&s[r][j0 + v * SV_LANES], acc[r][v]);
        }
    }
}

/* o[r][d0 .. d0 + lanes * vecs) = sum over keys of p[r][j] * V[j][d]; keys from..to are the widest
 * of the rows, p is +0 outside a row's own. */
static inline __attribute__((always_inline)) void
output_tile(int rows, int vecs, int dim, int d0, int from, int to, float p[][LK_KV_BLOCK],
            const uint16_t *v, const float *wide, float *const *o)
{
    sv_f acc[ATTN_ROWS][ATTN_VECS];
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < vecs; c++) {
            acc[r][c] = sv_zero();
        }
    }
    for (int j = from; j <= to; j++) {
        size_t at = (size_t)j * (size_t)dim + (size_t)d0;
        for (int c = 0; c < vecs; c++) {
            sv_f x = load_cell(v, wide, at + (size_t)(c * SV_LANES));
            for (int r = 0; r < rows; r++) {
                acc[r][c] = sv_fma(sv_set(p[r][j]), x, acc[r][c]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < vecs; c++) {
            sv_store(o[r] + d0 + c * SV_LANES, sv_flush(acc[r][c]));
        }
    }
}

/* Scores of one row -> p (in place), n, l. Slots outside from..to become +0. False when a score is
 * out of range. */
static bool weigh(float *s, int from, int to, float score_in, float score_cap, int32_t *n, float *l)
{
    int32_t k[LK_KV_BLOCK];
    sv_mask bad = sv_mask_none();
    for (int j = 0; j < from; j++) { /* stale cells may hold anything */
        s[j] = 0.0f;
    }
    for (int j = to + 1; j < LK_KV_BLOCK; j++) {
        s[j] = 0.0f;
    }
    for (int j = 0; j < LK_KV_BLOCK; j += SV_LANES) {
        sv_f x = sv_mul(sv_load(s + j), sv_set(score_in));
        if (score_cap != 0.0f) {
            x = sv_mul(sv_tanh(x), sv_set(score_cap));
        }
        sv_mask far = sv_gt(sv_magnitude(x), sv_iset(LK_SCORE_LIMIT - 1u));
        bad = sv_mask_or(bad, far);
        x = sv_drop(far, x);
        sv_i kj = sv_rte(x);
        sv_istore(k + j, kj);
        sv_store(s + j, sv_round13(sv_exp2_mantissa(x, kj)));
    }
    int32_t top = INT32_MIN;
    for (int j = from; j <= to; j++) {
        top = k[j] > top ? k[j] : top;
    }
    for (int j = 0; j < LK_KV_BLOCK; j += SV_LANES) {
        sv_i down = sv_isub(sv_iload(k + j), sv_iset((uint32_t)top));
        sv_mask cut = sv_gt(sv_iset((uint32_t)LK_P_CUT), down);
        /* Slots outside may lie above top; they are cleared below. */
        sv_store(s + j, sv_drop(cut, sv_scale2(sv_load(s + j), sv_imin(down, sv_iset(0u)))));
    }
    for (int j = 0; j < from; j++) {
        s[j] = 0.0f;
    }
    for (int j = to + 1; j < LK_KV_BLOCK; j++) {
        s[j] = 0.0f;
    }
    float sum = 0.0f;
    for (int j = from; j <= to; j++) {
        sum = sum + s[j];
    }
    *n = top;
    *l = sum;
    return !sv_any(bad);
}

static bool attn_rows(const struct lk_attn_chunk *c, int first, int rows, const float *wide_k,
                      const float *wide_v)
{
    float s[ATTN_ROWS][LK_KV_BLOCK];
    const float *q[ATTN_ROWS];
    float *o[ATTN_ROWS];
    int from = LK_KV_BLOCK, to = -1, dim = c->dim;
    bool ok = true;
    for (int r = 0; r < rows; r++) {
        q[r] = c->q + (size_t)(first + r) * (size_t)dim;
        o[r] = c->o + (size_t)(first + r) * (size_t)dim;
        from = c->from[first + r] < from ? c->from[first + r] : from;
        to = c->to[first + r] > to ? c->to[first + r] : to;
    }
    for (int j = from / ATTN_SPAN * ATTN_SPAN; j <= to; j += ATTN_SPAN) {
        switch (rows) {
        case 1:
            score_tile(1, dim, q, c->k, wide_k, j, s);
            break;
        case 2:
            score_tile(2, dim, q, c->k, wide_k, j, s);
            break;
        default:
            score_tile(3, dim, q, c->k, wide_k, j, s);
            break;
        }
    }
    for (int r = 0; r < rows; r++) {
        int i = first + r;
        ok &= weigh(s[r], c->from[i], c->to[i], c->score_in, c->score_cap, &c->n[i], &c->l[i]);
    }
    int d = 0;
    for (; d + ATTN_SPAN <= dim; d += ATTN_SPAN) {
        switch (rows) {
        case 1:
            output_tile(1, ATTN_VECS, dim, d, from, to, s, c->v, wide_v, o);
            break;
        case 2:
            output_tile(2, ATTN_VECS, dim, d, from, to, s, c->v, wide_v, o);
            break;
        default:
            output_tile(3, ATTN_VECS, dim, d, from, to, s, c->v, wide_v, o);
            break;
        }
    }
    for (; d < dim; d += SV_LANES) {
        output_tile(rows, 1, dim, d, from, to, s, c->v, wide_v, o);
    }
    return ok;
}

static bool vec_attn_chunk(const struct lk_attn_chunk *c)
{
    bool ok = true;
    const float *wide_k = NULL, *wide_v = NULL;
    size_t cells = (size_t)c->dim * LK_KV_BLOCK;
    int last = -1;
    for (int r = 0; r < c->n_rows; r++) {
        last = c->to[r] > last ? c->to[r] : last;
    }
    if (c->n_rows >= WIDEN_FROM) {
        for (size_t i = 0; i < cells; i += SV_LANES) {
            sv_store(c->wide + i, sv_load_half(c->k + i));
        }
        for (size_t i = 0; i < (size_t)(last + 1) * (size_t)c->dim; i += SV_LANES) {
            sv_store(c->wide + cells + i, sv_load_half(c->v + i));
        }
        wide_k = c->wide;
        wide_v = c->wide + cells;
    }
    for (int r = 0; r < c->n_rows;) {
        int rows = 0; /* neighbours that take part */
        if (c->from[r] > c->to[r]) {
            r++;
            continue;
        }
        while (rows < ATTN_ROWS && r + rows < c->n_rows && c->from[r + rows] <= c->to[r + rows]) {
            rows++;
        }
        ok &= attn_rows(c, r, rows, wide_k, wide_v);
        r += rows;
    }
    return ok;
}

static inline float attn_factor(int32_t k)
{
    return k < LK_MERGE_CUT ? 0.0f : lk_flt((uint32_t)(127 + k) << 23);
}

static void vec_attn_merge(bool first, int dim, int32_t *n, float *l, float *o, int32_t n_c,
                           float l_c, const float *o_c)
{
    if (first) {
        *n = n_c;
        *l = l_c;
        memcpy(o, o_c, (size_t)dim * sizeof *o);
        return;
    }
    int32_t top = *n > n_c ? *n : n_c;
    float f_old = attn_factor(*n - top), f_new = attn_factor(n_c - top);
    float a = *l * f_old, b = l_c * f_new;
    *l = a + b;
    for (int d = 0; d < dim; d += SV_LANES) {
        sv_f x = sv_mul(sv_load(o + d), sv_set(f_old));
        sv_f y = sv_mul(sv_load(o_c + d), sv_set(f_new));
        sv_store(o + d, sv_flush(sv_add(x, y)));
    }
    *n = top;
}

static bool vec_attn_end(int head_dim, float l, const float *o, float *out)
{
    sv_mask bad = sv_mask_none();
    sv_f r = sv_set(lk_rcp(l));
    for (int d = 0; d < head_dim; d += SV_LANES) { /* o has the pad, out has not */
        float t[SV_LANES];
        int m = head_dim - d < SV_LANES ? head_dim - d : SV_LANES;
        sv_f y = sv_mul(sv_load(o + d), r);
        bad = sv_mask_or(bad, sv_out_of_range(y));
        sv_store(t, sv_flush(y));
        memcpy(out + d, t, (size_t)m * sizeof *t);
    }
    return !sv_any(bad);
}

#define LK_VEC_TABLE(name, its_level)                                                              \
    const struct lk_vec_kernels name = {                                                           \
        .level = its_level,                                                                        \
        .norm = vec_norm,                                                                          \
        .add = vec_add,                                                                            \
        .bias = vec_bias,                                                                          \
        .glu = vec_glu,                                                                            \
        .softcap = vec_softcap,                                                                    \
        .rope = vec_rope,                                                                          \
        .kv_store = vec_kv_store,                                                                  \
        .attn_chunk = vec_attn_chunk,                                                              \
        .attn_merge = vec_attn_merge,                                                              \
        .attn_end = vec_attn_end,                                                                  \
    }
