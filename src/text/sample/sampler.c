/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampler: one row of logits -> one token id. Pure: the choice depends on the row, the history,
 * the options and the position, by rules that give the same id on every machine:
 *
 *   - what float arithmetic there is follows the numerics contract (its exp; each operation rounded
 *     alone), and no float is ever summed: a weight is exp((x - max) / temperature) as an integer
 *     in units of 2^-39, and integers add up the same in any order;
 *   - candidates are ordered by (logit descending, id ascending), never by sorting: top-k and top-p
 *     walk down a histogram of order keys, digit by digit, in O(vocabulary). What is left of the
 *     candidates after each step stands together, by rising id;
 *   - the draw is a counter-based random number of (seed, position).
 *
 * Knows no model and no tokenizer. lk_sample allocates nothing.
 */
#include "text/sample/sampler.h"

#include <string.h>

#include "base/base.h"
#include "base/mem.h"
#include "base/numerics.h"

enum {
    WEIGHT_BITS = 39,    /* the most likely token weighs 2^39 */
    MAX_VOCAB = 1 << 24, /* so that the sum of all weights stays below 2^64 */
    N_BINS = 1 << 11,    /* of a histogram over one digit of the order keys */
    MAX_LAST_N = 1 << 24
};

struct lk_sampler {
    lk_sampler_options options; /* its bias arrays are the copies below */
    size_t n_vocab;
    int32_t *bias_ids;
    float *bias_values;
    float *row;       /* [n_vocab] logits after bias and penalties */
    size_t n;         /* candidates */
    int32_t *id;      /* [n_vocab] of each candidate, rising; NULL where nothing is drawn, as
                         weight and bin */
    uint32_t *key;    /* [n_vocab] its order key: larger is more likely */
    uint64_t *weight; /* [n_vocab] its probability, see WEIGHT_BITS */
    uint64_t *bin;    /* [N_BINS] */
};

/* ---- random numbers ---- */

void lk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t lk_random(uint64_t seed, uint64_t pos)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)pos, (uint32_t)(pos >> 32), 0, 0};
    uint32_t out[4];
    lk_philox(counter, key, out);
    return (uint64_t)out[1] << 32 | out[0];
}

/* floor(a * b / 2^64) */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t mid = ah * bl + (al * bl >> 32);
    uint64_t low = al * bh + (uint32_t)mid;
    return ah * bh + (mid >> 32) + (low >> 32);
}

/* ---- open and close ---- */

lk_sampler_options lk_sampler_options_default(void)
{
    return (lk_sampler_options){.size = sizeof(lk_sampler_options),
                                .top_p = 1.0f,
                                .repeat_penalty = 1.0f,
                                .penalty_last_n = 64};
}

static lk_status bad(lk_error *err, const char *name, double found, const char *expected)
{
    return lk_fail(err, LK_E_INVALID, "sampler options: %s is %g, expected %s", name, found,
                   expected);
}

lk_status lk_sampler_check(const lk_sampler_options *o, size_t n_vocab, lk_error *err)
{
    if (n_vocab < 1 || n_vocab > MAX_VOCAB) {
        return lk_fail(err, LK_E_INVALID, "sampler: a vocabulary of %zu tokens, expected 1 to %d",
                       n_vocab, MAX_VOCAB);
    }
    if (!(o->temperature >= 0.0f && o->temperature <= 1e6f)) {
        return bad(err, "temperature", (double)o->temperature, "0 to 1e6");
    }
    if (o->top_k < 0) {
        return bad(err, "top_k", o->top_k, "0 (off) or more");
    }
    if (!(o->top_p > 0.0f && o->top_p <= 1.0f)) {
        return bad(err, "top_p", (double)o->top_p, "more than 0, at most 1 (off)");
    }
    if (!(o->min_p >= 0.0f && o->min_p <= 1.0f)) {
        return bad(err, "min_p", (double)o->min_p, "0 (off) to 1");
    }
    if (!(o->repeat_penalty >= 1e-6f && o->repeat_penalty <= 1e6f)) {
        return bad(err, "repeat_penalty", (double)o->repeat_penalty, "1e-6 to 1e6");
    }
    if (!(o->presence_penalty >= -1e6f && o->presence_penalty <= 1e6f)) {
        return bad(err, "presence_penalty", (double)o->presence_penalty, "-1e6 to 1e6");
    }
    if (!(o->frequency_penalty >= -1e6f && o->frequency_penalty <= 1e6f)) {
        return bad(err, "frequency_penalty", (double)o->frequency_penalty, "-1e6 to 1e6");
    }
    if (o->penalty_last_n < 0 || o->penalty_last_n > MAX_LAST_N) {
        return bad(err, "penalty_last_n", o->penalty_last_n, "0 to 2^24");
    }
    for (size_t i = 0; i < o->n_bias; i++) {
        if (o->bias_ids[i] < 0 || (size_t)o->bias_ids[i] >= n_vocab) {
            return lk_fail(err, LK_E_INVALID, "logit bias: token %d, expected 0 to %zu",
                           o->bias_ids[i], n_vocab - 1);
        }
        uint32_t u = lk_bits(o->bias_values[i]);
        if ((u & 0x7fffffffu) >= 0x7f800000u && u != 0xff800000u) {
            return lk_fail(err, LK_E_INVALID,
                           "logit bias of token %d is %g, expected a finite number or -inf",
                           o->bias_ids[i], (double)o->bias_values[i]);
        }
    }
    return LK_OK;
}

lk_status lk_sampler_open(const lk_sampler_options *options, size_t n_vocab, lk_sampler **out,
                          lk_error *err)
{
    lk_sampler_options o = lk_sampler_options_default();
    *out = NULL;
    lk_status status = lk_options_take(&o, sizeof o, options, "sampler", err);
    if (!status) {
        status = lk_sampler_check(&o, n_vocab, err);
    }
    if (status) {
        return status;
    }
    lk_sampler *s = lk_alloc(sizeof *s);
    if (!s) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening a sampler");
    }
    s->n_vocab = n_vocab;
    s->bias_ids = lk_alloc_array(o.n_bias, sizeof *s->bias_ids);
    s->bias_values = lk_alloc_array(o.n_bias, sizeof *s->bias_values);
    s->row = lk_alloc_array(n_vocab, sizeof *s->row);
    s->key = lk_alloc_array(n_vocab, sizeof *s->key);
    bool draws = o.temperature != 0.0f;
    s->id = draws ? lk_alloc_array(n_vocab, sizeof *s->id) : NULL;
    s->weight = draws ? lk_alloc_array(n_vocab, sizeof *s->weight) : NULL;
    s->bin = draws ? lk_alloc_array(N_BINS, sizeof *s->bin) : NULL;
    if (!s->bias_ids || !s->bias_values || !s->row || !s->key ||
        (draws && (!s->id || !s->weight || !s->bin))) {
        lk_sampler_close(&s);
        return lk_fail(err, LK_E_NOMEM, "out of memory: a sampler for %zu tokens", n_vocab);
    }
    if (o.n_bias) {
        memcpy(s->bias_ids, o.bias_ids, o.n_bias * sizeof *s->bias_ids);
        memcpy(s->bias_values, o.bias_values, o.n_bias * sizeof *s->bias_values);
    }
    o.bias_ids = s->bias_ids;
    o.bias_values = s->bias_values;
    s->options = o;
    *out = s;
    return LK_OK;
}

void lk_sampler_close(lk_sampler **sampler)
{
    lk_sampler *s = sampler ? *sampler : NULL;
    if (s) {
        *sampler = NULL;
        lk_free(s->bias_ids);
        lk_free(s->bias_values);
        lk_free(s->row);
        lk_free(s->id);
        lk_free(s->key);
        lk_free(s->weight);
        lk_free(s->bin);
        lk_free(s);
    }
}

/* ---- the steps ---- */

/* Greater key, greater logit; 1 for NaN, which no other logit is below; never 0. */
static uint32_t key_of(float x)
{
    return lk_magnitude(x) > 0x7f800000u ? 1u : (uint32_t)lk_order_key(x) ^ 0x80000000u;
}

int32_t lk_argmax(const float *logits, size_t n_vocab)
{
    uint32_t best = 0;
    for (size_t i = 0; i < n_vocab; i++) { /* compilers make vectors of this loop, and not of two */
        uint32_t key = key_of(logits[i]);
        best = key > best ? key : best;
    }
    size_t at = 0;
    while (at < n_vocab && key_of(logits[at]) != best) {
        at++;
    }
    return at < n_vocab ? (int32_t)at : 0;
}

/* Infinities of arithmetic on finite logits become the largest finite ones; -inf stays. */
static float limit(float x)
{
    return lk_bits(x) == 0x7f800000u ? lk_flt(0x7f7fffffu) : x;
}

static void add_bias(struct lk_sampler *s)
{
    for (size_t i = 0; i < s->options.n_bias; i++) {
        float *x = &s->row[s->bias_ids[i]];
        *x = limit(*x + s->bias_values[i]);
    }
}

/* Each token of the window once: first the repetition penalty, then frequency and presence. They
 * are counted where keys will stand. */
static void add_penalties(struct lk_sampler *s, const int32_t *history, size_t n_history)
{
    const lk_sampler_options *o = &s->options;
    size_t n = (size_t)o->penalty_last_n < n_history ? (size_t)o->penalty_last_n : n_history;
    const int32_t *window = n ? history + (n_history - n) : NULL;
    uint32_t *count = s->key;
    for (int add = 0; add < 2; add++) {
        for (size_t i = 0; i < n; i++) {
            if (window[i] >= 0 && (size_t)window[i] < s->n_vocab) {
                count[window[i]] = add ? count[window[i]] + 1 : 0;
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (window[i] < 0 || (size_t)window[i] >= s->n_vocab || !count[window[i]]) {
            continue;
        }
        float x = s->row[window[i]];
        float times = (float)count[window[i]];
        count[window[i]] = 0;
        if (x > 0.0f) {
            x = x / o->repeat_penalty;
        } else {
            x = x * o->repeat_penalty;
        }
        float part = times * o->frequency_penalty;
        x = x - part;
        x = x - o->presence_penalty;
        s->row[window[i]] = limit(x);
    }
}

/* An order key in three digits of 11, 11 and 10 bits. */
static const struct {
    int low;
    uint32_t mask;
} DIGITS[] = {{21, 0x7ff}, {10, 0x7ff}, {0, 0x3ff}};

/* All tokens are candidates. */
static void take_all(struct lk_sampler *s)
{
    s->n = s->n_vocab;
    for (size_t i = 0; i < s->n; i++) {
        s->key[i] = key_of(s->row[i]);
        s->id[i] = (int32_t)i;
    }
}

/* Candidates at least as likely as `least`, and of those with the key `last` as many as it takes
 * for the amount `above` to reach `target`. */
static void keep_from(struct lk_sampler *s, bool weigh, uint32_t least, uint32_t last,
                      uint64_t above, uint64_t target)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t key = s->key[i];
        uint64_t weight = weigh ? s->weight[i] : 1;
        if (key < least || (key == last && above >= target)) {
            continue;
        }
        above += key == last ? weight : 0;
        s->id[n] = s->id[i];
        s->key[n] = key;
        s->weight[n++] = weight;
    }
    s->n = n;
}

/* Walks the candidates from the most likely down until their amounts (their weights, or one each)
 * reach `target`, and keeps those. Candidates with the same logit are taken by rising id. Three
 * passes over digits of the key find the last logit that is kept. */
static void keep_first(struct lk_sampler *s, bool weigh, uint64_t target)
{
    uint32_t prefix = 0, prefix_mask = 0;
    uint64_t above = 0; /* amount of the candidates above `prefix` */
    for (size_t d = 0; d < LK_COUNT(DIGITS); d++) {
        int low = DIGITS[d].low;
        uint32_t digit_mask = DIGITS[d].mask;
        memset(s->bin, 0, N_BINS * sizeof *s->bin);
        for (size_t i = 0; i < s->n; i++) {
            if ((s->key[i] & prefix_mask) == prefix) {
                s->bin[s->key[i] >> low & digit_mask] += weigh ? s->weight[i] : 1;
            }
        }
        uint32_t digit = digit_mask;
        while (digit > 0 && above + s->bin[digit] < target) {
            above += s->bin[digit--];
        }
        prefix |= digit << low;
        prefix_mask |= digit_mask << low;
        if (d == 0) { /* most are out already */
            keep_from(s, weigh, prefix, 0, 0, 0);
        }
    }
    keep_from(s, weigh, prefix, prefix, above, target);
}

/* exp((x - max) / temperature) in units of 2^-39. */
static uint64_t softmax(struct lk_sampler *s, float max)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->n; i++) {
        float v = s->row[s->id[i]] - max;
        v = v / s->options.temperature;
        s->weight[i] = (uint64_t)(lk_exp(v) * (float)(1ull << WEIGHT_BITS));
        total += s->weight[i];
    }
    return total;
}

static uint64_t total_weight(const struct lk_sampler *s)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->n; i++) {
        total += s->weight[i];
    }
    return total;
}

/* The fewest candidates whose probabilities reach top_p together. */
static void keep_top_p(struct lk_sampler *s, uint64_t total)
{
    double exact = (double)total * (double)s->options.top_p;
    uint64_t target = (uint64_t)exact;
    if ((double)target < exact || target == 0) {
        target++;
    }
    keep_first(s, true, target);
}

/* Those at least min_p times as likely as the likeliest, which weighs 2^39. */
static void keep_min_p(struct lk_sampler *s)
{
    uint64_t least = (uint64_t)(s->options.min_p * (float)(1ull << WEIGHT_BITS));
    for (size_t i = 0; i < s->n; i++) {
        if (s->weight[i] < least) {
            s->weight[i] = 0;
        }
    }
}

static int32_t draw(const struct lk_sampler *s, uint64_t random)
{
    uint64_t at = multiply_high(random, total_weight(s));
    size_t i = 0;
    while (at >= s->weight[i]) {
        at -= s->weight[i++];
    }
    return s->id[i];
}

/* Whether a mask has token i; no mask has all. */
static bool may_come(const uint32_t *mask, size_t n_masked, size_t i)
{
    return !mask || (i < n_masked && (mask[i / 32] >> (i % 32) & 1));
}

static int32_t sample(lk_sampler *s, const uint32_t *mask, size_t n_masked, const float *logits,
                      const int32_t *history, size_t n_history, uint64_t pos)
{
    const lk_sampler_options *o = &s->options;
    for (size_t i = 0; i < s->n_vocab; i++) {
        bool nan = lk_magnitude(logits[i]) > 0x7f800000u;
        s->row[i] = nan ? lk_flt(0xff800000u) : limit(logits[i]);
    }
    for (size_t i = 0; i < s->n_vocab && mask; i++) {
        s->row[i] = may_come(mask, n_masked, i) ? s->row[i] : lk_flt(0xff800000u);
    }
    add_bias(s);
    add_penalties(s, history, n_history);
    int32_t best = lk_argmax(s->row, s->n_vocab);
    float max = s->row[best];
    if (o->temperature == 0.0f || lk_bits(max) == 0xff800000u) {
        return best;
    }
    take_all(s);
    if (o->top_k > 0 && (size_t)o->top_k < s->n_vocab) {
        keep_first(s, false, (uint64_t)o->top_k);
    }
    uint64_t total = softmax(s, max);
    if (o->top_p < 1.0f) {
        keep_top_p(s, total);
    }
    if (o->min_p > 0.0f) {
        keep_min_p(s);
    }
    return draw(s, lk_random(o->seed, pos));
}

int32_t lk_sample(lk_sampler *s, const float *logits, const int32_t *history, size_t n_history,
                  uint64_t pos)
{
    return sample(s, NULL, 0, logits, history, n_history, pos);
}

int32_t lk_sample_masked(lk_sampler *s, const uint32_t *mask, size_t n_masked, const float *logits,
                         const int32_t *history, size_t n_history, uint64_t pos)
{
    int32_t id = sample(s, mask, n_masked, logits, history, n_history, pos);
    bool chosen = may_come(mask, n_masked, (size_t)id) && lk_bits(s->row[id]) != 0xff800000u;
    return chosen ? id : -1;
}
