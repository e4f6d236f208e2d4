/* SPDX-License-Identifier: Apache-2.0
 *
 * Attn_body: attention chunks (rule 8) in the words of a simd_*.h; included after vec_body.h.
 *
 * Scores and outputs are the same kernel: sums of products of int16, four to a column, exact in any
 * order. Columns are keys and the four are dimensions, or columns are dimensions and the four are
 * keys. Rows are taken ATTN_ROWS at a time against the same cells; with many rows the chunk is
 * widened to int16 once.
 */
enum {
    ATTN_ROWS = SV_ATTN_ROWS,
    ATTN_VECS = SV_ATTN_VECS,
    ATTN_SPAN = ATTN_VECS * SV_COLS, /* columns of a tile */
    SLOTS = 2 * SV_LANES,            /* keys that are weighed at a time */
    WIDEN_FROM = 7                   /* rows */
};

/* How cells lie: int16, int8, or int8 with a plane of low halves. */
enum attn_cells { CELLS_WIDE, CELLS_BYTES, CELLS_SPLIT };

struct attn_plane {
    const void *high;
    const void *low; /* CELLS_SPLIT */
    size_t n;        /* columns of a group of four */
    /* Where the cells lie that are wanted after these: fetched while these are computed with, since
     * a few rows do not compute for as long as memory takes. */
    const char *ahead;
    size_t n_ahead; /* bytes; 0: none */
};

/* The i-th of the steps in which a plane's next cells are fetched. */
static inline __attribute__((always_inline)) void fetch(const struct attn_plane *p, size_t i)
{
    enum { LINE = 64, STEP = 2 * LINE };
    if (i * STEP < p->n_ahead) {
        __builtin_prefetch(p->ahead + i * STEP);
        __builtin_prefetch(p->ahead + i * STEP + LINE);
    }
}

/* SV_COLS columns from `col` of group g. */
static inline __attribute__((always_inline)) sv_w
attn_load(enum attn_cells kind, const struct attn_plane *p, size_t g, size_t col)
{
    if (kind == CELLS_WIDE) {
        return sv_wload((const int16_t *)p->high + 4 * (g * p->n + col));
    }
    sv_w x = sv_wbytes((const uint8_t *)p->high + 4 * (g * p->n + col));
    if (kind == CELLS_SPLIT) {
        const uint8_t *low = (const uint8_t *)p->low + 4 * (g / 2 * p->n + col);
        x = sv_wjoin(x, g % 2 ? sv_wnibbles(low, 4) : sv_wnibbles(low, 0));
    }
    return x;
}

/* out[r][col ..] = sum over groups [g0, g1) of a[r][4 g ..] and the cells, for ATTN_SPAN columns;
 * rows and kind are constants at each call. step: of fetching ahead. */
static inline __attribute__((always_inline)) void
dot_tile(enum attn_cells kind, int rows, const struct attn_plane *p, size_t g0, size_t g1,
         size_t col, size_t step, const int16_t *const *a, int32_t *const *out)
{
    sv_sums acc[ATTN_ROWS][ATTN_VECS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < ATTN_VECS; v++) {
            acc[r][v] = sv_sums_zero();
        }
    }
    for (size_t g = g0; g < g1; g++) {
        fetch(p, step + g - g0);
        sv_w x[ATTN_VECS];
        for (int v = 0; v < ATTN_VECS; v++) {
            x[v] = attn_load(kind, p, g, col + (size_t)(v * SV_COLS));
        }
        for (int r = 0; r < rows; r++) { /* one row's four at a time: registers are few */
            sv_w four = sv_wset(a[r] + 4 * g);
            for (int v = 0; v < ATTN_VECS; v++) {
                acc[r][v] = sv_dot(acc[r][v], x[v], four);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < ATTN_VECS; v++) {
            sv_sums_store(out[r] + col + (size_t)(v * SV_COLS), acc[r][v]);
        }
    }
}

/* The same for columns [c0, c1), whole spans. */
static inline __attribute__((always_inline)) void
dot_rows(enum attn_cells kind, int rows, const struct attn_plane *p, size_t g0, size_t g1,
         size_t c0, size_t c1, const int16_t *const *a, int32_t *const *out)
{
    for (size_t col = c0, step = 0; col < c1; col += ATTN_SPAN, step += g1 - g0) {
        switch (rows) {
        case 1:
            dot_tile(kind, 1, p, g0, g1, col, step, a, out);
            break;
        case 2:
            dot_tile(kind, 2, p, g0, g1, col, step, a, out);
            break;
#if SV_ATTN_ROWS > 3
        case 3:
            dot_tile(kind, 3, p, g0, g1, col, step, a, out);
            break;
#endif
#if SV_ATTN_ROWS > 4
        case 4:
            dot_tile(kind, 4, p, g0, g1, col, step, a, out);
            break;
#endif
        default:
            dot_tile(kind, ATTN_ROWS, p, g0, g1, col, step, a, out);
            break;
        }
    }
}

static void dots(enum attn_cells kind, int rows, const struct attn_plane *p, size_t g0, size_t g1,
                 size_t c0, size_t c1, const int16_t *const *a, int32_t *const *out)
{
    switch (kind) {
    case CELLS_WIDE:
        dot_rows(CELLS_WIDE, rows, p, g0, g1, c0, c1, a, out);
        break;
    case CELLS_BYTES:
        dot_rows(CELLS_BYTES, rows, p, g0, g1, c0, c1, a, out);
        break;
    case CELLS_SPLIT:
        dot_rows(CELLS_SPLIT, rows, p, g0, g1, c0, c1, a, out);
        break;
    }
}

/* ---- one row: from dots to weights ---- */

struct attn_row {
    int32_t dot[LK_KV_BLOCK]; /* scores as integers; then their whole exponents */
    float part[LK_KV_BLOCK];  /* of scores behind these; then weights */
    int16_t weight[LK_KV_BLOCK];
    int32_t top;      /* the largest whole exponent */
    int32_t exponent; /* that weights count in: lk_weight_exponent */
};

/* x in slots from..to of those that begin at j, else +0; whole: all of them take part. */
static inline __attribute__((always_inline)) sv_f attn_keep(bool whole, int j, int from, int to,
                                                            sv_f x)
{
    if (whole) {
        return x;
    }
    static const int32_t LANE[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    sv_i at = sv_iadd(sv_iload(LANE), sv_iset((uint32_t)j));
    return sv_keep(sv_gt(at, sv_iset((uint32_t)(from - 1))),
                   sv_keep(sv_gt(sv_iset((uint32_t)(to + 1)), at), x));
}

/* The slots of row i in whole vectors: all, or those that have one that takes part. */
static inline __attribute__((always_inline)) void
slots_of(bool whole, const struct lk_attn_chunk *c, int i, int *j0, int *j1)
{
    *j0 = whole ? 0 : c->from[i] / SLOTS * SLOTS;
    *j1 = whole ? LK_KV_BLOCK : c->to[i] / SLOTS * SLOTS + SLOTS;
}

/* Dots of row i -> scores. False when one is out of range. whole: all slots take part; a constant
 * at each call, here and below. */
static inline __attribute__((always_inline)) bool
score_slots(bool whole, const struct lk_attn_chunk *c, int i, struct attn_row *row)
{
    enum { RAISED = 1 << 24 }; /* above all whole exponents */
    const float *k_scale =
        (const float *)(const void *)(c->k + LK_KV_SCALE_AT(c->dim, c->k_bits, 0));
    int from = c->from[i], to = c->to[i], j0, j1;
    slots_of(whole, c, i, &j0, &j1);
    sv_mask bad = sv_mask_none();
    sv_i tops = sv_iset(0u);
    for (int j = j0; j < j1; j += SV_LANES) {
        sv_f x = sv_mul(sv_cvt(sv_iload(row->dot + j)), sv_load(k_scale + j));
        x = sv_mul(x, sv_set(c->q_scale[i]));
        x = attn_keep(whole, j, from, to, x); /* stale scales are anything */
        if (c->score_cap != 0.0f) {
            x = sv_mul(sv_tanh(x), sv_set(c->score_cap));
        }
        sv_mask far = sv_gt(sv_magnitude(x), sv_iset(LK_SCORE_LIMIT - 1u));
        bad = sv_mask_or(bad, far);
        x = sv_drop(far, x);
        sv_i kj = sv_rte(x);
        sv_f raised = sv_flt(sv_iadd(kj, sv_iset(RAISED)));
        sv_istore(row->dot + j, kj);
        sv_store(row->part + j, sv_sub(x, sv_f22(kj)));
        tops = sv_imax(tops, sv_bits(attn_keep(whole, j, from, to, raised)));
    }
    row->top = sv_imost(tops) - RAISED;
    return !sv_any(bad);
}

/* Scores -> weights as floats, n, l. */
static inline __attribute__((always_inline)) void
weigh_slots(bool whole, const struct lk_attn_chunk *c, int i, struct attn_row *row)
{
    const float *v_scale =
        (const float *)(const void *)(c->v + LK_KV_SCALE_AT(c->v_dim, LK_KV_V_BITS, 0));
    int from = c->from[i], to = c->to[i], j0, j1;
    slots_of(whole, c, i, &j0, &j1);
    sv_i sum = sv_iset(0u), most = sv_iset(0u);
    for (int j = j0; j < j1; j += SV_LANES) {
        sv_i down = sv_isub(sv_iload(row->dot + j), sv_iset((uint32_t)row->top));
        sv_mask cut = sv_gt(sv_iset((uint32_t)LK_P_CUT), down);
        /* Slots outside may lie above top; they are cleared. */
        down = whole ? down : sv_imin(down, sv_iset(0u));
        sv_f p = sv_drop(cut, sv_scale2(sv_exp2_part(sv_load(row->part + j)), down));
        p = attn_keep(whole, j, from, to, p);
        sum = sv_iadd(sum, sv_rte(sv_mul(p, sv_set((float)(1 << LK_L_BITS)))));
        sv_f w = attn_keep(whole, j, from, to, sv_mul(p, sv_load(v_scale + j)));
        most = sv_imax(most, sv_bits(w));
        sv_store(row->part + j, w);
    }
    row->exponent = lk_weight_exponent((uint32_t)sv_imost(most));
    c->n[i] = row->top;
    c->l[i] = lk_f32_of_int(sv_itotal(sum)) * (1.0f / (1 << LK_L_BITS));
}

/* Weights -> their integers. */
static inline __attribute__((always_inline)) void
round_slots(bool whole, const struct lk_attn_chunk *c, int i, struct attn_row *row)
{
    int j0, j1;
    slots_of(whole, c, i, &j0, &j1);
    sv_f up = sv_set(lk_weight_up(row->exponent));
    if (!whole) {
        memset(row->weight, 0, sizeof row->weight);
    }
    for (int j = j0; j < j1; j += SLOTS) {
        sv_narrow(row->weight + j, sv_rte(sv_mul(sv_load(row->part + j), up)),
                  sv_rte(sv_mul(sv_load(row->part + j + SV_LANES), up)));
    }
}

/* Dots of `rows` rows from `first` on -> weights, n, l; of all rows before the next pass, since
 * what a pass ends with takes long. False when a score is out of range. */
static inline __attribute__((always_inline)) bool
weigh_rows(bool whole, const struct lk_attn_chunk *c, int first, int rows, struct attn_row *row)
{
    bool ok = true;
    for (int r = 0; r < rows; r++) {
        ok &= score_slots(whole, c, first + r, &row[r]);
    }
    for (int r = 0; r < rows; r++) {
        weigh_slots(whole, c, first + r, &row[r]);
    }
    for (int r = 0; r < rows; r++) {
        round_slots(whole, c, first + r, &row[r]);
    }
    return ok;
}

static bool weigh(const struct lk_attn_chunk *c, int first, int rows, struct attn_row *row)
{
    bool whole = true;
    for (int r = first; r < first + rows; r++) {
        whole &= c->from[r] == 0 && c->to[r] == LK_KV_BLOCK - 1;
    }
    return whole ? weigh_rows(true, c, first, rows, row) : weigh_rows(false, c, first, rows, row);
}

/* ---- a chunk ---- */

/* How many rows from `first` on take part, one after the other; at most `most`. */
static int neighbours(const struct lk_attn_chunk *c, int first, int most)
{
    int rows = 0;
    while (rows < most && first + rows < c->n_rows &&
           c->from[first + rows] <= c->to[first + rows]) {
        rows++;
    }
    return rows;
}

/* The outputs of rows whose sums of values are there. */
static void store_rows(const struct lk_attn_chunk *c, int first, int rows,
                       const struct attn_row *row, int32_t (*sums)[LK_MAX_HEAD_DIM])
{
    for (int r = 0; r < rows; r++) {
        float *o = c->o + (size_t)(first + r) * (size_t)c->v_dim;
        sv_f down = sv_set(lk_weight_down(row[r].exponent));
        for (int d = 0; d < c->v_dim; d += SV_LANES) {
            sv_store(o + d, sv_flush(sv_mul(sv_cvt(sv_iload(sums[r] + d)), down)));
        }
    }
}

/* The planes of a chunk: K for scores, V for outputs. */
struct attn_planes {
    enum attn_cells k_kind, v_kind;
    struct attn_plane k, v;
};

static bool attn_rows(const struct lk_attn_chunk *c, const struct attn_planes *planes, int first,
                      int rows)
{
    struct attn_row row[ATTN_ROWS];
    int32_t sums[ATTN_ROWS][LK_MAX_HEAD_DIM];
    const int16_t *q[ATTN_ROWS] = {NULL}, *weight[ATTN_ROWS] = {NULL};
    int32_t *dot[ATTN_ROWS] = {NULL}, *sum[ATTN_ROWS] = {NULL};
    int from = LK_KV_BLOCK, to = -1;
    size_t dim = (size_t)c->dim, v_dim = (size_t)c->v_dim;
    for (int r = 0; r < rows; r++) {
        q[r] = c->q + (size_t)(first + r) * dim;
        weight[r] = row[r].weight;
        dot[r] = row[r].dot;
        sum[r] = sums[r];
        from = c->from[first + r] < from ? c->from[first + r] : from;
        to = c->to[first + r] > to ? c->to[first + r] : to;
    }
    dots(planes->k_kind, rows, &planes->k, 0, dim / 4, (size_t)(from / SLOTS * SLOTS),
         (size_t)(to / SLOTS + 1) * SLOTS, q, dot);
    bool ok = weigh(c, first, rows, row);
    dots(planes->v_kind, rows, &planes->v, (size_t)(from / 4), (size_t)(to / 4 + 1), 0, v_dim,
         weight, sum);
    store_rows(c, first, rows, row, sums);
    return ok;
}

/* Cells of groups [g0, g1) as int16, columns as they lie. */
static void widen(enum attn_cells kind, const struct attn_plane *p, size_t g0, size_t g1,
                  int16_t *to)
{
    for (size_t g = g0; g < g1; g++) {
        for (size_t col = 0; col < p->n; col += SV_COLS) {
            sv_w x = kind == CELLS_SPLIT ? attn_load(CELLS_SPLIT, p, g, col)
                                         : attn_load(CELLS_BYTES, p, g, col);
            sv_wstore(to + 4 * (g * p->n + col), x);
        }
    }
}

static bool vec_attn_chunk(const struct lk_attn_chunk *c)
{
    bool ok = true;
    size_t dim = (size_t)c->dim, v_dim = (size_t)c->v_dim;
    struct attn_planes planes = {
        .k_kind = c->k_bits == LK_KV_K_BITS ? CELLS_SPLIT : CELLS_BYTES,
        .v_kind = CELLS_BYTES,
        .k = {c->k, c->k + LK_KV_K_LOW(dim, 0, 0), LK_KV_BLOCK, (const char *)c->next_k,
              c->next_k ? 4 * LK_KV_HEAD_WORDS(dim, (size_t)c->k_bits) : 0},
        .v = {c->v, NULL, v_dim, (const char *)c->next_v,
              c->next_v ? 4 * LK_KV_HEAD_WORDS(v_dim, (size_t)LK_KV_V_BITS) : 0},
    };
    int last = -1;
    for (int r = 0; r < c->n_rows; r++) {
        last = c->to[r] > last ? c->to[r] : last;
    }
    if (c->n_rows >= WIDEN_FROM) {
        int16_t *wide_v = c->wide + dim * LK_KV_BLOCK;
        widen(planes.k_kind, &planes.k, 0, dim / 4, c->wide);
        widen(CELLS_BYTES, &planes.v, 0, (size_t)(last / 4 + 1), wide_v);
        planes = (struct attn_planes){.k_kind = CELLS_WIDE,
                                      .v_kind = CELLS_WIDE,
                                      .k = {c->wide, NULL, LK_KV_BLOCK, NULL, 0},
                                      .v = {wide_v, NULL, v_dim, NULL, 0}};
    }
    for (int r = 0; r < c->n_rows;) {
        int rows = neighbours(c, r, ATTN_ROWS);
        ok &= rows == 0 || attn_rows(c, &planes, r, rows);
        r += rows > 0 ? rows : 1;
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

static bool vec_attn_end(int n, float l, const float *o, float *out)
{
    sv_mask bad = sv_mask_none();
    sv_f r = sv_set(lk_rcp(l));
    for (int d = 0; d < n; d += SV_LANES) { /* o has the pad, out does not */
        float t[SV_LANES];
        int m = n - d < SV_LANES ? n - d : SV_LANES;
        sv_f y = sv_mul(sv_load(o + d), r);
        bad = sv_mask_or(bad, sv_out_of_range(y));
        sv_store(t, sv_flush(y));
        memcpy(out + d, t, (size_t)m * sizeof *t);
    }
    return !sv_any(bad);
}

/* chunk: vec_attn_chunk, or a level's own. */
#define LK_VEC_TABLE(name, its_level, chunk)                                                       \
    const struct lk_vec_kernels name = {                                                           \
        .level = its_level,                                                                        \
        .norm = vec_norm,                                                                          \
        .layer_norm = vec_layer_norm,                                                              \
        .add = vec_add,                                                                            \
        .bias = vec_bias,                                                                          \
        .scale = vec_scale,                                                                        \
        .combine = vec_combine,                                                                    \
        .conv = vec_conv,                                                                          \
        .l2_norm = vec_l2_norm,                                                                    \
        .delta = vec_delta,                                                                        \
        .ssm = vec_ssm,                                                                            \
        .gelu = vec_gelu,                                                                          \
        .glu = vec_glu,                                                                            \
        .softcap = vec_softcap,                                                                    \
        .rope = vec_rope,                                                                          \
        .kv_store = vec_kv_store,                                                                  \
        .quantize = vec_quantize,                                                                  \
        .attn_chunk = chunk,                                                                       \
        .attn_merge = vec_attn_merge,                                                              \
        .attn_end = vec_attn_end,                                                                  \
    }
