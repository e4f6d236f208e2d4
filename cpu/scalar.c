/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar: see scalar.h. The rule numbers are those of docs/NUMERICS.md.
 */
#include "cpu/scalar.h"

#include <string.h>

#include "base/numerics.h"
#include "quant/quant.h"

/* ---- activations ---- */

void lk_scalar_quantize(const float *x, int64_t k, int block, struct lk_qrow *out)
{
    for (int64_t b = 0; b < k / block; b++) {
        const float *xb = x + b * block;
        int8_t *q = out->q + b * block;
        int32_t *sum = out->sum + b * block / 16;
        uint32_t a = 0;
        for (int i = 0; i < block; i++) {
            uint32_t u = lk_magnitude(xb[i]);
            a = u > a ? u : a;
        }
        float d = 0.0f, r = 0.0f;
        if (a != 0) {
            d = lk_flt(a) * lk_flt(0x3C010204u); /* 1/127 */
            r = 127.0f * lk_rcp(lk_flt(a));
        }
        out->d[b] = d;
        memset(sum, 0, (size_t)(block / 16) * sizeof *sum);
        for (int i = 0; i < block; i++) {
            float t = xb[i] * r;
            q[i] = (int8_t)lk_rte(t);
            sum[i / 16] += q[i];
        }
    }
}

void lk_scalar_round_row(enum lk_acts_kind kind, const float *x, int64_t k, float *out)
{
    for (int64_t i = 0; i < k; i++) {
        out[i] = kind == LK_ACTS_R13   ? lk_round13(x[i])
                 : kind == LK_ACTS_R16 ? lk_round16(x[i])
                                       : x[i];
    }
}

/* ---- rows (rules 2, 3, 5) ---- */

/* What elements [from, from + n) of a block contribute: integers exactly, then the float steps of
 * rule 5. */
static float block_product(enum lk_offset offset, const struct lk_block_ints *w, int from, int n,
                           const int8_t *q, float dx, const int32_t *sum)
{
    int32_t dot = 0;
    int twice = w->group == 32; /* else a group is 16 */
    for (int i = 0; i < n; i += 16) {
        int32_t part = 0;
#pragma GCC unroll 1
        for (int j = 0; j < 16; j++) {
            part += (int32_t)w->q[from + i + j] * q[i + j];
        }
        dot += w->sc[(from + i) / 16 >> twice] * part;
    }
    float scale = w->d * dx;
    float p = scale * lk_f32_of_int(dot);
    switch (offset) {
    case LK_OFFSET_PLUS_M: {
        float t = dx * lk_f32_of_int(sum[0] + sum[1]);
        t = w->m * t;
        return p + t;
    }
    case LK_OFFSET_MINUS_MINS: {
        int32_t mins = 0;
        for (int h = 0; h < 16; h++) {
            mins += w->mn[h * 16 / w->group] * sum[h];
        }
        float t = w->m * dx;
        t = t * lk_f32_of_int(mins);
        return p - t;
    }
    case LK_OFFSET_NONE:
        break;
    }
    return p;
}

/* The same of a block whose sub-blocks have no integer in common: each product with its scale is
 * exact, their sum is a chain. */
static float apart_product(const struct lk_block_ints *w, int from, int n, const int8_t *q,
                           float dx)
{
    float p = 0.0f;
    for (int g = from / w->group; g < (from + n) / w->group; g++) {
        int32_t part = 0;
        for (int i = g * w->group; i < (g + 1) * w->group; i++) {
            part += (int32_t)w->q[i] * q[i - from];
        }
        float s = w->d * lk_f32_of_int(w->sc[g]);
        s = s * lk_f22(part);
        p = p + s;
    }
    return p * dx;
}

float lk_scalar_dot_blocks(const struct lk_type_info *info, const struct lk_block_ints *w,
                           int64_t n_blocks, const struct lk_qrow *x)
{
    int n = lk_acts_block(info->acts), per_panel = LK_PANEL / n;
    int64_t n_steps = n_blocks * (info->block / n);
    float y = 0.0f;
    int from = 0; /* of a block */
    for (int64_t b = 0; b < n_steps; b += per_panel) {
        float g = 0.0f;
        for (int64_t c = b; c < b + per_panel && c < n_steps; c++) {
            float p = info->apart ? apart_product(w, from, n, x->q + c * n, x->d[c])
                                  : block_product(info->offset, w, from, n, x->q + c * n, x->d[c],
                                                  x->sum + c * n / 16);
            g = g + p;
            from += n;
            w += from == info->block;
            from = from == info->block ? 0 : from;
        }
        y = y + g;
    }
    return y;
}

float lk_scalar_dot_q(enum lk_type type, const void *row, int64_t k, const struct lk_qrow *x)
{
    const struct lk_type_info *info = lk_type_info(type);
    const uint8_t *blocks = row;
    int per_panel = LK_PANEL / info->block, step = lk_acts_block(info->acts);
    int64_t n_blocks = k / info->block;
    float y = 0.0f;
    for (int64_t b = 0; b < n_blocks; b += per_panel) {
        struct lk_block_ints w[LK_PANEL / 32];
        int n = (int)(n_blocks - b < per_panel ? n_blocks - b : per_panel);
        for (int c = 0; c < n; c++) {
            lk_block_unpack(type, blocks + (b + c) * info->block_bytes, &w[c]);
        }
        int64_t at = b * info->block;
        struct lk_qrow part = {x->q + at, x->d + at / step, x->sum + at / 16};
        float g = lk_scalar_dot_blocks(info, w, n, &part);
        y = y + g;
    }
    return y;
}

/* Weights of F32, F16 or BF16 as f32; f32 and bf16 below 2^-50 are read as +0 (rule 1). */
void lk_scalar_widen_row(enum lk_type type, const void *row, int64_t k, float *out)
{
    lk_dequantize_f32(type, row, (size_t)k, out);
    if (type != LK_TYPE_F16) {
        for (int64_t i = 0; i < k; i++) {
            out[i] = lk_flush(out[i]);
        }
    }
}

float lk_scalar_dot_floats(const float *w, int64_t k, const float *x)
{
    float y = 0.0f;
    for (int64_t b = 0; b < k; b += LK_PANEL) {
        float g = 0.0f;
        for (int64_t i = b; i < b + LK_PANEL && i < k; i++) {
            float p = w[i] * x[i];
            g = g + p;
        }
        y = y + g;
    }
    return y;
}

float lk_scalar_dot_f(enum lk_type type, const void *row, int64_t k, const float *x)
{
    const struct lk_type_info *info = lk_type_info(type);
    const uint8_t *bytes = row;
    float y = 0.0f;
    for (int64_t b = 0; b < k; b += LK_PANEL) {
        float w[LK_PANEL];
        int64_t n = k - b < LK_PANEL ? k - b : LK_PANEL;
        lk_scalar_widen_row(type, bytes + b * info->block_bytes, n, w);
        float g = lk_scalar_dot_floats(w, n, x + b);
        y = y + g;
    }
    return y;
}

/* ---- ops ---- */

/* Rule 1 at the end of every op. */
static bool store(float value, float *y)
{
    *y = lk_flush(value);
    return !lk_out_of_range(value);
}

/* The fold by halves of rule 7's chains. */
static float fold(float s[256])
{
    for (int h = 128; h >= 1; h /= 2) {
        for (int t = 0; t < h; t++) {
            s[t] = s[t] + s[t + h];
        }
    }
    return s[0];
}

bool lk_scalar_norm(const float *x, const float *w, int n, int group, float eps, float *y)
{
    float inv_n = (float)(1.0 / group);
    bool ok = true;
    for (int base = 0; base < n; base += group) {
        float s[256] = {0};
        for (int i = 0; i < group; i++) {
            float sq = x[base + i] * x[base + i];
            s[i % 256] = s[i % 256] + sq;
        }
        float mean = fold(s) * inv_n;
        mean = mean + eps;
        float r = lk_rsqrt(mean);
        for (int i = 0; i < group; i++) {
            float v = x[base + i] * r;
            v = v * lk_flush(w[i]);
            ok &= store(v, &y[base + i]);
        }
    }
    return ok;
}

bool lk_scalar_layer_norm(const float *x, const float *w, int n, int group, float eps, float *y)
{
    float inv_n = (float)(1.0 / group);
    for (int base = 0; base < n; base += group) {
        float s[256] = {0};
        for (int i = 0; i < group; i++) {
            s[i % 256] = s[i % 256] + x[base + i];
        }
        float mean = fold(s) * inv_n;
        for (int i = 0; i < group; i++) {
            y[base + i] = lk_flush(x[base + i] - mean);
        }
    }
    return lk_scalar_norm(y, w, n, group, eps, y);
}

/* Scratch of matmul: one row of weights as integers or floats, then the activations. */
struct matmul_scratch {
    size_t weights, q, d, sum, total; /* byte offsets */
};

static struct matmul_scratch matmul_layout(const struct lk_weight *w, int n_rows)
{
    const struct lk_type_info *info = lk_type_info(w->type);
    size_t k = (size_t)w->cols, n = (size_t)n_rows;
    struct matmul_scratch s = {0};
    if (info->quantized) {
        size_t blocks = k / (size_t)info->block, steps = k / (size_t)lk_acts_block(info->acts);
        s.q = lk_round_up(blocks * sizeof(struct lk_block_ints), 64);
        s.d = s.q + lk_round_up(n * k, 64);
        s.sum = s.d + lk_round_up(n * steps * sizeof(float), 64);
        s.total = s.sum + lk_round_up(n * (k / 16) * sizeof(int32_t), 64);
    } else {
        s.q = lk_round_up(k * sizeof(float), 64);
        s.total = s.q + lk_round_up(n * k * sizeof(float), 64);
    }
    return s;
}

size_t lk_scalar_matmul_scratch(const struct lk_weight *w, int n_rows)
{
    return matmul_layout(w, n_rows).total;
}

static bool matmul_quantized(const struct lk_weight *w, const float *x, int n_rows, float *y,
                             uint8_t *scratch)
{
    const struct lk_type_info *info = lk_type_info(w->type);
    struct matmul_scratch s = matmul_layout(w, n_rows);
    struct lk_block_ints *ints = (struct lk_block_ints *)(void *)scratch;
    int64_t k = w->cols, n_blocks = k / info->block;
    int64_t n_steps = k / lk_acts_block(info->acts);
    struct lk_qrow all = {(int8_t *)(scratch + s.q), (float *)(void *)(scratch + s.d),
                          (int32_t *)(void *)(scratch + s.sum)};
    for (int t = 0; t < n_rows; t++) {
        struct lk_qrow xq = {all.q + t * k, all.d + t * n_steps, all.sum + t * (k / 16)};
        lk_scalar_quantize(x + t * k, k, lk_acts_block(info->acts), &xq);
    }
    const uint8_t *row = w->data;
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)k);
    bool ok = true;
    for (int64_t r = 0; r < w->rows; r++, row += row_bytes) {
        for (int64_t b = 0; b < n_blocks; b++) {
            lk_block_unpack(w->type, row + b * info->block_bytes, &ints[b]);
        }
        for (int t = 0; t < n_rows; t++) {
            struct lk_qrow xq = {all.q + t * k, all.d + t * n_steps, all.sum + t * (k / 16)};
            ok &= store(lk_scalar_dot_blocks(info, ints, n_blocks, &xq), &y[t * w->rows + r]);
        }
    }
    return ok;
}

static bool matmul_floats(const struct lk_weight *w, const float *x, int n_rows, float *y,
                          uint8_t *scratch)
{
    struct matmul_scratch s = matmul_layout(w, n_rows);
    float *wide = (float *)(void *)scratch;
    float *rounded = (float *)(void *)(scratch + s.q);
    int64_t k = w->cols;
    lk_scalar_round_row(lk_type_info(w->type)->acts, x, n_rows * k, rounded);
    const uint8_t *row = w->data;
    size_t row_bytes = lk_type_row_bytes(w->type, (size_t)k);
    bool ok = true;
    for (int64_t r = 0; r < w->rows; r++, row += row_bytes) {
        lk_scalar_widen_row(w->type, row, k, wide);
        for (int t = 0; t < n_rows; t++) {
            ok &= store(lk_scalar_dot_floats(wide, k, rounded + t * k), &y[t * w->rows + r]);
        }
    }
    return ok;
}

bool lk_scalar_matmul(const struct lk_weight *w, const float *x, int n_rows, float *y,
                      void *scratch)
{
    return lk_type_info(w->type)->quantized ? matmul_quantized(w, x, n_rows, y, scratch)
                                            : matmul_floats(w, x, n_rows, y, scratch);
}

bool lk_scalar_bias(const float *x, const float *b, int n, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok &= store(x[i] + lk_flush(b[i]), &y[i]);
    }
    return ok;
}

bool lk_scalar_add(const float *a, const float *b, int n, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok &= store(a[i] + b[i], &y[i]);
    }
    return ok;
}

bool lk_scalar_glu(enum lk_act act, const float *g, const float *u, int n, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        if (act == LK_ACT_CLAMPED) {
            ok &= store(lk_glu_clamped(g[i], u[i]), &y[i]);
            continue;
        }
        float a = act == LK_ACT_SILU      ? lk_silu(g[i])
                  : act == LK_ACT_GELU    ? lk_gelu(g[i])
                  : act == LK_ACT_SIGMOID ? lk_sigmoid(g[i])
                  : act == LK_ACT_RELU    ? lk_relu(g[i])
                                          : g[i];
        ok &= store(a * u[i], &y[i]);
    }
    return ok;
}

bool lk_scalar_gelu(const float *x, int n, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok &= store(lk_gelu_erf(x[i]), &y[i]);
    }
    return ok;
}

bool lk_scalar_scale(const float *x, int n, float factor, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok &= store(x[i] * factor, &y[i]);
    }
    return ok;
}

bool lk_scalar_gate(const float *x, float g, int n, float *y)
{
    return lk_scalar_scale(x, n, lk_flush(lk_sigmoid(g)), y);
}

bool lk_scalar_softcap(const float *x, int n, float cap_in, float cap_out, float *y)
{
    bool ok = true;
    for (int i = 0; i < n; i++) {
        float t = lk_tanh(x[i] * cap_in);
        ok &= store(t * cap_out, &y[i]);
    }
    return ok;
}

bool lk_scalar_rope(const float *x, int n_head, int head_dim, int n_dims, bool interleaved,
                    const float *cs, float *y)
{
    bool ok = true;
    int half = n_dims / 2;
    for (int h = 0; h < n_head; h++, x += head_dim, y += head_dim) {
        for (int i = 0; i < half; i++) {
            int i0 = interleaved ? 2 * i : i;
            int i1 = interleaved ? 2 * i + 1 : i + half;
            float c = cs[2 * i], s = cs[2 * i + 1];
            float x0 = x[i0], x1 = x[i1];
            float a = x0 * c, b = x1 * s;
            ok &= store(a - b, &y[i0]);
            a = x0 * s;
            b = x1 * c;
            ok &= store(a + b, &y[i1]);
        }
        memcpy(y + n_dims, x + n_dims, (size_t)(head_dim - n_dims) * sizeof *y);
    }
    return ok;
}

/* ---- attention (rule 8) ---- */

void lk_scalar_kv_store(const struct lk_kv_shape *s, const float *k_row, const float *v_row,
                        int block, int slot, uint32_t *k, uint32_t *v)
{
    for (int h = 0; h < s->n_head; h++) {
        size_t head = (size_t)h;
        lk_kv_put_k(k + lk_kv_k_head(s, block, h), s->dim, s->k_bits, slot,
                    k_row + head * (size_t)s->head_dim, s->head_dim);
        lk_kv_put_v(v + lk_kv_v_head(s, block, h), s->v_dim_padded, slot,
                    v_row + head * (size_t)s->v_dim, s->v_dim);
    }
}

/* 2^k as a float for LK_MERGE_CUT <= k <= 0, else +0. */
static float merge_factor(int32_t k)
{
    return k < LK_MERGE_CUT ? 0.0f : lk_flt((uint32_t)(127 + k) << 23);
}

/* The weights p_j of keys from..to, whose scores are s; n and l of the chunk. */
static void weigh(const float *s, int from, int to, float *p, int32_t *n, float *l)
{
    int32_t k[LK_KV_BLOCK], top = INT32_MIN, sum = 0;
    for (int j = from; j <= to; j++) {
        k[j] = lk_rte(s[j]);
        top = k[j] > top ? k[j] : top;
    }
    for (int j = from; j <= to; j++) {
        float f = s[j] - lk_f22(k[j]);
        p[j] = k[j] - top < LK_P_CUT ? 0.0f : lk_scale2(lk_exp2_part(f), k[j] - top);
        sum += lk_rte(p[j] * (float)(1 << LK_L_BITS));
    }
    *n = top;
    *l = lk_f32_of_int(sum) * (1.0f / (1 << LK_L_BITS));
}

/* o of a chunk from the values of keys from..to and their weights. */
static void join_values(const struct lk_kv_shape *s, const uint32_t *v, int from, int to,
                        const float *p, float *o)
{
    float w[LK_KV_BLOCK];
    int32_t weight[LK_KV_BLOCK];
    uint32_t most = 0;
    for (int j = from; j <= to; j++) {
        w[j] = p[j] * lk_kv_scale_at(v, s->v_dim_padded, LK_KV_V_BITS, j);
        most = lk_bits(w[j]) > most ? lk_bits(w[j]) : most;
    }
    int32_t e = lk_weight_exponent(most);
    for (int j = from; j <= to; j++) {
        weight[j] = lk_rte(w[j] * lk_weight_up(e));
    }
    for (int d = 0; d < s->v_dim_padded; d++) {
        int32_t sum = 0;
        for (int j = from; j <= to; j++) {
            sum += weight[j] * lk_kv_v_at(v, s->v_dim_padded, d, j);
        }
        o[d] = lk_flush(lk_f32_of_int(sum) * lk_weight_down(e));
    }
}

bool lk_scalar_attn_chunk(const struct lk_kv_shape *shape, const int16_t *q, float q_scale,
                          float score_cap, const uint32_t *k, const uint32_t *v, int from, int to,
                          int32_t *n, float *l, float *o)
{
    float s[LK_KV_BLOCK], p[LK_KV_BLOCK];
    bool ok = true;
    for (int j = from; j <= to; j++) {
        int32_t dot = 0;
        for (int d = 0; d < shape->dim; d++) {
            dot += q[d] * lk_kv_k_at(k, shape->dim, shape->k_bits, d, j);
        }
        s[j] = lk_f32_of_int(dot) * lk_kv_scale_at(k, shape->dim, shape->k_bits, j);
        s[j] = s[j] * q_scale;
        if (score_cap != 0.0f) {
            s[j] = lk_tanh(s[j]) * score_cap;
        }
        if (lk_magnitude(s[j]) >= LK_SCORE_LIMIT) {
            ok = false;
            s[j] = 0.0f;
        }
    }
    weigh(s, from, to, p, n, l);
    join_values(shape, v, from, to, p, o);
    return ok;
}

bool lk_scalar_attention(const struct lk_attn_params *p, const float *q, const uint32_t *k,
                         const uint32_t *v, const int32_t *blocks, int pos, int head, float *out)
{
    const struct lk_kv_shape *shape = &p->shape;
    int first = p->window > 0 && pos - p->window + 1 > 0 ? pos - p->window + 1 : 0;
    int last = pos + p->more;
    int16_t qi[LK_MAX_HEAD_DIM] = {0};
    float o[LK_MAX_HEAD_DIM], o_c[LK_MAX_HEAD_DIM], l = 0.0f, l_c;
    float scale = lk_kv_quantize(q, (size_t)shape->head_dim, LK_Q_MOST, qi);
    int32_t n = 0, n_c;
    bool ok = true, started = p->sink != NULL;
    scale = scale * p->score_in;
    if (started) {
        n = lk_sink_exponent(*p->sink);
        l = lk_sink_weight(*p->sink);
        memset(o, 0, sizeof o);
    }
    for (int i = first / LK_KV_BLOCK; i <= last / LK_KV_BLOCK; i++) {
        int from = first > i * LK_KV_BLOCK ? first - i * LK_KV_BLOCK : 0;
        int to = last - i * LK_KV_BLOCK;
        to = to < LK_KV_BLOCK - 1 ? to : LK_KV_BLOCK - 1;
        ok &= lk_scalar_attn_chunk(shape, qi, scale, p->score_cap,
                                   k + lk_kv_k_head(shape, blocks[i], head),
                                   v + lk_kv_v_head(shape, blocks[i], head), from, to, &n_c, &l_c,
                                   o_c);
        int32_t top = started && n > n_c ? n : n_c;
        float f_old = started ? merge_factor(n - top) : 0.0f, f_new = merge_factor(n_c - top);
        float a = started ? l * f_old : 0.0f, b = l_c * f_new;
        l = started ? a + b : l_c;
        for (int d = 0; d < shape->v_dim; d++) {
            a = started ? o[d] * f_old : 0.0f;
            b = o_c[d] * f_new;
            o[d] = started ? lk_flush(a + b) : o_c[d];
        }
        n = top;
        started = true;
    }
    float r = lk_rcp(l);
    for (int d = 0; d < shape->v_dim; d++) {
        ok &= store(o[d] * r, &out[d]);
    }
    return ok;
}
